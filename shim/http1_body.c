/*
 * What the head of an HTTP/1 message says about its body, and where the message goes on behind the head.
 *
 * The body is decided when the CR of the blank line is seen, so before HTTP1_HEAD_END: whoever inserts there must not
 * do so in a head that is ALIEN. Choices beyond the letter of the RFC (a duplicate Content-Length, even an identical
 * one; codings besides chunked; an HTAB around the two values that frame, which nginx reads as part of them) follow the
 * strictest servers: where one refuses, nothing is lost by passing through.
 *
 * Memory: none. Callers: http1_fields.c, in any thread, signal handler or forked child.
 *
 * Sources: RFC 9110 7.6.1 (Connection), 7.8 (Upgrade), 9.3.6 (CONNECT); RFC 9112 6, 7.1, 9.3, 11.
 */
#include "http1_head.h"

static enum http1_status decide_request(struct http1 *h)
{
	bool chunked = h->seen & SEEN_CHUNKED;

	/* A body that RFC 9110 9.3.6 gives no meaning: one server skips it, another tunnels it. */
	if (h->method == HTTP1_CONNECT && (chunked || h->remaining))
		return HTTP1_ALIEN;
	h->body = chunked ? HTTP1_BODY_CHUNKED : h->remaining ? HTTP1_BODY_LENGTH : HTTP1_BODY_NONE;
	h->close = h->seen & SEEN_CLOSE || (h->minor == 0 && !(h->seen & SEEN_KEEP_ALIVE));
	h->upgrade = h->minor == 1 && h->seen & SEEN_UPGRADE && h->seen & SEEN_CONNECTION_UPGRADE;
	return HTTP1_MORE;
}

static bool leaves_http(const struct http1 *h)
{
	return h->status == 101 || (h->options & HTTP1_TO_CONNECT && h->status / 100 == 2);
}

/* RFC 9112 6.3, in its order. */
static enum http1_status decide_response(struct http1 *h)
{
	bool chunked = h->seen & SEEN_CHUNKED;

	h->body = HTTP1_BODY_NONE;
	h->close = h->seen & SEEN_CLOSE || (h->minor == 0 && !(h->seen & SEEN_KEEP_ALIVE));
	if (leaves_http(h)) {
		h->close = true;
	} else if (h->status < 200 || h->status == 204) {
		h->interim = h->status < 200;
		h->close = h->close && !h->interim;
		/* Some clients do read the body that is announced here. */
		if (chunked || h->remaining)
			return HTTP1_ALIEN;
	} else if (h->options & HTTP1_TO_HEAD || h->status == 304) {
		h->remaining = 0;
	} else if (chunked) {
		h->body = HTTP1_BODY_CHUNKED;
	} else if (h->seen & SEEN_LENGTH) {
		h->body = h->remaining ? HTTP1_BODY_LENGTH : HTTP1_BODY_NONE;
	} else {
		h->body = HTTP1_BODY_UNTIL_CLOSE;
		h->close = true;
	}
	return HTTP1_MORE;
}

enum http1_status http1_decide_body(struct http1 *h)
{
	return h->kind == HTTP1_REQUEST ? decide_request(h) : decide_response(h);
}

enum http1_status http1_leave_head(struct http1 *h)
{
	static const uint8_t next[] = {
		[HTTP1_BODY_NONE] = STATE_NO_BODY,
		[HTTP1_BODY_LENGTH] = STATE_BODY,
		[HTTP1_BODY_CHUNKED] = STATE_CHUNK_SIZE,
		[HTTP1_BODY_UNTIL_CLOSE] = STATE_UNTIL_CLOSE,
	};
	bool tunnel = h->kind == HTTP1_RESPONSE && leaves_http(h);

	h->line_len = 0;
	h->state = tunnel ? STATE_TUNNEL : next[h->body];
	return tunnel ? HTTP1_TUNNEL : HTTP1_HEAD;
}

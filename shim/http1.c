/*
 * One direction of an HTTP/1 connection: where its messages begin and end.
 *
 * Mechanism. A state machine over elements, not bytes: each state takes as much as the input holds of its element, so
 * that a head that arrives whole costs a few instructions a word, one that arrives byte by byte still works, and a body
 * costs nothing: it is skipped by count. The heads are in http1_start.c and http1_fields.c; here is the rest: chunked
 * bodies, trailers, the limits, the end of the stream, and the first guess whether a connection speaks HTTP at all.
 *
 * The events do not depend on how the stream was split (the fuzz target's property): an element is never judged by
 * whether it happens to be whole in one call, and an error is an error at the same byte. HTTP1_ALIEN is for good, as in
 * nghttp2: a stream that was misread once cannot be trusted later to say where messages begin.
 *
 * Trailer fields are checked for their form and passed over: no server lets them change the framing, and merging them
 * into the head is what RFC 9110 6.5.1 warns of.
 *
 * Memory: struct http1 and the owner's line buffer. A trailer section counts against the limits of its head, the line
 * of a chunk's size against CHUNK_LINE_MAX; chunks and bodies have no limit, as nothing of them is kept. Callers: any
 * thread, signal handler or forked child, one at a time for one scanner.
 *
 * Sources: RFC 9112 2.2, 6.3 (length of a body), 7.1 (chunked), 8 (incomplete messages), 11 (attacks).
 */
#include "layout.h"
#include "http1_head.h"

#include <string.h>

/* Size and extensions of one chunk, without CRLF. Nobody sends extensions; Apache stops at 8 KiB, llhttp at 16 KiB. */
#define CHUNK_LINE_MAX 256

/* Hex digits of a chunk size: 64 bits, and no room for those who count digits to be fooled by zeros in front. */
#define CHUNK_DIGITS_MAX 16
#define CHUNK_SIZE_MAX INT64_MAX

void http1_init(struct http1 *h, enum http1_kind kind, unsigned options)
{
	*h = (struct http1){ .kind = (uint8_t)kind, .options = (uint8_t)options, .method = HTTP1_OTHER };
}

void http1_fork(struct http1 *copy, const struct http1 *h)
{
	*copy = *h;
	if (h->line)
		copy->inherited = h->line;
	copy->line = NULL;
}

/* By a call: there are many places for it, and few heads come by one. */
__attribute__((noinline)) enum http1_status http1_take_byte(struct http1 *h, struct http1_input *in, char c,
                                                            enum http1_state next)
{
	if (*in->p != c)
		return HTTP1_ALIEN;
	in->p++;
	h->line_len = 0;
	h->state = (uint8_t)next;
	return HTTP1_MORE;
}

static int hex_digit(char c)
{
	if (http1_is_digit(c))
		return c - '0';
	if (http1_is_letter(c) && (c | 0x20) <= 'f')
		return (c | 0x20) - 'a' + 10;
	return -1;
}

/* Up to what follows the digits: the line's end or an extension. `line_len` counts the bytes of the line. */
static enum http1_status take_chunk_size(struct http1 *h, struct http1_input *in)
{
	for (; in->p < in->end; in->p++) {
		int digit = hex_digit(*in->p);

		if (digit < 0)
			break;
		if (h->line_len++ == CHUNK_DIGITS_MAX || h->remaining > CHUNK_SIZE_MAX >> 4)
			return HTTP1_ALIEN;
		h->remaining = h->remaining << 4 | (uint64_t)digit;
	}
	if (in->p == in->end)
		return HTTP1_MORE;
	if (h->line_len == 0)
		return HTTP1_ALIEN;
	if (*in->p == ';') {
		h->state = STATE_CHUNK_EXTENSION;
		return HTTP1_MORE;
	}
	return http1_take_byte(h, in, '\r', STATE_CHUNK_SIZE_LF);
}

static __attribute__((cold)) enum http1_status take_chunk_extension(struct http1 *h, struct http1_input *in)
{
	const char *eol = http1_find_control(in->p, in->end);
	size_t len = (size_t)(eol - in->p);

	if (len > CHUNK_LINE_MAX - (size_t)h->line_len)
		return HTTP1_ALIEN;
	h->line_len = (uint16_t)(h->line_len + len);
	in->p = eol;
	return eol == in->end ? HTTP1_MORE : http1_take_byte(h, in, '\r', STATE_CHUNK_SIZE_LF);
}

/* Count bytes of the trailer section against the head's limit. */
static enum http1_status count_trailer(struct http1 *h, struct http1_input *in, const char *to)
{
	size_t len = (size_t)(to - in->p);

	in->p = to;
	if (len > LIMIT_HEAD_BYTES - h->head_bytes)
		return HTTP1_ALIEN;
	h->head_bytes += (uint32_t)len;
	return HTTP1_MORE;
}

static __attribute__((cold)) enum http1_status take_trailer(struct http1 *h, struct http1_input *in)
{
	if (*in->p == '\r')
		return http1_take_byte(h, in, '\r', STATE_TRAILERS_LF);
	if (!http1_token_lower(*in->p) || h->head_fields++ == LIMIT_HEAD_FIELDS)
		return HTTP1_ALIEN;
	h->state = STATE_TRAILER_NAME;
	return HTTP1_MORE;
}

static __attribute__((cold)) enum http1_status take_trailer_name(struct http1 *h, struct http1_input *in)
{
	enum http1_status status = count_trailer(h, in, http1_find_name_end(in->p, in->end));

	if (status != HTTP1_MORE || in->p == in->end)
		return status;
	return http1_take_byte(h, in, ':', STATE_TRAILER_VALUE);
}

static __attribute__((cold)) enum http1_status take_trailer_value(struct http1 *h, struct http1_input *in)
{
	enum http1_status status = count_trailer(h, in, http1_find_control(in->p, in->end));

	if (status != HTTP1_MORE || in->p == in->end)
		return status;
	return http1_take_byte(h, in, '\r', STATE_TRAILER_LF);
}

/* As much of the body (or chunk) as is there; 0 left of it ends it. */
static uint64_t take_data(struct http1 *h, uint64_t len)
{
	uint64_t n = len < h->remaining ? len : h->remaining;

	h->remaining -= n;
	return n;
}

static enum http1_status finish_message(struct http1 *h)
{
	h->state = STATE_DONE;
	return HTTP1_DONE;
}

/* One element of a chunked body, of which at least one byte is there. */
static enum http1_status take_chunked(struct http1 *h, struct http1_input *in)
{
	switch (h->state) {
	case STATE_CHUNK_SIZE: return take_chunk_size(h, in);
	case STATE_CHUNK_EXTENSION: return take_chunk_extension(h, in);
	case STATE_CHUNK_SIZE_LF: return http1_take_byte(h, in, '\n', h->remaining ? STATE_CHUNK : STATE_TRAILER);
	case STATE_CHUNK:
		in->p += take_data(h, (size_t)(in->end - in->p));
		if (h->remaining == 0)
			h->state = STATE_CHUNK_CR;
		return HTTP1_MORE;
	case STATE_CHUNK_CR: return http1_take_byte(h, in, '\r', STATE_CHUNK_LF);
	case STATE_CHUNK_LF: return http1_take_byte(h, in, '\n', STATE_CHUNK_SIZE);
	case STATE_TRAILER: return take_trailer(h, in);
	case STATE_TRAILER_NAME: return take_trailer_name(h, in);
	case STATE_TRAILER_VALUE: return take_trailer_value(h, in);
	case STATE_TRAILER_LF: return http1_take_byte(h, in, '\n', STATE_TRAILER);
	default: /* STATE_TRAILERS_LF */
		if (http1_take_byte(h, in, '\n', STATE_DONE) != HTTP1_MORE)
			return HTTP1_ALIEN;
		return HTTP1_DONE;
	}
}

static enum http1_status feed_body(struct http1 *h, struct http1_input *in)
{
	switch (h->state) {
	case STATE_NO_BODY: return finish_message(h);
	case STATE_BODY:
		in->p += take_data(h, (size_t)(in->end - in->p));
		return h->remaining ? HTTP1_MORE : finish_message(h);
	case STATE_UNTIL_CLOSE: in->p = in->end; return HTTP1_MORE;
	case STATE_DONE: return HTTP1_DONE;
	case STATE_TUNNEL: return HTTP1_TUNNEL;
	case STATE_ALIEN: return HTTP1_ALIEN;
	default:
		while (in->p < in->end) {
			enum http1_status status = take_chunked(h, in);

			if (status != HTTP1_MORE)
				return status;
		}
		return HTTP1_MORE;
	}
}

/* The blank line behind a known head, if it is there whole. */
static enum http1_status pass_blank(struct http1 *h, struct http1_input *in)
{
	if (in->end - in->p < 2 || in->p[1] != '\n')
		return HTTP1_MORE;
	in->p += 2;
	return http1_leave_head(h);
}

/* The head sees no byte beyond its limit; that there is one, and the head still not over, is an error. */
static enum http1_status feed_head(struct http1 *h, struct http1_input *in)
{
	const char *start = in->p;
	size_t room = LIMIT_HEAD_BYTES - h->head_bytes;
	bool over = (size_t)(in->end - in->p) > room;
	enum http1_status status = HTTP1_MORE;

	if (over)
		in->end = in->p + room;
	if (in->known && h->state == STATE_START && h->head_bytes == 0 && http1_known_pass(h, in))
		status = h->options & HTTP1_STOP_AT_BLANK ? HTTP1_HEAD_END : pass_blank(h, in);
	while (in->p < in->end && status == HTTP1_MORE)
		status = h->state < STATE_FIELD ? http1_take_start_line(h, in) : http1_take_fields(h, in);
	h->head_bytes += (uint32_t)(in->p - start);
	return status == HTTP1_MORE && over ? HTTP1_ALIEN : status;
}

enum http1_status http1_feed(struct http1 *h, const struct http1_sink *sink, http1_line_buffer buffer, const char *in,
                             size_t len, size_t *used)
{
	struct http1_input input = {
		.p = in,
		.end = len ? in + len : in,
		.sink = sink && sink->wants ? sink : NULL,
		.buffer = buffer,
		.known = sink ? sink->known : NULL,
	};
	enum http1_status status = h->state <= STATE_BLANK_LF ? feed_head(h, &input) : feed_body(h, &input);

	*used = (size_t)(input.p - in);
	if (status == HTTP1_ALIEN) {
		h->state = STATE_ALIEN;
		*used = len;
	}
	return status;
}

enum http1_status http1_feed_blank(struct http1 *h, const struct http1_sink *sink, http1_line_buffer buffer,
                                   const char *in, size_t len, size_t *used)
{
	if (h->state != STATE_BLANK || len < 2 || memcmp(in, "\r\n", 2) != 0 || h->head_bytes > LIMIT_HEAD_BYTES - 2)
		return http1_feed(h, sink, buffer, in, len, used);
	h->head_bytes += 2;
	*used = 2;
	return http1_leave_head(h);
}

static enum http1_status poison(struct http1 *h)
{
	h->state = STATE_ALIEN;
	return HTTP1_ALIEN;
}

LAYOUT_BUILT_IN bool http1_skip_rest(struct http1 *h, uint64_t len)
{
	if (h->state != STATE_BODY || h->remaining != len)
		return false;
	h->remaining = 0;
	(void)finish_message(h);
	return true;
}

enum http1_status http1_skip(struct http1 *h, uint64_t len, uint64_t *used)
{
	*used = 0;
	switch (h->state) {
	case STATE_NO_BODY: return finish_message(h);
	case STATE_BODY: *used = take_data(h, len); return h->remaining ? HTTP1_MORE : finish_message(h);
	case STATE_UNTIL_CLOSE: *used = len; return HTTP1_MORE;
	case STATE_DONE: return HTTP1_DONE;
	case STATE_TUNNEL: return HTTP1_TUNNEL;
	case STATE_CHUNK:
		*used = len;
		if (len > h->remaining)
			return poison(h);
		take_data(h, len);
		if (h->remaining == 0)
			h->state = STATE_CHUNK_CR;
		return HTTP1_MORE;
	case STATE_ALIEN: break;
	default:
		if (len == 0)
			return HTTP1_MORE;
		break;
	}
	*used = len;
	return poison(h);
}

enum http1_status http1_eof(struct http1 *h)
{
	switch (h->state) {
	case STATE_NO_BODY:
	case STATE_UNTIL_CLOSE:
	case STATE_DONE: return finish_message(h);
	case STATE_TUNNEL: return HTTP1_TUNNEL;
	default: return poison(h);
	}
}

bool http1_in_head(const struct http1 *h)
{
	return h->state <= STATE_BLANK_LF;
}

bool http1_untouched(const struct http1 *h)
{
	return h->state == STATE_START;
}

/* Beyond http1_methods: WebDAV and its family (RFC 4918, 3253, 5323, 5842), what caches understand, QUERY. */
static const char other_methods[][12] = {
	"PROPFIND", "PROPPATCH",  "MKCOL", "COPY",  "MOVE", "LOCK", "UNLOCK", "REPORT",
	"SEARCH",   "MKCALENDAR", "QUERY", "PURGE", "BAN",  "LINK", "UNLINK",
};

/* As http1_sniff_request, for one method. */
static __attribute__((cold)) enum http1_sniff sniff_method(const char *in, size_t len, enum http1_method method,
                                                           const char *name, size_t size)
{
	size_t name_len = strnlen(name, size);

	if (memcmp(in, name, len < name_len ? len : name_len))
		return HTTP1_SNIFF_NO;
	if (len <= name_len)
		return HTTP1_SNIFF_MAYBE;
	if (in[name_len] != ' ')
		return HTTP1_SNIFF_NO;
	if (len == name_len + 1)
		return HTTP1_SNIFF_MAYBE;
	return http1_begins_target(method, in[name_len + 1]) ? HTTP1_SNIFF_YES : HTTP1_SNIFF_NO;
}

__attribute__((cold)) enum http1_sniff http1_sniff_request(const char *in, size_t len)
{
	enum http1_sniff best = HTTP1_SNIFF_NO;

	for (int i = 0; i < HTTP1_EMPTY_LINES && len >= 2 && in[0] == '\r' && in[1] == '\n'; i++) {
		in += 2;
		len -= 2;
	}
	if (len == 0 || (len == 1 && in[0] == '\r'))
		return HTTP1_SNIFF_MAYBE;
	for (enum http1_method method = HTTP1_GET; method < HTTP1_OTHER && best != HTTP1_SNIFF_YES; method++) {
		const char *name = http1_methods[method];
		enum http1_sniff sniff = sniff_method(in, len, method, name, sizeof(http1_methods[0]));

		best = sniff > best ? sniff : best;
	}
	for (size_t i = 0; i < sizeof(other_methods) / sizeof(other_methods[0]) && best != HTTP1_SNIFF_YES; i++) {
		enum http1_sniff sniff = sniff_method(in, len, HTTP1_OTHER, other_methods[i], sizeof(other_methods[0]));

		best = sniff > best ? sniff : best;
	}
	return best;
}

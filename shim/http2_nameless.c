/*
 * HTTP/2, served: requests that nobody has asked for yet.
 *
 * Many streams at a time mostly come as one batch of heads, and go as one batch of answers. Which of them the program is at nobody can
 * say (http2_conn.c), so none of them is ever asked for its ids. A request whose head is the one that came before, byte for byte, and
 * said nothing to us, is therefore no more than the id of its stream, until it is asked for: then it becomes what the others are
 * (http2_name_stream). It counts as one that waits from its head on, as they do.
 *
 * Only where answers are read for where they end alone: no spans, no header of ours in them. Frames that are not whole, or anything but
 * the head that is known and its answer, are the scanner's (http2.c): this is a short way past it, which leaves it just as it would have
 * left itself (test_http2_conn.c compares them).
 *
 * Memory: a word a bucket; of two streams in one bucket the second is no nameless one. Callers: whoever has the connection's lock.
 */
#include "http2_conn.h"

#include <string.h>

#include "counters.h"
#include "http2_internal.h"

#define BEGUN 0x80000000u /* beside the id: its answer is on its way out */

static uint32_t *slot_of(struct http2_conn *c, uint32_t id)
{
	return &c->nameless[id / 2 % HTTP2_BUCKETS];
}

static void name(struct http2_conn *c, uint32_t *slot)
{
	uint32_t id = *slot & ~BEGUN;
	struct http2_stream *s;

	c->open--;
	c->unanswered--;
	s = http2_open_request(c, id);
	if (s != NULL) {
		s->ex.request->waiting = c->nameless_process;
		s->ex.request_headed = s->ex.request_done = true;
		s->ex.response_begun = *slot != id;
		propagate_fresh_new(&s->ex.request->ctx);
		request_advance(s->ex.request, s->ex.response_begun ? REQUEST_RESPONDING : REQUEST_LIVE);
		c->unanswered++;
	} else if (c->nameless_process == request_process()) {
		request_count_waiting(-1);
	}
	*slot = 0;
}

void http2_name_stream(struct http2_conn *c, uint32_t id)
{
	uint32_t *slot = slot_of(c, id);

	if ((*slot & ~BEGUN) == id && id != 0)
		name(c, slot);
}

bool http2_is_nameless(const struct http2_conn *c, uint32_t id)
{
	return id != 0 && (c->nameless[id / 2 % HTTP2_BUCKETS] & ~BEGUN) == id;
}

void http2_name_streams(struct http2_conn *c)
{
	for (unsigned i = 0; i < HTTP2_BUCKETS; i++) {
		if (c->nameless[i] != 0)
			name(c, &c->nameless[i]);
	}
}

void http2_forget_nameless(struct http2_conn *c)
{
	int32_t count = 0;

	for (unsigned i = 0; i < HTTP2_BUCKETS; i++) {
		count += c->nameless[i] != 0;
		c->nameless[i] = 0;
	}
	c->open -= (uint32_t)count;
	c->unanswered -= (uint32_t)count;
	if (c->nameless_process == request_process())
		request_count_waiting(-count);
}

/* Those that were there when this process was forked, were counted in its parent only. */
static __attribute__((cold)) void begin_process(struct http2_conn *c)
{
	http2_name_streams(c);
	c->nameless_process = request_process();
}

size_t http2_take_known_requests(struct http2_conn *c, const char *in, size_t len)
{
	struct http2_half *half = &c->scanner.half[HTTP2_CLIENT];
	const struct http2_repeated *known = &half->repeated;
	size_t frame = FRAME_HEADER + known->len, at = 0;
	uint32_t count = 0;

	/* One that comes alone is most likely asked for at once. */
	if (len < frame || known->len == 0 || !known->request || (len == frame && c->unanswered == 0) ||
	    !http2_between_frames(&c->scanner, HTTP2_CLIENT))
		return 0;
	if (c->nameless_process != request_process())
		begin_process(c);
	while (len - at >= frame && c->open < LIMIT_STREAMS) {
		const unsigned char *head = (const unsigned char *)in + at;
		uint32_t id = http2_read_32(head + 5) & INT32_MAX, *slot = slot_of(c, id);

		if (http2_read_32(head) != ((uint32_t)known->len << 8 | TYPE_HEADERS) ||
		    head[4] != (FLAG_END_HEADERS | FLAG_END_STREAM) || id % 2 == 0 || id <= half->last || *slot != 0 ||
		    memcmp(head + FRAME_HEADER, known->bytes, known->len) != 0)
			break;
		*slot = half->last = id;
		c->open++;
		count++;
		at += frame;
	}
	half->taken += at;
	c->begun += count;
	c->unanswered += count;
	request_count_waiting((int32_t)count);
	counters_add(requests, count);
	counters_add(requests_http2, count);
	return at;
}

size_t http2_take_nameless_answers(struct conn *conn, const char *out, size_t len)
{
	struct http2_conn *c = http2_of(conn);
	struct http2_half *half = &c->scanner.half[HTTP2_SERVER];
	uint32_t ended = 0;
	size_t at = 0;

	if (!half->begun || !http2_between_frames(&c->scanner, HTTP2_SERVER) ||
	    c->nameless_process != request_process())
		return 0;
	while (len - at >= FRAME_HEADER) {
		const unsigned char *head = (const unsigned char *)out + at;
		uint32_t first = http2_read_32(head), id = http2_read_32(head + 5) & INT32_MAX, *slot = slot_of(c, id);

		if (first >> 8 > len - at - FRAME_HEADER || first >> 8 > HTTP2_FRAME_MIN || id == 0 ||
		    (*slot & ~BEGUN) != id || head[4] & (FLAG_PADDED | FLAG_PRIORITY))
			break;
		if ((uint8_t)first == TYPE_HEADERS && head[4] & FLAG_END_HEADERS)
			*slot |= BEGUN;
		else if ((uint8_t)first != TYPE_DATA)
			break;
		if (head[4] & FLAG_END_STREAM) {
			*slot = 0;
			ended++;
		}
		at += FRAME_HEADER + (first >> 8);
	}
	half->taken += at;
	c->open -= ended;
	c->unanswered -= ended;
	if (ended > 0 && conn_tls(conn) != NULL)
		conn->answered = 0; /* nobody's who is known */
	request_count_waiting(-(int32_t)ended);
	return at;
}

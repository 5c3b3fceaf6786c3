/*
 * HTTP/2, served: requests that nobody has asked for yet, and short ways.
 *
 * Many streams at a time mostly come as one batch of heads, and go as one batch of answers. Which of them the program is at nobody can
 * say (http2_conn.c), so none of them is ever asked for its ids. A request whose head is the one that came before, byte for byte, and
 * said nothing to us, is therefore no more than the id of its stream, until it is asked for: then it becomes what the others are
 * (http2_name_stream). It counts as one that waits from its head on, as they do.
 *
 * Only where answers are read for where they end alone: no spans, no header of ours in them. There frames that are whole, and are that
 * head or of an answer, need not go through the scanner (http2.c): the short ways past it leave all as it would be left by the long
 * one (test_http2_nameless.c compares them).
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
	bool begun = *slot != id;
	struct http2_stream *s;

	*slot = 0;
	c->nameless_open--;
	c->open--;
	s = http2_open_request(c, id);
	if (s == NULL) {
		c->unanswered--;
		if (c->nameless_process == request_process())
			request_count_waiting(-1);
		return;
	}
	s->ex.request->waiting = c->nameless_process;
	s->ex.request_headed = s->ex.request_done = true;
	s->ex.response_begun = begun;
	c->last = s;
	propagate_fresh_new(&s->ex.request->ctx);
	request_advance(s->ex.request, begun ? REQUEST_RESPONDING : REQUEST_LIVE);
}

void http2_name_stream(struct http2_conn *c, uint32_t id)
{
	uint32_t *slot = slot_of(c, id);

	if ((*slot & ~BEGUN) == id && id != 0)
		name(c, slot);
}

void http2_name_streams(struct http2_conn *c)
{
	for (unsigned i = 0; c->nameless_open > 0; i++) {
		if (c->nameless[i] != 0)
			name(c, &c->nameless[i]);
	}
}

void http2_forget_nameless(struct http2_conn *c)
{
	if (c->nameless_process == request_process())
		request_count_waiting(-(int32_t)c->nameless_open);
	memset(c->nameless, 0, sizeof(c->nameless));
	c->open -= c->nameless_open;
	c->unanswered -= c->nameless_open;
	c->nameless_open = 0;
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

	if (len < frame || known->len == 0 || !known->request || !http2_between_frames(&c->scanner, HTTP2_CLIENT))
		return 0;
	if (c->nameless_process != request_process())
		begin_process(c);
	while (len - at >= frame && c->open + count < LIMIT_STREAMS) {
		const unsigned char *head = (const unsigned char *)in + at;
		uint32_t id = http2_read_32(head + 5) & INT32_MAX, *slot = slot_of(c, id);

		if (http2_read_32(head) != ((uint32_t)known->len << 8 | TYPE_HEADERS) ||
		    head[4] != (FLAG_END_HEADERS | FLAG_END_STREAM) || id % 2 == 0 || id <= half->last || *slot != 0 ||
		    memcmp(head + FRAME_HEADER, known->bytes, known->len) != 0)
			break;
		*slot = half->last = id;
		count++;
		at += frame;
	}
	half->taken += at;
	c->nameless_open += count;
	c->open += count;
	c->unanswered += count;
	c->begun += count;
	request_count_waiting((int32_t)count);
	counters_add(requests, count);
	counters_add(requests_http2, count);
	return at;
}

static void take_answer_of_nameless(struct conn *conn, uint32_t *slot, unsigned type, bool ends)
{
	struct http2_conn *c = http2_of(conn);

	if (type == TYPE_HEADERS)
		*slot |= BEGUN;
	if (!ends)
		return;
	*slot = 0;
	c->nameless_open--;
	c->open--;
	c->unanswered--;
	if (conn_tls(conn) != NULL)
		conn->answered = 0; /* nobody's who is known */
}

static void take_answer(struct conn *conn, struct http2_stream *s, unsigned type, bool ends)
{
	if (type == TYPE_HEADERS) {
		s->ex.response_begun = true;
		if (s->ex.request != NULL)
			request_advance(s->ex.request, REQUEST_RESPONDING);
	}
	if (ends)
		http2_finish_stream(conn, http2_of(conn), s);
}

size_t http2_take_answers(struct conn *conn, const char *out, size_t len)
{
	struct http2_conn *c = http2_of(conn);
	struct http2_half *half = &c->scanner.half[HTTP2_SERVER];
	uint32_t before = c->nameless_open;
	size_t at = 0;

	if (!half->begun || !http2_between_frames(&c->scanner, HTTP2_SERVER) ||
	    (before > 0 && c->nameless_process != request_process()))
		return 0;
	while (len - at >= FRAME_HEADER) {
		const unsigned char *head = (const unsigned char *)out + at;
		uint32_t first = http2_read_32(head), id = http2_read_32(head + 5) & INT32_MAX;
		unsigned type = (uint8_t)first, flags = head[4];
		struct http2_stream *s;

		if (first >> 8 > len - at - FRAME_HEADER || first >> 8 > HTTP2_FRAME_MIN || type > TYPE_HEADERS ||
		    (type == TYPE_HEADERS && !(flags & FLAG_END_HEADERS)) || flags & (FLAG_PADDED | FLAG_PRIORITY))
			break;
		if (http2_is_nameless(c, id))
			take_answer_of_nameless(conn, slot_of(c, id), type, flags & FLAG_END_STREAM);
		else if ((s = http2_find_stream(c, id)) != NULL && s->ex.request_headed)
			take_answer(conn, s, type, flags & FLAG_END_STREAM);
		else
			break;
		at += FRAME_HEADER + (first >> 8);
	}
	half->taken += at;
	if (c->nameless_open < before)
		request_count_waiting((int32_t)(c->nameless_open - before));
	return at;
}

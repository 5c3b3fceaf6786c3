/*
 * The streams of a connection that speaks HTTP/2: those whose request was read or sent, until they are answered.
 *
 * They lie in buckets by id. A stream whose head is on its way out (it may get fields of ours) is in a list too, in the order of
 * the bytes; if it is over before its head is out, that list alone keeps it.
 *
 * Memory: a block a stream, LIMIT_STREAMS a connection; more of them pass. Callers: whoever has the connection's lock.
 */
#include "http2_conn.h"

#include <string.h>

#include "config.h"
#include "counters.h"
#include "pool.h"
#include "span.h"

POOL(streams, sizeof(struct http2_stream), 16);

/* Ids of one side are all odd or all even. */
static unsigned bucket_of(uint32_t id)
{
	return id / 2 % HTTP2_BUCKETS;
}

static struct http2_stream *look_for(const struct http2_conn *c, uint32_t id)
{
	struct http2_stream *s = c->bucket[bucket_of(id)];

	while (s != NULL && s->id != id)
		s = s->next;
	return s;
}

struct http2_stream *http2_find_stream(struct http2_conn *c, uint32_t id)
{
	struct http2_stream *s = look_for(c, id);

	if (s != NULL || !http2_is_nameless(c, id))
		return s;
	http2_name_stream(c, id);
	return look_for(c, id);
}

bool http2_has_stream(const struct http2_conn *c, uint32_t id)
{
	return look_for(c, id) != NULL || http2_is_nameless(c, id);
}

struct http2_stream *http2_open_stream(struct http2_conn *c, uint32_t id)
{
	struct http2_stream *s;

	if (c->refused == id)
		return NULL; /* of its head a part was not looked at */
	s = c->open < LIMIT_STREAMS ? pool_take(&streams) : NULL;
	if (s == NULL) {
		c->untracked = true;
		c->refused = id;
		counters_count(streams_skipped);
		return NULL;
	}
	memset(s, 0, offsetof(struct http2_stream, ex.up)); /* what is behind is for spans, and propagate_begin's */
	if (config.export_traces)
		memset(&s->ex.up, 0, offsetof(struct exchange, in) - offsetof(struct exchange, up));
	s->id = id;
	s->next = c->bucket[bucket_of(id)];
	c->bucket[bucket_of(id)] = s;
	c->open++;
	return s;
}

static void free_stream(struct http2_stream *s)
{
	request_unref(s->ex.request);
	if (s->ex.span != NULL)
		span_free(s->ex.span);
	pool_give(&streams, s);
}

void http2_close_stream(struct http2_conn *c, struct http2_stream *s)
{
	struct http2_stream **link = &c->bucket[bucket_of(s->id)];

	while (*link != s)
		link = &(*link)->next;
	*link = s->next;
	c->open--;
	if (s->ex.request_headed && !s->ex.response_done)
		c->unanswered--;
	if (c->last == s)
		c->last = NULL;
	s->ex.response_done = true;
	s->closed = true;
	if (!s->due)
		free_stream(s);
}

void http2_give_up_stream(struct conn *conn, struct http2_conn *c, struct http2_stream *s)
{
	if (s->ex.span != NULL)
		span_drop(conn, &s->ex);
	if (s->ex.request != NULL && conn_role(conn) == CONN_SERVED)
		request_advance(s->ex.request, REQUEST_ENDED);
	http2_close_stream(c, s);
}

void http2_finish_stream(struct conn *conn, struct http2_conn *c, struct http2_stream *s)
{
	/* A call that another thread reads the answer of, before this one's write has returned: now or never. */
	if (conn_role(conn) == CONN_OUTGOING && !s->claimed)
		http2_claim_call(conn, s, NULL, NULL);
	if (s->ex.span != NULL)
		span_end(conn, &s->ex, false);
	if (s->ex.request != NULL && conn_role(conn) == CONN_SERVED) {
		if (conn_tls(conn) != NULL)
			memcpy(&conn->answered, s->ex.request->ctx.span_id, sizeof(conn->answered));
		/* While others are in hand the program may be at one of them now. */
		request_advance(s->ex.request, c->unanswered > 1 ? REQUEST_FOLLOWED : REQUEST_ENDED);
	}
	http2_close_stream(c, s);
}

struct http2_stream *http2_only_unanswered(struct http2_conn *c)
{
	struct http2_stream *s;
	unsigned i;

	if (c->unanswered != 1 || c->untracked)
		return NULL;
	if (c->nameless_open > 0) {
		http2_name_stream(c, c->scanner.half[HTTP2_CLIENT].last); /* that is it, most likely */
		http2_name_streams(c);
	}
	if (c->last != NULL)
		return c->last;
	for (i = 0; i < HTTP2_BUCKETS; i++)
		for (s = c->bucket[i]; s != NULL; s = s->next)
			if (s->ex.request_headed && !s->ex.response_done)
				return s;
	return NULL;
}

void http2_make_due(struct http2_conn *c, struct http2_stream *s, const struct http2_block *block)
{
	if (s->due)
		return;
	s->due = true;
	s->frame_at = block->frame_at;
	s->frame_len = block->frame_len;
	s->list_bytes = block->list_bytes;
	s->next_due = NULL;
	c->several_due = c->due_last != NULL;
	if (c->due_last != NULL)
		c->due_last->next_due = s;
	else
		c->due_first = s;
	c->due_last = s;
}

void http2_pop_due(struct http2_conn *c)
{
	struct http2_stream *s = c->due_first;

	c->due_first = s->next_due;
	if (c->due_first == NULL)
		c->due_last = NULL;
	s->due = false;
	if (s->closed)
		free_stream(s);
}

void http2_drop_streams(struct conn *conn, struct http2_conn *c)
{
	unsigned i;

	if (c->nameless_open > 0)
		http2_forget_nameless(c);
	for (i = 0; i < HTTP2_BUCKETS; i++) {
		while (c->bucket[i] != NULL)
			http2_give_up_stream(conn, c, c->bucket[i]);
	}
	while (c->due_first != NULL)
		http2_pop_due(c);
}

/*
 * HTTP/2, outgoing: each stream that the program opens is a call; see call.c.
 *
 * Its head is read before it is sent (http2_conn.c), and whose call it is was decided when it was first tried to be sent: a
 * program that comes back with the same bytes later may have something else in hand by then.
 *
 * Callers: whoever has the connection's lock. Memory: the streams.
 */
#include "http2_conn.h"

#include <string.h>

#include "config.h"
#include "counters.h"
#include "span.h"

#define IS(name, len, word) ((len) == sizeof(word) - 1 && memcmp(name, word, sizeof(word) - 1) == 0)

static struct http2_stream *begin_call(struct conn *conn, const struct http2_block *block)
{
	struct http2_conn *c = http2_of(conn);
	struct http2_stream *s;

	if (!block->opens)
		return NULL;
	s = http2_find_stream(c, block->stream);
	if (s != NULL || (s = http2_open_stream(c, block->stream)) == NULL)
		return s;
	s->ex.host_allowed = config.propagate_hosts.len == 0;
	if (config.export_traces)
		span_begin_call(conn, &s->ex);
	return s;
}

static bool names_host(const char *name, size_t name_len)
{
	return IS(name, name_len, ":authority") || IS(name, name_len, "host");
}

bool http2_call_wants(const char *name, size_t name_len)
{
	return config.export_traces || (config.propagate_hosts.len > 0 && names_host(name, name_len)) ||
	       propagate_own_header(name, name_len) != 0;
}

void http2_call_field(void *owner, const struct http2_block *block, const char *name, size_t name_len,
                      const char *value, size_t value_len)
{
	struct http2_stream *s = begin_call(owner, block);

	if (s == NULL)
		return;
	if (s->ex.span != NULL)
		span_take_http2_field(s->ex.span, name, name_len, value, value_len);
	if (names_host(name, name_len))
		s->ex.host_allowed = config_host_allowed(value, value_len);
	else
		s->ex.own |= propagate_own_header(name, name_len);
}

void http2_take_call(struct conn *conn, const struct http2_block *block)
{
	struct http2_conn *c = http2_of(conn);
	struct http2_stream *s = http2_find_stream(c, block->stream);

	if (s == NULL && block->kind == HTTP2_REQUEST && block->sound)
		s = begin_call(conn, block);
	if (s == NULL)
		return;
	if (block->grpc)
		c->shared |= !own_alone(); /* also before a second thread is seen to send */
	if (s->ex.span != NULL) {
		span_count_up(&s->ex, block->frame_len + HTTP2_FRAME_HEAD);
		if (!s->ex.request_headed)
			span_take_grpc(s->ex.span, block->grpc, HTTP2_NO_GRPC_STATUS);
	}
	if (!s->ex.request_headed && (block->kind != HTTP2_REQUEST || !block->sound)) {
		http2_give_up_stream(conn, c, s);
		return;
	}
	s->ex.request_done |= block->end_stream;
	if (s->ex.request_headed)
		return;
	s->ex.request_headed = true;
	c->unanswered++;
	c->last = s;
	http2_make_due(c, s, block);
}

/*
 * A connection that several threads make calls on is mostly flushed by whichever is at it: heads of the others too (gRPC's
 * combiner). So are several heads in one write, by a loop. Who else waits for an answer may be the one.
 */
static bool may_be_anothers(const struct http2_conn *c, const struct request *caller)
{
	return (c->shared || c->several_due) && caller->origin == REQUEST_SERVED && request_others_wait(caller);
}

void http2_note_caller(const struct http2_conn *c, struct http2_stream *s, struct request *caller)
{
	struct request *own;

	if (s->ex.request != NULL || caller == NULL || may_be_anothers(c, caller))
		return;
	/* One that was made up for a call of the program is for one head of it; the others get others. */
	if (caller->origin == REQUEST_LOCAL && request_state(caller) > REQUEST_LIVE && (own = request_new()) != NULL) {
		propagate_fresh(&own->ctx);
		own->origin = REQUEST_LOCAL;
		s->ex.request = own;
		return;
	}
	s->ex.request = request_ref(caller);
	if (caller->origin == REQUEST_LOCAL)
		request_advance(caller, REQUEST_RESPONDING);
}

void http2_claim_call(struct conn *conn, struct http2_stream *s, struct request *caller, const struct span_ids *ids)
{
	if (!s->claimed) {
		s->claimed = true;
		http2_note_caller(http2_of(conn), s, caller);
		counters_count(calls);
		counters_count(calls_http2);
		if (s->ex.own & PROPAGATE_HAS_TRACE)
			counters_count(calls_own_headers);
		else if (!s->ex.host_allowed)
			counters_count(calls_not_allowed);
		else if (s->ex.request == NULL)
			counters_count(calls_unknown);
		else if (ids == NULL)
			counters_count(heads_skipped);
	} else if (ids == NULL) {
		return;
	}
	if (s->ex.span != NULL)
		span_own_call_as(conn, &s->ex, s->ex.request, ids);
}

/* ---- what the peer answers ---- */

void http2_take_reply(struct conn *conn, const struct http2_block *block)
{
	struct http2_conn *c = http2_of(conn);
	struct http2_stream *s = http2_find_stream(c, block->stream);

	if (s == NULL || block->kind == HTTP2_PROMISE)
		return;
	if (s->ex.span != NULL) {
		span_count_down(&s->ex, block->frame_len + HTTP2_FRAME_HEAD);
		span_take_grpc(s->ex.span, false, block->grpc_status);
		if (block->kind == HTTP2_INTERIM)
			span_was_interim(&s->ex);
		else if (block->kind == HTTP2_RESPONSE || block->grpc_status != HTTP2_NO_GRPC_STATUS)
			span_head_was_read(&s->ex); /* how a call of gRPC went is said behind what it answers */
	}
	if (block->kind == HTTP2_RESPONSE) {
		s->ex.response_begun = true;
		s->ex.down.status = block->status;
	}
	if (block->end_stream)
		http2_finish_stream(conn, c, s);
}

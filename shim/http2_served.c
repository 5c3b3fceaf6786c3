/*
 * HTTP/2, served: each stream of the client is a request, as on a connection of its own; see served.c.
 *
 * A request begins with the first field of its head that is wanted, or where that ends. It becomes the reading thread's when it is the only one in hand on the
 * connection (http2_conn.c). It ends when the last frame of its response was handed to the kernel, or either side reset the stream.
 * Streams that the server opened (PUSH_PROMISE) are nobody's requests.
 *
 * Callers: whoever has the connection's lock. Memory: the streams.
 */
#include "http2_conn.h"

#include <string.h>

#include "config.h"
#include "counters.h"
#include "span.h"

struct http2_stream *http2_open_request(struct http2_conn *c, uint32_t id)
{
	struct http2_stream *s = http2_open_stream(c, id);

	if (s == NULL)
		return NULL;
	s->ex.request = request_new();
	if (s->ex.request == NULL) {
		c->untracked = true;
		c->refused = id;
		http2_close_stream(c, s);
		return NULL;
	}
	s->ex.request->multiplexed = true;
	if (config.export_traces)
		span_begin_served(&s->ex);
	return s;
}

/* The stream whose request's head a field belongs to. */
static struct http2_stream *find_opening(struct http2_conn *c, const struct http2_block *block)
{
	struct http2_stream *s;

	if (!block->opens)
		return NULL;
	s = http2_find_stream(c, block->stream);
	if (s == NULL && (s = http2_open_request(c, block->stream)) != NULL)
		propagate_begin(&s->ex.in, &s->ex.request->ctx);
	return s;
}

bool http2_served_wants(const char *name, size_t name_len)
{
	return config.export_traces || propagate_wants(name, name_len);
}

void http2_served_field(void *owner, const struct http2_block *block, const char *name, size_t name_len,
                        const char *value, size_t value_len)
{
	struct http2_stream *s = find_opening(http2_of(owner), block);
	struct trace_context *ctx;

	if (s == NULL)
		return;
	if (s->ex.span != NULL)
		span_take_http2_field(s->ex.span, name, name_len, value, value_len);
	if ((name_len > 0 && name[0] == ':') || !propagate_wants(name, name_len))
		return;
	ctx = &s->ex.request->ctx;
	if ((size_t)(ctx->text.cap - ctx->text.len) < propagate_text_needed(ctx, name, name_len, value_len))
		(void)request_grow_text(s->ex.request);
	propagate_field(&s->ex.in, ctx, name, name_len, value, value_len);
}

void http2_take_request(struct conn *conn, const struct http2_block *block)
{
	struct http2_conn *c = http2_of(conn);
	struct http2_stream *s = http2_find_stream(c, block->stream);
	bool unsaid = s == NULL; /* no field of it was wanted */

	if (unsaid && block->kind == HTTP2_REQUEST && block->sound)
		s = http2_open_request(c, block->stream);
	if (s == NULL)
		return;
	if (s->ex.span != NULL) {
		span_count_up(&s->ex, block->frame_len + HTTP2_FRAME_HEAD);
		if (!s->ex.request_headed)
			span_take_grpc(s->ex.span, block->grpc, HTTP2_NO_GRPC_STATUS);
	}
	if (block->kind == HTTP2_TRAILERS || s->ex.request_headed) {
		s->ex.request_done |= block->end_stream;
		return;
	}
	if (block->kind != HTTP2_REQUEST || !block->sound) {
		http2_give_up_stream(conn, c, s); /* to be reset: it is in error */
		return;
	}
	if (unsaid)
		propagate_fresh_new(&s->ex.request->ctx);
	else
		propagate_end(&s->ex.in, &s->ex.request->ctx);
	s->ex.request_headed = true;
	s->ex.request_done = block->end_stream;
	request_advance(s->ex.request, REQUEST_LIVE);
	/* None is behind another one: a server takes up all that it has read of HTTP/2 at once. */
	request_begin_waiting(s->ex.request, false);
	c->unanswered++;
	c->last = s;
	c->begun++;
	counters_count(requests);
	counters_count(requests_http2);
	if (s->ex.request->ctx.remote)
		counters_count(requests_continued);
}

/* ---- answers ---- */

bool http2_answer_wants(const char *name, size_t name_len)
{
	return name_len == config.response_header.len && memcmp(name, config.response_header.text, name_len) == 0;
}

void http2_answer_field(void *owner, const struct http2_block *block, const char *name, size_t name_len,
                        const char *value, size_t value_len)
{
	struct http2_stream *s = http2_find_stream(http2_of(owner), block->stream);

	(void)name, (void)name_len, (void)value, (void)value_len;
	if (s != NULL)
		s->ex.own_response_header = true;
}

void http2_take_answer(struct conn *conn, const struct http2_block *block)
{
	struct http2_conn *c = http2_of(conn);
	struct http2_stream *s = http2_find_stream(c, block->stream);

	if (s == NULL || !s->ex.request_headed || block->kind == HTTP2_PROMISE)
		return;
	if (s->ex.span != NULL) {
		span_count_down(&s->ex, block->frame_len + HTTP2_FRAME_HEAD);
		span_take_grpc(s->ex.span, false, block->grpc_status);
	}
	if (block->kind == HTTP2_INTERIM) {
		if (s->ex.span != NULL)
			span_was_interim(&s->ex);
		return;
	}
	if (block->kind == HTTP2_RESPONSE) {
		s->ex.response_begun = true;
		s->ex.down.status = block->status;
		if (s->ex.request != NULL)
			request_advance(s->ex.request, REQUEST_RESPONDING);
		if (c->inserts && block->sound && !s->ex.own_response_header)
			http2_make_due(c, s, block);
	}
	if (block->end_stream)
		http2_finish_stream(conn, c, s);
}

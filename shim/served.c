/*
 * Served connections: requests come in, responses go out.
 *
 * A request starts at its first byte; its head fills its identity (propagate.h); it becomes the reading thread's request
 * when the head is complete. It ends when the last byte of its response was handed to the kernel, or the connection died.
 * Pipelined requests queue up; a thread that has read several unanswered ones works for a request that nobody can name.
 */
#include <string.h>

#include "config.h"
#include "counters.h"
#include "current.h"
#include "layout.h"
#include "protocol.h"
#include "span.h"
#include "stream.h"

static struct http1_filter request_filter LAYOUT_LATER, response_filter LAYOUT_LATER;

__attribute__((cold)) void served_prepare(void)
{
	http1_filter_init(&request_filter);
	propagate_each_wanted(stream_expect_field, &request_filter);
	if (config.export_traces)
		span_each_wanted(stream_expect_field, &request_filter);
	http1_filter_init(&response_filter);
	if (config.response_header.len > 0)
		http1_expect_field(&response_filter, config.response_header.text, config.response_header.len);
}

static bool head_wants(void *owner, const char *name, size_t len)
{
	(void)owner;
	return propagate_wants(name, len) || (config.export_traces && span_wants(name, len));
}

static void head_field(void *owner, const char *name, size_t name_len, const char *value, size_t value_len)
{
	struct exchange *ex = owner;
	struct trace_context *ctx = &ex->request->ctx;

	if (ex->span != NULL && span_take_field(ex->span, name, name_len, value, value_len) &&
	    !propagate_wants(name, name_len))
		return;
	if ((size_t)(ctx->text.cap - ctx->text.len) < propagate_text_needed(ctx, name, name_len, value_len))
		(void)request_grow_text(ex->request);
	propagate_field(&ex->in, ctx, name, name_len, value, value_len);
}

/* The exchange whose request the next received byte belongs to. */
static struct exchange *receiving(struct conn *conn)
{
	struct exchange *ex = conn_last(conn);

	if (ex == NULL || ex->request_done) {
		/* Was the one before it answered by a child, made before it came or since? Then the next answer would be taken for that. */
		if (conn->first != NULL && conn_child_since(conn->first->request)) {
			conn_make_opaque(conn, true);
			return NULL;
		}
		ex = conn_push(conn);
		if (ex == NULL)
			return NULL;
		http1_init(&ex->up, HTTP1_REQUEST, 0);
	}
	if (ex->request == NULL) {
		ex->request = request_new();
		if (ex->request == NULL) {
			conn_make_opaque(conn, true);
			return NULL;
		}
		propagate_begin(&ex->in, &ex->request->ctx);
		if (config.export_traces)
			span_begin_served(ex);
	}
	return ex;
}

static void request_complete_head(const struct conn *conn, struct exchange *ex)
{
	propagate_end(&ex->in, &ex->request->ctx);
	ex->request_headed = true;
	ex->request->children = conn_shared_since(conn);
	request_advance(ex->request, REQUEST_LIVE);
	request_begin_waiting(ex->request, conn->first != ex);
	counters_count(requests);
	if (ex->request->ctx.remote)
		counters_count(requests_continued);
}

/*
 * The one request that the program can be working for: the only unanswered one, complete in its head. Of several that were read at once
 * none is: servers take them in order, but may hold an answer back while they have the next request at hand (Apache does), so that no
 * call tells when they go on to that. Of one whose head is not whole they have nothing at hand, if they were not busy before.
 */
static struct request *only_unanswered(const struct conn *conn, bool had_unanswered)
{
	const struct exchange *ex = conn->first;

	if (ex == NULL || !ex->request_headed || ex->response_done)
		return NULL;
	if (ex->next != NULL && (had_unanswered || ex->next->request_headed))
		return NULL;
	return ex->request;
}

static __attribute__((cold)) struct request *raw_received(struct conn *conn, size_t len)
{
	if (!conn->raw_in) {
		struct request *fresh = request_new();

		if (config.export_traces)
			span_raw_end(conn);
		if (conn->owner != NULL)
			request_advance(conn->owner, REQUEST_ENDED);
		request_unref(conn->owner);
		conn->owner = fresh;
		conn->raw_in = true;
		if (fresh != NULL) {
			propagate_fresh(&fresh->ctx);
			request_advance(fresh, REQUEST_LIVE);
			request_begin_waiting(fresh, false);
			counters_count_seldom(requests);
			counters_count_seldom(requests_raw);
			if (config.export_traces)
				span_raw_begin(conn);
		}
	}
	if (config.export_traces)
		span_raw_received(conn, len);
	return conn->owner;
}

/* What is spoken? Decided on the very first bytes of a connection. */
__attribute__((cold)) __attribute__((noinline)) void served_start(struct conn *conn, const char *in, size_t len)
{
	current_look_around();
	if (http1_sniff_request(in, len) != HTTP1_SNIFF_NO) {
		conn->mode = CONN_HTTP1;
	} else if (!protocol_begin(conn, in, len)) {
		counters_count_seldom(opaque_connections);
		conn_make_opaque(conn, false);
	}
}

static __attribute__((cold)) struct request *received_otherwise(struct conn *conn, const char *in, size_t len)
{
	struct request *request = NULL;

	if (conn->mode == CONN_UPGRADED && !protocol_begin(conn, in, len))
		conn_make_opaque(conn, false);
	if (conn->mode == CONN_PROTOCOL)
		request = conn->protocol->received(conn, in, len);
	/* It may have been none of that, after all. */
	return conn->mode == CONN_OPAQUE && config.raw ? raw_received(conn, len) : request;
}

enum taken { TAKEN, TAKEN_NO_HTTP, TAKEN_NO_ROOM };

/* What the peer sent, to its end. */
static enum taken take_requests(struct conn *conn, const char *in, size_t len, struct http1_known *known)
{
	struct http1_sink sink = {
		.wants = head_wants, .field = head_field, .filter = stream_filter(&request_filter), .known = known
	};

	while (len > 0) {
		struct exchange *ex = receiving(conn);
		struct http1_message message;
		enum http1_status status;
		size_t used;

		if (ex == NULL)
			return TAKEN_NO_ROOM;
		sink.owner = ex;
		if (ex->span != NULL)
			span_take_line(ex->span, in, len);
		if (http1_untouched(&ex->up) && ex->up.head_bytes == 0 &&
		    http1_take_known(&ex->up, 0, &sink, in, len, len, &message)) {
			used = message.end;
			status = HTTP1_HEAD;
		} else {
			status = http1_feed(&ex->up, &sink, conn_line_buffer, in, len, &used);
			message.done = ex->up.body == HTTP1_BODY_NONE;
		}
		if (ex->span != NULL)
			span_count_up(ex, used);
		in += used;
		len -= used;
		if (status == HTTP1_HEAD) {
			request_complete_head(conn, ex);
			status = message.done ? HTTP1_DONE : HTTP1_MORE;
		}
		if (status == HTTP1_ALIEN) {
			conn_make_opaque(conn, true); /* `GET key` of a line protocol looked like it */
			return TAKEN_NO_HTTP;
		}
		if (status == HTTP1_DONE) {
			ex->request_done = true;
			conn_pop_done(conn);
		}
	}
	return TAKEN;
}

enum mark { MARK_NONE, MARK_PLAIN, MARK_TELLING };

/* Of a head that is known: has it no field but such as only spans want? Then a request that is such a head and no more is taken at once. */
static __attribute__((cold)) __attribute__((noinline)) void mark_head(struct http1_known *known)
{
	known->mark = MARK_PLAIN;
	for (unsigned i = 0; i < known->fields; i++)
		if (propagate_wants(known->names + known->field[i].name, known->field[i].name_len))
			known->mark = MARK_TELLING;
	if (known->mark == MARK_PLAIN && http1_is_whole(known))
		known->whole = (uint16_t)(known->len + 2);
}

/*
 * What take_requests does with a whole request, at `in`, that is like the last one, is alone on its connection and says nothing of a
 * trace: all of it at once.
 */
static LAYOUT_INLINE struct request *take_known(struct conn *conn, struct http1_known *known, const char *in)
{
	struct request *request;
	struct exchange *ex = conn_push_first(conn, CONN_SERVED);

	if (ex == NULL)
		return NULL;
	http1_use_known(&ex->up, known);
	request = request_new_fresh(conn_shared_since(conn));
	if (__builtin_expect(request == NULL, 0)) {
		conn_make_opaque(conn, true);
		return NULL;
	}
	ex->request = request;
	if (config.export_traces)
		span_begin_known(ex, known, in);
	ex->request_headed = ex->request_done = true;
	counters_count_here(requests);
	return request;
}

LAYOUT_BUILT_IN struct request *served_received_usual(struct conn *conn, const char *in, size_t len)
{
	struct stream_heads *heads;
	struct http1_known *known;
	struct request *request = NULL;

	if (conn->first != NULL)
		return NULL;
	heads = stream_borrow_heads();
	if (__builtin_expect(heads == NULL, 0))
		return NULL;
	known = &heads->of[STREAM_REQUEST_IN];
	if (known->whole == len && memcmp(in, known->head, len) == 0)
		request = take_known(conn, known, in);
	stream_return_heads(heads);
	return request;
}

struct request *served_received(struct conn *conn, const char *in, size_t len)
{
	bool had_unanswered = conn->first != NULL, at_end = had_unanswered && conn->first->response_done;
	struct stream_heads *heads;
	struct http1_known *known;
	enum taken taken;

	if (__builtin_expect(conn->mode == CONN_FRESH, 0))
		served_start(conn, in, len);
	if (__builtin_expect(conn->mode != CONN_HTTP1, 0))
		return received_otherwise(conn, in, len);
	heads = stream_take_heads();
	known = stream_known(heads, STREAM_REQUEST_IN);
	taken = take_requests(conn, in, len, known);
	if (known != NULL && known->mark == MARK_NONE && known->len > 0)
		mark_head(known);
	stream_give_heads(heads);
	/* Of one that was answered before its body was read this was the rest, and the program may be at its end still. */
	if (taken == TAKEN)
		return at_end ? NULL : only_unanswered(conn, had_unanswered);
	return taken == TAKEN_NO_HTTP && config.raw ? raw_received(conn, 0) : NULL;
}

static bool response_wants(void *owner, const char *name, size_t len)
{
	(void)owner;
	return config.response_header.len == len && memcmp(config.response_header.text, name, len) == 0;
}

static void response_field(void *owner, const char *name, size_t name_len, const char *value, size_t value_len)
{
	(void)name, (void)name_len, (void)value, (void)value_len;
	*(bool *)owner = true;
}

static unsigned response_options(const struct exchange *ex)
{
	if (ex->up.method == HTTP1_HEAD_METHOD)
		return HTTP1_TO_HEAD;
	return ex->up.method == HTTP1_CONNECT ? HTTP1_TO_CONNECT : 0;
}

static void begin_response(struct exchange *ex)
{
	http1_init(&ex->down, HTTP1_RESPONSE, response_options(ex));
	ex->response_begun = true;
}

static void finish_response(struct conn *conn, struct exchange *ex);

__attribute__((noinline)) void served_finish(struct conn *conn, struct exchange *ex)
{
	if (__builtin_expect(ex->up.line != NULL || ex->down.line != NULL || conn->depth != 1, 0)) {
		finish_response(conn, ex);
		return;
	}
	if (conn_tls(conn) != NULL)
		memcpy(&conn->answered, ex->request->ctx.span_id, sizeof(conn->answered));
	conn->first = NULL;
	conn->depth = 0;
	request_answered(ex->request);
	conn_give_exchange(ex, CONN_SERVED);
}

__attribute__((noinline)) void served_finish_told(struct conn *conn, struct exchange *ex, size_t used)
{
	span_count_down(ex, used);
	span_end(conn, ex, false);
	served_finish(conn, ex);
}

static void finish_response(struct conn *conn, struct exchange *ex)
{
	if (ex->down.interim) {
		/* A 1xx: the final response follows, with a fresh scanner but the same buffer. */
		char *line = ex->down.line;

		begin_response(ex);
		ex->down.line = line;
		if (ex->span != NULL)
			span_was_interim(ex);
		return;
	}
	if (ex->span != NULL)
		span_end(conn, ex, false);
	ex->response_done = true;
	if (conn_tls(conn) != NULL)
		memcpy(&conn->answered, ex->request->ctx.span_id, sizeof(conn->answered));
	request_advance(ex->request, ex->next != NULL && ex->next->request_headed ? REQUEST_FOLLOWED : REQUEST_ENDED);
	conn_pop_done(conn);
}

/* The exchange whose response the next sent byte belongs to; NULL (and opaque) where there is no request for it. */
static struct exchange *sending(struct conn *conn)
{
	struct exchange *ex = served_unanswered(conn);

	if (ex == NULL) {
		/* The server speaks first (SMTP), or answers what never became a request (408, 400): not ours to follow. */
		conn_make_opaque(conn, conn->mode == CONN_HTTP1);
		return NULL;
	}
	if (!ex->response_begun)
		begin_response(ex);
	return ex;
}

struct request *served_answering(const struct conn *conn)
{
	const struct exchange *ex;

	if (conn->mode != CONN_HTTP1)
		return conn->mode == CONN_OPAQUE && config.raw ? conn->owner : NULL;
	ex = served_unanswered(conn);
	return ex == NULL ? NULL : ex->request;
}

/* Sent on a connection that is not HTTP, or not any more; one that was fresh is none, as the server speaks first. */
static __attribute__((cold)) void sent_otherwise(struct conn *conn, const char *out, size_t len)
{
	if (conn->mode == CONN_PROTOCOL || ((conn->mode == CONN_FRESH || conn->mode == CONN_UPGRADED) && out != NULL &&
	                                    protocol_begin_by_server(conn, out, len))) {
		conn->protocol->sent(conn, out, len, NULL);
		return;
	}
	if (conn->mode == CONN_FRESH || conn->mode == CONN_UPGRADED)
		conn_make_opaque(conn, false);
	/* Where such an answer ends is not known: its first bytes have to do. */
	if (conn->owner != NULL && len > 0)
		request_end_waiting(conn->owner);
	conn->raw_in = false;
	if (config.export_traces)
		span_raw_sent(conn, len);
}

/* What the scanner said of bytes that were sent. false: the connection is none of HTTP's any more. */
static bool go_on(struct conn *conn, struct exchange *ex, enum http1_status status)
{
	switch (status) {
	case HTTP1_HEAD:
		if (ex->down.body == HTTP1_BODY_NONE)
			finish_response(conn, ex);
		return true;
	case HTTP1_DONE: finish_response(conn, ex); return true;
	case HTTP1_TUNNEL:
		counters_count_seldom(http_tunnels);
		if (ex->span != NULL)
			span_end(conn, ex, true);
		if (ex->down.status == 101)
			conn_upgrade(conn);
		else
			conn_make_opaque(conn, false);
		return false;
	case HTTP1_ALIEN: conn_make_opaque(conn, true); return false;
	default: return true;
	}
}

static void take_responses(struct conn *conn, const char *out, size_t len, struct http1_known *known)
{
	struct http1_sink sink = { .wants = config.response_header.len > 0 ? response_wants : NULL,
		                   .field = response_field,
		                   .filter = stream_filter(&response_filter),
		                   .known = known };

	while (len > 0) {
		struct exchange *ex = sending(conn);
		enum http1_status status;
		size_t used;

		if (ex == NULL)
			return;
		sink.owner = &ex->own_response_header;
		status = http1_feed(&ex->down, &sink, conn_line_buffer, out, len, &used);
		out += used;
		len -= used;
		if (ex->span != NULL)
			span_count_down(ex, used);
		if (!go_on(conn, ex, status)) {
			if (len > 0 && conn->mode == CONN_UPGRADED)
				sent_otherwise(conn, out, len);
			return;
		}
	}
}

void served_sent(struct conn *conn, const char *out, size_t len)
{
	struct stream_heads *heads;

	if (conn->mode != CONN_HTTP1) {
		sent_otherwise(conn, out, len);
		return;
	}
	heads = stream_take_heads();
	take_responses(conn, out, len, stream_known(heads, STREAM_RESPONSE_OUT));
	stream_give_heads(heads);
}

void served_sent_unseen(struct conn *conn, size_t len)
{
	struct exchange *first = conn->first;

	if (conn->mode != CONN_HTTP1) {
		sent_otherwise(conn, NULL, len);
		return;
	}
	/* A file, whole, as a rule. */
	if (first != NULL && first->response_begun && !first->response_done && http1_skip_rest(&first->down, len)) {
		if (first->span != NULL)
			span_count_down(first, len);
		finish_response(conn, first);
		return;
	}
	while (len > 0) {
		struct exchange *ex = sending(conn);
		enum http1_status status;
		uint64_t skipped;

		if (ex == NULL)
			return;
		status = http1_skip(&ex->down, len, &skipped);
		len -= (size_t)skipped;
		if (ex->span != NULL)
			span_count_down(ex, (size_t)skipped);
		if (!go_on(conn, ex, status))
			return;
	}
}

void served_sent_known(struct conn *conn, const struct stream_spot *spot, size_t len)
{
	struct exchange *ex = served_unanswered(conn);
	char *line;

	if (ex == NULL) {
		(void)sending(conn);
		return;
	}
	line = ex->response_begun ? ex->down.line : NULL;
	ex->response_begun = true;
	ex->down = spot->after;
	ex->down.line = line;
	ex->own_response_header = spot->own_response_header;
	if (ex->span != NULL)
		span_count_down(ex, len);
	if (spot->done)
		finish_response(conn, ex);
}

void served_hold_span(struct conn *conn, const struct stream_spot *spot)
{
	struct exchange *ex = conn->mode == CONN_HTTP1 ? served_unanswered(conn) : NULL;

	if (ex == NULL || ex->span == NULL)
		return;
	if (spot == NULL)
		span_hold_unseen(conn, ex);
	else if (spot->known && spot->done)
		span_hold(conn, ex, &spot->after, spot->end);
}

__attribute__((cold)) void served_shut(struct conn *conn)
{
	struct exchange *ex = conn->first;

	if (conn->mode == CONN_HTTP1 && ex != NULL && ex->response_begun && !ex->response_done &&
	    http1_eof(&ex->down) == HTTP1_DONE) {
		if (ex->span != NULL)
			span_count_down(ex, 0);
		finish_response(conn, ex);
	}
}

LAYOUT_BUILT_IN struct stream_heads *served_find_head(const char *out, size_t len)
{
	struct stream_heads *heads = stream_borrow_heads();
	struct http1_known *known;

	if (__builtin_expect(heads == NULL, 0))
		return NULL;
	known = &heads->of[STREAM_RESPONSE_OUT];
	/* One that is not marked yet is as long as nothing. */
	if ((__builtin_expect(known->whole - 1u < len, 1) ||
	     (known->mark == 0 && stream_mark_response(known) && known->whole - 1u < len)) &&
	    memcmp(out, known->head, known->whole) == 0)
		return heads;
	stream_return_heads(heads);
	return NULL;
}

bool served_find_spot(struct conn *conn, const struct iovec *iov, int count, size_t offset, struct stream_spot *spot)
{
	struct http1_sink sink = { .wants = response_wants,
		                   .field = response_field,
		                   .owner = &spot->own_response_header,
		                   .filter = stream_filter(&response_filter) };
	const struct exchange *ex = conn->mode == CONN_HTTP1 ? served_unanswered(conn) : NULL;
	struct stream_heads *heads;
	bool found;

	spot->end = SIZE_MAX;
	spot->known = false;
	if (ex == NULL)
		return conn->mode == CONN_PROTOCOL && conn->protocol->find_spot(conn, iov, count, offset, spot);
	spot->own_response_header = ex->own_response_header;
	heads = stream_take_heads();
	sink.known = stream_known(heads, STREAM_RESPONSE_OUT);
	if (ex->response_begun)
		http1_fork(&spot->after, &ex->down);
	else
		http1_init(&spot->after, HTTP1_RESPONSE, response_options(ex));
	found = stream_find_spot(spot, &sink, iov, count, offset);
	stream_give_heads(heads);
	return found;
}

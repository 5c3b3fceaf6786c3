/*
 * The life of a request that is told of in variables of CGI; see cgi_conn.h.
 *
 * What served.c and call.c do for a head of HTTP/1: the variables that begin with HTTP_ are its fields, and tell the request's identity,
 * or what a call has of its own and must not get twice. A web server passes its client's fields on: where these name a trace, it is
 * that one, as with a proxy of HTTP. Which host a call goes to is not said in it: TRACESHIM_PROPAGATE is asked about HTTP_HOST, the
 * only name there is.
 *
 * Memory: one block a connection. Callers: whoever has the connection's lock.
 */
#include "cgi_conn.h"

#include <string.h>

#include "config.h"
#include "counters.h"
#include "ids.h"
#include "pool.h"
#include "span.h"
#include "stream.h"

#define IS(name, len, word) ((len) == sizeof(word) - 1 && memcmp(name, word, sizeof(word) - 1) == 0)

POOL(cgi_conns, sizeof(struct cgi_conn), 16);

_Static_assert(INSERTION_GATHERS >= CGI_GROWTH + UWSGI_PACKET_HEAD + FASTCGI_HEADER, "lines lie behind their pairs");

/* ---- the state ---- */

static struct cgi_conn *state_of(struct protocol *protocol)
{
	return (struct cgi_conn *)(void *)((char *)protocol - offsetof(struct cgi_conn, protocol));
}

struct cgi_conn *cgi_of(struct conn *conn)
{
	return state_of(conn->protocol);
}

static void drop(struct conn *conn, struct protocol *protocol)
{
	struct cgi_conn *state = state_of(protocol);

	(void)conn;
	if (state->up.pairs.line != NULL)
		conn_line_buffer_free(state->up.pairs.line);
	if (state->packet.pairs.line != NULL)
		conn_line_buffer_free(state->packet.pairs.line);
	pool_give(&cgi_conns, state);
}

/* One at a time: whatever is written is of that one. */
static enum protocol_whose writes(struct conn *conn, const struct iovec *iov, int count, struct request **request)
{
	struct exchange *ex = conn->first;

	(void)iov, (void)count;
	if (conn_role(conn) == CONN_SERVED) {
		*request = cgi_unanswered(conn);
		return *request != NULL ? PROTOCOL_ONE : PROTOCOL_NOBODY;
	}
	if (ex == NULL || ex->request_done)
		return PROTOCOL_NOBODY;
	*request = ex->request != NULL ? ex->request : conn->owner;
	return PROTOCOL_ONE;
}

static enum protocol_whose reads(struct conn *conn, struct request **request)
{
	if (conn->first == NULL)
		return PROTOCOL_NOBODY;
	*request = conn->first->request_headed ? conn->first->request : conn->owner;
	return PROTOCOL_ONE;
}

/* Nothing more can come for a call. */
static void ended(struct conn *conn)
{
	struct exchange *ex = conn->first;

	if (conn_role(conn) == CONN_OUTGOING && ex != NULL && ex->span != NULL && ex->request_headed)
		span_drop(conn, ex);
}

struct cgi_conn *cgi_new(void)
{
	struct cgi_conn *state = pool_take(&cgi_conns);

	if (state == NULL) {
		counters_count(no_memory_skipped);
		return NULL;
	}
	memset(state, 0, sizeof(*state));
	state->protocol.writes = writes;
	state->protocol.reads = reads;
	state->protocol.ended = ended;
	state->protocol.drop = drop;
	return state;
}

void cgi_lose(struct conn *conn, bool begun)
{
	if (!begun)
		counters_count(opaque_connections);
	conn_make_opaque(conn, begun);
}

/* ---- a request ---- */

struct request *cgi_unanswered(struct conn *conn)
{
	const struct exchange *ex = conn->first;

	return ex != NULL && ex->request_headed && !ex->response_done ? ex->request : NULL;
}

struct exchange *cgi_begin(struct conn *conn)
{
	struct exchange *ex = conn_push(conn);

	if (ex == NULL)
		return NULL;
	http1_init(&ex->up, HTTP1_REQUEST, 0);
	if (conn_role(conn) != CONN_SERVED) {
		ex->host_allowed = config.propagate_hosts.len == 0;
		if (config.export_traces)
			span_begin_call(conn, ex);
		return ex;
	}
	ex->request = request_new();
	if (ex->request == NULL) {
		conn_make_opaque(conn, true);
		return NULL;
	}
	propagate_begin(&ex->in, &ex->request->ctx);
	if (config.export_traces)
		span_begin_served(ex);
	cgi_of(conn)->address_len = 0;
	cgi_of(conn)->secure = false;
	return ex;
}

struct cgi_telling cgi_telling_dry(const struct conn *conn)
{
	const struct exchange *ex = conn_last(conn);

	if (ex == NULL || ex->request_headed)
		return (struct cgi_telling){ .host_allowed = config.propagate_hosts.len == 0 };
	return (struct cgi_telling){ .own = ex->own, .host_allowed = ex->host_allowed };
}

struct cgi_telling cgi_telling_of(struct conn *conn)
{
	struct cgi_telling telling = cgi_telling_dry(conn);

	telling.ex = conn_last(conn);
	telling.state = conn_role(conn) == CONN_SERVED ? cgi_of(conn) : NULL;
	return telling;
}

/* ---- its head ---- */

static void take_served_field(struct exchange *ex, const char *name, size_t name_len, const char *value,
                              size_t value_len)
{
	struct trace_context *ctx = &ex->request->ctx;

	if (ex->span != NULL)
		(void)span_take_field(ex->span, name, name_len, value, value_len);
	if (!propagate_wants(name, name_len))
		return;
	if ((size_t)(ctx->text.cap - ctx->text.len) < propagate_text_needed(ctx, name, name_len, value_len))
		(void)request_grow_text(ex->request);
	propagate_field(&ex->in, ctx, name, name_len, value, value_len);
}

static void take_variable(const struct cgi_telling *telling, const char *name, size_t name_len, const char *value,
                          size_t value_len)
{
	struct exchange *ex = telling->ex;
	struct cgi_conn *state = telling->state;

	if (IS(name, name_len, "REQUEST_METHOD")) {
		ex->up.method = (uint8_t)cgi_method(value, value_len);
		if (ex->span != NULL)
			span_take_http2_field(ex->span, ":method", 7, value, value_len);
	} else if (IS(name, name_len, "REQUEST_URI") && ex->span != NULL) {
		span_take_http2_field(ex->span, ":path", 5, value, value_len);
	} else if (IS(name, name_len, "REMOTE_ADDR") && state != NULL && value_len <= sizeof(state->address)) {
		memcpy(state->address, value, value_len);
		state->address_len = (uint8_t)value_len;
	} else if (IS(name, name_len, "HTTPS") && state != NULL) {
		state->secure = value_len > 0 && !IS(value, value_len, "off");
	}
}

void cgi_take_pair(void *owner, const char *name, size_t name_len, const char *value, size_t value_len)
{
	struct cgi_telling *telling = owner;
	char field[LIMIT_HEADER_NAME];
	size_t len = cgi_field_name(field, name, name_len);

	for (; value_len > 0 && (*value == ' ' || *value == '\t'); value++)
		value_len--;
	while (value_len > 0 && (value[value_len - 1] == ' ' || value[value_len - 1] == '\t'))
		value_len--;
	if (len == 0) {
		telling->asks |= IS(name, name_len, "REQUEST_METHOD");
		if (telling->ex != NULL)
			take_variable(telling, name, name_len, value, value_len);
	} else if (telling->state != NULL) {
		take_served_field(telling->ex, field, len, value, value_len);
	} else if (IS(field, len, "host")) {
		telling->host_allowed = config_host_allowed(value, value_len);
	} else {
		telling->own |= propagate_own_header(field, len);
	}
}

void cgi_set_owner(struct conn *conn, struct request *caller)
{
	struct request *before = conn->owner;

	if (before != caller) {
		conn->owner = request_ref(caller);
		request_unref(before);
	}
}

static void end_call_head(struct conn *conn, struct exchange *ex, struct request *caller, bool inserted)
{
	ex->request = request_ref(caller);
	if (ex->span != NULL)
		span_own_call(conn, ex, caller);
	counters_count(calls);
	counters_count(calls_cgi);
	if (ex->own & PROPAGATE_HAS_TRACE)
		counters_count(calls_own_headers);
	else if (!ex->host_allowed)
		counters_count(calls_not_allowed);
	else if (ex->request == NULL)
		counters_count(calls_unknown);
	else if (!inserted)
		counters_count(heads_skipped);
}

void cgi_end_head(struct conn *conn, const struct cgi_telling *telling, struct request *caller)
{
	struct exchange *ex = conn_last(conn);
	const struct cgi_conn *state = telling->state;

	ex->own = telling->own;
	ex->host_allowed = telling->host_allowed;
	ex->request_headed = true;
	if (ex->span != NULL)
		span_came_by_cgi(ex->span, state != NULL && state->secure);
	if (state == NULL) {
		end_call_head(conn, ex, caller, cgi_of(conn)->inserts);
		cgi_of(conn)->inserts = false;
		return;
	}
	/* Whom the web server answers; where there are proxies before it, a field has said so. */
	if (ex->span != NULL && state->address_len > 0)
		(void)span_take_field(ex->span, "x-forwarded-for", 15, state->address, state->address_len);
	propagate_end(&ex->in, &ex->request->ctx);
	request_advance(ex->request, REQUEST_LIVE);
	request_begin_waiting(ex->request, false);
	counters_count(requests);
	counters_count(requests_cgi);
	if (ex->request->ctx.remote)
		counters_count(requests_continued);
}

/* ---- its answer ---- */

void cgi_count_answer(struct exchange *ex, size_t len)
{
	if (!ex->response_begun) {
		http1_init(&ex->down, HTTP1_RESPONSE, ex->up.method == HTTP1_HEAD_METHOD ? HTTP1_TO_HEAD : 0);
		ex->response_begun = true;
	}
	if (ex->span != NULL)
		span_count_down(ex, len);
}

void cgi_tell_status(struct exchange *ex, uint16_t status)
{
	ex->down.status = status;
	if (ex->span != NULL)
		span_head_was_read(ex);
}

void cgi_finish(struct conn *conn, struct exchange *ex)
{
	bool served = conn_role(conn) == CONN_SERVED;

	if (ex->span != NULL && ex->request_headed)
		span_end(conn, ex, false);
	ex->request_done = ex->response_done = true;
	if (served)
		request_advance(ex->request, REQUEST_ENDED);
	conn_pop_done(conn);
	if (!served)
		cgi_set_owner(conn, NULL); /* kept for later: whoever called last need not be kept with it */
}

/* ---- what is inserted ---- */

size_t cgi_format_call(enum cgi_lengths kind, const struct protocol_call *call, const struct stream_spot *spot,
                       struct insertion *ins, char *out)
{
	char *lines = ins->text + INSERTION_GATHERS;
	uint8_t span_id[8];
	size_t len;

	if (call->caller == NULL || !spot->host_allowed || (spot->own & PROPAGATE_HAS_TRACE) != 0)
		return 0;
	ids_generate_span(span_id);
	if (config.export_traces)
		span_describe_call(&ins->ids, call->caller, span_id);
	len = propagate_format_headers(&call->caller->ctx, span_id, spot->own, lines);
	len = cgi_format_pairs(kind, lines, len, out);
	return (size_t)(out - ins->text) + len <= LIMIT_INJECTION ? len : 0;
}

/*
 * FastCGI on connections: each request is one of ours, as on a connection of HTTP/1; see cgi_conn.h.
 *
 * A request begins with its BEGIN_REQUEST; it becomes the reading thread's when its params have ended, and ends when its END_REQUEST was
 * handed to the kernel. A call gets a record of params of ours, right before the empty one that ends them: records stand by
 * themselves, so nothing of the program's has to change. Where the header of the empty one does not lie whole in the call, nothing is
 * inserted. Several requests at a time on one connection (FCGI_MPXS_CONNS) are followed no further: no server in use takes them.
 *
 * Memory: one block a connection (cgi_conn.c). Callers: whoever has the connection's lock.
 */
#include "cgi_conn.h"

#include <string.h>

#include "span.h"
#include "stream.h"

/* What the client's side says; false: it cannot be followed any more, and the state is gone. */
static bool take_request(struct conn *conn, enum fastcgi_status status, const struct cgi_telling *telling,
                         struct request *caller)
{
	struct cgi_conn *state = cgi_of(conn);

	switch (status) {
	case FASTCGI_BEGIN:
		if (cgi_begin(conn) == NULL)
			return false;
		fastcgi_expect(&state->down, state->up.id);
		return true;
	case FASTCGI_HEAD:
		cgi_end_head(conn, telling, caller);
		if (state->up.pairs.line != NULL)
			conn_line_buffer_free(state->up.pairs.line);
		state->up.pairs.line = NULL;
		return true;
	case FASTCGI_BODY: conn_last(conn)->request_done = true; return true;
	case FASTCGI_ALIEN: cgi_lose(conn, state->up.begun); return false;
	default: return true;
	}
}

/* The client's side, seen from either end. */
static bool take_requests(struct conn *conn, const char *in, size_t len, struct request *caller)
{
	struct cgi_conn *state = cgi_of(conn);

	if (in == NULL && !fastcgi_skip(&state->up, len)) {
		cgi_lose(conn, true);
		return false;
	}
	if (in == NULL && conn_last(conn) != NULL && conn_last(conn)->span != NULL)
		span_count_up(conn_last(conn), len);
	while (in != NULL && len > 0) {
		struct cgi_telling telling = cgi_telling_of(conn);
		struct cgi_sink sink = { cgi_take_pair, &telling };
		enum fastcgi_status status;
		size_t used;

		status = fastcgi_feed(&state->up, &sink, conn_line_buffer, in, len, &used);
		if (conn_last(conn) != NULL && !conn_last(conn)->request_headed) {
			conn_last(conn)->own = telling.own;
			conn_last(conn)->host_allowed = telling.host_allowed;
		}
		if (!take_request(conn, status, &telling, caller))
			return false;
		if (conn_last(conn) != NULL && conn_last(conn)->span != NULL)
			span_count_up(conn_last(conn), used);
		in += used;
		len -= used;
	}
	return true;
}

/* The server's side. */
static bool take_answers(struct conn *conn, const char *out, size_t len)
{
	struct cgi_conn *state = cgi_of(conn);

	if (out == NULL && !fastcgi_skip(&state->down, len)) {
		cgi_lose(conn, true);
		return false;
	}
	if (out == NULL && conn->first != NULL)
		cgi_count_answer(conn->first, len);
	while (out != NULL && len > 0) {
		struct cgi_sink none = { NULL, NULL };
		enum fastcgi_status status;
		struct exchange *ex;
		size_t used;

		status = fastcgi_feed(&state->down, &none, NULL, out, len, &used);
		ex = conn->first;
		if (status == FASTCGI_ALIEN || (status == FASTCGI_ANSWER && (ex == NULL || !ex->request_headed))) {
			cgi_lose(conn, state->up.begun);
			return false;
		}
		if (ex != NULL)
			cgi_count_answer(ex, used);
		if (status == FASTCGI_ANSWER)
			cgi_tell_status(ex, state->down.answer.status);
		if (status == FASTCGI_END) {
			fastcgi_close(&state->up);
			cgi_finish(conn, ex);
		}
		out += used;
		len -= used;
	}
	return true;
}

static struct request *received(struct conn *conn, const char *in, size_t len)
{
	if (conn_role(conn) == CONN_SERVED)
		return take_requests(conn, in, len, NULL) ? cgi_unanswered(conn) : NULL;
	(void)take_answers(conn, in, len);
	return NULL;
}

static void sent(struct conn *conn, const char *out, size_t len, struct request *caller)
{
	if (conn_role(conn) == CONN_SERVED) {
		(void)take_answers(conn, out, len);
		return;
	}
	if (len > 0)
		cgi_set_owner(conn, caller);
	(void)take_requests(conn, out, len, caller);
}

/* ---- insertion ---- */

static bool find_spot(struct conn *conn, const struct iovec *iov, int count, size_t offset, struct stream_spot *spot)
{
	struct cgi_telling telling = cgi_telling_dry(conn);
	struct cgi_sink sink = { cgi_take_pair, &telling };
	enum fastcgi_status status = FASTCGI_MORE;
	size_t base = 0, used;
	struct fastcgi dry;
	int i;

	spot->end = stream_total(iov, count);
	spot->known = spot->done = false;
	if (conn_role(conn) == CONN_SERVED || !fastcgi_fork(&dry, &cgi_of(conn)->up, conn_line_buffer))
		return false;
	dry.stops = true;
	for (i = 0; i < count && status != FASTCGI_BLANK && status != FASTCGI_ALIEN; base += iov[i++].iov_len) {
		size_t at = offset > base ? offset - base : 0;

		for (; at < iov[i].iov_len && status != FASTCGI_BLANK && status != FASTCGI_ALIEN; at += used)
			status = fastcgi_feed(&dry, &sink, conn_line_buffer, (const char *)iov[i].iov_base + at,
			                      iov[i].iov_len - at, &used);
		spot->at = base + at;
	}
	if (dry.pairs.line != NULL)
		conn_line_buffer_free(dry.pairs.line);
	spot->own = telling.own;
	spot->host_allowed = telling.host_allowed;
	return status == FASTCGI_BLANK;
}

static uint8_t byte_at(const struct iovec *iov, size_t at)
{
	while (at >= iov->iov_len)
		at -= iov++->iov_len;
	return ((const uint8_t *)iov->iov_base)[at];
}

static void insert(struct conn *conn, const struct protocol_call *call, struct stream_spot *spot, struct insertion *ins)
{
	size_t len = cgi_format_call(CGI_FASTCGI, call, spot, ins, ins->text + FASTCGI_HEADER);
	/* The request may begin with this call's bytes: its id is what the record says that the params end with. */
	uint16_t id = (uint16_t)(byte_at(call->iov, spot->at + 2) << 8 | byte_at(call->iov, spot->at + 3));

	if (len == 0)
		return;
	cgi_of(conn)->inserts = true;
	fastcgi_params_header(ins->text, id, len);
	ins->len = (uint32_t)(FASTCGI_HEADER + len);
}

bool fastcgi_begin(struct conn *conn)
{
	struct cgi_conn *state = cgi_new();

	if (state == NULL)
		return false;
	state->protocol.received = received;
	state->protocol.sent = sent;
	state->protocol.find_spot = find_spot;
	state->protocol.insert = insert;
	fastcgi_init(&state->up, FASTCGI_REQUESTS);
	fastcgi_init(&state->down, FASTCGI_RESPONSES);
	conn->mode = CONN_PROTOCOL;
	conn->protocol = &state->protocol;
	return true;
}

/*
 * uwsgi on connections: a packet that says what is asked for, and an answer of HTTP/1; see cgi_conn.h.
 *
 * A request becomes the reading thread's when its packet is whole, and ends with the last byte of its answer, or with the connection. A
 * packet says at its front how long it is: for a call's that lies whole in the program's call, the four bytes of the head are replaced by
 * others, with variables of ours behind them.
 *
 * Memory: one block a connection (cgi_conn.c). Callers: whoever has the connection's lock.
 */
#include "cgi_conn.h"

#include <string.h>

#include "counters.h"
#include "span.h"
#include "stream.h"

/* The client's side, seen from either end. false: it cannot be followed any more, and the state is gone. */
static bool take_requests(struct conn *conn, const char *in, size_t len, struct request *caller)
{
	struct cgi_conn *state = cgi_of(conn);
	struct cgi_telling telling;
	struct cgi_sink sink = { cgi_take_pair, &telling };
	enum uwsgi_status status = UWSGI_MORE;
	size_t used = len;

	if (len == 0)
		return true;
	if (state->packet.have == 0 && cgi_begin(conn) == NULL)
		return false;
	if (conn->first != NULL && conn->first->span != NULL)
		span_count_up(conn->first, len);
	if (state->packet.headed)
		return true; /* the body, of which it is not known where it ends, or what comes behind the answer */
	telling = cgi_telling_of(conn);
	if (in != NULL)
		status = uwsgi_feed(&state->packet, &sink, conn_line_buffer, in, len, &used);
	if (in == NULL || status == UWSGI_ALIEN) {
		cgi_lose(conn, state->packet.begun);
		return false;
	}
	conn->first->own = telling.own;
	conn->first->host_allowed = telling.host_allowed;
	if (status == UWSGI_HEAD) {
		cgi_end_head(conn, &telling, caller);
		if (state->packet.pairs.line != NULL)
			conn_line_buffer_free(state->packet.pairs.line);
		state->packet.pairs.line = NULL;
	}
	return true;
}

/* The answer's scanner said so much of it. false: as above. */
static bool take_answer(struct conn *conn, struct exchange *ex, enum http1_status status)
{
	switch (status) {
	case HTTP1_HEAD:
		if (!ex->down.interim)
			cgi_tell_status(ex, ex->down.status);
		if (ex->down.body == HTTP1_BODY_NONE && !ex->down.interim)
			cgi_finish(conn, ex);
		return true;
	case HTTP1_DONE:
		if (ex->down.interim)
			http1_init(&ex->down, HTTP1_RESPONSE, ex->down.options);
		else
			cgi_finish(conn, ex);
		return true;
	case HTTP1_ALIEN:
	case HTTP1_TUNNEL:
		if (status == HTTP1_TUNNEL)
			counters_count(http_tunnels);
		if (status == HTTP1_TUNNEL && ex->span != NULL)
			span_end(conn, ex, true);
		conn_make_opaque(conn, status == HTTP1_ALIEN);
		return false;
	default: return true;
	}
}

static void take_answers(struct conn *conn, const char *out, size_t len)
{
	bool followed = true;

	while (len > 0 && followed) {
		struct exchange *ex = conn->first;
		enum http1_status status;
		uint64_t skipped = 0;
		size_t used = len;

		if (ex == NULL && cgi_of(conn)->packet.headed)
			return; /* behind an answer that was whole by its own word */
		if (ex == NULL || !ex->request_headed) {
			cgi_lose(conn, cgi_of(conn)->packet.begun);
			return;
		}
		if (!ex->response_begun)
			cgi_count_answer(ex, 0);
		if (out != NULL) {
			status = http1_feed(&ex->down, NULL, NULL, out, len, &used);
			out += used;
		} else {
			status = http1_skip(&ex->down, len, &skipped);
			used = (size_t)skipped;
		}
		cgi_count_answer(ex, used);
		len -= used;
		followed = take_answer(conn, ex, status);
	}
}

static struct request *received(struct conn *conn, const char *in, size_t len)
{
	if (conn_role(conn) == CONN_SERVED)
		return take_requests(conn, in, len, NULL) ? cgi_unanswered(conn) : NULL;
	take_answers(conn, in, len);
	return NULL;
}

static void sent(struct conn *conn, const char *out, size_t len, struct request *caller)
{
	if (conn_role(conn) == CONN_SERVED) {
		take_answers(conn, out, len);
		return;
	}
	if (len > 0)
		cgi_set_owner(conn, caller);
	(void)take_requests(conn, out, len, caller);
}

/* ---- insertion ---- */

static bool find_spot(struct conn *conn, const struct iovec *iov, int count, size_t offset, struct stream_spot *spot)
{
	struct cgi_telling telling = { .host_allowed = cgi_telling_dry(conn).host_allowed };
	struct cgi_sink sink = { cgi_take_pair, &telling };
	enum uwsgi_status status = UWSGI_MORE;
	struct uwsgi dry;
	size_t base = 0;
	int i;

	spot->end = stream_total(iov, count);
	spot->known = spot->done = false;
	if (conn_role(conn) == CONN_SERVED || cgi_of(conn)->packet.have != 0)
		return false;
	uwsgi_init(&dry);
	for (i = 0; i < count && status == UWSGI_MORE; base += iov[i++].iov_len) {
		size_t at = offset > base ? offset - base : 0, used;

		if (at < iov[i].iov_len)
			status = uwsgi_feed(&dry, &sink, conn_line_buffer, (const char *)iov[i].iov_base + at,
			                    iov[i].iov_len - at, &used);
	}
	if (dry.pairs.line != NULL)
		conn_line_buffer_free(dry.pairs.line);
	spot->at = offset;
	spot->own = telling.own;
	spot->host_allowed = telling.host_allowed;
	/* Packets of other protocols may look like it; these are not to get a byte of ours. */
	return status == UWSGI_HEAD && telling.asks;
}

static uint8_t byte_at(const struct iovec *iov, size_t at)
{
	while (at >= iov->iov_len)
		at -= iov++->iov_len;
	return ((const uint8_t *)iov->iov_base)[at];
}

static void insert(struct conn *conn, const struct protocol_call *call, struct stream_spot *spot, struct insertion *ins)
{
	size_t own = byte_at(call->iov, spot->at + 1) | (size_t)byte_at(call->iov, spot->at + 2) << 8;
	size_t len = cgi_format_call(CGI_UWSGI, call, spot, ins, ins->text + UWSGI_PACKET_HEAD);

	/* Its reader's buffer is a multiple of UWSGI_BUFFER: a packet that fits must not outgrow it. */
	if (len == 0 || len > (UWSGI_BUFFER - own % UWSGI_BUFFER) % UWSGI_BUFFER || own + len > UWSGI_PACKET_MAX)
		return;
	cgi_of(conn)->inserts = true;
	ins->text[0] = (char)byte_at(call->iov, spot->at);
	ins->text[1] = (char)((own + len) & 0xff);
	ins->text[2] = (char)((own + len) >> 8);
	ins->text[3] = (char)byte_at(call->iov, spot->at + 3);
	ins->len = (uint32_t)(UWSGI_PACKET_HEAD + len);
	ins->swallow = UWSGI_PACKET_HEAD;
}

bool uwsgi_begin(struct conn *conn)
{
	struct cgi_conn *state = cgi_new();

	if (state == NULL)
		return false;
	state->protocol.received = received;
	state->protocol.sent = sent;
	state->protocol.find_spot = find_spot;
	state->protocol.insert = insert;
	uwsgi_init(&state->packet);
	conn->mode = CONN_PROTOCOL;
	conn->protocol = &state->protocol;
	return true;
}

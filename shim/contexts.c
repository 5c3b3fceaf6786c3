/*
 * Marks in async contexts: see contexts.h.
 *
 * A mark names a request by its connection and its span's id, and dies with the answer: from its first byte on the connection
 * says that nobody waits under this id, whoever still holds a copy. So a task that outlives its request, or goes on behind the
 * answer, has no id and never the next request's.
 */
#include "contexts.h"

#include <string.h>

#include "protocol.h"

static uint64_t span_of(const struct request *request)
{
	uint64_t id;

	memcpy(&id, request->ctx.span_id, sizeof(id));
	return id;
}

/* Locked. */
static struct request *waiting(struct conn *conn)
{
	const struct exchange *ex = conn->mode == CONN_HTTP1 ? conn->first : NULL;
	struct request *request;

	/* Of many streams, the only one. */
	if (conn->mode == CONN_PROTOCOL && conn->protocol->reads(conn, &request) == PROTOCOL_ONE && request != NULL &&
	    request->multiplexed && request_state(request) == REQUEST_LIVE)
		return request;
	return ex != NULL && ex->request_headed && !ex->response_begun && request_state(ex->request) == REQUEST_LIVE ?
	               ex->request :
	               NULL;
}

bool contexts_mark(struct conn_handle handle, bool plain, struct context_mark *mark)
{
	const struct request *request;

	if (handle.conn == NULL || conn_role(handle.conn) != CONN_SERVED || (!plain && conn_tls(handle.conn) != NULL) ||
	    !conn_lock_to_look(handle))
		return false;
	memset(mark, 0, sizeof(*mark));
	request = handle.conn->depth <= 1 ? waiting(handle.conn) : NULL;
	if (request != NULL) {
		mark->conn = handle;
		mark->span = span_of(request);
		mark->kind = CONTEXT_REQUEST;
	}
	conn_unlock(handle.conn);
	return true;
}

struct request *contexts_request(const struct context_mark *mark)
{
	struct request *request;

	if (mark->kind != CONTEXT_REQUEST || !conn_lock_to_look(mark->conn))
		return NULL;
	request = waiting(mark->conn.conn);
	if (request != NULL)
		request = span_of(request) == mark->span ? request_ref(request) : NULL;
	conn_unlock(mark->conn.conn);
	return request;
}

bool contexts_change(const struct context_mark *old, const struct context_mark *read, struct context_mark *next)
{
	if (old->kind == CONTEXT_SHARED || (old->kind == read->kind && old->span == read->span))
		return false;
	*next = *read;
	/* Which of the two is worked for when? Nor is it known that the first one's work ends with its answer. */
	if (old->kind == CONTEXT_REQUEST && read->kind == CONTEXT_REQUEST &&
	    (old->conn.conn != read->conn.conn || old->conn.gen != read->conn.gen))
		next->kind = CONTEXT_SHARED;
	return true;
}

/*
 * Spans around the program's calls; see io_spans.h. What it takes to make a ring is asked of the kernel here, before the
 * connection is locked. Callers: as for io.
 */
#include "io_spans.h"

#include <errno.h>

#include "ring.h"
#include "span.h"

static bool has_room(const struct iovec *iov, int count)
{
	int i;

	for (i = 0; i < count; i++)
		if (iov[i].iov_len > 0)
			return true;
	return false;
}

void io_spans_receive(const struct io_receive *io, const struct iovec *iov, int count, ssize_t received, int error)
{
	struct conn *conn = io->handle.conn;

	if (received == 0 && !has_room(iov, count))
		return;
	if (received > 0) {
		if (conn_role(conn) == CONN_OUTGOING && conn_is_http1(conn))
			ring_prepare(); /* without the connection's lock */
		return;
	}
	if ((received < 0 && (error == EAGAIN || error == EINTR)) || !conn_lock(io->handle))
		return;
	if (received == 0)
		span_peer_ended(conn);
	else
		span_failed(conn, error, true);
	conn_unlock(conn);
}

void io_spans_sent(const struct io_send *io, bool failed, int error)
{
	ring_drop_held();
	if (failed && error != EAGAIN && io->handle.conn != NULL && conn_lock(io->handle)) {
		span_failed(io->handle.conn, error, false);
		conn_unlock(io->handle.conn);
	}
}

void io_spans_hold_unseen(struct conn_handle handle)
{
	ring_prepare();
	if (handle.conn != NULL && conn_lock(handle)) {
		served_hold_span(handle.conn, NULL);
		conn_unlock(handle.conn);
	}
}

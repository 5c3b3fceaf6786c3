/*
 * Receiving: what came on a connection, and what it says of the thread that reads; see io.h. Nearly every request comes by the usual read,
 * of a socket or inside TLS (tls_usual.h), which has functions of its own: what else a read may be is not on its way.
 *
 * Who may call: any thread, signal handler or forked child. Memory: none.
 */
#include "io_spans.h"

#include <errno.h>

#include "config.h"
#include "current.h"
#include "layout.h"
#include "protocol.h"
#include "ring.h"
#include "span.h"
#include "stream.h"
#include "tls.h"

CONN_UNLOCKED_LOOK static __attribute__((noinline)) void before_served_read(struct conn *conn, int fd)
{
	/*
	 * Inside TLS an answer is through for us when the library has it, and Apache's has it before Apache looks for the next
	 * request, and logs: a look by the thread that answered this connection's last request, which cannot wait, is no wait.
	 */
	if (conn_tls(conn) != NULL && current_has_answered(conn->answered) && !conn_is_blocking(conn, fd))
		return;
	/*
	 * More of the request at hand (its body) is no wait for new work; nor is a look for the next request that finds none
	 * (Apache looks before it answers). Anything else is.
	 */
	if (!current_is_own_wait(conn) ||
	    (conn->first != NULL && conn->first->request_done && conn_is_blocking(conn, fd)))
		current_clear();
}

/* What is not known yet, or no connection. The word of what is one; else 0. */
static __attribute__((cold, noinline)) uint64_t begin_otherwise(int fd, uint64_t word)
{
	int saved = errno;

	if (fds_kind(word) == FD_UNKNOWN)
		word = fds_learn(fd);
	if (fds_kind(word) == FD_CHANNEL)
		current_read_channel();
	errno = saved;
	return fds_kind(word) == FD_CONN ? word : 0;
}

bool io_receive_begin(struct io_receive *io, int fd)
{
	uint64_t word = fds_word(fd);

	if (__builtin_expect(fds_kind(word) != FD_CONN, 0) && (word = begin_otherwise(fd, word)) == 0)
		return false;
	io->fd = fd;
	io->handle = conn_of_word(fd, word);
	if (io->handle.conn == NULL)
		return false;
	/* What the library reads is no event of its own; what the program reads past it is, though the bytes say nothing. */
	io->beside = tls_passes(io->handle.conn, fd);
	if (io->beside && tls_is_inside())
		return false;
	if (current_has_request())
		io_before_plain_read(io->handle.conn, fd);
	return true;
}

void io_receive_begin_plain(struct io_receive *io, struct conn_handle handle, int fd)
{
	*io = (struct io_receive){ .handle = handle, .fd = fd };
	if (current_has_request())
		io_before_plain_read(handle.conn, fd);
}

void io_before_plain_read(struct conn *conn, int fd)
{
	if (conn_role(conn) == CONN_SERVED && !current_reads_usual(conn))
		before_served_read(conn, fd);
}

static __attribute__((cold)) struct request *received_in_parts(struct conn *conn, const struct iovec *iov, int count,
                                                               size_t len)
{
	struct request *request = NULL;
	int i, parts = 0;

	for (i = 0; i < count && len > 0; i++) {
		size_t part = iov[i].iov_len < len ? iov[i].iov_len : len;

		request = served_received(conn, iov[i].iov_base, part);
		len -= part;
		parts += part > 0;
	}
	/* Each part of another protocol was looked at by itself. */
	return parts > 1 && conn->mode == CONN_PROTOCOL ? NULL : request;
}

static __attribute__((cold, noinline)) void received_served(struct conn *conn, int fd, const struct iovec *iov,
                                                            int count, size_t len)
{
	struct request *request;

	if (config.export_traces && (conn->mode != CONN_OPAQUE || config.raw))
		(void)span_know_conn(conn, fd);
	if (__builtin_expect(count > 0 && len <= iov->iov_len, 1))
		request = served_received(conn, iov->iov_base, len);
	else
		request = received_in_parts(conn, iov, count, len);
	/* Borrowed: while the connection is locked, nobody takes it from there. */
	current_read(conn, request);
}

/* Also when nothing came: the handler that asks is that call's. A kept connection between two calls is nobody's, whoever made the last one. */
void io_touch_call(struct conn *conn, int fd)
{
	struct request *owner = conn->owner;

	if (conn->first != NULL && conn->first->request_headed)
		owner = conn->first->request;
	else if (conn->first == NULL && conn->mode == CONN_HTTP1)
		owner = NULL;
	else if (conn->mode == CONN_PROTOCOL && conn->protocol->reads(conn, &owner) != PROTOCOL_ONE)
		owner = NULL;
	current_read_reply(conn, owner, conn_is_blocking(conn, fd));
}

static void received_reply(struct conn *conn, int fd, const struct iovec *iov, int count, size_t len)
{
	int i;

	io_touch_call(conn, fd);
	for (i = 0; i < count && len > 0; i++) {
		size_t part = iov[i].iov_len < len ? iov[i].iov_len : len;

		call_received(conn, iov[i].iov_base, part);
		len -= part;
	}
}

__attribute__((cold)) void io_receive_end(struct io_receive *io, const struct iovec *iov, int count, ssize_t received,
                                          bool peek)
{
	struct conn *conn = io->handle.conn;
	int saved = errno;

	peek = peek || io->beside;
	if (config.export_traces && !peek && (received <= 0 || conn_role(conn) == CONN_OUTGOING)) {
		io_spans_receive(io, iov, count, received, saved);
		errno = saved;
	}
	/* End of stream needs nothing on a served connection: a half-closed client still gets its response. */
	if ((received <= 0 || peek) && conn_role(conn) != CONN_OUTGOING)
		return;
	if (conn_lock(io->handle)) {
		if (received <= 0 || peek) {
			io_touch_call(conn, io->fd);
			conn_unlock(conn);
			errno = saved;
			return;
		}
		if (conn_role(conn) == CONN_UNDECIDED) {
			conn_decide_role(conn, CONN_SERVED); /* the peer spoke first */
			current_serve();
		}
		if (conn_role(conn) == CONN_SERVED)
			received_served(conn, io->fd, iov, count, (size_t)received);
		else
			received_reply(conn, io->fd, iov, count, (size_t)received);
		conn_unlock(conn);
	}
	errno = saved;
}

/* ---- the usual read ---- */

LAYOUT_HOT __attribute__((noinline)) bool io_receive_usual(struct conn_handle *handle, int fd, uint64_t word)
{
	if (!io_active())
		return false;
	*handle = conn_of_its_word(fd, word);
	if (handle->conn == NULL || conn_role(handle->conn) == CONN_UNDECIDED || conn_tls(handle->conn) != NULL ||
	    tls_is_inside())
		return false;
	if (current_has_request())
		io_before_plain_read(handle->conn, fd);
	return true;
}

/* As io_receive_end, of another connection than of requests by HTTP/1, or a busy one, or where spans hear of an end. */
static __attribute__((cold, noinline)) void received_otherwise(struct conn_handle handle, int fd, void *buf, size_t len,
                                                               ssize_t received)
{
	struct io_receive io = { .handle = handle, .fd = fd };
	struct iovec iov = { buf, len };

	io_receive_end(&io, &iov, 1, received, false);
}

/* Locked: it is read. */
static __attribute__((noinline)) void received_unusual(struct conn *conn, void *buf, size_t len)
{
	int saved = errno;

	current_read(conn, served_received(conn, buf, len));
	errno = saved;
}

/* Is it HTTP/1 that begins on a fresh connection of requests? Then that is locked; else all is done. */
static __attribute__((cold, noinline)) bool begins(struct conn_handle handle, int fd, void *buf, ssize_t received)
{
	if (conn_role(handle.conn) == CONN_SERVED && !conn_has_protocol(handle.conn) && conn_lock_to_look(handle)) {
		if (handle.conn->mode == CONN_FRESH) {
			int saved = errno;

			served_start(handle.conn, buf, (size_t)received);
			errno = saved;
			if (handle.conn->mode == CONN_HTTP1)
				return true;
		}
		conn_unlock(handle.conn);
	}
	received_otherwise(handle, fd, buf, (size_t)received, received);
	return false;
}

ssize_t io_received_nothing(struct conn_handle handle, int fd, void *buf, size_t len, ssize_t received)
{
	if (config.export_traces || conn_role(handle.conn) == CONN_OUTGOING)
		received_otherwise(handle, fd, buf, len, received);
	return received;
}

/* Is it usual, and HTTP? Then it is locked. What is not HTTP is a database's, as a rule, and is not locked in vain. */
static inline bool lock_replying(struct conn_handle handle)
{
	if (__builtin_expect(!conn_is_http1(handle.conn), 0))
		return false;
	if (config.export_traces)
		ring_prepare(); /* without the connection's lock */
	return conn_lock_usual(handle, CONN_OUTGOING);
}

/* As io_touch_call, where a whole call waits for what comes, in a loop. */
static inline void touch_usual_call(struct conn *conn, int fd)
{
	const struct exchange *ex = conn->first;

	if (__builtin_expect(ex == NULL || !ex->request_headed || ex->request == NULL ||
	                             __atomic_load_n(&conn->blocking, __ATOMIC_RELAXED) != CONN_NEVER_WAITS ||
	                             !current_read_usual_reply(conn, ex->request),
	                     0))
		io_touch_call(conn, fd);
}

/* The same of a connection that calls are made on. */
static __attribute__((noinline)) ssize_t received_reply_usual(struct conn_handle handle, int fd, void *buf,
                                                              ssize_t received)
{
	struct conn *conn = handle.conn;

	if (__builtin_expect(!lock_replying(handle), 0)) {
		received_otherwise(handle, fd, buf, (size_t)received, received);
		return received;
	}
	touch_usual_call(conn, fd);
	if (__builtin_expect(!call_received_usual(conn, buf, (size_t)received), 0)) {
		int saved = errno;

		call_received(conn, buf, (size_t)received);
		errno = saved;
	}
	conn_unlock(conn);
	return received;
}

static __attribute__((noinline)) LAYOUT_HOT ssize_t received_request_usual(struct conn_handle handle, int fd, void *buf,
                                                                           ssize_t received)
{
	struct conn *conn = handle.conn;
	struct request *request;

	if ((__builtin_expect(conn_has_protocol(conn), 0) ||
	     __builtin_expect(!conn_lock_usual(handle, CONN_SERVED), 0)) &&
	    !begins(handle, fd, buf, received))
		return received;
	if (config.export_traces)
		(void)span_know_conn(conn, fd);
	request = served_received_usual(conn, buf, (size_t)received);
	if (__builtin_expect(request != NULL, 1))
		current_read_fresh(conn, request);
	else
		received_unusual(conn, buf, (size_t)received);
	conn_unlock(conn);
	return received;
}

__attribute__((noinline)) ssize_t io_received(struct conn_handle handle, int fd, void *buf, ssize_t received)
{
	return conn_role(handle.conn) == CONN_OUTGOING ? received_reply_usual(handle, fd, buf, received) :
	                                                 received_request_usual(handle, fd, buf, received);
}

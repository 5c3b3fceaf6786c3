/*
 * Sending by calls that are not taken apart (ancillary or urgent data, zero copy), or whose bytes nobody sees (sendfile, splice);
 * see io.h. What io_send.c left of an insertion goes out before them. And what splice takes from a connection.
 *
 * Who may call: any thread, any signal handler. Memory: none.
 */
#include "io.h"

#include <errno.h>

#include "config.h"
#include "current.h"
#include "io_spans.h"
#include "protocol.h"
#include "ring.h"
#include "span.h"
#include "stream.h"
#include "tls.h"

/* A look without the lock: this thread, or one that it was told by, left it there; another's may come a moment later. */
static CONN_UNLOCKED_LOOK bool has_rest(const struct conn *conn)
{
	return conn->pending != NULL && (conn->pending->sent < conn->pending->len || conn->pending->swallow > 0);
}

/* It is out, and goes on waiting for its blank line; or goes back, as far as it came. false: the connection is gone. */
static bool put_rest_back(struct conn_handle handle, struct insertion *ins)
{
	if (!conn_lock_patiently(handle)) {
		insertion_free(ins);
		return false;
	}
	handle.conn->pending = ins;
	conn_unlock(handle.conn);
	return true;
}

__attribute__((cold)) bool io_send_rest(const struct io_emitter *emitter)
{
	struct conn_handle handle = conn_of_word(emitter->fd, fds_word(emitter->fd));
	int saved = errno, error = 0;
	struct insertion *ins;

	if (handle.conn == NULL || !has_rest(handle.conn) || !conn_lock_to_send(handle))
		return true;
	ins = handle.conn->pending;
	if (ins != NULL && ins->swallow > 0) {
		/* The byte that it waits for would go out with the call, a second time: the call fails instead. */
		conn_unlock(handle.conn);
		errno = ENOBUFS;
		return false;
	}
	handle.conn->pending = NULL;
	conn_unlock(handle.conn);
	while (ins != NULL && ins->sent < ins->len && error == 0) {
		struct iovec rest = { ins->text + ins->sent, ins->len - ins->sent };
		ssize_t n = emitter->emit(emitter, &rest, 1);

		if (n > 0)
			ins->sent += (uint32_t)n;
		else
			error = n < 0 ? errno : EAGAIN;
	}
	if (ins != NULL)
		(void)put_rest_back(handle, ins);
	errno = error != 0 ? error : saved;
	return error == 0;
}

/* ---- bytes that nobody sees ---- */

CONN_UNLOCKED_LOOK bool io_send_unseen_goes_on(int fd, uint64_t word)
{
	const struct conn *conn = fds_conn(word);

	if (conn == NULL || conn_tls(conn) != NULL || conn_role(conn) != CONN_SERVED || conn->pending != NULL ||
	    !current_goes_on(conn))
		return false;
	if (config.export_traces)
		io_spans_hold_unseen(conn_of_word(fd, word));
	return true;
}

void io_send_unseen_begin(int fd)
{
	struct iovec none = { NULL, 0 };
	uint64_t word = fds_word(fd);
	struct conn *conn = fds_conn(word);
	struct io_send io;

	if (conn != NULL && tls_passes(conn, fd))
		return;
	/* It tells the current request that its response begins: nothing new where the head was sent just before. */
	if (io_send_unseen_goes_on(fd, word))
		return;
	if (config.export_traces && conn != NULL && conn_role(conn) == CONN_SERVED)
		io_spans_hold_unseen(conn_find(fd));
	/* As a write of nothing. Insertions are due in heads only. */
	if (io_send_begin(&io, fd, &none, 1) != IO_PLAIN)
		request_unref(io.caller);
}

static inline __attribute__((always_inline)) void sent_unseen(struct conn_handle handle, size_t sent)
{
	if (!conn_lock(handle))
		return;
	if (conn_role(handle.conn) == CONN_SERVED)
		served_sent_unseen(handle.conn, sent);
	else
		call_sent(handle.conn, NULL, sent, NULL);
	conn_unlock(handle.conn);
}

void io_send_unseen_plain(struct conn_handle handle, size_t sent)
{
	sent_unseen(handle, sent);
}

void io_send_unseen_end(int fd, ssize_t sent)
{
	uint64_t word = fds_word(fd);
	struct conn_handle handle;
	int saved = errno;

	if (sent > 0 && fds_kind(word) == FD_CONN && (handle = conn_of_word(fd, word)).conn != NULL &&
	    conn_tls(handle.conn) == NULL) {
		io_send_blank_line_left(handle);
		sent_unseen(handle, (size_t)sent);
	}
	if (config.export_traces)
		ring_drop_held();
	errno = saved;
}

/* ---- what nobody sees come in ---- */

__attribute__((cold)) void io_receive_unseen(int fd, ssize_t received)
{
	struct conn_handle handle;
	int saved = errno;

	if (received > 0 && (handle = conn_find(fd)).conn != NULL && !tls_passes(handle.conn, fd) &&
	    conn_lock(handle)) {
		bool served = conn_role(handle.conn) == CONN_SERVED;
		struct exchange *ex = served ? conn_last(handle.conn) : handle.conn->first;
		struct http1 *scanner = ex == NULL || (!served && !ex->response_begun) ? NULL :
		                        served                                         ? &ex->up :
		                                                                         &ex->down;
		enum http1_status status = HTTP1_MORE;
		uint64_t used = 0;

		/* Only the inside of a body may pass unseen; of a reply its end is seen at the next one. */
		if (handle.conn->mode == CONN_FRESH || handle.conn->mode == CONN_UPGRADED)
			conn_make_opaque(handle.conn, false);
		else if (handle.conn->mode == CONN_PROTOCOL)
			(void)handle.conn->protocol->received(handle.conn, NULL, (size_t)received);
		else if (handle.conn->mode == CONN_HTTP1 && ex != NULL && ex->span != NULL)
			(conn_role(handle.conn) == CONN_SERVED ? span_count_up : span_count_down)(ex, (size_t)received);
		if (handle.conn->mode == CONN_HTTP1 &&
		    (scanner == NULL || (status = http1_skip(scanner, (uint64_t)received, &used)) == HTTP1_ALIEN ||
		     used != (uint64_t)received)) {
			conn_make_opaque(handle.conn, true);
		} else if (status == HTTP1_DONE && conn_role(handle.conn) == CONN_SERVED) {
			ex->request_done = true;
			conn_pop_done(handle.conn);
		}
		conn_unlock(handle.conn);
	}
	errno = saved;
}

__attribute__((cold)) void io_passes_unseen(int fd)
{
	int saved = errno;
	struct conn_handle handle = { NULL, 0 };

	if (io_active())
		handle = conn_find(fd);
	if (handle.conn != NULL && conn_role(handle.conn) != CONN_OUTGOING)
		current_clear(); /* what the thread reads so may be the next request */
	if (handle.conn != NULL && conn_lock(handle)) {
		conn_make_opaque(handle.conn, true);
		conn_unlock(handle.conn);
	}
	errno = saved;
}

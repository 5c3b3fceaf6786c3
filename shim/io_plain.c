/*
 * Plain text of TLS that came in, by the usual read (tls_usual.h); see io.h. Its own function, because it is each request's: what else
 * io_receive_end is for is not on its way.
 *
 * Who may call: threads, as for tls.h. Memory: none.
 */
#include "io.h"

#include <errno.h>

#include "config.h"
#include "current.h"
#include "span.h"

__attribute__((noinline)) ssize_t io_received_plain(struct conn_handle handle, int fd, void *buf, ssize_t received)
{
	int saved = errno;

	if (__builtin_expect(conn_role(handle.conn) != CONN_SERVED, 0)) {
		struct io_receive io = { .handle = handle, .fd = fd };
		struct iovec iov = { buf, (size_t)received };

		io_receive_end(&io, &iov, 1, received, false);
	} else if (conn_lock(handle)) {
		if (config.export_traces && (handle.conn->mode != CONN_OPAQUE || config.raw))
			(void)span_know_conn(handle.conn, fd);
		current_read(handle.conn, served_received(handle.conn, buf, (size_t)received));
		conn_unlock(handle.conn);
	}
	errno = saved;
	return received;
}

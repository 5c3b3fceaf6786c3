/*
 * Writes whose bytes nobody sees: POSIX aio, which glibc does by threads and calls of its own, and pwritev2, which writes to a socket like
 * writev where the offset is -1. Few programs do that on a connection, so it is not followed: the connection passes from there on,
 * else the next answer would be taken for the one that went by here. Left for want of room: lists of them
 * (lio_listio), and reads (aio_read, preadv2), whose answer is of no request.
 * The 64-bit names are the same functions in 64-bit ABIs.
 */
#include "real.h"

#include "os.h"

EXPORT __attribute__((cold)) ssize_t pwritev2(int fd, const struct iovec *iov, int count, off_t offset, int flags)
{
	if (offset == -1)
		io_passes_unseen(fd);
	return REAL(pwritev2)(fd, iov, count, offset, flags);
}

EXPORT __attribute__((cold)) int aio_write(struct aiocb *request)
{
	if (os_readable(request, sizeof(*request)))
		io_passes_unseen(request->aio_fildes);
	return REAL(aio_write)(request);
}

_Static_assert(sizeof(off_t) == sizeof(off64_t) && sizeof(struct aiocb) == sizeof(struct aiocb64), "a 64-bit ABI");

EXPORT ssize_t pwritev64v2(int fd, const struct iovec *iov, int count, off64_t offset, int flags)
	__attribute__((alias("pwritev2")));
EXPORT int aio_write64(struct aiocb64 *request) __attribute__((alias("aio_write")));

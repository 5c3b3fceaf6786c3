/*
 * Reads and writes whose bytes nobody sees: POSIX aio, which glibc does by threads and calls of its own, and preadv2 and pwritev2, which
 * are readv and writev of a socket where the offset is -1. Few programs do that on a connection, so it is not followed: the connection
 * passes from there on, else the next answer would be taken for the one that went by here, and what comes next for the request before.
 * The 64-bit names are the same functions in 64-bit ABIs.
 */
#include "real.h"

#include "os.h"

EXPORT __attribute__((cold)) ssize_t preadv2(int fd, const struct iovec *iov, int count, off_t offset, int flags)
{
	if (offset == -1)
		io_passes_unseen(fd);
	return REAL(preadv2)(fd, iov, count, offset, flags);
}

EXPORT __attribute__((cold)) ssize_t pwritev2(int fd, const struct iovec *iov, int count, off_t offset, int flags)
{
	if (offset == -1)
		io_passes_unseen(fd);
	return REAL(pwritev2)(fd, iov, count, offset, flags);
}

static __attribute__((cold, noinline)) void before(const struct aiocb *request)
{
	if (os_readable(request, sizeof(*request)))
		io_passes_unseen(request->aio_fildes);
}

EXPORT __attribute__((cold)) int aio_read(struct aiocb *request)
{
	before(request);
	return REAL(aio_read)(request);
}

EXPORT __attribute__((cold)) int aio_write(struct aiocb *request)
{
	before(request);
	return REAL(aio_write)(request);
}

/* One of the list that does nothing (LIO_NOP) passes, too. */
EXPORT __attribute__((cold)) int lio_listio(int mode, struct aiocb *const *list, int count, struct sigevent *event)
{
	int i;

	if (count > 0 && os_readable(list, (size_t)count * sizeof(void *)))
		for (i = 0; i < count; i++)
			before(list[i]);
	return REAL(lio_listio)(mode, list, count, event);
}

_Static_assert(sizeof(off_t) == sizeof(off64_t) && sizeof(struct aiocb) == sizeof(struct aiocb64), "a 64-bit ABI");

EXPORT ssize_t preadv64v2(int fd, const struct iovec *iov, int count, off64_t offset, int flags)
	__attribute__((alias("preadv2")));
EXPORT ssize_t pwritev64v2(int fd, const struct iovec *iov, int count, off64_t offset, int flags)
	__attribute__((alias("pwritev2")));
EXPORT int aio_read64(struct aiocb64 *request) __attribute__((alias("aio_read")));
EXPORT int aio_write64(struct aiocb64 *request) __attribute__((alias("aio_write")));
EXPORT int lio_listio64(int mode, struct aiocb64 *const *list, int count, struct sigevent *event)
	__attribute__((alias("lio_listio")));

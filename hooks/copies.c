/*
 * Copies inside the kernel, from descriptor to descriptor: what goes out on a connection is counted, and none goes into a log.
 */
/* Built for size, because there are many; but each is on the way of a program's every call. */
#define LAYOUT_MANY_CALLS
#include "config.h"
#include "real.h"

#include <errno.h>
#include <sys/stat.h>

#include "os.h"
#include "sending.h"

/* Is an offset given that the kernel would refuse: none that can be read, or one into a pipe? */
static __attribute__((cold)) bool is_no_offset(int fd, const off64_t *offset)
{
	struct stat st;

	return offset != NULL &&
	       (!os_readable(offset, sizeof(*offset)) || (os_fstat(fd, &st) == 0 && S_ISFIFO(st.st_mode)));
}

/*
 * Into a log, the kernel would copy what is no record (GNU cat into a file, busybox cat into anything). It refuses many
 * pairs of descriptors, and every caller that may meet them then reads and writes (sendfile(2), copy_file_range(2)): so do
 * we. Done here it would be slow, for want of a buffer.
 */
static __attribute__((cold)) bool is_refused(int out, const off64_t *out_offset, int in, const off64_t *in_offset,
                                             int error)
{
	uint64_t word = fds_word(out);
	int saved = errno;

	if (fds_kind(word) == FD_CONN)
		return false;
	if (fds_kind(word) == FD_UNKNOWN && io_active() && out >= 0)
		word = fds_learn(out);
	/* An error of the caller's own comes first. */
	if (fds_kind(word) != FD_LOG || config.log_mode == LOG_OFF || !io_active() || REAL(fcntl)(in, F_GETFD) < 0 ||
	    is_no_offset(in, in_offset) || is_no_offset(out, out_offset)) {
		errno = saved;
		return false;
	}
	errno = error;
	return true;
}

__attribute__((cold)) EXPORT ssize_t copy_file_range(int in, off64_t *in_offset, int out, off64_t *out_offset,
                                                     size_t len, unsigned flags)
{
	int saved = errno;

	if (out_offset == NULL && is_refused(out, NULL, in, in_offset, EXDEV)) {
		/* To what is appended to the kernel copies nothing anyway, and has an error of its own. */
		if ((REAL(fcntl)(out, F_GETFL) & O_APPEND) == 0)
			return -1;
		errno = saved;
	}
	return REAL(copy_file_range)(in, in_offset, out, out_offset, len, flags);
}

/* Before a call whose bytes nobody sees. false: it fails, with errno set. */
static __attribute__((cold)) bool begin_unseen(int out, const off64_t *out_offset, int in, const off64_t *in_offset)
{
	if (__builtin_expect(io_active() && io_send_unseen_goes_on(out, fds_word(out)), 1))
		return true;
	if (is_refused(out, out_offset, in, in_offset, EINVAL) || !io_comes_next(out, 0))
		return false;
	io_send_unseen_begin(out);
	return true;
}

static __attribute__((noinline)) ssize_t sendfile_watched(int out, int in, off64_t *offset, size_t len)
{
	ssize_t n;

	if (io_uninvolved(out))
		return REAL(sendfile64)(out, in, offset, len);
	if (!begin_unseen(out, NULL, in, offset))
		return -1;
	n = REAL(sendfile64)(out, in, offset, len);
	io_send_unseen_end(out, n);
	return n;
}

EXPORT ssize_t sendfile64(int out, int in, off64_t *offset, size_t len)
{
	struct conn_handle handle;

	if (!io_send_body_usual(&handle, out, fds_word(out)))
		return sendfile_watched(out, in, offset, len);
	return io_sent_body(handle, out, REAL(sendfile64)(out, in, offset, len));
}

/* In a 64-bit ABI (aio.c sees to that) it is the same function. */
EXPORT ssize_t sendfile(int out, int in, off_t *offset, size_t len) __attribute__((alias("sendfile64")));

__attribute__((cold)) EXPORT ssize_t splice(int in, off64_t *in_offset, int out, off64_t *out_offset, size_t len,
                                            unsigned flags)
{
	ssize_t n;

	if (io_uninvolved(out) && io_uninvolved(in))
		return REAL(splice)(in, in_offset, out, out_offset, len, flags);
	if (!begin_unseen(out, out_offset, in, in_offset))
		return -1;
	n = REAL(splice)(in, in_offset, out, out_offset, len, flags);
	io_receive_unseen(in, n);
	io_send_unseen_end(out, n);
	return n;
}

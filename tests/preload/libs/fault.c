/*
 * A library between a program (or the object) and libc, in which one call fails: the nth since the program said so, whatever it
 * is. Or each does as little as it may.
 */
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdbool.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

static long fault_at, fault_error, calls;

/* error: an errno; 0: a short count; -1: every call one byte, and every third one EAGAIN. at 0: nothing. */
void fault_arm(long at, long error);
long fault_calls(void);

void fault_arm(long at, long error)
{
	fault_at = at;
	fault_error = error;
	calls = 0;
}

long fault_calls(void)
{
	return calls;
}

enum { PASSES, FAILS, SHORTENED };

static int next(bool may_be_short)
{
	long now = fault_at > 0 ? ++calls : 0;

	if (fault_at > 0 && fault_error < 0) {
		if (now % 3 != 0 || !may_be_short)
			return may_be_short ? SHORTENED : PASSES;
		errno = EAGAIN;
		return FAILS;
	}
	if (fault_at == 0 || now != fault_at)
		return PASSES;
	if (fault_error == 0)
		return may_be_short ? SHORTENED : PASSES;
	errno = (int)fault_error;
	return FAILS;
}

#define NEXT(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))

/* Of bytes: the first half, at least one. */
#define BYTES(name, parameters, whole, part)                                                                           \
	ssize_t name parameters                                                                                        \
	{                                                                                                              \
		size_t few;                                                                                            \
		switch (next(true)) {                                                                                  \
		case FAILS: return -1;                                                                                 \
		case SHORTENED: few = fault_error < 0 || len < 2 ? (len > 0) : len / 2; return NEXT(name) part;        \
		default: return NEXT(name) whole;                                                                      \
		}                                                                                                      \
	}

BYTES(write, (int fd, const void *buf, size_t len), (fd, buf, len), (fd, buf, few))
BYTES(read, (int fd, void *buf, size_t len), (fd, buf, len), (fd, buf, few))
BYTES(send, (int fd, const void *buf, size_t len, int flags), (fd, buf, len, flags), (fd, buf, few, flags))
BYTES(recv, (int fd, void *buf, size_t len, int flags), (fd, buf, len, flags), (fd, buf, few, flags))

/* Of vectors: the first byte of the first one that has any. */
static struct iovec first_byte(const struct iovec *iov, size_t count)
{
	struct iovec first = { 0 };
	size_t i;

	for (i = 0; i < count && first.iov_len == 0; i++)
		first = (struct iovec){ iov[i].iov_base, iov[i].iov_len > 0 };
	return first;
}

ssize_t writev(int fd, const struct iovec *iov, int count)
{
	int how = next(true);
	struct iovec first;

	if (how == FAILS)
		return -1;
	if (how == PASSES)
		return NEXT(writev)(fd, iov, count);
	first = first_byte(iov, (size_t)count);
	return NEXT(writev)(fd, &first, 1);
}

ssize_t readv(int fd, const struct iovec *iov, int count)
{
	int how = next(true);
	struct iovec first;

	if (how == FAILS)
		return -1;
	if (how == PASSES)
		return NEXT(readv)(fd, iov, count);
	first = first_byte(iov, (size_t)count);
	return NEXT(readv)(fd, &first, 1);
}

ssize_t sendmsg(int fd, const struct msghdr *msg, int flags)
{
	int how = next(true);
	struct msghdr some = *msg;
	struct iovec first;

	if (how == FAILS)
		return -1;
	if (how == PASSES)
		return NEXT(sendmsg)(fd, msg, flags);
	first = first_byte(msg->msg_iov, msg->msg_iovlen);
	some.msg_iov = &first;
	some.msg_iovlen = 1;
	return NEXT(sendmsg)(fd, &some, flags);
}

#define CALL(name, parameters, arguments)                                                                              \
	int name parameters                                                                                            \
	{                                                                                                              \
		return next(false) == FAILS ? -1 : NEXT(name) arguments;                                               \
	}

CALL(accept, (int fd, struct sockaddr *addr, socklen_t *len), (fd, addr, len))
CALL(socket, (int domain, int type, int protocol), (domain, type, protocol))
CALL(listen, (int fd, int backlog), (fd, backlog))
CALL(dup, (int fd), (fd))
CALL(pipe, (int fds[2]), (fds))
CALL(getsockopt, (int fd, int level, int option, void *value, socklen_t *len), (fd, level, option, value, len))

int fcntl(int fd, int command, ...)
{
	va_list args;
	void *arg;

	va_start(args, command);
	arg = va_arg(args, void *);
	va_end(args);
	return next(false) == FAILS ? -1 : NEXT(fcntl)(fd, command, arg);
}

int open(const char *path, int flags, ...)
{
	va_list args;
	int mode;

	va_start(args, flags);
	mode = va_arg(args, int);
	va_end(args);
	return next(false) == FAILS ? -1 : NEXT(open)(path, flags, mode);
}

/*
 * A library between the object and libc that calls the object again, from where only the real call should be: before each read, write, send
 * and receive that comes through, it prints a line of its own to the same log, and touches the same connection.
 */
#include <dlfcn.h>
#include <errno.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

static __thread int depth;

static void touch(int fd)
{
	int saved = errno, error;
	socklen_t len = sizeof(error);
	char byte;

	if (depth++ == 0) {
		(void)!write(STDOUT_FILENO, "within\n", 7);
		(void)!recv(fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT);
		(void)!getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &len);
	}
	depth--;
	errno = saved;
}

#define NEXT(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))

ssize_t read(int fd, void *buf, size_t len)
{
	touch(fd);
	return NEXT(read)(fd, buf, len);
}

ssize_t recv(int fd, void *buf, size_t len, int flags)
{
	touch(fd);
	return NEXT(recv)(fd, buf, len, flags);
}

ssize_t write(int fd, const void *buf, size_t len)
{
	touch(fd);
	return NEXT(write)(fd, buf, len);
}

ssize_t writev(int fd, const struct iovec *iov, int count)
{
	touch(fd);
	return NEXT(writev)(fd, iov, count);
}

ssize_t send(int fd, const void *buf, size_t len, int flags)
{
	touch(fd);
	return NEXT(send)(fd, buf, len, flags);
}

ssize_t sendmsg(int fd, const struct msghdr *msg, int flags)
{
	touch(fd);
	return NEXT(sendmsg)(fd, msg, flags);
}

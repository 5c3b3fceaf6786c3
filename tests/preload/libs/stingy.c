/*
 * A library between a program (or the object) and libc: of what is sent to a socket, it lets few bytes pass at a time, and
 * now and then none. STINGY=BYTES[,EVERY[,ERRNO]]: at most BYTES a call; each EVERYth call fails with ERRNO instead.
 */
#include <dlfcn.h>
#include <errno.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

static size_t most;
static int every, error;

/* 0: pass through; else the bytes that may pass, or -1 with errno. */
static ssize_t allowance(int fd)
{
	static int calls;
	struct stat st;
	int saved = errno;

	if (most == 0) {
		char *at = getenv("STINGY");

		most = at == NULL ? 1 : strtoul(at, &at, 10);
		every = at != NULL && *at == ',' ? (int)strtol(at + 1, &at, 10) : 0;
		error = at != NULL && *at == ',' ? (int)strtol(at + 1, &at, 10) : 0;
	}
	if (fstat(fd, &st) != 0 || !S_ISSOCK(st.st_mode))
		return 0;
	errno = saved;
	if (every > 0 && ++calls % every == 0) {
		errno = error;
		return -1;
	}
	return (ssize_t)most;
}

#define NEXT(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))

ssize_t write(int fd, const void *bytes, size_t len)
{
	ssize_t room = allowance(fd);

	return room < 0 ? -1 : NEXT(write)(fd, bytes, room > 0 && len > (size_t)room ? (size_t)room : len);
}

ssize_t send(int fd, const void *bytes, size_t len, int flags)
{
	ssize_t room = allowance(fd);

	return room < 0 ? -1 : NEXT(send)(fd, bytes, room > 0 && len > (size_t)room ? (size_t)room : len, flags);
}

ssize_t sendto(int fd, const void *bytes, size_t len, int flags, const struct sockaddr *addr, socklen_t addrlen)
{
	ssize_t room = allowance(fd);

	return room < 0 ? -1 :
	                  NEXT(sendto)(fd, bytes, room > 0 && len > (size_t)room ? (size_t)room : len, flags, addr,
	                               addrlen);
}

static int shorten(struct iovec out[1024], const struct iovec *iov, int count, size_t room)
{
	int i;

	for (i = 0; i < count && room > 0; i++) {
		out[i] = iov[i];
		if (out[i].iov_len > room)
			out[i].iov_len = room;
		room -= out[i].iov_len;
	}
	return i;
}

ssize_t writev(int fd, const struct iovec *iov, int count)
{
	struct iovec some[1024];
	ssize_t room = allowance(fd);

	if (room <= 0)
		return room < 0 ? -1 : NEXT(writev)(fd, iov, count);
	return NEXT(writev)(fd, some, shorten(some, iov, count, (size_t)room));
}

ssize_t sendmsg(int fd, const struct msghdr *msg, int flags)
{
	struct iovec some[1024];
	struct msghdr less = *msg;
	ssize_t room = allowance(fd);

	if (room <= 0)
		return room < 0 ? -1 : NEXT(sendmsg)(fd, msg, flags);
	less.msg_iov = some;
	less.msg_iovlen = (size_t)shorten(some, msg->msg_iov, (int)msg->msg_iovlen, (size_t)room);
	return NEXT(sendmsg)(fd, &less, flags);
}

int sendmmsg(int fd, struct mmsghdr *msgs, unsigned count, int flags)
{
	unsigned i;

	for (i = 0; i < count; i++) {
		ssize_t n = sendmsg(fd, &msgs[i].msg_hdr, flags);
		size_t whole = 0, j;

		if (n < 0)
			return i > 0 ? (int)i : -1;
		msgs[i].msg_len = (unsigned)n;
		for (j = 0; j < msgs[i].msg_hdr.msg_iovlen; j++)
			whole += msgs[i].msg_hdr.msg_iov[j].iov_len;
		if ((size_t)n < whole)
			return (int)i + 1;
	}
	return (int)i;
}

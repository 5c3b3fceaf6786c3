/*
 * A kernel that has TLS, as far as libssl can see: what is written once the keys were given goes out in records that are not encrypted, and
 * what is read then comes from such. Both sides have to have it, preloaded behind what is tested. No record is left half sent.
 * Source: Documentation/networking/tls.rst of Linux.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <unistd.h>

#define LEVEL_TCP 6
#define ULP 31
#define LEVEL_TLS                                                                                                      \
	282 /* its options: 1 keys to send by, 2 keys to receive by; its messages: 1 and 2, the type of a record */
static char sends[1024], receives[1024];

static ssize_t (*next(const char *name))(void)
{
	return (ssize_t(*)(void))dlsym(RTLD_NEXT, name);
}
#define REAL(name) ((__typeof__(&name))next(#name))

/* The file that KTLS_SAID names gets a line for each direction that was given keys. */
static void say(const char *what)
{
	const char *file = getenv("KTLS_SAID");
	FILE *f = file ? fopen(file, "a") : NULL;

	if (f) {
		fprintf(f, "%s\n", what);
		fclose(f);
	}
}

int setsockopt(int fd, int level, int name, const void *value, socklen_t len)
{
	if (level == LEVEL_TCP && name == ULP)
		return 0;
	if (level == LEVEL_TLS && fd < 1024) {
		(name == 1 ? sends : receives)[fd] = 1;
		say(name == 1 ? "sends" : "receives");
		return 0;
	}
	return REAL(setsockopt)(fd, level, name, value, len);
}

int close(int fd)
{
	if (fd >= 0 && fd < 1024)
		sends[fd] = receives[fd] = 0;
	return REAL(close)(fd);
}

static int all(int fd, char *bytes, size_t len, int out)
{
	while (len > 0) {
		ssize_t n = out ? REAL(send)(fd, bytes, len, MSG_NOSIGNAL) : REAL(recv)(fd, bytes, len, 0);

		if (n == 0 || (n < 0 && errno != EAGAIN))
			return -1;
		if (n < 0) {
			struct pollfd p = { fd, out ? POLLOUT : POLLIN, 0 };

			poll(&p, 1, 1000);
			continue;
		}
		bytes += n;
		len -= (size_t)n;
	}
	return 0;
}

static ssize_t record(int fd, int type, const void *bytes, size_t len)
{
	char out[5 + 16384] = { (char)type, 3, 3 };
	struct pollfd p = { fd, POLLOUT, 0 };

	len = len < 16384 ? len : 16384;
	if (poll(&p, 1, 0) != 1) {
		errno = EAGAIN;
		return -1;
	}
	out[3] = (char)(len >> 8);
	out[4] = (char)len;
	memcpy(out + 5, bytes, len);
	return all(fd, out, 5 + len, 1) == 0 ? (ssize_t)len : -1;
}

ssize_t write(int fd, const void *bytes, size_t len)
{
	return fd >= 0 && fd < 1024 && sends[fd] ? record(fd, 23, bytes, len) : REAL(write)(fd, bytes, len);
}

ssize_t sendmsg(int fd, const struct msghdr *m, int flags)
{
	if (fd < 0 || fd >= 1024 || !sends[fd])
		return REAL(sendmsg)(fd, m, flags);
	return record(fd, *(unsigned char *)CMSG_DATA(CMSG_FIRSTHDR(m)), m->msg_iov->iov_base, m->msg_iov->iov_len);
}

ssize_t sendfile(int fd, int from, off_t *offset, size_t len)
{
	char bytes[16384];
	ssize_t n;

	if (fd < 0 || fd >= 1024 || !sends[fd])
		return REAL(sendfile)(fd, from, offset, len);
	n = pread(from, bytes, len < sizeof(bytes) ? len : sizeof(bytes), *offset);
	if (n > 0 && (n = record(fd, 23, bytes, (size_t)n)) > 0)
		*offset += n;
	return n;
}
ssize_t sendfile64(int fd, int from, off_t *offset, size_t len) __attribute__((alias("sendfile")));

ssize_t recvmsg(int fd, struct msghdr *m, int flags)
{
	unsigned char head[5];
	struct cmsghdr *c = m->msg_control;
	size_t len;
	ssize_t n;

	if (fd < 0 || fd >= 1024 || !receives[fd])
		return REAL(recvmsg)(fd, m, flags);
	n = REAL(recv)(fd, head, 1, 0);
	if (n <= 0)
		return n;
	if (all(fd, (char *)head + 1, 4, 0) != 0)
		return -1;
	len = (size_t)head[3] << 8 | head[4];
	if (len > m->msg_iov->iov_len)
		abort();
	if (all(fd, m->msg_iov->iov_base, len, 0) != 0)
		return -1;
	c->cmsg_level = LEVEL_TLS;
	c->cmsg_type = 2;
	c->cmsg_len = CMSG_LEN(1);
	*CMSG_DATA(c) = head[0];
	m->msg_controllen = c->cmsg_len;
	return (ssize_t)len;
}

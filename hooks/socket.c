/*
 * Connections: how they come to be, and how a program ends its direction of them.
 */
#include "real.h"

#include <errno.h>

EXPORT int socket(int domain, int type, int protocol)
{
	int fd = REAL(socket)(domain, type, protocol);
	bool stream = (type & ~(SOCK_NONBLOCK | SOCK_CLOEXEC)) == SOCK_STREAM;

	if (fd >= 0 && io_active())
		fds_birth(fd, stream ? FD_STREAM : FD_CHANNEL);
	return fd;
}

EXPORT int socketpair(int domain, int type, int protocol, int fds[2])
{
	int result = REAL(socketpair)(domain, type, protocol, fds);

	if (result == 0 && io_active()) {
		fds_birth(fds[0], FD_CHANNEL);
		fds_birth(fds[1], FD_CHANNEL);
	}
	return result;
}

EXPORT int accept(int listener, struct sockaddr *restrict addr, socklen_t *restrict len)
{
	int fd;

	if (io_active())
		io_accept_begin();
	fd = REAL(accept)(listener, addr, len);
	if (fd >= 0 && io_active())
		io_accepted(listener, fd, false);
	return fd;
}

EXPORT int accept4(int listener, struct sockaddr *restrict addr, socklen_t *restrict len, int flags)
{
	int fd;

	if (io_active())
		io_accept_begin();
	fd = REAL(accept4)(listener, addr, len, flags);
	if (fd >= 0 && io_active())
		io_accepted(listener, fd, (flags & SOCK_NONBLOCK) != 0);
	return fd;
}

EXPORT int listen(int fd, int backlog)
{
	int result = REAL(listen)(fd, backlog);

	if (result == 0 && io_active())
		io_listening(fd);
	return result;
}

EXPORT int connect(int fd, const struct sockaddr *addr, socklen_t len)
{
	/* Before the real call: another thread may write as soon as the kernel says that it may. */
	bool ours = io_active() && io_connect_begin(fd, addr, len);
	int result = REAL(connect)(fd, addr, len);

	if (ours)
		io_connect_end(fd, result, errno);
	return result;
}

EXPORT int getsockopt(int fd, int level, int option, void *restrict value, socklen_t *restrict len)
{
	bool asks = level == SOL_SOCKET && option == SO_ERROR;
	int result = REAL(getsockopt)(fd, level, option, value, len);

	if (asks && result == 0 && io_active())
		io_asked(fd);
	return result;
}

EXPORT int shutdown(int fd, int how)
{
	int result = REAL(shutdown)(fd, how);

	if (result == 0 && io_active())
		io_shut(fd, how);
	return result;
}

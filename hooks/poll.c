/*
 * Waits for descriptors: where a thread goes back to when it has nothing to do for its request any more.
 */
#include "real.h"

#include "os.h"

#define NS_PER_MS 1000000
#define NS_PER_US 1000
#define NS_PER_S 1000000000

static int64_t of_ms(int timeout)
{
	return timeout < 0 ? -1 : (int64_t)timeout * NS_PER_MS;
}

static int64_t of_timespec(const struct timespec *timeout)
{
	return timeout == NULL ? -1 : (int64_t)timeout->tv_sec * NS_PER_S + timeout->tv_nsec;
}

EXPORT int epoll_ctl(int epoll, int operation, int fd, struct epoll_event *event)
{
	int result = REAL(epoll_ctl)(epoll, operation, fd, event);

	if (result == 0 && io_active()) {
		if (operation == EPOLL_CTL_ADD)
			io_epoll_added(epoll, fd);
		io_epoll_changed(fd);
	}
	return result;
}

EXPORT int epoll_wait(int epoll, struct epoll_event *events, int max, int timeout)
{
	bool ours = io_active() && io_epoll_begin(epoll, of_ms(timeout));
	int n = REAL(epoll_wait)(epoll, events, max, timeout);
	if (ours)
		io_wait_done(n);
	return n;
}

EXPORT int epoll_pwait(int epoll, struct epoll_event *events, int max, int timeout, const sigset_t *mask)
{
	bool ours = io_active() && io_epoll_begin(epoll, of_ms(timeout));
	int n = REAL(epoll_pwait)(epoll, events, max, timeout, mask);
	if (ours)
		io_wait_done(n);
	return n;
}

EXPORT int epoll_pwait2(int epoll, struct epoll_event *events, int max, const struct timespec *timeout,
                        const sigset_t *mask)
{
	/* The only one whose timeout libc leaves to the kernel to read. */
	bool ours = io_active() && (timeout == NULL || os_readable(timeout, sizeof(*timeout))) &&
	            io_epoll_begin(epoll, of_timespec(timeout));
	int n = REAL(epoll_pwait2)(epoll, events, max, timeout, mask);
	if (ours)
		io_wait_done(n);
	return n;
}

EXPORT int poll(struct pollfd *fds, nfds_t count, int timeout)
{
	bool ours = io_active() && io_poll_begin(fds, count, of_ms(timeout));
	int n = REAL(poll)(fds, count, timeout);

	if (ours)
		io_wait_done(n);
	return n;
}

EXPORT int __poll_chk(struct pollfd *fds, nfds_t count, int timeout, size_t room)
{
	bool ours = io_active() && io_poll_begin(fds, count, of_ms(timeout));
	int n = REAL(__poll_chk)(fds, count, timeout, room);

	if (ours)
		io_wait_done(n);
	return n;
}

EXPORT int ppoll(struct pollfd *fds, nfds_t count, const struct timespec *timeout, const sigset_t *mask)
{
	bool ours = io_active() && io_poll_begin(fds, count, of_timespec(timeout));
	int n = REAL(ppoll)(fds, count, timeout, mask);

	if (ours)
		io_wait_done(n);
	return n;
}

EXPORT int __ppoll_chk(struct pollfd *fds, nfds_t count, const struct timespec *timeout, const sigset_t *mask,
                       size_t room)
{
	bool ours = io_active() && io_poll_begin(fds, count, of_timespec(timeout));
	int n = REAL(__ppoll_chk)(fds, count, timeout, mask, room);

	if (ours)
		io_wait_done(n);
	return n;
}

EXPORT int select(int count, fd_set *restrict reads, fd_set *restrict writes, fd_set *restrict excepts,
                  struct timeval *restrict timeout)
{
	int64_t ns = timeout == NULL ? -1 : (int64_t)timeout->tv_sec * NS_PER_S + (int64_t)timeout->tv_usec * NS_PER_US;
	bool ours = io_active() && io_select_begin(count, reads, writes, ns);
	int n = REAL(select)(count, reads, writes, excepts, timeout);

	if (ours)
		io_wait_done(n);
	return n;
}

EXPORT int pselect(int count, fd_set *restrict reads, fd_set *restrict writes, fd_set *restrict excepts,
                   const struct timespec *restrict timeout, const sigset_t *restrict mask)
{
	bool ours = io_active() && io_select_begin(count, reads, writes, of_timespec(timeout));
	int n = REAL(pselect)(count, reads, writes, excepts, timeout, mask);

	if (ours)
		io_wait_done(n);
	return n;
}

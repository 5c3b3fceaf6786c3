/*
 * Descriptors that are born, copied and closed.
 *
 * What dies is forgotten before the real close: afterwards the number may be somebody else's already. What is born resets
 * whatever an unseen close left behind. Files opened for reading only can carry neither requests nor log lines.
 */
#include "real.h"

#include "forks.h"

#include <errno.h>

/* ---- death ---- */

static __attribute__((noinline)) void closing_any(int fd)
{
	uint64_t word = fds_word(fd);

	if (fds_kind(word) == FD_LOG || fds_kind(word) == FD_CONN)
		io_closing(fd);
	if (word != FD_UNKNOWN)
		fds_death(fd);
}

EXPORT int close(int fd)
{
	if (io_active() && !fds_death_of_file(fd))
		closing_any(fd);
	return REAL(close)(fd);
}

EXPORT int close_range(unsigned first, unsigned last, int flags)
{
	/* With CLOSE_RANGE_CLOEXEC nothing is closed yet. */
	if (io_active() && flags == 0) {
		io_closing_range(first, last);
		fds_death_range(first, last);
	}
	return REAL(close_range)(first, last, flags);
}

EXPORT void closefrom(int first)
{
	if (io_active()) {
		io_closing_range(first < 0 ? 0 : (unsigned)first, LIMIT_FDS - 1);
		fds_death_range(first < 0 ? 0 : (unsigned)first, LIMIT_FDS - 1);
	}
	REAL(closefrom)(first);
}

/* ---- copies ---- */

static int copied(int from, int to)
{
	if (to >= 0 && io_active())
		fds_dup(from, to);
	return to;
}

EXPORT int dup(int fd)
{
	return copied(fd, REAL(dup)(fd));
}

/* A log that another descriptor is put upon; not when it is put upon itself. */
static void replacing(int fd, int to)
{
	if (fd != to && io_active() && fds_kind(fds_word(to)) == FD_LOG && REAL(fcntl)(fd, F_GETFD) >= 0)
		io_closing(to);
}

EXPORT int dup2(int fd, int to)
{
	replacing(fd, to);
	return copied(fd, REAL(dup2)(fd, to));
}

EXPORT int dup3(int fd, int to, int flags)
{
	replacing(fd, to);
	return copied(fd, REAL(dup3)(fd, to, flags));
}

/* Commands that take an int, a pointer or nothing: a pointer-sized argument passes all of them through. */
static int control_done(int fd, int command, void *arg, int result)
{
	if (result < 0 || !io_active())
		return result;
	if (command == F_DUPFD || command == F_DUPFD_CLOEXEC)
		return copied(fd, result);
	if (command == F_SETFL)
		io_set_nonblocking(fd, ((uintptr_t)arg & O_NONBLOCK) != 0);
	return result;
}

EXPORT int hook_fcntl(int fd, int command, void *arg) HOOK_OF(fcntl);
EXPORT int hook_fcntl64(int fd, int command, void *arg) HOOK_OF(fcntl64);
EXPORT int hook_ioctl(int fd, unsigned long request, void *arg) HOOK_OF(ioctl);
/* A path is not NULL, says libc's declaration. One that is goes on as it is: UBSan (make sanitize) is to take ours for the same promise. */
EXPORT int hook_open(const char *path, int flags, mode_t mode) HOOK_OF(open) __nonnull((1));
EXPORT int hook_open64(const char *path, int flags, mode_t mode) HOOK_OF(open64) __nonnull((1));
EXPORT int hook_openat(int dir, const char *path, int flags, mode_t mode) HOOK_OF(openat) __nonnull((2));
EXPORT int hook_openat64(int dir, const char *path, int flags, mode_t mode) HOOK_OF(openat64) __nonnull((2));

int hook_fcntl(int fd, int command, void *arg)
{
	return control_done(fd, command, arg, REAL(fcntl)(fd, command, arg));
}

int hook_fcntl64(int fd, int command, void *arg)
{
	return control_done(fd, command, arg, REAL(fcntl64)(fd, command, arg));
}

int hook_ioctl(int fd, unsigned long request, void *arg)
{
	int result = REAL(ioctl)(fd, request, arg);

	if (result >= 0 && request == FIONBIO && arg != NULL && io_active())
		io_set_nonblocking(fd, *(const int *)arg != 0);
	return result;
}

/* ---- birth ---- */

static int born(int fd, enum fd_kind kind)
{
	if (fd >= 0 && io_active())
		fds_birth(fd, kind);
	return fd;
}

static int opened(int fd, int flags)
{
	if ((flags & O_ACCMODE) == O_RDONLY && io_active() && fds_birth_of_file(fd))
		return fd;
	return born(fd, (flags & O_ACCMODE) == O_RDONLY ? FD_NOTHING : FD_UNKNOWN);
}

/* The mode is there only if the flags say so. */
int hook_open(const char *path, int flags, mode_t mode)
{
	return opened(REAL(open)(path, flags, mode), flags);
}

int hook_open64(const char *path, int flags, mode_t mode)
{
	return opened(REAL(open64)(path, flags, mode), flags);
}

int hook_openat(int dir, const char *path, int flags, mode_t mode)
{
	return opened(REAL(openat)(dir, path, flags, mode), flags);
}

int hook_openat64(int dir, const char *path, int flags, mode_t mode)
{
	return opened(REAL(openat64)(dir, path, flags, mode), flags);
}

EXPORT int __open_2(const char *path, int flags)
{
	return opened(REAL(__open_2)(path, flags), flags);
}

EXPORT int __open64_2(const char *path, int flags)
{
	return opened(REAL(__open64_2)(path, flags), flags);
}

EXPORT int __openat_2(int dir, const char *path, int flags)
{
	return opened(REAL(__openat_2)(dir, path, flags), flags);
}

EXPORT int __openat64_2(int dir, const char *path, int flags)
{
	return opened(REAL(__openat64_2)(dir, path, flags), flags);
}

EXPORT int creat(const char *path, mode_t mode)
{
	return born(REAL(creat)(path, mode), FD_UNKNOWN);
}

EXPORT int creat64(const char *path, mode_t mode)
{
	return born(REAL(creat64)(path, mode), FD_UNKNOWN);
}

EXPORT int pipe(int fds[2])
{
	int result = REAL(pipe)(fds);

	if (result == 0) {
		born(fds[0], FD_CHANNEL);
		born(fds[1], FD_CHANNEL);
	}
	return result;
}

EXPORT int pipe2(int fds[2], int flags)
{
	int result = REAL(pipe2)(fds, flags);

	if (result == 0) {
		born(fds[0], FD_CHANNEL);
		born(fds[1], FD_CHANNEL);
	}
	return result;
}

EXPORT int eventfd(unsigned count, int flags)
{
	return born(REAL(eventfd)(count, flags), FD_CHANNEL);
}

EXPORT int epoll_create(int size)
{
	return born(REAL(epoll_create)(size), FD_CHANNEL);
}

EXPORT int epoll_create1(int flags)
{
	return born(REAL(epoll_create1)(flags), FD_CHANNEL);
}

EXPORT int timerfd_create(int clock, int flags)
{
	return born(REAL(timerfd_create)(clock, flags), FD_CHANNEL);
}

EXPORT int signalfd(int fd, const sigset_t *mask, int flags)
{
	return born(REAL(signalfd)(fd, mask, flags), FD_CHANNEL);
}

EXPORT int inotify_init(void)
{
	return born(REAL(inotify_init)(), FD_CHANNEL);
}

EXPORT int inotify_init1(int flags)
{
	return born(REAL(inotify_init1)(flags), FD_CHANNEL);
}

EXPORT int memfd_create(const char *name, unsigned flags)
{
	return born(REAL(memfd_create)(name, flags), FD_NOTHING);
}

/* These point 0, 1 and 2 at something else from inside libc. */
static void standard_born(void)
{
	int fd;

	for (fd = 0; fd <= 2; fd++)
		born(fd, FD_UNKNOWN);
}

EXPORT int daemon(int stay, int keep)
{
	int result;

	/* And its parent ends inside libc. */
	if (io_active())
		io_flush_logs();
	result = REAL(daemon)(stay, keep);
	if (result == 0)
		forks_done(0);
	if (keep == 0 && result == 0)
		standard_born();
	return result;
}

EXPORT int login_tty(int fd)
{
	int result = REAL(login_tty)(fd);

	if (result == 0)
		standard_born();
	return result;
}

EXPORT int forkpty(int *master, char *name, const struct termios *settings, const struct winsize *size)
{
	int pid = REAL(forkpty)(master, name, settings, size);

	forks_done(pid);
	if (pid == 0)
		standard_born();
	else if (pid > 0)
		born(*master, FD_NOTHING);
	return pid;
}

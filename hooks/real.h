/*
 * The functions behind the hooks: the next ones in the search order (RTLD_NEXT), libc's or another preload's.
 *
 * Each is bound at its first use, because most processes of a tree are short and use few of them; all of them before the
 * first thread is made: dlsym takes the loader's lock, and a thread that waited for it in the midst of a read could wait
 * for a library's constructor that waits for that read. dlsym allocates nothing when it succeeds, so code that runs before
 * our constructor (another library's, an allocator's start) may come here too.
 */
#ifndef TRACESHIM_REAL_H
#define TRACESHIM_REAL_H

#include <aio.h>
#include <poll.h>
#include <pty.h>
#include <pthread.h>
#include <sched.h>
#include <semaphore.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/inotify.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/select.h>
#include <sys/sendfile.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/timerfd.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <threads.h>
#include <ucontext.h>
#include <dlfcn.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdlib.h>
#include <unistd.h>
#include <utmp.h>

#include "layout.h"
#include "io.h"

/* What is visible to other objects: the hooks, and nothing else. */
#define EXPORT __attribute__((visibility("default")))

/*
 * Of a function with `...` behind which a few integers or pointers may come, the hook has those by name: in the C ABIs of Linux they come in the
 * same places, and where one did not come it is nothing but read and passed on, while a `...` writes every register to the stack.
 * Such a hook has a name of its own in C, and this one for the linker.
 */
#define HOOK_OF(name) __asm__(#name)

/* Fortified variants, which no header declares. glibc, debug/ *_chk.c. */
ssize_t __read_chk(int fd, void *buf, size_t len, size_t room);
ssize_t __recv_chk(int fd, void *buf, size_t len, size_t room, int flags);
ssize_t __recvfrom_chk(int fd, void *buf, size_t len, size_t room, int flags, struct sockaddr *addr,
                       socklen_t *addrlen);
int __poll_chk(struct pollfd *fds, nfds_t count, int timeout, size_t room);
int __ppoll_chk(struct pollfd *fds, nfds_t count, const struct timespec *timeout, const sigset_t *mask, size_t room);
pid_t __fork(void);
int __register_atfork(void (*prepare)(void), void (*parent)(void), void (*child)(void), void *dso);
int __open_2(const char *path, int flags);
int __open64_2(const char *path, int flags);
int __openat_2(int dir, const char *path, int flags);
int __openat64_2(int dir, const char *path, int flags);

enum real_index {
#define REAL_ENTRY(name) REAL_##name,
#include "real_table.h"
#undef REAL_ENTRY
	REAL_COUNT
};

extern void *real_function[REAL_COUNT];

/* Bind one entry, now. Never NULL: a function that does not exist becomes one that fails with ENOSYS (and is counted). */
void *real_bind(enum real_index index);
void real_bind_all(void);

/*
 * The program asks the loader for things: an error may be kept that it has not read (dlerror), and dlsym clears it though it succeeds. So
 * what is bound from now on is looked for in another way. Set by the hooks for the loader, never cleared.
 */
extern bool real_error_kept;

/*
 * libc's own dlsym, as if asked by this object: RTLD_NEXT is what comes behind it. NULL: not found (dlerror says so), or there is no dlsym.
 */
void *real_symbol(void *handle, const char *name);

static inline __attribute__((always_inline)) void *real_get(enum real_index index)
{
	void *found = __atomic_load_n(&real_function[index], __ATOMIC_RELAXED);

	return __builtin_expect(found != NULL, 1) ? found : real_bind(index);
}

/* The real `name`, with the type that libc declares for it. */
#define REAL(name) ((__typeof__(&name))real_get(REAL_##name))

#endif

/*
 * Children of a fork: what of our state is the parent's is put right before anything else runs there.
 *
 * Registering a handler for that is what pthread_atfork is for, but costs each start 5 us (it touches pages of libc's that
 * nothing else does), and most processes never fork. So the functions that fork do it themselves, until there is a handler; and
 * one is registered as soon as there might be another way to fork, or somebody else's handler, which would come before us:
 *   - before the first handler of anybody's (all come by __register_atfork, in the order in which they run in the child);
 *   - before the first thread, and before anything is loaded: whoever looks functions up by name finds libc's own.
 * None of these is called in a signal handler; fork may be, and takes no lock of ours.
 */
#include "forks.h"

#include "config.h"
#include "libc_versions.h"
#include "real.h"
#include "span.h"

uint8_t forks_watched;

/* The object is linked without the compiler's start files: nothing of theirs is needed, and each name costs a look-up. */
static void *const dso_handle = (void *)&dso_handle;

static void in_child(void)
{
	if (io_active())
		io_after_fork();
}

/* Nobody needs to know of a fork before, but spans; and connections, of which the child is told too. */
static void before(void)
{
	conn_note_child();
	if (io_active())
		span_forking();
}

/* musl has none, and no __register_atfork: pthread_atfork is the function itself there. */
extern const char *gnu_get_libc_version(void) __attribute__((weak));

bool forks_unseen(void)
{
	return gnu_get_libc_version == NULL || config.export_traces;
}

void forks_watch_now(void)
{
	int (*atfork)(void (*)(void), void (*)(void), void (*)(void));
	int error = -1;

	if (gnu_get_libc_version != NULL)
		error = REAL(__register_atfork)(before, NULL, in_child, (void *)(uintptr_t)&dso_handle);
	else if ((atfork = (__typeof__(atfork))real_symbol(RTLD_DEFAULT, "pthread_atfork")) != NULL)
		error = atfork(before, NULL, in_child);
	if (error == 0)
		__atomic_store_n(&forks_watched, 1, __ATOMIC_RELAXED);
}

void forks_done(pid_t pid)
{
	if (__atomic_load_n(&forks_watched, __ATOMIC_RELAXED))
		return;
	conn_note_child();
	if (pid == 0)
		in_child();
}

EXPORT int __register_atfork(void (*prepare)(void), void (*parent)(void), void (*child)(void), void *dso)
{
	forks_watch();
	return REAL(__register_atfork)(prepare, parent, child, dso);
}

EXPORT pid_t fork(void)
{
	pid_t pid = REAL(fork)();

	forks_done(pid);
	return pid;
}

EXPORT pid_t __fork(void)
{
	pid_t pid = REAL(__fork)();

	forks_done(pid);
	return pid;
}

/* _Fork(3) runs no handlers. */
EXPORT pid_t _Fork(void)
{
	pid_t pid;

	before();
	pid = REAL(_Fork)();
	if (pid == 0)
		in_child();
	return pid;
}

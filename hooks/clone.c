/*
 * clone(3), which runs none of fork's handlers: a child with memory of its own is a fork like any other; one that shares ours while we
 * wait, but has its own descriptors, is like vfork's, as some programs start others: what it closes and duplicates is not ours.
 * A child that runs beside us on our memory with descriptors of its own cannot be told from us by what is in that memory: not seen.
 */
#include "real.h"

#include <sched.h>

struct clone_start {
	int (*function)(void *arg);
	void *arg;
};

/* The frame that holds `start` is copied with all other memory. */
static int run_as_fork(void *start)
{
	const struct clone_start *begin = start;

	io_after_fork();
	return begin->function(begin->arg);
}

static bool is_like_vfork(int flags)
{
	return (flags & (CLONE_VM | CLONE_VFORK | CLONE_FILES | CLONE_SETTLS)) == (CLONE_VM | CLONE_VFORK);
}

EXPORT int hook_clone(int (*function)(void *arg), void *stack, int flags, void *arg, void *parent_tid, void *tls,
                      void *child_tid) HOOK_OF(clone);

int hook_clone(int (*function)(void *arg), void *stack, int flags, void *arg, void *parent_tid, void *tls,
               void *child_tid)
{
	struct clone_start start = { function, arg };
	int pid;

	if (!io_active() || function == NULL || ((flags & CLONE_VM) != 0 && !is_like_vfork(flags)))
		return REAL(clone)(function, stack, flags, arg, parent_tid, tls, child_tid);
	conn_note_child();
	if ((flags & CLONE_VM) == 0)
		return REAL(clone)(run_as_fork, stack, flags, &start, parent_tid, tls, child_tid);
	io_step_aside(true);
	pid = REAL(clone)(function, stack, flags, arg, parent_tid, tls, child_tid);
	io_step_aside(false);
	return pid;
}

/*
 * System calls by number: libuv (every Node, uvloop) closes sockets this way, and C++, Rust and JVM code waits on futexes.
 * Called up to 32,000 times for four requests of a tomcat: the rest passes through after one switch.
 */
#include "real.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/futex.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <sys/prctl.h>
#include <sys/syscall.h>

#include "current.h"
#include "os.h"
#include "process.h"
#include "ring.h"

/*
 * A program that confines itself (seccomp) says which system calls it makes from then on, and is killed for another one. We make
 * some that it does not: so from then on nothing is done any more, on that thread in strict mode, which is a thread's own; in the
 * whole process with a filter, which whatever is created later inherits. What can be sent is sent before.
 */
enum confinement { CONFINES_NOTHING, CONFINES_THREAD, CONFINES_PROCESS };

static enum confinement confinement_of_prctl(long option, long mode)
{
	if (option != PR_SET_SECCOMP)
		return CONFINES_NOTHING;
	return mode == SECCOMP_MODE_STRICT ? CONFINES_THREAD : CONFINES_PROCESS;
}

static enum confinement confinement_of_syscall(long number, const long arg[6])
{
	if (number == SYS_prctl)
		return confinement_of_prctl(arg[0], arg[1]);
	if (number != SYS_seccomp || (arg[0] != SECCOMP_SET_MODE_STRICT && arg[0] != SECCOMP_SET_MODE_FILTER))
		return CONFINES_NOTHING;
	return arg[0] == SECCOMP_SET_MODE_STRICT ? CONFINES_THREAD : CONFINES_PROCESS;
}

static void confining(enum confinement confinement)
{
	if (confinement == CONFINES_NOTHING || !io_active())
		return;
	/* A name that is looked up later would do so without system calls; but the loader is not ours. */
	real_bind_all();
	io_flush_logs();
}

/* A number over zero is a listener, or the thread that could not be confined with the others: the caller then knows what to do. */
static long confined(enum confinement confinement, long result)
{
	if (confinement == CONFINES_PROCESS && result >= 0)
		io_set_ready(false);
	if (confinement == CONFINES_THREAD && result == 0)
		io_step_aside(true);
	return result;
}

/* Is it a fork, with memory of its own, for which libc runs no handlers? */
static bool is_fork(long number, const long arg[6])
{
	switch (number) {
	case SYS_fork: return true;
	case SYS_clone: return (arg[0] & CLONE_VM) == 0;
	case SYS_clone3:
		return os_readable((const void *)arg[0], sizeof(uint64_t)) &&
		       (*(const uint64_t *)arg[0] & CLONE_VM) == 0;
	default: return false;
	}
}

/* Calls that change what we are: the few that need a look at their result. */
static __attribute__((noinline)) long call_with_effects(long number, const long arg[6])
{
	enum confinement confinement = confinement_of_syscall(number, arg);
	bool forks = io_active() && is_fork(number, arg);
	long result;

	confining(confinement);
	if (forks)
		conn_note_child();
	result = REAL(syscall)(number, arg[0], arg[1], arg[2], arg[3], arg[4], arg[5]);
	if (forks && result == 0)
		io_after_fork();
	return confined(confinement, result);
}

/* See memory.c. */
static __attribute__((noinline)) long call_on_pages(long number, const long arg[6])
{
	long result = REAL(syscall)(number, arg[0], arg[1], arg[2], arg[3], arg[4], arg[5]);

	os_forget_readable((const void *)arg[0], (size_t)arg[1]);
	return result;
}

static void notice(long number, const long arg[6])
{
	switch (number) {
	case SYS_close:
		io_closing((int)arg[0]);
		fds_death((int)arg[0]);
		break;
	case SYS_dup2:
	case SYS_dup3:
		if (arg[0] != arg[1]) {
			io_closing((int)arg[1]);
			fds_death((int)arg[1]);
		}
		break;
	case SYS_futex:
		if ((arg[1] & FUTEX_CMD_MASK) == FUTEX_WAIT || (arg[1] & FUTEX_CMD_MASK) == FUTEX_WAIT_BITSET)
			current_wait_idle();
		break;
	case SYS_splice: io_passes_unseen((int)arg[2]); __attribute__((fallthrough));
	case SYS_read:
	case SYS_readv:
	case SYS_preadv2:
	case SYS_recvfrom:
	case SYS_recvmsg:
	case SYS_recvmmsg:
	case SYS_write:
	case SYS_writev:
	case SYS_pwritev2:
	case SYS_sendto:
	case SYS_sendmsg:
	case SYS_sendmmsg:
	case SYS_sendfile: io_passes_unseen((int)arg[0]); break;
	case SYS_exit_group:
		io_flush_logs();
		ring_end_process();
		break;
	default: break;
	}
}

/* A copy is the same connection by another number. */
static __attribute__((cold)) long call_that_copies(long number, const long arg[6])
{
	long result = REAL(syscall)(number, arg[0], arg[1], arg[2], arg[3], arg[4], arg[5]);

	if (result >= 0 && io_active() && (number != SYS_fcntl || arg[1] == F_DUPFD || arg[1] == F_DUPFD_CLOEXEC))
		fds_dup((int)arg[0], (int)result);
	return result;
}

/*
 * syscall(2) is variadic, but takes six register arguments whatever the number: the ones that a caller did not pass are
 * whatever those registers hold, as they are in libc's own.
 */
EXPORT long hook_syscall(long number, long a, long b, long c, long d, long e, long f) HOOK_OF(syscall);

long hook_syscall(long number, long a, long b, long c, long d, long e, long f)
{
	const long arg[6] = { a, b, c, d, e, f };

	if (io_active())
		notice(number, arg);
	switch (number) {
	case SYS_seccomp:
	case SYS_prctl:
	case SYS_fork:
	case SYS_clone:
	case SYS_clone3: return call_with_effects(number, arg);
	case SYS_munmap:
	case SYS_mprotect:
	case SYS_mremap: return call_on_pages(number, arg);
	case SYS_dup:
	case SYS_dup2:
	case SYS_dup3:
	case SYS_fcntl: return call_that_copies(number, arg);
	case SYS_execve:
	case SYS_execveat: return process_exec(number, arg);
	default: return REAL(syscall)(number, a, b, c, d, e, f);
	}
}

/* Variadic too; the kernel wants what an option does not use to be zero, or does not look. */
EXPORT int hook_prctl(int option, long a, long b, long c, long d) HOOK_OF(prctl);

int hook_prctl(int option, long a, long b, long c, long d)
{
	enum confinement confinement = confinement_of_prctl(option, a);

	confining(confinement);
	return (int)confined(confinement, REAL(prctl)(option, a, b, c, d));
}

/*
 * System calls by number: libuv (every Node, uvloop) closes sockets this way, and C++, Rust and JVM code waits on futexes.
 * Called up to 32,000 times for four requests of a tomcat: the rest passes through after one switch.
 */
#include "real.h"

#include <linux/futex.h>
#include <stdarg.h>
#include <sys/syscall.h>

#include "current.h"

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
	case SYS_exit_group: io_flush_logs(); break;
	default: break;
	}
}

/*
 * syscall(2) is variadic, but takes six register arguments whatever the number: the ones that a caller did not pass are
 * whatever those registers hold, as they are in libc's own.
 */
EXPORT long syscall(long number, ...)
{
	long arg[6];
	va_list args;
	int i;

	va_start(args, number);
	for (i = 0; i < 6; i++)
		arg[i] = va_arg(args, long);
	va_end(args);
	if (io_active())
		notice(number, arg);
	return REAL(syscall)(number, arg[0], arg[1], arg[2], arg[3], arg[4], arg[5]);
}

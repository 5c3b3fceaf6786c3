/*
 * cli/agent/process.c: who is said to run no more has ended; who cannot be looked at is not.
 */
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "agent/process.h"
#include "procfs.h"

static void the_process_of_a_pid_and_a_start_runs_until_it_ends(void **state)
{
	pid_t child = fork();
	uint64_t began;

	(void)state;
	assert_true(child >= 0);
	if (child == 0) {
		pause();
		_exit(0);
	}
	began = procfs_start_ticks(child);
	assert_true(began > 0);
	assert_true(process_runs(child, began));
	assert_false(process_runs(child, began + 1));
	kill(child, SIGKILL);
	assert_int_equal(waitid(P_PID, (id_t)child, &(siginfo_t){ 0 }, WEXITED | WNOWAIT), 0);
	assert_false(process_runs(child, began)); /* a zombie */
	assert_int_equal(waitpid(child, NULL, 0), child);
	assert_false(process_runs(child, began));
}

static void a_process_that_cannot_be_looked_at_is_not_dead(void **state)
{
	uint64_t began = procfs_start_ticks(getpid());
	struct rlimit files, none;
	bool runs;

	(void)state;
	assert_int_equal(getrlimit(RLIMIT_NOFILE, &files), 0);
	none = files;
	none.rlim_cur = 0;
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &none), 0);
	runs = process_runs(getpid(), began);
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &files), 0);
	assert_true(runs);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_process_of_a_pid_and_a_start_runs_until_it_ends),
		cmocka_unit_test(a_process_that_cannot_be_looked_at_is_not_dead),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

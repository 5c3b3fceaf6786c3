/*
 * A walk's processes: forked children go on with the walk for some steps, others begin anew as a program that only logs.
 */
#ifndef WALK_PROCESS_H
#define WALK_PROCESS_H

#include "walk_logs.h"
#include "walk_receives.h"

#include <spawn.h>

extern char **environ;

static const char *walk_self;
static bool walk_is_child;
static int walk_children;

static void walk_steps(int count);

static inline void wait_for_child(pid_t pid)
{
	int status = -1;

	UNTIL(raw6(SYS_wait4, pid, (long)&status, 0, 0, 0, 0) != -EINTR, "a child");
	tell("child: status %x", (unsigned)status);
}

/* Its lines end before it does, because its parent's go on. */
static inline void be_child(uint64_t seed)
{
	int i, steps = 1 + (int)dice(8), way = (int)dice(4);

	walk_state = seed;
	walk_is_child = true;
	walk_who = (char)(walk_who - 'a' + 'A');
	for (i = 0; i < WALK_CONNS; i++)
		conns[i].inherited = true;
	walk_steps(steps);
	for (i = 0; i < WALK_CONNS; i++)
		while (conns[i].talk != NULL && !conns[i].inherited)
			close_one(&conns[i]);
	end_lines();
	if (way == 0)
		_exit(7);
	if (way == 1)
		syscall(SYS_exit_group, 8);
	exit(9);
}

static inline void fork_child(void)
{
	uint64_t seed = walk_random();
	bool bare = chance(15);
	pid_t pid;

	end_lines();
	tell("%s", bare ? "SYS_fork" : "fork");
	pid = bare ? (pid_t)syscall(SYS_fork) : fork();
	if (pid == 0)
		be_child(seed);
	must(pid > 0, "a fork");
	wait_for_child(pid);
}

static inline void start_child(void)
{
	char seed[24], arguments[700];
	char *const args[] = { (char *)(uintptr_t)walk_self, (char[]){ "child" }, seed, (char *)(uintptr_t)torture_dir,
		               NULL };
	int how = (int)dice(5);
	pid_t pid = -1;

	end_lines();
	snprintf(seed, sizeof(seed), "%zu", dice(1u << 30));
	tell("a child, started as %d", how);
	switch (how) {
	case 0: must(posix_spawn(&pid, walk_self, NULL, NULL, args, environ) == 0, "posix_spawn"); break;
	case 1:
		pid = vfork();
		if (pid == 0) {
			execve(walk_self, args, environ);
			_exit(127);
		}
		break;
	case 2:
		pid = fork();
		if (pid == 0) {
			execv(walk_self, args);
			_exit(127);
		}
		break;
	case 3:
		pid = fork();
		if (pid == 0) {
			execl(walk_self, walk_self, "child", seed, torture_dir, (char *)NULL);
			_exit(127);
		}
		break;
	default:
		snprintf(arguments, sizeof(arguments), "exec '%s' child %s '%s'", walk_self, seed, torture_dir);
		CALL(system(arguments), "system");
		return;
	}
	must(pid > 0, "a child");
	wait_for_child(pid);
}

/* Each costs a millisecond. */
static inline void make_child(void)
{
	if (walk_is_child || walk_children++ > 3)
		return;
	if (chance(65))
		fork_child();
	else
		start_child();
}

#endif

/*
 * Processes that are made in every way: `torture_process CASE DIR`.
 */
#include "torture.h"

#include <linux/sched.h>
#include <sched.h>
#include <spawn.h>

extern char **environ;

static char stack[65536] __attribute__((aligned(16)));

static void tell_end(const char *what, pid_t pid)
{
	int status = 0;
	pid_t got;

	while ((got = waitpid(pid, &status, __WALL)) < 0 && errno == EINTR)
		;
	trail("%s: %s, status %x", what, pid > 0 && got == pid ? "ended" : "lost", (unsigned)status);
}

/* ---- forks from many threads, while others log and send ---- */

#define FORKERS 4
static volatile bool over;

static void child(int forker, int number)
{
	struct wire wire;
	char line[64], room[1000];
	int len = snprintf(line, sizeof(line), "child %d of %d\n", number, forker);
	size_t got = 0;

	must(write(1, line, (size_t)len) == len, "a child's line");
	must(dprintf(2, "error %d of %d\n", number, forker) > 0, "a child's error");
	wire = wire_dial();
	must(write(wire.fd, HEAD, 30) == 30 && write(wire.fd, HEAD + 30, sizeof(HEAD) - 31) == sizeof(HEAD) - 31,
	     "a call");
	shutdown(wire.fd, SHUT_WR);
	for (long n; (n = raw(SYS_read, wire.peer, room + got, sizeof(room) - got)) > 0;)
		got += (size_t)n;
	must(got >= sizeof(HEAD) - 1 && memcmp(room, HEAD, 30) == 0 && memcmp(room + got - 4, "\r\n\r\n", 4) == 0,
	     "its head");
	_exit(number % 50);
}

static void *forker(void *arg)
{
	int number, self = (int)(intptr_t)arg;

	for (number = 0; number < (getenv("FULL") != NULL ? 400 : 12); number++) {
		pid_t pid = fork();

		if (pid == 0)
			child(self, number);
		tell_end("child", pid);
	}
	return NULL;
}

static void *busy(void *arg)
{
	struct wire *wire = arg;
	char path[600];
	int i, log;

	/* Pieces go where nobody else writes. */
	snprintf(path, sizeof(path), "%s/app.log", torture_dir);
	log = open(path, O_WRONLY | O_CREAT | O_APPEND, 0600);
	for (i = 0; i < 200 || !over; i++) {
		if (i < 200) {
			must(dprintf(1, "busy %d\n", i) > 0, "a line");
			must(write(log, "half", 4) == 4 && write(log, " a line\n", 8) == 8, "pieces");
			must(write(wire->fd, HEAD, 40) == 40, "half a head");
			must(write(wire->fd, HEAD + 40, sizeof(HEAD) - 41) == sizeof(HEAD) - 41, "the other half");
		}
		close(dup(wire->fd));
	}
	return NULL;
}

static void forks_from_threads(void)
{
	pthread_t threads[FORKERS], worker;
	struct wire wire = wire_dial();
	intptr_t i;

	pthread_create(&worker, NULL, busy, &wire);
	for (i = 0; i < FORKERS; i++)
		pthread_create(&threads[i], NULL, forker, (void *)i);
	for (i = 0; i < FORKERS; i++)
		pthread_join(threads[i], NULL);
	over = true;
	pthread_join(worker, NULL);
	wire_end("busy", &wire, -1); /* unanswered, so many are too many */
}

/* ---- children on our memory, whose descriptors are their own ---- */

static int shared_fd;

/* The number is a log there, and is written to; then it is closed, and a file. */
static int on_our_memory(void *arg)
{
	close(shared_fd);
	must(dup2(1, shared_fd) == shared_fd, "a copy of the log");
	must(write(shared_fd, "a line of the child's\n", 22) == 22, "its line");
	must(write(2, "half", 4) == 4 && write(2, " a line\n", 8) == 8, "its pieces");
	close(shared_fd);
	must(open((const char *)arg, O_WRONLY | O_CREAT | O_APPEND, 0600) >= 0, "a file");
	_exit(6);
}

static pid_t child_on_our_memory(int how, char *path)
{
	pid_t pid;

	if (how == 0) {
		pid = vfork();
		if (pid == 0)
			on_our_memory(path);
		return pid;
	}
	return clone(on_our_memory, stack + sizeof(stack), CLONE_VM | CLONE_VFORK | SIGCHLD, path);
}

static void shared_memory(void)
{
	char path[600];
	int how, i;

	snprintf(path, sizeof(path), "%s/data", torture_dir);
	for (how = 0; how < 2; how++) {
		for (i = 0; i < 3; i++) {
			struct wire wire = wire_dial();

			shared_fd = wire.fd;
			TRY(write(wire.fd, HEAD, 10));
			tell_end("child", child_on_our_memory(how, path));
			TRY(write(wire.fd, HEAD + 10, sizeof(HEAD) - 11));
			tell_end("child", child_on_our_memory(how, path));
			TRY(write(wire.fd, HEAD, sizeof(HEAD) - 1));
			wire_end("parent's", &wire, 2);
			TRY(write(1, "the parent goes on\n", 19));
		}
	}
}

/* ---- forks by other names ---- */

static int forked(void *arg)
{
	struct wire *wire = arg;

	(void)!write(1, "in the child, ", 14);
	(void)!write(1, "in pieces\n", 10);
	(void)!write(wire->fd, HEAD + 20, sizeof(HEAD) - 21);
	_exit(7);
}

static void forks_by_number(void)
{
	struct clone_args args = { .exit_signal = SIGCHLD };
	int how;

	for (how = 0; how < 6; how++) {
		struct wire wire = wire_dial();
		pid_t pid = -1;

		/* Neither the half line nor the half head is the child's to send again. */
		TRY(write(2, "half ", 5));
		TRY(write(wire.fd, HEAD, 20));
		switch (how) {
		case 0: pid = (pid_t)syscall(SYS_fork); break;
		case 1: pid = (pid_t)syscall(SYS_clone, SIGCHLD, NULL, NULL, NULL, NULL); break;
		case 2: pid = (pid_t)syscall(SYS_clone3, &args, sizeof(args)); break;
		case 3: pid = _Fork(); break;
		case 4: pid = fork(); break;
		default: pid = clone(forked, stack + sizeof(stack), SIGCHLD, &wire); break;
		}
		if (pid == 0)
			forked(&wire);
		tell_end("child", pid);
		TRY(write(2, "a line\n", 7));
		wire_end("forked", &wire, -1);
	}
	TRY(syscall(SYS_clone, CLONE_VM | CLONE_THREAD, NULL, NULL, NULL, NULL)); /* refused: without CLONE_SIGHAND */
	TRY(syscall(SYS_clone3, (void *)8, sizeof(args)));
	TRY(clone(NULL, stack + sizeof(stack), SIGCHLD, NULL));
	TRY(clone(forked, NULL, SIGCHLD, NULL));
}

/* ---- other programs ---- */

static void emptied_environment(void)
{
	char *const nothing[] = { NULL };
	char *const echo[] = { (char[]){ "echo" }, (char[]){ "said by echo" }, NULL };
	char *const env[] = { (char[]){ "env" }, NULL };
	int how;

	for (how = 0; how < 7; how++) {
		pid_t pid = fork();

		if (pid == 0) {
			(void)!write(1, "half a line, ", 13);
			switch (how) {
			case 0: execve("/bin/echo", echo, nothing); break;
			case 1: execve("/bin/echo", echo, NULL); break;
			case 2: clearenv(), execv("/bin/echo", echo); break;
			case 3: environ = NULL, execvp("/bin/echo", echo); break;
			case 4: execve("/usr/bin/env", env, nothing); break;
			case 5: execle("/bin/echo", "echo", "by execle", NULL, NULL); break;
			default: execve("/nowhere/none", echo, nothing); break;
			}
			TRY(write(1, "still here\n", 11));
			_exit(8);
		}
		tell_end("exec", pid);
	}
	TRY(posix_spawn(&(pid_t){ 0 }, "/nowhere/none", NULL, NULL, echo, nothing));
	clearenv();
	TRY(write(1, "goes on\n", 8));
	TRY(system("echo by a shell; exit 3"));
}

static const struct torture_case cases[] = {
	{ "forks_from_threads", forks_from_threads },
	{ "shared_memory", shared_memory },
	{ "forks_by_number", forks_by_number },
	{ "emptied_environment", emptied_environment },
};

int main(int argc, char **argv)
{
	return torture_main(argc, argv, cases, sizeof(cases) / sizeof(cases[0]));
}

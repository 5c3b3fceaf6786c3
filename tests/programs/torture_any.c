/*
 * What else a program may do: `torture_any CASE DIR`.
 */
#include "torture.h"

#include <dlfcn.h>
#include <spawn.h>
#include <ucontext.h>

extern char **environ;

static void wait_for(const char *what, pid_t pid)
{
	int status = 0;
	pid_t got;

	while ((got = waitpid(pid, &status, 0)) < 0 && errno == EINTR)
		;
	trail("%s: %s, status %x", what, pid > 0 && got == pid ? "ended" : "lost", (unsigned)status);
}

/* ---- forks in handlers, in the midst of anything ---- */

static volatile sig_atomic_t handled;
static struct wire handlers;

static void fork_in_handler(int signal)
{
	int saved = errno, status = 0;
	pid_t pid;

	(void)signal;
	if (handled >= 60)
		return;
	handled++;
	pid = fork();
	if (pid == 0) {
		/* In the child of a fork in the midst of a write: another write, to the same log, and a call. */
		if (write(1, "child of a handler\n", 19) != 19 || write(handlers.fd, HEAD, sizeof(HEAD) - 1) < 0)
			_exit(1);
		_exit(7);
	}
	must(pid > 0, "a fork in a handler");
	while (raw6(SYS_wait4, pid, (long)&status, 0, 0, 0, 0) == -EINTR)
		;
	must(WIFEXITED(status) && WEXITSTATUS(status) == 7, "the handler's child");
	errno = saved;
}

static void forks_in_handlers(void)
{
	struct itimerval often = { { 0, 700 }, { 0, 700 } }, never = { { 0, 0 }, { 0, 0 } };
	struct sigaction action = { .sa_handler = fork_in_handler, .sa_flags = SA_RESTART };
	int i;

	handlers = wire_dial();
	sigaction(SIGALRM, &action, NULL);
	setitimer(ITIMER_REAL, &often, NULL);
	for (i = 0; handled < 60 || i < 200; i++) {
		struct wire mine = wire_dial();
		pid_t pid;

		must(write(1, "a line of the program\n", 22) == 22, "a line");
		must(write(mine.fd, HEAD, 20) == 20, "a half");
		pid = i % 16 == 0 ? fork() : -1;
		if (pid == 0)
			_exit(write(1, "a child\n", 8) == 8 ? 3 : 4);
		if (pid > 0)
			must(waitpid(pid, NULL, 0) == pid || errno == EINTR, "a child");
		must(write(mine.fd, HEAD + 20, sizeof(HEAD) - 21) == sizeof(HEAD) - 21, "the rest");
		shutdown(mine.fd, SHUT_RDWR);
		close(mine.fd);
		raw(SYS_close, mine.peer, 0, 0);
	}
	setitimer(ITIMER_REAL, &never, NULL);
	trail("all forked");
}

/* ---- coroutines on small stacks ---- */

#define COROUTINES 6
#define COROUTINE_STACK 8192

static ucontext_t loop_context, coroutine[COROUTINES];
static char stacks[COROUTINES][COROUTINE_STACK] __attribute__((aligned(16)));
static struct wire serving[COROUTINES];

static void yield(int number)
{
	swapcontext(&coroutine[number], &loop_context);
}

static void serve_in_coroutine(int number)
{
	char room[512];

	TRY(read(serving[number].fd, room, sizeof(room)));
	yield(number);
	TRY(write(1, "a coroutine's line\n", 19));
	yield(number);
	TRY(write(serving[number].fd, ANSWER, 20));
	yield(number);
	TRY(write(2, "half of a line", 14));
	TRY(write(serving[number].fd, ANSWER + 20, sizeof(ANSWER) - 21));
	yield(number);
	TRY(write(2, " and the other half\n", 20));
}

static void coroutines(void)
{
	int i, round;

	for (i = 0; i < COROUTINES; i++) {
		serving[i] = wire_serve();
		peer_send(&serving[i], HEAD, sizeof(HEAD) - 1);
		getcontext(&coroutine[i]);
		coroutine[i].uc_stack.ss_sp = stacks[i];
		coroutine[i].uc_stack.ss_size = COROUTINE_STACK;
		coroutine[i].uc_link = &loop_context;
		makecontext(&coroutine[i], (void (*)(void))serve_in_coroutine, 1, i);
	}
	/* One after another through the steps that log half lines, so that the order is one that bare has too. */
	for (i = 0; i < COROUTINES; i++)
		for (round = 0; round < 5; round++)
			swapcontext(&loop_context, &coroutine[i]);
	for (i = 0; i < COROUTINES; i++)
		wire_end("coroutine", &serving[i], 1);
}

/* ---- libraries that come and go in many threads ---- */

static void *load_and_log(void *arg)
{
	static const char *const names[] = { "libm.so.6", "libresolv.so.2", "libnss_files.so.2", "libutil.so.1" };
	int i;

	for (i = 0; i < 40; i++) {
		void *handle = dlopen(names[(i + (intptr_t)arg) % 4],
		                      (i % 2 ? RTLD_NOW : RTLD_LAZY) | (i % 3 ? 0 : RTLD_DEEPBIND));

		must(handle != NULL, "dlopen");
		TRY(write(1, "loaded\n", 7));
		(void)dlsym(handle, "cos");
		(void)dlsym(RTLD_NEXT, "write");
		TRY(dlclose(handle));
	}
	return NULL;
}

static void loading_threads(void)
{
	pthread_t threads[4];
	intptr_t i;

	for (i = 0; i < 4; i++)
		must(pthread_create(&threads[i], NULL, load_and_log, (void *)i) == 0, "a thread");
	for (i = 0; i < 4; i++)
		pthread_join(threads[i], NULL);
}

/* ---- children that are started with changed descriptors ---- */

static void spawns(void)
{
	char *const args[] = { (char[]){ "sh" }, (char[]){ "-c" },
		               (char[]){ "echo to 1; echo to 2 >&2; echo to 5 >&5; exit 4" }, NULL };
	posix_spawn_file_actions_t actions;
	posix_spawnattr_t attr;
	char path[600];
	int log, how;
	pid_t pid;

	snprintf(path, sizeof(path), "%s/own.log", torture_dir);
	log = open(path, O_WRONLY | O_CREAT | O_APPEND, 0600);
	for (how = 0; how < 4; how++) {
		posix_spawn_file_actions_init(&actions);
		posix_spawnattr_init(&attr);
		posix_spawn_file_actions_adddup2(&actions, how & 1 ? log : 1, 5);
		posix_spawn_file_actions_adddup2(&actions, 2, how & 1 ? 2 : 1);
		posix_spawn_file_actions_addclose(&actions, log);
		if (how & 2)
			posix_spawn_file_actions_addclosefrom_np(&actions, 6);
		posix_spawnattr_setflags(&attr, how & 2 ? POSIX_SPAWN_SETPGROUP | POSIX_SPAWN_USEVFORK : 0);
		TRY(write(1, "before\n", 7));
		TRY(posix_spawnp(&pid, "sh", &actions, &attr, args, environ));
		wait_for("spawned", pid);
		posix_spawn_file_actions_destroy(&actions);
	}
	TRY(write(log, "one's own\n", 10));
	/* A child that is waited for by a descriptor, with all others closed at exec. */
	pid = fork();
	if (pid == 0) {
		TRY(close_range(3, ~0u, CLOSE_RANGE_CLOEXEC));
		execlp("sh", "sh", "-c", "echo beyond exec; echo to nobody >&5 || exit 5", (char *)NULL);
		_exit(127);
	}
	log = (int)syscall(SYS_pidfd_open, pid, 0);
	TRY(poll(&(struct pollfd){ .fd = log, .events = POLLIN }, 1, -1));
	TRY(close(log));
	wait_for("with a descriptor", pid);
}

/* ---- pages that are given to pipes ---- */

static void gifts(void)
{
	static char page[4096] __attribute__((aligned(4096)));
	struct iovec gift = { page, 6 };
	int a[2], b[2];
	char room[100];

	must(pipe(a) == 0 && pipe(b) == 0, "pipes");
	memcpy(page, "given\n", 6);
	TRY(vmsplice(a[1], &gift, 1, 0));
	TRY(tee(a[0], b[1], 100, 0));
	TRY(read(b[0], room, sizeof(room)));
	TRY(splice(a[0], NULL, b[1], NULL, 100, 0));
	TRY(read(b[0], room, sizeof(room)));
	TRY(write(1, "beside it\n", 10));
	TRY(vmsplice(-1, &gift, 1, 0));
}

/* ---- a line that is begun before the first request came, and ended behind it ---- */

static void line_across_first_request(void)
{
	char room[512], path[600];
	struct wire wire;
	FILE *log;

	snprintf(path, sizeof(path), "%s/own.log", torture_dir);
	log = fopen(path, "a");
	must(log != NULL && setvbuf(log, NULL, _IONBF, 0) == 0, "a log");
	fputs("waiting for the first request ...", stderr);
	fputs("waiting ...", log);
	wire = wire_serve();
	peer_send(&wire, HEAD, sizeof(HEAD) - 1);
	TRY(read(wire.fd, room, sizeof(room)));
	fputs(" it came\n", stderr);
	fputs(" there it is\n", log);
	fputs("its own line\n", stderr);
	TRY(write(wire.fd, ANSWER, sizeof(ANSWER) - 1));
	wire_end("first", &wire, 1);
	TRY(fclose(log));
}

/* ---- a half line on one log, while another one without a buffer is closed ---- */

static void half_line_beside_a_close(void)
{
	struct wire wire = wire_serve();
	char room[512], path[600];
	FILE *log;

	peer_send(&wire, HEAD, sizeof(HEAD) - 1);
	TRY(read(wire.fd, room, sizeof(room)));
	fputs("begun on stderr ...", stderr);
	snprintf(path, sizeof(path), "%s/own.log", torture_dir);
	log = fopen(path, "a");
	must(log != NULL && setvbuf(log, NULL, _IONBF, 0) == 0, "a log");
	fputs("a line of its own\n", log);
	TRY(fclose(log));
	log = fdopen(dup(wire.fd), "w");
	must(log != NULL && setvbuf(log, NULL, _IONBF, 0) == 0, "an answer");
	TRY(fputs(ANSWER, log));
	TRY(fclose(log));
	fputs(" and ended\n", stderr);
	wire_end("served", &wire, 1);
}

int main(int argc, char **argv)
{
	static const struct torture_case cases[] = {
		{ "forks_in_handlers", forks_in_handlers },
		{ "coroutines", coroutines },
		{ "loading_threads", loading_threads },
		{ "spawns", spawns },
		{ "gifts", gifts },
		{ "half_line_beside_a_close", half_line_beside_a_close },
		{ "line_across_first_request", line_across_first_request },
	};

	return torture_main(argc, argv, cases, sizeof(cases) / sizeof(cases[0]));
}

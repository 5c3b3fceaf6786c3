/*
 * Threads and signals at their worst: `threads_guest CASE`.
 */
#include <alloca.h>
#include <err.h>
#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <pthread.h>
#include <semaphore.h>
#include <setjmp.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

static void print_line(const char *what, int i)
{
	char line[64];
	int len = snprintf(line, sizeof(line), "%s %d\n", what, i);

	if (write(1, line, (size_t)len) != len)
		_exit(9);
}

static pthread_t start(void *(*routine)(void *), void *arg, size_t stack)
{
	pthread_attr_t attr;
	pthread_t thread;

	pthread_attr_init(&attr);
	if (stack != 0 && pthread_attr_setstacksize(&attr, stack) != 0)
		err(1, "stack size");
	errno = pthread_create(&thread, &attr, routine, arg);
	if (errno != 0)
		err(1, "pthread_create");
	return thread;
}

/* ---- small stacks ---- */

static void *log_in_all_ways(void *arg)
{
	static const char *ways[] = { "written", "printed", "told" };
	char c;
	int i, fds[2];
	struct pollfd ready = { -1, POLLIN, 0 };

	if (pipe(fds) != 0)
		return NULL;
	for (i = 0; i < 50; i++) {
		print_line(ways[0], i);
		dprintf(1, "%s %d\n", ways[1], i);
		dprintf(1, "pieces ");
		dprintf(1, "of thread %d ", *(int *)arg);
		dprintf(1, "%d\n", i);
		poll(&ready, 1, 0);
		if (write(fds[1], "x", 1) != 1 || read(fds[0], &c, 1) != 1)
			return NULL;
	}
	close(fds[0]);
	close(fds[1]);
	return arg;
}

static void small_stacks(void)
{
	pthread_t thread[8];
	void *result;
	int number[8], i;

	for (i = 0; i < 8; i++) {
		number[i] = i;
		thread[i] = start(log_in_all_ways, &number[i], PTHREAD_STACK_MIN);
	}
	for (i = 0; i < 8; i++) {
		pthread_join(thread[i], &result);
		printf("joined %d\n", result == &number[i]);
	}
}

/* ---- the first lines of a process, all at once ---- */

static pthread_barrier_t barrier;

static void *first_line(void *arg)
{
	pthread_barrier_wait(&barrier);
	print_line("first", *(int *)arg);
	print_line("second", *(int *)arg);
	return NULL;
}

static void first_together(void)
{
	pthread_t thread[8];
	int number[8], i;

	pthread_barrier_init(&barrier, NULL, 8);
	for (i = 0; i < 8; i++) {
		number[i] = i;
		thread[i] = start(first_line, &number[i], 0);
	}
	for (i = 0; i < 8; i++)
		pthread_join(thread[i], NULL);
}

/* ---- a signal handler that logs, while main does ---- */

static atomic_int ticks;

static void tick(int signal)
{
	int saved = errno;

	(void)signal;
	print_line("tick", atomic_fetch_add(&ticks, 1));
	errno = saved;
}

static void tick_every(int microseconds)
{
	struct itimerval timer = { { 0, microseconds }, { 0, microseconds } };
	struct sigaction action = { .sa_handler = tick, .sa_flags = SA_RESTART | SA_ONSTACK };
	static char room[65536];
	stack_t stack = { .ss_sp = room, .ss_size = sizeof(room) };

	sigaltstack(&stack, NULL);
	sigaction(SIGALRM, &action, NULL);
	setitimer(ITIMER_REAL, &timer, NULL);
}

static void handler_logs(void)
{
	int i;

	tick_every(100);
	for (i = 0; i % 4 != 0 || i < 20000 || ticks < 500; i++) { /* all four kinds as often */
		if (i % 4 == 0)
			printf("printed %d\n", i);
		else if (i % 4 == 1)
			dprintf(1, "pieces of a %d", i);
		else if (i % 4 == 2)
			dprintf(1, " line\n");
		else
			print_line("written", i);
	}
	tick_every(0);
	printf("ticks %d, errno %d\n", ticks >= 500, errno);
}

/* The handler jumps out of whatever the main program is in: writes above all. */
static sigjmp_buf out;
static atomic_int jumps;

static void jump(int signal)
{
	(void)signal;
	jumps++;
	siglongjmp(out, 1);
}

static void handler_jumps(void)
{
	struct itimerval timer = { { 0, 300 }, { 0, 300 } }, off = { { 0, 0 }, { 0, 0 } };
	static volatile int i;

	signal(SIGALRM, jump);
	setitimer(ITIMER_REAL, &timer, NULL);
	sigsetjmp(out, 1);
	while (jumps < 1000)
		print_line("written while handlers jump", i++);
	setitimer(ITIMER_REAL, &off, NULL);
	print_line("end", 0);
}

static void child_ends(int signal)
{
	(void)signal;
	while (waitpid(-1, NULL, WNOHANG) > 0)
		print_line("child", 0);
}

static void child_signals(void)
{
	struct sigaction action = { .sa_handler = child_ends, .sa_flags = SA_RESTART | SA_NOCLDSTOP };
	int i;

	sigaction(SIGCHLD, &action, NULL);
	for (i = 0; i < 100; i++) {
		print_line("parent", i);
		if (fork() == 0) {
			print_line("in child", i);
			_exit(0);
		}
	}
	while (waitpid(-1, NULL, 0) > 0)
		print_line("child", 0);
}

static void interrupted(int signal)
{
	(void)signal;
}

/* Without SA_RESTART every call that blocks says EINTR. The signal comes again, for who did not get to the call before it. */
static void interrupted_calls(void)
{
	struct sigaction action = { .sa_handler = interrupted };
	struct itimerval often = { { 0, 20000 }, { 0, 20000 } }, off = { { 0, 0 }, { 0, 0 } };
	struct timeval minute = { 60, 0 };
	int pair[2], ends[2];
	char c;

	sigaction(SIGALRM, &action, NULL);
	if (socketpair(AF_UNIX, SOCK_STREAM, 0, pair) != 0 || pipe(ends) != 0)
		err(1, "pipe");
#define INTERRUPTED(call)                                                                                              \
	do {                                                                                                           \
		long result;                                                                                           \
		int error;                                                                                             \
                                                                                                                       \
		setitimer(ITIMER_REAL, &often, NULL);                                                                  \
		errno = 0;                                                                                             \
		result = (long)(call);                                                                                 \
		error = errno;                                                                                         \
		setitimer(ITIMER_REAL, &off, NULL);                                                                    \
		printf("%s: %ld %s\n", #call, result, strerrorname_np(error));                                         \
	} while (0)
	INTERRUPTED(read(ends[0], &c, 1));
	INTERRUPTED(recv(pair[0], &c, 1, 0));
	INTERRUPTED(poll(NULL, 0, 60000));
	INTERRUPTED(select(0, NULL, NULL, NULL, &minute));
	INTERRUPTED(waitpid(-1, NULL, 0) < 0 ? -1 : 0);
}

/* ---- fork and cancellation while other threads are at work ---- */

static atomic_bool stop;

static void *work(void *arg)
{
	int pair[2], i;

	if (socketpair(AF_UNIX, SOCK_STREAM, 0, pair) != 0)
		return NULL;
	for (i = 0; !stop; i++) {
		char room[256];

		printf("worker %d prints %d\n", *(int *)arg, i);
		dprintf(1, "worker ");
		dprintf(1, "writes\n");
		if (write(pair[0], "GET / HTTP/1.1\r\nHost: a\r\n\r\n", 27) < 0 ||
		    read(pair[1], room, sizeof(room)) < 0)
			return NULL;
		close(dup(pair[0]));
	}
	return arg;
}

static void forks_among_threads(void)
{
	pthread_t thread[4];
	int number[4], i, status, good = 0;

	for (i = 0; i < 4; i++) {
		number[i] = i;
		thread[i] = start(work, &number[i], 0);
	}
	for (i = 0; i < 100; i++) {
		pid_t pid = fork();

		if (pid == 0) {
			dprintf(1, "child %d ", i);
			dprintf(1, "writes\n");
			close(dup(0));
			_exit(7);
		}
		good += waitpid(pid, &status, 0) == pid && WEXITSTATUS(status) == 7;
	}
	stop = true;
	for (i = 0; i < 4; i++)
		pthread_join(thread[i], NULL);
	printf("good children %d\n", good);
}

static int block_ends[2];
static atomic_int victim; /* its thread id, once it runs */
static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t cond = PTHREAD_COND_INITIALIZER;

static void cleaned_up(void *arg)
{
	print_line(arg, 1);
}

static void unlock_and_tell(void *arg)
{
	pthread_mutex_unlock(&mutex);
	print_line(arg, 1);
}

static void *blocks_in_read(void *arg)
{
	char c;

	pthread_cleanup_push(cleaned_up, arg);
	victim = gettid();
	print_line("half", 0);
	dprintf(1, "unfinished line of a thread");
	while (read(block_ends[0], &c, 1) >= 0)
		;
	pthread_cleanup_pop(0);
	return NULL;
}

static void *blocks_in_write(void *arg)
{
	static char room[4096];

	pthread_cleanup_push(cleaned_up, arg);
	victim = gettid();
	while (write(block_ends[1], room, sizeof(room)) > 0)
		;
	pthread_cleanup_pop(0);
	return NULL;
}

static void *blocks_in_wait(void *arg)
{
	pthread_mutex_lock(&mutex);
	pthread_cleanup_push(unlock_and_tell, arg);
	victim = gettid();
	for (;;)
		pthread_cond_wait(&cond, &mutex);
	pthread_cleanup_pop(0);
	return NULL;
}

static void *blocks_in_semaphore(void *arg)
{
	static sem_t never;

	pthread_cleanup_push(cleaned_up, arg);
	victim = gettid();
	sem_init(&never, 0, 0);
	sem_wait(&never);
	pthread_cleanup_pop(0);
	return NULL;
}

static void *logs_for_ever(void *arg)
{
	int i;

	pthread_cleanup_push(cleaned_up, arg);
	victim = gettid();
	for (i = 0; i < 1 << 30; i++) {
		char *big = alloca(16);

		memset(big, 0, 16);
		if (write(block_ends[1], big, 0) < 0)
			break;
		pthread_testcancel();
	}
	pthread_cleanup_pop(0);
	return NULL;
}

/* Wait until the victim sits in this system call (on this descriptor, or -1), where its cleanup is in place. */
static void await_victim(long call, int fd)
{
	char name[64], now[64], wanted[64];
	int n;

	n = snprintf(wanted, sizeof(wanted), fd < 0 ? "%ld 0x" : "%ld 0x%x ", call, (unsigned)fd);
	for (;;) {
		FILE *file = NULL;

		snprintf(name, sizeof(name), "/proc/self/task/%d/syscall", victim);
		if (victim != 0)
			file = fopen(name, "r");
		now[0] = '\0';
		if (file != NULL) {
			if (fgets(now, sizeof(now), file) == NULL)
				now[0] = '\0';
			fclose(file);
		}
		if (strncmp(now, wanted, (size_t)n) == 0)
			return;
		usleep(1000);
	}
}

static void cancels(void)
{
	static const struct {
		void *(*routine)(void *);
		const char *name;
		long call; /* -1: it runs */
		int end;   /* of the pipe, or -1 */
	} victims[] = { { blocks_in_read, "read", SYS_read, 0 },
		        { blocks_in_write, "write", SYS_write, 1 },
		        { blocks_in_wait, "wait", SYS_futex, -1 },
		        { blocks_in_semaphore, "semaphore", SYS_futex, -1 },
		        { logs_for_ever, "log", -1, -1 } };
	void *result;
	size_t i;

	if (pipe(block_ends) != 0)
		err(1, "pipe");
	for (i = 0; i < sizeof(victims) / sizeof(victims[0]); i++) {
		pthread_t thread;

		victim = 0;
		thread = start(victims[i].routine, (void *)(uintptr_t)victims[i].name, 0);
		if (victims[i].call >= 0)
			await_victim(victims[i].call, victims[i].end < 0 ? -1 : block_ends[victims[i].end]);
		else
			while (victim == 0)
				usleep(1000);
		pthread_cancel(thread);
		pthread_join(thread, &result);
		printf("cancelled in %s: %d\n", victims[i].name, result == PTHREAD_CANCELED);
		fflush(stdout);
	}
	/* What was cancelled has left nothing locked. */
	for (i = 0; i < 100; i++)
		print_line("afterwards", (int)i);
}

/* Cancelled inside a write to the log itself, with the pipe full: asynchronously, many times. */
static void *fills_the_log(void *arg)
{
	int i;

	(void)arg;
	for (i = 0;; i++)
		print_line("a line of a thread that is cancelled in its write", i);
	return NULL;
}

static void cancels_in_log(void)
{
	int i;

	for (i = 0; i < 50; i++) {
		pthread_t thread = start(fills_the_log, NULL, 0);

		usleep(1000);
		pthread_cancel(thread);
		pthread_join(thread, NULL);
		dprintf(1, "joined %d ", i);
		dprintf(1, "in pieces\n");
	}
}

int main(int argc, char **argv)
{
	static const struct {
		const char *name;
		void (*run)(void);
	} cases[] = {
#define CASE(name) { #name, name }
		CASE(small_stacks),        CASE(first_together), CASE(handler_logs),
		CASE(handler_jumps),       CASE(child_signals),  CASE(interrupted_calls),
		CASE(forks_among_threads), CASE(cancels),        CASE(cancels_in_log),
	};
	size_t i;

	for (i = 0; argc > 1 && i < sizeof(cases) / sizeof(cases[0]); i++) {
		if (strcmp(cases[i].name, argv[1]) == 0) {
			cases[i].run();
			return 0;
		}
	}
	errx(2, "no such case");
}

/*
 * Signals, jumps and cancellation: `torture_signals CASE DIR`. What has no order is sorted by whoever compares; how much there is
 * of everything is fixed.
 */
#include "torture.h"

#include <limits.h>
#include <semaphore.h>
#include <setjmp.h>
#include <sys/epoll.h>
#include <sys/un.h>
#include <threads.h>
#include <time.h>

static int rounds(void)
{
	return getenv("FULL") != NULL ? 2000 : 60;
}

/* ---- handlers that log and send at full rate, on several threads ---- */

#define THREADS 4

static struct storm {
	int number;
	struct wire own, handlers, shared; /* sent to by the thread, by its handler, by both */
	volatile int ticks;
	timer_t timer;
} storms[THREADS];
static __thread struct storm *here __attribute__((tls_model("initial-exec")));
static int most_ticks;

static void start_timer(struct storm *storm, int microseconds)
{
	struct sigevent event = { .sigev_notify = SIGEV_THREAD_ID, .sigev_signo = SIGALRM };
	struct itimerspec every = { { 0, microseconds * 1000 }, { 0, microseconds * 1000 } };

	event._sigev_un._tid = gettid();
	must(timer_create(CLOCK_MONOTONIC, &event, &storm->timer) == 0, "timer_create");
	must(timer_settime(storm->timer, 0, &every, NULL) == 0, "timer_settime");
}

static void on_tick(int signal)
{
	struct itimerspec never = { 0 };
	struct storm *storm = here;
	int saved = errno, copy, len;
	char line[64];

	(void)signal;
	if (storm == NULL || storm->ticks >= most_ticks)
		return;
	len = snprintf(line, sizeof(line), "tick %d of %d\n", storm->ticks, storm->number);
	must(write(1 + storm->ticks % 2, line, (size_t)len) == len, "a handler's line");
	must(send(storm->handlers.fd, HEAD, sizeof(HEAD) - 1, 0) == sizeof(HEAD) - 1, "a handler's request");
	must(write(storm->shared.fd, HEAD, sizeof(HEAD) - 1) == sizeof(HEAD) - 1, "a handler's other request");
	copy = dup(storm->handlers.fd);
	must(copy >= 0 && close(copy) == 0, "a handler's copy");
	storm->ticks++;
	if (storm->ticks == most_ticks)
		timer_settime(storm->timer, 0, &never, NULL);
	errno = saved;
}

static void work(struct storm *storm, int i)
{
	struct iovec pieces[2] = { { HEAD, 21 }, { HEAD + 21, sizeof(HEAD) - 22 } };
	char line[64];
	int len = snprintf(line, sizeof(line), "line %d of %d\n", i, storm->number), copy, fds[2];

	must(write(1 + i % 2, line, (size_t)len) == len, "a line");
	must(printf("printed %d by %d\n", i, storm->number) > 0, "a print");
	must(write(storm->own.fd, HEAD, 30) == 30, "a request's begin");
	must(send(storm->own.fd, HEAD + 30, sizeof(HEAD) - 31, 0) == sizeof(HEAD) - 31, "its end");
	must(writev(storm->own.fd, pieces, 2) == sizeof(HEAD) - 1, "a request");
	must(send(storm->shared.fd, HEAD, sizeof(HEAD) - 1, 0) == sizeof(HEAD) - 1, "another request");
	must(pipe(fds) == 0 && write(fds[1], line, 5) == 5 && read(fds[0], line, 5) == 5, "a pipe");
	copy = dup2(storm->own.fd, fds[0]);
	must(copy == fds[0] && close(copy) == 0 && syscall(SYS_close, fds[1]) == 0, "copies");
	poll(&(struct pollfd){ storm->own.fd, POLLIN, 0 }, 1, 0);
}

static void *storm_thread(void *arg)
{
	struct storm *storm = arg;
	int i;

	here = storm;
	start_timer(storm, 150);
	for (i = 0; i < rounds() / 2; i++)
		work(storm, i);
	while (storm->ticks < most_ticks) {
		/* Until all ticks are in, in our hooks as much as may be. */
		int copy = dup(storm->own.fd);

		fcntl(copy, F_GETFL);
		close(copy);
	}
	here = NULL;
	timer_delete(storm->timer);
	return NULL;
}

static void storm_of_signals(void)
{
	struct sigaction action = { .sa_handler = on_tick, .sa_flags = SA_RESTART };
	pthread_t threads[THREADS];
	int i;

	most_ticks = rounds();
	setvbuf(stdout, NULL, _IOLBF, 4096);
	sigaction(SIGALRM, &action, NULL);
	for (i = 0; i < THREADS; i++) {
		storms[i].number = i;
		storms[i].own = wire_dial();
		storms[i].handlers = wire_dial();
		storms[i].shared = wire_dial();
	}
	for (i = 0; i < THREADS; i++)
		pthread_create(&threads[i], NULL, storm_thread, &storms[i]);
	for (i = 0; i < THREADS; i++) {
		pthread_join(threads[i], NULL);
		/* A request that came while the thread held the connection passes as it is, and so do all behind it. */
		wire_end("own", &storms[i].own, -1);
		wire_end("handler's", &storms[i].handlers, -1);
		wire_end("shared", &storms[i].shared, -1);
	}
	trail("calm");
}

/* The same on a thread with as little stack as there may be. */
static void small_stack(void)
{
	struct sigaction action = { .sa_handler = on_tick, .sa_flags = SA_RESTART };
	pthread_attr_t attr;
	pthread_t thread;

	most_ticks = rounds();
	sigaction(SIGALRM, &action, NULL);
	storms[0].own = wire_dial();
	storms[0].handlers = wire_dial();
	storms[0].shared = wire_dial();
	setvbuf(stdout, NULL, _IOLBF, 4096);
	pthread_attr_init(&attr);
	TRY(pthread_attr_setstacksize(&attr, PTHREAD_STACK_MIN - 1));
	TRY(pthread_attr_setstacksize(&attr, PTHREAD_STACK_MIN));
	TRY(pthread_create(&thread, &attr, storm_thread, &storms[0]));
	TRY(pthread_join(thread, NULL));
	wire_end("own", &storms[0].own, -1);
	wire_end("handler's", &storms[0].handlers, -1);
	wire_end("shared", &storms[0].shared, -1);
}

/* ---- a handler's first line in the midst of the process's first line ---- */

static volatile sig_atomic_t first_number, first_ticked;

static void on_first(int signal)
{
	char line[64];
	int len = snprintf(line, sizeof(line), "first of handler %d\n", (int)first_number);

	(void)signal;
	must(write(2, line, (size_t)len) == len, "a handler's first line");
	first_ticked = 1;
}

static void first_lines(void)
{
	struct sigaction action = { .sa_handler = on_first, .sa_flags = SA_RESTART };
	int i;

	sigaction(SIGALRM, &action, NULL);
	for (i = 0; i < 4 * rounds(); i++) {
		struct itimerval soon = { { 0, 0 }, { 0, i % 60 + 1 } };
		char line[64];
		int len = snprintf(line, sizeof(line), "first of child %d\n", i), status;
		pid_t pid = fork();

		if (pid == 0) {
			first_number = i;
			setitimer(ITIMER_REAL, &soon, NULL);
			must(write(1, line, (size_t)len) == len, "a first line");
			while (!first_ticked)
				;
			_exit(0);
		}
		must(waitpid(pid, &status, 0) == pid && status == 0, "a child");
	}
	trail("all came back");
}

/* ---- handlers that jump out of whatever they interrupted ---- */

static sigjmp_buf back;
static volatile sig_atomic_t jumps, may_jump;

static void on_jump(int signal)
{
	(void)signal;
	if (may_jump) {
		may_jump = 0;
		jumps++;
		siglongjmp(back, 1);
	}
}

static void all_calls(struct wire *client, struct wire *server, int pipe_in, int pipe_out)
{
	static int calls;
	char room[100];

	(void)!write(1, "victim\n", 7);
	/* No more than there is room for. */
	if (calls++ < 1000)
		(void)!send(client->fd, HEAD, sizeof(HEAD) - 1, MSG_DONTWAIT);
	(void)!write(pipe_out, "x", 1);
	(void)!read(pipe_in, room, 1);
	raw(SYS_write, server->peer, HEAD, sizeof(HEAD) - 1);
	(void)!recv(server->fd, room, sizeof(room), MSG_DONTWAIT);
	(void)!write(2, "victim's error\n", 15);
	(void)!write(server->fd, ANSWER, sizeof(ANSWER) - 1); /* no stream: those cannot be jumped out of */
	close(dup(client->fd));
	poll(&(struct pollfd){ server->fd, POLLIN, 0 }, 1, 0);
}

static void jumps_out(void)
{
	struct sigaction action = { .sa_handler = on_jump };
	struct storm storm = { 0 };
	struct wire client = wire_dial(), server = wire_serve(), after;
	int fds[2], most = rounds();

	must(pipe(fds) == 0, "pipe");
	fcntl(fds[0], F_SETFL, O_NONBLOCK);
	fcntl(fds[1], F_SETFL, O_NONBLOCK);
	fcntl(server.fd, F_SETFL, O_NONBLOCK);
	raw(SYS_fcntl, server.peer, F_SETFL, O_NONBLOCK);
	sigaction(SIGALRM, &action, NULL);
	start_timer(&storm, 300);
	while (jumps < most) {
		sigsetjmp(back, 1);
		may_jump = 1;
		while (jumps < most)
			all_calls(&client, &server, fds[0], fds[1]);
	}
	may_jump = 0;
	timer_delete(storm.timer);
	trail("jumped");
	fcntl(server.fd, F_SETFL, 0);
	/* Full of answers, as far as they went; but one can go on. */
	close(server.fd);
	raw(SYS_close, server.peer, 0, 0);
	TRY(write(client.fd, HEAD, sizeof(HEAD) - 1));
	wire_end("victim*", &client, -1);
	after = wire_dial();
	TRY(write(after.fd, HEAD, sizeof(HEAD) - 1));
	wire_end("after", &after, -1);
	after = wire_serve();
	peer_send(&after, HEAD, sizeof(HEAD) - 1);
	TRY(read(after.fd, (char[100]){ 0 }, 100));
	TRY(write(after.fd, ANSWER, sizeof(ANSWER) - 1));
	wire_end("after, served", &after, -1);
	TRY(write(1, "after the jumps\n", 16));
	TRY(write(2, "half", 4));
	TRY(write(2, " a line\n", 8));
}

/* Out of a call that blocks: a time limit, as programs make one. */
static void block_in(int kind, struct wire *wire)
{
	struct itimerval soon = { { 0, 0 }, { 0, 3000 } };
	char room[100];

	if (sigsetjmp(back, 1) != 0)
		return;
	may_jump = 1;
	setitimer(ITIMER_REAL, &soon, NULL);
	switch (kind) {
	case 0: (void)!read(wire->fd, room, sizeof(room)); break;
	case 1: (void)!recv(wire->fd, room, sizeof(room), MSG_WAITALL); break;
	case 2: poll(&(struct pollfd){ wire->fd, POLLIN, 0 }, 1, -1); break;
	case 3: (void)!recvmsg(wire->fd, &(struct msghdr){ 0 }, 0); break;
	case 4: accept(torture_listen(&(struct sockaddr_in){ 0 }), NULL, NULL); break;
	default: select(wire->fd + 1, &(fd_set){ { 0 } }, NULL, NULL, NULL); break;
	}
	trail("not interrupted");
}

static void jumps_out_of_waits(void)
{
	struct sigaction action = { .sa_handler = on_jump };
	int i;

	sigaction(SIGALRM, &action, NULL);
	for (i = 0; i < 12; i++) {
		struct wire wire = i % 2 == 0 ? wire_serve() : wire_dial();

		TRY(write(wire.fd, HEAD, 10));
		block_in(i / 2, &wire);
		trail("jumped out of %d", i / 2);
		TRY(write(wire.fd, HEAD + 10, sizeof(HEAD) - 11));
		TRY(write(1, "jumped\n", 7));
		wire_end("waits", &wire, -1);
	}
}

static const struct torture_case cases[] = {
	{ "storm_of_signals", storm_of_signals },
	{ "small_stack", small_stack },
	{ "first_lines", first_lines },
	{ "jumps_out", jumps_out },
	{ "jumps_out_of_waits", jumps_out_of_waits },
};

int main(int argc, char **argv)
{
	return torture_main(argc, argv, cases, sizeof(cases) / sizeof(cases[0]));
}

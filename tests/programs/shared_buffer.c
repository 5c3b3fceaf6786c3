/*
 * Threads that log through one buffer of the program's own, as Ruby's do: a line goes into it under a lock, and whoever flushes writes all
 * that is there. `shared_buffer DIR`: of three requests at work, the third one's line is written, on its own, by the first one's
 * thread, because the second one's wrote that one's along with its own. Then each of three more writes its own. At last one writes its
 * own, and goes on with another's, which came during that write.
 */
#include "torture.h"

static char buffer[256];
static size_t filled;

static void put(int n)
{
	filled += (size_t)snprintf(buffer + filled, sizeof(buffer) - filled, "of %d\n", n);
}

/* In as many writes as said: the last one writes what is left. */
static void flush(int writes)
{
	size_t at = 0, len;

	for (; writes > 0; writes--, at += len) {
		len = writes > 1 ? (size_t)((char *)memchr(buffer + at, '\n', filled - at) + 1 - (buffer + at)) :
		                   filled - at;
		must(write(1, buffer + at, len) == (ssize_t)len, "a write to the log");
	}
	filled = 0;
}

/* A thread and its connection: what it does is said step by step. */
static struct worker {
	struct wire wire;
	pthread_t thread;
	int go, done; /* atomic */
	int request, puts, flushes, answers;
} workers[3];

static void *work(void *arg)
{
	struct worker *me = arg;
	char head[512];

	for (;;) {
		/* By system calls that nobody interposes: a wait that were seen would end what the thread works for. */
		while (__atomic_load_n(&me->go, __ATOMIC_ACQUIRE) == 0)
			raw(SYS_sched_yield, 0, 0, 0);
		__atomic_store_n(&me->go, 0, __ATOMIC_RELAXED);
		if (me->request < 0)
			return NULL;
		if (me->request > 0)
			must(read(me->wire.fd, head, sizeof(head)) > 0, "a request");
		if (me->puts > 0)
			put(me->puts);
		if (me->flushes > 0)
			flush(me->flushes);
		if (me->answers)
			must(write(me->wire.fd, ANSWER, sizeof(ANSWER) - 1) == sizeof(ANSWER) - 1, "an answer");
		__atomic_store_n(&me->done, 1, __ATOMIC_RELEASE);
	}
}

static void step(int worker, int request, int puts, int flushes, int answers)
{
	struct worker *w = &workers[worker];
	char head[256];
	int len;

	if (request > 0) {
		len = snprintf(head, sizeof(head),
		               "GET / HTTP/1.1\r\nHost: a\r\ntraceparent: 00-%032x-%016x-01\r\n\r\n", (unsigned)request,
		               (unsigned)request);
		peer_send(&w->wire, head, (size_t)len);
	}
	w->request = request;
	w->puts = puts;
	w->flushes = flushes;
	w->answers = answers;
	__atomic_store_n(&w->go, 1, __ATOMIC_RELEASE);
	while (request >= 0 && __atomic_load_n(&w->done, __ATOMIC_ACQUIRE) == 0)
		raw(SYS_sched_yield, 0, 0, 0);
	__atomic_store_n(&w->done, 0, __ATOMIC_RELAXED);
}

int main(int argc, char **argv)
{
	int i;

	must(argc > 1, "a folder");
	torture_begin(argv[1]);
	for (i = 0; i < 3; i++) {
		workers[i].wire = wire_serve();
		must(pthread_create(&workers[i].thread, NULL, work, &workers[i]) == 0, "a thread");
	}
	for (i = 0; i < 3; i++) /* each reads its request */
		step(i, i + 1, 0, 0, 0);
	step(0, 0, 1, 0, 0);
	step(1, 0, 2, 1, 0); /* both their lines */
	step(2, 0, 3, 0, 0);
	step(0, 0, 0, 1, 0); /* the third one's line */
	for (i = 0; i < 3; i++)
		step(i, 0, 0, 0, 1);
	for (i = 0; i < 3; i++)
		step(i, i + 4, i + 4, 1, 1);
	step(0, 7, 7, 0, 0);
	step(1, 8, 8, 0, 0);
	step(0, 0, 0, 2, 1);
	step(1, 0, 0, 0, 1);
	for (i = 0; i < 3; i++) {
		step(i, -1, 0, 0, 0);
		pthread_join(workers[i].thread, NULL);
		close(workers[i].wire.fd);
	}
	return 0;
}

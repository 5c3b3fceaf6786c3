/*
 * Threads that hand work to each other by memory alone: nobody makes a call that says so, neither who gives nor who takes, and who has
 * nothing to do looks again.
 *
 *   server_spin KIND PORT UP
 *
 * KIND  ring       one thread reads requests, and gives them to workers by a ring
 *       disruptor  the same; each request goes through three threads in turn: begin and call; go on; answer
 *       stages     one pool: a task reads a request, the next one begins it, the next one answers it
 *       accepting  the same, and to accept is a task, too, as is to look whether a connection has a request
 *       steal      each thread has connections and an epoll set of its own, and takes requests of others when it has none
 *       share      the same; the threads share one epoll set, and wait in it for a moment when there is nothing to do
 *       wander     one thread polls; each connection that can be read goes to any thread, which reads one request and answers it
 *       requeue    nobody polls: to accept is a task, to look at a connection is one, and what is to be done in the background
 */
#include "attribution_kit.h"

#define WORKERS 6
#define ROOM 65536u
#define STAGES 3

enum step { ACCEPT, READ, BEGIN, ANSWER, REST };

struct task {
	enum step step;
	long n;
	struct peer *peer;
};

struct cell {
	unsigned turn;
	struct task task;
};

/* For many on either side: a cell's turn says whether it is to be filled or to be emptied (D. Vyukov's queue). */
struct ring {
	unsigned head, tail;
	struct cell cells[ROOM];
};

static struct ring rings[WORKERS > STAGES ? WORKERS : STAGES];
static const char *kind;
static int listener, port, shared_epoll;

static bool is(const char *name)
{
	return strcmp(kind, name) == 0;
}

static void init_ring(struct ring *ring)
{
	unsigned i;

	for (i = 0; i < ROOM; i++)
		ring->cells[i].turn = i;
}

static void put(struct ring *ring, struct task task)
{
	unsigned at = __atomic_fetch_add(&ring->tail, 1, __ATOMIC_RELAXED);
	struct cell *cell = &ring->cells[at % ROOM];

	while (__atomic_load_n(&cell->turn, __ATOMIC_ACQUIRE) != at)
		sched_yield();
	cell->task = task;
	__atomic_store_n(&cell->turn, at + 1, __ATOMIC_RELEASE);
}

static bool take(struct ring *ring, struct task *task)
{
	unsigned at = __atomic_load_n(&ring->head, __ATOMIC_RELAXED);
	struct cell *cell;

	do {
		cell = &ring->cells[at % ROOM];
		if (__atomic_load_n(&cell->turn, __ATOMIC_ACQUIRE) != at + 1)
			return false;
	} while (!__atomic_compare_exchange_n(&ring->head, &at, at + 1, false, __ATOMIC_RELAXED, __ATOMIC_RELAXED));
	*task = cell->task;
	__atomic_store_n(&cell->turn, at + ROOM, __ATOMIC_RELEASE);
	return true;
}

static void begin(long n)
{
	say("begin", n);
	kit_call(n);
	say("middle", n);
	kit_dawdle(n);
}

static void answer(struct peer *peer, long n)
{
	say("before", n);
	peer_answer(peer);
	say("after", n);
}

/* The connection's next request may come. */
static void go_on(struct ring *ring, struct peer *peer)
{
	if (!is("accepting") && !is("requeue"))
		kit_give_back(peer);
	else if (peer->close)
		peer_end(peer);
	else
		put(ring, (struct task){ .step = READ, .peer = peer });
}

/* All of it, by one thread. */
static void work(const struct task *task)
{
	begin(task->n);
	answer(task->peer, task->n);
}

static void do_task(struct ring *ring, struct task task)
{
	int got;

	switch (task.step) {
	case ACCEPT:
		if ((got = accept4(listener, NULL, NULL, SOCK_NONBLOCK)) >= 0)
			put(ring, (struct task){ .step = READ, .peer = peer_new(got) });
		else
			sched_yield();
		put(ring, task);
		break;
	case READ:
		got = peer_read(task.peer);
		if (got == 0) {
			sched_yield();
			put(ring, task);
			return;
		}
		if (got < 0) {
			peer_end(task.peer);
			return;
		}
		task.n = task.peer->n;
		if (is("wander") || is("requeue")) {
			work(&task);
			if (is("wander"))
				say("background", task.n);
			else
				put(ring, (struct task){ .step = REST, .n = task.n });
			go_on(ring, task.peer);
		} else {
			task.step = BEGIN;
			put(ring, task);
		}
		break;
	case BEGIN:
		begin(task.n);
		if (!is("ring")) {
			task.step = ANSWER;
			put(ring, task);
			break;
		} /* fall through */
	case ANSWER:
		answer(task.peer, task.n);
		put(ring, (struct task){ .step = REST, .n = task.n });
		go_on(ring, task.peer);
		break;
	case REST: say("background", task.n); break;
	}
}

static void *work_for_all(void *arg)
{
	struct task task;

	for (;;) {
		if (take(&rings[0], &task))
			do_task(&rings[0], task);
		else
			sched_yield();
	}
	return arg;
}

static void give(struct peer *peer)
{
	put(&rings[0],
	    (struct task){ .step = is("ring") || is("disruptor") ? BEGIN : READ, .n = peer->n, .peer = peer });
}

/* ---- one thread for each stage ---- */

static void *work_in_stage(void *arg)
{
	unsigned stage = (unsigned)(uintptr_t)arg;
	struct task task;

	for (;;) {
		if (!take(&rings[stage], &task)) {
			sched_yield();
			continue;
		}
		if (stage == 0 && task.step == REST) {
			say("background", task.n);
		} else if (stage == 0) {
			say("begin", task.n);
			kit_call(task.n);
			put(&rings[1], task);
		} else if (stage == 1) {
			say("middle", task.n);
			kit_dawdle(task.n);
			put(&rings[2], task);
		} else {
			answer(task.peer, task.n);
			put(&rings[0], (struct task){ .step = REST, .n = task.n });
			kit_give_back(task.peer);
		}
	}
	return NULL;
}

/* ---- threads that have connections, and requests, of their own ---- */

static int listen_too(void)
{
	struct sockaddr_in addr = loopback(port);
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0), one = 1;

	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &one, sizeof(one));
	if (bind(fd, (struct sockaddr *)&addr, sizeof(addr)) != 0 || listen(fd, 512) != 0)
		die("listen");
	return fd;
}

static void watch(int epoll, int operation, int fd, struct peer *peer)
{
	struct epoll_event event = { .events = EPOLLIN | (peer != NULL ? (uint32_t)EPOLLONESHOT : 0u),
		                     .data.ptr = peer };

	if (epoll_ctl(epoll, operation, fd, &event) != 0)
		die("epoll_ctl");
}

struct owner {
	int epoll;
};

static struct owner owners[4096]; /* of connections, by their descriptors */

static void look_at(unsigned self, int epoll, int own_listener, struct peer *peer)
{
	int fd, got;

	if (peer == NULL) {
		if ((fd = accept4(own_listener, NULL, NULL, SOCK_NONBLOCK)) >= 0) {
			owners[fd].epoll = epoll;
			watch(epoll, EPOLL_CTL_ADD, fd, peer_new(fd));
		}
		return;
	}
	got = peer_read(peer);
	if (got < 0)
		peer_end(peer);
	else if (got == 0)
		watch(epoll, EPOLL_CTL_MOD, peer->fd, peer);
	else
		put(&rings[self], (struct task){ .step = BEGIN, .n = peer->n, .peer = peer });
}

static void do_own(unsigned self, struct task *task)
{
	struct peer *peer = task->peer;

	if (task->step == REST) {
		say("background", task->n);
		return;
	}
	work(task);
	put(&rings[self], (struct task){ .step = REST, .n = task->n });
	if (peer->close)
		peer_end(peer);
	else if (peer_take(peer))
		put(&rings[self], (struct task){ .step = BEGIN, .n = peer->n, .peer = peer });
	else
		watch(owners[peer->fd].epoll, EPOLL_CTL_MOD, peer->fd, peer);
}

static void *steal(void *arg)
{
	unsigned self = (unsigned)(uintptr_t)arg, i, others;
	int epoll = is("share") ? shared_epoll : epoll_create1(0), own_listener = is("share") ? listener : listen_too(),
	    n;
	struct epoll_event events[8];
	bool busy = false;
	struct task task;

	if (!is("share"))
		watch(epoll, EPOLL_CTL_ADD, own_listener, NULL);
	for (;;) {
		n = epoll_wait(epoll, events, is("share") ? 1 : 8, busy || is("steal") ? 0 : 1);
		for (i = 0; n > 0 && i < (unsigned)n; i++)
			look_at(self, epoll, own_listener, events[i].data.ptr);
		busy = n > 0;
		for (others = 0; others < WORKERS; others++) {
			if (!take(&rings[(self + others) % WORKERS], &task))
				continue;
			do_own(self, &task);
			busy = true;
			break;
		}
		if (!busy)
			sched_yield();
	}
	return NULL;
}

int main(int argc, char **argv)
{
	void *(*routine)(void *) = NULL;
	pthread_t thread;
	unsigned i;

	if (argc < 4)
		return 2;
	kind = argv[1];
	port = atoi(argv[2]);
	kit_start(argv[3]);
	for (i = 0; i < sizeof(rings) / sizeof(rings[0]); i++)
		init_ring(&rings[i]);
	if (is("steal") || is("share"))
		routine = steal;
	else if (is("disruptor"))
		routine = work_in_stage;
	else if (is("ring") || is("stages") || is("accepting") || is("wander") || is("requeue"))
		routine = work_for_all;
	if (!is("steal"))
		listener = listen_on(port);
	if (is("share") || is("accepting") || is("requeue"))
		fcntl(listener, F_SETFL, O_NONBLOCK);
	if (is("accepting") || is("requeue"))
		put(&rings[0], (struct task){ .step = ACCEPT });
	if (is("share")) {
		shared_epoll = epoll_create1(0);
		watch(shared_epoll, EPOLL_CTL_ADD, listener, NULL);
	}
	for (i = 0; routine != NULL && i < (is("disruptor") ? STAGES : WORKERS); i++)
		pthread_create(&thread, NULL, routine, (void *)(uintptr_t)i);
	if (is("ring") || is("disruptor"))
		kit_read(listener, give);
	else if (is("stages") || is("wander"))
		kit_poll(listener, give);
	pause();
	return 0;
}

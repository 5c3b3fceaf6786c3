/*
 * Threads that hand requests to each other: who logs and answers is not who read.
 *
 *   queue PORT    one thread reads whole requests and queues jobs for four workers, which log and answer
 *   lazy PORT     a thread a connection reads; jobs go to a pool whose threads are created by the first requests that find
 *                 no idle one
 *   wander PORT   keep-alive connections: a poller hands each readable connection to any worker, which reads, answers and
 *                 gives it back
 *   stages PORT   one pool of threads reads requests and, as another task, answers them; no thread keeps what it read
 *   invite PORT   the same; whoever reads a request sends 100 Continue, and reads its body (16 bytes)
 *   heads PORT    the same; whoever reads a request sends the head of its answer
 *   after PORT    the same as stages, and what is left to do for an answered request is a task too
 *   lag PORT      the same, and that task is made a while behind the answer, when the next request may have been read
 *   rest PORT     as wander, and what is left to do for an answered request is a task of the same pool
 *   tail PORT     the thread that answers goes on to log for requests that others have left in a shared list
 *   spin PORT     threads accept and read, push what they have read to a queue without a call, take from it whatever comes next, log for
 *                 that, and leave it to others to answer
 */
#include "server_kit.h"

#include <poll.h>
#include <stdatomic.h>

#define WORKERS 4
#define QUEUE 4096

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t filled = PTHREAD_COND_INITIALIZER, done = PTHREAD_COND_INITIALIZER;
static struct peer *jobs[QUEUE];
static unsigned head, tail;
static int idle, threads;
static int epoll_fd, wandering, looping, staged, cleaning, inviting, heading, lagging;
static long notes[QUEUE];
static unsigned noted;

static void push(struct peer *peer)
{
	jobs[tail++ % QUEUE] = peer;
	pthread_cond_signal(&filled);
}

static struct peer *pop(void)
{
	struct peer *peer;

	pthread_mutex_lock(&lock);
	idle++;
	while (head == tail)
		pthread_cond_wait(&filled, &lock);
	idle--;
	peer = jobs[head++ % QUEUE];
	pthread_mutex_unlock(&lock);
	return peer;
}

/* A queue of which nobody is told, and for which nobody waits. */
struct ring {
	atomic_flag taken;
	struct peer *peers[QUEUE];
	unsigned head, tail;
};
static struct ring read_ones, done_ones;

static void leave_at(struct ring *ring, struct peer *peer)
{
	while (atomic_flag_test_and_set(&ring->taken))
		;
	ring->peers[ring->tail++ % QUEUE] = peer;
	atomic_flag_clear(&ring->taken);
}

static struct peer *find_at(struct ring *ring)
{
	struct peer *peer = NULL;

	while (atomic_flag_test_and_set(&ring->taken))
		;
	if (ring->head != ring->tail)
		peer = ring->peers[ring->head++ % QUEUE];
	atomic_flag_clear(&ring->taken);
	return peer;
}

static void *answer_others(void *arg)
{
	struct peer *peer;

	(void)arg;
	for (;;) {
		if ((peer = find_at(&done_ones)) == NULL) {
			work_us(50);
			continue;
		}
		peer->close = true;
		peer_answer(peer);
		peer_end(peer);
	}
	return NULL;
}

static void *read_and_work(void *arg)
{
	int listener = (int)(intptr_t)arg, fd;

	while ((fd = accept(listener, NULL, NULL)) >= 0) {
		struct peer *peer = peer_new(fd);

		if (peer_read(peer) <= 0) {
			peer_end(peer);
			continue;
		}
		leave_at(&read_ones, peer);
		work_us(peer->n % 7 * 50);
		while ((peer = find_at(&read_ones)) != NULL) {
			say("work", peer->n);
			work_us(100);
			leave_at(&done_ones, peer);
		}
	}
	return NULL;
}

static void without_waits(int listener)
{
	pthread_t thread;
	int i;

	for (i = 0; i < 2; i++)
		pthread_create(&thread, NULL, answer_others, NULL);
	for (i = 0; i < 7; i++)
		pthread_create(&thread, NULL, read_and_work, (void *)(intptr_t)listener);
	read_and_work((void *)(intptr_t)listener);
}

static void watch_again(struct peer *peer, int operation)
{
	struct epoll_event event = { .events = EPOLLIN | EPOLLONESHOT, .data.ptr = peer };

	if (epoll_ctl(epoll_fd, operation, peer->fd, &event) != 0)
		die("epoll_ctl");
}

/* What is left to do for a request that was answered; its connection may have gone on, or be gone. */
static void push_rest(long n)
{
	struct peer *rest = calloc(1, sizeof(*rest));

	rest->fd = -1;
	rest->n = n;
	push(rest);
}

/* What its reader has to say to the client before somebody else works for it. */
static void begin(struct peer *peer)
{
	static const char invitation[] = "HTTP/1.1 100 Continue\r\n\r\n";
	char out[128];
	int len;

	if (inviting && (send(peer->fd, invitation, sizeof(invitation) - 1, MSG_NOSIGNAL) < 0 ||
	                 recv(peer->fd, out, 16, MSG_WAITALL) != 16))
		peer->close = true;
	if (!heading)
		return;
	len = snprintf(out, sizeof(out), "HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n",
	               snprintf(NULL, 0, "hello n=%ld\n", peer->n));
	if (send(peer->fd, out, (size_t)len, MSG_NOSIGNAL) != len)
		peer->close = true;
}

static void answer(struct peer *peer)
{
	char body[64];
	int len = snprintf(body, sizeof(body), "hello n=%ld\n", peer->n);

	if (!heading)
		peer_answer(peer);
	else if (send(peer->fd, body, (size_t)len, MSG_NOSIGNAL) != len)
		peer->close = true;
}

static void *worker(void *arg)
{
	(void)arg;
	for (;;) {
		struct peer *peer = pop();
		bool close_it;
		long n;

		if (peer->fd < 0) {
			say("after", peer->n);
			free(peer);
			continue;
		}
		if (wandering && !peer->queued && peer_read(peer) <= 0) {
			peer_end(peer);
			continue;
		}
		if (staged && !peer->queued) {
			begin(peer);
			pthread_mutex_lock(&lock);
			peer->queued = true;
			push(peer);
			pthread_mutex_unlock(&lock);
			continue;
		}
		say("work", peer->n);
		work_us(300);
		say("answer", peer->n);
		close_it = peer->close;
		n = peer->n;
		answer(peer);
		if (lagging)
			work_us(2000);
		pthread_mutex_lock(&lock);
		if (cleaning)
			push_rest(n);
		peer->queued = false;
		pthread_cond_broadcast(&done);
		pthread_mutex_unlock(&lock);
		if (!looping)
			continue;
		if (close_it)
			peer_end(peer);
		else
			watch_again(peer, EPOLL_CTL_MOD);
	}
	return NULL;
}

static void add_worker(void)
{
	pthread_t thread;

	threads++;
	pthread_create(&thread, NULL, worker, NULL);
}

static void *read_lazily(void *arg)
{
	struct peer *peer = arg;

	while (peer_read(peer) > 0) {
		say("read", peer->n);
		pthread_mutex_lock(&lock);
		peer->queued = true;
		push(peer);
		if (idle == 0 && threads < WORKERS)
			add_worker();
		while (peer->queued)
			pthread_cond_wait(&done, &lock);
		pthread_mutex_unlock(&lock);
		if (peer->close)
			break;
	}
	peer_end(peer);
	return NULL;
}

static void *answer_and_tail(void *arg)
{
	struct peer *peer = arg;
	unsigned i;

	while (peer_read(peer) > 0) {
		say("begin", peer->n);
		pthread_mutex_lock(&lock);
		notes[noted++ % QUEUE] = peer->n;
		pthread_mutex_unlock(&lock);
		peer_answer(peer);
		/* The next one who waits here writes what all have left: after its own response. */
		pthread_mutex_lock(&lock);
		if (noted >= 8) {
			struct timespec soon;

			clock_gettime(CLOCK_REALTIME, &soon);
			pthread_cond_timedwait(&done, &lock, &soon);
			for (i = 0; i < noted; i++)
				say("note", notes[i]);
			noted = 0;
		}
		pthread_mutex_unlock(&lock);
		if (peer->close)
			break;
	}
	peer_end(peer);
	return NULL;
}

static void thread_per_connection(int listener, void *(*routine)(void *))
{
	pthread_t thread;
	int fd;

	while ((fd = accept(listener, NULL, NULL)) >= 0) {
		pthread_create(&thread, NULL, routine, peer_new(fd));
		pthread_detach(thread);
	}
}

/* The reader: a loop that reads each request in full, and gives it away. */
static void loop(int listener)
{
	struct epoll_event events[32], event = { .events = EPOLLIN };
	int i, n;

	epoll_ctl(epoll_fd, EPOLL_CTL_ADD, listener, &event);
	for (i = 0; i < WORKERS; i++)
		add_worker();
	for (;;) {
		n = epoll_wait(epoll_fd, events, 32, -1);
		for (i = 0; i < n; i++) {
			struct peer *peer = events[i].data.ptr;
			int got;

			if (peer == NULL) {
				int fd = accept(listener, NULL, NULL);

				if (fd >= 0)
					watch_again(peer_new(fd), EPOLL_CTL_ADD);
				continue;
			}
			got = wandering ? 1 : peer_read(peer);
			if (got < 0) {
				peer_end(peer);
				continue;
			}
			if (got > 0) {
				pthread_mutex_lock(&lock);
				push(peer);
				pthread_mutex_unlock(&lock);
			} else {
				watch_again(peer, EPOLL_CTL_MOD);
			}
		}
	}
}

int main(int argc, char **argv)
{
	int listener = argc > 2 ? listen_on(atoi(argv[2])) : -1;
	const char *mode = argv[1];

	if (listener < 0)
		return 2;
	signal(SIGPIPE, SIG_IGN);
	setvbuf(stdout, NULL, _IOLBF, BUFSIZ);
	epoll_fd = epoll_create1(0);
	if (strcmp(mode, "lazy") == 0)
		thread_per_connection(listener, read_lazily);
	else if (strcmp(mode, "tail") == 0)
		thread_per_connection(listener, answer_and_tail);
	else if (strcmp(mode, "spin") == 0)
		without_waits(listener);
	lagging = strcmp(mode, "lag") == 0;
	cleaning = lagging || strcmp(mode, "after") == 0 || strcmp(mode, "rest") == 0;
	inviting = strcmp(mode, "invite") == 0;
	heading = strcmp(mode, "heads") == 0;
	staged = inviting || heading || lagging || strcmp(mode, "after") == 0 || strcmp(mode, "stages") == 0;
	wandering = staged || cleaning || strcmp(mode, "wander") == 0;
	looping = 1;
	loop(listener);
	return 0;
}

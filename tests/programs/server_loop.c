/*
 * Event loops, honest and not: what an observer of system calls could take for one request may be another's work.
 *
 *   inline PORT      each event's handler runs to its end before the next event is looked at
 *   deferred PORT    an iteration reads what there is, and answers it afterwards, last one first
 *   batch PORT       a request is answered when three more have come (or 20 ms have passed): the loop waits meanwhile
 *   late PORT        inline, but what it logs of a request it writes at the end of the iteration
 *   timers PORT      each request is answered by a timer, 1 to 8 ms later
 *   step PORT        a queue, of which one job is done an iteration
 *   polite PORT      inline, until more than four requests are in work: then they are queued (a burst protection)
 *   shared PORT UP   all requests ask one line server over one connection, answers come in order
 *   pool PORT UP     two connections to an HTTP upstream; who finds none free waits until another's answer has come, and
 *                    is served first, in the handler of that answer
 */
#include "server_kit.h"

#define EVENTS 64
#define QUEUE 4096

struct job {
	struct peer *peer;
	long due_us;
	struct link *link;
};

struct link {
	int fd;
	bool busy;
	struct peer *peer;
};

static int epoll_fd;
static struct job queue[QUEUE];
static unsigned queue_head, queue_tail;
static struct link links[2];
static const char *mode;

static long now_us(void)
{
	struct timespec time;

	clock_gettime(CLOCK_MONOTONIC, &time);
	return time.tv_sec * 1000000L + time.tv_nsec / 1000;
}

static void watch(int fd, void *data)
{
	struct epoll_event event = { .events = EPOLLIN, .data.ptr = data };

	fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK);
	if (epoll_ctl(epoll_fd, EPOLL_CTL_ADD, fd, &event) != 0)
		die("epoll_ctl");
}

static unsigned queued(void)
{
	return queue_tail - queue_head;
}

static void push(struct peer *peer, long due_us)
{
	peer->queued = true;
	queue[queue_tail++ % QUEUE] = (struct job){ .peer = peer, .due_us = due_us };
}

static void continue_peer(struct peer *peer);

static long late[QUEUE];
static unsigned lates;

static void answer(struct peer *peer)
{
	say("answer", peer->n);
	peer_answer(peer);
	if (strcmp(mode, "late") == 0)
		late[lates++ % QUEUE] = peer->n;
	else
		say("answered", peer->n);
	peer->queued = false;
	if (peer->close)
		peer_end(peer);
	else
		continue_peer(peer);
}

static void do_oldest(void)
{
	answer(queue[queue_head++ % QUEUE].peer);
}

static void do_newest(void)
{
	answer(queue[--queue_tail % QUEUE].peer);
}

/* ---- upstreams ---- */

static void ask_lines(struct peer *peer)
{
	char line[64];
	int len = snprintf(line, sizeof(line), "ask %ld\n", peer->n);

	push(peer, 0);
	say("ask", peer->n);
	if (send(links[0].fd, line, (size_t)len, MSG_NOSIGNAL) != len)
		die("send to upstream");
}

static void hear_lines(struct link *link)
{
	char bytes[4096];
	ssize_t i, n = recv(link->fd, bytes, sizeof(bytes), 0);

	for (i = 0; i < n; i++) {
		if (bytes[i] == '\n') {
			say("told", queue[queue_head % QUEUE].peer->n);
			do_oldest();
		}
	}
}

static void ask_http(struct link *link, struct peer *peer)
{
	char head[128];
	int len = snprintf(head, sizeof(head), "GET /up?n=%ld HTTP/1.1\r\nHost: up.example\r\n\r\n", peer->n);

	link->busy = true;
	link->peer = peer;
	say("call", peer->n);
	if (send(link->fd, head, (size_t)len, MSG_NOSIGNAL) != len)
		die("send to upstream");
}

static void want_http(struct peer *peer)
{
	int i;

	peer->queued = true;
	for (i = 0; i < 2; i++) {
		if (!links[i].busy) {
			ask_http(&links[i], peer);
			return;
		}
	}
	push(peer, 0);
}

static void hear_http(struct link *link)
{
	struct peer *peer = link->peer;
	char bytes[4096];

	/* The upstream answers in one piece. */
	if (recv(link->fd, bytes, sizeof(bytes), 0) <= 0)
		return;
	link->busy = false;
	if (queued() > 0)
		ask_http(link, queue[queue_head++ % QUEUE].peer);
	answer(peer);
}

/* ---- the loop ---- */

static void take_request(struct peer *peer)
{
	say("begin", peer->n);
	if (strcmp(mode, "inline") == 0 || strcmp(mode, "late") == 0)
		answer(peer);
	else if (strcmp(mode, "timers") == 0)
		push(peer, now_us() + 1000 + peer->n % 8 * 1000);
	else if (strcmp(mode, "shared") == 0)
		ask_lines(peer);
	else if (strcmp(mode, "pool") == 0)
		want_http(peer);
	else if (strcmp(mode, "polite") == 0 && queued() == 0)
		answer(peer);
	else
		push(peer, now_us() + 20000);
	if (strcmp(mode, "batch") == 0 && queued() >= 4)
		while (queued() > 0)
			do_oldest();
}

static void continue_peer(struct peer *peer)
{
	int got;

	if (peer->queued)
		return;
	got = peer_read(peer);
	if (got > 0)
		take_request(peer);
	else if (got < 0)
		peer_end(peer);
}

static void handle_event(int listener, void *data)
{
	if (data == NULL) {
		int fd = accept(listener, NULL, NULL);

		if (fd >= 0)
			watch(fd, peer_new(fd));
	} else if (data == &links[0] || data == &links[1]) {
		(strcmp(mode, "shared") == 0 ? hear_lines : hear_http)(data);
	} else {
		continue_peer(data);
	}
}

/* How long may the loop wait, in milliseconds, and what it does before that. */
static int timeout_ms(void)
{
	long left = queued() == 0 ? -1 : queue[queue_head % QUEUE].due_us - now_us();

	if (strcmp(mode, "deferred") == 0 || strcmp(mode, "step") == 0)
		return queued() > 0 ? 0 : -1;
	if (strcmp(mode, "timers") == 0 || strcmp(mode, "batch") == 0)
		return queued() == 0 ? -1 : left <= 0 ? 0 : (int)(left / 1000 + 1);
	return strcmp(mode, "polite") == 0 && queued() > 0 ? 0 : -1;
}

static void after_events(void)
{
	unsigned i;

	for (i = 0; i < lates; i++)
		say("answered", late[i]);
	lates = 0;
	if (strcmp(mode, "deferred") == 0)
		while (queued() > 0)
			do_newest();
	else if (strcmp(mode, "step") == 0 && queued() > 0)
		do_oldest();
	else if (strcmp(mode, "polite") == 0)
		while (queued() > 0)
			do_oldest();
	else if (strcmp(mode, "timers") == 0 || strcmp(mode, "batch") == 0)
		while (queued() > 0 && queue[queue_head % QUEUE].due_us <= now_us())
			do_oldest();
}

int main(int argc, char **argv)
{
	struct epoll_event events[EVENTS];
	int i, n, listener, busy = 0;

	if (argc < 3)
		return 2;
	mode = argv[1];
	signal(SIGPIPE, SIG_IGN);
	setvbuf(stdout, NULL, _IOLBF, BUFSIZ);
	epoll_fd = epoll_create1(0);
	for (i = 0; i < 2 && argc > 3; i++) {
		links[i].fd = connect_to(atoi(argv[3]));
		watch(links[i].fd, &links[i]);
	}
	listener = listen_on(atoi(argv[2]));
	watch(listener, NULL);
	for (;;) {
		n = epoll_wait(epoll_fd, events, EVENTS, timeout_ms());
		busy = n > 4;
		for (i = 0; i < n; i++) {
			/* Polite: a busy iteration queues what it reads. */
			if (strcmp(mode, "polite") == 0 && busy && queued() == 0 && events[i].data.ptr != NULL) {
				struct peer *peer = events[i].data.ptr;
				int got = peer->queued ? 0 : peer_read(peer);

				if (got > 0) {
					say("begin", peer->n);
					push(peer, 0);
				} else if (got < 0) {
					peer_end(peer);
				}
				continue;
			}
			handle_event(listener, events[i].data.ptr);
		}
		after_events();
	}
}

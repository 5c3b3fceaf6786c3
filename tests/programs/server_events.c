/*
 * Event loops that ask another service before they answer, many requests at a time on one thread.
 *
 *   server_events KIND PORT UP
 *
 * KIND  callbacks   a connection to the service for each request; what comes next is a function that waits for the reply
 *       timers      the same, and a timer of 1 to 4 ms before the answer
 *       pool        four connections to the service; a request that finds none free waits until one is given back, and is
 *                   served in the handler of the reply that gave it back
 *       queue       what comes next is put into a queue, which is emptied at the end of the iteration
 *       ticks       as timers, and a timer before that, which logs and does not answer
 *       batch       as timers, but the answers of an iteration are sent at its end, the newest first
 *       previous    as timers, but each one sends the answer of the one before it
 *
 * What requests leave to be done in the background is done ten times a second, for all.
 */
#include "attribution_kit.h"

#define EVENTS 64
#define ROOM 16384u
#define LINKS 4

struct work;

struct source {
	enum { LISTENER, CLIENT, LINK } kind;
	int fd;
	struct peer *peer; /* CLIENT */
	struct work *work; /* LINK: for whom it is used */
	struct source *next;
	char bytes[512]; /* LINK: of a reply */
	size_t len;
};

struct work {
	struct source *client;
	long n;
	long due_us;
	void (*next)(struct work *);
	struct work *behind;
};

static int epoll_fd;
static const char *kind;
static struct source *free_links;
static int links;
static struct work *wanting[ROOM], *queue[ROOM], *timers[ROOM];
static struct work *left[ROOM];
static unsigned left_count;
static unsigned want_head, want_tail, queue_head, queue_tail, timer_count;

static bool is(const char *name)
{
	return strcmp(kind, name) == 0;
}

static long now_us(void)
{
	struct timespec time;

	clock_gettime(CLOCK_MONOTONIC, &time);
	return time.tv_sec * 1000000L + time.tv_nsec / 1000;
}

static struct source *watch(int fd, int source_kind)
{
	struct source *source = calloc(1, sizeof(*source));
	struct epoll_event event = { .events = EPOLLIN, .data.ptr = source };

	source->kind = (unsigned)source_kind;
	source->fd = fd;
	fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK);
	if (epoll_ctl(epoll_fd, EPOLL_CTL_ADD, fd, &event) != 0)
		die("epoll_ctl");
	return source;
}

static void do_later(struct work *work, void (*next)(struct work *))
{
	work->next = next;
	queue[queue_tail++ % ROOM] = work;
}

static void do_at(struct work *work, long us, void (*next)(struct work *))
{
	work->next = next;
	work->due_us = now_us() + us;
	timers[timer_count++] = work;
}

/* ---- a request, step by step ---- */

static void read_client(struct source *client);

static void finish_all(struct work *timer)
{
	unsigned i;

	for (i = 0; i < left_count; i++) {
		say("background", left[i]->n);
		free(left[i]);
	}
	left_count = 0;
	free(timer);
}

static void finish_later(struct work *work)
{
	if (left_count == 0)
		do_at(calloc(1, sizeof(*work)), 100000, finish_all);
	left[left_count++] = work;
}

/* What is next in the buffer of a connection that is kept is read here. */
static void send_answer(struct work *work)
{
	struct source *client = work->client;

	peer_answer(client->peer);
	say("after", work->n);
	client->peer->queued = false;
	finish_later(work);
	if (client->peer->close) {
		peer_end(client->peer);
		free(client);
	} else {
		read_client(client);
	}
}

static void answer(struct work *work)
{
	say("before", work->n);
	send_answer(work);
}

/* ---- timers that do not answer their own request: what is answered next says nothing of whose line it was ---- */

static struct work *last; /* of those that are not answered yet; ->behind: the one before it */

static void answer_at_end(struct work *work)
{
	say("before", work->n);
	work->behind = last;
	last = work;
}

static void answer_batch(void)
{
	struct work *work;

	while ((work = last) != NULL) {
		last = work->behind;
		send_answer(work);
	}
}

static void answer_last(struct work *none)
{
	free(none);
	if (last != NULL)
		send_answer(last);
	last = NULL;
}

/* The last one of all is answered by a timer of its own. */
static void answer_previous(struct work *work)
{
	struct work *previous = last;

	say("before", work->n);
	last = work;
	if (previous != NULL)
		send_answer(previous);
	else
		do_at(calloc(1, sizeof(*work)), 5000, answer_last);
}

static void tick(struct work *work)
{
	say("middle", work->n);
	do_at(work, 1000, answer);
}

static void go_on(struct work *work)
{
	if (is("ticks")) {
		do_at(work, 1000 + work->n % 4 * 1000, tick);
		return;
	}
	say("middle", work->n);
	if (is("batch"))
		do_at(work, 1000 + work->n % 4 * 1000, answer_at_end);
	else if (is("previous"))
		do_at(work, 1000 + work->n % 4 * 1000, answer_previous);
	else if (is("timers"))
		do_at(work, 1000 + work->n % 4 * 1000, answer);
	else if (is("queue"))
		do_later(work, answer);
	else
		answer(work);
}

/* ---- calls ---- */

static void call(struct source *link, struct work *work)
{
	link->work = work;
	link->len = 0;
	kit_send_call(link->fd, work->n);
}

static void want_call(struct work *work)
{
	struct source *link = free_links;

	if (link != NULL) {
		free_links = link->next;
		call(link, work);
	} else if (!is("pool") || links < LINKS) {
		links++;
		call(watch(connect_to(kit_up_port), LINK), work);
	} else {
		wanting[want_tail++ % ROOM] = work;
	}
}

/* The service has closed a connection that nobody used. */
static void forget_link(struct source *link)
{
	struct source **place = &free_links;

	while (*place != link)
		place = &(*place)->next;
	*place = link->next;
	close(link->fd);
	free(link);
	links--;
}

static void read_reply(struct source *link)
{
	ssize_t n = recv(link->fd, link->bytes + link->len, sizeof(link->bytes) - 1 - link->len, 0);
	struct work *work = link->work;

	if (n < 0 && errno == EAGAIN)
		return;
	if (n <= 0 && work == NULL) {
		forget_link(link);
		return;
	}
	if (n <= 0 || work == NULL)
		die("reply");
	link->len += (size_t)n;
	link->bytes[link->len] = '\0';
	if (!kit_is_reply(link->bytes, work->n))
		return;
	if (want_head != want_tail) {
		call(link, wanting[want_head++ % ROOM]);
	} else {
		link->next = free_links;
		link->work = NULL;
		free_links = link;
	}
	go_on(work);
}

static void read_client(struct source *client)
{
	struct work *work;
	int got;

	if (client->peer->queued)
		return;
	got = peer_read(client->peer);
	if (got < 0) {
		peer_end(client->peer);
		free(client);
	}
	if (got <= 0)
		return;
	work = calloc(1, sizeof(*work));
	work->client = client;
	work->n = client->peer->n;
	client->peer->queued = true;
	say("begin", work->n);
	if (is("queue"))
		do_later(work, want_call);
	else
		want_call(work);
}

/* ---- the loop ---- */

static void accept_client(int listener)
{
	int fd = accept(listener, NULL, NULL);

	if (fd >= 0) {
		struct source *client = watch(fd, CLIENT);

		client->peer = peer_new(fd);
	}
}

static int next_timer_ms(void)
{
	long now = now_us(), least = -1;
	unsigned i;

	if (queue_head != queue_tail)
		return 0;
	for (i = 0; i < timer_count; i++)
		if (least < 0 || timers[i]->due_us - now < least)
			least = timers[i]->due_us > now ? timers[i]->due_us - now : 0;
	return least < 0 ? -1 : (int)((least + 999) / 1000);
}

static void run_timers(void)
{
	long now = now_us();
	unsigned i = 0;

	while (i < timer_count) {
		struct work *work = timers[i];

		if (work->due_us > now) {
			i++;
			continue;
		}
		timers[i] = timers[--timer_count];
		work->next(work);
	}
}

static void run_queue(void)
{
	unsigned end = queue_tail;

	while (queue_head != end) {
		struct work *work = queue[queue_head++ % ROOM];

		work->next(work);
	}
}

int main(int argc, char **argv)
{
	struct epoll_event events[EVENTS];
	struct source *source;
	int listener, i, n;

	if (argc < 4)
		return 2;
	kind = argv[1];
	kit_start(argv[3]);
	epoll_fd = epoll_create1(0);
	listener = listen_on(atoi(argv[2]));
	watch(listener, LISTENER);
	for (;;) {
		n = epoll_wait(epoll_fd, events, EVENTS, next_timer_ms());
		for (i = 0; i < n; i++) {
			source = events[i].data.ptr;
			if (source->kind == LISTENER)
				accept_client(listener);
			else if (source->kind == CLIENT)
				read_client(source);
			else
				read_reply(source);
		}
		run_timers();
		if (is("batch"))
			answer_batch();
		run_queue();
	}
}

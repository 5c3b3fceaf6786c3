/*
 * What the C and C++ servers of the attribution experiment share: how a request is worked for, calls over connections that
 * all threads have in common, and a reader thread for servers whose workers are given whole requests. See
 * scripts/attribution. They know nothing of tracing; every line and every call names the request that it is for.
 */
#ifndef ATTRIBUTION_KIT_H
#define ATTRIBUTION_KIT_H

#include "server_kit.h"

#define LINKS_MAX 1024

static int kit_up_port;

/* ---- calls ---- */

static pthread_mutex_t kit_links_lock = PTHREAD_MUTEX_INITIALIZER;
static int kit_links[LINKS_MAX];
static int kit_link_count;

/* Connections are anybody's: taken for a call, and given back. */
static inline int kit_take_link(void)
{
	int fd = -1;

	pthread_mutex_lock(&kit_links_lock);
	if (kit_link_count > 0)
		fd = kit_links[--kit_link_count];
	pthread_mutex_unlock(&kit_links_lock);
	return fd >= 0 ? fd : connect_to(kit_up_port);
}

static inline void kit_give_link(int fd)
{
	pthread_mutex_lock(&kit_links_lock);
	if (kit_link_count < LINKS_MAX) {
		kit_links[kit_link_count++] = fd;
		fd = -1;
	}
	pthread_mutex_unlock(&kit_links_lock);
	if (fd >= 0)
		close(fd);
}

/* A forked child has no claim to its parent's. */
static inline void kit_forget_links(void)
{
	while (kit_link_count > 0)
		close(kit_links[--kit_link_count]);
}

static inline void kit_send_call(int fd, long n)
{
	char head[128];
	int len = snprintf(head, sizeof(head), "GET /up?n=%ld HTTP/1.1\r\nHost: up.example\r\n\r\n", n);

	if (send(fd, head, (size_t)len, MSG_NOSIGNAL) != len)
		die("call");
}

/* Is the answer whole, and is it to n? `bytes` ends in NUL. */
static inline bool kit_is_reply(const char *bytes, long n)
{
	const char *body = strstr(bytes, "\r\n\r\n");

	if (body == NULL || strchr(body + 4, '\n') == NULL)
		return false;
	if (atol(body + 4 + strlen("up n=")) != n)
		die("another's reply");
	return true;
}

static inline void kit_call(long n)
{
	char bytes[512];
	size_t len = 0;
	int fd = kit_take_link();

	kit_send_call(fd, n);
	do {
		ssize_t got = recv(fd, bytes + len, sizeof(bytes) - 1 - len, 0);

		if (got <= 0)
			die("reply");
		len += (size_t)got;
		bytes[len] = '\0';
	} while (!kit_is_reply(bytes, n));
	kit_give_link(fd);
}

/* ---- a request, from its first line to its answer ---- */

/* Requests overtake each other. */
static inline void kit_dawdle(long n)
{
	if (n % 7 == 0)
		work_us(150);
	else if (n % 3 == 0)
		sched_yield();
}

static inline void kit_work(struct peer *peer, long n)
{
	say("begin", n);
	kit_call(n);
	say("middle", n);
	kit_dawdle(n);
	say("before", n);
	peer_answer(peer);
	say("after", n);
}

static inline void kit_start(const char *up)
{
	kit_up_port = atoi(up);
	signal(SIGPIPE, SIG_IGN);
	setvbuf(stdout, NULL, _IOLBF, BUFSIZ);
}

/* ---- a thread that reads whole requests for others ---- */

struct kit_reader {
	void (*take)(struct peer *); /* the peer is the taker's until kit_give_back */
	bool reads;                  /* it takes whole requests; else what can be read */
	int epoll_fd, wake_fd;
	pthread_mutex_t lock;
	struct peer *back[4096];
	int back_count;
};

static struct kit_reader kit_reader;

/* The request was answered: its connection is read again, by the reader. */
static inline void kit_give_back(struct peer *peer)
{
	uint64_t one = 1;

	pthread_mutex_lock(&kit_reader.lock);
	kit_reader.back[kit_reader.back_count++] = peer;
	pthread_mutex_unlock(&kit_reader.lock);
	if (write(kit_reader.wake_fd, &one, sizeof(one)) != (ssize_t)sizeof(one))
		die("wake");
}

static inline void kit_watch(int fd, void *data, int operation)
{
	struct epoll_event event;

	event.events = EPOLLIN | (data != NULL && data != &kit_reader ? (uint32_t)EPOLLONESHOT : 0u);
	event.data.ptr = data;
	if (epoll_ctl(kit_reader.epoll_fd, operation, fd, &event) != 0)
		die("epoll_ctl");
}

static inline void kit_look(struct peer *peer, bool have)
{
	int got = have ? 1 : peer_read(peer);

	if (got > 0) {
		say("read", peer->n);
		kit_reader.take(peer);
		return;
	}
	if (got < 0)
		peer_end(peer);
	else
		kit_watch(peer->fd, peer, EPOLL_CTL_MOD);
}

static inline void kit_take_back(void)
{
	struct peer *back[4096];
	uint64_t wakes;
	int i, count;

	if (read(kit_reader.wake_fd, &wakes, sizeof(wakes)) < 0)
		die("wake");
	pthread_mutex_lock(&kit_reader.lock);
	count = kit_reader.back_count;
	memcpy(back, kit_reader.back, (size_t)count * sizeof(back[0]));
	kit_reader.back_count = 0;
	pthread_mutex_unlock(&kit_reader.lock);
	for (i = 0; i < count; i++) {
		if (back[i]->close)
			peer_end(back[i]);
		else if (!kit_reader.reads && back[i]->len > 0)
			kit_reader.take(back[i]);
		else if (kit_reader.reads && peer_take(back[i]))
			kit_look(back[i], true);
		else
			kit_watch(back[i]->fd, back[i], EPOLL_CTL_MOD);
	}
}

static inline void kit_accept(int listener)
{
	int fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK);

	if (fd >= 0)
		kit_watch(fd, peer_new(fd), EPOLL_CTL_ADD);
}

static inline void kit_run_reader(int listener, void (*take)(struct peer *), bool reads)
{
	struct epoll_event events[32];
	int i, n;

	kit_reader.take = take;
	kit_reader.reads = reads;
	pthread_mutex_init(&kit_reader.lock, NULL);
	kit_reader.epoll_fd = epoll_create1(0);
	kit_reader.wake_fd = eventfd(0, 0);
	kit_watch(listener, NULL, EPOLL_CTL_ADD);
	kit_watch(kit_reader.wake_fd, &kit_reader, EPOLL_CTL_ADD);
	for (;;) {
		n = epoll_wait(kit_reader.epoll_fd, events, 32, -1);
		for (i = 0; i < n; i++) {
			if (events[i].data.ptr == NULL)
				kit_accept(listener);
			else if (events[i].data.ptr == &kit_reader)
				kit_take_back();
			else if (kit_reader.reads)
				kit_look((struct peer *)events[i].data.ptr, false);
			else
				kit_reader.take((struct peer *)events[i].data.ptr);
		}
	}
}

/* For ever: `take` gets each request, whole. */
static inline void kit_read(int listener, void (*take)(struct peer *))
{
	kit_run_reader(listener, take, true);
}

/* For ever: `take` gets each connection that can be read. */
static inline void kit_poll(int listener, void (*take)(struct peer *))
{
	kit_run_reader(listener, take, false);
}

#endif

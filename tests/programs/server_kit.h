/*
 * What the guest servers of tests/preload/c_servers.bats share: HTTP/1.1 as somebody would write it in an afternoon, and
 * lines that name the request by its number. They know nothing of tracing.
 */
#ifndef SERVER_KIT_H
#define SERVER_KIT_H

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define HEAD_MAX 8192

struct peer {
	int fd;
	bool close;  /* asked for by the request at hand */
	bool queued; /* a handler has it */
	long n;      /* the number of the request at hand */
	size_t len;
	char bytes[HEAD_MAX + 1];
};

static inline void die(const char *what)
{
	perror(what);
	_exit(1);
}

static inline struct sockaddr_in loopback(int port)
{
	struct sockaddr_in addr;

	memset(&addr, 0, sizeof(addr));
	addr.sin_family = AF_INET;
	addr.sin_port = htons((uint16_t)port);
	addr.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	return addr;
}

static inline int listen_on(int port)
{
	struct sockaddr_in addr = loopback(port);
	int fd = socket(AF_INET, SOCK_STREAM, 0), one = 1;

	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	if (bind(fd, (struct sockaddr *)&addr, sizeof(addr)) != 0 || listen(fd, 512) != 0)
		die("listen");
	return fd;
}

static inline int connect_to(int port)
{
	struct sockaddr_in addr = loopback(port);
	int fd = socket(AF_INET, SOCK_STREAM, 0);

	if (connect(fd, (struct sockaddr *)&addr, sizeof(addr)) != 0)
		die("connect");
	return fd;
}

static inline struct peer *peer_new(int fd)
{
	struct peer *peer = (struct peer *)calloc(1, sizeof(*peer));
	int one = 1;

	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	peer->fd = fd;
	return peer;
}

static inline void peer_end(struct peer *peer)
{
	close(peer->fd);
	free(peer);
}

/* Is there a whole request? Then its number and its wish to close are noted, and it is taken out of the buffer. */
static inline bool peer_take(struct peer *peer)
{
	char *end, *n;
	size_t used;

	peer->bytes[peer->len] = '\0';
	end = strstr(peer->bytes, "\r\n\r\n");
	if (!end)
		return false;
	used = (size_t)(end - peer->bytes) + 4;
	*end = '\0';
	n = strstr(peer->bytes, "n=");
	peer->n = n ? atol(n + 2) : 0;
	peer->close = strstr(peer->bytes, "Connection: close") != NULL;
	memmove(peer->bytes, peer->bytes + used, peer->len - used);
	peer->len -= used;
	return true;
}

/* One read. 1: a request is there; 0: not yet; -1: the connection has ended. */
static inline int peer_read(struct peer *peer)
{
	ssize_t n;

	if (peer_take(peer))
		return 1;
	n = recv(peer->fd, peer->bytes + peer->len, HEAD_MAX - peer->len, 0);
	if (n < 0 && errno == EAGAIN)
		return 0;
	if (n <= 0)
		return -1;
	peer->len += (size_t)n;
	return peer_take(peer);
}

static inline void peer_answer(struct peer *peer)
{
	char out[256];
	int len, body = snprintf(NULL, 0, "hello n=%ld\n", peer->n);

	len = snprintf(out, sizeof(out), "HTTP/1.1 200 OK\r\nContent-Length: %d\r\n%s\r\nhello n=%ld\n", body,
	               peer->close ? "Connection: close\r\n" : "", peer->n);
	if (send(peer->fd, out, (size_t)len, MSG_NOSIGNAL) != len)
		peer->close = true;
}

/* A handler: says that it begins, and that it has ended, around some work. */
static inline void say(const char *what, long n)
{
	printf("%s n=%ld\n", what, n);
}

static inline void work_us(long us)
{
	struct timespec time = { 0, us * 1000 };

	nanosleep(&time, NULL);
}

static inline void end_process(int signal_number)
{
	(void)signal_number;
	_exit(0);
}

#endif

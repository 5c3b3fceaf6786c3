/*
 * Many idle keep-alive connections: what each of them costs in memory. Two programs in one: the server, whose memory is
 * looked at from outside (/proc/PID/smaps_rollup), and the client, which is never preloaded. They are two processes
 * because each end of a connection takes a descriptor, and the limit on descriptors is one a process.
 *
 * The server is one thread around epoll that keeps nothing for a connection, so that the growth of its memory is the
 * kernel's and the preload's. The client opens the connections one after the other, sends one request on each, reads the
 * answer and leaves the connection open. Between them they hold no more than their descriptors.
 *
 * Usage: bench_conns server                 prints its port to descriptor 3, serves until killed
 *        bench_conns client PORT NUMBER     prints "ready" to descriptor 3, holds on until its standard input ends
 */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

static const char request[] = "GET /idle HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n";
static const char response[] = "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nok\n";

static void fail(const char *what)
{
	perror(what);
	exit(1);
}

static void raise_descriptor_limit(void)
{
	struct rlimit limit;

	getrlimit(RLIMIT_NOFILE, &limit);
	limit.rlim_cur = limit.rlim_max;
	setrlimit(RLIMIT_NOFILE, &limit);
}

static int make_socket(struct sockaddr_in *address, unsigned long port)
{
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (fd < 0)
		fail("bench_conns: socket");
	*address = (struct sockaddr_in){ .sin_family = AF_INET, .sin_port = htons((uint16_t)port) };
	address->sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	return fd;
}

static void watch(int epoll, int fd)
{
	struct epoll_event event = { .events = EPOLLIN, .data.fd = fd };

	if (epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event))
		fail("bench_conns: epoll_ctl");
}

/* The client sends each request in one piece and waits for the answer: what arrives is one request, or the end. */
static void serve_event(int fd)
{
	char bytes[512];
	ssize_t n = recv(fd, bytes, sizeof(bytes), 0);

	if (n <= 0 || send(fd, response, sizeof(response) - 1, MSG_NOSIGNAL) < 0)
		close(fd);
}

static _Noreturn void run_server(void)
{
	struct sockaddr_in address;
	socklen_t size = sizeof(address);
	int listener = make_socket(&address, 0), epoll = epoll_create1(EPOLL_CLOEXEC);

	if (bind(listener, (struct sockaddr *)&address, sizeof(address)) || listen(listener, 1024))
		fail("bench_conns: listen");
	getsockname(listener, (struct sockaddr *)&address, &size);
	watch(epoll, listener);
	dprintf(3, "%d\n", ntohs(address.sin_port));
	for (;;) {
		struct epoll_event event;

		if (epoll_wait(epoll, &event, 1, -1) != 1)
			continue;
		if (event.data.fd == listener) {
			int fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC);

			if (fd >= 0)
				watch(epoll, fd);
		} else {
			serve_event(event.data.fd);
		}
	}
}

static bool ask_once(int fd)
{
	char bytes[512];
	size_t got = 0;

	if (send(fd, request, sizeof(request) - 1, MSG_NOSIGNAL) != (ssize_t)sizeof(request) - 1)
		return false;
	while (got < sizeof(response) - 1) {
		ssize_t n = recv(fd, bytes, sizeof(bytes), 0);

		if (n <= 0)
			return false;
		got += (size_t)n;
	}
	return true;
}

static int run_client(unsigned long port, unsigned long number)
{
	char byte;

	for (unsigned long i = 0; i < number; i++) {
		struct sockaddr_in address;
		int fd = make_socket(&address, port);

		if (connect(fd, (struct sockaddr *)&address, sizeof(address)) || !ask_once(fd))
			fail("bench_conns: a connection was not served");
	}
	dprintf(3, "ready\n");
	while (read(STDIN_FILENO, &byte, 1) > 0)
		;
	return 0;
}

int main(int argc, char **argv)
{
	raise_descriptor_limit();
	if (argc == 2 && strcmp(argv[1], "server") == 0)
		run_server();
	if (argc == 4 && strcmp(argv[1], "client") == 0)
		return run_client(strtoul(argv[2], NULL, 10), strtoul(argv[3], NULL, 10));
	fprintf(stderr, "usage: bench_conns server | client PORT NUMBER\n");
	return 2;
}

/*
 * Load for an HTTP/1.1 server, in exact amounts: CONNECTIONS kept-alive connections, each with one request under way.
 * For every number read from standard input that many requests are made, and the nanoseconds that they took are
 * printed. The connections stay: so a round can be short, and rounds of several servers can alternate quickly.
 * With -c each request has a connection of its own, which the server has to close; CONNECTIONS are open at a time.
 *
 * Usage: bench_load [-c] PORT CONNECTIONS REQUEST [REQUEST...]
 * The requests are whole messages, sent in turns. Exit status 1 when any answer is not a 200.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define RESPONSE_MAX 65536
#define CONNECTIONS_MAX 1024

struct client {
	int fd;
	size_t got;
	const char *request;
	char response[RESPONSE_MAX + 1];
};

struct load {
	struct sockaddr_in address;
	int epoll_fd;
	char **requests;
	long request_count;
	long client_count;
	struct client *clients;
	long begun, done, wanted, reconnected;
	bool close; /* a connection a request: an answer ends where the server closes */
};

static void fail(const char *what)
{
	fprintf(stderr, "bench_load: %s: %s\n", what, strerror(errno));
	exit(1);
}

static uint64_t now_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

static void connect_client(struct load *load, struct client *client)
{
	struct epoll_event event = { .events = EPOLLIN, .data.ptr = client };

	client->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (client->fd < 0 || connect(client->fd, (struct sockaddr *)&load->address, sizeof(load->address)))
		fail("connect");
	setsockopt(client->fd, IPPROTO_TCP, TCP_NODELAY, &(int){ 1 }, sizeof(int));
	if (epoll_ctl(load->epoll_fd, EPOLL_CTL_ADD, client->fd, &event))
		fail("epoll_ctl");
}

/* Servers close connections that were idle for a while, as they are between two rounds. */
static void reconnect_client(struct load *load, struct client *client)
{
	if (++load->reconnected > 8 * load->client_count)
		fail("the server closes connections without an answer");
	close(client->fd);
	connect_client(load, client);
}

static void send_request(struct load *load, struct client *client)
{
	size_t length = strlen(client->request);

	client->got = 0;
	if (send(client->fd, client->request, length, MSG_NOSIGNAL) == (ssize_t)length)
		return;
	reconnect_client(load, client);
	if (send(client->fd, client->request, length, MSG_NOSIGNAL) != (ssize_t)length)
		fail("send");
}

static void begin_request(struct load *load, struct client *client)
{
	client->request = load->requests[load->begun++ % load->request_count];
	if (client->fd < 0)
		connect_client(load, client);
	send_request(load, client);
}

/* The answers are known: a chunked body that holds the bytes of its own end is not among them. */
static bool response_is_complete(const struct client *client)
{
	const char *body = strstr(client->response, "\r\n\r\n");
	const char *length;

	if (!body)
		return false;
	if (strncmp(client->response, "HTTP/1.1 200 ", 13) != 0) {
		fprintf(stderr, "bench_load: not a 200: %.200s\n", client->response);
		exit(1);
	}
	body += 4;
	length = strcasestr(client->response, "\r\ncontent-length:");
	if (length && length < body)
		return client->got >= (size_t)(body - client->response) + strtoul(length + 17, NULL, 10);
	return client->got >= 7 && memcmp(client->response + client->got - 7, "\r\n0\r\n\r\n", 7) == 0;
}

static void end_request(struct load *load, struct client *client)
{
	client->request = NULL;
	client->got = 0;
	load->done++;
	if (load->close) {
		close(client->fd);
		client->fd = -1;
	}
	if (load->begun < load->wanted)
		begin_request(load, client);
}

static void end_of_stream(struct load *load, struct client *client)
{
	if (load->close && response_is_complete(client)) {
		end_request(load, client);
		return;
	}
	if (client->got || load->close)
		fail("the server closed in the middle of an answer");
	reconnect_client(load, client);
	if (client->request)
		send_request(load, client);
}

static void receive_response(struct load *load, struct client *client)
{
	ssize_t n = recv(client->fd, client->response + client->got, RESPONSE_MAX - client->got, 0);

	if (n <= 0) {
		end_of_stream(load, client);
		return;
	}
	client->got += (size_t)n;
	client->response[client->got] = '\0';
	if (client->got == RESPONSE_MAX)
		fail("an answer is too long");
	if (!load->close && response_is_complete(client))
		end_request(load, client);
}

static uint64_t run_round(struct load *load, long wanted)
{
	struct epoll_event events[64];
	uint64_t start = now_ns();

	load->wanted = wanted;
	load->begun = load->done = load->reconnected = 0;
	for (long i = 0; i < load->client_count && load->begun < wanted; i++)
		begin_request(load, &load->clients[i]);
	while (load->done < wanted) {
		int count = epoll_wait(load->epoll_fd, events, 64, 30000);

		if (count == 0)
			errno = ETIMEDOUT;
		if (count <= 0)
			fail("epoll_wait");
		for (int i = 0; i < count; i++)
			receive_response(load, events[i].data.ptr);
	}
	return now_ns() - start;
}

int main(int argc, char **argv)
{
	struct load load = { .address.sin_family = AF_INET };
	char line[64];

	if (argc > 1 && strcmp(argv[1], "-c") == 0) {
		load.close = true;
		argv++;
		argc--;
	}
	if (argc < 4 || (load.client_count = strtol(argv[2], NULL, 10)) < 1 || load.client_count > CONNECTIONS_MAX) {
		fprintf(stderr, "usage: bench_load [-c] PORT CONNECTIONS REQUEST [REQUEST...]\n");
		return 2;
	}
	load.address.sin_port = htons((uint16_t)strtol(argv[1], NULL, 10));
	load.address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	load.requests = argv + 3;
	load.request_count = argc - 3;
	load.epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	load.clients = calloc((size_t)load.client_count, sizeof(*load.clients));
	if (load.epoll_fd < 0 || !load.clients)
		fail("start");
	for (long i = 0; i < load.client_count; i++) {
		load.clients[i].fd = -1;
		if (!load.close)
			connect_client(&load, &load.clients[i]);
	}
	while (fgets(line, sizeof(line), stdin)) {
		printf("%llu\n", (unsigned long long)run_round(&load, strtol(line, NULL, 10)));
		fflush(stdout);
	}
	return 0;
}

/*
 * Load for an HTTP/1.1 server, in exact amounts: CONNECTIONS kept-alive connections, each with one request under way.
 * For every number read from standard input that many requests are made, and the nanoseconds that they took are
 * printed. The connections stay: so a round can be short, and rounds of several servers can alternate quickly.
 * With -c each request has a connection of its own, which the server has to close; CONNECTIONS are open at a time. With -s
 * they are inside TLS; no certificate is looked at.
 *
 * Usage: bench_load [-c] [-s] PORT CONNECTIONS REQUEST [REQUEST...]
 * The requests are whole messages, sent in turns. Exit status 1 when any answer is not a 200.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <openssl/ssl.h>
#include <signal.h>
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
	SSL *ssl; /* NULL: plain */
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
	SSL_CTX *tls; /* NULL: plain */
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
	if (load->tls) {
		client->ssl = SSL_new(load->tls);
		if (!client->ssl || SSL_set_fd(client->ssl, client->fd) != 1 || SSL_connect(client->ssl) != 1)
			fail("TLS");
	}
}

static void disconnect_client(struct client *client)
{
	SSL_free(client->ssl);
	client->ssl = NULL;
	close(client->fd);
	client->fd = -1;
}

static bool send_all(const struct client *client, const char *bytes, size_t length)
{
	if (client->ssl)
		return SSL_write(client->ssl, bytes, (int)length) == (int)length;
	return send(client->fd, bytes, length, MSG_NOSIGNAL) == (ssize_t)length;
}

/* -1 and EAGAIN: there was none of the answer in what came (a session ticket). */
static ssize_t receive(const struct client *client, char *to, size_t room)
{
	int n;

	if (!client->ssl)
		return recv(client->fd, to, room, 0);
	n = SSL_read(client->ssl, to, (int)room);
	if (n <= 0)
		errno = SSL_get_error(client->ssl, n) == SSL_ERROR_WANT_READ ? EAGAIN : ECONNRESET;
	return n > 0 ? n : -1;
}

/* Servers close connections that were idle for a while, as they are between two rounds. */
static void reconnect_client(struct load *load, struct client *client)
{
	if (++load->reconnected > 8 * load->client_count)
		fail("the server closes connections without an answer");
	disconnect_client(client);
	connect_client(load, client);
}

static void send_request(struct load *load, struct client *client)
{
	size_t length = strlen(client->request);

	client->got = 0;
	if (send_all(client, client->request, length))
		return;
	reconnect_client(load, client);
	if (!send_all(client, client->request, length))
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
	if (load->close)
		disconnect_client(client);
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
	ssize_t n = receive(client, client->response + client->got, RESPONSE_MAX - client->got);

	if (n < 0 && client->ssl && errno == EAGAIN)
		return;
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
		for (int i = 0; i < count; i++) {
			struct client *client = events[i].data.ptr;

			do
				receive_response(load, client);
			while (client->ssl && SSL_pending(client->ssl) > 0);
		}
	}
	return now_ns() - start;
}

int main(int argc, char **argv)
{
	struct load load = { .address.sin_family = AF_INET };
	char line[64];

	for (; argc > 1 && argv[1][0] == '-'; argv++, argc--) {
		load.close |= strcmp(argv[1], "-c") == 0;
		if (strcmp(argv[1], "-s") == 0 && !load.tls) {
			load.tls = SSL_CTX_new(TLS_client_method());
			if (!load.tls)
				fail("TLS");
			SSL_CTX_clear_mode(load.tls, SSL_MODE_AUTO_RETRY);
		}
	}
	if (argc < 4 || (load.client_count = strtol(argv[2], NULL, 10)) < 1 || load.client_count > CONNECTIONS_MAX) {
		fprintf(stderr, "usage: bench_load [-c] [-s] PORT CONNECTIONS REQUEST [REQUEST...]\n");
		return 2;
	}
	signal(SIGPIPE, SIG_IGN); /* libssl writes as it likes */
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

/*
 * A plain HTTP/1.1 server, as somebody would write it who never heard of tracing: one thread a connection, blocking
 * sockets, printf to a block-buffered stdout. It is the last service of the demo, and a guest of the benchmarks.
 *
 * GET <anything>?n=NUMBER is answered with {"n":NUMBER,"in_stock":...}; both lines that it logs for a request contain the
 * request's number, so that whoever reads the log can count without trusting any id. Keep-alive until the peer closes.
 *
 * Ends on SIGTERM by returning from main, which flushes stdout: the handler only shuts the listener down, so that accept
 * fails, and no signal can fall between a check and the wait.
 *
 * Usage: demo_server PORT [MILLISECONDS to work on each request, default 2]
 */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define HEAD_MAX 8192

static int listener = -1;
static long work_ms = 2;

/* What one connection has sent and was not answered yet. */
struct input {
	size_t len;
	char bytes[HEAD_MAX + 1];
};

static void stop_listening(int signal_number)
{
	(void)signal_number;
	shutdown(listener, SHUT_RDWR);
}

static bool send_all(int fd, const char *bytes, size_t len)
{
	while (len > 0) {
		ssize_t n = send(fd, bytes, len, MSG_NOSIGNAL);

		if (n < 0)
			return false;
		bytes += n;
		len -= (size_t)n;
	}
	return true;
}

/* Read until a whole head is there. Returns its length, or 0 when the connection ends or the head is too long. */
static size_t read_head(int fd, struct input *in)
{
	for (;;) {
		char *end;
		ssize_t n;

		in->bytes[in->len] = '\0';
		end = strstr(in->bytes, "\r\n\r\n");
		if (end)
			return (size_t)(end - in->bytes) + 4;
		if (in->len == HEAD_MAX)
			return 0;
		n = recv(fd, in->bytes + in->len, HEAD_MAX - in->len, 0);
		if (n <= 0)
			return 0;
		in->len += (size_t)n;
	}
}

/* The number after "?n=" or "&n=" in the request line, or -1. */
static long request_number(const char *head)
{
	const char *line_end = strstr(head, "\r\n");

	for (const char *at = head; at < line_end; at++) {
		if ((at[0] == '?' || at[0] == '&') && at[1] == 'n' && at[2] == '=')
			return strtol(at + 3, NULL, 10);
	}
	return -1;
}

static void work(void)
{
	struct timespec pause = { work_ms / 1000, work_ms % 1000 * 1000000 };

	if (work_ms > 0)
		nanosleep(&pause, NULL);
}

static bool answer(int fd, const char *head)
{
	char body[64], response[256];
	long number = request_number(head);
	int body_len, len;

	printf("request %ld: looking up the stock\n", number);
	work();
	printf("request %ld: %ld pieces in stock\n", number, number % 7);
	body_len = snprintf(body, sizeof(body), "{\"n\":%ld,\"in_stock\":%ld}\n", number, number % 7);
	len = snprintf(response, sizeof(response),
	               "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s", body_len,
	               body);
	return send_all(fd, response, (size_t)len);
}

static void *serve_connection(void *arg)
{
	int fd = (int)(intptr_t)arg;
	struct input *in = calloc(1, sizeof(*in));
	size_t head;

	while (in && (head = read_head(fd, in)) > 0) {
		if (!answer(fd, in->bytes))
			break;
		in->len -= head;
		memmove(in->bytes, in->bytes + head, in->len);
	}
	free(in);
	close(fd);
	return NULL;
}

static int listen_on(uint16_t port)
{
	struct sockaddr_in address = { .sin_family = AF_INET, .sin_port = htons(port) };
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), on = 1;

	address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
	if (bind(fd, (struct sockaddr *)&address, sizeof(address)) || listen(fd, 1024)) {
		perror("demo_server: cannot listen");
		exit(1);
	}
	return fd;
}

static void start_thread(int fd, const pthread_attr_t *attr)
{
	pthread_t thread;
	int on = 1;

	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
	if (pthread_create(&thread, attr, serve_connection, (void *)(intptr_t)fd)) {
		fprintf(stderr, "demo_server: no thread for a connection\n");
		close(fd);
	}
}

int main(int argc, char **argv)
{
	struct sigaction term = { .sa_handler = stop_listening };
	pthread_attr_t attr;

	if (argc < 2) {
		fprintf(stderr, "usage: demo_server PORT [MILLISECONDS]\n");
		return 2;
	}
	if (argc > 2)
		work_ms = strtol(argv[2], NULL, 10);
	listener = listen_on((uint16_t)strtol(argv[1], NULL, 10));
	sigaction(SIGTERM, &term, NULL);
	pthread_attr_init(&attr);
	pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
	printf("demo_server: listening on 127.0.0.1:%s\n", argv[1]);
	for (;;) {
		int fd = accept(listener, NULL, NULL);

		if (fd >= 0)
			start_thread(fd, &attr);
		else if (errno != EINTR && errno != ECONNABORTED)
			break;
	}
	printf("demo_server: no longer listening\n");
	return 0;
}

/*
 * A client and a server inside TLS over one pair of connected sockets with tiny buffers, without blocking: requests whose writes
 * are refused half-way again and again, and made again as libssl asks for it. The server checks each head and body; printed is
 * the same whether or not something was inserted. Usage: tls_torture MODE SEED, MODE of: plain, partial, moving, both, ex
 * answers and answers-ex: instead, requests that are all sent before the first is answered, and answers with the same head each,
 * which the client reads only where there is no room for more.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define REQUESTS 60
#define ROUNDS_MAX 4000000L

static bool partial, moving, extended;
static unsigned long seed;

static unsigned random_of(unsigned long *state)
{
	*state = *state * 6364136223846793005ul + 1442695040888963407ul;
	return (unsigned)(*state >> 33);
}

/* How it is sent and read: depends on what the sockets take. What is sent does not. */
static unsigned next_random(void)
{
	return random_of(&seed);
}

static void die(const char *what)
{
	fprintf(stderr, "%s: %s\n", what, strerror(errno));
	ERR_print_errors_fp(stderr);
	exit(1);
}

/* ---- what is sent ---- */

struct message {
	char *bytes;
	size_t len, head, sent;
};

static void make_request(struct message *m, int n)
{
	static const int bodies[] = { 0, 0, 1, 700, 5000, 17000, 60000 };
	unsigned long of = (unsigned long)n;
	size_t body = (size_t)bodies[random_of(&of) % 7], pad = random_of(&of) % 4 == 0 ? random_of(&of) % 9000 : 10, i;

	m->bytes = malloc(pad + body + 300);
	m->head = (size_t)sprintf(m->bytes, "POST /n=%d HTTP/1.1\r\nHost: a\r\nX-Pad: ", n);
	for (i = 0; i < pad; i++)
		m->bytes[m->head++] = 'p';
	m->head += (size_t)sprintf(m->bytes + m->head, "\r\nContent-Length: %zu\r\n\r\n", body);
	for (i = 0; i < body; i++)
		m->bytes[m->head + i] = (char)('a' + (n + (int)i) % 26);
	m->len = m->head + body;
	m->sent = 0;
}

/* One write of the rest, or of the head alone; false: to be made again. A program that may move its bytes does. */
static bool write_some(SSL *ssl, struct message *m)
{
	static size_t asked; /* of the call that is being made again */
	size_t left = m->len - m->sent, len = asked, done = 0;
	const char *from = m->bytes + m->sent;
	char *moved = NULL;
	int n;

	if (len == 0)
		len = m->sent < m->head && next_random() % 2 ? m->head - m->sent : 1 + next_random() % left;
	if (moving) {
		moved = malloc(len);
		memcpy(moved, from, len);
		from = moved;
	}
	ERR_clear_error();
	if (extended)
		n = SSL_write_ex(ssl, from, len, &done) == 1 ? (int)done : 0;
	else
		n = SSL_write(ssl, from, (int)len);
	if (n <= 0) {
		int why = SSL_get_error(ssl, n);

		if (why != SSL_ERROR_WANT_WRITE && why != SSL_ERROR_WANT_READ)
			die("write");
		asked = len;
	} else {
		if ((size_t)n > len || (!partial && (size_t)n != len)) {
			printf("wrote %d of %zu\n", n, len);
			exit(1);
		}
		asked = 0;
		m->sent += (size_t)n;
	}
	if (moved != NULL) {
		memset(moved, '!', len);
		free(moved);
	}
	return n > 0;
}

/* ---- what arrives ---- */

struct reader {
	char *bytes;
	size_t len, cap;
};

static bool read_some(SSL *ssl, struct reader *r)
{
	size_t ask = 1 + next_random() % 5000, done = 0;
	char peeked;
	int n;

	if (r->len + ask > r->cap)
		r->bytes = realloc(r->bytes, r->cap = (r->len + ask) * 2);
	ERR_clear_error();
	if (next_random() % 4 == 0)
		(void)SSL_peek(ssl, &peeked, 1);
	ERR_clear_error();
	if (extended)
		n = SSL_read_ex(ssl, r->bytes + r->len, ask, &done) == 1 ? (int)done : 0;
	else
		n = SSL_read(ssl, r->bytes + r->len, (int)ask);
	if (n > 0) {
		r->len += (size_t)n;
	} else {
		int why = SSL_get_error(ssl, n);

		if (why != SSL_ERROR_WANT_READ && why != SSL_ERROR_WANT_WRITE && why != SSL_ERROR_ZERO_RETURN)
			die("read");
	}
	return n > 0;
}

/* Is the request whole? Then it is as it was sent, but for lines of ours in front of the blank one; prints what was sent. */
static bool is_request(struct reader *r, const struct message *m, int n, int *inserted)
{
	static const char ours[] = "traceparent: 00-";
	char *end = memmem(r->bytes, r->len, "\r\n\r\n", 4);
	size_t head, blank = m->head - 2, body = m->len - m->head;

	if (end == NULL)
		return false;
	head = (size_t)(end + 4 - r->bytes);
	if (r->len < head + body)
		return false;
	if (head < m->head || r->len != head + body || memcmp(r->bytes, m->bytes, blank) != 0 ||
	    memcmp(r->bytes + head, m->bytes + m->head, body) != 0 ||
	    (head > m->head && memcmp(r->bytes + blank, ours, sizeof(ours) - 1) != 0) ||
	    (head > m->head && memmem(r->bytes + blank + 1, head - blank - 1, ours, sizeof(ours) - 1) != NULL)) {
		printf("n=%d: not what was sent: %.*s\n", n, (int)head, r->bytes);
		exit(1);
	}
	*inserted += head > m->head;
	printf("n=%d %zu %zu\n", n, m->head, m->len);
	r->len = 0;
	return true;
}

/* ---- the two of them ---- */

static int pair[2];

static void connect_pair(void)
{
	struct sockaddr_in addr = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t len = sizeof(addr);
	int small = 4096, listener = socket(AF_INET, SOCK_STREAM, 0), i;

	setsockopt(listener, SOL_SOCKET, SO_RCVBUF, &small, sizeof(small));
	if (bind(listener, (struct sockaddr *)&addr, sizeof(addr)) != 0 || listen(listener, 1) != 0 ||
	    getsockname(listener, (struct sockaddr *)&addr, &len) != 0)
		die("listen");
	pair[0] = socket(AF_INET, SOCK_STREAM, 0);
	setsockopt(pair[0], SOL_SOCKET, SO_SNDBUF, &small, sizeof(small));
	setsockopt(pair[0], SOL_SOCKET, SO_RCVBUF, &small, sizeof(small));
	if (connect(pair[0], (struct sockaddr *)&addr, sizeof(addr)) != 0 ||
	    (pair[1] = accept(listener, NULL, NULL)) < 0)
		die("connect");
	close(listener);
	setsockopt(pair[1], SOL_SOCKET, SO_SNDBUF, &small, sizeof(small));
	for (i = 0; i < 2; i++)
		fcntl(pair[i], F_SETFL, O_NONBLOCK);
}

static SSL *session(const SSL_METHOD *method, int fd, const char *certificate)
{
	SSL_CTX *context = SSL_CTX_new(method);
	SSL *ssl;

	if (certificate != NULL && (SSL_CTX_use_certificate_file(context, certificate, SSL_FILETYPE_PEM) != 1 ||
	                            SSL_CTX_use_PrivateKey_file(context, certificate, SSL_FILETYPE_PEM) != 1))
		die("certificate");
	SSL_CTX_set_mode(context, (partial ? SSL_MODE_ENABLE_PARTIAL_WRITE : 0) |
	                                  (moving ? SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER : 0));
	ssl = SSL_new(context);
	SSL_set_fd(ssl, fd);
	SSL_CTX_free(context);
	return ssl;
}

static void answer(SSL *server, SSL *client)
{
	static const char text[] = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
	struct reader r = { 0 };
	long rounds = 0;

	while (SSL_write(server, text, sizeof(text) - 1) <= 0)
		if (++rounds > ROUNDS_MAX)
			die("answer");
	while (r.len < sizeof(text) - 1)
		if (!read_some(client, &r) && ++rounds > ROUNDS_MAX)
			die("no answer");
	free(r.bytes);
}

#define BODY 1500
#define ANSWER "HTTP/1.1 200 OK\r\nContent-Length: 1500\r\n\r\n"

/* All of the answers, in order and as they were written, but for a line of ours in each head; prints and counts them. */
static void check_answers(const struct reader *r, int *inserted)
{
	const char *at = r->bytes;
	int n;

	for (n = 1; n <= REQUESTS; n++) {
		size_t left = r->len - (size_t)(at - r->bytes), blank = sizeof(ANSWER) - 3, i;
		const char *end = memmem(at, left, "\r\n\r\n", 4);

		if (end == NULL || left < (size_t)(end + 4 - at) + BODY || memcmp(at, ANSWER, blank) != 0)
			die("an answer is not what was written");
		*inserted += (size_t)(end + 2 - at) > blank;
		for (i = 0; i < BODY; i++)
			if (end[4 + i] != 'a' + n % 26)
				die("a body is not what was written");
		at = end + 4 + BODY;
		printf("answer %d\n", n);
	}
	if (at != r->bytes + r->len)
		die("more than was written");
}

static void torture_answers(SSL *server, SSL *client, int *inserted)
{
	static const char request[] = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";
	static _Alignas(4096) char text[sizeof(ANSWER) + BODY] =
		ANSWER; /* on one page, as it can be looked at at once */
	size_t len = sizeof(ANSWER) - 1 + BODY, done;
	struct reader asked = { 0 }, r = { 0 };
	int n, refused = 0;

	for (n = 1; n <= REQUESTS; n++)
		while (SSL_write(client, request, sizeof(request) - 1) <= 0)
			(void)read_some(server, &asked);
	while (asked.len < REQUESTS * (sizeof(request) - 1))
		(void)read_some(server, &asked);
	for (n = 1; n <= REQUESTS; n++) {
		memset(text + sizeof(ANSWER) - 1, 'a' + n % 26, BODY);
		while (extended ? SSL_write_ex(server, text, len, &done) != 1 || done != len :
		                  SSL_write(server, text, (int)len) != (int)len) {
			refused++;
			(void)read_some(client, &r);
		}
	}
	while (SSL_shutdown(server) < 0)
		(void)read_some(client, &r);
	while (SSL_get_shutdown(client) == 0)
		(void)read_some(client, &r);
	check_answers(&r, inserted);
	printf("refused: %s\n", refused > 0 ? "yes" : "no");
	free(asked.bytes);
	free(r.bytes);
}

int main(int argc, char **argv)
{
	int n, inserted = 0;
	bool answers;
	SSL *client, *server;
	struct reader r = { 0 };
	long rounds = 0;

	if (argc != 4)
		return 2;
	partial = strcmp(argv[1], "partial") == 0 || strcmp(argv[1], "both") == 0;
	moving = strcmp(argv[1], "moving") == 0 || strcmp(argv[1], "both") == 0;
	extended = strstr(argv[1], "ex") != NULL;
	answers = strncmp(argv[1], "answers", 7) == 0;
	seed = strtoul(argv[2], NULL, 10);
	connect_pair();
	client = session(TLS_client_method(), pair[0], NULL);
	server = session(TLS_server_method(), pair[1], argv[3]);
	for (bool up = false, down = false; !up || !down;) {
		up = up || SSL_connect(client) == 1;
		down = down || SSL_accept(server) == 1;
		if (++rounds > ROUNDS_MAX)
			die("handshake");
	}
	if (answers)
		torture_answers(server, client, &inserted);
	for (n = 1; n <= REQUESTS && !answers; n++) {
		struct message m;

		make_request(&m, n);
		for (rounds = 0;; rounds++) {
			/* The reader is the slower one, so that writes are refused. */
			bool wrote = m.sent < m.len && write_some(client, &m);

			if ((!wrote || next_random() % 8 == 0) && read_some(server, &r) && m.sent == m.len &&
			    is_request(&r, &m, n, &inserted))
				break;
			if (m.sent == m.len && r.len > 0 && is_request(&r, &m, n, &inserted))
				break;
			if (rounds > ROUNDS_MAX)
				die("request");
		}
		answer(server, client);
		free(m.bytes);
	}
	fprintf(stderr, "inserted %d\n", inserted);
	SSL_shutdown(client);
	SSL_free(client);
	SSL_free(server);
	close(pair[0]);
	close(pair[1]);
	free(r.bytes);
	return 0;
}

/*
 * Sessions of OpenSSL in the states that few programs bring them into: two descriptors, memory below, several threads in turn,
 * several holders, renegotiation, early data (taken, and refused), one session for several connections, BIOs that are given one by
 * one, a session that is its own duplicate, requests that go through a BIO. A client, whose descriptors do not block, and a forked server. Printed is what the server got, without a line of ours,
 * and what the client got; on stderr how many such lines there were. Usage: tls_states CERTIFICATE STATE
 */
#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <poll.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#define TRIES_MAX 20000 /* of a millisecond */
#define REQUEST_MAX 2100000
#define LARGE_BODY 2000000 /* more than two sockets of BUFFER_LARGE take, which take more than a record */
#define BUFFER_LARGE 65536
#define BUFFER_SMALL 4096

static SSL_CTX *context;
static struct sockaddr_in address;
static int buffer = BUFFER_SMALL;
static int listener, told[2], go_on[2]; /* pipes: the server's address, and when it may read again */

static void die(const char *what)
{
	fprintf(stderr, "%s\n", what);
	ERR_print_errors_fp(stderr);
	exit(1);
}

static void try_again(void)
{
	static int tries;

	if (++tries > TRIES_MAX)
		die("too many tries");
	(void)poll(NULL, 0, 1);
}

static void start_listening(void)
{
	socklen_t len = sizeof(address);

	address = (struct sockaddr_in){ .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	listener = socket(AF_INET, SOCK_STREAM, 0);
	setsockopt(listener, SOL_SOCKET, SO_RCVBUF, &buffer, sizeof(buffer));
	if (bind(listener, (struct sockaddr *)&address, sizeof(address)) != 0 || listen(listener, 4) != 0 ||
	    getsockname(listener, (struct sockaddr *)&address, &len) != 0 ||
	    write(told[1], &address, sizeof(address)) != sizeof(address))
		die("listen");
}

/* ---- the server ---- */

static int taken(void)
{
	int fd = accept(listener, NULL, NULL);

	if (fd < 0)
		die("accept");
	return fd;
}

/* Print a request, but for lines of ours, and count these. */
static void tell(char *bytes, size_t len, int *inserted)
{
	static const char ours[] = "traceparent: 00-";
	const size_t line = sizeof(ours) - 1 + 54;
	char *at;

	while ((at = memmem(bytes, len, ours, sizeof(ours) - 1)) != NULL) {
		if ((size_t)(bytes + len - at) < line || memcmp(at + line - 2, "\r\n", 2) != 0)
			die("half a line");
		memmove(at, at + line, (size_t)(bytes + len - at) - line);
		len -= line;
		(*inserted)++;
	}
	printf("server: %.*s\n", (int)len, bytes);
	fflush(stdout);
}

static bool is_whole(const char *bytes, size_t len)
{
	return len >= 4 && memcmp(bytes + len - 4, "\r\n\r\n", 4) == 0;
}

static void respond(SSL *ssl)
{
	static const char text[] = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

	if (SSL_write(ssl, text, sizeof(text) - 1) != sizeof(text) - 1)
		die("answer");
}

/* Requests, the first of which may have come early, each answered, until the client ends. */
static void serve(SSL *ssl, char *bytes, size_t len, int *inserted)
{
	for (;;) {
		int n = 0;

		if (!is_whole(bytes, len) && (n = SSL_read(ssl, bytes + len, 16384)) <= 0)
			return;
		len += (size_t)n;
		if (!is_whole(bytes, len))
			continue;
		tell(bytes, len, inserted);
		if (memmem(bytes, len, "/leave", 6) != NULL)
			return;
		/* The client goes on with a write, and reads the request to do it again in that. */
		if (memmem(bytes, len, "/renegotiate", 12) != NULL && SSL_renegotiate(ssl) != 1)
			die("renegotiate");
		respond(ssl);
		if (memmem(bytes, len, "/pause", 6) != NULL && read(go_on[0], bytes, 1) != 1)
			die("pause");
		len = 0;
	}
}

static size_t read_early(SSL *ssl, char *bytes)
{
	size_t len = 0, done;
	int how;

	while ((how = SSL_read_early_data(ssl, bytes + len, 512, &done)) != SSL_READ_EARLY_DATA_FINISH) {
		if (how == SSL_READ_EARLY_DATA_ERROR)
			die("early data");
		len += done;
	}
	return len;
}

static void run_server(const char *certificate, const char *state)
{
	int connections = strcmp(state, "reuse") == 0                                  ? 3 :
	                  strcmp(state, "bios") == 0                                   ? 2 :
	                  strcmp(state, "early") == 0 || strcmp(state, "refused") == 0 ? 2 :
	                                                                                 1;
	char *bytes = malloc(REQUEST_MAX);
	int i, inserted = 0;

	context = SSL_CTX_new(TLS_server_method());
	if (SSL_CTX_use_certificate_file(context, certificate, SSL_FILETYPE_PEM) != 1 ||
	    SSL_CTX_use_PrivateKey_file(context, certificate, SSL_FILETYPE_PEM) != 1)
		die("certificate");
	SSL_CTX_set_options(context, SSL_OP_ALLOW_CLIENT_RENEGOTIATION);
	SSL_CTX_set_max_early_data(context, 4096);
	for (i = 0; i < connections; i++) {
		SSL *ssl = SSL_new(context);
		int fd = taken(), other = -1;
		size_t early = 0;

		SSL_set_accept_state(ssl);
		SSL_set_fd(ssl, fd);
		if (strcmp(state, "descriptors") == 0)
			SSL_set_wfd(ssl, other = taken());
		if (i == 1 && *state == 'e')
			early = read_early(ssl, bytes);
		if (strcmp(state, "implicit") != 0 && SSL_do_handshake(ssl) != 1)
			die("server's handshake");
		if (i == 1)
			printf("early: %d\n", SSL_get_early_data_status(ssl));
		serve(ssl, bytes, early, &inserted);
		SSL_shutdown(ssl);
		SSL_free(ssl);
		close(fd);
		close(other);
		if (strcmp(state, "refused") == 0)
			SSL_CTX_set_max_early_data(context, 0);
	}
	SSL_CTX_free(context);
	free(bytes);
	fprintf(stderr, "inserted %d\n", inserted);
}

/* ---- the client ---- */

static BIO *outside; /* where the session works in memory: this end of it, and the socket that it is carried to */
static int carried;

static void carry(void)
{
	char bytes[4096];
	ssize_t n;
	int len;

	while (outside != NULL && (len = BIO_read(outside, bytes, sizeof(bytes))) > 0)
		for (ssize_t done = 0; done<len; done += n> 0 ? n : 0)
			if ((n = send(carried, bytes + done, (size_t)(len - done), 0)) < 0)
				try_again();
	while (outside != NULL && (n = recv(carried, bytes,
	                                    (size_t)BIO_ctrl_get_write_guarantee(outside) < sizeof(bytes) ?
	                                            BIO_ctrl_get_write_guarantee(outside) :
	                                            sizeof(bytes),
	                                    0)) > 0)
		BIO_write(outside, bytes, (int)n);
}

/* What was refused is made again; anything else is none of that. */
static void go_round(const SSL *ssl)
{
	int why = SSL_get_error(ssl, -1);

	if (why != SSL_ERROR_WANT_READ && why != SSL_ERROR_WANT_WRITE) {
		printf("error %d: %s\n", why, ERR_reason_error_string(ERR_peek_error()));
		exit(1);
	}
	if (outside != NULL)
		carry();
	else
		try_again();
}

static int connected(void)
{
	int fd = socket(AF_INET, SOCK_STREAM, 0);

	setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &buffer, sizeof(buffer));
	if (connect(fd, (struct sockaddr *)&address, sizeof(address)) != 0)
		die("connect");
	fcntl(fd, F_SETFL, O_NONBLOCK);
	return fd;
}

static void shake_hands(SSL *ssl)
{
	while (SSL_do_handshake(ssl) != 1)
		go_round(ssl);
}

static SSL *session_on(int fd)
{
	SSL *ssl = SSL_new(context);

	SSL_set_connect_state(ssl);
	SSL_set_fd(ssl, fd);
	return ssl;
}

static size_t make_request(char *out, const char *path, size_t pad)
{
	return (size_t)sprintf(out, "GET %s HTTP/1.1\r\nHost: a\r\nX-Pad: %0*d\r\n\r\n", path, (int)pad, 7);
}

static void hear(SSL *ssl)
{
	char got[2000];
	int len = 0, n;

	while (len < 2 || memcmp(got + len - 2, "ok", 2) != 0) {
		n = SSL_read(ssl, got + len, (int)sizeof(got) - len);
		if (n <= 0)
			go_round(ssl);
		len += n > 0 ? n : 0;
	}
	printf("client: %.*s\n", len, got);
	fflush(stdout);
}

static void exchange(SSL *ssl, const char *path, size_t pad)
{
	char *bytes = malloc(pad + 200);
	size_t len = make_request(bytes, path, pad);

	while (SSL_write(ssl, bytes, (int)len) <= 0)
		go_round(ssl);
	carry();
	hear(ssl);
	free(bytes);
}

static void end(SSL *ssl, int fd)
{
	SSL_shutdown(ssl);
	carry();
	SSL_free(ssl);
	close(fd);
}

static void two_descriptors(void)
{
	int up = connected(), down = connected();
	SSL *ssl = session_on(down);

	SSL_set_wfd(ssl, up);
	shake_hands(ssl);
	exchange(ssl, "/1", 1);
	exchange(ssl, "/2", 20000);
	end(ssl, up);
	close(down);
}

static void memory(void)
{
	SSL *ssl = SSL_new(context);
	BIO *inside;

	carried = connected();
	BIO_new_bio_pair(&inside, 0, &outside, 0);
	SSL_set_connect_state(ssl);
	SSL_set_bio(ssl, inside, inside);
	shake_hands(ssl);
	exchange(ssl, "/1", 1);
	exchange(ssl, "/2", 20000);
	end(ssl, carried);
	BIO_free(outside);
}

static void *take_turn(void *ssl)
{
	exchange(ssl, "/1", 1);
	exchange(ssl, "/2", 30000);
	return NULL;
}

static void threads(void)
{
	int i, fd = connected();
	SSL *ssl = session_on(fd);

	shake_hands(ssl);
	for (i = 0; i < 4; i++) {
		pthread_t thread;

		pthread_create(&thread, NULL, take_turn, ssl);
		pthread_join(thread, NULL);
	}
	end(ssl, fd);
}

/* One of two holders lets go in the midst of a write. */
static void holders(void)
{
	char *bytes = malloc(REQUEST_MAX);
	size_t len = (size_t)sprintf(bytes, "POST /2 HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n%0*d\r\n\r\n",
	                             LARGE_BODY, LARGE_BODY - 4, 7);
	int fd = connected();
	SSL *ssl = session_on(fd);

	shake_hands(ssl);
	exchange(ssl, "/pause", 1);
	SSL_up_ref(ssl);
	if (SSL_write(ssl, bytes, (int)len) > 0)
		die("nothing was refused");
	SSL_free(ssl);
	if (write(go_on[1], "", 1) != 1)
		die("go on");
	while (SSL_write(ssl, bytes, (int)len) <= 0)
		go_round(ssl);
	hear(ssl);
	exchange(ssl, "/3", 1);
	end(ssl, fd);
	free(bytes);
}

static void renegotiation(void)
{
	int fd = connected();
	SSL *ssl;

	SSL_CTX_set_max_proto_version(context, TLS1_2_VERSION);
	ssl = session_on(fd);
	shake_hands(ssl);
	exchange(ssl, "/1", 1);
	if (SSL_renegotiate(ssl) != 1)
		die("renegotiate");
	exchange(ssl, "/2", 20000);
	exchange(ssl, "/renegotiate", 1);
	exchange(ssl, "/4", 20000);
	printf("renegotiated: %ld\n", SSL_num_renegotiations(ssl));
	end(ssl, fd);
}

static void reuse(void)
{
	int i, fd = connected();
	SSL *ssl = session_on(fd);

	for (i = 0; i < 3; i++) {
		if (i > 0) {
			close(fd);
			if (SSL_clear(ssl) != 1)
				die("clear");
			SSL_set_fd(ssl, fd = connected());
		}
		shake_hands(ssl);
		exchange(ssl, "/1", 1);
		SSL_shutdown(ssl);
	}
	SSL_free(ssl);
	close(fd);
}

/* SSL_dup of a session at work is that session, once more: who lets go of it in the midst of a body ends nothing. */
static void duplicate(void)
{
	static const char first[] = "POST /2 HTTP/1.1\r\nHost: a\r\nContent-Length: 40\r\n\r\nhalf";
	static const char second[] = "GET /a HTTP/1.1\r\nHost: in a body\r\n\r\n";
	int fd = connected();
	SSL *ssl = session_on(fd);

	shake_hands(ssl);
	exchange(ssl, "/1", 1);
	if (SSL_dup(ssl) != ssl)
		die("another one");
	while (SSL_write(ssl, first, sizeof(first) - 1) <= 0)
		go_round(ssl);
	SSL_free(ssl);
	while (SSL_write(ssl, second, sizeof(second) - 1) <= 0)
		go_round(ssl);
	hear(ssl);
	exchange(ssl, "/3", 1);
	end(ssl, fd);
}

static void give_bios(SSL *ssl, int fd)
{
	BIO *bio = BIO_new_socket(fd, BIO_NOCLOSE);

	BIO_up_ref(bio);
	SSL_set0_rbio(ssl, bio);
	SSL_set0_wbio(ssl, bio);
}

/* The first connection's answer never comes, and its descriptor stays open; the duplicate of a session that was not used is another one. */
static void one_by_one(void)
{
	SSL *like = SSL_new(context), *ssl;
	int fd = connected(), next;
	char bytes[400];
	int len = (int)make_request(bytes, "/leave", 1);

	SSL_set_connect_state(like);
	ssl = SSL_dup(like);
	if (ssl == like)
		die("the same one");
	SSL_free(like);
	give_bios(ssl, fd);
	shake_hands(ssl);
	exchange(ssl, "/1", 1);
	while (SSL_write(ssl, bytes, len) <= 0)
		go_round(ssl);
	SSL_shutdown(ssl);
	give_bios(ssl, next = connected());
	SSL_set_connect_state(ssl);
	exchange(ssl, "/3", 1);
	exchange(ssl, "/4", 1);
	end(ssl, next);
	close(fd);
}

/* No call for the handshake: the first write and the first read do it. */
static void implicit(void)
{
	int fd = connected();
	SSL *ssl = session_on(fd);

	exchange(ssl, "/1", 1);
	exchange(ssl, "/2", 1);
	end(ssl, fd);
}

static SSL_SESSION *ticket;

static int keep_ticket(SSL *ssl, SSL_SESSION *session)
{
	(void)ssl;
	SSL_SESSION_free(ticket);
	ticket = session;
	return 1;
}

static void early(void)
{
	char bytes[400];
	size_t len = make_request(bytes, "/early", 1), done = 0;
	int fd = connected();
	SSL *ssl;

	SSL_CTX_set_session_cache_mode(context, SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL);
	SSL_CTX_sess_set_new_cb(context, keep_ticket);
	ssl = session_on(fd);
	shake_hands(ssl);
	exchange(ssl, "/1", 1);
	end(ssl, fd);
	if (ticket == NULL || SSL_SESSION_get_max_early_data(ticket) == 0)
		die("no ticket");
	ssl = session_on(fd = connected());
	SSL_set_session(ssl, ticket);
	while (SSL_write_early_data(ssl, bytes, len, &done) != 1)
		go_round(ssl);
	shake_hands(ssl);
	if (SSL_get_early_data_status(ssl) == SSL_EARLY_DATA_ACCEPTED)
		hear(ssl);
	else
		exchange(ssl, "/early", 1);
	exchange(ssl, "/3", 1);
	end(ssl, fd);
	SSL_SESSION_free(ticket);
}

static void by_bio(void)
{
	BIO *bio = BIO_new(BIO_f_ssl());
	int n, fd = connected();
	SSL *ssl = session_on(fd);
	char bytes[400];

	shake_hands(ssl);
	BIO_set_ssl(bio, ssl, BIO_NOCLOSE);
	for (n = 1; n <= 3; n++) {
		int len = (int)make_request(bytes, "/bio", (size_t)n);

		while (BIO_write(bio, bytes, len) != len)
			go_round(ssl);
		hear(ssl);
	}
	BIO_free(bio);
	end(ssl, fd);
}

static const struct {
	const char *name;
	void (*run)(void);
} states[] = {
	{ "descriptors", two_descriptors },
	{ "memory", memory },
	{ "threads", threads },
	{ "holders", holders },
	{ "reuse", reuse },
	{ "duplicate", duplicate },
	{ "bios", one_by_one },
	{ "renegotiation", renegotiation },
	{ "early", early },
	{ "refused", early },
	{ "bio", by_bio },
	{ "implicit", implicit },
};

int main(int argc, char **argv)
{
	int status = 1;
	size_t i;
	pid_t pid;

	if (argc != 3)
		return 2;
	if (strcmp(argv[2], "holders") == 0)
		buffer = BUFFER_LARGE;
	/* Who listens is a server, whose calls need a request. */
	pid = pipe(told) == 0 && pipe(go_on) == 0 ? fork() : -1;
	if (pid == 0) {
		close(go_on[1]);
		start_listening();
		run_server(argv[1], argv[2]);
		return 0;
	}
	if (read(told[0], &address, sizeof(address)) != sizeof(address))
		die("no server");
	context = SSL_CTX_new(TLS_client_method());
	for (i = 0; i < sizeof(states) / sizeof(states[0]); i++)
		if (strcmp(argv[2], states[i].name) == 0)
			states[i].run();
	SSL_CTX_free(context);
	return waitpid(pid, &status, 0) == pid && status == 0 ? 0 : 1;
}

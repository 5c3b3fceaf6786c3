/*
 * A program that comes through whatever its calls answer: `torture_faults CASE DIR`, with tests/preload/libs/fault.c beneath. It tries
 * again what failed, and goes on with what is left: so what it prints and sends is the same, whichever call failed.
 */
#include "torture.h"

#pragma weak fault_arm
#pragma weak fault_calls
void fault_arm(long at, long error);
long fault_calls(void);

#define TRIES 10000

/* What failed is tried again. */
#define AGAIN(call)                                                                                                    \
	({                                                                                                             \
		long again_result;                                                                                     \
		int again_tries = TRIES;                                                                               \
		while ((again_result = (call)) < 0 && --again_tries > 0)                                               \
			;                                                                                              \
		must(again_result >= 0, #call);                                                                        \
		again_result;                                                                                          \
	})

static size_t count_of(long n, size_t len)
{
	must(n > 0 && (size_t)n <= len, "a count between one and all");
	return (size_t)n;
}

enum way { BY_WRITE, BY_SEND, BY_WRITEV, BY_SENDMSG, WAYS };

static long put_some(int fd, enum way way, const char *bytes, size_t len)
{
	struct iovec pieces[3] = { { (char *)(uintptr_t)bytes, len / 2 },
		                   { NULL, 0 },
		                   { (char *)(uintptr_t)bytes + len / 2, len - len / 2 } };
	struct msghdr msg = { .msg_iov = pieces, .msg_iovlen = 3 };

	switch (way) {
	case BY_WRITE: return write(fd, bytes, len);
	case BY_SEND: return send(fd, bytes, len, MSG_NOSIGNAL);
	case BY_WRITEV: return writev(fd, pieces, 3);
	default: return sendmsg(fd, &msg, MSG_NOSIGNAL);
	}
}

static void put(int fd, enum way way, const char *bytes, size_t len)
{
	while (len > 0) {
		size_t n = count_of(AGAIN(put_some(fd, way, bytes, len)), len);

		bytes += n;
		len -= n;
	}
}

static void get(int fd, size_t len, bool vectors, bool by_read)
{
	char room[200];

	while (len > 0) {
		struct iovec pieces[2] = { { room, 3 }, { room + 3, 100 } };
		size_t most = len < 100 ? len : 100;

		pieces[1].iov_len = most > 3 ? most - 3 : 0;
		len -= count_of(vectors && most > 3     ? AGAIN(readv(fd, pieces, 2)) :
		                by_read || len % 2 == 0 ? AGAIN(read(fd, room, most)) :
		                                          AGAIN(recv(fd, room, most, 0)),
		                len);
	}
}

static void dial(enum way way, int number)
{
	char head[200];
	struct wire wire = { 0 };
	struct sockaddr_in addr;
	int listener = torture_listen(&addr), len;

	wire.fd = (int)AGAIN(socket(AF_INET, SOCK_STREAM, 0));
	AGAIN(connect(wire.fd, (struct sockaddr *)&addr, sizeof(addr)));
	wire.peer = (int)raw(SYS_accept, listener, 0, 0);
	raw(SYS_close, listener, 0, 0);
	len = snprintf(head, sizeof(head), "POST /%d HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\nbody", number);
	put(wire.fd, way, head, (size_t)len);
	put(wire.fd, way, HEAD, 20);
	put(wire.fd, way, HEAD + 20, sizeof(HEAD) - 21);
	peer_send(&wire, ANSWER, sizeof(ANSWER) - 1);
	get(wire.fd, sizeof(ANSWER) - 1, way == BY_WRITEV, false);
	put(wire.fd, way, HEAD HEAD, 2 * sizeof(HEAD) - 2);
	shutdown(wire.fd, SHUT_WR);
	wire_note("dialled", &wire, 4);
	close(wire.fd);
}

static void serve(enum way way, int number)
{
	struct sockaddr_in addr = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t size = sizeof(addr);
	int listener = (int)AGAIN(socket(AF_INET, SOCK_STREAM, 0)), copy;
	struct wire wire = { 0 };
	char answer[200];

	must(bind(listener, (struct sockaddr *)&addr, size) == 0, "bind");
	AGAIN(listen(listener, 8));
	must(getsockname(listener, (struct sockaddr *)&addr, &size) == 0, "getsockname");
	wire.peer = (int)raw(SYS_socket, AF_INET, SOCK_STREAM, 0);
	must(raw(SYS_connect, wire.peer, &addr, sizeof(addr)) == 0, "connect");
	peer_send(&wire, HEAD HEAD, 2 * sizeof(HEAD) - 2);
	wire.fd = (int)AGAIN(accept(listener, NULL, NULL));
	get(wire.fd, sizeof(HEAD) - 1, way == BY_WRITEV, false);
	copy = (int)AGAIN(dup(wire.fd));
	close(wire.fd);
	wire.fd = copy;
	snprintf(answer, sizeof(answer), "HTTP/1.1 200 OK\r\nX-Number: %d\r\nContent-Length: 3\r\n\r\nok\n", number);
	put(wire.fd, way, answer, strlen(answer));
	get(wire.fd, sizeof(HEAD) - 1, way == BY_WRITEV, false);
	put(wire.fd, way, ANSWER, sizeof(ANSWER) - 1);
	shutdown(wire.fd, SHUT_WR);
	wire_note("served", &wire, 2);
	close(wire.fd);
	close(listener);
}

static void talk(int number)
{
	char line[300], path[600];
	int len = snprintf(line, sizeof(line), "line %d, written at once\nand another\n", number), log, fds[2];

	put(1, BY_WRITE, line, (size_t)len);
	put(2, BY_WRITEV, line, (size_t)len);
	put(1, BY_WRITE, "half", 4);
	put(1, BY_WRITEV, " a line\n", 8);
	snprintf(path, sizeof(path), "%s/app.log", torture_dir);
	log = (int)AGAIN(open(path, O_WRONLY | O_CREAT | O_APPEND, 0600));
	put(log, BY_WRITE, line, (size_t)len);
	put(log, BY_WRITEV, "without an end", 14);
	put(log, BY_WRITE, "\n", 1);
	close(log);
	AGAIN(pipe(fds));
	put(fds[1], BY_WRITE, line, 5);
	get(fds[0], 5, false, true);
	close(fds[0]);
	close(fds[1]);
}

/* More calls than a round has, with us in between or not. */
#define CALLS_MAX 120

static void each_call(void (*scenario)(enum way way, int number), long error)
{
	long n, used = 0;

	must(fault_arm != NULL, "fault.so beneath");
	for (n = 1; n <= CALLS_MAX; n++) {
		fault_arm(n, error);
		scenario((enum way)(n % WAYS), (int)n);
		used = fault_calls();
		if (n == 1)
			must(used > 0, "a call that fails");
		fault_arm(0, 0);
	}
	must(used < CALLS_MAX || error < 0, "a round in which no call fails");
}

static void talking(enum way way, int number)
{
	(void)way;
	talk(number);
}

static void every_call_fails(void)
{
	static const long errors[] = { EAGAIN, EINTR, EPIPE, ENOMEM, 0, -1 };
	size_t i;

	signal(SIGPIPE, SIG_IGN);
	for (i = 0; i < sizeof(errors) / sizeof(errors[0]); i++) {
		each_call(talking, errors[i]);
		each_call(dial, errors[i]);
	}
	for (i = 0; i < sizeof(errors) / sizeof(errors[0]); i++)
		each_call(serve, errors[i]);
	fault_arm(0, 0);
	trail("came through");
}

static const struct torture_case cases[] = {
	{ "every_call_fails", every_call_fails },
};

int main(int argc, char **argv)
{
	return torture_main(argc, argv, cases, sizeof(cases) / sizeof(cases[0]));
}

/*
 * A client that sends HTTP in every way there is: `inject_guest PORT CASE`. Each message, or file of messages, has a
 * connection of its own; for each it prints what the calls returned and how many heads in it may be added to. The peer
 * reads until the end and closes.
 */
#include <arpa/inet.h>
#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/uio.h>
#include <unistd.h>

#define HEAD "GET /path?q=1 HTTP/1.1\r\nHost: a.example\r\nAccept: */*\r\n\r\n"

static struct sockaddr_in peer = { .sin_family = AF_INET };

static int dial(void)
{
	int fd = socket(AF_INET, SOCK_STREAM, 0);

	if (fd < 0 || connect(fd, (struct sockaddr *)&peer, sizeof(peer)) != 0)
		err(1, "connect");
	return fd;
}

static void hang_up(int fd, const char *name, int heads)
{
	char room[256];

	fcntl(fd, F_SETFL, 0);
	shutdown(fd, SHUT_WR);
	while (read(fd, room, sizeof(room)) > 0)
		;
	close(fd);
	printf("%s: heads %d\n", name, heads);
}

/* ---- ways to send ---- */

static ssize_t by_write(int fd, const char *bytes, size_t len)
{
	return write(fd, bytes, len);
}

static ssize_t by_send(int fd, const char *bytes, size_t len)
{
	return send(fd, bytes, len, MSG_NOSIGNAL);
}

static ssize_t by_send_more(int fd, const char *bytes, size_t len)
{
	return send(fd, bytes, len, len == 1 && *bytes == '\n' ? 0 : MSG_MORE);
}

static ssize_t by_sendto(int fd, const char *bytes, size_t len)
{
	return sendto(fd, bytes, len, 0, NULL, 0);
}

static int cut(struct iovec *iov, int count, const char *bytes, size_t len)
{
	int i;

	for (i = 0; i < count; i++) {
		size_t from = len * (size_t)i / (size_t)count, to = len * (size_t)(i + 1) / (size_t)count;

		iov[i] = (struct iovec){ (char *)(uintptr_t)bytes + from, to - from };
	}
	return count;
}

static ssize_t by_writev(int fd, const char *bytes, size_t len)
{
	struct iovec iov[3];

	return writev(fd, iov, cut(iov, 3, bytes, len));
}

static ssize_t by_sendmsg(int fd, const char *bytes, size_t len)
{
	struct iovec iov[3];
	struct msghdr msg = { .msg_iov = iov };

	msg.msg_iovlen = (size_t)cut(iov, 3, bytes, len);
	return sendmsg(fd, &msg, MSG_NOSIGNAL);
}

static ssize_t by_sendmmsg(int fd, const char *bytes, size_t len)
{
	struct iovec iov[2];
	struct mmsghdr msgs[2] = { 0 };
	int n;

	if (len == 1)
		return by_sendmsg(fd, bytes, len);
	cut(iov, 2, bytes, len);
	msgs[0].msg_hdr = (struct msghdr){ .msg_iov = &iov[0], .msg_iovlen = 1 };
	msgs[1].msg_hdr = (struct msghdr){ .msg_iov = &iov[1], .msg_iovlen = 1 };
	n = sendmmsg(fd, msgs, 2, 0);
	return n < 0 ? -1 : (ssize_t)msgs[0].msg_len + (n == 2 ? (ssize_t)msgs[1].msg_len : 0);
}

static ssize_t (*const ways[])(int fd, const char *bytes, size_t len) = { by_write,   by_send,   by_send_more,
	                                                                  by_sendto,  by_writev, by_sendmsg,
	                                                                  by_sendmmsg };
#define WAYS (sizeof(ways) / sizeof(ways[0]))

/* Until all is out. A count of nothing, or of more than was given, is a lie. */
static void all(ssize_t (*send_by)(int, const char *, size_t), int fd, const char *bytes, size_t len)
{
	while (len > 0) {
		ssize_t n = send_by(fd, bytes, len);

		if (n < 0 && (errno == EAGAIN || errno == EINTR)) {
			struct pollfd ready = { fd, POLLOUT, 0 };

			poll(&ready, 1, 1000);
			continue;
		}
		if (n <= 0 || (size_t)n > len)
			errx(1, "%zd of %zu: %s", n, len, strerrorname_np(errno));
		bytes += n;
		len -= (size_t)n;
	}
}

/* ---- cases ---- */

static void bytewise(void)
{
	size_t w, i;

	for (w = 0; w < WAYS; w++) {
		int fd = dial();

		for (i = 0; i < sizeof(HEAD) - 1; i++)
			printf("%zd", ways[w](fd, HEAD + i, 1));
		hang_up(fd, " bytewise", 1);
	}
}

static void two_parts(void)
{
	size_t w, at;

	for (w = 0; w < WAYS; w++) {
		for (at = 0; at < sizeof(HEAD) - 1; at++) {
			int fd = dial();

			printf("%zd ", at == 0 ? 0 : ways[w](fd, HEAD, at));
			printf("%zd", ways[w](fd, HEAD + at, sizeof(HEAD) - 1 - at));
			hang_up(fd, " two parts", 1);
		}
	}
}

static void vectors(void)
{
	int n;

	for (n = 1; n <= 40; n++) {
		struct iovec iov[41];
		struct msghdr msg = { .msg_iov = iov, .msg_iovlen = (size_t)n + 1 };
		int fd = dial();

		cut(iov, n, HEAD, sizeof(HEAD) - 1);
		printf("%zd ", writev(fd, iov, n));
		iov[n] = (struct iovec){ HEAD HEAD, 2 * sizeof(HEAD) - 2 };
		printf("%zd", sendmsg(fd, &msg, 0));
		hang_up(fd, " vectors", 4);
	}
}

/* long: a table */
static void messages(void)
{
	static const struct {
		const char *text;
		int heads;
	} cases[] = {
		{ HEAD HEAD HEAD, 3 },
		{ "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 46\r\n\r\nGET / HTTP/1.1\r\nHost: b\r\n\r\nHTTP/1.1 200 OK\r\n\r\n\r\n" HEAD,
		  2 },
		{ "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n1c\r\nGET / HTTP/1.1\r\nHost: b\r\n\r\nx\r\n"
		  "0\r\nTrailer: 1\r\n\r\n" HEAD,
		  2 },
		{ "HEAD / HTTP/1.0\r\n\r\n", 1 },
		{ "GET http://a/ HTTP/1.1\r\nHost: a\r\nProxy-Connection: close\r\n\r\n", 1 },
		{ "OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n", 1 },
		{ "PROPFIND /dav HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n", 1 },
		{ "POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 4\r\n\r\nbody", 1 },
		/* Of the program's own. */
		{ "GET / HTTP/1.1\r\nHost: a\r\nTraceParent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01\r\n\r\n",
		  0 },
		{ "GET / HTTP/1.1\r\nHost: a\r\nb3: 0\r\n\r\n", 0 },
		{ "GET / HTTP/1.1\r\nHost: a\r\nX-B3-TraceId: 0af7651916cd43dd8448eb211c80319c\r\n\r\n", 0 },
		{ "GET / HTTP/1.1\r\nHost: a\r\nuber-trace-id: 1:2:0:1\r\n\r\n", 0 },
		{ HEAD "GET / HTTP/1.1\r\ntraceparent: x\r\nHost: a\r\n\r\n" HEAD, 2 },
		/* No HTTP, or HTTP that two readers could read in two ways. */
		{ "GET / HTTP/1.1\nHost: a\n\n", 0 },
		{ "GET / HTTP/1.1\r\nHost: a\r\nX: a\rb\r\n\r\n", 0 },
		{ "GET / HTTP/1.1\r\nHost: a\r\n folded\r\n\r\n", 0 },
		{ "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 0 },
		{ "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab", 0 },
		{ "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: -1\r\n\r\n", 0 },
		{ "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 0 },
		{ "EHLO client\r\nMAIL FROM:<a@b>\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n", 0 },
		{ "*1\r\n$4\r\nPING\r\n\r\n\r\n", 0 },
		{ "GET key\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n", 0 },
		{ "\x16\x03\x01\x02\x01\x01\xfc\x03\x03 GET / HTTP/1.1\r\nHost: a\r\n\r\n", 0 },
		{ "\x01\x01\x01\x01\x01\x01\x01\x01GET / HTTP/1.1\r\nHost: a\r\n\r\n", 0 },
		{ "0032git-upload-pack /a\r\n\r\n" HEAD, 0 },
		{ "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n" HEAD, 0 },
		/* Tunnels: the request that asks for one is HTTP, what follows is not. */
		{ "CONNECT a:443 HTTP/1.1\r\nHost: a:443\r\n\r\n" HEAD, -1 },
		{ "GET /ws HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n", -1 },
	};
	size_t i, w;

	for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		for (w = 0; w < WAYS; w++) {
			int fd = dial();

			printf("%zd", ways[w](fd, cases[i].text, strlen(cases[i].text)));
			hang_up(fd, " message", cases[i].heads);
		}
		if (cases[i].heads >= 0) {
			const char *at;
			int fd = dial();

			for (at = cases[i].text; *at != '\0'; at++)
				all(by_write, fd, at, 1);
			hang_up(fd, "message, bytewise", cases[i].heads);
		}
	}
}

static void streams(void)
{
	int fd = dial(), i;
	FILE *stream = fdopen(dup(fd), "r+");

	fprintf(stream, "GET /%s HTTP/1.1\r\n", "path");
	fprintf(stream, "Host: %s\r\n\r\n", "a");
	printf("%d", fflush(stream));
	printf("%d", dprintf(fd, "GET /%d HTTP/1.1\r\nHost: a\r\n", 2));
	printf("%d", dprintf(fd, "\r\n"));
	setvbuf(stream, NULL, _IONBF, 0);
	fprintf(stream, "GET /%s HTTP/1.1\r\nHost: %s\r\n\r\n", "path", "b");
	for (i = 0; i < 10; i++)
		fprintf(stream, "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\n%05d", i);
	printf("%d", fclose(stream));
	hang_up(fd, " streams", 13);
}

static void corked(void)
{
	int fd = dial(), on = 1, off = 0;

	setsockopt(fd, IPPROTO_TCP, TCP_CORK, &on, sizeof(on));
	all(by_write, fd, HEAD, 20);
	all(by_write, fd, HEAD + 20, sizeof(HEAD) - 21);
	setsockopt(fd, IPPROTO_TCP, TCP_CORK, &off, sizeof(off));
	hang_up(fd, "corked", 1);
}

/* More than one can want to read: passed on as it is. */
static void long_heads(void)
{
	static char text[400000];
	size_t i, len = (size_t)sprintf(text, "GET / HTTP/1.1\r\nHost: a\r\nCookie: ");
	int fd = dial();

	memset(text + len, 'c', 300000);
	strcpy(text + len + 300000, "\r\n\r\n");
	all(by_write, fd, text, strlen(text));
	hang_up(fd, "long head", -1);
	len = (size_t)sprintf(text, "GET / HTTP/1.1\r\nHost: a\r\n");
	for (i = 0; i < 10000; i++)
		len += (size_t)sprintf(text + len, "X-Header-%zu: value %zu\r\n", i, i);
	strcpy(text + len, "\r\n");
	fd = dial();
	all(by_send, fd, text, strlen(text));
	hang_up(fd, "many headers", -1);
}

/* What the kernel takes, it takes in its own pieces: those of a small buffer whose reader is slow. */
static void small_buffer(void)
{
	static char body[120000];
	size_t w, i;

	memset(body, 'b', sizeof(body));
	for (w = 0; w < WAYS; w++) {
		int size = 1, fd = dial();
		char head[128];

		setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &size, sizeof(size));
		fcntl(fd, F_SETFL, O_NONBLOCK);
		sprintf(head, "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: %zu\r\n\r\n", sizeof(body));
		for (i = 0; i < 4; i++) {
			all(ways[w], fd, head, strlen(head));
			all(ways[w], fd, body, sizeof(body));
		}
		hang_up(fd, "small buffer", 4);
	}
}

/* Calls that are one and stay one. */
static void undivided(void)
{
	static const char head[] = HEAD;
	struct iovec iov = { (char *)(uintptr_t)head, sizeof(head) - 1 };
	struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1 };
	int fd = dial(), on = 1;

	printf("%zd", send(fd, head, sizeof(head) - 1, MSG_OOB));
	hang_up(fd, " urgent", 0);
	fd = dial();
	printf("%d ", setsockopt(fd, SOL_SOCKET, SO_ZEROCOPY, &on, sizeof(on)));
	printf("%zd", sendmsg(fd, &msg, MSG_ZEROCOPY));
	printf("%zd", send(fd, head, sizeof(head) - 1, 0));
	hang_up(fd, " read later", -1);
}

static void log_tick(int signal)
{
	static int ticks;
	int saved = errno;

	(void)signal;
	dprintf(2, "tick %d\n", ticks++);
	errno = saved;
}

static void signals(void)
{
	struct sigaction action = { .sa_handler = log_tick, .sa_flags = SA_RESTART };
	struct itimerval timer = { { 0, 100 }, { 0, 100 } };
	size_t w;
	int i;

	sigaction(SIGALRM, &action, NULL);
	setitimer(ITIMER_REAL, &timer, NULL);
	for (i = 0; i < 40; i++) {
		for (w = 0; w < WAYS; w++) {
			int fd = dial();

			all(ways[w], fd, HEAD, 30);
			all(ways[w], fd, HEAD + 30, sizeof(HEAD) - 31);
			hang_up(fd, "among signals", 1);
		}
	}
	timer = (struct itimerval){ { 0, 0 }, { 0, 0 } };
	setitimer(ITIMER_REAL, &timer, NULL);
}

/* Whatever the calls return, the peer gets it all. For use above a library that takes few bytes. */
static void stubborn(void)
{
	static const char text[] = HEAD "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc" HEAD;
	size_t w, at;

	for (w = 0; w < WAYS; w++) {
		for (at = 1; at < sizeof(text) - 1; at += 13) {
			int fd = dial();

			all(ways[w], fd, text, at);
			all(ways[w], fd, text + at, sizeof(text) - 1 - at);
			hang_up(fd, "stubborn", 3);
		}
	}
}

int main(int argc, char **argv)
{
	static const struct {
		const char *name;
		void (*run)(void);
	} cases[] = {
#define CASE(name) { #name, name }
		CASE(bytewise),   CASE(two_parts),    CASE(vectors),   CASE(messages), CASE(streams),  CASE(corked),
		CASE(long_heads), CASE(small_buffer), CASE(undivided), CASE(signals),  CASE(stubborn),
	};
	size_t i;

	signal(SIGPIPE, SIG_IGN);
	peer.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	peer.sin_port = htons((uint16_t)atoi(argc > 2 ? argv[1] : "0"));
	for (i = 0; argc > 2 && i < sizeof(cases) / sizeof(cases[0]); i++) {
		if (strcmp(cases[i].name, argv[2]) == 0) {
			cases[i].run();
			return 0;
		}
	}
	errx(2, "no such case");
}

/*
 * Descriptors and messages: `torture_bytes CASE DIR`. Each case leaves a trail of what its calls returned, and what its peers got.
 */
#include "torture.h"

#include <linux/errqueue.h>
#include <netinet/tcp.h>
#include <sys/epoll.h>
#include <sys/sendfile.h>

#define LOG_LINE "a line of a log\n"

/* ---- copies in mid-head ---- */

static void send_half(int fd, size_t from, size_t to)
{
	TRY(write(fd, HEAD + from, to - from));
}

static void dup_in_head(void)
{
	static const size_t cuts[] = { 1, 3, 16, 22, 30, sizeof(HEAD) - 5, sizeof(HEAD) - 3, sizeof(HEAD) - 2 };
	size_t i, end = sizeof(HEAD) - 1;
	int how;

	for (i = 0; i < sizeof(cuts) / sizeof(cuts[0]); i++) {
		for (how = 0; how < 5; how++) {
			struct wire wire = wire_dial(), other = wire_dial();
			int copy;

			send_half(wire.fd, 0, cuts[i]);
			switch (how) {
			case 0: copy = dup(wire.fd); break;
			case 1: copy = dup2(wire.fd, 60); break;
			case 2: copy = dup3(wire.fd, 61, O_CLOEXEC); break;
			case 3: copy = fcntl(wire.fd, F_DUPFD, 62); break;
			default: /* another connection's number, in the midst of its head */
				send_half(other.fd, 0, 10);
				copy = dup2(wire.fd, other.fd);
				other.fd = -1;
				break;
			}
			trail("copy %d", copy);
			TRY(close(wire.fd));
			send_half(copy, cuts[i], end);
			TRY(send(copy, HEAD, end, 0));
			wire.fd = copy;
			wire_end("dup_in_head", &wire, 2);
			if (other.fd >= 0)
				send_half(other.fd, 0, end);
			wire_end("other", &other, other.fd >= 0 ? 1 : 0);
		}
	}
}

/* ---- numbers that are used again at once ---- */

static void close_by(int how, int fd)
{
	FILE *stream;

	switch (how) {
	case 0: TRY(close(fd)); break;
	case 1: TRY(syscall(SYS_close, fd)); break;
	case 2: TRY(close_range((unsigned)fd, (unsigned)fd, 0)); break;
	case 3: TRY(syscall(SYS_close_range, fd, fd, 0)); break;
	case 4:
		stream = fdopen(fd, "w");
		TRY(fclose(stream));
		break;
	case 5: TRY(syscall(SYS_dup2, open("/dev/null", O_WRONLY), fd)); break;
	case 6: /* nobody can see it, but for the number that comes back */
		trail("raw %ld", raw(SYS_close, fd, 0, 0));
		break;
	default: TRY(close_range((unsigned)fd, 650, 0)); break;
	}
}
#define CLOSES 8

/* Half a head on a connection; then its number is something else, and the half that it gets is no head's. */
static void reused_number(void)
{
	size_t half = 24, end = sizeof(HEAD) - 1;
	int how, fds[2];
	char path[600], room[200];

	snprintf(path, sizeof(path), "%s/data", torture_dir);
	for (how = 0; how < CLOSES; how++) {
		struct wire wire = wire_dial(), next;
		int fd = wire.fd;

		send_half(fd, 0, half);
		close_by(how, fd);
		if (how != 5)
			TRY(open(path, O_RDWR | O_CREAT | O_TRUNC, 0600));
		else
			TRY(dup2(open(path, O_RDWR | O_CREAT | O_TRUNC, 0600), fd));
		send_half(fd, half, end);
		TRY(pread(fd, room, sizeof(room), 0));
		close_by(how, fd);
		if (how != 6) { /* socketpair is a birth like any other */
			TRY(socketpair(AF_UNIX, SOCK_STREAM, 0, fds));
			send_half(fds[0], half, end);
			TRY(recv(fds[1], room, sizeof(room), 0));
			close(fds[0]);
			close(fds[1]);
		}
		next = wire_dial();
		trail("number %d", next.fd);
		TRY(writev(next.fd, &(struct iovec){ HEAD, end }, 1));
		wire_note("half", &wire, 0);
		wire_end("next", &next, 1);
		closefrom(3);
	}
}

static void logs_come_and_go(void)
{
	char path[600], data[600];
	int how, log;

	snprintf(path, sizeof(path), "%s/app.log", torture_dir);
	snprintf(data, sizeof(data), "%s/data", torture_dir);
	for (how = 0; how < CLOSES; how++) {
		int fd = open(path, O_WRONLY | O_CREAT | O_APPEND, 0600);

		trail("number %d", fd);
		TRY(write(fd, LOG_LINE, sizeof(LOG_LINE) - 1));
		TRY(write(fd, LOG_LINE LOG_LINE, 2 * sizeof(LOG_LINE) - 2));
		close_by(how, fd);
		if (how != 5)
			TRY(open(data, O_RDWR | O_CREAT | O_APPEND, 0600));
		else
			TRY(dup2(open(data, O_RDWR | O_CREAT | O_APPEND, 0600), fd));
		TRY(write(fd, LOG_LINE, sizeof(LOG_LINE) - 1));
		TRY(lseek(fd, 0, SEEK_END));
		TRY(dprintf(1, "to stdout %d\n", how));
		TRY(log = dup(1));
		TRY(dup2(log, fd));
		TRY(dprintf(fd, "by a copy %d\n", how));
		closefrom(3);
	}
}

/* Descriptors that the program opens by the hundred thousand. */
static void high_numbers(void)
{
	struct rlimit limit;
	int i, high[3];

	must(getrlimit(RLIMIT_NOFILE, &limit) == 0, "getrlimit");
	limit.rlim_cur = limit.rlim_max;
	TRY(setrlimit(RLIMIT_NOFILE, &limit));
	high[0] = limit.rlim_max > 100000 ? 100000 : (int)limit.rlim_max / 2;
	high[1] = (int)limit.rlim_max - 1;
	high[2] =
		limit.rlim_max > 1048576 ? 1048576 : (int)limit.rlim_max - 2; /* behind what the kernel's default has */
	for (i = 0; i < 3; i++) {
		struct wire wire = wire_dial(), served = wire_serve();
		char room[200];

		send_half(wire.fd, 0, 20);
		TRY(dup2(wire.fd, high[i]));
		close(wire.fd);
		wire.fd = high[i];
		send_half(wire.fd, 20, sizeof(HEAD) - 1);
		TRY(dprintf(wire.fd, "%s", HEAD));
		wire_end("high", &wire, -1);
		TRY(dup3(1, high[i], O_CLOEXEC));
		TRY(dprintf(high[i], "a line by descriptor %d\n", i));
		TRY(write(high[i], "another\n", 8));
		TRY(syscall(SYS_close, high[i]));
		TRY(dup2(served.fd, high[i]));
		close(served.fd);
		served.fd = high[i];
		peer_send(&served, HEAD, sizeof(HEAD) - 1);
		TRY(read(served.fd, room, sizeof(room)));
		TRY(write(served.fd, ANSWER, sizeof(ANSWER) - 1));
		wire_end("high served", &served, -1);
		TRY(close(high[i]));
	}
	TRY(close_range(100000, ~0u, 0));
	closefrom(99999);
}

/* ---- what another thread does to a number meanwhile ---- */

struct swap {
	int fd, instead;
	struct wire *wire;
	char room[4096];
};

static bool is_blocked(pid_t tid)
{
	char path[64], text[64] = { 0 };
	int fd;

	snprintf(path, sizeof(path), "/proc/self/task/%d/syscall", tid);
	fd = (int)raw(SYS_open, path, O_RDONLY, 0);
	raw(SYS_read, fd, text, sizeof(text) - 1);
	raw(SYS_close, fd, 0, 0);
	return strncmp(text, "running", 7) != 0;
}

static void *swap_under(void *arg)
{
	struct swap *swap = arg;
	long n;

	while (!is_blocked(getpid()))
		sched_yield();
	TRY(dup2(swap->instead, swap->fd));
	peer_send(swap->wire, HEAD, sizeof(HEAD) - 1);
	/* Whoever blocks in a write is let go on. */
	n = raw(SYS_fcntl, swap->wire->peer, F_DUPFD_CLOEXEC, 800);
	(void)n;
	return NULL;
}

static void swapped_meanwhile(void)
{
	int kind;

	for (kind = 0; kind < 3; kind++) {
		struct wire wire = wire_serve(), other = wire_dial();
		struct swap swap = { .fd = wire.fd, .wire = &wire };
		int fds[2], kept;
		pthread_t thread;
		char room[300];

		must(pipe(fds) == 0, "pipe");
		kept = dup(wire.fd); /* so that its end is not the peer's reset */
		swap.instead = kind == 0 ? fds[1] : kind == 1 ? dup(1) : other.fd;
		pthread_create(&thread, NULL, swap_under, &swap);
		TRY(read(wire.fd, room, sizeof(room)));
		pthread_join(thread, NULL);
		/* What was a connection is a pipe, a log, another connection. */
		if (kind == 2)
			TRY(write(wire.fd, HEAD, sizeof(HEAD) - 1));
		else
			TRY(write(wire.fd, "what now\n", 9));
		if (kind == 0)
			TRY(read(fds[0], room, sizeof(room)));
		TRY(write(kept, ANSWER, sizeof(ANSWER) - 1));
		shutdown(kept, SHUT_WR);
		wire_note("swapped", &wire, -1);
		close(kept);
		if (kind == 2)
			close(wire.fd);
		wire_end("other", &other, kind == 2 ? 1 : 0);
		close(wire.fd);
		closefrom(3);
	}
}

/* ---- messages ---- */

static void *drain(void *arg)
{
	const struct wire *wire = arg;

	wire_note("zerocopy", wire, -1);
	return NULL;
}

static void zerocopy(void)
{
	static char body[100000];
	struct wire wire = wire_dial();
	char control[200], room[10], head[100];
	struct iovec iov = { room, sizeof(room) };
	struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1 };
	struct pollfd ready = { wire.fd, 0, 0 };
	pthread_t thread;
	int on = 1, i;

	pthread_create(&thread, NULL, drain, &wire);
	memset(body, 'z', sizeof(body));
	TRY(setsockopt(wire.fd, SOL_SOCKET, SO_ZEROCOPY, &on, sizeof(on)));
	for (i = 0; i < 3; i++) {
		snprintf(head, sizeof(head), "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: %zu\r\n\r\n", sizeof(body));
		TRY(send(wire.fd, head, strlen(head), i == 1 ? MSG_ZEROCOPY : 0));
		TRY(send(wire.fd, body, sizeof(body), MSG_ZEROCOPY));
	}
	for (i = 0; i < 4;) {
		struct sock_extended_err *err;
		long n;

		msg.msg_control = control;
		msg.msg_controllen = sizeof(control);
		poll(&ready, 1, -1);
		n = recvmsg(wire.fd, &msg, MSG_ERRQUEUE);
		if (n < 0)
			continue;
		err = (struct sock_extended_err *)(void *)CMSG_DATA(CMSG_FIRSTHDR(&msg));
		i += (int)(err->ee_data - err->ee_info) + 1;
	}
	trail("notified of %d", i);
	shutdown(wire.fd, SHUT_WR);
	pthread_join(thread, NULL);
	close(wire.fd);
}

/* long: a list of calls */
static void receive_in_every_way(bool serve)
{
	char room[600];
	struct iovec iov[2] = { { room, 5 }, { room + 100, 400 } };
	struct msghdr msg = { .msg_iov = iov, .msg_iovlen = 2 };
	struct mmsghdr msgs[2] = { { .msg_hdr = msg } };
	int round;

	for (round = 0; round < 3; round++) {
		struct wire wire = serve ? wire_serve() : wire_dial();
		const char *text = serve ? HEAD : ANSWER;
		size_t len = strlen(text);

		if (!serve)
			TRY(write(wire.fd, HEAD, sizeof(HEAD) - 1));
		peer_send(&wire, text, len);
		switch (round) {
		case 0: /* looked at, thrown away, then the rest is read */
			TRY(recv(wire.fd, room, sizeof(room), MSG_PEEK));
			TRY(recv(wire.fd, room, 3, MSG_PEEK | MSG_DONTWAIT));
			TRY(recvmsg(wire.fd, &msg, MSG_PEEK));
			TRY(recv(wire.fd, NULL, 4, MSG_TRUNC | MSG_PEEK));
			TRY(recv(wire.fd, NULL, 4, MSG_TRUNC));
			TRY(recv(wire.fd, (void *)8, len - 4, MSG_TRUNC));
			break;
		case 1: /* urgent bytes are not of the stream */
			TRY(recv(wire.fd, room, 5, MSG_WAITALL));
			must(raw6(SYS_sendto, wire.peer, (long)"!", 1, MSG_OOB, 0, 0) == 1, "urgent byte");
			TRY(poll(&(struct pollfd){ wire.fd, POLLPRI, 0 }, 1, -1));
			TRY(recv(wire.fd, room, 1, MSG_OOB));
			trail("urgent %c", room[0]);
			TRY(recv(wire.fd, room, 1, MSG_OOB));
			TRY(recv(wire.fd, room, len - 5, MSG_WAITALL));
			trail("%.5s", room);
			break;
		default:
			TRY(recv(wire.fd, room, 0, 0));
			TRY(readv(wire.fd, iov, 1));
			TRY(recvmmsg(wire.fd, msgs, 1, MSG_DONTWAIT, NULL));
			trail("len %u", msgs[0].msg_len);
			TRY(recvfrom(wire.fd, room, 5, MSG_DONTWAIT, NULL, NULL));
			TRY(recvmsg(wire.fd, &(struct msghdr){ 0 }, MSG_ERRQUEUE));
			break;
		}
		TRY(write(wire.fd, serve ? ANSWER : HEAD, serve ? sizeof(ANSWER) - 1 : sizeof(HEAD) - 1));
		/* What nobody saw makes the connection one that passes through. */
		wire_end("received", &wire, (serve ? 1 : 2) - (round == 0));
	}
}

/* What is read goes to where it was said where it goes. */
static void receives_over_vectors(void)
{
	struct {
		struct msghdr msg;
		struct iovec iov[2];
		char room[400];
	} all;
	int round;

	for (round = 0; round < 4; round++) {
		struct wire wire = wire_serve();

		memset(&all, 0, sizeof(all));
		all.iov[0] = (struct iovec){ round % 2 == 0 ? (void *)&all.iov : (void *)&all, 40 };
		all.iov[1] = (struct iovec){ all.room, sizeof(all.room) };
		all.msg.msg_iov = all.iov;
		all.msg.msg_iovlen = 2;
		peer_send(&wire, HEAD, sizeof(HEAD) - 1);
		if (round < 2)
			TRY(recvmsg(wire.fd, &all.msg, 0));
		else
			TRY(readv(wire.fd, all.iov, 2));
		trail("%.5s", all.room);
		TRY(write(wire.fd, ANSWER, sizeof(ANSWER) - 1));
		/* It passes through, but for the one whose vectors stay. */
		wire_end("over vectors", &wire, round == 3);
	}
}

static void receives_requests(void)
{
	receive_in_every_way(true);
}

static void receives_answers(void)
{
	receive_in_every_way(false);
}

static void sends(void)
{
	struct iovec iov = { HEAD, sizeof(HEAD) - 1 };
	struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1 };
	static const int flags[] = { MSG_MORE,      MSG_DONTWAIT, MSG_NOSIGNAL, MSG_DONTWAIT | MSG_MORE,
		                     MSG_OOB,       MSG_EOR,      MSG_CONFIRM,  MSG_PEEK,
		                     MSG_DONTROUTE, MSG_WAITALL,  MSG_FASTOPEN };
	int on = 1;
	size_t i;

	for (i = 0; i < sizeof(flags) / sizeof(flags[0]); i++) {
		struct wire wire = wire_dial();

		raw6(SYS_setsockopt, wire.peer, SOL_SOCKET, SO_OOBINLINE, (long)&on, sizeof(on), 0);
		TRY(send(wire.fd, HEAD, 10, flags[i]));
		TRY(send(wire.fd, HEAD + 10, sizeof(HEAD) - 11, flags[i]));
		TRY(sendmsg(wire.fd, &msg, flags[i]));
		TRY(sendto(wire.fd, HEAD, sizeof(HEAD) - 1, flags[i], NULL, 0));
		TRY(send(wire.fd, HEAD, 0, flags[i]));
		TRY(send(wire.fd, HEAD, sizeof(HEAD) - 1, 0));
		wire_end("flags", &wire, -1);
	}
	TRY(send(1, "to no socket\n", 13, 0));
}

/* ---- descriptors and credentials that travel with bytes ---- */

#define RIGHTS_MAX 253 /* SCM_MAX_FD */

static char control[CMSG_SPACE(sizeof(int) * (RIGHTS_MAX + 1)) + CMSG_SPACE(sizeof(struct ucred))];

static long send_rights(int over, int count, int fd, const char *text)
{
	struct iovec iov = { (char *)(uintptr_t)text, strlen(text) };
	struct msghdr msg = { .msg_iov = &iov,
		              .msg_iovlen = 1,
		              .msg_control = control,
		              .msg_controllen = CMSG_SPACE(sizeof(int) * (size_t)count) };
	struct cmsghdr *c = CMSG_FIRSTHDR(&msg);
	int i;

	memset(control, 0, sizeof(control));
	c->cmsg_level = SOL_SOCKET;
	c->cmsg_type = SCM_RIGHTS;
	c->cmsg_len = CMSG_LEN(sizeof(int) * (size_t)count);
	for (i = 0; i < count; i++)
		memcpy(CMSG_DATA(c) + (size_t)i * sizeof(int), &fd, sizeof(fd));
	return sendmsg(over, &msg, MSG_NOSIGNAL);
}

/* Returns the last descriptor that came. */
static int receive_rights(int from, size_t room, int flags)
{
	char bytes[200];
	struct iovec iov = { bytes, sizeof(bytes) };
	struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1, .msg_control = control, .msg_controllen = room };
	struct cmsghdr *c;
	int last = -1;

	TRY(recvmsg(from, &msg, flags));
	trail("flags %#x, control %zu", (unsigned)msg.msg_flags, (size_t)msg.msg_controllen);
	for (c = CMSG_FIRSTHDR(&msg); c != NULL; c = CMSG_NXTHDR(&msg, c)) {
		trail("control message %d of %zu bytes", c->cmsg_type, (size_t)c->cmsg_len);
		if (c->cmsg_type == SCM_RIGHTS && c->cmsg_len >= CMSG_LEN(sizeof(int)))
			memcpy(&last, (char *)c + c->cmsg_len - sizeof(int), sizeof(int));
	}
	trail("last descriptor %d", last);
	return last;
}

static void ancillary(void)
{
	static const size_t rooms[] = { 0, 8, CMSG_LEN(0), CMSG_LEN(4), CMSG_SPACE(4), CMSG_LEN(40), sizeof(control) };
	int pair[2], on = 1, last;
	struct wire wire;
	size_t i;

	must(socketpair(AF_UNIX, SOCK_STREAM, 0, pair) == 0, "socketpair");
	for (i = 0; i < sizeof(rooms) / sizeof(rooms[0]); i++) {
		TRY(send_rights(pair[0], RIGHTS_MAX, 1, HEAD));
		last = receive_rights(pair[1], rooms[i], i % 2 == 0 ? 0 : MSG_CMSG_CLOEXEC);
		TRY(dprintf(last, "by a descriptor that came, %zu\n", i));
		close_range(20, 600, 0);
	}
	TRY(send_rights(pair[0], RIGHTS_MAX + 1, 1, HEAD));
	TRY(send_rights(pair[0], 1, 999, HEAD));
	/* A connection that is handed over in mid-head, and looked at before it is taken. */
	wire = wire_dial();
	TRY(write(wire.fd, HEAD, 20));
	TRY(send_rights(pair[0], 1, wire.fd, "take it"));
	TRY(close(wire.fd));
	last = receive_rights(pair[1], CMSG_SPACE(4), MSG_PEEK);
	TRY(close(last));
	wire.fd = receive_rights(pair[1], CMSG_SPACE(4), 0);
	TRY(write(wire.fd, HEAD + 20, sizeof(HEAD) - 21));
	wire_end("handed over", &wire, -1);
	TRY(setsockopt(pair[1], SOL_SOCKET, SO_PASSCRED, &on, sizeof(on)));
	TRY(send_rights(pair[0], 2, 2, HEAD));
	last = receive_rights(pair[1], sizeof(control), 0);
	TRY(dprintf(last, "and with credentials\n"));
	TRY(write(pair[0], HEAD, sizeof(HEAD) - 1));
	receive_rights(pair[1], CMSG_LEN(4), 0);
}

/* ---- answers to several requests at once, of which the client has not waited for the first ---- */

static void answers_to_nobody(void)
{
	static const char asked[] = HEAD HEAD, answers[] = ANSWER ANSWER;
	struct pollfd end = { .events = POLLRDHUP };
	struct wire wire = wire_serve();
	char room[512];

	signal(SIGPIPE, SIG_IGN);
	peer_send(&wire, asked, sizeof(asked) - 1);
	TRY(read(wire.fd, room, sizeof(room)));
	raw(SYS_close, wire.peer, 0, 0);
	end.fd = wire.fd;
	must(raw(SYS_poll, &end, 1, 10000) == 1, "the client's end");
	TRY(write(wire.fd, answers, sizeof(answers) - 1));
	TRY(write(wire.fd, answers, sizeof(answers) - 1));
	TRY(close(wire.fd));
}

/* ---- messages that a stream still has when it is closed ---- */

static void closed_streams(void)
{
	struct wire wire = wire_serve();
	char room[512];
	FILE *stream;
	int i;

	for (i = 0; i < 3; i++) {
		peer_send(&wire, HEAD, sizeof(HEAD) - 1);
		TRY(read(wire.fd, room, sizeof(room)));
		if (i == 1) {
			TRY(write(wire.fd, ANSWER, sizeof(ANSWER) - 1));
			continue;
		}
		stream = fdopen(dup(wire.fd), "w");
		TRY(fputs(ANSWER, stream));
		TRY(fclose(stream));
	}
	wire_end("answers", &wire, 3);
	wire = wire_dial();
	stream = fdopen(wire.fd, "w");
	TRY(fputs(HEAD, stream));
	TRY(fclose(stream));
	wire_note("call", &wire, -1);
}

/* ---- a body that another program sends, and that looks like a request ---- */

static void body_by_another(void)
{
	static const char head[] =
		"POST /upload HTTP/1.1\r\nHost: a.example\r\nContent-Type: message/http\r\nContent-Length: 54\r\n\r\n";
	struct wire wire = wire_dial();
	char command[600];
	FILE *body;

	snprintf(command, sizeof(command), "%s/body", torture_dir);
	body = fopen(command, "w");
	must(body != NULL && fwrite(HEAD, 1, sizeof(HEAD) - 1, body) == sizeof(HEAD) - 1 && fclose(body) == 0,
	     "a body");
	TRY(write(wire.fd, head, sizeof(head) - 1));
	snprintf(command, sizeof(command), "cat '%s/body' >&%d", torture_dir, wire.fd);
	TRY(system(command));
	wire_end("upload", &wire, 1);
}

static const struct torture_case cases[] = {
	{ "dup_in_head", dup_in_head },
	{ "reused_number", reused_number },
	{ "logs_come_and_go", logs_come_and_go },
	{ "high_numbers", high_numbers },
	{ "swapped_meanwhile", swapped_meanwhile },
	{ "zerocopy", zerocopy },
	{ "receives_requests", receives_requests },
	{ "receives_answers", receives_answers },
	{ "receives_over_vectors", receives_over_vectors },
	{ "sends", sends },
	{ "ancillary", ancillary },
	{ "answers_to_nobody", answers_to_nobody },
	{ "closed_streams", closed_streams },
	{ "body_by_another", body_by_another },
};

int main(int argc, char **argv)
{
	return torture_main(argc, argv, cases, sizeof(cases) / sizeof(cases[0]));
}

/*
 * Calls with arguments that are none: `torture_calls CASE DIR`. Pointers to nothing, to pages that may not be read, and to the last
 * bytes of one that may; vectors without pieces and with more than there may be; messages with descriptors.
 */
#include "torture.h"

#include <spawn.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/select.h>
#include <sys/sendfile.h>
#include <sys/un.h>

#define PIECES_MAX 1025

static char *edge; /* the end of a page that may be read; the next one may not */

static void make_edge(void)
{
	edge = mmap(NULL, 3 * 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	must(edge != MAP_FAILED, "mmap");
	edge += 4096;
	memset(edge - 4096, 'e', 4096);
	must(mprotect(edge, 4096, PROT_NONE) == 0, "mprotect");
}

/* ---- descriptors of every kind ---- */

enum { LOG, STDOUT, DIALLED, SERVED, LISTENER, PIPE_IN, PIPE_OUT, DATA, SOCKET, PAIR, CLOSED, KINDS };

static const char *const kind_names[] = { "log",      "stdout", "dialled", "served", "listener", "pipe in",
	                                  "pipe out", "data",   "socket",  "pair",   "closed" };

static struct wire dialled, served;
static int fds[KINDS];

static void open_all(bool serve)
{
	char path[600];
	int pair[2];

	snprintf(path, sizeof(path), "%s/app.log", torture_dir);
	fds[LOG] = open(path, O_RDWR | O_CREAT | O_APPEND, 0600);
	fds[STDOUT] = 1;
	snprintf(path, sizeof(path), "%s/data", torture_dir);
	fds[DATA] = open(path, O_RDWR | O_CREAT, 0600);
	dialled = wire_dial();
	fds[DIALLED] = dialled.fd;
	fds[SERVED] = fds[CLOSED] = -1;
	if (serve) {
		served = wire_serve();
		fds[SERVED] = served.fd;
	}
	must(pipe(pair) == 0, "pipe");
	fds[PIPE_IN] = pair[0];
	fds[PIPE_OUT] = pair[1];
	must(socketpair(AF_UNIX, SOCK_STREAM, 0, pair) == 0, "socketpair");
	fds[PAIR] = pair[0];
	fds[SOCKET] = socket(AF_INET, SOCK_STREAM, 0);
	fds[LISTENER] = socket(AF_INET, SOCK_STREAM, 0);
	if (serve)
		listen(fds[LISTENER], 1);
}

/* What they carry after all that is what they would have carried without it. */
static void close_all(int heads)
{
	TRY(dprintf(fds[LOG], "a line of %d\n", 1));
	TRY(write(1, "the end\n", 8));
	TRY(write(dialled.fd, HEAD, sizeof(HEAD) - 1));
	wire_end("dialled", &dialled, heads);
	if (fds[SERVED] >= 0) {
		TRY(write(served.fd, ANSWER, sizeof(ANSWER) - 1));
		wire_end("served", &served, -1);
	}
	closefrom(3);
}

/* ---- pointers ---- */

/* Through a variable, or the compiler sees what is wrong with them. */
static void *volatile wild[12];
static int wild_count;

static void make_wild(void)
{
	make_edge();
	wild[0] = NULL;
	wild[1] = (void *)1;
	wild[2] = (void *)65535;
	wild[3] = (void *)65536;
	wild[4] = (void *)0x123456;
	wild[5] = edge;
	wild[6] = edge + 100;
	wild[7] = (void *)0x800000000000;
	wild[8] = (void *)0xffffffff80000000;
	wild[9] = (void *)-1;
	wild[10] = (void *)-4096;
	wild_count = 11;
}

static void send_wild(int fd, void *bad, size_t len)
{
	struct iovec piece = { bad, len }, pieces[3] = { { HEAD, 0 }, { bad, len }, { bad, 1 } };
	struct msghdr msg = { .msg_iov = &piece, .msg_iovlen = 1 }, lost = { .msg_iov = bad, .msg_iovlen = 2 };
	struct mmsghdr msgs[2] = { { .msg_hdr = msg }, { .msg_hdr = msg } };

	TRY(write(fd, bad, len));
	TRY(writev(fd, &piece, 1));
	TRY(writev(fd, pieces, 3));
	TRY(writev(fd, bad, 3));
	TRY(send(fd, bad, len, MSG_NOSIGNAL));
	TRY(sendto(fd, bad, len, MSG_NOSIGNAL, NULL, 0));
	TRY(sendto(fd, "x", 0, MSG_NOSIGNAL, bad, 16));
	TRY(sendmsg(fd, &msg, MSG_NOSIGNAL));
	TRY(sendmsg(fd, &lost, MSG_NOSIGNAL));
	TRY(sendmsg(fd, bad, MSG_NOSIGNAL));
	TRY(sendmmsg(fd, msgs, 2, MSG_NOSIGNAL));
	TRY(sendmmsg(fd, bad, 2, MSG_NOSIGNAL));
	if (bad == NULL) /* which is an offset; but a log refuses such copies */
		return;
	TRY(sendfile(fd, fds[DATA], bad, 1));
	TRY(splice(fds[PIPE_IN], bad, fd, NULL, 1, SPLICE_F_NONBLOCK));
	TRY(splice(fds[DATA], bad, fd, NULL, 1, SPLICE_F_NONBLOCK));
}

static void receive_wild(int fd, void *bad, size_t len)
{
	struct iovec piece = { bad, len };
	struct msghdr msg = { .msg_iov = &piece, .msg_iovlen = 1 }, lost = { .msg_iov = bad, .msg_iovlen = 2 };
	struct mmsghdr msgs[1] = { { .msg_hdr = msg } };
	socklen_t room = 4;

	fcntl(fd, F_SETFL, O_NONBLOCK);
	TRY(read(fd, bad, len));
	TRY(readv(fd, &piece, 1));
	TRY(readv(fd, bad, 2));
	TRY(recv(fd, bad, len, MSG_DONTWAIT));
	TRY(recv(fd, bad, len, MSG_DONTWAIT | MSG_PEEK));
	TRY(recvfrom(fd, bad, len, MSG_DONTWAIT, bad, &room));
	TRY(recvmsg(fd, &msg, MSG_DONTWAIT));
	TRY(recvmsg(fd, &lost, MSG_DONTWAIT));
	TRY(recvmsg(fd, bad, MSG_DONTWAIT));
	TRY(recvmmsg(fd, msgs, 1, MSG_DONTWAIT, NULL));
	TRY(recvmmsg(fd, bad, 1, MSG_DONTWAIT, NULL));
	TRY(accept(fd, bad, bad));
	TRY(connect(fd, bad, 16));
	TRY(getsockopt(fd, SOL_SOCKET, SO_ERROR, bad, &room));
	TRY(ioctl(fd, FIONBIO, bad));
	TRY(fcntl(fd, F_GETLK, bad));
	fcntl(fd, F_SETFL, 0);
}

static void wild_bytes(bool serve)
{
	static const size_t lens[] = { 1, 16, 100, 5000, 70000, 1u << 30 };
	int kind, at;
	size_t i;

	signal(SIGPIPE, SIG_IGN);
	make_wild();
	open_all(serve);
	for (kind = 0; kind < KINDS; kind++) {
		trail("--- %s", kind_names[kind]);
		for (at = 0; at < wild_count; at++) {
			/* A half-open socket's first send may wait for ever; a plain one's never does. */
			for (i = 0; i < sizeof(lens) / sizeof(lens[0]); i++)
				send_wild(fds[kind], wild[at], lens[i]);
			if (kind != SERVED && kind != DIALLED)
				receive_wild(fds[kind], wild[at], 16);
		}
	}
	/* Something to receive, and nowhere to put it. */
	peer_send(&dialled, "HTTP/1.1 ", 9);
	for (at = 0; at < wild_count; at++)
		receive_wild(fds[DIALLED], wild[at], 16);
	close_all(-1);
}

static void wild_client(void)
{
	wild_bytes(false);
}

static void wild_server(void)
{
	wild_bytes(true);
}

/* The first bytes can be read. Lines of their own, as what the kernel takes of them is no record. */
static void half_wild(void)
{
	struct iovec pieces[2] = { { HEAD, 10 }, { edge, 10 } };
	int kind;

	make_edge();
	open_all(false);
	memcpy(edge - 8, "is read\n", 8);
	pieces[1].iov_base = edge;
	for (kind = 0; kind < KINDS; kind++) {
		if (kind == LOG)
			continue;
		trail("--- %s", kind_names[kind]);
		TRY(write(fds[kind], edge - 8, 9));
		TRY(write(fds[kind], edge - 8, 5000));
		TRY(write(fds[kind], edge - 4096, 4097));
		TRY(send(fds[kind], edge - 8, 100, MSG_NOSIGNAL));
		if (kind != STDOUT)
			TRY(writev(fds[kind], pieces, 2));
	}
	setvbuf(stdout, NULL, _IONBF, 0);
	TRY(fwrite(edge - 8, 1, 5000, stdout));
	trail("error %d", ferror(stdout) != 0);
	TRY(write(dialled.fd, HEAD + 10, sizeof(HEAD) - 11));
	close_all(-1);
}

/* long: a list of calls */
static void wild_rest(void)
{
	char *const arguments[] = { (char[]){ "true" }, NULL };
	int at, epoll = epoll_create1(0), on = 1;
	struct timeval now = { 0, 0 };
	struct timespec none = { 0, 0 };
	struct epoll_event event;
	pid_t pid;

	make_wild();
	open_all(true);
	for (at = 0; at < wild_count; at++) {
		void *bad = wild[at];
		char *entries[] = { bad, NULL };

		if (bad != NULL) {
			TRY(poll(bad, 2, 0));
			TRY(ppoll(bad, 2, &none, NULL));
			TRY(select(10, bad, NULL, NULL, &now));
			TRY(select(1024, NULL, bad, NULL, &now));
			TRY(pselect(2000, bad, NULL, NULL, &none, NULL));
			TRY(epoll_pwait2(epoll, &event, 1, bad, NULL));
			TRY(execve("/bin/true", arguments, bad));
			TRY(execvpe("true", arguments, bad));
			TRY(posix_spawn(&pid, "/bin/true", NULL, NULL, arguments, bad));
			TRY(execve("/bin/true", arguments, entries));
			TRY(posix_spawn(&pid, "/bin/true", NULL, NULL, arguments, entries));
			TRY(execve("/bin/true", bad, NULL));
		}
		TRY(poll(bad, 1u << 31, 0));
		TRY(select(-1, bad, NULL, NULL, &now));
		TRY(epoll_wait(epoll, bad, 1, 0));
		TRY(epoll_ctl(epoll, EPOLL_CTL_ADD, dialled.fd, bad));
		TRY(pipe(bad));
		TRY(pipe2(bad, 0));
		TRY(socketpair(AF_UNIX, SOCK_STREAM, 0, bad));
		TRY(open(bad, O_RDWR));
		TRY(openat(AT_FDCWD, bad, O_RDWR));
		TRY(creat(bad, 0600));
		TRY(execve(bad, arguments, environ));
		TRY(memfd_create(bad, 0));
		TRY(setsockopt(dialled.fd, SOL_SOCKET, SO_KEEPALIVE, bad, sizeof(on)));
		TRY(copy_file_range(fds[DATA], bad, fds[LOG], bad, 1, 0));
		TRY(syscall(SYS_write, 1, bad, 10));
		TRY(sigaction(SIGUSR1, NULL, NULL));
	}
	close(epoll);
	close_all(-1);
}

/* The kernel looks at no more of a set than the process has descriptors; the caller may have no more than that. */
static void large_count_small_set(void)
{
	fd_set *set = (fd_set *)(void *)(edge - sizeof(*set));
	struct timeval now = { 0, 0 };
	struct rlimit limit;

	make_edge();
	set = (fd_set *)(void *)(edge - sizeof(*set));
	memset(set, 0, sizeof(*set));
	getrlimit(RLIMIT_NOFILE, &limit);
	limit.rlim_cur = limit.rlim_max;
	setrlimit(RLIMIT_NOFILE, &limit);
	open_all(false);
	TRY(select(getdtablesize() > 2048 ? 2000 : 1024, set, NULL, NULL, &now));
	TRY(select(1 << 20, set, NULL, NULL, &now));
	TRY(select(1 << 30, NULL, set, NULL, &now));
	close_all(1);
}

/* ---- pieces ---- */

static void pieces(void)
{
	static struct iovec out[PIECES_MAX], in[PIECES_MAX];
	static char room[PIECES_MAX * 8];
	static const int counts[] = { 0, 1, 2, 7, 8, 9, 16, 17, 1023, 1024, 1025, -1, 1 << 30 };
	static const char text[] = "pieces\n";
	struct msghdr msg = { .msg_iov = out }, got = { .msg_iov = in };
	size_t i;
	int kind;

	signal(SIGPIPE, SIG_IGN);
	for (i = 0; i < PIECES_MAX; i++) {
		out[i] = (struct iovec){ (char *)(uintptr_t)text + i % 7, 1 };
		in[i] = (struct iovec){ room + i, i % 3 == 0 ? 0 : 1 };
	}
	for (i = 0; i < sizeof(counts) / sizeof(counts[0]); i++) {
		open_all(i % 2 == 0);
		for (kind = 0; kind < KINDS; kind++) {
			msg.msg_iovlen = (size_t)counts[i];
			trail("--- %s, %d", kind_names[kind], counts[i]);
			TRY(writev(fds[kind], out, counts[i]));
			TRY(sendmsg(fds[kind], &msg, MSG_NOSIGNAL));
			TRY(sendmmsg(fds[kind], &(struct mmsghdr){ .msg_hdr = msg }, 1, MSG_NOSIGNAL));
			TRY(sendmmsg(fds[kind], NULL, 0, 0));
			got.msg_iovlen = (size_t)counts[i];
			TRY(recvmsg(fds[kind], &got, MSG_DONTWAIT));
			if (kind == DATA || counts[i] == 0 || counts[i] > 1024)
				TRY(readv(fds[kind], in, counts[i]));
		}
		close_all(-1);
	}
	/* Lengths that no sum can hold. */
	open_all(false);
	out[0].iov_len = SIZE_MAX / 2;
	out[1].iov_len = SIZE_MAX / 2;
	for (kind = 0; kind < KINDS; kind++) {
		TRY(writev(fds[kind], out, 2));
		TRY(writev(fds[kind], out + 1, 3));
	}
	close_all(-1);
}

/* A head in as many pieces as there may be, and in one too many. */
static void head_in_pieces(void)
{
	static struct iovec out[PIECES_MAX];
	struct msghdr msg = { .msg_iov = out };
	int n, i;

	for (n = 1023; n <= PIECES_MAX; n++) {
		struct wire wire = wire_dial();

		/* Pieces of nothing before, between and behind those of one byte. */
		for (i = 0; i < n; i++)
			out[i] = (struct iovec){ HEAD + (i / 2) % (int)(sizeof(HEAD) - 1), (size_t)(i % 2) };
		i = 2 * (int)(sizeof(HEAD) - 1);
		TRY(writev(wire.fd, out, i));
		msg.msg_iovlen = (size_t)i;
		TRY(sendmsg(wire.fd, &msg, 0));
		for (i = 0; i < n; i++)
			out[i] = (struct iovec){ HEAD, 0 };
		out[n - 1] = (struct iovec){ HEAD, sizeof(HEAD) - 1 };
		TRY(writev(wire.fd, out, n));
		msg.msg_iovlen = (size_t)n;
		TRY(sendmsg(wire.fd, &msg, 0));
		wire_end("head", &wire, n > 1024 ? 2 : 4);
	}
}

static const struct torture_case cases[] = {
	{ "wild_client", wild_client },
	{ "wild_server", wild_server },
	{ "half_wild", half_wild },
	{ "wild_rest", wild_rest },
	{ "large_count_small_set", large_count_small_set },
	{ "pieces", pieces },
	{ "head_in_pieces", head_in_pieces },
};

int main(int argc, char **argv)
{
	return torture_main(argc, argv, cases, sizeof(cases) / sizeof(cases[0]));
}

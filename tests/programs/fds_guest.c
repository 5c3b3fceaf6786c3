/*
 * Descriptors in every way that they come, are copied and go: `fds_guest CASE`. Everything that a call returned is printed.
 */
#include <arpa/inet.h>
#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/inotify.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/select.h>
#include <sys/sendfile.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/timerfd.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

static void tell(const char *what, long result)
{
	int error = errno;

	printf("%s: %ld %s\n", what, result, result < 0 ? strerrorname_np(error) : "-");
	fflush(stdout);
	errno = 0;
}

/*
 * A connected pair of TCP sockets. The second one is the peer's: it is made, and read, by system calls that no library
 * function is behind, because a process that serves makes up no trace of its own.
 */
static void tcp_pair(int pair[2])
{
	struct sockaddr_in addr = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t len = sizeof(addr);
	int listener = socket(AF_INET, SOCK_STREAM, 0);

	if (bind(listener, (struct sockaddr *)&addr, len) != 0 || syscall(SYS_listen, listener, 1) != 0 ||
	    getsockname(listener, (struct sockaddr *)&addr, &len) != 0)
		err(1, "listen");
	pair[0] = socket(AF_INET, SOCK_STREAM, 0);
	if (connect(pair[0], (struct sockaddr *)&addr, len) != 0 ||
	    (pair[1] = (int)syscall(SYS_accept, listener, NULL, NULL)) < 0)
		err(1, "connect");
	close(listener);
}

static void put(int fd, const char *text)
{
	tell("put", write(fd, text, strlen(text)));
}

/* What arrives is printed without the header lines that are ours, and with their number. */
static void get(int fd)
{
	char room[4096] = "", *at;
	size_t len = 0;
	int ours = 0;
	ssize_t n;

	while (strstr(room, "\r\n\r\n") == NULL && len < sizeof(room) - 1 &&
	       (n = syscall(SYS_read, fd, room + len, sizeof(room) - 1 - len)) > 0)
		len += (size_t)n;
	while ((at = strstr(room, "\r\ntraceparent: ")) != NULL || (at = strstr(room, "\r\nx-trace-id: ")) != NULL) {
		char *end = strstr(at + 2, "\r\n");

		memmove(at, end, strlen(end) + 1);
		ours++;
	}
	printf("got %zu bytes, injected %d\n", strlen(room), getenv("LD_PRELOAD") == NULL ? 2 : ours);
}

static void sweep_loop(void)
{
	struct stat st;
	int fd, pair[2];

	tcp_pair(pair);
	for (fd = 3; fd < 20000; fd++)
		close(fd);
	tell("left", fstat(pair[0], &st));
	tcp_pair(pair);
	tell("lowest", pair[0]);
	put(pair[0], "GET / HTTP/1.1\r\nHost: a\r\n\r\n");
	get(pair[1]);
}

static void sweep_closefrom(void)
{
	int pair[2];

	tcp_pair(pair);
	closefrom(3);
	tcp_pair(pair);
	tell("lowest", pair[0]);
	put(pair[0], "GET / HTTP/1.1\r\nHost: a\r\n\r\n");
	get(pair[1]);
	tell("close_range", close_range(3, ~0u, 0));
	tcp_pair(pair);
	tell("lowest", pair[0]);
	put(pair[0], "GET / HTTP/1.1\r\nHost: a\r\n\r\n");
	get(pair[1]);
	tell("close_range", close_range(3, ~0u, CLOSE_RANGE_CLOEXEC));
	put(pair[0], "GET / HTTP/1.1\r\nHost: a\r\n\r\n");
	get(pair[1]);
	tell("close_range", close_range(9, 3, 0));
	closefrom(-1);
}

/* libuv's way. The number comes back as something else, which must not be taken for the connection, nor for the log. */
static void reused_after_syscall(void)
{
	char room[64] = "";
	int pair[2], ends[2], log = dup(1);

	put(log, "to the log\n");
	syscall(SYS_close, log);
	tcp_pair(pair);
	put(pair[0], "GET /a HTTP/1.1\r\nHost: a\r\n");
	syscall(SYS_close, pair[0]);
	syscall(SYS_close, pair[1]);
	tell("pipe", pipe(ends));
	put(ends[1], "\r\nno header for this\n");
	tell("read", read(ends[0], room, sizeof(room)));
	tell("same", strcmp(room, "\r\nno header for this\n"));
	log = dup(1);
	put(log, "again\n");
	tell("dup2", syscall(SYS_dup2, ends[1], log));
	put(log, "into the pipe\n");
	tell("read", read(ends[0], room, sizeof(room)));
	tell("same", strncmp(room, "into the pipe\n", 14));
}

/* A request is begun on one number and goes on on its copies. */
static void copies_of_half_a_head(void)
{
	int pair[2], copy;

	tcp_pair(pair);
	put(pair[0], "GET / HTTP/1.1\r\nHo");
	copy = dup(pair[0]);
	close(pair[0]);
	put(copy, "st: a\r\nA: b");
	tell("dup2", dup2(copy, 100));
	close(copy);
	put(100, "\r\nC: d\r");
	tell("dup3", dup3(100, 101, O_CLOEXEC));
	tell("dup3", dup3(100, 100, O_CLOEXEC));
	tell("dup2", dup2(100, 100));
	put(101, "\n");
	copy = fcntl(101, F_DUPFD, 50);
	tell("dupfd", copy);
	close(100);
	close(101);
	copy = fcntl(copy, F_DUPFD_CLOEXEC, 60);
	tell("dupfd_cloexec", copy);
	put(copy, "\r\n");
	get(pair[1]);
	tell("bad", dup2(-1, 5));
	tell("bad", dup(12345));
	tell("bad", dup3(1, 5, 12345));
	tell("bad", fcntl(12345, F_DUPFD, 0));
	tell("bad", close(12345));
	tell("bad", close(-1));
}

static void send_descriptor(int over, int fd)
{
	char control[CMSG_SPACE(sizeof(int))] = "", byte = 'x';
	struct iovec iov = { &byte, 1 };
	struct msghdr msg = {
		.msg_iov = &iov, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof(control)
	};
	struct cmsghdr *c = CMSG_FIRSTHDR(&msg);

	c->cmsg_level = SOL_SOCKET;
	c->cmsg_type = SCM_RIGHTS;
	c->cmsg_len = CMSG_LEN(sizeof(int));
	memcpy(CMSG_DATA(c), &fd, sizeof(fd));
	tell("sendmsg", sendmsg(over, &msg, 0));
}

static int receive_descriptor(int over)
{
	char control[CMSG_SPACE(sizeof(int))] = "", byte = 0;
	struct iovec iov = { &byte, 1 };
	struct msghdr msg = {
		.msg_iov = &iov, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof(control)
	};
	int fd = -1;

	tell("recvmsg", recvmsg(over, &msg, 0));
	memcpy(&fd, CMSG_DATA(CMSG_FIRSTHDR(&msg)), sizeof(fd));
	return fd;
}

static void handed_over(void)
{
	int unix_pair[2], pair[2], fd;

	socketpair(AF_UNIX, SOCK_STREAM, 0, unix_pair);
	tcp_pair(pair);
	send_descriptor(unix_pair[0], pair[0]);
	close(pair[0]);
	fd = receive_descriptor(unix_pair[1]);
	put(fd, "GET / HTTP/1.1\r\nHost: a\r\n\r\n");
	get(pair[1]);
	send_descriptor(unix_pair[0], 1);
	fd = receive_descriptor(unix_pair[1]);
	put(fd, "through a descriptor that was handed over\n");
}

static void every_birth(void)
{
	sigset_t none;
	int fds[2];

	sigemptyset(&none);
	tell("eventfd", eventfd(0, 0));
	tell("epoll", epoll_create(1));
	tell("epoll1", epoll_create1(0));
	tell("timerfd", timerfd_create(CLOCK_MONOTONIC, 0));
	tell("signalfd", signalfd(-1, &none, 0));
	tell("inotify", inotify_init());
	tell("inotify1", inotify_init1(0));
	tell("memfd", memfd_create("name", 0));
	tell("pipe2", pipe2(fds, O_CLOEXEC));
	tell("open", open("/dev/null", O_RDWR));
	tell("openat", openat(AT_FDCWD, "/dev/null", O_RDONLY));
	tell("open", open("/nowhere", O_RDONLY));
	tell("creat", creat("/nowhere/file", 0600));
	tell("tmpfile", open("/tmp", O_TMPFILE | O_RDWR, 0640));
	tell("socketpair", socketpair(AF_UNIX, SOCK_DGRAM, 0, fds));
	tell("socket", socket(AF_UNIX, SOCK_STREAM, 77));
	tell("socket", socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0));
	tell("fopen", fileno(fopen("/dev/null", "r")));
	tell("popen", fileno(popen("exit 3", "r")));
	tell("bad", pipe2(fds, 12345));
	tell("bad", epoll_create(-1));
	tell("bad", eventfd(0, 12345));
	tell("bad", memfd_create("x", 12345));
}

static void few_descriptors(void)
{
	struct rlimit few = { 8, 8 };
	int fds[2], i;

	tell("setrlimit", setrlimit(RLIMIT_NOFILE, &few));
	for (i = 0; i < 8; i++)
		tell("open", open("/dev/null", O_RDWR));
	tell("pipe", pipe(fds));
	tell("socket", socket(AF_INET, SOCK_STREAM, 0));
	tell("dup", dup(1));
	tell("accept", accept(3, NULL, NULL));
	tell("popen", popen("true", "r") == NULL);
}

static void becomes_daemon(void)
{
	int ends[2];
	char c;

	printf("before");
	fflush(stdout);
	tell("pipe", pipe(ends));
	if (fork() == 0) {
		tell("daemon", daemon(1, 0));
		printf("to nowhere\n");
		fflush(stdout);
		dprintf(2, "nor this\n");
		exit(write(ends[1], "x", 1) != 1);
	}
	close(ends[1]);
	tell("read", read(ends[0], &c, 1));
	wait(NULL);
}

/* Errors that the kernel finds, in every call that takes bytes: on what is no connection, and on one. */
static void bad_arguments(int fd)
{
	struct iovec iov = { "x", 1 }, none = { NULL, 0 }, *volatile no_vector = NULL;
	struct pollfd *volatile no_poll = NULL;
	struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1 };
	struct iovec many[1025];
	volatile int minus = -1;
	char room[4];
	int i;

	for (i = 0; i < 1025; i++)
		many[i] = none;
	tell("write 0", write(fd, "", 0));
	tell("writev 0", writev(fd, &iov, 0));
	tell("writev -1", writev(fd, &iov, minus));
	tell("writev none", writev(fd, &none, 1));
	tell("writev 1024", writev(fd, many, 1024));
	tell("writev 1025", writev(fd, many, 1025));
	tell("write NULL", write(fd, no_vector, 9));
	tell("write of a member", write(fd, (const char *)no_vector + 24, 9));
	tell("write -1", write(fd, "x", (size_t)minus));
	tell("send NULL", send(fd, no_vector, 9, MSG_NOSIGNAL));
	tell("sendto -1", sendto(fd, "x", (size_t)minus, MSG_NOSIGNAL, NULL, 0));
	many[7] = (struct iovec){ "x", (size_t)minus };
	tell("writev of -1", writev(fd, many, 20));
	many[7] = (struct iovec){ (void *)no_vector, 5 };
	tell("writev of NULL", writev(fd, many, 20));
	many[7] = none;
	tell("writev NULL", writev(fd, no_vector, 1));
	tell("send flags", send(fd, "x", 1, MSG_OOB | 0x40000000));
	tell("sendmsg NULL", sendmsg(fd, NULL, 0));
	msg.msg_iovlen = 5000;
	tell("sendmsg 5000", sendmsg(fd, &msg, 0));
	tell("sendmmsg 0", sendmmsg(fd, NULL, 0, 0));
	tell("read 0", read(fd, room, 0));
	tell("readv -1", readv(fd, &iov, minus));
	tell("recv", recv(fd, room, 4, MSG_DONTWAIT));
	tell("recvmsg NULL", recvmsg(fd, NULL, MSG_DONTWAIT));
	tell("sendfile", sendfile(fd, 12345, NULL, 4));
	tell("splice", splice(fd, NULL, 12345, NULL, 4, SPLICE_F_NONBLOCK));
	tell("getsockopt", getsockopt(fd, SOL_SOCKET, SO_ERROR, NULL, NULL));
	tell("ioctl", ioctl(fd, FIONBIO, NULL));
	tell("listen", listen(fd, 1));
	tell("accept", accept(fd, NULL, NULL));
	tell("shutdown", shutdown(fd, 77));
	tell("connect", connect(fd, NULL, 0));
	tell("poll", poll(no_poll, 1, 0));
	tell("select", select(-1, NULL, NULL, NULL, NULL));
	tell("epoll_wait", epoll_wait(fd, NULL, 0, 0));
}

static void errors(void)
{
	int pair[2], fds[2], gone;

	tell("pipe", pipe(fds));
	bad_arguments(fds[1]);
	bad_arguments(12345);
	bad_arguments(-1);
	tcp_pair(pair);
	bad_arguments(pair[0]);
	bad_arguments(1);
	gone = pair[1];
	close(pair[0]);
	bad_arguments(gone);
}

int main(int argc, char **argv)
{
	static const struct {
		const char *name;
		void (*run)(void);
	} cases[] = {
#define CASE(name) { #name, name }
		CASE(sweep_loop),  CASE(sweep_closefrom), CASE(reused_after_syscall), CASE(copies_of_half_a_head),
		CASE(handed_over), CASE(every_birth),     CASE(few_descriptors),      CASE(becomes_daemon),
		CASE(errors),
	};
	size_t i;

	for (i = 0; argc > 1 && i < sizeof(cases) / sizeof(cases[0]); i++) {
		if (strcmp(cases[i].name, argv[1]) == 0) {
			cases[i].run();
			return 0;
		}
	}
	errx(2, "no such case");
}

/*
 * Servers that block: a thread or a process works for one request at a time.
 *
 *   thread PORT    a thread a connection
 *   prefork PORT   four processes accept
 *   fork PORT      a process a connection
 *   workers PORT   threads accept, each serves its connection; requests start helper threads that outlive the response
 *   exec PORT      opens the listener, and becomes another program that serves it (inherit FD)
 *   handed PORT    connections come from another process over a socket (SCM_RIGHTS)
 *   buffer PORT    a thread a connection; all print into one buffer of the program's own, which goes out when it has four lines
 *   pair PORT      a thread and a process a connection: the process answers each third request
 */
#include "server_kit.h"

static void handle(struct peer *peer)
{
	say("begin", peer->n);
	work_us(200);
	say("middle", peer->n);
	peer_answer(peer);
}

static void *serve(void *arg)
{
	struct peer *peer = arg;

	while (peer_read(peer) > 0) {
		handle(peer);
		if (peer->close)
			break;
	}
	peer_end(peer);
	return NULL;
}

static void *accept_many(void *arg)
{
	int listener = (int)(intptr_t)arg, fd;

	while ((fd = accept(listener, NULL, NULL)) >= 0)
		serve(peer_new(fd));
	return NULL;
}

/* Requests from this number on come alone, and are answered when their helper has said its first line. */
#define ALONE 401

struct help {
	long n;
	int said, answered;
};

static void *late_helper(void *arg)
{
	struct help *help = arg;

	say("helper", help->n);
	__atomic_store_n(&help->said, 1, __ATOMIC_RELEASE);
	while (!__atomic_load_n(&help->answered, __ATOMIC_ACQUIRE))
		work_us(500);
	say("late", help->n);
	free(help);
	return NULL;
}

static void *accept_with_helpers(void *arg)
{
	int listener = (int)(intptr_t)arg, fd;

	while ((fd = accept(listener, NULL, NULL)) >= 0) {
		struct peer *peer = peer_new(fd);

		while (peer_read(peer) > 0) {
			struct help *help = calloc(1, sizeof(*help));
			pthread_t thread;

			help->n = peer->n;
			pthread_create(&thread, NULL, late_helper, help);
			pthread_detach(thread);
			while (peer->n >= ALONE && !__atomic_load_n(&help->said, __ATOMIC_ACQUIRE))
				work_us(50);
			handle(peer);
			__atomic_store_n(&help->answered, 1, __ATOMIC_RELEASE);
			if (peer->close)
				break;
		}
		peer_end(peer);
	}
	return NULL;
}

static pthread_mutex_t lines_lock = PTHREAD_MUTEX_INITIALIZER;

/* As C++'s streams do that are not synchronized with stdio, but sooner. */
static void collect(const char *what, long n)
{
	static char lines[1024];
	static size_t len;
	static unsigned count;

	pthread_mutex_lock(&lines_lock);
	len += (size_t)snprintf(lines + len, sizeof(lines) - len, "%s n=%ld\n", what, n);
	if (++count % 4 == 0) {
		if (write(STDOUT_FILENO, lines, len) != (ssize_t)len)
			die("write");
		len = 0;
	}
	pthread_mutex_unlock(&lines_lock);
}

static void *serve_and_collect(void *arg)
{
	struct peer *peer = arg;

	while (peer_read(peer) > 0) {
		collect("begin", peer->n);
		work_us(peer->n % 5 * 100);
		collect("middle", peer->n);
		peer_answer(peer);
		if (peer->close)
			break;
	}
	peer_end(peer);
	return NULL;
}

struct order {
	long n;
	bool close;
};

static void answer_orders(struct peer *peer, int orders)
{
	struct order order;

	while (read(orders, &order, sizeof(order)) == (ssize_t)sizeof(order)) {
		peer->n = order.n;
		peer->close = order.close;
		peer_answer(peer);
	}
}

static void *serve_in_pair(void *arg)
{
	struct peer *peer = arg;
	int orders[2], pid;

	if (pipe(orders) != 0 || (pid = fork()) < 0)
		die("pair");
	if (pid == 0) {
		close(orders[1]);
		answer_orders(peer, orders[0]);
		_exit(0);
	}
	close(orders[0]);
	while (peer_read(peer) > 0) {
		struct order order = { peer->n, peer->close };

		say("begin", peer->n);
		if (peer->n % 3 != 0)
			peer_answer(peer);
		else if (write(orders[1], &order, sizeof(order)) != (ssize_t)sizeof(order))
			die("order");
		if (order.close)
			break;
	}
	close(orders[1]);
	waitpid(pid, NULL, 0);
	peer_end(peer);
	return NULL;
}

static void in_threads(int listener, void *(*routine)(void *))
{
	pthread_t thread;
	int i;

	for (i = 0; i < 8; i++)
		pthread_create(&thread, NULL, routine, (void *)(intptr_t)listener);
	pause();
}

static void thread_per_connection(int listener, void *(*routine)(void *))
{
	pthread_t thread;
	int fd;

	while ((fd = accept(listener, NULL, NULL)) >= 0) {
		pthread_create(&thread, NULL, routine, peer_new(fd));
		pthread_detach(thread);
	}
}

static void prefork(int listener)
{
	int i;

	for (i = 0; i < 4; i++)
		if (fork() == 0)
			accept_many((void *)(intptr_t)listener);
	pause();
}

static void fork_per_connection(int listener)
{
	int fd;

	signal(SIGCHLD, SIG_IGN);
	while ((fd = accept(listener, NULL, NULL)) >= 0) {
		if (fork() == 0) {
			close(listener);
			serve(peer_new(fd));
			exit(0);
		}
		close(fd);
	}
}

static int receive_fd(int channel)
{
	char control[CMSG_SPACE(sizeof(int))], byte;
	struct iovec iov = { &byte, 1 };
	struct msghdr msg = {
		.msg_iov = &iov, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof(control)
	};
	int fd;

	if (recvmsg(channel, &msg, 0) <= 0 || CMSG_FIRSTHDR(&msg) == NULL)
		return -1;
	memcpy(&fd, CMSG_DATA(CMSG_FIRSTHDR(&msg)), sizeof(fd));
	return fd;
}

static void send_fd(int channel, int fd)
{
	char control[CMSG_SPACE(sizeof(int))], byte = 0;
	struct iovec iov = { &byte, 1 };
	struct msghdr msg = {
		.msg_iov = &iov, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof(control)
	};
	struct cmsghdr *c = CMSG_FIRSTHDR(&msg);

	memset(control, 0, sizeof(control));
	c->cmsg_level = SOL_SOCKET;
	c->cmsg_type = SCM_RIGHTS;
	c->cmsg_len = CMSG_LEN(sizeof(int));
	memcpy(CMSG_DATA(c), &fd, sizeof(fd));
	if (sendmsg(channel, &msg, 0) < 0)
		die("sendmsg");
}

/* One process accepts, another serves, as Node's cluster and many supervisors do it. */
static void handed_over(int listener)
{
	int channel[2], fd;

	if (socketpair(AF_UNIX, SOCK_STREAM, 0, channel) != 0)
		die("socketpair");
	if (fork() == 0) {
		close(listener);
		while ((fd = receive_fd(channel[1])) >= 0)
			serve(peer_new(fd));
		exit(0);
	}
	while ((fd = accept(listener, NULL, NULL)) >= 0) {
		send_fd(channel[0], fd);
		close(fd);
	}
}

int main(int argc, char **argv)
{
	const char *mode = argc > 2 ? argv[1] : "";
	int listener;

	signal(SIGPIPE, SIG_IGN);
	setvbuf(stdout, NULL, _IOLBF, BUFSIZ); /* or every child would print what it inherited, and lose what it has */
	if (strcmp(mode, "inherit") == 0) {
		in_threads(atoi(argv[2]), accept_many);
		return 0;
	}
	listener = listen_on(argc > 2 ? atoi(argv[2]) : 0);
	if (strcmp(mode, "exec") == 0) {
		char number[16];

		snprintf(number, sizeof(number), "%d", listener);
		execl(argv[0], argv[0], "inherit", number, NULL);
		die("execl");
	}
	if (strcmp(mode, "thread") == 0)
		thread_per_connection(listener, serve);
	else if (strcmp(mode, "buffer") == 0)
		thread_per_connection(listener, serve_and_collect);
	else if (strcmp(mode, "pair") == 0)
		thread_per_connection(listener, serve_in_pair);
	else if (strcmp(mode, "workers") == 0)
		in_threads(listener, accept_with_helpers);
	else if (strcmp(mode, "prefork") == 0)
		prefork(listener);
	else if (strcmp(mode, "fork") == 0)
		fork_per_connection(listener);
	else if (strcmp(mode, "handed") == 0)
		handed_over(listener);
	return 2;
}

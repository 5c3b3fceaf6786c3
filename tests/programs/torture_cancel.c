/*
 * Cancellation: `torture_cancel CASE DIR`. A thread blocks in a call, is cancelled there, and its handlers run; what it was using goes
 * on to work for others.
 */
#include "torture.h"

#include <semaphore.h>
#include <sys/epoll.h>
#include <sys/un.h>
#include <threads.h>
#include <time.h>

static struct wire served, dialled;
static int empty[2], full[2], unix_pair[2], epoll, queue, locked;
static struct sockaddr_un queue_name;
static struct sockaddr_in nobody;
static sem_t sem;
static pthread_cond_t cond = PTHREAD_COND_INITIALIZER;
static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static char fifo[600], room[4096];
static struct iovec piece = { room, sizeof(room) };

static void prepare(void)
{
	struct sockaddr_un *name = &queue_name;
	struct epoll_event event = { .events = EPOLLIN };
	struct flock lock = { .l_type = F_WRLCK };
	char path[600];

	served = wire_serve();
	dialled = wire_dial();
	must(pipe(empty) == 0 && pipe(full) == 0, "pipe");
	fcntl(full[1], F_SETFL, O_NONBLOCK);
	while (write(full[1], room, sizeof(room)) > 0)
		;
	fcntl(full[1], F_SETFL, 0);
	must(socketpair(AF_UNIX, SOCK_STREAM, 0, unix_pair) == 0, "socketpair");
	while (send(unix_pair[0], room, sizeof(room), MSG_DONTWAIT) > 0)
		;
	epoll = epoll_create1(0);
	epoll_ctl(epoll, EPOLL_CTL_ADD, empty[0], &event);
	sem_init(&sem, 0, 0);
	/* Whose backlog is full: a connect waits. */
	name->sun_family = AF_UNIX;
	snprintf(name->sun_path, sizeof(name->sun_path), "%ctorture.%d", '\0', getpid());
	queue = socket(AF_UNIX, SOCK_STREAM, 0);
	must(bind(queue, (struct sockaddr *)name, sizeof(*name)) == 0 && listen(queue, 0) == 0, "unix listen");
	must(connect(socket(AF_UNIX, SOCK_STREAM, 0), (struct sockaddr *)name, sizeof(*name)) == 0, "unix connect");
	nobody.sin_family = AF_INET;
	snprintf(fifo, sizeof(fifo), "%s/fifo", torture_dir);
	must(mkfifo(fifo, 0600) == 0, "mkfifo");
	snprintf(path, sizeof(path), "%s/locked", torture_dir);
	locked = open(path, O_RDWR | O_CREAT, 0600);
	must(fcntl(open(path, O_RDWR), F_OFD_SETLK, &lock) == 0, "lock");
}

static void wait_for_cond(void)
{
	pthread_mutex_lock(&mutex);
	pthread_cleanup_push((void (*)(void *))(void (*)(void))pthread_mutex_unlock, &mutex);
	pthread_cond_wait(&cond, &mutex);
	pthread_cleanup_pop(1);
}

static void wait_for_cond_timed(void)
{
	struct timespec late = { time(NULL) + 1000, 0 };

	pthread_mutex_lock(&mutex);
	pthread_cleanup_push((void (*)(void *))(void (*)(void))pthread_mutex_unlock, &mutex);
	pthread_cond_timedwait(&cond, &mutex, &late);
	pthread_cleanup_pop(1);
}

static const struct timespec *late(void)
{
	static struct timespec then;

	then.tv_sec = time(NULL) + 1000;
	return &then;
}

static struct msghdr message(void)
{
	return (struct msghdr){ .msg_iov = &piece, .msg_iovlen = 1 };
}

static struct mmsghdr *messages(void)
{
	static struct mmsghdr some;

	some = (struct mmsghdr){ .msg_hdr = message() };
	return &some;
}

/* X(name, number of the system call that it blocks in, whether it may be cancelled at any instruction, call) */
#define CALLS(X)                                                                                                       \
	X(read_connection, SYS_read, 1, read(served.fd, room, 10))                                                     \
	X(read_reply, SYS_read, 1, read(dialled.fd, room, 10))                                                         \
	X(read_pipe, SYS_read, 1, read(empty[0], room, 10))                                                            \
	X(readv_, SYS_readv, 1, readv(served.fd, &piece, 1))                                                           \
	X(recv_, SYS_recvfrom, 1, recv(served.fd, room, 10, 0))                                                        \
	X(recvfrom_, SYS_recvfrom, 1, recvfrom(dialled.fd, room, 10, 0, NULL, NULL))                                   \
	X(recvmsg_, SYS_recvmsg, 1, recvmsg(served.fd, &(struct msghdr){ 0 }, 0))                                      \
	X(recvmmsg_, SYS_recvmmsg, 1, recvmmsg(served.fd, messages(), 1, 0, NULL))                                     \
	X(write_pipe, SYS_write, 1, write(full[1], room, sizeof(room)))                                                \
	X(writev_pipe, SYS_writev, 1, writev(full[1], &piece, 1))                                                      \
	X(write_socket, SYS_write, 1, write(unix_pair[0], room, sizeof(room)))                                         \
	X(send_, SYS_sendto, 1, send(unix_pair[0], room, sizeof(room), 0))                                             \
	X(sendto_, SYS_sendto, 1, sendto(unix_pair[0], room, sizeof(room), 0, NULL, 0))                                \
	X(sendmsg_, SYS_sendmsg, 1, sendmsg(unix_pair[0], &(struct msghdr){ .msg_iov = &piece, .msg_iovlen = 1 }, 0))  \
	X(sendmmsg_, SYS_sendmmsg, 1, sendmmsg(unix_pair[0], messages(), 1, 0))                                        \
	X(splice_, SYS_splice, 1, splice(empty[0], NULL, full[1], NULL, 10, 0))                                        \
	X(accept_, SYS_accept, 1, accept(torture_listen(&nobody), NULL, NULL))                                         \
	X(accept4_, SYS_accept4, 1, accept4(torture_listen(&nobody), NULL, NULL, SOCK_CLOEXEC))                        \
	X(connect_, SYS_connect, 1,                                                                                    \
	  connect(socket(AF_UNIX, SOCK_STREAM, 0), (struct sockaddr *)&queue_name, sizeof(queue_name)))                \
	X(poll_, SYS_poll, 1, poll(&(struct pollfd){ served.fd, POLLIN, 0 }, 1, -1))                                   \
	X(poll_nothing, SYS_poll, 1, poll(NULL, 0, -1))                                                                \
	X(ppoll_, SYS_ppoll, 1, ppoll(&(struct pollfd){ dialled.fd, POLLIN, 0 }, 1, NULL, NULL))                       \
	X(select_, SYS_pselect6, 1, select(0, NULL, NULL, NULL, NULL))                                                 \
	X(pselect_, SYS_pselect6, 1, pselect(0, NULL, NULL, NULL, NULL, NULL))                                         \
	X(epoll_wait_, SYS_epoll_wait, 1, epoll_wait(epoll, (struct epoll_event *)(void *)room, 1, -1))                \
	X(epoll_pwait_, SYS_epoll_pwait, 1, epoll_pwait(epoll, (struct epoll_event *)(void *)room, 1, -1, NULL))       \
	X(open_, SYS_openat, 1, open(fifo, O_RDONLY))                                                                  \
	X(open64_, SYS_openat, 1, open64(fifo, O_WRONLY))                                                              \
	X(openat_, SYS_openat, 1, openat(AT_FDCWD, fifo, O_RDONLY))                                                    \
	X(creat_, -1, 1, creat(fifo, 0600))                                                                            \
	X(fcntl_, SYS_fcntl, 1, fcntl(locked, F_OFD_SETLKW, &(struct flock){ .l_type = F_WRLCK }))                     \
	X(sem_wait_, SYS_futex, 1, sem_wait(&sem))                                                                     \
	X(sem_timedwait_, SYS_futex, 1, sem_timedwait(&sem, late()))                                                   \
	X(cond_wait_, SYS_futex, 0, (wait_for_cond(), 0))                                                              \
	X(cond_timedwait_, SYS_futex, 0, (wait_for_cond_timed(), 0))                                                   \
	X(system_, SYS_wait4, 0, system("exec sleep 1000"))                                                            \
	X(fopen_, SYS_openat, 0, fopen(fifo, "r") != NULL)

enum { ALREADY_BLOCKED, BEFORE_IT_BLOCKS };

struct attempt {
	const char *name;
	void (*run)(void);
	long number;
	int async;
	pid_t tid; /* atomic */
};

#define X(name, number, async, call)                                                                                   \
	static void run_##name(void)                                                                                   \
	{                                                                                                              \
		(void)!(call);                                                                                         \
	}
CALLS(X)
#undef X

static struct attempt attempts[] = {
#define X(name, number, async, call) { #name, run_##name, number, async, 0 },
	CALLS(X)
#undef X
};
#define ATTEMPTS (sizeof(attempts) / sizeof(attempts[0]))

static void cleaned(void *arg)
{
	const struct attempt *attempt = arg;

	trail("%s: cleaned up", attempt->name);
	(void)!write(1, "in a cleanup handler\n", 21);
}

static void *blocks(void *arg)
{
	struct attempt *attempt = arg;

	pthread_cleanup_push(cleaned, attempt);
	__atomic_store_n(&attempt->tid, gettid(), __ATOMIC_RELEASE);
	attempt->run();
	trail("%s came back, %s", attempt->name, strerrorname_np(errno));
	pthread_cleanup_pop(0);
	return NULL;
}

static void *blocks_async(void *arg)
{
	pthread_setcanceltype(PTHREAD_CANCEL_ASYNCHRONOUS, NULL);
	return blocks(arg);
}

static void wait_until_blocked(struct attempt *attempt)
{
	char path[64], text[64];
	pid_t tid;

	while ((tid = __atomic_load_n(&attempt->tid, __ATOMIC_ACQUIRE)) == 0)
		sched_yield();
	snprintf(path, sizeof(path), "/proc/self/task/%d/syscall", tid);
	do {
		int fd = (int)raw(SYS_open, path, O_RDONLY, 0);
		long n = raw(SYS_read, fd, text, sizeof(text) - 1);

		raw(SYS_close, fd, 0, 0);
		text[n > 0 ? n : 0] = '\0';
		raw(SYS_poll, NULL, 0, 1);
	} while (attempt->number >= 0 ? strtol(text, NULL, 10) != attempt->number || text[0] == 'r' : text[0] == 'r');
}

static void cancel_each(void *(*start)(void *arg), bool all, int when)
{
	size_t i;

	prepare();
	for (i = 0; i < ATTEMPTS; i++) {
		pthread_t thread;
		void *result;

		if (!all && !attempts[i].async)
			continue;
		attempts[i].tid = 0;
		must(pthread_create(&thread, NULL, start, &attempts[i]) == 0, "pthread_create");
		if (when == ALREADY_BLOCKED)
			wait_until_blocked(&attempts[i]);
		pthread_cancel(thread);
		pthread_join(thread, &result);
		trail("%s: %s", attempts[i].name, result == PTHREAD_CANCELED ? "cancelled" : "returned");
		TRY(write(1, "goes on\n", 8));
	}
	TRY(write(dialled.fd, HEAD, sizeof(HEAD) - 1));
	wire_end("dialled", &dialled, -1);
	peer_send(&served, HEAD, sizeof(HEAD) - 1);
	TRY(read(served.fd, room, sizeof(room)));
	TRY(write(served.fd, ANSWER, sizeof(ANSWER) - 1));
	wire_end("served", &served, 1);
	TRY(fflush(NULL));
}

static void deferred(void)
{
	cancel_each(blocks, true, ALREADY_BLOCKED);
}

static void asynchronous(void)
{
	cancel_each(blocks_async, false, ALREADY_BLOCKED);
}

/* A cancel that is pending takes effect in the call, or before it blocks. */
static void pending(void)
{
	cancel_each(blocks, true, BEFORE_IT_BLOCKS);
}

/* Calls that do not block are cancellation points, too; and their work is done or not begun. */
static void *calls_for_ever(void *arg)
{
	struct wire *wire = arg;
	int i;

	for (i = 0;; i++) {
		/* No more than one wants to read. */
		if (i < 100) {
			(void)!write(1, "for ever\n", 9);
			(void)!write(wire->fd, HEAD, sizeof(HEAD) - 1);
		}
		pthread_testcancel();
		close(dup(wire->fd));
	}
	return NULL;
}

static void *drain(void *arg)
{
	wire_note("for ever*", arg, -1);
	return NULL;
}

static void in_the_midst(void)
{
	int i;

	for (i = 0; i < (getenv("FULL") != NULL ? 60 : 20); i++) {
		struct wire wire = wire_dial();
		pthread_t thread, reader;
		void *result;
		int k;

		pthread_create(&reader, NULL, drain, &wire);
		pthread_create(&thread, NULL, calls_for_ever, &wire);
		for (k = 0; k < i * 2; k++)
			sched_yield();
		pthread_cancel(thread);
		pthread_join(thread, &result);
		TRY(result == PTHREAD_CANCELED);
		TRY(write(1, "goes on\n", 8));
		TRY(write(wire.fd, HEAD, sizeof(HEAD) - 1));
		shutdown(wire.fd, SHUT_WR);
		pthread_join(reader, NULL);
		close(wire.fd);
	}
}

static const struct torture_case cases[] = {
	{ "deferred", deferred },
	{ "asynchronous", asynchronous },
	{ "pending", pending },
	{ "in_the_midst", in_the_midst },
};

int main(int argc, char **argv)
{
	return torture_main(argc, argv, cases, sizeof(cases) / sizeof(cases[0]));
}

/*
 * long: each call that the guest can make has its function here.
 *
 * A kernel for fuzz_guest: descriptors, connections and logs in memory, and faults where the input asks for them.
 *
 * The guest's hooks are linked under other names (guest_write, ...: Makefile), and the real functions behind them
 * (hooks/real.h) are the functions of this file. So a schedule of calls runs at full speed, the same each time, and all
 * that the program could see of the kernel is known: which calls reached it, and what they returned.
 */
#ifndef GUEST_KERNEL_H
#define GUEST_KERNEL_H

#include <errno.h>
#include <netinet/in.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>

#include "../../hooks/real.h"
#include "conn.h"
#include "fuzz.h"
#include "os.h"
#include "pool.h"
#include "spare.h"

#define KERNEL_FDS 2048
#define KERNEL_OBJECTS 64
#define KERNEL_BYTES (1u << 18) /* in or out of one object, in one run */

enum kernel_type { KERNEL_NONE, KERNEL_SOCKET, KERNEL_FILE, KERNEL_PIPE, KERNEL_OTHER };

/* What a descriptor leads to. */
struct kernel_object {
	enum kernel_type type;
	int refs;
	bool stream, connected, listening, nonblock;
	ino_t ino;
	char *out; /* what was written to it */
	size_t out_len;
	const char *in; /* what can be read: grows at its end */
	size_t in_len, in_pos;
};

/* What the calls of one step of the program came to. */
struct kernel_trace {
	unsigned sends, receives, faults, queries, others;
	unsigned sigpipes; /* failures that would have raised it */
	int error;         /* of the last fault */
	ssize_t result;    /* of the last real call, but for queries */
	int flags;         /* of the last sendmsg */
	bool flags_differ; /* from those of the one before */
};

static struct kernel_object kernel_objects[KERNEL_OBJECTS];
static short kernel_fd[KERNEL_FDS]; /* an object's index plus one; 0: closed */
static struct kernel_trace kernel_trace;
static uint64_t kernel_now_ns;
static uint32_t kernel_seed;
static unsigned kernel_fault_level;        /* 0: none; else one real call in so many goes wrong */
static void (*kernel_handler)(void);       /* a signal handler that runs within the next real call; once */
static struct sockaddr_in kernel_anywhere; /* every peer's address */

static uint32_t kernel_random(void)
{
	kernel_seed = kernel_seed * 1664525u + 1013904223u;
	return kernel_seed >> 8;
}

static int kernel_says(int result)
{
	kernel_trace.result = result;
	return result;
}

/* ---- descriptors ---- */

static struct kernel_object *kernel_object(int fd)
{
	if (fd < 0 || fd >= KERNEL_FDS || kernel_fd[fd] == 0)
		return NULL;
	return &kernel_objects[kernel_fd[fd] - 1];
}

static struct kernel_object *kernel_new(enum kernel_type type)
{
	static ino_t last_ino = 1000;
	int i;

	for (i = 0; i < KERNEL_OBJECTS; i++) {
		struct kernel_object *o = &kernel_objects[i];

		if (o->type != KERNEL_NONE)
			continue;
		*o = (struct kernel_object){ .type = type, .ino = ++last_ino, .out = o->out };
		if (o->out == NULL)
			o->out = malloc(KERNEL_BYTES);
		return o;
	}
	return NULL;
}

static int kernel_lowest(int from)
{
	while (from < KERNEL_FDS && kernel_fd[from] != 0)
		from++;
	return from < KERNEL_FDS ? from : -1;
}

/* Give an object a number; the lowest one from `from` on, as the kernel does. */
static int kernel_install(struct kernel_object *o, int from)
{
	int fd = o == NULL ? -1 : kernel_lowest(from);

	if (fd < 0) {
		errno = EMFILE;
		return -1;
	}
	kernel_fd[fd] = (short)(o - kernel_objects + 1);
	o->refs++;
	return fd;
}

/* Objects stay for the end of the run, when what they got is looked at. */
static int kernel_close(int fd)
{
	struct kernel_object *o = kernel_object(fd);

	kernel_trace.others++;
	if (o == NULL) {
		errno = EBADF;
		return kernel_says(-1);
	}
	kernel_fd[fd] = 0;
	o->refs--;
	return kernel_says(0);
}

static int kernel_close_range(unsigned first, unsigned last, int flags)
{
	unsigned fd;

	kernel_trace.others++;
	for (fd = first; fd <= last && fd < KERNEL_FDS && flags == 0; fd++)
		if (kernel_fd[fd] != 0) {
			kernel_objects[kernel_fd[fd] - 1].refs--;
			kernel_fd[fd] = 0;
		}
	return kernel_says(0);
}

static int kernel_dup_to(int fd, int to)
{
	struct kernel_object *o = kernel_object(fd);

	kernel_trace.others++;
	if (o == NULL || to < 0 || to >= KERNEL_FDS) {
		errno = EBADF;
		return kernel_says(-1);
	}
	if (fd != to) {
		if (kernel_object(to) != NULL)
			kernel_object(to)->refs--;
		kernel_fd[to] = kernel_fd[fd];
		o->refs++;
	}
	kernel_trace.result = to;
	return to;
}

static int kernel_dup_from(int fd, int from)
{
	struct kernel_object *o = kernel_object(fd);
	int to = -1;

	kernel_trace.others++;
	if (o == NULL)
		errno = EBADF;
	else
		to = kernel_install(o, from);
	kernel_trace.result = to;
	return to;
}

static int kernel_dup(int fd)
{
	return kernel_dup_from(fd, 0);
}

static int kernel_dup3(int fd, int to, int flags)
{
	(void)flags;
	if (fd == to) {
		kernel_trace.others++;
		errno = EINVAL;
		return kernel_says(-1);
	}
	return kernel_dup_to(fd, to);
}

static int kernel_fcntl(int fd, int command, ...)
{
	struct kernel_object *o = kernel_object(fd);
	va_list args;
	long arg;

	va_start(args, command);
	arg = va_arg(args, long);
	va_end(args);
	if (command == F_DUPFD || command == F_DUPFD_CLOEXEC)
		return kernel_dup_from(fd, (int)arg);
	kernel_trace.queries++;
	if (o == NULL) {
		errno = EBADF;
		return -1;
	}
	if (command == F_SETFL)
		o->nonblock = (arg & O_NONBLOCK) != 0;
	return command == F_GETFL && o->nonblock ? O_NONBLOCK | O_RDWR : command == F_GETFL ? O_RDWR : 0;
}

static int kernel_ioctl(int fd, unsigned long request, ...)
{
	struct kernel_object *o = kernel_object(fd);
	va_list args;
	const int *arg;

	va_start(args, request);
	arg = va_arg(args, const int *);
	va_end(args);
	if (o == NULL || request != FIONBIO) {
		errno = o == NULL ? EBADF : ENOTTY;
		return -1;
	}
	o->nonblock = *arg != 0;
	return 0;
}

/* ---- births ---- */

static int kernel_born(struct kernel_object *o)
{
	kernel_trace.others++;
	kernel_trace.result = kernel_install(o, 3);
	return (int)kernel_trace.result;
}

static int kernel_socket(int domain, int type, int protocol)
{
	struct kernel_object *o = kernel_new(KERNEL_SOCKET);

	(void)domain, (void)protocol;
	if (o != NULL) {
		o->stream = (type & 15) == SOCK_STREAM;
		o->nonblock = (type & SOCK_NONBLOCK) != 0;
	}
	return kernel_born(o);
}

static int kernel_pair(int fds[2])
{
	fds[0] = kernel_born(kernel_new(KERNEL_PIPE));
	fds[1] = kernel_born(kernel_new(KERNEL_PIPE));
	return kernel_says(fds[0] < 0 || fds[1] < 0 ? -1 : 0);
}

static int kernel_socketpair(int domain, int type, int protocol, int fds[2])
{
	(void)domain, (void)type, (void)protocol;
	return kernel_pair(fds);
}

static int kernel_accept4(int listener, struct sockaddr *restrict addr, socklen_t *restrict len, int flags)
{
	struct kernel_object *o = kernel_new(KERNEL_SOCKET);

	(void)listener, (void)addr, (void)len;
	if (o != NULL) {
		o->stream = o->connected = true;
		o->nonblock = (flags & SOCK_NONBLOCK) != 0;
	}
	return kernel_born(o);
}

static int kernel_accept(int listener, struct sockaddr *restrict addr, socklen_t *restrict len)
{
	return kernel_accept4(listener, addr, len, 0);
}

static int kernel_listen(int fd, int backlog)
{
	struct kernel_object *o = kernel_object(fd);

	(void)backlog;
	kernel_trace.others++;
	if (o == NULL || o->type != KERNEL_SOCKET || o->connected) {
		errno = EINVAL;
		return kernel_says(-1);
	}
	o->listening = true;
	return kernel_says(0);
}

/* Refused, under way, or there at once. */
static int kernel_connect(int fd, const struct sockaddr *addr, socklen_t len)
{
	struct kernel_object *o = kernel_object(fd);

	(void)addr, (void)len;
	kernel_trace.others++;
	kernel_trace.result = -1;
	if (o == NULL || o->type != KERNEL_SOCKET || o->connected || o->listening) {
		errno = o == NULL ? EBADF : EISCONN;
		return -1;
	}
	if (kernel_fault_level != 0 && kernel_random() % kernel_fault_level == 0) {
		errno = ECONNREFUSED;
		return -1;
	}
	o->connected = true;
	if (o->nonblock) {
		errno = EINPROGRESS;
		return -1;
	}
	return kernel_says(0);
}

static int kernel_getsockopt(int fd, int level, int option, void *restrict value, socklen_t *restrict len)
{
	const struct kernel_object *o = kernel_object(fd);

	(void)level, (void)len;
	kernel_trace.queries++;
	if (o == NULL || o->type != KERNEL_SOCKET) {
		errno = o == NULL ? EBADF : ENOTSOCK;
		return -1;
	}
	*(int *)value = option == SO_TYPE       ? (o->stream ? SOCK_STREAM : SOCK_DGRAM) :
	                option == SO_ACCEPTCONN ? o->listening :
	                                          0;
	return 0;
}

static int kernel_shutdown(int fd, int how)
{
	(void)how;
	kernel_trace.others++;
	if (kernel_object(fd) == NULL) {
		errno = EBADF;
		return kernel_says(-1);
	}
	return kernel_says(0);
}

/* ---- bytes ---- */

static void kernel_interrupt(void)
{
	void (*handler)(void) = kernel_handler;
	int saved = errno;

	kernel_handler = NULL;
	if (handler != NULL)
		handler();
	errno = saved;
}

/* How much of `len` bytes does the kernel take now? -1: none, errno. */
static ssize_t kernel_room(const struct kernel_object *o, size_t len, bool raises)
{
	unsigned which;

	if (kernel_fault_level == 0 || len == 0 || kernel_random() % kernel_fault_level != 0)
		return (ssize_t)len;
	kernel_trace.faults++;
	which = kernel_random() % 16;
	if (which < 8)
		return (ssize_t)(1 + kernel_random() % len);
	if (which < 13)
		kernel_trace.error = o->nonblock ? EAGAIN : EINTR;
	else if (o->type == KERNEL_FILE)
		kernel_trace.error = ENOSPC;
	else
		kernel_trace.error = which < 15 ? ECONNRESET : EPIPE;
	if (kernel_trace.error == EPIPE && raises)
		kernel_trace.sigpipes++;
	errno = kernel_trace.error;
	return -1;
}

static ssize_t kernel_take(int fd, const struct iovec *iov, int count, bool raises)
{
	struct kernel_object *o = kernel_object(fd);
	size_t len = 0, room;
	ssize_t n;
	int i;

	kernel_trace.sends++;
	kernel_trace.result = -1;
	if (o == NULL || count < 0 || count > 1024) {
		errno = o == NULL ? EBADF : EINVAL;
		return -1;
	}
	for (i = 0; i < count; i++)
		len += iov[i].iov_len;
	kernel_interrupt();
	n = kernel_room(o, len, raises);
	if (n < 0)
		return -1;
	CHECK(o->out_len + (size_t)n <= KERNEL_BYTES);
	for (i = 0, room = (size_t)n; i < count && room > 0; i++) {
		size_t part = iov[i].iov_len < room ? iov[i].iov_len : room;

		if (part > 0)
			memcpy(o->out + o->out_len, iov[i].iov_base, part);
		o->out_len += part;
		room -= part;
	}
	kernel_trace.result = n;
	return n;
}

static ssize_t kernel_writev(int fd, const struct iovec *iov, int count)
{
	return kernel_take(fd, iov, count, true);
}

static ssize_t kernel_write(int fd, const void *buf, size_t len)
{
	return kernel_take(fd, &(struct iovec){ (void *)(uintptr_t)buf, len }, 1, true);
}

static ssize_t kernel_sendmsg(int fd, const struct msghdr *msg, int flags)
{
	/* What goes on behind a part of the call raises nothing; what goes before an urgent byte is not urgent. */
	if (kernel_trace.sends > 0 && ((kernel_trace.flags ^ flags) & ~(MSG_NOSIGNAL | MSG_OOB)) != 0)
		kernel_trace.flags_differ = true;
	kernel_trace.flags = flags;
	return kernel_take(fd, msg->msg_iov, (int)msg->msg_iovlen, (flags & MSG_NOSIGNAL) == 0);
}

static ssize_t kernel_send(int fd, const void *buf, size_t len, int flags)
{
	struct iovec iov = { (void *)(uintptr_t)buf, len };
	struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1 };

	return kernel_sendmsg(fd, &msg, flags);
}

static ssize_t kernel_sendto(int fd, const void *buf, size_t len, int flags, const struct sockaddr *addr,
                             socklen_t addrlen)
{
	(void)addr, (void)addrlen;
	return kernel_send(fd, buf, len, flags);
}

static int kernel_sendmmsg(int fd, struct mmsghdr *msgs, unsigned count, int flags)
{
	int saved = errno;
	unsigned i;

	for (i = 0; i < count; i++) {
		ssize_t n = kernel_sendmsg(fd, &msgs[i].msg_hdr, flags);

		if (n < 0 && i == 0)
			return -1;
		if (n < 0) {
			errno = saved;
			return (int)i;
		}
		msgs[i].msg_len = (unsigned)n;
		if ((size_t)n < msgs[i].msg_hdr.msg_iov->iov_len)
			return (int)i + 1;
	}
	return (int)i;
}

static ssize_t kernel_give(int fd, const struct iovec *iov, size_t count, int flags)
{
	struct kernel_object *o = kernel_object(fd);
	size_t i, n = 0, left;

	kernel_trace.receives++;
	kernel_trace.result = -1;
	kernel_interrupt();
	if (o == NULL) {
		errno = EBADF;
		return -1;
	}
	left = o->in_len - o->in_pos;
	if (left == 0 || (kernel_fault_level != 0 && kernel_random() % kernel_fault_level == 0)) {
		kernel_trace.error = errno = left == 0 ? EAGAIN : EINTR;
		return -1;
	}
	for (i = 0; i < count && n < left; i++) {
		size_t part = iov[i].iov_len < left - n ? iov[i].iov_len : left - n;

		if (part > 0)
			memcpy(iov[i].iov_base, o->in + o->in_pos + n, part);
		n += part;
	}
	if ((flags & MSG_PEEK) == 0)
		o->in_pos += n;
	kernel_trace.result = (ssize_t)n;
	return (ssize_t)n;
}

static ssize_t kernel_recv(int fd, void *buf, size_t len, int flags)
{
	return kernel_give(fd, &(struct iovec){ buf, len }, 1, flags);
}

static ssize_t kernel_read(int fd, void *buf, size_t len)
{
	return kernel_recv(fd, buf, len, 0);
}

static ssize_t kernel_read_chk(int fd, void *buf, size_t len, size_t room)
{
	CHECK(len <= room);
	return kernel_recv(fd, buf, len, 0);
}

static ssize_t kernel_readv(int fd, const struct iovec *iov, int count)
{
	return kernel_give(fd, iov, (size_t)count, 0);
}

static ssize_t kernel_recvfrom(int fd, void *restrict buf, size_t len, int flags, struct sockaddr *restrict addr,
                               socklen_t *restrict addrlen)
{
	(void)addr, (void)addrlen;
	return kernel_recv(fd, buf, len, flags);
}

/* A descriptor of the object itself comes with the bytes where there is room for one. */
static ssize_t kernel_recvmsg(int fd, struct msghdr *msg, int flags)
{
	ssize_t n = kernel_give(fd, msg->msg_iov, msg->msg_iovlen, flags);
	int passed = n > 0 && msg->msg_controllen >= CMSG_SPACE(sizeof(int)) ? kernel_lowest(3) : -1;

	if (passed < 0 || kernel_object(fd) == NULL) { /* closed meanwhile, by a handler */
		msg->msg_controllen = 0;
		return n;
	}
	kernel_fd[passed] = kernel_fd[fd];
	kernel_object(fd)->refs++;
	msg->msg_controllen = CMSG_SPACE(sizeof(int));
	*CMSG_FIRSTHDR(msg) = (struct cmsghdr){ CMSG_LEN(sizeof(int)), SOL_SOCKET, SCM_RIGHTS };
	memcpy(CMSG_DATA(CMSG_FIRSTHDR(msg)), &passed, sizeof(passed));
	return n;
}

/* The bytes of sendfile are what `in` leads to: kernel_file, set by the program. */
static const char *kernel_file;

static ssize_t kernel_sendfile(int out, int in, off64_t *offset, size_t len)
{
	(void)in, (void)offset;
	return kernel_take(out, &(struct iovec){ (void *)(uintptr_t)kernel_file, len }, 1, true);
}

static ssize_t kernel_splice(int in, off64_t *in_offset, int out, off64_t *out_offset, size_t len, unsigned flags)
{
	(void)in_offset, (void)out, (void)out_offset, (void)flags;
	static char lost[4096];

	return kernel_recv(in, lost, len < sizeof(lost) ? len : sizeof(lost), 0);
}

/* ---- waits ---- */

static int kernel_poll(struct pollfd *fds, nfds_t count, int timeout)
{
	(void)fds, (void)timeout;
	kernel_trace.others++;
	kernel_now_ns += timeout > 0 ? 1000000u : 0;
	return kernel_says(count == 0 ? 0 : (int)(kernel_random() % (count + 1)));
}

static int kernel_epoll_ctl(int epoll, int operation, int fd, struct epoll_event *event)
{
	(void)epoll, (void)operation, (void)fd, (void)event;
	kernel_trace.others++;
	return kernel_says(0);
}

static int kernel_epoll_wait(int epoll, struct epoll_event *events, int max, int timeout)
{
	(void)epoll, (void)events, (void)timeout;
	return kernel_poll(NULL, (nfds_t)max, timeout);
}

static int kernel_select(int count, fd_set *restrict reads, fd_set *restrict writes, fd_set *restrict excepts,
                         struct timeval *restrict timeout)
{
	(void)reads, (void)writes, (void)excepts, (void)timeout;
	return kernel_poll(NULL, (nfds_t)count, 0);
}

static int kernel_epoll_create1(int flags)
{
	(void)flags;
	return kernel_born(kernel_new(KERNEL_OTHER));
}

static long kernel_syscall(long number, ...)
{
	va_list args;
	int fd;

	va_start(args, number);
	fd = va_arg(args, int);
	va_end(args);
	CHECK(number == SYS_close);
	return kernel_close(fd);
}

/* ---- what the guest reaches ---- */

void *real_function[REAL_COUNT] = {
	[REAL_read] = kernel_read,
	[REAL___read_chk] = kernel_read_chk,
	[REAL_readv] = kernel_readv,
	[REAL_recv] = kernel_recv,
	[REAL_recvfrom] = kernel_recvfrom,
	[REAL_recvmsg] = kernel_recvmsg,
	[REAL_write] = kernel_write,
	[REAL_writev] = kernel_writev,
	[REAL_send] = kernel_send,
	[REAL_sendto] = kernel_sendto,
	[REAL_sendmsg] = kernel_sendmsg,
	[REAL_sendmmsg] = kernel_sendmmsg,
	[REAL_sendfile64] = kernel_sendfile,
	[REAL_splice] = kernel_splice,
	[REAL_socket] = kernel_socket,
	[REAL_socketpair] = kernel_socketpair,
	[REAL_accept] = kernel_accept,
	[REAL_accept4] = kernel_accept4,
	[REAL_listen] = kernel_listen,
	[REAL_connect] = kernel_connect,
	[REAL_getsockopt] = kernel_getsockopt,
	[REAL_shutdown] = kernel_shutdown,
	[REAL_close] = kernel_close,
	[REAL_close_range] = kernel_close_range,
	[REAL_dup] = kernel_dup,
	[REAL_dup2] = kernel_dup_to,
	[REAL_dup3] = kernel_dup3,
	[REAL_fcntl] = kernel_fcntl,
	[REAL_ioctl] = kernel_ioctl,
	[REAL_pipe] = kernel_pair,
	[REAL_epoll_create1] = kernel_epoll_create1,
	[REAL_epoll_ctl] = kernel_epoll_ctl,
	[REAL_epoll_wait] = kernel_epoll_wait,
	[REAL_poll] = kernel_poll,
	[REAL_select] = kernel_select,
	[REAL_syscall] = kernel_syscall,
};

/* A real function that this kernel does not have: the guest made a call that the program did not. */
void *real_bind(enum real_index index)
{
	fprintf(stderr, "no such call: %d\n", (int)index);
	abort();
}

void real_bind_all(void)
{
}

/* hooks/forks.c: nothing forks here */
void forks_done(pid_t pid)
{
	(void)pid;
}

/* hooks/process.c is not linked: this program starts no other one. */
long process_exec(long number, const long arg[6]);
long process_exec(long number, const long arg[6])
{
	(void)number, (void)arg;
	errno = ENOSYS;
	return -1;
}

static int kernel_open(const char *path, int flags, ...)
{
	(void)path, (void)flags;
	errno = ENOENT;
	return -1;
}

struct os os = { kernel_write, kernel_writev, kernel_sendmsg, kernel_close,
	         kernel_open,  kernel_read,   kernel_fcntl,   kernel_getsockopt };

/* What shim/ asks the kernel without libc, and the clocks (linked with --wrap). */
long __wrap_os_fstat(int fd, struct stat *st);
long __wrap_os_statx(int fd, unsigned mask, struct statx *more);
int __wrap_getpeername(int fd, struct sockaddr *addr, socklen_t *len);
uint64_t __wrap_os_realtime_ns(void);
uint64_t __wrap_os_monotonic_ns(void);
uint64_t __wrap_os_monotonic_ms(void);

long __wrap_os_fstat(int fd, struct stat *st)
{
	static const mode_t modes[] = { 0, S_IFSOCK, S_IFREG, S_IFIFO, S_IFIFO };
	const struct kernel_object *o = kernel_object(fd);

	if (o == NULL)
		return -EBADF;
	*st = (struct stat){ .st_dev = 9, .st_ino = o->ino, .st_mode = modes[o->type] };
	return 0;
}

long __wrap_os_statx(int fd, unsigned mask, struct statx *more)
{
	(void)fd, (void)mask, (void)more;
	return -ENOSYS;
}

int __wrap_getpeername(int fd, struct sockaddr *addr, socklen_t *len)
{
	const struct kernel_object *o = kernel_object(fd);

	if (o == NULL || !o->connected) {
		errno = ENOTCONN;
		return -1;
	}
	kernel_anywhere.sin_family = AF_INET;
	memcpy(addr, &kernel_anywhere, sizeof(kernel_anywhere));
	*len = sizeof(kernel_anywhere);
	return 0;
}

uint64_t __wrap_os_realtime_ns(void)
{
	return 1700000000000000000u + kernel_now_ns;
}

uint64_t __wrap_os_monotonic_ns(void)
{
	return 1000000000u + kernel_now_ns;
}

uint64_t __wrap_os_monotonic_ms(void)
{
	return __wrap_os_monotonic_ns() / 1000000u;
}

/* ---- memory, which may be refused ---- */

static long kernel_takes, kernel_fail_first, kernel_fail_last, kernel_blocks_out;

void *__real_pool_take(const struct pool *pool);
void __real_pool_give(const struct pool *pool, void *block);
void *__wrap_pool_take(const struct pool *pool);
void __wrap_pool_give(const struct pool *pool, void *block);
void *__wrap_spare_take(enum spare_kind kind, const struct pool *pool);
void __wrap_spare_give(enum spare_kind kind, const struct pool *pool, void *block);
void *__wrap_spare_borrow(enum spare_kind kind, const struct pool *pool);
void __wrap_spare_return(enum spare_kind kind, const struct pool *pool, void *block);

/* Connections are read when stale by design; large blocks take too long to be made anew. The others are seen by ASan. */
static bool kernel_is_real(const struct pool *pool)
{
	return pool->block == CONN_BLOCK || pool->block > 20000;
}

void *__wrap_pool_take(const struct pool *pool)
{
	kernel_takes++;
	if (kernel_takes >= kernel_fail_first && kernel_takes <= kernel_fail_last)
		return NULL;
	kernel_blocks_out++;
	return kernel_is_real(pool) ? __real_pool_take(pool) : calloc(1, pool->block);
}

void __wrap_pool_give(const struct pool *pool, void *block)
{
	kernel_blocks_out--;
	if (kernel_is_real(pool))
		__real_pool_give(pool, block);
	else
		free(block);
}

void *__wrap_spare_take(enum spare_kind kind, const struct pool *pool)
{
	(void)kind;
	return __wrap_pool_take(pool);
}

void __wrap_spare_give(enum spare_kind kind, const struct pool *pool, void *block)
{
	(void)kind;
	__wrap_pool_give(pool, block);
}

void *__wrap_spare_borrow(enum spare_kind kind, const struct pool *pool)
{
	return kind != SPARE_REQUEST ? __wrap_spare_take(kind, pool) : NULL; /* it says itself what it was before */
}

void __wrap_spare_return(enum spare_kind kind, const struct pool *pool, void *block)
{
	__wrap_spare_give(kind, pool, block);
}

#endif

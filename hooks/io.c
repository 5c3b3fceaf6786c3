/*
 * Reading and writing. Every hook: begin, real call, end; see io.h for what happens there.
 */
/* Built for size, because there are many; but each is on the way of a program's every call. */
#define LAYOUT_MANY_CALLS
#include "config.h"
#include "python.h"
#include "real.h"

#include <errno.h>
#include <string.h>

#include "os.h"
#include "sending.h"
#include "tls.h"
#include "tls_functions.h"

/* IOV_MAX: more is an error, which the kernel has to tell. */
#define VECTORS_MAX 1024

/* ---- receiving ---- */

/*
 * Is what came none of the stream's next bytes? They will come again, or it is the urgent byte, or what the kernel gives back of
 * things that were sent. Or they are, but a stream socket threw them away: there is nothing in the buffer, which may be none.
 */
#define MSG_ASIDE (MSG_PEEK | MSG_OOB | MSG_ERRQUEUE)

static void receive_end(struct io_receive *io, const struct iovec *iov, int count, ssize_t received, int flags)
{
	io_receive_end(io, iov, count, received, (flags & (MSG_ASIDE | MSG_TRUNC)) != 0);
	if (__builtin_expect((flags & (MSG_ASIDE | MSG_TRUNC)) == MSG_TRUNC, 0))
		io_receive_unseen(io->fd, received);
}

/* The end of the stream is one only where something was asked for. */
static void receive_end_buffer(struct io_receive *io, void *buf, size_t len, ssize_t received, int flags)
{
	struct iovec iov = { buf, received > 0 ? (size_t)received : len };

	receive_end(io, &iov, 1, received, flags);
}

/* Is it nobody's business, or a library's of TLS, whose plain text is looked at? */
static inline bool passes(uint64_t word)
{
	return tls_is_below(word) || fds_kind(word) == FD_NOTHING || !io_active();
}

/* Nothing but jumps: a call that passes pays for no frame. NULL: it is the first one, which _watched lets pass as well. */
#define BOUND(name) ((__typeof__(&name))__atomic_load_n(&real_function[REAL_##name], __ATOMIC_RELAXED))

static __attribute__((noinline)) ssize_t read_watched(int fd, void *buf, size_t len)
{
	struct io_receive io;
	ssize_t n;

	if (!io_active() || !io_receive_begin(&io, fd))
		return REAL(read)(fd, buf, len);
	n = REAL(read)(fd, buf, len);
	receive_end_buffer(&io, buf, len, n, 0);
	return n;
}

/* What the kind of the descriptor alone does not let pass. */
static __attribute__((noinline)) ssize_t read_usual(int fd, void *buf, size_t len, uint64_t word)
{
	struct conn_handle handle;
	ssize_t n;

	if (fds_kind(word) != FD_CONN || !io_receive_usual(&handle, fd, word))
		return read_watched(fd, buf, len);
	n = REAL(read)(fd, buf, len);
	return n > 0 ? io_received(handle, fd, buf, n) : io_received_nothing(handle, fd, buf, len, n);
}

/* The first one, and those of high numbers. */
static __attribute__((noinline, cold)) ssize_t read_seldom(int fd, void *buf, size_t len)
{
	uint64_t word = fds_word(fd);

	return passes(word) ? REAL(read)(fd, buf, len) : read_usual(fd, buf, len, word);
}

/* A library of TLS comes by here some times a request, on its connection: so that is asked before what it is else. */
EXPORT ssize_t read(int fd, void *buf, size_t len)
{
	uint64_t word;

	if (__builtin_expect((unsigned)fd >= FDS_FIRST, 0))
		return read_seldom(fd, buf, len);
	word = fds_word(fd);
	if (tls_is_below(word))
		return BOUND(read)(fd, buf, len); /* io_bind_for_tls */
	if (__builtin_expect(BOUND(read) == NULL, 0))
		return read_seldom(fd, buf, len);
	return fds_kind(word) == FD_NOTHING ? BOUND(read)(fd, buf, len) : read_usual(fd, buf, len, word);
}

/* libc's own are its plain ones behind a check, which is theirs to fail. */
__attribute__((cold)) EXPORT ssize_t __read_chk(int fd, void *buf, size_t len, size_t room)
{
	return len > room || passes(fds_word(fd)) ? REAL(__read_chk)(fd, buf, len, room) : read_watched(fd, buf, len);
}

/* By numbers: the program says what it likes, NULL or more than there is. */
static bool overlap(const void *a, size_t a_len, const void *b, size_t b_len)
{
	return (uintptr_t)a < (uintptr_t)b + b_len && (uintptr_t)b < (uintptr_t)a + a_len;
}

/*
 * Does what comes in go to where these vectors are, or `what`? The kernel has its copy by then; for us they are gone. Then the connection
 * passes from here on.
 */
static __attribute__((cold)) bool loses_vectors(const struct io_receive *io, const struct iovec *iov, size_t count,
                                                const void *what, size_t len)
{
	size_t i;

	if (count > VECTORS_MAX || !os_readable(iov, count * sizeof(*iov)))
		return false; /* the kernel says what is wrong */
	for (i = 0; i < count; i++)
		if (overlap(iov[i].iov_base, iov[i].iov_len, iov, count * sizeof(*iov)) ||
		    overlap(iov[i].iov_base, iov[i].iov_len, what, len)) {
			conn_miss(io->handle);
			return true;
		}
	return false;
}

EXPORT __attribute__((cold)) ssize_t readv(int fd, const struct iovec *iov, int count)
{
	struct io_receive io;
	ssize_t n;

	if (io_uninvolved(fd) || !io_receive_begin(&io, fd) ||
	    (count > 0 && loses_vectors(&io, iov, (size_t)count, iov, 0)))
		return REAL(readv)(fd, iov, count);
	n = REAL(readv)(fd, iov, count);
	io_receive_end(&io, iov, count, n, false);
	return n;
}

static __attribute__((cold, noinline)) ssize_t recv_watched(int fd, void *buf, size_t len, int flags,
                                                            const void *caller)
{
	struct io_receive io;
	ssize_t n;

	if (!io_receive_begin(&io, fd))
		return REAL(recv)(fd, buf, len, flags);
	n = REAL(recv)(fd, buf, len, flags);
	receive_end_buffer(&io, buf, len, n, flags);
	if (__builtin_expect(python_watched, 0) && n > 0)
		python_received(fd, caller);
	return n;
}

EXPORT ssize_t recv(int fd, void *buf, size_t len, int flags)
{
	uint64_t word = fds_word(fd);
	struct conn_handle handle;
	ssize_t n;

	if ((flags & (MSG_ASIDE | MSG_TRUNC)) == 0 && !__builtin_expect(python_watched, 0) &&
	    fds_kind(word) == FD_CONN && io_receive_usual(&handle, fd, word)) {
		n = REAL(recv)(fd, buf, len, flags);
		return n > 0 ? io_received(handle, fd, buf, n) : io_received_nothing(handle, fd, buf, len, n);
	}
	return passes(word) ? REAL(recv)(fd, buf, len, flags) :
	                      recv_watched(fd, buf, len, flags, __builtin_return_address(0));
}

__attribute__((cold)) EXPORT ssize_t __recv_chk(int fd, void *buf, size_t len, size_t room, int flags)
{
	return len > room || passes(fds_word(fd)) ? REAL(__recv_chk)(fd, buf, len, room, flags) :
	                                            recv_watched(fd, buf, len, flags, __builtin_return_address(0));
}

static __attribute__((cold, noinline)) ssize_t recvfrom_watched(int fd, void *restrict buf, size_t len, int flags,
                                                                struct sockaddr *restrict addr,
                                                                socklen_t *restrict addrlen)
{
	struct io_receive io;
	ssize_t n;

	if (!io_receive_begin(&io, fd))
		return REAL(recvfrom)(fd, buf, len, flags, addr, addrlen);
	n = REAL(recvfrom)(fd, buf, len, flags, addr, addrlen);
	receive_end_buffer(&io, buf, len, n, flags);
	return n;
}

EXPORT ssize_t recvfrom(int fd, void *restrict buf, size_t len, int flags, struct sockaddr *restrict addr,
                        socklen_t *restrict addrlen)
{
	return io_uninvolved(fd) ? REAL(recvfrom)(fd, buf, len, flags, addr, addrlen) :
	                           recvfrom_watched(fd, buf, len, flags, addr, addrlen);
}

__attribute__((cold)) EXPORT ssize_t __recvfrom_chk(int fd, void *buf, size_t len, size_t room, int flags,
                                                    struct sockaddr *addr, socklen_t *addrlen)
{
	return len > room || io_uninvolved(fd) ? REAL(__recvfrom_chk)(fd, buf, len, room, flags, addr, addrlen) :
	                                         recvfrom_watched(fd, buf, len, flags, addr, addrlen);
}

/* CMSG_NXTHDR, which is a call into glibc where that is not built in. Other libcs have no such function. cmsg(3) */
static inline struct cmsghdr *part_behind(const struct msghdr *msg, struct cmsghdr *c)
{
	size_t rest = msg->msg_controllen - (size_t)((char *)c - (char *)msg->msg_control);

	if (c->cmsg_len < sizeof(*c) || c->cmsg_len > rest || CMSG_ALIGN(c->cmsg_len) + sizeof(*c) > rest)
		return NULL;
	return (struct cmsghdr *)(void *)((char *)c + CMSG_ALIGN(c->cmsg_len));
}

/* Descriptors that came with a message are born here: what they are is learned at their first use. */
static __attribute__((cold)) void born_with(const struct msghdr *msg)
{
	struct cmsghdr *c;

	for (c = CMSG_FIRSTHDR(msg); c != NULL; c = part_behind(msg, c)) {
		size_t i, bytes = c->cmsg_len - CMSG_LEN(0);

		if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS)
			continue;
		for (i = 0; i + sizeof(int) <= bytes; i += sizeof(int)) {
			int fd;

			memcpy(&fd, CMSG_DATA(c) + i, sizeof(fd));
			fds_birth(fd, FD_UNKNOWN);
		}
	}
}

EXPORT __attribute__((cold)) ssize_t recvmsg(int fd, struct msghdr *msg, int flags)
{
	struct io_receive io;
	bool involved = !io_uninvolved(fd) && io_receive_begin(&io, fd);
	bool lost = involved && os_readable(msg, sizeof(*msg)) &&
	            loses_vectors(&io, msg->msg_iov, msg->msg_iovlen, msg, sizeof(*msg));
	ssize_t n = REAL(recvmsg)(fd, msg, flags);

	if (lost)
		return n;
	if (n >= 0 && msg->msg_controllen > 0 && io_active())
		born_with(msg);
	if (involved) /* after an error, the message may be none */
		receive_end(&io, n < 0 ? NULL : msg->msg_iov, n < 0 ? 0 : (int)msg->msg_iovlen, n, flags);
	return n;
}

EXPORT __attribute__((cold)) int recvmmsg(int fd, struct mmsghdr *msgs, unsigned count, int flags,
                                          struct timespec *timeout)
{
	struct io_receive io;
	bool involved = !io_uninvolved(fd) && io_receive_begin(&io, fd);
	int n = REAL(recvmmsg)(fd, msgs, count, flags, timeout);
	int i;

	for (i = 0; i < n && io_active(); i++) {
		const struct msghdr *msg = &msgs[i].msg_hdr;

		if (msg->msg_controllen > 0)
			born_with(msg);
		if (involved)
			receive_end(&io, msg->msg_iov, (int)msg->msg_iovlen, (ssize_t)msgs[i].msg_len, flags);
	}
	return n;
}

/* ---- sending ---- */

/* One stretch goes by the call for one, which the kernel is through with sooner. */
static __attribute__((cold)) ssize_t emit_sendmsg(const struct io_emitter *emitter, const struct iovec *iov, int count)
{
	struct msghdr msg = { .msg_iov = (struct iovec *)(uintptr_t)iov, .msg_iovlen = (size_t)count };
	int flags = emitter->flags | (emitter->goes_on ? MSG_NOSIGNAL : 0);

	if (count == 1)
		return REAL(send)(emitter->fd, iov->iov_base, iov->iov_len, flags);
	return REAL(sendmsg)(emitter->fd, &msg, flags);
}

static ssize_t emit_writev(const struct io_emitter *emitter, const struct iovec *iov, int count)
{
	/* Connections only: where a write would raise SIGPIPE, sendmsg can be told not to. */
	if (emitter->goes_on)
		return emit_sendmsg(emitter, iov, count);
	if (count == 1)
		return REAL(write)(emitter->fd, iov->iov_base, iov->iov_len);
	return REAL(writev)(emitter->fd, iov, count);
}

static __attribute__((noinline)) ssize_t write_watched(int fd, const void *buf, size_t len, uint64_t word)
{
	struct io_emitter emitter = { .emit = emit_writev, .fd = fd };
	struct iovec iov = { (void *)(uintptr_t)buf, len }, v[IO_ANSWER_VECTORS];
	struct io_send io;
	enum io_verdict verdict;
	ssize_t n;

	if (fds_kind(word) == FD_CONN && io_active() && io_answer_begin(&io, fd, word, &iov, 1, v))
		return io_answer_end(&io, REAL(write)(fd, v->iov_base, v->iov_len));
	if ((verdict = io_send_begin(&io, fd, &iov, 1)) == IO_PLAIN)
		return REAL(write)(fd, buf, len);
	if (verdict == IO_SPECIAL)
		return io_send_special(&io, &emitter);
	n = REAL(write)(fd, buf, len);
	io_send_end(&io, n);
	return n;
}

/* The usual line is written from here: see logline_one_begin. */
static __attribute__((noinline)) ssize_t write_line(int fd, const void *buf, size_t len, uint64_t word)
{
	struct logline_one one;

	if (!io_line_begin(&one, fd, word, (logline_key)os_tid(), buf, len))
		return write_watched(fd, buf, len, word);
	return io_line_end(&one, REAL(write)(fd, one.bytes, one.len));
}

/* The first one, and those of high numbers. */
static __attribute__((noinline, cold)) ssize_t write_seldom(int fd, const void *buf, size_t len)
{
	uint64_t word = fds_word(fd);

	if (passes(word))
		return REAL(write)(fd, buf, len);
	return fds_kind(word) == FD_LOG ? write_line(fd, buf, len, word) : write_watched(fd, buf, len, word);
}

EXPORT ssize_t write(int fd, const void *buf, size_t len)
{
	uint64_t word;

	if (__builtin_expect((unsigned)fd >= FDS_FIRST, 0))
		return write_seldom(fd, buf, len);
	word = fds_word(fd);
	if (tls_is_below(word))
		return BOUND(write)(fd, buf, len); /* io_bind_for_tls */
	if (__builtin_expect(BOUND(write) == NULL, 0))
		return write_seldom(fd, buf, len);
	if (fds_kind(word) == FD_NOTHING || !io_active())
		return BOUND(write)(fd, buf, len);
	return fds_kind(word) == FD_LOG ? write_line(fd, buf, len, word) : write_watched(fd, buf, len, word);
}

void io_bind_for_tls(void)
{
	(void)REAL(read);
	(void)REAL(write);
}

static __attribute__((cold, noinline)) ssize_t writev_watched(int fd, const struct iovec *iov, int count)
{
	struct io_emitter emitter = { .emit = emit_writev, .fd = fd };
	struct io_send io;
	enum io_verdict verdict;
	ssize_t n;

	if (io_uninvolved(fd) || count > VECTORS_MAX || (verdict = io_send_begin(&io, fd, iov, count)) == IO_PLAIN)
		return REAL(writev)(fd, iov, count);
	if (verdict == IO_SPECIAL)
		return io_send_special(&io, &emitter);
	n = REAL(writev)(fd, iov, count);
	io_send_end(&io, n);
	return n;
}

static inline bool are_few_vectors(const struct iovec *iov, int count)
{
	return count > 0 && count <= IO_ANSWER_VECTORS && os_readable(iov, (size_t)count * sizeof(*iov));
}

EXPORT ssize_t writev(int fd, const struct iovec *iov, int count)
{
	uint64_t word = fds_word(fd);
	struct iovec v[IO_ANSWER_VECTORS];
	struct io_send io;

	if (fds_kind(word) != FD_CONN || !io_active() || !are_few_vectors(iov, count) ||
	    !io_answer_begin(&io, fd, word, iov, count, v))
		return writev_watched(fd, iov, count);
	return io_answer_end(&io, count == 1 ? REAL(write)(fd, v->iov_base, v->iov_len) : REAL(writev)(fd, v, count));
}

/*
 * A log that is sent to, not written to: records take the place of the bytes only where that is the same as a write, on a
 * socket and without flags. Elsewhere the real call says what is wrong, or does what the flags ask for.
 */
static __attribute__((cold)) bool is_left_alone(const struct io_send *io, int flags)
{
	socklen_t len = sizeof(int);
	int type;

	return fds_kind(io->word) == FD_LOG &&
	       (flags != 0 || REAL(getsockopt)(io->fd, SOL_SOCKET, SO_TYPE, &type, &len) != 0);
}

/*
 * May a call be made as several? Not where its last byte is urgent; nor where the kernel reads the bytes later and tells the
 * program once a call when it has: an insertion would by then be another's.
 */
static bool is_divisible(int flags)
{
	return (flags & (MSG_OOB | MSG_ZEROCOPY)) == 0;
}

__attribute__((cold)) bool io_comes_next(int fd, int flags)
{
	struct io_emitter emitter = { .emit = emit_sendmsg,
		                      .fd = fd,
		                      .flags = flags & (MSG_DONTWAIT | MSG_NOSIGNAL | MSG_MORE) };

	return io_send_rest(&emitter);
}

EXPORT ssize_t send(int fd, const void *buf, size_t len, int flags)
{
	struct io_emitter emitter = { .emit = emit_sendmsg, .fd = fd, .flags = flags };
	struct iovec iov = { (void *)(uintptr_t)buf, len }, v[IO_ANSWER_VECTORS];
	uint64_t word = fds_word(fd);
	struct io_send io;
	enum io_verdict verdict;
	ssize_t n;

	if (fds_kind(word) == FD_CONN && io_active() && is_divisible(flags) &&
	    io_answer_begin(&io, fd, word, &iov, 1, v))
		return io_answer_end(&io, REAL(send)(fd, v->iov_base, v->iov_len, flags));
	if (io_uninvolved(fd) || (verdict = io_send_begin(&io, fd, &iov, 1)) == IO_PLAIN || is_left_alone(&io, flags))
		return REAL(send)(fd, buf, len, flags);
	if (verdict == IO_SPECIAL && is_divisible(flags))
		return io_send_special(&io, &emitter);
	n = verdict == IO_WATCH || io_comes_next(fd, flags) ? REAL(send)(fd, buf, len, flags) : -1;
	io_send_end(&io, n);
	return n;
}

/* Is it a connection, though it may be one that nobody has looked at yet? */
static __attribute__((cold)) bool is_conn(int fd)
{
	uint64_t word = fds_word(fd);
	int saved = errno;

	if (fds_kind(word) == FD_UNKNOWN)
		word = fds_learn(fd);
	errno = saved;
	return fds_kind(word) == FD_CONN;
}

EXPORT __attribute__((cold)) ssize_t sendto(int fd, const void *buf, size_t len, int flags, const struct sockaddr *addr,
                                            socklen_t addrlen)
{
	struct io_emitter emitter = { .emit = emit_sendmsg, .fd = fd, .flags = flags };
	struct iovec iov = { (void *)(uintptr_t)buf, len };
	struct io_send io;
	enum io_verdict verdict;
	ssize_t n;

	/* An address is for datagrams, and for MSG_FASTOPEN, which we leave alone. What is connected ignores it, or refuses it. */
	if (io_uninvolved(fd) || (addr != NULL && !is_conn(fd)) ||
	    (verdict = io_send_begin(&io, fd, &iov, 1)) == IO_PLAIN || is_left_alone(&io, flags))
		return REAL(sendto)(fd, buf, len, flags, addr, addrlen);
	if (verdict == IO_SPECIAL && is_divisible(flags) && addr == NULL)
		return io_send_special(&io, &emitter);
	n = verdict == IO_WATCH || io_comes_next(fd, flags) ? REAL(sendto)(fd, buf, len, flags, addr, addrlen) : -1;
	io_send_end(&io, n);
	return n;
}

/* Whoever receives a connection may answer on it, unseen, as a child that inherits it may. */
static __attribute__((cold)) void note_handed_on(const struct msghdr *msg)
{
	const struct cmsghdr *first;

	if (os_readable(msg->msg_control, sizeof(*first)) && (first = CMSG_FIRSTHDR(msg)) != NULL &&
	    first->cmsg_level == SOL_SOCKET && first->cmsg_type == SCM_RIGHTS)
		conn_note_child();
}

static __attribute__((cold)) ssize_t send_message(int fd, const struct msghdr *msg, int flags)
{
	struct io_emitter emitter = { .emit = emit_sendmsg, .fd = fd, .flags = flags };
	struct io_send io;
	enum io_verdict verdict;
	ssize_t n;

	if (io_uninvolved(fd) || !os_readable(msg, sizeof(*msg)))
		return REAL(sendmsg)(fd, msg, flags);
	if (msg->msg_controllen > 0)
		note_handed_on(msg);
	if (msg->msg_iovlen > VECTORS_MAX ||
	    (verdict = io_send_begin(&io, fd, msg->msg_iov, (int)msg->msg_iovlen)) == IO_PLAIN ||
	    is_left_alone(&io, flags))
		return REAL(sendmsg)(fd, msg, flags);
	/* Descriptors travel with the bytes, or an address, which a connection may refuse: such a message is not cut up. */
	if (verdict == IO_SPECIAL && msg->msg_controllen == 0 && msg->msg_name == NULL && is_divisible(flags))
		return io_send_special(&io, &emitter);
	n = verdict == IO_WATCH || io_comes_next(fd, flags) ? REAL(sendmsg)(fd, msg, flags) : -1;
	io_send_end(&io, n);
	return n;
}

EXPORT __attribute__((cold)) ssize_t sendmsg(int fd, const struct msghdr *msg, int flags)
{
	return send_message(fd, msg, flags);
}

static __attribute__((cold)) size_t message_len(const struct msghdr *msg)
{
	size_t i, len = 0;

	for (i = 0; i < msg->msg_iovlen; i++)
		len += msg->msg_iov[i].iov_len;
	return len;
}

EXPORT __attribute__((cold)) int sendmmsg(int fd, struct mmsghdr *msgs, unsigned count, int flags)
{
	int saved = errno;
	uint64_t word;
	unsigned i;

	if (io_uninvolved(fd) || !is_conn(fd) || !os_readable(msgs, sizeof(*msgs)))
		return REAL(sendmmsg)(fd, msgs, count, flags);
	word = fds_word(fd);
	/* On a stream it is a loop of sendmsg (sendmmsg(2)) that ends behind a message that went out in part; an error after the
	   first message shows at the next call. */
	for (i = 0; i < count && i < VECTORS_MAX; i++) {
		ssize_t n;

		/* The kernel would hold the file for the whole call: what came by its number meanwhile is not meant. */
		if (!os_readable(&msgs[i], sizeof(msgs[i])) || (i > 0 && fds_word(fd) != word))
			return (int)i;
		n = send_message(fd, &msgs[i].msg_hdr, flags);
		if (n < 0 && i > 0) {
			errno = saved;
			return (int)i;
		}
		if (n < 0)
			return -1;
		msgs[i].msg_len = (unsigned)n;
		if ((size_t)n < message_len(&msgs[i].msg_hdr))
			return (int)i + 1;
	}
	return (int)i;
}

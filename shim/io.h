/*
 * What the hooks call around the real calls: the one place where descriptors, connections, logs and the current request
 * meet. A hook is: begin; real call; end. Nothing is held between begin and end, so the real call may block, be cancelled,
 * longjmp or take signals. All functions keep errno, and are signal-safe.
 */
#ifndef TRACESHIM_IO_H
#define TRACESHIM_IO_H

#include <poll.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/select.h>
#include <sys/socket.h>
#include <sys/types.h>
#include <sys/uio.h>

#include "layout.h"
#include "conn.h"
#include "fds.h"
#include "logline.h"
#include "stream.h"

/*
 * Bit 0: is this process a guest? Not until the constructor is through, in inert processes and in those that confined themselves.
 * Above it, how many threads are, or may be, inside a vfork child or in strict seccomp, which their own flag then says. As a rule
 * none: so one look tells what a hook wants to know. Atomic; counted before the flag is set (hooks/vfork.S too).
 */
#define IO_READY 1u
#define IO_ONE_ASIDE 2u
extern uint32_t io_state;
extern __thread bool io_vfork_child __attribute__((tls_model("initial-exec")));

static inline __attribute__((always_inline)) bool io_ready(void)
{
	return (__atomic_load_n(&io_state, __ATOMIC_RELAXED) & IO_READY) != 0;
}

/* The process is a guest, or is none any more. */
void io_set_ready(bool ready);
/* What this thread does from now on is not the process's, or is again. */
void io_step_aside(bool aside);

/* io_active, where it takes a second look. */
bool io_active_here(void) __attribute__((cold));

/* False: pass through. */
static inline __attribute__((always_inline)) bool io_active(void)
{
	return __builtin_expect(__atomic_load_n(&io_state, __ATOMIC_RELAXED) == IO_READY, 1) || io_active_here();
}

/* Is there nothing to do for reads and writes of this descriptor? The fast path of every hook. */
static inline bool io_uninvolved(int fd)
{
	return fds_kind(fds_word(fd)) == FD_NOTHING || !io_active();
}

/* ---- sending ---- */

enum io_verdict {
	IO_PLAIN,  /* make the real call, nothing else */
	IO_WATCH,  /* make the real call, then io_send_end with its result */
	IO_SPECIAL /* do not make the real call: return io_send_special instead */
};

struct io_send {
	struct conn_handle handle;
	const struct iovec *iov;
	int count, fd;
	uint64_t word;
	struct request *caller; /* a reference, dropped by io_send_end and io_send_special */
	bool looked;            /* `spot` is that of the bytes from `from` on, when conn->sends was `sends` */
	bool found;
	bool usual; /* an answer as answer_usual began it: of `spot`, `at` and `done` alone are set, and no `caller`, `span` and flags */
	bool planned;      /* the first piece begins with `insertion` (NULL: without one), at `spot` */
	bool was_injected; /* `injected`: of the head whose blank line comes next */
	uint32_t sends;
	size_t from, total; /* total: the program's bytes */
	size_t whole;       /* the usual answer's: and the insertion's */
	struct insertion *insertion;
	struct stream_spot spot;
	struct span *span; /* the usual call's, where spans are exported */
	struct span_ids injected;
};

/*
 * How to send: the real call behind the hook, on other vectors. `emit` returns what the real call returns, errno set.
 */
struct io_emitter {
	ssize_t (*emit)(const struct io_emitter *emitter, const struct iovec *iov, int count);
	const struct msghdr *msg; /* sendmsg's header without vectors, or NULL */
	int fd, flags;
	bool goes_on; /* a part of the program's bytes is out: the call is a success, so no signal may come of what fails now */
};

/*
 * The usual answer, in few steps: all of a message to a client, or its head and a part of its body, with a head like the last one's
 * that may get the response header. And the usual call: the same of a message to a server. `begin` true: make the real call with
 * the `count` vectors of `v` (of IO_ANSWER_VECTORS), and return what `end` makes of its result. false: nothing was done; it is for
 * io_send_begin. `word` is the descriptor's, which is a connection (FD_CONN); `count` is 1 to IO_ANSWER_VECTORS, and they can be read.
 */
#define IO_ANSWER_VECTORS 4
bool io_answer_begin(struct io_send *io, int fd, uint64_t word, const struct iovec *iov, int count, struct iovec *v);
ssize_t io_answer_end(struct io_send *io, ssize_t sent);

/* The program is about to send `count` vectors (their bytes are borrowed until the end of the call). */
enum io_verdict io_send_begin(struct io_send *io, int fd, const struct iovec *iov, int count);
void io_send_end(struct io_send *io, ssize_t sent);
/* The result is the program's own byte count, or -1 with errno, whatever was inserted or rewritten. */
ssize_t io_send_special(struct io_send *io, struct io_emitter *emitter);

/*
 * Before a call that cannot be taken apart (ancillary or urgent data, sendfile, splice): send what is left of a half-sent
 * insertion. false: the kernel does not take it now, errno says why, and the call must fail with that. `emitter` without the
 * call's own flags.
 */
bool io_send_rest(const struct io_emitter *emitter);
/* Behind it bytes of such a call went out: where a whole insertion waited for its blank line, that has come. */
void io_send_blank_line_left(struct conn_handle handle);

/*
 * sendfile and splice: bytes that nobody sees. `sent` is the real call's result, `word` the descriptor's. _goes_on: is it more of a response that this
 * thread has begun, with nothing of ours to send before it? Then that is all there is to do before the real call.
 */
bool io_send_unseen_goes_on(int fd, uint64_t word);
/*
 * The usual body, whole, behind its head: as _goes_on, of sendfile, built into its caller; then io_sent_body is told of its result, and
 * returns that.
 */
bool io_send_body_usual(struct conn_handle *handle, int fd, uint64_t word);
ssize_t io_sent_body(struct conn_handle handle, int fd, ssize_t sent);
void io_send_unseen_begin(int fd);
void io_send_unseen_end(int fd, ssize_t sent);

/* ---- receiving ---- */

struct io_receive {
	struct conn_handle handle;
	int fd;
	bool beside; /* cipher text that the program reads itself */
};

/* Before the real read; false: there is nothing to do after it. */
bool io_receive_begin(struct io_receive *io, int fd);
/* `received` is the real call's result; the bytes lie in the vectors. peek: MSG_PEEK, they will come again. */
void io_receive_end(struct io_receive *io, const struct iovec *iov, int count, ssize_t received, bool peek);
/*
 * The usual read, in few steps: on a connection of requests or of calls, into one buffer. `begin` false: it is for io_receive_begin, nothing was done;
 * `word` is the descriptor's, which is a connection (FD_CONN). Both of the others are for after it and return `received`: where bytes came that do not come again, and where none came.
 */
bool io_receive_usual(struct conn_handle *handle, int fd, uint64_t word);
ssize_t io_received(struct conn_handle handle, int fd, void *buf, ssize_t received);
ssize_t io_received_nothing(struct conn_handle handle, int fd, void *buf, size_t len, ssize_t received);
/* splice from a connection: bytes that nobody sees. */
void io_receive_unseen(int fd, ssize_t received);
/*
 * The next call reads from a connection, or writes to it, and nobody sees what or how much: so nothing is known of what comes behind it,
 * and it passes from there on; of a served one the thread works for nobody then. Any descriptor.
 */
void io_passes_unseen(int fd);

/* ---- plain text of TLS (tls.c) ---- */

/*
 * As above, for what a library of TLS takes from the program or gives to it: the connection is the session's, `fd` the
 * descriptor below (-1: not known). io_receive_end, io_answer_end and io_send_end go with them; `iov` and `v` are one each. What
 * stands in `v` is of io->insertion, and so is the caller's, if not all of it was sent, which is said by io_answer_is_partial before `io` is used
 * for anything else: io_answer_end is for all of it.
 */
void io_receive_begin_plain(struct io_receive *io, struct conn_handle handle, int fd);
/* Its part that matters to a thread that has a request. */
void io_before_plain_read(struct conn *conn, int fd);
bool io_answer_begin_plain(struct io_send *io, struct conn_handle handle, int fd, const struct iovec *iov,
                           struct iovec *v);
void io_answer_is_partial(struct io_send *io) __attribute__((cold));
enum io_verdict io_send_begin_plain(struct io_send *io, struct conn_handle handle, int fd, const struct iovec *iov);
/* IO_SPECIAL is then done by the caller: what comes next of the program's bytes, from `from` on. */
struct io_plan {
	size_t at, end;              /* offsets: of the insertion, and of what comes before the next plan */
	struct insertion *insertion; /* the caller's from now on; NULL: none */
};
/* false: the connection is gone, and the rest passes. */
bool io_send_plan(struct io_send *io, struct io_plan *plan, size_t from);
/* So many bytes from `offset` on are through. */
void io_send_commit(struct io_send *io, size_t offset, size_t len);
/* Bytes that nobody sees went out. */
void io_send_unseen_plain(struct conn_handle handle, size_t sent);

/* ---- connections ---- */

/* Before the real accept: who accepts has no request any more. */
void io_accept_begin(void);
/* A connection was accepted; `nonblocking`: by accept4's flag. */
void io_accepted(int listener, int fd, bool nonblocking);
/* Around connect: `begin` before the real call, true when `end` must hear how it went. */
bool io_connect_begin(int fd, const struct sockaddr *addr, socklen_t len);
void io_connect_end(int fd, int result, int error);
/* Whose call does this outgoing connection carry the answer of? Its handler is at work. Locked. */
void io_touch_call(struct conn *conn, int fd);
/* The program asks how a connect went, or what became of a connection (SO_ERROR): an event of that one is being handled. */
void io_asked(int fd);
/* listen and shutdown have succeeded. */
void io_listening(int fd);
void io_shut(int fd, int how);
/* The program sets or clears O_NONBLOCK. */
void io_set_nonblocking(int fd, bool nonblocking);

/* ---- waiting ---- */

/* Is this a wait for new work? (`fds` is only read: libc declares poll's as write-only, and gcc believes it.) Then the thread's request is cleared, and `done` must hear the number of events. */
bool io_poll_begin(struct pollfd *fds, nfds_t count, int64_t timeout_ns);
bool io_select_begin(int count, const fd_set *reads, const fd_set *writes, int64_t timeout_ns);
bool io_epoll_begin(int epoll, int64_t timeout_ns);
/* An epoll set has a new descriptor: it shows whether waiting for the set is waiting for new requests. */
void io_epoll_added(int epoll, int fd);
/* An epoll set watches a descriptor, or watches it otherwise: another thread may get it from there. */
void io_epoll_changed(int fd);
void io_wait_done(int events);

/* ---- logs ---- */

/* The request that a line printed now belongs to: the thread's, else the process's. Borrowed, may be NULL. */
struct request *io_line_request(void);
/*
 * Write to a log: `word` is the descriptor's, the rest is as for logline_write, and so is the result.
 */
ssize_t io_write_log(int fd, uint64_t word, logline_key key, const struct iovec *iov, int count,
                     const struct logline_segment *segments, size_t segment_count);

/*
 * The same for one whole line, around the real write of one->bytes, see logline_one_begin. `begin` false: it is none, or
 * something else comes first; nothing was done. `end` returns the program's bytes taken, or -1 with errno.
 */
bool io_line_begin(struct logline_one *one, int fd, uint64_t word, logline_key key, const void *line, size_t len);
ssize_t io_line_end(struct logline_one *one, ssize_t n);

/* The log's part of io_send_end, where it is left as it is: what was sent is looked at for export. */
void io_watch_log(const struct io_send *io, ssize_t sent);

/* The log's part of io_send_special. */
ssize_t io_send_log(const struct io_send *io);

/* The process is ending, see io_end: whoever writes a log flushes the key behind it. */
extern bool io_ending;

/*
 * Keys of unfinished lines: a FILE's address; a thread id, for what the thread writes by itself; or that with this bit, for
 * its pieces of unbuffered streams, into which a signal handler may write. Linux' PID_MAX_LIMIT is 2^22.
 */
#define IO_KEY_UNBUFFERED ((logline_key)1 << 22)

static inline bool io_key_is_thread(logline_key key)
{
	return key < IO_KEY_UNBUFFERED * 2;
}

/* Send out what is unfinished (_exit, exec, a thread's end, a FILE's). */
void io_flush_logs(void);
void io_flush_thread_logs(void);
/* The thread ends: the same, and what else it keeps. */
void io_end_thread(void);
void io_flush_key(logline_key key);

/*
 * The process goes through exit(3): what nobody will add to goes out. libc flushes its streams last; a line whose rest is
 * in one of them waits for that, and whatever is written from now on waits for no end of line.
 */
void io_end(void);

/* A descriptor is about to be closed or replaced. What only it leads to goes out. */
void io_closing(int fd);
void io_closing_range(unsigned first, unsigned last);

/* In the child of a fork, before anything else runs there. */
void io_after_fork(void);

#endif

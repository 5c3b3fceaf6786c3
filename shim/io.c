/*
 * Where descriptors, connections, logs and the current request meet; see io.h. Sending is in io_send.c.
 */
#include "io_spans.h"

#include <errno.h>
#include <netinet/in.h>
#include <sys/un.h>

#include "config.h"
#include "counters.h"
#include "current.h"
#include "handoff.h"
#include "ids.h"
#include "layout.h"
#include "logfiles.h"
#include "logline.h"
#include "marks.h"
#include "os.h"
#include "protocol.h"
#include "ring.h"
#include "span.h"
#include "spare.h"
#include "stream.h"
#include "tls.h"

uint32_t io_state;
bool io_ending;
__thread bool io_vfork_child __attribute__((tls_model("initial-exec")));

bool io_active_here(void)
{
	return io_ready() && !io_vfork_child;
}

__attribute__((cold)) void io_set_ready(bool ready)
{
	if (ready)
		(void)__atomic_fetch_or(&io_state, IO_READY, __ATOMIC_RELAXED);
	else
		(void)__atomic_fetch_and(&io_state, ~IO_READY, __ATOMIC_SEQ_CST);
	if (!ready)
		tls_retire();
}

__attribute__((cold)) void io_step_aside(bool aside)
{
	if (aside)
		(void)__atomic_fetch_add(&io_state, IO_ONE_ASIDE, __ATOMIC_RELAXED);
	io_vfork_child = aside;
	if (!aside)
		(void)__atomic_fetch_sub(&io_state, IO_ONE_ASIDE, __ATOMIC_RELAXED);
}

/* ---- connections ---- */

void io_accept_begin(void)
{
	current_clear();
}

__attribute__((cold)) void io_accepted(int listener, int fd, bool nonblocking)
{
	int saved = errno;
	struct conn *conn = NULL;

	current_serve();
	if (fds_kind(fds_word(listener)) != FD_LISTENER)
		fds_birth(listener, FD_LISTENER); /* inherited, or handed over */
	if (!current_is_blind()) {
		stream_prepare();
		conn = conn_new(CONN_SERVED);
		if (conn != NULL) {
			__atomic_store_n(&conn->blocking, nonblocking ? 2 : 1, __ATOMIC_RELAXED);
			/* Whoever has to look whether something came may have others to look after. */
			if (!nonblocking)
				__atomic_store_n(&conn->keeper, conn_keeper(os_tid()), __ATOMIC_RELAXED);
		}
	}
	fds_birth_conn(fd, conn);
	current_accepted(fd);
	counters_publish();
	errno = saved;
}

__attribute__((cold)) bool io_connect_begin(int fd, const struct sockaddr *addr, socklen_t len)
{
	uint64_t word = fds_word(fd);
	struct request *known;
	struct conn *conn;
	int saved = errno;

	if (len < sizeof(addr->sa_family) || !os_readable(addr, sizeof(addr->sa_family)) || current_is_blind() ||
	    (addr->sa_family != AF_INET && addr->sa_family != AF_INET6 && addr->sa_family != AF_UNIX))
		return false;
	if (fds_kind(word) == FD_UNKNOWN)
		word = fds_learn(fd);
	/* A second connect asks how the first one goes; a datagram socket has no stream. */
	conn = fds_kind(word) == FD_STREAM ? conn_new(CONN_OUTGOING) : NULL;
	if (conn != NULL) {
		stream_prepare();
		known = current_known();
		conn->owner = request_ref(known);
		conn->opener = os_tid();
		fds_birth_conn(fd, conn);
	}
	errno = saved;
	return conn != NULL;
}

void io_connect_end(int fd, int result, int error)
{
	int saved = errno;

	if (result != 0 && error != EINPROGRESS && error != EINTR && error != EALREADY)
		fds_birth(fd, FD_STREAM);
	errno = saved;
}

/* Is there any call on it, of a protocol that is not HTTP/1? */
static __attribute__((cold)) bool is_asked(struct conn *conn)
{
	struct request *request;

	return conn->mode == CONN_PROTOCOL && conn->protocol->reads(conn, &request) != PROTOCOL_NOBODY;
}

/* nginx looks so why a client went away, and logs that before it does anything else on the connection. */
static void asked_served(struct conn_handle handle, int fd)
{
	struct request *request = NULL;
	bool mine = conn_lock_to_look(handle);

	if (mine && handle.conn->mode == CONN_HTTP1 && handle.conn->depth == 1)
		request = served_answering(handle.conn);
	current_read_reply(NULL, request, conn_is_blocking(handle.conn, fd));
	if (mine)
		conn_unlock(handle.conn);
}

/* Then it is a look whether a kept connection still works, and no event. */
static CONN_UNLOCKED_LOOK bool is_between_calls(const struct conn *conn)
{
	return conn_role(conn) == CONN_OUTGOING && conn->mode == CONN_HTTP1 && conn->first == NULL;
}

static __attribute__((cold, noinline)) void asked(int fd, uint64_t word)
{
	struct conn_handle handle = conn_of_word(fd, word);
	int saved = errno;

	if (handle.conn == NULL)
		return;
	if (conn_role(handle.conn) == CONN_SERVED) {
		asked_served(handle, fd);
	} else if (conn_role(handle.conn) == CONN_OUTGOING && conn_lock(handle)) {
		/* Of one that is not HTTP nobody can say whether it is between two. */
		if (handle.conn->mode == CONN_OPAQUE)
			current_read_reply(NULL, NULL, conn_is_blocking(handle.conn, fd));
		else if (handle.conn->mode == CONN_FRESH || handle.conn->first != NULL || is_asked(handle.conn))
			io_touch_call(handle.conn, fd);
		conn_unlock(handle.conn);
	}
	errno = saved;
}

/* As a rule it is a kept connection, and by a look at that the question is known to be none. */
LAYOUT_HOT __attribute__((noinline)) void io_asked(int fd)
{
	uint64_t word = fds_word(fd);

	if (fds_kind(word) == FD_CONN && !is_between_calls(fds_conn(word)))
		asked(fd, word);
}

__attribute__((cold)) void io_listening(int fd)
{
	int saved = errno;

	current_serve();
	fds_birth(fd, FD_LISTENER);
	counters_publish();
	errno = saved;
}

__attribute__((cold)) void io_shut(int fd, int how)
{
	struct conn_handle handle;
	int saved = errno;

	if (how != SHUT_RD && fds_kind(fds_word(fd)) == FD_CONN && (handle = conn_find(fd)).conn != NULL &&
	    conn_role(handle.conn) == CONN_SERVED && conn_lock(handle)) {
		handle.conn->sends++;
		served_shut(handle.conn);
		conn_unlock(handle.conn);
	}
	errno = saved;
}

__attribute__((cold)) void io_set_nonblocking(int fd, bool nonblocking)
{
	struct conn *conn = fds_conn(fds_word(fd));

	if (conn != NULL)
		__atomic_store_n(&conn->blocking, nonblocking ? 2 : 1, __ATOMIC_RELAXED);
	if (conn != NULL && nonblocking)
		__atomic_store_n(&conn->keeper, 0, __ATOMIC_RELAXED);
}

/* ---- waiting ---- */

/* What a wait is for. */
struct waited {
	unsigned listeners, connections, others; /* connections: served ones, but for that of the request at hand */
	struct conn *conn;                       /* the first of them */
};

static void add_waited(struct waited *waited, int fd)
{
	uint64_t word = fds_word(fd);
	struct conn *conn = fds_conn(word);

	if (fds_kind(word) == FD_LISTENER)
		waited->listeners++;
	else if (conn == NULL || conn_role(conn) != CONN_SERVED || current_is_own_wait(conn))
		waited->others++;
	else if (waited->connections++ == 0)
		waited->conn = conn;
}

/* Returns whether it is a wait for new work. */
static bool begin_wait(const struct waited *waited, int64_t timeout_ns)
{
	if (waited->listeners + waited->connections == 0) {
		current_wait_nested();
		return false;
	}
	/* Who waits for one connection alone is there for that. */
	if (waited->connections == 1 && waited->listeners == 0 && timeout_ns != 0)
		__atomic_store_n(&waited->conn->keeper, conn_keeper(os_tid()), __ATOMIC_RELAXED);
	/* For whoever connects next, or for the next request of one connection: as a blocking read or accept would. */
	if (waited->connections == 0 ||
	    (waited->connections + waited->listeners == 1 && waited->others <= (current_wakes_by_pipe() ? 1u : 0u)))
		current_wait_alone(timeout_ns);
	else
		current_wait_loop(timeout_ns);
	return true;
}

bool io_poll_begin(struct pollfd *fds, nfds_t count, int64_t timeout_ns)
{
	struct waited waited = { 0 };
	nfds_t i;

	if (count > LIMIT_FDS || !os_readable(fds, count * sizeof(*fds)))
		return false; /* the kernel says what is wrong */
	for (i = 0; i < count; i++)
		if (fds[i].fd >= 0)
			add_waited(&waited, fds[i].fd);
	return begin_wait(&waited, timeout_ns);
}

/*
 * How much of its sets the kernel looks at: as much as the process has ever had descriptors, in its steps; callers with a large
 * limit pass that as the count, with sets that are smaller. In our steps, so far as these are known to have been used.
 */
static int looked_at(int count)
{
	int block = (int)LIMIT_FDS;

	if (count <= (int)FDS_CHUNK)
		return count;
	while (block > (int)FDS_CHUNK &&
	       (block - (int)FDS_CHUNK >= count ||
	        __atomic_load_n(&fds_chunk[block / (int)FDS_CHUNK - 1], __ATOMIC_ACQUIRE) == NULL))
		block -= (int)FDS_CHUNK;
	return count < block ? count : block;
}

static bool is_set(const fd_set *set, int count)
{
	const unsigned bits = 8 * sizeof(unsigned long);

	return set == NULL || os_readable(set, ((unsigned)count + bits - 1) / bits * sizeof(unsigned long));
}

/* Not FD_ISSET: programs pass sets larger than fd_set, for which its fortified variant ends the process. */
static bool in_set(const fd_set *set, int fd)
{
	const unsigned bits = 8 * sizeof(unsigned long);
	const unsigned long *words = (const unsigned long *)(const void *)set;

	return set != NULL && (words[(unsigned)fd / bits] >> ((unsigned)fd % bits) & 1) != 0;
}

bool io_select_begin(int count, const fd_set *reads, const fd_set *writes, int64_t timeout_ns)
{
	struct waited waited = { 0 };
	int fd;

	if (count < 0)
		return false;
	count = looked_at(count);
	if (!is_set(reads, count) || !is_set(writes, count))
		return false;
	for (fd = 0; fd < count; fd++)
		if (in_set(reads, fd) || in_set(writes, fd))
			add_waited(&waited, fd);
	return begin_wait(&waited, timeout_ns);
}

bool io_epoll_begin(int epoll, int64_t timeout_ns)
{
	/* A set of one's own pipes and calls: mod_cgi waits so for the program that it has started. */
	if (fds_epoll_serves_nobody(fds_word(epoll))) {
		current_wait_private();
		return false;
	}
	current_wait_loop(timeout_ns);
	return true;
}

/* Is it a served connection that leaves the thread's hands? */
static void note_given_away(uint64_t word, bool watched)
{
	const struct conn *conn = fds_kind(word) == FD_CONN ? fds_conn(word) : NULL;

	if (conn != NULL && conn_role(conn) != CONN_OUTGOING)
		current_give_away(watched ? conn : NULL);
}

void io_epoll_added(int epoll, int fd)
{
	uint64_t word = fds_word(fd);
	struct conn *conn = fds_conn(word);
	bool serves = fds_kind(word) == FD_UNKNOWN || fds_kind(word) == FD_LISTENER ||
	              (conn != NULL && conn_role(conn) != CONN_OUTGOING);

	fds_epoll_add(epoll, serves ? FDS_EPOLL_SERVED : FDS_EPOLL_OTHER);
}

void io_epoll_changed(int fd)
{
	int saved = errno;

	note_given_away(fds_word(fd), true);
	errno = saved;
}

/* Nothing in it has an error: the clock that is asked is there. */
void io_wait_done(int events)
{
	current_wait_loop_done(events);
}

/* ---- logs ---- */

struct request *io_line_request(void)
{
	struct request *known = current_known();

	return known != NULL ? known : current_ambient();
}

__attribute__((cold)) void io_flush_logs(void)
{
	int saved = errno;

	if (logfiles_any())
		logline_flush_all(logfiles_fd_of);
	errno = saved;
}

void io_flush_thread_logs(void)
{
	int saved = errno;

	logline_flush_key((logline_key)os_tid(), logfiles_fd_of);
	logline_flush_key((logline_key)os_tid() | IO_KEY_UNBUFFERED, logfiles_fd_of);
	logline_thread_end();
	errno = saved;
}

__attribute__((cold)) void io_end_thread(void)
{
	if (io_active())
		io_flush_thread_logs();
	if (handoff != NULL)
		handoff->end_thread();
	spare_end_thread();
	ring_end_thread();
}

void io_flush_key(logline_key key)
{
	int saved = errno;

	logline_flush_key(key, logfiles_fd_of);
	errno = saved;
}

LAYOUT_START void io_end(void)
{
	int saved = errno;

	io_ending = true;
	if (logfiles_any())
		logline_flush_settled(logfiles_fd_of);
	errno = saved;
}

__attribute__((cold)) void io_closing(int fd)
{
	uint64_t word = fds_word(fd);
	int saved = errno;

	if (fds_kind(word) == FD_LOG && logline_is_pending(fds_log_file(word)) &&
	    logfiles_is_last(fds_log_file(word), fd))
		logline_flush_file(fds_log_file(word), fd);
	else if (fds_kind(word) == FD_CONN && fds_conn(word) != NULL && current_is_own_wait(fds_conn(word)))
		current_give_up();
	else
		note_given_away(word, false);
	errno = saved;
}

__attribute__((cold)) void io_closing_range(unsigned first, unsigned last)
{
	unsigned fd;

	/* Logs are on low numbers; a sweep goes up to 2^20. */
	for (fd = first; fd <= last && fd < LOGFILES_FDS; fd++)
		io_closing((int)fd);
}

__attribute__((cold)) void io_after_fork(void)
{
	int saved = errno;

	/* Other threads that were aside are not here. */
	io_state = (io_state & IO_READY) | (io_vfork_child ? IO_ONE_ASIDE : 0);
	os_after_fork();
	conn_after_fork();
	ids_after_fork();
	logfiles_after_fork();
	logline_after_fork();
	marks_after_fork();
	counters_after_fork();
	current_after_fork();
	request_after_fork();
	if (handoff != NULL)
		handoff->after_fork();
	ring_after_fork();
	errno = saved;
}

/*
 * Sending: the program's bytes on their way out, watched, rewritten (logs) or with head lines inserted.
 *
 * Insertion keeps three promises whatever the kernel takes: the peer gets the program's bytes in order with each insertion
 * whole and once; the program gets its own byte count; nothing needs a timer or a thread later. Where the kernel took only a
 * part of an insertion, the rest is kept with the connection and goes out before the program's next byte, of which there
 * is always one: the blank line still has to be sent (trap 30). A call that would then have to report 0 bytes goes on
 * until a byte of the program went out or the kernel says why not (EAGAIN).
 *
 * One call of the program may hold several messages. It is sent in pieces, each up to the end of a message, so that every
 * head gets its insertion; on a blocking socket the pieces add up to the whole, as the program expects.
 *
 * The usual answer and the usual call go out in few steps (io_usual.c); what has to be cut into pieces goes by io_insert.c. Both settle an
 * insertion in the same way.
 */
#include "io_send_internal.h"

#include <errno.h>
#include <linux/tcp.h>
#include <netinet/in.h>
#include <string.h>

#include "config.h"
#include "current.h"
#include "ids.h"
#include "os.h"
#include "propagate_bare.h"
#include "protocol.h"
#include "record_digits.h"
#include "ring.h"
#include "span.h"
#include "stream.h"
#include "tls.h"

/* ---- who calls ---- */

/* The request that an outgoing connection itself speaks for; NULL: none. Borrowed. Locked. */
static struct request *bound_to(const struct io_send *io, struct conn *conn)
{
	struct request *request = NULL;

	if (conn->mode == CONN_PROTOCOL)
		return conn->protocol->writes(conn, io->iov, io->count, &request) == PROTOCOL_ONE ? request : NULL;
	if (conn_last(conn) != NULL && !conn_last(conn)->request_done)
		return conn_last(conn)->request != NULL ? conn_last(conn)->request : conn->owner;
	return conn->mode == CONN_FRESH && conn->opener == os_tid() ? conn->owner : NULL;
}

/*
 * The request in whose name the program writes on an outgoing connection, with a reference; NULL: not known, or none and
 * not to be made up. Locked.
 */
__attribute__((cold)) struct request *io_find_caller(struct conn *conn, struct request *bound, bool blocking)
{
	struct request *caller = current_for_call(bound, blocking);

	if (caller == NULL)
		caller = current_ambient();
	if (caller != NULL)
		return request_ref(caller);
	if (current_serves() || !config.root || conn->mode == CONN_OPAQUE)
		return NULL;
	caller = request_new();
	if (caller != NULL) {
		propagate_fresh(&caller->ctx);
		caller->origin = REQUEST_LOCAL;
		request_advance(caller, REQUEST_LIVE);
	}
	return caller;
}

/* ---- begin and end ---- */

/* Look for the spot in the program's bytes from `from` on. Locked. */
static inline bool look_for_spot(struct io_send *io, struct conn *conn, size_t from)
{
	io->looked = true;
	io->from = from;
	io->sends = conn->sends;
	io->found = conn_role(conn) == CONN_SERVED ? served_find_spot(conn, io->iov, io->count, from, &io->spot) :
	                                             call_find_spot(conn, io->iov, io->count, from, &io->spot);
	return io->found;
}

/* The same, unless that was done and nothing changed. */
bool io_find_spot(struct io_send *io, struct conn *conn, size_t from)
{
	if (io->looked && io->from == from && io->sends == conn->sends && io->spot.known)
		return io->found;
	return look_for_spot(io, conn, from);
}

static size_t format_call_insertion(struct io_send *io, const struct stream_spot *spot, struct insertion *ins)
{
	uint8_t span_id[8];

	if (io->caller == NULL || !spot->host_allowed || (spot->own & PROPAGATE_HAS_TRACE) != 0)
		return 0;
	ids_generate_span(span_id);
	if (config.export_traces)
		span_describe_call(&ins->ids, io->caller, span_id);
	return propagate_format_headers(&io->caller->ctx, span_id, spot->own, ins->text);
}

static size_t format_response_insertion(const struct request *request, const struct stream_spot *spot, char *out)
{
	size_t len = config.response_header.len;

	if (request == NULL || spot->own_response_header || len == 0)
		return 0;
	memcpy(out, config.response_header.text, len);
	memcpy(out + len, ": ", 2);
	record_put_hex(out + len + 2, request->ctx.trace_id, sizeof(request->ctx.trace_id));
	memcpy(out + len + 34, "\r\n", 2);
	return len + 36;
}

/* What goes into the spot that was found; NULL: nothing. Locked. */
__attribute__((cold)) struct insertion *io_make_insertion(struct io_send *io, struct conn *conn)
{
	struct insertion *ins = insertion_new();

	if (ins == NULL)
		return NULL;
	if (__builtin_expect(conn->mode == CONN_PROTOCOL, 0))
		conn->protocol->insert(conn, &(struct protocol_call){ io->iov, io->count, io->caller, io->fd },
		                       &io->spot, ins);
	else if (conn_role(conn) == CONN_SERVED)
		ins->len = (uint32_t)format_response_insertion(served_answering(conn), &io->spot, ins->text);
	else
		ins->len = (uint32_t)format_call_insertion(io, &io->spot, ins);
	if (ins->len > 0)
		return ins;
	insertion_free(ins);
	return NULL;
}

/*
 * Is there anything to insert, or more than one message to cut apart? Then the first piece is planned: the lock is ours, and
 * what would make it another plan a moment later could as well happen during the call. Locked.
 */
static bool is_special(struct io_send *io, struct conn *conn, bool may_insert)
{
	bool found;

	if (conn->pending != NULL)
		return true;
	if (!may_insert || conn->mode == CONN_OPAQUE || io->total == 0)
		return false;
	found = look_for_spot(io, conn, 0);
	io->insertion = found ? io_make_insertion(io, conn) : NULL;
	io->planned = io->insertion != NULL || io->spot.end < io->total;
	return io->planned;
}

/* The same, of another protocol. Locked. */
static __attribute__((cold)) enum io_verdict begin_protocol(struct io_send *io, struct conn *conn)
{
	struct request *request = NULL;

	switch (conn->protocol->writes(conn, io->iov, io->count, &request)) {
	case PROTOCOL_ONE: current_begin_response(request, conn_is_blocking(conn, io->fd)); break;
	case PROTOCOL_SEVERAL: current_mixes(); break;
	default: break;
	}
	return is_special(io, conn, config.response_header.len > 0) ? IO_SPECIAL : IO_WATCH;
}

/*
 * Is it nothing but an interim answer (1xx)? Whoever reads a request may invite its body, and leave the rest of it and the answer to others.
 * Locked.
 */
static __attribute__((cold)) __attribute__((noinline)) bool is_interim(struct io_send *io, struct conn *conn)
{
	const struct http1 *after = &io->spot.after;

	return !io_find_spot(io, conn, 0) && !io->spot.done &&
	       (http1_untouched(after) || (http1_in_head(after) && after->status / 100 == 1));
}

/* May it be? `ex` is what is answered. */
static inline bool looks_interim(const struct io_send *io, const struct exchange *ex)
{
	return io->iov->iov_len > 9 && ((const char *)io->iov->iov_base)[9] == '1' &&
	       (!ex->response_begun || http1_untouched(&ex->down));
}

__attribute__((cold)) static enum io_verdict begin_served(struct io_send *io, struct conn *conn)
{
	struct request *answered;
	struct exchange *ex;
	bool special;

	if (config.export_traces && conn_is_http1(conn))
		ring_prepare(); /* what it asks of the kernel, it asks without the connection's lock */
	if (!conn_lock_to_send(io->handle))
		return IO_PLAIN;
	if (conn->depth > 1 && conn_child_since(conn->first->request))
		conn_make_opaque(conn, true); /* is this the first one's answer, or did a child give that? */
	ex = conn->mode == CONN_HTTP1 ? served_unanswered(conn) : NULL;
	if (ex == NULL && conn->mode == CONN_PROTOCOL) {
		enum io_verdict verdict = begin_protocol(io, conn);

		conn_unlock(conn);
		return verdict;
	}
	answered = ex != NULL ? ex->request : served_answering(conn);
	special = is_special(io, conn, config.response_header.len > 0 && answered != NULL);
	if (config.export_traces && io->total > 0 && conn->mode == CONN_HTTP1) {
		(void)io_find_spot(io, conn, 0);
		served_hold_span(conn, &io->spot);
	}
	if (ex == NULL || !looks_interim(io, ex) || !is_interim(io, conn))
		current_begin_response(answered, conn_is_blocking(conn, io->fd));
	conn_unlock(conn);
	return special ? IO_SPECIAL : IO_WATCH;
}

__attribute__((cold)) static enum io_verdict begin_call(struct io_send *io, struct conn *conn)
{
	struct request *bound;
	bool special;

	if (!conn_lock_to_send(io->handle))
		return IO_PLAIN;
	if (config.export_traces)
		span_call_is_due(conn, io->fd);
	bound = bound_to(io, conn);
	io->caller = io_find_caller(conn, bound, conn_is_blocking(conn, io->fd));
	special = is_special(io, conn, io->caller != NULL);
	conn_unlock(conn);
	return special ? IO_SPECIAL : IO_WATCH;
}

/* Was something sent on it before, says the kernel? Of what is no TCP it does not say, nor where it does not count. tcp(7), TCP_INFO. */
static __attribute__((cold)) bool is_spoken(int fd)
{
	socklen_t len = sizeof(struct tcp_info);
	struct tcp_info info;

	info.tcpi_data_segs_out = info.tcpi_notsent_bytes = 0;
	return os.getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &len) == 0 &&
	       (info.tcpi_data_segs_out | info.tcpi_notsent_bytes) != 0;
}

/*
 * An inherited connection shows by its first byte on which side we are: a client sends the request. Unless another process has sent
 * something before: then this may as well be a body (a script that sends a head, and has cat send a file behind it).
 */
static __attribute__((cold)) void decide_role(struct io_send *io, struct conn *conn)
{
	if (io->count > 0 &&
	    (http1_sniff_request(io->iov[0].iov_base, io->iov[0].iov_len) == HTTP1_SNIFF_YES ||
	     protocol_sniff(CONN_OUTGOING, io->iov[0].iov_base, io->iov[0].iov_len) != PROTOCOL_NONE)) {
		conn_decide_role(conn, CONN_OUTGOING);
		if (conn_tls(conn) == NULL && is_spoken(io->fd))
			conn_miss(io->handle);
	} else {
		conn_decide_role(conn, CONN_SERVED);
		current_serve();
	}
}

/*
 * Are these bytes that we may read, and how many? If not it is for the kernel to refuse them, or to take a part. Of what goes
 * to a connection a piece is looked at in its first pages and its last one: the inside of a body is not read.
 */
static __attribute__((cold)) bool are_bytes(const struct iovec *iov, int count, bool log, size_t *sum)
{
	size_t total = 0;
	int i;

	if (!os_readable(iov, (size_t)count * sizeof(*iov)))
		return false;
	for (i = 0; i < count; i++) {
		const char *bytes = iov[i].iov_base;
		size_t len = iov[i].iov_len;

		if (len > (size_t)PTRDIFF_MAX - total)
			return false;
		total += len;
		if (log || len <= LOOKED_AT_MAX ? !os_readable(bytes, len) :
		                                  !os_readable(bytes, LOOKED_AT_MAX) ||
		                                          !os_readable((const void *)((uintptr_t)bytes + len - 1), 1))
			return false;
	}
	*sum = total;
	return true;
}

__attribute__((cold)) enum io_verdict io_send_begin(struct io_send *io, int fd, const struct iovec *iov, int count)
{
	enum io_verdict verdict = IO_PLAIN;
	uint64_t word = fds_word(fd);
	struct conn *conn;
	int saved = errno;

	if (!io_active() || iov == NULL || count <= 0)
		return IO_PLAIN;
	if (fds_kind(word) == FD_UNKNOWN)
		word = fds_learn(fd);
	io->handle.conn = NULL;
	io->iov = iov;
	io->count = count;
	io->fd = fd;
	io->word = word;
	io->caller = NULL;
	io->looked = io->planned = io->was_injected = false;
	if (fds_kind(word) == FD_CONN) {
		io->handle = conn_of_word(fd, word);
		if (io->handle.conn != NULL && conn_tls(io->handle.conn) != NULL)
			return IO_PLAIN; /* cipher text */
	}
	if ((fds_kind(word) == FD_LOG || fds_kind(word) == FD_CONN) &&
	    !are_bytes(iov, count, fds_kind(word) == FD_LOG, &io->total)) {
		/* What the kernel takes of them, nobody sees. */
		if (fds_kind(word) == FD_CONN)
			conn_miss(io->handle);
		errno = saved;
		return IO_PLAIN;
	}
	if (fds_kind(word) == FD_LOG) {
		verdict = io->total == 0 ? IO_PLAIN : config.log_mode == LOG_OFF ? IO_WATCH : IO_SPECIAL;
	} else if (fds_kind(word) == FD_CONN) {
		conn = io->handle.conn;
		if (conn != NULL && !tls_passes(conn, fd)) {
			if (conn_role(conn) == CONN_UNDECIDED)
				decide_role(io, conn);
			verdict = conn_role(conn) == CONN_SERVED ? begin_served(io, conn) : begin_call(io, conn);
		}
	} else if (fds_kind(word) == FD_CHANNEL) {
		current_give_away(NULL);
	}
	errno = saved;
	return verdict;
}

/* Is what was sent just what was looked at before, and the connection as it was then? Locked. */
static bool is_as_foreseen(const struct io_send *io, const struct conn *conn, size_t offset, size_t len)
{
	return io->looked && io->spot.known && io->from == offset && io->spot.end == offset + len &&
	       io->sends == conn->sends && conn->mode != CONN_OPAQUE;
}

/* The kernel took `len` bytes of the vectors from `offset` on: the scanners may have them. Locks. */
__attribute__((cold)) void io_send_commit(struct io_send *io, size_t offset, size_t len)
{
	struct conn *conn = io->handle.conn;
	int i;

	if (len == 0 || !conn_lock(io->handle))
		return;
	if (io->was_injected) {
		span_injected(conn, &io->injected);
		io->was_injected = false;
	}
	if (__builtin_expect(is_as_foreseen(io, conn, offset, len), 1)) {
		conn->sends++;
		if (conn_role(conn) == CONN_SERVED)
			served_sent_known(conn, &io->spot, len);
		else
			call_sent_known(conn, &io->spot, io->caller, len);
		conn_unlock(conn);
		return;
	}
	conn->sends++;
	for (i = 0; i < io->count && len > 0; i++) {
		size_t skip = offset < io->iov[i].iov_len ? offset : io->iov[i].iov_len;
		size_t part = io->iov[i].iov_len - skip < len ? io->iov[i].iov_len - skip : len;
		const char *bytes = (const char *)io->iov[i].iov_base + skip;

		offset -= skip;
		if (part == 0)
			continue;
		if (conn_role(conn) == CONN_SERVED)
			served_sent(conn, bytes, part);
		else
			call_sent(conn, bytes, part, io->caller);
		len -= part;
	}
	conn_unlock(conn);
}

CONN_UNLOCKED_LOOK __attribute__((cold)) void io_send_blank_line_left(struct conn_handle handle)
{
	struct insertion *ins;

	if (handle.conn->pending == NULL || !conn_lock(handle))
		return;
	ins = handle.conn->pending;
	if (ins != NULL && ins->sent == ins->len) {
		handle.conn->pending = NULL;
		if (config.export_traces && conn_role(handle.conn) == CONN_OUTGOING)
			span_injected(handle.conn, &ins->ids);
		insertion_free(ins);
		io_count_inserted(handle.conn);
	}
	conn_unlock(handle.conn);
}

__attribute__((cold)) void io_send_end(struct io_send *io, ssize_t sent)
{
	int saved = errno;

	if (fds_kind(io->word) == FD_LOG) {
		io_watch_log(io, sent);
		errno = saved;
		return;
	}
	/* What was planned and may not be done: a call that cannot be cut up. */
	if (io->planned && io->insertion != NULL)
		insertion_free(io->insertion);
	if (sent > 0) {
		io_send_blank_line_left(io->handle);
		io_send_commit(io, 0, (size_t)sent);
	}
	if (config.export_traces)
		io_spans_sent(io, sent < 0, saved);
	request_unref(io->caller);
	errno = saved;
}

/* ---- plain text of TLS ---- */

enum io_verdict io_send_begin_plain(struct io_send *io, struct conn_handle handle, int fd, const struct iovec *iov)
{
	*io = (struct io_send){ .handle = handle, .iov = iov, .count = 1, .fd = fd, .word = fds_word(fd) };
	if (!are_bytes(iov, 1, false, &io->total)) {
		conn_miss(handle);
		return IO_PLAIN;
	}
	if (conn_role(handle.conn) == CONN_UNDECIDED)
		decide_role(io, handle.conn);
	return conn_role(handle.conn) == CONN_SERVED ? begin_served(io, handle.conn) : begin_call(io, handle.conn);
}

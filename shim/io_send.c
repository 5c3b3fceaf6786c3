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
 * The usual answer and the usual call go out in few steps (io_answer_begin); what is rare goes by send_pieces. Both settle an insertion in
 * send_pieces. Both settle an insertion in the same way.
 *
 * long: the plan, the usual way and the pieces are steps of one call over one state.
 */
#include "io_spans.h"

#include <errno.h>
#include <string.h>

#include "config.h"
#include "counters.h"
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

/* Vectors of one real call: what comes before an insertion, the insertion, what comes after. 256 bytes of stack. */
#define PIECE_VECTORS 16
#define PIECE_BEFORE 8

/* Of a longer piece of the program's, so much is known to be there before it is read. */
#define LOOKED_AT_MAX (64u * 1024)

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
static __attribute__((cold)) struct request *find_caller(struct conn *conn, struct request *bound, bool blocking)
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
static bool find_spot(struct io_send *io, struct conn *conn, size_t from)
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
__attribute__((cold)) static struct insertion *make_insertion(struct io_send *io, struct conn *conn)
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
	io->insertion = found ? make_insertion(io, conn) : NULL;
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

	return !find_spot(io, conn, 0) && !io->spot.done &&
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
		(void)find_spot(io, conn, 0);
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
	io->caller = find_caller(conn, bound, conn_is_blocking(conn, io->fd));
	special = is_special(io, conn, io->caller != NULL);
	conn_unlock(conn);
	return special ? IO_SPECIAL : IO_WATCH;
}

/* An inherited connection shows by its first byte on which side we are: a client sends the request. */
static __attribute__((cold)) void decide_role(struct io_send *io, struct conn *conn)
{
	if (io->count > 0 &&
	    (http1_sniff_request(io->iov[0].iov_base, io->iov[0].iov_len) == HTTP1_SNIFF_YES ||
	     protocol_sniff(CONN_OUTGOING, io->iov[0].iov_base, io->iov[0].iov_len) != PROTOCOL_NONE)) {
		conn_decide_role(conn, CONN_OUTGOING);
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

static inline __attribute__((always_inline)) void inserted(const struct conn *conn)
{
	if (conn_role(conn) == CONN_SERVED)
		counters_count(response_headers);
	else
		counters_count(calls_injected);
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
		inserted(handle.conn);
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

/* ---- insertion ---- */

struct piece {
	struct iovec v[PIECE_VECTORS];
	int count;
	size_t from, at, end;  /* offsets in the program's bytes: start, insertion, end of what v covers */
	struct insertion *ins; /* NULL: nothing to insert here */
};

static void use_spot(const struct io_send *io, struct piece *piece, struct insertion *ins)
{
	if (io->spot.end < piece->end)
		piece->end = io->spot.end;
	if (ins != NULL)
		piece->at = io->spot.at;
	piece->ins = ins;
}

/* What to send next, from `from` on: finds the insertion (or takes the pending one) under the lock. false: gone. */
static __attribute__((cold)) bool plan_piece(struct io_send *io, struct piece *piece, size_t from, size_t total)
{
	struct conn *conn = io->handle.conn;
	bool found;

	piece->count = 0;
	piece->from = piece->at = from;
	piece->end = total;
	piece->ins = NULL;
	if (io->planned) {
		io->planned = false;
		use_spot(io, piece, io->insertion);
		return true;
	}
	/* Between two real calls the number can become another connection's, while this one lives on by another number. */
	if (fds_word(io->fd) != io->word || !conn_lock_to_send(io->handle))
		return false;
	found = find_spot(io, conn, from);
	use_spot(io, piece, found && conn->pending == NULL ? make_insertion(io, conn) : NULL);
	if (conn->pending != NULL) {
		piece->ins = conn->pending;
		conn->pending = NULL;
	}
	conn_unlock(conn);
	return true;
}

/* Cover the program's bytes [from, to) with at most `room` vectors. Returns how far it came. */
static __attribute__((cold)) size_t cover(const struct io_send *io, struct piece *piece, size_t from, size_t to,
                                          int room)
{
	size_t base = 0;
	int i;

	for (i = 0; i < io->count && from < to && room > 0; base += io->iov[i].iov_len, i++) {
		size_t end = base + io->iov[i].iov_len;

		if (end <= from)
			continue;
		if (end > to)
			end = to;
		piece->v[piece->count].iov_base = (char *)io->iov[i].iov_base + (from - base);
		piece->v[piece->count].iov_len = end - from;
		piece->count++;
		room--;
		from = end;
	}
	return from;
}

/*
 * How far the bytes up to `end` can be read for certain: what the scanner has read, up to the end of the blank line, and what else
 * is on its last page.
 */
static inline size_t known_end(const char *bytes, size_t blank_end, size_t end)
{
	const size_t page = (size_t)1 << OS_PAGE_SHIFT;
	size_t here = page - (((uintptr_t)bytes + blank_end - 1) & (page - 1));

	return end - blank_end < here ? end : blank_end;
}

/* The first `before` bytes in front of the insertion, the others up to `to` behind it. At most INSERTION_GATHERS. */
static inline struct iovec gather_around(struct insertion *ins, const char *bytes, size_t before, size_t to)
{
	char *head = ins->before + sizeof(ins->before) - before;

	memcpy(head, bytes, before);
	if (to - before == 2) /* the blank line alone, where the body comes by another call */
		memcpy(ins->text + ins->len, bytes + before, 2);
	else
		memcpy(ins->text + ins->len, bytes + before, to - before);
	return (struct iovec){ head, to + ins->len };
}

/*
 * Head, insertion and blank line behind each other, in the insertion's block: the kernel takes one stretch
 * sooner than three, by more than the copy costs. Of the body nothing is copied that the scanner has not come near: only the
 * kernel can say whether it may be read. For a head that lies in one vector, as nearly every one does.
 */
static __attribute__((cold)) bool gather(const struct io_send *io, struct piece *piece)
{
	struct insertion *ins = piece->ins;
	size_t before = piece->at, to;
	const char *bytes = io->iov[0].iov_base;

	if (piece->from > 0 || before + 2 > io->iov[0].iov_len || before + 2 > piece->end || ins->sent > 0 ||
	    ins->swallow > 0)
		return false;
	to = known_end(bytes, before + 2, piece->end < io->iov[0].iov_len ? piece->end : io->iov[0].iov_len);
	if (to > INSERTION_GATHERS)
		return false;
	piece->v[0] = gather_around(ins, bytes, before, to);
	piece->count = 1;
	if (to < piece->end)
		piece->end = cover(io, piece, to, piece->end, PIECE_VECTORS - 1);
	return true;
}

static __attribute__((cold)) void lay_out(const struct io_send *io, struct piece *piece)
{
	size_t reached;

	if (piece->ins == NULL) {
		piece->end = cover(io, piece, piece->from, piece->end, PIECE_VECTORS);
		return;
	}
	if (gather(io, piece))
		return;
	reached = cover(io, piece, piece->from, piece->at, PIECE_BEFORE);
	if (reached < piece->at) {
		/* More vectors before the blank line than we have room for: the insertion comes in a later round. */
		insertion_free(piece->ins);
		piece->ins = NULL;
		piece->end = reached;
		return;
	}
	if (piece->ins->sent < piece->ins->len) {
		piece->v[piece->count].iov_base = piece->ins->text + piece->ins->sent;
		piece->v[piece->count].iov_len = piece->ins->len - piece->ins->sent;
		piece->count++;
	}
	piece->end = cover(io, piece, piece->at + piece->ins->swallow, piece->end, PIECE_VECTORS - piece->count);
}

/* An insertion went out whole, and its blank line too. */
static inline void settle_whole(struct io_send *io, struct insertion *ins)
{
	if (config.export_traces && conn_role(io->handle.conn) == CONN_OUTGOING) {
		io->injected = ins->ids;
		io->was_injected = true;
	}
	insertion_free(ins);
	inserted(io->handle.conn);
}

/*
 * The kernel took `sent` bytes of a piece, of which `before` were to come before the insertion (NULL: none). Returns how many of
 * them were the program's; settles the insertion.
 */
static __attribute__((cold)) size_t settle(struct io_send *io, struct insertion *ins, size_t before, size_t sent)
{
	size_t rest;

	if (ins == NULL)
		return sent;
	rest = ins->len - ins->sent;
	if (sent <= before && ins->sent == 0) {
		insertion_free(ins); /* not begun: made again next time, from what is known then */
		return sent;
	}
	/* One that is out whole, but for whose blank line no room was left, stays too: else it would be made a second time. */
	if (sent > before + rest || (ins->swallow > 0 && sent == before + rest)) {
		sent += ins->swallow;
		settle_whole(io, ins);
		return sent - rest;
	}
	ins->sent += (uint32_t)(sent - before);
	if (ins->swallow > 0) {
		/* The last byte that it stands for is what the program comes back with. */
		before += ins->swallow - 1;
		ins->swallow = 1;
	}
	if (!conn_lock_patiently(io->handle)) {
		insertion_free(ins); /* closed by another thread: nobody will miss it */
	} else {
		io->handle.conn->pending = ins;
		conn_unlock(io->handle.conn);
	}
	return before;
}

static __attribute__((cold)) ssize_t send_pieces(struct io_send *io, struct io_emitter *emitter)
{
	size_t total = io->total;
	size_t done = 0;
	bool emitted = false;

	while (done < total) {
		struct piece piece;
		size_t wanted, own;
		ssize_t sent;

		if (!plan_piece(io, &piece, done, total)) {
			if (!emitted)
				return emitter->emit(emitter, io->iov, io->count);
			errno = EBADF;
			return done > 0 ? (ssize_t)done : -1;
		}
		lay_out(io, &piece);
		wanted = piece.end - done;
		if (piece.ins != NULL)
			wanted += piece.ins->len - piece.ins->sent - piece.ins->swallow;
		emitter->goes_on = done > 0;
		sent = emitter->emit(emitter, piece.v, piece.count);
		emitted = true;
		if (sent < 0) {
			int error = errno;

			settle(io, piece.ins, piece.at - piece.from, 0);
			errno = error;
			return done > 0 ? (ssize_t)done : -1;
		}
		own = settle(io, piece.ins, piece.at - piece.from, (size_t)sent);
		io_send_commit(io, done, own);
		done += own;
		if ((size_t)sent < wanted && done > 0)
			break;
		if (sent == 0)
			break;
	}
	return (ssize_t)done;
}

__attribute__((cold)) ssize_t io_send_special(struct io_send *io, struct io_emitter *emitter)
{
	int saved = errno;
	ssize_t sent;

	if (fds_kind(io->word) == FD_LOG)
		return io_send_log(io);
	sent = send_pieces(io, emitter);
	/* Of several real calls the last one may have failed, while the program's was a success. */
	if (sent < 0)
		saved = errno;
	if (config.export_traces)
		io_spans_sent(io, sent < 0, saved);
	request_unref(io->caller);
	errno = saved;
	return sent;
}

/* ---- the usual answer, and the usual call ---- */

/* are_bytes, of a few pieces that are not long, and whose vectors can be read. */
static inline bool are_few_bytes(const struct iovec *iov, int count, size_t *sum)
{
	size_t total = 0;
	int i;

	for (i = 0; i < count; i++) {
		if (iov[i].iov_len > LOOKED_AT_MAX || !os_readable(iov[i].iov_base, iov[i].iov_len))
			return false;
		total += iov[i].iov_len;
	}
	*sum = total;
	return total > 0;
}

/* The block is to hold the known head, response header and blank line from now on, but for the id. */
static __attribute__((cold, noinline)) void note_answer(struct insertion *ins, const struct http1_known *known)
{
	size_t len = config.response_header.len;

	memcpy(ins->before + sizeof(ins->before) - known->len, known->head, known->len);
	memcpy(ins->text, config.response_header.text, len);
	memcpy(ins->text + len, ": ", 2);
	memcpy(ins->text + len + 34, "\r\n\r\n", 4);
	ins->len = (uint32_t)len + 36;
	ins->like = known;
	ins->serial = known->serial;
}

/* Does this end on the page on which its byte before `end` lies? As known_end, of what was not near the scanner. */
static inline bool is_near(const char *bytes, size_t end, size_t len)
{
	return ((uintptr_t)(bytes + end - 1) ^ (uintptr_t)(bytes + len - 1)) >> OS_PAGE_SHIFT == 0;
}

/*
 * The answer to the one request that a connection has, with the head of the last such answer, and a length: in its block the id is
 * written anew, and nothing is copied but what of the body is in the first vector. The exchange's second scanner is what it will be
 * once all is out; until then nobody looks at it. Whoever else looks for a spot meanwhile finds another number of `sends`. Locked.
 */
static LAYOUT_INLINE bool answer_usual(struct io_send *io, struct conn *conn, struct iovec *v)
{
	struct exchange *ex = conn->first;
	size_t first = io->iov->iov_len, body;
	const char *out = io->iov->iov_base;
	struct insertion *ins = NULL;
	struct stream_heads *heads;
	struct http1_known *known;
	int i;

	if (ex == NULL || conn->depth != 1 || conn->pending != NULL || !conn_is_answering(ex, false) ||
	    (heads = served_find_head(ex, out, first, &known)) == NULL)
		return false;
	body = io->total - known->whole;
	if (body > known->after.remaining ||
	    (first != known->whole && (first > INSERTION_GATHERS || !is_near(out, known->whole, first))) ||
	    (config.response_header.len > 0 && (ins = insertion_borrow()) == NULL)) {
		stream_return_heads(heads);
		return false;
	}
	if (ins != NULL) {
		if (__builtin_expect(ins->like != known || ins->serial != known->serial, 0))
			note_answer(ins, known);
		record_put_hex(ins->text + ins->len - 34, ex->request->ctx.trace_id, 16);
		if (first != known->whole)
			memcpy(ins->text + ins->len + 2, out + known->whole, first - known->whole);
		v[0] = (struct iovec){ ins->before + sizeof(ins->before) - known->len, first + ins->len };
		io->whole = io->total + ins->len;
	} else {
		v[0] = io->iov[0];
		io->whole = io->total;
	}
	io->spot.done = body == known->after.remaining;
	io->spot.at = known->len;
	if (!io->spot.done || ex->span != NULL)
		http1_use_known_body(&ex->down, known, body);
	if (__builtin_expect(ex->span != NULL, 0) && io->spot.done)
		span_hold(conn, ex, &ex->down, io->total);
	known->unequal = 0;
	stream_return_heads(heads);
	for (i = 1; i < io->count; i++)
		v[i] = io->iov[i];
	io->insertion = ins;
	io->sends = ++conn->sends;
	current_begin_usual_response(ex->request, conn, io->fd);
	return true;
}

/* The block is to hold the known head from now on. */
static __attribute__((cold, noinline)) void note_call(struct insertion *ins, const struct http1_known *known)
{
	memcpy(ins->before + sizeof(ins->before) - known->len, known->head, known->len);
	ins->like = known;
	ins->serial = known->serial;
	ins->bare = false;
}

/* The head lines and the blank line are made anew. NULL: there are none. */
static __attribute__((cold, noinline)) struct insertion *form_call(struct insertion *ins,
                                                                   const struct trace_context *ctx,
                                                                   const uint8_t span_id[8])
{
	ins->len = (uint32_t)propagate_format_headers(ctx, span_id, 0, ins->text);
	memcpy(ins->text + ins->len, "\r\n", 2);
	ins->bare = ins->len > 0 && propagate_is_bare(ctx);
	if (ins->len > 0)
		return ins;
	insertion_free(ins);
	return NULL;
}

/* What goes into a call with this head; NULL: nothing. Locked. */
static LAYOUT_INLINE struct insertion *renew_call(struct io_send *io, const struct http1_known *known)
{
	struct insertion *ins = io->caller != NULL ? insertion_of_call() : NULL;
	uint8_t span_id[8];

	if (__builtin_expect(ins == NULL, 0))
		return NULL;
	if (__builtin_expect(ins->like != known || ins->serial != known->serial, 0))
		note_call(ins, known);
	ids_generate_span(span_id);
	if (config.export_traces)
		span_describe_call(&ins->ids, io->caller, span_id);
	if (__builtin_expect(!ins->bare || !propagate_is_bare(&io->caller->ctx), 0))
		return form_call(ins, &io->caller->ctx, span_id);
	propagate_renew_bare(&io->caller->ctx, span_id, ins->text);
	return ins;
}

/* It is for the thread's request, as a rule. */
static __attribute__((cold, noinline)) struct request *find_other_caller(const struct io_send *io, struct conn *conn)
{
	return find_caller(conn, NULL, conn_is_blocking(conn, io->fd));
}

/*
 * The only call of its connection, whole, with the head of the last such one, to which everything is added: in its block, which holds that
 * head, the ids are written anew. Locked.
 */
static LAYOUT_INLINE bool call_usual(struct io_send *io, struct conn *conn, struct iovec *v)
{
	size_t first = io->iov->iov_len;
	const char *out = io->iov->iov_base;
	struct stream_heads *heads;
	struct http1_known *known;
	struct insertion *ins;
	int i;

	if (conn->first != NULL || conn->pending != NULL || (heads = call_find_head(out, first, &known)) == NULL)
		return false;
	if (io->total - known->whole != known->after.remaining ||
	    (first != known->whole && (first > INSERTION_GATHERS || !is_near(out, known->whole, first))) ||
	    (config.export_traces && (io->span = span_prepare_call(conn, io->fd, known, out)) == NULL)) {
		stream_return_heads(heads);
		return false;
	}
	http1_use_known(&io->spot.after, known);
	io->caller = request_ref(current_known());
	if (__builtin_expect(io->caller == NULL, 0))
		io->caller = find_other_caller(io, conn);
	ins = renew_call(io, known);
	io->spot.at = known->len;
	if (__builtin_expect(ins != NULL, 1)) {
		if (first != known->whole)
			memcpy(ins->text + ins->len + 2, out + known->whole, first - known->whole);
		v[0] = (struct iovec){ ins->before + sizeof(ins->before) - known->len, first + ins->len };
		io->whole = io->total + ins->len;
	} else {
		v[0] = io->iov[0];
		io->whole = io->total;
	}
	stream_return_heads(heads);
	for (i = 1; i < io->count; i++)
		v[i] = io->iov[i];
	io->insertion = ins;
	io->sends = conn->sends;
	return true;
}

static __attribute__((noinline)) bool begin_usual_call(struct io_send *io, struct iovec *v)
{
	bool begun;

	if (!conn_lock_usual(io->handle, CONN_OUTGOING))
		return false;
	begun = call_usual(io, io->handle.conn, v);
	conn_unlock(io->handle.conn);
	return begun;
}

/* With handle, fd, word, iov and count set. */
static bool begin_answer(struct io_send *io, struct iovec *v)
{
	struct conn *conn = io->handle.conn;
	bool begun;

	if (__builtin_expect(conn_has_protocol(conn), 0) || !are_few_bytes(io->iov, io->count, &io->total))
		return false;
	io->caller = NULL;
	io->span = NULL;
	io->looked = io->planned = io->was_injected = false;
	io->usual = conn_role(conn) == CONN_SERVED;
	if (!io->usual)
		return begin_usual_call(io, v);
	if (config.export_traces)
		ring_prepare(); /* what it asks of the kernel, it asks without the connection's lock */
	if (!conn_lock_usual(io->handle, CONN_SERVED))
		return false;
	begun = answer_usual(io, conn, v);
	conn_unlock(conn);
	return begun;
}

bool io_answer_begin(struct io_send *io, int fd, uint64_t word, const struct iovec *iov, int count, struct iovec *v)
{
	struct conn_handle handle;

	if (count <= 0 || count > IO_ANSWER_VECTORS)
		return false;
	handle = conn_of_word(fd, word);
	if (handle.conn == NULL || tls_passes(handle.conn, fd))
		return false;
	io->handle = handle;
	io->iov = iov;
	io->count = count;
	io->fd = fd;
	io->word = word;
	return begin_answer(io, v);
}

/* It did not go out as a whole, or the connection is not as it was. */
static __attribute__((cold)) __attribute__((noinline)) ssize_t end_answer_otherwise(struct io_send *io, ssize_t sent)
{
	int saved = errno;
	size_t own = sent < 0 ? 0 : (size_t)sent;

	if (io->span != NULL) {
		span_free(io->span);
		io->spot.known = false; /* the span wants to see the head */
	}
	own = settle(io, io->insertion, io->spot.at, own);
	if (sent >= 0)
		io_send_commit(io, 0, own);
	if (config.export_traces)
		io_spans_sent(io, sent < 0, saved);
	request_unref(io->caller);
	errno = saved;
	return sent < 0 ? -1 : (ssize_t)own;
}

/* The call's span is its exchange's from now on, if there is one. */
static __attribute__((noinline)) void tell_call(const struct io_send *io, struct conn *conn)
{
	struct exchange *ex = conn->first;

	if (io->insertion != NULL)
		span_injected(conn, &io->insertion->ids);
	if (ex == NULL) {
		span_free(io->span);
		return;
	}
	ex->span = io->span;
	span_count_up(ex, io->total);
	span_own_call(conn, ex, io->caller);
}

static __attribute__((noinline)) ssize_t end_usual_call(struct io_send *io, ssize_t sent)
{
	struct conn *conn = io->handle.conn;
	struct insertion *ins = io->insertion;

	if (__builtin_expect(sent != (ssize_t)io->whole || !conn_lock_usual(io->handle, CONN_OUTGOING), 0))
		return end_answer_otherwise(io, sent);
	if (__builtin_expect(conn->sends != io->sends || conn->first != NULL, 0)) {
		conn_unlock(conn);
		return end_answer_otherwise(io, sent);
	}
	conn->sends++;
	call_sent_usual(conn, &io->spot.after, io->caller);
	if (__builtin_expect(io->span != NULL, 0))
		tell_call(io, conn);
	conn_unlock(conn);
	if (__builtin_expect(ins != NULL, 1)) {
		insertion_free(ins);
		counters_count(calls_injected);
	}
	if (config.export_traces)
		ring_drop_held();
	return (ssize_t)io->total;
}

static inline void finish_answer(struct conn *conn, struct exchange *ex, size_t last)
{
	if (__builtin_expect(ex->span == NULL, 1))
		served_finish(conn, ex);
	else
		served_finish_told(conn, ex, last);
}

ssize_t io_answer_end(struct io_send *io, ssize_t sent)
{
	struct conn *conn = io->handle.conn;
	struct exchange *ex;

	if (!io->usual)
		return end_usual_call(io, sent);
	if (__builtin_expect(sent != (ssize_t)io->whole || !conn_lock_usual(io->handle, CONN_SERVED), 0))
		return end_answer_otherwise(io, sent);
	ex = conn->first;
	if (__builtin_expect(conn->sends != io->sends || ex == NULL, 0)) {
		conn_unlock(conn);
		return end_answer_otherwise(io, sent);
	}
	ex->response_begun = true;
	if (io->spot.done)
		finish_answer(conn, ex, io->total);
	else if (__builtin_expect(ex->span != NULL, 0))
		span_count_down(ex, io->total);
	conn_unlock(conn);
	if (io->insertion != NULL) {
		insertion_free(io->insertion);
		counters_count(response_headers);
	}
	if (config.export_traces)
		ring_drop_held();
	return (ssize_t)io->total;
}

/* ---- the usual body ---- */

/* Should the process die inside the call, the span counts: so it is held before that. */
static __attribute__((noinline)) void hold_body(struct conn_handle handle)
{
	struct exchange *ex;

	ring_prepare();
	if (__builtin_expect(!conn_lock_usual(handle, CONN_SERVED), 0)) {
		io_spans_hold_unseen(handle);
		return;
	}
	ex = handle.conn->first;
	if (ex != NULL && ex->span != NULL && !ex->response_done)
		span_hold_unseen(handle.conn, ex);
	conn_unlock(handle.conn);
}

CONN_UNLOCKED_LOOK LAYOUT_BUILT_IN bool io_send_body_usual(struct conn_handle *handle, int fd, uint64_t word)
{
	if (fds_kind(word) != FD_CONN || !io_active())
		return false;
	*handle = conn_of_word(fd, word);
	if (handle->conn == NULL || conn_tls(handle->conn) != NULL || conn_role(handle->conn) != CONN_SERVED ||
	    handle->conn->pending != NULL || !current_goes_on(handle->conn))
		return false;
	if (__builtin_expect(config.export_traces, 0))
		hold_body(*handle);
	return true;
}

__attribute__((noinline)) ssize_t io_sent_body(struct conn_handle handle, int fd, ssize_t sent)
{
	struct conn *conn = handle.conn;

	if (__builtin_expect(sent > 0 && conn_lock_usual(handle, CONN_SERVED), 1)) {
		struct exchange *ex = conn->first;
		bool rest = ex != NULL && conn->depth == 1 && conn->pending == NULL && conn_tls(conn) == NULL &&
		            conn_is_answering(ex, true) && http1_skip_rest(&ex->down, (uint64_t)sent);

		if (__builtin_expect(rest, 1))
			finish_answer(conn, ex, (size_t)sent);
		conn_unlock(conn);
		if (__builtin_expect(rest, 1)) {
			if (config.export_traces)
				ring_drop_held();
			return sent;
		}
	}
	io_send_unseen_end(fd, sent);
	return sent;
}

/* ---- plain text of TLS ---- */

bool io_answer_begin_plain(struct io_send *io, struct conn_handle handle, int fd, const struct iovec *iov,
                           struct iovec *v)
{
	io->handle = handle;
	io->iov = iov;
	io->count = 1;
	io->fd = fd;
	io->word = fds_word(fd);
	return begin_answer(io, v);
}

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

bool io_send_plan(struct io_send *io, struct io_plan *plan, size_t from)
{
	struct piece piece;

	if (!plan_piece(io, &piece, from, io->total))
		return false;
	*plan = (struct io_plan){ piece.at, piece.end, piece.ins };
	return true;
}

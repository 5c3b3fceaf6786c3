/*
 * The usual answer, call and body: one message of one call, whose head is that of the last one, on a connection of which nothing is unusual. They
 * go out in few steps, with what is known of the last one; whatever else a call is, io_send.c and io_insert.c do.
 */
#include "io_send_internal.h"

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

/* are_bytes, of a few pieces that are not long, and whose vectors can be read. `asking`: the kernel too, about what is not known. */
static LAYOUT_INLINE bool are_few_bytes(const struct iovec *iov, int count, size_t *sum, bool asking)
{
	const struct iovec *end = iov + count;
	size_t total = 0;

	do {
		size_t len = iov->iov_len;

		if (len > LOOKED_AT_MAX ||
		    !(asking ? os_readable(iov->iov_base, len) : os_is_known_readable(iov->iov_base, len)))
			return false;
		total += len;
	} while (++iov < end);
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

/* What is sent of a message whose known head lies in `ins` (NULL: nothing is inserted), and the rest of the program's vectors. */
static LAYOUT_INLINE void lay_out(struct io_send *io, struct insertion *ins, const struct http1_known *known,
                                  struct iovec *v)
{
	size_t first = io->iov->iov_len;
	int i;

	if (__builtin_expect(ins != NULL, 1)) {
		if (first != known->whole)
			memcpy(ins->text + ins->len + 2, (const char *)io->iov->iov_base + known->whole,
			       first - known->whole);
		v[0] = (struct iovec){ ins->before + sizeof(ins->before) - known->len, first + ins->len };
		io->whole = io->total + ins->len;
	} else {
		v[0] = io->iov[0];
		io->whole = io->total;
	}
	for (i = 1; i < io->count; i++)
		v[i] = io->iov[i];
	io->insertion = ins;
	io->spot.at = known->len;
}

/* May these bytes be an answer with that head, as far as they say so themselves? `body`: of those behind it. */
static LAYOUT_INLINE bool may_answer(const struct io_send *io, const struct http1_known *known, size_t body)
{
	size_t first = io->iov->iov_len;

	return body <= known->after.remaining &&
	       (first == known->whole ||
	        (first <= INSERTION_GATHERS && is_near(io->iov->iov_base, known->whole, first)));
}

/*
 * The answer to the one request that a connection has, with the head of the last such answer, and a length: in its block the id is
 * written anew, and nothing is copied but what of the body is in the first vector. The exchange's second scanner is what it will be
 * once all is out; until then nobody looks at it. Whoever else looks for a spot meanwhile finds another number of `sends`. Locked.
 */
static LAYOUT_INLINE bool answer_usual(struct io_send *io, struct conn *conn, struct http1_known *known, size_t body,
                                       struct iovec *v)
{
	struct exchange *ex = conn->first;
	struct insertion *ins = NULL;

	/* To HEAD and CONNECT the same head says something else of what follows. */
	if (ex == NULL || conn->depth != 1 || conn->pending != NULL || !conn_is_answering(ex, false) ||
	    ex->up.method == HTTP1_HEAD_METHOD || ex->up.method == HTTP1_CONNECT ||
	    (config.response_header.len > 0 && (ins = insertion_borrow()) == NULL))
		return false;
	if (ins != NULL) {
		if (__builtin_expect(ins->like != known || ins->serial != known->serial, 0))
			note_answer(ins, known);
		propagate_put_trace(ins->text + ins->len - 34, &ex->request->ctx);
	}
	lay_out(io, ins, known, v);
	io->spot.done = body == known->after.remaining;
	if (!io->spot.done || ex->span != NULL)
		http1_use_known_body(&ex->down, known, body);
	if (__builtin_expect(ex->span != NULL, 0) && io->spot.done)
		span_hold(conn, ex, &ex->down, io->total);
	known->unequal = 0;
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
	return io_find_caller(conn, NULL, conn_is_blocking(conn, io->fd));
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
	lay_out(io, renew_call(io, known), known, v);
	stream_return_heads(heads);
	io->sends = conn->sends;
	return true;
}

/* What has been said of it so far: nothing. */
static inline void say_nothing(struct io_send *io)
{
	io->caller = NULL;
	io->span = NULL;
	io->looked = io->planned = io->was_injected = false;
}

static __attribute__((noinline)) bool begin_usual_call(struct io_send *io, struct iovec *v)
{
	bool begun;

	say_nothing(io);
	if (!conn_lock_usual(io->handle, CONN_OUTGOING))
		return false;
	begun = call_usual(io, io->handle.conn, v);
	conn_unlock(io->handle.conn);
	return begun;
}

static __attribute__((noinline)) LAYOUT_HOT bool begin_usual_answer(struct io_send *io, struct iovec *v)
{
	struct conn *conn = io->handle.conn;
	struct stream_heads *heads = served_find_head(io->iov->iov_base, io->iov->iov_len);
	struct http1_known *known;
	size_t body;
	bool begun;

	if (heads == NULL)
		return false;
	if (__builtin_expect(config.export_traces, 0))
		ring_prepare(); /* what it asks of the kernel, it asks without the connection's lock */
	known = &heads->of[STREAM_RESPONSE_OUT];
	body = io->total - known->whole;
	begun = may_answer(io, known, body) && conn_lock_usual(io->handle, CONN_SERVED);
	if (__builtin_expect(begun, 1)) {
		begun = answer_usual(io, conn, known, body, v);
		conn_unlock(conn);
	}
	stream_return_heads(heads);
	return begun;
}

/* With `total` set, too. */
static inline bool begin_by_role(struct io_send *io, struct iovec *v)
{
	io->usual = conn_role(io->handle.conn) == CONN_SERVED;
	return io->usual ? begin_usual_answer(io, v) : begin_usual_call(io, v);
}

/* Some of the bytes lie where nobody has looked yet, or on two pages. */
static __attribute__((cold, noinline)) bool begin_asking(struct io_send *io, struct iovec *v)
{
	return are_few_bytes(io->iov, io->count, &io->total, true) && begin_by_role(io, v);
}

/* With handle, fd, word, iov and count set. All that it calls it leaves to: it saves nothing. */
static __attribute__((noinline)) LAYOUT_HOT bool begin_answer(struct io_send *io, struct iovec *v)
{
	if (__builtin_expect(conn_has_protocol(io->handle.conn), 0))
		return false;
	if (__builtin_expect(!are_few_bytes(io->iov, io->count, &io->total, false), 0))
		return begin_asking(io, v);
	return begin_by_role(io, v);
}

void io_answer_is_partial(struct io_send *io)
{
	if (io->usual)
		say_nothing(io);
	io->word = fds_word(io->fd);
}

bool io_answer_begin(struct io_send *io, int fd, uint64_t word, const struct iovec *iov, int count, struct iovec *v)
{
	struct conn_handle handle = conn_of_its_word(fd, word);

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

	if (io->usual)
		say_nothing(io);
	if (io->span != NULL) {
		span_free(io->span);
		io->spot.known = false; /* the span wants to see the head */
	}
	own = io_settle(io, io->insertion, io->spot.at, own);
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
	call_sent_usual(conn, &io->spot.after, io->caller, ins != NULL);
	if (__builtin_expect(io->span != NULL, 0))
		tell_call(io, conn);
	conn_unlock(conn);
	if (__builtin_expect(ins != NULL, 1))
		insertion_free(ins);
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

static __attribute__((noinline)) LAYOUT_HOT ssize_t end_usual_answer(struct io_send *io, ssize_t sent)
{
	struct conn *conn = io->handle.conn;
	struct exchange *ex;

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
		counters_count_here(response_headers);
	}
	if (config.export_traces)
		ring_drop_held();
	return (ssize_t)io->total;
}

ssize_t io_answer_end(struct io_send *io, ssize_t sent)
{
	return io->usual ? end_usual_answer(io, sent) : end_usual_call(io, sent);
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
	return begin_answer(io, v);
}

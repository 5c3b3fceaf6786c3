/*
 * Spans of exchanges; see span.h.
 *
 * A span is a block that an exchange refers to while it lasts: times, counts, and the texts of the head as they come. At
 * the end all of it becomes one entry of the thread's ring. What is put into the head of a call (span_describe_call) is
 * what is recorded of it, so that the next service's span is its child.
 *
 * Time is asked of the monotonic clock, and told in that of the day: the difference between the two is measured now and then,
 * and each span keeps the one that it began with. So no step of the clock makes a span end before it began, and an event costs one
 * question. Where a response begins and ends with the same call there is but one event.
 *
 * What cannot be known is not recorded: exchanges of connections that stopped being readable, calls whose requester is
 * unknown, and what is not answered in a process that has forked since: its child may have it in hand.
 *
 * Memory: a page an exchange, one of which each thread keeps. Callers: whoever has the connection's lock, signal handlers included.
 */
#include "span_internal.h"

#include <errno.h>
#include <string.h>

#include "config.h"
#include "counters.h"
#include "ids.h"
#include "os.h"
#include "protocol.h"
#include "ring.h"
#include "spare.h"

/* How long the difference between the clocks is believed. */
#define CLOCK_BELIEF_NS 100000000u

_Static_assert(AREA_ROOM >= LINE_ROOM + 2u * RING_TEXT_LIMIT, "room for a request line and long fields");
_Static_assert(RING_METHOD_GET == HTTP1_GET + 1 && RING_METHOD_PATCH == HTTP1_PATCH + 1, "the same order of methods");
_Static_assert(TRACE_FLAG_SAMPLED == RING_FLAG_SAMPLED && TRACE_FLAG_RANDOM == RING_FLAG_RANDOM, "the same flags");

POOL(spans, SPAN_ROOM, 8);

static uint32_t forks; /* atomic */

void span_forking(void)
{
	(void)__atomic_add_fetch(&forks, 1, __ATOMIC_RELAXED);
}

static uint32_t forks_now(void)
{
	return __atomic_load_n(&forks, __ATOMIC_RELAXED);
}

/* Atomic; two threads that ask at once write nearly the same. Beside what each request looks at (hooks/object.ld). */
static uint64_t day_difference, day_asked_ns;

__attribute__((cold)) uint64_t span_day_time(uint64_t now)
{
	if (now - __atomic_load_n(&day_asked_ns, __ATOMIC_RELAXED) > CLOCK_BELIEF_NS) {
		__atomic_store_n(&day_difference, os_realtime_ns() - os_monotonic_ns(), __ATOMIC_RELAXED);
		__atomic_store_n(&day_asked_ns, now, __ATOMIC_RELAXED);
	}
	return now + __atomic_load_n(&day_difference, __ATOMIC_RELAXED);
}

static uint64_t told(const struct span *span, uint64_t when)
{
	return when == 0 ? 0 : span->record.start_ns + (when - span->start_ns);
}

/* ---- the life of a span ---- */

static inline enum spare_kind kept_as(unsigned kind)
{
	return kind == RING_SPAN_CLIENT ? SPARE_CALL_SPAN : SPARE_SPAN;
}

static __attribute__((cold)) struct span *span_new(enum ring_span_kind kind, uint64_t now)
{
	struct span *span = spare_take(kept_as(kind), &spans);

	if (span == NULL) {
		counters_count_seldom(spans_lost);
		return NULL;
	}
	memset(span, 0, sizeof(*span));
	span->used = LINE_ROOM;
	span->forks = forks_now();
	span->start_ns = now;
	span->record.start_ns = span_day_time(now);
	span->record.span_kind = (uint8_t)kind;
	return span;
}

void span_free(struct span *span)
{
	spare_give(kept_as(span->record.span_kind), &spans, span);
}

static void forget(struct exchange *ex)
{
	span_free(ex->span);
	ex->span = NULL;
}

void span_begin_served(struct exchange *ex)
{
	if (ex->span == NULL)
		ex->span = span_new(RING_SPAN_SERVER, os_monotonic_ns());
}

/* A span that begins now, of a head that is known. NULL: no memory. */
static struct span *span_of_known(enum ring_span_kind kind, const struct http1_known *known, const char *head)
{
	struct span *span = spare_take(kept_as(kind), &spans);

	if (span == NULL) {
		counters_count_seldom(spans_lost);
		return NULL;
	}
	if (__builtin_expect(span->head != known || span->head_serial != known->serial, 0))
		span_read_head(span, kind, known, head);
	span->forks = forks_now();
	span->start_ns = os_monotonic_ns();
	span->read_ns = span->ticket = 0;
	span->answering = span->fresh = false;
	span->record.start_ns = span_day_time(span->start_ns);
	span->record.first_byte_ns = 0;
	span->record.bytes_in = span->record.bytes_out = 0;
	span->record.flags = span->head_flags;
	span->record.error = RING_ERROR_none;
	return span;
}

void span_begin_known(struct exchange *ex, const struct http1_known *known, const char *head)
{
	ex->span = span_of_known(RING_SPAN_SERVER, known, head);
	if (ex->span != NULL)
		ex->span->record.bytes_in = known->len + 2u;
}

struct span *span_prepare_call(struct conn *conn, int fd, const struct http1_known *known, const char *head)
{
	struct span *span = span_know_conn(conn, fd) ? span_of_known(RING_SPAN_CLIENT, known, head) : NULL;

	if (span != NULL)
		conn->spans->due_ns = span->start_ns; /* should the head have to be read after all */
	return span;
}

__attribute__((cold)) void span_call_is_due(struct conn *conn, int fd)
{
	if ((conn_last(conn) == NULL || conn_last(conn)->request_done) && conn->mode != CONN_OPAQUE &&
	    span_know_conn(conn, fd))
		conn->spans->due_ns = os_monotonic_ns();
}

void span_begin_call(const struct conn *conn, struct exchange *ex)
{
	if (conn->spans != NULL)
		ex->span = span_new(RING_SPAN_CLIENT, conn->spans->due_ns);
}

void span_count_up(struct exchange *ex, size_t used)
{
	if (ex->span->record.span_kind == RING_SPAN_SERVER)
		ex->span->record.bytes_in += used;
	else
		ex->span->record.bytes_out += used;
}

/* The first bytes of the response. */
static __attribute__((noinline)) void begin_answer(struct span *span)
{
	span->answering = span->fresh = true;
	span->forks = forks_now();
	span->record.first_byte_ns = os_monotonic_ns();
}

void span_count_down(struct exchange *ex, size_t used)
{
	struct span *span = ex->span;

	span->fresh = false;
	if (span->record.span_kind == RING_SPAN_SERVER)
		span->record.bytes_out += used;
	else
		span->record.bytes_in += used;
	if (!span->answering && used > 0)
		begin_answer(span);
}

__attribute__((cold)) void span_was_interim(struct exchange *ex)
{
	ex->span->answering = false;
	ex->span->record.first_byte_ns = 0;
}

void span_head_was_read(struct exchange *ex)
{
	ex->span->read_ns = ex->span->fresh ? ex->span->record.first_byte_ns : os_monotonic_ns();
}

/* ---- whose call ---- */

void span_describe_call(struct span_ids *ids, const struct request *caller, const uint8_t span_id[8])
{
	const struct trace_context *ctx = &caller->ctx;

	memcpy(ids->trace_id, ctx->trace_id, sizeof(ids->trace_id));
	memcpy(ids->span_id, span_id, sizeof(ids->span_id));
	ids->flags = ctx->flags;
	memset(ids->parent_id, 0, sizeof(ids->parent_id));
	/* Nobody records a span for the process itself: its calls are its parent's children. */
	if (caller->origin == REQUEST_LOCAL)
		ids->flags |= RING_FLAG_LOCAL;
	else
		memcpy(ids->parent_id, caller->origin == REQUEST_AMBIENT ? ctx->parent_id : ctx->span_id,
		       sizeof(ids->parent_id));
}

void span_injected(struct conn *conn, const struct span_ids *ids)
{
	if (conn->spans == NULL)
		return;
	conn->spans->injected = *ids;
	conn->spans->was_injected = true;
}

void span_own_call_as(const struct conn *conn, struct exchange *ex, struct request *caller, const struct span_ids *as)
{
	struct span *span = ex->span;
	struct span_ids ids;

	/* A trace header of the program's own is the span of somebody who records it himself. */
	if (caller == NULL || (ex->own & PROPAGATE_HAS_TRACE) != 0 || conn->spans == NULL) {
		forget(ex);
		return;
	}
	if (as != NULL) {
		ids = *as;
	} else {
		uint8_t span_id[8];

		ids_generate_span(span_id);
		span_describe_call(&ids, caller, span_id);
	}
	memcpy(span->record.trace_id, ids.trace_id, sizeof(ids.trace_id));
	memcpy(span->record.span_id, ids.span_id, sizeof(ids.span_id));
	memcpy(span->record.parent_id, ids.parent_id, sizeof(ids.parent_id));
	span->record.flags |= ids.flags;
	span->forks = forks_now();
	if (caller->ctx.tracestate.len > 0 && span->record.text[RING_TEXT_TRACESTATE] == 0)
		span_put_text(span, RING_TEXT_TRACESTATE, caller->ctx.text.data + caller->ctx.tracestate.off,
		              caller->ctx.tracestate.len);
}

void span_own_call(struct conn *conn, struct exchange *ex, struct request *caller)
{
	bool injected = conn->spans != NULL && conn->spans->was_injected;

	span_own_call_as(conn, ex, caller, injected ? &conn->spans->injected : NULL);
	if (ex->span != NULL)
		conn->spans->was_injected = false;
}

/* ---- the end ---- */

static inline __attribute__((always_inline)) void take_ids(struct span *span, const struct trace_context *ctx)
{
	memcpy(span->record.trace_id, ctx->trace_id, sizeof(ctx->trace_id));
	memcpy(span->record.span_id, ctx->span_id, sizeof(ctx->span_id));
	memcpy(span->record.parent_id, ctx->parent_id, sizeof(ctx->parent_id));
	span->record.flags |= ctx->flags & (RING_FLAG_SAMPLED | RING_FLAG_RANDOM);
	if (ctx->remote)
		span->record.flags |= RING_FLAG_REMOTE;
}

static __attribute__((cold)) void take_request(struct span *span, const struct request *request)
{
	const struct trace_context *ctx = &request->ctx;

	take_ids(span, ctx);
	if (ctx->tracestate.len > 0 && span->record.text[RING_TEXT_TRACESTATE] == 0)
		span_put_text(span, RING_TEXT_TRACESTATE, ctx->text.data + ctx->tracestate.off, ctx->tracestate.len);
}

static inline __attribute__((always_inline)) void take_conn(struct span *span, const struct conn *conn)
{
	const struct span_conn *known = conn->spans;

	if (conn_tls(conn) != NULL)
		span->record.flags |= RING_FLAG_TLS;
	if (known == NULL || known->peer_known != 2) {
		memset(span->record.peer, 0, sizeof(span->record.peer)); /* whoever had the block before */
		span->record.peer_port = 0;
		return;
	}
	memcpy(span->record.peer, known->peer, sizeof(known->peer));
	span->record.peer_port = known->peer_port;
	span->record.flags |= RING_FLAG_PEER | (known->peer_v6 ? RING_FLAG_PEER_V6 : 0);
}

static __attribute__((cold)) size_t len_of_texts(const struct span *span)
{
	size_t len = 0;

	for (int i = 0; i < RING_TEXT_COUNT; i++)
		len += span->record.text[i];
	return len;
}

static __attribute__((cold)) void write_texts(const struct span *span, char *to)
{
	for (int i = 0; i < RING_TEXT_COUNT; i++) {
		size_t len = span->record.text[i];

		if (len == 0)
			continue; /* most are not there */
		memcpy(to, span->area + span->at[i], len);
		to += len;
	}
}

static size_t size_of_record(const struct span *span)
{
	return sizeof(struct ring_span) + (span->head != NULL ? span->used : len_of_texts(span));
}

/* The record, or so many bytes of it and of its texts, into its place in the thread's ring. Times become those of the day. */
static inline __attribute__((always_inline)) void copy_record(const struct span *span, struct ring_span *out,
                                                              size_t size, uint64_t first_byte_ns, uint64_t end_ns)
{
	/* Not &span->record: the texts behind it are meant, too. */
	const char *from = (const char *)span + offsetof(struct span, record);

	memcpy((char *)out + sizeof(out->entry), from + sizeof(out->entry), size - sizeof(out->entry));
	out->first_byte_ns = told(span, first_byte_ns);
	out->end_ns = told(span, end_ns);
	out->tid = (uint32_t)os_tid();
}

static __attribute__((hot, noinline)) void write_record(const struct span *span, struct ring_span *out, size_t size,
                                                        uint64_t first_byte_ns, uint64_t end_ns)
{
	bool in_order = span->head != NULL;

	copy_record(span, out, in_order ? size : sizeof(*out), first_byte_ns, end_ns);
	if (!in_order)
		write_texts(span, (char *)(out + 1));
}

static void push(struct span *span, uint64_t end_ns)
{
	size_t size = size_of_record(span);
	struct ring_entry_place place;
	struct ring_span *out = ring_begin(&place, RING_SPAN, sizeof(*out), size);

	if (out == NULL)
		return;
	write_record(span, out, size, span->record.first_byte_ns, end_ns);
	ring_publish(&place);
	counters_count(spans);
}

static __attribute__((cold, noinline)) void complete(const struct conn *conn, struct exchange *ex, uint16_t status)
{
	struct span *span = ex->span;

	if (span->line == LINE_HTTP2 || span->line == LINE_CGI) {
		span->record.version = span->line == LINE_HTTP2 ? 20 : 0; /* what carries variables is not HTTP */
	} else if (span->line != LINE_APART) {
		span_split_line(span, &ex->up);
		span->record.version = ex->up.minor != 0 ? 11 : 10;
	}
	span->record.status = status;
	if (span->record.span_kind == RING_SPAN_SERVER)
		take_request(span, ex->request);
	take_conn(span, conn);
}

/* Was it held as what it turned out to be? */
static bool settle(struct span *span, uint64_t end_ns)
{
	struct ring_entry_place place;
	struct ring_span *out = span->ticket != 0 ? ring_take_held(&place, span->ticket) : NULL;

	span->ticket = 0;
	if (out == NULL)
		return false;
	/* In this order: who is killed in between has an answer that began before it ended. */
	__atomic_store_n(&out->end_ns, told(span, end_ns), __ATOMIC_RELEASE);
	__atomic_store_n(&out->first_byte_ns, told(span, span->record.first_byte_ns), __ATOMIC_RELEASE);
	out->bytes_out = span->record.bytes_out;
	ring_publish(&place);
	counters_count(spans);
	return true;
}

static __attribute__((noinline)) void complete_and_push(const struct conn *conn, struct exchange *ex, uint64_t end_ns)
{
	complete(conn, ex, ex->span->answering ? ex->down.status : 0);
	push(ex->span, end_ns);
}

void span_end(struct conn *conn, struct exchange *ex, bool upgraded)
{
	struct span *span = ex->span;
	uint64_t end_ns = span->fresh ? span->record.first_byte_ns : span->read_ns;

	if (upgraded)
		span->record.flags |= RING_FLAG_UPGRADED;
	if (end_ns == 0)
		end_ns = os_monotonic_ns();
	if (__builtin_expect(!settle(span, end_ns), 0))
		complete_and_push(conn, ex, end_ns);
	forget(ex);
}

/* It ends now, and not as it should. */
static __attribute__((cold)) void end_unfinished(struct conn *conn, struct exchange *ex, enum ring_span_error error)
{
	ex->span->record.error = (uint8_t)error;
	ex->span->fresh = false;
	ex->span->read_ns = 0;
	span_end(conn, ex, false);
}

/* As span_hold of a head that was read, or whose request says more than the head: NULL: it has no place. */
static __attribute__((cold, noinline)) struct ring_span *hold_otherwise(const struct conn *conn, struct exchange *ex,
                                                                        uint16_t status, struct ring_entry_place *place,
                                                                        uint64_t first_ns, uint64_t now)
{
	struct ring_span *out;
	size_t size;

	complete(conn, ex, status);
	size = size_of_record(ex->span);
	out = ring_begin_held(place, RING_SPAN, sizeof(*out), size);
	if (out != NULL)
		write_record(ex->span, out, size, first_ns, now);
	return out;
}

void span_hold(struct conn *conn, struct exchange *ex, const struct http1 *after, size_t len)
{
	struct span *span = ex->span;
	/* What counts only if the process dies in the call need not be told by the clock that takes longer to ask. */
	uint64_t now = os_coarse_ns(), first_ns = span->record.first_byte_ns;
	struct ring_entry_place place;
	struct ring_span *out;

	if (!span->answering)
		first_ns = now < span->start_ns ? span->start_ns : now;
	if (now < first_ns)
		now = first_ns;
	if (__builtin_expect(span->head != NULL && span->record.span_kind == RING_SPAN_SERVER &&
	                             ex->request->ctx.tracestate.len == 0,
	                     1)) {
		/* As complete and write_record: the line was taken apart, and the texts are in order. */
		span->record.status = after->status;
		take_ids(span, &ex->request->ctx);
		take_conn(span, conn);
		out = ring_begin_held_usual(&place, RING_SPAN, sizeof(*out), sizeof(*out) + span->used);
		if (__builtin_expect(out != NULL, 1))
			copy_record(span, out, sizeof(*out) + span->used, first_ns, now);
		else
			out = hold_otherwise(conn, ex, after->status, &place, first_ns, now);
	} else {
		out = hold_otherwise(conn, ex, after->status, &place, first_ns, now);
	}
	if (out == NULL)
		return;
	out->bytes_out += len;
	span->ticket = ring_hold(&place);
}

void span_hold_unseen(struct conn *conn, struct exchange *ex)
{
	if (ex->response_begun && ex->down.body == HTTP1_BODY_LENGTH && !http1_in_head(&ex->down) &&
	    ex->down.remaining > 0)
		span_hold(conn, ex, &ex->down, ex->down.remaining);
}

/* ---- exchanges that end otherwise ---- */

/* Is the response complete if nothing comes any more? */
static __attribute__((cold)) bool is_whole(const struct exchange *ex, enum ring_span_error fault)
{
	struct http1 down = ex->down;

	return ex->response_begun && !down.interim && !http1_in_head(&down) && http1_eof(&down) == HTTP1_DONE &&
	       (down.body != HTTP1_BODY_UNTIL_CLOSE || fault != RING_ERROR_reset);
}

static enum ring_span_error fault_of(const struct conn *conn)
{
	return conn->spans != NULL ? (enum ring_span_error)conn->spans->fault : RING_ERROR_none;
}

__attribute__((cold)) void span_drop(struct conn *conn, struct exchange *ex)
{
	enum ring_span_error fault = fault_of(conn);

	ex->span->fresh = false;
	if (conn->mode == CONN_OPAQUE || !ex->request_headed || ex->response_done) {
		forget(ex);
	} else if (is_whole(ex, fault)) {
		span_end(conn, ex, false);
	} else if (ex->span->forks != forks_now()) {
		forget(ex);
	} else if (ex->span->record.span_kind == RING_SPAN_CLIENT && ex->span->read_ns != 0 &&
	           fault == RING_ERROR_none) {
		span_end(conn, ex, false); /* the program had what it wanted: a call ends with the response's head */
	} else {
		end_unfinished(conn, ex, fault != RING_ERROR_none ? fault : RING_ERROR_unanswered);
	}
}

/* An outgoing connection ends: nothing more can come for any call on it. */
static __attribute__((cold)) void end_calls(struct conn *conn)
{
	struct exchange *ex;

	for (ex = conn->first; ex != NULL; ex = ex->next)
		if (ex->span != NULL && ex->request_headed && !ex->response_done)
			span_drop(conn, ex);
}

/* What fails while a request is sent may still be answered: a server that will not have it may say so. */
static __attribute__((cold)) void note_fault(struct conn *conn, enum ring_span_error error, bool reading)
{
	if (conn->spans == NULL)
		return;
	if (conn->spans->fault == RING_ERROR_none || error != RING_ERROR_closed)
		conn->spans->fault = (uint8_t)error;
	if (reading && conn_role(conn) == CONN_OUTGOING && conn->mode == CONN_HTTP1)
		end_calls(conn);
	else if (reading && conn->mode == CONN_PROTOCOL && conn->protocol->ended != NULL)
		conn->protocol->ended(conn);
}

__attribute__((cold)) void span_peer_ended(struct conn *conn)
{
	note_fault(conn, RING_ERROR_closed, true);
}

__attribute__((cold)) void span_failed(struct conn *conn, int error, bool reading)
{
	switch (error) {
	case ECONNRESET:
	case EPIPE:
	case ECONNABORTED: note_fault(conn, RING_ERROR_reset, reading); break;
	case ECONNREFUSED: note_fault(conn, RING_ERROR_refused, reading); break;
	case ETIMEDOUT: note_fault(conn, RING_ERROR_timeout, reading); break;
	default: break; /* EAGAIN and the like are no end */
	}
}

/* ---- opaque protocols ---- */

__attribute__((cold)) void span_raw_end(struct conn *conn)
{
	struct span *span = conn->spans != NULL ? conn->spans->raw : NULL;

	if (span == NULL)
		return;
	conn->spans->raw = NULL;
	if (conn->owner != NULL && span->forks == forks_now()) {
		take_request(span, conn->owner);
		take_conn(span, conn);
		push(span, span->read_ns != 0 ? span->read_ns : os_monotonic_ns());
	}
	span_free(span);
}

__attribute__((cold)) void span_raw_begin(struct conn *conn)
{
	if (conn->spans != NULL)
		conn->spans->raw = span_new(RING_SPAN_SERVER, os_monotonic_ns());
}

__attribute__((cold)) void span_raw_received(struct conn *conn, size_t len)
{
	if (conn->spans != NULL && conn->spans->raw != NULL)
		conn->spans->raw->record.bytes_in += len;
}

__attribute__((cold)) void span_raw_sent(struct conn *conn, size_t len)
{
	struct span *span = conn->spans != NULL ? conn->spans->raw : NULL;

	if (span == NULL || len == 0)
		return;
	span->read_ns = os_monotonic_ns();
	if (span->record.first_byte_ns == 0) {
		span->record.first_byte_ns = span->read_ns;
		span->forks = forks_now();
	}
	span->record.bytes_out += len;
}

/*
 * The bytes of a connection, by direction and role. Called by io.c with the connection locked; no I/O, no allocation
 * outside the pools. Each function takes the bytes in order, whole or in any pieces.
 */
#ifndef TRACESHIM_STREAM_H
#define TRACESHIM_STREAM_H

#include <stddef.h>

#include "conn.h"

/*
 * Make the filters: what heads are read for is a matter of the configuration. Before the first connection's first byte, and
 * cheap afterwards. While another thread is at it, and in its forked child, every field is looked at.
 */
enum stream_prepared { STREAM_UNPREPARED, STREAM_PREPARING, STREAM_PREPARED };
extern uint8_t stream_prepared; /* atomic */
void stream_prepare(void);
/* Its parts, called by it alone: the filters of served.c and of call.c. */
void served_prepare(void);
void call_prepare(void);

static inline const struct http1_filter *stream_filter(const struct http1_filter *filter)
{
	return __atomic_load_n(&stream_prepared, __ATOMIC_ACQUIRE) == STREAM_PREPARED ? filter : NULL;
}

/*
 * The heads that a thread has read last, by direction: they mostly come again. Taken for the time of one look, and given back;
 * a handler that comes in between has others. NULL: no memory, and nothing lost but time.
 */
enum stream_head { STREAM_REQUEST_IN, STREAM_RESPONSE_OUT, STREAM_REQUEST_OUT, STREAM_RESPONSE_IN, STREAM_HEADS };
struct stream_heads {
	uint32_t pool_word;
	struct http1_known of[STREAM_HEADS];
};
struct stream_heads *stream_take_heads(void);
void stream_give_heads(struct stream_heads *heads);
/* The same of those that the thread has kept, built into its callers. NULL: none. */
struct stream_heads *stream_borrow_heads(void);
void stream_return_heads(struct stream_heads *heads);

static inline struct http1_known *stream_known(struct stream_heads *heads, enum stream_head which)
{
	return heads == NULL ? NULL : &heads->of[which];
}

/* A propagate_visit that enters a name into a struct http1_filter. */
void stream_expect_field(void *filter, const char *name, size_t len);

/*
 * served.c: what the peer sent (requests). Returns the request that the reading thread works for now, or NULL when that is
 * not known (none, or several unanswered ones); borrowed from the connection.
 */
struct request *served_received(struct conn *conn, const char *in, size_t len);
/* The first bytes of a fresh connection: what is spoken there? They are still to be received. */
void served_start(struct conn *conn, const char *in, size_t len);
/* The same of one whole request like the last one, on a connection that waits for one; NULL: it is something else, nothing was done. */
struct request *served_received_usual(struct conn *conn, const char *in, size_t len);
/* served.c: what the program sent (responses); _unseen: bytes that nobody saw (sendfile). */
void served_sent(struct conn *conn, const char *out, size_t len);
void served_sent_unseen(struct conn *conn, size_t len);
/* served.c: the request whose response the next sent byte belongs to, or NULL. Borrowed. */
struct request *served_answering(const struct conn *conn);

/* The first exchange that is not answered in full; NULL when the server has nothing to answer. */
static inline struct exchange *served_unanswered(const struct conn *conn)
{
	struct exchange *ex = conn->first;

	while (ex != NULL && ex->response_done)
		ex = ex->next;
	return ex != NULL && ex->request_headed ? ex : NULL;
}
/*
 * served.c: the first exchange, of which conn_is_answering, is answered to its end, that is no 1xx. It has no span; _told: it has one, which
 * is to hear of the last `used` bytes.
 */
void served_finish(struct conn *conn, struct exchange *ex);
void served_finish_told(struct conn *conn, struct exchange *ex, size_t used);
/* served.c: the program shut its sending direction down: that is the end of a response until close. */
void served_shut(struct conn *conn);

/* call.c: what the program sent (requests); who makes it is `caller` (may be NULL). */
void call_sent(struct conn *conn, const char *out, size_t len, struct request *caller);
/* call.c: what the peer sent (responses). */
void call_received(struct conn *conn, const char *in, size_t len);

/*
 * Where in the program's next bytes may something be inserted? A dry run over them with copies of the scanners.
 *
 * Returns whether a head ends in these bytes; then `at` is the offset of the CRLF that ends it. In either case:
 * end   offset up to which the bytes may go out before the next look: the end of the first message that ends here; the
 *       total, or more, when none does
 * own   PROPAGATE_HAS_* of the head; host_allowed; own_response_header: what the head holds
 */
struct stream_spot {
	size_t at, end;
	uint32_t own;
	bool host_allowed, own_response_header;
	bool done;  /* a message ends at `end` */
	bool known; /* `after` is what the scanner will be like when all bytes up to `end` were sent */
	struct http1 after;
};
/* stream.c: the dry run itself; `spot->after` is a fork to run with; `offset` the bytes of iov to pass over. Offsets count from iov's start. */
bool stream_find_spot(struct stream_spot *spot, const struct http1_sink *sink, const struct iovec *iov, int count,
                      size_t offset);
static inline void stream_found(struct stream_spot *spot, const struct http1_message *message)
{
	spot->at = message->head;
	spot->end = message->end;
	spot->done = message->done;
	spot->known = true;
}
/* The same for a message that begins with iov, if its head is known (sink->known) and lies in the first vector; else false. `total`: bytes of all vectors. */
static inline bool stream_find_known(struct stream_spot *spot, unsigned options, const struct http1_sink *sink,
                                     const struct iovec *iov, size_t total)
{
	struct http1_message message;

	if (!http1_take_known(&spot->after, options, sink, iov->iov_base, iov->iov_len, total, &message))
		return false;
	stream_found(spot, &message);
	return true;
}
size_t stream_total(const struct iovec *iov, int count);
/* May a response that begins with this head, which is known, be taken in few steps, as far as the head says so? Then known->whole says how long it is. */
bool stream_mark_response(struct http1_known *known);
static inline bool stream_is_marked(struct http1_known *known)
{
	return known->mark != 0 || stream_mark_response(known);
}
/* The program is about to send: what `spot` found (NULL: bytes that nobody sees) may complete a span. See span_hold. */
void served_hold_span(struct conn *conn, const struct stream_spot *spot);
bool served_find_spot(struct conn *conn, const struct iovec *iov, int count, size_t offset, struct stream_spot *spot);
/*
 * Do `len` bytes begin with the whole head that was known last, of a response that says nothing itself and ends where its length says so?
 * Its heads, which are to be given back: STREAM_RESPONSE_OUT is meant. NULL: no. Not where the request was HEAD or CONNECT.
 */
struct stream_heads *served_find_head(const char *out, size_t len);
/*
 * What the spot covers was sent, all of it, and conn->sends is what it was when the spot was found: go on from `after`,
 * instead of reading the same bytes again. Only where spot->known.
 */
void served_sent_known(struct conn *conn, const struct stream_spot *spot, size_t len);
void call_sent_known(struct conn *conn, const struct stream_spot *spot, struct request *caller, size_t len);
bool call_find_spot(struct conn *conn, const struct iovec *iov, int count, size_t offset, struct stream_spot *spot);
/*
 * call_usual.c, each built into its caller: do `len` bytes begin with the head of the last call, which gets all that is inserted, and goes to a
 * host that may get it? Its heads, which are to be given back; `known` is set to that head. NULL: no.
 */
struct stream_heads *call_find_head(const char *out, size_t len, struct http1_known **known);
/*
 * A call with such a head was sent, all of it, on a connection that has no other one: `up` is what its scanner is like, the reference to
 * `caller` is taken over (NULL: nobody), `injected` says whether it was told of the caller. It is the connection's first exchange then; without memory the connection has none, and passes.
 */
void call_sent_usual(struct conn *conn, const struct http1 *up, struct request *caller, bool injected);
/* The reply to the one call of a connection came, with the head of the last reply, and no more than the rest of its body to come. false: it is for call_received. */
bool call_received_usual(struct conn *conn, const char *in, size_t len);

#endif

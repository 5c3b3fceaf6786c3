/*
 * The usual call and its reply, in few steps: on a connection that is kept and has no other call, a request whose head is that of the last one,
 * and a response whose head is. What they do to the connection is what call.c would do, less what that head has shown to be nothing: so
 * each says no to all that is not so, and nothing was done.
 *
 * Callers: io_usual.c and io_receive.c, with the connection locked; built into them.
 */
#include <string.h>

#include "config.h"
#include "counters.h"
#include "span.h"
#include "stream.h"

LAYOUT_BUILT_IN struct stream_heads *call_find_head(const char *out, size_t len, struct http1_known **found)
{
	struct stream_heads *heads = stream_borrow_heads();
	struct http1_known *known;

	if (__builtin_expect(heads == NULL, 0))
		return NULL;
	known = &heads->of[STREAM_REQUEST_OUT];
	if (known->whole - 1u < len && memcmp(out, known->head, known->whole) == 0) {
		*found = known;
		return heads;
	}
	stream_return_heads(heads);
	return NULL;
}

/* The owner is the last caller's, of which nothing is left where that was answered. */
static inline void set_owner(struct conn *conn, struct request *caller)
{
	struct request *before = conn->owner;

	conn->owner = request_ref(caller);
	request_unref(before);
}

LAYOUT_BUILT_IN void call_sent_usual(struct conn *conn, const struct http1 *up, struct request *caller, bool injected)
{
	struct exchange *ex = conn_push_first(conn, CONN_OUTGOING);
	uint64_t *counter = counters_page()->counter;

	if (__builtin_expect(ex == NULL, 0)) {
		request_unref(caller);
		return;
	}
	set_owner(conn, caller);
	ex->up = *up;
	ex->host_allowed = true;
	ex->request_headed = ex->request_done = true;
	ex->request = caller;
	if (__builtin_expect(injected, 1))
		own_count_both(&counter[STATUS_calls], &counter[STATUS_calls_injected]);
	else
		counters_count(calls);
	if (__builtin_expect(caller == NULL, 0))
		counters_count_seldom(calls_unknown);
}

static __attribute__((noinline)) void tell(struct conn *conn, struct exchange *ex, size_t len, bool done)
{
	span_count_down(ex, len);
	span_head_was_read(ex);
	if (done)
		span_end(conn, ex, false);
}

/* The first exchange is answered, and done with. */
static inline void finish(struct conn *conn, struct exchange *ex)
{
	struct request *owner = conn->owner;

	conn->first = NULL;
	conn->depth = 0;
	conn->owner = NULL;
	request_unref(ex->request);
	request_unref(owner);
	conn_give_exchange(ex, CONN_OUTGOING);
}

LAYOUT_BUILT_IN bool call_received_usual(struct conn *conn, const char *in, size_t len)
{
	struct exchange *ex = conn->first;
	struct stream_heads *heads;
	struct http1_known *known;
	size_t body;
	bool done;

	/* To HEAD and CONNECT the same head says something else of what follows. */
	if (ex == NULL || conn->depth != 1 || !conn_is_answering(ex, false) || ex->up.method == HTTP1_HEAD_METHOD ||
	    ex->up.method == HTTP1_CONNECT || ex->up.line != NULL || (heads = stream_borrow_heads()) == NULL)
		return false;
	known = &heads->of[STREAM_RESPONSE_IN];
	if (!stream_is_marked(known) || known->whole - 1u >= len || memcmp(in, known->head, known->whole) != 0 ||
	    (body = len - known->whole) > known->after.remaining) {
		stream_return_heads(heads);
		return false;
	}
	known->unequal = 0;
	done = body == known->after.remaining;
	if (!done || ex->span != NULL)
		http1_use_known_body(&ex->down, known, body);
	stream_return_heads(heads);
	ex->response_begun = true;
	if (__builtin_expect(ex->span != NULL, 0))
		tell(conn, ex, len, done);
	if (__builtin_expect(done, 1))
		finish(conn, ex);
	return true;
}

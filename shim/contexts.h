/*
 * Requests that a runtime's own async contexts name (asyncio's tasks): the runtime carries a mark of ours from the code that read
 * a request to all code that works for it. What a mark means is decided here, when it is found again.
 */
#ifndef TRACESHIM_CONTEXTS_H
#define TRACESHIM_CONTEXTS_H

#include <stdbool.h>
#include <stdint.h>

#include "conn.h"

struct request;

enum context_kind {
	CONTEXT_NOBODY, /* several requests at a time, or none that could be told */
	CONTEXT_REQUEST,
	CONTEXT_SHARED /* it read requests of several connections: nobody's, for good */
};

/* What a context holds. Kept as its bytes. A connection's block is never unmapped, so the handle may be stale, not wild. */
struct context_mark {
	struct conn_handle conn;
	uint64_t span; /* id of the request's server span */
	uint64_t kind; /* enum context_kind */
};

/*
 * The one request on this connection that waits for its answer and has its whole head: *mark names it; else nobody, as where it is
 * not HTTP that is spoken, or where one of HTTP/2 ended by what was read. false: not a connection that is served, or somebody else is at it: nothing can be said. Takes the
 * connection's lock for a look.
 * `plain`: what was read is a TLS session's plain text; other bytes of such a connection are none.
 */
bool contexts_mark(struct conn_handle handle, bool plain, struct context_mark *mark);

/*
 * The request that `mark` names, with a reference, as long as its answer has not begun to leave; else NULL. Takes the connection's lock
 * for a look; signal-safe.
 */
struct request *contexts_request(const struct context_mark *mark);

/* A context that holds `old` has to do with what was read. Is that something new? Then *next is what it is to hold. */
bool contexts_change(const struct context_mark *old, const struct context_mark *read, struct context_mark *next);

#endif

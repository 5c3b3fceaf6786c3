/*
 * Requests of a managed runtime (Node), which alone knows for whom its one thread works at any moment: it tells us, and
 * nothing here is inferred. The runtime's side (hooks/companion/) holds a small block of words that both sides read
 * and write, so that saying it costs two stores and no call.
 *
 * One `struct managed` per JavaScript environment, which is one per thread that runs JavaScript. All functions but
 * managed_known, managed_segments and managed_wrote are called on that thread by the runtime itself, never from a signal handler.
 */
#ifndef TRACESHIM_MANAGED_H
#define TRACESHIM_MANAGED_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "conn.h"
#include "logline.h"

struct request;

/* The shared words. */
enum managed_word {
	MANAGED_SLOT, /* for whom the call in progress works: a slot, MANAGED_NOBODY, or MANAGED_SILENT */
	MANAGED_QUEUES, /* not 0: what the call in progress cannot write now stays queued and is written later, by the loop */
	MANAGED_CONSUMED, /* out: how much managed_stamp took */
	MANAGED_REQUESTS, /* requests begun; only ever grows, and wraps */
	MANAGED_WORDS
};
#define MANAGED_SILENT 0    /* the runtime says nothing: it is its loop that calls, for what was queued */
#define MANAGED_NOBODY (-1) /* no request, or none that is certain */

/* Requests with ids at a time in one environment. More have none (counted): a server of so many waits for something. */
#define MANAGED_SLOTS 8192

/* Names of head fields and their values, as the runtime hands them over: "name:value\n" each, names in any case. */

/*
 * This thread runs an environment from now on. `words` holds MANAGED_WORDS zeroed words, and stays until managed_end.
 * false: no memory, or it has one already.
 */
bool managed_begin(int32_t *words);
/* The environment ends: its requests are let go of. */
void managed_end(void);

/* Does this thread run an environment? Signal-safe. */
bool managed_here(void);

/*
 * A slot for a new request with these head fields. Returns 1..MANAGED_SLOTS-1, or MANAGED_NOBODY. Names that mean nothing
 * are skipped; invalid values are counted, as everywhere.
 */
int32_t managed_open(const char *fields, size_t len);
/* The runtime never names this slot again. Any number is allowed. */
void managed_close(int32_t slot);
/* The request of a slot, borrowed; NULL for every other number. */
struct request *managed_request(int32_t slot);

/*
 * The request that the call in progress on this thread works for, borrowed; NULL: not known, or this thread runs no
 * environment. Signal-safe.
 */
struct request *managed_known(void);

/*
 * Whose are the `total` bytes that are about to be written to log descriptor `fd`? Fills one or two segments (requests
 * borrowed) and returns how many. What libuv could not write at once it writes later from its queue: such bytes are whose
 * they were when the stream took them. Signal-safe. managed_wrote says how many were taken (or -1).
 */
size_t managed_segments(int fd, size_t total, struct logline_segment segments[2]);
void managed_wrote(int fd, size_t total, ssize_t taken);

/*
 * Records for whole lines that the program writes to a stream whose turn comes later: made now, in the name of `slot`.
 *
 * lines   `len` bytes, at least 1, the last one a newline
 * out     `room` bytes, at least MANAGED_STAMP_ROOM
 * Returns how many bytes of `out` were filled; *consumed: how many of `lines` are dealt with, at least 1 (call again for the
 * rest). Finished records pass whatever rewrites them later unchanged, as long as no request is named for them then. Not
 * counted: that is done when they are written.
 */
#define MANAGED_STAMP_ROOM (192u * 1024)
size_t managed_stamp(enum record_stream stream, int32_t slot, const char *lines, size_t len, char *out, size_t room,
                     size_t *consumed);

/*
 * Head lines for an outgoing call of `slot`, as propagate_format_headers makes them. fields: the head that the program made,
 * "name: value\r\n" or "\n" each. host: where it goes, "name" or "name:port". out: LIMIT_INJECTION bytes.
 * called: NULL, or filled with what the call's span is to be, where it is to have one.
 * Returns their length; 0: none (counted why).
 */
struct managed_called {
	bool known; /* else: whose it is is not known, or its span is somebody else's, who put a trace into the head */
	uint16_t tracestate_len;
	struct span_ids ids;
	char tracestate[LIMIT_TRACESTATE];
};
size_t managed_call(int32_t slot, const char *fields, size_t len, const char *host, size_t host_len, char *out,
                    struct managed_called *called);

/*
 * The request of this slot has a span of another tracer's, which is our parent-id: its calls are that one's children, as
 * nobody records ours.
 */
void managed_adopt(int32_t slot);

#endif

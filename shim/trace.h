/*
 * The identity of one request (or process): its ids, and the text that travels with them. Plain data, no code.
 * Every text in it was validated on the way in: whoever formats it need not check again, only escape.
 */
#ifndef TRACESHIM_TRACE_H
#define TRACESHIM_TRACE_H

#include <stdbool.h>
#include <stdint.h>

#include "limits.h"

#define TRACE_FLAG_SAMPLED 0x01u
#define TRACE_FLAG_RANDOM 0x02u

/* A piece of a text area: offset and length in bytes, no NUL. len 0: absent. */
struct slice {
	uint16_t off;
	uint16_t len;
};

/* An append-only text area. `data` is owned by whoever set it up; a full area refuses and stays as it is. */
struct text {
	char *data;
	uint16_t len;
	uint16_t cap;
};

struct trace_context {
	uint8_t trace_id[16];
	uint8_t span_id[8];   /* ours: the server span of this request (or the process's span) */
	uint8_t flags;        /* TRACE_FLAG_*, as sent on */
	bool remote;          /* the trace id came from the caller */
	bool validated;       /* that some thread works for it was told by evidence, not by proof */
	char trace_hex[32];   /* trace_id in hex, or zeros: nobody has made it (propagate_put_trace) */
	uint8_t parent_id[8]; /* the caller's span; all zero when there was none */

	struct slice tracestate;                             /* joined, validated, truncated; without it len 0 */
	struct slice baggage;                                /* unchanged, all baggage headers joined with ',' */
	struct slice correlation[LIMIT_CORRELATION_HEADERS]; /* the caller's config.correlation[i], else len 0 */
	struct slice field[LIMIT_LOG_FIELDS];                /* value for config.field[i], raw bytes, not escaped */
	struct text text;                                    /* where the slices point; empty: there is none */
};

#endif

/*
 * The newest spans and lines, kept for the page.
 */
#ifndef TRACESHIM_AGENT_STORE_H
#define TRACESHIM_AGENT_STORE_H

#include <stdbool.h>
#include <stdint.h>

#include "buffer.h"
#include "origin.h"
#include "ring_reader.h"

struct store;

/* Empty; NULL without memory. */
struct store *store_open(void);

/* Keep a copy; the oldest go for it. */
void store_take_span(struct store *s, const struct origin *origin, const struct ring_span_read *span);
void store_take_line(struct store *s, const struct origin *origin, const struct ring_line_read *line);

/* What to list: empty strings and zeroes mean any. */
struct store_filter {
	const char *service; /* the whole name */
	const char *text;    /* a part of the route, the path or the method */
	const char *trace;   /* begin of the trace id in hex */
	unsigned status;     /* 404, or a class: 4 */
	bool errors;
	uint64_t slower_ns;
	unsigned limit;
};

/* The requests served, newest first: {"requests":[...]}, JSON. */
void store_put_requests(const struct store *s, const struct store_filter *filter, struct buffer *out);

/*
 * What is known of a trace, by start: {"spans":[...],"lines":[...],"left":N}, JSON. `trace` is 32 hex digits. N are left out, where it
 * would be too much for one answer.
 */
void store_put_trace(const struct store *s, const char *trace, struct buffer *out);

/* Counts, errors and latencies by service and route of what is kept: {"routes":[...]}, JSON. */
void store_put_overview(const struct store *s, struct buffer *out);

void store_close(struct store *s);

#endif

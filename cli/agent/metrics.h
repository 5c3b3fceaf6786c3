/*
 * Rate, errors and duration by service and route, as Prometheus wants them.
 */
#ifndef TRACESHIM_AGENT_METRICS_H
#define TRACESHIM_AGENT_METRICS_H

#include "buffer.h"
#include "origin.h"
#include "ring_reader.h"

struct metrics;

/* Empty; NULL without memory. */
struct metrics *metrics_open(void);

/* Count a span, of a request or of a call; where there are too many series, metrics.c says as what. */
void metrics_take(struct metrics *m, const struct origin *origin, const struct ring_span_read *span);

/* The text format 0.0.4. */
void metrics_put(const struct metrics *m, struct buffer *out);

/* One line of a counter or gauge of the agent's own, with its head. */
void metrics_put_own(struct buffer *out, const char *name, const char *type, const char *help, uint64_t value);

void metrics_close(struct metrics *m);

#endif

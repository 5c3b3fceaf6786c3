/*
 * One span, one log line, as the back ends want it: OTLP's JSON, and Loki's.
 */
#ifndef TRACESHIM_AGENT_OTLP_JSON_H
#define TRACESHIM_AGENT_OTLP_JSON_H

#include "buffer.h"
#include "ring_reader.h"

/* A Span of OTLP. A clock that was set back between start and end: the span ends where it began. */
void otlp_put_span(struct buffer *b, const struct ring_span_read *s);

/* A LogRecord of OTLP; observed_ns is when we read it. */
void otlp_put_line(struct buffer *b, const struct ring_line_read *l, uint64_t observed_ns);

/* An entry of Loki's "values". */
void loki_put_line(struct buffer *b, const struct ring_line_read *l);

/* The name of a severity number of OpenTelemetry: "INFO"...; "" for 0. */
const char *otlp_severity(unsigned number);

#endif

/*
 * Shared by the files of the module propagate only: propagate.c (names, the order of belief), propagate_w3c.c
 * (traceparent, tracestate), propagate_baggage.c (baggage and log fields), propagate_other.c (B3, Jaeger, plain ids),
 * propagate_format.c (the way out).
 */
#ifndef TRACESHIM_PROPAGATE_INTERNAL_H
#define TRACESHIM_PROPAGATE_INTERNAL_H

#include <string.h>

#include "propagate.h"

/* Bytes borrowed from a head, an environment or a text area. */
struct propagate_piece {
	const char *at;
	size_t len;
};

/* ASCII, no control character: fit for a header line. */
bool propagate_is_printable(const char *at, size_t len);

/* [A-Za-z0-9._-]{1,128} */
bool propagate_is_correlation_id(const char *at, size_t len);

/* Append to the text area; false, and nothing done but a count, when it has no room. */
bool propagate_add_text(struct text *text, const char *at, size_t len, struct slice *slice);

static inline struct propagate_piece propagate_slice(const struct trace_context *ctx, struct slice slice)
{
	return (struct propagate_piece){ ctx->text.data + slice.off, slice.len };
}

static inline bool propagate_is_zero(const uint8_t *id, size_t n)
{
	uint8_t any = 0;

	for (size_t i = 0; i < n; i++)
		any |= id[i];
	return any == 0;
}

/* The next member of a ','-separated list without the white space around it (maybe empty). False at the end. */
bool propagate_next_member(struct propagate_piece *rest, struct propagate_piece *member);

/* Parsers: true when valid; `ids` is filled then (and may be half filled otherwise). `value` trimmed, any bytes. */
bool propagate_parse_traceparent(const char *value, size_t len, struct propagate_ids *ids);
bool propagate_parse_jaeger(const char *value, size_t len, struct propagate_ids *ids);
/* 16 or 32 hex digits, not all zero; 16: padded with zeros on the left. */
bool propagate_parse_b3_trace(const char *value, size_t len, uint8_t trace_id[16]);
bool propagate_parse_b3_span(const char *value, size_t len, uint8_t span_id[8]);
/* A sampling decision: 1 or 0; -1: not valid. */
int propagate_parse_b3_sampled(const char *value, size_t len);
/* *has_ids false: the header is a sampling decision only. */
bool propagate_parse_b3(const char *value, size_t len, struct propagate_ids *ids, bool *has_ids);
/* 32 hex digits in any case, or a UUID; not all zero. */
bool propagate_parse_plain(const char *value, size_t len, uint8_t trace_id[16]);

/* One tracestate header more. */
void propagate_take_tracestate(struct propagate_in *in, struct trace_context *ctx, const char *value, size_t len);

/* One baggage header more: for the way out, and for the log fields made from it. */
void propagate_take_baggage(struct trace_context *ctx, const char *value, size_t len);

/* The mapped log fields that come from this header. */
void propagate_take_fields(struct trace_context *ctx, const char *name, size_t name_len, const char *value, size_t len);

#endif

/*
 * What record.c prints records from, and record_parts.c prepares. Not for other modules.
 */
#ifndef TRACESHIM_RECORD_INTERNAL_H
#define TRACESHIM_RECORD_INTERNAL_H

#include "json.h"
#include "record.h"
#include "severity.h"

#define PART_SIZE 44 /* with `len` 48 bytes; the longest is GCP's trace_sampled, 40 */
#define TAIL_SIZE 2560
#define TAIL_STEP 64 /* copied so many bytes at a time */

struct record_part {
	uint32_t len;
	char text[PART_SIZE];
};

/* Which members a line to be spliced has already: these bits, those of mapped field i and of correlation id i. */
#define KEY_TRACE 0x01u
#define KEY_SPAN 0x02u
#define KEY_FLAGS 0x04u
#define KEY_SOURCE 0x08u
#define KEY_FIELD(i) (0x100u << (i))
#define KEY_CORRELATION(i) (0x1000000u << (i))
_Static_assert(LIMIT_LOG_FIELDS <= 16 && LIMIT_CORRELATION_HEADERS <= 8, "a bit for every field");

extern struct record_parts {
	uint32_t turn; /* counts record_init: what a memo holds was made by this one; never 0 */
	uint32_t room; /* of a record beside its message and its fields, with what copies write beyond its end */
	struct record_part open;                   /* {"timestamp":" */
	struct record_part middle[SEVERITY_COUNT]; /* Z","severity":"INFO","message":" */
	struct record_part trace, span, flags;     /* ,"trace_id":"   ,"span_id":"   ,"trace_flags": */
	struct record_part tid;                    /* ,"tid": */
	struct record_part streams[3];
	struct record_part sources[2];            /* ,"trace_source":"proven" and "validated"; empty: not wanted */
	struct record_part text_trace, text_span; /* " trace_id=" and " span_id=" of LOG_TEXT */
	uint32_t tail_len;
	char tail[TAIL_SIZE + TAIL_STEP]; /* ,"service":"...",...,"pid": */
	uint32_t field_skip;              /* KEY_* of fields whose name is taken */
	/* The names that are looked for in objects, with the KEY_* bits they mean; and bit c & 63 for each first byte and length. */
	struct known_key {
		const char *text;
		uint16_t len;
		bool nested; /* only if the value is an object */
		uint32_t bits;
	} known[13 + LIMIT_LOG_FIELDS + LIMIT_CORRELATION_HEADERS];
	uint32_t known_count;
	uint64_t first_bytes, lengths;
} record_parts;

#endif

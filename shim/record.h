/*
 * One log line into one structured record. Pure: bytes in, bytes out, no I/O, no lock, no allocation; signal-safe.
 */
#ifndef TRACESHIM_RECORD_H
#define TRACESHIM_RECORD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "config.h"
#include "severity.h"
#include "trace.h"

enum record_stream { RECORD_STDOUT, RECORD_STDERR, RECORD_FILE };

/*
 * What most records of one writer have in common, worked out once: the text up to the second's fraction; what lies behind the
 * message, in which only the digits of the ids change; and how its lines begin. All zero, or with `turn` zero: nothing yet. Of one
 * writer at a time. What is in it is told by value, so that it may be handed from one writer to another.
 */
#define RECORD_MEMO_HEAD 48
#define RECORD_MEMO_REST 448
struct record_memo {
	uint32_t turn;               /* of record_init */
	uint16_t head_len, rest_len; /* 0: not known */
	uint64_t second_ns;          /* the head's */
	int32_t rest_pid, rest_tid;
	uint32_t rest_kind;        /* what else the rest says, beside the ids */
	uint16_t tid_at;           /* the thread's digits, in the rest */
	uint8_t trace_at, span_at; /* the ids', in the rest of a request's record */
	uint64_t ids[3];           /* whose they are: trace and span */
	char head[RECORD_MEMO_HEAD];
	char rest[RECORD_MEMO_REST];
	struct severity_memo level;
};

struct record_source {
	const struct trace_context *ctx; /* NULL: no request known, so no ids */
	enum record_stream stream;
	int32_t pid, tid;
	uint64_t time_ns;         /* CLOCK_REALTIME when the line was printed */
	bool partial;             /* the program's line goes on behind this part, or never got its newline */
	bool rest;                /* earlier parts of the line were records of their own */
	bool plain;               /* the request is known to have no fields; set by record_bound */
	struct record_memo *memo; /* used and kept up to date; NULL: none */
};

/*
 * Prepare the constant parts (service, version, ...) from `config`. Once, before the first line; where
 * fields are mapped in the constructor: what is said about them is said there. A mapped field whose name the format
 * or an earlier field uses already is left out, counted (config_invalid) and noted: records have each key once. A
 * correlation id that is not the trace id itself is a field too, under its header's name, unless that header is mapped.
 */
void record_init(void);

/* What record_format says about the record it wrote. */
#define RECORD_HAS_ID 0x01u  /* a trace id: ours, or one that the line brought along */
#define RECORD_SPLICED 0x02u /* the line was a JSON object already */

/* What a record has beside its line, at most: names, ids, service, mapped fields. */
#define RECORD_OVERHEAD_MAX (32u * 1024)

/* Upper bound of what record_format writes for a line of `len` bytes, worst-case escapes included. */
#define RECORD_BOUND(len) ((len)*6 + RECORD_OVERHEAD_MAX)
/* The same for a line that record_is_object says yes to. */
#define RECORD_OBJECT_BOUND(len) ((len) + RECORD_OVERHEAD_MAX)

/* The same for one source and any line of `len` bytes, by what there is to say: much less, as a rule. */
size_t record_bound(struct record_source *src, size_t len);

/*
 * Write the record of one line.
 *
 * line  `len` bytes without the '\n'; any bytes. A '\r' at the end is taken for a part of the line ending (unless the
 *       source is partial): a record made from text leaves it out, as it does the '\n'
 * out   RECORD_BOUND(len) bytes, or RECORD_OBJECT_BOUND(len), or record_bound(src, len); all of it may be written to; gets the record and its '\n'
 * how   out: RECORD_* flags
 * config.log_mode LOG_JSON: text becomes an object in config.log_format; bytes that are not UTF-8 become \u0080 to \u00ff
 * (see json_escape); a source that is `partial` adds "partial":true, a `rest` that is not "partial":true,"partial_last":true.
 * A line (no `rest`) that is one whole JSON object is spliced, in LOG_TEXT too: its bytes stay, and the ids and mapped fields that it
 * does not have already are added before its last '}'; when it brings a trace id under any well-known name, no id of ours.
 * LOG_TEXT: the line as it is, with " trace_id=… span_id=…" (names of the format) appended when there are ids and the
 * line is not empty. LOG_OFF: the line as it is.
 * Returns the number of bytes written, at least 1. Never fails; every record holds one '\n', at its end, if the line holds
 * none, and is valid JSON (RFC 8259) and valid UTF-8, whatever `line` holds, in LOG_JSON mode.
 */
size_t record_format(const struct record_source *src, const char *line, size_t len, char *out, unsigned *how);

/*
 * The same for bytes that should be one line and may not be: 0 when there is a '\n' among them. What `out` holds then means
 * nothing. Cheaper than to look for it first, because escaping looks at each byte anyway.
 */
size_t record_format_line(const struct record_source *src, const char *line, size_t len, char *out, unsigned *how);

/* The same as record_format, in fewer steps for text, of a source that is neither `partial` nor `rest`. Built into its caller. */
size_t record_format_whole(const struct record_source *src, const char *line, size_t len, char *out, unsigned *how);

/* Would record_format splice this line? */
bool record_is_object(const char *line, size_t len);

#endif

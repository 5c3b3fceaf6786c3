/*
 * Trace ids in and out of head fields and environments: W3C Trace Context, W3C Baggage, B3 (single and multi), Jaeger
 * and plain correlation ids. Pure but for ids_generate_* and counters; no lock, no allocation; safe in a signal handler.
 * Sources: W3C Trace Context levels 1 and 2, W3C Baggage, openzipkin/b3-propagation, Jaeger's client format.
 */
#ifndef TRACESHIM_PROPAGATE_H
#define TRACESHIM_PROPAGATE_H

#include <stdbool.h>
#include <stddef.h>

#include "config.h"
#include "ids.h"
#include "layout.h"
#include "trace.h"

/* The formats in which a caller can name its trace, in the order of belief unless configured otherwise. */
enum propagate_format {
	PROPAGATE_FROM_W3C,
	PROPAGATE_FROM_B3,
	PROPAGATE_FROM_B3MULTI,
	PROPAGATE_FROM_JAEGER,
	PROPAGATE_FORMATS
};

struct propagate_ids {
	uint8_t trace_id[16], span_id[8];
	uint8_t flags;
};

/*
 * What one inbound head has said so far. Begin, hand over every field that propagate_wants names, end. Small enough to
 * live in a connection's request; values are kept in the text area of the context that is being filled. The fields are
 * the module's own.
 */
struct propagate_in {
	uint32_t seen;            /* bit per header: it occurred */
	uint32_t good;            /* ... once, and was valid */
	uint8_t tracestate_count; /* members so far, those left out included */
	bool tracestate_bad, tracestate_no_large, tracestate_full;
	struct propagate_ids from[PROPAGATE_FORMATS];
	uint8_t plain[2][16]; /* x-trace-id and x-request-id as trace ids */
};

/* Does the configuration give this field a meaning inbound? `name` in lower case. Pure function of name and config. */
bool propagate_wants(const char *name, size_t len);

/*
 * All names that propagate_wants, or propagate_own_header, may say yes to; some come twice. For filters that are made once,
 * after config_load.
 */
typedef void propagate_visit(void *to, const char *name, size_t len);
void propagate_each_wanted(propagate_visit *visit, void *to);
void propagate_each_own(propagate_visit *visit, void *to);

/*
 * Is this a field by which a program propagates a trace on its own (traceparent, b3, x-b3-*, uber-trace-id,
 * x-datadog-trace-id, newrelic, ...)? Then nothing of that kind may be added. `name` in lower case. Headers that load
 * balancers put on every request (x-amzn-trace-id, x-cloud-trace-context) do not count: a proxy only passes them on.
 */
bool propagate_is_trace_header(const char *name, size_t len);

/* Begin with a context whose `text` is set up (data and cap); all else is zeroed here, and the text is emptied. */
void propagate_begin(struct propagate_in *in, struct trace_context *ctx);

/*
 * At most this many bytes of ctx->text does propagate_field take for this field now: who finds text.cap - text.len
 * smaller makes room first (request_grow_text), or the value may be refused and counted (no_memory_skipped).
 */
size_t propagate_text_needed(const struct trace_context *ctx, const char *name, size_t name_len, size_t value_len);

/*
 * One field; `name` lower case, `value` trimmed, borrowed. Invalid values are counted and never copied. A header that
 * may be there only once, but comes twice, counts as invalid, both of them.
 */
void propagate_field(struct propagate_in *in, struct trace_context *ctx, const char *name, size_t name_len,
                     const char *value, size_t value_len);

/*
 * The head is complete: choose the trace, generate what is missing, and give the request its own span id. The order:
 * W3C, the configured propagators, the other known formats, x-trace-id, x-request-id, other configured correlation
 * headers whose value is a trace id. The context is final afterwards.
 */
void propagate_end(struct propagate_in *in, struct trace_context *ctx);

/* A context of its own, without any caller: fresh trace and span ids, sampled. `text` set up; it is emptied. */
void propagate_fresh(struct trace_context *ctx);
/* The same for a context that is empty already. */
void propagate_fresh_new(struct trace_context *ctx);
/* The same, in place. */
static LAYOUT_INLINE void propagate_name_fresh(struct trace_context *ctx)
{
	ids_generate_both(ctx->trace_id, ctx->span_id);
	ctx->flags = TRACE_FLAG_SAMPLED | TRACE_FLAG_RANDOM;
	/* It goes into the response, and mostly into a line, and into calls. Of all contexts of a process or of none: the old one's is not cleared. */
	if (config.response_header.len > 0)
		ids_hex_trace(ctx->trace_hex, ctx->trace_id);
}

/* The context that the environment carries (config.traceparent, ...), with a span id of its own; `text` set up; it is
 * emptied. false: none or not valid; ctx is then unusable. */
bool propagate_from_environment(struct trace_context *ctx);

/* Which headers of its own an outgoing head has: the bits say what must not be added any more. */
#define PROPAGATE_HAS_TRACE 0x01u /* any of propagate_is_trace_header */
#define PROPAGATE_HAS_BAGGAGE 0x02u
#define PROPAGATE_HAS_TRACESTATE 0x04u
#define PROPAGATE_HAS_CORRELATION(i) (0x100u << (i)) /* config.correlation[i] */
uint32_t propagate_own_header(const char *name, size_t len);

/*
 * Write the head lines ("name: value\r\n" each) that carry `ctx` to the next service, leaving out what `own` says is
 * there. A correlation header that the caller did not send carries the trace id. What is not fit for a header line (it
 * should never have come so far) is left out and counted.
 *
 * span_id  the id of the outgoing call (8 bytes): sent as parent-id
 * out      at least LIMIT_INJECTION bytes; not NUL-terminated
 * Returns the bytes written; 0 when nothing is to be sent (own has PROPAGATE_HAS_TRACE, or propagators are none).
 */
size_t propagate_format_headers(const struct trace_context *ctx, const uint8_t span_id[8], uint32_t own, char *out);

/* "traceparent" value of a context, 55 characters, for environments and headers; not NUL-terminated. */
#define TRACEPARENT_LEN 55
void propagate_format_traceparent(const struct trace_context *ctx, const uint8_t span_id[8], char out[TRACEPARENT_LEN]);

#endif

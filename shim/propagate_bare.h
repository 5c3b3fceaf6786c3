/*
 * Head lines that hold nothing but ids: what propagate_format_headers makes, in W3C's format alone, of a context of which nothing is sent on but
 * that. All of these have the same length, and each of their ids the same place, so that those of one call can be made of the last one's.
 */
#ifndef TRACESHIM_PROPAGATE_BARE_H
#define TRACESHIM_PROPAGATE_BARE_H

#include <string.h>

#include "config.h"
#include "ids.h"
#include "layout.h"
#include "propagate.h"
#include "record_digits.h"

/* Does it make such lines of this context, for a head that has none of its own? */
static LAYOUT_INLINE bool propagate_is_bare(const struct trace_context *ctx)
{
	/* All that a caller may say besides lies in there; baggage, which is then empty, is no line. */
	return ctx->text.len == 0 && (config.propagators & ~PROPAGATE_BAGGAGE) == PROPAGATE_TRACECONTEXT;
}

/* The trace's id in hex: 32 bytes. */
static LAYOUT_INLINE void propagate_put_trace(char *out, const struct trace_context *ctx)
{
	if (__builtin_expect(ctx->trace_hex[0] != '\0', 1))
		memcpy(out, ctx->trace_hex, sizeof(ctx->trace_hex));
	else
		(void)ids_hex(out, ctx->trace_id, sizeof(ctx->trace_id));
}

/* `text` was made so: now it is another such context's. */
static LAYOUT_INLINE void propagate_renew_bare(const struct trace_context *ctx, const uint8_t span_id[8], char *text)
{
	const size_t trace = sizeof("traceparent: 00-") - 1, span = trace + 33, flags = span + 18;
	char *line = text + flags + 3;

	propagate_put_trace(text + trace, ctx);
	(void)record_put_hex(text + span, span_id, 8);
	text[flags] = (char)('0' + (ctx->flags & (TRACE_FLAG_SAMPLED | TRACE_FLAG_RANDOM)));
	for (size_t i = 0; i < config.correlation_count; i++) {
		line += config.correlation[i].len + 2u;
		memcpy(line, text + trace, 32);
		line += 34;
	}
}

#endif

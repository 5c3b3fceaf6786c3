/*
 * The way out: a context as head lines.
 *
 * Everything here was validated on its way in. It is looked at once more before it is written, because one CR and LF
 * that slipped through would let a caller write headers, or whole requests, in our host's name: what is not fit for a
 * header line, or does not lie in the text area, is left out and counted. Called with the connection's own buffer;
 * pure.
 *
 * Memory: the caller's buffer. The most that can be written is summed up below and held against LIMIT_INJECTION.
 */
#include "propagate_internal.h"

#include "counters.h"
#include "ids.h"
#include "record_digits.h"

#define LINE_MAX_BYTES(value) (LIMIT_HEADER_NAME + 2 + (value) + 2)

_Static_assert(LINE_MAX_BYTES(LIMIT_BAGGAGE) + LINE_MAX_BYTES(LIMIT_TRACESTATE) +
                               LIMIT_CORRELATION_HEADERS * LINE_MAX_BYTES(LIMIT_CORRELATION_ID) +
                               7 * LINE_MAX_BYTES(80) <=
                       LIMIT_INJECTION,
               "room for every header at its longest");

static const uint8_t no_span[8];

static char *put(char *out, const char *at, size_t len)
{
	memcpy(out, at, len);
	return out + len;
}

#define PUT(out, word) put(out, word, sizeof(word) - 1)

void propagate_format_traceparent(const struct trace_context *ctx, const uint8_t span_id[8], char out[TRACEPARENT_LEN])
{
	out = PUT(out, "00-");
	out = record_put_hex(out, ctx->trace_id, 16);
	*out++ = '-';
	out = record_put_hex(out, span_id, 8);
	*out++ = '-';
	*out++ = '0';
	*out = (char)('0' + (ctx->flags & (TRACE_FLAG_SAMPLED | TRACE_FLAG_RANDOM)));
}

/* "name: value\r\n" of a slice; nothing when it is absent or not fit. */
static char *put_slice(char *out, const char *name, size_t name_len, const struct trace_context *ctx,
                       struct slice slice, size_t most)
{
	if (slice.len == 0)
		return out;
	if (slice.len > most || slice.off + slice.len > ctx->text.len ||
	    !propagate_is_printable(ctx->text.data + slice.off, slice.len)) {
		counters_count(ids_invalid);
		return out;
	}
	out = put(out, name, name_len);
	out = PUT(out, ": ");
	out = put(out, ctx->text.data + slice.off, slice.len);
	return PUT(out, "\r\n");
}

static char *put_tracecontext(char *out, const struct trace_context *ctx, const uint8_t span_id[8], uint32_t own)
{
	out = PUT(out, "traceparent: ");
	propagate_format_traceparent(ctx, span_id, out);
	out = PUT(out + TRACEPARENT_LEN, "\r\n");
	if (!(own & PROPAGATE_HAS_TRACESTATE))
		out = put_slice(out, "tracestate", 10, ctx, ctx->tracestate, LIMIT_TRACESTATE);
	return out;
}

static char sampled_digit(const struct trace_context *ctx)
{
	return ctx->flags & TRACE_FLAG_SAMPLED ? '1' : '0';
}

static bool has_parent(const struct trace_context *ctx, const uint8_t span_id[8])
{
	return memcmp(ctx->span_id, no_span, 8) != 0 && memcmp(ctx->span_id, span_id, 8) != 0;
}

static char *put_b3(char *out, const struct trace_context *ctx, const uint8_t span_id[8])
{
	out = PUT(out, "b3: ");
	out = ids_hex(out, ctx->trace_id, 16);
	*out++ = '-';
	out = ids_hex(out, span_id, 8);
	*out++ = '-';
	*out++ = sampled_digit(ctx);
	if (has_parent(ctx, span_id)) {
		*out++ = '-';
		out = ids_hex(out, ctx->span_id, 8);
	}
	return PUT(out, "\r\n");
}

static char *put_b3multi(char *out, const struct trace_context *ctx, const uint8_t span_id[8])
{
	out = PUT(out, "x-b3-traceid: ");
	out = ids_hex(out, ctx->trace_id, 16);
	out = PUT(out, "\r\nx-b3-spanid: ");
	out = ids_hex(out, span_id, 8);
	if (has_parent(ctx, span_id)) {
		out = PUT(out, "\r\nx-b3-parentspanid: ");
		out = ids_hex(out, ctx->span_id, 8);
	}
	out = PUT(out, "\r\nx-b3-sampled: ");
	*out++ = sampled_digit(ctx);
	return PUT(out, "\r\n");
}

static char *put_jaeger(char *out, const struct trace_context *ctx, const uint8_t span_id[8])
{
	out = PUT(out, "uber-trace-id: ");
	out = ids_hex(out, ctx->trace_id, 16);
	*out++ = ':';
	out = ids_hex(out, span_id, 8);
	out = PUT(out, ":0:"); /* the parent's place is obsolete: 0 */
	*out++ = sampled_digit(ctx);
	return PUT(out, "\r\n");
}

static char *put_correlation(char *out, const struct trace_context *ctx, uint32_t own)
{
	for (size_t i = 0; i < config.correlation_count; i++) {
		const struct config_name *name = &config.correlation[i];
		struct slice slice = ctx->correlation[i];

		if (own & PROPAGATE_HAS_CORRELATION(i))
			continue;
		if (slice.len > 0 && slice.off + slice.len <= ctx->text.len &&
		    propagate_is_correlation_id(ctx->text.data + slice.off, slice.len)) {
			out = put_slice(out, name->text, name->len, ctx, slice, LIMIT_CORRELATION_ID);
			continue;
		}
		if (slice.len > 0)
			counters_count(ids_invalid);
		out = put(out, name->text, name->len);
		out = PUT(out, ": ");
		out = ids_hex(out, ctx->trace_id, 16);
		out = PUT(out, "\r\n");
	}
	return out;
}

size_t propagate_format_headers(const struct trace_context *ctx, const uint8_t span_id[8], uint32_t own, char *out)
{
	char *at = out;

	if (own & PROPAGATE_HAS_TRACE || config.propagators == 0)
		return 0;
	for (size_t i = 0; i < sizeof(config.propagator_order); i++) {
		switch (config.propagator_order[i]) {
		case PROPAGATE_TRACECONTEXT: at = put_tracecontext(at, ctx, span_id, own); break;
		case PROPAGATE_B3: at = put_b3(at, ctx, span_id); break;
		case PROPAGATE_B3MULTI: at = put_b3multi(at, ctx, span_id); break;
		case PROPAGATE_JAEGER: at = put_jaeger(at, ctx, span_id); break;
		case PROPAGATE_BAGGAGE:
			if (!(own & PROPAGATE_HAS_BAGGAGE))
				at = put_slice(at, "baggage", 7, ctx, ctx->baggage, LIMIT_BAGGAGE);
			break;
		default: break;
		}
	}
	return (size_t)(put_correlation(at, ctx, own) - out);
}

/*
 * Any head into a context and out again.
 *
 * Input: a byte that picks the configuration, a byte that picks the size of the text area, then lines "name: value".
 * Properties: nothing is written beyond the area; an area that propagate_text_needed calls large enough never refuses;
 * every slice holds only what its kind may hold; the ids are valid; what is sent is well-formed head lines, and a
 * service that receives them is in the same trace, with the same state. traceparent is judged by a second, naive
 * reader.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "config.h"
#include "counters.h"
#include "fuzz.h"
#include "ids.h"
#include "propagate.h"

static const char *const environments[][5] = {
	{ "A=1" },
	{ "OTEL_PROPAGATORS=b3,tracecontext", "TRACESHIM_HEADERS=x-request-id,x-trace-id,x-c",
	  "TRACESHIM_LOG_HEADERS=x-user=user,x-trace-id=xt", "TRACESHIM_LOG_BAGGAGE=user=u,k" },
	{ "OTEL_PROPAGATORS=b3multi,jaeger,baggage,tracecontext", "TRACESHIM_LOG_BAGGAGE=a,b,c,user" },
	{ "OTEL_PROPAGATORS=none", "TRACESHIM_HEADERS=none", "TRACESHIM_LOG_HEADERS=baggage=bag,tracestate=ts" },
};

static void pick_configuration(unsigned which)
{
	static unsigned loaded = 99;

	if (which != loaded)
		config_load((char *const *)(uintptr_t)environments[which], "fuzz");
	loaded = which;
}

static bool in_range(char c, char low, char high)
{
	return c >= low && c <= high;
}

static bool is_kind(const struct trace_context *ctx, struct slice slice, size_t most, bool (*allowed)(char))
{
	CHECK(slice.len <= most);
	CHECK(slice.len == 0 || slice.off + slice.len <= ctx->text.len);
	for (size_t i = 0; i < slice.len; i++)
		if (!allowed(ctx->text.data[slice.off + i]))
			return false;
	return true;
}

static bool is_printable(char c)
{
	return in_range(c, ' ', '~');
}

static bool is_id(char c)
{
	return in_range(c, '0', '9') || in_range(c, 'a', 'z') || in_range(c, 'A', 'Z') || c == '.' || c == '_' ||
	       c == '-';
}

static bool is_no_control(char c)
{
	return (unsigned char)c >= ' ' && c != 0x7f;
}

static void check_context(const struct trace_context *ctx)
{
	static const uint8_t zero[16];

	CHECK(ctx->text.len <= ctx->text.cap);
	CHECK(is_kind(ctx, ctx->tracestate, LIMIT_TRACESTATE, is_printable));
	CHECK(is_kind(ctx, ctx->baggage, LIMIT_BAGGAGE, is_printable));
	for (size_t i = 0; i < LIMIT_CORRELATION_HEADERS; i++)
		CHECK(is_kind(ctx, ctx->correlation[i], LIMIT_CORRELATION_ID, is_id));
	for (size_t i = 0; i < LIMIT_LOG_FIELDS; i++)
		CHECK(is_kind(ctx, ctx->field[i], LIMIT_FIELD_VALUE, is_no_control));
	CHECK(memcmp(ctx->trace_id, zero, 16) != 0 && memcmp(ctx->span_id, zero, 8) != 0);
	CHECK((ctx->flags & ~3u) == 0);
}

/* Reads "nn-32-16-nn" digit by digit: true, and the trace id as hex, when the value is a valid traceparent. */
static bool naive_traceparent(const char *value, size_t len, char trace[32])
{
	static const char form[] = "xx-xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx-xxxxxxxxxxxxxxxx-xx";
	bool trace_zero = true, span_zero = true;

	if (len < 55)
		return false;
	for (size_t i = 0; i < 55; i++) {
		bool hex = in_range(value[i], '0', '9') || in_range(value[i], 'a', 'f');

		if (form[i] == '-' ? value[i] != '-' : !hex)
			return false;
		if (i >= 3 && i < 35 && value[i] != '0')
			trace_zero = false;
		if (i >= 36 && i < 52 && value[i] != '0')
			span_zero = false;
	}
	if (trace_zero || span_zero || memcmp(value, "ff", 2) == 0)
		return false;
	if (len > 55 && (memcmp(value, "00", 2) == 0 || value[55] != '-'))
		return false;
	memcpy(trace, value + 3, 32);
	return true;
}

struct line {
	char *name, *value;
	size_t name_len, value_len;
};

/* Cut "name: value" in place and bring it into the form that the scanner hands over. False: no header. */
static bool read_line(char *text, size_t len, struct line *line)
{
	char *colon = memchr(text, ':', len);

	if (colon == NULL || colon == text)
		return false;
	*line = (struct line){ text, colon + 1, (size_t)(colon - text), len - (size_t)(colon + 1 - text) };
	for (size_t i = 0; i < line->name_len; i++)
		if (in_range(text[i], 'A', 'Z'))
			text[i] = (char)(text[i] | 0x20);
	while (line->value_len > 0 && (*line->value == ' ' || *line->value == '\t')) {
		line->value++;
		line->value_len--;
	}
	while (line->value_len > 0 && strchr(" \t", line->value[line->value_len - 1]) != NULL &&
	       line->value[line->value_len - 1] != '\0')
		line->value_len--;
	return true;
}

struct truth {
	unsigned count;
	bool valid;
	char trace[32];
};

/* Feed all lines to a context. `end`: what ends a line. */
static void receive(char *text, size_t len, const char *end, struct trace_context *ctx, struct truth *truth)
{
	struct propagate_in in;
	struct line line;

	propagate_begin(&in, ctx);
	while (len > 0) {
		char *found = memmem(text, len, end, strlen(end));
		size_t line_len = found != NULL ? (size_t)(found - text) : len;
		size_t taken = found != NULL ? line_len + strlen(end) : len;

		if (read_line(text, line_len, &line) && propagate_wants(line.name, line.name_len)) {
			size_t needed = propagate_text_needed(ctx, line.name, line.name_len, line.value_len);
			uint64_t refused = counters_get(no_memory_skipped);
			uint16_t before = ctx->text.len;

			propagate_field(&in, ctx, line.name, line.name_len, line.value, line.value_len);
			CHECK(ctx->text.len <= before + needed);
			CHECK(before + needed > ctx->text.cap || counters_get(no_memory_skipped) == refused);
			if (line.name_len == 11 && memcmp(line.name, "traceparent", 11) == 0) {
				truth->count++;
				truth->valid = naive_traceparent(line.value, line.value_len, truth->trace);
			}
		}
		text += taken;
		len -= taken;
	}
	propagate_end(&in, ctx);
	check_context(ctx);
}

static bool same_slice(const struct trace_context *a, struct slice x, const struct trace_context *b, struct slice y)
{
	return x.len == y.len && memcmp(a->text.data + x.off, b->text.data + y.off, x.len) == 0;
}

static void check_sent(char *out, size_t len)
{
	CHECK(len <= LIMIT_INJECTION);
	for (size_t i = 0; i < len; i++) {
		if (out[i] == '\r')
			CHECK(i + 1 < len && out[i + 1] == '\n');
		else if (out[i] == '\n')
			CHECK(i > 0 && out[i - 1] == '\r');
		else
			CHECK(is_printable(out[i]));
	}
	CHECK(len == 0 || out[len - 1] == '\n');
}

static void check_next_service(const struct trace_context *ctx)
{
	static const uint8_t span[8] = { 1, 2, 3, 4, 5, 6, 7, 8 };
	static char out[LIMIT_INJECTION], area[LIMIT_TEXT_LARGE];
	struct trace_context next = { .text = { area, 0, sizeof(area) } };
	struct truth truth = { 0, false, "" };
	size_t len = propagate_format_headers(ctx, span, 0, out);

	check_sent(out, len);
	CHECK(propagate_format_headers(ctx, span, PROPAGATE_HAS_TRACE, out) == 0);
	receive(out, len, "\r\n", &next, &truth);
	if (config.propagators != 0)
		CHECK(memcmp(next.trace_id, ctx->trace_id, 16) == 0 && memcmp(next.parent_id, span, 8) == 0);
	if (config.propagators & PROPAGATE_TRACECONTEXT) {
		CHECK(truth.count == 1 && truth.valid && next.flags == ctx->flags);
		CHECK(same_slice(ctx, ctx->tracestate, &next, next.tracestate));
		for (size_t i = 0; i < config.correlation_count; i++)
			CHECK(next.correlation[i].len > 0);
	}
	if (config.propagators & PROPAGATE_BAGGAGE)
		CHECK(same_slice(ctx, ctx->baggage, &next, next.baggage));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const uint16_t rooms[] = { LIMIT_TEXT_LARGE, LIMIT_TEXT_INLINE, 64, 0 };
	struct trace_context ctx = { .text = { NULL, 0, 0 } };
	struct truth truth = { 0, false, "" };
	char *text, hex[32];

	if (size < 2)
		return 0;
	pick_configuration(data[0] % 4);
	ctx.text.cap = rooms[data[1] % 4];
	ctx.text.data = malloc(ctx.text.cap + 1u); /* exact, for the sanitizer, but for the one that must not be NULL */
	text = malloc(size);
	memcpy(text, data + 2, size - 2);
	receive(text, size - 2, "\n", &ctx, &truth);
	if (truth.count == 1 && truth.valid) {
		ids_hex(hex, ctx.trace_id, 16);
		CHECK(ctx.remote && memcmp(hex, truth.trace, 32) == 0);
	} else {
		CHECK(ctx.tracestate.len == 0);
	}
	check_next_service(&ctx);
	free(text);
	free(ctx.text.data);
	return 0;
}

/*
 * Which trace does a request belong to? The names of the headers, and the order of belief.
 *
 * Mechanism. A head's fields arrive one by one, in any order, while the scanner reads; only at its end is it known
 * which formats were there. So each format's ids are parsed when they come and wait in struct propagate_in, one place
 * per format, with two bit sets: seen, and good. What must be there once and comes twice is no longer good (which of
 * the two would another server believe?). propagate_end then takes the first good format in the order of belief.
 * Everything that comes from a caller is validated before it is copied, and checked again where it is written
 * (propagate_format.c).
 *
 * Names are compared by length first: almost every field of a head is turned away by one shift and one mask.
 *
 * Who may call: any thread, signal handlers included; a propagate_in and its context belong to one caller at a time. No
 * lock, no allocation. Memory: the caller's struct and text area; a full area refuses and counts.
 * Sources: see propagate.h and the files of each format.
 */
#include "propagate_internal.h"

#include "counters.h"
#include "ids.h"

enum header {
	HEADER_NONE,
	HEADER_TRACEPARENT,
	HEADER_TRACESTATE,
	HEADER_BAGGAGE,
	HEADER_B3,
	HEADER_B3_TRACE,
	HEADER_B3_SPAN,
	HEADER_B3_SAMPLED,
	HEADER_B3_FLAGS,
	HEADER_JAEGER,
	HEADER_TRACE_ID,
	HEADER_REQUEST_ID,
	HEADER_CORRELATION /* and the next three: config.correlation[i] */
};

#define BIT(header) (1u << (header))
#define GOOD_B3_IDS BIT(30) /* b3 had ids, not only a sampling decision */
#define LENGTH(n) (1ull << ((n)-1))

#define NAME_IS(name, len, word) ((len) == sizeof(word) - 1 && memcmp(name, word, sizeof(word) - 1) == 0)

/* Text, not a pointer: each of those is a relocation in every process. */
struct name {
	uint8_t len;
	char text[27];
};

#define NAME(word)                                                                                                     \
	{                                                                                                              \
		sizeof(word) - 1, word                                                                                 \
	}

/* The names below once more, for filters. */
static const struct name known_names[] = {
	NAME("b3"),           NAME("baggage"),      NAME("tracestate"),    NAME("x-b3-flags"),
	NAME("x-trace-id"),   NAME("traceparent"),  NAME("x-b3-spanid"),   NAME("x-request-id"),
	NAME("x-b3-traceid"), NAME("x-b3-sampled"), NAME("uber-trace-id"),
};

/* The headers that have a meaning of their own, by length. */
static enum header known_header(const char *name, size_t len)
{
	switch (len) {
	case 2: return NAME_IS(name, len, "b3") ? HEADER_B3 : HEADER_NONE;
	case 7: return NAME_IS(name, len, "baggage") ? HEADER_BAGGAGE : HEADER_NONE;
	case 10:
		if (NAME_IS(name, len, "tracestate"))
			return HEADER_TRACESTATE;
		if (NAME_IS(name, len, "x-b3-flags"))
			return HEADER_B3_FLAGS;
		return NAME_IS(name, len, "x-trace-id") ? HEADER_TRACE_ID : HEADER_NONE;
	case 11:
		if (NAME_IS(name, len, "traceparent"))
			return HEADER_TRACEPARENT;
		return NAME_IS(name, len, "x-b3-spanid") ? HEADER_B3_SPAN : HEADER_NONE;
	case 12:
		if (NAME_IS(name, len, "x-request-id"))
			return HEADER_REQUEST_ID;
		if (NAME_IS(name, len, "x-b3-traceid"))
			return HEADER_B3_TRACE;
		return NAME_IS(name, len, "x-b3-sampled") ? HEADER_B3_SAMPLED : HEADER_NONE;
	case 13: return NAME_IS(name, len, "uber-trace-id") ? HEADER_JAEGER : HEADER_NONE;
	default: return HEADER_NONE;
	}
}

static bool is_name(const struct config_name *configured, const char *name, size_t len)
{
	return configured->len == len && configured->text[0] == name[0] && memcmp(configured->text, name, len) == 0;
}

/* Index in config.correlation, or -1. */
static int correlation_index(const char *name, size_t len)
{
	for (size_t i = 0; i < config.correlation_count; i++)
		if (is_name(&config.correlation[i], name, len))
			return (int)i;
	return -1;
}

static bool is_mapped(const char *name, size_t len)
{
	for (size_t i = 0; i < config.field_count; i++)
		if (!config.field[i].from_baggage && is_name(&config.field[i].source, name, len))
			return true;
	return false;
}

bool propagate_wants(const char *name, size_t len)
{
	const uint64_t known = LENGTH(2) | LENGTH(7) | LENGTH(10) | LENGTH(11) | LENGTH(12) | LENGTH(13);

	if (len - 1 >= LIMIT_HEADER_NAME || !((known | config.header_lengths) >> (len - 1) & 1))
		return false;
	if (known_header(name, len) != HEADER_NONE)
		return true;
	if (!(config.header_lengths >> (len - 1) & 1))
		return false;
	return correlation_index(name, len) >= 0 || is_mapped(name, len);
}

static const struct name foreign[] = { NAME("x-b3-parentspanid"),
	                               NAME("x-datadog-trace-id"),
	                               NAME("x-datadog-parent-id"),
	                               NAME("x-datadog-sampling-priority"),
	                               NAME("x-datadog-origin"),
	                               NAME("x-datadog-tags"),
	                               NAME("newrelic"),
	                               NAME("x-newrelic-id"),
	                               NAME("x-newrelic-transaction"),
	                               NAME("elastic-apm-traceparent"),
	                               NAME("x-instana-t"),
	                               NAME("x-instana-s"),
	                               NAME("x-instana-l"),
	                               NAME("sw8"),
	                               NAME("x-ot-span-context"),
	                               NAME("ot-tracer-traceid"),
	                               NAME("ot-tracer-spanid"),
	                               NAME("ot-tracer-sampled"),
	                               NAME("singularityheader"),
	                               NAME("x-dynatrace") };

/* Lengths of all of those and of the known ones. */
#define TRACE_LENGTHS                                                                                                  \
	(LENGTH(2) | LENGTH(3) | LENGTH(8) | LENGTH(10) | LENGTH(11) | LENGTH(12) | LENGTH(13) | LENGTH(14) |          \
	 LENGTH(16) | LENGTH(17) | LENGTH(18) | LENGTH(19) | LENGTH(22) | LENGTH(23) | LENGTH(27))

#define LETTER(c) (1u << ((c) - 'a'))

static bool starts_with_one_of(const char *name, uint32_t letters)
{
	unsigned letter = (unsigned char)name[0] - (unsigned)'a';

	return letter < 26 && letters >> letter & 1;
}

bool propagate_is_trace_header(const char *name, size_t len)
{
	if (len - 1 >= LIMIT_HEADER_NAME || !(TRACE_LENGTHS >> (len - 1) & 1))
		return false;
	if (starts_with_one_of(name, LETTER('b') | LETTER('t') | LETTER('u') | LETTER('x'))) {
		switch (known_header(name, len)) {
		case HEADER_TRACEPARENT:
		case HEADER_B3:
		case HEADER_B3_TRACE:
		case HEADER_B3_SPAN:
		case HEADER_B3_SAMPLED:
		case HEADER_B3_FLAGS:
		case HEADER_JAEGER: return true;
		default: break;
		}
	}
	if (!starts_with_one_of(name, LETTER('e') | LETTER('n') | LETTER('o') | LETTER('s') | LETTER('x')))
		return false;
	for (size_t i = 0; i < sizeof(foreign) / sizeof(foreign[0]); i++)
		if (foreign[i].len == len && memcmp(foreign[i].text, name, len) == 0)
			return true;
	return false;
}

uint32_t propagate_own_header(const char *name, size_t len)
{
	uint32_t bits;
	int i;

	if (len - 1 >= LIMIT_HEADER_NAME || !((TRACE_LENGTHS | LENGTH(7) | config.header_lengths) >> (len - 1) & 1))
		return 0;
	bits = propagate_is_trace_header(name, len) ? PROPAGATE_HAS_TRACE : 0;
	if (NAME_IS(name, len, "baggage"))
		bits |= PROPAGATE_HAS_BAGGAGE;
	else if (NAME_IS(name, len, "tracestate"))
		bits |= PROPAGATE_HAS_TRACESTATE;
	i = correlation_index(name, len);
	return i < 0 ? bits : bits | PROPAGATE_HAS_CORRELATION(i);
}

static void visit_names(const struct config_name *name, size_t count, propagate_visit *visit, void *to)
{
	for (size_t i = 0; i < count; i++)
		visit(to, name[i].text, name[i].len);
}

static void visit_own_names(const struct name *name, size_t count, propagate_visit *visit, void *to)
{
	for (size_t i = 0; i < count; i++)
		visit(to, name[i].text, name[i].len);
}

void propagate_each_wanted(propagate_visit *visit, void *to)
{
	visit_own_names(known_names, sizeof(known_names) / sizeof(known_names[0]), visit, to);
	visit_names(config.correlation, config.correlation_count, visit, to);
	for (size_t i = 0; i < config.field_count; i++)
		if (!config.field[i].from_baggage)
			visit_names(&config.field[i].source, 1, visit, to);
}

void propagate_each_own(propagate_visit *visit, void *to)
{
	visit_own_names(known_names, sizeof(known_names) / sizeof(known_names[0]), visit, to);
	visit_own_names(foreign, sizeof(foreign) / sizeof(foreign[0]), visit, to);
	visit_names(config.correlation, config.correlation_count, visit, to);
}

bool propagate_is_printable(const char *at, size_t len)
{
	for (size_t i = 0; i < len; i++)
		if (at[i] < ' ' || at[i] > '~')
			return false;
	return true;
}

bool propagate_is_correlation_id(const char *at, size_t len)
{
	for (size_t i = 0; i < len; i++) {
		char c = at[i];

		if (!(c >= '0' && c <= '9') && !(c >= 'a' && c <= 'z') && !(c >= 'A' && c <= 'Z') && c != '.' &&
		    c != '_' && c != '-')
			return false;
	}
	return len >= 1 && len <= LIMIT_CORRELATION_ID;
}

bool propagate_add_text(struct text *text, const char *at, size_t len, struct slice *slice)
{
	if (len > (size_t)(text->cap - text->len)) {
		counters_count(no_memory_skipped);
		return false;
	}
	memcpy(text->data + text->len, at, len);
	*slice = (struct slice){ text->len, (uint16_t)len };
	text->len = (uint16_t)(text->len + len);
	return true;
}

bool propagate_next_member(struct propagate_piece *rest, struct propagate_piece *member)
{
	const char *comma;
	size_t taken;

	if (rest->len == 0)
		return false;
	comma = memchr(rest->at, ',', rest->len);
	member->at = rest->at;
	member->len = comma != NULL ? (size_t)(comma - rest->at) : rest->len;
	taken = comma != NULL ? member->len + 1 : member->len;
	rest->at += taken;
	rest->len -= taken;
	while (member->len > 0 && (member->at[0] == ' ' || member->at[0] == '\t')) {
		member->at++;
		member->len--;
	}
	while (member->len > 0 && (member->at[member->len - 1] == ' ' || member->at[member->len - 1] == '\t'))
		member->len--;
	return true;
}

static void empty_context(struct trace_context *ctx)
{
	struct text text = ctx->text;

	memset(ctx, 0, sizeof(*ctx));
	ctx->text = text;
	ctx->text.len = 0;
}

void propagate_begin(struct propagate_in *in, struct trace_context *ctx)
{
	memset(in, 0, offsetof(struct propagate_in, from)); /* of the rest is read only what `good` says was written */
	empty_context(ctx);
}

static size_t at_most(size_t len, size_t most)
{
	return len < most ? len : most;
}

size_t propagate_text_needed(const struct trace_context *ctx, const char *name, size_t name_len, size_t value_len)
{
	enum header header = known_header(name, name_len);
	bool is_baggage = header == HEADER_BAGGAGE;
	size_t needed = 0;

	if (header == HEADER_TRACESTATE)
		needed = at_most(ctx->tracestate.len + 1u + value_len, LIMIT_TRACESTATE);
	else if (is_baggage)
		needed = at_most(ctx->baggage.len + 1u + value_len, LIMIT_BAGGAGE);
	if (correlation_index(name, name_len) >= 0)
		needed += at_most(value_len, LIMIT_CORRELATION_ID);
	for (size_t i = 0; i < config.field_count; i++)
		if (ctx->field[i].len == 0 &&
		    (config.field[i].from_baggage ? is_baggage : is_name(&config.field[i].source, name, name_len)))
			needed += at_most(value_len, LIMIT_FIELD_VALUE);
	return needed;
}

/* A header that says one thing only, and says it validly. Returns the bit for `good`, or 0. */
static uint32_t take_known(struct propagate_in *in, enum header header, const char *value, size_t len)
{
	struct propagate_ids *multi = &in->from[PROPAGATE_FROM_B3MULTI];
	bool has_ids = false;
	int sampled;

	switch (header) {
	case HEADER_TRACEPARENT:
		return propagate_parse_traceparent(value, len, &in->from[PROPAGATE_FROM_W3C]) ? BIT(header) : 0;
	case HEADER_B3:
		if (!propagate_parse_b3(value, len, &in->from[PROPAGATE_FROM_B3], &has_ids))
			return 0;
		return has_ids ? BIT(header) | GOOD_B3_IDS : BIT(header);
	case HEADER_B3_TRACE: return propagate_parse_b3_trace(value, len, multi->trace_id) ? BIT(header) : 0;
	case HEADER_B3_SPAN: return propagate_parse_b3_span(value, len, multi->span_id) ? BIT(header) : 0;
	case HEADER_B3_SAMPLED:
		sampled = propagate_parse_b3_sampled(value, len);
		multi->flags = sampled > 0 ? TRACE_FLAG_SAMPLED : 0;
		return sampled >= 0 ? BIT(header) : 0;
	case HEADER_B3_FLAGS: /* 1: debug; 0: says nothing */
		return len == 1 && (value[0] == '0' || value[0] == '1') ?
		               BIT(header) | (value[0] == '1' ? BIT(31) : 0) :
		               0;
	case HEADER_JAEGER:
		return propagate_parse_jaeger(value, len, &in->from[PROPAGATE_FROM_JAEGER]) ? BIT(header) : 0;
	case HEADER_TRACE_ID:
	case HEADER_REQUEST_ID: /* any correlation id will do; only some of them are trace ids, too */
		return propagate_parse_plain(value, len, in->plain[header - HEADER_TRACE_ID]) ? BIT(header) : 0;
	default: return 0;
	}
}

/* Returns false when the value was not valid, or not the only one. */
static bool take_single(struct propagate_in *in, enum header header, const char *value, size_t len)
{
	bool first = !(in->seen & BIT(header));
	uint32_t good = first ? take_known(in, header, value, len) : 0;

	in->seen |= BIT(header);
	in->good = (in->good & ~BIT(header)) | good;
	if (good != 0)
		return true;
	return first && (header == HEADER_TRACE_ID || header == HEADER_REQUEST_ID) &&
	       propagate_is_correlation_id(value, len);
}

static bool take_correlation(struct propagate_in *in, struct trace_context *ctx, int i, const char *value, size_t len)
{
	uint32_t bit = BIT(HEADER_CORRELATION + i);
	bool good = !(in->seen & bit) && propagate_is_correlation_id(value, len);

	if (good)
		(void)propagate_add_text(&ctx->text, value, len, &ctx->correlation[i]);
	else
		ctx->correlation[i].len = 0;
	in->seen |= bit;
	return good;
}

void propagate_field(struct propagate_in *in, struct trace_context *ctx, const char *name, size_t name_len,
                     const char *value, size_t value_len)
{
	enum header header = known_header(name, name_len);
	int i = correlation_index(name, name_len);
	bool good = true;

	if (header == HEADER_TRACESTATE)
		propagate_take_tracestate(in, ctx, value, value_len);
	else if (header == HEADER_BAGGAGE)
		propagate_take_baggage(ctx, value, value_len);
	else if (header != HEADER_NONE)
		good = take_single(in, header, value, value_len);
	if (i >= 0)
		good = take_correlation(in, ctx, i, value, value_len) && good;
	if (!good)
		counters_count(ids_invalid);
	if (config.field_count > 0)
		propagate_take_fields(ctx, name, name_len, value, value_len);
}

static bool has_format(const struct propagate_in *in, enum propagate_format format)
{
	const uint32_t multi = BIT(HEADER_B3_TRACE) | BIT(HEADER_B3_SPAN), single = BIT(HEADER_B3) | GOOD_B3_IDS;

	switch (format) {
	case PROPAGATE_FROM_W3C: return in->good & BIT(HEADER_TRACEPARENT);
	case PROPAGATE_FROM_B3: return (in->good & single) == single;
	case PROPAGATE_FROM_B3MULTI: return (in->good & multi) == multi;
	case PROPAGATE_FROM_JAEGER: return in->good & BIT(HEADER_JAEGER);
	default: return false;
	}
}

/* The first good format in the order of belief, or PROPAGATE_FORMATS. */
static enum propagate_format choose_format(const struct propagate_in *in)
{
	enum propagate_format format;

	if (has_format(in, PROPAGATE_FROM_W3C))
		return PROPAGATE_FROM_W3C;
	for (size_t i = 0; i < sizeof(config.propagator_order) && config.propagator_order[i] != 0; i++) {
		switch (config.propagator_order[i]) {
		case PROPAGATE_B3: format = PROPAGATE_FROM_B3; break;
		case PROPAGATE_B3MULTI: format = PROPAGATE_FROM_B3MULTI; break;
		case PROPAGATE_JAEGER: format = PROPAGATE_FROM_JAEGER; break;
		default: continue;
		}
		if (has_format(in, format))
			return format;
	}
	for (format = PROPAGATE_FROM_B3; format < PROPAGATE_FORMATS; format++)
		if (has_format(in, format))
			break;
	return format;
}

/* The caller's plain id that can serve as a trace id, or none. */
static bool choose_plain(const struct propagate_in *in, struct trace_context *ctx)
{
	for (unsigned i = 0; i < 2; i++) {
		if (in->good & BIT(HEADER_TRACE_ID + i)) {
			memcpy(ctx->trace_id, in->plain[i], sizeof(ctx->trace_id));
			return true;
		}
	}
	for (size_t i = 0; i < config.correlation_count; i++) {
		struct propagate_piece value = propagate_slice(ctx, ctx->correlation[i]);

		/* The two above were judged already: a good one was taken, and one that came twice must not be. */
		if (value.len > 0 &&
		    known_header(config.correlation[i].text, config.correlation[i].len) == HEADER_NONE &&
		    propagate_parse_plain(value.at, value.len, ctx->trace_id))
			return true;
	}
	return false;
}

/* A sampling decision that came without ids holds for the ids that we make up. */
static uint8_t decide_sampled(const struct propagate_in *in)
{
	if (in->good & BIT(HEADER_B3) && !(in->good & GOOD_B3_IDS))
		return in->from[PROPAGATE_FROM_B3].flags;
	if (in->good & BIT(31))
		return TRACE_FLAG_SAMPLED;
	if (in->good & BIT(HEADER_B3_SAMPLED))
		return in->from[PROPAGATE_FROM_B3MULTI].flags;
	return TRACE_FLAG_SAMPLED;
}

static void name_fresh(struct trace_context *ctx)
{
	propagate_name_fresh(ctx);
}

void propagate_end(struct propagate_in *in, struct trace_context *ctx)
{
	enum propagate_format format;

	/* The caller said nothing, as most do. */
	if (in->seen == 0 && ctx->text.len == 0) {
		name_fresh(ctx);
		return;
	}
	format = in->good != 0 ? choose_format(in) : PROPAGATE_FORMATS;
	if (format < PROPAGATE_FORMATS) {
		const struct propagate_ids *ids = &in->from[format];

		memcpy(ctx->trace_id, ids->trace_id, sizeof(ctx->trace_id));
		memcpy(ctx->parent_id, ids->span_id, sizeof(ctx->parent_id));
		ctx->flags = format == PROPAGATE_FROM_B3MULTI ? decide_sampled(in) : ids->flags;
		ctx->remote = true;
	} else if (choose_plain(in, ctx)) {
		ctx->flags = decide_sampled(in);
		ctx->remote = true;
	} else {
		ids_generate_trace(ctx->trace_id);
		ctx->flags = decide_sampled(in) | TRACE_FLAG_RANDOM;
	}
	if (format != PROPAGATE_FROM_W3C)
		ctx->tracestate.len = 0; /* it speaks about a traceparent that is not believed */
	ids_generate_span(ctx->span_id);
}

void propagate_fresh(struct trace_context *ctx)
{
	empty_context(ctx);
	name_fresh(ctx);
}

void propagate_fresh_new(struct trace_context *ctx)
{
	name_fresh(ctx);
}

bool propagate_from_environment(struct trace_context *ctx)
{
	struct propagate_in in;

	propagate_begin(&in, ctx);
	if (config.traceparent.len == 0)
		return false;
	if (!take_single(&in, HEADER_TRACEPARENT, config.traceparent.text, config.traceparent.len)) {
		counters_count(ids_invalid);
		return false;
	}
	if (config.tracestate.len > 0)
		propagate_take_tracestate(&in, ctx, config.tracestate.text, config.tracestate.len);
	if (config.baggage.len > 0)
		propagate_take_baggage(ctx, config.baggage.text, config.baggage.len);
	propagate_end(&in, ctx);
	return true;
}

/*
 * Log lines to records.
 *
 * Mechanism. A record is mostly constant text between a few changing pieces, so record_parts.c lays the constant text out in
 * parts of at most PART_SIZE bytes, each copied with a fixed-size copy (a few vector moves; the room behind the record is
 * ours, see RECORD_OVERHEAD_MAX) and then cut to its length. Digits come from record_digits.c, the level from severity.c;
 * the message is escaped in one pass (json.c).
 *
 * A line that is a JSON object already is never printed again: what the program wrote stays, byte for byte, so key order,
 * number precision, duplicate keys and spacing do. Only members are added before the last '}', and none that is there.
 * The program's own trace id wins over ours, under whatever well-known name it has: two ids in a record would be a lie.
 *
 * Who may call: record_init see record.h; the rest anybody, signal handlers included. Memory: a few KiB of constants;
 * under 300 bytes of stack. Nothing is kept between calls but what the caller keeps: in its memo the pieces that the next
 * record is likely to need again. A piece is used only for what it was made of, compared by value; a request's address says
 * nothing, because it may be another one by now.
 */
#include <string.h>

#include "ids.h"
#include "layout.h"
#include "propagate_bare.h"
#include "record_digits.h"
#include "record_internal.h"

static inline char *put_part(char *out, const struct record_part *part)
{
	memcpy(out, part->text, PART_SIZE);
	return out + part->len;
}

static uint64_t low_64_bits(const uint8_t *id)
{
	uint64_t value = 0;
	int i;

	for (i = 0; i < 8; i++)
		value = value << 8 | id[i];
	return value;
}

static inline bool ids_are_decimal(void)
{
	return config.log_format == FORMAT_DATADOG && config.datadog_decimal;
}

/* An id of 8 or 16 bytes in hex, or the low 64 bits of it in decimal. */
static char *put_id(char *out, const uint8_t *id, size_t n)
{
	if (ids_are_decimal())
		return record_put_number(out, low_64_bits(id + n - 8));
	return record_put_hex(out, id, n);
}

static char *put_flags(char *out, const struct trace_context *ctx)
{
	static const char digits[] = "0123456789abcdef";

	out = put_part(out, &record_parts.flags);
	if (config.log_format == FORMAT_GCP) {
		bool sampled = ctx->flags & TRACE_FLAG_SAMPLED;

		memcpy(out, sampled ? "true" : "false", 5);
		return out + (sampled ? 4 : 5);
	}
	out[0] = '"';
	out[1] = digits[ctx->flags >> 4];
	out[2] = digits[ctx->flags & 15];
	out[3] = '"';
	return out + 4;
}

/* The ids as members, each with a comma in front, and how they are known. `have`: KEY_* bits of those to leave out. */
static char *put_ids(char *out, const struct trace_context *ctx, uint32_t have)
{
	if (!(have & KEY_TRACE)) {
		out = put_id(put_part(out, &record_parts.trace), ctx->trace_id, 16);
		*out++ = '"';
	}
	if (!(have & KEY_SPAN)) {
		out = put_id(put_part(out, &record_parts.span), ctx->span_id, 8);
		*out++ = '"';
	}
	if (record_parts.flags.len && !(have & KEY_FLAGS))
		out = put_flags(out, ctx);
	if (record_parts.sources[0].len && !(have & KEY_SOURCE))
		out = put_part(out, &record_parts.sources[ctx->validated]);
	return out;
}

static char *put_field(char *out, const struct config_name *name, const struct trace_context *ctx, struct slice value)
{
	if (value.len > LIMIT_FIELD_VALUE)
		value.len = LIMIT_FIELD_VALUE;
	memcpy(out, ",\"", 2);
	out = json_escape(out + 2, name->text, name->len);
	memcpy(out, "\":\"", 3);
	out = json_escape(out + 3, ctx->text.data + value.off, value.len);
	*out++ = '"';
	return out;
}

/* Is this correlation id the trace id, as it is or as a UUID? Then it says nothing new. */
static bool is_trace_id(const struct trace_context *ctx, struct slice value)
{
	const char *text = ctx->text.data + value.off;
	char hex[32];

	record_put_hex(hex, ctx->trace_id, 16);
	if (value.len == 36)
		return memcmp(text, hex, 8) == 0 && memcmp(text + 9, hex + 8, 4) == 0 &&
		       memcmp(text + 14, hex + 12, 4) == 0 && memcmp(text + 19, hex + 16, 4) == 0 &&
		       memcmp(text + 24, hex + 20, 12) == 0;
	return value.len == 32 && memcmp(text, hex, 32) == 0;
}

/* The mapped fields and the correlation ids as members, each with a comma in front. */
static __attribute__((cold)) __attribute__((noinline)) char *put_fields(char *out, const struct trace_context *ctx,
                                                                        uint32_t have)
{
	size_t i;

	have |= record_parts.field_skip;
	for (i = 0; i < config.field_count; i++) {
		if (ctx->field[i].len && !(have & KEY_FIELD(i)))
			out = put_field(out, &config.field[i].field, ctx, ctx->field[i]);
	}
	for (i = 0; i < config.correlation_count; i++) {
		if (ctx->correlation[i].len && !(have & KEY_CORRELATION(i)) && !is_trace_id(ctx, ctx->correlation[i]))
			out = put_field(out, &config.correlation[i], ctx, ctx->correlation[i]);
	}
	return out;
}

/* What the source remembers, nothing of it made before the last record_init; NULL: nothing. */
static inline struct record_memo *memo_of(const struct record_source *src)
{
	if (src->memo && __builtin_expect(src->memo->turn != record_parts.turn, 0))
		*src->memo = (struct record_memo){ .turn = record_parts.turn };
	return src->memo;
}

static __attribute__((cold)) __attribute__((noinline)) char *make_head(char *out, const struct record_source *src,
                                                                       struct record_memo *memo)
{
	char *end = record_put_time(put_part(out, &record_parts.open), src->time_ns);
	if (memo && end - 9 - out <= RECORD_MEMO_HEAD) {
		memo->head_len = (uint16_t)(end - 9 - out);
		memcpy(memo->head, out, memo->head_len);
		memo->second_ns = src->time_ns - src->time_ns % 1000000000u;
	}
	return end;
}

/* All up to the second's fraction, and the fraction. */
static inline char *put_head(char *out, const struct record_source *src)
{
	struct record_memo *memo = memo_of(src);

	if (__builtin_expect(!memo || !memo->head_len || src->time_ns - memo->second_ns >= 1000000000u, 0))
		return make_head(out, src, memo);
	memcpy(out, memo->head, RECORD_MEMO_HEAD);
	return record_put_fraction(out + memo->head_len, (uint32_t)(src->time_ns - memo->second_ns));
}

/* Copied in steps of TAIL_STEP: `out` and `from` have room for whole ones. */
static inline char *put_steps(char *out, const char *from, uint32_t len)
{
	char *end = out + len;

	for (; out < end; out += TAIL_STEP, from += TAIL_STEP)
		memcpy(out, from, TAIL_STEP);
	return end;
}

/* From the thread's digits to the stream. */
static char *put_thread(char *out, const struct record_source *src)
{
	return put_part(record_put_number(out, (uint32_t)src->tid), &record_parts.streams[src->stream]);
}

/* From behind the ids to the thread's digits. */
static char *put_tail(char *out, const struct record_source *src)
{
	out = put_steps(out, record_parts.tail, record_parts.tail_len);
	return put_part(record_put_number(out, (uint32_t)src->pid), &record_parts.tid);
}

/* Records of the same thread and kind differ behind the message in the digits of their ids, and in the request's fields. */
static inline uint32_t kind_of_rest(const struct record_source *src)
{
	const struct trace_context *ctx = src->ctx;

	return (uint32_t)src->stream | (ctx ? 1u << 8 | (uint32_t)ctx->validated << 9 | (uint32_t)ctx->flags << 16 : 0);
}

static inline void copy_ids(uint64_t ids[3], const struct trace_context *ctx)
{
	memcpy(ids, ctx->trace_id, 16);
	memcpy(ids + 2, ctx->span_id, 8);
}

/* The ids of another request than before, into the record and into the memo. */
static inline void put_other_ids(char *out, struct record_memo *memo, const struct trace_context *ctx)
{
	propagate_put_trace(out + memo->trace_at, ctx);
	record_put_hex(out + memo->span_at, ctx->span_id, 8);
	memcpy(memo->rest + memo->trace_at, out + memo->trace_at, 32);
	memcpy(memo->rest + memo->span_at, out + memo->span_at, 16);
	copy_ids(memo->ids, ctx);
}

static __attribute__((noinline)) char *make_rest(char *out, const struct record_source *src)
{
	struct record_memo *memo = src->memo;
	char *p = out, *thread;

	*p++ = '"';
	if (src->ctx)
		p = put_ids(p, src->ctx, 0);
	thread = put_tail(p, src);
	p = put_thread(thread, src);
	if (!memo)
		return p;
	memo->rest_len = 0;
	if (p - out > RECORD_MEMO_REST || (src->ctx && ids_are_decimal()))
		return p;
	memcpy(memo->rest, out, (size_t)(p - out));
	memo->trace_at = (uint8_t)(1 + record_parts.trace.len);
	memo->span_at = (uint8_t)(memo->trace_at + 32 + 1 + record_parts.span.len);
	memo->tid_at = (uint16_t)(thread - out);
	memo->rest_kind = kind_of_rest(src);
	memo->rest_pid = src->pid;
	memo->rest_tid = src->tid;
	memo->rest_len = (uint16_t)(p - out);
	if (src->ctx)
		copy_ids(memo->ids, src->ctx);
	return p;
}

_Static_assert(RECORD_MEMO_REST % TAIL_STEP == 0, "the memo holds what copies read beyond the rest");
_Static_assert(1 + PART_SIZE + 32 + 1 + PART_SIZE <= UINT8_MAX, "where the ids are");

/* From behind the message to the stream. */
static inline __attribute__((always_inline)) char *put_rest(char *out, const struct record_source *src)
{
	struct record_memo *memo = src->memo;

	if (__builtin_expect(!memo || !memo->rest_len || memo->rest_kind != kind_of_rest(src) ||
	                             memo->rest_pid != src->pid,
	                     0))
		return make_rest(out, src);
	put_steps(out, memo->rest, memo->rest_len);
	if (src->ctx) {
		uint64_t ids[3];

		copy_ids(ids, src->ctx);
		if (((ids[0] ^ memo->ids[0]) | (ids[1] ^ memo->ids[1]) | (ids[2] ^ memo->ids[2])) != 0)
			put_other_ids(out, memo, src->ctx);
	}
	/* Of several threads that print to one stream. */
	if (__builtin_expect(memo->rest_tid != src->tid, 0))
		return put_thread(out + memo->tid_at, src);
	return out + memo->rest_len;
}

/* What the fields of a request may take; 0: it has none. */
static __attribute__((cold)) __attribute__((noinline)) size_t fields_bound(const struct trace_context *ctx)
{
	size_t bound = 0, i;

	for (i = 0; i < config.field_count; i++) {
		if (ctx->field[i].len)
			bound += JSON_ESCAPE_BOUND((size_t)config.field[i].field.len + ctx->field[i].len) + 24;
	}
	for (i = 0; i < config.correlation_count; i++) {
		if (ctx->correlation[i].len)
			bound += JSON_ESCAPE_BOUND((size_t)config.correlation[i].len + ctx->correlation[i].len) + 24;
	}
	return bound;
}

LAYOUT_BUILT_IN size_t record_bound(struct record_source *src, size_t len)
{
	size_t fields = src->ctx && src->ctx->text.len ? fields_bound(src->ctx) : 0;

	src->plain = !fields;
	return JSON_ESCAPE_BOUND(len) + record_parts.room + fields;
}

static __attribute__((cold)) char *put_partial(char *out, bool last)
{
	memcpy(out, ",\"partial\":true", 15);
	out += 15;
	if (!last)
		return out;
	memcpy(out, ",\"partial_last\":true", 20);
	return out + 20;
}

/* 0: it is no line, which is asked only if `doubtful`. Not built into both of its callers: that is more code than a call. */
static __attribute__((noinline)) LAYOUT_HOT size_t format_text(const struct record_source *src, const char *line,
                                                               size_t len, char *out, unsigned *how, bool doubtful)
{
	char *p;

	p = put_head(out, src);
	if (len && __builtin_expect(line[len - 1] == '\r', 0) && !src->partial)
		len--;
	p = put_part(p, &record_parts.middle[src->memo ? severity_detect_again(&src->memo->level, line, len) :
	                                                 severity_detect(line, len)]);
	p = json_escape_text(p, line, len, doubtful);
	if (__builtin_expect(!p, 0))
		return 0;
	p = put_rest(p, src);
	if (src->ctx) {
		*how |= RECORD_HAS_ID;
		if (!src->plain)
			p = put_fields(p, src->ctx, 0);
	}
	if (src->partial || src->rest)
		p = put_partial(p, !src->partial);
	memcpy(p, "}\n", 2);
	return (size_t)(p + 2 - out);
}

static __attribute__((cold)) __attribute__((noinline)) void compare_key(uint32_t *have, const char *name, size_t len,
                                                                        char value)
{
	uint32_t i;

	for (i = 0; i < record_parts.known_count; i++) {
		const struct known_key *known = &record_parts.known[i];

		if (known->len == len && (!known->nested || value == '{') && memcmp(name, known->text, len) == 0)
			*have |= known->bits;
	}
}

/* json_scan_object's callback: owner is the uint32_t of KEY_* bits. */
static __attribute__((cold)) void note_key(void *owner, const char *name, size_t len, char value)
{
	if (len && (record_parts.first_bytes >> ((unsigned char)name[0] & 63) & record_parts.lengths >> (len & 63) & 1))
		compare_key(owner, name, len, value);
}

/* A line that is an object already; 0 when it is none. */
static size_t splice(const struct record_source *src, const char *line, size_t len, char *out, unsigned *how)
{
	uint32_t have = 0;
	size_t brace, first = 0;
	bool empty;
	char *p;

	/* The scanner would find out, too, but most lines are none and this is the first byte of most. */
	while (first < len && (line[first] == ' ' || line[first] == '\t' || line[first] == '\r' || line[first] == '\n'))
		first++;
	if (first == len || line[first] != '{' || !json_scan_object(line, len, note_key, &have, &brace, &empty))
		return 0;
	if (have & KEY_TRACE)
		have |= KEY_SPAN | KEY_FLAGS | KEY_SOURCE;
	memcpy(out, line, brace);
	p = out + brace;
	if (src->ctx) {
		p = put_ids(p, src->ctx, have);
		if (!src->plain)
			p = put_fields(p, src->ctx, have);
		/* Every member came with a comma in front: the first of an object has none. */
		if (empty && p > out + brace) {
			memmove(out + brace, out + brace + 1, (size_t)(p - (out + brace)) - 1);
			p--;
		}
	}
	memcpy(p, line + brace, len - brace);
	p += len - brace;
	*p++ = '\n';
	*how |= RECORD_SPLICED | (src->ctx || (have & KEY_TRACE) ? RECORD_HAS_ID : 0);
	return (size_t)(p - out);
}

static __attribute__((cold)) __attribute__((noinline)) size_t format_plain(const struct record_source *src,
                                                                           const char *line, size_t len, char *out,
                                                                           unsigned *how)
{
	size_t ending = len && line[len - 1] == '\r';
	char *p = out + (len - ending);

	memcpy(out, line, len - ending);
	if (src->ctx && len > ending && config.log_mode == LOG_TEXT) {
		p = put_id(put_part(p, &record_parts.text_trace), src->ctx->trace_id, 16);
		p = put_id(put_part(p, &record_parts.text_span), src->ctx->span_id, 8);
		*how |= RECORD_HAS_ID;
	}
	if (ending)
		*p++ = '\r';
	*p++ = '\n';
	return (size_t)(p - out);
}

size_t record_format(const struct record_source *src, const char *line, size_t len, char *out, unsigned *how)
{
	size_t n;

	*how = 0;
	/* The rest of a line is a part of its text, whatever it looks like. */
	if (config.log_mode != LOG_OFF && !src->rest) {
		n = splice(src, line, len, out, how);
		if (n)
			return n;
	}
	return config.log_mode == LOG_JSON ? format_text(src, line, len, out, how, false) :
	                                     format_plain(src, line, len, out, how);
}

/* Can it be an object, by its first byte? */
static inline bool may_be_object(const char *line, size_t len)
{
	unsigned char first = len ? (unsigned char)line[0] : 'x';

	if (__builtin_expect(first > ' ', 1))
		return first == '{';
	return first == ' ' || (unsigned char)(first - '\t') <= '\r' - '\t';
}

LAYOUT_BUILT_IN size_t record_format_whole(const struct record_source *src, const char *line, size_t len, char *out,
                                           unsigned *how)
{
	if (__builtin_expect(config.log_mode != LOG_JSON || may_be_object(line, len), 0))
		return record_format(src, line, len, out, how);
	*how = 0;
	return format_text(src, line, len, out, how, false);
}

/* More is a block of lines, as a rule, of which the first would be formatted in vain. */
#define LINE_LIKELY 512

size_t record_format_line(const struct record_source *src, const char *line, size_t len, char *out, unsigned *how)
{
	*how = 0;
	if (len > LINE_LIKELY && memchr(line, '\n', len))
		return 0;
	if (__builtin_expect(config.log_mode == LOG_JSON && !may_be_object(line, len), 1))
		return format_text(src, line, len, out, how, true);
	return memchr(line, '\n', len) ? 0 : record_format(src, line, len, out, how);
}

static void ignore_key(void *owner, const char *name, size_t len, char value)
{
	(void)owner, (void)name, (void)len, (void)value;
}

bool record_is_object(const char *line, size_t len)
{
	size_t brace;
	bool empty;

	return config.log_mode != LOG_OFF && json_scan_object(line, len, ignore_key, NULL, &brace, &empty);
}

/*
 * Log lines to records.
 *
 * Mechanism. A record is mostly constant text between a few changing pieces, so record_init lays the constant text out in
 * parts of at most PART_SIZE bytes, each copied with a fixed-size copy (a few vector moves; the room behind the record is
 * ours, see RECORD_OVERHEAD_MAX) and then cut to its length. Digits come from record_digits.c, the level from severity.c;
 * the message is escaped in one pass (json.c).
 *
 * A line that is a JSON object already is never printed again: what the program wrote stays, byte for byte, so key order,
 * number precision, duplicate keys and spacing do. Only members are added before the last '}', and none that is there.
 * The program's own trace id wins over ours, under whatever well-known name it has: two ids in a record would be a lie.
 *
 * Who may call: record_init see record.h; the rest anybody, signal handlers included. Memory: a few KiB of constants;
 * under 300 bytes of stack. Nothing is kept between calls.
 *
 * Source: the field names of OpenTelemetry's log data model (JSON of its non-OTLP formats), ECS 8.11, Datadog's log
 * correlation, Google Cloud Logging's special fields.
 */
#include "record.h"

#include <string.h>

#include "counters.h"
#include "ids.h"
#include "json.h"
#include "layout.h"
#include "record_digits.h"
#include "severity.h"

#define PART_SIZE 44 /* with `len` 48 bytes; the longest is GCP's trace_sampled, 40 */
#define TAIL_SIZE 2560
#define TAIL_STEP 32 /* copied so many bytes at a time */
#define NAME_MAX_LEN LIMIT_HEADER_NAME
#define CONSTANT_MAX_LEN 128 /* of service, environment, version: bytes before escaping */

struct part {
	uint32_t len;
	char text[PART_SIZE];
};

struct format {
	const char *time, *severity, *message, *trace, *span, *flags, *service, *environment, *version, *pid, *tid;
	const char *constant;                /* members that every record has */
	char severities[SEVERITY_COUNT][12]; /* text, not pointers: each of those is a relocation in every process */
};

static const struct format formats[] = {
	[FORMAT_OTEL] = { "timestamp",
	                  "severity",
	                  "message",
	                  "trace_id",
	                  "span_id",
	                  "trace_flags",
	                  "service",
	                  NULL,
	                  NULL,
	                  "pid",
	                  "tid",
	                  "",
	                  { "", "TRACE", "DEBUG", "INFO", "INFO", "WARN", "ERROR", "FATAL", "FATAL" } },
	[FORMAT_CAMEL] = { "timestamp",
	                   "level",
	                   "message",
	                   "traceId",
	                   "spanId",
	                   "traceFlags",
	                   "service",
	                   NULL,
	                   NULL,
	                   "pid",
	                   "tid",
	                   "",
	                   { "", "trace", "debug", "info", "notice", "warn", "error", "critical", "fatal" } },
	[FORMAT_ECS] = { "@timestamp",
	                 "log.level",
	                 "message",
	                 "trace.id",
	                 "span.id",
	                 NULL,
	                 "service.name",
	                 "service.environment",
	                 "service.version",
	                 "process.pid",
	                 "process.thread.id",
	                 ",\"ecs.version\":\"8.11.0\"",
	                 { "", "trace", "debug", "info", "notice", "warn", "error", "critical", "fatal" } },
	[FORMAT_DATADOG] = { "timestamp",
	                     "status",
	                     "message",
	                     "dd.trace_id",
	                     "dd.span_id",
	                     NULL,
	                     "dd.service",
	                     "dd.env",
	                     "dd.version",
	                     "pid",
	                     "tid",
	                     "",
	                     { "", "debug", "debug", "info", "notice", "warn", "error", "critical", "emergency" } },
	[FORMAT_GCP] = { "time",
	                 "severity",
	                 "message",
	                 "logging.googleapis.com/trace",
	                 "logging.googleapis.com/spanId",
	                 "logging.googleapis.com/trace_sampled",
	                 "service",
	                 NULL,
	                 NULL,
	                 "pid",
	                 "tid",
	                 "",
	                 { "", "DEBUG", "DEBUG", "INFO", "NOTICE", "WARNING", "ERROR", "CRITICAL", "EMERGENCY" } },
};

/* Under these names a program's own trace id is known, whatever format is configured. */
static const char *const trace_names[] = { "trace_id", "traceId", "trace.id", "dd.trace_id",
	                                   "logging.googleapis.com/trace" };

/* Which members a line to be spliced has already: these bits, those of mapped field i and of correlation id i. */
#define KEY_TRACE 0x01u
#define KEY_SPAN 0x02u
#define KEY_FLAGS 0x04u
#define KEY_FIELD(i) (0x100u << (i))
#define KEY_CORRELATION(i) (0x1000000u << (i))
_Static_assert(LIMIT_LOG_FIELDS <= 16 && LIMIT_CORRELATION_HEADERS <= 8, "a bit for every field");

static struct {
	const struct format *format;
	struct part open;                   /* {"timestamp":" */
	struct part middle[SEVERITY_COUNT]; /* Z","severity":"INFO","message":" */
	struct part trace, span, flags;     /* ,"trace_id":"   ,"span_id":"   ,"trace_flags": */
	struct part tid;                    /* ,"tid": */
	struct part streams[3];
	struct part text_trace, text_span; /* " trace_id=" and " span_id=" of LOG_TEXT */
	uint32_t tail_len;
	char tail[TAIL_SIZE + TAIL_STEP]; /* ,"service":"...",...,"pid": */
	uint32_t field_skip;              /* KEY_* of fields whose name is taken */
	/* The names that are looked for in objects, with the KEY_* bits they mean; and bit c & 63 for each first byte. */
	struct known_key {
		const char *text;
		uint16_t len;
		bool nested; /* only if the value is an object */
		uint32_t bits;
	} known[12 + LIMIT_LOG_FIELDS + LIMIT_CORRELATION_HEADERS];
	uint32_t known_count;
	uint64_t first_bytes;
} parts LAYOUT_LATER;

static void part_add(struct part *part, const char *text)
{
	size_t len = strlen(text);

	if (part->len + len <= PART_SIZE) {
		memcpy(part->text + part->len, text, len);
		part->len += (uint32_t)len;
	}
}

static void part_set(struct part *part, const char *a, const char *b, const char *c)
{
	part->len = 0;
	part_add(part, a);
	part_add(part, b);
	part_add(part, c);
}

static inline char *put_part(char *out, const struct part *part)
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

/* An id of 8 or 16 bytes in hex, or the low 64 bits of it in decimal. */
static char *put_id(char *out, const uint8_t *id, size_t n)
{
	if (config.log_format == FORMAT_DATADOG && config.datadog_decimal)
		return record_put_number(out, low_64_bits(id + n - 8));
	return record_put_hex(out, id, n);
}

/* The ids as members, each with a comma in front. `have`: KEY_* bits of those to leave out. */
static char *put_ids(char *out, const struct trace_context *ctx, uint32_t have)
{
	static const char digits[] = "0123456789abcdef";

	if (!(have & KEY_TRACE)) {
		out = put_id(put_part(out, &parts.trace), ctx->trace_id, 16);
		*out++ = '"';
	}
	if (!(have & KEY_SPAN)) {
		out = put_id(put_part(out, &parts.span), ctx->span_id, 8);
		*out++ = '"';
	}
	if (!parts.flags.len || (have & KEY_FLAGS))
		return out;
	out = put_part(out, &parts.flags);
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
static char *put_fields(char *out, const struct trace_context *ctx, uint32_t have)
{
	size_t i;

	have |= parts.field_skip;
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

static inline char *put_tail(char *out)
{
	uint32_t i;

	for (i = 0; i < parts.tail_len; i += TAIL_STEP)
		memcpy(out + i, parts.tail + i, TAIL_STEP);
	return out + parts.tail_len;
}

static size_t format_text(const struct record_source *src, const char *line, size_t len, char *out, unsigned *how)
{
	char *p = record_put_time(put_part(out, &parts.open), src->time_ns);

	if (len && line[len - 1] == '\r' && !src->partial)
		len--;
	p = put_part(p, &parts.middle[severity_detect(line, len)]);
	p = json_escape(p, line, len);
	*p++ = '"';
	if (src->ctx) {
		p = put_ids(p, src->ctx, 0);
		*how |= RECORD_HAS_ID;
	}
	p = record_put_number(put_tail(p), (uint32_t)src->pid);
	p = record_put_number(put_part(p, &parts.tid), (uint32_t)src->tid);
	p = put_part(p, &parts.streams[src->stream]);
	if (src->ctx)
		p = put_fields(p, src->ctx, 0);
	if (src->partial || src->partial_last) {
		memcpy(p, ",\"partial\":true", 15);
		p += 15;
	}
	if (src->partial_last) {
		memcpy(p, ",\"partial_last\":true", 20);
		p += 20;
	}
	memcpy(p, "}\n", 2);
	return (size_t)(p + 2 - out);
}

static bool name_is(const char *name, size_t len, const char *other)
{
	return other && strlen(other) == len && memcmp(name, other, len) == 0;
}

/* json_scan_object's callback: owner is the uint32_t of KEY_* bits. */
static void note_key(void *owner, const char *name, size_t len, char value)
{
	uint32_t *have = owner, i;

	if (!len || !(parts.first_bytes >> ((unsigned char)name[0] & 63) & 1))
		return;
	for (i = 0; i < parts.known_count; i++) {
		const struct known_key *known = &parts.known[i];

		if (known->len == len && (!known->nested || value == '{') && memcmp(name, known->text, len) == 0)
			*have |= known->bits;
	}
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
		have |= KEY_SPAN | KEY_FLAGS;
	memcpy(out, line, brace);
	p = out + brace;
	if (src->ctx) {
		p = put_fields(put_ids(p, src->ctx, have), src->ctx, have);
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

static size_t format_plain(const struct record_source *src, const char *line, size_t len, char *out, unsigned *how)
{
	size_t ending = len && line[len - 1] == '\r';
	char *p = out + (len - ending);

	memcpy(out, line, len - ending);
	if (src->ctx && len > ending && config.log_mode == LOG_TEXT) {
		p = put_id(put_part(p, &parts.text_trace), src->ctx->trace_id, 16);
		p = put_id(put_part(p, &parts.text_span), src->ctx->span_id, 8);
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
	if (config.log_mode != LOG_OFF) {
		n = splice(src, line, len, out, how);
		if (n)
			return n;
	}
	return config.log_mode == LOG_JSON ? format_text(src, line, len, out, how) :
	                                     format_plain(src, line, len, out, how);
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

/* A constant member: ,"name":"value". Nothing when either is missing. */
static void tail_add(const char *name, const struct config_name *value)
{
	size_t len = value->len > CONSTANT_MAX_LEN ? json_utf8_cut(value->text, CONSTANT_MAX_LEN) : value->len;
	char *p = parts.tail + parts.tail_len;

	if (!name || !len)
		return;
	memcpy(p, ",\"", 2);
	memcpy(p + 2, name, strlen(name));
	p += 2 + strlen(name);
	memcpy(p, "\":\"", 3);
	p = json_escape(p + 3, value->text, len);
	*p++ = '"';
	parts.tail_len = (uint32_t)(p - parts.tail);
}

static void tail_end(const char *constant, const char *pid)
{
	char *p = parts.tail + parts.tail_len;
	size_t len = strlen(constant);

	memcpy(p, constant, len);
	p += len;
	memcpy(p, ",\"", 2);
	memcpy(p + 2, pid, strlen(pid));
	p += 2 + strlen(pid);
	memcpy(p, "\":", 2);
	parts.tail_len = (uint32_t)(p + 2 - parts.tail);
}

_Static_assert(3 * (JSON_ESCAPE_BOUND(CONSTANT_MAX_LEN) + 32) + 96 <= TAIL_SIZE, "the tail holds its members");
_Static_assert(TAIL_SIZE + 12 * PART_SIZE +
                               (LIMIT_LOG_FIELDS *
                                (JSON_ESCAPE_BOUND(NAME_MAX_LEN) + JSON_ESCAPE_BOUND(LIMIT_FIELD_VALUE) + 8)) +
                               (LIMIT_CORRELATION_HEADERS *
                                (JSON_ESCAPE_BOUND(NAME_MAX_LEN) + JSON_ESCAPE_BOUND(LIMIT_CORRELATION_ID) + 8)) <=
                       RECORD_OVERHEAD_MAX,
               "the overhead holds every part");
_Static_assert(LIMIT_CORRELATION_ID <= LIMIT_FIELD_VALUE, "put_field cuts no correlation id");

static bool same_name(const struct config_name *a, const struct config_name *b)
{
	return a->len == b->len && memcmp(a->text, b->text, a->len) == 0;
}

/* Is this name the format's own, or that of one of the first `fields` mapped fields? Or unusable? */
static bool name_is_taken(const struct format *f, const struct config_name *name, size_t fields)
{
	const char *const taken[] = { f->time,  f->severity, f->message,     f->trace,       f->span,
		                      f->flags, f->service,  f->environment, f->version,     f->pid,
		                      f->tid,   "stream",    "partial",      "partial_last", "ecs.version" };
	size_t i;

	if (!name->len || name->len > NAME_MAX_LEN)
		return true;
	for (i = 0; i < sizeof(taken) / sizeof(taken[0]); i++) {
		if (name_is(name->text, name->len, taken[i]))
			return true;
	}
	for (i = 0; i < fields; i++) {
		if (same_name(&config.field[i].field, name))
			return true;
	}
	return false;
}

static void look_for(const char *name, size_t len, uint32_t bits, bool nested)
{
	if (parts.known_count == sizeof(parts.known) / sizeof(parts.known[0]))
		return;
	parts.known[parts.known_count++] = (struct known_key){ name, (uint16_t)len, nested, bits };
	parts.first_bytes |= (uint64_t)1 << ((unsigned char)name[0] & 63);
}

static void init_known(const struct format *f)
{
	size_t i;

	parts.first_bytes = 0;
	parts.known_count = 0;
	for (i = 0; i < sizeof(trace_names) / sizeof(trace_names[0]); i++)
		look_for(trace_names[i], strlen(trace_names[i]), KEY_TRACE, false);
	look_for(f->span, strlen(f->span), KEY_SPAN, false);
	if (f->flags)
		look_for(f->flags, strlen(f->flags), KEY_FLAGS, false);
	/* These formats name nested members with dots, or nest them. */
	if (config.log_format == FORMAT_ECS) {
		look_for("trace", 5, KEY_TRACE, true);
		look_for("span", 4, KEY_SPAN, true);
	}
	if (config.log_format == FORMAT_DATADOG)
		look_for("dd", 2, KEY_TRACE | KEY_SPAN, true);
}

static void init_fields(const struct format *f)
{
	size_t i;

	parts.field_skip = 0;
	for (i = 0; i < config.field_count; i++) {
		const struct config_name *name = &config.field[i].field;

		if (name_is_taken(f, name, i)) {
			parts.field_skip |= KEY_FIELD(i);
			counters_count(config_invalid);
			counters_note("log field '%.64s' left out: the name is taken, or too long", name->text);
		} else {
			look_for(name->text, name->len, KEY_FIELD(i), false);
		}
	}
	for (i = 0; i < config.correlation_count; i++) {
		const struct config_name *name = &config.correlation[i];
		bool mapped = name_is_taken(f, name, config.field_count);
		size_t k;

		for (k = 0; k < config.field_count; k++)
			mapped = mapped || (!config.field[k].from_baggage && same_name(&config.field[k].source, name));
		if (mapped)
			parts.field_skip |= KEY_CORRELATION(i);
		else
			look_for(name->text, name->len, KEY_CORRELATION(i), false);
	}
}

void record_init(void)
{
	static const char *const streams[] = { "stdout", "stderr", "file" };
	const struct format *f = parts.format = &formats[config.log_format];
	size_t i;

	part_set(&parts.open, "{\"", f->time, "\":\"");
	for (i = 0; i < SEVERITY_COUNT; i++) {
		part_set(&parts.middle[i], "Z\",\"", "", "");
		if (i) {
			part_add(&parts.middle[i], f->severity);
			part_add(&parts.middle[i], "\":\"");
			part_add(&parts.middle[i], f->severities[i]);
			part_add(&parts.middle[i], "\",\"");
		}
		part_add(&parts.middle[i], f->message);
		part_add(&parts.middle[i], "\":\"");
	}
	part_set(&parts.trace, ",\"", f->trace, "\":\"");
	part_set(&parts.span, ",\"", f->span, "\":\"");
	if (f->flags)
		part_set(&parts.flags, ",\"", f->flags, "\":");
	else
		parts.flags.len = 0;
	part_set(&parts.tid, ",\"", f->tid, "\":");
	for (i = 0; i < 3; i++)
		part_set(&parts.streams[i], ",\"stream\":\"", streams[i], "\"");
	part_set(&parts.text_trace, " ", f->trace, "=");
	part_set(&parts.text_span, " ", f->span, "=");
	parts.tail_len = 0;
	tail_add(f->service, &config.service);
	tail_add(f->environment, &config.environment);
	tail_add(f->version, &config.version);
	tail_end(f->constant, f->pid);
	init_known(f);
	init_fields(f);
}

/*
 * The constant text of records: what each format calls its members, laid out for record.c.
 *
 * Mechanism. Whatever is the same in every record is put together once, in parts of at most PART_SIZE bytes, so that each can
 * be copied with a fixed-size copy, and in one tail for what follows the ids. The names that are looked for in objects are
 * listed beside them.
 *
 * Who may call: record_init see record.h. Memory: a few KiB of constants.
 *
 * Source: the field names of OpenTelemetry's log data model (JSON of its non-OTLP formats), ECS 8.11, Datadog's log
 * correlation, Google Cloud Logging's special fields.
 */
#include <string.h>

#include "counters.h"
#include "layout.h"
#include "record_internal.h"

#define NAME_MAX_LEN LIMIT_HEADER_NAME
/* All parts of a record that are not its tail, digits and ids, "partial", and the last step of a copy. */
#define FIXED_ROOM (9 * PART_SIZE + 32 + 16 + 4 * 20 + 35 + 64)
#define CONSTANT_MAX_LEN 128 /* of service, environment, version: bytes before escaping */

/* Text, not pointers: each of those is a relocation in every process. Empty: there is no such member. */
struct format {
	char time[11], severity[10], message[8], trace[29], span[30], flags[37], service[13], environment[20],
		version[16];
	char pid[12], tid[18];
	char constant[25]; /* members that every record has */
	char severities[SEVERITY_COUNT][10];
};

static const struct format formats[] = {
	[FORMAT_OTEL] = { "timestamp",
	                  "severity",
	                  "message",
	                  "trace_id",
	                  "span_id",
	                  "trace_flags",
	                  "service",
	                  "",
	                  "",
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
	                   "",
	                   "",
	                   "pid",
	                   "tid",
	                   "",
	                   { "", "trace", "debug", "info", "notice", "warn", "error", "critical", "fatal" } },
	[FORMAT_ECS] = { "@timestamp",
	                 "log.level",
	                 "message",
	                 "trace.id",
	                 "span.id",
	                 "",
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
	                     "",
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
	                 "",
	                 "",
	                 "pid",
	                 "tid",
	                 "",
	                 { "", "DEBUG", "DEBUG", "INFO", "NOTICE", "WARNING", "ERROR", "CRITICAL", "EMERGENCY" } },
};

/* Under these names a program's own trace id is known, whatever format is configured. */
static const char *const trace_names[] = { "trace_id", "traceId", "trace.id", "dd.trace_id",
	                                   "logging.googleapis.com/trace" };

struct record_parts record_parts LAYOUT_LATER __attribute__((aligned(64)));

static void part_add(struct record_part *part, const char *text)
{
	size_t len = strlen(text);

	if (part->len + len <= PART_SIZE) {
		memcpy(part->text + part->len, text, len);
		part->len += (uint32_t)len;
	}
}

static void part_set(struct record_part *part, const char *a, const char *b, const char *c)
{
	part->len = 0;
	part_add(part, a);
	part_add(part, b);
	part_add(part, c);
}

static bool name_is(const char *name, size_t len, const char *other)
{
	return strlen(other) == len && memcmp(name, other, len) == 0;
}

/* A constant member: ,"name":"value". Nothing when either is missing. */
static void tail_add(const char *name, const struct config_name *value)
{
	size_t len = value->len > CONSTANT_MAX_LEN ? json_utf8_cut(value->text, CONSTANT_MAX_LEN) : value->len;
	char *p = record_parts.tail + record_parts.tail_len;

	if (name[0] == '\0' || !len)
		return;
	memcpy(p, ",\"", 2);
	memcpy(p + 2, name, strlen(name));
	p += 2 + strlen(name);
	memcpy(p, "\":\"", 3);
	p = json_escape(p + 3, value->text, len);
	*p++ = '"';
	record_parts.tail_len = (uint32_t)(p - record_parts.tail);
}

static void tail_end(const char *constant, const char *pid)
{
	char *p = record_parts.tail + record_parts.tail_len;
	size_t len = strlen(constant);

	memcpy(p, constant, len);
	p += len;
	memcpy(p, ",\"", 2);
	memcpy(p + 2, pid, strlen(pid));
	p += 2 + strlen(pid);
	memcpy(p, "\":", 2);
	record_parts.tail_len = (uint32_t)(p + 2 - record_parts.tail);
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
	const char *const taken[] = { f->time,    f->severity,    f->message,    f->trace,      f->span, f->flags,
		                      f->service, f->environment, f->version,    f->pid,        f->tid,  "stream",
		                      "partial",  "partial_last", "ecs.version", "trace_source" };
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
	if (record_parts.known_count == sizeof(record_parts.known) / sizeof(record_parts.known[0]))
		return;
	record_parts.known[record_parts.known_count++] = (struct known_key){ name, (uint16_t)len, nested, bits };
	record_parts.first_bytes |= (uint64_t)1 << ((unsigned char)name[0] & 63);
	record_parts.lengths |= (uint64_t)1 << (len & 63);
}

static void init_known(const struct format *f)
{
	size_t i;

	record_parts.first_bytes = record_parts.lengths = 0;
	record_parts.known_count = 0;
	for (i = 0; i < sizeof(trace_names) / sizeof(trace_names[0]); i++)
		look_for(trace_names[i], strlen(trace_names[i]), KEY_TRACE, false);
	look_for(f->span, strlen(f->span), KEY_SPAN, false);
	if (f->flags[0] != '\0')
		look_for(f->flags, strlen(f->flags), KEY_FLAGS, false);
	look_for("trace_source", 12, KEY_SOURCE, false);
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

	record_parts.field_skip = 0;
	for (i = 0; i < config.field_count; i++) {
		const struct config_name *name = &config.field[i].field;

		if (name_is_taken(f, name, i)) {
			record_parts.field_skip |= KEY_FIELD(i);
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
			record_parts.field_skip |= KEY_CORRELATION(i);
		else
			look_for(name->text, name->len, KEY_CORRELATION(i), false);
	}
}

void record_init(void)
{
	static const char *const streams[] = { "stdout", "stderr", "file" };
	static const char *const sources[] = { "proven", "validated" };
	const struct format *f = &formats[config.log_format];
	size_t i;

	record_parts.turn = record_parts.turn == UINT32_MAX ? 1 : record_parts.turn + 1;
	part_set(&record_parts.open, "{\"", f->time, "\":\"");
	for (i = 0; i < SEVERITY_COUNT; i++) {
		part_set(&record_parts.middle[i], "Z\",\"", "", "");
		if (i) {
			part_add(&record_parts.middle[i], f->severity);
			part_add(&record_parts.middle[i], "\":\"");
			part_add(&record_parts.middle[i], f->severities[i]);
			part_add(&record_parts.middle[i], "\",\"");
		}
		part_add(&record_parts.middle[i], f->message);
		part_add(&record_parts.middle[i], "\":\"");
	}
	part_set(&record_parts.trace, ",\"", f->trace, "\":\"");
	part_set(&record_parts.span, ",\"", f->span, "\":\"");
	if (f->flags[0] != '\0')
		part_set(&record_parts.flags, ",\"", f->flags, "\":");
	else
		record_parts.flags.len = 0;
	part_set(&record_parts.tid, ",\"", f->tid, "\":");
	for (i = 0; i < 3; i++)
		part_set(&record_parts.streams[i], ",\"stream\":\"", streams[i], "\"");
	for (i = 0; i < 2; i++)
		part_set(&record_parts.sources[i], config.log_class ? ",\"trace_source\":\"" : "",
		         config.log_class ? sources[i] : "", config.log_class ? "\"" : "");
	part_set(&record_parts.text_trace, " ", f->trace, "=");
	part_set(&record_parts.text_span, " ", f->span, "=");
	record_parts.tail_len = 0;
	tail_add(f->service, &config.service);
	tail_add(f->environment, &config.environment);
	tail_add(f->version, &config.version);
	tail_end(f->constant, f->pid);
	record_parts.room = FIXED_ROOM + record_parts.tail_len;
	init_known(f);
	init_fields(f);
}

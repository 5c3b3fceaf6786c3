/*
 * Lines into rings; see line_export.h. A line is exported when it is written, not when it is made into a record: what a full
 * pipe refuses comes again, and would be there twice. It is copied as the program wrote it, once, straight into the ring.
 *
 * The ids are those of its record. A line that nobody is known for may have brought ids of its own (an SDK's, or those of a
 * record that was made before its turn came, as in Node): then these are.
 *
 * Who may call: any thread, signal handler, forked child. Memory: none.
 */
#include "line_export.h"

#include <errno.h>
#include <string.h>

#include "counters.h"
#include "ids.h"
#include "os.h"
#include "ring.h"
#include "severity.h"

/* OpenTelemetry's SeverityNumber. */
static const uint8_t numbers[SEVERITY_COUNT] = {
	[SEVERITY_TRACE] = 1, [SEVERITY_DEBUG] = 5,  [SEVERITY_INFO] = 9,      [SEVERITY_NOTICE] = 10,
	[SEVERITY_WARN] = 13, [SEVERITY_ERROR] = 17, [SEVERITY_CRITICAL] = 18, [SEVERITY_FATAL] = 21,
};

/* What a member of an object says, if it is one that loggers state the level in. pino and bunyan count in tens. */
static enum severity level_of_member(const char *name, size_t name_len, const char *value, size_t len)
{
	static const enum severity tens[] = {
		SEVERITY_NONE, SEVERITY_TRACE, SEVERITY_DEBUG, SEVERITY_INFO,
		SEVERITY_WARN, SEVERITY_ERROR, SEVERITY_FATAL,
	};
	static const char *const names[] = { "level", "severity", "log.level", "lvl", "levelname" };
	char pair[24] = "level=";
	size_t i;

	for (i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		if (name_len == strlen(names[i]) && memcmp(name, names[i], name_len) == 0)
			break;
	if (i == sizeof(names) / sizeof(names[0]))
		return SEVERITY_NONE;
	if (len >= 3 && value[0] >= '1' && value[0] <= '6' && value[1] == '0' && (value[2] == ',' || value[2] == '}'))
		return tens[value[0] - '0'];
	if (len == 0 || value[0] != '"')
		return SEVERITY_NONE;
	for (i = 1; i < len && i < 16 && value[i] != '"'; i++)
		pair[5 + i] = value[i];
	return i < len && value[i] == '"' ? severity_detect(pair, 5 + i) : SEVERITY_NONE;
}

/* Behind the string whose first character is at `at`. */
static size_t end_of_string(const char *line, size_t len, size_t at)
{
	for (; at < len && line[at] != '"'; at++)
		at += line[at] == '\\';
	return at < len ? at + 1 : len;
}

enum severity line_severity(const char *line, size_t len)
{
	enum severity found = SEVERITY_NONE;
	size_t at = 1, from, end;
	int depth = 1;

	if (len == 0 || line[0] != '{')
		return severity_detect(line, len);
	while (at < len && depth > 0 && found == SEVERITY_NONE) {
		char c = line[at++];

		depth += (c == '{' || c == '[') - (c == '}' || c == ']');
		if (c != '"')
			continue;
		from = at;
		at = end_of_string(line, len, at);
		end = at - 1;
		while (at < len && line[at] == ' ')
			at++;
		if (depth != 1 || at >= len || line[at] != ':')
			continue;
		for (at++; at < len && line[at] == ' '; at++)
			;
		found = level_of_member(line + from, end - from, line + at, len - at);
	}
	return found;
}

/* The bytes from..to of the vectors. */
static void gather(char *out, const struct iovec *iov, int count, size_t from, size_t to)
{
	size_t base = 0;
	int i;

	for (i = 0; i < count && from < to; base += iov[i].iov_len, i++) {
		size_t end = base + iov[i].iov_len;

		if (end <= from)
			continue;
		if (end > to)
			end = to;
		memcpy(out, (const char *)iov[i].iov_base + (from - base), end - from);
		out += end - from;
		from = end;
	}
}

/* "name":"<hex>" in an object. */
static void find_id(const char *line, size_t len, const char *name, uint8_t *id, size_t size)
{
	const char *at = memmem(line, len, name, strlen(name));
	size_t rest;

	if (at == NULL)
		return;
	at += strlen(name);
	rest = len - (size_t)(at - line);
	while (rest > 0 && (*at == ':' || *at == ' ' || *at == '"')) {
		at++;
		rest--;
	}
	if (rest < 2 * size || ids_unhex(id, at, size, 0) != 0)
		memset(id, 0, size);
}

static void fill(struct ring_line *out, const struct line_origin *origin)
{
	memset((char *)out + sizeof(out->entry), 0, sizeof(*out) - sizeof(out->entry));
	out->time_ns = origin->time_ns;
	out->tid = (uint32_t)origin->tid;
	out->stream = (uint16_t)(origin->stream + 1);
	if (origin->ctx != NULL) {
		memcpy(out->trace_id, origin->ctx->trace_id, sizeof(out->trace_id));
		memcpy(out->span_id, origin->ctx->span_id, sizeof(out->span_id));
		out->flags = origin->ctx->flags & (RING_FLAG_SAMPLED | RING_FLAG_RANDOM);
	}
}

void line_export(const struct line_origin *origin, struct iovec kept, const struct iovec *iov, int count, size_t from,
                 size_t to)
{
	const size_t most = RING_ENTRY_MAX - sizeof(struct ring_line);
	size_t len = kept.iov_len + (to - from), cut = len > most ? len - most : 0;
	struct ring_entry_place place;
	struct ring_line *out;
	int saved = errno;
	char *line;

	len -= cut;
	out = ring_begin(&place, RING_LINE, sizeof(*out), sizeof(*out) + len);
	if (out != NULL) {
		line = (char *)(out + 1);
		if (kept.iov_len > len)
			kept.iov_len = len;
		if (kept.iov_len > 0)
			memcpy(line, kept.iov_base, kept.iov_len);
		gather(line + kept.iov_len, iov, count, from, from + (len - kept.iov_len));
		fill(out, origin);
		out->len = (uint32_t)len;
		out->severity = numbers[line_severity(line, len)];
		if (origin->part || cut > 0)
			out->flags |= RING_FLAG_TRUNCATED;
		if (origin->ctx == NULL && origin->says_id) {
			find_id(line, len, "\"trace_id\"", out->trace_id, sizeof(out->trace_id));
			find_id(line, len, "\"span_id\"", out->span_id, sizeof(out->span_id));
		}
		ring_publish(&place);
		counters_count(lines_exported);
	}
	errno = saved;
}

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
		out->severity = numbers[severity_detect(line, len)];
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

/*
 * Requests of a managed runtime. See managed.h.
 *
 * The runtime holds numbers, we hold requests: a slot is an index into this thread's table. Slots are opened at the first
 * line or call that needs ids, not at the request's start, because most of a server's requests log little, and each call
 * out of JavaScript costs as much as a short log line. The runtime closes a slot when nothing can name it any more.
 *
 * Log bytes. Ordinarily the runtime says for whom it writes (MANAGED_SLOT), calls its stream, and the write(2) happens within
 * that call, on this thread. Where the pipe is full, libuv queues the rest of that one chunk: its length is what we were
 * asked to write and did not take, so the next bytes on that descriptor that come from the loop itself (MANAGED_SILENT) are
 * those. What the program writes while something is queued is made into records at once (managed_stamp), because it will
 * be joined with the chunks of others before we see it again.
 *
 * Who may call: see managed.h; managed_known and managed_segments run in write hooks, and so in signal handlers: these read
 * a few words of this thread. Memory: a table of pointers per environment (64 KiB, pages as touched), the requests themselves.
 */
#include "managed.h"

#include <string.h>

#include "config.h"
#include "counters.h"
#include "current.h"
#include "ids.h"
#include "json.h"
#include "limits.h"
#include "os.h"
#include "pool.h"
#include "propagate.h"
#include "request.h"
#include "span.h"

/* Streams that have something queued at a time: stdout and stderr, and two more. */
#define QUEUED_STREAMS 4

struct queued {
	int fd;
	size_t len; /* 0: nothing */
	struct request *request;
};

struct managed {
	uint32_t pool_word;
	int32_t *words;
	uint32_t free_count; /* entries of `free` */
	uint32_t opened;     /* slots ever used: the next one is this */
	uint32_t requests;   /* MANAGED_REQUESTS as far as it is counted */
	bool cut;            /* the last call of managed_stamp ended inside of a line */
	struct queued queued[QUEUED_STREAMS];
	struct request *slots[MANAGED_SLOTS];
	uint16_t free[MANAGED_SLOTS];
};
_Static_assert(MANAGED_SLOTS <= 65536, "a slot fits 16 bits");

POOL(environments, sizeof(struct managed), 1);

static __thread struct managed *managed __attribute__((tls_model("initial-exec")));

bool managed_begin(int32_t *words)
{
	struct managed *m;

	if (managed != NULL || (m = pool_take(&environments)) == NULL)
		return false;
	m->words = words;
	m->free_count = 0;
	m->opened = 1;
	m->requests = 0;
	m->cut = false;
	memset(m->queued, 0, sizeof(m->queued));
	managed = m;
	return true;
}

void managed_end(void)
{
	struct managed *m = managed;
	uint32_t i;

	if (m == NULL)
		return;
	managed = NULL;
	for (i = 0; i < QUEUED_STREAMS; i++)
		request_unref(m->queued[i].request);
	for (i = 1; i < m->opened; i++) {
		request_unref(m->slots[i]);
		m->slots[i] = NULL;
	}
	pool_give(&environments, m);
}

bool managed_here(void)
{
	return managed != NULL;
}

/* The runtime counts its requests where that costs nothing. */
static void count_requests(struct managed *m)
{
	uint32_t now = (uint32_t)m->words[MANAGED_REQUESTS];

	if (now != m->requests)
		counters_add(requests, now - m->requests);
	m->requests = now;
}

/* ---- fields ---- */

/* The next "name: value" of a head: lower-case name in `name`, both trimmed. false: no more. */
static bool next_field(const char **at, const char *end, char name[LIMIT_HEADER_NAME], size_t *name_len,
                       const char **value, size_t *value_len)
{
	while (*at < end) {
		const char *line = *at, *eol = memchr(line, '\n', (size_t)(end - line)), *colon;
		size_t i, n;

		*at = eol == NULL ? end : eol + 1;
		if (eol == NULL)
			eol = end;
		if (eol > line && eol[-1] == '\r')
			eol--;
		colon = memchr(line, ':', (size_t)(eol - line));
		n = colon == NULL ? 0 : (size_t)(colon - line);
		if (n == 0 || n > LIMIT_HEADER_NAME)
			continue;
		for (i = 0; i < n; i++)
			name[i] = line[i] >= 'A' && line[i] <= 'Z' ? (char)(line[i] | 0x20) : line[i];
		for (colon++; colon < eol && (*colon == ' ' || *colon == '\t'); colon++)
			;
		while (eol > colon && (eol[-1] == ' ' || eol[-1] == '\t'))
			eol--;
		*name_len = n;
		*value = colon;
		*value_len = (size_t)(eol - colon);
		return true;
	}
	return false;
}

static void read_fields(struct request *r, const char *fields, size_t len)
{
	const char *at = fields, *value;
	char name[LIMIT_HEADER_NAME];
	struct propagate_in in;
	size_t name_len, value_len;

	propagate_begin(&in, &r->ctx);
	while (next_field(&at, fields + len, name, &name_len, &value, &value_len)) {
		if (!propagate_wants(name, name_len))
			continue;
		if (propagate_text_needed(&r->ctx, name, name_len, value_len) >
		    (size_t)(r->ctx.text.cap - r->ctx.text.len))
			(void)request_grow_text(r);
		propagate_field(&in, &r->ctx, name, name_len, value, value_len);
	}
	propagate_end(&in, &r->ctx);
}

/* ---- slots ---- */

int32_t managed_open(const char *fields, size_t len)
{
	struct managed *m = managed;
	struct request *r;
	uint32_t slot;

	if (m == NULL)
		return MANAGED_NOBODY;
	count_requests(m);
	current_serve(); /* its connections may have been accepted elsewhere */
	if (m->free_count == 0 && m->opened == MANAGED_SLOTS) {
		counters_count(no_memory_skipped);
		return MANAGED_NOBODY;
	}
	r = request_new();
	if (r == NULL)
		return MANAGED_NOBODY;
	if (len > 0)
		read_fields(r, fields, len);
	else
		propagate_fresh(&r->ctx);
	if (r->ctx.remote)
		counters_count(requests_continued);
	request_advance(r, REQUEST_LIVE);
	slot = m->free_count > 0 ? m->free[--m->free_count] : m->opened++;
	m->slots[slot] = r;
	return (int32_t)slot;
}

struct request *managed_request(int32_t slot)
{
	const struct managed *m = managed;

	return m != NULL && slot > 0 && slot < MANAGED_SLOTS && (uint32_t)slot < m->opened ? m->slots[slot] : NULL;
}

void managed_adopt(int32_t slot)
{
	struct request *r = managed_request(slot);

	if (r != NULL)
		r->origin = REQUEST_AMBIENT;
}

void managed_close(int32_t slot)
{
	struct request *r = managed_request(slot);

	if (r == NULL)
		return;
	count_requests(managed);
	managed->slots[slot] = NULL;
	managed->free[managed->free_count++] = (uint16_t)slot;
	request_advance(r, REQUEST_ENDED);
	request_unref(r);
}

struct request *managed_known(void)
{
	const struct managed *m = managed;

	return m == NULL ? NULL : managed_request(m->words[MANAGED_SLOT]);
}

/* ---- log lines ---- */

static struct queued *find_queued(struct managed *m, int fd)
{
	size_t i;

	for (i = 0; i < QUEUED_STREAMS; i++)
		if (m->queued[i].len > 0 && m->queued[i].fd == fd)
			return &m->queued[i];
	return NULL;
}

static size_t divide(struct managed *m, int fd, size_t total, struct logline_segment segments[2])
{
	const struct queued *queued;

	segments[0] = (struct logline_segment){ .len = total };
	if (m == NULL)
		return 1;
	if (m->words[MANAGED_SLOT] != MANAGED_SILENT) {
		segments[0].request = managed_known();
		return 1;
	}
	queued = find_queued(m, fd);
	if (queued == NULL)
		return 1;
	segments[0].request = queued->request;
	if (queued->len >= total)
		return 1;
	segments[0].len = queued->len;
	segments[1] = (struct logline_segment){ .len = total - queued->len };
	return 2;
}

size_t managed_segments(int fd, size_t total, struct logline_segment segments[2])
{
	size_t i, count = divide(managed, fd, total, segments);

	for (i = 0; i < count; i++)
		if (segments[i].request == NULL)
			segments[i].request = current_ambient();
	return count;
}

static void forget_queued(struct queued *queued)
{
	struct request *request = queued->request;

	queued->request = NULL;
	queued->len = 0;
	request_unref(request);
}

static void remember_queued(struct managed *m, int fd, size_t len)
{
	size_t i;

	for (i = 0; i < QUEUED_STREAMS; i++) {
		if (m->queued[i].len == 0) {
			m->queued[i] = (struct queued){ fd, len, request_ref(managed_known()) };
			return;
		}
	}
}

void managed_wrote(int fd, size_t total, ssize_t taken)
{
	struct managed *m = managed;
	struct queued *queued = m == NULL ? NULL : find_queued(m, fd);
	size_t rest = taken > 0 ? total - (size_t)taken : total;

	if (m == NULL)
		return;
	if (m->words[MANAGED_SLOT] == MANAGED_SILENT) {
		if (queued == NULL || taken <= 0)
			return;
		if (queued->len > (size_t)taken)
			queued->len -= (size_t)taken;
		else
			forget_queued(queued);
		return;
	}
	/* Two streams on one descriptor, of which this one does not queue: what is queued may now be anybody's. */
	if (queued != NULL)
		forget_queued(queued);
	if (rest > 0 && m->words[MANAGED_QUEUES] != 0)
		remember_queued(m, fd, rest);
}

/* How much of a line of `len` bytes fits one record? */
static size_t record_part(const char *line, size_t len, bool cut)
{
	if (len <= LIMIT_LOG_LINE || (!cut && len <= LOGLINE_OBJECT_MAX && record_is_object(line, len)))
		return len;
	len = json_utf8_cut(line, LIMIT_LOG_LINE);
	return len > 0 ? len : LIMIT_LOG_LINE;
}

size_t managed_stamp(enum record_stream stream, int32_t slot, const char *lines, size_t len, char *out, size_t room,
                     size_t *consumed)
{
	const struct request *request = managed_request(slot) != NULL ? managed_request(slot) : current_ambient();
	struct record_source source = {
		.ctx = request == NULL ? NULL : &request->ctx,
		.stream = stream,
		.pid = os_pid(),
		.tid = os_tid(),
		.time_ns = os_realtime_ns(),
	};
	bool cut = managed != NULL && managed->cut;
	size_t used = 0, at = 0;

	while (at < len) {
		const char *line = lines + at, *eol = memchr(line, '\n', len - at);
		size_t rest = eol == NULL ? len - at : (size_t)(eol - line), part = record_part(line, rest, cut);
		unsigned how;

		if (used + (part > LIMIT_LOG_LINE ? RECORD_OBJECT_BOUND(part) : RECORD_BOUND(part)) > room)
			break;
		source.partial = part < rest;
		source.rest = cut;
		used += record_format(&source, line, part, out + used, &how);
		cut = part < rest;
		at += part + (part == rest && eol != NULL);
	}
	if (managed != NULL)
		managed->cut = cut;
	*consumed = at;
	return used;
}

/* ---- calls ---- */

/*
 * In whose name is a call made of which the runtime says no request? A process that serves has nobody; another one has its
 * own trace, or a new one for the call. With a reference.
 */
static struct request *ambient_caller(void)
{
	struct request *caller = current_ambient();

	if (caller != NULL)
		return request_ref(caller);
	if (current_serves() || !config.root || (caller = request_new()) == NULL)
		return NULL;
	caller->origin = REQUEST_LOCAL;
	propagate_fresh(&caller->ctx);
	request_advance(caller, REQUEST_LIVE);
	return caller;
}

/* What the call's span has to know of it. */
static void tell_call(struct managed_called *called, const struct request *caller, const uint8_t span_id[8])
{
	const struct trace_context *ctx = &caller->ctx;
	size_t len = ctx->tracestate.len;

	span_describe_call(&called->ids, caller, span_id);
	called->tracestate_len = (uint16_t)(len < sizeof(called->tracestate) ? len : sizeof(called->tracestate));
	if (called->tracestate_len > 0)
		memcpy(called->tracestate, ctx->text.data + ctx->tracestate.off, called->tracestate_len);
	called->known = true;
}

size_t managed_call(int32_t slot, const char *fields, size_t len, const char *host, size_t host_len, char *out,
                    struct managed_called *called)
{
	struct request *caller = request_ref(managed_request(slot));
	const char *at = fields, *value;
	char name[LIMIT_HEADER_NAME];
	size_t name_len, value_len, n = 0;
	uint32_t own = 0;
	uint8_t span_id[8];

	counters_count(calls);
	while (next_field(&at, fields + len, name, &name_len, &value, &value_len))
		own |= propagate_own_header(name, name_len);
	if (called != NULL)
		called->known = false;
	if (caller == NULL)
		caller = ambient_caller();
	if (own & PROPAGATE_HAS_TRACE) {
		counters_count(calls_own_headers);
	} else if (caller == NULL) {
		counters_count(calls_unknown);
	} else {
		ids_generate_span(span_id);
		if (called != NULL)
			tell_call(called, caller, span_id);
		if (config.propagate_hosts.len > 0 && !config_host_allowed(host, host_len))
			counters_count(calls_not_allowed);
		else
			n = propagate_format_headers(&caller->ctx, span_id, own, out);
		if (n > 0)
			counters_count(calls_injected);
	}
	request_unref(caller);
	return n;
}

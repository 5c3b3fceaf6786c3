/*
 * Two circles, of spans and of lines; the newest takes the place of the oldest. A record is one block: the numbers and its
 * texts, cut at TEXT_MAX. Memory: the two circles, and at most STORE_BYTES of records; over that the oldest go. Questions walk
 * all of it: they are asked by people.
 */
#include "store.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "otlp_json.h"
#include "semconv.h"

enum { STORE_SPANS = 20000, STORE_LINES = 50000, STORE_BYTES = 48 * 1024 * 1024, TEXT_MAX = 400, LINE_MAX_KEPT = 4096 };
enum { ROUTES_MAX = 500 };
/* Of a trace's JSON, about: it is made in memory for each visitor, who may read it slowly. */
enum { TRACE_BYTES = 8 * 1024 * 1024 };

struct stored {
	uint64_t start_ns, end_ns, first_byte_ns, bytes_in, bytes_out;
	uint8_t trace_id[16], span_id[8], parent_id[8];
	uint32_t size;
	uint16_t status;
	uint8_t kind, severity; /* kind 0: a line */
	bool is_error;
	uint16_t service_len, method_len, route_len, path_len, host_len, error_len, text_len;
	char text[]; /* in this order */
};

struct circle {
	struct stored **at;
	unsigned room, first, count;
};

struct store {
	struct circle spans, lines;
	size_t bytes;
};

struct store *store_open(void)
{
	struct store *s = calloc(1, sizeof(*s));

	if (!s)
		return NULL;
	s->spans.room = STORE_SPANS;
	s->lines.room = STORE_LINES;
	s->spans.at = calloc(STORE_SPANS, sizeof(struct stored *));
	s->lines.at = calloc(STORE_LINES, sizeof(struct stored *));
	if (s->spans.at && s->lines.at)
		return s;
	store_close(s);
	return NULL;
}

static void store_forget(struct store *s, struct circle *c)
{
	struct stored *old;

	if (!c->count)
		return;
	old = c->at[c->first];
	s->bytes -= old->size;
	c->first = (c->first + 1) % c->room;
	c->count--;
	free(old);
}

static struct stored *store_get(const struct circle *c, unsigned i)
{
	return c->at[(c->first + i) % c->room];
}

static struct stored *store_new(struct store *s, struct circle *c, size_t text)
{
	struct stored *r;

	while (s->bytes + sizeof(*r) + text > STORE_BYTES && (s->spans.count || s->lines.count))
		store_forget(s, s->spans.count && c == &s->spans ? &s->spans : s->lines.count ? &s->lines : &s->spans);
	if (c->count == c->room)
		store_forget(s, c);
	r = c->room ? calloc(1, sizeof(*r) + text) : NULL;
	if (!r)
		return NULL;
	r->size = (uint32_t)(sizeof(*r) + text);
	s->bytes += r->size;
	c->at[(c->first + c->count++) % c->room] = r;
	return r;
}

static uint16_t store_put(char **to, const char *from, size_t len)
{
	memcpy(*to, from ? from : "", len);
	*to += len;
	return (uint16_t)len;
}

static size_t store_cut(size_t len)
{
	return len < TEXT_MAX ? len : TEXT_MAX;
}

void store_take_span(struct store *s, const struct origin *origin, const struct ring_span_read *read)
{
	const struct ring_span *span = &read->span;
	struct semconv_target target = semconv_split_target(read->text[RING_TEXT_TARGET]);
	struct ring_view route = read->text[RING_TEXT_ROUTE], host = read->text[RING_TEXT_HOST];
	const char *method = semconv_method(read), *error;
	char error_text[24], *to;
	struct stored *r;

	if (target.authority.len)
		host = target.authority;
	error = semconv_error_type(span, error_text);
	r = store_new(s, &s->spans,
	              strlen(origin->service) + strlen(method) + store_cut(route.len) + store_cut(target.path.len) +
	                      store_cut(host.len) + strlen(error));
	if (!r)
		return;
	r->start_ns = span->start_ns;
	r->end_ns = span->end_ns > span->start_ns ? span->end_ns : span->start_ns;
	r->first_byte_ns = span->first_byte_ns;
	r->bytes_in = span->bytes_in;
	r->bytes_out = span->bytes_out;
	memcpy(r->trace_id, span->trace_id, sizeof(r->trace_id));
	memcpy(r->span_id, span->span_id, sizeof(r->span_id));
	memcpy(r->parent_id, span->parent_id, sizeof(r->parent_id));
	r->status = span->status;
	r->kind = span->span_kind;
	r->is_error = semconv_is_error(span);
	to = r->text;
	r->service_len = store_put(&to, origin->service, strlen(origin->service));
	r->method_len = store_put(&to, method, strlen(method));
	r->route_len = store_put(&to, route.at, store_cut(route.len));
	r->path_len = store_put(&to, target.path.at, store_cut(target.path.len));
	r->host_len = store_put(&to, host.at, store_cut(host.len));
	r->error_len = store_put(&to, error, strlen(error));
}

void store_take_line(struct store *s, const struct origin *origin, const struct ring_line_read *read)
{
	size_t len = read->text.len < LINE_MAX_KEPT ? read->text.len : LINE_MAX_KEPT;
	struct stored *r = store_new(s, &s->lines, strlen(origin->service) + len);
	char *to;

	if (!r)
		return;
	r->start_ns = r->end_ns = read->line.time_ns;
	memcpy(r->trace_id, read->line.trace_id, sizeof(r->trace_id));
	memcpy(r->span_id, read->line.span_id, sizeof(r->span_id));
	r->severity = read->line.severity;
	to = r->text;
	r->service_len = store_put(&to, origin->service, strlen(origin->service));
	r->text_len = store_put(&to, read->text.at, len);
}

static void put_text(struct buffer *out, const char *name, const char *text, size_t len)
{
	buffer_put_text(out, ",\"");
	buffer_put_text(out, name);
	buffer_put_text(out, "\":");
	buffer_put_quoted(out, text, len);
}

static void put_time(struct buffer *out, const char *name, uint64_t ns)
{
	buffer_put_text(out, ",\"");
	buffer_put_text(out, name);
	buffer_put_text(out, "\":\"");
	buffer_put_number(out, ns);
	buffer_put_text(out, "\"");
}

static void put_id(struct buffer *out, const char *name, const uint8_t *id, size_t len)
{
	bool any = false;

	for (size_t i = 0; i < len; i++)
		any = any || id[i];
	buffer_put_text(out, ",\"");
	buffer_put_text(out, name);
	buffer_put_text(out, "\":\"");
	if (any)
		buffer_put_hex(out, id, len);
	buffer_put_text(out, "\"");
}

static void put_span(struct buffer *out, const struct stored *r)
{
	const char *text = r->text;

	buffer_put_text(out, "{\"kind\":");
	buffer_put_number(out, r->kind);
	put_id(out, "trace", r->trace_id, sizeof(r->trace_id));
	put_id(out, "span", r->span_id, sizeof(r->span_id));
	put_id(out, "parent", r->parent_id, sizeof(r->parent_id));
	put_time(out, "start", r->start_ns);
	put_time(out, "end", r->end_ns);
	put_time(out, "firstByte", r->first_byte_ns);
	put_time(out, "bytesIn", r->bytes_in);
	put_time(out, "bytesOut", r->bytes_out);
	buffer_put_text(out, ",\"status\":");
	buffer_put_number(out, r->status);
	buffer_put_text(out, r->is_error ? ",\"isError\":true" : ",\"isError\":false");
	put_text(out, "service", text, r->service_len);
	put_text(out, "method", text += r->service_len, r->method_len);
	put_text(out, "route", text += r->method_len, r->route_len);
	put_text(out, "path", text += r->route_len, r->path_len);
	put_text(out, "host", text += r->path_len, r->host_len);
	put_text(out, "error", text + r->host_len, r->error_len);
	buffer_put_text(out, "}");
}

static void put_line(struct buffer *out, const struct stored *r)
{
	buffer_put_text(out, "{\"severity\":");
	buffer_put_quoted(out, otlp_severity(r->severity), strlen(otlp_severity(r->severity)));
	put_id(out, "span", r->span_id, sizeof(r->span_id));
	put_time(out, "time", r->start_ns);
	put_text(out, "service", r->text, r->service_len);
	put_text(out, "text", r->text + r->service_len, r->text_len);
	buffer_put_text(out, "}");
}

/* Does the trace id begin with these hex digits? */
static bool is_trace(const struct stored *r, const char *hex)
{
	static const char digit[] = "0123456789abcdef";

	for (size_t i = 0; hex[i]; i++)
		if (i >= 32 ||
		    (hex[i] | 0x20) != (digit[i % 2 ? r->trace_id[i / 2] & 15 : r->trace_id[i / 2] >> 4] | 0x20))
			return false;
	return true;
}

static bool store_matches(const struct stored *r, const struct store_filter *f)
{
	const char *method = r->text + r->service_len;
	size_t len = strlen(f->text);

	if (r->kind != RING_SPAN_SERVER || r->end_ns - r->start_ns < f->slower_ns || (f->errors && !r->is_error))
		return false;
	if (f->status && (f->status < 10 ? r->status / 100u : r->status) != f->status)
		return false;
	if (*f->service && (strlen(f->service) != r->service_len || memcmp(f->service, r->text, r->service_len) != 0))
		return false;
	if (len && !memmem(method, r->method_len, f->text, len) &&
	    !memmem(method + r->method_len, r->route_len, f->text, len) &&
	    !memmem(method + r->method_len + r->route_len, r->path_len, f->text, len))
		return false;
	return is_trace(r, f->trace);
}

void store_put_requests(const struct store *s, const struct store_filter *filter, struct buffer *out)
{
	unsigned found = 0;

	buffer_put_text(out, "{\"requests\":[");
	for (unsigned i = s->spans.count; i-- > 0 && found < filter->limit;) {
		const struct stored *r = store_get(&s->spans, i);

		if (!store_matches(r, filter))
			continue;
		if (found++)
			buffer_put(out, ",", 1);
		put_span(out, r);
	}
	buffer_put_text(out, "]}");
}

static int store_compare(const void *left, const void *right)
{
	const struct stored *a = *(struct stored *const *)left, *b = *(struct stored *const *)right;

	return a->start_ns < b->start_ns ? -1 : a->start_ns > b->start_ns;
}

/* Returns how many there was no room for. */
static unsigned store_put_sorted(const struct circle *c, const char *trace, struct buffer *out, size_t room,
                                 void (*put)(struct buffer *out, const struct stored *r))
{
	struct stored **found = malloc((c->count + 1) * sizeof(struct stored *));
	unsigned count = 0, i;

	for (i = 0; found && i < c->count; i++)
		if (is_trace(store_get(c, i), trace))
			found[count++] = store_get(c, i);
	if (count)
		qsort(found, count, sizeof(struct stored *), store_compare);
	for (i = 0; i < count && out->len < room; i++) {
		if (i)
			buffer_put(out, ",", 1);
		put(out, found[i]);
	}
	free(found);
	return count - i;
}

void store_put_trace(const struct store *s, const char *trace, struct buffer *out)
{
	unsigned left;

	buffer_put_text(out, "{\"spans\":[");
	left = store_put_sorted(&s->spans, trace, out, TRACE_BYTES / 4 * 3, put_span);
	buffer_put_text(out, "],\"lines\":[");
	left += store_put_sorted(&s->lines, trace, out, TRACE_BYTES, put_line);
	buffer_put_text(out, "],\"left\":");
	buffer_put_number(out, left);
	buffer_put_text(out, "}");
}

/* By service and "method route", or the method alone where no route is known. */
static int store_compare_route(const void *left, const void *right)
{
	const struct stored *a = *(struct stored *const *)left, *b = *(struct stored *const *)right;
	size_t a_len = (size_t)a->service_len + a->method_len + a->route_len;
	size_t b_len = (size_t)b->service_len + b->method_len + b->route_len;
	int order = memcmp(a->text, b->text, a_len < b_len ? a_len : b_len);
	uint64_t a_ns = a->end_ns - a->start_ns, b_ns = b->end_ns - b->start_ns;

	if (!order)
		order = a_len < b_len ? -1 : a_len > b_len;
	return order ? order : a_ns < b_ns ? -1 : a_ns > b_ns;
}

static bool store_same_route(const struct stored *a, const struct stored *b)
{
	return a->service_len == b->service_len && a->method_len == b->method_len && a->route_len == b->route_len &&
	       memcmp(a->text, b->text, (size_t)a->service_len + a->method_len + a->route_len) == 0;
}

/* A run of one route's requests, sorted by duration. */
static void put_route(struct buffer *out, struct stored *const *run, unsigned count)
{
	const struct stored *r = run[0];
	unsigned errors = 0;

	for (unsigned i = 0; i < count; i++)
		errors += run[i]->is_error;
	buffer_put_text(out, "{\"count\":");
	buffer_put_number(out, count);
	buffer_put_text(out, ",\"errors\":");
	buffer_put_number(out, errors);
	put_time(out, "p50", run[count / 2]->end_ns - run[count / 2]->start_ns);
	put_time(out, "p95", run[(uint64_t)count * 95 / 100]->end_ns - run[(uint64_t)count * 95 / 100]->start_ns);
	put_time(out, "max", run[count - 1]->end_ns - run[count - 1]->start_ns);
	put_text(out, "service", r->text, r->service_len);
	put_text(out, "method", r->text + r->service_len, r->method_len);
	put_text(out, "route", r->text + r->service_len + r->method_len, r->route_len);
	buffer_put_text(out, "}");
}

void store_put_overview(const struct store *s, struct buffer *out)
{
	struct stored **sorted = malloc((s->spans.count + 1) * sizeof(struct stored *));
	unsigned count = 0, routes = 0;

	buffer_put_text(out, "{\"routes\":[");
	for (unsigned i = 0; sorted && i < s->spans.count; i++)
		if (store_get(&s->spans, i)->kind == RING_SPAN_SERVER)
			sorted[count++] = store_get(&s->spans, i);
	if (count)
		qsort(sorted, count, sizeof(struct stored *), store_compare_route);
	for (unsigned from = 0, to; from < count && routes < ROUTES_MAX; from = to) {
		for (to = from + 1; to < count && store_same_route(sorted[from], sorted[to]); to++)
			;
		if (routes++)
			buffer_put(out, ",", 1);
		put_route(out, sorted + from, to - from);
	}
	buffer_put_text(out, "]}");
	free(sorted);
}

void store_close(struct store *s)
{
	if (!s)
		return;
	while (s->spans.at && s->spans.count)
		store_forget(s, &s->spans);
	while (s->lines.at && s->lines.count)
		store_forget(s, &s->lines);
	free(s->spans.at);
	free(s->lines.at);
	free(s);
}

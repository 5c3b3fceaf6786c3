/*
 * A histogram for each (service, kind, method, route, status): the conventions' http.server.request.duration and
 * http.client.request.duration. Never the raw path: only routes that a framework told. Found by a hash over an open table;
 * METRICS_MAX series, then all that is new counts as route "other" of its service, or not at all when even that is full.
 * Unsampled requests count too: that is what metrics are for.
 */
#include "metrics.h"

#include <stdio.h>
#include <stdlib.h>

#include "semconv.h"
#include "../utf8.h"

enum { METRICS_MAX = 2000, METRICS_SLOTS = 4096, METRICS_BUCKETS = 14, METRICS_TEXT = 160 };

/* In ms: the boundaries that the conventions advise. */
static const uint32_t metrics_bounds[METRICS_BUCKETS] = { 5,   10,  25,   50,   75,   100,  250,
	                                                  500, 750, 1000, 2500, 5000, 7500, 10000 };

struct metrics_series {
	bool server;
	uint16_t status;
	char service[96], method[8], route[METRICS_TEXT], error[24];
	uint64_t bucket[METRICS_BUCKETS + 1], count;
	double sum_s;
};

struct metrics {
	struct metrics_series *slot[METRICS_SLOTS];
	unsigned count;
	uint64_t left_out;
};

struct metrics *metrics_open(void)
{
	return calloc(1, sizeof(struct metrics));
}

static uint32_t metrics_hash(const struct metrics_series *k)
{
	const char *texts[] = { k->service, k->method, k->route, k->error };
	uint32_t hash = 2166136261u ^ k->status ^ ((uint32_t)k->server << 16);

	for (unsigned i = 0; i < 4; i++)
		for (const char *c = texts[i]; *c; c++)
			hash = (hash ^ (unsigned char)*c) * 16777619u;
	return hash;
}

static struct metrics_series *metrics_find(struct metrics *m, const struct metrics_series *k, bool make)
{
	for (uint32_t i = metrics_hash(k);; i++) {
		struct metrics_series **slot = &m->slot[i % METRICS_SLOTS], *s = *slot;

		if (!s) {
			if (!make)
				return NULL;
			s = malloc(sizeof(*s));
			if (!s)
				return NULL;
			*s = *k;
			m->count++;
			return *slot = s;
		}
		if (s->status == k->status && s->server == k->server && strcmp(s->service, k->service) == 0 &&
		    strcmp(s->method, k->method) == 0 && strcmp(s->route, k->route) == 0 &&
		    strcmp(s->error, k->error) == 0)
			return s;
	}
}

/* As it will be shown: what is neither printable nor UTF-8 is a '?'. Two names that look the same must be one series. */
static void metrics_copy(char *to, size_t room, const char *from, size_t len)
{
	size_t used = 0, n;
	uint32_t code;

	for (size_t at = 0; at < len; at += n) {
		bool ascii = from[at] >= 0x20 && from[at] < 0x7f;

		n = ascii ? 1 : (unsigned char)from[at] >= 0x80 ? utf8_character(from + at, len - at, &code) : 0;
		if (used + (n ? n : 1) >= room)
			break;
		memcpy(to + used, n ? from + at : "?", n ? n : 1);
		n = n ? n : 1;
		used += n;
	}
	to[used] = '\0';
}

void metrics_take(struct metrics *m, const struct origin *origin, const struct ring_span_read *span)
{
	struct ring_view route = span->text[RING_TEXT_ROUTE];
	struct metrics_series key = { .server = span->span.span_kind == RING_SPAN_SERVER, .status = span->span.status },
			      *s;
	uint64_t ns = span->span.end_ns > span->span.start_ns ? span->span.end_ns - span->span.start_ns : 0;
	char error[24];
	unsigned i = 0;

	metrics_copy(key.service, sizeof(key.service), origin->service, strlen(origin->service));
	snprintf(key.method, sizeof(key.method), "%s", semconv_method(span));
	metrics_copy(key.route, sizeof(key.route), route.at, route.len);
	snprintf(key.error, sizeof(key.error), "%s", semconv_error_type(&span->span, error));
	s = metrics_find(m, &key, m->count < METRICS_MAX);
	if (!s && key.route[0]) {
		snprintf(key.route, sizeof(key.route), "other");
		s = metrics_find(m, &key, m->count < METRICS_SLOTS - METRICS_MAX);
	}
	if (!s) {
		m->left_out++;
		return;
	}
	while (i < METRICS_BUCKETS && ns > (uint64_t)metrics_bounds[i] * 1000000)
		i++;
	s->bucket[i]++;
	s->count++;
	s->sum_s += (double)ns / 1e9;
}

/* A label's value: \ and " escaped; there is nothing else that would have to be (metrics_copy). */
static void metrics_put_label(struct buffer *out, const char *name, const char *value)
{
	buffer_put_text(out, name);
	buffer_put(out, "=\"", 2);
	for (const char *c = value; *c; c++) {
		if (*c == '\\' || *c == '"')
			buffer_put(out, "\\", 1);
		buffer_put(out, c, 1);
	}
	buffer_put(out, "\"", 1);
}

static void metrics_put_series(struct buffer *out, const struct metrics_series *s, const char *suffix, const char *le)
{
	char status[8] = "";

	if (s->status)
		snprintf(status, sizeof(status), "%u", (unsigned)s->status);
	buffer_put_text(out,
	                s->server ? "http_server_request_duration_seconds" : "http_client_request_duration_seconds");
	buffer_put_text(out, suffix);
	buffer_put_text(out, "{");
	metrics_put_label(out, "service_name", s->service);
	metrics_put_label(out, ",http_request_method", s->method);
	metrics_put_label(out, ",http_route", s->route);
	metrics_put_label(out, ",http_response_status_code", status);
	metrics_put_label(out, ",error_type", s->error);
	if (le)
		metrics_put_label(out, ",le", le);
	buffer_put_text(out, "} ");
}

static void metrics_put_histogram(struct buffer *out, const struct metrics_series *s)
{
	char text[64];
	uint64_t sum = 0;

	for (unsigned i = 0; i <= METRICS_BUCKETS; i++) {
		if (i < METRICS_BUCKETS)
			snprintf(text, sizeof(text), "%g", metrics_bounds[i] / 1000.0);
		else
			snprintf(text, sizeof(text), "+Inf");
		metrics_put_series(out, s, "_bucket", text);
		buffer_put_number(out, sum += s->bucket[i]);
		buffer_put(out, "\n", 1);
	}
	metrics_put_series(out, s, "_sum", NULL);
	snprintf(text, sizeof(text), "%.9g\n", s->sum_s);
	buffer_put_text(out, text);
	metrics_put_series(out, s, "_count", NULL);
	buffer_put_number(out, s->count);
	buffer_put(out, "\n", 1);
}

void metrics_put(const struct metrics *m, struct buffer *out)
{
	static const char *const heads[] = {
		"# HELP http_client_request_duration_seconds Duration of HTTP requests that were made.\n"
		"# TYPE http_client_request_duration_seconds histogram\n",
		"# HELP http_server_request_duration_seconds Duration of HTTP requests that were served.\n"
		"# TYPE http_server_request_duration_seconds histogram\n"
	};

	for (unsigned server = 0; server < 2; server++) {
		buffer_put_text(out, heads[server]);
		for (unsigned i = 0; i < METRICS_SLOTS; i++)
			if (m->slot[i] && m->slot[i]->server == server)
				metrics_put_histogram(out, m->slot[i]);
	}
	metrics_put_own(out, "traceshim_agent_series_left_out_total", "counter",
	                "Requests counted in no series for want of room.", m->left_out);
}

void metrics_put_own(struct buffer *out, const char *name, const char *type, const char *help, uint64_t value)
{
	buffer_put_text(out, "# HELP ");
	buffer_put_text(out, name);
	buffer_put(out, " ", 1);
	buffer_put_text(out, help);
	buffer_put_text(out, "\n# TYPE ");
	buffer_put_text(out, name);
	buffer_put(out, " ", 1);
	buffer_put_text(out, type);
	buffer_put(out, "\n", 1);
	buffer_put_text(out, name);
	buffer_put(out, " ", 1);
	buffer_put_number(out, value);
	buffer_put(out, "\n", 1);
}

void metrics_close(struct metrics *m)
{
	if (!m)
		return;
	for (unsigned i = 0; i < METRICS_SLOTS; i++)
		free(m->slot[i]);
	free(m);
}

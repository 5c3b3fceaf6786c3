/*
 * A file gets what there is ten times a second, so that one can follow it; back ends get their batches by size and delay, as
 * the OTEL_BSP_* and OTEL_BLRP_* variables say. A batch that is full goes at once, in the middle of a drain: so what is not
 * sent yet is at most a batch for each, and what waits in the exporters is bounded there.
 */
#include "sinks.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "otlp_json.h"
#include "../text.h"

enum { FILE_DELAY_NS = 100 * 1000 * 1000, FILE_BATCH = 512 };

static bool sink_open(struct sinks *s, struct sink *sink, const struct settings_target *t, const char *name,
                      const char *items, const char *empty)
{
	struct exporter_settings e = {
		.name = name,
		.items = items,
		.url = t->url,
		.empty = empty,
		.headers = (const char *const *)t->headers,
		.gzip = t->gzip,
		.certificate = t->certificate,
		.client_certificate = t->client_certificate,
		.client_key = t->client_key,
		.timeout_ms = t->timeout_ms,
		.retry_ms = s->settings->retry_ms,
		.queue_items = t->queue,
		.spool_dir = s->spool_dir,
		.spool_bytes = s->settings->spool_bytes,
	};

	if (!t->url)
		return true;
	sink->batch.max_count = t->batch;
	sink->delay_ns = (uint64_t)t->delay_ms * 1000000;
	sink->exporter = exporter_open(s->multi, &e);
	return sink->exporter != NULL;
}

/* The spool is a convenience: an agent that has none goes on, and says so. */
static void sinks_open_spool(struct sinks *s)
{
	const char *folder = s->settings->spool_dir;
	struct stat st;

	if (!s->settings->traces.url && !s->settings->logs.url && !s->settings->loki.url)
		return;
	if (folder && (mkdir(folder, 0700) == 0 || errno == EEXIST))
		s->spool_dir = open(folder, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	/* In a folder of everybody's, somebody else may have made it. */
	if (s->spool_dir >= 0 && (fstat(s->spool_dir, &st) != 0 || st.st_uid != geteuid())) {
		close(s->spool_dir);
		s->spool_dir = -1;
		errno = EACCES;
	}
	if (s->spool_dir < 0)
		text_error("agent: the spool %s cannot be used: %s; what waits for a back end is kept in memory only",
		           folder ? folder : "", strerror(errno));
}

bool sinks_open(struct sinks *s, const struct settings *settings, CURLM *multi)
{
	*s = (struct sinks){ .settings = settings, .multi = multi, .spool_dir = -1 };
	s->traces.batch.kind = s->file_spans.kind = BATCH_SPANS;
	s->logs.batch.kind = s->file_lines.kind = BATCH_LINES;
	s->loki.batch.kind = BATCH_LOKI;
	s->file_spans.max_count = s->file_lines.max_count = FILE_BATCH;
	sinks_open_spool(s);
	if (settings->spans_file) {
		s->have_file = span_file_open(&s->file, settings->spans_file);
		if (!s->have_file)
			return false;
	}
	if (settings->ui || settings->metrics) {
		s->metrics = metrics_open();
		if (!s->metrics)
			return false;
	}
	if (settings->ui) {
		s->store = store_open();
		if (!s->store)
			return false;
	}
	return sink_open(s, &s->traces, &settings->traces, "traces", "spans", "{\"resourceSpans\":[]}") &&
	       sink_open(s, &s->logs, &settings->logs, "logs", "lines", "{\"resourceLogs\":[]}") &&
	       sink_open(s, &s->loki, &settings->loki, "loki", "lines", "{\"streams\":[]}");
}

static void sinks_send(struct sinks *s, struct sink *sink)
{
	unsigned count = sink->batch.count;

	if (!count)
		return;
	buffer_clear(&s->request);
	if (batch_render(&sink->batch, &s->request))
		exporter_take(sink->exporter, s->request.at, s->request.len, count);
	else
		s->no_memory += count;
}

static void sinks_write(struct sinks *s, struct batch *batch)
{
	unsigned count = batch->count;

	if (!count)
		return;
	buffer_clear(&s->request);
	if (batch_render(batch, &s->request)) {
		buffer_put(&s->request, "\n", 1);
		span_file_write(&s->file, s->request.at, s->request.len, count);
	} else {
		s->no_memory += count;
	}
}

/* The item that was just written to s->item goes into this batch. */
static void sinks_batch(struct sinks *s, struct batch *batch, struct origin *origin)
{
	struct buffer *to = batch_add(batch, origin, s->now_ns);

	if (!batch->count)
		batch->first_item = s->taken - 1;
	if (!to) {
		s->no_memory++;
		return;
	}
	buffer_put(to, s->item.at, s->item.len);
	batch_added(batch);
}

static void sinks_deliver(struct sinks *s, struct sink *sink, struct batch *file, struct origin *origin)
{
	if (s->item.failed) {
		s->no_memory++;
		return;
	}
	if (sink->exporter) {
		sinks_batch(s, &sink->batch, origin);
		if (batch_is_full(&sink->batch))
			sinks_send(s, sink);
	}
	if (file && s->have_file) {
		sinks_batch(s, file, origin);
		if (batch_is_full(file))
			sinks_write(s, file);
	}
}

void sinks_take_span(void *owner, struct origin *origin, const struct ring_span_read *span)
{
	struct sinks *s = owner;

	s->taken++;
	if (s->metrics)
		metrics_take(s->metrics, origin, span);
	if (!sampler_takes(&s->settings->sampler, &span->span)) {
		s->unsampled++;
		return;
	}
	if (s->store)
		store_take_span(s->store, origin, span);
	if (!s->traces.exporter && !s->have_file)
		return;
	buffer_clear(&s->item);
	otlp_put_span(&s->item, span);
	sinks_deliver(s, &s->traces, &s->file_spans, origin);
}

void sinks_take_line(void *owner, struct origin *origin, const struct ring_line_read *line)
{
	struct sinks *s = owner;

	s->taken++;
	if (s->store)
		store_take_line(s->store, origin, line);
	if (s->logs.exporter || s->have_file) {
		buffer_clear(&s->item);
		otlp_put_line(&s->item, line, s->observed_ns);
		sinks_deliver(s, &s->logs, &s->file_lines, origin);
	}
	if (s->loki.exporter) {
		buffer_clear(&s->item);
		loki_put_line(&s->item, line);
		sinks_deliver(s, &s->loki, NULL, origin);
	}
}

uint64_t sinks_taken(void *owner)
{
	const struct sinks *s = owner;

	return s->taken;
}

uint64_t sinks_safe(void *owner)
{
	const struct sinks *s = owner;
	const struct batch *batches[] = { &s->traces.batch, &s->logs.batch, &s->loki.batch, &s->file_spans,
		                          &s->file_lines };
	uint64_t safe = s->taken;

	for (unsigned i = 0; i < sizeof(batches) / sizeof(batches[0]); i++)
		if (batches[i]->count && batches[i]->first_item < safe)
			safe = batches[i]->first_item;
	return safe;
}

void sinks_flush(struct sinks *s, bool all)
{
	struct sink *sinks[] = { &s->traces, &s->logs, &s->loki };

	for (unsigned i = 0; i < 3; i++)
		if (all || s->now_ns - sinks[i]->batch.since_ns >= sinks[i]->delay_ns)
			sinks_send(s, sinks[i]);
	if (!s->have_file)
		return;
	if (all || s->now_ns - s->file_spans.since_ns >= FILE_DELAY_NS)
		sinks_write(s, &s->file_spans);
	if (all || s->now_ns - s->file_lines.since_ns >= FILE_DELAY_NS)
		sinks_write(s, &s->file_lines);
	span_file_step(&s->file);
}

static int sinks_sooner(int most, uint64_t now_ns, const struct batch *batch, uint64_t delay_ns)
{
	uint64_t waited = now_ns - batch->since_ns;
	int ms = waited >= delay_ns ? 0 : (int)((delay_ns - waited) / 1000000) + 1;

	return batch->count && ms < most ? ms : most;
}

int sinks_step(struct sinks *s, int most)
{
	struct sink *sinks[] = { &s->traces, &s->logs, &s->loki };
	int running, due;
	CURLMsg *message;

	curl_multi_perform(s->multi, &running);
	while ((message = curl_multi_info_read(s->multi, &running))) {
		struct exporter *exporter = NULL;

		if (message->msg == CURLMSG_DONE &&
		    curl_easy_getinfo(message->easy_handle, CURLINFO_PRIVATE, (char **)&exporter) == CURLE_OK)
			exporter_done(exporter, message->data.result, s->now_ns);
	}
	for (unsigned i = 0; i < 3; i++) {
		if (!sinks[i]->exporter)
			continue;
		due = exporter_step(sinks[i]->exporter, s->now_ns);
		most = due >= 0 && due < most ? due : most;
		most = sinks_sooner(most, s->now_ns, &sinks[i]->batch, sinks[i]->delay_ns);
	}
	if (s->have_file) {
		most = sinks_sooner(most, s->now_ns, &s->file_spans, FILE_DELAY_NS);
		most = sinks_sooner(most, s->now_ns, &s->file_lines, FILE_DELAY_NS);
	}
	curl_multi_perform(s->multi, &running);
	return most;
}

bool sinks_are_idle(const struct sinks *s)
{
	const struct sink *sinks[] = { &s->traces, &s->logs, &s->loki };

	for (unsigned i = 0; i < 3; i++)
		if (sinks[i]->exporter && !exporter_is_idle(sinks[i]->exporter))
			return false;
	return sinks_blocked(s) < 0;
}

int sinks_blocked(const struct sinks *s)
{
	return s->have_file ? span_file_waits(&s->file) : -1;
}

bool sinks_reader_has_gone(const struct sinks *s)
{
	return s->have_file && s->file.gone;
}

uint64_t sinks_close(struct sinks *s)
{
	struct sink *sinks[] = { &s->traces, &s->logs, &s->loki };
	uint64_t left = 0;

	for (unsigned i = 0; i < 3; i++) {
		if (sinks[i]->exporter) {
			const struct exporter_counts *c = exporter_counts(sinks[i]->exporter);

			if (c->refused || c->dropped)
				text_error("agent: %s: %llu sent, %llu refused by the back end, %llu dropped",
				           i == 0 ? "spans" : "lines", (unsigned long long)c->sent,
				           (unsigned long long)c->refused, (unsigned long long)c->dropped);
			left += exporter_close(sinks[i]->exporter);
		}
		batch_free(&sinks[i]->batch);
	}
	batch_free(&s->file_spans);
	batch_free(&s->file_lines);
	if (s->have_file)
		span_file_close(&s->file);
	buffer_free(&s->item);
	buffer_free(&s->request);
	metrics_close(s->metrics);
	store_close(s->store);
	if (s->spool_dir >= 0)
		close(s->spool_dir);
	return left;
}

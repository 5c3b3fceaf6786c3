/*
 * Where spans and lines go: each is written as JSON once, and copied to the batches of every back end that wants it.
 */
#ifndef TRACESHIM_AGENT_SINKS_H
#define TRACESHIM_AGENT_SINKS_H

#include <curl/curl.h>

#include "batch.h"
#include "exporter.h"
#include "metrics.h"
#include "ring_reader.h"
#include "settings.h"
#include "span_file.h"
#include "store.h"

/* A batch and the back end it is for. */
struct sink {
	struct batch batch;
	struct exporter *exporter;
	uint64_t delay_ns;
};

struct sinks {
	const struct settings *settings;
	CURLM *multi;
	struct sink traces, logs, loki;
	struct batch file_spans, file_lines;
	struct span_file file;
	bool have_file;
	struct metrics *metrics; /* NULL: not wanted */
	struct store *store;     /* NULL: not wanted */
	struct buffer item, request;
	uint64_t taken;       /* spans and lines that were handed to us */
	uint64_t now_ns;      /* monotonic, as of the current pass */
	uint64_t observed_ns; /* the wall's */
	uint64_t unsampled, no_memory;
	int spool_dir;
};

/* False when something cannot be set up; told on stderr. To be closed either way. */
bool sinks_open(struct sinks *s, const struct settings *settings, CURLM *multi);

/* For rings_drain: `owner` is the struct sinks. What it is given is the caller's again behind the call. */
void sinks_take_span(void *owner, struct origin *origin, const struct ring_span_read *span);
void sinks_take_line(void *owner, struct origin *origin, const struct ring_line_read *line);

/* How many spans and lines have been handed to us. */
uint64_t sinks_taken(void *owner);

/* How many of these, from the first on, are done with: written, or with the exporters, who keep them on disk. */
uint64_t sinks_safe(void *owner);

/* Close the batches whose time has come, or all. */
void sinks_flush(struct sinks *s, bool all);

/* Go on with requests; returns ms until there is something to do by the clock, at most `most`. */
int sinks_step(struct sinks *s, int most);

/* Has everything been sent and written? */
bool sinks_are_idle(const struct sinks *s);

/* The descriptor of a file that takes no more now, and is to be written once it does; -1: none. */
int sinks_blocked(const struct sinks *s);

/* Did whoever read standard output go away? */
bool sinks_reader_has_gone(const struct sinks *s);

/* Let go; returns the items that are left on disk. */
uint64_t sinks_close(struct sinks *s);

#endif

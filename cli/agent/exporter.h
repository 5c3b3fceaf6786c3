/*
 * One back end: requests wait in line, on disk and the first of them in memory too, and go out one after the other.
 */
#ifndef TRACESHIM_AGENT_EXPORTER_H
#define TRACESHIM_AGENT_EXPORTER_H

#include <curl/curl.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct exporter_settings {
	const char *name;  /* traces, logs, loki: for messages and the spool's files */
	const char *items; /* what it sends, for messages */
	const char *url;
	const char *empty;          /* a request without items: asks whether the back end answers at all */
	const char *const *headers; /* "Name: value"..., NULL at the end; may be NULL */
	bool gzip;
	const char *certificate, *client_certificate, *client_key; /* files; NULL */
	unsigned timeout_ms, retry_ms;                             /* of a request; before the first repetition */
	unsigned queue_items;                                      /* kept in memory; more goes to disk */
	int spool_dir;                                             /* -1: no spool */
	uint64_t spool_bytes;
};

struct exporter_counts {
	uint64_t sent, refused, dropped; /* items: taken by the back end; not wanted by it; lost to want of room here */
	uint64_t retries;                /* requests */
	uint64_t waiting;                /* items */
};

struct exporter;

/* NULL when something is missing (told on stderr). The settings' strings are borrowed until exporter_close. */
struct exporter *exporter_open(CURLM *multi, const struct exporter_settings *settings);

/* Take over a request of `items` items: its bytes are copied (or compressed). Never waits. */
void exporter_take(struct exporter *e, const void *bytes, size_t len, unsigned items);

/* Begin what is due; returns ms until something is due by the clock, -1 when nothing is. */
int exporter_step(struct exporter *e, uint64_t now_ns);

/* A request of this exporter has ended. */
void exporter_done(struct exporter *e, CURLcode result, uint64_t now_ns);

/* Is anything left to send? */
bool exporter_is_idle(const struct exporter *e);

const struct exporter_counts *exporter_counts(const struct exporter *e);

/* Put what is left on disk (counted as dropped where there is no spool), and let go. Returns items left on disk. */
uint64_t exporter_close(struct exporter *e);

#endif

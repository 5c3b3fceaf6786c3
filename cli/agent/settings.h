/*
 * What the agent was told: options, and the variables of OpenTelemetry behind them.
 */
#ifndef TRACESHIM_AGENT_SETTINGS_H
#define TRACESHIM_AGENT_SETTINGS_H

#include <stdbool.h>
#include <stdint.h>

#include "sampler.h"

enum { SETTINGS_HEADERS_MAX = 32, SETTINGS_TOKEN_MAX = 200 };

/* One back end. */
struct settings_target {
	char *url; /* NULL: none */
	char *headers[SETTINGS_HEADERS_MAX + 1];
	bool gzip;
	const char *certificate, *client_certificate, *client_key;
	unsigned timeout_ms;
	unsigned delay_ms, queue, batch;
};

struct settings {
	const char *run_dir, *spans_file, *ui, *metrics;
	const char *token;
	char *spool_dir;
	struct settings_target traces, logs, loki;
	struct sampler sampler;
	uint64_t spool_bytes;
	unsigned retry_ms, flush_ms;
	int for_pid;      /* end with this process and its tree; 0: never */
	int ready_fd;     /* where to say that all is set up; -1: nowhere */
	bool private_dir; /* the folder is ours to remove */
};

enum settings_result { SETTINGS_OK, SETTINGS_HELP, SETTINGS_WRONG };

/* SETTINGS_WRONG: told on stderr. */
enum settings_result settings_read(struct settings *s, int argc, char **argv);

void settings_free(struct settings *s);

extern const char settings_help[];

#endif

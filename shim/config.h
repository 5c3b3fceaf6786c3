/*
 * The configuration: environment variables, and an optional file with the same keys. Read once, in the constructor;
 * constant afterwards, so that any thread and any signal handler may read it.
 */
#ifndef TRACESHIM_CONFIG_H
#define TRACESHIM_CONFIG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "limits.h"

enum log_mode { LOG_JSON, LOG_TEXT, LOG_OFF };
enum log_format { FORMAT_OTEL, FORMAT_CAMEL, FORMAT_ECS, FORMAT_DATADOG, FORMAT_GCP };

/* How far a thread that serves many connections from one event loop is trusted; see current.c. */
enum loop_trust { LOOP_AUTO, LOOP_INLINE, LOOP_SINGLE, LOOP_OFF };

/* What it takes to say whose a line or a call is; see current.c and evidence.c. */
enum attribution { ATTRIBUTION_PROVEN, ATTRIBUTION_VALIDATED };

#define PROPAGATE_TRACECONTEXT 0x01u
#define PROPAGATE_BAGGAGE 0x02u
#define PROPAGATE_B3 0x04u
#define PROPAGATE_B3MULTI 0x08u
#define PROPAGATE_JAEGER 0x10u

/* A NUL-terminated name in the configuration's own storage, with its length. */
struct config_name {
	const char *text;
	uint16_t len;
};

/* One mapped log field: the request header (or, where from_baggage, the baggage key) `source` becomes `field`. */
struct config_field {
	struct config_name source; /* lower case for a header; exact for a baggage key */
	struct config_name field;
	bool from_baggage;
};

struct config {
	bool enabled;  /* TRACESHIM_ENABLED, OTEL_SDK_DISABLED, and the process lists: false makes the object inert */
	bool excluded; /* true: not enabled because of TRACESHIM_INCLUDE or TRACESHIM_EXCLUDE (for the status) */
	bool raw;      /* TRACESHIM_RAW */
	bool root;     /* TRACESHIM_ROOT: a call outside any request gets a trace of its own */
	bool unbuffer; /* TRACESHIM_UNBUFFER: have Python write its lines when it prints them */
	bool log_terminal;                  /* TRACESHIM_LOG_TTY: rewrite a terminal's lines too */
	bool log_class;                     /* TRACESHIM_LOG_CLASS: records say how sure their ids are */
	bool export_traces, export_logs;    /* TRACESHIM_EXPORT, or OTEL_TRACES_EXPORTER and OTEL_LOGS_EXPORTER */
	struct config_name response_header; /* TRACESHIM_RESPONSE_HEADER, lower case; len 0: none */

	uint32_t ring_size; /* TRACESHIM_RING_SIZE: a power of two within the limits of ring_format.h */
	enum log_mode log_mode;
	enum log_format log_format;
	bool datadog_decimal;         /* ids as decimal of the low 64 bits */
	enum loop_trust loop_trust;   /* TRACESHIM_LOOP */
	enum attribution attribution; /* TRACESHIM_ATTRIBUTION */
	uint32_t propagators;         /* PROPAGATE_*, from OTEL_PROPAGATORS */
	uint8_t propagator_order[5];  /* the same as single bits in the configured order, 0 after the last */

	size_t correlation_count; /* TRACESHIM_HEADERS, lower case */
	struct config_name correlation[LIMIT_CORRELATION_HEADERS];
	size_t field_count; /* TRACESHIM_LOG_HEADERS, TRACESHIM_LOG_BAGGAGE */
	struct config_field field[LIMIT_LOG_FIELDS];
	uint64_t header_lengths; /* bit len-1 for each name in `correlation` and each header in `field` */

	struct config_name service;     /* OTEL_SERVICE_NAME, else OTEL_RESOURCE_ATTRIBUTES, else the program */
	struct config_name environment; /* deployment.environment(.name); len 0: none */
	struct config_name version;     /* service.version; len 0: none */
	struct config_name
		resource; /* OTEL_RESOURCE_ATTRIBUTES as it is, for the agent; len 0: none, or nothing is exported */
	struct config_name run_dir;         /* TRACESHIM_RUN_DIR */
	struct config_name log_files;       /* TRACESHIM_LOG_FILES: patterns separated by ':' */
	struct config_name propagate_hosts; /* TRACESHIM_PROPAGATE: valid patterns, ',' between; len 0: all hosts */
	struct config_name stdio_files;     /* TRACESHIM_STDIO: "dev:ino,dev:ino" of the tree's stdout, stderr */
	struct config_name traceparent, tracestate, baggage; /* the environment carrier, unparsed; len 0: none */
};

extern struct config config;

/*
 * Read the configuration out of an environment.
 *
 * envp     NULL-terminated "KEY=value" strings; not kept: what is needed is copied into `config`'s own storage
 * program  base name of the program, NUL-terminated: for the process lists and as the default service
 *
 * A value that is empty counts as unset; of a key that is there twice the first counts. A wrong value keeps the default
 * (a wrong member of a list is left out, the others stay), is counted (config_invalid) and noted; a key TRACESHIM_*
 * that is not known is counted (config_unknown) and noted. The environment wins over the file named by
 * TRACESHIM_CONFIG. Never fails; needs os_bind before, where there is such a file. Not signal-safe; once, before any
 * other thread.
 */
void config_load(char *const envp[], const char *program);

/*
 * A copy of `len` bytes that stays, in the configuration's storage; at least 4,096 bytes in all, after config_load. NULL: full.
 * Constructor only.
 */
char *config_keep(const char *text, size_t len);

/*
 * Does TRACESHIM_PROPAGATE allow this host? `host` is the value of a Host header (port allowed, any case), `len` bytes.
 * Patterns: "*", exact names, "*.example.com" (below it), ".example.com" (it and all below), IP literals; each with
 * ":port" or without (any port). A host without a port matches ":80" and ":443". A list of which no entry was valid
 * allows none: a mistyped restriction must not turn into no restriction. Signal-safe.
 */
bool config_host_allowed(const char *host, size_t len);

/* Are log lines looked at, to be rewritten or to be exported? */
static inline bool config_reads_logs(void)
{
	return config.log_mode != LOG_OFF || config.export_logs;
}

/*
 * Does the absolute path `path` (NUL-terminated) match TRACESHIM_LOG_FILES? Globs: ? and * do not match '/', ** does;
 * [a-z], [!a-z], \x. A pattern without '/' is for the base name. Byte-wise, whatever the locale. Signal-safe.
 */
bool config_is_log_file(const char *path);

#endif

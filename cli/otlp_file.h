/*
 * Spans and log lines out of lines of OTLP JSON, as `traceshim agent --spans` and the collector's file exporter write them.
 */
#ifndef TRACESHIM_CLI_OTLP_FILE_H
#define TRACESHIM_CLI_OTLP_FILE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* A span, or (kind 0) a log line. Strings are never NULL; ids are "" where there is none. */
struct otlp_item {
	uint64_t start_ns, end_ns; /* a line: when it was written, twice */
	char trace[33], span[17], parent[17];
	int kind; /* of OTLP: 2 server, 3 client; 0: a log line */
	bool error;
	unsigned status;  /* HTTP's, 0: none */
	char severity[8]; /* of a line; safe to show, the others are not */
	char *service;
	char *text;   /* the span's name, the line itself */
	char *detail; /* of a span: path or URL; error.type */
};

/* Called for each. What it shows is the caller's to copy. */
typedef void otlp_file_visit(void *owner, const struct otlp_item *item);

/* One line of a file. False when it is no OTLP JSON. */
bool otlp_file_read_line(const char *line, size_t len, otlp_file_visit *visit, void *owner);

/* A copy with strings of its own; false without memory. */
bool otlp_item_copy(struct otlp_item *to, const struct otlp_item *from);
void otlp_item_free(struct otlp_item *item);

#endif

/*
 * A file of OTLP JSON lines: one request a line, never a part of one.
 */
#ifndef TRACESHIM_AGENT_SPAN_FILE_H
#define TRACESHIM_AGENT_SPAN_FILE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "buffer.h"

struct span_file {
	const char *path;
	int fd;
	bool failing;       /* it was told that it cannot be written */
	bool may_block;     /* no regular file */
	bool blocked;       /* it took no more the last time */
	bool gone;          /* standard output, which nobody will read any more */
	struct buffer rest; /* what the disk did not take yet */
	size_t rest_at;
	uint64_t written, dropped; /* items */
};

/* Open it for appending; "-" is standard output. False when that failed (told on stderr). */
bool span_file_open(struct span_file *f, const char *path);

/* Write a line (its newline included) of so many items; what does not fit on the disk waits, in bounds. */
void span_file_write(struct span_file *f, const void *line, size_t len, unsigned items);

/* Try again with what waits. */
void span_file_step(struct span_file *f);

/* The descriptor, where somebody is slow to read what waits; -1: there is nothing to wait for. */
int span_file_waits(const struct span_file *f);

/* A last try; what cannot be written then is told. */
void span_file_close(struct span_file *f);

#endif

/*
 * Log lines for the agent: those that were written, in the ring of the thread that wrote them. Only where TRACESHIM_EXPORT
 * says logs.
 */
#ifndef TRACESHIM_LINE_EXPORT_H
#define TRACESHIM_LINE_EXPORT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

#include "record.h"
#include "severity.h"

/* Whose a line is, and when it was printed. */
struct line_origin {
	const struct trace_context *ctx; /* NULL: not known */
	uint64_t time_ns;
	int32_t tid;
	uint8_t stream; /* enum record_stream */
	bool part;      /* of a longer line, or never finished */
	bool says_id;   /* it is an object that brought a trace id along */
};

/*
 * One line, without its newline: `kept`, and behind it the bytes from..to of the vectors. Signal-safe; keeps errno. What finds no
 * room is counted (line_exports_lost).
 */
void line_export(const struct line_origin *origin, struct iovec kept, const struct iovec *iov, int count, size_t from,
                 size_t to);

/* The level that a line states; an object in the member where loggers put it, by name or by pino's numbers. Pure. */
enum severity line_severity(const char *line, size_t len);

#endif

/*
 * The severity that a log line states about itself. Pure; signal-safe.
 */
#ifndef TRACESHIM_SEVERITY_H
#define TRACESHIM_SEVERITY_H

#include <stddef.h>

enum severity {
	SEVERITY_NONE,
	SEVERITY_TRACE,
	SEVERITY_DEBUG,
	SEVERITY_INFO,
	SEVERITY_NOTICE,
	SEVERITY_WARN,
	SEVERITY_ERROR,
	SEVERITY_CRITICAL,
	SEVERITY_FATAL
};
#define SEVERITY_COUNT 9

/* How far into a line its level is looked for. */
#define SEVERITY_WINDOW 96

/*
 * What level does this line state, in the place where loggers put it: at the start, in brackets, after a timestamp, as
 * key=value? SEVERITY_NONE when it states none; a level word in the middle of a sentence states nothing.
 */
enum severity severity_detect(const char *line, size_t len);

#endif

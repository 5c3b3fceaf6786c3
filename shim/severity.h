/*
 * The severity that a log line states about itself. Pure; signal-safe.
 */
#ifndef TRACESHIM_SEVERITY_H
#define TRACESHIM_SEVERITY_H

#include <stddef.h>
#include <stdint.h>

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

/* What lines of one writer have in common at their front, and the level that follows from it. All zero: nothing. */
#define SEVERITY_MEMO 64
struct severity_memo {
	uint8_t room;                                           /* bytes of `front`, a multiple of 16; 0: not known */
	uint8_t level;                                          /* enum severity */
	uint8_t unlike;                                         /* lines since the last one that was like it */
	char front[SEVERITY_MEMO] __attribute__((aligned(16))); /* with zeros for digits */
	char looked[SEVERITY_MEMO];                             /* 0xff: a byte that counts */
};

/* The same, sooner where lines begin alike but for digits. Of one caller at a time. */
enum severity severity_detect_again(struct severity_memo *memo, const char *line, size_t len);

#endif

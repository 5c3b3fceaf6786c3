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

/*
 * What lines of one writer have in common at their front, and the level that follows from it; of the two kinds that came last. All
 * zero: nothing.
 */
#define SEVERITY_MEMO 64
#define SEVERITY_KINDS 2
struct severity_memo {
	struct {
		uint8_t room;     /* bytes of its `front`, a multiple of 16; 0: not known */
		uint8_t level;    /* enum severity */
		uint16_t ignored; /* bit i: byte i of the last 16 does not count */
	} kind[SEVERITY_KINDS];
	uint8_t last;                                                           /* the kind that a line was like last */
	uint8_t unlike;                                                         /* lines since then */
	char front[SEVERITY_KINDS][SEVERITY_MEMO] __attribute__((aligned(16))); /* with zeros for digits */
};

/* The same, sooner where lines begin alike but for digits. Of one caller at a time. */
enum severity severity_detect_again(struct severity_memo *memo, const char *line, size_t len);

#endif

/*
 * The folder of the rings: finds them, drains them, removes those of the dead.
 */
#ifndef TRACESHIM_AGENT_RINGS_H
#define TRACESHIM_AGENT_RINGS_H

#include <stdbool.h>
#include <stdint.h>

#include "origin.h"
#include "ring_reader.h"

/* What was read goes here; called with each in order of its ring. */
struct rings_sink {
	void *owner;
	void (*span)(void *owner, struct origin *origin, const struct ring_span_read *span);
	void (*line)(void *owner, struct origin *origin, const struct ring_line_read *line);
	uint64_t (*taken)(void *owner); /* how many were handed over so far */
	uint64_t (*safe)(void *owner);  /* how many of these, from the first, the end of this process cannot touch */
};

struct rings_counts {
	uint64_t spans, lines;                 /* read */
	uint64_t spans_dropped, lines_dropped; /* by guests: their ring was full */
	uint64_t bad;                          /* rings set aside */
	uint64_t passed;                       /* entries that contradicted themselves */
	uint64_t refused;                      /* rings of other agents, other users, or beyond our limit */
	uint32_t live;
};

struct rings;

/*
 * Serve a folder. An agent that has it already, or a folder that is none, is told on stderr, and NULL returned. The lock is
 * ours until rings_close.
 */
struct rings *rings_open(const char *folder);

/* A descriptor that is readable when the folder changed; -1 when there is none to be had. */
int rings_descriptor(const struct rings *r);

/* Look for new rings, if the folder changed or `look` says so. */
void rings_find(struct rings *r, bool look);

/* How full the fullest ring was, in percent: of what had not been read, and of what is read and still in nobody's safe hands. */
struct rings_full {
	unsigned unread, held;
};

/*
 * Read what waits, from all of them. Rings whose process has ended are read to their end, if `reap` says so (that asks the system
 * for each process). What was read stays in the rings until rings_release.
 */
struct rings_full rings_drain(struct rings *r, const struct rings_sink *sink, bool reap);

/*
 * The first `safe` of all that were handed over are where the end of this process cannot touch them: their room is given back, and
 * the rings of the dead that hold no others are removed.
 */
void rings_release(struct rings *r, uint64_t safe);

/* Is there one whose process lives? */
bool rings_have_live(const struct rings *r);

const struct rings_counts *rings_counts(const struct rings *r);

/* Let go of all of them; rings of living processes stay for the next agent. */
void rings_close(struct rings *r);

#endif

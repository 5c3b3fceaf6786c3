/*
 * Rings of programs that have ended, which no agent has fetched.
 */
#ifndef TRACESHIM_CLI_LEFTOVERS_H
#define TRACESHIM_CLI_LEFTOVERS_H

#include <stdint.h>

struct leftovers {
	unsigned rings;   /* that wait for an agent */
	uint64_t bytes;   /* that they take on disk */
	unsigned removed; /* older than LEFTOVERS_DAYS: gone */
};

/* After so many days nobody will look at a trace any more. */
#define LEFTOVERS_DAYS 7

/* Look through the folder of the rings, an open directory. */
struct leftovers leftovers_find(int dir);

#endif

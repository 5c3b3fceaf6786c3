/*
 * Damaged rings, set aside for a person to look at.
 */
#ifndef TRACESHIM_AGENT_ASIDE_H
#define TRACESHIM_AGENT_ASIDE_H

#include <stdbool.h>
#include <stddef.h>
#include <time.h>

#include "../../shim/ring_format.h"

/* What is put behind a ring's name. */
#define ASIDE_SUFFIX RING_SUFFIX ".bad"

/* So many of processes that are gone are kept, the newest, and none that was last written to longer ago than these days. */
enum { ASIDE_MAX = 16, ASIDE_DAYS = 7 };

/* One look at a folder: {0}, then each name in any order. */
struct aside {
	struct {
		time_t written;
		char name[80];
	} kept[ASIDE_MAX];
	size_t count;
};

/*
 * A file whose name ends in ASIDE_SUFFIX: removed, or another one in its place, if it is one too many. One of a process that still
 * runs has it mapped, and is left; so is what is no regular file, or was not named by us.
 *
 * dir   the folder, a descriptor
 */
void aside_sweep(struct aside *aside, int dir, const char *name);

#endif

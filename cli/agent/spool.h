/*
 * Requests that wait on disk for a back end: first in, first out, across restarts of the agent.
 */
#ifndef TRACESHIM_AGENT_SPOOL_H
#define TRACESHIM_AGENT_SPOOL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct spool_entry {
	uint64_t number; /* order */
	uint32_t items, bytes;
};

struct spool {
	int dir; /* of all queues */
	char name[16];
	struct spool_entry *entries; /* from `first`, oldest first */
	size_t first, count, room;
	uint64_t next; /* number: beyond all that are there */
	uint64_t bytes, bytes_max;
};

enum spool_result {
	SPOOL_OK,
	SPOOL_FULL,  /* bytes_max, or too many files */
	SPOOL_FAILED /* errno says why */
};

/* Begin with what is there under this name. `dir` is borrowed. False without memory. */
bool spool_open(struct spool *s, int dir, const char *name, uint64_t bytes_max);

/* Add one at the end. It is there whole or not at all. Its number says where in the order it is, also for the next agent. */
enum spool_result spool_add(struct spool *s, const void *bytes, size_t len, uint32_t items, uint64_t number);

/* Read the oldest into memory of its own; the file stays until spool_remove. NULL when it cannot be read. */
void *spool_read(const struct spool *s, size_t *len);

/* The oldest is done with. */
void spool_remove(struct spool *s);

static inline const struct spool_entry *spool_oldest(const struct spool *s)
{
	return s->count ? &s->entries[s->first] : NULL;
}

void spool_close(struct spool *s);

#endif

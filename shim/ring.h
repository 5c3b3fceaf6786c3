/*
 * Where finished spans and log lines are left for the agent: rings in shared files (ring_format.h). One a thread that
 * writes, made at its first entry and given back at its end for the next one; at most RING_COUNT a process, then threads
 * share. All functions are signal-safe, keep errno, and never wait longer than for another thread's copy.
 */
#ifndef TRACESHIM_RING_H
#define TRACESHIM_RING_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "ring_format.h"

/* Rings of a process. Beyond that threads share them: a server of more threads that work at a time waits for its locks. */
#define RING_COUNT 64

/* An entry that is being written. The fields are the module's own. */
struct ring_entry_place {
	struct ring *ring;
	uint64_t end; /* position behind it */
};

/*
 * Begin an entry of `size` bytes (a fixed part and texts; at most RING_ENTRY_MAX). Returns where to put it, aligned: its
 * struct ring_entry is there already, all else is the caller's to fill. NULL: dropped and counted, because the ring is full, there is none, or a
 * signal handler came upon the thread's own writing. Otherwise the caller goes on to ring_publish or ring_hold, and calls
 * nothing in between that could fail.
 */
void *ring_begin(struct ring_entry_place *place, enum ring_kind kind, size_t fixed, size_t size);
/* The same for what is to be held: what has no room now is tried again when it is finished, and not counted yet. */
void *ring_begin_held(struct ring_entry_place *place, enum ring_kind kind, size_t fixed, size_t size);
/*
 * The same in few steps, built into its caller: a ring of the thread's own, which holds nothing, and where there is room up to its end. NULL: it
 * is for ring_begin_held, nothing was done.
 */
void *ring_begin_held_usual(struct ring_entry_place *place, enum ring_kind kind, size_t fixed, size_t size);

/* The entry is finished. */
void ring_publish(struct ring_entry_place *place);

/*
 * The entry counts only if the process dies from here on: see `held` in ring_format.h. Returns a ticket for ring_settle; 0: the
 * ring is shared with other threads, and nothing was kept. The next entry of the ring takes its place, unless it was settled.
 */
uint64_t ring_hold(struct ring_entry_place *place);

/*
 * What was held counts, with the words at `patch` (the entry's, in its ring) changed first; or (`keep` false) does not
 * count. false: it is not there any more.
 */
struct ring_patch {
	uint32_t offset; /* in the entry; a multiple of 8 */
	uint64_t value;
};
bool ring_settle(uint64_t ticket, const struct ring_patch *patch, size_t count, bool keep);
/*
 * The same for one who changes the entry himself, and goes on to ring_publish: what was held. A process that dies in between leaves it
 * as it is just then. NULL: it is not there any more.
 */
void *ring_take_held(struct ring_entry_place *place, uint64_t ticket);
/* Whatever this thread holds does not count. */
void ring_drop_held(void);

/* Make this thread's ring now, while it still can be made: before chroot and the like. */
void ring_prepare(void);

/* The calling thread ends: its ring is for the next one. Harmless when it goes on. */
void ring_end_thread(void);

/* The process ends, or becomes another program: all rings are ended. Whoever writes nevertheless gets a new one. */
void ring_end_process(void);

/* The child of a fork has none. */
void ring_after_fork(void);

#endif

/*
 * What the two objects of TRACESHIM_ATTRIBUTION=validated share: libtraceshim-handoff.so sees mutexes unlocked, and knows nothing;
 * libtraceshim.so finds this structure in it by name (dlsym), fills it, and is told.
 */
#ifndef TRACESHIM_HANDOFF_H
#define TRACESHIM_HANDOFF_H

#include <stdbool.h>
#include <stdint.h>

/* Of the caller's stack: 6 registers that a call keeps, below the frame of who tells, and what lies above it. */
#define HANDOFF_SAVED 6u
#define HANDOFF_WORDS 104u

/* How far down the stack it is seen what the program writes from then on. */
#define HANDOFF_WIPED 2048u

/* A mutex that nobody waits with is no queue's: the usual unlock costs a look at one byte. A byte may stand for several mutexes. */
#define HANDOFF_FILTER 1024u

struct handoff {
	uint8_t queues[HANDOFF_FILTER]; /* atomic; set where a thread has waited on a condition with such a mutex */
	/*
	 * A queue's mutex was unlocked, and the program goes on at `site`. Called behind the real call. `frame` is the caller's
	 * frame, of which HANDOFF_SAVED words below belong to it too. Returns whether HANDOFF_WIPED bytes below those are to be
	 * cleared. Set once, before it is needed; atomic. Keeps errno.
	 */
	bool (*unlocked)(const void *mutex, uintptr_t site, const uintptr_t *frame);
};

static inline unsigned handoff_place(const void *mutex)
{
	uintptr_t at = (uintptr_t)mutex;

	return (unsigned)((at >> 3 ^ at >> 13) % HANDOFF_FILTER);
}

#endif

/*
 * Evidence for hand-offs (TRACESHIM_ATTRIBUTION=validated): which request is it that a worker takes out of a queue? See the essay in
 * evidence.c. Answers are believed only where answers that were sent have confirmed such answers before.
 *
 * In libtraceshim-handoff.so; the core knows it as traceshim_handoff (handoff.h), whose functions these are.
 */
#ifndef TRACESHIM_EVIDENCE_H
#define TRACESHIM_EVIDENCE_H

#include "handoff.h"

extern const struct handoff traceshim_handoff;

/* Of the caller's stack: 6 registers that a call keeps, below the frame of who tells, and what lies above it. */
#define EVIDENCE_SAVED 6u
#define EVIDENCE_WORDS 104u

/* How far down the stack it is seen what the program writes from then on. */
#define EVIDENCE_WIPED 2048u

/* A mutex that nobody waits with is no queue's: the usual unlock costs a look at one byte. A byte may stand for several mutexes. */
#define EVIDENCE_FILTER 1024u
extern uint8_t
	evidence_queues[EVIDENCE_FILTER]; /* atomic; set where a thread has waited on a condition with such a mutex */

static inline unsigned evidence_place(const void *mutex)
{
	uintptr_t at = (uintptr_t)mutex;

	return (unsigned)((at >> 3 ^ at >> 13) % EVIDENCE_FILTER);
}

/*
 * A queue's mutex was unlocked, and the program goes on at `site`. Called behind the real call. `frame` is the caller's frame, of
 * which EVIDENCE_SAVED words below belong to it too. Returns whether EVIDENCE_WIPED bytes below those are to be cleared.
 * Keeps errno.
 */
bool evidence_saw_unlock(const void *mutex, uintptr_t site, const uintptr_t *frame);

/*
 * This thread has unlocked a queue: it may have taken a job out. `site` is where the program goes on; `words` are `count` words of
 * its stack (and registers), of which the first are the same ones each time. May set the thread's request. Keeps errno.
 */
void evidence_unlocked(const void *queue, uintptr_t site, const uintptr_t *words, unsigned count);

/* As struct handoff has them. */
void evidence_note_queue(const void *mutex);
void evidence_leave(void);
void evidence_end_thread(void);

#endif

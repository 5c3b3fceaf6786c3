/*
 * Evidence for hand-offs (TRACESHIM_ATTRIBUTION=validated): which request is it that a worker takes out of a queue? See the essay in
 * evidence.c. Answers are believed only where answers that were sent have confirmed such answers before.
 */
#ifndef TRACESHIM_EVIDENCE_H
#define TRACESHIM_EVIDENCE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct handoff;
struct request;

/* Is anything of this in use? Constant after evidence_init. */
extern bool evidence_on;

/*
 * Start. `handoff` is where queues are seen unlocked: NULL where that object is not there (noted: nothing is validated then).
 * Constructor only.
 */
void evidence_init(struct handoff *handoff);

/* A thread waits on a condition with this mutex: it guards a queue. Signal-safe. */
void evidence_note_queue(const void *mutex);

/*
 * This thread has unlocked a queue: it may have taken a job out. `site` is where the program goes on; `words` are `count` words of
 * its stack (and registers), of which the first are the same ones each time. May set the thread's request. Keeps errno.
 */
void evidence_unlocked(const void *queue, uintptr_t site, const uintptr_t *words, unsigned count);

/* This thread is about to write the response of `request`. Called before the thread's request changes by that. */
void evidence_answers(const struct request *request);

/* What this thread does from now on has nothing to do with what it took out of a queue: it reads requests itself; or ends. */
void evidence_leave(void);
void evidence_end_thread(void);

/* Has this thread at hand what it needs to answer the job that it took? See evidence_live.c. */
bool evidence_holds(void);

#endif

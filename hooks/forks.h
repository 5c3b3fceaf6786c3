/*
 * How the child of a fork learns that it is one; see forks.c.
 */
#ifndef TRACESHIM_FORKS_H
#define TRACESHIM_FORKS_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

extern uint8_t forks_watched; /* atomic; a handler is registered */
void forks_watch_now(void);

/* From here on, forks that no hook sees are noticed too. Not in a signal handler; cheap after the first time. */
static inline void forks_watch(void)
{
	if (__builtin_expect(!__atomic_load_n(&forks_watched, __ATOMIC_RELAXED), 0))
		forks_watch_now();
}

/* Must a handler be there from the start? Where there is no telling who registers others, and for spans, which need one before. */
bool forks_unseen(void);

/* A function that forks returned this. */
void forks_done(pid_t pid);

#endif

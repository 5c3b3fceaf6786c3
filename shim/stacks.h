/*
 * Stacks other than the threads' own: coroutines run on them. Which one runs now, and what it is. See the essay in stacks.c for
 * how they are told, coroutine.h for what follows from it.
 */
#ifndef TRACESHIM_STACKS_H
#define TRACESHIM_STACKS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "request.h"

struct conn;

/*
 * One stack, as long as one coroutine has it, as far as we see that. Used by what runs on it, on one thread at a time, and by
 * who resets it, when nobody runs on it.
 */
struct stack {
	uint32_t pool_word;
	int32_t id; /* negative, another one for each coroutine: as request.reader */
	union {
		struct request *request; /* a reference */
		void *held;              /* the same */
	};
	const struct conn *conn; /* which it read on last, looked at for its generation; NULL: none yet */
	uint32_t conn_gen;
	uint32_t epoch; /* stacks_epoch when it took the request up */
	bool born;      /* we see when it is given to another coroutine */
	bool loops;     /* it has waited in an event loop */
	bool answers;   /* it has begun to answer its request */
	bool child;     /* it was forked while it worked for its request */
};

/* A birth was missed: what was bound in another epoch counts for nothing. Atomic. */
extern uint32_t stacks_epoch;

/* Some stack was told to be free when its coroutine had ended. */
extern bool stacks_are_freed;

/* On the stack of the thread that runs main, at the start. Until then every stack is its thread's own. Constructor only. */
void stacks_init(void);

/*
 * Does another stack than the thread's own run? Then *stack is it, or NULL when it is not known. `learn`: find out what it is, if
 * that can be told from the memory around; asks the kernel, once a stack. Signal-safe; errno stays as it is.
 */
bool stacks_away(struct stack **stack, bool learn);

/* A coroutine is made, which will run on these `size` bytes. What was there is over. Signal-safe. */
void stacks_born(const void *low, size_t size);

/*
 * The program has told the kernel that it does not need these pages any more, or, `unmapped`, not even their addresses: what ran on
 * a stack there has ended. Signal-safe; errno stays as it is.
 */
void stacks_freed(const void *pages, size_t len, bool unmapped);

/* In the child, before anything else runs there: of the parent's stacks only that of the thread that forked goes on. */
void stacks_after_fork(void);

#endif

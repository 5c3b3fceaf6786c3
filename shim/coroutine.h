/*
 * Which request does the coroutine work for that runs on this stack (stacks.h)? See the essay in coroutine.c. As current.h,
 * which asks here where the thread is not on its own stack; `stack` is NULL where nobody knows what stack that is.
 * Signal-safe, all of it.
 */
#ifndef TRACESHIM_COROUTINE_H
#define TRACESHIM_COROUTINE_H

#include "stacks.h"

/* Borrowed, as current_known. */
struct request *coroutine_known(const struct stack *stack);

/* The request that it read, whether that proves something or not; borrowed. */
struct request *coroutine_request(const struct stack *stack);

/* It works for nobody any more. */
void coroutine_clear(struct stack *stack);

/* It read on this served connection, whose lock is held: of `request`, or of none alone (NULL). */
void coroutine_read(struct stack *stack, const struct conn *conn, struct request *request);

/* It waits in an event loop. */
void coroutine_loops(struct stack *stack);

/* It read on a connection whose last call was made for `owner` (NULL: not known). */
void coroutine_read_reply(struct stack *stack, const struct request *owner);

/* It begins to answer `request` (NULL: not known which). Returns whether another one read that, so that reading proves nothing. */
bool coroutine_begin_response(struct stack *stack, struct request *request);

/* A request that a coroutine read was answered by somebody else. */
void coroutine_distrust(void);

/* The process was forked by it; `known`: coroutine_known's answer before. */
void coroutine_after_fork(struct stack *stack, const struct request *known);

#endif

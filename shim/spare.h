/*
 * One block of each kind that a request takes and gives back, kept by the thread that gave it back: two locked
 * instructions and the walk through the pool saved, for each of them, with every request.
 */
#ifndef TRACESHIM_SPARE_H
#define TRACESHIM_SPARE_H

#include "pool.h"

/* SPARE_CALL and those behind it: the exchange, the insertion and the span of a call that is made while another one is served. */
enum spare_kind {
	SPARE_REQUEST,
	SPARE_EXCHANGE,
	SPARE_INSERTION,
	SPARE_SPAN,
	SPARE_HEADS,
	SPARE_CALL,
	SPARE_CALL_HEAD,
	SPARE_CALL_SPAN,
	SPARE_KINDS
};

/* As pool_take and pool_give; `kind` always goes with the same pool. Signal-safe. */
void *spare_take(enum spare_kind kind, const struct pool *pool);
void spare_give(enum spare_kind kind, const struct pool *pool, void *block);

/* One that this thread has kept already, or NULL; and what a thread that keeps blocks does not need any more. */
void *spare_borrow(enum spare_kind kind, const struct pool *pool);
void spare_return(enum spare_kind kind, const struct pool *pool, void *block);

/* The calling thread ends: its blocks go back. Harmless when it goes on. */
void spare_end_thread(void);

#endif

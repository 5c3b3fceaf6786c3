/*
 * Blocks kept by threads; see spare.h.
 *
 * The thread's own word is exchanged by one instruction, so a handler that comes in between finds the block or finds none. Only
 * a thread whose end is watched keeps anything: else the block would be lost with it. In the child of a fork the one thread
 * has its own, which are not in the free list either; those of other threads are lost there, one of a kind each.
 *
 * Memory: at most one block of each kind a thread that serves or calls. Callers: any thread, signal handler or forked child.
 */
#include "spare.h"

#include <stddef.h>

#include "current.h"
#include "layout.h"
#include "own.h"

static __thread void *kept[SPARE_KINDS] __attribute__((tls_model("initial-exec")));

static const struct pool *pool_of[SPARE_KINDS]; /* where they go in the end; known from the first one taken */

static __attribute__((noinline)) void *take_new(enum spare_kind kind, const struct pool *pool)
{
	__atomic_store_n(&pool_of[kind], pool, __ATOMIC_RELAXED);
	return pool_take(pool);
}

LAYOUT_BUILT_IN void *spare_take(enum spare_kind kind, const struct pool *pool)
{
	void *block = own_swap(&kept[kind], NULL);

	return __builtin_expect(block != NULL, 1) ? block : take_new(kind, pool);
}

LAYOUT_BUILT_IN void spare_give(enum spare_kind kind, const struct pool *pool, void *block)
{
	if (__builtin_expect(!current_thread_is_watched() || !own_put(&kept[kind], block), 0))
		pool_give(pool, block);
}

LAYOUT_BUILT_IN void *spare_borrow(enum spare_kind kind, const struct pool *pool)
{
	(void)pool;
	return own_swap(&kept[kind], NULL);
}

LAYOUT_BUILT_IN void spare_return(enum spare_kind kind, const struct pool *pool, void *block)
{
	if (__builtin_expect(!own_put(&kept[kind], block), 0))
		pool_give(pool, block);
}

void spare_end_thread(void)
{
	unsigned kind;

	for (kind = 0; kind < SPARE_KINDS; kind++) {
		void *block = own_swap(&kept[kind], NULL);

		if (block != NULL)
			pool_give(__atomic_load_n(&pool_of[kind], __ATOMIC_RELAXED), block);
	}
}

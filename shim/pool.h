/*
 * Fixed-size blocks from mmap'ed chunks: lock-free, never given back to the system, usable in signal handlers and in the
 * child of a fork. A block keeps its place for the life of the process, so a stale pointer reads old data, never a fault.
 */
#ifndef TRACESHIM_POOL_H
#define TRACESHIM_POOL_H

#include <stddef.h>
#include <stdint.h>

#include "layout.h"

#define POOL_CHUNKS 20

/* What changes: all zero is an empty pool. */
struct pool_state {
	uint64_t free_head; /* tag << 32 | index + 1 of the first free block; the tag defeats ABA */
	uint32_t used;      /* blocks ever handed out: the next never-used index */
	void *chunk[POOL_CHUNKS];
};

struct pool {
	uint32_t block;     /* bytes, a multiple of 16 */
	uint32_t per_chunk; /* blocks of the first chunk; each further one has twice as many */
	struct pool_state *state;
};

/*
 * Define a pool of blocks of `size` bytes. In two parts, so that nothing of it is initialised and writable: the object has no
 * .data at all, which would be a page more for every process to copy and a mapping more to make (layout.h).
 */
#define POOL(name, size, count)                                                                                        \
	static struct pool_state name##_state LAYOUT_LATER;                                                            \
	static const struct pool name = { (uint32_t)(((size) + 15) & ~(size_t)15), count, &name##_state }

/* A block of pool->block bytes; contents are whatever was left in it (zero the first time). NULL: none to be had. */
void *pool_take(const struct pool *pool);

/* Give a block back. The first 4 bytes of the block are overwritten; the rest stays. */
void pool_give(const struct pool *pool, void *block);

#endif

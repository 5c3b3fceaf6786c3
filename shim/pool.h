/*
 * Fixed-size blocks from mmap'ed chunks: lock-free, never given back to the system, usable in signal handlers and in the
 * child of a fork. A block keeps its place for the life of the process, so a stale pointer reads old data, never a fault.
 */
#ifndef TRACESHIM_POOL_H
#define TRACESHIM_POOL_H

#include <stddef.h>
#include <stdint.h>

#define POOL_CHUNKS 20

/* All zero but `block` (bytes, multiple of 16) and `per_chunk` (blocks of the first chunk; each further one has twice as many) is an empty pool. */
struct pool {
	uint32_t block, per_chunk;
	uint64_t free_head; /* tag << 32 | index + 1 of the first free block; the tag defeats ABA */
	uint32_t used;      /* blocks ever handed out: the next never-used index */
	void *chunk[POOL_CHUNKS];
};

/* A block of pool->block bytes; contents are whatever was left in it (zero the first time). NULL: none to be had. */
void *pool_take(struct pool *pool);

/* Give a block back. The first 4 bytes of the block are overwritten; the rest stays. */
void pool_give(struct pool *pool, void *block);

#endif

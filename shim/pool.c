/*
 * Lock-free pools of fixed-size blocks.
 *
 * Blocks are numbered. Chunk c holds per_chunk << c of them, so a few chunks reach any size, and a block's number is found
 * by looking through them. Free blocks form a stack: the head is one 64-bit word, {tag, number + 1}; every change bumps
 * the tag, so a compare-and-swap by a thread that slept through a take and a give fails (the ABA problem; R. K. Treiber,
 * IBM RJ 5118, 1986). Reading the link of a block that somebody else has just taken is harmless: blocks are never unmapped.
 *
 * May be called from any thread, signal handler or forked child: a half-done operation of an interrupted thread leaves
 * the word as it was or as it will be. Memory: bounded by what was in use at one time, rounded up to a chunk.
 */
#include "pool.h"

#include <sys/mman.h>

#include "os.h"
#include "own.h"

static uint64_t chunk_first(const struct pool *pool, unsigned c)
{
	return (((uint64_t)1 << c) - 1) * pool->per_chunk;
}

static size_t chunk_bytes(const struct pool *pool, unsigned c)
{
	return ((size_t)pool->per_chunk << c) * pool->block;
}

static char *block_at(const struct pool *pool, uint32_t index)
{
	unsigned c = 0;
	char *base;

	if (__builtin_expect(index < pool->per_chunk, 1))
		return (char *)__atomic_load_n(&pool->state->chunk[0], __ATOMIC_ACQUIRE) + (size_t)index * pool->block;
	while (chunk_first(pool, c + 1) <= index)
		c++;
	base = __atomic_load_n(&pool->state->chunk[c], __ATOMIC_ACQUIRE);
	return base + (index - chunk_first(pool, c)) * pool->block;
}

static int chunk_map(const struct pool *pool, unsigned c)
{
	void *none = NULL;
	void *pages;

	if (c >= POOL_CHUNKS)
		return -1;
	if (__atomic_load_n(&pool->state->chunk[c], __ATOMIC_ACQUIRE) != NULL)
		return 0;
	pages = os_pages(chunk_bytes(pool, c));
	if (pages == NULL)
		return -1;
	if (!__atomic_compare_exchange_n(&pool->state->chunk[c], &none, pages, 0, __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE))
		(void)os_unmap(pages, chunk_bytes(pool, c)); /* another thread was first */
	return 0;
}

static void *take_new(const struct pool *pool)
{
	uint32_t index = __atomic_load_n(&pool->state->used, __ATOMIC_RELAXED);

	do {
		unsigned c = 0;

		while (chunk_first(pool, c + 1) <= index)
			c++;
		if (chunk_map(pool, c) != 0)
			return NULL;
	} while (!__atomic_compare_exchange_n(&pool->state->used, &index, index + 1, 0, __ATOMIC_ACQ_REL,
	                                      __ATOMIC_RELAXED));
	return block_at(pool, index);
}

/* A block of a later chunk, or one that was never used, or the first one again, which another thread took meanwhile. */
static __attribute__((noinline)) void *take_otherwise(const struct pool *pool)
{
	uint64_t head = __atomic_load_n(&pool->state->free_head, __ATOMIC_ACQUIRE);

	while ((uint32_t)head != 0) {
		char *block = block_at(pool, (uint32_t)head - 1);
		uint32_t link = __atomic_load_n((uint32_t *)(void *)block, __ATOMIC_RELAXED);
		uint64_t next = ((head >> 32) + 1) << 32 | link;

		if (own_replace64(&pool->state->free_head, &head, next))
			return block;
	}
	return take_new(pool);
}

void *pool_take(const struct pool *pool)
{
	struct pool_state *state = pool->state;
	uint64_t head = __atomic_load_n(&state->free_head, __ATOMIC_ACQUIRE);
	uint32_t index = (uint32_t)head - 1; /* of none: beyond all chunks */

	if (__builtin_expect(index < pool->per_chunk, 1)) {
		char *block = (char *)__atomic_load_n(&state->chunk[0], __ATOMIC_ACQUIRE) + (size_t)index * pool->block;
		uint32_t link = __atomic_load_n((uint32_t *)(void *)block, __ATOMIC_RELAXED);

		if (own_replace64(&state->free_head, &head, ((head >> 32) + 1) << 32 | link))
			return block;
	}
	return take_otherwise(pool);
}

static uint32_t index_of(const struct pool *pool, const char *block)
{
	const char *first = __atomic_load_n(&pool->state->chunk[0], __ATOMIC_ACQUIRE);
	unsigned c;

	/* 32 bits where they do: a division of 64 takes three times as long. */
	if (__builtin_expect((uintptr_t)block - (uintptr_t)first < (uintptr_t)pool->per_chunk * pool->block, 1))
		return (uint32_t)(block - first) / pool->block;
	for (c = 1; c < POOL_CHUNKS; c++) {
		const char *base = __atomic_load_n(&pool->state->chunk[c], __ATOMIC_ACQUIRE);

		if (base != NULL && block >= base && block < base + chunk_bytes(pool, c))
			return (uint32_t)(chunk_first(pool, c) + (size_t)(block - base) / pool->block);
	}
	return UINT32_MAX;
}

void pool_give(const struct pool *pool, void *block)
{
	uint32_t number = index_of(pool, block) + 1;
	uint64_t head = __atomic_load_n(&pool->state->free_head, __ATOMIC_ACQUIRE);
	uint64_t next;

	if (number == 0)
		return; /* not one of ours: better lost than handed out */
	do {
		__atomic_store_n((uint32_t *)block, (uint32_t)head, __ATOMIC_RELAXED);
		next = ((head >> 32) + 1) << 32 | number;
	} while (!own_replace64(&pool->state->free_head, &head, next));
}

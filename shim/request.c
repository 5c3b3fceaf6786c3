/*
 * Requests: reference-counted identities in a pool. See request.h.
 *
 * Whoever stores a pointer to a request holds a reference; the last one to let go gives the block back. A reference is
 * only ever taken by somebody who already has one (or holds the lock of the connection that has one), so the count never
 * comes back from zero. Memory: requests in flight, plus those whose log lines are not written yet.
 */
#include "request.h"

#include <string.h>

#include "counters.h"
#include "own.h"
#include "spare.h"

POOL(requests, sizeof(struct request), 64);
POOL(large_texts, LIMIT_TEXT_LARGE, 8);

static uint32_t waiting, behind; /* requests of this process that are counted as such */
static uint16_t request_forks;   /* from the first process to this one */

uint16_t request_process(void)
{
	return (uint16_t)(request_forks + 1);
}

uint32_t request_blocks;

/* Of a new one all but its context. */
static inline __attribute__((always_inline)) void set_up(struct request *r, enum request_state state, uint16_t waits,
                                                         uint16_t children)
{
	r->refs = 1;
	r->state = (uint8_t)state;
	r->origin = REQUEST_SERVED;
	r->multiplexed = false;
	r->taken = 0;
	r->waiting = waits;
	r->behind = 0;
	r->reader = 0;
	r->children = children;
	r->blocks = __atomic_load_n(&request_blocks, __ATOMIC_RELAXED);
}

static inline __attribute__((always_inline)) void clear_context(struct request *r)
{
	memset(&r->ctx, 0, sizeof(r->ctx)); /* no old id may ever come out again, whoever forgets to fill it */
	r->ctx.text = (struct text){ .data = r->inline_text, .cap = sizeof(r->inline_text) };
}

struct request *request_new(void)
{
	struct request *r = spare_take(SPARE_REQUEST, &requests);

	if (r == NULL) {
		counters_count_seldom(no_memory_skipped);
		return NULL;
	}
	set_up(r, REQUEST_HEAD, 0, 0);
	r->fresh = false;
	clear_context(r);
	return r;
}

/* Most are fresh: of one that was fresh before, and that the thread has kept, the rest of the context is as clear_context left it, and is not fetched. */
LAYOUT_BUILT_IN struct request *request_new_fresh(uint16_t children)
{
	struct request *r = spare_borrow(SPARE_REQUEST, &requests);

	if (__builtin_expect(r == NULL, 0) && (r = request_new()) == NULL)
		return NULL;
	set_up(r, REQUEST_LIVE, request_process(), children);
	if (__builtin_expect(!r->fresh, 0))
		clear_context(r);
	r->fresh = true;
	r->ctx.remote = r->ctx.validated = false;
	propagate_name_fresh(&r->ctx);
	own_increase(&waiting);
	return r;
}

__attribute__((cold)) int request_grow_text(struct request *r)
{
	char *large;

	if (r->fresh || r->ctx.text.data != r->inline_text)
		return -1;
	large = pool_take(&large_texts);
	if (large == NULL) {
		counters_count_seldom(no_memory_skipped);
		return -1;
	}
	memcpy(large, r->ctx.text.data, r->ctx.text.len);
	r->ctx.text.data = large;
	r->ctx.text.cap = LIMIT_TEXT_LARGE;
	return 0;
}

struct request *request_ref(struct request *r)
{
	if (r != NULL)
		own_increase(&r->refs);
	return r;
}

static __attribute__((noinline)) void free_request(struct request *r)
{
	if (__builtin_expect((r->waiting | r->behind) != 0, 0))
		request_end_waiting(r);
	if (!r->fresh && r->ctx.text.data != r->inline_text)
		pool_give(&large_texts, r->ctx.text.data);
	spare_give(SPARE_REQUEST, &requests, r);
}

void request_unref(struct request *r)
{
	if (r != NULL && own_decrease(&r->refs))
		free_request(r);
}

static inline __attribute__((always_inline)) void count(uint16_t *where, uint32_t *counter)
{
	__atomic_store_n(where, request_process(), __ATOMIC_RELAXED);
	own_increase(counter);
}

/* What a child has inherited of its parent's requests was never counted there. */
static inline __attribute__((always_inline)) void uncount(uint16_t *where, uint32_t *counter)
{
	uint16_t in = __atomic_load_n(where, __ATOMIC_RELAXED);

	if (in == 0)
		return;
	__atomic_store_n(where, 0, __ATOMIC_RELAXED);
	if (in == request_process())
		(void)own_decrease(counter);
}

LAYOUT_BUILT_IN void request_begin_waiting(struct request *r, bool is_behind)
{
	count(&r->waiting, &waiting);
	if (is_behind)
		count(&r->behind, &behind);
}

void request_end_waiting(struct request *r)
{
	if (__builtin_expect((r->waiting | r->behind) == 0, 1))
		return;
	uncount(&r->waiting, &waiting);
	uncount(&r->behind, &behind);
}

bool request_others_wait(const struct request *r)
{
	uint32_t own = __atomic_load_n(&r->waiting, __ATOMIC_RELAXED) == request_process();

	return __atomic_load_n(&waiting, __ATOMIC_RELAXED) != own;
}

void request_count_waiting(int32_t change)
{
	(void)__atomic_fetch_add(&waiting, (uint32_t)change, __ATOMIC_RELAXED);
}

uint32_t request_waiting(void)
{
	return __atomic_load_n(&waiting, __ATOMIC_RELAXED);
}

bool request_any_behind(void)
{
	return __atomic_load_n(&behind, __ATOMIC_RELAXED) != 0;
}

void request_advance(struct request *r, enum request_state to)
{
	if (to >= REQUEST_RESPONDING)
		uncount(&r->behind, &behind);
	if (to >= REQUEST_ENDED)
		uncount(&r->waiting, &waiting);
	if (__atomic_load_n(&r->state, __ATOMIC_RELAXED) < to)
		__atomic_store_n(&r->state, (uint8_t)to, __ATOMIC_RELEASE);
}

LAYOUT_BUILT_IN void request_answered(struct request *r)
{
	if (__builtin_expect(__atomic_load_n(&r->waiting, __ATOMIC_RELAXED) == request_process() &&
	                             __atomic_load_n(&r->behind, __ATOMIC_RELAXED) == 0,
	                     1)) {
		__atomic_store_n(&r->waiting, 0, __ATOMIC_RELAXED);
		__atomic_store_n(&r->state, REQUEST_ENDED, __ATOMIC_RELEASE);
		(void)own_decrease(&waiting);
	} else {
		request_advance(r, REQUEST_ENDED);
	}
	if (own_decrease(&r->refs))
		free_request(r);
}

void request_after_fork(void)
{
	request_forks = request_forks == UINT16_MAX - 1 ? 0 : (uint16_t)(request_forks + 1);
	waiting = behind = 0;
}

/*
 * Rings: the guest's side of ring_format.h. long: a ring's file is made, filled and given up under the same lock, by the same rules of who may
 * be interrupted where.
 *
 * Who writes: a thread has a place (struct ring) of its own, of which nobody else knows but signal handlers above it, so its
 * lock is there for the taking: one exchange, as nearly all that an entry costs is the copy. When all places are taken, or the end
 * of a thread is not watched, threads share one by the same lock, which is held for a copy, never across a call that
 * waits but for the making of the file. A handler that comes upon its own thread's lock gives up at once; what it had to say
 * is dropped and counted. One that jumps out of a copy leaves the lock behind: that thread's entries are lost from then on.
 *
 * A thread's first file is small, whatever is configured: programs that make one call, and servers with a process a connection,
 * would else leave a megabyte each. Once half of it was used, another one takes its place as soon as an eighth of it waits for the
 * agent, which empties both. So what has little to say goes round in few pages, and needs no others.
 *
 * Fork: the places lie in memory that the kernel empties in a child (MADV_WIPEONFORK), so that not even a child that
 * was made behind libc's back writes into its parent's rings. The mappings themselves stay there, unused: the fork may
 * have come from a handler in the middle of a copy, which the child then goes on with.
 *
 * Memory: 8 KiB of places, and TRACESHIM_RING_SIZE a ring, shared with the file. Who may call: any thread, any signal
 * handler, the child of a fork.
 */
#include "ring.h"

#include <errno.h>
#include <sched.h>
#include <string.h>
#include <sys/mman.h>

#include "config.h"
#include "counters.h"
#include "current.h"
#include "layout.h"
#include "os.h"
#include "own.h"
#include "ring_file.h"

/* Another thread's copy takes less than a microsecond, unless it lost its processor. */
#define LOCK_SPINS 200
#define LOCK_YIELDS 20

#define FIRST_CAPACITY RING_CAPACITY_MIN
/* The part of it that may wait: less than what the agent hands on early because its ring fills up (agent.c). */
#define WAITING_PART 8

/* Linux' name for a thing of 2017. */
#ifndef MADV_WIPEONFORK
#define MADV_WIPEONFORK 18
#endif

struct ring {
	uint32_t busy;           /* thread id of the one who writes; 0: nobody */
	int32_t owner;           /* thread id; 0: for the taking */
	struct ring_header *map; /* NULL: not made yet. What the agent writes there is believed for nothing but room */
	uint64_t head, tail;     /* tail: as last seen */
	uint64_t held;           /* position behind what is held; head: nothing is */
	uint64_t ticket;         /* of what was held last */
	uint64_t grow_at;        /* when head is beyond, it may be time for a larger one */
	uint32_t capacity;
	uint32_t held_at; /* where what is held begins, in the area */
} __attribute__((aligned(64)));

struct places {
	struct ring_files files;
	uint32_t taken; /* atomic: places with an owner, about */
	struct ring ring[RING_COUNT];
};

static struct places *places;
static __thread struct ring *own __attribute__((tls_model("initial-exec")));

static __attribute__((cold)) void lost(enum ring_kind kind, struct ring_header *map)
{
	if (kind == RING_SPAN) {
		counters_count_seldom(spans_lost);
		if (map != NULL)
			(void)__atomic_fetch_add(&map->spans_dropped, 1, __ATOMIC_RELAXED);
	} else {
		counters_count_seldom(line_exports_lost);
		if (map != NULL)
			(void)__atomic_fetch_add(&map->lines_dropped, 1, __ATOMIC_RELAXED);
	}
}

static __attribute__((cold)) __attribute__((noinline)) struct places *places_new(void)
{
	struct places *fresh = os_pages(sizeof(*fresh)), *there = NULL;

	if (fresh == NULL)
		return NULL;
	(void)os_advise(fresh, sizeof(*fresh), MADV_WIPEONFORK); /* where it is not known, ring_after_fork is enough */
	if (__atomic_compare_exchange_n(&places, &there, fresh, false, __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE))
		return fresh;
	(void)os_unmap(fresh, sizeof(*fresh));
	return there;
}

/* A place for this thread alone, or one to share; NULL: no memory at all. */
static __attribute__((cold)) __attribute__((noinline)) struct ring *find_place(int32_t tid)
{
	struct places *all = __atomic_load_n(&places, __ATOMIC_ACQUIRE);
	unsigned i;

	if (all == NULL && (all = places_new()) == NULL)
		return NULL;
	current_notice_thread();
	for (i = 0; current_thread_is_watched() && i < RING_COUNT; i++) {
		struct ring *ring = &all->ring[i];
		int32_t nobody = 0;

		if (__atomic_load_n(&all->taken, __ATOMIC_RELAXED) >= RING_COUNT)
			break;
		if (__atomic_load_n(&ring->owner, __ATOMIC_RELAXED) == 0 &&
		    __atomic_compare_exchange_n(&ring->owner, &nobody, tid, false, __ATOMIC_ACQUIRE,
		                                __ATOMIC_RELAXED)) {
			(void)__atomic_fetch_add(&all->taken, 1, __ATOMIC_RELAXED);
			own = ring;
			return ring;
		}
	}
	return &all->ring[(uint32_t)tid % RING_COUNT];
}

static inline struct ring *place_of(int32_t tid)
{
	struct ring *ring = own;

	return __builtin_expect(ring != NULL && __atomic_load_n(&ring->owner, __ATOMIC_RELAXED) == tid, 1) ?
	               ring :
	               find_place(tid);
}

static __attribute__((noinline)) bool lock_spin(struct ring *ring, uint32_t tid)
{
	int round;

	for (round = 0; round < LOCK_SPINS + LOCK_YIELDS; round++) {
		uint32_t seen = 0;

		if (__atomic_compare_exchange_n(&ring->busy, &seen, tid, false, __ATOMIC_ACQUIRE, __ATOMIC_RELAXED))
			return true;
		if (seen == tid)
			return false; /* we are a signal handler above ourselves */
		if (round >= LOCK_SPINS)
			sched_yield();
	}
	return false;
}

static inline bool lock(struct ring *ring, uint32_t tid)
{
	uint32_t nobody = 0;

	return __builtin_expect(own_replace32(&ring->busy, &nobody, tid), 1) || lock_spin(ring, tid);
}

static inline void unlock(struct ring *ring)
{
	__atomic_store_n(&ring->busy, 0, __ATOMIC_RELEASE);
}

/* ---- a place's file: see ring_file.h ---- */

/* Blocks that were never written to: a process that left three spans need not leave all of a ring until somebody fetches it. */
static void give_back_unused(const struct ring *ring)
{
	uint64_t used = RING_HEADER_SIZE + ((ring->head + RING_HEADER_SIZE - 1) & ~(uint64_t)(RING_HEADER_SIZE - 1));
	uint64_t len = RING_HEADER_SIZE + (uint64_t)ring->capacity;

	if (used < len)
		(void)os_advise((char *)ring->map + used, len - used, MADV_REMOVE);
}

/* No entry will be written there any more. With the ring's lock. */
static __attribute__((cold)) void retire(struct ring *ring)
{
	struct ring_header *map = ring->map;

	give_back_unused(ring);

	__atomic_store_n(&map->held, ring->head, __ATOMIC_RELEASE);
	__atomic_store_n(&ring->map, NULL, __ATOMIC_RELAXED);
	__atomic_store_n(&ring->held, ring->head, __ATOMIC_RELAXED);
	__atomic_store_n(&map->ended, 1, __ATOMIC_RELEASE);
	(void)os_unmap(map, RING_HEADER_SIZE + (size_t)ring->capacity);
}

/* Also without the lock: see ring_prepare. */
static inline bool seems_to_grow(const struct ring *ring)
{
	return __atomic_load_n(&ring->head, __ATOMIC_RELAXED) > __atomic_load_n(&ring->grow_at, __ATOMIC_RELAXED);
}

/* How far is the agent by now? With the lock. */
static __attribute__((cold)) __attribute__((noinline)) bool has_to_grow(struct ring *ring)
{
	uint64_t at = __atomic_load_n(&ring->map->tail, __ATOMIC_ACQUIRE) + ring->capacity / WAITING_PART;

	if (ring->head > at || at - ring->head > ring->capacity / WAITING_PART) /* or it says what cannot be */
		return true;
	__atomic_store_n(&ring->grow_at, at, __ATOMIC_RELAXED);
	return false;
}

/* The ring's first file, or the one that takes its place. Where there is none to be had, the one before stays. With the lock. */
static __attribute__((cold)) __attribute__((noinline)) bool make(struct ring *ring)
{
	uint32_t capacity = ring->map == NULL && FIRST_CAPACITY < config.ring_size ? FIRST_CAPACITY : config.ring_size;
	int saved = errno;
	struct ring_header *map = ring_file_make(&__atomic_load_n(&places, __ATOMIC_ACQUIRE)->files, capacity);

	errno = saved;
	if (map == NULL)
		return ring->map != NULL;
	if (ring->map != NULL)
		retire(ring);
	ring->capacity = capacity;
	__atomic_store_n(&ring->grow_at, capacity < config.ring_size ? capacity / 2 : UINT64_MAX, __ATOMIC_RELAXED);
	ring->tail = 0;
	__atomic_store_n(&ring->head, 0, __ATOMIC_RELAXED);
	__atomic_store_n(&ring->held, 0, __ATOMIC_RELAXED);
	__atomic_store_n(&ring->map, map, __ATOMIC_RELAXED);
	return true;
}

/* ---- writing ---- */

static char *area(const struct ring *ring)
{
	return (char *)ring->map + RING_HEADER_SIZE;
}

/* Is there room for `size` bytes more behind head? Positions of the agent's that cannot be are a full ring. */
static inline __attribute__((always_inline)) bool has_room(struct ring *ring, uint64_t size)
{
	if (__builtin_expect(ring->head + size - ring->tail <= ring->capacity, 1))
		return true;
	ring->tail = __atomic_load_n(&ring->map->tail, __ATOMIC_ACQUIRE);
	return ring->tail <= ring->head && ring->head + size - ring->tail <= ring->capacity;
}

/* What was held and not settled does not count any more. */
static inline void forget_held(struct ring *ring)
{
	if (ring->held != ring->head) {
		__atomic_store_n(&ring->map->held, ring->head, __ATOMIC_RELEASE);
		__atomic_store_n(&ring->held, ring->head, __ATOMIC_RELAXED);
	}
}

static inline struct ring_entry *entry_at(const struct ring *ring, uint64_t position)
{
	return (struct ring_entry *)(void *)(area(ring) + (position & (ring->capacity - 1)));
}

/*
 * The lines of the cache behind an entry, of which the next one needs some five: a ring is so large that its lines have left the nearer
 * caches when their turn comes again. Asked for now, they are there by then, and nobody's stores have to wait for them. What lies
 * behind the area, or is not mapped yet, is no fault, and is not fetched.
 */
static LAYOUT_INLINE void fetch_ahead(const char *next)
{
	__builtin_prefetch(next + 56, 1);
	__builtin_prefetch(next + 56 + 64, 1);
	__builtin_prefetch(next + 56 + 128, 1);
	__builtin_prefetch(next + 56 + 192, 1);
	__builtin_prefetch(next + 56 + 256, 1);
}

/* With the lock. NULL: full. */
static inline __attribute__((always_inline)) struct ring_entry *place_entry(struct ring *ring,
                                                                            struct ring_entry_place *place, size_t size)
{
	uint64_t left = ring->capacity - (ring->head & (ring->capacity - 1)), at = ring->head;

	forget_held(ring);
	if (__builtin_expect(left < size, 0)) {
		if (!has_room(ring, left + size))
			return NULL;
		if (left >= sizeof(struct ring_entry))
			*entry_at(ring, at) =
				(struct ring_entry){ (uint32_t)left, RING_PAD, sizeof(struct ring_entry) };
		at += left;
	} else if (!has_room(ring, size)) {
		return NULL;
	}
	ring->held_at = (uint32_t)(at & (ring->capacity - 1));
	place->ring = ring;
	place->end = at + size;
	return entry_at(ring, at);
}

static __attribute__((cold, noinline)) void *begin(struct ring_entry_place *place, enum ring_kind kind, size_t fixed,
                                                   size_t size, bool counted)
{
	int32_t tid = os_tid();
	struct ring *ring = place_of(tid);
	struct ring_entry *entry = NULL;

	if (ring == NULL || size > RING_ENTRY_MAX || !lock(ring, (uint32_t)tid)) {
		if (counted)
			lost(kind, NULL);
		return NULL;
	}
	size = (size + RING_ALIGN - 1) & ~(size_t)(RING_ALIGN - 1);
	if (__builtin_expect(ring->map != NULL && (!seems_to_grow(ring) || !has_to_grow(ring)), 1) || make(ring))
		entry = place_entry(ring, place, size);
	if (__builtin_expect(entry == NULL, 0)) {
		if (counted)
			lost(kind, ring->map);
		unlock(ring);
		return NULL;
	}
	fetch_ahead((const char *)entry + size);
	*entry = (struct ring_entry){ (uint32_t)size, (uint16_t)kind, (uint16_t)fixed };
	return entry;
}

void *ring_begin(struct ring_entry_place *place, enum ring_kind kind, size_t fixed, size_t size)
{
	return begin(place, kind, fixed, size, true);
}

void *ring_begin_held(struct ring_entry_place *place, enum ring_kind kind, size_t fixed, size_t size)
{
	return begin(place, kind, fixed, size, false);
}

LAYOUT_BUILT_IN void *ring_begin_held_usual(struct ring_entry_place *place, enum ring_kind kind, size_t fixed,
                                            size_t size)
{
	struct ring *ring = own;
	uint32_t nobody = 0, tid = (uint32_t)os_tid();
	struct ring_entry *entry;

	if (ring == NULL || (uint32_t)__atomic_load_n(&ring->owner, __ATOMIC_RELAXED) != tid || size > RING_ENTRY_MAX ||
	    !own_replace32(&ring->busy, &nobody, tid))
		return NULL;
	size = (size + RING_ALIGN - 1) & ~(size_t)(RING_ALIGN - 1);
	if (ring->map == NULL || seems_to_grow(ring) || ring->held != ring->head ||
	    ring->head + size - ring->tail > ring->capacity ||
	    ring->capacity - (ring->head & (ring->capacity - 1)) < size) {
		unlock(ring);
		return NULL;
	}
	ring->held_at = (uint32_t)(ring->head & (ring->capacity - 1));
	place->ring = ring;
	place->end = ring->head + size;
	entry = (struct ring_entry *)(void *)(area(ring) + ring->held_at);
	fetch_ahead((const char *)entry + size);
	*entry = (struct ring_entry){ (uint32_t)size, (uint16_t)kind, (uint16_t)fixed };
	return entry;
}

static inline void move_head(struct ring *ring, uint64_t to)
{
	__atomic_store_n(&ring->head, to, __ATOMIC_RELAXED); /* ring_drop_held looks without the lock */
	__atomic_store_n(&ring->held, to, __ATOMIC_RELAXED);
	__atomic_store_n(&ring->map->head, to, __ATOMIC_RELEASE);
}

LAYOUT_BUILT_IN void ring_publish(struct ring_entry_place *place)
{
	move_head(place->ring, place->end);
	unlock(place->ring);
}

LAYOUT_BUILT_IN uint64_t ring_hold(struct ring_entry_place *place)
{
	struct ring *ring = place->ring;
	uint64_t ticket = 0;

	if (ring == own) {
		__atomic_store_n(&ring->held, place->end, __ATOMIC_RELAXED);
		ticket = ++ring->ticket;
		__atomic_store_n(&ring->map->held, place->end, __ATOMIC_RELEASE);
	}
	unlock(ring);
	return ticket;
}

LAYOUT_BUILT_IN void *ring_take_held(struct ring_entry_place *place, uint64_t ticket)
{
	struct ring *ring = own;
	int32_t tid = os_tid();

	if (ring == NULL || ticket == 0 || __atomic_load_n(&ring->owner, __ATOMIC_RELAXED) != tid ||
	    !lock(ring, (uint32_t)tid))
		return NULL;
	if (ring->ticket == ticket && ring->held != ring->head && ring->map != NULL) {
		place->ring = ring;
		place->end = ring->held;
		return area(ring) + ring->held_at;
	}
	unlock(ring);
	return NULL;
}

__attribute__((cold)) bool ring_settle(uint64_t ticket, const struct ring_patch *patch, size_t count, bool keep)
{
	struct ring_entry_place place;
	char *entry = ring_take_held(&place, ticket);
	size_t i;

	if (entry == NULL)
		return false;
	if (!keep) {
		forget_held(place.ring);
		unlock(place.ring);
		return true;
	}
	for (i = 0; i < count; i++)
		memcpy(entry + patch[i].offset, &patch[i].value, sizeof(patch[i].value));
	ring_publish(&place);
	return true;
}

LAYOUT_BUILT_IN void ring_drop_held(void)
{
	struct ring *ring = own;

	if (ring != NULL &&
	    __atomic_load_n(&ring->held, __ATOMIC_RELAXED) != __atomic_load_n(&ring->head, __ATOMIC_RELAXED))
		(void)ring_settle(ring->ticket, NULL, 0, false);
}

/* ---- lives and ends ---- */

static __attribute__((cold)) __attribute__((noinline)) void prepare(void)
{
	int32_t tid = os_tid();
	struct ring *ring = place_of(tid);

	if (ring == NULL || !lock(ring, (uint32_t)tid))
		return;
	if (ring->map == NULL || (seems_to_grow(ring) && has_to_grow(ring)))
		(void)make(ring);
	unlock(ring);
}

/* In a forked child there is no map, as the kernel has emptied the places. */
LAYOUT_BUILT_IN void ring_prepare(void)
{
	const struct ring *ring = own;

	if (__builtin_expect(ring == NULL || __atomic_load_n(&ring->map, __ATOMIC_RELAXED) == NULL ||
	                             seems_to_grow(ring),
	                     0))
		prepare();
}

void ring_end_thread(void)
{
	struct places *all = __atomic_load_n(&places, __ATOMIC_RELAXED);
	struct ring *ring = own;

	own = NULL;
	if (all == NULL || ring == NULL || __atomic_load_n(&ring->owner, __ATOMIC_RELAXED) != os_tid())
		return;
	(void)__atomic_fetch_sub(&all->taken, 1, __ATOMIC_RELAXED);
	__atomic_store_n(&ring->owner, 0, __ATOMIC_RELEASE);
}

static __attribute__((cold)) __attribute__((noinline)) void retire_all(struct places *all)
{
	uint32_t tid = (uint32_t)os_tid();
	unsigned i;

	for (i = 0; i < RING_COUNT; i++) {
		struct ring *ring = &all->ring[i];

		if (__atomic_load_n(&ring->map, __ATOMIC_RELAXED) == NULL || !lock(ring, tid))
			continue; /* who writes there now has until the process is gone */
		if (ring->map != NULL)
			retire(ring);
		unlock(ring);
	}
}

/* Every process comes here, and most have none. */
LAYOUT_START void ring_end_process(void)
{
	struct places *all = __atomic_load_n(&places, __ATOMIC_ACQUIRE);

	if (all != NULL)
		retire_all(all);
}

void ring_after_fork(void)
{
	own = NULL;
	if (places != NULL)
		memset(places, 0, sizeof(*places)); /* where the kernel did not */
}

/*
 * Which stack runs? The stack pointer says it, if one knows what lies where.
 *
 * A thread's own stack lies around the stack pointer of the constructor (main's; the kernel keeps 128 MiB below for it), or below the
 * thread's block of thread-local storage, which libc puts at the upper end of each stack that it makes or is given. What is known of
 * it is cached in that block, so that a look is one comparison. That it reaches further down than was known is seen by
 * asking for each page in between: a stack has no hole, and below it is a page that cannot be read.
 *
 * Other stacks are known in two ways:
 *   born     The program says where the stack of a new coroutine is (makecontext, Boost's make_fcontext). That is a birth:
 *            whoever ran there before runs no more.
 *   learned  A request is read on memory that is nobody's, between a page that is mapped and cannot be read (every library
 *            of coroutines that maps its stacks has a guard below them) and, above, the next page that cannot be read. Births
 *            are not seen there, but ends may be: Ruby tells the kernel that a stack is free (madvise) when its fiber ends; others
 *            unmap it.
 * All else is unknown: stacks from malloc without any such call, the stack of a signal handler. Ruled out: to tell stacks apart by the
 * distance of stack pointers (malloc puts small stacks side by side), by return addresses (those of all coroutines are the same),
 * or by aligned parts of memory.
 *
 * The table is sorted by address, found by bisection, and written by one at a time; who looks meanwhile looks again, some
 * times, and finds nothing then; who comes to write meanwhile, a handler above the writer too, ends the epoch instead: no stack has a
 * request then. Memory: a table of LIMIT_STACKS and a block a stack; a full table makes further stacks unknown.
 */
#include "stacks.h"

#include "conn.h"
#include "counters.h"
#include "current.h"
#include "layout.h"
#include "limits.h"
#include "os.h"
#include "pool.h"

#define PAGE ((uintptr_t)1 << OS_PAGE_SHIFT)

/* Of main's stack around the constructor's frame: the kernel maps nothing closer below; above are arguments and environment. */
#define MAIN_BELOW ((uintptr_t)64 << 20)
#define MAIN_ABOVE ((uintptr_t)1 << 20)

/* Below a thread's block so much is its own without asking: half of the smallest stack that libc takes. */
#define HOME_NEAR ((uintptr_t)8 << 10)
/* A thread's stack that is larger is not walked. */
#define HOME_MOST ((uintptr_t)64 << 20)

/* Stacks of coroutines are some KiB to 8 MiB; more readable memory in one piece is something else. */
#define STACK_MOST ((uintptr_t)16 << 20)
#define STACK_LEAST 1024

/* Above a stack there may be anything that can be read: so much of that is taken for it, from where a request is read. */
#define REACH ((uintptr_t)256 << 10)

/* So many looks at memory that was no stack, and there are no more: a server of coroutines that malloc their stacks. */
#define FAILURES_MOST 64

/* What a library keeps for itself at the upper end when it says that a stack is free. */
#define KEPT_MOST (2 * PAGE)

struct region {
	uintptr_t low, high;
	struct stack *stack;
};

/* Who writes the table does so for microseconds. */
#define LOOKS_MOST 256

bool stacks_are_freed;
uint32_t stacks_epoch;

/* The part of memory that is known to be this thread's own stack. */
static __thread struct home {
	uintptr_t low, size;
	bool whole; /* there is no more of it */
} own_home __attribute__((tls_model("initial-exec")));

POOL(stacks, sizeof(struct stack), 64);

static struct region regions[LIMIT_STACKS] LAYOUT_LARGE;
static uint32_t count LAYOUT_LATER, failures LAYOUT_LATER;
static uint32_t version LAYOUT_LATER; /* odd: somebody writes; atomic */
static int32_t last_id LAYOUT_LATER;  /* atomic */
static uintptr_t main_frame;          /* 0: not told */
static bool nested;                   /* a coroutine was given part of a thread's stack; atomic */

static inline uintptr_t stack_pointer(void)
{
	return (uintptr_t)__builtin_frame_address(0);
}

/* Is that part of the thread's own stack, as far as it is known? */
static inline bool is_home(uintptr_t address)
{
	return address - own_home.low < own_home.size;
}

LAYOUT_START void stacks_init(void)
{
	main_frame = stack_pointer();
	own_home = (struct home){ main_frame - MAIN_BELOW, MAIN_BELOW + MAIN_ABOVE, true };
}

/* ---- the table ---- */

/* The first region that ends above this address. */
static uint32_t find_place(uintptr_t address)
{
	uint32_t from = 0, to = __atomic_load_n(&count, __ATOMIC_ACQUIRE);

	while (from < to) {
		uint32_t middle = from + (to - from) / 2;

		if (__atomic_load_n(&regions[middle].high, __ATOMIC_ACQUIRE) > address)
			to = middle;
		else
			from = middle + 1;
	}
	return from;
}

static struct stack *look(uintptr_t pointer, bool *sure)
{
	uint32_t before = __atomic_load_n(&version, __ATOMIC_ACQUIRE), at = find_place(pointer);
	struct stack *found = NULL;

	/* Acquired: what they were stored behind is seen then, the version that says so first of all. */
	if (at < __atomic_load_n(&count, __ATOMIC_ACQUIRE) &&
	    __atomic_load_n(&regions[at].low, __ATOMIC_ACQUIRE) <= pointer)
		found = __atomic_load_n(&regions[at].stack, __ATOMIC_ACQUIRE);
	*sure = (before & 1) == 0 && __atomic_load_n(&version, __ATOMIC_RELAXED) == before;
	return found;
}

/* NULL: none lies there, or (not sure) somebody writes for longer than one can wait. */
static struct stack *find(uintptr_t pointer, bool *sure)
{
	struct stack *found;
	int looks;

	for (looks = 0; looks < LOOKS_MOST; looks++) {
		found = look(pointer, sure);
		if (*sure)
			return found;
	}
	return NULL;
}

static bool begin_writing(void)
{
	uint32_t before;
	int looks;

	for (looks = 0; looks < LOOKS_MOST; looks++) {
		before = __atomic_load_n(&version, __ATOMIC_RELAXED);
		if ((before & 1) == 0 &&
		    __atomic_compare_exchange_n(&version, &before, before + 1, 0, __ATOMIC_ACQUIRE, __ATOMIC_RELAXED))
			return true;
	}
	__atomic_add_fetch(&stacks_epoch, 1, __ATOMIC_ACQ_REL);
	counters_count_seldom(stacks_skipped);
	return false;
}

static void end_writing(void)
{
	__atomic_store_n(&version, __atomic_load_n(&version, __ATOMIC_RELAXED) + 1, __ATOMIC_RELEASE);
}

/* Another coroutine has it from now on, or none. */
static void reset(struct stack *stack)
{
	struct request *request = own_swap(&stack->held, NULL);

	stack->id = -__atomic_add_fetch(&last_id, 1, __ATOMIC_RELAXED);
	stack->conn = NULL;
	stack->loops = stack->answers = stack->child = false;
	request_unref(request);
}

static void store(uint32_t at, struct region region)
{
	__atomic_store_n(&regions[at].low, region.low, __ATOMIC_RELEASE);
	__atomic_store_n(&regions[at].high, region.high, __ATOMIC_RELEASE);
	__atomic_store_n(&regions[at].stack, region.stack, __ATOMIC_RELEASE);
}

/* Those from `from` on lie from `to` on then. */
static void move(uint32_t to, uint32_t from)
{
	uint32_t end = count, i;

	for (i = from; to < from && i < end; i++)
		store(i - (from - to), regions[i]);
	for (i = end; to > from && i-- > from;)
		store(i + (to - from), regions[i]);
	__atomic_store_n(&count, end + to - from, __ATOMIC_RELEASE);
}

static void drop(uint32_t first, uint32_t end)
{
	uint32_t i;

	for (i = first; i < end; i++) {
		reset(regions[i].stack);
		pool_give(&stacks, regions[i].stack);
	}
	if (end > first)
		move(first, end);
}

/* Those that share any byte with [low, high): from find_place(low) up to this one. */
static uint32_t find_end(uint32_t place, uintptr_t high)
{
	while (place < count && regions[place].low < high)
		place++;
	return place;
}

/* Writing. The stack that lies exactly there, whatever overlaps it is gone, but for births where there is none; NULL: no room. */
static struct stack *put(uintptr_t low, uintptr_t high, bool born)
{
	uint32_t place = find_place(low), end = find_end(place, high), i;
	struct stack *stack;

	for (i = place; i < end; i++)
		if (regions[i].stack->born && !born)
			return NULL;
	if (end == place + 1 && regions[place].low == low && regions[place].high == high) {
		reset(regions[place].stack);
		return regions[place].stack;
	}
	drop(place, end);
	stack = count < LIMIT_STACKS ? pool_take(&stacks) : NULL;
	if (stack == NULL) {
		counters_count_seldom(stacks_skipped);
		return NULL;
	}
	stack->request = NULL;
	reset(stack);
	counters_count_seldom(stacks);
	move(place + 1, place);
	store(place, (struct region){ low, high, stack });
	return stack;
}

static struct stack *add(uintptr_t low, uintptr_t high, bool born)
{
	struct stack *stack;

	if (!begin_writing())
		return NULL;
	if ((stack = put(low, high, born)) != NULL)
		stack->born = born;
	end_writing();
	return stack;
}

void stacks_born(const void *low, size_t size)
{
	uintptr_t from = (uintptr_t)low;

	if (main_frame == 0 || size < STACK_LEAST || from + size < from)
		return;
	if (is_home(from) || is_home(from + size - 1) || (from < stack_pointer() && stack_pointer() < from + size) ||
	    from - (main_frame - MAIN_BELOW) < MAIN_BELOW + MAIN_ABOVE)
		__atomic_store_n(&nested, true, __ATOMIC_RELAXED);
	current_see_stacks();
	(void)add(from, from + size, true);
}

void stacks_freed(const void *pages, size_t len, bool unmapped)
{
	uintptr_t low = (uintptr_t)pages, high = low + len;
	uint32_t place, end, i;

	if (__atomic_load_n(&count, __ATOMIC_RELAXED) == 0 || high <= low)
		return;
	if ((place = find_place(low)) >= __atomic_load_n(&count, __ATOMIC_RELAXED) ||
	    __atomic_load_n(&regions[place].low, __ATOMIC_RELAXED) >= high || !begin_writing())
		return;
	place = find_place(low);
	end = find_end(place, high);
	for (i = place; i < end; i++) {
		if (!regions[i].stack->born && low <= regions[i].low && high + KEPT_MOST >= regions[i].high)
			__atomic_store_n(&stacks_are_freed, true, __ATOMIC_RELAXED);
		reset(regions[i].stack);
	}
	if (unmapped)
		drop(place, end);
	end_writing();
}

void stacks_after_fork(void)
{
	/* The parent goes on with all but the one that forked. */
	stacks_epoch++;
	/* A thread that is not here was changing it: nothing of it can be used. What its stacks hold is lost to the pool. */
	if (version & 1) {
		count = 0;
		end_writing();
	}
}

/* ---- what is where ---- */

static bool is_there(uintptr_t page)
{
	return os_page_is_there(page >> OS_PAGE_SHIFT);
}

/* Is this the thread's own stack? Remembers as much of it as it sees. */
static bool find_home(uintptr_t pointer)
{
	struct home *home = &own_home;
	uintptr_t top = (uintptr_t)home, low;

	if (home->whole)
		return is_home(pointer);
	if (home->size == 0) {
		home->low = top - HOME_NEAR;
		home->size = HOME_NEAR;
	}
	if (pointer >= top || top - pointer > HOME_MOST)
		return false;
	for (low = home->low & ~(PAGE - 1); low > (pointer & ~(PAGE - 1)) && is_there(low - PAGE);)
		low -= PAGE;
	home->whole = low > (pointer & ~(PAGE - 1));
	if (low < home->low) {
		home->low = low;
		home->size = top - low;
	}
	return is_home(pointer);
}

/* A guard is mapped, but cannot be read: the kernel knows what is in core of what is mapped alone. */
static bool is_guard(uintptr_t page)
{
	return !is_there(page) && os_page_is_mapped(page >> OS_PAGE_SHIFT);
}

static struct stack *learn_stack(uintptr_t pointer)
{
	uintptr_t low = pointer & ~(PAGE - 1), high = low + PAGE;

	if (__atomic_load_n(&failures, __ATOMIC_RELAXED) >= FAILURES_MOST)
		return NULL;
	while (pointer - low <= STACK_MOST && is_there(low - PAGE))
		low -= PAGE;
	while (high - pointer < REACH && is_there(high))
		high += PAGE;
	if (pointer - low <= STACK_MOST && is_guard(low - PAGE))
		return add(low, high, false);
	__atomic_add_fetch(&failures, 1, __ATOMIC_RELAXED);
	return NULL;
}

__attribute__((cold)) bool stacks_away(struct stack **stack, bool learn)
{
	uintptr_t pointer = stack_pointer();
	bool sure;

	if (main_frame == 0 || (is_home(pointer) && !__atomic_load_n(&nested, __ATOMIC_RELAXED)))
		return false;
	*stack = find(pointer, &sure);
	if (*stack != NULL)
		return true;
	if (find_home(pointer))
		return false;
	if (learn && sure)
		*stack = learn_stack(pointer);
	return true;
}

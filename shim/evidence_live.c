/*
 * Is a thread still at the job that it has taken? See evidence.c.
 *
 * A place that leads to the right connection may do so by chance of how the program is made: a part of a structure that was copied with
 * the rest and that nobody looks at, right as long as nothing is overtaken. But whoever will write to a connection keeps at hand
 * where its number stands, and so copies that after it has taken the job: into a register, which the next function saves on
 * the stack, or as an argument. Or it keeps what led there, if that is this job's alone (a request that knows its connection): what two
 * requests that wait have both led over is a session, or the queue itself, and counts no more. What is left over is copied by nobody. So the stack is searched for it, without the words that
 * had it when the job was taken; below these it was cleared then (hooks/handoff/unlock.c), because functions leave holes in
 * their frames. Where the number itself was all that the job had, it is searched for: that says less, as small numbers are many.
 *
 * Who may call: the thread itself, in whatever function it is. No memory, no system call: all that is looked at is its own stack,
 * above where it is.
 */
#include "evidence_internal.h"

#include <string.h>

/* How far above the words the calls that took the job may have had their frames; what was cleared below them. */
#define ABOVE 4096u
#define LARGEST_STACK (64u << 20)
/*
 * How far below the words a thread may be that works for the job. Further down it may be a coroutine on a stack of its own, which is
 * somebody else's, while what led to the job still lies on the stack that it came from.
 */
#define BELOW (64u << 10)

void live_begin(struct live *live, const struct words *words)
{
	memset(live, 0, sizeof(*live));
	live->at = (uintptr_t)words->word;
	live->words = (uint16_t)words->count;
}

bool live_is_in_stack(const struct live *live, uintptr_t pointer)
{
	return pointer - (live->at - EVIDENCE_WIPED) < LARGEST_STACK;
}

void live_add(struct live *live, uintptr_t pointer)
{
	unsigned i;

	if (live_is_in_stack(live, pointer))
		return;
	for (i = 0; i < live->tokens; i++)
		if (live->token[i] == pointer)
			return;
	if (live->tokens == LIVE_TOKENS)
		return;
	if (live->tokens == 0)
		live->lowest = pointer;
	live->token[live->tokens++] = pointer;
	if (pointer < live->lowest) {
		live->range += live->lowest - pointer;
		live->lowest = pointer;
	} else if (pointer - live->lowest > live->range) {
		live->range = pointer - live->lowest;
	}
}

void live_add_number(struct live *live, int fd)
{
	if (live->tokens > 0)
		return;
	live->numbers = true;
	live->token[0] = (uintptr_t)fd;
	live->tokens = 1;
}

static inline bool is_token(const struct live *live, uintptr_t word)
{
	unsigned i;

	if (__builtin_expect(live->numbers, 0))
		return (uint32_t)word == live->token[0] || word >> 32 == live->token[0];
	/* Nearly all words of a stack are no pointers into the heap. */
	if (word - live->lowest > live->range)
		return false;
	for (i = 0; i < live->tokens; i++)
		if (word == live->token[i])
			return true;
	return false;
}

void live_end(struct live *live, const struct words *words)
{
	unsigned i;

	for (i = 0; i < words->count; i++)
		if (is_token(live, words->word[i]))
			live->before[i / 64] |= (uint64_t)1 << i % 64;
}

bool live_is_own(struct owner *owners, uintptr_t pointer, uint64_t request, int fd)
{
	struct owner *owner = &owners[pointer * 0x9e3779b97f4a7c15u >> 40 & (OWNERS - 1)];
	uint64_t other = __atomic_load_n(&owner->request, __ATOMIC_RELAXED);
	int at = __atomic_load_n(&owner->fd, __ATOMIC_RELAXED);

	if (__atomic_load_n(&owner->pointer, __ATOMIC_RELAXED) == pointer) {
		if (other == request)
			return true;
		if (evidence_core.request_at(at) == other)
			return false;
	}
	__atomic_store_n(&owner->pointer, pointer, __ATOMIC_RELAXED);
	__atomic_store_n(&owner->request, request, __ATOMIC_RELAXED);
	__atomic_store_n(&owner->fd, fd, __ATOMIC_RELAXED);
	return true;
}

static inline __attribute__((no_sanitize("address"))) bool is_fresh(const struct live *live, uintptr_t at)
{
	size_t i = (at - live->at) / sizeof(uintptr_t);

	return is_token(live, *(const uintptr_t *)at) && (at < live->at || (live->before[i / 64] >> i % 64 & 1) == 0);
}

/* Whole frames of whatever functions there are: ASan, which builds the unit tests, sees each variable's end. */
__attribute__((noinline, no_sanitize("address"))) bool live_now(struct live *live)
{
	uintptr_t here, end = live->at + live->words * sizeof(uintptr_t), low, at;

	__builtin_unwind_init();
	here = (uintptr_t)__builtin_frame_address(0);
	low = here - EVIDENCE_SAVED * sizeof(uintptr_t);
	if (here >= end + ABOVE || here + BELOW < live->at)
		return false;
	if (low + EVIDENCE_WIPED < live->at)
		low = live->at - EVIDENCE_WIPED;
	/* Nearly always where it was: a line is printed in several calls, and they are made from one place. */
	if (live->found > low && live->found < end && is_fresh(live, live->found))
		return true;
	for (at = end; at > low;) {
		at -= sizeof(uintptr_t);
		if (is_fresh(live, at)) {
			live->found = at;
			return true;
		}
	}
	return false;
}

/*
 * Changes to memory of which only the running thread, and signal handlers above it, know: whole before or after whatever
 * handler comes in between, as one instruction is, but without what keeps other processors away: that makes a locked
 * instruction dear, and each request paid it several times.
 */
#ifndef TRACESHIM_OWN_H
#define TRACESHIM_OWN_H

#include <stdint.h>

/* Add one; returns what it was before. */
static inline uint64_t own_count(uint64_t *counter)
{
#ifdef __x86_64__
	uint64_t before = 1;

	__asm__ volatile("xaddq %0, %1" : "+r"(before), "+m"(*counter) : : "memory", "cc");
	return before;
#else
	return __atomic_fetch_add(counter, 1, __ATOMIC_RELAXED);
#endif
}

/* Put `pointer` there; returns what was there. (An exchange with memory would lock it unasked: x86's xchg always does.) */
static inline void *own_swap(void **where, void *pointer)
{
#ifdef __x86_64__
	void *before = *(void *volatile *)where;

	__asm__ volatile("1:	cmpxchgq %2, %1\n"
	                 "	jne 1b"
	                 : "+a"(before), "+m"(*where)
	                 : "r"(pointer)
	                 : "memory", "cc");
	return before;
#else
	return __atomic_exchange_n(where, pointer, __ATOMIC_ACQ_REL);
#endif
}

#endif

/*
 * Changes to memory that are whole before or after whatever signal handler comes in between, as one instruction is, but without
 * what keeps other processors away: that makes a locked instruction dear, and each request paid for thirty of them.
 *
 * own_count and own_swap are for memory that only the running thread, and handlers above it, know. The others are for memory
 * that all threads know: they lock as long as there is more than one. glibc says so in __libc_single_threaded, which is
 * cleared before a second thread begins, and on which its own reference counts and C++'s rely.
 */
#ifndef TRACESHIM_OWN_H
#define TRACESHIM_OWN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "layout.h"

#ifdef __x86_64__
extern char __libc_single_threaded __attribute__((weak)); /* glibc from 2.32 on */
#endif

/* Is this the process's only thread? False where nobody says so. */
static inline __attribute__((always_inline)) bool own_alone(void)
{
#ifdef __x86_64__
	return &__libc_single_threaded != NULL && __builtin_expect(__libc_single_threaded, 1);
#else
	return false;
#endif
}

/*
 * The same, where there is a request, a connection or a hook at work: so the object's constructor has begun, and has noted where libc says so
 * (own_begin). One look less than the other, and where the loader put that is not asked.
 */
#if defined(__x86_64__) && defined(TRACESHIM_OBJECT)
extern const char *own_single; /* not NULL behind own_begin */

static inline __attribute__((always_inline)) bool own_alone_here(void)
{
	return __builtin_expect(*own_single, 1);
}

void own_begin(void);
#else
#define own_alone_here() own_alone()
#define own_begin() ((void)0)
#endif

/* Add one; returns what it was before. */
static inline __attribute__((always_inline)) uint64_t own_count(uint64_t *counter)
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
static inline __attribute__((always_inline)) void *own_swap(void **where, void *pointer)
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

/* Put `pointer` there if nothing is; returns whether it did. */
static inline __attribute__((always_inline)) bool own_put(void **where, void *pointer)
{
	void *nothing = NULL;

#ifdef __x86_64__
	bool done;

	__asm__ volatile("cmpxchgq %3, %2"
	                 : "=@ccz"(done), "+a"(nothing), "+m"(*where)
	                 : "r"(pointer)
	                 : "memory", "cc");
	return done;
#else
	return __atomic_compare_exchange_n(where, &nothing, pointer, 0, __ATOMIC_ACQ_REL, __ATOMIC_RELAXED);
#endif
}

/* Add to a counter; relaxed. _here: see own_alone_here. */
static inline __attribute__((always_inline)) void own_add64(uint64_t *counter, uint64_t n)
{
#ifdef __x86_64__
	if (own_alone()) {
		__asm__ volatile("addq %1, %0" : "+m"(*counter) : "er"(n) : "cc");
		return;
	}
#endif
	(void)__atomic_fetch_add(counter, n, __ATOMIC_RELAXED);
}

static inline __attribute__((always_inline)) void own_add64_here(uint64_t *counter, uint64_t n)
{
#ifdef __x86_64__
	if (own_alone_here()) {
		__asm__ volatile("addq %1, %0" : "+m"(*counter) : "er"(n) : "cc");
		return;
	}
#endif
	(void)__atomic_fetch_add(counter, n, __ATOMIC_RELAXED);
}

/* Add one to each of two, by one look at who there is. */
static inline __attribute__((always_inline)) void own_count_both(uint64_t *one, uint64_t *other)
{
#ifdef __x86_64__
	if (own_alone()) {
		__asm__ volatile("incq %0" : "+m"(*one) : : "cc");
		__asm__ volatile("incq %0" : "+m"(*other) : : "cc");
		return;
	}
#endif
	(void)__atomic_fetch_add(one, 1, __ATOMIC_RELAXED);
	(void)__atomic_fetch_add(other, 1, __ATOMIC_RELAXED);
}

static inline __attribute__((always_inline)) void own_increase(uint32_t *counter)
{
#ifdef __x86_64__
	if (own_alone_here()) {
		__asm__ volatile("incl %0" : "+m"(*counter) : : "cc");
		return;
	}
#endif
	(void)__atomic_fetch_add(counter, 1, __ATOMIC_RELAXED);
}

/* Two or three of them, by one look at who there is. */
static inline __attribute__((always_inline)) void own_increase_three(uint32_t *one, uint32_t *other, uint32_t *third)
{
#ifdef __x86_64__
	if (own_alone_here()) {
		__asm__ volatile("incl %0" : "+m"(*one) : : "cc");
		__asm__ volatile("incl %0" : "+m"(*other) : : "cc");
		if (third != NULL)
			__asm__ volatile("incl %0" : "+m"(*third) : : "cc");
		return;
	}
#endif
	(void)__atomic_fetch_add(one, 1, __ATOMIC_RELAXED);
	(void)__atomic_fetch_add(other, 1, __ATOMIC_RELAXED);
	if (third != NULL)
		(void)__atomic_fetch_add(third, 1, __ATOMIC_RELAXED);
}

static inline __attribute__((always_inline)) void own_increase_both(uint32_t *one, uint32_t *other)
{
	own_increase_three(one, other, NULL);
}

/* Returns whether that made it zero. Acquires and releases: who finds zero sees what the others did before. */
static inline __attribute__((always_inline)) bool own_decrease(uint32_t *counter)
{
#ifdef __x86_64__
	if (own_alone_here()) {
		bool zero;

		__asm__ volatile("decl %1" : "=@ccz"(zero), "+m"(*counter) : : "memory", "cc");
		return zero;
	}
#endif
	return __atomic_sub_fetch(counter, 1, __ATOMIC_ACQ_REL) == 0;
}

/* Put `value` there if `*expected` is there; else the latter becomes what is. Acquires and releases. */
static inline __attribute__((always_inline)) bool own_replace32_shared(uint32_t *where, uint32_t *expected,
                                                                       uint32_t value)
{
	return __atomic_compare_exchange_n(where, expected, value, 0, __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE);
}

static inline __attribute__((always_inline)) bool own_replace32(uint32_t *where, uint32_t *expected, uint32_t value)
{
#ifdef __x86_64__
	if (own_alone()) {
		bool done;

		__asm__ volatile("cmpxchgl %3, %2"
		                 : "=@ccz"(done), "+a"(*expected), "+m"(*where)
		                 : "r"(value)
		                 : "memory", "cc");
		return done;
	}
#endif
	return own_replace32_shared(where, expected, value);
}

/* Where own_alone() was just true. (A jump, because a flag that two ways lead to is made a byte, and that is asked again.) */
static inline __attribute__((always_inline)) bool own_replace64_alone(uint64_t *where, uint64_t *expected,
                                                                      uint64_t value)
{
#ifdef __x86_64__
	__asm__ goto("cmpxchgq %2, %1\n"
	             "	jne %l[other]"
	             : "+a"(*expected), "+m"(*where)
	             : "r"(value)
	             : "memory", "cc"
	             : other);
	return true;
other:
	return false;
#else
	return __atomic_compare_exchange_n(where, expected, value, 0, __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE);
#endif
}

static inline __attribute__((always_inline)) bool own_replace64(uint64_t *where, uint64_t *expected, uint64_t value)
{
	if (own_alone())
		return own_replace64_alone(where, expected, value);
	return __atomic_compare_exchange_n(where, expected, value, 0, __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE);
}

/* As own_replace64. */
static inline __attribute__((always_inline)) bool own_replace64_here(uint64_t *where, uint64_t expected, uint64_t value)
{
	if (own_alone_here())
		return own_replace64_alone(where, &expected, value);
	return __atomic_compare_exchange_n(where, &expected, value, 0, __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE);
}

#endif

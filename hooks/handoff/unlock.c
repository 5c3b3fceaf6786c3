/*
 * libtraceshim-handoff.so: sees queues unlocked, for TRACESHIM_ATTRIBUTION=validated. See shim/evidence.c for what for.
 *
 * An object of its own, which is preloaded beside libtraceshim.so where it is asked for: a program unlocks mutexes millions of times
 * a second, and no other program is to pay even the nanosecond that a detour costs. Until libtraceshim.so has started what is told
 * here (handoff.h), and without it, no mutex is known as a queue's, and each call goes through.
 *
 * Who may call: any thread; from before the constructors on. No memory, no lock.
 */
#include <dlfcn.h>
#include <pthread.h>
#include <stddef.h>
#include <string.h>
#include <threads.h>

#include "evidence.h"

/* Where it lay before glibc 2.34, as the one of libtraceshim.so. */
#if defined(__x86_64__) && defined(__GLIBC__)
__asm__(".symver dlsym, dlsym@GLIBC_2.2.5");
#endif

#define EXPORT __attribute__((visibility("default")))

typedef int unlock_function(void *mutex);

static unlock_function *real_unlock[2];

static __attribute__((noinline, cold)) unlock_function *bind(unsigned which)
{
	unlock_function *found =
		(unlock_function *)dlsym(RTLD_NEXT, which == 0 ? "pthread_mutex_unlock" : "mtx_unlock");

	__atomic_store_n(&real_unlock[which], found, __ATOMIC_RELAXED);
	return found;
}

static inline unlock_function *real(unsigned which)
{
	unlock_function *found = __atomic_load_n(&real_unlock[which], __ATOMIC_RELAXED);

	return __builtin_expect(found != NULL, 1) ? found : bind(which);
}

/*
 * What lies below the stack's end is nothing: but functions that are called later leave holes in their frames, through which it
 * is seen. In four steps, because no frame of ours is large.
 */
static __attribute__((noinline)) void wipe(unsigned more)
{
	char below[EVIDENCE_WIPED / 4];

	memset(below, 0, sizeof(below));
	__asm__ volatile("" : : "r"(below) : "memory");
	if (more > 0)
		wipe(more - 1);
	__asm__ volatile("" : : : "memory"); /* no tail call, which would use this frame again */
}

/*
 * All registers that a call keeps are saved in this frame, at places that are the same each time: then they can be read with the
 * rest of the stack.
 */
static __attribute__((noinline)) int unlock_queue(unsigned which, void *mutex, const void *site)
{
	int result;

	__builtin_unwind_init();
	result = real(which)(mutex);
	if (result == 0 && evidence_saw_unlock(mutex, (uintptr_t)site, __builtin_frame_address(0)))
		wipe(3);
	return result;
}

static inline int unlock(unsigned which, void *mutex, const void *site)
{
	if (__builtin_expect(__atomic_load_n(&evidence_queues[evidence_place(mutex)], __ATOMIC_RELAXED) == 0, 1))
		return real(which)(mutex);
	return unlock_queue(which, mutex, site);
}

EXPORT int pthread_mutex_unlock(pthread_mutex_t *mutex)
{
	return unlock(0, mutex, __builtin_return_address(0));
}

EXPORT int mtx_unlock(mtx_t *mutex)
{
	return unlock(1, mutex, __builtin_return_address(0));
}

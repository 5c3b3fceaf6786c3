/*
 * Births of coroutines, where a function is called for them: libc's makecontext, and Boost.Context's make_fcontext, on which its
 * fibers and Boost.Coroutine stand (shim/stacks.c). Switches are not seen, and need not be.
 */
#include "real.h"

#include <errno.h>
#include <ucontext.h>

#include "context.h"
#include "layout.h"
#include "lookup.h"
#include "stacks.h"

/* Callers whose library is known: call sites of one page lie in one object, until some object is unloaded. */
#define CALLERS 16
#define PAGE_SHIFT 12

typedef void *make_function(void *top, size_t size,
                            void *function); /* lint: allow typedef: of a function, not of a struct */

static struct {
	uintptr_t page; /* of code */
	make_function *make;
} callers[CALLERS] LAYOUT_LATER;
static uint32_t count LAYOUT_LATER;
static uint64_t unloaded LAYOUT_LATER; /* lookup_unloaded, when these were noted */
static uint32_t version LAYOUT_LATER;  /* odd: somebody writes; all of these are atomic */

void *context_made(const ucontext_t *context)
{
	int saved = errno;

	if (io_active() && context != NULL)
		stacks_born(context->uc_stack.ss_sp, context->uc_stack.ss_size);
	errno = saved;
	return (void *)REAL(makecontext);
}

/* The caller's own, which a library may have been built with, or that of the library which has one. */
static make_function *look_up(const void *caller)
{
	struct lookup_object object;
	void *found = NULL;

	if (!lookup_functions(&object, "make_fcontext\0", &found, &caller, 1))
		(void)lookup_functions(&object, "make_fcontext\0", &found, NULL, 0);
	return (make_function *)found;
}

/* NULL: not noted, or somebody writes. */
static make_function *find_noted(uintptr_t page, uint64_t now)
{
	uint32_t before = __atomic_load_n(&version, __ATOMIC_ACQUIRE), i;
	make_function *make = NULL;

	if (__atomic_load_n(&unloaded, __ATOMIC_ACQUIRE) != now)
		return NULL;
	for (i = 0; i < __atomic_load_n(&count, __ATOMIC_ACQUIRE); i++)
		if (__atomic_load_n(&callers[i].page, __ATOMIC_ACQUIRE) == page)
			make = __atomic_load_n(&callers[i].make, __ATOMIC_ACQUIRE);
	return (before & 1) == 0 && __atomic_load_n(&version, __ATOMIC_RELAXED) == before ? make : NULL;
}

/* Whoever comes while somebody else writes does without, for ever in the child of a fork that came in between. */
static void note(uintptr_t page, make_function *make, uint64_t now)
{
	uint32_t before = __atomic_load_n(&version, __ATOMIC_RELAXED), at;

	if ((before & 1) != 0 ||
	    !__atomic_compare_exchange_n(&version, &before, before + 1, 0, __ATOMIC_ACQUIRE, __ATOMIC_RELAXED))
		return;
	at = unloaded == now ? count : 0;
	__atomic_store_n(&unloaded, now, __ATOMIC_RELEASE);
	if (at < CALLERS) {
		__atomic_store_n(&callers[at].page, page, __ATOMIC_RELEASE);
		__atomic_store_n(&callers[at].make, make, __ATOMIC_RELEASE);
		at++;
	}
	__atomic_store_n(&count, at, __ATOMIC_RELEASE);
	__atomic_store_n(&version, before + 2, __ATOMIC_RELEASE);
}

static make_function *find(const void *caller)
{
	uintptr_t page = (uintptr_t)caller >> PAGE_SHIFT;
	uint64_t now = lookup_unloaded();
	make_function *make = find_noted(page, now);

	if (make == NULL) {
		make = look_up(caller);
		note(page, make, now);
	}
	return make;
}

/* A stack grows down from its top. */
EXPORT void *make_fcontext(void *top, size_t size, void *function)
{
	make_function *make;
	int saved = errno;

	if (io_active())
		stacks_born((const char *)top - size, size);
	make = find(__builtin_return_address(0));
	errno = saved;
	return make != NULL ? make(top, size, function) : NULL;
}

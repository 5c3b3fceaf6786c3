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

/* Callers whose library is known: call sites of one page lie in one object. */
#define CALLERS 16
#define PAGE_SHIFT 12

typedef void *make_function(void *top, size_t size,
                            void *function); /* lint: allow typedef: of a function, not of a struct */

static struct {
	uintptr_t page; /* of code, atomic; 0: free */
	make_function *make;
} callers[CALLERS] LAYOUT_LATER;

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

static make_function *find(const void *caller)
{
	uintptr_t page = (uintptr_t)caller >> PAGE_SHIFT, nobody;
	make_function *make;
	int i;

	for (i = 0; i < CALLERS; i++) {
		nobody = __atomic_load_n(&callers[i].page, __ATOMIC_ACQUIRE);
		if (nobody == page && (make = __atomic_load_n(&callers[i].make, __ATOMIC_ACQUIRE)) != NULL)
			return make;
		if (nobody == 0)
			break;
	}
	make = look_up(caller);
	nobody = 0;
	if (i < CALLERS &&
	    __atomic_compare_exchange_n(&callers[i].page, &nobody, page, 0, __ATOMIC_ACQ_REL, __ATOMIC_RELAXED))
		__atomic_store_n(&callers[i].make, make, __ATOMIC_RELEASE);
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

/*
 * Functions of other objects, where there is no dlsym to ask, or where it cannot tell which object is meant.
 */
#ifndef TRACESHIM_LOOKUP_H
#define TRACESHIM_LOOKUP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* As dlsym(RTLD_NEXT, name), with the default version; NULL: none has it. Functions only, none that its library chooses (IFUNC). */
void *lookup_next(const char *name);

/* The hook of that name, if there is one: an export of this object. */
void *lookup_own(const char *name);

/* How many objects were unloaded so far: as long as that is the same, what was found stays where it is. Takes the loader's lock. */
uint64_t lookup_unloaded(void);

/* Does it lie in the program itself, not in one of its libraries? Takes the loader's lock. */
bool lookup_in_program(const void *address);

/* Where an object lies, and the loader's name of it, which is empty for the program itself. */
struct lookup_object {
	uintptr_t first, last;
	const char *path;
};

static inline bool lookup_is_in(const struct lookup_object *object, const void *address)
{
	return (uintptr_t)address - object->first < object->last - object->first;
}

/*
 * All functions of one object: the one that any of the addresses lies in, or, with none, the first that has the first name. It
 * must have that one; those that it lacks are NULL. `names` are one behind the other, with an empty one at the end. false: there
 * is no such object. Takes the loader's lock.
 */
bool lookup_functions(struct lookup_object *object, const char *names, void **functions, const void *const *addresses,
                      unsigned count);

/*
 * The object stays where it is, whoever closes it: its functions are called from now on. One that was loaded again elsewhere would
 * have other addresses. Asks the loader, so it may allocate; not for signal handlers.
 */
void lookup_keep(const struct lookup_object *object);

#endif

/*
 * What a CPython context (contextvars, PEP 567) holds for one variable, read without the interpreter's lock: by the thread that the
 * context is current on, which keeps it alive, and in mappings that never change once they are made (a HAMT: hash array mapped trie).
 * Layouts as in CPython 3.7 to 3.13; whoever uses this proves first that they are so here (hooks/python.c).
 */
#ifndef TRACESHIM_PYTHON_CONTEXT_H
#define TRACESHIM_PYTHON_CONTEXT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct python_layout {
	const void *var;     /* the variable, a ContextVar: keys are compared by identity */
	uint32_t hash;       /* of it, as the mapping folds it */
	const void *bitmaps; /* type of nodes with some children */
	const void *arrays;  /* type of nodes with many */
};

/* How a mapping folds an object's hash. Source: CPython, Python/hamt.c, hamt_hash. */
uint32_t python_context_fold(int64_t hash);

/*
 * The value of layout->var in `context` (a PyContext), borrowed; NULL: it has none, or the hash of another key is the same.
 * Signal-safe, no locks.
 */
const void *python_context_find(const struct python_layout *layout, const void *context);

/* Is something running in it, by Context.run, as opposed to a thread's first context? */
bool python_context_is_entered(const void *context);

/* The `len` bytes of a bytes object; NULL: it has another length. */
const char *python_bytes(const void *object, size_t len);

#endif

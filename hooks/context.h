/*
 * context.c's part of makecontext, whose hook is in makecontext.S.
 */
#ifndef TRACESHIM_CONTEXT_H
#define TRACESHIM_CONTEXT_H

#include <ucontext.h>

/* A context is about to be made. Returns the real makecontext. Keeps errno. */
void *context_made(const ucontext_t *context);

/* Boost.Context, which no header of libc's declares. */
void *make_fcontext(void *top, size_t size, void *function);

#endif

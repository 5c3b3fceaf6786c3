/*
 * What the constructor and syscall.c have to do with children.
 */
#ifndef TRACESHIM_PROCESS_H
#define TRACESHIM_PROCESS_H

#include <stdbool.h>

/* Has this Python our word, not its user's, that it is not to keep lines back? It is none for its children. Set by the constructor. */
extern bool process_unbuffered;

/* execve or execveat with these arguments, and what a child has to be told in its environment. Returns as syscall(2) does. */
long process_exec(long number, const long arg[6]);

#endif

/*
 * Programs that are started by a system call's number.
 */
#ifndef TRACESHIM_PROCESS_H
#define TRACESHIM_PROCESS_H

/* execve or execveat with these arguments, and what a child has to be told in its environment. Returns as syscall(2) does. */
long process_exec(long number, const long arg[6]);

#endif

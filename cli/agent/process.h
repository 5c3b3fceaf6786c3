/*
 * Does a process still run?
 */
#ifndef TRACESHIM_AGENT_PROCESS_H
#define TRACESHIM_AGENT_PROCESS_H

#include <stdbool.h>
#include <stdint.h>

/* The process of this pid that began then. One that only waits to be collected runs no more; one that cannot be looked at does. */
bool process_runs(int pid, uint64_t start_ticks);

#endif

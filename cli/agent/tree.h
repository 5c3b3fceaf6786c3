/*
 * Does the tree of programs that this agent is for still run?
 */
#ifndef TRACESHIM_AGENT_TREE_H
#define TRACESHIM_AGENT_TREE_H

#include <stdbool.h>
#include <stdint.h>

/* When the program began and ended, in ticks after boot. */
struct tree_times {
	uint64_t began, ended;
};

/* Ticks since boot, as in /proc/PID/stat. */
uint64_t tree_clock(void);

/*
 * Is there a process whose environment names this folder (TRACESHIM_RUN_DIR), a living one with a status page in it, or one that
 * was begun during the program's life and has overwritten its environment?
 */
bool tree_lives(const char *run_dir, const struct tree_times *times);

/* Remove what is left in a folder that was made for one tree, and the folder, unless something in it still has a meaning. */
void tree_remove(const char *run_dir);

#endif

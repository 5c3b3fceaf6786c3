/*
 * Does the tree of programs that this agent is for still run?
 */
#ifndef TRACESHIM_AGENT_TREE_H
#define TRACESHIM_AGENT_TREE_H

#include <stdbool.h>

/* Is there a process whose environment names this folder (TRACESHIM_RUN_DIR), or a living one with a status page in it? */
bool tree_lives(const char *run_dir);

/* Remove what is left in a folder that was made for one tree, and the folder, unless something in it still has a meaning. */
void tree_remove(const char *run_dir);

#endif

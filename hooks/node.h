/*
 * The bridge into Node: how its JavaScript side is started, and how it reaches us.
 */
#ifndef TRACESHIM_NODE_H
#define TRACESHIM_NODE_H

#include <stdbool.h>

/*
 * Constructor only, in a process that exports Node-API: has Node load the companion script that lies beside this object, by
 * NODE_OPTIONS, which the companion restores. Where that cannot be had, a note in the status says why, and nothing is done.
 */
void node_invite(int argc, char **argv);

/* Is this the path of an add-on that could be us? Cheap; for dlopen. */
bool node_is_addon(const char *path);

/* dlopen gave `handle` for such a path: if it is this object, hand our functions over to Node. Keeps errno. */
void node_addon_opened(void *handle);

#endif

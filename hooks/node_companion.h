/*
 * Is the companion script whole? Node refuses to start where a file that it is told to require does not parse.
 */
#ifndef TRACESHIM_NODE_COMPANION_H
#define TRACESHIM_NODE_COMPANION_H

#include <stdbool.h>

/*
 * Is this a readable file that ends in the seal of this version, and are the bytes before it those that were sealed? For the
 * constructor: reads the file once, in memory of its own, which is given back.
 */
bool node_companion_whole(const char *path);

#endif

/*
 * What the hooks of several files do before something is sent.
 */
#ifndef TRACESHIM_SENDING_H
#define TRACESHIM_SENDING_H

#include <stdbool.h>

/*
 * Before a call whose bytes go out as they are: first goes the rest of what was inserted before them, with those of the call's `flags` that
 * say how to wait, and none of its others. false: it did not all go, errno says why, and the call is not to be made. Any thread, not
 * signal-safe beyond send(2) itself; no lock may be held.
 */
bool io_comes_next(int fd, int flags);

#endif

/*
 * The agent: one process that serves a folder of rings.
 */
#ifndef TRACESHIM_AGENT_AGENT_H
#define TRACESHIM_AGENT_AGENT_H

#include "settings.h"

/* Serve until told to end; returns the exit status. */
int agent_run(const struct settings *settings);

#endif

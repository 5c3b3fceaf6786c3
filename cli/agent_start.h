/*
 * Starting `traceshim-agent`: instead of us (`traceshim agent`), and beside a program (`traceshim run --spans FILE`).
 */
#ifndef TRACESHIM_CLI_AGENT_START_H
#define TRACESHIM_CLI_AGENT_START_H

#include <stdbool.h>
#include <stddef.h>

#define AGENT_NAME "traceshim-agent"

/* Become the agent with these arguments (argv[0] is replaced). Returns only on failure, which has been told. */
int agent_exec(char **argv);

/* What `run` was asked to do with spans and lines. NULL: not that. */
struct agent_wish {
	const char *otlp, *loki, *spans;
	const char *ui; /* "": at the default address */
};

bool agent_is_wished(const struct agent_wish *wish);

/*
 * Start an agent for this process, which is about to become the program, and for its descendants; set what they need to know in
 * the environment. Returns once the agent is ready; false (told) when there is none.
 */
bool agent_start_beside(const struct agent_wish *wish);

#endif

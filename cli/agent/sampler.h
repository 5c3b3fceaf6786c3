/*
 * Which spans are exported: OTEL_TRACES_SAMPLER.
 */
#ifndef TRACESHIM_AGENT_SAMPLER_H
#define TRACESHIM_AGENT_SAMPLER_H

#include <stdbool.h>
#include <stdint.h>

#include "../../shim/ring_format.h"

struct sampler {
	bool parent;    /* what the caller did not sample is not sampled */
	bool all;       /* no ratio: every trace */
	uint64_t below; /* else traces whose low 8 bytes are below this */
};

/* Set from the variables' values (NULL: unset). False when the sampler's name or its argument is not valid; then it is the default. */
bool sampler_set(struct sampler *s, const char *name, const char *argument);

/* Is it exported? By its trace id and flags alone, so all agents with the same settings say the same. */
bool sampler_takes(const struct sampler *s, const struct ring_span *span);

#endif

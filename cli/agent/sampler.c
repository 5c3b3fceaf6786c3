/*
 * The decision is made from the trace id alone, as the SDKs' TraceIdRatioBased does (the low 8 bytes, as a number, against
 * the ratio): so all spans of a trace, in whatever process and agent, are taken or left together. Guests do not sample, they
 * pass on what the caller said; hence the ratio holds below a sampled caller, too.
 */
#include "sampler.h"

#include <stdlib.h>
#include <string.h>

static bool sampler_set_ratio(struct sampler *s, const char *argument)
{
	char *end;
	double ratio;

	s->all = true;
	if (!argument || !*argument)
		return true;
	ratio = strtod(argument, &end);
	if (*end || !(ratio >= 0 && ratio <= 1))
		return false;
	s->all = ratio >= 1;
	s->below = s->all ? 0 : (uint64_t)(ratio * 18446744073709551616.0);
	return true;
}

bool sampler_set(struct sampler *s, const char *name, const char *argument)
{
	static const char prefix[] = "parentbased_";

	*s = (struct sampler){ .parent = true, .all = true };
	if (!name || !*name)
		return true;
	if (strncmp(name, prefix, sizeof(prefix) - 1) == 0)
		name += sizeof(prefix) - 1;
	else
		s->parent = false;
	if (strcmp(name, "always_on") == 0)
		return true;
	if (strcmp(name, "always_off") == 0) {
		s->all = false;
		return true;
	}
	if (strcmp(name, "traceidratio") == 0 && sampler_set_ratio(s, argument))
		return true;
	*s = (struct sampler){ .parent = true, .all = true };
	return false;
}

bool sampler_takes(const struct sampler *s, const struct ring_span *span)
{
	uint64_t low = 0;

	if (s->parent && !(span->flags & RING_FLAG_SAMPLED))
		return false;
	if (s->all)
		return true;
	for (unsigned i = 8; i < 16; i++)
		low = low << 8 | span->trace_id[i];
	return low < s->below;
}

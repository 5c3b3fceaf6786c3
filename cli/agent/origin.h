/*
 * Who wrote a span or a line: the resource of OTLP. One for all rings of a process, counted by reference: batches outlive
 * the rings that filled them.
 */
#ifndef TRACESHIM_AGENT_ORIGIN_H
#define TRACESHIM_AGENT_ORIGIN_H

#include <stdint.h>

#include "../../shim/ring_format.h"

struct origin {
	struct origin *next;
	unsigned refs;
	char service[96];
	char *resource; /* {"attributes":[...]}, JSON */
	char *labels;   /* of Loki's streams: {"service_name":"..."}, JSON */
};

/* The origin of this header, with a reference to it; NULL without memory. */
struct origin *origin_take(const struct ring_header *header);

/* One reference more, which is returned; one less, and with the last one it is freed. */
struct origin *origin_share(struct origin *o);
void origin_drop(struct origin *o);

#endif

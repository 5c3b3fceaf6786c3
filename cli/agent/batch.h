/*
 * Spans or lines that go out together: JSON texts by origin, put together to one request when it is time.
 */
#ifndef TRACESHIM_AGENT_BATCH_H
#define TRACESHIM_AGENT_BATCH_H

#include "buffer.h"
#include "origin.h"

enum batch_kind { BATCH_SPANS, BATCH_LINES, BATCH_LOKI };

struct batch_group;

struct batch {
	enum batch_kind kind;
	unsigned max_count; /* full with so many */
	unsigned count;
	size_t bytes;
	uint64_t first_item; /* number of the first item; the caller's */
	uint64_t since_ns;   /* when the first came; whatever clock the caller keeps */
	struct batch_group *groups, *last;
	unsigned group_room, group_count;
};

/* Bytes after which a batch is full whatever its count: receivers refuse requests of more than 4 MiB by default. */
#define BATCH_BYTES_MAX (3u * 1024 * 1024)

/*
 * The buffer to which the next item's JSON goes; NULL without memory. To be followed by batch_added. When the batch was
 * empty, its time begins at now_ns.
 */
struct buffer *batch_add(struct batch *b, struct origin *origin, uint64_t now_ns);
void batch_added(struct batch *b);

static inline bool batch_is_full(const struct batch *b)
{
	return b->count >= b->max_count || b->bytes >= BATCH_BYTES_MAX;
}

/* Write the request, behind what is in `out`, and begin anew. False when memory was short: then the items are lost. */
bool batch_render(struct batch *b, struct buffer *out);

/* Give back what is in it, unsent. */
void batch_free(struct batch *b);

#endif

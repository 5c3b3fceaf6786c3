/*
 * A group an origin, in order of their first item; the last one used is tried first, since a ring is drained at a stretch.
 * Buffers are kept from batch to batch: in a steady state nothing is allocated. Memory: BATCH_BYTES_MAX and one item.
 */
#include "batch.h"

#include <stdlib.h>

#define SCOPE "\"scope\":{\"name\":\"traceshim\",\"version\":\"" TRACESHIM_VERSION "\"}"

struct batch_group {
	struct origin *origin;
	struct buffer items;
	size_t before; /* length before the item that is being written */
};

static struct batch_group *batch_find(struct batch *b, struct origin *origin)
{
	struct batch_group *grown;

	if (b->last && b->last->origin == origin)
		return b->last;
	for (unsigned i = 0; i < b->group_count; i++)
		if (b->groups[i].origin == origin)
			return &b->groups[i];
	if (b->group_count == b->group_room) {
		unsigned room = b->group_room ? 2 * b->group_room : 8;

		grown = realloc(b->groups, room * sizeof(*grown));
		if (!grown)
			return NULL;
		memset(grown + b->group_room, 0, (room - b->group_room) * sizeof(*grown));
		b->groups = grown;
		b->group_room = room;
		b->last = NULL;
	}
	b->groups[b->group_count].origin = origin_share(origin);
	return &b->groups[b->group_count++];
}

struct buffer *batch_add(struct batch *b, struct origin *origin, uint64_t now_ns)
{
	struct batch_group *group = batch_find(b, origin);

	if (!group)
		return NULL;
	if (!b->count)
		b->since_ns = now_ns;
	b->last = group;
	if (group->items.len)
		buffer_put(&group->items, ",", 1);
	group->before = group->items.len;
	return &group->items;
}

void batch_added(struct batch *b)
{
	b->bytes += b->last->items.len - b->last->before;
	b->count++;
}

static void batch_put_group(const struct batch *b, const struct batch_group *group, struct buffer *out)
{
	if (b->kind == BATCH_LOKI) {
		buffer_put_text(out, "{\"stream\":");
		buffer_put_text(out, group->origin->labels);
		buffer_put_text(out, ",\"values\":[");
		buffer_put(out, group->items.at, group->items.len);
		buffer_put_text(out, "]}");
		return;
	}
	buffer_put_text(out, "{\"resource\":");
	buffer_put_text(out, group->origin->resource);
	buffer_put_text(out, b->kind == BATCH_SPANS ? ",\"scopeSpans\":[{" SCOPE ",\"spans\":[" :
	                                              ",\"scopeLogs\":[{" SCOPE ",\"logRecords\":[");
	buffer_put(out, group->items.at, group->items.len);
	buffer_put_text(out, "]}]}");
}

bool batch_render(struct batch *b, struct buffer *out)
{
	static const char *const begin[] = { "{\"resourceSpans\":[", "{\"resourceLogs\":[", "{\"streams\":[" };
	bool ok = true;

	buffer_put_text(out, begin[b->kind]);
	for (unsigned i = 0; i < b->group_count; i++) {
		struct batch_group *group = &b->groups[i];

		if (i)
			buffer_put(out, ",", 1);
		batch_put_group(b, group, out);
		ok = ok && !group->items.failed;
		/* An unusual item may have made it large. */
		if (group->items.room > BATCH_BYTES_MAX)
			buffer_free(&group->items);
		buffer_clear(&group->items);
		origin_drop(group->origin);
		group->origin = NULL;
	}
	buffer_put_text(out, "]}");
	b->group_count = b->count = 0;
	b->bytes = 0;
	b->last = NULL;
	return ok && !out->failed;
}

void batch_free(struct batch *b)
{
	for (unsigned i = 0; i < b->group_room; i++) {
		if (i < b->group_count)
			origin_drop(b->groups[i].origin);
		buffer_free(&b->groups[i].items);
	}
	free(b->groups);
	*b = (struct batch){ .kind = b->kind, .max_count = b->max_count };
}

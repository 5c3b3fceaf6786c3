/*
 * See python_context.h. Sources: CPython, Include/internal/pycore_context.h, pycore_hamt.h, Python/hamt.c.
 */
#include "python_context.h"

#include <string.h>

#define LEVEL_BITS 5u
#define LEVELS 7u /* of 5 bits, in a hash of 32 */

struct object {
	intptr_t refs;
	const void *type;
};

struct context {
	struct object head;
	const void *previous;
	const struct mapping *vars;
	const void *weak;
	int entered;
};

struct mapping {
	struct object head;
	const struct object *root;
};

struct bitmap_node {
	struct object head;
	intptr_t size;
	uint32_t bitmap;
	const void *pairs[]; /* key and value, or NULL and a node */
};

struct array_node {
	struct object head;
	const struct object *children[1u << LEVEL_BITS];
};

struct bytes {
	struct object head;
	intptr_t size;
	intptr_t hash;
	char text[];
};

uint32_t python_context_fold(int64_t hash)
{
	uint32_t folded = (uint32_t)hash ^ (uint32_t)((uint64_t)hash >> 32);

	return folded == UINT32_MAX ? UINT32_MAX - 1 : folded;
}

const void *python_context_find(const struct python_layout *layout, const void *context)
{
	const struct mapping *vars = ((const struct context *)context)->vars;
	const struct object *node = vars != NULL ? vars->root : NULL;
	uint32_t hash = layout->hash;
	unsigned level;

	for (level = 0; level < LEVELS && node != NULL; level++, hash >>= LEVEL_BITS) {
		uint32_t child = hash & ((1u << LEVEL_BITS) - 1);

		if (node->type == layout->arrays) {
			node = ((const struct array_node *)node)->children[child];
		} else if (node->type == layout->bitmaps) {
			const struct bitmap_node *some = (const struct bitmap_node *)node;
			unsigned at = 2u * (unsigned)__builtin_popcount(some->bitmap & ((1u << child) - 1));

			if ((some->bitmap & 1u << child) == 0)
				return NULL;
			if (some->pairs[at] != NULL)
				return some->pairs[at] == layout->var ? some->pairs[at + 1] : NULL;
			node = some->pairs[at + 1];
		} else {
			return NULL; /* keys of the same hash */
		}
	}
	return NULL;
}

bool python_context_is_entered(const void *context)
{
	return ((const struct context *)context)->entered == 1;
}

const char *python_bytes(const void *object, size_t len)
{
	const struct bytes *bytes = object;

	return bytes->size == (intptr_t)len ? bytes->text : NULL;
}

/*
 * A ring of any content: the reader never reads outside of it, never runs for ever, and what it takes out is always within its
 * copy; what is made of it is JSON text without control characters. The input: 8 bytes for the head, 8 for held, 1 for dead, then the
 * area, again and again up to its end.
 */
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "../../cli/agent/otlp_json.h"
#include "../../cli/agent/ring_reader.h"
#include "fuzz.h"

static __attribute__((aligned(64))) uint64_t storage[(RING_HEADER_SIZE + RING_CAPACITY_MIN) / 8];
static struct ring_reader reader;

static void require_view(struct ring_view v)
{
	const char *copy = (const char *)reader.entry;

	CHECK(v.at >= copy && v.len <= sizeof(reader.entry) && v.at + v.len <= copy + sizeof(reader.entry));
}

static void require_text(const struct buffer *b)
{
	CHECK(b->len && b->at[b->len - 1] == '}');
	for (size_t i = 0; i < b->len; i++)
		CHECK((unsigned char)b->at[i] >= 0x20);
}

static void fill(const uint8_t *data, size_t size)
{
	struct ring_header *header = (void *)storage;
	uint8_t *area = (uint8_t *)storage + RING_HEADER_SIZE;

	memset(storage, 0, RING_HEADER_SIZE);
	memcpy(header->magic, RING_MAGIC, 8);
	header->header_size = RING_HEADER_SIZE;
	header->capacity = RING_CAPACITY_MIN;
	memcpy(&header->head, data, 8);
	memcpy(&header->held, data + 8, 8);
	for (size_t i = 0; i < RING_CAPACITY_MIN; i += size - 17)
		memcpy(area + i, data + 17, RING_CAPACITY_MIN - i < size - 17 ? RING_CAPACITY_MIN - i : size - 17);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct buffer json;
	struct ring_header seen;
	enum ring_read read;
	unsigned entries = 0;

	if (size < 18)
		return 0;
	fill(data, size);
	reader.dead = false;
	if (!ring_reader_begin(&reader, storage, sizeof(storage), &seen))
		return 0;
	reader.dead = data[16] & 1;
	while ((read = ring_reader_next(&reader)) != RING_READ_EMPTY && read != RING_READ_BROKEN) {
		CHECK(++entries <= RING_CAPACITY_MIN / RING_ALIGN);
		buffer_clear(&json);
		if (read == RING_READ_SPAN) {
			for (unsigned i = 0; i < RING_TEXT_COUNT; i++)
				require_view(reader.span.text[i]);
			otlp_put_span(&json, &reader.span);
			require_text(&json);
		} else if (read == RING_READ_LINE) {
			require_view(reader.line.text);
			otlp_put_line(&json, &reader.line, 1);
			require_text(&json);
		}
	}
	ring_reader_release(&reader, reader.tail);
	return 0;
}

/*
 * Every entry is copied out of the shared memory before it is looked at, its length read once: what the writer (or whoever has
 * the file) does to it meanwhile changes nothing that was checked. The tail is ours alone and kept here; the one in the header
 * is written, never read again, so nobody can move it. No system call, no memory: the fuzzer's target.
 *
 * The mapping can still vanish under us (a file that is truncated): whoever mapped it guards against SIGBUS (rings.c).
 */
#include "ring_reader.h"

#include <string.h>

static void reader_end_strings(struct ring_header *seen)
{
	seen->version[sizeof(seen->version) - 1] = '\0';
	seen->program[sizeof(seen->program) - 1] = '\0';
	seen->service[sizeof(seen->service) - 1] = '\0';
	seen->host[sizeof(seen->host) - 1] = '\0';
	seen->resource[sizeof(seen->resource) - 1] = '\0';
}

bool ring_reader_begin(struct ring_reader *r, void *mapping, size_t size, struct ring_header *seen)
{
	uint64_t head;

	if (size < RING_HEADER_SIZE + RING_CAPACITY_MIN)
		return false;
	memcpy(seen, mapping, sizeof(*seen));
	reader_end_strings(seen);
	if (memcmp(seen->magic, RING_MAGIC, sizeof(seen->magic)) != 0 || seen->header_size != RING_HEADER_SIZE)
		return false;
	if (seen->capacity < RING_CAPACITY_MIN || seen->capacity > RING_CAPACITY_MAX ||
	    (seen->capacity & (seen->capacity - 1)) != 0 || size != RING_HEADER_SIZE + (size_t)seen->capacity)
		return false;
	r->header = mapping;
	r->area = (const uint8_t *)mapping + RING_HEADER_SIZE;
	r->capacity = seen->capacity;
	/* An agent before us may have read a part. */
	r->tail = r->end = __atomic_load_n(&r->header->tail, __ATOMIC_ACQUIRE);
	head = __atomic_load_n(&r->header->head, __ATOMIC_ACQUIRE);
	if (head - r->tail > r->capacity) /* only where what was held has been read already */
		return r->tail - head <= r->capacity && __atomic_load_n(&r->header->held, __ATOMIC_ACQUIRE) == r->tail;
	return r->tail % RING_ALIGN == 0;
}

/* Up to where there are finished entries. */
static uint64_t reader_end(const struct ring_reader *r)
{
	uint64_t head = __atomic_load_n(&r->header->head, __ATOMIC_ACQUIRE), held;

	if (!r->dead)
		return head;
	held = __atomic_load_n(&r->header->held, __ATOMIC_ACQUIRE);
	/* It is as little to be believed as head. The tail is beyond head once what was held has been read. */
	if (held - r->tail > r->capacity)
		return head;
	return head - r->tail > r->capacity || held - r->tail > head - r->tail ? held : head;
}

uint64_t ring_reader_waiting(const struct ring_reader *r)
{
	uint64_t waiting = reader_end(r) - r->tail;

	return waiting <= r->capacity ? waiting : r->capacity;
}

static bool reader_is_zero(const uint8_t *bytes, size_t len)
{
	while (len--)
		if (*bytes++)
			return false;
	return true;
}

static enum ring_read reader_take_span(struct ring_reader *r)
{
	const struct ring_span *span = (const void *)r->entry;
	const char *text = (const char *)r->entry + span->entry.fixed, *end = (const char *)r->entry + span->entry.size;

	if (span->entry.fixed < sizeof(*span))
		return RING_READ_PASSED;
	for (unsigned i = 0; i < RING_TEXT_COUNT; i++) {
		size_t len = span->text[i];

		if (len > (size_t)(end - text))
			return RING_READ_PASSED;
		r->span.text[i] = (struct ring_view){ text, len };
		text += len;
	}
	r->span.span = *span;
	if (r->span.span.method >= RING_METHOD_COUNT)
		r->span.span.method = RING_METHOD_other;
	if (r->span.span.error >= RING_ERROR_COUNT)
		r->span.span.error = RING_ERROR_closed;
	/* Without ids it is no span; a back end may refuse a whole request for one. */
	if (reader_is_zero(span->trace_id, sizeof(span->trace_id)) ||
	    reader_is_zero(span->span_id, sizeof(span->span_id)))
		return RING_READ_PASSED;
	if (span->span_kind != RING_SPAN_SERVER && span->span_kind != RING_SPAN_CLIENT)
		return RING_READ_PASSED;
	return RING_READ_SPAN;
}

static enum ring_read reader_take_line(struct ring_reader *r)
{
	const struct ring_line *line = (const void *)r->entry;

	if (line->entry.fixed < sizeof(*line) || line->len > line->entry.size - line->entry.fixed)
		return RING_READ_PASSED;
	r->line.line = *line;
	r->line.text = (struct ring_view){ (const char *)r->entry + line->entry.fixed, line->len };
	return RING_READ_LINE;
}

enum ring_read ring_reader_next(struct ring_reader *r)
{
	uint64_t head, offset, rest;
	struct ring_entry entry;
	enum ring_read result;

	/* Each look takes a line of the cache away from the writer, who needs it with every entry. */
	if (r->end == r->tail)
		r->end = reader_end(r);
	head = r->end;
	r->contradiction = false;
	for (;;) {
		if (head == r->tail)
			return RING_READ_EMPTY;
		if (head - r->tail > r->capacity || head % RING_ALIGN != 0)
			return RING_READ_BROKEN;
		offset = r->tail & (r->capacity - 1);
		rest = r->capacity - offset;
		if (rest >= sizeof(entry)) {
			memcpy(&entry, r->area + offset, sizeof(entry));
			if (entry.kind != RING_PAD)
				break;
			if (entry.size != rest)
				return RING_READ_BROKEN;
		}
		if (rest > head - r->tail)
			return RING_READ_BROKEN;
		r->tail += rest;
	}
	if (entry.size < sizeof(entry) || entry.size > RING_ENTRY_MAX || entry.size % RING_ALIGN != 0 ||
	    entry.size > rest || entry.size > head - r->tail || entry.fixed < sizeof(entry) || entry.fixed > entry.size)
		return RING_READ_BROKEN;
	memcpy(r->entry, r->area + offset, entry.size);
	memcpy(r->entry, &entry, sizeof(entry)); /* what was checked, whatever is there by now */
	r->tail += entry.size;
	if (entry.kind != RING_SPAN && entry.kind != RING_LINE)
		return RING_READ_PASSED;
	result = entry.kind == RING_SPAN ? reader_take_span(r) : reader_take_line(r);
	r->contradiction = result == RING_READ_PASSED;
	return result;
}

void ring_reader_release(struct ring_reader *r, uint64_t up_to)
{
	__atomic_store_n(&r->header->tail, up_to, __ATOMIC_RELEASE);
}

/*
 * Entries out of one ring, of which nothing is believed: its bytes are anybody's, and may change while they are read.
 */
#ifndef TRACESHIM_AGENT_RING_READER_H
#define TRACESHIM_AGENT_RING_READER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "../../shim/ring_format.h"

enum ring_read {
	RING_READ_EMPTY, /* nothing more is there now */
	RING_READ_SPAN,
	RING_READ_LINE,
	RING_READ_PASSED, /* an entry of a kind that is not known, or that contradicts itself: passed over */
	RING_READ_BROKEN  /* a position or length that cannot be: nothing in this ring can be found any more */
};

/* A view of bytes in the reader's copy. */
struct ring_view {
	const char *at;
	size_t len;
};

/* A span, made safe: the numbers of a writer that knows more are cut to ours. */
struct ring_span_read {
	struct ring_span span;
	struct ring_view text[RING_TEXT_COUNT];
};

struct ring_line_read {
	struct ring_line line;
	struct ring_view text;
};

struct ring_reader {
	struct ring_header *header; /* shared with the writer */
	const uint8_t *area;        /* shared with the writer */
	uint64_t capacity;          /* ours, checked once */
	uint64_t tail;              /* ours: what was read; what of it is done with is told by ring_reader_release */
	uint64_t end;               /* ours: up to where there was something when the writer's was looked at last */
	bool dead;                  /* set by the owner when the writer is known to be dead: `held` counts then */
	uint64_t entry[RING_ENTRY_MAX / sizeof(uint64_t)]; /* the copy of the entry that is looked at */
	struct ring_span_read span;                        /* with RING_READ_SPAN */
	struct ring_line_read line;                        /* with RING_READ_LINE */
	bool contradiction;                                /* with RING_READ_PASSED: it was a kind that we know */
};

/*
 * Begin with a mapping of `size` bytes. False when it holds no ring of this layout. Strings of the header are copied to
 * `seen`, NUL-terminated in any case.
 */
bool ring_reader_begin(struct ring_reader *r, void *mapping, size_t size, struct ring_header *seen);

/* The next entry. What it shows lives until the next call. */
enum ring_read ring_reader_next(struct ring_reader *r);

/* Give the writer the room of what was read up to this position, which is not asked for again: r->tail, or one that it had before. */
void ring_reader_release(struct ring_reader *r, uint64_t up_to);

/* Bytes that wait in the ring; at most its capacity. */
uint64_t ring_reader_waiting(const struct ring_reader *r);

#endif

/*
 * Lines are stamped when they are printed, not when their stream is flushed: for block-buffered stdio, which request put
 * which bytes into a stream's buffer.
 *
 * A stream's bytes are numbered from its first one. stdio's own lock on the FILE keeps calls for one stream apart, unless
 * the program uses the unlocked functions; a try-flag covers those (marks_go_on has a way of its own), and what cannot get it says
 * nothing: the line then takes the request of its other parts, or none.
 */
#ifndef TRACESHIM_MARKS_H
#define TRACESHIM_MARKS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "logline.h"

/* Ranges kept a stream between two flushes, and streams. A 4 KiB buffer of 16-byte lines of as many requests just fits. */
#define MARKS_PER_STREAM 250
#define MARKS_STREAMS 16

struct request;

/*
 * `len` bytes were printed for `request` (borrowed; NULL: none known) at `buffered` bytes behind the stream's last flush.
 * stream: the FILE's address; in_line: a line goes on with them. Any thread; signal-safe; drops the newest range when full: its bytes
 * say nothing.
 */
void marks_note(uintptr_t stream, size_t buffered, size_t len, struct request *request, bool in_line);

/*
 * The same in few steps, where the last range goes on: right behind it or a byte further, by the same thread and for the same
 * request, in the same line or within a tick of the coarse clock. false: it does not, or it cannot be told now; nothing was done.
 */
bool marks_go_on(uintptr_t stream, size_t buffered, size_t len, struct request *request, bool in_line);

/* Who printed the bytes of one flush. Too big for a host's stack: from a pool. */
#define MARKS_SEGMENTS (MARKS_PER_STREAM + 6)
struct marks_taken {
	uint32_t pool_word;
	uint32_t count;
	size_t len; /* bytes that the segments cover */
	struct logline_segment segment[MARKS_SEGMENTS];
	struct request *held[MARKS_SEGMENTS];
};

/*
 * The next `len` bytes of the stream are being flushed: who printed them? NULL: no memory (what they are is then not known).
 * The segments cover `len` bytes, or less when they are very many: call again for the rest, from behind these. To be given
 * back by marks_give. Signal-safe.
 */
struct marks_taken *marks_take(uintptr_t stream, size_t len);
void marks_give(struct marks_taken *taken);

/* The stream was closed: its address may come back as another one. */
void marks_forget(uintptr_t stream);

/* In the child of a fork: what the parent's other threads held is free. */
void marks_after_fork(void);

#endif

/*
 * Who printed which bytes of a buffered stream; see marks.h.
 *
 * A stream has a list of ranges [start, end) in the order of printing. A range is extended when the same thread goes on for
 * the same request, in the same line or within a tick of the coarse clock, and with at most one byte in between: puts() prints
 * its newline by a path that we do not see, and one byte cannot hide a line. Bytes in no range say nothing (inlined putc),
 * and a line of which no byte is in a range has no request.
 *
 * A printf comes in pieces, each of which grows the last range, and for each of them an exclusive access to memory would be most of what
 * it costs. So how far the last range has grown is a word of its own, which says which one it means: a number that changes with
 * each change of the list. Whoever changes the list holds `busy`, and takes that word over first. stdio's lock keeps prints of a stream apart as
 * a rule; where it does not (exit(3) flushes without it, a signal handler has it already), the word of whoever came late means a range that
 * is none any more, and its bytes say nothing.
 *
 * Memory: a block a stream that was ever used as a log while block-buffered, at most MARKS_STREAMS.
 */
#include "marks.h"

#include <string.h>

#include "layout.h"
#include "os.h"
#include "pool.h"
#include "request.h"

struct mark {
	uint64_t start, end;
	struct request *request; /* a reference; NULL: no request known */
	uint64_t time_ns;        /* of the first print, CLOCK_REALTIME; 0: when it is flushed */
	uint64_t tick_ms;        /* the same by the coarse clock */
	int32_t tid;
};

struct stream {
	uint32_t pool_word;
	uint8_t busy;
	uint8_t lost; /* a flush could not be told here: the marks are of bytes that may be gone */
	uint32_t count;
	uint64_t flushed;  /* bytes of the stream that have left its buffer */
	uint64_t turn;     /* grows by TURN with each change of the list */
	uint64_t grown;    /* atomic: `turn`, and where the last range ends, if that is still the turn */
	struct mark *last; /* atomic: which one that is */
	struct mark mark[MARKS_PER_STREAM];
};

struct entry {
	uintptr_t key;
	struct stream *stream;
};

POOL(streams, sizeof(struct stream), 2);
POOL(takings, sizeof(struct marks_taken), 2);
static struct entry table[MARKS_STREAMS] LAYOUT_LATER;

/* No stream gets that far, so `grown` of another turn is no place in it. */
#define TURN ((uint64_t)1 << 48)

static struct stream *find(uintptr_t key)
{
	size_t i;

	for (i = 0; i < MARKS_STREAMS; i++)
		if (__atomic_load_n(&table[i].key, __ATOMIC_ACQUIRE) == key)
			return __atomic_load_n(&table[i].stream, __ATOMIC_ACQUIRE);
	return NULL;
}

/* Has this key no other place? */
static bool is_only_place(const struct entry *mine, uintptr_t key)
{
	const struct entry *entry;

	for (entry = table; entry < table + MARKS_STREAMS; entry++)
		if (entry != mine && __atomic_load_n(&entry->key, __ATOMIC_SEQ_CST) == key)
			return false;
	return true;
}

/*
 * A place for a stream that has none. Two threads that print unlocked may both be here, and a stream with two places would have
 * what was said of it before it was closed in the second one: so a place is claimed first, and is given back where another one is
 * seen. One of two sees the other's; if both do, the next print makes it. Until its stream is there, a place says nothing.
 */
static __attribute__((cold)) struct stream *make_place(uintptr_t key)
{
	struct entry *entry = table;
	struct stream *s = NULL;
	uintptr_t seen = 0;

	while (!__atomic_compare_exchange_n(&entry->key, &seen, key, 0, __ATOMIC_SEQ_CST, __ATOMIC_ACQUIRE)) {
		if (++entry == table + MARKS_STREAMS)
			return NULL;
		seen = 0;
	}
	if (is_only_place(entry, key))
		s = pool_take(&streams);
	if (s == NULL) {
		__atomic_store_n(&entry->key, 0, __ATOMIC_RELEASE);
		return NULL;
	}
	s->busy = 0;
	s->lost = 0;
	s->count = 0;
	s->flushed = 0;
	__atomic_store_n(&s->turn, s->turn + TURN, __ATOMIC_RELAXED);
	__atomic_store_n(&entry->stream, s, __ATOMIC_RELEASE);
	return s;
}

static void drop_marks(struct stream *s)
{
	while (s->count > 0)
		request_unref(s->mark[--s->count].request);
}

static LAYOUT_INLINE bool enter(struct stream *s)
{
	uint64_t end;

	if (s == NULL || __atomic_exchange_n(&s->busy, 1, __ATOMIC_ACQUIRE) != 0)
		return false;
	end = __atomic_load_n(&s->grown, __ATOMIC_RELAXED) - s->turn;
	if (s->count > 0 && end < TURN)
		s->mark[s->count - 1].end = end;
	__atomic_store_n(&s->turn, s->turn + TURN, __ATOMIC_RELEASE);
	if (__builtin_expect(__atomic_load_n(&s->lost, __ATOMIC_RELAXED), 0) &&
	    __atomic_exchange_n(&s->lost, 0, __ATOMIC_RELAXED))
		drop_marks(s);
	return true;
}

static void leave(struct stream *s)
{
	if (s->count > 0) {
		struct mark *last = &s->mark[s->count - 1];

		__atomic_store_n(&s->last, last, __ATOMIC_RELAXED);
		__atomic_store_n(&s->grown, s->turn + last->end, __ATOMIC_RELEASE);
	}
	__atomic_store_n(&s->busy, 0, __ATOMIC_RELEASE);
}

/*
 * Lines outside of requests are not timed: a program that serves nobody prints by the million, and the time of the flush
 * is what it had before.
 */
static bool goes_on(const struct mark *last, uint64_t start, const struct request *request, bool in_line)
{
	return last->request == request && start - last->end <= 1 && last->tid == os_tid() &&
	       (in_line || request == NULL || last->tick_ms == os_monotonic_ms());
}

LAYOUT_BUILT_IN bool marks_go_on(uintptr_t key, size_t buffered, size_t len, struct request *request, bool in_line)
{
	const struct entry *entry = table;
	const struct mark *last;
	uint64_t turn, start;
	struct stream *s;

	/* Most programs have one log that they print to. */
	if (__builtin_expect(__atomic_load_n(&entry->key, __ATOMIC_ACQUIRE) != key, 0)) {
		do {
			if (++entry == table + MARKS_STREAMS)
				return false;
		} while (__atomic_load_n(&entry->key, __ATOMIC_ACQUIRE) != key);
	}
	s = __atomic_load_n(&entry->stream, __ATOMIC_ACQUIRE);
	if (s == NULL)
		return false;
	turn = __atomic_load_n(&s->turn, __ATOMIC_ACQUIRE);
	start = s->flushed + buffered;
	if (start + turn - __atomic_load_n(&s->grown, __ATOMIC_ACQUIRE) > 1)
		return false;
	last = __atomic_load_n(&s->last, __ATOMIC_RELAXED);
	if (last->request != request || last->tid != os_cached_tid ||
	    !(in_line || request == NULL || last->tick_ms == os_monotonic_ms()))
		return false;
	__atomic_store_n(&s->grown, turn + start + len, __ATOMIC_RELEASE);
	return true;
}

void marks_note(uintptr_t key, size_t buffered, size_t len, struct request *request, bool in_line)
{
	struct stream *s = find(key);
	struct mark *last;
	uint64_t start;

	if (s == NULL)
		s = make_place(key);
	if (len == 0 || !enter(s))
		return;
	start = s->flushed + buffered;
	/* An error of the stream can lose bytes that were noted: what is printed now says where the stream really is. */
	while (s->count > 0 && s->mark[s->count - 1].start >= start)
		request_unref(s->mark[--s->count].request);
	if (s->count > 0 && s->mark[s->count - 1].end > start)
		s->mark[s->count - 1].end = start;
	last = s->count > 0 ? &s->mark[s->count - 1] : NULL;
	if (last != NULL && goes_on(last, start, request, in_line))
		last->end = start + len;
	else if (s->count < MARKS_PER_STREAM)
		s->mark[s->count++] = (struct mark){ .start = start,
			                             .end = start + len,
			                             .request = request_ref(request),
			                             .time_ns = request == NULL ? 0 : os_realtime_ns(),
			                             .tick_ms = request == NULL ? 0 : os_monotonic_ms(),
			                             .tid = os_tid() };
	leave(s);
}

/* The next `len` bytes are of this range; NULL: of none. Its reference is not taken. */
static void push(struct marks_taken *t, size_t len, const struct mark *m)
{
	struct logline_segment *segment = &t->segment[t->count];

	if (len == 0)
		return;
	*segment = (struct logline_segment){ .len = len, .neutral = m == NULL };
	if (m != NULL) {
		segment->request = m->request;
		segment->time_ns = m->time_ns;
		segment->tid = m->tid;
	}
	t->held[t->count++] = segment->request;
	t->len += len;
}

/* Bytes that no range covers say nothing; a single one is the newline of the line before it. */
static void push_gap(struct marks_taken *t, size_t len)
{
	if (len == 1 && t->count > 0) {
		t->segment[t->count - 1].len++;
		t->len++;
	} else {
		push(t, len, NULL);
	}
}

static void take_ranges(struct stream *s, struct marks_taken *t, size_t len)
{
	uint64_t end = s->flushed + len;
	size_t used = 0, i;

	/* Room for a gap and a range in each round, and for the gap at the end. */
	for (i = 0; i < s->count && s->mark[i].start < end && t->count + 3 <= MARKS_SEGMENTS; i++) {
		struct mark *m = &s->mark[i];
		uint64_t at = s->flushed + t->len;
		uint64_t to = m->end < end ? m->end : end;

		if (m->start > at)
			push_gap(t, (size_t)(m->start - at));
		at = s->flushed + t->len;
		if (m->end > end)
			(void)request_ref(m->request); /* the rest of it is still in the buffer */
		if (to > at)
			push(t, (size_t)(to - at), m);
		else
			request_unref(m->request);
		if (m->end > end)
			break;
		used = i + 1;
	}
	if (i == s->count || s->mark[i].start >= end)
		push_gap(t, len - t->len);
	s->count -= (uint32_t)used;
	memmove(s->mark, s->mark + used, s->count * sizeof(s->mark[0]));
	s->flushed += t->len;
}

struct marks_taken *marks_take(uintptr_t key, size_t len)
{
	struct marks_taken *t = pool_take(&takings);
	struct stream *s = find(key);

	if (t == NULL) {
		if (s != NULL)
			__atomic_store_n(&s->lost, 1, __ATOMIC_RELAXED);
		return NULL;
	}
	t->count = 0;
	t->len = 0;
	if (!enter(s)) {
		if (s != NULL)
			__atomic_store_n(&s->lost, 1, __ATOMIC_RELAXED);
		push(t, len, NULL);
		t->segment[0].neutral = false; /* somebody printed it, and we do not know who */
		return t;
	}
	take_ranges(s, t, len);
	leave(s);
	return t;
}

void marks_give(struct marks_taken *t)
{
	uint32_t i;

	for (i = 0; i < t->count; i++)
		request_unref(t->held[i]);
	pool_give(&takings, t);
}

__attribute__((cold)) void marks_forget(uintptr_t key)
{
	struct stream *s;
	size_t i;

	for (i = 0; i < MARKS_STREAMS; i++) {
		if (__atomic_load_n(&table[i].key, __ATOMIC_ACQUIRE) != key)
			continue;
		s = __atomic_exchange_n(&table[i].stream, NULL, __ATOMIC_ACQ_REL);
		__atomic_store_n(&table[i].key, 0, __ATOMIC_RELEASE);
		if (s == NULL)
			return;
		drop_marks(s);
		pool_give(&streams, s);
		return;
	}
}

__attribute__((cold)) void marks_after_fork(void)
{
	size_t i;

	for (i = 0; i < MARKS_STREAMS; i++) {
		struct stream *s = table[i].stream;

		if (s == NULL) {
			table[i].key = 0; /* whoever was about to make it is not here */
		} else if (s->busy) {
			s->count = 0; /* it may have let go of some already; the others are lost to the pool */
			s->turn += TURN;
			s->busy = 0;
		}
	}
}

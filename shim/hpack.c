/*
 * HPACK, decoded by nghttp2's inflater.
 *
 * The inflater is a few members of libnghttp2.a, made one object file whose symbols nobody else can see or take the
 * place of (scripts/nghttp2-inflater): a program that links nghttp2 has its own. What these members want of others they
 * get from here: memory, one function that copies, and an end for what they think cannot happen.
 *
 * Memory. Each of its blocks is of the smallest pool that it fits in. A table has a block for each entry, and one each
 * for its name and its value, so that a table of n bytes takes up to 7.5 n (all fields of one byte and without a
 * value), and usually 3 n; what a decoder has in use is counted, and beyond HPACK_MEMORY_MAX it gets no more and is
 * poisoned.
 *
 * An assertion that fails (or a stack that was overrun) must not end the program, and cannot be returned from: it jumps
 * back to where the library was called, and the decoder is left as it is, for good: its memory cannot be trusted to be
 * given back.
 *
 * Callers: any thread, signal handler or forked child; one at a time for one decoder. A handler that comes in between
 * has others.
 *
 * Sources: RFC 7541; nghttp2/nghttp2.h.
 */
#include "hpack.h"

#include <string.h>

#include <nghttp2/nghttp2.h>

#include "counters.h"
#include "pool.h"

/* The names that the members have in scripts/nghttp2-inflater. */
extern __typeof__(nghttp2_hd_inflate_new2) hpack_nghttp2_hd_inflate_new2;
extern __typeof__(nghttp2_hd_inflate_del) hpack_nghttp2_hd_inflate_del;
extern __typeof__(nghttp2_hd_inflate_hd2) hpack_nghttp2_hd_inflate_hd2;
extern __typeof__(nghttp2_hd_inflate_end_headers) hpack_nghttp2_hd_inflate_end_headers;
extern __typeof__(nghttp2_hd_inflate_change_table_size) hpack_nghttp2_hd_inflate_change_table_size;

struct hpack {
	uint32_t pool_word;
	uint32_t bytes; /* in use by its blocks */
	bool dead;
	bool stopped; /* by an assertion */
	nghttp2_hd_inflater *inflater;
	nghttp2_mem mem;
};

/* In front of each block: which pool it is of. As long as what malloc aligns to. */
struct header {
	uint32_t pool_word;
	uint32_t class;
	uint64_t unused;
};

POOL(decoders, sizeof(struct hpack), 16);
POOL(blocks_64, 64, 128);  /* a name, a short value */
POOL(blocks_112, 112, 64); /* a table's entry */
POOL(blocks_192, 192, 32);
POOL(blocks_384, 384, 16);
POOL(blocks_704, 704, 8);
POOL(blocks_1152, 1152, 8); /* the first index of a table, and the inflater itself */
POOL(blocks_4224, 4224, 2);
POOL(blocks_16512, 16512, 1); /* the index of a large table */
POOL(blocks_66048, 66048, 1);
POOL(blocks_131248, 131248, 1); /* the longest value while its length is all that is known of it */

static const struct pool *const pools[] = {
	&blocks_64,   &blocks_112,  &blocks_192,   &blocks_384,   &blocks_704,
	&blocks_1152, &blocks_4224, &blocks_16512, &blocks_66048, &blocks_131248,
};

#define CLASSES (sizeof(pools) / sizeof(pools[0]))

/* ---- what the library calls ---- */

static void *take(size_t size, void *user)
{
	struct hpack *h = user;
	struct header *header;
	uint32_t class = 0;

	while (class < CLASSES && (size > pools[class]->block || size + sizeof(*header) > pools[class]->block))
		class ++;
	if (class == CLASSES || h->bytes + pools[class]->block > HPACK_MEMORY_MAX)
		return NULL;
	header = pool_take(pools[class]);
	if (header == NULL) {
		counters_count(no_memory_skipped);
		return NULL;
	}
	h->bytes += pools[class]->block;
	header->class = class;
	return header + 1;
}

static void give(void *block, void *user)
{
	struct hpack *h = user;
	struct header *header = block;

	if (block == NULL)
		return;
	header--;
	h->bytes -= pools[header->class]->block;
	pool_give(pools[header->class], header);
}

void *hpack_nghttp2_mem_malloc(nghttp2_mem *mem, size_t size);
void *hpack_nghttp2_mem_realloc(nghttp2_mem *mem, void *block, size_t size);
void hpack_nghttp2_mem_free(nghttp2_mem *mem, void *block);
void hpack_nghttp2_mem_free2(nghttp2_free function, void *block, void *user);
nghttp2_mem *hpack_nghttp2_mem_default(void);
void *hpack_nghttp2_cpymem(void *to, const void *from, size_t len);
void hpack_assert_fail(void) __attribute__((noreturn));
void hpack_stack_fail(void) __attribute__((noreturn));

void *hpack_nghttp2_mem_malloc(nghttp2_mem *mem, size_t size)
{
	return mem->malloc(size, mem->mem_user_data);
}

/* For encoders only, of which there are none. */
void *hpack_nghttp2_mem_realloc(nghttp2_mem *mem, void *block, size_t size)
{
	return mem->realloc(block, size, mem->mem_user_data);
}

void hpack_nghttp2_mem_free(nghttp2_mem *mem, void *block)
{
	mem->free(block, mem->mem_user_data);
}

void hpack_nghttp2_mem_free2(nghttp2_free function, void *block, void *user)
{
	function(block, user);
}

/* For those who bring no memory of their own. */
nghttp2_mem *hpack_nghttp2_mem_default(void)
{
	return NULL;
}

/* Copy, and say where the copy ends. */
void *hpack_nghttp2_cpymem(void *to, const void *from, size_t len)
{
	if (len > 0)
		memcpy(to, from, len);
	return (char *)to + len;
}

static void *allocate_cleared(size_t count, size_t size, void *user)
{
	(void)count;
	(void)size;
	(void)user;
	return NULL;
}

static void *reallocate(void *block, size_t size, void *user)
{
	(void)block;
	(void)size;
	(void)user;
	return NULL;
}

/* Where the library was called, while it runs. Five words: gcc's manual, 'Nonlocal Gotos'. */
static __thread void **escape;

void hpack_assert_fail(void)
{
	__builtin_longjmp(escape, 1);
}

void hpack_stack_fail(void)
{
	__builtin_longjmp(escape, 1);
}

/* ---- what calls the library ---- */

/* One call of the library. */
struct step {
	enum { STEP_NEW, STEP_FREE, STEP_RESIZE, STEP_DECODE, STEP_END } kind;
	uint32_t size;
	const char *in;
	size_t len;
	bool last;
	ssize_t result;
	int flags;
	nghttp2_nv field;
};

static void call_library(struct hpack *h, struct step *s)
{
	switch (s->kind) {
	case STEP_NEW: s->result = hpack_nghttp2_hd_inflate_new2(&h->inflater, &h->mem); break;
	case STEP_FREE: hpack_nghttp2_hd_inflate_del(h->inflater); break;
	case STEP_RESIZE: s->result = hpack_nghttp2_hd_inflate_change_table_size(h->inflater, s->size); break;
	case STEP_DECODE:
		s->result = hpack_nghttp2_hd_inflate_hd2(h->inflater, &s->field, &s->flags, (const uint8_t *)s->in,
		                                         s->len, s->last);
		break;
	case STEP_END: s->result = hpack_nghttp2_hd_inflate_end_headers(h->inflater); break;
	}
}

/* Returns whether the library has done it; else the decoder is dead. */
static __attribute__((noinline)) bool call(struct hpack *h, struct step *s)
{
	void **volatile outer = escape;
	void *here[5];

	if (__builtin_setjmp(here) == 0) {
		escape = here;
		call_library(h, s);
	} else {
		h->stopped = true;
		s->result = -1;
	}
	escape = outer;
	h->dead |= s->result < 0;
	return s->result >= 0;
}

struct hpack *hpack_new(void)
{
	struct hpack *h = pool_take(&decoders);
	struct step s = { .kind = STEP_NEW };

	if (h == NULL) {
		counters_count(no_memory_skipped);
		return NULL;
	}
	*h = (struct hpack){ .mem = { h, take, give, allocate_cleared, reallocate } };
	if (call(h, &s))
		return h;
	pool_give(&decoders, h);
	return NULL;
}

void hpack_free(struct hpack *h)
{
	struct step s = { .kind = STEP_FREE };

	if (h == NULL)
		return;
	if (!h->stopped)
		(void)call(h, &s);
	pool_give(&decoders, h);
}

bool hpack_feed(struct hpack *h, const char *in, size_t len, bool last, hpack_field field, void *owner)
{
	struct step s = { .kind = STEP_DECODE, .in = len > 0 ? in : "", .len = len, .last = last };

	if (h->dead)
		return false;
	for (;;) {
		s.flags = 0;
		if (!call(h, &s))
			return false;
		s.in += s.result;
		s.len -= (size_t)s.result;
		if (s.flags & NGHTTP2_HD_INFLATE_EMIT) {
			if (!field(owner, (const char *)s.field.name, s.field.namelen, (const char *)s.field.value,
			           s.field.valuelen)) {
				h->dead = true;
				return false;
			}
		} else if (s.flags & NGHTTP2_HD_INFLATE_FINAL) {
			s.kind = STEP_END;
			return call(h, &s);
		} else if (s.len == 0) {
			return true;
		}
	}
}

bool hpack_change_table_size(struct hpack *h, uint32_t size)
{
	struct step s = { .kind = STEP_RESIZE, .size = size < HPACK_TABLE_MAX ? size : HPACK_TABLE_MAX };

	return !h->dead && call(h, &s);
}

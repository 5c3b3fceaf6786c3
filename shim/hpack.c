/*
 * HPACK, decoded by nghttp2's inflater.
 *
 * The inflater is a few members of libnghttp2.a, made one object file whose symbols nobody else can see or take the
 * place of (scripts/nghttp2-inflater): a program that links nghttp2 has its own. What these members want of others they
 * get from here: memory, views of bytes, and an end for what they think cannot happen.
 *
 * The static table (RFC 7541 appendix A) and that of the Huffman code are filled in by us, the latter with states of
 * our own numbering: as the library has them, they are 26 KiB of the object, and 8 KiB that each process would copy at
 * its start.
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

/* Of scripts/nghttp2-inflater, where it says what they are. */
extern uint64_t hpack_table[] __attribute__((visibility("hidden")));
extern const char hpack_table_strings[] __attribute__((visibility("hidden")));
extern const unsigned char hpack_table_coded[] __attribute__((visibility("hidden")));
extern const unsigned char hpack_table_coded_end[] __attribute__((visibility("hidden")));
extern const uint8_t hpack_huffman_lengths[] __attribute__((visibility("hidden")));

/*
 * What four bits do in a state of the library's Huffman decoder: the next state, whether the input may end there, and
 * the symbol that they complete, if they do.
 */
#define HUFFMAN_CODES 257 /* the last one is EOS, which must not come */
#define HUFFMAN_STATES 256
#define HUFFMAN_FAILED 256 /* the state behind the last */
#define HUFFMAN_MAY_END 0x4000
#define HUFFMAN_SYMBOL 0x8000
extern struct {
	uint16_t state;
	uint8_t symbol;
} hpack_huffman[HUFFMAN_STATES + 1][16] __attribute__((visibility("hidden")));

struct hpack {
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

/*
 * The pools' blocks, of a decoder itself too. No POOL: that would be a pointer for each, which the loader relocates at
 * every start.
 */
static const struct {
	uint32_t block, per_chunk;
} classes[] = {
	/* Of the first two, the first chunk is for a few tables: blocks of later ones take longer. What is not used is not touched. */
	{ 64, 1024 },                                        /* a name, a short value */
	{ 112, 512 },                                        /* a table's entry */
	{ 192, 32 },  { 384, 16 },  { 704, 8 }, { 1152, 8 }, /* the first index of a table, and the inflater itself */
	{ 4224, 2 },  { 16512, 1 },                          /* the index of a large table */
	{ 66048, 1 }, { 131248, 1 } /* the longest value while its length is all that is known of it */
};

#define CLASSES (sizeof(classes) / sizeof(classes[0]))

static struct pool_state states[CLASSES] LAYOUT_LATER;

static struct pool pool_of(uint32_t class)
{
	return (struct pool){ classes[class].block, classes[class].per_chunk, &states[class] };
}

/*
 * A block with room for `size` bytes behind its header, counted in *bytes up to HPACK_MEMORY_MAX. NULL: none to be had.
 */
static void *take_block(size_t size, uint32_t *bytes)
{
	struct header *header;
	struct pool pool;
	uint32_t class = 0;

	while (class < CLASSES && (size > classes[class].block || size + sizeof(*header) > classes[class].block))
		class ++;
	if (class == CLASSES || *bytes + classes[class].block > HPACK_MEMORY_MAX)
		return NULL;
	pool = pool_of(class);
	header = pool_take(&pool);
	if (header == NULL) {
		counters_count(no_memory_skipped);
		return NULL;
	}
	*bytes += pool.block;
	header->class = class;
	return header + 1;
}

static void give_block(void *block, uint32_t *bytes)
{
	struct header *header = (struct header *)block - 1;
	struct pool pool = pool_of(header->class);

	*bytes -= pool.block;
	pool_give(&pool, header);
}

/* ---- what the library calls ---- */

static void *take(size_t size, void *user)
{
	struct hpack *h = user;

	return take_block(size, &h->bytes);
}

static void give(void *block, void *user)
{
	struct hpack *h = user;

	if (block != NULL)
		give_block(block, &h->bytes);
}

/* The library's view of bytes that are put together: where they begin, how far there is room, and three places in it. */
struct buffer {
	uint8_t *begin, *end, *pos, *last, *mark;
};

void *hpack_nghttp2_mem_malloc(nghttp2_mem *mem, size_t size);
void hpack_nghttp2_mem_free(nghttp2_mem *mem, void *block);
void hpack_nghttp2_mem_free2(nghttp2_free function, void *block, void *user);
nghttp2_mem *hpack_nghttp2_mem_default(void);
void *hpack_nghttp2_cpymem(void *to, const void *from, size_t len);
void hpack_nghttp2_buf_init(struct buffer *buffer);
void hpack_nghttp2_buf_wrap_init(struct buffer *buffer, uint8_t *bytes, size_t len);
void hpack_assert_fail(void) __attribute__((noreturn));
void hpack_stack_fail(void) __attribute__((noreturn));

void *hpack_nghttp2_mem_malloc(nghttp2_mem *mem, size_t size)
{
	return mem->malloc(size, mem->mem_user_data);
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

void hpack_nghttp2_buf_init(struct buffer *buffer)
{
	*buffer = (struct buffer){ .begin = NULL };
}

void hpack_nghttp2_buf_wrap_init(struct buffer *buffer, uint8_t *bytes, size_t len)
{
	*buffer = (struct buffer){ bytes, bytes + len, bytes, bytes, bytes };
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

/* Where the library was called, while it runs (and the owner of fields, who does not call it). Five words: gcc's manual, 'Nonlocal Gotos'. */
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

static uint64_t next_number(const unsigned char **in)
{
	uint64_t n = 0;
	unsigned shift = 0;

	do {
		n |= (uint64_t)(**in & 127) << shift;
		shift += 7;
	} while (*(*in)++ & 128);
	return n;
}

static void fill_static_table(void)
{
	const unsigned char *in = hpack_table_coded;
	uint64_t *word = hpack_table;

	while ((uintptr_t)in < (uintptr_t)hpack_table_coded_end) {
		uint64_t n = next_number(&in);
		uint64_t value =
			n & 1 ? (uintptr_t)(hpack_table_strings + (n >> 1)) : (n >> 1) | next_number(&in) >> 1 << 32;

		__atomic_store_n(word++, value, __ATOMIC_RELAXED);
	}
}

/* The tree of the Huffman code: a child is a node, or LEAF and a symbol. Node 0 is the root, and nobody's child. */
#define LEAF 0x8000u
struct tree {
	uint16_t child[HUFFMAN_STATES][2];
	bool may_end[HUFFMAN_STATES];
};

/* Codes are given in the order of their lengths, and of the symbols among those of one length (RFC 7541 appendix B). */
static void grow_tree(struct tree *tree)
{
	uint32_t code = 0;
	uint16_t nodes = 1, node = 0;

	memset(tree, 0, sizeof(*tree));
	for (int len = 1; len <= 30; len++, code <<= 1) {
		for (uint16_t symbol = 0; symbol < HUFFMAN_CODES; symbol++) {
			if (hpack_huffman_lengths[symbol] != len)
				continue;
			node = 0;
			for (int bit = len - 1; bit > 0; bit--) {
				uint16_t *child = &tree->child[node][code >> bit & 1];

				if (*child == 0)
					*child = nodes++;
				node = *child;
			}
			tree->child[node][code & 1] = (uint16_t)(LEAF | symbol);
			code++;
		}
	}
	/* What pads the last octet is the beginning of EOS: up to seven ones. */
	node = 0;
	for (int len = 0; len <= 7; len++) {
		tree->may_end[node] = true;
		node = tree->child[node][1];
	}
}

static void fill_huffman_entry(const struct tree *tree, uint16_t from, unsigned bits)
{
	uint16_t node = from;
	uint16_t flags = 0;
	uint8_t symbol = 0;

	for (int bit = 3; bit >= 0; bit--) {
		uint16_t child = tree->child[node][bits >> bit & 1];

		if (child == (LEAF | (HUFFMAN_CODES - 1))) {
			node = HUFFMAN_FAILED;
			flags = symbol = 0;
			break;
		}
		node = child & LEAF ? 0 : child;
		if (child & LEAF) {
			flags = HUFFMAN_SYMBOL;
			symbol = (uint8_t)child;
		}
	}
	if (node != HUFFMAN_FAILED && tree->may_end[node])
		flags |= HUFFMAN_MAY_END;
	__atomic_store_n(&hpack_huffman[from][bits].symbol, symbol, __ATOMIC_RELAXED);
	__atomic_store_n(&hpack_huffman[from][bits].state, (uint16_t)(node | flags), __ATOMIC_RELAXED);
}

static bool fill_huffman(void)
{
	uint32_t bytes = 0;
	struct tree *tree = take_block(sizeof(*tree), &bytes);

	if (tree == NULL)
		return false;
	grow_tree(tree);
	for (uint16_t state = 0; state < HUFFMAN_STATES; state++) {
		for (unsigned bits = 0; bits < 16; bits++)
			fill_huffman_entry(tree, state, bits);
	}
	for (unsigned bits = 0; bits < 16; bits++)
		__atomic_store_n(&hpack_huffman[HUFFMAN_FAILED][bits].state, HUFFMAN_FAILED, __ATOMIC_RELAXED);
	give_block(tree, &bytes);
	return true;
}

/*
 * Each word gets its last value at once, so that two threads that do this at the same time, or a thread and a handler,
 * do no harm: who has been through it finds what it wrote. False: no memory.
 */
static bool fill_tables(void)
{
	static uint8_t filled LAYOUT_LATER;

	if (__atomic_load_n(&filled, __ATOMIC_ACQUIRE))
		return true;
	fill_static_table();
	if (!fill_huffman())
		return false;
	__atomic_store_n(&filled, 1, __ATOMIC_RELEASE);
	return true;
}

/* What the library is called for. */
struct step {
	enum { STEP_NEW, STEP_FREE, STEP_RESIZE, STEP_DECODE } kind;
	uint32_t size;
	const char *in;
	size_t len;
	bool last;
	hpack_field field;
	void *owner;
	ssize_t result;
};

/* All fields that are there. Returns what the library does, or a number below 0 where the owner says stop. */
static ssize_t decode(struct hpack *h, struct step *s)
{
	for (;;) {
		int flags = 0;
		nghttp2_nv nv;
		ssize_t n =
			hpack_nghttp2_hd_inflate_hd2(h->inflater, &nv, &flags, (const uint8_t *)s->in, s->len, s->last);

		if (n < 0)
			return n;
		s->in += n;
		s->len -= (size_t)n;
		if (flags & NGHTTP2_HD_INFLATE_EMIT) {
			if (!s->field(s->owner, (const char *)nv.name, nv.namelen, (const char *)nv.value, nv.valuelen))
				return -1;
		} else if (flags & NGHTTP2_HD_INFLATE_FINAL) {
			return hpack_nghttp2_hd_inflate_end_headers(h->inflater);
		} else if (s->len == 0) {
			return 0;
		}
	}
}

static void call_library(struct hpack *h, struct step *s)
{
	switch (s->kind) {
	case STEP_NEW: s->result = hpack_nghttp2_hd_inflate_new2(&h->inflater, &h->mem); break;
	case STEP_FREE: hpack_nghttp2_hd_inflate_del(h->inflater); break;
	case STEP_RESIZE: s->result = hpack_nghttp2_hd_inflate_change_table_size(h->inflater, s->size); break;
	case STEP_DECODE: s->result = decode(h, s); break;
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
	uint32_t bytes = 0;
	struct hpack *h = take_block(sizeof(*h), &bytes);
	struct step s = { .kind = STEP_NEW };

	if (h == NULL)
		return NULL;
	*h = (struct hpack){ .bytes = bytes, .mem = { h, take, give, allocate_cleared, reallocate } };
	if (fill_tables() && call(h, &s))
		return h;
	give_block(h, &bytes);
	return NULL;
}

void hpack_free(struct hpack *h)
{
	struct step s = { .kind = STEP_FREE };
	uint32_t bytes;

	if (h == NULL)
		return;
	if (!h->stopped)
		(void)call(h, &s);
	bytes = h->bytes;
	give_block(h, &bytes);
}

bool hpack_feed(struct hpack *h, const char *in, size_t len, bool last, hpack_field field, void *owner)
{
	struct step s = {
		.kind = STEP_DECODE, .in = len > 0 ? in : "", .len = len, .last = last, .field = field, .owner = owner
	};

	return !h->dead && call(h, &s);
}

bool hpack_change_table_size(struct hpack *h, uint32_t size)
{
	struct step s = { .kind = STEP_RESIZE, .size = size < HPACK_TABLE_MAX ? size : HPACK_TABLE_MAX };

	return !h->dead && call(h, &s);
}

/* An integer with a prefix of the bits of `mask`. Returns what is behind it; NULL: it goes on behind the end, or is longer than anything. */
static const unsigned char *take_integer(const unsigned char *in, const unsigned char *end, unsigned mask, size_t *n)
{
	unsigned shift = 0;

	if (in == end)
		return NULL;
	*n = *in & mask;
	if (*n < mask)
		return in + 1;
	do {
		if (++in == end || shift > 21)
			return NULL;
		*n += (size_t)(*in & 127) << shift;
		shift += 7;
	} while (*in & 128);
	return in + 1;
}

#define STATIC_ENTRIES 61u /* RFC 7541 appendix A */

bool hpack_means_the_same(const char *block, size_t len, unsigned *entered)
{
	const unsigned char *in = (const unsigned char *)block, *end = in + len;
	bool refers = false;
	size_t n;

	*entered = 0;
	while (in < end) {
		bool indexed = *in & 0x80, enters = (*in & 0xc0) == 0x40;
		int strings;

		if ((*in & 0xe0) == 0x20)
			return false;
		in = take_integer(in, end, indexed ? 0x7f : enters ? 0x3f : 0x0f, &n);
		*entered += enters;
		refers |= n > STATIC_ENTRIES;
		strings = indexed ? 0 : n == 0 ? 2 : 1;
		for (; in != NULL && strings > 0; strings--) {
			in = take_integer(in, end, 0x7f, &n);
			if (in != NULL)
				in = n > (size_t)(end - in) ? NULL : in + n;
		}
		if (in == NULL)
			return false;
	}
	return *entered == 0 || !refers;
}

/*
 * HPACK (hpack.h): of each direction of a connection the fields are the same whether its blocks come whole, byte by byte or split at
 * random; they are those that nghttp2's own library finds. A block that is said to mean the same when it comes again, does; and if it
 * comes more often than fills the table, it is enough to have decoded it so often.
 *
 * Input: pieces of a header of two bytes, which says what it is (the highest bit; 0: a block of so many bytes, 1: the sender may use a
 * table of 64 times that many), and as many bytes. The corpus is of real connections (scripts/fuzz-record).
 */
#include <nghttp2/nghttp2.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "hpack.h"
#include "fuzz.h"

enum way { WHOLE, BYTES, RANDOM, SELDOM, WAYS };

struct side {
	struct hpack *h;
	uint64_t digest;
	bool well;
};

static struct side side[WAYS];
static nghttp2_hd_inflater *library;
static unsigned table; /* what the sender may use */
static uint64_t seed;

static bool field(void *owner, const char *name, size_t name_len, const char *value, size_t value_len)
{
	uint64_t *digest = owner;

	*digest = fuzz_digest(fuzz_digest(*digest, name, name_len), value, value_len);
	return true;
}

static size_t pick(size_t below)
{
	return fuzz_pick(&seed, below);
}

/* A block in pieces that lie in memory of exactly their size. */
static bool decode(struct hpack *h, enum way way, const uint8_t *in, size_t len, uint64_t *digest)
{
	size_t at = 0, n;

	do {
		char *piece;
		bool well;

		n = way == BYTES ? 1 : way == RANDOM ? 1 + pick(20) : len;
		n = n < len - at ? n : len - at;
		piece = malloc(n ? n : 1);
		memcpy(piece, in + at, n);
		at += n;
		well = hpack_feed(h, piece, n, at == len, field, digest);
		free(piece);
		if (!well)
			return false;
	} while (at < len);
	return true;
}

static bool decode_by_library(const uint8_t *in, size_t len, uint64_t *digest)
{
	for (;;) {
		nghttp2_nv nv;
		int flags = 0;
		ssize_t n = nghttp2_hd_inflate_hd2(library, &nv, &flags, in, len, 1);

		if (n < 0)
			return false;
		in += n;
		len -= (size_t)n;
		if (flags & NGHTTP2_HD_INFLATE_EMIT)
			(void)field(digest, (const char *)nv.name, nv.namelen, (const char *)nv.value, nv.valuelen);
		if (flags & NGHTTP2_HD_INFLATE_FINAL)
			return nghttp2_hd_inflate_end_headers(library) == 0;
		if (len == 0 && !(flags & NGHTTP2_HD_INFLATE_EMIT))
			return true;
	}
}

static void repeat_by_library(const uint8_t *in, size_t len, uint64_t digest)
{
	uint64_t again = 0;

	CHECK(decode_by_library(in, len, &again) && again == digest);
}

/* The block comes again, some times. False: one has no room any more. */
static bool come_again(const uint8_t *in, size_t len, unsigned entered, uint64_t digest)
{
	unsigned enough = entered > 0 ? table / (entered * HPACK_ENTRY_MIN) + 1 : 0, times, i;
	enum way way;

	if (enough > 200)
		return true;
	times = enough > 0 ? (unsigned)pick(2 * enough) : 1;
	for (i = 0; i < times; i++) {
		for (way = WHOLE; way < WAYS; way++) {
			uint64_t again = 0;

			if (way == SELDOM && i >= enough)
				continue;
			/* Byte by byte a few times only: a long block has hundreds of thousands of them. */
			if (!decode(side[way].h, way == BYTES && i >= 4 ? WHOLE : way, in, len, &again))
				return false;
			CHECK(again == digest);
		}
		repeat_by_library(in, len, digest);
	}
	return true;
}

/* Returns whether all could decode it. What the library takes, we may refuse: our memory is bounded. */
static bool block(const uint8_t *in, size_t len)
{
	uint64_t theirs = 0;
	bool well = true;
	unsigned entered;
	enum way way;

	for (way = WHOLE; way < WAYS; way++) {
		struct side *s = &side[way];

		s->digest = 0;
		s->well = decode(s->h, way, in, len, &s->digest);
		well = well && s->well;
	}
	for (way = BYTES; way < WAYS; way++)
		CHECK(side[way].well == side[WHOLE].well && (!well || side[way].digest == side[WHOLE].digest));
	if (!well)
		return false;
	CHECK(decode_by_library(in, len, &theirs) && theirs == side[WHOLE].digest);
	if (hpack_means_the_same((const char *)in, len, &entered) && !come_again(in, len, entered, theirs))
		return false;
	return true;
}

static bool change(uint32_t size)
{
	bool well = true;
	enum way way;

	table = size < HPACK_TABLE_MAX ? size : HPACK_TABLE_MAX;
	for (way = WHOLE; way < WAYS; way++)
		well = hpack_change_table_size(side[way].h, size) && well;
	return well && nghttp2_hd_inflate_change_table_size(library, size) == 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *in, size_t len)
{
	bool well = true;
	enum way way;

	for (way = WHOLE; way < WAYS; way++)
		CHECK((side[way].h = hpack_new()) != NULL);
	CHECK(nghttp2_hd_inflate_new(&library) == 0);
	seed = len;
	table = HPACK_TABLE_DEFAULT;
	while (well && len >= 2) {
		size_t value = ((size_t)in[0] & 0x7f) << 8 | in[1];
		bool changes = in[0] & 0x80;

		in += 2;
		len -= 2;
		if (changes) {
			well = change((uint32_t)value * 64);
			continue;
		}
		value = value < len ? value : len;
		well = block(in, value);
		in += value;
		len -= value;
	}
	for (way = WHOLE; way < WAYS; way++)
		hpack_free(side[way].h);
	nghttp2_hd_inflate_del(library);
	return 0;
}

/*
 * HPACK: the examples of RFC 7541 appendix C, whole and at every split; the Huffman code, of which we make the tables;
 * tables that are resized; bounds of memory, and memory that is not to be had; an assertion inside of the library; and
 * random blocks of a real encoder, decoded by us and by nghttp2 itself (FULL=1: a million of them).
 *
 * long: a third of it is vectors, and memory that is counted.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <nghttp2/nghttp2.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "hpack.h"
#include "pool.h"

/* ---- memory: counted, of exact size, so that ASan sees it ---- */

static long blocks_out, bytes_out, most_bytes, takes;
static long fail_at = -1;   /* the take that fails */
static long assert_at = -1; /* the take at which the library finds that something cannot be */
static void *abandoned[64]; /* blocks that it had then */

void *__wrap_pool_take(const struct pool *pool);
void __wrap_pool_give(const struct pool *pool, void *block);
void hpack_assert_fail(void);

void *__wrap_pool_take(const struct pool *pool)
{
	long n = takes++;
	void *block;

	if (n == fail_at)
		return NULL;
	if (n == assert_at)
		hpack_assert_fail();
	block = malloc(pool->block);
	assert_non_null(block);
	memset(block, 0xa5, pool->block);
	if (assert_at >= 0) {
		assert_in_range(n, 0, sizeof(abandoned) / sizeof(abandoned[0]) - 1);
		abandoned[n] = block;
	}
	blocks_out++;
	bytes_out += pool->block;
	most_bytes = bytes_out > most_bytes ? bytes_out : most_bytes;
	return block;
}

void __wrap_pool_give(const struct pool *pool, void *block)
{
	blocks_out--;
	bytes_out -= pool->block;
	for (size_t i = 0; i < sizeof(abandoned) / sizeof(abandoned[0]); i++)
		abandoned[i] = abandoned[i] == block ? NULL : abandoned[i];
	memset(block, 0xa5, pool->block);
	free(block);
}

static int begin_memory(void **state)
{
	(void)state;
	fail_at = assert_at = -1;
	blocks_out = bytes_out = most_bytes = takes = 0;
	return 0;
}

static int end_memory(void **state)
{
	(void)state;
	return blocks_out == 0 ? 0 : -1;
}

/* ---- what is decoded ---- */

struct list {
	char text[1 << 16];
	size_t len;
};

static bool keep(void *owner, const char *name, size_t name_len, const char *value, size_t value_len)
{
	struct list *list = owner;
	size_t room = sizeof(list->text) - list->len;

	list->len += (size_t)snprintf(list->text + list->len, room, "%.*s: %.*s\n", (int)name_len, name, (int)value_len,
	                              value);
	assert_true(list->len < sizeof(list->text));
	return true;
}

static bool ignore(void *owner, const char *name, size_t name_len, const char *value, size_t value_len)
{
	(void)owner;
	(void)name;
	(void)name_len;
	(void)value;
	(void)value_len;
	return true;
}

static size_t from_hex(char *out, const char *hex)
{
	size_t len = 0;

	while (*hex != 0) {
		unsigned byte;

		if (*hex == ' ') {
			hex++;
			continue;
		}
		assert_int_equal(sscanf(hex, "%2x", &byte), 1);
		out[len++] = (char)byte;
		hex += 2;
	}
	return len;
}

/* Each of the blocks in turn, in pieces of exact size. `split`: where each is split; SIZE_MAX: byte by byte. */
static void expect_blocks(uint32_t table, const char *const *blocks, size_t split)
{
	struct hpack *h = hpack_new();
	static struct list list;

	assert_non_null(h);
	if (table != 4096)
		assert_true(hpack_change_table_size(h, table));
	for (; *blocks != NULL; blocks += 2) {
		char block[512], *piece;
		size_t len = from_hex(block, blocks[0]), at = 0;

		list.len = 0;
		list.text[0] = 0;
		while (at < len) {
			size_t n = split == SIZE_MAX ? 1 : at < split && split < len ? split - at : len - at;

			piece = malloc(n);
			memcpy(piece, block + at, n);
			at += n;
			assert_true(hpack_feed(h, piece, n, at == len, keep, &list));
			free(piece);
		}
		assert_string_equal(list.text, blocks[1]);
	}
	hpack_free(h);
}

static void expect_any_split(uint32_t table, const char *const *blocks)
{
	for (size_t split = 0; split < 128; split++)
		expect_blocks(table, blocks, split);
	expect_blocks(table, blocks, SIZE_MAX);
}

static void the_examples_of_the_rfc_are_decoded(void **state)
{
	static const char *const literal_indexed[] = {
		"400a 6375 7374 6f6d 2d6b 6579 0d63 7573 746f 6d2d 6865 6164 6572", "custom-key: custom-header\n", NULL
	};
	static const char *const literal_not_indexed[] = { "040c 2f73 616d 706c 652f 7061 7468",
		                                           ":path: /sample/path\n", NULL };
	static const char *const never_indexed[] = { "1008 7061 7373 776f 7264 0673 6563 7265 74", "password: secret\n",
		                                     NULL };
	static const char *const indexed[] = { "82", ":method: GET\n", NULL };

	(void)state;
	expect_any_split(4096, literal_indexed);
	expect_any_split(4096, literal_not_indexed);
	expect_any_split(4096, never_indexed);
	expect_any_split(4096, indexed);
}

#define REQUEST_1 ":method: GET\n:scheme: http\n:path: /\n:authority: www.example.com\n"
#define REQUEST_3                                                                                                      \
	":method: GET\n:scheme: https\n:path: /index.html\n:authority: www.example.com\ncustom-key: custom-value\n"

static void the_requests_of_the_rfc_are_decoded(void **state)
{
	static const char *const plain[] = { "8286 8441 0f77 7777 2e65 7861 6d70 6c65 2e63 6f6d",
		                             REQUEST_1,
		                             "8286 84be 5808 6e6f 2d63 6163 6865",
		                             REQUEST_1 "cache-control: no-cache\n",
		                             "8287 85bf 400a 6375 7374 6f6d 2d6b 6579 0c63 7573 746f 6d2d 7661 6c75 65",
		                             REQUEST_3,
		                             NULL };
	static const char *const huffman[] = { "8286 8441 8cf1 e3c2 e5f2 3a6b a0ab 90f4 ff",
		                               REQUEST_1,
		                               "8286 84be 5886 a8eb 1064 9cbf",
		                               REQUEST_1 "cache-control: no-cache\n",
		                               "8287 85bf 4088 25a8 49e9 5ba9 7d7f 8925 a849 e95b b8e8 b4bf",
		                               REQUEST_3,
		                               NULL };

	(void)state;
	expect_any_split(4096, plain);
	expect_any_split(4096, huffman);
}

#define DATE_1 "Mon, 21 Oct 2013 20:13:21 GMT"
#define REST "location: https://www.example.com\n"

/* With a table of 256 bytes, which loses its oldest entries on the way. */
static void the_responses_of_the_rfc_are_decoded(void **state)
{
	static const char *const huffman[] = {
		"4882 6402 5885 aec3 771a 4b61 96d0 7abe 9410 54d4 44a8 2005 9504 0b81 66e0 82a6 2d1b ff6e 919d 29ad 1718 63c7 "
		"8f0b 97c8 e9ae 82ae 43d3",
		":status: 302\ncache-control: private\ndate: " DATE_1 "\n" REST,
		"4883 640e ffc1 c0bf",
		":status: 307\ncache-control: private\ndate: " DATE_1 "\n" REST,
		"88c1 6196 d07a be94 1054 d444 a820 0595 040b 8166 e084 a62d 1bff c05a 839b d9ab 77ad 94e7 821d d7f2 e6c7 b335 "
		"dfdf cd5b 3960 d5af 2708 7f36 72c1 ab27 0fb5 291f 9587 3160 65c0 03ed 4ee5 b106 3d50 07",
		":status: 200\ncache-control: private\ndate: Mon, 21 Oct 2013 20:13:22 GMT\n" REST
		"content-encoding: gzip\n"
		"set-cookie: foo=ASDJKHQKBZXOQWEOPIUAXQWEOIU; max-age=3600; version=1\n",
		NULL
	};

	(void)state;
	{
		/* The encoder says at once that its table is smaller: it was told so. */
		char first[512] = "3fe101 ";
		const char *blocks[7];

		memcpy(blocks, huffman, sizeof(blocks));
		strcat(first, huffman[0]);
		blocks[0] = first;
		expect_any_split(256, blocks);
	}
}

/* ---- what cannot be decoded ---- */

static void expect_refused(const char *hex)
{
	struct hpack *h = hpack_new();
	char block[512];
	size_t len = from_hex(block, hex);

	assert_non_null(h);
	if (hpack_feed(h, block, len, true, ignore, NULL))
		fail_msg("decoded: %s", hex);
	assert_false(hpack_feed(h, "\x82", 1, true, ignore, NULL));
	assert_false(hpack_change_table_size(h, 4096));
	hpack_free(h);
}

static void what_is_wrong_is_refused_for_good(void **state)
{
	(void)state;
	expect_refused("80");                     /* index 0 */
	expect_refused("be");                     /* an entry that is not there */
	expect_refused("ffffffffffff0f");         /* an index that is too large */
	expect_refused("0001");                   /* ends within a name */
	expect_refused("000161");                 /* ends before the value */
	expect_refused("007fffffff7f");           /* a name that is too long */
	expect_refused("3fe21f");                 /* a table of more than was allowed */
	expect_refused("8220");                   /* its size is changed behind a field */
	expect_refused("0001610000 84 ffffffff"); /* EOS in a value */
	expect_refused("000161 81 00");           /* padded with zeros */
	expect_refused("000161 82 1fff");         /* padded with more than seven ones */
}

static void a_table_that_became_smaller_must_be_announced(void **state)
{
	struct hpack *h = hpack_new();

	(void)state;
	assert_true(hpack_feed(h, "\x82", 1, true, ignore, NULL));
	assert_true(hpack_change_table_size(h, 100));
	assert_false(hpack_feed(h, "\x82", 1, true, ignore, NULL));
	hpack_free(h);
	h = hpack_new();
	assert_true(hpack_change_table_size(h, 100));
	assert_true(hpack_change_table_size(h, 5000));
	assert_true(hpack_feed(h, "\x3f\x45\x3f\xe9\x26\x82", 6, true, ignore, NULL)); /* 100, then 5,000 */
	assert_true(hpack_feed(h, "\x3f\xe9\x26\x82", 4, true, ignore, NULL));
	assert_false(hpack_feed(h, "\x3f\xea\x26\x82", 4, true, ignore, NULL)); /* 5,001 */
	hpack_free(h);
}

static void a_table_beyond_our_bound_is_refused_when_it_is_used(void **state)
{
	struct hpack *h = hpack_new();

	(void)state;
	assert_true(hpack_change_table_size(h, 1u << 30));
	assert_true(hpack_feed(h, "\x3f\xe1\xff\x03\x82", 5, true, ignore, NULL)); /* 65,536 */
	assert_false(hpack_feed(h, "\x3f\xe2\xff\x03\x82", 5, true, ignore, NULL));
	hpack_free(h);
}

static bool refuse(void *owner, const char *name, size_t name_len, const char *value, size_t value_len)
{
	(void)name;
	(void)name_len;
	(void)value;
	(void)value_len;
	++*(int *)owner;
	return false;
}

static void who_stops_a_block_stops_the_decoder(void **state)
{
	struct hpack *h = hpack_new();
	int fields = 0;

	(void)state;
	assert_false(hpack_feed(h, "\x82\x84", 2, true, refuse, &fields));
	assert_false(hpack_feed(h, "\x82\x84", 2, true, refuse, &fields));
	assert_int_equal(fields, 1);
	hpack_free(h);
}

/* ---- memory ---- */

/* The smallest entries: a name of one byte, no value. 33 bytes of the table each, and 240 or so of ours. */
static void a_full_table_stays_within_the_bound(void **state)
{
	static const char small[] = "\x40\x01"
				    "n\0";
	struct hpack *h = hpack_new();
	int i;

	(void)state;
	assert_true(hpack_change_table_size(h, HPACK_TABLE_MAX));
	assert_true(hpack_feed(h, "\x3f\xe1\xff\x03", 4, true, ignore, NULL));
	for (i = 0; i < 5000; i++)
		assert_true(hpack_feed(h, small, 4, true, ignore, NULL));
	assert_true(bytes_out > 65536);
	assert_true(most_bytes <= (long)HPACK_MEMORY_MAX);
	hpack_free(h);
}

static void a_usual_decoder_is_small(void **state)
{
	struct hpack *h = hpack_new();
	char field[] = "\x40\x04"
		       "nam0"
		       "\x10"
		       "a value, of some";

	(void)state;
	assert_true(bytes_out <= 4096);
	for (int i = 0; i < 1000; i++) {
		field[5] = (char)('0' + i % 10);
		assert_true(hpack_feed(h, field, sizeof(field) - 1, true, ignore, NULL));
	}
	assert_true(most_bytes <= 32 * 1024);
	hpack_free(h);
}

static void lengths_that_lie_take_no_more_than_the_bound(void **state)
{
	struct hpack *h = hpack_new();

	(void)state;
	/* A name and a value of 65,536 bytes each, Huffman-coded, of which nothing comes. */
	assert_true(hpack_feed(h, "\x00\xff\x81\xff\x03", 5, false, ignore, NULL));
	assert_true(most_bytes <= 140 * 1024);
	hpack_free(h);
}

/* Blocks that leave something in the table, and hold strings when they are cut. */
static bool decode_some(struct hpack *h)
{
	char block[512];
	size_t len =
		from_hex(block,
	                 "8287 85 400a 6375 7374 6f6d 2d6b 6579 0c63 7573 746f 6d2d 7661 6c75 65"
	                 "4882 6402 5885 aec3 771a 4b61 96d0 7abe 9410 54d4 44a8 2005 9504 0b81 66e0 82a6 2d1b ff");

	for (size_t i = 0; i < len; i++) {
		if (!hpack_feed(h, block + i, 1, i + 1 == len, ignore, NULL))
			return false;
	}
	return true;
}

static void no_memory_poisons_and_loses_nothing(void **state)
{
	long needed;
	struct hpack *h = hpack_new();

	(void)state;
	assert_true(decode_some(h));
	hpack_free(h);
	takes = 0;
	h = hpack_new();
	assert_true(decode_some(h));
	hpack_free(h);
	needed = takes;
	assert_true(needed > 5);
	for (long i = 0; i < needed; i++) {
		takes = 0;
		fail_at = i;
		h = hpack_new();
		if (h != NULL) {
			assert_false(decode_some(h));
			assert_false(hpack_feed(h, "\x82", 1, true, ignore, NULL));
		}
		hpack_free(h);
		assert_int_equal(blocks_out, 0);
	}
}

/* What the library had then is not given back: nobody knows what it made of it. */
static void an_assertion_poisons_the_decoder_and_nothing_else(void **state)
{
	struct hpack *h, *other = hpack_new();

	(void)state;
	assert_true(decode_some(other));
	takes = 0;
	assert_at = 6;
	h = hpack_new();
	assert_non_null(h);
	assert_false(decode_some(h));
	assert_false(hpack_feed(h, "\x82", 1, true, ignore, NULL));
	assert_false(hpack_change_table_size(h, 1));
	hpack_free(h);
	assert_true(decode_some(other));
	hpack_free(other);
	assert_true(blocks_out > 0);
	for (size_t i = 0; i < sizeof(abandoned) / sizeof(abandoned[0]); i++) {
		blocks_out -= abandoned[i] != NULL;
		free(abandoned[i]);
		abandoned[i] = NULL;
	}
}

/* ---- against a real encoder, and nghttp2's own decoder ---- */

static uint64_t seed;

static uint32_t pick(uint32_t below)
{
	seed = seed * 6364136223846793005u + 1442695040888963407u;
	return (uint32_t)(seed >> 33) % below;
}

struct digest {
	uint64_t hash;
	size_t fields;
};

static bool digest(void *owner, const char *name, size_t name_len, const char *value, size_t value_len)
{
	struct digest *d = owner;

	for (size_t i = 0; i < name_len; i++)
		d->hash = (d->hash ^ (unsigned char)name[i]) * 0x100000001b3u;
	d->hash = (d->hash ^ 0x100 ^ name_len) * 0x100000001b3u;
	for (size_t i = 0; i < value_len; i++)
		d->hash = (d->hash ^ (unsigned char)value[i]) * 0x100000001b3u;
	d->hash = (d->hash ^ 0x200 ^ value_len) * 0x100000001b3u;
	d->fields++;
	return true;
}

/* Names that come again, names of the static table, any bytes in a value, now and then a long one. */
static size_t random_fields(nghttp2_nv *fields, char *text)
{
	static const char *const names[] = { ":method", ":path",      "cookie",          "accept", "traceparent", "x-a",
		                             "x-b",     "set-cookie", "accept-encoding", "etag",   "date" };
	size_t count = pick(12);

	for (size_t i = 0; i < count; i++) {
		size_t len = pick(20) == 0 ? pick(3000) : pick(40);

		if (pick(4) == 0) {
			fields[i].namelen = 1 + pick(30);
			fields[i].name = (uint8_t *)text;
			for (size_t j = 0; j < fields[i].namelen; j++)
				*text++ = (char)('a' + pick(26));
		} else {
			const char *name = names[pick(sizeof(names) / sizeof(names[0]))];

			fields[i].name = (uint8_t *)name;
			fields[i].namelen = strlen(name);
		}
		fields[i].value = (uint8_t *)text;
		fields[i].valuelen = len;
		for (size_t j = 0; j < len; j++)
			*text++ = (char)(pick(3) == 0 ? pick(256) : pick(2) ? 'a' + pick(4) : '0' + pick(10));
		fields[i].flags = pick(6) == 0 ? NGHTTP2_NV_FLAG_NO_INDEX : NGHTTP2_NV_FLAG_NONE;
	}
	return count;
}

static void reference_decode(nghttp2_hd_inflater *inflater, const uint8_t *in, size_t len, struct digest *d)
{
	for (;;) {
		nghttp2_nv field;
		int flags = 0;
		ssize_t n = nghttp2_hd_inflate_hd2(inflater, &field, &flags, in, len, 1);

		assert_true(n >= 0);
		in += n;
		len -= (size_t)n;
		if (flags & NGHTTP2_HD_INFLATE_EMIT)
			digest(d, (const char *)field.name, field.namelen, (const char *)field.value, field.valuelen);
		if (flags & NGHTTP2_HD_INFLATE_FINAL)
			break;
	}
	assert_int_equal(nghttp2_hd_inflate_end_headers(inflater), 0);
}

static void decode_in_pieces(struct hpack *h, const uint8_t *in, size_t len, struct digest *d)
{
	size_t at = 0;

	do {
		size_t n = pick(3) == 0 ? len - at : pick(40);

		n = n < len - at ? n : len - at;
		assert_true(hpack_feed(h, (const char *)in + at, n, at + n == len, digest, d));
		at += n;
		if (n == 0 && at == len)
			break;
	} while (at < len);
}

static void change_sizes(nghttp2_hd_deflater *deflater, nghttp2_hd_inflater *inflater, struct hpack *h)
{
	uint32_t size = pick(3) == 0 ? pick(200) : pick(HPACK_TABLE_MAX + 1);

	/* The decoding side announces it, and the encoding side acknowledges: both before the next block. */
	assert_int_equal(nghttp2_hd_inflate_change_table_size(inflater, size), 0);
	assert_true(hpack_change_table_size(h, size));
	assert_int_equal(nghttp2_hd_deflate_change_table_size(deflater, size), 0);
}

static void random_connection(long blocks)
{
	static char text[12 * 3100];
	static uint8_t out[1 << 17];
	nghttp2_hd_deflater *deflater;
	nghttp2_hd_inflater *inflater;
	struct hpack *h = hpack_new();

	assert_non_null(h);
	assert_int_equal(nghttp2_hd_deflate_new(&deflater, pick(2) ? HPACK_TABLE_MAX : pick(8192)), 0);
	assert_int_equal(nghttp2_hd_inflate_new(&inflater), 0);
	while (blocks-- > 0) {
		struct digest sent = { 0 }, read = { 0 }, ours = { 0 };
		nghttp2_nv fields[12];
		size_t count = random_fields(fields, text);
		ssize_t len;

		if (pick(20) == 0)
			change_sizes(deflater, inflater, h);
		len = nghttp2_hd_deflate_hd(deflater, out, sizeof(out), fields, count);
		assert_true(len >= 0);
		for (size_t i = 0; i < count; i++)
			digest(&sent, (const char *)fields[i].name, fields[i].namelen, (const char *)fields[i].value,
			       fields[i].valuelen);
		reference_decode(inflater, out, (size_t)len, &read);
		decode_in_pieces(h, out, (size_t)len, &ours);
		assert_int_equal(ours.fields, count);
		assert_true(ours.hash == read.hash && ours.hash == sent.hash);
	}
	nghttp2_hd_deflate_del(deflater);
	nghttp2_hd_inflate_del(inflater);
	hpack_free(h);
}

static void random_blocks_are_decoded_as_nghttp2_does(void **state)
{
	const char *full = getenv("FULL");
	long connections = full != NULL && strcmp(full, "1") == 0 ? 5000 : 100;

	(void)state;
	for (long i = 1; i <= connections; i++) {
		seed = (uint64_t)i;
		random_connection(200);
	}
	assert_true(most_bytes <= (long)HPACK_MEMORY_MAX);
}

/* Random bytes: whatever nghttp2 makes of them, we do too. */
static void garbage_is_refused_where_nghttp2_refuses_it(void **state)
{
	int refused = 0, taken = 0;

	(void)state;
	for (int i = 0; i < 20000; i++) {
		nghttp2_hd_inflater *inflater;
		struct hpack *h = hpack_new();
		struct digest reference = { 0 }, ours = { 0 };
		uint8_t bytes[40];
		size_t len = 1 + pick(sizeof(bytes)), left = len;
		const uint8_t *in = bytes;
		bool sound = false;

		for (size_t j = 0; j < len; j++)
			bytes[j] = (uint8_t)(pick(3) ? pick(256) : 0x80 + pick(62));
		if (pick(2)) { /* a value that is Huffman-coded, of any bits */
			bytes[0] = 4;
			if (len > 1)
				bytes[1] = (uint8_t)(0x80 | (len - 2));
		}
		assert_int_equal(nghttp2_hd_inflate_new(&inflater), 0);
		for (;;) {
			nghttp2_nv field;
			int flags = 0;
			ssize_t n = nghttp2_hd_inflate_hd2(inflater, &field, &flags, in, left, 1);

			if (n < 0)
				break;
			in += n;
			left -= (size_t)n;
			if (flags & NGHTTP2_HD_INFLATE_EMIT)
				digest(&reference, (const char *)field.name, field.namelen, (const char *)field.value,
				       field.valuelen);
			sound = flags & NGHTTP2_HD_INFLATE_FINAL;
			if (sound)
				break;
		}
		assert_int_equal(hpack_feed(h, (const char *)bytes, len, true, digest, &ours), sound);
		assert_true(ours.fields == reference.fields && ours.hash == reference.hash);
		refused += !sound;
		taken += sound;
		nghttp2_hd_inflate_del(inflater);
		hpack_free(h);
	}
	assert_true(refused > 100 && taken > 100);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, begin_memory, end_memory)
	const struct CMUnitTest tests[] = {
		TEST(the_examples_of_the_rfc_are_decoded),
		TEST(the_requests_of_the_rfc_are_decoded),
		TEST(the_responses_of_the_rfc_are_decoded),
		TEST(what_is_wrong_is_refused_for_good),
		TEST(a_table_that_became_smaller_must_be_announced),
		TEST(a_table_beyond_our_bound_is_refused_when_it_is_used),
		TEST(who_stops_a_block_stops_the_decoder),
		TEST(a_full_table_stays_within_the_bound),
		TEST(a_usual_decoder_is_small),
		TEST(lengths_that_lie_take_no_more_than_the_bound),
		TEST(no_memory_poisons_and_loses_nothing),
		TEST(an_assertion_poisons_the_decoder_and_nothing_else),
		TEST(random_blocks_are_decoded_as_nghttp2_does),
		TEST(garbage_is_refused_where_nghttp2_refuses_it),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

/*
 * Blocks of HTTP/2 that come again are not decoded again (http2_fields.c): a scanner that remembers them says the same as one that
 * decodes each, and has the same in HPACK's table. The other one gets each block in two frames: of such it remembers none.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "hpack.h"
#include "http2_internal.h"

static uint64_t seed;

static unsigned pick(unsigned below)
{
	seed = seed * 6364136223846793005u + 1442695040888963407u;
	return (unsigned)(seed >> 33) % below;
}

/* ---- blocks ---- */

struct block {
	size_t len;
	char at[300];
};

static void put(struct block *b, unsigned octet)
{
	assert_true(b->len < sizeof(b->at));
	b->at[b->len++] = (char)octet;
}

static void put_number(struct block *b, unsigned first, unsigned mask, unsigned n)
{
	if (n < mask) {
		put(b, first | n);
		return;
	}
	put(b, first | mask);
	for (n -= mask; n >= 128; n >>= 7)
		put(b, (n & 127) | 128);
	put(b, n);
}

static void put_text(struct block *b, unsigned most)
{
	static const char coded[] = "\x8c\xf1\xe3\xc2\xe5\xf2\x3a\x6b\xa0\xab\x90\xf4\xff"; /* www.example.com */
	unsigned len = pick(most);

	if (pick(3) == 0) {
		for (size_t i = 0; i < sizeof(coded) - 1; i++)
			put(b, (unsigned char)coded[i]);
		return;
	}
	put_number(b, 0, 127, len);
	while (len-- > 0)
		put(b, 'a' + pick(26));
}

/* One of the static table, of the other one as far as that is filled, or perhaps beyond. */
static unsigned any_index(bool dynamic)
{
	return dynamic && pick(2) == 0 ? 62 + pick(pick(20) == 0 ? 40 : 6) : 1 + pick(61);
}

static void put_field(struct block *b, bool dynamic)
{
	static const struct {
		unsigned first, mask;
	} literals[] = { { 0x40, 0x3f }, { 0x40, 0x3f }, { 0x00, 0x0f }, { 0x10, 0x0f } };
	unsigned kind = pick(6), index = pick(4) == 0 ? 0 : any_index(dynamic);

	if (kind >= 4) {
		put_number(b, 0x80, 0x7f, any_index(dynamic));
		return;
	}
	put_number(b, literals[kind].first, literals[kind].mask, index);
	if (index == 0)
		put_text(b, 12);
	put_text(b, pick(8) == 0 ? 90 : 20);
}

static struct block random_block(unsigned table)
{
	struct block b = { 0 };
	bool dynamic = pick(2) == 0;
	unsigned fields = 1 + pick(8);

	if (pick(12) == 0)
		put_number(&b, 0x20, 0x1f, pick(3) == 0 ? 0 : pick(table + 1));
	while (fields-- > 0 && b.len < 180)
		put_field(&b, dynamic);
	return b;
}

/* ---- two scanners ---- */

struct side {
	struct http2 h;
	uint64_t hash;
	size_t fields;
	enum http2_status status;
};

static struct side sides[2]; /* the one that remembers, and the one that does not */
static uint32_t stream;
static unsigned long known, entering, apart; /* how often */

static void hash(struct side *s, const void *bytes, size_t len)
{
	s->hash = (s->hash ^ len) * 0x100000001b3u;
	for (size_t i = 0; i < len; i++)
		s->hash = (s->hash ^ ((const unsigned char *)bytes)[i]) * 0x100000001b3u;
}

static bool wants(const char *name, size_t len)
{
	return len % 3 != 0 || (len > 0 && name[0] == ':');
}

static void take_field(void *owner, const struct http2_block *block, const char *name, size_t name_len,
                       const char *value, size_t value_len)
{
	struct side *s = owner;

	assert_int_equal(block->stream, stream);
	hash(s, name, name_len);
	hash(s, value, value_len);
	s->fields++;
}

static void feed(struct side *s, enum http2_side from, unsigned type, unsigned flags, uint32_t id, const char *payload,
                 size_t len)
{
	const struct http2_sink sink = { .wants = wants, .field = take_field, .owner = s };
	char in[9 + sizeof(((struct block *)0)->at)] = { 0 };
	size_t used, at = 0;

	in[1] = (char)(len >> 8);
	in[2] = (char)len;
	in[3] = (char)type;
	in[4] = (char)flags;
	in[7] = (char)(id >> 8);
	in[6] = (char)(id >> 16);
	in[8] = (char)id;
	memcpy(in + 9, payload, len);
	do {
		s->status = http2_feed(&s->h, from, &sink, in + at, 9 + len - at, &used);
		at += used;
	} while (at < 9 + len);
}

static void feed_in_two(struct side *s, const struct block *b, size_t cut)
{
	feed(s, HTTP2_CLIENT, TYPE_HEADERS, FLAG_END_STREAM, stream, b->at, cut);
	if (s->status != HTTP2_ALIEN)
		feed(s, HTTP2_CLIENT, TYPE_CONTINUATION, FLAG_END_HEADERS, stream, b->at + cut, b->len - cut);
}

/* Returns false where both refuse it. */
static bool take_block(const struct block *b)
{
	const struct http2_block *one = &sides[0].h.half[HTTP2_CLIENT].block,
				 *other = &sides[1].h.half[HTTP2_CLIENT].block;
	size_t cut = pick((unsigned)b->len + 1);

	stream += 2;
	if (pick(20) == 0)
		feed_in_two(&sides[0], b, cut);
	else
		feed(&sides[0], HTTP2_CLIENT, TYPE_HEADERS, FLAG_END_STREAM | FLAG_END_HEADERS, stream, b->at, b->len);
	feed_in_two(&sides[1], b, cut);
	assert_int_equal(sides[0].status, sides[1].status);
	if (sides[0].status == HTTP2_ALIEN)
		return false;
	assert_int_equal(sides[0].status, HTTP2_BLOCK);
	assert_false(sides[1].h.half[HTTP2_CLIENT].known);
	known += sides[0].h.half[HTTP2_CLIENT].known;
	entering += sides[0].h.half[HTTP2_CLIENT].known && sides[0].h.half[HTTP2_CLIENT].repeated.enough > 0;
	apart += sides[0].h.half[HTTP2_CLIENT].repeated.due > 0;
	assert_int_equal(one->sound, other->sound);
	assert_int_equal(one->kind, other->kind);
	assert_int_equal(one->status, other->status);
	assert_int_equal(one->fields, other->fields);
	assert_int_equal(one->list_bytes, other->list_bytes);
	assert_int_equal(one->grpc, other->grpc);
	assert_int_equal(one->grpc_status, other->grpc_status);
	assert_true(sides[0].hash == sides[1].hash && sides[0].fields == sides[1].fields);
	return true;
}

/* All that is in the tables, entry by entry, up to the one that is not there. */
static void compare_tables(void)
{
	struct block b = { 0 };
	unsigned entry = 62;

	do {
		b.len = 0;
		put_number(&b, 0x80, 0x7f, entry++);
	} while (take_block(&b));
	assert_true(entry < 62 + HPACK_TABLE_MAX / HPACK_ENTRY_MIN + 2);
}

static void begin(void)
{
	stream = 1;
	for (int i = 0; i < 2; i++) {
		struct side *s = &sides[i];
		size_t used;

		*s = (struct side){ 0 };
		http2_init(&s->h, false);
		http2_feed(&s->h, HTTP2_CLIENT, NULL, HTTP2_PREFACE, HTTP2_PREFACE_LEN, &used);
		feed(s, HTTP2_CLIENT, TYPE_SETTINGS, 0, 0, "", 0);
	}
}

static void allow_table(uint32_t size)
{
	char setting[6] = { 0, 1, (char)(size >> 24), (char)(size >> 16), (char)(size >> 8), (char)size };

	for (int i = 0; i < 2; i++) {
		feed(&sides[i], HTTP2_SERVER, TYPE_SETTINGS, 0, 0, setting, sizeof(setting));
		feed(&sides[i], HTTP2_CLIENT, TYPE_SETTINGS, FLAG_ACK, 0, "", 0);
	}
}

static void run_connection(void)
{
	static const uint32_t sizes[] = { 0, 40, 100, 700, 4096, 4096, 65536 };
	struct block blocks[4] = { 0 };
	unsigned table = HPACK_TABLE_DEFAULT, runs = 1 + pick(30);
	bool well = true;

	begin();
	while (runs-- > 0 && well) {
		unsigned which = pick(4), times = pick(3) == 0 ? 1 + pick(200) : 1 + pick(6);

		if (pick(10) == 0) {
			uint32_t size = sizes[pick(sizeof(sizes) / sizeof(sizes[0]))];
			struct block smaller = { 0 };

			allow_table(size);
			if (size < table) { /* then it has to be said */
				put_number(&smaller, 0x20, 0x1f, size);
				well = take_block(&smaller);
			}
			table = size;
		}
		if (runs % 4 == 3 || blocks[which].len == 0 || pick(3) == 0)
			blocks[which] = random_block(table);
		while (times-- > 0 && well)
			well = take_block(&blocks[which]);
	}
	if (well)
		compare_tables();
	for (int i = 0; i < 2; i++)
		http2_free(&sides[i].h);
}

static void what_is_remembered_is_what_would_have_been_decoded(void **state)
{
	const char *full = getenv("FULL");
	unsigned long connections = full != NULL && strcmp(full, "1") == 0 ? 20000 : 500;

	(void)state;
	for (unsigned long i = 1; i <= connections; i++) {
		seed = i;
		run_connection();
	}
	assert_true(known > connections * 10);
	assert_true(entering > connections);
	assert_true(apart > connections);
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(what_is_remembered_is_what_would_have_been_decoded) };

	return cmocka_run_group_tests(tests, NULL, NULL);
}

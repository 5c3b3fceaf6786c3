/*
 * The HTTP/2 scanner: what it says of a connection is the same whether its bytes come whole, one by one or split at
 * random, and whether its owner wants to be told of fields (else blocks that come again are not decoded); and with fields inserted into the client's blocks it is what it was before, but for these.
 *
 * The input is what both sides said, in order: pieces of a header of two bytes, which is the side (the highest bit; 1:
 * the server) and the length, and as many bytes. The first byte of the input says whether the connection was upgraded.
 */
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "http2.h"
#include "fuzz.h"

enum split { WHOLE, BYTES, RANDOM, INSERTING, UNWANTING };

#define NAME "traceparent"
#define VALUE "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"

struct run {
	struct http2 h;
	enum split split;
	uint64_t digest; /* of all events of both sides */
	uint64_t blocks; /* of what was said of blocks when they were over */
	uint64_t data;   /* bytes of DATA since the last event */
	uint64_t events;
	uint64_t random;
	uint32_t inserted; /* fields in the block that is being read */
};

static void note(struct run *r, const void *bytes, size_t len)
{
	r->digest = fuzz_digest(r->digest, bytes, len);
}

static size_t pick(struct run *r, size_t below)
{
	return fuzz_pick(&r->random, below);
}

static void field(void *owner, const struct http2_block *block, const char *name, size_t name_len, const char *value,
                  size_t value_len)
{
	struct run *r = owner;

	if (r->split == INSERTING && name_len == strlen(NAME) && value_len == strlen(VALUE) &&
	    memcmp(name, NAME, name_len) == 0 && memcmp(value, VALUE, value_len) == 0) {
		r->inserted++;
		return;
	}
	CHECK(block->fields > 0 && block->list_bytes <= LIMIT_HEAD_BYTES);
	note(r, &block->stream, sizeof(block->stream));
	note(r, name, name_len);
	note(r, value, value_len);
}

static bool want_none(const char *name, size_t name_len)
{
	(void)name, (void)name_len;
	return false;
}

static void data(void *owner, uint32_t stream, size_t len)
{
	CHECK(stream != 0 && len > 0);
	((struct run *)owner)->data += len;
}

static void note_block(struct run *r, const struct http2_block *b)
{
	uint32_t fields = b->fields - r->inserted;
	uint32_t said[] = { b->stream, b->promised, b->opens, b->end_stream, b->kind, b->sound, b->status, fields };

	note(r, said, sizeof(said));
	for (size_t i = 0; i < sizeof(said) / sizeof(said[0]); i++)
		r->blocks = (r->blocks ^ said[i]) * 0x100000001b3u;
	r->blocks =
		(r->blocks ^ b->list_bytes ^ (uint64_t)b->grpc << 32 ^ (uint64_t)b->grpc_status << 40) * 0x100000001b3u;
	CHECK(!b->sound || b->kind == HTTP2_TRAILERS || b->fields > r->inserted);
	r->inserted = 0;
}

static void note_event(struct run *r, enum http2_side from, enum http2_status status)
{
	const struct http2_half *half = &r->h.half[from];

	note(r, &status, sizeof(status));
	note(r, &r->data, sizeof(r->data));
	r->data = 0;
	r->events++;
	if (status == HTTP2_BLOCK)
		note_block(r, &half->block);
	else if (status == HTTP2_END || status == HTTP2_RESET || status == HTTP2_GOAWAY)
		note(r, &half->stream, sizeof(half->stream));
	if (status == HTTP2_RESET || status == HTTP2_GOAWAY)
		note(r, &half->code, sizeof(half->code));
}

/* One piece of exact size, so that the sanitizer sees every step over its ends. */
static void feed(struct run *r, enum http2_side from, const uint8_t *in, size_t len)
{
	const struct http2_sink sink = {
		.wants = r->split == UNWANTING ? want_none : NULL, .field = field, .data = data, .owner = r
	};
	char *piece = malloc(len ? len : 1), *p = piece;

	memcpy(piece, in, len);
	for (;;) {
		size_t used = SIZE_MAX;
		uint64_t before = r->h.half[from].taken;
		enum http2_status status = http2_feed(&r->h, from, &sink, p, len, &used);

		CHECK(used <= len && r->h.half[from].taken == before + used);
		p += used;
		len -= used;
		if (status == HTTP2_MORE || status == HTTP2_ALIEN) {
			CHECK(len == 0);
			break;
		}
		note_event(r, from, status);
	}
	free(piece);
}

/*
 * The frame's payload, once the whole of it lies in the piece and it ends a request of the client's that may get more;
 * else 0.
 */
static size_t last_frame(const struct run *r, enum http2_side from, const uint8_t *in, size_t len)
{
	size_t frame;

	if (from != HTTP2_CLIENT || r->h.alien || !http2_between_frames(&r->h, from) || len < 9)
		return 0;
	frame = 9u + ((size_t)in[0] << 16 | (size_t)in[1] << 8 | in[2]);
	return in[3] == 1 && in[4] & 4 && frame <= len ? frame : 0;
}

/* Frame by frame: each that is a whole block in HEADERS gets a field, where the scanner then takes it for sound. */
static void feed_inserting(struct run *r, enum http2_side from, const uint8_t *in, size_t len)
{
	char text[100], *out;
	size_t frame = last_frame(r, from, in, len), fields, n;

	if (frame == 0) {
		/* To the next frame's beginning, as far as that is known: byte by byte. */
		while (len > 0 && last_frame(r, from, in, len) == 0) {
			feed(r, from, in++, 1);
			len--;
		}
		if (len > 0)
			feed_inserting(r, from, in, len);
		return;
	}
	fields = http2_put_field(text, sizeof(text), NAME, strlen(NAME), VALUE, strlen(VALUE));
	out = malloc(frame + fields + 9);
	n = http2_extend_frame(out, frame + fields + 9, (const char *)in, frame, text, fields,
	                       http2_max_frame(&r->h, from));
	feed(r, from, n > 0 ? (const uint8_t *)out : in, n > 0 ? n : frame);
	free(out);
	if (len > frame)
		feed_inserting(r, from, in + frame, len - frame);
}

static struct run run(enum split split, const uint8_t *in, size_t len)
{
	struct run r = { .split = split, .random = len };

	http2_init(&r.h, in[0] & 1);
	in++;
	len--;
	while (len >= 2 && !r.h.alien) {
		enum http2_side from = in[0] & 0x80 ? HTTP2_SERVER : HTTP2_CLIENT;
		size_t piece = ((size_t)in[0] & 0x7f) << 8 | in[1], at = 0;

		in += 2;
		len -= 2;
		piece = piece < len ? piece : len;
		while (at < piece) {
			size_t n = split == BYTES ? 1 : split == RANDOM ? 1 + pick(&r, pick(&r, 3) ? 12 : 300) : piece;

			n = n < piece - at ? n : piece - at;
			if (split == INSERTING)
				feed_inserting(&r, from, in + at, n);
			else
				feed(&r, from, in + at, n);
			at += n;
		}
		in += piece;
		len -= piece;
	}
	http2_free(&r.h);
	return r;
}

static void check_sniff(const uint8_t *in, size_t len)
{
	enum http2_sniff before = HTTP2_SNIFF_MAYBE;

	for (size_t n = 0; n <= len && n < 40; n++) {
		enum http2_sniff now = http2_sniff_preface((const char *)in, n);

		CHECK(before == HTTP2_SNIFF_MAYBE || now == before);
		before = now;
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *in, size_t len)
{
	struct run whole, other;

	if (len < 1)
		return 0;
	whole = run(WHOLE, in, len);
	for (enum split split = BYTES; split <= RANDOM; split++) {
		other = run(split, in, len);
		CHECK(other.events == whole.events && other.digest == whole.digest && other.h.alien == whole.h.alien);
	}
	other = run(UNWANTING, in, len);
	CHECK(other.events == whole.events && other.blocks == whole.blocks && other.h.alien == whole.h.alien);
	/*
	 * A block that is at a limit may go beyond it with more in it; and what is not sound may be so in another way.
	 */
	other = run(INSERTING, in, len);
	if (!whole.h.alien && !other.h.alien)
		CHECK(other.events == whole.events && other.digest == whole.digest);
	if (!whole.h.alien)
		CHECK(!other.h.alien || len > 1024);
	check_sniff(in + 1, len - 1);
	return 0;
}

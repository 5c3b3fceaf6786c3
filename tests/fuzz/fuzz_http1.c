/*
 * The HTTP/1 scanner: the events and boundaries of a stream are the same whether it is fed whole, byte by byte or split
 * at random; whether or not forks were fed and dropped in between; with and without the sink's filter; with body bytes
 * skipped instead of fed; and whether or not its heads are known. The first byte of the input chooses kind and options, the rest is the stream.
 */
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "http1.h"
#include "fuzz.h"

enum split { WHOLE, BYTES, RANDOM };

struct run {
	struct http1 scanner;
	uint64_t digest; /* of all events */
	uint64_t events;
	uint64_t random;
	size_t offset;
	int buffers;
	bool ended;
	enum split split;
	bool forks, filter, skips;
	struct http1_known *known; /* of heads that were read before; NULL: nothing */
};

static void note(struct run *r, const void *bytes, size_t len)
{
	r->digest = fuzz_digest(r->digest, bytes, len);
	r->events++;
}

static size_t pick(struct run *r, size_t below)
{
	return fuzz_pick(&r->random, below);
}

static const char *const wanted[] = { "host", "traceparent", "tracestate", "baggage", "a", "x-request-id" };

static bool wants(void *owner, const char *name, size_t len)
{
	(void)owner;
	CHECK(len >= 1 && len <= LIMIT_HEADER_NAME);
	for (size_t i = 0; i < sizeof(wanted) / sizeof(wanted[0]); i++) {
		if (len == strlen(wanted[i]) && memcmp(name, wanted[i], len) == 0)
			return true;
	}
	return false;
}

static void field(void *owner, const char *name, size_t name_len, const char *value, size_t len)
{
	CHECK(wants(owner, name, name_len));
	CHECK(name_len + len <= LIMIT_HEAD_LINE);
	for (size_t i = 0; i < len; i++)
		CHECK(value[i] == '\t' || ((unsigned char)value[i] >= 0x20 && value[i] != 0x7f));
	CHECK(len == 0 || (value[0] != ' ' && value[0] != '\t' && value[len - 1] != ' ' && value[len - 1] != '\t'));
	note(owner, name, name_len);
	note(owner, value, len);
}

static char *buffer(void *owner)
{
	struct run *r = owner;

	CHECK(r->buffers++ == 0);
	return malloc(LIMIT_HEAD_LINE);
}

static enum http1_status feed_or_skip(struct run *r, const struct http1_sink *sink, const char *in, size_t len,
                                      size_t *used)
{
	bool head = http1_in_head(&r->scanner);
	uint64_t skipped;
	enum http1_status status;

	if (!r->skips || head || (r->scanner.body != HTTP1_BODY_LENGTH && r->scanner.body != HTTP1_BODY_UNTIL_CLOSE))
		return http1_feed(&r->scanner, sink, buffer, in, len, used);
	status = http1_skip(&r->scanner, len, &skipped);
	*used = (size_t)skipped;
	return status;
}

static void note_status(struct run *r, enum http1_status status)
{
	const struct http1 *h = &r->scanner;

	note(r, &status, sizeof(status));
	if (status == HTTP1_ALIEN)
		return;
	note(r, &r->offset, sizeof(r->offset));
	if (status == HTTP1_HEAD || status == HTTP1_HEAD_END || status == HTTP1_TUNNEL) {
		const uint8_t results[] = { h->method, h->body, h->minor, h->close, h->upgrade, h->interim };

		note(r, results, sizeof(results));
		note(r, &h->status, sizeof(h->status));
	}
}

/* One exact-size piece of the stream, in fresh memory so that the sanitizer sees every step over its ends. */
static void feed(struct run *r, enum http1_kind kind, unsigned options, const char *in, size_t len)
{
	struct http1_filter filter;
	struct http1_sink sink = { .wants = wants, .field = field, .owner = r, .known = r->known };
	char *piece = malloc(len ? len : 1), *p = piece;

	sink.filter = r->filter ? &filter : NULL;
	http1_filter_init(&filter);
	for (size_t i = 0; r->filter && i < sizeof(wanted) / sizeof(wanted[0]); i++)
		http1_expect_field(&filter, wanted[i], strlen(wanted[i]));
	memcpy(piece, in, len);
	while (!r->ended) {
		size_t used;
		enum http1_status status = feed_or_skip(r, &sink, p, len, &used);

		CHECK(used <= len);
		r->offset += used;
		p += used;
		len -= used;
		if (status == HTTP1_MORE) {
			CHECK(len == 0);
			break;
		}
		note_status(r, status);
		r->ended = status == HTTP1_ALIEN || status == HTTP1_TUNNEL;
		if (status == HTTP1_DONE) {
			free(r->scanner.line);
			http1_init(&r->scanner, kind, options);
			r->buffers = 0;
			if (len == 0)
				break;
		}
	}
	free(piece);
}

/* Feed a fork what may come next, in two pieces, and drop it. */
static void speculate(struct run *r, const char *in, size_t len)
{
	struct run copy = { .filter = r->filter };
	struct http1_sink sink = { .wants = wants, .field = field, .owner = &copy };
	size_t first = pick(r, len + 1), used;

	http1_fork(&copy.scanner, &r->scanner);
	if (http1_feed(&copy.scanner, &sink, buffer, in, first, &used) == HTTP1_MORE)
		http1_feed(&copy.scanner, &sink, buffer, in + first, len - first, &used);
	free(copy.scanner.line);
}

static struct run run(enum http1_kind kind, unsigned options, const char *in, size_t len, struct run r)
{
	size_t at = 0;
	enum http1_status status;

	http1_init(&r.scanner, kind, options);
	r.random = len;
	while (at < len && !r.ended) {
		size_t n = r.split == WHOLE ? len : r.split == BYTES ? 1 : 1 + pick(&r, pick(&r, 4) ? 12 : 200);

		n = n < len - at ? n : len - at;
		if (r.forks)
			speculate(&r, in + at, len - at < 64 ? len - at : 64);
		feed(&r, kind, options, in + at, n);
		at += n;
	}
	status = http1_eof(&r.scanner);
	note(&r, &status, sizeof(status));
	free(r.scanner.line);
	return r;
}

/* With heads known from the stream itself, and from one that differs from it in one byte. */
static void check_known(enum http1_kind kind, unsigned options, char *in, size_t len, const struct run *whole)
{
	static struct http1_known known;
	struct run r = { .known = &known };

	for (size_t i = 0; i < 6; i++) {
		struct run other;

		known.unequal = 0; /* so that it is kept */
		r.split = i % 2 ? RANDOM : WHOLE;
		if (i == 3 && len > 0) {
			in[whole->digest % len] ^= (char)(1 << whole->digest % 7);
			(void)run(kind, options, in, len, r);
			in[whole->digest % len] ^= (char)(1 << whole->digest % 7);
			known.unequal = 3;
		}
		other = run(kind, options, in, len, r);
		CHECK(other.digest == whole->digest && other.events == whole->events);
	}
	known.len = 0; /* each input by itself */
}

static void check_sniff(const char *in, size_t len)
{
	enum http1_sniff before = HTTP1_SNIFF_MAYBE;

	/* More bytes may decide a 'maybe', and never take a decision back. */
	for (size_t n = 0; n <= len && n < 40; n++) {
		enum http1_sniff now = http1_sniff_request(in, n);

		CHECK(before == HTTP1_SNIFF_MAYBE || now == before);
		before = now;
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const struct run ways[] = {
		{ .split = BYTES },
		{ .split = RANDOM },
		{ .split = RANDOM, .forks = true },
		{ .split = WHOLE, .filter = true },
		{ .split = BYTES, .filter = true, .forks = true },
		{ .split = RANDOM, .skips = true },
		{ .split = WHOLE, .skips = true },
	};
	const char *in = (const char *)data + 1;
	enum http1_kind kind;
	unsigned options;
	struct run whole;
	char *copy;

	if (size == 0)
		return 0;
	kind = data[0] & 1 ? HTTP1_RESPONSE : HTTP1_REQUEST;
	options = data[0] >> 1 & 7u;
	whole = run(kind, options, in, size - 1, (struct run){ .split = WHOLE });
	for (size_t i = 0; i < sizeof(ways) / sizeof(ways[0]); i++) {
		struct run other = run(kind, options, in, size - 1, ways[i]);

		CHECK(other.digest == whole.digest && other.events == whole.events);
	}
	copy = malloc(size);
	memcpy(copy, in, size - 1);
	check_known(kind, options, copy, size - 1, &whole);
	free(copy);
	check_sniff(in, size - 1);
	return 0;
}

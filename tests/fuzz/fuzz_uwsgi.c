/*
 * The scanner of uwsgi's packet: what a stream says is the same whether it is fed whole, byte by byte or split at random; what the first
 * bytes were not taken for is never read as a packet to its end.
 */
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "uwsgi.h"
#include "fuzz.h"

struct run {
	struct uwsgi h;
	uint64_t digest, random;
	size_t head;
};

static void note(struct run *r, const void *bytes, size_t len)
{
	r->digest = fuzz_digest(r->digest, bytes, len);
}

static void pair(void *owner, const char *name, size_t name_len, const char *value, size_t value_len)
{
	CHECK(name_len >= 1 && name_len <= LIMIT_HEADER_NAME + 5 && name_len + value_len <= LIMIT_HEAD_LINE);
	note(owner, name, name_len);
	note(owner, value, value_len);
}

static char *buffer(void *owner)
{
	(void)owner;
	return malloc(LIMIT_HEAD_LINE);
}

static void feed(struct run *r, const char *in, size_t len, size_t offset)
{
	struct cgi_sink sink = { pair, r };

	while (len > 0) {
		enum uwsgi_status status;
		size_t used;

		status = uwsgi_feed(&r->h, &sink, buffer, in, len, &used);
		CHECK(used <= len && (status == UWSGI_HEAD || used == len));
		in += used;
		len -= used;
		offset += used;
		if (status == UWSGI_HEAD) {
			CHECK(r->head == 0);
			r->head = offset;
		}
	}
}

static struct run run(const uint8_t *data, size_t size, int split)
{
	struct run r = { .random = size };
	size_t at = 0;

	uwsgi_init(&r.h);
	while (at < size) {
		size_t len = size, random = 1 + fuzz_pick(&r.random, 40);
		char *piece;

		if (split != 0)
			len = split == 1 ? 1 : random;
		if (len > size - at)
			len = size - at;
		piece = malloc(len);
		memcpy(piece, data + at, len);
		feed(&r, piece, len, at);
		free(piece);
		at += len;
	}
	free(r.h.pairs.line);
	return r;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct run whole = run(data, size, 0);
	int split;

	for (split = 1; split <= 2; split++) {
		struct run r = run(data, size, split);

		CHECK(r.digest == whole.digest && r.head == whole.head && r.h.poisoned == whole.h.poisoned);
	}
	CHECK(whole.head == 0 || whole.head <= UWSGI_PACKET_HEAD + UWSGI_PACKET_MAX);
	CHECK(!uwsgi_sniff((const char *)data, size, true) || uwsgi_sniff((const char *)data, size, false));
	return 0;
}

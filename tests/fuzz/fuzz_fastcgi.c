/*
 * The FastCGI scanner: events, pairs and boundaries of a stream are the same whether it is fed whole, byte by byte or split at random, with
 * forks fed and dropped in between, and with the dry run's stops. The first byte of the input chooses the side, the rest is
 * the stream. Pairs of our own making, put before the end of the params, are read back as what they were made of.
 */
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "fastcgi.h"
#include "fuzz.h"

struct run {
	struct fastcgi h;
	uint64_t digest, random;
	bool alien;
};

static void note(struct run *r, const void *bytes, size_t len)
{
	r->digest = fuzz_digest(r->digest, bytes, len);
}

static size_t pick(struct run *r, size_t below)
{
	return fuzz_pick(&r->random, below);
}

static void pair(void *owner, const char *name, size_t name_len, const char *value, size_t value_len)
{
	char field[LIMIT_HEADER_NAME];

	CHECK(name_len >= 1 && name_len <= LIMIT_HEADER_NAME + 5);
	CHECK(name_len + value_len <= LIMIT_HEAD_LINE);
	CHECK(cgi_field_name(field, name, name_len) <= LIMIT_HEADER_NAME);
	note(owner, name, name_len);
	note(owner, value, value_len);
}

static char *buffer(void *owner)
{
	(void)owner;
	return malloc(LIMIT_HEAD_LINE);
}

/* Let a fork read some of what comes: the original must not notice. */
static void fork_and_drop(struct run *r, const char *in, size_t len)
{
	struct run other = { .random = r->random };
	struct cgi_sink sink = { pair, &other };
	size_t used;

	if (!fastcgi_fork(&other.h, &r->h, buffer))
		return;
	other.h.stops = pick(r, 2) != 0;
	(void)fastcgi_feed(&other.h, &sink, buffer, in, len, &used);
	CHECK(used <= len);
	free(other.h.pairs.line);
}

static void feed(struct run *r, const char *in, size_t len, size_t offset)
{
	struct cgi_sink sink = { pair, r };

	while (len > 0 && !r->alien) {
		enum fastcgi_status status;
		size_t used;

		status = fastcgi_feed(&r->h, &sink, buffer, in, len, &used);
		CHECK(used <= len && (status != FASTCGI_MORE || used == len));
		in += used;
		len -= used;
		offset += used;
		if (status == FASTCGI_BLANK) {
			CHECK(r->h.stops);
			continue;
		}
		if (status == FASTCGI_MORE)
			continue;
		note(r, &status, sizeof(status));
		r->alien = status == FASTCGI_ALIEN;
		if (!r->alien && status != FASTCGI_ANSWER) /* told at the end of what was fed */
			note(r, &offset, sizeof(offset));
		if (status == FASTCGI_ANSWER)
			note(r, &r->h.answer.status, sizeof(r->h.answer.status));
		if (status == FASTCGI_END)
			fastcgi_expect(&r->h, 1);
	}
}

static uint64_t run(const uint8_t *data, size_t size, enum fastcgi_side side, int split, bool stops)
{
	struct run r = { .random = size };
	uint64_t digest;
	size_t at = 0;

	fastcgi_init(&r.h, side);
	r.h.stops = stops;
	if (side == FASTCGI_RESPONSES)
		fastcgi_expect(&r.h, 1);
	while (at < size && !r.alien) {
		size_t len = split == 0 ? size : split == 1 ? 1 : 1 + pick(&r, 40);
		char *piece;

		if (len > size - at)
			len = size - at;
		piece = malloc(len);
		memcpy(piece, data + at, len);
		if (split == 2)
			fork_and_drop(&r, piece, len);
		feed(&r, piece, len, at);
		free(piece);
		at += len;
	}
	digest = r.digest;
	free(r.h.pairs.line);
	return digest;
}

/* Lines of ours as pairs, and back. */
static void make_pairs(const uint8_t *data, size_t size, enum cgi_lengths kind)
{
	struct cgi_pairs pairs = { .kind = (uint8_t)kind, .limit = LIMIT_HEAD_BYTES };
	struct run r = { 0 }, expected = { 0 };
	struct cgi_sink sink = { pair, &r };
	char *lines = malloc(size + 32 + CGI_GROWTH), *value = lines + CGI_GROWTH + 13;
	size_t len = size < 5000 ? size : 5000, i;

	memcpy(lines + CGI_GROWTH, "x-trace-id : ", 13);
	memcpy(lines + CGI_GROWTH + 10, ": ", 2);
	value--;
	for (i = 0; i < len; i++)
		value[i] = (char)(data[i] == '\r' ? '.' : data[i]);
	memcpy(value + len, "\r\n", 2);
	pair(&expected, "HTTP_X_TRACE_ID", 15, value, len);
	i = cgi_format_pairs(kind, lines + CGI_GROWTH, 12 + len + 2, lines);
	CHECK(i <= len + 15 + 8);
	CHECK(cgi_pairs_feed(&pairs, &sink, buffer, lines, i) && cgi_pairs_whole(&pairs));
	CHECK(r.digest == expected.digest);
	free(pairs.line);
	free(lines);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	enum fastcgi_side side;
	uint64_t whole;

	if (size == 0)
		return 0;
	side = data[0] & 1 ? FASTCGI_RESPONSES : FASTCGI_REQUESTS;
	data++;
	size--;
	whole = run(data, size, side, 0, false);
	CHECK(run(data, size, side, 1, false) == whole);
	CHECK(run(data, size, side, 2, false) == whole);
	CHECK(run(data, size, side, 0, true) == whole);
	CHECK(run(data, size, side, 2, true) == whole);
	(void)fastcgi_sniff((const char *)data, size);
	make_pairs(data, size, CGI_FASTCGI);
	make_pairs(data, size, CGI_UWSGI);
	return 0;
}

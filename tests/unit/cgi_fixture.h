/*
 * Streams of FastCGI and uwsgi for the tests of their scanners: records and packets are put together here, and a stream is fed whole,
 * byte by byte and at every split, each piece in a block that is exactly its own.
 */
#ifndef CGI_FIXTURE_H
#define CGI_FIXTURE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "cgi.h"

struct bytes {
	size_t len;
	char at[1 << 19];
};

static inline void put(struct bytes *b, const void *from, size_t len)
{
	memcpy(b->at + b->len, from, len);
	b->len += len;
}

static inline void put_byte(struct bytes *b, unsigned byte)
{
	b->at[b->len++] = (char)byte;
}

/* Lengths as long as they have to be, or (`wide`) four bytes each. */
static inline void put_fastcgi_pair(struct bytes *b, const char *name, const char *value, size_t value_len, int wide)
{
	size_t lens[2] = { strlen(name), value_len }, i;

	for (i = 0; i < 2; i++) {
		if (wide || lens[i] > 127) {
			put_byte(b, 0x80 | (unsigned)(lens[i] >> 24));
			put_byte(b, (unsigned)(lens[i] >> 16) & 0xff);
			put_byte(b, (unsigned)(lens[i] >> 8) & 0xff);
		}
		put_byte(b, (unsigned)lens[i] & 0xff);
	}
	put(b, name, lens[0]);
	put(b, value, value_len);
}

static inline void put_uwsgi_pair(struct bytes *b, const char *name, const char *value, size_t value_len)
{
	size_t name_len = strlen(name);

	put_byte(b, name_len & 0xff);
	put_byte(b, (unsigned)(name_len >> 8));
	put(b, name, name_len);
	put_byte(b, value_len & 0xff);
	put_byte(b, (unsigned)(value_len >> 8));
	put(b, value, value_len);
}

static inline void put_record(struct bytes *b, unsigned type, unsigned id, const void *content, size_t len,
                              unsigned padding)
{
	const unsigned header[] = { 1, type, id >> 8, id & 0xff, (unsigned)(len >> 8), len & 0xff, padding, 0 };
	size_t i;

	for (i = 0; i < 8; i++)
		put_byte(b, header[i]);
	put(b, content, len);
	for (i = 0; i < padding; i++)
		put_byte(b, 0xee);
}

static inline void put_begin(struct bytes *b, unsigned id, unsigned flags)
{
	const char content[8] = { 0, 1, (char)flags };

	put_record(b, 1, id, content, sizeof(content), 0);
}

/* What a scanner said. */
struct said {
	size_t len;
	char text[1 << 16];
};

static inline void say(struct said *said, const char *format, ...) __attribute__((format(printf, 2, 3)));
static inline void say(struct said *said, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	said->len += (size_t)vsnprintf(said->text + said->len, sizeof(said->text) - said->len, format, args);
	va_end(args);
	assert_true(said->len < sizeof(said->text));
}

static inline void say_pair(void *owner, const char *name, size_t name_len, const char *value, size_t value_len)
{
	if (value_len > 60)
		say(owner, "%.*s=<%zu %c%c> ", (int)name_len, name, value_len, value[0], value[value_len - 1]);
	else
		say(owner, "%.*s=%.*s ", (int)name_len, name, (int)value_len, value);
}

static inline char *line_of_cgi(void *owner)
{
	(void)owner;
	return malloc(LIMIT_HEAD_LINE);
}

/* Each piece in its own block; `step` 0: whole; `cut`: a split at that place only. */
typedef void cgi_feed(void *scanner, struct said *said, const char *in, size_t len);
static inline void feed_in_pieces(cgi_feed *feed, void *scanner, struct said *said, const struct bytes *b, size_t step,
                                  size_t cut)
{
	size_t at = 0;

	while (at < b->len) {
		size_t len = step != 0 ? step : cut > at ? cut - at : b->len - at;
		char *piece;

		if (len > b->len - at)
			len = b->len - at;
		piece = malloc(len);
		memcpy(piece, b->at + at, len);
		feed(scanner, said, piece, len);
		free(piece);
		at += len;
	}
}

#endif

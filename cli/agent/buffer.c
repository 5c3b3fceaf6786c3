/*
 * Grows by doubling. Escaping looks at one byte at a time: what needs no escape, nearly everything, is copied in runs.
 */
#include "buffer.h"

#include <stdlib.h>

#include "../utf8.h"

bool buffer_reserve(struct buffer *b, size_t more)
{
	size_t room = b->room ? b->room : 1024;
	char *at;

	if (b->failed)
		return false;
	if (more <= b->room - b->len)
		return true;
	while (room - b->len < more)
		room *= 2;
	at = realloc(b->at, room);
	if (!at) {
		b->failed = true;
		return false;
	}
	b->at = at;
	b->room = room;
	return true;
}

void buffer_put(struct buffer *b, const void *bytes, size_t len)
{
	if (len && buffer_reserve(b, len)) {
		memcpy(b->at + b->len, bytes, len);
		b->len += len;
	}
}

void buffer_put_number(struct buffer *b, uint64_t number)
{
	char digits[20];
	size_t at = sizeof(digits);

	do {
		digits[--at] = (char)('0' + number % 10);
		number /= 10;
	} while (number);
	buffer_put(b, digits + at, sizeof(digits) - at);
}

void buffer_put_hex(struct buffer *b, const uint8_t *bytes, size_t len)
{
	static const char digit[] = "0123456789abcdef";

	if (!buffer_reserve(b, 2 * len))
		return;
	for (size_t i = 0; i < len; i++) {
		b->at[b->len++] = digit[bytes[i] >> 4];
		b->at[b->len++] = digit[bytes[i] & 15];
	}
}

static void buffer_put_escape(struct buffer *b, unsigned char c)
{
	static const char digit[] = "0123456789abcdef";
	char long_form[6] = { '\\', 'u', '0', '0', digit[c >> 4], digit[c & 15] };
	char short_form[2] = { '\\', (char)c };

	switch (c) {
	case '"':
	case '\\': break;
	case '\n': short_form[1] = 'n'; break;
	case '\r': short_form[1] = 'r'; break;
	case '\t': short_form[1] = 't'; break;
	default: buffer_put(b, long_form, sizeof(long_form)); return;
	}
	buffer_put(b, short_form, sizeof(short_form));
}

void buffer_put_json(struct buffer *b, const char *bytes, size_t len)
{
	const unsigned char *s = (const unsigned char *)bytes;
	size_t from = 0, at = 0, n;
	uint32_t code;

	while (at < len) {
		if (s[at] >= 0x20 && s[at] < 0x7f && s[at] != '"' && s[at] != '\\') {
			at++;
			continue;
		}
		n = s[at] >= 0x80 ? utf8_character(bytes + at, len - at, &code) : 0;
		if (n) {
			at += n;
			continue;
		}
		buffer_put(b, s + from, at - from);
		if (s[at] >= 0x80)
			buffer_put(b, "\xef\xbf\xbd", 3);
		else
			buffer_put_escape(b, s[at]);
		from = ++at;
	}
	buffer_put(b, s + from, at - from);
}

void buffer_put_quoted(struct buffer *b, const char *bytes, size_t len)
{
	buffer_put(b, "\"", 1);
	buffer_put_json(b, bytes, len);
	buffer_put(b, "\"", 1);
}

void buffer_clear(struct buffer *b)
{
	b->len = 0;
	b->failed = false;
}

void buffer_free(struct buffer *b)
{
	free(b->at);
	*b = (struct buffer){ 0 };
}

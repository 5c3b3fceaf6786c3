/*
 * Grows by doubling. Escaping looks at one byte at a time through a table: what needs no escape, nearly everything, is copied
 * in runs. UTF-8 validity: RFC 3629 section 4.
 */
#include "buffer.h"

#include <stdlib.h>

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

size_t buffer_utf8(const char *bytes, size_t len)
{
	const unsigned char *s = (const unsigned char *)bytes;
	static const uint32_t smallest[] = { 0, 0, 0x80, 0x800, 0x10000 };
	size_t n = s[0] >= 0xf5 ? 0 : s[0] >= 0xf0 ? 4 : s[0] >= 0xe0 ? 3 : s[0] >= 0xc2 ? 2 : 0;
	uint32_t code;

	if (n == 0 || n > len)
		return 0;
	code = s[0] & (0x7fu >> n);
	for (size_t i = 1; i < n; i++) {
		if ((s[i] & 0xc0) != 0x80)
			return 0;
		code = code << 6 | (s[i] & 0x3fu);
	}
	return code < smallest[n] || code > 0x10ffff || (code >= 0xd800 && code <= 0xdfff) ? 0 : n;
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

	while (at < len) {
		if (s[at] >= 0x20 && s[at] < 0x7f && s[at] != '"' && s[at] != '\\') {
			at++;
			continue;
		}
		n = s[at] >= 0x80 ? buffer_utf8(bytes + at, len - at) : 0;
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

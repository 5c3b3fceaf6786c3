/*
 * Characters of UTF-8 beyond ASCII: text of others is shown, and made into JSON, character by character.
 */
#ifndef TRACESHIM_CLI_UTF8_H
#define TRACESHIM_CLI_UTF8_H

#include <stddef.h>
#include <stdint.h>

/* Bytes of the character at `s` (2 to 4; at least 1 byte is there), and its code; 0: it is none. RFC 3629 section 4. */
static inline size_t utf8_character(const char *s, size_t len, uint32_t *code)
{
	static const uint32_t smallest[] = { 0, 0, 0x80, 0x800, 0x10000 };
	const unsigned char *p = (const unsigned char *)s;
	size_t n = p[0] >= 0xf5 ? 0 : p[0] >= 0xf0 ? 4 : p[0] >= 0xe0 ? 3 : p[0] >= 0xc2 ? 2 : 0;

	if (n == 0 || n > len)
		return 0;
	*code = p[0] & (0x7fu >> n);
	for (size_t i = 1; i < n; i++) {
		if ((p[i] & 0xc0) != 0x80)
			return 0;
		*code = *code << 6 | (p[i] & 0x3fu);
	}
	return *code < smallest[n] || *code > 0x10ffff || (*code >= 0xd800 && *code <= 0xdfff) ? 0 : n;
}

#endif

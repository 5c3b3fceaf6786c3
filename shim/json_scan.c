/*
 * JSON objects: is a line exactly one, and which keys has it?
 *
 * Mechanism. A loop over tokens with one bit per level for 'object or array': no recursion, because hosts run on small stacks, and
 * because a depth limit is then a comparison. Strings are passed over 16 bytes at a time (json_bytes.h).
 *
 * Who may call: anybody, signal handlers included. Nothing is kept; 128 bytes of stack for an escaped key.
 *
 * Source: RFC 8259 sections 2 to 8.
 */
#include "json.h"

#include <stdint.h>
#include <string.h>

#include "json_bytes.h"

static inline const char *skip_space(const char *p, const char *end)
{
	if (__builtin_expect(p < end && (unsigned char)*p > ' ', 1))
		return p;
	while (p < end && (*p == ' ' || *p == '\t' || *p == '\n' || *p == '\r'))
		p++;
	return p;
}

static int hex_digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	c = (char)(c | 0x20);
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* The four digits of a \u escape, or -1. */
static int hex_quad(const char *p, const char *end)
{
	int value = 0, i;

	if (end - p < 4)
		return -1;
	for (i = 0; i < 4; i++) {
		int d = hex_digit(p[i]);

		if (d < 0)
			return -1;
		value = value << 4 | d;
	}
	return value;
}

/* An escape, from its backslash to behind it. NULL: there is no such escape. */
static const char *scan_escape(const char *p, const char *end)
{
	if (end - p < 2)
		return NULL;
	if (p[1] == 'u')
		return hex_quad(p + 2, end) < 0 ? NULL : p + 6;
	return p[1] && strchr("\"\\/bfnrt", p[1]) ? p + 2 : NULL;
}

/* What scan_string does, of any string. */
static __attribute__((cold)) __attribute__((noinline)) const char *scan_any_string(const char *p, const char *end,
                                                                                   bool *escaped)
{
	while (p) {
		size_t k;

		p += text_span(p, (size_t)(end - p));
		if (p == end || (unsigned char)*p < 0x20)
			return NULL;
		if (*p == '"')
			return p + 1;
		if (*p == '\\') {
			*escaped = true;
			p = scan_escape(p, end);
			continue;
		}
		k = json_utf8_char(p, (size_t)(end - p));
		p = k ? p + k : NULL;
	}
	return NULL;
}

/* From behind the opening quote to behind the closing one. NULL: it is no string. */
static inline const char *scan_string(const char *p, const char *end, bool *escaped)
{
#ifdef __SSE2__
	while (end - p >= STEP) {
		unsigned stop = find_stop(load(p));

		if (stop) {
			p += (unsigned)__builtin_ctz(stop);
			if (*p == '"')
				return p + 1;
			break;
		}
		p += STEP;
	}
#endif
	return scan_any_string(p, end, escaped);
}

static size_t put_utf8(char *out, unsigned code)
{
	if (code < 0x80) {
		out[0] = (char)code;
		return 1;
	}
	if (code < 0x800) {
		out[0] = (char)(0xc0 | code >> 6);
		out[1] = (char)(0x80 | (code & 0x3f));
		return 2;
	}
	/* A surrogate comes out as three bytes that no name has; good enough for 'is it this name?'. */
	out[0] = (char)(0xe0 | code >> 12);
	out[1] = (char)(0x80 | (code >> 6 & 0x3f));
	out[2] = (char)(0x80 | (code & 0x3f));
	return 3;
}

/* A string that scan_string has accepted, without its escapes. Returns the length; 0 when it does not fit. */
static size_t unescape_key(char out[JSON_KEY_MAX], const char *in, const char *end)
{
	size_t n = 0;

	while (in < end) {
		if (n > JSON_KEY_MAX - 3)
			return 0;
		if (*in != '\\') {
			out[n++] = *in++;
		} else if (in[1] == 'u') {
			n += put_utf8(out + n, (unsigned)hex_quad(in + 2, end));
			in += 6;
		} else {
			static const char from[] = "bfnrt", to[] = "\b\f\n\r\t";
			const char *which = strchr(from, in[1]);

			out[n++] = which ? to[which - from] : in[1];
			in += 2;
		}
	}
	return n;
}

/* Whom keys of the object itself are told. */
struct key_reader {
	void (*key)(void *owner, const char *name, size_t len, char value);
	void *owner;
	bool any;
};

static void tell_key(struct key_reader *reader, const char *name, size_t len, bool escaped, char value)
{
	char plain[JSON_KEY_MAX];

	reader->any = true;
	if (escaped) {
		len = unescape_key(plain, name, name + len);
		if (!len)
			return;
		name = plain;
	}
	reader->key(reader->owner, name, len, value);
}

/* A key, its colon, and up to the first byte of its value. NULL: it is none. */
static inline const char *scan_key(const char *p, const char *end, struct key_reader *reader, bool outermost)
{
	const char *name = ++p;
	bool escaped = false;
	size_t len;

	p = scan_string(p, end, &escaped);
	if (!p)
		return NULL;
	len = (size_t)(p - 1 - name);
	p = skip_space(p, end);
	if (p == end || *p++ != ':')
		return NULL;
	p = skip_space(p, end);
	if (p == end)
		return NULL;
	if (outermost)
		tell_key(reader, name, len, escaped, *p);
	return p;
}

static __attribute__((noinline)) const char *skip_digits(const char *p, const char *end)
{
#ifdef __SSE2__
	if (end - p >= STEP) {
		__m128i from = _mm_sub_epi8(load(p), _mm_set1_epi8('0'));
		__m128i digits = _mm_cmpeq_epi8(_mm_min_epu8(from, _mm_set1_epi8(9)), from);
		unsigned others = (unsigned)_mm_movemask_epi8(digits) ^ 0xffff;

		if (others)
			return p + (unsigned)__builtin_ctz(others);
		p += STEP;
	}
#endif
	while (p < end && (unsigned char)(*p - '0') < 10)
		p++;
	return p;
}

static const char *scan_number(const char *p, const char *end)
{
	const char *from;

	if (*p == '-')
		p++;
	from = p;
	/* Behind a zero, nothing but a fraction or an exponent may follow. */
	p = p < end && *p == '0' ? p + 1 : skip_digits(p, end);
	if (p == from)
		return NULL;
	if (p < end && *p == '.') {
		from = ++p;
		p = skip_digits(p, end);
		if (p == from)
			return NULL;
	}
	if (p < end && (*p == 'e' || *p == 'E')) {
		p++;
		if (p < end && (*p == '+' || *p == '-'))
			p++;
		from = p;
		p = skip_digits(p, end);
		if (p == from)
			return NULL;
	}
	return p;
}

static const char *scan_word(const char *p, const char *end, const char *word, size_t len)
{
	return (size_t)(end - p) >= len && memcmp(p, word, len) == 0 ? p + len : NULL;
}

/* A value that holds no others, from its first byte to behind it. NULL: it is none. */
static inline const char *scan_scalar(const char *p, const char *end)
{
	bool escaped;

	switch (*p) {
	case '"': return scan_string(p + 1, end, &escaped);
	case 't': return scan_word(p, end, "true", 4);
	case 'f': return scan_word(p, end, "false", 5);
	case 'n': return scan_word(p, end, "null", 4);
	default: return scan_number(p, end);
	}
}

/* From behind the first '{' to behind the '}' that belongs to it. NULL: there is none, or what is between is no JSON. */
static const char *scan_members(const char *p, const char *end, struct key_reader *reader)
{
	uint64_t objects = 1; /* bit 0: the innermost level is an object (not an array); one bit a level */
	bool opened = true;   /* just now, so that its end may come at once */
	unsigned depth = 1;

	for (;;) {
		p = skip_space(p, end);
		if (p == end)
			return NULL;
		if (!opened || *p != (objects & 1 ? '}' : ']')) {
			if ((objects & 1) && (*p != '"' || !(p = scan_key(p, end, reader, depth == 1))))
				return NULL;
			opened = *p == '{' || *p == '[';
			if (opened) {
				if (depth++ == JSON_DEPTH_MAX)
					return NULL;
				objects = objects << 1 | (*p++ == '{');
				continue;
			}
			p = scan_scalar(p, end);
			if (!p)
				return NULL;
			p = skip_space(p, end);
		}
		while (p < end && *p == (objects & 1 ? '}' : ']')) {
			p++;
			if (!--depth)
				return p;
			objects >>= 1;
			p = skip_space(p, end);
		}
		if (p == end || *p++ != ',')
			return NULL;
		opened = false;
	}
}

bool json_scan_object(const char *in, size_t len,
                      void (*key)(void *owner, const char *name, size_t name_len, char value), void *owner,
                      size_t *brace, bool *empty)
{
	struct key_reader reader = { .key = key, .owner = owner };
	const char *end = in + len, *p = skip_space(in, end);

	if (p == end || *p != '{')
		return false;
	p = scan_members(p + 1, end, &reader);
	if (!p)
		return false;
	*brace = (size_t)(p - 1 - in);
	*empty = !reader.any;
	return skip_space(p, end) == end;
}

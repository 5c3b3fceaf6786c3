/*
 * How both directions of JSON look at bytes: 16 at a time with vectors (SSE2), 8 in a machine word elsewhere. Used by json.c and
 * json_scan.c alone.
 *
 * 'Special' is below 0x20, from 0x80, '"' or '\\'; as signed bytes the first three are one comparison. The last bytes of a text, which
 * are fewer than 16, are put together in two words: a copy with blanks behind it had to wait for its stores, at the end of each line. Text
 * beyond ASCII is checked 16 bytes at a time too, without a branch for each character, that no processor could foresee: comparisons
 * give one bit a byte for 'first of two, three, four' and for 'goes on', and where the first ones say that a character goes on must be
 * exactly where bytes do.
 *
 * Pure; reads never go beyond the input: the last bytes of a program's buffer may be the last bytes of a mapping.
 * Source: RFC 3629 section 4 (the table of well-formed sequences).
 */
#ifndef TRACESHIM_JSON_BYTES_H
#define TRACESHIM_JSON_BYTES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#ifdef __SSE2__
#include <emmintrin.h>
#endif

#ifdef __SSE2__
#define STEP 16

/*
 * All ones where a byte is from 0x20 to 0x7f, and neither '"' nor '\\'. With one bit turned over, the quote is next to what is below
 * 0x20 (and nothing else comes there).
 */
static inline __m128i find_plain(__m128i v)
{
	__m128i turned = _mm_xor_si128(v, _mm_set1_epi8('"' ^ 0x20));

	return _mm_andnot_si128(_mm_cmpeq_epi8(v, _mm_set1_epi8('\\')), _mm_cmpgt_epi8(turned, _mm_set1_epi8(0x20)));
}

/* How many of 16 bytes, which begin with a character and of which one is special (`stop`), are whole characters without escape? */
unsigned json_step_text(__m128i v, unsigned stop);

/* Fewer than 16 bytes, with blanks behind: a character that they cut in two is none. */
static inline __m128i load_some(const char *in, size_t len)
{
	uint64_t low = 0x2020202020202020u, high = low;
	char *to = (char *)&low;

	if (len >= 8) {
		memcpy(&low, in, 8);
		in += 8;
		len -= 8;
		to = (char *)&high;
	}
	if (len & 4) {
		memcpy(to, in, 4);
		to += 4;
		in += 4;
	}
	if (len & 2) {
		memcpy(to, in, 2);
		to += 2;
		in += 2;
	}
	if (len & 1)
		*to = *in;
	return _mm_set_epi64x((long long)high, (long long)low);
}

static inline __m128i load(const char *in)
{
	return _mm_loadu_si128((const __m128i *)(const void *)in);
}

static inline void store(char *out, __m128i v)
{
	_mm_storeu_si128((__m128i *)(void *)out, v);
}

/* A bit for each of 16 bytes that is special. */
static inline unsigned find_stop(__m128i v)
{
	return (unsigned)_mm_movemask_epi8(find_plain(v)) ^ 0xffff;
}

/*
 * How many bytes at the front of `len` need no escape? What is behind them may be a character beyond ASCII, to be looked at by
 * itself.
 */
static inline size_t text_span(const char *in, size_t len)
{
	size_t n = 0;
	unsigned stop, k;
	__m128i v;

	while (len - n >= STEP) {
		v = load(in + n);
		stop = find_stop(v);
		k = stop ? json_step_text(v, stop) : STEP;
		n += k;
		if (k != STEP && (k == 0 || (unsigned char)in[n] < 0x80))
			return n;
	}
	if (n == len)
		return n;
	v = load_some(in + n, len - n);
	stop = find_stop(v);
	k = stop ? json_step_text(v, stop) : STEP;
	return k < len - n ? n + k : len;
}
#else
#define STEP 8

static inline bool is_special(unsigned char c)
{
	return c < 0x20 || c >= 0x80 || c == '"' || c == '\\';
}

/* Which of 8 bytes is the first special one? 8: none. */
static inline unsigned step_plain(const char *in)
{
	const uint64_t ones = 0x0101010101010101u, high = 0x8080808080808080u;
	uint64_t v, quote, slash, bad;
	unsigned i;

	memcpy(&v, in, 8);
	quote = v ^ (ones * '"');
	slash = v ^ (ones * '\\');
	bad = ((v - ones * 0x20) | (quote - ones) | (slash - ones) | v) & high;
	if (!bad)
		return 8;
	/* A borrow may have marked a byte above a special one: look at them in order. */
	for (i = 0; i < 8 && !is_special((unsigned char)in[i]); i++)
		;
	return i;
}

/* As above. */
static inline size_t text_span(const char *in, size_t len)
{
	size_t n = 0;

	while (len - n >= STEP) {
		unsigned k = step_plain(in + n);

		n += k;
		if (k != STEP)
			return n;
	}
	while (n < len && !is_special((unsigned char)in[n]))
		n++;
	return n;
}
#endif

#endif

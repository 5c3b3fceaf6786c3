/*
 * JSON strings: text into one. Objects are read by json_scan.c.
 *
 * Mechanism. Nearly all bytes of nearly all logs are printable ASCII without '"' and '\'. So this is a loop over 16 bytes at a time
 * that asks one question, 'is any of these special?' (json_bytes.h), and a slow path for the one byte that is.
 *
 * Who may call: anybody, signal handlers included. Nothing is kept.
 *
 * Source: RFC 8259 section 7; RFC 3629 section 4.
 */
#include "json.h"

#include <stdint.h>
#include <string.h>

#include "json_bytes.h"
#include "layout.h"

#ifdef __SSE2__
/*
 * Of 16 bytes that begin with a character: the positions of bytes that are no part of valid characters, by the table of
 * RFC 3629; right up to the first one. *expected: positions, beyond the 16 too, where a character must go on; *leads:
 * where characters of more than one byte begin.
 */
static unsigned find_bad_utf8(__m128i v, unsigned *expected, unsigned *leads)
{
	/* As signed bytes: continuations are below -64, then come the first bytes of 2, 3, 4 bytes, then ASCII. */
	unsigned high = (unsigned)_mm_movemask_epi8(v);
	unsigned next = (unsigned)_mm_movemask_epi8(_mm_cmplt_epi8(v, _mm_set1_epi8(-64)));
	unsigned three = (unsigned)_mm_movemask_epi8(_mm_cmpgt_epi8(v, _mm_set1_epi8(-33))) & high;
	unsigned low = (unsigned)_mm_movemask_epi8(_mm_cmplt_epi8(v, _mm_set1_epi8(-62))) & ~next; /* C0, C1 */
	unsigned four, bad, after, a0, e0, ed;

	*leads = high & ~next;
	*expected = *leads << 1 | three << 2;
	bad = low;
	if (!three)
		return (bad | (*expected ^ next)) & 0xffff;
	/* What may follow E0 and ED: A0 to BF, 80 to 9F. */
	a0 = (unsigned)_mm_movemask_epi8(_mm_cmpgt_epi8(v, _mm_set1_epi8(-97)));
	e0 = (unsigned)_mm_movemask_epi8(_mm_cmpeq_epi8(v, _mm_set1_epi8(-32)));
	ed = (unsigned)_mm_movemask_epi8(_mm_cmpeq_epi8(v, _mm_set1_epi8(-19)));
	bad |= (e0 << 1 & ~a0) | (ed << 1 & a0);
	four = (unsigned)_mm_movemask_epi8(_mm_cmpgt_epi8(v, _mm_set1_epi8(-17))) & high;
	if (four) {
		/* What may follow F0 and F4: 90 to BF, 80 to 8F. And F5 to FF are nothing. */
		*expected |= four << 3;
		after = (unsigned)_mm_movemask_epi8(_mm_cmpgt_epi8(v, _mm_set1_epi8(-113)));
		bad |= (unsigned)_mm_movemask_epi8(_mm_cmpeq_epi8(v, _mm_set1_epi8(-16))) << 1 & ~after;
		bad |= (unsigned)_mm_movemask_epi8(_mm_cmpeq_epi8(v, _mm_set1_epi8(-12))) << 1 & after;
		bad |= (unsigned)_mm_movemask_epi8(_mm_cmpgt_epi8(v, _mm_set1_epi8(-12))) & high;
	}
	return (bad | (*expected ^ next)) & 0xffff;
}

unsigned json_step_text(__m128i v, unsigned stop)
{
	unsigned high = (unsigned)_mm_movemask_epi8(v), expected, leads, at;

	stop &= ~high;
	if (!high)
		return (unsigned)__builtin_ctz(stop);
	stop |= find_bad_utf8(v, &expected, &leads);
	/* The end of the 16 is where an unfinished character must go on. */
	at = stop ? (unsigned)__builtin_ctz(stop) : 16;
	if (expected >> at & 1)
		return 31 - (unsigned)__builtin_clz(leads & (((unsigned)1 << at) - 1));
	return at;
}
#endif

size_t json_utf8_char(const char *in, size_t len)
{
	const unsigned char *p = (const unsigned char *)in;
	unsigned char c = p[0], low = 0x80, high = 0xbf;
	size_t need, i;

	if (c < 0x80)
		return 1;
	if (c < 0xc2 || c > 0xf4)
		return 0;
	need = c < 0xe0 ? 2 : c < 0xf0 ? 3 : 4;
	if (len < need)
		return 0;
	/* The second byte's range excludes overlong forms, surrogates, and what is above U+10FFFF. */
	if (c == 0xe0)
		low = 0xa0;
	else if (c == 0xed)
		high = 0x9f;
	else if (c == 0xf0)
		low = 0x90;
	else if (c == 0xf4)
		high = 0x8f;
	if (p[1] < low || p[1] > high)
		return 0;
	for (i = 2; i < need; i++) {
		if ((p[i] & 0xc0) != 0x80)
			return 0;
	}
	return need;
}

size_t json_utf8_cut(const char *in, size_t len)
{
	size_t back;

	for (back = 1; back <= 3 && back <= len; back++) {
		unsigned char c = (unsigned char)in[len - back];
		size_t need = c >= 0xf0 ? 4 : c >= 0xe0 ? 3 : c >= 0xc0 ? 2 : 1;

		if ((c & 0xc0) == 0x80)
			continue;
		return need > back ? len - back : len;
	}
	return len;
}

static char *escape_byte(char *out, unsigned char c)
{
	static const char digits[] = "0123456789abcdef";
	static const char names[32] = { ['\b'] = 'b', ['\t'] = 't', ['\n'] = 'n', ['\f'] = 'f', ['\r'] = 'r' };
	char name = c < 0x20 ? names[c] : c == '"' || c == '\\' ? (char)c : 0;

	*out++ = '\\';
	if (name) {
		*out++ = name;
		return out;
	}
	memcpy(out, "u00", 3);
	out[3] = digits[c >> 4];
	out[4] = digits[c & 15];
	return out + 5;
}

/* The first of `len` bytes, which is special. *in: to behind it, or behind its character. */
static __attribute__((cold)) __attribute__((noinline)) char *escape_one(char *out, const char **in, size_t len)
{
	size_t n = (unsigned char)**in < 0x80 ? 0 : json_utf8_char(*in, len);

	if (!n)
		return escape_byte(out, (unsigned char)*(*in)++);
	memcpy(out, *in, n);
	*in += n;
	return out + n;
}

#ifdef __SSE2__
/* Copy what is plain, two vectors at a time. Returns how many bytes that were. */
static inline size_t copy_plain(char *out, const char *in, size_t len)
{
	size_t n;

	for (n = 0; len - n >= 2 * STEP; n += 2 * STEP) {
		__m128i a = load(in + n), b = load(in + n + STEP);

		store(out + n, a);
		store(out + n + STEP, b);
		if (_mm_movemask_epi8(_mm_and_si128(find_plain(a), find_plain(b))) != 0xffff)
			break;
	}
	return n;
}

/* The place of the lowest bit that is set; one must be. The builtin's is an int, which gcc extends each time. */
static inline size_t first_bit(unsigned bits)
{
#ifdef __x86_64__
	size_t place;

	__asm__("bsf %1, %k0" : "=r"(place) : "r"(bits) : "cc");
	return place;
#else
	return (size_t)__builtin_ctz(bits);
#endif
}

/*
 * `v` is already at `out`; its bytes are text as it is, but for quotes and backslashes at `stop`, as far as the caller believes them.
 * From each of those on the bytes are put there once more, a place further; nothing is looked at again, and where the next one is does
 * not wait for it. Returns how many backslashes were put in.
 */
static inline size_t put_backslashes(char *out, __m128i v, unsigned stop)
{
	uint64_t low = (uint64_t)_mm_cvtsi128_si64(v), high = (uint64_t)_mm_cvtsi128_si64(_mm_unpackhi_epi64(v, v)),
		 word;
	const char *from = out;

	do {
		size_t k = first_bit(stop);

		out[k] = '\\';
		out++;
		if (k < 8) {
			word = low >> 8 * k;
			memcpy(out + k, &word, 8);
			memcpy(out + 8, &high, 8);
		} else {
			word = high >> 8 * (k - 8);
			memcpy(out + k, &word, 8);
		}
		stop &= stop - 1;
	} while (stop);
	return (size_t)(out - from);
}

/* A bit for each of 16 bytes that is special, and no quote or backslash. */
static inline unsigned find_others(__m128i v)
{
	return (unsigned)_mm_movemask_epi8(_mm_cmplt_epi8(v, _mm_set1_epi8(0x20)));
}

/* The last `left` bytes, fewer than 16, of 8 or more; zeros behind them. */
static inline __m128i load_last(const char *end, size_t left)
{
	uint64_t low, high = 0;

	memcpy(&low, end - 8, 8);
	if (left > 8) {
		high = low >> (128 - 8 * left);
		memcpy(&low, end - left, 8);
	} else {
		low >>= 64 - 8 * left;
	}
	return _mm_set_epi64x((long long)high, (long long)low);
}

/* A few bytes. */
static __attribute__((cold)) __attribute__((noinline)) char *escape_few(char *out, const char *in, size_t len,
                                                                        bool line)
{
	const char *end = in + len;

	while (in < end) {
		if (line && *in == '\n')
			return NULL;
		if ((unsigned char)*in < 0x20 || (unsigned char)*in >= 0x80 || *in == '"' || *in == '\\')
			out = escape_one(out, &in, (size_t)(end - in));
		else
			*out++ = *in++;
	}
	return out;
}

/* A '\n' is special anyway, so a line's is looked for where the bytes are looked at. */
LAYOUT_HOT char *json_escape_text(char *out, const char *in, size_t len, bool line)
{
	const char *end = in + len, *next;
	size_t plain = len >= 8 * STEP ? copy_plain(out, in, len) : 0; /* pays from there on */

	if (__builtin_expect(len < 8, 0))
		return escape_few(out, in, len, line);
	in += plain;
	out += plain;
	for (;;) {
		size_t left, k = STEP;
		unsigned stop, quotes, others;
		__m128i v;

		next = in + STEP;
		if (next <= end) {
			v = load(in);
			store(out, v);
			stop = find_stop(v);
			if (!stop) {
				in = next;
				out += STEP;
				continue;
			}
		} else {
			left = (size_t)(end - in);
			if (!left)
				return out;
			v = load_last(end, left);
			store(out, v);
			stop = find_stop(v) & ((1u << left) - 1);
			if (!stop)
				return out + left;
			k = left;
		}
		others = stop & find_others(v);
		quotes = stop;
		if (__builtin_expect(others != 0, 0)) {
			quotes &= ~others & (others - 1); /* those in front of the first other one */
			k = first_bit(others);
		}
		if (quotes) { /* access logs are full of them */
			out += k + put_backslashes(out, v, quotes);
			in += k;
			continue;
		}
		if (line && in[k] == '\n')
			return NULL;
		k = json_step_text(v, stop);
		k = k < (size_t)(end - in) ? k : (size_t)(end - in);
		in += k;
		out += k;
		if (!k) {
			const char *at = in; /* whose address is not taken stays in a register */

			out = escape_one(out, &at, (size_t)(end - at));
			in = at;
		}
	}
}
#else
char *json_escape_text(char *out, const char *in, size_t len, bool line)
{
	const char *end = in + len;

	for (;;) {
		size_t n = text_span(in, (size_t)(end - in));

		memcpy(out, in, n);
		in += n;
		out += n;
		if (in == end)
			return out;
		if (line && *in == '\n')
			return NULL;
		out = escape_one(out, &in, (size_t)(end - in));
	}
}
#endif

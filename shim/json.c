/*
 * JSON strings and objects.
 *
 * Mechanism. Nearly all bytes of nearly all logs are printable ASCII without '"' and '\'. So both directions are a loop
 * over 16 bytes at a time (SSE2; 8 in a machine word elsewhere) that asks one question, 'is any of these special?', and
 * a slow path for the one byte that is. 'Special' is: below 0x20, from 0x80, '"' or '\'; as signed bytes the first three are
 * one comparison. The last bytes, which are fewer, are shifted to where the first of 16 are: a copy with blanks behind it had
 * to wait for its stores, at the end of each line. Text beyond ASCII is checked 16 bytes at a time too, without a branch for each character, that
 * no processor could foresee: comparisons give one bit a byte for 'first of two, three, four' and for 'goes on', and where
 * the first ones say that a character goes on must be exactly where bytes do. The object scanner is a loop over tokens
 * with one bit per level for 'object or array': no recursion, because hosts run on small stacks, and because a depth
 * limit is then a comparison.
 *
 * Who may call: anybody, signal handlers included. Nothing is kept; 128 bytes of stack for an escaped key.
 * Reads never go beyond the input: the last bytes of a program's buffer may be the last bytes of a mapping.
 *
 * long: two directions over one way to look at bytes, which is there twice, with vectors and without.
 *
 * Source: RFC 8259 sections 2 to 8; RFC 3629 section 4 (the table of well-formed sequences).
 */
#include "json.h"

#include <stdint.h>
#include <string.h>

#ifdef __SSE2__
#include <emmintrin.h>
#endif

#ifdef __SSE2__
#define STEP 16

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

/*
 * All ones where a byte is from 0x20 to 0x7f, and neither '"' nor '\\'. With one bit turned over, the quote is next to what is below
 * 0x20 (and nothing else comes there).
 */
static inline __m128i find_plain(__m128i v)
{
	__m128i turned = _mm_xor_si128(v, _mm_set1_epi8('"' ^ 0x20));

	return _mm_andnot_si128(_mm_cmpeq_epi8(v, _mm_set1_epi8('\\')), _mm_cmpgt_epi8(turned, _mm_set1_epi8(0x20)));
}

/* How many of 16 bytes, which begin with a character and of which one is special, are whole characters without escape? */
static inline unsigned step_text(__m128i v, unsigned stop)
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
		k = stop ? step_text(v, stop) : STEP;
		n += k;
		if (k != STEP && (k == 0 || (unsigned char)in[n] < 0x80))
			return n;
	}
	if (n == len)
		return n;
	v = load_some(in + n, len - n);
	stop = find_stop(v);
	k = stop ? step_text(v, stop) : STEP;
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

/* `line`: return NULL at a '\n', which is special, so that it is looked for where the bytes are looked at anyway. */
static inline __attribute__((always_inline)) char *escape(char *out, const char *in, size_t len, bool line)
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
		k = step_text(v, stop);
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
static inline char *escape(char *out, const char *in, size_t len, bool line)
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

char *json_escape(char *out, const char *in, size_t len)
{
	return escape(out, in, len, false);
}

char *json_escape_line(char *out, const char *in, size_t len)
{
	return escape(out, in, len, true);
}

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

/*
 * Numbers, times and ids as digits, for records. Pure; signal-safe. All return the end of what they wrote; no NUL.
 */
#ifndef TRACESHIM_RECORD_DIGITS_H
#define TRACESHIM_RECORD_DIGITS_H

#include "layout.h"
#include <stddef.h>
#include <stdint.h>

#ifdef __SSE2__
#include <emmintrin.h>
#else
#include "ids.h"
#endif

/* In decimal: at most 20 bytes. */
char *record_put_number(char *out, uint64_t value);

/* "2026-11-22T18:01:43.123456789" of nanoseconds since 1970: 29 bytes, the last 9 of them by record_put_fraction. */
char *record_put_time(char *out, uint64_t time_ns);
char *record_put_fraction(char *out, uint32_t ns);

/*
 * An id of n = 8 or 16 bytes in hex: 2n bytes. With vectors where there are any, and in place: a digit at a time, the two ids of a
 * record would cost as much as half of all the rest of it.
 */
static LAYOUT_INLINE char *record_put_hex(char *out, const uint8_t *id, size_t n)
{
#ifdef __SSE2__
	const __m128i nibble = _mm_set1_epi8(15);
	size_t i;

	for (i = 0; i < n; i += 8, out += 16) {
		__m128i v = _mm_loadl_epi64((const __m128i *)(const void *)(id + i));

		v = _mm_unpacklo_epi8(_mm_and_si128(_mm_srli_epi16(v, 4), nibble), _mm_and_si128(v, nibble));
		v = _mm_add_epi8(_mm_add_epi8(v, _mm_set1_epi8('0')),
		                 _mm_and_si128(_mm_cmpgt_epi8(v, _mm_set1_epi8(9)), _mm_set1_epi8('a' - '9' - 1)));
		_mm_storeu_si128((__m128i *)(void *)out, v);
	}
	return out;
#else
	return ids_hex(out, id, n);
#endif
}

#endif

/*
 * Numbers, times and ids as digits.
 *
 * Mechanism. Two decimal digits at a time out of a table. The date is worked out once a day: one atomic word holds
 * {day, year, month, day of month}, so that threads and signal handlers share it without a lock; a stale read merely
 * works it out again. Hex with vectors where there are any: a digit at a time, the two ids of a record would cost as
 * much as half of all the rest of it.
 *
 * Who may call: anybody, signal handlers included. Memory: that one word. Source: the proleptic Gregorian calendar in
 * eras of 400 years.
 */
#include "record_digits.h"

#include <string.h>

#ifdef __SSE2__
#include <emmintrin.h>
#endif

#include "ids.h"

static uint64_t date_word; /* day since 1970 << 32 | year << 16 | month << 8 | day of month */

static const char pairs[] = "00010203040506070809101112131415161718192021222324252627282930313233343536373839"
			    "40414243444546474849505152535455565758596061626364656667686970717273747576777879"
			    "8081828384858687888990919293949596979899";

static inline char *put_pair(char *out, unsigned value)
{
	memcpy(out, pairs + 2 * value, 2);
	return out + 2;
}

char *record_put_number(char *out, uint64_t value)
{
	char text[20];
	size_t at = sizeof(text);

	for (; value >= 100; value /= 100) {
		at -= 2;
		memcpy(text + at, pairs + 2 * (value % 100), 2);
	}
	if (value >= 10) {
		at -= 2;
		memcpy(text + at, pairs + 2 * value, 2);
	} else {
		text[--at] = (char)('0' + value);
	}
	memcpy(out, text + at, sizeof(text) - at);
	return out + (sizeof(text) - at);
}

/* The date of a day since 1970-01-01, as date_word has it. */
static uint64_t date_of(uint32_t day)
{
	/* Days from 0000-03-01: years that begin in March have their leap day last. An era is 400 years. */
	uint64_t z = (uint64_t)day + 719468, era = z / 146097, of_era = z % 146097;
	uint64_t year_of_era = (of_era - of_era / 1460 + of_era / 36524 - of_era / 146096) / 365;
	uint64_t of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
	uint64_t m = (5 * of_year + 2) / 153;
	uint64_t month = m < 10 ? m + 3 : m - 9;
	uint64_t year = era * 400 + year_of_era + (month <= 2);

	return (uint64_t)day << 32 | (year & 0xffff) << 16 | month << 8 | (of_year - (153 * m + 2) / 5 + 1);
}

/* "2026-11-22T18:01:43.123456789" */
char *record_put_time(char *out, uint64_t time_ns)
{
	uint64_t seconds = time_ns / 1000000000u, date = __atomic_load_n(&date_word, __ATOMIC_RELAXED);
	uint32_t fraction = (uint32_t)(time_ns % 1000000000u), day = (uint32_t)(seconds / 86400);
	uint32_t of_day = (uint32_t)(seconds % 86400), year;

	if (date >> 32 != day || !(date & 0xff)) {
		date = date_of(day);
		__atomic_store_n(&date_word, date, __ATOMIC_RELAXED);
	}
	year = (uint32_t)(date >> 16 & 0xffff);
	out = put_pair(put_pair(out, year / 100 % 100), year % 100);
	*out++ = '-';
	out = put_pair(out, (unsigned)(date >> 8 & 0xff));
	*out++ = '-';
	out = put_pair(out, (unsigned)(date & 0xff));
	*out++ = 'T';
	out = put_pair(out, of_day / 3600);
	*out++ = ':';
	out = put_pair(out, of_day / 60 % 60);
	*out++ = ':';
	out = put_pair(out, of_day % 60);
	*out++ = '.';
	*out++ = (char)('0' + fraction / 100000000);
	out = put_pair(out, fraction / 1000000 % 100);
	out = put_pair(out, fraction / 10000 % 100);
	out = put_pair(out, fraction / 100 % 100);
	return put_pair(out, fraction % 100);
}

/* 8 or 16 bytes in hex. Twice a record: a digit at a time, this would cost as much as half of all the rest. */
char *record_put_hex(char *out, const uint8_t *id, size_t n)
{
#ifdef __SSE2__
	for (; n; n -= 8, id += 8, out += 16) {
		__m128i v = _mm_loadl_epi64((const __m128i *)(const void *)id), nibble = _mm_set1_epi8(15);

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

/*
 * Numbers, times and ids as digits.
 *
 * Mechanism. Two decimal digits at a time out of a table, or eight at a time in one word: of a number below 10^8 the two
 * halves, then the four pairs, then the eight digits are divided side by side, each in its own part of the word. Date and
 * time of day are worked out once a second and shared by all threads and signal handlers, without a lock: whoever sets
 * `busy` writes them, and whoever reads looks at the second's number before and after. A writer that never comes back
 * leaves `busy` set; from then on everybody works it out.
 *
 * Who may call: anybody, signal handlers included. Memory: one second's text. Source: the proleptic Gregorian calendar in
 * eras of 400 years.
 */
#include "record_digits.h"

#include <stdbool.h>
#include <string.h>

/* "2026-11-22T18:01:43." of a second since 1970, in words; number: that second + 1, 0 while it is written. */
static struct {
	uint64_t number, text[3];
	uint8_t busy;
} known_second;

static const char pairs[] = "00010203040506070809101112131415161718192021222324252627282930313233343536373839"
			    "40414243444546474849505152535455565758596061626364656667686970717273747576777879"
			    "8081828384858687888990919293949596979899";

static inline char *put_pair(char *out, unsigned value)
{
	memcpy(out, pairs + 2 * value, 2);
	return out + 2;
}

/* The digits of a number below 10^8, one a byte, the first one lowest. Division is a multiplication by the inverse. */
static inline uint64_t eight_digits(uint32_t value)
{
	uint64_t halves = value / 10000 | (uint64_t)(value % 10000) << 32, hundreds, pairs4, tens;

	hundreds = (halves * 10486) >> 20 & 0x0000007f0000007fu;
	pairs4 = hundreds | (halves - 100 * hundreds) << 16;
	tens = (pairs4 * 103) >> 10 & 0x000f000f000f000fu;
	return tens | (pairs4 - 10 * tens) << 8;
}

/* The lowest byte comes first. */
static inline void put_word(char *out, uint64_t word)
{
#if __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
	word = __builtin_bswap64(word);
#endif
	memcpy(out, &word, 8);
}

char *record_put_number(char *out, uint64_t value)
{
	char text[20];
	size_t at = sizeof(text);

	if (value < 100000000) {
		uint64_t digits = eight_digits((uint32_t)value);
		unsigned zeros = (unsigned)__builtin_ctzll(digits | (uint64_t)1 << 56) / 8;

		put_word(out, (digits + 0x3030303030303030u) >> (8 * zeros));
		return out + 8 - zeros;
	}
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

/* The date of a day since 1970-01-01: "2026-11-22". */
static char *put_date(char *out, uint64_t day)
{
	/* Days from 0000-03-01: years that begin in March have their leap day last. An era is 400 years. */
	uint64_t z = day + 719468, era = z / 146097, of_era = z % 146097;
	uint64_t year_of_era = (of_era - of_era / 1460 + of_era / 36524 - of_era / 146096) / 365;
	uint64_t of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
	uint64_t m = (5 * of_year + 2) / 153;
	uint64_t month = m < 10 ? m + 3 : m - 9;
	uint64_t year = era * 400 + year_of_era + (month <= 2);

	out = put_pair(put_pair(out, (unsigned)(year / 100 % 100)), (unsigned)(year % 100));
	*out++ = '-';
	out = put_pair(out, (unsigned)month);
	*out++ = '-';
	return put_pair(out, (unsigned)(of_year - (153 * m + 2) / 5 + 1));
}

/* What the second's text is, worked out; and for everybody, unless somebody else is at it. */
static void make_second(uint64_t seconds, uint64_t text[3])
{
	uint32_t of_day = (uint32_t)(seconds % 86400);
	char bytes[24] = { 0 }, *p = put_date(bytes, seconds / 86400);
	int i;

	*p++ = 'T';
	p = put_pair(p, of_day / 3600);
	*p++ = ':';
	p = put_pair(p, of_day / 60 % 60);
	*p++ = ':';
	p = put_pair(p, of_day % 60);
	*p = '.';
	memcpy(text, bytes, sizeof(bytes));
	if (__atomic_exchange_n(&known_second.busy, 1, __ATOMIC_ACQUIRE) != 0)
		return;
	__atomic_store_n(&known_second.number, 0, __ATOMIC_RELAXED);
	for (i = 0; i < 3; i++)
		__atomic_store_n(&known_second.text[i], text[i], __ATOMIC_RELEASE);
	__atomic_store_n(&known_second.number, seconds + 1, __ATOMIC_RELEASE);
	__atomic_store_n(&known_second.busy, 0, __ATOMIC_RELEASE);
}

char *record_put_fraction(char *out, uint32_t ns)
{
	uint32_t first = ns / 100000000;

	out[0] = (char)('0' + first);
	put_word(out + 1, eight_digits(ns - first * 100000000) + 0x3030303030303030u);
	return out + 9;
}

/* "2026-11-22T18:01:43.123456789" */
char *record_put_time(char *out, uint64_t time_ns)
{
	uint64_t seconds = time_ns / 1000000000u, text[3];
	bool known = __atomic_load_n(&known_second.number, __ATOMIC_ACQUIRE) == seconds + 1;

	text[0] = __atomic_load_n(&known_second.text[0], __ATOMIC_ACQUIRE);
	text[1] = __atomic_load_n(&known_second.text[1], __ATOMIC_ACQUIRE);
	text[2] = __atomic_load_n(&known_second.text[2], __ATOMIC_ACQUIRE);
	if (!known || __atomic_load_n(&known_second.number, __ATOMIC_RELAXED) != seconds + 1)
		make_second(seconds, text);
	memcpy(out, text, 20);
	return record_put_fraction(out + 20, (uint32_t)(time_ns % 1000000000u));
}

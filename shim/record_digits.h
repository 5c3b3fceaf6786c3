/*
 * Numbers, times and ids as digits, for records. Pure; signal-safe. All return the end of what they wrote; no NUL.
 */
#ifndef TRACESHIM_RECORD_DIGITS_H
#define TRACESHIM_RECORD_DIGITS_H

#include <stddef.h>
#include <stdint.h>

/* In decimal: at most 20 bytes. */
char *record_put_number(char *out, uint64_t value);

/* "2026-11-22T18:01:43.123456789" of nanoseconds since 1970: 29 bytes, the last 9 of them by record_put_fraction. */
char *record_put_time(char *out, uint64_t time_ns);
char *record_put_fraction(char *out, uint32_t ns);

/* An id of n = 8 or 16 bytes in hex: 2n bytes. */
char *record_put_hex(char *out, const uint8_t *id, size_t n);

#endif

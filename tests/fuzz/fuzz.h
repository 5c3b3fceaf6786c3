/*
 * What the targets share: a condition that holds, a digest of all that a run said, a choice that the input makes, and the way back from
 * a record's text.
 */
#ifndef TRACESHIM_FUZZ_H
#define TRACESHIM_FUZZ_H

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* What must hold; says what did not. (core_fixture.h has one for unit tests.) */
#undef CHECK
#define CHECK(condition)                                                                                               \
	do {                                                                                                           \
		if (!(condition)) {                                                                                    \
			fprintf(stderr, "%s:%d: not so: %s\n", __FILE__, __LINE__, #condition);                        \
			abort();                                                                                       \
		}                                                                                                      \
	} while (0)

/* A digest (FNV-1a) with these bytes and their end. */
static inline uint64_t fuzz_digest(uint64_t digest, const void *bytes, size_t len)
{
	const unsigned char *p = bytes;

	while (len--)
		digest = (digest ^ *p++) * 0x100000001b3u;
	return (digest ^ 0xfff) * 0x100000001b3u;
}

/* The next choice, of 0 to below - 1. */
static inline size_t fuzz_pick(uint64_t *random, size_t below)
{
	*random = *random * 6364136223846793005u + 1442695040888963407u;
	return (size_t)(*random >> 33) % below;
}

/* The next byte of the program's out of the inside of a JSON string; moves *p behind it. */
static inline char fuzz_unescape(const char **p)
{
	static const char letters[] = "bfnrt\"\\", bytes[] = "\b\f\n\r\t\"\\";
	const char *which;
	char byte = *(*p)++;

	if (byte != '\\')
		return byte;
	if (**p == 'u') {
		byte = (char)strtoul((char[]){ (*p)[3], (*p)[4], 0 }, NULL, 16);
		*p += 5;
		return byte;
	}
	which = strchr(letters, *(*p)++);
	CHECK(which != NULL);
	return bytes[which - letters];
}

#endif

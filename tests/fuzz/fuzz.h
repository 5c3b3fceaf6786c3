/*
 * What the targets of scanners share: a condition that holds, a digest of all that a run said, and a choice that the input makes.
 */
#ifndef TRACESHIM_FUZZ_H
#define TRACESHIM_FUZZ_H

#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define REQUIRE(condition)                                                                                             \
	do {                                                                                                           \
		if (!(condition))                                                                                      \
			abort();                                                                                       \
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

#endif

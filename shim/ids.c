/*
 * Random ids from a counter and a key, one pair a thread.
 *
 * Mechanism. A thread owns a 128-bit key and a 64-bit counter. An id is a keyed mix of the next counter value: two
 * rounds of a bijective 64-bit finaliser (the well-known xor-shift-multiply one, 'variant 13' of D. Stafford), the
 * second chained on the first. A counter was chosen over a generator with a wandering state (xoshiro and the like)
 * because of signals:
 *
 *   - Taking the next counter value is one atomic instruction. There is no half-done state for a handler to find, no
 *     busy flag for a longjmp out of a handler to leave set, and nothing to save or to roll back. Handler and
 *     interrupted code have different counter values, so they have different ids: for one key the map from counter to
 *     the first word is a bijection, which makes repeats within 2^64 ids of a thread impossible, not merely unlikely.
 *   - Seeding is the only part with several stores. A handler that interrupts it sees `ready` still zero, seeds for
 *     itself and uses that key; the interrupted code then goes on storing its own. The key in between is a mixture of
 *     two random keys, that is a random key; no counter value is used twice with the same one.
 *
 * Two threads or processes draw the same trace id only if both key words, shifted by the same counter distance, agree:
 * 2^-128 for each such distance. A forked child has a copy of the key, so it must forget it (ids_after_fork). One hole
 * is known: a handler that forks while this very thread is between taking a counter value and returning leaves parent
 * and child with one id in common. A vfork child shares our memory, so it advances the same counter: no repeat.
 *
 * Who may call: any thread, any signal handler, before the constructor too. Memory: 32 bytes of thread-local storage in
 * the initial-exec model. No lock, no allocation. The getrandom *function* is used: we interpose `syscall`, not it.
 * Where it fails (a kernel before 3.17, a sandbox, the pool not ready at early boot) the 16 random bytes that the
 * kernel gave this program image (AT_RANDOM), the thread and the time make the seed: good enough to be unique, and
 * nothing here is secret.
 */
#include "ids.h"

#include <errno.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/random.h>

#ifdef __SSE2__
#include <emmintrin.h>
#endif

#include "os.h"
#include "own.h"

struct generator {
	uint64_t key[2];
	uint64_t counter;
	uint32_t ready;
};

static __thread struct generator generator __attribute__((tls_model("initial-exec")));

static inline __attribute__((always_inline)) uint64_t mix(uint64_t x)
{
	x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
	x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
	return x ^ (x >> 31);
}

static void seed_without_getrandom(uint64_t key[2])
{
	const void *given = (const void *)getauxval(AT_RANDOM); /* NOLINT(performance-no-int-to-ptr) */

	key[0] = key[1] = 0;
	if (given != NULL)
		memcpy(key, given, 2 * sizeof(key[0]));
	key[0] = mix(key[0] ^ os_realtime_ns());
	key[1] = mix(key[1] + key[0] + ((uint64_t)(uint32_t)os_tid() << 32) + (uint64_t)(uintptr_t)&generator);
}

static __attribute__((noinline, cold)) void seed(void)
{
	int saved = errno;
	uint64_t key[2];

	if (os_random(key, sizeof(key), GRND_NONBLOCK) != (long)sizeof(key))
		seed_without_getrandom(key);
	generator.key[0] = key[0];
	generator.key[1] = key[1];
	__atomic_signal_fence(__ATOMIC_SEQ_CST); /* a handler must not see `ready` before the key */
	__atomic_store_n(&generator.ready, 1, __ATOMIC_RELAXED);
	errno = saved;
}

/* A bijective function of the number of this draw: no word comes twice from one seed. */
static inline uint64_t draw(uint64_t *count)
{
	if (__builtin_expect(__atomic_load_n(&generator.ready, __ATOMIC_RELAXED) == 0, 0))
		seed();
	*count = own_count(&generator.counter) + 1;
	return mix(generator.key[0] + *count * 0x9e3779b97f4a7c15u);
}

void ids_generate_trace(uint8_t id[16])
{
	uint64_t word[2], count;

	do {
		word[0] = draw(&count);
		word[1] = mix(mix(generator.key[1] ^ word[0]) + count);
	} while ((word[0] | word[1]) == 0);
	memcpy(id, word, sizeof(word));
}

/* The first word was a zero, which is no id, and the next one is none. */
static __attribute__((noinline, cold)) uint64_t draw_again(void)
{
	uint64_t count;

	return draw(&count);
}

void ids_generate_span(uint8_t id[8])
{
	uint64_t count, word = draw(&count);

	if (__builtin_expect(word == 0, 0))
		word = draw_again();
	memcpy(id, &word, sizeof(word));
}

static __attribute__((noinline, cold)) void generate_otherwise(uint8_t trace_id[16], uint8_t span_id[8])
{
	ids_generate_trace(trace_id);
	ids_generate_span(span_id);
}

/* The span's word is another bijection of the same number: of the trace's first word, by the other half of the key. */
LAYOUT_BUILT_IN void ids_generate_both(uint8_t trace_id[16], uint8_t span_id[8])
{
	uint64_t count = own_count(&generator.counter) + 1;
	uint64_t word[2] = { mix(generator.key[0] + count * 0x9e3779b97f4a7c15u), 0 };
	uint64_t span = word[0] * 0x94d049bb133111ebu + generator.key[1];

	word[1] = mix((generator.key[1] ^ word[0]) + count);
	/* Not seeded yet, or a zero, which is no id. */
	if (__builtin_expect(__atomic_load_n(&generator.ready, __ATOMIC_RELAXED) == 0, 0) ||
	    __builtin_expect(word[0] == 0, 0) || __builtin_expect(span == 0, 0)) {
		generate_otherwise(trace_id, span_id);
		return;
	}
	memcpy(trace_id, word, sizeof(word));
	memcpy(span_id, &span, sizeof(span));
}

void ids_after_fork(void)
{
	__atomic_store_n(&generator.ready, 0, __ATOMIC_RELAXED);
}

/*
 * Hex is a good part of what a request costs us, so both ways take four bytes of an id at a time in one 64-bit word,
 * each character in a byte of its own. The byte order is that of little-endian machines; others go byte by byte.
 */
#define EACH(byte) (0x0101010101010101u * (uint64_t)(byte))
#define TOP EACH(0x80)
#define IN_WORDS (__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__)

#ifdef __SSE2__
static LAYOUT_INLINE void hex_eight(char out[16], const uint8_t bytes[8])
{
	const __m128i nibble = _mm_set1_epi8(15);
	__m128i v = _mm_loadl_epi64((const __m128i *)(const void *)bytes);

	v = _mm_unpacklo_epi8(_mm_and_si128(_mm_srli_epi16(v, 4), nibble), _mm_and_si128(v, nibble));
	v = _mm_add_epi8(_mm_add_epi8(v, _mm_set1_epi8('0')),
	                 _mm_and_si128(_mm_cmpgt_epi8(v, _mm_set1_epi8(9)), _mm_set1_epi8('a' - '9' - 1)));
	_mm_storeu_si128((__m128i *)(void *)out, v);
}
#endif

static void hex_four(char out[8], const uint8_t bytes[4])
{
	uint32_t four;
	uint64_t x;

	memcpy(&four, bytes, sizeof(four));
	x = four;
	x = (x | x << 16) & 0x0000ffff0000ffffu;
	x = (x | x << 8) & 0x00ff00ff00ff00ffu;
	x = (x >> 4 & 0x000f000f000f000fu) | (x & 0x000f000f000f000fu) << 8;
	x += EACH('0') + ((x + EACH(6)) >> 4 & EACH(1)) * ('a' - '0' - 10);
	memcpy(out, &x, sizeof(x));
}

char *ids_hex(char *out, const uint8_t *bytes, size_t n)
{
	static const char digits[16] = "0123456789abcdef";

#ifdef __SSE2__
	for (; n >= 8; out += 16, bytes += 8, n -= 8)
		hex_eight(out, bytes);
	if (n == 0)
		return out;
#endif
	for (; IN_WORDS && n >= 4; out += 8, bytes += 4, n -= 4)
		hex_four(out, bytes);
	for (; n > 0; n--, bytes++) {
		*out++ = digits[*bytes >> 4];
		*out++ = digits[*bytes & 15];
	}
	return out;
}

LAYOUT_BUILT_IN void ids_hex_trace(char out[32], const uint8_t id[16])
{
#ifdef __SSE2__
	hex_eight(out, id);
	hex_eight(out + 16, id + 8);
#else
	(void)ids_hex(out, id, 16);
#endif
}

/* Eight digits into four bytes. Returns nonzero in the top bits of the characters that are refused. */
static uint64_t unhex_eight(uint8_t out[4], const char hex[8], uint64_t refuse_upper)
{
	uint64_t in, low, v, digit, letter, refused;
	uint32_t four;

	memcpy(&in, hex, sizeof(in));
	v = in & ~TOP; /* so that no sum below carries into the next character */
	low = v | EACH(0x20);
	digit = (v + EACH(0x80 - '0')) & ~(v + EACH(0x80 - '9' - 1)) & TOP;
	letter = (low + EACH(0x80 - 'a')) & ~(low + EACH(0x80 - 'f' - 1)) & TOP;
	refused = (in & TOP) | (~(digit | letter) & TOP) | (letter & ~(v << 2) & refuse_upper);
	v = (v & EACH(15)) + (letter >> 7) * 9;
	v = (v << 4 | v >> 8) & 0x00ff00ff00ff00ffu;
	v = (v | v >> 8) & 0x0000ffff0000ffffu;
	four = (uint32_t)(v | v >> 16);
	memcpy(out, &four, sizeof(four));
	return refused;
}

/* 0..15, with 0x40 set for an upper-case digit; 0x80 for what is no digit. */
static unsigned hex_value(char c)
{
	unsigned u = (unsigned char)c;

	if (u - '0' < 10)
		return u - '0';
	if (u - 'a' < 6)
		return u - 'a' + 10;
	if (u - 'A' < 6)
		return (u - 'A' + 10) | 0x40;
	return 0x80;
}

int ids_unhex(uint8_t *out, const char *hex, size_t n, int lower_only)
{
	const uint64_t refuse_upper = lower_only ? TOP : 0;
	const unsigned refuse = lower_only ? 0xc0u : 0x80u;
	uint64_t refused = 0;

	for (; IN_WORDS && n >= 4; out += 4, hex += 8, n -= 4)
		refused |= unhex_eight(out, hex, refuse_upper);
	for (; n > 0; out++, hex += 2, n--) {
		unsigned high = hex_value(hex[0]), low = hex_value(hex[1]);

		refused |= (high | low) & refuse;
		*out = (uint8_t)((high & 15) << 4 | (low & 15));
	}
	return refused != 0 ? -1 : 0;
}

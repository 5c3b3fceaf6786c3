/*
 * Random ids. One generator a thread, seeded from getrandom once, and again in a forked child (design.md gives the
 * costs: a system call an id is 200 times dearer). Not for secrets.
 */
#ifndef TRACESHIM_IDS_H
#define TRACESHIM_IDS_H

#include <stddef.h>
#include <stdint.h>

/*
 * Fill an id with random bytes, never all zero. Signal-safe: a handler that interrupts it gets ids of its own. Every
 * byte is random, so a fresh trace id may carry TRACE_FLAG_RANDOM. Keeps errno.
 */
void ids_generate_trace(uint8_t id[16]);
void ids_generate_span(uint8_t id[8]);
/* Both of a new request, sooner. */
void ids_generate_both(uint8_t trace_id[16], uint8_t span_id[8]);

/* Forget the calling thread's seed, in the child of a fork (or of a raw clone). Signal-safe. */
void ids_after_fork(void);

/* `n` bytes as 2n lower-case hex digits, no NUL. Returns out + 2n. */
char *ids_hex(char *out, const uint8_t *bytes, size_t n);
/* The same of a trace id; built into its callers. */
void ids_hex_trace(char out[32], const uint8_t id[16]);

/* Exactly 2n hex digits into n bytes; `lower_only` refuses upper case. Returns 0, or -1 (out undefined). */
int ids_unhex(uint8_t *out, const char *hex, size_t n, int lower_only);

#endif

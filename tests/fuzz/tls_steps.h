/*
 * What scripts/fuzz-record writes down (record/tls_calls.c) and fuzz_tls reads: an input whose second byte is RECORDED has steps of a byte,
 * bits 0-3 which (STEP_...), bits 4-5 of which of SESSIONS sessions; behind it what the step takes, for STEP_OPEN a byte of HOW_....
 */
#ifndef TLS_STEPS_H
#define TLS_STEPS_H

#define RECORDED 0x52
#define SESSIONS 4

enum {
	STEP_WRITE,
	STEP_READ,
	STEP_PEEK,
	STEP_HANDSHAKE,
	STEP_SHUT,
	STEP_CLEAR,
	STEP_SHARE,
	STEP_RELEASE,
	STEP_OPEN,
	STEP_BREAK
};

/* How a session begins. */
enum {
	HOW_SERVED = 1,
	HOW_PARTIAL = 2,
	HOW_MOVING = 4,
	HOW_MEMORY = 8,
	HOW_NONBLOCKING = 16,
	HOW_UNKNOWN = 32,
	HOW_KEEPS = 64,
	HOW_SELDOM = 128
};

#endif

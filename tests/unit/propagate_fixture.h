/*
 * What the tests of propagate share: a context with room, a configuration, a head to receive, lines to send.
 */
#ifndef TRACESHIM_TESTS_PROPAGATE_FIXTURE_H
#define TRACESHIM_TESTS_PROPAGATE_FIXTURE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "config.h"
#include "counters.h"
#include "ids.h"
#include "propagate.h"

#define TRACE "12345678901234567890123456789012"
#define SPAN "1234567890123456"
#define PARENT "00-" TRACE "-" SPAN "-01"
#define OTHER "abcdefabcdefabcdefabcdefabcdefab"

static char area[LIMIT_TEXT_LARGE];
static struct trace_context ctx;
static struct propagate_in in;

static void configure(const char *const *environment)
{
	memset(counters_page()->counter, 0, sizeof(counters_page()->counter));
	counters_page()->notes_len = 0;
	config_load((char *const *)(uintptr_t)environment, "test");
	assert_int_equal(counters_get(config_invalid) + counters_get(config_unknown), 0);
}

#define CONFIGURE(...) configure((const char *const[]){ __VA_ARGS__, NULL })

static int configure_defaults(void **state)
{
	(void)state;
	CONFIGURE("A=1");
	return 0;
}

/* Feed a head of name, value pairs; the fields go through propagate_wants as the scanner would do it. */
static void receive(const char *const *pairs)
{
	memset(&ctx, 0xa5, sizeof(ctx));
	memset(counters_page()->counter, 0, sizeof(counters_page()->counter));
	ctx.text = (struct text){ area, 77, sizeof(area) };
	propagate_begin(&in, &ctx);
	for (; *pairs != NULL; pairs += 2) {
		/* Copies of the exact size, so that the sanitizer sees a read beyond the value. */
		size_t len = strlen(pairs[1]), needed = propagate_text_needed(&ctx, pairs[0], strlen(pairs[0]), len);
		char *value = malloc(len);
		uint16_t before = ctx.text.len;

		memcpy(value, pairs[1], len);
		if (propagate_wants(pairs[0], strlen(pairs[0])))
			propagate_field(&in, &ctx, pairs[0], strlen(pairs[0]), value, len);
		free(value);
		assert_true(ctx.text.len <= before + needed);
	}
	propagate_end(&in, &ctx);
}

#define RECEIVE(...) receive((const char *const[]){ __VA_ARGS__, NULL })

static const char *hex_of(const uint8_t *id, size_t n)
{
	static char hex[2][33];
	static int which;
	char *out = hex[which ^= 1];

	*ids_hex(out, id, n) = '\0';
	return out;
}

#define assert_trace(expected) assert_string_equal(hex_of(ctx.trace_id, 16), expected)
#define assert_parent(expected) assert_string_equal(hex_of(ctx.parent_id, 8), expected)

static void assert_slice(struct slice slice, const char *expected)
{
	char text[LIMIT_BAGGAGE + 1];

	assert_true(slice.len == 0 || slice.off + slice.len <= ctx.text.len);
	memcpy(text, ctx.text.data + slice.off, slice.len);
	text[slice.len] = '\0';
	assert_string_equal(text, expected);
}

static void assert_fresh(const char *const *heads)
{
	assert_false(ctx.remote);
	if (strstr(TRACE "|" OTHER, hex_of(ctx.trace_id, 16)) != NULL)
		fail_msg("%s: taken for valid", heads[1]);
	assert_parent("0000000000000000");
	assert_int_equal(ctx.tracestate.len, 0);
}

/* The head lines sent for the context as a string. */
static const char *sent(uint32_t own)
{
	static char out[LIMIT_INJECTION + 1];
	static const uint8_t span[8] = { 0xca, 0xfe, 0, 0, 0, 0, 0, 1 };
	size_t len = propagate_format_headers(&ctx, span, own, out);

	assert_true(len <= LIMIT_INJECTION);
	out[len] = '\0';
	assert_int_equal(strlen(out), len);
	return out;
}

#define TEST(name) cmocka_unit_test_setup(name, configure_defaults)

#endif

/*
 * JSON strings and objects, against vectors and against an unreadable page behind the input, or in front of it.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <cmocka.h>

#include "json.h"

static char *page_start; /* the first readable byte */
static char *page_end;   /* one past the last */

static const char *at_page_end(const char *bytes, size_t len)
{
	memcpy(page_end - len, bytes, len);
	return page_end - len;
}

static int map_page(void **state)
{
	char *pages = mmap(NULL, 4 * 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	(void)state;
	if (pages == MAP_FAILED || mprotect(pages, 4096, PROT_NONE) != 0 ||
	    mprotect(pages + 3 * 4096, 4096, PROT_NONE) != 0)
		return -1;
	page_start = pages + 4096;
	page_end = page_start + 2 * 4096;
	return 0;
}

static void expect_escape_n(const char *in, size_t len, const char *expected)
{
	char *out = malloc(JSON_ESCAPE_BOUND(len)), *end;

	end = json_escape(out, at_page_end(in, len), len);
	assert_int_equal(end - out, strlen(expected));
	assert_memory_equal(out, expected, strlen(expected));
	memset(out, 0, strlen(expected));
	memcpy(page_start, in, len);
	end = json_escape(out, page_start, len);
	assert_int_equal(end - out, strlen(expected));
	assert_memory_equal(out, expected, strlen(expected));
	memset(out, 0, strlen(expected));
	end = json_escape_line(out, at_page_end(in, len), len);
	if (memchr(in, '\n', len)) {
		assert_null(end);
	} else {
		assert_int_equal(end - out, strlen(expected));
		assert_memory_equal(out, expected, strlen(expected));
	}
	free(out);
}

#define expect_escape(in, expected) expect_escape_n(in, sizeof(in) - 1, expected)

static void plain_text_is_copied(void **state)
{
	char text[200];
	size_t len;

	(void)state;
	memset(text, 'a', sizeof(text));
	for (len = 0; len < sizeof(text); len++) {
		text[len] = '\0';
		expect_escape_n(text, len, text);
		text[len] = 'b';
	}
}

static void special_bytes_are_escaped_at_every_place(void **state)
{
	size_t len, at;

	(void)state;
	for (len = 1; len < 40; len++) {
		for (at = 0; at < len; at++) {
			char in[41] = "", expected[48] = "";

			memset(in, 'x', len);
			in[at] = '"';
			memcpy(expected, in, at);
			strcat(expected, "\\\"");
			strcat(expected, in + at + 1);
			expect_escape_n(in, len, expected);
		}
	}
	expect_escape("a\\b", "a\\\\b");
	expect_escape("\b\f\n\r\t", "\\b\\f\\n\\r\\t");
	expect_escape("\0\x01\x1f\x7f", "\\u0000\\u0001\\u001f\x7f");
	expect_escape("\033[31mred\033[0m", "\\u001b[31mred\\u001b[0m");
}

/* Whatever is around it, escaped or not. */
/* Three of them at a time, side by side and far from each other, one in a text that other bytes are escaped in, too. */
static void quotes_are_escaped_at_all_places(void **state)
{
	static const char others[] = { 'a', '\x01' };
	char in[80], expected[6 * sizeof(in) + 1];
	size_t len, a, b, c, i, n;

	(void)state;
	for (len = 3; len < sizeof(in); len += 1 + len % 5) {
		for (a = 0; a < len; a += 1 + a % 3) {
			for (b = a; b < len; b += 1 + b % 4) {
				c = len - 1 - (a + b) % len;
				memset(in, 'a', len);
				in[len - 1 - a / 2] = others[(a ^ b) % 8 == 0];
				in[a] = '"';
				in[b] = '\\';
				in[c] = '"';
				for (i = n = 0; i < len; i++) {
					if (in[i] == 1) {
						n += (size_t)sprintf(expected + n, "\\u0001");
						continue;
					}
					if (in[i] != 'a')
						expected[n++] = '\\';
					expected[n++] = in[i];
				}
				expected[n] = '\0';
				expect_escape_n(in, len, expected);
			}
		}
	}
}

static void newline_at_any_place_is_seen(void **state)
{
	static const char *const others[] = { "x", "\"", "\\", "\t", "\xc3\xa9", "\xff" };
	char in[128], out[JSON_ESCAPE_BOUND(sizeof(in))];
	size_t len, at, i;

	(void)state;
	for (i = 0; i < sizeof(others) / sizeof(others[0]); i++) {
		for (len = 0; len < 100; len += strlen(others[i]))
			memcpy(in + len, others[i], strlen(others[i]));
		for (; len > 0; len--) {
			assert_non_null(json_escape_line(out, at_page_end(in, len), len));
			for (at = 0; at < len; at++) {
				char was = in[at];

				in[at] = '\n';
				assert_null(json_escape_line(out, at_page_end(in, len), len));
				in[at] = was;
			}
		}
	}
}

static void valid_utf8_is_copied(void **state)
{
	(void)state;
	expect_escape("h\xc3\xa9llo", "h\xc3\xa9llo");
	expect_escape("\xe2\x82\xac\xf0\x9f\x98\x80\xf4\x8f\xbf\xbf", "\xe2\x82\xac\xf0\x9f\x98\x80\xf4\x8f\xbf\xbf");
	expect_escape("\xed\x9f\xbf\xee\x80\x80", "\xed\x9f\xbf\xee\x80\x80");
	expect_escape("\xc2\x80\"\xc3\xbf", "\xc2\x80\\\"\xc3\xbf");
}

static void invalid_bytes_become_escapes_that_tell_them(void **state)
{
	(void)state;
	expect_escape("\xff", "\\u00ff");
	expect_escape("caf\xe9!", "caf\\u00e9!");
	expect_escape("\xc3", "\\u00c3");
	expect_escape("\xc0\xaf", "\\u00c0\\u00af");
	expect_escape("\xed\xa0\x80", "\\u00ed\\u00a0\\u0080");
	expect_escape("\xf4\x90\x80\x80", "\\u00f4\\u0090\\u0080\\u0080");
	expect_escape("\xe0\x80\x80z", "\\u00e0\\u0080\\u0080z");
	expect_escape("\xf0\x9f\x98", "\\u00f0\\u009f\\u0098");
	expect_escape("\xe2\x82\xac\x80", "\xe2\x82\xac\\u0080");
}

/* The same, a character or a byte at a time, by nothing but json_utf8_char. */
static size_t escape_slowly(char *out, const char *in, size_t len)
{
	char *p = out;
	size_t k;

	for (; len; len -= k, in += k) {
		unsigned char c = (unsigned char)*in;

		k = json_utf8_char(in, len);
		if (k && c >= 0x20 && c != '"' && c != '\\') {
			memcpy(p, in, k);
			p += k;
		} else {
			k = 1;
			p += c == '"' || c == '\\' ? sprintf(p, "\\%c", c) : sprintf(p, "\\u%04x", c);
		}
	}
	return (size_t)(p - out);
}

static void characters_are_told_from_bytes_at_every_place(void **state)
{
	static const unsigned char bytes[] = { 'a',  '"',  0x01, 0x80, 0x8f, 0x90, 0x9f, 0xa0, 0xbf, 0xc1, 0xc2, 0xdf,
		                               0xe0, 0xe1, 0xec, 0xed, 0xef, 0xf0, 0xf1, 0xf3, 0xf4, 0xf5, 0xff };
	static const size_t places[] = { 0, 13, 14, 15, 28 };
	size_t kinds = sizeof(bytes), a, b, c, i;
	char in[40], out[JSON_ESCAPE_BOUND(40)], expected[JSON_ESCAPE_BOUND(40)];

	(void)state;
	for (i = 0; i < sizeof(places) / sizeof(places[0]); i++) {
		for (a = 0; a < kinds * kinds * kinds * kinds; a++) {
			size_t at = places[i], len = at + 4 + a % 3, n, wanted;

			memset(in, i & 1 ? 'x' : 0xbf, sizeof(in));
			for (b = 0, c = a; b < 4; b++, c /= kinds)
				in[at + b] = (char)bytes[c % kinds];
			wanted = escape_slowly(expected, in, len);
			n = (size_t)(json_escape(out, at_page_end(in, len), len) - out);
			assert_int_equal(n, wanted);
			assert_true(memcmp(out, expected, n) == 0);
		}
	}
}

static void cut_never_splits_a_character(void **state)
{
	static const char text[] = "a\xe2\x82\xac\xf0\x9f\x98\x80";

	(void)state;
	assert_int_equal(json_utf8_cut(text, 0), 0);
	assert_int_equal(json_utf8_cut(text, 1), 1);
	assert_int_equal(json_utf8_cut(text, 2), 1);
	assert_int_equal(json_utf8_cut(text, 3), 1);
	assert_int_equal(json_utf8_cut(text, 4), 4);
	assert_int_equal(json_utf8_cut(text, 5), 4);
	assert_int_equal(json_utf8_cut(text, 7), 4);
	assert_int_equal(json_utf8_cut(text, 8), 8);
	assert_int_equal(json_utf8_cut("\x80\x80\x80\x80\x80", 5), 5);
}

struct keys {
	unsigned count;
	char text[256];
};

static void collect(void *owner, const char *name, size_t len, char value)
{
	struct keys *keys = owner;
	size_t used = strlen(keys->text);

	keys->count++;
	memcpy(keys->text + used, name, len);
	keys->text[used + len] = value;
	keys->text[used + len + 1] = ' ';
	keys->text[used + len + 2] = '\0';
}

static bool scan_n(const char *text, size_t len, struct keys *keys, size_t *brace, bool *empty)
{
	memset(keys, 0, sizeof(*keys));
	return json_scan_object(at_page_end(text, len), len, collect, keys, brace, empty);
}

static bool scan(const char *text)
{
	struct keys keys;
	size_t brace;
	bool empty;

	return scan_n(text, strlen(text), &keys, &brace, &empty);
}

static void objects_are_recognised(void **state)
{
	static const char *const good[] = { "{}",
		                            " { } ",
		                            "{\"a\":1}",
		                            "{\"a\":[]}",
		                            "{\"a\":[1,2,{\"b\":null}],\"c\":true}",
		                            "{\"a\":-0.5e+10}",
		                            "{\"a\":0}",
		                            "{\"a\":\"\\u12aB\\n\\\"\"}",
		                            "\t{\"a\" : false }\r",
		                            "{\"\":\"\"}",
		                            "{\"a\":\"\xe2\x82\xac\"}",
		                            "{\"a\":1,\"a\":2}",
		                            "{\"a\":1E5}",
		                            "{\"a\":\"\\ud800\"}" };
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
		if (!scan(good[i]))
			fail_msg("refused: %s", good[i]);
	}
}

static void everything_else_is_refused(void **state)
{
	static const char *const bad[] = { "",
		                           " ",
		                           "{",
		                           "}",
		                           "[]",
		                           "null",
		                           "{}{}",
		                           "{} x",
		                           "{\"a\"}",
		                           "{\"a\":}",
		                           "{\"a\":1,}",
		                           "{,}",
		                           "{a:1}",
		                           "{'a':1}",
		                           "{\"a\":01}",
		                           "{\"a\":1.}",
		                           "{\"a\":.5}",
		                           "{\"a\":+1}",
		                           "{\"a\":-}",
		                           "{\"a\":1e}",
		                           "{\"a\":tru}",
		                           "{\"a\":nulll}",
		                           "{\"a\":\"\\x\"}",
		                           "{\"a\":\"\\u12g4\"}",
		                           "{\"a\":\"\\u12",
		                           "{\"a\":\"\t\"}",
		                           "{\"a\":\"\xff\"}",
		                           "{\"a\":\"\xc3\"}",
		                           "{\"a\":[1,]}",
		                           "{\"a\":[1}",
		                           "{\"a\":{]}",
		                           "{\"a\":1 2}",
		                           "{\"a\" 1}",
		                           "{\"a\":\"x}",
		                           "{\"a\\\":1}",
		                           "x{}",
		                           "{\"a\":NaN}",
		                           "{\"a\":[,1]}" };
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		if (scan(bad[i]))
			fail_msg("accepted: %s", bad[i]);
	}
	assert_false(scan("{\"a\":\"\\\0\"}"));
}

static void no_prefix_of_an_object_is_an_object(void **state)
{
	static const char text[] = "{\"k\\u0065y\":[1.5e3,\"v\\n\xe2\x82\xac\",{\"x\":null}],\"t\":true}";
	struct keys keys;
	size_t len, brace;
	bool empty;

	(void)state;
	for (len = 0; len < sizeof(text) - 1; len++)
		assert_false(scan_n(text, len, &keys, &brace, &empty));
	assert_true(scan_n(text, len, &keys, &brace, &empty));
	assert_int_equal(brace, len - 1);
	assert_false(empty);
	assert_string_equal(keys.text, "key[ tt ");
}

static void only_the_objects_own_keys_are_reported_unescaped(void **state)
{
	static const char text[] = "{\"a\":{\"inner\":1},\"tr\\u0061ce\\/\\t\\u00e9\":\"x\",\"list\":[{\"deep\":2}]}";
	struct keys keys;
	size_t brace;
	bool empty;

	(void)state;
	assert_true(scan_n(text, sizeof(text) - 1, &keys, &brace, &empty));
	assert_int_equal(keys.count, 3);
	assert_string_equal(keys.text, "a{ trace/\t\xc3\xa9\" list[ ");
	assert_true(scan_n("{ } ", 4, &keys, &brace, &empty));
	assert_true(empty);
	assert_int_equal(brace, 2);
}

static void depth_is_limited(void **state)
{
	char text[1024];
	int depth, i;

	(void)state;
	for (depth = JSON_DEPTH_MAX - 1; depth <= JSON_DEPTH_MAX; depth++) {
		strcpy(text, "{\"a\":");
		for (i = 0; i < depth; i++)
			strcat(text, "[");
		for (i = 0; i < depth; i++)
			strcat(text, "]");
		strcat(text, "}");
		assert_int_equal(scan(text), depth < JSON_DEPTH_MAX);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(plain_text_is_copied),
		cmocka_unit_test(special_bytes_are_escaped_at_every_place),
		cmocka_unit_test(quotes_are_escaped_at_all_places),
		cmocka_unit_test(newline_at_any_place_is_seen),
		cmocka_unit_test(valid_utf8_is_copied),
		cmocka_unit_test(invalid_bytes_become_escapes_that_tell_them),
		cmocka_unit_test(characters_are_told_from_bytes_at_every_place),
		cmocka_unit_test(cut_never_splits_a_character),
		cmocka_unit_test(objects_are_recognised),
		cmocka_unit_test(everything_else_is_refused),
		cmocka_unit_test(no_prefix_of_an_object_is_an_object),
		cmocka_unit_test(only_the_objects_own_keys_are_reported_unescaped),
		cmocka_unit_test(depth_is_limited),
	};

	return cmocka_run_group_tests(tests, map_page, NULL);
}

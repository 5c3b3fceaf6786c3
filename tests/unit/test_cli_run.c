/*
 * The pure parts of `traceshim run` and `doctor`: the value of LD_PRELOAD, "#!" lines, and text made safe to print.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "../../cli/doctor.h"
#include "../../cli/find.h"
#include "../../cli/text.h"

static char folder[] = "/tmp/traceshim-test-XXXXXX";
static char object[64], another[64], alias[64];

static void make_file(const char *path)
{
	FILE *file = fopen(path, "w");

	assert_non_null(file);
	fclose(file);
}

static int make_objects(void **state)
{
	char sub[64];

	(void)state;
	assert_non_null(mkdtemp(folder));
	snprintf(object, sizeof(object), "%s/libtraceshim.so", folder);
	snprintf(sub, sizeof(sub), "%s/d", folder);
	assert_int_equal(mkdir(sub, 0700), 0);
	snprintf(another, sizeof(another), "%s/d/libtraceshim.so", folder);
	snprintf(alias, sizeof(alias), "%s/alias.so", folder);
	make_file(object);
	make_file(another);
	assert_int_equal(symlink(object, alias), 0);
	return 0;
}

static int remove_objects(void **state)
{
	(void)state;
	unlink(object);
	unlink(another);
	unlink(alias);
	*strrchr(another, '/') = '\0';
	rmdir(another);
	return rmdir(folder);
}

static void expect_preload(const char *old, const char *expected)
{
	char *value = find_preload_value(old, object);

	assert_non_null(value);
	assert_string_equal(value, expected);
	free(value);
}

static void the_object_goes_to_the_end_and_what_was_there_stays(void **state)
{
	char expected[256];

	(void)state;
	expect_preload(NULL, object);
	expect_preload("", object);
	snprintf(expected, sizeof(expected), "/lib/other.so:%s", object);
	expect_preload("/lib/other.so", expected);
	expect_preload("/lib/other.so:", expected);
	expect_preload("/lib/other.so ", expected);
	snprintf(expected, sizeof(expected), "/a.so:b.so:%s", object);
	expect_preload("/a.so b.so", expected);
}

static void the_object_is_not_added_twice(void **state)
{
	char old[256];

	(void)state;
	expect_preload(object, object);
	expect_preload(alias, alias);
	snprintf(old, sizeof(old), "%s:/lib/other.so", object);
	expect_preload(old, old);
	expect_preload("/opt/$LIB/libtraceshim.so", "/opt/$LIB/libtraceshim.so");
}

static void another_copy_of_the_object_is_replaced(void **state)
{
	char old[256], expected[256];

	(void)state;
	snprintf(old, sizeof(old), "%s:/x.so", another);
	snprintf(expected, sizeof(expected), "%s:/x.so", object);
	expect_preload(old, expected);
}

static void paths_that_the_loader_would_split_are_refused(void **state)
{
	(void)state;
	assert_null(find_preload_obstacle("/usr/lib/traceshim/libtraceshim.so"));
	assert_non_null(find_preload_obstacle("/my programs/libtraceshim.so"));
	assert_non_null(find_preload_obstacle("/a:b/libtraceshim.so"));
	assert_non_null(find_preload_obstacle("/a/$ORIGIN/libtraceshim.so"));
}

static const char *interpreter_of(const char *line)
{
	static char interpreter[PATH_MAX];

	return doctor_script_interpreter(line, strlen(line), interpreter) ? interpreter : NULL;
}

static void the_interpreter_of_a_script_is_found_through_env(void **state)
{
	char longline[600];

	(void)state;
	assert_string_equal(interpreter_of("#!/bin/sh\n"), "/bin/sh");
	assert_string_equal(interpreter_of("#! /bin/sh -e\n"), "/bin/sh");
	assert_string_equal(interpreter_of("#!/bin/sh"), "/bin/sh");
	assert_string_equal(interpreter_of("#!/usr/bin/env python3\nimport x\n"), "python3");
	assert_string_equal(interpreter_of("#!/usr/bin/env -S node --no-warnings\n"), "node");
	assert_string_equal(interpreter_of("#!/usr/bin/env -Snode -x\n"), "node");
	assert_string_equal(interpreter_of("#!/usr/bin/env -i -u HOME A=b ruby\n"), "ruby");
	assert_null(interpreter_of("#!/usr/bin/env\n"));
	assert_null(interpreter_of("#!\n/bin/sh"));
	assert_null(interpreter_of("#!"));
	assert_null(interpreter_of("# /bin/sh"));
	assert_null(interpreter_of(""));
	memset(longline, 'x', sizeof(longline));
	memcpy(longline, "#!", 2);
	longline[sizeof(longline) - 1] = '\0';
	assert_int_equal(strlen(interpreter_of(longline)), 253);
}

static void expect_clean(const char *in, size_t size, const char *expected)
{
	char out[64];

	assert_true(size <= sizeof(out));
	assert_string_equal(text_clean(out, size, in, strlen(in)), expected);
}

static void foreign_text_cannot_steer_a_terminal(void **state)
{
	(void)state;
	expect_clean("plain", 64, "plain");
	expect_clean("a\033[2Jb\r\n", 64, "a\\x1b[2Jb\\x0d\\x0a");
	expect_clean("\x7f\t", 64, "\\x7f\\x09");
	expect_clean("gr\xc3\xbc\xc3\x9f \xf0\x9f\x98\x80", 64, "gr\xc3\xbc\xc3\x9f \xf0\x9f\x98\x80");
	expect_clean("\xc2\x9b", 64, "\\xc2\\x9b");
	expect_clean("\xff\xc0\xaf\xed\xa0\x80\xe2\x82", 64, "\\xff\\xc0\\xaf\\xed\\xa0\\x80\\xe2\\x82");
	expect_clean("\xf8\x90\x80\x80", 64, "\\xf8\\x90\\x80\\x80");
	expect_clean("\\x1b", 64, "\\\\x1b");
	expect_clean("abcdef", 4, "abc");
	expect_clean("ab\033", 6, "ab");
	expect_clean("ab\xc3\xbc", 4, "ab");
	expect_clean("", 1, "");
}

static void only_numbers_are_process_ids(void **state)
{
	(void)state;
	assert_int_equal(text_to_pid("1234"), 1234);
	assert_int_equal(text_to_pid(""), 0);
	assert_int_equal(text_to_pid("-1"), 0);
	assert_int_equal(text_to_pid("12a"), 0);
	assert_int_equal(text_to_pid(" 12"), 0);
	assert_int_equal(text_to_pid("99999999999999"), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_object_goes_to_the_end_and_what_was_there_stays),
		cmocka_unit_test(the_object_is_not_added_twice),
		cmocka_unit_test(another_copy_of_the_object_is_replaced),
		cmocka_unit_test(paths_that_the_loader_would_split_are_refused),
		cmocka_unit_test(the_interpreter_of_a_script_is_found_through_env),
		cmocka_unit_test(foreign_text_cannot_steer_a_terminal),
		cmocka_unit_test(only_numbers_are_process_ids),
	};

	return cmocka_run_group_tests(tests, make_objects, remove_objects);
}

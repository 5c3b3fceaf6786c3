/*
 * The bytes of a program into records: through a write that fails as told, through real pipes, by many threads at once,
 * and from a signal handler.
 *
 * long: a test for each way that a write can end, in one file because they share the scripted log.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cmocka.h>

#include "counters.h"
#include "logline_internal.h"
#include "os.h"
#include "request.h"

/* The fake log: what arrived, and what the next writes do: a limit in bytes, or -errno. Behind the script all succeed. */
static char *arrived;
static size_t arrived_len, arrived_cap;
static long script[64];
static size_t script_len, script_at;
static size_t write_sizes[4096], write_count;
static uint32_t seed;

static uint32_t next_random(uint32_t below)
{
	seed = seed * 1664525u + 1013904223u;
	return (seed >> 8) % below;
}

static void take_bytes(const char *buf, size_t len)
{
	if (arrived_len + len + 1 > arrived_cap) {
		arrived_cap = (arrived_len + len + 1) * 2;
		arrived = realloc(arrived, arrived_cap);
	}
	memcpy(arrived + arrived_len, buf, len);
	arrived_len += len;
	arrived[arrived_len] = '\0';
	write_sizes[write_count++ % 4096] = len;
}

static ssize_t fake_write(int fd, const void *buf, size_t len)
{
	long action = script_at < script_len ? script[script_at++] : (long)len;

	assert_int_equal(fd, 77);
	if (action < 0) {
		errno = (int)-action;
		return -1;
	}
	if ((size_t)action < len)
		len = (size_t)action;
	take_bytes(buf, len);
	return (ssize_t)len;
}

static ssize_t random_write(int fd, const void *buf, size_t len)
{
	uint32_t dice = next_random(10);

	(void)fd;
	if (dice < 3) {
		errno = dice == 0 ? EINTR : EAGAIN;
		return -1;
	}
	if (dice < 6)
		len = 1 + next_random((uint32_t)len);
	take_bytes(buf, len);
	return (ssize_t)len;
}

static ssize_t fake_writev(int fd, const struct iovec *iov, int count)
{
	ssize_t n = 0;
	int i;

	(void)fd;
	for (i = 0; i < count; i++) {
		take_bytes(iov[i].iov_base, iov[i].iov_len);
		n += (ssize_t)iov[i].iov_len;
	}
	return n;
}

static void set_script(size_t count, const long *actions)
{
	memcpy(script, actions, count * sizeof(*actions));
	script_len = count;
	script_at = 0;
}
#define SCRIPT(...) set_script(sizeof((long[]){ __VA_ARGS__ }) / sizeof(long), (long[]){ __VA_ARGS__ })

static int reset(void **state)
{
	(void)state;
	memset(&config, 0, sizeof(config));
	config.log_mode = LOG_JSON;
	config.log_format = FORMAT_OTEL;
	config.service.text = "t";
	config.service.len = 1;
	record_init();
	logline_after_fork();
	logline_open(0, false);
	os.write = fake_write;
	os.writev = fake_writev;
	arrived_len = write_count = script_len = script_at = 0;
	take_bytes("", 0);
	write_count = 0;
	seed = 42;
	return 0;
}

static ssize_t put_n(logline_key key, const char *bytes, size_t len, struct request *r)
{
	struct iovec iov = { (void *)(uintptr_t)bytes, len };
	struct logline_segment segment = { .len = len, .request = r };

	return logline_write(0, RECORD_STDOUT, 77, key, &iov, 1, len, &segment, 1);
}

static ssize_t put(logline_key key, const char *text)
{
	return put_n(key, text, strlen(text), NULL);
}

static int fd_77(unsigned file)
{
	return file == 0 ? 77 : -1;
}

/*
 * Undo records: each message, and a '\n' unless the record says that its line goes on. Lines that were objects are taken
 * as they are. Result is NUL-terminated, in *len bytes. Escapes \u0000 to \u00ff are one byte each.
 */
static char *undo(const char *records, size_t records_len, size_t *len)
{
	char *out = malloc(records_len + 1), *p = out;
	const char *end = records + records_len;

	while (records < end) {
		const char *newline = memchr(records, '\n', (size_t)(end - records));
		const char *m = records;
		bool open;

		assert_non_null(newline);
		if (strncmp(records, "{\"timestamp\":\"", 14) != 0) {
			memcpy(p, records, (size_t)(newline + 1 - records));
			p += newline + 1 - records;
			records = newline + 1;
			continue;
		}
		m = memmem(records, (size_t)(newline - records), "\"message\":\"", 11);
		assert_non_null(m);
		m += 11;
		for (; *m != '"'; m++) {
			char digits[5] = "";
			unsigned code;

			if (*m != '\\') {
				*p++ = *m;
			} else if (*++m == 'u') {
				memcpy(digits, m + 1, 4); /* sscanf would first measure all that follows */
				assert_int_equal(sscanf(digits, "%4x", &code), 1);
				*p++ = (char)code;
				m += 4;
			} else {
				const char *which = strchr("bfnrt", *m);

				*p++ = which ? "\b\f\n\r\t"[which - "bfnrt"] : *m;
			}
		}
		open = newline - m > 16 && memcmp(newline - 16, ",\"partial\":true}", 16) == 0;
		if (!open)
			*p++ = '\n';
		records = newline + 1;
	}
	*p = '\0';
	*len = (size_t)(p - out);
	return out;
}

static void expect_messages(const char *expected)
{
	size_t len;
	char *got = undo(arrived, arrived_len, &len);

	assert_string_equal(got, expected);
	free(got);
}

static unsigned records_arrived(void)
{
	unsigned n = 0;
	size_t i;

	for (i = 0; i < arrived_len; i++)
		n += arrived[i] == '\n';
	return n;
}

static void each_line_is_a_record_in_one_write(void **state)
{
	uint64_t lines = counters_get(lines), without = counters_get(lines_without_id);

	(void)state;
	assert_int_equal(put(1, "one\n\nthree\n"), 11);
	assert_int_equal(write_count, 1);
	assert_int_equal(records_arrived(), 3);
	expect_messages("one\n\nthree\n");
	assert_int_equal(counters_get(lines) - lines, 3);
	assert_int_equal(counters_get(lines_without_id) - without, 3);
}

static void pieces_of_a_line_are_joined_per_key(void **state)
{
	(void)state;
	assert_int_equal(put(1, "a"), 1);
	assert_int_equal(put(2, "xx"), 2);
	assert_int_equal(put(1, "b"), 1);
	assert_int_equal(put(2, "y\n"), 2);
	assert_int_equal(put(1, "\nrest"), 5);
	expect_messages("xxy\nab\n");
	logline_flush_key(1, fd_77);
	expect_messages("xxy\nab\nrest");
	assert_null(logline_files[0].lines);
}

static void vectored_pieces_are_one_record(void **state)
{
	struct iovec iov[4] = { { "GET /", 5 }, { "", 0 }, { " 200", 4 }, { "\nnext\nopen", 10 } };
	struct logline_segment segment = { .len = 19, .request = NULL };

	(void)state;
	assert_int_equal(logline_write(0, RECORD_STDERR, 77, 1, iov, 4, 19, &segment, 1), 19);
	expect_messages("GET / 200\nnext\n");
	assert_int_equal(write_count, 1);
	assert_non_null(strstr(arrived, "\"stderr\""));
	logline_flush_all(fd_77);
	expect_messages("GET / 200\nnext\nopen");
}

static struct request *request_numbered(uint8_t number)
{
	struct request *r = request_new();

	memset(r->ctx.trace_id, number, 16);
	memset(r->ctx.span_id, number, 8);
	return r;
}

/* Which ids the records carry, a letter each: '1' or '2' for the request's number, '-' for none. */
static void expect_owners(const char *expected)
{
	const char *p = arrived;
	char got[64] = "";
	size_t n = 0;

	while (*p) {
		const char *newline = strchr(p, '\n'), *id = strstr(p, "\"trace_id\":\"0");

		got[n++] = id && id < newline ? id[13] : '-';
		p = newline + 1;
	}
	assert_string_equal(got, expected);
}

static void lines_carry_the_ids_of_who_wrote_them(void **state)
{
	struct request *one = request_numbered(1), *two = request_numbered(2);
	char text[] = "a\nbb\nc\ndd\ne\n";
	struct iovec iov = { text, 12 };
	struct logline_segment segments[] = {
		{ .len = 2, .request = one }, { .len = 0, .request = two },
		{ .len = 1, .request = two }, { .len = 1, .request = NULL, .neutral = true },
		{ .len = 1, .request = two }, { .len = 2, .request = NULL, .neutral = true },
		{ .len = 1, .request = one }, { .len = 2, .request = two },
		{ .len = 2, .request = NULL }
	};
	uint64_t with = counters_get(lines_with_id);

	(void)state;
	assert_int_equal(logline_write(0, RECORD_STDOUT, 77, 1, &iov, 1, 12, segments, 9), 12);
	expect_owners("12---");
	assert_int_equal(counters_get(lines_with_id) - with, 2);
	request_unref(one);
	request_unref(two);
}

static void a_line_is_of_the_time_and_thread_that_printed_it(void **state)
{
	const uint64_t second = 1000000000;
	char text[] = "late\nopen";
	struct iovec iov = { text, sizeof(text) - 1 };
	struct logline_segment segments[] = { { .len = 5, .time_ns = 86400 * second, .tid = 41 },
		                              { .len = 4, .time_ns = 2 * 86400 * second, .tid = 42 } };

	(void)state;
	assert_int_equal(logline_write(0, RECORD_STDOUT, 77, 1, &iov, 1, 9, segments, 2), 9);
	assert_non_null(strstr(arrived, "\"1970-01-02T00:00:00.000000000Z\""));
	assert_non_null(strstr(arrived, "\"tid\":41,"));
	/* The rest of a line says nothing new: its first piece was printed first. */
	assert_int_equal(put(1, "ed\n"), 3);
	expect_messages("late\nopened\n");
	assert_non_null(strstr(arrived, "\"1970-01-03T00:00:00.000000000Z\""));
	assert_non_null(strstr(arrived, "\"tid\":42,"));
}

static void a_kept_piece_keeps_its_request(void **state)
{
	struct request *one = request_numbered(1), *two = request_numbered(2);

	(void)state;
	assert_int_equal(put_n(1, "a", 1, one), 1);
	assert_int_equal(one->refs, 2);
	assert_int_equal(put_n(1, "b", 1, one), 1);
	assert_int_equal(one->refs, 2);
	assert_int_equal(put_n(1, "c\n", 2, one), 2);
	assert_int_equal(one->refs, 1);
	assert_int_equal(put_n(1, "d", 1, one), 1);
	assert_int_equal(put_n(1, "e\nf", 3, two), 3);
	assert_int_equal(one->refs, 1);
	assert_int_equal(two->refs, 2);
	logline_flush_all(fd_77);
	assert_int_equal(two->refs, 1);
	expect_owners("1-2");
	request_unref(one);
	request_unref(two);
}

static void nothing_is_kept_of_a_write_that_fails_at_once(void **state)
{
	(void)state;
	assert_int_equal(put(1, "be"), 2);
	SCRIPT(-EAGAIN, -EPIPE, -EINTR);
	assert_int_equal(put(1, "gin\nand"), -1);
	assert_int_equal(errno, EAGAIN);
	assert_int_equal(put(1, "gin\nand"), -1);
	assert_int_equal(errno, EPIPE);
	assert_int_equal(put(1, "gin\nand"), -1);
	assert_int_equal(errno, EINTR);
	assert_int_equal(put(1, "gin\nand"), 7);
	assert_int_equal(put(1, " end\n"), 5);
	expect_messages("begin\nand end\n");
}

static void a_half_written_record_is_finished_before_anything_else(void **state)
{
	(void)state;
	SCRIPT(30, -EAGAIN, -EAGAIN, -EAGAIN, 5, -EAGAIN);
	assert_int_equal(put(1, "first\nsecond\n"), 5);
	assert_int_equal(put(1, "\nsecond\n"), -1);
	assert_int_equal(errno, EAGAIN);
	assert_int_equal(put(2, "other\n"), -1);
	assert_int_equal(errno, EAGAIN);
	assert_int_equal(put(2, "other\n"), -1);
	assert_int_equal(put(2, "other\n"), 6);
	expect_messages("first\nother\n");
	assert_int_equal(put(1, "\nsecond\n"), 8);
	expect_messages("first\nother\nsecond\n");
	assert_int_equal(records_arrived(), 3);
}

static void a_held_byte_alone_is_swallowed(void **state)
{
	(void)state;
	assert_int_equal(put(1, "line"), 4);
	SCRIPT(20, -EAGAIN);
	assert_int_equal(put(1, "\n"), -1);
	assert_int_equal(errno, EAGAIN);
	assert_int_equal(put(1, "\n"), 1);
	assert_int_equal(put(1, "\n"), 1);
	expect_messages("line\n\n");
}

static void a_program_that_does_not_come_back_loses_nothing(void **state)
{
	(void)state;
	SCRIPT(20, -EAGAIN);
	assert_int_equal(put(1, "line\n"), 4);
	assert_int_equal(put(1, "new\n"), 4);
	expect_messages("line\nnew\n");
	SCRIPT(20, -ENOSPC);
	assert_int_equal(put(1, "full\n"), 4);
	logline_flush_all(fd_77);
	expect_messages("line\nnew\nfull\n");
}

static void interruption_inside_a_record_is_retried(void **state)
{
	(void)state;
	SCRIPT(10, -EINTR, 10, -EINTR, 1);
	assert_int_equal(put(1, "line\n"), 5);
	expect_messages("line\n");
}

static void short_writes_between_records_give_exact_counts(void **state)
{
	size_t one;

	(void)state;
	put(1, "aaa\n");
	one = arrived_len;
	SCRIPT((long)one, -EAGAIN);
	assert_int_equal(put(1, "bbb\nccc\nddd\n"), 4);
	SCRIPT((long)one * 2, -EAGAIN);
	assert_int_equal(put(1, "ccc\nddd\n"), 8);
	expect_messages("aaa\nbbb\nccc\nddd\n");
}

static void writes_to_pipes_hold_whole_records_up_to_pipe_buf(void **state)
{
	char text[60000];
	size_t i, at = 0;

	(void)state;
	for (i = 0; i < sizeof(text); i++)
		text[i] = i % 37 == 36 ? '\n' : 'x';
	text[sizeof(text) - 1] = '\n';
	assert_int_equal(put_n(1, text, sizeof(text), NULL), sizeof(text));
	assert_true(write_count > 10);
	for (i = 0; i < write_count; i++) {
		assert_true(write_sizes[i] <= PIPE_BUF);
		at += write_sizes[i];
		assert_int_equal(arrived[at - 1], '\n');
	}
	write_count = 0;
	logline_open(0, true);
	assert_int_equal(put_n(1, text, sizeof(text), NULL), sizeof(text));
	assert_true(write_count < 10);
}

static void over_long_text_is_cut_and_says_so(void **state)
{
	size_t len = 3 * LIMIT_LOG_LINE + 100, undone_len;
	char *text = malloc(len), *undone;
	uint64_t cut = counters_get(lines_cut);

	(void)state;
	memset(text, 'x', len);
	memcpy(text + LIMIT_LOG_LINE - 1, "\xe2\x82\xac", 3);
	text[len - 1] = '\n';
	assert_int_equal(put_n(1, text, len, NULL), len);
	assert_int_equal(records_arrived(), 4);
	assert_int_equal(counters_get(lines_cut) - cut, 4);
	undone = undo(arrived, arrived_len, &undone_len);
	assert_int_equal(undone_len, len);
	assert_memory_equal(undone, text, len);
	assert_non_null(strstr(arrived, "\xe2\x82\xac"));
	assert_non_null(strstr(arrived, ",\"partial\":true,\"partial_last\":true}\n"));
	free(undone);
	free(text);
}

static char *object_of(size_t len)
{
	char *text = malloc(len + 1);

	memset(text, 'x', len);
	memcpy(text, "{\"k\":\"", 6);
	memcpy(text + len - 3, "\"}\n", 3);
	text[len] = '\0';
	return text;
}

static void a_long_object_is_spliced_whole_in_any_pieces(void **state)
{
	char *text = object_of(60000);
	size_t at;

	(void)state;
	assert_int_equal(put(1, text), 60000);
	assert_int_equal(arrived_len, 60000);
	assert_string_equal(arrived, text);
	arrived_len = 0;
	for (at = 0; at < 60000; at += 4000)
		assert_int_equal(put_n(1, text + at, 4000, NULL), 4000);
	assert_string_equal(arrived, text);
	free(text);
}

static void an_object_beyond_all_limits_is_cut_but_not_lost(void **state)
{
	char *text = object_of(200000), *undone;
	size_t at, len;

	(void)state;
	for (at = 0; at < 200000; at += 4000)
		assert_int_equal(put_n(1, text + at, 4000, NULL), 4000);
	undone = undo(arrived, arrived_len, &len);
	assert_int_equal(len, 200000);
	assert_string_equal(undone, text);
	free(undone);
	free(text);
}

static void an_aged_line_goes_out_with_the_next_write_of_another_key(void **state)
{
	(void)state;
	assert_int_equal(put(1, "waiting"), 7);
	assert_int_equal(put(2, "x\n"), 2);
	expect_messages("x\n");
	logline_files[0].lines->born_ms -= 2 * LIMIT_PARTIAL_AGE_MS;
	assert_int_equal(put(1, " on"), 3);
	expect_messages("x\n");
	assert_int_equal(put(2, "y\n"), 2);
	expect_messages("x\nwaiting ony\n");
	assert_int_equal(records_arrived(), 3);
}

static void the_rest_of_an_aged_line_says_so_object_or_not(void **state)
{
	const char *last = ",\"partial\":true,\"partial_last\":true}\n";
	static const char *const rests[] = { " on\n", "{\"a\":1}\n", "\n" };
	struct request *r = request_new();
	size_t i, len;
	char *undone;

	(void)state;
	r->ctx.trace_id[15] = 1;
	for (i = 0; i < 3; i++) {
		assert_int_equal(put(1, "begin "), 6);
		logline_files[0].lines->born_ms -= 2 * LIMIT_PARTIAL_AGE_MS;
		arrived_len = 0;
		assert_int_equal(put(2, "y\n"), 2);
		/* No matter how many lines of others come in between. */
		logline_files[0].lines->born_ms -= 2 * LIMIT_PARTIAL_AGE_MS;
		assert_int_equal(put(2, "z\n"), 2);
		expect_messages("begin y\nz\n");
		arrived_len = 0;
		/* It is whose it is, whoever began the line. */
		assert_int_equal(put_n(1, rests[i], strlen(rests[i]), r), strlen(rests[i]));
		assert_int_equal(records_arrived(), 1);
		assert_string_equal(arrived + arrived_len - strlen(last), last);
		assert_non_null(strstr(arrived, "\"trace_id\":\"0"));
		undone = undo(arrived, arrived_len, &len);
		assert_string_equal(undone, rests[i]);
		free(undone);
		arrived_len = 0;
		assert_int_equal(put(1, "{\"a\":1}\n"), 8);
		assert_string_equal(arrived, "{\"a\":1}\n");
	}
	/* What came in three parts: the one in between is none that ends the line. */
	assert_int_equal(put(1, "begin "), 6);
	logline_files[0].lines->born_ms -= 2 * LIMIT_PARTIAL_AGE_MS;
	assert_int_equal(put(2, "y\n"), 2);
	assert_int_equal(put(1, "{}"), 2);
	logline_files[0].lines->born_ms -= 2 * LIMIT_PARTIAL_AGE_MS;
	arrived_len = 0;
	assert_int_equal(put(2, "y\n"), 2);
	expect_messages("{}y\n");
	assert_null(strstr(arrived, "partial_last"));
	arrived_len = 0;
	assert_int_equal(put(1, " end\n"), 5);
	expect_messages(" end\n");
	assert_non_null(strstr(arrived, last));
	/* After a while nothing is known of it any more. */
	assert_int_equal(put(1, "begin "), 6);
	logline_files[0].lines->born_ms -= 2 * LIMIT_PARTIAL_AGE_MS;
	assert_int_equal(put(2, "y\n"), 2);
	logline_files[0].lines->born_ms -= 2 * LIMIT_CUT_AGE_MS;
	assert_int_equal(put(2, "z\n"), 2);
	assert_null(logline_files[0].lines);
	assert_int_equal(r->refs, 1);
	request_unref(r);
}

static void too_many_unfinished_lines_go_out_as_parts(void **state)
{
	unsigned i;

	(void)state;
	for (i = 0; i < LIMIT_PARTIAL_LINES; i++)
		assert_int_equal(put(i + 1, "k"), 1);
	assert_int_equal(arrived_len, 0);
	assert_int_equal(put(1000, "over"), 4);
	expect_messages("over");
	logline_flush_all(fd_77);
	assert_int_equal(records_arrived(), LIMIT_PARTIAL_LINES + 1);
	assert_int_equal(put(1000, "again"), 5);
	assert_int_equal(records_arrived(), LIMIT_PARTIAL_LINES + 1);
}

static void the_rest_of_a_line_that_there_was_no_room_for_says_so(void **state)
{
	const char *last = ",\"partial\":true,\"partial_last\":true}\n";
	struct request *r = request_new();
	unsigned i;

	(void)state;
	for (i = 0; i < LIMIT_PARTIAL_LINES; i++)
		assert_int_equal(put(i + 1, "k"), 1);
	r->ctx.trace_id[15] = 1;
	assert_int_equal(put_n(1000, "over", 4, r), 4);
	assert_int_equal(put(1001, "other"), 5);
	arrived_len = 0;
	assert_int_equal(put(1001, "\n"), 1);
	assert_int_equal(records_arrived(), 1);
	assert_string_equal(arrived + arrived_len - strlen(last), last);
	assert_int_equal(put_n(1000, " and", 4, r), 4);
	arrived_len = 0;
	/* A line of two requests is nobody's. */
	assert_int_equal(put_n(1000, " on\nnext\n", 9, NULL), 9);
	assert_int_equal(records_arrived(), 2);
	assert_non_null(strstr(arrived, "\"message\":\" on\",\"service\""));
	assert_ptr_equal(strstr(arrived, last), strchr(arrived, '\n') + 1 - strlen(last));
	assert_null(strstr(strchr(arrived, '\n'), "partial"));
	assert_int_equal(r->refs, 1);
	/* Where there is room again, it is taken. */
	assert_int_equal(put(1000, "a part"), 6);
	assert_int_equal(put(7, "\n"), 1);
	arrived_len = 0;
	assert_int_equal(put(1000, " kept"), 5);
	assert_int_equal(arrived_len, 0);
	assert_int_equal(put(1000, "\n"), 1);
	expect_messages(" kept\n");
	assert_string_equal(arrived + arrived_len - strlen(last), last);
	request_unref(r);
}

static void a_handler_inside_list_work_neither_waits_nor_loses(void **state)
{
	(void)state;
	assert_int_equal(put(1, "kept "), 5);
	logline_files[0].lock = (uint64_t)7 << 32 | (uint32_t)os_tid();
	assert_int_equal(put(1, "whole\nopen"), 10);
	expect_messages("whole\nopen");
	logline_files[0].lock = 0;
	assert_int_equal(put(1, "line\n"), 5);
	expect_messages("whole\nopenkept line\n");
}

static void a_lock_whose_holder_is_gone_is_waited_for_once(void **state)
{
	(void)state;
	logline_files[0].lock = (uint64_t)9 << 32 | 1;
	assert_int_equal(put(1, "open"), 4);
	assert_int_equal(logline_files[0].stuck, (uint64_t)9 << 32 | 1);
	assert_int_equal(put(1, "whole\n"), 6);
	expect_messages("openwhole\n");
}

static void a_forked_child_forgets_what_the_parent_will_send(void **state)
{
	struct request *one = request_numbered(1);

	(void)state;
	assert_int_equal(put_n(1, "parent's ", 9, one), 9);
	SCRIPT(10, -EAGAIN);
	assert_int_equal(put(2, "half\n"), 4);
	logline_after_fork();
	assert_int_equal(one->refs, 1);
	arrived_len = 0;
	assert_int_equal(put(1, "child\n"), 6);
	logline_flush_all(fd_77);
	expect_messages("child\n");
	request_unref(one);
}

/* Where the last record was put together, and what is done within its write. */
static const void *written_from;
static void (*within_write)(void);
static jmp_buf away;

static ssize_t nesting_write(int fd, const void *buf, size_t len)
{
	void (*nested)(void) = within_write;

	written_from = buf;
	within_write = NULL;
	if (nested)
		nested();
	return fake_write(fd, buf, len);
}

static void put_nested(void)
{
	const void *outer = written_from;

	put(5, "nested\n");
	assert_ptr_not_equal(written_from, outer);
}

static void a_line_from_a_handler_in_the_write_of_another_disturbs_neither(void **state)
{
	(void)state;
	os.write = nesting_write;
	within_write = put_nested;
	assert_int_equal(put(5, "outer\n"), 6);
	assert_int_equal(put(5, "next\n"), 5);
	expect_messages("nested\nouter\nnext\n");
}

static void jump_away(void)
{
	longjmp(away, 1);
}

static void a_handler_that_jumps_out_of_a_write_leaves_the_thread_able_to_log(void **state)
{
	const void *abandoned;

	(void)state;
	os.write = nesting_write;
	within_write = jump_away;
	if (setjmp(away) == 0)
		put(5, "lost with the jump\n");
	abandoned = written_from;
	assert_int_equal(put(5, "one\n"), 4);
	assert_ptr_not_equal(written_from, abandoned);
	assert_int_equal(put(5, "two\n"), 4);
	expect_messages("one\ntwo\n");
	logline_thread_end(); /* from then on as at first */
	assert_int_equal(put(5, "three\n"), 6);
	assert_ptr_equal(written_from, abandoned);
	expect_messages("one\ntwo\nthree\n");
}

static void *write_and_end(void *arg)
{
	put_n(6, "a line\n", 7, arg);
	logline_thread_end();
	return (void *)(uintptr_t)written_from;
}

static void what_a_thread_kept_for_its_next_line_serves_the_next_thread(void **state)
{
	static struct request requests[8];
	void *from[8];
	size_t i;

	(void)state;
	os.write = nesting_write;
	logline_thread_end();
	for (i = 0; i < 8; i++) {
		pthread_t thread;

		memset(requests[i].ctx.trace_id, (int)i + 1, 16);
		assert_int_equal(pthread_create(&thread, NULL, write_and_end, &requests[i]), 0);
		pthread_join(thread, &from[i]);
		assert_ptr_equal(from[i], from[0]);
	}
	for (i = 0; i < 8; i++) {
		char id[48];

		snprintf(id, sizeof(id), "\"trace_id\":\"%02zx%02zx", i + 1, i + 1);
		assert_non_null(strstr(arrived, id));
	}
}

static void files_do_not_share_lines_and_unknown_files_pass_raw(void **state)
{
	struct iovec iov = { "b\n", 2 };
	struct logline_segment segment = { .len = 2, .request = NULL };
	uint64_t raw = counters_get(lines_raw);

	(void)state;
	assert_int_equal(put(1, "a"), 1);
	assert_int_equal(logline_write(1, RECORD_STDOUT, 77, 1, &iov, 1, 2, &segment, 1), 2);
	expect_messages("b\n");
	assert_int_equal(logline_write(LOGLINE_FILES, RECORD_STDOUT, 77, 1, &iov, 1, 2, &segment, 1), 2);
	assert_string_equal(arrived + arrived_len - 3, "\nb\n");
	assert_int_equal(counters_get(lines_raw), raw + 1);
}

/* A stream of all kinds of lines; never "\r\n", which is one line ending to us. */
static size_t random_stream(char *text, size_t cap)
{
	static const char *const words[] = { "word ", "\xc3\xa9", "\xff",     "\"",        "\\",
		                             "\t",    "\033[1m",  "\xe2\x82", "{\"a\":1}", "\xf0\x9f\x98\x80",
		                             "\r.",   "ERROR: " };
	size_t len = 0;

	while (len + 70000 < cap) {
		uint32_t kind = next_random(150), i, n = next_random(12);

		if (kind == 0)
			n = 400 + next_random(12000);
		if (kind == 1) {
			memcpy(text + len, "{\"a\":[1,2]}\n", 12);
			len += 12;
			continue;
		}
		for (i = 0; i < n && len + 100 < cap; i++) {
			const char *word = words[next_random(12)];

			memcpy(text + len, word, strlen(word));
			len += strlen(word);
		}
		text[len++] = '\n';
	}
	text[len++] = 'z';
	return len;
}

/* Write like a patient program: in random pieces and vectors, coming back with what was not taken. */
static void write_all(const char *text, size_t len, uint32_t piece)
{
	size_t at = 0, tries = 0;

	while (at < len) {
		size_t n = 1 + next_random(piece), first;
		struct iovec iov[2];
		struct logline_segment segment;
		ssize_t taken;

		if (n > len - at)
			n = len - at;
		first = next_random((uint32_t)n + 1);
		iov[0] = (struct iovec){ (void *)(uintptr_t)(text + at), first };
		iov[1] = (struct iovec){ (void *)(uintptr_t)(text + at + first), n - first };
		segment = (struct logline_segment){ .len = n, .request = NULL };
		taken = logline_write(0, RECORD_STDOUT, 77, 1, iov, 2, n, &segment, 1);
		if (taken < 0) {
			assert_true(errno == EAGAIN || errno == EINTR);
			assert_true(++tries < 1000000);
			continue;
		}
		assert_true(taken > 0 && (size_t)taken <= n);
		at += (size_t)taken;
	}
}

static void chunking_and_failing_writes_change_no_message(void **state)
{
	static const uint32_t pieces[] = { 3, 40, 500, 5000, 70000, 1000000 };
	size_t cap = 400000, len, undone_len, i;
	char *text = malloc(cap), *undone;
	unsigned lines = 0;

	(void)state;
	len = random_stream(text, cap);
	for (i = 0; i < len; i++)
		lines += text[i] == '\n';
	for (i = 0; i < 12; i++) {
		bool faulty = i >= 6;

		os.write = faulty ? random_write : fake_write;
		arrived_len = 0;
		logline_open(0, i & 1);
		write_all(text, len, pieces[i % 6]);
		os.write = fake_write;
		logline_flush_all(fd_77);
		undone = undo(arrived, arrived_len, &undone_len);
		assert_int_equal(undone_len, len);
		assert_memory_equal(undone, text, len);
		free(undone);
	}
	free(text);
	assert_true(lines > 500);
}

static ssize_t real_write(int fd, const void *buf, size_t len)
{
	return write(fd, buf, len);
}

static int pipe_ends[2];

static ssize_t put_pipe(logline_key key, const char *text, size_t len)
{
	struct iovec iov = { (void *)(uintptr_t)text, len };
	struct logline_segment segment = { .len = len, .request = NULL };

	return logline_write(0, RECORD_STDOUT, pipe_ends[1], key, &iov, 1, len, &segment, 1);
}

static void *drain_pipe(void *unused)
{
	static char buf[65536];
	ssize_t n;

	(void)unused;
	while ((n = read(pipe_ends[0], buf, sizeof(buf))) > 0)
		take_bytes(buf, (size_t)n);
	return NULL;
}

static int pipe_end(unsigned file)
{
	return file == 0 ? pipe_ends[1] : -1;
}

static void a_full_nonblocking_pipe_loses_nothing(void **state)
{
	size_t len = 300000, at = 0, i, undone_len, refused = 0;
	char *text = malloc(len), *undone, buf[3000];

	(void)state;
	os.write = real_write;
	assert_int_equal(pipe2(pipe_ends, O_NONBLOCK), 0);
	for (i = 0; i < len; i++)
		text[i] = i % 5003 == 5002 || i % 97 == 96 || i == len - 1 ? '\n' : (char)('a' + i % 26);
	memset(text + 100000, 'L', 15000);
	while (at < len) {
		ssize_t n = put_pipe(1, text + at, len - at < 20000 ? len - at : 20000);

		if (n > 0) {
			at += (size_t)n;
			continue;
		}
		assert_int_equal(errno, EAGAIN);
		refused++;
		n = read(pipe_ends[0], buf, sizeof(buf));
		assert_true(n > 0);
		take_bytes(buf, (size_t)n);
	}
	logline_flush_all(pipe_end);
	for (ssize_t n; (n = read(pipe_ends[0], buf, sizeof(buf))) > 0;)
		take_bytes(buf, (size_t)n);
	assert_true(refused > 3);
	undone = undo(arrived, arrived_len, &undone_len);
	assert_int_equal(undone_len, len);
	assert_memory_equal(undone, text, len);
	close(pipe_ends[0]);
	close(pipe_ends[1]);
	free(undone);
	free(text);
}

#define WRITERS 8
#define LINES_EACH 3000

/* Lines in several pieces, as unbuffered programs write them: "<writer> <number> <padding>\n". */
static void *write_lines(void *arg)
{
	unsigned writer = (unsigned)(uintptr_t)arg, i;
	char line[160];

	for (i = 0; i < LINES_EACH; i++) {
		int n = snprintf(
			line, sizeof(line), "%u %u %.*s\n", writer, i, (int)(i % 90),
			"................................................................................................");
		int cut = i % 3 == 0 ? n : (int)(i % (unsigned)n);

		if (cut && put_pipe(writer + 1, line, (size_t)cut) != cut)
			return "short";
		if (n > cut && put_pipe(writer + 1, line + cut, (size_t)(n - cut)) != n - cut)
			return "short";
	}
	return NULL;
}

/* Every line of every writer, once, whole, and in its writer's order. */
static void expect_all_lines(unsigned count)
{
	unsigned next[WRITERS + 1] = { 0 }, lines = 0;
	size_t len;
	char *undone = undo(arrived, arrived_len, &len), *p = undone;

	while (*p) {
		unsigned writer, number;
		char *newline = strchr(p, '\n');

		assert_non_null(newline);
		*newline = '\0'; /* or sscanf measures all that follows */
		assert_int_equal(sscanf(p, "%u %u ", &writer, &number), 2);
		assert_true(writer <= WRITERS);
		assert_int_equal(number, next[writer]++);
		assert_int_equal(strspn(strrchr(p, ' ') + 1, "."), number % 90);
		p = newline + 1;
		lines++;
	}
	assert_int_equal(lines, count);
	free(undone);
}

static void many_threads_write_whole_lines_and_lose_none(void **state)
{
	pthread_t threads[WRITERS], reader;
	uintptr_t i;

	(void)state;
	os.write = real_write;
	assert_int_equal(pipe(pipe_ends), 0);
	assert_int_equal(pthread_create(&reader, NULL, drain_pipe, NULL), 0);
	for (i = 0; i < WRITERS; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, write_lines, (void *)i), 0);
	for (i = 0; i < WRITERS; i++) {
		void *result;

		pthread_join(threads[i], &result);
		assert_null(result);
	}
	close(pipe_ends[1]);
	pthread_join(reader, NULL);
	close(pipe_ends[0]);
	expect_all_lines(WRITERS * LINES_EACH);
}

static volatile sig_atomic_t alarms, alarms_failed;

static void on_alarm(int signo)
{
	char line[] = "8 0000000 "; /* on a slow machine there are many */
	char text[128];
	int saved = errno, n = sizeof(line) - 1, value = (int)alarms, i, pad = value % 90;

	(void)signo;
	for (i = n - 2; i > 1; i--, value /= 10)
		line[i] = (char)('0' + value % 10);
	memcpy(text, line, sizeof(line));
	for (i = 0; i < pad; i++)
		text[n++] = '.';
	text[n++] = '\n';
	if (put_pipe(99, text, (size_t)n) != n)
		alarms_failed++;
	alarms++;
	errno = saved;
}

static void a_signal_handler_may_log_at_any_moment(void **state)
{
	struct sigaction action = { .sa_handler = on_alarm, .sa_flags = SA_RESTART }, before;
	struct itimerval timer = { { 0, 150 }, { 0, 150 } }, off = { { 0, 0 }, { 0, 0 } };
	char path[] = "/tmp/test_logline.XXXXXX", *text;
	unsigned i;
	off_t size;

	(void)state;
	os.write = real_write;
	pipe_ends[1] = mkstemp(path);
	assert_true(pipe_ends[1] >= 0);
	unlink(path);
	alarms = alarms_failed = 0;
	assert_int_equal(sigaction(SIGALRM, &action, &before), 0);
	assert_int_equal(setitimer(ITIMER_REAL, &timer, NULL), 0);
	for (i = 0; i < WRITERS; i++)
		assert_null(write_lines((void *)(uintptr_t)i));
	setitimer(ITIMER_REAL, &off, NULL);
	sigaction(SIGALRM, &before, NULL);
	assert_int_equal(alarms_failed, 0);
	size = lseek(pipe_ends[1], 0, SEEK_END);
	text = malloc((size_t)size);
	assert_int_equal(pread(pipe_ends[1], text, (size_t)size, 0), size);
	take_bytes(text, (size_t)size);
	free(text);
	close(pipe_ends[1]);
	assert_true(alarms > 0);
	expect_all_lines(WRITERS * LINES_EACH + (unsigned)alarms);
}

#define TEST(name) cmocka_unit_test_setup(name, reset)

static bool nowhere(unsigned file, int fd)
{
	(void)file, (void)fd;
	return false;
}

static void the_rest_of_a_record_never_goes_to_what_has_taken_over_the_number(void **state)
{
	(void)state;
	SCRIPT(50);
	logline_leads_to = nowhere;
	assert_int_equal(put(1, "a line\n"), 6);
	assert_int_equal(arrived_len, 50);
	logline_leads_to = NULL;
	assert_int_equal(put(1, "\n"), 1);
	expect_messages("a line\n");
}

static void what_went_out_in_part_leaves_errno_as_it_was(void **state)
{
	(void)state;
	SCRIPT(80, 40, -EAGAIN);
	errno = 0;
	assert_int_equal(put(1, "the first line\nthe second line\n"), 14);
	assert_int_equal(errno, 0);
	SCRIPT(-EAGAIN);
	assert_int_equal(put(1, "\nthe second line\n"), -1);
	assert_int_equal(errno, EAGAIN);
	assert_int_equal(put(1, "\nthe second line\n"), 17);
	SCRIPT(40, -EAGAIN);
	errno = 0;
	assert_int_equal(put(1, "a line\n"), 6);
	assert_int_equal(errno, 0);
	assert_int_equal(put(1, "\n"), 1);
	expect_messages("the first line\nthe second line\na line\n");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(each_line_is_a_record_in_one_write),
		TEST(pieces_of_a_line_are_joined_per_key),
		TEST(vectored_pieces_are_one_record),
		TEST(lines_carry_the_ids_of_who_wrote_them),
		TEST(a_line_is_of_the_time_and_thread_that_printed_it),
		TEST(a_kept_piece_keeps_its_request),
		TEST(nothing_is_kept_of_a_write_that_fails_at_once),
		TEST(a_half_written_record_is_finished_before_anything_else),
		TEST(a_held_byte_alone_is_swallowed),
		TEST(a_program_that_does_not_come_back_loses_nothing),
		TEST(interruption_inside_a_record_is_retried),
		TEST(short_writes_between_records_give_exact_counts),
		TEST(writes_to_pipes_hold_whole_records_up_to_pipe_buf),
		TEST(over_long_text_is_cut_and_says_so),
		TEST(a_long_object_is_spliced_whole_in_any_pieces),
		TEST(an_object_beyond_all_limits_is_cut_but_not_lost),
		TEST(an_aged_line_goes_out_with_the_next_write_of_another_key),
		TEST(the_rest_of_an_aged_line_says_so_object_or_not),
		TEST(too_many_unfinished_lines_go_out_as_parts),
		TEST(the_rest_of_a_line_that_there_was_no_room_for_says_so),
		TEST(a_handler_inside_list_work_neither_waits_nor_loses),
		TEST(a_lock_whose_holder_is_gone_is_waited_for_once),
		TEST(a_forked_child_forgets_what_the_parent_will_send),
		TEST(a_line_from_a_handler_in_the_write_of_another_disturbs_neither),
		TEST(a_handler_that_jumps_out_of_a_write_leaves_the_thread_able_to_log),
		TEST(what_a_thread_kept_for_its_next_line_serves_the_next_thread),
		TEST(files_do_not_share_lines_and_unknown_files_pass_raw),
		TEST(chunking_and_failing_writes_change_no_message),
		TEST(a_full_nonblocking_pipe_loses_nothing),
		TEST(what_went_out_in_part_leaves_errno_as_it_was),
		TEST(the_rest_of_a_record_never_goes_to_what_has_taken_over_the_number),
		TEST(many_threads_write_whole_lines_and_lose_none),
		TEST(a_signal_handler_may_log_at_any_moment),
	};
	int failed = cmocka_run_group_tests(tests, NULL, NULL);

	free(arrived);
	return failed;
}

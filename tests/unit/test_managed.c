/*
 * A managed runtime names its requests by slots: what is opened, named, queued, stamped and called in whose name.
 */
#include "core_fixture.h"
#include "ids.h"
#include "limits.h"
#include "logline.h"
#include "managed.h"
#include "record.h"
#include "request.h"

#define PARENT "00-" CORE_TRACE "-b7ad6b7169203331-01"
#define FIELDS "Host:here\nTraceParent:" PARENT "\nx-other:1\n"

static int32_t words[MANAGED_WORDS];
static char out[MANAGED_STAMP_ROOM + 1];

static void begin(void)
{
	memset(words, 0, sizeof(words));
	CHECK(managed_begin(words));
}

static int32_t open_slot(const char *fields)
{
	return managed_open(fields, strlen(fields));
}

static const char *trace_of(const struct request *r)
{
	static char hex[33];

	if (r == NULL)
		return "none";
	*ids_hex(hex, r->ctx.trace_id, 16) = '\0';
	return hex;
}

CORE_TEST(a_slot_has_the_callers_trace_whatever_the_case_of_the_name)
{
	int32_t slot;

	begin();
	slot = open_slot(FIELDS);
	CHECK(slot > 0);
	CHECK(strcmp(trace_of(managed_request(slot)), CORE_TRACE) == 0);
	CHECK_INT(counters_get(requests_continued), 1);
	managed_end();
}

CORE_TEST(slots_without_a_caller_have_traces_of_their_own)
{
	char first[33];
	int32_t a, b;

	begin();
	a = managed_open(NULL, 0);
	b = open_slot("traceparent:00-zz-1-01\n");
	CHECK(a > 0 && b > 0 && a != b);
	strcpy(first, trace_of(managed_request(a)));
	CHECK(strcmp(first, trace_of(managed_request(b))) != 0);
	CHECK_INT(counters_get(ids_invalid), 1);
	managed_end();
}

CORE_TEST(a_closed_slot_names_nobody_and_is_used_again)
{
	int32_t slot;

	begin();
	slot = open_slot(FIELDS);
	managed_close(slot);
	CHECK(managed_request(slot) == NULL);
	managed_close(slot);
	CHECK_INT(managed_open(NULL, 0), slot);
	CHECK(strcmp(trace_of(managed_request(slot)), CORE_TRACE) != 0);
	managed_end();
}

CORE_TEST(numbers_that_are_no_slots_name_nobody)
{
	static const int32_t numbers[] = { 0, -1, 1, 2, MANAGED_SLOTS - 1, MANAGED_SLOTS, INT32_MAX, INT32_MIN };
	size_t i;

	begin();
	for (i = 0; i < sizeof(numbers) / sizeof(numbers[0]); i++) {
		CHECK(managed_request(numbers[i]) == NULL);
		managed_close(numbers[i]);
	}
	managed_end();
}

CORE_TEST(a_full_table_answers_nobody_until_a_slot_is_closed)
{
	int i;

	begin();
	for (i = 1; i < MANAGED_SLOTS; i++)
		CHECK(managed_open(NULL, 0) > 0);
	CHECK_INT(managed_open(NULL, 0), MANAGED_NOBODY);
	CHECK_INT(counters_get(no_memory_skipped), 1);
	managed_close(77);
	CHECK_INT(managed_open(NULL, 0), 77);
	managed_end();
}

CORE_TEST(without_memory_there_is_no_slot)
{
	begin();
	core_fail_takes(1, 1);
	CHECK_INT(open_slot(FIELDS), MANAGED_NOBODY);
	CHECK(open_slot(FIELDS) > 0);
	managed_end();
}

CORE_TEST(a_thread_without_an_environment_has_no_slots)
{
	CHECK_INT(open_slot(FIELDS), MANAGED_NOBODY);
	CHECK(managed_known() == NULL);
	managed_close(1);
	managed_wrote(1, 10, 3);
	managed_end();
}

CORE_TEST(who_is_named_is_known_and_nobody_else)
{
	begin();
	CHECK(managed_known() == NULL);
	words[MANAGED_SLOT] = open_slot(FIELDS);
	CHECK(strcmp(trace_of(managed_known()), CORE_TRACE) == 0);
	words[MANAGED_SLOT] = MANAGED_NOBODY;
	CHECK(managed_known() == NULL);
	managed_end();
}

CORE_TEST(requests_are_counted_where_the_runtime_counts_them)
{
	begin();
	words[MANAGED_REQUESTS] = 5;
	managed_close(open_slot(FIELDS));
	CHECK_INT(counters_get(requests), 5);
	words[MANAGED_REQUESTS] = 7;
	managed_close(open_slot(FIELDS));
	CHECK_INT(counters_get(requests), 7);
	managed_end();
}

/* ---- what is queued ---- */

/* Write `total` bytes of whoever is named, of which `taken` are taken; the request of each segment. */
static size_t write_bytes(int fd, size_t total, ssize_t taken, struct logline_segment segments[2])
{
	size_t n = managed_segments(fd, total, segments);

	managed_wrote(fd, total, taken);
	return n;
}

CORE_TEST(what_a_stream_could_not_write_at_once_stays_its_writers)
{
	struct logline_segment s[2];
	struct request *r;

	begin();
	words[MANAGED_SLOT] = open_slot(FIELDS);
	words[MANAGED_QUEUES] = 1;
	r = managed_known();
	CHECK_INT(write_bytes(1, 100, 40, s), 1);
	CHECK(s[0].request == r && s[0].len == 100);
	words[MANAGED_SLOT] = MANAGED_SILENT;
	CHECK_INT(write_bytes(1, 60, -1, s), 1);
	CHECK(s[0].request == r);
	CHECK_INT(write_bytes(1, 60, 20, s), 1);
	CHECK(s[0].request == r && s[0].len == 60);
	CHECK_INT(write_bytes(1, 90, 90, s), 2);
	CHECK(s[0].request == r && s[0].len == 40);
	CHECK(s[1].request == NULL && s[1].len == 50);
	CHECK_INT(write_bytes(1, 10, 10, s), 1);
	CHECK(s[0].request == NULL);
	managed_end();
}

CORE_TEST(what_is_queued_outlives_its_slot)
{
	struct logline_segment s[2];

	begin();
	words[MANAGED_SLOT] = open_slot(FIELDS);
	words[MANAGED_QUEUES] = 1;
	write_bytes(1, 10, -1, s);
	managed_close(words[MANAGED_SLOT]);
	words[MANAGED_SLOT] = MANAGED_SILENT;
	write_bytes(1, 10, 10, s);
	CHECK(s[0].request != NULL);
	managed_end();
}

CORE_TEST(what_is_queued_for_one_descriptor_says_nothing_of_another)
{
	struct logline_segment s[2];

	begin();
	words[MANAGED_SLOT] = open_slot(FIELDS);
	words[MANAGED_QUEUES] = 1;
	write_bytes(1, 10, -1, s);
	words[MANAGED_SLOT] = MANAGED_SILENT;
	CHECK_INT(write_bytes(2, 10, 10, s), 1);
	CHECK(s[0].request == NULL);
	write_bytes(1, 10, 10, s);
	CHECK(s[0].request != NULL);
	managed_end();
}

CORE_TEST(two_streams_queue_side_by_side)
{
	struct logline_segment s[2];
	struct request *first, *second;

	begin();
	words[MANAGED_QUEUES] = 1;
	words[MANAGED_SLOT] = open_slot(FIELDS);
	first = managed_known();
	write_bytes(1, 10, -1, s);
	words[MANAGED_SLOT] = managed_open(NULL, 0);
	second = managed_known();
	write_bytes(2, 10, 4, s);
	words[MANAGED_SLOT] = MANAGED_SILENT;
	write_bytes(2, 6, 6, s);
	CHECK(s[0].request == second);
	write_bytes(1, 10, 10, s);
	CHECK(s[0].request == first);
	managed_end();
}

CORE_TEST(a_write_past_the_queue_makes_what_is_queued_nobodys)
{
	struct logline_segment s[2];

	begin();
	words[MANAGED_SLOT] = open_slot(FIELDS);
	words[MANAGED_QUEUES] = 1;
	write_bytes(1, 10, -1, s);
	words[MANAGED_QUEUES] = 0;
	words[MANAGED_SLOT] = managed_open(NULL, 0);
	write_bytes(1, 5, -1, s);
	words[MANAGED_SLOT] = MANAGED_SILENT;
	write_bytes(1, 10, 10, s);
	CHECK(s[0].request == NULL);
	managed_end();
}

/* ---- stamped lines ---- */

/* Stamp in as many calls as it takes. */
static size_t stamp(int32_t slot, const char *lines, size_t len, char *to)
{
	size_t at = 0, used = 0, consumed, rounds = 0;

	while (at < len) {
		CHECK(++rounds < 10000);
		used += managed_stamp(RECORD_STDOUT, slot, lines + at, len - at, to + used, MANAGED_STAMP_ROOM,
		                      &consumed);
		CHECK(consumed > 0 && consumed <= len - at);
		at += consumed;
	}
	to[used] = '\0';
	return used;
}

static size_t count(const char *text, const char *what)
{
	size_t n = 0;

	for (text = strstr(text, what); text != NULL; text = strstr(text + 1, what))
		n++;
	return n;
}

CORE_TEST(each_stamped_line_is_a_record_with_the_ids_of_its_request)
{
	static const char lines[] = "one\n{\"a\":1}\n\nfour\n";

	config.log_mode = LOG_JSON;
	record_init();
	begin();
	stamp(open_slot(FIELDS), lines, sizeof(lines) - 1, out);
	CHECK_INT(count(out, "\n"), 4);
	CHECK_INT(count(out, "\"trace_id\":\"" CORE_TRACE "\""), 4);
	CHECK(strstr(out, "{\"a\":1,\"trace_id\"") != NULL);
	managed_end();
}

CORE_TEST(a_stamped_record_passes_a_second_rewriting_unchanged)
{
	static const char lines[] = "text\n{\"a\":1}\n";
	static char again[sizeof(out)];
	int32_t slots[2];
	size_t i, used;

	config.log_mode = LOG_JSON;
	record_init();
	begin();
	slots[0] = open_slot(FIELDS);
	slots[1] = MANAGED_NOBODY;
	for (i = 0; i < 2; i++) {
		used = stamp(slots[i], lines, sizeof(lines) - 1, out);
		CHECK_INT(stamp(MANAGED_NOBODY, out, used, again), used);
		CHECK(memcmp(out, again, used) == 0);
	}
	managed_end();
}

CORE_TEST(a_stamped_line_over_the_limit_is_cut_into_parts_and_nothing_is_lost)
{
	enum { LEN = 5 * LIMIT_LOG_LINE + 7 };
	static char line[LEN + 1], records[LEN + 64 * 1024];

	memset(line, 'x', LEN);
	line[LEN] = '\n';
	config.log_mode = LOG_JSON;
	record_init();
	begin();
	stamp(open_slot(FIELDS), line, sizeof(line), records);
	CHECK_INT(count(records, "\n"), 6);
	CHECK_INT(count(records, "\"partial\":true"), 6);
	CHECK_INT(count(records, "\"partial_last\":true"), 1);
	CHECK(count(records, "x") >= LEN);
	managed_end();
}

/* ---- calls ---- */

#define HEAD "Host: there:80\r\nAccept: */*\r\n"

static size_t call(int32_t slot, const char *fields, const char *host)
{
	size_t n = managed_call(slot, fields, strlen(fields), host, strlen(host), out, NULL);

	out[n] = '\0';
	return n;
}

CORE_TEST(a_call_carries_the_trace_of_its_request_with_a_new_parent)
{
	begin();
	CHECK(call(open_slot(FIELDS), HEAD, "there:80") > 0);
	CHECK(strncmp(out, "traceparent: 00-" CORE_TRACE "-", 17 + 32) == 0);
	CHECK(strstr(out, "b7ad6b7169203331") == NULL);
	CHECK_INT(counters_get(calls_injected), 1);
	managed_end();
}

CORE_TEST(a_call_with_a_trace_of_its_own_is_left_alone)
{
	begin();
	CHECK_INT(call(open_slot(FIELDS), HEAD "TRACEPARENT: " PARENT "\r\n", "there"), 0);
	CHECK_INT(call(open_slot(FIELDS), "b3:1-2-1\n", "there"), 0);
	CHECK_INT(counters_get(calls_own_headers), 2);
	managed_end();
}

CORE_TEST(a_server_makes_no_call_in_nobodys_name)
{
	config.root = true;
	begin();
	CHECK(call(MANAGED_NOBODY, HEAD, "there") > 0); /* does not serve yet: a trace of its own */
	current_serve();
	CHECK_INT(call(MANAGED_NOBODY, HEAD, "there"), 0);
	CHECK_INT(counters_get(calls_unknown), 1);
	managed_end();
}

CORE_TEST(a_host_that_is_not_allowed_gets_no_trace)
{
	config.propagate_hosts = CORE_NAME("here.example");
	begin();
	CHECK_INT(call(open_slot(FIELDS), HEAD, "there:80"), 0);
	CHECK(call(open_slot(FIELDS), HEAD, "here.example:80") > 0);
	CHECK_INT(counters_get(calls_not_allowed), 1);
	managed_end();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_slot_has_the_callers_trace_whatever_the_case_of_the_name),
		cmocka_unit_test(slots_without_a_caller_have_traces_of_their_own),
		cmocka_unit_test(a_closed_slot_names_nobody_and_is_used_again),
		cmocka_unit_test(numbers_that_are_no_slots_name_nobody),
		cmocka_unit_test(a_full_table_answers_nobody_until_a_slot_is_closed),
		cmocka_unit_test(without_memory_there_is_no_slot),
		cmocka_unit_test(a_thread_without_an_environment_has_no_slots),
		cmocka_unit_test(who_is_named_is_known_and_nobody_else),
		cmocka_unit_test(requests_are_counted_where_the_runtime_counts_them),
		cmocka_unit_test(what_a_stream_could_not_write_at_once_stays_its_writers),
		cmocka_unit_test(what_is_queued_outlives_its_slot),
		cmocka_unit_test(what_is_queued_for_one_descriptor_says_nothing_of_another),
		cmocka_unit_test(two_streams_queue_side_by_side),
		cmocka_unit_test(a_write_past_the_queue_makes_what_is_queued_nobodys),
		cmocka_unit_test(each_stamped_line_is_a_record_with_the_ids_of_its_request),
		cmocka_unit_test(a_stamped_record_passes_a_second_rewriting_unchanged),
		cmocka_unit_test(a_stamped_line_over_the_limit_is_cut_into_parts_and_nothing_is_lost),
		cmocka_unit_test(a_call_carries_the_trace_of_its_request_with_a_new_parent),
		cmocka_unit_test(a_call_with_a_trace_of_its_own_is_left_alone),
		cmocka_unit_test(a_server_makes_no_call_in_nobodys_name),
		cmocka_unit_test(a_host_that_is_not_allowed_gets_no_trace),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

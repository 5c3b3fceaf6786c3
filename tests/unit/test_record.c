/*
 * Log lines to records: exact bytes per format, splicing, severity.
 *
 * long: the formats, splicing and the levels share one way to make a record, which checks each again with a memo.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "counters.h"
#include "json.h"
#include "record.h"
#include "severity.h"

#define NAME(s)                                                                                                        \
	{                                                                                                              \
		s, sizeof(s) - 1                                                                                       \
	}
#define TIME_NS 1795370503123456789u /* 2026-11-22T18:01:43.123456789Z */

static struct trace_context ctx;
static char text_area[64];

static struct record_source source(bool known)
{
	return (struct record_source){
		.ctx = known ? &ctx : NULL, .stream = RECORD_STDOUT, .pid = 12, .tid = 345678, .time_ns = TIME_NS
	};
}

static int reset(void **state)
{
	size_t i;

	(void)state;
	memset(&config, 0, sizeof(config));
	config.log_mode = LOG_JSON;
	config.log_format = FORMAT_OTEL;
	config.service = (struct config_name)NAME("shop");
	memset(&ctx, 0, sizeof(ctx));
	for (i = 0; i < 16; i++)
		ctx.trace_id[i] = (uint8_t)(0xa0 + i);
	for (i = 0; i < 8; i++)
		ctx.span_id[i] = (uint8_t)(i + 1);
	ctx.flags = TRACE_FLAG_SAMPLED;
	ctx.text.data = text_area;
	record_init();
	return 0;
}

static void map_field(const char *name, const char *value)
{
	struct config_field *f = &config.field[config.field_count];
	struct slice *slice = &ctx.field[config.field_count++];

	f->field.text = name;
	f->field.len = (uint16_t)strlen(name);
	slice->off = ctx.text.len;
	slice->len = (uint16_t)strlen(value);
	memcpy(text_area + slice->off, value, slice->len);
	ctx.text.len = (uint16_t)(ctx.text.len + slice->len);
	record_init();
}

static void set_format(enum log_format format)
{
	config.log_format = format;
	record_init();
}

/* From the second time on with a memo of it, and in no more room than it was told to need: the same record. */
static void expect_same_with_memo(const struct record_source *src, const char *line, size_t len, const char *record,
                                  size_t record_len, unsigned how)
{
	static struct record_memo memo;
	struct record_source remembering = *src;
	size_t room = record_bound(&remembering, len);
	bool is_line = memchr(line, '\n', len) == NULL;
	int i;

	remembering.memo = &memo;
	assert_true(room <= RECORD_BOUND(len));
	for (i = 0; i < 3; i++) {
		char *out = malloc(room);
		size_t n;
		unsigned again;

		if (i == 2) {
			n = record_format_line(&remembering, line, len, out, &again);
			assert_int_equal(n, is_line ? record_len : 0);
		} else {
			n = record_format(&remembering, line, len, out, &again);
			assert_int_equal(n, record_len);
		}
		if (n) {
			assert_memory_equal(out, record, record_len);
			assert_int_equal(again, how);
		}
		free(out);
	}
}

/* The record of a line, NUL-terminated, checked for its bound; the caller frees it. */
static char *record_of(const struct record_source *src, const char *line, size_t len, unsigned *how)
{
	char *exact = malloc(len ? len : 1), *out = malloc(RECORD_BOUND(len) + 1);
	size_t n;

	memcpy(exact, line, len);
	n = record_format(src, exact, len, out, how);
	expect_same_with_memo(src, exact, len, out, n, *how);
	free(exact);
	assert_true(n >= 1 && n <= RECORD_BOUND(len));
	assert_int_equal(out[n - 1], '\n');
	out[n] = '\0';
	return out;
}

static void expect_from(const struct record_source *src, const char *line, const char *expected, unsigned expected_how)
{
	unsigned how;
	char *record = record_of(src, line, strlen(line), &how);

	assert_string_equal(record, expected);
	assert_int_equal(how, expected_how);
	free(record);
}

static void expect(const char *line, const char *expected)
{
	struct record_source src = source(true);

	expect_from(&src, line, expected, RECORD_HAS_ID);
}

static void expect_spliced(const char *line, const char *expected)
{
	struct record_source src = source(true);

	expect_from(&src, line, expected, RECORD_HAS_ID | RECORD_SPLICED);
}

#define T "\"2026-11-22T18:01:43.123456789Z\""
#define TRACE "a0a1a2a3a4a5a6a7a8a9aaabacadaeaf"
#define SPAN "0102030405060708"
#define OTEL_IDS ",\"trace_id\":\"" TRACE "\",\"span_id\":\"" SPAN "\",\"trace_flags\":\"01\""
#define OTEL_TAIL ",\"service\":\"shop\",\"pid\":12,\"tid\":345678,\"stream\":\"stdout\""

static void text_becomes_an_otel_record(void **state)
{
	struct record_source src = source(false);

	(void)state;
	expect("ERROR: it broke",
	       "{\"timestamp\":" T ",\"severity\":\"ERROR\",\"message\":\"ERROR: it broke\"" OTEL_IDS OTEL_TAIL "}\n");
	expect_from(&src, "it \"works\"", "{\"timestamp\":" T ",\"message\":\"it \\\"works\\\"\"" OTEL_TAIL "}\n", 0);
	src.stream = RECORD_STDERR;
	expect_from(&src, "",
	            "{\"timestamp\":" T ",\"message\":\"\",\"service\":\"shop\",\"pid\":12,\"tid\":345678,"
	            "\"stream\":\"stderr\"}\n",
	            0);
}

static void every_format_has_its_own_names(void **state)
{
	(void)state;
	config.environment = (struct config_name)NAME("prod");
	config.version = (struct config_name)NAME("1.2");
	set_format(FORMAT_CAMEL);
	expect("[warn] x", "{\"timestamp\":" T ",\"level\":\"warn\",\"message\":\"[warn] x\",\"traceId\":\"" TRACE
	                   "\",\"spanId\":\"" SPAN "\",\"traceFlags\":\"01\"" OTEL_TAIL "}\n");
	set_format(FORMAT_ECS);
	expect("[warn] x",
	       "{\"@timestamp\":" T ",\"log.level\":\"warn\",\"message\":\"[warn] x\",\"trace.id\":\"" TRACE
	       "\",\"span.id\":\"" SPAN
	       "\",\"service.name\":\"shop\",\"service.environment\":\"prod\",\"service.version\":\"1.2\""
	       ",\"ecs.version\":\"8.11.0\",\"process.pid\":12,\"process.thread.id\":345678,\"stream\":\"stdout\"}\n");
	set_format(FORMAT_DATADOG);
	expect("[warn] x",
	       "{\"timestamp\":" T ",\"status\":\"warn\",\"message\":\"[warn] x\",\"dd.trace_id\":\"" TRACE
	       "\",\"dd.span_id\":\"" SPAN "\",\"dd.service\":\"shop\",\"dd.env\":\"prod\",\"dd.version\":\"1.2\""
	       ",\"pid\":12,\"tid\":345678,\"stream\":\"stdout\"}\n");
	config.datadog_decimal = true;
	record_init();
	expect_spliced("{}", "{\"dd.trace_id\":\"12153432723749187247\",\"dd.span_id\":\"72623859790382856\"}\n");
	set_format(FORMAT_GCP);
	expect("[warn] x",
	       "{\"time\":" T
	       ",\"severity\":\"WARNING\",\"message\":\"[warn] x\",\"logging.googleapis.com/trace\":\"" TRACE
	       "\",\"logging.googleapis.com/spanId\":\"" SPAN
	       "\",\"logging.googleapis.com/trace_sampled\":true" OTEL_TAIL "}\n");
	ctx.flags = 0;
	expect_spliced("{}", "{\"logging.googleapis.com/trace\":\"" TRACE "\",\"logging.googleapis.com/spanId\":\"" SPAN
	                     "\",\"logging.googleapis.com/trace_sampled\":false}\n");
}

static void a_record_says_how_its_ids_are_known_where_that_is_wanted(void **state)
{
	struct record_source nobody = source(false);

	(void)state;
	config.log_class = true;
	set_format(FORMAT_OTEL);
	expect("hi", "{\"timestamp\":" T ",\"message\":\"hi\"" OTEL_IDS ",\"trace_source\":\"proven\"" OTEL_TAIL "}\n");
	expect_from(&nobody, "hi", "{\"timestamp\":" T ",\"message\":\"hi\"" OTEL_TAIL "}\n", 0);
	expect_spliced("{\"a\":1}", "{\"a\":1" OTEL_IDS ",\"trace_source\":\"proven\"}\n");
	expect_spliced("{\"trace_source\":1}", "{\"trace_source\":1" OTEL_IDS "}\n");
	expect_spliced("{\"trace_id\":\"1\"}", "{\"trace_id\":\"1\"}\n");
	ctx.validated = true;
	expect("hi",
	       "{\"timestamp\":" T ",\"message\":\"hi\"" OTEL_IDS ",\"trace_source\":\"validated\"" OTEL_TAIL "}\n");
}

static uint32_t next_random(uint32_t *seed, uint32_t below)
{
	*seed = *seed * 1664525u + 1013904223u;
	return (*seed >> 8) % below;
}

static void what_is_remembered_of_a_record_is_never_in_another_ones(void **state)
{
	static const uint64_t times[] = {
		TIME_NS, TIME_NS + 876543210, TIME_NS + 876543211, TIME_NS - 123456789, TIME_NS - 123456790,
		0,       999999999,           1000000000,          UINT64_MAX / 2
	};
	static char long_name[600];
	uint32_t seed = 7, i;

	(void)state;
	memset(long_name, '"', sizeof(long_name));
	for (i = 0; i < 20000; i++) {
		struct record_source src = source(next_random(&seed, 4) > 0);
		char line[40];
		size_t len = next_random(&seed, sizeof(line)), k;
		unsigned how;

		for (k = 0; k < len; k++)
			line[k] = (char)next_random(&seed, next_random(&seed, 2) ? 128 : 256);
		if (next_random(&seed, 3) == 0)
			ctx.trace_id[next_random(&seed, 16)] ^= 1;
		if (next_random(&seed, 3) == 0)
			ctx.span_id[next_random(&seed, 8)] ^= 1;
		if (next_random(&seed, 5) == 0)
			ctx.flags ^= 1;
		ctx.validated = next_random(&seed, 2);
		src.stream = (enum record_stream)next_random(&seed, 3);
		src.pid -= (int32_t)next_random(&seed, 2);
		src.tid -= (int32_t)next_random(&seed, 2);
		src.time_ns = times[next_random(&seed, sizeof(times) / sizeof(times[0]))];
		src.partial = next_random(&seed, 5) == 0;
		src.rest = next_random(&seed, 5) == 0;
		ctx.field[0].len = config.field_count && next_random(&seed, 2) ? 4 : 0;
		if (next_random(&seed, 50) == 0) {
			config.service = (struct config_name){ long_name, (uint16_t)next_random(&seed, 200) };
			config.version = (struct config_name){ long_name, (uint16_t)next_random(&seed, 200) };
			config.field_count = 0;
			ctx.text.len = 0;
			if (next_random(&seed, 2))
				map_field("userId", "\"\1\2\3");
			config.datadog_decimal = next_random(&seed, 2);
			config.log_class = next_random(&seed, 2);
			set_format((enum log_format)next_random(&seed, 5));
		}
		free(record_of(&src, line, len, &how));
	}
}

static void mapped_fields_are_added_escaped(void **state)
{
	(void)state;
	map_field("userId", "u\"1");
	map_field("absent", "");
	expect("hi", "{\"timestamp\":" T ",\"message\":\"hi\"" OTEL_IDS OTEL_TAIL ",\"userId\":\"u\\\"1\"}\n");
	expect_spliced("{\"userId\":7}", "{\"userId\":7" OTEL_IDS "}\n");
	expect_spliced("{\"a\":1}", "{\"a\":1" OTEL_IDS ",\"userId\":\"u\\\"1\"}\n");
}

static void field_whose_name_is_taken_is_left_out_and_counted(void **state)
{
	uint64_t before = counters_get(config_invalid);

	(void)state;
	map_field("message", "evil");
	assert_int_equal(counters_get(config_invalid), before + 1);
	expect("hi", "{\"timestamp\":" T ",\"message\":\"hi\"" OTEL_IDS OTEL_TAIL "}\n");
	map_field("x", "1");
	map_field("x", "2");
	expect("hi", "{\"timestamp\":" T ",\"message\":\"hi\"" OTEL_IDS OTEL_TAIL ",\"x\":\"1\"}\n");
}

static void set_correlation(const char *value)
{
	config.correlation_count = 1;
	config.correlation[0] = (struct config_name)NAME("x-request-id");
	ctx.correlation[0] = (struct slice){ 0, (uint16_t)strlen(value) };
	ctx.text.len = ctx.correlation[0].len;
	memcpy(text_area, value, strlen(value));
	record_init();
}

static void a_correlation_id_is_logged_beside_the_trace_id(void **state)
{
	(void)state;
	set_correlation("job-7");
	expect("hi", "{\"timestamp\":" T ",\"message\":\"hi\"" OTEL_IDS OTEL_TAIL ",\"x-request-id\":\"job-7\"}\n");
	expect_spliced("{\"x-request-id\":1}", "{\"x-request-id\":1" OTEL_IDS "}\n");
	set_correlation(TRACE);
	expect_spliced("{\"a\":1}", "{\"a\":1" OTEL_IDS "}\n");
	set_correlation("a0a1a2a3-a4a5-a6a7-a8a9-aaabacadaeaf");
	expect_spliced("{\"a\":1}", "{\"a\":1" OTEL_IDS "}\n");
	set_correlation("a0a1a2a3-a4a5-a6a7-a8a9-aaabacadaeae");
	expect_spliced("{\"a\":1}",
	               "{\"a\":1" OTEL_IDS ",\"x-request-id\":\"a0a1a2a3-a4a5-a6a7-a8a9-aaabacadaeae\"}\n");
	config.field[0].source = config.correlation[0];
	ctx.text.len = 40;
	map_field("rid", "r");
	expect_spliced("{\"a\":1}", "{\"a\":1" OTEL_IDS ",\"rid\":\"r\"}\n");
}

static void parts_say_that_they_are_parts(void **state)
{
	struct record_source src = source(false);

	(void)state;
	src.partial = true;
	expect_from(&src, "x\r", "{\"timestamp\":" T ",\"message\":\"x\\r\"" OTEL_TAIL ",\"partial\":true}\n", 0);
	src.rest = true;
	expect_from(&src, "{}", "{\"timestamp\":" T ",\"message\":\"{}\"" OTEL_TAIL ",\"partial\":true}\n", 0);
	src.partial = false;
	expect_from(&src, "x\r",
	            "{\"timestamp\":" T ",\"message\":\"x\"" OTEL_TAIL ",\"partial\":true,\"partial_last\":true}\n", 0);
	expect_from(&src, "{}",
	            "{\"timestamp\":" T ",\"message\":\"{}\"" OTEL_TAIL ",\"partial\":true,\"partial_last\":true}\n",
	            0);
}

static void carriage_return_belongs_to_the_line_ending(void **state)
{
	(void)state;
	expect("a\rb\r", "{\"timestamp\":" T ",\"message\":\"a\\rb\"" OTEL_IDS OTEL_TAIL "}\n");
	expect_spliced("{\"a\":1}\r", "{\"a\":1" OTEL_IDS "}\r\n");
}

static void objects_are_spliced_and_keep_their_bytes(void **state)
{
	struct record_source src = source(false);

	(void)state;
	expect_spliced("{}", "{\"trace_id\":\"" TRACE "\",\"span_id\":\"" SPAN "\",\"trace_flags\":\"01\"}\n");
	expect_spliced(" { } ", " { \"trace_id\":\"" TRACE "\",\"span_id\":\"" SPAN "\",\"trace_flags\":\"01\"} \n");
	expect_spliced("{ \"n\" : 1.000, \"n\":1e400 }", "{ \"n\" : 1.000, \"n\":1e400 " OTEL_IDS "}\n");
	expect_spliced("{\"x\":{\"trace_id\":\"inner\"}}", "{\"x\":{\"trace_id\":\"inner\"}" OTEL_IDS "}\n");
	expect_from(&src, "{\"a\" :1}", "{\"a\" :1}\n", RECORD_SPLICED);
	expect_from(&src, "{}", "{}\n", RECORD_SPLICED);
}

static void a_trace_id_of_the_programs_own_wins(void **state)
{
	static const char *const own[] = {
		"trace_id", "traceId", "trace.id", "dd.trace_id", "logging.googleapis.com/trace", "tr\\u0061ce_id"
	};
	struct record_source unknown = source(false);
	char line[128], expected[128];
	enum log_format format;
	size_t i;

	(void)state;
	map_field("userId", "u1");
	for (format = FORMAT_OTEL; format <= FORMAT_GCP; format++) {
		set_format(format);
		for (i = 0; i < sizeof(own) / sizeof(own[0]); i++) {
			strcat(strcat(strcpy(line, "{\"m\":1,\""), own[i]), "\":\"abc\"");
			strcat(strcpy(expected, line), ",\"userId\":\"u1\"}\n");
			strcat(line, "}");
			expect_spliced(line, expected);
		}
	}
	expect_from(&unknown, "{\"traceId\":\"abc\"}", "{\"traceId\":\"abc\"}\n", RECORD_SPLICED | RECORD_HAS_ID);
}

static void nested_objects_of_a_format_count_as_ids(void **state)
{
	(void)state;
	set_format(FORMAT_ECS);
	expect_spliced("{\"trace\":{\"id\":\"x\"}}", "{\"trace\":{\"id\":\"x\"}}\n");
	expect_spliced("{\"trace\":\"on\"}",
	               "{\"trace\":\"on\",\"trace.id\":\"" TRACE "\",\"span.id\":\"" SPAN "\"}\n");
	expect_spliced("{\"span\":{}}", "{\"span\":{},\"trace.id\":\"" TRACE "\"}\n");
	set_format(FORMAT_DATADOG);
	expect_spliced("{\"dd\":{\"trace_id\":\"1\"}}", "{\"dd\":{\"trace_id\":\"1\"}}\n");
	set_format(FORMAT_OTEL);
	expect_spliced("{\"span_id\":\"x\"}",
	               "{\"span_id\":\"x\",\"trace_id\":\"" TRACE "\",\"trace_flags\":\"01\"}\n");
}

static void what_is_nearly_an_object_is_text(void **state)
{
	(void)state;
	expect("{\"a\":1} x", "{\"timestamp\":" T ",\"message\":\"{\\\"a\\\":1} x\"" OTEL_IDS OTEL_TAIL "}\n");
	expect("{\"a\":01}", "{\"timestamp\":" T ",\"message\":\"{\\\"a\\\":01}\"" OTEL_IDS OTEL_TAIL "}\n");
}

static void text_mode_appends_ids_to_the_line(void **state)
{
	struct record_source unknown = source(false);

	(void)state;
	config.log_mode = LOG_TEXT;
	expect("plain \xff\tline", "plain \xff\tline trace_id=" TRACE " span_id=" SPAN "\n");
	expect("dos\r", "dos trace_id=" TRACE " span_id=" SPAN "\r\n");
	expect_from(&unknown, "plain", "plain\n", 0);
	expect_spliced("{\"a\":1}", "{\"a\":1" OTEL_IDS "}\n");
	set_format(FORMAT_CAMEL);
	expect("x", "x traceId=" TRACE " spanId=" SPAN "\n");
	config.log_mode = LOG_OFF;
	unknown = source(true);
	expect_from(&unknown, "{}", "{}\n", 0);
}

static void long_constants_are_cut_at_a_character(void **state)
{
	struct record_source src = source(false);
	char name[400];
	unsigned how;
	char *record;

	(void)state;
	memset(name, '"', sizeof(name));
	memcpy(name + 127, "\xe2\x82\xac", 3);
	config.service.text = config.environment.text = config.version.text = name;
	config.service.len = config.environment.len = config.version.len = sizeof(name);
	set_format(FORMAT_ECS);
	record = record_of(&src, "x", 1, &how);
	assert_true(record_is_object(record, strlen(record)));
	assert_null(strstr(record, "\xe2"));
	free(record);
}

static void dates_are_right_over_the_centuries(void **state)
{
	static const struct {
		uint64_t seconds;
		const char *expected;
	} cases[] = {
		{ 0, "1970-01-01T00:00:00.000000007Z" },          { 951782400, "2000-02-29T00:00:00.000000007Z" },
		{ 951868799, "2000-02-29T23:59:59.000000007Z" },  { 951868800, "2000-03-01T00:00:00.000000007Z" },
		{ 4107542399, "2100-02-28T23:59:59.000000007Z" }, { 4107542400, "2100-03-01T00:00:00.000000007Z" },
		{ 1735689599, "2024-12-31T23:59:59.000000007Z" }
	};
	struct record_source src = source(false);
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		unsigned how;
		char *record;

		src.time_ns = cases[i].seconds * 1000000000u + 7;
		record = record_of(&src, "x", 1, &how);
		record[14 + 30] = '\0';
		assert_string_equal(record + 14, cases[i].expected);
		free(record);
	}
}

static void random_bytes_give_valid_objects(void **state)
{
	uint32_t seed = 1;
	int round;

	(void)state;
	map_field("\xff\"", "\xff\x01");
	for (round = 0; round < 3000; round++) {
		struct record_source src = source(round & 1);
		char line[300], *record;
		size_t len, i;
		unsigned how;

		seed = seed * 1103515245u + 12345;
		len = (seed >> 16) % sizeof(line);
		for (i = 0; i < len; i++) {
			seed = seed * 1103515245u + 12345;
			line[i] = (char)(seed >> 20);
			if (line[i] == '\n')
				line[i] = '{';
		}
		record = record_of(&src, line, len, &how);
		assert_true(record_is_object(record, strlen(record)));
		assert_ptr_equal(strchr(record, '\n'), record + strlen(record) - 1);
		free(record);
	}
}

static void stated_severities_are_found(void **state)
{
	static const struct {
		const char *line;
		enum severity expected;
	} cases[] = {
		{ "ERROR: x", SEVERITY_ERROR },
		{ "INFO started", SEVERITY_INFO },
		{ "ERROR:root:boom", SEVERITY_ERROR },
		{ "warning: deprecated", SEVERITY_WARN },
		{ "INFO:     Started server process", SEVERITY_INFO },
		{ "2026/11/22 18:01:43 [error] 12#12: *1 open() failed", SEVERITY_ERROR },
		{ "2026/11/22 18:01:43 [emerg] 1#1: bind()", SEVERITY_FATAL },
		{ "[Sun Nov 22 18:01:43.123456 2026] [core:error] [pid 12:tid 13] AH0: x", SEVERITY_ERROR },
		{ "[pid 12:tid 13, a name so long that it ends far behind it] [error] AH0: x", SEVERITY_ERROR },
		{ "10.0.0.1 - - [error] open() failed", SEVERITY_ERROR },
		{ "10.0.0.1 - - [error]", SEVERITY_ERROR },
		{ "10.0.0.1 - - [22/Nov/2026:18:01:43 +0000] WARN| slow", SEVERITY_WARN },
		{ "[Sun Nov 22 18:01:43.123456 2026] [mpm_event:notice] [pid 12] x", SEVERITY_NOTICE },
		{ "E1122 18:01:43.123456 12 file.go:1] x", SEVERITY_ERROR },
		{ "I1122 18:01:43.123456 x", SEVERITY_INFO },
		{ "<3>kernel says", SEVERITY_ERROR },
		{ "<191>x", SEVERITY_DEBUG },
		{ "<14>x", SEVERITY_INFO },
		{ "2026-11-22 18:01:43,123 [main] INFO  com.x.Y - msg", SEVERITY_INFO },
		{ "2026-11-22T18:01:43.123Z  WARN 12 --- [main] c.e.App : x", SEVERITY_WARN },
		{ "18:01:43.123 [http-1] DEBUG o.s.Web - x", SEVERITY_DEBUG },
		{ "2026-11-22 18:01:43,123 - app.db - CRITICAL - x", SEVERITY_CRITICAL },
		{ "2026-11-22 18:01:43,123 - app - info - x", SEVERITY_INFO },
		{ "2026-11-22 18:01:43.123 | INFO     | mod:func:1 - x", SEVERITY_INFO },
		{ "time=\"2026-11-22T18:01:43Z\" level=warning msg=x", SEVERITY_WARN },
		{ "ts=2026-11-22T18:01:43Z lvl=eror level=error", SEVERITY_ERROR },
		{ "level=\"info\" x", SEVERITY_INFO },
		{ "time=2026-11-22T18:01:43.123Z level=INFO msg=x", SEVERITY_INFO },
		{ "[2026-11-22 18:01:43 +0000] [12] [INFO] Booting worker", SEVERITY_INFO },
		{ "[2026-11-22T18:01:43Z ERROR my::mod] x", SEVERITY_ERROR },
		{ "[ERROR] x", SEVERITY_ERROR },
		{ "2026-11-22T18:01:43.1Z\tINFO\tx", SEVERITY_INFO },
		{ "INFO[0000] started", SEVERITY_INFO },
		{ "E, [2026-11-22T18:01:43.123456 #12] ERROR -- : x", SEVERITY_ERROR },
		{ "PHP Warning:  Undefined variable", SEVERITY_WARN },
		{ "PHP Fatal error:  Uncaught", SEVERITY_FATAL },
		{ "2026-11-22 18:01:43.123 UTC [123] ERROR:  relation", SEVERITY_ERROR },
		{ "SEVERE: x", SEVERITY_ERROR },
		{ "\033[31mERROR\033[0m x", SEVERITY_ERROR },
		{ "\033[31merror:\033[0m x", SEVERITY_ERROR },
		{ "  WARN x", SEVERITY_WARN },
		{ "TRACE entering", SEVERITY_TRACE },
		{ "Error: x", SEVERITY_ERROR },
	};
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		enum severity s = severity_detect(cases[i].line, strlen(cases[i].line));

		if (s != cases[i].expected)
			fail_msg("%s: %d", cases[i].line, (int)s);
	}
}

/* Short lines and long ones are read in different ways; neither reads beyond its end. */
static void every_level_word_is_known_in_lines_of_any_length(void **state)
{
	static const struct {
		const char *word;
		enum severity expected;
	} words[] = { { "TRACE", SEVERITY_TRACE },
		      { "DEBUG", SEVERITY_DEBUG },
		      { "DBG", SEVERITY_DEBUG },
		      { "INFO", SEVERITY_INFO },
		      { "INF", SEVERITY_INFO },
		      { "INFORMATION", SEVERITY_INFO },
		      { "NOTICE", SEVERITY_NOTICE },
		      { "WARN", SEVERITY_WARN },
		      { "WARNING", SEVERITY_WARN },
		      { "WRN", SEVERITY_WARN },
		      { "ERROR", SEVERITY_ERROR },
		      { "ERR", SEVERITY_ERROR },
		      { "SEVERE", SEVERITY_ERROR },
		      { "CRITICAL", SEVERITY_CRITICAL },
		      { "CRIT", SEVERITY_CRITICAL },
		      { "FATAL", SEVERITY_FATAL },
		      { "ALERT", SEVERITY_FATAL },
		      { "EMERG", SEVERITY_FATAL },
		      { "EMERGENCY", SEVERITY_FATAL },
		      { "PANIC", SEVERITY_FATAL },
		      { "CRITICALS", SEVERITY_NONE },
		      { "EMERGENC", SEVERITY_NONE },
		      { "INFORMATIO", SEVERITY_NONE },
		      { "ERRORS", SEVERITY_NONE },
		      { "IN", SEVERITY_NONE },
		      { "INFORMATIONINFORMATION", SEVERITY_NONE },
		      { "WARNINGWARNING", SEVERITY_NONE } };
	static const char *const fronts[] = { "", "10.20.30.40 ", "2026-11-22T18:01:43.123456789Z ",
		                              "[22/Nov/2026:18:01:43 +0000] ", "\033[31m" };
	size_t i, front, rest;

	(void)state;
	for (i = 0; i < sizeof(words) / sizeof(words[0]); i++) {
		for (front = 0; front < sizeof(fronts) / sizeof(fronts[0]); front++) {
			for (rest = 0; rest < 24; rest++) {
				char text[100], *line;
				int len = snprintf(text, sizeof(text), "%s%s:%.*s", fronts[front], words[i].word,
				                   (int)rest, " the rest of the message");

				line = malloc((size_t)len);
				memcpy(line, text, (size_t)len);
				if (severity_detect(line, (size_t)len) != words[i].expected)
					fail_msg("level of '%s'", text);
				free(line);
			}
		}
	}
}

static void prose_states_no_severity(void **state)
{
	static const char *const lines[] = { "",
		                             " ",
		                             "an error occurred",
		                             "error opening file",
		                             "Error opening file",
		                             "no warning was given",
		                             "Information about errors",
		                             "the [error] page",
		                             "GET /error HTTP/1.1",
		                             "Infos: 3",
		                             "127.0.0.1 - - [22/Nov/2026:18:01:43 +0000] \"GET /ERROR HTTP/1.1\" 200",
		                             "TRACE /path HTTP/1.1",
		                             "2026-11-22 18:01:43 error opening file",
		                             "Nov 22 18:01:43 host prog[12]: x",
		                             "request 5 ERROR",
		                             "<html>",
		                             "<999>x",
		                             "E112 18:01:43",
		                             "[main] fatal attraction",
		                             "[see errors]",
		                             "user=bob did ERROR",
		                             "12ms ERROR",
		                             "debug",
		                             "warn me",
		                             "{\"level\":\"error\"",
		                             "Traceback (most recent call last):",
		                             "ERRORS: 3",
		                             "[]",
		                             "(",
		                             "INFORMATIONAL: x",
		                             "level of error" };
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(lines) / sizeof(lines[0]); i++) {
		if (severity_detect(lines[i], strlen(lines[i])) != SEVERITY_NONE)
			fail_msg("%s", lines[i]);
	}
}

static unsigned draw(unsigned bound)
{
	static uint32_t state = 20261122;

	state = state * 1664525u + 1013904223u;
	return (state >> 8) % bound;
}

/* A line out of pieces that the rules know, and of some that they do not. */
static size_t compose(char *line)
{
	static const char *const pieces[] = { "2026-11-22 18:01:43.123",
		                              "10.20.30.40 - - [22/Nov/2026:18:01:43 +0000] ",
		                              "INFO",
		                              "error",
		                              "[error]",
		                              "[core:warn]",
		                              "- ",
		                              " | ",
		                              ": ",
		                              "level=warn",
		                              "lvl=\"error\"",
		                              "user=bob",
		                              " ",
		                              "   ",
		                              "\t",
		                              "UTC",
		                              "Nov 22",
		                              "\033[31m",
		                              "<3>",
		                              "<30>",
		                              "E1122 18:01:43",
		                              "E, [2026",
		                              "FATAL error: ",
		                              "PHP",
		                              "name - ",
		                              "\"GET / HTTP/1.1\" 200 5",
		                              "(",
		                              "[",
		                              "12ms",
		                              "TRACE /x",
		                              "WARNING",
		                              "Information",
		                              "12",
		                              ",",
		                              "x",
		                              "[pid 12] ",
		                              "CRITICALS",
		                              "\xc3\xa9" };
	unsigned count = 1 + draw(8);
	size_t len = 0;

	while (count-- > 0) {
		const char *piece = pieces[draw(sizeof(pieces) / sizeof(pieces[0]))];

		memcpy(line + len, piece, strlen(piece));
		len += strlen(piece);
	}
	return len;
}

/* Other digits, another byte, another end, or none. */
static size_t change(char *line, size_t len)
{
	size_t i;

	for (i = 0; i < len; i++)
		if (line[i] >= '0' && line[i] <= '9' && draw(2) == 0)
			line[i] = (char)('0' + draw(10));
	if (draw(3) == 0)
		line[draw((unsigned)len)] = "0aA :[]-|=/<\"\t\033"[draw(15)];
	if (draw(3) == 0)
		return 1 + draw((unsigned)len);
	return draw(3) == 0 ? len + compose(line + len) : len;
}

static void a_level_that_is_remembered_is_the_one_that_would_be_found(void **state)
{
	unsigned round, i, remembered = 0;

	(void)state;
	for (round = 0; round < 30000; round++) {
		struct severity_memo memo = { 0 };
		char first[1024], text[2048], *line;
		size_t first_len = compose(first), len;

		(void)severity_detect_again(&memo, first, first_len);
		for (i = 0; i < 8; i++) {
			enum severity s;

			memcpy(text, first, first_len);
			len = change(text, first_len);
			line = malloc(len);
			memcpy(line, text, len);
			s = severity_detect_again(&memo, line, len);
			remembered += memo.unlike == 0;
			if (s != severity_detect(line, len))
				fail_msg("'%.*s' behind '%.*s'", (int)len, line, (int)first_len, first);
			free(line);
		}
	}
#ifdef __SSE2__
	assert_in_range(remembered, 1000, UINT32_MAX);
#endif
}

static void two_kinds_of_lines_are_remembered_side_by_side(void **state)
{
	static const char *const lines[] = { "INFO request 17 is looked up in the stock",
		                             "2026-11-23 17:00:00 WARN request 17 took a while" };
	struct severity_memo memo = { 0 };
	unsigned i;

	(void)state;
	for (i = 0; i < 10; i++) {
		assert_int_equal(severity_detect_again(&memo, lines[i % 2], strlen(lines[i % 2])),
		                 i % 2 ? SEVERITY_WARN : SEVERITY_INFO);
#ifdef __SSE2__
		assert_true(i < 2 || memo.unlike == 0);
#endif
	}
}

/* Digits do not count, nor what the level does not hang on, in lines that begin with a word. */
static void lines_that_begin_with_the_same_word_are_alike(void **state)
{
	static const char *const lines[] = { "request 7: looking up the stock", "request 9: 5 pieces in stock" };
	struct severity_memo memo = { 0 };

	(void)state;
	assert_int_equal(severity_detect_again(&memo, lines[0], strlen(lines[0])), SEVERITY_NONE);
	assert_int_equal(severity_detect_again(&memo, lines[1], strlen(lines[1])), SEVERITY_NONE);
#ifdef __SSE2__
	assert_int_equal(memo.unlike, 0);
	assert_int_equal(memo.kind[1].room, 0);
#endif
}

#define TEST(name) cmocka_unit_test_setup(name, reset)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(text_becomes_an_otel_record),
		TEST(every_format_has_its_own_names),
		TEST(a_record_says_how_its_ids_are_known_where_that_is_wanted),
		TEST(what_is_remembered_of_a_record_is_never_in_another_ones),
		TEST(mapped_fields_are_added_escaped),
		TEST(field_whose_name_is_taken_is_left_out_and_counted),
		TEST(a_correlation_id_is_logged_beside_the_trace_id),
		TEST(parts_say_that_they_are_parts),
		TEST(carriage_return_belongs_to_the_line_ending),
		TEST(objects_are_spliced_and_keep_their_bytes),
		TEST(a_trace_id_of_the_programs_own_wins),
		TEST(nested_objects_of_a_format_count_as_ids),
		TEST(what_is_nearly_an_object_is_text),
		TEST(text_mode_appends_ids_to_the_line),
		TEST(long_constants_are_cut_at_a_character),
		TEST(dates_are_right_over_the_centuries),
		TEST(random_bytes_give_valid_objects),
		TEST(stated_severities_are_found),
		TEST(every_level_word_is_known_in_lines_of_any_length),
		TEST(prose_states_no_severity),
		TEST(a_level_that_is_remembered_is_the_one_that_would_be_found),
		TEST(two_kinds_of_lines_are_remembered_side_by_side),
		TEST(lines_that_begin_with_the_same_word_are_alike),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

/*
 * config: what each key takes, what it refuses, and that refusing leaves the default, counts, and says so.
 * long: one test a key or pattern, and tables of vectors with a line each.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "config.h"
#include "config_keys.h"
#include "counters.h"
#include "os.h"

static void *resolve(const char *name)
{
	return dlsym(RTLD_DEFAULT, name);
}

static int bind_os(void **state)
{
	(void)state;
	os_bind(resolve);
	return 0;
}

static void load_as(const char *program, const char *const *environment)
{
	memset(counters_page()->counter, 0, sizeof(counters_page()->counter));
	memset(counters_page()->notes, 0, sizeof(counters_page()->notes));
	counters_page()->notes_len = 0;
	config_load((char *const *)(uintptr_t)environment, program);
}

#define LOAD(...) load_as("app", (const char *const[]){ __VA_ARGS__, NULL })
#define assert_name(name, expected)                                                                                    \
	do {                                                                                                           \
		assert_string_equal((name).text, expected);                                                            \
		assert_int_equal((name).len, strlen(expected));                                                        \
	} while (0)

static bool noted(const char *text)
{
	return strstr(counters_page()->notes, text) != NULL;
}

/* Nothing wrong so far; or so many wrong values. */
#define assert_wrong(n) assert_int_equal(counters_get(config_invalid), n)

static void an_empty_environment_gives_the_documented_defaults(void **state)
{
	(void)state;
	LOAD("PATH=/bin", "TERM=dumb", "OTELX=1", "TRACE=1", "B=2", "T", "");
	assert_true(config.enabled && config.root && config.unbuffer);
	assert_true(!config.excluded && !config.raw && !config.log_terminal);
	assert_int_equal(config.log_mode, LOG_JSON);
	assert_int_equal(config.log_format, FORMAT_OTEL);
	assert_int_equal(config.loop_trust, LOOP_AUTO);
	assert_int_equal(config.attribution, ATTRIBUTION_PROVEN);
	assert_false(config.datadog_decimal);
	assert_int_equal(config.propagators, PROPAGATE_TRACECONTEXT | PROPAGATE_BAGGAGE);
	assert_int_equal(config.correlation_count, 1);
	assert_name(config.correlation[0], "x-trace-id");
	assert_name(config.run_dir, "/tmp/traceshim");
	assert_name(config.service, "app");
	assert_name(config.response_header, "");
	assert_name(config.traceparent, "");
	assert_int_equal(config.field_count, 0);
	assert_int_equal(counters_get(config_invalid) + counters_get(config_unknown), 0);
	assert_int_equal(counters_page()->notes_len, 0);
	load_as("app", NULL);
	load_as(NULL, (const char *const[]){ NULL });
	assert_name(config.service, "unknown_service");
}

static void switches_take_the_usual_words_in_any_case(void **state)
{
	static const char *const on[] = { "1", "on", "TRUE", "Yes" }, *const off[] = { "0", "OFF", "false", "no" };
	char text[32];

	(void)state;
	for (size_t i = 0; i < 4; i++) {
		snprintf(text, sizeof(text), "TRACESHIM_RAW=%s", on[i]);
		LOAD(text);
		assert_true(config.raw);
		snprintf(text, sizeof(text), "TRACESHIM_ROOT=%s", off[i]);
		LOAD(text, "TRACESHIM_LOG_TTY=on", "TRACESHIM_LOG_CLASS=on");
		assert_true(!config.root && config.log_terminal && config.log_class);
		assert_wrong(0);
	}
	LOAD("TRACESHIM_UNBUFFER=off");
	assert_false(config.unbuffer);
	LOAD("TRACESHIM_ENABLED=0");
	assert_false(config.enabled);
	LOAD("OTEL_SDK_DISABLED=True");
	assert_false(config.enabled);
	LOAD("OTEL_SDK_DISABLED=false", "TRACESHIM_ENABLED=1");
	assert_true(config.enabled);
	assert_wrong(0);
}

static void a_wrong_value_keeps_the_default_and_is_counted_and_noted(void **state)
{
	static const char *const wrong[] = { "TRACESHIM_ENABLED=maybe",
		                             "TRACESHIM_RAW=2",
		                             "TRACESHIM_ROOT=onn",
		                             "TRACESHIM_LOG=xml",
		                             "TRACESHIM_FORMAT=json",
		                             "TRACESHIM_DATADOG_IDS=octal",
		                             "TRACESHIM_LOG_TTY=-",
		                             "TRACESHIM_LOOP=always",
		                             "TRACESHIM_RUN_DIR=relative/dir",
		                             "TRACESHIM_EXPORT=metrics",
		                             "TRACESHIM_RING_SIZE=65535",
		                             "TRACESHIM_RING_SIZE=67108865",
		                             "TRACESHIM_RING_SIZE=99999999999999999999999",
		                             "TRACESHIM_RING_SIZE=1M",
		                             "TRACESHIM_STDIO=8:1\n",
		                             "TRACESHIM_HEADERS=bad name",
		                             "TRACESHIM_HEADERS=content-length",
		                             "TRACESHIM_HEADERS=traceparent",
		                             "TRACESHIM_HEADERS=X-B3-TraceId",
		                             "TRACESHIM_RESPONSE_HEADER=a:b",
		                             "TRACESHIM_RESPONSE_HEADER=Transfer-Encoding",
		                             "OTEL_PROPAGATORS=xray",
		                             "OTEL_SDK_DISABLED=1",
		                             "OTEL_SERVICE_NAME=a\nb",
		                             "OTEL_RESOURCE_ATTRIBUTES=service.name",
		                             "OTEL_RESOURCE_ATTRIBUTES=service.name=%0a",
		                             "OTEL_RESOURCE_ATTRIBUTES=service.name=%4",
		                             "TRACESHIM_LOG_HEADERS=x-user=trace_id",
		                             "TRACESHIM_LOG_HEADERS=x-user=a\"b",
		                             "TRACESHIM_LOG_HEADERS==a",
		                             "TRACESHIM_LOG_HEADERS=a=",
		                             "TRACESHIM_LOG_HEADERS=a=b=c",
		                             "TRACESHIM_LOG_BAGGAGE=a b=c",
		                             "TRACESHIM_CONFIG=/nonexistent/file",
		                             "TRACESHIM_CONFIG=/",
		                             "TRACEPARENT=\x01" };
	struct config defaults;

	(void)state;
	LOAD("A=1");
	defaults = config;
	for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
		char key[64];

		LOAD(wrong[i]);
		if (counters_get(config_invalid) != 1)
			fail_msg("%s: counted %d times", wrong[i], (int)counters_get(config_invalid));
		snprintf(key, sizeof(key), "%.*s: ", (int)(strchr(wrong[i], '=') - wrong[i]), wrong[i]);
		if (!noted(key))
			fail_msg("%s: not noted", wrong[i]);
		assert_memory_equal(&config, &defaults, sizeof(config));
	}
}

static void a_note_shows_a_long_or_binary_value_on_one_line(void **state)
{
	(void)state;
	LOAD("TRACESHIM_LOG=a\nb\x1b[31m________________________________________________________________");
	assert_true(noted("\"a?b?[31m____"));
	assert_true(noted("...\" is ignored: must be json, text, off"));
	assert_ptr_equal(strchr(counters_page()->notes, '\n'), counters_page()->notes + counters_page()->notes_len - 1);
}

static void an_empty_value_is_unset(void **state)
{
#define X(name, key, standard, text) key "=",
	static const char *const empty[] = { CONFIG_KEYS(X) NULL };
#undef X
	struct config defaults;

	(void)state;
	LOAD("A=1");
	defaults = config;
	load_as("app", empty);
	assert_memory_equal(&config, &defaults, sizeof(config));
	assert_wrong(0);
}

static void of_a_key_that_is_there_twice_the_first_counts(void **state)
{
	(void)state;
	LOAD("OTEL_SERVICE_NAME=one", "OTEL_SERVICE_NAME=two");
	assert_name(config.service, "one");
}

static void unknown_keys_of_ours_are_noted_with_the_nearest_known_one(void **state)
{
	(void)state;
	LOAD("TRACESHIM_LGO=json", "TRACESHIM_FORMATS=ecs", "TRACESHIM_SOMETHING_ELSE=1",
	     "OTEL_EXPORTER_OTLP_ENDPOINT=x");
	assert_int_equal(counters_get(config_unknown), 3);
	assert_true(noted("TRACESHIM_LGO is not known: did you mean TRACESHIM_LOG?"));
	assert_true(noted("TRACESHIM_FORMATS is not known: did you mean TRACESHIM_FORMAT?"));
	assert_true(noted("TRACESHIM_SOMETHING_ELSE is not known\n"));
	assert_false(noted("OTEL"));
}

static void log_takes_a_mode_or_the_name_of_a_format(void **state)
{
	(void)state;
	LOAD("TRACESHIM_LOG=text", "TRACESHIM_FORMAT=GCP");
	assert_int_equal(config.log_mode, LOG_TEXT);
	assert_int_equal(config.log_format, FORMAT_GCP);
	LOAD("TRACESHIM_LOG=off");
	assert_int_equal(config.log_mode, LOG_OFF);
	LOAD("TRACESHIM_LOG=ecs");
	assert_int_equal(config.log_mode, LOG_JSON);
	assert_int_equal(config.log_format, FORMAT_ECS);
	LOAD("TRACESHIM_FORMAT=datadog", "TRACESHIM_LOG=ecs", "TRACESHIM_DATADOG_IDS=decimal");
	assert_int_equal(config.log_format, FORMAT_DATADOG);
	assert_true(config.datadog_decimal);
	assert_wrong(0);
}

static void include_and_exclude_lists_decide_by_program_name(void **state)
{
	static const char *const include[] = { "TRACESHIM_INCLUDE=nginx, python*", NULL };
	static const char *const exclude[] = { "TRACESHIM_EXCLUDE=*sh,git-?[!a-m]*", NULL };
	static const char *const both[] = { "TRACESHIM_INCLUDE=*", "TRACESHIM_EXCLUDE=sed", NULL };

	(void)state;
	load_as("python3.11", include);
	assert_true(config.enabled && !config.excluded);
	load_as("sed", include);
	assert_true(!config.enabled && config.excluded);
	load_as("bash", exclude);
	assert_true(!config.enabled && config.excluded);
	load_as("git-xzy", exclude);
	assert_true(config.excluded);
	load_as("git-xay", exclude);
	assert_true(config.enabled);
	load_as("sed", both);
	assert_true(config.excluded);
	load_as("awk", both);
	assert_true(config.enabled);
}

static void correlation_headers_are_lower_case_unique_and_at_most_four(void **state)
{
	(void)state;
	LOAD("TRACESHIM_HEADERS= X-Trace-Id ,x-REQUEST-id,,x-trace-id");
	assert_int_equal(config.correlation_count, 2);
	assert_name(config.correlation[0], "x-trace-id");
	assert_name(config.correlation[1], "x-request-id");
	assert_wrong(0);
	assert_true(config.header_lengths == (1ull << 9 | 1ull << 11));
	LOAD("TRACESHIM_HEADERS=a,b,host,c,d,e");
	assert_int_equal(config.correlation_count, 4);
	assert_name(config.correlation[3], "d");
	assert_wrong(2);
	LOAD("TRACESHIM_HEADERS=none");
	assert_int_equal(config.correlation_count, 0);
	assert_wrong(0);
	LOAD("TRACESHIM_RESPONSE_HEADER=X-Trace-Id");
	assert_name(config.response_header, "x-trace-id");
	assert_int_equal(config.correlation_count, 1);
}

static void a_header_name_may_be_64_bytes_and_not_65(void **state)
{
	char text[128];

	(void)state;
	snprintf(text, sizeof(text), "TRACESHIM_HEADERS=%064d", 0);
	LOAD(text);
	assert_int_equal(config.correlation[0].len, 64);
	assert_true(config.header_lengths == 1ull << 63);
	snprintf(text, sizeof(text), "TRACESHIM_HEADERS=%065d", 0);
	LOAD(text);
	assert_name(config.correlation[0], "x-trace-id");
	assert_wrong(1);
}

static void log_fields_map_headers_and_baggage_keys(void **state)
{
	(void)state;
	LOAD("TRACESHIM_LOG_HEADERS=X-User-Id = userId, X-Tenant", "TRACESHIM_LOG_BAGGAGE=Plan=plan,cart.Id");
	assert_int_equal(config.field_count, 4);
	assert_name(config.field[0].source, "x-user-id");
	assert_name(config.field[0].field, "userId");
	assert_false(config.field[0].from_baggage);
	assert_name(config.field[1].field, "x-tenant");
	assert_name(config.field[2].source, "Plan");
	assert_name(config.field[2].field, "plan");
	assert_true(config.field[2].from_baggage);
	assert_name(config.field[3].source, "cart.Id");
	assert_name(config.field[3].field, "cart.Id");
	assert_wrong(0);
	LOAD("TRACESHIM_LOG_HEADERS=a=f,b=f,c=g");
	assert_int_equal(config.field_count, 2);
	assert_wrong(1);
	LOAD("TRACESHIM_LOG_HEADERS=a,b,c,d,e,f,g,h,i,j,k,l,m");
	assert_int_equal(config.field_count, 12);
	assert_wrong(1);
	/* A client that names its own trace id in a header must not be able to write that field. */
	LOAD("TRACESHIM_LOG_HEADERS=a=trace_id,b=traceId,c=trace.id,d=dd.trace_id,e=message,f=ok");
	assert_int_equal(config.field_count, 1);
	assert_wrong(5);
}

static void propagators_keep_their_order_and_none_means_none(void **state)
{
	(void)state;
	LOAD("OTEL_PROPAGATORS=jaeger, B3,jaeger ,tracecontext");
	assert_int_equal(config.propagators, PROPAGATE_JAEGER | PROPAGATE_B3 | PROPAGATE_TRACECONTEXT);
	assert_memory_equal(config.propagator_order, "\x10\x04\x01\0\0", 5);
	LOAD("OTEL_PROPAGATORS=xray,b3multi");
	assert_memory_equal(config.propagator_order, "\x08\0\0\0\0", 5);
	assert_wrong(1);
	LOAD("OTEL_PROPAGATORS=b3,none");
	assert_int_equal(config.propagators, 0);
	assert_memory_equal(config.propagator_order, "\0\0\0\0\0", 5);
	LOAD("OTEL_PROPAGATORS=tracecontext,baggage,b3,b3multi,jaeger");
	assert_memory_equal(config.propagator_order, "\x01\x02\x04\x08\x10", 5);
}

static void the_service_comes_from_its_variable_then_the_attributes_then_the_program(void **state)
{
	(void)state;
	LOAD("OTEL_RESOURCE_ATTRIBUTES=service.name=shop%20front,service.version=1.2,deployment.environment=prod,x=y");
	assert_name(config.service, "shop front");
	assert_name(config.version, "1.2");
	assert_name(config.environment, "prod");
	LOAD("OTEL_RESOURCE_ATTRIBUTES=deployment.environment.name=new, deployment.environment=old",
	     "OTEL_SERVICE_NAME=mine");
	assert_name(config.service, "mine");
	assert_name(config.environment, "new");
	LOAD("OTEL_SERVICE_NAME=mine", "OTEL_RESOURCE_ATTRIBUTES=service.name=theirs");
	assert_name(config.service, "mine");
	assert_wrong(0);
}

static void plain_texts_are_kept_as_they_are(void **state)
{
	char text[] = "TRACESHIM_STDIO=fe01:123,19:7";

	(void)state;
	LOAD("TRACESHIM_STDIO=-,19:7");
	assert_name(config.stdio_files, "-,19:7");
	assert_wrong(0);
	LOAD(text, "TRACEPARENT=00-x", "TRACESTATE=a=b", "BAGGAGE=c=d", "TRACESHIM_LOG_FILES=/a/*.log:/b",
	     "TRACESHIM_RUN_DIR=/run/ts//", "TRACESHIM_LOOP=single", "TRACESHIM_LIBRARY=/x.so",
	     "TRACESHIM_ATTRIBUTION=validated");
	memset(text, 'x', sizeof(text)); /* programs overwrite their environment */
	assert_name(config.stdio_files, "fe01:123,19:7");
	assert_name(config.traceparent, "00-x");
	assert_name(config.tracestate, "a=b");
	assert_name(config.baggage, "c=d");
	assert_name(config.log_files, "/a/*.log:/b");
	assert_name(config.run_dir, "/run/ts");
	assert_int_equal(config.loop_trust, LOOP_SINGLE);
	assert_int_equal(config.attribution, ATTRIBUTION_VALIDATED);
	assert_int_equal(counters_page()->notes_len, 0);
}

static void what_is_exported_is_said_by_our_own_list_or_else_by_the_sdk_s_variables(void **state)
{
	(void)state;
	LOAD("A=1");
	assert_false(config.export_traces || config.export_logs);
	LOAD("TRACESHIM_EXPORT=traces");
	assert_true(config.export_traces && !config.export_logs);
	LOAD("TRACESHIM_EXPORT=logs , Traces");
	assert_true(config.export_traces && config.export_logs);
	LOAD("TRACESHIM_EXPORT=traces,none");
	assert_false(config.export_traces || config.export_logs);
	LOAD("OTEL_TRACES_EXPORTER=otlp", "OTEL_LOGS_EXPORTER=none");
	assert_true(config.export_traces && !config.export_logs);
	LOAD("OTEL_LOGS_EXPORTER=console", "OTEL_RESOURCE_ATTRIBUTES=a=b,service.name=x");
	assert_true(!config.export_traces && config.export_logs);
	assert_name(config.resource, "a=b,service.name=x");
	LOAD("OTEL_TRACES_EXPORTER=otlp", "OTEL_LOGS_EXPORTER=otlp", "TRACESHIM_EXPORT=logs");
	assert_true(!config.export_traces && config.export_logs);
	LOAD("OTEL_TRACES_EXPORTER=otlp", "TRACESHIM_EXPORT=none");
	assert_false(config.export_traces || config.export_logs);
	assert_wrong(0);
	LOAD("OTEL_TRACES_EXPORTER=otlp", "TRACESHIM_EXPORT=metrics,logs");
	assert_true(!config.export_traces && config.export_logs);
	assert_wrong(1);
}

static void a_ring_s_size_is_the_next_power_of_two(void **state)
{
	(void)state;
	LOAD("A=1");
	assert_int_equal(config.ring_size, 1 << 20);
	LOAD("TRACESHIM_RING_SIZE=65536");
	assert_int_equal(config.ring_size, 65536);
	LOAD("TRACESHIM_RING_SIZE=65537");
	assert_int_equal(config.ring_size, 131072);
	LOAD("TRACESHIM_RING_SIZE=67108864");
	assert_int_equal(config.ring_size, 67108864);
	assert_wrong(0);
}

static void a_full_storage_leaves_values_out_and_says_so(void **state)
{
	char *baggage = malloc(9000), *files = malloc(9000), *state_text = malloc(5000), *name = malloc(300);

	(void)state;
	snprintf(baggage, 9000, "BAGGAGE=%08192d", 0);
	snprintf(files, 9000, "TRACESHIM_LOG_FILES=%04096d", 0);
	snprintf(state_text, 5000, "TRACESTATE=%04096d", 0);
	snprintf(name, 300, "OTEL_SERVICE_NAME=%0250d", 0);
	LOAD(baggage, files, state_text, name);
	assert_wrong(1);
	assert_true(noted("too long"));
	assert_int_equal(config.tracestate.len, 4096);
	assert_int_equal(config.log_files.len, 4096);
	assert_int_equal(config.baggage.len, 0);
	assert_int_equal(config.service.len, 250);
	free(baggage);
	free(files);
	free(state_text);
	free(name);
}

static char file_path[64];

static void write_file(const char *text, size_t len)
{
	int fd;

	snprintf(file_path, sizeof(file_path), "/tmp/traceshim-test-XXXXXX");
	fd = mkstemp(file_path);
	assert_true(fd >= 0);
	assert_int_equal(write(fd, text, len), len);
	close(fd);
}

static void load_file(const char *text, const char *more)
{
	char entry[128];

	write_file(text, strlen(text));
	snprintf(entry, sizeof(entry), "TRACESHIM_CONFIG=%s", file_path);
	LOAD(entry, more);
	unlink(file_path);
}

static void a_file_has_comments_blank_lines_quotes_and_any_line_end(void **state)
{
	(void)state;
	load_file("\xef\xbb\xbf# comment\n\n  TRACESHIM_RAW = on \r\nOTEL_SERVICE_NAME=\"my shop\"\n\t# more\n"
	          "TRACESHIM_RUN_DIR='/run/x'\nOTEL_EXPORTER_OTLP_ENDPOINT=http://x\nTRACESHIM_LOG=text",
	          "A=1");
	assert_true(config.raw);
	assert_name(config.service, "my shop");
	assert_name(config.run_dir, "/run/x");
	assert_int_equal(config.log_mode, LOG_TEXT);
	assert_int_equal(counters_page()->notes_len, 0);
}

static void the_environment_wins_over_the_file(void **state)
{
	(void)state;
	load_file("OTEL_SERVICE_NAME=file\nTRACESHIM_ROOT=off\n", "OTEL_SERVICE_NAME=environment");
	assert_name(config.service, "environment");
	assert_false(config.root);
	load_file("OTEL_SERVICE_NAME=file\n", "OTEL_SERVICE_NAME=");
	assert_name(config.service, "file");
	load_file("TRACESHIM_FORMAT=gcp\n", "TRACESHIM_LOG=ecs");
	assert_int_equal(config.log_format, FORMAT_ECS);
	load_file("TRACESHIM_LOG=ecs\n", "TRACESHIM_FORMAT=gcp");
	assert_int_equal(config.log_format, FORMAT_GCP);
	load_file("TRACESHIM_LOG=ecs\nTRACESHIM_FORMAT=camel\n", "A=1");
	assert_int_equal(config.log_format, FORMAT_CAMEL);
}

static void wrong_lines_of_a_file_are_named_and_the_others_count(void **state)
{
	(void)state;
	load_file("nonsense\nTRACESHIM_RAW=on\n=x\nTRACESHIM_CONFIG=/other\nTRACESHIM_ROT=1\nFOO=bar\n", "A=1");
	assert_true(config.raw);
	assert_wrong(3);
	assert_int_equal(counters_get(config_unknown), 2);
	assert_true(noted("line 1 is ignored"));
	assert_true(noted("line 3 is ignored"));
	assert_true(noted("cannot name another"));
	assert_true(noted("did you mean TRACESHIM_ROOT?"));
}

static void a_file_of_64_kib_is_read_and_a_longer_one_is_not(void **state)
{
	char *text = malloc(65537), entry[128];

	(void)state;
	for (size_t len = 65536; len <= 65537; len++) {
		memset(text, '\n', 65537);
		memcpy(text + 65536 - 16, "TRACESHIM_RAW=on", 16);
		write_file(text, len);
		snprintf(entry, sizeof(entry), "TRACESHIM_CONFIG=%s", file_path);
		LOAD(entry);
		unlink(file_path);
		assert_int_equal(config.raw, len == 65536);
		assert_wrong(len == 65536 ? 0 : 1);
	}
	free(text);
}

static void a_fifo_without_a_writer_does_not_hang(void **state)
{
	char entry[128];

	(void)state;
	snprintf(file_path, sizeof(file_path), "/tmp/traceshim-fifo-%d", (int)getpid());
	assert_int_equal(mkfifo(file_path, 0600), 0);
	snprintf(entry, sizeof(entry), "TRACESHIM_CONFIG=%s", file_path);
	LOAD(entry);
	unlink(file_path);
	assert_true(config.enabled);
}

static ssize_t failing_read(int fd, void *buf, size_t len)
{
	(void)fd, (void)buf, (void)len;
	errno = EIO;
	return -1;
}

static void an_unreadable_file_is_noted_and_its_descriptor_closed(void **state)
{
	ssize_t (*real)(int, void *, size_t) = os.read;
	char entry[128];
	int before = dup(0);

	(void)state;
	close(before);
	write_file("TRACESHIM_RAW=on\n", 17);
	snprintf(entry, sizeof(entry), "TRACESHIM_CONFIG=%s", file_path);
	os.read = failing_read;
	LOAD(entry);
	os.read = real;
	unlink(file_path);
	assert_false(config.raw);
	assert_wrong(1);
	assert_true(noted("the file cannot be read"));
	assert_int_equal(fcntl(before, F_GETFD), -1);
}

struct host_case {
	const char *pattern, *host;
	bool allowed;
};

static void hosts_are_allowed_by_name_suffix_address_and_port(void **state)
{
	static const struct host_case cases[] = {
		{ "", "anything.at:1", true },
		{ "*", "anything", true },
		{ "a.b,*", "c", true },
		{ "example.com", "example.com", true },
		{ "example.com", "EXAMPLE.com:8080", true },
		{ "Example.COM", "example.com.", true },
		{ "example.com", "www.example.com", false },
		{ "example.com", "example.com.evil", false },
		{ "example.com", "notexample.com", false },
		{ "*.example.com", "www.example.com", true },
		{ "*.example.com", "a.b.EXAMPLE.com:1", true },
		{ "*.example.com", "example.com", false },
		{ "*.example.com", ".example.com", false },
		{ "*.example.com", "wwwexample.com", false },
		{ ".example.com", "example.com", true },
		{ ".example.com", "x.example.com", true },
		{ ".example.com", "xexample.com", false },
		{ "example.com:8080", "example.com:8080", true },
		{ "example.com:8080", "example.com:80", false },
		{ "example.com:8080", "example.com", false },
		{ "example.com:80", "example.com", true },
		{ "example.com:443", "example.com", true },
		{ "*:8080", "x:8080", true },
		{ "*:8080", "x:8081", false },
		{ "10.0.0.1", "10.0.0.1:99", true },
		{ "10.0.0.1", "10.0.0.10", false },
		{ "::1", "[::1]:80", true },
		{ "[::1]", "[::1]", true },
		{ "[::1]:81", "[::1]:80", false },
		{ "[fe80::A]", "[FE80::a]", true },
		{ "a , b", "b", true },
		{ "a", "", false },
		{ "a", "a:x", false },
		{ "a", "a:", false },
		{ "a", "[a", false },
		{ "a", "a\r\nb", false },
		{ "*.a", "b\r.a", false },
		{ "a:80", "a:080", false },
	};
	char entry[128];

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		snprintf(entry, sizeof(entry), "TRACESHIM_PROPAGATE=%s", cases[i].pattern);
		LOAD(entry);
		assert_wrong(0);
		if (config_host_allowed(cases[i].host, strlen(cases[i].host)) != cases[i].allowed)
			fail_msg("pattern %s, host %s: not %d", cases[i].pattern, cases[i].host, cases[i].allowed);
	}
}

static void wrong_host_patterns_never_widen_the_list(void **state)
{
	static const char *const wrong[] = { "http://a", "a b", "*a",   "a/b",  "a:x",
		                             "a:123456", "a*",  "[::1", "*.a*", "a\tb" };
	char entry[128];

	(void)state;
	for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
		snprintf(entry, sizeof(entry), "TRACESHIM_PROPAGATE=%s", wrong[i]);
		LOAD(entry);
		assert_wrong(1);
		assert_false(config_host_allowed("other", 5));
		assert_false(config_host_allowed("a", 1));
		snprintf(entry, sizeof(entry), "TRACESHIM_PROPAGATE=%s,ok", wrong[i]);
		LOAD(entry);
		assert_true(config_host_allowed("ok", 2));
		assert_false(config_host_allowed("other", 5));
	}
}

struct glob_case {
	const char *pattern, *path;
	bool match;
};

static void log_files_match_globs_byte_by_byte(void **state)
{
	static const struct glob_case cases[] = {
		{ "/var/log/app.log", "/var/log/app.log", true },
		{ "/var/log/app.log", "/var/log/app.log2", false },
		{ "/var/log/*.log", "/var/log/app.log", true },
		{ "/var/log/*.log", "/var/log/a/app.log", false },
		{ "/var/log/**.log", "/var/log/a/b/app.log", true },
		{ "/var/**/x*.log", "/var/a/b/xyz.log", true },
		{ "/var/**/x*.log", "/var/a/b/xy/z.log", false },
		{ "*.log", "/a/b/c.log", true },
		{ "*.log", "/a/b.log/c", false },
		{ "/a/?.log", "/a/b.log", true },
		{ "/a?b", "/a/b", false },
		{ "/[a-c]x", "/bx", true },
		{ "/[!a-c]x", "/bx", false },
		{ "/[^a-c]x", "/dx", true },
		{ "/[]]x", "/]x", true },
		{ "/[a", "/[a", true },
		{ "/a[^b]c", "/a/c", false },
		{ "/\\*", "/*", true },
		{ "/\\*", "/a", false },
		{ "/one:/two:*.x", "/two", true },
		{ "/one:/two:*.x", "/q/r.x", true },
		{ "/one:/two:*.x", "/three", false },
		{ "/a*b*c", "/aXbXbc", true },
		{ "/a*b*c", "/aXbXbcd", false },
		{ "/**", "/", true },
		{ "/*", "/", true },
		{ "/**a**b", "/xaya/zb", true },
		{ "/\xc3\xa4*", "/\xc3\xa4\xff", true },
	};
	char entry[128];

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		snprintf(entry, sizeof(entry), "TRACESHIM_LOG_FILES=%s", cases[i].pattern);
		LOAD(entry);
		if (config_is_log_file(cases[i].path) != cases[i].match)
			fail_msg("pattern %s, path %s: not %d", cases[i].pattern, cases[i].path, cases[i].match);
	}
	LOAD("A=1");
	assert_false(config_is_log_file("/any"));
}

static void every_key_of_the_table_is_known_and_described(void **state)
{
#define X(name, key, standard, text) { key, standard, text },
	static const char *const table[][3] = { CONFIG_KEYS(X) };
#undef X
	char entry[64];

	(void)state;
	for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
		assert_true(strlen(table[i][2]) > 10);
		snprintf(entry, sizeof(entry), "%s=%s", table[i][0], table[i][1]);
		LOAD(entry); /* the stated default is a value that the key takes, and it changes nothing */
		assert_int_equal(counters_get(config_unknown) + counters_get(config_invalid), 0);
		assert_true(config.enabled && config.root && !config.raw && config.log_mode == LOG_JSON &&
		            config.log_format == FORMAT_OTEL && config.loop_trust == LOOP_AUTO && !config.log_terminal);
		assert_int_equal(config.propagators, PROPAGATE_TRACECONTEXT | PROPAGATE_BAGGAGE);
		assert_name(config.correlation[0], "x-trace-id");
		assert_name(config.run_dir, "/tmp/traceshim");
		assert_true(config_host_allowed("x", 1));
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(an_empty_environment_gives_the_documented_defaults),
		cmocka_unit_test(switches_take_the_usual_words_in_any_case),
		cmocka_unit_test(a_wrong_value_keeps_the_default_and_is_counted_and_noted),
		cmocka_unit_test(a_note_shows_a_long_or_binary_value_on_one_line),
		cmocka_unit_test(an_empty_value_is_unset),
		cmocka_unit_test(of_a_key_that_is_there_twice_the_first_counts),
		cmocka_unit_test(unknown_keys_of_ours_are_noted_with_the_nearest_known_one),
		cmocka_unit_test(log_takes_a_mode_or_the_name_of_a_format),
		cmocka_unit_test(include_and_exclude_lists_decide_by_program_name),
		cmocka_unit_test(correlation_headers_are_lower_case_unique_and_at_most_four),
		cmocka_unit_test(a_header_name_may_be_64_bytes_and_not_65),
		cmocka_unit_test(log_fields_map_headers_and_baggage_keys),
		cmocka_unit_test(propagators_keep_their_order_and_none_means_none),
		cmocka_unit_test(the_service_comes_from_its_variable_then_the_attributes_then_the_program),
		cmocka_unit_test(plain_texts_are_kept_as_they_are),
		cmocka_unit_test(what_is_exported_is_said_by_our_own_list_or_else_by_the_sdk_s_variables),
		cmocka_unit_test(a_ring_s_size_is_the_next_power_of_two),
		cmocka_unit_test(a_full_storage_leaves_values_out_and_says_so),
		cmocka_unit_test(a_file_has_comments_blank_lines_quotes_and_any_line_end),
		cmocka_unit_test(the_environment_wins_over_the_file),
		cmocka_unit_test(wrong_lines_of_a_file_are_named_and_the_others_count),
		cmocka_unit_test(a_file_of_64_kib_is_read_and_a_longer_one_is_not),
		cmocka_unit_test(a_fifo_without_a_writer_does_not_hang),
		cmocka_unit_test(an_unreadable_file_is_noted_and_its_descriptor_closed),
		cmocka_unit_test(hosts_are_allowed_by_name_suffix_address_and_port),
		cmocka_unit_test(wrong_host_patterns_never_widen_the_list),
		cmocka_unit_test(log_files_match_globs_byte_by_byte),
		cmocka_unit_test(every_key_of_the_table_is_known_and_described),
	};

	return cmocka_run_group_tests(tests, bind_os, NULL);
}

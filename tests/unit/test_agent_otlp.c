/*
 * What spans and lines become: OTLP's JSON byte for byte, the conventions' attributes, samples, and files.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cjson/cJSON.h>
#include <cmocka.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "../../cli/agent/otlp_json.h"
#include "../../cli/agent/sampler.h"
#include "../../cli/agent/semconv.h"
#include "../../cli/agent/span_file.h"
#include "../../cli/agent/spool.h"

static struct buffer out;

static struct ring_view view(const char *text)
{
	return (struct ring_view){ text, strlen(text) };
}

static struct ring_span_read a_span(uint8_t kind)
{
	struct ring_span_read s = {
		.span = { .start_ns = 1700000000000000000, .end_ns = 1700000000002500000, .tid = 7 }
	};

	memset(s.span.trace_id, 0xab, 16);
	memset(s.span.span_id, 0xcd, 8);
	s.span.span_kind = kind;
	s.span.method = RING_METHOD_GET;
	s.span.version = 11;
	s.span.flags = RING_FLAG_SAMPLED;
	s.span.status = 200;
	s.span.bytes_in = 10;
	s.span.bytes_out = 20;
	s.text[RING_TEXT_TARGET] = view("/a");
	return s;
}

static const char *json_of(const struct ring_span_read *s)
{
	buffer_clear(&out);
	otlp_put_span(&out, s);
	buffer_put(&out, "", 1);
	assert_false(out.failed);
	return out.at;
}

/* The value of an attribute as text, "" when it is not there. */
static const char *attribute(const struct ring_span_read *s, const char *key)
{
	static char found[2000];
	cJSON *root = cJSON_Parse(json_of(s));
	const cJSON *entry;

	assert_non_null(root);
	found[0] = '\0';
	cJSON_ArrayForEach(entry, cJSON_GetObjectItem(root, "attributes"))
	{
		const cJSON *value = cJSON_GetObjectItem(entry, "value");

		if (strcmp(cJSON_GetObjectItem(entry, "key")->valuestring, key) == 0)
			snprintf(found, sizeof(found), "%s", value->child->valuestring);
	}
	cJSON_Delete(root);
	return found;
}

static void test_a_span_is_otlp_byte_for_byte(void **state)
{
	struct ring_span_read s = a_span(RING_SPAN_SERVER);

	(void)state;
	memset(s.span.parent_id, 0xef, 8);
	s.span.flags |= RING_FLAG_REMOTE | RING_FLAG_RANDOM | RING_FLAG_PEER;
	s.span.peer_port = 4000;
	memcpy(s.span.peer, "\x0a\0\0\1", 4);
	s.span.first_byte_ns = s.span.start_ns + 1000;
	s.text[RING_TEXT_HOST] = view("shop:81");
	s.text[RING_TEXT_TRACESTATE] = view("k=v");
	assert_string_equal(
		json_of(&s),
		"{\"traceId\":\"abababababababababababababababab\",\"spanId\":\"cdcdcdcdcdcdcdcd\",\"parentSpanId\":\"efefefefefefefef\","
		"\"flags\":771,\"traceState\":\"k=v\",\"name\":\"GET\",\"kind\":2,\"startTimeUnixNano\":\"1700000000000000000\","
		"\"endTimeUnixNano\":\"1700000000002500000\",\"attributes\":[{\"key\":\"thread.id\",\"value\":{\"intValue\":\"7\"}},"
		"{\"key\":\"http.request.method\",\"value\":{\"stringValue\":\"GET\"}},"
		"{\"key\":\"url.scheme\",\"value\":{\"stringValue\":\"http\"}},{\"key\":\"url.path\",\"value\":{\"stringValue\":\"/a\"}},"
		"{\"key\":\"server.address\",\"value\":{\"stringValue\":\"shop\"}},{\"key\":\"server.port\",\"value\":{\"intValue\":\"81\"}},"
		"{\"key\":\"http.response.status_code\",\"value\":{\"intValue\":\"200\"}},"
		"{\"key\":\"network.protocol.version\",\"value\":{\"stringValue\":\"1.1\"}},"
		"{\"key\":\"http.request.size\",\"value\":{\"intValue\":\"10\"}},{\"key\":\"http.response.size\",\"value\":{\"intValue\":\"20\"}},"
		"{\"key\":\"client.address\",\"value\":{\"stringValue\":\"10.0.0.1\"}},"
		"{\"key\":\"network.peer.address\",\"value\":{\"stringValue\":\"10.0.0.1\"}},"
		"{\"key\":\"network.peer.port\",\"value\":{\"intValue\":\"4000\"}},"
		"{\"key\":\"traceshim.first_byte_ns\",\"value\":{\"intValue\":\"1000\"}}],\"status\":{}}");
}

static void test_a_line_is_otlp_byte_for_byte(void **state)
{
	struct ring_line_read l = { .line = { .time_ns = 5, .tid = 3, .stream = 2, .severity = 17, .flags = 1 } };

	(void)state;
	memset(l.line.trace_id, 0xab, 16);
	memset(l.line.span_id, 0xcd, 8);
	l.text = (struct ring_view){ "a\"\\\n\x01\xff\xc3\xa9\xed\xa0\x80", 11 };
	buffer_clear(&out);
	otlp_put_line(&out, &l, 9);
	buffer_put(&out, "", 1);
	assert_string_equal(
		out.at,
		"{\"timeUnixNano\":\"5\",\"observedTimeUnixNano\":\"9\",\"severityNumber\":17,\"severityText\":\"ERROR\","
		"\"body\":{\"stringValue\":\"a\\\"\\\\\\n\\u0001\xef\xbf\xbd\xc3\xa9\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\"},"
		"\"attributes\":[{\"key\":\"log.iostream\",\"value\":{\"stringValue\":\"stderr\"}},"
		"{\"key\":\"thread.id\",\"value\":{\"intValue\":\"3\"}}],"
		"\"traceId\":\"abababababababababababababababab\",\"spanId\":\"cdcdcdcdcdcdcdcd\",\"flags\":1}");
}

static void test_a_call_names_its_url_and_server(void **state)
{
	struct ring_span_read s = a_span(RING_SPAN_CLIENT);

	(void)state;
	s.text[RING_TEXT_HOST] = view("api.test");
	s.text[RING_TEXT_TARGET] = view("/x?sig=abc&q=1&X-Goog-Signature=zz&");
	assert_string_equal(attribute(&s, "url.full"), "http://api.test/x?sig=REDACTED&q=1&X-Goog-Signature=REDACTED&");
	assert_string_equal(attribute(&s, "server.port"), "80");
	s.span.flags |= RING_FLAG_TLS;
	assert_string_equal(attribute(&s, "server.port"), "443");
	s.text[RING_TEXT_TARGET] = view("http://user:pass@proxied.test:8080/y");
	s.span.flags &= ~RING_FLAG_TLS;
	assert_string_equal(attribute(&s, "url.full"), "http://REDACTED:REDACTED@proxied.test:8080/y");
	assert_string_equal(attribute(&s, "server.address"), "proxied.test");
	assert_string_equal(attribute(&s, "server.port"), "8080");
	assert_string_equal(attribute(&s, "client.address"), "");
}

static void test_a_call_without_a_host_names_its_peer(void **state)
{
	struct ring_span_read s = a_span(RING_SPAN_CLIENT);

	(void)state;
	s.span.flags |= RING_FLAG_PEER | RING_FLAG_PEER_V6;
	s.span.peer[15] = 1;
	s.span.peer_port = 90;
	assert_string_equal(attribute(&s, "server.address"), "::1");
	assert_string_equal(attribute(&s, "server.port"), "90");
}

static void test_methods_that_are_not_known_are_other(void **state)
{
	struct ring_span_read s = a_span(RING_SPAN_SERVER);

	(void)state;
	s.span.method = RING_METHOD_other;
	s.text[RING_TEXT_METHOD] = view("BREW");
	s.text[RING_TEXT_ROUTE] = view("/pot/{id}");
	assert_string_equal(attribute(&s, "http.request.method"), "_OTHER");
	assert_string_equal(attribute(&s, "http.request.method_original"), "BREW");
	assert_non_null(strstr(json_of(&s), "\"name\":\"HTTP /pot/{id}\""));
	s.text[RING_TEXT_METHOD].len = 0; /* it was not HTTP at all */
	assert_string_equal(attribute(&s, "http.request.method"), "");
}

static void test_errors_are_5xx_served_4xx_called_and_failures(void **state)
{
	static const struct {
		uint8_t kind, error;
		uint16_t status;
		const char *type;
	} cases[] = {
		{ RING_SPAN_SERVER, RING_ERROR_none, 404, "" },
		{ RING_SPAN_SERVER, RING_ERROR_none, 500, "500" },
		{ RING_SPAN_CLIENT, RING_ERROR_none, 404, "404" },
		{ RING_SPAN_CLIENT, RING_ERROR_none, 399, "" },
		{ RING_SPAN_CLIENT, RING_ERROR_none, 0, "" },
		{ RING_SPAN_SERVER, RING_ERROR_reset, 200, "connection_reset" },
		{ RING_SPAN_CLIENT, RING_ERROR_timeout, 0, "timeout" },
		{ RING_SPAN_SERVER, RING_ERROR_unanswered, 503, "no_response" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct ring_span_read s = a_span(cases[i].kind);

		s.span.status = cases[i].status;
		s.span.error = cases[i].error;
		assert_string_equal(attribute(&s, "error.type"), cases[i].type);
		assert_int_equal(strstr(json_of(&s), "\"status\":{\"code\":2}") != NULL, *cases[i].type != '\0');
	}
}

static void test_a_call_of_grpc_is_named_by_service_and_method(void **state)
{
	struct ring_span_read s = a_span(RING_SPAN_SERVER);

	(void)state;
	s.span.method = RING_METHOD_POST;
	s.text[RING_TEXT_TARGET] = view("/shop.v1.Cart/Add");
	assert_null(strstr(json_of(&s), "rpc."));
	s.span.flags |= RING_FLAG_GRPC;
	assert_non_null(strstr(json_of(&s), "\"name\":\"shop.v1.Cart/Add\""));
	assert_string_equal(attribute(&s, "rpc.system"), "grpc");
	assert_string_equal(attribute(&s, "rpc.service"), "shop.v1.Cart");
	assert_string_equal(attribute(&s, "rpc.method"), "Add");
	assert_null(strstr(json_of(&s), "rpc.grpc.status_code"));
	s.span.grpc_status = 5 + 1;
	assert_non_null(strstr(json_of(&s), "{\"key\":\"rpc.grpc.status_code\",\"value\":{\"intValue\":\"5\"}}"));
	s.text[RING_TEXT_TARGET] = view("/");
	assert_null(strstr(json_of(&s), "rpc."));
	assert_non_null(strstr(json_of(&s), "\"name\":\"POST\""));
}

static void test_errors_of_grpc_are_the_servers_own_and_any_of_a_call(void **state)
{
	(void)state;
	for (uint16_t status = 0; status <= 16; status++) {
		struct ring_span_read served = a_span(RING_SPAN_SERVER), called = a_span(RING_SPAN_CLIENT);
		bool own = status == 2 || status == 4 || (status >= 12 && status <= 15);
		char text[8];

		snprintf(text, sizeof(text), "%u", status);
		served.span.flags |= RING_FLAG_GRPC;
		called.span.flags |= RING_FLAG_GRPC;
		served.span.grpc_status = called.span.grpc_status = status + 1;
		assert_string_equal(attribute(&served, "error.type"), own ? text : "");
		assert_string_equal(attribute(&called, "error.type"), status != 0 ? text : "");
	}
}

static void test_a_clock_that_was_set_back_gives_no_negative_span(void **state)
{
	struct ring_span_read s = a_span(RING_SPAN_SERVER);

	(void)state;
	s.span.end_ns = s.span.start_ns - 1000;
	s.span.first_byte_ns = s.span.start_ns - 2000;
	assert_non_null(strstr(json_of(&s), "\"endTimeUnixNano\":\"1700000000000000000\""));
	assert_string_equal(attribute(&s, "traceshim.first_byte_ns"), "");
}

static void test_the_client_is_the_first_that_was_forwarded(void **state)
{
	static const char *const cases[][2] = {
		{ "203.0.113.7", "203.0.113.7" },
		{ "203.0.113.7, 10.0.0.1", "203.0.113.7" },
		{ "for=192.0.2.60;proto=http;by=203.0.113.43", "192.0.2.60" },
		{ "proto=https; For=\"[2001:db8::17]:4711\", for=10.0.0.1", "2001:db8::17" },
		{ "2001:db8::1", "2001:db8::1" },
		{ "198.51.100.2:5555", "198.51.100.2" },
		{ "for=unknown", "" },
		{ "for=_hidden", "" },
		{ "proto=http", "" },
		{ "", "" },
		{ " , ", "" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct ring_view client = semconv_forwarded_client(view(cases[i][0]));

		assert_int_equal(client.len, strlen(cases[i][1]));
		assert_memory_equal(client.len ? client.at : "", cases[i][1], client.len);
	}
}

static void test_targets_and_hosts_are_taken_apart(void **state)
{
	struct semconv_target t = semconv_split_target(view("/a/b?c=d?e#f"));

	(void)state;
	assert_int_equal(t.path.len, 4);
	assert_memory_equal(t.query.at, "c=d?e", t.query.len);
	assert_int_equal(t.query.len, 5);
	t = semconv_split_target(view("https://h"));
	assert_true(t.https && t.path.len == 1 && t.authority.len == 1);
	t = semconv_split_target(view(""));
	assert_int_equal(t.path.len + t.query.len, 0);
	assert_int_equal(semconv_split_host(view("[::1]:99")).port, 99);
	assert_int_equal(semconv_split_host(view("[::1]:99")).host.len, 3);
	assert_int_equal(semconv_split_host(view("h:99999")).port, 0);
	assert_int_equal(semconv_split_host(view("h:1x")).port, 0);
	assert_int_equal(semconv_split_host(view("::1")).host.len, 3);
	assert_int_equal(semconv_split_host(view("[::1")).port, 0);
}

static bool takes(const char *name, const char *argument, uint32_t flags, uint64_t low)
{
	struct ring_span s = { .flags = flags };
	struct sampler sampler;

	assert_true(sampler_set(&sampler, name, argument));
	for (int i = 0; i < 8; i++)
		s.trace_id[15 - i] = (uint8_t)(low >> 8 * i);
	return sampler_takes(&sampler, &s);
}

static void test_samplers_decide_by_trace_and_by_what_the_caller_said(void **state)
{
	struct sampler s;

	(void)state;
	assert_true(takes(NULL, NULL, RING_FLAG_SAMPLED, 0));
	assert_false(takes(NULL, NULL, 0, 0));
	assert_true(takes("always_on", NULL, 0, 0));
	assert_false(takes("always_off", NULL, RING_FLAG_SAMPLED, 0));
	assert_true(takes("traceidratio", "0.5", 0, 0x7fffffffffffffff));
	assert_false(takes("traceidratio", "0.5", 0, 0x8000000000000000));
	assert_false(takes("parentbased_traceidratio", "0.5", 0, 1));
	assert_true(takes("parentbased_traceidratio", "0.5", RING_FLAG_SAMPLED, 1));
	assert_true(takes("traceidratio", "1.0", 0, UINT64_MAX));
	assert_false(takes("traceidratio", "0", 0, 0));
	assert_false(sampler_set(&s, "sometimes", NULL));
	assert_false(sampler_set(&s, "traceidratio", "1.5"));
	assert_false(sampler_set(&s, "traceidratio", "x"));
	assert_true(s.parent && s.all);
}

/* A disk that is full is a file that may not grow: the line is finished once it may. */
static void test_a_file_has_whole_lines_after_a_full_disk(void **state)
{
	struct rlimit old, small = { .rlim_cur = 100 };
	char path[] = "/tmp/traceshim-test-XXXXXX", text[200];
	struct span_file f;
	int fd = mkstemp(path);

	(void)state;
	assert_true(fd >= 0 && getrlimit(RLIMIT_FSIZE, &old) == 0);
	signal(SIGXFSZ, SIG_IGN);
	assert_true(span_file_open(&f, path));
	small.rlim_max = old.rlim_max;
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
	for (int i = 0; i < 3; i++)
		span_file_write(&f, "0123456789012345678901234567890123456789012345678\n", 50, 1);
	span_file_write(&f, "last\n", 5, 1);
	assert_int_equal(lseek(fd, 0, SEEK_END), 100);
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &old), 0);
	span_file_step(&f);
	span_file_close(&f);
	assert_int_equal(pread(fd, text, sizeof(text), 0), 155);
	assert_memory_equal(text + 145, "5678\nlast\n", 10);
	close(fd);
	unlink(path);
}

static void test_a_spool_keeps_its_order_over_restarts(void **state)
{
	char folder[] = "/tmp/traceshim-test-XXXXXX", *bytes;
	struct spool s;
	size_t len;
	int dir;

	(void)state;
	assert_non_null(mkdtemp(folder));
	dir = open(folder, O_RDONLY | O_DIRECTORY);
	assert_true(spool_open(&s, dir, "traces", 100));
	assert_int_equal(spool_add(&s, "second", 6, 2, 12), SPOOL_OK);
	assert_int_equal(spool_add(&s, "third", 5, 3, 13), SPOOL_OK);
	assert_int_equal(spool_add(&s, "first", 5, 1, 9), SPOOL_OK);
	assert_int_equal(spool_add(&s, folder, 90, 1, 14), SPOOL_FULL);
	spool_close(&s);
	assert_true(spool_open(&s, dir, "logs", 100)); /* another one's are not its own */
	assert_null(spool_oldest(&s));
	assert_true(spool_open(&s, dir, "traces", 100));
	assert_int_equal(s.next, 14);
	for (unsigned i = 1; i <= 3; i++) {
		static const char *const wanted[] = { "", "first", "second", "third" };

		assert_int_equal(spool_oldest(&s)->items, i);
		bytes = spool_read(&s, &len);
		assert_int_equal(len, strlen(wanted[i]));
		assert_memory_equal(bytes, wanted[i], len);
		free(bytes);
		spool_remove(&s);
	}
	assert_null(spool_oldest(&s));
	spool_close(&s);
	close(dir);
	assert_int_equal(rmdir(folder), 0);
}

static int free_out(void **state)
{
	(void)state;
	buffer_free(&out);
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_a_span_is_otlp_byte_for_byte),
		cmocka_unit_test(test_a_line_is_otlp_byte_for_byte),
		cmocka_unit_test(test_a_call_names_its_url_and_server),
		cmocka_unit_test(test_a_call_without_a_host_names_its_peer),
		cmocka_unit_test(test_methods_that_are_not_known_are_other),
		cmocka_unit_test(test_errors_are_5xx_served_4xx_called_and_failures),
		cmocka_unit_test(test_a_call_of_grpc_is_named_by_service_and_method),
		cmocka_unit_test(test_errors_of_grpc_are_the_servers_own_and_any_of_a_call),
		cmocka_unit_test(test_a_clock_that_was_set_back_gives_no_negative_span),
		cmocka_unit_test(test_the_client_is_the_first_that_was_forwarded),
		cmocka_unit_test(test_targets_and_hosts_are_taken_apart),
		cmocka_unit_test(test_samplers_decide_by_trace_and_by_what_the_caller_said),
		cmocka_unit_test(test_a_file_has_whole_lines_after_a_full_disk),
		cmocka_unit_test(test_a_spool_keeps_its_order_over_restarts),
	};

	return cmocka_run_group_tests(tests, NULL, free_out);
}

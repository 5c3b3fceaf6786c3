/*
 * Exported lines against the log itself: with records that are the line as it is, what lies in the ring, a newline behind
 * each, is what arrived in the log, however the writes were cut and failed.
 */
#include <dirent.h>
#include <sys/mman.h>

#include "core_fixture.h"
#include "logline.h"
#include "ring.h"

static char dir[64];
static uint32_t seed = 1;
static char *arrived, *exported;
static size_t arrived_len, exported_len;
static struct ring_header *ring;
static bool failing;

static uint32_t next_random(uint32_t below)
{
	seed = seed * 1664525u + 1013904223u;
	return (seed >> 8) % below;
}

static ssize_t log_write(int fd, const void *buf, size_t len)
{
	uint32_t dice = failing ? next_random(10) : 9;

	if (fd != 77)
		return write(fd, buf, len);
	if (dice < 3) {
		errno = dice == 0 ? EINTR : EAGAIN;
		return -1;
	}
	if (dice < 6)
		len = 1 + next_random((uint32_t)len);
	arrived = realloc(arrived, arrived_len + len);
	memcpy(arrived + arrived_len, buf, len);
	arrived_len += len;
	return (ssize_t)len;
}

static int descriptor_of(unsigned file)
{
	return file == 0 ? 77 : -1;
}

static void exporting(void)
{
	snprintf(dir, sizeof(dir), "/tmp/lines.XXXXXX");
	CHECK(mkdtemp(dir) != NULL);
	config.run_dir = (struct config_name){ dir, (uint16_t)strlen(dir) };
	config.ring_size = RING_CAPACITY_MIN;
	config.export_logs = true;
	config.log_mode = LOG_TEXT; /* of requests that are not known: the line as it is */
	os.open = open;
	os.read = read;
	os.write = log_write;
	os.close = close;
	record_init();
	logline_open(0, false);
	current_watch_threads(io_end_thread);
	current_notice_thread();
}

static void look(void)
{
	struct dirent *file;
	char path[512];
	DIR *folder = opendir(dir);

	while (ring == NULL && (file = readdir(folder)) != NULL) {
		if (strstr(file->d_name, RING_SUFFIX) != NULL) {
			int fd;

			snprintf(path, sizeof(path), "%s/%s", dir, file->d_name);
			fd = open(path, O_RDWR);
			ring = mmap(NULL, RING_HEADER_SIZE + config.ring_size, PROT_READ | PROT_WRITE, MAP_SHARED, fd,
			            0);
			close(fd);
		}
	}
	closedir(folder);
}

static const struct ring_line *pull(void)
{
	look();
	while (ring != NULL && ring->tail < ring->head) {
		uint64_t at = ring->tail & (ring->capacity - 1);
		const struct ring_line *line =
			(const struct ring_line *)(const void *)((char *)ring + RING_HEADER_SIZE + at);

		if (ring->capacity - at < sizeof(struct ring_entry)) {
			ring->tail += ring->capacity - at;
			continue;
		}
		ring->tail += line->entry.size;
		if (line->entry.kind == RING_LINE)
			return line;
	}
	return NULL;
}

static void pull_all(void)
{
	const struct ring_line *line;

	while ((line = pull()) != NULL) {
		exported = realloc(exported, exported_len + line->len + 1);
		memcpy(exported + exported_len, line + 1, line->len);
		exported_len += line->len;
		exported[exported_len++] = '\n';
	}
}

static void the_end(void)
{
	char command[128];

	ring_end_process();
	snprintf(command, sizeof(command), "rm -r %s", dir);
	CHECK_INT(system(command), 0);
	free(arrived);
	free(exported);
}

static void write_all(logline_key key, const char *bytes, size_t len)
{
	size_t done = 0;

	while (done < len) {
		struct logline_segment all = { .len = len - done };
		struct iovec iov[2] = { { (char *)(uintptr_t)bytes + done, (len - done) / 2 },
			                { (char *)(uintptr_t)bytes + done + (len - done) / 2,
			                  len - done - (len - done) / 2 } };
		ssize_t n = logline_write(0, RECORD_STDOUT, 77, key, iov, 2, len - done, &all, 1);

		CHECK(n != 0 && n <= (ssize_t)(len - done));
		if (n > 0)
			done += (size_t)n;
		else
			CHECK(errno == EAGAIN || errno == EINTR);
	}
}

CORE_TEST(what_is_exported_is_what_arrived_however_writes_are_cut_and_fail)
{
	char bytes[3000];

	exporting();
	for (int round = 0; round < 1500; round++) {
		size_t len = 1 + next_random(round % 50 == 0 ? sizeof(bytes) : 60);

		failing = round % 3 != 0;
		for (size_t i = 0; i < len; i++)
			bytes[i] = next_random(12) == 0 ? '\n' : (char)('a' + next_random(26));
		write_all(1 + next_random(3), bytes, len);
		pull_all();
	}
	failing = false;
	logline_flush_all(descriptor_of);
	write_all(9, "\n", 1);
	pull_all();
	CHECK_INT(exported_len, arrived_len);
	CHECK(memcmp(exported, arrived, arrived_len) == 0);
	CHECK_INT(counters_get(line_exports_lost), 0);
	CHECK_INT(counters_get(lines_exported), counters_get(lines));
	the_end();
}

CORE_TEST(logs_that_are_left_as_they_are_are_exported_and_not_written)
{
	char bytes[3000], *expected = NULL;
	size_t expected_len = 0;

	exporting();
	config.log_mode = LOG_OFF;
	for (int round = 0; round < 500; round++) {
		size_t len = 1 + next_random(round % 50 == 0 ? sizeof(bytes) : 60);

		for (size_t i = 0; i < len; i++)
			bytes[i] = next_random(12) == 0 ? '\n' : (char)('a' + next_random(26));
		expected = realloc(expected, expected_len + len + 1);
		memcpy(expected + expected_len, bytes, len);
		expected_len += len;
		write_all(1, bytes, len);
		pull_all();
	}
	if (expected[expected_len - 1] != '\n')
		expected[expected_len++] = '\n';
	logline_flush_all(descriptor_of);
	pull_all();
	CHECK_INT(arrived_len, 0);
	CHECK_INT(exported_len, expected_len);
	CHECK(memcmp(exported, expected, expected_len) == 0);
	CHECK_INT(counters_get(line_exports_lost), 0);
	free(expected);
	the_end();
}

CORE_TEST(long_lines_are_exported_in_the_parts_of_their_records)
{
	static char bytes[50001];
	unsigned parts = 0;

	exporting();
	memset(bytes, 'x', sizeof(bytes));
	bytes[sizeof(bytes) - 1] = '\n';
	for (size_t at = 0; at < sizeof(bytes); at += 7001)
		write_all(1, bytes + at, sizeof(bytes) - at < 7001 ? sizeof(bytes) - at : 7001);
	for (const struct ring_line *line; (line = pull()) != NULL; parts++) {
		CHECK((line->flags & RING_FLAG_TRUNCATED) != 0);
		exported_len += line->len + 1;
	}
	CHECK_INT(exported_len, arrived_len);
	CHECK_INT(parts, 4);
	the_end();
}

CORE_TEST(a_line_has_the_ids_the_time_and_the_severity_of_its_record)
{
	struct request *request;
	struct logline_segment all = { .len = 15, .time_ns = 1234567890123456789u, .tid = 42 };
	struct iovec iov = { (char *)(uintptr_t) "ERROR: it broke", 15 };
	struct record_source source = { .stream = RECORD_STDOUT, .tid = 42 };
	const struct ring_line *line;
	struct logline_one one;

	exporting();
	config.log_mode = LOG_JSON;
	request = request_new();
	propagate_fresh(&request->ctx);
	all.request = request;
	CHECK_INT(logline_write(0, RECORD_STDERR, 77, 1, &iov, 1, 15, &all, 1), 15);
	CHECK(pull() == NULL); /* it is not out */
	all.len = 1;
	iov = (struct iovec){ (char *)(uintptr_t) "\n", 1 };
	CHECK_INT(logline_write(0, RECORD_STDERR, 77, 1, &iov, 1, 1, &all, 1), 1);
	line = pull();
	CHECK(line != NULL && line->len == 15 && memcmp(line + 1, "ERROR: it broke", 15) == 0);
	CHECK(memcmp(line->trace_id, request->ctx.trace_id, 16) == 0 &&
	      memcmp(line->span_id, request->ctx.span_id, 8) == 0);
	CHECK_INT(line->time_ns, 1234567890123456789u);
	CHECK_INT(line->tid, 42);
	CHECK_INT(line->stream, 2);
	CHECK_INT(line->severity, 17);
	CHECK_INT(line->flags & RING_FLAG_TRUNCATED, 0);
	one = (struct logline_one){ .line = { (char *)(uintptr_t) "hello\n", 6 }, .key = 1, .fd = 77 };
	CHECK(logline_one_begin(&one, 0, &source));
	CHECK_INT(logline_one_end(&one, os.write(77, one.bytes, one.len)), 6);
	line = pull();
	CHECK(line != NULL && line->len == 5 && memcmp(line + 1, "hello", 5) == 0);
	CHECK_INT(line->severity, 0);
	CHECK(memcmp(line->trace_id, (uint8_t[16]){ 0 }, 16) == 0);
	CHECK(logline_one_begin(&one, 0, &source));
	errno = EAGAIN;
	CHECK_INT(logline_one_end(&one, -1), -1);
	CHECK(pull() == NULL);
	request_unref(request);
	the_end();
}

CORE_TEST(ids_that_an_object_brings_along_are_its_own)
{
	static const char text[] = "{\"trace_id\":\"" CORE_TRACE "\",\"a\":1,\"span_id\": \"b7ad6b7169203331\"}\n"
				   "{\"trace_id\":\"nonsense\"}\n";
	const struct ring_line *line;
	char hex[33] = "";

	exporting();
	config.log_mode = LOG_JSON;
	write_all(1, text, sizeof(text) - 1);
	line = pull();
	for (int i = 0; i < 16; i++)
		sprintf(hex + 2 * i, "%02x", line->trace_id[i]);
	CHECK(strcmp(hex, CORE_TRACE) == 0);
	CHECK(memcmp(line->span_id, "\xb7\xad\x6b\x71\x69\x20\x33\x31", 8) == 0);
	line = pull();
	CHECK(memcmp(line->trace_id, (uint8_t[16]){ 0 }, 16) == 0);
	CHECK(pull() == NULL);
	the_end();
}

CORE_TEST(an_object_has_the_severity_of_its_own_level)
{
	static const struct {
		const char *line;
		enum severity severity;
	} cases[] = {
		{ "{\"level\":50,\"time\":1,\"msg\":\"x\"}", SEVERITY_ERROR },
		{ "{\"time\":10,\"level\":10}", SEVERITY_TRACE },
		{ "{\"a\":{\"level\":60},\"b\":[\"level\"],\"level\":\"warn\"}", SEVERITY_WARN },
		{ "{\"msg\":\"\\\"level\\\":60\", \"severity\" : \"INFO\"}", SEVERITY_INFO },
		{ "{\"level\":\"unheard of\",\"lvl\":\"debug\"}", SEVERITY_DEBUG },
		{ "{\"level\":3}", SEVERITY_NONE }, /* GELF's, or whose? */
		{ "{\"level\":505}", SEVERITY_NONE },
		{ "{\"level\":{\"level\":50}}", SEVERITY_NONE },
		{ "{\"msg\":\"level\"}", SEVERITY_NONE },
		{ "{\"msg\":\"ERROR\"}", SEVERITY_NONE },
		{ "{\"level\":\"error", SEVERITY_NONE },
		{ "{\"level\":50", SEVERITY_NONE },
		{ "{\"level\":", SEVERITY_NONE },
		{ "{\"level\\", SEVERITY_NONE },
		{ "{", SEVERITY_NONE },
		{ "", SEVERITY_NONE },
		{ "ERROR: no object", SEVERITY_ERROR },
	};
	size_t i, cut;

	for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		size_t len = strlen(cases[i].line);

		CHECK(line_severity(cases[i].line, len) == cases[i].severity);
		/* Cut anywhere, at the end of readable memory. */
		for (cut = 0; cut < len; cut++) {
			char *part = malloc(cut + 1);

			memcpy(part + 1, cases[i].line, cut);
			(void)line_severity(part + 1, cut);
			free(part);
		}
	}
}

CORE_TEST(nothing_is_exported_where_only_spans_are)
{
	exporting();
	config.export_logs = false;
	config.export_traces = true;
	write_all(1, "line\n", 5);
	CHECK(pull() == NULL);
	the_end();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_is_exported_is_what_arrived_however_writes_are_cut_and_fail),
		cmocka_unit_test(logs_that_are_left_as_they_are_are_exported_and_not_written),
		cmocka_unit_test(long_lines_are_exported_in_the_parts_of_their_records),
		cmocka_unit_test(a_line_has_the_ids_the_time_and_the_severity_of_its_record),
		cmocka_unit_test(ids_that_an_object_brings_along_are_its_own),
		cmocka_unit_test(an_object_has_the_severity_of_its_own_level),
		cmocka_unit_test(nothing_is_exported_where_only_spans_are),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

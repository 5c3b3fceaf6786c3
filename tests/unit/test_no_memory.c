/*
 * Memory that is not to be had, at each point in turn: the bytes pass, nothing is kept, and the counters say so.
 */
#include "core_fixture.h"

#define GET1 "GET /1 HTTP/1.1\r\n" CORE_PARENT "\r\n"
#define GET2 "GET /2 HTTP/1.1\r\n" CORE_OTHER_PARENT "\r\n"
#define OK "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
#define CALL "GET /next HTTP/1.1\r\nHost: peer.example\r\n"

static char big[2000];

static void baggage(void)
{
	size_t at = (size_t)snprintf(big, sizeof(big), "GET /1 HTTP/1.1\r\n" CORE_PARENT "baggage: a=");

	memset(big + at, 'x', 1500);
	memcpy(big + at + 1500, "\r\n\r\n", 5);
}

/* Bytes that the peer gets without any insertion; insertions are allowed, whole ones. */
static void check_bytes(struct wire *w, const char *expected)
{
	char *line;

	while ((line = memmem(w->bytes, w->len, CORE_INSERTED, 48)) != NULL ||
	       (line = memmem(w->bytes, w->len, "x-trace-id: ", 12)) != NULL) {
		char *end = memchr(line, '\n', w->len - (size_t)(line - w->bytes));

		CHECK(end != NULL);
		memmove(line, end + 1, w->len - (size_t)(end + 1 - w->bytes));
		w->len -= (size_t)(end + 1 - line);
	}
	CHECK(w->len == strlen(expected) && memcmp(w->bytes, expected, w->len) == 0);
	wire_free(w);
}

/* A server's life in short: heads cut in the middle of lines, a call, responses. */
static void live(void)
{
	struct wire w = { 0 }, answers = { 0 };
	int fd, call;

	fd = core_accept(false);
	core_receive(fd, big, 60);
	core_receive_text(fd, big + 60);
	call = -1;
	{
		struct sockaddr_in addr = { .sin_family = AF_INET };

		call = core_next_fd++;
		fds_birth(call, FD_STREAM);
		if (io_connect_begin(call, (struct sockaddr *)&addr, sizeof(addr)))
			io_connect_end(call, 0, 0);
	}
	CHECK_INT(wire_send(&w, call, CALL "Tra", sizeof(CALL) + 2), sizeof(CALL) + 2);
	CHECK_INT(wire_send(&w, call, "ce: x\r\n\r\n", 9), 9);
	check_bytes(&w, CALL "Trace: x\r\n\r\n");
	core_receive_text(call, "HTTP/1.1 200 OK\r\nContent-Le");
	core_receive_text(call, "ngth: 0\r\n\r\n");
	CHECK_INT(wire_send(&answers, fd, "HTTP/1.1 200 OK\r\nX-Tra", 22), 22);
	CHECK_INT(wire_send(&answers, fd, "ce: y\r\nContent-Length: 0\r\n\r\n", 28), 28);
	core_receive_text(fd, GET2);
	CHECK_INT(wire_send(&answers, fd, OK, sizeof(OK) - 1), sizeof(OK) - 1);
	check_bytes(&answers, "HTTP/1.1 200 OK\r\nX-Trace: y\r\nContent-Length: 0\r\n\r\n" OK);
	core_close(fd);
	core_close(call);
	current_clear();
	CHECK_INT(core_blocks_out, 0);
}

static uint64_t degradations(void)
{
	return counters_get(no_memory_skipped) + counters_get(http_poisoned);
}

static long takes_of_a_life(void)
{
	baggage();
	config.response_header = CORE_NAME("x-trace-id");
	config.propagators |= PROPAGATE_BAGGAGE;
	core_fail_takes(0, 0);
	live();
	return core_takes;
}

CORE_TEST(each_single_failure_passes_through)
{
	long count = takes_of_a_life(), i;

	CHECK(count > 8);
	CHECK_INT(degradations(), 0);
	for (i = 1; i <= count; i++) {
		uint64_t before = degradations();

		core_fail_takes(i, i);
		live();
		CHECK(core_takes < i || degradations() > before);
	}
	core_fail_takes(0, 0);
	memset(counters_page()->counter, 0, sizeof(counters_page()->counter));
	live();
	CHECK_INT(counters_get(requests), 2);
	CHECK_INT(counters_get(calls_injected), 1);
}

CORE_TEST(memory_that_runs_out_at_any_point_passes_through)
{
	long count = takes_of_a_life(), i;

	for (i = 1; i <= count; i++) {
		uint64_t before = degradations();

		core_fail_takes(i, 1000000);
		live();
		CHECK(degradations() > before);
	}
}

CORE_TEST(memory_that_comes_and_goes_passes_through)
{
	long count = takes_of_a_life(), i, k;

	for (i = 1; i <= count; i++) {
		for (k = i; k <= count; k++) {
			core_fail_takes(i, k);
			live();
		}
	}
}

CORE_TEST(a_connection_without_memory_is_nothing_until_the_number_is_born_again)
{
	int fd;

	core_fail_takes(1, 1);
	fd = core_accept(false);
	CHECK_INT(fds_word(fd), FD_NOTHING);
	CHECK_INT(counters_get(no_memory_skipped), 1);
	io_accepted(CORE_LISTENER, fd, false);
	core_receive_text(fd, GET1);
	CHECK_KNOWN(CORE_TRACE);
	core_close(fd);
}

CORE_TEST(baggage_that_finds_no_room_is_left_out_and_the_trace_is_kept)
{
	int fd;

	baggage();
	config.propagators |= PROPAGATE_BAGGAGE;
	fd = core_accept(false);
	core_fail_takes(4, 4); /* the known heads, an exchange, a request, then the large text */
	core_receive_text(fd, big);
	CHECK_KNOWN(CORE_TRACE);
	CHECK_INT(current_known()->ctx.baggage.len, 0);
	CHECK(counters_get(no_memory_skipped) > 0);
	core_close(fd);
}

CORE_TEST(a_raw_connection_without_memory_knows_nothing)
{
	int fd;

	config.raw = true;
	fd = core_accept(false);
	core_receive_text(fd, "PING\n");
	core_send_text(fd, "PONG\n");
	core_fail_takes(1, 1);
	core_receive_text(fd, "PING\n");
	CHECK_NOTHING_KNOWN();
	CHECK_INT(counters_get(no_memory_skipped), 1);
	core_send_text(fd, "PONG\n");
	core_receive_text(fd, "PING\n");
	CHECK(current_known() != NULL);
	core_close(fd);
}

/* ---- logs ---- */

static char logged[8192], messages[8192];
static size_t logged_len;

static ssize_t log_write(int fd, const void *bytes, size_t len)
{
	(void)fd;
	CHECK(logged_len + len < sizeof(logged));
	memcpy(logged + logged_len, bytes, len);
	logged_len += len;
	return (ssize_t)len;
}

static ssize_t log_writev(int fd, const struct iovec *iov, int count)
{
	ssize_t n = 0;
	int i;

	for (i = 0; i < count; i++)
		n += log_write(fd, iov[i].iov_base, iov[i].iov_len);
	return n;
}

static int log_fd(unsigned file)
{
	return file == 0 ? 1 : -1;
}

static void log_bytes(logline_key key, const char *text)
{
	struct iovec iov = { (void *)(uintptr_t)text, strlen(text) };
	struct logline_segment segment = { .len = iov.iov_len };

	CHECK_INT(logline_write(0, RECORD_STDOUT, 1, key, &iov, 1, iov.iov_len, &segment, 1), iov.iov_len);
}

/* The log without its records: the bytes that the program wrote. */
static const char *log_messages(void)
{
	const char *p = logged;
	char *out = messages;

	while (*p != '\0') {
		const char *newline = strchr(p, '\n');

		if (strncmp(p, "{\"timestamp\"", 12) != 0) {
			*out++ = *p++;
			continue;
		}
		CHECK(newline != NULL);
		for (p = strstr(p, "\"message\":\"") + 11; *p != '"'; p++)
			*out++ = *p;
		if (strncmp(newline - 16, ",\"partial\":true}", 16) != 0)
			*out++ = '\n';
		p = newline + 1;
	}
	*out = '\0';
	return messages;
}

static void log_a_little(void)
{
	memset(logged, 0, sizeof(logged));
	logged_len = 0;
	log_bytes(1, "a line\n");
	log_bytes(1, "in two ");
	log_bytes(1, "pieces\n");
	log_bytes(1, "two\nlines, ");
	log_bytes(1, "the second unfinished");
	logline_flush_all(log_fd);
	log_bytes(1, "\nthe last\n");
	logline_flush_all(log_fd);
	CHECK(strcmp(log_messages(), "a line\nin two pieces\ntwo\nlines, the second unfinished\nthe last\n") == 0);
}

CORE_TEST(log_bytes_keep_their_order_and_none_is_lost_at_each_single_failure)
{
	long count, i, k;

	config.log_mode = LOG_JSON;
	record_init();
	os.write = log_write;
	os.writev = log_writev;
	core_fail_takes(0, 0);
	log_a_little();
	count = core_takes + 1;
	CHECK(count > 6);
	CHECK_INT(counters_get(lines_raw), 0);
	for (i = 1; i <= count; i++) {
		for (k = i; k <= count; k++) {
			logline_thread_end();
			core_fail_takes(i, k);
			log_a_little();
		}
	}
	CHECK(counters_get(lines_raw) > 0);
	logline_thread_end();
}

int main(void)
{
#define TEST(name) cmocka_unit_test(name)
	const struct CMUnitTest tests[] = {
		TEST(each_single_failure_passes_through),
		TEST(memory_that_runs_out_at_any_point_passes_through),
		TEST(memory_that_comes_and_goes_passes_through),
		TEST(a_connection_without_memory_is_nothing_until_the_number_is_born_again),
		TEST(baggage_that_finds_no_room_is_left_out_and_the_trace_is_kept),
		TEST(a_raw_connection_without_memory_knows_nothing),
		TEST(log_bytes_keep_their_order_and_none_is_lost_at_each_single_failure),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

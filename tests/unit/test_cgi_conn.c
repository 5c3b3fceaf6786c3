/*
 * Connections that speak FastCGI or uwsgi, driven as the hooks do it: whose request is it when, what goes into a call, and that the peer
 * gets the program's bytes whole whatever is taken of them at a time.
 */
#include "core_fixture.h"

#include "cgi_fixture.h"

#include "cgi_conn.h"

static struct bytes *fresh(void)
{
	return calloc(1, sizeof(struct bytes));
}

#define TRACEPARENT "00-" CORE_TRACE "-b7ad6b7169203331-01"

/* A request of FastCGI whose params name a trace (NULL: none), with a body. */
static void put_request(struct bytes *b, unsigned id, unsigned flags, const char *traceparent)
{
	struct bytes *p = fresh();

	put_fastcgi_pair(p, "REQUEST_METHOD", "GET", 3, 0);
	put_fastcgi_pair(p, "REQUEST_URI", "/x", 2, 0);
	if (traceparent != NULL)
		put_fastcgi_pair(p, "HTTP_TRACEPARENT", traceparent, strlen(traceparent), 0);
	put_begin(b, id, flags);
	put_record(b, 4, id, p->at, p->len, 3);
	put_record(b, 4, id, "", 0, 0);
	put_record(b, 5, id, "body", 4, 0);
	put_record(b, 5, id, "", 0, 0);
	free(p);
}

static void put_answer(struct bytes *b, unsigned id)
{
	put_record(b, 6, id, "Status: 200 OK\r\n\r\nbody", 22, 2);
	put_record(b, 3, id, "\0\0\0\0\0\0\0\0", 8, 0);
}

static void put_packet(struct bytes *b, const char *traceparent)
{
	struct bytes *p = fresh();

	put_uwsgi_pair(p, "REQUEST_METHOD", "GET", 3);
	if (traceparent != NULL)
		put_uwsgi_pair(p, "HTTP_TRACEPARENT", traceparent, strlen(traceparent));
	put_byte(b, 0);
	put_byte(b, p->len & 0xff);
	put_byte(b, (unsigned)(p->len >> 8));
	put_byte(b, 0);
	put(b, p->at, p->len);
	free(p);
}

static void send_bytes(int fd, const struct bytes *b)
{
	struct wire w = { 0 };

	CHECK_INT(wire_send(&w, fd, b->at, b->len), b->len);
	CHECK_INT(w.len, b->len);
	wire_free(&w);
}

/* ---- served ---- */

CORE_TEST(a_request_is_the_threads_from_the_end_of_its_params_to_its_answer)
{
	struct bytes *b = fresh(), *answer = fresh();
	int fd = core_accept(false), i;
	size_t at;

	put_answer(answer, 1);
	for (i = 0; i < 3; i++) { /* one after the other on a kept connection */
		b->len = 0;
		put_request(b, 1, 1, TRACEPARENT);
		for (at = 0; at < b->len - 20; at++) {
			core_receive(fd, b->at + at, 1);
			CHECK(at >= b->len - 29 || current_known() == NULL);
		}
		CHECK_KNOWN(CORE_TRACE);
		core_receive(fd, b->at + at, b->len - at);
		CHECK_KNOWN(CORE_TRACE);
		send_bytes(fd, answer);
		core_receive(fd, "\1", 0);
	}
	CHECK_INT(counters_get(requests), 3);
	CHECK_INT(counters_get(requests_continued), 3);
	CHECK_INT(counters_get(http_poisoned), 0);
	core_close(fd);
	free(b), free(answer);
}

CORE_TEST(a_next_request_has_its_own_ids)
{
	struct bytes *b = fresh(), *answer = fresh();
	int fd = core_accept(false);

	put_request(b, 1, 1, TRACEPARENT);
	core_receive(fd, b->at, b->len);
	CHECK_KNOWN(CORE_TRACE);
	put_answer(answer, 1);
	send_bytes(fd, answer);
	b->len = 0;
	put_request(b, 1, 1, "00-" CORE_OTHER_TRACE "-b7ad6b7169203331-01");
	core_receive(fd, b->at, b->len);
	CHECK_KNOWN(CORE_OTHER_TRACE);
	core_close(fd);
	free(b), free(answer);
}

CORE_TEST(two_requests_at_a_time_are_nobodys)
{
	struct bytes *b = fresh();
	int fd = core_accept(false);

	put_request(b, 1, 1, TRACEPARENT);
	put_request(b, 2, 1, TRACEPARENT);
	core_receive(fd, b->at, b->len);
	CHECK_NOTHING_KNOWN();
	CHECK_INT(counters_get(http_poisoned), 1);
	core_close(fd);
	free(b);
}

CORE_TEST(an_answer_to_nobody_and_bytes_that_never_were_fastcgi_pass)
{
	struct bytes *b = fresh();
	int fd = core_accept(false);

	core_receive(fd, "\1\1\1\1\1\1\1\1\1", 9);
	CHECK_INT(counters_get(opaque_connections), 1);
	CHECK_INT(counters_get(http_poisoned), 0);
	core_close(fd);
	fd = core_accept(false);
	put_request(b, 1, 1, TRACEPARENT);
	core_receive(fd, b->at, b->len);
	b->len = 0;
	put_answer(b, 2);
	send_bytes(fd, b);
	CHECK_INT(counters_get(http_poisoned), 1);
	core_close(fd);
	free(b);
}

/* A length of 256 before a message looks like a packet's head, until the message comes. */
CORE_TEST(what_only_looked_like_uwsgi_is_a_request_of_an_opaque_protocol)
{
	int fd;

	config.raw = true;
	fd = core_accept(false);
	core_receive(fd, "\0\0\1\0", 4);
	CHECK_NOTHING_KNOWN();
	core_receive(fd, "a message", 9);
	CHECK(current_known() != NULL);
	CHECK_INT(counters_get(opaque_connections), 1);
	CHECK_INT(counters_get(requests_raw), 1);
	core_close(fd);
}

CORE_TEST(a_uwsgi_request_is_the_threads_when_its_packet_is_whole)
{
	struct bytes *b = fresh();
	int fd = core_accept(false);
	size_t at;

	put_packet(b, TRACEPARENT);
	for (at = 0; at < b->len; at++) {
		CHECK_NOTHING_KNOWN();
		core_receive(fd, b->at + at, at < 4 ? 4 : 1); /* the first read is not for less */
		at += at < 4 ? 3 : 0;
	}
	CHECK_KNOWN(CORE_TRACE);
	core_receive(fd, "body", 4);
	CHECK_KNOWN(CORE_TRACE);
	core_send_text(fd, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
	CHECK_INT(request_state(current_known()), REQUEST_ENDED);
	CHECK_INT(counters_get(requests), 1);
	core_receive(fd, "more", 4);
	CHECK_NOTHING_KNOWN();
	core_close(fd);
	free(b);
}

CORE_TEST(uwsgi_answers_end_with_the_connection_too)
{
	struct bytes *b = fresh();
	int fd = core_accept(false);

	put_packet(b, TRACEPARENT);
	core_receive(fd, b->at, b->len);
	core_send_text(fd, "HTTP/1.0 200 OK\r\n\r\nuntil the end");
	CHECK_KNOWN(CORE_TRACE);
	core_close(fd);
	CHECK_INT(request_state(current_known()), REQUEST_ENDED);
	CHECK_INT(counters_get(http_poisoned), 0);
	free(b);
}

/* ---- calls ---- */

/* A thread that works for CORE_TRACE, by a request of HTTP. */
static int serve_somebody(void)
{
	int fd = core_accept(false);

	core_receive_text(fd, "GET / HTTP/1.1\r\nHost: x\r\n" CORE_PARENT "\r\n");
	CHECK_KNOWN(CORE_TRACE);
	return fd;
}

/* As programs do: again after EAGAIN, and the rest after a short write. In `vectors` pieces. */
static void send_all(struct wire *w, int fd, const struct bytes *b, int vectors)
{
	size_t done = 0, rounds = 0;

	while (done < b->len) {
		struct iovec iov[4];
		size_t at = done;
		ssize_t n;
		int i;

		CHECK(++rounds < 20000);
		for (i = 0; i < vectors; i++) {
			size_t end = b->len * (size_t)(i + 1) / (size_t)vectors;

			iov[i].iov_base = (char *)(uintptr_t)b->at + at;
			iov[i].iov_len = end > at ? end - at : 0;
			at += iov[i].iov_len;
		}
		n = wire_sendv(w, fd, iov, vectors);
		CHECK(n != 0 && n <= (ssize_t)(b->len - done));
		if (n < 0)
			CHECK(errno == EAGAIN);
		else
			done += (size_t)n;
	}
}

/* Where the wire's bytes differ from the program's, they have these. Hex digits of a span are `~`. */
static void check_inserted(const struct wire *w, const struct bytes *b, size_t at, size_t swallowed,
                           const char *inserted, size_t len)
{
	size_t i;

	CHECK_INT(w->len, b->len + len - swallowed);
	CHECK(memcmp(w->bytes, b->at, at) == 0);
	for (i = 0; i < len; i++)
		CHECK(w->bytes[at + i] == inserted[i] || inserted[i] == '~');
	CHECK(memcmp(w->bytes + at + len, b->at + at + swallowed, b->len - at - swallowed) == 0);
}

#define PARAMS_OF_OURS "\1\4\1\1\0\111\0\0\020\067HTTP_TRACEPARENT00-" CORE_TRACE "-~~~~~~~~~~~~~~~~-01"
#define PAIR_OF_OURS "\020\0HTTP_TRACEPARENT\067\00000-" CORE_TRACE "-~~~~~~~~~~~~~~~~-01"

static void call_fastcgi(const int *script, int vectors)
{
	struct bytes *b = fresh(), *answer = fresh();
	int served = serve_somebody(), fd = core_connect(), i;

	put_request(b, 257, 1, NULL);
	put_answer(answer, 257);
	for (i = 0; i < 2; i++) {
		struct wire w = { .script = script };

		send_all(&w, fd, b, vectors);
		check_inserted(&w, b, b->len - 28, 0, PARAMS_OF_OURS, sizeof(PARAMS_OF_OURS) - 1);
		wire_free(&w);
		core_receive(fd, answer->at, answer->len);
	}
	CHECK_INT(counters_get(calls), 2);
	CHECK_INT(counters_get(calls_injected), 2);
	CHECK_INT(counters_get(http_poisoned), 0);
	core_close(fd);
	core_close(served);
	free(b), free(answer);
}

static const int bytewise[600] = { [0 ... 598] = 1 };
static const int threes[200] = { [0 ... 198] = 3 };
static const int stopping[] = { 60, -EAGAIN, 1, -EAGAIN, 30, -EAGAIN, 7, 1, 1, 0 };

CORE_TEST(a_call_gets_a_record_of_params_before_their_end)
{
	call_fastcgi(NULL, 1);
}

CORE_TEST(a_call_gets_it_whatever_is_taken_at_a_time)
{
	call_fastcgi(threes, 1);
	counters_page()->counter[STATUS_calls] = counters_page()->counter[STATUS_calls_injected] = 0;
	call_fastcgi(stopping, 1);
}

CORE_TEST(a_call_of_its_own_trace_is_left_alone)
{
	struct bytes *b = fresh();
	int served = serve_somebody(), fd = core_connect();

	put_request(b, 1, 0, "00-" CORE_OTHER_TRACE "-b7ad6b7169203331-01");
	send_bytes(fd, b);
	CHECK_INT(counters_get(calls_own_headers), 1);
	core_close(fd);
	fd = core_connect();
	b->len = 0;
	put_packet(b, "00-" CORE_OTHER_TRACE "-b7ad6b7169203331-01");
	send_bytes(fd, b);
	CHECK_INT(counters_get(calls_own_headers), 2);
	CHECK_INT(counters_get(calls_injected), 0);
	core_close(fd);
	core_close(served);
	free(b);
}

CORE_TEST(a_call_of_nobodys_gets_nothing)
{
	struct bytes *b = fresh();
	int fd;

	current_serve();
	fd = core_connect();
	put_request(b, 1, 0, NULL);
	send_bytes(fd, b);
	CHECK_INT(counters_get(calls_unknown), 1);
	core_close(fd);
	free(b);
}

static void call_uwsgi(const int *script, int vectors)
{
	struct wire w = { .script = script };
	struct bytes *b = fresh();
	int served = serve_somebody(), fd = core_connect();
	char ours[4 + sizeof(PAIR_OF_OURS)];
	size_t len;

	put_packet(b, NULL);
	len = (unsigned char)b->at[1] + sizeof(PAIR_OF_OURS) - 1;
	ours[0] = ours[3] = 0;
	ours[1] = (char)len;
	ours[2] = (char)(len >> 8);
	memcpy(ours + 4, PAIR_OF_OURS, sizeof(PAIR_OF_OURS) - 1);
	put(b, "body of the request", 19);
	send_all(&w, fd, b, vectors);
	check_inserted(&w, b, 0, 4, ours, 4 + sizeof(PAIR_OF_OURS) - 1);
	wire_free(&w);
	core_receive_text(fd, "HTTP/1.1 204 No Content\r\n\r\n");
	CHECK_INT(counters_get(calls_injected), 1);
	CHECK_INT(counters_get(http_poisoned), 0);
	counters_page()->counter[STATUS_calls_injected] = 0;
	core_close(fd);
	core_close(served);
	free(b);
}

CORE_TEST(a_uwsgi_call_gets_another_head_and_a_variable)
{
	call_uwsgi(NULL, 1);
	call_uwsgi(NULL, 3);
}

CORE_TEST(a_uwsgi_call_gets_it_whatever_is_taken_at_a_time)
{
	call_uwsgi(bytewise, 1);
	call_uwsgi(threes, 2);
	call_uwsgi((const int[]){ 2, -EAGAIN, 1, -EAGAIN, 50, -EAGAIN, 31, 0 }, 1);
}

CORE_TEST(a_uwsgi_packet_that_is_not_whole_in_one_call_is_left_alone)
{
	struct wire w = { 0 };
	struct bytes *b = fresh();
	int served = serve_somebody(), fd = core_connect();

	put_packet(b, NULL);
	CHECK_INT(wire_send(&w, fd, b->at, 20), 20);
	CHECK_INT(wire_send(&w, fd, b->at + 20, b->len - 20), b->len - 20);
	CHECK(w.len == b->len && memcmp(w.bytes, b->at, b->len) == 0);
	CHECK_INT(counters_get(heads_skipped), 1);
	wire_free(&w);
	core_close(fd);
	core_close(served);
	free(b);
}

/* uWSGI refuses what is longer than its buffer: 4,096 bytes, or a multiple of that which somebody has set. */
CORE_TEST(a_uwsgi_packet_that_fits_its_readers_buffer_still_fits)
{
	static const struct {
		size_t packet, grows;
	} cases[] = {
		{ 4096, 0 },
		{ 4097 - sizeof(PAIR_OF_OURS), sizeof(PAIR_OF_OURS) - 1 },
		{ 4098 - sizeof(PAIR_OF_OURS), 0 },
		{ 4097, sizeof(PAIR_OF_OURS) - 1 },
		{ 8192, 0 },
		{ 65535, 0 },
		{ 61440, 0 },
		{ 65000, sizeof(PAIR_OF_OURS) - 1 },
	};
	static char filler[65536];
	size_t i;

	memset(filler, 'f', sizeof(filler));
	for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct wire w = { 0 };
		struct bytes *b = fresh();
		int served = serve_somebody(), fd = core_connect();
		size_t len;

		put_packet(b, NULL);
		len = b->len - 4;
		put_uwsgi_pair(b, "X", filler, cases[i].packet - len - 5);
		b->at[1] = (char)(cases[i].packet & 0xff);
		b->at[2] = (char)(cases[i].packet >> 8);
		CHECK_INT(b->len, cases[i].packet + 4);
		CHECK_INT(wire_send(&w, fd, b->at, b->len), b->len);
		CHECK_INT(w.len, b->len + cases[i].grows);
		wire_free(&w);
		core_close(fd);
		core_close(served);
		free(b);
	}
	CHECK_INT(counters_get(heads_skipped), 5);
}

/* Another protocol's packet may be made likewise: what asks for nothing is none of a web server's. */
CORE_TEST(a_packet_of_variables_that_names_no_method_is_left_alone)
{
	struct wire w = { 0 };
	struct bytes *b = fresh();
	int served = serve_somebody(), fd = core_connect();

	put_packet(b, NULL);
	memcpy(memmem(b->at, b->len, "REQUEST_METHOD", 14), "REQUIRED_VALUE", 14);
	CHECK_INT(wire_send(&w, fd, b->at, b->len), b->len);
	CHECK(w.len == b->len && memcmp(w.bytes, b->at, b->len) == 0);
	CHECK_INT(counters_get(calls_injected), 0);
	wire_free(&w);
	core_close(fd);
	core_close(served);
	free(b);
}

/* Each allocation fails in turn: the peer gets the program's bytes, with the insertion or without it. */
CORE_TEST(without_memory_calls_pass)
{
	struct bytes *b = fresh(), *p = fresh();
	int served = serve_somebody(), i;

	put_request(b, 257, 1, NULL);
	put_packet(p, NULL);
	for (i = 1; i < 8; i++) {
		struct wire w = { 0 }, u = { 0 };
		int fd;

		fd = core_connect();
		core_fail_takes(i, i);
		CHECK_INT(wire_send(&w, fd, b->at, b->len), b->len);
		core_fail_takes(0, 0);
		if (w.len != b->len)
			check_inserted(&w, b, b->len - 28, 0, PARAMS_OF_OURS, sizeof(PARAMS_OF_OURS) - 1);
		core_close(fd);
		fd = core_connect();
		core_fail_takes(i, 100);
		CHECK_INT(wire_send(&u, fd, p->at, p->len), p->len);
		core_fail_takes(0, 0);
		CHECK(u.len == p->len || u.len == p->len + sizeof(PAIR_OF_OURS) - 1);
		core_close(fd);
		wire_free(&w), wire_free(&u);
	}
	core_close(served);
	free(b), free(p);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_request_is_the_threads_from_the_end_of_its_params_to_its_answer),
		cmocka_unit_test(a_next_request_has_its_own_ids),
		cmocka_unit_test(two_requests_at_a_time_are_nobodys),
		cmocka_unit_test(an_answer_to_nobody_and_bytes_that_never_were_fastcgi_pass),
		cmocka_unit_test(what_only_looked_like_uwsgi_is_a_request_of_an_opaque_protocol),
		cmocka_unit_test(a_uwsgi_request_is_the_threads_when_its_packet_is_whole),
		cmocka_unit_test(uwsgi_answers_end_with_the_connection_too),
		cmocka_unit_test(a_call_gets_a_record_of_params_before_their_end),
		cmocka_unit_test(a_call_gets_it_whatever_is_taken_at_a_time),
		cmocka_unit_test(a_call_of_its_own_trace_is_left_alone),
		cmocka_unit_test(a_call_of_nobodys_gets_nothing),
		cmocka_unit_test(a_uwsgi_call_gets_another_head_and_a_variable),
		cmocka_unit_test(a_uwsgi_call_gets_it_whatever_is_taken_at_a_time),
		cmocka_unit_test(a_uwsgi_packet_that_is_not_whole_in_one_call_is_left_alone),
		cmocka_unit_test(a_uwsgi_packet_that_fits_its_readers_buffer_still_fits),
		cmocka_unit_test(a_packet_of_variables_that_names_no_method_is_left_alone),
		cmocka_unit_test(without_memory_calls_pass),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

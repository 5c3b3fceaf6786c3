/*
 * Sending: whatever the kernel takes, the peer gets the program's bytes with each insertion whole and once, and the program
 * gets its own counts. long: a test for each way that a call can go, on one scripted kernel.
 */
#include <sched.h>
#include <sys/mman.h>

#include "core_fixture.h"

#define GET "GET /next HTTP/1.1\r\nHost: peer.example\r\n"
#define HEAD_AT(text) (text), sizeof(text) - 1

static int served; /* the connection whose request this thread works for */

static void begin_request(const char *parent)
{
	served = core_accept(false);
	core_receive_text(served, "GET / HTTP/1.1\r\nHost: us\r\n");
	core_receive_text(served, parent);
	core_receive_text(served, "\r\n");
}

/* The program sends `bytes` as programs do: again after EINTR and EAGAIN, and the rest after a short write. */
static void send_all(struct wire *w, int fd, const char *bytes, size_t len)
{
	size_t done = 0, rounds = 0;

	while (done < len) {
		ssize_t n = wire_send(w, fd, bytes + done, len - done);

		CHECK(++rounds < 10000);
		CHECK(n != 0 && n <= (ssize_t)(len - done));
		if (n < 0)
			CHECK(errno == EAGAIN || errno == EINTR);
		else
			done += (size_t)n;
	}
}

static char *const message = (char[]){ GET "\r\n" };
#define EXPECTED GET CORE_INSERTED "\r\n"

CORE_TEST(a_call_within_a_request_carries_its_trace_on)
{
	struct wire w = { 0 };
	int fd;

	begin_request(CORE_PARENT);
	fd = core_connect();
	CHECK_INT(wire_send(&w, fd, HEAD_AT(GET "\r\n")), sizeof(GET "\r\n") - 1);
	CHECK_WIRE(&w, EXPECTED);
	CHECK_INT(counters_get(calls), 1);
	CHECK_INT(counters_get(calls_injected), 1);
	wire_free(&w);
	core_close(fd);
	core_close(served);
}

/* A kernel that takes k bytes and then everything, k bytes twice, and k bytes a call. */
CORE_TEST(an_insertion_is_whole_and_once_whatever_the_kernel_takes_first)
{
	size_t whole = strlen(EXPECTED);
	int k, shape;

	begin_request(CORE_PARENT);
	for (shape = 0; shape < 3; shape++) {
		for (k = 1; k <= (int)whole + 1; k++) {
			int script[1024] = { 0 }, i;
			struct wire w = { .script = script };
			int fd = core_connect();

			for (i = 0; i < (shape == 0 ? 1 : shape == 1 ? 2 : 1023); i++)
				script[i] = k;
			send_all(&w, fd, message, strlen(message));
			CHECK_WIRE(&w, EXPECTED);
			wire_free(&w);
			core_close(fd);
		}
	}
	CHECK_INT(counters_get(calls_injected), 3 * (whole + 1));
	core_close(served);
}

CORE_TEST(an_insertion_is_whole_and_once_whenever_the_kernel_refuses)
{
	static const int errors[] = { EAGAIN, EINTR };
	size_t e, whole = strlen(EXPECTED);
	int k, shape;

	begin_request(CORE_PARENT);
	for (e = 0; e < 2; e++) {
		for (shape = 0; shape < 2; shape++) {
			for (k = 1; k <= (int)whole + 1; k++) {
				int script[1024] = { 0 }, i;
				struct wire w = { .script = script };
				int fd = core_connect();

				for (i = 0; i < (shape == 0 ? 2 : 1000); i += 2) {
					script[i] = k;
					script[i + 1] = -errors[e];
				}
				send_all(&w, fd, message, strlen(message));
				CHECK_WIRE(&w, EXPECTED);
				wire_free(&w);
				core_close(fd);
			}
		}
	}
	core_close(served);
}

CORE_TEST(a_failed_call_reports_what_went_out_before_and_then_the_error)
{
	int script[] = { 5, -ECONNRESET, -ECONNRESET, 0 };
	struct wire w = { .script = script };
	int fd;

	begin_request(CORE_PARENT);
	fd = core_connect();
	CHECK_INT(wire_send(&w, fd, message, strlen(message)), 5);
	errno = 0;
	CHECK_INT(wire_send(&w, fd, message + 5, strlen(message) - 5), -1);
	CHECK_INT(errno, ECONNRESET);
	wire_free(&w);
	core_close(fd);
	core_close(served);
}

/* The program that gives up after a part of the insertion went out, and closes, leaves nothing behind. */
CORE_TEST(a_half_sent_insertion_dies_with_its_connection)
{
	int script[] = { (int)sizeof(GET) - 1 + 9, -EPIPE, 0 };
	struct wire w = { .script = script };
	int fd;

	begin_request(CORE_PARENT);
	fd = core_connect();
	CHECK_INT(wire_send(&w, fd, message, strlen(message)), sizeof(GET) - 1);
	CHECK(core_conn(fd)->pending != NULL);
	errno = 0;
	CHECK_INT(wire_send(&w, fd, "\r\n", 2), -1);
	CHECK_INT(errno, EPIPE);
	core_close(fd);
	wire_free(&w);
	core_close(served);
}

CORE_TEST(any_number_of_vectors_gives_the_same_bytes)
{
	char *head = (char[]){ GET "A: b\r\n\r\n" };
	size_t len = strlen(head);
	int vectors, k;

	begin_request(CORE_PARENT);
	for (vectors = 1; vectors <= 40; vectors++) {
		for (k = 1; k < 160; k += 3) {
			int script[] = { k, 0 };
			struct wire w = { .script = script };
			size_t done = 0, rounds = 0;
			int fd = core_connect();

			while (done < len) {
				struct iovec iov[40];
				size_t at = done;
				ssize_t n;
				int i;

				CHECK(++rounds < 100);
				for (i = 0; i < vectors; i++) {
					size_t end = len * (size_t)(i + 1) / (size_t)vectors;

					iov[i].iov_base = head + at;
					iov[i].iov_len = end > at ? end - at : 0; /* empty ones come first */
					at += iov[i].iov_len;
				}
				n = wire_sendv(&w, fd, iov, vectors);
				CHECK(n > 0 && (size_t)n <= len - done);
				done += (size_t)n;
			}
			CHECK_WIRE(&w, GET "A: b\r\n" CORE_INSERTED "\r\n");
			CHECK(w.most <= 40);
			wire_free(&w);
			core_close(fd);
		}
	}
	core_close(served);
}

#define POST "POST / HTTP/1.1\r\nHost: b\r\nContent-Length: 5\r\n"
#define CHUNKED "PUT / HTTP/1.1\r\nHost: b\r\nTransfer-Encoding: chunked\r\n"

CORE_TEST(each_of_several_messages_in_one_call_gets_its_insertion)
{
	char *bytes = (char[]){ GET "\r\n" POST "\r\nhello" CHUNKED "\r\n3\r\nabc\r\n0\r\n\r\n" GET "\r\n" };
	size_t len = strlen(bytes);
	const char *expected = GET CORE_INSERTED "\r\n" POST CORE_INSERTED "\r\nhello" CHUNKED CORE_INSERTED
						 "\r\n3\r\nabc\r\n0\r\n\r\n" GET CORE_INSERTED "\r\n";
	int k;

	begin_request(CORE_PARENT);
	for (k = 0; k <= (int)strlen(expected); k++) {
		int script[1500] = { 0 }, i;
		struct wire w = { .script = script };
		int fd = core_connect();

		/* k 0: all at once; then k bytes a call, with a refusal in between. */
		for (i = 0; k > 0 && i < 1499; i++)
			script[i] = i % 3 == 2 ? -EAGAIN : k;
		send_all(&w, fd, bytes, len);
		CHECK_WIRE(&w, expected);
		wire_free(&w);
		core_close(fd);
	}
	core_close(served);
}

CORE_TEST(a_blocking_call_with_several_messages_is_taken_whole)
{
	const char *bytes = GET "\r\n" POST "\r\nhello" GET "\r\n";
	struct wire w = { 0 };
	int fd;

	begin_request(CORE_PARENT);
	fd = core_connect();
	CHECK_INT(wire_send(&w, fd, bytes, strlen(bytes)), strlen(bytes));
	CHECK_INT(counters_get(calls), 3);
	wire_free(&w);
	core_close(fd);
	core_close(served);
}

CORE_TEST(a_body_that_looks_like_a_head_gets_nothing)
{
	const char *bytes = "POST / HTTP/1.1\r\nHost: b\r\nContent-Length: 18\r\n\r\nGET / HTTP/1.1\r\n\r\n" GET "\r\n";
	struct wire w = { 0 };
	int fd;

	begin_request(CORE_PARENT);
	fd = core_connect();
	send_all(&w, fd, bytes, strlen(bytes));
	CHECK_WIRE(&w, "POST / HTTP/1.1\r\nHost: b\r\nContent-Length: 18\r\n" CORE_INSERTED
	               "\r\nGET / HTTP/1.1\r\n\r\n" EXPECTED);
	wire_free(&w);
	core_close(fd);
	core_close(served);
}

CORE_TEST(what_is_sent_behind_a_connect_gets_nothing)
{
	static const char connect_head[] = "CONNECT a:1 HTTP/1.1\r\nHost: a:1\r\n";
	struct wire w = { 0 };
	int fd, together;

	begin_request(CORE_PARENT);
	for (together = 0; together < 2; together++) {
		char text[256];

		fd = core_connect();
		snprintf(text, sizeof(text), "%s\r\n" GET "\r\n", connect_head);
		if (together) {
			CHECK_INT(wire_send(&w, fd, text, strlen(text)), strlen(text));
		} else {
			CHECK_INT(wire_send(&w, fd, text, sizeof(connect_head) + 1), sizeof(connect_head) + 1);
			CHECK_INT(wire_send(&w, fd, GET "\r\n", sizeof(GET) + 1), sizeof(GET) + 1);
		}
		snprintf(text, sizeof(text), "%s" CORE_INSERTED "\r\n" GET "\r\n", connect_head);
		CHECK_WIRE(&w, text);
		wire_free(&w);
		core_close(fd);
	}
	core_close(served);
}

CORE_TEST(a_head_with_trace_headers_of_its_own_is_left_alone)
{
	static const char *const own[] = {
		"traceparent: 00-" CORE_OTHER_TRACE "-b7ad6b7169203331-01\r\n",
		"TraceParent: nonsense\r\n",
		"b3: 0\r\n",
		"X-B3-TraceId: 1\r\n",
		"uber-trace-id: 1:1:0:1\r\n",
	};
	size_t i;

	begin_request(CORE_PARENT);
	for (i = 0; i < sizeof(own) / sizeof(own[0]); i++) {
		char bytes[300];
		size_t k;

		snprintf(bytes, sizeof(bytes), GET "%s\r\n", own[i]);
		for (k = 1; k <= strlen(bytes); k++) {
			int script[600] = { 0 }, j;
			struct wire w = { .script = script };
			int fd = core_connect();

			for (j = 0; j < 599; j++)
				script[j] = (int)k;
			send_all(&w, fd, bytes, strlen(bytes));
			CHECK_WIRE(&w, bytes);
			wire_free(&w);
			core_close(fd);
		}
	}
	CHECK_INT(counters_get(calls_injected), 0);
	CHECK(counters_get(calls_own_headers) > 0);
	CHECK_INT(counters_get(calls_own_headers), counters_get(calls));
	core_close(served);
}

CORE_TEST(hosts_outside_the_list_get_nothing_wherever_the_host_line_is_cut)
{
	static const struct {
		const char *host;
		bool allowed;
	} hosts[] = {
		{ "inside.example", true }, { "INSIDE.example:80", true }, { "outside.example", false }, { "", false }
	};
	size_t i, cut;

	config.propagate_hosts = CORE_NAME("inside.example");
	begin_request(CORE_PARENT);
	for (i = 0; i < 4; i++) {
		char bytes[200], expected[300];
		size_t len =
			(size_t)snprintf(bytes, sizeof(bytes), "GET / HTTP/1.1\r\nHost: %s\r\n\r\n", hosts[i].host);

		snprintf(expected, sizeof(expected), "GET / HTTP/1.1\r\nHost: %s\r\n%s\r\n", hosts[i].host,
		         hosts[i].allowed ? CORE_INSERTED : "");
		for (cut = 1; cut < len; cut++) {
			struct wire w = { 0 };
			int fd = core_connect();

			send_all(&w, fd, bytes, cut);
			send_all(&w, fd, bytes + cut, len - cut);
			CHECK_WIRE(&w, expected);
			wire_free(&w);
			core_close(fd);
		}
	}
	CHECK(counters_get(calls_not_allowed) > 0);
	CHECK_INT(counters_get(calls), counters_get(calls_not_allowed) + counters_get(calls_injected));
	core_close(served);
}

CORE_TEST(a_head_without_host_is_not_allowed_when_hosts_are_listed)
{
	struct wire w = { 0 };
	int fd;

	config.propagate_hosts = CORE_NAME("inside.example");
	begin_request(CORE_PARENT);
	fd = core_connect();
	send_all(&w, fd, HEAD_AT("GET / HTTP/1.0\r\n\r\n"));
	CHECK_WIRE(&w, "GET / HTTP/1.0\r\n\r\n");
	wire_free(&w);
	core_close(fd);
	core_close(served);
}

CORE_TEST(a_server_whose_request_is_not_known_adds_nothing)
{
	struct wire w = { 0 };
	int fd;

	begin_request(CORE_PARENT);
	io_accept_begin(); /* a wait for new work: the thread works for nobody now */
	fd = core_connect();
	config.root = true;
	send_all(&w, fd, message, strlen(message));
	CHECK_WIRE(&w, GET "\r\n");
	CHECK_INT(counters_get(calls_unknown), 1);
	wire_free(&w);
	core_close(fd);
	core_close(served);
}

CORE_TEST(a_program_that_serves_nothing_gives_each_call_a_trace_of_its_own)
{
	struct wire w = { 0 };
	int fd = core_connect(), k;

	config.root = true;
	send_all(&w, fd, message, strlen(message));
	CHECK_WIRE(&w, GET "traceparent: 00-~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~-~~~~~~~~~~~~~~~~-0~\r\n\r\n");
	wire_free(&w);
	core_close(fd);
	for (k = 1; k < 150; k++) {
		int script[] = { k, -EAGAIN, k, 0 };

		w.script = script;
		fd = core_connect();
		send_all(&w, fd, message, strlen(message));
		CHECK_WIRE(&w, GET "traceparent: 00-~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~-~~~~~~~~~~~~~~~~-0~\r\n\r\n");
		wire_free(&w);
		core_close(fd);
	}
	config.root = false;
	fd = core_connect();
	send_all(&w, fd, message, strlen(message));
	CHECK_WIRE(&w, GET "\r\n");
	wire_free(&w);
	core_close(fd);
}

CORE_TEST(what_is_not_http_passes_untouched)
{
	static const char *const streams[] = {
		"*1\r\n$4\r\nPING\r\n",
		"EHLO x\r\n\r\n",
		"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
		"\x16\x03\x01\x02",
		"GET / HTTP/1.1\nHost: bare\n\n",
		"GET / HTTP/1.1\r\nBad Name: x\r\n\r\n",
		"GET / HTTP/2.0\r\n\r\n",
	};
	size_t i, k;

	begin_request(CORE_PARENT);
	for (i = 0; i < sizeof(streams) / sizeof(streams[0]); i++) {
		for (k = 1; k <= strlen(streams[i]); k++) {
			struct wire w = { 0 };
			int fd = core_connect();

			send_all(&w, fd, streams[i], k);
			send_all(&w, fd, streams[i] + k, strlen(streams[i]) - k);
			send_all(&w, fd, GET "\r\n", sizeof(GET) + 1);
			CHECK_INT(w.len, strlen(streams[i]) + sizeof(GET) + 1);
			CHECK(memmem(w.bytes, w.len, "traceparent", 11) == NULL);
			wire_free(&w);
			core_close(fd);
		}
	}
	core_close(served);
}

/* ---- the response header ---- */

#define OK "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n"
#define RESPONSE_LINE "x-trace-id: " CORE_TRACE "\r\n"

CORE_TEST(a_response_gets_its_header_whatever_the_kernel_takes)
{
	char *bytes = (char[]){ "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n" OK "\r\nhi" };
	const char *expected = "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n" OK RESPONSE_LINE "\r\nhi";
	int k;

	config.response_header = CORE_NAME("x-trace-id");
	for (k = 0; k <= (int)strlen(expected); k++) {
		int script[700] = { 0 }, i;
		struct wire w = { .script = script };

		for (i = 0; k > 0 && i < 699; i++)
			script[i] = i % 3 == 2 ? -EAGAIN : k;
		begin_request(CORE_PARENT);
		send_all(&w, served, bytes, strlen(bytes));
		CHECK_WIRE(&w, expected);
		wire_free(&w);
		core_close(served);
	}
	CHECK_INT(counters_get(response_headers), strlen(expected) + 1);
}

CORE_TEST(pipelined_responses_in_one_call_get_the_header_of_their_own_request)
{
	struct wire w = { 0 };
	int fd;

	config.response_header = CORE_NAME("x-trace-id");
	fd = core_accept(false);
	core_receive_text(fd, "GET /1 HTTP/1.1\r\n" CORE_PARENT "\r\nGET /2 HTTP/1.1\r\n" CORE_OTHER_PARENT "\r\n");
	send_all(&w, fd, HEAD_AT(OK "\r\nhi" OK "\r\nho"));
	CHECK_WIRE(&w, OK RESPONSE_LINE "\r\nhi" OK "x-trace-id: " CORE_OTHER_TRACE "\r\n\r\nho");
	wire_free(&w);
	core_close(fd);
}

CORE_TEST(a_response_that_has_the_header_already_is_left_alone)
{
	struct wire w = { 0 };

	config.response_header = CORE_NAME("x-trace-id");
	begin_request(CORE_PARENT);
	send_all(&w, served, HEAD_AT("HTTP/1.1 204 No Content\r\nX-Trace-Id: own\r\n\r\n"));
	CHECK_WIRE(&w, "HTTP/1.1 204 No Content\r\nX-Trace-Id: own\r\n\r\n");
	wire_free(&w);
	core_close(served);
}

/* By io_answer_begin alone. Returns the call's result; -2: it is left to io_send_begin. */
static ssize_t answer(struct wire *w, int fd, const struct iovec *iov, int count)
{
	struct iovec v[IO_ANSWER_VECTORS];
	struct io_send io;

	w->emitter.emit = wire_emit;
	if (count <= 0 || count > IO_ANSWER_VECTORS || !io_answer_begin(&io, fd, fds_word(fd), iov, count, v))
		return -2;
	return io_answer_end(&io, wire_emit(&w->emitter, v, count));
}

static void answer_like_the_last_one(const char *expected)
{
	struct iovec iov[2] = { { (char[]){ OK "\r\n" }, sizeof(OK "\r\n") - 1 }, { (char[]){ "hi" }, 2 } };
	const size_t total = iov[0].iov_len + 2;
	int k;

	for (k = 0; k <= (int)strlen(expected); k++) {
		int script[2] = { k == 0 ? -EAGAIN : k, 0 };
		struct wire w = { .script = script }, taught = { 0 };
		size_t done;
		ssize_t n;

		begin_request(CORE_PARENT); /* a head that goes out in parts is forgotten */
		CHECK_INT(wire_sendv(&taught, served, iov, 2), (ssize_t)total);
		wire_free(&taught);
		core_close(served);

		begin_request(CORE_PARENT);
		errno = 0;
		n = answer(&w, served, iov, 2);
		CHECK(n != -2);
		CHECK(n == -1 ? errno == EAGAIN && k == 0 : errno == 0 && n >= 0 && n <= (ssize_t)total);
		done = n < 0 ? 0 : (size_t)n;
		/* The program comes back with what is left; when none of its own bytes went out it was told so. */
		if (done < iov[0].iov_len) {
			struct iovec rest[2] = { { (char *)iov[0].iov_base + done, iov[0].iov_len - done }, iov[1] };

			CHECK_INT(wire_sendv(&w, served, rest, 2), (ssize_t)(total - done));
		} else if (done < total) {
			struct iovec rest = { (char *)iov[1].iov_base + (done - iov[0].iov_len), total - done };

			CHECK_INT(wire_sendv(&w, served, &rest, 1), (ssize_t)(total - done));
		}
		CHECK_WIRE(&w, expected);
		CHECK(core_conn(served)->first == NULL && core_conn(served)->mode == CONN_HTTP1);
		wire_free(&w);
		core_close(served);
	}
}

CORE_TEST(an_answer_like_the_last_one_goes_the_short_way_whatever_the_kernel_takes)
{
	const char *expected = OK RESPONSE_LINE "\r\nhi";

	config.response_header = CORE_NAME("x-trace-id");
	answer_like_the_last_one(expected);
	CHECK_INT(counters_get(response_headers), 2 * (strlen(expected) + 1));
}

CORE_TEST(so_does_one_that_gets_no_header)
{
	answer_like_the_last_one(OK "\r\nhi");
	CHECK_INT(counters_get(response_headers), 0);
}

CORE_TEST(an_answer_that_is_none_of_the_usual_is_left_to_the_long_way)
{
	struct iovec whole = { (char[]){ OK "\r\nhi" }, sizeof(OK "\r\nhi") - 1 }, two = whole;
	struct iovec two_messages = { (char[]){ OK "\r\nhi" OK "\r\nho" }, 2 * whole.iov_len };
	struct iovec many[IO_ANSWER_VECTORS + 1] = { whole }, bad = { (void *)64, 100 };
	struct wire w = { 0 };
	struct conn *conn;
	int fd;

	config.response_header = CORE_NAME("x-trace-id");
	begin_request(CORE_PARENT);
	CHECK_INT(answer(&w, served, &whole, 1), -2); /* not known */
	CHECK_INT(wire_sendv(&w, served, &whole, 1), (ssize_t)whole.iov_len);
	CHECK_INT(answer(&w, served, &whole, 1), -2); /* to no request */
	core_close(served);

	begin_request(CORE_PARENT);
	conn = core_conn(served);
	CHECK_INT(answer(&w, served, &bad, 1), -2);
	CHECK_INT(answer(&w, served, many, IO_ANSWER_VECTORS + 1), -2);
	CHECK_INT(answer(&w, served, &two_messages, 1), -2);
	two.iov_len--;
	CHECK(answer(&w, served, &two, 1) == (ssize_t)two.iov_len); /* its body is not complete */
	CHECK_INT(answer(&w, served, &whole, 1), -2);               /* in the midst of an answer */
	core_close(served);

	begin_request(CORE_PARENT);
	conn = core_conn(served);
	conn->lock = 12345;
	CHECK_INT(answer(&w, served, &whole, 1), -2);
	CHECK(!conn->missed && conn->lock == 12345);
	conn->lock = 0;
	fd = core_connect();
	CHECK_INT(answer(&w, fd, &whole, 1), -2);
	core_close(fd);
	CHECK_INT(answer(&w, served, &whole, 1), (ssize_t)whole.iov_len);
	wire_free(&w);
	core_close(served);
}

/* A connection on which `call` was made often enough that its head is known, and answered, by the thread at hand. */
static int taught_to_call(const char *call)
{
	int fd = core_connect();

	for (int i = 0; i < 9; i++) {
		struct wire w = { 0 };

		CHECK_INT(wire_send(&w, fd, call, strlen(call)), (ssize_t)strlen(call));
		wire_free(&w);
		core_receive_text(fd, OK "\r\nhi");
	}
	CHECK(core_conn(fd)->first == NULL && core_conn(fd)->mode == CONN_HTTP1);
	return fd;
}

CORE_TEST(a_call_like_the_last_one_goes_the_short_way_whatever_the_kernel_takes)
{
	struct iovec iov[2] = { { message, strlen(message) - 2 }, { (char[]){ "\r\n" }, 2 } },
		     one = { message, strlen(message) };
	unsigned calls = 0;
	int k;

	begin_request(CORE_PARENT);
	for (k = 0; k <= (int)strlen(EXPECTED); k++) {
		int script[2] = { k == 0 ? -EAGAIN : k, 0 };
		struct wire w = { .script = script };
		int fd = taught_to_call(message);
		ssize_t n;

		CHECK_INT(answer(&w, fd, iov, 2), -2); /* its blank line lies elsewhere */
		errno = 0;
		n = answer(&w, fd, &one, 1);
		CHECK(n == -1 ? errno == EAGAIN && k == 0 : errno == 0 && n >= 0 && n <= (ssize_t)one.iov_len);
		if (n < (ssize_t)one.iov_len)
			send_all(&w, fd, message + (n < 0 ? 0 : n), one.iov_len - (n < 0 ? 0 : (size_t)n));
		CHECK_WIRE(&w, EXPECTED);
		calls += 10;
		CHECK_INT(counters_get(calls), calls);
		CHECK_INT(counters_get(calls_injected), calls);
		CHECK(core_conn(fd)->first != NULL &&
		      core_conn(fd)->first->request == core_conn(served)->first->request);
		core_receive_text(fd, OK "\r\nhi");
		CHECK(core_conn(fd)->first == NULL && core_conn(fd)->mode == CONN_HTTP1);
		wire_free(&w);
		core_close(fd);
	}
	core_close(served);
}

CORE_TEST(a_call_of_nobody_s_goes_the_short_way_as_it_is)
{
	struct iovec iov = { message, strlen(message) };
	struct wire w = { 0 };
	int fd;

	begin_request(CORE_PARENT);
	fd = taught_to_call(message);
	current_clear();
	CHECK_INT(answer(&w, fd, &iov, 1), (ssize_t)iov.iov_len);
	CHECK_WIRE(&w, message);
	CHECK_INT(counters_get(calls_unknown), 1);
	CHECK(core_conn(fd)->first->request == NULL);
	wire_free(&w);
	core_close(fd);
	core_close(served);
}

CORE_TEST(a_call_that_is_none_of_the_usual_is_left_to_the_long_way)
{
	static char own[] = "GET / HTTP/1.1\r\nHost: us\r\ntraceparent: own\r\n\r\n",
		    elsewhere[] = "GET / HTTP/1.1\r\nHost: them\r\n\r\n", tunnel[] = "CONNECT us:1 HTTP/1.1\r\n\r\n";
	struct iovec usual = { message, strlen(message) }, iov;
	struct wire w = { 0 };
	int fd;

	begin_request(CORE_PARENT);
	config.propagate_hosts = CORE_NAME("us");
	fd = taught_to_call(own);
	iov = (struct iovec){ own, sizeof(own) - 1 };
	CHECK_INT(answer(&w, fd, &iov, 1), -2);
	core_close(fd);
	fd = taught_to_call(elsewhere);
	iov = (struct iovec){ elsewhere, sizeof(elsewhere) - 1 };
	CHECK_INT(answer(&w, fd, &iov, 1), -2);
	core_close(fd);
	config.propagate_hosts.len = 0;
	fd = taught_to_call(message);
	core_close(fd);
	fd = core_connect();
	CHECK_INT(answer(&w, fd, &usual, 1), -2); /* the connection's first */
	CHECK_INT(wire_send(&w, fd, HEAD_AT("POST / HTTP/1.1\r\nContent-Length: 100\r\n\r\n")), 40);
	core_close(taught_to_call(message));
	CHECK_INT(answer(&w, fd, &usual, 1), -2); /* in the midst of a call */
	core_close(fd);
	fd = taught_to_call(message);
	core_conn(fd)->lock = 12345;
	CHECK_INT(answer(&w, fd, &usual, 1), -2);
	CHECK(!core_conn(fd)->missed && core_conn(fd)->lock == 12345);
	core_conn(fd)->lock = 0;
	CHECK_INT(answer(&w, fd, &usual, 1), (ssize_t)usual.iov_len);
	core_receive_text(fd, OK "\r\nhi");
	CHECK_INT(wire_send(&w, fd, HEAD_AT(tunnel)), sizeof(tunnel) - 1);
	core_close(taught_to_call(message));
	CHECK_INT(answer(&w, fd, &usual, 1), -2);
	core_close(fd);
	wire_free(&w);
	core_close(served);
}

/* With urgent bytes or descriptors among them. That no block is lost, the fixture sees. */
CORE_TEST(a_call_that_cannot_be_cut_up_goes_as_it_is)
{
	struct iovec iov = { message, strlen(message) };
	struct io_send io;
	int fd;

	begin_request(CORE_PARENT);
	fd = core_connect();
	CHECK_INT(io_send_begin(&io, fd, &iov, 1), IO_SPECIAL);
	io_send_end(&io, (ssize_t)iov.iov_len);
	CHECK_INT(counters_get(calls), 1);
	CHECK_INT(counters_get(calls_injected), 0);
	CHECK_INT(core_conn(fd)->mode, CONN_HTTP1);
	core_close(fd);
	core_close(served);
}

/* sendfile behind its head: what it would say is known, so that another thread's lock does not cost the connection. */
CORE_TEST(a_body_that_nobody_sees_goes_on_without_the_lock)
{
	struct wire w = { 0 };
	struct conn *conn;

	begin_request("");
	CHECK_INT(wire_send(&w, served, HEAD_AT("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n")), 38);
	conn = core_conn(served);
	conn->lock = 12345;
	io_send_unseen_begin(served);
	conn->lock = 0;
	CHECK(!conn->missed);
	io_send_unseen_end(served, 5);
	CHECK(conn->first == NULL && conn->mode == CONN_HTTP1);
	CHECK_INT(counters_get(busy_skipped), 0);

	/* The next request is another thread's: an answer to it by this one is a contradiction. */
	core_receive_text(served, "GET / HTTP/1.1\r\nHost: a\r\n\r\n");
	begin_request("");
	wire_free(&w);
	CHECK_INT(counters_get(context_contradictions), 0);
	io_send_unseen_begin(core_next_fd - 2);
	CHECK_INT(counters_get(context_contradictions), 1);
	core_close(core_next_fd - 2);
	core_close(served);
}

CORE_TEST(errno_survives_a_call_that_succeeds)
{
	struct wire w = { 0 };
	int fd;

	begin_request(CORE_PARENT);
	fd = core_connect();
	errno = 4711;
	CHECK_INT(wire_send(&w, fd, message, strlen(message)), strlen(message));
	CHECK_INT(errno, 4711);
	wire_free(&w);
	core_close(fd);
	core_close(served);
}

/* Two messages in one call: the second one fails. */
CORE_TEST(errno_survives_a_call_that_went_out_in_part)
{
	int script[] = { (int)strlen(EXPECTED), -EAGAIN, 0 };
	struct wire w = { .script = script };
	int fd;

	begin_request(CORE_PARENT);
	fd = core_connect();
	errno = 4711;
	CHECK_INT(wire_send(&w, fd, HEAD_AT(GET "\r\n" GET "\r\n")), strlen(message));
	CHECK_INT(errno, 4711);
	wire_free(&w);
	core_close(fd);
	core_close(served);
}

static int signals_allowed[3];

static ssize_t emit_and_note_signals(const struct io_emitter *emitter, const struct iovec *iov, int count)
{
	const struct wire *w = (const struct wire *)(uintptr_t)emitter;

	if (w->calls < 3)
		signals_allowed[w->calls] = !emitter->goes_on;
	return wire_emit(emitter, iov, count);
}

/* A write to a connection that is gone raises SIGPIPE, but not where it would have been told of the bytes before. */
CORE_TEST(only_the_first_part_of_a_call_may_raise_a_signal)
{
	static const char two[] = GET "\r\n" GET "\r\n";
	struct iovec iov = { (void *)(uintptr_t)two, sizeof(two) - 1 };
	int script[] = { (int)sizeof(GET) + 20, 0 };
	struct wire w = { .script = script };
	struct io_send io;
	int fd;

	begin_request(CORE_PARENT);
	fd = core_connect();
	w.emitter = (struct io_emitter){ .emit = emit_and_note_signals, .fd = fd };
	CHECK_INT(io_send_begin(&io, fd, &iov, 1), IO_SPECIAL);
	CHECK_INT(io_send_special(&io, &w.emitter), sizeof(GET) - 1);
	CHECK(signals_allowed[0] && w.calls == 1);
	iov = (struct iovec){ (void *)(uintptr_t)(two + sizeof(GET) - 1), sizeof(two) - sizeof(GET) };
	w.calls = 0;
	CHECK_INT(io_send_begin(&io, fd, &iov, 1), IO_SPECIAL);
	CHECK_INT(io_send_special(&io, &w.emitter), (long long)iov.iov_len);
	CHECK(signals_allowed[0] && !signals_allowed[1] && w.calls == 2);
	wire_free(&w);
	core_close(fd);
	core_close(served);
}

static ssize_t emit_and_replace(const struct io_emitter *emitter, const struct iovec *iov, int count)
{
	ssize_t n = wire_emit(emitter, iov, count);

	/* Another thread: dup2 of something else upon the number; the connection lives on by another one. */
	fds_birth(emitter->fd, FD_NOTHING);
	return n;
}

CORE_TEST(the_rest_of_a_call_never_goes_to_what_has_taken_over_the_number)
{
	static const char two[] = GET "\r\n" GET "\r\n";
	struct iovec iov = { (void *)(uintptr_t)two, sizeof(two) - 1 };
	struct wire w = { 0 };
	struct io_send io;
	int fd, copy;

	begin_request(CORE_PARENT);
	fd = core_connect();
	copy = core_next_fd++;
	fds_dup(fd, copy);
	w.emitter = (struct io_emitter){ .emit = emit_and_replace, .fd = fd };
	CHECK_INT(io_send_begin(&io, fd, &iov, 1), IO_SPECIAL);
	CHECK_INT(io_send_special(&io, &w.emitter), strlen(message));
	CHECK_WIRE(&w, EXPECTED);
	wire_free(&w);
	core_close(copy);
	core_close(served);
}

/* A call that cannot be taken apart comes in the midst of an insertion: sendfile, ancillary or urgent data. */
CORE_TEST(the_rest_of_an_insertion_goes_before_a_call_that_goes_as_it_is)
{
	static const char rest[] = "\r\n";
	int script[] = { (int)sizeof(GET) + 9, -EAGAIN, 5, 0 };
	struct iovec iov = { (void *)(uintptr_t)rest, 2 };
	struct wire w = { .script = script };
	struct io_send io;
	int fd;

	begin_request(CORE_PARENT);
	fd = core_connect();
	CHECK_INT(wire_send(&w, fd, message, strlen(message)), sizeof(GET) - 1);
	CHECK(!io_send_rest(&w.emitter));
	CHECK_INT(errno, EAGAIN);
	errno = 4711;
	CHECK(io_send_rest(&w.emitter));
	CHECK_INT(errno, 4711);
	CHECK(io_send_rest(&w.emitter));
	CHECK_INT(counters_get(calls_injected), 0);
	CHECK_INT(io_send_begin(&io, fd, &iov, 1), IO_SPECIAL);
	CHECK_INT(wire_emit(&w.emitter, &iov, 1), 2);
	io_send_end(&io, 2);
	CHECK_INT(counters_get(calls_injected), 1);
	CHECK_WIRE(&w, EXPECTED);
	CHECK_INT(wire_send(&w, fd, message, strlen(message)), strlen(message));
	CHECK_WIRE(&w, EXPECTED EXPECTED);
	CHECK_INT(counters_get(calls_injected), 2);
	wire_free(&w);
	core_close(fd);
	core_close(served);
}

/* The blank line behind a whole insertion comes by sendfile: nobody reads on there, but the headers were given. */
CORE_TEST(an_insertion_whose_blank_line_nobody_saw_counts)
{
	int script[] = { (int)(sizeof(GET CORE_INSERTED) - 1), -EAGAIN, 0 };
	struct wire w = { .script = script };
	int fd;

	begin_request(CORE_PARENT);
	fd = core_connect();
	CHECK_INT(wire_send(&w, fd, message, strlen(message)), sizeof(GET) - 1);
	CHECK_INT(counters_get(calls_injected), 0);
	CHECK(io_send_rest(&w.emitter));
	io_send_unseen_begin(fd);
	io_send_unseen_end(fd, 2);
	CHECK_INT(counters_get(calls_injected), 1);
	CHECK_INT(core_conn(fd)->mode, CONN_OPAQUE);
	wire_free(&w);
	core_close(fd);
	core_close(served);
}

/* A send of no bytes in the midst of a half-sent insertion is no byte of the program: nothing is due. */
CORE_TEST(a_send_of_nothing_returns_nothing)
{
	int script[] = { (int)sizeof(GET) - 1 + 9, 0 };
	struct wire w = { .script = script };
	int fd;

	begin_request(CORE_PARENT);
	fd = core_connect();
	CHECK_INT(wire_send(&w, fd, message, strlen(message)), sizeof(GET) - 1);
	CHECK_INT(wire_send(&w, fd, "", 0), 0);
	CHECK_INT(wire_send(&w, fd, "\r\n", 2), 2);
	CHECK_WIRE(&w, EXPECTED);
	wire_free(&w);
	core_close(fd);
	core_close(served);
}

/* ---- a connection that another thread is at ---- */

static struct conn *held; /* its lock is free again after so many yields */
static long yields_left;

/* In front of libc's: what the lock does while it waits. */
int sched_yield(void)
{
	if (held != NULL && --yields_left == 0)
		__atomic_store_n(&held->lock, 0, __ATOMIC_RELEASE);
	return 0;
}

static ssize_t emit_and_lose_the_lock(const struct io_emitter *emitter, const struct iovec *iov, int count)
{
	if (yields_left == 0) {
		held = core_conn(emitter->fd);
		yields_left = 1000;
		__atomic_store_n(&held->lock, 12345, __ATOMIC_RELEASE);
	}
	return wire_emit(emitter, iov, count);
}

/* Whose lock is not to be had for a while, be it after the first piece or before the next one: no half insertion is left. */
CORE_TEST(a_half_sent_insertion_waits_for_the_other_thread)
{
	int after;

	begin_request(CORE_PARENT);
	for (after = 0; after < 2; after++) {
		int script[] = { (int)sizeof(GET) - 1 + 9, 0 };
		struct wire w = { .script = script };
		struct io_send io;
		struct iovec iov = { message, strlen(message) };
		int fd = core_connect();

		w.emitter = (struct io_emitter){ .emit = after ? wire_emit : emit_and_lose_the_lock, .fd = fd };
		held = NULL;
		yields_left = 0;
		CHECK_INT(io_send_begin(&io, fd, &iov, 1), IO_SPECIAL);
		CHECK_INT(io_send_special(&io, &w.emitter), sizeof(GET) - 1);
		if (after) {
			held = core_conn(fd);
			yields_left = 1000;
			held->lock = 12345;
		}
		CHECK_INT(wire_send(&w, fd, "\r\n", 2), 2);
		CHECK_WIRE(&w, EXPECTED);
		wire_free(&w);
		core_close(fd);
	}
	core_close(served);
}

static ssize_t emit_and_keep_the_shape(const struct io_emitter *emitter, const struct iovec *iov, int count)
{
	struct wire *w = (struct wire *)(uintptr_t)emitter;
	ssize_t total = 0;
	int i;

	for (i = 0; i < count; i++)
		total += (ssize_t)iov[i].iov_len;
	w->len = (size_t)count;
	return total;
}

/*
 * A head and its insertion are one stretch, with a body that lies on the same page. One that lies elsewhere may be memory that
 * only the kernel may touch: no byte of it is read once it was asked for.
 */
CORE_TEST(a_head_goes_out_in_one_stretch_and_a_body_elsewhere_is_not_touched)
{
	static const char post[] = "POST / HTTP/1.1\r\nHost: peer.example\r\nContent-Length: 4096\r\n\r\n";
	const size_t head = sizeof(post) - 1;
	char *pages = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	struct iovec apart[2] = { { (char *)(uintptr_t)post, head }, { pages + 4096, 4096 } };
	struct iovec across = { pages + 4096 - head, head + 4096 };
	struct {
		const struct iovec *iov;
		int count;
		size_t stretches;
	} shapes[] = { { apart, 2, 2 }, { &across, 1, 2 } };
	size_t i;

	memcpy(pages + 4096 - head, post, head);
	begin_request(CORE_PARENT);
	for (i = 0; i < 2; i++) {
		struct wire w = { 0 };
		struct io_send io;
		int fd = core_connect();

		w.emitter = (struct io_emitter){ .emit = emit_and_keep_the_shape, .fd = fd };
		CHECK_INT(io_send_begin(&io, fd, shapes[i].iov, shapes[i].count), IO_SPECIAL);
		mprotect(pages + 4096, 4096, PROT_NONE);
		CHECK_INT(io_send_special(&io, &w.emitter), head + 4096);
		mprotect(pages + 4096, 4096, PROT_READ | PROT_WRITE);
		CHECK_INT(w.len, shapes[i].stretches);
		core_close(fd);
	}
	CHECK_INT(counters_get(calls_injected), 2);
	munmap(pages, 8192);
	core_close(served);
}

CORE_TEST(a_short_message_goes_out_in_one_stretch)
{
	static char post[] __attribute__((aligned(256))) =
		"POST / HTTP/1.1\r\nHost: peer.example\r\nContent-Length: 4\r\n\r\nbody";
	struct iovec iov = { post, sizeof(post) - 1 };
	struct wire w = { 0 };
	int fd;

	begin_request(CORE_PARENT);
	fd = core_connect();
	CHECK_INT(wire_sendv(&w, fd, &iov, 1), sizeof(post) - 1);
	CHECK_INT(w.calls, 1);
	CHECK_INT(w.most, 1);
	CHECK_WIRE(&w, "POST / HTTP/1.1\r\nHost: peer.example\r\nContent-Length: 4\r\n" CORE_INSERTED "\r\nbody");
	wire_free(&w);
	core_close(fd);
	core_close(served);
}

/* However long the head is: what is put in one stretch has a limit. */
CORE_TEST(an_insertion_is_whole_and_once_however_long_the_head_is)
{
	size_t pad;

	begin_request(CORE_PARENT);
	for (pad = 1800; pad < 2100; pad++) {
		char head[2400], expected[2600];
		int script[] = { (int)pad + 60, 0 };
		struct wire w = { .script = pad % 2 ? script : NULL };
		int fd = core_connect();

		snprintf(head, sizeof(head), GET "X-Long: %0*d\r\n\r\n", (int)pad, 0);
		snprintf(expected, sizeof(expected), GET "X-Long: %0*d\r\n" CORE_INSERTED "\r\n", (int)pad, 0);
		send_all(&w, fd, head, strlen(head));
		CHECK_WIRE(&w, expected);
		wire_free(&w);
		core_close(fd);
	}
	core_close(served);
}

static void *node_symbol(const char *name)
{
	return strcmp(name, "napi_create_function") == 0 ? (void *)(uintptr_t)name : NULL;
}

/* What the write hook asks before it makes the call itself. */
CORE_TEST(only_one_whole_line_that_is_the_threads_own_goes_the_short_way)
{
	static const char line[] = "a line\n";
	struct logline_one one;

	config.log_mode = LOG_JSON;
	record_init();
	CHECK(io_line_begin(&one, 1, FD_LOG, 1, line, 7));
	CHECK_INT(io_line_end(&one, (ssize_t)one.len), 7);
	CHECK(!io_line_begin(&one, 1, FD_LOG, 1, line, 6));
	CHECK(!io_line_begin(&one, 1, FD_LOG, 1, line, 0));
	CHECK(!io_line_begin(&one, 1, FD_LOG, 1, "a\nb\n", 4));
	CHECK(!io_line_begin(&one, 1, FD_LOG, 1, NULL, 7));
	CHECK(!io_line_begin(&one, 1, FD_LOG, 1, (char *)64, 7));
	CHECK(!io_line_begin(&one, 1, FD_LOG, 1, line, (size_t)-1));
	current_init("node", node_symbol);
	CHECK(!io_line_begin(&one, 1, FD_LOG, 1, line, 7));
	CHECK_INT(core_blocks_out, 1); /* the thread's page */
	logline_thread_end();
}

int main(void)
{
#define TEST(name) cmocka_unit_test(name)
	const struct CMUnitTest tests[] = {
		TEST(a_call_within_a_request_carries_its_trace_on),
		TEST(an_insertion_is_whole_and_once_whatever_the_kernel_takes_first),
		TEST(an_insertion_is_whole_and_once_whenever_the_kernel_refuses),
		TEST(a_failed_call_reports_what_went_out_before_and_then_the_error),
		TEST(a_half_sent_insertion_dies_with_its_connection),
		TEST(any_number_of_vectors_gives_the_same_bytes),
		TEST(each_of_several_messages_in_one_call_gets_its_insertion),
		TEST(a_blocking_call_with_several_messages_is_taken_whole),
		TEST(a_body_that_looks_like_a_head_gets_nothing),
		TEST(what_is_sent_behind_a_connect_gets_nothing),
		TEST(a_head_with_trace_headers_of_its_own_is_left_alone),
		TEST(hosts_outside_the_list_get_nothing_wherever_the_host_line_is_cut),
		TEST(a_head_without_host_is_not_allowed_when_hosts_are_listed),
		TEST(a_server_whose_request_is_not_known_adds_nothing),
		TEST(a_program_that_serves_nothing_gives_each_call_a_trace_of_its_own),
		TEST(what_is_not_http_passes_untouched),
		TEST(a_response_gets_its_header_whatever_the_kernel_takes),
		TEST(pipelined_responses_in_one_call_get_the_header_of_their_own_request),
		TEST(a_response_that_has_the_header_already_is_left_alone),
		TEST(an_answer_like_the_last_one_goes_the_short_way_whatever_the_kernel_takes),
		TEST(so_does_one_that_gets_no_header),
		TEST(a_call_like_the_last_one_goes_the_short_way_whatever_the_kernel_takes),
		TEST(a_call_of_nobody_s_goes_the_short_way_as_it_is),
		TEST(a_call_that_is_none_of_the_usual_is_left_to_the_long_way),
		TEST(an_answer_that_is_none_of_the_usual_is_left_to_the_long_way),
		TEST(a_call_that_cannot_be_cut_up_goes_as_it_is),
		TEST(a_body_that_nobody_sees_goes_on_without_the_lock),
		TEST(errno_survives_a_call_that_succeeds),
		TEST(errno_survives_a_call_that_went_out_in_part),
		TEST(only_the_first_part_of_a_call_may_raise_a_signal),
		TEST(the_rest_of_a_call_never_goes_to_what_has_taken_over_the_number),
		TEST(the_rest_of_an_insertion_goes_before_a_call_that_goes_as_it_is),
		TEST(an_insertion_whose_blank_line_nobody_saw_counts),
		TEST(a_send_of_nothing_returns_nothing),
		TEST(a_half_sent_insertion_waits_for_the_other_thread),
		TEST(a_head_goes_out_in_one_stretch_and_a_body_elsewhere_is_not_touched),
		TEST(a_short_message_goes_out_in_one_stretch),
		TEST(an_insertion_is_whole_and_once_however_long_the_head_is),
		TEST(only_one_whole_line_that_is_the_threads_own_goes_the_short_way),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

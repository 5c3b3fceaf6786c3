/*
 * Spans: what is recorded of each shape of exchange, as it stands in the thread's ring. long: a test a shape.
 */
#include "core_fixture.h"
#include "http2.h"
#include "span_fixture.h"

#define GET "GET /a?b=c HTTP/1.1\r\nHost: us:80\r\nUser-Agent: agent/1\r\n"
#define OK "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"

static bool has_text(const struct ring_span *span, enum ring_span_text which, const char *wanted)
{
	const char *at = (const char *)(span + 1);

	for (int i = 0; i < (int)which; i++)
		at += span->text[i];
	return span->text[which] == strlen(wanted) && memcmp(at, wanted, strlen(wanted)) == 0;
}

static void hex(const uint8_t *id, size_t len, char *out)
{
	for (size_t i = 0; i < len; i++)
		sprintf(out + 2 * i, "%02x", id[i]);
}

static bool is_trace(const struct ring_span *span, const char *wanted)
{
	char text[33];

	hex(span->trace_id, 16, text);
	return strcmp(text, wanted) == 0;
}

CORE_TEST(a_served_request_is_recorded_with_all_that_is_known_of_it)
{
	const struct ring_span *span;
	struct request *request;
	uint64_t before;
	int fd;

	exporting();
	before = os_realtime_ns();
	fd = core_accept(false);
	core_receive_text(fd, GET "X-Forwarded-For: 1.2.3.4\r\ntracestate: k=v\r\n" CORE_PARENT "\r\n");
	request = current_known();
	CHECK(request != NULL);
	CHECK(pull() == NULL);
	core_send_text(fd, OK);
	span = pull();
	CHECK(span != NULL);
	CHECK(is_trace(span, CORE_TRACE));
	CHECK(memcmp(span->parent_id, "\xb7\xad\x6b\x71\x69\x20\x33\x31", 8) == 0);
	CHECK(memcmp(span->parent_id, span->span_id, 8) != 0);
	CHECK_INT(span->flags & (RING_FLAG_SAMPLED | RING_FLAG_REMOTE | RING_FLAG_TRUNCATED | RING_FLAG_UPGRADED),
	          RING_FLAG_SAMPLED | RING_FLAG_REMOTE);
	CHECK_INT(span->status, 200);
	CHECK_INT(span->span_kind, RING_SPAN_SERVER);
	CHECK_INT(span->method, RING_METHOD_GET);
	CHECK_INT(span->version, 11);
	CHECK_INT(span->error, RING_ERROR_none);
	CHECK_INT(span->bytes_in, strlen(GET "X-Forwarded-For: 1.2.3.4\r\ntracestate: k=v\r\n" CORE_PARENT "\r\n"));
	CHECK_INT(span->bytes_out, strlen(OK));
	CHECK(has_text(span, RING_TEXT_METHOD, "") && has_text(span, RING_TEXT_TARGET, "/a?b=c"));
	CHECK(has_text(span, RING_TEXT_HOST, "us:80") && has_text(span, RING_TEXT_USER_AGENT, "agent/1"));
	CHECK(has_text(span, RING_TEXT_FORWARDED, "1.2.3.4") && has_text(span, RING_TEXT_TRACESTATE, "k=v"));
	CHECK(span->start_ns >= before - 1000000 && span->end_ns <= os_realtime_ns() + 1000000);
	CHECK(span->first_byte_ns != 0);
	CHECK_INT(counters_get(spans), 1);
	core_close(fd);
	the_end();
}

CORE_TEST(nothing_is_recorded_where_nothing_is_exported)
{
	int fd;

	exporting();
	config.export_traces = false;
	fd = core_accept(false);
	core_receive_text(fd, GET "\r\n");
	core_send_text(fd, OK);
	core_close(fd);
	look();
	CHECK(ring == NULL);
	the_end();
}

CORE_TEST(an_id_in_the_log_is_the_id_of_the_span)
{
	const struct ring_span *span;
	struct request *request;
	int fd;

	exporting();
	fd = core_accept(false);
	core_receive_text(fd, GET "\r\n");
	request = request_ref(current_known());
	core_send_text(fd, OK);
	span = pull();
	CHECK(memcmp(span->trace_id, request->ctx.trace_id, 16) == 0);
	CHECK(memcmp(span->span_id, request->ctx.span_id, 8) == 0);
	CHECK_INT(span->flags & RING_FLAG_REMOTE, 0);
	CHECK(memcmp(span->parent_id, "\0\0\0\0\0\0\0\0", 8) == 0);
	request_unref(request);
	core_close(fd);
	the_end();
}

CORE_TEST(a_request_in_any_pieces_is_the_same_span)
{
	static const char text[] =
		"\r\nPUT /long/target HTTP/1.0\r\nhost: h\r\nforwarded: for=x\r\nx-forwarded-for: y\r\n"
		"user-agent: a\r\ncontent-length: 3\r\n\r\nabc";

	exporting();
	for (size_t step = 1; step < sizeof(text); step++) {
		const struct ring_span *span;
		int fd = core_accept(false);

		for (size_t at = 0; at < sizeof(text) - 1; at += step)
			core_receive(fd, text + at, at + step < sizeof(text) - 1 ? step : sizeof(text) - 1 - at);
		core_send_text(fd, OK);
		span = pull();
		CHECK(span != NULL);
		CHECK_INT(span->bytes_in, sizeof(text) - 1);
		CHECK_INT(span->method, RING_METHOD_PUT);
		CHECK_INT(span->version, 10);
		CHECK(has_text(span, RING_TEXT_TARGET, "/long/target") && has_text(span, RING_TEXT_HOST, "h"));
		CHECK(has_text(span, RING_TEXT_FORWARDED, "for=x") && has_text(span, RING_TEXT_USER_AGENT, "a"));
		CHECK_INT(span->flags & RING_FLAG_TRUNCATED, 0);
		core_close(fd);
	}
	the_end();
}

CORE_TEST(texts_that_are_too_long_are_cut_and_say_so)
{
	static const size_t lengths[] = { 1022, 1023, 1024, 1100, 9000 };
	char head[40000], *at;

	exporting();
	for (size_t i = 0; i < sizeof(lengths) / sizeof(lengths[0]); i++) {
		const struct ring_span *span;
		int fd = core_accept(false);
		size_t n = lengths[i];

		at = head + sprintf(head, "PROPFIND /");
		memset(at, 'x', n);
		at += n + sprintf(at + n, " HTTP/1.1\r\nHost: ");
		memset(at, 'h', n);
		at += n + sprintf(at + n, "\r\nUser-Agent: ");
		memset(at, 'u', n);
		at += n + sprintf(at + n, "\r\nForwarded: ");
		memset(at, 'f', n);
		strcpy(at + n, "\r\n\r\n");
		core_receive_text(fd, head);
		core_send_text(fd, OK);
		span = pull();
		CHECK(span != NULL);
		CHECK_INT(span->method, RING_METHOD_other);
		CHECK(has_text(span, RING_TEXT_METHOD, "PROPFIND"));
		CHECK_INT(span->text[RING_TEXT_TARGET], n + 1 < 1024 ? n + 1 : 1024);
		CHECK(span->text[RING_TEXT_HOST] <= 1024 && span->text[RING_TEXT_USER_AGENT] <= 1024);
		CHECK((span->flags & RING_FLAG_TRUNCATED) != 0);
		core_close(fd);
	}
	the_end();
}

CORE_TEST(pipelined_requests_are_a_span_each)
{
	const struct ring_span *span;
	int fd;

	exporting();
	fd = core_accept(false);
	core_receive_text(
		fd, "GET /1 HTTP/1.1\r\n\r\nHEAD /2 HTTP/1.1\r\n\r\nPOST /3 HTTP/1.1\r\nContent-Length: 1\r\n\r\nx");
	core_send_text(fd, OK "HTTP/1.1 404 No\r\nContent-Length: 99\r\n\r\n");
	span = pull();
	CHECK(has_text(span, RING_TEXT_TARGET, "/1"));
	CHECK_INT(span->bytes_out, strlen(OK));
	span = pull();
	CHECK(has_text(span, RING_TEXT_TARGET, "/2"));
	CHECK_INT(span->status, 404);
	CHECK_INT(span->method, RING_METHOD_HEAD);
	CHECK(pull() == NULL);
	core_send_text(fd, "HTTP/1.1 500 No\r\nTransfer-Encoding: chunked\r\n\r\n");
	CHECK(pull() == NULL);
	core_send_text(fd, "1\r\nx\r\n0\r\n\r\n");
	span = pull();
	CHECK(has_text(span, RING_TEXT_TARGET, "/3"));
	CHECK_INT(span->status, 500);
	CHECK(span->first_byte_ns < span->end_ns);
	core_close(fd);
	the_end();
}

CORE_TEST(interim_responses_are_no_answer)
{
	const struct ring_span *span;
	uint64_t before;
	int fd;

	exporting();
	fd = core_accept(false);
	core_receive_text(fd, "POST / HTTP/1.1\r\nExpect: 100-continue\r\nContent-Length: 1\r\n\r\n");
	core_send_text(fd, "HTTP/1.1 100 Continue\r\n\r\n");
	CHECK(pull() == NULL);
	core_receive_text(fd, "x");
	before = os_realtime_ns();
	core_send_text(fd, "HTTP/1.1 103 Early\r\nLink: x\r\n\r\n" OK);
	span = pull();
	CHECK_INT(span->status, 200);
	CHECK(span->first_byte_ns >= before); /* of the answer, not of the invitation */
	core_close(fd);
	the_end();
}

CORE_TEST(a_response_until_close_ends_with_the_connection)
{
	const struct ring_span *span;
	int fd;

	exporting();
	fd = core_accept(false);
	core_receive_text(fd, GET "\r\n");
	core_send_text(fd, "HTTP/1.0 200 OK\r\n\r\nbody");
	CHECK(pull() == NULL);
	core_close(fd);
	span = pull();
	CHECK_INT(span->status, 200);
	CHECK_INT(span->error, RING_ERROR_none);
	CHECK(span->first_byte_ns < span->end_ns);
	fd = core_accept(false);
	core_receive_text(fd, GET "\r\n");
	core_send_text(fd, "HTTP/1.0 200 OK\r\n\r\nbody");
	io_shut(fd, SHUT_WR);
	span = pull();
	CHECK_INT(span->error, RING_ERROR_none);
	CHECK(span->first_byte_ns < span->end_ns);
	core_close(fd);
	the_end();
}

static void receive_nothing(int fd, ssize_t result, int error)
{
	char byte;
	struct iovec iov = { &byte, 1 };
	struct io_receive io;

	CHECK(io_receive_begin(&io, fd));
	errno = error;
	io_receive_end(&io, &iov, 1, result, false);
	CHECK_INT(errno, error);
}

CORE_TEST(what_was_not_answered_says_why)
{
	static const int broken[] = { -EPIPE, 0 };
	struct wire w = { .script = broken };
	const struct ring_span *span;
	int fd;

	exporting();
	core_case = "we closed it";
	fd = core_accept(false);
	core_receive_text(fd, GET "\r\n");
	core_close(fd);
	span = pull();
	CHECK_INT(span->error, RING_ERROR_unanswered);
	CHECK_INT(span->status, 0);
	CHECK_INT(span->first_byte_ns, 0);
	core_case = "the client went away";
	fd = core_accept(false);
	core_receive_text(fd, GET "\r\n");
	receive_nothing(fd, 0, 0);
	CHECK(pull() == NULL); /* it may have closed its half only */
	core_close(fd);
	CHECK_INT(pull()->error, RING_ERROR_closed);
	core_case = "it closed its half only";
	fd = core_accept(false);
	core_receive_text(fd, GET "\r\n");
	receive_nothing(fd, 0, 0);
	core_send_text(fd, OK);
	CHECK_INT(pull()->error, RING_ERROR_none);
	core_close(fd);
	core_case = "reset";
	fd = core_accept(false);
	core_receive_text(fd, GET "\r\n");
	core_send_text(fd, "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nok");
	CHECK_INT(wire_send(&w, fd, "rest", 4), -1);
	core_close(fd);
	span = pull();
	CHECK_INT(span->error, RING_ERROR_reset);
	CHECK_INT(span->status, 200);
	core_case = "nothing to read yet is no end";
	fd = core_accept(true);
	core_receive_text(fd, GET "\r\n");
	receive_nothing(fd, -1, EAGAIN);
	core_send_text(fd, OK);
	CHECK_INT(pull()->error, RING_ERROR_none);
	core_close(fd);
	core_case = "half a head is no request";
	fd = core_accept(false);
	core_receive_text(fd, GET);
	core_close(fd);
	CHECK(pull() == NULL);
	the_end();
}

CORE_TEST(what_becomes_unreadable_is_not_recorded)
{
	int fd;

	exporting();
	fd = core_accept(false);
	core_receive_text(fd, GET "\r\n");
	core_send_text(fd, "HTTP/9.1 what\r\n\r\n");
	core_close(fd);
	fd = core_accept(false);
	core_receive_text(fd, "GET / HTTP/1.1\r\nbad header\r\n\r\n");
	core_send_text(fd, "HTTP/1.1 400 Bad\r\nContent-Length: 0\r\n\r\n");
	core_close(fd);
	the_end();
}

CORE_TEST(an_upgrade_ends_the_span_and_says_so)
{
	const struct ring_span *span;
	int fd;

	exporting();
	fd = core_accept(false);
	core_receive_text(fd, "GET /ws HTTP/1.1\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n");
	core_send_text(fd, "HTTP/1.1 101 Switching\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n");
	span = pull();
	CHECK_INT(span->status, 101);
	CHECK((span->flags & RING_FLAG_UPGRADED) != 0);
	core_send_text(fd, "anything");
	core_close(fd);
	the_end();
}

/* What the peer got: the parent-id of the one traceparent in it. */
static void parent_id(const struct wire *w, char out[17])
{
	const char *at = memmem(w->bytes, w->len, "traceparent: 00-", 16);

	CHECK(at != NULL);
	memcpy(out, at + 16 + 33, 16);
	out[16] = '\0';
}

CORE_TEST(a_call_is_recorded_under_the_id_that_its_head_was_given)
{
	/* All at once, and a kernel that takes a few bytes at a time. */
	for (int most = 0; most < 90; most += 7) {
		int script[200] = { 0 };
		struct wire w = { .script = script };
		const struct ring_span *span;
		char sent[17], recorded[17];
		const char *head = "GET /next HTTP/1.1\r\nHost: peer:8\r\n\r\n";
		size_t done = 0;
		int served, fd;

		for (int i = 0; most > 0 && i < 199; i++)
			script[i] = most;
		exporting();
		served = core_accept(false);
		core_receive_text(served, GET CORE_PARENT "\r\n");
		fd = core_connect();
		while (done < strlen(head)) {
			ssize_t n = wire_send(&w, fd, head + done, strlen(head) - done);

			CHECK(n > 0);
			done += (size_t)n;
		}
		parent_id(&w, sent);
		CHECK(pull() == NULL);
		core_receive_text(fd, "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\n");
		CHECK(pull() == NULL);
		core_receive_text(fd, "body");
		span = pull();
		CHECK(span != NULL);
		hex(span->span_id, 8, recorded);
		CHECK(strcmp(sent, recorded) == 0);
		CHECK(is_trace(span, CORE_TRACE));
		CHECK_INT(span->span_kind, RING_SPAN_CLIENT);
		CHECK(has_text(span, RING_TEXT_TARGET, "/next") && has_text(span, RING_TEXT_HOST, "peer:8"));
		CHECK_INT(span->flags & (RING_FLAG_LOCAL | RING_FLAG_REMOTE), 0);
		CHECK_INT(span->bytes_out, strlen(head));
		CHECK_INT(span->bytes_in, strlen("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\n") + 4);
		CHECK(memcmp(span->parent_id, "\0\0\0\0\0\0\0\0", 8) != 0);
		core_send_text(served, OK);
		{
			struct ring_span client = *span;

			span = pull();
			CHECK(memcmp(client.parent_id, span->span_id, 8) == 0);
		}
		core_close(fd);
		core_close(served);
		wire_free(&w);
		the_end();
		ring_after_fork();
	}
}

CORE_TEST(pipelined_calls_are_recorded_each_under_its_own_id)
{
	struct wire w = { 0 };
	const struct ring_span *span;
	char sent[17], recorded[17];
	int served, fd;
	const char *at;

	exporting();
	served = core_accept(false);
	core_receive_text(served, GET CORE_PARENT "\r\n");
	fd = core_connect();
	CHECK(wire_send(&w, fd, "GET /1 HTTP/1.1\r\nHost: p\r\n\r\nGET /2 HTTP/1.1\r\nHost: p\r\n\r\n", 56) == 56);
	core_receive_text(fd, OK OK);
	parent_id(&w, sent);
	span = pull();
	hex(span->span_id, 8, recorded);
	CHECK(has_text(span, RING_TEXT_TARGET, "/1") && strcmp(sent, recorded) == 0);
	at = memmem(w.bytes, w.len, "GET /2", 6);
	w.len -= (size_t)(at - w.bytes);
	memmove(w.bytes, at, w.len);
	parent_id(&w, sent);
	span = pull();
	hex(span->span_id, 8, recorded);
	CHECK(has_text(span, RING_TEXT_TARGET, "/2") && strcmp(sent, recorded) == 0);
	wire_free(&w);
	core_close(fd);
	core_close(served);
	CHECK_INT(pull()->error, RING_ERROR_unanswered);
	the_end();
}

CORE_TEST(a_call_with_a_trace_header_of_its_own_is_somebody_else_s_span)
{
	int served, fd;

	exporting();
	served = core_accept(false);
	core_receive_text(served, GET "\r\n");
	fd = core_connect();
	core_send_text(fd, "GET / HTTP/1.1\r\nHost: p\r\n" CORE_OTHER_PARENT "\r\n");
	core_receive_text(fd, OK);
	CHECK(pull() == NULL);
	core_send_text(fd, "GET / HTTP/1.1\r\nHost: p\r\nb3: 0\r\n\r\n");
	core_receive_text(fd, OK);
	CHECK(pull() == NULL);
	core_close(fd);
	core_send_text(served, OK);
	CHECK(pull() != NULL);
	core_close(served);
	the_end();
}

/* Another thread has the answer before this one's write has returned. */
static ssize_t answer_at_once(const struct io_emitter *emitter, const struct iovec *iov, int count)
{
	static const char answer[] = "\0\0\1\1\5\0\0\0\1\x88"; /* HEADERS: 200, and no more */
	ssize_t len = wire_emit(emitter, iov, count);

	core_receive(emitter->fd, answer, sizeof(answer) - 1);
	return len;
}

static void call_by_http2(const char *head, size_t len, enum io_verdict verdict)
{
	static const char preface[] = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\4\0\0\0\0\0";
	struct wire w = { 0 };
	struct iovec iov = { (void *)(uintptr_t)head, len };
	struct io_send io;
	int fd = core_connect();

	CHECK_INT(wire_send(&w, fd, preface, sizeof(preface) - 1), sizeof(preface) - 1);
	core_receive(fd, preface + HTTP2_PREFACE_LEN, 9);
	w.emitter.emit = answer_at_once;
	CHECK_INT(io_send_begin(&io, fd, &iov, 1), verdict);
	if (verdict == IO_WATCH)
		io_send_end(&io, answer_at_once(&w.emitter, &iov, 1));
	else
		CHECK_INT(io_send_special(&io, &w.emitter), len);
	core_close(fd);
	wire_free(&w);
}

CORE_TEST(a_call_of_http2_that_is_answered_as_it_is_sent_is_recorded_if_it_is_ours)
{
	static const char own[] = "\0\0\x4b\1\5\0\0\0\1\x82\x86\x84\x41\1h\0\x0btraceparent\x37"
				  "00-" CORE_OTHER_TRACE "-b7ad6b7169203331-01";
	static const char none[] = "\0\0\6\1\5\0\0\0\1\x82\x86\x84\x41\1h";
	const struct ring_span *span;
	char trace[33];

	exporting();
	config.root = true;
	call_by_http2(own, sizeof(own) - 1, IO_WATCH);
	CHECK_INT(counters_get(calls_http2), 1);
	CHECK(pull() == NULL);
	call_by_http2(none, sizeof(none) - 1, IO_SPECIAL);
	CHECK_INT(counters_get(calls_http2), 2);
	span = pull();
	CHECK(span != NULL && span->status == 200);
	hex(span->trace_id, sizeof(span->trace_id), trace);
	CHECK(strspn(trace, "0") < 32);
	the_end();
}

CORE_TEST(a_call_of_nobody_s_is_a_root_or_in_a_server_nothing)
{
	struct wire w = { 0 };
	const struct ring_span *span;
	char sent[17], recorded[17];
	int fd;

	exporting();
	config.root = true;
	fd = core_connect();
	CHECK(wire_send(&w, fd, "GET /1 HTTP/1.1\r\nHost: p\r\n\r\n", 28) == 28);
	core_receive_text(fd, OK);
	span = pull();
	CHECK((span->flags & RING_FLAG_LOCAL) != 0);
	CHECK(memcmp(span->parent_id, "\0\0\0\0\0\0\0\0", 8) == 0);
	parent_id(&w, sent);
	hex(span->span_id, 8, recorded);
	CHECK(strcmp(sent, recorded) == 0);
	wire_free(&w);
	core_close(core_accept(false)); /* now it is a server */
	core_send_text(fd, "GET /2 HTTP/1.1\r\nHost: p\r\n\r\n");
	core_receive_text(fd, OK);
	CHECK(pull() == NULL);
	core_close(fd);
	the_end();
}

CORE_TEST(a_call_to_a_host_that_gets_no_header_is_recorded_all_the_same)
{
	const struct ring_span *span;
	struct wire w = { 0 };
	int served, fd;

	exporting();
	config.propagate_hosts = CORE_NAME("else.where");
	served = core_accept(false);
	core_receive_text(served, GET CORE_PARENT "\r\n");
	fd = core_connect();
	CHECK(wire_send(&w, fd, "GET /1 HTTP/1.1\r\nHost: p\r\n\r\n", 28) == 28);
	CHECK(memmem(w.bytes, w.len, "traceparent", 11) == NULL);
	core_receive_text(fd, OK);
	span = pull();
	CHECK(is_trace(span, CORE_TRACE) && span->span_kind == RING_SPAN_CLIENT);
	wire_free(&w);
	core_close(fd);
	core_send_text(served, OK);
	CHECK(pull() != NULL);
	core_close(served);
	the_end();
}

CORE_TEST(a_connection_to_a_database_makes_no_ring)
{
	int fd;

	exporting();
	fd = core_connect();
	for (int i = 0; i < 3; i++) {
		core_send_text(fd, "*1\r\n$4\r\nPING\r\n");
		core_receive_text(fd, "+PONG\r\n");
	}
	CHECK_INT(core_conn(fd)->mode, CONN_OPAQUE);
	look();
	CHECK(ring == NULL);
	core_close(fd);
	the_end();
}

CORE_TEST(calls_that_are_not_answered_say_why)
{
	static const struct {
		const char *reply; /* before the end */
		ssize_t result;
		int error;
		enum ring_span_error wanted;
		unsigned status;
	} cases[] = {
		{ "", 0, 0, RING_ERROR_closed, 0 },
		{ "", -1, ECONNRESET, RING_ERROR_reset, 0 },
		{ "", -1, ETIMEDOUT, RING_ERROR_timeout, 0 },
		{ "", -1, ECONNREFUSED, RING_ERROR_refused, 0 },
		{ "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nok", 0, 0, RING_ERROR_closed, 200 },
		{ "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n", 0, 0, RING_ERROR_closed, 200 },
		{ "HTTP/1.1 200 OK\r\n\r\nok", 0, 0, RING_ERROR_none, 200 },
		{ "HTTP/1.1 200 OK\r\n\r\nok", -1, ECONNRESET, RING_ERROR_reset, 200 },
		{ "HTTP/1.1 100 Go on\r\n\r\n", 0, 0, RING_ERROR_closed, 100 },
	};

	exporting();
	config.root = true;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		const struct ring_span *span;
		int fd = core_connect();
		char name[8];

		sprintf(name, "%zu", i);
		core_case = name;
		core_send_text(fd, "GET /1 HTTP/1.1\r\nHost: p\r\n\r\n");
		core_receive_text(fd, cases[i].reply);
		CHECK(pull() == NULL);
		receive_nothing(fd, cases[i].result, cases[i].error);
		span = pull();
		CHECK(span != NULL);
		CHECK_INT(span->error, cases[i].wanted);
		if (cases[i].status != 100)
			CHECK_INT(span->status, cases[i].status);
		core_close(fd);
		CHECK(pull() == NULL);
	}
	the_end();
}

CORE_TEST(a_call_that_the_program_gives_up_is_unanswered_unless_it_had_the_head)
{
	const struct ring_span *span;
	int fd;

	exporting();
	config.root = true;
	fd = core_connect();
	core_send_text(fd, "GET /1 HTTP/1.1\r\nHost: p\r\n\r\n");
	core_close(fd);
	CHECK_INT(pull()->error, RING_ERROR_unanswered);
	fd = core_connect();
	core_send_text(fd, "GET /1 HTTP/1.1\r\nHost: p\r\n\r\n");
	core_receive_text(fd, "HTTP/1.1 302 Go\r\nContent-Length: 9\r\n\r\nhal");
	core_close(fd);
	span = pull();
	CHECK_INT(span->error, RING_ERROR_none);
	CHECK_INT(span->status, 302);
	the_end();
}

/* The kernel has the whole answer, and the process is killed before it can say so. */
static int held_at_call, fd_of_call;
static ssize_t kill_emit(const struct io_emitter *emitter, const struct iovec *iov, int count)
{
	(void)emitter, (void)iov, (void)count;
	look();
	held_at_call = ring != NULL && ring->held > ring->head;
	return fd_of_call;
}

CORE_TEST(an_answer_is_held_before_the_call_that_completes_it_and_only_there)
{
	static const struct {
		const char *text;
		ssize_t taken;
		int held;
	} calls[] = {
		{ "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n", 38, 0 },
		{ "ok", -1, 1 }, /* held, but not taken */
		{ "ok", 1, 1 },
		{ "k", 1, 1 },
	};
	const struct ring_span *span;
	int fd;

	exporting();
	fd = core_accept(true);
	core_receive_text(fd, GET "\r\n");
	ring_prepare();
	for (size_t i = 0; i < sizeof(calls) / sizeof(calls[0]); i++) {
		struct io_emitter emitter = { .emit = kill_emit, .fd = fd };
		struct iovec iov = { (void *)(uintptr_t)calls[i].text, strlen(calls[i].text) };
		struct io_send io;

		CHECK(pull() == NULL);
		CHECK_INT(io_send_begin(&io, fd, &iov, 1), IO_WATCH);
		(void)kill_emit(&emitter, &iov, 1);
		CHECK_INT(held_at_call, calls[i].held);
		errno = EAGAIN;
		io_send_end(&io, calls[i].taken);
		CHECK(ring->held <= ring->head); /* what was not taken does not count any more */
	}
	span = pull();
	CHECK(span != NULL);
	CHECK_INT(span->bytes_out, 40);
	CHECK_INT(span->status, 200);
	CHECK(span->first_byte_ns < span->end_ns);
	core_close(fd);
	the_end();
}

CORE_TEST(a_body_of_known_length_that_nobody_sees_is_held_too)
{
	const struct ring_span *span;
	int fd;

	exporting();
	fd = core_accept(false);
	core_receive_text(fd, GET "\r\n");
	core_send_text(fd, "HTTP/1.1 200 OK\r\nContent-Length: 5000\r\n\r\n");
	io_send_unseen_begin(fd);
	look();
	CHECK(ring->held > ring->head);
	io_send_unseen_end(fd, 2000);
	CHECK(ring->held <= ring->head);
	CHECK(pull() == NULL);
	io_send_unseen_begin(fd);
	CHECK(ring->held > ring->head);
	io_send_unseen_end(fd, 3000);
	span = pull();
	CHECK_INT(span->bytes_out, 41 + 5000);
	core_close(fd);
	the_end();
}

CORE_TEST(what_is_held_is_what_is_recorded)
{
	struct ring_span held;
	const struct ring_span *span;
	struct iovec iov = { (void *)(uintptr_t)OK, sizeof(OK) - 1 };
	struct io_send io;
	uint64_t tail;
	int fd;

	exporting();
	fd = core_accept(false);
	core_receive_text(fd, GET CORE_PARENT "\r\n");
	CHECK_INT(io_send_begin(&io, fd, &iov, 1), IO_WATCH);
	look();
	tail = ring->tail;
	span = pull_until(ring->held);
	CHECK(span != NULL);
	held = *span;
	ring->tail = tail;
	io_send_end(&io, (ssize_t)iov.iov_len);
	span = pull();
	CHECK(span->end_ns >= held.end_ns);
	held.end_ns = span->end_ns;
	held.first_byte_ns = span->first_byte_ns;
	CHECK(memcmp(span, &held, sizeof(held)) == 0);
	CHECK(has_text(span, RING_TEXT_TARGET, "/a?b=c"));
	core_close(fd);
	the_end();
}

CORE_TEST(a_request_that_a_forked_child_may_answer_is_no_error_of_the_parent_s)
{
	const struct ring_span *span;
	int fd, status;
	pid_t child;

	exporting();
	fd = core_accept(false);
	core_receive_text(fd, GET CORE_PARENT "\r\n");
	span_forking();
	child = fork();
	if (child == 0) {
		io_after_fork();
		core_send_text(fd, OK);
		core_close(fd);
		span = pull();
		CHECK(span != NULL && is_trace(span, CORE_TRACE));
		CHECK_INT(span->error, RING_ERROR_none);
		CHECK(pull() == NULL);
		_exit(0);
	}
	CHECK_INT(waitpid(child, &status, 0), child);
	CHECK_INT(status, 0);
	core_close(fd);
	{
		char command[128];

		snprintf(command, sizeof(command), "test $(ls %s | grep -c ring) = 1",
		         dir); /* the child's; the parent made none */
		CHECK_INT(system(command), 0);
		snprintf(command, sizeof(command), "rm -r %s", dir);
		CHECK_INT(system(command), 0);
	}
}

CORE_TEST(a_clock_that_steps_back_ends_no_span_before_its_beginning)
{
	/* The monotonic clock cannot be set here; what matters is that only it is asked between beginning and end. */
	const struct ring_span *span;
	int fd;

	exporting();
	for (int i = 0; i < 2000; i++) {
		fd = core_accept(false);
		core_receive_text(fd, GET "\r\n");
		core_send_text(fd, OK);
		span = pull();
		CHECK(span != NULL && span->end_ns - span->start_ns < 10000000000u);
		core_close(fd);
	}
	the_end();
}

CORE_TEST(raw_requests_are_recorded_from_flip_to_flip)
{
	const struct ring_span *span;
	int fd;

	exporting();
	config.raw = true;
	fd = core_accept(false);
	core_receive_text(fd, "PING\r\n");
	core_send_text(fd, "+PONG\r\n");
	core_send_text(fd, "more\r\n");
	CHECK(pull() == NULL);
	core_receive_text(fd, "PING 2\r\n");
	span = pull();
	CHECK_INT(span->version, 0);
	CHECK_INT(span->method, RING_METHOD_other);
	CHECK_INT(span->bytes_in, 6);
	CHECK_INT(span->bytes_out, 13);
	CHECK(span->first_byte_ns > span->start_ns && span->first_byte_ns < span->end_ns);
	core_close(fd);
	span = pull();
	CHECK_INT(span->bytes_in, 8);
	CHECK_INT(span->bytes_out, 0);
	the_end();
}

CORE_TEST(without_memory_there_is_no_span_and_no_harm)
{
	for (long first = 1; first < 12; first++) {
		struct wire w = { 0 };
		int fd;

		exporting();
		fd = core_accept(false);
		core_fail_takes(first, first);
		core_receive_text(fd, GET CORE_PARENT "\r\n");
		CHECK_INT(wire_send(&w, fd, OK, strlen(OK)), strlen(OK));
		core_fail_takes(0, 0);
		CHECK(w.len == strlen(OK) && memcmp(w.bytes, OK, w.len) == 0);
		core_close(fd);
		while (pull() != NULL)
			;
		wire_free(&w);
		the_end();
		ring_after_fork();
	}
}

int main(void)
{
#define TEST(name) cmocka_unit_test(name)
	const struct CMUnitTest tests[] = {
		TEST(a_served_request_is_recorded_with_all_that_is_known_of_it),
		TEST(nothing_is_recorded_where_nothing_is_exported),
		TEST(an_id_in_the_log_is_the_id_of_the_span),
		TEST(a_request_in_any_pieces_is_the_same_span),
		TEST(texts_that_are_too_long_are_cut_and_say_so),
		TEST(pipelined_requests_are_a_span_each),
		TEST(interim_responses_are_no_answer),
		TEST(a_response_until_close_ends_with_the_connection),
		TEST(what_was_not_answered_says_why),
		TEST(what_becomes_unreadable_is_not_recorded),
		TEST(an_upgrade_ends_the_span_and_says_so),
		TEST(a_call_is_recorded_under_the_id_that_its_head_was_given),
		TEST(pipelined_calls_are_recorded_each_under_its_own_id),
		TEST(a_call_with_a_trace_header_of_its_own_is_somebody_else_s_span),
		TEST(a_call_of_http2_that_is_answered_as_it_is_sent_is_recorded_if_it_is_ours),
		TEST(a_call_of_nobody_s_is_a_root_or_in_a_server_nothing),
		TEST(a_call_to_a_host_that_gets_no_header_is_recorded_all_the_same),
		TEST(a_connection_to_a_database_makes_no_ring),
		TEST(calls_that_are_not_answered_say_why),
		TEST(a_call_that_the_program_gives_up_is_unanswered_unless_it_had_the_head),
		TEST(an_answer_is_held_before_the_call_that_completes_it_and_only_there),
		TEST(a_body_of_known_length_that_nobody_sees_is_held_too),
		TEST(what_is_held_is_what_is_recorded),
		TEST(a_request_that_a_forked_child_may_answer_is_no_error_of_the_parent_s),
		TEST(a_clock_that_steps_back_ends_no_span_before_its_beginning),
		TEST(raw_requests_are_recorded_from_flip_to_flip),
		TEST(without_memory_there_is_no_span_and_no_harm),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

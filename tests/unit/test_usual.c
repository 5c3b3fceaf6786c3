/*
 * The usual read, answer, call and reply with the pools as they are: what a block holds of the one before must not be in this one.
 */
#define CORE_REAL_POOLS
#include "core_fixture.h"

#include "config.h"
#include "current.h"
#include "ids.h"
#include "io.h"
#include "propagate_bare.h"

#define GET "GET / HTTP/1.1\r\nHost: h\r\n\r\n"

static const struct {
	const char *head, *body;
} answers[] = {
	{ "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n", "ok" },
	{ "HTTP/1.1 200 OK\r\nContent-Length: 4\r\nServer: one\r\n", "body" },
	{ "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n", "" },
	{ "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nServer: two\r\n", "no" },
};

static int usual_reads, usual_answers;

static void receive(int fd)
{
	struct stream_heads *heads = stream_borrow_heads();

	usual_reads += heads != NULL && heads->of[STREAM_REQUEST_IN].whole == sizeof(GET) - 1;
	if (heads != NULL)
		stream_return_heads(heads);
	core_receive_text(fd, GET);
}

/* Answers with head, response header and body; the id must be that of the connection's request. `apart`: the body by a call of its own. */
static void answer(int fd, size_t which, bool apart)
{
	const struct exchange *ex = core_conn(fd)->first;
	char text[256], wanted[512], id[33] = "";
	size_t head = (size_t)sprintf(text, "%s\r\n", answers[which].head), body = strlen(answers[which].body);
	struct iovec v[IO_ANSWER_VECTORS], iov = { text, head + (apart ? 0 : body) };
	struct wire w = { .bytes = NULL };
	struct io_send io;

	CHECK(ex != NULL && ex->request != NULL);
	memcpy(text + head, answers[which].body, body);
	ids_hex(id, ex->request->ctx.trace_id, 16);
	sprintf(wanted, "%sx-trace: %s\r\n\r\n%s", answers[which].head, id, apart ? "" : answers[which].body);
	w.emitter.emit = wire_emit;
	if (io_answer_begin(&io, fd, fds_word(fd), &iov, 1, v)) {
		usual_answers++;
		CHECK_INT(io_answer_end(&io, wire_emit(&w.emitter, v, 1)), iov.iov_len);
	} else {
		CHECK_INT(wire_sendv(&w, fd, &iov, 1), iov.iov_len);
	}
	CHECK(wire_matches(&w, wanted));
	wire_free(&w);
	if (apart && body > 0)
		core_send_text(fd, answers[which].body);
	CHECK_INT(core_conn(fd)->depth, 0);
	CHECK_INT(core_conn(fd)->mode, CONN_HTTP1);
}

CORE_TEST(each_answer_has_its_own_head_and_id)
{
	int fds[2] = { core_accept(true), core_accept(true) };
	int i;

	current_watch_threads(io_end_thread);
	current_notice_thread();
	config.response_header = CORE_NAME("x-trace");
	for (i = 0; i < 200; i++) {
		int fd = fds[i % 2];

		receive(fd);
		answer(fd, (size_t)(i / 8) % 4, i % 3 == 0);
	}
	CHECK(usual_reads > 150 && usual_answers > 100);
	CHECK_INT(counters_get(requests), 200);
	CHECK_INT(counters_get(response_headers), 200);
	core_close(fds[0]);
	core_close(fds[1]);
}

/* Two threads may answer at once: the one whose plan was overtaken does not finish by it. */
CORE_TEST(a_plan_that_another_one_has_overtaken_is_not_carried_out)
{
	static const char first[] = "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n";
	int fd = core_accept(true), i;
	struct iovec v[2][IO_ANSWER_VECTORS], iov = { (char *)(uintptr_t)first, sizeof(first) - 1 };
	struct io_send io[2];

	current_watch_threads(io_end_thread);
	current_notice_thread();
	for (i = 0; i < 3; i++) {
		receive(fd);
		core_send_text(fd, first);
		core_send_text(fd, "123456789");
		CHECK_INT(core_conn(fd)->depth, 0);
	}
	receive(fd);
	CHECK(io_answer_begin(&io[0], fd, fds_word(fd), &iov, 1, v[0]));
	CHECK(io_answer_begin(&io[1], fd, fds_word(fd), &iov, 1, v[1]));
	CHECK_INT(io_answer_end(&io[1], (ssize_t)iov.iov_len), iov.iov_len);
	CHECK(core_conn(fd)->first->response_begun);
	CHECK_INT(core_conn(fd)->first->down.remaining, 9);
	/* Looked at as what it is: bytes of the body that is under way, and too many. */
	CHECK_INT(io_answer_end(&io[0], (ssize_t)iov.iov_len), iov.iov_len);
	CHECK(core_conn(fd)->mode == CONN_OPAQUE || core_conn(fd)->depth == 0);
	core_close(fd);
}

/* ---- calls ---- */

static const char *const callers[] = {
	"GET / HTTP/1.1\r\n\r\n",
	"GET / HTTP/1.1\r\n" CORE_PARENT "\r\n",
	"GET / HTTP/1.1\r\ntraceparent: 00-" CORE_OTHER_TRACE "-b7ad6b7169203331-00\r\n\r\n",
	"GET / HTTP/1.1\r\n" CORE_PARENT "tracestate: k=v\r\n\r\n",
	"GET / HTTP/1.1\r\n" CORE_PARENT "baggage: a=b\r\n\r\n",
	"GET / HTTP/1.1\r\nx-id: mine\r\n\r\n",
};

static const struct {
	const char *head, *body;
	uint32_t own;
} calls[] = {
	{ "GET /a HTTP/1.1\r\nHost: one\r\n", "", 0 },
	{ "GET /a HTTP/1.1\r\nHost: two\r\n", "", 0 },
	{ "POST /a HTTP/1.1\r\nHost: one\r\nContent-Length: 4\r\n", "body", 0 },
	{ "POST /a HTTP/1.1\r\nHost: one\r\nContent-Length: 5\r\n", "other", 0 },
	{ "HEAD /a HTTP/1.1\r\nHost: one\r\n", "", 0 },
	{ "GET /a HTTP/1.1\r\nHost: one\r\nx-id: own\r\n", "", PROPAGATE_HAS_CORRELATION(0) },
	{ "GET /a HTTP/1.1\r\nHost: one\r\ntraceparent: own\r\n", "", PROPAGATE_HAS_TRACE },
};

static const struct {
	const char *head, *body;
} replies[] = {
	{ "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n", "ok" },
	{ "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\n", "body" },
	{ "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n", "" },
	{ "HTTP/1.1 204 No Content\r\n\r\n", "" },
	{ "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", "2\r\nok\r\n0\r\n\r\n" },
};

#define PICK(array) pick(sizeof(array) / sizeof((array)[0]))

static unsigned long seed = 1;
static int usual_calls, usual_replies, bare_calls;

static size_t pick(size_t n)
{
	seed = seed * 6364136223846793005u + 1442695040888963407u;
	return (size_t)(seed >> 33) % n;
}

/* What the peer must have got: all of the context, as the long way would say it, with the span id that stands there. */
static void check_call(const struct wire *w, size_t which, const struct request *caller, bool allowed)
{
	static const char line[] = "traceparent: 00-";
	static uint8_t last_id[8];
	char wanted[1024];
	size_t len = strlen(calls[which].head);
	uint8_t span_id[8] = { 0 };

	memcpy(wanted, calls[which].head, len);
	if (allowed && (calls[which].own & PROPAGATE_HAS_TRACE) == 0) {
		CHECK(w->len > len + 70 && memcmp(w->bytes + len, line, sizeof(line) - 1) == 0);
		CHECK_INT(ids_unhex(span_id, w->bytes + len + sizeof(line) - 1 + 33, 8, 1), 0);
		CHECK(memcmp(span_id, last_id, 8) != 0 && memcmp(span_id, caller->ctx.span_id, 8) != 0);
		memcpy(last_id, span_id, 8);
		len += propagate_format_headers(&caller->ctx, span_id, calls[which].own, wanted + len);
	}
	len += (size_t)sprintf(wanted + len, "\r\n%s", calls[which].body);
	CHECK_INT(w->len, len);
	CHECK(memcmp(w->bytes, wanted, len) == 0);
}

/* Makes a call and hears its reply; `most`: the kernel takes so many bytes at first. */
static void call(int fd, size_t which, size_t reply, bool allowed, int most)
{
	const struct request *caller = current_known();
	const int script[] = { most, 0 };
	struct wire w = { .script = most > 0 ? script : NULL };
	struct iovec v[IO_ANSWER_VECTORS], iov;
	char text[256], answer[256];
	struct io_send io;
	size_t len = (size_t)sprintf(text, "%s\r\n%s", calls[which].head, calls[which].body), cut, done;
	bool to_head = strncmp(text, "HEAD", 4) == 0;
	struct stream_heads *heads;
	ssize_t n;

	CHECK(caller != NULL);
	w.emitter.emit = wire_emit;
	iov = (struct iovec){ text, len };
	if (io_answer_begin(&io, fd, fds_word(fd), &iov, 1, v)) {
		CHECK(allowed && calls[which].own == 0);
		usual_calls++;
		bare_calls += propagate_is_bare(&caller->ctx);
		n = io_answer_end(&io, wire_emit(&w.emitter, v, 1));
	} else {
		n = wire_sendv(&w, fd, &iov, 1);
	}
	CHECK(n > 0 && (size_t)n <= len);
	for (done = (size_t)n; done < len; done += (size_t)n)
		CHECK((n = wire_send(&w, fd, text + done, len - done)) > 0);
	check_call(&w, which, caller, allowed);
	wire_free(&w);
	CHECK(core_conn(fd)->depth == 1 && core_conn(fd)->owner == caller);

	heads = stream_borrow_heads();
	usual_replies +=
		heads != NULL && !to_head && heads->of[STREAM_RESPONSE_IN].whole == strlen(replies[reply].head) &&
		memcmp(heads->of[STREAM_RESPONSE_IN].head, replies[reply].head, strlen(replies[reply].head)) == 0;
	if (heads != NULL)
		stream_return_heads(heads);
	len = (size_t)sprintf(answer, "%s%s", replies[reply].head, to_head ? "" : replies[reply].body);
	cut = pick(10) != 0 ? len : 1 + pick(len);
	core_receive(fd, answer, cut);
	CHECK_INT(core_conn(fd)->depth, cut < len);
	if (cut < len)
		core_receive(fd, answer + cut, len - cut);
	CHECK(core_conn(fd)->depth == 0 && core_conn(fd)->owner == NULL && core_conn(fd)->mode == CONN_HTTP1);
	CHECK(current_known() == caller);
}

static void call_and_answer_many(bool one_host)
{
	size_t caller = 0, which = 0, reply = 0, head = 0;
	int fd[2], out[2], i;

	current_watch_threads(io_end_thread);
	current_notice_thread();
	config.response_header = CORE_NAME("x-trace");
	config.propagators = PROPAGATE_TRACECONTEXT | PROPAGATE_BAGGAGE;
	config.propagator_order[1] = PROPAGATE_BAGGAGE;
	config.correlation[0] = CORE_NAME("x-id");
	config.correlation_count = 1;
	config.header_lengths = 1u << 3;
	if (one_host)
		config.propagate_hosts = CORE_NAME("one");
	for (i = 0; i < 2; i++) {
		fd[i] = core_accept(false);
		out[i] = core_connect();
	}
	for (i = 0; i < 4000; i++) {
		int served = fd[pick(2)];

		caller = pick(4) == 0 ? PICK(callers) : caller;
		which = pick(4) == 0 ? PICK(calls) : which;
		reply = pick(4) == 0 ? PICK(replies) : reply;
		head = pick(4) == 0 ? PICK(answers) : head;
		core_receive_text(served, callers[caller]);
		call(out[pick(2)], which, reply, !one_host || strstr(calls[which].head, "Host: one") != NULL,
		     pick(6) == 0 ? 1 + (int)pick(200) : 0);
		answer(served, head, pick(2));
	}
	CHECK(usual_calls > 1000 && usual_replies > 1000 && usual_answers > 1000);
	CHECK(bare_calls > 300 && usual_calls - bare_calls > 300);
	CHECK_INT(counters_get(calls), 4000);
	for (i = 0; i < 2; i++) {
		core_close(fd[i]);
		core_close(out[i]);
	}
}

CORE_TEST(each_call_has_its_own_head_and_ids_between_answers)
{
	call_and_answer_many(false);
}

CORE_TEST(so_it_has_where_one_host_alone_gets_them)
{
	call_and_answer_many(true);
}

/* More than the head says is another reply's, to nothing. */
CORE_TEST(a_reply_that_is_longer_than_its_head_says_is_none)
{
	static const char text[] = "GET /a HTTP/1.1\r\nHost: one\r\n\r\n",
			  ok[] = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
	int served = core_accept(false), fd, i;

	current_watch_threads(io_end_thread);
	current_notice_thread();
	core_receive_text(served, GET);
	fd = core_connect();
	for (i = 0; i < 5; i++) {
		core_send_text(fd, text);
		core_receive_text(fd, ok);
		CHECK(core_conn(fd)->depth == 0 && core_conn(fd)->mode == CONN_HTTP1);
	}
	core_send_text(fd, text);
	core_receive_text(fd, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok!");
	CHECK_INT(core_conn(fd)->mode, CONN_OPAQUE);
	core_close(fd);
	fd = core_connect();
	for (i = 0; i < 2; i++) {
		core_send_text(fd, text);
		core_receive_text(fd, ok);
		CHECK(core_conn(fd)->depth == 0 && core_conn(fd)->mode == CONN_HTTP1);
	}
	core_receive_text(fd, ok); /* to nothing */
	CHECK_INT(core_conn(fd)->mode, CONN_OPAQUE);
	core_close(fd);
	core_close(served);
}

/* Two threads may call on one connection: the one whose plan was overtaken does not finish by it. */
CORE_TEST(a_call_that_another_one_has_overtaken_is_read_again)
{
	static const char text[] = "GET /a HTTP/1.1\r\nHost: one\r\n\r\n",
			  ok[] = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";
	struct iovec v[2][IO_ANSWER_VECTORS], iov = { (char *)(uintptr_t)text, sizeof(text) - 1 };
	int served = core_accept(false), fd, i;
	struct io_send io[2];

	current_watch_threads(io_end_thread);
	current_notice_thread();
	core_receive_text(served, GET);
	fd = core_connect();
	for (i = 0; i < 3; i++) {
		core_send_text(fd, text);
		core_receive_text(fd, ok);
	}
	CHECK(io_answer_begin(&io[0], fd, fds_word(fd), &iov, 1, v[0]));
	CHECK(io_answer_begin(&io[1], fd, fds_word(fd), &iov, 1, v[1]));
	CHECK(memcmp(v[0]->iov_base, v[1]->iov_base, v[0]->iov_len) != 0); /* a span id each */
	CHECK_INT(io_answer_end(&io[1], (ssize_t)v[1]->iov_len), iov.iov_len);
	CHECK_INT(core_conn(fd)->depth, 1);
	CHECK_INT(io_answer_end(&io[0], (ssize_t)v[0]->iov_len), iov.iov_len);
	CHECK_INT(core_conn(fd)->depth, 2);
	core_receive_text(fd, ok);
	CHECK_INT(core_conn(fd)->depth, 1);
	core_receive_text(fd, ok);
	CHECK(core_conn(fd)->depth == 0 && core_conn(fd)->mode == CONN_HTTP1);
	core_close(fd);
	core_close(served);
}

/* The exchange of the call is one that was used before: nothing of that one's reply is left. */
CORE_TEST(a_reply_that_nobody_sees_from_its_beginning_on_is_no_reply)
{
	static const char text[] = "GET /a HTTP/1.1\r\nHost: one\r\n\r\n",
			  ok[] = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
			  endless[] = "HTTP/1.1 200 OK\r\n\r\nand so on";
	int served = core_accept(false), fd[2], i;

	current_watch_threads(io_end_thread);
	current_notice_thread();
	core_receive_text(served, GET);
	for (i = 0; i < 4; i++) {
		if (i < 2)
			fd[i] = core_connect();
		core_send_text(fd[i % 2], text);
		core_receive_text(fd[i % 2], ok);
	}
	core_send_text(fd[0], text);
	core_receive_text(fd[0], endless);
	CHECK_INT(core_conn(fd[0])->mode, CONN_HTTP1);
	core_close(fd[0]);
	core_send_text(fd[1], text);
	CHECK_INT(core_conn(fd[1])->mode, CONN_HTTP1);
	io_receive_unseen(fd[1], 5);
	CHECK_INT(core_conn(fd[1])->mode, CONN_OPAQUE);
	core_close(fd[1]);
	core_close(served);
}

int main(void)
{
#define TEST(name) cmocka_unit_test(name)
	const struct CMUnitTest tests[] = {
		TEST(each_answer_has_its_own_head_and_id),
		TEST(a_plan_that_another_one_has_overtaken_is_not_carried_out),
		TEST(each_call_has_its_own_head_and_ids_between_answers),
		TEST(so_it_has_where_one_host_alone_gets_them),
		TEST(a_reply_that_is_longer_than_its_head_says_is_none),
		TEST(a_call_that_another_one_has_overtaken_is_read_again),
		TEST(a_reply_that_nobody_sees_from_its_beginning_on_is_no_reply),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

/*
 * The usual read and answer with the pools as they are: what a block holds of the answer before must not be in this one.
 */
#define CORE_REAL_POOLS
#include "core_fixture.h"

#include "config.h"
#include "current.h"
#include "ids.h"
#include "io.h"

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

int main(void)
{
#define TEST(name) cmocka_unit_test(name)
	const struct CMUnitTest tests[] = {
		TEST(each_answer_has_its_own_head_and_id),
		TEST(a_plan_that_another_one_has_overtaken_is_not_carried_out),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

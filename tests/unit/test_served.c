/*
 * Served connections: which request a byte belongs to, whatever the split.
 */
#include "core_fixture.h"

#define FIRST CORE_TRACE
#define SECOND CORE_OTHER_TRACE
#define THIRD "22222222222222222222222222222222"
#define GET1 "GET /1 HTTP/1.1\r\n" CORE_PARENT "\r\n"
#define GET2 "GET /2 HTTP/1.1\r\n" CORE_OTHER_PARENT "\r\n"
#define GET3 "GET /3 HTTP/1.1\r\ntraceparent: 00-" THIRD "-b7ad6b7169203331-01\r\n\r\n"
#define OK "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"

/* One direction's next bytes, and what is then to be answered. */
struct step {
	char kind; /* '<' from the client, '>' from the server, 's' sendfile of strlen(text) bytes, '!' shut, 0 end */
	const char *text;
	const char *answering; /* trace of the request whose response comes next; "" none */
};

struct scenario {
	const char *name;
	struct step step[12];
	int requests;
	enum conn_mode mode;
	int poisoned; /* -1: depends on how the first bytes are cut, which may look like HTTP for a while */
	int tunnels;
};

static const struct scenario scenarios[] = {
	{ "one", { { '<', GET1, FIRST }, { '>', OK, "" } }, 1, CONN_HTTP1, 0, 0 },
	{ "keep-alive",
	  { { '<', GET1, FIRST }, { '>', OK, "" }, { '<', GET2, SECOND }, { '>', OK, "" } },
	  2,
	  CONN_HTTP1,
	  0,
	  0 },
	{ "pipelined",
	  { { '<', GET1 GET2 GET3, FIRST }, { '>', OK, SECOND }, { '>', OK, THIRD }, { '>', OK, "" } },
	  3,
	  CONN_HTTP1,
	  0,
	  0 },
	{ "pipelined, answered at once",
	  { { '<', GET1 GET2 GET3, FIRST }, { '>', OK OK OK, "" } },
	  3,
	  CONN_HTTP1,
	  0,
	  0 },
	{ "interleaved",
	  { { '<', GET1 GET2, FIRST },
	    { '>', OK, SECOND },
	    { '<', GET3, SECOND },
	    { '>', OK, THIRD },
	    { '>', OK, "" } },
	  3,
	  CONN_HTTP1,
	  0,
	  0 },
	{ "half a head",
	  { { '<', "GET /1 HTTP/1.1\r\n" CORE_PARENT "\r", "" }, { '<', "\n", FIRST }, { '>', OK, "" } },
	  1,
	  CONN_HTTP1,
	  0,
	  0 },
	{ "body by length",
	  { { '<', "POST / HTTP/1.1\r\nContent-Length: 6\r\n" CORE_PARENT "\r\nab\r\n\r\n", FIRST },
	    { '>', OK, "" },
	    { '<', GET2, SECOND } },
	  2,
	  CONN_HTTP1,
	  0,
	  0 },
	{ "body in chunks",
	  { { '<', "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n" CORE_PARENT "\r\n3\r\nabc\r\n0\r\nT: x\r\n\r\n",
	      FIRST },
	    { '>', "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\n\r\n", "" },
	    { '<', GET2, SECOND } },
	  2,
	  CONN_HTTP1,
	  0,
	  0 },
	{ "early response",
	  { { '<', "POST / HTTP/1.1\r\nContent-Length: 4\r\n" CORE_PARENT "\r\nab", FIRST },
	    { '>', OK, "" },
	    { '<', "cd", "" },
	    { '<', GET2, SECOND },
	    { '>', OK, "" } },
	  2,
	  CONN_HTTP1,
	  0,
	  0 },
	{ "continue",
	  { { '<', "POST / HTTP/1.1\r\nExpect: 100-continue\r\nContent-Length: 1\r\n" CORE_PARENT "\r\n", FIRST },
	    { '>', "HTTP/1.1 100 Continue\r\n\r\n", FIRST },
	    { '<', "x", FIRST },
	    { '>',
	      "HTTP/1.1 102 P\r\nA: b\r\n\r\n"
	      "HTTP/1.1 103 Early Hints\r\n\r\n",
	      FIRST },
	    { '>', OK, "" } },
	  1,
	  CONN_HTTP1,
	  0,
	  0 },
	{ "HEAD",
	  { { '<', "HEAD / HTTP/1.1\r\n" CORE_PARENT "\r\n" GET2, FIRST },
	    { '>', "HTTP/1.1 200 OK\r\nContent-Length: 999\r\n\r\n", SECOND },
	    { '>', OK, "" } },
	  2,
	  CONN_HTTP1,
	  0,
	  0 },
	{ "no body by status",
	  { { '<', GET1 GET2, FIRST },
	    { '>', "HTTP/1.1 304 Not Modified\r\nContent-Length: 7\r\n\r\n", SECOND },
	    { '>', "HTTP/1.1 204 No Content\r\n\r\n", "" } },
	  2,
	  CONN_HTTP1,
	  0,
	  0 },
	{ "until close",
	  { { '<', GET1, FIRST }, { '>', "HTTP/1.0 200 OK\r\n\r\nHTTP/1.1 200 OK\r\n\r\n", FIRST }, { '!', "", "" } },
	  1,
	  CONN_HTTP1,
	  0,
	  0 },
	{ "shut amid a body",
	  { { '<', GET1, FIRST }, { '>', "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nx", FIRST }, { '!', "", FIRST } },
	  1,
	  CONN_HTTP1,
	  0,
	  0 },
	{ "shut before a response", { { '<', GET1, FIRST }, { '!', "", FIRST } }, 1, CONN_HTTP1, 0, 0 },
	{ "sendfile",
	  { { '<', GET1 GET2, FIRST },
	    { '>', "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n", FIRST },
	    { 's', "12345", SECOND },
	    { '>', OK, "" } },
	  2,
	  CONN_HTTP1,
	  0,
	  0 },
	{ "sendfile in a chunk",
	  { { '<', GET1 GET2, FIRST },
	    { '>', "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n", FIRST },
	    { 's', "12345", FIRST },
	    { '>', "\r\n0\r\n\r\n", SECOND } },
	  2,
	  CONN_HTTP1,
	  0,
	  0 },
	{ "sendfile beyond a body",
	  { { '<', GET1, FIRST },
	    { '>', "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n", FIRST },
	    { 's', "12345", "" } },
	  1,
	  CONN_OPAQUE,
	  1,
	  0 },
	{ "sendfile of a head", { { '<', GET1, FIRST }, { 's', "12345", "" } }, 1, CONN_OPAQUE, 1, 0 },
	{ "upgrade",
	  { { '<', "GET /ws HTTP/1.1\r\nUpgrade: websocket\r\nConnection: upgrade\r\n" CORE_PARENT "\r\n", FIRST },
	    { '>', "HTTP/1.1 101 Switching Protocols\r\n\r\n", "" },
	    { '<', GET2, "" },
	    { '>', OK, "" } },
	  1,
	  CONN_OPAQUE,
	  0,
	  1 },
	{ "upgrade refused",
	  { { '<', "GET /ws HTTP/1.1\r\nUpgrade: websocket\r\nConnection: upgrade\r\n" CORE_PARENT "\r\n", FIRST },
	    { '>', OK, "" },
	    { '<', GET2, SECOND } },
	  2,
	  CONN_HTTP1,
	  0,
	  0 },
	{ "CONNECT",
	  { { '<', "CONNECT a:1 HTTP/1.1\r\n" CORE_PARENT "\r\n", FIRST },
	    { '>', "HTTP/1.1 200 OK\r\n\r\n", "" },
	    { '<', GET2, "" } },
	  1,
	  CONN_OPAQUE,
	  0,
	  1 },
	{ "CONNECT refused",
	  { { '<', "CONNECT a:1 HTTP/1.1\r\n" CORE_PARENT "\r\n", FIRST },
	    { '>', "HTTP/1.1 407 No\r\nContent-Length: 0\r\n\r\n", "" },
	    { '<', GET2, SECOND } },
	  2,
	  CONN_HTTP1,
	  0,
	  0 },
	{ "bad head", { { '<', "GET / HTTP/1.1\r\nA : b\r\n\r\n", "" }, { '<', GET2, "" } }, 0, CONN_OPAQUE, 1, 0 },
	{ "bad second head", { { '<', GET1 "GET / HTTP/1.1\nX: y\n\n", "" } }, 1, CONN_OPAQUE, 1, 0 },
	{ "bad chunk",
	  { { '<', "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n" CORE_PARENT "\r\nxyz\r\n", "" } },
	  1,
	  CONN_OPAQUE,
	  1,
	  0 },
	{ "smuggling",
	  { { '<', "POST / HTTP/1.1\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" GET2, "" } },
	  0,
	  CONN_OPAQUE,
	  1,
	  0 },
	{ "bad response",
	  { { '<', GET1, FIRST }, { '>', "HTTP/1.1 200 OK\nContent-Length: 0\n\n", "" }, { '<', GET2, "" } },
	  1,
	  CONN_OPAQUE,
	  1,
	  0 },
	{ "a response too many", { { '<', GET1, FIRST }, { '>', OK, "" }, { '>', OK, "" } }, 1, CONN_OPAQUE, 1, 0 },
	{ "answer to half a head",
	  { { '<', "GET / HT", "" }, { '>', "HTTP/1.1 408 T\r\n\r\n", "" } },
	  0,
	  CONN_OPAQUE,
	  1,
	  0 },
	{ "server speaks first", { { '>', "220 hello\r\n", "" }, { '<', GET1, "" } }, 0, CONN_OPAQUE, 0, 0 },
	{ "not HTTP", { { '<', "\x16\x03\x01GET", "" }, { '<', GET1, "" }, { '>', OK, "" } }, 0, CONN_OPAQUE, 0, 0 },
	{ "HTTP/2", { { '<', "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "" }, { '<', GET1, "" } }, 0, CONN_OPAQUE, -1, 0 },
	{ "empty lines first", { { '<', "\r\n\r\n" GET1, FIRST }, { '>', OK, "" } }, 1, CONN_HTTP1, 0, 0 },
};

enum { SCENARIOS = sizeof(scenarios) / sizeof(scenarios[0]) };

static void take(int fd, const struct step *step, size_t from, size_t to)
{
	struct wire w = { 0 };

	if (from == to)
		return;
	if (step->kind == '<')
		core_receive(fd, step->text + from, to - from);
	else if (step->kind == '>')
		CHECK_INT(wire_send(&w, fd, step->text + from, to - from), to - from);
	if (step->kind == '>' && config.response_header.len == 0)
		CHECK(w.len == to - from && memcmp(w.bytes, step->text + from, w.len) == 0);
	if (step->kind == 's') {
		io_send_unseen_begin(fd);
		io_send_unseen_end(fd, (ssize_t)(to - from));
	}
	wire_free(&w);
}

static void check_end(const struct scenario *s, int fd)
{
	core_case = s->name;
	CHECK_INT(core_conn(fd)->mode, s->mode);
	CHECK_INT(counters_get(requests), s->requests);
	if (s->poisoned >= 0)
		CHECK_INT(counters_get(http_poisoned), s->poisoned);
	CHECK_INT(counters_get(http_tunnels), s->tunnels);
}

/* Split the step `which` at `cut`; `bytewise`: everything byte by byte. */
static void run(const struct scenario *s, int which, size_t cut, bool bytewise)
{
	int fd = core_accept(false), i;
	char trace[33];

	memset(counters_page()->counter, 0, sizeof(counters_page()->counter));
	for (i = 0; s->step[i].kind != 0; i++) {
		const struct step *step = &s->step[i];
		size_t len = strlen(step->text), at;

		for (at = 0; bytewise && at < len; at++)
			take(fd, step, at, at + 1);
		if (!bytewise) {
			take(fd, step, 0, i == which ? cut : len);
			take(fd, step, i == which ? cut : len, len);
		}
		if (step->kind == '!')
			io_shut(fd, SHUT_WR);
		core_trace_text(served_answering(core_conn(fd)), trace);
		if (strcmp(trace, step->answering) != 0) {
			fprintf(stderr, "scenario '%s', step %d (split %d at %zu, bytewise %d): answering '%s'\n",
			        s->name, i, which, cut, bytewise, trace);
			_exit(1);
		}
	}
	check_end(s, fd);
	core_close(fd);
}

CORE_TEST(scenarios_at_once)
{
	int i;

	for (i = 0; i < SCENARIOS; i++)
		run(&scenarios[i], -1, 0, false);
}

CORE_TEST(scenarios_byte_by_byte)
{
	int i;

	for (i = 0; i < SCENARIOS; i++)
		run(&scenarios[i], -1, 0, true);
}

CORE_TEST(scenarios_at_every_split)
{
	int i, step;
	size_t cut;

	for (i = 0; i < SCENARIOS; i++)
		for (step = 0; scenarios[i].step[step].kind != 0; step++)
			for (cut = 1; cut < strlen(scenarios[i].step[step].text); cut++)
				run(&scenarios[i], step, cut, false);
}

CORE_TEST(a_response_header_changes_no_boundary)
{
	config.response_header = CORE_NAME("x-other");
	run(&scenarios[2], -1, 0, true);
	run(&scenarios[8], -1, 0, true);
}

CORE_TEST(a_request_is_live_with_its_head_responding_with_the_first_byte_and_ended_with_the_last)
{
	int fd = core_accept(false);
	struct request *request;

	core_receive_text(fd, "GET / HTTP/1.1\r\n");
	request = request_ref(core_conn(fd)->first->request);
	CHECK_INT(request_state(request), REQUEST_HEAD);
	core_receive_text(fd, "\r\n");
	CHECK_INT(request_state(request), REQUEST_LIVE);
	core_send_text(fd, "H");
	CHECK_INT(request_state(request), REQUEST_RESPONDING);
	core_send_text(fd, "TTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\no");
	CHECK_INT(request_state(request), REQUEST_RESPONDING);
	core_send_text(fd, "k");
	CHECK_INT(request_state(request), REQUEST_ENDED);
	request_unref(request);
	core_close(fd);
}

CORE_TEST(a_request_ends_when_its_connection_dies)
{
	int fd = core_accept(false);
	struct request *first, *second;

	core_receive_text(fd, GET1 GET2);
	first = request_ref(core_conn(fd)->first->request);
	second = request_ref(conn_last(core_conn(fd))->request);
	core_close(fd);
	CHECK_INT(request_state(first), REQUEST_FOLLOWED); /* the program may have been at the second one */
	CHECK_INT(request_state(second), REQUEST_ENDED);
	request_unref(first);
	request_unref(second);
}

CORE_TEST(a_queue_at_its_limit_is_followed_and_one_beyond_passes_through)
{
	int fd = core_accept(false), i;

	for (i = 0; i < LIMIT_PIPELINE; i++)
		core_receive_text(fd, GET1);
	CHECK_INT(core_conn(fd)->mode, CONN_HTTP1);
	CHECK_INT(core_conn(fd)->depth, LIMIT_PIPELINE);
	core_send_text(fd, OK);
	core_receive_text(fd, GET2);
	CHECK_INT(core_conn(fd)->depth, LIMIT_PIPELINE);
	core_receive_text(fd, GET3);
	CHECK_INT(core_conn(fd)->mode, CONN_OPAQUE);
	CHECK_INT(core_conn(fd)->depth, 0);
	CHECK_INT(counters_get(http_poisoned), 1);
	core_send_text(fd, OK);
	core_close(fd);
}

/* A child has the connection too, and what it writes there is seen by nobody else. */
CORE_TEST(a_request_that_a_child_may_have_answered_gives_its_name_to_no_other_answer)
{
	int fd = core_accept(false);

	core_receive_text(fd, GET1);
	conn_note_child();
	core_receive_text(fd, GET2);
	CHECK_INT(core_conn(fd)->mode, CONN_OPAQUE);
	core_close(fd);
	/* As long as it is told what to answer, it does not matter how long it has been there. */
	fd = core_accept(false);
	conn_note_child();
	core_receive_text(fd, GET1);
	core_send_text(fd, OK);
	core_receive_text(fd, GET2);
	CHECK_INT(core_conn(fd)->mode, CONN_HTTP1);
	core_receive_text(fd, GET3);
	CHECK_INT(core_conn(fd)->mode, CONN_OPAQUE);
	core_close(fd);
	/* Children of before have no connection that came behind them. */
	fd = core_accept(false);
	core_receive_text(fd, GET1 GET2);
	core_send_text(fd, OK);
	conn_note_child();
	core_send_text(fd, OK);
	core_receive_text(fd, GET3);
	CHECK_INT(core_conn(fd)->mode, CONN_HTTP1);
	core_close(fd);
}

/* Its parent has the connection, too, but goes on to others. Its own children count for it. */
CORE_TEST(a_child_takes_what_comes_on_its_connection_for_its_own)
{
	int fd = core_accept(false);

	conn_note_child();
	io_after_fork();
	core_receive_text(fd, GET1 GET2);
	core_send_text(fd, OK);
	core_send_text(fd, OK);
	CHECK_INT(core_conn(fd)->mode, CONN_HTTP1);
	conn_note_child();
	core_receive_text(fd, GET3 GET1);
	core_send_text(fd, OK);
	CHECK_INT(core_conn(fd)->mode, CONN_OPAQUE);
	core_close(fd);
}

CORE_TEST(of_requests_read_together_none_has_a_name_once_a_child_may_have_answered_one)
{
	int fd = core_accept(false);

	core_receive_text(fd, GET1 GET2);
	CHECK(current_known() == NULL);
	conn_note_child();
	CHECK(current_known() == NULL);
	core_send_text(fd, OK);
	CHECK_INT(core_conn(fd)->mode, CONN_OPAQUE);
	CHECK(current_known() == NULL);
	core_close(fd);
	CHECK(current_known() == NULL);
}

/* It was answered before its body was read: the thread that reads the rest of that, and more with it, is at its end still. */
CORE_TEST(a_request_that_is_read_with_the_end_of_one_answered_early_is_not_the_threads_yet)
{
	int fd = core_accept(false);

	core_receive_text(fd, "POST / HTTP/1.1\r\nContent-Length: 4\r\n\r\nbo");
	core_send_text(fd, "HTTP/1.1 413 No\r\nContent-Length: 0\r\n\r\n");
	core_receive_text(fd, "dy" GET2);
	CHECK_NOTHING_KNOWN();
	CHECK(served_answering(core_conn(fd)) != NULL);
	core_send_text(fd, OK);
	core_receive_text(fd, "POST / HTTP/1.1\r\nContent-Length: 4\r\n\r\nbo");
	core_send_text(fd, "HTTP/1.1 413 No\r\nContent-Length: 0\r\n\r\n");
	core_receive_text(fd, "dy");
	core_receive_text(fd, GET2);
	CHECK(current_known() != NULL);
	core_close(fd);
}

CORE_TEST(a_connection_between_two_requests_holds_nothing_but_itself)
{
	int fd = core_accept(false);
	long idle = core_blocks_out;

	core_receive_text(fd, GET1);
	core_send_text(fd, OK);
	current_clear();
	CHECK_INT(core_blocks_out, idle);
	core_close(fd);
}

CORE_TEST(raw_connections_get_a_request_a_flip_of_direction)
{
	int fd;
	struct request *first;

	config.raw = true;
	fd = core_accept(false);
	core_receive_text(fd, "PING\n");
	first = request_ref(current_known());
	CHECK(first != NULL);
	core_receive_text(fd, "more\n");
	CHECK(current_known() == first);
	CHECK_INT(request_state(first), REQUEST_LIVE);
	core_send_text(fd, "PONG\n");
	CHECK_INT(request_state(first), REQUEST_RESPONDING);
	core_receive_text(fd, "PING\n");
	CHECK_INT(request_state(first), REQUEST_ENDED);
	CHECK(current_known() != NULL && current_known() != first);
	CHECK_INT(counters_get(requests_raw), 2);
	request_unref(first);
	core_close(fd);
}

int main(void)
{
#define TEST(name) cmocka_unit_test(name)
	const struct CMUnitTest tests[] = {
		TEST(scenarios_at_once),
		TEST(scenarios_byte_by_byte),
		TEST(scenarios_at_every_split),
		TEST(a_response_header_changes_no_boundary),
		TEST(a_request_is_live_with_its_head_responding_with_the_first_byte_and_ended_with_the_last),
		TEST(a_request_ends_when_its_connection_dies),
		TEST(a_queue_at_its_limit_is_followed_and_one_beyond_passes_through),
		TEST(a_request_that_a_child_may_have_answered_gives_its_name_to_no_other_answer),
		TEST(a_child_takes_what_comes_on_its_connection_for_its_own),
		TEST(of_requests_read_together_none_has_a_name_once_a_child_may_have_answered_one),
		TEST(a_request_that_is_read_with_the_end_of_one_answered_early_is_not_the_threads_yet),
		TEST(a_connection_between_two_requests_holds_nothing_but_itself),
		TEST(raw_connections_get_a_request_a_flip_of_direction),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

/*
 * Outgoing connections: which request a byte belongs to, and for whom it is sent, whatever the split.
 */
#include "core_fixture.h"

#define GET "GET / HTTP/1.1\r\nHost: b\r\n\r\n"
#define HEAD "HEAD / HTTP/1.1\r\nHost: b\r\n\r\n"
#define POST "POST / HTTP/1.1\r\nHost: b\r\nContent-Length: 5\r\n\r\nhello"
#define OK "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"

struct step {
	char kind; /* '>' to the server, '<' from it, 's' sendfile of strlen(text) bytes, 0 end */
	const char *text;
	int depth; /* exchanges that are then open */
};

struct scenario {
	const char *name;
	struct step step[8];
	int calls;
	enum conn_mode mode;
	int poisoned, tunnels;
};

static const struct scenario scenarios[] = {
	{ "one", { { '>', GET, 1 }, { '<', OK, 0 } }, 1, CONN_HTTP1, 0, 0 },
	{ "kept", { { '>', GET, 1 }, { '<', OK, 0 }, { '>', POST, 1 }, { '<', OK, 0 } }, 2, CONN_HTTP1, 0, 0 },
	{ "pipelined",
	  { { '>', GET POST HEAD, 3 }, { '<', OK OK, 1 }, { '<', "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n", 0 } },
	  3,
	  CONN_HTTP1,
	  0,
	  0 },
	{ "continue",
	  { { '>', "POST / HTTP/1.1\r\nExpect: 100-continue\r\nContent-Length: 1\r\n\r\n", 1 },
	    { '<', "HTTP/1.1 100 Continue\r\n\r\n", 1 },
	    { '>', "x", 1 },
	    { '<', OK, 0 } },
	  1,
	  CONN_HTTP1,
	  0,
	  0 },
	{ "early response",
	  { { '>', "POST / HTTP/1.1\r\nContent-Length: 4\r\n\r\nab", 1 },
	    { '<', OK, 1 },
	    { '>', "cd", 0 },
	    { '>', GET, 1 },
	    { '<', OK, 0 } },
	  2,
	  CONN_HTTP1,
	  0,
	  0 },
	{ "sendfile",
	  { { '>', "PUT / HTTP/1.1\r\nContent-Length: 5\r\n\r\n", 1 }, { 's', "12345", 1 }, { '<', OK, 0 } },
	  1,
	  CONN_HTTP1,
	  0,
	  0 },
	{ "sendfile of a head", { { 's', "12345", 0 }, { '>', GET, 0 } }, 0, CONN_OPAQUE, 0, 0 },
	{ "CONNECT",
	  { { '>', "CONNECT a:1 HTTP/1.1\r\nHost: a:1\r\n\r\n", 1 },
	    { '<', "HTTP/1.1 200 OK\r\n\r\n", 0 },
	    { '>', GET, 0 } },
	  1,
	  CONN_OPAQUE,
	  0,
	  1 },
	{ "CONNECT, and what the tunnel is for before the answer",
	  { { '>', "CONNECT a:1 HTTP/1.1\r\nHost: a:1\r\n\r\n", 1 }, { '>', GET, 0 }, { '<', OK, 0 } },
	  1,
	  CONN_OPAQUE,
	  0,
	  1 },
	{ "CONNECT, and what the tunnel is for in one call",
	  { { '>', "CONNECT a:1 HTTP/1.1\r\nHost: a:1\r\n\r\n" GET, 0 } },
	  1,
	  CONN_OPAQUE,
	  0,
	  1 },
	{ "CONNECT refused",
	  { { '>', "CONNECT a:1 HTTP/1.1\r\nHost: a:1\r\n\r\n", 1 },
	    { '<', "HTTP/1.1 407 No\r\nContent-Length: 0\r\n\r\n", 0 },
	    { '>', GET, 1 } },
	  2,
	  CONN_HTTP1,
	  0,
	  0 },
	{ "upgrade",
	  { { '>', "GET / HTTP/1.1\r\nUpgrade: w\r\nConnection: upgrade\r\n\r\n", 1 },
	    { '<', "HTTP/1.1 101 S\r\n\r\n\x81", 0 },
	    { '>', GET, 0 } },
	  1,
	  CONN_OPAQUE,
	  0,
	  1 },
	{ "until close",
	  { { '>', GET, 1 }, { '<', "HTTP/1.0 200 OK\r\n\r\nHTTP/1.1 200 OK\r\n\r\n", 1 } },
	  1,
	  CONN_HTTP1,
	  0,
	  0 },
	{ "bad head", { { '>', "GET / HTTP/1.1\r\nA : b\r\n\r\n", 0 }, { '<', OK, 0 } }, 0, CONN_OPAQUE, 1, 0 },
	{ "bad response", { { '>', GET, 1 }, { '<', "HTTP/1.1 200 OK\nA: b\n\n", 0 } }, 1, CONN_OPAQUE, 1, 0 },
	{ "a response to nothing", { { '>', GET, 1 }, { '<', OK OK, 0 } }, 1, CONN_OPAQUE, 1, 0 },
	{ "the server speaks first", { { '<', "220 hello\r\n", 0 }, { '>', GET, 0 } }, 0, CONN_OPAQUE, 0, 0 },
	{ "not HTTP", { { '>', "*1\r\n$4\r\nPING\r\n", 0 }, { '>', GET, 0 } }, 0, CONN_OPAQUE, 0, 0 },
};

static void take(int fd, const struct step *step, size_t from, size_t to)
{
	if (from == to)
		return;
	if (step->kind == '<') {
		core_receive(fd, step->text + from, to - from);
	} else if (step->kind == '>') {
		struct wire w = { 0 };

		CHECK_INT(wire_send(&w, fd, step->text + from, to - from), to - from);
		CHECK(w.len == to - from && memcmp(w.bytes, step->text + from, w.len) == 0);
		wire_free(&w);
	} else {
		io_send_unseen_begin(fd);
		io_send_unseen_end(fd, (ssize_t)(to - from));
	}
}

static void run(const struct scenario *s, int which, size_t cut, bool bytewise)
{
	int fd = core_connect(), i;

	core_case = s->name;
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
		CHECK_INT(core_conn(fd)->depth, step->depth);
	}
	CHECK_INT(core_conn(fd)->mode, s->mode);
	CHECK_INT(counters_get(calls), s->calls);
	CHECK_INT(counters_get(http_poisoned), s->poisoned);
	CHECK_INT(counters_get(http_tunnels), s->tunnels);
	core_close(fd);
}

#define SCENARIOS (sizeof(scenarios) / sizeof(scenarios[0]))

CORE_TEST(scenarios_at_once)
{
	size_t i;

	for (i = 0; i < SCENARIOS; i++)
		run(&scenarios[i], -1, 0, false);
}

CORE_TEST(scenarios_byte_by_byte)
{
	size_t i;

	for (i = 0; i < SCENARIOS; i++)
		run(&scenarios[i], -1, 0, true);
}

CORE_TEST(scenarios_at_every_split)
{
	size_t i, cut;
	int step;

	for (i = 0; i < SCENARIOS; i++)
		for (step = 0; scenarios[i].step[step].kind != 0; step++)
			for (cut = 1; cut < strlen(scenarios[i].step[step].text); cut++)
				run(&scenarios[i], step, cut, false);
}

CORE_TEST(a_queue_beyond_its_limit_passes_through)
{
	int fd = core_connect(), i;

	for (i = 0; i < LIMIT_PIPELINE; i++)
		core_send_text(fd, GET);
	CHECK_INT(core_conn(fd)->depth, LIMIT_PIPELINE);
	core_send_text(fd, GET);
	CHECK_INT(core_conn(fd)->mode, CONN_OPAQUE);
	CHECK_INT(core_conn(fd)->depth, 0);
	core_close(fd);
}

CORE_TEST(an_idle_connection_of_a_pool_holds_nobody)
{
	int served = core_accept(false), fd;
	struct request *request;

	core_receive_text(served, "GET / HTTP/1.1\r\n" CORE_PARENT "\r\n");
	request = request_ref(current_known());
	fd = core_connect();
	core_send_text(fd, GET);
	core_receive_text(fd, OK);
	core_send_text(served, OK);
	current_clear();
	core_close(served);
	CHECK_INT(request->refs, 1);
	request_unref(request);
	core_close(fd);
}

CORE_TEST(each_of_two_requests_on_a_kept_connection_is_told_apart)
{
	int one = core_accept(false), two = core_accept(false), fd;
	struct wire w = { 0 };

	core_receive_text(one, "GET / HTTP/1.1\r\n" CORE_PARENT "\r\n");
	fd = core_connect();
	core_send_text(fd, GET);
	core_receive_text(fd, OK);
	core_receive_text(two, "GET / HTTP/1.1\r\n" CORE_OTHER_PARENT "\r\n");
	CHECK_INT(wire_send(&w, fd, GET, sizeof(GET) - 1), sizeof(GET) - 1);
	CHECK_WIRE(&w, "GET / HTTP/1.1\r\nHost: b\r\n" CORE_INSERTED_OTHER "\r\n");
	core_receive_text(fd, OK);
	CHECK_KNOWN(CORE_OTHER_TRACE);
	wire_free(&w);
	core_close(fd);
	core_close(one);
	core_close(two);
}

/* A correlation header's name may have as many letters as Host: its value is no host, and it is not added to itself. */
CORE_TEST(a_header_of_four_letters_is_not_the_host)
{
	static const char mine[] = "GET / HTTP/1.1\r\nHost: b\r\nx-id: c\r\n\r\n",
			  other[] = "GET / HTTP/1.1\r\nHost: c\r\nx-id: b\r\n\r\n";
	int served, fd, i;

	config.correlation[0] = CORE_NAME("x-id");
	config.correlation_count = 1;
	config.header_lengths = 1u << 3;
	config.propagate_hosts = CORE_NAME("b");
	served = core_accept(false);
	core_receive_text(served, "GET / HTTP/1.1\r\n" CORE_PARENT "\r\n");
	fd = core_connect();
	for (i = 0; i < 4; i++) {
		struct wire w = { 0 };

		CHECK_INT(wire_send(&w, fd, mine, sizeof(mine) - 1), sizeof(mine) - 1);
		CHECK_WIRE(&w, "GET / HTTP/1.1\r\nHost: b\r\nx-id: c\r\n" CORE_INSERTED "\r\n");
		core_receive_text(fd, OK);
		wire_free(&w);
	}
	for (i = 0; i < 4; i++) {
		struct wire w = { 0 };

		CHECK_INT(wire_send(&w, fd, other, sizeof(other) - 1), sizeof(other) - 1);
		CHECK_WIRE(&w, other);
		core_receive_text(fd, OK);
		wire_free(&w);
	}
	core_close(fd);
	core_close(served);
}

int main(void)
{
#define TEST(name) cmocka_unit_test(name)
	const struct CMUnitTest tests[] = {
		TEST(scenarios_at_once),
		TEST(scenarios_byte_by_byte),
		TEST(scenarios_at_every_split),
		TEST(a_queue_beyond_its_limit_passes_through),
		TEST(an_idle_connection_of_a_pool_holds_nobody),
		TEST(a_header_of_four_letters_is_not_the_host),
		TEST(each_of_two_requests_on_a_kept_connection_is_told_apart),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

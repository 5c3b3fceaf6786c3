/*
 * The FastCGI scanner and what it reads of CGI: what a stream says is the same however it is split; what lies about its lengths, is of
 * another direction or of several requests at once poisons it.
 */
#include "cgi_fixture.h"

#include "fastcgi.h"

struct scan {
	struct fastcgi h;
	bool stops;
};

static const char *const events[] = { "", "BEGIN", "BLANK", "HEAD", "BODY", "ANSWER", "END", "ALIEN" };

static void feed(void *scanner, struct said *said, const char *in, size_t len)
{
	struct fastcgi *h = &((struct scan *)scanner)->h;
	struct cgi_sink sink = { say_pair, said };

	while (len > 0) {
		enum fastcgi_status status;
		size_t used;

		status = fastcgi_feed(h, &sink, line_of_cgi, in, len, &used);
		assert_true(used <= len);
		assert_true(status != FASTCGI_MORE || used == len);
		if (status != FASTCGI_MORE && !(status == FASTCGI_ALIEN && strstr(said->text, "ALIEN") != NULL))
			say(said, "%s ", events[status]);
		if (status == FASTCGI_ANSWER)
			say(said, "%d ", h->answer.status);
		in += used;
		len -= used;
	}
}

static struct said *run(const struct bytes *b, enum fastcgi_side side, unsigned expect, size_t step, size_t cut)
{
	struct said *said = calloc(1, sizeof(*said));
	struct scan scan = { 0 };

	fastcgi_init(&scan.h, side);
	fastcgi_expect(&scan.h, (uint16_t)expect);
	feed_in_pieces(feed, &scan, said, b, step, cut);
	free(scan.h.pairs.line);
	return said;
}

/* However it is split it says `expected`. */
static void check(const struct bytes *b, enum fastcgi_side side, unsigned expect, const char *expected)
{
	const size_t steps[] = { 0, 1, 2, 3, 7, 8, 9, 16, 100 };
	struct said *said;
	size_t i;

	for (i = 0; i < sizeof(steps) / sizeof(steps[0]); i++) {
		said = run(b, side, expect, steps[i], 0);
		assert_string_equal(said->text, expected);
		free(said);
	}
	for (i = 1; i < b->len && i < 600; i++) {
		said = run(b, side, expect, 0, i);
		assert_string_equal(said->text, expected);
		free(said);
	}
}

static struct bytes *fresh(void)
{
	return calloc(1, sizeof(struct bytes));
}

static void requests_tell_their_params(void **state)
{
	struct bytes *b = fresh(), *p = fresh();

	(void)state;
	put_fastcgi_pair(p, "REQUEST_METHOD", "POST", 4, 0);
	put_fastcgi_pair(p, "EMPTY", "", 0, 0);
	put_fastcgi_pair(p, "HTTP_TRACEPARENT", "00-x", 4, 1);
	put_begin(b, 1, 1);
	put_record(b, 4, 1, p->at, p->len, 5);
	put_record(b, 4, 1, "", 0, 3);
	put_record(b, 5, 1, "body", 4, 4);
	put_record(b, 5, 1, "", 0, 0);
	check(b, FASTCGI_REQUESTS, 0, "BEGIN REQUEST_METHOD=POST EMPTY= HTTP_TRACEPARENT=00-x HEAD BODY ");
	free(b), free(p);
}

static void pairs_may_lie_over_several_records(void **state)
{
	struct bytes *b = fresh(), *p = fresh();
	char *value = malloc(9000);
	size_t i;

	(void)state;
	memset(value, 'v', 9000);
	put_fastcgi_pair(p, "A", "1", 1, 0);
	put_fastcgi_pair(p, "HTTP_LONG", value, 8000, 0);
	put_fastcgi_pair(p, "HTTP_TOO_LONG", value, 9000, 0);
	put_fastcgi_pair(p, "", "nameless", 8, 0);
	put_fastcgi_pair(p, "B", "2", 1, 0);
	put_begin(b, 258, 0);
	for (i = 0; i < p->len; i += 1000)
		put_record(b, 4, 258, p->at + i, p->len - i < 1000 ? p->len - i : 1000, i % 5);
	put_record(b, 4, 258, "", 0, 0);
	put_record(b, 5, 258, "", 0, 0);
	check(b, FASTCGI_REQUESTS, 0, "BEGIN A=1 HTTP_LONG=<8000 vv> B=2 HEAD BODY ");
	free(b), free(p), free(value);
}

static void what_is_not_of_the_request_is_passed_over(void **state)
{
	struct bytes *b = fresh();

	(void)state;
	put_record(b, 9, 0, "\016\0FCGI_MPXS_CONNS", 17, 7);
	put_record(b, 5, 9, "of one that has ended", 21, 0);
	put_record(b, 2, 9, "", 0, 0);
	put_begin(b, 1, 0);
	put_record(b, 4, 1, "", 0, 0);
	put_record(b, 8, 1, "data", 4, 0);
	put_record(b, 2, 1, "", 0, 0);
	check(b, FASTCGI_REQUESTS, 0, "BEGIN HEAD ");
	free(b);
}

static void params_end_where_something_may_be_inserted(void **state)
{
	struct said said = { 0 };
	struct bytes *b = fresh();
	struct cgi_sink sink = { say_pair, &said };
	struct fastcgi h;
	size_t used, end;

	(void)state;
	put_begin(b, 1, 0);
	put_record(b, 4, 1, "\1\1XY", 4, 4);
	end = b->len;
	put_record(b, 4, 1, "", 0, 2);
	fastcgi_init(&h, FASTCGI_REQUESTS);
	h.stops = true;
	assert_int_equal(fastcgi_feed(&h, &sink, line_of_cgi, b->at, b->len, &used), FASTCGI_BEGIN);
	assert_int_equal(used, 16);
	assert_int_equal(fastcgi_feed(&h, &sink, line_of_cgi, b->at + 16, b->len - 16, &used), FASTCGI_BLANK);
	assert_int_equal(used + 16, end);
	assert_int_equal(fastcgi_feed(&h, &sink, line_of_cgi, b->at + end, b->len - end, &used), FASTCGI_HEAD);
	assert_int_equal(used, 10);
	free(b);
}

static void no_spot_in_a_header_that_is_split(void **state)
{
	struct bytes *b = fresh();
	struct said said = { 0 };
	struct cgi_sink sink = { say_pair, &said };
	struct fastcgi h;
	size_t used;

	(void)state;
	put_begin(b, 1, 0);
	put_record(b, 4, 1, "", 0, 0);
	fastcgi_init(&h, FASTCGI_REQUESTS);
	h.stops = true;
	assert_int_equal(fastcgi_feed(&h, &sink, line_of_cgi, b->at, 16, &used), FASTCGI_BEGIN);
	assert_int_equal(fastcgi_feed(&h, &sink, line_of_cgi, b->at + 16, 7, &used), FASTCGI_MORE);
	assert_int_equal(fastcgi_feed(&h, &sink, line_of_cgi, b->at + 23, 1, &used), FASTCGI_HEAD);
	free(b);
}

static void responses_tell_their_status(void **state)
{
	static const struct {
		const char *head, *expected;
	} cases[] = {
		{ "Status: 404 Not Found\r\nX: y\r\n\r\n", "ANSWER 404 END " },
		{ "X-Powered-By: PHP\r\nContent-type: text/html\r\n\r\n", "ANSWER 200 END " },
		{ "content-type: text/plain\nsTATUS:\t503\n\nStatus: 201\n\n", "ANSWER 503 END " },
		{ "HTTP/1.1 206 Partial Content\r\nStatus: x\r\n\r\n", "ANSWER 206 END " },
		{ "Location: /there\r\n\r\n", "ANSWER 302 END " },
		{ "Location: /there\r\nStatus: 201\r\n\r\n", "ANSWER 201 END " },
		{ "X: Status: 404\r\n\r\n", "ANSWER 200 END " },
	};
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct bytes *b = fresh();
		size_t len = strlen(cases[i].head);

		put_record(b, 7, 3, "a warning", 9, 7);
		put_record(b, 6, 3, cases[i].head, 9, 0);
		put_record(b, 10, 0, "", 0, 0);
		put_record(b, 6, 3, cases[i].head + 9, len - 9, 1);
		put_record(b, 6, 3, "body\r\n\r\n", 8, 0);
		put_record(b, 6, 3, "", 0, 0);
		put_record(b, 3, 3, "\0\0\0\0\0\0\0\0", 8, 0);
		check(b, FASTCGI_RESPONSES, 3, cases[i].expected);
		free(b);
	}
}

static void lies_poison(void **state)
{
	struct bytes *b[12] = { 0 };
	const char *expected[12] = { 0 };
	size_t n = 0, i;

	(void)state;
#define CASE(what, ...)                                                                                                \
	do {                                                                                                           \
		b[n] = fresh();                                                                                        \
		__VA_ARGS__;                                                                                           \
		expected[n++] = what;                                                                                  \
	} while (0)
	CASE("ALIEN ", put_record(b[n], 1, 1, "\0\1\0\0\0\0\0\0\0", 9, 0)); /* a BEGIN of 9 bytes */
	CASE("ALIEN ", put_record(b[n], 1, 0, "\0\1\0\0\0\0\0\0", 8, 0));   /* about the connection */
	CASE("ALIEN ", put_record(b[n], 1, 1, "\0\4\0\0\0\0\0\0", 8, 0));   /* a role that does not exist */
	CASE("ALIEN ", put_record(b[n], 12, 1, "", 0, 0));
	CASE("ALIEN ", put_record(b[n], 6, 1, "of a server", 11, 0));
	CASE("BEGIN ALIEN ", put_begin(b[n], 1, 0), put_begin(b[n], 2, 0)); /* two at a time */
	CASE("BEGIN ALIEN ", put_begin(b[n], 1, 0), put_record(b[n], 4, 1, "\5\1XY", 4, 0),
	     put_record(b[n], 4, 1, "", 0, 0)); /* a pair that reaches beyond the end */
	CASE("BEGIN ALIEN ", put_begin(b[n], 1, 0),
	     put_record(b[n], 4, 1, "\200\4\0\0\1XYZ", 8, 0)); /* longer than any head */
	CASE("BEGIN ALIEN ", put_begin(b[n], 1, 0), put_record(b[n], 4, 1, "\377\377\377\377\377\377\377\377", 8, 0));
	CASE("BEGIN HEAD ALIEN ", put_begin(b[n], 1, 0), put_record(b[n], 4, 1, "", 0, 0),
	     put_record(b[n], 4, 1, "\1\1XY", 4, 0));                                  /* params behind their end */
	CASE("BEGIN ALIEN ", put_begin(b[n], 1, 0), put(b[n], "\2\4\0\1\0\0\0\0", 8)); /* another version */
	for (i = 0; i < n; i++) {
		put_begin(b[i], 7, 0); /* which is not looked at any more */
		check(b[i], FASTCGI_REQUESTS, 0, expected[i]);
		free(b[i]);
	}
}

static void answers_to_nobody_poison(void **state)
{
	struct bytes *b = fresh();

	(void)state;
	put_record(b, 6, 2, "x", 1, 0);
	check(b, FASTCGI_RESPONSES, 1, "ALIEN ");
	b->len = 0;
	put_record(b, 3, 1, "\0\0\0\0\0\0\0\0\0", 9, 0);
	check(b, FASTCGI_RESPONSES, 1, "ALIEN ");
	free(b);
}

/* Endless params: as many bytes, and as many pairs, as a head of HTTP may have, and no more. */
static void params_have_limits(void **state)
{
	struct bytes *b = fresh(), *p = fresh();
	struct said *said;
	size_t i;

	(void)state;
	put_begin(b, 1, 0);
	for (i = 0; i < LIMIT_HEAD_FIELDS + 1; i++)
		put_record(b, 4, 1, "\0\1X", 3, 0);
	said = run(b, FASTCGI_REQUESTS, 0, 0, 0);
	assert_string_equal(said->text, "BEGIN ALIEN ");
	free(said);
	b->len = 0;
	put_begin(b, 1, 0);
	memset(p->at, 'x', 60000);
	for (i = 0; i < 5; i++) {
		put_record(b, 4, 1, "\1\200\0\352\140N", 6, 0); /* a value of 60,000 bytes */
		put_record(b, 4, 1, p->at, 60000, 0);
	}
	said = run(b, FASTCGI_REQUESTS, 0, 0, 0);
	assert_string_equal(said->text, "BEGIN ALIEN ");
	free(said), free(b), free(p);
}

static void a_fork_reads_on_without_its_original(void **state)
{
	struct said one = { 0 }, two = { 0 };
	struct bytes *b = fresh();
	struct scan scan = { 0 }, copy = { 0 };

	(void)state;
	put_begin(b, 1, 0);
	put_record(b, 4, 1, "\4\4NAMEwort", 10, 0);
	fastcgi_init(&scan.h, FASTCGI_REQUESTS);
	feed(&scan, &one, b->at, b->len - 3);
	assert_true(fastcgi_fork(&copy.h, &scan.h, line_of_cgi));
	feed(&copy, &two, "xyz", 3);
	assert_string_equal(two.text, "NAME=wxyz ");
	feed(&scan, &one, b->at + b->len - 3, 3);
	assert_string_equal(one.text, "BEGIN NAME=wort ");
	free(scan.h.pairs.line), free(copy.h.pairs.line), free(b);
}

static void unseen_bytes_are_bodies_only(void **state)
{
	struct bytes *b = fresh();
	struct said said = { 0 };
	struct scan scan = { 0 };
	const char body[100] = "";

	(void)state;
	put_begin(b, 1, 0);
	put_record(b, 4, 1, "", 0, 0);
	put_record(b, 5, 1, body, sizeof(body), 0);
	fastcgi_init(&scan.h, FASTCGI_REQUESTS);
	feed(&scan, &said, b->at, 32);
	assert_true(fastcgi_skip(&scan.h, 60));
	assert_true(fastcgi_skip(&scan.h, 40));
	feed(&scan, &said, b->at + 16, 0);
	assert_false(fastcgi_skip(&scan.h, 1)); /* a header */
	assert_true(scan.h.poisoned);
	fastcgi_init(&scan.h, FASTCGI_REQUESTS);
	feed(&scan, &said, b->at, 12);
	assert_false(fastcgi_skip(&scan.h, 1)); /* in a BEGIN_REQUEST */
	free(b);
}

static void first_bytes_are_known(void **state)
{
	(void)state;
	assert_false(fastcgi_sniff("", 0));
	assert_true(fastcgi_sniff("\1", 1));
	assert_true(fastcgi_sniff("\1\1\0\1\0\10\0\0\0\1\1\0\0\0\0\0", 16));
	assert_true(fastcgi_sniff("\1\1\377\377\0\10\7\0", 8));
	assert_false(fastcgi_sniff("\1\1\0\1\0\11\0\0", 8));
	assert_false(fastcgi_sniff("\1\2\0\1\0\10\0\0", 8));
	assert_false(fastcgi_sniff("\26\3\1\2\0\1\0\1", 8));
	assert_false(fastcgi_sniff("GET / HTTP/1.1", 14));
}

static void names_of_variables_are_those_of_fields(void **state)
{
	char name[LIMIT_HEADER_NAME];

	(void)state;
	assert_int_equal(cgi_field_name(name, "HTTP_X_TRACE_ID", 15), 10);
	assert_memory_equal(name, "x-trace-id", 10);
	assert_int_equal(cgi_field_name(name, "HTTP_", 5), 0);
	assert_int_equal(cgi_field_name(name, "HTTPS_X", 7), 0);
	assert_int_equal(cgi_field_name(name, "REQUEST_URI", 11), 0);
	assert_int_equal(cgi_method("GET", 3), HTTP1_GET);
	assert_int_equal(cgi_method("OPTIONS", 7), HTTP1_OPTIONS);
	assert_int_equal(cgi_method("get", 3), HTTP1_OTHER);
	assert_int_equal(cgi_method("PROPFIND", 8), HTTP1_OTHER);
}

static void lines_become_pairs(void **state)
{
	static const char lines[] = "traceparent: 00-1\r\nx-trace-id: \r\n";
	char *value = malloc(300), out[1024], block[2048];
	struct cgi_pairs pairs = { .kind = CGI_FASTCGI, .limit = LIMIT_HEAD_BYTES };
	struct said said = { 0 };
	struct cgi_sink sink = { say_pair, &said };
	size_t len;

	(void)state;
	memset(value, 'b', 300);
	memcpy(block + CGI_GROWTH, lines, sizeof(lines) - 1);
	len = (size_t)snprintf(block + CGI_GROWTH + sizeof(lines) - 1, 400, "baggage: %.*s\r\n", 300, value);
	len = cgi_format_pairs(CGI_FASTCGI, block + CGI_GROWTH, sizeof(lines) - 1 + len, block);
	assert_true(cgi_pairs_feed(&pairs, &sink, line_of_cgi, block, len) && cgi_pairs_whole(&pairs));
	pairs = (struct cgi_pairs){ .kind = CGI_UWSGI, .limit = LIMIT_HEAD_BYTES };
	len = cgi_format_pairs(CGI_UWSGI, lines, sizeof(lines) - 1, out);
	assert_true(cgi_pairs_feed(&pairs, &sink, line_of_cgi, out, len) && cgi_pairs_whole(&pairs));
	assert_string_equal(said.text, "HTTP_TRACEPARENT=00-1 HTTP_X_TRACE_ID= HTTP_BAGGAGE=<300 bb> "
	                               "HTTP_TRACEPARENT=00-1 HTTP_X_TRACE_ID= ");
	free(value);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(requests_tell_their_params),
		cmocka_unit_test(pairs_may_lie_over_several_records),
		cmocka_unit_test(what_is_not_of_the_request_is_passed_over),
		cmocka_unit_test(params_end_where_something_may_be_inserted),
		cmocka_unit_test(no_spot_in_a_header_that_is_split),
		cmocka_unit_test(responses_tell_their_status),
		cmocka_unit_test(lies_poison),
		cmocka_unit_test(answers_to_nobody_poison),
		cmocka_unit_test(params_have_limits),
		cmocka_unit_test(a_fork_reads_on_without_its_original),
		cmocka_unit_test(unseen_bytes_are_bodies_only),
		cmocka_unit_test(first_bytes_are_known),
		cmocka_unit_test(names_of_variables_are_those_of_fields),
		cmocka_unit_test(lines_become_pairs),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

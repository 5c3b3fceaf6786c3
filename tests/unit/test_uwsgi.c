/*
 * The packet of uwsgi: what it says is the same however it is split; what lies about its lengths poisons.
 */
#include "cgi_fixture.h"

#include "uwsgi.h"

static void feed(void *scanner, struct said *said, const char *in, size_t len)
{
	struct cgi_sink sink = { say_pair, said };

	while (len > 0) {
		enum uwsgi_status status;
		size_t used;

		status = uwsgi_feed(scanner, &sink, line_of_cgi, in, len, &used);
		assert_true(used <= len && (status == UWSGI_HEAD || used == len));
		if (status == UWSGI_HEAD)
			say(said, "HEAD ");
		else if (status == UWSGI_ALIEN && strstr(said->text, "ALIEN") == NULL)
			say(said, "ALIEN ");
		in += used;
		len -= used;
	}
}

static void check_split(const struct bytes *b, size_t step, size_t cut, const char *expected)
{
	struct said *said = calloc(1, sizeof(*said));
	struct uwsgi h;

	uwsgi_init(&h);
	feed_in_pieces(feed, &h, said, b, step, cut);
	assert_string_equal(said->text, expected);
	free(h.pairs.line);
	free(said);
}

static void check(const struct bytes *b, const char *expected)
{
	size_t i;

	for (i = 0; i < 12; i++)
		check_split(b, i, 0, expected);
	for (i = 1; i < b->len && i < 400; i++)
		check_split(b, 0, i, expected);
}

/* The head of a packet, whose pairs are there, but claims `more` bytes than that. */
static struct bytes *packet(const struct bytes *pairs, unsigned modifier, int more)
{
	struct bytes *b = calloc(1, sizeof(*b));
	size_t len = pairs->len + (size_t)more;

	put_byte(b, modifier);
	put_byte(b, len & 0xff);
	put_byte(b, (unsigned)(len >> 8));
	put_byte(b, 0);
	put(b, pairs->at, pairs->len);
	return b;
}

static struct bytes *some_pairs(void)
{
	struct bytes *p = calloc(1, sizeof(*p));
	char value[300];

	memset(value, 'v', sizeof(value));
	put_uwsgi_pair(p, "REQUEST_METHOD", "GET", 3);
	put_uwsgi_pair(p, "QUERY_STRING", "", 0);
	put_uwsgi_pair(p, "HTTP_BAGGAGE", value, sizeof(value));
	put_uwsgi_pair(p, "", "nameless", 8);
	put_uwsgi_pair(p, "HTTP_X", "y", 1);
	return p;
}

static void packets_tell_their_variables(void **state)
{
	struct bytes *p = some_pairs(), *b = packet(p, 0, 0);

	(void)state;
	put(b, "body \0\1 of it", 13);
	check(b, "REQUEST_METHOD=GET QUERY_STRING= HTTP_BAGGAGE=<300 vv> HTTP_X=y HEAD ");
	free(b);
	b = packet(p, 5, 0);
	check(b, "REQUEST_METHOD=GET QUERY_STRING= HTTP_BAGGAGE=<300 vv> HTTP_X=y HEAD ");
	free(p), free(b);
}

static void long_variables_are_passed_over(void **state)
{
	struct bytes *p = calloc(1, sizeof(*p)), *b;
	char *value = calloc(1, 20000);

	(void)state;
	put_uwsgi_pair(p, "HTTP_COOKIE", value, 20000);
	put_uwsgi_pair(p, "HTTP_X", "y", 1);
	b = packet(p, 0, 0);
	check(b, "HTTP_X=y HEAD ");
	free(p), free(b), free(value);
}

static void lies_poison(void **state)
{
	struct bytes *p = some_pairs(), *b = packet(p, 0, -1);

	(void)state;
	check(b, "REQUEST_METHOD=GET QUERY_STRING= HTTP_BAGGAGE=<300 vv> ALIEN ");
	free(b);
	b = packet(p, 0, 3);
	put(b, "\2\0X", 3);
	check(b, "REQUEST_METHOD=GET QUERY_STRING= HTTP_BAGGAGE=<300 vv> HTTP_X=y ALIEN ");
	free(b);
	b = packet(p, 110, 0); /* a signal of uWSGI's own */
	check(b, "ALIEN ");
	free(b);
	p->len = 0;
	b = packet(p, 0, 0);
	check(b, "ALIEN ");
	free(p), free(b);
}

static void first_bytes_are_known(void **state)
{
	(void)state;
	assert_true(uwsgi_sniff("\0\100\1\0", 4, false));
	assert_false(uwsgi_sniff("\0\100\1\0", 4, true));
	assert_false(uwsgi_sniff("\0\100\1", 3, false));
	assert_true(uwsgi_sniff("\0\100\1\0\14\0QUERY_STRING", 18, true));
	assert_false(uwsgi_sniff("\0\100\1\0\14\0query", 11, true));
	assert_false(uwsgi_sniff("\0\100\1\0\14\1QUERY", 11, true));
	assert_false(uwsgi_sniff("\0\0\0\10\4\322\26\57", 8, false)); /* PostgreSQL asks for TLS */
	assert_false(uwsgi_sniff("\0\0\0\44\0\22\0\4", 8, false));    /* Kafka asks for versions */
	assert_false(uwsgi_sniff("\0\35\14\0\1\0\0\1", 8, true));     /* DNS over TCP */
	assert_false(uwsgi_sniff("GET / HTTP/1.1", 14, false));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(packets_tell_their_variables),
		cmocka_unit_test(long_variables_are_passed_over),
		cmocka_unit_test(lies_poison),
		cmocka_unit_test(first_bytes_are_known),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

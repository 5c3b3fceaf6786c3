/*
 * What DESIGN.md says of memory ('Memory'), and what one connection comes to: as many blocks as are in use at one time, of sizes that stay
 * below what is said there.
 */
#include "core_fixture.h"

#include "cgi_conn.h"
#include "http2_conn.h"
#include "logline_internal.h"
#include "marks.h"
#include "stacks.h"
#include "stream.h"

_Static_assert(sizeof(uint64_t) == 8, "a descriptor: a word");
_Static_assert(CONN_BLOCK <= 128, "a connection");
_Static_assert(sizeof(struct exchange) <= 320, "an exchange");
_Static_assert(sizeof(struct request) <= 800, "a request, with its text");
_Static_assert(LIMIT_TEXT_LARGE <= 16 * 1024, "a request's long baggage");
_Static_assert(LIMIT_HEAD_LINE <= 8320, "a head line that is split");
_Static_assert(sizeof(struct stream_heads) <= 4096, "the heads that were read last");
_Static_assert(sizeof(struct insertion) <= 32848, "an insertion");
_Static_assert(sizeof(struct http2_conn) <= 2176, "a connection that speaks HTTP/2");
_Static_assert(sizeof(struct http2_stream) <= 384, "a stream of one");
_Static_assert(LIMIT_STREAMS == 1024, "streams of a connection");
_Static_assert(sizeof(struct stack) <= 56 && LIMIT_STACKS == 8192, "stacks of coroutines");
_Static_assert(sizeof(struct cgi_conn) <= 512, "a connection of FastCGI or uwsgi");
_Static_assert(sizeof(struct logline_line) <= 65 * 1024, "an unfinished line");
_Static_assert(sizeof(struct logline_large) <= 144 * 1024, "scratch for records");
_Static_assert(sizeof(struct logline_small) <= 4096, "scratch for a line on its own");
_Static_assert(sizeof(struct marks_taken) <= 12 * 1024, "marks of a buffered stream, taken");

#define HEAD "GET / HTTP/1.1\r\nHost: h\r\n"

/* A connection that asks and is answered `times` times, the last request left unfinished. */
static int busy_connection(int times)
{
	static const char ask[] = HEAD "\r\n", answer[] = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";
	struct wire wire = { .bytes = NULL };
	int fd = core_accept(false), i;

	for (i = 0; i < times; i++) {
		core_receive(fd, ask, sizeof(ask) - 1);
		(void)wire_send(&wire, fd, answer, sizeof(answer) - 1);
	}
	core_receive(fd, HEAD, sizeof(HEAD) - 1);
	free(wire.bytes);
	return fd;
}

CORE_TEST(blocks_are_as_many_as_connections_whatever_they_did_before)
{
	enum { CONNECTIONS = 50 };
	long few, many;
	int fd[CONNECTIONS], i;

	for (i = 0; i < CONNECTIONS; i++)
		fd[i] = busy_connection(0);
	few = core_blocks_out;
	for (i = 0; i < CONNECTIONS; i++)
		core_close(fd[i]);
	for (i = 0; i < CONNECTIONS; i++)
		fd[i] = busy_connection(20);
	many = core_blocks_out;
	CHECK(few > 0 && many <= few + SPARE_KINDS);
	/* A connection, an exchange, a request, and a line that is split. */
	CHECK(many <= 4 * CONNECTIONS + SPARE_KINDS);
	for (i = 0; i < CONNECTIONS; i++)
		core_close(fd[i]);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(blocks_are_as_many_as_connections_whatever_they_did_before),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

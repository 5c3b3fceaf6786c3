/*
 * Receiving: vectors, peeks, ends and errors, and bytes that nobody sees.
 */
#include "core_fixture.h"

#define GET1 "GET /1 HTTP/1.1\r\n" CORE_PARENT "\r\n"
#define GET2 "GET /2 HTTP/1.1\r\n" CORE_OTHER_PARENT "\r\n"
#define POST1 "POST /1 HTTP/1.1\r\nContent-Length: 4\r\n" CORE_PARENT "\r\n"
#define OK "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"

static void receive(int fd, const struct iovec *iov, int count, ssize_t n, bool peek)
{
	struct io_receive io;

	CHECK(io_receive_begin(&io, fd));
	io_receive_end(&io, iov, count, n, peek);
}

CORE_TEST(a_vector_is_read_up_to_what_came_and_no_further)
{
	size_t n, len = sizeof(GET1) - 1;

	for (n = 0; n <= len; n++) {
		char bytes[sizeof(GET1)] = GET1 "";
		struct iovec iov[4];
		int fd = core_accept(false), i;

		memset(bytes + n, 'x', len - n); /* the rest of the program's buffer is whatever it was */
		for (i = 0; i < 4; i++)
			iov[i] = (struct iovec){ bytes + len * (size_t)i / 4,
				                 len * (size_t)(i + 1) / 4 - len * (size_t)i / 4 };
		receive(fd, iov, 4, (ssize_t)n, false);
		CHECK(n == len || core_conn(fd)->mode != CONN_OPAQUE);
		CHECK_KNOWN(n == len ? CORE_TRACE : "");
		core_receive_text(fd, &GET1[n]);
		if (n < len)
			CHECK_KNOWN(CORE_TRACE);
		core_close(fd);
	}
}

CORE_TEST(a_peek_is_no_byte_of_the_stream)
{
	int fd = core_accept(false);
	struct iovec iov = { GET1, sizeof(GET1) - 1 };

	receive(fd, &iov, 1, sizeof(GET1) - 1, true);
	CHECK_INT(core_conn(fd)->mode, CONN_FRESH);
	CHECK_NOTHING_KNOWN();
	receive(fd, &iov, 1, sizeof(GET1) - 1, false);
	CHECK_KNOWN(CORE_TRACE);
	CHECK_INT(counters_get(requests), 1);
	core_close(fd);
}

CORE_TEST(errors_and_the_end_of_the_stream_are_no_bytes)
{
	int fd = core_accept(false);

	receive(fd, NULL, 0, -1, false);
	receive(fd, NULL, 0, 0, false);
	CHECK_INT(core_conn(fd)->mode, CONN_FRESH);
	core_receive_text(fd, GET1);
	receive(fd, NULL, 0, 0, false); /* a half-closed client still gets its response */
	CHECK_TRACE(served_answering(core_conn(fd)), CORE_TRACE);
	core_send_text(fd, OK);
	core_close(fd);
}

CORE_TEST(errno_is_kept)
{
	int fd = core_accept(false);
	struct io_receive io;

	errno = 4711;
	CHECK(io_receive_begin(&io, fd));
	CHECK_INT(errno, 4711);
	io_receive_end(&io, &(struct iovec){ GET1, sizeof(GET1) - 1 }, 1, sizeof(GET1) - 1, false);
	CHECK_INT(errno, 4711);
	CHECK(!io_receive_begin(&io, 60)); /* not open */
	CHECK_INT(errno, 4711);
	io_receive_unseen(fd, 5);
	CHECK_INT(errno, 4711);
	core_close(fd);
}

CORE_TEST(spliced_body_bytes_keep_the_boundaries)
{
	int fd = core_accept(false);

	core_receive_text(fd, POST1);
	io_receive_unseen(fd, 3);
	io_receive_unseen(fd, 1);
	io_receive_unseen(fd, -1);
	io_receive_unseen(fd, 0);
	core_send_text(fd, OK);
	core_receive_text(fd, GET2);
	CHECK_KNOWN(CORE_OTHER_TRACE);
	CHECK_INT(counters_get(http_poisoned), 0);
	core_close(fd);
}

CORE_TEST(spliced_bytes_beyond_a_body_end_what_can_be_known)
{
	int fd = core_accept(false);

	core_receive_text(fd, POST1);
	io_receive_unseen(fd, 5);
	CHECK_INT(core_conn(fd)->mode, CONN_OPAQUE);
	CHECK_INT(counters_get(http_poisoned), 1);
	core_close(fd);
}

/* What was not seen cannot have been no HTTP: later bytes that look like a request may be the inside of another one. */
CORE_TEST(a_connection_whose_first_bytes_nobody_saw_passes_through)
{
	int served = core_accept(false), outgoing = core_connect();

	io_receive_unseen(served, 10);
	core_receive_text(served, GET1);
	CHECK_NOTHING_KNOWN();
	CHECK_INT(core_conn(served)->mode, CONN_OPAQUE);
	io_receive_unseen(outgoing, 10);
	CHECK_INT(core_conn(outgoing)->mode, CONN_OPAQUE);
	CHECK_INT(counters_get(http_poisoned), 0);
	core_close(served);
	core_close(outgoing);
}

CORE_TEST(a_spliced_response_keeps_the_boundaries)
{
	int fd = core_connect();

	core_send_text(fd, "GET / HTTP/1.1\r\n\r\n");
	core_receive_text(fd, "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n");
	io_receive_unseen(fd, 5);
	core_send_text(fd, "GET / HTTP/1.1\r\n\r\n");
	core_receive_text(fd, OK);
	CHECK_INT(core_conn(fd)->mode, CONN_HTTP1);
	CHECK_INT(core_conn(fd)->depth, 0);
	core_close(fd);
}

CORE_TEST(descriptors_that_are_no_connections_need_nothing_afterwards)
{
	struct io_receive io;
	int kind;

	for (kind = FD_NOTHING; kind <= FD_LISTENER; kind++) {
		int fd = core_next_fd++;

		fds_birth(fd, (enum fd_kind)kind);
		CHECK(!io_receive_begin(&io, fd));
	}
}

int main(void)
{
#define TEST(name) cmocka_unit_test(name)
	const struct CMUnitTest tests[] = {
		TEST(a_vector_is_read_up_to_what_came_and_no_further),
		TEST(a_peek_is_no_byte_of_the_stream),
		TEST(errors_and_the_end_of_the_stream_are_no_bytes),
		TEST(errno_is_kept),
		TEST(spliced_body_bytes_keep_the_boundaries),
		TEST(spliced_bytes_beyond_a_body_end_what_can_be_known),
		TEST(a_connection_whose_first_bytes_nobody_saw_passes_through),
		TEST(a_spliced_response_keeps_the_boundaries),
		TEST(descriptors_that_are_no_connections_need_nothing_afterwards),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

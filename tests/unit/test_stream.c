/*
 * What was foreseen is what happens: a connection that goes on from the spot's own scanner (served_sent_known,
 * call_sent_known) is in the same state as one that reads the bytes again.
 */
#include "core_fixture.h"

#define PARTS_MAX 4

static const char *const responses[] = {
	"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nX-Trace-Id: own\r\n\r\nhello",
	"HTTP/1.1 204 No Content\r\n\r\n",
	"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
	"HTTP/1.0 200 OK\r\nX-Other: a\r\n\r\nuntil the end",
	"HTTP/1.1 200 OK\nContent-Length: 5\r\n\r\nhello",
	"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\nxyz",
};

static const char *const calls[] = {
	"GET / HTTP/1.1\r\nHost: a\r\n\r\n",
	"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\ntraceparent: 1\r\n\r\nbody",
	"PUT / HTTP/1.1\r\nHost: not.allowed\r\nTransfer-Encoding: chunked\r\nX-Trace-Id: 7\r\n\r\n1\r\na\r\n0\r\n\r\n",
	"GET / HTTP/1.1\r\nHost : a\r\n\r\n",
	"no HTTP at all",
};

static void check_same_scanner(const struct http1 *a, const struct http1 *b)
{
	CHECK_INT(a->state, b->state);
	CHECK_INT(a->kind, b->kind);
	CHECK_INT(a->options, b->options);
	CHECK_INT(a->remaining, b->remaining);
	CHECK_INT(a->head_bytes, b->head_bytes);
	CHECK_INT(a->head_fields, b->head_fields);
	CHECK_INT(a->line_len, b->line_len);
	CHECK_INT(a->seen, b->seen);
	CHECK_INT(a->status, b->status);
	CHECK_INT(a->method, b->method);
	CHECK_INT(a->body, b->body);
	CHECK_INT(a->close, b->close);
	CHECK_INT(a->line == NULL, b->line == NULL);
}

static void check_same(const struct conn *a, const struct conn *b)
{
	CHECK_INT(a->mode, b->mode);
	CHECK_INT(a->depth, b->depth);
	CHECK_INT(a->owner == NULL, b->owner == NULL);
	CHECK_INT(a->first == NULL, b->first == NULL);
	if (a->first == NULL)
		return;
	CHECK_INT(a->first->request_headed, b->first->request_headed);
	CHECK_INT(a->first->request_done, b->first->request_done);
	CHECK_INT(a->first->response_begun, b->first->response_begun);
	CHECK_INT(a->first->own_response_header, b->first->own_response_header);
	CHECK_INT(a->first->own, b->first->own);
	CHECK_INT(a->first->host_allowed, b->first->host_allowed);
	CHECK_INT(a->first->request == NULL, b->first->request == NULL);
	check_same_scanner(&a->first->up, &b->first->up);
	check_same_scanner(&a->first->down, &b->first->down);
}

/* Send one part on both: where it can be foreseen one goes on from what was foreseen. Returns whether it could. */
static bool send_part(struct conn *known, struct conn *plain, const char *bytes, size_t len, struct request *caller)
{
	struct iovec iov = { (void *)(uintptr_t)bytes, len };
	struct stream_spot spot;
	bool served = known->role == CONN_SERVED;
	size_t rest = len;

	if (served)
		(void)served_find_spot(known, &iov, 1, 0, &spot);
	else
		(void)call_find_spot(known, &iov, 1, 0, &spot);
	if (spot.known && spot.end <= len) {
		rest = len - spot.end;
		if (served)
			served_sent_known(known, &spot, spot.end);
		else
			call_sent_known(known, &spot, caller, spot.end);
	}
	if (rest > 0 && served)
		served_sent(known, bytes + len - rest, rest);
	else if (rest > 0)
		call_sent(known, bytes + len - rest, rest, caller);
	if (served)
		served_sent(plain, bytes, len);
	else
		call_sent(plain, bytes, len, caller);
	check_same(known, plain);
	return rest < len;
}

static struct conn *begin(enum conn_role role)
{
	struct conn *conn = conn_new(role);
	static const char request[] = "GET / HTTP/1.1\r\nHost: h\r\n\r\n";

	CHECK(conn != NULL);
	if (role == CONN_SERVED)
		(void)served_received(conn, request, sizeof(request) - 1);
	return conn;
}

/* Every message whole, and at every split into two. Returns how many parts were foreseen. */
static unsigned run(enum conn_role role, const char *bytes)
{
	struct request *caller = role == CONN_OUTGOING ? request_new() : NULL;
	size_t len = strlen(bytes), at;
	unsigned foreseen = 0;

	core_case = bytes;
	if (caller != NULL)
		propagate_fresh(&caller->ctx);
	for (at = 0; at < len; at++) {
		struct conn *known = begin(role), *plain = begin(role);

		if (at > 0)
			foreseen += send_part(known, plain, bytes, at, caller);
		foreseen += send_part(known, plain, bytes + at, len - at, caller);
		conn_release(known);
		conn_release(plain);
	}
	request_unref(caller);
	return foreseen;
}

static void configure(bool prepared)
{
	config.response_header = CORE_NAME("x-trace-id");
	config.correlation_count = 1;
	config.correlation[0] = CORE_NAME("x-trace-id");
	config.propagate_hosts = CORE_NAME("a");
	if (prepared)
		stream_prepare();
}

CORE_TEST(a_response_that_was_foreseen_is_as_if_it_had_been_read)
{
	unsigned foreseen = 0;

	configure(true);
	for (size_t i = 0; i < sizeof(responses) / sizeof(responses[0]); i++)
		foreseen += run(CONN_SERVED, responses[i]);
	CHECK(foreseen > 100);
}

CORE_TEST(a_call_that_was_foreseen_is_as_if_it_had_been_read)
{
	unsigned foreseen = 0;

	configure(true);
	for (size_t i = 0; i < sizeof(calls) / sizeof(calls[0]); i++)
		foreseen += run(CONN_OUTGOING, calls[i]);
	CHECK(foreseen > 100);
}

/* The filters only spare questions: the same heads say the same before they are made. */
CORE_TEST(heads_say_the_same_before_the_filters_are_made)
{
	struct stream_spot before, after;

	configure(false);
	for (size_t i = 0; i < sizeof(calls) / sizeof(calls[0]); i++) {
		struct iovec iov = { (void *)(uintptr_t)calls[i], strlen(calls[i]) };
		struct conn *conn = begin(CONN_OUTGOING);

		core_case = calls[i];
		stream_prepared = STREAM_PREPARING; /* another thread is at it */
		CHECK(stream_filter((const struct http1_filter *)&iov) == NULL);
		before.at = after.at = 0;
		bool found = call_find_spot(conn, &iov, 1, 0, &before);
		stream_prepared = STREAM_UNPREPARED;
		stream_prepare();
		CHECK_INT(call_find_spot(conn, &iov, 1, 0, &after), found);
		CHECK_INT(before.at, after.at);
		CHECK_INT(before.known, after.known);
		if (before.known) {
			CHECK_INT(before.own, after.own);
			CHECK_INT(before.host_allowed, after.host_allowed);
		}
		conn_release(conn);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_response_that_was_foreseen_is_as_if_it_had_been_read),
		cmocka_unit_test(a_call_that_was_foreseen_is_as_if_it_had_been_read),
		cmocka_unit_test(heads_say_the_same_before_the_filters_are_made),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

/*
 * Requests by the marks in async contexts: what a mark names, for how long, and what is put into a context when.
 */
#include "core_fixture.h"

#include "contexts.h"

#define GET1 "GET /1 HTTP/1.1\r\n" CORE_PARENT "\r\n"
#define GET2 "GET /2 HTTP/1.1\r\n" CORE_OTHER_PARENT "\r\n"
#define OK "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
#define HALF_OK "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\no"

enum { NONBLOCKING = 1 };

static struct context_mark here; /* what the context that runs holds */
static bool marked;

static bool says(struct context_mark *mark)
{
	*mark = here;
	return marked;
}

static struct context_mark read_on(int fd)
{
	struct context_mark mark;

	CHECK(contexts_mark(conn_find(fd), false, &mark));
	return mark;
}

static bool names(const struct context_mark *mark, const char *trace)
{
	struct request *request = contexts_request(mark);
	char hex[33] = "";
	int i;

	if (request == NULL)
		return false;
	for (i = 0; i < 16; i++)
		snprintf(hex + 2 * i, 3, "%02x", request->ctx.trace_id[i]);
	request_unref(request);
	return strcmp(hex, trace) == 0;
}

static void wait_in_loop(void)
{
	io_epoll_begin(-1, -1);
	io_wait_done(1);
}

CORE_TEST(a_mark_names_its_request_until_the_answer_begins_and_never_the_next_one)
{
	int fd = core_accept(NONBLOCKING);
	struct context_mark first, second;

	core_receive_text(fd, GET1);
	first = read_on(fd);
	CHECK(names(&first, CORE_TRACE));
	core_send_text(fd, HALF_OK);
	CHECK(contexts_request(&first) == NULL);
	core_send_text(fd, "k");
	CHECK(contexts_request(&first) == NULL);
	core_receive_text(fd, GET2);
	second = read_on(fd);
	CHECK(names(&second, CORE_OTHER_TRACE));
	CHECK(contexts_request(&first) == NULL);
	core_close(fd);
	CHECK(contexts_request(&second) == NULL);
}

CORE_TEST(the_next_connection_in_the_same_block_is_another_one)
{
	int fd = core_accept(NONBLOCKING);
	struct context_mark mark;

	core_receive_text(fd, GET1);
	mark = read_on(fd);
	core_close(fd);
	fd = core_accept(NONBLOCKING);
	core_receive_text(fd, GET1);
	CHECK(contexts_request(&mark) == NULL);
	core_close(fd);
}

CORE_TEST(half_a_head_and_requests_that_wait_together_are_nobodys)
{
	int fd = core_accept(NONBLOCKING);
	struct context_mark first, both;

	core_receive_text(fd, "GET /1 HTTP/1.1\r\n");
	CHECK_INT(read_on(fd).kind, CONTEXT_NOBODY);
	core_receive_text(fd, CORE_PARENT "\r\n");
	first = read_on(fd);
	CHECK(names(&first, CORE_TRACE));
	core_receive_text(fd, GET2);
	both = read_on(fd);
	CHECK_INT(both.kind, CONTEXT_NOBODY);
	CHECK(names(&first, CORE_TRACE)); /* who was told of the first alone still works for it */
	core_close(fd);
}

CORE_TEST(nothing_is_said_of_calls_and_of_descriptors_that_are_none)
{
	int fd = core_connect();
	struct context_mark mark;

	CHECK(!contexts_mark(conn_find(fd), false, &mark));
	CHECK(!contexts_mark(conn_find(-1), false, &mark));
	core_close(fd);
}

CORE_TEST(a_context_takes_the_next_request_of_its_connection_and_is_nobodys_once_it_reads_two)
{
	int fd = core_accept(NONBLOCKING), other = core_accept(NONBLOCKING);
	struct context_mark none = { .kind = CONTEXT_NOBODY }, held, next, read;

	core_receive_text(fd, GET1);
	read = read_on(fd);
	CHECK(contexts_change(&none, &read, &held));
	CHECK(names(&held, CORE_TRACE));
	CHECK(!contexts_change(&held, &read, &next)); /* more of its body */
	core_send_text(fd, OK);
	core_receive_text(fd, GET2);
	read = read_on(fd);
	CHECK(contexts_change(&held, &read, &next));
	CHECK(names(&next, CORE_OTHER_TRACE));
	core_receive_text(other, GET1);
	read = read_on(other);
	CHECK(contexts_change(&next, &read, &held));
	CHECK_INT(held.kind, CONTEXT_SHARED);
	CHECK(contexts_request(&held) == NULL);
	CHECK(!contexts_change(&held, &read, &next));
	core_close(fd);
	core_close(other);
}

CORE_TEST(the_context_that_runs_says_whose_line_it_is_not_the_loop)
{
	int fd = core_accept(NONBLOCKING), other = core_accept(NONBLOCKING);
	struct request *request;
	struct context_mark one, two;

	current_ask_contexts(says);
	wait_in_loop();
	core_receive_text(fd, GET1);
	one = read_on(fd);
	request = current_known();
	CHECK(request != NULL); /* no context: what the loop reads */
	wait_in_loop();
	core_receive_text(other, GET2);
	two = read_on(other);
	marked = true;
	here = one;
	CHECK(current_known() == request);
	here = two;
	CHECK(current_known() != NULL && current_known() != request);
	here.kind = CONTEXT_NOBODY;
	CHECK(current_known() == NULL);
	here = one;
	core_send_text(fd, OK);
	CHECK(current_known() == NULL);
	CHECK_INT(counters_get(context_contradictions), 0);
	core_close(fd);
	core_close(other);
}

CORE_TEST(a_thread_that_reads_for_itself_is_believed_unless_its_context_names_another)
{
	int fd = core_accept(!NONBLOCKING), other = core_accept(NONBLOCKING);
	struct request *request;

	current_ask_contexts(says);
	core_receive_text(other, GET2);
	core_receive_text(fd, GET1);
	request = current_known();
	CHECK(request != NULL);
	marked = true;
	here.kind = CONTEXT_NOBODY;
	CHECK(current_known() == request);
	here = read_on(fd);
	CHECK(current_known() == request);
	here = read_on(other);
	CHECK(current_known() == NULL);
	core_close(fd);
	core_close(other);
}

CORE_TEST(a_thread_that_has_inherited_does_what_its_context_says)
{
	int fd = core_accept(NONBLOCKING), other = core_accept(NONBLOCKING);
	struct request *creator, *known;

	current_ask_contexts(says);
	core_receive_text(other, GET2);
	core_receive_text(fd, GET1);
	marked = true;
	here = read_on(fd);
	creator = contexts_request(&here);
	current_adopt(request_ref(creator));
	CHECK(current_known() == creator); /* though another one waits */
	here = read_on(other);
	known = current_known();
	CHECK(known != NULL && known != creator);
	request_unref(creator);
	core_close(fd);
	core_close(other);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_mark_names_its_request_until_the_answer_begins_and_never_the_next_one),
		cmocka_unit_test(the_next_connection_in_the_same_block_is_another_one),
		cmocka_unit_test(half_a_head_and_requests_that_wait_together_are_nobodys),
		cmocka_unit_test(nothing_is_said_of_calls_and_of_descriptors_that_are_none),
		cmocka_unit_test(a_context_takes_the_next_request_of_its_connection_and_is_nobodys_once_it_reads_two),
		cmocka_unit_test(the_context_that_runs_says_whose_line_it_is_not_the_loop),
		cmocka_unit_test(a_thread_that_reads_for_itself_is_believed_unless_its_context_names_another),
		cmocka_unit_test(a_thread_that_has_inherited_does_what_its_context_says),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

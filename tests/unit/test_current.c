/*
 * Which request a thread works for: each rule, driven by the calls that programs make. long: a test a rule, on one fixture.
 */
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/time.h>
#include <time.h>

#include "core_fixture.h"

#define GET1 "GET /1 HTTP/1.1\r\n" CORE_PARENT "\r\n"
#define GET2 "GET /2 HTTP/1.1\r\n" CORE_OTHER_PARENT "\r\n"
#define POST1 "POST /1 HTTP/1.1\r\nContent-Length: 4\r\n" CORE_PARENT "\r\n"
#define OK "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
#define HALF_OK "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\no"

enum { BLOCKING = 0, NONBLOCKING = 1 };

/* A wait of an event loop that returns `events`. */
static void loop(int64_t timeout_ns, int events)
{
	io_epoll_begin(-1, timeout_ns);
	io_wait_done(events);
}

/* ---- READ ---- */

CORE_TEST(a_thread_that_read_a_request_works_for_it_until_it_waits_for_the_next)
{
	int fd = core_accept(BLOCKING);

	CHECK_NOTHING_KNOWN();
	core_receive_text(fd, "GET /1 HTTP/1.1\r\n" CORE_PARENT);
	CHECK_NOTHING_KNOWN();
	core_receive_text(fd, "\r\n");
	CHECK_KNOWN(CORE_TRACE);
	CHECK(current_known_usual() != NULL);
	core_send_text(fd, HALF_OK);
	CHECK_KNOWN(CORE_TRACE);
	CHECK(current_known_usual() != NULL);
	core_send_text(fd, "k");
	CHECK_KNOWN(CORE_TRACE); /* the access log */
	io_receive_begin(&(struct io_receive){ 0 }, fd);
	CHECK_NOTHING_KNOWN();
	core_close(fd);
}

CORE_TEST(a_pools_thread_is_believed_among_others_once_readers_have_answered)
{
	int other = core_accept(BLOCKING), fd = core_accept(BLOCKING), i;

	core_receive_text(other, GET2);
	current_wait_idle(); /* a job from a queue may follow */
	for (i = 0; i < 64; i++) {
		core_receive_text(fd, GET1);
		CHECK_NOTHING_KNOWN();
		core_send_text(fd, HALF_OK);
		if (i < 63)
			CHECK_NOTHING_KNOWN(); /* it may leave the rest of the answer to others, and take the next job */
		core_send_text(fd, "k");
	}
	core_receive_text(fd, GET1);
	CHECK_KNOWN(CORE_TRACE);
	core_close(fd);
	core_close(other);
}

CORE_TEST(a_pools_thread_alone_is_believed)
{
	int fd = core_accept(BLOCKING);

	current_wait_idle();
	core_receive_text(fd, GET1);
	CHECK_KNOWN(CORE_TRACE);
	core_close(fd);
}

/* Connections that are queued again with requests in their buffers: whoever takes one answers what another has read. */
CORE_TEST(who_is_done_with_what_it_read_and_answers_another_is_no_pool_in_stages)
{
	int other = core_accept(BLOCKING), fd = core_accept(BLOCKING), queued = core_accept(BLOCKING), i;

	core_receive_text(other, GET2);
	current_wait_idle();
	for (i = 0; i < 65; i++) {
		core_receive_text(fd, GET1);
		core_send_text(fd, OK);
	}
	core_receive_text(queued, GET2 GET2);
	core_send_text(queued, OK);
	core_receive_text(fd, GET1);
	core_send_text(fd, OK);
	core_send_text(queued, OK);
	CHECK_INT(counters_get(context_contradictions), 0);
	core_receive_text(fd, GET1);
	CHECK_KNOWN(CORE_TRACE);
	core_send_text(fd, OK);
	CHECK_NOTHING_KNOWN(); /* though nobody was seen to wait for work, there may be some */
	core_close(fd);
	core_close(queued);
	core_close(other);
}

/* And with nobody else at work, too. */
CORE_TEST(who_has_answered_what_it_did_not_read_may_be_at_such_a_job_behind_each_answer)
{
	int other = core_accept(BLOCKING), fd = core_accept(BLOCKING);

	core_receive_text(fd, GET1);
	core_send_text(fd, OK);
	core_receive_text(other, GET2 "GET /3 HTTP/1.1\r\n");
	core_send_text(other, OK);
	CHECK_KNOWN(CORE_OTHER_TRACE);
	core_receive_text(fd, GET1);
	core_send_text(fd, OK);
	CHECK_KNOWN(CORE_TRACE);
	core_receive_text(other, "\r\n");
	core_receive_text(fd, GET1);
	core_send_text(fd, OK);
	core_send_text(other, OK);
	CHECK_NOTHING_KNOWN();
	core_receive_text(fd, GET1);
	core_send_text(fd, OK);
	CHECK_NOTHING_KNOWN();
	core_close(fd);
	core_close(other);
}

static void *answer_for_it(void *arg)
{
	core_send_text(*(int *)arg, OK);
	return NULL;
}

CORE_TEST(a_pools_thread_is_not_believed_once_another_thread_has_answered_for_a_reader)
{
	int fd = core_accept(BLOCKING);
	pthread_t thread;

	current_wait_idle();
	core_receive_text(fd, GET1);
	CHECK_KNOWN(CORE_TRACE);
	CHECK_INT(pthread_create(&thread, NULL, answer_for_it, &fd), 0);
	CHECK_INT(pthread_join(thread, NULL), 0);
	core_receive_text(fd, GET1);
	CHECK_NOTHING_KNOWN(); /* it may have given it away, and be at a job of the one that was answered */
	core_send_text(fd, HALF_OK);
	CHECK_NOTHING_KNOWN(); /* the rest of the answer, too */
	core_send_text(fd, "k");
	CHECK_NOTHING_KNOWN();
	core_close(fd);
}

static void *accept_for_others(void *arg)
{
	*(int *)arg = core_accept(BLOCKING);
	return NULL;
}

static int accepted_elsewhere(void)
{
	pthread_t thread;
	int fd;

	current_makes_thread();
	CHECK_INT(pthread_create(&thread, NULL, accept_for_others, &fd), 0);
	CHECK_INT(pthread_join(thread, NULL), 0);
	return fd;
}

/* Who looks for work without a call was seen to wait for nobody. */
CORE_TEST(who_reads_on_connections_that_others_have_accepted_is_believed_among_others_once_readers_have_answered)
{
	int other = core_accept(BLOCKING), fd = accepted_elsewhere(), i;

	core_receive_text(other, GET2);
	CHECK_KNOWN(CORE_OTHER_TRACE);
	for (i = 0; i < 64; i++) {
		core_receive_text(fd, GET1);
		CHECK_NOTHING_KNOWN();
		core_send_text(fd, OK);
	}
	core_receive_text(fd, GET1);
	CHECK_KNOWN(CORE_TRACE);
	core_close(fd);
	core_close(other);
}

CORE_TEST(who_reads_on_a_connection_that_another_has_accepted_is_believed_alone)
{
	int fd = accepted_elsewhere();

	core_receive_text(fd, GET1);
	CHECK_KNOWN(CORE_TRACE);
	core_send_text(fd, OK);
	CHECK_NOTHING_KNOWN(); /* there may be a job, and another one to do */
	core_close(fd);
}

/* Where nothing is seen of what a pool gives away: see current.c. */
static void on_one_processor(void)
{
	cpu_set_t one;
	int cpu = sched_getcpu();

	CPU_ZERO(&one);
	CPU_SET(cpu < 0 ? 0 : (size_t)cpu, &one);
	CHECK_INT(sched_setaffinity(0, sizeof(one), &one), 0);
}

struct finishing {
	int fd;
	pthread_barrier_t answered, looked, rested, over;
};

static void *answer_and_finish(void *arg)
{
	struct finishing *it = arg;

	core_receive_text(it->fd, GET2);
	core_send_text(it->fd, OK);
	core_close(it->fd);
	pthread_barrier_wait(&it->answered);
	pthread_barrier_wait(&it->looked);
	current_wait_idle();
	pthread_barrier_wait(&it->rested);
	pthread_barrier_wait(&it->over);
	current_clear();
	return NULL;
}

/* A job that is made for a request behind its answer may come to whoever has read the next one by then, and has given that away to its pool. */
CORE_TEST(while_a_thread_that_has_answered_has_not_waited_yet_who_reads_what_was_lent_to_it_is_not_believed)
{
	struct finishing it = { .fd = accepted_elsewhere() };
	int fd = accepted_elsewhere();
	pthread_t thread;

	on_one_processor();
	CHECK_INT(pthread_barrier_init(&it.answered, NULL, 2), 0);
	CHECK_INT(pthread_barrier_init(&it.looked, NULL, 2), 0);
	CHECK_INT(pthread_barrier_init(&it.rested, NULL, 2), 0);
	CHECK_INT(pthread_barrier_init(&it.over, NULL, 2), 0);
	CHECK_INT(pthread_create(&thread, NULL, answer_and_finish, &it), 0);
	pthread_barrier_wait(&it.answered);
	core_receive_text(fd, GET1);
	CHECK_NOTHING_KNOWN();
	pthread_barrier_wait(&it.looked);
	pthread_barrier_wait(&it.rested);
	CHECK_NOTHING_KNOWN(); /* what was made by then is in the queue still */
	core_send_text(fd, OK);
	current_wait_idle();
	core_receive_text(fd, GET1);
	CHECK_KNOWN(CORE_TRACE);
	pthread_barrier_wait(&it.over);
	CHECK_INT(pthread_join(thread, NULL), 0);
	core_close(fd);
}

CORE_TEST(who_has_answered_and_takes_the_next_connection_without_a_wait_is_not_believed_on_that)
{
	int way;

	on_one_processor();
	for (way = 0; way < 3; way++) {
		int fd = accepted_elsewhere(), next = accepted_elsewhere();

		current_wait_idle();
		core_receive_text(fd, GET1);
		CHECK_KNOWN(CORE_TRACE);
		core_send_text(fd, OK);
		if (way == 1)
			current_wait_idle();
		else if (way == 2)
			io_receive_begin(&(struct io_receive){ 0 },
			                 fd); /* it waits for what comes next on the connection */
		core_receive_text(way == 2 ? fd : next, GET1);
		if (way == 0)
			CHECK_NOTHING_KNOWN();
		else
			CHECK_KNOWN(CORE_TRACE);
		core_send_text(way == 2 ? fd : next, OK);
		core_close(fd);
		core_close(next);
	}
}

CORE_TEST(a_child_reads_on_its_parents_connections_as_on_its_own)
{
	int fd = accepted_elsewhere();

	io_after_fork();
	core_receive_text(fd, GET1);
	CHECK_KNOWN(CORE_TRACE);
	core_send_text(fd, OK);
	CHECK_KNOWN(CORE_TRACE);
	core_close(fd);
}

static void *know_what_it_reads(void *arg)
{
	const int *fds = arg;

	core_receive_text(fds[0], GET1);
	CHECK_KNOWN(CORE_TRACE);
	core_send_text(fds[0], OK);
	core_receive_text(fds[0], GET1);
	CHECK_KNOWN(CORE_TRACE);
	core_send_text(fds[0], OK);
	core_receive_text(fds[1], GET1); /* a thread is made for one */
	CHECK_NOTHING_KNOWN();
	core_send_text(fds[1], OK);
	current_clear();
	return NULL;
}

CORE_TEST(a_thread_that_is_made_for_a_connection_is_believed_on_that)
{
	int other = core_accept(BLOCKING), fds[2];
	pthread_t thread;

	core_receive_text(other, GET2);
	fds[0] = core_accept(BLOCKING);
	current_makes_thread();
	fds[1] = core_accept(BLOCKING);
	current_makes_thread();
	CHECK_INT(pthread_create(&thread, NULL, know_what_it_reads, fds), 0);
	CHECK_INT(pthread_join(thread, NULL), 0);
	core_close(fds[0]);
	core_close(fds[1]);
	core_close(other);
}

CORE_TEST(who_accepts_and_reads_is_believed_though_it_makes_threads)
{
	int other = core_accept(BLOCKING), fd, i;

	core_receive_text(other, GET2);
	for (i = 0; i < 3; i++) {
		fd = core_accept(BLOCKING);
		core_receive_text(fd, GET1);
		CHECK_KNOWN(CORE_TRACE);
		current_makes_thread();
		core_send_text(fd, OK);
		core_receive_text(fd, GET1);
		CHECK_KNOWN(CORE_TRACE);
		core_send_text(fd, OK);
		core_close(fd);
	}
	core_close(other);
}

/* Who must look whether something came looks after others meanwhile; who waits for that alone does not. */
CORE_TEST(on_a_connection_that_is_not_waited_for_who_has_accepted_it_is_believed_like_any_other)
{
	int way;

	for (way = 0; way < 4; way++) {
		int other = core_accept(BLOCKING), fd;

		core_receive_text(other, GET2);
		current_makes_thread();
		fd = core_accept(way == 0 ? NONBLOCKING : BLOCKING);
		if (way > 0)
			io_set_nonblocking(fd, true);
		if (way > 1)
			(void)io_poll_begin(&(struct pollfd){ .fd = fd, .events = POLLIN }, 1, way == 2 ? 0 : -1);
		core_receive_text(fd, GET1);
		if (way < 3)
			CHECK_NOTHING_KNOWN();
		else
			CHECK_KNOWN(CORE_TRACE);
		core_close(fd);
		core_close(other);
	}
}

/* It may have given it away, and be at what an answered request has left to be done. */
CORE_TEST(once_another_thread_has_answered_for_a_reader_nobody_is_believed_before_the_answer_though_alone)
{
	int fd = core_accept(BLOCKING);
	pthread_t thread;

	core_receive_text(fd, GET1);
	CHECK_KNOWN(CORE_TRACE);
	CHECK_INT(pthread_create(&thread, NULL, answer_for_it, &fd), 0);
	CHECK_INT(pthread_join(thread, NULL), 0);
	core_receive_text(fd, GET1);
	CHECK_NOTHING_KNOWN();
	core_send_text(fd, HALF_OK);
	CHECK_KNOWN(CORE_TRACE);
	core_send_text(fd, "k");
	core_close(fd);
}

CORE_TEST(whoever_gives_something_away_behind_the_response_may_be_at_another_job)
{
	int way;

	for (way = 0; way < 3; way++) {
		int fd = core_accept(BLOCKING), pipe = 900;

		fds_birth(pipe, FD_CHANNEL);
		core_receive_text(fd, GET1);
		core_send_text(fd, HALF_OK);
		io_epoll_changed(fd);
		core_send_text(pipe, "x");
		CHECK_KNOWN(CORE_TRACE); /* the response goes on */
		core_send_text(fd, "k");
		CHECK_KNOWN(CORE_TRACE);
		switch (way) {
		case 0: io_epoll_changed(fd); break;
		case 1: core_send_text(pipe, "x"); break;
		default: io_closing(fd);
		}
		CHECK_NOTHING_KNOWN();
		core_close(fd);
		fds_death(pipe);
	}
}

/* It goes on to another job, and whoever reads the rest works for it then. */
CORE_TEST(whoever_has_a_connection_watched_for_the_rest_of_a_request_has_given_it_away)
{
	int fd = core_accept(BLOCKING);

	core_receive_text(fd, POST1 "bo");
	CHECK_KNOWN(CORE_TRACE);
	io_epoll_changed(fd);
	CHECK_NOTHING_KNOWN();
	core_receive_text(fd, "dy");
	CHECK_KNOWN(CORE_TRACE);
	io_epoll_changed(fd); /* it is whole: that is for the next one, or the client's end */
	CHECK_KNOWN(CORE_TRACE);
	core_send_text(fd, OK);
	core_close(fd);
}

CORE_TEST(whoever_closes_an_unanswered_request_has_given_up_but_for_a_forked_child)
{
	int fd = core_accept(BLOCKING);

	core_receive_text(fd, GET1);
	io_closing(fd);
	CHECK_NOTHING_KNOWN();
	core_close(fd);
	fd = core_accept(BLOCKING);
	core_receive_text(fd, GET1);
	current_after_fork();
	io_closing(fd); /* its parent answers, it does the work (CGI) */
	CHECK_KNOWN(CORE_TRACE);
	core_close(fd);
}

static void *wait_for_work(void *arg)
{
	current_wait_idle();
	return arg;
}

static void let_another_wait(void)
{
	pthread_t thread;

	CHECK_INT(pthread_create(&thread, NULL, wait_for_work, NULL), 0);
	CHECK_INT(pthread_join(thread, NULL), 0);
}

/* What it does next may be a job from a queue, which was not empty: no wait is seen. */
CORE_TEST(once_a_pools_thread_has_answered_nothing_is_known)
{
	int fd = core_accept(BLOCKING), i;

	let_another_wait();
	current_wait_idle();
	for (i = 0; i < 100; i++) {
		core_receive_text(fd, GET1);
		core_send_text(fd, HALF_OK);
		CHECK_KNOWN(CORE_TRACE);
		core_send_text(fd, "k");
		CHECK_NOTHING_KNOWN();
	}
	core_close(fd);
}

/* A thread that found a job whenever it came for one has not waited yet, but others of its pool have. */
CORE_TEST(once_a_thread_has_answered_nothing_is_known_where_others_wait_for_work)
{
	int fd = core_accept(BLOCKING);

	core_receive_text(fd, GET1);
	core_send_text(fd, OK);
	CHECK_KNOWN(CORE_TRACE);
	let_another_wait();
	CHECK_NOTHING_KNOWN();
	core_close(fd);
}

/* gunicorn's sync workers, and whatever else takes a lock alone. */
#ifndef __SANITIZE_THREAD__
CORE_TEST(a_process_of_one_thread_waits_for_no_others_and_logs_what_it_has_answered)
{
	int fd = core_accept(BLOCKING);

	current_wait_idle();
	core_receive_text(fd, GET1);
	core_send_text(fd, OK);
	CHECK_KNOWN(CORE_TRACE);
	core_close(fd);
}
#endif

CORE_TEST_FOR(apaches_pool_logs_what_it_has_answered, "apache2")
{
	int fd = core_accept(BLOCKING);

	let_another_wait();
	current_wait_idle();
	core_receive_text(fd, GET1);
	core_send_text(fd, OK);
	CHECK_KNOWN(CORE_TRACE);
	core_close(fd);
}

static void *has_ruby(const char *name)
{
	return strcmp(name, "ruby_init") == 0 ? &has_ruby : NULL;
}

/* An interpreter's threads run jobs of queues like any other's, though they wait for its lock, too. */
CORE_TEST_FOR(once_a_thread_of_an_interpreter_has_answered_nothing_is_known_where_others_wait, "ruby")
{
	int fd = core_accept(BLOCKING);

	current_init("ruby", has_ruby);
	core_receive_text(fd, GET1);
	core_send_text(fd, OK);
	CHECK_KNOWN(CORE_TRACE);
	let_another_wait();
	CHECK_NOTHING_KNOWN();
	core_close(fd);
}

CORE_TEST(once_it_has_answered_a_read_of_a_channel_ends_it)
{
	int fd = core_accept(BLOCKING);

	core_receive_text(fd, GET1);
	core_send_text(fd, HALF_OK);
	current_read_channel();
	CHECK_KNOWN(CORE_TRACE);
	core_send_text(fd, "k");
	current_read_channel(); /* the next job may come from there */
	CHECK_NOTHING_KNOWN();
	core_close(fd);
}

/* Some thread takes what was read along with another request out of the program's buffer: no read tells which. */
CORE_TEST(where_a_request_waits_behind_another_nothing_is_known_of_who_has_answered)
{
	int fd = core_accept(BLOCKING), other = core_accept(BLOCKING);

	core_receive_text(other, GET2 GET2);
	core_receive_text(fd, GET1);
	CHECK_KNOWN(CORE_TRACE);
	core_send_text(fd, OK);
	CHECK_NOTHING_KNOWN();
	core_close(other);
	core_close(fd);
}

CORE_TEST_FOR(a_carrier_of_virtual_threads_works_for_nobody, "java")
{
	int fd = core_accept(BLOCKING);

	core_receive_text(fd, GET1);
	CHECK_KNOWN(CORE_TRACE); /* a thread of the usual kind */
	core_send_text(fd, OK);
	CHECK_INT(prctl(PR_SET_NAME, "ForkJoinPool-1-worker-1"), 0);
	core_receive_text(fd, GET1);
	CHECK_NOTHING_KNOWN();
	core_close(fd);
}

CORE_TEST(reading_the_body_is_no_wait_for_new_work)
{
	struct io_receive io;
	int fd = core_accept(BLOCKING);

	core_receive_text(fd, POST1 "ab");
	CHECK_KNOWN(CORE_TRACE);
	CHECK(io_receive_begin(&io, fd));
	CHECK_KNOWN(CORE_TRACE);
	io_receive_end(&io, &(struct iovec){ "cd", 2 }, 1, 2, false);
	CHECK_KNOWN(CORE_TRACE);
	CHECK(io_receive_begin(&io, fd)); /* all of it was read: what comes now is another request */
	CHECK_NOTHING_KNOWN();
	core_close(fd);
}

CORE_TEST(each_wait_for_new_work_ends_it)
{
	struct pollfd listener = { .fd = CORE_LISTENER, .events = POLLIN };
	fd_set set;
	int way;

	for (way = 0; way < 6; way++) {
		int fd = core_accept(BLOCKING), other = core_accept(BLOCKING);
		struct pollfd served = { .fd = other, .events = POLLIN };

		core_receive_text(fd, GET1);
		CHECK_KNOWN(CORE_TRACE);
		FD_ZERO(&set);
		FD_SET(other, &set);
		switch (way) {
		case 0: io_accept_begin(); break;
		case 1: CHECK(io_poll_begin(&listener, 1, -1)); break;
		case 2: CHECK(io_poll_begin(&served, 1, 1000)); break;
		case 3: CHECK(io_select_begin(other + 1, &set, NULL, -1)); break;
		case 4: io_epoll_begin(-1, -1); break;
		default: CHECK(io_receive_begin(&(struct io_receive){ 0 }, other));
		}
		CHECK_NOTHING_KNOWN();
		core_close(fd);
		core_close(other);
		io_after_fork(); /* it has never waited */
	}
}

CORE_TEST(waits_within_a_handler_do_not_end_it)
{
	int fd = core_accept(BLOCKING), call;
	struct pollfd own, client;
	fd_set set;

	core_receive_text(fd, GET1);
	call = core_connect();
	own = (struct pollfd){ .fd = call, .events = POLLIN };
	client = (struct pollfd){ .fd = fd, .events = POLLOUT };
	FD_ZERO(&set);
	FD_SET(call, &set);
	CHECK(!io_poll_begin(&own, 1, 100));
	CHECK(!io_poll_begin(&client, 1, 100)); /* its own client: does it still listen? */
	CHECK(!io_poll_begin(NULL, 0, 100));
	CHECK(!io_poll_begin(&(struct pollfd){ .fd = -1 }, 1, 100));
	CHECK(!io_select_begin(call + 1, NULL, &set, 100));
	CHECK(!io_select_begin(0, NULL, NULL, 100));
	current_wait_idle(); /* a lock of the interpreter */
	current_read_channel();
	CHECK_KNOWN(CORE_TRACE);
	core_close(fd);
	core_close(call);
}

CORE_TEST(a_wait_for_another_thread_ends_it_once_the_response_is_out)
{
	int fd = core_accept(BLOCKING);

	core_receive_text(fd, GET1);
	core_send_text(fd, HALF_OK);
	current_wait_idle();
	CHECK_KNOWN(CORE_TRACE);
	core_send_text(fd, "k");
	current_wait_idle();
	CHECK_NOTHING_KNOWN();
	core_close(fd);
}

/* Apache holds the first answer back while it has the second request at hand: no call tells when it goes on to that. */
CORE_TEST(of_two_requests_in_one_read_none_is_known)
{
	int fd = core_accept(BLOCKING);

	core_receive_text(fd, GET1 GET2);
	CHECK_NOTHING_KNOWN();
	core_send_text(fd, OK OK);
	core_receive_text(fd, GET1);
	CHECK_KNOWN(CORE_TRACE);
	core_close(fd);
}

/* The second one is served from the program's buffer: there is no read that could tell when it begins. */
CORE_TEST(after_the_first_of_two_pipelined_responses_nothing_is_known)
{
	int way;

	for (way = 0; way < 3; way++) {
		int fd = core_accept(BLOCKING);

		core_receive_text(fd, GET1 GET2);
		core_send_text(fd, HALF_OK);
		CHECK_NOTHING_KNOWN();
		if (way == 0) {
			core_send_text(fd, "k");
		} else if (way == 1) {
			core_send_text(fd, "kH"); /* both in one write */
		} else {
			io_send_unseen_begin(fd);
			io_send_unseen_end(fd, 1);
		}
		CHECK_NOTHING_KNOWN();
		core_close(fd);
	}
}

CORE_TEST(a_pipelined_response_in_special_pieces_leaves_nothing_known)
{
	int fd;

	config.response_header = CORE_NAME("x-trace-id");
	fd = core_accept(BLOCKING);
	core_receive_text(fd, GET1 GET2);
	core_send_text(fd, OK);
	CHECK_NOTHING_KNOWN();
	core_close(fd);
}

CORE_TEST(a_request_that_comes_while_another_is_unanswered_names_nobody)
{
	int fd = core_accept(BLOCKING);

	core_receive_text(fd, GET1);
	core_receive_text(fd, GET2);
	CHECK_NOTHING_KNOWN();
	core_close(fd);
}

CORE_TEST(answering_another_request_than_believed_is_a_contradiction)
{
	int fd = core_accept(BLOCKING), other = core_accept(BLOCKING);

	core_receive_text(other, GET2);
	core_receive_text(fd, GET1);
	CHECK_KNOWN(CORE_TRACE);
	core_send_text(other, OK);
	CHECK_NOTHING_KNOWN();
	CHECK_INT(counters_get(context_contradictions), 1);
	core_close(fd);
	core_close(other);
}

CORE_TEST(a_reply_to_another_requests_call_is_a_contradiction)
{
	int fd = core_accept(BLOCKING), other = core_accept(BLOCKING), call;

	core_receive_text(fd, GET1);
	call = core_connect();
	core_send_text(call, "GET / HTTP/1.1\r\n\r\n");
	core_receive_text(other, GET2);
	CHECK_KNOWN(CORE_OTHER_TRACE);
	core_receive_text(call, OK);
	CHECK_NOTHING_KNOWN();
	CHECK_INT(counters_get(context_contradictions), 1);
	core_close(fd);
	core_close(other);
	core_close(call);
}

CORE_TEST(the_reply_to_its_own_call_changes_nothing)
{
	int fd = core_accept(BLOCKING), call;

	core_receive_text(fd, GET1);
	call = core_connect();
	core_send_text(call, "GET / HTTP/1.1\r\n\r\n");
	core_receive_text(call, OK);
	CHECK_KNOWN(CORE_TRACE);
	CHECK_INT(counters_get(context_contradictions), 0);
	core_close(fd);
	core_close(call);
}

/* ---- INHERITED ---- */

static struct request *inherit_from(int fd)
{
	struct request *request;

	core_receive_text(fd, GET1);
	request = request_ref(current_known());
	CHECK(request != NULL);
	current_adopt(request_ref(request));
	CHECK(current_known() == request);
	return request;
}

CORE_TEST(an_inherited_request_lasts_until_the_first_wait_of_any_kind)
{
	struct pollfd nothing = { .fd = -1 };
	int way;

	for (way = 0; way < 6; way++) {
		int fd = core_accept(BLOCKING), channel = core_next_fd++;
		struct request *request = inherit_from(fd);

		fds_birth(channel, FD_CHANNEL);
		switch (way) {
		case 0: current_wait_idle(); break;
		case 1: CHECK(!io_receive_begin(&(struct io_receive){ 0 }, channel)); break;
		case 2: CHECK(!io_poll_begin(&nothing, 1, 5)); break;
		case 3: io_epoll_begin(-1, 5); break;
		case 4: io_accept_begin(); break;
		default: CHECK(!io_select_begin(0, NULL, NULL, 5));
		}
		CHECK_NOTHING_KNOWN();
		request_unref(request);
		core_close(fd);
		core_close(channel);
		io_after_fork(); /* it has never waited */
	}
}

CORE_TEST(an_inherited_request_ends_when_its_response_begins)
{
	int fd = core_accept(BLOCKING);
	struct request *request = inherit_from(fd);

	request_advance(request, REQUEST_RESPONDING);
	CHECK_NOTHING_KNOWN();
	request_unref(request);
	core_close(fd);
}

CORE_TEST(where_threads_take_jobs_of_others_a_new_one_may_take_an_older_job_than_the_one_it_was_created_for)
{
	int way;

	for (way = 0; way < 2; way++) {
		int fd = core_accept(BLOCKING), other = core_accept(BLOCKING);
		struct request *request;
		pthread_t thread;

		if (way == 1)
			core_receive_text(
				other, GET2); /* and answered by a thread that never waited: there was always a job */
		core_receive_text(fd, GET1);
		request = request_ref(current_known());
		CHECK(request != NULL);
		CHECK_INT(pthread_create(&thread, NULL, way == 0 ? wait_for_work : answer_for_it, &other), 0);
		CHECK_INT(pthread_join(thread, NULL), 0);
		current_adopt(request_ref(request));
		CHECK_NOTHING_KNOWN();
		request_unref(request);
		core_close(fd);
		core_close(other);
		io_after_fork(); /* a process of one thread again */
	}
}

CORE_TEST(a_forked_child_keeps_the_request_through_the_response_until_it_waits)
{
	int fd = core_accept(BLOCKING);

	core_receive_text(fd, GET1);
	io_after_fork();
	CHECK_KNOWN(CORE_TRACE);
	core_send_text(fd, OK);
	CHECK_KNOWN(CORE_TRACE);
	current_wait_nested();
	CHECK_NOTHING_KNOWN();
	CHECK_INT(current_threads(), 0);
	core_close(fd);
}

CORE_TEST(a_forked_child_of_an_unproven_thread_knows_nothing)
{
	int fd = core_accept(NONBLOCKING);

	loop(0, 1);
	core_receive_text(fd, GET1);
	CHECK_NOTHING_KNOWN();
	io_after_fork();
	CHECK_NOTHING_KNOWN();
	CHECK_INT(current_threads(), 0);
	core_close(fd);
}

static void *in_thread(void *arg)
{
	current_adopt(arg);
	CHECK_KNOWN(CORE_TRACE);
	return NULL; /* with the request still in hand */
}

static int flushes;

static void at_end(void)
{
	__atomic_add_fetch(&flushes, 1, __ATOMIC_RELAXED);
}

CORE_TEST(a_thread_that_ends_lets_go_of_its_request)
{
	int fd = core_accept(BLOCKING);
	pthread_t thread;

	current_watch_threads(at_end);
	core_receive_text(fd, GET1);
	CHECK_INT(current_threads(), 1);
	CHECK_INT(pthread_create(&thread, NULL, in_thread, request_ref(current_known())), 0);
	pthread_join(thread, NULL);
	CHECK_INT(flushes, 1);
	CHECK_INT(current_threads(), 1);
	core_close(fd);
}

static void *answer_and_end(void *arg)
{
	core_receive_text(*(int *)arg, GET2);
	core_send_text(*(int *)arg, OK);
	return NULL;
}

CORE_TEST(a_thread_that_ends_has_left_what_there_was_to_do)
{
	int fd = accepted_elsewhere(), other = accepted_elsewhere();
	pthread_t thread;

	on_one_processor();
	current_watch_threads(at_end);
	CHECK_INT(pthread_create(&thread, NULL, answer_and_end, &other), 0);
	CHECK_INT(pthread_join(thread, NULL), 0);
	core_receive_text(fd, GET1);
	CHECK_KNOWN(CORE_TRACE);
	core_close(fd);
	core_close(other);
}

/* ---- LOOP ---- */

CORE_TEST(one_event_after_an_idle_wait_proves_its_request)
{
	int fd = core_accept(NONBLOCKING);

	loop(-1, 1);
	CHECK_NOTHING_KNOWN();
	core_receive_text(fd, GET1);
	CHECK_KNOWN(CORE_TRACE);
	core_send_text(fd, OK);
	CHECK_KNOWN(CORE_TRACE);
	loop(-1, 1);
	CHECK_NOTHING_KNOWN();
	core_close(fd);
}

CORE_TEST(a_loop_with_queued_work_proves_nothing)
{
	int fd = core_accept(NONBLOCKING);

	loop(0, 1);
	core_receive_text(fd, GET1);
	CHECK_NOTHING_KNOWN();
	core_close(fd);
}

CORE_TEST(a_loop_that_reads_from_blocking_connections_is_one_too)
{
	int fd = core_accept(BLOCKING), other = core_accept(BLOCKING);

	loop(-1, 1);
	core_receive_text(fd, GET1);
	CHECK_KNOWN(CORE_TRACE);
	loop(-1, 2);
	core_receive_text(other, GET2);
	CHECK_NOTHING_KNOWN(); /* it goes on with the first, perhaps, or with what that has left to be done */
	core_send_text(other, OK);
	core_send_text(fd, OK);
	loop(-1, 2);
	core_receive_text(fd, GET1);
	CHECK_NOTHING_KNOWN(); /* the other event's handler comes, or has come */
	core_close(fd);
	core_close(other);
}

CORE_TEST(a_loop_whose_timer_is_due_proves_nothing)
{
	int fd = core_accept(NONBLOCKING), other = core_accept(NONBLOCKING);

	io_epoll_begin(-1, 1); /* a nanosecond: it is over by the time the wait returns */
	usleep(1);
	io_wait_done(1);
	core_receive_text(fd, GET1);
	CHECK_NOTHING_KNOWN();

	io_epoll_begin(-1, 50 * 1000000); /* it becomes due while the handler runs */
	io_wait_done(1);
	core_receive_text(other, GET2);
	usleep(60 * 1000);
	CHECK_NOTHING_KNOWN();
	core_close(fd);
	core_close(other);
}

CORE_TEST(a_timer_far_away_is_no_doubt)
{
	int fd = core_accept(NONBLOCKING);

	loop((int64_t)3600 * 1000000000, 1);
	core_receive_text(fd, GET1);
	CHECK_KNOWN(CORE_TRACE);
	core_close(fd);
}

CORE_TEST(a_wait_without_events_proves_nothing)
{
	int fd = core_accept(NONBLOCKING);

	loop(-1, 0);
	core_receive_text(fd, GET1);
	CHECK_NOTHING_KNOWN();
	loop(-1, -1);
	core_receive_text(fd, GET1);
	CHECK_NOTHING_KNOWN();
	core_close(fd);
}

CORE_TEST(several_events_prove_nothing)
{
	int fd = core_accept(NONBLOCKING);

	loop(-1, 2);
	core_receive_text(fd, GET1);
	CHECK_NOTHING_KNOWN();
	core_close(fd);
}

CORE_TEST(a_second_connection_in_the_iteration_ends_the_proof)
{
	int fd = core_accept(NONBLOCKING), other = core_accept(NONBLOCKING);

	loop(-1, 1);
	core_receive_text(fd, GET1);
	CHECK_KNOWN(CORE_TRACE);
	core_receive_text(other, GET2);
	CHECK_NOTHING_KNOWN();
	core_close(fd);
	core_close(other);
}

CORE_TEST(a_channel_read_in_the_iteration_ends_the_proof)
{
	int fd = core_accept(NONBLOCKING), channel = core_next_fd++;

	fds_birth(channel, FD_CHANNEL);
	loop(-1, 1);
	core_receive_text(fd, GET1);
	CHECK_KNOWN(CORE_TRACE);
	io_receive_begin(&(struct io_receive){ 0 }, channel);
	CHECK_NOTHING_KNOWN();
	core_close(fd);
	core_close(channel);
}

CORE_TEST(a_reply_in_a_loop_names_the_request_that_called)
{
	int fd = core_accept(NONBLOCKING), call;

	core_flags = O_NONBLOCK;
	loop(-1, 1);
	core_receive_text(fd, GET1);
	call = core_connect();
	core_send_text(call, "GET / HTTP/1.1\r\n\r\n");
	loop(-1, 1);
	CHECK_NOTHING_KNOWN();
	core_receive_text(call, OK);
	CHECK_KNOWN(CORE_TRACE);
	core_close(fd);
	core_close(call);
}

CORE_TEST(an_event_that_answers_another_request_ends_the_trust_for_good)
{
	int fd = core_accept(NONBLOCKING), other = core_accept(NONBLOCKING);

	loop(-1, 1);
	core_receive_text(other, GET2);
	loop(-1, 1);
	core_receive_text(fd, GET1);
	CHECK_NOTHING_KNOWN(); /* the other one waits */
	core_send_text(other, OK);
	CHECK_NOTHING_KNOWN();
	core_send_text(fd, OK);
	loop(-1, 1);
	core_receive_text(fd, GET1);
	CHECK_NOTHING_KNOWN();
	CHECK_INT(counters_get(context_contradictions), 1);
	core_close(fd);
	core_close(other);
}

/* One iteration with several events, each read and answered at once. */
static void inline_iteration(int a, int b)
{
	loop(-1, 2);
	core_receive_text(a, GET1);
	core_send_text(a, OK);
	core_receive_text(b, GET2);
	core_send_text(b, OK);
}

CORE_TEST(an_unknown_loop_is_not_believed_event_by_event_however_often_it_agreed)
{
	int a = core_accept(NONBLOCKING), b = core_accept(NONBLOCKING), i;

	for (i = 0; i < 1000; i++)
		inline_iteration(a, b);
	loop(-1, 2);
	core_receive_text(a, GET1);
	CHECK_NOTHING_KNOWN();
	core_send_text(a, OK);
	core_close(a);
	core_close(b);
}

CORE_TEST(an_event_is_its_requests_only_while_no_other_request_waits)
{
	int a = core_accept(NONBLOCKING), b = core_accept(NONBLOCKING);

	loop(-1, 1);
	core_receive_text(a, GET1);
	CHECK_KNOWN(CORE_TRACE);
	loop(-1, 1);
	core_receive_text(b, GET2); /* the handler may now take up what it left of the first one */
	CHECK_NOTHING_KNOWN();
	loop(-1, 1);
	core_send_text(a, OK);
	core_send_text(b, OK);
	core_close(a);
	core_close(b);
}

CORE_TEST(a_request_whose_connection_broke_waits_no_more)
{
	int a = core_accept(NONBLOCKING), b = core_accept(NONBLOCKING);

	loop(-1, 1);
	core_receive_text(a, GET1);
	core_close(a);
	loop(-1, 1);
	core_receive_text(b, GET2);
	CHECK_KNOWN(CORE_OTHER_TRACE);
	core_close(b);
}

CORE_TEST(a_timer_counts_as_due_when_the_timeout_may_have_been_rounded_up)
{
	int fd = core_accept(NONBLOCKING);

	loop(1000000, 1);
	core_receive_text(fd, GET1);
	CHECK_NOTHING_KNOWN();
	core_close(fd);
}

/* nginx: a timer that was set by the time of the last wake-up is due though the wait itself was short. */
CORE_TEST_FOR(an_inline_loops_timeouts_count_from_when_it_woke_last, "nginx")
{
	const struct timespec handler = { 0, 60000000 };
	int fd = core_accept(NONBLOCKING);

	loop(-1, 1);
	nanosleep(&handler, NULL);
	loop(50000000, 1);
	core_receive_text(fd, GET1);
	CHECK_NOTHING_KNOWN();
	core_send_text(fd, OK);
	loop(0, 1); /* nor is an iteration's wake-up forgotten that had work queued */
	nanosleep(&handler, NULL);
	loop(50000000, 1);
	core_receive_text(fd, GET1);
	CHECK_NOTHING_KNOWN();
	core_send_text(fd, OK);
	loop(60000000000, 1);
	core_receive_text(fd, GET1);
	CHECK_KNOWN(CORE_TRACE);
	core_close(fd);
}

/* nginx goes by it, and so do we, behind each wait. */
CORE_TEST_FOR(a_coarse_clock_makes_timers_due_early, "nginx")
{
	int fd = core_accept(NONBLOCKING);

	loop(2000000 + 2 * os_coarse_step_ns(), 1);
	core_receive_text(fd, GET1);
	CHECK_NOTHING_KNOWN();
	core_close(fd);
}

/* However long the wait was, and wherever the clock stood: what is due by that clock, with a timeout that was rounded up, is no proof. */
CORE_TEST_FOR(a_timer_that_is_due_by_the_coarse_clock_is_due, "nginx")
{
	const int64_t step = os_coarse_step_ns(), timeout = 5 * step;
	int fd = core_accept(NONBLOCKING), i, due = 0;

	for (i = 0; i < 16; i++) {
		const struct timespec nap = { 0, (long)(step / 2 * i) };
		uint64_t before, now;

		loop(-1, 1);
		before = os_coarse_ns();
		io_epoll_begin(-1, timeout);
		nanosleep(&nap, NULL);
		now = os_coarse_ns();
		io_wait_done(1);
		core_receive_text(fd, GET1);
		if (now - before + 1000000 >= (uint64_t)timeout) {
			CHECK_NOTHING_KNOWN();
			due++;
		}
		core_send_text(fd, OK);
	}
	CHECK(due > 0);
	core_close(fd);
}

/* nginx' timer_resolution: it waits without a timeout, and a signal says that timers may be due. */
static void set_alarm(long seconds, long microseconds)
{
	const struct itimerval timer = { { seconds, microseconds }, { seconds, microseconds } };

	assert_true(signal(SIGALRM, SIG_IGN) != SIG_ERR);
	assert_int_equal(setitimer(ITIMER_REAL, &timer, NULL), 0);
}

CORE_TEST_FOR(an_inline_loop_that_a_signal_tells_the_time_is_not_believed_behind_one, "nginx")
{
	const struct timespec longer = { 0, 30000000 };
	int fd = core_accept(NONBLOCKING);

	loop(5000000000, 1); /* it tries out what the kernel can, before it sets the timer */
	set_alarm(0, 20000);
	io_epoll_begin(-1, -1);
	nanosleep(&longer, NULL);
	io_wait_done(1);
	core_receive_text(fd, GET1);
	CHECK_NOTHING_KNOWN();
	core_send_text(fd, OK);
	set_alarm(3600, 0);
	loop(-1, 1); /* the program does not look at it anew before a signal ends a wait */
	core_receive_text(fd, GET1);
	CHECK_NOTHING_KNOWN();
	core_send_text(fd, OK);
	loop(-1, -1);
	loop(-1, 1);
	core_receive_text(fd, GET1);
	CHECK_KNOWN(CORE_TRACE);
	set_alarm(0, 0);
	core_close(fd);
}

CORE_TEST_FOR(an_inline_loop_is_believed_as_long_as_no_such_signal_came, "nginx")
{
	int fd = core_accept(NONBLOCKING);

	set_alarm(3600, 0);
	loop(-1, 1);
	core_receive_text(fd, GET1);
	CHECK_KNOWN(CORE_TRACE);
	set_alarm(0, 0);
	core_close(fd);
}

CORE_TEST_FOR(a_program_known_to_be_inline_is_believed_event_by_event, "nginx")
{
	int a = core_accept(NONBLOCKING), b = core_accept(NONBLOCKING);

	loop(-1, 3);
	core_receive_text(a, GET1);
	CHECK_KNOWN(CORE_TRACE);
	core_receive_text(b, GET2);
	CHECK_KNOWN(CORE_OTHER_TRACE);
	core_send_text(a, OK); /* an event like any other */
	CHECK_KNOWN(CORE_TRACE);
	loop(0, 1);
	core_receive_text(a, GET1);
	CHECK_NOTHING_KNOWN();
	core_close(a);
	core_close(b);
}

CORE_TEST(the_configuration_decides_how_far_loops_are_trusted)
{
	int a = core_accept(NONBLOCKING), b = core_accept(NONBLOCKING);

	config.loop_trust = LOOP_OFF;
	loop(-1, 1);
	core_receive_text(a, GET1);
	CHECK_NOTHING_KNOWN();
	core_send_text(a, OK);
	config.loop_trust = LOOP_SINGLE;
	loop(-1, 1);
	core_receive_text(a, GET1);
	CHECK_KNOWN(CORE_TRACE);
	core_send_text(a, OK);
	config.loop_trust = LOOP_INLINE;
	current_init("anything", core_no_symbol);
	loop(-1, 2);
	core_receive_text(a, GET1);
	core_receive_text(b, GET2);
	CHECK_KNOWN(CORE_OTHER_TRACE);
	core_close(a);
	core_close(b);
}

/* ---- calls ---- */

#define CALL "GET / HTTP/1.1\r\nHost: x\r\n"

CORE_TEST(a_call_in_a_loop_needs_the_thread_and_the_connection_to_agree)
{
	struct wire w = { 0 };
	int a = core_accept(NONBLOCKING), b = core_accept(NONBLOCKING), call;

	core_flags = O_NONBLOCK;
	loop(-1, 1);
	core_receive_text(a, GET1);
	call = core_connect();
	core_send_text(a, OK);
	loop(-1, 1);
	core_receive_text(b, GET2); /* another request's handler writes on the connection that the first one opened */
	CHECK_INT(wire_send(&w, call, CALL "\r\n", sizeof(CALL) + 1), sizeof(CALL) + 1);
	CHECK_WIRE(&w, CALL "\r\n");
	CHECK_INT(counters_get(context_contradictions), 1);
	wire_free(&w);
	core_close(a);
	core_close(b);
	core_close(call);
}

CORE_TEST_FOR(in_an_inline_loop_who_asks_what_became_of_a_client_works_for_its_request, "nginx")
{
	int a = core_accept(NONBLOCKING), b = core_accept(NONBLOCKING), idle = core_accept(NONBLOCKING);

	loop(-1, 1);
	core_receive_text(a, GET1);
	loop(-1, 3);
	core_receive_text(b, GET2);
	CHECK_KNOWN(CORE_OTHER_TRACE);
	io_asked(a);
	CHECK_KNOWN(CORE_TRACE);
	io_asked(b);
	CHECK_KNOWN(CORE_OTHER_TRACE);
	io_asked(idle);
	CHECK_NOTHING_KNOWN();
	core_close(a);
	core_close(b);
	core_close(idle);
}

CORE_TEST(a_loop_that_asks_what_became_of_another_client_is_at_that_one)
{
	int a = core_accept(NONBLOCKING), b = core_accept(NONBLOCKING);

	loop(-1, 1);
	core_receive_text(a, GET1);
	CHECK_KNOWN(CORE_TRACE);
	io_asked(b);
	CHECK_NOTHING_KNOWN();
	core_close(a);
	core_close(b);
}

CORE_TEST(a_thread_that_asks_what_became_of_its_client_works_for_it_still)
{
	int fd = core_accept(BLOCKING);

	core_receive_text(fd, GET1);
	io_asked(fd);
	CHECK_KNOWN(CORE_TRACE);
	core_close(fd);
}

CORE_TEST_FOR(in_an_inline_loop_the_connection_names_the_event, "lighttpd")
{
	struct wire w = { 0 };
	int a = core_accept(NONBLOCKING), b = core_accept(NONBLOCKING), call;

	core_flags = O_NONBLOCK;
	loop(-1, 1);
	core_receive_text(a, GET1);
	call = core_connect();
	loop(-1, 2);
	core_receive_text(b, GET2);
	CHECK_INT(wire_send(&w, call, CALL "\r\n", sizeof(CALL) + 1), sizeof(CALL) + 1);
	CHECK_WIRE(&w, CALL CORE_INSERTED "\r\n");
	CHECK_KNOWN(CORE_TRACE);
	wire_free(&w);
	core_close(a);
	core_close(b);
	core_close(call);
}

/* ---- runtimes ---- */

static void *node_symbol(const char *name)
{
	return strcmp(name, "napi_create_function") == 0 ? (void *)name : NULL;
}

CORE_TEST(node_is_left_to_its_own_context)
{
	int fd;

	current_init("node", node_symbol);
	CHECK(current_is_blind());
	fd = core_accept(NONBLOCKING);
	CHECK_INT(fds_kind(fds_word(fd)), FD_NOTHING);
	CHECK(!io_connect_begin(core_next_fd, (struct sockaddr *)&(struct sockaddr_in){ .sin_family = AF_INET },
	                        sizeof(struct sockaddr_in)));
}

static void *no_symbol(const char *name)
{
	(void)name;
	return NULL;
}

static void *python_symbol(const char *name)
{
	return strcmp(name, "Py_Initialize") == 0 ? (void *)name : NULL;
}

CORE_TEST(a_runtime_with_a_scheduler_is_never_believed_beyond_one_event)
{
	int a = core_accept(NONBLOCKING), b = core_accept(NONBLOCKING), i;

	current_init("python3", python_symbol);
	for (i = 0; i < 100; i++)
		inline_iteration(a, b);
	loop(-1, 2);
	core_receive_text(a, GET1);
	CHECK_NOTHING_KNOWN();
	loop(-1, 1);
	core_send_text(a, OK);
	loop(-1, 1);
	core_receive_text(a, GET1);
	CHECK_KNOWN(CORE_TRACE);
	core_close(a);
	core_close(b);
}

CORE_TEST(only_runtimes_that_keep_nothing_back_write_events)
{
	CHECK(!current_writes_event(100, false));
	unsetenv("PYTHONUNBUFFERED");
	current_init("python3", python_symbol);
	CHECK(!current_writes_event(100, false));
	setenv("PYTHONUNBUFFERED", "", 1); /* as if it were not there (Python's manual, command line and environment) */
	current_init("python3", python_symbol);
	CHECK(!current_writes_event(100, false));
	setenv("PYTHONUNBUFFERED", "1", 1);
	current_init("python3", python_symbol);
	CHECK(current_writes_event(100, false));
	/* One that writes a block keeps lines back, at other times too. */
	CHECK(!current_writes_event(8000, false));
	CHECK(!current_writes_event(100, false));
	CHECK(current_writes_event(5000, true));
	CHECK(!current_writes_event(8000, true));
	/* Of Java's, those that fill a block: a stack trace has any length. */
	current_init("java", no_symbol);
	CHECK(current_writes_event(7000, false));
	CHECK(!current_writes_event(7169, false));
	CHECK(!current_writes_event(8192, false));
	CHECK(current_writes_event(8193, false));
	CHECK(!current_writes_event(65000, false));
	CHECK(current_writes_event(100, false));
	/* These keep back what they print to stderr, too. */
	current_init("guile", core_no_symbol);
	CHECK(!current_writes_event(100, true));
	current_init("sbcl", core_no_symbol);
	CHECK(!current_writes_event(100, true));
	current_init("perl", core_no_symbol);
	CHECK(current_writes_event(100, true));
}

/* ---- the process's own trace ---- */

CORE_TEST(the_process_trace_lasts_until_it_serves)
{
	struct request *ambient;

	config.traceparent = CORE_NAME("00-" CORE_TRACE "-b7ad6b7169203331-01");
	current_init("cgi", core_no_symbol);
	ambient = current_ambient();
	CHECK_TRACE(ambient, CORE_TRACE);
	CHECK(io_line_request() == ambient);
	io_listening(CORE_LISTENER);
	CHECK(current_ambient() == NULL);
	CHECK(io_line_request() == NULL);
	request_unref(ambient);
}

CORE_TEST(a_process_trace_that_is_not_valid_is_none)
{
	config.traceparent = CORE_NAME("00-00000000000000000000000000000000-b7ad6b7169203331-01");
	current_init("cgi", core_no_symbol);
	CHECK(current_ambient() == NULL);
}

/* long: a line a test. */
int main(void)
{
#define TEST(name) cmocka_unit_test(name)
	const struct CMUnitTest tests[] = {
		TEST(a_thread_that_read_a_request_works_for_it_until_it_waits_for_the_next),
		TEST(a_pools_thread_is_believed_among_others_once_readers_have_answered),
		TEST(who_is_done_with_what_it_read_and_answers_another_is_no_pool_in_stages),
		TEST(who_has_answered_what_it_did_not_read_may_be_at_such_a_job_behind_each_answer),
		TEST(a_pools_thread_alone_is_believed),
		TEST(a_pools_thread_is_not_believed_once_another_thread_has_answered_for_a_reader),
		TEST(who_reads_on_connections_that_others_have_accepted_is_believed_among_others_once_readers_have_answered),
		TEST(who_reads_on_a_connection_that_another_has_accepted_is_believed_alone),
		TEST(while_a_thread_that_has_answered_has_not_waited_yet_who_reads_what_was_lent_to_it_is_not_believed),
		TEST(who_has_answered_and_takes_the_next_connection_without_a_wait_is_not_believed_on_that),
		TEST(a_child_reads_on_its_parents_connections_as_on_its_own),
		TEST(a_thread_that_is_made_for_a_connection_is_believed_on_that),
		TEST(who_accepts_and_reads_is_believed_though_it_makes_threads),
		TEST(on_a_connection_that_is_not_waited_for_who_has_accepted_it_is_believed_like_any_other),
		TEST(once_another_thread_has_answered_for_a_reader_nobody_is_believed_before_the_answer_though_alone),
		TEST(whoever_gives_something_away_behind_the_response_may_be_at_another_job),
		TEST(whoever_has_a_connection_watched_for_the_rest_of_a_request_has_given_it_away),
		TEST(whoever_closes_an_unanswered_request_has_given_up_but_for_a_forked_child),
		TEST(once_a_pools_thread_has_answered_nothing_is_known),
		TEST(once_a_thread_has_answered_nothing_is_known_where_others_wait_for_work),
#ifndef __SANITIZE_THREAD__ /* TSan has a thread of its own */
		TEST(a_process_of_one_thread_waits_for_no_others_and_logs_what_it_has_answered),
#endif
		TEST(apaches_pool_logs_what_it_has_answered),
		TEST(once_a_thread_of_an_interpreter_has_answered_nothing_is_known_where_others_wait),
		TEST(once_it_has_answered_a_read_of_a_channel_ends_it),
		TEST(where_a_request_waits_behind_another_nothing_is_known_of_who_has_answered),
		TEST(a_carrier_of_virtual_threads_works_for_nobody),
		TEST(reading_the_body_is_no_wait_for_new_work),
		TEST(each_wait_for_new_work_ends_it),
		TEST(waits_within_a_handler_do_not_end_it),
		TEST(a_wait_for_another_thread_ends_it_once_the_response_is_out),
		TEST(of_two_requests_in_one_read_none_is_known),
		TEST(after_the_first_of_two_pipelined_responses_nothing_is_known),
		TEST(a_pipelined_response_in_special_pieces_leaves_nothing_known),
		TEST(a_request_that_comes_while_another_is_unanswered_names_nobody),
		TEST(answering_another_request_than_believed_is_a_contradiction),
		TEST(a_reply_to_another_requests_call_is_a_contradiction),
		TEST(the_reply_to_its_own_call_changes_nothing),
		TEST(an_inherited_request_lasts_until_the_first_wait_of_any_kind),
		TEST(an_inherited_request_ends_when_its_response_begins),
		TEST(where_threads_take_jobs_of_others_a_new_one_may_take_an_older_job_than_the_one_it_was_created_for),
		TEST(a_forked_child_keeps_the_request_through_the_response_until_it_waits),
		TEST(a_forked_child_of_an_unproven_thread_knows_nothing),
		TEST(a_thread_that_ends_lets_go_of_its_request),
		TEST(a_thread_that_ends_has_left_what_there_was_to_do),
		TEST(one_event_after_an_idle_wait_proves_its_request),
		TEST(a_loop_with_queued_work_proves_nothing),
		TEST(a_loop_that_reads_from_blocking_connections_is_one_too),
		TEST(a_loop_whose_timer_is_due_proves_nothing),
		TEST(a_timer_far_away_is_no_doubt),
		TEST(a_wait_without_events_proves_nothing),
		TEST(several_events_prove_nothing),
		TEST(a_second_connection_in_the_iteration_ends_the_proof),
		TEST(a_channel_read_in_the_iteration_ends_the_proof),
		TEST(a_reply_in_a_loop_names_the_request_that_called),
		TEST(an_event_that_answers_another_request_ends_the_trust_for_good),
		TEST(an_unknown_loop_is_not_believed_event_by_event_however_often_it_agreed),
		TEST(an_event_is_its_requests_only_while_no_other_request_waits),
		TEST(a_request_whose_connection_broke_waits_no_more),
		TEST(a_timer_counts_as_due_when_the_timeout_may_have_been_rounded_up),
		TEST(an_inline_loops_timeouts_count_from_when_it_woke_last),
		TEST(a_coarse_clock_makes_timers_due_early),
		TEST(a_timer_that_is_due_by_the_coarse_clock_is_due),
		TEST(an_inline_loop_that_a_signal_tells_the_time_is_not_believed_behind_one),
		TEST(an_inline_loop_is_believed_as_long_as_no_such_signal_came),
		TEST(a_program_known_to_be_inline_is_believed_event_by_event),
		TEST(the_configuration_decides_how_far_loops_are_trusted),
		TEST(a_call_in_a_loop_needs_the_thread_and_the_connection_to_agree),
		TEST(in_an_inline_loop_who_asks_what_became_of_a_client_works_for_its_request),
		TEST(a_loop_that_asks_what_became_of_another_client_is_at_that_one),
		TEST(a_thread_that_asks_what_became_of_its_client_works_for_it_still),
		TEST(in_an_inline_loop_the_connection_names_the_event),
		TEST(node_is_left_to_its_own_context),
		TEST(a_runtime_with_a_scheduler_is_never_believed_beyond_one_event),
		TEST(only_runtimes_that_keep_nothing_back_write_events),
		TEST(the_process_trace_lasts_until_it_serves),
		TEST(a_process_trace_that_is_not_valid_is_none),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

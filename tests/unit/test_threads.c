/*
 * Threads and signal handlers at the same things: for TSan, which sees the races, and for ASan, which sees what they break.
 * The pools are the real ones here.
 */
#define CORE_REAL_POOLS
#include <pthread.h>
#include <sched.h>
#include <sys/wait.h>

#include "core_fixture.h"
#include "marks.h"

#define THREADS 8
#define ROUNDS 2000
#define GET1 "GET /1 HTTP/1.1\r\n" CORE_PARENT "\r\n"
#define OK "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"

static void run_threads(void *(*work)(void *))
{
	pthread_t thread[THREADS];
	long i;

	for (i = 0; i < THREADS; i++)
		CHECK_INT(pthread_create(&thread[i], NULL, work, (void *)i), 0);
	for (i = 0; i < THREADS; i++)
		pthread_join(thread[i], NULL);
}

static unsigned next_random(unsigned *seed)
{
	*seed = *seed * 1664525u + 1013904223u;
	return *seed >> 8;
}

/* ---- pools ---- */

struct block {
	uint32_t pool_word;
	uint32_t owner[15];
};

POOL(blocks, sizeof(struct block), 2);

static void *take_and_give(void *arg)
{
	uint32_t me = (uint32_t)(uintptr_t)arg + 1;
	unsigned seed = me, i, k;
	struct block *mine[16] = { NULL };

	for (i = 0; i < ROUNDS * 5; i++) {
		struct block **b = &mine[next_random(&seed) % 16];

		if (*b == NULL) {
			*b = pool_take(&blocks);
			for (k = 0; k < 15; k++)
				(*b)->owner[k] = me * 1000 + k;
		} else {
			for (k = 0; k < 15; k++)
				CHECK_INT((*b)->owner[k], me * 1000 + k);
			pool_give(&blocks, *b);
			*b = NULL;
		}
	}
	for (i = 0; i < 16; i++)
		if (mine[i] != NULL)
			pool_give(&blocks, mine[i]);
	return NULL;
}

CORE_TEST(a_block_is_one_threads_at_a_time)
{
	run_threads(take_and_give);
	CHECK(blocks.state->used <= THREADS * 16);
}

/* ---- requests ---- */

static struct request *shared;
static pthread_mutex_t shared_lock = PTHREAD_MUTEX_INITIALIZER; /* a connection's, elsewhere */

static void *hold_request(void *arg)
{
	unsigned seed = (unsigned)(uintptr_t)arg, i;

	for (i = 0; i < ROUNDS; i++) {
		struct request *mine = request_ref(shared), *own = request_new();

		CHECK(own != NULL && own != mine);
		own->ctx.flags = 1;
		if (next_random(&seed) % 4 == 0)
			CHECK_INT(request_grow_text(own), 0);
		pthread_mutex_lock(&shared_lock);
		request_advance(mine, (enum request_state)(next_random(&seed) % 4));
		pthread_mutex_unlock(&shared_lock);
		current_adopt(request_ref(i % 2 ? mine : own));
		(void)current_known();
		current_wait_nested();
		request_unref(own);
		request_unref(mine);
	}
	current_clear();
	return NULL;
}

CORE_TEST(requests_are_shared_and_let_go_of_by_all)
{
	shared = request_new();
	run_threads(hold_request);
	CHECK_INT(shared->refs, 1);
	CHECK_INT(request_state(shared), REQUEST_ENDED);
	CHECK_INT(current_threads(), 0);
	request_unref(shared);
}

/* ---- descriptors and connections ---- */

enum { SHARED_FDS = 12, FIRST_SHARED = 800 };

/* Numbers that all threads open, use, copy and close as they please, as if every close but some went unseen. */
static void *use_shared_descriptors(void *arg)
{
	unsigned seed = (unsigned)(uintptr_t)arg * 7919u + 1, i;
	struct sockaddr_in addr = { .sin_family = AF_INET };

	for (i = 0; i < ROUNDS; i++) {
		int fd = FIRST_SHARED + (int)(next_random(&seed) % SHARED_FDS);
		int other = FIRST_SHARED + (int)(next_random(&seed) % SHARED_FDS);

		switch (next_random(&seed) % 12) {
		case 0:
			io_accept_begin();
			io_accepted(CORE_LISTENER, fd, next_random(&seed) % 2);
			break;
		case 1:
			fds_birth(fd, FD_STREAM);
			if (io_connect_begin(fd, (struct sockaddr *)&addr, sizeof(addr)))
				io_connect_end(fd, next_random(&seed) % 8 ? 0 : -1, ECONNREFUSED);
			break;
		case 2: fds_death(fd); break;
		case 3: fds_dup(fd, other); break;
		case 4: io_shut(fd, SHUT_WR); break;
		case 5: io_set_nonblocking(fd, next_random(&seed) % 2); break;
		case 6: (void)io_poll_begin(&(struct pollfd){ .fd = fd }, 1, -1); break;
		case 7: io_asked(fd); break;
		case 8:
			io_send_unseen_begin(fd);
			io_send_unseen_end(fd, 1);
			break;
		case 9: {
			struct wire w = { 0 };

			(void)wire_send(&w, fd, OK, sizeof(OK) - 1);
			wire_free(&w);
			break;
		}
		case 10: {
			struct wire w = { 0 };

			(void)wire_send(&w, fd, GET1, sizeof(GET1) - 1);
			wire_free(&w);
			break;
		}
		default: core_receive_text(fd, GET1);
		}
	}
	current_clear();
	return NULL;
}

CORE_TEST(descriptors_may_be_opened_used_copied_and_closed_by_all)
{
	int i;

	config.root = true;
	config.response_header = CORE_NAME("x-trace-id");
	for (i = 0; i < SHARED_FDS; i++)
		fds_birth(FIRST_SHARED + i, FD_NOTHING);
	run_threads(use_shared_descriptors);
	fds_death_range(FIRST_SHARED, FIRST_SHARED + SHARED_FDS);
	CHECK_INT(current_threads(), 0);
}

/* Connections of their own: nothing is skipped, every request is told. */
static void *serve_own_connection(void *arg)
{
	int i, fd = 900 + (int)(intptr_t)arg;

	for (i = 0; i < ROUNDS / 10; i++) {
		int k;

		io_accept_begin();
		io_accepted(CORE_LISTENER, fd, false);
		for (k = 0; k < 5; k++) {
			core_receive_text(fd, GET1);
			CHECK_KNOWN(CORE_TRACE);
			core_send_text(fd, OK);
		}
		fds_death(fd);
	}
	current_clear();
	return NULL;
}

CORE_TEST(connections_of_their_own_do_not_disturb_each_other)
{
	run_threads(serve_own_connection);
	CHECK_INT(counters_get(requests), THREADS * ROUNDS / 10 * 5);
	CHECK_INT(counters_get(busy_skipped), 0);
	CHECK_INT(counters_get(stale_skipped), 0);
	CHECK_INT(counters_get(http_poisoned), 0);
}

/* One connection, one thread that reads, one that answers: as proxies and pools do it. */
static int both;
static int answered;

static void *read_or_answer(void *arg)
{
	bool reads = (uintptr_t)arg == 0;
	int i;

	for (i = 0; (uintptr_t)arg < 2 && i < 200; i++) {
		while (__atomic_load_n(&answered, __ATOMIC_ACQUIRE) != 2 * i + (reads ? 0 : 1))
			sched_yield();
		if (reads)
			core_receive_text(both, GET1);
		else
			core_send_text(both, OK);
		__atomic_add_fetch(&answered, 1, __ATOMIC_RELEASE);
		if (reads)
			CHECK(io_receive_begin(&(struct io_receive){ 0 }, both)); /* while the other one answers */
	}
	current_clear();
	return NULL;
}

CORE_TEST(a_reader_and_a_writer_share_a_connection)
{
	both = core_accept(false);
	run_threads(read_or_answer);
	CHECK_INT(counters_get(requests), 200);
	CHECK_INT(core_conn(both)->mode, CONN_HTTP1);
	CHECK_INT(core_conn(both)->depth, 0);
	core_close(both);
}

/* ---- loops, counters, marks ---- */

static void *loop_on_own_connections(void *arg)
{
	int i, fd = 900 + (int)(intptr_t)arg;
	struct request *known;

	io_accepted(CORE_LISTENER, fd, true);
	for (i = 0; i < ROUNDS / 4; i++) {
		io_epoll_begin(-1, -1);
		io_wait_done(1 + i % 2);
		core_receive_text(fd, GET1);
		known = current_known(); /* other threads' unanswered requests may be a reason to say nothing */
		CHECK(known == NULL || known == core_conn(fd)->first->request);
		core_send_text(fd, OK);
	}
	fds_death(fd);
	current_clear();
	return NULL;
}

CORE_TEST(loops_in_many_threads_know_their_own_requests)
{
	run_threads(loop_on_own_connections);
	CHECK_INT(counters_get(context_contradictions), 0);
}

static void *count(void *arg)
{
	int i;

	(void)arg;
	for (i = 0; i < ROUNDS; i++)
		counters_count(lines);
	return NULL;
}

CORE_TEST(no_count_of_any_thread_is_lost)
{
	run_threads(count);
	CHECK_INT(counters_get(lines), THREADS * ROUNDS);
}

static void *print(void *arg)
{
	uintptr_t me = (uintptr_t)arg;
	unsigned seed = (unsigned)me + 1, i;

	for (i = 0; i < ROUNDS; i++) {
		uintptr_t stream = next_random(&seed) % 2 ? 100 + me : 1 + me % 3; /* its own, or one of three */
		struct request *request = request_new();
		struct marks_taken *t;

		marks_note(stream, next_random(&seed) % 64, 1 + next_random(&seed) % 64, request, false);
		request_unref(request);
		if (next_random(&seed) % 4 == 0 && (t = marks_take(stream, 1 + next_random(&seed) % 300)) != NULL) {
			CHECK(t->len > 0);
			marks_give(t);
		}
		if (next_random(&seed) % 64 == 0)
			marks_forget(100 + me);
	}
	return NULL;
}

CORE_TEST(streams_may_be_printed_to_by_all)
{
	run_threads(print);
}

/* All print to a stream that is new to all of them, and one closes it. Whatever they were in the midst of, nothing is known of it then. */
#define NEW_STREAM 7
#define NEW_STREAMS 4000

static pthread_barrier_t at_once;

static void *print_to_new_streams(void *arg)
{
	struct request *request = request_new();
	struct marks_taken *t;
	int i;

	for (i = 0; i < NEW_STREAMS; i++) {
		pthread_barrier_wait(&at_once);
		marks_note(NEW_STREAM, 0, 10, request, false);
		if (pthread_barrier_wait(&at_once) != PTHREAD_BARRIER_SERIAL_THREAD)
			continue;
		marks_forget(NEW_STREAM);
		t = marks_take(NEW_STREAM, 10);
		CHECK(t != NULL && t->segment[0].request == NULL);
		marks_give(t);
	}
	pthread_barrier_wait(&at_once);
	CHECK_INT(request->refs, 1);
	request_unref(request);
	return arg;
}

CORE_TEST(a_stream_that_is_new_to_many_threads_has_one_place)
{
	CHECK_INT(pthread_barrier_init(&at_once, NULL, THREADS), 0);
	run_threads(print_to_new_streams);
	pthread_barrier_destroy(&at_once);
}

#ifndef __SANITIZE_THREAD__
/*
 * A range that goes on is told without a lock: stdio has one. Where it is flushed without (exit(3) does that), whoever comes late
 * must not add to a range of somebody else.
 */
static struct request *slow, *quick;
static int32_t slow_tid;    /* atomic */
static bool went_on_enough; /* atomic */

static void *keep_going_on(void *arg)
{
	uint32_t *went_on = arg;

	__atomic_store_n(&slow_tid, os_tid(), __ATOMIC_RELEASE);
	while (!__atomic_load_n(&went_on_enough, __ATOMIC_ACQUIRE))
		if (marks_go_on(1, 2, 1000, slow, true))
			__atomic_fetch_add(went_on, 1, __ATOMIC_RELAXED);
	return NULL;
}

CORE_TEST(whoever_goes_on_too_late_adds_to_nobody_elses_range)
{
	uint32_t went_on = 0, i, k;
	struct marks_taken *t;
	pthread_t thread;

	slow = request_new();
	quick = request_new();
	CHECK_INT(pthread_create(&thread, NULL, keep_going_on, &went_on), 0);
	while (__atomic_load_n(&slow_tid, __ATOMIC_ACQUIRE) == 0)
		;
	for (i = 0; i < 100000 || __atomic_load_n(&went_on, __ATOMIC_RELAXED) < 100; i++) {
		int32_t tid = os_tid();

		/* As if by the other thread. */
		os_cached_tid = slow_tid;
		marks_note(1, 0, 2, slow, false);
		os_cached_tid = tid;
		marks_note(1, 10, 2, quick, false);
		t = marks_take(1, 12);
		CHECK(t != NULL);
		for (k = 0; k < t->count; k++)
			if (t->segment[k].request == quick)
				CHECK(t->segment[k].len <= 3);
		marks_give(t);
		t = marks_take(1, 2000);
		CHECK(t != NULL);
		for (k = 0; k < t->count; k++)
			CHECK(t->segment[k].request != quick);
		marks_give(t);
	}
	__atomic_store_n(&went_on_enough, true, __ATOMIC_RELEASE);
	CHECK_INT(pthread_join(thread, NULL), 0);
	marks_forget(1);
	request_unref(slow);
	request_unref(quick);
}

/* In the child of a fork nobody is there who was in the midst of a stream's ranges. */
#define BUFFERED 100
#define FORKS 100

static struct request *printed;
static bool printed_enough; /* atomic */

static void print_and_flush(uintptr_t stream)
{
	struct marks_taken *t;
	size_t i;

	for (i = 0; i < BUFFERED; i++)
		marks_note(stream, i * 8, 2, printed, false); /* a gap between, so that each is a range */
	t = marks_take(stream, BUFFERED * 8);
	if (t != NULL)
		marks_give(t);
}

static void *keep_printing(void *arg)
{
	while (!__atomic_load_n(&printed_enough, __ATOMIC_ACQUIRE))
		print_and_flush(1);
	return arg;
}

/* Its parent's other thread may hold the request for ever, but nobody lets go of it twice. */
static int print_in_child(void)
{
	int i;

	marks_after_fork();
	for (i = 0; i < 3; i++)
		print_and_flush(1);
	marks_forget(1);
	return printed->refs == 0 || printed->refs > 1 + 2 * BUFFERED;
}

CORE_TEST(a_forked_child_can_print_to_what_another_thread_was_printing_to)
{
	pthread_t thread;
	int i, status;
	pid_t pid;

	printed = request_new();
	CHECK_INT(pthread_create(&thread, NULL, keep_printing, NULL), 0);
	for (i = 0; i < FORKS; i++) {
		if ((pid = fork()) == 0)
			_exit(print_in_child());
		CHECK(pid > 0);
		CHECK_INT(waitpid(pid, &status, 0), pid);
		CHECK_INT(status, 0);
	}
	__atomic_store_n(&printed_enough, true, __ATOMIC_RELEASE);
	CHECK_INT(pthread_join(thread, NULL), 0);
	request_unref(printed);
}
#endif

int main(void)
{
#define TEST(name) cmocka_unit_test(name)
	const struct CMUnitTest tests[] = {
		TEST(a_block_is_one_threads_at_a_time),
		TEST(requests_are_shared_and_let_go_of_by_all),
		TEST(descriptors_may_be_opened_used_copied_and_closed_by_all),
		TEST(connections_of_their_own_do_not_disturb_each_other),
		TEST(a_reader_and_a_writer_share_a_connection),
		TEST(loops_in_many_threads_know_their_own_requests),
		TEST(no_count_of_any_thread_is_lost),
		TEST(streams_may_be_printed_to_by_all),
		TEST(a_stream_that_is_new_to_many_threads_has_one_place),
#ifndef __SANITIZE_THREAD__
		TEST(whoever_goes_on_too_late_adds_to_nobody_elses_range),
		TEST(a_forked_child_can_print_to_what_another_thread_was_printing_to),
#endif
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

/*
 * Evidence for hand-offs: which job is believed, from when on, and what ends it. One thread plays all: what it reads is
 * forgotten before it takes the job, as if another had read it.
 *
 * long: a test a rule, on one fixture.
 */
#include <pthread.h>
#include <semaphore.h>
#include <sys/mman.h>

#include "core_fixture.h"
#include "evidence_internal.h"

#define GET1 "GET /1 HTTP/1.1\r\n" CORE_PARENT "\r\n"
#define GET2 "GET /2 HTTP/1.1\r\n" CORE_OTHER_PARENT "\r\n"
#define OK "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"

#define WORDS 40u
#define SLOT 20u
#define HAND 30u
#define ENOUGH 3000 /* jobs after which everything is decided */

static char queue;        /* its address stands for a mutex */
static uintptr_t *words_; /* of the worker's stack: a test's own, and the same for all its jobs, as in a pool's loop */

struct peer {
	long number;
	int fd;
};

struct job {
	struct peer *peer;
	int fd;
	struct job *next;
};

/* Far from each other: what lies beside a job is looked at, too. */
static struct {
	struct peer peer;
	char between[1024];
	struct job job;
} blocks;

/* Volatile, so that no register keeps them unasked. */
static struct peer *volatile peer = &blocks.peer;
static struct job *volatile job = &blocks.job;

/* How a job leads to its connection. */
enum way { BY_NUMBER, BY_UPPER_HALF, BY_JOB, BY_PEER, BY_NOTHING, WAYS };

static void start(uintptr_t *words)
{
	words_ = words;
	handoff_init(&traceshim_handoff);
	CHECK(handoff != NULL);
}

static void read_request(int fd, const char *text)
{
	core_receive_text(fd, text);
	current_clear();
}

/* A worker has taken this out of the queue. */
static void take_at(uintptr_t site, uintptr_t word)
{
	memset(words_, 0, WORDS * sizeof(*words_));
	words_[SLOT] = word;
	evidence_note_queue(&queue);
	evidence_unlocked(&queue, site, words_, WORDS);
}

static uintptr_t word_of(enum way way)
{
	switch (way) {
	case BY_NUMBER: return (uintptr_t)job->fd;
	case BY_UPPER_HALF: return (uintptr_t)job->fd << 32;
	case BY_JOB:
	case BY_PEER: return (uintptr_t)job;
	default: return 0;
	}
}

/* What the worker needs to answer. */
static void hold(enum way way)
{
	words_[HAND] = way == BY_PEER ? (uintptr_t)peer : way == BY_JOB ? (uintptr_t)job : (uintptr_t)job->fd;
}

static void take(enum way way, int fd)
{
	*peer = (struct peer){ .number = 1, .fd = way == BY_PEER ? fd : -1 };
	*job = (struct job){ .peer = peer, .fd = way == BY_PEER ? -1 : fd };
	take_at(1, word_of(way));
	hold(way);
}

/* Another request waits, as long as this connection is open. */
static int somebody_waits(void)
{
	int fd = core_accept(true);

	read_request(fd, GET2);
	return fd;
}

/* Jobs as they should be, on two connections in turn. */
static void serve(enum way way, int jobs, const int fd[2])
{
	int i;

	for (i = 0; i < jobs; i++) {
		read_request(fd[i % 2], GET1);
		take(way, fd[i % 2]);
		core_send_text(fd[i % 2], OK);
	}
}

static void learn(enum way way, int fd[2])
{
	fd[0] = core_accept(true);
	fd[1] = core_accept(true);
	serve(way, ENOUGH, fd);
}

/* Is the request of a job known when it is taken? */
static bool knows(enum way way, int fd)
{
	bool known;

	read_request(fd, GET1);
	take(way, fd);
	known = current_known() != NULL;
	if (known)
		CHECK_KNOWN(CORE_TRACE);
	core_send_text(fd, OK);
	return known;
}

CORE_TEST(a_jobs_request_is_known_once_responses_have_confirmed_where_it_stands)
{
	uintptr_t words[WORDS];
	static const bool found[WAYS] = { true, true, true, true, false };
	enum way way;

	for (way = BY_NUMBER; way < WAYS; way++) {
		int fd[2], waits, status;
		pid_t pid = fork(); /* what is learned is the process's */

		CHECK(pid >= 0);
		if (pid == 0) {
			start(words);
			waits = somebody_waits();
			learn(way, fd);
			CHECK_INT(knows(way, fd[0]), found[way]);
			CHECK_INT(counters_get(handoffs_contradicted), 0);
			CHECK_INT(counters_get(handoffs_agreed), counters_get(handoffs_named));
			core_close(waits);
			_exit(0);
		}
		CHECK_INT(waitpid(pid, &status, 0), pid);
		CHECK_INT(status, 0);
	}
	evidence_end_thread();
}

CORE_TEST(nothing_is_told_before_a_thousand_jobs_were_as_expected)
{
	uintptr_t words[WORDS];
	int fd[2] = { core_accept(true), core_accept(true) }, waits;

	start(words);
	waits = somebody_waits();
	serve(BY_JOB, 1000, fd);
	CHECK_INT(counters_get(handoffs_named), 0);
	serve(BY_JOB, ENOUGH - 1000, fd);
	CHECK(counters_get(handoffs_named) > 1500);
	core_close(waits);
	core_close(fd[0]);
	core_close(fd[1]);
	evidence_end_thread();
}

CORE_TEST(what_is_known_lasts_past_the_response_until_the_thread_waits_or_takes_something_else)
{
	uintptr_t words[WORDS];
	int fd[2], waits;

	start(words);
	waits = somebody_waits();
	learn(BY_JOB, fd);
	read_request(fd[0], GET1);
	take(BY_JOB, fd[0]);
	CHECK_KNOWN(CORE_TRACE);
	core_send_text(fd[0], OK);
	CHECK_KNOWN(CORE_TRACE);
	current_wait_idle();
	CHECK_NOTHING_KNOWN();
	read_request(fd[0], GET1);
	take(BY_JOB, fd[0]);
	core_send_text(fd[0], OK);
	CHECK_KNOWN(CORE_TRACE);
	take_at(1, 0); /* something that leads nowhere */
	CHECK_NOTHING_KNOWN();
	CHECK(knows(BY_JOB, fd[1]));
	core_close(waits);
	core_close(fd[0]);
	core_close(fd[1]);
	evidence_end_thread();
}

CORE_TEST(a_job_that_is_put_into_a_queue_in_between_changes_nothing)
{
	uintptr_t words[WORDS], others[WORDS] = { 0 };
	int fd[2], waits;

	start(words);
	waits = somebody_waits();
	learn(BY_JOB, fd);
	read_request(fd[0], GET1);
	take(BY_JOB, fd[0]);
	evidence_unlocked(&queue, 2, others, WORDS);
	CHECK_KNOWN(CORE_TRACE);
	core_send_text(fd[0], OK);
	evidence_unlocked(&queue, 2, others, WORDS);
	CHECK_NOTHING_KNOWN(); /* behind the response it may as well be taken */
	CHECK(knows(BY_JOB, fd[0]));
	core_close(waits);
	core_close(fd[0]);
	core_close(fd[1]);
	evidence_end_thread();
}

/* Where the table has no room for a place, nobody can say what is done there. */
CORE_TEST(what_may_be_taken_where_nothing_is_learned_ends_a_job)
{
	uintptr_t words[WORDS], others[WORDS] = { 0 }, site = 1;
	int fd[2], waits;

	start(words);
	waits = somebody_waits();
	learn(BY_JOB, fd);
	while (counters_get(handoffs_skipped) == 0)
		evidence_unlocked(&queue, ++site, others, WORDS);
	read_request(fd[0], GET1);
	take(BY_JOB, fd[0]);
	CHECK_KNOWN(CORE_TRACE);
	evidence_unlocked(&queue, site, others, WORDS);
	CHECK_INT(counters_get(handoffs_skipped), 2);
	CHECK_NOTHING_KNOWN();
	core_send_text(fd[0], OK);
	core_close(waits);
	core_close(fd[0]);
	core_close(fd[1]);
	evidence_end_thread();
}

CORE_TEST(the_first_response_that_says_otherwise_ends_it_for_good)
{
	uintptr_t words[WORDS];
	int fd[2], waits;

	start(words);
	waits = somebody_waits();
	learn(BY_JOB, fd);
	read_request(fd[0], GET1);
	read_request(fd[1], GET1);
	take(BY_JOB, fd[0]);
	core_send_text(fd[1], OK);
	CHECK_INT(counters_get(handoffs_contradicted), 1);
	CHECK_INT(counters_get(handoffs_switched_off), 1);
	CHECK_NOTHING_KNOWN();
	core_send_text(fd[0], OK);
	serve(BY_JOB, ENOUGH, fd);
	CHECK(!knows(BY_JOB, fd[0]));
	core_close(waits);
	core_close(fd[0]);
	core_close(fd[1]);
	evidence_end_thread();
}

CORE_TEST(two_responses_for_one_job_end_it)
{
	uintptr_t words[WORDS];
	int fd[2], waits;

	start(words);
	waits = somebody_waits();
	learn(BY_JOB, fd);
	read_request(fd[0], GET1);
	read_request(fd[1], GET1);
	take(BY_JOB, fd[0]);
	core_send_text(fd[0], OK);
	core_send_text(fd[1], OK);
	CHECK_NOTHING_KNOWN();
	CHECK(!knows(BY_JOB, fd[0]));
	CHECK_INT(counters_get(handoffs_contradicted), 0);
	core_close(waits);
	core_close(fd[0]);
	core_close(fd[1]);
	evidence_end_thread();
}

CORE_TEST(a_job_for_a_connection_without_a_request_ends_it)
{
	uintptr_t words[WORDS];
	int fd[2], waits;

	start(words);
	waits = somebody_waits();
	learn(BY_JOB, fd);
	take(BY_JOB, fd[0]); /* it was answered */
	CHECK_NOTHING_KNOWN();
	CHECK_INT(counters_get(handoffs_switched_off), 1);
	CHECK(!knows(BY_JOB, fd[0]));
	core_close(waits);
	core_close(fd[0]);
	core_close(fd[1]);
	evidence_end_thread();
}

CORE_TEST(a_request_that_is_taken_twice_ends_it)
{
	uintptr_t words[WORDS];
	int fd[2], waits;

	start(words);
	waits = somebody_waits();
	learn(BY_JOB, fd);
	read_request(fd[0], GET1);
	take(BY_JOB, fd[0]);
	CHECK_KNOWN(CORE_TRACE);
	take(BY_JOB, fd[0]);
	CHECK_NOTHING_KNOWN();
	core_send_text(fd[0], OK);
	CHECK(!knows(BY_JOB, fd[0]));
	core_close(waits);
	core_close(fd[0]);
	core_close(fd[1]);
	evidence_end_thread();
}

CORE_TEST(a_job_whose_request_is_left_waiting_ends_it_and_the_next_one_is_not_told)
{
	uintptr_t words[WORDS];
	int fd[2], waits;

	start(words);
	waits = somebody_waits();
	learn(BY_JOB, fd);
	read_request(fd[0], GET1);
	read_request(fd[1], GET1);
	take(BY_JOB, fd[0]);
	take(BY_JOB, fd[1]);
	CHECK_NOTHING_KNOWN();
	core_send_text(fd[1], OK);
	core_send_text(fd[0], OK);
	CHECK(!knows(BY_JOB, fd[0]));
	core_close(waits);
	core_close(fd[0]);
	core_close(fd[1]);
	evidence_end_thread();
}

CORE_TEST(a_request_whose_connection_ended_meanwhile_is_no_reason_to_end_it)
{
	uintptr_t words[WORDS];
	int fd[2], gone = core_accept(true), waits;

	start(words);
	waits = somebody_waits();
	learn(BY_JOB, fd);
	read_request(gone, GET1);
	take(BY_JOB, gone);
	CHECK_KNOWN(CORE_TRACE);
	core_close(gone);
	take_at(1, 0);
	CHECK(knows(BY_JOB, fd[0]));
	core_close(waits);
	core_close(fd[0]);
	core_close(fd[1]);
	evidence_end_thread();
}

/* A queue that holds what is not the job's: a session that keeps the number of whoever used it last, right but for one in 500. */
CORE_TEST(what_is_nearly_always_right_is_never_believed)
{
	int fd[2] = { core_accept(true), core_accept(true) }, waits, i;
	uintptr_t words[WORDS];

	start(words);
	waits = somebody_waits();
	for (i = 1; i <= 3 * ENOUGH; i++) {
		read_request(fd[0], GET1);
		read_request(fd[1], GET2);
		take(BY_JOB, fd[i % 2 == (i % 500 == 0)]);
		CHECK_NOTHING_KNOWN();
		core_send_text(fd[i % 2], OK);
		evidence_leave();
		core_send_text(fd[i % 2 == 0], OK);
	}
	core_close(waits);
	core_close(fd[0]);
	core_close(fd[1]);
	evidence_end_thread();
}

CORE_TEST(a_true_way_that_is_in_reach_disagrees_with_a_false_one)
{
	uintptr_t words[WORDS] = { 0 };
	int fd[2] = { core_accept(true), core_accept(true) }, waits, i;

	start(words);
	waits = somebody_waits();
	evidence_note_queue(&queue);
	for (i = 0; i < ENOUGH; i++) {
		read_request(fd[i % 2], GET1);
		words[3] = words[7] = (uintptr_t)fd[i % 2];
		words[HAND] = 0;
		evidence_note_queue(&queue);
		evidence_unlocked(&queue, 1, words, WORDS);
		core_send_text(fd[i % 2], OK);
	}
	words[HAND] = words[3];
	CHECK_KNOWN(CORE_TRACE);
	read_request(fd[0], GET1);
	words[3] = (uintptr_t)fd[0], words[7] = (uintptr_t)waits;
	evidence_unlocked(&queue, 1, words, WORDS);
	CHECK_NOTHING_KNOWN();
	core_send_text(fd[0], OK);
	CHECK_INT(counters_get(handoffs_contradicted), 0);
	core_close(waits);
	core_close(fd[0]);
	core_close(fd[1]);
	evidence_end_thread();
}

CORE_TEST(what_held_for_one_request_at_a_time_is_not_believed_of_several)
{
	uintptr_t words[WORDS];
	int fd[2], waits;

	start(words);
	learn(BY_JOB, fd);
	CHECK(knows(BY_JOB, fd[0])); /* alone, as all before */
	waits = somebody_waits();
	CHECK(!knows(BY_JOB, fd[0]));
	serve(BY_JOB, ENOUGH, fd);
	CHECK(knows(BY_JOB, fd[0]));
	core_close(waits);
	core_close(fd[0]);
	core_close(fd[1]);
	evidence_end_thread();
}

CORE_TEST(several_requests_of_one_connection_are_told_apart_by_nobody)
{
	uintptr_t words[WORDS];
	int fd[2], waits;

	start(words);
	waits = somebody_waits();
	learn(BY_JOB, fd);
	read_request(fd[0], GET1 GET2);
	take(BY_JOB, fd[0]);
	CHECK_NOTHING_KNOWN();
	core_send_text(fd[0], OK);
	evidence_leave();
	core_send_text(fd[0], OK);
	CHECK_INT(counters_get(handoffs_contradicted), 0);
	core_close(waits);
	core_close(fd[0]);
	core_close(fd[1]);
	evidence_end_thread();
}

CORE_TEST(a_thread_that_read_a_request_itself_or_runs_a_loop_is_not_told)
{
	uintptr_t words[WORDS];
	int fd[2], waits, own;

	start(words);
	waits = somebody_waits();
	learn(BY_JOB, fd);
	own = core_accept(false);
	read_request(fd[0], GET1);
	core_receive_text(own, GET2);
	take(BY_JOB, fd[0]);
	CHECK(current_known() == NULL || current_known() == core_conn(own)->first->request);
	current_clear();
	io_epoll_begin(-1, -1);
	io_wait_done(1);
	take(BY_JOB, fd[0]);
	CHECK_NOTHING_KNOWN();
	core_close(own);
	core_close(waits);
	core_close(fd[0]);
	core_close(fd[1]);
	evidence_end_thread();
}

/* A place in the stack that leads to the right connection by chance, and which the program does not use. */
#ifndef __SANITIZE_THREAD__
CORE_TEST(what_the_thread_has_not_at_hand_since_it_took_the_job_is_not_told)
{
	uintptr_t words[WORDS];
	int fd[2], waits;

	start(words);
	waits = somebody_waits();
	learn(BY_PEER, fd);
	read_request(fd[0], GET1);
	take(BY_PEER, fd[0]);
	CHECK_KNOWN(CORE_TRACE);
	words[HAND] = 0;
	CHECK_NOTHING_KNOWN();
	words[HAND] = (uintptr_t)job; /* it leads there, and is nobody else's */
	CHECK_KNOWN(CORE_TRACE);
	words[HAND] = (uintptr_t)job + 8;
	CHECK_NOTHING_KNOWN();
	words[HAND] = (uintptr_t)peer;
	CHECK_KNOWN(CORE_TRACE);
	core_send_text(fd[0], OK);
	core_close(waits);
	core_close(fd[0]);
	core_close(fd[1]);
	evidence_end_thread();
}
#endif

/* A worker on a thread of its own, which does one thing after the other as it is told. */
struct worker {
	pthread_t thread;
	sem_t go, done;
	enum { TAKE, ANSWER, END } what;
	int fd;
	bool by_nothing, by_job, by_peer; /* with which of them at hand was the request known, after TAKE */
};

static __attribute__((noinline)) bool is_known_with(uintptr_t at_hand)
{
	volatile char below[1024]; /* what was called before has left things here, too */
	size_t i;

	for (i = 0; i < sizeof(below); i++)
		below[i] = 0;
	words_[HAND] = at_hand;
	return current_known() != NULL;
}

static void *work(void *arg)
{
	struct worker *me = arg;
	uintptr_t words[WORDS];

	while (sem_wait(&me->go) == 0 && me->what != END) {
		words_ = words;
		if (me->what == TAKE) {
			take(BY_PEER, me->fd);
			me->by_nothing = is_known_with(0);
			me->by_job = is_known_with((uintptr_t)job);
			me->by_peer = is_known_with((uintptr_t)peer);
		} else {
			core_send_text(me->fd, OK);
		}
		sem_post(&me->done);
	}
	evidence_end_thread();
	current_clear();
	return NULL;
}

static void start_worker(struct worker *worker)
{
	sem_init(&worker->go, 0, 0);
	sem_init(&worker->done, 0, 0);
	CHECK_INT(pthread_create(&worker->thread, NULL, work, worker), 0);
}

static void tell(struct worker *worker, int what, int fd)
{
	worker->what = what;
	worker->fd = fd;
	sem_post(&worker->go);
	if (what == END)
		pthread_join(worker->thread, NULL);
	else
		sem_wait(&worker->done);
}

/* A session: two requests that wait lead over it, to their connections. */
CORE_TEST(what_two_requests_lead_over_is_at_hand_for_neither)
{
	int fd[2] = { core_accept(true), core_accept(true) }, waits, i;
	struct worker one = { .fd = -1 }, other = { .fd = -1 };

	start(NULL);
	waits = somebody_waits();
	start_worker(&one);
	start_worker(&other);
	for (i = 0; i < ENOUGH; i++) {
		read_request(fd[i % 2], GET1);
		tell(&one, TAKE, fd[i % 2]);
		tell(&one, ANSWER, fd[i % 2]);
	}
	CHECK(one.by_job && one.by_peer);
	read_request(fd[0], GET1);
	read_request(fd[1], GET1);
	tell(&one, TAKE, fd[0]);
	tell(&other, TAKE, fd[1]);
	CHECK(!other.by_nothing && !other.by_job && other.by_peer);
	tell(&other, ANSWER, fd[1]);
	tell(&one, ANSWER, fd[0]);
	read_request(fd[0], GET1);
	tell(&one, TAKE, fd[0]);
	CHECK(!one.by_job && one.by_peer);
	tell(&one, ANSWER, fd[0]);
	CHECK_INT(counters_get(handoffs_contradicted), 0);
	tell(&one, END, -1);
	tell(&other, END, -1);
	core_close(waits);
	core_close(fd[0]);
	core_close(fd[1]);
	evidence_end_thread();
}

/* All of them are the same for each job, those below too, where the functions that are called next will be. */
CORE_TEST(what_lies_in_the_stack_around_the_words_is_no_sign_of_a_job)
{
	static const long own[] = { -(long)EVIDENCE_WIPED, -8, 0, 8, 4096 };
	uintptr_t words[WORDS], first = (uintptr_t)words;
	struct live live;
	size_t i;

	live_begin(&live, &(struct words){ words, WORDS });
	for (i = 0; i < sizeof(own) / sizeof(own[0]); i++) {
		CHECK(live_is_in_stack(&live, first + (uintptr_t)own[i]));
		live_add(&live, first + (uintptr_t)own[i]);
	}
	CHECK_INT(live.tokens, 0);
	live_add(&live, first - EVIDENCE_WIPED - 8);
	live_add(&live, first + (1u << 30));
	CHECK_INT(live.tokens, 2);
}

/* Coroutines: the same thread on another stack. */
CORE_TEST(what_was_found_on_one_stack_does_not_hold_on_another)
{
	uintptr_t *elsewhere = malloc(WORDS * sizeof(*elsewhere));
	int fd[2] = { core_accept(true), core_accept(true) }, waits, i;

	start(elsewhere);
	waits = somebody_waits();
	for (i = 0; i < ENOUGH; i++) {
		read_request(fd[i % 2], GET1);
		take(BY_JOB, fd[i % 2]);
		CHECK_NOTHING_KNOWN();
		core_send_text(fd[i % 2], OK);
	}
	CHECK(counters_get(handoffs_named) > 0);
	take_at(1, 0);
	free(elsewhere);
	core_close(waits);
	core_close(fd[0]);
	core_close(fd[1]);
	evidence_end_thread();
}

#define STACKS ((size_t)16 << 20)

static void *answer_on_lower_stack(void *words)
{
	int fd[2] = { core_accept(true), core_accept(true) }, waits, i;

	start(words);
	waits = somebody_waits();
	for (i = 0; i < ENOUGH; i++) {
		read_request(fd[i % 2], GET1);
		take(BY_JOB, fd[i % 2]);
		CHECK_NOTHING_KNOWN();
		core_send_text(fd[i % 2], OK);
	}
	CHECK(counters_get(handoffs_named) > 0);
	take_at(1, 0);
	core_close(waits);
	core_close(fd[0]);
	core_close(fd[1]);
	evidence_end_thread();
	current_clear();
	return NULL;
}

/* A worker that takes a job and goes on to a coroutine, whose stack lies below its own: what it left on its own is no sign. */
CORE_TEST(nor_does_it_on_one_that_lies_below_it)
{
	char *stacks = mmap(NULL, STACKS, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	pthread_attr_t attr;
	pthread_t thread;

	CHECK(stacks != MAP_FAILED);
	pthread_attr_init(&attr);
	CHECK_INT(pthread_attr_setstack(&attr, stacks, STACKS / 2), 0);
	CHECK_INT(pthread_create(&thread, &attr, answer_on_lower_stack, stacks + STACKS - 8192), 0);
	pthread_join(thread, NULL);
}

/* Three ways to a connection, in this order: a number, and two jobs. Far from each other, as above. */
static struct {
	char before[1024];
	struct job job;
	char behind[1024];
} other_block;

struct three {
	pthread_t thread;
	sem_t go, done;
	int fd[3], answers; /* descriptors, -1: end */
	bool known;
};

static struct three between;
static bool change_now;

static __attribute__((noinline)) void take_three(const struct three *me, uintptr_t *words)
{
	words_ = words;
	memset(words, 0, WORDS * sizeof(*words));
	job->fd = me->fd[1];
	other_block.job.fd = me->fd[2];
	words[3] = (uintptr_t)me->fd[0];
	words[SLOT] = (uintptr_t)job;
	words[SLOT + 5] = (uintptr_t)&other_block.job;
	evidence_note_queue(&queue);
	evidence_unlocked(&queue, 1, words, WORDS);
	words[HAND] = (uintptr_t)job;
}

static void *work_by_three(void *arg)
{
	struct three *me = arg;
	uintptr_t words[WORDS];

	while (sem_wait(&me->go) == 0 && me->answers >= 0) {
		take_three(me, words);
		me->known = current_known() != NULL;
		core_send_text(me->answers, OK);
		sem_post(&me->done);
	}
	evidence_end_thread();
	current_clear();
	return NULL;
}

static void tell_three(struct three *me, int by_number, int by_job, int by_other, int answers)
{
	me->fd[0] = by_number;
	me->fd[1] = by_job;
	me->fd[2] = by_other;
	me->answers = answers;
	if (answers >= 0)
		read_request(answers, GET1);
	sem_post(&me->go);
	if (answers < 0)
		pthread_join(me->thread, NULL);
	else
		sem_wait(&me->done);
}

static void start_three(struct three *me)
{
	sem_init(&me->go, 0, 0);
	sem_init(&me->done, 0, 0);
	CHECK_INT(pthread_create(&me->thread, NULL, work_by_three, me), 0);
}

/* Between two ways that one thread follows, another thread strikes one off: the first response says that one is false, the second which. */
static long copy_and_change(void *to, const struct iovec *from, unsigned count)
{
	if (count > 1) /* one of them has gone: they are read one by one */
		return -EFAULT;
	if (change_now && from->iov_base == &job->fd) {
		int fd = job->fd, other = other_block.job.fd, served = core_accept(true), idle = core_accept(true), i;

		change_now = false;
		for (i = 0; i < 2; i++)
			tell_three(&between, idle, served, served, served);
		job->fd = fd;
		other_block.job.fd = other;
		core_close(served);
		core_close(idle);
	}
	return os_copy(to, from, count);
}

CORE_TEST(ways_that_change_while_they_are_followed_tell_nothing)
{
	int fd[2] = { core_accept(true), core_accept(true) }, waits, i;
	struct three one;

	start(NULL);
	waits = somebody_waits();
	start_three(&one);
	start_three(&between);
	evidence_core.copy = copy_and_change;
	for (i = 0; i < ENOUGH; i++)
		tell_three(&one, fd[i % 2], fd[i % 2], fd[i % 2], fd[i % 2]);
	CHECK(one.known);
	change_now = true;
	tell_three(&one, fd[0], fd[0], fd[1], fd[0]); /* the last way disagrees */
	CHECK(!change_now);
	CHECK(!one.known);
	tell_three(&one, -1, -1, -1, -1);
	tell_three(&between, -1, -1, -1, -1);
	core_close(waits);
	core_close(fd[0]);
	core_close(fd[1]);
	evidence_end_thread();
}

static int copies;

static long copy_and_count(void *to, const struct iovec *from, unsigned count)
{
	copies++;
	return os_copy(to, from, count);
}

CORE_TEST(the_kernel_is_asked_once_for_all_that_is_as_far_away)
{
	int fd[2] = { core_accept(true), core_accept(true) }, waits, i;
	uintptr_t words[WORDS];

	start(words);
	waits = somebody_waits();
	evidence_core.copy = copy_and_count;
	for (i = 0; i <= ENOUGH; i++) {
		struct three by_three = { .fd = { fd[i % 2], fd[i % 2], fd[i % 2] } };

		read_request(fd[i % 2], GET1);
		copies = 0;
		take_three(&by_three, words);
		if (i == ENOUGH)
			CHECK_KNOWN(CORE_TRACE);
		core_send_text(fd[i % 2], OK);
	}
	CHECK_INT(copies, 1);
	core_close(waits);
	core_close(fd[0]);
	core_close(fd[1]);
	evidence_end_thread();
}

/* A thread that learns, and is not there in a child of a fork. */
static sem_t is_learning, may_go_on;
static bool stop_now;

static long copy_and_stop(void *to, const struct iovec *from, unsigned count)
{
	if (stop_now) {
		stop_now = false;
		sem_post(&is_learning);
		sem_wait(&may_go_on);
	}
	return os_copy(to, from, count);
}

static void *learn_and_stop(void *fd)
{
	uintptr_t words[WORDS];
	int i;

	words_ = words;
	for (i = 0; i < 20; i++) {
		stop_now = i == 4; /* it explores */
		read_request(*(int *)fd, GET1);
		take(BY_JOB, *(int *)fd);
		core_send_text(*(int *)fd, OK);
	}
	evidence_end_thread();
	return NULL;
}

CORE_TEST(a_forked_child_learns_though_a_thread_of_its_parent_was_learning)
{
	int fd = core_accept(true), two[2], waits, status;
	uintptr_t words[WORDS];
	pthread_t thread;
	pid_t pid;

	start(NULL);
	waits = somebody_waits();
	sem_init(&is_learning, 0, 0);
	sem_init(&may_go_on, 0, 0);
	evidence_core.copy = copy_and_stop;
	CHECK_INT(pthread_create(&thread, NULL, learn_and_stop, &fd), 0);
	sem_wait(&is_learning);
	pid = fork();
	CHECK(pid >= 0);
	if (pid == 0) {
		io_after_fork();
		words_ = words;
		waits = somebody_waits();
		learn(BY_JOB, two);
		CHECK(knows(BY_JOB, two[0]));
		_exit(0);
	}
	CHECK_INT(waitpid(pid, &status, 0), pid);
	CHECK_INT(status, 0);
	sem_post(&may_go_on);
	pthread_join(thread, NULL);
	core_close(waits);
	core_close(fd);
	evidence_end_thread();
}

/* Words of a stack may be anything: what they point to may be gone, or protected, or end within. */
CORE_TEST(no_word_makes_it_fault)
{
	char *pages = mmap(NULL, 3 * 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	int fd[2] = { core_accept(true), core_accept(true) }, waits, i;
	uintptr_t words[EVIDENCE_WORDS] = { 0 };

	CHECK(pages != MAP_FAILED);
	CHECK_INT(mprotect(pages + 4096, 4096, PROT_NONE), 0);
	CHECK_INT(munmap(pages + 2 * 4096, 4096), 0);
	start(words);
	waits = somebody_waits();
	for (i = 0; i < 600; i++) {
		words[2] = (uintptr_t)pages + 4096 - 8;
		words[4] = (uintptr_t)pages + 4096;
		words[5] = (uintptr_t)pages + 2 * 4096;
		words[6] = UINTPTR_MAX;
		words[7] = UINTPTR_MAX / 2 - 7;
		words[8] = 8;
		words[9] = (uintptr_t)pages + 1;
		words[10] = (uintptr_t)&words[EVIDENCE_WORDS] - 8;
		memcpy(pages + 4096 - 8, &words[4 + i % 4], 8);
		read_request(fd[i % 2], GET1);
		evidence_note_queue(&queue);
		evidence_unlocked(&queue, 1, words, EVIDENCE_WORDS);
		core_send_text(fd[i % 2], OK);
	}
	CHECK_INT(counters_get(handoffs_named), 0);
	core_close(waits);
	core_close(fd[0]);
	core_close(fd[1]);
	evidence_end_thread();
}

CORE_TEST(without_the_object_that_sees_queues_nothing_is_done_and_a_note_says_so)
{
	handoff_init(NULL);
	CHECK(handoff == NULL);
	CHECK(strstr(counters_page()->notes, "libtraceshim-handoff.so") != NULL);
}

static bool never_started(const struct handoff_core *lent)
{
	(void)lent;
	CHECK(false);
	return false;
}

CORE_TEST(a_second_object_of_another_build_is_not_started_and_a_note_says_so)
{
	struct handoff other = traceshim_handoff;

	other.start = never_started;
	/* What both must agree on changes between versions too. */
	CHECK(strlen(other.build) > strlen(TRACESHIM_VERSION) + 1);
	other.build[strlen(other.build) - 1]++;
	handoff_init(&other);
	CHECK(handoff == NULL);
	CHECK(strstr(counters_page()->notes, "another build") != NULL);
}

CORE_TEST(more_places_than_the_table_holds_are_counted)
{
	uintptr_t words[WORDS], site;

	start(words);
	for (site = 1; site < 1000; site++)
		take_at(site, 0);
	CHECK(counters_get(handoffs_skipped) > 0);
	evidence_end_thread();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_jobs_request_is_known_once_responses_have_confirmed_where_it_stands),
		cmocka_unit_test(nothing_is_told_before_a_thousand_jobs_were_as_expected),
		cmocka_unit_test(what_is_known_lasts_past_the_response_until_the_thread_waits_or_takes_something_else),
		cmocka_unit_test(a_job_that_is_put_into_a_queue_in_between_changes_nothing),
		cmocka_unit_test(what_may_be_taken_where_nothing_is_learned_ends_a_job),
		cmocka_unit_test(the_first_response_that_says_otherwise_ends_it_for_good),
		cmocka_unit_test(two_responses_for_one_job_end_it),
		cmocka_unit_test(a_job_for_a_connection_without_a_request_ends_it),
		cmocka_unit_test(a_request_that_is_taken_twice_ends_it),
		cmocka_unit_test(a_job_whose_request_is_left_waiting_ends_it_and_the_next_one_is_not_told),
		cmocka_unit_test(a_request_whose_connection_ended_meanwhile_is_no_reason_to_end_it),
		cmocka_unit_test(what_is_nearly_always_right_is_never_believed),
		cmocka_unit_test(a_true_way_that_is_in_reach_disagrees_with_a_false_one),
		cmocka_unit_test(what_held_for_one_request_at_a_time_is_not_believed_of_several),
		cmocka_unit_test(several_requests_of_one_connection_are_told_apart_by_nobody),
		cmocka_unit_test(a_thread_that_read_a_request_itself_or_runs_a_loop_is_not_told),
#ifndef __SANITIZE_THREAD__ /* what TSan calls leaves words of its callers on the stack */
		cmocka_unit_test(what_the_thread_has_not_at_hand_since_it_took_the_job_is_not_told),
#endif
		cmocka_unit_test(what_two_requests_lead_over_is_at_hand_for_neither),
		cmocka_unit_test(what_lies_in_the_stack_around_the_words_is_no_sign_of_a_job),
		cmocka_unit_test(what_was_found_on_one_stack_does_not_hold_on_another),
		cmocka_unit_test(nor_does_it_on_one_that_lies_below_it),
		cmocka_unit_test(the_kernel_is_asked_once_for_all_that_is_as_far_away),
		cmocka_unit_test(ways_that_change_while_they_are_followed_tell_nothing),
		cmocka_unit_test(a_forked_child_learns_though_a_thread_of_its_parent_was_learning),
		cmocka_unit_test(no_word_makes_it_fault),
		cmocka_unit_test(without_the_object_that_sees_queues_nothing_is_done_and_a_note_says_so),
		cmocka_unit_test(a_second_object_of_another_build_is_not_started_and_a_note_says_so),
		cmocka_unit_test(more_places_than_the_table_holds_are_counted),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

/*
 * Coroutines: which request a stack works for, driven by the calls that programs make. A step of a coroutine is run on its stack; who else
 * would use that stack is told, or not, as programs do. long: a test a rule, on one fixture.
 */
#include <pthread.h>
#include <signal.h>
#include <sys/mman.h>
#include <ucontext.h>

#include "core_fixture.h"
#include "stacks.h"

#define GET1 "GET /1 HTTP/1.1\r\n" CORE_PARENT "\r\n"
#define GET2 "GET /2 HTTP/1.1\r\n" CORE_OTHER_PARENT "\r\n"
#define OK "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
#define HALF_OK "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\no"

#define SIZE ((size_t)256 << 10)
#define GUARD ((size_t)4096)

enum { BLOCKING = 0, NONBLOCKING = 1 };

static ucontext_t here, there;
static void (*step)(int fd);
static int step_fd;

static void run_step(void)
{
	step(step_fd);
}

/* On this stack, from its upper end. Nobody is told: whether that is the coroutine that was there before is up to the test. */
static void on(char *stack, size_t size, void (*what)(int), int fd)
{
	step = what;
	step_fd = fd;
	CHECK_INT(getcontext(&there), 0);
	there.uc_stack.ss_sp = stack;
	there.uc_stack.ss_size = size;
	there.uc_link = &here;
	makecontext(&there, run_step, 0);
	CHECK_INT(swapcontext(&here, &there), 0);
}

static void asks_1(int fd)
{
	core_receive_text(fd, GET1);
}

static void asks_2(int fd)
{
	core_receive_text(fd, GET2);
}

static void answers(int fd)
{
	core_send_text(fd, OK);
}

static void knows_1(int fd)
{
	(void)fd;
	CHECK_KNOWN(CORE_TRACE);
}

static void knows_2(int fd)
{
	(void)fd;
	CHECK_KNOWN(CORE_OTHER_TRACE);
}

static void knows_nothing(int fd)
{
	(void)fd;
	CHECK_NOTHING_KNOWN();
}

static void waits(int fd)
{
	(void)fd;
	io_epoll_begin(-1, -1);
	io_wait_done(1);
}

static char *map_stack(void)
{
	char *stack = mmap(NULL, GUARD + SIZE + GUARD, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	CHECK(stack != MAP_FAILED);
	CHECK_INT(mprotect(stack, GUARD, PROT_NONE), 0);
	CHECK_INT(mprotect(stack + GUARD + SIZE, GUARD, PROT_NONE), 0);
	return stack + GUARD;
}

static void unmap_stack(char *stack)
{
	stacks_freed(stack - GUARD, GUARD + SIZE + GUARD, true);
	CHECK_INT(munmap(stack - GUARD, GUARD + SIZE + GUARD), 0);
}

static char *born_stack(void)
{
	char *stack = map_stack();

	stacks_born(stack, SIZE);
	return stack;
}

/* Reads and answers on this stack, so often that it is believed; with another request waiting, if there is one. */
static void prove(char *stack, int times)
{
	int fd = core_accept(NONBLOCKING), i;

	for (i = 0; i < times; i++) {
		on(stack, SIZE, asks_1, fd);
		on(stack, SIZE, knows_nothing, 0);
		on(stack, SIZE, answers, fd);
	}
	core_close(fd);
}

/* A stack of its own, among which each birth is seen, and which is believed. */
static char *believed_stack(void)
{
	char *stack = born_stack();

	prove(stack, 16);
	return stack;
}

CORE_TEST(a_coroutine_that_read_a_request_works_for_it_until_it_has_answered)
{
	char *stack = believed_stack();
	int fd = core_accept(NONBLOCKING);

	on(stack, SIZE, asks_1, fd);
	on(stack, SIZE, knows_1, 0);
	CHECK_NOTHING_KNOWN(); /* the scheduler */
	waits(0);
	on(stack, SIZE, knows_1, 0);
	on(stack, SIZE, answers, fd);
	on(stack, SIZE, knows_nothing, 0); /* it may be at the next job */
	on(stack, SIZE, asks_2, fd);
	on(stack, SIZE, knows_2, 0);
	core_close(fd);
	on(stack, SIZE, knows_nothing, 0);
	unmap_stack(stack);
}

CORE_TEST(each_coroutine_works_for_its_own_request_whichever_runs)
{
	char *one = believed_stack(), *other = born_stack();
	int fd1 = core_accept(NONBLOCKING), fd2 = core_accept(NONBLOCKING), other_fd = core_accept(NONBLOCKING);

	on(other, SIZE, asks_1, other_fd);
	prove(one, 64);
	on(other, SIZE, answers, other_fd);
	core_close(other_fd);
	on(one, SIZE, asks_1, fd1);
	on(other, SIZE, asks_2, fd2);
	on(one, SIZE, knows_1, 0);
	on(other, SIZE, knows_2, 0);
	on(one, SIZE, knows_1, 0);
	on(other, SIZE, answers, fd2);
	on(one, SIZE, knows_1, 0);
	on(other, SIZE, knows_nothing, 0);
	core_close(fd1);
	core_close(fd2);
	unmap_stack(one);
	unmap_stack(other);
}

CORE_TEST(while_others_wait_coroutines_are_believed_only_after_many_proofs)
{
	char *one = believed_stack(), *other = born_stack();
	int fd1 = core_accept(NONBLOCKING), fd2 = core_accept(NONBLOCKING);

	on(one, SIZE, asks_1, fd1);
	on(one, SIZE, knows_1, 0);
	on(other, SIZE, asks_2, fd2);
	on(one, SIZE, knows_nothing, 0);
	on(other, SIZE, knows_nothing, 0);
	core_close(fd1);
	core_close(fd2);
	unmap_stack(one);
	unmap_stack(other);
}

CORE_TEST(a_stack_that_another_coroutine_was_given_is_nobodys)
{
	char *stack = believed_stack();
	int fd = core_accept(NONBLOCKING);

	on(stack, SIZE, asks_1, fd);
	on(stack, SIZE, knows_1, 0);
	stacks_born(stack, SIZE);
	on(stack, SIZE, knows_nothing, 0);
	on(stack, SIZE, asks_1, fd);
	stacks_born(stack + SIZE / 2, SIZE / 2); /* it lies elsewhere, in part */
	on(stack, SIZE, knows_nothing, 0);
	core_close(fd);
	unmap_stack(stack);
}

CORE_TEST(a_stack_that_was_freed_is_nobodys)
{
	char *stack = believed_stack();
	int fd = core_accept(NONBLOCKING);

	on(stack, SIZE, asks_1, fd);
	on(stack, SIZE, knows_1, 0);
	stacks_freed(stack, SIZE - 2 * GUARD, false);
	on(stack, SIZE, knows_nothing, 0);
	core_close(fd);
	unmap_stack(stack);
}

CORE_TEST(an_answer_by_another_coroutine_ends_the_trust_in_all)
{
	char *stack = believed_stack(), *other = born_stack();
	int fd = core_accept(NONBLOCKING), fd2 = core_accept(NONBLOCKING);

	on(stack, SIZE, asks_1, fd);
	on(stack, SIZE, knows_1, 0);
	on(other, SIZE, answers, fd);
	on(other, SIZE, asks_2, fd2);
	on(other, SIZE, knows_nothing, 0);
	on(other, SIZE, answers, fd2);
	on(other, SIZE, asks_2, fd2);
	on(other, SIZE, knows_nothing, 0);
	core_close(fd);
	core_close(fd2);
	unmap_stack(stack);
	unmap_stack(other);
}

CORE_TEST(an_answer_by_the_scheduler_ends_the_trust_in_all)
{
	char *stack = believed_stack();
	int fd = core_accept(NONBLOCKING);

	on(stack, SIZE, asks_1, fd);
	answers(fd);
	on(stack, SIZE, asks_2, fd);
	on(stack, SIZE, knows_nothing, 0);
	core_close(fd);
	unmap_stack(stack);
}

CORE_TEST(a_coroutine_of_several_requests_ends_the_trust_in_all)
{
	char *stack = believed_stack();
	int fd = core_accept(NONBLOCKING), fd2 = core_accept(NONBLOCKING);

	on(stack, SIZE, asks_1, fd);
	on(stack, SIZE, asks_2, fd2);
	on(stack, SIZE, knows_nothing, 0);
	core_close(fd);
	on(stack, SIZE, knows_nothing, 0);
	core_close(fd2);
	unmap_stack(stack);
}

CORE_TEST(a_coroutine_of_two_connections_ends_the_trust_in_all)
{
	char *stack = believed_stack();
	int fd = core_accept(NONBLOCKING), fd2 = core_accept(NONBLOCKING);

	on(stack, SIZE, asks_1, fd);
	on(stack, SIZE, knows_1, 0);
	on(stack, SIZE, answers, fd);
	on(stack, SIZE, asks_2, fd2); /* of a pool: it takes what comes */
	on(stack, SIZE, knows_nothing, 0);
	core_close(fd);
	core_close(fd2);
	unmap_stack(stack);
}

CORE_TEST(a_coroutine_that_waits_in_an_event_loop_is_one)
{
	char *stack = believed_stack();
	int fd = core_accept(NONBLOCKING);

	on(stack, SIZE, waits, 0);
	on(stack, SIZE, asks_1, fd);
	on(stack, SIZE, knows_nothing, 0);
	core_close(fd);
	unmap_stack(stack);
}

CORE_TEST(what_the_thread_read_is_not_what_a_coroutine_works_for)
{
	char *stack = born_stack();
	int fd = core_accept(BLOCKING);

	core_receive_text(fd, GET1);
	CHECK_KNOWN(CORE_TRACE);
	on(stack, SIZE, knows_nothing, 0);
	CHECK_NOTHING_KNOWN(); /* nor what the thread does then */
	core_close(fd);
	unmap_stack(stack);
}

static void *on_another_thread(void *stack)
{
	on(stack, SIZE, knows_1, 0);
	return NULL;
}

CORE_TEST(a_coroutine_may_go_on_on_another_thread)
{
	char *stack = believed_stack();
	int fd = core_accept(NONBLOCKING);
	pthread_t thread;

	on(stack, SIZE, asks_1, fd);
	CHECK_INT(pthread_create(&thread, NULL, on_another_thread, stack), 0);
	CHECK_INT(pthread_join(thread, NULL), 0);
	on(stack, SIZE, knows_1, 0);
	core_close(fd);
	unmap_stack(stack);
}

/* ---- stacks whose births are not seen ---- */

CORE_TEST(a_mapped_stack_is_believed_once_its_like_were_seen_to_be_freed)
{
	char *stack = map_stack();
	int fd = core_accept(NONBLOCKING);

	prove(stack, 20);                         /* and is not: who knows who else was there */
	stacks_freed(stack, SIZE - GUARD, false); /* Ruby keeps some of it */
	on(stack, SIZE, asks_2, fd);
	on(stack, SIZE, knows_2, 0);
	core_close(fd);
	unmap_stack(stack);
}

CORE_TEST(a_mapped_stack_that_serves_another_connection_and_was_not_freed_ends_the_trust_in_such)
{
	char *kept = map_stack(), *stack = map_stack();
	int fd = core_accept(NONBLOCKING), fd2 = core_accept(NONBLOCKING);

	prove(kept, 20);
	stacks_freed(kept, SIZE, false);
	on(kept, SIZE, asks_1, fd);
	on(kept, SIZE, knows_1, 0);
	on(kept, SIZE, answers, fd);
	on(kept, SIZE, asks_1, fd2);
	on(kept, SIZE, knows_nothing, 0);
	on(stack, SIZE, asks_2, fd);
	on(stack, SIZE, knows_nothing, 0);
	core_close(fd);
	core_close(fd2);
	unmap_stack(kept);
	unmap_stack(stack);
}

/* It has no guard of its own: nobody knows where it ends, and whose what lies beside is. */
static char block[4 * SIZE];

CORE_TEST(what_runs_on_memory_of_unknown_use_is_unknown)
{
	int fd = core_accept(NONBLOCKING), i;

	for (i = 0; i < 100; i++) {
		on(block + SIZE, SIZE, asks_1, fd);
		on(block + SIZE, SIZE, knows_nothing, 0);
		on(block + SIZE, SIZE, answers, fd);
	}
	on(block + SIZE, SIZE, asks_1, fd);
	on(block + SIZE, SIZE, knows_nothing, 0);
	CHECK_NOTHING_KNOWN();
	core_close(fd);
	stacks_freed(block, sizeof(block), true);
}

/* ---- threads' own stacks ---- */

static __attribute__((noinline)) void know_deep(int depth)
{
	volatile char room[4096] = { (char)depth };

	if (depth == 0)
		CHECK_KNOWN(CORE_TRACE);
	else
		know_deep(depth - 1);
	(void)room[0];
}

static void *read_and_go_deep(void *arg)
{
	int fd = core_accept(BLOCKING);

	(void)arg;
	core_receive_text(fd, GET1);
	know_deep(300);
	CHECK_KNOWN(CORE_TRACE);
	current_clear();
	core_close(fd);
	return NULL;
}

CORE_TEST(deep_down_a_thread_is_on_its_own_stack_still)
{
	char *stack = born_stack();
	pthread_t thread;

	CHECK_INT(pthread_create(&thread, NULL, read_and_go_deep, NULL), 0);
	CHECK_INT(pthread_join(thread, NULL), 0);
	(void)read_and_go_deep(NULL);
	unmap_stack(stack);
}

CORE_TEST(a_coroutine_within_a_threads_stack_is_told_from_it)
{
	char room[SIZE];
	int fd = core_accept(BLOCKING), fd2 = core_accept(NONBLOCKING);

	stacks_born(room, sizeof(room));
	core_receive_text(fd, GET1);
	CHECK_KNOWN(CORE_TRACE);
	on(room, SIZE, knows_nothing, 0);
	on(room, SIZE, asks_2, fd2);
	CHECK_NOTHING_KNOWN();
	core_close(fd);
	core_close(fd2);
	stacks_freed(room, sizeof(room), true);
}

static void on_signal(int number)
{
	(void)number;
	CHECK_NOTHING_KNOWN();
}

CORE_TEST(a_handler_on_a_stack_for_signals_is_nobodys)
{
	char *stack = believed_stack();
	struct sigaction action = { .sa_handler = on_signal, .sa_flags = SA_ONSTACK };
	int fd = core_accept(NONBLOCKING);
	stack_t alternate = { .ss_sp = block + SIZE, .ss_size = SIZE };

	CHECK_INT(sigaltstack(&alternate, NULL), 0);
	CHECK_INT(sigaction(SIGUSR1, &action, NULL), 0);
	on(stack, SIZE, asks_1, fd);
	CHECK_INT(raise(SIGUSR1), 0);
	on(stack, SIZE, knows_1, 0);
	core_close(fd);
	unmap_stack(stack);
}

/* ---- what else there is ---- */

static void forks(int fd)
{
	int status;
	pid_t pid = fork();

	if (pid == 0) {
		current_after_fork();
		CHECK_KNOWN(CORE_TRACE);
		_exit(0);
	}
	CHECK_INT(waitpid(pid, &status, 0), pid);
	CHECK_INT(status, 0);
	CHECK_KNOWN(CORE_TRACE);
	core_send_text(fd, OK);
}

CORE_TEST(the_child_of_a_coroutine_works_for_its_request)
{
	char *stack = believed_stack();
	int fd = core_accept(NONBLOCKING);

	on(stack, SIZE, asks_1, fd);
	on(stack, SIZE, forks, fd);
	on(stack, SIZE, knows_nothing, 0);
	core_close(fd);
	unmap_stack(stack);
}

CORE_TEST(more_stacks_than_the_table_holds_are_unknown)
{
	enum { SMALL = 4096 };
	char *stack = believed_stack(), *last = map_stack();
	char *many =
		mmap(NULL, (size_t)SMALL * LIMIT_STACKS, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	uint64_t skipped = counters_get(stacks_skipped);
	int fd = core_accept(NONBLOCKING);
	size_t i;

	for (i = 0; i < LIMIT_STACKS - 1; i++)
		stacks_born(many + (i * 7919) % (LIMIT_STACKS - 1) * SMALL, SMALL);
	CHECK_INT(counters_get(stacks_skipped) - skipped, 0);
	stacks_born(last, SIZE);
	CHECK_INT(counters_get(stacks_skipped) - skipped, 1);
	on(last, SIZE, asks_1, fd);
	on(last, SIZE, knows_nothing, 0);
	on(last, SIZE, answers, fd);
	on(stack, SIZE, asks_2, fd);
	on(stack, SIZE, knows_2, 0);
	stacks_freed(many, (size_t)SMALL * LIMIT_STACKS, true);
	core_close(fd);
	unmap_stack(stack);
	unmap_stack(last);
}

CORE_TEST(without_memory_a_stack_is_unknown)
{
	char *stack = believed_stack(), *other = map_stack();
	int fd = core_accept(NONBLOCKING);

	core_fail_takes(1, 1);
	stacks_born(other, SIZE);
	CHECK_INT(counters_get(stacks_skipped), 1);
	on(other, SIZE, asks_1, fd);
	on(other, SIZE, knows_nothing, 0);
	core_close(fd);
	unmap_stack(stack);
	unmap_stack(other);
}

static void *bear(void *arg)
{
	int i;

	for (i = 0; i < 20000; i++)
		stacks_born((char *)arg + (i % 8) * GUARD, GUARD);
	return NULL;
}

static void *free_them(void *arg)
{
	int i;

	for (i = 0; i < 2000; i++)
		stacks_freed((char *)arg + (i % 64) * GUARD / 8, GUARD, i % 2 == 0);
	return NULL;
}

/* Births on several threads at once: none may be lost, or else nobody has a request. For the thread sanitizer. */
CORE_TEST(births_on_many_threads_leave_a_table_that_is_whole)
{
	static char rooms[4][8 * GUARD];
	pthread_t threads[5];
	char *stack = believed_stack();
	int fd = core_accept(NONBLOCKING), i;

	for (i = 0; i < 4; i++)
		CHECK_INT(pthread_create(&threads[i], NULL, bear, rooms[i]), 0);
	CHECK_INT(pthread_create(&threads[4], NULL, free_them, rooms[0]), 0);
	for (i = 0; i < 2000; i++)
		on(stack, SIZE, knows_nothing, 0);
	for (i = 0; i < 5; i++)
		CHECK_INT(pthread_join(threads[i], NULL), 0);
	on(stack, SIZE, asks_1, fd);
	on(stack, SIZE, knows_1, 0);
	stacks_freed(rooms, sizeof(rooms), true);
	on(stack, SIZE, knows_1, 0);
	core_close(fd);
	unmap_stack(stack);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_coroutine_that_read_a_request_works_for_it_until_it_has_answered),
		cmocka_unit_test(each_coroutine_works_for_its_own_request_whichever_runs),
		cmocka_unit_test(while_others_wait_coroutines_are_believed_only_after_many_proofs),
		cmocka_unit_test(a_stack_that_another_coroutine_was_given_is_nobodys),
		cmocka_unit_test(a_stack_that_was_freed_is_nobodys),
		cmocka_unit_test(an_answer_by_another_coroutine_ends_the_trust_in_all),
		cmocka_unit_test(an_answer_by_the_scheduler_ends_the_trust_in_all),
		cmocka_unit_test(a_coroutine_of_several_requests_ends_the_trust_in_all),
		cmocka_unit_test(a_coroutine_of_two_connections_ends_the_trust_in_all),
		cmocka_unit_test(a_coroutine_that_waits_in_an_event_loop_is_one),
		cmocka_unit_test(what_the_thread_read_is_not_what_a_coroutine_works_for),
		cmocka_unit_test(a_coroutine_may_go_on_on_another_thread),
		cmocka_unit_test(a_mapped_stack_is_believed_once_its_like_were_seen_to_be_freed),
		cmocka_unit_test(
			a_mapped_stack_that_serves_another_connection_and_was_not_freed_ends_the_trust_in_such),
		cmocka_unit_test(what_runs_on_memory_of_unknown_use_is_unknown),
		cmocka_unit_test(deep_down_a_thread_is_on_its_own_stack_still),
		cmocka_unit_test(a_coroutine_within_a_threads_stack_is_told_from_it),
		cmocka_unit_test(a_handler_on_a_stack_for_signals_is_nobodys),
		cmocka_unit_test(the_child_of_a_coroutine_works_for_its_request),
		cmocka_unit_test(more_stacks_than_the_table_holds_are_unknown),
		cmocka_unit_test(without_memory_a_stack_is_unknown),
		cmocka_unit_test(births_on_many_threads_leave_a_table_that_is_whole),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

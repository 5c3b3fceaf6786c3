/*
 * ids: unique, random, and each thread's, child's and signal handler's own.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "ids.h"

static int compare(const void *a, const void *b)
{
	uint64_t x, y;

	memcpy(&x, a, sizeof(x));
	memcpy(&y, b, sizeof(y));
	return x < y ? -1 : x > y;
}

/* Sorts; a span id is 8 bytes, so equal neighbours are repeated ids. */
static size_t repeated(uint64_t *ids, size_t count)
{
	size_t found = 0;

	qsort(ids, count, sizeof(ids[0]), compare);
	for (size_t i = 1; i < count; i++)
		found += ids[i] == ids[i - 1];
	return found;
}

static void draw_spans(uint64_t *ids, size_t count)
{
	for (size_t i = 0; i < count; i++)
		ids_generate_span((uint8_t *)&ids[i]);
}

static void span_ids_of_one_thread_never_repeat_and_are_never_zero(void **state)
{
	const size_t count = 200000;
	uint64_t *ids = malloc(count * sizeof(ids[0]));

	(void)state;
	draw_spans(ids, count);
	assert_int_equal(repeated(ids, count), 0);
	assert_true(ids[0] != 0); /* sorted: zero would be first */
	free(ids);
}

static void both_halves_of_trace_ids_differ_from_draw_to_draw(void **state)
{
	enum { COUNT = 20000 };
	uint64_t *high = malloc(COUNT * sizeof(high[0])), *low = malloc(COUNT * sizeof(low[0]));

	(void)state;
	for (size_t i = 0; i < COUNT; i++) {
		uint8_t id[16];

		ids_generate_trace(id);
		memcpy(&high[i], id, 8);
		memcpy(&low[i], id + 8, 8);
	}
	assert_int_equal(repeated(high, COUNT), 0);
	assert_int_equal(repeated(low, COUNT), 0);
	free(high);
	free(low);
}

static void every_bit_of_a_trace_id_is_set_about_half_of_the_time(void **state)
{
	enum { COUNT = 10000 };
	unsigned set[128] = { 0 };

	(void)state;
	for (size_t i = 0; i < COUNT; i++) {
		uint8_t id[16];

		ids_generate_trace(id);
		for (size_t bit = 0; bit < 128; bit++)
			set[bit] += id[bit / 8] >> (bit % 8) & 1;
	}
	for (size_t bit = 0; bit < 128; bit++) /* ten standard deviations */
		assert_in_range(set[bit], COUNT / 2 - 500, COUNT / 2 + 500);
}

#define THREADS 8
#define PER_THREAD 10000
static uint64_t drawn[THREADS][PER_THREAD];

static void *draw_in_thread(void *row)
{
	draw_spans(row, PER_THREAD);
	return NULL;
}

static void threads_draw_different_ids(void **state)
{
	pthread_t thread[THREADS];

	(void)state;
	for (size_t i = 0; i < THREADS; i++)
		assert_int_equal(pthread_create(&thread[i], NULL, draw_in_thread, drawn[i]), 0);
	for (size_t i = 0; i < THREADS; i++)
		assert_int_equal(pthread_join(thread[i], NULL), 0);
	assert_int_equal(repeated(drawn[0], THREADS * PER_THREAD), 0);
}

/* The next id of a forked child, which forgets the seed or does not. */
static uint64_t next_id_of_child(int forget)
{
	uint64_t id = 0;
	int pipe_fds[2], status;
	pid_t child;

	assert_int_equal(pipe(pipe_fds), 0);
	child = fork();
	assert_true(child >= 0);
	if (child == 0) {
		if (forget)
			ids_after_fork();
		ids_generate_span((uint8_t *)&id);
		_exit(write(pipe_fds[1], &id, sizeof(id)) == sizeof(id) ? 0 : 1);
	}
	assert_int_equal(read(pipe_fds[0], &id, sizeof(id)), sizeof(id));
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_int_equal(status, 0);
	close(pipe_fds[0]);
	close(pipe_fds[1]);
	return id;
}

static void a_forked_child_draws_ids_of_its_own(void **state)
{
	uint64_t first, ours;

	(void)state;
	ids_generate_span((uint8_t *)&first); /* seeded before the fork */
	first = next_id_of_child(0);
	assert_true(next_id_of_child(1) != first);
	ids_generate_span((uint8_t *)&ours);
	assert_true(first == ours); /* what would happen without ids_after_fork */
}

#define HANDLED 20000
static uint64_t handler_ids[HANDLED];
static volatile sig_atomic_t handled;

static void draw_in_handler(int signal)
{
	(void)signal;
	if (handled < HANDLED)
		ids_generate_span((uint8_t *)&handler_ids[handled++]);
}

static void *interrupt(void *main_thread)
{
	for (size_t i = 0; i < 3000; i++)
		pthread_kill(*(pthread_t *)main_thread, SIGUSR1);
	return NULL;
}

static void a_signal_handler_never_draws_the_id_that_it_interrupted(void **state)
{
	enum { COUNT = 400000 };
	struct sigaction action = { .sa_handler = draw_in_handler }, before;
	uint64_t *ids = malloc((COUNT + HANDLED) * sizeof(ids[0]));
	pthread_t self = pthread_self(), sender;

	(void)state;
	handled = 0;
	assert_int_equal(sigaction(SIGUSR1, &action, &before), 0);
	assert_int_equal(pthread_create(&sender, NULL, interrupt, &self), 0);
	for (size_t i = 0; i < COUNT; i++) {
		if (i % 64 == 0)
			ids_after_fork(); /* so that seeding is interrupted, too */
		ids_generate_span((uint8_t *)&ids[i]);
	}
	assert_int_equal(pthread_join(sender, NULL), 0);
	assert_int_equal(sigaction(SIGUSR1, &before, NULL), 0);
	assert_true(handled > 0);
	memcpy(ids + COUNT, handler_ids, (size_t)handled * sizeof(ids[0]));
	assert_int_equal(repeated(ids, COUNT + (size_t)handled), 0);
	free(ids);
}

static void errno_survives_seeding(void **state)
{
	uint8_t id[16];

	(void)state;
	ids_after_fork();
	errno = EXDEV;
	ids_generate_trace(id);
	assert_int_equal(errno, EXDEV);
}

static void hex_is_lower_case_and_reads_back(void **state)
{
	uint8_t bytes[256], back[256];
	char hex[512];

	(void)state;
	for (size_t i = 0; i < 256; i++)
		bytes[i] = (uint8_t)i;
	assert_ptr_equal(ids_hex(hex, bytes, 256), hex + 512);
	assert_memory_equal(hex, "000102", 6);
	assert_memory_equal(hex + 508, "feff", 4);
	assert_int_equal(ids_unhex(back, hex, 256, 1), 0);
	assert_memory_equal(back, bytes, 256);
}

static void unhex_takes_hex_digits_and_nothing_else(void **state)
{
	uint8_t byte;

	(void)state;
	for (int c = 0; c < 256; c++) {
		char high[2] = { (char)c, '0' }, low[2] = { '0', (char)c };
		int lower = (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f'), upper = c >= 'A' && c <= 'F';

		assert_int_equal(ids_unhex(&byte, high, 1, 1), lower ? 0 : -1);
		assert_int_equal(ids_unhex(&byte, low, 1, 1), lower ? 0 : -1);
		assert_int_equal(ids_unhex(&byte, high, 1, 0), lower || upper ? 0 : -1);
		assert_int_equal(ids_unhex(&byte, low, 1, 0), lower || upper ? 0 : -1);
	}
	assert_int_equal(ids_unhex(&byte, "Af", 1, 0), 0);
	assert_int_equal(byte, 0xaf);
	for (size_t n = 1; n <= 9; n++) { /* long ids are read by words: every character at every place of those, too */
		char *hex = malloc(2 * n);
		uint8_t *out = malloc(n);

		for (size_t at = 0; at < 2 * n; at++) {
			for (int c = 0; c < 256; c++) {
				int lower = (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f'),
				    upper = c >= 'A' && c <= 'F';
				int value = c <= '9' ? c - '0' : (c | 0x20) - 'a' + 10;

				memset(hex, '5', 2 * n);
				hex[at] = (char)c;
				assert_int_equal(ids_unhex(out, hex, n, 1), lower ? 0 : -1);
				assert_int_equal(ids_unhex(out, hex, n, 0), lower || upper ? 0 : -1);
				for (size_t i = 0; (lower || upper) && i < n; i++)
					assert_int_equal(out[i], i != at / 2 ? 0x55 :
					                         at % 2      ? 0x50 | value :
					                                       value << 4 | 5);
			}
		}
		free(hex);
		free(out);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(span_ids_of_one_thread_never_repeat_and_are_never_zero),
		cmocka_unit_test(both_halves_of_trace_ids_differ_from_draw_to_draw),
		cmocka_unit_test(every_bit_of_a_trace_id_is_set_about_half_of_the_time),
		cmocka_unit_test(threads_draw_different_ids),
		cmocka_unit_test(a_forked_child_draws_ids_of_its_own),
		cmocka_unit_test(a_signal_handler_never_draws_the_id_that_it_interrupted),
		cmocka_unit_test(errno_survives_seeding),
		cmocka_unit_test(hex_is_lower_case_and_reads_back),
		cmocka_unit_test(unhex_takes_hex_digits_and_nothing_else),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

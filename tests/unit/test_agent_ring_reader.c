/*
 * What the agent takes out of a ring, and what it refuses: every length and position that a writer (or a vandal) may have left.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "../../cli/agent/ring_reader.h"

enum { CAPACITY = RING_CAPACITY_MIN };

static __attribute__((aligned(64))) uint64_t storage[(RING_HEADER_SIZE + CAPACITY) / 8];
static struct ring_header *const header = (void *)storage;
static uint8_t *const area = (uint8_t *)storage + RING_HEADER_SIZE;
static struct ring_header seen;
static struct ring_reader reader;

static int new_ring(void **state)
{
	(void)state;
	memset(storage, 0, sizeof(storage));
	memcpy(header->magic, RING_MAGIC, 8);
	header->header_size = RING_HEADER_SIZE;
	header->capacity = CAPACITY;
	memset(&reader, 0, sizeof(reader));
	return 0;
}

static bool begin(void)
{
	return ring_reader_begin(&reader, storage, sizeof(storage), &seen);
}

/* A span whose target is `target`, at the head. */
static struct ring_span *add_span(const char *target)
{
	size_t size = (sizeof(struct ring_span) + strlen(target) + 7) & ~7ul;
	struct ring_span *s = (void *)(area + (header->head & (CAPACITY - 1)));

	memset(s, 0, size);
	s->entry = (struct ring_entry){ .size = (uint32_t)size, .kind = RING_SPAN, .fixed = sizeof(*s) };
	s->span_kind = RING_SPAN_SERVER;
	s->trace_id[15] = s->span_id[7] = 1;
	s->text[RING_TEXT_TARGET] = (uint16_t)strlen(target);
	memcpy(s + 1, target, strlen(target));
	header->head += size;
	return s;
}

static void assert_span(const char *target)
{
	assert_int_equal(ring_reader_next(&reader), RING_READ_SPAN);
	assert_int_equal(reader.span.text[RING_TEXT_TARGET].len, strlen(target));
	assert_memory_equal(reader.span.text[RING_TEXT_TARGET].at, target, strlen(target));
}

static void test_entries_come_out_in_order_and_their_room_is_given_back(void **state)
{
	(void)state;
	add_span("/one");
	add_span("/two");
	assert_true(begin());
	assert_span("/one");
	assert_span("/two");
	assert_int_equal(ring_reader_next(&reader), RING_READ_EMPTY);
	assert_int_equal(header->tail, 0);
	ring_reader_release(&reader, reader.tail);
	assert_int_equal(header->tail, header->head);
}

static void test_a_reader_goes_on_where_the_last_one_stopped(void **state)
{
	(void)state;
	add_span("/one");
	header->tail = header->head;
	add_span("/two");
	assert_true(begin());
	assert_span("/two");
}

static void test_entries_wrap_with_a_pad_or_without(void **state)
{
	(void)state;
	for (unsigned rest = 0; rest <= 64; rest += 8) {
		struct ring_entry pad = { .size = rest, .kind = RING_PAD, .fixed = sizeof(pad) };

		new_ring(state);
		header->head = header->tail = 5 * (uint64_t)CAPACITY - rest;
		if (rest >= sizeof(pad))
			memcpy(area + CAPACITY - rest, &pad, sizeof(pad));
		header->head += rest;
		add_span("/behind");
		assert_true(begin());
		assert_span("/behind");
		assert_int_equal(ring_reader_next(&reader), RING_READ_EMPTY);
	}
}

static void test_what_was_held_counts_when_the_writer_is_dead(void **state)
{
	(void)state;
	add_span("/done");
	header->held = header->head;
	add_span("/held");
	header->held = header->head;
	header->head -= (header->head / 2);
	assert_true(begin());
	assert_span("/done");
	assert_int_equal(ring_reader_next(&reader), RING_READ_EMPTY);
	reader.dead = true;
	assert_span("/held");
	assert_int_equal(ring_reader_next(&reader), RING_READ_EMPTY);
	/* the next reader finds that all is read */
	ring_reader_release(&reader, reader.tail);
	assert_true(begin());
	assert_int_equal(ring_reader_next(&reader), RING_READ_EMPTY);
	/* held that cannot be is not believed */
	header->held = header->head + 10 * (uint64_t)CAPACITY;
	header->head = reader.tail;
	assert_int_equal(ring_reader_next(&reader), RING_READ_EMPTY);
}

static void test_headers_that_cannot_be_are_refused(void **state)
{
	(void)state;
	assert_true(begin());
	assert_false(ring_reader_begin(&reader, storage, sizeof(storage) - 1, &seen));
	assert_false(ring_reader_begin(&reader, storage, RING_HEADER_SIZE, &seen));
	header->capacity = CAPACITY / 2;
	assert_false(begin());
	header->capacity = CAPACITY + 8;
	assert_false(begin());
	header->capacity = CAPACITY;
	header->tail = 8;
	assert_false(begin());
	header->tail = 0;
	header->head = CAPACITY + 8;
	assert_false(begin());
	header->head = 0;
	header->magic[7] = '2';
	assert_false(begin());
}

static void test_strings_of_the_header_end(void **state)
{
	(void)state;
	memset(header->program, 'x', sizeof(header->program));
	memset(header->resource, 'y', sizeof(header->resource));
	assert_true(begin());
	assert_int_equal(strlen(seen.program), sizeof(seen.program) - 1);
	assert_int_equal(strlen(seen.resource), sizeof(seen.resource) - 1);
}

static void test_lengths_that_cannot_be_end_the_ring(void **state)
{
	static const struct ring_entry wrong[] = {
		{ .size = 0, .kind = RING_SPAN, .fixed = 8 },
		{ .size = 4, .kind = RING_SPAN, .fixed = 8 },
		{ .size = 12, .kind = RING_SPAN, .fixed = 8 },
		{ .size = 0xfffffff8, .kind = RING_SPAN, .fixed = 8 },
		{ .size = RING_ENTRY_MAX + 8, .kind = RING_LINE, .fixed = 8 },
		{ .size = 64, .kind = RING_SPAN, .fixed = 72 },
		{ .size = 64, .kind = RING_SPAN, .fixed = 0 },
		{ .size = 64, .kind = RING_PAD, .fixed = 8 },
		{ .size = 4096, .kind = RING_LINE, .fixed = 8 }, /* more than there is */
	};

	for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
		new_ring(state);
		add_span("/good");
		memcpy(area + header->head, &wrong[i], sizeof(wrong[i]));
		header->head += 512;
		assert_true(begin());
		assert_span("/good");
		assert_int_equal(ring_reader_next(&reader), RING_READ_BROKEN);
	}
}

static void test_a_head_that_runs_away_ends_the_ring(void **state)
{
	(void)state;
	add_span("/good");
	assert_true(begin());
	header->head = 3 * (uint64_t)CAPACITY;
	assert_int_equal(ring_reader_next(&reader), RING_READ_BROKEN);
	header->head = (uint64_t)-8;
	assert_int_equal(ring_reader_next(&reader), RING_READ_BROKEN);
}

/* Where the writer is, is asked once for all that is there: each look takes the line of the cache from it, in which it counts. */
static void test_what_was_there_is_read_before_the_head_is_looked_at_again(void **state)
{
	(void)state;
	add_span("/one");
	add_span("/two");
	assert_true(begin());
	assert_span("/one");
	header->head = (uint64_t)-8;
	assert_span("/two");
	assert_int_equal(ring_reader_next(&reader), RING_READ_BROKEN);
}

static void test_entries_that_contradict_themselves_are_passed_over(void **state)
{
	struct ring_span *s;

	(void)state;
	s = add_span("/texts longer than the entry");
	s->text[RING_TEXT_HOST] = 60000;
	add_span("/kind")->span_kind = 9;
	add_span("/no trace")->trace_id[15] = 0;
	add_span("/no id")->span_id[7] = 0;
	add_span("/short")->entry.fixed = sizeof(*s) - 8;
	add_span("/unknown")->entry.kind = 77;
	add_span("/good");
	assert_true(begin());
	for (int i = 0; i < 5; i++) {
		assert_int_equal(ring_reader_next(&reader), RING_READ_PASSED);
		assert_true(reader.contradiction);
	}
	assert_int_equal(ring_reader_next(&reader), RING_READ_PASSED);
	assert_false(reader.contradiction);
	assert_span("/good");
}

static void test_a_newer_writers_longer_fixed_part_is_read_over(void **state)
{
	struct ring_span *s = add_span("12345678/late");

	(void)state;
	s->entry.fixed += 8;
	s->text[RING_TEXT_TARGET] -= 8;
	s->method = 200;
	s->error = 200;
	assert_true(begin());
	assert_span("/late");
	assert_int_equal(reader.span.span.method, RING_METHOD_other);
	assert_int_equal(reader.span.span.error, RING_ERROR_closed);
}

static void test_what_changes_after_it_was_looked_at_changes_nothing(void **state)
{
	struct ring_span *s = add_span("/steady");

	(void)state;
	assert_true(begin());
	assert_span("/steady");
	memset(s, 0xff, sizeof(*s) + 8);
	assert_memory_equal(reader.span.text[RING_TEXT_TARGET].at, "/steady", 7);
	assert_int_equal(reader.span.span.span_kind, RING_SPAN_SERVER);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(test_entries_come_out_in_order_and_their_room_is_given_back, new_ring),
		cmocka_unit_test_setup(test_a_reader_goes_on_where_the_last_one_stopped, new_ring),
		cmocka_unit_test_setup(test_entries_wrap_with_a_pad_or_without, new_ring),
		cmocka_unit_test_setup(test_what_was_held_counts_when_the_writer_is_dead, new_ring),
		cmocka_unit_test_setup(test_headers_that_cannot_be_are_refused, new_ring),
		cmocka_unit_test_setup(test_strings_of_the_header_end, new_ring),
		cmocka_unit_test_setup(test_lengths_that_cannot_be_end_the_ring, new_ring),
		cmocka_unit_test_setup(test_a_head_that_runs_away_ends_the_ring, new_ring),
		cmocka_unit_test_setup(test_what_was_there_is_read_before_the_head_is_looked_at_again, new_ring),
		cmocka_unit_test_setup(test_entries_that_contradict_themselves_are_passed_over, new_ring),
		cmocka_unit_test_setup(test_a_newer_writers_longer_fixed_part_is_read_over, new_ring),
		cmocka_unit_test_setup(test_what_changes_after_it_was_looked_at_changes_nothing, new_ring),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

/*
 * Who printed which bytes of a buffered stream.
 */
#include "core_fixture.h"
#include "marks.h"

static struct request *a, *b;

static void two_requests(void)
{
	a = request_new();
	b = request_new();
}

static void let_go(void)
{
	CHECK_INT(a->refs, 1); /* marks keeps nothing that was flushed or forgotten */
	CHECK_INT(b->refs, 1);
	request_unref(a);
	request_unref(b);
}

/*
 * What a flush says, as text: "a3 ?2 -1": 3 bytes of a, 2 that say nothing, 1 that is known to be nobody's. Where one range
 * ends and the next of the same request begins depends on the clock, and is not told.
 */
static const char *taken(uintptr_t stream, size_t len)
{
	static char text[8192];
	size_t at = 0, sum = 0, same = 0;
	struct marks_taken *t = marks_take(stream, len);
	char before = 0;
	uint32_t i;

	CHECK(t != NULL);
	text[0] = '\0';
	for (i = 0; i <= t->count; i++) {
		const struct logline_segment *s = &t->segment[i];
		char who = i == t->count ? 0 : s->request == a ? 'a' : s->request == b ? 'b' : s->neutral ? '?' : '-';

		if (who != before && before != 0)
			at += (size_t)snprintf(text + at, sizeof(text) - at, "%s%c%zu", at > 0 ? " " : "", before,
			                       same);
		if (who != before)
			same = 0;
		before = who;
		if (who != 0)
			same += s->len, sum += s->len;
	}
	CHECK_INT(t->len, sum);
	CHECK(t->len <= len);
	marks_give(t);
	return text;
}

#define CHECK_TAKEN(stream, len, expected)                                                                             \
	do {                                                                                                           \
		const char *got_ = taken(stream, len);                                                                 \
		if (strcmp(got_, expected) != 0) {                                                                     \
			fprintf(stderr, "%s:%d: '%s', not '%s'\n", __FILE__, __LINE__, got_, expected);                \
			_exit(1);                                                                                      \
		}                                                                                                      \
	} while (0)

CORE_TEST(each_range_is_its_printers)
{
	two_requests();
	marks_note(1, 0, 5, a, false);
	marks_note(1, 5, 3, b, false);
	marks_note(1, 8, 2, NULL, false);
	CHECK_TAKEN(1, 10, "a5 b3 -2");
	marks_forget(1);
	let_go();
}

CORE_TEST(a_request_that_goes_on_is_one_range_and_one_unseen_byte_is_its_newline)
{
	two_requests();
	marks_note(1, 0, 5, a, false);
	marks_note(1, 5, 5, a, false);
	marks_note(1, 11, 4, a, false);
	CHECK_TAKEN(1, 15, "a15");
	marks_note(1, 0, 4, a, false);
	marks_note(1, 5, 4, b, false);
	CHECK_TAKEN(1, 10, "a5 b5");
	marks_forget(1);
	let_go();
}

CORE_TEST(a_line_goes_on_only_behind_its_own_last_piece)
{
	two_requests();
	CHECK(!marks_go_on(1, 0, 5, a, true)); /* no such stream */
	marks_note(1, 0, 5, a, false);
	CHECK(!marks_go_on(2, 5, 5, a, true));
	CHECK(!marks_go_on(1, 5, 5, b, true));
	CHECK(!marks_go_on(1, 5, 5, NULL, true));
	CHECK(!marks_go_on(1, 4, 5, a, true)); /* some of it was lost */
	CHECK(!marks_go_on(1, 7, 5, a, true)); /* two bytes that nobody saw */
	CHECK(marks_go_on(1, 5, 5, a, true));
	CHECK(marks_go_on(1, 11, 1, a, true));
	os_cached_tid++;
	CHECK(!marks_go_on(1, 12, 1, a, true));
	os_cached_tid--;
	CHECK_TAKEN(1, 14, "a12 ?2");
	CHECK(!marks_go_on(1, 0, 4, a, true)); /* it was flushed */
	marks_note(1, 0, 4, NULL, false);
	CHECK(marks_go_on(1, 4, 4, NULL, true));
	CHECK(marks_go_on(1, 8, 4, NULL, false)); /* what is nobody's is not timed */
	CHECK_TAKEN(1, 12, "-12");
	marks_forget(1);
	let_go();
}

/* So that the next line of a request has a time of its own. */
CORE_TEST(another_line_goes_on_within_a_tick_of_the_clock_only)
{
	bool same = true;
	uint64_t tick;
	size_t at;

	two_requests();
	do {
		marks_forget(1);
		marks_note(1, 0, 5, a, false);
		tick = os_monotonic_ms();
		same = marks_go_on(1, 5, 5, a, false);
	} while (os_monotonic_ms() != tick);
	CHECK(same);
	while (os_monotonic_ms() == tick)
		;
	CHECK(!marks_go_on(1, 10, 5, a, false));
	CHECK(marks_go_on(1, 10, 5, a, true));
	CHECK_TAKEN(1, 15, "a15");
	for (at = 0; at < 12; at += 4)
		marks_note(1, at, 4, b, at > 0);
	CHECK(marks_go_on(1, 12, 4, b, true));
	CHECK_TAKEN(1, 6, "b6"); /* the rest stays in the buffer, and goes on there */
	CHECK(marks_go_on(1, 10, 2, b, true));
	CHECK_TAKEN(1, 12, "b12");
	marks_forget(1);
	let_go();
}

CORE_TEST(a_gap_says_nothing)
{
	two_requests();
	marks_note(1, 3, 4, a, false);
	marks_note(1, 10, 2, b, false);
	CHECK_TAKEN(1, 16, "?3 a4 ?3 b2 ?4");
	CHECK_TAKEN(1, 7, "?7");
	marks_forget(1);
	let_go();
}

CORE_TEST(a_stream_that_was_never_marked_is_nobodys)
{
	two_requests();
	CHECK_TAKEN(77, 4, "-4");
	let_go();
}

CORE_TEST(a_flush_of_a_part_leaves_the_rest)
{
	size_t first;

	for (first = 1; first < 12; first++) {
		char expected[2][40];
		size_t in_a = first < 6 ? first : 6;

		two_requests();
		marks_note(1, 0, 6, a, false);
		marks_note(1, 6, 6, b, false);
		if (first <= 6)
			snprintf(expected[0], 40, "a%zu", in_a);
		else
			snprintf(expected[0], 40, "a6 b%zu", first - 6);
		if (first < 6)
			snprintf(expected[1], 40, "a%zu b6", 6 - in_a);
		else
			snprintf(expected[1], 40, "b%zu", 12 - first);
		CHECK_TAKEN(1, first, expected[0]);
		CHECK_TAKEN(1, 12 - first, expected[1]);
		marks_forget(1);
		let_go();
	}
}

/* A failed flush throws the stream's buffer away: what is printed next is at its start again. */
CORE_TEST(bytes_that_an_error_lost_leave_no_mark)
{
	two_requests();
	marks_note(1, 0, 100, a, false);
	marks_note(1, 100, 100, a, false);
	marks_note(1, 0, 10, b, false);
	CHECK_TAKEN(1, 20, "b10 ?10");
	marks_note(1, 0, 10, a, false);
	marks_note(1, 6, 10, b, false); /* ... or back a little */
	CHECK_TAKEN(1, 16, "a6 b10");
	marks_forget(1);
	let_go();
}

CORE_TEST(more_ranges_than_there_is_room_for_say_nothing)
{
	size_t i, at = 0;

	two_requests();
	for (i = 0; i < MARKS_PER_STREAM + 50; i++, at += 4)
		marks_note(1, at, 4, i % 2 ? a : b, false);
	for (i = 0; i < MARKS_PER_STREAM; i++)
		CHECK_TAKEN(1, 4, i % 2 ? "a4" : "b4");
	CHECK_TAKEN(1, 200, "?200");
	marks_note(1, 0, 4, a, false);
	CHECK_TAKEN(1, 4, "a4");
	marks_forget(1);
	let_go();
}

CORE_TEST(a_flush_with_more_segments_than_fit_is_told_in_parts)
{
	struct marks_taken *t;
	size_t i, at = 0, done = 0, parts = 0;

	two_requests();
	for (i = 0; i < MARKS_PER_STREAM; i++, at += 6)
		marks_note(1, at + 2, 4, i % 2 ? a : b, false);
	while (done < at) {
		uint32_t s;

		t = marks_take(1, at - done);
		CHECK(t->len > 0 && t->count <= MARKS_SEGMENTS);
		for (s = 0; s < t->count; s++) {
			size_t in = done % 6;
			struct request *who = in < 2 ? NULL : done / 6 % 2 ? a : b;

			CHECK(t->segment[s].request == who && t->segment[s].len == (in < 2 ? 2u : 4u));
			done += t->segment[s].len;
		}
		marks_give(t);
		parts++;
	}
	CHECK(done == at && parts > 1);
	marks_forget(1);
	let_go();
}

CORE_TEST(a_stream_keeps_its_marks_when_an_older_one_is_forgotten)
{
	two_requests();
	marks_note(1, 0, 4, a, false);
	marks_note(2, 0, 4, b, false);
	marks_forget(1);
	marks_note(2, 4, 4, a, false);
	CHECK_TAKEN(2, 8, "b4 a4");
	marks_forget(2);
	let_go();
}

/* The address of a closed stream comes back: nothing of the old one may be left. */
CORE_TEST(a_forgotten_stream_leaves_nothing_to_the_next_of_its_address)
{
	two_requests();
	marks_note(1, 0, 4, a, false);
	marks_note(2, 0, 64, a, false);
	marks_forget(1);
	marks_note(2, 64, 4, a, false);
	marks_forget(2);
	marks_note(3, 0, 4, b, false);
	CHECK_TAKEN(2, 4, "-4");
	marks_note(2, 32, 4, b, false);
	CHECK_TAKEN(2, 36, "?32 b4");
	marks_forget(2);
	marks_forget(3);
	let_go();
}

CORE_TEST(streams_beyond_the_limit_are_nobodys_until_another_goes)
{
	uintptr_t s;

	two_requests();
	for (s = 1; s <= MARKS_STREAMS + 1; s++)
		marks_note(s, 0, 4, a, false);
	CHECK_TAKEN(MARKS_STREAMS, 4, "a4");
	CHECK_TAKEN(MARKS_STREAMS + 1, 4, "-4");
	marks_forget(3);
	marks_note(MARKS_STREAMS + 1, 0, 4, b, false);
	CHECK_TAKEN(MARKS_STREAMS + 1, 4, "b4");
	for (s = 1; s <= MARKS_STREAMS + 1; s++)
		marks_forget(s);
	marks_forget(99);
	let_go();
}

CORE_TEST(nothing_printed_is_no_range)
{
	two_requests();
	marks_note(1, 0, 0, a, false);
	marks_note(1, 0, 3, b, false);
	marks_note(1, 3, 0, a, false);
	CHECK_TAKEN(1, 3, "b3");
	marks_forget(1);
	let_go();
}

CORE_TEST(without_memory_nothing_is_said)
{
	two_requests();
	core_fail_takes(1, 1);
	marks_note(1, 0, 4, a, false);
	core_fail_takes(0, 0);
	CHECK_TAKEN(1, 4, "-4");
	marks_note(1, 0, 4, a, false);
	core_fail_takes(1, 1);
	CHECK(marks_take(1, 4) == NULL);
	core_fail_takes(0, 0);
	/* The bytes of the flush that could not be told are gone: none of the next ones are theirs. */
	marks_note(1, 3, 2, b, false);
	CHECK_TAKEN(1, 5, "?3 b2");
	marks_forget(1);
	let_go();
}

int main(void)
{
#define TEST(name) cmocka_unit_test(name)
	const struct CMUnitTest tests[] = {
		TEST(each_range_is_its_printers),
		TEST(a_request_that_goes_on_is_one_range_and_one_unseen_byte_is_its_newline),
		TEST(a_line_goes_on_only_behind_its_own_last_piece),
		TEST(another_line_goes_on_within_a_tick_of_the_clock_only),
		TEST(a_gap_says_nothing),
		TEST(a_stream_that_was_never_marked_is_nobodys),
		TEST(a_flush_of_a_part_leaves_the_rest),
		TEST(bytes_that_an_error_lost_leave_no_mark),
		TEST(more_ranges_than_there_is_room_for_say_nothing),
		TEST(a_flush_with_more_segments_than_fit_is_told_in_parts),
		TEST(a_stream_keeps_its_marks_when_an_older_one_is_forgotten),
		TEST(a_forgotten_stream_leaves_nothing_to_the_next_of_its_address),
		TEST(streams_beyond_the_limit_are_nobodys_until_another_goes),
		TEST(nothing_printed_is_no_range),
		TEST(without_memory_nothing_is_said),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

/*
 * Pools and the requests in them.
 */
#define CORE_REAL_POOLS
#include "core_fixture.h"

#include <pthread.h>

#include "propagate_bare.h"

CORE_TEST(blocks_are_zero_at_first_apart_from_each_other_and_taken_again_with_what_was_left)
{
	POOL(pool, 48, 2);
	unsigned char *block[100];
	int i, k;

	for (i = 0; i < 100; i++) {
		block[i] = pool_take(&pool);
		CHECK(block[i] != NULL && (uintptr_t)block[i] % 16 == 0);
		for (k = 0; k < 48; k++)
			CHECK_INT(block[i][k], 0);
		memset(block[i], i + 1, 48);
	}
	for (i = 0; i < 100; i++)
		for (k = 0; k < 48; k++)
			CHECK_INT(block[i][k], i + 1);
	pool_give(&pool, block[40]);
	pool_give(&pool, block[70]);
	CHECK(pool_take(&pool) == block[70]);
	CHECK(pool_take(&pool) == block[40]);
	CHECK_INT(block[40][4], 41);
	CHECK_INT(pool.state->used, 100);
}

CORE_TEST(an_exhausted_pool_has_nothing_until_any_block_comes_back)
{
	POOL(pool, 16, 1);
	const uint32_t all = (1u << POOL_CHUNKS) - 1;
	void *first = NULL, *last = NULL;
	uint32_t i;

	for (i = 0; i < all; i++) {
		last = pool_take(&pool);
		CHECK(last != NULL);
		if (i == 0)
			first = last;
	}
	CHECK(pool_take(&pool) == NULL);
	CHECK(pool_take(&pool) == NULL);
	pool_give(&pool, last); /* of the last chunk */
	CHECK(pool_take(&pool) == last);
	CHECK(pool_take(&pool) == NULL);
	pool_give(&pool, first);
	CHECK(pool_take(&pool) == first);
}

CORE_TEST(what_is_no_block_of_the_pool_is_not_handed_out)
{
	POOL(pool, 32, 2);
	char foreign[32] __attribute__((aligned(16)));
	void *block = pool_take(&pool);

	memset(foreign, 'x', sizeof(foreign));
	pool_give(&pool, foreign);
	CHECK(foreign[0] == 'x');
	CHECK(pool_take(&pool) != (void *)foreign);
	pool_give(&pool, block);
	CHECK(pool_take(&pool) == block);
}

CORE_TEST(a_request_only_moves_forward)
{
	struct request *r = request_new();

	CHECK_INT(request_state(r), REQUEST_HEAD);
	request_advance(r, REQUEST_RESPONDING);
	request_advance(r, REQUEST_LIVE);
	CHECK_INT(request_state(r), REQUEST_RESPONDING);
	request_advance(r, REQUEST_FOLLOWED);
	request_advance(r, REQUEST_ENDED);
	CHECK_INT(request_state(r), REQUEST_FOLLOWED);
	request_unref(r);
}

CORE_TEST(a_request_comes_back_clean)
{
	struct request *r = request_new(), *again;

	r->ctx.trace_id[0] = 1;
	r->ctx.baggage.len = 7;
	CHECK_INT(request_grow_text(r), 0);
	CHECK_INT(r->ctx.text.cap, LIMIT_TEXT_LARGE);
	request_advance(r, REQUEST_ENDED);
	request_unref(r);
	again = request_new();
	CHECK(again == r);
	CHECK_INT(again->refs, 1);
	CHECK_INT(request_state(again), REQUEST_HEAD);
	CHECK_INT(again->ctx.trace_id[0], 0);
	CHECK_INT(again->ctx.baggage.len, 0);
	CHECK(again->ctx.text.data == again->inline_text && again->ctx.text.len == 0);
	request_unref(again);
}

CORE_TEST(a_fresh_request_comes_back_clean)
{
	struct request *r = request_new(), *again;
	uint8_t id[16];

	current_watch_threads(spare_end_thread);
	current_notice_thread();
	r->ctx.baggage.len = 7;
	r->ctx.parent_id[0] = 1;
	CHECK_INT(request_grow_text(r), 0);
	request_unref(r);
	again = request_new_fresh(3);
	CHECK(again == r);
	CHECK_INT(again->refs, 1);
	CHECK_INT(request_state(again), REQUEST_LIVE);
	CHECK_INT(request_waiting(), 1);
	CHECK_INT(again->children, 3);
	CHECK_INT(again->ctx.baggage.len | again->ctx.parent_id[0], 0);
	CHECK(again->ctx.text.data == again->inline_text && again->ctx.text.len == 0);
	memcpy(id, again->ctx.trace_id, sizeof(id));
	again->ctx.validated = true;
	request_advance(again, REQUEST_ENDED);
	request_unref(again);
	CHECK_INT(request_waiting(), 0);
	again = request_new_fresh(4);
	CHECK(again == r && !again->ctx.validated && !again->ctx.remote && again->ctx.flags != 0);
	CHECK(memcmp(id, again->ctx.trace_id, sizeof(id)) != 0);
	CHECK_INT(again->ctx.baggage.len | again->ctx.parent_id[0], 0);
	CHECK(again->ctx.text.data == again->inline_text && again->ctx.text.len == 0);
	request_unref(again);
	CHECK_INT(request_waiting(), 0);
	again = request_new();
	CHECK(again == r && again->ctx.flags == 0 && again->ctx.trace_id[0] == 0 && again->ctx.span_id[7] == 0);
	CHECK_INT(request_grow_text(again), 0);
	request_unref(again);
}

/* A block that was a fresh request is not cleared for the next one: what is kept of the id must be made anew each time. */
CORE_TEST(the_id_in_hex_is_that_of_the_request_at_hand)
{
	struct request *r, *before = NULL;
	char hex[32], kept[32];
	int i;

	current_watch_threads(spare_end_thread);
	current_notice_thread();
	config.response_header = CORE_NAME("x-trace-id");
	for (i = 0; i < 4; i++) {
		r = request_new_fresh(0);
		CHECK(before == NULL || r == before);
		(void)ids_hex(hex, r->ctx.trace_id, 16);
		propagate_put_trace(kept, &r->ctx);
		CHECK(memcmp(hex, kept, 32) == 0 && memcmp(hex, r->ctx.trace_hex, 32) == 0);
		before = r;
		request_unref(r);
	}
	/* One that is named by its caller has nothing of it. */
	r = request_new();
	CHECK(r == before && r->ctx.trace_hex[0] == '\0');
	memset(r->ctx.trace_id, 0xab, 16);
	propagate_put_trace(kept, &r->ctx);
	CHECK(memcmp(kept, "abababababababababababababababab", 32) == 0);
	request_unref(r);
}

CORE_TEST(a_text_grows_once_and_keeps_what_is_in_it)
{
	struct request *r = request_new();

	memcpy(r->ctx.text.data, "hello", 5);
	r->ctx.text.len = 5;
	CHECK_INT(request_grow_text(r), 0);
	CHECK(r->ctx.text.data != r->inline_text && memcmp(r->ctx.text.data, "hello", 5) == 0);
	CHECK_INT(request_grow_text(r), -1);
	CHECK_INT(r->ctx.text.len, 5);
	request_unref(r);
}

CORE_TEST(a_request_lives_as_long_as_its_last_reference)
{
	struct request *r = request_new();

	CHECK(request_ref(r) == r);
	CHECK(request_ref(NULL) == NULL);
	request_unref(NULL);
	request_unref(r);
	CHECK(request_new() != r);
	request_unref(r);
	CHECK(request_new() == r);
}

POOL(spares, 48, 2);

static void *take_and_give(void *watched)
{
	void *block;

	if (watched != NULL)
		current_notice_thread();
	block = spare_take(SPARE_REQUEST, &spares);
	CHECK(block != NULL);
	spare_give(SPARE_REQUEST, &spares, block);
	CHECK(spare_take(SPARE_REQUEST, &spares) == block);
	spare_give(SPARE_REQUEST, &spares, block);
	return NULL;
}

static void run_in_threads(int count, void *watched)
{
	pthread_t thread;

	while (count-- > 0) {
		CHECK_INT(pthread_create(&thread, NULL, take_and_give, watched), 0);
		CHECK_INT(pthread_join(thread, NULL), 0);
	}
}

CORE_TEST(a_thread_keeps_the_block_it_gave_back_first_and_no_other)
{
	void *first, *second;

	current_watch_threads(spare_end_thread);
	current_notice_thread();
	first = spare_take(SPARE_EXCHANGE, &spares);
	second = spare_take(SPARE_EXCHANGE, &spares);
	CHECK(first != NULL && second != NULL && first != second);
	spare_give(SPARE_EXCHANGE, &spares, first);
	spare_give(SPARE_EXCHANGE, &spares, second);
	CHECK(pool_take(&spares) == second);
	CHECK(spare_take(SPARE_REQUEST, &spares) != first);
	CHECK(spare_take(SPARE_EXCHANGE, &spares) == first);
	spare_give(SPARE_EXCHANGE, &spares, first);
	spare_end_thread();
	CHECK(pool_take(&spares) == first);
	CHECK_INT(spares.state->used, 3);
}

CORE_TEST(what_threads_keep_goes_back_when_they_end)
{
	current_watch_threads(spare_end_thread);
	run_in_threads(20, "watched");
	CHECK_INT(spares.state->used, 1);
}

CORE_TEST(a_thread_whose_end_nobody_sees_keeps_nothing)
{
	current_watch_threads(spare_end_thread);
	run_in_threads(20, NULL);
	CHECK_INT(spares.state->used, 1);
}

int main(void)
{
#define TEST(name) cmocka_unit_test(name)
	const struct CMUnitTest tests[] = {
		TEST(blocks_are_zero_at_first_apart_from_each_other_and_taken_again_with_what_was_left),
		TEST(an_exhausted_pool_has_nothing_until_any_block_comes_back),
		TEST(what_is_no_block_of_the_pool_is_not_handed_out),
		TEST(a_request_only_moves_forward),
		TEST(a_request_comes_back_clean),
		TEST(a_fresh_request_comes_back_clean),
		TEST(the_id_in_hex_is_that_of_the_request_at_hand),
		TEST(a_text_grows_once_and_keeps_what_is_in_it),
		TEST(a_request_lives_as_long_as_its_last_reference),
		TEST(a_thread_keeps_the_block_it_gave_back_first_and_no_other),
		TEST(what_threads_keep_goes_back_when_they_end),
		TEST(a_thread_whose_end_nobody_sees_keeps_nothing),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

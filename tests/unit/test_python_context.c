/*
 * A context as CPython lays it out (3.10 to 3.13), built by hand: the same objects, with no interpreter behind them.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "python_context.h"

struct head {
	intptr_t refs;
	const void *type;
};

struct bitmap {
	struct head head;
	intptr_t size;
	uint32_t bits;
	const void *pairs[8];
};

struct array {
	struct head head;
	const void *children[32];
};

struct mapping {
	struct head head;
	const void *root;
};

struct context {
	struct head head;
	void *previous;
	const struct mapping *vars;
	void *weak;
	int entered;
};

static const char bitmaps[1], arrays[1], collisions[1], var[1], other[1], value[1], others[1];

/* `hash` is folded already: five bits a level. */
static const void *find(const void *root, uint32_t hash)
{
	const struct python_layout layout = { .var = var, .hash = hash, .bitmaps = bitmaps, .arrays = arrays };
	const struct mapping vars = { .root = root };
	const struct context context = { .vars = &vars };

	return python_context_find(&layout, &context);
}

static void a_context_without_variables_has_none(void **state)
{
	const struct python_layout layout = { .var = var, .bitmaps = bitmaps, .arrays = arrays };
	const struct context context = { .vars = NULL };

	(void)state;
	assert_null(python_context_find(&layout, &context));
	assert_null(find(NULL, 0));
}

static void a_key_in_a_bitmap_is_found_behind_those_below_it(void **state)
{
	const struct bitmap node = {
		{ 1, bitmaps }, 6, 1u << 3 | 1u << 7 | 1u << 31, { other, others, var, value, other, others }
	};

	(void)state;
	assert_ptr_equal(find(&node, 7), value);
	assert_ptr_equal(find(&node, 7 | 5u << 5 | 3u << 30), value); /* what is above says nothing */
	assert_null(find(&node, 3));                                  /* another key's place */
	assert_null(find(&node, 31));
	assert_null(find(&node, 8)); /* nobody's */
}

static void a_key_is_found_below_nodes_of_both_kinds(void **state)
{
	const struct bitmap lowest = { { 1, bitmaps }, 2, 1u << 30, { var, value } };
	const struct array middle = { { 1, arrays }, { [12] = &lowest } };
	const struct bitmap root = { { 1, bitmaps }, 4, 1u << 1 | 1u << 2, { other, others, NULL, &middle } };

	(void)state;
	assert_ptr_equal(find(&root, 2 | 12u << 5 | 30u << 10), value);
	assert_null(find(&root, 2 | 13u << 5 | 30u << 10));
	assert_null(find(&root, 2 | 12u << 5 | 29u << 10));
	assert_null(find(&root, 1 | 12u << 5 | 30u << 10));
}

static void a_key_is_found_at_the_last_level_which_has_two_bits(void **state)
{
	struct bitmap nodes[7] = { 0 };
	int i;

	(void)state;
	for (i = 0; i < 7; i++) {
		nodes[i] = (struct bitmap){ { 1, bitmaps }, 2, 1u << (i == 6 ? 3 : 31), { NULL, &nodes[i + 1] } };
		if (i == 6)
			memcpy(nodes[i].pairs, (const void *[]){ var, value }, 2 * sizeof(void *));
	}
	assert_ptr_equal(find(&nodes[0], UINT32_MAX), value);
	assert_null(find(&nodes[0], UINT32_MAX >> 1));
	nodes[6].pairs[0] = NULL; /* deeper than a hash is long: nothing more is read */
	nodes[6].pairs[1] = (void *)16;
	assert_null(find(&nodes[0], UINT32_MAX));
}

static void nodes_of_an_unknown_type_are_not_read(void **state)
{
	const struct head collision = { 1, collisions };
	const struct bitmap root = { { 1, bitmaps }, 2, 1, { NULL, &collision } };

	(void)state;
	assert_null(find(&root, 0));
	assert_null(find(&collision, 0));
}

static void a_hash_is_folded_as_the_mapping_folds_it(void **state)
{
	(void)state;
	assert_int_equal(python_context_fold(0), 0);
	assert_int_equal(python_context_fold(0x123456789abcdef0), 0x12345678u ^ 0x9abcdef0u);
	assert_int_equal(python_context_fold(-1), 0);
	assert_int_equal(python_context_fold(UINT32_MAX), UINT32_MAX - 1); /* -1 is an error's */
}

static void only_a_context_that_was_entered_is_told_to_be(void **state)
{
	(void)state;
	assert_true(python_context_is_entered(&(struct context){ .entered = 1 }));
	assert_false(python_context_is_entered(&(struct context){ .entered = 0 }));
}

static void bytes_of_another_length_are_refused(void **state)
{
	struct {
		struct head head;
		intptr_t size, hash;
		char text[4];
	} bytes = { .size = 3, .text = "abc" };

	(void)state;
	assert_ptr_equal(python_bytes(&bytes, 3), bytes.text);
	assert_null(python_bytes(&bytes, 4));
	assert_null(python_bytes(&bytes, 0));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_context_without_variables_has_none),
		cmocka_unit_test(a_key_in_a_bitmap_is_found_behind_those_below_it),
		cmocka_unit_test(a_key_is_found_below_nodes_of_both_kinds),
		cmocka_unit_test(a_key_is_found_at_the_last_level_which_has_two_bits),
		cmocka_unit_test(nodes_of_an_unknown_type_are_not_read),
		cmocka_unit_test(a_hash_is_folded_as_the_mapping_folds_it),
		cmocka_unit_test(only_a_context_that_was_entered_is_told_to_be),
		cmocka_unit_test(bytes_of_another_length_are_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

/*
 * propagate: traceparent and tracestate, inbound. The cases follow those of the specification's own conformance suite.
 */
#include "propagate_fixture.h"

static void a_valid_traceparent_is_continued_with_a_span_of_its_own(void **state)
{
	(void)state;
	RECEIVE("traceparent", PARENT);
	assert_true(ctx.remote);
	assert_trace(TRACE);
	assert_parent(SPAN);
	assert_int_equal(ctx.flags, 1);
	assert_string_not_equal(hex_of(ctx.span_id, 8), SPAN);
}

static void of_the_flags_sampled_and_random_go_on_and_the_others_do_not(void **state)
{
	(void)state;
	RECEIVE("traceparent", "00-" TRACE "-" SPAN "-ff");
	assert_int_equal(ctx.flags, 3);
	RECEIVE("traceparent", "00-" TRACE "-" SPAN "-00");
	assert_int_equal(ctx.flags, 0);
	RECEIVE("traceparent", "00-" TRACE "-" SPAN "-fe");
	assert_int_equal(ctx.flags, 2);
}

static void a_higher_version_is_accepted_when_its_start_reads_like_ours(void **state)
{
	(void)state;
	RECEIVE("traceparent", "cc-" TRACE "-" SPAN "-01");
	assert_trace(TRACE);
	RECEIVE("traceparent", "cc-" TRACE "-" SPAN "-01-what-the-future-will-be-like");
	assert_trace(TRACE);
	RECEIVE("traceparent", "01-" TRACE "-" SPAN "-01-");
	assert_trace(TRACE);
	assert_non_null(strstr(sent(0), "traceparent: 00-" TRACE "-cafe000000000001-01\r\n"));
}

static void an_invalid_traceparent_starts_a_new_trace_and_drops_tracestate(void **state)
{
	static const char *const wrong[] = {
		"",
		"00",
		"00-" TRACE "-" SPAN,
		"00-" TRACE "-" SPAN "-0",
		"00-" TRACE "-" SPAN "-001",
		PARENT ".",
		PARENT "-",
		PARENT "-what-the-future-will-be-like",
		"cc-" TRACE "-" SPAN "-01.what",
		"ff-" TRACE "-" SPAN "-01",
		".0-" TRACE "-" SPAN "-01",
		"0.-" TRACE "-" SPAN "-01",
		"000-" TRACE "-" SPAN "-01",
		"0-" TRACE "-" SPAN "-01",
		"00-00000000000000000000000000000000-" SPAN "-01",
		"00-" TRACE "-0000000000000000-01",
		"00-.2345678901234567890123456789012-" SPAN "-01",
		"00-1234567890123456789012345678901.-" SPAN "-01",
		"00-" TRACE "3-" SPAN "-01",
		"00-1234567890123456789012345678901-" SPAN "-01",
		"00-" TRACE "-.234567890123456-01",
		"00-" TRACE "-123456789012345.-01",
		"00-" TRACE "-12345678901234567-01",
		"00-" TRACE "-123456789012345-01",
		"00-" TRACE "-" SPAN "-.0",
		"00-" TRACE "-" SPAN "-0.",
		"00-ABCDEFABCDEFABCDEFABCDEFABCDEFAB-" SPAN "-01",
		"00-" TRACE "-ABCDEF1234567890-01",
		"CC-" TRACE "-" SPAN "-01",
		"00-" TRACE "-" SPAN "-0A",
		"00_" TRACE "_" SPAN "_01",
		PARENT "," PARENT,
		"00-" TRACE "-" SPAN "-01\r\n",
	};

	(void)state;
	for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
		const char *const head[] = { "traceparent", wrong[i], "tracestate", "foo=1", NULL };

		receive(head);
		assert_fresh(head);
		assert_int_equal(counters_get(ids_invalid), 1);
		assert_int_equal(ctx.flags, TRACE_FLAG_SAMPLED | TRACE_FLAG_RANDOM);
	}
}

static void two_traceparents_start_a_new_trace_even_when_they_agree(void **state)
{
	static const char *const same[] = { "traceparent", PARENT, "traceparent", PARENT, "tracestate", "a=1", NULL };
	static const char *const other[] = { "traceparent", PARENT, "x", "y", "traceparent", "00-" OTHER "-" SPAN "-01",
		                             NULL };
	static const char *const three[] = { "traceparent", PARENT, "traceparent", "bad", "traceparent", PARENT, NULL };

	(void)state;
	receive(same);
	assert_fresh(same);
	receive(other);
	assert_fresh(other);
	receive(three);
	assert_fresh(three);
}

static void only_the_exact_name_is_traceparent(void **state)
{
	static const char *const heads[] = { "trace-parent", PARENT,        "trace.parent", PARENT, "traceparents",
		                             PARENT,         "xraceparent", PARENT,         NULL };

	(void)state;
	receive(heads);
	assert_fresh(heads);
	assert_false(propagate_wants("", 0));
	assert_false(propagate_wants("trace-parent", 12));
}

static void tracestate_is_joined_in_order_without_white_space_around_members(void **state)
{
	(void)state;
	RECEIVE("tracestate", "foo=1,bar=2", "traceparent", PARENT, "tracestate", "rojo=1 \t , \t congo=2",
	        "tracestate", "", "tracestate", " , baz=a b,");
	assert_trace(TRACE);
	assert_slice(ctx.tracestate, "foo=1,bar=2,rojo=1,congo=2,baz=a b");
	assert_int_equal(counters_get(baggage_invalid), 0);
	RECEIVE("traceparent", PARENT, "tracestate", "");
	assert_int_equal(ctx.tracestate.len, 0);
}

static void tracestate_without_traceparent_is_dropped(void **state)
{
	(void)state;
	RECEIVE("tracestate", "foo=1");
	assert_int_equal(ctx.tracestate.len, 0);
	RECEIVE("tracestate", "foo=1", "b3", TRACE "-" SPAN "-1");
	assert_trace(TRACE);
	assert_int_equal(ctx.tracestate.len, 0);
}

static void an_invalid_tracestate_is_dropped_whole_and_traceparent_stays(void **state)
{
	static const char *const wrong[] = { "foo =1",
		                             "FOO=1",
		                             "foo.bar=1",
		                             "foo@=1,bar=2",
		                             "@foo=1,bar=2",
		                             "foo@@bar=1,bar=2",
		                             "foo@bar@baz=1,bar=2",
		                             "foo@1bar=1",
		                             "foo=bar=baz",
		                             "foo=,bar=3",
		                             "foo",
		                             "=1",
		                             "foo=1,foo=1",
		                             "foo=1,bar=2,foo=2",
		                             "_a=1",
		                             "foo=\x7f",
		                             "foo=\xc3\xa4",
		                             "foo=a\rb",
		                             "foo=a\tb",
		                             "tt@vvvvvvvvvvvvvvv=1" };
	char text[600];

	(void)state;
	for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
		RECEIVE("tracestate", "ok=1", "tracestate", wrong[i], "tracestate", "later=1", "traceparent", PARENT);
		assert_trace(TRACE);
		if (ctx.tracestate.len != 0)
			fail_msg("%s: kept", wrong[i]);
		assert_int_equal(counters_get(baggage_invalid), 1);
	}
	RECEIVE("traceparent", PARENT, "tracestate", "foo=1", "tracestate", "foo=2");
	assert_int_equal(ctx.tracestate.len, 0);
	snprintf(text, sizeof(text), "%0257d=1", 0);
	RECEIVE("traceparent", PARENT, "tracestate", "foo=1", "tracestate", text);
	assert_int_equal(ctx.tracestate.len, 0);
	snprintf(text, sizeof(text), "%0242d@v=1", 0);
	RECEIVE("traceparent", PARENT, "tracestate", "foo=1", "tracestate", text);
	assert_int_equal(ctx.tracestate.len, 0);
	snprintf(text, sizeof(text), "a=%0257d", 0);
	RECEIVE("traceparent", PARENT, "tracestate", text);
	assert_int_equal(ctx.tracestate.len, 0);
}

static void tracestate_takes_all_allowed_characters_and_longest_keys(void **state)
{
	static const char all[] = "abcdefghijklmnopqrstuvwxyz0123456789_-*/@a-z0-9_-*/= !\"#$%&'()*+-./0123456789:;<>?@"
				  "ABCDEFGHIJKLMNOPQRSTUVWXYZ[\\]^_`abcdefghijklmnopqrstuvwxyz{|}~";
	char text[600];

	(void)state;
	RECEIVE("traceparent", PARENT, "tracestate", all, "tracestate", "1a-2f@foo=bar1");
	assert_memory_equal(ctx.text.data + ctx.tracestate.off, all, sizeof(all) - 1);
	assert_int_equal(ctx.tracestate.len, sizeof(all) - 1 + 15);
	snprintf(text, sizeof(text), "%0256d=1", 0);
	RECEIVE("traceparent", PARENT, "tracestate", text);
	assert_slice(ctx.tracestate, text);
	snprintf(text, sizeof(text), "%0241d@vvvvvvvvvvvvvv=1", 0);
	RECEIVE("traceparent", PARENT, "tracestate", text);
	assert_slice(ctx.tracestate, text);
	assert_int_equal(counters_get(baggage_invalid), 0);
}

static void tracestate_has_32_members_and_not_33(void **state)
{
	char first[400] = "", second[400] = "";

	(void)state;
	for (int i = 0; i < 20; i++)
		snprintf(first + strlen(first), sizeof(first) - strlen(first), "%sbar%02d=%02d", i ? "," : "", i, i);
	for (int i = 20; i < 32; i++)
		snprintf(second + strlen(second), sizeof(second) - strlen(second), "%sbar%02d=%02d", i > 20 ? "," : "",
		         i, i);
	RECEIVE("traceparent", PARENT, "tracestate", first, "tracestate", second);
	assert_int_equal(ctx.tracestate.len, strlen(first) + 1 + strlen(second));
	RECEIVE("traceparent", PARENT, "tracestate", first, "tracestate", second, "tracestate", "one=more");
	assert_int_equal(ctx.tracestate.len, 0);
	assert_trace(TRACE);
}

static void a_long_tracestate_loses_large_members_first_then_from_the_end(void **state)
{
	char large[200], header[2000], expected[2000];

	(void)state;
	snprintf(large, sizeof(large), "%0126d=b", 0); /* 128: not large */
	snprintf(header, sizeof(header), "a%s,b%s,c=1,d%s,e%s", large + 1, large + 1, large + 1, large + 1);
	snprintf(expected, sizeof(expected), "a%s,b%s,c=1,d%s", large + 1, large + 1, large + 1);
	RECEIVE("traceparent", PARENT, "tracestate", header);
	assert_slice(ctx.tracestate, expected);
	snprintf(header, sizeof(header), "a%s,b%s,c%s,d%s,z=2", large + 1, large + 1, large + 1, large + 1);
	snprintf(expected, sizeof(expected), "a%s,b%s,c%s", large + 1, large + 1, large + 1);
	RECEIVE("traceparent", PARENT, "tracestate", header);
	assert_slice(ctx.tracestate, expected);
	snprintf(large, sizeof(large), "%0127d=b", 0); /* 129: large */
	snprintf(header, sizeof(header), "a%s,b%s,c=1,d%s,e%s,z=2", large + 1, large + 1, large + 1, large + 1);
	snprintf(expected, sizeof(expected), "a%s,b%s,c=1,d%s,z=2", large + 1, large + 1, large + 1);
	RECEIVE("traceparent", PARENT, "tracestate", header);
	assert_slice(ctx.tracestate, expected);
}

/* What the essay of propagate_w3c.c claims: in several headers the outcome is that of one. */
static void a_long_tracestate_is_cut_alike_in_one_header_and_in_many(void **state)
{
	unsigned seed = 1;

	(void)state;
	for (int round = 0; round < 2000; round++) {
		char members[32][300], whole[9700] = "";
		const char *head[2 * 40 + 1] = { "traceparent", PARENT };
		size_t count = 1 + (size_t)rand_r(&seed) % 16, pairs = 1;
		static char split[32][9700];
		char expected[LIMIT_TRACESTATE + 1];

		for (size_t i = 0; i < count; i++) {
			int len = rand_r(&seed) % 3 == 0 ? 100 + rand_r(&seed) % 150 : 1 + rand_r(&seed) % 60;

			snprintf(members[i], sizeof(members[i]), "k%zu=%0*d", i, len, 0);
			if (i == 0 || rand_r(&seed) % 3 == 0) {
				split[pairs][0] = '\0';
				head[2 * pairs] = "tracestate";
				head[2 * pairs + 1] = split[pairs];
				pairs++;
			} else {
				strcat(split[pairs - 1], ",");
			}
			strcat(split[pairs - 1], members[i]);
			strcat(whole, i > 0 ? "," : "");
			strcat(whole, members[i]);
		}
		RECEIVE("traceparent", PARENT, "tracestate", whole);
		assert_true(ctx.tracestate.len <= LIMIT_TRACESTATE);
		assert_true(ctx.tracestate.len > 0);
		memcpy(expected, ctx.text.data + ctx.tracestate.off, ctx.tracestate.len);
		expected[ctx.tracestate.len] = '\0';
		head[2 * pairs] = NULL;
		receive(head);
		assert_slice(ctx.tracestate, expected);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(a_valid_traceparent_is_continued_with_a_span_of_its_own),
		TEST(of_the_flags_sampled_and_random_go_on_and_the_others_do_not),
		TEST(a_higher_version_is_accepted_when_its_start_reads_like_ours),
		TEST(an_invalid_traceparent_starts_a_new_trace_and_drops_tracestate),
		TEST(two_traceparents_start_a_new_trace_even_when_they_agree),
		TEST(only_the_exact_name_is_traceparent),
		TEST(tracestate_is_joined_in_order_without_white_space_around_members),
		TEST(tracestate_without_traceparent_is_dropped),
		TEST(an_invalid_tracestate_is_dropped_whole_and_traceparent_stays),
		TEST(tracestate_takes_all_allowed_characters_and_longest_keys),
		TEST(tracestate_has_32_members_and_not_33),
		TEST(a_long_tracestate_loses_large_members_first_then_from_the_end),
		TEST(a_long_tracestate_is_cut_alike_in_one_header_and_in_many),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

/*
 * propagate: whom a request's trace is taken from, and what goes on to the next service. W3C's own formats are in
 * test_propagate_w3c.c.
 */
#include "propagate_fixture.h"

static void without_a_caller_a_trace_is_fresh_random_and_sampled(void **state)
{
	uint8_t trace[16], span[8];

	(void)state;
	RECEIVE("host", "x");
	assert_false(ctx.remote);
	assert_int_equal(ctx.flags, TRACE_FLAG_SAMPLED | TRACE_FLAG_RANDOM);
	assert_parent("0000000000000000");
	memcpy(trace, ctx.trace_id, 16);
	memcpy(span, ctx.span_id, 8);
	ctx.text.len = 9;
	propagate_fresh(&ctx);
	assert_memory_not_equal(trace, ctx.trace_id, 16);
	assert_memory_not_equal(span, ctx.span_id, 8);
	assert_int_equal(ctx.flags, TRACE_FLAG_SAMPLED | TRACE_FLAG_RANDOM);
	assert_int_equal(ctx.text.len, 0);
	assert_ptr_equal(ctx.text.data, area);
	assert_int_equal(counters_get(ids_invalid), 0);
}

static void b3_in_one_header_is_read_in_all_its_forms(void **state)
{
	(void)state;
	RECEIVE("b3", TRACE "-" SPAN "-1-abcdefabcdefabcd");
	assert_trace(TRACE);
	assert_parent(SPAN);
	assert_int_equal(ctx.flags, TRACE_FLAG_SAMPLED);
	RECEIVE("b3", "ABCDEF1234567890-" SPAN "-0");
	assert_trace("0000000000000000abcdef1234567890");
	assert_int_equal(ctx.flags, 0);
	RECEIVE("b3", TRACE "-" SPAN "-d");
	assert_int_equal(ctx.flags, TRACE_FLAG_SAMPLED);
	RECEIVE("b3", TRACE "-" SPAN);
	assert_trace(TRACE);
	assert_int_equal(ctx.flags, TRACE_FLAG_SAMPLED);
	RECEIVE("b3", "0");
	assert_false(ctx.remote);
	assert_int_equal(ctx.flags, TRACE_FLAG_RANDOM);
	RECEIVE("b3", "1");
	assert_int_equal(ctx.flags, TRACE_FLAG_RANDOM | TRACE_FLAG_SAMPLED);
	RECEIVE("b3", "d");
	assert_int_equal(ctx.flags, TRACE_FLAG_RANDOM | TRACE_FLAG_SAMPLED);
	assert_int_equal(counters_get(ids_invalid), 0);
}

static void an_invalid_b3_header_is_counted_and_not_believed(void **state)
{
	static const char *const wrong[] = { "",
		                             "2",
		                             "x",
		                             "00",
		                             "-",
		                             TRACE,
		                             TRACE "-",
		                             TRACE "-" SPAN "-",
		                             TRACE "-" SPAN "-2",
		                             TRACE "-" SPAN "-1-",
		                             TRACE "-" SPAN "-1-123",
		                             TRACE "-" SPAN "-1-" SPAN "x",
		                             TRACE "-" SPAN "+1",
		                             "00000000000000000000000000000000-" SPAN,
		                             TRACE "-0000000000000000",
		                             "123-" SPAN "-1",
		                             TRACE "-123-1",
		                             TRACE "g-" SPAN,
		                             TRACE "-" SPAN "-1+" SPAN,
		                             TRACE "-" SPAN "-true" };

	(void)state;
	for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
		const char *const head[] = { "b3", wrong[i], NULL };

		receive(head);
		assert_fresh(head);
		assert_int_equal(counters_get(ids_invalid), 1);
	}
}

static void b3_in_several_headers_needs_trace_and_span(void **state)
{
	static const char *const half[] = { "x-b3-traceid", TRACE, "x-b3-sampled", "0", NULL };
	static const char *const bad_span[] = { "x-b3-traceid", TRACE, "x-b3-spanid", "xyz", NULL };
	static const char *const twice[] = { "x-b3-traceid", TRACE, "x-b3-spanid", SPAN, "x-b3-traceid", OTHER, NULL };

	(void)state;
	RECEIVE("x-b3-sampled", "0", "x-b3-spanid", SPAN, "x-b3-parentspanid", SPAN, "x-b3-traceid",
	        "abcdef1234567890");
	assert_trace("0000000000000000abcdef1234567890");
	assert_parent(SPAN);
	assert_int_equal(ctx.flags, 0);
	RECEIVE("x-b3-flags", "1", "x-b3-spanid", SPAN, "x-b3-traceid", TRACE);
	assert_int_equal(ctx.flags, TRACE_FLAG_SAMPLED);
	receive(half);
	assert_fresh(half);
	assert_int_equal(ctx.flags, TRACE_FLAG_RANDOM);
	receive(bad_span);
	assert_fresh(bad_span);
	receive(twice);
	assert_fresh(twice);
}

static void jaegers_header_is_read_with_short_and_encoded_forms(void **state)
{
	static const char *const wrong[] = { "",
		                             TRACE,
		                             TRACE ":" SPAN ":0",
		                             TRACE ":" SPAN ":0:",
		                             "0:" SPAN ":0:1",
		                             TRACE ":0:0:1",
		                             TRACE "0:" SPAN ":0:1",
		                             TRACE ":" SPAN "0:0:1",
		                             TRACE ":" SPAN ":0:100",
		                             TRACE ":" SPAN ":x:1",
		                             TRACE ":" SPAN ":0:1:1",
		                             ":" SPAN ":0:1" };

	(void)state;
	RECEIVE("uber-trace-id", TRACE ":" SPAN ":0:1");
	assert_trace(TRACE);
	assert_parent(SPAN);
	assert_int_equal(ctx.flags, TRACE_FLAG_SAMPLED);
	RECEIVE("uber-trace-id", "aBc%3A1%3a" SPAN "%3A0");
	assert_trace("00000000000000000000000000000abc");
	assert_parent("0000000000000001");
	assert_int_equal(ctx.flags, 0);
	RECEIVE("uber-trace-id", "1:1:0:02"); /* debug */
	assert_int_equal(ctx.flags, TRACE_FLAG_SAMPLED);
	for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
		const char *const head[] = { "uber-trace-id", wrong[i], NULL };

		receive(head);
		assert_fresh(head);
		assert_int_equal(counters_get(ids_invalid), 1);
	}
}

static void w3c_is_believed_first_then_the_configured_order_then_the_others(void **state)
{
	static const char *const all[] = { "x-request-id",
		                           "77777777777777777777777777777777",
		                           "x-trace-id",
		                           "66666666666666666666666666666666",
		                           "uber-trace-id",
		                           "55555555555555555555555555555555:5:0:1",
		                           "x-b3-traceid",
		                           "44444444444444444444444444444444",
		                           "x-b3-spanid",
		                           "4444444444444444",
		                           "b3",
		                           "33333333333333333333333333333333-3333333333333333-1",
		                           "traceparent",
		                           PARENT,
		                           NULL };
	const char *rest[sizeof(all) / sizeof(all[0])];

	(void)state;
	memcpy(rest, all, sizeof(all));
	receive(rest);
	assert_trace(TRACE);
	rest[12] = NULL;
	receive(rest);
	assert_trace("33333333333333333333333333333333");
	CONFIGURE("OTEL_PROPAGATORS=jaeger,b3multi");
	receive(rest);
	assert_trace("55555555555555555555555555555555");
	rest[4] = "x";
	receive(rest);
	assert_trace("44444444444444444444444444444444");
	CONFIGURE("OTEL_PROPAGATORS=none");
	receive(rest);
	assert_trace("33333333333333333333333333333333");
	rest[6] = rest[10] = "x";
	receive(rest);
	assert_trace("66666666666666666666666666666666");
	assert_true(ctx.remote);
	assert_parent("0000000000000000");
	assert_int_equal(ctx.flags, TRACE_FLAG_SAMPLED);
	rest[2] = "x";
	receive(rest);
	assert_trace("77777777777777777777777777777777");
}

static void an_invalid_traceparent_leaves_the_word_to_the_other_formats(void **state)
{
	(void)state;
	RECEIVE("traceparent", "garbage", "tracestate", "a=1", "b3", OTHER "-" SPAN "-1");
	assert_trace(OTHER);
	assert_int_equal(ctx.tracestate.len, 0);
}

static void a_plain_id_that_is_a_trace_id_or_a_uuid_becomes_the_trace_id(void **state)
{
	(void)state;
	RECEIVE("x-trace-id", "ABCDEFab-CDEF-abcd-EFAB-cdefABCDEFAB");
	assert_trace(OTHER);
	assert_slice(ctx.correlation[0], "ABCDEFab-CDEF-abcd-EFAB-cdefABCDEFAB");
	assert_non_null(strstr(sent(0), "x-trace-id: ABCDEFab-CDEF-abcd-EFAB-cdefABCDEFAB\r\n"));
	RECEIVE("x-request-id", OTHER);
	assert_trace(OTHER);
	assert_null(strstr(sent(0), "x-request-id"));
	assert_non_null(strstr(sent(0), "x-trace-id: " OTHER "\r\n"));
	assert_int_equal(counters_get(ids_invalid), 0);
	CONFIGURE("TRACESHIM_HEADERS=x-correlation-id");
	RECEIVE("x-correlation-id", OTHER);
	assert_trace(OTHER);
}

static void another_plain_id_travels_beside_a_fresh_trace(void **state)
{
	char longest[140];

	(void)state;
	RECEIVE("x-trace-id", "Job-7_b.3");
	assert_false(ctx.remote);
	assert_slice(ctx.correlation[0], "Job-7_b.3");
	assert_non_null(strstr(sent(0), "x-trace-id: Job-7_b.3\r\n"));
	assert_int_equal(counters_get(ids_invalid), 0);
	snprintf(longest, sizeof(longest), "%0128d", 0);
	RECEIVE("x-trace-id", longest);
	assert_slice(ctx.correlation[0], longest);
	RECEIVE("x-trace-id", "00000000000000000000000000000000");
	assert_false(ctx.remote);
	assert_slice(ctx.correlation[0], "00000000000000000000000000000000");
}

static void a_plain_id_that_is_not_valid_is_replaced_by_the_trace_id(void **state)
{
	char too_long[140], expected[80];
	const char *wrong[] = { "", "a b", "a\r\nX-Evil: 1", "a;b", "\xc3\xa4", "a\"b", too_long };

	(void)state;
	snprintf(too_long, sizeof(too_long), "%0129d", 0);
	for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
		RECEIVE("x-trace-id", wrong[i]);
		assert_int_equal(ctx.correlation[0].len, 0);
		assert_int_equal(counters_get(ids_invalid), 1);
		snprintf(expected, sizeof(expected), "x-trace-id: %s\r\n", hex_of(ctx.trace_id, 16));
		assert_non_null(strstr(sent(0), expected));
		assert_null(strstr(sent(0), "Evil"));
	}
	RECEIVE("x-trace-id", OTHER, "x-trace-id", OTHER);
	assert_false(ctx.remote);
	assert_int_equal(ctx.correlation[0].len, 0);
}

static void baggage_goes_on_unchanged_and_joined(void **state)
{
	(void)state;
	RECEIVE("baggage", "a=1;p;q=2 , b=%20x", "x-trace-id", "between", "baggage", "c=3", "baggage", "d=4");
	assert_slice(ctx.baggage, "a=1;p;q=2 , b=%20x,c=3,d=4");
	assert_non_null(strstr(sent(0), "\r\nbaggage: a=1;p;q=2 , b=%20x,c=3,d=4\r\n"));
	assert_int_equal(counters_get(baggage_invalid), 0);
	assert_slice(ctx.correlation[0], "between");
}

static void baggage_that_is_not_valid_or_too_long_is_dropped_and_counted(void **state)
{
	static const char *const wrong[] = { "a", "=1", "a b=1", "a=\x01", "a=1\r\nX: y", "a=\xff", ",", ";x=1" };
	char *longest = malloc(LIMIT_BAGGAGE + 2);

	(void)state;
	for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
		RECEIVE("baggage", "ok=1", "baggage", wrong[i]);
		assert_slice(ctx.baggage, "ok=1");
		assert_int_equal(counters_get(baggage_invalid), 1);
	}
	memset(longest, 'x', LIMIT_BAGGAGE + 1);
	longest[1] = '=';
	longest[LIMIT_BAGGAGE] = '\0';
	RECEIVE("baggage", longest, "baggage", "b=2");
	assert_slice(ctx.baggage, longest);
	assert_int_equal(counters_get(baggage_invalid), 1);
	longest[LIMIT_BAGGAGE] = 'x';
	longest[LIMIT_BAGGAGE + 1] = '\0';
	RECEIVE("baggage", longest);
	assert_int_equal(ctx.baggage.len, 0);
	memset(longest, 0, LIMIT_BAGGAGE + 2);
	memset(longest, 'y', LIMIT_BAGGAGE - 4);
	longest[1] = '=';
	RECEIVE("baggage", longest, "baggage", "b=2");
	assert_int_equal(ctx.baggage.len, LIMIT_BAGGAGE);
	RECEIVE("baggage", longest, "baggage", "b=22");
	assert_int_equal(ctx.baggage.len, LIMIT_BAGGAGE - 4);
	free(longest);
}

static void mapped_headers_become_fields_the_first_occurrence_wins(void **state)
{
	(void)state;
	CONFIGURE("TRACESHIM_LOG_HEADERS=X-User=user,x-tenant,x-trace-id=correlation");
	assert_true(propagate_wants("x-user", 6));
	assert_true(propagate_wants("x-tenant", 8));
	assert_false(propagate_wants("x-usex", 6));
	assert_false(propagate_wants("host", 4));
	RECEIVE("x-user", "J\xc3\xbcrgen \"x\"", "x-user", "second", "x-tenant", "", "x-tenant", "t", "x-trace-id",
	        "abc");
	assert_slice(ctx.field[0], "J\xc3\xbcrgen \"x\"");
	assert_slice(ctx.field[1], "t");
	assert_slice(ctx.field[2], "abc");
	assert_slice(ctx.correlation[0], "abc");
	RECEIVE("x-user", "a\tb", "x-user", "b\x7f", "x-tenant", "x\ny");
	assert_int_equal(ctx.field[0].len, 0);
	assert_int_equal(ctx.field[1].len, 0);
	assert_int_equal(counters_get(ids_invalid), 3);
}

static void a_long_field_is_cut_before_a_character_that_would_be_split(void **state)
{
	char value[400];

	(void)state;
	CONFIGURE("TRACESHIM_LOG_HEADERS=x-user=user");
	for (size_t ascii = 252; ascii <= 257; ascii++) {
		memset(value, 'a', ascii);
		strcpy(value + ascii, "\xf0\x9f\x98\x80\xf0\x9f\x98\x80");
		RECEIVE("x-user", value);
		assert_int_equal(ctx.field[0].len, ascii == 252 ? 256 : ascii < 256 ? ascii : 256);
	}
	memset(value, 0x80, 300); /* no UTF-8 at all: cut where the limit is */
	value[300] = '\0';
	RECEIVE("x-user", value);
	assert_int_equal(ctx.field[0].len, 256);
}

static void baggage_members_become_decoded_fields_and_invalid_ones_do_not(void **state)
{
	char value[1000];

	(void)state;
	CONFIGURE("TRACESHIM_LOG_BAGGAGE=user=u,plan,x=c,User=case");
	RECEIVE("baggage", "plan = pro%20%C3%BC ;p=1,user=%6a,other=1", "baggage", "plan=second,x=%2");
	assert_slice(ctx.field[0], "j");
	assert_slice(ctx.field[1], "pro \xc3\xbc");
	assert_int_equal(ctx.field[2].len, 0);
	assert_int_equal(ctx.field[3].len, 0);
	assert_int_equal(counters_get(baggage_invalid), 1);
	RECEIVE("baggage", "user=a%0d%0ab,plan=%ff,x=%zz");
	assert_int_equal(ctx.field[0].len + ctx.field[1].len + ctx.field[2].len, 0);
	assert_int_equal(counters_get(baggage_invalid), 3);
	assert_slice(ctx.baggage, "user=a%0d%0ab,plan=%ff,x=%zz");
	strcpy(value, "user=");
	for (int i = 0; i < 200; i++)
		strcat(value, i < 86 ? "%e2%82%ac" : "x"); /* the euro sign, 3 bytes: 85 of them fit into 256 */
	RECEIVE("baggage", value);
	assert_int_equal(ctx.field[0].len, 255);
}

static void a_full_text_area_refuses_and_counts(void **state)
{
	(void)state;
	CONFIGURE("TRACESHIM_LOG_HEADERS=x-user=user");
	for (uint16_t cap = 0; cap < 40; cap++) {
		ctx.text = (struct text){ area, 0, cap };
		memset(area, '#', sizeof(area));
		memset(counters_page()->counter, 0, sizeof(counters_page()->counter));
		propagate_begin(&in, &ctx);
		propagate_field(&in, &ctx, "traceparent", 11, PARENT, TRACEPARENT_LEN);
		propagate_field(&in, &ctx, "tracestate", 10, "aa=1", 4);
		propagate_field(&in, &ctx, "baggage", 7, "bb=2", 4);
		propagate_field(&in, &ctx, "x-user", 6, "user", 4);
		propagate_field(&in, &ctx, "x-trace-id", 10, "four", 4);
		propagate_field(&in, &ctx, "tracestate", 10, "cc=3", 4);
		propagate_field(&in, &ctx, "baggage", 7, "dd=4", 4);
		propagate_end(&in, &ctx);
		assert_true(ctx.text.len <= cap);
		assert_int_equal(area[cap], '#');
		assert_trace(TRACE);
		assert_slice(ctx.tracestate, cap < 25 ? "" : "aa=1,cc=3"); /* whole, or not at all */
		assert_slice(ctx.field[0], cap < 12 ? "" : "user");
		assert_slice(ctx.correlation[0], cap < 16 ? "" : "four");
		if (cap >= 8)
			assert_slice(ctx.baggage, cap < 34 ? "bb=2" : "bb=2,dd=4");
		assert_int_equal(counters_get(no_memory_skipped) > 0, cap < 34);
	}
}

static void the_environment_carries_a_trace_into_the_process(void **state)
{
	ctx.text = (struct text){ area, 0, sizeof(area) };
	(void)state;
	assert_false(propagate_from_environment(&ctx));
	CONFIGURE("TRACEPARENT=" PARENT, "TRACESTATE=a=1", "BAGGAGE=b=2");
	assert_true(propagate_from_environment(&ctx));
	assert_trace(TRACE);
	assert_parent(SPAN);
	assert_string_not_equal(hex_of(ctx.span_id, 8), SPAN);
	assert_true(ctx.remote);
	assert_slice(ctx.tracestate, "a=1");
	assert_slice(ctx.baggage, "b=2");
	CONFIGURE("TRACEPARENT=00-" TRACE "-" SPAN "-1");
	assert_false(propagate_from_environment(&ctx));
	assert_int_equal(counters_get(ids_invalid), 1);
	CONFIGURE("TRACEPARENT=" PARENT, "TRACESTATE=A=1", "BAGGAGE=b");
	assert_true(propagate_from_environment(&ctx));
	assert_int_equal(ctx.tracestate.len + ctx.baggage.len, 0);
}

static void the_configured_headers_are_sent_in_their_order(void **state)
{
	char expected[600];

	(void)state;
	RECEIVE("traceparent", "00-" TRACE "-" SPAN "-03", "tracestate", "a=1", "baggage", "b=2");
	assert_string_equal(sent(0),
	                    "traceparent: 00-" TRACE "-cafe000000000001-03\r\ntracestate: a=1\r\nbaggage: b=2\r\n"
	                    "x-trace-id: " TRACE "\r\n");
	CONFIGURE("OTEL_PROPAGATORS=b3,b3multi,jaeger", "TRACESHIM_HEADERS=x-request-id,x-trace-id");
	RECEIVE("traceparent", "00-" TRACE "-" SPAN "-02", "tracestate", "a=1", "baggage", "b=2", "x-trace-id", "mine");
	snprintf(expected, sizeof(expected),
	         "b3: " TRACE "-cafe000000000001-0-%s\r\nx-b3-traceid: " TRACE "\r\nx-b3-spanid: cafe000000000001\r\n"
	         "x-b3-parentspanid: %s\r\nx-b3-sampled: 0\r\nuber-trace-id: " TRACE ":cafe000000000001:0:0\r\n"
	         "x-request-id: " TRACE "\r\nx-trace-id: mine\r\n",
	         hex_of(ctx.span_id, 8), hex_of(ctx.span_id, 8));
	assert_string_equal(sent(0), expected);
	CONFIGURE("OTEL_PROPAGATORS=none");
	assert_string_equal(sent(0), "");
	CONFIGURE("OTEL_PROPAGATORS=baggage", "TRACESHIM_HEADERS=none");
	assert_string_equal(sent(0), "baggage: b=2\r\n");
}

static void what_the_program_sends_itself_is_never_added(void **state)
{
	(void)state;
	RECEIVE("traceparent", PARENT, "tracestate", "a=1", "baggage", "b=2");
	assert_string_equal(sent(propagate_own_header("traceparent", 11)), "");
	assert_string_equal(sent(propagate_own_header("x-b3-sampled", 12)), "");
	assert_null(strstr(sent(propagate_own_header("baggage", 7)), "baggage"));
	assert_null(strstr(sent(propagate_own_header("tracestate", 10)), "tracestate"));
	assert_null(strstr(sent(propagate_own_header("x-trace-id", 10)), "x-trace-id"));
	assert_non_null(strstr(sent(propagate_own_header("x-trace-id", 10)), "traceparent: "));
	assert_int_equal(propagate_own_header("host", 4), 0);
	assert_int_equal(propagate_own_header("content-length", 14), 0);
}

static void headers_of_other_tracers_are_known_and_ordinary_ones_are_not(void **state)
{
	static const char *const theirs[] = { "traceparent",
		                              "b3",
		                              "x-b3-traceid",
		                              "x-b3-spanid",
		                              "x-b3-parentspanid",
		                              "x-b3-sampled",
		                              "x-b3-flags",
		                              "uber-trace-id",
		                              "x-datadog-trace-id",
		                              "x-datadog-parent-id",
		                              "x-datadog-sampling-priority",
		                              "x-datadog-origin",
		                              "x-datadog-tags",
		                              "newrelic",
		                              "x-newrelic-id",
		                              "x-newrelic-transaction",
		                              "elastic-apm-traceparent",
		                              "x-instana-t",
		                              "x-instana-s",
		                              "x-instana-l",
		                              "sw8",
		                              "x-ot-span-context",
		                              "ot-tracer-traceid",
		                              "ot-tracer-spanid",
		                              "ot-tracer-sampled",
		                              "singularityheader",
		                              "x-dynatrace" };
	static const char *const ordinary[] = { "host",
		                                "accept",
		                                "user-agent",
		                                "content-length",
		                                "transfer-encoding",
		                                "baggage",
		                                "tracestate",
		                                "x-trace-id",
		                                "x-request-id",
		                                "x-amzn-trace-id",
		                                "x-cloud-trace-context",
		                                "b",
		                                "te",
		                                "sw9",
		                                "traceparenx",
		                                "x-forwarded-for",
		                                "" };

	(void)state;
	for (size_t i = 0; i < sizeof(theirs) / sizeof(theirs[0]); i++)
		if (!propagate_is_trace_header(theirs[i], strlen(theirs[i])))
			fail_msg("%s: not known", theirs[i]);
	for (size_t i = 0; i < sizeof(ordinary) / sizeof(ordinary[0]); i++)
		if (propagate_is_trace_header(ordinary[i], strlen(ordinary[i])))
			fail_msg("%s: taken for a tracer's", ordinary[i]);
}

static void wants_names_every_header_that_is_understood(void **state)
{
	static const char *const wanted[] = { "traceparent",   "tracestate",  "baggage",      "b3",
		                              "x-b3-traceid",  "x-b3-spanid", "x-b3-sampled", "x-b3-flags",
		                              "uber-trace-id", "x-trace-id",  "x-request-id" };
	char name[LIMIT_HEADER_NAME + 2];

	(void)state;
	for (size_t i = 0; i < sizeof(wanted) / sizeof(wanted[0]); i++)
		assert_true(propagate_wants(wanted[i], strlen(wanted[i])));
	memset(name, 'a', sizeof(name));
	for (size_t len = 0; len <= sizeof(name); len++)
		assert_false(propagate_wants(name, len));
}

static void nothing_unfit_is_written_even_if_it_got_into_the_context(void **state)
{
	char inside[] = "ok=1\r\nX-Evil: 1";

	(void)state;
	RECEIVE("traceparent", PARENT);
	ctx.text = (struct text){ inside, sizeof(inside) - 1, sizeof(inside) - 1 };
	ctx.tracestate = ctx.baggage = ctx.correlation[0] = (struct slice){ 0, sizeof(inside) - 1 };
	assert_string_equal(sent(0), "traceparent: 00-" TRACE "-cafe000000000001-01\r\nx-trace-id: " TRACE "\r\n");
	assert_int_equal(counters_get(ids_invalid), 3);
	ctx.text.len = 1; /* so these lie beyond the area */
	ctx.tracestate = ctx.baggage = ctx.correlation[0] = (struct slice){ 0, 2 };
	assert_string_equal(sent(0), "traceparent: 00-" TRACE "-cafe000000000001-01\r\nx-trace-id: " TRACE "\r\n");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(without_a_caller_a_trace_is_fresh_random_and_sampled),
		TEST(b3_in_one_header_is_read_in_all_its_forms),
		TEST(an_invalid_b3_header_is_counted_and_not_believed),
		TEST(b3_in_several_headers_needs_trace_and_span),
		TEST(jaegers_header_is_read_with_short_and_encoded_forms),
		TEST(w3c_is_believed_first_then_the_configured_order_then_the_others),
		TEST(an_invalid_traceparent_leaves_the_word_to_the_other_formats),
		TEST(a_plain_id_that_is_a_trace_id_or_a_uuid_becomes_the_trace_id),
		TEST(another_plain_id_travels_beside_a_fresh_trace),
		TEST(a_plain_id_that_is_not_valid_is_replaced_by_the_trace_id),
		TEST(baggage_goes_on_unchanged_and_joined),
		TEST(baggage_that_is_not_valid_or_too_long_is_dropped_and_counted),
		TEST(mapped_headers_become_fields_the_first_occurrence_wins),
		TEST(a_long_field_is_cut_before_a_character_that_would_be_split),
		TEST(baggage_members_become_decoded_fields_and_invalid_ones_do_not),
		TEST(a_full_text_area_refuses_and_counts),
		TEST(the_environment_carries_a_trace_into_the_process),
		TEST(the_configured_headers_are_sent_in_their_order),
		TEST(what_the_program_sends_itself_is_never_added),
		TEST(headers_of_other_tracers_are_known_and_ordinary_ones_are_not),
		TEST(wants_names_every_header_that_is_understood),
		TEST(nothing_unfit_is_written_even_if_it_got_into_the_context),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

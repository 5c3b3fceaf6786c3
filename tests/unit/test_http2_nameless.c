/*
 * Requests of HTTP/2 that nobody has asked for (http2_nameless.c): a connection that takes the short ways knows at each moment what
 * one knows that has all its bytes read by the scanner.
 */
#include "core_fixture.h"

#include "http2_conn.h"

#define END_STREAM 1u
#define END_HEADERS 4u
#define PADDED 8u

static char bytes[1 << 16];
static size_t bytes_len;

static void add_frame(unsigned type, unsigned flags, uint32_t stream, const void *payload, size_t len)
{
	unsigned char head[HTTP2_FRAME_HEAD] = {
		(unsigned char)(len >> 16),    (unsigned char)(len >> 8),    (unsigned char)len,
		(unsigned char)type,           (unsigned char)flags,         (unsigned char)(stream >> 24),
		(unsigned char)(stream >> 16), (unsigned char)(stream >> 8), (unsigned char)stream
	};

	CHECK(bytes_len + sizeof(head) + len <= sizeof(bytes));
	memcpy(bytes + bytes_len, head, sizeof(head));
	memcpy(bytes + bytes_len + sizeof(head), payload, len);
	bytes_len += sizeof(head) + len;
}

static unsigned long seed;

static unsigned next_random(unsigned below)
{
	seed = seed * 6364136223846793005ul + 1442695040888963407ul;
	return (unsigned)(seed >> 33) % below;
}

/* GET http / of some host, as fields of the static table; the second one enters its host in the table. */
static const char *const heads[] = { "\x82\x86\x84\x01\x01h", "\x82\x86\x84\x41\x01h", "\x82\x86\x84\x01\x02hh",
	                             "\x82\x86" };

static void add_head(unsigned which, unsigned flags, uint32_t stream)
{
	add_frame(HTTP2_FRAME_HEADERS, flags | END_HEADERS, stream, heads[which], strlen(heads[which]));
}

static int fd;
static uint32_t last; /* highest stream */

static struct http2_conn *http2(void)
{
	return http2_of(core_conn(fd));
}

static bool is_followed(void)
{
	return core_conn(fd)->mode == CONN_PROTOCOL;
}

static void wait_in_loop(void)
{
	current_wait_loop(-1);
	current_wait_loop_done(1);
}

/* ---- what is known, told as numbers: by the short ways they are put down, by the long one compared ---- */

static bool is_long;
static uint64_t told[1 << 14];
static size_t told_count, told_at;

static void tell(const char *what, uint64_t number)
{
	if (!is_long) {
		CHECK(told_count < sizeof(told) / sizeof(told[0]));
		told[told_count++] = number;
		return;
	}
	CHECK(told_at < told_count);
	if (told[told_at] != number) {
		fprintf(stderr, "%s: %s is %llu by the short ways, %llu by the long one\n", core_case, what,
		        (unsigned long long)told[told_at], (unsigned long long)number);
		_exit(1);
	}
	told_at++;
}

static void tell_all(void)
{
	const struct request *known = current_known();
	const struct http2_stream *only;

	tell("mode", core_conn(fd)->mode);
	tell("whether a request is known", known != NULL);
	tell("requests that wait", request_waiting());
	tell("count", counters_get(requests));
	tell("count of HTTP/2", counters_get(requests_http2));
	if (!is_followed())
		return;
	only = http2_only_unanswered(http2());
	CHECK(core_conn(fd)->only == (only != NULL ? only->ex.request : NULL));
	tell("the only one", only != NULL ? only->id : 0);
	tell("whether that is known", only != NULL && known == only->ex.request);
	tell("open", http2()->open);
	tell("unanswered", http2()->unanswered);
	tell("untracked", http2()->untracked);
	for (int side = 0; side < 2; side++) {
		tell("bytes", http2()->scanner.half[side].taken);
		tell("highest", http2()->scanner.half[side].last);
		tell("left", http2_left(&http2()->scanner.half[side]));
		tell("between frames", http2_between_frames(&http2()->scanner, side));
	}
	for (uint32_t id = 1; id <= last;) {
		uint64_t there = 0;

		for (int bit = 0; bit < 64 && id <= last; bit++, id += 2)
			there |= (uint64_t)http2_has_stream(http2(), id) << bit;
		tell("streams", there);
	}
}

static void tell_stream(uint32_t id)
{
	const struct http2_stream *s = http2_find_stream(http2(), id);

	CHECK(!http2_is_nameless(http2(), id));
	tell("there", s != NULL);
	if (s == NULL)
		return;
	tell("head read", s->ex.request_headed);
	tell("all read", s->ex.request_done);
	tell("begun", s->ex.response_begun);
	tell("state", s->ex.request->state);
	tell("multiplexed", s->ex.request->multiplexed);
	tell("process", s->ex.request->waiting);
	tell("flags", s->ex.request->ctx.flags);
	CHECK(memcmp(s->ex.request->ctx.trace_id, (char[16]){ 0 }, 16) != 0);
}

static bool in_pieces;

/* What was added, received or sent at once, or in two pieces. */
static void pass_bytes(bool sending)
{
	size_t cut = in_pieces && next_random(4) == 0 ? next_random((unsigned)bytes_len + 1) : bytes_len;
	struct iovec iov[2] = { { bytes, cut }, { bytes + cut, bytes_len - cut } };
	struct wire w = { 0 };

	wait_in_loop();
	if (sending) {
		CHECK_INT(wire_sendv(&w, fd, iov, 2), bytes_len);
	} else {
		core_receive(fd, bytes, cut);
		if (cut < bytes_len)
			core_receive(fd, bytes + cut, bytes_len - cut);
	}
	wire_free(&w);
	tell_all();
	bytes_len = 0;
}

static void begin(bool the_long_way)
{
	is_long = the_long_way;
	told_at = 0;
	if (!is_long)
		told_count = 0;
	last = 0;
	counters_private.counter[STATUS_requests] = counters_private.counter[STATUS_requests_http2] = 0;
	fd = core_accept(true);
	bytes_len = HTTP2_PREFACE_LEN;
	memcpy(bytes, HTTP2_PREFACE, HTTP2_PREFACE_LEN);
	add_frame(4, 0, 0, "", 0);
	wait_in_loop();
	core_receive(fd, bytes, bytes_len);
	bytes_len = 0;
	CHECK(http2()->may_be_nameless);
	http2()->may_be_nameless = !is_long;
	add_frame(4, 0, 0, "", 0);
	pass_bytes(true);
}

static void end(void)
{
	wait_in_loop();
	core_close(fd);
	CHECK_INT(request_waiting(), 0);
	CHECK(!is_long || told_at == told_count);
}

/* ---- sessions ---- */

static unsigned settings_of_client, settings_of_server; /* not acknowledged */

static uint32_t any_stream(void)
{
	return last == 0 ? 1 : 1 + 2 * next_random((last + 1) / 2);
}

static void ask(void)
{
	static const char reset[4] = { 0, 0, 0, 8 };
	unsigned head = next_random(3) == 0 ? next_random(4) : 0;

	for (unsigned n = 1 + next_random(30); n > 0; n--) {
		switch (next_random(24)) {
		case 0: add_frame(8, 0, 0, "\0\0\1\0", 4); break;
		case 1:
			for (; settings_of_server > 0; settings_of_server--)
				add_frame(4, 1, 0, "", 0);
			if (next_random(4) == 0)
				add_frame(HTTP2_FRAME_HEADERS, END_HEADERS | END_STREAM, last += 2 - (last == 0), "",
				          0);
			break;
		case 2:
			if (settings_of_client < 4 && ++settings_of_client > 0)
				add_frame(4, 0, 0, "\0\1\0\0\4\0", 6);
			break;
		case 3: head = next_random(4); break;
		case 4:
			if (last > 0)
				add_frame(HTTP2_FRAME_RST_STREAM, 0, any_stream(), reset, 4);
			break;
		case 5:
			add_head(head, 0, last += 2 - (last == 0));
			add_frame(HTTP2_FRAME_DATA, END_STREAM, last, "body", 4);
			break;
		case 6: add_frame(8, 0, any_stream(), "\0\0\1\0", 4); break;
		case 7:
			add_head(head, next_random(2), next_random(4) == 0 ? any_stream() : (last += 2 - (last == 0)));
			break;
		default: add_head(head, END_STREAM, last += 2 - (last == 0)); break;
		}
	}
	if (bytes_len > 0)
		pass_bytes(false);
}

static void answer(void)
{
	static const char reset[4] = { 0, 0, 0, 8 };
	const char padded[6] = { next_random(30) == 0 ? 6 : 3, 'h', 'i' };

	for (unsigned n = 1 + next_random(40); n > 0 && last > 0; n--) {
		uint32_t id = next_random(3) == 0 || last < 60 ? any_stream() : last - 2 * next_random(30);

		switch (next_random(12)) {
		case 0: add_frame(HTTP2_FRAME_HEADERS, END_HEADERS | END_STREAM, id, "\x88", 1); break;
		case 1: add_frame(HTTP2_FRAME_DATA, END_STREAM | PADDED, id, padded, 6); break;
		case 2: add_frame(HTTP2_FRAME_RST_STREAM, 0, id, reset, 4); break;
		case 3: add_frame(6, 0, 0, "12345678", 8); break;
		case 4:
			add_frame(HTTP2_FRAME_HEADERS, 0, id, "\x88", 1);
			add_frame(9, END_HEADERS, id, "\x8c", 1);
			break;
		case 5:
			if (settings_of_server < 4 && ++settings_of_server > 0)
				add_frame(4, 0, 0, "\0\1\0\0\x10\0", 6);
			for (; settings_of_client > 0; settings_of_client--)
				add_frame(4, 1, 0, "", 0);
			break;
		case 6: add_frame(HTTP2_FRAME_DATA, 0, id, "some", 4); break;
		case 7: add_frame(HTTP2_FRAME_DATA, END_STREAM, id, "", 0); break;
		case 8: add_frame(HTTP2_FRAME_HEADERS, END_HEADERS, id, "\x88", 1); break;
		default:
			add_frame(HTTP2_FRAME_HEADERS, END_HEADERS, id, "\x88", 1);
			add_frame(HTTP2_FRAME_DATA, END_STREAM, id, "hello", 5);
			break;
		}
	}
	if (bytes_len > 0)
		pass_bytes(true);
}

/* All are answered, and then one comes alone, or two. */
static void begin_anew(void)
{
	for (uint32_t id = 1; id <= last; id += 2) {
		if (http2_has_stream(http2(), id)) {
			add_frame(HTTP2_FRAME_HEADERS, END_HEADERS, id, "\x88", 1);
			add_frame(HTTP2_FRAME_DATA, END_STREAM, id, "hello", 5);
		}
	}
	if (bytes_len > 0)
		pass_bytes(true);
	if (!is_followed())
		return;
	for (unsigned n = 1 + next_random(2); n > 0; n--)
		add_head(0, END_STREAM, last += 2 - (last == 0));
	pass_bytes(false);
}

static unsigned nameless, alone; /* how often there was one */

static void run_session(unsigned long number, bool the_long_way)
{
	seed = number;
	in_pieces = true;
	settings_of_client = settings_of_server = 1; /* of begin */
	begin(the_long_way);
	for (unsigned step = 0; step < 40 && is_followed(); step++) {
		if (next_random(5) == 0)
			begin_anew();
		else if (next_random(2) == 0)
			ask();
		else
			answer();
		if (!is_followed())
			break;
		for (unsigned i = 0; i < HTTP2_BUCKETS; i++)
			nameless += http2()->nameless[i] != 0;
		alone += core_conn(fd)->only != NULL;
		if (next_random(4) == 0)
			tell_stream(any_stream());
		/* In a child: what is there was counted in the parent. */
		if (next_random(60) == 0) {
			request_after_fork();
			CHECK_INT(request_waiting(), 0);
		}
	}
	end();
}

CORE_TEST(a_connection_knows_the_same_by_the_short_ways_and_by_the_long_one)
{
	for (unsigned long number = 1; number <= 150; number++) {
		uint16_t process = request_process();
		char text[32];

		snprintf(text, sizeof(text), "session %lu", number);
		core_case = text;
		run_session(number, false);
		while (request_process() != process)
			request_after_fork();
		run_session(number, true);
	}
	CHECK(nameless > 1000);
	CHECK(alone > 10);
}

static void ask_for(unsigned number)
{
	for (; number > 0; number--)
		add_head(0, END_STREAM, last += 2 - (last == 0));
	pass_bytes(false);
}

CORE_TEST(of_many_requests_the_last_one_in_hand_gets_a_name)
{
	begin(false);
	ask_for(1);
	CHECK(!http2_is_nameless(http2(), 1));
	CHECK_INT(http2()->nameless_open, 0);
	CHECK(current_known() != NULL);
	ask_for(20);
	CHECK(current_known() == NULL);
	CHECK_INT(http2()->unanswered, 21);
	CHECK(!http2_is_nameless(http2(), 1));
	CHECK(http2_is_nameless(http2(), 3));
	CHECK(http2_is_nameless(http2(), 41));
	CHECK_INT(counters_get(requests_http2), 21);
	CHECK_INT(request_waiting(), 21);
	for (uint32_t id = 1; id <= 41; id += 2) {
		add_frame(HTTP2_FRAME_HEADERS, END_HEADERS, id, "\x88", 1);
		if (id != 21)
			add_frame(HTTP2_FRAME_DATA, END_STREAM, id, "hello", 5);
	}
	pass_bytes(true);
	CHECK_INT(http2()->unanswered, 1);
	CHECK_INT(request_waiting(), 1);
	CHECK(!http2_is_nameless(http2(), 21));
	CHECK_INT(request_state(core_conn(fd)->only), REQUEST_RESPONDING);
	end();
}

CORE_TEST(a_request_that_gets_no_name_for_want_of_memory_is_not_followed)
{
	begin(false);
	ask_for(1);
	ask_for(3);
	CHECK(http2_is_nameless(http2(), 5));
	core_fail_takes(1, 1000);
	CHECK(http2_find_stream(http2(), 5) == NULL);
	core_fail_takes(0, 0);
	CHECK(http2()->untracked);
	CHECK_INT(http2()->open, 3);
	CHECK_INT(http2()->unanswered, 3);
	CHECK_INT(request_waiting(), 3);
	CHECK(!http2_has_stream(http2(), 5));
	CHECK(http2_has_stream(http2(), 7));
	end();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_connection_knows_the_same_by_the_short_ways_and_by_the_long_one),
		cmocka_unit_test(of_many_requests_the_last_one_in_hand_gets_a_name),
		cmocka_unit_test(a_request_that_gets_no_name_for_want_of_memory_is_not_followed),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

/*
 * Sessions of TLS: which connection they speak for, and what of a write reaches the peer, with a library that refuses.
 *
 * long: what is tried is states of one session, by one library.
 */
#include "core_fixture.h"

#include "contexts.h"

#include "tls_fake.h"

#define GET "GET / HTTP/1.1\r\nHost: b\r\n\r\n"
#define ASKED "GET / HTTP/1.1\r\nHost: a\r\n" CORE_PARENT "\r\n"
#define ASKED_OTHER "GET / HTTP/1.1\r\nHost: a\r\n" CORE_OTHER_PARENT "\r\n"
#define OK "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"

static unsigned long seed;

static unsigned next_random(void)
{
	seed = seed * 6364136223846793005ul + 1442695040888963407ul;
	return (unsigned)(seed >> 33);
}

static unsigned always_refused(void)
{
	return 0;
}

/* A request of CORE_TRACE that this thread works for. */
static int serve_one(void)
{
	int fd = core_accept(false);

	core_receive_text(fd, ASKED);
	CHECK_KNOWN(CORE_TRACE);
	return fd;
}

static void write_in_mood(unsigned long from, bool partial, bool moving)
{
	static char own[40000], wanted[60000];
	int served = serve_one(), fd = core_connect(), i;
	struct fake f = {
		.fd = fd, .role = CONN_OUTGOING, .partial = partial, .moving = moving, .random = next_random
	};
	size_t len = 0, body;

	seed = from;
	for (i = 0; i < 4; i++) {
		body = next_random() % 4 == 0 ? next_random() % 6000 : next_random() % 40;
		len += (size_t)sprintf(own + len,
		                       "POST /%d HTTP/1.1\r\nHost: b\r\nX: %0*d\r\nContent-Length: %zu\r\n\r\n", i,
		                       (int)(next_random() % 3 == 0 ? next_random() % 3000 + 1 : 1), i, body);
		memset(own + len, 'b', body);
		len += body;
	}
	fake_write_all(&f, own, len);
	CHECK(is_like(f.got, f.got_len, wanted, with_lines(wanted, own, len, CORE_INSERTED)));
	CHECK_INT(core_conn(fd)->mode, CONN_HTTP1);
	CHECK_INT(core_conn(fd)->depth, 4);
	fake_free(&f);
	core_close(fd);
	core_close(served);
	current_clear();
}

CORE_TEST(what_a_library_refuses_half_way_arrives_whole_and_once)
{
	unsigned long i;

	for (i = 1; i <= 400; i++)
		write_in_mood(i, i % 2 != 0, i % 4 >= 2);
	CHECK_INT(counters_get(calls), 1600);
	CHECK_INT(counters_get(calls_injected), 1600);
}

CORE_TEST(a_session_that_is_freed_in_the_midst_of_a_write_leaves_nothing)
{
	int served = serve_one(), fd = core_connect();
	struct fake f = { .fd = fd, .role = CONN_OUTGOING };

	f.random = always_refused;
	CHECK_INT(fake_write(&f, GET, sizeof(GET) - 1), -1);
	fake_free(&f);
	CHECK_INT(core_conn(fd)->mode, CONN_OPAQUE);
	core_close(fd);
	core_close(served);
}

static void forget(struct fake *f)
{
	f->inside = NULL;
	tls_forget(f);
}

/* By a callback, which no library expects; one that has its address then is another. */
CORE_TEST(a_session_that_is_freed_within_its_own_write_leaves_nothing)
{
	int how;

	for (how = 0; how < 8; how++) {
		int served = serve_one(), fd = how & 1 ? core_connect() : core_accept(false);
		struct fake f = { .fd = fd, .seldom = how & 2, .role = how & 1 ? CONN_OUTGOING : CONN_SERVED };
		const char *text = how & 1 ? GET : OK;

		config.response_header = CORE_NAME("x-trace");
		if (!(how & 1)) {
			fake_read(&f, ASKED, sizeof(ASKED) - 1, false);
			fake_write_all(&f, OK, sizeof(OK) - 1);
			fake_read(&f, ASKED, sizeof(ASKED) - 1, false);
		}
		f.inside = forget;
		f.random = how & 4 ? always_refused : NULL;
		f.partial = true;
		CHECK(fake_write(&f, text, strlen(text)) == (how & 4 ? -1 : (long)strlen(text)));
		fake_free(&f);
		f = (struct fake){ .fd = core_accept(false), .role = CONN_SERVED };
		fake_read(&f, ASKED, sizeof(ASKED) - 1, false);
		fake_write_all(&f, OK, sizeof(OK) - 1);
		CHECK_INT(core_conn(f.fd)->depth, 0);
		core_close(f.fd);
		fake_free(&f);
		core_close(fd);
		core_close(served);
	}
}

/* The first answers make the head known. With a line in each, and without. */
CORE_TEST(a_usual_answer_that_is_refused_or_taken_in_parts_arrives_whole_and_ends_its_request)
{
	static char answer[1200], wanted[5000];
	int fd = core_accept(true), how;
	struct fake f = { .fd = fd, .role = CONN_SERVED, .moving = true };
	size_t len = (size_t)sprintf(answer, "HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n%01000d", 7);

	for (how = 0; how < 8; how++) {
		bool line = how & 1;
		struct stream_heads *heads;

		config.response_header = line ? CORE_NAME("x-trace") : (struct config_name){ NULL, 0 };
		fake_read(&f, ASKED, sizeof(ASKED) - 1, false);
		CHECK_INT(core_conn(fd)->depth, 1);
		heads = served_find_head(answer, len);
		CHECK((heads != NULL) == (how > 0));
		stream_give_heads(heads);
		f.partial = how & 2;
		if (how & 4) {
			f.random = always_refused;
			CHECK_INT(fake_write(&f, answer, len), -1);
			CHECK(f.wants);
			f.random = NULL;
		}
		fake_write_all(&f, answer, len);
		CHECK_INT(core_conn(fd)->depth, 0);
		CHECK_INT(core_conn(fd)->mode, CONN_HTTP1);
		CHECK(is_like(f.got, f.got_len, wanted,
		              with_lines(wanted, answer, len,
		                         line ? "x-trace: ~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~\r\n" : "")));
		f.got_len = 0;
	}
	CHECK_INT(counters_get(requests), 8);
	CHECK_INT(counters_get(response_headers), 4);
	fake_free(&f);
	core_close(fd);
}

CORE_TEST(a_usual_call_that_is_refused_or_taken_in_parts_arrives_whole_and_is_one_call)
{
	static char call[1200], wanted[5000];
	int served = serve_one(), fd = core_connect(), how;
	struct fake f = { .fd = fd, .role = CONN_OUTGOING, .moving = true };
	size_t len = (size_t)sprintf(call, "POST / HTTP/1.1\r\nHost: b\r\nContent-Length: 1000\r\n\r\n%01000d", 7);

	for (how = 0; how < 8; how++) {
		bool known = !(how & 1);

		if (how == 1) {
			core_close(served);
			current_serve();
		}
		if (!known)
			current_clear();
		else if (how > 0)
			served = serve_one();
		f.partial = how & 2;
		if (how & 4) {
			f.random = always_refused;
			CHECK_INT(fake_write(&f, call, len), -1);
			CHECK(f.wants);
			f.random = NULL;
		}
		fake_write_all(&f, call, len);
		CHECK(is_like(f.got, f.got_len, wanted, with_lines(wanted, call, len, known ? CORE_INSERTED : "")));
		f.got_len = 0;
		fake_read(&f, OK, sizeof(OK) - 1, false);
		CHECK_INT(core_conn(fd)->depth, 0);
		CHECK_INT(core_conn(fd)->mode, CONN_HTTP1);
		if (known && how > 0)
			core_close(served);
	}
	CHECK_INT(counters_get(calls), 8);
	CHECK_INT(counters_get(calls_injected), 4);
	fake_free(&f);
	core_close(fd);
	current_clear();
}

CORE_TEST(what_was_begun_without_an_insertion_is_made_again_without_one)
{
	int fd = core_connect(), served;
	struct fake f = { .fd = fd, .role = CONN_OUTGOING, .moving = true };

	current_serve(); /* nobody is known, so nothing is inserted */
	f.random = always_refused;
	CHECK_INT(fake_write(&f, GET, sizeof(GET) - 1), -1);
	served = serve_one();
	f.random = NULL;
	f.wants = false;
	CHECK_INT(fake_write(&f, GET, sizeof(GET) - 1), sizeof(GET) - 1);
	CHECK(is_like(f.got, f.got_len, GET, sizeof(GET) - 1));
	fake_free(&f);
	core_close(fd);
	core_close(served);
}

CORE_TEST(cipher_text_on_the_descriptor_is_not_read)
{
	int fd = core_accept(false);
	struct fake f = { .fd = fd, .role = CONN_SERVED };
	struct tls_call call;

	CHECK(tls_begin(&call, &f, &fake_library, CONN_SERVED));
	core_receive_text(fd, "GET /cipher HTTP/1.1\r\nHost: a\r\n\r\n");
	tls_end(&call, CONN_SERVED);
	CHECK_INT(counters_get(requests), 0);
	fake_read(&f, ASKED, sizeof(ASKED) - 1, true);
	CHECK_INT(counters_get(requests), 0);
	fake_read(&f, ASKED, sizeof(ASKED) - 1, false);
	CHECK_INT(counters_get(requests), 1);
	CHECK_KNOWN(CORE_TRACE);
	core_send_text(fd, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
	CHECK_INT(core_conn(fd)->depth, 1);
	fake_write_all(&f, OK, sizeof(OK) - 1);
	CHECK_INT(core_conn(fd)->depth, 0);
	fake_free(&f);
	core_close(fd);
}

/* A handshake that used these descriptors, for a session that does not know its own. */
static void shake_hands(struct fake *f, int one, int other)
{
	struct tls_call call;

	CHECK(tls_begin(&call, f, &fake_library, f->role));
	core_receive_text(one, "\x16\x03\x01\x02");
	if (other >= 0)
		core_receive_text(other, "\x16\x03\x01\x02");
	tls_end(&call, f->role);
}

CORE_TEST(the_descriptor_that_the_handshake_used_is_the_sessions)
{
	int fd = core_accept(false);
	struct fake f = { .fd = -1, .role = CONN_SERVED };

	shake_hands(&f, fd, -1);
	fake_read(&f, ASKED, sizeof(ASKED) - 1, false);
	CHECK_INT(core_conn(fd)->mode, CONN_HTTP1);
	CHECK_INT(core_conn(fd)->depth, 1);
	fake_free(&f);
	core_close(fd);
}

CORE_TEST(two_descriptors_or_one_of_the_other_direction_are_nobodys)
{
	int fd = core_accept(false), other = core_accept(false), out = core_connect();
	struct fake two = { .fd = -1, .role = CONN_SERVED }, wrong = { .fd = -1, .role = CONN_SERVED };

	shake_hands(&two, fd, other);
	shake_hands(&wrong, out, -1);
	fake_read(&two, ASKED, sizeof(ASKED) - 1, false);
	fake_read(&wrong, ASKED, sizeof(ASKED) - 1, false);
	CHECK_INT(counters_get(requests), 2);
	CHECK_INT(core_conn(fd)->mode, CONN_OPAQUE);
	CHECK_INT(core_conn(other)->mode, CONN_OPAQUE);
	CHECK(conn_tls(core_conn(out)) == NULL);
	fake_free(&two);
	fake_free(&wrong);
	core_close(fd);
	core_close(other);
	core_close(out);
}

CORE_TEST(what_has_the_number_of_a_descriptor_that_could_not_be_the_sessions_is_not_taken_for_it)
{
	int fd = core_accept(false), other;
	struct fake f = { .fd = -1, .role = CONN_OUTGOING };

	shake_hands(&f, fd, -1);
	core_close(fd);
	core_next_fd = fd;
	other = core_connect();
	CHECK_INT(other, fd);
	fake_write_all(&f, GET, sizeof(GET) - 1);
	CHECK(conn_tls(core_conn(other)) == NULL);
	CHECK_INT(core_conn(other)->mode, CONN_FRESH);
	fake_free(&f);
	core_close(other);
}

CORE_TEST(a_session_whose_descriptor_was_closed_passes)
{
	int fd = core_accept(false);
	struct fake f = { .fd = fd, .role = CONN_SERVED };

	fake_read(&f, ASKED, sizeof(ASKED) - 1, false);
	core_close(fd);
	fake_write_all(&f, OK, sizeof(OK) - 1);
	CHECK(is_like(f.got, f.got_len, OK, sizeof(OK) - 1));
	fake_free(&f);
}

/* As asyncio has it: the program reads the cipher text itself, and gives it to the library. */
CORE_TEST(the_cipher_text_that_feeds_a_session_in_memory_is_nobodys_and_no_response)
{
	int fd = core_accept(true);
	struct fake f = { .fd = -1, .role = CONN_SERVED };
	struct context_mark mark;

	core_receive_text(fd, "\x16\x03\x01\x02");
	CHECK(contexts_mark(conn_find(fd), false, &mark));
	fake_read(&f, ASKED, sizeof(ASKED) - 1, false);
	tls_fed(tls_find(&f)->handle, fd);
	core_receive_text(fd, "\x17\x03\x03\x02");
	CHECK(!contexts_mark(conn_find(fd), false, &mark));
	CHECK(contexts_mark(tls_find(&f)->handle, true, &mark) && mark.kind == CONTEXT_REQUEST);
	current_read_request(served_answering(tls_find(&f)->handle.conn));
	core_send_text(fd, "\x17\x03\x03\x02");
	CHECK_KNOWN(CORE_TRACE);
	CHECK_INT(counters_get(context_contradictions), 0);
	fake_free(&f);
	core_receive_text(fd, ASKED_OTHER);
	CHECK_INT(counters_get(requests), 1);
	core_close(fd);
}

/* A program may leave a callback of the library by longjmp. */
CORE_TEST(who_never_came_back_from_the_library_takes_no_other_connection_for_cipher_text)
{
	int fd = core_accept(false), other;
	struct fake f = { .fd = fd, .role = CONN_SERVED };
	const struct conn *conn = core_conn(fd);
	struct tls_call call;

	fake_read(&f, ASKED, sizeof(ASKED) - 1, false);
	CHECK(!tls_is_below(fds_word(fd)));
	CHECK(tls_receive_begin(&call, &f, &fake_library));
	CHECK(tls_is_below(fds_word(fd)));
	core_close(fd);
	other = core_accept(false);
	CHECK(core_conn(other) == conn);
	CHECK(!tls_is_below(fds_word(other)));
	core_close(other);
	tls_end(&call, CONN_UNDECIDED);
	fake_free(&f);
}

CORE_TEST(a_session_that_was_left_by_longjmp_and_is_given_another_descriptor_is_that_ones)
{
	int fd = core_accept(false), other = core_accept(false);
	struct fake f = { .fd = fd, .role = CONN_SERVED };
	struct tls_call call;

	fake_read(&f, ASKED, sizeof(ASKED) - 1, false);
	CHECK(tls_receive_begin(&call, &f, &fake_library));
	tls_reset(&f);
	f.fd = other;
	tls_rebound(&f, other);
	fake_read(&f, ASKED_OTHER, sizeof(ASKED_OTHER) - 1, false);
	CHECK_INT(core_conn(other)->depth, 1);
	CHECK_INT(core_conn(fd)->mode, CONN_OPAQUE);
	tls_end(&call, CONN_UNDECIDED);
	fake_free(&f);
	core_close(fd);
	core_close(other);
}

CORE_TEST(a_session_that_another_holds_too_goes_on_when_one_lets_go_of_it)
{
	int served = serve_one(), fd = core_connect();
	struct fake f = { .fd = fd, .role = CONN_OUTGOING };
	char wanted[200];

	f.random = always_refused;
	CHECK_INT(fake_write(&f, GET, sizeof(GET) - 1), -1);
	tls_share(&f);
	tls_release(&f);
	f.random = NULL;
	CHECK_INT(fake_write(&f, GET, sizeof(GET) - 1), sizeof(GET) - 1);
	CHECK(is_like(f.got, f.got_len, wanted, with_lines(wanted, GET, sizeof(GET) - 1, CORE_INSERTED)));
	CHECK_INT(core_conn(fd)->depth, 1);
	tls_release(&f);
	CHECK_INT(core_conn(fd)->mode, CONN_OPAQUE);
	fake_free(&f);
	core_close(fd);
	core_close(served);
}

CORE_TEST(a_session_that_has_the_address_of_one_with_several_holders_is_another)
{
	int fd = core_accept(false), other = core_accept(false);
	struct fake f = { .fd = fd, .role = CONN_SERVED };

	tls_share(&f);
	tls_share(&f);
	fake_read(&f, ASKED, sizeof(ASKED) - 1, false);
	tls_forget(&f);
	f.fd = other;
	fake_read(&f, ASKED, sizeof(ASKED) - 1, false);
	CHECK_INT(core_conn(other)->mode, CONN_HTTP1);
	tls_release(&f);
	CHECK_INT(core_conn(other)->mode, CONN_OPAQUE);
	core_close(fd);
	core_close(other);
}

/* How many entries there are for the address. */
static int entries_of(const void *key)
{
	const struct tls *t = tls_place_of(tls_places, key);
	int count = 0;

	for (; t != NULL; t = t->next)
		count++;
	return count;
}

/* In an order in which the place itself is free while those behind it are not, and is taken again then. */
CORE_TEST(sessions_of_one_place_are_told_apart_and_their_entries_taken_again)
{
	static struct fake f[6] __attribute__((aligned(8192)));
	int i, k, round;

	for (round = 0; round < 3; round++) {
		for (i = 0; i < 6; i++) {
			f[i] = (struct fake){ .fd = core_accept(false), .role = CONN_SERVED };
			fake_read(&f[i], ASKED, sizeof(ASKED) - 1, false);
			CHECK(tls_find(&f[i])->handle.conn == core_conn(f[i].fd));
		}
		for (i = 0; i < 6; i++) {
			k = (5 * i + round) % 6;
			CHECK_INT(core_conn(f[k].fd)->depth, 1);
			fake_write_all(&f[k], OK, sizeof(OK) - 1);
			CHECK_INT(core_conn(f[k].fd)->depth, 0);
			fake_free(&f[k]);
			core_close(f[k].fd);
			if (i < 3) { /* another one, with an address of its own */
				f[k] = (struct fake){ .fd = core_accept(false), .role = CONN_SERVED };
				fake_read(&f[k], ASKED, sizeof(ASKED) - 1, false);
				CHECK(tls_find(&f[k])->handle.conn == core_conn(f[k].fd));
				fake_free(&f[k]);
				core_close(f[k].fd);
			}
			CHECK(tls_find(&f[k]) == NULL);
		}
	}
	CHECK(tls_place_of(tls_places, &f[0]) == tls_place_of(tls_places, &f[5]));
	CHECK_INT(entries_of(f), 6);
	CHECK(tls_cork(NULL) == NULL);
}

CORE_TEST(a_copy_of_its_descriptor_leaves_a_session_as_it_is)
{
	int served = serve_one(), fd = core_connect(), copy = core_next_fd++;
	struct fake f = { .fd = fd, .role = CONN_OUTGOING };
	char wanted[200];

	f.random = always_refused;
	CHECK_INT(fake_write(&f, GET, sizeof(GET) - 1), -1);
	fds_dup(fd, copy);
	core_close(fd);
	f.fd = copy;
	tls_rebound(&f, copy);
	f.random = NULL;
	CHECK_INT(fake_write(&f, GET, sizeof(GET) - 1), sizeof(GET) - 1);
	CHECK(is_like(f.got, f.got_len, wanted, with_lines(wanted, GET, sizeof(GET) - 1, CORE_INSERTED)));
	CHECK_INT(core_conn(copy)->depth, 1);
	fake_free(&f);
	core_close(copy);
	core_close(served);
}

CORE_TEST(what_a_server_may_refuse_and_get_again_is_no_call)
{
	int served = serve_one(), fd = core_connect();
	struct fake f = { .fd = fd, .role = CONN_OUTGOING };

	tls_pass(&f, &fake_library);
	fake_write_all(&f, GET, sizeof(GET) - 1);
	fake_write_all(&f, GET, sizeof(GET) - 1);
	CHECK(is_like(f.got, f.got_len, GET GET, sizeof(GET GET) - 1));
	CHECK_INT(counters_get(calls), 0);
	CHECK_INT(core_conn(fd)->mode, CONN_OPAQUE);
	fake_free(&f);
	core_close(fd);
	core_close(served);
}

/* nginx reads what comes after it has shut a session down from the socket itself, and logs at its end. */
CORE_TEST_FOR(what_is_read_past_a_session_is_its_connections_event, "nginx")
{
	int fd = core_accept(true), other = core_accept(true);
	struct fake f = { .fd = fd, .role = CONN_SERVED }, busy = { .fd = other, .role = CONN_SERVED };
	struct tls_call call;
	int how;

	for (how = 0; how < 2; how++) {
		current_wait_loop(-1);
		current_wait_loop_done(1);
		fake_read(&f, ASKED, sizeof(ASKED) - 1, false);
		CHECK_KNOWN(CORE_TRACE);
		fake_write_all(&f, OK, sizeof(OK) - 1);
		current_wait_loop(-1);
		current_wait_loop_done(2);
		fake_read(&busy, ASKED_OTHER, sizeof(ASKED_OTHER) - 1, false);
		fake_write_all(&busy, OK, sizeof(OK) - 1);
		CHECK_KNOWN(CORE_OTHER_TRACE);
		if (how == 0) {
			tls_shut(&f);
			CHECK(tls_begin(&call, &f, &fake_library, CONN_UNDECIDED));
			tls_end(&call, CONN_UNDECIDED);
		} else {
			core_receive(fd, "", 0);
		}
		CHECK_NOTHING_KNOWN();
	}
	fake_free(&f);
	fake_free(&busy);
	core_close(fd);
	core_close(other);
}

CORE_TEST(what_was_refused_while_there_was_no_memory_comes_again_as_it_was)
{
	int served = serve_one();
	struct fake f = { .fd = -1, .role = CONN_OUTGOING };

	core_fail_takes(1, 1000000);
	f.random = always_refused;
	CHECK_INT(fake_write(&f, GET, sizeof(GET) - 1), -1);
	core_fail_takes(0, 0);
	f.random = NULL;
	CHECK_INT(fake_write(&f, GET, sizeof(GET) - 1), sizeof(GET) - 1);
	CHECK(is_like(f.got, f.got_len, GET, sizeof(GET) - 1));
	fake_free(&f);
	core_close(served);
}

/* As GnuTLS has it: with an insertion in the midst, and with bytes that went as they were. */
CORE_TEST(what_was_refused_and_is_asked_for_by_no_bytes_arrives_whole)
{
	int served = serve_one(), fd = core_connect(), other = core_connect();
	struct fake f = { .fd = fd, .role = CONN_OUTGOING, .moving = true, .keeps = true }, plain = f;
	char wanted[200];

	f.random = always_refused;
	CHECK_INT(fake_write(&f, GET, sizeof(GET) - 1), -1);
	f.random = NULL;
	CHECK_INT(fake_write(&f, NULL, 0), sizeof(GET) - 1);
	CHECK(is_like(f.got, f.got_len, wanted, with_lines(wanted, GET, sizeof(GET) - 1, CORE_INSERTED)));
	plain.fd = other;
	plain.random = always_refused;
	current_serve();
	current_clear();
	CHECK_INT(fake_write(&plain, GET, sizeof(GET) - 1), -1);
	plain.random = NULL;
	CHECK_INT(fake_write(&plain, NULL, 0), sizeof(GET) - 1);
	CHECK(is_like(plain.got, plain.got_len, GET, sizeof(GET) - 1));
	/* Nobody read these: whose answer comes next is not known. */
	CHECK_INT(core_conn(fd)->mode, CONN_OPAQUE);
	CHECK_INT(core_conn(other)->mode, CONN_OPAQUE);
	fake_free(&f);
	fake_free(&plain);
	core_close(fd);
	core_close(other);
	core_close(served);
}

CORE_TEST(a_usual_answer_without_memory_for_its_line_goes_as_it_is)
{
	int fd = core_accept(true), i;
	struct fake f = { .fd = fd, .role = CONN_SERVED, .moving = true };

	config.response_header = CORE_NAME("x-trace");
	for (i = 0; i < 2; i++) {
		fake_read(&f, ASKED, sizeof(ASKED) - 1, false);
		fake_write_all(&f, OK, sizeof(OK) - 1);
	}
	fake_read(&f, ASKED, sizeof(ASKED) - 1, false);
	f.got_len = 0;
	f.random = always_refused;
	core_fail_takes(1, 100);
	CHECK_INT(fake_write(&f, OK, sizeof(OK) - 1), -1);
	core_fail_takes(0, 0);
	f.random = NULL;
	fake_write_all(&f, OK, sizeof(OK) - 1);
	CHECK(is_like(f.got, f.got_len, OK, sizeof(OK) - 1));
	CHECK_INT(core_conn(fd)->depth, 0);
	fake_free(&f);
	core_close(fd);
}

CORE_TEST(without_memory_it_passes)
{
	int fd = core_connect();
	struct fake f = { .fd = fd, .role = CONN_OUTGOING };

	core_fail_takes(1, 1000000);
	fake_write_all(&f, GET, sizeof(GET) - 1);
	CHECK(is_like(f.got, f.got_len, GET, sizeof(GET) - 1));
	core_fail_takes(0, 0);
	fake_free(&f);
	core_close(fd);
}

int main(void)
{
#define TEST(name) cmocka_unit_test(name)
	const struct CMUnitTest tests[] = {
		TEST(what_a_library_refuses_half_way_arrives_whole_and_once),
		TEST(a_session_that_is_freed_in_the_midst_of_a_write_leaves_nothing),
		TEST(a_session_that_is_freed_within_its_own_write_leaves_nothing),
		TEST(a_usual_answer_that_is_refused_or_taken_in_parts_arrives_whole_and_ends_its_request),
		TEST(a_usual_call_that_is_refused_or_taken_in_parts_arrives_whole_and_is_one_call),
		TEST(what_was_begun_without_an_insertion_is_made_again_without_one),
		TEST(cipher_text_on_the_descriptor_is_not_read),
		TEST(the_descriptor_that_the_handshake_used_is_the_sessions),
		TEST(two_descriptors_or_one_of_the_other_direction_are_nobodys),
		TEST(what_has_the_number_of_a_descriptor_that_could_not_be_the_sessions_is_not_taken_for_it),
		TEST(a_session_whose_descriptor_was_closed_passes),
		TEST(the_cipher_text_that_feeds_a_session_in_memory_is_nobodys_and_no_response),
		TEST(who_never_came_back_from_the_library_takes_no_other_connection_for_cipher_text),
		TEST(a_session_that_was_left_by_longjmp_and_is_given_another_descriptor_is_that_ones),
		TEST(a_session_that_another_holds_too_goes_on_when_one_lets_go_of_it),
		TEST(a_session_that_has_the_address_of_one_with_several_holders_is_another),
		TEST(sessions_of_one_place_are_told_apart_and_their_entries_taken_again),
		TEST(a_copy_of_its_descriptor_leaves_a_session_as_it_is),
		TEST(what_a_server_may_refuse_and_get_again_is_no_call),
		TEST(what_is_read_past_a_session_is_its_connections_event),
		TEST(what_was_refused_while_there_was_no_memory_comes_again_as_it_was),
		TEST(what_was_refused_and_is_asked_for_by_no_bytes_arrives_whole),
		TEST(a_usual_answer_without_memory_for_its_line_goes_as_it_is),
		TEST(without_memory_it_passes),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

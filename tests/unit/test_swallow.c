/*
 * Insertions that stand for bytes of the program's: whatever is taken of them, the peer gets each once and whole, without what it
 * stands for, and the program gets its own counts. The protocol is one of the tests' own: what stands in [brackets] goes out
 * as <it does, with more>, if it lies whole in the call.
 */
#include "core_fixture.h"

#include "protocol.h"
#include "tls_fake.h"

#define MORE "=0123456789"

static struct request *no_request(struct conn *conn, const char *in, size_t len)
{
	(void)conn, (void)in, (void)len;
	return NULL;
}

static char seen[1 << 16]; /* what the connection was told to be sent */
static size_t seen_len;

static void see(struct conn *conn, const char *out, size_t len, struct request *caller)
{
	(void)conn, (void)caller;
	memcpy(seen + seen_len, out, len);
	seen_len += len;
}

static enum protocol_whose write_nobodys(struct conn *conn, const struct iovec *iov, int count,
                                         struct request **request)
{
	(void)conn, (void)iov, (void)count, (void)request;
	return PROTOCOL_NOBODY;
}

static enum protocol_whose read_nobodys(struct conn *conn, struct request **request)
{
	(void)conn, (void)request;
	return PROTOCOL_NOBODY;
}

static char byte_at(const struct iovec *iov, size_t at)
{
	while (at >= iov->iov_len)
		at -= iov++->iov_len;
	return ((const char *)iov->iov_base)[at];
}

static bool find_brackets(struct conn *conn, const struct iovec *iov, int count, size_t offset,
                          struct stream_spot *spot)
{
	size_t total = stream_total(iov, count), at, end;

	(void)conn;
	spot->end = total;
	for (at = offset; at < total && byte_at(iov, at) != '['; at++)
		;
	for (end = at; end < total && byte_at(iov, end) != ']'; end++)
		;
	if (end >= total)
		return false;
	spot->at = at;
	spot->end = end + 1;
	return true;
}

static void replace_brackets(struct conn *conn, const struct protocol_call *call, struct stream_spot *spot,
                             struct insertion *ins)
{
	size_t at;

	(void)conn;
	ins->text[ins->len++] = '<';
	for (at = spot->at + 1; at < spot->end - 1; at++)
		ins->text[ins->len++] = byte_at(call->iov, at);
	memcpy(ins->text + ins->len, MORE ">", sizeof(MORE));
	ins->len += (uint32_t)sizeof(MORE);
	ins->swallow = (uint32_t)(spot->end - spot->at);
}

static void drop_nothing(struct conn *conn, struct protocol *protocol)
{
	(void)conn, (void)protocol;
}

static struct protocol brackets = { .received = no_request,
	                            .sent = see,
	                            .writes = write_nobodys,
	                            .reads = read_nobodys,
	                            .find_spot = find_brackets,
	                            .insert = replace_brackets,
	                            .drop = drop_nothing };

static int connect_brackets(void)
{
	int fd = core_connect();

	config.root = true;
	core_conn(fd)->mode = CONN_PROTOCOL;
	core_conn(fd)->protocol = &brackets;
	seen_len = 0;
	return fd;
}

/* What the peer has to get, if each piece of the program's bytes is whole in some call. */
static size_t expected_of(char *out, const char *own, size_t len)
{
	size_t i, to = 0;

	for (i = 0; i < len; i++) {
		if (own[i] == ']') {
			memcpy(out + to, MORE ">", sizeof(MORE));
			to += sizeof(MORE);
		} else {
			out[to++] = own[i] == '[' ? '<' : own[i];
		}
	}
	return to;
}

/* As programs do: again after EAGAIN, and the rest after a short write. In `vectors` pieces. */
static void send_all(struct wire *w, int fd, const char *bytes, size_t len, int vectors)
{
	size_t done = 0, rounds = 0;

	while (done < len) {
		struct iovec iov[20];
		size_t at = done;
		ssize_t n;
		int i;

		CHECK(++rounds < 20000);
		for (i = 0; i < vectors; i++) {
			size_t end = len * (size_t)(i + 1) / (size_t)vectors;

			iov[i].iov_base = (char *)(uintptr_t)bytes + at;
			iov[i].iov_len = end > at ? end - at : 0;
			at += iov[i].iov_len;
		}
		n = wire_sendv(w, fd, iov, vectors);
		CHECK(n != 0 && n <= (ssize_t)(len - done));
		if (n < 0)
			CHECK(errno == EAGAIN);
		else
			done += (size_t)n;
	}
}

/* Is it the program's bytes, each group replaced or, where no call held it whole, as it was? */
static bool is_sound(const struct wire *w, const char *own, size_t len)
{
	size_t i, to = 0;
	bool inside = false, replaced = false;

	for (i = 0; i < len; i++) {
		if (own[i] == '[') {
			replaced = to < w->len && w->bytes[to] == '<';
			inside = true;
		}
		if (own[i] == ']' && inside && replaced) {
			if (w->len - to < sizeof(MORE) || memcmp(w->bytes + to, MORE ">", sizeof(MORE)) != 0)
				return false;
			to += sizeof(MORE);
			inside = false;
			continue;
		}
		if (to >= w->len || w->bytes[to] != (own[i] == '[' && replaced ? '<' : own[i]))
			return false;
		to++;
	}
	return to == w->len;
}

static const char bytes[] = "begin[one]and[another one]behind[][x]";
#define LEN (sizeof(bytes) - 1)

CORE_TEST(what_is_replaced_goes_out_once_and_what_it_stands_for_does_not)
{
	char expected[200];
	size_t len = expected_of(expected, bytes, LEN);
	struct wire w = { 0 };
	int fd;

	fd = connect_brackets();
	CHECK_INT(wire_send(&w, fd, bytes, LEN), LEN);
	CHECK_INT(w.len, len);
	CHECK(memcmp(w.bytes, expected, len) == 0);
	CHECK_INT(seen_len, LEN);
	CHECK(memcmp(seen, bytes, LEN) == 0);
	CHECK_INT(counters_get(calls_injected), 4);
	wire_free(&w);
	core_close(fd);
}

/* Taken k bytes first; k twice; k each time; with refusals between: in one vector or several. */
CORE_TEST(a_replacement_is_whole_and_once_whatever_the_kernel_takes)
{
	static const int vectors[] = { 1, 2, 3, 7, 19 };
	int k, shape;
	size_t v;

	for (v = 0; v < sizeof(vectors) / sizeof(vectors[0]); v++) {
		for (shape = 0; shape < 4; shape++) {
			for (k = 1; k <= (int)LEN + 4 * (int)sizeof(MORE); k++) {
				int script[2048] = { 0 }, i, calls = shape == 0 ? 1 : shape == 1 ? 2 : 2047;
				struct wire w = { .script = script };
				int fd = connect_brackets();

				for (i = 0; i < calls; i++)
					script[i] = shape == 3 && i % 3 == 2 ? -EAGAIN : k;
				send_all(&w, fd, bytes, LEN, vectors[v]);
				CHECK(is_sound(&w, bytes, LEN));
				CHECK_INT(seen_len, LEN);
				CHECK(memcmp(seen, bytes, LEN) == 0);
				wire_free(&w);
				core_close(fd);
			}
		}
	}
	CHECK(counters_get(calls_injected) > 1000);
}

CORE_TEST(of_a_replacement_that_began_the_program_has_one_byte_left)
{
	int script[] = { 7, -EAGAIN, 0 };
	struct wire w = { .script = script };
	int fd = connect_brackets();

	CHECK_INT(wire_send(&w, fd, "begin[one]and", 13), 9);
	CHECK_INT(core_conn(fd)->pending->swallow, 1);
	CHECK_INT(wire_send(&w, fd, "]and", 4), -1);
	CHECK_INT(errno, EAGAIN);
	CHECK_INT(wire_send(&w, fd, "]", 1), 1);
	CHECK_INT(wire_send(&w, fd, "and", 3), 3);
	CHECK_WIRE(&w, "begin<one" MORE ">and");
	wire_free(&w);
	core_close(fd);
}

CORE_TEST(what_cannot_be_taken_apart_fails_where_a_byte_of_it_must_not_go_out)
{
	int script[] = { 7, 0 };
	struct wire w = { .script = script };
	int fd = connect_brackets();

	CHECK_INT(wire_send(&w, fd, "begin[one]and", 13), 9);
	CHECK(!io_send_rest(&w.emitter));
	CHECK_INT(errno, ENOBUFS);
	CHECK_INT(wire_send(&w, fd, "]and", 4), 4);
	CHECK(io_send_rest(&w.emitter));
	CHECK_WIRE(&w, "begin<one" MORE ">and");
	wire_free(&w);
	core_close(fd);
}

/* ---- TLS ---- */

static unsigned long seed;

static unsigned next_random(void)
{
	seed = seed * 6364136223846793005ul + 1442695040888963407ul;
	return (unsigned)(seed >> 33);
}

static size_t make_own(char *own)
{
	size_t len = 0;
	int i;

	for (i = 0; i < 5; i++) {
		size_t text = next_random() % 3 == 0 ? next_random() % 3000 : next_random() % 20;
		size_t group = next_random() % 3 == 0 ? next_random() % 7000 : next_random() % 20;

		memset(own + len, 't', text);
		len += text;
		own[len++] = '[';
		memset(own + len, 'g', group);
		len += group;
		own[len++] = ']';
	}
	return len;
}

CORE_TEST(what_a_library_of_tls_refuses_half_way_is_replaced_whole_and_once)
{
	static char own[60000];
	unsigned long mood;

	for (mood = 1; mood <= 600; mood++) {
		int fd = core_connect();
		struct fake f = { .fd = fd,
			          .role = CONN_OUTGOING,
			          .partial = mood % 2 != 0,
			          .moving = mood % 4 >= 2,
			          .random = next_random };
		struct wire w = { 0 };
		struct tls_call handshake;
		size_t len;

		seed = mood;
		len = make_own(own);
		config.root = true;
		CHECK(tls_begin(&handshake, &f, &fake_library, CONN_OUTGOING));
		tls_end(&handshake, CONN_OUTGOING);
		core_conn(fd)->mode = CONN_PROTOCOL;
		core_conn(fd)->protocol = &brackets;
		seen_len = 0;
		fake_write_all(&f, own, len);
		w.bytes = f.got;
		w.len = f.got_len;
		CHECK(is_sound(&w, own, len));
		CHECK_INT(seen_len, len);
		CHECK(memcmp(seen, own, len) == 0);
		fake_free(&f);
		core_close(fd);
	}
	CHECK(counters_get(calls_injected) > 1000);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_is_replaced_goes_out_once_and_what_it_stands_for_does_not),
		cmocka_unit_test(a_replacement_is_whole_and_once_whatever_the_kernel_takes),
		cmocka_unit_test(of_a_replacement_that_began_the_program_has_one_byte_left),
		cmocka_unit_test(what_cannot_be_taken_apart_fails_where_a_byte_of_it_must_not_go_out),
		cmocka_unit_test(what_a_library_of_tls_refuses_half_way_is_replaced_whole_and_once),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

/*
 * Connections that speak HTTP/2, driven as the hooks do it: what the peer gets, who works for what, and what it is known of.
 * The peer of a call is a scanner of its own, that reads what came out. long: one small world, and a test for each way through it.
 */
#include <pthread.h>

#include "core_fixture.h"

#include "contexts.h"
#include "http2_conn.h"
#include "tls_fake.h"

/* ---- frames ---- */

struct bytes {
	size_t len;
	char at[1 << 17];
};

static void add(struct bytes *b, const void *from, size_t len)
{
	CHECK(b->len + len <= sizeof(b->at));
	memcpy(b->at + b->len, from, len);
	b->len += len;
}

static void add_frame(struct bytes *b, unsigned type, unsigned flags, uint32_t stream, const void *payload, size_t len)
{
	unsigned char head[9] = {
		(unsigned char)(len >> 16),    (unsigned char)(len >> 8),    (unsigned char)len,
		(unsigned char)type,           (unsigned char)flags,         (unsigned char)(stream >> 24),
		(unsigned char)(stream >> 16), (unsigned char)(stream >> 8), (unsigned char)stream
	};

	add(b, head, sizeof(head));
	add(b, payload, len);
}

#define END_STREAM 1u
#define END_HEADERS 4u

static size_t put(char *out, size_t at, const char *name, const char *value)
{
	return at + http2_put_field(out + at, 60000 - at, name, strlen(name), value, strlen(value));
}

/* "name value name value ... NULL" */
static void add_block(struct bytes *b, unsigned flags, uint32_t stream, const char *const *fields)
{
	static char block[60000];
	size_t len = 0;

	for (; *fields != NULL; fields += 2)
		len = put(block, len, fields[0], fields[1]);
	add_frame(b, HTTP2_FRAME_HEADERS, flags | END_HEADERS, stream, block, len);
}

#define REQUEST ":method", "GET", ":scheme", "http", ":path", "/a", ":authority", "peer.example"

static void add_request(struct bytes *b, uint32_t stream, unsigned flags)
{
	static const char *const fields[] = { REQUEST, NULL };

	add_block(b, flags, stream, fields);
}

static void add_request_of(struct bytes *b, uint32_t stream, unsigned flags, const char *parent)
{
	const char *fields[] = { REQUEST, "traceparent", parent, NULL };

	add_block(b, flags, stream, fields);
}

static void add_response(struct bytes *b, uint32_t stream, unsigned flags)
{
	static const char *const fields[] = { ":status", "200", "content-type", "text/plain", NULL };

	add_block(b, flags, stream, fields);
}

static void add_settings(struct bytes *b)
{
	add_frame(b, 4, 0, 0, "", 0);
}

static void add_preface(struct bytes *b)
{
	add(b, HTTP2_PREFACE, HTTP2_PREFACE_LEN);
	add_settings(b);
}

#define PARENT "00-" CORE_TRACE "-b7ad6b7169203331-01"
#define OTHER_PARENT "00-" CORE_OTHER_TRACE "-b7ad6b7169203331-01"

/* ---- a peer that reads ---- */

struct heard {
	char traces[400][56]; /* by stream: its traceparent */
	uint8_t times[400];   /* how often it had one */
	size_t fields, heads, ended;
	uint64_t data;
};

static void hear_field(void *owner, const struct http2_block *block, const char *name, size_t name_len,
                       const char *value, size_t value_len)
{
	struct heard *heard = owner;

	heard->fields++;
	CHECK(block->stream < 400);
	if (name_len != 11 || memcmp(name, "traceparent", 11) != 0)
		return;
	CHECK_INT(value_len, 55);
	memcpy(heard->traces[block->stream], value, 55);
	heard->times[block->stream]++;
}

static void hear_data(void *owner, uint32_t stream, size_t len)
{
	(void)stream;
	((struct heard *)owner)->data += len;
}

/* Everything that one side sent; it has to be sound. */
static void hear(struct heard *heard, enum http2_side from, const char *bytes, size_t len)
{
	struct http2 scanner;
	struct http2_sink sink = { .field = hear_field, .data = hear_data, .owner = heard };
	size_t used;

	memset(heard, 0, sizeof(*heard));
	http2_init(&scanner, false);
	while (len > 0) {
		enum http2_status status = http2_feed(&scanner, from, &sink, bytes, len, &used);

		CHECK(status != HTTP2_ALIEN);
		if (status == HTTP2_BLOCK) {
			CHECK(scanner.half[from].block.sound);
			heard->heads++;
			heard->ended += scanner.half[from].block.end_stream;
		}
		heard->ended += status == HTTP2_END;
		bytes += used;
		len -= used;
	}
	CHECK(http2_between_frames(&scanner, from));
	http2_free(&scanner);
}

/* ---- calls ---- */

static int served; /* the connection whose request this thread works for */

static void work_for(const char *parent)
{
	served = core_accept(false);
	core_receive_text(served, "GET / HTTP/1.1\r\nHost: us\r\n");
	core_receive_text(served, parent);
	core_receive_text(served, "\r\n");
}

static ssize_t send_bytes(struct wire *w, int fd, const struct bytes *b)
{
	return wire_send(w, fd, b->at, b->len);
}

CORE_TEST(a_call_by_http2_carries_the_trace_on)
{
	static struct bytes b;
	struct heard heard;
	struct wire w = { 0 };
	int fd;

	work_for(CORE_PARENT);
	fd = core_connect();
	add_preface(&b);
	add_request(&b, 1, END_STREAM);
	CHECK_INT(send_bytes(&w, fd, &b), b.len);
	hear(&heard, HTTP2_CLIENT, w.bytes, w.len);
	CHECK_INT(heard.heads, 1);
	CHECK_INT(heard.ended, 1);
	CHECK_INT(heard.fields, 5);
	CHECK(memcmp(heard.traces[1], "00-" CORE_TRACE, 35) == 0);
	CHECK_INT(counters_get(calls), 1);
	CHECK_INT(counters_get(calls_http2), 1);
	CHECK_INT(counters_get(calls_injected), 1);
	CHECK_INT(counters_get(http2_connections), 1);
	wire_free(&w);
	core_close(fd);
	core_close(served);
}

/* One call of the program, many heads: few real calls. */
CORE_TEST(many_heads_in_one_call_go_out_in_few_calls)
{
	static struct bytes b;
	struct heard heard;
	struct wire w = { 0 };
	uint32_t id;
	int fd;

	work_for(CORE_PARENT);
	fd = core_connect();
	add_preface(&b);
	for (id = 1; id < 200; id += 2) {
		add_request(&b, id, END_STREAM);
		add_frame(&b, 6, 0, 0, "12345678", 8);
	}
	CHECK_INT(send_bytes(&w, fd, &b), b.len);
	hear(&heard, HTTP2_CLIENT, w.bytes, w.len);
	CHECK_INT(heard.ended, 100);
	for (id = 1; id < 200; id += 2)
		CHECK(heard.times[id] == 1 && memcmp(heard.traces[id], "00-" CORE_TRACE, 35) == 0);
	CHECK_INT(counters_get(calls_injected), 100);
	CHECK(w.calls < 10);
	wire_free(&w);
	core_close(fd);
	core_close(served);
}

struct sending {
	struct wire wire;
	struct bytes bytes;
	int fd;
};

static void *send_some(void *arg)
{
	struct sending *s = arg;

	CHECK_INT(send_bytes(&s->wire, s->fd, &s->bytes), s->bytes.len);
	return NULL;
}

/* One head, sent by this thread or by another. */
static void send_head(struct sending *s, uint32_t id, bool elsewhere)
{
	pthread_t thread;

	s->bytes.len = 0;
	if (id == 1)
		add_preface(&s->bytes);
	add_request(&s->bytes, id, END_STREAM);
	if (!elsewhere) {
		send_some(s);
		return;
	}
	CHECK_INT(pthread_create(&thread, NULL, send_some, s), 0);
	CHECK_INT(pthread_join(thread, NULL), 0);
}

CORE_TEST(a_connection_that_threads_share_says_nothing_while_another_request_waits)
{
	static struct sending s;
	struct heard heard;
	int other;

	memset(&s, 0, sizeof(s));
	work_for(CORE_PARENT);
	other = core_accept(false);
	core_receive_text(other, "GET / HTTP/1.1\r\n" CORE_OTHER_PARENT "\r\n");
	current_read_request(served_answering(conn_find(served).conn)); /* back to the first one */
	s.fd = core_connect();
	send_head(&s, 1, false); /* the thread's own connection, so far */
	send_head(&s, 3, true);
	send_head(&s, 5, false); /* may be what the other thread has left in a queue */
	core_send_text(other, "HTTP/1.1 204 No Content\r\n\r\n");
	current_read_request(served_answering(conn_find(served).conn));
	send_head(&s, 7, false); /* nobody else can have made it */
	hear(&heard, HTTP2_CLIENT, s.wire.bytes, s.wire.len);
	CHECK_INT(heard.heads, 4);
	CHECK_INT(heard.times[1], 1);
	CHECK_INT(heard.times[3], 0);
	CHECK_INT(heard.times[5], 0);
	CHECK(heard.times[7] == 1 && memcmp(heard.traces[7], "00-" CORE_TRACE, 35) == 0);
	wire_free(&s.wire);
	core_close(s.fd);
	core_close(other);
	core_close(served);
}

CORE_TEST(several_heads_in_one_write_are_nobodys_while_another_request_waits)
{
	static struct bytes b;
	struct heard heard;
	struct wire w = { 0 };
	int fd, other;

	work_for(CORE_PARENT);
	other = core_accept(false);
	core_receive_text(other, "GET / HTTP/1.1\r\n" CORE_OTHER_PARENT "\r\n");
	current_read_request(served_answering(conn_find(served).conn));
	fd = core_connect();
	b.len = 0;
	add_preface(&b);
	add_request(&b, 1, END_STREAM);
	add_request(&b, 3, END_STREAM);
	CHECK_INT(send_bytes(&w, fd, &b), b.len);
	hear(&heard, HTTP2_CLIENT, w.bytes, w.len);
	CHECK_INT(heard.heads, 2);
	CHECK_INT(heard.times[1] + heard.times[3], 0);
	CHECK_INT(counters_get(calls_unknown), 2);
	wire_free(&w);
	core_close(fd);
	core_close(other);
	core_close(served);
}

CORE_TEST(a_call_without_a_request_is_a_trace_of_its_own_each)
{
	static struct bytes b;
	struct heard heard;
	struct wire w = { 0 };
	int fd;

	config.root = true;
	fd = core_connect();
	add_preface(&b);
	add_request(&b, 1, END_STREAM);
	add_request(&b, 3, END_STREAM);
	CHECK_INT(send_bytes(&w, fd, &b), b.len);
	hear(&heard, HTTP2_CLIENT, w.bytes, w.len);
	CHECK(heard.times[1] == 1 && heard.times[3] == 1);
	CHECK(memcmp(heard.traces[1] + 3, heard.traces[3] + 3, 32) != 0);
	wire_free(&w);
	core_close(fd);
}

CORE_TEST(a_head_of_a_trace_or_a_host_of_its_own_is_left_alone)
{
	static struct bytes b;
	struct wire w = { 0 };
	int fd;

	config.propagate_hosts = CORE_NAME("other.example");
	work_for(CORE_PARENT);
	fd = core_connect();
	add_preface(&b);
	add_request_of(&b, 1, END_STREAM, OTHER_PARENT);
	add_request(&b, 3, END_STREAM);
	CHECK_INT(send_bytes(&w, fd, &b), b.len);
	CHECK_INT(w.len, b.len);
	CHECK(memcmp(w.bytes, b.at, b.len) == 0);
	CHECK_INT(counters_get(calls_own_headers), 1);
	CHECK_INT(counters_get(calls_not_allowed), 1);
	CHECK_INT(counters_get(calls_injected), 0);
	wire_free(&w);
	core_close(fd);
	core_close(served);
}

CORE_TEST(a_head_that_is_not_whole_in_a_call_goes_as_it_is)
{
	static struct bytes b;
	struct wire w = { 0 };
	int fd;

	work_for(CORE_PARENT);
	fd = core_connect();
	add_preface(&b);
	add_request(&b, 1, END_STREAM);
	CHECK_INT(wire_send(&w, fd, b.at, b.len - 5), b.len - 5);
	CHECK_INT(wire_send(&w, fd, b.at + b.len - 5, 5), 5);
	CHECK_INT(w.len, b.len);
	CHECK(memcmp(w.bytes, b.at, b.len) == 0);
	CHECK_INT(counters_get(heads_skipped), 1);
	wire_free(&w);
	core_close(fd);
	core_close(served);
}

/* The last frame is longer, as far as the peer takes it; else there is one more. `kernel`: how many bytes it takes at a time, 0: all. */
static void expect_long_head(size_t value_len, size_t kernel, size_t frames)
{
	static struct bytes b;
	static char value[20000];
	const char *fields[] = { REQUEST, "cookie", value, NULL };
	int script[4096] = { 0 }, i, fd = core_connect();
	struct wire w = { 0 };
	struct heard heard;
	size_t done, at, n;

	for (i = 0; i < 4095 && kernel > 0; i++)
		script[i] = i % 2 != 0 ? (int)kernel : -EAGAIN;
	memset(value, 'v', value_len);
	value[value_len] = '\0';
	b.len = 0;
	add_preface(&b);
	at = b.len;
	CHECK_INT(send_bytes(&w, fd, &b), b.len);
	w.script = script;
	add_block(&b, END_STREAM, 1, fields);
	for (done = at; done < b.len;) {
		ssize_t taken = wire_send(&w, fd, b.at + done, b.len - done);

		done += taken > 0 ? (size_t)taken : 0;
	}
	hear(&heard, HTTP2_CLIENT, w.bytes, w.len);
	CHECK_INT(heard.fields, 6);
	CHECK(heard.times[1] == 1 && memcmp(heard.traces[1], "00-" CORE_TRACE, 35) == 0);
	for (n = 0; at < w.len; n++)
		at += 9 + ((size_t)(unsigned char)w.bytes[at] << 16 | (size_t)(unsigned char)w.bytes[at + 1] << 8 |
		           (unsigned char)w.bytes[at + 2]);
	CHECK_INT(n, frames);
	if (kernel == 0)
		CHECK_INT(w.calls, 2); /* the preface, and the head */
	wire_free(&w);
	core_close(fd);
}

CORE_TEST(a_head_of_many_kilobytes_carries_the_trace_on)
{
	work_for(CORE_PARENT);
	expect_long_head(2100, 0, 1);
	expect_long_head(9000, 0, 1);
	expect_long_head(16200, 0, 1);
	expect_long_head(16300, 0, 2);
	expect_long_head(16200, 700, 1);
	expect_long_head(16300, 1, 2);
	expect_long_head(16300, 16000, 2);
	CHECK_INT(counters_get(calls_injected), 7);
	CHECK_INT(counters_get(heads_skipped), 0);
	CHECK_INT(counters_get(http_poisoned), 0);
	core_close(served);
}

/* ---- whatever the kernel takes ---- */

static unsigned long seed;

static unsigned next_random(void)
{
	seed = seed * 6364136223846793005ul + 1442695040888963407ul;
	return (unsigned)(seed >> 33);
}

static uint32_t last_stream;
static uint64_t sent_data;

/* A head as long, and in such frames, as it pleases: padded, with a priority, with CONTINUATION. */
static void add_any_request(struct bytes *b, uint32_t id, unsigned flags)
{
	static char block[20000], frame[21000], value[16300];
	size_t len, first, at = 0, pad = next_random() % 2 != 0 ? next_random() % 200 : 0;
	bool priority = next_random() % 2 != 0;

	memset(value, 'v', sizeof(value));
	value[next_random() % 16 == 0 ? next_random() % (sizeof(value) - 1) :
	      next_random() % 4 == 0  ? next_random() % 3999 :
	                                next_random() % 40] = '\0';
	len = put(block, 0, ":method", "GET");
	len = put(block, len, ":scheme", "http");
	len = put(block, len, ":path", "/");
	len = put(block, len, "x-value", value);
	first = next_random() % 3 == 0 || len > 16000 ? next_random() % (len < 16000 ? len + 1 : 16000) : len;
	if (pad > 0)
		frame[at++] = (char)pad;
	if (priority) {
		memcpy(frame + at, "\0\0\0\0\10", 5);
		at += 5;
	}
	memcpy(frame + at, block, first);
	memset(frame + at + first, 0, pad);
	flags |= (first == len ? END_HEADERS : 0) | (pad > 0 ? 8u : 0) | (priority ? 0x20u : 0);
	add_frame(b, HTTP2_FRAME_HEADERS, flags, id, frame, at + first + pad);
	if (first < len)
		add_frame(b, HTTP2_FRAME_CONTINUATION, END_HEADERS, id, block + first, len - first);
}

static void make_session(struct bytes *b)
{
	static char data[5000];
	uint32_t id;

	b->len = 0;
	sent_data = 0;
	add_preface(b);
	for (id = 1; id < 2 + 2 * (next_random() % 12); id += 2) {
		size_t len = next_random() % 3 == 0 ? next_random() % sizeof(data) : next_random() % 30;
		bool body = next_random() % 2 != 0;

		add_any_request(b, id, body ? 0 : END_STREAM);
		if (body && next_random() % 6 == 0) {
			add_frame(b, HTTP2_FRAME_RST_STREAM, 0, id, "\0\0\0\10", 4);
			body = false;
		}
		if (next_random() % 3 == 0)
			add_frame(b, 8, 0, 0, "\0\0\1\0", 4);
		if (body) {
			add_frame(b, HTTP2_FRAME_DATA, END_STREAM, id, data, len);
			sent_data += len;
		}
		last_stream = id;
	}
}

static void check_session(const struct bytes *b, const char *got, size_t len)
{
	struct heard bare, heard;
	uint32_t id;
	size_t more = 0;

	hear(&bare, HTTP2_CLIENT, b->at, b->len);
	hear(&heard, HTTP2_CLIENT, got, len);
	CHECK_INT(heard.data, sent_data);
	CHECK_INT(heard.heads, bare.heads);
	CHECK_INT(heard.ended, bare.ended);
	for (id = 1; id <= last_stream; id += 2) {
		CHECK(heard.times[id] <= 1);
		CHECK(heard.times[id] == 0 || memcmp(heard.traces[id], "00-" CORE_TRACE, 35) == 0);
		more += heard.times[id];
	}
	CHECK_INT(heard.fields, bare.fields + more);
}

CORE_TEST(what_the_peer_reads_is_sound_whatever_the_kernel_takes)
{
	static struct bytes b;
	unsigned long mood;

	work_for(CORE_PARENT);
	for (mood = 1; mood <= 1500; mood++) {
		int script[4096] = { 0 }, i;
		struct wire w = { .script = script };
		int fd = core_connect(), most; /* the first bytes are enough to know it by */
		size_t done = 0, rounds = 0, part;

		seed = mood;
		make_session(&b);
		most = next_random() % 2 != 0 ? 40 : 2000;
		for (i = 0; i < 4095; i++)
			script[i] = next_random() % 4 == 0 ? -EAGAIN : 1 + (int)(next_random() % (unsigned)most);
		while (done < b.len) {
			ssize_t n;

			CHECK(++rounds < 20000);
			/* Some come back with less, or more, than what was left. */
			part = mood % 3 == 0 && done > 4 ? 1 + next_random() % (b.len - done) : b.len - done;
			n = wire_send(&w, fd, b.at + done, part);
			CHECK(n != 0 && n <= (ssize_t)part);
			if (n < 0)
				CHECK(errno == EAGAIN);
			else
				done += (size_t)n;
		}
		CHECK_INT(core_conn(fd)->mode, CONN_PROTOCOL);
		check_session(&b, w.bytes, w.len);
		wire_free(&w);
		core_close(fd);
	}
	CHECK(counters_get(calls_injected) > 1000);
	CHECK_INT(counters_get(http_poisoned), 0);
	core_close(served);
}

CORE_TEST(what_the_peer_reads_is_sound_whatever_a_library_of_tls_refuses)
{
	static struct bytes b;
	unsigned long mood;

	work_for(CORE_PARENT);
	for (mood = 1; mood <= 600; mood++) {
		int fd = core_connect();
		struct fake f = { .fd = fd,
			          .role = CONN_OUTGOING,
			          .partial = mood % 2 != 0,
			          .moving = mood % 4 >= 2,
			          .random = next_random };

		seed = mood;
		make_session(&b);
		f.random = NULL;
		fake_write_all(&f, b.at, 10);
		f.random = next_random;
		fake_write_all(&f, b.at + 10, b.len - 10);
		CHECK_INT(core_conn(fd)->mode, CONN_PROTOCOL);
		check_session(&b, f.got, f.got_len);
		fake_free(&f);
		core_close(fd);
	}
	CHECK(counters_get(calls_injected) > 300);
	core_close(served);
}

/* So many heads of so many bytes, and DATA up to what gRPC writes at most; returns how many got a trace. */
static size_t write_into_pair(unsigned heads, size_t value_len)
{
	static struct bytes b;
	static char value[8000];
	const char *fields[] = { REQUEST, "x-value", value, NULL };
	struct fake f = { .fd = -1, .role = CONN_OUTGOING, .pair = 17408 };
	size_t most = 16284, injected = 0;
	struct heard heard;
	unsigned i;

	memset(value, 'v', value_len);
	value[value_len] = '\0';
	b.len = 0;
	add_preface(&b);
	CHECK_INT(fake_write(&f, b.at, b.len), b.len);
	b.len = 0;
	for (i = 0; i < heads; i++)
		add_block(&b, 0, 1 + 2 * i, fields);
	if (b.len + 9 < most)
		add_frame(&b, HTTP2_FRAME_DATA, END_STREAM, 1, (const char[20000]){ 0 }, most - 9 - b.len);
	CHECK(b.len <= most);
	f.pending = 0;
	CHECK_INT(fake_write(&f, b.at, b.len), b.len);
	hear(&heard, HTTP2_CLIENT, f.got, f.got_len);
	CHECK_INT(heard.heads, heads);
	for (i = 0; i < heads; i++) {
		CHECK(heard.times[1 + 2 * i] == 0 || memcmp(heard.traces[1 + 2 * i], "00-" CORE_TRACE, 35) == 0);
		injected += heard.times[1 + 2 * i];
	}
	fake_free(&f);
	return injected;
}

/* gRPC: a pair of BIOs of libssl's own size, which it empties behind each write; that one is refused is an error. */
CORE_TEST(what_is_written_into_memory_takes_no_more_room_than_it_may_have)
{
	unsigned heads, before;

	work_for(CORE_PARENT);
	CHECK_INT(write_into_pair(1, 10), 1);
	CHECK_INT(write_into_pair(1, 7000), 1);
	CHECK_INT(write_into_pair(2, 7000), 2);
	for (heads = 3; heads < 100; heads++)
		CHECK(write_into_pair(heads, 10) >= 3);
	before = (unsigned)counters_get(heads_skipped);
	CHECK(write_into_pair(25, 500) >= 3);
	CHECK(counters_get(heads_skipped) > before);
	CHECK_INT(counters_get(http_poisoned), 0);
	core_close(served);
}

/* A program that makes up its mind otherwise after it was refused: hands off, and nothing but its own bytes goes out. */
CORE_TEST(a_program_that_sends_something_else_after_a_refusal_is_left_alone)
{
	static struct bytes first, second;
	int script[] = { -EAGAIN, 0 };
	struct wire w = { .script = script };
	int fd;

	work_for(CORE_PARENT);
	fd = core_connect();
	add_preface(&first);
	add_request(&first, 1, END_STREAM);
	add_preface(&second);
	add_frame(&second, 6, 0, 0, "12345678", 8);
	add_request(&second, 1, END_STREAM);
	CHECK_INT(send_bytes(&w, fd, &first), -1);
	CHECK_INT(send_bytes(&w, fd, &second), second.len);
	CHECK_INT(w.len, second.len);
	CHECK(memcmp(w.bytes, second.at, second.len) == 0);
	CHECK_INT(core_conn(fd)->mode, CONN_OPAQUE);
	CHECK_INT(counters_get(http_poisoned), 1);
	wire_free(&w);
	core_close(fd);
	core_close(served);
}

/* Who makes a call is who first tried to. */
CORE_TEST(a_call_that_was_refused_stays_whose_it_was)
{
	static struct bytes b;
	struct heard heard;
	int script[] = { -EAGAIN, 0 };
	struct wire w = { .script = script };
	int fd, other;

	work_for(CORE_PARENT);
	other = served;
	fd = core_connect();
	add_preface(&b);
	add_request(&b, 1, END_STREAM);
	CHECK_INT(send_bytes(&w, fd, &b), -1);
	work_for(CORE_OTHER_PARENT);
	CHECK_INT(send_bytes(&w, fd, &b), b.len);
	hear(&heard, HTTP2_CLIENT, w.bytes, w.len);
	CHECK(memcmp(heard.traces[1], "00-" CORE_TRACE, 35) == 0);
	wire_free(&w);
	core_close(fd);
	core_close(other);
	core_close(served);
}

CORE_TEST(a_server_that_speaks_first_is_followed_too)
{
	static struct bytes b, settings;
	struct heard heard;
	struct wire w = { 0 };
	int fd;

	work_for(CORE_PARENT);
	fd = core_connect();
	add_settings(&settings);
	core_receive(fd, settings.at, settings.len);
	add_preface(&b);
	add_request(&b, 1, END_STREAM);
	CHECK_INT(send_bytes(&w, fd, &b), b.len);
	hear(&heard, HTTP2_CLIENT, w.bytes, w.len);
	CHECK(heard.times[1] == 1);
	wire_free(&w);
	core_close(fd);
	core_close(served);
}

/* ---- requests ---- */

/* A loop that waits, and is told of one event. */
static void wait_in_loop(void)
{
	current_wait_loop(-1);
	current_wait_loop_done(1);
}

static int accept_http2(void)
{
	static struct bytes b;
	struct wire w = { 0 };
	int fd = core_accept(true);

	b.len = 0;
	add_preface(&b);
	wait_in_loop();
	core_receive(fd, b.at, b.len);
	b.len = 0;
	add_settings(&b);
	CHECK_INT(send_bytes(&w, fd, &b), b.len);
	wire_free(&w);
	return fd;
}

static void ask(int fd, uint32_t stream, unsigned flags, const char *parent)
{
	static struct bytes b;

	b.len = 0;
	add_request_of(&b, stream, flags, parent);
	wait_in_loop();
	core_receive(fd, b.at, b.len);
}

static void answer(int fd, uint32_t stream, unsigned flags)
{
	static struct bytes b;
	struct wire w = { 0 };

	b.len = 0;
	add_response(&b, stream, flags);
	CHECK_INT(send_bytes(&w, fd, &b), b.len);
	CHECK_INT(w.len, b.len);
	wire_free(&w);
}

CORE_TEST(a_stream_is_a_request_with_the_callers_trace)
{
	int fd = accept_http2();

	CHECK_NOTHING_KNOWN();
	ask(fd, 1, END_STREAM, PARENT);
	CHECK_KNOWN(CORE_TRACE);
	CHECK_INT(counters_get(requests), 1);
	CHECK_INT(counters_get(requests_continued), 1);
	CHECK_INT(counters_get(requests_http2), 1);
	answer(fd, 1, END_STREAM);
	CHECK_KNOWN(CORE_TRACE); /* as with HTTP/1: until it waits for the next one */
	ask(fd, 3, END_STREAM, OTHER_PARENT);
	CHECK_KNOWN(CORE_OTHER_TRACE);
	core_close(fd);
}

CORE_TEST(of_two_requests_in_hand_nobody_knows_which_one_it_is)
{
	int fd = accept_http2();

	ask(fd, 1, END_STREAM, PARENT);
	CHECK_KNOWN(CORE_TRACE);
	ask(fd, 3, END_STREAM, OTHER_PARENT);
	CHECK_NOTHING_KNOWN();
	answer(fd, 3, END_STREAM);
	CHECK_NOTHING_KNOWN();
	core_close(fd);
}

CORE_TEST(a_request_that_ends_as_another_comes_leaves_nobody_known)
{
	static struct bytes b;
	int fd = accept_http2();

	ask(fd, 1, END_STREAM, PARENT);
	b.len = 0;
	add_frame(&b, HTTP2_FRAME_RST_STREAM, 0, 1, "\0\0\0\10", 4);
	add_request_of(&b, 3, END_STREAM, OTHER_PARENT);
	wait_in_loop();
	core_receive(fd, b.at, b.len);
	CHECK_NOTHING_KNOWN();
	core_close(fd);
}

/* Does a context that was marked behind the last read name this trace now? */
static bool names(const struct context_mark *mark, const char *trace)
{
	struct request *request = contexts_request(mark);
	bool is = request != NULL &&
	          request->ctx.trace_id[0] == (uint8_t)strtoul((char[3]){ trace[0], trace[1] }, NULL, 16);

	request_unref(request);
	return is;
}

CORE_TEST(an_async_context_names_the_only_request_in_hand)
{
	static struct bytes b;
	struct context_mark first, second, third;
	int fd = accept_http2();

	CHECK(contexts_mark(conn_find(fd), false, &first) && first.kind == CONTEXT_NOBODY);
	ask(fd, 1, END_STREAM, PARENT);
	CHECK(contexts_mark(conn_find(fd), false, &first));
	CHECK(names(&first, CORE_TRACE));
	ask(fd, 3, END_STREAM, OTHER_PARENT);
	CHECK(contexts_mark(conn_find(fd), false, &second));
	CHECK(second.kind == CONTEXT_NOBODY);
	CHECK(contexts_request(&first) == NULL && contexts_request(&second) == NULL);
	answer(fd, 1, END_STREAM);
	CHECK(contexts_request(&first) == NULL);
	answer(fd, 3, 0); /* its head only: the answer has begun */
	CHECK(contexts_request(&second) == NULL);
	b.len = 0;
	add_frame(&b, HTTP2_FRAME_RST_STREAM, 0, 3, "\0\0\0\10", 4);
	add_request_of(&b, 5, END_STREAM, PARENT);
	core_receive(fd, b.at, b.len);
	CHECK(contexts_mark(conn_find(fd), false, &third));
	CHECK(third.kind == CONTEXT_NOBODY); /* what is thrown away there is another one's */
	answer(fd, 5, END_STREAM);
	ask(fd, 7, END_STREAM, OTHER_PARENT);
	CHECK(contexts_mark(conn_find(fd), false, &third));
	CHECK(names(&third, CORE_OTHER_TRACE) && contexts_request(&first) == NULL);
	core_close(fd);
	CHECK(contexts_request(&third) == NULL);
}

CORE_TEST(a_thread_that_reads_for_others_works_for_nobody)
{
	static struct bytes b;
	int fd = core_accept(false);

	add_preface(&b);
	add_request_of(&b, 1, END_STREAM, PARENT);
	core_receive(fd, b.at, b.len);
	CHECK_INT(counters_get(requests), 1);
	CHECK_NOTHING_KNOWN();
	core_close(fd);
}

/* nginx: what it goes on with is whatever has room in its window, an answer to send, or was reset a while ago. */
CORE_TEST_FOR(in_an_inline_loop_a_frame_of_one_stream_says_nothing_of_several_in_hand, "nginx")
{
	static struct bytes b;
	int fd = accept_http2();

	ask(fd, 1, 0, PARENT);
	CHECK_KNOWN(CORE_TRACE);
	ask(fd, 3, 0, OTHER_PARENT);
	CHECK_NOTHING_KNOWN();
	b.len = 0;
	add_frame(&b, HTTP2_FRAME_DATA, END_STREAM, 1, "hello", 5);
	wait_in_loop();
	core_receive(fd, b.at, b.len);
	CHECK_NOTHING_KNOWN();
	core_close(fd);
}

CORE_TEST_FOR(in_an_inline_loop_what_is_sent_of_one_stream_says_nothing_of_several_in_hand, "nginx")
{
	int fd = accept_http2();

	ask(fd, 1, END_STREAM, PARENT);
	ask(fd, 3, END_STREAM, OTHER_PARENT);
	wait_in_loop();
	answer(fd, 1, END_STREAM);
	CHECK_NOTHING_KNOWN();
	answer(fd, 3, END_STREAM); /* the first one's end may still be to come, behind this */
	CHECK_NOTHING_KNOWN();
	ask(fd, 5, END_STREAM, PARENT);
	CHECK_KNOWN(CORE_TRACE);
	answer(fd, 5, END_STREAM);
	CHECK_KNOWN(CORE_TRACE);
	core_close(fd);
}

CORE_TEST_FOR(in_an_inline_loop_what_is_read_behind_a_reset_is_nobodys_until_it_waits, "nginx")
{
	static struct bytes reset, next;
	int fd = accept_http2();

	ask(fd, 1, END_STREAM, PARENT);
	add_frame(&reset, HTTP2_FRAME_RST_STREAM, 0, 1, "\0\0\0\10", 4);
	add_request_of(&next, 3, END_STREAM, OTHER_PARENT);
	wait_in_loop();
	core_receive(fd, reset.at, reset.len);
	CHECK_NOTHING_KNOWN();
	core_receive(fd, next.at, next.len);
	CHECK_NOTHING_KNOWN();
	answer(fd, 3, END_STREAM);
	CHECK_NOTHING_KNOWN();
	ask(fd, 5, END_STREAM, PARENT);
	CHECK_KNOWN(CORE_TRACE);
	core_close(fd);
}

CORE_TEST_FOR(in_an_inline_loop_connections_of_several_requests_are_believed_one_at_a_time, "nginx")
{
	static struct bytes b;
	int fd = accept_http2(), plain = core_accept(true);

	add_request_of(&b, 1, END_STREAM, PARENT);
	current_wait_loop(-1);
	current_wait_loop_done(2);
	core_receive_text(plain, "GET / HTTP/1.1\r\nHost: us\r\n" CORE_OTHER_PARENT "\r\n");
	CHECK_KNOWN(CORE_OTHER_TRACE);
	core_receive(fd, b.at, b.len);
	CHECK_NOTHING_KNOWN();
	core_send_text(plain, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
	CHECK_NOTHING_KNOWN(); /* what is left of the other connection comes when all events were looked at */
	core_close(plain);
	core_close(fd);
}

#define ASK "GET / HTTP/1.0\r\nHost: them\r\n\r\n"

/* nginx: a service that closes behind its reply, whose end is read between the answer's head and its body. */
CORE_TEST_FOR(in_an_inline_loop_the_end_of_what_a_request_reads_is_its_own, "nginx")
{
	static struct bytes b, body;
	struct wire w = { 0 };
	int fd = accept_http2(), other = accept_http2(), call;

	core_flags = O_NONBLOCK;
	ask(fd, 1, END_STREAM, PARENT);
	call = core_connect();
	CHECK(wire_send(&w, call, ASK, sizeof(ASK) - 1) > 0);
	wait_in_loop();
	core_receive_text(call, "HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok");
	CHECK_KNOWN(CORE_TRACE);
	answer(fd, 1, 0);
	core_receive_text(call, "");
	add_frame(&body, HTTP2_FRAME_DATA, END_STREAM, 1, "ok", 2);
	CHECK_INT(send_bytes(&w, fd, &body), body.len);
	CHECK_KNOWN(CORE_TRACE);
	/* But not behind another one's, in the same iteration. */
	add_request_of(&b, 1, END_STREAM, OTHER_PARENT);
	core_receive(other, b.at, b.len);
	core_receive_text(call, "");
	CHECK_NOTHING_KNOWN();
	wire_free(&w);
	core_close(call);
	core_close(fd);
	core_close(other);
}

/* nginx: a client's SETTINGS acknowledged, while the service answers. */
CORE_TEST_FOR(in_an_inline_loop_two_events_of_one_request_are_believed_when_both_were_seen, "nginx")
{
	static struct bytes b;
	struct wire w = { 0 };
	int fd = accept_http2(), call, round;

	core_flags = O_NONBLOCK;
	ask(fd, 1, END_STREAM, PARENT);
	call = core_connect();
	CHECK(wire_send(&w, call, ASK, sizeof(ASK) - 1) > 0);
	for (round = 0; round < 2; round++) {
		b.len = 0;
		add_frame(&b, 8 /* WINDOW_UPDATE */, 0, 1, "\0\0\1\0", 4);
		current_wait_loop(-1);
		current_wait_loop_done(2);
		if (round == 0)
			core_receive(fd, b.at, b.len);
		core_receive_text(call, round == 0 ? "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n" : "ok");
		answer(fd, 1, 0);
		if (round == 0)
			CHECK_KNOWN(CORE_TRACE);
		else
			CHECK_NOTHING_KNOWN(); /* the other event may be another one's */
	}
	wire_free(&w);
	core_close(call);
	core_close(fd);
}

/* nginx: a stream whose head is not whole is refused, in the midst of others. */
CORE_TEST_FOR(in_an_inline_loop_a_request_whose_head_is_not_there_is_nobody, "nginx")
{
	static struct bytes head, block, reset;
	struct wire w = { 0 };
	int fd = accept_http2();

	ask(fd, 1, END_STREAM, PARENT);
	add_request_of(&block, 3, 0, OTHER_PARENT);
	add_frame(&head, HTTP2_FRAME_HEADERS, 0, 3, block.at + 9, block.len - 9); /* CONTINUATION is to follow */
	wait_in_loop();
	core_receive(fd, head.at, head.len);
	add_frame(&reset, HTTP2_FRAME_RST_STREAM, 0, 3, "\0\0\0\1", 4);
	wait_in_loop();
	CHECK_INT(send_bytes(&w, fd, &reset), reset.len);
	CHECK_NOTHING_KNOWN();
	wire_free(&w);
	core_close(fd);
}

CORE_TEST_FOR(an_answer_whose_end_the_kernel_did_not_take_is_in_hand_still, "nginx")
{
	static struct bytes b;
	int script[] = { -EAGAIN, 0 };
	struct wire w = { .script = script };
	int fd;

	config.response_header = CORE_NAME("x-id");
	fd = accept_http2();
	ask(fd, 1, END_STREAM, PARENT);
	add_response(&b, 1, END_STREAM);
	CHECK_INT(send_bytes(&w, fd, &b), -1);
	ask(fd, 3, END_STREAM, OTHER_PARENT);
	CHECK_NOTHING_KNOWN();
	wait_in_loop();
	current_read_request(http2_find_stream(http2_of(core_conn(fd)), 3)->ex.request);
	CHECK_KNOWN(CORE_OTHER_TRACE);
	CHECK_INT(send_bytes(&w, fd, &b), b.len); /* and is ended now */
	CHECK_NOTHING_KNOWN();
	wire_free(&w);
	core_close(fd);
}

CORE_TEST(an_answer_to_several_in_one_write_leaves_nobody_known)
{
	static struct bytes b;
	struct wire w = { 0 };
	int fd = accept_http2();

	ask(fd, 1, END_STREAM, PARENT);
	ask(fd, 3, END_STREAM, OTHER_PARENT);
	b.len = 0;
	add_response(&b, 1, END_STREAM);
	add_response(&b, 3, END_STREAM);
	CHECK_INT(send_bytes(&w, fd, &b), b.len);
	CHECK_NOTHING_KNOWN();
	ask(fd, 5, END_STREAM, PARENT);
	CHECK_KNOWN(CORE_TRACE); /* both are over */
	wire_free(&w);
	core_close(fd);
}

/* Nothing but their ends: no table is kept for them, and what is in them cannot be wrong. */
CORE_TEST(answers_that_interest_nobody_are_not_decoded)
{
	static struct bytes b;
	struct wire w = { 0 };
	int fd = accept_http2();

	ask(fd, 1, END_STREAM, PARENT);
	b.len = 0;
	add_frame(&b, HTTP2_FRAME_HEADERS, END_STREAM | END_HEADERS, 1, "\xff\xff\xff\xff\xff\xff", 6);
	CHECK_INT(send_bytes(&w, fd, &b), b.len);
	CHECK_INT(core_conn(fd)->mode, CONN_PROTOCOL);
	ask(fd, 3, END_STREAM, OTHER_PARENT);
	CHECK_KNOWN(CORE_OTHER_TRACE);
	wire_free(&w);
	core_close(fd);
}

CORE_TEST(the_connections_own_frames_change_nothing)
{
	static struct bytes b;
	struct wire w = { 0 };
	int fd = accept_http2();

	ask(fd, 1, END_STREAM, PARENT);
	b.len = 0;
	add_frame(&b, 4, 1, 0, "", 0);
	add_frame(&b, 8, 0, 0, "\0\0\1\0", 4);
	CHECK_INT(send_bytes(&w, fd, &b), b.len);
	CHECK_KNOWN(CORE_TRACE);
	CHECK_INT(counters_get(context_contradictions), 0);
	wire_free(&w);
	core_close(fd);
}

CORE_TEST(requests_are_found_at_every_split)
{
	static struct bytes b;
	size_t cut;

	add_preface(&b);
	add_request_of(&b, 1, 0, PARENT);
	add_frame(&b, HTTP2_FRAME_DATA, END_STREAM, 1, "hello", 5);
	for (cut = 4; cut < b.len; cut++) {
		int fd = core_accept(true);

		wait_in_loop();
		core_receive(fd, b.at, cut);
		core_receive(fd, b.at + cut, b.len - cut);
		CHECK_KNOWN(CORE_TRACE);
		CHECK_INT(core_conn(fd)->mode, CONN_PROTOCOL);
		core_close(fd);
		current_clear();
	}
	CHECK_INT(counters_get(requests), b.len - 4);
}

CORE_TEST(more_streams_than_are_followed_pass_and_nobody_is_known)
{
	uint32_t id;
	int fd = accept_http2();

	for (id = 1; id < 2 * (LIMIT_STREAMS + 20); id += 2)
		ask(fd, id, END_STREAM, PARENT);
	CHECK_INT(counters_get(requests), LIMIT_STREAMS);
	CHECK(counters_get(streams_skipped) > 0);
	for (id = 1; id < 2 * LIMIT_STREAMS; id += 2)
		answer(fd, id, END_STREAM);
	ask(fd, id + 100, END_STREAM, PARENT);
	CHECK_NOTHING_KNOWN();
	core_close(fd);
}

/* ---- answers that get a header ---- */

CORE_TEST(each_answer_gets_the_header_of_its_own_request)
{
	static struct bytes b;
	struct wire w = { 0 };
	struct http2 scanner;
	size_t at, found = 0;
	int fd;

	config.response_header = CORE_NAME("x-id");
	fd = accept_http2();
	ask(fd, 1, END_STREAM, PARENT);
	ask(fd, 3, END_STREAM, OTHER_PARENT);
	b.len = 0;
	add_response(&b, 3, END_STREAM);
	add_response(&b, 1, 0);
	add_frame(&b, HTTP2_FRAME_DATA, END_STREAM, 1, "hello", 5);
	CHECK_INT(send_bytes(&w, fd, &b), b.len);
	http2_init(&scanner, false);
	for (at = 0; at + 32 <= w.len; at++) {
		found += memcmp(w.bytes + at, CORE_OTHER_TRACE, 32) == 0 && found == 0;
		found += memcmp(w.bytes + at, CORE_TRACE, 32) == 0 && found == 1;
	}
	CHECK_INT(found, 2);
	CHECK_INT(w.len, b.len + 2 * (3 + 4 + 32));
	CHECK_INT(counters_get(response_headers), 2);
	http2_free(&scanner);
	wire_free(&w);
	core_close(fd);
}

/* ---- without memory ---- */

CORE_TEST(without_memory_it_passes)
{
	static struct bytes b;
	long fail;

	add_preface(&b);
	add_request(&b, 1, END_STREAM);
	add_request(&b, 3, END_STREAM);
	for (fail = 1; fail < 30; fail++) {
		struct heard heard;
		struct wire w = { 0 };
		int fd;

		work_for(CORE_PARENT);
		fd = core_connect();
		core_fail_takes(fail, fail);
		CHECK_INT(send_bytes(&w, fd, &b), b.len);
		core_fail_takes(0, 0);
		hear(&heard, HTTP2_CLIENT, w.bytes, w.len);
		CHECK_INT(heard.ended, 2);
		wire_free(&w);
		core_close(fd);
		core_close(served);
		current_clear();
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_call_by_http2_carries_the_trace_on),
		cmocka_unit_test(many_heads_in_one_call_go_out_in_few_calls),
		cmocka_unit_test(a_connection_that_threads_share_says_nothing_while_another_request_waits),
		cmocka_unit_test(several_heads_in_one_write_are_nobodys_while_another_request_waits),
		cmocka_unit_test(a_call_without_a_request_is_a_trace_of_its_own_each),
		cmocka_unit_test(a_head_of_a_trace_or_a_host_of_its_own_is_left_alone),
		cmocka_unit_test(a_head_that_is_not_whole_in_a_call_goes_as_it_is),
		cmocka_unit_test(a_head_of_many_kilobytes_carries_the_trace_on),
		cmocka_unit_test(what_the_peer_reads_is_sound_whatever_the_kernel_takes),
		cmocka_unit_test(what_the_peer_reads_is_sound_whatever_a_library_of_tls_refuses),
		cmocka_unit_test(what_is_written_into_memory_takes_no_more_room_than_it_may_have),
		cmocka_unit_test(a_program_that_sends_something_else_after_a_refusal_is_left_alone),
		cmocka_unit_test(a_call_that_was_refused_stays_whose_it_was),
		cmocka_unit_test(a_server_that_speaks_first_is_followed_too),
		cmocka_unit_test(a_stream_is_a_request_with_the_callers_trace),
		cmocka_unit_test(of_two_requests_in_hand_nobody_knows_which_one_it_is),
		cmocka_unit_test(a_request_that_ends_as_another_comes_leaves_nobody_known),
		cmocka_unit_test(an_async_context_names_the_only_request_in_hand),
		cmocka_unit_test(a_thread_that_reads_for_others_works_for_nobody),
		cmocka_unit_test(in_an_inline_loop_a_frame_of_one_stream_says_nothing_of_several_in_hand),
		cmocka_unit_test(in_an_inline_loop_what_is_sent_of_one_stream_says_nothing_of_several_in_hand),
		cmocka_unit_test(in_an_inline_loop_what_is_read_behind_a_reset_is_nobodys_until_it_waits),
		cmocka_unit_test(in_an_inline_loop_connections_of_several_requests_are_believed_one_at_a_time),
		cmocka_unit_test(in_an_inline_loop_the_end_of_what_a_request_reads_is_its_own),
		cmocka_unit_test(in_an_inline_loop_a_request_whose_head_is_not_there_is_nobody),
		cmocka_unit_test(in_an_inline_loop_two_events_of_one_request_are_believed_when_both_were_seen),
		cmocka_unit_test(an_answer_whose_end_the_kernel_did_not_take_is_in_hand_still),
		cmocka_unit_test(an_answer_to_several_in_one_write_leaves_nobody_known),
		cmocka_unit_test(answers_that_interest_nobody_are_not_decoded),
		cmocka_unit_test(the_connections_own_frames_change_nothing),
		cmocka_unit_test(requests_are_found_at_every_split),
		cmocka_unit_test(more_streams_than_are_followed_pass_and_nobody_is_known),
		cmocka_unit_test(each_answer_gets_the_header_of_its_own_request),
		cmocka_unit_test(without_memory_it_passes),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

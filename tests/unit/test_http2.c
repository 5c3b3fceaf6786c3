/*
 * The HTTP/2 scanner: connections with the trace of events they must give, fed whole, byte by byte and at every split,
 * against unreadable pages on both sides; SETTINGS across the directions; limits from both sides; poison; frames that
 * are extended.
 *
 * long: half of it is what the connections say, and must give.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "http2.h"

#define TRACE_SIZE (1u << 14)
#define ARENA_SIZE (1u << 20)

static char *arena; /* ARENA_SIZE bytes between two pages that nobody may touch */

static int set_up(void **state)
{
	char *base = mmap(NULL, ARENA_SIZE + 8192, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	(void)state;
	if (base == MAP_FAILED || mprotect(base + 4096, ARENA_SIZE, PROT_READ | PROT_WRITE))
		return -1;
	arena = base + 4096;
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	return munmap(arena - 4096, ARENA_SIZE + 8192);
}

/* ---- streams are written ---- */

struct bytes {
	char *at;
	size_t len;
};

static void add(struct bytes *b, const void *more, size_t len)
{
	b->at = realloc(b->at, b->len + len + 1);
	assert_non_null(b->at);
	if (len > 0)
		memcpy(b->at + b->len, more, len);
	b->len += len;
}

static void add_number(struct bytes *b, uint64_t n, int len)
{
	while (len-- > 0)
		add(b, &(char){ (char)(n >> 8 * len) }, 1);
}

enum { DATA, HEADERS, PRIORITY, RST, SETTINGS, PUSH, PING, GOAWAY, WINDOW, CONTINUATION };
enum { ACK = 1, END = 1, LAST = 4, PADDED = 8, WEIGHTED = 0x20 };

static void add_header(struct bytes *b, uint32_t len, unsigned type, unsigned flags, uint32_t stream)
{
	add_number(b, len, 3);
	add_number(b, type, 1);
	add_number(b, flags, 1);
	add_number(b, stream, 4);
}

static void add_frame(struct bytes *b, unsigned type, unsigned flags, uint32_t stream, const void *payload, size_t len)
{
	add_header(b, (uint32_t)len, type, flags, stream);
	add(b, payload, len);
}

/* A block of fields "name: value", one a line, without tables. */
static struct bytes block_of(const char *fields)
{
	struct bytes b = { 0 };

	while (*fields != 0) {
		const char *colon = strchr(fields + 1, ':'), *end = strchr(fields, '\n');
		char out[4096];
		size_t n;

		assert_non_null(colon);
		assert_non_null(end);
		n = http2_put_field(out, sizeof(out), fields, (size_t)(colon - fields), colon + 2,
		                    (size_t)(end - colon - 2));
		assert_true(n > 0);
		add(&b, out, n);
		fields = end + 1;
	}
	return b;
}

static void add_block(struct bytes *b, unsigned type, unsigned flags, uint32_t stream, const char *fields)
{
	struct bytes block = block_of(fields);

	add_frame(b, type, flags, stream, block.at, block.len);
	free(block.at);
}

static void add_setting(struct bytes *b, unsigned identifier, uint32_t value)
{
	add_number(b, 6, 3);
	add_number(b, SETTINGS, 1);
	add_number(b, 0, 5);
	add_number(b, identifier, 2);
	add_number(b, value, 4);
}

static struct bytes client(void)
{
	struct bytes b = { 0 };

	add(&b, HTTP2_PREFACE, HTTP2_PREFACE_LEN);
	add_frame(&b, SETTINGS, 0, 0, NULL, 0);
	return b;
}

static struct bytes server(void)
{
	struct bytes b = { 0 };

	add_frame(&b, SETTINGS, 0, 0, NULL, 0);
	return b;
}

/* ---- and read ---- */

struct run {
	struct http2 h;
	char trace[TRACE_SIZE];
	size_t len;
	uint64_t data; /* bytes of DATA since the last event */
	enum http2_status status;
};

static void say(struct run *r, const char *format, ...) __attribute__((format(printf, 2, 3)));

static void say(struct run *r, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	r->len += (size_t)vsnprintf(r->trace + r->len, TRACE_SIZE - r->len, format, args);
	va_end(args);
	assert_true(r->len < TRACE_SIZE);
}

static void field(void *owner, const struct http2_block *block, const char *name, size_t name_len, const char *value,
                  size_t value_len)
{
	assert_true(block->stream != 0);
	if (name_len + value_len > 64)
		say(owner, "<%zu>=<%zu>;", name_len, value_len);
	else
		say(owner, "%.*s=%.*s;", (int)name_len, name, (int)value_len, value);
}

static void data(void *owner, uint32_t stream, size_t len)
{
	struct run *r = owner;

	assert_int_not_equal(stream, 0);
	assert_int_not_equal(len, 0);
	r->data += len;
}

static void say_event(struct run *r, const struct http2_half *half)
{
	static const char *const kinds[] = { "request", "response", "interim", "trailers", "promise" };
	const struct http2_block *b = &half->block;

	if (r->data > 0)
		say(r, "data %llu ", (unsigned long long)r->data);
	r->data = 0;
	switch (r->status) {
	case HTTP2_MORE: break;
	case HTTP2_BLOCK:
		say(r, "%u %s", b->stream, kinds[b->kind]);
		if (b->promised)
			say(r, " %u", b->promised);
		if (b->status)
			say(r, " %u", b->status);
		say(r, "%s%s @%llu+%u", b->sound ? "" : " unsound", b->end_stream ? " last" : "",
		    (unsigned long long)b->frame_at, b->frame_len);
		if (b->pad)
			say(r, "-%u", b->pad);
		say(r, "\n");
		break;
	case HTTP2_END: say(r, "%u end\n", half->stream); break;
	case HTTP2_RESET: say(r, "%u reset %u\n", half->stream, half->code); break;
	case HTTP2_GOAWAY: say(r, "goaway %u %u\n", half->stream, half->code); break;
	case HTTP2_SETTINGS: say(r, "settings\n"); break;
	case HTTP2_SETTINGS_ACK: say(r, "ack\n"); break;
	case HTTP2_ALIEN: say(r, "ALIEN\n"); break;
	}
}

/* Feed a piece, which lies right before a page that nobody may read, or right behind one. */
static void feed(struct run *r, enum http2_side from, const char *in, size_t len, bool behind)
{
	const struct http2_sink sink = { .field = field, .data = data, .owner = r };
	char *piece = behind ? arena : arena + ARENA_SIZE - len;

	memcpy(piece, in, len);
	do {
		uint64_t before = r->h.half[from].taken;
		size_t used = SIZE_MAX;

		r->status = http2_feed(&r->h, from, &sink, piece, len, &used);
		assert_true(used <= len);
		assert_int_equal(r->h.half[from].taken, before + used);
		if (r->status == HTTP2_MORE || r->status == HTTP2_ALIEN)
			assert_int_equal(used, len);
		if (r->status != HTTP2_MORE)
			say_event(r, &r->h.half[from]);
		piece += used;
		len -= used;
	} while (r->status != HTTP2_ALIEN && (len > 0 || r->status != HTTP2_MORE));
}

static void begin(struct run *r)
{
	memset(r, 0, sizeof(*r));
	http2_init(&r->h, false);
}

static void end(struct run *r)
{
	http2_free(&r->h);
	http2_free(&r->h);
}

/* What the other side has said before. */
static void feed_quietly(struct run *r, enum http2_side from, const struct bytes *in)
{
	feed(r, from, in->at, in->len, false);
	r->len = 0;
	r->trace[0] = 0;
	r->data = 0;
}

/* Is the scanner in the frame that byte `at` of the direction is in? */
static void expect_left(const struct run *r, enum http2_side from, const struct bytes *in, size_t at)
{
	size_t end = from == HTTP2_CLIENT ? HTTP2_PREFACE_LEN : 0, header = 0;

	while (end < at && at - end >= 9) {
		const unsigned char *frame = (const unsigned char *)in->at + end;

		end += 9 + ((size_t)frame[0] << 16 | (size_t)frame[1] << 8 | frame[2]);
	}
	if (end < at)
		header = at - end;
	assert_int_equal(http2_left(&r->h.half[from]), end > at ? end - at : 0);
	if (end <= at)
		assert_int_equal(r->h.half[from].part_len, header);
	if (header > 0)
		assert_memory_equal(r->h.half[from].part, in->at + end, header);
}

/* `in` after `before` of the other side: the trace must be `expected`, however it is split. Frees `in`. */
static void expect_after(const struct bytes *before, enum http2_side from, struct bytes in, const char *expected)
{
	static struct run r;
	size_t split;

	for (split = 0; split <= in.len; split++) {
		begin(&r);
		if (before != NULL)
			feed_quietly(&r, from == HTTP2_CLIENT ? HTTP2_SERVER : HTTP2_CLIENT, before);
		feed(&r, from, in.at, split, true);
		if (r.status != HTTP2_ALIEN)
			feed(&r, from, in.at + split, in.len - split, false);
		assert_string_equal(r.trace, expected);
		end(&r);
	}
	begin(&r);
	if (before != NULL)
		feed_quietly(&r, from == HTTP2_CLIENT ? HTTP2_SERVER : HTTP2_CLIENT, before);
	for (size_t i = 0; i < in.len && r.status != HTTP2_ALIEN; i++) {
		feed(&r, from, in.at + i, 1, i % 2);
		if (r.status != HTTP2_ALIEN)
			expect_left(&r, from, &in, i + 1);
	}
	assert_string_equal(r.trace, expected);
	end(&r);
	free(in.at);
}

static void expect(enum http2_side from, struct bytes in, const char *expected)
{
	expect_after(NULL, from, in, expected);
}

#define GET ":method: GET\n:scheme: http\n:path: /\n:authority: h\n"
#define SAID_GET ":method=GET;:scheme=http;:path=/;:authority=h;"

/* A client that has opened streams 1 and 3. */
static struct bytes asking_client(void)
{
	struct bytes b = client();

	add_block(&b, HEADERS, LAST | END, 1, GET);
	add_block(&b, HEADERS, LAST, 3, GET);
	return b;
}

static void requests_on_streams_are_told(void **state)
{
	struct bytes in = client();

	(void)state;
	add_block(&in, HEADERS, LAST | END, 1, GET "x: y\n");
	add_block(&in, HEADERS, LAST, 3, ":method: POST\n:scheme: https\n:path: /p\n");
	add_frame(&in, DATA, 0, 3, "12345", 5);
	add_frame(&in, WINDOW, 0, 0, "\0\0\0\1", 4);
	add_frame(&in, PING, 0, 0, "12345678", 8);
	add_frame(&in, DATA, END, 3, "6", 1);
	add_frame(&in, RST, 0, 1, "\0\0\0\10", 4);
	add_frame(&in, GOAWAY, 0, 0, "\0\0\0\0\0\0\0\2why", 11);
	expect(HTTP2_CLIENT, in,
	       "settings\n" SAID_GET "x=y;1 request last @33+55\n"
	       ":method=POST;:scheme=https;:path=/p;3 request @97+39\n"
	       "data 6 3 end\n1 reset 8\ngoaway 0 2\n");
}

static void responses_interim_ones_and_trailers_are_told(void **state)
{
	struct bytes before = asking_client(), in = server();

	(void)state;
	add_frame(&in, SETTINGS, ACK, 0, NULL, 0);
	add_block(&in, HEADERS, LAST, 1, ":status: 103\nlink: l\n");
	add_block(&in, HEADERS, LAST, 1, ":status: 200\ncontent-type: application/grpc\n");
	add_frame(&in, DATA, 0, 1, "abc", 3);
	add_block(&in, HEADERS, LAST | END, 1, "grpc-status: 0\n");
	add_block(&in, HEADERS, LAST | END, 3, ":status: 404\n");
	expect_after(&before, HTTP2_SERVER, in,
	             "settings\nack\n"
	             ":status=103;link=l;1 interim 103 @18+21\n"
	             ":status=200;content-type=application/grpc;1 response 200 @48+44\n"
	             "grpc-status=0;data 3 1 trailers last @113+15\n"
	             ":status=404;3 response 404 last @137+13\n");
	free(before.at);
}

static void blocks_in_pieces_with_padding_and_priority_are_one(void **state)
{
	struct bytes in = client(), block = block_of(GET), payload = { 0 };

	(void)state;
	add_number(&payload, 7, 1);           /* padding */
	add_number(&payload, 0x80000003u, 4); /* exclusive, of stream 3 */
	add_number(&payload, 200, 1);         /* weight */
	add(&payload, block.at, 5);
	add(&payload, "\0\0\0\0\0\0\0", 7);
	add_frame(&in, HEADERS, END | PADDED | WEIGHTED, 5, payload.at, payload.len);
	add_frame(&in, CONTINUATION, 0, 5, NULL, 0);
	add_frame(&in, CONTINUATION, 0, 5, block.at + 5, 1);
	add_frame(&in, CONTINUATION, LAST, 5, block.at + 6, block.len - 6);
	add_frame(&in, 0xbe, 0xff, 77, "unknown", 7);
	payload.len = 0;
	add_number(&payload, 3, 1);
	add(&payload, block.at, block.len);
	add(&payload, "\0\0\0", 3);
	add_frame(&in, HEADERS, END | LAST | PADDED, 7, payload.at, payload.len);
	add_frame(&in, HEADERS, END | LAST | PADDED, 9, "\0", 1);
	expect(HTTP2_CLIENT, in,
	       "settings\n" SAID_GET "5 request last @79+44\n" SAID_GET "7 request last @148+54-3\n"
	       "9 request unsound last @211+1\n");
	free(payload.at);
	free(block.at);
}

static void padding_of_data_is_no_data(void **state)
{
	struct bytes in = asking_client();

	(void)state;
	add_frame(&in, DATA, PADDED, 3, "\2ab\0\0", 5);
	add_frame(&in, DATA, PADDED, 3, "\0cd", 3);
	add_frame(&in, DATA, PADDED | END, 3, "\3\0\0\0", 4);
	expect(HTTP2_CLIENT, in,
	       "settings\n" SAID_GET "1 request last @33+50\n" SAID_GET "3 request @92+50\ndata 4 3 end\n");
}

static void promises_are_told(void **state)
{
	struct bytes before = asking_client(), in = server(), block = block_of(GET), payload = { 0 };

	(void)state;
	add_number(&payload, 2, 4);
	add(&payload, block.at, block.len);
	add_frame(&in, PUSH, LAST, 1, payload.at, payload.len);
	add_block(&in, HEADERS, LAST | END, 2, ":status: 200\n");
	payload.len = 0;
	add_number(&payload, 1, 1);
	add_number(&payload, 6, 4);
	add(&payload, block.at, 3);
	add(&payload, "\0", 1);
	add_frame(&in, PUSH, PADDED, 3, payload.at, payload.len);
	add_frame(&in, CONTINUATION, LAST, 3, block.at + 3, block.len - 3);
	expect_after(&before, HTTP2_SERVER, in,
	             "settings\n" SAID_GET "1 promise 2 @9+54\n:status=200;2 response 200 last @72+13\n" SAID_GET
	             "3 promise 6 @112+47\n");
	free(payload.at);
	free(block.at);
	free(before.at);
}

/* A block that is the client's third frame, and unsound. */
static void expect_unsound(enum http2_side from, unsigned flags, const char *fields)
{
	struct bytes before = from == HTTP2_CLIENT ? (struct bytes){ 0 } : asking_client();
	struct bytes in = from == HTTP2_CLIENT ? client() : server();
	static struct run r;

	add_block(&in, HEADERS, LAST | flags, 1, fields);
	begin(&r);
	if (from == HTTP2_SERVER)
		feed_quietly(&r, HTTP2_CLIENT, &before);
	feed(&r, from, in.at, in.len, false);
	assert_int_equal(r.status, HTTP2_MORE);
	if (r.h.half[from].block.sound)
		fail_msg("sound: %s", fields);
	end(&r);
	free(in.at);
	free(before.at);
}

static void malformed_requests_are_unsound(void **state)
{
	static const char *const requests[] = {
		":method: GET\n:scheme: http\n",
		":method: GET\n:path: /\n",
		":scheme: http\n:path: /\n",
		":method: GET\n:scheme: http\n:path: \n",
		":method: \n:scheme: http\n:path: /\n",
		GET ":path: /\n",
		GET ":status: 200\n",
		GET ":other: 1\n",
		GET ":protocol: websocket\n",
		"x: y\n" GET,
		GET "X: y\n",
		GET "x y: z\n",
		GET "x: a\rb\n",
		GET "x: a\x7f\n",
		GET "connection: close\n",
		GET "transfer-encoding: chunked\n",
		GET "proxy-connection: close\n",
		GET "upgrade: h2c\n",
		GET "keep-alive: 1\n",
		GET "te: gzip\n",
		":method: CONNECT\n:path: /\n:authority: h\n",
		":method: CONNECT\n",
		"x: y\n",
	};

	(void)state;
	for (size_t i = 0; i < sizeof(requests) / sizeof(requests[0]); i++)
		expect_unsound(HTTP2_CLIENT, END, requests[i]);
}

static void malformed_responses_are_unsound(void **state)
{
	static const char *const responses[] = {
		":status: 20\n",
		":status: 2000\n",
		":status: 099\n",
		":status: 20a\n",
		":status: 200\n:status: 200\n",
		"x: y\n:status: 200\n",
		":status: 200\n:path: /\n",
		":status: 101\n",
		":path: /\n",
	};

	(void)state;
	for (size_t i = 0; i < sizeof(responses) / sizeof(responses[0]); i++)
		expect_unsound(HTTP2_SERVER, 0, responses[i]);
	expect_unsound(HTTP2_SERVER, END, ":status: 100\n");
	expect_unsound(HTTP2_SERVER, 0, "trailers: that do not end the stream\n");
}

static void connect_and_te_trailers_are_sound(void **state)
{
	struct bytes in = client();

	(void)state;
	add_block(&in, HEADERS, LAST, 1, ":method: CONNECT\n:authority: h\n");
	add_block(&in, HEADERS, LAST, 3, ":method: CONNECT\n:protocol: websocket\n:scheme: https\n:path: /\n");
	add_block(&in, HEADERS, LAST, 5, GET "te: trailers\nx: \n");
	add_block(&in, HEADERS, LAST | END, 5, "a: b\n");
	add_block(&in, HEADERS, LAST | END, 3, GET);
	expect(HTTP2_CLIENT, in,
	       "settings\n"
	       ":method=CONNECT;:authority=h;1 request @33+31\n"
	       ":method=CONNECT;:protocol=websocket;:scheme=https;:path=/;3 request @73+62\n" SAID_GET
	       "te=trailers;x=;5 request @144+67\n"
	       "a=b;5 trailers last @220+5\n" SAID_GET "3 trailers unsound last @234+50\n");
}

static void grpc_says_what_it_is_and_how_a_call_went(void **state)
{
	static const struct {
		const char *type;
		bool grpc;
	} types[] = { { "application/grpc", true },     { "application/grpc+proto", true },
		      { "application/grpc;a=b", true }, { "application/grpc-web", false },
		      { "application/json", false },    { "application/grp", false } };
	static const struct {
		const char *said;
		unsigned status;
	} statuses[] = { { "0", 0 },
		         { "16", 16 },
		         { "17", HTTP2_NO_GRPC_STATUS },
		         { "", HTTP2_NO_GRPC_STATUS },
		         { "1a", HTTP2_NO_GRPC_STATUS },
		         { "005", HTTP2_NO_GRPC_STATUS } };
	static struct run r;
	struct bytes in = client(), out = server();
	char fields[200];

	(void)state;
	begin(&r);
	feed_quietly(&r, HTTP2_CLIENT, &in);
	feed_quietly(&r, HTTP2_SERVER, &out);
	for (size_t i = 0; i < sizeof(types) / sizeof(types[0]); i++) {
		in.len = out.len = 0;
		snprintf(fields, sizeof(fields), GET "content-type: %s\n", types[i].type);
		add_block(&in, HEADERS, LAST, (uint32_t)(2 * i + 1), fields);
		feed_quietly(&r, HTTP2_CLIENT, &in);
		assert_int_equal(r.h.half[HTTP2_CLIENT].block.grpc, types[i].grpc);
		assert_int_equal(r.h.half[HTTP2_CLIENT].block.grpc_status, HTTP2_NO_GRPC_STATUS);
		snprintf(fields, sizeof(fields), "grpc-status: %s\n", statuses[i].said);
		add_block(&out, HEADERS, LAST | END, (uint32_t)(2 * i + 1), fields);
		feed_quietly(&r, HTTP2_SERVER, &out);
		assert_int_equal(r.h.half[HTTP2_SERVER].block.kind, HTTP2_TRAILERS);
		assert_int_equal(r.h.half[HTTP2_SERVER].block.grpc_status, statuses[i].status);
	}
	end(&r);
	free(in.at);
	free(out.at);
}

/* `in` is taken up to its last frame, and poisons the connection at the latest one byte behind it. */
static void expect_alien_after(struct bytes before, enum http2_side from, struct bytes in)
{
	static struct run r;

	begin(&r);
	if (before.at != NULL)
		feed_quietly(&r, from == HTTP2_CLIENT ? HTTP2_SERVER : HTTP2_CLIENT, &before);
	assert_int_not_equal(r.status, HTTP2_ALIEN);
	for (size_t i = 0; i < in.len && r.status != HTTP2_ALIEN; i++)
		feed(&r, from, in.at + i, 1, true);
	assert_int_equal(r.status, HTTP2_ALIEN);
	feed(&r, from, "x", 1, true);
	assert_int_equal(r.status, HTTP2_ALIEN);
	feed(&r, from == HTTP2_CLIENT ? HTTP2_SERVER : HTTP2_CLIENT, "", 0, true);
	assert_int_equal(r.status, HTTP2_ALIEN);
	assert_false(http2_between_frames(&r.h, from));
	end(&r);
	free(in.at);
	free(before.at);
}

static void expect_alien(struct bytes in)
{
	expect_alien_after((struct bytes){ 0 }, HTTP2_CLIENT, in);
}

/* A client that sends one frame more. */
static struct bytes client_with(unsigned type, unsigned flags, uint32_t stream, const void *payload, size_t len)
{
	struct bytes b = asking_client();

	add_frame(&b, type, flags, stream, payload, len);
	return b;
}

static void what_is_no_connection_of_http2_is_alien(void **state)
{
	struct bytes in = { 0 };

	(void)state;
	add(&in, "PRI * HTTP/2.0\r\n\r\nSM\r\n\rx", 24);
	expect_alien(in);
	in = (struct bytes){ 0 };
	add(&in, HTTP2_PREFACE, HTTP2_PREFACE_LEN);
	add_frame(&in, PING, 0, 0, "12345678", 8);
	expect_alien(in);
	in = (struct bytes){ 0 };
	add(&in, HTTP2_PREFACE, HTTP2_PREFACE_LEN);
	add_frame(&in, SETTINGS, ACK, 0, NULL, 0);
	expect_alien(in);
}

static void frames_that_cannot_be_are_alien(void **state)
{
	static const char zeros[64];

	(void)state;
	expect_alien(client_with(DATA, 0, 0, "x", 1));
	expect_alien(client_with(DATA, 0, 2, "x", 1));
	expect_alien(client_with(DATA, 0, 5, "x", 1));
	expect_alien(client_with(DATA, PADDED, 3, "", 0));
	expect_alien(client_with(DATA, PADDED, 3, "\2x", 2));
	expect_alien(client_with(HEADERS, LAST, 0, "", 0));
	expect_alien(client_with(HEADERS, LAST, 4, "", 0));
	expect_alien(client_with(HEADERS, LAST | PADDED, 5, "", 0));
	expect_alien(client_with(HEADERS, LAST | PADDED, 5, "\1", 1));
	expect_alien(client_with(HEADERS, LAST | WEIGHTED, 5, zeros, 4));
	expect_alien(client_with(HEADERS, LAST | WEIGHTED | PADDED, 5, zeros, 5));
	expect_alien(client_with(HEADERS, LAST | WEIGHTED | PADDED, 5, "\1\0\0\0\0\0", 6));
	expect_alien(client_with(PRIORITY, 0, 3, zeros, 4));
	expect_alien(client_with(PRIORITY, 0, 0, zeros, 5));
	expect_alien(client_with(RST, 0, 3, zeros, 5));
	expect_alien(client_with(RST, 0, 0, zeros, 4));
	expect_alien(client_with(RST, 0, 5, zeros, 4));
	expect_alien(client_with(SETTINGS, 0, 0, zeros, 5));
	expect_alien(client_with(SETTINGS, 0, 1, zeros, 6));
	expect_alien(client_with(SETTINGS, ACK, 0, zeros, 6));
	expect_alien(client_with(SETTINGS, ACK, 0, "", 0));
	expect_alien(client_with(PUSH, LAST, 1, "\0\0\0\2", 4));
	expect_alien(client_with(PING, 0, 0, zeros, 7));
	expect_alien(client_with(PING, 0, 1, zeros, 8));
	expect_alien(client_with(GOAWAY, 0, 0, zeros, 7));
	expect_alien(client_with(GOAWAY, 0, 1, zeros, 8));
	expect_alien(client_with(WINDOW, 0, 0, zeros, 5));
	expect_alien(client_with(CONTINUATION, LAST, 3, "", 0));
}

static void what_a_server_cannot_say_is_alien(void **state)
{
	static const struct {
		unsigned type, flags;
		uint32_t stream;
		const char *payload;
		size_t len;
	} frames[] = {
		{ HEADERS, LAST, 5, "", 0 },
		{ HEADERS, LAST, 2, "", 0 },
		{ DATA, 0, 2, "x", 1 },
		{ RST, 0, 2, "\0\0\0\1", 4 },
		{ PUSH, LAST, 5, "\0\0\0\2", 4 },
		{ PUSH, LAST, 2, "\0\0\0\2", 4 },
		{ PUSH, LAST, 1, "\0\0\0\3", 4 },
		{ PUSH, LAST, 1, "\0\0\0\0", 4 },
		{ PUSH, LAST, 1, "\0\0\2", 3 },
		{ PUSH, LAST | PADDED, 1, "\1\0\0\0\2", 5 },
		{ SETTINGS, 0, 0, "\0\2\0\0\0\1", 6 },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(frames) / sizeof(frames[0]); i++) {
		struct bytes in = server();

		add_frame(&in, frames[i].type, frames[i].flags, frames[i].stream, frames[i].payload, frames[i].len);
		expect_alien_after(asking_client(), HTTP2_SERVER, in);
	}
}

static void nothing_comes_between_the_frames_of_a_block(void **state)
{
	static const struct {
		unsigned type;
		uint32_t stream;
		size_t len;
	} between[] = { { CONTINUATION, 7, 0 }, { DATA, 3, 1 }, { HEADERS, 5, 0 }, { HEADERS, 7, 0 },
		        { WINDOW, 0, 4 },       { 0xbe, 5, 1 }, { SETTINGS, 0, 0 } };

	(void)state;
	for (size_t i = 0; i < sizeof(between) / sizeof(between[0]); i++) {
		struct bytes in = client_with(HEADERS, 0, 5, "", 0);

		add_frame(&in, between[i].type, LAST, between[i].stream, "\0\0\0\1", between[i].len);
		expect_alien(in);
	}
}

static void settings_out_of_range_are_alien(void **state)
{
	static const struct {
		unsigned identifier;
		uint32_t value;
	} wrong[] = { { 2, 2 }, { 4, 0x80000000u }, { 5, 16383 }, { 5, 0x1000000 } };

	(void)state;
	for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
		struct bytes in = asking_client();

		add_setting(&in, wrong[i].identifier, wrong[i].value);
		expect_alien(in);
	}
}

static void settings_that_nobody_acknowledges_are_bounded(void **state)
{
	static struct run r;
	struct bytes in = client(), frame = { 0 }, ack = server();

	(void)state;
	add_frame(&frame, SETTINGS, 0, 0, NULL, 0);
	begin(&r);
	feed(&r, HTTP2_CLIENT, in.at, in.len, false);
	for (int i = 1; i < HTTP2_SETTINGS_PENDING; i++)
		feed(&r, HTTP2_CLIENT, frame.at, frame.len, false);
	assert_int_equal(r.status, HTTP2_MORE);
	add_frame(&ack, SETTINGS, ACK, 0, NULL, 0);
	feed(&r, HTTP2_SERVER, ack.at, ack.len, false);
	feed(&r, HTTP2_CLIENT, frame.at, frame.len, false);
	assert_int_equal(r.status, HTTP2_MORE);
	feed(&r, HTTP2_CLIENT, frame.at, frame.len, false);
	assert_int_equal(r.status, HTTP2_ALIEN);
	end(&r);
	free(in.at);
	free(frame.at);
	free(ack.at);
}

static void a_long_frame_is_taken_once_the_other_side_allows_it(void **state)
{
	static char zeros[20000];
	static struct run r;
	struct bytes in = asking_client(), out = server(), longer = { 0 }, ack = { 0 };

	(void)state;
	expect_alien(client_with(DATA, 0, 3, zeros, HTTP2_FRAME_MIN + 1));
	begin(&r);
	feed(&r, HTTP2_CLIENT, in.at, in.len, false);
	add_frame(&longer, DATA, 0, 3, zeros, HTTP2_FRAME_MIN);
	feed(&r, HTTP2_CLIENT, longer.at, longer.len, false);
	assert_int_equal(r.status, HTTP2_MORE);
	add_setting(&out, 5, 20000);
	feed(&r, HTTP2_SERVER, out.at, out.len, false);
	assert_int_equal(http2_max_frame(&r.h, HTTP2_CLIENT), HTTP2_FRAME_MIN);
	longer.len = 0;
	add_frame(&longer, DATA, 0, 3, zeros, 20000);
	feed(&r, HTTP2_CLIENT, longer.at, longer.len, false);
	assert_int_equal(r.status, HTTP2_MORE);
	add_frame(&ack, SETTINGS, ACK, 0, NULL, 0);
	feed(&r, HTTP2_CLIENT, ack.at, ack.len, false); /* the server's first SETTINGS, that were empty */
	assert_int_equal(http2_max_frame(&r.h, HTTP2_CLIENT), HTTP2_FRAME_MIN);
	feed(&r, HTTP2_CLIENT, ack.at, ack.len, false);
	assert_int_equal(http2_max_frame(&r.h, HTTP2_CLIENT), 20000);
	assert_int_equal(http2_max_frame(&r.h, HTTP2_SERVER), HTTP2_FRAME_MIN);
	out.len = 0;
	add_setting(&out, 5, HTTP2_FRAME_MIN);
	feed(&r, HTTP2_SERVER, out.at, out.len, false);
	assert_int_equal(http2_max_frame(&r.h, HTTP2_CLIENT), HTTP2_FRAME_MIN);
	feed(&r, HTTP2_CLIENT, longer.at, longer.len, false);
	assert_int_equal(r.status, HTTP2_MORE);
	feed(&r, HTTP2_CLIENT, ack.at, ack.len, false);
	feed(&r, HTTP2_CLIENT, longer.at, longer.len, false);
	assert_int_equal(r.status, HTTP2_ALIEN);
	end(&r);
	free(in.at);
	free(out.at);
	free(longer.at);
	free(ack.at);
}

static void the_longest_list_of_fields_is_known(void **state)
{
	static struct run r;
	struct bytes in = client(), out = { 0 }, ack = { 0 };

	(void)state;
	begin(&r);
	assert_int_equal(http2_max_list(&r.h, HTTP2_CLIENT), UINT32_MAX);
	feed(&r, HTTP2_CLIENT, in.at, in.len, false);
	add_setting(&out, 6, 5000);
	feed(&r, HTTP2_SERVER, out.at, out.len, false);
	assert_int_equal(http2_max_list(&r.h, HTTP2_CLIENT), 5000);
	out.len = 0;
	add_setting(&out, 6, 9000);
	feed(&r, HTTP2_SERVER, out.at, out.len, false);
	add_frame(&ack, SETTINGS, ACK, 0, NULL, 0);
	feed(&r, HTTP2_CLIENT, ack.at, ack.len, false);
	assert_int_equal(http2_max_list(&r.h, HTTP2_CLIENT), 5000);
	feed(&r, HTTP2_CLIENT, ack.at, ack.len, false);
	assert_int_equal(http2_max_list(&r.h, HTTP2_CLIENT), 9000);
	end(&r);
	free(in.at);
	free(out.at);
	free(ack.at);
}

static void continuations_are_bounded(void **state)
{
	struct bytes in = client_with(HEADERS, 0, 5, "", 0), more;
	static struct run r;

	(void)state;
	for (int i = 0; i < HTTP2_CONTINUATIONS; i++)
		add_frame(&in, CONTINUATION, i + 1 == HTTP2_CONTINUATIONS ? LAST : 0, 5, "", 0);
	begin(&r);
	feed(&r, HTTP2_CLIENT, in.at, in.len, false);
	assert_int_equal(r.status, HTTP2_MORE);
	end(&r);
	free(in.at);
	more = client_with(HEADERS, 0, 5, "", 0);
	for (int i = 0; i < HTTP2_CONTINUATIONS + 1; i++)
		add_frame(&more, CONTINUATION, 0, 5, "", 0);
	expect_alien(more);
}

/* A value of 4,000 bytes is put into the table, and then named over and over: a byte each. */
static void a_block_that_swells_is_alien(void **state)
{
	static char fields[5000], value[4000];
	static struct run r;
	struct bytes in = client();
	size_t len;

	(void)state;
	memset(value, 'v', sizeof(value));
	len = http2_put_field(fields, sizeof(fields), "n", 1, value, sizeof(value));
	fields[0] = 0x40; /* the same, and into the table */
	add_frame(&in, HEADERS, LAST, 1, fields, len);
	memset(fields, 0x80 | 62, sizeof(fields)); /* the table's first */
	add_frame(&in, HEADERS, LAST, 3, fields, LIMIT_HEAD_BYTES / (4000 + 1 + 32));
	begin(&r);
	feed(&r, HTTP2_CLIENT, in.at, in.len, false);
	assert_int_equal(r.status, HTTP2_MORE);
	assert_int_equal(r.h.half[HTTP2_CLIENT].block.fields, 64);
	end(&r);
	add_frame(&in, HEADERS, LAST, 5, fields, LIMIT_HEAD_BYTES / (4000 + 1 + 32) + 1);
	expect_alien(in);
}

/* Updates of the table's size: they may stand at the beginning of a block as often as one likes, and are no fields. */
static void a_block_that_is_too_long_is_alien(void **state)
{
	static char updates[HTTP2_FRAME_MIN];
	static struct run r;
	struct bytes in = client(), more = { 0 };

	(void)state;
	memset(updates, 0x20, sizeof(updates));
	add_frame(&in, HEADERS, 0, 1, updates, sizeof(updates));
	for (size_t i = 1; i < LIMIT_HEAD_BYTES / sizeof(updates); i++)
		add_frame(&in, CONTINUATION, 0, 1, updates, sizeof(updates));
	begin(&r);
	feed(&r, HTTP2_CLIENT, in.at, in.len, false);
	assert_int_equal(r.status, HTTP2_MORE);
	add_frame(&more, CONTINUATION, LAST, 1, updates, 1);
	feed(&r, HTTP2_CLIENT, more.at, more.len, false);
	assert_int_equal(r.status, HTTP2_ALIEN);
	end(&r);
	free(in.at);
	free(more.at);
}

static void what_hpack_cannot_decode_is_alien(void **state)
{
	(void)state;
	expect_alien(client_with(HEADERS, LAST, 5, "\x80", 1)); /* index 0 */
	expect_alien(client_with(HEADERS, LAST, 5, "\xff\xff\xff\xff\xff\xff\xff", 7));
	expect_alien(client_with(HEADERS, LAST, 5, "\xbe", 1));     /* an entry that is not there */
	expect_alien(client_with(HEADERS, LAST, 5, "\x00\x01", 2)); /* ends within a name */
	expect_alien(client_with(HEADERS, LAST, 5, "\x00\x7f\xff\xff\xff\x7f", 6));
	expect_alien(client_with(HEADERS, LAST, 5, "\x3f\xe2\x1f", 3)); /* a table of 4,097 bytes */
}

static bool want_named(const char *name, size_t name_len)
{
	return name_len == 6 && memcmp(name, "wanted", 6) == 0;
}

/* One request in a frame of its own, to an owner that wants only fields "wanted". Returns whether it was known. */
static bool ask_again(struct run *r, const char *block, size_t len)
{
	const struct http2_sink sink = { .wants = want_named, .field = field, .owner = r };
	const struct http2_half *half = &r->h.half[HTTP2_CLIENT];
	struct bytes in = { 0 };
	size_t used;

	add_frame(&in, HEADERS, LAST | END, half->last + 2, block, len);
	assert_int_equal(http2_feed(&r->h, HTTP2_CLIENT, &sink, in.at, in.len, &used), HTTP2_BLOCK);
	assert_int_equal(half->block.kind, HTTP2_REQUEST);
	assert_true(half->block.sound);
	free(in.at);
	return half->known;
}

#define ASK(r, block) ask_again(r, block, sizeof(block) - 1)
#define GET_ROOT "\x82\x86\x84" /* :method GET, :scheme http, :path / */

static void begin_asking(struct run *r)
{
	struct bytes in = client();

	begin(r);
	feed_quietly(r, HTTP2_CLIENT, &in);
	r->h.half[HTTP2_CLIENT].last = 1;
	free(in.at);
}

static void a_block_that_comes_again_is_known(void **state)
{
	static struct run r;
	const struct http2_block *block = &r.h.half[HTTP2_CLIENT].block;

	(void)state;
	begin_asking(&r);
	assert_false(ASK(&r, GET_ROOT "\x01\x01"
	                              "a"));
	assert_true(ASK(&r, GET_ROOT "\x01\x01"
	                             "a"));
	assert_int_equal(block->fields, 4);
	assert_int_equal(block->list_bytes, 7 + 3 + 7 + 4 + 5 + 1 + 10 + 1 + 4 * 32);
	assert_true(ASK(&r, GET_ROOT "\x01\x01"
	                             "a"));
	assert_false(ASK(&r, GET_ROOT "\x01\x01"
	                              "b"));
	assert_false(ASK(&r, GET_ROOT));
	assert_true(ASK(&r, GET_ROOT));
	assert_int_equal(block->fields, 3);
	assert_false(ASK(&r, GET_ROOT "\x10\x01"
	                              "n\x01"
	                              "v")); /* never indexed, of a new name */
	assert_true(ASK(&r, GET_ROOT "\x10\x01"
	                             "n\x01"
	                             "v"));
	assert_string_equal(r.trace, "");
	end(&r);
}

static void what_was_told_of_a_block_is_told_again(void **state)
{
	static struct run r;

	(void)state;
	begin_asking(&r);
	assert_false(ASK(&r, GET_ROOT "\x00\x06"
	                              "wanted\x01"
	                              "v"));
	assert_true(ASK(&r, GET_ROOT "\x00\x06"
	                             "wanted\x01"
	                             "v"));
	assert_string_equal(r.trace, "wanted=v;wanted=v;");
	assert_false(ASK(&r, GET_ROOT));
	assert_true(ASK(&r, GET_ROOT));
	assert_string_equal(r.trace, "wanted=v;wanted=v;");
	assert_false(ASK(&r, GET_ROOT "\x00\x06"
	                              "wanted\x00"
	                              "\x00\x06"
	                              "wanted\x01"
	                              "w"));
	assert_true(ASK(&r, GET_ROOT "\x00\x06"
	                             "wanted\x00"
	                             "\x00\x06"
	                             "wanted\x01"
	                             "w"));
	assert_string_equal(r.trace, "wanted=v;wanted=v;wanted=;wanted=w;wanted=;wanted=w;");
	end(&r);
}

/* Of a field that is in the table, few bytes say as much as one likes. */
static void what_has_no_room_to_be_told_again_is_read_again(void **state)
{
	static const char enters[] = GET_ROOT "\x40\x06"
					      "wanted\x7f"; /* its length: 127, and what is behind */
	size_t room = HTTP2_TOLD_MAX - strlen("wanted") - 2 * sizeof(uint16_t);
	static struct run r;

	(void)state;
	for (size_t len = room - 1; len <= room + 1; len++) {
		char in[sizeof(enters) - 1 + 2 + HTTP2_TOLD_MAX], told[64];

		memset(in, 'v', sizeof(in));
		memcpy(in, enters, sizeof(enters) - 1);
		in[sizeof(enters) - 1] = (char)((len - 127) | 128);
		in[sizeof(enters)] = (char)((len - 127) >> 7);
		begin_asking(&r);
		assert_false(ask_again(&r, in, sizeof(enters) + 1 + len));
		assert_false(ASK(&r, GET_ROOT "\xbe"));
		assert_int_equal(ASK(&r, GET_ROOT "\xbe"), len <= room);
		snprintf(told, sizeof(told), "<6>=<%zu>;<6>=<%zu>;<6>=<%zu>;", len, len, len);
		assert_string_equal(r.trace, told);
		end(&r);
	}
}

static void a_block_that_enters_fields_is_known_and_enters_them_each_time(void **state)
{
	static struct run r;
	const struct http2_block *block = &r.h.half[HTTP2_CLIENT].block;

	(void)state;
	begin_asking(&r);
	assert_false(ASK(&r, GET_ROOT "\x40\x01"
	                              "n\x01"
	                              "v"));
	assert_true(ASK(&r, GET_ROOT "\x40\x01"
	                             "n\x01"
	                             "v"));
	assert_int_equal(block->list_bytes, 7 + 3 + 7 + 4 + 5 + 1 + 1 + 1 + 4 * 32);
	assert_false(ASK(&r, GET_ROOT "\xbf")); /* so there are two */
	assert_true(ASK(&r, GET_ROOT "\xbf"));
	assert_int_equal(block->list_bytes, 7 + 3 + 7 + 4 + 5 + 1 + 1 + 1 + 4 * 32);
	assert_false(ASK(&r, GET_ROOT "\x7e\x02"
	                              "vv")); /* now the second one is the first one of before */
	assert_false(ASK(&r, GET_ROOT "\xbe"));
	assert_int_equal(block->list_bytes, 7 + 3 + 7 + 4 + 5 + 1 + 1 + 2 + 4 * 32);
	assert_true(ASK(&r, GET_ROOT "\xbe"));
	assert_false(ASK(&r, "\x20" GET_ROOT)); /* emptied */
	assert_false(ASK(&r, "\x20" GET_ROOT));
	end(&r);
}

static void a_block_that_enters_what_it_has_of_the_table_is_read_each_time(void **state)
{
	static struct run r;
	const struct http2_block *block = &r.h.half[HTTP2_CLIENT].block;

	(void)state;
	begin_asking(&r);
	assert_false(ASK(&r, GET_ROOT "\x40\x01"
	                              "n\x01"
	                              "v"));
	assert_false(ASK(&r, GET_ROOT "\x40\x02"
	                              "nn\x01"
	                              "v"));
	for (int i = 0; i < 4; i++) { /* the name of the last but one, in turn */
		assert_false(ASK(&r, GET_ROOT "\x7f\x00\x01"
		                              "v"));
		assert_int_equal(block->list_bytes, 7 + 3 + 7 + 4 + 5 + 1 + (i % 2 == 0 ? 1 : 2) + 1 + 4 * 32);
	}
	end(&r);
}

static void a_block_is_read_again_after_settings_of_the_table(void **state)
{
	const struct http2_sink sink = { .wants = want_named, .field = field };
	static const char smaller[] = { 0, 1, 0, 0, 0, 0 };
	static struct run r;
	struct bytes server = { 0 }, in = { 0 };
	size_t used;

	(void)state;
	begin_asking(&r);
	assert_false(ASK(&r, GET_ROOT));
	assert_true(ASK(&r, GET_ROOT));
	add_frame(&server, SETTINGS, 0, 0, smaller, sizeof(smaller));
	feed_quietly(&r, HTTP2_SERVER, &server);
	add_frame(&in, SETTINGS, ACK, 0, NULL, 0);
	feed_quietly(&r, HTTP2_CLIENT, &in);
	in.len = 0;
	add_frame(&in, HEADERS, LAST | END, 101, GET_ROOT, 3); /* it has to say that its table is smaller */
	assert_int_equal(http2_feed(&r.h, HTTP2_CLIENT, &sink, in.at, in.len, &used), HTTP2_ALIEN);
	free(server.at);
	free(in.at);
	end(&r);
}

static void skipped_bytes_are_data_or_alien(void **state)
{
	static struct run r;
	const struct http2_sink sink = { .data = data, .owner = &r };
	struct bytes in = asking_client(), next = { 0 };
	uint64_t used;

	(void)state;
	begin(&r);
	feed(&r, HTTP2_CLIENT, in.at, in.len, false);
	add_header(&in, 100, DATA, 0, 3);
	feed(&r, HTTP2_CLIENT, in.at + in.len - 9, 9, false);
	r.data = 0;
	assert_int_equal(http2_skip(&r.h, HTTP2_CLIENT, &sink, 60, &used), HTTP2_MORE);
	assert_int_equal(used, 60);
	feed(&r, HTTP2_CLIENT, "0123456789", 10, false);
	assert_int_equal(http2_skip(&r.h, HTTP2_CLIENT, &sink, 30, &used), HTTP2_MORE);
	assert_int_equal(used, 30);
	assert_int_equal(r.data, 100);
	assert_true(http2_between_frames(&r.h, HTTP2_CLIENT));
	add_header(&next, 5, DATA, END, 3);
	feed(&r, HTTP2_CLIENT, next.at, next.len, false);
	assert_int_equal(http2_skip(&r.h, HTTP2_CLIENT, &sink, 7, &used), HTTP2_END);
	assert_int_equal(used, 5);
	assert_int_equal(r.h.half[HTTP2_CLIENT].stream, 3);
	assert_int_equal(http2_skip(&r.h, HTTP2_CLIENT, &sink, 0, &used), HTTP2_MORE);
	assert_int_equal(http2_skip(&r.h, HTTP2_CLIENT, &sink, 2, &used), HTTP2_ALIEN);
	assert_int_equal(used, 2);
	assert_int_equal(http2_skip(&r.h, HTTP2_CLIENT, &sink, 0, &used), HTTP2_ALIEN);
	end(&r);
	free(in.at);
	free(next.at);
}

static void an_upgraded_connection_has_its_first_stream(void **state)
{
	static struct run r;
	struct bytes out = server();

	(void)state;
	add_block(&out, HEADERS, LAST | END, 1, ":status: 200\n");
	expect_alien_after((struct bytes){ 0 }, HTTP2_SERVER, out);
	out = server();
	add_block(&out, HEADERS, LAST | END, 1, ":status: 200\n");
	begin(&r);
	http2_init(&r.h, true);
	feed(&r, HTTP2_SERVER, out.at, out.len, false);
	assert_string_equal(r.trace, "settings\n:status=200;1 response 200 last @9+13\n");
	end(&r);
	free(out.at);
}

static void the_preface_is_told_from_other_beginnings(void **state)
{
	(void)state;
	assert_int_equal(http2_sniff_preface(NULL, 0), HTTP2_SNIFF_MAYBE);
	for (size_t i = 1; i < HTTP2_PREFACE_LEN; i++)
		assert_int_equal(http2_sniff_preface(HTTP2_PREFACE, i), HTTP2_SNIFF_MAYBE);
	assert_int_equal(http2_sniff_preface(HTTP2_PREFACE "x", HTTP2_PREFACE_LEN + 1), HTTP2_SNIFF_YES);
	assert_int_equal(http2_sniff_preface("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\r", 24), HTTP2_SNIFF_NO);
	assert_int_equal(http2_sniff_preface("PUT", 3), HTTP2_SNIFF_NO);
}

/* A frame of the client's that is extended says the same, and more, to a scanner. */
static void expect_extended(unsigned flags, const char *prefix, size_t prefix_len, size_t pad, uint32_t max_frame,
                            const char *expected)
{
	static char room[70000];
	static struct run r;
	struct bytes in = client(), block = block_of(GET), more = block_of("traceparent: 00-ab\nb: c\n"),
		     payload = { 0 };
	size_t n, size;

	add(&payload, prefix, prefix_len);
	add(&payload, block.at, block.len);
	add(&payload, "\0\0\0\0\0\0\0", pad);
	add_frame(&in, HEADERS, LAST | flags, 1, payload.at, payload.len);
	size = 9 + payload.len;
	n = http2_extend_frame(room, sizeof(room), in.at + in.len - size, size, more.at, more.len, max_frame);
	assert_true(n > size);
	assert_int_equal(http2_extend_frame(room, n - 1, in.at + in.len - size, size, more.at, more.len, max_frame), 0);
	assert_int_equal(http2_extend_frame(room, n, in.at + in.len - size, size, more.at, more.len, max_frame), n);
	in.len -= size;
	add(&in, room, n);
	add_block(&in, HEADERS, LAST, 3, GET);
	begin(&r);
	feed(&r, HTTP2_CLIENT, in.at, in.len, false);
	assert_string_equal(r.trace, expected);
	end(&r);
	free(in.at);
	free(block.at);
	free(more.at);
	free(payload.at);
}

#define SAID_MORE "settings\n" SAID_GET "traceparent=00-ab;b=c;1 request"

static void fields_are_appended_to_a_frame(void **state)
{
	(void)state;
	expect_extended(0, "", 0, 0, HTTP2_FRAME_MIN, SAID_MORE " @33+74\n" SAID_GET "3 request @116+50\n");
	expect_extended(END, "", 0, 0, 74, SAID_MORE " last @33+74\n" SAID_GET "3 request @116+50\n");
	expect_extended(PADDED | WEIGHTED, "\5\0\0\0\0\1", 6, 5, HTTP2_FRAME_MIN,
	                SAID_MORE " @33+85-5\n" SAID_GET "3 request @127+50\n");
}

static void fields_that_do_not_fit_go_into_frames_of_their_own(void **state)
{
	(void)state;
	expect_extended(END, "", 0, 0, 73, SAID_MORE " last @92+24\n" SAID_GET "3 request @125+50\n");
	expect_extended(PADDED, "\2", 1, 2, 73, SAID_MORE " @95+24\n" SAID_GET "3 request @128+50\n");
	expect_extended(0, "", 0, 0, 10, SAID_MORE " @130+4\n" SAID_GET "3 request @143+50\n");
}

static void what_is_no_last_frame_of_a_block_is_not_extended(void **state)
{
	char room[100];

	(void)state;
#define EXTEND(frame) http2_extend_frame(room, sizeof(room), frame, sizeof(frame) - 1, "\0\1a\1b", 5, HTTP2_FRAME_MIN)
	assert_int_equal(EXTEND("\0\0\1\1\4\0\0\0\1\x82"), 15);
	assert_int_equal(EXTEND("\0\0\1\x9\4\0\0\0\1\x82"), 15);
	assert_int_equal(EXTEND("\0\0\1\1\0\0\0\0\1\x82"), 0);
	assert_int_equal(EXTEND("\0\0\1\0\4\0\0\0\1\x82"), 0);
	assert_int_equal(EXTEND("\0\0\1\5\4\0\0\0\1\x82"), 0);
	assert_int_equal(EXTEND("\0\0\2\1\4\0\0\0\1\x82"), 0);
	assert_int_equal(EXTEND("\0\0\0\1\4\0\0\0"), 0);
	assert_int_equal(EXTEND("\0\0\0\1\14\0\0\0\1"), 0);
	assert_int_equal(EXTEND("\0\0\1\1\14\0\0\0\1\2"), 0);
#undef EXTEND
}

static void long_names_and_values_are_written(void **state)
{
	static char value[LIMIT_BAGGAGE], room[LIMIT_BAGGAGE + 100];
	static const size_t lens[] = { 0, 1, 126, 127, 128, 254, 255, 256, 8192 };

	(void)state;
	memset(value, 'v', sizeof(value));
	for (size_t i = 0; i < sizeof(lens) / sizeof(lens[0]); i++) {
		static struct run r;
		struct bytes in = client();
		size_t n = http2_put_field(room, sizeof(room), value, 70, value, lens[i]);

		assert_true(n >= 1 + 1 + 70 + 1 + lens[i]);
		assert_int_equal(http2_put_field(room, n, value, 70, value, lens[i]), n);
		assert_int_equal(http2_put_field(room, n - 1, value, 70, value, lens[i]), 0);
		add_frame(&in, HEADERS, LAST, 1, room, n);
		begin(&r);
		feed(&r, HTTP2_CLIENT, in.at, in.len, false);
		assert_int_equal(r.status, HTTP2_MORE);
		assert_int_equal(r.h.half[HTTP2_CLIENT].block.list_bytes, 70 + lens[i] + 32);
		end(&r);
		free(in.at);
	}
	assert_int_equal(http2_put_field(room, 0, "a", 1, "b", 1), 0);
	assert_int_equal(http2_put_field(room, 4, "a", 1, "b", SIZE_MAX - 2), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(requests_on_streams_are_told),
		cmocka_unit_test(responses_interim_ones_and_trailers_are_told),
		cmocka_unit_test(blocks_in_pieces_with_padding_and_priority_are_one),
		cmocka_unit_test(padding_of_data_is_no_data),
		cmocka_unit_test(promises_are_told),
		cmocka_unit_test(malformed_requests_are_unsound),
		cmocka_unit_test(malformed_responses_are_unsound),
		cmocka_unit_test(connect_and_te_trailers_are_sound),
		cmocka_unit_test(grpc_says_what_it_is_and_how_a_call_went),
		cmocka_unit_test(what_is_no_connection_of_http2_is_alien),
		cmocka_unit_test(frames_that_cannot_be_are_alien),
		cmocka_unit_test(what_a_server_cannot_say_is_alien),
		cmocka_unit_test(nothing_comes_between_the_frames_of_a_block),
		cmocka_unit_test(settings_out_of_range_are_alien),
		cmocka_unit_test(settings_that_nobody_acknowledges_are_bounded),
		cmocka_unit_test(a_long_frame_is_taken_once_the_other_side_allows_it),
		cmocka_unit_test(the_longest_list_of_fields_is_known),
		cmocka_unit_test(continuations_are_bounded),
		cmocka_unit_test(a_block_that_swells_is_alien),
		cmocka_unit_test(a_block_that_is_too_long_is_alien),
		cmocka_unit_test(what_hpack_cannot_decode_is_alien),
		cmocka_unit_test(a_block_that_comes_again_is_known),
		cmocka_unit_test(what_was_told_of_a_block_is_told_again),
		cmocka_unit_test(what_has_no_room_to_be_told_again_is_read_again),
		cmocka_unit_test(a_block_that_enters_fields_is_known_and_enters_them_each_time),
		cmocka_unit_test(a_block_that_enters_what_it_has_of_the_table_is_read_each_time),
		cmocka_unit_test(a_block_is_read_again_after_settings_of_the_table),
		cmocka_unit_test(skipped_bytes_are_data_or_alien),
		cmocka_unit_test(an_upgraded_connection_has_its_first_stream),
		cmocka_unit_test(the_preface_is_told_from_other_beginnings),
		cmocka_unit_test(fields_are_appended_to_a_frame),
		cmocka_unit_test(fields_that_do_not_fit_go_into_frames_of_their_own),
		cmocka_unit_test(what_is_no_last_frame_of_a_block_is_not_extended),
		cmocka_unit_test(long_names_and_values_are_written),
	};

	return cmocka_run_group_tests(tests, set_up, tear_down);
}

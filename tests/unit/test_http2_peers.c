/*
 * The scanner between two real peers: nghttp2 talks to nghttp2, requests, responses, trailers, promises, resets and
 * SETTINGS at random, over a wire that we read in pieces, and on which fields are inserted into the client's blocks.
 * What the scanner says of each block must be what the peer at the other end is told of it, field by field and in
 * order; and both peers must go on understanding each other. A second scanner, whose owner wants no field, does not
 * decode what comes again, and must say the same of it. FULL=1: a million blocks.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <nghttp2/nghttp2.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "hpack.h"
#include "http2.h"

#define INSERTED_NAME "traceparent"
#define INSERTED_VALUE "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"

static uint64_t seed;

static uint32_t pick(uint32_t below)
{
	seed = seed * 6364136223846793005u + 1442695040888963407u;
	return (uint32_t)(seed >> 33) % below;
}

/* What one direction said: by the scanner, and by the peer that received it. */
struct said {
	uint64_t hash; /* of the block */
	uint64_t names;
	bool begun;
};

static uint64_t hash(uint64_t h, const void *bytes, size_t len)
{
	const unsigned char *p = bytes;

	while (len--)
		h = (h ^ *p++) * 0x100000001b3u;
	return (h ^ 0x1ff) * 0x100000001b3u;
}

static void say(struct said *s, const void *bytes, size_t len)
{
	s->hash = hash(s->hash, bytes, len);
}

struct wire {
	struct http2 scanner;
	struct http2 unwanting;
	struct said scanned[2], told[2]; /* by who sent it */
	uint64_t names[2];               /* of the block, to the one that wants none */
	size_t inserted, found;
	size_t events[HTTP2_ALIEN + 1];
	size_t blocks, ignored, repeated[2];
};

static struct wire wire;
static nghttp2_session *sessions[2];

/* ---- what the peers are told ---- */

static enum http2_side sender_to(const nghttp2_session *session)
{
	return session == sessions[HTTP2_SERVER] ? HTTP2_CLIENT : HTTP2_SERVER;
}

static int on_begin(nghttp2_session *session, const nghttp2_frame *frame, void *user)
{
	(void)user;
	wire.told[sender_to(session)] = (struct said){ .begun = true };
	say(&wire.told[sender_to(session)], &frame->hd.stream_id, 4);
	return 0;
}

static int on_header(nghttp2_session *session, const nghttp2_frame *frame, const uint8_t *name, size_t name_len,
                     const uint8_t *value, size_t value_len, uint8_t flags, void *user)
{
	struct said *s = &wire.told[sender_to(session)];

	(void)frame;
	(void)flags;
	(void)user;
	if (name_len == strlen(INSERTED_NAME) && memcmp(name, INSERTED_NAME, name_len) == 0) {
		assert_int_equal(value_len, strlen(INSERTED_VALUE));
		assert_memory_equal(value, INSERTED_VALUE, value_len);
		wire.found++;
		return 0;
	}
	say(s, name, name_len);
	say(s, value, value_len);
	return 0;
}

/* ---- what they say ---- */

static char text[32 * 3100];

static size_t random_fields(nghttp2_nv *fields, size_t count, char *at)
{
	static const char *const names[] = { "cookie", "accept", "x-a", "x-b", "etag", "date", "grpc-status" };
	size_t more = pick(8), i;

	if (pick(4) == 0) { /* as many others: from the second time on they are in the table */
		for (i = count; i < count + more % 3; i++)
			fields[i] = (nghttp2_nv){ (uint8_t *)names[i % 3], (uint8_t *)"the same", strlen(names[i % 3]),
				                  8, NGHTTP2_NV_FLAG_NONE };
		return i;
	}
	for (i = count; i < count + more; i++) {
		size_t len = pick(40) == 0 ? pick(3000) : pick(30);
		const char *name = names[pick(sizeof(names) / sizeof(names[0]))];

		fields[i] = (nghttp2_nv){ (uint8_t *)name, (uint8_t *)at, strlen(name), len,
			                  pick(8) == 0 ? NGHTTP2_NV_FLAG_NO_INDEX : NGHTTP2_NV_FLAG_NONE };
		for (size_t j = 0; j < len; j++)
			*at++ = (char)(pick(3) ? 'a' + pick(3) : '0' + pick(75));
	}
	return i;
}

static nghttp2_nv field_of(const char *name, const char *value)
{
	return (nghttp2_nv){ (uint8_t *)name, (uint8_t *)value, strlen(name), strlen(value), NGHTTP2_NV_FLAG_NONE };
}

static ssize_t some_data(nghttp2_session *session, int32_t stream, uint8_t *out, size_t room, uint32_t *flags,
                         nghttp2_data_source *source, void *user)
{
	size_t len = pick(300);

	(void)user;
	memset(out, 'd', len < room ? len : room);
	*flags |= NGHTTP2_DATA_FLAG_EOF;
	if (source->fd != 0) { /* trailers follow */
		nghttp2_nv fields[16];
		size_t count = random_fields(fields, 0, text);

		*flags |= NGHTTP2_DATA_FLAG_NO_END_STREAM;
		if (count == 0)
			fields[count++] = field_of("grpc-status", "0");
		assert_int_equal(nghttp2_submit_trailer(session, stream, fields, count), 0);
	}
	return (ssize_t)(len < room ? len : room);
}

static void ask(void)
{
	static const char *const paths[] = { "/", "/index.html", "/a/b", "/grpc.Service/Method" };
	nghttp2_nv fields[16];
	nghttp2_data_provider body = { .source.fd = (int)pick(2), .read_callback = some_data };
	size_t count = 0;

	fields[count++] = field_of(":method", pick(2) ? "GET" : "POST");
	fields[count++] = field_of(":scheme", "http");
	fields[count++] = field_of(":path", paths[pick(4)]);
	fields[count++] = field_of(":authority", "peer.example");
	count = random_fields(fields, count, text);
	for (uint32_t n = pick(4) ? 1 : 3; n > 0; n--)
		assert_true(nghttp2_submit_request(sessions[HTTP2_CLIENT], NULL, fields, count, pick(3) ? NULL : &body,
		                                   NULL) > 0);
}

static int on_frame(nghttp2_session *session, const nghttp2_frame *frame, void *user)
{
	nghttp2_nv fields[16];
	nghttp2_data_provider body = { .source.fd = (int)pick(2), .read_callback = some_data };
	int32_t stream = frame->hd.stream_id;
	size_t count;

	(void)user;
	if (session != sessions[HTTP2_SERVER] || frame->hd.type != NGHTTP2_HEADERS ||
	    frame->headers.cat != NGHTTP2_HCAT_REQUEST)
		return 0;
	if (pick(10) == 0)
		return nghttp2_submit_rst_stream(session, 0, stream, pick(14));
	if (pick(10) == 0) {
		fields[0] = field_of(":method", "GET");
		fields[1] = field_of(":scheme", "http");
		fields[2] = field_of(":path", "/pushed");
		fields[3] = field_of(":authority", "peer.example");
		(void)nghttp2_submit_push_promise(session, 0, stream, fields, 4, NULL);
	}
	if (pick(5) == 0) {
		fields[0] = field_of(":status", "103");
		assert_int_equal(nghttp2_submit_headers(session, 0, stream, NULL, fields, 1, NULL), 0);
	}
	fields[0] = field_of(":status", pick(4) ? "200" : "404");
	count = random_fields(fields, 1, text);
	assert_int_equal(nghttp2_submit_response(session, stream, fields, count, pick(2) ? &body : NULL), 0);
	return 0;
}

static ssize_t pad(nghttp2_session *session, const nghttp2_frame *frame, size_t most, void *user)
{
	size_t len = frame->hd.length + (pick(4) ? 0 : pick(60));

	(void)session;
	(void)user;
	return (ssize_t)(len < most ? len : most);
}

static void say_settings(enum http2_side side)
{
	nghttp2_settings_entry entries[3];
	size_t count = 0;

	if (pick(2))
		entries[count++] = (nghttp2_settings_entry){ NGHTTP2_SETTINGS_HEADER_TABLE_SIZE,
			                                     pick(3) ? pick(300) : pick(HPACK_TABLE_MAX + 1) };
	if (pick(3) == 0)
		entries[count++] = (nghttp2_settings_entry){ NGHTTP2_SETTINGS_HEADER_TABLE_SIZE, pick(9000) };
	if (pick(2))
		entries[count++] =
			(nghttp2_settings_entry){ NGHTTP2_SETTINGS_MAX_FRAME_SIZE, HTTP2_FRAME_MIN + pick(20000) };
	assert_int_equal(nghttp2_submit_settings(sessions[side], NGHTTP2_FLAG_NONE, entries, count), 0);
}

/* ---- the wire ---- */

static void on_scanned(void *owner, const struct http2_block *block, const char *name, size_t name_len,
                       const char *value, size_t value_len)
{
	struct said *s = &wire.scanned[*(enum http2_side *)owner];

	if (!s->begun)
		say(s, &block->stream, 4);
	s->begun = true;
	s->names = hash(s->names, name, name_len);
	say(s, name, name_len);
	say(s, value, value_len);
}

static enum http2_side unwanting_side;

static bool want_none(const char *name, size_t name_len)
{
	wire.names[unwanting_side] = hash(wire.names[unwanting_side], name, name_len);
	return false;
}

static void on_unwanted(void *owner, const struct http2_block *block, const char *name, size_t name_len,
                        const char *value, size_t value_len)
{
	(void)owner, (void)block, (void)name, (void)name_len, (void)value, (void)value_len;
	fail();
}

/* What the scanner that wants nothing says of these bytes, of which the other one has taken `used`. */
static void compare_unwanting(enum http2_side from, const char *piece, size_t used, enum http2_status status)
{
	const struct http2_sink sink = { .wants = want_none, .field = on_unwanted };
	const struct http2_half *half = &wire.unwanting.half[from];
	const struct http2_block *one = &half->block, *other = &wire.scanner.half[from].block;
	size_t taken;

	unwanting_side = from;
	assert_int_equal(http2_feed(&wire.unwanting, from, &sink, piece, used, &taken), status);
	assert_int_equal(taken, used);
	if (status != HTTP2_BLOCK)
		return;
	assert_int_equal(one->stream, other->stream);
	assert_int_equal(one->promised, other->promised);
	assert_int_equal(one->opens, other->opens);
	assert_int_equal(one->end_stream, other->end_stream);
	assert_int_equal(one->kind, other->kind);
	assert_int_equal(one->sound, other->sound);
	assert_int_equal(one->status, other->status);
	assert_int_equal(one->grpc, other->grpc);
	assert_int_equal(one->grpc_status, other->grpc_status);
	assert_int_equal(one->fields, other->fields);
	assert_int_equal(one->list_bytes, other->list_bytes);
	assert_int_equal(one->frame_at, other->frame_at);
	if (half->known)
		wire.repeated[from]++;
	else
		assert_true(wire.names[from] == wire.scanned[from].names);
	wire.names[from] = 0;
}

struct buffer {
	char bytes[1 << 18];
	size_t len;
};

static void deliver(enum http2_side from, const char *bytes, size_t len)
{
	nghttp2_session *to = sessions[from == HTTP2_CLIENT ? HTTP2_SERVER : HTTP2_CLIENT];

	assert_int_equal(nghttp2_session_mem_recv(to, (const uint8_t *)bytes, len), (ssize_t)len);
}

/* Put fields into the block whose last frame ends the buffer, if all of that frame is there, and this is where to. */
static void insert(enum http2_side from, struct buffer *out, uint64_t base)
{
	static char room[sizeof(out->bytes)];
	const struct http2_block *block = &wire.scanner.half[from].block;
	char field[128];
	size_t field_len, at, n;

	if (from != HTTP2_CLIENT || block->kind != HTTP2_REQUEST || block->frame_at < base || pick(3) == 0)
		return;
	assert_true(block->sound);
	at = (size_t)(block->frame_at - base);
	assert_int_equal(out->len - at, 9 + block->frame_len);
	field_len = http2_put_field(field, sizeof(field), INSERTED_NAME, strlen(INSERTED_NAME), INSERTED_VALUE,
	                            strlen(INSERTED_VALUE));
	n = http2_extend_frame(room, sizeof(room), out->bytes + at, out->len - at, field, field_len,
	                       http2_max_frame(&wire.scanner, from));
	assert_true(n > 0);
	memcpy(out->bytes + at, room, n);
	out->len = at + n;
	wire.inserted++;
}

/* A peer ignores what comes on a stream that it has reset; else it was told the same. */
static void compare(enum http2_side from)
{
	struct said *scanned = &wire.scanned[from], *told = &wire.told[from];

	assert_true(scanned->begun);
	if (told->begun)
		assert_true(scanned->hash == told->hash);
	wire.blocks += told->begun;
	wire.ignored += !told->begun;
	*scanned = *told = (struct said){ 0 };
}

/* One piece of what `from` sends goes through the scanner to the other side. */
static void carry(enum http2_side from, const char *piece, size_t len)
{
	static struct buffer out;
	const struct http2_sink sink = { .field = on_scanned, .owner = &from };

	while (len > 0) {
		uint64_t base = wire.scanner.half[from].taken;
		size_t used;
		enum http2_status status = http2_feed(&wire.scanner, from, &sink, piece, len, &used);

		assert_int_not_equal(status, HTTP2_ALIEN);
		wire.events[status]++;
		compare_unwanting(from, piece, used, status);
		memcpy(out.bytes, piece, used);
		out.len = used;
		if (status == HTTP2_BLOCK)
			insert(from, &out, base);
		deliver(from, out.bytes, out.len);
		if (status == HTTP2_BLOCK)
			compare(from);
		piece += used;
		len -= used;
	}
}

static bool pass(enum http2_side from)
{
	bool any = false;

	for (;;) {
		const uint8_t *bytes;
		ssize_t len = nghttp2_session_mem_send(sessions[from], &bytes);
		size_t at = 0;

		assert_true(len >= 0);
		if (len == 0)
			return any;
		any = true;
		while (at < (size_t)len) {
			size_t n = pick(3) ? (size_t)len - at : 1 + pick(60);

			n = n < (size_t)len - at ? n : (size_t)len - at;
			carry(from, (const char *)bytes + at, n);
			at += n;
		}
	}
}

static void open_sessions(void)
{
	nghttp2_session_callbacks *callbacks;
	nghttp2_option *options;

	assert_int_equal(nghttp2_session_callbacks_new(&callbacks), 0);
	nghttp2_session_callbacks_set_on_begin_headers_callback(callbacks, on_begin);
	nghttp2_session_callbacks_set_on_header_callback(callbacks, on_header);
	nghttp2_session_callbacks_set_on_frame_recv_callback(callbacks, on_frame);
	nghttp2_session_callbacks_set_select_padding_callback(callbacks, pad);
	assert_int_equal(nghttp2_option_new(&options), 0);
	nghttp2_option_set_max_deflate_dynamic_table_size(options, HPACK_TABLE_MAX);
	assert_int_equal(nghttp2_session_client_new2(&sessions[HTTP2_CLIENT], callbacks, NULL, options), 0);
	assert_int_equal(nghttp2_session_server_new2(&sessions[HTTP2_SERVER], callbacks, NULL, options), 0);
	nghttp2_session_callbacks_del(callbacks);
	nghttp2_option_del(options);
}

static void converse(int rounds)
{
	memset(&wire.scanner, 0, sizeof(wire.scanner));
	http2_init(&wire.scanner, false);
	memset(&wire.unwanting, 0, sizeof(wire.unwanting));
	http2_init(&wire.unwanting, false);
	open_sessions();
	say_settings(HTTP2_CLIENT);
	say_settings(HTTP2_SERVER);
	while (rounds-- > 0) {
		bool more = true;

		for (uint32_t n = pick(5); n > 0; n--)
			ask();
		if (pick(20) == 0)
			say_settings(pick(2) ? HTTP2_CLIENT : HTTP2_SERVER);
		while (more)
			more = pass(HTTP2_CLIENT) | pass(HTTP2_SERVER);
	}
	for (int side = HTTP2_CLIENT; side <= HTTP2_SERVER; side++) {
		assert_true(http2_between_frames(&wire.scanner, (enum http2_side)side));
		assert_false(wire.told[side].begun);
		nghttp2_session_del(sessions[side]);
	}
	assert_int_equal(wire.inserted, wire.found);
	http2_free(&wire.scanner);
	http2_free(&wire.unwanting);
}

static void what_the_scanner_says_is_what_the_peer_is_told(void **state)
{
	const char *full = getenv("FULL");
	size_t blocks = full != NULL && strcmp(full, "1") == 0 ? 1000000 : 20000;

	(void)state;
	memset(&wire, 0, sizeof(wire));
	for (seed = 1; wire.blocks < blocks;)
		converse(40);
	assert_true(wire.ignored < blocks / 10);
	assert_true(wire.inserted > blocks / 8);
	assert_true(wire.repeated[HTTP2_CLIENT] > blocks / 200);
	assert_true(wire.repeated[HTTP2_SERVER] > blocks / 200);
	assert_true(wire.events[HTTP2_RESET] > 100);
	assert_true(wire.events[HTTP2_END] > 100);
	assert_true(wire.events[HTTP2_SETTINGS_ACK] > 100);
	assert_true(wire.events[HTTP2_SETTINGS_ACK] <= wire.events[HTTP2_SETTINGS]);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_the_scanner_says_is_what_the_peer_is_told),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

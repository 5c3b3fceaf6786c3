/*
 * Connections that speak HTTP/2: with prior knowledge, or inside TLS, where the first plain bytes are the same preface. What is
 * read of them, and when; what it means is in http2_served.c and http2_call.c.
 *
 * What comes from the peer is read as it comes. What the program sends to a client is read when the kernel has it, as with
 * HTTP/1. But calls have to be known before they are sent: where something is inserted, and because another thread may have the
 * answer in hand before this one has seen its own write return. A scanner of HTTP/2 cannot be copied for that (its tables are
 * large), so it runs ahead of the kernel: up to the end of the last frame in the call that is no DATA. Where the kernel takes
 * less, the program has to come back with the same bytes: they are compared by a checksum, and a program that made up its mind
 * otherwise is not followed any more. That is why a server's answers are read behind the kernel where nothing is inserted: nginx
 * puts frames that it could not send yet into another order.
 *
 * Frames are told apart a second time, without their content (http2_walk): of whom is what the program is about to send?
 *
 * Memory: one block a connection, and its streams; what HPACK needs (hpack.h). Callers: whoever has the connection's lock.
 */
#include "http2_conn.h"

#include <endian.h>
#include <string.h>

#include "config.h"
#include "counters.h"
#include "current.h"
#include "pool.h"
#include "span.h"

POOL(http2_conns, sizeof(struct http2_conn), 4);

/* ---- frames ---- */

static void take_head(struct http2_walk *w, const char *bytes)
{
	uint32_t first, last;

	memcpy(&first, bytes, sizeof(first));
	memcpy(&last, bytes + HTTP2_FRAME_HEAD - sizeof(last), sizeof(last));
	w->left = be32toh(first) >> 8;
	w->type = (uint8_t)bytes[3];
	w->stream = be32toh(last) & INT32_MAX;
	w->head_len = 0;
}

/* Take bytes up to the end of the frame at hand, or of the head of one that is not all here. Returns how many. */
static size_t walk_on(struct http2_walk *w, const char *in, size_t len)
{
	size_t part;

	if (w->left > 0) {
		part = len < w->left ? len : w->left;
		w->left -= (uint32_t)part;
		return part;
	}
	if (w->head_len == 0 && len >= HTTP2_FRAME_HEAD) {
		take_head(w, in);
		part = w->left <= len - HTTP2_FRAME_HEAD ? w->left : 0;
		w->left -= (uint32_t)part;
		return HTTP2_FRAME_HEAD + part;
	}
	part = HTTP2_FRAME_HEAD - w->head_len;
	part = len < part ? len : part;
	memcpy(w->head + w->head_len, in, part);
	w->head_len = (uint8_t)(w->head_len + part);
	if (w->head_len == HTTP2_FRAME_HEAD)
		take_head(w, w->head);
	return part;
}

static bool is_at_frame_end(const struct http2_walk *w)
{
	return w->left == 0 && w->head_len == 0;
}

static void walk_over(struct http2_walk *w, const char *in, size_t len)
{
	while (len > 0) {
		size_t part = walk_on(w, in, len);

		in += part;
		len -= part;
	}
}

/* The same where the scanner has read just as far. */
static void walk_as_scanned(struct http2_walk *w, const struct http2_half *half)
{
	w->left = http2_left(half);
	w->stream = half->stream;
	w->type = half->begun ? half->type : HTTP2_WALK_PREFACE;
	w->head_len = w->left > 0 ? 0 : half->part_len;
	if (w->head_len > 0)
		memcpy(w->head, half->part, sizeof(w->head));
}

/* Bytes that nobody saw: only a frame's payload. */
static bool walk_unseen(struct http2_walk *w, size_t len)
{
	if (len > w->left)
		return false;
	w->left -= (uint32_t)len;
	return true;
}

/* ---- feeding ---- */

static void count_request_data(void *owner, uint32_t stream, size_t len)
{
	struct http2_stream *s = http2_find_stream(http2_of(owner), stream);

	if (s != NULL && s->ex.span != NULL)
		span_count_up(&s->ex, len);
}

static void count_answer_data(void *owner, uint32_t stream, size_t len)
{
	struct http2_stream *s = http2_find_stream(http2_of(owner), stream);

	if (s != NULL && s->ex.span != NULL)
		span_count_down(&s->ex, len);
}

/* What the scanner stopped at. */
static void take_event(struct conn *conn, bool sending, enum http2_status status, const struct http2_half *half)
{
	bool served = conn_role(conn) == CONN_SERVED;
	struct http2_conn *c = http2_of(conn);
	struct http2_stream *s;

	if (status == HTTP2_BLOCK) {
		if (served)
			(sending ? http2_take_answer : http2_take_request)(conn, &half->block);
		else
			(sending ? http2_take_call : http2_take_reply)(conn, &half->block);
		return;
	}
	if ((status != HTTP2_RESET && status != HTTP2_END) || (s = http2_find_stream(c, half->stream)) == NULL)
		return;
	if (status == HTTP2_RESET || (served && sending && !s->ex.request_headed))
		http2_give_up_stream(conn, c, s);
	else if (served == sending)
		http2_finish_stream(conn, c, s);
	else
		s->ex.request_done = true;
}

/* false: the connection is opaque now. in NULL: nobody saw them. */
static bool feed(struct conn *conn, bool sending, const char *in, size_t len)
{
	struct http2_conn *c = http2_of(conn);
	enum http2_side side = http2_side_of(conn, sending);
	const struct http2_sink *sink = &c->sinks[sending];

	while (len > 0) {
		enum http2_status status;
		uint64_t skipped = 0;
		size_t used = 0;

		if (c->may_be_nameless && in != NULL) {
			used = sending ? http2_take_answers(conn, in, len) : http2_take_known_requests(c, in, len);
			in += used;
			len -= used;
			if (len == 0)
				break;
		}
		if (in != NULL) {
			status = http2_feed(&c->scanner, side, sink, in, len, &used);
			in += used;
		} else {
			status = http2_skip(&c->scanner, side, sink, len, &skipped);
			used = (size_t)skipped;
		}
		len -= used;
		if (status == HTTP2_ALIEN) {
			conn_make_opaque(conn, true);
			return false;
		}
		if (status != HTTP2_MORE)
			take_event(conn, sending, status, &c->scanner.half[side]);
	}
	return true;
}

/* Whose waits are those for this connection? */
static void note_only(struct conn *conn, struct http2_conn *c)
{
	const struct http2_stream *only = http2_only_unanswered(c);

	__atomic_store_n(&conn->only, only != NULL ? only->ex.request : NULL, __ATOMIC_RELAXED);
}

static uint64_t bytes_ahead(const struct conn *conn, const struct http2_conn *c)
{
	return c->scanner.half[http2_side_of(conn, true)].taken - c->sent;
}

static struct request *received(struct conn *conn, const char *in, size_t len)
{
	struct http2_conn *c = http2_of(conn);
	uint32_t before = c->unanswered;
	struct http2_stream *only;

	c->begun = 0;
	if (!feed(conn, false, in, len) || conn_role(conn) != CONN_SERVED)
		return NULL;
	current_multiplexes();
	note_only(conn, c);
	c->mixed = before + c->begun > 1;
	/*
	 * One request was in hand, or has come now, and nothing else was to be done: else the program may be at the end of one
	 * while another one is the only one left. Of several, a frame of one says nothing: nginx goes on with whichever has room in
	 * its window or an answer to send. And one whose answer was read ahead to its end may be in hand still.
	 */
	only = before + c->begun == 1 && bytes_ahead(conn, c) == 0 ? http2_only_unanswered(c) : NULL;
	if (only != NULL && only->ex.request_headed)
		return only->ex.request;
	/* Nor is what it reads next, before it waits: it may end then what was reset now. */
	if (before + c->begun > 0)
		current_mixes();
	return NULL;
}

/* ---- what the program sends ---- */

/* FNV-1a (G. Fowler, L. C. Noll, P. Vo), but of eight octets at a time. */
#define HASH_START 0xcbf29ce484222325u
#define HASH_FACTOR 0x100000001b3u

/*
 * `at`: where in the stream they begin, which says where a word does. Those of one come in one by one or together, and it is multiplied
 * behind its last one: so the hash does not depend on how they are split.
 */
static uint64_t hash(uint64_t h, uint64_t at, const char *in, size_t len)
{
	uint64_t word;

	while (len > 0) {
		if (at % sizeof(word) == 0 && len >= sizeof(word)) {
			memcpy(&word, in, sizeof(word));
			h = (h ^ le64toh(word)) * HASH_FACTOR;
			at += sizeof(word);
			in += sizeof(word);
			len -= sizeof(word);
		} else {
			h ^= (uint64_t)(unsigned char)*in++ << at % sizeof(word) * 8;
			if (++at % sizeof(word) == 0)
				h *= HASH_FACTOR;
			len--;
		}
	}
	return h;
}

/* Do the call's bytes begin with those that were read ahead before? */
static bool are_the_same(const struct http2_conn *c, const struct iovec *iov, int count, size_t offset, uint64_t ahead)
{
	uint64_t h = c->taken_hash, at = c->sent;
	size_t base = 0;
	int i;

	for (i = 0; i < count && ahead > 0; base += iov[i].iov_len, i++) {
		size_t from = offset > base ? offset - base : 0, part;

		if (from >= iov[i].iov_len)
			continue;
		part = iov[i].iov_len - from < ahead ? iov[i].iov_len - from : (size_t)ahead;
		h = hash(h, at, (const char *)iov[i].iov_base + from, part);
		at += part;
		ahead -= part;
	}
	return ahead == 0 && h == c->ahead_hash;
}

/* Where, from `offset` on, the last frame ends that is no DATA and ends in these bytes. 0: there is none. */
static size_t last_head_end(const struct http2_conn *c, const struct iovec *iov, int count, size_t offset)
{
	struct http2_walk w = c->walk;
	size_t base = 0, found = 0;
	int i;

	for (i = 0; i < count; base += iov[i].iov_len, i++) {
		size_t at = offset > base ? offset - base : 0;

		while (at < iov[i].iov_len) {
			at += walk_on(&w, (const char *)iov[i].iov_base + at, iov[i].iov_len - at);
			if (is_at_frame_end(&w) && w.type != HTTP2_FRAME_DATA)
				found = base + at - offset;
		}
	}
	return found;
}

bool http2_scan_ahead(struct conn *conn, const struct iovec *iov, int count, size_t offset)
{
	struct http2_conn *c = http2_of(conn);
	uint64_t ahead = bytes_ahead(conn, c), from;
	size_t total = stream_total(iov, count) - offset, stop, base = 0;
	int i;

	if (ahead > total)
		return false; /* a part of what was read: nothing can be said of that */
	if (ahead > 0 && !are_the_same(c, iov, count, offset, ahead)) {
		conn_make_opaque(conn, true);
		return false;
	}
	stop = last_head_end(c, iov, count, offset);
	from = offset + ahead;
	for (i = 0; i < count && base < offset + stop; base += iov[i].iov_len, i++) {
		size_t at = from > base ? (size_t)from - base : 0, part;
		const char *bytes = (const char *)iov[i].iov_base + at;

		if (at >= iov[i].iov_len)
			continue;
		part = iov[i].iov_len - at;
		if (part > offset + stop - base - at)
			part = offset + stop - base - at;
		c->ahead_hash = hash(c->ahead_hash, c->sent + ahead, bytes, part);
		ahead += part;
		if (!feed(conn, true, bytes, part))
			return false;
		if (part < iov[i].iov_len - at)
			break;
	}
	return true;
}

/* Heads that are out: who made the calls is decided now, if it was not before. */
static void settle_due(struct conn *conn, struct http2_conn *c, struct request *caller)
{
	while (c->due_first != NULL && c->due_first->frame_at < c->sent) {
		if (conn_role(conn) == CONN_OUTGOING)
			http2_claim_call(conn, c->due_first, caller, NULL);
		if (c->due_first->further && conn_role(conn) == CONN_OUTGOING)
			counters_count(calls_injected);
		else if (c->due_first->further)
			counters_count(response_headers);
		http2_pop_due(c);
	}
}

static void sent(struct conn *conn, const char *out, size_t len, struct request *caller)
{
	struct http2_conn *c = http2_of(conn);
	uint64_t ahead = bytes_ahead(conn, c);
	size_t known = ahead < len ? (size_t)ahead : len;

	if (out == NULL && (ahead > 0 || !walk_unseen(&c->walk, len))) {
		conn_make_opaque(conn, true);
		return;
	}
	if (known < ahead)
		walk_over(&c->walk, out, len);
	c->sent += len;
	if (known > 0) {
		c->taken_hash = hash(c->taken_hash, c->sent - len, out, known);
		if (known == ahead) {
			if (c->taken_hash != c->ahead_hash) {
				conn_make_opaque(conn, true);
				return;
			}
			c->taken_hash = c->ahead_hash = HASH_START;
		}
	}
	if (len > known && !feed(conn, true, out == NULL ? NULL : out + known, len - known))
		return;
	if (known == ahead)
		walk_as_scanned(&c->walk, &c->scanner.half[http2_side_of(conn, true)]);
	settle_due(conn, c, caller);
	if (conn_role(conn) == CONN_SERVED)
		note_only(conn, c);
}

/* ---- of whom is it? ---- */

/* What was found of them so far. */
struct writers {
	uint32_t one; /* its stream; 0: none yet */
	bool calls;
	bool several, opens;
};

static void add_writer(struct http2_conn *c, const struct http2_walk *w, struct writers *writers)
{
	const struct http2_stream *s;

	if (w->type != HTTP2_FRAME_DATA && w->type != HTTP2_FRAME_HEADERS && w->type != HTTP2_FRAME_CONTINUATION &&
	    w->type != HTTP2_FRAME_RST_STREAM)
		return;
	if (w->stream == writers->one && w->stream != 0)
		return;
	if (writers->calls) {
		s = http2_find_stream(c, w->stream);
		/* A call whose head was read ahead is one that is about to begin. */
		if (s == NULL || (s->due && s->id % 2 != 0 && !s->ex.response_begun)) {
			writers->opens |= w->type == HTTP2_FRAME_HEADERS;
			return;
		}
	}
	/* Of an answer that was read ahead to its end a rest may be still to come. */
	writers->several |= writers->one != 0 || (!writers->calls && !http2_has_stream(c, w->stream));
	writers->one = w->stream;
}

static struct writers find_writers(struct http2_conn *c, const struct iovec *iov, int count, bool calls)
{
	struct http2_walk w = c->walk;
	struct writers writers = { .calls = calls };
	int i;

	if (w.left > 0)
		add_writer(c, &w, &writers);
	for (i = 0; i < count; i++) {
		size_t at = 0;

		/* Of several, no more is asked. */
		while (at < iov[i].iov_len && !writers.several) {
			bool inside = w.left > 0;

			at += walk_on(&w, (const char *)iov[i].iov_base + at, iov[i].iov_len - at);
			if (!inside && w.head_len == 0)
				add_writer(c, &w, &writers);
		}
	}
	return writers;
}

static enum protocol_whose writes_answers(struct conn *conn, const struct iovec *iov, int count,
                                          struct request **request)
{
	struct http2_conn *c = http2_of(conn);
	struct writers writers = find_writers(c, iov, count, false);
	const struct http2_stream *one;

	current_multiplexes();
	if (writers.one == 0)
		return PROTOCOL_NOBODY;
	if (writers.several || (c->unanswered > 1 && http2_is_nameless(c, writers.one)))
		return PROTOCOL_SEVERAL;
	one = http2_find_stream(c, writers.one);
	/* One whose head was not read to its end has no name yet, and is refused. */
	*request = one != NULL && one->ex.request_headed ? one->ex.request : NULL;
	/* nginx sends what had to wait whenever it can: the request at hand may be another one. */
	if (*request == NULL || (c->unanswered > 1 && current_known() != *request))
		return PROTOCOL_SEVERAL;
	return PROTOCOL_ONE;
}

static void note_writer(const struct conn *conn, struct http2_conn *c)
{
	int32_t tid = os_tid();

	if (c->writer == 0) {
		c->writer = tid;
		c->shared |= conn->opener != tid;
	}
	c->shared |= c->writer != tid;
}

/* A call that begins is made by whoever is at work; more of one that has begun, by who has begun it. */
static enum protocol_whose writes_calls(struct conn *conn, const struct iovec *iov, int count, struct request **request)
{
	bool unused = http2_of(conn)->scanner.half[HTTP2_CLIENT].last == 0;
	struct writers writers;

	note_writer(conn, http2_of(conn));
	if (stream_total(iov, count) > 0 && !http2_scan_ahead(conn, iov, count, 0) && conn->mode != CONN_PROTOCOL)
		return PROTOCOL_NOBODY;
	writers = find_writers(http2_of(conn), iov, count, true);
	if (writers.several)
		return PROTOCOL_SEVERAL;
	if (writers.one != 0 && !writers.opens)
		*request = http2_find_stream(http2_of(conn), writers.one)->ex.request;
	else if (unused && conn->opener == os_tid())
		*request = conn->owner;
	return *request != NULL ? PROTOCOL_ONE : PROTOCOL_NOBODY;
}

static enum protocol_whose reads(struct conn *conn, struct request **request)
{
	struct http2_conn *c = http2_of(conn);
	struct http2_stream *only = c->mixed ? NULL : http2_only_unanswered(c);

	if (only == NULL)
		return c->unanswered > 0 || c->untracked ? PROTOCOL_SEVERAL : PROTOCOL_NOBODY;
	*request = only->ex.request;
	return PROTOCOL_ONE;
}

/* ---- its life ---- */

static void ended(struct conn *conn)
{
	if (conn_role(conn) == CONN_OUTGOING)
		http2_drop_streams(conn, http2_of(conn));
}

static void drop(struct conn *conn, struct protocol *protocol)
{
	struct http2_conn *c = (struct http2_conn *)(void *)protocol;

	http2_drop_streams(conn, c);
	http2_free(&c->scanner);
	pool_give(&http2_conns, c);
}

/* Stream 1 is the request that asked for HTTP/2, which ended with the 101: somebody is at it, and nobody knows who. RFC 7540 3.2. */
static void open_upgraded(const struct conn *conn, struct http2_conn *c)
{
	struct http2_stream *s = http2_open_stream(c, 1);

	if (s == NULL)
		return;
	s->claimed = s->ex.request_headed = s->ex.request_done = true;
	if (conn_role(conn) == CONN_OUTGOING)
		s->ex.request = request_ref(conn->owner);
	c->unanswered++;
	c->last = s;
}

static void begin_served(struct http2_conn *c)
{
	struct http2_sink *requests = &c->sinks[false], *answers = &c->sinks[true];

	c->protocol.writes = writes_answers;
	requests->wants = http2_served_wants;
	requests->field = http2_served_field;
	answers->wants = http2_answer_wants;
	if (config.response_header.len > 0) {
		answers->field = http2_answer_field;
		c->inserts = true;
	}
	/* What is answered matters to spans, and where something is inserted. */
	c->may_be_nameless = !config.export_traces && !c->inserts;
	c->scanner.half[HTTP2_SERVER].undecoded = c->may_be_nameless;
}

static void begin_outgoing(struct http2_conn *c)
{
	struct http2_sink *requests = &c->sinks[true];

	c->protocol.writes = writes_calls;
	requests->wants = http2_call_wants;
	requests->field = http2_call_field;
	c->inserts = true;
	c->walk.left = HTTP2_PREFACE_LEN;
	c->walk.type = HTTP2_WALK_PREFACE;
	c->scanner.half[HTTP2_SERVER].undecoded = !config.export_traces;
}

bool http2_begin(struct conn *conn)
{
	struct http2_conn *c = pool_take(&http2_conns);
	bool served = conn_role(conn) == CONN_SERVED;

	if (c == NULL) {
		counters_count(no_memory_skipped);
		return false;
	}
	memset(c, 0, sizeof(*c));
	c->protocol.received = received;
	c->protocol.sent = sent;
	c->protocol.reads = reads;
	c->protocol.find_spot = http2_find_spot;
	c->protocol.insert = http2_insert;
	c->protocol.ended = ended;
	c->protocol.drop = drop;
	c->sinks[0].owner = c->sinks[1].owner = conn;
	if (config.export_traces) {
		c->sinks[!served].data = count_request_data;
		c->sinks[served].data = count_answer_data;
	}
	http2_init(&c->scanner, conn->mode == CONN_UPGRADED);
	c->ahead_hash = c->taken_hash = HASH_START;
	if (served)
		begin_served(c);
	else
		begin_outgoing(c);
	if (conn->mode == CONN_UPGRADED)
		open_upgraded(conn, c);
	conn->protocol = &c->protocol;
	conn->mode = CONN_PROTOCOL;
	counters_count(http2_connections);
	return true;
}

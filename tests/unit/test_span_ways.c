/*
 * Spans by the short ways of requests and answers (served.c, io_usual.c) are those of the long ones, byte for byte: what the long
 * ways record of each request with each answer is taken first, and compared with what is recorded of the same ones in any order, on
 * connections of several peers, several at a time, between spans of other kinds that use the same blocks.
 *
 * With the real pools: blocks that come back as they were left are what the short way lives on.
 *
 * long: tables of requests, answers, calls and replies, and a driver for each.
 */
#define CORE_REAL_POOLS
#include <pthread.h>

#include "core_fixture.h"
#include "span_fixture.h"
#include "span_internal.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))
#define LONG_TEXT                                                                                                      \
	"0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"             \
	"0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
#define LONGER_TEXT LONG_TEXT LONG_TEXT LONG_TEXT LONG_TEXT LONG_TEXT LONG_TEXT

static const struct {
	const char *text;
	bool usual; /* comes by the short way, if it was read before */
} requests[] = {
	{ "GET / HTTP/1.1\r\n\r\n", true },
	{ "GET /a?b=c HTTP/1.1\r\nHost: us:80\r\nUser-Agent: agent/1\r\n\r\n", true },
	{ "GET /a?b=d HTTP/1.1\r\nHost: us:80\r\nUser-Agent: agent/1\r\n\r\n", true },
	{ "GET /a?b=c HTTP/1.1\r\nUser-Agent: agent/1\r\nHost: us:80\r\nX-Forwarded-For: 1.2.3.4\r\n\r\n", true },
	{ "GET /a?b=c HTTP/1.1\r\nx-forwarded-for: 1.2.3.4\r\nforwarded: for=5.6.7.8\r\nhost:h\r\nhost: i\r\n\r\n",
	  true },
	{ "GET /a?b=c HTTP/1.1\r\nforwarded: for=5.6.7.8\r\nx-forwarded-for: 1.2.3.4\r\nuser-agent: \r\n\r\n", true },
	{ "PROPFIND /dav HTTP/1.1\r\nHost: us\r\nDepth: 1\r\n\r\n", true },
	{ "HEAD /a HTTP/1.1\r\nHost: us\r\n\r\n", true },
	{ "OPTIONS * HTTP/1.1\r\nHost: us\r\n\r\n", true },
	{ "GET http://elsewhere/x HTTP/1.1\r\nHost:  elsewhere \r\nAccept: */*\r\n\r\n", true },
	{ "GET /old HTTP/1.0\r\n\r\n", true },
	{ "GET /old HTTP/1.0\r\nConnection: keep-alive\r\nUser-Agent: ab\r\n\r\n", true },
	{ "GET /" LONG_TEXT " HTTP/1.1\r\nHost: " LONG_TEXT "\r\nUser-Agent: " LONG_TEXT "\r\n\r\n", true },
	{ "POST /none HTTP/1.1\r\nHost: us\r\nContent-Length: 0\r\n\r\n", true },
	{ "GET /" LONGER_TEXT " HTTP/1.1\r\nHost: us\r\n\r\n", false },
	{ "GET /t HTTP/1.1\r\nHost: us\r\n" CORE_PARENT "\r\n", false },
	{ "GET /t HTTP/1.1\r\nHost: us\r\n" CORE_PARENT "tracestate: k=v,l=w\r\n\r\n", false },
	{ "GET /t HTTP/1.1\r\nHost: us\r\ntraceparent: no\r\n\r\n", false },
	{ "POST /p HTTP/1.1\r\nHost: us\r\nContent-Length: 3\r\n\r\nabc", false },
	{ "POST /p HTTP/1.1\r\nTransfer-Encoding: chunked\r\nHost: us\r\n\r\n1\r\nx\r\n0\r\n\r\n", false },
	{ "\r\nGET /empty-line HTTP/1.1\r\nHost: us\r\n\r\n", true },
};

enum how { PLAIN, UNSEEN /* a body that nobody sees */, IN_PARTS, BROKEN /* the kernel says EPIPE */, SHORT_WRITE };

static const struct {
	const char *head, *body;
	enum how how;
	bool close;
} answers[] = {
	{ "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n", "ok", PLAIN, false },
	{ "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n", "ok", UNSEEN, false },
	{ "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n", "ok", IN_PARTS, false },
	{ "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n", "ok", SHORT_WRITE, false },
	{ "HTTP/1.1 200 OK\r\nServer: x\r\nContent-Length: 11\r\n\r\n", "hello world", UNSEEN, false },
	{ "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n", "", PLAIN, false },
	{ "HTTP/1.1 500 No\r\nContent-Length: 5\r\n\r\n", "wrong", PLAIN, false },
	{ "HTTP/1.1 204 No Content\r\n\r\n", "", PLAIN, false },
	{ "HTTP/1.1 200 OK\r\nx-trace-id: own\r\nContent-Length: 2\r\n\r\n", "ok", PLAIN, false },
	{ "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", "2\r\nok\r\n0\r\n\r\n", PLAIN, false },
	{ "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", "2\r\nok\r\n0\r\n\r\n", IN_PARTS, false },
	{ "HTTP/1.0 200 OK\r\n\r\n", "until close", PLAIN, true },
	{ "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n", "not all", PLAIN, true },
	{ "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n", "ok", BROKEN, true },
	{ "", "", PLAIN, true },
};

/* What came by which way. */
static unsigned short_requests, short_answers, short_bodies;

static struct ring_span *expected[COUNT(requests)][COUNT(answers)];

static unsigned long seed = 1;

static size_t pick(size_t n)
{
	seed = seed * 6364136223846793005u + 1442695040888963407u;
	return (size_t)(seed >> 33) % n;
}

/* ---- peers ---- */

static uint16_t port_of_last;

/*
 * A connection that the kernel knows, too, of one of the families. By the kernel's number, which is below those of the fake ones: a number
 * for each of the thousands would be more than the limit that Debian gives its users.
 */
static int accept_from(int family, bool nonblocking)
{
	union {
		struct sockaddr any;
		struct sockaddr_in v4;
		struct sockaddr_in6 v6;
	} addr = { .any.sa_family = (sa_family_t)family };
	socklen_t len = family == AF_INET ? sizeof(addr.v4) : sizeof(addr.v6);
	int pair[2], listener;

	port_of_last = 0;
	if (family == AF_UNIX) {
		CHECK(socketpair(AF_UNIX, SOCK_STREAM, 0, pair) == 0);
	} else {
		if (family == AF_INET)
			addr.v4.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
		else
			addr.v6.sin6_addr = (struct in6_addr)IN6ADDR_LOOPBACK_INIT;
		listener = socket(family, SOCK_STREAM, 0);
		CHECK(listener >= 0 && bind(listener, &addr.any, len) == 0 && listen(listener, 1) == 0);
		CHECK(getsockname(listener, &addr.any, &len) == 0);
		pair[1] = socket(family, SOCK_STREAM, 0);
		CHECK(connect(pair[1], &addr.any, len) == 0);
		pair[0] = accept(listener, NULL, NULL);
		CHECK(pair[0] >= 0 && getpeername(pair[0], &addr.any, &len) == 0);
		port_of_last = ntohs(family == AF_INET ? addr.v4.sin_port : addr.v6.sin6_port);
		close(listener);
	}
	CHECK(pair[0] < CORE_LISTENER);
	close(pair[1]);
	io_accept_begin();
	io_accepted(CORE_LISTENER, pair[0], nonblocking);
	return pair[0];
}

static int family_to_test(void)
{
	int fd = socket(AF_INET6, SOCK_STREAM, 0);
	struct sockaddr_in6 addr = { .sin6_family = AF_INET6, .sin6_addr = IN6ADDR_LOOPBACK_INIT };
	bool has_v6 = fd >= 0 && bind(fd, (struct sockaddr *)&addr, sizeof(addr)) == 0;

	if (fd >= 0)
		close(fd);
	return has_v6 ? AF_INET6 : AF_INET;
}

struct side {
	int fd, family;
	uint16_t port;
	size_t request;
	bool asked, spoiled;
	uint64_t start_ns;
};

static void open_side(struct side *side, int family)
{
	side->fd = accept_from(family, true);
	side->family = family;
	side->port = port_of_last;
	side->asked = side->spoiled = false;
}

static void close_side(const struct side *side)
{
	core_close(side->fd);
	close(side->fd);
}

/* ---- requests and answers ---- */

/* Is this the head that the thread has read last, and kept? */
static bool is_known(const char *text)
{
	struct stream_heads *heads = stream_take_heads();
	const struct http1_known *known = stream_known(heads, STREAM_REQUEST_IN);
	bool same = known != NULL && known->len > 0 && known->len + 2u == strlen(text) &&
	            memcmp(known->head, text, known->len) == 0;

	stream_give_heads(heads);
	return same;
}

static void ask(struct side *side, size_t request, bool whole)
{
	const char *text = requests[request].text;
	size_t len = strlen(text);
	bool is_usual = whole && requests[request].usual && is_known(text);
	const struct exchange *ex;

	if (whole) {
		core_receive(side->fd, text, len);
	} else {
		core_receive(side->fd, text, 1);
		core_receive(side->fd, text + 1, len - 1);
	}
	ex = conn_last(core_conn(side->fd));
	CHECK(ex != NULL && ex->span != NULL && ex->request_headed);
	CHECK_INT(ex->span->head != NULL, is_usual);
	short_requests += is_usual;
	side->request = request;
	side->asked = true;
	side->start_ns = ex->span->record.start_ns;
}

static void check_same(const struct ring_span *span, const struct side *side, size_t answer);

/* As the hooks do it; the short way only where it is to be. In the real call, what is held is what is recorded behind it. */
static ssize_t put(struct side *side, const struct iovec *iov, int count, int result, bool may_be_short, size_t answer)
{
	struct iovec v[IO_ANSWER_VECTORS];
	const int script[] = { result, 0 };
	struct wire w = { .script = result != 0 ? script : NULL };
	enum io_verdict verdict;
	struct io_send io;
	ssize_t n;

	w.emitter.emit = wire_emit;
	w.emitter.fd = side->fd;
	if (may_be_short && io_answer_begin(&io, side->fd, fds_word(side->fd), iov, count, v)) {
		short_answers++;
		look();
		if (io.spot.done && answer != SIZE_MAX) {
			uint64_t tail = ring->tail;
			const struct ring_span *span = pull_until(ring->held);

			CHECK(ring->held > ring->head && span != NULL);
			check_same(span, side, answer);
			ring->tail = tail;
		}
		n = io_answer_end(&io, wire_emit(&w.emitter, v, count));
	} else {
		verdict = io_send_begin(&io, side->fd, iov, count);
		CHECK(verdict != IO_PLAIN);
		if (verdict == IO_SPECIAL) {
			n = io_send_special(&io, &w.emitter);
		} else {
			n = wire_emit(&w.emitter, iov, count);
			io_send_end(&io, n);
		}
	}
	wire_free(&w);
	return n;
}

static void put_all(struct side *side, const char *bytes, size_t len, bool may_be_short)
{
	while (len > 0) {
		ssize_t n = put(side, &(struct iovec){ (char *)(uintptr_t)bytes, len }, 1, 0, may_be_short, SIZE_MAX);

		CHECK(n > 0 && (size_t)n <= len);
		bytes += n;
		len -= (size_t)n;
	}
}

static void put_unseen(const struct side *side, size_t len, bool may_be_short, size_t answer)
{
	struct conn_handle handle;
	bool usual = may_be_short && io_send_body_usual(&handle, side->fd, fds_word(side->fd));
	uint64_t tail;

	if (!usual && !io_send_unseen_goes_on(side->fd, fds_word(side->fd)))
		io_send_unseen_begin(side->fd);
	look();
	tail = ring->tail;
	CHECK(ring->held > ring->head);
	if (answer != SIZE_MAX)
		check_same(pull_until(ring->held), side, answer);
	ring->tail = tail;
	if (usual)
		CHECK_INT(io_sent_body(handle, side->fd, (ssize_t)len), len);
	else
		io_send_unseen_end(side->fd, (ssize_t)len);
	CHECK_INT(ring->held, ring->head);
	short_bodies += usual;
}

/* `compare`: what is held is to be what is expected. */
static void give(struct side *side, size_t answer, bool may_be_short, bool compare)
{
	bool no_body = strncmp(requests[side->request].text, "HEAD", 4) == 0;
	const char *head = answers[answer].head, *body = no_body ? "" : answers[answer].body;
	enum how how = no_body ? PLAIN : answers[answer].how;
	struct iovec iov[2] = { { (char *)(uintptr_t)head, strlen(head) }, { (char *)(uintptr_t)body, strlen(body) } };
	size_t total = iov[0].iov_len + iov[1].iov_len;
	ssize_t n;

	switch (how) {
	case PLAIN:
		if (total == 0)
			break;
		n = put(side, iov, iov[1].iov_len > 0 ? 2 : 1, 0, may_be_short, compare ? answer : SIZE_MAX);
		CHECK_INT(n, total);
		break;
	case UNSEEN:
		put_all(side, head, iov[0].iov_len, may_be_short);
		n = may_be_short ? (ssize_t)pick(iov[1].iov_len) : 0; /* the kernel may take it in two parts */
		if (n > 0)
			put_unseen(side, (size_t)n, may_be_short, compare ? answer : SIZE_MAX);
		put_unseen(side, iov[1].iov_len - (size_t)n, may_be_short, compare ? answer : SIZE_MAX);
		break;
	case IN_PARTS:
		put_all(side, head, iov[0].iov_len, may_be_short);
		put_all(side, body, 1, may_be_short);
		put_all(side, body + 1, iov[1].iov_len - 1, may_be_short);
		break;
	case BROKEN: CHECK_INT(put(side, iov, 2, -EPIPE, may_be_short, SIZE_MAX), -1); break;
	case SHORT_WRITE:
		n = put(side, iov, 2, 20, may_be_short, SIZE_MAX);
		CHECK(n > 0 && (size_t)n < iov[0].iov_len);
		put_all(side, head + n, iov[0].iov_len - (size_t)n, may_be_short);
		put_all(side, body, iov[1].iov_len, may_be_short);
		break;
	}
	side->asked = false;
}

/* ---- what is recorded ---- */

/* What may differ between two exchanges of the same kind is taken out, and looked at. */
static struct ring_span *usual(const struct ring_span *span, const struct side *side)
{
	struct ring_span *copy = malloc(span->entry.size + sizeof(uint64_t));
	size_t texts = 0;

	memcpy(copy, span, span->entry.size);
	for (int i = 0; i < RING_TEXT_COUNT; i++)
		texts += span->text[i];
	memset((char *)(copy + 1) + texts, 0, span->entry.size - sizeof(*span) - texts); /* up to the next entry */
	CHECK_INT(span->start_ns, side->start_ns);
	CHECK_INT(span->tid, os_tid());
	CHECK_INT(span->peer_port, side->port);
	CHECK_INT((span->flags & RING_FLAG_PEER) != 0, side->family != AF_UNIX);
	CHECK_INT((span->flags & RING_FLAG_PEER_V6) != 0, side->family == AF_INET6);
	CHECK(memcmp(span->peer,
	             side->family == AF_INET  ? "\x7f\0\0\1\0\0\0\0\0\0\0\0\0\0\0\0" :
	             side->family == AF_INET6 ? "\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\1" :
	                                        "\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0",
	             16) == 0);
	copy->end_ns = span->first_byte_ns != 0 && span->end_ns > span->first_byte_ns;
	copy->first_byte_ns = span->first_byte_ns != 0;
	copy->start_ns = copy->tid = 0;
	copy->peer_port = 0;
	memset(copy->peer, 0, sizeof(copy->peer));
	copy->flags &= ~(RING_FLAG_PEER | RING_FLAG_PEER_V6);
	memset(copy->span_id, 0, sizeof(copy->span_id));
	if ((span->flags & RING_FLAG_REMOTE) == 0)
		memset(copy->trace_id, 0, sizeof(copy->trace_id));
	return copy;
}

static void check_same(const struct ring_span *span, const struct side *side, size_t answer)
{
	struct ring_span *got, *wanted = expected[side->request][answer];

	CHECK(span != NULL);
	got = usual(span, side);
	if (ring->held > ring->head) /* by which clock */
		got->end_ns = wanted->end_ns;
	CHECK_INT(got->entry.size, wanted->entry.size);
	CHECK_INT(got->flags, wanted->flags);
	CHECK_INT(got->bytes_in, wanted->bytes_in);
	CHECK_INT(got->bytes_out, wanted->bytes_out);
	CHECK(memcmp(got, wanted, wanted->entry.size) == 0);
	free(got);
}

/* A call's span, and that of an opaque protocol, out of the same blocks. */
static void record_another(bool call)
{
	const struct ring_span *span;
	struct conn *conn;
	int fd = call ? core_connect() : core_accept(false);

	if (call) {
		struct span *block;

		core_send_text(fd, "GET /out HTTP/1.1\r\nHost: them\r\nUser-Agent: not\r\ntraceparent: "
		                   "00-" CORE_TRACE "-b7ad6b7169203331-01\r\n\r\n");
		conn = core_conn(fd);
		block = conn_last(conn) != NULL ? conn_last(conn)->span : NULL;
		CHECK(block == NULL); /* somebody else's: the block went back */
	} else {
		core_receive_text(fd, "PING\r\n");
		core_send_text(fd, "+PONG\r\n");
	}
	core_close(fd);
	span = pull();
	CHECK((span == NULL) == call);
	CHECK(span == NULL || (span->text[RING_TEXT_TARGET] == 0 && span->text[RING_TEXT_HOST] == 0 &&
	                       span->method == RING_METHOD_other && span->version == 0 && span->status == 0));
}

static void take_expected(void)
{
	for (size_t r = 0; r < COUNT(requests); r++) {
		for (size_t a = 0; a < COUNT(answers); a++) {
			const struct ring_span *span;
			struct side side;

			core_case = requests[r].text;
			open_side(&side, AF_UNIX);
			ask(&side, r, false);
			give(&side, a, false, false);
			close_side(&side);
			span = pull();
			CHECK(span != NULL && span->bytes_in == strlen(requests[r].text));
			expected[r][a] = usual(span, &side);
			CHECK(pull() == NULL);
		}
	}
	CHECK_INT(short_requests + short_answers, 0);
}

static void free_expected(void)
{
	for (size_t r = 0; r < COUNT(requests); r++)
		for (size_t a = 0; a < COUNT(answers); a++)
			free(expected[r][a]);
}

static void go_through_many(struct config_name response_header)
{
	static const int families[] = { AF_UNIX, AF_INET, AF_INET6, AF_INET };
	struct side sides[COUNT(families)];
	size_t request = 0, answer = 0;

	exporting();
	config.raw = true;
	config.response_header = response_header;
	current_serve();
	take_expected();
	for (size_t i = 0; i < COUNT(sides); i++)
		open_side(&sides[i], families[i] == AF_INET6 ? family_to_test() : families[i]);
	for (unsigned step = 0; step < 6000; step++) {
		struct side *side = &sides[pick(COUNT(sides))];

		if (!side->asked) {
			if (pick(4) == 0)
				request = pick(COUNT(requests));
			core_case = requests[request].text;
			ask(side, request, true);
			continue;
		}
		if (pick(4) == 0)
			answer = pick(COUNT(answers));
		core_case = requests[side->request].text;
		give(side, answer, true, true);
		if (answers[answer].close || (strncmp(requests[side->request].text, "HEAD", 4) == 0 && pick(2) == 0)) {
			close_side(side);
			check_same(pull(), side, answer);
			open_side(side, side->family);
		} else {
			check_same(pull(), side, answer);
		}
		CHECK(pull() == NULL);
		if (pick(16) == 0)
			record_another(pick(2));
	}
	for (size_t i = 0; i < COUNT(sides); i++) {
		close_side(&sides[i]);
		(void)pull();
	}
	CHECK(short_requests > 1000);
	CHECK(short_answers > 1000);
	CHECK(short_bodies > 100);
	free_expected();
	the_end();
}

CORE_TEST(spans_by_the_short_ways_are_those_by_the_long_ones)
{
	go_through_many((struct config_name){ "", 0 });
}

CORE_TEST(so_they_are_where_answers_get_a_header)
{
	go_through_many(CORE_NAME("x-trace-id"));
}

/* ---- calls ---- */

static const struct {
	const char *text;
	bool usual;
} calls[] = {
	{ "GET /next HTTP/1.1\r\nHost: them:80\r\n\r\n", true },
	{ "GET /next?a HTTP/1.1\r\nUser-Agent: x\r\nHost: them\r\nX-Forwarded-For: 1.2.3.4\r\nHost: again\r\n\r\n",
	  true },
	{ "HEAD /next HTTP/1.1\r\nHost: them\r\n\r\n", true },
	{ "PROPFIND /dav HTTP/1.1\r\nHost: them\r\n\r\n", true },
	{ "GET http://them/next HTTP/1.0\r\n\r\n", true },
	{ "POST /next HTTP/1.1\r\nHost: them\r\nContent-Length: 3\r\n\r\nabc", true },
	{ "GET /" LONG_TEXT " HTTP/1.1\r\nHost: " LONG_TEXT "\r\n\r\n", true },
	{ "GET /next HTTP/1.1\r\nHost: them\r\nbaggage: a=b\r\n\r\n", false },
	{ "GET /" LONGER_TEXT " HTTP/1.1\r\nHost: us\r\n\r\n", false },
};

static const struct {
	const char *text;
	bool close;
} replies[] = {
	{ "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", false },
	{ "HTTP/1.1 404 No\r\nContent-Length: 0\r\n\r\n", false },
	{ "HTTP/1.1 204 No Content\r\n\r\n", false },
	{ "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 500 Wrong\r\nContent-Length: 1\r\n\r\n!", false },
	{ "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n", false },
	{ "HTTP/1.0 200 OK\r\n\r\nuntil close", true },
	{ "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\npart", true },
	{ "", true },
};

static unsigned short_calls;

/* What is recorded of the call that this thread has made for `caller`, and whose head is in `w`; without what two of a kind differ in. */
static struct ring_span *usual_call(const struct request *caller, const struct wire *w)
{
	const struct ring_span *span = pull();
	struct ring_span *copy;
	size_t texts = 0;
	char id[33] = "";

	CHECK(span != NULL && pull() == NULL);
	CHECK_INT(span->span_kind, RING_SPAN_CLIENT);
	CHECK(memcmp(span->trace_id, caller->ctx.trace_id, sizeof(span->trace_id)) == 0);
	CHECK(memcmp(span->parent_id, caller->ctx.span_id, sizeof(span->parent_id)) == 0);
	for (size_t i = 0; i < sizeof(span->span_id); i++)
		sprintf(id + 2 * i, "%02x", span->span_id[i]);
	CHECK(memmem(w->bytes, w->len, id, 16) != NULL); /* as its head says */
	copy = malloc(span->entry.size + sizeof(uint64_t));
	memcpy(copy, span, span->entry.size);
	copy->end_ns = span->first_byte_ns != 0 && span->end_ns > span->first_byte_ns;
	copy->first_byte_ns = span->first_byte_ns != 0;
	copy->start_ns = 0;
	memset(copy->trace_id, 0, sizeof(copy->trace_id));
	memset(copy->span_id, 0, sizeof(copy->span_id));
	memset(copy->parent_id, 0, sizeof(copy->parent_id));
	for (int i = 0; i < RING_TEXT_COUNT; i++)
		texts += span->text[i];
	memset((char *)(copy + 1) + texts, 0, span->entry.size - sizeof(*span) - texts);
	return copy;
}

/* Makes the call, in parts if `most` is not 0, hears the reply, and returns what is recorded without what two of a kind differ in. */
static struct ring_span *call(int *fd, size_t number, size_t reply, bool may_be_short, int most)
{
	const char *text = calls[number].text, *answer = replies[reply].text;
	const struct request *caller = current_known();
	const int script[] = { most, 0 };
	struct wire w = { .script = most != 0 ? script : NULL };
	struct iovec iov = { (char *)(uintptr_t)text, strlen(text) }, v[IO_ANSWER_VECTORS];
	struct ring_span *copy;
	struct io_send io;
	size_t len;
	ssize_t n;

	CHECK(caller != NULL);
	w.emitter.emit = wire_emit;
	w.emitter.fd = *fd;
	if (may_be_short && io_answer_begin(&io, *fd, fds_word(*fd), &iov, 1, v)) {
		CHECK(calls[number].usual);
		short_calls++;
		n = io_answer_end(&io, wire_emit(&w.emitter, v, 1));
	} else {
		CHECK_INT(io_send_begin(&io, *fd, &iov, 1), IO_SPECIAL);
		n = io_send_special(&io, &w.emitter);
	}
	CHECK(n > 0 && (size_t)n <= iov.iov_len);
	if ((size_t)n < iov.iov_len)
		CHECK_INT(wire_send(&w, *fd, text + n, iov.iov_len - (size_t)n), (ssize_t)iov.iov_len - n);
	len = strlen(answer);
	if (strncmp(text, "HEAD", 4) == 0 && len > 0) { /* to its head alone */
		const char *head = strncmp(answer, "HTTP/1.1 100", 12) == 0 ? strstr(answer, "\r\n\r\n") + 4 : answer;

		len = (size_t)(strstr(head, "\r\n\r\n") + 4 - answer);
	}
	if (len > 0)
		core_receive(*fd, answer, len);
	if (replies[reply].close || core_conn(*fd)->first != NULL) {
		core_close(*fd);
		*fd = core_connect();
	}
	copy = usual_call(caller, &w);
	wire_free(&w);
	return copy;
}

CORE_TEST(calls_by_the_short_way_are_those_by_the_long_one)
{
	static const char *const callers[] = { "GET / HTTP/1.1\r\n" CORE_PARENT "\r\n",
		                               "GET / HTTP/1.1\r\n" CORE_PARENT "tracestate: k=v\r\n\r\n" };
	struct ring_span *wanted[2][COUNT(calls)][COUNT(replies)];
	size_t number = 0, reply = 0;

	exporting();
	for (size_t c = 0; c < COUNT(callers); c++) {
		int fd, served = core_accept(false);

		core_receive_text(served, callers[c]);
		fd = core_connect();
		for (size_t i = 0; i < COUNT(calls); i++) {
			for (size_t j = 0; j < COUNT(replies); j++) {
				core_case = calls[i].text;
				wanted[c][i][j] = call(&fd, i, j, false, 0);
			}
		}
		core_close(fd);
		core_close(served);
		CHECK(pull() != NULL); /* the request itself was not answered */
	}
	for (unsigned step = 0; step < 400; step++) {
		size_t c = pick(COUNT(callers));
		int fd, served = core_accept(false);

		core_receive_text(served, callers[c]);
		fd = core_connect();
		for (unsigned i = 0; i < 10; i++) {
			struct ring_span *got;

			if (pick(3) == 0)
				number = pick(COUNT(calls));
			if (pick(3) == 0)
				reply = pick(COUNT(replies));
			core_case = calls[number].text;
			got = call(&fd, number, reply, true, pick(5) == 0 ? 1 + (int)pick(120) : 0);
			CHECK_INT(got->flags, wanted[c][number][reply]->flags);
			CHECK_INT(got->bytes_out, wanted[c][number][reply]->bytes_out);
			CHECK(got->entry.size == wanted[c][number][reply]->entry.size &&
			      memcmp(got, wanted[c][number][reply], got->entry.size) == 0);
			free(got);
		}
		core_close(fd);
		core_close(served);
		CHECK(pull() != NULL && pull() == NULL);
	}
	CHECK(short_calls > 500);
	for (size_t i = 0; i < sizeof(wanted) / sizeof(wanted[0][0][0]); i++)
		free((&wanted[0][0][0])[i]);
	the_end();
}

/* ---- threads ---- */

static void *take_expected_apart(void *unused)
{
	(void)unused;
	current_notice_thread();
	take_expected();
	return NULL;
}

/* One of the threads that come one after the other: each finds what the one before has left of blocks, heads and rings. */
static void *ask_and_answer(void *unused)
{
	struct side side;

	(void)unused;
	current_notice_thread();
	for (size_t i = 0; i < 4; i++) {
		open_side(&side, AF_INET);
		ask(&side, pick(4), true);
		give(&side, 0, true, true);
		check_same(pull(), &side, 0);
		close_side(&side);
	}
	return NULL;
}

CORE_TEST(so_they_are_where_threads_leave_their_blocks_to_each_other)
{
	pthread_t thread;

	exporting();
	current_serve();
	CHECK(pthread_create(&thread, NULL, take_expected_apart, NULL) == 0 && pthread_join(thread, NULL) == 0);
	for (int i = 0; i < 200; i++)
		CHECK(pthread_create(&thread, NULL, ask_and_answer, NULL) == 0 && pthread_join(thread, NULL) == 0);
	CHECK(short_requests > 100);
	free_expected();
	the_end();
}

/* Two heads that were each the first to be kept where they are, as those of two threads; and the block of a span of the one for the other. */
CORE_TEST(heads_of_the_same_number_are_told_apart)
{
	struct stream_heads *heads[2];
	struct side sides[2];

	exporting();
	current_serve();
	take_expected();
	for (size_t i = 0; i < 2; i++) {
		heads[i] = stream_take_heads();
		CHECK(heads[i] != NULL);
		memset(heads[i]->of, 0, sizeof(heads[i]->of));
		open_side(&sides[i], AF_UNIX);
	}
	stream_give_heads(heads[0]);
	ask(&sides[0], 1, true);
	give(&sides[0], 0, true, true);
	check_same(pull(), &sides[0], 0);
	ask(&sides[0], 1, true);
	CHECK(stream_take_heads() == heads[0]);
	stream_give_heads(heads[1]);
	ask(&sides[1], 2, true);
	give(&sides[1], 0, true, true);
	CHECK_INT(heads[0]->of[STREAM_REQUEST_IN].serial, heads[1]->of[STREAM_REQUEST_IN].serial);
	CHECK_INT(short_requests, 1);
	check_same(pull(), &sides[1], 0);
	give(&sides[0], 0, true, true); /* its block is the next one that is taken */
	check_same(pull(), &sides[0], 0);
	ask(&sides[1], 2, true);
	CHECK_INT(short_requests, 2);
	give(&sides[1], 0, true, true);
	check_same(pull(), &sides[1], 0);
	close_side(&sides[0]);
	close_side(&sides[1]);
	free_expected();
	the_end();
}

int main(void)
{
	current_watch_threads(io_end_thread);
#define TEST(name) cmocka_unit_test(name)
	const struct CMUnitTest tests[] = {
		TEST(spans_by_the_short_ways_are_those_by_the_long_ones),
		TEST(so_they_are_where_answers_get_a_header),
		TEST(calls_by_the_short_way_are_those_by_the_long_one),
		TEST(so_they_are_where_threads_leave_their_blocks_to_each_other),
		TEST(heads_of_the_same_number_are_told_apart),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

/*
 * The HTTP/1 scanner: vectors with the trace of events they must give, fed whole, byte by byte and at every split,
 * against unreadable pages on both sides; speculation by forks; limits from both sides; poison.
 *
 * long: half of it is the tables of vectors.
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

#include "http1.h"

#define TRACE_SIZE (1u << 14)
#define ARENA_SIZE (1u << 20)

/* What one run said, and what it took. */
struct run {
	char *trace;
	size_t len;
	size_t offset; /* in the stream, for the trace */
	struct http1 scanner;
	enum http1_kind kind;
	unsigned options;
	bool alien, tunnel;
	bool no_buffer;
	int buffers; /* asked for by the current scanner */
};

static struct http1_known *known; /* what feed knows of heads; NULL: nothing */

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

static void say(struct run *r, const char *format, ...) __attribute__((format(printf, 2, 3)));

static void say(struct run *r, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	r->len += (size_t)vsnprintf(r->trace + r->len, TRACE_SIZE - r->len, format, args);
	va_end(args);
	assert_true(r->len < TRACE_SIZE);
}

/* Everything but names that begin with "skip" and "content-type". */
static bool wants(void *owner, const char *name, size_t len)
{
	(void)owner;
	assert_in_range(len, 1, LIMIT_HEADER_NAME);
	for (size_t i = 0; i < len; i++)
		assert_false(name[i] >= 'A' && name[i] <= 'Z');
	return !(len >= 4 && memcmp(name, "skip", 4) == 0) && !(len == 12 && memcmp(name, "content-type", 12) == 0);
}

static void field(void *owner, const char *name, size_t name_len, const char *value, size_t len)
{
	if (len > 64)
		say(owner, "%.*s=<%zu>;", (int)name_len, name, len);
	else
		say(owner, "%.*s=%.*s;", (int)name_len, name, (int)len, value);
}

static char *buffer(void *owner)
{
	struct run *r = owner;

	r->buffers++;
	assert_int_equal(r->buffers, 1);
	return r->no_buffer ? NULL : malloc(LIMIT_HEAD_LINE);
}

static void begin(struct run *r, enum http1_kind kind, unsigned options)
{
	memset(r, 0, sizeof(*r));
	r->trace = malloc(TRACE_SIZE);
	assert_non_null(r->trace);
	r->trace[0] = 0;
	r->kind = kind;
	r->options = options;
	http1_init(&r->scanner, kind, options);
}

static void end(struct run *r)
{
	free(r->scanner.line);
	free(r->trace);
}

static void say_head(struct run *r)
{
	static const char *const methods[] = { "GET",     "HEAD",    "POST",  "PUT",   "DELETE",
		                               "CONNECT", "OPTIONS", "TRACE", "PATCH", "OTHER" };
	static const char *const bodies[] = { "none", "length", "chunked", "close" };
	const struct http1 *h = &r->scanner;

	if (r->kind == HTTP1_REQUEST)
		say(r, " %s", methods[h->method]);
	else
		say(r, " %u", h->status);
	say(r, " 1.%u %s%s%s%s", h->minor, bodies[h->body], h->close ? " end" : "", h->upgrade ? " upgrade" : "",
	    h->interim ? " interim" : "");
}

/* Feed one piece to the end, with fresh scanners as messages end. */
static void feed(struct run *r, const char *in, size_t len)
{
	static const char *const names[] = { "MORE", "HEAD_END", "HEAD", "DONE", "TUNNEL", "ALIEN" };
	const struct http1_sink sink = { .wants = wants, .field = field, .owner = r, .known = known };

	while (!r->alien && !r->tunnel) {
		size_t used = SIZE_MAX;
		enum http1_status status = http1_feed(&r->scanner, &sink, buffer, in, len, &used);

		assert_true(used <= len);
		if (status == HTTP1_MORE || status == HTTP1_ALIEN)
			assert_int_equal(used, len);
		r->offset += used;
		in += used;
		len -= used;
		if (status == HTTP1_MORE)
			break;
		say(r, "[%s", names[status]);
		if (status != HTTP1_ALIEN)
			say(r, "@%zu", r->offset);
		if (status == HTTP1_HEAD || status == HTTP1_TUNNEL || status == HTTP1_HEAD_END)
			say_head(r);
		say(r, "]");
		r->alien = status == HTTP1_ALIEN;
		r->tunnel = status == HTTP1_TUNNEL;
		if (status == HTTP1_DONE) {
			free(r->scanner.line);
			http1_init(&r->scanner, r->kind, r->options);
			r->buffers = 0;
			if (len == 0)
				break;
		}
	}
}

/* The end of the stream, where the vector did not end at a boundary. */
static void finish(struct run *r)
{
	if (!r->alien && !http1_untouched(&r->scanner)) {
		enum http1_status status = http1_eof(&r->scanner);

		say(r, "[eof %s]", status == HTTP1_DONE ? "done" : status == HTTP1_TUNNEL ? "tunnel" : "cut");
	}
}

/* The same bytes at the end, or at the beginning, of readable memory. */
static void feed_guarded(struct run *r, const char *in, size_t len, bool at_end)
{
	char *place = at_end ? arena + ARENA_SIZE - len : arena;

	memcpy(place, in, len);
	feed(r, place, len);
}

struct vector {
	const char *name;
	const char *bytes;
	const char *trace;
	size_t len; /* 0: strlen(bytes) */
	enum http1_kind kind;
	unsigned options;
};

static void check_pieces(const struct vector *v, size_t first, size_t step, bool at_end)
{
	size_t len = v->len ? v->len : strlen(v->bytes);
	struct run r;

	begin(&r, v->kind, v->options);
	feed_guarded(&r, v->bytes, first, at_end);
	for (size_t at = first; at < len; at += step)
		feed_guarded(&r, v->bytes + at, len - at < step ? len - at : step, at_end);
	finish(&r);
	if (strcmp(r.trace, v->trace))
		print_error("vector '%s', first %zu, then by %zu\n", v->name, first, step);
	assert_string_equal(r.trace, v->trace);
	end(&r);
}

static void check_vector(const struct vector *v)
{
	size_t len = v->len ? v->len : strlen(v->bytes);

	for (int at_end = 0; at_end < 2; at_end++) {
		check_pieces(v, len, 1, at_end);
		check_pieces(v, 0, 1, at_end);
		check_pieces(v, 0, 3, at_end);
		for (size_t first = 1; first < len; first++)
			check_pieces(v, first, len, at_end);
	}
}

#define REQ .kind = HTTP1_REQUEST
#define RES .kind = HTTP1_RESPONSE
#define BYTES(literal) .bytes = literal, .len = sizeof(literal) - 1

static const struct vector requests[] = {
	{ REQ, .name = "the smallest", .bytes = "GET / HTTP/1.1\r\n\r\n", .trace = "[HEAD@18 GET 1.1 none][DONE@18]" },
	{ REQ, .name = "fields, names in lower case, values trimmed",
	  .bytes = "GET /a?b HTTP/1.1\r\nHost:  h \t\r\nX-Y_1:\t\r\nTraceParent:00\r\nSkip-Me: x\r\n\r\n",
	  .trace = "host=h;x-y_1=;traceparent=00;[HEAD@70 GET 1.1 none][DONE@70]" },
	{ REQ, .name = "value with inner tab, high bytes and colon", .bytes = "GET / HTTP/1.1\r\nA: b\tc\xff:d\r\n\r\n",
	  .trace = "a=b\tc\xff:d;[HEAD@29 GET 1.1 none][DONE@29]" },
	{ REQ, .name = "wrk",
	  .bytes = "GET /index.html HTTP/1.1\r\nHost: 127.0.0.1:8080\r\nConnection: Keep-Alive\r\n\r\n",
	  .trace = "host=127.0.0.1:8080;[HEAD@74 GET 1.1 none][DONE@74]" },
	{ REQ, .name = "body by length", .bytes = "POST / HTTP/1.1\r\nContent-Length:  5 \r\n\r\nGET /",
	  .trace = "[HEAD@40 POST 1.1 length][DONE@45]" },
	{ REQ, .name = "length 0 and with zeros in front",
	  .bytes = "PUT / HTTP/1.1\r\nContent-Length: 0\r\n\r\nPUT / HTTP/1.1\r\ncontent-LENGTH: 003\r\n\r\nabc",
	  .trace = "[HEAD@37 PUT 1.1 none][DONE@37][HEAD@76 PUT 1.1 length][DONE@79]" },
	{ REQ, .name = "pipelined with and without body",
	  .bytes = "GET /1 HTTP/1.1\r\nA: 1\r\n\r\nPOST /2 HTTP/1.1\r\nContent-Length: 2\r\nB: 2\r\n\r\nxy"
	           "DELETE /3 HTTP/1.1\r\n\r\n",
	  .trace = "a=1;[HEAD@25 GET 1.1 none][DONE@25]b=2;[HEAD@70 POST 1.1 length][DONE@72]"
	           "[HEAD@94 DELETE 1.1 none][DONE@94]" },
	{ REQ, .name = "empty lines between requests",
	  .bytes = "\r\n\r\nGET / HTTP/1.0\r\n\r\n\r\nGET / HTTP/1.0\r\n\r\n\r\n",
	  .trace = "[HEAD@22 GET 1.0 none end][DONE@22][HEAD@42 GET 1.0 none end][DONE@42]" },
	{ REQ, .name = "five empty lines", .bytes = "\r\n\r\n\r\n\r\n\r\nGET / HTTP/1.0\r\n\r\n", .trace = "[ALIEN]" },
	{ REQ, .name = "absolute form", .bytes = "GET http://h:80/p HTTP/1.1\r\nHost: h\r\n\r\n",
	  .trace = "host=h;[HEAD@39 GET 1.1 none][DONE@39]" },
	{ REQ, .name = "asterisk form", .bytes = "OPTIONS * HTTP/1.1\r\n\r\n",
	  .trace = "[HEAD@22 OPTIONS 1.1 none][DONE@22]" },
	{ REQ, .name = "authority form", .bytes = "CONNECT [::1]:443 HTTP/1.1\r\n\r\n",
	  .trace = "[HEAD@30 CONNECT 1.1 none][DONE@30]" },
	{ REQ, .name = "every method",
	  .bytes = "HEAD / HTTP/1.1\r\n\r\nTRACE / HTTP/1.1\r\n\r\nPATCH / HTTP/1.1\r\n\r\n"
	           "PROPFIND / HTTP/1.1\r\n\r\nGETS / HTTP/1.1\r\n\r\nCONNECTS / HTTP/1.1\r\n\r\n",
	  .trace = "[HEAD@19 HEAD 1.1 none][DONE@19][HEAD@39 TRACE 1.1 none][DONE@39][HEAD@59 PATCH 1.1 none][DONE@59]"
	           "[HEAD@82 OTHER 1.1 none][DONE@82][HEAD@101 OTHER 1.1 none][DONE@101]"
	           "[HEAD@124 OTHER 1.1 none][DONE@124]" },
	{ REQ, .name = "Connection decides by version",
	  .bytes = "GET / HTTP/1.1\r\nConnection: foo , Close\r\n\r\nGET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n"
	           "GET / HTTP/1.1\r\nConnection: closed, xclose\r\n\r\n"
	           "GET / HTTP/1.0\r\nConnection: keep-alive,close\r\n\r\n",
	  .trace = "[HEAD@43 GET 1.1 none end][DONE@43][HEAD@85 GET 1.0 none][DONE@85][HEAD@131 GET 1.1 none][DONE@131]"
	           "[HEAD@179 GET 1.0 none end][DONE@179]" },
	{ REQ, .name = "upgrade needs both fields and 1.1",
	  .bytes = "GET / HTTP/1.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n"
	           "GET / HTTP/1.1\r\nUpgrade: h2c\r\n\r\nGET / HTTP/1.1\r\nConnection: upgrade\r\n\r\n"
	           "GET / HTTP/1.0\r\nConnection: upgrade, keep-alive\r\nUpgrade: x\r\n\r\n",
	  .trace = "[HEAD@59 GET 1.1 none upgrade][DONE@59][HEAD@91 GET 1.1 none][DONE@91]"
	           "[HEAD@130 GET 1.1 none][DONE@130]"
	           "[HEAD@193 GET 1.0 none][DONE@193]" },
	{ REQ, .name = "chunked",
	  .bytes = "POST / HTTP/1.1\r\nTransfer-Encoding: Chunked\r\n\r\n5\r\nhello\r\n0A;x=\"y\"\r\n0123456789\r\n"
	           "0\r\n\r\nGET / HTTP/1.1\r\n\r\n",
	  .trace = "[HEAD@47 POST 1.1 chunked][DONE@84][HEAD@102 GET 1.1 none][DONE@102]" },
	{ REQ, .name = "trailers are not fields",
	  .bytes = "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n000\r\nA: b\r\nContent-Length: 9\r\n\r\n",
	  .trace = "[HEAD@47 POST 1.1 chunked][DONE@79]" },
	{ REQ, .name = "cut in the head", .bytes = "GET / HTTP/1.1\r\nA: b\r\n", .trace = "a=b;[eof cut]" },
	{ REQ, .name = "cut in the body", .bytes = "PUT / HTTP/1.1\r\nContent-Length: 3\r\n\r\nab",
	  .trace = "[HEAD@37 PUT 1.1 length][eof cut]" },
	{ REQ, .name = "cut before the last line feed",
	  .bytes = "PUT / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r",
	  .trace = "[HEAD@46 PUT 1.1 chunked][eof cut]" },
	{ REQ, .name = "stop at the blank line", .options = HTTP1_STOP_AT_BLANK,
	  .bytes = "GET / HTTP/1.1\r\nA: b\r\n\r\nGET / HTTP/1.1\r\n\r\n",
	  .trace = "a=b;[HEAD_END@22 GET 1.1 none][HEAD@24 GET 1.1 none][DONE@24]"
	           "[HEAD_END@40 GET 1.1 none][HEAD@42 GET 1.1 none][DONE@42]" },
	{ REQ, .name = "stop at a CR that ends no head", .options = HTTP1_STOP_AT_BLANK,
	  .bytes = "GET / HTTP/1.1\r\nA: b\r\n\rX: y\r\n\r\n", .trace = "a=b;[HEAD_END@22 GET 1.1 none][ALIEN]" },
	{ REQ, .name = "no stop in a head that is alien", .options = HTTP1_STOP_AT_BLANK,
	  .bytes = "POST / HTTP/1.1\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n", .trace = "[ALIEN]" },
	{ REQ, .name = "no stop in a CONNECT with a body", .options = HTTP1_STOP_AT_BLANK,
	  .bytes = "CONNECT h:1 HTTP/1.1\r\nContent-Length: 3\r\n\r\n", .trace = "[ALIEN]" },
	{ REQ, .name = "names at the limit are asked for, longer ones are not",
	  .bytes = "GET / HTTP/1.1\r\n"
	           "A123456789012345678901234567890123456789012345678901234567890123: 64\r\n"
	           "A1234567890123456789012345678901234567890123456789012345678901234: 65\r\n\r\n",
	  .trace = "a123456789012345678901234567890123456789012345678901234567890123=64;"
	           "[HEAD@159 GET 1.1 none][DONE@159]" },
};

static const struct vector responses[] = {
	{ RES, .name = "nginx",
	  .bytes = "HTTP/1.1 200 OK\r\nServer: nginx\r\nContent-Type: text/html\r\nContent-Length: 3\r\n"
	           "Connection: keep-alive\r\nETag: \"1-2\"\r\nAccept-Ranges: bytes\r\n\r\nabc",
	  .trace = "server=nginx;etag=\"1-2\";accept-ranges=bytes;[HEAD@137 200 1.1 length][DONE@140]" },
	{ RES, .name = "until close", .bytes = "HTTP/1.1 200 OK\r\n\r\nabc\r\n\r\nHTTP/1.1 200 OK\r\n\r\n",
	  .trace = "[HEAD@19 200 1.1 close end][eof done]" },
	{ RES, .name = "until close, empty", .bytes = "HTTP/1.0 200 OK\r\n\r\n",
	  .trace = "[HEAD@19 200 1.0 close end][eof done]" },
	{ RES, .name = "no reason phrase, with and without the space",
	  .bytes = "HTTP/1.1 204 \r\n\r\nHTTP/1.1 204\r\n\r\nHTTP/1.1 204 No\xc3\xa9\tX\r\n\r\n",
	  .trace = "[HEAD@17 204 1.1 none][DONE@17][HEAD@33 204 1.1 none][DONE@33][HEAD@56 204 1.1 none][DONE@56]" },
	{ RES, .name = "interim responses",
	  .bytes = "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early\r\nConnection: close\r\n\r\n"
	           "HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nx",
	  .trace = "[HEAD@25 100 1.1 none interim][DONE@25][HEAD@66 103 1.1 none interim][DONE@66]"
	           "[HEAD@104 200 1.1 length][DONE@105]" },
	{ RES, .name = "switching protocols", .bytes = "HTTP/1.1 101 Switching\r\nUpgrade: x\r\n\r\n\x81\x05hello",
	  .trace = "[TUNNEL@38 101 1.1 none end][eof tunnel]" },
	{ RES, .name = "CONNECT taken", .options = HTTP1_TO_CONNECT,
	  .bytes = "HTTP/1.1 200 Connection established\r\n\r\n\x16\x03",
	  .trace = "[TUNNEL@39 200 1.1 none end][eof tunnel]" },
	{ RES, .name = "CONNECT refused", .options = HTTP1_TO_CONNECT,
	  .bytes = "HTTP/1.1 407 Auth\r\nContent-Length: 2\r\n\r\nno", .trace = "[HEAD@40 407 1.1 length][DONE@42]" },
	{ RES, .name = "HEAD, length of what is not sent", .options = HTTP1_TO_HEAD,
	  .bytes = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nHTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
	           "HTTP/1.1 200 OK\r\n\r\n",
	  .trace = "[HEAD@38 200 1.1 none][DONE@38][HEAD@85 200 1.1 none][DONE@85][HEAD@104 200 1.1 none][DONE@104]" },
	{ RES, .name = "304 with length",
	  .bytes = "HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\nHTTP/1.1 204 x\r\n\r\n",
	  .trace = "[HEAD@48 304 1.1 none][DONE@48][HEAD@66 204 1.1 none][DONE@66]" },
	{ RES, .name = "204 with length 0", .bytes = "HTTP/1.1 204 x\r\nContent-Length: 0\r\n\r\n",
	  .trace = "[HEAD@37 204 1.1 none][DONE@37]" },
	{ RES, .name = "HTTP/1.0 keep-alive",
	  .bytes = "HTTP/1.0 200 OK\r\nConnection: Keep-Alive\r\nContent-Length: 1\r\n\r\nx",
	  .trace = "[HEAD@62 200 1.0 length][DONE@63]" },
	{ RES, .name = "chunked and stopped", .options = HTTP1_STOP_AT_BLANK,
	  .bytes = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\n\r\n\r\r\n0\r\nT: v\r\n\r\n",
	  .trace = "[HEAD_END@45 200 1.1 chunked][HEAD@47 200 1.1 chunked][DONE@66]" },
	{ RES, .name = "zero-filled body stays unread", BYTES("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\n\0\n\r\0"),
	  .trace = "[HEAD@38 200 1.1 length][DONE@42]" },
};

#define HEADED(line) "GET / HTTP/1.1\r\n" line "\r\n\r\n"
#define CODED(body) "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n" body

/* Each is ALIEN before anything is reported. */
static const struct vector aliens[] = {
	{ REQ, BYTES("\x16\x03\x01\x02\x00\x01"), .name = "TLS" },
	{ REQ, .bytes = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", .name = "HTTP/2" },
	{ REQ, .bytes = "GET /\r\n", .name = "HTTP/0.9" },
	{ REQ, .bytes = "GET / HTTP/1.2\r\n\r\n", .name = "later minor version" },
	{ REQ, .bytes = "GET / HTTP/2.0\r\n\r\n", .name = "major version" },
	{ REQ, .bytes = "GET / http/1.1\r\n\r\n", .name = "version in lower case" },
	{ REQ, .bytes = "GET / HTTP/1.1 \r\n\r\n", .name = "space behind the version" },
	{ REQ, .bytes = "GET / HTTP/1.10\r\n\r\n", .name = "two digits of minor version" },
	{ REQ, .bytes = "GET  / HTTP/1.1\r\n\r\n", .name = "two spaces before the target" },
	{ REQ, .bytes = "GET /  HTTP/1.1\r\n\r\n", .name = "two spaces behind the target" },
	{ REQ, .bytes = "GET /a b HTTP/1.1\r\n\r\n", .name = "space in the target" },
	{ REQ, .bytes = "GET\t/ HTTP/1.1\r\n\r\n", .name = "tab behind the method" },
	{ REQ, .bytes = "GET /\tHTTP/1.1\r\n\r\n", .name = "tab behind the target" },
	{ REQ, .bytes = " GET / HTTP/1.1\r\n\r\n", .name = "space before the method" },
	{ REQ, .bytes = "G(T / HTTP/1.1\r\n\r\n", .name = "method that is no token" },
	{ REQ, .bytes = "GET * HTTP/1.1\r\n\r\n", .name = "asterisk without OPTIONS" },
	{ REQ, .bytes = "OPTIONS */a HTTP/1.1\r\n\r\n", .name = "asterisk and more" },
	{ REQ, .bytes = "GET foo HTTP/1.1\r\n\r\n", .name = "target of no form" },
	{ REQ, .bytes = "GET ?a HTTP/1.1\r\n\r\n", .name = "target without path" },
	{ REQ, .bytes = "CONNECT /a HTTP/1.1\r\n\r\n", .name = "CONNECT to a path" },
	{ REQ, .bytes = "\nGET / HTTP/1.1\r\n\r\n", .name = "bare line feed in front" },
	{ REQ, .bytes = "\rGET / HTTP/1.1\r\n\r\n", .name = "bare CR in front" },
	{ REQ, .bytes = "GET / HTTP/1.1\n\n", .name = "line feeds only" },
	{ REQ, .bytes = "GET / HTTP/1.1\r\r\n\r\n", .name = "two CR" },
	{ REQ, .bytes = HEADED("Skip: b\n"), .name = "line feed ends an unwanted line" },
	{ REQ, .bytes = HEADED("A: b\nC: d"), .name = "line feed ends a wanted line" },
	{ REQ, .bytes = HEADED("A: b\rC: d"), .name = "bare CR in a value" },
	{ REQ, .bytes = HEADED("Skip: b\r\n\n"), .name = "line feed as blank line" },
	{ REQ, .bytes = HEADED("Skip: b\r\n c"), .name = "obs-fold" },
	{ REQ, .bytes = HEADED("Skip: b\r\n\tc"), .name = "obs-fold by tab" },
	{ REQ, .bytes = HEADED(" A: b"), .name = "space before the first field" },
	{ REQ, .bytes = HEADED("A : b"), .name = "space before the colon" },
	{ REQ, .bytes = HEADED("A\t: b"), .name = "tab before the colon" },
	{ REQ, .bytes = HEADED(": b"), .name = "no name" },
	{ REQ, .bytes = HEADED("A"), .name = "no colon" },
	{ REQ, .bytes = HEADED("A b: c"), .name = "space in a name" },
	{ REQ, .bytes = HEADED("Content-Length: 1\r\nContent-Length: 2"), .name = "two lengths" },
	{ REQ, .bytes = HEADED("Content-Length: 1\r\nContent-Length: 1"), .name = "the same length twice" },
	{ REQ, .bytes = HEADED("Content-Length: 1, 1"), .name = "list of lengths" },
	{ REQ, .bytes = HEADED("Content-Length: 1,"), .name = "length with comma" },
	{ REQ, .bytes = HEADED("Content-Length: +1"), .name = "signed length" },
	{ REQ, .bytes = HEADED("Content-Length: -1"), .name = "negative length" },
	{ REQ, .bytes = HEADED("Content-Length: 1 2"), .name = "space in the length" },
	{ REQ, .bytes = HEADED("Content-Length: 0x1"), .name = "hexadecimal length" },
	{ REQ, .bytes = HEADED("Content-Length: 1.0"), .name = "fractional length" },
	{ REQ, .bytes = HEADED("Content-Length:"), .name = "no length" },
	{ REQ, .bytes = HEADED("Content-Length: \t1"), .name = "length behind a tab" },
	{ REQ, .bytes = HEADED("Content-Length: 9223372036854775808"), .name = "length over 63 bits" },
	{ REQ, .bytes = HEADED("Content-Length: 18446744073709551617"), .name = "length over 64 bits" },
	{ REQ, .bytes = HEADED("Content-Length : 1"), .name = "length with a space before its colon" },
	{ REQ, .bytes = HEADED("Content-Length: 1\r\nTransfer-Encoding: chunked"), .name = "length, then coding" },
	{ REQ, .bytes = HEADED("Transfer-Encoding: chunked\r\nContent-Length: 1"), .name = "coding, then length" },
	{ REQ, .bytes = HEADED("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked"), .name = "two codings" },
	{ REQ, .bytes = HEADED("Transfer-Encoding: chunked, chunked"), .name = "chunked twice" },
	{ REQ, .bytes = HEADED("Transfer-Encoding: gzip, chunked"), .name = "coding besides chunked" },
	{ REQ, .bytes = HEADED("Transfer-Encoding: chunked, identity"), .name = "chunked not last" },
	{ REQ, .bytes = HEADED("Transfer-Encoding: identity"), .name = "identity" },
	{ REQ, .bytes = HEADED("Transfer-Encoding: xchunked"), .name = "coding that ends in chunked" },
	{ REQ, .bytes = HEADED("Transfer-Encoding: \"chunked\""), .name = "quoted coding" },
	{ REQ, .bytes = HEADED("Transfer-Encoding: chunked;a=b"), .name = "coding with parameter" },
	{ REQ, .bytes = HEADED("Transfer-Encoding:\tchunked"), .name = "coding behind a tab" },
	{ REQ,
	  .bytes = HEADED("Transfer-Encoding: \x0b"
	                  "chunked"),
	  .name = "coding behind a vertical tab" },
	{ REQ, .bytes = HEADED("Transfer-Encoding:"), .name = "empty coding" },
	{ REQ, .bytes = "GET / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n", .name = "coding in 1.0" },
	{ REQ, .bytes = "CONNECT h:1 HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n", .name = "CONNECT with a coding" },
	{ RES, .bytes = "\r\nHTTP/1.1 200 OK\r\n\r\n", .name = "empty line before a response" },
	{ RES, .bytes = "HTTP/1.1  200 OK\r\n\r\n", .name = "two spaces before the status" },
	{ RES, .bytes = "HTTP/1.1 20 OK\r\n\r\n", .name = "two digits of status" },
	{ RES, .bytes = "HTTP/1.1 2000 OK\r\n\r\n", .name = "four digits of status" },
	{ RES, .bytes = "HTTP/1.1 099 OK\r\n\r\n", .name = "status under 100" },
	{ RES, .bytes = "HTTP/1.1 2x0 OK\r\n\r\n", .name = "status with a letter" },
	{ RES, .bytes = "HTTP/1.1\t200 OK\r\n\r\n", .name = "tab before the status" },
	{ RES, .bytes = "ICY 200 OK\r\n\r\n", .name = "shoutcast" },
	{ RES, .bytes = "HTTP/1.1 200 OK\n\n", .name = "response with line feeds only" },
	{ RES, .bytes = "HTTP/1.1 200 O\rK\r\n\r\n", .name = "bare CR in the reason" },
	{ RES, .bytes = "HTTP/1.1 204 x\r\nContent-Length: 1\r\n\r\n", .name = "204 with a length" },
	{ RES, .bytes = "HTTP/1.1 204 x\r\nTransfer-Encoding: chunked\r\n\r\n", .name = "204 with a coding" },
	{ RES, .bytes = "HTTP/1.1 103 x\r\nContent-Length: 1\r\n\r\n", .name = "interim with a length" },
	{ RES, .bytes = "HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", .name = "response: coding in 1.0" },
	{ RES, .bytes = "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\n", .name = "response: coding until close" },
};

/* Each is ALIEN after a chunked request's head. */
static const struct vector bad_chunks[] = {
	{ REQ, .bytes = CODED("\r\n"), .name = "no size" },
	{ REQ, .bytes = CODED("g\r\n"), .name = "no digit" },
	{ REQ, .bytes = CODED(" 1\r\nx\r\n0\r\n\r\n"), .name = "space before the size" },
	{ REQ, .bytes = CODED("1 \r\nx\r\n0\r\n\r\n"), .name = "space behind the size" },
	{ REQ, .bytes = CODED("0x1\r\nx\r\n0\r\n\r\n"), .name = "prefixed size" },
	{ REQ, .bytes = CODED("-1\r\nx\r\n"), .name = "negative size" },
	{ REQ, .bytes = CODED(";a\r\nx\r\n"), .name = "extension without size" },
	{ REQ, .bytes = CODED("8000000000000000\r\n"), .name = "size over 63 bits" },
	{ REQ, .bytes = CODED("10000000000000001\r\nx\r\n"), .name = "size over 64 bits" },
	{ REQ, .bytes = CODED("00000000000000001\r\nx\r\n"), .name = "17 digits" },
	{ REQ, .bytes = CODED("1\nx\n0\n\n"), .name = "line feeds only" },
	{ REQ, .bytes = CODED("1\rx\r\n"), .name = "bare CR behind the size" },
	{ REQ, .bytes = CODED("1;a\nb\r\nx\r\n"), .name = "line feed in an extension" },
	{ REQ, .bytes = CODED("1;a\rb\r\nx\r\n"), .name = "bare CR in an extension" },
	{ REQ, .bytes = CODED("1\r\nxy\r\n"), .name = "data longer than its size" },
	{ REQ, .bytes = CODED("1\r\nx\n0\r\n\r\n"), .name = "line feed behind the data" },
	{ REQ, .bytes = CODED("1\r\nx\rx"), .name = "bare CR behind the data" },
	{ REQ, .bytes = CODED("0\r\nA\r\n\r\n"), .name = "trailer without colon" },
	{ REQ, .bytes = CODED("0\r\n: b\r\n\r\n"), .name = "trailer without name" },
	{ REQ, .bytes = CODED("0\r\nA : b\r\n\r\n"), .name = "trailer with space before the colon" },
	{ REQ, .bytes = CODED("0\r\nA: b\r\n c\r\n\r\n"), .name = "folded trailer" },
	{ REQ, .bytes = CODED("0\r\nA: b\nC: d\r\n\r\n"), .name = "line feed in a trailer" },
	{ REQ, .bytes = CODED("0\r\n\rX"), .name = "bare CR as blank line" },
	{ REQ, .bytes = CODED("0\r\n\n"), .name = "line feed as blank line" },
};

static void messages_give_their_events_at_every_split(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(requests) / sizeof(requests[0]); i++)
		check_vector(&requests[i]);
	for (size_t i = 0; i < sizeof(responses) / sizeof(responses[0]); i++)
		check_vector(&responses[i]);
}

/* The wanted lines before the bad one are reported; that one never is, nor is an end of head. */
static void what_two_servers_could_read_differently_is_alien(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(aliens) / sizeof(aliens[0]); i++) {
		struct vector v = aliens[i];

		v.trace = "[ALIEN]";
		check_vector(&v);
		v.options |= HTTP1_STOP_AT_BLANK;
		if (!strstr(v.bytes, "\r\n\n\r\n"))
			check_vector(&v);
	}
}

/* All vectors over one memory, so that each finds the heads of others there too. */
static void check_known(const struct vector *vectors, size_t count)
{
	static struct http1_known heads;

	heads = (struct http1_known){ 0 };
	known = &heads;
	for (size_t i = 0; i < count; i++) {
		size_t len = vectors[i].len ? vectors[i].len : strlen(vectors[i].bytes);

		check_pieces(&vectors[i], len, 1, true);
		for (size_t first = 0; first < len; first++) {
			heads.unequal = 0; /* so that what differed is kept, however often it did */
			check_pieces(&vectors[i], len, 1, first % 2);
			check_pieces(&vectors[i], first, len, first % 2);
		}
	}
	known = NULL;
}

static void heads_that_are_known_give_the_same_events(void **state)
{
	(void)state;
	check_known(requests, sizeof(requests) / sizeof(requests[0]));
	check_known(responses, sizeof(responses) / sizeof(responses[0]));
}

static char *trace_of(const char *head, size_t len)
{
	struct run r;
	char *trace;

	begin(&r, HTTP1_REQUEST, 0);
	feed_guarded(&r, head, len, true);
	finish(&r);
	trace = strdup(r.trace);
	end(&r);
	return trace;
}

static void a_head_with_one_byte_of_its_own_is_not_the_known_one(void **state)
{
	static const char head[] = "POST /a HTTP/1.1\r\nHost: b\r\nTraceparent:  x y \r\nContent-Length: 2\r\n"
				   "Connection: close\r\n\r\nab";
	static struct http1_known heads;
	char *usual = trace_of(head, sizeof(head) - 1);

	(void)state;
	for (size_t at = 0; at < sizeof(head) - 1; at++) {
		for (int c = 0; c < 256; c += at % 2 ? 1 : 5) {
			char changed[sizeof(head)], *told, *expected;

			memcpy(changed, head, sizeof(head));
			changed[at] = (char)c;
			expected = trace_of(changed, sizeof(head) - 1);
			heads = (struct http1_known){ 0 };
			known = &heads;
			told = trace_of(head, sizeof(head) - 1);
			assert_string_equal(told, usual);
			free(told);
			told = trace_of(changed, sizeof(head) - 1);
			assert_string_equal(told, expected);
			free(told);
			known = NULL;
			free(expected);
		}
	}
	free(usual);
}

static void a_known_head_is_not_read_again_and_others_are_kept_ever_more_seldom(void **state)
{
	static const char head[] = "GET /0000 HTTP/1.1\r\nHost: b\r\nTraceparent: x\r\n\r\n";
	static struct http1_known heads;
	unsigned kept = 0;

	(void)state;
	heads = (struct http1_known){ 0 };
	known = &heads;
	free(trace_of(head, sizeof(head) - 1));
	assert_int_equal(heads.len, sizeof(head) - 3);
	assert_int_equal(heads.fields, 2);
	assert_int_equal(heads.unequal, 1);
	for (int i = 0; i < 3; i++) {
		free(trace_of(head, sizeof(head) - 1));
		assert_int_equal(heads.unequal, 0);
	}
	for (int i = 1; i < 1000; i++) {
		char other[sizeof(head)];

		memcpy(other, head, sizeof(head));
		other[5] = (char)('0' + i / 100);
		other[6] = (char)('0' + i / 10 % 10);
		other[7] = (char)('0' + i % 10);
		free(trace_of(other, sizeof(other) - 1));
		kept += memcmp(heads.head, other, sizeof(other) - 3) == 0;
	}
	assert_in_range(kept, 2, 32);
	known = NULL;
}

static void heads_that_are_too_long_or_want_too_much_are_not_kept(void **state)
{
	static struct http1_known heads;
	char head[HTTP1_KNOWN_BYTES * 2] = "GET / HTTP/1.1\r\n";

	(void)state;
	heads = (struct http1_known){ 0 };
	known = &heads;
	for (int i = 0; i <= HTTP1_KNOWN_FIELDS; i++)
		strcat(head, "Traceparent: x\r\n");
	strcat(head, "\r\n");
	free(trace_of(head, strlen(head)));
	assert_int_equal(heads.len, 0);
	strcpy(head, "GET / HTTP/1.1\r\nCookie: ");
	memset(head + strlen(head), 'x', HTTP1_KNOWN_BYTES);
	strcat(head, "\r\nTraceparent: x\r\n\r\n");
	free(trace_of(head, strlen(head)));
	assert_int_equal(heads.len, 0);
	known = NULL;
}

static void bad_chunk_framing_is_alien(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(bad_chunks) / sizeof(bad_chunks[0]); i++) {
		struct vector v = bad_chunks[i];

		v.trace = "[HEAD@47 POST 1.1 chunked][ALIEN]";
		check_vector(&v);
	}
}

/* `{` in `shape` is where each byte is put in turn; `allowed` says which are sound there. */
static void check_bytes(enum http1_kind kind, const char *shape, bool (*allowed)(int))
{
	char bytes[128];
	char *place;

	strcpy(bytes, shape);
	place = strchr(bytes, '{');
	for (int c = 0; c < 256; c++) {
		bool alien[2];

		*place = (char)c;
		for (int whole = 0; whole < 2; whole++) {
			struct run r;

			begin(&r, kind, 0);
			for (size_t i = 0; i < strlen(shape); i += whole ? strlen(shape) : 1)
				feed_guarded(&r, bytes + i, whole ? strlen(shape) : 1, true);
			alien[whole] = r.alien;
			end(&r);
		}
		if (alien[0] == allowed(c))
			print_error("byte 0x%02x in '%s'\n", c, shape);
		assert_int_equal(alien[0], !allowed(c));
		assert_int_equal(alien[1], alien[0]);
	}
}

static bool in_value(int c)
{
	return c == '\t' || (c >= 0x20 && c != 0x7f);
}

static bool in_target(int c)
{
	return c > 0x20 && c != 0x7f;
}

static bool in_name(int c)
{
	return c && strchr("!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ", c);
}

/* A colon in the middle of a name only ends it earlier. */
static bool in_name_or_colon(int c)
{
	return c == ':' || in_name(c);
}

static bool is_space(int c)
{
	return c == ' ';
}

static void each_byte_is_sound_or_alien_by_its_place(void **state)
{
	(void)state;
	check_bytes(HTTP1_REQUEST, "GET / HTTP/1.1\r\nA: b{c\r\nAnother-Field: padding padding\r\n\r\n", in_value);
	check_bytes(HTTP1_REQUEST, "GET / HTTP/1.1\r\nSkip: b{c\r\nAnother-Field: padding padding\r\n\r\n", in_value);
	check_bytes(HTTP1_REQUEST, "GET / HTTP/1.1\r\nSkip: bcdefghijklmnopqrst{\r\n\r\n", in_value);
	check_bytes(HTTP1_REQUEST, "GET / HTTP/1.1\r\n{a: b\r\nAnother-Field: padding padding\r\n\r\n", in_name);
	check_bytes(HTTP1_REQUEST, "GET / HTTP/1.1\r\nSki{a: b\r\nAnother-Field: padding padding\r\n\r\n",
	            in_name_or_colon);
	check_bytes(HTTP1_REQUEST, "GET / HTTP/1.1\r\nSkipped-Long-Name{a: b\r\n\r\n", in_name_or_colon);
	check_bytes(HTTP1_REQUEST, "GET /{ HTTP/1.1\r\nAnother-Field: padding padding\r\n\r\n", in_target);
	check_bytes(HTTP1_REQUEST, "PATCH{/ HTTP/1.1\r\n\r\n", is_space);
	check_bytes(HTTP1_RESPONSE, "HTTP/1.1 200 O{K\r\nAnother-Field: padding padding\r\n\r\n", in_value);
}

/* A fork is fed what may not be sent; the original then takes as much as was, and goes on as if nothing had been. */
static void a_fork_leaves_the_original_alone(void **state)
{
	static const char bytes[] = "POST /a HTTP/1.1\r\nTraceparent: 00-11\r\nX: y\r\nHost: somewhere\r\n"
				    "Content-Length: 12\r\nBaggage: a=b\r\n\r\n";
	static const char trace[] = "traceparent=00-11;x=y;host=somewhere;baggage=a=b;[HEAD@97 POST 1.1 length]";
	const size_t len = sizeof(bytes) - 1;

	(void)state;
	for (size_t at = 0; at < len; at++) {
		for (size_t step = 1; step < 40; step += 6) {
			struct run r, fork;

			begin(&r, HTTP1_REQUEST, 0);
			feed(&r, bytes, at / 2);
			feed(&r, bytes + at / 2, at - at / 2);
			begin(&fork, HTTP1_REQUEST, 0);
			fork.offset = r.offset;
			say(&fork, "%s", r.trace);
			http1_fork(&fork.scanner, &r.scanner);
			for (size_t i = at; i < len; i += step)
				feed(&fork, bytes + i, len - i < step ? len - i : step);
			assert_string_equal(fork.trace, trace);
			end(&fork);
			for (size_t i = at; i < len; i += 5)
				feed(&r, bytes + i, len - i < 5 ? len - i : 5);
			assert_string_equal(r.trace, trace);
			end(&r);
		}
	}
}

static void a_fork_of_a_fork_goes_on(void **state)
{
	struct run r, one, two;

	(void)state;
	begin(&r, HTTP1_REQUEST, 0);
	begin(&one, HTTP1_REQUEST, 0);
	begin(&two, HTTP1_REQUEST, 0);
	feed(&r, "GET / HTTP/1.1\r\nTrace", 21);
	http1_fork(&one.scanner, &r.scanner);
	http1_fork(&two.scanner, &one.scanner);
	feed(&two, "parent: x\r\n", 11);
	assert_string_equal(two.trace, "traceparent=x;");
	feed(&one, "state: y\r", 9);
	feed(&one, "\n", 1);
	assert_string_equal(one.trace, "tracestate=y;");
	feed(&r, ": z\r\n", 5);
	assert_string_equal(r.trace, "trace=z;");
	end(&two);
	end(&one);
	end(&r);
}

static void without_a_buffer_only_split_lines_that_matter_are_alien(void **state)
{
	static const char whole[] = "GET / HTTP/1.1\r\nHost: h\r\nSkip: x\r\n\r\n";
	struct run r;

	(void)state;
	begin(&r, HTTP1_REQUEST, 0);
	r.no_buffer = true;
	feed(&r, whole, sizeof(whole) - 1);
	assert_string_equal(r.trace, "host=h;[HEAD@36 GET 1.1 none][DONE@36]");
	feed(&r, whole, 33); /* within the value of Skip */
	feed(&r, whole + 33, sizeof(whole) - 1 - 33);
	assert_string_equal(r.trace, "host=h;[HEAD@36 GET 1.1 none][DONE@36]host=h;[HEAD@72 GET 1.1 none][DONE@72]");
	feed(&r, whole, 22); /* within the value of Host */
	assert_true(r.alien);
	end(&r);
}

static bool wants_none(void *owner, const char *name, size_t len)
{
	(void)owner;
	(void)name;
	(void)len;
	return false;
}

static bool wants_traceparent(void *owner, const char *name, size_t len)
{
	struct run *r = owner;

	r->offset++; /* counts the questions */
	return len == 11 && memcmp(name, "traceparent", 11) == 0;
}

static void long_lines_nobody_wants_need_no_buffer(void **state)
{
	static char line[100000];
	struct http1_filter filter;
	struct http1_sink sink = { .wants = wants_none, .field = field, .filter = &filter };
	struct http1 h;
	size_t used;

	(void)state;
	memset(line, 'v', sizeof(line));
	http1_filter_init(&filter);
	http1_expect_field(&filter, "traceparent", 11);
	http1_init(&h, HTTP1_REQUEST, 0);
	assert_int_equal(http1_feed(&h, &sink, NULL, "GET /aaaaaaaaaa", 15, &used), HTTP1_MORE);
	assert_int_equal(http1_feed(&h, &sink, NULL, line, sizeof(line), &used), HTTP1_MORE);
	assert_int_equal(http1_feed(&h, &sink, NULL, " HTTP/1.1\r\nX-Lo", 15, &used), HTTP1_MORE);
	assert_int_equal(http1_feed(&h, &sink, NULL, line, sizeof(line), &used), HTTP1_MORE);
	assert_int_equal(http1_feed(&h, &sink, NULL, ": ", 2, &used), HTTP1_MORE);
	assert_int_equal(http1_feed(&h, &sink, NULL, line, 50000, &used), HTTP1_MORE);
	assert_int_equal(http1_feed(&h, &sink, NULL, "\r", 1, &used), HTTP1_MORE);
	assert_int_equal(http1_feed(&h, &sink, NULL, "\nSkip", 5, &used), HTTP1_MORE);
	assert_int_equal(http1_feed(&h, &sink, NULL, ":\r\n\r\n", 5, &used), HTTP1_HEAD);
}

static void the_filter_spares_questions_and_loses_no_field(void **state)
{
	static const char bytes[] =
		"GET / HTTP/1.1\r\nHost: h\r\nTraceparent: x\r\nTransparent: y\r\nServer: z\r\n\r\n";
	struct run r, *owner = &r;
	struct http1_filter filter;
	struct http1_sink sink = { .wants = wants_traceparent, .field = field, .owner = owner };
	size_t used;

	(void)state;
	begin(&r, HTTP1_REQUEST, 0);
	assert_int_equal(http1_feed(&r.scanner, &sink, NULL, bytes, sizeof(bytes) - 1, &used), HTTP1_HEAD);
	assert_int_equal(r.offset, 4);
	http1_init(&r.scanner, HTTP1_REQUEST, 0);
	r.offset = 0;
	http1_filter_init(&filter);
	http1_expect_field(&filter, "traceparent", 11);
	sink.filter = &filter;
	assert_int_equal(http1_feed(&r.scanner, &sink, NULL, bytes, sizeof(bytes) - 1, &used), HTTP1_HEAD);
	assert_int_equal(r.offset, 2);
	assert_string_equal(r.trace, "traceparent=x;traceparent=x;");
	end(&r);
}

static void a_scanner_without_a_sink_still_frames(void **state)
{
	static const char bytes[] = "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\n\r\nab";
	struct http1 h;
	size_t used;

	(void)state;
	http1_init(&h, HTTP1_REQUEST, 0);
	assert_int_equal(http1_feed(&h, NULL, NULL, bytes, sizeof(bytes) - 1, &used), HTTP1_HEAD);
	assert_int_equal(used, sizeof(bytes) - 3);
	assert_int_equal(http1_feed(&h, NULL, NULL, bytes + used, 2, &used), HTTP1_DONE);
	assert_int_equal(used, 2);
	http1_init(&h, HTTP1_REQUEST, 0);
	assert_int_equal(http1_feed(&h, NULL, NULL, NULL, 0, &used), HTTP1_MORE);
	assert_int_equal(used, 0);
}

/*
 * "GET / HTTP/1.1", one field of the given name whose value has `len` bytes, and a blank line: in big pieces and small.
 */
static void check_long_value(const char *name, size_t len, char fill, const char *trace)
{
	size_t total = 16 + strlen(name) + 2 + len + 4;
	char *bytes = malloc(total + 1);
	struct vector v = { REQ, .name = name, .trace = trace, .len = total };

	assert_non_null(bytes);
	memcpy(bytes, "GET / HTTP/1.1\r\n", 16);
	sprintf(bytes + 16, "%s: ", name);
	memset(bytes + 18 + strlen(name), fill, len);
	memcpy(bytes + total - 4, "\r\n\r\n", 5);
	v.bytes = bytes;
	check_pieces(&v, total, 1, true);
	check_pieces(&v, 0, 1, true);
	check_pieces(&v, 19, 4096, true);
	check_pieces(&v, 19, total, true);
	check_pieces(&v, total - 3, 1, true);
	free(bytes);
}

static void wanted_lines_are_whole_up_to_the_limit_and_skipped_beyond(void **state)
{
	(void)state;
	/* The limit holds for name, value and the space between. */
	check_long_value("baggage", LIMIT_HEAD_LINE - 8, 'b', "baggage=<8312>;[HEAD@8341 GET 1.1 none][DONE@8341]");
	check_long_value("baggage", LIMIT_HEAD_LINE - 7, 'b', "[HEAD@8342 GET 1.1 none][DONE@8342]");
	check_long_value("baggage", 50000, 'b', "[HEAD@50029 GET 1.1 none][DONE@50029]");
	check_long_value("baggage", 50000, 1, "[ALIEN]");
	check_long_value("upgrade", 50000, 'b', "[HEAD@50029 GET 1.1 none][DONE@50029]");
}

static void own_lines_beyond_the_limit_are_alien(void **state)
{
	(void)state;
	check_long_value("connection", LIMIT_HEAD_LINE - 11, ',', "[HEAD@8341 GET 1.1 none][DONE@8341]");
	check_long_value("connection", LIMIT_HEAD_LINE - 10, ',', "[ALIEN]");
	check_long_value("content-length", LIMIT_HEAD_LINE - 14, '0', "[ALIEN]");
	check_long_value("content-length", LIMIT_HEAD_LINE - 14, ' ', "[ALIEN]");
}

/* A message of `fields` short fields and one value that fills it up to `total` bytes, blank line included. */
static void check_limits(const char *start, size_t fields, size_t total, bool sound)
{
	char *bytes = malloc(total + 1), *p = bytes;

	assert_non_null(bytes);
	p = stpcpy(p, start);
	for (size_t i = 0; i < fields; i++)
		p = stpcpy(p, "Skip:\r\n");
	if (p < bytes + total - 4) {
		p = stpcpy(p, "Skip:");
		memset(p, 'x', (size_t)(bytes + total - 4 - p));
		p = stpcpy(bytes + total - 4, "\r\n");
	}
	p = stpcpy(p, "\r\n");
	assert_int_equal(p - bytes, total);
	for (size_t step = 1; step <= total; step = step == 1 ? 4099 : step == 4099 ? total : total + 1) {
		struct run r;

		begin(&r, HTTP1_REQUEST, 0);
		for (size_t at = 0; at < total; at += step)
			feed(&r, bytes + at, total - at < step ? total - at : step);
		assert_int_equal(r.alien, !sound);
		assert_int_equal(strstr(r.trace, "[DONE@") != NULL, sound);
		end(&r);
	}
	free(bytes);
}

static void heads_end_within_their_limits(void **state)
{
	(void)state;
	check_limits("GET / HTTP/1.1\r\n", 3, LIMIT_HEAD_BYTES, true);
	check_limits("GET / HTTP/1.1\r\n", 3, LIMIT_HEAD_BYTES + 1, false);
	check_limits("GET / HTTP/1.1\r\n", LIMIT_HEAD_FIELDS, 16 + 7 * LIMIT_HEAD_FIELDS + 2, true);
	check_limits("GET / HTTP/1.1\r\n", LIMIT_HEAD_FIELDS + 1, 16 + 7 * (LIMIT_HEAD_FIELDS + 1) + 2, false);
}

static void trailers_count_against_the_head(void **state)
{
	static const char head[] = "PUT / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n";

	(void)state;
	check_limits(head, LIMIT_HEAD_FIELDS - 1, sizeof(head) - 1 + 7 * (LIMIT_HEAD_FIELDS - 1) + 2, true);
	check_limits(head, LIMIT_HEAD_FIELDS, sizeof(head) - 1 + 7 * LIMIT_HEAD_FIELDS + 2, false);
	check_limits(head, 0, LIMIT_HEAD_BYTES / 2, true);
	check_limits(head, 0, LIMIT_HEAD_BYTES + 100, false);
}

static void chunk_extensions_are_bounded(void **state)
{
	static const char head[] = "PUT / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n";
	char bytes[1024];

	(void)state;
	for (int over = 0; over < 2; over++) {
		struct vector v = { REQ, .name = "extension", .bytes = bytes };

		v.trace = over ? "[HEAD@46 PUT 1.1 chunked][ALIEN]" : "[HEAD@46 PUT 1.1 chunked][DONE@312]";
		snprintf(bytes, sizeof(bytes), "%s1;%0*d\r\nx\r\n0\r\n\r\n", head, 254 + over, 0);
		check_vector(&v);
	}
}

/* A scanner behind the head of `head`. */
static struct http1 begin_body(enum http1_kind kind, const char *head)
{
	struct http1 h;
	size_t used;

	http1_init(&h, kind, 0);
	assert_int_equal(http1_feed(&h, NULL, NULL, head, strlen(head), &used), HTTP1_HEAD);
	assert_int_equal(used, strlen(head));
	return h;
}

static void unseen_body_bytes_are_skipped(void **state)
{
	struct http1 h = begin_body(HTTP1_RESPONSE, "HTTP/1.1 200 OK\r\nContent-Length: 9000000000\r\n\r\n");
	uint64_t used;
	size_t fed;

	(void)state;
	assert_int_equal(http1_skip(&h, 8999999990u, &used), HTTP1_MORE);
	assert_int_equal(used, 8999999990u);
	assert_int_equal(http1_feed(&h, NULL, NULL, "abc", 3, &fed), HTTP1_MORE);
	assert_int_equal(http1_skip(&h, 0, &used), HTTP1_MORE);
	assert_int_equal(http1_skip(&h, 20, &used), HTTP1_DONE);
	assert_int_equal(used, 7);
	assert_int_equal(http1_skip(&h, 5, &used), HTTP1_DONE);
	assert_int_equal(used, 0);

	h = begin_body(HTTP1_RESPONSE, "HTTP/1.0 200 OK\r\n\r\n");
	assert_int_equal(http1_skip(&h, UINT64_MAX, &used), HTTP1_MORE);
	assert_int_equal(used, UINT64_MAX);
	assert_int_equal(http1_eof(&h), HTTP1_DONE);
}

static void unseen_bytes_may_fill_a_chunk_and_no_more(void **state)
{
	static const char head[] = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
	struct http1 h = begin_body(HTTP1_RESPONSE, head);
	uint64_t used;
	size_t fed;

	(void)state;
	assert_int_equal(http1_feed(&h, NULL, NULL, "64\r\n", 4, &fed), HTTP1_MORE);
	assert_int_equal(http1_skip(&h, 40, &used), HTTP1_MORE);
	assert_int_equal(http1_skip(&h, 60, &used), HTTP1_MORE);
	assert_int_equal(used, 60);
	assert_int_equal(http1_feed(&h, NULL, NULL, "\r\n0\r\n\r\n", 7, &fed), HTTP1_DONE);

	h = begin_body(HTTP1_RESPONSE, head);
	assert_int_equal(http1_feed(&h, NULL, NULL, "64\r\n", 4, &fed), HTTP1_MORE);
	assert_int_equal(http1_skip(&h, 101, &used), HTTP1_ALIEN);
	assert_int_equal(http1_feed(&h, NULL, NULL, "x", 1, &fed), HTTP1_ALIEN);

	h = begin_body(HTTP1_RESPONSE, head);
	assert_int_equal(http1_skip(&h, 1, &used), HTTP1_ALIEN);
}

static void unseen_bytes_in_a_head_are_alien(void **state)
{
	struct http1 h;
	uint64_t used;
	size_t fed;

	(void)state;
	http1_init(&h, HTTP1_RESPONSE, 0);
	assert_int_equal(http1_skip(&h, 0, &used), HTTP1_MORE);
	assert_true(http1_untouched(&h));
	assert_int_equal(http1_skip(&h, 1, &used), HTTP1_ALIEN);
	assert_int_equal(http1_skip(&h, 0, &used), HTTP1_ALIEN);
	assert_false(http1_untouched(&h));
	h = begin_body(HTTP1_REQUEST, "GET / HTTP/1.1\r\n\r\n");
	assert_int_equal(http1_skip(&h, 7, &used), HTTP1_DONE);
	assert_int_equal(used, 0);
	http1_init(&h, HTTP1_RESPONSE, 0);
	assert_int_equal(http1_feed(&h, NULL, NULL, "HTTP/1.1 101 S\r\n\r\n", 18, &fed), HTTP1_TUNNEL);
	assert_int_equal(http1_skip(&h, 7, &used), HTTP1_TUNNEL);
}

static void what_was_said_at_last_is_said_again(void **state)
{
	struct http1 h;
	size_t used;

	(void)state;
	http1_init(&h, HTTP1_REQUEST, 0);
	assert_int_equal(http1_feed(&h, NULL, NULL, "x\n", 2, &used), HTTP1_ALIEN);
	for (int i = 0; i < 2; i++) {
		assert_int_equal(http1_feed(&h, NULL, NULL, "GET / HTTP/1.1\r\n\r\n", 18, &used), HTTP1_ALIEN);
		assert_int_equal(used, 18);
		assert_int_equal(http1_eof(&h), HTTP1_ALIEN);
	}
	assert_false(http1_in_head(&h));
	h = begin_body(HTTP1_REQUEST, "GET / HTTP/1.1\r\n\r\n");
	for (int i = 0; i < 2; i++) {
		assert_int_equal(http1_feed(&h, NULL, NULL, "GET", 3, &used), HTTP1_DONE);
		assert_int_equal(used, 0);
	}
	assert_int_equal(http1_eof(&h), HTTP1_DONE);
}

static void it_knows_whether_the_head_is_unfinished_or_untouched(void **state)
{
	static const char bytes[] = "\r\nGET / HTTP/1.1\r\nA: b\r\n\r\n";
	struct http1 h;
	size_t used;

	(void)state;
	http1_init(&h, HTTP1_REQUEST, 0);
	for (size_t i = 0; i < sizeof(bytes) - 1; i++) {
		assert_true(http1_in_head(&h));
		assert_int_equal(http1_untouched(&h), i == 0 || i == 2);
		http1_feed(&h, NULL, buffer, bytes + i, 1, &used);
	}
	assert_false(http1_in_head(&h));
	assert_false(http1_untouched(&h));
}

static void the_first_bytes_tell_a_request(void **state)
{
	static const struct {
		const char *bytes;
		enum http1_sniff sniff;
	} vectors[] = {
		{ "", HTTP1_SNIFF_MAYBE },
		{ "G", HTTP1_SNIFF_MAYBE },
		{ "GET", HTTP1_SNIFF_MAYBE },
		{ "GET ", HTTP1_SNIFF_MAYBE },
		{ "GET /", HTTP1_SNIFF_YES },
		{ "GET h", HTTP1_SNIFF_YES },
		{ "GET * ", HTTP1_SNIFF_NO },
		{ "GET  /", HTTP1_SNIFF_NO },
		{ "GETX /", HTTP1_SNIFF_NO },
		{ "get /", HTTP1_SNIFF_NO },
		{ "OPTIONS *", HTTP1_SNIFF_YES },
		{ "CONNECT 1", HTTP1_SNIFF_YES },
		{ "CONNECT /", HTTP1_SNIFF_NO },
		{ "CONNEC", HTTP1_SNIFF_MAYBE },
		{ "DELETE /x HTTP/1.1\r\n", HTTP1_SNIFF_YES },
		{ "PROPFIND /", HTTP1_SNIFF_YES },
		{ "MKCALENDAR /", HTTP1_SNIFF_YES },
		{ "MKCALENDA", HTTP1_SNIFF_MAYBE },
		{ "LOCK", HTTP1_SNIFF_MAYBE },
		{ "LINK /", HTTP1_SNIFF_YES },
		{ "P", HTTP1_SNIFF_MAYBE },
		{ "PR", HTTP1_SNIFF_MAYBE },
		{ "PRI", HTTP1_SNIFF_NO },
		{ "PRI * HTTP/2.0\r\n", HTTP1_SNIFF_NO },
		{ "SSH-2.0-x", HTTP1_SNIFF_NO },
		{ "HTTP/1.1 200", HTTP1_SNIFF_NO },
		{ "\x16\x03\x01", HTTP1_SNIFF_NO },
		{ "*1\r\n$4\r\nPING", HTTP1_SNIFF_NO },
		{ "EHLO x", HTTP1_SNIFF_NO },
		{ "\r", HTTP1_SNIFF_MAYBE },
		{ "\r\n", HTTP1_SNIFF_MAYBE },
		{ "\r\nGET /", HTTP1_SNIFF_YES },
		{ "\r\n\r\n\r\n\r\n\r\nGET /", HTTP1_SNIFF_NO },
		{ "\n", HTTP1_SNIFF_NO },
		{ "\rGET", HTTP1_SNIFF_NO },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(vectors) / sizeof(vectors[0]); i++) {
		size_t len = strlen(vectors[i].bytes);
		char *place = arena + ARENA_SIZE - len;

		memcpy(place, vectors[i].bytes, len);
		if (http1_sniff_request(place, len) != vectors[i].sniff)
			print_error("sniffing '%s'\n", vectors[i].bytes);
		assert_int_equal(http1_sniff_request(place, len), vectors[i].sniff);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(messages_give_their_events_at_every_split),
		cmocka_unit_test(what_two_servers_could_read_differently_is_alien),
		cmocka_unit_test(heads_that_are_known_give_the_same_events),
		cmocka_unit_test(a_head_with_one_byte_of_its_own_is_not_the_known_one),
		cmocka_unit_test(a_known_head_is_not_read_again_and_others_are_kept_ever_more_seldom),
		cmocka_unit_test(heads_that_are_too_long_or_want_too_much_are_not_kept),
		cmocka_unit_test(bad_chunk_framing_is_alien),
		cmocka_unit_test(each_byte_is_sound_or_alien_by_its_place),
		cmocka_unit_test(a_fork_leaves_the_original_alone),
		cmocka_unit_test(a_fork_of_a_fork_goes_on),
		cmocka_unit_test(without_a_buffer_only_split_lines_that_matter_are_alien),
		cmocka_unit_test(long_lines_nobody_wants_need_no_buffer),
		cmocka_unit_test(the_filter_spares_questions_and_loses_no_field),
		cmocka_unit_test(a_scanner_without_a_sink_still_frames),
		cmocka_unit_test(wanted_lines_are_whole_up_to_the_limit_and_skipped_beyond),
		cmocka_unit_test(own_lines_beyond_the_limit_are_alien),
		cmocka_unit_test(heads_end_within_their_limits),
		cmocka_unit_test(trailers_count_against_the_head),
		cmocka_unit_test(chunk_extensions_are_bounded),
		cmocka_unit_test(unseen_body_bytes_are_skipped),
		cmocka_unit_test(unseen_bytes_may_fill_a_chunk_and_no_more),
		cmocka_unit_test(unseen_bytes_in_a_head_are_alien),
		cmocka_unit_test(what_was_said_at_last_is_said_again),
		cmocka_unit_test(it_knows_whether_the_head_is_unfinished_or_untouched),
		cmocka_unit_test(the_first_bytes_tell_a_request),
	};

	return cmocka_run_group_tests(tests, set_up, tear_down);
}

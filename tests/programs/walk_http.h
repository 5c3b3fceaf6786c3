/*
 * What is said on a walk's connections: exchanges of HTTP/1 of many shapes, made as they are needed, with the places at which a header
 * may be added. Bodies are full of what looks like heads.
 */
#ifndef WALK_HTTP_H
#define WALK_HTTP_H

#include "walk.h"

/* One direction. `at`: how much of it its sender has sent. */
struct tape {
	size_t len, at;
	char bytes[WALK_TAPE];
};

enum walk_role { CALLS, SERVES };

/* Shared with forked children. */
struct dialogue {
	char name[24];
	enum walk_role role; /* the program's */
	struct tape request, response;
	size_t request_end[WALK_EXCHANGES], response_end[WALK_EXCHANGES];
	size_t place
		[2 *
	         WALK_EXCHANGES]; /* where in what the program says a header may be added: at the blank line of a head */
	int exchanges, places;
	bool over;      /* nothing can follow */
	bool hurries;   /* neither side waits for the other */
	size_t got;     /* bytes that the program has taken */
	size_t pending; /* bytes that the program has sent since the peer last read */
	int calls;      /* by which it did so */
	bool peer_shut, peer_gone, shut_read, is_tcp, nonblocking;
	size_t wired;
	char wire[2 * WALK_TAPE];
};

static inline struct tape *said(struct dialogue *talk)
{
	return talk->role == CALLS ? &talk->request : &talk->response;
}

static inline struct tape *heard(struct dialogue *talk)
{
	return talk->role == CALLS ? &talk->response : &talk->request;
}

__attribute__((format(printf, 2, 3))) static inline void say(struct tape *tape, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	tape->len += (size_t)vsnprintf(tape->bytes + tape->len, WALK_TAPE - tape->len, format, args);
	va_end(args);
	must(tape->len < WALK_TAPE, "room on a tape");
}

static inline void say_body(struct tape *tape, size_t len)
{
	static const char bait[] =
		"\r\n\r\nGET /bait HTTP/1.1\r\nHost: bait\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"
		"0\r\n\r\nplain words of a body, and a line\n{\"a\": 1}\r\n";
	size_t from = dice(sizeof(bait) - 1);

	while (len-- > 0) {
		tape->bytes[tape->len++] = bait[from];
		from = chance(2) ? dice(sizeof(bait) - 1) : (from + 1) % (sizeof(bait) - 1);
	}
	must(tape->len < WALK_TAPE, "room for a body");
}

static inline void say_fields(struct tape *tape)
{
	static const char *const field[] = { "Accept: */*",
		                             "User-Agent: walk/1.0 (with; words)",
		                             "X-Empty:",
		                             "Cookie: a=b; c=\"d\"",
		                             "X-Long: " /* grows */,
		                             "Accept-Encoding: gzip",
		                             "x-lower-case: yes",
		                             "Cache-Control: no-cache",
		                             "X-Request-Id: a-b-c" };
	size_t count = dice(7);

	while (count-- > 0) {
		size_t which = dice(sizeof(field) / sizeof(field[0]) - 1);

		say(tape, "%s", field[which]);
		if (which == 4)
			say(tape, "%0*d", (int)(1 + dice(700)), 7);
		say(tape, "\r\n");
	}
}

/* The end of a head; `may`: a header may be added there. */
static inline void say_blank(struct dialogue *talk, struct tape *tape, bool may)
{
	if (may && tape == said(talk))
		talk->place[talk->places++] = tape->len;
	say(tape, "\r\n");
}

static inline void say_chunks(struct tape *tape)
{
	size_t count = dice(4);

	while (count-- > 0) {
		size_t len = 1 + dice(chance(10) ? 900 : 60);

		say(tape, chance(50) ? "%zx%s\r\n" : "%zX%s\r\n", len, chance(10) ? ";extension=1" : "");
		say_body(tape, len);
		say(tape, "\r\n");
	}
	say(tape, "0\r\n%s\r\n", chance(20) ? "X-Trailer: end\r\n" : "");
}

enum framing { NO_BODY, LENGTH, CHUNKED };

static inline void say_framed(struct dialogue *talk, struct tape *tape, enum framing framing, bool may)
{
	size_t len = chance(10) ? dice(1500) : dice(90);

	if (framing == LENGTH)
		say(tape, "%s: %zu\r\n", chance(80) ? "Content-Length" : "content-length", len);
	if (framing == CHUNKED)
		say(tape, "Transfer-Encoding: chunked\r\n");
	say_blank(talk, tape, may);
	if (framing == LENGTH)
		say_body(tape, len);
	if (framing == CHUNKED)
		say_chunks(tape);
}

enum method { GET, POST, HEAD_ONLY, PUT, OPTIONS, METHODS };

static inline bool say_request(struct dialogue *talk, enum method method)
{
	static const char *const word[METHODS] = { "GET", "POST", "HEAD", "PUT", "OPTIONS" };
	struct tape *tape = &talk->request;
	bool old = chance(8), own = chance(12);
	enum framing framing = method == POST || method == PUT ? (old || chance(60) ? LENGTH : CHUNKED) : NO_BODY;

	say(tape, "%s /path/%zu?%s=%zu HTTP/1.%d\r\nHost: %s.example\r\n", word[method], dice(1000),
	    chance(50) ? "q" : "id", dice(100), old ? 0 : 1, chance(50) ? "a" : "b");
	say_fields(tape);
	if (own)
		say(tape, "traceparent: 00-0123456789abcdef0123456789abcde%zx-0123456789abcdef-0%zu\r\n", dice(16),
		    dice(2));
	if (old && chance(70))
		say(tape, "Connection: keep-alive\r\n");
	else if (old)
		talk->over = true;
	say_framed(talk, tape, framing, !own);
	return method == HEAD_ONLY;
}

static inline void say_response(struct dialogue *talk, bool head_only)
{
	struct tape *tape = &talk->response;
	bool until_close = !head_only && chance(6);
	int status = chance(70) ? 200 : chance(50) ? 404 : chance(50) ? 304 : 204;
	enum framing framing = chance(65) ? LENGTH : CHUNKED;

	if (chance(8)) {
		say(tape, "HTTP/1.1 100 Continue\r\n");
		say_blank(talk, tape, true);
	}
	say(tape, "HTTP/1.1 %d %s\r\nServer: walk\r\n", status, chance(90) ? "Words" : "");
	say_fields(tape);
	if (status == 304 || status == 204) {
		say_blank(talk, tape, true);
	} else if (until_close) {
		say(tape, "Connection: close\r\n");
		say_blank(talk, tape, true);
		say_body(tape, dice(400));
		talk->over = true;
	} else if (head_only) {
		say(tape, "Content-Length: %zu\r\n", dice(5000));
		say_blank(talk, tape, true);
	} else {
		say_framed(talk, tape, framing, true);
	}
}

/* What is no HTTP at all, in both directions. */
static inline void say_noise(struct dialogue *talk)
{
	static const char *const greeting[] = { "220 mail.example ESMTP\r\n", "+OK\r\n",
		                                "SSH-2.0-walk\r\n",           "\r\n\r\n",
		                                "*1\r\n$4\r\nPING\r\n",       "GET HTTP\r\n\r\n",
		                                "HTTP/9.9 x\r\n\r\n" };

	say(&talk->request, "%s", greeting[dice(7)]);
	say(&talk->response, "%s", greeting[dice(7)]);
	say_body(&talk->request, dice(200));
	say_body(&talk->response, dice(200));
	talk->over = true;
}

/* One exchange more, where there can be one. */
static inline void say_exchange(struct dialogue *talk)
{
	int number = talk->exchanges;

	if (talk->over || number == WALK_EXCHANGES || talk->request.len > WALK_TAPE / 2 ||
	    talk->response.len > WALK_TAPE / 2)
		return;
	if (!walk_calm && chance(3))
		say_noise(talk);
	else
		say_response(talk, say_request(talk, dice(METHODS)));
	talk->request_end[number] = talk->request.len;
	talk->response_end[number] = talk->response.len;
	talk->exchanges++;
}

static inline int complete(const struct dialogue *talk, const size_t *end, size_t at)
{
	int count = 0;

	while (count < talk->exchanges && end[count] <= at)
		count++;
	return count;
}

/* Up to where either side may have sent by now. */
static inline size_t may_ask(const struct dialogue *talk, size_t answered)
{
	int count = complete(talk, talk->response_end, answered);

	return talk->hurries || count == talk->exchanges ? talk->request.len : talk->request_end[count];
}

static inline size_t may_answer(const struct dialogue *talk, size_t asked)
{
	int count = complete(talk, talk->request_end, asked);

	return talk->hurries ? talk->response.len : count == 0 ? 0 : talk->response_end[count - 1];
}

#endif

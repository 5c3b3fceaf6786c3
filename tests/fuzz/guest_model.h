/*
 * What fuzz_guest's program says and hears: made-up HTTP and log lines, and what their peers must have got in the end.
 *
 * Every byte that the program sends is of a stream that was made beforehand, and that remembers where in it an insertion
 * may be and whose. What the program is told was taken of it must be what the peer has, but for whole insertions there.
 */
#ifndef GUEST_MODEL_H
#define GUEST_MODEL_H

#include "guest_kernel.h"

#define MODEL_HEADS 256

#define MODEL_CALL_MARK "traceparent: 00-"
#define MODEL_CALL_LINE (16 + 32 + 1 + 16 + 1 + 2 + 2)
#define MODEL_RESPONSE_MARK "x-zt: "
#define MODEL_RESPONSE_LINE (6 + 32 + 2)

enum model_kind { MODEL_NOTHING, MODEL_SERVED, MODEL_CALLS, MODEL_LOG, MODEL_OTHER };

/* A request that waits for its response; of a served connection also whose the response must then be. */
struct model_request {
	bool head, upgrade, named;
	unsigned number;
};

/* One connection or log, from the program's side. Beside each kernel object. */
struct model {
	enum model_kind kind;
	unsigned serial;
	char *tx; /* what the program sends: tx[0..tx_pos) was taken, as it was told */
	size_t tx_len, tx_pos;
	char *rx; /* what its peer sends */
	size_t rx_len;
	struct {
		size_t at;
		bool named; /* the insertion is that of request `number` */
		unsigned number;
	} heads[MODEL_HEADS]; /* in tx: the blank lines where an insertion may be */
	unsigned head_count;
	struct model_request asked[MODEL_HEADS];
	unsigned asked_count, answered;
	bool wild;  /* no HTTP any more, or none that this model knows: insertions may be at any head */
	bool ended; /* no message may follow: everything is a body */
	bool twice; /* received once more as a descriptor: two connections to us, and each may cut the other's insertion */
	bool lossy;         /* a log whose end cannot be foreseen */
	char handler[4096]; /* a log: what signal handlers wrote */
	size_t handler_len;
	unsigned handler_lines;
	bool refused; /* the last write was not taken whole */
};

static struct model models[KERNEL_OBJECTS];
static bool model_cut; /* of some connection not all insertions could be counted */

static void model_reset(struct model *m, enum model_kind kind, unsigned serial)
{
	char *tx = m->tx, *rx = m->rx;

	*m = (struct model){ .kind = kind, .serial = serial, .tx = tx, .rx = rx };
	if (m->tx == NULL)
		m->tx = malloc(KERNEL_BYTES);
	if (m->rx == NULL)
		m->rx = malloc(KERNEL_BYTES);
}

static struct model *model_of(int fd)
{
	const struct kernel_object *o = kernel_object(fd);

	return o == NULL ? NULL : &models[o - kernel_objects];
}

/* ---- making streams ---- */

static void model_say(struct model *m, const char *text)
{
	size_t len = strlen(text);

	if (m->tx_len + len > KERNEL_BYTES / 4)
		return;
	memcpy(m->tx + m->tx_len, text, len);
	m->tx_len += len;
}

static void model_hear(struct model *m, const char *text)
{
	size_t len = strlen(text);

	if (m->rx_len + len > KERNEL_BYTES / 4)
		return;
	memcpy(m->rx + m->rx_len, text, len);
	m->rx_len += len;
}

/* The blank line of a head, where an insertion may be. */
static void model_head_ends(struct model *m, bool may_insert, bool named, unsigned number)
{
	if (may_insert && m->head_count < MODEL_HEADS) {
		m->heads[m->head_count].at = m->tx_len;
		m->heads[m->head_count].named = named;
		m->heads[m->head_count++].number = number;
	}
	model_say(m, "\r\n");
}

static void model_trace_id(const struct model *m, unsigned number, char id[33])
{
	snprintf(id, 33, "%08xabcdef01%08x23456789", m->serial + 1, number + 1);
}

static void model_ask(struct model *m, struct model_request asked)
{
	if (m->asked_count < MODEL_HEADS)
		m->asked[m->asked_count++] = asked;
	else
		m->wild = true;
}

/* What must not be taken for a message. */
#define MODEL_BAIT "GET /bait HTTP/1.1\r\nHost: b\r\n\r\nHTTP/1.1 200 OK\r\n\r\n"
#define MODEL_BAIT_LEN "50"

/* A client's next request on a served connection. */
static void model_hear_request(struct model *m, unsigned which)
{
	static const char *const starts[] = {
		"GET /%u HTTP/1.1\r\nHost: a\r\n",
		"POST /%u HTTP/1.1\r\nContent-Length: " MODEL_BAIT_LEN "\r\n",
		"PUT /%u HTTP/1.1\r\ntransfer-encoding: chunked\r\n",
		"HEAD /%u HTTP/1.1\r\n",
		"GET /%u HTTP/1.1\r\nCookie: a=b\r\nX-Long: 0123456789012345678901234567890123456789\r\n",
		"GET /%u HTTP/1.1\r\nConnection: Upgrade\r\nUpgrade: other\r\n"
	};
	static const char *const bodies[] = { "", MODEL_BAIT, "32\r\n" MODEL_BAIT "\r\n0\r\nX: y\r\n\r\n", "", "", "" };
	struct model_request asked = { which % 8 == 3, which % 8 == 5, (which & 8) == 0, m->asked_count };
	char text[512], id[33];

	if (which % 8 > 5) {
		model_hear(m, which % 8 == 6 ? "\r\n" : "\x16\x03\x01 PRI \n");
		m->wild |= which % 8 == 7;
		return;
	}
	model_trace_id(m, asked.number, id);
	snprintf(text, sizeof(text), starts[which % 8], asked.number);
	model_hear(m, text);
	if (asked.named) {
		snprintf(text, sizeof(text), "traceparent: 00-%s-b7ad6b7169203331-01\r\n", id);
		model_hear(m, text);
	}
	if (which & 16)
		model_hear(m, "baggage: k=v,longer=0123456789\r\n");
	model_hear(m, "\r\n");
	model_hear(m, bodies[which % 8]);
	model_ask(m, asked);
}

/* The program's answer to the oldest request that has none. */
static void model_say_response(struct model *m, unsigned which)
{
	struct model_request asked = { 0 };
	bool informs = which % 8 == 4, body = true;

	if (m->ended || m->answered >= m->asked_count) {
		m->wild |= !m->ended;
		model_say(m, MODEL_BAIT);
		return;
	}
	asked = m->asked[m->answered];
	if (informs) {
		model_say(m, "HTTP/1.1 100 Continue\r\n");
		model_head_ends(m, false, false, 0);
		return;
	}
	m->answered++;
	if (asked.upgrade && which % 8 == 5) {
		model_say(m, "HTTP/1.1 101 Switching Protocols\r\nUpgrade: other\r\n");
		model_head_ends(m, true, asked.named, asked.number);
		m->ended = true;
		return;
	}
	if (which % 8 < 2) {
		model_say(m,
		          which % 8 == 0 ? "HTTP/1.1 204 No Content\r\n" : "HTTP/1.1 304 Not Modified\r\nETag: x\r\n");
		body = false;
	} else if (which % 8 == 2) {
		model_say(m, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n");
	} else if (which % 8 == 3 && !asked.head) {
		model_say(m, "HTTP/1.1 200 OK\r\nConnection: close\r\n");
		m->ended = true;
	} else {
		model_say(m, "HTTP/1.1 200 OK\r\nContent-Length: " MODEL_BAIT_LEN "\r\n");
	}
	if (which & 8)
		model_say(m, "X-Zt: mine\r\n");
	model_head_ends(m, (which & 8) == 0, asked.named, asked.number);
	if (body && !asked.head)
		model_say(m, which % 8 == 2 ? "32\r\n" MODEL_BAIT "\r\n0\r\n\r\n" : MODEL_BAIT);
}

/* The program's next request to somebody else. */
static void model_say_request(struct model *m, unsigned which)
{
	struct model_request asked = { .head = which % 8 == 3, .upgrade = which % 8 == 6 };
	bool own = which % 8 == 4;

	if (m->ended || which % 8 == 7) {
		m->wild |= !m->ended;
		model_say(m, MODEL_BAIT);
		return;
	}
	model_say(m,
	          which % 8 == 1 ? "POST /p HTTP/1.1\r\nContent-Length: " MODEL_BAIT_LEN "\r\n" :
	          which % 8 == 2 ? "POST /q HTTP/1.1\r\nTransfer-Encoding: chunked\r\n" :
	          asked.head     ? "HEAD /h HTTP/1.1\r\n" :
	          own ? "GET /o HTTP/1.1\r\nTraceparent:00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00\r\n" :
	          asked.upgrade ? "CONNECT other:443 HTTP/1.1\r\n" :
	                          "GET /g HTTP/1.1\r\n");
	model_say(m, "Host: peer.example\r\n");
	model_head_ends(m, !own, false, 0);
	if (which % 8 == 1)
		model_say(m, MODEL_BAIT);
	if (which % 8 == 2)
		model_say(m, "32\r\n" MODEL_BAIT "\r\n0\r\n\r\n");
	model_ask(m, asked);
	m->ended = asked.upgrade;
}

/* What its peer answers. */
static void model_hear_response(struct model *m, unsigned which)
{
	struct model_request asked;

	if (m->answered >= m->asked_count) {
		if (which % 8 == 7)
			model_hear(m, MODEL_BAIT);
		return;
	}
	asked = m->asked[m->answered];
	if (which % 8 == 4) {
		model_hear(m, "HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n");
		return;
	}
	m->answered++;
	model_hear(m, which % 8 == 0 ? "HTTP/1.1 204 No Content\r\n\r\n" :
	              which % 8 == 1 ? "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" :
	                               "HTTP/1.1 200 OK\r\nContent-Length: " MODEL_BAIT_LEN "\r\n\r\n");
	if (asked.head || which % 8 == 0 || asked.upgrade)
		return;
	model_hear(m, which % 8 == 1 ? "32\r\n" MODEL_BAIT "\r\n0\r\n\r\n" : MODEL_BAIT);
}

/* Log lines: any bytes but those that make objects, carriage returns (dropped before a newline) and capitals (handlers'). */
static void model_say_log(struct model *m, unsigned which, const char *bytes, size_t len)
{
	static const char *const lines[] = { "a line\n",
		                             "error: no \"such\" file\n",
		                             "  at main (x.c:1)\n",
		                             "piece ",
		                             "\n",
		                             "one\ntwo\nthree\n",
		                             "\xc3\xa4\xe2\x82\xac\x01\x1b[0m\n",
		                             "\xc3" };
	size_t i;

	if (which % 32 == 31) {
		for (i = 0; i < 1500; i++)
			model_say(m, "long line, ");
		return;
	}
	if (which % 2 == 0) {
		model_say(m, lines[which / 2 % 8]);
		return;
	}
	for (i = 0; i < len; i++) {
		char c = bytes[i];

		model_say(m, (char[]){ c == '{' || c == '\r' || c == '\0' ? '.' :
		                       c >= 'A' && c <= 'Z'               ? (char)(c + 32) :
		                                                            c,
		                       '\0' });
	}
	if (which & 4)
		model_say(m, "\n");
}

/* ---- what arrived ---- */

/* Does an insertion begin there, of which no more than `left` bytes are there? */
static bool model_is_mark(const char *at, size_t left, const char *mark)
{
	return memcmp(at, mark, left < strlen(mark) ? left : strlen(mark)) == 0;
}

/* Is the insertion at `bytes`, of which there are `left`, of a stream whose program's bytes before it are `at`, at a legal place and the right one? */
static void model_check_insertion(const struct model *m, const char *bytes, size_t left, size_t at)
{
	size_t shown = left < MODEL_RESPONSE_LINE - 2 ? left : MODEL_RESPONSE_LINE - 2;
	char expected[MODEL_RESPONSE_LINE + 1] = MODEL_RESPONSE_MARK;
	unsigned i;

	CHECK(at > 0 && m->tx[at - 1] == '\n');
	if (m->wild)
		return;
	for (i = 0; i < m->head_count && m->heads[i].at != at; i++)
		;
	if (i == m->head_count) {
		fprintf(stderr, "inserted at %zu of [%.*s]: %.*s\n", at, (int)m->tx_pos, m->tx, 60, bytes);
		abort();
	}
	if (m->kind != MODEL_SERVED || !m->heads[i].named)
		return;
	model_trace_id(m, m->heads[i].number, expected + strlen(MODEL_RESPONSE_MARK));
	CHECK(memcmp(bytes, expected, shown) == 0);
}

/*
 * The peer has what the program was told, and whole insertions. Counts these. Of a connection that came from elsewhere in the
 * midst of something wild, the guest takes the side that its first bytes suggest.
 */
static void model_check_connection(const struct model *m, const struct kernel_object *o, unsigned *responses,
                                   unsigned *calls)
{
	size_t i = 0, own = 0;

	while (i < o->out_len) {
		const char *at = o->out + i;
		size_t left = o->out_len - i, line;
		bool response;

		/* The program's own blank line begins with '\r', an insertion with a letter. */
		if (own < m->tx_pos && *at == m->tx[own]) {
			own++;
			i++;
			continue;
		}
		response = model_is_mark(at, left, MODEL_RESPONSE_MARK);
		/* With two descriptors for it an insertion can be cut, within its first bytes too. */
		if (m->twice && !response && !model_is_mark(at, left, MODEL_CALL_MARK) &&
		    *at == *(m->kind == MODEL_SERVED ? MODEL_RESPONSE_MARK : MODEL_CALL_MARK)) {
			model_cut = true;
			return;
		}
		if (!response && !model_is_mark(at, left, MODEL_CALL_MARK)) {
			fprintf(stderr, "sent [%.*s], arrived [%.*s], differs at %zu and %zu\n", (int)m->tx_pos, m->tx,
			        (int)o->out_len, o->out, own, i);
			abort();
		}
		CHECK(m->wild || response == (m->kind == MODEL_SERVED));
		model_check_insertion(m, at, left, own);
		line = response ? MODEL_RESPONSE_LINE : MODEL_CALL_LINE;
		/* What follows a cut one may end a line just there. */
		if (m->twice && (left <= line || memchr(at, '\r', line) != at + line - 2 || at[line - 1] != '\n')) {
			model_cut = true;
			return;
		}
		if (left <= line)
			break; /* it waits for the program's next byte, which never came, and does not count */
		CHECK(at[line - 2] == '\r' && at[line - 1] == '\n');
		*(response ? responses : calls) += 1;
		i += line;
	}
	CHECK(own == m->tx_pos);
}

/* A record back into the program's bytes. Returns where they end. */
static char *model_undo(const char *record, const char *newline, char *got)
{
	const char *p = memmem(record, (size_t)(newline - record), "\"message\":\"", 11);

	CHECK(p != NULL);
	p += 11;
	while (*p != '"') {
		CHECK(p < newline);
		*got++ = fuzz_unescape(&p);
	}
	CHECK(newline[-1] == '}');
	if (memcmp(newline - 16, ",\"partial\":true}", 16) != 0)
		*got++ = '\n';
	return got;
}

/* Without newlines, where a handler's lines came between: which half of a cut line has one is anybody's. */
static size_t model_letters(const char *bytes, size_t len, bool capitals, char *out)
{
	size_t i, n = 0;

	for (i = 0; i < len; i++)
		if (bytes[i] != '\n' && (bytes[i] >= 'A' && bytes[i] <= 'Z') == capitals)
			out[n++] = bytes[i];
	return n;
}

/* The log holds what the program was told, in records, or raw where there was no memory. */
static void model_check_log(const struct model *m, const struct kernel_object *o)
{
	static char got[KERNEL_BYTES], mine[KERNEL_BYTES], handlers[KERNEL_BYTES];
	const char *p = o->out, *end = o->out + o->out_len;
	size_t len, wanted = m->tx_pos;
	char *at = got;

	if (m->lossy)
		return;
	while (p < end) {
		if (end - p > 14 && memcmp(p, "{\"timestamp\":\"", 14) == 0) {
			const char *newline = memchr(p, '\n', (size_t)(end - p));

			CHECK(newline != NULL);
			at = model_undo(p, newline, at);
			p = newline + 1;
		} else {
			*at++ = *p++;
		}
	}
	len = (size_t)(at - got);
	if (m->handler_lines > 0) {
		size_t n = model_letters(got, len, true, handlers);

		CHECK(n == m->handler_len && memcmp(handlers, m->handler, n) == 0);
		n = model_letters(got, len, false, handlers);
		wanted = model_letters(m->tx, m->tx_pos, false, mine);
		len = n;
		memcpy(got, handlers, n);
	} else {
		memcpy(mine, m->tx, m->tx_len);
	}
	/* A byte that is out and was not reported, so that the program comes back; it did not. */
	if (len == wanted + 1 && m->tx_pos < m->tx_len)
		mine[wanted++] = m->tx[m->tx_pos];
	if (len == wanted && (len == 0 || memcmp(got, mine, len) == 0))
		return;
	fprintf(stderr, "the log has [%.*s]\n", (int)o->out_len, o->out);
	fprintf(stderr, "which is [%.*s], not [%.*s]\n", (int)len, got, (int)wanted, mine);
	abort();
}

#endif

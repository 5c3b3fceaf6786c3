/*
 * FastCGI's records; see fastcgi.h.
 *
 * A record is its header, its content and its padding. The header is kept until it is whole; contents are passed on as they come,
 * or over. A record's event is told behind its padding, so that what follows is the next record.
 *
 * Memory: cgi_pairs' line. Callers: whoever has the connection's lock. Source: FastCGI specification 1.0, sections 3.3 and 5.
 */
#include "fastcgi.h"

#include <string.h>

#define BEGIN_REQUEST 1
#define ABORT_REQUEST 2
#define END_REQUEST 3
#define PARAMS 4
#define STDIN 5
#define STDOUT 6
#define STDERR 7
#define DATA 8
#define GET_VALUES 9
#define GET_VALUES_RESULT 10
#define UNKNOWN_TYPE 11

#define IS_OF_REQUESTS                                                                                                 \
	(1u << BEGIN_REQUEST | 1u << ABORT_REQUEST | 1u << PARAMS | 1u << STDIN | 1u << DATA | 1u << GET_VALUES)
#define IS_OF_RESPONSES (1u << END_REQUEST | 1u << STDOUT | 1u << STDERR | 1u << GET_VALUES_RESULT | 1u << UNKNOWN_TYPE)
/* About the connection, not about a request: id 0. */
#define IS_MANAGEMENT (1u << GET_VALUES | 1u << GET_VALUES_RESULT | 1u << UNKNOWN_TYPE)

void fastcgi_init(struct fastcgi *h, enum fastcgi_side side)
{
	memset(h, 0, sizeof(*h));
	h->side = (uint8_t)side;
}

void fastcgi_expect(struct fastcgi *h, uint16_t id)
{
	h->id = id;
	h->answer = (struct cgi_answer){ 0 };
}

void fastcgi_close(struct fastcgi *h)
{
	h->id = 0;
	h->in_params = h->of_ours = false;
}

/* ---- headers ---- */

static bool begin_request(struct fastcgi *h, uint16_t id)
{
	char *line = h->pairs.line;

	if (h->id != 0 || h->content != 8)
		return false;
	h->id = id;
	h->in_params = true;
	h->told_blank = false;
	h->pairs = (struct cgi_pairs){ .line = line, .kind = CGI_FASTCGI, .limit = LIMIT_HEAD_BYTES };
	return true;
}

/* The header is whole: can it be? */
static bool begin_record(struct fastcgi *h)
{
	const uint8_t *b = h->header;
	uint16_t id = (uint16_t)(b[2] << 8 | b[3]);
	unsigned kind = b[1] <= UNKNOWN_TYPE ? 1u << b[1] : 0;

	h->content = (uint32_t)b[4] << 8 | b[5];
	h->padding = b[6];
	if (b[0] != 1 || (kind & (h->side == FASTCGI_REQUESTS ? IS_OF_REQUESTS : IS_OF_RESPONSES)) == 0 ||
	    (id == 0) != ((kind & IS_MANAGEMENT) != 0))
		return false;
	if (b[1] == BEGIN_REQUEST && !begin_request(h, id))
		return false;
	h->type = b[1];
	h->of_ours = id != 0 && id == h->id;
	h->empty = h->content == 0;
	if (h->side == FASTCGI_REQUESTS)
		return true; /* what is of a request that has ended is to be ignored (3.3) */
	return id == 0 || (h->of_ours && (h->type != END_REQUEST || h->content == 8));
}

static bool is_end_of_params(const struct fastcgi *h, const char *header)
{
	const uint8_t *b = (const uint8_t *)header;

	return h->in_params && b[0] == 1 && b[1] == PARAMS && (uint16_t)(b[2] << 8 | b[3]) == h->id && b[4] == 0 &&
	       b[5] == 0;
}

/* ---- contents ---- */

/* The role and flags of a BEGIN_REQUEST, in whose 8 bytes `left` are still to come. */
static bool take_begin(const struct fastcgi *h, const char *in, size_t len)
{
	size_t at = 8 - h->content, i;

	for (i = 0; i < len; i++, at++)
		if (at == 0 ? in[i] != 0 : at == 1 ? in[i] < 1 || in[i] > 3 : at == 2 ? (in[i] & ~1) != 0 : in[i] != 0)
			return false;
	return true;
}

/* Bytes of the record's content. *answered: the response's head has ended with them. */
static bool take_content(struct fastcgi *h, const struct cgi_sink *sink, http1_line_buffer buffer, const char *in,
                         size_t len, bool *answered)
{
	bool headed = h->answer.headed;

	if (!h->of_ours)
		return true;
	switch (h->type) {
	case BEGIN_REQUEST: return take_begin(h, in, len);
	case PARAMS: return h->in_params && cgi_pairs_feed(&h->pairs, sink, buffer, in, len);
	case STDOUT:
		cgi_answer_feed(&h->answer, in, len);
		*answered = h->answer.headed && !headed;
		return true;
	default: return true;
	}
}

/* The record is over: what does that say? */
static enum fastcgi_status end_record(struct fastcgi *h)
{
	uint8_t type = h->type;

	h->type = 0;
	h->have = 0;
	if (!h->of_ours)
		return FASTCGI_MORE;
	switch (type) {
	case BEGIN_REQUEST: h->begun = true; return FASTCGI_BEGIN;
	case PARAMS:
		if (!h->empty)
			return FASTCGI_MORE;
		if (!h->in_params || !cgi_pairs_whole(&h->pairs))
			return FASTCGI_ALIEN;
		h->in_params = false;
		return FASTCGI_HEAD;
	case STDIN: return h->empty ? FASTCGI_BODY : FASTCGI_MORE;
	case END_REQUEST: h->id = 0; return FASTCGI_END;
	default: return FASTCGI_MORE;
	}
}

/* ---- the stream ---- */

struct input {
	const struct cgi_sink *sink;
	http1_line_buffer buffer;
	const char *in;
	size_t len;
};

static void advance(struct input *in, size_t n)
{
	in->in += n;
	in->len -= n;
}

static enum fastcgi_status take_header(struct fastcgi *h, struct input *in)
{
	size_t part;

	/* Pairs that are not whole are told behind the record's padding (end_record), as where nobody stops. */
	if (h->have == 0 && h->stops && !h->told_blank && in->len >= FASTCGI_HEADER && is_end_of_params(h, in->in) &&
	    cgi_pairs_whole(&h->pairs)) {
		h->told_blank = true;
		return FASTCGI_BLANK;
	}
	part = FASTCGI_HEADER - (size_t)h->have;
	if (part > in->len)
		part = in->len;
	memcpy(h->header + h->have, in->in, part);
	h->have = (uint8_t)(h->have + part);
	advance(in, part);
	if (h->have < FASTCGI_HEADER)
		return FASTCGI_MORE;
	if (!begin_record(h))
		return FASTCGI_ALIEN;
	return h->content == 0 && h->padding == 0 ? end_record(h) : FASTCGI_MORE;
}

static enum fastcgi_status take_record(struct fastcgi *h, struct input *in)
{
	size_t part = h->content < in->len ? h->content : in->len;
	bool answered = false;

	if (h->content > 0) {
		if (!take_content(h, in->sink, in->buffer, in->in, part, &answered))
			return FASTCGI_ALIEN;
		h->content -= (uint32_t)part;
	} else {
		part = h->padding < in->len ? h->padding : in->len;
		h->padding = (uint8_t)(h->padding - part);
	}
	advance(in, part);
	/* An answer never ends with its head: END_REQUEST is to come. */
	if (h->content == 0 && h->padding == 0) {
		enum fastcgi_status status = end_record(h);

		return answered ? FASTCGI_ANSWER : status;
	}
	return answered ? FASTCGI_ANSWER : FASTCGI_MORE;
}

enum fastcgi_status fastcgi_feed(struct fastcgi *h, const struct cgi_sink *sink, http1_line_buffer buffer,
                                 const char *in, size_t len, size_t *used)
{
	struct input input = { sink, buffer, in, len };
	enum fastcgi_status status = h->poisoned ? FASTCGI_ALIEN : FASTCGI_MORE;

	while (input.len > 0 && status == FASTCGI_MORE)
		status = h->type == 0 ? take_header(h, &input) : take_record(h, &input);
	if (status == FASTCGI_ALIEN) {
		h->poisoned = true;
		input.len = 0;
	}
	*used = len - input.len;
	return status;
}

bool fastcgi_skip(struct fastcgi *h, size_t len)
{
	bool read = h->of_ours && (h->type == BEGIN_REQUEST || h->type == PARAMS || h->type == END_REQUEST ||
	                           (h->type == STDOUT && !h->answer.headed));

	if (h->poisoned || h->type == 0 || read || len > h->content ||
	    (len == h->content && h->padding == 0 && h->empty)) {
		h->poisoned = true;
		return false;
	}
	h->content -= (uint32_t)len;
	if (h->content == 0 && h->padding == 0)
		(void)end_record(h);
	return true;
}

bool fastcgi_fork(struct fastcgi *copy, const struct fastcgi *h, http1_line_buffer buffer)
{
	*copy = *h;
	return cgi_pairs_fork(&copy->pairs, &h->pairs, buffer);
}

bool fastcgi_sniff(const char *in, size_t len)
{
	/* version, type, id (any), length of 8, padding (any), reserved; role, flags */
	static const uint8_t is[] = { 1, BEGIN_REQUEST, 0, 0, 0, 8, 0, 0, 0 };
	static const uint8_t matters[] = { 1, 1, 0, 0, 1, 1, 0, 1, 1 };
	size_t i;

	for (i = 0; i < len && i < sizeof(is); i++)
		if (matters[i] && (uint8_t)in[i] != is[i])
			return false;
	return len > 0;
}

void fastcgi_params_header(char out[FASTCGI_HEADER], uint16_t id, size_t len)
{
	const char header[FASTCGI_HEADER] = { 1, PARAMS, (char)(id >> 8), (char)id, (char)(len >> 8), (char)len, 0, 0 };

	memcpy(out, header, sizeof(header));
}

/*
 * Pairs and heads of CGI; see cgi.h.
 *
 * A pair that lies whole in the bytes at hand, as nearly every one does, is told from where it lies. One that is split is put
 * together in a line of LIMIT_HEAD_LINE bytes; one that would not fit there is passed over, as nobody wants one so long. Lengths
 * are believed only as far as the limit of a head: what they claim beyond it ends the reading, before a byte of it has come.
 *
 * Memory: one line while a pair is split. Callers: whoever has the connection's lock. Sources: FastCGI specification 1.0, 3.4; the
 * uwsgi protocol; RFC 3875.
 */
#include "cgi.h"

#include <string.h>

#include "http1_head.h"

#define CGI_INSIDE 0xff

/* ---- pairs ---- */

/* Is the length at `at` whole in the `have` bytes that are here? Then so many bytes of it; else 0. */
static unsigned length_at(const struct cgi_pairs *p, unsigned at, uint32_t *value)
{
	const uint8_t *b = p->lengths + at;

	if (p->have <= at)
		return 0;
	if (b[0] < 0x80) {
		*value = b[0];
		return 1;
	}
	if (p->have < at + 4)
		return 0;
	*value = (uint32_t)(b[0] & 0x7f) << 24 | (uint32_t)b[1] << 16 | (uint32_t)b[2] << 8 | b[3];
	return 4;
}

/* Are the lengths of a pair known, that come first? */
static bool know_lengths(struct cgi_pairs *p, uint32_t *value)
{
	unsigned first = length_at(p, 0, &p->name);

	return first != 0 && length_at(p, first, value) != 0;
}

/* The same where each stands before its text: the name's is known, the value's lies behind the name. */
static bool know_name(struct cgi_pairs *p)
{
	if (p->have < 2)
		return false;
	p->name = (uint32_t)p->lengths[0] | (uint32_t)p->lengths[1] << 8;
	return true;
}

static void tell(const struct cgi_pairs *p, const struct cgi_sink *sink, const char *pair)
{
	size_t gap = p->kind == CGI_UWSGI ? 2 : 0; /* the value's length lies between */

	if (p->name > 0 && p->name <= LIMIT_HEADER_NAME + 5)
		sink->pair(sink->owner, pair, p->name, pair + p->name + gap, p->all - p->name - gap);
}

/* What the lengths claim must not reach beyond the limit. */
static bool begin_pair(struct cgi_pairs *p, uint64_t all)
{
	if (p->bytes > p->limit || all > p->limit - p->bytes || ++p->count > LIMIT_HEAD_FIELDS)
		return false;
	p->all = (uint32_t)all;
	p->at = 0;
	p->have = CGI_INSIDE;
	p->kept = false;
	return true;
}

/* Bytes of lengths: returns how many were taken; *sound: they can be. */
static size_t take_lengths(struct cgi_pairs *p, const char *in, size_t len, bool *sound)
{
	uint32_t value = 0;
	size_t i;

	for (i = 0; i < len && p->have != CGI_INSIDE && *sound; i++) {
		p->lengths[p->have++] = (uint8_t)in[i];
		p->bytes++;
		if (p->kind == CGI_FASTCGI && know_lengths(p, &value))
			*sound = begin_pair(p, (uint64_t)p->name + value);
		else if (p->kind == CGI_UWSGI && know_name(p))
			*sound = begin_pair(p, (uint64_t)p->name + 2);
	}
	return i;
}

/* uwsgi: the value's length is here: the pair is so much longer. */
static bool extend(struct cgi_pairs *p, const uint8_t *length)
{
	uint64_t all = (uint64_t)p->all + length[0] + ((uint64_t)length[1] << 8);

	if (p->bytes > p->limit || all - p->at > p->limit - p->bytes)
		return false;
	p->all = (uint32_t)all;
	return true;
}

static void end_pair(struct cgi_pairs *p)
{
	p->have = 0;
}

/* The whole pair lies at `in`: tell it from there. Returns its bytes; 0: it does not. */
static size_t take_whole(struct cgi_pairs *p, const struct cgi_sink *sink, const char *in, size_t len, bool *sound)
{
	if (p->at != 0 || p->all > len)
		return 0;
	if (p->kind == CGI_UWSGI) {
		uint32_t head = p->all;

		*sound = extend(p, (const uint8_t *)in + p->name);
		if (!*sound)
			return 0;
		if (p->all > len) {
			p->all = head; /* is found again, behind the name */
			return 0;
		}
	}
	if (p->all <= LIMIT_HEAD_LINE)
		tell(p, sink, in);
	end_pair(p);
	return p->all;
}

static void keep(struct cgi_pairs *p, http1_line_buffer buffer, void *owner)
{
	if (p->at > 0)
		return;
	if (p->line == NULL)
		p->line = buffer(owner);
	p->kept = p->line != NULL;
}

/* A part of a pair. */
static size_t take_part(struct cgi_pairs *p, const struct cgi_sink *sink, http1_line_buffer buffer, const char *in,
                        size_t len, bool *sound)
{
	size_t part = p->all - p->at < len ? p->all - p->at : len, i;

	keep(p, buffer, sink->owner);
	if (p->kept && p->at + part <= LIMIT_HEAD_LINE)
		memcpy(p->line + p->at, in, part);
	else
		p->kept = false;
	for (i = 0; p->kind == CGI_UWSGI && i < part; i++)
		if (p->at + i == p->name || p->at + i == p->name + 1)
			p->lengths[p->at + i - p->name] = (uint8_t)in[i];
	p->at += (uint32_t)part;
	p->bytes += (uint32_t)part;
	if (p->at < p->all)
		return part;
	if (p->kind == CGI_UWSGI && p->all == p->name + 2) {
		*sound = extend(p, p->lengths);
		if (!*sound || p->at < p->all)
			return part;
	}
	if (p->kept)
		tell(p, sink, p->line);
	end_pair(p);
	return part;
}

bool cgi_pairs_feed(struct cgi_pairs *p, const struct cgi_sink *sink, http1_line_buffer buffer, const char *in,
                    size_t len)
{
	bool sound = true;

	while (sound && (len > 0 || (p->have == CGI_INSIDE && p->all == 0))) {
		size_t used;

		if (p->have != CGI_INSIDE)
			used = take_lengths(p, in, len, &sound);
		else if ((used = take_whole(p, sink, in, len, &sound)) != 0)
			p->bytes += (uint32_t)used;
		else if (p->have == CGI_INSIDE && sound)
			used = take_part(p, sink, buffer, in, len, &sound);
		in += used;
		len -= used;
	}
	return sound;
}

bool cgi_pairs_whole(const struct cgi_pairs *p)
{
	return p->have == 0;
}

bool cgi_pairs_fork(struct cgi_pairs *copy, const struct cgi_pairs *p, http1_line_buffer buffer)
{
	bool inside = p->have == CGI_INSIDE && p->kept;

	*copy = *p;
	copy->line = inside ? buffer(NULL) : NULL;
	if (!inside)
		return true;
	if (copy->line == NULL)
		return false;
	memcpy(copy->line, p->line, p->at);
	return true;
}

/* ---- names ---- */

size_t cgi_field_name(char *out, const char *name, size_t len)
{
	size_t i;

	if (len < 6 || len - 5 > LIMIT_HEADER_NAME || memcmp(name, "HTTP_", 5) != 0)
		return 0;
	for (i = 5; i < len; i++) {
		char c = name[i];

		out[i - 5] = (char)(c == '_' ? '-' : c >= 'A' && c <= 'Z' ? c | 0x20 : c);
	}
	return len - 5;
}

enum http1_method cgi_method(const char *name, size_t len)
{
	enum http1_method method = HTTP1_GET;
	char padded[8] = "";

	if (len >= sizeof(padded))
		return HTTP1_OTHER;
	memcpy(padded, name, len);
	while (method < HTTP1_OTHER && memcmp(http1_methods[method], padded, sizeof(padded)) != 0)
		method++;
	return method;
}

/* ---- pairs of ours ---- */

static char *put_length(enum cgi_lengths kind, char *out, size_t len)
{
	if (kind == CGI_UWSGI) {
		*out++ = (char)(len & 0xff);
		*out++ = (char)(len >> 8);
	} else if (len < 0x80) {
		*out++ = (char)len;
	} else {
		*out++ = (char)0x80;
		*out++ = (char)(len >> 16);
		*out++ = (char)(len >> 8);
		*out++ = (char)len;
	}
	return out;
}

/* The variable's name: at most LIMIT_HEADER_NAME + 5 bytes. Returns the length. */
static size_t variable_name(char *out, const char *name, size_t len)
{
	size_t i;

	memcpy(out, "HTTP_", 5);
	for (i = 0; i < len; i++) {
		char c = name[i];

		out[5 + i] = (char)(c == '-' ? '_' : c >= 'a' && c <= 'z' ? c & ~0x20 : c);
	}
	return len + 5;
}

size_t cgi_format_pairs(enum cgi_lengths kind, const char *lines, size_t len, char *out)
{
	const char *end = lines + len;
	char *at = out;

	while (lines < end) {
		const char *colon = memchr(lines, ':', (size_t)(end - lines));
		const char *value = colon != NULL ? colon + 2 : end;
		const char *cr = value < end ? memchr(value, '\r', (size_t)(end - value)) : NULL;
		char name[LIMIT_HEADER_NAME + 5];
		size_t name_len;

		if (cr == NULL || (size_t)(colon - lines) > LIMIT_HEADER_NAME)
			break;
		name_len = variable_name(name, lines, (size_t)(colon - lines));
		at = put_length(kind, at, name_len);
		if (kind == CGI_FASTCGI)
			at = put_length(kind, at, (size_t)(cr - value));
		memcpy(at, name, name_len);
		at += name_len;
		if (kind == CGI_UWSGI)
			at = put_length(kind, at, (size_t)(cr - value));
		memmove(at, value, (size_t)(cr - value));
		at += cr - value;
		lines = cr + 2;
	}
	return (size_t)(at - out);
}

/* ---- responses ---- */

static bool begins(const struct cgi_answer *answer, const char *word, size_t len)
{
	size_t i;

	if (answer->line_len < len)
		return false;
	for (i = 0; i < len; i++)
		if ((answer->line[i] | 0x20) != (word[i] | 0x20))
			return false;
	return true;
}

#define BEGINS(answer, word) begins(answer, word, sizeof(word) - 1)

static void take_number(struct cgi_answer *answer, size_t at)
{
	unsigned number = 0;

	while (at < answer->line_len && (answer->line[at] == ' ' || answer->line[at] == '\t'))
		at++;
	for (; at < answer->line_len && answer->line[at] >= '0' && answer->line[at] <= '9' && number < 100; at++)
		number = number * 10 + (unsigned)(answer->line[at] - '0');
	if (number >= 100)
		answer->status = (uint16_t)number;
}

static void end_line(struct cgi_answer *answer)
{
	bool first = !answer->first;

	answer->first = true;
	if (answer->line_len > 0 && answer->line[answer->line_len - 1] == '\r')
		answer->line_len--;
	if (answer->line_len == 0) {
		answer->headed = true;
		if (answer->status == 0)
			answer->status = answer->located ? 302 : 200;
	} else if (BEGINS(answer, "status:")) {
		take_number(answer, 7);
	} else if (first && BEGINS(answer, "http/1.")) {
		take_number(answer, 8);
	} else if (BEGINS(answer, "location:")) {
		answer->located = true;
	}
	answer->line_len = 0;
}

void cgi_answer_feed(struct cgi_answer *answer, const char *in, size_t len)
{
	while (len > 0 && !answer->headed) {
		const char *end = memchr(in, '\n', len);
		size_t part = end != NULL ? (size_t)(end - in) : len;
		size_t room = sizeof(answer->line) - answer->line_len;

		memcpy(answer->line + answer->line_len, in, part < room ? part : room);
		answer->line_len = (uint8_t)(answer->line_len + (part < room ? part : room));
		if (end != NULL)
			part++;
		answer->bytes += (uint32_t)part;
		in += part;
		len -= part;
		if (end != NULL)
			end_line(answer);
		if (answer->bytes > LIMIT_HEAD_BYTES && !answer->headed) {
			answer->headed = true;
			answer->status = 0;
		}
	}
}

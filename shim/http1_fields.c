/*
 * The header fields of an HTTP/1 message; what they say about its body is in http1_body.c.
 *
 * Mechanism. Each byte is looked at once: a name by its character class, a value by a search for the first control
 * byte, which in sound input is the CR of the line's end. That search is also what finds bare line feeds, NULs and the
 * like.
 *
 * Fields whose name cannot matter (by length and first letter; see struct http1_sink) are passed over without more.
 * One that does and that lies whole in the input is handed over where it is; only its name is copied, to lower its
 * case. One that is split over calls is put together in the owner's line buffer: name, then value, without the colon.
 *
 * Memory: 64 bytes of stack for a name; http1.c bounds the head by LIMIT_HEAD_BYTES, here LIMIT_HEAD_FIELDS does, and
 * LIMIT_HEAD_LINE what is kept of it. Callers: http1.c, in any thread, signal handler or forked child.
 *
 * Sources: RFC 9110 5 (fields), 7.6.1 (Connection), 7.8 (Upgrade), 9.3.6 (CONNECT); RFC 9112 5, 6, 7.1, 9.3, 11.
 */
#include "http1_head.h"

#include <string.h>

/* Whose a field is (struct http1, `field`). */
enum field_kind { FIELD_NONE, FIELD_SINK, FIELD_LENGTH, FIELD_CODING, FIELD_CONNECTION, FIELD_UPGRADE };

/* Our own names: content-length, connection, transfer-encoding, upgrade. */
#define LETTER(c) (1u << ((c)&31u))
static const struct http1_filter own_filter = {
	.any = LETTER('c') | LETTER('t') | LETTER('u'),
	.letters = { [14] = LETTER('c'), [10] = LETTER('c'), [17] = LETTER('t'), [7] = LETTER('u') },
};

/* For a sink without a filter: ask it about everything. */
static const struct http1_filter no_filter = {
	.any = ~0u,
	.letters = { [0 ... HTTP1_FILTER_LENGTHS - 1] = ~0u },
};

void http1_filter_init(struct http1_filter *filter)
{
	*filter = own_filter;
}

/* A length of which every reader makes the same, signed or not. */
#define LENGTH_MAX INT64_MAX
#define LENGTH_DIGITS 19

static bool same_token(const char *text, size_t len, const char *token, size_t token_len)
{
	if (len != token_len)
		return false;
	while (len--) {
		if (http1_token_lower(text[len]) != token[len])
			return false;
	}
	return true;
}

#define SAME_TOKEN(text, len, literal) same_token(text, len, literal, sizeof(literal) - 1)

/* Content-Length: plain digits. Digits beyond 64 bits, signs, lists, inner space, nothing at all: ALIEN. */
static enum http1_status read_length(struct http1 *h, const char *value, size_t len)
{
	uint64_t n = 0;

	if (len == 0 || len > LENGTH_DIGITS || h->seen & (SEEN_LENGTH | SEEN_CHUNKED))
		return HTTP1_ALIEN;
	for (size_t i = 0; i < len; i++) {
		if (!http1_is_digit(value[i]))
			return HTTP1_ALIEN;
		n = n * 10 + (uint64_t)(value[i] - '0');
	}
	if (n > LENGTH_MAX)
		return HTTP1_ALIEN;
	h->remaining = n;
	h->seen |= SEEN_LENGTH;
	return HTTP1_MORE;
}

static enum http1_status read_coding(struct http1 *h, const char *value, size_t len)
{
	if (h->minor == 0 || h->seen & (SEEN_LENGTH | SEEN_CHUNKED) || !SAME_TOKEN(value, len, "chunked"))
		return HTTP1_ALIEN;
	h->seen |= SEEN_CHUNKED;
	return HTTP1_MORE;
}

/* Cut what `blanks` holds off both ends. */
static inline void trim(const char **text, size_t *len, char blank, char other)
{
	while (*len && (**text == blank || **text == other))
		++*text, --*len;
	while (*len && ((*text)[*len - 1] == blank || (*text)[*len - 1] == other))
		--*len;
}

/*
 * A list of tokens (RFC 9110 7.6.1). What it says besides these three is nothing that frames a message. The first look
 * is for what nearly all that is sent says.
 */
static void read_connection(struct http1 *h, const char *value, size_t len)
{
	const char *end = value + len;

	if (len == 11 && memcmp(value, " keep-alive", 11) == 0) {
		h->seen |= SEEN_KEEP_ALIVE;
		return;
	}
	while (value < end) {
		const char *comma = memchr(value, ',', (size_t)(end - value));
		const char *next = comma ? comma + 1 : end;
		size_t n = (size_t)((comma ? comma : end) - value);

		trim(&value, &n, ' ', '\t');
		if (SAME_TOKEN(value, n, "close"))
			h->seen |= SEEN_CLOSE;
		else if (SAME_TOKEN(value, n, "keep-alive"))
			h->seen |= SEEN_KEEP_ALIVE;
		else if (SAME_TOKEN(value, n, "upgrade"))
			h->seen |= SEEN_CONNECTION_UPGRADE;
		value = next;
	}
}

/* The value of one that frames the message, still with the white space around it. */
static inline enum http1_status finish_own(struct http1 *h, enum field_kind own, const char *value, size_t len)
{
	switch (own) {
	case FIELD_LENGTH: trim(&value, &len, ' ', ' '); return read_length(h, value, len);
	case FIELD_CODING: trim(&value, &len, ' ', ' '); return read_coding(h, value, len);
	default: /* FIELD_CONNECTION */ read_connection(h, value, len); return HTTP1_MORE;
	}
}

/* One whole field line; likewise. */
static enum http1_status finish_field(struct http1 *h, const struct http1_input *in, const char *name, size_t name_len,
                                      const char *value, size_t len)
{
	if (h->field != FIELD_SINK)
		return finish_own(h, (enum field_kind)h->field, value, len);
	trim(&value, &len, ' ', '\t');
	if (in->sink)
		in->sink->field(in->sink->owner, name, name_len, value, len);
	return HTTP1_MORE;
}

static inline const struct http1_filter *find_filter(const struct http1_sink *sink)
{
	if (!sink)
		return &own_filter;
	return sink->filter && sink->filter->any ? sink->filter : &no_filter;
}

/* Can a name with this first letter and length matter to anybody? */
static inline bool may_matter(const struct http1_filter *filter, char first, size_t len)
{
	/* In this order: the second question is nearly never asked. */
	return filter->letters[len % HTTP1_FILTER_LENGTHS] >> ((unsigned char)first & 31u) & 1u &&
	       len <= LIMIT_HEADER_NAME;
}

/* The same when only the beginning of the name is known. */
static inline bool may_matter_later(const struct http1_filter *filter, char first, size_t len)
{
	return len <= LIMIT_HEADER_NAME && filter->any >> ((unsigned char)first & 31u) & 1u;
}

/* Eight bytes of a name, letters in lower case. What else that bit changes is no part of a token, or of our names. */
static inline uint64_t eight_lower(const char *name)
{
	uint64_t w;

	memcpy(&w, name, 8);
	return w | 0x2020202020202020u;
}

static inline bool same_name(const char *name, const char *own, size_t len)
{
	for (size_t i = 0; i < len; i += 8) {
		size_t at = i + 8 <= len ? i : len - 8;

		if (eight_lower(name + at) != eight_lower(own + at))
			return false;
	}
	return true;
}

static inline bool is_upgrade(const char *name)
{
	uint32_t upgr, rade;

	memcpy(&upgr, name, 4);
	memcpy(&rade, name + 3, 4);
	return memcmp(&(uint32_t){ upgr | 0x20202020u }, "upgr", 4) == 0 &&
	       memcmp(&(uint32_t){ rade | 0x20202020u }, "rade", 4) == 0;
}

/* One of our own, by a name in any case? */
static inline enum field_kind find_own(const char *name, size_t len)
{
	switch (len) {
	case 7: return is_upgrade(name) ? FIELD_UPGRADE : FIELD_NONE;
	case 10: return same_name(name, "connection", 10) ? FIELD_CONNECTION : FIELD_NONE;
	case 14: return same_name(name, "content-length", 14) ? FIELD_LENGTH : FIELD_NONE;
	case 17: return same_name(name, "transfer-encoding", 17) ? FIELD_CODING : FIELD_NONE;
	default: return FIELD_NONE;
	}
}

/* Whose is the field? `name` in lower case. */
static enum field_kind find_kind(struct http1 *h, const struct http1_sink *sink, const char *name, size_t len)
{
	enum field_kind own = find_own(name, len);

	if (own == FIELD_UPGRADE) {
		h->seen |= SEEN_UPGRADE; /* its presence is all, so that its value need not be kept */
		return FIELD_NONE;
	}
	if (own != FIELD_NONE)
		return own;
	return sink && sink->wants(sink->owner, name, len) ? FIELD_SINK : FIELD_NONE;
}

/* Have a buffer for a split line. In a fork: its own, with what the original has kept so far. */
static __attribute__((cold)) bool have_line(struct http1 *h, const struct http1_input *in)
{
	if (h->line)
		return true;
	if (in->buffer)
		h->line = in->buffer(in->sink ? in->sink->owner : NULL);
	if (!h->line)
		return false;
	if (h->inherited)
		memcpy(h->line, h->inherited, h->line_len);
	h->inherited = NULL;
	return true;
}

/* The rest of the input belongs to a field's name: keep it, unless it cannot be one that matters. */
static __attribute__((cold)) enum http1_status keep_name(struct http1 *h, struct http1_input *in, size_t len)
{
	char first = h->line_len ? 0 : *in->p;
	size_t total = h->line_len + len;

	if (h->line_len ? total > LIMIT_HEADER_NAME : !may_matter_later(find_filter(in->sink), first, total)) {
		in->p = in->end;
		h->line_len = 0;
		h->state = STATE_NAME_SKIPPED;
		return HTTP1_MORE;
	}
	if (!have_line(h, in))
		return HTTP1_ALIEN;
	while (in->p < in->end)
		h->line[h->line_len++] = http1_token_lower(*in->p++);
	h->state = STATE_NAME;
	return HTTP1_MORE;
}

/* May a line that is too long to keep be passed over? One of ours decides about the body. */
static bool passable(const struct http1 *h)
{
	return h->field == FIELD_SINK;
}

static __attribute__((cold)) enum http1_status give_up_line(struct http1 *h)
{
	h->line_len = 0;
	h->state = STATE_VALUE_SKIPPED;
	return passable(h) ? HTTP1_MORE : HTTP1_ALIEN;
}

/* STATE_VALUE: the value of a split line, up to its CR. */
static __attribute__((cold)) enum http1_status take_value(struct http1 *h, struct http1_input *in)
{
	const char *eol = http1_find_control(in->p, in->end);
	size_t len = (size_t)(eol - in->p);

	if (h->line_len + len > LIMIT_HEAD_LINE)
		return give_up_line(h);
	if (!have_line(h, in))
		return HTTP1_ALIEN;
	memcpy(h->line + h->line_len, in->p, len);
	h->line_len = (uint16_t)(h->line_len + len);
	in->p = eol;
	if (eol == in->end)
		return HTTP1_MORE;
	if (*eol != '\r')
		return HTTP1_ALIEN;
	in->p++;
	h->state = STATE_VALUE_LF;
	return HTTP1_MORE;
}

static __attribute__((cold)) enum http1_status take_value_end(struct http1 *h, struct http1_input *in)
{
	const char *line = h->line ? h->line : h->inherited;
	uint16_t len = h->line_len;

	if (http1_take_byte(h, in, '\n', STATE_FIELD) != HTTP1_MORE)
		return HTTP1_ALIEN;
	return finish_field(h, in, line, h->name_len, line + h->name_len, (size_t)(len - h->name_len));
}

/* STATE_VALUE_SKIPPED: the rest of a line that nobody wants. */
static inline enum http1_status skip_value(struct http1 *h, struct http1_input *in)
{
	const char *eol = http1_find_control(in->p, in->end);

	in->p = eol;
	h->state = STATE_VALUE_SKIPPED;
	if (eol == in->end)
		return HTTP1_MORE;
	if (*eol != '\r')
		return HTTP1_ALIEN;
	in->p = eol + 1;
	h->state = STATE_SKIPPED_LF;
	if (in->p == in->end)
		return HTTP1_MORE;
	return http1_take_byte(h, in, '\n', STATE_FIELD);
}

/* The name is known and matters; `name` is in lower case, on the stack or in the line buffer. The value is next. */
static __attribute__((cold)) enum http1_status begin_value(struct http1 *h, struct http1_input *in, const char *name,
                                                           size_t name_len)
{
	const char *value = in->p;
	const char *eol = http1_find_control(value, in->end);
	size_t len = (size_t)(eol - value);

	h->name_len = (uint8_t)name_len;
	if (in->end - eol >= 2 && eol[0] == '\r' && eol[1] == '\n') {
		if (name_len + len > LIMIT_HEAD_LINE)
			return give_up_line(h);
		in->p = eol + 2;
		h->line_len = 0;
		h->state = STATE_FIELD;
		return finish_field(h, in, name, name_len, value, len);
	}
	if (h->line_len == 0) {
		if (!have_line(h, in))
			return HTTP1_ALIEN;
		memcpy(h->line, name, name_len);
		h->line_len = (uint16_t)name_len;
	}
	h->state = STATE_VALUE;
	return HTTP1_MORE;
}

/* Names without a break: 8 bytes a step, the last step over bytes that the one before has done already. */
static void lower_name(char *out, const char *name, size_t len)
{
	const uint64_t every = 0x0101010101010101u;
	uint64_t w, upper;

	for (size_t i = 0; len >= 8 && i < len; i += 8) {
		size_t at = i + 8 <= len ? i : len - 8;

		/* Bytes of a name are under 0x80, so no sum carries into the next byte. */
		memcpy(&w, name + at, 8);
		upper = (w + every * (0x80 - 'A')) & ~(w + every * (0x80 - 'Z' - 1)) & every * 0x80;
		w |= upper >> 2;
		memcpy(out + at, &w, 8);
	}
	for (size_t i = 0; len < 8 && i < len; i++)
		out[i] = http1_token_lower(name[i]);
}

/* STATE_FIELD, at the first byte of a line, or STATE_NAME: a name up to its colon, and the value if it is whole. */
static __attribute__((cold)) enum http1_status take_name(struct http1 *h, struct http1_input *in)
{
	const char *start = in->p, *colon = http1_find_name_end(start, in->end), *name;
	size_t len = (size_t)(colon - start), total = h->line_len + len;
	char lowered[LIMIT_HEADER_NAME];

	if (colon == in->end)
		return keep_name(h, in, len);
	if (*colon != ':' || total == 0)
		return HTTP1_ALIEN;
	in->p = colon + 1;
	if (h->line_len == 0) {
		if (!may_matter(find_filter(in->sink), *start, len))
			return skip_value(h, in);
		lower_name(lowered, start, len);
		name = lowered;
	} else {
		if (total > LIMIT_HEADER_NAME) {
			h->line_len = 0;
			return skip_value(h, in);
		}
		if (len && !have_line(h, in))
			return HTTP1_ALIEN;
		for (size_t i = 0; i < len; i++)
			h->line[h->line_len++] = http1_token_lower(start[i]);
		name = h->line ? h->line : h->inherited;
	}
	h->field = (uint8_t)find_kind(h, in->sink, name, total);
	if (h->field != FIELD_NONE)
		return begin_value(h, in, name, total);
	h->line_len = 0;
	return skip_value(h, in);
}

static enum http1_status finish_head(struct http1 *h, struct http1_input *in)
{
	if (*in->p != '\n')
		return HTTP1_ALIEN;
	in->p++;
	return http1_leave_head(h);
}

/*
 * At the CR of the blank line. Whoever wants to stop there gets to before it: a CR that was taken cannot be given back.
 */
static enum http1_status finish_fields(struct http1 *h, struct http1_input *in)
{
	enum http1_status status = http1_decide_body(h);

	if (status != HTTP1_MORE)
		return status;
	h->state = STATE_BLANK;
	if (in->noted)
		http1_known_keep(h, in);
	if (h->options & HTTP1_STOP_AT_BLANK)
		return HTTP1_HEAD_END;
	http1_take_byte(h, in, '\r', STATE_BLANK_LF);
	return in->p < in->end ? finish_head(h, in) : HTTP1_MORE;
}

/* The owner's may it be: a name is lowered only here. */
static __attribute__((noinline)) enum http1_status read_wanted(struct http1_input *in, const char *name,
                                                               size_t name_len, const char *value, size_t len)
{
	char lowered[LIMIT_HEADER_NAME];

	lower_name(lowered, name, name_len);
	if (!in->sink->wants(in->sink->owner, lowered, name_len) || name_len + len > LIMIT_HEAD_LINE)
		return HTTP1_MORE;
	trim(&value, &len, ' ', '\t');
	if (in->noted)
		http1_known_note(in, lowered, name_len, value, len);
	in->sink->field(in->sink->owner, lowered, name_len, value, len);
	return HTTP1_MORE;
}

/* One line that lies whole in the input, and whose name may matter. A function of its own: few lines come here. */
static __attribute__((noinline)) enum http1_status read_line(struct http1 *h, struct http1_input *in, const char *name,
                                                             const char *colon, const char *eol)
{
	const char *value = colon + 1;
	size_t name_len = (size_t)(colon - name), len = (size_t)(eol - value);
	enum field_kind own = find_own(name, name_len);

	switch (own) {
	case FIELD_NONE: return in->sink ? read_wanted(in, name, name_len, value, len) : HTTP1_MORE;
	case FIELD_UPGRADE: h->seen |= SEEN_UPGRADE; return HTTP1_MORE;
	default: return name_len + len > LIMIT_HEAD_LINE ? HTTP1_ALIEN : finish_own(h, own, value, len);
	}
}

/* As find_colon, byte by byte where need be. */
static __attribute__((noinline)) const char *find_colon_anyhow(const char *name, const char *end)
{
	const char *p = name;

#ifdef __SSE2__
	while (end - p > 16 && http1_count_letters(p) == 16)
		p += 16;
#endif
	p = http1_find_name_end(p, end);
	return p < end && *p == ':' && p > name ? p : NULL;
}

/*
 * The colon behind a sound name at p; NULL when there is none, or the name is empty. One look finds the end of nearly every
 * name. In front of `last` more than 16 bytes may be read.
 */
static inline const char *find_colon(const char *p, const char *last, const char *end)
{
#ifdef __SSE2__
	if (__builtin_expect(p < last, 1)) {
		unsigned letters = http1_count_letters(p);

		if (__builtin_expect(p[letters] == ':' && letters > 0, 1))
			return p + letters;
	}
#else
	(void)last;
#endif
	return find_colon_anyhow(p, end);
}

static inline bool is_crlf(const char *p)
{
	return memcmp(p, "\r\n", 2) == 0;
}

static __attribute__((noinline)) const char *find_crlf_anyhow(const char *start, const char *p, const char *end)
{
	p = http1_find_control_from(start, p, end);
	return end - p >= 2 && is_crlf(p) ? p : NULL;
}

/*
 * The CR LF behind a sound value that begins at p; NULL when there is none. The first control byte is nearly always that CR.
 * From `start` on bytes may be read.
 */
static inline const char *find_crlf(const char *start, const char *p, const char *last, const char *end)
{
#ifdef __SSE2__
	for (; __builtin_expect(p < last, 1); p += 16) {
		unsigned hits = http1_find_low(p, 0x1f);

		if (hits) {
			const char *eol = p + (unsigned)__builtin_ctz(hits);

			if (__builtin_expect(is_crlf(eol), 1))
				return eol;
			break;
		}
	}
#else
	(void)last;
#endif
	return find_crlf_anyhow(start, p, end);
}

/* As many lines as lie whole in the input. What is split, or is not sound, is left for take_name. */
static enum http1_status read_lines(struct http1 *h, struct http1_input *in)
{
	const char *const start = in->p, *const end = in->end;
	const char *const last = end - start > 16 ? end - 16 : start;
	const struct http1_filter *filter = find_filter(in->sink);
	const char *p = start;
	enum http1_status status = HTTP1_MORE;
	unsigned room = LIMIT_HEAD_FIELDS - (unsigned)h->head_fields;

	for (; room > 0; room--) {
		const char *name = p, *colon = find_colon(p, last, end), *eol;

		if (!colon)
			break;
		eol = find_crlf(start, colon + 1, last, end);
		if (!eol)
			break;
		p = eol + 2;
		if (may_matter(filter, *name, (size_t)(colon - name))) {
			status = read_line(h, in, name, colon, eol);
			if (status != HTTP1_MORE)
				break;
		}
	}
	h->head_fields = (uint16_t)(LIMIT_HEAD_FIELDS - room);
	in->p = p;
	return status;
}

static enum http1_status take_lines(struct http1 *h, struct http1_input *in)
{
	enum http1_status status = read_lines(h, in);

	if (status != HTTP1_MORE || in->p == in->end)
		return status;
	if (*in->p == '\r')
		return finish_fields(h, in);
	if (h->head_fields++ == LIMIT_HEAD_FIELDS)
		return HTTP1_ALIEN;
	in->noted = NULL; /* what comes of it is not told here */
	return take_name(h, in);
}

static __attribute__((cold)) enum http1_status skip_name(struct http1 *h, struct http1_input *in)
{
	in->p = http1_find_name_end(in->p, in->end);
	return in->p == in->end ? HTTP1_MORE : http1_take_byte(h, in, ':', STATE_VALUE_SKIPPED);
}

enum http1_status http1_take_fields(struct http1 *h, struct http1_input *in)
{
	switch (h->state) {
	case STATE_FIELD: return take_lines(h, in);
	case STATE_NAME: return take_name(h, in);
	case STATE_NAME_SKIPPED: return skip_name(h, in);
	case STATE_VALUE: return take_value(h, in);
	case STATE_VALUE_LF: return take_value_end(h, in);
	case STATE_VALUE_SKIPPED: return skip_value(h, in);
	case STATE_SKIPPED_LF: return http1_take_byte(h, in, '\n', STATE_FIELD);
	case STATE_BLANK: return http1_take_byte(h, in, '\r', STATE_BLANK_LF);
	default: /* STATE_BLANK_LF */ return finish_head(h, in);
	}
}

/*
 * Between http1.c, http1_start.c, http1_fields.c and http1_body.c only: the states of a scanner, and the pieces that they share.
 */
#ifndef TRACESHIM_HTTP1_HEAD_H
#define TRACESHIM_HTTP1_HEAD_H

#include "http1.h"

#ifdef __SSE2__
#include <emmintrin.h>
#endif

/* In the order in which a message passes through them; http1_in_head and friends compare. */
enum http1_state {
	/* the start line */
	STATE_START,
	STATE_START_LF,
	STATE_METHOD,
	STATE_TARGET_FIRST,
	STATE_TARGET_SCHEME,
	STATE_TARGET_STAR,
	STATE_TARGET,
	STATE_VERSION,
	STATE_STATUS_SPACE,
	STATE_STATUS_CODE,
	STATE_STATUS_END,
	STATE_REASON,
	STATE_START_LINE_CR,
	STATE_START_LINE_LF,
	/* the fields */
	STATE_FIELD,
	STATE_NAME,
	STATE_NAME_SKIPPED,
	STATE_VALUE,
	STATE_VALUE_LF,
	STATE_VALUE_SKIPPED,
	STATE_SKIPPED_LF,
	STATE_BLANK,
	STATE_BLANK_LF,
	/* the body; STATE_NO_BODY: HTTP1_DONE is due */
	STATE_NO_BODY,
	STATE_BODY,
	STATE_UNTIL_CLOSE,
	STATE_CHUNK_SIZE,
	STATE_CHUNK_EXTENSION,
	STATE_CHUNK_SIZE_LF,
	STATE_CHUNK,
	STATE_CHUNK_CR,
	STATE_CHUNK_LF,
	STATE_TRAILER,
	STATE_TRAILER_NAME,
	STATE_TRAILER_VALUE,
	STATE_TRAILER_LF,
	STATE_TRAILERS_LF,
	/* for good */
	STATE_DONE,
	STATE_TUNNEL,
	STATE_ALIEN
};

/* Fields that say how the message is framed (struct http1, `seen`). */
#define SEEN_LENGTH 0x01u
#define SEEN_CHUNKED 0x02u
#define SEEN_CLOSE 0x04u
#define SEEN_KEEP_ALIVE 0x08u
#define SEEN_CONNECTION_UPGRADE 0x10u
#define SEEN_UPGRADE 0x20u

/* Empty lines before a request (RFC 9112 2.2): old clients send one after a body; more is no client that we know. */
#define HTTP1_EMPTY_LINES 4

/* The arguments of one http1_feed; `p` moves on. */
struct http1_input {
	const char *p, *end;
	const struct http1_sink *sink;
	http1_line_buffer buffer;
	struct http1_known *known;
	const char *noted; /* not NULL: the head began here, and `known` is to have it */
};

/* By enum http1_method, up to HTTP1_OTHER; padded with NUL. */
extern const char http1_methods[HTTP1_OTHER][8];

/*
 * The byte in lower case if it may stand in a token (RFC 9110 5.6.2), else 0. No locale: a table.
 */
extern const char http1_token_table[256];

static inline char http1_token_lower(char c)
{
	return http1_token_table[(unsigned char)c];
}

static inline bool http1_is_letter(char c)
{
	return (unsigned char)((c | 0x20) - 'a') < 26;
}

static inline bool http1_is_digit(char c)
{
	return (unsigned char)(c - '0') < 10;
}

/* May a request target begin with `c`, given the method? RFC 9112 3.2: origin, absolute, authority, asterisk form. */
static inline bool http1_begins_target(enum http1_method method, char c)
{
	if (method == HTTP1_CONNECT)
		return http1_is_letter(c) || http1_is_digit(c) || c == '[' || c == '_';
	return c == '/' || http1_is_letter(c) || (c == '*' && method == HTTP1_OPTIONS);
}

#ifdef __SSE2__
/* Bit i: byte i of the 16 is DEL or not above `below`. */
static inline unsigned http1_find_low(const char *p, unsigned char below)
{
	__m128i v = _mm_loadu_si128((const __m128i *)(const void *)p);
	__m128i low = _mm_cmpeq_epi8(_mm_min_epu8(v, _mm_set1_epi8((char)below)), v);

	return (unsigned)_mm_movemask_epi8(_mm_or_si128(low, _mm_cmpeq_epi8(v, _mm_set1_epi8(0x7f))));
}
#endif

/*
 * The first byte in [p, end) that is DEL or not above `below`, or end. With `tab`, an HTAB is none.
 * From `start` on the bytes may be read: the last look is one at 16 bytes too, some of which were looked at before.
 */
const char *http1_find_at_most(const char *start, const char *p, const char *end, unsigned char below, bool tab);

/* The first byte in [p, end) that may not stand in a field value (a control byte but HTAB), or end. */
static inline const char *http1_find_control(const char *p, const char *end)
{
	return http1_find_at_most(p, p, end, 0x1f, true);
}

/* The same, where the bytes from `start` on may be read. */
static inline const char *http1_find_control_from(const char *start, const char *p, const char *end)
{
	return http1_find_at_most(start, p, end, 0x1f, true);
}

#ifdef __SSE2__
/* The first of 16 bytes that is neither letter nor dash, as nearly all bytes of nearly all field names are; or 16. */
static inline unsigned http1_count_letters(const char *p)
{
	__m128i v = _mm_loadu_si128((const __m128i *)(const void *)p);
	__m128i letter = _mm_sub_epi8(_mm_or_si128(v, _mm_set1_epi8(0x20)), _mm_set1_epi8('a'));
	__m128i sound = _mm_cmpeq_epi8(_mm_min_epu8(letter, _mm_set1_epi8(25)), letter);

	sound = _mm_or_si128(sound, _mm_cmpeq_epi8(v, _mm_set1_epi8('-')));
	return (unsigned)__builtin_ctz(~(unsigned)_mm_movemask_epi8(sound));
}
#endif

/* The first byte in [p, end) that may not stand in a field name (RFC 9110 5.6.2, token), or end. */
static inline const char *http1_find_name_end(const char *p, const char *end)
{
	while (p < end && http1_token_lower(*p))
		p++;
	return p;
}

/* Take one byte, which must be `c`, and go on in `next`. */
enum http1_status http1_take_byte(struct http1 *h, struct http1_input *in, char c, enum http1_state next);

/*
 * Take one element of the start line (state below STATE_FIELD) or of the fields (up to STATE_BLANK_LF); at least one
 * byte must be there. HTTP1_MORE: go on, if there is more. HTTP1_HEAD_END, HTTP1_ALIEN; HTTP1_HEAD or HTTP1_TUNNEL with
 * the last byte of the head, the state being that of the body, or STATE_TUNNEL, then.
 */
enum http1_status http1_take_start_line(struct http1 *h, struct http1_input *in);
enum http1_status http1_take_fields(struct http1 *h, struct http1_input *in);

/*
 * http1_known.c. Pass a head that is known, up to its blank line; before its first byte. False: it is another one. _note: one of
 * its fields is wanted; NULL: it cannot be told again from its bytes alone. _keep: it is read, up to the blank line.
 */
bool http1_known_pass(struct http1 *h, struct http1_input *in);
void http1_known_note(struct http1_input *in, const char *name, size_t name_len, const char *value, size_t len);
void http1_known_keep(const struct http1 *h, struct http1_input *in);

/* http1_body.c: at the end of the fields. HTTP1_MORE, or HTTP1_ALIEN where servers could disagree. */
enum http1_status http1_decide_body(struct http1 *h);

/* The head is over, its last byte included: HTTP1_HEAD, or HTTP1_TUNNEL. */
enum http1_status http1_leave_head(struct http1 *h);

#endif

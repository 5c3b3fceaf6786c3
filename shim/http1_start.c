/*
 * The start line of an HTTP/1 message, element by element.
 *
 * Mechanism: one state an element (method, target, version, status, line end). None needs to be kept: a method is known
 * by its first 8 bytes (struct http1, `scratch`), the target matters by its first byte only, the rest is compared as it
 * comes. So a start line that is split anywhere, or has a target of 100 KB, needs no buffer.
 *
 * The target's form must fit the method (RFC 9112 3.2), and scheme and colon of the absolute form must be there: that
 * tells HTTP from the protocols whose commands look like a method. Beyond that its bytes are the server's affair, but
 * for white space and control bytes, at which servers disagree where it ends.
 *
 * Memory: none. Callers: http1.c, in any thread, signal handler or forked child. Sources: RFC 9112 2.2, 2.3, 3, 4.
 */
#include "http1_head.h"

#include <string.h>

const char http1_methods[HTTP1_OTHER][8] = {
	[HTTP1_GET] = "GET",         [HTTP1_HEAD_METHOD] = "HEAD", [HTTP1_POST] = "POST",
	[HTTP1_PUT] = "PUT",         [HTTP1_DELETE] = "DELETE",    [HTTP1_CONNECT] = "CONNECT",
	[HTTP1_OPTIONS] = "OPTIONS", [HTTP1_TRACE] = "TRACE",      [HTTP1_PATCH] = "PATCH",
};

const char *http1_find_at_most(const char *start, const char *p, const char *end, unsigned char below, bool tab)
{
#ifdef __SSE2__
	while (end - p >= 16) {
		unsigned hits = http1_find_low(p, below);

		for (; hits; hits &= hits - 1) {
			const char *found = p + (unsigned)__builtin_ctz(hits);

			if (!tab || __builtin_expect(*found != '\t', 1))
				return found;
		}
		p += 16;
	}
	if (end - start >= 16) {
		unsigned hits = http1_find_low(end - 16, below) >> (16 - (end - p));

		for (; hits; hits &= hits - 1) {
			const char *found = p + (unsigned)__builtin_ctz(hits);

			if (!tab || __builtin_expect(*found != '\t', 1))
				return found;
		}
		return end;
	}
#endif
	for (; p < end; p++) {
		unsigned char c = (unsigned char)*p;

		if ((c <= below && !(tab && c == '\t')) || c == 0x7f)
			break;
	}
	return p;
}

const char http1_token_table[256] = {
	['!'] = '!', ['#'] = '#', ['$'] = '$', ['%'] = '%', ['&'] = '&', ['\''] = '\'', ['*'] = '*', ['+'] = '+',
	['-'] = '-', ['.'] = '.', ['^'] = '^', ['_'] = '_', ['`'] = '`', ['|'] = '|',   ['~'] = '~', ['0'] = '0',
	['1'] = '1', ['2'] = '2', ['3'] = '3', ['4'] = '4', ['5'] = '5', ['6'] = '6',   ['7'] = '7', ['8'] = '8',
	['9'] = '9', ['a'] = 'a', ['b'] = 'b', ['c'] = 'c', ['d'] = 'd', ['e'] = 'e',   ['f'] = 'f', ['g'] = 'g',
	['h'] = 'h', ['i'] = 'i', ['j'] = 'j', ['k'] = 'k', ['l'] = 'l', ['m'] = 'm',   ['n'] = 'n', ['o'] = 'o',
	['p'] = 'p', ['q'] = 'q', ['r'] = 'r', ['s'] = 's', ['t'] = 't', ['u'] = 'u',   ['v'] = 'v', ['w'] = 'w',
	['x'] = 'x', ['y'] = 'y', ['z'] = 'z', ['A'] = 'a', ['B'] = 'b', ['C'] = 'c',   ['D'] = 'd', ['E'] = 'e',
	['F'] = 'f', ['G'] = 'g', ['H'] = 'h', ['I'] = 'i', ['J'] = 'j', ['K'] = 'k',   ['L'] = 'l', ['M'] = 'm',
	['N'] = 'n', ['O'] = 'o', ['P'] = 'p', ['Q'] = 'q', ['R'] = 'r', ['S'] = 's',   ['T'] = 't', ['U'] = 'u',
	['V'] = 'v', ['W'] = 'w', ['X'] = 'x', ['Y'] = 'y', ['Z'] = 'z',
};

static enum http1_method find_method(const char name[8])
{
	enum http1_method method = HTTP1_GET;

	while (method < HTTP1_OTHER && memcmp(http1_methods[method], name, 8))
		method++;
	return method;
}

static __attribute__((cold)) enum http1_status take_method(struct http1 *h, struct http1_input *in)
{
	for (; in->p < in->end && http1_token_lower(*in->p); in->p++) {
		/* One character more than the longest known name has makes it unknown. */
		if (h->line_len < sizeof(h->scratch))
			h->scratch[h->line_len++] = *in->p;
	}
	if (in->p == in->end)
		return HTTP1_MORE;
	if (h->line_len == 0)
		return HTTP1_ALIEN;
	h->method = (uint8_t)find_method(h->scratch);
	return http1_take_byte(h, in, ' ', STATE_TARGET_FIRST);
}

/* Which of the four forms (RFC 9112 3.2) is it, and does it fit the method? */
static __attribute__((cold)) enum http1_status take_target_first(struct http1 *h, struct http1_input *in)
{
	char c = *in->p;

	if (!http1_begins_target(h->method, c))
		return HTTP1_ALIEN;
	if (h->method == HTTP1_CONNECT || c == '/')
		h->state = STATE_TARGET;
	else
		h->state = c == '*' ? STATE_TARGET_STAR : STATE_TARGET_SCHEME;
	in->p++;
	return HTTP1_MORE;
}

static __attribute__((cold)) enum http1_status take_scheme(struct http1 *h, struct http1_input *in)
{
	while (in->p < in->end) {
		char c = *in->p;

		if (!http1_is_letter(c) && !http1_is_digit(c) && c != '+' && c != '-' && c != '.')
			return http1_take_byte(h, in, ':', STATE_TARGET);
		in->p++;
	}
	return HTTP1_MORE;
}

static __attribute__((cold)) enum http1_status take_target(struct http1 *h, struct http1_input *in)
{
	in->p = http1_find_at_most(in->p, in->p, in->end, ' ', false);
	if (in->p == in->end)
		return HTTP1_MORE;
	return http1_take_byte(h, in, ' ', STATE_VERSION);
}

static __attribute__((cold)) enum http1_status take_version(struct http1 *h, struct http1_input *in)
{
	static const char text[] = "HTTP/1.";
	const uint16_t len = sizeof(text) - 1;

	if (h->line_len == 0 && in->end - in->p > len && memcmp(in->p, text, len) == 0) {
		in->p += len;
		h->line_len = len;
	}
	for (; h->line_len < len; h->line_len++) {
		if (in->p == in->end)
			return HTTP1_MORE;
		if (*in->p++ != text[h->line_len])
			return HTTP1_ALIEN;
	}
	if (in->p == in->end)
		return HTTP1_MORE;
	if (*in->p != '0' && *in->p != '1')
		return HTTP1_ALIEN;
	h->minor = *in->p == '1';
	return http1_take_byte(h, in, *in->p, h->kind == HTTP1_REQUEST ? STATE_START_LINE_CR : STATE_STATUS_SPACE);
}

/* Three digits; whether a reason phrase follows, and the space before it, is left to the server, as all clients do. */
static __attribute__((cold)) enum http1_status take_status(struct http1 *h, struct http1_input *in)
{
	for (; in->p < in->end && h->line_len < 3; in->p++, h->line_len++) {
		if (!http1_is_digit(*in->p))
			return HTTP1_ALIEN;
		h->status = (uint16_t)(h->status * 10 + (*in->p - '0'));
	}
	if (h->line_len < 3)
		return HTTP1_MORE;
	if (h->status < 100)
		return HTTP1_ALIEN;
	h->line_len = 0;
	h->state = STATE_STATUS_END;
	return HTTP1_MORE;
}

static __attribute__((cold)) enum http1_status take_reason(struct http1 *h, struct http1_input *in)
{
	in->p = http1_find_control(in->p, in->end);
	if (in->p == in->end)
		return HTTP1_MORE;
	return http1_take_byte(h, in, '\r', STATE_START_LINE_LF);
}

/*
 * The usual request line, whole in the input: past it. False, with nothing changed, when it is not so plain (or not
 * sound): then the states look at it.
 */
static bool pass_request_line(struct http1 *h, struct http1_input *in)
{
	static const char version[] = " HTTP/1.";
	const size_t version_len = sizeof(version) - 1;
	const char *p = in->p, *end = in->end;
	char method[8] = { 0 };
	size_t n = 0;

	if (end - p > 5 && memcmp(p, "GET /", 5) == 0) {
		h->method = HTTP1_GET;
		p += 3;
	} else {
		while (p < end && n < sizeof(method) && http1_token_lower(*p))
			method[n++] = *p++;
		if (n == 0 || end - p < 2 || p[0] != ' ' || p[1] != '/')
			return false;
		h->method = (uint8_t)find_method(method);
		if (h->method == HTTP1_CONNECT)
			return false;
	}
	p = http1_find_at_most(in->p, p + 1, end, ' ', false);
	if ((size_t)(end - p) < version_len + 3 || memcmp(p, version, version_len))
		return false;
	p += version_len;
	if ((*p != '0' && *p != '1') || p[1] != '\r' || p[2] != '\n')
		return false;
	h->minor = *p == '1';
	h->state = STATE_FIELD;
	in->p = p + 3;
	return true;
}

/* The same for a status line. */
static bool pass_status_line(struct http1 *h, struct http1_input *in)
{
	const char *p = in->p, *end = in->end, *eol;

	if (end - p < 16 || memcmp(p, "HTTP/1.", 7) || (p[7] != '0' && p[7] != '1') || p[8] != ' ' || p[12] != ' ')
		return false;
	if (p[9] < '1' || p[9] > '9' || !http1_is_digit(p[10]) || !http1_is_digit(p[11]))
		return false;
	eol = http1_find_control_from(p, p + 13, end);
	if (end - eol < 2 || eol[0] != '\r' || eol[1] != '\n')
		return false;
	h->minor = p[7] == '1';
	h->status = (uint16_t)((p[9] - '0') * 100 + (p[10] - '0') * 10 + (p[11] - '0'));
	h->state = STATE_FIELD;
	in->p = eol + 2;
	return true;
}

/* The first byte of a message; before a request, empty lines, which are counted where the fields will be. */
static enum http1_status take_start(struct http1 *h, struct http1_input *in)
{
	if (h->kind == HTTP1_RESPONSE) {
		if (!pass_status_line(h, in))
			h->state = STATE_VERSION;
		return HTTP1_MORE;
	}
	if (*in->p == '\r') {
		if (h->head_fields++ == HTTP1_EMPTY_LINES)
			return HTTP1_ALIEN;
		return http1_take_byte(h, in, '\r', STATE_START_LF);
	}
	h->head_fields = 0;
	if (!pass_request_line(h, in))
		h->state = STATE_METHOD;
	return HTTP1_MORE;
}

enum http1_status http1_take_start_line(struct http1 *h, struct http1_input *in)
{
	switch (h->state) {
	case STATE_START: return take_start(h, in);
	case STATE_START_LF: return http1_take_byte(h, in, '\n', STATE_START);
	case STATE_METHOD: return take_method(h, in);
	case STATE_TARGET_FIRST: return take_target_first(h, in);
	case STATE_TARGET_SCHEME: return take_scheme(h, in);
	case STATE_TARGET_STAR: return http1_take_byte(h, in, ' ', STATE_VERSION);
	case STATE_TARGET: return take_target(h, in);
	case STATE_VERSION: return take_version(h, in);
	case STATE_STATUS_SPACE: return http1_take_byte(h, in, ' ', STATE_STATUS_CODE);
	case STATE_STATUS_CODE: return take_status(h, in);
	case STATE_STATUS_END:
		if (*in->p == ' ')
			return http1_take_byte(h, in, ' ', STATE_REASON);
		return http1_take_byte(h, in, '\r', STATE_START_LINE_LF);
	case STATE_REASON: return take_reason(h, in);
	case STATE_START_LINE_CR: return http1_take_byte(h, in, '\r', STATE_START_LINE_LF);
	default: /* STATE_START_LINE_LF */ return http1_take_byte(h, in, '\n', STATE_FIELD);
	}
}

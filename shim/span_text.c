/*
 * What a span takes of the head of its request: the request line, and a few fields; see span.h.
 *
 * The line is copied as it comes, in any pieces, to the front of the span's area, and taken apart when the scanner has found
 * it sound. Fields go behind it. What does not fit is cut, and the span says so.
 *
 * Memory: the span's. Callers: whoever has the connection's lock.
 */
#include "http1_head.h"
#include "http2.h"
#include "span_internal.h"

#include <string.h>

#define IS(name, len, word) ((len) == sizeof(word) - 1 && memcmp(name, word, sizeof(word) - 1) == 0)

static int text_of(const char *name, size_t len)
{
	switch (len) {
	case 4: return IS(name, len, "host") ? RING_TEXT_HOST : -1;
	case 9: return IS(name, len, "forwarded") ? RING_TEXT_FORWARDED : -1;
	case 10: return IS(name, len, "user-agent") ? RING_TEXT_USER_AGENT : -1;
	case 15: return IS(name, len, "x-forwarded-for") ? RING_TEXT_FORWARDED : -1;
	default: return -1;
	}
}

bool span_wants(const char *name, size_t len)
{
	return text_of(name, len) >= 0;
}

void span_each_wanted(propagate_visit *visit, void *to)
{
	visit(to, "host", 4);
	visit(to, "user-agent", 10);
	visit(to, "forwarded", 9);
	visit(to, "x-forwarded-for", 15);
}

void span_put_text(struct span *span, enum ring_span_text text, const char *from, size_t len)
{
	size_t room = AREA_ROOM - span->used;

	if (len > RING_TEXT_LIMIT || len > room) {
		len = room < RING_TEXT_LIMIT ? room : RING_TEXT_LIMIT;
		span->record.flags |= RING_FLAG_TRUNCATED;
	}
	span->head = NULL; /* more than the head says */
	memcpy(span->area + span->used, from, len);
	span->at[text] = span->used;
	span->record.text[text] = (uint16_t)len;
	span->used = (uint16_t)(span->used + len);
}

/* The request line goes to the front of the area, whose first LINE_ROOM bytes are its own. */
void span_take_line(struct span *span, const char *bytes, size_t len)
{
	const char *end;
	size_t part;

	if (span->line == LINE_DONE)
		return;
	for (; span->line == LINE_BEFORE && len > 0 && (*bytes == '\r' || *bytes == '\n'); bytes++)
		len--; /* empty lines may come first (RFC 9112 2.2) */
	if (len == 0)
		return;
	span->line = LINE_INSIDE;
	end = memchr(bytes, '\n', len);
	part = end != NULL ? (size_t)(end - bytes) : len;
	if (part > LINE_ROOM - span->line_len)
		part = LINE_ROOM - span->line_len;
	memcpy(span->area + span->line_len, bytes, part);
	span->line_len = (uint16_t)(span->line_len + part);
	if (end != NULL)
		span->line = LINE_DONE;
}

void span_split_line(struct span *span, const struct http1 *up)
{
	const char *line = span->area, *space = memchr(line, ' ', span->line_len), *target;
	size_t len = space != NULL ? (size_t)(space - line) : span->line_len;

	span->record.method = up->method == HTTP1_OTHER ? RING_METHOD_other : (uint8_t)(up->method + 1);
	if (up->method == HTTP1_OTHER) {
		span->at[RING_TEXT_METHOD] = 0;
		span->record.text[RING_TEXT_METHOD] = (uint16_t)len;
	}
	if (space == NULL) {
		span->record.flags |= RING_FLAG_TRUNCATED;
		return;
	}
	target = space + 1;
	len = span->line_len - (size_t)(target - line);
	space = memchr(target, ' ', len);
	if (space != NULL)
		len = (size_t)(space - target);
	if (space == NULL || len > RING_TEXT_LIMIT)
		span->record.flags |= RING_FLAG_TRUNCATED;
	span->at[RING_TEXT_TARGET] = (uint16_t)(target - line);
	span->record.text[RING_TEXT_TARGET] = (uint16_t)(len < RING_TEXT_LIMIT ? len : RING_TEXT_LIMIT);
}

/* The texts behind each other, in their order, from the front of the area on. They are of one head, so there is room for them twice. */
static void put_in_order(struct span *span)
{
	char *to = span->area + span->used;
	uint16_t len = 0;

	_Static_assert(AREA_ROOM >= LINE_ROOM + 2 * HTTP1_KNOWN_BYTES, "room for the texts twice");
	for (int i = 0; i < RING_TEXT_COUNT; i++) {
		memcpy(to + len, span->area + span->at[i], span->record.text[i]);
		span->at[i] = len;
		len = (uint16_t)(len + span->record.text[i]);
	}
	memmove(span->area, to, len);
	span->used = len;
	span->line = LINE_APART;
}

__attribute__((cold)) __attribute__((noinline)) void span_read_head(struct span *span, enum ring_span_kind kind,
                                                                    const struct http1_known *known, const char *bytes)
{
	memset(span, 0, sizeof(*span));
	span->used = LINE_ROOM;
	span->record.span_kind = (uint8_t)kind;
	span_take_line(span, bytes, known->len);
	for (unsigned i = 0; i < known->fields; i++)
		(void)span_take_field(span, known->names + known->field[i].name, known->field[i].name_len,
		                      bytes + known->field[i].value, known->field[i].len);
	span_split_line(span, &known->after);
	span->record.version = known->after.minor != 0 ? 11 : 10;
	put_in_order(span);
	span->head_flags = span->record.flags;
	span->head_serial = known->serial;
	span->head = known;
}

/* The method, where it is none that is known, goes to the front of the area; the path behind that. Both lie in LINE_ROOM. */
#define METHOD_ROOM (LINE_ROOM - RING_TEXT_LIMIT)

static void take_method(struct span *span, const char *value, size_t len)
{
	enum http1_method method = HTTP1_GET;
	char name[8] = "";

	if (len < sizeof(name))
		memcpy(name, value, len);
	while (method < HTTP1_OTHER && memcmp(http1_methods[method], name, sizeof(name)) != 0)
		method++;
	span->record.method = method == HTTP1_OTHER ? RING_METHOD_other : (uint8_t)(method + 1);
	if (method != HTTP1_OTHER)
		return;
	if (len > METHOD_ROOM) {
		len = METHOD_ROOM;
		span->record.flags |= RING_FLAG_TRUNCATED;
	}
	memcpy(span->area, value, len);
	span->at[RING_TEXT_METHOD] = 0;
	span->record.text[RING_TEXT_METHOD] = (uint16_t)len;
}

static void take_path(struct span *span, const char *value, size_t len)
{
	if (len > RING_TEXT_LIMIT) {
		len = RING_TEXT_LIMIT;
		span->record.flags |= RING_FLAG_TRUNCATED;
	}
	memcpy(span->area + METHOD_ROOM, value, len);
	span->at[RING_TEXT_TARGET] = METHOD_ROOM;
	span->record.text[RING_TEXT_TARGET] = (uint16_t)len;
}

void span_take_http2_field(struct span *span, const char *name, size_t name_len, const char *value, size_t value_len)
{
	span->line = LINE_HTTP2;
	if (IS(name, name_len, ":method"))
		take_method(span, value, value_len);
	else if (IS(name, name_len, ":path"))
		take_path(span, value, value_len);
	else if (IS(name, name_len, ":authority"))
		(void)span_take_field(span, "host", 4, value, value_len);
	else
		(void)span_take_field(span, name, name_len, value, value_len);
}

void span_take_grpc(struct span *span, bool grpc, uint8_t status)
{
	if (grpc)
		span->record.flags |= RING_FLAG_GRPC;
	if (status != HTTP2_NO_GRPC_STATUS)
		span->record.grpc_status = (uint16_t)(status + 1);
}

void span_came_by_cgi(struct span *span, bool tls)
{
	span->line = LINE_CGI;
	if (tls)
		span->record.flags |= RING_FLAG_TLS;
}

bool span_take_field(struct span *span, const char *name, size_t name_len, const char *value, size_t value_len)
{
	int text = text_of(name, name_len);

	if (text < 0)
		return false;
	/* The first value counts, and Forwarded more than what was there before it. Of a call, only where it goes. */
	if ((span->record.text[text] == 0 || (text == RING_TEXT_FORWARDED && name[0] == 'f')) &&
	    (text == RING_TEXT_HOST || span->record.span_kind == RING_SPAN_SERVER))
		span_put_text(span, (enum ring_span_text)text, value, value_len);
	return true;
}

/*
 * Heads that are known; see struct http1_known.
 *
 * Mechanism. The last head that was read whole, in one piece and from its first byte, is kept with the scanner as it was before
 * the blank line, and with the places of the fields that the sink wanted. The next one is compared with it by one memcmp: if
 * each byte is the same and a CR follows, the scanner is what it was then, and the fields are handed over from their places. So
 * nothing is ever believed of a head that was not read in each byte, and a field's value is the one in the input.
 *
 * Where heads differ each time, keeping each would cost more than it could spare: the longer none was the same, the more seldom
 * one is kept.
 *
 * Memory: the owner's. Callers: http1.c and http1_fields.c, in any thread, signal handler or forked child.
 */
#include "http1_head.h"
#include "layout.h"

#include <string.h>

#define FIXED_OPTIONS (HTTP1_TO_HEAD | HTTP1_TO_CONNECT)

/* The first heads that differ, then the fourth, eighth, ... one; at last each 64th. */
static inline bool is_worth_keeping(unsigned unequal)
{
	return (unequal & (unequal - 1)) == 0 || unequal % 64 == 0;
}

/* Is this the head that is known, and behind it a line that begins as a blank one does? */
static inline bool is_known(const struct http1_known *known, const char *in, size_t len, unsigned options)
{
	size_t known_len = known->len;

	return known_len > 0 && len > known_len && in[known_len] == '\r' &&
	       known->options == (options & FIXED_OPTIONS) && memcmp(in, known->head, known_len) == 0;
}

static void give_fields(const struct http1_sink *sink, const struct http1_known *known, const char *head)
{
	for (unsigned i = 0; i < known->fields; i++)
		sink->field(sink->owner, known->names + known->field[i].name, known->field[i].name_len,
		            head + known->field[i].value, known->field[i].len);
}

static bool take(struct http1 *h, unsigned options, struct http1_known *known, const char *in, size_t len, size_t total,
                 struct http1_message *message)
{
	const struct http1 *after;
	size_t blank_end;
	uint64_t body;

	if (!known || !is_known(known, in, len, options))
		return false;
	after = &known->after;
	blank_end = known->len + 2u;
	if (len < blank_end || in[blank_end - 1] != '\n' || after->body == HTTP1_BODY_CHUNKED || after->interim ||
	    after->status == 101 || options & HTTP1_TO_CONNECT)
		return false;
	known->unequal = 0;
	*h = *after; /* with no line, and known->options */
	h->head_bytes = (uint32_t)blank_end;
	(void)http1_leave_head(h);
	body = total - blank_end;
	message->head = known->len;
	message->end = total;
	message->done = true;
	if (after->body == HTTP1_BODY_NONE) {
		message->end = blank_end;
	} else if (after->body == HTTP1_BODY_LENGTH && body >= after->remaining) {
		message->end = blank_end + (size_t)after->remaining;
		h->remaining = 0;
		h->state = STATE_DONE;
	} else {
		message->done = false;
		h->remaining -= after->body == HTTP1_BODY_LENGTH ? body : 0;
	}
	return true;
}

bool http1_take_known(struct http1 *h, unsigned options, const struct http1_sink *sink, const char *in, size_t len,
                      size_t total, struct http1_message *message)
{
	if (!take(h, options, sink->known, in, len, total, message))
		return false;
	give_fields(sink, sink->known, in);
	return true;
}

bool http1_is_whole(const struct http1_known *known)
{
	return known->len > 0 && known->after.kind == HTTP1_REQUEST && known->after.body == HTTP1_BODY_NONE;
}

LAYOUT_BUILT_IN void http1_use_known(struct http1 *h, struct http1_known *known)
{
	known->unequal = 0;
	*h = known->after;
	h->head_bytes = known->len + 2u;
	h->line_len = 0;
	h->state = STATE_NO_BODY;
}

LAYOUT_BUILT_IN void http1_use_known_body(struct http1 *h, const struct http1_known *known, uint64_t body)
{
	*h = known->after;
	h->remaining -= body;
	h->head_bytes = known->len + 2u;
	h->line_len = 0;
	h->state = STATE_BODY;
}

bool http1_known_pass(struct http1 *h, struct http1_input *in)
{
	struct http1_known *known = in->known;
	const char *head = in->p;
	char *line = h->line;
	uint8_t options = h->options;

	if (!is_known(known, head, (size_t)(in->end - head), options)) {
		if (is_worth_keeping(known->unequal++)) {
			known->len = known->whole = 0;
			known->fields = known->names_len = 0;
			in->noted = head;
		}
		return false;
	}
	known->unequal = 0;
	*h = known->after;
	h->line = line;
	h->options = options;
	in->p = head + known->len;
	give_fields(in->sink, known, head);
	return true;
}

void http1_known_note(struct http1_input *in, const char *name, size_t name_len, const char *value, size_t len)
{
	struct http1_known *known = in->known;

	if (known->fields == HTTP1_KNOWN_FIELDS || name_len > sizeof(known->names) - known->names_len ||
	    value + len - in->noted > HTTP1_KNOWN_BYTES) {
		in->noted = NULL;
		return;
	}
	memcpy(known->names + known->names_len, name, name_len);
	known->field[known->fields].value = (uint16_t)(value - in->noted);
	known->field[known->fields].len = (uint16_t)len;
	known->field[known->fields].name = known->names_len;
	known->field[known->fields].name_len = (uint8_t)name_len;
	known->names_len = (uint8_t)(known->names_len + name_len);
	known->fields++;
}

void http1_known_keep(const struct http1 *h, struct http1_input *in)
{
	struct http1_known *known = in->known;
	size_t len = (size_t)(in->p - in->noted);

	if (len > HTTP1_KNOWN_BYTES || h->inherited)
		return;
	memcpy(known->head, in->noted, len);
	memcpy(known->head + len, "\r\n", 2);
	known->after = *h;
	known->after.line = NULL;
	known->after.options = known->options = h->options & FIXED_OPTIONS;
	known->len = (uint16_t)len;
	known->mark = 0;
	known->whole = 0;
	known->serial++;
}

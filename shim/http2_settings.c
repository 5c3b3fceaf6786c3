/*
 * SETTINGS of an HTTP/2 connection: what one side announces holds for what the other one sends.
 *
 * It holds from its acknowledgement on, which is in order with the frames of the side that must keep to it (RFC 9113
 * 6.5.3): until then it is kept with that one's direction. HPACK's table is resized then, as the side that announced it
 * does itself. The length of frames is different: the other side may use a longer one at once, so the longest of what
 * was announced is the limit, and who inserts goes by the shortest.
 *
 * Memory: HTTP2_SETTINGS_PENDING announcements a direction. Callers: http2.c.
 *
 * Sources: RFC 9113 6.5; RFC 7541 4.2.
 */
#include "http2_internal.h"

#include <string.h>

#include "hpack.h"

/* RFC 9113 6.5.2. */
enum setting {
	SETTING_HEADER_TABLE_SIZE = 1,
	SETTING_ENABLE_PUSH = 2,
	SETTING_INITIAL_WINDOW_SIZE = 4,
	SETTING_MAX_FRAME_SIZE = 5,
	SETTING_MAX_HEADER_LIST_SIZE = 6
};

#define SAID(identifier) (1u << (identifier))

bool http2_settings_say(struct http2_settings *said, enum http2_side from, const unsigned char element[6])
{
	uint32_t identifier = http2_read_16(element), value = http2_read_32(element + 2);

	switch (identifier) {
	case SETTING_HEADER_TABLE_SIZE:
		if (!(said->said & SAID(identifier)) || value < said->table_low)
			said->table_low = value;
		said->table = value;
		break;
	case SETTING_ENABLE_PUSH: return value <= (from == HTTP2_CLIENT);
	case SETTING_INITIAL_WINDOW_SIZE: return value <= INT32_MAX;
	case SETTING_MAX_FRAME_SIZE:
		if (value < HTTP2_FRAME_MIN || value > 0xffffff)
			return false;
		said->max_frame = value;
		break;
	case SETTING_MAX_HEADER_LIST_SIZE: said->max_list = value; break;
	default: return true;
	}
	said->said |= SAID(identifier);
	return true;
}

bool http2_settings_announce(struct http2_half *half, const struct http2_settings *said)
{
	if (half->announcements == HTTP2_SETTINGS_PENDING)
		return false;
	half->announced[half->announcements++] = *said;
	return true;
}

/* It was told when the block came. */
static bool pass_by(void *owner, const char *name, size_t name_len, const char *value, size_t value_len)
{
	(void)owner, (void)name, (void)name_len, (void)value, (void)value_len;
	return true;
}

struct hpack *http2_decoder(struct http2_half *half)
{
	if (half->hpack == NULL)
		half->hpack = hpack_new();
	for (; half->hpack != NULL && half->repeated.due > 0; half->repeated.due--) {
		if (!hpack_feed(half->hpack, half->repeated.bytes, half->repeated.len, true, pass_by, NULL))
			return NULL;
	}
	return half->hpack;
}

/*
 * What the one who announced it does with its decoder: nghttp2 takes the smallest value, too, because a table may lose
 * entries by it.
 */
static bool resize_table(struct http2_half *half, const struct http2_settings *now)
{
	struct hpack *decoder = half->undecoded ? NULL : http2_decoder(half);

	half->repeated.len = 0;
	half->table = now->table < HPACK_TABLE_MAX ? now->table : HPACK_TABLE_MAX;
	if (half->undecoded)
		return true;
	if (decoder == NULL || (now->table_low < now->table && !hpack_change_table_size(decoder, now->table_low)))
		return false;
	return hpack_change_table_size(decoder, now->table);
}

bool http2_settings_acknowledge(struct http2_half *half)
{
	struct http2_settings now = half->announced[0];

	if (half->announcements == 0)
		return false;
	half->announcements--;
	memmove(half->announced, half->announced + 1, half->announcements * sizeof(now));
	if (now.said & SAID(SETTING_MAX_FRAME_SIZE))
		half->max_frame = now.max_frame;
	if (now.said & SAID(SETTING_MAX_HEADER_LIST_SIZE))
		half->max_list = now.max_list;
	return !(now.said & SAID(SETTING_HEADER_TABLE_SIZE)) || resize_table(half, &now);
}

/* What one of them says may be, of those that may hold: the longest or the shortest. */
static uint32_t choose(const struct http2_half *half, enum setting which, bool longest)
{
	uint32_t chosen = which == SETTING_MAX_FRAME_SIZE ? half->max_frame : half->max_list;

	for (int i = 0; i < half->announcements; i++) {
		const struct http2_settings *s = &half->announced[i];
		uint32_t value = which == SETTING_MAX_FRAME_SIZE ? s->max_frame : s->max_list;

		if (s->said & SAID(which) && value != chosen && (value > chosen) == longest)
			chosen = value;
	}
	return chosen;
}

uint32_t http2_settings_longest_frame(const struct http2_half *half)
{
	return choose(half, SETTING_MAX_FRAME_SIZE, true);
}

uint32_t http2_max_frame(const struct http2 *h, enum http2_side from)
{
	return choose(&h->half[from], SETTING_MAX_FRAME_SIZE, false);
}

uint32_t http2_max_list(const struct http2 *h, enum http2_side from)
{
	return choose(&h->half[from], SETTING_MAX_HEADER_LIST_SIZE, false);
}

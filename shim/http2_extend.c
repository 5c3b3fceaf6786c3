/*
 * Fields that are added to a block of HTTP/2: how they are written, and the frame that they are written into.
 *
 * They come last in the block, as literals that are not entered in the table: the tables of both sides stay as the
 * program's encoder thinks they are, and what stands in front of them is the program's, byte for byte. Padding stays,
 * behind them.
 *
 * Pure; all memory is the caller's.
 *
 * Sources: RFC 7541 5.1, 5.2, 6.2.2; RFC 9113 4.1, 6.2, 6.10.
 */
#include "http2_internal.h"

#include <string.h>

/* An integer with a prefix of 7 bits, of which the first bit stays 0. Returns the bytes written, at most 6. */
static size_t put_length(char *out, size_t n)
{
	size_t at = 0;

	if (n < 127) {
		out[at++] = (char)n;
		return at;
	}
	out[at++] = 127;
	for (n -= 127; n >= 128; n >>= 7)
		out[at++] = (char)(n | 128);
	out[at++] = (char)n;
	return at;
}

size_t http2_put_field(char *out, size_t room, const char *name, size_t name_len, const char *value, size_t value_len)
{
	char lens[2][10];
	size_t len_len[2], at = 0;

	if (name_len > room || value_len > room)
		return 0;
	len_len[0] = put_length(lens[0], name_len);
	len_len[1] = put_length(lens[1], value_len);
	if (room < 1 + len_len[0] + len_len[1] || room - 1 - len_len[0] - len_len[1] < name_len + value_len)
		return 0;
	out[at++] = 0;
	memcpy(out + at, lens[0], len_len[0]);
	at += len_len[0];
	memcpy(out + at, name, name_len);
	at += name_len;
	memcpy(out + at, lens[1], len_len[1]);
	at += len_len[1];
	if (value_len > 0)
		memcpy(out + at, value, value_len);
	return at + value_len;
}

static void put_frame_length(char *out, size_t len)
{
	out[0] = (char)(len >> 16);
	out[1] = (char)(len >> 8);
	out[2] = (char)len;
}

static void put_header(char *out, size_t len, enum http2_type type, unsigned flags, const char *stream)
{
	put_frame_length(out, len);
	out[3] = (char)type;
	out[4] = (char)flags;
	memcpy(out + 5, stream, 4);
}

/* The frame without END_HEADERS, and the fields in frames behind it. */
static size_t put_behind(char *out, size_t room, const char *frame, size_t frame_len, const char *fields,
                         size_t fields_len, uint32_t max_frame)
{
	size_t more = (fields_len + max_frame - 1) / max_frame;
	size_t at = frame_len;

	if (room < frame_len || room - frame_len < fields_len || room - frame_len - fields_len < more * FRAME_HEADER)
		return 0;
	memmove(out, frame, frame_len);
	out[4] = (char)((unsigned char)frame[4] & ~FLAG_END_HEADERS);
	while (fields_len > 0) {
		size_t n = fields_len < max_frame ? fields_len : max_frame;

		fields_len -= n;
		put_header(out + at, n, TYPE_CONTINUATION, fields_len == 0 ? FLAG_END_HEADERS : 0, frame + 5);
		memcpy(out + at + FRAME_HEADER, fields, n);
		at += FRAME_HEADER + n;
		fields += n;
	}
	return at;
}

size_t http2_extend_frame(char *out, size_t room, const char *frame, size_t frame_len, const char *fields,
                          size_t fields_len, uint32_t max_frame)
{
	const unsigned char *head = (const unsigned char *)frame;
	size_t len, pad = 0;

	if (frame_len < FRAME_HEADER || fields_len == 0 || max_frame == 0)
		return 0;
	len = http2_read_length(head);
	if (len != frame_len - FRAME_HEADER || (head[3] != TYPE_HEADERS && head[3] != TYPE_CONTINUATION) ||
	    !(head[4] & FLAG_END_HEADERS))
		return 0;
	if (head[3] == TYPE_HEADERS && head[4] & FLAG_PADDED)
		pad = len > 0 ? head[FRAME_HEADER] : SIZE_MAX;
	if (pad > len)
		return 0;
	if (len > max_frame || fields_len > max_frame - len)
		return put_behind(out, room, frame, frame_len, fields, fields_len, max_frame);
	if (room < frame_len || room - frame_len < fields_len)
		return 0;
	memmove(out + frame_len - pad + fields_len, frame + frame_len - pad, pad);
	memmove(out, frame, frame_len - pad);
	memcpy(out + frame_len - pad, fields, fields_len);
	put_frame_length(out, len + fields_len);
	return frame_len + fields_len;
}

/*
 * Between http2.c, http2_fields.c, http2_settings.c, http2_extend.c, and the short ways of http2_nameless.c, only.
 */
#ifndef TRACESHIM_HTTP2_INTERNAL_H
#define TRACESHIM_HTTP2_INTERNAL_H

#include <endian.h>
#include <string.h>

#include "http2.h"

/* RFC 9113 section 6. */
enum http2_type {
	TYPE_DATA,
	TYPE_HEADERS,
	TYPE_PRIORITY,
	TYPE_RST_STREAM,
	TYPE_SETTINGS,
	TYPE_PUSH_PROMISE,
	TYPE_PING,
	TYPE_GOAWAY,
	TYPE_WINDOW_UPDATE,
	TYPE_CONTINUATION
};

#define FLAG_ACK 0x01u
#define FLAG_END_STREAM 0x01u
#define FLAG_END_HEADERS 0x04u
#define FLAG_PADDED 0x08u
#define FLAG_PRIORITY 0x20u

#define FRAME_HEADER 9u

static inline uint32_t http2_read_16(const unsigned char *bytes)
{
	return (uint32_t)bytes[0] << 8 | bytes[1];
}

static inline uint32_t http2_read_32(const unsigned char *bytes)
{
	uint32_t word;

	memcpy(&word, bytes, sizeof(word));
	return be32toh(word);
}

/* The length of a frame, of its header's first bytes. */
static inline uint32_t http2_read_length(const unsigned char *header)
{
	return http2_read_32(header) >> 8;
}

/*
 * http2_fields.c. A block: begin, each field (false: beyond the limits), end, which decides what it is and whether it
 * is sound. `from` is who sends it.
 */
void http2_block_begin(struct http2_half *half);
bool http2_block_field(struct http2_half *half, enum http2_side from, const char *name, size_t name_len,
                       const char *value, size_t value_len);
void http2_block_end(struct http2_half *half, enum http2_side from);

/*
 * Of a block that is `in` and nothing else: is it the one that was there before? Then its fields have been taken. Else it is kept, and
 * when it was decoded, http2_block_remember makes it the one that may come again, where that can be. What is told of it meanwhile, is
 * noted.
 */
bool http2_block_repeats(struct http2_half *half, const char *in, size_t len);
void http2_block_note_told(struct http2_half *half, const char *name, size_t name_len, const char *value,
                           size_t value_len);
void http2_block_remember(struct http2_half *half);
/* What was told of the block that repeats: the field at *at, which moves on. Returns its value; NULL: no more. */
const char *http2_block_told(const struct http2_half *half, size_t *at, const char **name, uint16_t lens[2]);
void http2_block_free(struct http2_half *half);

/*
 * http2_settings.c. An entry of a SETTINGS frame (false: its value is an error), and the whole of it, for the direction
 * of the side that is to keep to it (false: too many); its acknowledgement by that side (false: of nothing, or HPACK
 * fails).
 */
bool http2_settings_say(struct http2_settings *said, enum http2_side from, const unsigned char element[6]);
bool http2_settings_announce(struct http2_half *half, const struct http2_settings *said);
bool http2_settings_acknowledge(struct http2_half *half);

/* The longest frame that may come in this direction. */
uint32_t http2_settings_longest_frame(const struct http2_half *half);

/* The direction's decoder, which knows all that came. NULL: no memory. */
struct hpack *http2_decoder(struct http2_half *half);

#endif

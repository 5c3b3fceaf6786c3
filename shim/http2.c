/*
 * Both directions of an HTTP/2 connection: frames.
 *
 * Mechanism. A state machine over elements, as for HTTP/1: a frame's header, the few octets that its type begins with,
 * the rest. Elements of a fixed size that are split over calls are put together in the half; all else is passed on as
 * it comes: the fragments of a block to HPACK, the lengths of data to the owner. What has no meaning for us
 * (WINDOW_UPDATE, PING, types that are not known) is passed by its length.
 *
 * A frame is judged by its header as far as that goes, so that nothing of it is believed before; what is reported of it
 * is reported at its last byte. Hence events do not depend on how the stream is split (the fuzz target's property).
 *
 * Memory: struct http2; HPACK's decoders (hpack.h), of which a direction gets one with its first block; a block of a pool where
 * something is told again (http2_fields.c). A header block
 * counts against LIMIT_HEAD_BYTES, encoded and decoded, LIMIT_HEAD_FIELDS and HTTP2_CONTINUATIONS. Callers: any thread,
 * signal handler or forked child, one at a time for one connection.
 *
 * Sources: RFC 9113 3.4 (preface), 4 (frames), 5.1.1 (stream ids), 6 (frame types), 10.5 (attacks).
 */
#include "http2_internal.h"

#include <string.h>

#include "hpack.h"

enum state {
	STATE_PREFACE,
	STATE_HEADER,
	STATE_PAD,      /* the octet that says how much padding there is */
	STATE_PRIORITY, /* the five octets of HEADERS with a priority */
	STATE_PROMISED, /* the four octets of PUSH_PROMISE */
	STATE_FRAGMENT,
	STATE_DATA,
	STATE_PADDING,
	STATE_SETTING, /* six octets */
	STATE_RESET,   /* four octets */
	STATE_GOAWAY,  /* eight octets, and what the server has to say */
	STATE_PASS     /* no matter what it is */
};

/* The arguments of one http2_feed; `p` moves on. */
struct input {
	const char *begin, *p, *end;
	struct http2 *h;
	struct http2_half *half;
	const struct http2_sink *sink;
	enum http2_side from;
};

void http2_init(struct http2 *h, bool upgraded)
{
	memset(h, 0, sizeof(*h));
	for (int side = HTTP2_CLIENT; side <= HTTP2_SERVER; side++) {
		struct http2_half *half = &h->half[side];

		half->state = side == HTTP2_CLIENT ? STATE_PREFACE : STATE_HEADER;
		half->max_frame = HTTP2_FRAME_MIN;
		half->max_list = UINT32_MAX;
		half->table = HPACK_TABLE_DEFAULT;
	}
	if (upgraded)
		h->half[HTTP2_CLIENT].last = 1;
}

void http2_free(struct http2 *h)
{
	for (int side = HTTP2_CLIENT; side <= HTTP2_SERVER; side++) {
		hpack_free(h->half[side].hpack);
		h->half[side].hpack = NULL;
		http2_block_free(&h->half[side]);
	}
}

static size_t available(const struct input *in)
{
	return (size_t)(in->end - in->p);
}

/* An element that has `size` bytes, put together where it is in pieces; there is at least one byte. NULL: not all of it is here yet. */
static const unsigned char *take_element(struct input *in, size_t size)
{
	struct http2_half *half = in->half;
	size_t n = size - half->part_len;
	const char *element = in->p;

	n = n < available(in) ? n : available(in);
	in->p += n;
	if (half->state != STATE_HEADER)
		half->remaining -= (uint32_t)n;
	if (n == size)
		return (const unsigned char *)element;
	memcpy(half->part + half->part_len, element, n);
	half->part_len = (uint8_t)(half->part_len + n);
	if (half->part_len < size)
		return NULL;
	half->part_len = 0;
	return half->part;
}

static enum http2_status take_preface(struct input *in)
{
	struct http2_half *half = in->half;

	while (in->p < in->end && half->part_len < HTTP2_PREFACE_LEN) {
		if (*in->p++ != HTTP2_PREFACE[half->part_len++])
			return HTTP2_ALIEN;
	}
	if (half->part_len == HTTP2_PREFACE_LEN) {
		half->part_len = 0;
		half->state = STATE_HEADER;
	}
	return HTTP2_MORE;
}

static enum http2_status take_setting(struct input *in)
{
	const unsigned char *element = take_element(in, 6);

	return element == NULL || http2_settings_say(&in->half->said, in->from, element) ? HTTP2_MORE : HTTP2_ALIEN;
}

/* ---- frame headers ---- */

/* Was the stream never opened, as far as both sides said? */
static bool is_idle(const struct http2 *h, uint32_t stream)
{
	return stream > h->half[stream & 1 ? HTTP2_CLIENT : HTTP2_SERVER].last;
}

/* HEADERS and PUSH_PROMISE begin a block. */
static enum http2_status begin_block(struct input *in)
{
	struct http2_half *half = in->half;
	struct http2_block *block = &half->block;

	block->opens = false;
	block->stream = half->stream;
	block->promised = 0;
	block->end_stream = half->type == TYPE_HEADERS && half->flags & FLAG_END_STREAM;
	if (half->type == TYPE_PUSH_PROMISE) {
		if (in->from == HTTP2_CLIENT || !(half->stream & 1) || is_idle(in->h, half->stream))
			return HTTP2_ALIEN;
	} else if (in->from == HTTP2_CLIENT) {
		if (!(half->stream & 1))
			return HTTP2_ALIEN;
		block->opens = half->stream > half->last;
		if (block->opens)
			half->last = half->stream;
	} else if (is_idle(in->h, half->stream)) {
		return HTTP2_ALIEN;
	}
	http2_block_begin(half);
	half->in_block = true;
	return HTTP2_MORE;
}

/* Its last one, as far as is known: behind the frame's header. */
static void note_block_frame(const struct input *in)
{
	struct http2_half *half = in->half;

	half->block.frame_type = half->type;
	half->block.frame_flags = half->flags;
	half->block.pad = 0;
	half->block.frame_len = half->remaining;
	half->block.frame_at = half->taken + (uint64_t)(in->p - in->begin) - FRAME_HEADER;
}

/* The payload's first element, and whether the frame may have this length and stream. */
static enum http2_status enter_block(struct input *in)
{
	struct http2_half *half = in->half;
	bool padded = half->type != TYPE_CONTINUATION && half->flags & FLAG_PADDED;
	bool priority = half->type == TYPE_HEADERS && half->flags & FLAG_PRIORITY;
	uint32_t fixed = (padded ? 1 : 0) + (priority ? 5 : 0) + (half->type == TYPE_PUSH_PROMISE ? 4 : 0);

	if (half->stream == 0 || half->remaining < fixed)
		return HTTP2_ALIEN;
	if (half->type == TYPE_CONTINUATION) {
		if (half->continuations++ == HTTP2_CONTINUATIONS)
			return HTTP2_ALIEN;
	} else if (begin_block(in) != HTTP2_MORE) {
		return HTTP2_ALIEN;
	}
	half->state = padded                          ? STATE_PAD :
	              priority                        ? STATE_PRIORITY :
	              half->type == TYPE_PUSH_PROMISE ? STATE_PROMISED :
	                                                STATE_FRAGMENT;
	note_block_frame(in);
	return HTTP2_MORE;
}

static enum http2_status enter_data(struct input *in)
{
	struct http2_half *half = in->half;
	bool padded = half->flags & FLAG_PADDED;

	half->state = padded ? STATE_PAD : STATE_DATA;
	if (half->stream == 0 || is_idle(in->h, half->stream) || (padded && half->remaining == 0) ||
	    (in->from == HTTP2_CLIENT && !(half->stream & 1)))
		return HTTP2_ALIEN;
	return HTTP2_MORE;
}

static enum http2_status enter_settings(struct http2_half *half)
{
	half->state = STATE_SETTING;
	half->said.said = 0;
	if (half->stream != 0 || half->remaining % 6 != 0 || (half->flags & FLAG_ACK && half->remaining != 0))
		return HTTP2_ALIEN;
	return HTTP2_MORE;
}

static enum http2_status enter_frame(struct input *in)
{
	struct http2_half *half = in->half;
	uint32_t len = half->remaining, stream = half->stream;

	switch (half->type) {
	case TYPE_DATA: return enter_data(in);
	case TYPE_HEADERS:
	case TYPE_PUSH_PROMISE:
	case TYPE_CONTINUATION: return enter_block(in);
	case TYPE_SETTINGS: return enter_settings(half);
	case TYPE_RST_STREAM:
		half->state = STATE_RESET;
		return len == 4 && stream != 0 && !is_idle(in->h, stream) ? HTTP2_MORE : HTTP2_ALIEN;
	case TYPE_GOAWAY: half->state = STATE_GOAWAY; return len >= 8 && stream == 0 ? HTTP2_MORE : HTTP2_ALIEN;
	case TYPE_PRIORITY: return len == 5 && stream != 0 ? HTTP2_MORE : HTTP2_ALIEN;
	case TYPE_PING: return len == 8 && stream == 0 ? HTTP2_MORE : HTTP2_ALIEN;
	case TYPE_WINDOW_UPDATE: return len == 4 ? HTTP2_MORE : HTTP2_ALIEN;
	default: return HTTP2_MORE;
	}
}

static enum http2_status take_header(struct input *in)
{
	struct http2_half *half = in->half;
	const unsigned char *element = take_element(in, FRAME_HEADER);
	uint32_t stream;

	if (element == NULL)
		return HTTP2_MORE;
	half->remaining = http2_read_length(element);
	half->type = element[3];
	half->flags = element[4];
	half->pad = 0;
	half->state = STATE_PASS;
	stream = http2_read_32(element + 5) & INT32_MAX;
	if (half->remaining > http2_settings_longest_frame(half))
		return HTTP2_ALIEN;
	if (!half->begun && (half->type != TYPE_SETTINGS || half->flags & FLAG_ACK))
		return HTTP2_ALIEN;
	if (half->in_block != (half->type == TYPE_CONTINUATION) || (half->in_block && stream != half->stream))
		return HTTP2_ALIEN;
	half->begun = true;
	half->stream = stream;
	return enter_frame(in);
}

/* ---- payloads ---- */

static enum http2_status take_pad(struct input *in)
{
	struct http2_half *half = in->half;
	const unsigned char *element = take_element(in, 1);
	bool priority = half->type == TYPE_HEADERS && half->flags & FLAG_PRIORITY;
	uint32_t fixed = (priority ? 5 : 0) + (half->type == TYPE_PUSH_PROMISE ? 4 : 0);

	if (element == NULL)
		return HTTP2_MORE;
	half->pad = element[0];
	if (half->pad > half->remaining - fixed)
		return HTTP2_ALIEN;
	half->state = half->type == TYPE_DATA         ? STATE_DATA :
	              priority                        ? STATE_PRIORITY :
	              half->type == TYPE_PUSH_PROMISE ? STATE_PROMISED :
	                                                STATE_FRAGMENT;
	if (half->type != TYPE_DATA)
		half->block.pad = half->pad;
	return HTTP2_MORE;
}

static enum http2_status take_promised(struct input *in)
{
	struct http2_half *half = in->half;
	const unsigned char *element = take_element(in, 4);
	uint32_t promised;

	if (element == NULL)
		return HTTP2_MORE;
	promised = http2_read_32(element) & INT32_MAX;
	if (promised & 1 || promised <= half->last)
		return HTTP2_ALIEN;
	half->last = promised;
	half->block.promised = promised;
	half->state = STATE_FRAGMENT;
	return HTTP2_MORE;
}

static bool pass_field(void *owner, const char *name, size_t name_len, const char *value, size_t value_len)
{
	struct input *in = owner;

	if (!http2_block_field(in->half, in->from, name, name_len, value, value_len))
		return false;
	if (in->sink == NULL || in->sink->field == NULL ||
	    (in->sink->wants != NULL && !in->sink->wants(name, name_len)))
		return true;
	http2_block_note_told(in->half, name, name_len, value, value_len);
	in->sink->field(in->sink->owner, &in->half->block, name, name_len, value, value_len);
	return true;
}

/* Is it the block that was there before? Then all that is to be told of it is told. */
static bool repeats(const struct input *in, const char *block, size_t len)
{
	const struct http2_half *half = in->half;
	const char *name, *value;
	uint16_t lens[2];
	size_t at = 0;

	if (!http2_block_repeats(in->half, block, len))
		return false;
	while ((value = http2_block_told(half, &at, &name, lens)) != NULL)
		in->sink->field(in->sink->owner, &half->block, name, lens[0], value, lens[1]);
	return true;
}

/* What is left of the payload before its padding, as far as it is here: taken. */
static size_t take_rest(struct input *in)
{
	struct http2_half *half = in->half;
	size_t n = half->remaining - half->pad;

	n = n < available(in) ? n : available(in);
	in->p += n;
	half->remaining -= (uint32_t)n;
	if (half->remaining == half->pad)
		half->state = STATE_PADDING;
	return n;
}

static enum http2_status take_fragment(struct input *in)
{
	struct http2_half *half = in->half;
	const char *fragment = in->p;
	size_t n = take_rest(in);
	bool whole = half->block_bytes == 0 && half->remaining == half->pad && half->type == TYPE_HEADERS &&
	             half->flags & FLAG_END_HEADERS;

	if (n > LIMIT_HEAD_BYTES - half->block_bytes)
		return HTTP2_ALIEN;
	half->block_bytes += (uint32_t)n;
	if (half->undecoded || (whole && repeats(in, fragment, n)))
		return HTTP2_MORE;
	return http2_decoder(half) != NULL && hpack_feed(half->hpack, fragment, n, false, pass_field, in) ? HTTP2_MORE :
	                                                                                                    HTTP2_ALIEN;
}

static enum http2_status take_data(struct input *in)
{
	size_t n = take_rest(in);

	if (n > 0 && in->sink != NULL && in->sink->data != NULL)
		in->sink->data(in->sink->owner, in->half->stream, n);
	return HTTP2_MORE;
}

/* The code of RST_STREAM, the stream and the code of GOAWAY: reported when the frame is over. */
static enum http2_status take_codes(struct input *in, size_t size)
{
	struct http2_half *half = in->half;
	const unsigned char *element = take_element(in, size);

	if (element == NULL)
		return HTTP2_MORE;
	if (size == 8)
		half->stream = http2_read_32(element) & INT32_MAX;
	half->code = http2_read_32(element + size - 4);
	half->state = STATE_PASS;
	return HTTP2_MORE;
}

static enum http2_status finish_block(struct input *in)
{
	struct http2_half *half = in->half;

	if (!(half->flags & FLAG_END_HEADERS))
		return HTTP2_MORE;
	half->in_block = false;
	if (half->undecoded) {
		half->block.kind = half->block.promised != 0 ? HTTP2_PROMISE : HTTP2_RESPONSE;
		return HTTP2_BLOCK;
	}
	if (!half->known) {
		if (http2_decoder(half) == NULL || !hpack_feed(half->hpack, NULL, 0, true, pass_field, in))
			return HTTP2_ALIEN;
		http2_block_remember(half);
	}
	http2_block_end(half, in->from);
	return HTTP2_BLOCK;
}

/* What SETTINGS say holds for what the other side sends. */
static enum http2_status finish_settings(struct input *in)
{
	struct http2_half *half = in->half;
	struct http2_half *other = &in->h->half[in->from == HTTP2_CLIENT ? HTTP2_SERVER : HTTP2_CLIENT];

	if (half->flags & FLAG_ACK)
		return http2_settings_acknowledge(half) ? HTTP2_SETTINGS_ACK : HTTP2_ALIEN;
	return http2_settings_announce(other, &half->said) ? HTTP2_SETTINGS : HTTP2_ALIEN;
}

/* Behind the last byte of a frame. */
static enum http2_status finish_frame(struct input *in)
{
	struct http2_half *half = in->half;

	half->state = STATE_HEADER;
	switch (half->type) {
	case TYPE_DATA: return half->flags & FLAG_END_STREAM ? HTTP2_END : HTTP2_MORE;
	case TYPE_HEADERS:
	case TYPE_PUSH_PROMISE:
	case TYPE_CONTINUATION: return finish_block(in);
	case TYPE_SETTINGS: return finish_settings(in);
	case TYPE_RST_STREAM: return HTTP2_RESET;
	case TYPE_GOAWAY: return HTTP2_GOAWAY;
	default: return HTTP2_MORE;
	}
}

static enum http2_status take_payload(struct input *in)
{
	switch (in->half->state) {
	case STATE_PAD: return take_pad(in);
	case STATE_PRIORITY:
		if (take_element(in, 5) != NULL)
			in->half->state = STATE_FRAGMENT;
		return HTTP2_MORE;
	case STATE_PROMISED: return take_promised(in);
	case STATE_FRAGMENT: return take_fragment(in);
	case STATE_DATA: return take_data(in);
	case STATE_SETTING: return take_setting(in);
	case STATE_RESET: return take_codes(in, 4);
	case STATE_GOAWAY: return take_codes(in, 8);
	default: { /* STATE_PADDING, STATE_PASS */
		size_t n = in->half->remaining < available(in) ? in->half->remaining : available(in);

		in->p += n;
		in->half->remaining -= (uint32_t)n;
		return HTTP2_MORE;
	}
	}
}

/* A block that is one frame of HEADERS, all of which is here, without padding and priority. */
static enum http2_status take_block(struct input *in, uint32_t len)
{
	struct http2_half *half = in->half;
	enum http2_status status;

	half->remaining = len;
	in->p += FRAME_HEADER;
	if (begin_block(in) != HTTP2_MORE)
		return HTTP2_ALIEN;
	note_block_frame(in);
	status = take_fragment(in);
	half->state = STATE_HEADER;
	return status == HTTP2_MORE ? finish_block(in) : status;
}

/*
 * What most frames are: HEADERS and DATA with nothing in them but a whole block, or data, and all of it here. false: it is something
 * else (which may be an error), and goes through the states.
 */
static bool take_usual_frame(struct input *in, enum http2_status *status)
{
	const unsigned char *header = (const unsigned char *)in->p;
	struct http2_half *half = in->half;
	uint32_t len, stream;
	unsigned flags;

	if (half->part_len > 0 || available(in) <= FRAME_HEADER || header[3] > TYPE_HEADERS || half->in_block ||
	    !half->begun)
		return false;
	len = http2_read_length(header);
	flags = header[4];
	stream = http2_read_32(header + 5) & INT32_MAX;
	if (len == 0 || len > available(in) - FRAME_HEADER || len > half->max_frame || stream == 0 ||
	    flags & (FLAG_PADDED | FLAG_PRIORITY))
		return false;
	if (header[3] == TYPE_HEADERS ? !(flags & FLAG_END_HEADERS) :
	                                is_idle(in->h, stream) || (in->from == HTTP2_CLIENT && !(stream & 1)))
		return false;
	half->type = header[3];
	half->flags = (uint8_t)flags;
	half->stream = stream;
	half->pad = 0;
	if (half->type == TYPE_HEADERS) {
		*status = take_block(in, len);
		return true;
	}
	in->p += FRAME_HEADER + len;
	if (in->sink != NULL && in->sink->data != NULL)
		in->sink->data(in->sink->owner, stream, len);
	*status = flags & FLAG_END_STREAM ? HTTP2_END : HTTP2_MORE;
	return true;
}

/* One element. A frame is over with its last byte, which is its header's where it has no payload. */
static enum http2_status take_step(struct input *in)
{
	struct http2_half *half = in->half;
	enum http2_status status;

	if (half->state == STATE_PREFACE)
		return take_preface(in);
	if (half->state == STATE_HEADER) {
		if (take_usual_frame(in, &status))
			return status;
		status = take_header(in);
		if (status != HTTP2_MORE || half->state == STATE_HEADER)
			return status;
	} else {
		status = take_payload(in);
	}
	return status == HTTP2_MORE && half->remaining == 0 ? finish_frame(in) : status;
}

enum http2_status http2_feed(struct http2 *h, enum http2_side from, const struct http2_sink *sink, const char *in,
                             size_t len, size_t *used)
{
	struct input input = { .h = h, .half = &h->half[from], .sink = sink, .from = from };
	enum http2_status status = h->alien ? HTTP2_ALIEN : HTTP2_MORE;

	input.p = input.begin = in;
	input.end = len > 0 ? in + len : in;
	while (status == HTTP2_MORE && input.p < input.end)
		status = take_step(&input);
	if (status == HTTP2_ALIEN) {
		h->alien = true;
		input.p = input.end;
	}
	*used = (size_t)(input.p - input.begin);
	h->half[from].taken += *used;
	return status;
}

enum http2_status http2_skip(struct http2 *h, enum http2_side from, const struct http2_sink *sink, uint64_t len,
                             uint64_t *used)
{
	struct http2_half *half = &h->half[from];
	uint32_t room = half->state == STATE_DATA ? half->remaining - half->pad : 0;
	enum http2_status status = HTTP2_MORE;
	size_t n = len < room ? (size_t)len : room, taken;

	/* Data, whose bytes are counted, and not looked at. */
	if (n > 0)
		status = http2_feed(h, from, sink, (const char *)half, n, &taken);
	*used = n;
	if (h->alien || (n < len && status != HTTP2_END)) {
		h->alien = true;
		half->taken += len - n;
		*used = len;
		return HTTP2_ALIEN;
	}
	return status;
}

uint32_t http2_left(const struct http2_half *half)
{
	if (half->state == STATE_PREFACE)
		return HTTP2_PREFACE_LEN - half->part_len;
	return half->state == STATE_HEADER ? 0 : half->remaining;
}

__attribute__((noinline)) bool http2_between_frames(const struct http2 *h, enum http2_side from)
{
	const struct http2_half *half = &h->half[from];

	return !h->alien && half->state == STATE_HEADER && half->part_len == 0 && !half->in_block;
}

enum http2_sniff http2_sniff_preface(const char *in, size_t len)
{
	if (len > 0 && memcmp(in, HTTP2_PREFACE, len < HTTP2_PREFACE_LEN ? len : HTTP2_PREFACE_LEN) != 0)
		return HTTP2_SNIFF_NO;
	return len < HTTP2_PREFACE_LEN ? HTTP2_SNIFF_MAYBE : HTTP2_SNIFF_YES;
}

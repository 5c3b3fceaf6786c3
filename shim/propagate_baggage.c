/*
 * W3C Baggage, and the log fields that are made from baggage members and from request headers.
 *
 * Baggage goes on as it came: the headers joined with ',', not one byte changed, so that what another vendor's library
 * put there survives. It only has to be fit for a header line (printable ASCII, which percent-encoding guarantees), to
 * hold at least one member that can be read, and to stay within LIMIT_BAGGAGE; a header that fails is dropped whole and
 * counted.
 *
 * A log field is the first occurrence of its header or key. Its value is cut to LIMIT_FIELD_VALUE bytes, at the
 * boundary of a UTF-8 character, and refused when it has control characters: such a value was made to forge something.
 * From baggage it must be percent-encoded UTF-8; of request headers, whose charset nobody states, any other byte is
 * taken.
 *
 * Called by propagate.c; the same rules. Memory: the context's text area.
 * Sources: W3C Baggage 3.3.1 and 3.3.2; RFC 3629 for UTF-8.
 */
#include "propagate_internal.h"

#include "counters.h"
#include "ids.h"

/* A key as RFC 9110 5.6.2 has it. Bit c-32 of the words: is it a token character? */
static bool is_token(struct propagate_piece name)
{
	static const uint32_t token[3] = { 0x03ff6cfau, 0xc7fffffeu, 0x57ffffffu };

	for (size_t i = 0; i < name.len; i++) {
		unsigned c = (unsigned char)name.at[i] - 32u;

		if (c >= 96 || !(token[c / 32] >> (c % 32) & 1))
			return false;
	}
	return name.len > 0;
}

static struct propagate_piece trim(struct propagate_piece piece)
{
	while (piece.len > 0 && (piece.at[0] == ' ' || piece.at[0] == '\t')) {
		piece.at++;
		piece.len--;
	}
	while (piece.len > 0 && (piece.at[piece.len - 1] == ' ' || piece.at[piece.len - 1] == '\t'))
		piece.len--;
	return piece;
}

/* key=value;properties. The value without its properties, still encoded; false when it is no member. */
static bool read_member(struct propagate_piece member, struct propagate_piece *key, struct propagate_piece *value)
{
	const char *semicolon = memchr(member.at, ';', member.len), *equals;

	if (semicolon != NULL)
		member.len = (size_t)(semicolon - member.at);
	equals = memchr(member.at, '=', member.len);
	if (equals == NULL)
		return false;
	*key = trim((struct propagate_piece){ member.at, (size_t)(equals - member.at) });
	*value = trim((struct propagate_piece){ equals + 1, member.len - (size_t)(equals + 1 - member.at) });
	return is_token(*key);
}

/* Length of the UTF-8 character at `at`, or 0: none that is well-formed and whole. RFC 3629 section 4. */
static size_t utf8_len(const unsigned char *at, size_t len)
{
	size_t need = at[0] < 0x80 ? 1 : at[0] < 0xc2 ? 0 : at[0] < 0xe0 ? 2 : at[0] < 0xf0 ? 3 : at[0] < 0xf5 ? 4 : 0;
	unsigned char low = at[0] == 0xe0 ? 0xa0 : at[0] == 0xf0 ? 0x90 : 0x80;
	unsigned char high = at[0] == 0xed ? 0x9f : at[0] == 0xf4 ? 0x8f : 0xbf;

	if (need > len || need == 0)
		return 0;
	if (need > 1 && (at[1] < low || at[1] > high))
		return 0;
	for (size_t i = 2; i < need; i++)
		if (at[i] < 0x80 || at[i] > 0xbf)
			return 0;
	return need;
}

static bool is_utf8(const char *at, size_t len)
{
	size_t step;

	for (; len > 0; at += step, len -= step)
		if ((step = utf8_len((const unsigned char *)at, len)) == 0)
			return false;
	return true;
}

/* Where to cut `len` bytes to `most`: before a character that would be split (at most three bytes earlier). */
static size_t cut_utf8(const char *at, size_t len, size_t most)
{
	size_t cut = most;

	if (len <= most)
		return len;
	while (cut > 0 && most - cut < 3 && ((unsigned char)at[cut] & 0xc0) == 0x80)
		cut--;
	return ((unsigned char)at[cut] & 0xc0) == 0x80 ? most : cut;
}

static bool has_control(const char *at, size_t len)
{
	for (size_t i = 0; i < len; i++)
		if ((unsigned char)at[i] < ' ' || at[i] == 0x7f)
			return true;
	return false;
}

/* Percent-decode until `room` bytes are full; what is left would be cut off anyway. False: a broken escape. */
static bool decode(struct propagate_piece value, char *out, size_t room, size_t *out_len)
{
	size_t len = 0;

	for (size_t i = 0; i < value.len && len < room; i++) {
		uint8_t byte = (uint8_t)value.at[i];

		if (byte == '%') {
			if (value.len - i < 3 || ids_unhex(&byte, value.at + i + 1, 1, 0) != 0)
				return false;
			i += 2;
		}
		out[len++] = (char)byte;
	}
	*out_len = len;
	return true;
}

static void take_member(struct trace_context *ctx, size_t i, struct propagate_piece value)
{
	char decoded[LIMIT_FIELD_VALUE + 1]; /* one more, to see whether a character would be split */
	size_t len;

	if (value.len == 0)
		return;
	if (!decode(value, decoded, sizeof(decoded), &len)) {
		counters_count(baggage_invalid);
		return;
	}
	len = cut_utf8(decoded, len, LIMIT_FIELD_VALUE);
	if (has_control(decoded, len) || !is_utf8(decoded, len))
		counters_count(baggage_invalid);
	else
		(void)propagate_add_text(&ctx->text, decoded, len, &ctx->field[i]);
}

static void take_members(struct trace_context *ctx, struct propagate_piece list)
{
	struct propagate_piece member, key, value;

	while (propagate_next_member(&list, &member)) {
		if (!read_member(member, &key, &value))
			continue;
		for (size_t i = 0; i < config.field_count; i++) {
			const struct config_field *field = &config.field[i];

			if (field->from_baggage && ctx->field[i].len == 0 && field->source.len == key.len &&
			    memcmp(field->source.text, key.at, key.len) == 0)
				take_member(ctx, i, value);
		}
	}
}

static bool has_member(struct propagate_piece list)
{
	struct propagate_piece member, key, value;

	while (propagate_next_member(&list, &member))
		if (read_member(member, &key, &value))
			return true;
	return false;
}

/* Put the header behind what there is already, all in one piece. */
static bool append(struct trace_context *ctx, const char *value, size_t len)
{
	struct text *text = &ctx->text;
	struct slice *slice = &ctx->baggage, whole = *slice;
	bool at_end = slice->len > 0 && slice->off + slice->len == text->len;
	size_t copied = at_end || slice->len == 0 ? 0 : slice->len;
	size_t comma = slice->len > 0 ? 1 : 0;

	if (copied + comma + len > (size_t)(text->cap - text->len)) {
		counters_count(no_memory_skipped);
		return false;
	}
	if (!at_end)
		whole.off = text->len;
	memcpy(text->data + text->len, text->data + slice->off, copied);
	text->len = (uint16_t)(text->len + copied);
	if (comma)
		text->data[text->len++] = ',';
	memcpy(text->data + text->len, value, len);
	text->len = (uint16_t)(text->len + len);
	whole.len = (uint16_t)(text->len - whole.off);
	*slice = whole;
	return true;
}

void propagate_take_baggage(struct trace_context *ctx, const char *value, size_t len)
{
	struct propagate_piece list = { value, len };
	size_t before = ctx->baggage.len > 0 ? ctx->baggage.len + 1u : 0; /* with its comma */

	if (len == 0)
		return;
	if (before + len > LIMIT_BAGGAGE || !propagate_is_printable(value, len) || !has_member(list)) {
		counters_count(baggage_invalid);
		return;
	}
	if (append(ctx, value, len))
		take_members(ctx, list);
}

void propagate_take_fields(struct trace_context *ctx, const char *name, size_t name_len, const char *value, size_t len)
{
	for (size_t i = 0; i < config.field_count; i++) {
		const struct config_field *field = &config.field[i];
		size_t cut;

		if (field->from_baggage || ctx->field[i].len > 0 || len == 0 || field->source.len != name_len ||
		    memcmp(field->source.text, name, name_len) != 0)
			continue;
		cut = cut_utf8(value, len, LIMIT_FIELD_VALUE);
		if (has_control(value, cut))
			counters_count(ids_invalid);
		else
			(void)propagate_add_text(&ctx->text, value, cut, &ctx->field[i]);
	}
}

/*
 * What the fields of an HTTP/2 block say about it: whether it is a request, a response or trailers, and whether every
 * reader must take it for the same.
 *
 * Unlike in HTTP/1 a wrong field is an error of its stream, not of the connection: frames say where the next block
 * begins. So nothing here poisons anything but what goes beyond the limits, and a block that breaks a rule is unsound.
 *
 * A block that comes again is not decoded again. Where it enters fields into HPACK's table, they are entered when the decoder is asked for
 * anything else. How often it came matters only as far as the table is filled: the table is the end of the sequence of all that was
 * entered, as much of it as there is room for (RFC 7541 4.4), so that once the same fields fill it alone, more of them change nothing.
 *
 * Memory: the half's, and a block of a pool for what was told of the block that may come again. Callers: http2.c.
 *
 * Sources: RFC 9113 8.2 (fields), 8.3 (pseudo-fields), 8.5 (CONNECT); RFC 8441 (:protocol); RFC 9110 5.6.2 (tokens);
 * gRPC, doc/PROTOCOL-HTTP2.md.
 */
#include "http2_internal.h"

#include <string.h>

#include "hpack.h"
#include "http1_head.h"
#include "pool.h"

POOL(tolds, sizeof(struct http2_told), 4);

/* Bits of struct http2_half, `seen`. */
#define SEEN_METHOD 0x001u
#define SEEN_SCHEME 0x002u
#define SEEN_AUTHORITY 0x004u
#define SEEN_PATH 0x008u
#define SEEN_PROTOCOL 0x010u
#define SEEN_STATUS 0x020u
#define SEEN_PSEUDO 0x03fu
#define SEEN_REGULAR 0x040u
#define SEEN_CONNECT 0x080u
#define SEEN_EMPTY 0x100u /* a :path of no character, or :scheme */
#define SEEN_WRONG 0x200u

#define IS(text, len, literal) ((len) == sizeof(literal) - 1 && memcmp(text, literal, sizeof(literal) - 1) == 0)

/* Letters (lower case), digits and the marks that a token may have. */
static bool is_name(const char *name, size_t len)
{
	for (size_t i = 0; i < len; i++) {
		if (name[i] == 0 || http1_token_lower(name[i]) != name[i])
			return false;
	}
	return len > 0;
}

/* No control byte but HTAB. */
static bool is_value(const char *value, size_t len)
{
	return http1_find_control(value, value + len) == value + len;
}

/* Names that mean something here; those of pseudo-fields are in the order of their bits in `seen`. */
enum name {
	NAME_METHOD,
	NAME_SCHEME,
	NAME_AUTHORITY,
	NAME_PATH,
	NAME_PROTOCOL,
	NAME_STATUS,
	NAME_CONTENT_TYPE,
	NAME_GRPC_STATUS,
	NAME_TE,
	NAME_OF_CONNECTION, /* and all behind it: fields that say how HTTP/1 frames its messages */
	NAME_OTHER = 14
};

static unsigned find_name(const char *name, size_t len)
{
	static const char names[] = "\7:method\7:scheme\12:authority\5:path\11:protocol\7:status"
				    "\14content-type\13grpc-status\2te"
				    "\7upgrade\12connection\12keep-alive\20proxy-connection\21transfer-encoding";
	const char *at = names;
	unsigned found = 0;

	while (found < NAME_OTHER && ((size_t)*at != len || memcmp(at + 1, name, len) != 0)) {
		at += 1 + *at;
		found++;
	}
	return found;
}

/* Three digits, of which the first says that there is such a class; else 0. */
static uint16_t read_status(const char *value, size_t len)
{
	unsigned status = 0;

	if (len != 3 || value[0] < '1' || value[0] > '9')
		return 0;
	for (size_t i = 0; i < len; i++) {
		if (value[i] < '0' || value[i] > '9')
			return 0;
		status = status * 10 + (unsigned)(value[i] - '0');
	}
	return (uint16_t)status;
}

/* Is this content-type gRPC's? (its PROTOCOL-HTTP2.md, as what follows) */
static bool is_grpc(const char *value, size_t len)
{
	static const char type[] = "application/grpc";
	size_t type_len = sizeof(type) - 1;

	return len >= type_len && memcmp(value, type, type_len) == 0 &&
	       (len == type_len || value[type_len] == '+' || value[type_len] == ';');
}

/* How a call of gRPC went: 0 to 16. */
static uint8_t read_grpc_status(const char *value, size_t len)
{
	unsigned status = 0;

	if (len < 1 || len > 2)
		return HTTP2_NO_GRPC_STATUS;
	for (size_t i = 0; i < len; i++) {
		if (value[i] < '0' || value[i] > '9')
			return HTTP2_NO_GRPC_STATUS;
		status = status * 10 + (unsigned)(value[i] - '0');
	}
	return status <= 16 ? (uint8_t)status : HTTP2_NO_GRPC_STATUS;
}

/* Returns the bits of a regular field. */
static unsigned read_regular(struct http2_block *block, unsigned name, const char *value, size_t value_len)
{
	uint8_t status;

	switch (name) {
	case NAME_CONTENT_TYPE: block->grpc = is_grpc(value, value_len); return SEEN_REGULAR;
	case NAME_GRPC_STATUS:
		status = read_grpc_status(value, value_len);
		if (status != HTTP2_NO_GRPC_STATUS)
			block->grpc_status = status;
		return SEEN_REGULAR;
	case NAME_TE: return IS(value, value_len, "trailers") ? SEEN_REGULAR : SEEN_REGULAR | SEEN_WRONG;
	default: return name >= NAME_OF_CONNECTION && name < NAME_OTHER ? SEEN_REGULAR | SEEN_WRONG : SEEN_REGULAR;
	}
}

static unsigned read_pseudo(struct http2_half *half, unsigned name, const char *value, size_t value_len)
{
	unsigned bit = 1u << name;

	if (name > NAME_STATUS || half->seen & (bit | SEEN_REGULAR))
		return SEEN_WRONG;
	if (bit == SEEN_STATUS) {
		half->block.status = read_status(value, value_len);
		return half->block.status == 0 ? bit | SEEN_WRONG : bit;
	}
	if (bit == SEEN_METHOD) {
		if (value_len == 0)
			return bit | SEEN_WRONG;
		return IS(value, value_len, "CONNECT") ? bit | SEEN_CONNECT : bit;
	}
	return (bit & (SEEN_PATH | SEEN_SCHEME)) && value_len == 0 ? bit | SEEN_EMPTY : bit;
}

/* Are the pseudo-fields of a request those that it must have? */
static bool is_request(unsigned seen)
{
	if ((seen & SEEN_METHOD) == 0 || seen & SEEN_EMPTY)
		return false;
	if (seen & SEEN_CONNECT && !(seen & SEEN_PROTOCOL))
		return (seen & (SEEN_AUTHORITY | SEEN_SCHEME | SEEN_PATH)) == SEEN_AUTHORITY;
	if (seen & SEEN_PROTOCOL && !(seen & SEEN_CONNECT))
		return false;
	return (seen & SEEN_SCHEME) && (seen & SEEN_PATH);
}

void http2_block_begin(struct http2_half *half)
{
	half->seen = 0;
	half->block_bytes = 0;
	half->continuations = 0;
	half->block.fields = 0;
	half->block.list_bytes = 0;
	half->block.status = 0;
	half->block.grpc = false;
	half->block.grpc_status = HTTP2_NO_GRPC_STATUS;
	half->block.sound = false;
	half->known = half->untold = false;
	half->kept_len = 0;
}

bool http2_block_repeats(struct http2_half *half, const char *in, size_t len)
{
	struct http2_repeated *before = &half->repeated;
	struct http2_block *block = &half->block;

	if (len == 0 || len > sizeof(before->bytes))
		return false;
	if (before->len != len || memcmp(before->bytes, in, len) != 0) {
		if (before->due > 0)
			(void)http2_decoder(half); /* if it cannot, it never will again */
		before->len = 0;
		memcpy(before->bytes, in, len);
		half->kept_len = (uint8_t)len;
		if (half->told != NULL)
			half->told->len = 0;
		return false;
	}
	if (before->due < before->enough)
		before->due++;
	half->seen = before->seen;
	block->fields = before->fields;
	block->list_bytes = before->list_bytes;
	block->status = before->status;
	block->grpc = before->grpc;
	block->grpc_status = before->grpc_status;
	half->known = true;
	return true;
}

void http2_block_note_told(struct http2_half *half, const char *name, size_t name_len, const char *value,
                           size_t value_len)
{
	uint16_t lens[2] = { (uint16_t)name_len, (uint16_t)value_len };
	char *out;

	if (half->kept_len == 0 || half->untold)
		return;
	half->untold = true;
	if (half->told == NULL) {
		half->told = pool_take(&tolds);
		if (half->told == NULL)
			return;
		half->told->len = 0;
	}
	if (name_len > HTTP2_TOLD_MAX || value_len > HTTP2_TOLD_MAX ||
	    name_len + value_len + sizeof(lens) > HTTP2_TOLD_MAX - (size_t)half->told->len)
		return;
	out = half->told->text + half->told->len;
	memcpy(out, lens, sizeof(lens));
	memcpy(out + sizeof(lens), name, name_len);
	if (value_len > 0)
		memcpy(out + sizeof(lens) + name_len, value, value_len);
	half->told->len = (uint16_t)(half->told->len + sizeof(lens) + name_len + value_len);
	half->untold = false;
}

const char *http2_block_told(const struct http2_half *half, size_t *at, const char **name, uint16_t lens[2])
{
	if (half->told == NULL || *at == half->told->len)
		return NULL;
	memcpy(lens, half->told->text + *at, 2 * sizeof(lens[0]));
	*name = half->told->text + *at + 2 * sizeof(lens[0]);
	*at += 2 * sizeof(lens[0]) + lens[0] + lens[1];
	return *name + lens[0];
}

void http2_block_free(struct http2_half *half)
{
	if (half->told != NULL)
		pool_give(&tolds, half->told);
	half->told = NULL;
}

void http2_block_remember(struct http2_half *half)
{
	struct http2_repeated *block = &half->repeated;
	unsigned entered;

	block->len = 0;
	if (half->untold || half->kept_len == 0 || !hpack_means_the_same(block->bytes, half->kept_len, &entered))
		return;
	block->enough = entered > 0 ? (uint16_t)(half->table / (entered * HPACK_ENTRY_MIN) + 1) : 0;
	block->seen = half->seen;
	block->fields = half->block.fields;
	block->list_bytes = half->block.list_bytes;
	block->status = half->block.status;
	block->grpc = half->block.grpc;
	block->grpc_status = half->block.grpc_status;
	block->request = half->block.opens && is_request(half->seen) && !(half->seen & SEEN_WRONG) && entered == 0 &&
	                 (half->told == NULL || half->told->len == 0);
	block->len = half->kept_len;
}

bool http2_block_field(struct http2_half *half, enum http2_side from, const char *name, size_t name_len,
                       const char *value, size_t value_len)
{
	struct http2_block *block = &half->block;
	unsigned known, said;

	if (block->fields == LIMIT_HEAD_FIELDS || name_len + value_len + 32 > LIMIT_HEAD_BYTES - block->list_bytes)
		return false;
	block->fields++;
	block->list_bytes += (uint32_t)(name_len + value_len + 32);
	known = find_name(name, name_len);
	if (name_len > 0 && name[0] == ':') {
		bool asks = from == HTTP2_CLIENT || block->promised != 0;

		said = read_pseudo(half, known, value, value_len);
		if (said & (asks ? SEEN_STATUS : SEEN_PSEUDO & ~SEEN_STATUS))
			said |= SEEN_WRONG;
	} else {
		said = read_regular(block, known, value, value_len);
		if (known == NAME_OTHER && !is_name(name, name_len))
			said |= SEEN_WRONG;
	}
	if (!is_value(value, value_len))
		said |= SEEN_WRONG;
	half->seen |= (uint16_t)said;
	return true;
}

void http2_block_end(struct http2_half *half, enum http2_side from)
{
	struct http2_block *block = &half->block;
	unsigned seen = half->seen;
	bool sound;

	if (block->promised != 0 || (from == HTTP2_CLIENT && block->opens)) {
		block->kind = block->promised != 0 ? HTTP2_PROMISE : HTTP2_REQUEST;
		sound = is_request(seen);
	} else if (from == HTTP2_SERVER && block->status != 0) {
		block->kind = block->status < 200 ? HTTP2_INTERIM : HTTP2_RESPONSE;
		sound = block->status >= 200 || (block->status != 101 && !block->end_stream);
	} else {
		block->kind = HTTP2_TRAILERS;
		sound = (seen & SEEN_PSEUDO) == 0 && block->end_stream;
	}
	block->sound = sound && !(seen & SEEN_WRONG);
}

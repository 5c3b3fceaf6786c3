/*
 * W3C Trace Context: traceparent and tracestate, inbound.
 *
 * traceparent is a fixed form. tracestate is a list that may be spread over several headers; it is validated whole,
 * header by header, and one wrong member, a key that comes twice, or more than 32 members make all of it void (it then
 * never affects traceparent). What is kept is at most LIMIT_TRACESTATE bytes. When there is more, members over 128
 * characters go first, from the end, then the others, from the end; that is done as each header comes, and the outcome
 * is the same as if it were done at the end: once a large member had to go no later large one is taken, and once
 * another had to go nothing later is taken, so what stays is always 'a prefix of the large ones and all small ones' or
 * 'a prefix of the small ones'. (Of members left out in an earlier header the key is forgotten, so a repetition of it
 * is not noticed.)
 *
 * Called by propagate.c; the same rules. Memory: the context's text area; 192 bytes of stack for the members, and 512
 * where a second header comes. Source: W3C Trace Context level 2, sections 3.2 and 3.3, and level 1 for the
 * multi-tenant keys.
 */
#include "propagate_internal.h"

#include "counters.h"
#include "ids.h"

#define LARGE_MEMBER 128

bool propagate_parse_traceparent(const char *value, size_t len, struct propagate_ids *ids)
{
	uint8_t version;

	if (len < TRACEPARENT_LEN || value[2] != '-' || value[35] != '-' || value[52] != '-')
		return false;
	if (ids_unhex(&version, value, 1, 1) != 0 || version == 0xff)
		return false;
	if (len > TRACEPARENT_LEN && (version == 0 || value[55] != '-'))
		return false;
	if (ids_unhex(ids->trace_id, value + 3, 16, 1) != 0 || ids_unhex(ids->span_id, value + 36, 8, 1) != 0 ||
	    ids_unhex(&ids->flags, value + 53, 1, 1) != 0)
		return false;
	ids->flags &= TRACE_FLAG_SAMPLED | TRACE_FLAG_RANDOM;
	return !propagate_is_zero(ids->trace_id, 16) && !propagate_is_zero(ids->span_id, 8);
}

static bool is_lower(char c)
{
	return c >= 'a' && c <= 'z';
}

static bool is_lower_or_digit(char c)
{
	return is_lower(c) || (c >= '0' && c <= '9');
}

/* Either a simple key, or tenant@system. */
static bool is_key(const char *key, size_t len)
{
	const char *at = memchr(key, '@', len);
	size_t system = at != NULL ? len - (size_t)(at + 1 - key) : 0;

	if (len == 0 || len > 256 || !is_lower_or_digit(key[0]))
		return false;
	if (at != NULL && (at - key > 241 || system == 0 || system > 14 || !is_lower(at[1])))
		return false;
	for (size_t i = 0; i < len; i++)
		if (!is_lower_or_digit(key[i]) && key[i] != '_' && key[i] != '-' && key[i] != '*' && key[i] != '/' &&
		    key + i != at)
			return false;
	return true;
}

/* The member had its white space taken off, so the value cannot end in a space. */
static bool is_value(const char *value, size_t len)
{
	return len >= 1 && len <= 256 && propagate_is_printable(value, len) && memchr(value, '=', len) == NULL;
}

/* Members of the text kept so far (the first `kept`) and of the header that has just come. */
struct members {
	struct {
		uint16_t off, len, key;
	} member[LIMIT_TRACESTATE_MEMBERS]; /* len 0: left out */
	const char *kept_text, *text;
	size_t kept, count;
};

static struct propagate_piece member_at(const struct members *m, size_t i)
{
	return (struct propagate_piece){ (i < m->kept ? m->kept_text : m->text) + m->member[i].off, m->member[i].len };
}

static bool is_repeated(const struct members *m, size_t last)
{
	const char *key = member_at(m, last).at;

	for (size_t i = 0; i < last; i++)
		if (m->member[i].key == m->member[last].key &&
		    memcmp(member_at(m, i).at, key, m->member[last].key) == 0)
			return true;
	return false;
}

/* Take the list apart. `most` members at most; false when anything about it is not valid. */
static __attribute__((cold)) bool split(struct members *m, const char *text, size_t len, size_t most)
{
	struct propagate_piece rest = { text, len }, member;
	size_t taken = 0;

	while (propagate_next_member(&rest, &member)) {
		const char *equals = memchr(member.at, '=', member.len);
		size_t key = equals != NULL ? (size_t)(equals - member.at) : 0;

		if (member.len == 0) /* allowed, and says nothing */
			continue;
		if (taken++ == most || equals == NULL || !is_key(member.at, key) ||
		    !is_value(equals + 1, member.len - key - 1))
			return false;
		m->member[m->count].off = (uint16_t)(member.at - text);
		m->member[m->count].len = (uint16_t)member.len;
		m->member[m->count].key = (uint16_t)key;
		if (is_repeated(m, m->count++))
			return false;
	}
	return true;
}

static size_t joined_len(const struct members *m)
{
	size_t len = 0;

	for (size_t i = 0; i < m->count; i++)
		if (m->member[i].len > 0)
			len += m->member[i].len + 1u;
	return len > 0 ? len - 1 : 0;
}

/* Leave members out, as the essay above says, until the rest fits. Returns its length. */
static __attribute__((cold)) size_t shorten(struct propagate_in *in, struct members *m)
{
	size_t len;

	for (size_t i = m->kept; i < m->count; i++)
		if (in->tracestate_full || (in->tracestate_no_large && m->member[i].len > LARGE_MEMBER))
			m->member[i].len = 0;
	len = joined_len(m);
	for (size_t i = m->count; i-- > 0 && len > LIMIT_TRACESTATE;) {
		if (m->member[i].len > LARGE_MEMBER) {
			m->member[i].len = 0;
			in->tracestate_no_large = true;
			len = joined_len(m);
		}
	}
	for (size_t i = m->count; i-- > 0 && len > LIMIT_TRACESTATE;) {
		if (m->member[i].len > 0) {
			m->member[i].len = 0;
			in->tracestate_full = true;
			len = joined_len(m);
		}
	}
	return len;
}

static void join(const struct members *m, char *out)
{
	bool first = true;

	for (size_t i = 0; i < m->count; i++) {
		struct propagate_piece member = member_at(m, i);

		if (member.len == 0)
			continue;
		if (!first)
			*out++ = ',';
		memcpy(out, member.at, member.len);
		out += member.len;
		first = false;
	}
}

/* The members as the context's tracestate, in place of the one that is there. False: no room. */
static __attribute__((noinline)) bool keep(struct trace_context *ctx, const struct members *m, size_t len)
{
	struct slice *slice = &ctx->tracestate;
	struct text *text = &ctx->text;
	char joined[LIMIT_TRACESTATE];

	join(m, joined);
	if (slice->len > 0 && slice->off + slice->len == text->len)
		text->len = slice->off; /* it was the last thing in the area: its room is free again */
	return propagate_add_text(text, joined, len, slice);
}

__attribute__((cold)) void propagate_take_tracestate(struct propagate_in *in, struct trace_context *ctx,
                                                     const char *value, size_t len)
{
	struct propagate_piece kept = propagate_slice(ctx, ctx->tracestate);
	struct members m;
	size_t before, total;

	if (in->tracestate_bad)
		return;
	m.kept_text = m.text = kept.at;
	m.kept = m.count = 0;
	(void)split(&m, kept.at, kept.len, LIMIT_TRACESTATE_MEMBERS);
	before = m.kept = m.count;
	m.text = value;
	if (len > UINT16_MAX || !split(&m, value, len, (size_t)(LIMIT_TRACESTATE_MEMBERS - in->tracestate_count))) {
		counters_count(baggage_invalid);
		in->tracestate_bad = true;
		ctx->tracestate.len = 0;
		return;
	}
	in->tracestate_count = (uint8_t)(in->tracestate_count + (m.count - before));
	if (m.count == before)
		return;
	total = shorten(in, &m);
	if (total == 0) {
		ctx->tracestate.len = 0;
	} else if (!keep(ctx, &m, total)) {
		in->tracestate_bad = true; /* a list with a hole would be a lie */
		ctx->tracestate.len = 0;
	}
}

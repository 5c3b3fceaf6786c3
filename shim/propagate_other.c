/*
 * The formats beside W3C's, inbound: B3 in one header and in several, Jaeger's uber-trace-id, plain correlation ids.
 *
 * All of them are read leniently where their own libraries do (upper-case hex, 64-bit trace ids, Jaeger's missing
 * leading zeros and its percent-encoded colons) and refused where a reading would be a guess. None of them says whether
 * its trace id is random, so TRACE_FLAG_RANDOM is never set from them.
 *
 * Pure functions. Sources: openzipkin/b3-propagation README ('Single Header', 'Multiple Headers', 'Sampling State');
 * Jaeger documentation, client libraries, 'Trace/Span Identity'; RFC 9562 section 4 for the shape of a UUID.
 */
#include "propagate_internal.h"

#include "ids.h"

bool propagate_parse_b3_trace(const char *value, size_t len, uint8_t trace_id[16])
{
	if (len != 16 && len != 32)
		return false;
	memset(trace_id, 0, 16);
	return ids_unhex(trace_id + 16 - len / 2, value, len / 2, 0) == 0 && !propagate_is_zero(trace_id, 16);
}

bool propagate_parse_b3_span(const char *value, size_t len, uint8_t span_id[8])
{
	return len == 16 && ids_unhex(span_id, value, 8, 0) == 0 && !propagate_is_zero(span_id, 8);
}

int propagate_parse_b3_sampled(const char *value, size_t len)
{
	if (len == 1)
		return value[0] == '1' || value[0] == 'd' ? 1 : value[0] == '0' ? 0 : -1;
	if (len == 4 && memcmp(value, "true", 4) == 0) /* older libraries sent words */
		return 1;
	return len == 5 && memcmp(value, "false", 5) == 0 ? 0 : -1;
}

/* {trace}-{span}, {trace}-{span}-{sampled}, {trace}-{span}-{sampled}-{parent}, or {sampled} */
bool propagate_parse_b3(const char *value, size_t len, struct propagate_ids *ids, bool *has_ids)
{
	const char *dash = len > 0 ? memchr(value, '-', len) : NULL;
	size_t trace = dash != NULL ? (size_t)(dash - value) : len;
	const char *span = dash != NULL ? dash + 1 : NULL;
	size_t rest = dash != NULL ? len - trace - 1 : 0;
	uint8_t parent[8];
	int sampled = 1; /* not stated: the decision is ours */

	*has_ids = dash != NULL;
	if (dash == NULL) {
		sampled = len == 1 ? propagate_parse_b3_sampled(value, len) : -1;
		ids->flags = sampled > 0 ? TRACE_FLAG_SAMPLED : 0;
		return sampled >= 0;
	}
	if (rest != 16 && rest != 18 && rest != 35)
		return false;
	if (!propagate_parse_b3_trace(value, trace, ids->trace_id) || !propagate_parse_b3_span(span, 16, ids->span_id))
		return false;
	if (rest > 16)
		sampled = span[16] == '-' ? propagate_parse_b3_sampled(span + 17, 1) : -1;
	if (rest > 18 && (span[18] != '-' || ids_unhex(parent, span + 19, 8, 0) != 0))
		return false;
	ids->flags = sampled > 0 ? TRACE_FLAG_SAMPLED : 0;
	return sampled >= 0;
}

/* 1 to 2n hex digits, leading zeros missing or not, into n bytes. */
static bool unhex_short(const char *value, size_t len, uint8_t *out, size_t n)
{
	char padded[32];

	if (len == 0 || len > 2 * n)
		return false;
	memset(padded, '0', 2 * n - len);
	memcpy(padded + 2 * n - len, value, len);
	return ids_unhex(out, padded, n, 0) == 0;
}

/* The next part of a ':'-separated value; some clients percent-encode the colons. False when there is no colon. */
static bool next_part(struct propagate_piece *rest, struct propagate_piece *part)
{
	for (size_t i = 0; i < rest->len; i++) {
		size_t step = rest->at[i] == ':' ? 1 : 0;

		if (rest->len - i >= 3 && rest->at[i] == '%' && rest->at[i + 1] == '3' &&
		    (rest->at[i + 2] | 0x20) == 'a')
			step = 3;
		if (step == 0)
			continue;
		*part = (struct propagate_piece){ rest->at, i };
		rest->at += i + step;
		rest->len -= i + step;
		return true;
	}
	return false;
}

/* {trace}:{span}:{parent}:{flags}; the parent is obsolete and only has to be hex. */
bool propagate_parse_jaeger(const char *value, size_t len, struct propagate_ids *ids)
{
	struct propagate_piece rest = { value, len }, trace, span, parent;
	uint8_t ignored[8], flags;

	if (!next_part(&rest, &trace) || !next_part(&rest, &span) || !next_part(&rest, &parent))
		return false;
	if (!unhex_short(trace.at, trace.len, ids->trace_id, 16) || !unhex_short(span.at, span.len, ids->span_id, 8) ||
	    !unhex_short(parent.at, parent.len, ignored, 8) || !unhex_short(rest.at, rest.len, &flags, 1))
		return false;
	ids->flags = flags & 3 ? TRACE_FLAG_SAMPLED : 0; /* 1: sampled, 2: debug, which implies it */
	return !propagate_is_zero(ids->trace_id, 16) && !propagate_is_zero(ids->span_id, 8);
}

bool propagate_parse_plain(const char *value, size_t len, uint8_t trace_id[16])
{
	static const uint8_t start[5] = { 0, 9, 14, 19, 24 }, digits[5] = { 8, 4, 4, 4, 12 };
	uint8_t *out = trace_id;

	if (len == 32)
		return ids_unhex(trace_id, value, 16, 0) == 0 && !propagate_is_zero(trace_id, 16);
	if (len != 36 || value[8] != '-' || value[13] != '-' || value[18] != '-' || value[23] != '-')
		return false;
	for (size_t i = 0; i < 5; i++) {
		if (ids_unhex(out, value + start[i], digits[i] / 2u, 0) != 0)
			return false;
		out += digits[i] / 2;
	}
	return !propagate_is_zero(trace_id, 16);
}

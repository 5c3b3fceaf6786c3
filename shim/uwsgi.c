/*
 * The packet of uwsgi; see uwsgi.h.
 *
 * Memory: cgi_pairs' line. Callers: whoever has the connection's lock.
 */
#include "uwsgi.h"

#include <string.h>

/* Kinds of requests that carry variables: Python, Perl, Lua, Ruby, JVM, CGI, PHP, Mono, spooler-like calls, Python with PATH_INFO made. */
static bool carries_variables(uint8_t modifier)
{
	static const uint8_t modifiers[] = { 0, 5, 6, 7, 8, 9, 14, 15, 18, 30 };
	size_t i;

	for (i = 0; i < sizeof(modifiers); i++)
		if (modifiers[i] == modifier)
			return true;
	return false;
}

void uwsgi_init(struct uwsgi *h)
{
	memset(h, 0, sizeof(*h));
	h->pairs.kind = CGI_UWSGI;
}

static bool take_head(struct uwsgi *h, const char **in, const char *end)
{
	while (h->have < UWSGI_PACKET_HEAD && *in < end)
		h->head[h->have++] = (uint8_t) * (*in)++;
	h->left = h->pairs.limit = (uint32_t)h->head[1] | (uint32_t)h->head[2] << 8;
	return h->have < UWSGI_PACKET_HEAD || (carries_variables(h->head[0]) && h->left > 0);
}

enum uwsgi_status uwsgi_feed(struct uwsgi *h, const struct cgi_sink *sink, http1_line_buffer buffer, const char *in,
                             size_t len, size_t *used)
{
	const char *at = in, *end = in + len;
	size_t part;

	*used = len;
	if (h->poisoned)
		return UWSGI_ALIEN;
	if (h->headed || len == 0)
		return UWSGI_MORE;
	h->poisoned = h->have < UWSGI_PACKET_HEAD && !take_head(h, &at, end);
	if (h->poisoned)
		return UWSGI_ALIEN;
	part = (size_t)(end - at) < h->left ? (size_t)(end - at) : h->left;
	if (h->have < UWSGI_PACKET_HEAD || part == 0)
		return UWSGI_MORE;
	h->left -= (uint32_t)part;
	if (!cgi_pairs_feed(&h->pairs, sink, buffer, at, part) || (h->left == 0 && !cgi_pairs_whole(&h->pairs))) {
		h->poisoned = true;
		return UWSGI_ALIEN;
	}
	h->begun |= h->pairs.count > 1 || h->left == 0;
	if (h->left > 0)
		return UWSGI_MORE;
	h->headed = true;
	*used = (size_t)(at - in) + part;
	return UWSGI_HEAD;
}

bool uwsgi_sniff(const char *in, size_t len, bool surely)
{
	const uint8_t *b = (const uint8_t *)in;

	if (len < UWSGI_PACKET_HEAD + (surely ? 3u : 0u) || !carries_variables(b[0]) || b[3] != 0)
		return false;
	/* At least one variable, so at least five bytes; a name is short. */
	if ((b[1] | b[2]) == 0 || (b[2] == 0 && b[1] < 5))
		return false;
	if ((len > 4 && (b[4] == 0 || b[4] > 64)) || (len > 5 && b[5] != 0))
		return false;
	return len <= 6 || (b[6] >= 'A' && b[6] <= 'Z');
}

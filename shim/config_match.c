/*
 * Patterns: globs of paths and program names, and the hosts of TRACESHIM_PROPAGATE.
 *
 * Mechanism: a glob matcher of our own, because fnmatch(3) follows the locale, converts to wide characters and
 * allocates for long strings: not for a hook that may run in a signal handler. It keeps one point to go back to for the
 * last `*` and one for the last `**`: when a `*` cannot grow (it may not cross a '/') the `**` before it grows instead.
 * A later star forgets the earlier ones of its kind, which is right, because what the earlier one matched can only be
 * extended, and makes the work at most pattern * text * text steps with a constant stack.
 *
 * Host patterns are normalised when the configuration is read (lower case, brackets around IPv6) so that matching is
 * comparison. Anybody may call, signal handlers too; no memory of its own, no lock.
 * Source: POSIX 2.13 (the subset stated in config.h), RFC 3986 3.2.2 (hosts).
 */
#include "config_internal.h"

#include <string.h>

/* Does `c` belong to the bracket expression at p[0] == '['? *len: its length; 0: it is not closed, a literal '['. */
static bool in_bracket(struct config_piece p, unsigned char c, size_t *len)
{
	size_t i = 1;
	bool negated = p.len > 1 && (p.text[1] == '!' || p.text[1] == '^'), found = false;

	if (negated)
		i++;
	for (size_t first = i; i < p.len && (p.text[i] != ']' || i == first); i++) {
		unsigned char low = (unsigned char)p.text[i], high = low;

		if (i + 2 < p.len && p.text[i + 1] == '-' && p.text[i + 2] != ']') {
			high = (unsigned char)p.text[i + 2];
			i += 2;
		}
		found = found || (c >= low && c <= high);
	}
	*len = i < p.len ? i + 1 : 0;
	return found != negated && c != '/';
}

/* Does the pattern's first element (not a star) match `c`? *len: the element's length. */
static bool matches_one(struct config_piece p, char c, size_t *len)
{
	size_t bracket = 0;
	bool inside;

	*len = 1;
	if (p.text[0] == '?')
		return c != '/';
	if (p.text[0] == '\\' && p.len > 1) {
		*len = 2;
		return p.text[1] == c;
	}
	if (p.text[0] == '[') {
		inside = in_bracket(p, (unsigned char)c, &bracket);
		if (bracket > 0) {
			*len = bracket;
			return inside;
		}
	}
	return p.text[0] == c;
}

bool config_glob(struct config_piece pattern, struct config_piece text)
{
	struct {
		size_t p, t;
		bool set;
	} star = { 0, 0, false }, wide = { 0, 0, false };
	size_t p = 0, t = 0, len;

	while (t < text.len || p < pattern.len) {
		if (p < pattern.len && pattern.text[p] == '*') {
			if (p + 1 < pattern.len && pattern.text[p + 1] == '*') {
				while (p < pattern.len && pattern.text[p] == '*')
					p++;
				wide.p = p, wide.t = t, wide.set = true;
				star.set = false;
			} else {
				star.p = ++p, star.t = t, star.set = true;
			}
			continue;
		}
		if (p < pattern.len && t < text.len &&
		    matches_one((struct config_piece){ pattern.text + p, pattern.len - p }, text.text[t], &len)) {
			p += len;
			t++;
			continue;
		}
		if (star.set && star.t < text.len && text.text[star.t] != '/') {
			p = star.p, t = ++star.t;
		} else if (wide.set && wide.t < text.len) {
			p = wide.p, t = ++wide.t;
			star.set = false;
		} else {
			return false;
		}
	}
	return true;
}

bool config_is_log_file(const char *path)
{
	struct config_piece rest = { config.log_files.text, config.log_files.len }, item, whole, base;
	const char *slash;

	if (rest.len == 0)
		return false;
	whole = (struct config_piece){ path, strlen(path) };
	slash = strrchr(path, '/');
	base = slash != NULL ? (struct config_piece){ slash + 1, strlen(slash + 1) } : whole;
	while (config_next_item(&rest, ':', &item))
		if (config_glob(item, memchr(item.text, '/', item.len) != NULL ? whole : base))
			return true;
	return false;
}

/* A host and its port, in parts. port.len 0: none. `ok` false: neither name nor address. */
struct host_parts {
	struct config_piece name, port;
	bool ok;
};

static bool is_digits(struct config_piece piece)
{
	for (size_t i = 0; i < piece.len; i++)
		if (piece.text[i] < '0' || piece.text[i] > '9')
			return false;
	return piece.len > 0 && piece.len <= 5;
}

static struct host_parts split_host(struct config_piece host)
{
	struct host_parts parts = { host, { NULL, 0 }, false };
	const char *colon = NULL;

	if (host.len > 0 && host.text[0] == '[') {
		const char *close = memchr(host.text, ']', host.len);

		if (close == NULL)
			return parts;
		parts.name.len = (size_t)(close + 1 - host.text);
		if (parts.name.len < host.len)
			colon = host.text[parts.name.len] == ':' ? close + 1 : host.text;
	} else if (host.len > 0) {
		colon = memchr(host.text, ':', host.len);
		if (colon != NULL)
			parts.name.len = (size_t)(colon - host.text);
	}
	if (colon != NULL) {
		parts.port = (struct config_piece){ colon + 1, host.len - (size_t)(colon + 1 - host.text) };
		if (!is_digits(parts.port))
			return parts;
	}
	if (parts.name.len > 1 && parts.name.text[parts.name.len - 1] == '.')
		parts.name.len--; /* the root's dot says nothing */
	parts.ok = parts.name.len > 0 && parts.name.len <= 255;
	return parts;
}

/* Characters of a name or an address; in brackets those of IPv6 too. Underscores occur in container networks. */
static bool is_host_text(struct config_piece name)
{
	bool brackets = name.len > 2 && name.text[0] == '[' && name.text[name.len - 1] == ']';

	for (size_t i = brackets ? 1 : 0; i < name.len - (brackets ? 1 : 0); i++) {
		char c = config_lower(name.text[i]);

		if (!(c >= 'a' && c <= 'z') && !(c >= '0' && c <= '9') && c != '.' && c != '-' && c != '_' &&
		    !(brackets && (c == ':' || c == '%')))
			return false;
	}
	return name.len > 0;
}

size_t config_host_pattern(struct config_piece item, char *out, size_t room)
{
	const char *colon = memchr(item.text, ':', item.len);
	struct host_parts parts;
	size_t prefix, len = 0;

	if (item.len + 3 > room)
		return 0;
	if (colon != NULL && item.text[0] != '[' &&
	    memchr(colon + 1, ':', item.len - (size_t)(colon + 1 - item.text))) {
		out[0] = '['; /* a bare IPv6 address has no port: its last group could not be told from one */
		memcpy(out + 1, item.text, item.len);
		out[item.len + 1] = ']';
		len = item.len + 2;
	} else {
		memcpy(out, item.text, item.len);
		len = item.len;
	}
	parts = split_host((struct config_piece){ out, len });
	if (!parts.ok)
		return 0;
	prefix = out[0] == '*' ? 1 : 0;
	if (prefix == 1 && parts.name.len > 1 && out[1] != '.')
		return 0;
	if (parts.name.len > prefix && !is_host_text((struct config_piece){ out + prefix, parts.name.len - prefix }))
		return 0;
	for (size_t i = 0; i < len; i++)
		out[i] = config_lower(out[i]);
	return len;
}

static bool ends_with(struct config_piece text, struct config_piece end)
{
	if (text.len < end.len)
		return false;
	for (size_t i = 0; i < end.len; i++)
		if (config_lower(text.text[text.len - end.len + i]) != end.text[i])
			return false;
	return true;
}

static bool host_matches(struct host_parts pattern, struct host_parts host)
{
	struct config_piece p = pattern.name, h = host.name;

	if (pattern.port.len > 0 && host.port.len > 0 &&
	    (pattern.port.len != host.port.len || memcmp(pattern.port.text, host.port.text, host.port.len) != 0))
		return false;
	if (pattern.port.len > 0 && host.port.len == 0 && !config_equals(pattern.port, "80") &&
	    !config_equals(pattern.port, "443"))
		return false;
	if (p.text[0] == '*' && p.len == 1)
		return true;
	if (p.text[0] == '*')
		return h.len > p.len - 1 && ends_with(h, (struct config_piece){ p.text + 1, p.len - 1 });
	if (p.text[0] == '.')
		return ends_with(h, p) ||
		       (h.len == p.len - 1 && ends_with(h, (struct config_piece){ p.text + 1, p.len - 1 }));
	return h.len == p.len && ends_with(h, p);
}

bool config_host_allowed(const char *host, size_t len)
{
	struct config_piece rest = { config.propagate_hosts.text, config.propagate_hosts.len }, item,
			    given = { host, len };
	struct host_parts parts;

	if (rest.len == 0)
		return true;
	parts = split_host(given);
	if (!parts.ok || !is_host_text(parts.name))
		return false;
	while (config_next_item(&rest, ',', &item))
		if (host_matches(split_host(item), parts))
			return true;
	return false;
}

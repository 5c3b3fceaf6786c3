/*
 * OpenTelemetry semantic conventions for HTTP, stable since 1.23. The texts come from peers: every length is looked at, no
 * text needs to end in a NUL.
 *
 * Redaction: the conventions name four query parameters; the newer names of the same credentials (Amazon's and Azure's signed
 * URLs) are treated like these. User and password of a URL are left out.
 */
#include "semconv.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

static struct ring_view view_of(const char *from, const char *to)
{
	return (struct ring_view){ from, (size_t)(to - from) };
}

static bool view_begins(struct ring_view v, const char *with)
{
	size_t len = strlen(with);

	return v.len >= len && strncasecmp(v.at, with, len) == 0;
}

struct semconv_target semconv_split_target(struct ring_view target)
{
	struct semconv_target t = { .https = view_begins(target, "https://") };
	const char *at = target.at, *end = target.at + target.len, *mark;

	t.absolute = t.https || view_begins(target, "http://");
	if (t.absolute) {
		const char *host = at + (t.https ? 8 : 7);

		for (at = host; at < end && *at != '/' && *at != '?' && *at != '#'; at++)
			;
		mark = at > host ? memrchr(host, '@', (size_t)(at - host)) : NULL;
		t.credentials = mark != NULL;
		t.authority = view_of(mark ? mark + 1 : host, at);
	}
	mark = at < end ? memchr(at, '#', (size_t)(end - at)) : NULL;
	end = mark ? mark : end;
	mark = at < end ? memchr(at, '?', (size_t)(end - at)) : NULL;
	t.path = view_of(at, mark ? mark : end);
	if (mark)
		t.query = view_of(mark + 1, end);
	if (t.absolute && !t.path.len)
		t.path = (struct ring_view){ "/", 1 };
	return t;
}

struct semconv_address semconv_split_host(struct ring_view host)
{
	struct semconv_address a = { .host = host };
	const char *end = host.at + host.len, *colon;
	unsigned port = 0;

	if (!host.len)
		return a;
	if (host.at[0] == '[') {
		const char *close = memchr(host.at, ']', host.len);

		if (!close)
			return a;
		a.host = view_of(host.at + 1, close);
		colon = close + 1 < end && close[1] == ':' ? close + 1 : NULL;
	} else {
		colon = memchr(host.at, ':', host.len);
		if (colon && memchr(colon + 1, ':', (size_t)(end - colon - 1)))
			return a; /* an IPv6 address without brackets */
		if (colon)
			a.host = view_of(host.at, colon);
	}
	for (const char *c = colon ? colon + 1 : end; c < end; c++) {
		if (*c < '0' || *c > '9' || port > 65535)
			return a;
		port = port * 10 + (unsigned)(*c - '0');
	}
	a.port = port <= 65535 ? (uint16_t)port : 0;
	return a;
}

static struct ring_view view_trim(struct ring_view v)
{
	while (v.len && (v.at[0] == ' ' || v.at[0] == '\t' || v.at[0] == '"')) {
		v.at++;
		v.len--;
	}
	while (v.len && (v.at[v.len - 1] == ' ' || v.at[v.len - 1] == '\t' || v.at[v.len - 1] == '"'))
		v.len--;
	return v;
}

/* The part before the first `mark`; the rest is left in `v`. */
static struct ring_view view_cut(struct ring_view *v, char mark)
{
	const char *at = v->len ? memchr(v->at, mark, v->len) : NULL;
	struct ring_view part = at ? view_of(v->at, at) : *v;

	*v = at ? view_of(at + 1, v->at + v->len) : (struct ring_view){ v->at + v->len, 0 };
	return part;
}

struct ring_view semconv_forwarded_client(struct ring_view value)
{
	struct ring_view element = view_cut(&value, ','), all = element, client = { 0 };
	bool pairs = false;

	/* Forwarded is name=value pairs; X-Forwarded-For an address. */
	while (element.len) {
		struct ring_view pair = view_trim(view_cut(&element, ';'));

		pairs = pairs || (pair.len && memchr(pair.at, '=', pair.len));
		if (view_begins(pair, "for=")) {
			client = view_trim((struct ring_view){ pair.at + 4, pair.len - 4 });
			break;
		}
	}
	if (!client.len && !pairs)
		client = view_trim(all);
	/* "unknown" and names made up by a proxy (_hidden) are no addresses. */
	if (!client.len || client.at[0] == '_' || (client.len == 7 && view_begins(client, "unknown")))
		return (struct ring_view){ 0 };
	return semconv_split_host(client).host;
}

static bool semconv_is_secret(struct ring_view name)
{
	static const char *const secret[] = { "AWSAccessKeyId",      "Signature",       "sig",
		                              "X-Goog-Signature",    "X-Amz-Signature", "X-Amz-Credential",
		                              "X-Amz-Security-Token" };

	for (size_t i = 0; i < sizeof(secret) / sizeof(secret[0]); i++)
		if (strlen(secret[i]) == name.len && strncasecmp(secret[i], name.at, name.len) == 0)
			return true;
	return false;
}

void semconv_put_query(struct buffer *b, struct ring_view query)
{
	while (query.len) {
		struct ring_view pair = view_cut(&query, '&'), rest = pair, name = view_cut(&rest, '=');

		if (name.len < pair.len && semconv_is_secret(name)) {
			buffer_put_json(b, name.at, name.len);
			buffer_put_text(b, "=REDACTED");
		} else {
			buffer_put_json(b, pair.at, pair.len);
		}
		if (query.len || query.at[-1] == '&')
			buffer_put(b, "&", 1);
	}
}

const char *semconv_method(const struct ring_span_read *s)
{
	static const char *const names[] = {
#define X(name) #name,
		RING_METHODS(X)
#undef X
	};

	if (s->span.method == RING_METHOD_other)
		return s->text[RING_TEXT_METHOD].len ? "_OTHER" : "";
	return names[s->span.method];
}

/* A target of another form is HTTP that calls itself gRPC. */
struct semconv_rpc semconv_rpc(const struct ring_span_read *s)
{
	struct ring_view target = s->text[RING_TEXT_TARGET];
	struct semconv_rpc rpc = { .status = -1 };
	const char *slash;

	if (!(s->span.flags & RING_FLAG_GRPC))
		return rpc;
	rpc.status = (int)s->span.grpc_status - 1;
	slash = target.len ? memrchr(target.at, '/', target.len) : NULL;
	if (slash && slash > target.at + 1 && target.at[0] == '/') {
		rpc.service = view_of(target.at + 1, slash);
		rpc.method = view_of(slash + 1, target.at + target.len);
	}
	return rpc;
}

/*
 * The conventions: what is not OK is an error to who called; to who served, what is its own fault: UNKNOWN, DEADLINE_EXCEEDED,
 * UNIMPLEMENTED, INTERNAL, UNAVAILABLE, DATA_LOSS.
 */
static bool is_grpc_error(const struct ring_span *s)
{
	unsigned status = s->grpc_status - 1u;

	if (!(s->flags & RING_FLAG_GRPC) || s->grpc_status == 0)
		return false;
	if (s->span_kind == RING_SPAN_CLIENT)
		return status != 0;
	return status == 2 || status == 4 || (status >= 12 && status <= 15);
}

bool semconv_is_error(const struct ring_span *s)
{
	if (is_grpc_error(s))
		return true;
	return s->error != RING_ERROR_none || s->status >= (s->span_kind == RING_SPAN_CLIENT ? 400 : 500);
}

const char *semconv_error_type(const struct ring_span *s, char text[24])
{
	static const char *const names[] = {
#define X(name, said) said,
		RING_SPAN_ERRORS(X)
#undef X
	};

	if (s->error != RING_ERROR_none)
		return names[s->error];
	if (!semconv_is_error(s))
		return "";
	snprintf(text, 24, "%u", is_grpc_error(s) ? s->grpc_status - 1u : (unsigned)s->status);
	return text;
}

const char *semconv_peer(const struct ring_span *s, char text[46])
{
	if (!(s->flags & RING_FLAG_PEER))
		return "";
	return inet_ntop(s->flags & RING_FLAG_PEER_V6 ? AF_INET6 : AF_INET, s->peer, text, 46) ? text : "";
}

/*
 * OTLP 1.x in JSON: lowerCamelCase, ids in hex, enums as numbers, 64-bit integers as strings. Attributes that are not known
 * are left out, never empty. Constant text is joined at compile time; so a span is a few dozen copies.
 */
#include "otlp_json.h"

#include <netinet/in.h>

#include "semconv.h"

#define LITERAL(b, text) buffer_put(b, text, sizeof(text) - 1)
#define STRING_ATTRIBUTE(b, key, value, len)                                                                           \
	put_string(b, ",{\"key\":\"" key "\",\"value\":{\"stringValue\":\"", value, len)
#define NUMBER_ATTRIBUTE(b, key, value) put_number(b, ",{\"key\":\"" key "\",\"value\":{\"intValue\":\"", value)

enum { OTLP_HAS_IS_REMOTE = 0x100, OTLP_IS_REMOTE = 0x200 };

static bool is_zero(const uint8_t *bytes, size_t len)
{
	while (len--)
		if (*bytes++)
			return false;
	return true;
}

static void put_string(struct buffer *b, const char *key, const char *value, size_t len)
{
	if (!len)
		return;
	buffer_put_text(b, key);
	buffer_put_json(b, value, len);
	LITERAL(b, "\"}}");
}

static void put_number(struct buffer *b, const char *key, uint64_t value)
{
	buffer_put_text(b, key);
	buffer_put_number(b, value);
	LITERAL(b, "\"}}");
}

static void put_name(struct buffer *b, const struct ring_span_read *s, const char *method,
                     const struct semconv_rpc *rpc)
{
	struct ring_view route = s->text[RING_TEXT_ROUTE];

	LITERAL(b, "\"name\":\"");
	if (rpc->service.len) {
		buffer_put_json(b, rpc->service.at, rpc->service.len);
		LITERAL(b, "/");
		buffer_put_json(b, rpc->method.at, rpc->method.len);
		LITERAL(b, "\"");
		return;
	}
	buffer_put_text(b, !*method ? "exchange" : *method == '_' ? "HTTP" : method);
	if (route.len) {
		LITERAL(b, " ");
		buffer_put_json(b, route.at, route.len);
	}
	LITERAL(b, "\"");
}

static void put_ids(struct buffer *b, const struct ring_span *s)
{
	LITERAL(b, "{\"traceId\":\"");
	buffer_put_hex(b, s->trace_id, sizeof(s->trace_id));
	LITERAL(b, "\",\"spanId\":\"");
	buffer_put_hex(b, s->span_id, sizeof(s->span_id));
	if (!is_zero(s->parent_id, sizeof(s->parent_id))) {
		LITERAL(b, "\",\"parentSpanId\":\"");
		buffer_put_hex(b, s->parent_id, sizeof(s->parent_id));
	}
	LITERAL(b, "\",\"flags\":");
	buffer_put_number(b, (s->flags & (RING_FLAG_SAMPLED | RING_FLAG_RANDOM)) | OTLP_HAS_IS_REMOTE |
	                             (s->flags & RING_FLAG_REMOTE ? OTLP_IS_REMOTE : 0));
	LITERAL(b, ",");
}

static void put_url(struct buffer *b, bool https, struct ring_view authority, const struct semconv_target *t)
{
	LITERAL(b, ",{\"key\":\"url.full\",\"value\":{\"stringValue\":\"");
	buffer_put_text(b, https ? "https://" : "http://");
	if (t->credentials)
		LITERAL(b, "REDACTED:REDACTED@");
	buffer_put_json(b, authority.at, authority.len);
	buffer_put_json(b, t->path.at, t->path.len);
	if (t->query.len) {
		LITERAL(b, "?");
		semconv_put_query(b, t->query);
	}
	LITERAL(b, "\"}}");
}

/* Where the request went: what the URL says, then the Host, then (for calls) the peer. */
static void put_server(struct buffer *b, const struct ring_span_read *s, struct ring_view authority, bool https)
{
	struct semconv_address a = semconv_split_host(authority);
	char peer[46];

	if (s->span.span_kind == RING_SPAN_CLIENT) {
		if (!a.host.len) {
			a.host.at = semconv_peer(&s->span, peer);
			a.host.len = strlen(a.host.at);
		}
		if (!a.port)
			a.port = s->span.flags & RING_FLAG_PEER && s->span.peer_port ? s->span.peer_port :
			         https                                               ? 443 :
			                                                               80;
	}
	if (!a.host.len)
		return;
	STRING_ATTRIBUTE(b, "server.address", a.host.at, a.host.len);
	if (a.port)
		NUMBER_ATTRIBUTE(b, "server.port", a.port);
}

static void put_target(struct buffer *b, const struct ring_span_read *s)
{
	struct semconv_target t = semconv_split_target(s->text[RING_TEXT_TARGET]);
	struct ring_view authority = t.authority.len ? t.authority : s->text[RING_TEXT_HOST];
	bool connect = s->span.method == RING_METHOD_CONNECT, https = t.https || s->span.flags & RING_FLAG_TLS;

	if (connect) { /* the target is an authority, and there is no path */
		authority = s->text[RING_TEXT_TARGET];
		t.path.len = 0;
	}
	if (s->span.span_kind == RING_SPAN_CLIENT) {
		if (authority.len)
			put_url(b, https, authority, &t);
	} else {
		if (https)
			STRING_ATTRIBUTE(b, "url.scheme", "https", 5);
		else
			STRING_ATTRIBUTE(b, "url.scheme", "http", 4);
		STRING_ATTRIBUTE(b, "url.path", t.path.at, t.path.len);
		if (t.query.len) {
			LITERAL(b, ",{\"key\":\"url.query\",\"value\":{\"stringValue\":\"");
			semconv_put_query(b, t.query);
			LITERAL(b, "\"}}");
		}
	}
	put_server(b, s, authority, https);
}

static void put_http(struct buffer *b, const struct ring_span_read *s, const char *method)
{
	const struct ring_span *span = &s->span;
	bool server = span->span_kind == RING_SPAN_SERVER;
	uint64_t request = server ? span->bytes_in : span->bytes_out;
	uint64_t response = server ? span->bytes_out : span->bytes_in;

	STRING_ATTRIBUTE(b, "http.request.method", method, strlen(method));
	if (*method == '_')
		STRING_ATTRIBUTE(b, "http.request.method_original", s->text[RING_TEXT_METHOD].at,
		                 s->text[RING_TEXT_METHOD].len);
	put_target(b, s);
	STRING_ATTRIBUTE(b, "http.route", s->text[RING_TEXT_ROUTE].at, s->text[RING_TEXT_ROUTE].len);
	if (span->status)
		NUMBER_ATTRIBUTE(b, "http.response.status_code", span->status);
	if (span->version == 10)
		STRING_ATTRIBUTE(b, "network.protocol.version", "1.0", 3);
	else if (span->version == 11)
		STRING_ATTRIBUTE(b, "network.protocol.version", "1.1", 3);
	else if (span->version == 20)
		STRING_ATTRIBUTE(b, "network.protocol.version", "2", 1);
	STRING_ATTRIBUTE(b, "user_agent.original", s->text[RING_TEXT_USER_AGENT].at, s->text[RING_TEXT_USER_AGENT].len);
	/* No message has no byte: 0 is a size that the guest does not know, or a response that never came. */
	if (request > 0)
		NUMBER_ATTRIBUTE(b, "http.request.size", request);
	if (response > 0)
		NUMBER_ATTRIBUTE(b, "http.response.size", response);
}

static void put_rpc(struct buffer *b, const struct semconv_rpc *rpc)
{
	if (!rpc->service.len)
		return;
	STRING_ATTRIBUTE(b, "rpc.system", "grpc", 4);
	STRING_ATTRIBUTE(b, "rpc.service", rpc->service.at, rpc->service.len);
	STRING_ATTRIBUTE(b, "rpc.method", rpc->method.at, rpc->method.len);
	if (rpc->status >= 0)
		NUMBER_ATTRIBUTE(b, "rpc.grpc.status_code", (uint64_t)rpc->status);
}

static void put_peer(struct buffer *b, const struct ring_span_read *s)
{
	struct ring_view client = { 0 };
	char text[46];
	const char *peer = semconv_peer(&s->span, text);

	if (s->span.span_kind == RING_SPAN_SERVER) {
		client = semconv_forwarded_client(s->text[RING_TEXT_FORWARDED]);
		if (!client.len)
			client = (struct ring_view){ peer, strlen(peer) };
		STRING_ATTRIBUTE(b, "client.address", client.at, client.len);
	}
	STRING_ATTRIBUTE(b, "network.peer.address", peer, strlen(peer));
	if (*peer)
		NUMBER_ATTRIBUTE(b, "network.peer.port", s->span.peer_port);
}

void otlp_put_span(struct buffer *b, const struct ring_span_read *s)
{
	const struct ring_span *span = &s->span;
	const char *method = semconv_method(s), *error;
	struct ring_view state = s->text[RING_TEXT_TRACESTATE];
	struct semconv_rpc rpc = semconv_rpc(s);
	char text[24];

	buffer_reserve(b, 2048);
	put_ids(b, span);
	if (state.len) {
		LITERAL(b, "\"traceState\":");
		buffer_put_quoted(b, state.at, state.len);
		LITERAL(b, ",");
	}
	put_name(b, s, method, &rpc);
	LITERAL(b, ",\"kind\":");
	buffer_put_number(b, span->span_kind);
	LITERAL(b, ",\"startTimeUnixNano\":\"");
	buffer_put_number(b, span->start_ns);
	LITERAL(b, "\",\"endTimeUnixNano\":\"");
	buffer_put_number(b, span->end_ns > span->start_ns ? span->end_ns : span->start_ns);
	LITERAL(b, "\",\"attributes\":[{\"key\":\"thread.id\",\"value\":{\"intValue\":\"");
	buffer_put_number(b, span->tid);
	LITERAL(b, "\"}}");
	if (*method)
		put_http(b, s, method);
	put_rpc(b, &rpc);
	put_peer(b, s);
	if (span->first_byte_ns >= span->start_ns && span->first_byte_ns)
		NUMBER_ATTRIBUTE(b, "traceshim.first_byte_ns", span->first_byte_ns - span->start_ns);
	error = semconv_error_type(span, text);
	STRING_ATTRIBUTE(b, "error.type", error, strlen(error));
	if (*error)
		LITERAL(b, "],\"status\":{\"code\":2}}");
	else
		LITERAL(b, "],\"status\":{}}");
}

const char *otlp_severity(unsigned number)
{
	static const char *const names[] = { "TRACE", "DEBUG", "INFO", "WARN", "ERROR", "FATAL" };

	return number >= 1 && number <= 24 ? names[(number - 1) / 4] : "";
}

static const char *line_stream(const struct ring_line *l)
{
	return l->stream == 1 ? "stdout" : l->stream == 2 ? "stderr" : "file";
}

void otlp_put_line(struct buffer *b, const struct ring_line_read *l, uint64_t observed_ns)
{
	const struct ring_line *line = &l->line;
	const char *severity = otlp_severity(line->severity);

	LITERAL(b, "{\"timeUnixNano\":\"");
	buffer_put_number(b, line->time_ns);
	LITERAL(b, "\",\"observedTimeUnixNano\":\"");
	buffer_put_number(b, observed_ns);
	if (*severity) {
		LITERAL(b, "\",\"severityNumber\":");
		buffer_put_number(b, line->severity);
		LITERAL(b, ",\"severityText\":\"");
		buffer_put_text(b, severity);
	}
	LITERAL(b, "\",\"body\":{\"stringValue\":\"");
	buffer_put_json(b, l->text.at, l->text.len);
	LITERAL(b, "\"},\"attributes\":[{\"key\":\"log.iostream\",\"value\":{\"stringValue\":\"");
	buffer_put_text(b, line_stream(line));
	LITERAL(b, "\"}}");
	NUMBER_ATTRIBUTE(b, "thread.id", line->tid);
	LITERAL(b, "]");
	if (!is_zero(line->trace_id, sizeof(line->trace_id))) {
		LITERAL(b, ",\"traceId\":\"");
		buffer_put_hex(b, line->trace_id, sizeof(line->trace_id));
		if (!is_zero(line->span_id, sizeof(line->span_id))) {
			LITERAL(b, "\",\"spanId\":\"");
			buffer_put_hex(b, line->span_id, sizeof(line->span_id));
		}
		LITERAL(b, "\",\"flags\":");
		buffer_put_number(b, line->flags & (RING_FLAG_SAMPLED | RING_FLAG_RANDOM));
	}
	LITERAL(b, "}");
}

void loki_put_line(struct buffer *b, const struct ring_line_read *l)
{
	const char *severity = otlp_severity(l->line.severity);

	LITERAL(b, "[\"");
	buffer_put_number(b, l->line.time_ns);
	LITERAL(b, "\",\"");
	buffer_put_json(b, l->text.at, l->text.len);
	LITERAL(b, "\",{\"stream\":\"");
	buffer_put_text(b, line_stream(&l->line));
	if (*severity) {
		LITERAL(b, "\",\"detected_level\":\"");
		for (const char *c = severity; *c; c++)
			buffer_put(b, &(char){ (char)(*c | 0x20) }, 1);
	}
	if (!is_zero(l->line.trace_id, sizeof(l->line.trace_id))) {
		LITERAL(b, "\",\"trace_id\":\"");
		buffer_put_hex(b, l->line.trace_id, sizeof(l->line.trace_id));
		LITERAL(b, "\",\"span_id\":\"");
		buffer_put_hex(b, l->line.span_id, sizeof(l->line.span_id));
	}
	LITERAL(b, "\"}]");
}

/*
 * Outgoing connections: requests go out, responses come in.
 *
 * A call belongs to the request for which the program was working when it sent the blank line of the head. The head is read
 * as it passes, for what must not be added twice (trap 28) and for the host that TRACESHIM_PROPAGATE is asked about.
 */
#include <string.h>

#include "config.h"
#include "counters.h"
#include "layout.h"
#include "protocol.h"
#include "span.h"
#include "stream.h"

/* What a head has told so far; the part of an exchange that a dry run needs a copy of. */
struct call_head {
	uint32_t own;
	bool host_allowed;
	struct span *span; /* NULL: none, or a dry run */
};

static struct http1_filter filter LAYOUT_LATER;

__attribute__((cold)) void call_prepare(void)
{
	http1_filter_init(&filter);
	http1_expect_field(&filter, "host", 4);
	propagate_each_own(stream_expect_field, &filter);
}

static inline bool is_host(const char *name, size_t len)
{
	return len == 4 && memcmp(name, "host", 4) == 0;
}

static bool head_wants(void *owner, const char *name, size_t len)
{
	(void)owner;
	return is_host(name, len) || propagate_own_header(name, len) != 0;
}

static void head_field(void *owner, const char *name, size_t name_len, const char *value, size_t value_len)
{
	struct call_head *head = owner;

	if (!is_host(name, name_len)) {
		head->own |= propagate_own_header(name, name_len);
		return;
	}
	if (head->span != NULL)
		(void)span_take_field(head->span, name, name_len, value, value_len);
	head->host_allowed = config_host_allowed(value, value_len);
}

/* Asked for a tunnel and not answered yet: what is sent behind it may be of any protocol, and be meant for somebody else. */
static bool awaits_tunnel(const struct exchange *ex)
{
	return ex != NULL && ex->request_done && !ex->response_done && ex->up.method == HTTP1_CONNECT;
}

static struct exchange *calling(struct conn *conn)
{
	struct exchange *ex = conn_last(conn);

	if (awaits_tunnel(ex)) {
		counters_count_seldom(http_tunnels);
		conn_make_opaque(conn, false);
		return NULL;
	}
	if (ex == NULL || ex->request_done) {
		ex = conn_push(conn);
		if (ex == NULL)
			return NULL;
		http1_init(&ex->up, HTTP1_REQUEST, 0);
		ex->host_allowed = config.propagate_hosts.len == 0;
		if (config.export_traces)
			span_begin_call(conn, ex);
	}
	return ex;
}

static void count_head(const struct exchange *ex)
{
	counters_count(calls);
	if (ex->own & PROPAGATE_HAS_TRACE)
		counters_count_seldom(calls_own_headers);
	else if (!ex->host_allowed)
		counters_count_seldom(calls_not_allowed);
	else if (ex->request == NULL)
		counters_count_seldom(calls_unknown);
}

static void set_owner(struct conn *conn, struct request *caller)
{
	struct request *before = conn->owner;

	if (before != caller) {
		conn->owner = request_ref(caller);
		request_unref(before);
	}
}

static void complete_head(struct conn *conn, struct exchange *ex, struct request *caller)
{
	ex->request_headed = true;
	ex->request = request_ref(caller);
	if (ex->span != NULL)
		span_own_call(conn, ex, caller);
	count_head(ex);
}

void call_sent_known(struct conn *conn, const struct stream_spot *spot, struct request *caller, size_t len)
{
	struct exchange *ex;
	char *line;

	set_owner(conn, caller);
	conn->mode = CONN_HTTP1;
	ex = calling(conn);
	if (ex == NULL)
		return;
	line = ex->up.line;
	ex->up = spot->after;
	ex->up.line = line;
	ex->own = spot->own;
	ex->host_allowed = spot->host_allowed;
	if (ex->span != NULL)
		span_count_up(ex, len);
	if (!ex->request_headed && !http1_in_head(&ex->up))
		complete_head(conn, ex, caller);
	if (spot->done) {
		ex->request_done = true;
		conn_pop_done(conn);
	}
}

void call_sent(struct conn *conn, const char *out, size_t len, struct request *caller)
{
	if (conn->mode == CONN_FRESH) {
		if (out != NULL && http1_sniff_request(out, len) != HTTP1_SNIFF_NO) {
			conn->mode = CONN_HTTP1;
		} else if (out == NULL || !protocol_begin(conn, out, len)) {
			counters_count_seldom(opaque_connections);
			conn_make_opaque(conn, false);
		}
	}
	if (conn->mode == CONN_UPGRADED && (out == NULL || !protocol_begin(conn, out, len)))
		conn_make_opaque(conn, false);
	if (conn->mode == CONN_PROTOCOL) {
		conn->protocol->sent(conn, out, len, caller);
		return;
	}
	if (len > 0)
		set_owner(conn, caller);
	while (len > 0 && conn->mode == CONN_HTTP1) {
		struct exchange *ex = calling(conn);
		enum http1_status status;
		size_t used = 0;
		uint64_t skipped = 0;

		if (ex == NULL)
			return;
		if (out == NULL) {
			status = http1_skip(&ex->up, len, &skipped);
			len -= (size_t)skipped;
			used = (size_t)skipped;
		} else {
			struct call_head head = { ex->own, ex->host_allowed, ex->span };
			struct http1_sink sink = { .wants = head_wants,
				                   .field = head_field,
				                   .owner = &head,
				                   .filter = stream_filter(&filter) };

			if (ex->span != NULL)
				span_take_line(ex->span, out, len);
			status = http1_feed(&ex->up, &sink, conn_line_buffer, out, len, &used);
			ex->own = head.own;
			ex->host_allowed = head.host_allowed;
			out += used;
			len -= used;
		}
		if (ex->span != NULL)
			span_count_up(ex, used);
		if (status == HTTP1_HEAD) {
			complete_head(conn, ex, caller);
			status = ex->up.body == HTTP1_BODY_NONE ? HTTP1_DONE : HTTP1_MORE;
		}
		if (status == HTTP1_DONE)
			ex->request_done = true;
		else if (status == HTTP1_ALIEN)
			conn_make_opaque(conn, true);
		if (status == HTTP1_DONE)
			conn_pop_done(conn);
	}
}

static void begin_response(struct exchange *ex)
{
	unsigned options = 0;

	if (ex->up.method == HTTP1_HEAD_METHOD)
		options = HTTP1_TO_HEAD;
	else if (ex->up.method == HTTP1_CONNECT)
		options = HTTP1_TO_CONNECT;
	http1_init(&ex->down, HTTP1_RESPONSE, options);
	ex->response_begun = true;
}

static void leave_http1(struct conn *conn, struct exchange *ex)
{
	counters_count_seldom(http_tunnels);
	if (ex->span != NULL)
		span_end(conn, ex, true);
	if (ex->down.status == 101)
		conn_upgrade(conn);
	else
		conn_make_opaque(conn, false);
}

/* Returns how many bytes are left: none, unless the connection left HTTP/1. */
static size_t take_responses(struct conn *conn, const char *in, size_t len, struct http1_known *known)
{
	const struct http1_sink sink = { .known = known };

	while (len > 0 && conn->mode == CONN_HTTP1) {
		struct exchange *ex = conn->first;
		struct http1_message message;
		enum http1_status status;
		size_t used;

		while (ex != NULL && ex->response_done)
			ex = ex->next;
		if (ex == NULL || !ex->request_headed) {
			conn_make_opaque(conn, true); /* a response to nothing */
			return 0;
		}
		if (!ex->response_begun)
			begin_response(ex);
		if (http1_untouched(&ex->down) && ex->down.line == NULL &&
		    http1_take_known(&ex->down, ex->down.options, &sink, in, len, len, &message)) {
			used = message.end;
			status = HTTP1_HEAD;
		} else {
			status = http1_feed(&ex->down, &sink, conn_line_buffer, in, len, &used);
			message.done = ex->down.body == HTTP1_BODY_NONE;
		}
		in += used;
		len -= used;
		if (ex->span != NULL) {
			span_count_down(ex, used);
			if (status == HTTP1_HEAD && !ex->down.interim)
				span_head_was_read(ex);
		}
		if (status == HTTP1_HEAD)
			status = message.done ? HTTP1_DONE : HTTP1_MORE;
		if (status == HTTP1_TUNNEL) {
			leave_http1(conn, ex);
		} else if (status == HTTP1_ALIEN) {
			conn_make_opaque(conn, true);
		} else if (status == HTTP1_DONE && ex->down.interim) {
			char *line = ex->down.line;

			begin_response(ex);
			ex->down.line = line;
			if (ex->span != NULL)
				span_was_interim(ex);
		} else if (status == HTTP1_DONE) {
			if (ex->span != NULL)
				span_end(conn, ex, false);
			ex->response_done = true;
			conn_pop_done(conn);
			/* Kept for later: whoever called last need not be kept with it. */
			if (conn->first == NULL)
				set_owner(conn, NULL);
		}
	}
	return len;
}

void call_received(struct conn *conn, const char *in, size_t len)
{
	if (conn->mode == CONN_HTTP1) {
		struct stream_heads *heads = stream_take_heads();
		size_t left = take_responses(conn, in, len, stream_known(heads, STREAM_RESPONSE_IN));

		stream_give_heads(heads);
		if (conn->mode != CONN_UPGRADED || left == 0)
			return;
		in += len - left;
		len = left;
	}
	if ((conn->mode == CONN_FRESH || conn->mode == CONN_UPGRADED) && !protocol_begin_by_server(conn, in, len))
		conn_make_opaque(conn, false); /* the peer speaks first: not HTTP */
	if (conn->mode == CONN_PROTOCOL)
		(void)conn->protocol->received(conn, in, len);
}

/*
 * Of a head that is known, and came again: may the next such one be taken at once (call_usual.c)? It has no header of its own that must not be
 * there twice, its host may get ours, and it says how long its body is.
 */
static void mark_head(struct http1_known *known, const struct call_head *head)
{
	const struct http1 *after = &known->after;
	bool plain = head->own == 0 && head->host_allowed && after->method != HTTP1_CONNECT &&
	             (after->body == HTTP1_BODY_LENGTH || (after->body == HTTP1_BODY_NONE && after->remaining == 0));

	known->whole = plain ? (uint16_t)(known->len + 2) : 0;
}

bool call_find_spot(struct conn *conn, const struct iovec *iov, int count, size_t offset, struct stream_spot *spot)
{
	const struct exchange *ex = conn_last(conn);
	struct call_head head = { 0, config.propagate_hosts.len == 0, NULL };
	struct http1_sink sink = {
		.wants = head_wants, .field = head_field, .owner = &head, .filter = stream_filter(&filter)
	};
	struct stream_heads *heads;
	bool fresh = ex == NULL || ex->request_done, found;

	spot->end = SIZE_MAX;
	spot->known = false;
	if (conn->mode == CONN_OPAQUE || awaits_tunnel(ex))
		return false;
	if (conn->mode == CONN_UPGRADED && (count == 0 || !protocol_begin(conn, iov[0].iov_base, iov[0].iov_len)))
		return false;
	if (conn->mode == CONN_FRESH &&
	    (count == 0 || (http1_sniff_request(iov[0].iov_base, iov[0].iov_len) == HTTP1_SNIFF_NO &&
	                    !protocol_begin(conn, iov[0].iov_base, iov[0].iov_len))))
		return false;
	if (conn->mode == CONN_PROTOCOL)
		return conn->protocol->find_spot(conn, iov, count, offset, spot);
	heads = stream_take_heads();
	sink.known = stream_known(heads, STREAM_REQUEST_OUT);
	found = fresh && offset == 0 && count > 0 && stream_find_known(spot, 0, &sink, iov, stream_total(iov, count));
	if (found)
		mark_head(sink.known, &head);
	if (!found && fresh) {
		http1_init(&spot->after, HTTP1_REQUEST, 0);
		found = stream_find_spot(spot, &sink, iov, count, offset);
	} else if (!found) {
		http1_fork(&spot->after, &ex->up);
		head = (struct call_head){ ex->own, ex->host_allowed, NULL };
		found = stream_find_spot(spot, &sink, iov, count, offset);
	}
	stream_give_heads(heads);
	/* A span wants to see the head itself. */
	if (config.export_traces && (found || http1_in_head(&spot->after)))
		spot->known = false;
	spot->own = head.own;
	spot->host_allowed = head.host_allowed;
	return found;
}

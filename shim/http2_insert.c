/*
 * Fields of ours in header blocks of the program's: trace headers in calls, TRACESHIM_RESPONSE_HEADER in answers.
 *
 * A field can be added at the end of a block without anybody's HPACK table noticing, as a literal that is not indexed; but the
 * frame in which the block ends says how long it is. So that frame goes out as another one, longer, or with CONTINUATION
 * behind it where it would be too long for the peer: an insertion that stands for the program's frame. Where several heads are
 * in one call (h2load sends a hundred), one insertion stands for all of them and what is between, as far as there is room: each
 * insertion is a call of its own.
 *
 * Only a frame that lies whole in a call, of a length that every peer takes, can be replaced; another one goes as it is, and is
 * counted (heads_skipped).
 *
 * Memory: the insertion's block; two more of those to write the fields in, given back at once. Callers: whoever has the
 * connection's lock.
 */
#include "http2_conn.h"

#include <string.h>

#include "config.h"
#include "counters.h"
#include "ids.h"
#include "span.h"

/* So much of an insertion is filled with further heads: with it twice and what is around it one block of TLS is made (tls_send.c). */
#define FURTHER_MAX 6000u

/*
 * A session of TLS that works in memory mostly writes into a buffer without end, or has its record refused, and comes again. But gRPC gives
 * it a pair of BIOs of libssl's own size, writes no more than what that takes, and gives the connection up for a refusal. So what a call
 * of up to that size gets has to fit as well, with the heads of more records than the program's own.
 */
#define PAIR_MAX (17 * 1024u - 256u)
#define RECORD_MAX 64u /* what a record's head and tag take, twice: of the ciphers that HTTP/2 may have */

struct writer {
	struct conn *conn;
	const struct protocol_call *call;
	struct insertion *ins;
	struct insertion *lines, *fields; /* blocks to write in */
	size_t total;                     /* bytes of the call */
	size_t most;                      /* by so many bytes may it grow yet */
};

/* Copy the call's bytes [from, to). */
static void copy_bytes(const struct protocol_call *call, size_t from, size_t to, char *out)
{
	size_t base = 0;
	int i;

	for (i = 0; i < call->count && from < to; base += call->iov[i].iov_len, i++) {
		size_t at = from > base ? from - base : 0, part;

		if (at >= call->iov[i].iov_len)
			continue;
		part = call->iov[i].iov_len - at < to - from ? call->iov[i].iov_len - at : to - from;
		memcpy(out, (const char *)call->iov[i].iov_base + at, part);
		out += part;
		from += part;
	}
}

/* A span id of its own, and head lines; how long these are. */
static size_t put_call_lines(struct writer *w, struct http2_stream *s)
{
	struct span_ids ids = { 0 };
	uint8_t span_id[8];

	ids_generate_span(span_id);
	if (config.export_traces)
		span_describe_call(&ids, s->ex.request, span_id);
	http2_claim_call(w->conn, s, s->ex.request, &ids);
	return propagate_format_headers(&s->ex.request->ctx, span_id, s->ex.own, w->lines->text);
}

static size_t put_answer_lines(const struct writer *w, const struct http2_stream *s)
{
	char *out = w->lines->text;
	size_t len = config.response_header.len;

	memcpy(out, config.response_header.text, len);
	memcpy(out + len, ": ", 2);
	ids_hex(out + len + 2, s->ex.request->ctx.trace_id, sizeof(s->ex.request->ctx.trace_id));
	memcpy(out + len + 34, "\r\n", 2);
	return len + 36;
}

/* Head lines into fields of HPACK. 0: there are none, or no room. */
static size_t encode(const char *lines, size_t len, char *out, size_t room)
{
	const char *end = lines + len;
	size_t put = 0;

	while (lines < end) {
		const char *colon = memchr(lines, ':', (size_t)(end - lines));
		const char *eol = memchr(lines, '\r', (size_t)(end - lines));
		size_t n;

		if (colon == NULL || eol == NULL || colon > eol)
			return 0;
		n = http2_put_field(out + put, room - put, lines, (size_t)(colon - lines), colon + 2,
		                    (size_t)(eol - colon) - 2);
		if (n == 0)
			return 0;
		put += n;
		lines = eol + 2;
	}
	return put;
}

/* What head lines count as in a list of fields: 32 more than name and value, each. RFC 9113 6.5.2. */
static uint64_t list_bytes(const char *lines, size_t len)
{
	uint64_t sum = len;
	size_t i;

	for (i = 0; i < len; i++)
		if (lines[i] == '\n')
			sum += 32 - sizeof(": \r\n") + 1;
	return sum;
}

/* Does this head get something? Decides whose call it is. */
static bool is_wanted(struct writer *w, struct http2_stream *s)
{
	if (conn_role(w->conn) == CONN_SERVED)
		return s->ex.request != NULL && !s->ex.own_response_header;
	if (!s->claimed)
		http2_note_caller(http2_of(w->conn), s, w->call->caller);
	return s->ex.request != NULL && s->ex.host_allowed && (s->ex.own & PROPAGATE_HAS_TRACE) == 0;
}

/* The head's frame at `at` of the call, longer, behind what is in the insertion. false: there is no room, or it would be too long. */
static bool extend(struct writer *w, struct http2_stream *s, size_t at, size_t room)
{
	enum http2_side side = http2_side_of(w->conn, true);
	const struct http2 *scanner = &http2_of(w->conn)->scanner;
	size_t frame_len = HTTP2_FRAME_HEAD + s->frame_len, lines_len, fields_len, n;
	char *frame = w->ins->text + w->ins->len;

	room -= w->ins->len;
	if (frame_len > room)
		return false;
	lines_len = conn_role(w->conn) == CONN_SERVED ? put_answer_lines(w, s) : put_call_lines(w, s);
	fields_len = encode(w->lines->text, lines_len, w->fields->text, sizeof(w->fields->text));
	if (fields_len == 0 || s->list_bytes + list_bytes(w->lines->text, lines_len) > http2_max_list(scanner, side))
		return false;
	copy_bytes(w->call, at, at + frame_len, frame);
	n = http2_extend_frame(frame, room, frame, frame_len, w->fields->text, fields_len,
	                       http2_max_frame(scanner, side));
	w->ins->len += (uint32_t)n;
	return n > 0;
}

/* Where the frame of a head begins in the call, of whose bytes `offset` are out. */
static size_t place_of(const struct http2_conn *c, const struct http2_stream *s, size_t offset)
{
	return offset + (size_t)(s->frame_at - c->sent);
}

bool http2_find_spot(struct conn *conn, const struct iovec *iov, int count, size_t offset, struct stream_spot *spot)
{
	struct http2_conn *c = http2_of(conn);
	size_t total = stream_total(iov, count), at;
	struct http2_stream *s;

	spot->end = total;
	if (!c->inserts || !http2_scan_ahead(conn, iov, count, offset))
		return false;
	for (s = c->due_first; s != NULL && s->frame_at < c->sent; s = s->next_due)
		;
	if (s == NULL || (at = place_of(c, s, offset)) + HTTP2_FRAME_HEAD + s->frame_len > total)
		return false;
	if (conn->pending != NULL) {
		spot->end = at; /* first that, and what is before the next head */
		return false;
	}
	spot->at = at;
	spot->end = at + HTTP2_FRAME_HEAD + s->frame_len;
	return true;
}

/*
 * Head after head, from the one at the spot on. Returns where in the call the last one that is covered ends; *next: where the bytes
 * have to be looked at again, their end where nothing is left to do: what goes out in one call, waits for nobody's ACK.
 */
static size_t extend_all(struct writer *w, struct http2_stream *s, struct stream_spot *spot, size_t *next)
{
	size_t end = spot->at, at;
	uint64_t base = s->frame_at - spot->at;

	*next = w->total;
	for (; s != NULL; s = s->next_due) {
		uint32_t was = w->ins->len;
		bool first = end == spot->at;
		size_t room = first ? sizeof(w->ins->text) : FURTHER_MAX;

		at = (size_t)(s->frame_at - base);
		if (at + HTTP2_FRAME_HEAD + s->frame_len > w->total)
			break;
		if (!is_wanted(w, s))
			continue;
		if (first)
			spot->at = end = at;
		if (was + (at - end) > room) {
			*next = end;
			break;
		}
		copy_bytes(w->call, end, at, w->ins->text + was);
		w->ins->len += (uint32_t)(at - end);
		if (w->most != SIZE_MAX && room > at + HTTP2_FRAME_HEAD + s->frame_len - spot->at + w->most)
			room = at + HTTP2_FRAME_HEAD + s->frame_len - spot->at + w->most;
		if (!extend(w, s, at, room)) {
			w->ins->len = was;
			*next = !first ? end : w->most != SIZE_MAX ? w->total : at + HTTP2_FRAME_HEAD + s->frame_len;
			if (first && s->claimed)
				counters_count(heads_skipped);
			break;
		}
		s->further = !first && !s->extended;
		s->extended = true;
		end = at + HTTP2_FRAME_HEAD + s->frame_len;
	}
	return end;
}

void http2_insert(struct conn *conn, const struct protocol_call *call, struct stream_spot *spot, struct insertion *ins)
{
	struct http2_conn *c = http2_of(conn);
	struct writer w = { conn,    call, ins, insertion_new(), insertion_new(), stream_total(call->iov, call->count),
		            SIZE_MAX };
	struct http2_stream *s;
	size_t end, next;

	for (s = c->due_first; s != NULL && s->frame_at < c->sent; s = s->next_due)
		;
	ins->len = 0;
	if (call->fd < 0 && w.total <= PAIR_MAX && s != NULL) {
		if (s->frame_at - c->sent == spot->at)
			c->grown = 0; /* nothing of the call is out */
		w.most = w.total + c->grown < PAIR_MAX ? PAIR_MAX - w.total - c->grown : 0;
	}
	if (s != NULL && w.lines != NULL && w.fields != NULL) {
		end = extend_all(&w, s, spot, &next);
		if (ins->len > 0)
			ins->swallow = (uint32_t)(end - spot->at);
		c->grown += ins->len - ins->swallow + RECORD_MAX;
		spot->end = next;
	}
	if (w.lines != NULL)
		insertion_free(w.lines);
	if (w.fields != NULL)
		insertion_free(w.fields);
}

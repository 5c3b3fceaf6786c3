/*
 * Spans: what is known of an exchange while it lasts, and the record (ring_format.h) that is left of it for the agent. Only
 * where TRACESHIM_EXPORT says traces; else no exchange has a span, and nothing here is called.
 *
 * All functions want the connection locked and are signal-safe.
 */
#ifndef TRACESHIM_SPAN_H
#define TRACESHIM_SPAN_H

#include <stdbool.h>
#include <stddef.h>

#include "conn.h"
#include "propagate.h"
#include "ring_format.h"

struct span;

/* Head fields of requests that spans show: `name` in lower case. For filters: span_each_wanted. */
bool span_wants(const char *name, size_t len);
void span_each_wanted(propagate_visit *visit, void *to);

/* Make room for what spans know of a connection, and ask for its peer; once a connection. false: no memory (counted). */
bool span_know_conn(struct conn *conn, int fd);

/* A request begins. */
void span_begin_served(struct exchange *ex);
/*
 * The same, and span_take_line, span_take_field and span_count_up of all of it, for a request without a body whose head is known and
 * lies at `head` with its blank line (http1_is_whole).
 */
void span_begin_known(struct exchange *ex, const struct http1_known *known, const char *head);
void span_begin_call(const struct conn *conn, struct exchange *ex);
/*
 * The same ahead of the exchange, for a call that begins now, whose head is known and lies at `head`: with span_take_line and
 * span_take_field of it, but not span_count_up. NULL: no memory (counted).
 */
struct span *span_prepare_call(struct conn *conn, int fd, const struct http1_known *known, const char *head);
/* The program is about to send on an outgoing connection: if it is a request, it begins now. */
void span_call_is_due(struct conn *conn, int fd);

/* Bytes of the request, before the scanner has them: the start line is in there. `used`: how many were the exchange's. */
void span_take_line(struct span *span, const char *bytes, size_t len);
void span_count_up(struct exchange *ex, size_t used);
/* A field; false: spans do not want it. */
bool span_take_field(struct span *span, const char *name, size_t name_len, const char *value, size_t value_len);

/* A field of an HTTP/2 head, pseudo-fields included; any order. The span is one of HTTP/2 then. */
void span_take_http2_field(struct span *span, const char *name, size_t name_len, const char *value, size_t value_len);

/* What the fields of a block of HTTP/2 say of gRPC (http2.h). */
void span_take_grpc(struct span *span, bool grpc, uint8_t status);

/* The head came as variables of CGI, and has been told as that of HTTP/2 is. `tls`: the client of the web server came by https. */
void span_came_by_cgi(struct span *span, bool tls);

/* What was inserted into a call's head, and the call whose head it was: see span_own_call. */
void span_describe_call(struct span_ids *ids, const struct request *caller, const uint8_t span_id[8]);
void span_injected(struct conn *conn, const struct span_ids *ids);
/* The head of a call is complete: whose is it? Without anybody it has no span. */
void span_own_call(struct conn *conn, struct exchange *ex, struct request *caller);
/* The same with what it is recorded as (NULL: nothing was inserted, so as something of its own); again is another one. */
void span_own_call_as(const struct conn *conn, struct exchange *ex, struct request *caller, const struct span_ids *as);

/* Bytes of the response; those of a 1xx were no answer yet; the head of the answer was read. */
void span_count_down(struct exchange *ex, size_t used);
void span_was_interim(struct exchange *ex);
void span_head_was_read(struct exchange *ex);

/* The exchange is over, and so is its span. `upgraded`: the connection leaves HTTP with it. */
void span_end(struct conn *conn, struct exchange *ex, bool upgraded);
/*
 * The next bytes that the program sends will complete the response, and `after` is what its scanner will be like then:
 * should the process die inside the call, the span counts. See ring_hold.
 */
void span_hold(struct conn *conn, struct exchange *ex, const struct http1 *after, size_t len);
/* The same for bytes that nobody sees (sendfile): the rest of a body of known length. */
void span_hold_unseen(struct conn *conn, struct exchange *ex);

/* The exchange is dropped: the connection is being buried, or is opaque from now on. */
void span_drop(struct conn *conn, struct exchange *ex);
void span_free(struct span *span);

/* The peer's end of the stream, or a call on the connection that failed with this errno. */
void span_peer_ended(struct conn *conn);
void span_failed(struct conn *conn, int error, bool reading);

/* Requests of opaque protocols (TRACESHIM_RAW): there is one at a time, conn->owner. */
void span_raw_begin(struct conn *conn);
void span_raw_received(struct conn *conn, size_t len);
void span_raw_sent(struct conn *conn, size_t len);
void span_raw_end(struct conn *conn);

/* The connection dies. */
void span_forget_conn(struct conn *conn);

/* Who is at the other end of this socket? false: nobody yet. For connections that are not looked at here. */
struct span_peer {
	bool internet; /* else there is no address to show */
	bool v6;
	uint16_t port;
	uint8_t address[16]; /* IPv4 in the first 4 */
};
bool span_ask_peer(struct span_peer *peer, int fd);

/* What the clock of the day says when the monotonic one says `now`, which is about now. */
uint64_t span_day_time(uint64_t now);

/* The process is about to fork: from here on a copy of each open exchange may be answered elsewhere. Needs no lock. */
void span_forking(void);

#endif

/*
 * FastCGI and uwsgi on connections: shared by cgi_conn.c (the life of a request or call, whatever carries it), fastcgi_conn.c and
 * uwsgi_conn.c (which feed the scanners). Connections have one request at a time: conn->first, as for HTTP/1.
 */
#ifndef TRACESHIM_CGI_CONN_H
#define TRACESHIM_CGI_CONN_H

#include "fastcgi.h"
#include "protocol.h"
#include "uwsgi.h"

/* An address as text, with a scope. */
#define CGI_ADDRESS 64

struct cgi_conn {
	uint32_t pool_word;
	uint8_t address_len;
	bool secure;  /* served: the client came by https */
	bool inserts; /* call: something was made for the head at hand */
	struct protocol protocol;
	struct uwsgi packet;       /* uwsgi */
	struct fastcgi up, down;   /* FastCGI */
	char address[CGI_ADDRESS]; /* served: the client's */
};

/* The state of a connection that speaks one of the two (conn->protocol). Locked. */
struct cgi_conn *cgi_of(struct conn *conn);

/* Follow the connection. false: no memory (counted). */
bool fastcgi_begin(struct conn *conn);
bool uwsgi_begin(struct conn *conn);

/* A state with what is the same for both filled in; NULL: no memory (counted). */
struct cgi_conn *cgi_new(void);

/* It cannot be followed any more. `begun`: it was the protocol for certain. The state is gone then. */
void cgi_lose(struct conn *conn, bool begun);

/* A request begins, that the peer or the program sends. NULL: the connection is opaque, and the state is gone. */
struct exchange *cgi_begin(struct conn *conn);

/* What a head tells: for cgi_sink's owner. */
struct cgi_telling {
	struct cgi_conn *state; /* served, else NULL */
	struct exchange *ex;    /* NULL: a dry run */
	uint32_t own;           /* call: PROPAGATE_HAS_* */
	bool host_allowed;
	bool asks; /* REQUEST_METHOD was there */
};
void cgi_take_pair(void *telling, const char *name, size_t name_len, const char *value, size_t value_len);
struct cgi_telling cgi_telling_of(struct conn *conn);
/* Of a dry run over a call: as the connection's head has told so far, if one is not whole, else as none. */
struct cgi_telling cgi_telling_dry(const struct conn *conn);

/* The head is whole. `caller`: of a call. */
void cgi_end_head(struct conn *conn, const struct cgi_telling *telling, struct request *caller);
/* Bytes of its answer came by; its status is known; it is over. */
void cgi_count_answer(struct exchange *ex, size_t len);
void cgi_tell_status(struct exchange *ex, uint16_t status);
void cgi_finish(struct conn *conn, struct exchange *ex);

/* Who writes on an outgoing connection owns it. */
void cgi_set_owner(struct conn *conn, struct request *caller);

/* The request that the reading thread works for: the one that is not answered. */
struct request *cgi_unanswered(struct conn *conn);

/*
 * The pairs that carry the caller's trace, at `out` in ins->text; `own` as for propagate_format_headers. Returns their bytes; 0: nothing is to
 * be inserted. Fills ins->ids.
 */
size_t cgi_format_call(enum cgi_lengths kind, const struct protocol_call *call, const struct stream_spot *spot,
                       struct insertion *ins, char *out);

#endif

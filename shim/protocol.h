/*
 * Protocols other than HTTP/1 on a connection: one that is followed has mode CONN_PROTOCOL, and in conn->protocol the head of the
 * state of whoever follows it. The functions are filled in when the state is made: a constant table of them would have to be
 * relocated at the start of every process.
 *
 * All of them are called with the connection locked and in the order of its bytes; signal-safe, no I/O, memory from pools only.
 * What cannot be followed any more says conn_make_opaque, which drops the state: nothing of it may be touched behind that call.
 */
#ifndef TRACESHIM_PROTOCOL_H
#define TRACESHIM_PROTOCOL_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/uio.h>

#include "conn.h"

struct stream_spot;

/* Of which requests is something said? */
enum protocol_whose {
	PROTOCOL_NOBODY, /* of none: the connection's own affairs */
	PROTOCOL_ONE,
	PROTOCOL_SEVERAL /* of several, or it is not known */
};

/* A call of the program: its bytes, and who makes it (outgoing; NULL: not known). All borrowed. */
struct protocol_call {
	const struct iovec *iov;
	int count;
	struct request *caller;
	int fd; /* where it goes; -1: into a library of TLS that works in memory */
};

struct protocol {
	/*
	 * Bytes from the peer; in NULL: `len` bytes that nobody saw. Served: returns the request that the reading thread works for
	 * now, borrowed from the connection, NULL: not known. Outgoing: the result is nothing.
	 */
	struct request *(*received)(struct conn *conn, const char *in, size_t len);

	/* The kernel took these bytes of the program; out NULL: `len` bytes that nobody saw. */
	void (*sent)(struct conn *conn, const char *out, size_t len, struct request *caller);

	/* Before they are sent; count 0 or no bytes: not seen. *request: the one, borrowed; may be NULL: it has none. Changes nothing. */
	enum protocol_whose (*writes)(struct conn *conn, const struct iovec *iov, int count, struct request **request);

	/* Outgoing: who waits for an answer on it? Served: whose answer is still due? *request: the one, borrowed; may be NULL. */
	enum protocol_whose (*reads)(struct conn *conn, struct request **request);

	/*
	 * As call_find_spot (stream.h): sets at and end, leaves known false. `offset` is how much of iov is out already. May be asked
	 * again for the same bytes, after they were not taken.
	 */
	bool (*find_spot)(struct conn *conn, const struct iovec *iov, int count, size_t offset,
	                  struct stream_spot *spot);

	/*
	 * What goes into the spot: fills text, len, ids (calls, where spans are exported) and swallow: so many of the program's bytes from
	 * spot->at on it stands for; they lie before spot->end. len 0: nothing. May move the spot on, and
	 * its end. May be asked again.
	 */
	void (*insert)(struct conn *conn, const struct protocol_call *call, struct stream_spot *spot,
	               struct insertion *ins);

	/* The peer ended its direction, or the connection failed. May be NULL. */
	void (*ended)(struct conn *conn);

	/* It is over: free the state, which conn->protocol does not lead to any more. */
	void (*drop)(struct conn *conn, struct protocol *protocol);
};

enum protocol_kind { PROTOCOL_NONE, PROTOCOL_HTTP2, PROTOCOL_FASTCGI, PROTOCOL_UWSGI };

/* What do the first bytes of a connection say, that come from the client's side? `role`: ours. */
enum protocol_kind protocol_sniff(enum conn_role role, const char *in, size_t len);

/* The same where the server speaks first. */
bool protocol_begin_by_server(struct conn *conn, const char *out, size_t len);

/* The first bytes of the client's side: follow it. false: it is none of ours, or there is no memory (counted). Locked. */
bool protocol_begin(struct conn *conn, const char *in, size_t len);

#endif

/*
 * What the three parts of sending have in common: io_send (what the bytes of a call are, and what goes in between), io_insert (calls that are made
 * in pieces) and io_usual (the usual answer, call and body).
 */
#ifndef TRACESHIM_IO_SEND_INTERNAL_H
#define TRACESHIM_IO_SEND_INTERNAL_H

#include "counters.h"
#include "io_spans.h"

/* Of a longer piece of the program's, so much is known to be there before it is read. */
#define LOOKED_AT_MAX (64u * 1024)

/*
 * The request in whose name the program writes on an outgoing connection, with a reference; NULL: not known, or none and
 * not to be made up. `bound`: whose the connection is (NULL: nobody's); `blocking`: whether it is a blocking one. Locked.
 */
struct request *io_find_caller(struct conn *conn, struct request *bound, bool blocking);

/* Where in the program's bytes from `from` on something may go in: io->spot, unless it is known and nothing changed. false: nowhere. Locked. */
bool io_find_spot(struct io_send *io, struct conn *conn, size_t from);

/* What goes into the spot that was found, the caller's to settle or free; NULL: nothing. Locked. */
struct insertion *io_make_insertion(struct io_send *io, struct conn *conn);

/*
 * The kernel took `sent` bytes of a piece, of which `before` were to come before the insertion (NULL: none). Returns how many of
 * them were the program's; settles the insertion: freed, or kept with the connection. Not locked.
 */
size_t io_settle(struct io_send *io, struct insertion *ins, size_t before, size_t sent);

static inline __attribute__((always_inline)) void io_count_inserted(const struct conn *conn)
{
	if (conn_role(conn) == CONN_SERVED)
		counters_count(response_headers);
	else
		counters_count(calls_injected);
}

#endif

/*
 * Reading and writing inside TLS as nearly every call is: of a session that speaks for a connection, by a thread that is inside of no
 * other one. This is part of the hook itself; all else is for tls_receive_begin and tls_send.
 */
#ifndef TRACESHIM_TLS_USUAL_H
#define TRACESHIM_TLS_USUAL_H

#include "config.h"
#include "current.h"
#include "tls_internal.h"

/*
 * `word` says by what the hook knows the session's library, which is then that of t->made_by; of no session that is NULL. NULL: it is something
 * else, and nothing was done. (A child of vfork has no sessions to speak by.)
 */
static inline __attribute__((always_inline)) struct tls *tls_find_usual(const void *session,
                                                                        const void *(*word)(const void *session))
{
	struct tls *t = tls_find_in(__atomic_load_n(&tls_usual_places, __ATOMIC_ACQUIRE), session);

	return t != NULL && t->word == word(session) && !tls_is_inside() && tls_is_alive(t) ? t : NULL;
}

/* What else the mark holds is asked only of sessions that are not tied. */
static inline __attribute__((always_inline)) void tls_enter_usual(const struct conn *conn)
{
	tls_mark.below = tls_below(conn);
}

static inline __attribute__((always_inline)) void tls_leave_usual(void)
{
	tls_mark.below = 0;
}

/* A read, before the real call. */
static inline __attribute__((always_inline)) void tls_receive_begin_usual(const struct tls *t)
{
	struct conn *conn = t->handle.conn;

	tls_enter_usual(conn);
	if (current_has_request())
		io_before_plain_read(conn, t->fd);
}

/*
 * `received` is the library's result, of a read of at least one byte. `nothing` is called where none came and that says something; what it
 * returns is returned.
 */
static inline __attribute__((always_inline)) long tls_receive_end_usual(struct tls *t, void *buf, long received,
                                                                        long (*nothing)(struct tls *t, long received))
{
	const struct conn *conn = t->handle.conn;

	tls_leave_usual();
	/* It may have been closed meanwhile, and the session may have been let go of. */
	if (received > 0)
		return __builtin_expect(conn != NULL && tls_of(conn) == t, 1) ?
		               io_received(t->handle, t->fd, buf, received) :
		               received;
	if (__builtin_expect(config.export_traces || conn == NULL || conn->role == CONN_OUTGOING, 0) && conn != NULL &&
	    tls_of(conn) == t)
		return nothing(t, received);
	return received;
}

/*
 * A write of a usual answer (io.h): true: `v` is to be written, and tls_answer_end told of the result. `iov` is the program's. false:
 * for tls_send.
 */
static inline __attribute__((always_inline)) bool tls_answer_begin(const struct tls *t, struct io_send *io,
                                                                   const struct iovec *iov, struct iovec *v)
{
	if (t->busy || !io_answer_begin_plain(io, t->handle, t->fd, iov, v))
		return false;
	tls_enter_usual(t->handle.conn);
	tls_keep_quiet();
	return true;
}

/* All of `v` is written. */
static inline __attribute__((always_inline)) long tls_answer_end(struct io_send *io, long sent)
{
	tls_leave_usual();
	tls_mark.quiet = false;
	return io_answer_end(io, sent);
}

#endif

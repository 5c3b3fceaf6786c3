/*
 * Which connection a session of TLS speaks for, and reading from it; see tls.h. Writing is in tls_send.c.
 *
 * Where the descriptor below is known, the session takes over its connection: what was said there before (a CONNECT, a
 * STARTTLS, nothing) is over, the scanners begin anew with the first plain byte, and cipher text passes unseen. So whatever else
 * the core knows of connections holds: who opened them, what a wait on them means, who the peer is, and that closing ends them.
 * Apache, haproxy, curl, squid and others give their library functions instead of a descriptor: then it is the one socket that
 * was read or written within the library's handshake (traps.md 6), provided that it was one only, that it is not in the
 * midst of HTTP, and that it was opened in the direction that the session speaks in. Where the library works in memory (asyncio, puma)
 * the session has a connection that no descriptor leads to.
 *
 * 'Just before on the same thread' was ruled out: a program that works in memory may have read several sockets before it
 * gives the bytes of one to the library.
 *
 * Sessions are found by address: each has a place that follows from it, and what finds that taken is in a chain behind it. A server has
 * many sessions, and each comes again when the processor has forgotten it: so the first look is at the session itself, not at a
 * pointer to it. Chains only grow: an entry that was given up is taken again by a session of the same place, so who walks along a
 * chain never gets into another one, and nobody locks anything. Memory: the places, mapped with the first session and touched as used; an
 * entry a session at a time beyond that, never given back; LIMIT_TLS_SESSIONS of these, then sessions pass through and are counted.
 */
#include "tls_internal.h"

#include <errno.h>
#include <string.h>

#include "config.h"
#include "counters.h"
#include "current.h"
#include "layout.h"
#include "os.h"
#include "stream.h"

#define CHUNK 512u /* sessions that are mapped at a time */

struct tls *tls_places, *tls_usual_places;
static struct tls *chunk[LIMIT_TLS_SESSIONS / CHUNK] LAYOUT_LARGE;
static uint32_t used; /* entries that were ever taken; atomic */

__thread struct tls_mark tls_mark __attribute__((tls_model("initial-exec")));

/* ---- sessions ---- */

/* Where it is not for each request: once, not wherever it is called. */
static __attribute__((noinline)) struct tls *find(const void *key)
{
	return key != NULL ? tls_find(key) : NULL;
}

static __attribute__((noinline)) bool is_alive(const struct tls *t)
{
	return tls_is_alive(t);
}

/* An entry that was never used; NULL: none to be had. */
static struct tls *take_new(void)
{
	uint32_t index = __atomic_load_n(&used, __ATOMIC_RELAXED);
	struct tls *entries, *none = NULL;

	do {
		if (index >= LIMIT_TLS_SESSIONS)
			return NULL;
	} while (!__atomic_compare_exchange_n(&used, &index, index + 1, 0, __ATOMIC_RELAXED, __ATOMIC_RELAXED));
	entries = __atomic_load_n(&chunk[index / CHUNK], __ATOMIC_ACQUIRE);
	if (entries == NULL) {
		/* Two threads that come here at once leave one unused chunk behind: rarer than it is worth mending. */
		entries = os_pages(CHUNK * sizeof(*entries));
		if (entries == NULL)
			return NULL;
		if (!__atomic_compare_exchange_n(&chunk[index / CHUNK], &none, entries, 0, __ATOMIC_ACQ_REL,
		                                 __ATOMIC_ACQUIRE))
			entries = none;
	}
	return &entries[index % CHUNK];
}

static __attribute__((cold)) struct tls *make_places(void)
{
	struct tls *places = os_pages(TLS_PLACES * sizeof(*places)), *none = NULL;

	if (places != NULL)
		tls_place_of(places, NULL)->key = TLS_FREE;
	if (places != NULL &&
	    !__atomic_compare_exchange_n(&tls_places, &none, places, 0, __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE)) {
		(void)os_unmap(places, TLS_PLACES * sizeof(*places));
		places = none;
	}
	__atomic_store_n(&tls_usual_places, places, __ATOMIC_SEQ_CST);
	if (!io_ready())
		tls_retire();
	return places;
}

void tls_retire(void)
{
	__atomic_store_n(&tls_usual_places, NULL, __ATOMIC_SEQ_CST);
}

/* One that is free for this key, which is then its own: the place, or one of those behind it. */
static struct tls *take(struct tls *place, void *key)
{
	struct tls *t;

	for (t = place; t != NULL; t = __atomic_load_n(&t->next, __ATOMIC_ACQUIRE)) {
		void *nobody = __atomic_load_n(&t->key, __ATOMIC_RELAXED);

		if ((nobody == NULL || nobody == TLS_FREE) &&
		    __atomic_compare_exchange_n(&t->key, &nobody, key, 0, __ATOMIC_ACQ_REL, __ATOMIC_RELAXED))
			return t;
	}
	t = take_new();
	if (t == NULL)
		return NULL;
	t->key = key;
	t->next = __atomic_load_n(&place->next, __ATOMIC_RELAXED);
	while (!__atomic_compare_exchange_n(&place->next, &t->next, t, 0, __ATOMIC_ACQ_REL, __ATOMIC_RELAXED))
		;
	return t;
}

/* It is as tls_forget left it, or all zero. */
static struct tls *enter(void *key)
{
	struct tls *places = __atomic_load_n(&tls_places, __ATOMIC_ACQUIRE), *t = NULL;

	if (places != NULL || (places = make_places()) != NULL)
		t = take(tls_place_of(places, key), key);
	if (t == NULL) {
		counters_count(tls_sessions_skipped);
		return NULL;
	}
	t->fd = -1;
	t->word = t; /* none of a session's */
	return t;
}

static void let_go(struct tls *t)
{
	struct conn_handle handle = t->handle;

	tls_drop_write(t);
	if (t->tie == TLS_OWN) {
		conn_release(handle.conn);
	} else if (t->tie == TLS_TIED && is_alive(t) && conn_lock(handle)) {
		if (handle.conn->tls == t)
			conn_restart(handle.conn, NULL); /* what comes behind it is not ours to read */
		conn_unlock(handle.conn);
	}
	t->tie = TLS_UNTIED;
	t->word = t;
	t->handle.conn = NULL;
	t->fd = -1;
	t->stuck = t->busy = false;
	t->cork = (struct tls_cork){ 0 };
}

struct tls_cork *tls_cork(void *session)
{
	struct tls *t = find(session);

	return t != NULL ? &t->cork : NULL;
}

/* Which session is the thread inside of? */
static const struct tls *inside(void)
{
	if (tls_mark.session != NULL || tls_mark.below <= TLS_BELOW_UNKNOWN)
		return tls_mark.session;
	return conn_tls((const struct conn *)(tls_mark.below - FD_CONN - 1));
}

void tls_reset(void *session)
{
	struct tls *t = find(session);
	int saved = errno;

	/* libssl clears a session itself when a handshake begins, in whichever call that does: it is the same connection's. */
	if (t != NULL && inside() != t)
		let_go(t);
	errno = saved;
}

void tls_forget(void *session)
{
	struct tls *t = find(session);
	int saved = errno;

	if (t != NULL && session != NULL) {
		let_go(t);
		__atomic_store_n(&t->shared, 0, __ATOMIC_RELAXED);
		__atomic_store_n(&t->key, TLS_FREE, __ATOMIC_RELEASE);
	}
	errno = saved;
}

void tls_share(void *session)
{
	int saved = errno;
	struct tls *t;

	if (session != NULL && io_active() && ((t = find(session)) != NULL || (t = enter(session)) != NULL))
		__atomic_add_fetch(&t->shared, 1, __ATOMIC_ACQ_REL);
	errno = saved;
}

void tls_release(void *session)
{
	struct tls *t = find(session);
	uint32_t shared = t != NULL ? __atomic_load_n(&t->shared, __ATOMIC_ACQUIRE) : 0;

	while (shared > 0)
		if (__atomic_compare_exchange_n(&t->shared, &shared, shared - 1, 0, __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE))
			return;
	tls_forget(session);
}

void tls_rebound(void *session, int fd)
{
	struct tls *t = find(session);
	int saved = errno;

	if (t != NULL && t->tie == TLS_TIED && fd >= 0 && fd != t->fd) {
		if (is_alive(t) && conn_find(fd).conn == t->handle.conn)
			t->fd = fd; /* a copy of the descriptor: the same connection, in whatever state it is */
		else
			let_go(t); /* not as tls_reset: who left the library by longjmp is inside of it still */
	}
	errno = saved;
}

void tls_fed(struct conn_handle inside, int fd)
{
	struct conn_handle below = conn_find(fd);
	void *t = conn_tls(inside.conn);

	if (t == NULL || below.conn == NULL || conn_tls(below.conn) != NULL || !conn_lock(below))
		return;
	if (below.conn->mode == CONN_OPAQUE)
		conn_restart(below.conn, t);
	conn_unlock(below.conn);
}

/* ---- whose connection ---- */

static void serve(enum conn_role role)
{
	if (role == CONN_SERVED)
		current_serve();
}

/*
 * Take over the connection of the descriptor below, if it is known and can be that; `below`: the one that the library has used just now,
 * or -1. Its number may be another connection's by the next call.
 */
static void tie(struct tls_call *call, enum conn_role role, int below)
{
	struct tls *t = call->session;
	int fd = call->library->descriptor(call->library, t->key);
	bool told = fd >= 0;
	struct conn_handle handle;
	struct conn *conn;

	if (!told)
		fd = below;
	if (fd < 0 || (conn = (handle = conn_find(fd)).conn) == NULL || conn_tls(conn) != NULL)
		return;
	if (role == CONN_UNDECIDED)
		role = call->library->role(call->library, t->key);
	if (role == CONN_UNDECIDED)
		role = conn_role(conn);
	if ((conn_role(conn) != CONN_UNDECIDED && conn_role(conn) != role) || !conn_lock(handle))
		return;
	if (conn->tls == NULL && (told || conn->mode != CONN_HTTP1)) {
		conn_decide_role(conn, role);
		conn_restart(conn, t);
		t->handle = handle;
		t->fd = fd;
		t->tie = TLS_TIED;
		counters_count(tls_sessions);
	}
	conn_unlock(conn);
	serve(role);
}

static void make_own(struct tls_call *call)
{
	struct tls *t = call->session;
	enum conn_role role = call->library->role(call->library, t->key);
	struct conn *conn;

	stream_prepare();
	conn = conn_new(role);
	if (conn == NULL)
		return;
	__atomic_store_n(&conn->blocking, 2, __ATOMIC_RELAXED); /* who works in memory waits elsewhere */
	if (role == CONN_OUTGOING) {
		conn->owner = request_ref(current_known());
		conn->opener = os_tid();
	}
	__atomic_store_n(&conn->tls, t, __ATOMIC_RELAXED);
	t->handle = (struct conn_handle){ conn, __atomic_load_n(&conn->gen, __ATOMIC_ACQUIRE) };
	t->tie = TLS_OWN;
	counters_count(tls_sessions);
	serve(role);
}

struct conn *tls_settle(struct tls_call *call)
{
	struct tls *t = call->session;

	if (t->tie == TLS_UNTIED)
		tie(call, CONN_UNDECIDED, -1);
	if (t->tie == TLS_UNTIED)
		make_own(call);
	return t->handle.conn;
}

/* ---- calls ---- */

/* One that is not tied yet, or not any more; or an event of it that moves nothing. */
static __attribute__((noinline)) bool begin_seldom(struct tls_call *call, void *session,
                                                   const struct tls_library *library, enum conn_role role, bool moves)
{
	struct tls *t = find(session);
	int saved = errno;

	if (t == NULL && (t = enter(session)) == NULL)
		return false;
	if (tls_mark.quiet && inside() == t)
		return false;
	if (t->tie != TLS_UNTIED && !is_alive(t))
		let_go(t);
	tls_enter(call, t, library);
	/* With a descriptor that the library knows, cipher text is never taken for anything else. */
	if (t->tie == TLS_UNTIED)
		tie(call, role, -1);
	/* A handshake, or the end: an event of this connection, whatever was handled before. */
	if (!moves && t->tie != TLS_UNTIED && !current_has_answered(t->handle.conn->answered)) {
		io_receive_begin_plain(&call->receive, t->handle, t->fd);
		io_receive_end(&call->receive, NULL, 0, -1, true);
	}
	errno = saved;
	return true;
}

bool tls_begin_as(struct tls_call *call, void *session, const struct tls_library *library, enum conn_role role,
                  bool moves)
{
	if (session == NULL || library->descriptor == NULL || !io_active() || current_is_blind())
		return false;
	return begin_seldom(call, session, library, role, moves);
}

bool tls_begin(struct tls_call *call, void *session, const struct tls_library *library, enum conn_role role)
{
	return tls_begin_as(call, session, library, role, false);
}

__attribute__((noinline)) void tls_note(struct tls_call *call, struct tls_mark mark, enum conn_role role)
{
	int saved = errno;

	if (mark.session == call->session && mark.fd >= 0 && !mark.several && !mark.other_session)
		tie(call, role, mark.fd);
	errno = saved;
}

void tls_end(struct tls_call *call, enum conn_role role)
{
	tls_leave(call, role);
}

bool tls_receive_begin(struct tls_call *call, void *session, const struct tls_library *library)
{
	if (!tls_begin_as(call, session, library, CONN_UNDECIDED, true))
		return false;
	call->receive.handle.conn = NULL;
	if (call->session->tie != TLS_UNTIED)
		io_receive_begin_plain(&call->receive, call->session->handle, call->session->fd);
	return true;
}

/* Told as a socket would: to be tried again, the end, or an error. */
long tls_received_nothing(struct tls *t, const struct tls_library *library, long received)
{
	struct io_receive io = { .handle = t->handle, .fd = t->fd };
	struct iovec iov = { NULL, 1 };
	ssize_t as_read = errno == 0 || errno == EAGAIN ? 0 : -1;
	int saved = errno;

	if (library->again(library, t->key, received)) {
		as_read = -1;
		errno = EAGAIN;
	}
	io_receive_end(&io, &iov, 1, as_read, false);
	errno = saved;
	return received;
}

/* The first plain text: whose is it? false: nobody's. */
static __attribute__((noinline)) bool receive_first(struct tls_call *call)
{
	const struct tls *t = call->session;
	int saved = errno;
	bool settled = tls_settle(call) != NULL;

	if (settled)
		io_receive_begin_plain(&call->receive, t->handle, t->fd);
	errno = saved;
	return settled;
}

void tls_receive_end(struct tls_call *call, void *buf, size_t room, long received, bool peek)
{
	tls_leave(call, CONN_UNDECIDED);
	if (received > 0) {
		struct iovec iov = { buf, (size_t)received };

		if (call->receive.handle.conn != NULL || receive_first(call))
			io_receive_end(&call->receive, &iov, 1, received, peek);
	} else if (call->receive.handle.conn != NULL && call->receive.handle.conn == call->session->handle.conn &&
	           room > 0 && (config.export_traces || conn_role(call->receive.handle.conn) == CONN_OUTGOING)) {
		/* Of calls only, but where all is: what the library says of it need not be asked. */
		(void)tls_received_nothing(call->session, call->library, received);
	}
}

void tls_pass(void *session, const struct tls_library *library)
{
	struct tls_call call;
	int saved = errno;

	if (!tls_begin_as(&call, session, library, CONN_OUTGOING, true))
		return;
	if (tls_settle(&call) != NULL && conn_lock(call.session->handle)) {
		conn_make_opaque(call.session->handle.conn, false);
		conn_unlock(call.session->handle.conn);
	}
	tls_end(&call, CONN_OUTGOING);
	errno = saved;
}

/* The session, if it speaks for a connection that is there; else NULL. */
static struct tls *find_alive(const void *session)
{
	struct tls *t = io_active() && !current_is_blind() ? find(session) : NULL;

	return t != NULL && t->tie != TLS_UNTIED && is_alive(t) ? t : NULL;
}

void tls_send_unseen(void *session, long sent)
{
	struct tls *t = sent > 0 ? find_alive(session) : NULL;
	int saved = errno;

	if (t != NULL)
		io_send_unseen_plain(t->handle, (size_t)sent);
	errno = saved;
}

void tls_shut(void *session)
{
	struct tls *t = find_alive(session);
	int saved = errno;

	if (t != NULL && conn_lock(t->handle)) {
		if (t->handle.conn->tls == t && conn_role(t->handle.conn) == CONN_SERVED) {
			t->handle.conn->sends++;
			served_shut(t->handle.conn);
		}
		conn_unlock(t->handle.conn);
	}
	errno = saved;
}

/*
 * Lifetime and locking of connections; see conn.h. What the bytes mean is in served.c and call.c.
 *
 * Memory: a connection between two messages is one block of CONN_BLOCK bytes; an exchange lives from a request's first
 * byte to its response's last one; line buffers exist only while a head line is split over two reads.
 */
#include "conn.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <string.h>

#include "counters.h"
#include "fds.h"
#include "os.h"
#include "own.h"
#include "protocol.h"
#include "span.h"
#include "spare.h"

/* A lock is held for a few microseconds at most: spin that long, then let the owner run in case it lost its processor. */
#define LOCK_SPINS 2000
#define LOCK_YIELDS 200

/* An owner on another processor, which others use too, gets that back only after them. So long is waited for it, once a connection. */
#define LOCK_WAIT_NS 50000000u

/* So many times that, where giving up would leave half a head line with the peer. */
#define LOCK_PATIENCE 500

_Static_assert(offsetof(struct conn, last) <= CONN_LINE && sizeof(struct conn) <= CONN_BLOCK, "a connection's lines");
POOL(conns, CONN_BLOCK, 64);
POOL(exchanges, sizeof(struct exchange), 32);
POOL(lines, LIMIT_HEAD_LINE, 4);
POOL(insertions, sizeof(struct insertion), 4);

uint32_t conn_epoch;
uint16_t conn_children, conn_children_before;
__thread uint64_t conn_own_lock __attribute__((tls_model("initial-exec")));

void conn_after_fork(void)
{
	conn_epoch += 1u << CONN_TID_BITS;
	conn_children_before = conn_children;
	conn_own_lock = 0;
}

uint64_t conn_ask_own_lock(void)
{
	return conn_own_lock = (uint64_t)(conn_epoch | (uint32_t)os_tid()) << 32;
}

/*
 * A block is as bury left it, or all zero. Its generation and its lock are not ours to set: somebody with a stale handle may
 * be at them, about to see that the generation is another one.
 */
__attribute__((cold)) struct conn *conn_new(enum conn_role role)
{
	struct conn *conn = pool_take(&conns);

	if (conn == NULL) {
		counters_count_seldom(no_memory_skipped);
		return NULL;
	}
	conn->mode = CONN_FRESH;
	conn->raw_in = false;
	conn->sends = 0;
	conn->opener = 0;
	__atomic_store_n(&conn->keeper, 0, __ATOMIC_RELAXED);
	__atomic_store_n(&conn->blocking, 0, __ATOMIC_RELAXED);
	__atomic_store_n(&conn->missed, false, __ATOMIC_RELAXED);
	__atomic_store_n(&conn->role, (uint8_t)role, __ATOMIC_RELAXED);
	if (role == CONN_SERVED)
		conn->children = __atomic_load_n(&conn_children, __ATOMIC_RELAXED);
	__atomic_store_n(&conn->refs, 1, __ATOMIC_RELEASE);
	return conn;
}

static LAYOUT_INLINE enum spare_kind kind_of_exchange(enum conn_role role)
{
	return role == CONN_OUTGOING ? SPARE_CALL : SPARE_EXCHANGE;
}

static __attribute__((cold)) void free_exchange(const struct conn *conn, struct exchange *ex)
{
	request_unref(ex->request);
	if (ex->span != NULL)
		span_free(ex->span);
	if (ex->up.line != NULL)
		pool_give(&lines, ex->up.line);
	if (ex->down.line != NULL)
		pool_give(&lines, ex->down.line);
	spare_give(kind_of_exchange((enum conn_role)conn->role), &exchanges, ex);
}

static __attribute__((cold)) void drop_exchanges(struct conn *conn)
{
	struct protocol *protocol = conn->protocol;

	if (__builtin_expect(protocol != NULL, 0)) {
		conn->protocol = NULL;
		conn->only = NULL;
		protocol->drop(conn, protocol);
	}
	while (conn->first != NULL) {
		struct exchange *ex = conn->first;

		conn->first = ex->next;
		if (ex->span != NULL)
			span_drop(conn, ex);
		if (ex->request != NULL && conn->role == CONN_SERVED)
			request_advance(ex->request, conn->first != NULL && conn->first->request_headed ?
			                                     REQUEST_FOLLOWED :
			                                     REQUEST_ENDED);
		free_exchange(conn, ex);
	}
	conn->depth = 0;
}

/* Locked, and no descriptor refers to it any more. */
void conn_bury(struct conn *conn)
{
	struct request *owner = conn->owner;

	drop_exchanges(conn);
	if (conn->spans != NULL) {
		span_raw_end(conn);
		span_forget_conn(conn);
	}
	conn->owner = NULL;
	__atomic_store_n(&conn->tls, NULL, __ATOMIC_RELAXED);
	if (owner != NULL && conn->role == CONN_SERVED)
		request_advance(owner, REQUEST_ENDED);
	request_unref(owner);
	if (conn->pending != NULL)
		insertion_free(conn->pending);
	conn->pending = NULL;
	__atomic_store_n(&conn->zombie, false, __ATOMIC_RELAXED);
	__atomic_add_fetch(&conn->gen, 1, __ATOMIC_RELEASE);
	__atomic_store_n(&conn->lock, 0, __ATOMIC_RELEASE);
	pool_give(&conns, conn);
}

static uint32_t lock_word(void)
{
	return conn_epoch | (uint32_t)os_tid();
}

static bool lock_try(struct conn *conn, uint32_t mine)
{
	uint32_t seen = 0;

	if (__atomic_compare_exchange_n(&conn->lock, &seen, mine, 0, __ATOMIC_ACQUIRE, __ATOMIC_RELAXED))
		return true;
	if (seen >> CONN_TID_BITS == conn_epoch >> CONN_TID_BITS || seen == 0)
		return false;
	/* Held by a thread of our parent, which does not exist here: what it was doing is half done. */
	if (!__atomic_compare_exchange_n(&conn->lock, &seen, mine, 0, __ATOMIC_ACQUIRE, __ATOMIC_RELAXED))
		return false;
	conn_make_opaque(conn, true);
	return true;
}

static __attribute__((noinline)) bool lock_spin(struct conn *conn)
{
	uint32_t mine = lock_word();
	int round;

	for (round = 0; round < LOCK_SPINS + LOCK_YIELDS; round++) {
		if (lock_try(conn, mine))
			return true;
		if (__atomic_load_n(&conn->lock, __ATOMIC_RELAXED) == mine)
			return false; /* we are a signal handler above the owner */
		if (round < LOCK_SPINS)
			__asm__ volatile("" ::: "memory");
		else
			sched_yield();
	}
	return false;
}

__attribute__((cold)) void conn_release(struct conn *conn)
{
	if (__atomic_sub_fetch(&conn->refs, 1, __ATOMIC_ACQ_REL) != 0)
		return;
	if (lock_spin(conn)) {
		conn_bury(conn);
		return;
	}
	__atomic_store_n(&conn->zombie, true, __ATOMIC_SEQ_CST);
	if (lock_spin(conn))
		conn_unlock(conn); /* the owner of the lock let go of it before it could see that */
}

__attribute__((cold)) bool conn_share(struct conn *conn)
{
	uint32_t refs = __atomic_load_n(&conn->refs, __ATOMIC_RELAXED);

	while (refs != 0)
		if (__atomic_compare_exchange_n(&conn->refs, &refs, refs + 1, 0, __ATOMIC_ACQ_REL, __ATOMIC_RELAXED))
			return true;
	return false;
}

__attribute__((cold)) struct conn_handle conn_find(int fd)
{
	uint64_t word = fds_word(fd);

	if (word == FD_UNKNOWN)
		word = fds_learn(fd);
	return conn_of_word(fd, word);
}

__attribute__((noinline)) void conn_let_go(struct conn *conn)
{
	conn_unlock(conn);
}

static __attribute__((noinline)) bool lock_stale(struct conn *conn)
{
	conn_let_go(conn);
	counters_count_seldom(stale_skipped);
	return false;
}

void conn_miss(struct conn_handle handle)
{
	if (handle.conn != NULL && __atomic_load_n(&handle.conn->gen, __ATOMIC_ACQUIRE) == handle.gen)
		__atomic_store_n(&handle.conn->missed, true, __ATOMIC_RELEASE);
}

/* Is there time left? Not for a handler above the owner, nor where bytes were missed already. */
static bool may_wait(const struct conn *conn, uint64_t *until)
{
	uint64_t now;

	if (__atomic_load_n(&conn->missed, __ATOMIC_ACQUIRE) ||
	    __atomic_load_n(&conn->lock, __ATOMIC_RELAXED) == lock_word())
		return false;
	now = os_monotonic_ns();
	if (*until == 0)
		*until = now + LOCK_WAIT_NS;
	return now < *until;
}

bool conn_lock_slowly(struct conn_handle handle, bool mine, int attempts)
{
	struct conn *conn = handle.conn;
	uint64_t until = 0;

	while (!mine && !lock_spin(conn)) {
		if (--attempts > 0 || may_wait(conn, &until))
			continue;
		conn_miss(handle);
		counters_count_seldom(busy_skipped);
		return false;
	}
	if (__builtin_expect(__atomic_load_n(&conn->gen, __ATOMIC_ACQUIRE) == handle.gen, 1)) {
		if (__builtin_expect(__atomic_load_n(&conn->missed, __ATOMIC_ACQUIRE), 0))
			conn_make_opaque(conn, true);
		return true;
	}
	return lock_stale(conn);
}

/* Apart: a function that TSan does not look at has no lock that it knows of. */
static CONN_UNLOCKED_LOOK bool has_pending(const struct conn *conn)
{
	return conn->pending != NULL;
}

/* No short way comes here (conn_lock_usual), and built into all who call it it is 1 KB. */
__attribute__((noinline)) bool conn_lock(struct conn_handle handle)
{
	return conn_lock_within(handle, 1);
}

bool conn_lock_to_send(struct conn_handle handle)
{
	return conn_lock_within(handle, has_pending(handle.conn) ? LOCK_PATIENCE : 1);
}

__attribute__((cold)) bool conn_lock_patiently(struct conn_handle handle)
{
	return conn_lock_within(handle, LOCK_PATIENCE);
}

__attribute__((cold)) void conn_make_opaque(struct conn *conn, bool poisoned)
{
	if (conn->mode != CONN_OPAQUE && poisoned)
		counters_count_seldom(http_poisoned);
	conn->mode = CONN_OPAQUE;
	conn->sends++;
	drop_exchanges(conn);
}

void conn_upgrade(struct conn *conn)
{
	conn_make_opaque(conn, false);
	conn->mode = CONN_UPGRADED;
}

__attribute__((cold)) void conn_restart(struct conn *conn, void *tls)
{
	struct request *raw = conn->role == CONN_SERVED ? conn->owner : NULL;

	drop_exchanges(conn);
	if (raw != NULL) {
		if (conn->spans != NULL)
			span_raw_end(conn);
		conn->owner = NULL;
		request_advance(raw, REQUEST_ENDED);
		request_unref(raw);
	}
	conn->raw_in = false;
	conn->sends++;
	conn->mode = tls != NULL ? CONN_FRESH : CONN_OPAQUE;
	__atomic_store_n(&conn->missed, false, __ATOMIC_RELAXED);
	__atomic_store_n(&conn->tls, tls, __ATOMIC_RELAXED);
}

struct exchange *conn_push(struct conn *conn)
{
	struct exchange *last = conn_last(conn), *ex = NULL;

	if (conn->depth < LIMIT_PIPELINE)
		ex = spare_take(kind_of_exchange((enum conn_role)conn->role), &exchanges);
	if (ex == NULL) {
		conn_make_opaque(conn, true);
		return NULL;
	}
	memset(ex, 0, offsetof(struct exchange, in)); /* what the head says begins with the head */
	if (last != NULL)
		last->next = conn->last = ex;
	else
		conn->first = ex;
	conn->depth++;
	return ex;
}

LAYOUT_BUILT_IN struct exchange *conn_push_first(struct conn *conn, enum conn_role role)
{
	struct exchange *ex = spare_take(kind_of_exchange(role), &exchanges);

	if (__builtin_expect(ex == NULL, 0)) {
		conn_make_opaque(conn, true);
		return NULL;
	}
	memset(ex, 0, offsetof(struct exchange, up));
	ex->up.line = NULL;   /* of the rest nobody asks before the caller has set it */
	ex->down.line = NULL; /* the rest is read once it has begun */
	conn->first = ex;
	conn->depth = 1;
	return ex;
}

LAYOUT_BUILT_IN void conn_give_exchange(struct exchange *ex, enum conn_role role)
{
	spare_give(kind_of_exchange(role), &exchanges, ex);
}

void conn_pop_done(struct conn *conn)
{
	struct exchange *ex = conn->first;

	if (ex == NULL || !ex->request_done || !ex->response_done)
		return;
	conn->first = ex->next;
	conn->depth--;
	free_exchange(conn, ex);
}

bool conn_ask_blocking(struct conn *conn, int fd)
{
	int saved = errno, flags = os.fcntl(fd, F_GETFL);
	uint8_t known = flags >= 0 && (flags & O_NONBLOCK) == 0 ? 1 : 2;

	__atomic_store_n(&conn->blocking, known, __ATOMIC_RELAXED);
	errno = saved;
	return known == 1;
}

CONN_UNLOCKED_LOOK bool conn_is_http1(const struct conn *conn)
{
	return conn->mode == CONN_HTTP1 || conn->mode == CONN_PROTOCOL;
}

CONN_UNLOCKED_LOOK LAYOUT_BUILT_IN bool conn_has_protocol(const struct conn *conn)
{
	return conn->mode == CONN_PROTOCOL;
}

char *conn_line_buffer(void *owner)
{
	char *line = pool_take(&lines);

	(void)owner;
	if (line == NULL)
		counters_count_seldom(no_memory_skipped);
	return line;
}

void conn_line_buffer_free(char *line)
{
	pool_give(&lines, line);
}

LAYOUT_BUILT_IN struct insertion *insertion_borrow(void)
{
	struct insertion *ins = spare_borrow(SPARE_INSERTION, &insertions);

	if (__builtin_expect(ins != NULL, 1)) {
		ins->sent = ins->swallow = 0;
		ins->kept_as = SPARE_INSERTION;
	}
	return ins;
}

LAYOUT_BUILT_IN struct insertion *insertion_of_call(void)
{
	struct insertion *ins = spare_take(SPARE_CALL_HEAD, &insertions);

	if (__builtin_expect(ins == NULL, 0)) {
		counters_count_seldom(no_memory_skipped);
		return NULL;
	}
	ins->sent = ins->swallow = 0;
	ins->kept_as = SPARE_CALL_HEAD;
	return ins;
}

struct insertion *insertion_new(void)
{
	struct insertion *ins = spare_take(SPARE_INSERTION, &insertions);

	if (ins == NULL) {
		counters_count_seldom(no_memory_skipped);
	} else {
		ins->len = ins->sent = ins->swallow = 0;
		ins->kept_as = SPARE_INSERTION;
		ins->like = NULL;
	}
	return ins;
}

void insertion_free(struct insertion *ins)
{
	spare_give((enum spare_kind)ins->kept_as, &insertions, ins);
}

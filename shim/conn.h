/*
 * Connections: what flows over a connected stream socket, in both directions.
 *
 * Lifetime: descriptors that were dup'ed share one connection by counting; the block is never unmapped and carries a
 * generation, so that somebody who looked it up before it died notices (struct conn_handle).
 * Locking: one word a connection, held for parsing and table work only, never across a real call. It holds the owner's
 * thread id: a signal handler that interrupts the owner gives up at once, another thread spins for a bounded time. Who
 * gives up has missed bytes, so the connection passes through from then on (busy_skipped). After a fork the child treats
 * a lock of another epoch as abandoned: it takes it, and the connection passes through.
 */
#ifndef TRACESHIM_CONN_H
#define TRACESHIM_CONN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

#include "layout.h"
#include "fds.h"
#include "http1.h"
#include "os.h"
#include "own.h"
#include "propagate.h"
#include "request.h"

enum conn_role {
	CONN_UNDECIDED, /* inherited or handed over: whoever sends the first request is the client */
	CONN_SERVED,    /* the peer sends requests */
	CONN_OUTGOING   /* we send requests */
};

enum conn_mode {
	CONN_FRESH, /* no byte has flowed */
	CONN_HTTP1,
	CONN_OPAQUE,   /* not HTTP, or not any more, or poisoned: hands off for the rest of its life */
	CONN_UPGRADED, /* left HTTP/1 by a 101: HTTP/2, or none of ours; the next byte says it */
	CONN_PROTOCOL  /* another protocol that is followed: conn->protocol (protocol.h) */
};

/* One request and its response on a connection. Queue order is the order of requests (RFC 9112 section 9.3.2). */
struct exchange {
	uint32_t pool_word;
	union {
		struct {
			bool request_headed, request_done;
			bool response_begun, response_done;
		};
		uint32_t progress; /* all four */
	};
	bool own_response_header; /* served: the program sends TRACESHIM_RESPONSE_HEADER itself */
	bool host_allowed;        /* call: TRACESHIM_PROPAGATE says yes to its Host */
	uint32_t own;             /* call: PROPAGATE_HAS_* bits of the program's head so far */
	struct exchange *next;
	struct request *request; /* served: its identity; call: who makes it; may be NULL */
	struct span *span;       /* where spans are exported (span.h), else NULL */
	struct http1 up, down;   /* scanners of the request and of the response */
	struct propagate_in in;  /* served: what the head has said so far */
};

/* Is it one whose request was read whole, and whose response has, or has not, begun to leave? */
static LAYOUT_INLINE bool conn_is_answering(const struct exchange *ex, bool begun)
{
	const union {
		struct {
			bool request_headed, request_done;
			bool response_begun, response_done;
		};
		uint32_t progress;
	} usual = { .request_headed = true, .request_done = true, .response_begun = begun };

	return ex->progress == usual.progress;
}

/* As what a call is recorded, where spans are exported: what its head says. */
struct span_ids {
	uint8_t trace_id[16], span_id[8], parent_id[8];
	uint32_t flags; /* RING_FLAG_* */
};

/* A head that is not longer goes out in one stretch with its insertion. Nearly every head is shorter. */
#define INSERTION_GATHERS 2048

/* What is inserted into an outgoing stream: kept with the connection when the kernel took only a part of it. */
struct insertion {
	uint32_t pool_word;
	uint32_t len, sent;
	/* So many of the program's bytes behind the spot it stands for: they do not go out (HTTP/1: none). */
	uint32_t swallow;
	/*
	 * Of the usual answer: which head stands in `before`, with the response header and a blank line in `text`, so that of one like the
	 * last one the id alone is another. Of the usual call: the same with its head lines. NULL: none.
	 */
	const struct http1_known *like;
	uint64_t serial;                /* of that head */
	struct span_ids ids;            /* a call's, where spans are exported */
	uint8_t kept_as;                /* enum spare_kind, of the thread that has kept it, or will */
	bool bare;                      /* the usual call's: propagate_renew_bare makes the next one's of `text` */
	char before[INSERTION_GATHERS]; /* room for a copy of the head, up to `text` */
	char text[LIMIT_INJECTION + INSERTION_GATHERS + LIMIT_HEAD_FRAME];
};

/* So much of it is filled with what else goes out behind the insertion. */
#define INSERTION_STRETCH ((size_t)LIMIT_INJECTION + INSERTION_GATHERS)

/*
 * What a request asks of its connection comes first, in one line of the cache: a server has many connections, and each comes again when
 * the processor has forgotten it. What is behind that is of calls, other protocols and spans.
 */
struct conn {
	uint32_t pool_word;
	uint32_t refs; /* descriptors; atomic */
	union {
		struct {
			uint32_t
				gen; /* bumped when the block dies; never set back: who holds a stale handle must notice */
			/* epoch << 22 | thread id, 0 when free; left alone when the block comes back: a stale holder frees it */
			uint32_t lock;
		};
		uint64_t gen_and_lock; /* the lock is the upper half of both */
	};
	/* changes of the sending direction: a number that is still the same means that there were none */
	uint32_t sends;
	union {
		struct {
			uint8_t role; /* enum conn_role; read without the lock too: conn_role */
			uint8_t mode; /* enum conn_mode */
			bool zombie;  /* died while locked: the owner of the lock frees it; atomic */
			/* somebody who could not wait for the lock missed bytes: hands off at the next look; atomic */
			bool missed;
		};
		uint32_t state; /* all four */
	};
	uint8_t blocking; /* 0 not known, 1 blocking, CONN_NEVER_WAITS; atomic */
	bool raw_in;      /* TRACESHIM_RAW: the last bytes came in */
	uint16_t depth;   /* exchanges in the queue */
	union {
		int32_t opener;    /* outgoing: the thread that connected, while no request was sent yet */
		uint16_t children; /* served: conn_children when it came, or, where it was inherited, of before */
	};
	void *tls; /* the session whose plain text this is (tls.h): what passes on the descriptor is none of it; atomic */
	struct exchange *first;
	struct insertion *pending;
	uint64_t answered; /* inside TLS: the span id of the request that was answered last */

	struct exchange *last; /* where there are several: conn_last */
	struct request *owner; /* outgoing: the request that opened it or last wrote on it; raw: the request in work */
	struct protocol *protocol; /* CONN_PROTOCOL: what follows it, else NULL */
	struct request *
		only; /* CONN_PROTOCOL, served: the one request in hand, for looks without the lock; else NULL; atomic */
	struct span_conn *spans; /* what spans know of it (span.h); NULL: none had one */
	uint32_t keeper;         /* served: conn_keeper, CONN_THREAD_MADE; 0: not known; atomic */
};

#define CONN_NEVER_WAITS 2

/* So that the first line is one. */
#define CONN_LINE 64u
#define CONN_BLOCK (2 * CONN_LINE)

struct conn_handle {
	struct conn *conn;
	uint32_t gen;
};

/* The exchange that came last; NULL: there is none. Locked. */
static inline struct exchange *conn_last(const struct conn *conn)
{
	return conn->depth > 1 ? conn->last : conn->first;
}

/*
 * What is looked at without the lock, on the way into a wait: a connection that another thread uses too may give an answer
 * of a moment ago. TSan is told so.
 */
#ifdef __SANITIZE_THREAD__
#define CONN_UNLOCKED_LOOK __attribute__((no_sanitize("thread"), noipa))
#else
#define CONN_UNLOCKED_LOOK
#endif

static inline __attribute__((always_inline)) enum conn_role conn_role(const struct conn *conn)
{
	return (enum conn_role)__atomic_load_n(&conn->role, __ATOMIC_RELAXED);
}

/*
 * Children that this process has made, or in a child its parent, modulo 2^16: each may write on the connections that it has inherited, which
 * nobody else sees. Atomic. conn_children_before: those of before it began, which have made room for it by now.
 */
extern uint16_t conn_children, conn_children_before;

static inline void conn_note_child(void)
{
	__atomic_fetch_add(&conn_children, 1, __ATOMIC_RELAXED);
}

/* conn->keeper: the thread that has accepted it, or was made for it; and whether one was made since it was accepted. */
#define CONN_THREAD_MADE 0x80000000u
static LAYOUT_INLINE uint32_t conn_keeper(int32_t tid)
{
	return (uint32_t)tid;
}

/*
 * By conn_children: since when may a child have what comes on this connection? A child that has inherited it takes it for its own: its
 * parent goes on to others.
 */
static inline __attribute__((always_inline)) uint16_t conn_shared_since(const struct conn *conn)
{
	uint16_t now = __atomic_load_n(&conn_children, __ATOMIC_RELAXED), before = conn_children_before;

	if (__builtin_expect(now == before, 1))
		return before;
	return (uint16_t)(now - conn->children) < (uint16_t)(now - before) ? conn->children : before;
}

/* Was a child made since then? Then that may have answered this request. */
static inline bool conn_child_since(const struct request *served)
{
	return served->children != __atomic_load_n(&conn_children, __ATOMIC_RELAXED);
}

static inline void conn_decide_role(struct conn *conn, enum conn_role role)
{
	if (role == CONN_SERVED && conn->role == CONN_UNDECIDED)
		conn->children = conn_children_before;
	__atomic_store_n(&conn->role, (uint8_t)role, __ATOMIC_RELAXED);
}

/* A connection with one reference. NULL: no memory (counted). */
struct conn *conn_new(enum conn_role role);
void conn_release(struct conn *conn);
/* One more descriptor for it; false when it is dying. */
bool conn_share(struct conn *conn);

/* The connection of a descriptor now; .conn NULL when it has none. Learns unknown descriptors. */
struct conn_handle conn_find(int fd);

/* The same by a word that was just read (fds_word, fds_learn). */
static LAYOUT_INLINE struct conn_handle conn_of_word(int fd, uint64_t word)
{
	struct conn_handle handle = { fds_conn(word), 0 };

	if (handle.conn != NULL) {
		handle.gen = __atomic_load_n(&handle.conn->gen, __ATOMIC_ACQUIRE);
		if (fds_word(fd) != word)
			handle.conn = NULL; /* closed between the two loads: the generation may be the next one's */
	}
	return handle;
}

/* The same of a word that is a connection's (FD_CONN). */
static LAYOUT_INLINE struct conn_handle conn_of_its_word(int fd, uint64_t word)
{
	struct conn_handle handle = { (struct conn *)(uintptr_t)(word - FD_CONN), 0 };

	if (handle.conn == NULL)
		__builtin_unreachable();
	handle.gen = __atomic_load_n(&handle.conn->gen, __ATOMIC_ACQUIRE);
	if (__builtin_expect(fds_word(fd) != word, 0))
		handle.conn = NULL;
	return handle;
}

/* Forks between the first process and this one, modulo 2^10, above the bits of a thread id: what the lock's word begins with. */
#define CONN_TID_BITS 22 /* Linux' PID_MAX_LIMIT is 2^22 */
extern uint32_t conn_epoch;

/* What this thread puts into a lock, in the upper half; 0: not known yet. */
extern __thread uint64_t conn_own_lock __attribute__((tls_model("initial-exec")));
uint64_t conn_ask_own_lock(void) __attribute__((cold));

/*
 * conn_lock's and conn_unlock's rest, where it is not as nearly always: somebody has the lock, or what was locked is another
 * connection by now, was missed, or has died. `mine`: the lock is ours already.
 */
bool conn_lock_slowly(struct conn_handle handle, bool mine, int attempts) __attribute__((cold));
void conn_bury(struct conn *conn) __attribute__((cold));

/* Take the lock if nobody has it. *that: it is that connection's still, which the same instruction tells where nobody else is. */
static LAYOUT_INLINE bool conn_try_lock(struct conn_handle handle, bool *that)
{
	uint64_t known = conn_own_lock, mine = __builtin_expect(known != 0, 1) ? known : conn_ask_own_lock();
	uint64_t expected = handle.gen;
	uint32_t nobody = 0;

	*that = true;
	if (own_alone_here())
		return own_replace64_alone(&handle.conn->gen_and_lock, &expected, mine | handle.gen);
	if (!own_replace32_shared(&handle.conn->lock, &nobody, (uint32_t)(mine >> 32)))
		return false;
	*that = __atomic_load_n(&handle.conn->gen, __ATOMIC_ACQUIRE) == handle.gen;
	return true;
}

/* The lock is ours: did it miss nothing? */
static inline __attribute__((always_inline)) bool conn_is_whole(struct conn_handle handle)
{
	return !__atomic_load_n(&handle.conn->missed, __ATOMIC_ACQUIRE);
}

static LAYOUT_INLINE bool conn_lock_within(struct conn_handle handle, int attempts)
{
	bool that;

	if (__builtin_expect(!conn_try_lock(handle, &that), 0))
		return conn_lock_slowly(handle, false, attempts);
	if (__builtin_expect(that && conn_is_whole(handle), 1))
		return true;
	return conn_lock_slowly(handle, true, attempts);
}

/* Lock, if the connection is still the one that was found. false: it is gone, or busy (then it was made opaque). */
bool conn_lock(struct conn_handle handle);

static LAYOUT_INLINE void conn_unlock(struct conn *conn)
{
	if (__builtin_expect(__atomic_load_n(&conn->zombie, __ATOMIC_ACQUIRE), 0))
		conn_bury(conn);
	else
		__atomic_store_n(&conn->lock, 0, __ATOMIC_RELEASE);
}

/* conn_unlock, where it is seldom called. */
void conn_let_go(struct conn *conn) __attribute__((cold));

/* For a look, by somebody who sees no bytes: one that fails is nothing missed. */
static LAYOUT_INLINE bool conn_lock_to_look(struct conn_handle handle)
{
	bool that;

	if (handle.conn == NULL || __builtin_expect(!conn_try_lock(handle, &that), 0))
		return false;
	if (__builtin_expect(that && conn_is_whole(handle), 1))
		return true;
	conn_let_go(handle.conn);
	return false;
}

/* What is usual, without the lock: HTTP/1, of this role, which has missed nothing. */
static inline __attribute__((always_inline)) bool conn_seems_usual(const struct conn *conn, enum conn_role role)
{
	const union {
		struct {
			uint8_t role, mode;
			bool zombie, missed;
		};
		uint32_t state;
	} usual = { .role = (uint8_t)role, .mode = CONN_HTTP1 };

	return __builtin_expect(__atomic_load_n(&conn->state, __ATOMIC_ACQUIRE) == usual.state, 1);
}

/*
 * For what is done in few steps: lock, if the connection is the one that was found, HTTP/1, of this role, and has missed nothing. false:
 * it is for a look of another kind; nothing was done.
 */
static LAYOUT_INLINE bool conn_lock_usual(struct conn_handle handle, enum conn_role role)
{
	bool that;

	if (__builtin_expect(!conn_try_lock(handle, &that), 0))
		return false;
	if (__builtin_expect(that, 1) && conn_seems_usual(handle.conn, role))
		return true;
	conn_let_go(handle.conn);
	return false;
}

/*
 * The same where giving up would break the program's own stream, because half an insertion is out: waits much longer, but
 * still not for ever, and not above the owner. _to_send: if the connection has such a one pending.
 */
bool conn_lock_patiently(struct conn_handle handle);
bool conn_lock_to_send(struct conn_handle handle);

/* Bytes pass that nobody looks at: hands off from the next look on. Needs no lock. */
void conn_miss(struct conn_handle handle);

/* Hands off from now on: forget all exchanges. Locked. `poisoned`: it was HTTP and became unreadable (counted). */
void conn_make_opaque(struct conn *conn, bool poisoned);

/* It left HTTP/1 by a 101. Locked. */
void conn_upgrade(struct conn *conn);

/* What was said on it so far is over: from now on it carries what this TLS session says (NULL: nothing). Locked. */
void conn_restart(struct conn *conn, void *tls);

/* The session whose cipher text passes on the descriptor; NULL: what passes there is what is said. An unlocked look. */
static inline __attribute__((always_inline)) void *conn_tls(const struct conn *conn)
{
	return __atomic_load_n(&conn->tls, __ATOMIC_RELAXED);
}

/* Append a fresh exchange; NULL: queue full or no memory (the connection is then opaque). Locked. */
struct exchange *conn_push(struct conn *conn);
/* The same of a connection that has none, but for its `up`, which is to be set and has no line yet; built into its callers; `role` is the connection's. */
struct exchange *conn_push_first(struct conn *conn, enum conn_role role);
/* What is left of one that has neither request nor lines nor span any more. Built into its callers. */
void conn_give_exchange(struct exchange *ex, enum conn_role role);
/* Drop the first exchange if both its messages are done. Locked. */
void conn_pop_done(struct conn *conn);

/* Is it one that is followed, and no longer fresh? An unlocked look. */
bool conn_is_http1(const struct conn *conn);

/* Does it speak another protocol, which the usual ways of HTTP/1 are not for? An unlocked look; built into its callers. */
bool conn_has_protocol(const struct conn *conn);

/* Is the descriptor in blocking mode? Asked once (fcntl) and remembered until the program changes it. Keeps errno. */
bool conn_ask_blocking(struct conn *conn, int fd) __attribute__((cold));

static inline bool conn_is_blocking(struct conn *conn, int fd)
{
	uint8_t known = __atomic_load_n(&conn->blocking, __ATOMIC_RELAXED);

	return __builtin_expect(known != 0, 1) ? known == 1 : conn_ask_blocking(conn, fd);
}

/* A new epoch: locks of the parent's other threads are void. In the child of a fork. */
void conn_after_fork(void);

/* Buffer for a split head line, for http1_feed; given back with the exchange. */
char *conn_line_buffer(void *owner);
void conn_line_buffer_free(char *line);

/* Blocks for insertions. */
struct insertion *insertion_new(void);
/*
 * The one that the thread has kept of an answer, with the length and text that it had, of which nothing is sent; NULL: none. And that of
 * a call, or a new one; NULL: no memory (counted). Built into their callers.
 */
struct insertion *insertion_borrow(void);
struct insertion *insertion_of_call(void);
void insertion_free(struct insertion *ins);

#endif

/*
 * What tls.c and tls_send.c know of a session.
 */
#ifndef TRACESHIM_TLS_INTERNAL_H
#define TRACESHIM_TLS_INTERNAL_H

#include "tls.h"

enum tls_tie {
	TLS_UNTIED, /* no plain text yet, or the descriptor is gone */
	TLS_TIED,   /* the connection is its descriptor's */
	TLS_OWN     /* the descriptor is not known: a connection of its own */
};

/* What each call looks at comes first, in one line of the cache. */
struct tls {
	void *key; /* the library's session; NULL or TLS_FREE: free; atomic */
	struct conn_handle handle;
	int fd; /* tied: the descriptor; else -1 */
	uint8_t tie;
	bool stuck; /* the library is in the midst of bytes of the program's: they come again, and as they are */
	bool busy;  /* that, or of a write that is not through yet */
	/* The hook's own, for any session with this key that is tied: which library made it, if it has this word. Else `word` is no session's. */
	const void *word, *made_by;
	struct tls *next; /* that has the same place, for good; atomic */
	uint32_t shared;  /* how many hold it besides the first one; atomic */

	struct tls_cork cork;

	/*
	 * A write that is not through yet, and is made again: see tls_send.c. Either a piece of the program's bytes is with the
	 * library, or an insertion with what is around it, which lies in the insertion's block from `start` on.
	 */
	struct insertion *insertion;
	const char *start;
	uint32_t before, after; /* program's bytes in front of the insertion's text, and behind it */
	size_t piece;
	size_t done, total; /* the program's bytes of this call: that are through, and all */
	struct request *caller;
} __attribute__((aligned(64)));

/*
 * Sessions by address: a power of two. Each place holds one, which is found there at once; others of the same place are in a chain behind
 * it. NULL until the first one; atomic.
 */
#define TLS_PLACES 4096u
#define TLS_FREE ((void *)1) /* no session's address: so NULL, which is none either, finds nothing */
extern struct tls *tls_places;
extern struct tls *
	tls_usual_places; /* the same for calls as nearly all are (tls_usual.h); NULL also once the process is no guest any more */

static inline __attribute__((always_inline)) struct tls *tls_place_of(struct tls *places, const void *key)
{
	/*
	 * Neighbours have neighbouring places, so few pages: a session of libssl's is some 6,500 bytes, and what else is allocated with it lies
	 * behind it. What lies at large distances differs in the higher bits.
	 */
	return &places[((uintptr_t)key ^ (uintptr_t)key >> 12) >> 13 & (TLS_PLACES - 1)];
}

/* `places` may be NULL. Of no session (NULL) there is none. */
static inline __attribute__((always_inline)) struct tls *tls_find_in(struct tls *places, const void *key)
{
	struct tls *t;

	if (__builtin_expect(places == NULL, 0))
		return NULL;
	t = tls_place_of(places, key);
	while (__builtin_expect(__atomic_load_n(&t->key, __ATOMIC_ACQUIRE) != key, 0))
		if ((t = __atomic_load_n(&t->next, __ATOMIC_ACQUIRE)) == NULL)
			break;
	return t;
}

static inline struct tls *tls_find(const void *key)
{
	return tls_find_in(__atomic_load_n(&tls_places, __ATOMIC_ACQUIRE), key);
}

/* conn_tls, in place also where all is small. */
static inline __attribute__((always_inline)) const void *tls_of(const struct conn *conn)
{
	return __atomic_load_n(&conn->tls, __ATOMIC_RELAXED);
}

/* Is the connection of a session that is tied still the one that it was? One that dies says so before it becomes another. */
static inline __attribute__((always_inline)) bool tls_is_alive(const struct tls *t)
{
	return tls_of(t->handle.conn) == t;
}

/* The connection of a session for the bytes that come now; NULL: none to be had. May make one. */
struct conn *tls_settle(struct tls_call *call);

/* tls_begin; `moves`: plain text, and who moves it says whose event that is. */
bool tls_begin_as(struct tls_call *call, void *session, const struct tls_library *library, enum conn_role role,
                  bool moves);

/* The thread is inside of the session, until tls_leave. */
static inline __attribute__((always_inline)) void tls_enter(struct tls_call *call, struct tls *t,
                                                            const struct tls_library *library)
{
	call->session = t;
	call->library = library;
	call->outer = tls_mark;
	tls_mark = (struct tls_mark){ .below = t->handle.conn != NULL ? tls_below(t->handle.conn) : TLS_BELOW_UNKNOWN,
		                      .session = t,
		                      .fd = -1 };
}

/* What the library used is its descriptor, if that is still to be known. */
void tls_note(struct tls_call *call, struct tls_mark inner, enum conn_role role);

static inline __attribute__((always_inline)) void tls_leave(struct tls_call *call, enum conn_role role)
{
	struct tls_mark inner = tls_mark;

	tls_mark = call->outer;
	if (tls_is_inside())
		tls_mark.other_session = true;
	if (__builtin_expect(call->session->tie == TLS_UNTIED, 0))
		tls_note(call, inner, role);
}

/* The end of a usual read (tls_usual.h) by which nothing came. Returns `received`. */
long tls_received_nothing(struct tls *t, const struct tls_library *library, long received);

/* Of a usual answer (tls_usual.h) not all was written. Leaves the session. */
long tls_answer_in_part(struct tls_emitter *emitter, struct io_send *io, const struct iovec *v, long sent);

/* Drop what is unfinished of a write. */
void tls_drop_write(struct tls *t);

#endif

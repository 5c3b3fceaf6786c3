/*
 * Connections inside TLS: the plain text that a program hands to its library of TLS, and gets from it, is what a connection
 * (conn.h) carries; what passes on the descriptor below is cipher text and is not looked at. The hooks on OpenSSL and GnuTLS
 * call this around the real calls, as those on sockets call io.h. Everything keeps errno; nothing is held across a real call.
 *
 * A session is used by one thread at a time, by the libraries' own rule. Nothing here is for signal handlers, since nothing of
 * theirs is; but no handler and no forked child can be made to wait by it either.
 */
#ifndef TRACESHIM_TLS_H
#define TRACESHIM_TLS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "io.h"

struct tls;

/*
 * What is asked of the library about a session; its functions are made from where a connection is not locked. All are NULL for one
 * that cannot be asked: its sessions pass through.
 */
struct tls_library {
	int (*descriptor)(const struct tls_library *library, void *session); /* -1: it does not know */
	enum conn_role (*role)(const struct tls_library *library, void *session);
	/* May the call that failed with `result` be made again? Then the library may be in the midst of what it was given. */
	bool (*again)(const struct tls_library *library, void *session, long result);
	/* May a write take a part of the bytes, and be told so? */
	bool (*partial)(const struct tls_library *library, void *session);
};

/* Which session the thread is inside of, and what descriptor its library used there: that is the one below it. */
struct tls_mark {
	/* One more than the word of a descriptor of the connection whose plain text it moves; TLS_BELOW_UNKNOWN: not known yet; 0: it is inside of none */
	uintptr_t below;
	const struct tls *session; /* NULL: that connection's (tls_usual.h) */
	int fd;                    /* -1: none yet */
	bool several;              /* several ones */
	bool other_session;        /* it went through another session, and its descriptor is that one's */
	bool quiet;                /* what the library calls of itself for this session says nothing new */
};
extern __thread struct tls_mark tls_mark __attribute__((tls_model("initial-exec")));

#define TLS_BELOW_UNKNOWN 15u /* no word is one less */

static inline __attribute__((always_inline)) uintptr_t tls_below(const struct conn *conn)
{
	return (uintptr_t)conn + FD_CONN + 1;
}

static inline __attribute__((always_inline)) bool tls_is_inside(void)
{
	return tls_mark.below != 0;
}

static inline void tls_notice(int fd)
{
	if (tls_mark.fd >= 0 && tls_mark.fd != fd)
		tls_mark.several = true;
	tls_mark.fd = fd;
}

/*
 * Is this the word of a descriptor on which the thread moves cipher text now? Then there is nothing to do about that call. A program may
 * leave the library by longjmp, or change stacks within: what the thread is inside of may have gone, and its connection be another one.
 */
static LAYOUT_INLINE bool tls_is_below(uint64_t word)
{
	return __builtin_expect(word + 1 == tls_mark.below, 1) &&
	       conn_tls((const struct conn *)(uintptr_t)(word - FD_CONN)) != NULL;
}

/* Is what passes on this descriptor the cipher text of a session that we read? For each call on it. */
static inline bool tls_passes(const struct conn *conn, int fd)
{
	if (conn_tls(conn) != NULL)
		return true;
	if (__builtin_expect(tls_is_inside(), 0) && !conn_is_http1(conn))
		tls_notice(fd);
	return false;
}

/* Around one real call; on the hook's stack. */
struct tls_call {
	struct tls *session;
	const struct tls_library *library;
	struct io_receive receive;
	struct tls_mark outer;
};

/*
 * Handshakes, and whatever else moves no plain text. `role`: what the call itself says; CONN_UNDECIDED: ask the library.
 * false: there is nothing to do after it.
 */
bool tls_begin(struct tls_call *call, void *session, const struct tls_library *library, enum conn_role role);
void tls_end(struct tls_call *call, enum conn_role role);

/* Reads: `received` is the library's result, `room` what it was asked for; `peek`: the bytes will come again. */
bool tls_receive_begin(struct tls_call *call, void *session, const struct tls_library *library);
void tls_receive_end(struct tls_call *call, void *buf, size_t room, long received, bool peek);

/*
 * A write: makes the real ones by `emit`, which returns what the library does, or the bytes taken. The result is the program's
 * own count, or what the library said when it took none: then the program makes the same call again (or gives up).
 * insert: false where nothing may be added (early data).
 */
struct tls_emitter {
	long (*emit)(struct tls_emitter *emitter, const void *bytes, size_t len);
	void *session;
	const struct tls_library *library;
	bool insert;
};

/* What the library does within this call by its own exported functions has been, or will be, told by the call. */
static inline void tls_keep_quiet(void)
{
	tls_mark.quiet = true;
}

/* GnuTLS keeps what is written (corked), and later says how much it was: what was inserted must be taken off. NULL: nothing. */
struct tls_cork {
	bool corked;
	uint32_t inserted;
};
struct tls_cork *tls_cork(void *session);

/*
 * Write `len` bytes of the program's into the session by `emitter->emit`, which may be asked several times, with what is inserted. Returns
 * what the program is to be told, with errno and the library's errors as the last `emit` left them. As signal-safe as `emit`. See tls_send.c.
 */
long tls_send(struct tls_emitter *emitter, const void *buf, size_t len);

/*
 * A client is about to send early data: the server may get them twice, or refuse them, and then the program sends them again, by
 * the same session. So what is an answer to what is not known, and the connection passes from here on.
 */
void tls_pass(void *session, const struct tls_library *library);

/* Bytes that the library sent out of a file. */
void tls_send_unseen(void *session, long sent);

/* The program ends its direction: the end of a response until close. */
void tls_shut(void *session);

/*
 * The library's session is gone, or a new one has its address (forget); it is used for another connection (reset). Somebody
 * else holds it too, from now on (share); one who held it lets go of it, which forgets it if that was the last one (release).
 */
void tls_forget(void *session);
void tls_reset(void *session);
void tls_share(void *session);
void tls_release(void *session);
/* It was given this descriptor. */
void tls_rebound(void *session, int fd);

/* The process is no guest any more: what is usual is not either. */
void tls_retire(void);

/*
 * The library works in memory, and what it is fed with comes by this descriptor, for certain: `inside` is the connection of a session's
 * plain text. What passes on the descriptor says nothing from now on.
 */
void tls_fed(struct conn_handle inside, int fd);

#endif

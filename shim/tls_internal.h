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

struct tls {
	struct tls *next; /* in its chain, for good */
	void *key;        /* the library's session; NULL: free; atomic */
	struct conn_handle handle;
	int fd;    /* tied: the descriptor; else -1 */
	int noted; /* the descriptor that the library used; -1: none */
	uint8_t tie;
	struct tls_cork cork;
	uint32_t shared; /* how many hold it besides the first one; atomic */
	bool stuck;      /* the library is in the midst of bytes of the program's: they come again, and as they are */

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
};

/* The connection of a session for the bytes that come now; NULL: none to be had. May make one. */
struct conn *tls_settle(struct tls_call *call);

/* tls_begin; `moves`: plain text, and who moves it says whose event that is. */
bool tls_begin_as(struct tls_call *call, void *session, const struct tls_library *library, enum conn_role role,
                  bool moves);

/* Drop what is unfinished of a write. */
void tls_drop_write(struct tls *t);

#endif

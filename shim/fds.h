/*
 * What each descriptor is. One word a descriptor, read without a lock on every call that the program makes.
 */
#ifndef TRACESHIM_FDS_H
#define TRACESHIM_FDS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "layout.h"
#include "limits.h"
#include "record.h"

struct conn;

enum fd_kind {
	FD_UNKNOWN, /* born out of our sight, or just born: looked at when it is first used */
	FD_NOTHING, /* nothing of ours: a file, a device */
	FD_CHANNEL, /* pipe, eventfd, datagram socket, ...: what is read from it may be a hand-over from another thread */
	FD_STREAM,   /* stream socket that is not connected yet */
	FD_LISTENER, /* stream socket that listens */
	FD_CONN,     /* connected stream socket; payload: struct conn */
	FD_LOG       /* log stream; payload: index of the log file and enum record_stream */
};

/*
 * Two levels: a process with few descriptors touches one page of words. Filled once a chunk, never emptied. The chunks of the first
 * numbers, which nearly all are, lie behind each other: there the word is one load, and zero is FD_UNKNOWN whether the chunk was
 * used or not; and the very first one may be used though it is not filled in.
 */
#define FDS_CHUNK 1024u
#define FDS_FIRST (8 * FDS_CHUNK)
extern uint64_t *fds_chunk[LIMIT_FDS / FDS_CHUNK];
extern uint64_t fds_first[FDS_FIRST];

/* The word of a descriptor; 0 (FD_UNKNOWN) where there is none. Any int is allowed. Signal-safe. */
uint64_t fds_word_beyond(int fd);

static LAYOUT_INLINE uint64_t fds_word(int fd)
{
	if (__builtin_expect((unsigned)fd < FDS_FIRST, 1))
		return __atomic_load_n(&fds_first[(unsigned)fd], __ATOMIC_ACQUIRE);
	return fds_word_beyond(fd);
}

static inline enum fd_kind fds_kind(uint64_t word)
{
	return (enum fd_kind)(word & 15u);
}

static inline __attribute__((always_inline)) struct conn *fds_conn(uint64_t word)
{
	return fds_kind(word) == FD_CONN ? (struct conn *)(uintptr_t)(word & ~(uint64_t)15) : NULL;
}

/*
 * An epoll set is a channel that remembers what was put into it, as far as we have seen: served connections and listeners, or
 * other things. Some programs put descriptors in by io_uring, so a set of which nothing was seen may hold anything.
 */
#define FDS_EPOLL_SERVED 0x100u
#define FDS_EPOLL_OTHER 0x200u

static inline bool fds_epoll_serves_nobody(uint64_t word)
{
	return fds_kind(word) == FD_CHANNEL && (word & (FDS_EPOLL_SERVED | FDS_EPOLL_OTHER)) == FDS_EPOLL_OTHER;
}

static inline unsigned fds_log_file(uint64_t word)
{
	return (unsigned)(word >> 8) & 0xffu;
}

static inline enum record_stream fds_log_stream(uint64_t word)
{
	return (enum record_stream)((word >> 16) & 3u);
}

/*
 * The word of a descriptor, after looking what it is if nobody knows yet: fstat and, for sockets, getsockopt. Connected
 * sockets of unknown origin (inetd, SCM_RIGHTS, exec) become connections whose role their first bytes decide.
 * Signal-safe; changes errno.
 */
uint64_t fds_learn(int fd);

/*
 * Birth and death. fds_birth gives a fresh descriptor the kind that its birth proves (FD_UNKNOWN: look at first use) and
 * lets go of whatever an unseen close left on that number. fds_death is for before the real close. Signal-safe.
 */
void fds_birth(int fd, enum fd_kind kind);
void fds_birth_conn(int fd, struct conn *conn); /* takes over the caller's reference */
/* Something was put into an epoll set: FDS_EPOLL_*. */
void fds_epoll_add(int epoll, uint64_t what);
void fds_death(int fd);
/*
 * The same, in few steps, for a low number of which nothing was known, that is a file's now; and for one that was a file's. Built into their
 * callers. false: it is something else, nothing was done.
 */
bool fds_birth_of_file(int fd);
bool fds_death_of_file(int fd);
void fds_death_range(unsigned first, unsigned last);
void fds_dup(int from, int to);

#endif

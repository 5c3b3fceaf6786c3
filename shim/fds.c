/*
 * The table of descriptors; see fds.h.
 *
 * A word says what a descriptor is: learned once a birth, then one load a call. Numbers are re-used, and closes can be
 * missed (glibc closes inside itself, others close by inline system calls), so every birth that we see resets its word:
 * what an old word says can then only be wrong for a descriptor that was both closed and born out of our sight.
 * Words change by compare-and-swap or exchange, so each connection reference in them is released exactly once.
 */
#include "fds.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include "conn.h"
#include "counters.h"
#include "current.h"
#include "layout.h"
#include "logfiles.h"
#include "os.h"
#include "own.h"
#include "stream.h"

uint64_t *fds_chunk[LIMIT_FDS / FDS_CHUNK] LAYOUT_CHUNKS;

/* The first 8,192 descriptors need no mmap: most processes have no others. */
uint64_t fds_first[FDS_FIRST] LAYOUT_WORDS;

__attribute__((noinline)) uint64_t fds_word_beyond(int fd)
{
	uint64_t *chunk;

	if ((unsigned)fd >= LIMIT_FDS)
		return FD_NOTHING;
	chunk = __atomic_load_n(&fds_chunk[(unsigned)fd / FDS_CHUNK], __ATOMIC_ACQUIRE);
	return chunk == NULL ? FD_UNKNOWN : __atomic_load_n(&chunk[(unsigned)fd % FDS_CHUNK], __ATOMIC_ACQUIRE);
}

static uint64_t *slot_of(int fd)
{
	uint64_t **chunk, *slots, *none = NULL;

	if ((unsigned)fd >= LIMIT_FDS) {
		if (fd >= 0)
			counters_count_seldom(fd_limit_skipped);
		return NULL;
	}
	chunk = &fds_chunk[(unsigned)fd / FDS_CHUNK];
	slots = __atomic_load_n(chunk, __ATOMIC_ACQUIRE);
	if (slots == NULL) {
		/* Two threads that come here at once leave one unused chunk behind: rarer than it is worth mending. */
		slots = (unsigned)fd < FDS_FIRST ? &fds_first[(unsigned)fd / FDS_CHUNK * FDS_CHUNK] :
		                                   os_pages(FDS_CHUNK * sizeof(*slots));
		if (slots == NULL) {
			counters_count_seldom(no_memory_skipped);
			return NULL;
		}
		if (!__atomic_compare_exchange_n(chunk, &none, slots, 0, __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE))
			slots = none;
	}
	return &slots[(unsigned)fd % FDS_CHUNK];
}

static void let_go(uint64_t word)
{
	struct conn *conn = fds_conn(word);

	if (conn != NULL)
		conn_release(conn);
}

static __attribute__((cold)) __attribute__((noinline)) void replace_any(int fd, uint64_t word)
{
	uint64_t *slot;

	/* Nothing known and nothing to say: leave the chunk unmapped. */
	if (word == fds_word(fd) && fds_conn(word) == NULL)
		return;
	slot = slot_of(fd);
	if (slot == NULL)
		let_go(word);
	else
		let_go(__atomic_exchange_n(slot, word, __ATOMIC_ACQ_REL));
}

/* Most births and deaths are of files, of which nothing has to be let go. */
static __attribute__((noinline)) void replace(int fd, uint64_t word)
{
	uint64_t *slots = (unsigned)fd < LIMIT_FDS ?
	                          __atomic_load_n(&fds_chunk[(unsigned)fd / FDS_CHUNK], __ATOMIC_ACQUIRE) :
	                          NULL;

	if (slots != NULL) {
		uint64_t *slot = &slots[(unsigned)fd % FDS_CHUNK], before = __atomic_load_n(slot, __ATOMIC_ACQUIRE);

		if (fds_kind(before) != FD_CONN && own_replace64(slot, &before, word))
			return;
	}
	replace_any(fd, word);
}

void fds_birth(int fd, enum fd_kind kind)
{
	replace(fd, kind);
}

void fds_birth_conn(int fd, struct conn *conn)
{
	replace(fd, conn == NULL ? FD_NOTHING : (uint64_t)(uintptr_t)conn | FD_CONN);
}

void fds_epoll_add(int epoll, uint64_t what)
{
	uint64_t word = fds_word(epoll);
	uint64_t *slot;

	if (fds_kind(word) != FD_CHANNEL || (word & what) == what || (slot = slot_of(epoll)) == NULL)
		return;
	while (fds_kind(word) == FD_CHANNEL &&
	       !__atomic_compare_exchange_n(slot, &word, word | what, 0, __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE))
		;
}

LAYOUT_BUILT_IN bool fds_birth_of_file(int fd)
{
	return (unsigned)fd < FDS_CHUNK && own_replace64_here(&fds_first[fd], FD_UNKNOWN, FD_NOTHING);
}

LAYOUT_BUILT_IN bool fds_death_of_file(int fd)
{
	return (unsigned)fd < FDS_FIRST && own_replace64_here(&fds_first[fd], FD_NOTHING, FD_UNKNOWN);
}

void fds_death(int fd)
{
	if (!fds_death_of_file(fd))
		replace(fd, FD_UNKNOWN);
}

__attribute__((cold)) void fds_death_range(unsigned first, unsigned last)
{
	unsigned fd;

	if (last >= LIMIT_FDS)
		last = LIMIT_FDS - 1;
	for (fd = first; fd <= last; fd++) {
		/* closefrom(3) sweeps a million numbers: skip what was never used. The first ones may have been (fds_birth_of_file). */
		if (fd >= FDS_CHUNK && __atomic_load_n(&fds_chunk[fd / FDS_CHUNK], __ATOMIC_ACQUIRE) == NULL)
			fd |= FDS_CHUNK - 1;
		else if (fds_word((int)fd) != FD_UNKNOWN)
			fds_death((int)fd);
	}
}

__attribute__((cold)) void fds_dup(int from, int to)
{
	uint64_t word = fds_word(from);
	struct conn *conn;

	if (from == to)
		return;
	/* Inherited and copied before it was used: later each number would be a connection of its own, and each could send into the
	   midst of what the other one inserts. */
	if (fds_kind(word) == FD_UNKNOWN) {
		int saved = errno;

		word = fds_learn(from);
		errno = saved;
	}
	conn = fds_conn(word);
	if (conn != NULL && !conn_share(conn))
		word = FD_UNKNOWN;
	/* 2>&1 makes a log of another stream: look again rather than copy the stream. */
	if (fds_kind(word) == FD_LOG)
		word = FD_UNKNOWN;
	replace(to, word);
}

static __attribute__((cold)) uint64_t learn_socket(int fd)
{
	struct sockaddr_storage peer;
	socklen_t len = sizeof(int);
	struct conn *conn;
	int value = 0;

	if (os.getsockopt(fd, SOL_SOCKET, SO_TYPE, &value, &len) != 0 || value != SOCK_STREAM)
		return FD_CHANNEL;
	len = sizeof(int);
	if (os.getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &value, &len) == 0 && value != 0)
		return FD_LISTENER;
	len = sizeof(peer);
	if (getpeername(fd, (struct sockaddr *)&peer, &len) != 0)
		return FD_STREAM;
	if (current_is_blind())
		return FD_NOTHING; /* handed to a worker of a cluster, say: its requests are told by the runtime */
	stream_prepare();
	conn = conn_new(CONN_UNDECIDED);
	return conn == NULL ? FD_NOTHING : (uint64_t)(uintptr_t)conn | FD_CONN;
}

static __attribute__((cold)) uint64_t learn(int fd)
{
	enum record_stream stream;
	struct stat st;
	int file;

	if (os_fstat(fd, &st) != 0)
		return FD_UNKNOWN;
	file = logfiles_match(fd, &st, &stream);
	if (file == LOGFILES_BUSY)
		return FD_UNKNOWN; /* passes this once; to be looked at again */
	if (file >= 0)
		return FD_LOG | (uint64_t)file << 8 | (uint64_t)stream << 16;
	if (S_ISSOCK(st.st_mode))
		return learn_socket(fd);
	return S_ISREG(st.st_mode) || S_ISCHR(st.st_mode) || S_ISDIR(st.st_mode) || S_ISBLK(st.st_mode) ? FD_NOTHING :
	                                                                                                  FD_CHANNEL;
}

__attribute__((cold)) uint64_t fds_learn(int fd)
{
	uint64_t expected = FD_UNKNOWN;
	uint64_t *slot;
	uint64_t word;

	word = fd < 0 ? FD_UNKNOWN : learn(fd);
	if (word == FD_UNKNOWN)
		return FD_NOTHING; /* not open: the real call will say so */
	slot = slot_of(fd);
	if (slot != NULL && __atomic_compare_exchange_n(slot, &expected, word, 0, __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE))
		return word;
	let_go(word);
	return slot == NULL ? FD_NOTHING : expected;
}

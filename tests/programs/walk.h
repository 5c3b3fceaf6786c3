/*
 * What the parts of walk_guest share: the dice, the walk's world, and how a call is told. See walk_guest.c.
 *
 * What a step does follows from the seed and from what calls returned. The cursors of connections lie in memory that forked children
 * share, because these go on where their parent stopped; descriptors and streams are each process' own.
 */
#ifndef WALK_H
#define WALK_H

#include "torture.h"

#include <linux/sockios.h>
#include <netinet/tcp.h>
#include <sched.h>
#include <sys/ioctl.h>

#define WALK_CONNS 6
#define WALK_DIALOGUES 60
#define WALK_COPIES 4       /* descriptors of one connection */
#define WALK_TAPE 24576     /* bytes that either side of a connection may say */
#define WALK_EXCHANGES 10   /* requests on a connection */
#define WALK_UNDRAINED 9000 /* bytes sent until the peer must read: any socket holds that, with what is inserted */
#define WALK_CHUNK 6000     /* bytes of one call */

/* ---- dice ---- */

static __thread uint64_t walk_state;
static uint64_t walk_seed;

static inline uint64_t walk_random(void)
{
	uint64_t z = walk_state += 0x9e3779b97f4a7c15u;

	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
	z = (z ^ z >> 27) * 0x94d049bb133111ebu;
	return z ^ z >> 31;
}

/* 0 to n - 1; 0 for n = 0. */
static inline size_t dice(size_t n)
{
	return n == 0 ? 0 : walk_random() % n;
}

static inline bool chance(unsigned percent)
{
	return dice(100) < percent;
}

/* A length of 1 to most, small ones and all of it more often. 0 for most = 0. */
static inline size_t some(size_t most)
{
	size_t limit = most;

	switch (dice(5)) {
	case 0: limit = 1; break;
	case 1: limit = 24; break;
	case 2: return most;
	default: break;
	}
	return most == 0 ? 0 : 1 + dice(limit < most ? limit : most);
}

/* ---- telling ---- */

static int walk_step;
static bool
	walk_calm; /* nothing that makes connections pass: no children, no calls by number, no noise, and everybody waits for answers */
static __thread char walk_who = 'a'; /* the thread; in capitals in a forked child */
static volatile sig_atomic_t walk_signals;

static inline uint32_t checksum(const void *bytes, size_t len)
{
	const unsigned char *at = bytes;
	uint32_t sum = 2166136261u;

	while (len-- > 0)
		sum = (sum ^ *at++) * 16777619u;
	return sum;
}

#define tell(format, ...) trail("%d%c " format, walk_step, walk_who, ##__VA_ARGS__)

static inline const char *error_name(void)
{
	const char *name = errno == PRESET ? "-" : strerrorname_np(errno);

	return name == NULL ? "?" : name;
}

/* Make the call, tell what it was given, what it returned and what errno was then. Its result is the value. */
#define CALL(expression, format, ...)                                                                                  \
	({                                                                                                             \
		long walk_result;                                                                                      \
		errno = PRESET;                                                                                        \
		walk_result = (long)(expression);                                                                      \
		tell(format " = %ld %s%s", ##__VA_ARGS__, walk_result, error_name(), walk_signals ? " SIGPIPE" : "");  \
		walk_signals = 0;                                                                                      \
		walk_result;                                                                                           \
	})

/* ---- memory that is not there ---- */

static char *walk_room; /* a writable MiB that ends at a page that cannot be touched */
#define WALK_ROOM (1u << 20)

static inline void *nowhere(void)
{
	return chance(50) ? walk_room + WALK_ROOM : (void *)(uintptr_t)(8 + dice(4000));
}

/* ---- the peers' end, by calls that nobody sees ---- */

/* Something comes soon: the machine may be busy. A result that never comes is an error of the test. */
#define UNTIL(condition, what)                                                                                         \
	do {                                                                                                           \
		int walk_tries = 0;                                                                                    \
		while (!(condition)) {                                                                                 \
			must(++walk_tries < 20000, what);                                                              \
			raw(SYS_poll, 0, 0, walk_tries < 100 ? 0 : 1);                                                 \
		}                                                                                                      \
	} while (0)

/* Out of the way of the numbers that the program gets, and unknown to the object. */
static inline int out_of_the_way(int fd)
{
	int moved = (int)raw(SYS_fcntl, fd, F_DUPFD_CLOEXEC, 700);

	must(fd >= 0 && moved >= 0, "a descriptor of the peer");
	raw(SYS_close, fd, 0, 0);
	return moved;
}

static inline void raw_write_all(int fd, const char *bytes, size_t len)
{
	while (len > 0) {
		long n = raw(SYS_write, fd, bytes, len);

		must(n > 0, "a write of the peer");
		bytes += n;
		len -= (size_t)n;
	}
}

#endif

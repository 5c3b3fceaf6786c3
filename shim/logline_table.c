/*
 * The unfinished lines of each log file, and the bytes held back from programs.
 *
 * Mechanism. A short list per file, newest first, guarded by a try-lock whose word names its holder. The lock is held for
 * list work only: a few loads and stores, no system call, no copying of lines, no formatting. Whoever takes a line
 * unlinks it and owns it; whoever is done puts it back or frees it. So there are three ways to meet a taken lock:
 * - the holder is this very thread: we are a signal handler inside the few instructions of list work. Waiting would be
 *   for ever: give up at once; the caller then formats what it has without the table.
 * - another thread runs list work: it will be over in nanoseconds, or, when the thread was preempted, in a time slice.
 *   Wait, with a bound.
 * - the holder will never come back (a handler that jumped out, a thread that was cancelled): the bound is met once, and
 *   the word is remembered as stuck, so that nobody waits for it again. The table is then out of use: lines still come
 *   out, unfinished ones as partial records.
 *
 * Who may call: any thread, any signal handler. Memory: at most LIMIT_PARTIAL_LINES blocks of 64 KiB, of which only the
 * pages that were written to exist, and LIMIT_CUT_LINES stubs of 80 bytes; they are never given back, but used again, last in,
 * first out.
 */
#include <sched.h>
#include <stddef.h>

#include "layout.h"
#include "logline_internal.h"
#include "os.h"
#include "pool.h"
#include "request.h"

#define SPINS 200       /* looks at a lock of list work before giving way */
#define WAIT_MAX_MS 250 /* and then this long, once per holder, before it counts as stuck: many time slices */

struct logline_file logline_files[LOGLINE_FILES] LAYOUT_LATER;
bool (*logline_has_more)(logline_key key);
bool (*logline_leads_to)(unsigned file, int fd);

POOL(line_pool, sizeof(struct logline_line), 2);
POOL(stub_pool, offsetof(struct logline_line, bytes), 16);
static uint32_t lines_used, stubs_used;
static uint32_t lock_turn;

struct logline_line *logline_line_new(bool stub)
{
	uint32_t *used = stub ? &stubs_used : &lines_used;
	struct logline_line *line = NULL;

	if (__atomic_add_fetch(used, 1, __ATOMIC_RELAXED) <= (stub ? LIMIT_CUT_LINES : LIMIT_PARTIAL_LINES))
		line = pool_take(stub ? &stub_pool : &line_pool);
	if (!line) {
		__atomic_sub_fetch(used, 1, __ATOMIC_RELAXED);
		return NULL;
	}
	line->stub = stub;
	line->len = 0;
	line->next = NULL;
	line->request = NULL;
	line->who = WHO_NOT_SAID;
	line->print = (struct logline_print){ 0, 0 };
	line->cut = false;
	line->born_ms = os_monotonic_ms();
	return line;
}

void logline_line_free(struct logline_line *line)
{
	uint32_t *used = line->stub ? &stubs_used : &lines_used;

	pool_give(line->stub ? &stub_pool : &line_pool, line);
	/* A call that was interrupted by a handler that forked gives back, in the child, what was forgotten there. */
	if (__atomic_load_n(used, __ATOMIC_RELAXED))
		__atomic_sub_fetch(used, 1, __ATOMIC_RELAXED);
}

static bool lock_try(struct logline_file *f, uint64_t mine, uint64_t *holder)
{
	*holder = 0;
	return __atomic_compare_exchange_n(&f->lock, holder, mine, false, __ATOMIC_ACQUIRE, __ATOMIC_RELAXED);
}

static bool lock(struct logline_file *f)
{
	uint32_t tid = (uint32_t)os_tid();
	uint64_t mine = (uint64_t)__atomic_add_fetch(&lock_turn, 1, __ATOMIC_RELAXED) << 32 | tid, holder;
	uint64_t until = 0;
	int i;

	for (i = 0; i < SPINS || os_monotonic_ms() < until; i++) {
		if (lock_try(f, mine, &holder))
			return true;
		if ((uint32_t)holder == tid || holder == __atomic_load_n(&f->stuck, __ATOMIC_RELAXED))
			return false;
		if (i >= SPINS)
			sched_yield();
		else if (i == SPINS - 1)
			until = os_monotonic_ms() + WAIT_MAX_MS;
	}
	__atomic_store_n(&f->stuck, holder, __ATOMIC_RELAXED);
	return false;
}

static void unlock(struct logline_file *f)
{
	__atomic_store_n(&f->lock, 0, __ATOMIC_RELEASE);
}

static bool is_empty(const struct logline_file *f)
{
	return !__atomic_load_n(&f->lines, __ATOMIC_RELAXED);
}

/* Unlink *at and return it; with the lock. */
static struct logline_line *unlink_line(struct logline_file *f, struct logline_line **at)
{
	struct logline_line *line = *at;

	if (at == &f->lines)
		__atomic_store_n(&f->lines, line->next, __ATOMIC_RELAXED);
	else
		*at = line->next;
	line->next = NULL;
	return line;
}

/* The place of the line of this key, or of NULL at the list's end; with the lock. */
static struct logline_line **find(struct logline_file *f, logline_key key)
{
	struct logline_line **at = &f->lines;

	while (*at && (*at)->key != key)
		at = &(*at)->next;
	return at;
}

bool logline_take(struct logline_file *f, logline_key key, struct logline_line **line)
{
	struct logline_line **at;

	*line = NULL;
	if (is_empty(f))
		return true;
	if (!lock(f))
		return false;
	at = find(f, key);
	if (*at)
		*line = unlink_line(f, at);
	unlock(f);
	return true;
}

bool logline_is_pending(unsigned file)
{
	const struct logline_file *f = &logline_files[file < LOGLINE_FILES ? file : 0];

	return __atomic_load_n(&f->lines, __ATOMIC_RELAXED) != NULL || logline_backlog(f);
}

__attribute__((noinline)) bool logline_has_begun(unsigned file, logline_key key)
{
	struct logline_file *f = &logline_files[file < LOGLINE_FILES ? file : 0];
	bool found;

	if (is_empty(f) || !lock(f))
		return false;
	found = *find(f, key) != NULL;
	unlock(f);
	return found;
}

static bool has_more(const struct logline_line *line)
{
	return logline_has_more && logline_has_more(line->key);
}

static bool is_aged(const struct logline_line *line, uint64_t now_ms)
{
	return now_ms > line->born_ms &&
	       now_ms - line->born_ms > (line->stub ? LIMIT_CUT_AGE_MS : LIMIT_PARTIAL_AGE_MS);
}

static bool is_meant(const struct logline_line *line, logline_key key, enum logline_which which)
{
	switch (which) {
	case LINES_ALL: return true;
	case LINES_SETTLED: return !has_more(line);
	case LINES_OF_KEY: break;
	}
	return line->key == key;
}

struct logline_line *logline_take_any(struct logline_file *f, logline_key key, enum logline_which which)
{
	struct logline_line **at, **oldest = NULL, *line = NULL;

	if (is_empty(f) || !lock(f))
		return NULL;
	for (at = &f->lines; *at; at = &(*at)->next) {
		if (is_meant(*at, key, which))
			oldest = at;
	}
	if (oldest)
		line = unlink_line(f, oldest);
	unlock(f);
	return line;
}

struct logline_line *logline_take_aged(struct logline_file *f, logline_key except, uint64_t now_ms)
{
	struct logline_line **at, **oldest = NULL, *line = NULL;

	if (is_empty(f) || !lock(f))
		return NULL;
	for (at = &f->lines; *at; at = &(*at)->next) {
		if ((*at)->key != except && is_aged(*at, now_ms) && !has_more(*at))
			oldest = at;
	}
	if (oldest)
		line = unlink_line(f, oldest);
	unlock(f);
	return line;
}

bool logline_put(struct logline_file *f, struct logline_line *line)
{
	if (!lock(f))
		return false;
	line->next = f->lines;
	__atomic_store_n(&f->lines, line, __ATOMIC_RELAXED);
	unlock(f);
	return true;
}

bool logline_hold(struct logline_file *f, logline_key key, char byte)
{
	bool room;

	if (!lock(f))
		return false;
	room = f->held_count < LOGLINE_HELD;
	if (room) {
		f->held[f->held_count].key = key;
		f->held[f->held_count].byte = byte;
		__atomic_store_n(&f->held_count, f->held_count + 1, __ATOMIC_RELAXED);
	}
	unlock(f);
	return room;
}

/* The next byte of this key: is it the one that was held back? Either way nothing is held back from it any more. */
bool logline_swallow(struct logline_file *f, logline_key key, char byte)
{
	bool same = false;
	uint32_t i;

	if (!__atomic_load_n(&f->held_count, __ATOMIC_RELAXED) || !lock(f))
		return false;
	for (i = 0; i < f->held_count && f->held[i].key != key; i++)
		;
	if (i < f->held_count) {
		same = f->held[i].byte == byte;
		f->held[i] = f->held[f->held_count - 1];
		__atomic_store_n(&f->held_count, f->held_count - 1, __ATOMIC_RELAXED);
	}
	unlock(f);
	return same;
}

void logline_open(unsigned file, bool regular)
{
	if (file < LOGLINE_FILES)
		__atomic_store_n(&logline_files[file].regular, regular, __ATOMIC_RELAXED);
}

/*
 * Only the forking thread exists here. A lock that is taken was another thread's (or a handler forked in the middle of
 * list work): the list may be half-made, so it is dropped as it is, and its blocks are lost to this process.
 */
void logline_after_fork(void)
{
	unsigned i;

	__atomic_store_n(&lines_used, 0, __ATOMIC_RELAXED);
	__atomic_store_n(&stubs_used, 0, __ATOMIC_RELAXED);
	for (i = 0; i < LOGLINE_FILES; i++) {
		struct logline_file *f = &logline_files[i];
		struct logline_line *line = f->lock ? NULL : f->lines, *next;

		f->lines = NULL;
		f->lock = f->stuck = 0;
		f->held_count = 0;
		for (; line; line = next) {
			next = line->next;
			if (line->who == WHO_KNOWN)
				request_unref(line->request);
			pool_give(line->stub ? &stub_pool : &line_pool, line);
		}
		logline_forget_backlog(f);
	}
}

/*
 * A ring is one file, mapped and locked (flock) while it is served: of two agents that look at one folder through different
 * eyes (root and the owner, two mounts) only one reads it. The folder's own lock is there to say so in words.
 *
 * The folder may be everybody's (sticky, like /tmp): so files are opened without following links, must be regular, belong to
 * the user that the header names, and be named for the process that it names. A guest's mapping is shared with us, and whoever
 * may write the file may shorten it: then a read is a SIGBUS. The handler jumps out of the drain, the ring is set aside.
 *
 * Processes are told from later ones of the same pid by their start time. A process that is not seen in /proc is dead: so an
 * agent must see the processes of its guests (one PID namespace).
 *
 * What was read stays in its ring (the published tail does not move, the file of a dead process is not removed) until it is in a
 * back end's hands, in the spool or in a file: an agent that is killed loses nothing, the next one reads it again. Of each ring some
 * positions are known, with how many items had been handed over by then, so that the tail follows also where reading never
 * pauses; what was sent and is behind the last of these is sent again by the next agent.
 *
 * Memory: one struct (24 KiB for the copied entry) and one mapping a ring, RINGS_MAX of them, or as many as there are descriptors for;
 * more have to wait.
 */
#include "rings.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/inotify.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "aside.h"
#include "process.h"
#include "../text.h"

enum { RINGS_MAX = 8192 };
/* Descriptors that back ends, visitors, files and a look at /proc may take; of few, half. */
enum { DESCRIPTORS_KEPT = 256 };
/* Files are found by a hash of their names: each is looked for once a second. */
enum { KNOWN_LISTS = 2048 };
/* Anybody may put files into the folder; so many are told of. */
enum { TOLD_MAX = 20 };
/* Rings of the dead that are kept for what was read of them; each takes a descriptor. */
enum { FINISHED_MAX = 64 };
/* So many positions are remembered, each so far behind the last: a part of the ring. */
enum { MARKS = 16, MARK_PARTS = 64 };

struct ring_mark {
	uint64_t position, item; /* items handed over with the last entry before it */
};

/*
 * A file that was looked at: a ring's, or one that is none of ours, so that it is told of once. By name: numbers of files are used
 * again, names of rings are not.
 */
struct known {
	struct known *next;
	char name[64];
};

struct ring {
	struct ring *next;
	struct ring_reader reader;
	struct origin *origin;
	void *mapping;
	size_t size;
	int fd;
	int pid;
	uint64_t start_ticks;
	uint64_t spans_dropped, lines_dropped; /* as counted last */
	uint64_t released;                     /* position up to which the writer has its room back */
	uint64_t read_item;                    /* how many items had been handed over with the last of what was read */
	uint64_t safe;                         /* a position at which all that was handed over was safe */
	struct ring_mark marks[MARKS];         /* earlier positions that are not, in order */
	unsigned mark_count;
	bool dead, ended, broken, waiting, finished;
	struct known known;
};

struct rings {
	char *folder;
	int dir, lock, notify;
	struct ring *first, **last;
	struct known *known[KNOWN_LISTS];
	unsigned count, alien_count, told_aliens;
	unsigned max; /* of count */
	struct rings_counts counts;
	bool told_full;
};

static sigjmp_buf rings_fault_exit;
static volatile sig_atomic_t rings_may_fault;

static void rings_fault(int signal)
{
	if (rings_may_fault)
		siglongjmp(rings_fault_exit, 1);
	/* Not in a ring: then it is a bug of ours, and the second time is the end. */
	sigaction(signal, &(struct sigaction){ .sa_handler = SIG_DFL }, NULL);
}

static int rings_lock(struct rings *r)
{
	char name[64];
	int fd;

	snprintf(name, sizeof(name), "agent-%u.lock", (unsigned)geteuid());
	fd = openat(r->dir, name, O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (fd < 0) {
		text_error("agent: %s/%s cannot be opened: %s", r->folder, name, strerror(errno));
		return -1;
	}
	if (flock(fd, LOCK_EX | LOCK_NB) == 0)
		return fd;
	if (errno == EWOULDBLOCK)
		text_error("agent: another agent serves %s already; one folder has one agent (another folder: "
		           "TRACESHIM_RUN_DIR)",
		           r->folder);
	else
		text_error("agent: %s/%s cannot be locked: %s", r->folder, name, strerror(errno));
	close(fd);
	return -1;
}

/* Each ring takes a descriptor. */
static unsigned rings_limit(void)
{
	struct rlimit files;
	rlim_t kept;

	if (getrlimit(RLIMIT_NOFILE, &files) != 0 || files.rlim_cur >= RINGS_MAX + DESCRIPTORS_KEPT)
		return RINGS_MAX;
	kept = files.rlim_cur / 2 < DESCRIPTORS_KEPT ? files.rlim_cur / 2 : DESCRIPTORS_KEPT;
	return (unsigned)(files.rlim_cur - kept);
}

struct rings *rings_open(const char *folder)
{
	struct sigaction fault = { .sa_handler = rings_fault };
	struct rings *r = calloc(1, sizeof(*r));

	if (!r)
		return NULL;
	r->notify = r->lock = -1;
	r->last = &r->first;
	r->max = rings_limit();
	r->folder = strdup(folder);
	/* As guests make it: whoever comes first. */
	if (mkdir(folder, 01777) == 0)
		(void)chmod(folder, 01777);
	r->dir = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (r->dir < 0) {
		text_error("agent: the folder %s cannot be opened: %s", folder, strerror(errno));
		rings_close(r);
		return NULL;
	}
	r->lock = rings_lock(r);
	if (r->lock < 0) {
		rings_close(r);
		return NULL;
	}
	sigaction(SIGBUS, &fault, NULL);
	r->notify = inotify_init1(IN_NONBLOCK | IN_CLOEXEC);
	if (r->notify >= 0)
		(void)inotify_add_watch(r->notify, folder, IN_CREATE | IN_MOVED_TO | IN_CLOSE_WRITE);
	return r;
}

int rings_descriptor(const struct rings *r)
{
	return r->notify;
}

const struct rings_counts *rings_counts(const struct rings *r)
{
	return &r->counts;
}

static struct known **rings_list(struct rings *r, const char *name)
{
	uint32_t hash = 2166136261u;

	for (; *name; name++)
		hash = (hash ^ (unsigned char)*name) * 16777619u;
	return &r->known[hash % KNOWN_LISTS];
}

static bool rings_know(struct rings *r, const char *name)
{
	for (const struct known *k = *rings_list(r, name); k; k = k->next)
		if (strcmp(k->name, name) == 0)
			return true;
	return false;
}

static void rings_remember(struct rings *r, struct known *known)
{
	struct known **list = rings_list(r, known->name);

	known->next = *list;
	*list = known;
}

static void rings_forget(struct rings *r, struct known *known)
{
	struct known **at = rings_list(r, known->name);

	while (*at != known)
		at = &(*at)->next;
	*at = known->next;
}

static void rings_remember_alien(struct rings *r, const char *name)
{
	struct known *alien = r->alien_count < RINGS_MAX ? calloc(1, sizeof(*alien)) : NULL;

	if (!alien)
		return;
	snprintf(alien->name, sizeof(alien->name), "%s", name);
	rings_remember(r, alien);
	r->alien_count++;
}

static void rings_tell_alien(struct rings *r, const char *name, const char *trouble)
{
	if (r->told_aliens < TOLD_MAX)
		text_error("agent: %s/%s is left aside: %s", r->folder, name, trouble);
	else if (r->told_aliens == TOLD_MAX)
		text_error("agent: more files in %s are left aside, which are counted only", r->folder);
	else
		return;
	r->told_aliens++;
}

/* Why this file is no ring of ours, in words; NULL when it is one. Fills in the reader and the header. */
static const char *rings_examine(struct ring *ring, const struct stat *st, struct ring_header *header)
{
	unsigned long long ticks;
	int pid;

	ring->mapping = mmap(NULL, ring->size, PROT_READ | PROT_WRITE, MAP_SHARED, ring->fd, 0);
	if (ring->mapping == MAP_FAILED) {
		ring->mapping = NULL;
		return "it cannot be mapped";
	}
	if (sigsetjmp(rings_fault_exit, 1)) {
		rings_may_fault = 0;
		return "it is shorter than it was";
	}
	rings_may_fault = 1;
	if (!ring_reader_begin(&ring->reader, ring->mapping, ring->size, header)) {
		rings_may_fault = 0;
		return "it is not a ring of this version";
	}
	rings_may_fault = 0;
	if (header->uid != st->st_uid)
		return "it belongs to another user than it says";
	if (sscanf(ring->known.name, "%d-%llu-", &pid, &ticks) != 2 || pid != header->pid ||
	    ticks != header->start_ticks)
		return "its name is not that of the process which it names";
	return NULL;
}

static void rings_free(struct ring *ring)
{
	if (ring->mapping)
		munmap(ring->mapping, ring->size);
	if (ring->fd >= 0)
		close(ring->fd);
	origin_drop(ring->origin);
	free(ring);
}

static void rings_add(struct rings *r, const char *name)
{
	struct ring_header header;
	struct ring *ring;
	struct stat st;
	const char *trouble;

	if (strlen(name) >= sizeof(ring->known.name) || rings_know(r, name))
		return;
	if (r->count >= r->max) {
		if (!r->told_full)
			text_error("agent: more than %u rings; the rest has to wait%s", r->max,
			           r->max < RINGS_MAX ? " (more descriptors help: ulimit -n)" : "");
		r->told_full = true;
		return;
	}
	ring = calloc(1, sizeof(*ring));
	if (!ring)
		return;
	snprintf(ring->known.name, sizeof(ring->known.name), "%s", name);
	ring->fd = openat(r->dir, name, O_RDWR | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
	if (ring->fd < 0 || fstat(ring->fd, &st) != 0 || !S_ISREG(st.st_mode) ||
	    flock(ring->fd, LOCK_EX | LOCK_NB) != 0) {
		/*
		 * Of another user. One that is served by another agent, or for which there is no descriptor or memory now,
		 * is looked at again.
		 */
		if (ring->fd < 0 && (errno == EACCES || errno == EPERM || errno == ELOOP || errno == EISDIR)) {
			rings_remember_alien(r, name);
			r->counts.refused++;
		}
		rings_free(ring);
		return;
	}
	ring->size = st.st_size > 0 ? (size_t)st.st_size : 0;
	trouble = ring->size < RING_HEADER_SIZE || ring->size > RING_HEADER_SIZE + (size_t)RING_CAPACITY_MAX ?
	                  "its length is not that of a ring" :
	                  rings_examine(ring, &st, &header);
	if (trouble) {
		rings_tell_alien(r, name, trouble);
		rings_remember_alien(r, name);
		r->counts.bad++;
		rings_free(ring);
		return;
	}
	ring->released = ring->safe = ring->reader.tail;
	ring->pid = header.pid;
	ring->start_ticks = header.start_ticks;
	ring->origin = origin_take(&header);
	if (!ring->origin) {
		rings_free(ring);
		return;
	}
	*r->last = ring;
	r->last = &ring->next;
	r->count++;
	rings_remember(r, &ring->known);
}

static bool rings_has_suffix(const char *name, const char *suffix)
{
	size_t len = strlen(name), suffix_len = strlen(suffix);

	return len > suffix_len && name[0] != '.' && strcmp(name + len - suffix_len, suffix) == 0;
}

/* A ring that was being made (shim/ring.c) when its process was killed: it never got its name. */
static void rings_sweep(const struct rings *r, const char *name)
{
	unsigned long long ticks;
	int pid;

	if (sscanf(name, "%d-%llu-", &pid, &ticks) == 2 && !process_runs(pid, ticks))
		(void)unlinkat(r->dir, name, 0);
}

void rings_find(struct rings *r, bool look)
{
	char events[4096] __attribute__((aligned(8)));
	struct aside aside = { 0 };
	struct dirent *entry;
	DIR *dir;
	int fd;

	while (r->notify >= 0 && read(r->notify, events, sizeof(events)) > 0)
		look = true;
	if (!look)
		return;
	fd = openat(r->dir, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	dir = fd < 0 ? NULL : fdopendir(fd);
	if (!dir) {
		if (fd >= 0)
			close(fd);
		return;
	}
	while ((entry = readdir(dir))) {
		if (rings_has_suffix(entry->d_name, RING_SUFFIX))
			rings_add(r, entry->d_name);
		else if (rings_has_suffix(entry->d_name, RING_SUFFIX ".new"))
			rings_sweep(r, entry->d_name);
		else if (rings_has_suffix(entry->d_name, ASIDE_SUFFIX))
			aside_sweep(&aside, r->dir, entry->d_name);
	}
	closedir(dir);
}

/* An item was handed over: up to where the ring is read with it, and what must be safe for that to be given back. */
static void rings_note(struct ring *ring, const struct rings_sink *sink)
{
	struct ring_mark *last = ring->mark_count ? &ring->marks[ring->mark_count - 1] : NULL;
	uint64_t tail = ring->reader.tail;

	ring->read_item = sink->taken(sink->owner);
	if (sink->safe(sink->owner) == ring->read_item) {
		ring->safe = tail;
		ring->mark_count = 0;
	} else if (ring->mark_count < MARKS && (!last || tail - last->position >= ring->reader.capacity / MARK_PARTS)) {
		ring->marks[ring->mark_count++] = (struct ring_mark){ tail, ring->read_item };
	}
}

/* One ring; returns how full it was, in percent. Only the ring's own bytes are read under the guard, so a jump loses nothing. */
static unsigned rings_drain_one(struct rings *r, struct ring *ring, const struct rings_sink *sink)
{
	struct ring_reader *reader = &ring->reader;
	uint64_t stop = reader->tail + reader->capacity, dropped;
	enum ring_read read = RING_READ_EMPTY;
	unsigned full;

	reader->dead = ring->dead;
	rings_may_fault = 1;
	full = (unsigned)(ring_reader_waiting(reader) * 100 / reader->capacity);
	/* At most a ring's worth, or a fast writer would keep us from the others. */
	while (reader->tail < stop) {
		rings_may_fault = 1;
		read = ring_reader_next(reader);
		rings_may_fault = 0;
		if (read == RING_READ_SPAN) {
			r->counts.spans++;
			sink->span(sink->owner, ring->origin, &reader->span);
			rings_note(ring, sink);
		} else if (read == RING_READ_LINE) {
			r->counts.lines++;
			sink->line(sink->owner, ring->origin, &reader->line);
			rings_note(ring, sink);
		} else if (read == RING_READ_PASSED) {
			r->counts.passed += reader->contradiction;
		} else {
			break;
		}
	}
	rings_may_fault = 1;
	dropped = __atomic_load_n(&reader->header->spans_dropped, __ATOMIC_RELAXED);
	r->counts.spans_dropped += dropped - ring->spans_dropped;
	ring->spans_dropped = dropped;
	dropped = __atomic_load_n(&reader->header->lines_dropped, __ATOMIC_RELAXED);
	r->counts.lines_dropped += dropped - ring->lines_dropped;
	ring->lines_dropped = dropped;
	ring->ended = __atomic_load_n(&reader->header->ended, __ATOMIC_ACQUIRE) != 0;
	ring->waiting = ring_reader_waiting(reader) > 0;
	rings_may_fault = 0;
	ring->broken = read == RING_READ_BROKEN;
	return full;
}

static unsigned rings_drain_guarded(struct rings *r, struct ring *ring, const struct rings_sink *sink)
{
	if (sigsetjmp(rings_fault_exit, 1) == 0)
		return rings_drain_one(r, ring, sink);
	rings_may_fault = 0;
	ring->broken = true;
	return 0;
}

/* Its process wrote something that cannot be, or it was shortened: out of the way, for a person to look at. */
static void rings_set_aside(struct rings *r, struct ring *ring)
{
	char bad[80];

	snprintf(bad, sizeof(bad), "%.*s" ASIDE_SUFFIX, (int)(strlen(ring->known.name) - strlen(RING_SUFFIX)),
	         ring->known.name);
	text_error("agent: %s/%s is damaged (process %d); what was behind that is lost, and it is set aside as %s",
	           r->folder, ring->known.name, ring->pid, bad);
	(void)renameat(r->dir, ring->known.name, r->dir, bad);
	r->counts.bad++;
}

struct rings_full rings_drain(struct rings *r, const struct rings_sink *sink, bool reap)
{
	struct rings_full full = { 0 };
	unsigned finished = 0, percent;

	r->counts.live = 0;
	for (struct ring *ring = r->first; ring; ring = ring->next) {
		bool ended;

		/* Asked before the last look: what a process wrote before it died is then seen. */
		if (reap && !ring->dead)
			ring->dead = !process_runs(ring->pid, ring->start_ticks);
		r->counts.live += !ring->dead;
		finished += ring->finished;
		if (ring->finished)
			continue;
		/* The same with `ended`, which the last drain saw. */
		ended = ring->ended;
		percent = rings_drain_guarded(r, ring, sink);
		full.unread = percent > full.unread ? percent : full.unread;
		percent = (unsigned)((ring->reader.tail - ring->released) * 100 / ring->reader.capacity);
		full.held = percent > full.held ? percent : full.held;
		ring->finished = ring->broken || ((ring->dead || ended) && !ring->waiting);
	}
	if (finished > FINISHED_MAX)
		full.held = 100;
	return full;
}

/* Up to where the writer may have its room back. */
static uint64_t rings_safe_position(struct ring *ring, uint64_t safe)
{
	unsigned passed = 0;

	if (safe >= ring->read_item) {
		ring->mark_count = 0;
		return ring->reader.tail;
	}
	while (passed < ring->mark_count && ring->marks[passed].item <= safe)
		ring->safe = ring->marks[passed++].position;
	ring->mark_count -= passed;
	memmove(ring->marks, ring->marks + passed, ring->mark_count * sizeof(ring->marks[0]));
	return ring->safe;
}

/* One that has vanished meanwhile is found broken by the next drain. */
static void rings_release_to(struct ring *ring, uint64_t position)
{
	ring->released = position;
	if (sigsetjmp(rings_fault_exit, 1) == 0) {
		rings_may_fault = 1;
		ring_reader_release(&ring->reader, position);
	}
	rings_may_fault = 0;
}

static void rings_release_one(struct ring *ring, uint64_t safe)
{
	uint64_t position = rings_safe_position(ring, safe);

	if (position - ring->released <= ring->reader.capacity && position != ring->released)
		rings_release_to(ring, position);
}

void rings_release(struct rings *r, uint64_t safe)
{
	struct ring **at = &r->first, *ring;

	while ((ring = *at)) {
		if (!ring->broken)
			rings_release_one(ring, safe);
		if (!ring->finished || safe < ring->read_item) {
			at = &ring->next;
			continue;
		}
		if (ring->broken)
			rings_set_aside(r, ring);
		else
			(void)unlinkat(r->dir, ring->known.name, 0);
		*at = ring->next;
		if (!ring->next)
			r->last = at;
		r->count--;
		rings_forget(r, &ring->known);
		rings_free(ring);
	}
}

bool rings_have_live(const struct rings *r)
{
	return r->counts.live > 0;
}

void rings_close(struct rings *r)
{
	struct known *known;
	struct ring *ring;

	while ((ring = r->first)) {
		r->first = ring->next;
		rings_forget(r, &ring->known);
		rings_free(ring);
	}
	/* Aliens are left. */
	for (unsigned i = 0; i < KNOWN_LISTS; i++)
		while ((known = r->known[i])) {
			r->known[i] = known->next;
			free(known);
		}
	if (r->notify >= 0)
		close(r->notify);
	if (r->lock >= 0)
		close(r->lock);
	if (r->dir >= 0)
		close(r->dir);
	free(r->folder);
	free(r);
}

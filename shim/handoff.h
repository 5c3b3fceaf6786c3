/*
 * Where the two objects of TRACESHIM_ATTRIBUTION=validated meet. libtraceshim-handoff.so has all of the evidence for hand-offs
 * (shim/evidence*.c, hooks/handoff/): it is preloaded beside libtraceshim.so where that is asked for, so that no other process
 * pays for its code. Neither object needs the other: libtraceshim.so finds a `struct handoff` in it by name, checks that it is of
 * the same build, and lends it what it needs as a `struct handoff_core`. Without that it does nothing.
 */
#ifndef TRACESHIM_HANDOFF_H
#define TRACESHIM_HANDOFF_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

struct request;

/* The version, and a checksum of this file and of the counters' numbers: between two versions these may change. */
#ifndef TRACESHIM_INTERFACE
#define TRACESHIM_INTERFACE ""
#endif
#define HANDOFF_BUILD TRACESHIM_VERSION " " TRACESHIM_INTERFACE

/* Bytes of what a thread gets that takes jobs. */
#define HANDOFF_BLOCK 256u

/* Which request is answered next on this descriptor? By an unlocked look: to be compared, or confirmed under the lock. */
#define HANDOFF_NOTHING 0u /* no served connection */
#define HANDOFF_IDLE 1u    /* a served connection without a request that waits for its answer */
#define HANDOFF_UNSURE 2u  /* several, or it changes just now */

/*
 * What the core lends. None of it allocates but by mmap, or waits; all keep errno. Any thread may call it, where no hook of ours
 * holds anything.
 */
struct handoff_core {
	/* Is this process one that is worked for, and this no child of vfork? */
	bool (*active)(void);
	/* One of the above, or the span id of the request, as a number. */
	uint64_t (*request_at)(int fd);
	/*
	 * The same, confirmed under the connection's lock: `*taken` is a reference to the request `id`, if it still waits for
	 * its answer on `fd`, to be given back by `unref`; else NULL. `queue` is noted with it (1 to 255): false, and NULL, if
	 * that was there already, so that two jobs name this request.
	 */
	bool (*take)(int fd, uint64_t id, uint8_t queue, struct request **taken);
	void (*unref)(struct request *request);
	uint32_t (*waiting)(void); /* requests that wait for their answers */
	/* current_begin_job, current_take_job, current_notice_thread */
	bool (*begin_job)(void);
	void (*work_for)(struct request *request);
	void (*notice_thread)(void);
	/* Zeroed pages, for good; blocks of HANDOFF_BLOCK bytes with whatever was left in them. NULL: none (not counted). */
	void *(*pages)(size_t len);
	void *(*block)(void);
	void (*give_block)(void *block);
	/* os_copy, os_monotonic_ms */
	long (*copy)(void *to, const struct iovec *from, unsigned count);
	uint64_t (*monotonic_ms)(void);
	void (*count)(unsigned counter); /* adds one; STATUS_... of status_page.h */
};

/* What the core tells, once started. Each is called on the thread that it is about, and keeps errno. */
struct handoff {
	/* HANDOFF_BUILD of whoever built it: of another one nothing but this is looked at. NUL-terminated. */
	char build[32];
	/* The functions that the core lends are copied. False: no memory, and nothing else may be called. Constructor only. */
	bool (*start)(const struct handoff_core *lent);
	/* A thread waits on a condition with this mutex: it guards a queue. */
	void (*note_queue)(const void *mutex);
	/* The thread is about to write the response of this request (a span id). Before its own request changes by that. */
	void (*answers)(uint64_t request);
	/* What the thread does from now on has nothing to do with what it took out of a queue: it reads requests itself; or ends. */
	void (*leave)(void);
	void (*end_thread)(void);
	/* This process is a forked child, in which only this thread is left. */
	void (*after_fork)(void);
	/* Has the thread at hand what it needs to answer the job that it took? See evidence_live.c. Signal-safe. */
	bool (*holds)(void);
};

/* The second object's, found and started; NULL: there is none, or it is not asked for. Constant after handoff_init. */
extern const struct handoff *handoff;

/*
 * Start. `found` is what the second object has; NULL where it is not there. What is missing or of another build is noted:
 * nothing is validated then. Constructor only.
 */
void handoff_init(const struct handoff *found);

#endif

/*
 * The bytes that a program writes to a log file, into records, exactly: every byte of the program ends up in one record,
 * the program gets its own byte count back, and a record leaves whole.
 */
#ifndef TRACESHIM_LOGLINE_H
#define TRACESHIM_LOGLINE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include <sys/uio.h>

#include "line_export.h"
#include "record.h"

struct request;

/*
 * Who wrote which bytes: consecutive segments of a buffer. `request` is borrowed for the call (logline takes references
 * for what it keeps); NULL with `neutral` false means 'no request known', with `neutral` true 'says nothing': such bytes
 * take the request of the rest of their line. A line whose segments disagree has no request. Its time and thread are those
 * of its first segment that says.
 */
struct logline_segment {
	size_t len;
	struct request *request;
	uint64_t time_ns; /* CLOCK_REALTIME of the print; 0: now */
	int32_t tid;      /* the thread that printed; 0: this one */
	bool neutral;
};

/* What a partial line is kept under: bytes of different keys never share a line. A thread id, or a FILE's address. */
typedef uintptr_t logline_key;

#define LOGLINE_FILES 16

/*
 * Say what a log file is, when it is recognised. `regular`: a regular file, where one write may hold any number of records;
 * else, and without this call, a write holds at most PIPE_BUF bytes where whole records allow it, so that those of several
 * processes on one pipe do not mix. Any thread; signal-safe.
 */
void logline_open(unsigned file, bool regular);

/*
 * Write bytes of the program to the log file behind `fd`.
 *
 * file      small index of the log file (0..LOGLINE_FILES-1), same for every descriptor of the same (st_dev, st_ino)
 * stream    for the record
 * iov       the program's bytes; `total` is their sum, at least 1
 * segments  cover exactly `total` bytes; at least one
 * Returns the program's bytes taken (1..total), or -1 with errno from the write; -1 means that none was taken.
 *
 * A line is kept until its newline comes (with any later write of the same key), until LIMIT_PARTIAL_AGE_MS have passed
 * and another key writes to the file, or until a flush; then it goes out as a partial record. What comes of it within
 * LIMIT_CUT_AGE_MS behind its age says that it is a rest. Lines over LIMIT_LOG_LINE
 * are cut into partial records at a UTF-8 boundary; a line that begins with '{' is given LOGLINE_OBJECT_MAX bytes first
 * to prove a JSON object, which is then spliced whole.
 *
 * A write that fails half-way (EAGAIN, ENOSPC, ...): bytes of records that are out whole are reported as taken. Of a
 * record that is half out the rest is kept, and goes out before anything else that anybody writes to this file; all but
 * the last byte of its line is reported as taken, so that the program comes back, and that byte is then swallowed. EINTR
 * is passed on between records and retried inside one. Blocking descriptors: short writes are continued.
 * Threads: any; signal handlers: yes. No allocation but mmap'ed pools; without memory the bytes pass raw (lines_raw).
 * No lock is held across the write. errno is the write's on -1, else as it was.
 */
#define LOGLINE_OBJECT_MAX (64u * 1024)
ssize_t logline_write(unsigned file, enum record_stream stream, int fd, logline_key key, const struct iovec *iov,
                      int iovcnt, size_t total, const struct logline_segment *segments, size_t segment_count);

/*
 * The same in two halves, for the usual call: one whole line, nothing unfinished or left over in the file. Between them the
 * caller writes `bytes` to `fd` itself, from as shallow a place as it can: the kernel's own calls displace what the processor
 * foresees of ours, so that behind a system call each return costs as much as the formatting of a timestamp.
 *
 * begin  false: it is another kind of call, or there is no memory; nothing was done, and logline_write does it
 * end    n: the write's result, errno set. Returns what logline_write returns. Must follow `begin` on the same thread; only a
 *        thread that ends or jumps away in the write may leave it out
 * `source` says whose the line is, its stream, its thread, and when it was printed (0: now); the rest is filled in. The line (borrowed)
 * is used until `end`.
 */
struct logline_one {
	struct iovec line; /* the caller's, and so are key and fd: as for logline_write */
	logline_key key;
	int fd;
	unsigned how; /* logline's */
	const char *bytes;
	size_t len;
	struct logline_file *file; /* from here on logline's */
	struct logline_scratch *scratch;
	struct line_origin origin; /* where lines are exported; else not filled */
};
bool logline_one_begin(struct logline_one *one, unsigned file, struct record_source *source);
ssize_t logline_one_end(struct logline_one *one, ssize_t n);

/*
 * Does the rest of this key's unfinished line still lie in a buffer of the program (a FILE's)? Such a line never counts as
 * old, and logline_flush_settled leaves it out. Asked with the list's lock held, so that a FILE that is being closed, whose
 * line is flushed first, cannot go away meanwhile. NULL, or set once before there are threads.
 */
extern bool (*logline_has_more)(logline_key key);

/*
 * Does the descriptor still lead to this log file? Asked before each real call but the first one of a write: meanwhile another
 * thread or a signal handler may have closed it, and the number may be something else by now. NULL, or set once.
 */
extern bool (*logline_leads_to)(unsigned file, int fd);

/*
 * Send out unfinished lines and what earlier writes left over: of every key (exec, _exit), of every key that has nothing
 * more to come (exit, where libc flushes its streams later), of one key (a thread that ends, a FILE that closes), or of one
 * file, into `fd` (its last descriptor goes away). fd_of maps a file index to a descriptor that is open now, or -1 (the lines then stay); it is asked
 * only about files that have something to send.
 */
void logline_flush_all(int (*fd_of)(unsigned file));
void logline_flush_settled(int (*fd_of)(unsigned file));
void logline_flush_key(logline_key key, int (*fd_of)(unsigned file));
void logline_flush_file(unsigned file, int fd);
/* Is there anything that a flush would send? */
bool logline_is_pending(unsigned file);
/* Was a line begun under this key, and not ended? False, too, where that cannot be told just now. Signal-safe. */
bool logline_has_begun(unsigned file, logline_key key);

/* This thread ends: what it keeps for its next line goes to others. Should it write again, it has it back. Signal-safe. */
void logline_thread_end(void);

/* In the child of a fork: forget the parent's unfinished lines (the parent will send them) and free every lock. */
void logline_after_fork(void);

#endif

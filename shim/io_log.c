/*
 * Sending to a log: whose the bytes are that a program writes there; see io.h. What becomes of them is logline's.
 *
 * What was printed is told from what was collected by the shape of the write (printed_for). The usual write, one
 * whole line, takes a short way, on which the hook makes the call itself (io_line_begin, io_line_end).
 *
 * Who may call: any thread, any signal handler. Memory: a number a log file.
 */
#include "io.h"

#include <errno.h>
#include <string.h>

#include "config.h"
#include "counters.h"
#include "current.h"
#include "layout.h"
#include "logfiles.h"
#include "logline.h"
#include "managed.h"
#include "os.h"
#include "own.h"

/* Lines after which a process that only logs is worth a status page. */
#define LINES_WORTH_A_PAGE 256

/* More is no single line that could be written as it is. */
#define LINE_MAX_BYTES (LIMIT_LOG_LINE + 1)

static __attribute__((noinline)) void logged_unpublished(void)
{
	int saved;

	if (counters_get(lines) < LINES_WORTH_A_PAGE)
		return;
	saved = errno;
	counters_publish();
	errno = saved;
}

/* A process that only logs is worth a status page, too. */
static inline void logged(void)
{
	if (__builtin_expect(__atomic_load_n(&counters_published, __ATOMIC_RELAXED) == 0, 0))
		logged_unpublished();
}

ssize_t io_write_log(int fd, uint64_t word, logline_key key, const struct iovec *iov, int count,
                     const struct logline_segment *segments, size_t segment_count)
{
	size_t total = 0, i;
	int saved = errno;
	ssize_t taken;

	for (i = 0; i < segment_count; i++)
		total += segments[i].len;
	current_notice_thread();
	taken = logline_write(fds_log_file(word), fds_log_stream(word), fd, key, iov, count, total, segments,
	                      segment_count);
	/* A call that took something has no error, whatever stopped it then. */
	if (taken >= 0)
		errno = saved;
	logged();
	return taken;
}

/* A buffer of a stream's, at most: what is written from so near is written from the same one. */
#define NEAR_BYTES 8192

/*
 * What is remembered of the writes to each log file; relaxed.
 *
 * A buffer that threads share (Ruby's streams, iostreams): a line is put there first, and written when somebody flushes, who writes whatever
 * others have put there meanwhile. They find the next one's line when they get to flush. Two things show it, and come before that. Several
 * lines are written at once; or a line that begins where the last write ended: what was put there during that write goes out behind
 * it, by the same thread, which goes on until nothing is left. So of requests that had begun by then, no line on its own that is written
 * from about there is known to be its thread's. Threads that flush what they did not put there are not told.
 */
static struct log_writes {
	const char *end;       /* of the last write's bytes, if they end with a line */
	const char *collected; /* the bytes of the last write that showed such a buffer */
	uint32_t bindings;     /* how many requests had been taken up at the last write */
	uint32_t number;       /* of the last one that showed a buffer: see request_blocks */
} log_writes[LOGLINE_FILES];

/* At each write to this log file: what the next one asks for. */
static inline void note_write(struct log_writes *log, const char *end)
{
	__atomic_store_n(&log->bindings, current_bindings(), __ATOMIC_RELAXED);
	__atomic_store_n(&log->end, end, __ATOMIC_RELAXED);
}

static void note_collected(struct log_writes *log, const char *bytes)
{
	__atomic_store_n(&log->number, __atomic_add_fetch(&request_blocks, 1, __ATOMIC_RELAXED), __ATOMIC_RELAXED);
	__atomic_store_n(&log->collected, bytes, __ATOMIC_RELAXED);
}

static __attribute__((cold, noinline)) struct request *unless_collected(struct log_writes *log, const char *bytes)
{
	struct request *request = io_line_request();
	uint32_t later;

	if (own_alone() && current_threads() <= 1)
		return request;
	if (__atomic_load_n(&log->end, __ATOMIC_RELAXED) == bytes)
		note_collected(log, bytes);
	if (request == NULL)
		return NULL;
	later = __atomic_load_n(&log->number, __ATOMIC_RELAXED) - request->blocks;
	return later == 0 || later > UINT32_MAX / 2 ? request : NULL;
}

/* For whom a line on its own was printed that is written from `bytes`. */
static inline struct request *line_request(struct log_writes *log, const char *bytes)
{
	uintptr_t from = (uintptr_t)bytes - (uintptr_t)__atomic_load_n(&log->collected, __ATOMIC_RELAXED);

	if (__builtin_expect(from + NEAR_BYTES < 2 * NEAR_BYTES ||
	                             __atomic_load_n(&log->end, __ATOMIC_RELAXED) == bytes,
	                     0))
		return unless_collected(log, bytes);
	return io_line_request();
}

LAYOUT_HOT bool io_line_begin(struct logline_one *one, int fd, uint64_t word, logline_key key, const void *line,
                              size_t len)
{
	struct log_writes *log = &log_writes[fds_log_file(word)];
	struct record_source source = { .stream = fds_log_stream(word) };
	struct request *request;

	/* What a managed runtime writes is that of which it said so: see send_managed_log. */
	if (config.log_mode == LOG_OFF || len > LINE_MAX_BYTES || !os_readable(line, len) || current_is_blind())
		return false;
	if (__builtin_expect(!current_thread_is_watched(), 0))
		current_notice_thread();
	/* One line is one event: see printed_for. */
	request = line_request(log, line);
	if (request != NULL)
		source.ctx = &request->ctx;
	source.tid = os_tid();
	one->line = (struct iovec){ (void *)(uintptr_t)line, len };
	one->key = key;
	one->fd = fd;
	if (!logline_one_begin(one, fds_log_file(word), &source))
		return false;
	note_write(log, (const char *)line + len);
	return true;
}

ssize_t io_line_end(struct logline_one *one, ssize_t n)
{
	ssize_t taken = logline_one_end(one, n);

	logged();
	if (__builtin_expect(io_ending, 0))
		io_flush_key(one->key);
	return taken;
}

/* Is there a newline before the last byte? */
static bool has_inner_newline(const struct iovec *iov, int count, size_t total)
{
	size_t at = 0;
	int i;

	for (i = 0; i < count; at += iov[i].iov_len, i++) {
		const char *found = iov[i].iov_len == 0 ? NULL : memchr(iov[i].iov_base, '\n', iov[i].iov_len);

		if (found != NULL && at + (size_t)(found - (const char *)iov[i].iov_base) + 1 < total)
			return true;
	}
	return false;
}

/*
 * For whom were these bytes printed, if by whoever writes them now? A program that keeps blocks of its own (perl, ruby, mawk, nginx with
 * `buffer=`) writes the lines of many requests in the name of the one that fills the block. One line is one event; several
 * are, on stderr, which hardly anybody buffers, in runtimes that keep nothing back, and where there is no other thread and no
 * request was taken up since the last write to this file. (Any other thread may have left a line in a buffer that all share, and have
 * gone on since then, or log for a request that we do not know of.)
 */
static __attribute__((cold)) struct request *printed_for(const struct io_send *io, size_t total)
{
	struct log_writes *log = &log_writes[fds_log_file(io->word)];
	const char *bytes = io->count > 0 ? io->iov->iov_base : NULL;
	struct request *request = NULL;

	/* Two threads may both find that a request was taken up: that only makes both careful. */
	if (__atomic_load_n(&log->bindings, __ATOMIC_RELAXED) == current_bindings() && own_alone() &&
	    current_threads() <= 1) {
		request = io_line_request();
	} else if (!has_inner_newline(io->iov, io->count, total)) {
		request = line_request(log, bytes);
	} else if (current_writes_event(total, fds_log_stream(io->word) == RECORD_STDERR)) {
		request = io_line_request();
	} else {
		note_collected(log, bytes);
	}
	note_write(log, io->count == 1 && total > 0 && bytes[total - 1] == '\n' ? bytes + total : NULL);
	return request;
}

/*
 * A managed runtime says whose its bytes are. What its programs write asynchronously is written by any thread of its pool: the
 * pieces of a line by several, one after another. Those threads have one key for all.
 */
static ssize_t send_managed_log(const struct io_send *io)
{
	logline_key key = managed_here() ? (logline_key)os_tid() : 0;
	struct logline_segment segments[2];
	size_t count = managed_segments(io->fd, io->total, segments);
	ssize_t taken = io_write_log(io->fd, io->word, key, io->iov, io->count, segments, count);
	int saved = errno;

	managed_wrote(io->fd, io->total, taken);
	errno = saved;
	return taken;
}

ssize_t io_send_log(const struct io_send *io)
{
	struct logline_segment all = { .len = io->total };
	ssize_t taken;

	if (current_is_blind())
		return send_managed_log(io);
	all.request = printed_for(io, all.len);
	taken = io_write_log(io->fd, io->word, (logline_key)os_tid(), io->iov, io->count, &all, 1);
	if (__builtin_expect(io_ending, 0))
		io_flush_key((logline_key)os_tid());
	return taken;
}

void io_watch_log(const struct io_send *io, ssize_t sent)
{
	logline_key key = current_is_blind() && !managed_here() ? 0 : (logline_key)os_tid();
	struct request *request = NULL;
	size_t left = sent > 0 ? (size_t)sent : 0;
	int i;

	/* A managed runtime's lines are nobody's here: it is asked for them where they enter the stream, and only to rewrite them. */
	if (!current_is_blind())
		request = printed_for(io, io->total);
	for (i = 0; i < io->count && left > 0; i++) {
		struct iovec piece = io->iov[i];
		struct logline_segment all = { .request = request };

		piece.iov_len = piece.iov_len < left ? piece.iov_len : left;
		left -= piece.iov_len;
		all.len = piece.iov_len;
		if (piece.iov_len > 0)
			(void)io_write_log(io->fd, io->word, key, &piece, 1, &all, 1);
	}
	if (__builtin_expect(io_ending, 0))
		io_flush_key(key);
}

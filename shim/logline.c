/*
 * What a program writes to a log, line by line.
 *
 * Mechanism. The program's bytes are cut at newlines. A line that lies in one piece in the program's own buffer, which is
 * nearly every line, is formatted from there. Lines that are in pieces (several iovecs, several writes) are put together
 * in a block; what has no newline at the end of a call is kept, listed under the caller's key, and taken by the next call
 * of that key. Two threads that write pieces never share a line, whatever the order of their writes.
 *
 * Exactness. Nothing is final before it is out: the kept line that a call takes stays as it was (new bytes are appended
 * behind it) until the record that ends it is written, so that a call that fails can put it back and tell the program
 * exactly which of its bytes were taken (logline_emit.c). New bytes are kept last, when all records are out.
 *
 * Locking. There is none around formatting or writing. The lists of kept lines are touched under a try-lock held for a few
 * instructions (logline_table.c); all else belongs to the call: its writer is on its stack, its scratch block and its
 * lines are taken out of pools. So a signal handler may interrupt any instruction of this file and write to the same log:
 * it finds either the lock free, or taken by its own thread, and then works without the table (what has no newline goes out
 * as a partial record at once). Two threads in here at once format side by side and write whole records in either order.
 * Ruled out: holding a file's lock across the write, for order between threads, which nobody may rely on. A thread blocked
 * on a full pipe would stop all others, and a handler on it would deadlock (trap 17).
 *
 * Who may call: any thread, any signal handler; logline_after_fork the child of a fork. Memory: see the two other files;
 * about 300 bytes of stack here. Source: POSIX write() (PIPE_BUF, O_NONBLOCK, EINTR).
 */
#include <errno.h>
#include <string.h>

#include "config.h"
#include "counters.h"
#include "json.h"
#include "logline_internal.h"
#include "os.h"
#include "request.h"

static void next_segment(struct logline_writer *w)
{
	while (!w->segment_left && w->segments_left) {
		w->segment++;
		w->segments_left--;
		w->segment_left = w->segment->len;
	}
}

/* The next n bytes belong to the line being put together: whose are they? */
static void attribute(struct logline_writer *w, size_t n)
{
	while (n) {
		size_t k = n < w->segment_left ? n : w->segment_left;

		if (!k)
			return;
		if (!w->print.time_ns)
			w->print.time_ns = w->segment->time_ns;
		if (!w->print.tid)
			w->print.tid = w->segment->tid;
		if (!w->segment->neutral) {
			struct request *r = w->segment->request;

			if (w->who == WHO_NOT_SAID) {
				w->who = r ? WHO_KNOWN : WHO_NONE;
				w->request = r;
			} else if (w->who == WHO_KNOWN && w->request != r) {
				w->who = WHO_NONE;
			}
		}
		n -= k;
		w->segment_left -= k;
		if (!w->segment_left)
			next_segment(w);
	}
}

static void new_line(struct logline_writer *w)
{
	w->line = NULL;
	w->who = WHO_NOT_SAID;
	w->request = NULL;
	w->print = (struct logline_print){ 0, 0 };
	w->cut = false;
}

/* How long the line may grow in its block: an object is given more room than text. */
static uint32_t line_room(const struct logline_writer *w)
{
	const struct logline_line *line = w->line;
	uint32_t i = 0;

	while (i < line->len && (line->bytes[i] == ' ' || line->bytes[i] == '\t'))
		i++;
	return i < line->len && line->bytes[i] == '{' && !w->cut ? LOGLINE_OBJECT_MAX : LIMIT_LOG_LINE;
}

/* The block of the line is full: what is in it goes out as a part. */
static bool cut_line(struct logline_writer *w)
{
	struct logline_line *line = w->line;
	uint32_t part = (uint32_t)json_utf8_cut(line->bytes, line->len), rest = line->len - part;
	bool kept = line == w->kept;
	/* An unfinished character stays; those of its bytes that are of this call are not dealt with by this part. */
	uint32_t fresh = !kept || part >= w->kept_len ? rest : line->len - w->kept_len;

	if (!logline_add_line(w, line->bytes, part, kept, w->pos - fresh, false))
		return false;
	if (kept) {
		/* Its old bytes are needed until they are out. */
		if (!logline_send(w))
			return false;
		w->kept_len = w->kept_done = 0;
	}
	memmove(line->bytes, line->bytes + part, rest);
	line->len = rest;
	return true;
}

/* Bytes without a newline, the next of the line. Advances w->pos. */
static bool append(struct logline_writer *w, const char *bytes, size_t len)
{
	while (len) {
		uint32_t room;
		size_t n;

		if (!w->line) {
			w->line = logline_line_new(false);
			if (!w->line) {
				w->pos += len;
				return logline_add_line(w, bytes, len, false, w->pos, false);
			}
			w->line->key = w->key;
			w->line->stream = (uint8_t)w->source.stream;
		}
		room = line_room(w);
		if (w->line->len >= room) {
			if (!cut_line(w))
				return false;
			continue;
		}
		n = room - w->line->len < len ? room - w->line->len : len;
		memcpy(w->line->bytes + w->line->len, bytes, n);
		w->line->len += (uint32_t)n;
		w->pos += n;
		bytes += n;
		len -= n;
	}
	return true;
}

/* The line in its block is complete; w->pos is at its newline. */
static bool end_line(struct logline_writer *w)
{
	struct logline_line *line = w->line;
	bool ok = logline_add_line(w, line->bytes, line->len, line == w->kept, w->pos, true);

	if (line != w->kept) {
		logline_line_free(line); /* formatted, or still with the program */
		w->line = NULL;
	}
	return ok;
}

/* One piece of the program's buffer. */
static bool feed(struct logline_writer *w, const char *bytes, size_t len)
{
	while (len) {
		const char *newline;
		size_t n;
		bool ok;

		/* Nearly all lines go this way. */
		if (!w->line && w->who == WHO_NOT_SAID && !w->cut && (n = logline_add_whole(w, bytes, len)) != 0) {
			if (!w->segment_left)
				next_segment(w);
			bytes += n;
			len -= n;
			continue;
		}
		newline = memchr(bytes, '\n', len);
		n = newline ? (size_t)(newline - bytes) : len;
		attribute(w, n + (newline != NULL));
		if (newline && !w->line) {
			ok = __builtin_expect(n <= LIMIT_LOG_LINE, 1) ?
			             logline_add_record(w, bytes, n, w->pos + n + 1, w->kept_len, true) :
			             logline_add_line(w, bytes, n, false, w->pos + n, true);
			w->pos += n;
		} else {
			ok = append(w, bytes, n) && (!newline || !w->line || end_line(w));
			if (ok && newline && w->cut && !w->line)
				ok = logline_add_line(w, bytes + n, 0, false, w->pos, true);
		}
		if (!ok)
			return false;
		if (!newline)
			return true;
		w->pos++;
		new_line(w);
		bytes += n + 1;
		len -= n + 1;
	}
	return true;
}

static void release(struct logline_line *line)
{
	if (line->who == WHO_KNOWN)
		request_unref(line->request);
	logline_line_free(line);
}

/* It is out, or in the backlog, which goes out before all else. */
static void export_line(const struct logline_writer *w, const struct logline_line *line)
{
	struct line_origin origin = { .ctx = line->who == WHO_KNOWN ? &line->request->ctx : NULL,
		                      .time_ns = line->print.time_ns ? line->print.time_ns : w->now.time_ns,
		                      .tid = line->print.tid ? line->print.tid : w->now.tid,
		                      .stream = line->stream,
		                      .part = true };

	line_export(&origin, (struct iovec){ (void *)(uintptr_t)line->bytes, line->len }, NULL, 0, 0, 0);
}

/* Send a line that belongs to no write in progress; what the log does not take now becomes its backlog. */
static bool send_line(struct logline_writer *w, const struct logline_line *line)
{
	bool ok = true;

	w->who = (enum logline_who)line->who;
	w->request = line->request;
	w->print = line->print;
	w->cut = line->cut;
	w->source.stream = (enum record_stream)line->stream;
	w->kept_len = 0;
	w->forced = true;
	if (line->len)
		ok = logline_add_line(w, line->bytes, line->len, false, w->taken, false) && logline_send(w);
	if (line->len && config.export_logs)
		export_line(w, line);
	w->forced = false;
	return ok;
}

/* List a line again or for the first time; it owns its reference. Where it cannot be listed, it goes out as it is. */
static void keep_line(struct logline_writer *w, struct logline_line *line)
{
	if (logline_put(w->file, line))
		return;
	if (w->scratch || logline_writer_begin(w)) {
		w->marks = w->marks_sent = 0;
		w->used = w->sent = 0;
		(void)send_line(w, line);
	} else if (line->len) {
		counters_count(lines_raw);
		(void)!logline_out(w->fd, line->bytes, line->len);
	}
	release(line);
}

/* A line of which only the fact is left that parts of it are out. */
static void keep_cut(struct logline_writer *w, logline_key key, enum logline_who who, struct request *request)
{
	struct logline_line *line = logline_line_new(true);

	if (!line)
		return;
	line->key = key;
	line->stream = (uint8_t)w->source.stream;
	line->cut = true;
	line->who = (uint8_t)who;
	line->request = who == WHO_KNOWN ? request_ref(request) : NULL;
	keep_line(w, line);
}

/* All records are out: keep what has no newline yet. */
static void finish(struct logline_writer *w)
{
	struct logline_line *line = w->line;
	/* Last: whose the rest is may be known by its reference alone. */
	struct logline_line *done = w->kept && line != w->kept ? w->kept : NULL;

	w->taken = w->pos;
	if (line) {
		struct request *before = line == w->kept && line->who == WHO_KNOWN ? line->request : NULL;

		line->who = (uint8_t)w->who;
		line->request = w->who == WHO_KNOWN ? request_ref(w->request) : NULL;
		line->print = w->print;
		line->cut = w->cut;
		request_unref(before);
		keep_line(w, line);
	} else if (w->cut) {
		keep_cut(w, w->key, w->who, w->request);
	}
	if (done)
		release(done);
}

/* A send failed: what is not out is the program's again, and what earlier writes gave us is kept as it was. */
static void roll_back(struct logline_writer *w)
{
	struct logline_line *kept = w->kept;

	if (w->line && w->line != kept)
		logline_line_free(w->line);
	w->line = NULL;
	if (kept && (!w->committed || w->kept_done < w->kept_len)) {
		if (w->kept_done) {
			memmove(kept->bytes, kept->bytes + w->kept_done, w->kept_len - w->kept_done);
			kept->cut = true;
		}
		kept->len = w->kept_len - w->kept_done;
		keep_line(w, kept);
		return;
	}
	/* The rest of the line comes again, and says again whose it is. */
	if (w->mid_line)
		keep_cut(w, w->key, WHO_NOT_SAID, NULL);
	if (kept)
		release(kept);
}

/* Unfinished lines of other keys that have waited long enough. false: the log takes nothing now. */
static bool send_aged(struct logline_writer *w)
{
	enum record_stream stream = w->source.stream;
	struct logline_line *line;
	bool ok = true;

	if (!__atomic_load_n(&w->file->lines, __ATOMIC_RELAXED))
		return true;
	while (ok && (line = logline_take_aged(w->file, w->key, os_monotonic_ms())) != NULL) {
		ok = send_line(w, line);
		/* Its rest may be anybody's. */
		if (!line->stub)
			keep_cut(w, line->key, WHO_NOT_SAID, NULL);
		release(line);
	}
	w->source.stream = stream;
	w->mid_line = w->committed = false;
	new_line(w);
	return ok;
}

/* The line that this key's earlier writes began. */
static void take_kept(struct logline_writer *w)
{
	if (!logline_take(w->file, w->key, &w->kept) || !w->kept)
		return;
	w->line = w->kept->stub ? NULL : w->kept;
	w->kept_len = w->kept->len;
	w->who = (enum logline_who)w->kept->who;
	w->request = w->kept->request;
	w->print = w->kept->print;
	w->cut = w->kept->cut;
}

/* The byte that was held back is here again: it is out already. */
static void swallow_held(struct logline_writer *w)
{
	const struct iovec *v = w->iov;

	while (!v->iov_len)
		v++;
	if (!logline_swallow(w->file, w->key, *(const char *)v->iov_base))
		return;
	w->pos = w->taken = 1;
	w->segment_left--;
	next_segment(w);
}

static bool feed_all(struct logline_writer *w)
{
	size_t skip = w->pos;
	int i;

	for (i = 0; i < w->iovcnt; i++) {
		size_t len = w->iov[i].iov_len;

		if (len <= skip) {
			skip -= len;
			continue;
		}
		if (!feed(w, (const char *)w->iov[i].iov_base + skip, len - skip))
			return false;
		skip = 0;
	}
	return logline_send(w);
}

static void describe_source(struct logline_writer *w, enum record_stream stream)
{
	w->source.stream = stream;
	w->source.pid = os_pid();
	w->now = (struct logline_print){ os_realtime_ns(), os_tid() };
}

/* There is no memory, or was none for the line's beginning: what goes on with it passes as it is, too, until it ends. */
static ssize_t pass_raw(struct logline_file *f, int fd, const struct iovec *iov, int iovcnt)
{
	ssize_t n = logline_write_raw(fd, iov, iovcnt);
	size_t at = n > 0 ? (size_t)n - 1 : 0;
	int i;

	for (i = 0; n > 0 && i < iovcnt; i++) {
		if (at < iov[i].iov_len) {
			__atomic_store_n(&f->raw, ((const char *)iov[i].iov_base)[at] != '\n', __ATOMIC_RELAXED);
			break;
		}
		at -= iov[i].iov_len;
	}
	return n;
}

/* A kept line goes out unchanged, for there is no memory. Owned: released, or kept again. false: not all of it, errno. */
static bool pass_line(struct logline_writer *w, struct logline_line *line)
{
	ssize_t n = 0;

	counters_count(lines_raw);
	while (line->len && (n = logline_out(w->fd, line->bytes, line->len)) > 0) {
		line->len -= (uint32_t)n;
		memmove(line->bytes, line->bytes + n, line->len);
	}
	if (!line->len) {
		release(line);
		return true;
	}
	w->error = n < 0 ? errno : EAGAIN;
	keep_line(w, line);
	errno = w->error;
	return false;
}

/* What this key's earlier writes began goes in front of what passes unchanged. */
static bool pass_kept(struct logline_writer *w)
{
	struct logline_line *kept;

	return !logline_take(w->file, w->key, &kept) || !kept || pass_line(w, kept);
}

/* Without records. */
static ssize_t pass(struct logline_writer *w)
{
	size_t skip;
	ssize_t n;
	int i;

	if (__atomic_load_n(&w->file->held_count, __ATOMIC_RELAXED))
		swallow_held(w);
	if (!pass_kept(w))
		return w->taken ? (ssize_t)w->taken : -1;
	if (!w->taken)
		return pass_raw(w->file, w->fd, w->iov, w->iovcnt);
	/* A byte of it is out already: one vector after the other. */
	for (i = 0, skip = w->taken; i < w->iovcnt; i++) {
		struct iovec rest = w->iov[i];

		if (rest.iov_len <= skip) {
			skip -= rest.iov_len;
			continue;
		}
		rest.iov_base = (char *)rest.iov_base + skip;
		rest.iov_len -= skip;
		skip = 0;
		n = pass_raw(w->file, w->fd, &rest, 1);
		if (n > 0)
			w->taken += (size_t)n;
		if (n != (ssize_t)rest.iov_len)
			break;
	}
	return (ssize_t)w->taken;
}

/* Whatever it is. Never inlined: the writer's place on the stack is for those who need it. */
static __attribute__((noinline)) ssize_t write_lines(struct logline_file *f, enum record_stream stream, int fd,
                                                     logline_key key, const struct iovec *iov, int iovcnt,
                                                     const struct logline_segment *segments, size_t segment_count)
{
	struct logline_writer w = { .file = f,
		                    .fd = fd,
		                    .key = key,
		                    .iov = iov,
		                    .iovcnt = iovcnt,
		                    .segment = segments,
		                    .segments_left = segment_count - 1,
		                    .segment_left = segments->len };
	bool ok;

	if (__atomic_load_n(&f->raw, __ATOMIC_RELAXED) || !logline_writer_begin(&w))
		return pass(&w);
	describe_source(&w, stream);
	next_segment(&w);
	if (__atomic_load_n(&w.file->held_count, __ATOMIC_RELAXED))
		swallow_held(&w);
	ok = send_aged(&w);
	if (ok) {
		take_kept(&w);
		ok = feed_all(&w);
		if (ok)
			finish(&w);
		else
			roll_back(&w);
	}
	logline_writer_end(&w);
	if (ok || w.taken)
		return (ssize_t)w.taken;
	errno = w.error;
	return -1;
}

ssize_t logline_write(unsigned file, enum record_stream stream, int fd, logline_key key, const struct iovec *iov,
                      int iovcnt, size_t total, const struct logline_segment *segments, size_t segment_count)
{
	struct logline_file *f;
	struct logline_one one;
	int saved = errno;
	ssize_t taken;

	if (file >= LOGLINE_FILES || !total)
		return logline_write_raw(fd, iov, iovcnt);
	f = &logline_files[file];
	if (!logline_backlog_send(f, fd))
		return -1;
	/* One whole line on its own needs none of the machinery for all others. */
	if (iovcnt == 1 && segment_count == 1 && logline_one_begin_segment(&one, file, stream, fd, key, iov, segments))
		return logline_one_end(&one, logline_out(fd, one.bytes, one.len));
	taken = write_lines(f, stream, fd, key, iov, iovcnt, segments, segment_count);
	if (taken >= 0)
		errno = saved;
	return taken;
}

static void flush_file(unsigned file, logline_key key, enum logline_which which, int (*fd_of)(unsigned file), int fd)
{
	struct logline_writer w = { .file = &logline_files[file] };
	struct logline_line *line;
	bool records, ok = true;

	if (!logline_is_pending(file))
		return;
	w.fd = fd_of ? fd_of(file) : fd;
	if (w.fd < 0 || !logline_backlog_send(w.file, w.fd))
		return;
	records = logline_writer_begin(&w);
	describe_source(&w, RECORD_STDOUT);
	while (ok && (line = logline_take_any(w.file, key, which)) != NULL) {
		ok = records ? send_line(&w, line) : pass_line(&w, line);
		if (records)
			release(line);
	}
	logline_writer_end(&w);
}

void logline_flush_all(int (*fd_of)(unsigned file))
{
	unsigned i;

	for (i = 0; i < LOGLINE_FILES; i++)
		flush_file(i, 0, LINES_ALL, fd_of, -1);
}

void logline_flush_settled(int (*fd_of)(unsigned file))
{
	unsigned i;

	for (i = 0; i < LOGLINE_FILES; i++)
		flush_file(i, 0, LINES_SETTLED, fd_of, -1);
}

void logline_flush_key(logline_key key, int (*fd_of)(unsigned file))
{
	unsigned i;

	for (i = 0; i < LOGLINE_FILES; i++)
		flush_file(i, key, LINES_OF_KEY, fd_of, -1);
}

void logline_flush_file(unsigned file, int fd)
{
	if (file < LOGLINE_FILES)
		flush_file(file, 0, LINES_ALL, NULL, fd);
}

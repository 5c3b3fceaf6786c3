/*
 * Records on their way out: batches, exact accounting, and what a failed write left over. long: a record on its own, and those of
 * a batch, become the same backlog, by the same accounts.
 *
 * Mechanism. Records are formatted one behind the other into a scratch block; a mark behind each says how many of the
 * program's bytes (and of the bytes kept from earlier writes) are dealt with once the output up to there is out. Sending
 * takes as many whole records as one write may hold: PIPE_BUF bytes where several processes may share a pipe (the kernel
 * does not mix such writes), all that there are on regular files. When a write fails between two records, the last mark that is out is
 * the exact answer to the program, and nothing has to be remembered. When it fails inside a record, the scratch block
 * itself, with the rest of that one record, becomes the file's backlog.
 *
 * The backlog has no lock: pushing is a compare-and-swap on a list, so that keeping bytes can never fail; sending is done
 * by whoever sets `busy`, and everybody else answers with the error that made the backlog, EAGAIN as a rule. A sender that
 * vanished inside the write (cancelled, jumped out of by a handler) leaves `busy` set: after BUSY_MAX_MS it is taken over.
 * A record over PIPE_BUF of one writer can still be cut by another writer on the same pipe, as it can without us.
 *
 * Who may call: any thread, any signal handler: a handler that interrupts a batch has a scratch block of its own.
 * Memory: one block (136 KiB, pages only as touched) per write in progress and per backlog entry; a writer must send the
 * backlog first, so there are no more entries than there were writers at one moment. Blocks are used again. A line on its own,
 * which is what most writes are, is put together in a page that its thread keeps until its end, with what records of that thread
 * have in common; so nothing is taken out of a pool for it, and no two threads touch the same memory.
 */
#include <errno.h>
#include <sched.h>
#include <string.h>

#include "config.h"
#include "counters.h"
#include "json.h"
#include "layout.h"
#include "logline_internal.h"
#include "os.h"
#include "pool.h"
#include "request.h"

#define BUSY_MAX_MS 5000
#define BUSY_YIELDS 50

/* How much is formatted before it is sent: on files as much as one write takes, else what stays in the first cache. */
#define FILL_REGULAR (64u * 1024)
#define FILL_PIPE (16u * 1024)

POOL(large_pool, sizeof(struct logline_large), 1);
POOL(small_pool, 4096, 16);

/*
 * The small scratch of this thread. While `busy` it is in use, and a signal handler on the same thread takes a large one; a
 * handler that comes before leaves everything as if it had not been. So `busy` is set first, and looked at by nobody else.
 * One that jumps out of a write leaves it set: the thread then does without.
 */
static __thread struct {
	struct logline_scratch *scratch;
	bool busy;
} own __attribute__((tls_model("initial-exec")));

/* What a signal handler must find done is done, as the compiler is concerned. */
static inline void settle_for_handlers(void)
{
	__atomic_signal_fence(__ATOMIC_SEQ_CST);
}

static __attribute__((noinline)) struct logline_scratch *small_new(void)
{
	struct logline_small *new = pool_take(&small_pool);

	if (!new)
		return NULL;
	new->scratch.marks = new->marks;
	new->scratch.data = new->data;
	new->scratch.small = true;
	own.scratch = &new->scratch;
	return own.scratch;
}

static inline void own_give(void)
{
	settle_for_handlers();
	own.busy = false;
}

/* NULL: not to be had now. */
static inline struct logline_scratch *own_take(void)
{
	struct logline_scratch *s;

	if (own.busy)
		return NULL;
	own.busy = true;
	settle_for_handlers();
	s = own.scratch;
	if (__builtin_expect(!s, 0) && !(s = small_new()))
		own_give();
	return s;
}

/* What was taken is the thread's no more. */
static void own_let_go(void)
{
	own.scratch = NULL;
	own_give();
}

void logline_thread_end(void)
{
	struct logline_scratch *s;

	own.busy = true;
	settle_for_handlers();
	s = own.scratch;
	own_let_go();
	if (!s)
		return;
	s->memo.turn = 0; /* it may have been left half made */
	pool_give(&small_pool, s);
}

static struct logline_scratch *large_take(void)
{
	struct logline_large *new = pool_take(&large_pool);

	if (!new)
		return NULL;
	new->scratch.marks = new->marks;
	new->scratch.data = new->data;
	new->scratch.small = false;
	return &new->scratch;
}

static void scratch_give(struct logline_scratch *s)
{
	pool_give(s->small ? &small_pool : &large_pool, s);
}

bool logline_writer_begin(struct logline_writer *w)
{
	w->scratch = large_take();
	w->source.memo = w->scratch ? &w->scratch->memo : NULL;
	return w->scratch != NULL;
}

void logline_writer_end(struct logline_writer *w)
{
	if (w->scratch)
		scratch_give(w->scratch);
	w->scratch = NULL;
}

bool logline_backlog(const struct logline_file *f)
{
	return __atomic_load_n(&f->incoming, __ATOMIC_ACQUIRE) || __atomic_load_n(&f->sending, __ATOMIC_ACQUIRE);
}

static __attribute__((cold)) void push_backlog(struct logline_file *f, struct logline_scratch *s, int error)
{
	__atomic_store_n(&f->error, error, __ATOMIC_RELAXED);
	s->next = __atomic_load_n(&f->incoming, __ATOMIC_RELAXED);
	while (!__atomic_compare_exchange_n(&f->incoming, &s->next, s, true, __ATOMIC_RELEASE, __ATOMIC_RELAXED))
		;
}

/* Become the one who sends; `stamp` is what `busy` then holds. */
static bool acquire_busy(struct logline_file *f, uint64_t *stamp)
{
	int i;

	*stamp = os_monotonic_ms() + 1;
	for (i = 0; i < BUSY_YIELDS; i++) {
		uint64_t since = 0;

		if (__atomic_compare_exchange_n(&f->busy, &since, *stamp, false, __ATOMIC_ACQUIRE, __ATOMIC_RELAXED))
			return true;
		if (*stamp > since + BUSY_MAX_MS &&
		    __atomic_compare_exchange_n(&f->busy, &since, *stamp, false, __ATOMIC_ACQUIRE, __ATOMIC_RELAXED))
			return true;
		sched_yield();
	}
	return false;
}

/* The oldest entry, or NULL; for the holder of busy. */
static struct logline_scratch *oldest(struct logline_file *f)
{
	struct logline_scratch *newest, *list = NULL;

	if (f->sending)
		return f->sending;
	newest = __atomic_exchange_n(&f->incoming, NULL, __ATOMIC_ACQUIRE);
	while (newest) {
		struct logline_scratch *next = newest->next;

		newest->next = list;
		list = newest;
		newest = next;
	}
	__atomic_store_n(&f->sending, list, __ATOMIC_RELEASE);
	return list;
}

static bool leads_to(const struct logline_file *f, int fd)
{
	bool (*asked)(unsigned file, int fd) = __atomic_load_n(&logline_leads_to, __ATOMIC_RELAXED);

	return asked == NULL || asked((unsigned)(f - logline_files), fd);
}

ssize_t logline_write_raw(int fd, const struct iovec *iov, int iovcnt)
{
	ssize_t total = 0;
	int i;

	counters_count(lines_raw);
	if (config.log_mode != LOG_OFF)
		return os.writev(fd, iov, iovcnt);
	for (i = 0; i < iovcnt; i++)
		total += (ssize_t)iov[i].iov_len;
	return total;
}

/* The real call of a backlog; the first one of a write goes to where the program wrote. */
static ssize_t write_backlog(const struct logline_file *f, int fd, const struct logline_scratch *s, bool first)
{
	if (!first && !leads_to(f, fd)) {
		errno = EBADF;
		return -1;
	}
	return logline_out(fd, s->data + s->off, s->end - s->off);
}

__attribute__((cold)) bool logline_backlog_send(struct logline_file *f, int fd)
{
	struct logline_scratch *s;
	bool first = true;
	uint64_t stamp;

	if (!logline_backlog(f))
		return true;
	if (!acquire_busy(f, &stamp)) {
		errno = __atomic_load_n(&f->error, __ATOMIC_RELAXED);
		return false;
	}
	while ((s = oldest(f)) != NULL) {
		ssize_t n = write_backlog(f, fd, s, first);

		first = false;
		if (__atomic_load_n(&f->busy, __ATOMIC_RELAXED) != stamp) {
			errno = EAGAIN; /* taken for dead and taken over: hands off */
			return false;
		}
		if (n <= 0) {
			int error = n ? errno : EAGAIN;

			__atomic_store_n(&f->error, error == EINTR ? EAGAIN : error, __ATOMIC_RELAXED);
			__atomic_store_n(&f->busy, 0, __ATOMIC_RELEASE);
			errno = error;
			return false;
		}
		s->off += (uint32_t)n;
		if (s->off == s->end) {
			__atomic_store_n(&f->sending, s->next, __ATOMIC_RELEASE);
			scratch_give(s);
		}
	}
	__atomic_store_n(&f->busy, 0, __ATOMIC_RELEASE);
	return true;
}

__attribute__((cold)) void logline_forget_backlog(struct logline_file *f)
{
	struct logline_scratch *s, *next;

	for (s = f->busy ? NULL : oldest(f); s; s = next) {
		next = s->next;
		scratch_give(s);
	}
	f->incoming = f->sending = NULL;
	f->busy = 0;
}

static inline void count_lines(unsigned count, unsigned with_id, unsigned spliced)
{
	counters_add(lines, count);
	if (with_id)
		counters_add(lines_with_id, with_id);
	if (with_id < count)
		counters_add(lines_without_id, count - with_id);
	if (spliced)
		counters_add(lines_spliced, spliced);
}

/* The same of one line. */
static inline void count_line(unsigned how)
{
	uint64_t *counter = counters_page()->counter;

	own_count_both(&counter[STATUS_lines],
	               &counter[(how & RECORD_HAS_ID) != 0 ? STATUS_lines_with_id : STATUS_lines_without_id]);
	if (__builtin_expect((how & RECORD_SPLICED) != 0, 0))
		counters_add(lines_spliced, 1);
}

static struct line_origin origin_of(const struct record_source *source, unsigned how)
{
	return (struct line_origin){ .ctx = source->ctx,
		                     .time_ns = source->time_ns,
		                     .tid = source->tid,
		                     .stream = (uint8_t)source->stream,
		                     .part = source->partial || source->rest,
		                     .says_id = source->ctx == NULL && (how & RECORD_HAS_ID) != 0 };
}

/* The line of a mark is out: what of it lies in the kept line, and what in the program's bytes, is told by the marks before. */
static void export_mark(const struct logline_writer *w, const struct logline_mark *m, size_t in_start,
                        uint32_t kept_start)
{
	struct iovec kept = { NULL, 0 };
	size_t end = m->in_end;

	if (w->kept != NULL && m->kept_end > kept_start)
		kept = (struct iovec){ w->kept->bytes + kept_start, m->kept_end - kept_start };
	if ((m->flags & MARK_MID_LINE) == 0 && end > in_start)
		end--; /* its newline */
	line_export(&m->origin, kept, w->iov, w->iovcnt, in_start, end);
}

/* The records up to mark `upto` are out, or kept: their bytes are dealt with. */
static void commit(struct logline_writer *w, unsigned upto)
{
	const struct logline_mark *m = NULL;
	unsigned with_id = 0, spliced = 0, cut = 0, count = upto - w->marks_sent;
	size_t in_start = w->taken;
	uint32_t kept_start = w->kept_done;

	for (; w->marks_sent < upto; w->marks_sent++) {
		m = &w->scratch->marks[w->marks_sent];
		/* A line that is sent for another call is no part of this one's bytes: export_line (logline.c). */
		if (config.export_logs && !w->forced)
			export_mark(w, m, in_start, kept_start);
		in_start = m->in_end;
		kept_start = m->kept_end;
		with_id += (m->flags & RECORD_HAS_ID) != 0;
		spliced += (m->flags & RECORD_SPLICED) != 0;
		cut += (m->flags & MARK_CUT) != 0;
	}
	if (!m)
		return;
	w->taken = m->in_end;
	w->kept_done = m->kept_end;
	w->mid_line = (m->flags & MARK_MID_LINE) != 0;
	w->committed = true;
	count_lines(count, with_id, spliced);
	if (cut)
		counters_add(lines_cut, cut);
}

static char program_byte(const struct logline_writer *w, size_t at)
{
	int i;

	for (i = 0; i < w->iovcnt; i++) {
		if (at < w->iov[i].iov_len)
			return ((const char *)w->iov[i].iov_base)[at];
		at -= w->iov[i].iov_len;
	}
	return '\n';
}

/* The scratch, from what was not sent to `end`, is the file's backlog from now on. */
static void keep_scratch(struct logline_writer *w, uint32_t end)
{
	w->scratch->off = w->sent;
	w->scratch->end = end;
	push_backlog(w->file, w->scratch, w->error == EINTR ? EAGAIN : w->error);
	w->scratch = NULL;
}

/* A write failed inside a record: keep its rest, and one byte of the program's, so that the program comes back. */
static void keep_half_record(struct logline_writer *w)
{
	size_t before = w->taken;
	uint32_t end = w->scratch->marks[w->marks_sent].out_end;

	commit(w, w->marks_sent + 1);
	if (w->taken > before && logline_hold(w->file, w->key, program_byte(w, w->taken - 1)))
		w->taken--;
	keep_scratch(w, end);
}

/* The same for bytes that no program would send again: everything is kept, and the writer is empty. */
static void keep_everything(struct logline_writer *w)
{
	commit(w, w->marks);
	keep_scratch(w, w->used);
	w->marks = w->marks_sent = 0;
	w->used = w->sent = 0;
}

/* How far the next write goes: to a mark's end, as many records as one write may hold, at least one. */
static uint32_t next_end(const struct logline_writer *w)
{
	unsigned i = w->marks_sent;

	if (w->used - w->sent <= PIPE_BUF || __atomic_load_n(&w->file->regular, __ATOMIC_RELAXED))
		return w->used;
	while (i + 1 < w->marks && w->scratch->marks[i + 1].out_end - w->sent <= PIPE_BUF)
		i++;
	return w->scratch->marks[i].out_end;
}

/* A write of what comes next returned n, errno set. false: it failed, w->error. */
static bool settle(struct logline_writer *w, ssize_t n)
{
	bool inside = w->sent > (w->marks_sent ? w->scratch->marks[w->marks_sent - 1].out_end : 0);
	unsigned upto = w->marks_sent;

	w->wrote = true;
	if (n <= 0) {
		if (n < 0 && errno == EINTR && inside)
			return true;
		w->error = n ? errno : EAGAIN;
		if (w->forced)
			keep_everything(w);
		else if (inside)
			keep_half_record(w);
		return false;
	}
	w->sent += (uint32_t)n;
	while (upto < w->marks && w->scratch->marks[upto].out_end <= w->sent)
		upto++;
	commit(w, upto);
	return true;
}

bool logline_send(struct logline_writer *w)
{
	while (w->sent < w->used) {
		ssize_t n = -1;

		if (w->wrote && config.log_mode != LOG_OFF && !leads_to(w->file, w->fd))
			errno = EBADF;
		else
			n = logline_out(w->fd, w->scratch->data + w->sent, next_end(w) - w->sent);
		if (!settle(w, n))
			return false;
	}
	w->marks = w->marks_sent = 0;
	w->used = w->sent = 0;
	return true;
}

/*
 * The write of a single record returned n, not all of it, errno set. It was on its own; from here on it is a write in progress
 * like any other.
 */
static __attribute__((noinline)) ssize_t go_on(const struct logline_one *one, ssize_t n)
{
	struct logline_writer w = { .file = one->file,
		                    .fd = one->fd,
		                    .key = one->key,
		                    .scratch = one->scratch,
		                    .marks = 1,
		                    .used = (uint32_t)one->len,
		                    .iov = &one->line,
		                    .iovcnt = 1 };
	int saved = errno;
	bool ok;

	one->scratch->marks[0] = (struct logline_mark){ .in_end = one->line.iov_len,
		                                        .out_end = (uint32_t)one->len,
		                                        .flags = (uint16_t)one->how };
	if (config.export_logs)
		one->scratch->marks[0].origin = one->origin;
	if (one->scratch->small)
		own_let_go();
	ok = settle(&w, n) && logline_send(&w);
	logline_writer_end(&w);
	errno = ok || w.taken ? saved : w.error;
	return ok || w.taken ? (ssize_t)w.taken : -1;
}

/* For the record of one line. */
static inline struct logline_scratch *line_scratch(struct record_source *source, size_t len)
{
	struct logline_scratch *s;

	if (record_bound(source, len) > LOGLINE_SMALL || !(s = own_take()))
		s = large_take();
	return s;
}

/*
 * May it be one whole line, with nothing in the file that has to go before it or with it? Whether there is another newline in it
 * is seen when it is formatted.
 */
static inline bool is_usual(const struct logline_file *f, const char *bytes, size_t len)
{
	uintptr_t something = (uintptr_t)__atomic_load_n(&f->lines, __ATOMIC_RELAXED) |
	                      __atomic_load_n(&f->held_count, __ATOMIC_RELAXED) |
	                      (uintptr_t)__atomic_load_n(&f->incoming, __ATOMIC_ACQUIRE) |
	                      (uintptr_t)__atomic_load_n(&f->sending, __ATOMIC_ACQUIRE) |
	                      __atomic_load_n(&f->raw, __ATOMIC_RELAXED);

	return something == 0 && len - 1 <= LIMIT_LOG_LINE && bytes[len - 1] == '\n';
}

static inline void line_scratch_give(struct logline_scratch *s)
{
	if (s->small)
		own_give();
	else
		scratch_give(s);
}

LAYOUT_HOT bool logline_one_begin(struct logline_one *one, unsigned file, struct record_source *source)
{
	struct logline_file *f = &logline_files[file];
	const char *line = one->line.iov_base;
	size_t len = one->line.iov_len;
	struct logline_scratch *scratch;

	__asm__("" : "+r"(f)); /* else gcc works out where each of its members is by itself */
	if (file >= LOGLINE_FILES || !is_usual(f, line, len))
		return false;
	source->pid = os_pid();
	if (source->time_ns == 0)
		source->time_ns = os_realtime_ns();
	scratch = line_scratch(source, len - 1);
	if (!scratch)
		return false;
	source->memo = &scratch->memo;
	one->len = record_format_line(source, line, len - 1, scratch->data, &one->how);
	if (__builtin_expect(!one->len, 0)) {
		line_scratch_give(scratch);
		return false;
	}
	one->bytes = scratch->data;
	one->file = f;
	one->scratch = scratch;
	if (config.export_logs)
		one->origin = origin_of(source, one->how);
	return true;
}

bool logline_one_begin_segment(struct logline_one *one, unsigned file, enum record_stream stream, int fd,
                               logline_key key, const struct iovec *line, const struct logline_segment *segment)
{
	struct record_source source = { .ctx = segment->request && !segment->neutral ? &segment->request->ctx : NULL,
		                        .stream = stream,
		                        .tid = segment->tid ? segment->tid : os_tid(),
		                        .time_ns = segment->time_ns };

	one->line = *line;
	one->key = key;
	one->fd = fd;
	return logline_one_begin(one, file, &source);
}

ssize_t logline_one_end(struct logline_one *one, ssize_t n)
{
	if (__builtin_expect(n != (ssize_t)one->len, 0))
		return go_on(one, n);
	line_scratch_give(one->scratch);
	if (config.export_logs)
		line_export(&one->origin, (struct iovec){ NULL, 0 }, &one->line, 1, 0, one->line.iov_len - 1);
	count_line(one->how);
	return (ssize_t)one->line.iov_len;
}

/* How much may wait in the scratch: what is there then is sent before another record is added. */
static inline uint32_t fill_limit(const struct logline_writer *w)
{
	return __atomic_load_n(&w->file->regular, __ATOMIC_RELAXED) ? FILL_REGULAR : FILL_PIPE;
}

/* What is said of the record that was just made, `n` bytes of w->source; `flags` beside record_format's `how`. */
static inline __attribute__((always_inline)) void mark_record(struct logline_writer *w, size_t n, size_t in_end,
                                                              uint32_t kept_end, unsigned how, unsigned flags)
{
	struct logline_mark *m = &w->scratch->marks[w->marks++];

	w->used += (uint32_t)n;
	m->in_end = in_end;
	m->out_end = w->used;
	m->kept_end = kept_end;
	if (config.export_logs)
		m->origin = origin_of(&w->source, how);
	m->flags = (uint16_t)(how | flags);
}

bool logline_add_record(struct logline_writer *w, const char *bytes, size_t len, size_t in_end, uint32_t kept_end,
                        bool whole)
{
	unsigned how;
	size_t n;

	w->source.ctx = w->who == WHO_KNOWN ? &w->request->ctx : NULL;
	/* An object over LIMIT_LOG_LINE needs the whole scratch, but no more than that (see the assertions). */
	if (w->marks == LOGLINE_MARKS || w->used >= fill_limit(w) ||
	    w->used + record_bound(&w->source, len) > LOGLINE_SCRATCH) {
		if (!logline_send(w) && !(w->forced && logline_writer_begin(w)))
			return false;
	}
	w->source.time_ns = w->print.time_ns ? w->print.time_ns : w->now.time_ns;
	w->source.tid = w->print.tid ? w->print.tid : w->now.tid;
	w->source.partial = !whole;
	w->source.rest = w->cut;
	n = record_format(&w->source, bytes, len, w->scratch->data + w->used, &how);
	mark_record(w, n, in_end, kept_end, how, (!whole || w->cut ? MARK_CUT : 0) | (whole ? 0 : MARK_MID_LINE));
	w->cut = !whole;
	return true;
}

size_t logline_add_whole(struct logline_writer *w, const char *bytes, size_t len)
{
	const struct logline_segment *segment = w->segment;
	const char *at = bytes, *end = bytes + (len < w->segment_left ? len : w->segment_left), *newline;
	uint32_t limit = fill_limit(w);
	size_t bound;

	w->source.ctx = segment->request && !segment->neutral ? &segment->request->ctx : NULL;
	w->source.time_ns = segment->time_ns ? segment->time_ns : w->now.time_ns;
	w->source.tid = segment->tid ? segment->tid : w->now.tid;
	w->source.partial = w->source.rest = false;
	bound = record_bound(&w->source, 0);
	while (at < end && (newline = memchr(at, '\n', (size_t)(end - at))) != NULL) {
		size_t n = (size_t)(newline - at), made;
		unsigned how;

		if (n > LIMIT_LOG_LINE || w->marks == LOGLINE_MARKS || w->used >= limit ||
		    w->used + bound + JSON_ESCAPE_BOUND(n) > LOGLINE_SCRATCH)
			break;
		made = record_format_whole(&w->source, at, n, w->scratch->data + w->used, &how);
		mark_record(w, made, w->pos + n + 1, w->kept_len, how, 0);
		w->pos += n + 1;
		at = newline + 1;
	}
	w->segment_left -= (size_t)(at - bytes);
	return (size_t)(at - bytes);
}

bool logline_add_line(struct logline_writer *w, const char *bytes, size_t len, bool from_kept, size_t end_pos,
                      bool whole)
{
	bool object;
	size_t old, done = 0;

	if (len <= LIMIT_LOG_LINE && !from_kept)
		return logline_add_record(w, bytes, len, end_pos + whole, w->kept_len, whole);
	object = len > LIMIT_LOG_LINE && len <= LOGLINE_OBJECT_MAX && !w->cut && record_is_object(bytes, len);
	old = !from_kept ? 0 : len < w->kept_len ? len : w->kept_len; /* bytes of earlier writes, in front */
	while (len - done > LIMIT_LOG_LINE && !object) {
		size_t part = json_utf8_cut(bytes + done, LIMIT_LOG_LINE);
		bool fresh = done + part > old;

		if (!logline_add_record(w, bytes + done, part, end_pos - (len - (fresh ? done + part : old)),
		                        fresh ? w->kept_len : (uint32_t)(done + part), false))
			return false;
		done += part;
	}
	return logline_add_record(w, bytes + done, len - done, end_pos + whole, from_kept ? (uint32_t)old : w->kept_len,
	                          whole);
}

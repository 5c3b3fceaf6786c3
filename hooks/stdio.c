/*
 * stdio: glibc's streams write from inside libc, where no symbol can be interposed. But every FILE reaches its operations
 * through a table, and glibc checks only that the table lies in its own section, not what is in it: so three slots of
 * the two tables for files are pointed at us. Each store is made only after the slot was seen to hold the function
 * that libc exports under the matching name; on another libc, or another layout, stdio is left alone and counted.
 * The page is data: it is made writable for a moment, never executable.
 *
 * Slot 7 (xsputn) sees what is printed, when it is printed; slot 15 (write) sees what leaves the buffer; slot 14 (read) is
 * for servers of the inetd kind, which read HTTP from stdin.
 *
 * Ruled out: replacing stdout by fopencookie (freopen, fileno, wprintf break), hooking 70 functions (inlined putc).
 */
#include "config.h"
#include "real.h"

#include <errno.h>
#include <link.h>
#include <stdint.h>
#include <string.h>

#ifdef __SSE2__
#include <emmintrin.h>
#endif

#include "counters.h"
#include "current.h"
#include "layout.h"
#include "logfiles.h"
#include "logline.h"
#include "marks.h"
#include "os.h"
#include "stdio_table.h"

/* struct _IO_jump_t and the tail of struct _IO_FILE_plus, glibc 2.2 to today (libio/libioP.h). */
enum slot { SLOT_XSPUTN = 7, SLOT_READ = 14, SLOT_WRITE = 15, SLOT_COUNT = 21 };

/* struct _IO_wide_data keeps its table last, at this offset on 64-bit machines. Checked against the slot's content too. */
#define WIDE_TABLE_OFFSET 224

/* And begins with the eight pointers that struct _IO_FILE has for its narrow buffer, in the same order. */
enum { WIDE_WRITE_BASE = 3, WIDE_WRITE_PTR = 4 };

/* _IO_UNBUFFERED of libio.h: part of the layout that programs of decades were compiled with. */
#define STREAM_UNBUFFERED 0x0002

/*
 * _IO_DELETE_DONT_CLOSE: the stream of a dprintf, on its caller's stack and gone when it returns. So it is no key for what is
 * kept, and not to be looked at later. What it prints is written within the call.
 */
#define STREAM_OF_ONE_CALL 0x0040

typedef size_t (*xsputn_function)(FILE *stream, const void *data, size_t len);
typedef ssize_t (*read_function)(FILE *stream, void *data, ssize_t len);
typedef ssize_t (*write_function)(FILE *stream, const void *data, ssize_t len);

/* libc exports them, no header declares them; weak, because musl has none of them. */
extern size_t _IO_file_xsputn(FILE *stream, const void *data, size_t len) __attribute__((weak));
extern size_t _IO_wfile_xsputn(FILE *stream, const void *data, size_t len) __attribute__((weak));
extern ssize_t _IO_file_read(FILE *stream, void *data, ssize_t len) __attribute__((weak));
extern ssize_t _IO_file_write(FILE *stream, const void *data, ssize_t len) __attribute__((weak));

/* Is what is printed to the stream written at once, in the name of the thread that prints it? */
static bool is_written_at_once(const FILE *stream)
{
	return (stream->_flags & (STREAM_UNBUFFERED | STREAM_OF_ONE_CALL)) != 0;
}

/*
 * What an unfinished line of the stream is kept under. In a server, what is written at once comes in pieces of many requests'
 * threads (cerr writes each operand by itself): each thread's make a line of their own. But a line that was begun before the process
 * served ("listening ... done") goes on as it began.
 */
static __attribute__((cold)) logline_key key_of(const FILE *stream)
{
	if ((stream->_flags & STREAM_OF_ONE_CALL) != 0)
		return (logline_key)os_tid();
	if (!is_written_at_once(stream) || !current_serves() ||
	    logline_has_begun(fds_log_file(fds_word(stream->_fileno)), (logline_key)stream))
		return (logline_key)stream;
	return (logline_key)os_tid() | IO_KEY_UNBUFFERED;
}

static __attribute__((cold, noinline)) uint64_t learn(int fd)
{
	int saved = errno;
	uint64_t word = fds_learn(fd);

	errno = saved;
	return word;
}

static LAYOUT_INLINE bool is_log(int fd)
{
	uint64_t word = fds_word(fd);

	if (__builtin_expect(fds_kind(word) == FD_UNKNOWN && fd >= 0, 0))
		word = learn(fd);
	return fds_kind(word) == FD_LOG;
}

/* Does a line that has begun go on, if no other one begins? */
static LAYOUT_INLINE bool has_begun_line(const FILE *stream)
{
	return stream->_IO_write_ptr > stream->_IO_write_base && stream->_IO_write_ptr[-1] != '\n';
}

/* Does a line that has begun go on, and no other one begin? */
static bool is_in_line(const FILE *stream, const char *data, size_t len)
{
	return has_begun_line(stream) && (len < 2 || memchr(data, '\n', len - 1) == NULL);
}

/*
 * The same of the short pieces that printf makes, for which a call would cost more than the look itself: two loads, which overlap,
 * hold all bytes but the last one. false of a longer one: nobody looked.
 */
static LAYOUT_INLINE bool is_short_in_line(const FILE *stream, const char *data, size_t len)
{
#ifdef __SSE2__
	const char *end = data + len - 1;
	__m128i newline = _mm_set1_epi8('\n'), first, last;
	uint32_t few;

	if (len > 2 * sizeof(first) + 1 || !has_begun_line(stream))
		return false;
	if (len < 2)
		return true;
	if (len > sizeof(first)) {
		first = _mm_loadu_si128((const __m128i *)(const void *)data);
		last = _mm_loadu_si128((const __m128i *)(const void *)(end - sizeof(last)));
	} else if (len > sizeof(uint64_t)) {
		first = _mm_loadl_epi64((const __m128i *)(const void *)data);
		last = _mm_loadl_epi64((const __m128i *)(const void *)(end - sizeof(uint64_t)));
	} else if (len > sizeof(few)) {
		memcpy(&few, data, sizeof(few));
		first = _mm_cvtsi32_si128((int)few);
		memcpy(&few, end - sizeof(few), sizeof(few));
		last = _mm_cvtsi32_si128((int)few);
	} else {
		return data[0] != '\n' && end[-1] != '\n' && data[len > 2] != '\n';
	}
	return _mm_movemask_epi8(_mm_or_si128(_mm_cmpeq_epi8(first, newline), _mm_cmpeq_epi8(last, newline))) == 0;
#else
	return is_in_line(stream, data, len);
#endif
}

static size_t buffered_in(const FILE *stream)
{
	return (size_t)(stream->_IO_write_ptr - stream->_IO_write_base);
}

/* To a log. request: for whom, or NULL: that is to be asked for. */
static inline size_t xsputn_log(FILE *stream, const void *data, size_t len, struct request *request)
{
	bool in_line = is_in_line(stream, data, len);

	if (request == NULL)
		request = current_known();

	if (!marks_go_on((uintptr_t)stream, buffered_in(stream), len, request, in_line))
		marks_note((uintptr_t)stream, buffered_in(stream), len, request, in_line);
	return _IO_file_xsputn(stream, data, len);
}

/* Whatever is printed, to whatever. */
static __attribute__((noinline)) size_t xsputn_any(FILE *stream, const void *data, size_t len, struct request *request)
{
	if (io_active() && !is_written_at_once(stream) && is_log(stream->_fileno))
		return xsputn_log(stream, data, len, request);
	return _IO_file_xsputn(stream, data, len);
}

/*
 * Printing to a log in a process that serves. Else the request is the thread's at the time of the write; and a process that does
 * not serve has no requests to tell apart. A printf comes here with each of its pieces, all but the first of which go on with a line
 * (and in one of them another line may begin): so that is some looks and a jump. Streams that have marks are logs and buffered.
 */
static size_t xsputn_slot(FILE *stream, const void *data, size_t len)
{
	struct request *request = current_known_usual();

	if (request != NULL || current_serves()) {
		if (request == NULL || !is_short_in_line(stream, data, len) ||
		    !marks_go_on((uintptr_t)stream, buffered_in(stream), len, request, true))
			return xsputn_any(stream, data, len, request);
	}
	return _IO_file_xsputn(stream, data, len);
}

/* Wide streams hold characters that become bytes only when they are flushed: their lines say nothing. */

static __attribute__((cold)) ssize_t read_slot(FILE *stream, void *data, ssize_t len)
{
	struct io_receive io;
	struct iovec iov = { data, 0 };
	ssize_t n;

	if (io_uninvolved(stream->_fileno) || !io_receive_begin(&io, stream->_fileno))
		return _IO_file_read(stream, data, len);
	n = _IO_file_read(stream, data, len);
	iov.iov_len = n > 0 ? (size_t)n : 0;
	io_receive_end(&io, &iov, 1, n, false);
	return n;
}

/*
 * Of a key that is a FILE's address: is something of the stream still in its buffer? Reads another thread's stream without
 * its lock: either answer is then right. The stream cannot be gone: `closing` comes first.
 */
static __attribute__((cold)) bool has_more(logline_key key)
{
	const FILE *stream = (const FILE *)key;
	const char *const *wide;

	if (io_key_is_thread(key))
		return false;
	/* The characters of a wide stream become bytes when they are flushed. */
	wide = (const char *const *)(const void *)stream->_wide_data;
	if (stream->_mode > 0 && wide != NULL && wide[WIDE_WRITE_PTR] > wide[WIDE_WRITE_BASE])
		return true;
	return stream->_IO_write_ptr > stream->_IO_write_base;
}

/* Drop the first `taken` bytes from the segments. Returns the index of the first one that is left. */
static size_t trim(struct logline_segment *segments, size_t first, size_t count, size_t taken)
{
	while (first < count && taken >= segments[first].len)
		taken -= segments[first++].len;
	if (first < count)
		segments[first].len -= taken;
	return first;
}

/* Returns the program's bytes taken; less than their number: an error came, errno says which. */
static size_t write_segments(FILE *stream, const char *data, struct logline_segment *segments, size_t count)
{
	uint64_t word = fds_word(stream->_fileno);
	size_t done = 0, first = 0;

	while (first < count) {
		struct iovec iov = { (void *)(uintptr_t)(data + done), 0 };
		size_t i;
		ssize_t n;

		for (i = first; i < count; i++)
			iov.iov_len += segments[i].len;
		n = io_write_log(stream->_fileno, word, key_of(stream), &iov, 1, segments + first, count - first);
		if (n <= 0)
			break;
		first = trim(segments, first, count, (size_t)n);
		done += (size_t)n;
	}
	return done;
}

/* What is the thread's own at the time of the write. The usual line is written from here: see logline_one_begin. */
static inline size_t write_own(FILE *stream, const char *data, size_t len)
{
	struct logline_segment all;
	struct logline_one one;
	size_t done = 0;

	if (io_line_begin(&one, stream->_fileno, fds_word(stream->_fileno), key_of(stream), data, len)) {
		ssize_t n = io_line_end(&one, REAL(write)(stream->_fileno, one.bytes, one.len));

		if (n <= 0)
			return 0;
		done = (size_t)n;
		if (done == len)
			return done;
	}
	all = (struct logline_segment){ .len = len - done, .request = io_line_request() };
	return done + write_segments(stream, data + done, &all, 1);
}

static size_t write_log(FILE *stream, const char *data, size_t len)
{
	struct logline_segment all = { .len = len };
	size_t done = 0;

	if (is_written_at_once(stream) || !current_serves())
		return write_own(stream, data, len);
	while (done < len) {
		struct marks_taken *taken = marks_take((uintptr_t)stream, len - done);
		size_t wanted, n;

		if (taken == NULL) {
			all.len = len - done;
			return done + write_segments(stream, data + done, &all, 1);
		}
		wanted = taken->len;
		n = write_segments(stream, data + done, taken->segment, taken->count);
		marks_give(taken);
		done += n;
		if (n < wanted)
			break;
	}
	return done;
}

/* A log that is left as it is: what libc has written is looked at afterwards, for export. */
static __attribute__((cold)) ssize_t write_watched_log(FILE *stream, const void *data, ssize_t len)
{
	ssize_t done = _IO_file_write(stream, data, len);
	int saved = errno;

	if (done > 0)
		(void)write_log(stream, data, (size_t)done);
	if (__builtin_expect(io_ending, 0))
		io_flush_key(key_of(stream));
	errno = saved;
	return done;
}

static ssize_t emit_writev(const struct io_emitter *emitter, const struct iovec *iov, int count)
{
	return REAL(writev)(emitter->fd, iov, count);
}

static __attribute__((cold)) ssize_t write_connection(FILE *stream, const char *data, size_t len)
{
	struct io_emitter emitter = { .emit = emit_writev, .fd = stream->_fileno };
	struct iovec iov = { (void *)(uintptr_t)data, len };
	enum io_verdict verdict;
	struct io_send io;
	ssize_t n;

	verdict = io_send_begin(&io, stream->_fileno, &iov, 1);
	if (verdict == IO_SPECIAL)
		return io_send_special(&io, &emitter);
	n = REAL(write)(stream->_fileno, data, len);
	if (verdict == IO_WATCH)
		io_send_end(&io, n);
	return n;
}

static __attribute__((cold)) ssize_t write_connection_whole(FILE *stream, const char *data, size_t len)
{
	size_t done = 0;

	while (done < len) {
		ssize_t n = write_connection(stream, data + done, len - done);

		if (n < 0)
			break;
		done += (size_t)n;
	}
	return (ssize_t)done;
}

/*
 * As libc's own: goes on until all is written or an error comes, notes the error in the stream, and returns what was taken.
 * The position that libc keeps for seeking is forgotten, because records are longer than what was printed.
 */
static ssize_t write_slot(FILE *stream, const void *data, ssize_t len)
{
	ssize_t done;
	bool log;

	if (io_uninvolved(stream->_fileno) || len <= 0)
		return _IO_file_write(stream, data, len);
	log = is_log(stream->_fileno);
	/* An unbuffered stream is given what the program has, or has not. */
	if (log ? !os_readable(data, (size_t)len) : fds_kind(fds_word(stream->_fileno)) != FD_CONN)
		return _IO_file_write(stream, data, len);
	if (log && config.log_mode == LOG_OFF)
		return write_watched_log(stream, data, len);
	done = log ? (ssize_t)write_log(stream, data, (size_t)len) : write_connection_whole(stream, data, (size_t)len);
	if (done < len)
		stream->_flags |= _IO_ERR_SEEN;
	if (log)
		stdio_forget_offset(stream);
	if (log && __builtin_expect(io_ending, 0))
		io_flush_key(key_of(stream));
	return done;
}

/* ---- the tables ---- */

struct range {
	uintptr_t first, end;
};

static uintptr_t page_mask(void)
{
#ifdef __x86_64__
	return 4095; /* by the architecture: sysconf alone would map another page of libc in */
#else
	return (uintptr_t)sysconf(_SC_PAGESIZE) - 1;
#endif
}

/*
 * The whole pages to be made writable. Up to the end of what the loader made read-only there, where that can be seen: then the
 * kernel moves the border between two mappings to and fro, where it would have to cut one in three and join them again.
 */
LAYOUT_START static int widen(struct dl_phdr_info *info, size_t size, void *wanted)
{
	struct range *range = wanted;
	int i;

	(void)size;
	for (i = 0; i < info->dlpi_phnum; i++) {
		uintptr_t start = info->dlpi_addr + info->dlpi_phdr[i].p_vaddr;
		uintptr_t end = (start + info->dlpi_phdr[i].p_memsz) & ~page_mask();

		if (info->dlpi_phdr[i].p_type == PT_GNU_RELRO && start <= range->first && range->end <= end) {
			range->end = end;
			return 1;
		}
	}
	return 0;
}

LAYOUT_START static struct range pages_of(void **tables[2])
{
	void **low = tables[0] < tables[1] ? tables[0] : tables[1];
	void **high = tables[0] < tables[1] ? tables[1] : tables[0];
	struct range range = { (uintptr_t)low & ~page_mask(),
		               ((uintptr_t)(high + SLOT_COUNT) + page_mask()) & ~page_mask() };

	(void)dl_iterate_phdr(widen, &range);
	return range;
}

LAYOUT_START static bool make_writable(struct range range, bool writable)
{
	int access = writable ? PROT_READ | PROT_WRITE : PROT_READ;

	return os_protect((void *)range.first, range.end - range.first, access) == 0;
}

LAYOUT_START static bool is_expected(void **table, xsputn_function xsputn)
{
	return table[SLOT_WRITE] == (void *)_IO_file_write && table[SLOT_READ] == (void *)_IO_file_read &&
	       table[SLOT_XSPUTN] == (void *)xsputn;
}

/* The table for wide streams, or NULL. It lies near the other one, or it is no table. */
LAYOUT_START static void **find_wide_table(void **file_table)
{
	const char *wide = (const char *)stderr->_wide_data;
	void **table;

	if (wide == NULL)
		return NULL;
	memcpy(&table, wide + WIDE_TABLE_OFFSET, sizeof(table));
	return (uintptr_t)table - (uintptr_t)file_table + 4096 <= 8192 && is_expected(table, _IO_wfile_xsputn) ? table :
	                                                                                                         NULL;
}

LAYOUT_START static bool hook_tables(void)
{
	void **tables[2];
	struct range range;

	if (_IO_file_write == NULL || _IO_file_read == NULL || _IO_file_xsputn == NULL || _IO_wfile_xsputn == NULL)
		return false;
	memcpy(&tables[0], (char *)stderr + sizeof(FILE), sizeof(tables[0]));
	if (!is_expected(tables[0], _IO_file_xsputn) || (tables[1] = find_wide_table(tables[0])) == NULL)
		return false;
	range = pages_of(tables);
	if (!make_writable(range, true))
		return false;
	logline_has_more = has_more;
	tables[0][SLOT_WRITE] = tables[1][SLOT_WRITE] = (void *)write_slot;
	tables[0][SLOT_READ] = tables[1][SLOT_READ] = (void *)read_slot;
	tables[0][SLOT_XSPUTN] = (void *)xsputn_slot;
	/* If this fails the page stays writable, as it is in programs without RELRO. */
	(void)make_writable(range, false);
	return true;
}

LAYOUT_START void stdio_hook(void)
{
	if (!hook_tables())
		counters_count_seldom(stdio_unhooked);
}

/* ---- streams that come and go ---- */

static FILE *opened(FILE *stream)
{
	if (stream != NULL && io_active())
		fds_birth(fileno(stream), FD_UNKNOWN);
	return stream;
}

/*
 * What the stream still has goes out while its descriptor is open; then both are forgotten. Returns the error that libc's
 * close would have met when it flushed: it will find nothing left to flush.
 */
static __attribute__((cold)) int closing(FILE *stream)
{
	int saved = errno, error = 0;
	int fd;

	if (stream == NULL || !io_active())
		return 0;
	fd = fileno(stream);
	if (fd >= 0 && (is_log(fd) || fds_kind(fds_word(fd)) == FD_CONN)) {
		/* lint: allow fflush: the program is closing it */
		if (has_more((logline_key)stream) && fflush(stream) != 0)
			error = errno;
		io_closing(fd);
	}
	/* Whatever became of its descriptor: its address may come back as another stream. */
	io_flush_key((logline_key)stream);
	marks_forget((uintptr_t)stream);
	if (fd >= 0 && fds_word(fd) != FD_UNKNOWN)
		fds_death(fd);
	errno = saved;
	return error;
}

static int closed(int result, int error)
{
	if (result == 0 && error != 0) {
		errno = error;
		return EOF;
	}
	return result;
}

__attribute__((cold)) EXPORT FILE *fopen(const char *restrict path, const char *restrict mode)
{
	return opened(REAL(fopen)(path, mode));
}

/* In a 64-bit ABI (aio.c sees to that) these are the same functions. */
EXPORT FILE *fopen64(const char *restrict path, const char *restrict mode) __attribute__((alias("fopen")));

__attribute__((cold)) EXPORT FILE *freopen(const char *restrict path, const char *restrict mode, FILE *restrict stream)
{
	(void)closing(stream);
	return opened(REAL(freopen)(path, mode, stream));
}

EXPORT FILE *freopen64(const char *restrict path, const char *restrict mode, FILE *restrict stream)
	__attribute__((alias("freopen")));

__attribute__((cold)) EXPORT int fclose(FILE *stream)
{
	int error = closing(stream);

	return closed(REAL(fclose)(stream), error);
}

EXPORT int pclose(FILE *stream)
{
	(void)closing(stream);
	return REAL(pclose)(stream);
}

/*
 * What the parts of logline share: the state of a log file (logline_table.c guards it), and one write in progress
 * (logline_emit.c sends it, logline.c fills it). Not for other modules.
 */
#ifndef TRACESHIM_LOGLINE_INTERNAL_H
#define TRACESHIM_LOGLINE_INTERNAL_H

#include <linux/limits.h> /* PIPE_BUF; our own limits.h hides the C library's */

#include "config.h"
#include "limits.h"
#include "line_export.h"
#include "logline.h"
#include "os.h"

/* Formatted bytes of one write in progress; a record of the longest line with the worst escapes must fit. */
#define LOGLINE_SCRATCH (128u * 1024)
_Static_assert(RECORD_BOUND(LIMIT_LOG_LINE) <= LOGLINE_SCRATCH, "a text record fits the scratch");
_Static_assert(RECORD_OBJECT_BOUND(LOGLINE_OBJECT_MAX) <= LOGLINE_SCRATCH, "a spliced record fits the scratch");

/* Records of one batch. More than a full batch of short lines has; a batch that reaches it is sent early. */
#define LOGLINE_MARKS 320

/* Bytes held back at a time, per file: threads whose last record is half out. Without room nothing is held back. */
#define LOGLINE_HELD 8

/* When and by which thread a line was printed, as far as its segments said; 0: at its write, by the thread that writes. */
struct logline_print {
	uint64_t time_ns;
	int32_t tid;
};

/*
 * One unfinished line. Owned by the table while it is listed there, else by the call that took it. Or, with `stub`, only that parts
 * of a line are records already: there are no `bytes`, and `len` is 0.
 */
struct logline_line {
	uint32_t pool_word;
	uint32_t len;
	struct logline_line *next;
	logline_key key;
	struct request *request; /* a reference, while WHO_KNOWN and listed */
	uint64_t born_ms;
	struct logline_print print;
	uint8_t who; /* enum logline_who */
	uint8_t stream;
	bool cut; /* earlier parts of the line are records already */
	bool stub;
	char bytes[LOGLINE_OBJECT_MAX];
};

/* Which lines a flush is about. */
enum logline_which { LINES_ALL, LINES_SETTLED, LINES_OF_KEY };

enum logline_who { WHO_NOT_SAID, WHO_KNOWN, WHO_NONE };

/* After the record that ends at out_end, this much of the program's bytes and of the kept line is dealt with. */
struct logline_mark {
	size_t in_end;
	uint32_t out_end;
	uint32_t kept_end;
	uint16_t flags;            /* RECORD_* and MARK_* */
	struct line_origin origin; /* where lines are exported; else not filled */
};
#define MARK_CUT 0x100u      /* counted as lines_cut */
#define MARK_MID_LINE 0x200u /* the line goes on behind it */

/*
 * Where records are put together. Large: for writes of any kind. Small: a page that each thread keeps for its next line on its
 * own, which is what nearly all writes are. Either may become a backlog, and whatever it was, ends in the pool it is from.
 */
struct logline_scratch {
	uint32_t pool_word;
	uint32_t off, end; /* backlog: data[off..end) is still to go */
	bool small;
	struct logline_scratch *next;
	struct logline_mark *marks;
	char *data;
	struct record_memo memo;
};

struct logline_large {
	struct logline_scratch scratch;
	struct logline_mark marks[LOGLINE_MARKS];
	char data[LOGLINE_SCRATCH] __attribute__((aligned(64)));
};

#define LOGLINE_SMALL 3264u
struct logline_small {
	struct logline_scratch scratch;
	struct logline_mark marks[1];
	char data[LOGLINE_SMALL] __attribute__((aligned(64))); /* the kernel copies from there */
};
_Static_assert(sizeof(struct logline_small) <= 4096, "a small scratch is a page");

struct logline_file {
	uint64_t lock;              /* 0, or {turn, tid} of the holder; guards lines and held */
	uint64_t stuck;             /* a holder that was waited for in vain: not waited for again */
	struct logline_line *lines; /* read without the lock to see that there are none */

	struct logline_scratch *incoming; /* what writers left over, newest first; any writer pushes, lock-free */
	struct logline_scratch *sending;  /* the same, oldest first; of the holder of `busy` */
	uint64_t busy;                    /* since when (ms) somebody is sending what is left over; 0: nobody */
	int error;                        /* errno of its last failure */
	uint32_t held_count;
	bool regular;
	uint8_t raw; /* atomic: whether the line that was last written passed unchanged so far, and goes on */
	struct {
		logline_key key;
		char byte;
	} held[LOGLINE_HELD];
} __attribute__((aligned(64))); /* one line of cache, but for what is held back */

extern struct logline_file logline_files[LOGLINE_FILES];

/* logline_table.c; those with a bool return false when the lock cannot be had */
struct logline_line *logline_line_new(bool stub);
void logline_line_free(struct logline_line *line); /* not the request */
bool logline_take(struct logline_file *f, logline_key key, struct logline_line **line);
struct logline_line *logline_take_any(struct logline_file *f, logline_key key, enum logline_which which);
struct logline_line *logline_take_aged(struct logline_file *f, logline_key except, uint64_t now_ms);
bool logline_put(struct logline_file *f, struct logline_line *line);
bool logline_hold(struct logline_file *f, logline_key key, char byte);
bool logline_swallow(struct logline_file *f, logline_key key, char byte);

/* One write in progress, on the stack of logline_write. */
struct logline_writer {
	struct logline_file *file;
	int fd;
	int error; /* errno that stopped it */
	logline_key key;
	struct logline_scratch *scratch;
	unsigned marks, marks_sent;
	uint32_t used, sent; /* bytes of scratch->data filled, and written */
	struct record_source source;
	const struct iovec *iov; /* the program's bytes */
	int iovcnt;
	size_t pos;     /* of them, fed so far */
	size_t taken;   /* of them, dealt with for good */
	bool committed; /* anything was */
	bool mid_line;  /* and the last of it was not the end of a line */
	bool forced;    /* a send that fails leaves everything to the backlog */
	bool wrote;     /* a real call was made already: the next one may find another file behind the number */

	struct logline_line *kept;    /* the line that earlier writes began; must survive until its bytes are out */
	uint32_t kept_len, kept_done; /* bytes it came with; of them, dealt with for good */
	struct logline_line *line;    /* the line being put together (may be `kept`), or NULL: nothing yet */
	enum logline_who who;         /* of this line */
	struct request *request;      /* borrowed */
	struct logline_print print;   /* of this line */
	struct logline_print now;     /* of a line that does not say */
	bool cut;                     /* of this line, earlier parts are records already */
	const struct logline_segment *segment;
	size_t segments_left, segment_left;
};

/*
 * A record goes out. Where logs are left as they are (TRACESHIM_LOG=off), the program's bytes are out already when they come here, and
 * lines are put together for export alone.
 */
static inline ssize_t logline_out(int fd, const void *bytes, size_t len)
{
	return __builtin_expect(config.log_mode == LOG_OFF, 0) ? (ssize_t)len : os.write(fd, bytes, len);
}

/* logline.c: there is no memory; counted */
ssize_t logline_write_raw(int fd, const struct iovec *iov, int iovcnt);

/* logline_emit.c */
/* logline_one_begin of the line that this segment covers. */
bool logline_one_begin_segment(struct logline_one *one, unsigned file, enum record_stream stream, int fd,
                               logline_key key, const struct iovec *line, const struct logline_segment *segment);
bool logline_writer_begin(struct logline_writer *w); /* false: no scratch */
void logline_writer_end(struct logline_writer *w);
bool logline_backlog(const struct logline_file *f);
bool logline_backlog_send(struct logline_file *f, int fd); /* true: nothing left; false: errno */
bool logline_send(struct logline_writer *w);               /* all that was added; false: w->error */
/*
 * A line, or (`whole` false) a part of one, whose last byte is right before the program's byte end_pos (its newline, if
 * whole). from_kept: it begins with bytes of w->kept. false: a send failed, w->error.
 */
bool logline_add_line(struct logline_writer *w, const char *bytes, size_t len, bool from_kept, size_t end_pos,
                      bool whole);
/* The same of what is no longer than LIMIT_LOG_LINE, and lies behind the first kept_end bytes of w->kept; in_end: with its newline. */
bool logline_add_record(struct logline_writer *w, const char *bytes, size_t len, size_t in_end, uint32_t kept_end,
                        bool whole);
/*
 * Whole lines, no longer than that, that lie in the current segment, while no line has begun: as many as there is room for. Returns how many bytes that
 * were, with their newlines; w->pos and w->segment_left are behind them.
 */
size_t logline_add_whole(struct logline_writer *w, const char *bytes, size_t len);
void logline_forget_backlog(struct logline_file *f);

#endif

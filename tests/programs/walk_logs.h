/*
 * A walk's logs: lines, in any pieces, by descriptors and streams.
 *
 * A line that one writer has begun is completed by it before another one writes to the same file: without the object they would be joined,
 * and with it are two records (DESIGN.md, 'Log lines').
 */
#ifndef WALK_LOGS_H
#define WALK_LOGS_H

#include "walk.h"

#include <sys/sendfile.h>

#define WALK_LOGS 4 /* stdout, stderr, two files that TRACESHIM_LOG_FILES names */
#define WALK_TEXT 45000

/* Of a file: what is begun, and by whom. */
struct begun {
	bool line;    /* in the midst of one */
	int writer;   /* twice the log's number, and one more for its stream */
	bool written; /* by a stream, whose buffer may hold some */
};

struct log {
	int fd, copy; /* -1: none */
	FILE *stream;
	struct begun *begun;
};

static struct log logs[WALK_LOGS];
static struct begun begun_lines[WALK_LOGS];
static bool walk_two_threads;
static bool walk_plain; /* logs are left as they are: what files say of themselves is the same, too */

/* ---- text ---- */

static inline size_t word(char *text)
{
	static const char *const some_words[] = { "request",
		                                  "ERROR",
		                                  "a \"quoted\" word",
		                                  "back\\slash",
		                                  "\tindented",
		                                  "caf\303\251",
		                                  "\342\202\254 5",
		                                  "[info]",
		                                  "2026-11-24 12:00:01,123",
		                                  "127.0.0.1 - -",
		                                  "{\"a\":1}",
		                                  "trace_id=none",
		                                  "\033[31mred\033[0m",
		                                  "x",
		                                  "level=warn",
		                                  "}",
		                                  "WARN:",
		                                  "%s %n" };
	const char *chosen = some_words[dice(sizeof(some_words) / sizeof(some_words[0]))];

	return (size_t)sprintf(text, "%s", chosen);
}

static inline size_t line(char *text, size_t most)
{
	size_t len = 0, words = dice(9);

	if (chance(12))
		return (size_t)sprintf(text,
		                       "{\"own\":%zu,\"message\":\"a \\\"b\\\" %zu\",\"list\":[1,{\"x\":null}]}\n",
		                       dice(9), dice(99));
	if (chance(3))
		words = dice(chance(30) ? 4000 : 800);
	while (words-- > 0 && len + 60 < most) {
		len += word(text + len);
		text[len++] = ' ';
	}
	text[len++] = '\n';
	return len;
}

/* Some lines, or a part of one. */
static inline size_t lines(char *text)
{
	size_t count = chance(70) ? 1 : 1 + dice(6), len = 0;

	while (count-- > 0)
		len += line(text + len, WALK_TEXT / 2 - len / 2 - 200);
	return chance(20) ? some(len) : len;
}

/* ---- writers ---- */

static inline void end_line(struct begun *begun)
{
	struct log *log = &logs[begun->writer / 2];

	if (begun->writer % 2 == 1 && log->stream != NULL) {
		if (begun->line)
			CALL(fputc('\n', log->stream), "fputc of log %d", begun->writer / 2);
		if (begun->written)
			CALL(fflush(log->stream), "fflush of log %d", begun->writer / 2);
	} else if (begun->line) {
		CALL(write(log->fd, "\n", 1), "write of a line's end");
	}
	begun->line = begun->written = false;
}

static inline void end_lines(void)
{
	int i;

	for (i = 0; i < WALK_LOGS; i++)
		end_line(&begun_lines[i]);
}

static inline void be_writer(struct log *log, bool stream)
{
	int writer = 2 * (int)(log - logs) + stream;

	if (log->begun->writer != writer)
		end_line(log->begun);
	log->begun->writer = writer;
	log->begun->written |= stream;
}

static inline void wrote(struct log *log, const char *text, long n)
{
	if (n > 0)
		log->begun->line = text[n - 1] != '\n';
}

/* What the kernel would copy into a log is refused (DESIGN.md, 'Copies inside the kernel'): then it is written. */
static inline long copy_into_log(int fd, const char *text, size_t len)
{
	int file = out_of_the_way((int)raw(SYS_memfd_create, "walk", 0, 0));
	off_t offset = 0;
	long n;

	raw_write_all(file, text, len);
	n = sendfile(fd, file, &offset, len);
	if (n < 0 && errno == EINVAL)
		n = write(fd, text, len);
	raw(SYS_close, file, 0, 0);
	tell("copied into %d: %ld of %zu", fd, n, len);
	return n;
}

static inline long write_text(int fd, const char *text, size_t len)
{
	struct iovec iov[3] = { { (void *)(uintptr_t)text, len / 3 },
		                { NULL, 0 },
		                { (void *)(uintptr_t)(text + len / 3), len - len / 3 } };

	switch (dice(8)) {
	case 0: return CALL(writev(fd, iov, 3), "writev(log %d, %zu)", fd, len);
	case 1: return CALL(dprintf(fd, "%.*s", (int)len, text), "dprintf(log %d, %zu)", fd, len);
	case 2: return copy_into_log(fd, text, len);
	default: return CALL(write(fd, text, len), "write(log %d, %zu)", fd, len);
	}
}

static inline void print_text(FILE *stream, const char *text, size_t len)
{
	size_t half = some(len), i;

	switch (dice(6)) {
	case 0: CALL(fputs(text, stream) >= 0, "fputs(%zu)", len); break;
	case 1: CALL(fprintf(stream, "%.*s%s", (int)half, text, text + half), "fprintf(%zu)", len); break;
	case 2:
		for (i = 0; i < len && i < 300; i++)
			(void)putc_unlocked(text[i], stream);
		CALL(fwrite(text + i, 1, len - i, stream), "putc, and fwrite(%zu)", len - i);
		break;
	case 3: CALL(fwrite_unlocked(text, 1, len, stream), "fwrite_unlocked(%zu)", len); break;
	default: CALL(fwrite(text, 1, len, stream), "fwrite(%zu)", len); break;
	}
	if (chance(25))
		CALL(fflush(stream), "fflush");
}

static inline void log_nothing(int fd)
{
	switch (dice(3)) {
	case 0: CALL(write(fd, nowhere(), 10), "write(log %d, nowhere)", fd); break;
	case 1: CALL(write(fd, "", 0), "write(log %d, 0)", fd); break;
	default: CALL(writev(fd, nowhere(), 2), "writev(log %d, nowhere)", fd); break;
	}
}

static inline void log_some(void)
{
	static __thread char text[WALK_TEXT + 1];
	struct log *log = &logs[dice(WALK_LOGS)];
	size_t len = lines(text);
	const char *from = text;

	text[len] = '\0';
	if (log->stream != NULL && (log->fd < 0 || chance(45))) {
		be_writer(log, true);
		print_text(log->stream, text, len);
		wrote(log, text, (long)len);
	} else if (log->fd >= 0) {
		int fd = log->copy >= 0 && chance(50) ? log->copy : log->fd;

		be_writer(log, false);
		if (chance(5))
			log_nothing(fd);
		if (chance(10))
			from = memcpy(walk_room + WALK_ROOM - len, text, len);
		wrote(log, from, write_text(fd, from, len));
	}
}

/* ---- files that come and go ---- */

static inline void log_path(char path[600], int number)
{
	snprintf(path, 600, "%s/%s.log", torture_dir, number == 2 ? "one" : "two");
}

/* Appended to, because whoever has opened it before goes on from where it was. */
static inline void open_log(int number)
{
	struct log *log = &logs[number];
	char path[600];

	log_path(path, number);
	if (log->fd < 0 && chance(60))
		log->fd = (int)CALL(open(path, O_WRONLY | O_CREAT | O_APPEND | (chance(50) ? O_CLOEXEC : 0), 0600),
		                    "open log %d", number);
	if (log->stream == NULL && chance(60)) {
		log->stream = fopen(path, chance(50) ? "a" : "a+e");
		must(log->stream != NULL, "a stream");
		if (chance(40))
			CALL(setvbuf(log->stream, NULL, chance(50) ? _IOLBF : _IONBF, 0), "setvbuf");
		else if (chance(40))
			CALL(setvbuf(log->stream, NULL, _IOFBF, 64 + dice(9000)), "setvbuf");
	}
}

static inline void close_log(int number)
{
	struct log *log = &logs[number];

	end_line(log->begun);
	if (log->stream != NULL && chance(50)) {
		CALL(fclose(log->stream), "fclose of log %d", number);
		log->stream = NULL;
	} else if (log->stream != NULL && chance(30)) {
		char path[600];

		log_path(path, 5 - number);
		end_line(logs[5 - number].begun);
		CALL(freopen(path, "a", log->stream) != NULL, "freopen of log %d's stream", number);
		CALL(fclose(log->stream), "fclose of what log %d was", number);
		log->stream = NULL;
	}
	if (log->fd >= 0 && chance(50)) {
		CALL(close(log->fd), "close of log %d", number);
		log->fd = log->copy;
		log->copy = -1;
	}
}

static inline void copy_log(int number)
{
	struct log *log = &logs[number];

	if (log->copy >= 0) {
		if (log->begun->writer == 2 * number)
			end_line(log->begun);
		CALL(close(log->copy), "close of a copy of log %d", number);
		log->copy = -1;
	} else if (log->fd >= 0) {
		log->copy = (int)(chance(50) ? CALL(dup(log->fd), "dup of log %d", number) :
		                               CALL(fcntl(log->fd, F_DUPFD, 20 + (int)dice(9)), "F_DUPFD of log %d",
		                                    number));
	}
}

static inline void change_log(void)
{
	int number = 2 + (int)dice(2);

	switch (dice(4)) {
	case 0: close_log(number); break;
	case 1: copy_log((int)dice(WALK_LOGS)); break;
	case 2:
		/* What is appended to anyway. */
		number = (int)dice(WALK_LOGS);
		if (logs[number].fd >= 0)
			CALL(fcntl(logs[number].fd, F_GETFL), "F_GETFL of log %d", number);
		break;
	default: open_log(number); break;
	}
}

static inline void begin_logs(void)
{
	struct stat one, two;
	int i;

	for (i = 0; i < WALK_LOGS; i++)
		logs[i] = (struct log){ .fd = -1, .copy = -1, .begun = &begun_lines[i] };
	logs[0].fd = 1;
	logs[0].stream = stdout;
	logs[1].fd = 2;
	logs[1].stream = stderr;
	must(raw(SYS_fstat, 1, &one, 0) == 0 && raw(SYS_fstat, 2, &two, 0) == 0, "fstat");
	if (one.st_dev == two.st_dev && one.st_ino == two.st_ino)
		logs[1].begun = logs[0].begun;
	for (i = 0; i < WALK_LOGS; i++)
		begun_lines[i].writer = 2 * i;
	/* Now and then a buffer of its own. */
	if (chance(30))
		CALL(setvbuf(stdout, NULL, chance(50) ? _IOLBF : _IONBF, 0), "setvbuf of stdout");
}

#endif

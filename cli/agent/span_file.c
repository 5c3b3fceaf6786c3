/*
 * Opened for appending and locked for as long as it is written: `traceshim view` waits a moment for a file that is still being
 * finished, and two agents cannot mix their lines. A write that the disk takes only in part is finished before the next line
 * begins: so a full disk leaves whole lines and one unfinished at the end, which is completed once there is room. Up to REST_MAX
 * bytes wait for that; more is dropped and counted.
 */
#include "span_file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "../text.h"

enum { REST_MAX = 32 * 1024 * 1024 };

/* An agent that was killed while it wrote may have left a line unfinished: what comes is not to be a part of that. */
static void span_file_end_line(const struct span_file *f)
{
	int fd = open(f->path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	struct stat st;
	char last;

	if (fd < 0)
		return;
	if (fstat(fd, &st) == 0 && S_ISREG(st.st_mode) && st.st_size > 0 && pread(fd, &last, 1, st.st_size - 1) == 1 &&
	    last != '\n')
		(void)!write(f->fd, "\n", 1);
	close(fd);
}

bool span_file_open(struct span_file *f, const char *path)
{
	*f = (struct span_file){ .path = path };
	f->fd = strcmp(path, "-") == 0 ? dup(STDOUT_FILENO) :
	                                 open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NOCTTY, 0644);
	if (f->fd < 0) {
		text_error("agent: %s cannot be written: %s", path, strerror(errno));
		return false;
	}
	if (flock(f->fd, LOCK_EX | LOCK_NB) == 0 || errno != EWOULDBLOCK) {
		if (strcmp(path, "-") != 0)
			span_file_end_line(f);
		return true;
	}
	text_error("agent: another agent writes %s", path);
	close(f->fd);
	return false;
}

/* Bytes that were taken. */
static size_t span_file_put(struct span_file *f, const char *bytes, size_t len)
{
	size_t done = 0;

	while (done < len) {
		ssize_t n = write(f->fd, bytes + done, len - done);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0) {
			if (!f->failing)
				text_error("agent: %s cannot be written: %s; what comes waits in memory", f->path,
				           strerror(errno));
			f->failing = true;
			break;
		}
		done += (size_t)n;
	}
	return done;
}

void span_file_step(struct span_file *f)
{
	size_t waiting = f->rest.len - f->rest_at;

	if (!waiting)
		return;
	f->rest_at += span_file_put(f, f->rest.at + f->rest_at, waiting);
	if (f->rest_at < f->rest.len)
		return;
	buffer_free(&f->rest);
	f->rest_at = 0;
	text_error("agent: %s can be written again; %llu items were dropped meanwhile", f->path,
	           (unsigned long long)f->dropped);
	f->failing = false;
}

void span_file_write(struct span_file *f, const void *line, size_t len, unsigned items)
{
	size_t taken = 0;

	span_file_step(f);
	if (!f->rest.len) {
		taken = span_file_put(f, line, len);
		f->written += items;
		if (taken == len)
			return;
	} else if (f->rest.len + len > REST_MAX) {
		f->dropped += items;
		return;
	} else {
		f->written += items;
	}
	buffer_put(&f->rest, (const char *)line + taken, len - taken);
}

void span_file_close(struct span_file *f)
{
	span_file_step(f);
	if (f->rest.len)
		text_error("agent: %s: %zu bytes could not be written", f->path, f->rest.len - f->rest_at);
	buffer_free(&f->rest);
	close(f->fd);
	f->fd = -1;
}

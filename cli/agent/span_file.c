/*
 * Opened for appending and locked for as long as it is written: `traceshim view` waits a moment for a file that is still being
 * finished, and two agents cannot mix their lines. A write that the disk takes only in part is finished before the next line
 * begins: so a full disk leaves whole lines and one unfinished at the end, which is completed once there is room. Up to REST_MAX
 * bytes wait for that; more is dropped and counted.
 *
 * A pipe or a terminal is written only as far as it takes without waiting: whoever does not read it (less, ^S) must not keep the agent
 * from rings, back ends and signals. O_NONBLOCK would be no way, because it is everybody's who has that terminal.
 */
#include "span_file.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/limits.h> /* PIPE_BUF; <limits.h> may find a limits.h of ours */
#include <poll.h>
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
	struct stat st;

	*f = (struct span_file){ .path = path };
	f->fd = strcmp(path, "-") == 0 ? dup(STDOUT_FILENO) :
	                                 open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NOCTTY, 0644);
	if (f->fd < 0) {
		text_error("agent: %s cannot be written: %s", path, strerror(errno));
		return false;
	}
	f->may_block = fstat(f->fd, &st) == 0 && !S_ISREG(st.st_mode);
	if (flock(f->fd, LOCK_EX | LOCK_NB) == 0 || errno != EWOULDBLOCK) {
		if (strcmp(path, "-") != 0)
			span_file_end_line(f);
		return true;
	}
	text_error("agent: another agent writes %s", path);
	close(f->fd);
	return false;
}

/* Is there room, in what may block, for as much as a pipe takes at once? */
static bool span_file_has_room(struct span_file *f)
{
	struct pollfd room = { .fd = f->fd, .events = POLLOUT };

	f->blocked = f->may_block && poll(&room, 1, 0) == 0;
	return !f->blocked;
}

/* Whoever read standard output may have gone though there is nothing to write. */
static void span_file_look(struct span_file *f)
{
	struct pollfd end = { .fd = f->fd };

	if (f->may_block && strcmp(f->path, "-") == 0 && poll(&end, 1, 0) > 0)
		f->gone = true;
}

static void span_file_fail(struct span_file *f, int error)
{
	if (error == EPIPE && strcmp(f->path, "-") == 0) {
		f->gone = true;
		return;
	}
	if (!f->failing)
		text_error("agent: %s cannot be written: %s; what comes waits in memory", f->path, strerror(error));
	f->failing = true;
}

/* Bytes that were taken. */
static size_t span_file_put(struct span_file *f, const char *bytes, size_t len)
{
	size_t done = 0;

	while (done < len && span_file_has_room(f)) {
		size_t most = f->may_block && len - done > PIPE_BUF ? PIPE_BUF : len - done;
		ssize_t n = write(f->fd, bytes + done, most);

		if (n < 0 && errno == EINTR)
			continue;
		f->blocked = n < 0 && errno == EAGAIN;
		if (f->blocked)
			break;
		if (n <= 0) {
			span_file_fail(f, n < 0 ? errno : ENOSPC);
			break;
		}
		done += (size_t)n;
	}
	return done;
}

void span_file_step(struct span_file *f)
{
	size_t waiting = f->rest.len - f->rest_at;

	span_file_look(f);
	if (!waiting)
		return;
	f->rest_at += span_file_put(f, f->rest.at + f->rest_at, waiting);
	if (f->rest_at < f->rest.len)
		return;
	buffer_free(&f->rest);
	f->rest_at = 0;
	if (f->failing)
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
		if (f->blocked && !f->failing)
			text_error("agent: nobody reads %s; what comes is dropped and counted", f->path);
		f->failing = true;
		return;
	} else {
		f->written += items;
	}
	buffer_put(&f->rest, (const char *)line + taken, len - taken);
}

int span_file_waits(const struct span_file *f)
{
	return f->blocked && f->rest.len && !f->gone ? f->fd : -1;
}

void span_file_close(struct span_file *f)
{
	span_file_step(f);
	if (f->rest.len && !f->gone)
		text_error("agent: %s: %zu bytes could not be written", f->path, f->rest.len - f->rest_at);
	buffer_free(&f->rest);
	close(f->fd);
	f->fd = -1;
}

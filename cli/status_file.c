/*
 * The folder of status pages is writable by everybody (sticky, like /tmp), so a page may be anything: a link, a FIFO, a file
 * of another user, a page with wild counts. Hence: opened without following links and without blocking, read (not mapped:
 * a file truncated meanwhile must not be SIGBUS) into memory of our own, and believed only when its owner is root or a user
 * that the process runs as, and when its start time is the process's own. What is read is made safe by
 * status_page_accept before anything looks at it. Page layout: shim/status_page.h.
 */
#include "status_file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "find.h"
#include "procfs.h"
#include "text.h"

enum { RUN_DIR_SIZE = 256 }; /* NAME_ROOM of shim/config_values.c */

static const struct {
	const char *name, *text;
} counters[] = {
#define X(name, text) { #name, text },
	STATUS_COUNTERS(X)
#undef X
};

const char *status_counter_text(unsigned i)
{
	return i < STATUS_COUNTER_COUNT ? counters[i].text : NULL;
}

const char *status_counter_name(unsigned i)
{
	return i < STATUS_COUNTER_COUNT ? counters[i].name : NULL;
}

bool status_counter_is_degradation(const char *name)
{
	static const char *const endings[] = { "_lost", "_skipped", "_poisoned", "_invalid", "_unhooked", "_missing" };
	static const char *const others[] = { "config_unknown", "lines_raw" };
	size_t len = strlen(name);

	for (size_t i = 0; i < sizeof(endings) / sizeof(endings[0]); i++) {
		size_t n = strlen(endings[i]);

		if (len > n && strcmp(name + len - n, endings[i]) == 0)
			return true;
	}
	for (size_t i = 0; i < sizeof(others) / sizeof(others[0]); i++)
		if (strcmp(name, others[i]) == 0)
			return true;
	return false;
}

const char *status_run_dir_given(void)
{
	const char *dir = getenv("TRACESHIM_RUN_DIR");
	static bool told;

	if (!dir || !*dir)
		return NULL;
	if (*dir == '/' && strlen(dir) < RUN_DIR_SIZE)
		return dir;
	if (!told)
		text_error(
			"warning: TRACESHIM_RUN_DIR=%.40s is ignored: it must be an absolute path, of at most %d bytes",
			dir, RUN_DIR_SIZE - 1);
	told = true;
	return NULL;
}

const char *status_run_dir(void)
{
	const char *dir = status_run_dir_given();

	return dir ? dir : "/tmp/traceshim";
}

bool status_page_accept(struct status_page *page, size_t len, int32_t pid)
{
	if (len < sizeof(*page) || memcmp(page->magic, STATUS_MAGIC, sizeof(page->magic)) != 0 ||
	    page->size < sizeof(*page) || page->size > STATUS_PAGE_SIZE || page->counters > STATUS_COUNTERS_MAX ||
	    page->pid != pid)
		return false;
	page->version[sizeof(page->version) - 1] = '\0';
	page->program[sizeof(page->program) - 1] = '\0';
	page->service[sizeof(page->service) - 1] = '\0';
	page->state[sizeof(page->state) - 1] = '\0';
	for (uint32_t i = page->counters; i < STATUS_COUNTERS_MAX; i++)
		page->counter[i] = 0;
	if (page->notes_len >= sizeof(page->notes))
		page->notes_len = sizeof(page->notes) - 1;
	page->notes[page->notes_len] = '\0';
	return true;
}

static void status_file_name(char name[32], int32_t pid)
{
	snprintf(name, 32, "%d.status", (int)pid);
}

/* Bytes of the page, or NONE / BAD. `st` tells which file it was. */
static enum status_file status_file_load(int dir, int32_t pid, struct status_page *page, struct stat *st)
{
	char name[32];
	ssize_t n;
	int fd;

	status_file_name(name, pid);
	fd = openat(dir, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC | O_NOCTTY);
	if (fd < 0)
		return errno == ENOENT ? STATUS_FILE_NONE : STATUS_FILE_BAD;
	n = fstat(fd, st) == 0 && S_ISREG(st->st_mode) ? pread(fd, page, sizeof(*page), 0) : -1;
	close(fd);
	return n > 0 && status_page_accept(page, (size_t)n, pid) ? STATUS_FILE_OK : STATUS_FILE_BAD;
}

static bool status_file_is_alive(const struct status_page *page)
{
	uint64_t start = procfs_start_ticks(page->pid);

	return start && start == page->start_ticks;
}

enum status_file status_file_read(int dir, int32_t pid, struct status_page *page)
{
	struct stat st;
	enum status_file result = status_file_load(dir, pid, page, &st);

	if (result != STATUS_FILE_OK)
		return result;
	if (!status_file_is_alive(page))
		return STATUS_FILE_STALE;
	return st.st_uid == 0 || procfs_has_uid(pid, st.st_uid) ? STATUS_FILE_OK : STATUS_FILE_BAD;
}

static enum status_file status_file_read_in(const char *path, int32_t pid, struct status_page *page)
{
	int dir = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	enum status_file result;

	if (dir < 0)
		return STATUS_FILE_NONE;
	result = status_file_read(dir, pid, page);
	close(dir);
	return result;
}

struct mapped_page {
	char name[32];
	char folder[PATH_MAX + 32]; /* where it was seen, or "" */
};

static bool status_file_see_mapped(void *owner, const char *path, const char *reach)
{
	struct mapped_page *mapped = owner;

	if (strcmp(find_base_name(path), mapped->name) != 0 || strlen(reach) >= sizeof(mapped->folder))
		return true;
	memcpy(mapped->folder, reach, (size_t)(find_base_name(reach) - reach));
	mapped->folder[find_base_name(reach) - reach] = '\0';
	return false;
}

enum status_file status_file_find(int32_t pid, struct status_page *page)
{
	enum status_file result = status_file_read_in(status_run_dir(), pid, page);
	struct mapped_page mapped = { .folder = "" };

	if (result == STATUS_FILE_OK)
		return result;
	/* Its TRACESHIM_RUN_DIR may be another one; its environment may be gone (nginx), but the mapping is not. */
	status_file_name(mapped.name, pid);
	(void)procfs_each_mapped_file(pid, false, status_file_see_mapped, &mapped);
	if (mapped.folder[0] && status_file_read_in(mapped.folder, pid, page) == STATUS_FILE_OK)
		return STATUS_FILE_OK;
	return result;
}

bool status_file_remove_stale(int dir, int32_t pid)
{
	struct status_page page;
	struct stat st, now;
	char name[32];

	/* Only what is a page, and only what we or, as root, anybody could have left behind: never a stranger's file. */
	if (status_file_load(dir, pid, &page, &st) != STATUS_FILE_OK || (st.st_uid != geteuid() && geteuid() != 0))
		return false;
	status_file_name(name, pid);
	/* The pid may have come to life again since; its new page is another inode. */
	if (status_file_is_alive(&page) || fstatat(dir, name, &now, AT_SYMLINK_NOFOLLOW) != 0 ||
	    now.st_ino != st.st_ino)
		return false;
	return unlinkat(dir, name, 0) == 0;
}

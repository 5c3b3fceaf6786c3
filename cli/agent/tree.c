/*
 * `traceshim run` gives each tree a folder of its own, and its name is in the environment of every process of it: so the tree
 * is found in /proc, whoever adopted its parts. Programs that overwrite their environment (nginx, with its title) are told by
 * our object, which they have mapped, and by when they began: during the program's life. That may be another tree's, in
 * which case the agent stays longer than it had to.
 */
#include "tree.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "process.h"
#include "../procfs.h"
#include "../status_file.h"
#include "../text.h"

uint64_t tree_clock(void)
{
	struct timespec t;

	clock_gettime(CLOCK_BOOTTIME, &t);
	return (uint64_t)t.tv_sec * (uint64_t)sysconf(_SC_CLK_TCK) +
	       (uint64_t)t.tv_nsec / (1000000000 / (uint64_t)sysconf(_SC_CLK_TCK));
}

/* Is nothing left of its environment? False too when one may not look. */
static bool tree_is_nameless(int pid)
{
	char path[40], text[4096];
	ssize_t n;
	int fd;

	snprintf(path, sizeof(path), "/proc/%d/environ", pid);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return false;
	n = read(fd, text, sizeof(text));
	close(fd);
	return n >= 0 && !memchr(text, '=', (size_t)n);
}

static bool tree_has(int pid, const char *run_dir, const struct tree_times *times)
{
	char value[4096];
	uint64_t began;

	if (procfs_environment(pid, "TRACESHIM_RUN_DIR", value, sizeof(value)))
		return strcmp(value, run_dir) == 0;
	began = procfs_start_ticks(pid);
	return began >= times->began && began <= times->ended && tree_is_nameless(pid) && procfs_has_object(pid) == 1;
}

static bool tree_has_process(const char *run_dir, const struct tree_times *times)
{
	DIR *proc = opendir("/proc");
	struct dirent *entry;
	bool found = false;
	int pid;

	while (proc && !found && (entry = readdir(proc))) {
		pid = text_to_pid(entry->d_name);
		found = pid > 0 && pid != getpid() && tree_has(pid, run_dir, times);
	}
	if (proc)
		closedir(proc);
	return found;
}

/* Calls `visit` for each name until one returns true. */
static bool tree_each_name(const char *run_dir, bool (*visit)(int dir, const char *name))
{
	DIR *folder = opendir(run_dir);
	struct dirent *entry;
	bool found = false;

	while (folder && !found && (entry = readdir(folder)))
		found = entry->d_name[0] != '.' && visit(dirfd(folder), entry->d_name);
	if (folder)
		closedir(folder);
	return found;
}

static bool tree_visit_page(int dir, const char *name)
{
	static struct status_page page;
	int pid = atoi(name);

	return pid > 0 && strstr(name, ".status") && status_file_read(dir, pid, &page) == STATUS_FILE_OK &&
	       process_runs(pid, page.start_ticks);
}

bool tree_lives(const char *run_dir, const struct tree_times *times)
{
	return tree_each_name(run_dir, tree_visit_page) || tree_has_process(run_dir, times);
}

static bool tree_visit_old(int dir, const char *name)
{
	const char *dot = strrchr(name, '.');

	if (dot && (strcmp(dot, ".status") == 0 || strcmp(dot, ".lock") == 0))
		(void)unlinkat(dir, name, 0);
	else if (strncmp(name, "spool-", 6) == 0)
		(void)unlinkat(dir, name, AT_REMOVEDIR); /* if it is empty */
	return false;
}

void tree_remove(const char *run_dir)
{
	(void)tree_each_name(run_dir, tree_visit_old);
	(void)rmdir(run_dir);
}

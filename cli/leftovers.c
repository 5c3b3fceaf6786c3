/*
 * An agent removes what it has fetched. Where programs export and no agent ever runs, nobody does: so whoever looks at the folder
 * (`traceshim status`) is told what lies there, and what is older than a week goes. A ring's name says whose it is; the process is gone
 * when none of that pid began at that time.
 */
#include "leftovers.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "procfs.h"
#include "../shim/ring_format.h"

static bool leftovers_is_one(const char *name)
{
	static const char *const suffixes[] = { RING_SUFFIX, RING_SUFFIX ".new" };
	size_t len = strlen(name);
	unsigned long long ticks;
	int pid;

	for (size_t i = 0; i < sizeof(suffixes) / sizeof(suffixes[0]); i++) {
		size_t suffix = strlen(suffixes[i]);

		if (len > suffix && strcmp(name + len - suffix, suffixes[i]) == 0)
			return sscanf(name, "%d-%llu-", &pid, &ticks) == 2 && pid > 0 &&
			       procfs_start_ticks(pid) != ticks;
	}
	return false;
}

struct leftovers leftovers_find(int dir)
{
	int fd = openat(dir, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *folder = fd < 0 ? NULL : fdopendir(fd);
	time_t oldest = time(NULL) - LEFTOVERS_DAYS * 24 * 3600;
	struct leftovers found = { 0 };
	struct dirent *entry;
	struct stat st;

	if (!folder && fd >= 0)
		close(fd);
	while (folder && (entry = readdir(folder)) != NULL) {
		if (!leftovers_is_one(entry->d_name) || fstatat(dir, entry->d_name, &st, AT_SYMLINK_NOFOLLOW) != 0 ||
		    !S_ISREG(st.st_mode))
			continue;
		if (st.st_mtime < oldest && unlinkat(dir, entry->d_name, 0) == 0) {
			found.removed++;
			continue;
		}
		found.rings++;
		found.bytes += (uint64_t)st.st_blocks * 512;
	}
	if (folder)
		closedir(folder);
	return found;
}

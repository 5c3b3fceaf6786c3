/*
 * A program that damages its own rings, or a disk that does, would fill the folder with what nobody looks at: so the newest are
 * kept. Only the agent of the folder sets aside and sweeps, and it sees them all at each look, so nothing is remembered between two.
 */
#include "aside.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "process.h"

/* May it go, were it too old or one too many? */
static bool aside_is_spare(int dir, const char *name, time_t *written)
{
	unsigned long long ticks;
	struct stat st;
	int pid;

	if (sscanf(name, "%d-%llu-", &pid, &ticks) != 2 || process_runs(pid, ticks) ||
	    fstatat(dir, name, &st, AT_SYMLINK_NOFOLLOW) != 0 || !S_ISREG(st.st_mode))
		return false;
	*written = st.st_mtime;
	return true;
}

void aside_sweep(struct aside *aside, int dir, const char *name)
{
	size_t oldest = 0;
	time_t written;

	if (strlen(name) >= sizeof(aside->kept[0].name) || !aside_is_spare(dir, name, &written))
		return;
	if (written < time(NULL) - ASIDE_DAYS * 24 * 3600) {
		(void)unlinkat(dir, name, 0);
		return;
	}
	if (aside->count < ASIDE_MAX) {
		oldest = aside->count++;
	} else {
		for (size_t i = 1; i < ASIDE_MAX; i++)
			if (aside->kept[i].written < aside->kept[oldest].written)
				oldest = i;
		if (written <= aside->kept[oldest].written) {
			(void)unlinkat(dir, name, 0);
			return;
		}
		(void)unlinkat(dir, aside->kept[oldest].name, 0);
	}
	aside->kept[oldest].written = written;
	memcpy(aside->kept[oldest].name, name, strlen(name) + 1);
}

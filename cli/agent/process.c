/*
 * /proc/PID/stat (proc(5)): field 3 is the state, 20 the number of threads, 22 the start. A zombie with more threads than one is a
 * process whose first thread has ended before the others.
 */
#include "process.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

bool process_runs(int pid, uint64_t start_ticks)
{
	char path[32], stat[1024], *at, state;
	unsigned long long threads = 0;
	ssize_t n;
	int fd;

	snprintf(path, sizeof(path), "/proc/%d/stat", pid);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	/* Without a descriptor or memory to look with, nobody is dead. */
	if (fd < 0)
		return errno != ENOENT && errno != ESRCH;
	n = read(fd, stat, sizeof(stat) - 1);
	close(fd);
	stat[n > 0 ? n : 0] = '\0';
	at = strrchr(stat, ')');
	if (!at || !at[1])
		return false;
	at += 2;
	state = *at;
	for (int field = 3; field < 22; field++) {
		at += strspn(at, " ");
		if (field == 20)
			threads = strtoull(at, NULL, 10);
		at += strcspn(at, " ");
	}
	return strtoull(at, NULL, 10) == start_ticks && !((state == 'Z' || state == 'X') && threads <= 1);
}

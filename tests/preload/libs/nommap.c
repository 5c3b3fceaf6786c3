/*
 * Memory runs out for the object: its maps (it alone uses MAP_NORESERVE here) fail from the NOMMAPth on.
 */
#include <errno.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

void *mmap(void *addr, size_t len, int protection, int flags, int fd, off_t offset)
{
	static int seen;
	const char *limit = getenv("NOMMAP");

	if ((flags & MAP_NORESERVE) != 0 && limit != NULL && seen++ >= atoi(limit)) {
		errno = ENOMEM;
		return MAP_FAILED;
	}
	return (void *)syscall(SYS_mmap, addr, len, protection, flags, fd, offset);
}

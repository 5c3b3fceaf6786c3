/*
 * A library in which the object finds no memory: of the pages that libtraceshim.so asks for, the NOPAGES_AT-th are refused, or
 * with NOPAGES_ALL=1 these and all that follow. How many it asked for is left in the file NOPAGES_COUNT. Others get theirs.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

static long asked; /* atomic; a forked child goes on from there */

/* The most that any process of the tree asked for. */
static void tell(long now)
{
	const char *path = getenv("NOPAGES_COUNT");
	long fd = path == NULL ? -1 : syscall(SYS_open, path, O_RDWR | O_CREAT, 0666), most = 0;

	if (fd < 0)
		return;
	(void)!syscall(SYS_pread64, fd, &most, sizeof(most), 0L);
	if (now > most)
		(void)!syscall(SYS_pwrite64, fd, &now, sizeof(now), 0L);
	syscall(SYS_close, fd);
}

void *mmap(void *where, size_t len, int access, int flags, int fd, off_t offset)
{
	Dl_info caller = { 0 };
	const char *at = getenv("NOPAGES_AT"), *all = getenv("NOPAGES_ALL");

	if (dladdr(__builtin_return_address(0), &caller) != 0 && strstr(caller.dli_fname, "libtraceshim") != NULL) {
		int saved = errno;
		long now = __atomic_add_fetch(&asked, 1, __ATOMIC_RELAXED), wanted = at == NULL ? 0 : atol(at);

		tell(now);
		errno = saved;
		if (now == wanted || (all != NULL && *all == '1' && wanted > 0 && now > wanted)) {
			errno = ENOMEM;
			return MAP_FAILED;
		}
	}
	return (void *)syscall(SYS_mmap, where, len, access, flags, fd, offset);
}

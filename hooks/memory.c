/*
 * Memory that goes away: what is known to be readable (os.h) is forgotten for those pages.
 *
 * A program that keeps a bad pointer gets EFAULT from the kernel, and so it must from us, though the same page was looked at
 * a moment ago. Forgotten is behind the real call: whoever looks before it finds the page still there. Not seen: what libc
 * unmaps by itself (free, the end of a thread, a stack), mmap and brk over what was there, and a file cut short below its
 * mapping. mmap stays alone because allocators call it before anything else works.
 */
#include "real.h"

#include <sys/shm.h>

#include "os.h"
#include "stacks.h"

EXPORT int munmap(void *pages, size_t len)
{
	int result;

	stacks_freed(pages, len, true);
	result = REAL(munmap)(pages, len);
	os_forget_readable(pages, len);
	return result;
}

/* Memory that is not needed any more, what was there is lost: of a stack, when what ran there has ended. */
EXPORT int madvise(void *pages, size_t len, int advice)
{
	if (advice == MADV_DONTNEED || advice == MADV_FREE)
		stacks_freed(pages, len, false);
	return REAL(madvise)(pages, len, advice);
}

EXPORT int mprotect(void *pages, size_t len, int access)
{
	int result = REAL(mprotect)(pages, len, access);

	if ((access & PROT_READ) == 0)
		os_forget_readable(pages, len);
	return result;
}

/* Variadic: where to is given with MREMAP_FIXED alone; else it is whatever that register holds, as in libc's own. */
EXPORT void *hook_mremap(void *pages, size_t len, size_t wanted, int flags, void *to) HOOK_OF(mremap);

void *hook_mremap(void *pages, size_t len, size_t wanted, int flags, void *to)
{
	void *result = REAL(mremap)(pages, len, wanted, flags, to);

	os_forget_readable(pages, len);
	return result;
}

/* How much was attached there is known to the kernel alone. */
EXPORT int shmdt(const void *pages)
{
	int result = REAL(shmdt)(pages);

	os_forget_readable(NULL, SIZE_MAX);
	return result;
}

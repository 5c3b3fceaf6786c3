/*
 * The whole contract with the operating system: every libc function that shim/ calls and that hooks/ interposes goes
 * through here, so that we reach the next library's function and never our own hook. hooks/ fills the table; unit tests
 * fill it with libc's (os_bind), or with functions that fail on purpose.
 */
#ifndef TRACESHIM_OS_H
#define TRACESHIM_OS_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <stdint.h>

#include "layout.h"

struct os {
	ssize_t (*write)(int fd, const void *buf, size_t len);
	ssize_t (*writev)(int fd, const struct iovec *iov, int count);
	ssize_t (*sendmsg)(int fd, const struct msghdr *msg, int flags);
	int (*close)(int fd);
	int (*open)(const char *path, int flags, ...);
	ssize_t (*read)(int fd, void *buf, size_t len);
	int (*fcntl)(int fd, int command, ...);
	int (*getsockopt)(int fd, int level, int option, void *value, socklen_t *len);
};

/* Never holds a NULL after os_bind. Constant once the constructor is through (tests may change it). */
extern struct os os;

/* Fill the table through `resolve` (dlsym-like; NULL result keeps a stub that fails with ENOSYS). */
void os_bind(void *(*resolve)(const char *name));

/* These never go through libc wrappers that anybody interposes. Signal-safe. */
uint64_t os_realtime_ns(void);   /* CLOCK_REALTIME */
uint64_t os_monotonic_ms(void);  /* CLOCK_MONOTONIC_COARSE: for ages */
int64_t os_coarse_step_ns(void); /* by how much that clock lags behind at most */
uint64_t os_coarse_ns(void);     /* CLOCK_MONOTONIC_COARSE */
uint64_t os_monotonic_ns(void);  /* CLOCK_MONOTONIC: for proofs */
/* Not before then does SIGALRM come, by os_monotonic_ns, which the process has set a timer for (setitimer); 0: none that repeats. */
uint64_t os_alarm_ns(void);
/* Is nobody left at the other end, so that nothing can be sent nor will come? poll(2), POLLHUP. Signal-safe; errno as poll leaves it. */
bool os_is_hung_up(int fd);
/* May this thread run on one processor only? False where that cannot be told. Asks the kernel: sched_getaffinity(2). Signal-safe. */
bool os_one_processor(void);
int32_t os_pid(void); /* cached, refreshed in a forked child */
void os_after_fork(void);

/* This thread's id: cached, refreshed in a forked child. */
extern __thread int32_t os_cached_tid __attribute__((tls_model("initial-exec")));
int32_t os_ask_tid(void);

static LAYOUT_INLINE int32_t os_tid(void)
{
	return __builtin_expect(os_cached_tid != 0, 1) ? os_cached_tid : os_ask_tid();
}

/*
 * System calls that need nothing of libc are made without it: each name that the object imports is looked up in every process
 * that starts, and the first call into another part of libc is a page fault. Results are the kernel's: -errno for an error.
 * Signal-safe; errno stays as it is.
 */
long os_fstat(int fd, struct stat *st);
long os_statx(int fd, unsigned mask, struct statx *more);
long os_protect(void *pages, size_t len, int access);
long os_random(void *bytes, size_t len, unsigned flags);
long os_thread_name(char name[16]);
uint32_t os_euid(void);
/* For a few instructions that no handler on this thread may come between; what is sent meanwhile comes behind them. */
uint64_t os_block_signals(void); /* returns the mask, for: */
void os_unblock_signals(uint64_t before);
uint64_t os_file_limit(void);           /* RLIMIT_FSIZE: whoever writes more gets a signal that kills */
long os_allocate(int fd, uint64_t len); /* fallocate: all blocks, now */
long os_link(const char *from, const char *to);
long os_advise(void *pages, size_t len, int advice);
long os_unmap(void *pages, size_t len);
long os_peer(int fd, struct sockaddr *addr, socklen_t *len);
void os_host_name(char name[65]); /* NUL-terminated */

/*
 * May these bytes be read? Asked before what a program gives us is looked at, because where the kernel would say EFAULT we would
 * crash. The kernel is asked once a page; what it said is remembered, so that nearly always the answer is one load. A page that
 * was read before and is gone now is noticed where the program unmapped or protected it by its own call (hooks/memory.c).
 *
 * A word is about 32 neighbouring pages: which these are (the number of the group, without the bits that say where the word
 * lies) and, below, a bit for each that was read. Heaps and buffers are neighbours: 2 KiB tell of 32 MiB of them, which is a
 * server with thousands of connections; with a word a page, one with a few dozen asked the kernel again at every other call.
 */
#define OS_LOWEST_ADDRESS 65536u /* vm.mmap_min_addr: nothing can be mapped below */
#define OS_PAGE_SHIFT 12
#define OS_READABLE_GROUPS 256u /* a power of two; with user addresses of 57 bits, a group's number leaves 32 */
#define OS_READABLE_SHIFT 19    /* 32 - log2(32 * OS_READABLE_GROUPS) */
extern uint64_t os_readable_pages[OS_READABLE_GROUPS]; /* by the last bits of the group's number; atomic */
bool os_ask_readable(uintptr_t first, uintptr_t last);
/* These pages may be gone. Signal-safe; errno stays as it is. */
void os_forget_readable(const void *pages, size_t len);

/* Was this page read, and not forgotten? */
static LAYOUT_INLINE bool os_page_is_known(uintptr_t page)
{
	uintptr_t group = page / 32;
	uint64_t word = __atomic_load_n(&os_readable_pages[group % OS_READABLE_GROUPS], __ATOMIC_RELAXED);

	/* Its upper half is group / OS_READABLE_GROUPS, as that of `page` is once it is moved up. */
	return (word ^ (uint64_t)page << OS_READABLE_SHIFT) >> 32 == 0 && ((uint32_t)word & 1u << page % 32) != 0;
}

/* os_readable, where it is more than one page, or one that is not known. */
bool os_look_readable(const void *bytes, size_t len);

/* Within one page that is known, which is then no address that cannot be? */
static LAYOUT_INLINE bool os_is_known_readable(const void *bytes, size_t len)
{
	uintptr_t at = (uintptr_t)bytes, behind = ~at & ((1u << OS_PAGE_SHIFT) - 1);

	return __builtin_expect(len - 1 <= behind && os_page_is_known(at >> OS_PAGE_SHIFT), 1);
}

static LAYOUT_INLINE bool os_readable(const void *bytes, size_t len)
{
	return os_is_known_readable(bytes, len) || os_look_readable(bytes, len);
}

/* Can this page, by its number, be read now, whatever is remembered? Is it mapped at all? Asks the kernel. Signal-safe; errno kept. */
bool os_page_is_there(uintptr_t page);
bool os_page_is_mapped(uintptr_t page);

/* The same of a string, or of as much of it as a look at its first `len` bytes may need. */
bool os_readable_text(const char *text, size_t len);

/*
 * Copy memory of this process that may not be there: by the kernel (process_vm_readv), which says so where a load would be a
 * fault, or where another thread unmaps it meanwhile. One piece behind the other, `count` of them, into `to`. Returns how many bytes
 * came, which are fewer from the first piece on that is not there, or -errno. Signal-safe; errno stays as it is.
 */
long os_copy(void *to, const struct iovec *from, unsigned count);

/* Zeroed pages from mmap, never given back. NULL when there are none. `len` is rounded up to pages. Signal-safe. */
void *os_pages(size_t len);

#endif

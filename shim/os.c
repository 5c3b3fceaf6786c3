/*
 * The operating system, as the shim sees it. See os.h for why this table exists.
 *
 * Before os_bind every entry is a stub that fails with ENOSYS: code that runs before our constructor (another library's
 * constructor, an allocator's start) must find something callable, and must be passed through by the hooks anyway.
 * Ids of process and thread are cached because getpid and gettid are real system calls; a forked child refreshes them.
 */
#include "os.h"
#include "layout.h"
#include "own.h"

#include <errno.h>
#include <poll.h>
#include <stdarg.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/utsname.h>
#include <time.h>

static ssize_t stub_write(int fd, const void *buf, size_t len)
{
	(void)fd, (void)buf, (void)len;
	errno = ENOSYS;
	return -1;
}

static ssize_t stub_read(int fd, void *buf, size_t len)
{
	(void)fd, (void)buf, (void)len;
	errno = ENOSYS;
	return -1;
}

static ssize_t stub_writev(int fd, const struct iovec *iov, int count)
{
	(void)fd, (void)iov, (void)count;
	errno = ENOSYS;
	return -1;
}

static ssize_t stub_sendmsg(int fd, const struct msghdr *msg, int flags)
{
	(void)fd, (void)msg, (void)flags;
	errno = ENOSYS;
	return -1;
}

static int stub_close(int fd)
{
	(void)fd;
	errno = ENOSYS;
	return -1;
}

static int stub_open(const char *path, int flags, ...)
{
	(void)path, (void)flags;
	errno = ENOSYS;
	return -1;
}

static int stub_fcntl(int fd, int command, ...)
{
	(void)fd, (void)command;
	errno = ENOSYS;
	return -1;
}

static int stub_getsockopt(int fd, int level, int option, void *value, socklen_t *len)
{
	(void)fd, (void)level, (void)option, (void)value, (void)len;
	errno = ENOSYS;
	return -1;
}

/* Weak: the object has a table of its own (hooks/init.c), which needs no stubs, as it is whole when it is loaded. */
struct os os __attribute__((weak)) = { stub_write, stub_writev, stub_sendmsg, stub_close,
	                               stub_open,  stub_read,   stub_fcntl,   stub_getsockopt };

#if defined(__x86_64__) && defined(TRACESHIM_OBJECT)
const char *own_single;

void own_begin(void)
{
	static const char never = 0;

	own_single = &__libc_single_threaded != NULL ? &__libc_single_threaded : &never;
}
#endif

static int32_t cached_pid;
__thread int32_t os_cached_tid __attribute__((tls_model("initial-exec")));

void os_bind(void *(*resolve)(const char *name))
{
	void *found;

	if ((found = resolve("write")) != NULL)
		os.write = (__typeof__(os.write))found;
	if ((found = resolve("read")) != NULL)
		os.read = (__typeof__(os.read))found;
	if ((found = resolve("writev")) != NULL)
		os.writev = (__typeof__(os.writev))found;
	if ((found = resolve("sendmsg")) != NULL)
		os.sendmsg = (__typeof__(os.sendmsg))found;
	if ((found = resolve("close")) != NULL)
		os.close = (__typeof__(os.close))found;
	if ((found = resolve("open")) != NULL)
		os.open = (__typeof__(os.open))found;
	if ((found = resolve("getsockopt")) != NULL)
		os.getsockopt = (__typeof__(os.getsockopt))found;
	if ((found = resolve("fcntl")) != NULL)
		os.fcntl = (__typeof__(os.fcntl))found;
}

uint64_t os_realtime_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_REALTIME, &now);
	return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

uint64_t os_monotonic_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

int64_t os_coarse_step_ns(void)
{
	struct timespec step = { 0, 10000000 }; /* the longest that there is: 100 ticks a second */

	(void)clock_getres(CLOCK_MONOTONIC_COARSE, &step);
	return step.tv_nsec;
}

uint64_t os_coarse_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC_COARSE, &now);
	return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

uint64_t os_monotonic_ms(void)
{
	return os_coarse_ns() / 1000000u;
}

/* For x86-64, like vfork.S, which says so when it is built for anything else. */
static long call(long number, long a, long b, long c, long d, long e)
{
	register long fourth __asm__("r10") = d;
	register long fifth __asm__("r8") = e;
	long result;

	__asm__ volatile("syscall"
	                 : "=a"(result)
	                 : "a"(number), "D"(a), "S"(b), "d"(c), "r"(fourth), "r"(fifth)
	                 : "rcx", "r11", "memory");
	return result;
}

__attribute__((cold)) uint64_t os_alarm_ns(void)
{
	uint64_t now = os_monotonic_ns();
	struct itimerval timer = { 0 };

	if (call(SYS_getitimer, ITIMER_REAL, (long)&timer, 0, 0, 0) != 0 ||
	    (timer.it_interval.tv_sec == 0 && timer.it_interval.tv_usec == 0))
		return 0;
	return now + (uint64_t)timer.it_value.tv_sec * 1000000000u + (uint64_t)timer.it_value.tv_usec * 1000u;
}

static __attribute__((cold)) size_t sum_of(const struct iovec *pieces, unsigned count)
{
	size_t sum = 0;
	unsigned i;

	for (i = 0; i < count; i++)
		sum += pieces[i].iov_len;
	return sum;
}

__attribute__((cold)) long os_copy(void *to, const struct iovec *from, unsigned count)
{
	struct iovec here = { to, sum_of(from, count) };
	long pid = os_pid(), result; /* before the registers are taken, like the sum */
	register long fourth __asm__("r10") = (long)from;
	register long fifth __asm__("r8") = count;
	register long sixth __asm__("r9") = 0;

	__asm__ volatile("syscall"
	                 : "=a"(result)
	                 : "a"((long)SYS_process_vm_readv), "D"(pid), "S"(&here), "d"(1L), "r"(fourth), "r"(fifth),
	                   "r"(sixth)
	                 : "rcx", "r11", "memory");
	return result;
}

/* The kernel's struct stat is libc's here. */
LAYOUT_START long os_fstat(int fd, struct stat *st)
{
	return call(SYS_fstat, fd, (long)st, 0, 0, 0);
}

LAYOUT_START long os_statx(int fd, unsigned mask, struct statx *more)
{
	return call(SYS_statx, fd, (long)"", AT_EMPTY_PATH, (long)mask, (long)more);
}

LAYOUT_START long os_protect(void *pages, size_t len, int access)
{
	return call(SYS_mprotect, (long)pages, (long)len, access, 0, 0);
}

long os_random(void *bytes, size_t len, unsigned flags)
{
	return call(SYS_getrandom, (long)bytes, (long)len, (long)flags, 0, 0);
}

long os_thread_name(char name[16])
{
	return call(SYS_prctl, PR_GET_NAME, (long)name, 0, 0, 0);
}

__attribute__((cold)) bool os_is_hung_up(int fd)
{
	struct timespec now = { 0, 0 };
	struct pollfd it = { .fd = fd };

	return call(SYS_ppoll, (long)&it, 1, (long)&now, 0, 0) == 1 && (it.revents & POLLHUP) != 0;
}

__attribute__((cold)) bool os_one_processor(void)
{
	uint64_t may[64] = { 0 };
	bool found = false;
	size_t i;

	if (call(SYS_sched_getaffinity, 0, sizeof(may), (long)may, 0, 0) <= 0)
		return false;
	for (i = 0; i < sizeof(may) / sizeof(may[0]); i++) {
		if (may[i] == 0)
			continue;
		if (found || (may[i] & (may[i] - 1)) != 0)
			return false;
		found = true;
	}
	return found;
}

uint32_t os_euid(void)
{
	return (uint32_t)call(SYS_geteuid, 0, 0, 0, 0, 0);
}

__attribute__((cold)) uint64_t os_block_signals(void)
{
	uint64_t all = ~(uint64_t)0, before = 0;

	(void)call(SYS_rt_sigprocmask, SIG_SETMASK, (long)&all, (long)&before, sizeof(all), 0);
	return before;
}

void os_unblock_signals(uint64_t before)
{
	(void)call(SYS_rt_sigprocmask, SIG_SETMASK, (long)&before, 0, sizeof(before), 0);
}

uint64_t os_file_limit(void)
{
	struct rlimit limit = { RLIM_INFINITY, RLIM_INFINITY };

	if (call(SYS_prlimit64, 0, RLIMIT_FSIZE, 0, (long)&limit, 0) != 0)
		return 0;
	return limit.rlim_cur;
}

long os_allocate(int fd, uint64_t len)
{
	return call(SYS_fallocate, fd, 0, 0, (long)len, 0);
}

long os_link(const char *from, const char *to)
{
	return call(SYS_link, (long)from, (long)to, 0, 0, 0);
}

long os_advise(void *pages, size_t len, int advice)
{
	return call(SYS_madvise, (long)pages, (long)len, advice, 0, 0);
}

long os_unmap(void *pages, size_t len)
{
	return call(SYS_munmap, (long)pages, (long)len, 0, 0, 0);
}

long os_peer(int fd, struct sockaddr *addr, socklen_t *len)
{
	return call(SYS_getpeername, fd, (long)addr, (long)len, 0, 0);
}

__attribute__((cold)) void os_host_name(char name[65])
{
	struct utsname system;

	name[0] = '\0';
	if (call(SYS_uname, (long)&system, 0, 0, 0, 0) == 0)
		memcpy(name, system.nodename, sizeof(system.nodename));
}

int32_t os_ask_tid(void)
{
	os_cached_tid = (int32_t)call(SYS_gettid, 0, 0, 0, 0, 0);
	return os_cached_tid;
}

int32_t os_pid(void)
{
	int32_t pid = __atomic_load_n(&cached_pid, __ATOMIC_RELAXED);

	if (__builtin_expect(pid == 0, 0)) {
		pid = (int32_t)call(SYS_getpid, 0, 0, 0, 0, 0);
		__atomic_store_n(&cached_pid, pid, __ATOMIC_RELAXED);
	}
	return pid;
}

void os_after_fork(void)
{
	cached_pid = 0;
	os_cached_tid = 0;
}

uint64_t os_readable_pages[OS_READABLE_GROUPS] LAYOUT_LATER;

/*
 * Is this a program under valgrind? It checks each system call itself, and would report ours: the first bytes of a page may be
 * of a block that was freed, or below the stack. Its way of being asked: rotations that come to nothing elsewhere, valgrind.h.
 */
static bool on_valgrind(void)
{
	uint64_t request[6] = { 0x1001 }, answer = 0;

	__asm__ volatile("rolq $3, %%rdi; rolq $13, %%rdi; rolq $61, %%rdi; rolq $51, %%rdi; xchgq %%rbx, %%rbx"
	                 : "+d"(answer)
	                 : "a"(request)
	                 : "cc", "memory");
	return answer != 0;
}

/*
 * rt_sigprocmask copies the new mask in before it looks at what to do with it, and there is nothing by this number: EFAULT or
 * EINVAL, and nothing done. No descriptor is needed, and no sandbox forbids it.
 */
static bool ask_page(uintptr_t page)
{
	return on_valgrind() ||
	       call(SYS_rt_sigprocmask, -1, (long)(page << OS_PAGE_SHIFT), 0, sizeof(uint64_t), 0) != -EFAULT;
}

/* Ask for a page, and remember it; not where what is known of its neighbours changed meanwhile: this one may have gone. */
static bool learn_page(uintptr_t page)
{
	uintptr_t group = page / 32;
	uint64_t *known = &os_readable_pages[group % OS_READABLE_GROUPS];
	uint64_t before = __atomic_load_n(known, __ATOMIC_RELAXED), after = (uint64_t)1 << page % 32;

	if (!ask_page(page))
		return false;
	if (before >> 32 == group / OS_READABLE_GROUPS)
		after |= before;
	else
		after |= (uint64_t)(group / OS_READABLE_GROUPS) << 32;
	(void)own_replace64(known, &before, after);
	return true;
}

bool os_ask_readable(uintptr_t first, uintptr_t last)
{
	uintptr_t page;

	for (page = first; page <= last; page++) {
		if (!os_page_is_known(page) && !learn_page(page))
			return false;
	}
	return true;
}

bool os_look_readable(const void *bytes, size_t len)
{
	uintptr_t at = (uintptr_t)bytes, first = at >> OS_PAGE_SHIFT, last = (at + len - 1) >> OS_PAGE_SHIFT;

	if (len == 0)
		return true;
	if (at < OS_LOWEST_ADDRESS || len > (size_t)PTRDIFF_MAX || last < first)
		return false;
	return os_ask_readable(first, last);
}

__attribute__((cold)) void os_forget_readable(const void *pages, size_t len)
{
	uintptr_t first = ((uintptr_t)pages >> OS_PAGE_SHIFT) / 32, count = (len >> OS_PAGE_SHIFT) / 32 + 2, i;

	if (count > OS_READABLE_GROUPS)
		count = OS_READABLE_GROUPS;
	for (i = first; i < first + count; i++)
		__atomic_store_n(&os_readable_pages[i % OS_READABLE_GROUPS], 0, __ATOMIC_RELAXED);
}

bool os_page_is_there(uintptr_t page)
{
	return ask_page(page);
}

bool os_page_is_mapped(uintptr_t page)
{
	/* Nothing is to be fetched for a page that cannot be read; and where threads may end, no sandbox forbids this call. */
	return call(SYS_madvise, (long)(page << OS_PAGE_SHIFT), 1 << OS_PAGE_SHIFT, MADV_WILLNEED, 0, 0) != -ENOMEM;
}

bool os_readable_text(const char *text, size_t len)
{
	size_t here = ((size_t)1 << OS_PAGE_SHIFT) - ((uintptr_t)text & (((size_t)1 << OS_PAGE_SHIFT) - 1));

	if (!os_readable(text, 1))
		return false;
	return len <= here || memchr(text, '\0', here) != NULL || os_readable(text, len);
}

void *os_pages(size_t len)
{
	int saved = errno; /* a call that succeeds without them has had no error */
	void *pages = mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	errno = saved;
	return pages == MAP_FAILED ? NULL : pages;
}

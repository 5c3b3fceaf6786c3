/*
 * The status page: private memory at first, a shared file later. See status_page.h for who reads it.
 *
 * Most processes of a tree are short (ls, sed, test) and nobody will ever ask about them: they never make the file. The
 * file is written whole before it is mapped, so that a full disk shows up as a failed write and never as a SIGBUS.
 * A counter that another thread adds to between the copy and the switch may be lost; counters are not accounts.
 */
#include "counters.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "config.h"
#include "layout.h"
#include "os.h"
#include "run_files.h"

struct status_page counters_private LAYOUT_STATUS __attribute__((aligned(4096)));
uintptr_t counters_away;
uint8_t counters_published;
uint8_t counters_noted;

static uint8_t have_file; /* a page of ours lies in the folder */
static struct {
	const char *state, *program, *service;
} described;

__attribute__((noinline)) void counters_add_to(enum status_counter counter, uint64_t n)
{
	own_add64(&counters_page()->counter[counter], n);
}

void counters_note(const char *format, ...)
{
	struct status_page *page = counters_page();
	char line[256];
	va_list args;
	int len;

	counters_noted = 1;
	va_start(args, format);
	len = vsnprintf(line, 201, format, args); /* lint: allow vsnprintf, constructor only */
	va_end(args);
	if (len <= 0)
		return;
	if (len > 200)
		len = 200;
	if (page->notes_len + (size_t)len + 1 > sizeof(page->notes))
		return;
	memcpy(page->notes + page->notes_len, line, (size_t)len);
	page->notes[page->notes_len + (size_t)len] = '\n';
	page->notes_len += (uint32_t)len + 1;
}

static void copy_name(char *to, size_t room, const char *from)
{
	size_t len = strlen(from);

	if (len >= room)
		len = room - 1;
	memcpy(to, from, len);
	to[len] = '\0';
}

LAYOUT_START void counters_describe(const char *state, const char *program, const char *service)
{
	described.state = state;
	described.program = program;
	described.service = service;
}

const char *counters_program(void)
{
	return described.program != NULL ? described.program : "";
}

static void describe(struct status_page *page)
{
	if (described.state == NULL)
		return;
	copy_name(page->state, sizeof(page->state), described.state);
	copy_name(page->program, sizeof(page->program), described.program);
	copy_name(page->service, sizeof(page->service), described.service);
	copy_name(page->version, sizeof(page->version), TRACESHIM_VERSION);
}

/* "<run_dir>/<pid>.status" */
static int page_path(char path[RUN_PATH_ROOM])
{
	size_t len = run_files_path(path);

	if (len == 0)
		return -1;
	len = run_files_number(path, len, (uint32_t)os_pid());
	memcpy(path + len, ".status", sizeof(".status"));
	return 0;
}

static int make_file(const char *path)
{
	int fd = run_files_make(path, 0644);

	if (fd >= 0 || errno != EEXIST)
		return fd;
	/* Left behind by an earlier process of this number, or by what we were before exec. */
	(void)unlink(path);
	return run_files_make(path, 0644);
}

void counters_publish(void)
{
	struct status_page *before = counters_page(), *page;
	char path[RUN_PATH_ROOM];
	int fd;

	if (__atomic_exchange_n(&counters_published, 1, __ATOMIC_ACQ_REL) != 0 || page_path(path) != 0 ||
	    os_file_limit() < sizeof(counters_private))
		return;
	describe(&counters_private);
	counters_private.size = sizeof(struct status_page);
	counters_private.counters = STATUS_COUNTER_COUNT;
	counters_private.pid = os_pid();
	counters_private.uid = os_euid();
	counters_private.start_ticks = run_files_start_ticks();
	counters_private.started_ns = os_realtime_ns();
	memcpy(counters_private.magic, STATUS_MAGIC, sizeof(counters_private.magic));
	fd = make_file(path);
	if (fd < 0)
		return;
	page = MAP_FAILED;
	/* After an exec that failed the counts are in the page that was removed: the new one takes its place. */
	if (before != &counters_private)
		memcpy(counters_private.counter, before->counter, sizeof(counters_private.counter));
	if (os.write(fd, &counters_private, sizeof(counters_private)) == (ssize_t)sizeof(counters_private))
		page = mmap(before == &counters_private ? NULL : before, STATUS_PAGE_SIZE, PROT_READ | PROT_WRITE,
		            before == &counters_private ? MAP_SHARED : MAP_SHARED | MAP_FIXED, fd, 0);
	os.close(fd);
	if (page == MAP_FAILED) {
		(void)unlink(path);
		return;
	}
	__atomic_store_n(&counters_away, (uintptr_t)page - (uintptr_t)&counters_private, __ATOMIC_RELEASE);
	have_file = 1;
}

LAYOUT_START void counters_unpublish(void)
{
	char path[RUN_PATH_ROOM];

	if (have_file && page_path(path) == 0) {
		have_file = 0;
		counters_published = 0; /* an exec that fails comes back */
		(void)unlink(path);
	}
}

void counters_after_fork(void)
{
	struct status_page *old = counters_page();

	memset(counters_private.counter, 0, sizeof(counters_private.counter));
	__atomic_store_n(&counters_away, 0, __ATOMIC_RELEASE);
	if (old != &counters_private)
		(void)os_unmap(old, STATUS_PAGE_SIZE);
	have_file = 0;
	counters_published = 0;
}

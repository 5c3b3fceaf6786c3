/*
 * Log files by identity; see logfiles.h.
 *
 * The first process of a tree looks at its own stdout and stderr and hands their identities down in TRACESHIM_STDIO; its
 * descendants rewrite what goes to those same files and nothing else. So the pipe of a `$(command)` in a script, a pipe
 * to another program, and the pipe to a supervisor that relays lines are left alone: they are other files.
 * The table is append-only: entries are published by a counter, so readers need no lock. Two threads that add a file at
 * once serialise on a word that names its owner. Others wait, because the lines they have would pass as they are. The bound is
 * in time: an owner that was preempted is back after some time slices, however often others have looked meanwhile. A handler on
 * the owner's thread could not wait, and what it prints as the process begins is a line like others: so signals are held back
 * while a file is added, which is once a file.
 */
#include "logfiles.h"

#include <fcntl.h>
#include <sched.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "config.h"
#include "counters.h"
#include "fds.h"
#include "layout.h"
#include "logline.h"
#include "os.h"

#define ADD_SPINS 1000      /* looks at the owner's word before giving way */
#define ADD_WAIT_MAX_MS 250 /* and then this long, once an owner: one that jumped away never comes back */

struct log_identity {
	dev_t dev;
	ino_t ino;
	bool present;
	uint64_t birth; /* of a file: its time of birth in ns; 0: not known */
};

static struct log_identity tree[2]; /* stdout, stderr */
static struct log_identity files[LOGLINE_FILES] LAYOUT_LATER;
static int last_fd[LOGLINE_FILES] LAYOUT_LATER; /* one more than the number; 0: none */
static unsigned file_count;
static uint32_t adding; /* the thread that adds a file; 0: none */
static uint32_t stuck;  /* one that was waited for in vain */

static bool same(const struct log_identity *a, dev_t dev, ino_t ino)
{
	return a->present && a->dev == dev && a->ino == ino;
}

static const char *parse_number(const char *at, uint64_t *value)
{
	const char *start = at;

	for (*value = 0; *at >= '0' && *at <= '9' && at - start < 20; at++)
		*value = *value * 10 + (uint64_t)(*at - '0');
	return at == start ? NULL : at;
}

/* "dev:ino[:birth],dev:ino[:birth]"; "-" for an absent one. Anything else: none. */
static void parse_tree(const char *text)
{
	unsigned i;

	for (i = 0; i < 2 && text != NULL && *text != '\0'; i++) {
		uint64_t dev, ino, birth = 0;

		if (*text == '-') {
			text++;
		} else {
			text = parse_number(text, &dev);
			if (text == NULL || *text++ != ':')
				return;
			text = parse_number(text, &ino);
			if (text == NULL)
				return;
			if (*text == ':' && (text = parse_number(text + 1, &birth)) == NULL)
				return;
			tree[i] = (struct log_identity){ (dev_t)dev, (ino_t)ino, true, birth };
		}
		if (*text == ',')
			text++;
	}
}

/* Is it what a log may be? Files, pipes, terminals where asked for, and journald's socket, but no HTTP connection. */
LAYOUT_START static bool may_be_log(int fd, const struct stat *st)
{
	struct sockaddr_storage peer = { .ss_family = AF_UNSPEC };
	socklen_t len = sizeof(peer);
	struct stat input;

	if (S_ISREG(st->st_mode) || S_ISFIFO(st->st_mode))
		return true;
	if (S_ISCHR(st->st_mode))
		return config.log_terminal && isatty(fd) != 0;
	if (!S_ISSOCK(st->st_mode))
		return false;
	/* inetd and its like give the connection as stdin too; systemd's journal is a unix socket that is not stdin. */
	if (os_fstat(0, &input) == 0 && input.st_dev == st->st_dev && input.st_ino == st->st_ino)
		return false;
	return getpeername(fd, (struct sockaddr *)&peer, &len) == 0 && peer.ss_family == AF_UNIX;
}

/*
 * When the file was born: a number of a deleted file soon belongs to another one (ext4 takes the first that is free), and a
 * descendant that outlives the tree's output must not take a file of its own for it. 0: not a file, or not known.
 */
LAYOUT_START static uint64_t birth_of(int fd, const struct stat *st)
{
	struct statx more;

	if (!S_ISREG(st->st_mode) || os_statx(fd, STATX_BTIME, &more) != 0 || (more.stx_mask & STATX_BTIME) == 0)
		return 0;
	return (uint64_t)more.stx_btime.tv_sec * 1000000000u + more.stx_btime.tv_nsec;
}

static bool is_tree(unsigned which, int fd, const struct stat *st)
{
	uint64_t birth;

	if (!same(&tree[which], st->st_dev, st->st_ino))
		return false;
	birth = tree[which].birth == 0 ? 0 : birth_of(fd, st);
	return birth == 0 || birth == tree[which].birth;
}

LAYOUT_START void logfiles_init(void)
{
	int fd;

	/* What it may have to say about fields is said now; else it can wait: most processes never write a line. */
	if (config.field_count > 0)
		record_init();
	if (!config_reads_logs())
		return;
	if (config.stdio_files.len > 0) {
		parse_tree(config.stdio_files.text);
		return;
	}
	for (fd = 1; fd <= 2; fd++) {
		struct stat st;

		if (os_fstat(fd, &st) == 0 && may_be_log(fd, &st))
			tree[fd - 1] = (struct log_identity){ st.st_dev, st.st_ino, true, birth_of(fd, &st) };
	}
}

static char *put_number(char *at, uint64_t value)
{
	char digits[20];
	int n = 0;

	do {
		digits[n++] = (char)('0' + value % 10);
		value /= 10;
	} while (value != 0);
	while (n > 0)
		*at++ = digits[--n];
	return at;
}

void logfiles_format(char text[LOGFILES_TEXT])
{
	char *at = text;
	unsigned i;

	for (i = 0; i < 2; i++) {
		if (i > 0)
			*at++ = ',';
		if (!tree[i].present) {
			*at++ = '-';
			continue;
		}
		at = put_number(at, tree[i].dev);
		*at++ = ':';
		at = put_number(at, tree[i].ino);
		if (tree[i].birth == 0)
			continue;
		*at++ = ':';
		at = put_number(at, tree[i].birth);
	}
	*at = '\0';
}

/* Does the path behind the descriptor match TRACESHIM_LOG_FILES? */
static bool named_by_user(int fd)
{
	char link[32] = "/proc/self/fd/";
	char path[512];
	ssize_t len;

	if (config.log_files.len == 0)
		return false;
	*put_number(link + 14, (uint64_t)fd) = '\0';
	len = readlink(link, path, sizeof(path) - 1);
	if (len <= 0)
		return false;
	path[len] = '\0';
	return config_is_log_file(path);
}

/* A place for one more log file: the next one, or that of a file that nothing leads to any more (logs are rotated). */
static int find_place(void)
{
	unsigned i;

	if (file_count < LOGLINE_FILES)
		return (int)file_count;
	for (i = 0; i < LOGLINE_FILES; i++)
		if (logfiles_fd_of(i) < 0)
			return (int)i;
	return -1;
}

static int find_file(const struct stat *st, unsigned count)
{
	unsigned i;

	for (i = 0; i < count; i++)
		if (same(&files[i], st->st_dev, st->st_ino))
			return (int)i;
	return -1;
}

/* As far as we have seen: this is asked in the midst of writes, and one system call for each is enough. */
static bool still_leads_to(unsigned file, int fd)
{
	return fds_kind(fds_word(fd)) == FD_LOG && fds_log_file(fds_word(fd)) == file;
}

/* With `adding` held. */
static int add_file(const struct stat *st, unsigned count)
{
	int place = find_place();

	if (place < 0)
		return -1;
	if (count == 0 && config.field_count == 0)
		record_init();
	files[place] = (struct log_identity){ st->st_dev, st->st_ino, true, 0 };
	logline_open((unsigned)place, S_ISREG(st->st_mode));
	__atomic_store_n(&logline_leads_to, still_leads_to, __ATOMIC_RELAXED);
	if ((unsigned)place == count)
		__atomic_store_n(&file_count, count + 1, __ATOMIC_RELEASE);
	return place;
}

/* Wait for the owner, a little more each time. false: not any more. */
static bool wait_for(uint32_t owner, unsigned attempt, uint64_t *until)
{
	if (owner == (uint32_t)os_tid() || owner == __atomic_load_n(&stuck, __ATOMIC_RELAXED))
		return false;
	if (attempt < ADD_SPINS)
		return true;
	if (attempt == ADD_SPINS)
		*until = os_monotonic_ms() + ADD_WAIT_MAX_MS;
	sched_yield();
	if (os_monotonic_ms() < *until)
		return true;
	__atomic_store_n(&stuck, owner, __ATOMIC_RELAXED);
	return false;
}

static int file_index(const struct stat *st)
{
	uint64_t until = 0;
	unsigned attempt;

	for (attempt = 0;; attempt++) {
		unsigned count = __atomic_load_n(&file_count, __ATOMIC_ACQUIRE);
		int found = find_file(st, count);
		uint32_t owner = 0;
		uint64_t mask;

		if (found >= 0)
			return found;
		mask = os_block_signals();
		if (__atomic_compare_exchange_n(&adding, &owner, (uint32_t)os_tid(), false, __ATOMIC_ACQUIRE,
		                                __ATOMIC_RELAXED)) {
			bool alone = file_count == count;

			if (alone)
				found = add_file(st, count);
			__atomic_store_n(&adding, 0, __ATOMIC_RELEASE);
			os_unblock_signals(mask);
			if (alone)
				return found;
		} else {
			os_unblock_signals(mask);
			if (!wait_for(owner, attempt, &until))
				return LOGFILES_BUSY;
		}
	}
}

void logfiles_after_fork(void)
{
	adding = stuck = 0; /* who had it is not here */
}

/* May be called before the first log file is added. */
LAYOUT_START static bool is_log(int fd, const struct stat *st, enum record_stream *stream)
{
	if (!config_reads_logs())
		return false;
	if (is_tree(0, fd, st))
		*stream = fd == 2 && same(&tree[1], st->st_dev, st->st_ino) ? RECORD_STDERR : RECORD_STDOUT;
	else if (is_tree(1, fd, st))
		*stream = RECORD_STDERR;
	else if (S_ISREG(st->st_mode) && named_by_user(fd))
		*stream = RECORD_FILE;
	else
		return false;
	return may_be_log(fd, st);
}

LAYOUT_START bool logfiles_has(int fd)
{
	enum record_stream stream;
	struct stat st;

	return os_fstat(fd, &st) == 0 && is_log(fd, &st, &stream);
}

int logfiles_match(int fd, const struct stat *st, enum record_stream *stream)
{
	int index;

	if (!is_log(fd, st, stream))
		return -1;
	index = file_index(st);
	if (index >= 0) {
		__atomic_store_n(&last_fd[index], fd + 1, __ATOMIC_RELAXED);
		counters_count(log_files);
	}
	return index;
}

LAYOUT_START bool logfiles_any(void)
{
	return __atomic_load_n(&file_count, __ATOMIC_ACQUIRE) != 0;
}

/* Is it really? What a word says of a descriptor can be old (fds.c), and these bytes must not get into another file. */
static bool leads_to(int fd, unsigned file)
{
	struct stat st;

	return fds_kind(fds_word(fd)) == FD_LOG && fds_log_file(fds_word(fd)) == file && os_fstat(fd, &st) == 0 &&
	       same(&files[file], st.st_dev, st.st_ino);
}

static int find_fd(unsigned file, int except)
{
	int fd = __atomic_load_n(&last_fd[file], __ATOMIC_RELAXED) - 1;

	if (fd >= 0 && fd != except && leads_to(fd, file))
		return fd;
	for (fd = 1; fd < LOGFILES_FDS; fd++)
		if (fd != except && leads_to(fd, file))
			return fd;
	return -1;
}

int logfiles_fd_of(unsigned file)
{
	return file < LOGLINE_FILES ? find_fd(file, -1) : -1;
}

bool logfiles_is_last(unsigned file, int fd)
{
	return file < LOGLINE_FILES && leads_to(fd, file) && find_fd(file, fd) < 0;
}

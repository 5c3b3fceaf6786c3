/*
 * Log streams under many threads at once: writers in pieces on copies of one file, numbers that are copied, closed and taken
 * over meanwhile, forks in their midst, and each line into a ring besides. For TSan, which sees the races, and for ASan,
 * which sees what they break. Real descriptors, real pools.
 */
#define CORE_REAL_POOLS
#include <fcntl.h>
#include <pthread.h>
#include <sys/syscall.h>

#include "core_fixture.h"
#include "logfiles.h"
#include "logline.h"
#include "ring.h"

enum { WRITERS = 4, LINES = 300, CHURNERS = 2, CHURNED = 6, FORKS = 12, FIRST_COPY = 800, FIRST_SHARED = 820 };

static char folder[64], tree[64];
static int file, running;

/* TSan takes two threads' calls on one number for a race; here they are the program's own doing. */
static ssize_t raw_write(int fd, const void *buf, size_t len)
{
	return syscall(SYS_write, fd, buf, len);
}

static ssize_t raw_writev(int fd, const struct iovec *iov, int count)
{
	return syscall(SYS_writev, fd, iov, count);
}

static int raw_close(int fd)
{
	return (int)syscall(SYS_close, fd);
}

static ssize_t put(int fd, const char *bytes, size_t len);

static void begin_logs(void)
{
	char path[128];
	struct stat st;

	snprintf(folder, sizeof(folder), "/tmp/threads.XXXXXX");
	CHECK(mkdtemp(folder) != NULL);
	snprintf(path, sizeof(path), "%s/log", folder);
	file = open(path, O_RDWR | O_CREAT | O_APPEND, 0600);
	CHECK(file >= 0 && fstat(file, &st) == 0);
	snprintf(tree, sizeof(tree), "%llu:%llu,9:9", (unsigned long long)st.st_dev, (unsigned long long)st.st_ino);
	config.stdio_files = (struct config_name){ tree, (uint16_t)strlen(tree) };
	config.run_dir = (struct config_name){ folder, (uint16_t)strlen(folder) };
	config.service = CORE_NAME("svc");
	config.log_mode = LOG_JSON;
	config.export_logs = config.export_traces = true;
	config.ring_size = 1 << 20;
	os = (struct os){ raw_write, raw_writev, sendmsg, raw_close, open, read, fcntl, getsockopt };
	record_init();
	logfiles_init();
	current_watch_threads(io_end_thread);
	/* Known to lead there: so no other number is ever the last that does. */
	CHECK_INT(put(file, "begun\n", 6), 6);
}

static void end_logs(void)
{
	char command[128];

	ring_end_process();
	snprintf(command, sizeof(command), "rm -r %s", folder);
	CHECK_INT(system(command), 0);
}

static ssize_t emit_file(const struct io_emitter *emitter, const struct iovec *iov, int count)
{
	return raw_writev(emitter->fd, iov, count);
}

/* As the hook of write does it. */
static ssize_t put(int fd, const char *bytes, size_t len)
{
	struct io_emitter emitter = { .emit = emit_file, .fd = fd };
	struct iovec iov = { (void *)(uintptr_t)bytes, len };
	struct io_send io;
	enum io_verdict verdict = io_send_begin(&io, fd, &iov, 1);
	ssize_t n;

	if (verdict == IO_SPECIAL)
		return io_send_special(&io, &emitter);
	n = raw_write(fd, bytes, len);
	if (verdict == IO_WATCH)
		io_send_end(&io, n);
	return n;
}

/* As the hooks do it: before the real call for close, behind it for dup2. */
static void close_number(int fd)
{
	io_closing(fd);
	fds_death(fd);
	raw_close(fd);
}

static void copy_to(int from, int to)
{
	io_closing(to);
	if (syscall(SYS_dup2, from, to) == to)
		fds_dup(from, to);
}

/* ---- who writes ---- */

/* "w<writer> <number> <padding>", in one piece or two; every tenth line begins the next request. */
static void *write_lines(void *arg)
{
	int writer = (int)(intptr_t)arg, fd = FIRST_COPY + writer, conn = 900 + writer, i;
	char line[200], head[200];

	snprintf(head, sizeof(head), "GET / HTTP/1.1\r\ntraceparent: 00-%032x-b7ad6b7169203331-01\r\n\r\n", writer + 1);
	copy_to(file, fd);
	for (i = 0; i < LINES; i++) {
		int len = snprintf(
			line, sizeof(line), "w%d %d %.*s\n", writer, i, i % 90,
			"..........................................................................................");
		int cut = i % 3 == 0 ? len : 1 + i % (len - 1);

		if (i % 10 == 0) {
			fds_death(conn);
			io_accept_begin();
			io_accepted(CORE_LISTENER, conn, false);
			core_receive_text(conn, head);
		}
		CHECK_INT(put(fd, line, (size_t)cut), cut);
		if (cut < len)
			CHECK_INT(put(fd, line + cut, (size_t)(len - cut)), len - cut);
		if (i % 50 == 49) {
			close_number(fd);
			copy_to(file, fd);
		}
	}
	fds_death(conn);
	close_number(fd);
	current_clear();
	io_end_thread();
	__atomic_sub_fetch(&running, 1, __ATOMIC_RELEASE);
	return NULL;
}

/* Numbers that both copy, close and write to as they please: a line goes to whatever is there, or fails. */
static void *churn(void *arg)
{
	unsigned seed = (unsigned)(uintptr_t)arg * 7919u + 3;
	int written = 0;

	while (__atomic_load_n(&running, __ATOMIC_ACQUIRE) > 0) {
		int fd;

		seed = seed * 1664525u + 1013904223u;
		fd = FIRST_SHARED + (int)(seed >> 8) % CHURNED;
		switch ((seed >> 20) % 4) {
		case 0: copy_to(file, fd); break;
		case 1: close_number(fd); break;
		default: written += put(fd, "churned\n", 8) == 8; break;
		}
	}
	io_end_thread();
	return (void *)(intptr_t)written;
}

/* The child has one line to say, on a number that others are at. */
static void *fork_meanwhile(void *arg)
{
	int i, status;

	for (i = 0; i < FORKS; i++) {
		pid_t pid = fork();

		if (pid == 0) {
			io_after_fork();
			status = put(file, "forked\n", 7) == 7 ? 0 : 1;
			io_flush_logs();
			_exit(status);
		}
		CHECK(pid > 0 && waitpid(pid, &status, 0) == pid);
		CHECK_INT(status, 0);
	}
	return arg;
}

/* ---- what arrived ---- */

static int next_of[WRITERS], others, forked;

/* One whole line of the program, and the id that its records had ("": none). */
static void check_line(const char *line, const char *id)
{
	char wanted[64] = "", expected[200];
	int writer, number;

	if (sscanf(line, "w%d %d ", &writer, &number) == 2) {
		CHECK(writer >= 0 && writer < WRITERS);
		CHECK_INT(number, next_of[writer]++);
		snprintf(expected, sizeof(expected), "w%d %d %.*s", writer, number, number % 90,
		         "..........................................................................................");
		CHECK(strcmp(line, expected) == 0);
		snprintf(wanted, sizeof(wanted), "%032x", writer + 1);
	} else if (strcmp(line, "churned") == 0) {
		others++;
	} else if (strcmp(line, "forked") == 0) {
		forked++;
	} else {
		CHECK(strcmp(line, "begun") == 0);
	}
	CHECK(strcmp(id, wanted) == 0);
}

/* Pieces of a line, where it had to go out in parts, follow each other within their thread. */
static struct unfinished {
	int tid;
	char text[400], id[33];
} unfinished[WRITERS + CHURNERS + FORKS + 2];

static struct unfinished *unfinished_of(int tid)
{
	struct unfinished *of = unfinished;

	while (of->tid != 0 && of->tid != tid)
		CHECK(++of < unfinished + sizeof(unfinished) / sizeof(unfinished[0]));
	of->tid = tid;
	return of;
}

static const char *value_of(const char *record, const char *name)
{
	const char *found = strstr(record, name);

	return found == NULL ? NULL : found + strlen(name);
}

/* `count` lines of each writer, whole and in order, with the id of its own request; of the others as many as were taken. */
static void check_file(int churned)
{
	off_t len = lseek(file, 0, SEEK_END);
	char *text = malloc((size_t)len + 1), *record = text, *newline;
	int i;

	CHECK_INT(pread(file, text, (size_t)len, 0), len);
	text[len] = '\0';
	for (; *record != '\0'; record = newline + 1) {
		const char *message, *tid, *id;
		struct unfinished *of;

		newline = strchr(record, '\n');
		CHECK(newline != NULL);
		*newline = '\0';
		/* Its number was closed when it was looked up, and open again when it was written to. */
		if (strcmp(record, "churned") == 0) {
			others++;
			continue;
		}
		message = value_of(record, "\"message\":\"");
		tid = value_of(record, "\"tid\":");
		id = value_of(record, "\"trace_id\":\"");
		CHECK(message != NULL && tid != NULL);
		of = unfinished_of(atoi(tid));
		CHECK(strlen(of->text) + strcspn(message, "\"") < sizeof(of->text));
		strncat(of->text, message, strcspn(message, "\""));
		CHECK(of->id[0] == '\0' || (id != NULL && strncmp(of->id, id, 32) == 0));
		snprintf(of->id, sizeof(of->id), "%.32s", id == NULL ? "" : id);
		if (strstr(record, "\"partial\":true") != NULL && strstr(record, "\"partial_last\"") == NULL)
			continue;
		check_line(of->text, of->id);
		of->text[0] = of->id[0] = '\0';
	}
	for (i = 0; i < WRITERS; i++)
		CHECK_INT(next_of[i], LINES);
	CHECK_INT(others, churned);
	CHECK_INT(forked, FORKS);
	free(text);
}

CORE_TEST(lines_of_many_threads_come_whole_while_numbers_come_and_go_and_processes_fork)
{
	pthread_t writers[WRITERS], churners[CHURNERS], forker;
	int churned = 0;
	intptr_t i;

	begin_logs();
	running = WRITERS;
	for (i = 0; i < WRITERS; i++)
		CHECK_INT(pthread_create(&writers[i], NULL, write_lines, (void *)i), 0);
	for (i = 0; i < CHURNERS; i++)
		CHECK_INT(pthread_create(&churners[i], NULL, churn, (void *)i), 0);
	CHECK_INT(pthread_create(&forker, NULL, fork_meanwhile, NULL), 0);
	for (i = 0; i < WRITERS; i++)
		pthread_join(writers[i], NULL);
	for (i = 0; i < CHURNERS; i++) {
		void *written;

		pthread_join(churners[i], &written);
		churned += (int)(intptr_t)written;
	}
	pthread_join(forker, NULL);
	io_flush_logs();
	check_file(churned);
	fds_death_range(FIRST_SHARED, FIRST_SHARED + CHURNED);
	end_logs();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(lines_of_many_threads_come_whole_while_numbers_come_and_go_and_processes_fork),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

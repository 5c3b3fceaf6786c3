/*
 * Driving the core as the hooks do, without hooks: fake descriptors, fake peers, counted pools.
 *
 * What the core knows is the process's and lasts for its life (who serves, which loops are trusted, the pools), so every test
 * runs in a child process of its own: CORE_TEST. A crash is then the failure of one test. In the child CHECK replaces
 * cmocka's assertions, whose way out would run the remaining tests there. At the end of each test every block must be back
 * in its pool once the test has closed its descriptors.
 *
 * Pools: linked with --wrap (Makefile, WRAP_POOLS), so that each block but connections is an allocation of its own: ASan
 * sees what is used after it was given back. Connections are read when stale by design, and stay in the real pool.
 * core_fail_takes makes some of the next takes fail. With CORE_REAL_POOLS defined before, the pools are the real ones.
 */
#ifndef CORE_FIXTURE_H
#define CORE_FIXTURE_H

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>
#ifndef CORE_FUZZ /* the fuzz target has no cmocka, and needs none */
#include <cmocka.h>
#endif

#include "config.h"
#include "counters.h"
#include "current.h"
#include "io.h"
#include "os.h"
#include "pool.h"
#include "propagate.h"
#include "spare.h"
#include "stream.h"

/* ---- checks in the child ---- */

static const char *core_case = ""; /* which case of a table is run: shown with a failure */

#define CHECK(condition)                                                                                               \
	do {                                                                                                           \
		if (!(condition)) {                                                                                    \
			fprintf(stderr, "%s:%d: %s: not so: %s\n", __FILE__, __LINE__, core_case, #condition);         \
			_exit(1);                                                                                      \
		}                                                                                                      \
	} while (0)

#define CHECK_INT(got, wanted)                                                                                         \
	do {                                                                                                           \
		long long got_ = (long long)(got), wanted_ = (long long)(wanted);                                      \
		if (got_ != wanted_) {                                                                                 \
			fprintf(stderr, "%s:%d: %s: %s is %lld, not %lld\n", __FILE__, __LINE__, core_case, #got,      \
			        got_, wanted_);                                                                        \
			_exit(1);                                                                                      \
		}                                                                                                      \
	} while (0)

/* ---- pools ---- */

static long core_blocks_out; /* blocks that are not in their pools */
static long core_takes;      /* pool_take calls so far */
static long core_fail_first; /* number of the first take that fails; 0: none */
static long core_fail_last;  /* and of the last one */

static inline void core_fail_takes(long first, long last)
{
	core_takes = 0;
	core_fail_first = first;
	core_fail_last = last;
}

#ifndef CORE_REAL_POOLS
void *__real_pool_take(const struct pool *pool);
void __real_pool_give(const struct pool *pool, void *block);
void *__wrap_pool_take(const struct pool *pool);
void __wrap_pool_give(const struct pool *pool, void *block);

/* Blocks that are taken again as they were left. */
static inline bool core_is_kept(const struct pool *pool)
{
	return pool->block == CONN_BLOCK || pool->block == ((sizeof(struct stream_heads) + 15) & ~(size_t)15);
}

void *__wrap_pool_take(const struct pool *pool)
{
	void *block;

	core_takes++;
	if (core_fail_first != 0 && core_takes >= core_fail_first && core_takes <= core_fail_last)
		return NULL;
	core_blocks_out++;
	if (core_is_kept(pool))
		return __real_pool_take(pool);
	block = malloc(pool->block);
	memset(block, 0xa5, pool->block); /* a used block: nobody may count on zeroes */
	return block;
}

void __wrap_pool_give(const struct pool *pool, void *block)
{
	core_blocks_out--;
	if (core_is_kept(pool))
		__real_pool_give(pool, block);
	else
		free(block);
}

/* What a thread keeps would be hidden from the count and from ASan. */
void *__wrap_spare_take(enum spare_kind kind, const struct pool *pool);
void __wrap_spare_give(enum spare_kind kind, const struct pool *pool, void *block);
void *__wrap_spare_borrow(enum spare_kind kind, const struct pool *pool);
void __wrap_spare_return(enum spare_kind kind, const struct pool *pool, void *block);

void *__wrap_spare_take(enum spare_kind kind, const struct pool *pool)
{
	(void)kind;
	return __wrap_pool_take(pool);
}

void __wrap_spare_give(enum spare_kind kind, const struct pool *pool, void *block)
{
	(void)kind;
	__wrap_pool_give(pool, block);
}

/* There is one, but where the next take is to fail, which that is then for; and none that says itself what it was before (request_new_fresh). */
void *__wrap_spare_borrow(enum spare_kind kind, const struct pool *pool)
{
	if (kind == SPARE_REQUEST)
		return NULL;
	if (core_fail_first != 0 && core_takes + 1 >= core_fail_first && core_takes + 1 <= core_fail_last)
		return NULL;
	core_takes--;
	return __wrap_spare_take(kind, pool);
}

void __wrap_spare_return(enum spare_kind kind, const struct pool *pool, void *block)
{
	__wrap_spare_give(kind, pool, block);
}

#endif

/* ---- the world ---- */

#define CORE_LISTENER 700
#define CORE_TRACE "0af7651916cd43dd8448eb211c80319c"
#define CORE_OTHER_TRACE "11111111111111111111111111111111"
#define CORE_PARENT "traceparent: 00-" CORE_TRACE "-b7ad6b7169203331-01\r\n"
#define CORE_OTHER_PARENT "traceparent: 00-" CORE_OTHER_TRACE "-b7ad6b7169203331-01\r\n"
#define CORE_NAME(s) ((struct config_name){ s, sizeof(s) - 1 })

static int core_next_fd = CORE_LISTENER + 1;
static int core_flags; /* what F_GETFL says of every fake descriptor */

static int core_fcntl(int fd, int command, ...)
{
	(void)fd;
	return command == F_GETFL ? core_flags : 0;
}

static void *core_no_symbol(const char *name)
{
	(void)name;
	return NULL;
}

static inline void core_start(const char *program)
{
	memset(&config, 0, sizeof(config));
	config.enabled = true;
	config.log_mode = LOG_OFF;
	config.propagators = PROPAGATE_TRACECONTEXT;
	config.propagator_order[0] = PROPAGATE_TRACECONTEXT;
	os.fcntl = core_fcntl;
	current_init(program, core_no_symbol);
	io_set_ready(true);
}

#ifndef CORE_FUZZ
/* Runs one test in a child; the parent only says how it went. */
static inline void core_run(void (*test)(void), const char *program)
{
	int status;
	pid_t pid;

	fflush(NULL);
	pid = fork();
	assert_true(pid >= 0);
	if (pid == 0) {
		core_start(program);
		test();
		current_clear();
		core_fail_takes(0, 0);
		CHECK_INT(core_blocks_out, 0);
		_exit(0);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
}

#define CORE_TEST_FOR(name, program)                                                                                   \
	static void name##_(void);                                                                                     \
	static void name(void **state)                                                                                 \
	{                                                                                                              \
		(void)state;                                                                                           \
		core_run(name##_, program);                                                                            \
	}                                                                                                              \
	static void name##_(void)
#define CORE_TEST(name) CORE_TEST_FOR(name, "program")
#endif

/* ---- connections, as the hooks make them ---- */

static inline int core_accept(bool nonblocking)
{
	int fd = core_next_fd++;

	io_accept_begin();
	io_accepted(CORE_LISTENER, fd, nonblocking);
	return fd;
}

static inline int core_connect(void)
{
	struct sockaddr_in addr = { .sin_family = AF_INET };
	int fd = core_next_fd++;

	fds_birth(fd, FD_STREAM);
	CHECK(io_connect_begin(fd, (struct sockaddr *)&addr, sizeof(addr)));
	io_connect_end(fd, 0, 0);
	return fd;
}

static inline struct conn *core_conn(int fd)
{
	return fds_conn(fds_word(fd));
}

static inline void core_close(int fd)
{
	fds_death(fd);
}

/* As the hook on read does it; the bytes lie in a block that is exactly theirs. */
/* As the hook on recv does it. */
static inline void core_receive(int fd, const char *bytes, size_t len)
{
	struct conn_handle handle;
	struct io_receive io;
	uint64_t word = fds_word(fd);
	bool usual = fds_kind(word) == FD_CONN && io_receive_usual(&handle, fd, word);
	char *exact;

	if (!usual && (io_uninvolved(fd) || !io_receive_begin(&io, fd)))
		return;
	exact = malloc(len ? len : 1);
	memcpy(exact, bytes, len);
	if (!usual)
		io_receive_end(&io, &(struct iovec){ exact, len }, 1, (ssize_t)len, false);
	else if (len > 0)
		CHECK_INT(io_received(handle, fd, exact, (ssize_t)len), (ssize_t)len);
	else
		CHECK_INT(io_received_nothing(handle, fd, exact, 0, 0), 0);
	free(exact);
}

static inline void core_receive_text(int fd, const char *text)
{
	core_receive(fd, text, strlen(text));
}

/* ---- a peer that takes what it is told to take ---- */

struct wire {
	struct io_emitter emitter;
	const int *
		script; /* one a call: > 0 takes at most so many bytes, < 0 fails with that errno; ends with 0: takes all */
	int most;       /* vectors in the largest call */
	size_t calls, len, cap;
	char *bytes;
};

static ssize_t wire_emit(const struct io_emitter *emitter, const struct iovec *iov, int count)
{
	struct wire *w = (struct wire *)(uintptr_t)emitter;
	size_t room = SIZE_MAX, total = 0;
	int i;

	w->calls++;
	if (count > w->most)
		w->most = count;
	if (w->script != NULL && *w->script != 0) {
		int action = *w->script++;

		if (action < 0) {
			errno = -action;
			return -1;
		}
		room = (size_t)action;
	}
	for (i = 0; i < count && room > 0; i++) {
		size_t part = iov[i].iov_len < room ? iov[i].iov_len : room;

		if (part == 0)
			continue;
		if (w->len + part > w->cap) {
			w->cap = (w->len + part) * 2;
			w->bytes = realloc(w->bytes, w->cap);
		}
		memcpy(w->bytes + w->len, iov[i].iov_base, part);
		w->len += part;
		total += part;
		room -= part;
	}
	return (ssize_t)total;
}

/* As the hooks on write, writev, send and sendmsg do it. */
static inline ssize_t wire_sendv(struct wire *w, int fd, const struct iovec *iov, int count)
{
	uint64_t word = fds_word(fd); /* once: another thread may close it between two looks */
	struct iovec v[IO_ANSWER_VECTORS];
	enum io_verdict verdict;
	struct io_send io;
	ssize_t n;

	w->emitter.emit = wire_emit;
	w->emitter.fd = fd;
	if (fds_kind(word) == FD_CONN && io_answer_begin(&io, fd, word, iov, count, v))
		return io_answer_end(&io, wire_emit(&w->emitter, v, count));
	if (io_uninvolved(fd) || (verdict = io_send_begin(&io, fd, iov, count)) == IO_PLAIN)
		return wire_emit(&w->emitter, iov, count);
	if (verdict == IO_SPECIAL)
		return io_send_special(&io, &w->emitter);
	n = wire_emit(&w->emitter, iov, count);
	io_send_end(&io, n);
	return n;
}

static inline ssize_t wire_send(struct wire *w, int fd, const char *bytes, size_t len)
{
	char *exact = malloc(len ? len : 1);
	struct iovec iov = { exact, len };
	ssize_t n;
	int error;

	memcpy(exact, bytes, len);
	n = wire_sendv(w, fd, &iov, 1);
	error = errno;
	free(exact);
	errno = error;
	return n;
}

static inline void wire_free(struct wire *w)
{
	free(w->bytes);
	*w = (struct wire){ 0 };
}

/* Sends all of it to a peer that takes everything and is not looked at. */
static inline void core_send_text(int fd, const char *text)
{
	struct wire w = { 0 };

	CHECK_INT(wire_send(&w, fd, text, strlen(text)), strlen(text));
	wire_free(&w);
}

/* Is it what was expected, where '~' stands for any hex digit? */
static inline bool wire_matches(const struct wire *w, const char *expected)
{
	size_t i;

	if (w->len != strlen(expected))
		return false;
	for (i = 0; i < w->len; i++)
		if (w->bytes[i] != expected[i] &&
		    (expected[i] != '~' || strchr("0123456789abcdef", w->bytes[i]) == NULL))
			return false;
	return true;
}

#define CHECK_WIRE(w, expected)                                                                                        \
	do {                                                                                                           \
		if (!wire_matches(w, expected)) {                                                                      \
			fprintf(stderr, "%s:%d: %s: the peer got\n%.*s\ninstead of\n%s\n", __FILE__, __LINE__,         \
			        core_case, (int)(w)->len, (w)->bytes ? (w)->bytes : "", expected);                     \
			_exit(1);                                                                                      \
		}                                                                                                      \
	} while (0)

/* The head line that a call made for CORE_TRACE gets. */
#define CORE_INSERTED "traceparent: 00-" CORE_TRACE "-~~~~~~~~~~~~~~~~-01\r\n"
#define CORE_INSERTED_OTHER "traceparent: 00-" CORE_OTHER_TRACE "-~~~~~~~~~~~~~~~~-01\r\n"

/* ---- who is it? ---- */

static inline void core_trace_text(const struct request *request, char out[33])
{
	size_t i;

	out[0] = '\0';
	for (i = 0; request != NULL && i < 16; i++)
		snprintf(out + 2 * i, 3, "%02x", request->ctx.trace_id[i]);
}

#define CHECK_TRACE(request, expected)                                                                                 \
	do {                                                                                                           \
		char text_[33];                                                                                        \
		core_trace_text(request, text_);                                                                       \
		if (strcmp(text_, expected) != 0) {                                                                    \
			fprintf(stderr, "%s:%d: %s: %s is of trace '%s', not '%s'\n", __FILE__, __LINE__, core_case,   \
			        #request, text_, expected);                                                            \
			_exit(1);                                                                                      \
		}                                                                                                      \
	} while (0)

/* What is said in few steps is what is said with all of them, or nothing. */
static inline struct request *core_known(void)
{
	struct request *usual = current_known_usual(), *known = current_known();

	CHECK(usual == NULL || usual == known);
	return known;
}
#define CHECK_KNOWN(expected) CHECK_TRACE(core_known(), expected)
#define CHECK_NOTHING_KNOWN() CHECK_TRACE(core_known(), "")

#endif

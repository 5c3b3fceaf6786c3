/*
 * The start: what happens before the program's main, once, on one thread; and the end.
 *
 * Order matters: until io_set_ready every hook passes through. Whatever goes wrong leaves it unset: the object is then
 * inert, and the program runs as if it were not there.
 */
#include "real.h"

#include <errno.h>
#include <link.h>
#include <stdarg.h>
#include <string.h>

#include "config.h"
#include "counters.h"
#include "current.h"
#include "environment.h"
#include "handoff.h"
#include "forks.h"
#include "layout.h"
#include "libc_versions.h"
#include "logfiles.h"
#include "node.h"
#include "os.h"
#include "process.h"
#include "python.h"
#include "ring.h"
#include "stdio_table.h"

/*
 * Is a second copy of this object (another path: ld.so loads the same file once) in front of us? Then that one works, and
 * we stay out of the way: its hooks are found first. The loader's list is in the order in which symbols are searched.
 */
extern const char __ehdr_start __attribute__((visibility("hidden")));

LAYOUT_START static int look_at_object(struct dl_phdr_info *info, size_t size, void *found)
{
	const char *name = info->dlpi_name, *at;
	bool *copy = found;

	(void)size;
	/* Nothing but the loader puts its first segment where our headers are. */
	if ((const char *)info->dlpi_addr == &__ehdr_start)
		return 1;
	for (at = name; name != NULL && *at != '\0'; at++)
		if (*at == '/')
			name = at + 1;
	if (name != NULL && strcmp(name, "libtraceshim.so") == 0)
		*copy = true;
	return *copy ? 1 : 0;
}

LAYOUT_START static bool another_is_first(void)
{
	bool copy = false;

	(void)dl_iterate_phdr(look_at_object, &copy);
	return copy;
}

/*
 * What is in this program? References that may stay empty, because dlsym allocates, and leaves an error behind, for what it
 * does not find: that is the answer to all of these in nearly every process.
 */
extern void napi_create_function(void) __attribute__((weak));
extern void Py_Initialize(void) __attribute__((weak));
extern void JNI_CreateJavaVM(void) __attribute__((weak));
extern void ruby_init(void) __attribute__((weak));
extern void uv_run(void) __attribute__((weak));

LAYOUT_START static void *find_runtime(const char *name)
{
	static const struct {
		char name[24];
		void (*function)(void);
	} runtimes[] = {
		{ "napi_create_function", napi_create_function },
		{ "Py_Initialize", Py_Initialize },
		{ "JNI_CreateJavaVM", JNI_CreateJavaVM },
		{ "ruby_init", ruby_init },
		{ "uv_run", uv_run },
	};

	for (size_t i = 0; i < sizeof(runtimes) / sizeof(runtimes[0]); i++)
		if (strcmp(runtimes[i].name, name) == 0)
			return (void *)runtimes[i].function;
	return NULL;
}

/* What shim/ calls: each is bound at its first use, as the hooks' are. */

static ssize_t os_write(int fd, const void *buf, size_t len)
{
	return REAL(write)(fd, buf, len);
}

static ssize_t os_writev(int fd, const struct iovec *iov, int count)
{
	return REAL(writev)(fd, iov, count);
}

static ssize_t os_sendmsg(int fd, const struct msghdr *msg, int flags)
{
	return REAL(sendmsg)(fd, msg, flags);
}

static ssize_t os_read(int fd, void *buf, size_t len)
{
	return REAL(read)(fd, buf, len);
}

static int os_close(int fd)
{
	return REAL(close)(fd);
}

/* The third argument is passed on whether it is there or not, as libc does. */
static int os_open(const char *path, int flags, ...)
{
	va_list args;
	mode_t mode;

	va_start(args, flags);
	mode = va_arg(args, mode_t);
	va_end(args);
	return REAL(open)(path, flags, mode);
}

static int os_fcntl(int fd, int command, ...)
{
	va_list args;
	void *arg;

	va_start(args, command);
	arg = va_arg(args, void *);
	va_end(args);
	return REAL(fcntl)(fd, command, arg);
}

static int os_getsockopt(int fd, int level, int option, void *value, socklen_t *len)
{
	return REAL(getsockopt)(fd, level, option, value, len);
}

/* In front of os.c's stubs, and read-only once the loader is through. */
struct os os __attribute__((section(".data.rel.ro.os"))) = { os_write, os_writev, os_sendmsg, os_close,
	                                                     os_open,  os_read,   os_fcntl,   os_getsockopt };

/* As unsetenv does it, where it is certain that nobody else looks: before main. */
LAYOUT_START static void take_out(const char *entry)
{
	char **at = environ;

	while (*at != NULL && *at != entry)
		at++;
	for (; *at != NULL; at++)
		at[0] = at[1];
}

/*
 * CPython keeps 8 KiB of output in a buffer of its own, and whichever thread fills it writes everybody's lines: no line could
 * be told from another. It reads this after us, at its initialisation. Only where its output is a log: elsewhere nobody asks
 * whose a line is, and a script that reads both streams of a Python from one pipe would see them in another order. A Python
 * below this one, started by system or popen, has our word in its environment; the spelling tells it from the user's own. All
 * other children do not get it (process.c).
 */
LAYOUT_START static void unbuffer_python(void)
{
	static const char name[] = "PYTHONUNBUFFERED", ours[] = "01";
	const char *given;

	if (Py_Initialize == NULL)
		return;
	given = getenv(name);
	/* An empty one says nothing to it. */
	if (config.unbuffer && config.log_mode != LOG_OFF && logfiles_has(STDOUT_FILENO)) {
		process_unbuffered = given == NULL || *given == '\0' || strcmp(given, ours) == 0;
		/* lint: allow setenv: once, before main */
		(void)setenv(name, ours, given != NULL && *given == '\0');
	} else if (given != NULL && strcmp(given, ours) == 0) {
		take_out(given - sizeof(name));
	}
}

/* Exported by whatever a Go linker made that has C in it. */
extern void _cgo_topofstack(void) __attribute__((weak));

/* Take ourselves out of a list of objects, separated by spaces or colons, in place. */
LAYOUT_START static void leave_out_ourselves(char *list)
{
	static const char ours[] = "libtraceshim.so";
	char *from = list, *to = list;

	while (*from != '\0') {
		size_t len = strcspn(from, " :"), name = len;

		while (name > 0 && from[name - 1] != '/')
			name--;
		if (len - name != sizeof(ours) - 1 || memcmp(from + name, ours, sizeof(ours) - 1) != 0) {
			if (to != list)
				*to++ = ':';
			memmove(to, from, len);
			to += len;
		}
		from += len + (from[len] != '\0');
	}
	*to = '\0';
}

/*
 * A Go program makes its system calls by itself, and copies the environment for its children from where the kernel put it. So nothing
 * can be added to that when they are started; and a child that is not told which files are the tree's logs would take its own output for
 * one, which may be a pipe that the program reads. Below somebody who told us it is told with the rest. Where we are the first, its
 * children are left alone. (Entries cannot be added there, nor should any be taken out: what is behind the last one counts from there.)
 */
LAYOUT_START static void leave_children_alone(void)
{
	size_t i;

	if (_cgo_topofstack == NULL || !config_reads_logs() || config.stdio_files.len > 0)
		return;
	for (i = 0; environ != NULL && environ[i] != NULL; i++)
		if (strncmp(environ[i], "LD_PRELOAD=", 11) == 0)
			leave_out_ourselves(environ[i] + 11);
}

/* A copy, because programs write their titles over their names. */
LAYOUT_START static void describe(const char *program)
{
	const char *kept = config_keep(program, strlen(program) + 1);

	counters_describe(!config.enabled ? (config.excluded ? "excluded" : "inert") : "guest",
	                  kept != NULL ? kept : "", config.service.len > 0 ? config.service.text : "");
}

/*
 * Of PHP only its own server is known to run each handler to its end (option -S): a script may be an event loop that queues what is to be
 * done. Arguments lie behind each other, and the environment behind them.
 */
LAYOUT_START static bool is_php_script(const char *program)
{
	const char *at = program, *end = environ != NULL ? environ[0] : NULL;

	if (strncmp(program, "php", 3) != 0)
		return false;
	while (at < end) {
		at += strlen(at) + 1;
		if (strncmp(at, "-S", 2) == 0)
			return false;
	}
	return true;
}

/* glibc hands main's arguments to a constructor; with another libc they are anything. */
__attribute__((constructor)) LAYOUT_START static void traceshim_start(int argc, char **argv)
{
	const char *program = program_invocation_short_name;
	int saved = errno;

	own_begin();
	if (program == NULL)
		program = "";
	config_load(environ, program);
	describe(program);
	if (config.enabled && strcmp(program, "traceshim") != 0 && !another_is_first()) {
		logfiles_init();
		unbuffer_python();
		current_init(is_php_script(program) ? "" : program, find_runtime);
		current_watch_threads(io_end_thread);
		if (Py_Initialize != NULL)
			python_init();
		if (config.attribution == ATTRIBUTION_VALIDATED)
			handoff_init(real_symbol(RTLD_DEFAULT, "traceshim_handoff"));
		environment_remember(environ);
		leave_children_alone();
		if (forks_unseen())
			forks_watch();
		if (config_reads_logs())
			stdio_hook();
		io_set_ready(true);
	}
	if (counters_noted)
		counters_publish();
	if (io_ready() && napi_create_function != NULL)
		node_invite(argc, argv); /* what it notes alone is no reason to publish */
	errno = saved;
}

__attribute__((destructor)) LAYOUT_START static void traceshim_end(void)
{
	if (!io_active())
		return;
	io_end();
	counters_unpublish();
	/* What is in stdio's buffers comes behind us: then the agent sees the end by the process's own. */
	if (!config.export_logs)
		ring_end_process();
}

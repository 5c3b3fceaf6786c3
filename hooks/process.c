/*
 * Children, other programs, and the end of the process.
 *
 * A program that is started while the thread works for a request (CGI, a helper) gets TRACEPARENT, TRACESTATE and BAGGAGE
 * in its environment, unless the caller put a TRACEPARENT there itself. A server builds the environment of a CGI program
 * from nothing, and so drops LD_PRELOAD: within a request what the child needs to be traced is put back. Elsewhere an
 * environment without LD_PRELOAD is what somebody wanted. Every traced child is told which files are the tree's stdout and
 * stderr: at this moment, so that the program never sees that in its own environment.
 *
 * The new environment lies on the caller's stack: exec may run in a vfork child, where everything else is the parent's
 * memory and stays allocated. Hence the bounds: a larger environment is passed on as it is.
 */
#include "real.h"

#include <alloca.h>
#include <errno.h>
#include <stdarg.h>
#include <string.h>
#include <sys/syscall.h>
#include <wordexp.h>

#include "config.h"
#include "counters.h"
#include "current.h"
#include "environment.h"
#include "os.h"
#include "process.h"
#include "propagate.h"
#include "ring.h"

#define ENTRIES_MAX 384  /* pointers on the stack: 3 KiB */
#define CARRIER_MAX 1024 /* bytes of one carried value; more (long baggage) is not worth a host's stack */
#define ARGUMENTS_MAX 1024
#define ENTRY_LOOKED_AT (12 + TRACEPARENT_LEN + 1) /* "TRACEPARENT=" and its value */

/* As much of an environment as is looked at below: else it is for exec to say what is wrong with it. */
static bool is_environment(char *const envp[])
{
	size_t i;

	for (i = 0; envp != NULL; i++) {
		if (!os_readable(&envp[i], sizeof(*envp)))
			return false;
		if (envp[i] == NULL)
			break;
		if (!os_readable_text(envp[i], ENTRY_LOOKED_AT))
			return false;
	}
	return true;
}

static size_t count_entries(char *const envp[])
{
	size_t n = 0;

	while (envp != NULL && envp[n] != NULL)
		n++;
	return n;
}

static bool has_entry(char *const envp[], const char *name, size_t len)
{
	size_t i;

	for (i = 0; envp != NULL && envp[i] != NULL; i++)
		if (strncmp(envp[i], name, len) == 0)
			return true;
	return false;
}

static bool is_carrier(const char *entry)
{
	return strncmp(entry, "TRACEPARENT=", 12) == 0 || strncmp(entry, "TRACESTATE=", 11) == 0 ||
	       strncmp(entry, "BAGGAGE=", 8) == 0;
}

/* The process's own TRACEPARENT, handed on unchanged, is no statement of the caller's about this child. */
static bool speaks_for_itself(char *const envp[])
{
	size_t i;

	for (i = 0; envp != NULL && envp[i] != NULL; i++)
		if (strncmp(envp[i], "TRACEPARENT=", 12) == 0)
			return config.traceparent.len == 0 || strcmp(envp[i] + 12, config.traceparent.text) != 0;
	return false;
}

bool process_unbuffered;
static const char unbuffered[] = "PYTHONUNBUFFERED=01";

/* What is to be done to a child's environment. */
struct extension {
	const struct request *request; /* whose context it gets; NULL: none */
	bool restore;                  /* LD_PRELOAD and the configuration */
	bool stdio;                    /* TRACESHIM_STDIO */
	bool buffered;                 /* without our PYTHONUNBUFFERED */
	size_t size;                   /* bytes that extend() needs; 0: the environment is right as it is */
};

static struct extension plan_extension(char *const envp[])
{
	struct extension plan = { .request = io_ready() ? current_known() : NULL };
	size_t entries;

	if (!io_ready() || !is_environment(envp) || (entries = count_entries(envp)) > ENTRIES_MAX)
		return (struct extension){ .size = 0 };
	if (plan.request != NULL && speaks_for_itself(envp))
		plan.request = NULL;
	plan.restore =
		plan.request != NULL && !has_entry(envp, "LD_PRELOAD=", 11) && !has_entry(envp, "TRACESHIM_", 10);
	plan.stdio = (plan.restore || has_entry(envp, "LD_PRELOAD=", 11)) && !has_entry(envp, "TRACESHIM_STDIO=", 16) &&
	             environment_stdio() != NULL;
	plan.buffered = process_unbuffered && has_entry(envp, unbuffered, sizeof(unbuffered));
	if (plan.request == NULL && !plan.stdio && !plan.buffered)
		return plan;
	plan.size = (entries + 5 + ENVIRONMENT_RESTORED_MAX) * sizeof(char *);
	if (plan.request != NULL) {
		const struct trace_context *ctx = &plan.request->ctx;

		plan.size += 12 + TRACEPARENT_LEN + 1 +
		             (ctx->tracestate.len <= CARRIER_MAX ? 12u + ctx->tracestate.len : 0u) +
		             (ctx->baggage.len <= CARRIER_MAX ? 9u + ctx->baggage.len : 0u);
	}
	return plan;
}

static char *put_entry(char *at, const char *name, const char *value, size_t len)
{
	size_t name_len = strlen(name);

	memcpy(at, name, name_len);
	memcpy(at + name_len, value, len);
	at[name_len + len] = '\0';
	return at + name_len + len + 1;
}

static size_t put_context(char **entries, char *at, const struct trace_context *ctx)
{
	char parent[TRACEPARENT_LEN];
	size_t n = 0;

	propagate_format_traceparent(ctx, ctx->span_id, parent);
	entries[n++] = at;
	at = put_entry(at, "TRACEPARENT=", parent, sizeof(parent));
	if (ctx->tracestate.len > 0 && ctx->tracestate.len <= CARRIER_MAX) {
		entries[n++] = at;
		at = put_entry(at, "TRACESTATE=", ctx->text.data + ctx->tracestate.off, ctx->tracestate.len);
	}
	if (ctx->baggage.len > 0 && ctx->baggage.len <= CARRIER_MAX) {
		entries[n++] = at;
		(void)put_entry(at, "BAGGAGE=", ctx->text.data + ctx->baggage.off, ctx->baggage.len);
	}
	counters_count(children_given_context);
	return n;
}

static char **extend(char *room, char *const envp[], const struct extension *plan)
{
	char **entries = (char **)(void *)room;
	size_t i, n = 0;

	for (i = 0; envp != NULL && envp[i] != NULL; i++)
		if ((plan->request == NULL || !is_carrier(envp[i])) &&
		    (!plan->buffered || strcmp(envp[i], unbuffered) != 0))
			entries[n++] = envp[i];
	if (plan->restore)
		n += environment_restore(entries + n);
	if (plan->stdio)
		entries[n++] = environment_stdio();
	if (plan->request != NULL)
		n += put_context(entries + n,
		                 room + (count_entries(envp) + 5 + ENVIRONMENT_RESTORED_MAX) * sizeof(char *),
		                 &plan->request->ctx);
	entries[n] = NULL;
	return entries;
}

/*
 * The environment for a child: `envp` itself, or an extended copy on the stack of the function that uses this (alloca, so
 * a macro). A vfork child has its parent's thread state, so the request is right there too.
 */
#define CHILD_ENVIRONMENT(envp)                                                                                        \
	struct extension plan = plan_extension(envp);                                                                  \
	char *const *environment = /* lint: allow alloca: ENTRIES_MAX and CARRIER_MAX bound it */                      \
		plan.size == 0 ? (envp) : extend(alloca(plan.size), envp, &plan)

static void before_exec(void)
{
	if (io_active()) {
		io_flush_logs();
		counters_unpublish();
		ring_end_process();
	}
}

EXPORT int execve(const char *path, char *const argv[], char *const envp[])
{
	CHILD_ENVIRONMENT(envp);

	before_exec();
	return REAL(execve)(path, argv, environment);
}

EXPORT int execv(const char *path, char *const argv[])
{
	CHILD_ENVIRONMENT(environ);

	before_exec();
	return REAL(execve)(path, argv, environment);
}

EXPORT int execvp(const char *file, char *const argv[])
{
	CHILD_ENVIRONMENT(environ);

	before_exec();
	return REAL(execvpe)(file, argv, environment);
}

EXPORT int execvpe(const char *file, char *const argv[], char *const envp[])
{
	CHILD_ENVIRONMENT(envp);

	before_exec();
	return REAL(execvpe)(file, argv, environment);
}

EXPORT int fexecve(int fd, char *const argv[], char *const envp[])
{
	CHILD_ENVIRONMENT(envp);

	before_exec();
	return REAL(fexecve)(fd, argv, environment);
}

EXPORT int execveat(int dir, const char *path, char *const argv[], char *const envp[], int flags)
{
	CHILD_ENVIRONMENT(envp);

	before_exec();
	return REAL(execveat)(dir, path, argv, environment, flags);
}

/* The same by the system calls' numbers. */
long process_exec(long number, const long arg[6])
{
	char *const *given = (char *const *)arg[number == SYS_execve ? 2 : 3];
	CHILD_ENVIRONMENT(given);

	before_exec();
	if (number == SYS_execve)
		return REAL(syscall)(number, arg[0], arg[1], environment);
	return REAL(syscall)(number, arg[0], arg[1], arg[2], environment, arg[4]);
}

/* The variadic ones: arguments are counted, then laid out as a vector on the stack, as libc does it. */
static size_t count_arguments(va_list args)
{
	size_t n = 1;

	while (n < ARGUMENTS_MAX && va_arg(args, char *) != NULL)
		n++;
	return n;
}

static void collect_arguments(char **argv, const char *first, size_t n, va_list args)
{
	size_t i;

	argv[0] = (char *)(uintptr_t)first;
	for (i = 1; i <= n; i++)
		argv[i] = va_arg(args, char *); /* the last one is the NULL */
}

#define COLLECT_ARGUMENTS(first)                                                                                       \
	va_list args;                                                                                                  \
	size_t n;                                                                                                      \
	char **argv;                                                                                                   \
	va_start(args, first);                                                                                         \
	n = count_arguments(args);                                                                                     \
	va_end(args);                                                                                                  \
	if (n == ARGUMENTS_MAX) {                                                                                      \
		errno = E2BIG;                                                                                         \
		return -1;                                                                                             \
	}                                                                                                              \
	argv = alloca((n + 1) * sizeof(*argv)); /* lint: allow alloca: ARGUMENTS_MAX, as in libc */                    \
	va_start(args, first);                                                                                         \
	collect_arguments(argv, first, n, args)

EXPORT int execl(const char *path, const char *first, ...)
{
	COLLECT_ARGUMENTS(first);
	CHILD_ENVIRONMENT(environ);

	va_end(args);
	before_exec();
	return REAL(execve)(path, argv, environment);
}

EXPORT int execlp(const char *file, const char *first, ...)
{
	COLLECT_ARGUMENTS(first);
	CHILD_ENVIRONMENT(environ);

	va_end(args);
	before_exec();
	return REAL(execvpe)(file, argv, environment);
}

EXPORT int execle(const char *path, const char *first, ...)
{
	char *const *envp;

	COLLECT_ARGUMENTS(first);
	envp = va_arg(args, char *const *);
	va_end(args);
	CHILD_ENVIRONMENT(envp);
	before_exec();
	return REAL(execve)(path, argv, environment);
}

EXPORT int posix_spawn(pid_t *restrict pid, const char *restrict path,
                       const posix_spawn_file_actions_t *restrict actions, const posix_spawnattr_t *restrict attr,
                       char *const argv[restrict], char *const envp[restrict])
{
	CHILD_ENVIRONMENT(envp);

	conn_note_child();
	return REAL(posix_spawn)(pid, path, actions, attr, argv, environment);
}

EXPORT int posix_spawnp(pid_t *restrict pid, const char *restrict file,
                        const posix_spawn_file_actions_t *restrict actions, const posix_spawnattr_t *restrict attr,
                        char *const argv[restrict], char *const envp[restrict])
{
	CHILD_ENVIRONMENT(envp);

	conn_note_child();
	return REAL(posix_spawnp)(pid, file, actions, attr, argv, environment);
}

/* These run a shell from inside libc, with the environment as it is: there the child has to find its logs' identity. */
static void before_shell(void)
{
	char *stdio = io_active() && getenv("TRACESHIM_STDIO") == NULL ? environment_stdio() : NULL;

	conn_note_child();
	if (stdio != NULL && getenv("LD_PRELOAD") != NULL)
		/* lint: allow setenv: the program itself is about to start a shell */
		(void)setenv("TRACESHIM_STDIO", strchr(stdio, '=') + 1, 0);
}

EXPORT int system(const char *command)
{
	before_shell();
	return REAL(system)(command);
}

EXPORT int wordexp(const char *restrict words, wordexp_t *restrict result, int flags)
{
	/* Most have nothing for a shell. */
	if (strpbrk(words, "$`") != NULL)
		before_shell();
	return REAL(wordexp)(words, result, flags);
}

EXPORT FILE *popen(const char *command, const char *mode)
{
	FILE *stream;

	before_shell();
	stream = REAL(popen)(command, mode);
	if (stream != NULL && io_active())
		fds_birth(fileno(stream), FD_CHANNEL);
	return stream;
}

static void before_end(void)
{
	if (io_active()) {
		io_flush_logs();
		counters_unpublish();
		ring_end_process();
	}
}

/* In the new root the run folder may not be there: what can be made only there is made before. */
EXPORT int chroot(const char *path)
{
	if (io_active() && (config.export_traces || config.export_logs)) {
		int saved = errno;

		ring_prepare();
		errno = saved;
	}
	return REAL(chroot)(path);
}

EXPORT void _exit(int status)
{
	before_end();
	REAL(_exit)(status);
	__builtin_unreachable();
}

EXPORT void _Exit(int status)
{
	before_end();
	REAL(_Exit)(status);
	__builtin_unreachable();
}

/* Its handlers may print. */
EXPORT void quick_exit(int status)
{
	if (io_active())
		io_ending = true;
	before_end();
	REAL(quick_exit)(status);
	__builtin_unreachable();
}

/* The signal may be caught: the process may live on. */
EXPORT void abort(void)
{
	if (io_active())
		io_flush_logs();
	REAL(abort)();
	__builtin_unreachable();
}

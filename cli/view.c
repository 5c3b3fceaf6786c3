/*
 * `traceshim view` and `traceshim tail`: files of spans for people.
 *
 * A file that an agent writes is locked by it. `view` waits up to a second for the lock, because a program that has just ended
 * has an agent that is just about to finish the file; if the program runs on, what is there is shown.
 */
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <strings.h>
#include <sys/wait.h>
#include <unistd.h>

#include "agent_start.h"
#include "command.h"
#include "otlp_file.h"
#include "text.h"
#include "waterfall.h"

enum { LOCK_TRIES = 50, LOCK_PAUSE_US = 20000, TAIL_PAUSE_US = 100000, WIDTH_DEFAULT = 110, WRONG_TOLD = 3 };

static const char view_help[] = "Usage: traceshim view [OPTION]... [FILE]\n"
				"\n"
				"Show the traces in FILE (standard input without one): a file of OTLP JSON lines, as\n"
				"`traceshim run --spans FILE` writes it.\n"
				"\n"
				"  --trace ID       only traces whose id begins with ID\n"
				"  --errors         only traces with an error\n"
				"  --width N        columns (default: those of the terminal)\n"
				"  --color WHEN     always, never, auto\n"
				"  -h, --help       show this\n";

static const char tail_help[] =
	"Usage: traceshim tail [OPTION]... [FILE]\n"
	"\n"
	"Show spans and log lines: those in FILE, then what is appended to it; without FILE, as they come, those\n"
	"of all programs that export to TRACESHIM_RUN_DIR (TRACESHIM_EXPORT=traces,logs), if no agent serves it.\n"
	"\n"
	"  --color WHEN     always, never, auto\n"
	"  -h, --help       show this\n";

/* Those of view; tail has the last ones. */
static const struct option options[] = {
	{ "trace", required_argument, NULL, 't' }, { "width", required_argument, NULL, 'w' },
	{ "errors", no_argument, NULL, 'e' },      { "color", required_argument, NULL, 'c' },
	{ "help", no_argument, NULL, 'h' },        { NULL, 0, NULL, 0 },
};
static const struct option *const tail_options = options + 3;

struct view {
	struct waterfall_style style;
	const char *trace, *file;
	bool errors;
	struct otlp_item *items;
	size_t count, room;
	bool no_memory;
};

enum view_result { VIEW_GO, VIEW_HELP, VIEW_WRONG };

static bool view_set_color(struct view *v, const char *when)
{
	const char *term = getenv("TERM"), *no = getenv("NO_COLOR");

	v->style.color = isatty(STDOUT_FILENO) && !(no && *no) && !(term && strcmp(term, "dumb") == 0);
	if (!when || strcmp(when, "auto") == 0)
		return true;
	v->style.color = strcmp(when, "always") == 0;
	return v->style.color || strcmp(when, "never") == 0;
}

static unsigned view_width(void)
{
	struct winsize size;

	return ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col ? size.ws_col : WIDTH_DEFAULT;
}

static enum view_result view_read_options(struct view *v, int argc, char **argv, const struct option *known)
{
	const char *when = NULL;
	int option;

	*v = (struct view){ .trace = "", .style.width = view_width() };
	opterr = 0;
	while ((option = getopt_long(argc, argv, "+:h", known, NULL)) != -1) {
		switch (option) {
		case 't': v->trace = optarg; break;
		case 'e': v->errors = true; break;
		case 'w': v->style.width = (unsigned)text_to_pid(optarg); break;
		case 'c': when = optarg; break;
		case 'h': return VIEW_HELP;
		default: text_usage_error(argv[0], option, argv); return VIEW_WRONG;
		}
	}
	v->file = argv[optind];
	if (argv[optind] && argv[optind + 1]) {
		text_error("%s: one file, not '%s' too", argv[0], argv[optind + 1]);
		return VIEW_WRONG;
	}
	if (!view_set_color(v, when) || v->style.width < 1 || v->style.width > 1000) {
		text_error("%s: --color is always, never or auto%s", argv[0],
		           known == options ? "; --width a number up to 1000" : "");
		return VIEW_WRONG;
	}
	return VIEW_GO;
}

static void view_keep(void *owner, const struct otlp_item *item)
{
	struct view *v = owner;
	struct otlp_item *grown;

	if (!*item->trace || strncasecmp(item->trace, v->trace, strlen(v->trace)) != 0)
		return;
	if (v->count == v->room) {
		size_t room = v->room ? 2 * v->room : 256;

		grown = realloc(v->items, room * sizeof(*grown));
		if (!grown) {
			v->no_memory = true;
			return;
		}
		v->items = grown;
		v->room = room;
	}
	if (otlp_item_copy(&v->items[v->count], item))
		v->count++;
	else
		v->no_memory = true;
}

/* Traces in order of their first start: first by trace, so that each can get its own. */
static int view_compare_trace(const void *left, const void *right)
{
	const struct otlp_item *a = left, *b = right;
	int order = strcmp(a->trace, b->trace);

	return order ? order : a->start_ns < b->start_ns ? -1 : a->start_ns > b->start_ns;
}

struct view_trace {
	uint64_t start_ns;
	size_t first, count;
	bool error;
};

static int view_compare_start(const void *left, const void *right)
{
	const struct view_trace *a = left, *b = right;

	return a->start_ns < b->start_ns ? -1 : a->start_ns > b->start_ns;
}

/* Returns how many were drawn. */
static size_t view_draw(struct view *v)
{
	struct view_trace *traces = calloc(v->count + 1, sizeof(*traces));
	size_t count = 0, drawn = 0;

	if (!traces) {
		v->no_memory = true;
		return 0;
	}
	if (v->count)
		qsort(v->items, v->count, sizeof(*v->items), view_compare_trace);
	for (size_t i = 0; i < v->count; i++) {
		if (!i || strcmp(v->items[i].trace, v->items[i - 1].trace) != 0)
			traces[count++] = (struct view_trace){ .start_ns = v->items[i].start_ns, .first = i };
		traces[count - 1].count++;
		traces[count - 1].error = traces[count - 1].error || v->items[i].error;
	}
	if (count)
		qsort(traces, count, sizeof(*traces), view_compare_start);
	for (size_t i = 0; i < count; i++) {
		if (v->errors && !traces[i].error)
			continue;
		waterfall_draw(stdout, v->items + traces[i].first, traces[i].count, &v->style);
		fputc('\n', stdout);
		drawn++;
	}
	free(traces);
	return drawn;
}

static FILE *view_open(const char *name)
{
	FILE *file = name ? fopen(name, "re") : stdin;

	if (!file) {
		text_error("view: %s: %s", name, strerror(errno));
		return NULL;
	}
	for (int i = 0; name && i < LOCK_TRIES && flock(fileno(file), LOCK_SH | LOCK_NB) != 0 && errno == EWOULDBLOCK;
	     i++)
		usleep(LOCK_PAUSE_US);
	return file;
}

/* Returns whether it could be read to its end; else that was told. */
static bool view_read(struct view *v, FILE *file)
{
	size_t room = 0, number = 0, wrong = 0;
	char *line = NULL;
	ssize_t len;
	int error;

	errno = 0;
	while ((len = getline(&line, &room, file)) > 0) {
		number++;
		if (len > 1 && !otlp_file_read_line(line, (size_t)len, view_keep, v) && wrong++ < WRONG_TOLD)
			text_error("view: line %zu is not OTLP JSON, and is left out", number);
	}
	error = feof(file) ? 0 : errno;
	if (error)
		text_error("view: %s: %s", v->file ? v->file : "standard input", strerror(error));
	if (wrong > WRONG_TOLD)
		text_error(
			"view: %zu of %zu lines are not OTLP JSON; what `traceshim run --spans FILE` writes is wanted",
			wrong, number);
	free(line);
	return !error;
}

int view_command(int argc, char **argv)
{
	struct view v;
	enum view_result result = view_read_options(&v, argc, argv, options);
	size_t drawn;
	FILE *file;
	bool ok;

	if (result != VIEW_GO)
		return result == VIEW_HELP ? fputs(view_help, stdout) < 0 : EXIT_USAGE;
	file = view_open(v.file);
	if (!file)
		return EXIT_FAILURE;
	ok = view_read(&v, file);
	if (file != stdin)
		fclose(file);
	drawn = view_draw(&v);
	if (v.no_memory)
		text_error("view: memory was short; something is missing");
	if (ok && !drawn)
		text_error("view: no trace%s%s%s there", *v.trace ? " " : "", v.trace,
		           v.errors ? " with an error" : "");
	for (size_t i = 0; i < v.count; i++)
		otlp_item_free(&v.items[i]);
	free(v.items);
	return fflush(stdout) == 0 && ok && drawn ? EXIT_SUCCESS : EXIT_FAILURE;
}

static void tail_print(void *owner, const struct otlp_item *item)
{
	const struct view *v = owner;

	waterfall_print_item(stdout, item, &v->style);
}

/* Print the lines of `bytes`, of which the first `looked` have no end of a line. Returns how many bytes these were. */
static size_t tail_print_lines(struct view *v, const char *bytes, size_t len, size_t looked)
{
	size_t done = 0;
	const char *end;

	while ((end = memchr(bytes + looked, '\n', len - looked))) {
		looked = (size_t)(end - bytes) + 1;
		(void)otlp_file_read_line(bytes + done, looked - done, tail_print, v);
		done = looked;
	}
	return done;
}

/* From the begin, then what is appended; ends with the end of a pipe, never of a file. */
static void tail_follow(struct view *v, int fd, bool is_pipe)
{
	char *bytes = NULL, *grown;
	size_t len = 0, room = 0, done;
	struct stat st;
	ssize_t n;

	for (;;) {
		if (room - len < 65536) {
			grown = realloc(bytes, room = 2 * room + 65536);
			if (!grown)
				break;
			bytes = grown;
		}
		n = read(fd, bytes + len, room - len);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			text_error("tail: %s: %s", v->file ? v->file : "the agent", strerror(errno));
		if (n < 0 || (n == 0 && is_pipe))
			break;
		if (n == 0) {
			/* One that was emptied begins anew. */
			if (fstat(fd, &st) == 0 && st.st_size < lseek(fd, 0, SEEK_CUR)) {
				lseek(fd, 0, SEEK_SET);
				len = 0;
			}
			usleep(TAIL_PAUSE_US);
			continue;
		}
		len += (size_t)n;
		done = tail_print_lines(v, bytes, len, len - (size_t)n);
		memmove(bytes, bytes + done, len -= done);
		if (fflush(stdout) != 0)
			break;
	}
	free(bytes);
}

/* An agent that writes to us; -1 (told) when there is none. */
static int tail_start_agent(void)
{
	char *argv[] = { NULL, (char *)"--spans", (char *)"-", NULL };
	pid_t parent = getpid(), child;
	int ends[2];

	if (pipe2(ends, O_CLOEXEC) != 0 || (child = fork()) < 0) {
		text_error("tail: no agent can be started: %s", strerror(errno));
		return -1;
	}
	if (child == 0) {
		prctl(PR_SET_PDEATHSIG, SIGTERM);
		if (getppid() != parent || dup2(ends[1], STDOUT_FILENO) < 0)
			_exit(EXIT_FAILURE);
		_exit(agent_exec(argv));
	}
	close(ends[1]);
	return ends[0];
}

int tail_command(int argc, char **argv)
{
	struct view v;
	enum view_result result = view_read_options(&v, argc, argv, tail_options);
	int fd, status = 0;

	if (result != VIEW_GO)
		return result == VIEW_HELP ? fputs(tail_help, stdout) < 0 : EXIT_USAGE;
	if (!v.file) {
		fd = tail_start_agent();
		if (fd < 0)
			return EXIT_FAILURE;
		/* To a person only: silence looks like a fault, and most programs export nothing. */
		if (isatty(STDERR_FILENO))
			fputs("traceshim: shows what programs with TRACESHIM_EXPORT=traces,logs do, from now on\n",
			      stderr);
		tail_follow(&v, fd, true);
		return wait(&status) > 0 && WIFEXITED(status) ? WEXITSTATUS(status) : EXIT_FAILURE;
	}
	fd = open(v.file, O_RDONLY | O_CLOEXEC);
	if (fd < 0) {
		text_error("tail: %s: %s", v.file, strerror(errno));
		return EXIT_FAILURE;
	}
	tail_follow(&v, fd, false);
	return EXIT_FAILURE;
}

/*
 * `traceshim run`: put the object into LD_PRELOAD, translate options into the environment variables that configure it, and
 * become the program. It execs and does not fork, so the pid, the signals and the exit status are the program's own; where
 * spans are wanted, an agent is started beside it first (agent_start.c).
 *
 * A program that cannot be traced is run all the same, with one warning. The object is left out only where it would keep
 * the program from starting (a libc that lacks what the object imports): otherwise it stays in LD_PRELOAD, since the
 * program's children may well be traceable.
 */
#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "agent_start.h"
#include "command.h"
#include "doctor.h"
#include "find.h"
#include "text.h"

static const char help[] =
	"Usage: traceshim run [OPTION]... [--] PROGRAM [ARGUMENT]...\n"
	"\n"
	"Start PROGRAM with libtraceshim.so preloaded. Same process, exit status and signals.\n"
	"\n"
	"  --service NAME           name of the service in records (OTEL_SERVICE_NAME)\n"
	"  --log FORMAT             json, text, off, or a JSON format: otel, camel, ecs, datadog, gcp\n"
	"                           (TRACESHIM_LOG, TRACESHIM_FORMAT)\n"
	"  --log-files GLOBS        log files besides stdout and stderr, separated by ':'\n"
	"                           (TRACESHIM_LOG_FILES)\n"
	"  --propagate HOSTS        hosts that get trace headers, separated by ','; default all\n"
	"                           (TRACESHIM_PROPAGATE)\n"
	"  --headers LIST           correlation headers accepted and sent on, separated by ','\n"
	"                           (TRACESHIM_HEADERS)\n"
	"  --response-header NAME   tell clients the trace id in this header (TRACESHIM_RESPONSE_HEADER)\n"
	"  --raw                    requests for protocols that are not HTTP, too (TRACESHIM_RAW=on)\n"
	"  --env KEY=VALUE          set any other variable; may be given several times\n"
	"  --spans FILE             collect spans and log lines in FILE (see `traceshim view`)\n"
	"  --otlp URL               send them to an OpenTelemetry receiver (port 4318)\n"
	"  --loki URL               send the lines to Loki\n"
	"  --ui[=ADDR:PORT]         show them on a page (127.0.0.1:4319)\n"
	"  --library PATH           the object to preload (default: TRACESHIM_LIBRARY, or the installed one)\n"
	"  -h, --help               show this\n"
	"\n"
	"Exit status: that of PROGRAM; 125 for an error of traceshim itself, 126 when PROGRAM cannot\n"
	"be executed, 127 when it cannot be found.\n";

enum option_value {
	OPTION_SERVICE = 256,
	OPTION_LOG,
	OPTION_LOG_FILES,
	OPTION_PROPAGATE,
	OPTION_HEADERS,
	OPTION_RESPONSE_HEADER,
	OPTION_RAW,
	OPTION_ENV,
	OPTION_LIBRARY,
	OPTION_SPANS,
	OPTION_OTLP,
	OPTION_LOKI,
	OPTION_UI
};

static const struct option options[] = {
	{ "service", required_argument, NULL, OPTION_SERVICE },
	{ "log", required_argument, NULL, OPTION_LOG },
	{ "log-files", required_argument, NULL, OPTION_LOG_FILES },
	{ "propagate", required_argument, NULL, OPTION_PROPAGATE },
	{ "headers", required_argument, NULL, OPTION_HEADERS },
	{ "response-header", required_argument, NULL, OPTION_RESPONSE_HEADER },
	{ "raw", no_argument, NULL, OPTION_RAW },
	{ "env", required_argument, NULL, OPTION_ENV },
	{ "library", required_argument, NULL, OPTION_LIBRARY },
	{ "spans", required_argument, NULL, OPTION_SPANS },
	{ "otlp", required_argument, NULL, OPTION_OTLP },
	{ "loki", required_argument, NULL, OPTION_LOKI },
	{ "ui", optional_argument, NULL, OPTION_UI },
	{ "help", no_argument, NULL, 'h' },
	{ NULL, 0, NULL, 0 },
};

static bool run_set(const char *name, const char *value)
{
	if (setenv(name, value, 1) == 0)
		return true;
	text_error("run: %s cannot be set: %s", name, strerror(errno));
	return false;
}

static bool run_set_log(const char *value)
{
	static const char *const modes[] = { "json", "text", "off" };
	static const char *const formats[] = { "otel", "camel", "ecs", "datadog", "gcp" };

	for (size_t i = 0; i < sizeof(modes) / sizeof(modes[0]); i++)
		if (strcmp(value, modes[i]) == 0)
			return run_set("TRACESHIM_LOG", value);
	for (size_t i = 0; i < sizeof(formats) / sizeof(formats[0]); i++)
		if (strcmp(value, formats[i]) == 0)
			return run_set("TRACESHIM_LOG", "json") && run_set("TRACESHIM_FORMAT", value);
	text_error("run: --log takes json, text, off, otel, camel, ecs, datadog or gcp, not '%s'", value);
	return false;
}

static bool run_set_pair(char *pair)
{
	char *equals = strchr(pair, '=');
	bool ok;

	if (!equals || equals == pair) {
		text_error("run: --env takes KEY=VALUE, not '%s'", pair);
		return false;
	}
	*equals = '\0';
	ok = run_set(pair, equals + 1);
	*equals = '=';
	return ok;
}

/* Apply one option. False after an error has been told. */
static bool run_apply(int option, const char **library, struct agent_wish *wish)
{
	switch (option) {
	case OPTION_SERVICE: return run_set("OTEL_SERVICE_NAME", optarg);
	case OPTION_LOG: return run_set_log(optarg);
	case OPTION_LOG_FILES: return run_set("TRACESHIM_LOG_FILES", optarg);
	case OPTION_PROPAGATE: return run_set("TRACESHIM_PROPAGATE", optarg);
	case OPTION_HEADERS: return run_set("TRACESHIM_HEADERS", optarg);
	case OPTION_RESPONSE_HEADER: return run_set("TRACESHIM_RESPONSE_HEADER", optarg);
	case OPTION_RAW: return run_set("TRACESHIM_RAW", "on");
	case OPTION_ENV: return run_set_pair(optarg);
	case OPTION_SPANS: wish->spans = optarg; return true;
	case OPTION_OTLP: wish->otlp = optarg; return true;
	case OPTION_LOKI: wish->loki = optarg; return true;
	case OPTION_UI: wish->ui = optarg ? optarg : ""; return true;
	default: *library = optarg; return true;
	}
}

/* Is there an object that can be preloaded? Tells what is wrong with it. */
static bool run_check_object(const struct doctor_report *report)
{
	const char *obstacle;

	if (!report->have_object) {
		if (access(report->object_path, F_OK) != 0)
			text_error("run: the object %s was not found; name it with --library", report->object_path);
		else
			text_error("run: %s is not a shared object of this machine", report->object_path);
		return false;
	}
	obstacle = find_preload_obstacle(report->object_path);
	if (obstacle)
		text_error("run: the object %s cannot be preloaded for its path: %s; put it somewhere else",
		           report->object_path, obstacle);
	return !obstacle;
}

static void run_warn(const struct doctor_report *report)
{
	for (size_t i = 0; i < report->finding_count; i++) {
		const struct doctor_finding *finding = &report->finding[i];

		if (finding->effect != DOCTOR_CANNOT)
			continue;
		if (report->caller_keeps_preload &&
		    (strcmp(finding->kind, "setuid") == 0 || strcmp(finding->kind, "setgid") == 0 ||
		     strcmp(finding->kind, "capabilities") == 0))
			continue;
		text_error("warning: %s cannot be traced and runs %s. %s", report->program,
		           report->would_not_start ? "without the object" : "untraced", finding->text);
		return;
	}
}

/*
 * TRACESHIM_ATTRIBUTION=validated takes a second object, which lies beside the first. Takes over `preload`; NULL without memory (or
 * if it was NULL).
 */
static char *run_add_handoff(char *preload, const char *object)
{
	static const char name[] = "libtraceshim-handoff.so";
	const char *wish = getenv("TRACESHIM_ATTRIBUTION");
	int folder = (int)(find_base_name(object) - object);
	char *both;

	if (!preload || !wish || strcmp(wish, "validated") != 0 || strstr(preload, name))
		return preload;
	both = malloc(strlen(preload) + 1 + (size_t)folder + sizeof(name));
	if (both) {
		sprintf(both, "%s:%.*s%s", preload, folder, object, name);
		if (access(both + strlen(preload) + 1, R_OK) != 0) {
			text_error("warning: nothing is validated: %s is missing", both + strlen(preload) + 1);
			both[strlen(preload)] = '\0';
		}
	}
	free(preload);
	return both;
}

static int run_exec(char **argv)
{
	int error;

	execvp(argv[0], argv);
	error = errno;
	text_error("run: %s: %s", argv[0], strerror(error));
	return error == ENOENT ? EXIT_RUN_NOT_FOUND : EXIT_RUN_NOT_EXECUTABLE;
}

int run_command(int argc, char **argv)
{
	static struct doctor_report report;
	struct agent_wish wish = { 0 };
	const char *library = NULL;
	char *preload;
	int option;

	opterr = 0;
	while ((option = getopt_long(argc, argv, "+:h", options, NULL)) != -1) {
		if (option == 'h')
			return fputs(help, stdout) < 0 ? EXIT_RUN_OWN : EXIT_SUCCESS;
		if (option == '?' || option == ':') {
			text_usage_error(argv[0], option, argv);
			return EXIT_RUN_OWN;
		}
		if (!run_apply(option, &library, &wish))
			return EXIT_RUN_OWN;
	}
	if (optind == argc) {
		text_error("run: which program? See `traceshim run --help`");
		return EXIT_RUN_OWN;
	}
	doctor_examine_program(&report, argv[optind], library, false);
	if (!run_check_object(&report))
		return EXIT_RUN_OWN;
	/* An error of the examination is left to execvp, which knows better what can be executed. */
	if (!report.error[0])
		run_warn(&report);
	/* Before LD_PRELOAD is set, which is not for the agent. */
	if (agent_is_wished(&wish) && !agent_start_beside(&wish))
		return EXIT_RUN_OWN;
	if (!report.would_not_start) {
		preload = run_add_handoff(find_preload_value(getenv("LD_PRELOAD"), report.object_path),
		                          report.object_path);
		if (!preload || !run_set("LD_PRELOAD", preload)) {
			free(preload);
			return EXIT_RUN_OWN;
		}
		free(preload);
	}
	doctor_free(&report);
	return run_exec(argv + optind);
}

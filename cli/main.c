/*
 * The `traceshim` program: picks the subcommand. It is a tool beside the object, never part of a guest, so it may use all
 * of libc.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "command.h"
#include "self_test.h"
#include "text.h"

static const char help[] = "Usage: traceshim run [OPTION]... [--] PROGRAM [ARGUMENT]...\n"
			   "       traceshim doctor [--json] PROGRAM|PID|--self-test\n"
			   "       traceshim status [--json] [PID]\n"
			   "       traceshim agent [OPTION]...\n"
			   "       traceshim view [--trace ID] [FILE]\n"
			   "       traceshim tail [FILE]\n"
			   "\n"
			   "Trace programs that know nothing of tracing: trace ids for the requests they serve,\n"
			   "log lines as JSON with those ids, trace headers in the requests they make.\n"
			   "\n"
			   "  run       start a program with the preload object libtraceshim.so\n"
			   "  doctor    say whether a program can be traced, and if not, why\n"
			   "  status    show the counters of running programs\n"
			   "  agent     collect spans and log lines, and export them\n"
			   "  view      show the traces in a file of spans\n"
			   "  tail      show spans and lines as they come\n"
			   "\n"
			   "  -h, --help       show this, or with a subcommand its options\n"
			   "      --version    show the version\n"
			   "\n"
			   "Example: traceshim run --service shop -- nginx -g 'daemon off;'\n";

int main(int argc, char **argv)
{
	static const struct {
		const char *name;
		int (*run)(int argc, char **argv);
	} commands[] = { { "run", run_command },          { "doctor", doctor_command }, { "status", status_command },
		         { "agent", agent_exec_command }, { "view", view_command },     { "tail", tail_command } };
	const char *name = argc > 1 ? argv[1] : NULL;
	int status = EXIT_USAGE;

	/* What `doctor --self-test` starts: this program, but none that the object leaves alone for its name. */
	if (strcmp(argv[0], "self-test-server") == 0)
		return self_test_server(argc, argv);
	if (strcmp(argv[0], "self-test-client") == 0)
		return self_test_client(argc, argv);
	if (!name) {
		fputs(help, stderr);
		return EXIT_USAGE;
	}
	for (size_t i = 0; i < sizeof(commands) / sizeof(commands[0]); i++)
		if (strcmp(name, commands[i].name) == 0)
			return commands[i].run(argc - 1, argv + 1);
	if (strcmp(name, "--help") == 0 || strcmp(name, "-h") == 0 || strcmp(name, "help") == 0) {
		status = fputs(help, stdout) < 0 ? EXIT_FAILURE : EXIT_SUCCESS;
	} else if (strcmp(name, "--version") == 0) {
		status = puts("traceshim " TRACESHIM_VERSION) < 0 ? EXIT_FAILURE : EXIT_SUCCESS;
	} else {
		text_error("%s '%s': see `traceshim --help`", name[0] == '-' ? "unknown option" : "unknown command",
		           name);
	}
	return status;
}

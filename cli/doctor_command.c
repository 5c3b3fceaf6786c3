/*
 * `traceshim doctor`: options, and which of the two examinations.
 */
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>

#include "command.h"
#include "doctor.h"
#include "self_test.h"
#include "text.h"

static const char help[] =
	"Usage: traceshim doctor [--json] [--library PATH] PROGRAM|PID\n"
	"       traceshim doctor [--json] [--library PATH] --self-test\n"
	"\n"
	"Say whether PROGRAM (a path, or a name in PATH) can be traced, or whether the process PID is,\n"
	"and why not. A program whose name is a number is meant by ./NUMBER.\n"
	"\n"
	"  --self-test      run a few programs with the object and without, and say whether this machine\n"
	"                   is one to use it on\n"
	"  --json           the report as one JSON object\n"
	"  --library PATH   the object to compare with (default: TRACESHIM_LIBRARY, or the installed one)\n"
	"  -h, --help       show this\n"
	"\n"
	"Exit status: 0 it will be (is) traced, 1 only partly, 2 it cannot be (is not) traced, 3 an error.\n"
	"Of the self-test: 0 safe and traced, 1 safe but not all is traced, 2 a program behaves differently,\n"
	"3 an error.\n";

int doctor_command(int argc, char **argv)
{
	static const struct option options[] = {
		{ "json", no_argument, NULL, 'j' },
		{ "self-test", no_argument, NULL, 's' },
		{ "library", required_argument, NULL, 'l' },
		{ "help", no_argument, NULL, 'h' },
		{ NULL, 0, NULL, 0 },
	};
	static struct doctor_report report;
	const char *library = NULL;
	bool json = false, self_test = false;
	int option, pid, status;

	opterr = 0;
	while ((option = getopt_long(argc, argv, "+:h", options, NULL)) != -1) {
		if (option == 'h')
			return fputs(help, stdout) < 0 ? DOCTOR_ERROR : EXIT_SUCCESS;
		switch (option) {
		case 'j': json = true; break;
		case 'l': library = optarg; break;
		case 's': self_test = true; break;
		default: text_usage_error(argv[0], option, argv); return DOCTOR_ERROR;
		}
	}
	if (self_test && argc == optind)
		return self_test_run(library, json);
	if (self_test || argc - optind != 1) {
		text_error(
			"doctor: one program or process id is wanted, or --self-test alone; see `traceshim doctor --help`");
		return DOCTOR_ERROR;
	}
	pid = text_to_pid(argv[optind]);
	if (pid)
		doctor_examine_process(&report, pid, library);
	else
		doctor_examine_program(&report, argv[optind], library, true);
	status = json ? doctor_print_json(&report) : doctor_print(&report);
	doctor_free(&report);
	return fflush(stdout) == 0 ? status : DOCTOR_ERROR;
}

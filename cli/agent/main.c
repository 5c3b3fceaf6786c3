/*
 * traceshim-agent: what `traceshim agent` becomes. A program of its own, because it needs libraries that the others do not:
 * doctor, status and run must start fast, and on machines that have no libcurl.
 */
#include <stdio.h>
#include <stdlib.h>

#include "agent.h"
#include "../command.h"

int main(int argc, char **argv)
{
	static struct settings settings;
	int status;

	switch (settings_read(&settings, argc, argv)) {
	case SETTINGS_OK: status = agent_run(&settings); break;
	case SETTINGS_HELP: status = fputs(settings_help, stdout) < 0 ? EXIT_FAILURE : EXIT_SUCCESS; break;
	default: status = EXIT_USAGE; break;
	}
	settings_free(&settings);
	return status;
}

/*
 * traceshim-agent: what `traceshim agent` becomes. A program of its own, because it needs libraries that the others do not:
 * doctor, status and run must start fast, and on machines that have no libcurl.
 */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "agent.h"
#include "../command.h"

/* Where a standard descriptor is closed, a ring would get its number, and a message be written into it. */
static void fill_standard_descriptors(void)
{
	int fd;

	do
		fd = open("/dev/null", O_RDWR);
	while (fd >= 0 && fd <= STDERR_FILENO);
	if (fd >= 0)
		close(fd);
}

int main(int argc, char **argv)
{
	static struct settings settings;
	int status;

	fill_standard_descriptors();
	switch (settings_read(&settings, argc, argv)) {
	case SETTINGS_OK: status = agent_run(&settings); break;
	case SETTINGS_HELP: status = fputs(settings_help, stdout) < 0 ? EXIT_FAILURE : EXIT_SUCCESS; break;
	default: status = EXIT_USAGE; break;
	}
	settings_free(&settings);
	return status;
}

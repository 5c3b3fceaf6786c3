/*
 * A library that prints and sends: as it is loaded, when it is asked to, and as it goes. Needed by a program, or opened by it.
 */
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static void say(const char *what)
{
	char line[100];

	(void)!write(1, line, (size_t)snprintf(line, sizeof(line), "plugin: %s\n", what));
	dprintf(2, "plugin: %s, by %s\n", what, "dprintf");
}

__attribute__((constructor)) static void starts(void)
{
	say("starts");
	printf("printed as it %s\n", "starts"); /* goes out at the end, or at a flush of the program's */
}

__attribute__((destructor)) static void ends(void)
{
	say("ends");
	fflush(stdout);
}

int plugin_call(int fd);

int plugin_call(int fd)
{
	static const char head[] = "GET /plugin HTTP/1.1\r\nHost: a\r\n\r\n";

	say("is called");
	fprintf(stderr, "in %d pieces\n", 2);
	return fd < 0 ? 0 : (int)write(fd, head, strlen(head));
}

/*
 * A line protocol, one thread a connection: "GET n=17" is answered by "OK n=17", with a line logged before and one after some
 * work. Usage: server_lines PORT
 */
#include "server_kit.h"

static void *serve(void *arg)
{
	FILE *in = fdopen((int)(intptr_t)arg, "r");
	char line[256], answer[256];

	while (fgets(line, sizeof(line), in) != NULL) {
		char *n = strstr(line, "n=");
		int len = snprintf(answer, sizeof(answer), "OK %s", n ? n : "\n");

		printf("begin %s", n ? n : "\n");
		work_us(100);
		printf("middle %s", n ? n : "\n");
		if (send(fileno(in), answer, (size_t)len, MSG_NOSIGNAL) != len)
			break;
	}
	fclose(in);
	return NULL;
}

int main(int argc, char **argv)
{
	int listener = listen_on(argc > 1 ? atoi(argv[1]) : 0), fd;
	pthread_t thread;

	signal(SIGPIPE, SIG_IGN);
	setvbuf(stdout, NULL, _IOLBF, BUFSIZ);
	while ((fd = accept(listener, NULL, NULL)) >= 0) {
		pthread_create(&thread, NULL, serve, (void *)(intptr_t)fd);
		pthread_detach(thread);
	}
	return 0;
}

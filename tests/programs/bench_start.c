/*
 * How long a program takes from its birth to its end, bare and with an object preloaded, measured in alternating pairs so
 * that whatever the machine does meanwhile hits both alike. Each start is posix_spawn and waitpid: the measuring process
 * itself is small and never preloaded.
 *
 * Usage: bench_start PAIRS OBJECT PROGRAM [ARGUMENT...]
 * Prints one line a pair: "<nanoseconds bare> <nanoseconds preloaded>". Exit status 1 when the program ever fails.
 */
#include <signal.h>
#include <spawn.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>

extern char **environ;

static uint64_t now_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

static uint64_t time_start(char *const argv[], char *const envp[])
{
	uint64_t start = now_ns();
	int status;
	pid_t pid;

	if (posix_spawn(&pid, argv[0], NULL, NULL, argv, envp) || waitpid(pid, &status, 0) != pid || status != 0) {
		fprintf(stderr, "bench_start: %s failed\n", argv[0]);
		exit(1);
	}
	return now_ns() - start;
}

/* A copy of the environment without LD_PRELOAD, and with `preload` ("LD_PRELOAD=...") where it is not NULL. */
static char **make_environment(char *preload)
{
	size_t count = 0, used = 0;
	char **envp;

	while (environ[count])
		count++;
	envp = calloc(count + 2, sizeof(*envp));
	if (!envp)
		exit(1);
	for (size_t i = 0; i < count; i++) {
		if (strncmp(environ[i], "LD_PRELOAD=", 11) != 0)
			envp[used++] = environ[i];
	}
	envp[used] = preload;
	return envp;
}

int main(int argc, char **argv)
{
	char preload[4096];
	char **bare, **preloaded;
	long pairs;

	if (argc < 4 || (pairs = strtol(argv[1], NULL, 10)) < 1) {
		fprintf(stderr, "usage: bench_start PAIRS OBJECT PROGRAM [ARGUMENT...]\n");
		return 2;
	}
	snprintf(preload, sizeof(preload), "LD_PRELOAD=%s", argv[2]);
	bare = make_environment(NULL);
	preloaded = make_environment(preload);
	for (long i = 0; i < pairs; i++) {
		uint64_t first = time_start(argv + 3, i % 2 ? preloaded : bare);
		uint64_t second = time_start(argv + 3, i % 2 ? bare : preloaded);

		printf("%llu %llu\n", (unsigned long long)(i % 2 ? second : first),
		       (unsigned long long)(i % 2 ? first : second));
	}
	free(bare);
	free(preloaded);
	return 0;
}

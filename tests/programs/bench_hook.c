/*
 * What a hooked call costs on a descriptor that has nothing to do with requests or logs: the price that every program
 * pays. Each operation is timed in rounds; the fastest round is reported, since whatever disturbs a round only adds.
 *
 * Usage: bench_hook [CALLS a round, default 200000] [ROUNDS, default 9]
 * Prints to descriptor 3 (stdout and stderr are log streams): "<operation> <nanoseconds a call>" for each operation.
 */
#include <fcntl.h>
#include <poll.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static int zero_fd, null_fd, pipe_fd[2];
static char byte[64];

static uint64_t now_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

static ssize_t op_read_zero(void)
{
	return read(zero_fd, byte, 1);
}

static ssize_t op_write_null(void)
{
	return write(null_fd, byte, 1);
}

static ssize_t op_pipe_byte(void)
{
	return write(pipe_fd[1], byte, 1) + read(pipe_fd[0], byte, 1);
}

static ssize_t op_poll_pipe(void)
{
	struct pollfd set = { .fd = pipe_fd[1], .events = POLLOUT };

	return poll(&set, 1, 0);
}

static ssize_t op_dup_close(void)
{
	return close(dup(null_fd)) == 0;
}

static const struct {
	const char *name;
	ssize_t (*call)(void);
} operations[] = {
	{ "read_dev_zero", op_read_zero }, { "write_dev_null", op_write_null }, { "write_and_read_pipe", op_pipe_byte },
	{ "poll_pipe", op_poll_pipe },     { "dup_and_close", op_dup_close },
};

static double time_operation(ssize_t (*call)(void), unsigned long calls, unsigned long rounds)
{
	double best = 0;

	for (unsigned long r = 0; r < rounds; r++) {
		uint64_t start = now_ns();
		double each;

		for (unsigned long i = 0; i < calls; i++) {
			if (call() <= 0) {
				perror("bench_hook");
				exit(1);
			}
		}
		each = (double)(now_ns() - start) / (double)calls;
		if (r == 0 || each < best)
			best = each;
	}
	return best;
}

int main(int argc, char **argv)
{
	unsigned long calls = argc > 1 ? strtoul(argv[1], NULL, 10) : 200000;
	unsigned long rounds = argc > 2 ? strtoul(argv[2], NULL, 10) : 9;

	zero_fd = open("/dev/zero", O_RDONLY | O_CLOEXEC);
	null_fd = open("/dev/null", O_WRONLY | O_CLOEXEC);
	if (calls == 0 || zero_fd < 0 || null_fd < 0 || pipe(pipe_fd)) {
		perror("bench_hook");
		return 1;
	}
	for (size_t i = 0; i < sizeof(operations) / sizeof(operations[0]); i++)
		dprintf(3, "%s %.2f\n", operations[i].name, time_operation(operations[i].call, calls, rounds));
	return 0;
}

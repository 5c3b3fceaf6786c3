/*
 * Writes a log through a pipe whose other end is slow: `logs_guest CASE`, where standard output is the log.
 *
 * The bytes that calls say they took must be, in order, the bytes that arrive. Ends with 1 where a call lied about its count.
 */
#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>
#include <unistd.h>

#define LINES 3000

static void wait_for_room(void)
{
	struct pollfd room = { 1, POLLOUT, 0 };

	poll(&room, 1, -1);
}

/* All of it; what a short call left comes again, as every program does it. */
static void put(const char *bytes, size_t len)
{
	while (len > 0) {
		ssize_t n = write(1, bytes, len);

		if (n < 0 && errno == EAGAIN) {
			wait_for_room();
			continue;
		}
		if (n <= 0 || (size_t)n > len)
			errx(1, "%zd of %zu", n, len);
		bytes += n;
		len -= (size_t)n;
	}
}

static size_t make_line(char *room, int i)
{
	size_t len = (size_t)sprintf(room, "line %d ", i), more = (size_t)(i * 7919 % 5000);

	if (i % 50 != 0)
		more %= 120;
	memset(room + len, 'a' + i % 26, more);
	room[len + more] = '\n';
	return len + more + 1;
}

static void lines(void)
{
	char room[6000];
	int i;

	for (i = 0; i < LINES; i++)
		put(room, make_line(room, i));
}

/* Many lines a call, and calls that end anywhere in a line. */
static void blocks(void)
{
	static char room[LINES * 200];
	size_t len = 0, at = 0;
	int i;

	for (i = 0; i < LINES && len < sizeof(room) - 6000; i++)
		len += make_line(room + len, i);
	for (i = 0; at < len; i++) {
		size_t n = (size_t)(i * 104729 % 9000) + 1;

		if (n > len - at)
			n = len - at;
		put(room + at, n);
		at += n;
	}
}

static void vectors(void)
{
	char room[6000];
	int i;

	for (i = 0; i < LINES; i++) {
		size_t len = make_line(room, i), cut = len / 3;
		struct iovec iov[3] = { { room, cut }, { room + cut, len - 1 - cut }, { room + len - 1, 1 } };
		ssize_t n = writev(1, iov, 3);

		if (n < 0 && errno == EAGAIN) {
			wait_for_room();
			n = 0;
		}
		if (n < 0 || (size_t)n > len)
			errx(1, "%zd of %zu", n, len);
		put(room + n, len - (size_t)n);
	}
}

/* A program that gives up what does not go at once, as many loggers do: all or nothing of a line, else an error. */
static void drops(void)
{
	int i, taken = 0;

	for (i = 0; i < 20000; i++) {
		char room[64];
		int len = sprintf(room, "droppable line %d\n", i);
		ssize_t n = write(1, room, (size_t)len);

		if (n == len) {
			taken++;
			fprintf(stderr, "%d\n", i);
		} else if (n >= 0 || errno != EAGAIN) {
			/* A part was taken: the rest is owed. */
			wait_for_room();
			put(room + n, (size_t)(len - n));
			fprintf(stderr, "%d\n", i);
		}
	}
	fcntl(1, F_SETFL, 0);
}

int main(int argc, char **argv)
{
	static const struct {
		const char *name;
		void (*run)(void);
	} cases[] = {
#define CASE(name) { #name, name }
		CASE(lines),
		CASE(blocks),
		CASE(vectors),
		CASE(drops),
	};
	size_t i;

	fcntl(1, F_SETFL, O_NONBLOCK);
	fcntl(1, F_SETPIPE_SZ, 4096);
	for (i = 0; argc > 1 && i < sizeof(cases) / sizeof(cases[0]); i++) {
		if (strcmp(cases[i].name, argv[1]) == 0) {
			cases[i].run();
			return 0;
		}
	}
	errx(2, "no such case");
}

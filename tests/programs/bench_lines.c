/*
 * A program that does little but log: what a line costs, bare and preloaded.
 *
 * Lines go to stdout; the measurement goes to descriptor 3, because stdout and stderr are what is measured. The clock is
 * the processor time of the process (user and system): the other end of a pipe and the neighbours on the machine are not
 * in it.
 *
 * Usage: bench_lines write LINES [BYTES a line]             one write(2) a line
 *        bench_lines printf LINES [BYTES a line [BUFFER]]   one printf a line, block-buffered; BUFFER: bytes, else stdio's
 *        bench_lines bulk BYTES [BYTES a line]              64 KiB blocks of long lines
 * Prints to descriptor 3: "<nanoseconds of processor time> <lines> <bytes>".
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define LINE_MAX_BYTES 32768
#define BLOCK_BYTES 65536

static char line[LINE_MAX_BYTES + 1];
static char block[BLOCK_BYTES];

static uint64_t cpu_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
	return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

static void write_all(const char *bytes, size_t len)
{
	while (len > 0) {
		ssize_t n = write(STDOUT_FILENO, bytes, len);

		if (n < 0) {
			perror("bench_lines: write");
			exit(1);
		}
		bytes += n;
		len -= (size_t)n;
	}
}

/* A line of ordinary words, `len` bytes with its newline. */
static void fill_line(char *out, size_t len)
{
	static const char words[] = "INFO the order was accepted and is on its way to the customer; ";

	for (size_t i = 0; i < len; i++)
		out[i] = words[i % (sizeof(words) - 1)];
	out[len - 1] = '\n';
	out[len] = '\0';
}

static uint64_t run_printf(uint64_t lines)
{
	for (uint64_t i = 0; i < lines; i++)
		printf("%07llu %s", (unsigned long long)(i % 10000000), line);
	fflush(stdout);
	return lines;
}

static uint64_t run_write(uint64_t lines, size_t len)
{
	for (uint64_t i = 0; i < lines; i++)
		write_all(line, len);
	return lines;
}

/* Whole lines only: what is left of the block after the last whole line is not written. */
static uint64_t run_bulk(uint64_t bytes, size_t len)
{
	size_t per_block = BLOCK_BYTES / len, used = per_block * len;
	uint64_t lines = 0;

	for (size_t i = 0; i < per_block; i++)
		memcpy(block + i * len, line, len);
	for (uint64_t done = 0; done < bytes; done += used) {
		write_all(block, used);
		lines += per_block;
	}
	return lines;
}

int main(int argc, char **argv)
{
	const char *mode = argc > 1 ? argv[1] : "";
	uint64_t amount = argc > 2 ? strtoull(argv[2], NULL, 10) : 0, lines, start;
	size_t len = argc > 3 ? strtoul(argv[3], NULL, 10) : 80;
	size_t buffer = argc > 4 ? strtoul(argv[4], NULL, 10) : 0;
	size_t number = strcmp(mode, "printf") == 0 ? 8 : 0; /* "%07llu " */

	if (amount == 0 || len < 16 || len > LINE_MAX_BYTES) {
		fprintf(stderr, "usage: bench_lines printf|write|bulk AMOUNT [BYTES a line, 16 to %d [BUFFER]]\n",
		        LINE_MAX_BYTES);
		return 2;
	}
	fill_line(line, len - number);
	if (buffer > 0)
		setvbuf(stdout, NULL, _IOFBF, buffer);
	start = cpu_ns();
	if (number)
		lines = run_printf(amount);
	else if (strcmp(mode, "write") == 0)
		lines = run_write(amount, len);
	else
		lines = run_bulk(amount, len);
	dprintf(3, "%llu %llu %llu\n", (unsigned long long)(cpu_ns() - start), (unsigned long long)lines,
	        (unsigned long long)(lines * len));
	return 0;
}

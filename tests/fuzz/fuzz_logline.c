/*
 * A program that writes any bytes in any pieces under two keys to a log whose writes are short or fail as the input says:
 * what arrives are whole records whose messages, per key, are the program's bytes.
 *
 * The input is a list of steps: one byte {bit 0: key, bit 1: two iovecs, bits 2..4: what the next writes of the log do},
 * one byte length, then so many bytes.
 */
#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "fuzz.h"
#include "logline.h"
#include "os.h"

#define CAP (1u << 22)

/* Each line is a record of some 150 bytes beside its own: repeating stops when there are so many. */
#define LINES_MAX 4000

static char arrived[CAP], wanted[2][CAP], got[2][CAP];
static size_t arrived_len, wanted_len[2], got_len[2];
static unsigned lines;
static unsigned trouble; /* the next writes fail or are short by this pattern, two bits a write */

static ssize_t bad_write(int fd, const void *buf, size_t len)
{
	unsigned now = trouble & 3;

	(void)fd;
	trouble >>= 2;
	if (now == 2) {
		errno = EAGAIN;
		return -1;
	}
	if (now == 3) {
		errno = EINTR;
		return -1;
	}
	if (now == 1)
		len = (len + 2) / 3;
	CHECK(arrived_len + len < CAP);
	memcpy(arrived + arrived_len, buf, len);
	arrived_len += len;
	return (ssize_t)len;
}

static int fd_of(unsigned file)
{
	return file == 0 ? 5 : -1;
}

/* Write all of it, as a program does that comes back with what was not taken. Keys are told apart by their stream. */
static void write_all(unsigned key, bool two, const char *bytes, size_t len)
{
	unsigned tries = 0;

	while (len) {
		size_t first = two ? len / 2 : len;
		struct iovec iov[2] = { { (void *)(uintptr_t)bytes, first },
			                { (void *)(uintptr_t)(bytes + first), len - first } };
		struct logline_segment segment = { .len = len, .request = NULL };
		ssize_t n = logline_write(0, key ? RECORD_STDERR : RECORD_STDOUT, 5, key + 1, iov, two ? 2 : 1, len,
		                          &segment, 1);

		CHECK(n == -1 || (n > 0 && (size_t)n <= len));
		CHECK(n > 0 || errno == EAGAIN || errno == EINTR);
		CHECK(++tries < 100);
		if (n > 0) {
			bytes += n;
			len -= (size_t)n;
		}
	}
}

/* One record back into the bytes of its key; objects came through as they were, and do not tell their key. */
static void undo(const char *record, const char *newline)
{
	const char *p;
	unsigned key;

	CHECK(newline - record > 20 && strncmp(record, "{\"timestamp\":\"", 14) == 0);
	/* Not strstr: under ASan it measures all that arrived, for every record. */
	p = memmem(record, (size_t)(newline - record), "\"message\":\"", 11);
	CHECK(p);
	p += 11;
	key = memmem(p, (size_t)(newline - p), "\",\"service\":\"f\",\"pid\":", 22) &&
	      memmem(p, (size_t)(newline - p), "\"stream\":\"stderr\"", 17);
	while (*p != '"')
		got[key][got_len[key]++] = fuzz_unescape(&p);
	if (memcmp(newline - 16, ",\"partial\":true}", 16) != 0)
		got[key][got_len[key]++] = '\n';
}

static void run(const uint8_t *data, size_t size)
{
	while (size >= 2) {
		unsigned key = data[0] & 1;
		size_t len = data[1], i, from = wanted_len[key];
		unsigned ends = 0;

		trouble = (data[0] >> 2 & 7) * 0x9u;
		size -= 2;
		if (len > size)
			len = size;
		for (i = 0; i < len; i++) {
			char byte = (char)data[2 + i];

			/* Lines that are objects, and '\r' in front of '\n', are the unit tests' matter: they are no messages. */
			ends += byte == '\n';
			wanted[key][wanted_len[key]++] = byte == '\r' ? '.' : byte == '{' ? '(' : byte;
		}
		/* One byte in 16 repeats what it wrote, up to a line that must be cut; not often, it is slow. */
		for (i = 0; (data[0] >> 4) == 15 && i < 100 && len && wanted_len[key] < 3 * LIMIT_LOG_LINE &&
		            lines < LINES_MAX;
		     i++) {
			lines += ends;
			memcpy(wanted[key] + wanted_len[key], wanted[key] + from, len);
			wanted_len[key] += len;
		}
		write_all(key, data[0] & 2, wanted[key] + from, wanted_len[key] - from);
		data += 2 + len;
		size -= len;
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const char *p, *newline;
	unsigned key;

	if (size > 4096)
		return 0;
	if (os.write != bad_write) {
		os.write = bad_write;
		config.log_mode = LOG_JSON;
		config.service.text = "f";
		config.service.len = 1;
		record_init();
	}
	logline_after_fork();
	arrived_len = 0;
	lines = 0;
	memset(wanted_len, 0, sizeof(wanted_len));
	memset(got_len, 0, sizeof(got_len));
	run(data, size);
	trouble = 0;
	logline_flush_all(fd_of);
	arrived[arrived_len] = '\0';
	for (p = arrived; p < arrived + arrived_len; p = newline + 1) {
		newline = memchr(p, '\n', (size_t)(arrived + arrived_len - p));
		CHECK(newline);
		undo(p, newline);
	}
	for (key = 0; key < 2; key++)
		CHECK(got_len[key] == wanted_len[key] && memcmp(got[key], wanted[key], got_len[key]) == 0);
	return 0;
}

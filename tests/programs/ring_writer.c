/*
 * A guest for the agent's tests that leaves spans and lines in a ring as shim/ring_format.h says, and knows what it left.
 *
 *   ring_writer FOLDER [spans=N] [lines=N] [capacity=BYTES] [service=NAME] [end=exit|kill|stay|mark] [full=wait|drop]
 *               [first=N] [status=N] [held=1] [trace=N] [ms=N] [mark=TEXT]
 *
 * Span i (from `first`) has the trace id whose last 8 bytes are i, and is followed by its line. `exit` is a process that ends without a word,
 * `mark` one that says so in the ring, `stay` waits for the end of standard input. held=1 leaves the last span as a process does that
 * is killed inside of write. trace=N: all are of that trace, and span i is below span i-1; ms=N: each took so long; mark=TEXT is in each
 * path and line. Prints what it wrote: "SPANS LINES DROPPED".
 */
#include <fcntl.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "../../shim/ring_format.h"

static struct ring_header *header;
static uint8_t *area;
static unsigned long dropped;
static bool wait_when_full = true;
static unsigned long trace, ms;
static const char *mark = "";

static uint64_t now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_REALTIME, &t);
	return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static uint64_t start_ticks(void)
{
	unsigned long long ticks = 0;
	char stat[1024], *at;
	FILE *file = fopen("/proc/self/stat", "r");

	stat[fread(stat, 1, sizeof(stat) - 1, file)] = '\0';
	fclose(file);
	at = strrchr(stat, ')') + 2;
	for (int field = 3; field < 22; field++)
		at = strchr(at, ' ') + 1;
	sscanf(at, "%llu", &ticks);
	return ticks;
}

static void make_ring(const char *folder, uint32_t capacity, const char *service)
{
	char name[512], hidden[512];
	uint64_t ticks = start_ticks();
	size_t size = RING_HEADER_SIZE + (size_t)capacity;
	int fd;

	snprintf(hidden, sizeof(hidden), "%s/.%d", folder, (int)getpid());
	snprintf(name, sizeof(name), "%s/%d-%llu-0" RING_SUFFIX, folder, (int)getpid(), (unsigned long long)ticks);
	fd = open(hidden, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	if (fd < 0 || posix_fallocate(fd, 0, (off_t)size) != 0) {
		perror(hidden);
		exit(1);
	}
	header = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	area = (uint8_t *)header + RING_HEADER_SIZE;
	header->header_size = RING_HEADER_SIZE;
	header->capacity = capacity;
	header->pid = getpid();
	header->uid = getuid();
	header->start_ticks = ticks;
	header->made_ns = now();
	strcpy(header->version, "0.1.0");
	strcpy(header->program, "ring_writer");
	snprintf(header->service, sizeof(header->service), "%s", service);
	strcpy(header->host, "testhost");
	strcpy(header->resource, "deployment.environment.name=test,team=a%20b");
	memcpy(header->magic, RING_MAGIC, sizeof(header->magic));
	close(fd);
	rename(hidden, name);
}

/* Room for an entry of this size; NULL when it was dropped. `end` is where head goes behind it. */
static void *entry_begin(size_t size, uint64_t *end)
{
	uint64_t head = header->head, mask = header->capacity - 1, rest;

	size = (size + RING_ALIGN - 1) & ~(size_t)(RING_ALIGN - 1);
	rest = header->capacity - (head & mask);
	while (head + size + (rest < size ? rest : 0) - __atomic_load_n(&header->tail, __ATOMIC_ACQUIRE) >
	       header->capacity) {
		if (!wait_when_full) {
			dropped++;
			return NULL;
		}
		usleep(200);
	}
	if (rest < size) {
		struct ring_entry pad = { .size = (uint32_t)rest, .kind = RING_PAD, .fixed = sizeof(pad) };

		if (rest >= sizeof(pad))
			memcpy(area + (head & mask), &pad, sizeof(pad));
		head += rest;
	}
	*end = head + size;
	memset(area + (head & mask), 0, size);
	((struct ring_entry *)(area + (head & mask)))->size = (uint32_t)size;
	return area + (head & mask);
}

static void put_id(uint8_t *id, size_t len, uint64_t number)
{
	for (size_t i = 0; i < 8; i++)
		id[len - 1 - i] = (uint8_t)(number >> 8 * i);
}

static bool put_span(uint64_t i, unsigned status, bool held)
{
	char target[600];
	const char *texts[RING_TEXT_COUNT] = { "", target, "shop.test:8080", "test/1.0", "", "/item/{id}", "" };
	size_t size = sizeof(struct ring_span), at = size;
	struct ring_span *span;
	uint64_t end;

	snprintf(target, sizeof(target), "/item/%llu%.500s?sig=secret&n=%llu", (unsigned long long)i, mark,
	         (unsigned long long)i);
	for (unsigned t = 0; t < RING_TEXT_COUNT; t++)
		size += strlen(texts[t]);
	span = entry_begin(size, &end);
	if (!span)
		return false;
	span->entry.kind = RING_SPAN;
	span->entry.fixed = sizeof(*span);
	span->end_ns = now();
	span->start_ns = span->end_ns - (ms ? ms * 1000000 : 1500000);
	span->first_byte_ns = span->end_ns - 500000;
	span->bytes_in = 300;
	span->bytes_out = 2000;
	put_id(span->trace_id, 16, trace ? trace : i);
	span->trace_id[0] = 0xab;
	put_id(span->span_id, 8, i + 1);
	if (trace && i > 1)
		put_id(span->parent_id, 8, i);
	span->flags = RING_FLAG_SAMPLED | RING_FLAG_PEER;
	span->tid = (uint32_t)getpid();
	span->status = (uint16_t)status;
	span->span_kind = RING_SPAN_SERVER;
	span->method = RING_METHOD_GET;
	span->version = 11;
	span->peer_port = 40000;
	memcpy(span->peer, "\x7f\0\0\1", 4);
	for (unsigned t = 0; t < RING_TEXT_COUNT; t++) {
		span->text[t] = (uint16_t)strlen(texts[t]);
		memcpy((char *)span + at, texts[t], strlen(texts[t]));
		at += strlen(texts[t]);
	}
	__atomic_store_n(held ? &header->held : &header->head, end, __ATOMIC_RELEASE);
	return true;
}

static bool put_line(uint64_t i)
{
	struct ring_line *line;
	char text[700];
	uint64_t end;

	snprintf(text, sizeof(text), "item %llu: \"looked\" at\tit%.500s", (unsigned long long)i, mark);
	line = entry_begin(sizeof(*line) + strlen(text), &end);
	if (!line)
		return false;
	line->entry.kind = RING_LINE;
	line->entry.fixed = sizeof(*line);
	line->time_ns = now() - (ms ? ms - 1 : 1) * 1000000; /* behind its span's start */
	put_id(line->trace_id, 16, trace ? trace : i);
	line->trace_id[0] = 0xab;
	put_id(line->span_id, 8, i + 1);
	line->tid = (uint32_t)getpid();
	line->len = (uint32_t)strlen(text);
	line->stream = 1;
	line->severity = 9;
	line->flags = RING_FLAG_SAMPLED;
	memcpy(line + 1, text, strlen(text));
	__atomic_store_n(&header->head, end, __ATOMIC_RELEASE);
	return true;
}

static const char *option(int argc, char **argv, const char *name, const char *otherwise)
{
	size_t len = strlen(name);

	for (int i = 2; i < argc; i++)
		if (strncmp(argv[i], name, len) == 0 && argv[i][len] == '=')
			return argv[i] + len + 1;
	return otherwise;
}

int main(int argc, char **argv)
{
	unsigned long spans, lines, first, span_count = 0, line_count = 0;
	const char *end;
	char byte;

	if (argc < 2)
		return 2;
	spans = strtoul(option(argc, argv, "spans", "1"), NULL, 10);
	lines = strtoul(option(argc, argv, "lines", "0"), NULL, 10);
	first = strtoul(option(argc, argv, "first", "1"), NULL, 10);
	trace = strtoul(option(argc, argv, "trace", "0"), NULL, 10);
	ms = strtoul(option(argc, argv, "ms", "0"), NULL, 10);
	mark = option(argc, argv, "mark", "");
	end = option(argc, argv, "end", "exit");
	wait_when_full = strcmp(option(argc, argv, "full", "wait"), "wait") == 0;
	make_ring(argv[1], (uint32_t)strtoul(option(argc, argv, "capacity", "1048576"), NULL, 10),
	          option(argc, argv, "service", "writer"));
	for (unsigned long i = 0; i < spans || i < lines; i++) {
		bool held = i + 1 == spans && *option(argc, argv, "held", "0") == '1';

		if (i < spans)
			span_count += put_span(first + i,
			                       (unsigned)strtoul(option(argc, argv, "status", "200"), NULL, 10), held);
		if (i < lines)
			line_count += put_line(first + i);
	}
	header->spans_dropped = dropped;
	printf("%lu %lu %lu\n", span_count, line_count, dropped);
	fflush(stdout);
	if (strcmp(end, "kill") == 0)
		raise(SIGKILL);
	while (strcmp(end, "stay") == 0 && read(STDIN_FILENO, &byte, 1) > 0)
		;
	if (strcmp(end, "mark") == 0)
		__atomic_store_n(&header->ended, 1, __ATOMIC_RELEASE);
	_exit(0);
}

/*
 * What test_span and test_span_ways share: a folder for rings, and the spans that are in this thread's.
 */
#ifndef SPAN_FIXTURE_H
#define SPAN_FIXTURE_H

#include <dirent.h>
#include <sys/mman.h>

#include "core_fixture.h"
#include "ring.h"
#include "span.h"

static char dir[64];
static struct ring_header *ring;

/* Every test begins with this, and ends with the_end. */
static inline void exporting(void)
{
	snprintf(dir, sizeof(dir), "/tmp/span.XXXXXX");
	CHECK(mkdtemp(dir) != NULL);
	config.run_dir = (struct config_name){ dir, (uint16_t)strlen(dir) };
	config.service = CORE_NAME("svc");
	config.ring_size = RING_CAPACITY_MIN;
	config.export_traces = true;
	os.open = open;
	os.read = read;
	os.write = write;
	os.close = close;
	current_watch_threads(io_end_thread);
	current_notice_thread();
	ring = NULL;
}

static inline void look(void)
{
	struct dirent *file;
	char path[512];
	DIR *folder;

	if (ring != NULL)
		return;
	folder = opendir(dir);
	while ((file = readdir(folder)) != NULL) {
		if (strstr(file->d_name, RING_SUFFIX) != NULL) {
			int fd;

			CHECK(ring == NULL);
			snprintf(path, sizeof(path), "%s/%s", dir, file->d_name);
			fd = open(path, O_RDWR);
			ring = mmap(NULL, RING_HEADER_SIZE + config.ring_size, PROT_READ | PROT_WRITE, MAP_SHARED, fd,
			            0);
			CHECK(ring != MAP_FAILED);
			close(fd);
		}
	}
	closedir(folder);
}

/* The next span; NULL: there is none. `until` is the ring's head, or what is held. */
static inline const struct ring_span *pull_until(uint64_t until)
{
	const struct ring_span *span;

	for (;;) {
		uint64_t at;

		if (ring == NULL || ring->tail >= until)
			return NULL;
		at = ring->tail & (ring->capacity - 1);
		span = (const struct ring_span *)(const void *)((char *)ring + RING_HEADER_SIZE + at);
		if (ring->capacity - at >= sizeof(struct ring_entry) && span->entry.kind != RING_PAD)
			break;
		ring->tail += ring->capacity - at;
	}
	CHECK_INT(span->entry.kind, RING_SPAN);
	CHECK_INT(span->entry.fixed, sizeof(*span));
	ring->tail += span->entry.size;
	CHECK(span->start_ns > 0 && span->end_ns >= span->start_ns);
	CHECK(span->first_byte_ns == 0 ||
	      (span->first_byte_ns >= span->start_ns && span->first_byte_ns <= span->end_ns));
	return span;
}

static inline const struct ring_span *pull(void)
{
	look();
	return pull_until(ring != NULL ? ring->head : 0);
}

static inline void the_end(void)
{
	char command[128];

	CHECK(pull() == NULL);
	ring_end_process();
	snprintf(command, sizeof(command), "rm -r %s", dir);
	CHECK_INT(system(command), 0);
}

#endif

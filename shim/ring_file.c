/*
 * Making a ring's file; see ring_file.h.
 *
 * It is made under a name that the agent does not look at, with all its blocks (a full disk shows up here, and not as
 * SIGBUS later), filled, mapped, closed, and only then linked to its name: the agent sees it whole or not at all. Numbers
 * go on where an earlier program of this very process left off: what that one had to say may not be fetched yet.
 *
 * Memory: the mapping. Callers: as for rings; whoever has the lock of the place that the ring is for.
 */
#include "ring_file.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "config.h"
#include "counters.h"
#include "os.h"
#include "run_files.h"

/* What fails once (a full disk, no folder) is tried again, as servers live long, but not with every span. */
#define RETRY_MS 2000

/* Files that a process makes, and finds there from the program that it was before exec. */
#define NUMBERS_TRIED 4096

static void copy_text(char *to, size_t room, const char *from, size_t len)
{
	if (len >= room)
		len = room - 1;
	if (len > 0)
		memcpy(to, from, len);
	to[len] = '\0';
}

static void fill_header(struct ring_header *map, uint32_t capacity, uint64_t start_ticks)
{
	uint64_t magic;

	map->header_size = RING_HEADER_SIZE;
	map->capacity = capacity;
	map->pid = os_pid();
	map->uid = os_euid();
	map->start_ticks = start_ticks;
	map->made_ns = os_realtime_ns();
	copy_text(map->version, sizeof(map->version), TRACESHIM_VERSION, strlen(TRACESHIM_VERSION));
	copy_text(map->program, sizeof(map->program), counters_program(), strlen(counters_program()));
	copy_text(map->service, sizeof(map->service), config.service.text, config.service.len);
	os_host_name(map->resource); /* by way of the longest text: it may be longer than its place */
	copy_text(map->host, sizeof(map->host), map->resource, strlen(map->resource));
	memset(map->resource, 0, sizeof(map->host) + 1);
	if (config.resource.len < sizeof(map->resource))
		copy_text(map->resource, sizeof(map->resource), config.resource.text, config.resource.len);
	memcpy(&magic, RING_MAGIC, sizeof(magic));
	__atomic_store_n((uint64_t *)(void *)map->magic, magic, __ATOMIC_RELEASE);
}

/* All blocks, so that writing to the mapping cannot fail. Where the file system has no such call, by writing them. */
static bool reserve_blocks(int fd, uint64_t len)
{
	static const char zeros[512];
	long result = os_allocate(fd, len);
	uint64_t done;

	if (result != -EOPNOTSUPP && result != -ENOSYS)
		return result == 0;
	for (done = 0; done < len; done += sizeof(zeros))
		if (os.write(fd, zeros, sizeof(zeros)) != (ssize_t)sizeof(zeros))
			return false;
	return true;
}

static __attribute__((cold)) __attribute__((noinline)) struct ring_header *map_file(const char *path, uint32_t capacity,
                                                                                    uint64_t start_ticks)
{
	size_t len = RING_HEADER_SIZE + (size_t)capacity;
	struct ring_header *map = MAP_FAILED;
	int fd;

	if (os_file_limit() < len) { /* a file of that size would raise SIGXFSZ */
		errno = EFBIG;
		return NULL;
	}
	fd = run_files_make(path, 0600);
	if (fd < 0)
		return NULL;
	if (reserve_blocks(fd, len))
		map = mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	os.close(fd);
	if (map == MAP_FAILED) {
		(void)unlink(path);
		return NULL;
	}
	fill_header(map, capacity, start_ticks);
	return map;
}

/* The file under its name, which was nobody's. NULL: errno EEXIST: another number may do. */
static __attribute__((cold)) __attribute__((noinline)) struct ring_header *make_file(uint64_t start_ticks,
                                                                                     uint32_t number, uint32_t capacity)
{
	char path[RUN_PATH_ROOM], name[RUN_PATH_ROOM];
	struct ring_header *map;
	size_t len = run_files_path(path);

	if (len == 0) {
		errno = ENOENT;
		return NULL;
	}
	len = run_files_number(path, len, (uint32_t)os_pid());
	path[len++] = '-';
	len = run_files_number(path, len, start_ticks);
	path[len++] = '-';
	len = run_files_number(path, len, number);
	memcpy(path + len, RING_SUFFIX, sizeof(RING_SUFFIX));
	memcpy(name, path, len + sizeof(RING_SUFFIX));
	memcpy(path + len, ".new", sizeof(".new"));
	map = map_file(path, capacity, start_ticks);
	if (map != NULL) {
		long result = os_link(path, name);

		(void)unlink(path);
		if (result != 0) {
			(void)os_unmap(map, RING_HEADER_SIZE + (size_t)capacity);
			errno = (int)-result;
			map = NULL;
		}
	}
	return map;
}

__attribute__((cold)) __attribute__((noinline)) struct ring_header *ring_file_make(struct ring_files *all,
                                                                                   uint32_t capacity)
{
	uint64_t retry = __atomic_load_n(&all->retry_ms, __ATOMIC_RELAXED), start_ticks;
	struct ring_header *map = NULL;
	int tries;

	if (retry != 0 && os_monotonic_ms() < retry)
		return NULL;
	start_ticks = __atomic_load_n(&all->start_ticks, __ATOMIC_RELAXED);
	if (start_ticks == 0) { /* two threads at once read the same */
		start_ticks = run_files_start_ticks();
		__atomic_store_n(&all->start_ticks, start_ticks, __ATOMIC_RELAXED);
	}
	for (tries = 0; map == NULL && tries < NUMBERS_TRIED; tries++) {
		map = make_file(start_ticks, __atomic_fetch_add(&all->number, 1, __ATOMIC_RELAXED), capacity);
		if (map == NULL && errno != EEXIST)
			break;
	}
	if (map == NULL)
		__atomic_store_n(&all->retry_ms, os_monotonic_ms() + RETRY_MS, __ATOMIC_RELAXED);
	return map;
}

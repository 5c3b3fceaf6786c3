/*
 * Rings, from both sides: the module writes, and a reader of this test's own, which knows ring_format.h only, reads.
 *
 * long: a test for each edge of a ring, from one reader.
 */
#include <dirent.h>
#include <pthread.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include "core_fixture.h"
#include "ring.h"

static char dir[64];

static void in_folder(uint32_t size)
{
	snprintf(dir, sizeof(dir), "/tmp/ring.XXXXXX");
	CHECK(mkdtemp(dir) != NULL);
	config.run_dir = (struct config_name){ dir, (uint16_t)strlen(dir) };
	config.service = CORE_NAME("svc");
	config.resource = CORE_NAME("a=b");
	config.ring_size = size;
	os.open = open;
	os.read = read;
	os.write = write;
	os.close = close;
	current_watch_threads(io_end_thread);
}

static void remove_folder(void)
{
	char path[512];
	struct dirent *file;
	DIR *folder;

	(void)chmod(dir, 0700);
	folder = opendir(dir);
	CHECK(folder != NULL);
	while ((file = readdir(folder)) != NULL) {
		snprintf(path, sizeof(path), "%s/%s", dir, file->d_name);
		(void)unlink(path);
	}
	closedir(folder);
	CHECK_INT(rmdir(dir), 0);
}

static int count_files(const char *suffix)
{
	struct dirent *file;
	DIR *folder = opendir(dir);
	int n = 0;

	CHECK(folder != NULL);
	while ((file = readdir(folder)) != NULL) {
		size_t len = strlen(file->d_name);

		n += len > strlen(suffix) && strcmp(file->d_name + len - strlen(suffix), suffix) == 0;
	}
	closedir(folder);
	return n;
}

static struct ring_header *map_path(const char *path)
{
	int fd = open(path, O_RDWR | O_NOFOLLOW);
	struct stat st;
	struct ring_header *map;

	CHECK(fd >= 0);
	CHECK_INT(fstat(fd, &st), 0);
	CHECK_INT(st.st_mode & 0777, 0600);
	map = mmap(NULL, (size_t)st.st_size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	CHECK(map != MAP_FAILED);
	close(fd);
	CHECK(memcmp(map->magic, RING_MAGIC, 8) == 0);
	CHECK_INT(st.st_size, RING_HEADER_SIZE + map->capacity);
	CHECK(map->ended || st.st_blocks * 512 >= st.st_size); /* what is written to has its blocks */
	return map;
}

/* The path of the ring of this number; false when there is none. */
static bool find_ring(unsigned number, char *path, size_t room)
{
	char wanted[64];
	struct dirent *file;
	DIR *folder = opendir(dir);
	bool found = false;

	snprintf(wanted, sizeof(wanted), "-%u" RING_SUFFIX, number);
	while (!found && (file = readdir(folder)) != NULL) {
		size_t len = strlen(file->d_name);

		found = len > strlen(wanted) && strcmp(file->d_name + len - strlen(wanted), wanted) == 0;
		if (found)
			snprintf(path, room, "%s/%s", dir, file->d_name);
	}
	closedir(folder);
	return found;
}

/* The ring with this number. */
static struct ring_header *map_ring(unsigned number)
{
	char path[600];

	return find_ring(number, path, sizeof(path)) ? map_path(path) : NULL;
}

static bool push(size_t payload, uint64_t value)
{
	struct ring_entry_place place;
	struct ring_entry *entry = ring_begin(&place, RING_LINE, sizeof(*entry), sizeof(*entry) + payload);

	if (entry == NULL)
		return false;
	for (size_t i = 0; i + sizeof(value) <= payload; i += sizeof(value))
		memcpy((char *)(entry + 1) + i, &value, sizeof(value));
	ring_publish(&place);
	return true;
}

/* The next entry's first and last word, which agree; 0: there is none. Moves the tail. */
static uint64_t pull_until(struct ring_header *map, uint64_t head)
{
	const char *area = (const char *)map + RING_HEADER_SIZE;

	while (map->tail < head) {
		uint64_t at = map->tail & (map->capacity - 1), left = map->capacity - at, first = 1, last = 1;
		const struct ring_entry *entry = (const struct ring_entry *)(const void *)(area + at);
		uint64_t size = left < sizeof(*entry) ? left : entry->size;
		bool pad = left < sizeof(*entry) || entry->kind == RING_PAD;

		CHECK(size >= (pad ? 0 : sizeof(*entry)) && size <= left && size % RING_ALIGN == 0);
		CHECK(map->tail + size <= head);
		if (pad)
			CHECK_INT(size, left);
		else
			CHECK_INT(entry->kind, RING_LINE);
		if (!pad && size > sizeof(*entry)) {
			memcpy(&first, entry + 1, sizeof(first));
			memcpy(&last, (const char *)entry + size - sizeof(last), sizeof(last));
			CHECK_INT(first, last);
		}
		__atomic_store_n(&map->tail, map->tail + size, __ATOMIC_RELEASE);
		if (!pad)
			return first;
	}
	return 0;
}

static uint64_t pull(struct ring_header *map)
{
	return pull_until(map, __atomic_load_n(&map->head, __ATOMIC_ACQUIRE));
}

static uint64_t count_all(struct ring_header *map)
{
	uint64_t n = 0;

	while (pull(map) != 0)
		n++;
	return n;
}

CORE_TEST(nothing_is_made_before_the_first_entry_and_then_a_whole_private_file)
{
	struct ring_header *map;
	int fd;

	in_folder(RING_CAPACITY_MIN);
	counters_describe("guest", "prog", "svc");
	CHECK_INT(count_files(""), 0 + 2); /* . and .. */
	CHECK(push(16, 7));
	CHECK_INT(count_files(RING_SUFFIX), 1);
	CHECK_INT(count_files(".new"), 0);
	map = map_ring(0);
	CHECK_INT(map->header_size, RING_HEADER_SIZE);
	CHECK_INT(map->capacity, RING_CAPACITY_MIN);
	CHECK_INT(map->pid, getpid());
	CHECK_INT(map->uid, geteuid());
	CHECK(map->start_ticks > 0 && map->made_ns > 0);
	CHECK(strcmp(map->program, "prog") == 0 && strcmp(map->service, "svc") == 0);
	CHECK(strcmp(map->resource, "a=b") == 0 && strcmp(map->version, TRACESHIM_VERSION) == 0);
	CHECK(map->host[0] != '\0');
	CHECK_INT(map->ended, 0);
	CHECK_INT(pull(map), 7);
	CHECK_INT(pull(map), 0);
	for (fd = 3; fd < 64; fd++) /* none of ours is open: the next one is the lowest */
		if (fcntl(fd, F_GETFD) < 0)
			break;
	CHECK_INT(open("/dev/null", O_RDONLY), fd);
	remove_folder();
}

CORE_TEST(entries_of_every_size_come_out_as_they_went_in_round_and_round)
{
	struct ring_header *map = NULL;
	uint64_t value = 0, expected = 0;

	in_folder(RING_CAPACITY_MIN);
	for (size_t round = 0; round < 40; round++) {
		for (size_t payload = 8; payload <= RING_ENTRY_MAX - sizeof(struct ring_entry);
		     payload += 8 * (round + 97)) {
			CHECK(push(payload, ++value));
			if (map == NULL)
				map = map_ring(0);
			while (map->head - map->tail > 16000)
				CHECK_INT(pull(map), ++expected);
		}
	}
	while (expected < value)
		CHECK_INT(pull(map), ++expected);
	CHECK(map->head > 20u * RING_CAPACITY_MIN);
	CHECK_INT(map->lines_dropped, 0);
	CHECK(!push(RING_ENTRY_MAX, 1)); /* too large for any ring */
	CHECK_INT(counters_get(line_exports_lost), 1);
	remove_folder();
}

CORE_TEST(every_place_at_which_the_area_can_end_is_passed)
{
	/* What is left behind the last whole entry: nothing, less than an entry's header, or a pad. */
	for (size_t first = 8; first <= 64; first += 8) {
		struct ring_header *map = NULL;
		uint64_t value = 0, expected = 0;

		in_folder(RING_CAPACITY_MIN);
		CHECK(push(first, ++value));
		map = map_ring(0);
		while (value < 5000) {
			CHECK(push(64, ++value));
			CHECK_INT(pull(map), ++expected);
		}
		CHECK_INT(pull(map), ++expected);
		CHECK_INT(map->head, map->tail);
		ring_end_process();
		remove_folder();
		ring_after_fork();
	}
}

CORE_TEST(a_full_ring_refuses_the_newest_and_counts_it)
{
	struct ring_header *map;
	uint64_t n = 0;

	in_folder(RING_CAPACITY_MIN);
	while (push(96, n + 1))
		n++;
	CHECK_INT(n, RING_CAPACITY_MIN / (96 + sizeof(struct ring_entry)));
	map = map_ring(0);
	CHECK(!push(96, 99999));
	CHECK_INT(map->lines_dropped, 2);
	CHECK_INT(counters_get(line_exports_lost), 2);
	CHECK_INT(pull(map), 1);
	while (push(96, 1000000))
		;
	CHECK_INT(pull(map), 2);
	for (uint64_t i = 3; i <= n; i++)
		CHECK_INT(pull(map), i);
	CHECK(count_all(map) > 0);
	remove_folder();
}

CORE_TEST(positions_of_a_reader_that_cannot_be_make_a_full_ring_and_no_harm)
{
	static const uint64_t wrong[] = { 1ull << 63, UINT64_MAX, 500000, 1 };
	struct ring_header *map;

	in_folder(RING_CAPACITY_MIN);
	CHECK(push(96, 1));
	map = map_ring(0);
	for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
		uint64_t n = 0;

		map->tail = wrong[i];
		map->head = wrong[i]; /* and what it makes of our own words */
		map->capacity = 8;
		while (n < 10000 && push(96, 5))
			n++;
		CHECK(n <= RING_CAPACITY_MIN / 96);
	}
	remove_folder();
}

CORE_TEST(what_is_held_counts_when_it_is_kept_or_when_the_process_is_dead)
{
	struct ring_entry_place place;
	struct ring_entry *entry;
	struct ring_patch patch = { sizeof(*entry), 77 };
	struct ring_header *map;
	uint64_t ticket;

	in_folder(RING_CAPACITY_MIN);
	CHECK(push(8, 1));
	map = map_ring(0);
	entry = ring_begin(&place, RING_LINE, sizeof(*entry), sizeof(*entry) + 8);
	memcpy(entry + 1, &(uint64_t){ 2 }, 8);
	ticket = ring_hold(&place);
	CHECK(ticket != 0);
	CHECK_INT(pull(map), 1);
	CHECK_INT(pull(map), 0); /* not for the living */
	CHECK(map->held > map->head);
	CHECK(ring_settle(ticket, &patch, 1, true));
	CHECK(!ring_settle(ticket, &patch, 1, true));
	CHECK_INT(pull(map), 77);
	CHECK_INT(map->held, map->head);
	remove_folder();
}

CORE_TEST(what_is_held_and_not_kept_leaves_nothing_behind)
{
	struct ring_entry_place place;
	struct ring_header *map;
	uint64_t ticket;

	in_folder(RING_CAPACITY_MIN);
	CHECK(push(8, 1));
	map = map_ring(0);
	CHECK(ring_begin(&place, RING_LINE, sizeof(struct ring_entry), sizeof(struct ring_entry)) != NULL);
	ticket = ring_hold(&place);
	ring_drop_held();
	CHECK(map->held <= map->head);
	CHECK(!ring_settle(ticket, NULL, 0, true));
	CHECK(ring_begin(&place, RING_LINE, sizeof(struct ring_entry), sizeof(struct ring_entry)) != NULL);
	ticket = ring_hold(&place);
	CHECK(push(8, 2)); /* takes its place */
	CHECK(map->held <= map->head);
	CHECK(!ring_settle(ticket, NULL, 0, true));
	CHECK_INT(pull(map), 1);
	CHECK_INT(pull(map), 2);
	CHECK_INT(pull(map), 0);
	remove_folder();
}

/* At the very end of the area, where a held entry has a pad before it. */
CORE_TEST(what_is_held_across_the_end_of_the_area_is_read_of_a_dead_process)
{
	struct ring_entry_place place;
	struct ring_entry *entry;
	struct ring_header *map;

	in_folder(RING_CAPACITY_MIN);
	CHECK(push(8, 1));
	map = map_ring(0);
	while ((map->head & (map->capacity - 1)) < map->capacity - 64) {
		CHECK(pull(map) != 0);
		CHECK(push(24, 3));
	}
	CHECK(pull(map) != 0);
	entry = ring_begin(&place, RING_LINE, sizeof(*entry), sizeof(*entry) + 512);
	for (int i = 0; i < 512; i += 8)
		memcpy((char *)(entry + 1) + i, &(uint64_t){ 9 }, 8);
	CHECK(ring_hold(&place) != 0);
	CHECK_INT(pull(map), 0);
	CHECK_INT(pull_until(map, map->held), 9);
	remove_folder();
}

static uint64_t handled;

static void push_in_handler(int number)
{
	(void)number;
	handled += push(8, 1000);
}

CORE_TEST(a_handler_above_its_thread_s_own_writing_drops_its_entry_and_counts_it)
{
	struct ring_entry_place place;
	struct ring_entry *entry;
	struct ring_header *map;

	in_folder(RING_CAPACITY_MIN);
	CHECK(push(8, 1));
	map = map_ring(0);
	signal(SIGUSR1, push_in_handler);
	entry = ring_begin(&place, RING_LINE, sizeof(*entry), sizeof(*entry) + 8);
	raise(SIGUSR1);
	CHECK_INT(handled, 0);
	CHECK_INT(counters_get(line_exports_lost), 1);
	memcpy(entry + 1, &(uint64_t){ 2 }, 8);
	ring_publish(&place);
	raise(SIGUSR1);
	CHECK_INT(handled, 1);
	CHECK_INT(pull(map), 1);
	CHECK_INT(pull(map), 2);
	CHECK_INT(pull(map), 1000);
	remove_folder();
}

CORE_TEST(entries_of_a_handler_at_any_moment_are_whole_or_counted)
{
	uint64_t own_count = 0, n;
	sigset_t set;
	pid_t pinger, parent = getpid();

	in_folder(1 << 20);
	CHECK(push(8, 1));
	signal(SIGUSR1, push_in_handler);
	pinger = fork();
	if (pinger == 0) {
		for (int i = 0; i < 2000; i++)
			kill(parent, SIGUSR1);
		_exit(0);
	}
	for (int i = 0; i < 5000; i++)
		own_count += push(120, 2);
	CHECK_INT(waitpid(pinger, NULL, 0), pinger);
	sigemptyset(&set);
	sigaddset(&set, SIGUSR1);
	sigprocmask(SIG_BLOCK, &set, NULL);
	n = count_all(map_ring(0)) + count_all(map_ring(1));
	CHECK_INT(n, 1 + own_count + handled);
	remove_folder();
}

static void *push_many(void *arg)
{
	(void)arg;
	for (uint64_t i = 1; i <= 200; i++)
		(void)push(40, i);
	ring_end_thread();
	return NULL;
}

CORE_TEST(a_first_ring_is_small_and_half_of_it_used_a_large_one_takes_its_place)
{
	struct ring_header *first, *second;
	uint64_t value = 0, expected = 0;

	in_folder(1 << 20);
	CHECK(push(8, ++value));
	first = map_ring(0);
	CHECK_INT(first->capacity, RING_CAPACITY_MIN);
	while (count_files(RING_SUFFIX) == 1)
		CHECK(push(96, ++value));
	second = map_ring(1);
	CHECK_INT(second->capacity, 1 << 20);
	CHECK_INT(first->ended, 1);
	CHECK(first->head > RING_CAPACITY_MIN / 2 && first->head < RING_CAPACITY_MIN / 2 + 200);
	while (value < 5000)
		CHECK(push(96, ++value));
	CHECK_INT(count_files(RING_SUFFIX), 2);
	for (uint64_t n; (n = pull(first)) != 0;)
		CHECK_INT(n, ++expected);
	for (uint64_t n; (n = pull(second)) != 0;)
		CHECK_INT(n, ++expected);
	CHECK_INT(expected, value);
	remove_folder();
}

/* With a reader that is now close behind the writer, now so far behind as it may be, and lets go of nothing it has not read. */
CORE_TEST(a_small_ring_that_is_emptied_in_time_stays_and_one_in_which_more_waits_grows)
{
	struct ring_header *first, *second;
	uint64_t value = 0, expected = 0;

	in_folder(1 << 20);
	CHECK(push(8, ++value));
	first = map_ring(0);
	while (first->head < 20u * RING_CAPACITY_MIN) {
		uint64_t lag = value * 31 % 75; /* entries; 75 of the largest are less than an eighth */

		value++;
		CHECK(push(8 * (1 + value % 12), value));
		while (value - expected > lag)
			CHECK_INT(pull(first), ++expected);
		CHECK(first->head - first->tail < RING_CAPACITY_MIN / 8);
	}
	CHECK_INT(count_files(RING_SUFFIX), 1);
	while (count_files(RING_SUFFIX) == 1)
		CHECK(push(96, ++value));
	CHECK_INT(first->ended, 1);
	CHECK(first->head - first->tail > RING_CAPACITY_MIN / 8 &&
	      first->head - first->tail < RING_CAPACITY_MIN / 8 + 200);
	second = map_ring(1);
	CHECK_INT(second->capacity, 1 << 20);
	for (uint64_t n; (n = pull(first)) != 0;)
		CHECK_INT(n, ++expected);
	for (uint64_t n; (n = pull(second)) != 0;)
		CHECK_INT(n, ++expected);
	CHECK_INT(expected, value);
	remove_folder();
}

/* The agent's position cannot be: then nobody knows what waits, and it is as if nothing had been read. */
CORE_TEST(a_small_ring_whose_tail_cannot_be_grows_as_one_that_nobody_reads)
{
	struct ring_header *first;
	uint64_t value = 0;

	in_folder(1 << 20);
	CHECK(push(8, ++value));
	first = map_ring(0);
	first->tail = first->head + (1 << 30);
	while (count_files(RING_SUFFIX) == 1 && value < 1000)
		CHECK(push(96, ++value));
	CHECK_INT(count_files(RING_SUFFIX), 2);
	CHECK(first->head > RING_CAPACITY_MIN / 2 && first->head < RING_CAPACITY_MIN / 2 + 200);
	remove_folder();
}

CORE_TEST(a_process_that_ends_leaves_the_blocks_that_it_wrote_to)
{
	char path[600];
	struct stat st;

	in_folder(1 << 20);
	for (uint64_t value = 1; value <= 60; value++)
		CHECK(push(96, value));
	CHECK(find_ring(0, path, sizeof(path)));
	CHECK_INT(stat(path, &st), 0);
	CHECK(st.st_blocks * 512 > RING_CAPACITY_MIN);
	ring_end_process();
	CHECK_INT(stat(path, &st), 0);
	CHECK_INT(st.st_size, RING_HEADER_SIZE + RING_CAPACITY_MIN);
	CHECK(st.st_blocks * 512 <= 4 * RING_HEADER_SIZE);
	CHECK_INT(count_all(map_ring(0)), 60);
	remove_folder();
}

CORE_TEST(where_no_larger_ring_is_to_be_had_the_first_one_stays)
{
	uint64_t value = 0;

	in_folder(1 << 20);
	CHECK(push(8, ++value));
	config.run_dir = CORE_NAME("/proc/nowhere");
	while (push(96, value + 1))
		value++;
	CHECK(value > RING_CAPACITY_MIN / 104 - 2);
	config.run_dir = (struct config_name){ dir, (uint16_t)strlen(dir) };
	CHECK_INT(count_all(map_ring(0)), value);
	remove_folder();
}

CORE_TEST(threads_have_rings_of_their_own_which_the_next_ones_take_over)
{
	pthread_t thread[8];
	uint64_t n = 0, lost;
	int files;

	in_folder(1 << 20);
	for (int round = 0; round < 3; round++) {
		for (int i = 0; i < 8; i++)
			CHECK_INT(pthread_create(&thread[i], NULL, push_many, NULL), 0);
		for (int i = 0; i < 8; i++)
			pthread_join(thread[i], NULL);
	}
	files = count_files(RING_SUFFIX);
	CHECK(files >= 1 && files <= 16);
	lost = counters_get(line_exports_lost);
	for (int i = 0; i < files; i++)
		n += count_all(map_ring((unsigned)i));
	CHECK_INT(n + lost, 3 * 8 * 200);
	CHECK_INT(lost, 0);
	remove_folder();
}

static pthread_barrier_t together;

static void *push_together(void *arg)
{
	(void)arg;
	for (uint64_t i = 1; i <= 20; i++)
		(void)push(40, i);
	pthread_barrier_wait(&together);
	ring_end_thread();
	return NULL;
}

CORE_TEST(more_threads_than_rings_share_them_and_nothing_is_torn)
{
	enum { THREADS = RING_COUNT + 32 };
	pthread_t thread[THREADS];
	uint64_t n = 0;
	int files;

	in_folder(RING_CAPACITY_MIN);
	pthread_barrier_init(&together, NULL, THREADS);
	for (int i = 0; i < THREADS; i++)
		CHECK_INT(pthread_create(&thread[i], NULL, push_together, NULL), 0);
	for (int i = 0; i < THREADS; i++)
		pthread_join(thread[i], NULL);
	files = count_files(RING_SUFFIX);
	CHECK(files > 0 && files <= RING_COUNT);
	for (int i = 0; i < files; i++)
		n += count_all(map_ring((unsigned)i));
	CHECK_INT(n + counters_get(line_exports_lost), THREADS * 20);
	remove_folder();
}

CORE_TEST(a_forked_child_has_rings_of_its_own)
{
	struct ring_header *map;
	pid_t child;
	int status;

	in_folder(RING_CAPACITY_MIN);
	CHECK(push(8, 1));
	child = fork();
	if (child == 0) {
		io_after_fork();
		CHECK(push(8, 2));
		_exit(0);
	}
	CHECK_INT(waitpid(child, &status, 0), child);
	CHECK_INT(status, 0);
	CHECK_INT(count_files(RING_SUFFIX), 2);
	CHECK(push(8, 3));
	map = NULL;
	for (int i = 0; i < 1; i++)
		map = map_ring(0);
	CHECK(map != NULL);
	if (map->pid == getpid()) {
		CHECK_INT(pull(map), 1);
		CHECK_INT(pull(map), 3);
	} else {
		CHECK_INT(map->pid, child);
		CHECK_INT(pull(map), 2);
	}
	CHECK_INT(pull(map), 0);
	remove_folder();
}

CORE_TEST(a_child_made_behind_libc_s_back_writes_nothing_into_its_parent_s_ring)
{
	struct ring_header *map;
	int status;
	long child;

	in_folder(RING_CAPACITY_MIN);
	CHECK(push(8, 1));
	map = map_ring(0);
	child = syscall(57 /* fork */);
	if (child == 0) {
		for (int i = 0; i < 100; i++)
			(void)push(8, 2);
		_exit(0);
	}
	CHECK_INT(waitpid((pid_t)child, &status, 0), child);
	CHECK(push(8, 3));
	CHECK_INT(pull(map), 1);
	CHECK_INT(pull(map), 3);
	CHECK_INT(pull(map), 0);
	remove_folder();
}

CORE_TEST(a_process_that_ends_says_so_and_one_that_lives_on_gets_a_new_ring)
{
	struct ring_header *map;

	in_folder(RING_CAPACITY_MIN);
	CHECK(push(8, 1));
	map = map_ring(0);
	ring_end_process();
	CHECK_INT(map->ended, 1);
	CHECK_INT(pull(map), 1);
	CHECK(push(8, 2));
	CHECK_INT(map->ended, 1);
	CHECK_INT(pull(map), 0);
	CHECK_INT(pull(map_ring(1)), 2);
	remove_folder();
}

CORE_TEST(numbers_go_on_behind_the_rings_of_an_earlier_program_of_this_process)
{
	in_folder(RING_CAPACITY_MIN);
	CHECK(push(8, 1));
	ring_after_fork(); /* knows nothing, as after exec: the same pid and start */
	CHECK(push(8, 2));
	CHECK_INT(count_files(RING_SUFFIX), 2);
	CHECK_INT(count_files(".new"), 0);
	CHECK_INT(pull(map_ring(0)), 1);
	CHECK_INT(pull(map_ring(1)), 2);
	remove_folder();
}

CORE_TEST(a_folder_that_is_not_there_is_made_and_one_that_is_closed_costs_the_entries)
{
	char inner[128];

	in_folder(RING_CAPACITY_MIN);
	snprintf(inner, sizeof(inner), "%s/inner", dir);
	config.run_dir = (struct config_name){ inner, (uint16_t)strlen(inner) };
	if (geteuid() != 0) {
		CHECK_INT(chmod(dir, 0500), 0);
	} else {
		CHECK_INT(symlink("/nonexistent/nowhere", inner), 0); /* nor may root follow that */
	}
	CHECK(!push(8, 1));
	CHECK(!push(8, 1));
	CHECK_INT(counters_get(line_exports_lost), 2);
	CHECK_INT(chmod(dir, 0700), 0);
	(void)unlink(inner);
	ring_after_fork(); /* it is tried again after a while only */
	CHECK(push(8, 1));
	CHECK_INT(access(inner, R_OK | X_OK), 0);
	strcpy(dir, inner);
	CHECK_INT(count_files(RING_SUFFIX), 1);
	remove_folder();
	*strrchr(dir, '/') = '\0';
	remove_folder();
}

static int no_space_write;

static ssize_t full_write(int fd, const void *buf, size_t len)
{
	(void)fd, (void)buf, (void)len;
	no_space_write++;
	errno = ENOSPC;
	return -1;
}

static int open_pipe_end(const char *path, int flags, ...)
{
	int ends[2];

	if (strstr(path, ".new") == NULL)
		return open(path, flags);
	CHECK_INT(pipe(ends), 0); /* a thing for which fallocate says that it cannot */
	close(ends[0]);
	return ends[1];
}

CORE_TEST(a_disk_without_room_leaves_no_file_and_no_descriptor)
{
	int before;

	in_folder(RING_CAPACITY_MIN);
	os.open = open_pipe_end;
	os.write = full_write;
	before = dup(0);
	close(before);
	CHECK(!push(8, 1));
	CHECK_INT(dup(0), before);
	CHECK_INT(count_files(RING_SUFFIX), 0);
	CHECK_INT(count_files(".new"), 0);
	CHECK_INT(counters_get(line_exports_lost), 1);
	remove_folder();
}

CORE_TEST(a_limit_of_file_sizes_is_kept_without_the_signal_that_kills)
{
	struct rlimit limit = { 10000, 10000 };

	in_folder(RING_CAPACITY_MIN);
	CHECK_INT(setrlimit(RLIMIT_FSIZE, &limit), 0);
	CHECK(!push(8, 1));
	CHECK_INT(count_files(RING_SUFFIX) + count_files(".new"), 0);
	CHECK_INT(counters_get(line_exports_lost), 1);
	remove_folder();
}

CORE_TEST(the_layout_is_what_readers_were_built_for)
{
	CHECK_INT(sizeof(struct ring_entry), 8);
	CHECK_INT(sizeof(struct ring_span), 128);
	CHECK_INT(offsetof(struct ring_span, start_ns), 8);
	CHECK_INT(offsetof(struct ring_span, trace_id), 48);
	CHECK_INT(offsetof(struct ring_span, flags), 80);
	CHECK_INT(offsetof(struct ring_span, status), 88);
	CHECK_INT(offsetof(struct ring_span, peer), 96);
	CHECK_INT(offsetof(struct ring_span, text), 112);
	CHECK_INT(sizeof(struct ring_line), 56);
	CHECK_INT(offsetof(struct ring_line, trace_id), 16);
	CHECK_INT(offsetof(struct ring_line, len), 44);
	CHECK_INT(offsetof(struct ring_header, start_ticks), 24);
	CHECK_INT(offsetof(struct ring_header, resource), 248);
	CHECK_INT(offsetof(struct ring_header, ended), 2296);
	CHECK_INT(offsetof(struct ring_header, head), 2304);
	CHECK_INT(offsetof(struct ring_header, held), 2328);
	CHECK_INT(offsetof(struct ring_header, tail), 2368);
	CHECK_INT(RING_METHOD_PATCH, 9);
	CHECK_INT(RING_ERROR_timeout, 5);
	CHECK_INT(RING_TEXT_TRACESTATE, 6);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(nothing_is_made_before_the_first_entry_and_then_a_whole_private_file),
		cmocka_unit_test(entries_of_every_size_come_out_as_they_went_in_round_and_round),
		cmocka_unit_test(every_place_at_which_the_area_can_end_is_passed),
		cmocka_unit_test(a_full_ring_refuses_the_newest_and_counts_it),
		cmocka_unit_test(positions_of_a_reader_that_cannot_be_make_a_full_ring_and_no_harm),
		cmocka_unit_test(what_is_held_counts_when_it_is_kept_or_when_the_process_is_dead),
		cmocka_unit_test(what_is_held_and_not_kept_leaves_nothing_behind),
		cmocka_unit_test(what_is_held_across_the_end_of_the_area_is_read_of_a_dead_process),
		cmocka_unit_test(a_handler_above_its_thread_s_own_writing_drops_its_entry_and_counts_it),
		cmocka_unit_test(entries_of_a_handler_at_any_moment_are_whole_or_counted),
		cmocka_unit_test(a_first_ring_is_small_and_half_of_it_used_a_large_one_takes_its_place),
		cmocka_unit_test(a_small_ring_that_is_emptied_in_time_stays_and_one_in_which_more_waits_grows),
		cmocka_unit_test(a_small_ring_whose_tail_cannot_be_grows_as_one_that_nobody_reads),
		cmocka_unit_test(a_process_that_ends_leaves_the_blocks_that_it_wrote_to),
		cmocka_unit_test(where_no_larger_ring_is_to_be_had_the_first_one_stays),
		cmocka_unit_test(threads_have_rings_of_their_own_which_the_next_ones_take_over),
		cmocka_unit_test(more_threads_than_rings_share_them_and_nothing_is_torn),
		cmocka_unit_test(a_forked_child_has_rings_of_its_own),
		cmocka_unit_test(a_child_made_behind_libc_s_back_writes_nothing_into_its_parent_s_ring),
		cmocka_unit_test(a_process_that_ends_says_so_and_one_that_lives_on_gets_a_new_ring),
		cmocka_unit_test(numbers_go_on_behind_the_rings_of_an_earlier_program_of_this_process),
		cmocka_unit_test(a_folder_that_is_not_there_is_made_and_one_that_is_closed_costs_the_entries),
		cmocka_unit_test(a_disk_without_room_leaves_no_file_and_no_descriptor),
		cmocka_unit_test(a_limit_of_file_sizes_is_kept_without_the_signal_that_kills),
		cmocka_unit_test(the_layout_is_what_readers_were_built_for),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

/*
 * Status pages are anybody's bytes: which ones `traceshim status` believes, and which files it removes.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "../../cli/procfs.h"
#include "../../cli/status_file.h"

static char folder[] = "/tmp/traceshim-test-XXXXXX";
static int dir = -1;

static int make_folder(void **state)
{
	(void)state;
	assert_non_null(mkdtemp(folder));
	dir = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	return dir < 0;
}

static int remove_folder(void **state)
{
	(void)state;
	close(dir);
	return rmdir(folder);
}

static struct status_page good_page(int32_t pid)
{
	struct status_page page = { .size = sizeof(page), .counters = STATUS_COUNTER_COUNT, .pid = pid };

	memcpy(page.magic, STATUS_MAGIC, sizeof(page.magic));
	page.start_ticks = procfs_start_ticks(pid);
	strcpy(page.program, "prog");
	strcpy(page.state, "guest");
	page.counter[STATUS_requests] = 7;
	return page;
}

static void name_of(char name[64], int32_t pid)
{
	snprintf(name, 64, "%s/%d.status", folder, (int)pid);
}

static void write_page(const struct status_page *page, int32_t pid, size_t len)
{
	char name[64];
	int fd;

	name_of(name, pid);
	fd = open(name, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
	assert_true(fd >= 0);
	assert_int_equal(write(fd, page, len), (ssize_t)len);
	close(fd);
}

static void remove_page(int32_t pid)
{
	char name[64];

	name_of(name, pid);
	assert_int_equal(unlink(name), 0);
}

/* The pid of a process that has ended and was waited for. */
static int32_t dead_pid(void)
{
	pid_t child = fork();

	if (child == 0)
		_exit(0);
	assert_true(child > 0);
	assert_int_equal(waitpid(child, NULL, 0), child);
	return child;
}

static void a_live_process_is_read(void **state)
{
	struct status_page page = good_page(getpid()), read;

	(void)state;
	write_page(&page, getpid(), sizeof(page));
	assert_int_equal(status_file_read(dir, getpid(), &read), STATUS_FILE_OK);
	assert_int_equal(read.counter[STATUS_requests], 7);
	assert_false(status_file_remove_stale(dir, getpid()));
	remove_page(getpid());
	assert_int_equal(status_file_read(dir, getpid(), &read), STATUS_FILE_NONE);
}

static void a_page_in_another_folder_is_found_by_its_mapping(void **state)
{
	struct status_page page = good_page(getpid()), read;
	char name[64];
	void *map;
	int fd;

	(void)state;
	assert_int_equal(setenv("TRACESHIM_RUN_DIR", "/nonexistent", 1), 0);
	write_page(&page, getpid(), sizeof(page));
	assert_int_equal(status_file_find(getpid(), &read), STATUS_FILE_NONE);
	name_of(name, getpid());
	fd = open(name, O_RDWR | O_CLOEXEC);
	map = mmap(NULL, STATUS_PAGE_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	close(fd);
	assert_ptr_not_equal(map, MAP_FAILED);
	assert_int_equal(status_file_find(getpid(), &read), STATUS_FILE_OK);
	assert_int_equal(read.counter[STATUS_requests], 7);
	assert_int_equal(munmap(map, STATUS_PAGE_SIZE), 0);
	remove_page(getpid());
	assert_int_equal(setenv("TRACESHIM_RUN_DIR", folder, 1), 0);
}

static void the_page_of_an_ended_process_is_stale_and_removed(void **state)
{
	int32_t pid = dead_pid();
	struct status_page page = good_page(pid), read;
	char name[64];

	(void)state;
	name_of(name, pid);
	write_page(&page, pid, sizeof(page));
	assert_int_equal(status_file_read(dir, pid, &read), STATUS_FILE_STALE);
	assert_true(status_file_remove_stale(dir, pid));
	assert_int_equal(access(name, F_OK), -1);
}

static void a_reused_pid_is_told_by_its_start_time(void **state)
{
	struct status_page page = good_page(getpid()), read;

	(void)state;
	page.start_ticks++;
	write_page(&page, getpid(), sizeof(page));
	assert_int_equal(status_file_read(dir, getpid(), &read), STATUS_FILE_STALE);
	assert_true(status_file_remove_stale(dir, getpid()));
}

static void links_and_pipes_and_short_files_are_not_pages(void **state)
{
	struct status_page page = good_page(getpid()), read;
	char name[64], target[64];

	(void)state;
	name_of(name, getpid());
	snprintf(target, sizeof(target), "%s/target", folder);
	write_page(&page, getpid(), sizeof(page));
	assert_int_equal(rename(name, target), 0);
	assert_int_equal(symlink(target, name), 0);
	assert_int_equal(status_file_read(dir, getpid(), &read), STATUS_FILE_BAD);
	assert_int_equal(unlink(name), 0);
	assert_int_equal(unlink(target), 0);

	assert_int_equal(mkfifo(name, 0600), 0);
	assert_int_equal(status_file_read(dir, getpid(), &read), STATUS_FILE_BAD);
	assert_int_equal(unlink(name), 0);

	write_page(&page, getpid(), sizeof(page) - 1);
	assert_int_equal(status_file_read(dir, getpid(), &read), STATUS_FILE_BAD);
	assert_false(status_file_remove_stale(dir, getpid()));
	write_page(&page, getpid(), 0);
	assert_int_equal(status_file_read(dir, getpid(), &read), STATUS_FILE_BAD);
	remove_page(getpid());
}

static void a_page_of_a_stranger_is_not_believed(void **state)
{
	struct status_page page = good_page(getpid()), read;
	char name[64];

	(void)state;
	if (geteuid() != 0)
		skip();
	name_of(name, getpid());
	write_page(&page, getpid(), sizeof(page));
	assert_int_equal(chown(name, 65534, 65534), 0);
	assert_int_equal(status_file_read(dir, getpid(), &read), STATUS_FILE_BAD);
	remove_page(getpid());
}

static void wild_counts_and_endless_strings_are_made_safe(void **state)
{
	struct status_page page = good_page(5);

	(void)state;
	memset(page.program, 'A', sizeof(page.program));
	memset(page.service, 'A', sizeof(page.service));
	memset(page.state, 'A', sizeof(page.state));
	memset(page.version, 'A', sizeof(page.version));
	memset(page.notes, 'A', sizeof(page.notes));
	page.notes_len = UINT32_MAX;
	page.counters = 2;
	page.counter[1] = 9;
	page.counter[2] = 9;
	assert_true(status_page_accept(&page, sizeof(page), 5));
	assert_int_equal(strlen(page.program), sizeof(page.program) - 1);
	assert_int_equal(strlen(page.service), sizeof(page.service) - 1);
	assert_int_equal(strlen(page.state), sizeof(page.state) - 1);
	assert_int_equal(strlen(page.version), sizeof(page.version) - 1);
	assert_int_equal(strlen(page.notes), sizeof(page.notes) - 1);
	assert_int_equal(page.counter[1], 9);
	assert_int_equal(page.counter[2], 0);
}

static void pages_of_another_layout_or_pid_are_refused(void **state)
{
	struct status_page page = good_page(5);

	(void)state;
	assert_true(status_page_accept(&page, sizeof(page), 5));
	assert_false(status_page_accept(&page, sizeof(page), 6));
	assert_false(status_page_accept(&page, sizeof(page) - 1, 5));
	page.counters = STATUS_COUNTERS_MAX + 1;
	assert_false(status_page_accept(&page, sizeof(page), 5));
	page = good_page(5);
	page.size = 8;
	assert_false(status_page_accept(&page, sizeof(page), 5));
	page = good_page(5);
	page.magic[7]++;
	assert_false(status_page_accept(&page, sizeof(page), 5));
}

static void degradations_are_known_by_their_names(void **state)
{
	(void)state;
	assert_true(status_counter_is_degradation("http_poisoned"));
	assert_true(status_counter_is_degradation("busy_skipped"));
	assert_true(status_counter_is_degradation("config_invalid"));
	assert_true(status_counter_is_degradation("spans_lost"));
	assert_true(status_counter_is_degradation("stdio_unhooked"));
	assert_true(status_counter_is_degradation("lines_raw"));
	assert_false(status_counter_is_degradation("requests_raw"));
	assert_false(status_counter_is_degradation("requests"));
	assert_false(status_counter_is_degradation("_lost"));
	assert_string_equal(status_counter_name(STATUS_requests), "requests");
	assert_string_equal(status_counter_text(STATUS_requests), "requests served");
	assert_null(status_counter_name(STATUS_COUNTER_COUNT));
}

static void the_start_time_is_read_behind_any_program_name(void **state)
{
	static const char tail[] = " S 1 2 3 0 -1 4194560 1 2 3 4 5 6 7 8 20 0 1 0 4711 1000 200";
	char stat[256];

	(void)state;
	snprintf(stat, sizeof(stat), "42 (prog)%s", tail);
	assert_int_equal(procfs_parse_start_ticks(stat), 4711);
	snprintf(stat, sizeof(stat), "42 (a) R 1 (b)%s", tail);
	assert_int_equal(procfs_parse_start_ticks(stat), 4711);
	assert_int_equal(procfs_parse_start_ticks(""), 0);
	assert_int_equal(procfs_parse_start_ticks("42 (prog) S 1 2"), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_live_process_is_read),
		cmocka_unit_test(a_page_in_another_folder_is_found_by_its_mapping),
		cmocka_unit_test(the_page_of_an_ended_process_is_stale_and_removed),
		cmocka_unit_test(a_reused_pid_is_told_by_its_start_time),
		cmocka_unit_test(links_and_pipes_and_short_files_are_not_pages),
		cmocka_unit_test(a_page_of_a_stranger_is_not_believed),
		cmocka_unit_test(wild_counts_and_endless_strings_are_made_safe),
		cmocka_unit_test(pages_of_another_layout_or_pid_are_refused),
		cmocka_unit_test(degradations_are_known_by_their_names),
		cmocka_unit_test(the_start_time_is_read_behind_any_program_name),
	};

	return cmocka_run_group_tests(tests, make_folder, remove_folder);
}

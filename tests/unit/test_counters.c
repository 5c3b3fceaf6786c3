/*
 * The status page: published whole or not at all, never through what somebody else put in its place.
 */
#include <sys/mman.h>
#include <sys/stat.h>

#include "core_fixture.h"

static char dir[64];
static char path[128];

static void in_folder(void)
{
	snprintf(dir, sizeof(dir), "/tmp/counters.XXXXXX");
	CHECK(mkdtemp(dir) != NULL);
	config.run_dir = (struct config_name){ dir, (uint16_t)strlen(dir) };
	snprintf(path, sizeof(path), "%s/%d.status", dir, getpid());
	os.open = open;
	os.read = read;
	os.write = write;
	os.close = close;
}

static void remove_folder(void)
{
	(void)chmod(dir, 0700);
	(void)unlink(path);
	CHECK_INT(rmdir(dir), 0);
}

static bool exists(void)
{
	struct stat st;

	return lstat(path, &st) == 0;
}

static struct status_page read_page(void)
{
	struct status_page page;
	int fd = open(path, O_RDONLY | O_NOFOLLOW);

	CHECK(fd >= 0);
	CHECK_INT(read(fd, &page, sizeof(page)), sizeof(page));
	close(fd);
	CHECK(memcmp(page.magic, STATUS_MAGIC, sizeof(page.magic)) == 0);
	return page;
}

static int open_descriptors(void)
{
	int fd, n = 0;

	for (fd = 0; fd < 256; fd++)
		n += fcntl(fd, F_GETFD) >= 0;
	return n;
}

CORE_TEST(what_was_counted_before_and_after_is_in_the_file)
{
	struct status_page page;
	int before;

	in_folder();
	counters_describe("guest", "prog", "svc");
	counters_note("a note of %d", 1);
	counters_add(lines, 3);
	before = open_descriptors();
	counters_publish();
	CHECK_INT(open_descriptors(), before);
	counters_add(lines, 4);
	counters_publish(); /* once is enough */
	page = read_page();
	CHECK_INT(page.counter[STATUS_lines], 7);
	CHECK_INT(page.pid, getpid());
	CHECK_INT(page.uid, geteuid());
	CHECK_INT(page.counters, STATUS_COUNTER_COUNT);
	CHECK(page.start_ticks > 0);
	CHECK(strcmp(page.state, "guest") == 0 && strcmp(page.program, "prog") == 0 &&
	      strcmp(page.service, "svc") == 0);
	CHECK(page.notes_len == 12 && memcmp(page.notes, "a note of 1\n", 12) == 0);
	counters_unpublish();
	CHECK(!exists());
	remove_folder();
}

CORE_TEST(an_exec_that_failed_loses_no_count)
{
	in_folder();
	counters_publish();
	counters_add(lines, 5);
	counters_unpublish();
	CHECK(!exists());
	counters_add(lines, 2);
	counters_publish();
	CHECK_INT(counters_get(lines), 7);
	counters_add(lines, 1);
	CHECK_INT(read_page().counter[STATUS_lines], 8);
	counters_unpublish();
	remove_folder();
}

CORE_TEST(a_stale_file_of_the_same_number_is_replaced)
{
	int fd;

	in_folder();
	fd = open(path, O_CREAT | O_WRONLY, 0600);
	CHECK_INT(write(fd, "stale", 5), 5);
	close(fd);
	counters_publish();
	CHECK_INT(read_page().pid, getpid());
	counters_unpublish();
	remove_folder();
}

CORE_TEST(a_link_in_its_place_is_never_followed)
{
	char victim[160];
	struct stat st;
	int fd;

	in_folder();
	snprintf(victim, sizeof(victim), "%s/victim", dir);
	fd = open(victim, O_CREAT | O_WRONLY, 0600);
	CHECK_INT(write(fd, "precious", 8), 8);
	close(fd);
	CHECK_INT(symlink(victim, path), 0);
	counters_publish();
	CHECK_INT(stat(victim, &st), 0);
	CHECK_INT(st.st_size, 8);
	CHECK_INT(read_page().pid, getpid());
	counters_unpublish();
	CHECK_INT(unlink(victim), 0);
	remove_folder();
}

CORE_TEST(a_folder_in_its_place_leaves_the_counters_private)
{
	in_folder();
	CHECK_INT(mkdir(path, 0700), 0);
	counters_publish();
	counters_count(lines);
	CHECK_INT(counters_get(lines), 1);
	counters_unpublish();
	CHECK(exists());
	CHECK_INT(rmdir(path), 0);
	remove_folder();
}

CORE_TEST(a_missing_folder_is_made_for_everybody)
{
	struct stat st;

	in_folder();
	CHECK_INT(rmdir(dir), 0);
	umask(077);
	counters_publish();
	CHECK_INT(stat(dir, &st), 0);
	CHECK_INT(st.st_mode & 07777, 01777);
	CHECK_INT(read_page().pid, getpid());
	counters_unpublish();
	remove_folder();
}

CORE_TEST(a_folder_below_nothing_leaves_the_counters_private)
{
	config.run_dir = CORE_NAME("/nowhere/at/all");
	os.open = open;
	counters_count(lines);
	counters_publish();
	CHECK_INT(counters_get(lines), 1);
	counters_unpublish();
}

static ssize_t short_write(int fd, const void *buf, size_t len)
{
	return write(fd, buf, len / 2);
}

CORE_TEST(a_full_disk_leaves_no_file_behind)
{
	in_folder();
	os.write = short_write;
	counters_publish();
	CHECK(!exists());
	counters_count(lines);
	CHECK_INT(counters_get(lines), 1);
	remove_folder();
}

CORE_TEST(a_path_that_is_too_long_is_no_path)
{
	static char longest[400];

	memset(longest, 'a', sizeof(longest) - 1);
	longest[0] = '/';
	config.run_dir = (struct config_name){ longest, sizeof(longest) - 1 };
	os.open = open;
	counters_publish();
	counters_count(lines);
	CHECK_INT(counters_get(lines), 1);
	counters_unpublish();
}

CORE_TEST(a_forked_child_counts_for_itself)
{
	pid_t pid;
	int status;

	in_folder();
	counters_publish();
	counters_add(lines, 5);
	pid = fork();
	if (pid == 0) {
		char parent[128];

		memcpy(parent, path, sizeof(parent));
		io_after_fork();
		CHECK_INT(counters_get(lines), 0);
		counters_count(lines);
		counters_unpublish(); /* nothing of its own is out, and the parent's stays */
		CHECK(exists());
		counters_publish();
		snprintf(path, sizeof(path), "%s/%d.status", dir, getpid());
		CHECK_INT(read_page().pid, getpid());
		CHECK_INT(read_page().counter[STATUS_lines], 1);
		counters_unpublish();
		_exit(0);
	}
	CHECK_INT(waitpid(pid, &status, 0), pid);
	CHECK_INT(status, 0);
	CHECK_INT(read_page().counter[STATUS_lines], 5);
	counters_unpublish();
	remove_folder();
}

CORE_TEST(notes_and_names_beyond_their_room_are_cut)
{
	char longest[400];
	int i;

	memset(longest, 'x', sizeof(longest) - 1);
	longest[sizeof(longest) - 1] = '\0';
	in_folder();
	counters_describe(longest, longest, longest);
	counters_publish();
	CHECK_INT(strlen(counters_page()->state), sizeof(counters_page()->state) - 1);
	CHECK_INT(strlen(counters_page()->program), sizeof(counters_page()->program) - 1);
	for (i = 0; i < 20; i++)
		counters_note("%s", longest);
	CHECK(counters_page()->notes_len <= sizeof(counters_page()->notes));
	CHECK_INT(counters_page()->notes_len, 7 * 201);
	CHECK(memchr(counters_page()->notes, '\0', counters_page()->notes_len) == NULL);
	counters_unpublish();
	remove_folder();
}

int main(void)
{
#define TEST(name) cmocka_unit_test(name)
	const struct CMUnitTest tests[] = {
		TEST(what_was_counted_before_and_after_is_in_the_file),
		TEST(an_exec_that_failed_loses_no_count),
		TEST(a_stale_file_of_the_same_number_is_replaced),
		TEST(a_link_in_its_place_is_never_followed),
		TEST(a_folder_in_its_place_leaves_the_counters_private),
		TEST(a_missing_folder_is_made_for_everybody),
		TEST(a_folder_below_nothing_leaves_the_counters_private),
		TEST(a_full_disk_leaves_no_file_behind),
		TEST(a_path_that_is_too_long_is_no_path),
		TEST(a_forked_child_counts_for_itself),
		TEST(notes_and_names_beyond_their_room_are_cut),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

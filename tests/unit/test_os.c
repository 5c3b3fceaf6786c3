/*
 * The system calls that are made without libc: the same answers, and errno left alone.
 */
#include "core_fixture.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <unistd.h>

CORE_TEST(a_descriptor_is_described_as_by_libc)
{
	struct stat ours, libcs;
	int fd = open("/proc/self/exe", O_RDONLY);

	memset(&ours, 0, sizeof(ours));
	memset(&libcs, 0, sizeof(libcs));
	CHECK_INT(os_fstat(fd, &ours), 0);
	CHECK_INT(fstat(fd, &libcs), 0);
	CHECK_INT(ours.st_dev, libcs.st_dev);
	CHECK_INT(ours.st_ino, libcs.st_ino);
	CHECK_INT(ours.st_mode, libcs.st_mode);
	CHECK_INT(ours.st_size, libcs.st_size);
	CHECK_INT(ours.st_mtim.tv_nsec, libcs.st_mtim.tv_nsec);
	close(fd);
	errno = EILSEQ;
	CHECK_INT(os_fstat(fd, &ours), -EBADF);
	CHECK_INT(errno, EILSEQ);
}

CORE_TEST(the_time_of_birth_is_that_of_libc)
{
	struct statx ours, libcs;
	int fd = open("/proc/self/exe", O_RDONLY);

	memset(&ours, 0, sizeof(ours));
	memset(&libcs, 0, sizeof(libcs));
	CHECK_INT(os_statx(fd, STATX_BTIME, &ours), 0);
	CHECK_INT(statx(fd, "", AT_EMPTY_PATH, STATX_BTIME, &libcs), 0);
	CHECK_INT(ours.stx_mask & STATX_BTIME, libcs.stx_mask & STATX_BTIME);
	CHECK_INT(ours.stx_btime.tv_sec, libcs.stx_btime.tv_sec);
	CHECK_INT(ours.stx_btime.tv_nsec, libcs.stx_btime.tv_nsec);
	close(fd);
	CHECK_INT(os_statx(fd, STATX_BTIME, &ours), -EBADF);
}

CORE_TEST(ids_and_names_are_those_of_libc)
{
	char name[16] = "";

	CHECK_INT(os_pid(), getpid());
	CHECK_INT(os_tid(), gettid());
	CHECK_INT(os_euid(), geteuid());
	prctl(PR_SET_NAME, "a-name-of-15-ch");
	CHECK_INT(os_thread_name(name), 0);
	CHECK(strcmp(name, "a-name-of-15-ch") == 0);
}

CORE_TEST(a_page_is_made_writable_and_read_only_again)
{
	unsigned char vector[1];
	char *page = mmap(NULL, 4096, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	int fds[2];

	CHECK(page != MAP_FAILED && pipe(fds) == 0 && write(fds[1], "xy", 2) == 2);
	CHECK_INT(os_protect(page, 4096, PROT_READ | PROT_WRITE), 0);
	CHECK_INT(read(fds[0], page, 1), 1);
	CHECK_INT(page[0], 'x');
	CHECK_INT(os_protect(page, 4096, PROT_READ), 0);
	CHECK_INT(read(fds[0], page, 1), -1); /* the kernel says EFAULT where a store would be a fault */
	CHECK_INT(errno, EFAULT);
	CHECK_INT(os_protect(page + 1, 4096, PROT_READ), -EINVAL);
	munmap(page, 4096);
	CHECK_INT(mincore(page, 4096, vector), -1);
	close(fds[0]);
	close(fds[1]);
}

CORE_TEST(random_bytes_fill_what_was_asked_and_no_more)
{
	unsigned char bytes[40];
	unsigned seen = 0;
	int i, k;

	for (i = 0; i < 64; i++) {
		memset(bytes, 0, sizeof(bytes));
		CHECK_INT(os_random(bytes, 32, 0), 32);
		for (k = 0; k < 32; k++)
			seen |= bytes[k] != 0 ? 1u << k : 0;
		for (k = 32; k < 40; k++)
			CHECK_INT(bytes[k], 0);
	}
	CHECK_INT(seen, 0xffffffffu);
}

/* Asked once, known until it is forgotten: for the pages that are named, or for all. */
CORE_TEST(what_can_be_read_is_known_until_it_is_forgotten)
{
	static const size_t forgotten[] = { 1, 4096, 2 * 4096, 100 * 4096, SIZE_MAX };
	char *pages = mmap(NULL, 3 * 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	size_t i;

	CHECK(!os_readable(NULL, 1) && os_readable(NULL, 0) && !os_readable(pages, SIZE_MAX));
	for (i = 0; i < sizeof(forgotten) / sizeof(forgotten[0]); i++) {
		CHECK(os_readable(pages + 4000, 200));
		CHECK_INT(mprotect(pages + 4096, 4096, PROT_NONE), 0);
		errno = EILSEQ;
		os_forget_readable(pages + 4096, forgotten[i]);
		CHECK_INT(errno, EILSEQ);
		CHECK(os_readable(pages, 4096));
		CHECK(!os_readable(pages + 4096, 1) && !os_readable(pages + 4000, 200) &&
		      !os_readable(pages + 8191, 1));
		CHECK(os_readable(pages + 8192, 1));
		CHECK_INT(mprotect(pages + 4096, 4096, PROT_READ), 0);
	}
	munmap(pages, 3 * 4096);
}

/* A server's buffers are thousands of pages, and each is asked for once: what was unmapped unseen shows what is remembered. */
CORE_TEST(many_neighbours_are_known_at_a_time)
{
	const size_t count = 4096;
	char *pages = mmap(NULL, count * 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	size_t i, known = 0;

	for (i = 0; i < count; i++)
		CHECK(os_readable(pages + i * 4096 + i % 4096, 1));
	CHECK_INT(mprotect(pages, count * 4096, PROT_NONE), 0);
	for (i = 0; i < count; i++)
		known += os_readable(pages + i * 4096, 1);
	CHECK_INT(known, count);
	os_forget_readable(pages + 100 * 4096 + 1, 900 * 4096);
	for (i = 100; i <= 1000; i++)
		CHECK(!os_readable(pages + i * 4096, 1));
	CHECK(os_readable(pages, 1) && os_readable(pages + (count - 1) * 4096, 4096));
	os_forget_readable(pages, count * 4096);
	for (i = 0; i < count; i++)
		CHECK(!os_readable(pages + i * 4096, 1));
	munmap(pages, count * 4096);
}

/* Pages whose numbers differ by what a word does not hold are told apart. */
CORE_TEST(pages_far_from_each_other_are_not_taken_for_one)
{
	const size_t apart = (size_t)4096 * 32 * OS_READABLE_GROUPS;
	char *pages = mmap(NULL, 3 * apart, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	CHECK(pages != MAP_FAILED);
	CHECK_INT(mprotect(pages + apart, 4096, PROT_READ), 0);
	CHECK(os_readable(pages + apart, 4096));
	CHECK(!os_readable(pages, 1) && !os_readable(pages + 2 * apart, 1));
	CHECK(os_readable(pages + apart, 4096));
	munmap(pages, 3 * apart);
}

CORE_TEST(memory_that_is_not_there_is_copied_as_far_as_it_is)
{
	char *pages = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0), to[64];
	struct iovec there = { pages + 4064, sizeof(to) }, two[2] = { { pages + 8, 24 }, { pages + 4096, 40 } };
	long came;

	CHECK(pages != MAP_FAILED);
	memset(pages, 'x', 8192);
	memset(pages + 4096, 'y', 4096);
	CHECK_INT(os_copy(to, &there, 1), sizeof(to));
	CHECK(memcmp(to, pages + 4064, sizeof(to)) == 0);
	CHECK_INT(os_copy(to, two, 2), sizeof(to));
	CHECK(memcmp(to, pages, 24) == 0 && memcmp(to + 24, pages + 4096, 40) == 0);
	CHECK_INT(munmap(pages + 4096, 4096), 0);
	errno = 7;
	came = os_copy(to, &there, 1);
	CHECK(came >= 0 && came <= 32);
	CHECK_INT(os_copy(to, two, 2), 24);
	there.iov_base = pages + 4096;
	CHECK_INT(os_copy(to, &there, 1), -EFAULT);
	there.iov_base = NULL;
	CHECK_INT(os_copy(to, &there, 1), -EFAULT);
	CHECK_INT(errno, 7);
}

int main(void)
{
#define TEST(name) cmocka_unit_test(name)
	const struct CMUnitTest tests[] = {
		TEST(a_descriptor_is_described_as_by_libc),
		TEST(the_time_of_birth_is_that_of_libc),
		TEST(ids_and_names_are_those_of_libc),
		TEST(a_page_is_made_writable_and_read_only_again),
		TEST(random_bytes_fill_what_was_asked_and_no_more),
		TEST(what_can_be_read_is_known_until_it_is_forgotten),
		TEST(many_neighbours_are_known_at_a_time),
		TEST(pages_far_from_each_other_are_not_taken_for_one),
		TEST(memory_that_is_not_there_is_copied_as_far_as_it_is),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

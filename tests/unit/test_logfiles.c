/*
 * Which descriptors are logs: by identity, never by number.
 */
#include <sys/socket.h>
#include <sys/stat.h>

#include "core_fixture.h"
#include "logfiles.h"

static char file_path[2][64];
static int file_fd[2];

static void open_files(void)
{
	int i;

	config.log_mode = LOG_JSON;
	os.getsockopt = getsockopt;
	for (i = 0; i < 2; i++) {
		snprintf(file_path[i], sizeof(file_path[i]), "/tmp/logfiles.XXXXXX");
		file_fd[i] = mkstemp(file_path[i]);
		CHECK(file_fd[i] > 2);
	}
}

static void remove_files(void)
{
	int i;

	for (i = 0; i < 2; i++) {
		close(file_fd[i]);
		unlink(file_path[i]);
	}
}

static void name_tree(const char *format, int first, int second)
{
	static char text[200];
	struct stat a = { 0 }, b = { 0 };

	fstat(first, &a);
	fstat(second, &b);
	snprintf(text, sizeof(text), format, (unsigned long long)a.st_dev, (unsigned long long)a.st_ino,
	         (unsigned long long)b.st_dev, (unsigned long long)b.st_ino);
	config.stdio_files = (struct config_name){ text, (uint16_t)strlen(text) };
	logfiles_init();
}

static int match(int fd, enum record_stream *stream)
{
	struct stat st;

	CHECK_INT(fstat(fd, &st), 0);
	return logfiles_match(fd, &st, stream);
}

CORE_TEST(the_trees_files_are_logs_on_any_number)
{
	enum record_stream stream;
	char text[LOGFILES_TEXT];
	int other;

	open_files();
	name_tree("%llu:%llu,%llu:%llu", file_fd[0], file_fd[1]);
	CHECK_INT(match(file_fd[0], &stream), 0);
	CHECK_INT(stream, RECORD_STDOUT);
	CHECK_INT(match(file_fd[1], &stream), 1);
	CHECK_INT(stream, RECORD_STDERR);
	other = open(file_path[0], O_WRONLY);
	CHECK_INT(match(other, &stream), 0);
	CHECK_INT(match(open("/dev/null", O_WRONLY), &stream), -1);
	logfiles_format(text);
	CHECK(strcmp(text, config.stdio_files.text) == 0);
	close(other);
	remove_files();
}

CORE_TEST(one_file_for_both_is_stderr_on_descriptor_2_only)
{
	enum record_stream stream;

	open_files();
	name_tree("%llu:%llu,%llu:%llu", file_fd[0], file_fd[0]);
	CHECK_INT(match(file_fd[0], &stream), 0);
	CHECK_INT(stream, RECORD_STDOUT);
	CHECK(dup2(file_fd[0], 2) == 2);
	CHECK_INT(match(2, &stream), 0);
	CHECK_INT(stream, RECORD_STDERR);
	remove_files();
}

CORE_TEST(an_absent_file_is_no_log)
{
	enum record_stream stream;
	char text[LOGFILES_TEXT];

	open_files();
	name_tree("-,%3$llu:%4$llu", file_fd[0], file_fd[1]);
	CHECK_INT(match(file_fd[0], &stream), -1);
	CHECK(match(file_fd[1], &stream) >= 0);
	logfiles_format(text);
	CHECK(strcmp(text, config.stdio_files.text) == 0);
	remove_files();
}

CORE_TEST(a_file_that_got_the_number_of_a_deleted_log_is_no_log)
{
	enum record_stream stream;
	char text[LOGFILES_TEXT];

	open_files();
	CHECK(dup2(file_fd[0], 1) == 1);
	config.stdio_files = (struct config_name){ "", 0 };
	logfiles_init();
	logfiles_format(text);
	CHECK(strchr(strchr(text, ':') + 1, ':') != NULL); /* this file system tells births */
	CHECK(match(file_fd[0], &stream) >= 0);
	/* The same number, born at another time. */
	name_tree("%llu:%llu:12345,%llu:%llu:12345", file_fd[0], file_fd[1]);
	CHECK_INT(match(file_fd[0], &stream), -1);
	CHECK_INT(match(file_fd[1], &stream), -1);
	remove_files();
}

CORE_TEST(logs_may_be_rotated_for_ever)
{
	enum record_stream stream;
	int i;

	open_files();
	config.log_files = CORE_NAME("/tmp/logfiles.*");
	for (i = 0; i < 3 * LOGLINE_FILES; i++) {
		char path[] = "/tmp/logfiles.XXXXXX";
		int fd = mkstemp(path);

		CHECK(match(fd, &stream) >= 0);
		CHECK_INT(stream, RECORD_FILE);
		close(fd);
		unlink(path);
	}
	remove_files();
}

CORE_TEST(what_is_no_pair_of_identities_names_no_file)
{
	static const char *const hostile[] = {
		"x",
		":",
		",",
		"1",
		"1:",
		":2",
		"1:x",
		" 1:2",
		"-1:2",
		"1:-2",
		"0x1:2",
		"--",
		"-x,1:2",
		"1;2",
		"1:2:3,",
		",,,,,,",
		"99999999999999999999999999999999999999:1",
		"18446744073709551615:18446744073709551615,",
		"\n1:2",
		"1:2,",
	};
	enum record_stream stream;
	size_t i;

	open_files();
	for (i = 0; i < sizeof(hostile) / sizeof(hostile[0]); i++) {
		char text[LOGFILES_TEXT], *exact = strdup(hostile[i]);

		core_case = hostile[i];
		config.stdio_files = (struct config_name){ exact, (uint16_t)strlen(exact) };
		logfiles_init();
		CHECK_INT(match(file_fd[0], &stream), -1);
		CHECK_INT(match(1, &stream), -1);
		CHECK_INT(match(2, &stream), -1);
		logfiles_format(text);
		CHECK(strlen(text) < LOGFILES_TEXT);
		free(exact);
	}
	remove_files();
}

CORE_TEST(the_longest_identities_fit_their_text)
{
	char text[LOGFILES_TEXT];

	config.log_mode = LOG_JSON;
	config.stdio_files =
		CORE_NAME("18446744073709551615:18446744073709551615,18446744073709551615:18446744073709551615");
	logfiles_init();
	logfiles_format(text);
	CHECK(strcmp(text, config.stdio_files.text) == 0);
}

CORE_TEST(the_first_process_looks_at_its_own_streams)
{
	enum record_stream stream;

	open_files();
	CHECK(dup2(file_fd[0], 1) == 1);
	CHECK(dup2(file_fd[1], 2) == 2);
	logfiles_init();
	CHECK_INT(match(1, &stream), 0);
	CHECK_INT(stream, RECORD_STDOUT);
	CHECK_INT(match(2, &stream), 1);
	CHECK_INT(stream, RECORD_STDERR);
	remove_files();
}

CORE_TEST(a_connection_is_no_log_but_a_journal_is)
{
	enum record_stream stream;
	int pair[2];

	open_files();
	CHECK_INT(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
	CHECK(dup2(pair[0], 1) == 1);
	logfiles_init();
	CHECK_INT(match(1, &stream), 0);
	CHECK(dup2(pair[0], 0) == 0); /* inetd: the same socket is stdin */
	CHECK_INT(match(1, &stream), -1);
	remove_files();
}

CORE_TEST(files_that_the_user_names_are_logs)
{
	enum record_stream stream;
	int fd, pipes[2];

	open_files();
	config.stdio_files = CORE_NAME("-,-");
	logfiles_init();
	CHECK_INT(match(file_fd[0], &stream), -1);
	config.log_files = CORE_NAME("/tmp/logfiles.*");
	CHECK_INT(match(file_fd[0], &stream), 0);
	CHECK_INT(stream, RECORD_FILE);
	fd = open("/etc/hostname", O_RDONLY);
	CHECK_INT(match(fd, &stream), -1);
	CHECK_INT(pipe(pipes), 0);
	CHECK_INT(match(pipes[1], &stream), -1);
	remove_files();
}

CORE_TEST(more_files_than_there_is_room_for_pass_through)
{
	char name[64];
	int i, fd;

	open_files();
	config.stdio_files = CORE_NAME("-,-");
	config.log_files = CORE_NAME("/tmp/logfiles.*");
	logfiles_init();
	for (i = 0; i < LOGLINE_FILES + 2; i++) {
		snprintf(name, sizeof(name), "/tmp/logfiles.%d.XXXXXX", i);
		fd = mkstemp(name);
		CHECK_INT(fds_kind(fds_learn(fd)), i < LOGLINE_FILES ? FD_LOG : FD_NOTHING);
		unlink(name);
	}
	remove_files();
}

CORE_TEST(a_descriptor_of_a_log_is_found_again_after_the_first_one_closed)
{
	int other;

	open_files();
	name_tree("%llu:%llu,-", file_fd[0], file_fd[0]);
	CHECK_INT(fds_kind(fds_learn(file_fd[0])), FD_LOG);
	CHECK_INT(logfiles_fd_of(0), file_fd[0]);
	other = dup(file_fd[0]);
	fds_dup(file_fd[0], other);
	CHECK_INT(fds_kind(fds_word(other)), FD_UNKNOWN);
	CHECK_INT(fds_kind(fds_learn(other)), FD_LOG);
	fds_death(other);
	CHECK_INT(logfiles_fd_of(0), file_fd[0]);
	fds_death(file_fd[0]);
	CHECK_INT(logfiles_fd_of(0), -1);
	CHECK_INT(logfiles_fd_of(LOGLINE_FILES), -1);
	CHECK_INT(logfiles_fd_of(5), -1);
	remove_files();
}

CORE_TEST(with_logs_off_nothing_is_a_log_unless_lines_are_exported)
{
	enum record_stream stream;

	open_files();
	name_tree("%llu:%llu,%llu:%llu", file_fd[0], file_fd[1]);
	config.log_mode = LOG_OFF;
	CHECK_INT(match(file_fd[0], &stream), -1);
	config.export_logs = true; /* then they are read, and left as they are */
	CHECK_INT(match(file_fd[0], &stream), 0);
	remove_files();
}

int main(void)
{
#define TEST(name) cmocka_unit_test(name)
	const struct CMUnitTest tests[] = {
		TEST(the_trees_files_are_logs_on_any_number),
		TEST(one_file_for_both_is_stderr_on_descriptor_2_only),
		TEST(an_absent_file_is_no_log),
		TEST(what_is_no_pair_of_identities_names_no_file),
		TEST(the_longest_identities_fit_their_text),
		TEST(a_file_that_got_the_number_of_a_deleted_log_is_no_log),
		TEST(logs_may_be_rotated_for_ever),
		TEST(the_first_process_looks_at_its_own_streams),
		TEST(a_connection_is_no_log_but_a_journal_is),
		TEST(files_that_the_user_names_are_logs),
		TEST(more_files_than_there_is_room_for_pass_through),
		TEST(a_descriptor_of_a_log_is_found_again_after_the_first_one_closed),
		TEST(with_logs_off_nothing_is_a_log_unless_lines_are_exported),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

/*
 * What descendants get in their environment, and which files are logs.
 */
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#include "core_fixture.h"
#include "environment.h"

CORE_TEST(the_preload_and_the_configuration_are_remembered_and_nothing_else)
{
	char *env[] = { "PATH=/bin",
		        "LD_PRELOAD=/x.so",
		        "TRACESHIM_LOG=json",
		        "TRACESHIM_STDIO=1:2,3:4",
		        "OTEL_SERVICE_NAME=a",
		        "LD_PRELOADED=no",
		        "TRACESHIMMER=no",
		        "OTELX=no",
		        "TRACEPARENT=no",
		        "LD_PRELOAD=",
		        NULL };
	char *got[ENVIRONMENT_RESTORED_MAX];

	environment_remember(env);
	CHECK_INT(environment_restore(got), 4);
	CHECK(strcmp(got[0], "LD_PRELOAD=/x.so") == 0);
	CHECK(strcmp(got[1], "TRACESHIM_LOG=json") == 0);
	CHECK(strcmp(got[2], "OTEL_SERVICE_NAME=a") == 0);
	CHECK(strcmp(got[3], "LD_PRELOAD=") == 0);
}

CORE_TEST(what_is_remembered_outlives_the_programs_own_environment)
{
	char entry[] = "TRACESHIM_LOG=json", *env[] = { entry, NULL }, *got[ENVIRONMENT_RESTORED_MAX];

	environment_remember(env);
	memset(entry, 'x', sizeof(entry));
	CHECK_INT(environment_restore(got), 1);
	CHECK(strcmp(got[0], "TRACESHIM_LOG=json") == 0);
}

CORE_TEST(no_environment_is_nothing_to_restore)
{
	char *got[ENVIRONMENT_RESTORED_MAX];

	environment_remember(NULL);
	environment_remember((char *[]){ NULL });
	CHECK_INT(environment_restore(got), 0);
}

CORE_TEST(more_entries_or_bytes_than_there_is_room_for_are_left_out_whole)
{
	static char text[100][64], huge[5000];
	char *env[102] = { huge }, *got[ENVIRONMENT_RESTORED_MAX];
	size_t n;
	int i;

	memset(huge, 'x', sizeof(huge) - 1);
	memcpy(huge, "OTEL_BIG=", 9);
	for (i = 0; i < 100; i++) {
		snprintf(text[i], sizeof(text[i]), "OTEL_%d=value", i);
		env[i + 1] = text[i];
	}
	environment_remember(env);
	n = environment_restore(got);
	CHECK_INT(n, ENVIRONMENT_RESTORED_MAX);
	for (i = 0; i < (int)n; i++)
		CHECK(strcmp(got[i], text[i]) == 0);
}

CORE_TEST(descendants_are_told_the_trees_files_unless_logs_are_off)
{
	CHECK(environment_stdio() == NULL);
	config.log_mode = LOG_JSON;
	CHECK(strcmp(environment_stdio(), "TRACESHIM_STDIO=-,-") == 0);
}

int main(void)
{
#define TEST(name) cmocka_unit_test(name)
	const struct CMUnitTest tests[] = {
		TEST(the_preload_and_the_configuration_are_remembered_and_nothing_else),
		TEST(what_is_remembered_outlives_the_programs_own_environment),
		TEST(no_environment_is_nothing_to_restore),
		TEST(more_entries_or_bytes_than_there_is_room_for_are_left_out_whole),
		TEST(descendants_are_told_the_trees_files_unless_logs_are_off),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

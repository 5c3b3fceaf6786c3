/*
 * Is this machine one where programs run the same under the object? `traceshim doctor --self-test`.
 */
#ifndef TRACESHIM_CLI_SELF_TEST_H
#define TRACESHIM_CLI_SELF_TEST_H

#include <stdbool.h>

/*
 * Run a few ordinary programs bare and preloaded, compare, and report on stdout.
 *
 * given  path of our object from --library, or NULL
 * Returns the exit status: 0 safe and traced, 1 safe but not all is traced, 2 a program behaved differently, 3 an error.
 */
int self_test_run(const char *given, bool json);

/* The server and the client of the test, as programs of their own (argv[0] tells which). Not for people. */
int self_test_server(int argc, char **argv);
int self_test_client(int argc, char **argv);

#endif

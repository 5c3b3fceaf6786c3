/*
 * Words for people: messages on stderr, and strings of others made safe to show.
 */
#ifndef TRACESHIM_CLI_TEXT_H
#define TRACESHIM_CLI_TEXT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#ifndef TRACESHIM_VERSION
#define TRACESHIM_VERSION "0.0.0"
#endif

struct cJSON;

/* "traceshim: " and the message and a newline, on stderr; control characters of the message are escaped. */
void text_error(const char *format, ...) __attribute__((format(printf, 1, 2)));

/*
 * Copy `in` (up to `in_len` bytes or its NUL) so that it is valid UTF-8 and cannot steer a terminal: control characters
 * (C0, DEL, C1) and bytes that are not UTF-8 become \xNN, a backslash becomes \\. Always NUL-terminates; what does not
 * fit is cut between characters. Returns `out`.
 */
char *text_clean(char *out, size_t size, const char *in, size_t in_len);

/* Print text_clean of a NUL-terminated string of any length. */
void text_put(FILE *out, const char *in);

/* The same for JSON: text_clean of `in` (first 4096 bytes) as member `name`. */
void text_add_json(struct cJSON *object, const char *name, const char *in);

/* A count as a JSON number, exact beyond 2^53. */
void text_add_json_count(struct cJSON *object, const char *name, uint64_t count);

/* Print a JSON tree and a newline on stdout, and free it. Returns false when that failed. */
bool text_print_json(struct cJSON *tree);

/* Tell what getopt_long's `answer` ('?' or ':') says of the options of `traceshim COMMAND`. */
void text_usage_error(const char *command, int answer, char **argv);

/* All digits, in the range of process ids? Then its value, else 0. */
int32_t text_to_pid(const char *s);

#endif

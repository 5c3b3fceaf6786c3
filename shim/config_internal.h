/*
 * Shared by the files of the module config only: config.c (storage, environment), config_file.c (the file),
 * config_values.c (what each key's value means), config_match.c (patterns).
 */
#ifndef TRACESHIM_CONFIG_INTERNAL_H
#define TRACESHIM_CONFIG_INTERNAL_H

#include "config.h"
#include "config_keys.h"

enum config_key {
#define X(name, key, standard, text) CONFIG_KEY_##name,
	CONFIG_KEYS(X)
#undef X
		CONFIG_KEY_COUNT
};

/* Bytes borrowed from the environment, the file or a literal. text NULL: absent. */
struct config_piece {
	const char *text;
	size_t len;
};

/* The key of this name, or CONFIG_KEY_COUNT. */
enum config_key config_find_key(const char *name, size_t len);
const char *config_key_text(enum config_key key);

/* Count and note a wrong value (shortened, control characters hidden), and what would have been right. */
void config_reject(enum config_key key, struct config_piece value, const char *allowed);

/* Count and note a key that is not in the table, with the nearest one that is. */
void config_reject_key(const char *name, size_t len);

/* Copy into the configuration's storage, NUL-terminated. len 0 when the storage is full (noted). */
struct config_name config_store(struct config_piece piece);

/* The next member of a list, without white space around it; empty ones are passed over. False at the end. */
bool config_next_item(struct config_piece *rest, char separator, struct config_piece *item);

/* ASCII only, whatever the locale. */
bool config_equals(struct config_piece piece, const char *word);
char config_lower(char c);

/* Put into effect a value that is not empty. Keys without an effect of their own are ignored. */
void config_apply(enum config_key key, struct config_piece value);

/*
 * Read the file into `value` where it has nothing yet. The pieces point into pages that config_release_file gives back.
 */
void config_read_file(struct config_piece path, struct config_piece value[CONFIG_KEY_COUNT]);
void config_release_file(void);

/* Does the name of a format stand where TRACESHIM_LOG is expected? */
bool config_is_format(struct config_piece value);

/* Globs as config_is_log_file describes them. */
bool config_glob(struct config_piece pattern, struct config_piece text);

/* Bring one host pattern into the form that config_host_allowed compares: lower case, brackets around IPv6.
 * `room` bytes at `out`. Returns its length; 0: not a pattern. */
size_t config_host_pattern(struct config_piece item, char *out, size_t room);

#endif

/*
 * Status pages of guests: found, checked, and the stale ones removed.
 */
#ifndef TRACESHIM_CLI_STATUS_FILE_H
#define TRACESHIM_CLI_STATUS_FILE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "../shim/status_page.h"

enum status_file {
	STATUS_FILE_OK,
	STATUS_FILE_NONE,  /* there is none */
	STATUS_FILE_STALE, /* its process has ended (or its pid belongs to another one now) */
	STATUS_FILE_BAD    /* not a page, or not one that this process may have written: not to be believed */
};

/*
 * Make a page of `len` bytes, read from a file named for `pid`, safe to use: strings end, counts are within bounds, and
 * counters that the writer does not have are 0. False when it is no page of this layout for this pid. Pure.
 */
bool status_page_accept(struct status_page *page, size_t len, int32_t pid);

/* The text of counter i, and its name in C; NULL beyond those that this program knows. */
const char *status_counter_text(unsigned i);
const char *status_counter_name(unsigned i);

/* Does a counter of this name mean that something was left undone? */
bool status_counter_is_degradation(const char *name);

/*
 * TRACESHIM_RUN_DIR as the object takes it: an absolute path of at most 255 bytes. NULL where it is unset or empty, or ignored there
 * (which is told here, once).
 */
const char *status_run_dir_given(void);

/* The folder of the pages: the one that is given, or the default. */
const char *status_run_dir(void);

/* Read and check the page of `pid` in the folder open as `dir`. `page` is valid with STATUS_FILE_OK only. */
enum status_file status_file_read(int dir, int32_t pid, struct status_page *page);

/* The same, looked for in our folder, and then where the process itself has its page mapped. */
enum status_file status_file_find(int32_t pid, struct status_page *page);

/* Remove the page of a process that has ended. False when it is not stale (any more) or may not be removed. */
bool status_file_remove_stale(int dir, int32_t pid);

#endif

/*
 * The files that a guest leaves in TRACESHIM_RUN_DIR: the status page, and rings. Without stdio; signal-safe.
 */
#ifndef TRACESHIM_RUN_FILES_H
#define TRACESHIM_RUN_FILES_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#define RUN_PATH_ROOM 384 /* a folder of 255, and a name of pid, ticks, number and suffix */

/* "<run_dir>/" at `path`. Returns its length; 0: there is no folder, or its name is too long. */
size_t run_files_path(char path[RUN_PATH_ROOM]);

/* A decimal number at path + len; returns the new length. */
size_t run_files_number(char *path, size_t len, uint64_t number);

/* Make a file that was not there, open for reading and writing; the folder too, if it is not there. -1: errno. */
int run_files_make(const char *path, mode_t mode);

/* Field 22 of /proc/self/stat; 0: not to be had. */
uint64_t run_files_start_ticks(void);

#endif

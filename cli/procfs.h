/*
 * What /proc says about a process.
 */
#ifndef TRACESHIM_CLI_PROCFS_H
#define TRACESHIM_CLI_PROCFS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Field 22 of /proc/PID/stat, the start time in ticks after boot; 0 when there is no such process. */
uint64_t procfs_start_ticks(int pid);

/* The same out of the text of a stat file. The name in it may hold blanks and parentheses. 0 when it is none. */
uint64_t procfs_parse_start_ticks(const char *stat);

/* Does `uid` own this process (really, effectively or saved)? */
bool procfs_has_uid(int pid, uint32_t uid);

/*
 * Call `visit` for each file that the process maps, once per mapping, in order of address.
 *
 * code   only what is mapped executable: programs and libraries
 * path   as the process sees it
 * reach  as we can open it (through /proc/PID/root)
 * A visit that returns false ends the walk. Returns 0, or the errno of reading the map (EACCES, ENOENT...).
 */
typedef bool procfs_visit(void *owner, const char *path, const char *reach);
int procfs_each_mapped_file(int pid, bool code, procfs_visit *visit, void *owner);

/* Is libtraceshim.so mapped there? 1, 0, or -1 with errno when one may not look. */
int procfs_has_object(int pid);

/* The value of an environment variable at the start of a process; false when it is not set or cannot be read. */
bool procfs_environment(int pid, const char *name, char *value, size_t size);

/* The path of its program, into `path`. Returns 0 or an errno value (ENOENT: a kernel thread, or gone). */
int procfs_program(int pid, char *path, size_t size);

#endif

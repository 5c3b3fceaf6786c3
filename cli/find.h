/*
 * Where things are: the object libtraceshim.so, a program by name, the bytes of a file.
 */
#ifndef TRACESHIM_CLI_FIND_H
#define TRACESHIM_CLI_FIND_H

#include <linux/limits.h> /* PATH_MAX; <limits.h> may find a limits.h of ours */
#include <stdbool.h>
#include <stddef.h>

#include "elf_file.h"

#define FIND_OBJECT_NAME "libtraceshim.so"

/* A file's bytes, mapped read-only. */
struct mapping {
	void *data;
	size_t size;
};

/* Map a regular file, whole. An empty one has size 0 and any `data`. Returns 0, or an errno value. */
int find_map(struct mapping *map, const char *path);
void find_unmap(struct mapping *map);

/*
 * Find our object: `given` (--library), else TRACESHIM_LIBRARY, else beside this program (build tree), else in
 * ../lib/traceshim and ../lib from it, else in the directory that the build was configured with.
 *
 * path  out: absolute path with symbolic links resolved
 * Returns false when there is none. A named one that is missing is not searched for elsewhere: `path` is then its name.
 */
bool find_object(char path[PATH_MAX], const char *given);

/*
 * Is an absolute path closed to users who are neither its owner nor of its group: a folder on the way that they may not search, or the
 * file itself, which they may not read? Told by permission bits; access lists are not looked at.
 *
 * part  out: the first that is closed
 */
bool find_closed_part(char part[PATH_MAX], const char *path);

/*
 * Can the dynamic loader take this path in LD_PRELOAD? NULL when it can, else the reason in words: space and ':' separate
 * entries, '$' begins a substitution.
 */
const char *find_preload_obstacle(const char *path);

/*
 * Find a program as execvp does: with a '/' in its name it is a path, otherwise the first executable file of PATH.
 * Returns 0 with `path` set, or the errno that execvp would give (ENOENT, EACCES).
 */
int find_program(char path[PATH_MAX], const char *name);

/* The part after the last '/'. */
const char *find_base_name(const char *path);

/*
 * The value for LD_PRELOAD that has our object at its end: `old` (may be NULL) is kept as it is. When it names the same
 * file already, or one of the same name that cannot be looked at (such as "$LIB/..."), nothing is added; another file of
 * the same name is replaced, since two shims in one process would both rewrite.
 * Returns malloc'ed text; NULL without memory.
 */
char *find_preload_value(const char *old, const char *object);

#endif

/*
 * The libraries that the dynamic loader would bring in for a program.
 */
#ifndef TRACESHIM_CLI_CLOSURE_H
#define TRACESHIM_CLI_CLOSURE_H

#include <stdbool.h>
#include <stddef.h>

#include "elf_file.h"
#include "find.h"

/* More than the largest programs have (a full desktop browser: about 200). */
#define CLOSURE_MAX 512

struct closure_library {
	char *name; /* as needed: "libc.so.6" */
	char *path; /* where it was found, or NULL when it was not */
	struct mapping map;
	struct elf_file elf; /* valid when path is not NULL */
};

struct closure {
	struct closure_library *libraries;
	size_t count;
};

/*
 * Resolve what `program` (at `path`) needs, transitively: DT_RPATH, LD_LIBRARY_PATH, DT_RUNPATH, the folders of
 * /etc/ld.so.conf (musl: of its path file), the default folders. Libraries that are not found stay in the list without a
 * path. All zero on entry. Never fails: without memory the list is short.
 */
void closure_resolve(struct closure *closure, const struct elf_file *program, const char *path);

/* Resolve what is mapped in a running process instead: exactly what it has, modules loaded later included. */
void closure_of_process(struct closure *closure, int pid);

/* The first library whose name or file name begins with `prefix`, or NULL. */
const struct closure_library *closure_find(const struct closure *closure, const char *prefix);

void closure_free(struct closure *closure);

/* Is this the interpreter path of musl's loader? */
bool closure_is_musl(const char *interp);

#endif

/*
 * Which of our hooks a program would run into: the exports of our object against what the program imports.
 */
#ifndef TRACESHIM_CLI_HOOK_USE_H
#define TRACESHIM_CLI_HOOK_USE_H

#include <stdbool.h>
#include <stddef.h>

#include "elf_file.h"

struct hook_use {
	const char **names; /* our exports, sorted; they point into the object's bytes */
	bool *by_program;   /* names[i] is imported by the program itself */
	bool *by_library;   /* ... by a library that it brings in */
	size_t count;
	bool stdio; /* the program or a library prints through libc's stdio */
};

/* Take the hook names from our object's dynamic symbols; `object` stays borrowed. False without memory. */
bool hook_use_load(struct hook_use *use, const struct elf_file *object);

/* Mark what `importer` (the program, or one of its libraries) imports. */
void hook_use_match(struct hook_use *use, const struct elf_file *importer, bool is_library);

/* How many hooks are imported by anybody; of them, those of `family` when it is not NULL. */
size_t hook_use_count(const struct hook_use *use, const char *family);

/* The family of a hooked function, in words: "sockets", "threads"...; hook_use_family_name(i) lists them, NULL at the end. */
const char *hook_use_family(const char *symbol);
const char *hook_use_family_name(size_t i);

void hook_use_free(struct hook_use *use);

#endif

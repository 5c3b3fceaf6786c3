/*
 * What an ELF file says about itself, read from its bytes alone: is it dynamic, what does it import, export and need.
 */
#ifndef TRACESHIM_CLI_ELF_FILE_H
#define TRACESHIM_CLI_ELF_FILE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum elf_result {
	ELF_OK,      /* of this machine's class and byte order: everything below is valid */
	ELF_NOT,     /* no ELF magic */
	ELF_FOREIGN, /* another class or byte order: only `bits`, `machine` and `type` are valid */
	ELF_DAMAGED  /* it says ELF, but what it describes does not lie within the file */
};

/* Public to be embedded. Every pointer in it points into `data`, which the caller keeps as long as this struct. */
struct elf_file {
	const unsigned char *data;
	size_t size;
	unsigned bits;    /* 32 or 64 */
	unsigned machine; /* EM_* */
	unsigned type;    /* ET_* */
	uint64_t entry;
	bool dynamic;                                  /* has a dynamic section */
	bool pie;                                      /* DF_1_PIE */
	bool go;                                       /* carries the Go tool chain's build id or build info */
	const char *interp, *soname, *rpath, *runpath; /* NUL-terminated, or NULL */

	/* The rest is for elf_file.c: file offsets and counts, all checked to lie within the file. */
	uint64_t program_headers, dynamic_offset, strings, symbols, needed_versions, defined_versions;
	uint64_t strings_size;
	uint32_t program_header_count, dynamic_count, symbol_count, needed_version_count, defined_version_count;
};

/*
 * Read `size` bytes of a file. Any bytes are allowed. No allocation; `data` is borrowed for the life of `f`.
 * ELF specification (gABI) chapters 4 and 5; LSB 10.7 for symbol versions.
 */
enum elf_result elf_parse(struct elf_file *f, const void *data, size_t size);

/* The i-th DT_NEEDED name, or NULL after the last (a name that is no string within the file ends the list too). */
const char *elf_needed(const struct elf_file *f, unsigned i);

struct elf_symbol {
	const char *name;
	bool defined, weak, function;
};

/* The i-th dynamic symbol with a name; false after the last. Nameless and local ones have name "". */
bool elf_symbol(const struct elf_file *f, uint32_t i, struct elf_symbol *out);

/* Is `name` a defined, non-local dynamic symbol of this file? Linear. */
bool elf_defines(const struct elf_file *f, const char *name);

/*
 * Call `visit` for each symbol version that the file requires of another (elf_needed_versions: `library` is that file's
 * name; weak requirements are left out) or defines itself (elf_defined_versions: `library` is NULL). A visit that returns
 * false ends the walk.
 */
typedef bool elf_version_visit(void *owner, const char *library, const char *version);
void elf_needed_versions(const struct elf_file *f, elf_version_visit *visit, void *owner);
void elf_defined_versions(const struct elf_file *f, elf_version_visit *visit, void *owner);

/* "64-bit x86-64"-like words for the file's class and machine, in `out`. */
void elf_describe(const struct elf_file *f, char *out, size_t len);

#endif

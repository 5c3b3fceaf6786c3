/*
 * A reading of ld.so(8) and of musl's loader that is good enough to know what a program imports: breadth first from the
 * program, each name resolved once. Left out: ld.so.cache (the folders it was made from are read instead), hwcaps
 * variants of a library (they import the same), and inheritance of DT_RPATH other than from the program itself.
 * Bounded by CLOSURE_MAX libraries and SEARCH_MAX folders.
 */
#include "closure.h"

#include <glob.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "procfs.h"

#define SEARCH_MAX 128
#define INCLUDE_DEPTH 4

#if defined(__x86_64__)
#define TRIPLET "x86_64-linux-gnu"
#elif defined(__aarch64__)
#define TRIPLET "aarch64-linux-gnu"
#else
#define TRIPLET "."
#endif

/* The folders that do not depend on who asks. */
struct search {
	char *folder[SEARCH_MAX];
	size_t count;
};

struct lookup {
	const struct elf_file *program, *loader; /* `loader`: who needs the library */
	const char *program_path, *loader_path;
};

bool closure_is_musl(const char *interp)
{
	return interp && strncmp(find_base_name(interp), "ld-musl", 7) == 0;
}

static void search_add(struct search *search, const char *folder, size_t len)
{
	if (len && search->count < SEARCH_MAX) {
		search->folder[search->count] = strndup(folder, len);
		if (search->folder[search->count])
			search->count++;
	}
}

static void search_add_file(struct search *search, const char *path, int depth);

static void search_add_line(struct search *search, char *line, int depth)
{
	char *word = line + strspn(line, " \t");
	glob_t found;

	word[strcspn(word, "#\n")] = '\0';
	if (strncmp(word, "include", 7) == 0 && (word[7] == ' ' || word[7] == '\t')) {
		word += 7;
		word += strspn(word, " \t");
		word[strcspn(word, " \t")] = '\0';
		if (depth < INCLUDE_DEPTH && glob(word, 0, NULL, &found) == 0) {
			for (size_t i = 0; i < found.gl_pathc; i++)
				search_add_file(search, found.gl_pathv[i], depth + 1);
			globfree(&found);
		}
		return;
	}
	/* One folder a line here; musl's path file has them separated by ':' too. */
	for (char *at = word; *at; at += strspn(at, ": \t")) {
		size_t len = strcspn(at, ": \t");

		if (*at == '/')
			search_add(search, at, len);
		at += len;
	}
}

static void search_add_file(struct search *search, const char *path, int depth)
{
	FILE *file = fopen(path, "re");
	char line[PATH_MAX];

	if (!file)
		return;
	while (fgets(line, sizeof(line), file))
		search_add_line(search, line, depth);
	fclose(file);
}

static void search_fill(struct search *search, const char *interp)
{
	static const char *const glibc[] = { "/lib/" TRIPLET, "/usr/lib/" TRIPLET, "/lib64", "/usr/lib64",
		                             "/lib",          "/usr/lib" };
	static const char *const musl[] = { "/lib", "/usr/local/lib", "/usr/lib" };
	char path[PATH_MAX];

	if (closure_is_musl(interp)) {
		/* /lib/ld-musl-x86_64.so.1 reads /etc/ld-musl-x86_64.path. */
		const char *base = find_base_name(interp);

		snprintf(path, sizeof(path), "/etc/%.*s.path", (int)strcspn(base, "."), base);
		search_add_file(search, path, INCLUDE_DEPTH);
		for (size_t i = 0; i < sizeof(musl) / sizeof(musl[0]); i++)
			search_add(search, musl[i], strlen(musl[i]));
		return;
	}
	search_add_file(search, "/etc/ld.so.conf", 0);
	for (size_t i = 0; i < sizeof(glibc) / sizeof(glibc[0]); i++)
		search_add(search, glibc[i], strlen(glibc[i]));
}

/* Does `path` name a library of our kind? Then keep it mapped. The loader too steps over one of another class. */
static bool library_try(struct closure_library *library, const struct elf_file *program, const char *path)
{
	if (access(path, R_OK) != 0 || find_map(&library->map, path) != 0)
		return false;
	if (elf_parse(&library->elf, library->map.data, library->map.size) == ELF_OK &&
	    library->elf.machine == program->machine) {
		library->path = strdup(path);
		if (library->path)
			return true;
	}
	find_unmap(&library->map);
	return false;
}

/* Replace $ORIGIN and $LIB in one search entry. False when it does not fit or holds something else to replace. */
static bool search_expand(char out[PATH_MAX], const char *entry, size_t len, const char *loader_path)
{
	const char *slash = strrchr(loader_path, '/');
	size_t used = 0;

	for (size_t i = 0; i < len;) {
		static const char *const names[] = { "$ORIGIN", "${ORIGIN}", "$LIB", "${LIB}" };
		const char *value = NULL;
		size_t value_len = 0, name_len = 1;

		for (size_t k = 0; entry[i] == '$' && k < 4; k++) {
			name_len = strlen(names[k]);
			if (len - i >= name_len && strncmp(entry + i, names[k], name_len) == 0) {
				value = k >= 2 ? "lib/" TRIPLET : slash ? loader_path : ".";
				value_len = k >= 2 || !slash ? strlen(value) : (size_t)(slash - loader_path);
				break;
			}
		}
		if (!value && entry[i] == '$')
			return false;
		if (!value) {
			value = entry + i;
			value_len = name_len = 1;
		}
		if (used + value_len >= PATH_MAX)
			return false;
		memcpy(out + used, value, value_len);
		used += value_len;
		i += name_len;
	}
	out[used] = '\0';
	return used > 0;
}

/* Look in the folders of `list`, separated by `separators`. */
static bool library_try_list(struct closure_library *library, const struct lookup *lookup, const char *list,
                             const char *separators, const char *loader_path)
{
	char folder[PATH_MAX], path[PATH_MAX + 256];

	for (const char *at = list; at && *at;) {
		size_t len = strcspn(at, separators);

		if (search_expand(folder, at, len, loader_path) &&
		    (size_t)snprintf(path, sizeof(path), "%s/%s", folder, library->name) < sizeof(path) &&
		    library_try(library, lookup->program, path))
			return true;
		at += len;
		at += strspn(at, separators);
	}
	return false;
}

static void library_locate(struct closure_library *library, const struct lookup *lookup, const struct search *search)
{
	const struct elf_file *loader = lookup->loader, *program = lookup->program;
	char path[PATH_MAX];

	if (strchr(library->name, '/')) {
		(void)library_try(library, program, library->name);
		return;
	}
	/* musl's loader is its libc. */
	if (closure_is_musl(program->interp) &&
	    (strcmp(library->name, "libc.so") == 0 || strncmp(library->name, "libc.musl", 9) == 0)) {
		(void)library_try(library, program, program->interp);
		return;
	}
	if ((!loader->runpath && library_try_list(library, lookup, loader->rpath, ":", lookup->loader_path)) ||
	    (!loader->runpath && !program->runpath &&
	     library_try_list(library, lookup, program->rpath, ":", lookup->program_path)) ||
	    library_try_list(library, lookup, getenv("LD_LIBRARY_PATH"), ":;", lookup->program_path) ||
	    library_try_list(library, lookup, loader->runpath, ":", lookup->loader_path))
		return;
	for (size_t i = 0; i < search->count; i++)
		if ((size_t)snprintf(path, sizeof(path), "%s/%s", search->folder[i], library->name) < sizeof(path) &&
		    library_try(library, program, path))
			return;
}

static struct closure_library *closure_add(struct closure *closure, const char *name)
{
	struct closure_library *library;

	if (!closure->libraries)
		closure->libraries = calloc(CLOSURE_MAX, sizeof(*closure->libraries));
	if (!closure->libraries || closure->count == CLOSURE_MAX)
		return NULL;
	library = &closure->libraries[closure->count];
	library->name = strdup(name);
	if (!library->name)
		return NULL;
	closure->count++;
	return library;
}

static bool closure_has(const struct closure *closure, const char *name)
{
	for (size_t i = 0; i < closure->count; i++)
		if (strcmp(closure->libraries[i].name, name) == 0)
			return true;
	return false;
}

static void closure_add_needed(struct closure *closure, const struct lookup *lookup, const struct search *search)
{
	const char *name;

	for (unsigned i = 0; (name = elf_needed(lookup->loader, i)) != NULL; i++) {
		struct closure_library *library;

		if (!*name || closure_has(closure, name))
			continue;
		library = closure_add(closure, name);
		if (!library)
			return;
		library_locate(library, lookup, search);
	}
}

void closure_resolve(struct closure *closure, const struct elf_file *program, const char *path)
{
	struct lookup lookup = { program, program, path, path };
	struct search search = { .count = 0 };

	search_fill(&search, program->interp);
	closure_add_needed(closure, &lookup, &search);
	for (size_t i = 0; i < closure->count; i++) {
		if (!closure->libraries[i].path)
			continue;
		lookup.loader = &closure->libraries[i].elf;
		lookup.loader_path = closure->libraries[i].path;
		closure_add_needed(closure, &lookup, &search);
	}
	for (size_t i = 0; i < search.count; i++)
		free(search.folder[i]);
}

static bool closure_add_mapped(void *owner, const char *path, const char *reach)
{
	struct closure *closure = owner;
	const char *name = find_base_name(path);
	struct closure_library *library;
	struct elf_file probe;
	struct mapping map;

	if (!strstr(name, ".so") || closure_has(closure, name) || find_map(&map, reach) != 0)
		return true;
	if (elf_parse(&probe, map.data, map.size) != ELF_OK || !(library = closure_add(closure, name))) {
		find_unmap(&map);
		return true;
	}
	library->path = strdup(path);
	library->map = map;
	library->elf = probe;
	return true;
}

void closure_of_process(struct closure *closure, int pid)
{
	procfs_each_mapped_file(pid, true, closure_add_mapped, closure);
}

const struct closure_library *closure_find(const struct closure *closure, const char *prefix)
{
	size_t len = strlen(prefix);

	for (size_t i = 0; i < closure->count; i++) {
		const struct closure_library *library = &closure->libraries[i];

		if (strncmp(find_base_name(library->name), prefix, len) == 0 ||
		    (library->path && strncmp(find_base_name(library->path), prefix, len) == 0))
			return library;
	}
	return NULL;
}

void closure_free(struct closure *closure)
{
	for (size_t i = 0; i < closure->count; i++) {
		find_unmap(&closure->libraries[i].map);
		free(closure->libraries[i].name);
		free(closure->libraries[i].path);
	}
	free(closure->libraries);
	closure->libraries = NULL;
	closure->count = 0;
}

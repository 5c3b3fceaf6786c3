/*
 * Finding functions without dlsym. One that may not be there: before glibc 2.34 that is in libdl, and a program that does not load libdl must run all the
 * same. And those of one object of several that have functions of that name (two versions of libssl), where only an address can tell
 * which one is meant. What dlsym(RTLD_NEXT) would do: the objects behind ours in the loader's order, their dynamic symbols by the
 * GNU hash table (or the older one), the default version.
 *
 * Who may call: anybody; it takes the loader's lock as dlsym does. Memory: none. Source: System V gABI, 'Dynamic Section'; the
 * GNU hash table as binutils and glibc have it.
 */
#include "lookup.h"

#include "real.h"

#include <dlfcn.h>
#include <elf.h>
#include <link.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>

extern const char __ehdr_start __attribute__((visibility("hidden")));

/* What the dynamic section of one object says. */
struct tables {
	const Elf64_Sym *symbols;
	const char *names;
	const uint32_t *gnu_hash, *hash;
	const uint16_t *versions;
};

struct search {
	const char *name;
	bool own;    /* ours is meant */
	bool behind; /* we are past our own object, or in it */
	void *found;
};

/* glibc has made most of these addresses absolute by then, but not in every object (the vDSO), and musl in none. */
static const void *address(const struct dl_phdr_info *info, Elf64_Addr value)
{
	return (const void *)(value < info->dlpi_addr ? info->dlpi_addr + value : value);
}

static bool read_tables(const struct dl_phdr_info *info, struct tables *t)
{
	const Elf64_Dyn *dyn = NULL;
	unsigned i;

	*t = (struct tables){ 0 };
	for (i = 0; i < info->dlpi_phnum; i++)
		if (info->dlpi_phdr[i].p_type == PT_DYNAMIC)
			dyn = (const Elf64_Dyn *)(info->dlpi_addr + info->dlpi_phdr[i].p_vaddr);
	for (; dyn != NULL && dyn->d_tag != DT_NULL; dyn++) {
		const void *at = address(info, dyn->d_un.d_ptr);

		switch (dyn->d_tag) {
		case DT_SYMTAB: t->symbols = at; break;
		case DT_STRTAB: t->names = at; break;
		case DT_GNU_HASH: t->gnu_hash = at; break;
		case DT_HASH: t->hash = at; break;
		case DT_VERSYM: t->versions = at; break;
		default: break;
		}
	}
	return t->symbols != NULL && t->names != NULL;
}

/* Not strcmp, which a sanitizer in the program has one of: it asks us for libc's before that may be called. */
static bool is_same(const char *a, const char *b)
{
	while (*a == *b && *a != '\0') {
		a++;
		b++;
	}
	return *a == *b;
}

/* Is it the one, defined here, and not only there for programs that were linked long ago? */
static bool is_it(const struct tables *t, uint32_t index, const char *name)
{
	const Elf64_Sym *symbol = &t->symbols[index];

	return symbol->st_shndx != SHN_UNDEF && (symbol->st_info & 15) != STT_GNU_IFUNC &&
	       is_same(t->names + symbol->st_name, name) &&
	       (t->versions == NULL || (t->versions[index] & 0x8000u) == 0);
}

static uint32_t find_gnu(const struct tables *t, const char *name)
{
	const uint32_t *table = t->gnu_hash;
	uint32_t buckets = table[0], first = table[1], words = table[2], hash = 5381, index;
	const uint32_t *bucket = table + 4 + words * (sizeof(Elf64_Addr) / 4), *chain = bucket + buckets;
	const char *p;

	for (p = name; *p != '\0'; p++)
		hash = hash * 33 + (uint8_t)*p;
	index = buckets == 0 ? 0 : bucket[hash % buckets];
	if (index < first || index == 0)
		return 0;
	for (;; index++) {
		if ((chain[index - first] | 1) == (hash | 1) && is_it(t, index, name))
			return index;
		if (chain[index - first] & 1)
			return 0;
	}
}

static uint32_t find_old(const struct tables *t, const char *name)
{
	const uint32_t *bucket = t->hash + 2, *chain = bucket + t->hash[0];
	uint32_t hash = 0, index;
	const char *p;

	for (p = name; *p != '\0'; p++) {
		hash = (hash << 4) + (uint8_t)*p;
		hash = (hash ^ (hash >> 24 & 0xf0)) & 0x0fffffff;
	}
	index = t->hash[0] == 0 ? 0 : bucket[hash % t->hash[0]];
	while (index != 0 && !is_it(t, index, name))
		index = chain[index];
	return index;
}

static uint32_t find_in(const struct tables *t, const char *name)
{
	if (t->gnu_hash != NULL)
		return find_gnu(t, name);
	return t->hash != NULL ? find_old(t, name) : 0;
}

static int look_into(struct dl_phdr_info *info, size_t size, void *arg)
{
	struct search *search = arg;
	struct tables t;
	uint32_t index;

	(void)size;
	if (!search->behind) {
		search->behind = (const char *)info->dlpi_addr == &__ehdr_start;
		if (!search->behind || !search->own)
			return 0;
	}
	if (!read_tables(info, &t))
		return 0;
	index = find_in(&t, search->name);
	if (index != 0)
		search->found = (void *)(info->dlpi_addr + t.symbols[index].st_value);
	return search->own || index != 0;
}

static void *look_for(struct search search)
{
	(void)dl_iterate_phdr(look_into, &search);
	return search.found;
}

void *lookup_next(const char *name)
{
	return look_for((struct search){ .name = name });
}

void *lookup_own(const char *name)
{
	return look_for((struct search){ .name = name, .own = true });
}

/* Which object is meant, and what is wanted of it. */
struct wanted {
	struct lookup_object *object;
	const char *names;
	void **functions;
	const void *const *addresses;
	unsigned count;
};

/* The part of memory that the object has, if one of the addresses is in it, or if there are none. */
static bool is_meant(const struct dl_phdr_info *info, struct wanted *wanted)
{
	uintptr_t first = UINTPTR_MAX, last = 0;
	unsigned i;

	for (i = 0; i < info->dlpi_phnum; i++) {
		uintptr_t from = info->dlpi_addr + info->dlpi_phdr[i].p_vaddr;

		if (info->dlpi_phdr[i].p_type != PT_LOAD)
			continue;
		if (from < first)
			first = from;
		if (from + info->dlpi_phdr[i].p_memsz > last)
			last = from + info->dlpi_phdr[i].p_memsz;
	}
	*wanted->object = (struct lookup_object){ first, last, info->dlpi_name };
	for (i = 0; i < wanted->count; i++)
		if (lookup_is_in(wanted->object, wanted->addresses[i]))
			return true;
	return wanted->count == 0;
}

static int look_for_all(struct dl_phdr_info *info, size_t size, void *arg)
{
	struct wanted *wanted = arg;
	const char *name = wanted->names;
	struct tables t;
	unsigned i;

	(void)size;
	if ((const char *)info->dlpi_addr == &__ehdr_start || !is_meant(info, wanted) || !read_tables(info, &t) ||
	    find_in(&t, name) == 0)
		return 0;
	for (i = 0; *name != '\0'; name += strlen(name) + 1, i++) {
		uint32_t index = find_in(&t, name);

		wanted->functions[i] = index != 0 ? (void *)(info->dlpi_addr + t.symbols[index].st_value) : NULL;
	}
	return 1;
}

bool lookup_functions(struct lookup_object *object, const char *names, void **functions, const void *const *addresses,
                      unsigned count)
{
	struct wanted wanted = { object, names, functions, addresses, count };

	return dl_iterate_phdr(look_for_all, &wanted) != 0;
}

static int look_at_count(struct dl_phdr_info *info, size_t size, void *arg)
{
	(void)size;
	*(uint64_t *)arg = info->dlpi_subs;
	return 1;
}

uint64_t lookup_unloaded(void)
{
	uint64_t count = 0;

	(void)dl_iterate_phdr(look_at_count, &count);
	return count;
}

/* The program comes first. */
static int look_at_first(struct dl_phdr_info *info, size_t size, void *arg)
{
	(void)size;
	return is_meant(info, arg) ? 1 : -1;
}

bool lookup_in_program(const void *address)
{
	struct lookup_object object;
	struct wanted wanted = { .object = &object, .addresses = &address, .count = 1 };

	return dl_iterate_phdr(look_at_first, &wanted) > 0;
}

void lookup_keep(const struct lookup_object *object)
{
	if (object->path != NULL && *object->path == '/')
		(void)REAL(dlopen)(object->path, RTLD_LAZY | RTLD_NOLOAD | RTLD_NODELETE);
}

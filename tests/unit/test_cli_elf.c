/*
 * The ELF reader of the command-line program: right about real files, and never outside of any file.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <elf.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../../cli/closure.h"
#include "../../cli/elf_file.h"
#include "../../cli/find.h"
#include "../../cli/hook_use.h"

#define SAMPLE "/bin/true"

/* A heap copy of exactly the file's size, so that the sanitizer sees any step beyond its end. */
static unsigned char *copy_sample(size_t *size)
{
	struct mapping map;
	unsigned char *copy;

	assert_int_equal(find_map(&map, SAMPLE), 0);
	assert_true(map.size > 4096);
	copy = malloc(map.size);
	assert_non_null(copy);
	memcpy(copy, map.data, map.size);
	*size = map.size;
	find_unmap(&map);
	return copy;
}

static void replace_all(unsigned char *data, size_t size, const char *from, const char *to, size_t len)
{
	unsigned char *at;
	unsigned n = 0;

	while ((at = memmem(data, size, from, len)) != NULL) {
		memcpy(at, to, len);
		n++;
	}
	assert_true(n > 0);
}

static void a_dynamic_program_tells_its_loader_and_libraries(void **state)
{
	struct elf_file elf;
	struct elf_symbol sym;
	unsigned char *data;
	unsigned n = 0, imports = 0;
	bool libc = false;
	size_t size;

	(void)state;
	data = copy_sample(&size);
	assert_int_equal(elf_parse(&elf, data, size), ELF_OK);
	assert_true(elf.dynamic);
	assert_non_null(elf.interp);
	assert_true(strncmp(elf.interp, "/lib", 4) == 0);
	assert_false(elf.go);
	for (; elf_needed(&elf, n); n++)
		libc = libc || strcmp(elf_needed(&elf, n), "libc.so.6") == 0;
	assert_true(libc);
	assert_null(elf_needed(&elf, n));
	for (uint32_t i = 0; elf_symbol(&elf, i, &sym); i++)
		imports += !sym.defined && strcmp(sym.name, "__libc_start_main") == 0;
	assert_int_equal(imports, 1);
	free(data);
}

static bool count_version(void *owner, const char *library, const char *version)
{
	unsigned *n = owner;

	*n += (!library || strcmp(library, "libc.so.6") == 0) && strncmp(version, "GLIBC_2.", 8) == 0;
	return true;
}

static void libraries_are_found_and_their_exports_and_versions_read(void **state)
{
	struct closure closure = { .count = 0 };
	const struct closure_library *libc;
	unsigned needed = 0, defined = 0;
	struct elf_file elf;
	unsigned char *data;
	size_t size;

	(void)state;
	data = copy_sample(&size);
	assert_int_equal(elf_parse(&elf, data, size), ELF_OK);
	closure_resolve(&closure, &elf, SAMPLE);
	libc = closure_find(&closure, "libc.so");
	assert_non_null(libc);
	assert_non_null(libc->path);
	assert_true(elf_defines(&libc->elf, "printf"));
	assert_false(elf_defines(&libc->elf, "no_such_function_of_libc"));
	elf_needed_versions(&elf, count_version, &needed);
	elf_defined_versions(&libc->elf, count_version, &defined);
	assert_true(needed >= 1);
	assert_true(defined >= 10);
	closure_free(&closure);
	free(data);
}

static void what_is_no_elf_file_is_told_from_a_damaged_one(void **state)
{
	struct elf_file elf;
	unsigned char *data;
	size_t size;

	(void)state;
	assert_int_equal(elf_parse(&elf, "", 0), ELF_NOT);
	assert_int_equal(elf_parse(&elf, "#!/bin/sh\n", 10), ELF_NOT);
	assert_int_equal(elf_parse(&elf, "\177ELF", 4), ELF_DAMAGED);
	data = copy_sample(&size);
	assert_int_equal(elf_parse(&elf, data, size / 2), ELF_DAMAGED);
	for (size_t len = 4; len < 2048; len++) {
		unsigned char *part = malloc(len);

		assert_non_null(part);
		memcpy(part, data, len);
		assert_int_equal(elf_parse(&elf, part, len), ELF_DAMAGED);
		free(part);
	}
	free(data);
}

static void programs_of_other_machines_are_recognised_in_their_own_byte_order(void **state)
{
	unsigned char head[64] = { 0x7f, 'E', 'L', 'F', ELFCLASS32, ELFDATA2MSB, EV_CURRENT };
	struct elf_file elf;
	char words[64];

	(void)state;
	head[17] = ET_EXEC;
	head[19] = EM_S390;
	assert_int_equal(elf_parse(&elf, head, sizeof(head)), ELF_FOREIGN);
	assert_int_equal(elf.bits, 32);
	assert_int_equal(elf.type, ET_EXEC);
	assert_int_equal(elf.machine, EM_S390);
	elf_describe(&elf, words, sizeof(words));
	assert_string_equal(words, "32-bit s390");
	head[4] = 9;
	assert_int_equal(elf_parse(&elf, head, sizeof(head)), ELF_DAMAGED);
}

static void go_is_recognised_by_its_section_and_without_sections_by_its_note(void **state)
{
	struct elf_file elf;
	unsigned char *data;
	size_t size;

	(void)state;
	data = copy_sample(&size);
	replace_all(data, size, ".note.gnu.build-id", ".note.go.buildid\0\0", 18);
	assert_int_equal(elf_parse(&elf, data, size), ELF_OK);
	assert_true(elf.go);
	free(data);

	data = copy_sample(&size);
	memset(data + offsetof(Elf64_Ehdr, e_shoff), 0, 8);
	assert_int_equal(elf_parse(&elf, data, size), ELF_OK);
	assert_false(elf.go);
	replace_all(data, size, "\4\0\0\0\x14\0\0\0\3\0\0\0GNU", "\4\0\0\0\x14\0\0\0\4\0\0\0Go\0", 15);
	assert_int_equal(elf_parse(&elf, data, size), ELF_OK);
	assert_true(elf.go);
	free(data);
}

static void assert_inside(const struct elf_file *f, const char *s)
{
	const char *begin = (const char *)f->data;

	if (s && *s) {
		assert_true(s >= begin && s < begin + f->size);
		assert_non_null(memchr(s, '\0', f->size - (size_t)(s - begin)));
	}
}

static bool visit_inside(void *owner, const char *library, const char *version)
{
	assert_inside(owner, library);
	assert_inside(owner, version);
	return true;
}

/* Whatever the bytes: every string lies within the file, and all walks end. */
static void read_all(const unsigned char *data, size_t size)
{
	struct hook_use use = { .count = 0 };
	struct elf_symbol sym;
	struct elf_file elf;
	uint32_t i;

	if (elf_parse(&elf, data, size) != ELF_OK)
		return;
	assert_inside(&elf, elf.interp);
	assert_inside(&elf, elf.soname);
	assert_inside(&elf, elf.rpath);
	assert_inside(&elf, elf.runpath);
	for (i = 0; elf_needed(&elf, i); i++)
		assert_inside(&elf, elf_needed(&elf, i));
	assert_true(i <= size / sizeof(Elf64_Dyn));
	for (i = 0; elf_symbol(&elf, i, &sym); i++)
		assert_inside(&elf, sym.name);
	assert_true(i <= size / sizeof(Elf64_Sym));
	elf_needed_versions(&elf, visit_inside, &elf);
	elf_defined_versions(&elf, visit_inside, &elf);
	assert_true(hook_use_load(&use, &elf));
	hook_use_match(&use, &elf, false);
	hook_use_free(&use);
}

static uint64_t next_random(uint64_t *x)
{
	*x ^= *x << 13;
	*x ^= *x >> 7;
	*x ^= *x << 17;
	return *x;
}

/* Where mutations hurt: the ELF header, the program headers and the dynamic section, and now and then anywhere. */
static size_t pick_offset(const struct elf_file *sample, uint64_t *x)
{
	switch (next_random(x) % 5) {
	case 0: return next_random(x) % sizeof(Elf64_Ehdr);
	case 1: return sample->program_headers + next_random(x) % (sample->program_header_count * sizeof(Elf64_Phdr));
	case 2: return sample->dynamic_offset + next_random(x) % (sample->dynamic_count * sizeof(Elf64_Dyn));
	case 3: return sample->needed_versions + next_random(x) % 64;
	default: return next_random(x) % sample->size;
	}
}

static void mutated_files_are_never_read_outside_their_bytes(void **state)
{
	static const unsigned char nasty[] = { 0, 1, 0x7f, 0x80, 0xff, 0xfe, 8, 0x10 };
	uint64_t x = 88172645463325252u;
	unsigned char *pristine, *data;
	struct elf_file sample;
	size_t size;

	(void)state;
	pristine = copy_sample(&size);
	assert_int_equal(elf_parse(&sample, pristine, size), ELF_OK);
	data = malloc(size);
	assert_non_null(data);
	for (unsigned round = 0; round < 4000; round++) {
		memcpy(data, pristine, size);
		for (uint64_t n = 1 + next_random(&x) % 6; n > 0; n--) {
			size_t at = pick_offset(&sample, &x), len = 1 + next_random(&x) % 8;

			memset(data + at, nasty[next_random(&x) % sizeof(nasty)], len < size - at ? len : size - at);
		}
		read_all(data, size);
	}
	free(data);
	free(pristine);
}

static void hooks_are_the_functions_that_the_object_exports(void **state)
{
	struct closure closure = { .count = 0 };
	struct hook_use use = { .count = 0 };
	const struct closure_library *libc;
	struct elf_file elf;
	unsigned char *data;
	size_t size;

	(void)state;
	data = copy_sample(&size);
	assert_int_equal(elf_parse(&elf, data, size), ELF_OK);
	closure_resolve(&closure, &elf, SAMPLE);
	libc = closure_find(&closure, "libc.so");
	assert_non_null(libc);
	/* As if libc were our object: whatever the sample imports of it is then hooked. */
	assert_true(hook_use_load(&use, &libc->elf));
	assert_true(use.count > 1000);
	assert_int_equal(hook_use_count(&use, NULL), 0);
	hook_use_match(&use, &elf, false);
	assert_true(hook_use_count(&use, NULL) > 5);
	assert_true(hook_use_count(&use, NULL) < 500);
	assert_int_equal(hook_use_count(&use, "sockets"), 0);
	hook_use_free(&use);
	closure_free(&closure);
	free(data);
}

static void hooks_are_grouped_by_what_they_do(void **state)
{
	(void)state;
	assert_string_equal(hook_use_family("accept4"), "sockets");
	assert_string_equal(hook_use_family("__recv_chk"), "sockets");
	assert_string_equal(hook_use_family("sendfile64"), "read and write");
	assert_string_equal(hook_use_family("epoll_wait"), "waiting");
	assert_string_equal(hook_use_family("epoll_create1"), "descriptors");
	assert_string_equal(hook_use_family("pthread_create"), "threads");
	assert_string_equal(hook_use_family("execve"), "processes");
	assert_string_equal(hook_use_family("SSL_read"), "TLS libraries");
	assert_string_equal(hook_use_family("syscall"), "loader and raw system calls");
	assert_string_equal(hook_use_family("qsort"), "other");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_dynamic_program_tells_its_loader_and_libraries),
		cmocka_unit_test(libraries_are_found_and_their_exports_and_versions_read),
		cmocka_unit_test(what_is_no_elf_file_is_told_from_a_damaged_one),
		cmocka_unit_test(programs_of_other_machines_are_recognised_in_their_own_byte_order),
		cmocka_unit_test(go_is_recognised_by_its_section_and_without_sections_by_its_note),
		cmocka_unit_test(mutated_files_are_never_read_outside_their_bytes),
		cmocka_unit_test(hooks_are_the_functions_that_the_object_exports),
		cmocka_unit_test(hooks_are_grouped_by_what_they_do),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

/*
 * An ELF reader that trusts nothing. The file may be any bytes: so every structure is copied out of it by one function
 * that checks the bounds (which also settles alignment), every string must end within its table, and every loop is
 * bounded by a count that was checked against the size of the file or by a constant. Offsets that the file claims are
 * 64 bits wide and are compared by subtraction, so that they cannot wrap.
 *
 * Everything is found the way the dynamic loader finds it, by program headers and the dynamic section; section headers
 * are used for Go's marks only, since stripping may take them away. Files of another class or byte order are recognised,
 * not read: for them the answer is known already.
 *
 * Pure: no I/O, no allocation. Source: gABI chapters 4 and 5, LSB 10.7 (symbol versions), the GNU hash table as in glibc.
 */
#include "elf_file.h"

#include <elf.h>
#include <link.h>
#include <stdio.h>
#include <string.h>

#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
#define NATIVE_DATA ELFDATA2LSB
#else
#define NATIVE_DATA ELFDATA2MSB
#endif
#define NATIVE_CLASS (__ELF_NATIVE_CLASS == 64 ? ELFCLASS64 : ELFCLASS32)

/* libc has 40-odd versions; a file that claims more than this is not worth the quadratic time. */
#define VERSIONS_MAX 1024
#define NOWHERE UINT64_MAX

static bool elf_within(const struct elf_file *f, uint64_t offset, uint64_t len)
{
	return offset <= f->size && len <= f->size - offset;
}

static bool elf_copy(const struct elf_file *f, uint64_t offset, void *out, size_t len)
{
	if (!elf_within(f, offset, len))
		return false;
	memcpy(out, f->data + offset, len);
	return true;
}

/* The string at `offset` of a table of `size` bytes that lies within the file; NULL when it does not end there. */
static const char *elf_table_string(const struct elf_file *f, uint64_t table, uint64_t size, uint64_t offset)
{
	const char *s;

	if (offset >= size || !elf_within(f, table, size))
		return NULL;
	s = (const char *)f->data + table + offset;
	return memchr(s, '\0', (size_t)(size - offset)) ? s : NULL;
}

static const char *elf_string(const struct elf_file *f, uint64_t offset)
{
	return elf_table_string(f, f->strings, f->strings_size, offset);
}

static bool elf_program_header(const struct elf_file *f, uint32_t i, ElfW(Phdr) * out)
{
	return i < f->program_header_count &&
	       elf_copy(f, f->program_headers + (uint64_t)i * sizeof(*out), out, sizeof(*out));
}

/* Where in the file the loader's address `address` lies. */
static uint64_t elf_offset_of(const struct elf_file *f, uint64_t address)
{
	ElfW(Phdr) ph;

	for (uint32_t i = 0; elf_program_header(f, i, &ph); i++)
		if (ph.p_type == PT_LOAD && address >= ph.p_vaddr && address - ph.p_vaddr < ph.p_filesz)
			return ph.p_offset + (address - ph.p_vaddr);
	return NOWHERE;
}

/* The value of the `nth` entry with this tag in the dynamic section. */
static bool elf_dynamic_value(const struct elf_file *f, int64_t tag, unsigned nth, uint64_t *value)
{
	ElfW(Dyn) d;

	for (uint32_t i = 0; i < f->dynamic_count; i++) {
		if (!elf_copy(f, f->dynamic_offset + (uint64_t)i * sizeof(d), &d, sizeof(d)) || d.d_tag == DT_NULL)
			return false;
		if (d.d_tag == tag && nth-- == 0) {
			*value = d.d_un.d_val;
			return true;
		}
	}
	return false;
}

static uint64_t elf_dynamic_offset(const struct elf_file *f, int64_t tag)
{
	uint64_t address;

	return elf_dynamic_value(f, tag, 0, &address) ? elf_offset_of(f, address) : NOWHERE;
}

static const char *elf_dynamic_string(const struct elf_file *f, int64_t tag, unsigned nth)
{
	uint64_t offset;

	return elf_dynamic_value(f, tag, nth, &offset) ? elf_string(f, offset) : NULL;
}

/* The GNU hash table has no count: it ends with the last chain, which begins at the highest bucket. */
static uint32_t elf_count_gnu_hash(const struct elf_file *f, uint64_t table)
{
	uint32_t head[4], last = 0, value;
	uint64_t buckets, chains;

	if (!elf_copy(f, table, head, sizeof(head)))
		return 0;
	buckets = table + sizeof(head) + (uint64_t)head[2] * sizeof(ElfW(Addr));
	if (!elf_within(f, buckets, (uint64_t)head[0] * 4))
		return 0;
	for (uint32_t i = 0; i < head[0]; i++)
		if (elf_copy(f, buckets + (uint64_t)i * 4, &value, 4) && value > last)
			last = value;
	if (last < head[1])
		return head[1];
	chains = buckets + (uint64_t)head[0] * 4;
	while (elf_copy(f, chains + (uint64_t)(last - head[1]) * 4, &value, 4)) {
		last++;
		if (value & 1)
			break;
	}
	return last;
}

static void elf_find_symbols(struct elf_file *f)
{
	uint64_t table = elf_dynamic_offset(f, DT_SYMTAB), hash = elf_dynamic_offset(f, DT_HASH);
	uint64_t gnu_hash = elf_dynamic_offset(f, DT_GNU_HASH), room;
	uint32_t head[2], count = 0;

	if (table == NOWHERE || table >= f->size)
		return;
	if (hash != NOWHERE && elf_copy(f, hash, head, sizeof(head)))
		count = head[1];
	else if (gnu_hash != NOWHERE)
		count = elf_count_gnu_hash(f, gnu_hash);
	room = (f->size - table) / sizeof(ElfW(Sym));
	f->symbols = table;
	f->symbol_count = count < room ? count : (uint32_t)room;
}

static uint32_t elf_version_count(const struct elf_file *f, int64_t tag)
{
	uint64_t n;

	if (!elf_dynamic_value(f, tag, 0, &n))
		return 0;
	return n < VERSIONS_MAX ? (uint32_t)n : VERSIONS_MAX;
}

static bool elf_read_dynamic(struct elf_file *f, const ElfW(Phdr) * ph)
{
	uint64_t flags;

	f->dynamic = true;
	f->dynamic_offset = ph->p_offset;
	f->dynamic_count = (uint32_t)(ph->p_filesz / sizeof(ElfW(Dyn)));
	f->strings = elf_dynamic_offset(f, DT_STRTAB);
	if (f->strings == NOWHERE || !elf_dynamic_value(f, DT_STRSZ, 0, &f->strings_size) ||
	    !elf_within(f, f->strings, f->strings_size))
		return false;
	if (elf_dynamic_value(f, DT_FLAGS_1, 0, &flags))
		f->pie = (flags & DF_1_PIE) != 0;
	f->soname = elf_dynamic_string(f, DT_SONAME, 0);
	f->rpath = elf_dynamic_string(f, DT_RPATH, 0);
	f->runpath = elf_dynamic_string(f, DT_RUNPATH, 0);
	elf_find_symbols(f);
	f->needed_versions = elf_dynamic_offset(f, DT_VERNEED);
	if (f->needed_versions != NOWHERE)
		f->needed_version_count = elf_version_count(f, DT_VERNEEDNUM);
	f->defined_versions = elf_dynamic_offset(f, DT_VERDEF);
	if (f->defined_versions != NOWHERE)
		f->defined_version_count = elf_version_count(f, DT_VERDEFNUM);
	return true;
}

/* Go's linker leaves a note named "Go" (its build id), found without section headers. */
static bool elf_has_go_note(const struct elf_file *f, const ElfW(Phdr) * ph)
{
	uint64_t at = ph->p_offset, end = ph->p_offset + ph->p_filesz;
	ElfW(Nhdr) note;
	char name[4];

	while (end - at >= sizeof(note) + sizeof(name) && elf_copy(f, at, &note, sizeof(note))) {
		uint64_t step = sizeof(note) + (((uint64_t)note.n_namesz + 3) & ~3ull) +
		                (((uint64_t)note.n_descsz + 3) & ~3ull);

		if (note.n_namesz == sizeof(name) && elf_copy(f, at + sizeof(note), name, sizeof(name)) &&
		    memcmp(name, "Go\0", sizeof(name)) == 0)
			return true;
		if (step > end - at)
			break;
		at += step;
	}
	return false;
}

static bool elf_has_go_section(const struct elf_file *f, const ElfW(Ehdr) * eh)
{
	ElfW(Shdr) names, sh;

	if (eh->e_shentsize != sizeof(sh) || eh->e_shstrndx >= eh->e_shnum ||
	    !elf_copy(f, eh->e_shoff + (uint64_t)eh->e_shstrndx * sizeof(sh), &names, sizeof(names)))
		return false;
	for (unsigned i = 0; i < eh->e_shnum; i++) {
		const char *name;

		if (!elf_copy(f, eh->e_shoff + (uint64_t)i * sizeof(sh), &sh, sizeof(sh)))
			return false;
		name = elf_table_string(f, names.sh_offset, names.sh_size, sh.sh_name);
		if (name && (strcmp(name, ".go.buildinfo") == 0 || strcmp(name, ".note.go.buildid") == 0))
			return true;
	}
	return false;
}

static bool elf_read_program_headers(struct elf_file *f)
{
	ElfW(Phdr) ph, dynamic = { .p_type = PT_NULL };

	for (uint32_t i = 0; elf_program_header(f, i, &ph); i++) {
		bool matters = ph.p_type == PT_LOAD || ph.p_type == PT_DYNAMIC || ph.p_type == PT_INTERP;

		if (matters && !elf_within(f, ph.p_offset, ph.p_filesz))
			return false;
		if (ph.p_type == PT_DYNAMIC)
			dynamic = ph;
		if (ph.p_type == PT_NOTE && elf_within(f, ph.p_offset, ph.p_filesz) && elf_has_go_note(f, &ph))
			f->go = true;
		if (ph.p_type == PT_INTERP) {
			f->interp = elf_table_string(f, ph.p_offset, ph.p_filesz, 0);
			if (!f->interp)
				return false;
		}
	}
	return dynamic.p_type == PT_NULL || elf_read_dynamic(f, &dynamic);
}

/* Class, byte order, type and machine lie at the same place in every ELF header. */
static enum elf_result elf_read_ident(struct elf_file *f)
{
	unsigned lo, hi;

	if (f->size < SELFMAG || memcmp(f->data, ELFMAG, SELFMAG) != 0)
		return ELF_NOT;
	if (f->size < EI_NIDENT + 4 || f->data[EI_CLASS] < ELFCLASS32 || f->data[EI_CLASS] > ELFCLASS64 ||
	    f->data[EI_DATA] < ELFDATA2LSB || f->data[EI_DATA] > ELFDATA2MSB)
		return ELF_DAMAGED;
	lo = f->data[EI_DATA] == ELFDATA2LSB ? 0 : 1;
	hi = 1 - lo;
	f->bits = f->data[EI_CLASS] == ELFCLASS64 ? 64 : 32;
	f->type = f->data[EI_NIDENT + lo] | (unsigned)f->data[EI_NIDENT + hi] << 8;
	f->machine = f->data[EI_NIDENT + 2 + lo] | (unsigned)f->data[EI_NIDENT + 2 + hi] << 8;
	return f->data[EI_CLASS] == NATIVE_CLASS && f->data[EI_DATA] == NATIVE_DATA ? ELF_OK : ELF_FOREIGN;
}

enum elf_result elf_parse(struct elf_file *f, const void *data, size_t size)
{
	enum elf_result result;
	ElfW(Ehdr) eh;

	memset(f, 0, sizeof(*f));
	f->data = data;
	f->size = size;
	result = elf_read_ident(f);
	if (result != ELF_OK)
		return result;
	if (!elf_copy(f, 0, &eh, sizeof(eh)))
		return ELF_DAMAGED;
	f->entry = eh.e_entry;
	if (eh.e_phnum && (eh.e_phentsize != sizeof(ElfW(Phdr)) ||
	                   !elf_within(f, eh.e_phoff, (uint64_t)eh.e_phnum * sizeof(ElfW(Phdr)))))
		return ELF_DAMAGED;
	f->program_headers = eh.e_phoff;
	f->program_header_count = eh.e_phnum;
	if (!elf_read_program_headers(f))
		return ELF_DAMAGED;
	f->go = f->go || elf_has_go_section(f, &eh);
	return ELF_OK;
}

const char *elf_needed(const struct elf_file *f, unsigned i)
{
	return elf_dynamic_string(f, DT_NEEDED, i);
}

bool elf_symbol(const struct elf_file *f, uint32_t i, struct elf_symbol *out)
{
	ElfW(Sym) sym;
	unsigned bind;

	if (i >= f->symbol_count || !elf_copy(f, f->symbols + (uint64_t)i * sizeof(sym), &sym, sizeof(sym)))
		return false;
	bind = ELF64_ST_BIND(sym.st_info);
	out->name = bind == STB_LOCAL ? NULL : elf_string(f, sym.st_name);
	if (!out->name)
		out->name = "";
	out->defined = sym.st_shndx != SHN_UNDEF;
	out->weak = bind == STB_WEAK;
	out->function = ELF64_ST_TYPE(sym.st_info) == STT_FUNC || ELF64_ST_TYPE(sym.st_info) == STT_GNU_IFUNC;
	return true;
}

bool elf_defines(const struct elf_file *f, const char *name)
{
	struct elf_symbol sym;

	for (uint32_t i = 0; elf_symbol(f, i, &sym); i++)
		if (sym.defined && strcmp(sym.name, name) == 0)
			return true;
	return false;
}

/* One Verneed record: its list of required versions. Returns false when the visitor wants no more. */
static bool elf_walk_needed(const struct elf_file *f, uint64_t at, const ElfW(Verneed) * need, elf_version_visit *visit,
                            void *owner)
{
	const char *library = elf_string(f, need->vn_file);
	ElfW(Vernaux) aux;

	at += need->vn_aux;
	for (unsigned i = 0; i < need->vn_cnt && i < VERSIONS_MAX && elf_copy(f, at, &aux, sizeof(aux)); i++) {
		const char *version = elf_string(f, aux.vna_name);

		if (library && version && !(aux.vna_flags & VER_FLG_WEAK) && !visit(owner, library, version))
			return false;
		if (!aux.vna_next)
			break;
		at += aux.vna_next;
	}
	return true;
}

void elf_needed_versions(const struct elf_file *f, elf_version_visit *visit, void *owner)
{
	uint64_t at = f->needed_versions;
	ElfW(Verneed) need;

	for (uint32_t i = 0; i < f->needed_version_count && elf_copy(f, at, &need, sizeof(need)); i++) {
		if (!elf_walk_needed(f, at, &need, visit, owner) || !need.vn_next)
			break;
		at += need.vn_next;
	}
}

void elf_defined_versions(const struct elf_file *f, elf_version_visit *visit, void *owner)
{
	uint64_t at = f->defined_versions;
	ElfW(Verdef) def;
	ElfW(Verdaux) aux;

	for (uint32_t i = 0; i < f->defined_version_count && elf_copy(f, at, &def, sizeof(def)); i++) {
		const char *version =
			elf_copy(f, at + def.vd_aux, &aux, sizeof(aux)) ? elf_string(f, aux.vda_name) : NULL;

		if ((version && !visit(owner, NULL, version)) || !def.vd_next)
			break;
		at += def.vd_next;
	}
}

void elf_describe(const struct elf_file *f, char *out, size_t len)
{
	static const struct {
		unsigned machine;
		const char *name;
	} machines[] = {
		{ EM_386, "x86" },      { EM_X86_64, "x86-64" }, { EM_ARM, "ARM" },   { EM_AARCH64, "ARM" },
		{ EM_RISCV, "RISC-V" }, { EM_PPC64, "POWER" },   { EM_S390, "s390" }, { EM_MIPS, "MIPS" },
	};

	for (size_t i = 0; i < sizeof(machines) / sizeof(machines[0]); i++) {
		if (machines[i].machine == f->machine) {
			snprintf(out, len, "%u-bit %s", f->bits, machines[i].name);
			return;
		}
	}
	snprintf(out, len, "%u-bit, ELF machine %u", f->bits, f->machine);
}

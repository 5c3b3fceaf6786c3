/*
 * The judgement of one ELF program. A preload needs a dynamic loader that honours LD_PRELOAD, a process of the object's
 * own kind, a libc that has what the object imports, and a program that reaches the kernel through that libc. Each check
 * below is one way of missing that; they are independent, so that all reasons are told at once.
 * Source: ld.so(8) (secure execution), capabilities(7), gABI; that a missing symbol version stops a process from starting
 * while a missing file does not: glibc's rtld.
 */
#include "doctor.h"

#include <elf.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

/* What the object was built for; without an object, what we were. */
static void doctor_own_kind(const struct doctor_report *report, struct elf_file *own)
{
	struct mapping self;

	if (report->have_object) {
		*own = report->object;
		return;
	}
	memset(own, 0, sizeof(*own));
	if (find_map(&self, "/proc/self/exe") == 0) {
		(void)elf_parse(own, self.data, self.size);
		find_unmap(&self);
	}
}

static void doctor_check_secure(struct doctor_report *report)
{
	const char *name = NULL, *kind = NULL;
	struct stat st;

	if (report->pid || stat(report->program, &st) != 0)
		return;
	if ((st.st_mode & S_ISUID) != 0) {
		name = "setuid";
		kind = "setuid";
		report->caller_keeps_preload = st.st_uid == getuid();
	} else if ((st.st_mode & (S_ISGID | S_IXGRP)) == (S_ISGID | S_IXGRP)) {
		name = "setgid";
		kind = "setgid";
		report->caller_keeps_preload = st.st_gid == getgid();
	} else if (getxattr(report->program, "security.capability", NULL, 0) > 0) {
		name = "given file capabilities";
		kind = "capabilities";
		report->caller_keeps_preload = getuid() == 0;
	}
	if (name)
		doctor_add(
			report, DOCTOR_CANNOT, kind,
			"It is %s: started by somebody without these rights, the dynamic loader ignores LD_PRELOAD for it. Start it "
			"without them (as a service with the right user or ambient capabilities) to trace it.",
			name);
}

static void doctor_check_kind(struct doctor_report *report)
{
	if (report->elf.go)
		doctor_add(
			report, DOCTOR_CANNOT, "go",
			"It is a Go program: Go makes its system calls itself, past libc, even when it is dynamically linked.");
	if (!report->elf.interp)
		doctor_add(
			report, DOCTOR_CANNOT, "static",
			"It is statically linked%s: there is no dynamic loader in it that could load the object. Link it "
			"dynamically, or trace a proxy in front of it.",
			report->elf.dynamic ? " (static-pie)" : "");
	else if (!report->pid && access(report->elf.interp, F_OK) != 0)
		doctor_add(report, DOCTOR_CANNOT, "no-loader",
		           "Its dynamic loader %s is not on this system: it cannot start at all.", report->elf.interp);
}

/* The first version, or symbol, that the object needs and the program's libc lacks. */
struct lack {
	const struct doctor_report *report;
	const char *wanted, *found;
	const char *missing, *library;
	unsigned count;
};

static bool lack_see_defined(void *owner, const char *library, const char *version)
{
	struct lack *lack = owner;

	(void)library;
	if (strcmp(version, lack->wanted) == 0)
		lack->found = version;
	return !lack->found;
}

static bool lack_see_needed(void *owner, const char *name, const char *version)
{
	struct lack *lack = owner;
	const struct closure_library *library = closure_find(&lack->report->closure, name);

	if (!library || !library->path)
		return true;
	lack->wanted = version;
	lack->found = NULL;
	elf_defined_versions(&library->elf, lack_see_defined, lack);
	if (!lack->found) {
		lack->missing = version;
		lack->library = library->path;
		lack->count++;
	}
	return true;
}

static void doctor_check_glibc(struct doctor_report *report)
{
	struct lack lack = { .report = report };

	elf_needed_versions(&report->object, lack_see_needed, &lack);
	if (!lack.count)
		return;
	report->would_not_start = true;
	doctor_add(
		report, DOCTOR_CANNOT, "old-libc",
		"Its libc, %s, is older than what the object was built for (it lacks version %s): with the object preloaded the "
		"program would not start.",
		lack.library, lack.missing);
}

static void doctor_check_musl(struct doctor_report *report)
{
	const struct closure_library *libc = closure_find(&report->closure, "libc.");
	struct elf_symbol sym;
	struct lack lack = { .count = 0 };

	if (!libc || !libc->path)
		libc = closure_find(&report->closure, "ld-musl");
	if (libc && libc->path) {
		for (uint32_t i = 0; elf_symbol(&report->object, i, &sym); i++) {
			if (!sym.defined && !sym.weak && *sym.name && !elf_defines(&libc->elf, sym.name)) {
				lack.missing = lack.missing ? lack.missing : sym.name;
				lack.count++;
			}
		}
	}
	if (lack.count) {
		report->would_not_start = true;
		doctor_add(
			report, DOCTOR_CANNOT, "musl",
			"It uses musl instead of glibc, which lacks %u of the functions that the object needs (such as %s): with "
			"the object preloaded the program would not start.",
			lack.count, lack.missing);
		return;
	}
	doctor_add(
		report, DOCTOR_PARTLY, "musl",
		"It uses musl instead of glibc: what it prints through stdio is written inside musl and stays as it is; only "
		"direct writes and sockets are seen. musl is not tested as well as glibc.");
}

static void doctor_check_libc(struct doctor_report *report)
{
	if (!report->elf.interp)
		return;
	if (closure_is_musl(report->elf.interp)) {
		if (report->have_object)
			doctor_check_musl(report);
		return;
	}
	if (strstr(find_base_name(report->elf.interp), "linker")) {
		doctor_add(report, DOCTOR_CANNOT, "other-libc",
		           "Its dynamic loader is %s, of a libc that the object was not built for.",
		           report->elf.interp);
		return;
	}
	if (report->have_object)
		doctor_check_glibc(report);
}

static void doctor_check_libraries(struct doctor_report *report, bool thorough)
{
	static const char *const read[] = { "libssl.so", "libgnutls.so" };
	static const char *const unread[] = { "libnss3.so", "libmbedtls.so", "libwolfssl.so" };
	const struct closure_library *library;

	for (size_t i = 0; i < sizeof(read) / sizeof(read[0]); i++) {
		library = closure_find(&report->closure, read[i]);
		if (library)
			doctor_add(report, DOCTOR_NONE, "tls",
			           "It brings in %s: HTTP inside TLS is traced like HTTP outside of it.",
			           library->name);
	}
	for (size_t i = 0; i < sizeof(unread) / sizeof(unread[0]); i++) {
		library = closure_find(&report->closure, unread[i]);
		if (library)
			doctor_add(
				report, DOCTOR_NONE, "tls",
				"It brings in %s: what goes through that library's TLS passes untouched and untraced; plain "
				"HTTP and log lines are not concerned.",
				library->name);
	}
	library = closure_find(&report->closure, "liburing.so");
	if (library)
		doctor_add(report, DOCTOR_PARTLY, "io_uring",
		           "It brings in %s: what it reads and writes through io_uring does not pass libc's functions.",
		           library->name);
	else if (thorough && memmem(report->map.data, report->map.size, "io_uring_setup", 14))
		doctor_add(report, DOCTOR_NONE, "io_uring",
		           "It mentions io_uring: should it move data that way, that data is not seen.");
	for (size_t i = 0; i < report->closure.count; i++) {
		if (!report->closure.libraries[i].path) {
			doctor_add(
				report, DOCTOR_NONE, "library-missing",
				"Its library %s was not found in the usual places; unless the loader finds it, the program does not start.",
				report->closure.libraries[i].name);
			break;
		}
	}
}

static void doctor_summarize(struct doctor_report *report)
{
	const char *interp = report->elf.interp;
	char kind[64];

	elf_describe(&report->elf, kind, sizeof(kind));
	snprintf(report->summary, sizeof(report->summary), "%s, %s%s%s", kind,
	         interp ? "dynamically linked" : "statically linked",
	         !interp                                  ? "" :
	         closure_is_musl(interp)                  ? ", musl" :
	         strstr(find_base_name(interp), "linker") ? "" :
	                                                    ", glibc",
	         report->elf.go ? ", Go" : "");
}

void doctor_judge_elf(struct doctor_report *report, enum elf_result result, bool thorough)
{
	const struct elf_file *elf = &report->elf;
	char own_words[64], words[64];
	struct elf_file own;

	if (result == ELF_NOT || result == ELF_DAMAGED) {
		snprintf(report->error, sizeof(report->error), "%.300s: %s", report->program,
		         result == ELF_NOT ? "not a program: neither an ELF file nor a script with a '#!' line" :
		                             "a damaged or truncated ELF file");
		return;
	}
	if (elf->type != ET_EXEC && elf->type != ET_DYN) {
		snprintf(report->error, sizeof(report->error), "%.300s: an ELF file, but not a program (%s)",
		         report->program,
		         elf->type == ET_CORE ? "a core dump" :
		         elf->type == ET_REL  ? "an object file" :
		                                "unknown type");
		return;
	}
	doctor_own_kind(report, &own);
	if (result == ELF_FOREIGN || elf->machine != own.machine) {
		elf_describe(elf, words, sizeof(words));
		elf_describe(&own, own_words, sizeof(own_words));
		snprintf(report->summary, sizeof(report->summary), "%s", words);
		doctor_add(report, DOCTOR_CANNOT, "foreign",
		           "It is a %s program; the object is %s, and a process can only load objects of its own kind.",
		           words, own_words);
		return;
	}
	if (elf->type == ET_DYN && !elf->interp && !elf->pie && (elf->soname || !elf->entry)) {
		snprintf(report->error, sizeof(report->error), "%.300s: a shared library, not a program",
		         report->program);
		return;
	}
	doctor_summarize(report);
	doctor_check_kind(report);
	doctor_check_secure(report);
	doctor_check_libc(report);
	doctor_check_libraries(report, thorough);
}

/*
 * The examination: find what would really be executed (PATH, "#!" lines, env), read it, and collect findings. The verdict
 * is the worst of them; every sentence says what the matter is and, where there is one, the way out. A running process is
 * examined the same way, with the libraries that it really has, and with what its own status page says.
 * One report a process; bounded by the report's size and the libraries of the program.
 */
#include "doctor.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "procfs.h"
#include "status_file.h"
#include "text.h"

/* The kernel follows four "#!" lines and refuses the fifth. */
#define SCRIPT_DEPTH 4

void doctor_add(struct doctor_report *report, enum doctor_effect effect, const char *kind, const char *format, ...)
{
	struct doctor_finding *finding = &report->finding[report->finding_count];
	va_list ap;

	if (report->finding_count == DOCTOR_FINDINGS_MAX)
		return;
	finding->effect = effect;
	finding->kind = kind;
	va_start(ap, format);
	vsnprintf(finding->text, sizeof(finding->text), format, ap);
	va_end(ap);
	report->finding_count++;
}

enum doctor_effect doctor_verdict(const struct doctor_report *report)
{
	enum doctor_effect worst = DOCTOR_NONE;

	for (size_t i = 0; i < report->finding_count; i++)
		if (report->finding[i].effect > worst)
			worst = report->finding[i].effect;
	return worst;
}

static void doctor_fail(struct doctor_report *report, const char *format, ...) __attribute__((format(printf, 2, 3)));
static void doctor_fail(struct doctor_report *report, const char *format, ...)
{
	va_list ap;

	va_start(ap, format);
	vsnprintf(report->error, sizeof(report->error), format, ap);
	va_end(ap);
}

/* Only root's programs become other users: servers, cron, su. */
static void doctor_check_object_way(struct doctor_report *report)
{
	char part[PATH_MAX];

	if (geteuid() == 0 && find_closed_part(part, report->object_path))
		doctor_add(
			report, DOCTOR_NONE, "object-closed",
			"Other users cannot read the object (%s is closed to them): a program that changes its user cannot hand it on "
			"to what it starts then, and the loader says so on stderr each time. `make install` puts it where all can.",
			part);
}

/* `without`: what it means that there is none. */
static void doctor_load_object(struct doctor_report *report, const char *given, enum doctor_effect without)
{
	if (!find_object(report->object_path, given)) {
		doctor_add(report, without, "no-object",
		           "The object %s was not found: without it nothing is traced. Name it with --library.",
		           report->object_path);
	} else if (find_map(&report->object_map, report->object_path) != 0 ||
	           elf_parse(&report->object, report->object_map.data, report->object_map.size) != ELF_OK) {
		doctor_add(report, without, "bad-object", "%s is not a shared object of this machine.",
		           report->object_path);
	} else {
		report->have_object = true;
		doctor_check_object_way(report);
	}
}

/* Map `path`; while it is a script, go on with its interpreter. Returns false with the report's error set. */
static bool doctor_open_program(struct doctor_report *report, const char *path)
{
	char interpreter[PATH_MAX];

	snprintf(report->program, sizeof(report->program), "%s", path);
	for (int depth = 0;; depth++) {
		const char *bytes;
		int error = find_map(&report->map, report->program);

		if (error) {
			doctor_fail(report, "%s: %s", report->program, strerror(error));
			return false;
		}
		bytes = report->map.data;
		if (report->map.size < 2 || memcmp(bytes, "#!", 2) != 0)
			return true;
		if (depth == SCRIPT_DEPTH || !doctor_script_interpreter(bytes, report->map.size, interpreter)) {
			doctor_fail(report, "%s: its '#!' line names no interpreter", report->program);
			return false;
		}
		if (!report->script[0])
			memcpy(report->script, report->program, sizeof(report->script));
		find_unmap(&report->map);
		doctor_add_language(report, interpreter);
		error = find_program(report->program, interpreter);
		if (error) {
			doctor_fail(report, "%s: its interpreter %s cannot be found: %s", report->script, interpreter,
			            strerror(error));
			return false;
		}
	}
}

static void doctor_match_hooks(struct doctor_report *report)
{
	if (!report->have_object || !report->elf.dynamic || !hook_use_load(&report->hooks, &report->object))
		return;
	hook_use_match(&report->hooks, &report->elf, false);
	for (size_t i = 0; i < report->closure.count; i++) {
		const struct closure_library *library = &report->closure.libraries[i];
		const char *name = find_base_name(library->name);

		/* libc's own imports are what hooks sit in front of; ours are not the program's. */
		if (library->path && strncmp(name, "libc.", 5) != 0 && strncmp(name, "libc-2", 6) != 0 &&
		    strncmp(name, "ld-", 3) != 0 && strcmp(name, FIND_OBJECT_NAME) != 0)
			hook_use_match(&report->hooks, &library->elf, true);
	}
	if (doctor_verdict(report) != DOCTOR_CANNOT && !report->hooks.stdio && !hook_use_count(&report->hooks, NULL))
		doctor_add(
			report, DOCTOR_PARTLY, "no-hooks",
			"Neither it nor its libraries call any function that traceshim hooks: there is nothing to see, unless it "
			"loads modules later.");
}

static void doctor_start(struct doctor_report *report, const char *asked, const char *given, enum doctor_effect without)
{
	memset(report, 0, sizeof(*report));
	report->asked = asked;
	doctor_load_object(report, given, without);
}

void doctor_examine_program(struct doctor_report *report, const char *name, const char *given, bool thorough)
{
	char path[PATH_MAX];
	enum elf_result result;
	int error = find_program(path, name);

	doctor_start(report, name, given, DOCTOR_CANNOT);
	if (error) {
		doctor_fail(report, "%s: %s", name, strerror(error));
		return;
	}
	if (!doctor_open_program(report, path))
		return;
	memcpy(path, report->program, sizeof(path));
	result = elf_parse(&report->elf, report->map.data, report->map.size);
	/* The loader's $ORIGIN is where the file really lies, not the link to it. */
	if (result == ELF_OK && report->elf.interp)
		closure_resolve(&report->closure, &report->elf,
		                realpath(report->program, path) ? path : report->program);
	doctor_judge_elf(report, result, thorough);
	if (report->error[0])
		return;
	if (access(report->program, X_OK) != 0)
		doctor_add(report, DOCTOR_NONE, "not-executable", "You may not execute %s.", report->program);
	doctor_add_language(report, report->program);
	doctor_add_language(report, path);
	if (thorough)
		doctor_match_hooks(report);
}

/* What the process itself says, by its status page; and, where our object is missing, why that may be. */
static void doctor_add_process(struct doctor_report *report)
{
	struct status_page page;
	char preload[4096];

	if (!report->loaded) {
		if (procfs_environment(report->pid, "LD_PRELOAD", preload, sizeof(preload)) &&
		    strstr(preload, FIND_OBJECT_NAME))
			doctor_add(report, DOCTOR_CANNOT, "not-loaded",
			           "LD_PRELOAD names the object, but the loader did not load it into this process.");
		else
			doctor_add(
				report, DOCTOR_CANNOT, "not-loaded",
				"It was started without the object. A running process cannot be joined: start it again with "
				"`traceshim run`.");
		return;
	}
	if (status_file_find(report->pid, &page) == STATUS_FILE_OK && strcmp(page.state, "guest") != 0)
		doctor_add(
			report, DOCTOR_CANNOT, page.state[0] == 'e' ? "excluded" : "inert",
			"The object is loaded, but does nothing here (%s): see TRACESHIM_ENABLED, OTEL_SDK_DISABLED, "
			"TRACESHIM_INCLUDE and TRACESHIM_EXCLUDE in its environment.",
			page.state);
}

void doctor_examine_process(struct doctor_report *report, int pid, const char *given)
{
	static char digits[16];
	char reach[64];
	int error, has;

	snprintf(digits, sizeof(digits), "%d", pid);
	doctor_start(report, digits, given, DOCTOR_NONE); /* a process has its own, or has none */
	report->pid = pid;
	error = procfs_program(pid, report->program, sizeof(report->program));
	if (error) {
		doctor_fail(report, "process %d: %s", pid,
		            error != ENOENT         ? strerror(error) :
		            procfs_start_ticks(pid) ? "a kernel thread" :
		                                      "no such process");
		return;
	}
	has = procfs_has_object(pid);
	if (has < 0) {
		doctor_fail(report, "process %d: its memory map cannot be read: %s", pid, strerror(errno));
		return;
	}
	report->loaded = has > 0;
	/* Through the link: works for deleted programs, and for those of another mount namespace. */
	snprintf(reach, sizeof(reach), "/proc/%d/exe", pid);
	error = find_map(&report->map, reach);
	if (error) {
		doctor_fail(report, "process %d: %s: %s", pid, report->program, strerror(error));
		return;
	}
	closure_of_process(&report->closure, pid);
	doctor_add_process(report);
	doctor_judge_elf(report, elf_parse(&report->elf, report->map.data, report->map.size), true);
	if (report->error[0])
		return;
	doctor_add_language(report, report->program);
	doctor_match_hooks(report);
}

void doctor_free(struct doctor_report *report)
{
	hook_use_free(&report->hooks);
	closure_free(&report->closure);
	find_unmap(&report->map);
	find_unmap(&report->object_map);
}

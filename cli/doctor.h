/*
 * Will this program be traced, and if not, why: `traceshim doctor`, and the warning of `traceshim run`.
 */
#ifndef TRACESHIM_CLI_DOCTOR_H
#define TRACESHIM_CLI_DOCTOR_H

#include <stdbool.h>
#include <stddef.h>

#include "closure.h"
#include "elf_file.h"
#include "find.h"
#include "hook_use.h"

/* What one finding means for tracing. Values are the exit status of `doctor`. */
enum doctor_effect {
	DOCTOR_NONE = 0,   /* good to know */
	DOCTOR_PARTLY = 1, /* some of its work will not be seen */
	DOCTOR_CANNOT = 2  /* nothing will be seen */
};

#define DOCTOR_ERROR 3

struct doctor_finding {
	enum doctor_effect effect;
	const char *kind; /* a word for programs: "static", "go", "setuid", ... */
	char text[512];   /* sentences for people; may hold foreign bytes: clean before printing */
};

/* Each kind of finding appears at most once, and there are fewer kinds than this. */
#define DOCTOR_FINDINGS_MAX 32

/* About 30 KiB. */
struct doctor_report {
	const char *asked;         /* as on the command line */
	char error[512];           /* not empty: nothing else below is valid, exit status DOCTOR_ERROR */
	int pid;                   /* 0: a program that does not run yet */
	bool loaded;               /* (pid) our object is mapped there */
	char script[PATH_MAX];     /* not empty: the script whose interpreter was examined */
	char program[PATH_MAX];    /* the ELF program that was examined */
	char summary[128];         /* "64-bit x86-64, dynamically linked, glibc" */
	bool would_not_start;      /* with our object preloaded the loader would refuse to start it */
	bool caller_keeps_preload; /* setuid and the like, but not for whoever runs this now */
	struct doctor_finding finding[DOCTOR_FINDINGS_MAX];
	size_t finding_count;

	char object_path[PATH_MAX];
	bool have_object;
	struct mapping object_map, map;
	struct elf_file object, elf;
	struct closure closure;
	struct hook_use hooks; /* filled with `thorough` only */
};

/*
 * Examine a program, by path or by name in PATH, or a running process.
 *
 * given     path of our object from --library, or NULL
 * thorough  also match imports against our hooks, and look for io_uring (reads all symbols of all libraries)
 * Fills `report` (whatever it held before), to be released with doctor_free.
 */
void doctor_examine_program(struct doctor_report *report, const char *name, const char *given, bool thorough);
void doctor_examine_process(struct doctor_report *report, int pid, const char *given);
void doctor_free(struct doctor_report *report);

/* The worst effect of all findings. */
enum doctor_effect doctor_verdict(const struct doctor_report *report);

/* Add a finding; used by doctor*.c only. */
void doctor_add(struct doctor_report *report, enum doctor_effect effect, const char *kind, const char *format, ...)
	__attribute__((format(printf, 4, 5)));

/* doctor_elf.c: judge report->elf, result of parsing it included. */
void doctor_judge_elf(struct doctor_report *report, enum elf_result result, bool thorough);

/* doctor_script.c: what is known of a language, by the base name of its interpreter; the first that is known stays. */
void doctor_add_language(struct doctor_report *report, const char *program);

/*
 * doctor_script.c: the interpreter that a "#!" line names, with env(1) resolved to the program that it starts.
 *
 * data, len    the beginning of the file
 * interpreter  out: a path, or for env(1) a name to be searched for in PATH
 * Returns false when it is no script, or names nothing. Pure.
 */
bool doctor_script_interpreter(const char *data, size_t len, char interpreter[PATH_MAX]);

/* doctor_print.c: to stdout; they return the exit status. */
int doctor_print(const struct doctor_report *report);
int doctor_print_json(const struct doctor_report *report);

#endif

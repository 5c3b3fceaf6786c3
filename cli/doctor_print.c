/*
 * The report, for people and for programs. Both are made from the same findings; all strings are cleaned on the way out,
 * since names in an ELF file and on the command line are anybody's.
 */
#include "doctor.h"

#include <cjson/cJSON.h>
#include <stdio.h>
#include <string.h>

#include "text.h"

#define WIDTH 96

static const char *const effect_words[] = { "note", "partly", "cannot" };

static const char *doctor_verdict_words(const struct doctor_report *report)
{
	static const char *const program[] = { "will be traced", "will be traced, but only partly",
		                               "cannot be traced" };
	static const char *const process[] = { "is traced", "is traced, but only partly", "is not traced" };

	return (report->pid ? process : program)[doctor_verdict(report)];
}

/* Print `text` with `indent` blanks before continuation lines; `column` is where the cursor is. */
static void doctor_print_wrapped(const char *text, size_t column, size_t indent)
{
	char clean[2048];

	text_clean(clean, sizeof(clean), text, strlen(text));
	for (const char *at = clean; *at;) {
		size_t n = strcspn(at, " ");

		if (column + n > WIDTH && column > indent) {
			printf("\n%*s", (int)indent, "");
			column = indent;
		}
		fwrite(at, 1, n, stdout);
		column += n + 1;
		at += n;
		if (*at == ' ') {
			at++;
			if (column + strcspn(at, " ") <= WIDTH)
				putchar(' ');
		}
	}
	putchar('\n');
}

static void doctor_print_field(const char *name, const char *value)
{
	printf("  %-9s ", name);
	text_put(stdout, value);
	putchar('\n');
}

static void doctor_print_findings(const struct doctor_report *report)
{
	for (int effect = DOCTOR_CANNOT; effect >= DOCTOR_NONE; effect--) {
		for (size_t i = 0; i < report->finding_count; i++) {
			const struct doctor_finding *finding = &report->finding[i];

			if ((int)finding->effect != effect)
				continue;
			printf("  %-9s ", effect_words[effect]);
			doctor_print_wrapped(finding->text, 12, 12);
		}
	}
}

static void doctor_print_hooks(const struct doctor_report *report)
{
	const struct hook_use *hooks = &report->hooks;
	const char *family;
	char line[2048];

	if (!hooks->names)
		return;
	printf("  %-9s %zu of %zu hooked functions are called by it or its libraries\n", "hooks",
	       hook_use_count(hooks, NULL), hooks->count);
	for (size_t f = 0; (family = hook_use_family_name(f)) != NULL; f++) {
		size_t used = 0;

		line[0] = '\0';
		for (size_t i = 0; i < hooks->count; i++)
			if ((hooks->by_program[i] || hooks->by_library[i]) &&
			    strcmp(hook_use_family(hooks->names[i]), family) == 0 &&
			    used + strlen(hooks->names[i]) + 2 < sizeof(line))
				used += (size_t)sprintf(line + used, "%s%s", used ? " " : "", hooks->names[i]);
		if (!used)
			continue;
		printf("    %s: ", family);
		doctor_print_wrapped(line, 6 + strlen(family), 6);
	}
	if (hooks->stdio)
		printf("    stdio: %s\n",
		       closure_is_musl(report->elf.interp) ? "not caught in musl" : "caught inside libc (FILE table)");
}

int doctor_print(const struct doctor_report *report)
{
	if (report->error[0]) {
		text_error("%s", report->error);
		return DOCTOR_ERROR;
	}
	if (report->pid)
		printf("process ");
	text_put(stdout, report->asked);
	printf(" %s\n", doctor_verdict_words(report));
	if (report->script[0])
		doctor_print_field("script", report->script);
	doctor_print_field("program", report->program);
	doctor_print_field("kind", report->summary);
	if (report->have_object)
		doctor_print_field("object", report->object_path);
	doctor_print_findings(report);
	if (doctor_verdict(report) != DOCTOR_CANNOT)
		doctor_print_hooks(report);
	return doctor_verdict(report);
}

static void doctor_add_json_findings(const struct doctor_report *report, cJSON *root)
{
	cJSON *findings = cJSON_AddArrayToObject(root, "findings");

	for (size_t i = 0; i < report->finding_count; i++) {
		cJSON *finding = cJSON_CreateObject();

		text_add_json(finding, "kind", report->finding[i].kind);
		text_add_json(finding, "effect", effect_words[report->finding[i].effect]);
		text_add_json(finding, "text", report->finding[i].text);
		cJSON_AddItemToArray(findings, finding);
	}
}

static void doctor_add_json_hooks(const struct doctor_report *report, cJSON *root)
{
	const struct hook_use *hooks = &report->hooks;
	const char *family;
	cJSON *object;

	if (!hooks->names)
		return;
	text_add_json_count(root, "hooks_total", hooks->count);
	text_add_json_count(root, "hooks_used", hook_use_count(hooks, NULL));
	cJSON_AddBoolToObject(root, "stdio", hooks->stdio);
	object = cJSON_AddObjectToObject(root, "hooks");
	for (size_t f = 0; (family = hook_use_family_name(f)) != NULL; f++) {
		cJSON *list = NULL;

		for (size_t i = 0; i < hooks->count; i++) {
			if ((!hooks->by_program[i] && !hooks->by_library[i]) ||
			    strcmp(hook_use_family(hooks->names[i]), family) != 0)
				continue;
			if (!list)
				list = cJSON_AddArrayToObject(object, family);
			text_add_json(list, NULL, hooks->names[i]);
		}
	}
}

int doctor_print_json(const struct doctor_report *report)
{
	static const char *const verdicts[] = { "traced", "partly", "cannot" };
	int status = report->error[0] ? DOCTOR_ERROR : (int)doctor_verdict(report);
	cJSON *root = cJSON_CreateObject(), *libraries;

	text_add_json(root, "asked", report->asked);
	if (status == DOCTOR_ERROR) {
		text_add_json(root, "error", report->error);
		return text_print_json(root) ? status : DOCTOR_ERROR;
	}
	text_add_json(root, "verdict", verdicts[status]);
	if (report->pid) {
		cJSON_AddNumberToObject(root, "pid", report->pid);
		cJSON_AddBoolToObject(root, "loaded", report->loaded);
	}
	if (report->script[0])
		text_add_json(root, "script", report->script);
	text_add_json(root, "program", report->program);
	text_add_json(root, "kind", report->summary);
	if (report->have_object)
		text_add_json(root, "object", report->object_path);
	doctor_add_json_findings(report, root);
	doctor_add_json_hooks(report, root);
	libraries = cJSON_AddArrayToObject(root, "libraries");
	for (size_t i = 0; i < report->closure.count; i++)
		text_add_json(libraries, NULL,
		              report->closure.libraries[i].path ? report->closure.libraries[i].path :
		                                                  report->closure.libraries[i].name);
	return text_print_json(root) ? status : DOCTOR_ERROR;
}

/*
 * `traceshim status`: one guest in full, or all of them in a table. Live guests are found twice: by their pages, and, for
 * those to which nothing noteworthy has happened (a page is made at the first noteworthy event), by the object in their
 * memory map. Stale pages that are met on the way are removed.
 * One page in memory at a time; a listing ends at GUESTS_MAX processes.
 */
#include <cjson/cJSON.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "command.h"
#include "find.h"
#include "leftovers.h"
#include "procfs.h"
#include "status_file.h"
#include "text.h"

#define GUESTS_MAX 65536
#define STATUS_NOT_LOADED 1
#define STATUS_ERROR 3

static const char help[] =
	"Usage: traceshim status [--json] [PID]\n"
	"\n"
	"Show what the object counted in the process PID: requests, log lines, outgoing calls, and what\n"
	"it had to leave undone. Without PID, list all traced processes. Pages of processes that have\n"
	"ended are removed; spans and lines of these that no agent has fetched are told, and removed\n"
	"after 7 days.\n"
	"\n"
	"  --json       as one JSON object\n"
	"  -h, --help   show this\n"
	"\n"
	"The pages lie in TRACESHIM_RUN_DIR (default /tmp/traceshim).\n"
	"Exit status: 0 shown, 1 the object is not loaded in PID, 2 wrong usage, 3 an error.\n";

static void status_format_time(char out[40], uint64_t ns)
{
	time_t seconds = (time_t)(ns / 1000000000u);
	struct tm tm;

	if (!gmtime_r(&seconds, &tm) || !strftime(out, 40, "%Y-%m-%dT%H:%M:%SZ", &tm))
		snprintf(out, 40, "unknown");
}

/* Print nonzero counters, either the degradations or the others. Returns how many. */
static unsigned status_print_counters(const struct status_page *page, bool degradations, const char *title)
{
	unsigned printed = 0;

	for (unsigned i = 0; i < STATUS_COUNTER_COUNT; i++) {
		if (!page->counter[i] || status_counter_is_degradation(status_counter_name(i)) != degradations)
			continue;
		if (!printed++)
			printf("%s\n", title);
		printf("  %12" PRIu64 "  %s\n", page->counter[i], status_counter_text(i));
	}
	for (unsigned i = STATUS_COUNTER_COUNT; !degradations && i < STATUS_COUNTERS_MAX; i++)
		if (page->counter[i])
			printf("  %12" PRIu64 "  (counter %u of a newer version)\n", page->counter[i], i);
	return printed;
}

static void status_print_notes(const struct status_page *page)
{
	const char *at = page->notes;

	if (*at)
		printf("notes\n");
	while (*at) {
		size_t n = strcspn(at, "\n");
		char line[STATUS_NOTES_SIZE * 4];

		printf("  %s\n", text_clean(line, sizeof(line), at, n));
		at += n + (at[n] == '\n');
	}
}

static void status_print_page(const struct status_page *page)
{
	char since[40];

	status_format_time(since, page->started_ns);
	printf("process %d: ", (int)page->pid);
	text_put(stdout, page->program);
	printf("\n  service  ");
	text_put(stdout, page->service);
	printf("\n  state    ");
	text_put(stdout, page->state);
	printf("\n  version  ");
	text_put(stdout, page->version);
	printf("\n  since    %s\n", since);
	if (status_print_counters(page, false, "counters") + status_print_counters(page, true, "degradations") == 0)
		printf("nothing counted yet\n");
	status_print_notes(page);
}

static cJSON *status_make_json(const struct status_page *page)
{
	cJSON *root = cJSON_CreateObject(), *counters, *degradations, *notes;
	char since[40], line[STATUS_NOTES_SIZE];

	status_format_time(since, page->started_ns);
	cJSON_AddNumberToObject(root, "pid", page->pid);
	cJSON_AddBoolToObject(root, "loaded", true);
	text_add_json(root, "program", page->program);
	text_add_json(root, "service", page->service);
	text_add_json(root, "state", page->state);
	text_add_json(root, "version", page->version);
	text_add_json(root, "since", since);
	counters = cJSON_AddObjectToObject(root, "counters");
	degradations = cJSON_AddObjectToObject(root, "degradations");
	for (unsigned i = 0; i < STATUS_COUNTER_COUNT; i++) {
		const char *name = status_counter_name(i);

		if (!status_counter_is_degradation(name))
			text_add_json_count(counters, name, page->counter[i]);
		else if (page->counter[i])
			text_add_json_count(degradations, name, page->counter[i]);
	}
	notes = cJSON_AddArrayToObject(root, "notes");
	for (const char *at = page->notes; *at;) {
		size_t n = strcspn(at, "\n");

		memcpy(line, at, n);
		line[n] = '\0';
		text_add_json(notes, NULL, line);
		at += n + (at[n] == '\n');
	}
	return root;
}

static cJSON *status_make_pageless_json(int pid, bool loaded, const char *message)
{
	cJSON *root = cJSON_CreateObject();

	cJSON_AddNumberToObject(root, "pid", pid);
	cJSON_AddBoolToObject(root, "loaded", loaded);
	text_add_json(root, "message", message);
	return root;
}

/* Where a process that has none yet will have its page: one that cannot be made there is missing for ever. */
static void status_tell_place(int pid)
{
	char folder[PATH_MAX];

	if (!procfs_environment(pid, "TRACESHIM_RUN_DIR", folder, sizeof(folder)) || folder[0] != '/')
		snprintf(folder, sizeof(folder), "/tmp/traceshim");
	printf("  its page will be ");
	text_put(stdout, folder);
	printf("/%d.status, where that can be written\n", pid);
}

/* Tell about a process without a page that can be believed. */
static int status_tell_pageless(int pid, enum status_file page, bool json)
{
	int has = procfs_has_object(pid), error = errno;
	const char *message = "loaded, nothing noteworthy happened yet";
	int status = EXIT_SUCCESS;

	if (!procfs_start_ticks(pid)) {
		message = "no such process";
		status = STATUS_ERROR;
	} else if (has < 0) {
		message = error == EACCES || error == EPERM ? "you may not look into this process" :
		                                              "its memory map cannot be read";
		status = STATUS_ERROR;
	} else if (!has) {
		message = "the object is not loaded in this process";
		status = STATUS_NOT_LOADED;
	} else if (page == STATUS_FILE_BAD) {
		message = "loaded, but its status page is damaged or not its own";
		status = STATUS_ERROR;
	}
	if (json)
		return text_print_json(status_make_pageless_json(pid, has > 0, message)) ? status : STATUS_ERROR;
	if (status == STATUS_ERROR)
		text_error("status: process %d: %s", pid, message);
	else
		printf("process %d: %s\n", pid, message);
	if (status == EXIT_SUCCESS)
		status_tell_place(pid);
	return status;
}

static int status_show(int pid, bool json)
{
	struct status_page page;
	enum status_file result = status_file_find(pid, &page);

	if (result != STATUS_FILE_OK)
		return status_tell_pageless(pid, result, json);
	if (json)
		return text_print_json(status_make_json(&page)) ? EXIT_SUCCESS : STATUS_ERROR;
	status_print_page(&page);
	return EXIT_SUCCESS;
}

static int status_compare_pids(const void *a, const void *b)
{
	int32_t x = *(const int32_t *)a, y = *(const int32_t *)b;

	return (x > y) - (x < y);
}

/* Collect the numbers that the names in a folder begin with, when `suffix` follows. */
static size_t status_collect(DIR *dir, const char *suffix, int32_t *pids, size_t count)
{
	struct dirent *entry;

	while (count < GUESTS_MAX && (entry = readdir(dir)) != NULL) {
		char digits[12];
		size_t n = strspn(entry->d_name, "0123456789");

		if (!n || n >= sizeof(digits) || strcmp(entry->d_name + n, suffix) != 0)
			continue;
		memcpy(digits, entry->d_name, n);
		digits[n] = '\0';
		pids[count] = text_to_pid(digits);
		count += pids[count] > 0;
	}
	return count;
}

/* All processes that may be guests: those of the pages, whether they live or not, and those with our object mapped. */
static size_t status_find_guests(int dir, int32_t *pids)
{
	DIR *pages = dir >= 0 ? fdopendir(dup(dir)) : NULL, *processes = opendir("/proc");
	size_t count = 0, unique = 0;

	if (pages) {
		count = status_collect(pages, ".status", pids, 0);
		closedir(pages);
	}
	if (processes) {
		size_t all = status_collect(processes, "", pids, count);

		for (size_t i = count; i < all; i++)
			if (procfs_has_object(pids[i]) == 1)
				pids[count++] = pids[i];
		closedir(processes);
	}
	qsort(pids, count, sizeof(*pids), status_compare_pids);
	for (size_t i = 0; i < count; i++)
		if (!unique || pids[unique - 1] != pids[i])
			pids[unique++] = pids[i];
	return unique;
}

static uint64_t status_sum_degradations(const struct status_page *page)
{
	uint64_t sum = 0;

	for (unsigned i = 0; i < STATUS_COUNTER_COUNT; i++)
		if (status_counter_is_degradation(status_counter_name(i)))
			sum += page->counter[i];
	return sum;
}

static void status_print_row(const struct status_page *page)
{
	char program[64 * 4], service[64 * 4];

	printf("%8d  %-16s  %-16s  %-8s  %10" PRIu64 "  %10" PRIu64 "  %10" PRIu64 "  %8" PRIu64 "\n", (int)page->pid,
	       text_clean(program, sizeof(program), page->program, sizeof(page->program)),
	       text_clean(service, sizeof(service), page->service, sizeof(page->service)),
	       strcmp(page->state, "guest") == 0    ? "guest" :
	       strcmp(page->state, "inert") == 0    ? "inert" :
	       strcmp(page->state, "excluded") == 0 ? "excluded" :
	                                              "?",
	       page->counter[STATUS_requests], page->counter[STATUS_calls], page->counter[STATUS_lines],
	       status_sum_degradations(page));
}

struct listing {
	int dir;       /* of the pages, or -1 */
	cJSON *guests; /* NULL: as a table */
	size_t shown;
};

static void status_list_pageless(struct listing *listing, int32_t pid, const char *program)
{
	static const char message[] = "loaded, nothing noteworthy happened yet";

	if (listing->guests) {
		cJSON *guest = status_make_pageless_json(pid, true, message);

		text_add_json(guest, "program", program);
		cJSON_AddItemToArray(listing->guests, guest);
		return;
	}
	printf("%8d  ", (int)pid);
	text_put(stdout, program);
	printf(": %s\n", message);
}

/* One row, or one JSON object, for a guest that lives; nothing for others. */
static void status_list_one(struct listing *listing, int32_t pid)
{
	enum status_file result = STATUS_FILE_NONE;
	char program[PATH_MAX];
	struct status_page page;

	if (listing->dir >= 0)
		result = status_file_read(listing->dir, pid, &page);
	if (result == STATUS_FILE_STALE)
		(void)status_file_remove_stale(listing->dir, pid);
	if (result != STATUS_FILE_OK) {
		if (procfs_has_object(pid) != 1 || procfs_program(pid, program, sizeof(program)) != 0)
			return;
		result = status_file_find(pid, &page);
	}
	if (!listing->shown++ && !listing->guests)
		printf("%8s  %-16s  %-16s  %-8s  %10s  %10s  %10s  %8s\n", "PID", "PROGRAM", "SERVICE", "STATE",
		       "REQUESTS", "CALLS", "LINES", "DEGRADED");
	if (result != STATUS_FILE_OK)
		status_list_pageless(listing, pid, find_base_name(program));
	else if (listing->guests)
		cJSON_AddItemToArray(listing->guests, status_make_json(&page));
	else
		status_print_row(&page);
}

static void status_tell_leftovers(int dir)
{
	struct leftovers left = leftovers_find(dir);

	if (left.rings)
		printf("%u rings of programs that have ended (%" PRIu64 " KiB) wait for `traceshim agent`\n",
		       left.rings, left.bytes / 1024);
	if (left.removed)
		printf("%u rings that nobody fetched for %d days were removed\n", left.removed, LEFTOVERS_DAYS);
}

static int status_list(bool json)
{
	struct listing listing = { .dir = open(status_run_dir(), O_RDONLY | O_DIRECTORY | O_CLOEXEC) };
	int32_t *pids = calloc(GUESTS_MAX, sizeof(*pids));
	cJSON *root = json ? cJSON_CreateObject() : NULL;
	size_t count = pids ? status_find_guests(listing.dir, pids) : 0;

	if (json)
		listing.guests = cJSON_AddArrayToObject(root, "guests");
	for (size_t i = 0; i < count; i++)
		status_list_one(&listing, pids[i]);
	free(pids);
	if (listing.dir >= 0) {
		if (!json)
			status_tell_leftovers(listing.dir);
		close(listing.dir);
	}
	if (json)
		return text_print_json(root) ? EXIT_SUCCESS : STATUS_ERROR;
	if (!listing.shown)
		printf("no traced process\n");
	return EXIT_SUCCESS;
}

int status_command(int argc, char **argv)
{
	static const struct option options[] = {
		{ "json", no_argument, NULL, 'j' },
		{ "help", no_argument, NULL, 'h' },
		{ NULL, 0, NULL, 0 },
	};
	int option, status, pid = 0;
	bool json = false;

	opterr = 0;
	while ((option = getopt_long(argc, argv, "+:h", options, NULL)) != -1) {
		if (option == 'h')
			return fputs(help, stdout) < 0 ? STATUS_ERROR : EXIT_SUCCESS;
		if (option != 'j') {
			text_usage_error(argv[0], option, argv);
			return EXIT_USAGE;
		}
		json = true;
	}
	if (argc - optind > 1 || (argc > optind && !(pid = text_to_pid(argv[optind])))) {
		text_error("status: one process id is wanted, or nothing; see `traceshim status --help`");
		return EXIT_USAGE;
	}
	status = pid ? status_show(pid, json) : status_list(json);
	return fflush(stdout) == 0 ? status : STATUS_ERROR;
}

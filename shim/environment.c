/*
 * The environment of descendants; see environment.h. Copies, because programs overwrite their own environment (nginx and
 * redis use its room for the process title). Bounded: one page of text, in the configuration's store.
 */
#include "environment.h"

#include <string.h>

#include "config.h"
#include "layout.h"
#include "logfiles.h"

#define TEXT_MAX 4096
#define STDIO_NAME "TRACESHIM_STDIO="

static size_t text_len;
static char *entry[ENVIRONMENT_RESTORED_MAX];
static size_t entry_count;

LAYOUT_START static int is_ours(const char *string)
{
	return strncmp(string, "LD_PRELOAD=", 11) == 0 ||
	       (strncmp(string, "TRACESHIM_", 10) == 0 && strncmp(string, STDIO_NAME, sizeof(STDIO_NAME) - 1) != 0) ||
	       strncmp(string, "OTEL_", 5) == 0;
}

LAYOUT_START void environment_remember(char *const envp[])
{
	size_t i;

	for (i = 0; envp != NULL && envp[i] != NULL; i++) {
		size_t len;

		/* Most entries fail on their first letter. */
		if ((envp[i][0] != 'L' && envp[i][0] != 'T' && envp[i][0] != 'O') || !is_ours(envp[i]))
			continue;
		len = strlen(envp[i]) + 1;
		if (entry_count == ENVIRONMENT_RESTORED_MAX || text_len + len > TEXT_MAX)
			continue;
		entry[entry_count] = config_keep(envp[i], len);
		if (entry[entry_count] == NULL)
			continue;
		entry_count++;
		text_len += len;
	}
}

char *environment_stdio(void)
{
	static char stdio[sizeof(STDIO_NAME) + LOGFILES_TEXT] LAYOUT_LATER;

	if (!config_reads_logs())
		return NULL;
	/* Every call writes the same bytes, so two at once do no harm. */
	memcpy(stdio, STDIO_NAME, sizeof(STDIO_NAME) - 1);
	logfiles_format(stdio + sizeof(STDIO_NAME) - 1);
	return stdio;
}

size_t environment_restore(char *entries[])
{
	memcpy(entries, entry, entry_count * sizeof(entry[0]));
	return entry_count;
}

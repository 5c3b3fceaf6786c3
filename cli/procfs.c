/*
 * Readers of /proc/PID. Each takes one snapshot; the process may be gone between two of them, which then looks like "no
 * such process". Names in these files are the other process's own choice, hence untrusted. Source: proc(5).
 */
#include "procfs.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>
#include <unistd.h>

#include "find.h"

static FILE *procfs_open(int pid, const char *name)
{
	char path[64];

	snprintf(path, sizeof(path), "/proc/%d/%s", pid, name);
	return fopen(path, "re");
}

uint64_t procfs_parse_start_ticks(const char *stat)
{
	/* "pid (name) state ppid ...": the name may hold anything, so count from the last ')'. State is field 3. */
	const char *at = strrchr(stat, ')');

	if (!at)
		return 0;
	at++;
	for (int field = 3; field < 22; field++) {
		at += strspn(at, " ");
		at += strcspn(at, " ");
	}
	return strtoull(at, NULL, 10);
}

uint64_t procfs_start_ticks(int pid)
{
	FILE *file = procfs_open(pid, "stat");
	char stat[1024];
	size_t n;

	if (!file)
		return 0;
	n = fread(stat, 1, sizeof(stat) - 1, file);
	fclose(file);
	stat[n] = '\0';
	return procfs_parse_start_ticks(stat);
}

bool procfs_has_uid(int pid, uint32_t uid)
{
	FILE *file = procfs_open(pid, "status");
	unsigned real, effective, saved;
	char line[256];
	bool has = false;

	if (!file)
		return false;
	while (fgets(line, sizeof(line), file)) {
		if (sscanf(line, "Uid: %u %u %u", &real, &effective, &saved) == 3) {
			has = uid == real || uid == effective || uid == saved;
			break;
		}
	}
	fclose(file);
	return has;
}

int procfs_each_mapped_file(int pid, bool code, procfs_visit *visit, void *owner)
{
	FILE *file = procfs_open(pid, "maps");
	char line[PATH_MAX + 128], reach[PATH_MAX + 32];
	int error = 0;

	if (!file)
		return errno;
	errno = 0;
	while (fgets(line, sizeof(line), file)) {
		char permissions[8], *path = strchr(line, '/');

		if (!path || sscanf(line, "%*s %7s", permissions) != 1 || (code && !strchr(permissions, 'x')))
			continue;
		path[strcspn(path, "\n")] = '\0';
		if (strlen(path) > 10 && strcmp(path + strlen(path) - 10, " (deleted)") == 0)
			path[strlen(path) - 10] = '\0';
		if (strlen(path) >= PATH_MAX)
			continue;
		snprintf(reach, sizeof(reach), "/proc/%d/root%s", pid, path);
		if (!visit(owner, path, reach))
			break;
	}
	/* The kernel checks permission at the read, not at the open. */
	if (ferror(file))
		error = errno ? errno : EIO;
	fclose(file);
	return error;
}

static bool procfs_is_object(void *owner, const char *path, const char *reach)
{
	bool *found = owner;

	(void)reach;
	*found = strcmp(find_base_name(path), FIND_OBJECT_NAME) == 0;
	return !*found;
}

int procfs_has_object(int pid)
{
	bool found = false;
	int error = procfs_each_mapped_file(pid, true, procfs_is_object, &found);

	if (error) {
		errno = error;
		return -1;
	}
	return found;
}

bool procfs_environment(int pid, const char *name, char *value, size_t size)
{
	FILE *file = procfs_open(pid, "environ");
	size_t capacity = 0, len = strlen(name);
	bool found = false;
	char *entry = NULL;

	if (!file)
		return false;
	while (!found && getdelim(&entry, &capacity, '\0', file) > 0) {
		if (strncmp(entry, name, len) == 0 && entry[len] == '=' && strlen(entry + len + 1) < size) {
			memcpy(value, entry + len + 1, strlen(entry + len + 1) + 1);
			found = true;
		}
	}
	free(entry);
	fclose(file);
	return found;
}

int procfs_program(int pid, char *path, size_t size)
{
	char link[64];
	ssize_t n;

	snprintf(link, sizeof(link), "/proc/%d/exe", pid);
	n = readlink(link, path, size - 1);
	if (n < 0)
		return errno;
	path[n] = '\0';
	return 0;
}

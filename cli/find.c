/*
 * Search paths. Files are mapped, not read: an executable may have 100 MB of which an analysis touches a few pages. A file
 * that is truncated while it is mapped would end this program by SIGBUS; that is accepted, since only this program ends.
 */
#include "find.h"

#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

int find_map(struct mapping *map, const char *path)
{
	/* O_NONBLOCK: a FIFO under this name must not hang us. */
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY), error = 0;
	struct stat st;

	map->data = NULL;
	map->size = 0;
	if (fd < 0)
		return errno;
	if (fstat(fd, &st) != 0)
		error = errno;
	else if (S_ISDIR(st.st_mode))
		error = EISDIR;
	else if (!S_ISREG(st.st_mode))
		error = EACCES;
	else if (st.st_size > 0) {
		map->data = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
		if (map->data == MAP_FAILED)
			error = errno;
		else
			map->size = (size_t)st.st_size;
	}
	close(fd);
	return error;
}

void find_unmap(struct mapping *map)
{
	if (map->size)
		munmap(map->data, map->size);
	map->size = 0;
}

const char *find_base_name(const char *path)
{
	const char *slash = strrchr(path, '/');

	return slash ? slash + 1 : path;
}

static bool find_object_at(char path[PATH_MAX], const char *directory, const char *below)
{
	char name[PATH_MAX];

	if ((size_t)snprintf(name, sizeof(name), "%s%s/" FIND_OBJECT_NAME, directory, below) >= sizeof(name))
		return false;
	return access(name, R_OK) == 0 && realpath(name, path);
}

bool find_closed_part(char part[PATH_MAX], const char *path)
{
	struct stat st;

	for (size_t end = 1; path[end - 1]; end++) {
		bool is_file = path[end] == '\0';

		if (!is_file && path[end] != '/')
			continue;
		if (end >= PATH_MAX)
			return false;
		memcpy(part, path, end);
		part[end] = '\0';
		if (stat(part, &st) == 0 && !(st.st_mode & (is_file ? S_IROTH : S_IXOTH)))
			return true;
		if (is_file)
			return false;
	}
	return false;
}

bool find_object(char path[PATH_MAX], const char *given)
{
	static const char *const below[] = { "", "/../lib/traceshim", "/../lib" };
	char self[PATH_MAX], *slash;
	ssize_t n;

	if (!given || !*given)
		given = getenv("TRACESHIM_LIBRARY");
	if (given && *given) {
		if (realpath(given, path))
			return true;
		snprintf(path, PATH_MAX, "%s", given);
		return false;
	}
	n = readlink("/proc/self/exe", self, sizeof(self) - 1);
	if (n > 0) {
		self[n] = '\0';
		slash = strrchr(self, '/');
		if (slash)
			*slash = '\0';
		for (size_t i = 0; i < sizeof(below) / sizeof(below[0]); i++)
			if (find_object_at(path, self, below[i]))
				return true;
	}
#ifdef TRACESHIM_LIBDIR
	if (find_object_at(path, TRACESHIM_LIBDIR, "/traceshim") || find_object_at(path, TRACESHIM_LIBDIR, ""))
		return true;
#endif
	snprintf(path, PATH_MAX, "%s", FIND_OBJECT_NAME);
	return false;
}

const char *find_preload_obstacle(const char *path)
{
	if (strchr(path, ' '))
		return "it contains a space, which separates entries in LD_PRELOAD";
	if (strchr(path, ':'))
		return "it contains a ':', which separates entries in LD_PRELOAD";
	if (strchr(path, '$'))
		return "it contains a '$', which the dynamic loader substitutes";
	return NULL;
}

int find_program(char path[PATH_MAX], const char *name)
{
	const char *at = getenv("PATH"), *end;
	int error = ENOENT;
	struct stat st;

	if (!*name)
		return ENOENT;
	if (strchr(name, '/')) {
		if ((size_t)snprintf(path, PATH_MAX, "%s", name) >= PATH_MAX)
			return ENAMETOOLONG;
		return stat(path, &st) == 0 ? 0 : errno;
	}
	if (!at)
		at = "/bin:/usr/bin"; /* what confstr(_CS_PATH) gives to execvp */
	for (;; at = end + 1) {
		int len;

		end = strchrnul(at, ':');
		len = (int)(end - at);
		/* An empty entry is the current directory. */
		if (end - at < PATH_MAX &&
		    snprintf(path, PATH_MAX, "%.*s/%s", len ? len : 1, len ? at : ".", name) < PATH_MAX &&
		    stat(path, &st) == 0 && S_ISREG(st.st_mode)) {
			if (access(path, X_OK) == 0)
				return 0;
			error = EACCES;
		}
		if (!*end)
			return error;
	}
}

/* What to do with one entry of LD_PRELOAD. */
enum entry { ENTRY_OTHER, ENTRY_OURS, ENTRY_ANOTHER_SHIM };

static enum entry find_classify_entry(const char *entry, size_t len, const char *object)
{
	struct stat theirs, ours;
	char path[PATH_MAX];

	if (len >= sizeof(path))
		return ENTRY_OTHER;
	memcpy(path, entry, len);
	path[len] = '\0';
	if (strcmp(path, object) == 0)
		return ENTRY_OURS;
	if (stat(path, &theirs) == 0 && stat(object, &ours) == 0 && theirs.st_dev == ours.st_dev &&
	    theirs.st_ino == ours.st_ino)
		return ENTRY_OURS;
	if (strcmp(find_base_name(path), FIND_OBJECT_NAME) != 0)
		return ENTRY_OTHER;
	return access(path, F_OK) == 0 ? ENTRY_ANOTHER_SHIM : ENTRY_OURS;
}

char *find_preload_value(const char *old, const char *object)
{
	const char *at = old ? old : "";
	bool present = false;
	size_t used = 0, len;
	/* Each replacement is at most as long as the object's path, and each replaced entry at least FIND_OBJECT_NAME. */
	char *out = malloc(strlen(at) + (strlen(at) / strlen(FIND_OBJECT_NAME) + 2) * (strlen(object) + 1) + 1);

	if (!out)
		return NULL;
	for (; *at; at += len) {
		enum entry entry;

		len = strcspn(at, " :");
		entry = len ? find_classify_entry(at, len, object) : ENTRY_OTHER;
		present = present || entry != ENTRY_OTHER;
		if (entry == ENTRY_ANOTHER_SHIM)
			used += (size_t)sprintf(out + used, "%s", object);
		else
			used += (size_t)sprintf(out + used, "%.*s", (int)len, at);
		len += strspn(at + len, " :");
		/* Separators as they were, unless they would end the value. */
		if (at[len])
			out[used++] = ':';
	}
	if (!present)
		used += (size_t)sprintf(out + used, "%s%s", used && out[used - 1] != ':' ? ":" : "", object);
	out[used] = '\0';
	return out;
}

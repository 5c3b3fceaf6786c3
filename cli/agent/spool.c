/*
 * A file a request, <name>-<number>-<items>.request, written under another name and renamed: what is there is whole. The list of
 * them is in memory (16 bytes each, SPOOL_FILES_MAX), so the folder is read once. Not synced: a spool is against back ends that
 * fail, not against machines that do.
 */
#include "spool.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { SPOOL_FILES_MAX = 1000000, SPOOL_NAME = 80 };

static void spool_name(const struct spool *s, const struct spool_entry *e, char name[SPOOL_NAME])
{
	snprintf(name, SPOOL_NAME, "%s-%020" PRIu64 "-%" PRIu32 ".request", s->name, e->number, e->items);
}

static bool spool_append(struct spool *s, struct spool_entry entry)
{
	struct spool_entry *grown;

	if (s->first + s->count == s->room) {
		if (s->first > s->room / 2) {
			memmove(s->entries, s->entries + s->first, s->count * sizeof(*s->entries));
			s->first = 0;
		} else {
			size_t room = s->room ? 2 * s->room : 64;

			grown = realloc(s->entries, room * sizeof(*grown));
			if (!grown)
				return false;
			s->entries = grown;
			s->room = room;
		}
	}
	s->entries[s->first + s->count++] = entry;
	s->bytes += entry.bytes;
	return true;
}

static int spool_compare(const void *left, const void *right)
{
	const struct spool_entry *a = left, *b = right;

	return a->number < b->number ? -1 : a->number > b->number;
}

/* One name of the folder. False without memory. */
static bool spool_meet(struct spool *s, const char *name)
{
	size_t len = strlen(s->name);
	struct spool_entry entry = { 0 };
	char again[SPOOL_NAME];
	struct stat st;

	if (strncmp(name, s->name, len) != 0 || name[len] != '-')
		return true;
	if (sscanf(name + len + 1, "%20" SCNu64 "-%" SCNu32 ".request", &entry.number, &entry.items) != 2)
		return true;
	spool_name(s, &entry, again);
	if (strcmp(again, name) != 0 || entry.number == UINT64_MAX ||
	    fstatat(s->dir, name, &st, AT_SYMLINK_NOFOLLOW) != 0 || !S_ISREG(st.st_mode) || st.st_size > UINT32_MAX)
		return true;
	entry.bytes = (uint32_t)st.st_size;
	s->next = entry.number >= s->next ? entry.number + 1 : s->next;
	return spool_append(s, entry);
}

bool spool_open(struct spool *s, int dir, const char *name, uint64_t bytes_max)
{
	int fd = openat(dir, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *folder = fd < 0 ? NULL : fdopendir(fd);
	struct dirent *entry;
	bool ok = true;

	*s = (struct spool){ .dir = dir, .bytes_max = bytes_max };
	snprintf(s->name, sizeof(s->name), "%s", name);
	if (!folder) {
		if (fd >= 0)
			close(fd);
		return true;
	}
	while (ok && (entry = readdir(folder)))
		ok = spool_meet(s, entry->d_name);
	closedir(folder);
	if (s->count)
		qsort(s->entries, s->count, sizeof(*s->entries), spool_compare);
	return ok;
}

static bool spool_write_all(int fd, const char *bytes, size_t len)
{
	while (len) {
		ssize_t n = write(fd, bytes, len);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return false;
		bytes += n;
		len -= (size_t)n;
	}
	return true;
}

enum spool_result spool_add(struct spool *s, const void *bytes, size_t len, uint32_t items, uint64_t number)
{
	struct spool_entry entry = { .number = number, .items = items, .bytes = (uint32_t)len };
	char part[sizeof(s->name) + 8], name[SPOOL_NAME];
	bool written;
	int fd, error;

	if (s->bytes + len > s->bytes_max || s->count >= SPOOL_FILES_MAX || len > UINT32_MAX)
		return SPOOL_FULL;
	snprintf(part, sizeof(part), "%s.part", s->name);
	spool_name(s, &entry, name);
	fd = openat(s->dir, part, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (fd < 0)
		return SPOOL_FAILED;
	written = spool_write_all(fd, bytes, len);
	error = errno;
	close(fd);
	if (written && renameat(s->dir, part, s->dir, name) == 0) {
		if (spool_append(s, entry))
			return SPOOL_OK;
		unlinkat(s->dir, name, 0);
		error = ENOMEM;
	} else {
		error = written ? errno : error;
		unlinkat(s->dir, part, 0);
	}
	errno = error;
	return SPOOL_FAILED;
}

void *spool_read(const struct spool *s, size_t *len)
{
	const struct spool_entry *entry = spool_oldest(s);
	char name[SPOOL_NAME], *bytes = NULL;
	size_t got = 0;
	int fd;

	spool_name(s, entry, name);
	fd = openat(s->dir, name, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0)
		return NULL;
	bytes = malloc(entry->bytes ? entry->bytes : 1);
	while (bytes && got < entry->bytes) {
		ssize_t n = read(fd, bytes + got, entry->bytes - got);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			break;
		got += (size_t)n;
	}
	close(fd);
	if (got != entry->bytes) {
		free(bytes);
		return NULL;
	}
	*len = got;
	return bytes;
}

void spool_remove(struct spool *s)
{
	struct spool_entry *entry = &s->entries[s->first];
	char name[SPOOL_NAME];

	spool_name(s, entry, name);
	unlinkat(s->dir, name, 0);
	s->bytes -= entry->bytes;
	s->first++;
	s->count--;
	if (!s->count)
		s->first = 0;
}

void spool_close(struct spool *s)
{
	free(s->entries);
	*s = (struct spool){ .dir = -1 };
}

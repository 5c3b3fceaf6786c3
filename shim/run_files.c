/*
 * Files in the run folder; see run_files.h. It is shared by all users, sticky like /tmp: a name in it is taken only by O_EXCL,
 * and never followed. No descriptor stays open: programs sweep them, and the number comes back as one of their own.
 */
#include "run_files.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

#include "config.h"
#include "os.h"

#define NAME_LENGTH 80 /* three numbers of 20 digits, and what is between and behind them */

size_t run_files_path(char path[RUN_PATH_ROOM])
{
	size_t len = config.run_dir.len;

	if (len == 0 || len + 1 + NAME_LENGTH > RUN_PATH_ROOM)
		return 0;
	memcpy(path, config.run_dir.text, len);
	path[len] = '/';
	return len + 1;
}

size_t run_files_number(char *path, size_t len, uint64_t number)
{
	char digits[20];
	size_t n = 0;

	do {
		digits[n++] = (char)('0' + number % 10);
		number /= 10;
	} while (number != 0);
	while (n > 0)
		path[len++] = digits[--n];
	return len;
}

int run_files_make(const char *path, mode_t mode)
{
	int flags = O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC;
	int fd = os.open(path, flags, mode);

	if (fd >= 0 || errno != ENOENT)
		return fd;
	/* chmod, because the umask takes the write bits away that children of other users need. */
	if (mkdir(config.run_dir.text, 01777) == 0)
		(void)chmod(config.run_dir.text, 01777);
	return os.open(path, flags, mode);
}

/* The name in field 2 may hold spaces and brackets: fields count from the last ')'. */
uint64_t run_files_start_ticks(void)
{
	char text[512];
	uint64_t ticks = 0;
	ssize_t len;
	int fd = os.open("/proc/self/stat", O_RDONLY | O_CLOEXEC);
	char *at;
	int field;

	if (fd < 0)
		return 0;
	len = os.read(fd, text, sizeof(text) - 1);
	os.close(fd);
	if (len <= 0)
		return 0;
	text[len] = '\0';
	at = strrchr(text, ')');
	for (field = 2; at != NULL && field < 22; field++)
		at = strchr(at + 1, ' ');
	if (at == NULL)
		return 0;
	for (at++; *at >= '0' && *at <= '9'; at++)
		ticks = ticks * 10 + (uint64_t)(*at - '0');
	return ticks;
}

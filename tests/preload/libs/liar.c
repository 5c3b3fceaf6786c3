/*
 * Beneath the object, or alone: one of the calls that it passes on is not what it says. LIE: `error` (a success changes errno), `count` (what
 * was sent is told as one byte less), `bytes` (a byte is sent as another one), `line` (one of ten writes to a file or pipe is lost).
 */
#include <dlfcn.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

static int is(const char *lie)
{
	const char *told = getenv("LIE");

	return told != NULL && strcmp(told, lie) == 0;
}

static int is_socket(int fd)
{
	struct stat st;

	return fstat(fd, &st) == 0 && S_ISSOCK(st.st_mode);
}

ssize_t read(int fd, void *bytes, size_t len)
{
	ssize_t (*real)(int, void *, size_t) = (ssize_t(*)(int, void *, size_t))dlsym(RTLD_NEXT, "read");
	ssize_t n = real(fd, bytes, len);

	if (n > 1 && is("error") && is_socket(fd))
		errno = EAGAIN;
	return n;
}

ssize_t write(int fd, const void *bytes, size_t len)
{
	static int number;
	ssize_t (*real)(int, const void *, size_t) = (ssize_t(*)(int, const void *, size_t))dlsym(RTLD_NEXT, "write");
	char other[65536];

	if (len == 0 || len > sizeof(other))
		return real(fd, bytes, len);
	if (is("line") && !is_socket(fd) && ++number % 10 == 0)
		return (ssize_t)len;
	if (is("count") && is_socket(fd)) {
		ssize_t n = real(fd, bytes, len);

		return n > 1 ? n - 1 : n;
	}
	if (is("bytes") && is_socket(fd)) {
		memcpy(other, bytes, len);
		other[len - 1] ^= 1;
		bytes = other;
	}
	return real(fd, bytes, len);
}

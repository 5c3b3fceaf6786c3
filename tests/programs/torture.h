/*
 * What the torture programs share: a trail of what each call returned, and what each peer got, in two files of the folder that
 * is given: DIR/trail and DIR/wire. Both are shared mappings, made by system calls that nobody interposes: so a line can be
 * added in a signal handler, in a child, without descriptors to be had, and under seccomp, and adding it changes nothing.
 *
 * The peers are this process's own, and are served by such calls alone: the object knows one end of each connection.
 */
#ifndef TORTURE_H
#define TORTURE_H

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#define TORTURE_ROOM (8u * 1024 * 1024)

#define HEAD "GET /path?q=1 HTTP/1.1\r\nHost: a.example\r\nAccept: */*\r\n\r\n"
#define ANSWER "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nok\n"

static inline long raw6(long number, long a, long b, long c, long d, long e, long f)
{
	register long r10 __asm__("r10") = d;
	register long r8 __asm__("r8") = e;
	register long r9 __asm__("r9") = f;
	long result;

	__asm__ volatile("syscall"
	                 : "=a"(result)
	                 : "a"(number), "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8), "r"(r9)
	                 : "rcx", "r11", "memory");
	return result;
}

/* The kernel's result: -errno for an error. */
#define raw(number, a, b, c) raw6(number, (long)(a), (long)(b), (long)(c), 0, 0, 0)

/* Something that the test needs went wrong: no result at all. */
static inline void must(bool ok, const char *what)
{
	if (!ok) {
		raw(SYS_write, 2, what, strlen(what));
		raw(SYS_write, 2, " failed\n", 8);
		raw(SYS_exit_group, 99, 0, 0);
	}
}

struct torture_file {
	uint64_t len; /* atomic */
	char text[TORTURE_ROOM - 8];
};

static struct torture_file *torture_trail, *torture_wire;
static const char *torture_dir;

static inline struct torture_file *torture_map(const char *dir, const char *name)
{
	char path[512];
	void *map;
	int fd;

	snprintf(path, sizeof(path), "%s/%s", dir, name);
	fd = (int)raw(SYS_open, path, O_RDWR | O_CREAT, 0600);
	must(fd >= 0 && raw(SYS_ftruncate, fd, TORTURE_ROOM, 0) == 0, path);
	map = mmap(NULL, TORTURE_ROOM, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	must(map != MAP_FAILED, "mmap");
	raw(SYS_close, fd, 0, 0);
	return map;
}

static inline void torture_begin(const char *dir)
{
	torture_dir = dir;
	torture_trail = torture_map(dir, "trail");
	torture_wire = torture_map(dir, "wire");
}

static inline void torture_add(struct torture_file *file, const char *text, size_t len)
{
	uint64_t at = __atomic_fetch_add(&file->len, len, __ATOMIC_RELAXED);

	must(at + len <= sizeof(file->text), "room in the trail");
	memcpy(file->text + at, text, len);
}

__attribute__((format(printf, 1, 2))) static inline void trail(const char *format, ...)
{
	char line[400];
	int saved = errno, len;
	va_list args;

	va_start(args, format);
	len = vsnprintf(line, sizeof(line) - 1, format, args);
	va_end(args);
	if (len > (int)sizeof(line) - 2)
		len = (int)sizeof(line) - 2;
	line[len++] = '\n';
	torture_add(torture_trail, line, (size_t)len);
	errno = saved;
}

/* Call it, and tell what it returned and what errno was then; a call that succeeds should have left it alone. */
#define PRESET 4711
#define TRY(call)                                                                                                      \
	({                                                                                                             \
		long torture_result;                                                                                   \
		errno = PRESET;                                                                                        \
		torture_result = (long)(call);                                                                         \
		trail("%s = %ld, %s", #call, torture_result, errno == PRESET ? "-" : strerrorname_np(errno));          \
		torture_result;                                                                                        \
	})

/* The same for a result that is a number of no interest (a descriptor that other threads' calls move about). */
#define TRY_OK(call)                                                                                                   \
	({                                                                                                             \
		long torture_result;                                                                                   \
		errno = PRESET;                                                                                        \
		torture_result = (long)(call);                                                                         \
		trail("%s %s, %s", #call, torture_result < 0 ? "failed" : "succeeded",                                 \
		      errno == PRESET ? "-" : strerrorname_np(errno));                                                 \
		torture_result;                                                                                        \
	})

/* A connection with the program's end, and the peer's. */
struct wire {
	int fd, peer;
};

static inline int torture_listen(struct sockaddr_in *addr)
{
	int fd = (int)raw(SYS_socket, AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), len = sizeof(*addr);

	*addr = (struct sockaddr_in){ .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	must(fd >= 0 && raw(SYS_bind, fd, addr, len) == 0 && raw(SYS_listen, fd, 64, 0) == 0 &&
	             raw(SYS_getsockname, fd, addr, &len) == 0,
	     "listen");
	/* Out of the way: the numbers that the program gets begin where they would. */
	len = (int)raw(SYS_fcntl, fd, F_DUPFD_CLOEXEC, 700);
	if (len < 0)
		return fd;
	raw(SYS_close, fd, 0, 0);
	return len;
}

/* The program calls. */
static inline struct wire wire_dial(void)
{
	struct sockaddr_in addr;
	int listener = torture_listen(&addr);
	struct wire wire = { .fd = socket(AF_INET, SOCK_STREAM, 0) };
	int moved;

	must(wire.fd >= 0 && connect(wire.fd, (struct sockaddr *)&addr, sizeof(addr)) == 0, "connect");
	wire.peer = (int)raw(SYS_accept, listener, 0, 0);
	must(wire.peer >= 0, "accept");
	raw(SYS_close, listener, 0, 0);
	moved = (int)raw(SYS_fcntl, wire.peer, F_DUPFD_CLOEXEC, 700);
	if (moved >= 0) {
		raw(SYS_close, wire.peer, 0, 0);
		wire.peer = moved;
	}
	return wire;
}

/* The program serves. */
static inline struct wire wire_serve(void)
{
	struct sockaddr_in addr = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t len = sizeof(addr);
	int listener = socket(AF_INET, SOCK_STREAM, 0), moved;
	struct wire wire = { -1, -1 };

	must(listener >= 0 && bind(listener, (struct sockaddr *)&addr, len) == 0 && listen(listener, 64) == 0 &&
	             getsockname(listener, (struct sockaddr *)&addr, &len) == 0,
	     "listen");
	wire.peer = (int)raw(SYS_socket, AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	must(wire.peer >= 0 && raw(SYS_connect, wire.peer, &addr, sizeof(addr)) == 0, "connect to the program");
	moved = (int)raw(SYS_fcntl, wire.peer, F_DUPFD_CLOEXEC, 700);
	if (moved >= 0) {
		raw(SYS_close, wire.peer, 0, 0);
		wire.peer = moved;
	}
	wire.fd = accept(listener, NULL, NULL);
	must(wire.fd >= 0, "accept in the program");
	close(listener);
	return wire;
}

static inline void peer_send(const struct wire *wire, const char *bytes, size_t len)
{
	must(raw(SYS_write, wire->peer, bytes, len) == (long)len, "the peer's write");
}

/* Into DIR/wire: name, how many heads were to be added to (-1: some, or none), the bytes in hexadecimal. */
static inline void wire_note_begin(const char *name, int heads)
{
	char line[128];
	int len = snprintf(line, sizeof(line), "%s %d ", name, heads);

	torture_add(torture_wire, line, (size_t)len);
}

static inline void wire_note_bytes(const unsigned char *bytes, size_t len)
{
	static const char digits[] = "0123456789abcdef";
	char text[512];

	while (len > 0) {
		size_t n = len < 256 ? len : 256, i;

		for (i = 0; i < n; i++) {
			text[2 * i] = digits[bytes[i] >> 4];
			text[2 * i + 1] = digits[bytes[i] & 15];
		}
		torture_add(torture_wire, text, 2 * n);
		bytes += n;
		len -= n;
	}
}

/* One thread only. The program's end is closed by whoever opened it: the peer reads until the end. */
static inline void wire_note(const char *name, const struct wire *wire, int heads)
{
	unsigned char bytes[4096];
	long n;

	wire_note_begin(name, heads);
	while ((n = raw(SYS_read, wire->peer, bytes, sizeof(bytes))) > 0)
		wire_note_bytes(bytes, (size_t)n);
	torture_add(torture_wire, n < 0 ? " reset\n" : " end\n", n < 0 ? 7 : 5);
	raw(SYS_close, wire->peer, 0, 0);
}

static inline void wire_end(const char *name, struct wire *wire, int heads)
{
	shutdown(wire->fd, SHUT_WR);
	wire_note(name, wire, heads);
	close(wire->fd);
}

struct torture_case {
	const char *name;
	void (*run)(void);
};

static inline int torture_main(int argc, char **argv, const struct torture_case *cases, size_t count)
{
	size_t i;

	if (argc < 3)
		return 98;
	torture_begin(argv[2]);
	for (i = 0; i < count; i++) {
		if (strcmp(argv[1], cases[i].name) == 0) {
			cases[i].run();
			return 0;
		}
	}
	return 97;
}

#endif

/*
 * Memory that goes away under our feet, and memory that is not to be had: `torture_memory CASE DIR`.
 */
#include "torture.h"

#include <sys/shm.h>

#define PAGE 4096

static struct wire dialled, served;
static int log_fd, pipe_end[2];

static void open_all(void)
{
	char path[600];

	snprintf(path, sizeof(path), "%s/own.log", torture_dir);
	log_fd = open(path, O_WRONLY | O_CREAT | O_APPEND, 0600);
	dialled = wire_dial();
	served = wire_serve();
	must(log_fd >= 0 && pipe(pipe_end) == 0, "open");
	signal(SIGPIPE, SIG_IGN);
}

static void close_all(void)
{
	TRY(write(1, "the end\n", 8));
	TRY(write(log_fd, "the end\n", 8));
	wire_end("dialled", &dialled, -1);
	wire_end("served", &served, -1);
	close(log_fd);
	closefrom(3);
}

/* Everything that looks at what it is given: bytes, a vector, a message's header. */
static void send_all_from(char *page, size_t len)
{
	struct iovec piece = { page, len };
	struct msghdr msg = { .msg_iov = &piece, .msg_iovlen = 1 };

	TRY(write(1, page, len));
	TRY(write(log_fd, page, len));
	TRY(writev(log_fd, &piece, 1));
	TRY(write(pipe_end[1], page, len));
	TRY(send(dialled.fd, page, len, MSG_NOSIGNAL));
	TRY(sendmsg(dialled.fd, &msg, MSG_NOSIGNAL));
	TRY(write(served.fd, page, len));
	TRY(writev(served.fd, (struct iovec *)page, 1));
	TRY(sendmsg(served.fd, (struct msghdr *)page, MSG_NOSIGNAL));
	TRY(poll((struct pollfd *)page, 1, 0));
}

static char *fresh_pages(size_t len)
{
	char *pages = mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	must(pages != MAP_FAILED, "mmap");
	return pages;
}

/* Zeroes are a vector of nothing, a message of nothing, and standard input: nothing is asked of it. */
static void lines_into(char *page)
{
	memset(page, 0, PAGE);
	page[64] = '\n';
}

enum way {
	UNMAPPED,
	PROTECTED,
	MOVED,
	SHRUNK,
	DETACHED,
	UNMAPPED_BY_NUMBER,
	PROTECTED_BY_NUMBER,
	MOVED_BY_NUMBER,
	WAYS
};
static const char *const way_names[] = { "unmapped", "protected", "moved",     "shrunk",
	                                 "detached", "by number", "by number", "by number" };

static void go_away(enum way way)
{
	int shm = way == DETACHED ? shmget(IPC_PRIVATE, 2 * PAGE, IPC_CREAT | 0600) : -1;
	char *place = fresh_pages(2 * PAGE), *page;

	page = way == DETACHED ? shmat(shm, NULL, 0) : fresh_pages(2 * PAGE);
	must(page != NULL && page != MAP_FAILED, way_names[way]);
	if (way == DETACHED)
		shmctl(shm, IPC_RMID, NULL);
	page += way == SHRUNK ? PAGE : 0;
	trail("--- %s", way_names[way]);
	lines_into(page);
	send_all_from(page, 65);
	switch (way) {
	case UNMAPPED: must(munmap(page, PAGE) == 0, "munmap"); break;
	case PROTECTED: must(mprotect(page, PAGE, PROT_NONE) == 0, "mprotect"); break;
	case MOVED:
		must(mremap(page, 2 * PAGE, 2 * PAGE, MREMAP_MAYMOVE | MREMAP_FIXED, place) == place, "mremap");
		break;
	case SHRUNK: must(mremap(page - PAGE, 2 * PAGE, PAGE, 0) == page - PAGE, "mremap"); break;
	case DETACHED: must(shmdt(page) == 0, "shmdt"); break;
	case UNMAPPED_BY_NUMBER: must(syscall(SYS_munmap, page, PAGE) == 0, "munmap"); break;
	case PROTECTED_BY_NUMBER: must(syscall(SYS_mprotect, page, PAGE, PROT_NONE) == 0, "mprotect"); break;
	default:
		must(syscall(SYS_mremap, page, 2 * PAGE, 2 * PAGE, MREMAP_MAYMOVE | MREMAP_FIXED, place) == (long)place,
		     "mremap");
		break;
	}
	send_all_from(page, 65);
}

/* What was read a moment ago is gone: the kernel says EFAULT, and the program goes on. */
static void pages_go(void)
{
	enum way way;

	open_all();
	for (way = UNMAPPED; way < WAYS; way++)
		go_away(way);
	close_all();
}

int main(int argc, char **argv)
{
	static const struct torture_case cases[] = {
		{ "pages_go", pages_go },
	};

	return torture_main(argc, argv, cases, sizeof(cases) / sizeof(cases[0]));
}

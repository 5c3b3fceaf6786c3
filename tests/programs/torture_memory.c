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

/* ---- no pages ---- */

static void serve_one(struct wire *wire, int number)
{
	char request[9000], room[9000];
	int len = snprintf(
		request, sizeof(request),
		"POST /%d HTTP/1.1\r\nHost: b\r\nbaggage: k=v\r\nX-User-Id: %0*d\r\nContent-Length: 3\r\n\r\nabc",
		number, number % 3 == 2 ? 4000 : 20, number);

	/* A head in two reads, the cut within a line. */
	peer_send(wire, request, 60);
	TRY(read(wire->fd, room, sizeof(room)));
	peer_send(wire, request + 60, (size_t)len - 60);
	TRY(read(wire->fd, room, sizeof(room)));
	TRY(write(log_fd, "a line of the handler\n", 22));
	printf("printed in %d\n", number);
	TRY(write(wire->fd, ANSWER, 20));
	TRY(write(wire->fd, ANSWER + 20, sizeof(ANSWER) - 21));
}

static void call_one(struct wire *wire)
{
	char room[200];
	struct iovec pieces[3] = { { HEAD, 20 }, { HEAD + 20, 10 }, { HEAD + 30, sizeof(HEAD) - 31 } };

	TRY(writev(wire->fd, pieces, 3));
	peer_send(wire, ANSWER, sizeof(ANSWER) - 1);
	TRY(read(wire->fd, room, sizeof(room)));
}

static void *in_a_thread(void *arg)
{
	struct wire mine = wire_serve();

	serve_one(&mine, 7);
	call_one(&dialled);
	TRY(write(2, "half a line, ", 13));
	TRY(write(2, "and its end\n", 12));
	wire_end("a thread's", &mine, -1);
	return arg;
}

static void many_lines(void)
{
	static char block[20000];
	size_t at = 0;

	while (at + 40 < sizeof(block))
		at += (size_t)snprintf(block + at, sizeof(block) - at, "line at %zu of a block\n", at);
	TRY(write(log_fd, block, at));
	memset(block, 'y', sizeof(block) - 1);
	block[sizeof(block) - 1] = '\n';
	TRY(write(log_fd, "{\"json\":", 8));
	TRY(write(log_fd, "1}\n", 3));
	TRY(write(2, block, sizeof(block)));
}

/* Everything that asks for memory: the tables, a connection of each kind, its heads and their pieces, lines, rings, threads, children. */
static void every_page(void)
{
	pthread_t thread;
	int status = 0;
	pid_t pid;

	open_all();
	setvbuf(stdout, NULL, _IOFBF, 4096);
	serve_one(&served, 1);
	call_one(&dialled);
	serve_one(&served, 2);
	many_lines();
	must(pthread_create(&thread, NULL, in_a_thread, NULL) == 0 && pthread_join(thread, NULL) == 0, "a thread");
	TRY(fcntl(dialled.fd, F_DUPFD, 600));
	TRY(dup2(log_fd, 2000) >= 0 || errno == EBADF);
	fflush(stdout);
	pid = fork();
	if (pid == 0) {
		TRY(write(log_fd, "a line of the child\n", 20));
		call_one(&dialled);
		_exit(3);
	}
	must(waitpid(pid, &status, 0) == pid, "the child");
	trail("the child: %x", (unsigned)status);
	TRY(system("echo a line of a shell"));
	close_all();
}

int main(int argc, char **argv)
{
	static const struct torture_case cases[] = {
		{ "pages_go", pages_go },
		{ "every_page", every_page },
	};

	return torture_main(argc, argv, cases, sizeof(cases) / sizeof(cases[0]));
}

/*
 * Uses stdio in one of many ways, by name: `stdio_guest CASE [FILE]`. What a call returned goes to standard error.
 */
#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <locale.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>
#include <wchar.h>

static const char *file;

static void tell(const char *what, long result)
{
	int error = errno;

	fprintf(stderr, "%s: %ld %s\n", what, result, result < 0 ? strerrorname_np(error) : "-");
}

static void every_function(void)
{
	FILE *copy = fdopen(dup(1), "w");
	FILE *opened = fopen("/dev/stdout", "a");

	tell("printf", printf("printf %d\n", 1));
	tell("puts", puts("puts"));
	tell("putchar", putchar('c') + putchar('\n'));
	tell("fwrite", (long)fwrite("fwrite\n", 1, 7, stdout));
	tell("fputs", fputs("fputs\n", stdout));
	fflush(stdout);
	tell("dprintf", dprintf(1, "dprintf %s\n", "text"));
	tell("dprintf 2", dprintf(2, "dprintf 2\n"));
	tell("fdopen", fprintf(copy, "fdopen\n"));
	tell("fclose", fclose(copy));
	tell("fopen", fprintf(opened, "opened\n"));
	tell("fclose", fclose(opened));
	tell("fileno", fileno(stdout));
	errno = ENOENT;
	perror("perror");
	warnx("warnx %d", 3);
	errno = EPERM;
	warn("warn");
	psignal(SIGALRM, "psignal");
	fprintf(stderr, "%s-%d-", "pieces", 2);
	fputc('x', stderr);
	fputs(" end\n", stderr);
}

static void wide(void)
{
	int i;

	setlocale(LC_ALL, "C.UTF-8");
	tell("fwide", fwide(stdout, 1));
	tell("wprintf", wprintf(L"\u017c\u00f3\u0142w %d\n", 5));
	tell("fputws", fputws(L"\u65e5\u672c\n", stdout) >= 0);
	for (i = 0; i < 2000; i++)
		wprintf(L"wide line %d \u20ac\n", i);
	tell("fflush", fflush(stdout));
}

static void buffers(void)
{
	static char room[64];
	int i;

	tell("setvbuf", setvbuf(stdout, room, _IOFBF, sizeof(room)));
	for (i = 0; i < 50; i++)
		printf("block %d of a small buffer\n", i);
	fflush(stdout);
	tell("setvbuf", setvbuf(stdout, NULL, _IOLBF, 0));
	for (i = 0; i < 20; i++)
		printf("line %d\n", i);
	tell("setvbuf", setvbuf(stdout, NULL, _IONBF, 0));
	for (i = 0; i < 20; i++)
		printf("no %s %d\n", "buffer", i);
}

static void unlocked(void)
{
	int i;

	for (i = 0; i < 200000; i++)
		putc_unlocked(i % 61 == 60 ? '\n' : 'a' + i % 26, stdout);
	putc_unlocked('\n', stdout);
}

static void *print_lines(void *arg)
{
	int i;

	for (i = 0; i < 2000; i++)
		printf("thread %d line %d %.*s\n", *(int *)arg, i, i % 90,
		       "ppppppppppppppppppppppppppppppppppppppppppppppppppppppppppppppppppppppppppppppppppppppppppp");
	return NULL;
}

static void threads(void)
{
	pthread_t thread[8];
	int number[8], i;

	for (i = 0; i < 8; i++) {
		number[i] = i;
		pthread_create(&thread[i], NULL, print_lines, &number[i]);
	}
	for (i = 0; i < 8; i++)
		pthread_join(thread[i], NULL);
}

static void reopen(void)
{
	printf("before\n");
	tell("freopen", freopen(file, "w", stdout) != NULL);
	printf("into the file\n");
	fflush(stdout);
	tell("fileno", fileno(stdout));
}

static void duplicate(void)
{
	int saved = dup(1), fd = open(file, O_WRONLY | O_CREAT | O_TRUNC, 0600);

	printf("before\n");
	fflush(stdout);
	tell("dup2", dup2(fd, 1));
	printf("into the file\n");
	fflush(stdout);
	tell("dup2", dup2(saved, 1));
	close(saved);
	close(fd);
	printf("after\n");
}

/* The start of a line is written, and then its descriptor is pointed elsewhere. */
static void half_line_then_replaced(void)
{
	int fd = open(file, O_WRONLY | O_CREAT | O_TRUNC, 0600);

	printf("half a line");
	fflush(stdout);
	dup2(fd, 1);
	printf("into the file\n");
}

static void half_line_then_closed(void)
{
	printf("half a line");
	fflush(stdout);
	tell("close", close(1));
}

static void ends_closed(void)
{
	printf("a line\n");
	printf("and a half");
	tell("fclose", fclose(stdout));
	tell("write", write(1, "x\n", 2));
}

/* Until nobody reads from the pipe any more that is standard output. */
static void await_loss(void)
{
	struct pollfd out = { 1, 0, 0 };

	(void)poll(&out, 1, 60000);
}

/* As coreutils end: an error at the last flush is the program's exit status. */
static void reports_an_error(void)
{
	signal(SIGPIPE, SIG_IGN);
	signal(SIGXFSZ, SIG_IGN);
	printf("lost\n");
	if (fclose(stdout) != 0) {
		tell("fclose", -1);
		exit(3);
	}
}

static void reports_errors(void)
{
	await_loss();
	reports_an_error();
}

static void reports_errors_early(void)
{
	int i, failed = 0;

	signal(SIGPIPE, SIG_IGN);
	await_loss();
	for (i = 0; i < 3000; i++)
		failed += printf("line %d of a stream that fails\n", i) < 0;
	tell("failed", failed > 0);
	tell("ferror", ferror(stdout) != 0);
	clearerr(stdout);
	tell("ferror", ferror(stdout) != 0);
	tell("fflush", fflush(stdout));
	tell("puts", puts("more"));
	tell("fflush", fflush(stdout));
	tell("ferror", ferror(stdout) != 0);
}

static void no_room(void)
{
	struct rlimit none = { 0, 0 };

	setrlimit(RLIMIT_FSIZE, &none);
	reports_an_error();
}

static void seeks(void)
{
	printf("line\n");
	tell("ftell", ftell(stdout));
	tell("fseek", fseek(stdout, 0, SEEK_CUR));
	tell("lseek", (long)lseek(1, 0, SEEK_CUR));
	printf("after\n");
}

static void huge(void)
{
	printf("%1048576s\n", "right");
	printf("%-300000s|", "left");
	printf("%0200000d\n", 7);
}

static void print_at_exit(void)
{
	printf("printed by an exit handler\n");
}

static void exit_handler(void)
{
	atexit(print_at_exit);
	printf("first\n");
}

/* More than a buffer, so that libc has flushed half a line before the end comes. */
static void blocks(void)
{
	int i;

	for (i = 0; i < 300; i++)
		printf("request %d: the line may lie across two blocks\n", i);
}

static void blocks_of_wide(void)
{
	int i;

	for (i = 0; i < 3000; i++)
		wprintf(L"wide %d: the line may lie across two blocks\n", i);
}

/* Half a line is flushed, the rest waits in the buffer; meanwhile another writer comes along, twice. */
static void waits_half_flushed(void)
{
	int i;

	for (i = 0; i < 100; i++)
		printf("line %d of a block that ends anywhere\n", i);
	for (i = 0; i < 12; i++) {
		usleep(100000);
		dprintf(2, "another\n");
	}
	for (i = 0; i < 100; i++)
		printf("line %d of a block that ends anywhere\n", i);
}

static void half_exit(void)
{
	printf("whole\nhalf");
	fflush(stdout);
	exit(4);
}

static void half_unflushed_exit(void)
{
	printf("whole\nhalf");
	exit(4);
}

static void half__exit(void)
{
	printf("whole\nhalf");
	fflush(stdout);
	_exit(5);
}

static void half_quick_exit(void)
{
	printf("whole\nhalf");
	fflush(stdout);
	quick_exit(6);
}

static void print_and_flush(void)
{
	printf(" and a half");
	fflush(stdout);
}

static void quick_exit_handler(void)
{
	at_quick_exit(print_and_flush);
	half_quick_exit();
}

static void half_abort(void)
{
	struct rlimit none = { 0, 0 };

	setrlimit(RLIMIT_CORE, &none);
	printf("whole\nhalf");
	fflush(stdout);
	abort();
}

static void half_exec(void)
{
	printf("whole\nhalf");
	fflush(stdout);
	execl("/bin/echo", "echo", " and more", (char *)NULL);
}

static void half_return_of_main(void)
{
	printf("whole\nhalf");
}

static void forks_with_a_full_buffer(void)
{
	pid_t pid;

	printf("from both ");
	pid = fork();
	if (pid == 0) {
		printf("child\n");
		exit(0);
	}
	waitpid(pid, NULL, 0);
	printf("parent\n");
}

/* The buffer was flushed in the middle of a line when the process forks. */
static void forks_half_flushed(void)
{
	int i;

	for (i = 0; i < 250; i++)
		printf("line %d before the fork, in a block\n", i);
	forks_with_a_full_buffer();
}

static void closes_all(void)
{
	printf("line\n");
	tell("fcloseall", fcloseall());
	printf("late\n");
}

static const struct {
	const char *name;
	void (*run)(void);
} cases[] = {
#define CASE(name)                                                                                                     \
	{                                                                                                              \
#name, name                                                                                            \
	}
	CASE(every_function),
	CASE(wide),
	CASE(buffers),
	CASE(unlocked),
	CASE(threads),
	CASE(reopen),
	CASE(duplicate),
	CASE(half_line_then_replaced),
	CASE(half_line_then_closed),
	CASE(ends_closed),
	CASE(reports_errors),
	CASE(reports_errors_early),
	CASE(no_room),
	CASE(seeks),
	CASE(huge),
	CASE(exit_handler),
	CASE(blocks),
	CASE(blocks_of_wide),
	CASE(waits_half_flushed),
	CASE(half_exit),
	CASE(half_unflushed_exit),
	CASE(half__exit),
	CASE(half_quick_exit),
	CASE(quick_exit_handler),
	CASE(half_abort),
	CASE(half_exec),
	CASE(half_return_of_main),
	CASE(forks_with_a_full_buffer),
	CASE(forks_half_flushed),
	CASE(closes_all),
};

int main(int argc, char **argv)
{
	size_t i;

	file = argc > 2 ? argv[2] : "/dev/null";
	for (i = 0; argc > 1 && i < sizeof(cases) / sizeof(cases[0]); i++) {
		if (strcmp(cases[i].name, argv[1]) == 0) {
			cases[i].run();
			return 0;
		}
	}
	errx(2, "no such case");
}

/*
 * Coroutines as programs make and end them: what is passed in, what comes back, what the calls say. The output must be the same with
 * the object as without.
 */
#include <dlfcn.h>
#include <errno.h>
#include <setjmp.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <ucontext.h>

#define SIZE (64 << 10)
#define PAGE 4096

static ucontext_t home, away;

static void nothing(void)
{
	printf("nothing, errno %d\n", errno);
}

static void three(int a, int b, int c)
{
	printf("three: %d %d %d\n", a, b, c);
	swapcontext(&away, &home);
	printf("three, again: %d %d %d\n", a, b, c);
}

static void ten(int a, int b, int c, int d, int e, int f, int g, int h, int i, int j)
{
	printf("ten: %d %d %d %d %d %d %d %d %d %d\n", a, b, c, d, e, f, g, h, i, j);
}

static char *prepare(char *stack)
{
	memset(&away, 0, sizeof(away));
	getcontext(&away);
	away.uc_stack.ss_sp = stack;
	away.uc_stack.ss_size = SIZE;
	away.uc_link = &home;
	return stack;
}

static void pass_arguments(void)
{
	char within[SIZE], *stack = malloc(SIZE);

	errno = 42;
	prepare(stack);
	makecontext(&away, nothing, 0);
	swapcontext(&home, &away);
	prepare(stack);
	makecontext(&away, (void (*)(void))three, 3, 1, -2, 3);
	swapcontext(&home, &away);
	printf("between\n");
	swapcontext(&home, &away);
	prepare(within);
	makecontext(&away, (void (*)(void))ten, 10, 1, 2, 3, 4, 5, 6, 7, 8, 9, -10);
	swapcontext(&home, &away);
	free(stack);
}

static sigjmp_buf back;

static void on_signal(int number)
{
	static const char text[] = "handler\n";
	volatile char deep[8192] = { (char)number };

	(void)deep[0];
	fflush(stdout);
	if (fwrite(text, 1, sizeof(text) - 1, stdout) == 0)
		abort();
	if (number == SIGUSR2)
		siglongjmp(back, 1);
}

static void raise_both(void)
{
	raise(SIGUSR1);
	if (sigsetjmp(back, 1) == 0)
		raise(SIGUSR2);
	printf("after both\n");
}

static void handle_signals(void)
{
	struct sigaction action = { .sa_handler = on_signal, .sa_flags = SA_ONSTACK };
	stack_t alternate = { .ss_sp = malloc(SIZE), .ss_size = SIZE };
	char *stack = malloc(SIZE);

	sigaltstack(&alternate, NULL);
	sigaction(SIGUSR1, &action, NULL);
	sigaction(SIGUSR2, &action, NULL);
	prepare(stack);
	makecontext(&away, raise_both, 0);
	swapcontext(&home, &away);
	raise_both();
	free(stack);
}

static void give_pages_back(void)
{
	char *pages = mmap(NULL, 4 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	pages[PAGE] = 1;
	printf("madvise: %d\n", madvise(pages, 4 * PAGE, MADV_DONTNEED));
	printf("what was there: %d\n", pages[PAGE]);
	errno = 0;
	printf("at an odd place: %d", madvise(pages + 1, PAGE, MADV_DONTNEED));
	printf(", errno %d\n", errno);
	errno = 0;
	printf("unknown advice: %d", madvise(pages, PAGE, 12345));
	printf(", errno %d\n", errno);
	printf("munmap: %d\n", munmap(pages, 4 * PAGE));
	errno = 0;
	printf("at an odd place: %d", munmap(pages + 1, PAGE));
	printf(", errno %d\n", errno);
}

/* ---- Boost.Context, as its own headers declare it ---- */

struct transfer {
	void *from, *data;
};
struct transfer jump_fcontext(void *to, void *data);
void *make_fcontext(void *top, size_t size, void (*run)(struct transfer));

static void run_boost(struct transfer transfer)
{
	for (;;) {
		printf("boost: %s, aligned: %d\n", (char *)transfer.data,
		       (uintptr_t)__builtin_frame_address(0) % 16 == 0);
		transfer = jump_fcontext(transfer.from, (char *)"from there");
	}
}

static void jump(void)
{
	char *stack = malloc(SIZE);
	struct transfer transfer = { make_fcontext(stack + SIZE - 3, SIZE - 3, run_boost), NULL };
	int i;

	for (i = 0; i < 3; i++) {
		transfer = jump_fcontext(transfer.from, (char *)"from here");
		printf("here: %s\n", (char *)transfer.data);
	}
	free(stack);
}

int main(void)
{
	pass_arguments();
	handle_signals();
	give_pages_back();
	jump();
	printf("makecontext is libc's: %d\n", dlsym(RTLD_DEFAULT, "makecontext") != NULL);
	return 0;
}

/*
 * Coroutines: a handler that reads like one of a blocking server has a stack of its own, and gives up the thread wherever it
 * would wait.
 *
 *   server_fibers KIND PORT UP
 *
 * KIND  ucontext   stacks are changed by swapcontext
 *       switch     by a few instructions of our own, as libraries of coroutines do it
 *       wander     by swapcontext, on three threads: a coroutine goes on on whichever is free
 */
#include "attribution_kit.h"

#include <ucontext.h>

#define STACK_SIZE 65536
#define EVENTS 64
#define THREADS 3

struct fiber {
	ucontext_t context;
	void *stack_pointer;
	char *stack;
	struct peer *peer;
	int waits_for; /* a descriptor; -1: it is over */
	bool watched_peer;
};

static bool by_hand;
static int epoll_fd;
static __thread struct fiber *running;
static __thread ucontext_t scheduler;
static __thread void *scheduler_stack;

/* What the compiler keeps in registers across a call lies on the stack that is left. */
void switch_stack(void **from, void *to);
__asm__(".text\n"
        ".globl switch_stack\n"
        ".type switch_stack, @function\n"
        "switch_stack:\n"
        "	push %rbp\n	push %rbx\n	push %r12\n	push %r13\n	push %r14\n	push %r15\n"
        "	mov %rsp, (%rdi)\n"
        "	mov %rsi, %rsp\n"
        "	pop %r15\n	pop %r14\n	pop %r13\n	pop %r12\n	pop %rbx\n	pop %rbp\n"
        "	ret\n"
        ".size switch_stack, . - switch_stack\n");

/* A fiber may go on on another thread: what is a thread's own is asked for anew behind each switch. */
static __attribute__((noinline)) struct fiber *self(void)
{
	__asm__ volatile("" ::: "memory");
	return running;
}

static __attribute__((noinline)) void leave(struct fiber *fiber)
{
	if (by_hand)
		switch_stack(&fiber->stack_pointer, scheduler_stack);
	else
		swapcontext(&fiber->context, &scheduler);
}

static __attribute__((noinline)) void enter(struct fiber *fiber)
{
	running = fiber;
	if (by_hand)
		switch_stack(&scheduler_stack, fiber->stack_pointer);
	else
		swapcontext(&scheduler, &fiber->context);
}

static void wait_for(int fd)
{
	struct fiber *fiber = self();

	fiber->waits_for = fd;
	leave(fiber);
}

/* ---- what a handler calls ---- */

static int read_request(struct peer *peer)
{
	int got;

	while ((got = peer_read(peer)) == 0)
		wait_for(peer->fd);
	return got;
}

static void call(long n)
{
	char bytes[512];
	size_t len = 0;
	int fd = kit_take_link();

	kit_send_call(fd, n);
	do {
		ssize_t got = recv(fd, bytes + len, sizeof(bytes) - 1 - len, MSG_DONTWAIT);

		if (got < 0 && errno == EAGAIN) {
			wait_for(fd);
			continue;
		}
		if (got <= 0)
			die("reply");
		len += (size_t)got;
	} while (bytes[len] = '\0', !kit_is_reply(bytes, n));
	kit_give_link(fd);
}

static void handle(struct peer *peer)
{
	while (read_request(peer) > 0) {
		long n = peer->n;

		say("begin", n);
		call(n);
		say("middle", n);
		if (n % 3 == 0)
			call(n);
		say("before", n);
		peer_answer(peer);
		say("after", n);
		if (peer->close)
			break;
	}
}

static void run_fiber(void)
{
	struct fiber *fiber = self();

	handle(fiber->peer);
	fiber->waits_for = -1;
	leave(fiber);
}

/* ---- the scheduler ---- */

static struct fiber *new_fiber(struct peer *peer)
{
	struct fiber *fiber = calloc(1, sizeof(*fiber));

	fiber->peer = peer;
	fiber->stack = malloc(STACK_SIZE);
	if (by_hand) {
		void **top = (void **)(((uintptr_t)fiber->stack + STACK_SIZE) & ~(uintptr_t)15);

		*--top = NULL;
		*--top = (void *)run_fiber;
		fiber->stack_pointer = top - 6;
		return fiber;
	}
	getcontext(&fiber->context);
	fiber->context.uc_stack.ss_sp = fiber->stack;
	fiber->context.uc_stack.ss_size = STACK_SIZE;
	makecontext(&fiber->context, run_fiber, 0);
	return fiber;
}

static void watch(int fd, void *data)
{
	struct epoll_event event = { .events = EPOLLIN | EPOLLONESHOT, .data.ptr = data };

	if (epoll_ctl(epoll_fd, EPOLL_CTL_MOD, fd, &event) != 0 && epoll_ctl(epoll_fd, EPOLL_CTL_ADD, fd, &event) != 0)
		die("epoll_ctl");
}

static void resume(struct fiber *fiber)
{
	enter(fiber);
	if (fiber->waits_for >= 0) {
		watch(fiber->waits_for, fiber);
		return;
	}
	peer_end(fiber->peer);
	free(fiber->stack);
	free(fiber);
}

static void accept_peer(int listener)
{
	int fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK);

	watch(listener, NULL);
	if (fd >= 0)
		resume(new_fiber(peer_new(fd)));
}

static void *schedule(void *arg)
{
	struct epoll_event events[EVENTS];
	int listener = (int)(intptr_t)arg, i, n;

	for (;;) {
		n = epoll_wait(epoll_fd, events, EVENTS, -1);
		for (i = 0; i < n; i++) {
			if (events[i].data.ptr == NULL)
				accept_peer(listener);
			else
				resume(events[i].data.ptr);
		}
	}
	return NULL;
}

int main(int argc, char **argv)
{
	pthread_t thread;
	int listener, i;

	if (argc < 4)
		return 2;
	kit_start(argv[3]);
	by_hand = strcmp(argv[1], "switch") == 0;
	epoll_fd = epoll_create1(0);
	listener = listen_on(atoi(argv[2]));
	fcntl(listener, F_SETFL, O_NONBLOCK);
	watch(listener, NULL);
	for (i = 1; i < THREADS && strcmp(argv[1], "wander") == 0; i++)
		pthread_create(&thread, NULL, schedule, (void *)(intptr_t)listener);
	schedule((void *)(intptr_t)listener);
	return 0;
}

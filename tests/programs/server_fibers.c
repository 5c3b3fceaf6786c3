/*
 * Coroutines: a handler that reads like one of a blocking server has a stack of its own, and gives up the thread wherever it
 * would wait.
 *
 *   server_fibers KIND[-WAY] PORT UP
 *
 * KIND  ucontext   stacks are changed by swapcontext; each is used again at once
 *       wander     the same on three threads: a coroutine goes on on whichever is free
 *       boost      by Boost.Context's functions, on which its fibers and coroutines stand
 *       switch     by a few instructions of our own, as libraries of coroutines do it, on stacks of malloc's
 *       mapped     the same on stacks that are mapped, with a guard, and unmapped
 *       kept       and kept for the next coroutine, of which nobody is told
 * WAY   none       a coroutine a connection
 *       stages     coroutines of connections read, eight others answer
 *       crew       eight coroutines, each takes the connection that can be read next
 *       lend       eight coroutines as before, but later on each third request that one has read any other answers
 *       relay      a coroutine reads a request; later on, every third time another coroutine answers it, on a stack that was free
 *       swap       coroutines that read end when another has read, too; others, on the stacks of both, answer: each the other's
 */
#include "attribution_kit.h"

#include <sys/mman.h>
#include <ucontext.h>

#define STACK_SIZE 65536
#define GUARD 4096
#define CREW 8
#define RELAYS_AFTER 500
#define EVENTS 64
#define THREADS 3

struct fiber {
	ucontext_t context;
	void *stack_pointer;
	char *stack;
	void (*run)(struct fiber *);
	struct peer *peer;
	struct fiber *next; /* of whichever queue it is in */
	int waits_for;      /* a descriptor, or: */
	bool ends_peer;
};
enum { IS_OVER = -1, IS_PARKED = -2 };

struct queue {
	struct fiber *first, *last;
};

struct job {
	struct peer *peer;
	struct fiber *from; /* who read it, and waits */
	bool have;          /* it was read */
};

struct jobs {
	struct job ring[4096];
	unsigned first, end;
};

static bool by_hand, by_boost, mapped, kept, lends;
static int epoll_fd, listening;
static long reads;
static char *free_stacks[4096];
static int free_count;
static pthread_mutex_t free_lock = PTHREAD_MUTEX_INITIALIZER;
static struct queue ready, idle; /* with one thread */
static struct jobs jobs;
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

/* Boost.Context, as its own headers declare it. */
struct transfer {
	void *from, *data;
};
struct transfer jump_fcontext(void *to, void *data);
void *make_fcontext(void *top, size_t size, void (*run)(struct transfer));

/* A fiber may go on on another thread: what is a thread's own is asked for anew behind each switch. */
static __attribute__((noinline)) struct fiber *self(void)
{
	__asm__ volatile("" ::: "memory");
	return running;
}

static __attribute__((noinline)) void leave(struct fiber *fiber)
{
	if (by_boost)
		scheduler_stack = jump_fcontext(scheduler_stack, NULL).from;
	else if (by_hand)
		switch_stack(&fiber->stack_pointer, scheduler_stack);
	else
		swapcontext(&fiber->context, &scheduler);
}

static __attribute__((noinline)) void enter(struct fiber *fiber)
{
	running = fiber;
	if (by_boost)
		fiber->stack_pointer = jump_fcontext(fiber->stack_pointer, NULL).from;
	else if (by_hand)
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

static __attribute__((noinline)) void work_deep(long n, int depth)
{
	volatile char room[64] = { (char)n };

	if (depth == 0)
		say("middle", n);
	else
		work_deep(n, depth - 1);
	(void)room[0];
}

static void work(struct peer *peer)
{
	long n = peer->n;

	say("begin", n);
	call(n);
	work_deep(n, n % 2 != 0 ? 100 : 0);
	if (n % 3 == 0)
		call(n);
	say("before", n);
	peer_answer(peer);
	say("after", n);
}

/* ---- coroutines ---- */

static void push(struct queue *queue, struct fiber *fiber)
{
	fiber->next = NULL;
	if (queue->first == NULL)
		queue->first = fiber;
	else
		queue->last->next = fiber;
	queue->last = fiber;
}

static struct fiber *pop(struct queue *queue)
{
	struct fiber *fiber = queue->first;

	if (fiber != NULL)
		queue->first = fiber->next;
	return fiber;
}

static void park(void)
{
	struct fiber *fiber = self();

	fiber->waits_for = IS_PARKED;
	leave(fiber);
}

static void run_fiber(void)
{
	struct fiber *fiber = self();

	fiber->run(fiber);
	fiber = self();
	fiber->waits_for = IS_OVER;
	leave(fiber);
}

static void run_boost(struct transfer transfer)
{
	scheduler_stack = transfer.from;
	run_fiber();
}

static char *new_stack(void)
{
	char *stack = NULL;

	pthread_mutex_lock(&free_lock);
	if (free_count > 0)
		stack = free_stacks[--free_count];
	pthread_mutex_unlock(&free_lock);
	if (stack != NULL)
		return stack;
	if (!mapped)
		return malloc(STACK_SIZE);
	stack = mmap(NULL, GUARD + STACK_SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_STACK, -1, 0);
	if (stack == MAP_FAILED || mprotect(stack, GUARD, PROT_NONE) != 0)
		die("stack");
	return stack + GUARD;
}

/* One of many goes back, though most are kept. */
static void end_stack(char *stack)
{
	static unsigned ends;

	if (mapped && (!kept || __atomic_add_fetch(&ends, 1, __ATOMIC_RELAXED) % 16 == 0)) {
		munmap(stack - GUARD, GUARD + STACK_SIZE);
		return;
	}
	pthread_mutex_lock(&free_lock);
	free_stacks[free_count++] = stack;
	pthread_mutex_unlock(&free_lock);
}

static struct fiber *new_fiber(struct peer *peer, void (*run)(struct fiber *))
{
	struct fiber *fiber = calloc(1, sizeof(*fiber));

	fiber->peer = peer;
	fiber->run = run;
	fiber->stack = new_stack();
	if (by_boost) {
		fiber->stack_pointer = make_fcontext(fiber->stack + STACK_SIZE, STACK_SIZE, run_boost);
		return fiber;
	}
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

/* ---- the ways to share work ---- */

static void run_connection(struct fiber *fiber)
{
	struct peer *peer = fiber->peer;

	do {
		if (read_request(peer) <= 0)
			break;
		work(peer);
	} while (!peer->close);
	self()->ends_peer = true;
}

static void add_job(struct peer *peer, struct fiber *from)
{
	struct fiber *worker = pop(&idle);

	jobs.ring[jobs.end++ % 4096] = (struct job){ .peer = peer, .from = from };
	if (worker != NULL)
		push(&ready, worker);
}

static struct job take_job(void)
{
	while (jobs.first == jobs.end) {
		push(&idle, self());
		park();
	}
	return jobs.ring[jobs.first++ % 4096];
}

static void run_reader(struct fiber *fiber)
{
	struct peer *peer = fiber->peer;

	do {
		if (read_request(peer) <= 0)
			break;
		add_job(peer, fiber);
		park();
	} while (!peer->close);
	fiber->ends_peer = true;
}

static void run_worker(struct fiber *fiber)
{
	(void)fiber;
	for (;;) {
		struct job job = take_job();

		work(job.peer);
		push(&ready, job.from);
	}
}

static void run_one_of_crew(struct fiber *fiber)
{
	(void)fiber;
	for (;;) {
		struct job job = take_job();
		struct peer *peer = job.peer;

		if (!job.have && read_request(peer) <= 0) {
			peer_end(peer);
			continue;
		}
		if (lends && !job.have && ++reads > RELAYS_AFTER && reads % 3 == 0) {
			add_job(peer, NULL);
			jobs.ring[(jobs.end - 1) % 4096].have = true;
			continue;
		}
		work(peer);
		if (peer->close)
			peer_end(peer);
		else
			add_job(peer, NULL);
	}
}

static void run_relay(struct fiber *fiber);

static void run_answer(struct fiber *fiber)
{
	struct peer *peer = fiber->peer;

	work(peer);
	if (peer->close)
		fiber->ends_peer = true;
	else
		push(&ready, new_fiber(peer, run_relay));
}

/* Who has read it ends first, and its stack is free. */
static void run_relay(struct fiber *fiber)
{
	struct peer *peer = fiber->peer;

	do {
		if (read_request(peer) <= 0)
			break;
		if (++reads > RELAYS_AFTER && reads % 3 == 0) {
			jobs.ring[jobs.end++ % 4096] = (struct job){ .peer = peer };
			return;
		}
		work(peer);
	} while (!peer->close);
	fiber->ends_peer = true;
}

/* The stack that was free last is used first: two at a time come to lie on each other's. */
static void start_answers(bool by_two)
{
	while (jobs.end - jobs.first > (by_two ? 1u : 0u)) {
		push(&ready, new_fiber(jobs.ring[jobs.first++ % 4096].peer, run_answer));
		if (by_two)
			push(&ready, new_fiber(jobs.ring[jobs.first++ % 4096].peer, run_answer));
	}
}

/* ---- the scheduler ---- */

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
	} else if (fiber->waits_for == IS_OVER) {
		if (fiber->ends_peer)
			peer_end(fiber->peer);
		end_stack(fiber->stack);
		free(fiber);
	}
}

static void (*run_peer)(struct fiber *);
static bool swaps;

static void accept_peer(void)
{
	int fd = accept4(listening, NULL, NULL, SOCK_NONBLOCK);

	watch(listening, NULL);
	if (fd < 0)
		return;
	if (run_peer != NULL)
		resume(new_fiber(peer_new(fd), run_peer));
	else
		add_job(peer_new(fd), NULL);
}

static void *schedule(void *arg)
{
	struct epoll_event events[EVENTS];
	struct fiber *fiber;
	int i, n;

	for (;;) {
		n = epoll_wait(epoll_fd, events, EVENTS, swaps && jobs.end != jobs.first ? 1 : -1);
		for (i = 0; i < n; i++) {
			if (events[i].data.ptr == NULL)
				accept_peer();
			else
				resume(events[i].data.ptr);
		}
		do {
			while ((fiber = pop(&ready)) != NULL)
				resume(fiber);
			if (run_peer == run_relay)
				start_answers(swaps && n > 0);
		} while (ready.first != NULL);
	}
	return arg;
}

static void choose(const char *kind)
{
	const char *way = strchr(kind, '-');
	int i;

	by_hand = strncmp(kind, "ucontext", 8) != 0 && strcmp(kind, "wander") != 0;
	by_boost = strncmp(kind, "boost", 5) == 0;
	kept = strncmp(kind, "kept", 4) == 0;
	mapped = kept || strncmp(kind, "mapped", 6) == 0;
	swaps = way != NULL && strcmp(way, "-swap") == 0;
	lends = way != NULL && strcmp(way, "-lend") == 0;
	run_peer = run_connection;
	if (way == NULL)
		return;
	run_peer = strcmp(way, "-stages") == 0                            ? run_reader :
	           strcmp(way, "-crew") == 0 || strcmp(way, "-lend") == 0 ? NULL :
	                                                                    run_relay;
	for (i = 0; i < CREW && run_peer != run_relay; i++)
		resume(new_fiber(NULL, run_peer == NULL ? run_one_of_crew : run_worker));
}

int main(int argc, char **argv)
{
	pthread_t thread;
	int i;

	if (argc < 4)
		return 2;
	kit_start(argv[3]);
	choose(argv[1]);
	epoll_fd = epoll_create1(0);
	listening = listen_on(atoi(argv[2]));
	fcntl(listening, F_SETFL, O_NONBLOCK);
	watch(listening, NULL);
	for (i = 1; i < THREADS && strcmp(argv[1], "wander") == 0; i++)
		pthread_create(&thread, NULL, schedule, NULL);
	schedule(NULL);
	return 0;
}

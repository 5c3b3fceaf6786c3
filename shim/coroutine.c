/*
 * Coroutines: handlers with a stack of their own, which give up the thread wherever they would wait.
 *
 * A coroutine that has read a request works for it, on whichever thread it runs, until it reads another one, its connection is closed,
 * or the request is answered. Waits of the scheduler, on a stack of its own, change nothing. This is the class READ of
 * current.c, of a stack instead of a thread, and stricter:
 *   - Coroutines wait for each other by no call that we see, so each may be one of a pool that works in stages: read here, handled
 *     there. It proves nothing before LONE_PROOFS requests were answered by the stack that read them, and, while other
 *     requests wait, READ_PROOFS with others waiting.
 *   - One request that is answered on another stack than it was read on ends that for the whole process, and so does a
 *     stack that reads a second request before it has answered the first: a worker of several, a loop, or several coroutines
 *     that we take for one (Perl's Coro has more of them than stacks).
 *   - So does a stack that reads on another connection while the one before is open: a worker of a pool takes whatever comes.
 *   - Behind the answer it is nobody's: the same stack is at the next job by no call that we see.
 *   - On a stack whose births are not seen (stacks.c) it must be known that ends are: of a library that was seen to free stacks, as
 *     Ruby does, and never to use one for another connection without. Else a coroutine that gave its request to another one
 *     and ended could be taken for the next one on its stack.
 *   - A connection that carries several requests at a time proves nothing.
 *   - A thread that was seen on another stack is a scheduler when it is back on its own: what it read there is not its any more.
 */
#include "coroutine.h"

#include "conn.h"
#include "counters.h"
#include "own.h"

/* As current.c: a pool in stages answers what it reads by chance, seven times in ten when it has little to do. */
#define READ_PROOFS 64
#define LONE_PROOFS 16

static bool distrusted;                  /* reading was no proof, once; atomic */
static bool reused;                      /* a stack of unseen births was used for another connection; atomic */
static uint32_t answered, answered_busy; /* by the stack that had read it; with others waiting */

static void set(struct stack *stack, struct request *request)
{
	struct request *old;

	if (stack->request == request)
		return;
	request_ref(request);
	old = own_swap(&stack->held, NULL);
	stack->answers = stack->child = false;
	stack->epoch = __atomic_load_n(&stacks_epoch, __ATOMIC_ACQUIRE);
	if (request != NULL)
		request_unref(own_swap(&stack->held, request));
	request_unref(old);
}

void coroutine_clear(struct stack *stack)
{
	if (stack != NULL && stack->request != NULL)
		set(stack, NULL);
}

struct request *coroutine_request(const struct stack *stack)
{
	if (stack == NULL || stack->epoch != __atomic_load_n(&stacks_epoch, __ATOMIC_ACQUIRE))
		return NULL;
	return stack->request;
}

/* Do we see it when the stack is another coroutine's? */
static bool is_followed(const struct stack *stack)
{
	return stack->born ||
	       (__atomic_load_n(&stacks_are_freed, __ATOMIC_RELAXED) && !__atomic_load_n(&reused, __ATOMIC_RELAXED));
}

struct request *coroutine_known(const struct stack *stack)
{
	struct request *request = coroutine_request(stack);

	if (request == NULL || stack->child)
		return request;
	if (request_state(request) >= REQUEST_ENDED || __atomic_load_n(&distrusted, __ATOMIC_RELAXED) ||
	    !is_followed(stack))
		return NULL;
	if (stack->answers)
		return request;
	if (!request_others_wait(request))
		return __atomic_load_n(&answered, __ATOMIC_RELAXED) >= LONE_PROOFS ? request : NULL;
	return __atomic_load_n(&answered_busy, __ATOMIC_RELAXED) >= READ_PROOFS && !request_any_behind() ? request :
	                                                                                                   NULL;
}

void coroutine_distrust(void)
{
	if (!__atomic_exchange_n(&distrusted, true, __ATOMIC_RELAXED))
		counters_count_seldom(stacks_contradicted);
}

void coroutine_read(struct stack *stack, const struct conn *conn, struct request *request)
{
	struct request *before = coroutine_request(stack);

	if (stack == NULL)
		return;
	if (stack->conn != NULL && (stack->conn != conn || stack->conn_gen != conn->gen)) {
		if (!stack->born)
			__atomic_store_n(&reused, true, __ATOMIC_RELAXED);
		else if (__atomic_load_n(&stack->conn->gen, __ATOMIC_ACQUIRE) == stack->conn_gen)
			coroutine_distrust();
	}
	stack->conn = conn;
	stack->conn_gen = conn->gen;
	if (request == NULL) {
		set(stack, NULL);
		return;
	}
	if (before != NULL && before != request && request_state(before) < REQUEST_ENDED && request->behind == 0)
		coroutine_distrust();
	set(stack, request->multiplexed || stack->loops ? NULL : request);
	if (stack->request != NULL)
		request->reader = stack->id;
}

void coroutine_loops(struct stack *stack)
{
	coroutine_clear(stack);
	if (stack != NULL)
		stack->loops = true;
}

void coroutine_read_reply(struct stack *stack, const struct request *owner)
{
	if (coroutine_request(stack) != NULL && owner != NULL && owner != stack->request) {
		counters_count_seldom(context_contradictions);
		coroutine_clear(stack);
	}
}

bool coroutine_begin_response(struct stack *stack, struct request *request)
{
	struct request *bound = coroutine_request(stack);
	bool elsewhere;

	if (bound != NULL && bound == request) {
		if (!stack->answers) {
			own_increase(&answered);
			if (request_others_wait(request))
				own_increase(&answered_busy);
			stack->answers = true;
		}
		return false;
	}
	elsewhere = request != NULL && request->reader != 0 && (stack == NULL || request->reader != stack->id);
	if (elsewhere || (request != NULL && bound != NULL && request_state(bound) < REQUEST_ENDED))
		coroutine_distrust();
	if (bound != NULL && request_state(bound) < REQUEST_ENDED)
		counters_count_seldom(context_contradictions);
	coroutine_clear(stack);
	return elsewhere;
}

void coroutine_after_fork(struct stack *stack, const struct request *known)
{
	if (known == NULL) {
		coroutine_clear(stack);
	} else {
		stack->epoch = __atomic_load_n(&stacks_epoch, __ATOMIC_ACQUIRE);
		stack->child = true;
	}
}

/*
 * One served request: its identity, shared by reference counting between the connection it came in on, the threads
 * that work for it, its outgoing calls, and log lines not yet written. Lives in a pool. Once its head is complete (it is no longer in
 * REQUEST_HEAD) it is constant, but for what is atomic below, and `reader`.
 */
#ifndef TRACESHIM_REQUEST_H
#define TRACESHIM_REQUEST_H

#include "propagate.h"
#include "trace.h"

enum request_state {
	REQUEST_HEAD,
	REQUEST_LIVE,
	REQUEST_RESPONDING,
	REQUEST_ENDED,
	REQUEST_FOLLOWED /* ended, and the program had read the connection's next request already: it may be at that one now */
};

/* Where it comes from. */
enum request_origin {
	REQUEST_SERVED,
	REQUEST_AMBIENT, /* the process's own, of its environment */
	REQUEST_LOCAL    /* made up for one call of a process that has none */
};

struct request {
	uint32_t pool_word; /* the pool's */
	uint32_t refs;      /* atomic */
	uint8_t state;      /* enum request_state, atomic; only grows */
	uint8_t origin;     /* enum request_origin */
	bool multiplexed;   /* by a connection that carries several at a time (HTTP/2) */
	uint8_t taken;      /* out of which queue a thread took it, as evidence has it (evidence.c); 0: none; atomic */
	/* The process (count of forks plus 1) in which it is counted as such, else 0; atomic. */
	uint16_t waiting;  /* for its answer */
	uint16_t behind;   /* read along behind another one of its connection, and its answer has not begun */
	int32_t reader;    /* current.c: the thread that read it last, on which it was of the class READ; 0: none */
	uint16_t children; /* conn_shared_since when its head was read */
	uint32_t blocks;   /* request_blocks when it began */
	bool fresh;        /* request_new_fresh's: of its ctx nothing but what comes first was ever set */
	struct trace_context ctx;
	char inline_text[LIMIT_TEXT_INLINE];
};

/* Counts the writes to logs that showed a shared buffer, modulo 2^32; atomic. So a request says whether it began before one: io_log.c. */
extern uint32_t request_blocks;

/* A request with one reference and an empty text area, state REQUEST_HEAD. NULL: no memory (counted). Signal-safe. */
struct request *request_new(void);

/*
 * A request that was read whole, of which the head says nothing of a trace and no other one of its connection is waiting: with ids of its own, in
 * state REQUEST_LIVE and counted as waiting. `children`: conn_shared_since. Built into its caller. Else as request_new.
 */
struct request *request_new_fresh(uint16_t children);

/* Make room for a large text (baggage): moves ctx.text to a large block. 0, or -1 and unchanged. */
int request_grow_text(struct request *r);

struct request *request_ref(struct request *r); /* NULL stays NULL */
void request_unref(struct request *r);          /* NULL is nothing */

static inline enum request_state request_state(const struct request *r)
{
	return (enum request_state)__atomic_load_n(&r->state, __ATOMIC_ACQUIRE);
}

/* Move the state forward, never back. Only by its maker, or with the lock of the one connection that it came in on. */
void request_advance(struct request *r, enum request_state to);

/* The answer is through: request_advance to REQUEST_ENDED, and its connection's reference is given back. Built into its caller. */
void request_answered(struct request *r);

/*
 * Served requests that wait for their answer, over all threads. `begin_waiting` once a request, when its head is complete;
 * `behind`: another one of its connection is not answered yet, so the program will take this one up by no call that we see.
 * `end_waiting` when it is answered, or will not be; again is nothing. A forked child starts with none. Who may call them is
 * as for request_advance.
 */
void request_begin_waiting(struct request *r, bool behind);
void request_end_waiting(struct request *r);
/*
 * The same for requests of which there is no more than their number; which process they count in is then the caller's to know: what
 * `waiting` of a request is marked with, never 0, and another number in a parent and its child.
 */
void request_count_waiting(int32_t change);
uint16_t request_process(void);
/* Does any request but this one wait? */
bool request_others_wait(const struct request *r);
uint32_t request_waiting(void); /* how many do */
/* Is there any request that the program has read along, and may have taken up unseen? */
bool request_any_behind(void);
void request_after_fork(void);

#endif

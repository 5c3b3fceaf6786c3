/*
 * Which request is this thread working for? long: one state a thread, and each event that changes it.
 *
 * Proof, by class:
 *
 *   READ       The thread read the request on a blocking connection, or has never waited in an event loop (a poll on one
 *              connection, or on listeners only, is none: Apache and gunicorn wait so). It works for
 *              that request until it waits for new work: reads, accepts or polls for another request, or, once the
 *              response is complete, waits for another thread (condition, semaphore, futex) or gives its connection, or a word,
 *              away: it may be at the next job of a queue then, by no call that we see. Before the response is
 *              complete such a wait may be a lock inside the handler (Python's GIL is one), and changes nothing.
 *              Where the connection's next request was read along with it (pipelining), it proves nothing: the program takes the
 *              next one out of its own buffer, by no call that we see, and may do so before it sends the answer to this one.
 *              Where that was read later, by whomever, the end of the response ends it.
 *              A thread that has waited for other threads may be one of a pool that works in stages: read here, handled
 *              there. That proves something only while no other request waits,
 *              or if READ_PROOFS times readers answered their own requests while others waited. Taken as given for
 *              Apache, from its source, and for Python and Ruby, whose threads all wait for one lock all the time, until a request was
 *              answered by another thread than the one that read it.
 *              Once a thread has answered another request while the one it read last was not answered by it (stages of work in
 *              one pool of threads), reading proves something only while no other request waits. And once a request was answered by another
 *              thread than the one that read it, reading proves nothing before the answer has begun, and to a thread of a pool not then: it
 *              may have given the request away, or the rest of its answer, and taken a job of one that was answered long ago and waits for
 *              nothing. A thread that has never waited for others may have looked into a queue without a call; so it is believed like one of
 *              a pool, but on a connection of its own: a blocking one that it has accepted, or for which it was made (the thread that
 *              has accepted it made one next), or one that it has waited for, and for nothing else.
 *              What a thread has answered it may clean up by a job that it makes behind the answer, when no request waits. Whoever
 *              reads then on a connection that is not its own may give the request back to the pool, and take that job. On several
 *              processors another thread soon answers what it has read, and that is known; where there is one, nobody may, for long: so there,
 *              until all threads that have answered on such connections have waited, or read on, a request that is read counts as one among
 *              others.
 *              A thread that has a connection watched for the rest of a request (epoll_ctl) leaves it to whoever reads that.
 *              On a connection of several requests at a time (HTTP/2) reading proves nothing: others handle what one thread
 *              reads, and it may be at the end of an earlier one still (Apache logs that behind the next read).
 *              Once the response is complete, a thread of a pool goes on to the next job: by a wait, if there is none yet; by
 *              no call that we see, if there is one. That may be what an earlier request left to be done in the background, or
 *              a request that some thread has read along with another. So where threads wait for work of others, and
 *              where a request waits behind another one, whoever has answered works for nobody; nor does, where there are threads, who has
 *              read on a connection that is not its own (above). Python's and Ruby's threads are no exception, Apache's are.
 *   INHERITED  The thread or process was created by one that worked for the request. Lasts until its own first wait of
 *              any kind. A thread's lasts at most until the response begins to leave, and only while no other request waits:
 *              a pool's thread, created lazily in some request, outlives it, and takes the oldest job first. That may be what
 *              an answered request has left to be done: so where threads wait for work of others, or have answered what they
 *              did not read, a thread inherits nothing.
 *   LOOP       The thread waited in an event loop and then read the request, or resumed it on a non-blocking connection. Loops
 *              may read from blocking ones, of which they know that something is there.
 *
 *   CONTEXT    The runtime's own async context says so (asyncio), each time anew: contexts.h.
 *
 * LOOP is the hard one, because a loop may run code of another request after the read without any call that we see:
 * a timer that is due, a task that was queued earlier, a task that the previous event's handler has queued. So an iteration
 * of the loop proves something only if all of these hold:
 *   - the loop had nothing queued: it was prepared to wait (a timeout of 0 means that it had);
 *   - no timer was due: loops pass the time until their next timer as the timeout, so none is while that has not elapsed
 *     (for loops that look at the clock again after the handlers, as libuv does, at the moment of the answer; loops round
 *     the timeout up, by a millisecond or two);
 *   - one event was returned, and one connection touched since: whatever runs now was caused by it;
 *   - no other request is waiting for its answer in this process: what an event causes may be the work of another, which
 *     waited for a batch to fill up, or for a connection that this one gives back.
 * A loop that runs each handler to its end before it touches the next connection, for one request at a time ('inline':
 * nginx, lighttpd), may be believed event by event. That is known for some programs from their source (inline_programs);
 * a user can say it of others. It is not learned: a loop that answers whoever it was thought to work for a thousand times
 * may have run another's work each time before that, or begin to when it gets busy. The first contradiction ends what
 * trust there was. Where one of the connections carries several requests at a time (HTTP/2), nginx puts work off until it has
 * looked at all events: then an iteration proves something only with one request, and no event that was not seen to be that
 * one's. And while a request that was read along with another (pipelining) is not answered, no loop is believed.
 * Node, whose microtasks interleave everything, is not believed at all: its async context answers instead. Nor are threads
 * that carry Java's virtual ones.
 *
 * All that is of a thread that is on its own stack. What another stack does is a coroutine's: see coroutine.c. The thread is a scheduler
 * then: what it has read itself is not what it works for when it comes back. Programs without such stacks
 * pay for a look at the stack pointer, once a connection.
 *
 *   VALIDATED  No proof: evidence that was right so far says which request the job is for that the thread has taken out of a queue. See
 *              evidence.c; only with TRACESHIM_ATTRIBUTION=validated. It lasts, past the response, until the thread waits for
 *              another thread, reads, or takes something else.
 *
 * Ruled out: binding backwards from the response (wrong in 25 % of lines on event loops), following wake-ups (up to 97 %),
 * a map keyed by thread as eBPF agents use (84 to 99 % wrong in a loaded pool).
 *
 * All state is the thread's own. The one pointer is swapped by a single exchange, so a signal handler that comes in between
 * sees the old or the new request, and each reference is dropped once.
 */
#include "current.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "config.h"
#include "conn.h"
#include "contexts.h"
#include "coroutine.h"
#include "counters.h"
#include "handoff.h"
#include "layout.h"
#include "libc_versions.h"
#include "managed.h"
#include "os.h"
#include "own.h"
#include "stacks.h"

/* Loops round the time until their next timer up to milliseconds, and some add the clock's own step. */
#define TIMER_ROUNDING_NS 2000000

/* Handlers of a loop take milliseconds. */
#define LONG_TIMEOUT_NS 1000000000

/* A pool that works in stages answers what it reads by chance, seven times in ten when it has little to do: 1 in 10^9. */
#define READ_PROOFS 64

/*
 * CPython's and Java's streams keep up to 8,192 bytes back, or more if they are told so, and write what they have when the next piece has no
 * room. So a block of CPython's has more than BLOCK_BYTES, unless lines are longer, and one of Java's lacks less than BLOCK_SLACK.
 */
#define BLOCK_BYTES 4096
#define BLOCK_ROOM 8192
#define BLOCK_SLACK 1024

enum current_class { CLASS_NONE, CLASS_READ, CLASS_LOOP, CLASS_INHERITED, CLASS_VALIDATED, CLASS_CONTEXT };

struct current {
	union {
		struct request *request; /* a reference */
		void *held;              /* the same */
	};
	uint64_t deadline_ns; /* when the loop's next timer is due; UINT64_MAX: it has none */
	uint64_t woken_ns;    /* when its last wait ended; 0: nobody looked */
	uint32_t events;      /* that the last wait returned */
	uint32_t touched;     /* connections or channels that changed hands since */
	const void *channel;  /* that it has read on last. LOOP: of the reply; READ: a lent connection */
	uint8_t class;
	uint8_t lent;  /* READ: LENT_; both are looked at at once */
	bool in_loop;  /* this thread has waited in an event loop */
	bool unproven; /* this iteration had queued work or a timer due */
	bool child;    /* INHERITED by fork, not by pthread_create */
	bool noticed;  /* the end of this thread is watched */
	bool pooled;   /* it has waited for other threads: what it does next may be a job from a queue */
	bool answers;  /* READ: it has begun to answer the request itself */
	bool several;  /* its iteration had to do with a connection of several requests at a time */
	uint8_t heard; /* HEARD_: where the request at hand was read on in this iteration */
	bool finishing; /* it has answered on a connection that was lent to it, and has not waited since; on one processor alone */
	bool keeps;       /* it was made for a connection */
	int32_t accepted; /* the descriptor of the connection that it has accepted last, and made no thread since; 0: none */
};

/* READ on a connection that is not known to be this thread's alone; late: while a thread that has answered on such a one may still leave jobs */
#define LENT_AT_REST 1
#define LENT_LATE 2

enum { PROCESSORS_UNKNOWN, PROCESSORS_ONE, PROCESSORS_MORE };

#define HEARD_CLIENT 1 /* by its own connection */
#define HEARD_REPLY 2  /* by that of a call */

static __thread struct current current __attribute__((tls_model("initial-exec")));

/* What else than its threads says for whom a program works? Bits, atomic; most programs have none, and pay for one look at all. */
enum special {
	SPECIAL_BLIND = 1,    /* its runtime, and nothing but that (Node) */
	SPECIAL_CONTEXTS = 2, /* its runtime, too: contexts.h */
	SPECIAL_STACKS = 4,   /* coroutines, on stacks of their own: coroutine.h */
	SPECIAL_JAVA = 8      /* the names of its threads */
};
/* And has a request been answered by another thread than the one that read it? Beside that, because both are looked at at once. */
static struct {
	uint8_t special;
	bool handed;
} doubts;
static bool keeps_errors; /* see keeping_programs */

static struct request *ambient;
static bool serves, inline_loop, writes_events, staged, takes_over, wakes_by_pipe;
/* An inline loop's: nginx goes by the coarse clock, which lags behind by up to a tick of the kernel's, and so do we, behind each wait. */
static int64_t inline_step_ns;
static bool alarm_asked, alarm_came;
static uint64_t alarm_ns; /* when SIGALRM comes next to an inline loop, from its wait on; 0: not */
static bool (*context_says)(struct context_mark *mark);
static bool pools;        /* some thread of this process has waited for work from others */
static bool threads_made; /* there is another thread than the first one */
static uint32_t bindings, bound_threads;
static uint32_t finishing; /* threads that are, on one processor */
static uint8_t processors; /* PROCESSORS_: asked once */
static uint8_t contradicted;
static bool hands_on;             /* what a thread reads by HTTP/2, others handle, even where it waits like a loop */
static bool answer_own;           /* its threads answer what they read, as far as we know */
static bool answer_all;           /* and do nothing else, from its source */
static uint32_t readers_answered; /* requests that a thread of a pool read and answered while others waited */

/* Programs with pools whose threads answer what they read; from their sources. */
static const char *const reader_programs[] = { "apache2", "httpd" };

/* Event loops that run a handler to its end before they touch the next connection; from their sources. */
static const char *const inline_programs[] = { "nginx", "lighttpd", "php", "php8.2" };

/* Their streams keep lines of stderr back, as they do all others. */
static const char keeping_programs[][6] = { "guile", "sbcl" };

/* Coroutines may all be at work for requests. */
#define MANY_THREADS 65536u

static struct current *self(void)
{
	return &current;
}

/* Unlocked looks, in one instruction: what is set meanwhile is seen the next time. */
static CONN_UNLOCKED_LOOK bool has(enum special what)
{
	return __builtin_expect((doubts.special & what) != 0, 0);
}

static CONN_UNLOCKED_LOOK bool is_special(void)
{
	return __builtin_expect(doubts.special != 0, 0);
}

static CONN_UNLOCKED_LOOK bool is_handed(void)
{
	return __builtin_expect(doubts.handed, 0);
}

/* Either. */
static CONN_UNLOCKED_LOOK bool is_doubted(void)
{
	uint16_t both;

	_Static_assert(sizeof(doubts) == sizeof(both), "one look sees both");
	memcpy(&both, &doubts, sizeof(both));
	return __builtin_expect(both != 0, 0);
}

static pthread_key_t thread_key;
static bool have_key;
static void (*thread_end)(void);

/* On one processor a thread of a pool takes back what it has given away, as a rule, so that nobody is seen to answer for another. */
static bool takes_back(void)
{
	if (__builtin_expect(processors == PROCESSORS_UNKNOWN, 0))
		processors = os_one_processor() ? PROCESSORS_ONE : PROCESSORS_MORE;
	return processors == PROCESSORS_ONE;
}

static __attribute__((cold, noinline)) void begin_finish(void)
{
	self()->finishing = true;
	__atomic_add_fetch(&finishing, 1, __ATOMIC_RELAXED);
}

static __attribute__((cold, noinline)) void end_finish(void)
{
	self()->finishing = false;
	__atomic_sub_fetch(&finishing, 1, __ATOMIC_RELAXED);
}

/* The thread waits. What it has left to be done was begun by others by now, or it would do that itself. */
static inline __attribute__((always_inline)) void come_to_rest(const struct current *me)
{
	if (__builtin_expect(me->finishing, 0))
		end_finish();
}

static __attribute__((cold)) void thread_ended(void *value)
{
	(void)value;
	self()->noticed = false;
	come_to_rest(self());
	current_clear();
	thread_end();
}

LAYOUT_START void current_watch_threads(void (*at_end)(void))
{
	thread_end = at_end;
	/* An old libc has it in a library that programs without threads do not load. */
	have_key = pthread_key_create != NULL && pthread_key_create(&thread_key, thread_ended) == 0;
}

/* A key made this early is among those whose values libc keeps in the thread itself: setting one allocates nothing. */
__attribute__((cold)) void current_notice_thread(void)
{
	struct current *me = self();

	if (__builtin_expect(me->noticed, 1) || !have_key)
		return;
	me->noticed = true;
	(void)pthread_setspecific(thread_key, me);
}

bool current_thread_is_watched(void)
{
	return self()->noticed;
}

__attribute__((cold)) void current_see_stacks(void)
{
	if (!has(SPECIAL_STACKS) &&
	    (__atomic_fetch_or(&doubts.special, SPECIAL_STACKS, __ATOMIC_RELAXED) & SPECIAL_STACKS) == 0)
		__atomic_add_fetch(&bound_threads, MANY_THREADS, __ATOMIC_RELAXED);
}

/* On another stack than its own, which may have run others' work since the thread was last seen on its own. */
static __attribute__((cold, noinline)) bool leave_home(struct stack **stack, bool learn)
{
	struct current *me = self();
	void *old;

	if (!stacks_away(stack, learn))
		return false;
	me->pooled = me->unproven = true;
	if (me->request != NULL) {
		me->class = CLASS_NONE;
		old = own_swap(&me->held, NULL);
		if (old != NULL)
			(void)own_decrease(&bound_threads);
		request_unref(old);
	}
	return true;
}

/* Is it a coroutine that runs? Then *stack is what is known of it, or NULL. */
static inline bool is_away(struct stack **stack)
{
	return has(SPECIAL_STACKS) && leave_home(stack, false);
}

/* Returns the old request, with the thread's reference to it. Threads that have one are counted. */
static inline __attribute__((always_inline)) struct request *exchange(struct current *me, struct request *request)
{
	struct request *old = own_swap(&me->held, request);

	me->answers = false;
	if (old == NULL && request != NULL)
		own_increase(&bound_threads);
	else if (old != NULL && request == NULL)
		(void)own_decrease(&bound_threads);
	return old;
}

static void set(struct request *request, enum current_class class)
{
	struct current *me = self();
	struct request *old;

	if (me->request == request) {
		me->class = request == NULL ? CLASS_NONE : (uint8_t) class;
		return;
	}
	if (request != NULL) {
		if (!me->noticed)
			current_notice_thread();
		own_increase_both(&bindings, &request->refs); /* as request_ref does */
	}
	me->class = CLASS_NONE; /* a handler that comes in between finds no usable class */
	old = exchange(me, request);
	if (request != NULL)
		me->class = (uint8_t) class;
	request_unref(old);
}

/* CPython takes an empty one for none. */
LAYOUT_START static bool python_keeps_nothing(void)
{
	const char *unbuffered = getenv("PYTHONUNBUFFERED");

	return unbuffered != NULL && *unbuffered != '\0';
}

LAYOUT_START void current_init(const char *program, void *(*resolve)(const char *name))
{
	bool python;
	size_t i;

	doubts.special = resolve("napi_create_function") != NULL ? SPECIAL_BLIND : 0;
	if (!current_is_blind())
		stacks_init();
	python = resolve("Py_Initialize") != NULL;
	/* The `java` launcher loads the machine later. */
	if (resolve("JNI_CreateJavaVM") != NULL || strcmp(program, "java") == 0)
		doubts.special |= SPECIAL_JAVA;
	keeps_errors = false;
	for (i = 0; i < sizeof(keeping_programs) / sizeof(keeping_programs[0]); i++)
		keeps_errors |= strcmp(program, keeping_programs[i]) == 0;
	writes_events = has(SPECIAL_JAVA) || (python && python_keeps_nothing());
	wakes_by_pipe = resolve("ruby_init") != NULL;
	/* Where one lock runs all threads, each waits all the time: that says nothing of pools. */
	answer_own = python || wakes_by_pipe;
	for (i = 0; i < sizeof(reader_programs) / sizeof(reader_programs[0]); i++)
		if (strcmp(program, reader_programs[i]) == 0)
			answer_own = answer_all = hands_on = true;
	for (i = 0; i < sizeof(inline_programs) / sizeof(inline_programs[0]); i++)
		if (strcmp(program, inline_programs[i]) == 0)
			inline_loop = true;
	if (config.loop_trust == LOOP_INLINE)
		inline_loop = true;
	else if (config.loop_trust != LOOP_AUTO)
		inline_loop = false;
	if (inline_loop)
		inline_step_ns = 2 * os_coarse_step_ns();
	if (config.traceparent.len > 0 && (ambient = request_new()) != NULL) {
		ambient->origin = REQUEST_AMBIENT;
		/* Baggage can be long, and this happens once a process: take the large text at once. */
		if (config.baggage.len + config.tracestate.len > LIMIT_TEXT_INLINE)
			(void)request_grow_text(ambient);
		if (!propagate_from_environment(&ambient->ctx)) {
			request_unref(ambient);
			ambient = NULL;
		}
	}
}

uint32_t current_threads(void)
{
	return __atomic_load_n(&bound_threads, __ATOMIC_RELAXED);
}

uint32_t current_bindings(void)
{
	return __atomic_load_n(&bindings, __ATOMIC_RELAXED);
}

/*
 * Programs put streams of their own around the runtime's, and these keep lines back all the same. Java's then write what they have when the
 * next piece has no room: a little less than a power of two. Stack traces, which are one event, may have any length.
 */
static bool fills_block(size_t len)
{
	size_t room = BLOCK_ROOM;

	while (room < len)
		room *= 2;
	return room - len < BLOCK_SLACK;
}

bool current_writes_event(size_t len, bool unbuffered)
{
	if (has(SPECIAL_JAVA) || (unbuffered && !keeps_errors))
		return !fills_block(len);
	if (len >= BLOCK_BYTES)
		__atomic_store_n(&writes_events, false, __ATOMIC_RELAXED);
	return __atomic_load_n(&writes_events, __ATOMIC_RELAXED);
}

bool current_wakes_by_pipe(void)
{
	return wakes_by_pipe;
}

bool current_is_blind(void)
{
	return has(SPECIAL_BLIND);
}

struct request *current_ambient(void)
{
	return current_serves() ? NULL : ambient;
}

void current_serve(void)
{
	if (!current_serves())
		__atomic_store_n(&serves, true, __ATOMIC_RELAXED);
}

CONN_UNLOCKED_LOOK bool current_serves(void)
{
	return serves;
}

/* Are all events of this iteration one request's? Of two, its client may have said something while the reply to its call came. */
static bool one_at_hand(const struct current *me)
{
	return me->touched == 1 && (me->events == 1 || (me->events == 2 && me->heard == (HEARD_CLIENT | HEARD_REPLY)));
}

/*
 * nginx with timer_resolution waits for ever, and looks at its timers behind each wait from when SIGALRM has come, until one is ended by
 * a signal. When it comes, to the moment, is not known; but it is not before the timer says so.
 */
static __attribute__((cold)) bool alarm_is_due(struct current *me)
{
	me->unproven |= os_monotonic_ns() >= alarm_ns;
	return me->unproven;
}

static bool loop_proven(struct current *me)
{
	if (me->unproven || config.loop_trust == LOOP_OFF || (__builtin_expect(alarm_ns != 0, 0) && alarm_is_due(me)))
		return false;
	if (inline_loop)
		return (!me->several || one_at_hand(me)) && !request_any_behind();
	if (me->events != 1 || me->touched != 1 || __atomic_load_n(&contradicted, __ATOMIC_RELAXED) != 0)
		return false;
	if (request_others_wait(me->request))
		return false;
	if (me->deadline_ns != UINT64_MAX && os_monotonic_ns() >= me->deadline_ns) {
		me->unproven = true;
		return false;
	}
	return true;
}

static __attribute__((noinline)) bool read_proven_otherwise(const struct current *me)
{
	bool ended = request_state(me->request) >= REQUEST_ENDED, others = request_others_wait(me->request);

	/* A child has the connection too: is it the request that follows which the program has in hand by now? */
	if (request_any_behind() && conn_child_since(me->request))
		return false;
	if (ended && !answer_all && (__atomic_load_n(&pools, __ATOMIC_RELAXED) || me->lent || request_any_behind()))
		return false;
	if (__atomic_load_n(&doubts.handed, __ATOMIC_RELAXED) && !answer_own)
		return !me->pooled && me->answers && !ended;
	if (!others && me->lent != LENT_LATE)
		return true;
	if (__atomic_load_n(&staged, __ATOMIC_RELAXED))
		return false;
	return answer_all || (answer_own && !__atomic_load_n(&doubts.handed, __ATOMIC_RELAXED)) ||
	       (!me->pooled && !me->lent) ||
	       (__atomic_load_n(&readers_answered, __ATOMIC_RELAXED) >= READ_PROOFS && !request_any_behind());
}

/* See READ above. While nobody else waits, whatever the thread does before it has answered is for the one request there is. */
static LAYOUT_INLINE bool is_only_one(const struct request *request)
{
	return request_state(request) < REQUEST_ENDED && !request_others_wait(request);
}

static LAYOUT_INLINE bool read_proven(const struct current *me)
{
	return __builtin_expect(me->lent != LENT_LATE && !is_handed() && is_only_one(me->request), 1) ||
	       read_proven_otherwise(me);
}

/* See INHERITED above. */
static bool inherited_proven(struct request *request)
{
	return request_state(request) < REQUEST_RESPONDING && !request_others_wait(request) &&
	       !__atomic_load_n(&pools, __ATOMIC_RELAXED) && !__atomic_load_n(&takes_over, __ATOMIC_RELAXED);
}

static inline __attribute__((always_inline)) struct request *followed(struct current *me)
{
	struct request *request = me->request;

	if (__builtin_expect(request == NULL, 1) || request_state(request) == REQUEST_FOLLOWED)
		return NULL;
	switch (me->class) {
	case CLASS_READ: return read_proven(me) ? request : NULL;
	case CLASS_LOOP: return loop_proven(me) ? request : NULL;
	case CLASS_VALIDATED: return handoff->holds() ? request : NULL;
	case CLASS_INHERITED: return me->child || inherited_proven(request) ? request : NULL;
	default: return NULL;
	}
}

void current_ask_contexts(bool (*says)(struct context_mark *mark))
{
	__atomic_store_n(&context_says, says, __ATOMIC_RELEASE);
	(void)__atomic_fetch_or(&doubts.special, SPECIAL_CONTEXTS, __ATOMIC_RELEASE);
}

bool current_loops(void)
{
	return self()->in_loop;
}

/*
 * What the runtime says. A thread that reads for itself or inherits is believed where its context names nobody; an event loop is
 * not: it runs what it likes. Where a context names another one than the thread itself has read, neither is believed; but a
 * thread that has inherited is a pool's, and does what its context says.
 */
static __attribute__((cold, noinline)) struct request *told(void)
{
	struct current *me = self();
	struct context_mark mark;
	struct request *named;
	struct stack *stack;
	bool own;

	if (current_is_blind())
		return managed_known();
	if (is_away(&stack))
		return coroutine_known(stack);
	if (!has(SPECIAL_CONTEXTS) || !context_says(&mark))
		return followed(me);
	named = contexts_request(&mark);
	own = me->request != NULL && me->class != CLASS_LOOP && me->class != CLASS_CONTEXT;
	if (own && (named == NULL || me->class != CLASS_INHERITED)) {
		struct request *known = named == NULL ? followed(me) : named == me->request ? me->request : NULL;

		request_unref(named);
		return known;
	}
	set(named, CLASS_CONTEXT);
	request_unref(named);
	return named;
}

struct request *current_known(void)
{
	if (is_special())
		return told();
	return followed(self());
}

LAYOUT_BUILT_IN struct request *current_known_usual(void)
{
	struct current *me = self();
	struct request *request = me->request;

	return request != NULL && me->class == CLASS_READ && me->lent == 0 && !is_doubted() && is_only_one(request) ?
	               request :
	               NULL;
}

bool current_has_request(void)
{
	return self()->request != NULL;
}

/* Whatever the thread does on another stack. */
static void clear_home(void)
{
	struct current *me = self();

	if (me->request != NULL) {
		me->class = CLASS_NONE;
		request_unref(exchange(me, NULL));
	}
}

void current_clear(void)
{
	struct stack *stack;

	if (is_away(&stack))
		coroutine_clear(stack);
	else
		clear_home();
}

/* In a loop the connection at hand says whose handler runs; each change of hands is counted. */
static void touch(struct request *request)
{
	struct current *me = self();

	if (me->request != request || me->touched == 0) {
		me->touched++;
		me->channel = NULL;
		me->heard = 0;
		set(request, CLASS_LOOP);
	}
}

/*
 * Does this thread carry Java's virtual threads? They change on it without a call that we see. The JDK names their carriers
 * "ForkJoinPool-N-worker-M", which the kernel cuts to 15 characters.
 */
static bool carries_virtual_threads(void)
{
	char name[16] = "";

	return has(SPECIAL_JAVA) && os_thread_name(name) == 0 && strncmp(name, "ForkJoinPool-", 13) == 0;
}

/*
 * Whose connection is it that the thread reads on? Its own, if it has accepted it, or was made behind that. Others may be anybody's: a thread of
 * a pool is given them, and may give away what it reads as well, by no call that we see.
 */
static __attribute__((cold, noinline)) uint8_t is_lent(struct conn *conn, uint32_t own)
{
	struct current *me = self();
	uint32_t keeper = __atomic_load_n(&conn->keeper, __ATOMIC_RELAXED);

	if (keeper != (own | CONN_THREAD_MADE)) {
		if ((keeper & CONN_THREAD_MADE) == 0 || me->keeps) {
			me->channel = conn;
			if (!__atomic_load_n(&threads_made, __ATOMIC_RELAXED))
				return 0;
			return __atomic_load_n(&finishing, __ATOMIC_RELAXED) == 0 ? LENT_AT_REST : LENT_LATE;
		}
		me->keeps = true;
	}
	__atomic_store_n(&conn->keeper, own, __ATOMIC_RELAXED);
	return 0;
}

static LAYOUT_INLINE void note_reader(struct current *me, struct conn *conn, struct request *request)
{
	int32_t tid = os_tid();

	request->reader = tid;
	me->lent = 0;
	if (__builtin_expect(conn != NULL && __atomic_load_n(&conn->keeper, __ATOMIC_RELAXED) != conn_keeper(tid), 0))
		me->lent = is_lent(conn, conn_keeper(tid));
}

__attribute__((cold)) void current_accepted(int fd)
{
	self()->accepted = fd;
}

__attribute__((cold)) void current_makes_thread(void)
{
	struct current *me = self();
	struct conn *conn = fds_conn(fds_word(me->accepted));

	if (conn != NULL && conn_role(conn) == CONN_SERVED &&
	    __atomic_load_n(&conn->keeper, __ATOMIC_RELAXED) == conn_keeper(os_tid()))
		__atomic_store_n(&conn->keeper, conn_keeper(os_tid()) | CONN_THREAD_MADE, __ATOMIC_RELAXED);
	me->accepted = 0;
	__atomic_store_n(&threads_made, true, __ATOMIC_RELAXED);
}

static void read_at_home(struct conn *conn, struct request *request)
{
	struct current *me = self();

	if (__builtin_expect(handoff != NULL, 0))
		handoff->leave();
	if (carries_virtual_threads()) {
		clear_home();
		return;
	}
	if (me->in_loop && !(request->multiplexed && hands_on)) {
		touch(request);
		me->heard |= HEARD_CLIENT;
	} else if (request->multiplexed) {
		clear_home();
	} else {
		note_reader(me, conn, request);
		set(request, CLASS_READ);
	}
}

/* Was that no thread's doing? */
static __attribute__((cold, noinline)) bool read_elsewhere(const struct conn *conn, struct request *request)
{
	struct stack *stack;

	if (current_is_blind())
		return true;
	if (!has(SPECIAL_STACKS) || !leave_home(&stack, true))
		return false;
	coroutine_read(stack, conn, request);
	return true;
}

void current_read(struct conn *conn, struct request *request)
{
	if (is_special() && read_elsewhere(conn, request))
		return;
	if (request != NULL)
		read_at_home(conn, request);
	else
		clear_home();
}

/* What `set` does to a thread that has none, and whose end is watched. A handler that came in between may have left a request there. */
static inline __attribute__((always_inline)) void take_up(struct current *me, struct request *request,
                                                          enum current_class class)
{
	struct request *old;

	own_increase_three(&bindings, &bound_threads, &request->refs);
	me->class = CLASS_NONE;
	old = own_swap(&me->held, request);
	me->answers = false;
	me->class = (uint8_t) class;
	if (__builtin_expect(old != NULL, 0)) {
		(void)own_decrease(&bound_threads);
		request_unref(old);
	}
}

/* What a thread that works for nobody does of current_read, touch and set. */
LAYOUT_BUILT_IN void current_read_fresh(struct conn *conn, struct request *request)
{
	struct current *me = self();
	enum current_class class = me->in_loop ? CLASS_LOOP : CLASS_READ;

	if (__builtin_expect(is_special() || handoff != NULL || me->request != NULL || !me->noticed, 0)) {
		current_read(conn, request);
		return;
	}
	if (__builtin_expect(class == CLASS_LOOP, 1)) {
		me->touched++;
		me->channel = NULL;
		me->heard = HEARD_CLIENT;
	} else {
		note_reader(me, conn, request);
	}
	take_up(me, request, class);
}

/* The same of current_read_reply. */
LAYOUT_BUILT_IN bool current_read_usual_reply(struct conn *conn, struct request *request)
{
	struct current *me = self();

	if (is_special() || !me->in_loop || me->request != NULL || !me->noticed)
		return false;
	me->touched++;
	me->channel = conn;
	me->heard = HEARD_REPLY;
	take_up(me, request, CLASS_LOOP);
	return true;
}

__attribute__((cold)) void current_read_request(struct request *request)
{
	if (!current_is_blind())
		read_at_home(NULL, request);
}

__attribute__((cold)) void current_look_around(void)
{
	struct stack *stack;

	if (!is_special() && stacks_away(&stack, false))
		current_see_stacks();
}

__attribute__((cold)) void current_multiplexes(void)
{
	self()->several = true;
}

__attribute__((cold)) void current_mixes(void)
{
	self()->touched++;
	current_clear();
}

static __attribute__((cold, noinline)) bool read_reply_elsewhere(const struct request *owner)
{
	struct stack *stack;

	if (current_is_blind())
		return true;
	if (!is_away(&stack))
		return false;
	coroutine_read_reply(stack, owner);
	return true;
}

void current_read_reply(const void *channel, struct request *owner, bool blocking)
{
	struct current *me = self();

	if (is_special() && read_reply_elsewhere(owner))
		return;
	if (me->in_loop && !blocking) {
		/*
		 * A handler that reads the reply to its own call has not changed hands, nor has one whose own reads go on; nor an
		 * inline one that reads to the end, behind the reply, of the connection it is at.
		 */
		if (me->class == CLASS_READ || (inline_loop && owner == NULL && channel != NULL &&
		                                channel == me->channel && me->class == CLASS_LOOP))
			return;
		touch(owner);
		me->channel = channel;
		me->heard |= channel != NULL ? HEARD_REPLY : 0;
		return;
	}
	if (me->request != NULL && owner != NULL && owner != me->request) {
		counters_count_seldom(context_contradictions);
		clear_home();
	}
}

static __attribute__((cold)) void tell_answer(const struct request *request)
{
	uint64_t id;

	memcpy(&id, request->ctx.span_id, sizeof(id));
	handoff->answers(id);
}

static __attribute__((cold, noinline)) bool begin_response_elsewhere(struct request *request)
{
	struct stack *stack;

	if (current_is_blind())
		return true;
	if (!is_away(&stack)) {
		if (request != NULL && request->reader < 0)
			coroutine_distrust();
		return false;
	}
	if (request != NULL) {
		if (handoff != NULL)
			tell_answer(request);
		request_advance(request, REQUEST_RESPONDING);
	}
	if (coroutine_begin_response(stack, request))
		__atomic_store_n(&doubts.handed, true, __ATOMIC_RELAXED);
	return true;
}

/*
 * Is it done with what it read? One that goes on to another connection's request without reading has taken it up by no call that we
 * see: so it may with any job behind its answer, here and wherever threads do so.
 */
static __attribute__((noinline)) bool is_done(const struct current *me)
{
	enum request_state state = request_state(me->request);

	if (state == REQUEST_FOLLOWED)
		return true;
	if (state < REQUEST_ENDED || me->class != CLASS_READ || !me->answers || answer_all)
		return false;
	__atomic_store_n(&pools, true, __ATOMIC_RELAXED);
	return true;
}

/*
 * The thread answers `request`. That is the touchstone of what we believed: agreement is counted, and the first contradiction
 * ends our trust in the loop. For a loop known to be inline it is an event like any other.
 */
void current_begin_response(struct request *request, bool blocking)
{
	struct current *me = self();

	if (is_special() && begin_response_elsewhere(request))
		return;
	if (request != NULL) {
		if (__builtin_expect(handoff != NULL, 0))
			tell_answer(request);
		request_advance(request, REQUEST_RESPONDING);
		if (__builtin_expect(me->request != request, 0)) {
			if (request->reader != 0 && request->reader != os_tid())
				__atomic_store_n(&doubts.handed, true, __ATOMIC_RELAXED);
			if (!me->in_loop && !__atomic_load_n(&takes_over, __ATOMIC_RELAXED))
				__atomic_store_n(&takes_over, true, __ATOMIC_RELAXED);
		}
	}
	if (me->request != NULL && me->request != request && is_done(me))
		clear_home(); /* on to the next one of its connection, or of a queue: no contradiction */
	if (me->request == request && request != NULL) {
		if (me->class == CLASS_LOOP && (me->events > 1 || me->touched > 1))
			counters_count_seldom(context_multi_agreed);
		if (me->class == CLASS_READ && !me->answers && (me->pooled || me->lent) && request_others_wait(request))
			__atomic_add_fetch(&readers_answered, 1, __ATOMIC_RELAXED);
		me->answers = true;
		if (me->class == CLASS_READ && me->lent && !me->finishing && takes_back())
			begin_finish();
		return;
	}
	if (me->in_loop && !blocking && inline_loop && me->class != CLASS_READ) {
		touch(request);
		return;
	}
	if (me->request == NULL)
		return;
	counters_count_seldom(context_contradictions);
	if (me->class == CLASS_LOOP)
		__atomic_store_n(&contradicted, 1, __ATOMIC_RELAXED);
	else if (me->class == CLASS_READ && request != NULL)
		__atomic_store_n(&staged, true, __ATOMIC_RELAXED);
	clear_home();
}

LAYOUT_BUILT_IN void current_begin_usual_response(struct request *request, struct conn *conn, int fd)
{
	struct current *me = self();

	/* Not what proves something of others: a pool's thread that answers what it read. */
	if (__builtin_expect(is_special() || handoff != NULL || me->request != request || request->behind != 0 ||
	                             request_state(request) != REQUEST_LIVE ||
	                             (me->class != CLASS_LOOP && (me->pooled | me->lent)),
	                     0)) {
		current_begin_response(request, conn_is_blocking(conn, fd));
		return;
	}
	if (__builtin_expect(me->class == CLASS_LOOP && (me->events | me->touched) > 1, 1))
		counters_count_here(context_multi_agreed);
	__atomic_store_n(&request->state, REQUEST_RESPONDING, __ATOMIC_RELEASE);
	me->answers = true;
}

CONN_UNLOCKED_LOOK LAYOUT_BUILT_IN bool current_goes_on(const struct conn *conn)
{
	const struct current *me = self();
	const struct exchange *ex = conn->first;

	if (me->request == NULL || !me->answers || ex == NULL || ex->request != me->request || conn->depth != 1 ||
	    ex->response_done)
		return false;
	if (__builtin_expect(me->class == CLASS_LOOP && (me->events | me->touched) > 1, 1))
		counters_count_here(context_multi_agreed);
	return true;
}

bool current_has_answered(uint64_t span_id)
{
	const struct current *me = self();

	return me->request != NULL && me->class == CLASS_READ && me->answers &&
	       memcmp(me->request->ctx.span_id, &span_id, sizeof(span_id)) == 0;
}

struct request *current_for_call(struct request *bound, bool blocking)
{
	struct current *me = self();
	struct request *known = current_known();
	struct stack *stack;
	bool looping = me->in_loop && !blocking && me->class != CLASS_READ;

	if (is_away(&stack))
		return bound == NULL || bound == known ? known : NULL;
	if (bound == NULL || bound == known || !looping)
		return known;
	if (inline_loop && !me->unproven && request_state(bound) < REQUEST_ENDED) {
		touch(bound);
		return current_known();
	}
	if (known != NULL)
		counters_count_seldom(context_contradictions);
	return NULL;
}

/*
 * When a wait begins, or somewhat earlier: a timer that is taken to be due too early costs a proof and makes none. For a long
 * timeout the end of the last wait will do, which spares a look at the clock. nginx looks at the clock only there: its timeouts
 * count from then on, however long its handlers took.
 */
static uint64_t wait_start_ns(const struct current *me, int64_t timeout_ns)
{
	return me->woken_ns != 0 && (inline_loop || timeout_ns >= LONG_TIMEOUT_NS) ? me->woken_ns : os_monotonic_ns();
}

static __attribute__((cold, noinline)) bool wait_elsewhere(void)
{
	struct stack *stack;

	if (current_is_blind())
		return true;
	if (!is_away(&stack))
		return false;
	coroutine_loops(stack);
	return true;
}

void current_wait_loop(int64_t timeout_ns)
{
	struct current *me = self();
	int64_t rounding = TIMER_ROUNDING_NS + inline_step_ns;

	if (is_special() && wait_elsewhere())
		return;
	clear_home();
	come_to_rest(self());
	/* By its first one for ever, nginx has set what there is to set. */
	if (timeout_ns < 0 && __builtin_expect(!alarm_asked, 0) && inline_loop) {
		alarm_asked = true;
		alarm_ns = os_alarm_ns();
	}
	me->in_loop = true;
	me->touched = 0;
	me->events = 0;
	me->several = false;
	me->unproven = timeout_ns == 0;
	me->deadline_ns = UINT64_MAX;
	if (timeout_ns > rounding)
		me->deadline_ns = wait_start_ns(me, timeout_ns) + (uint64_t)(timeout_ns - rounding);
	else if (timeout_ns > 0)
		me->unproven = true;
	me->woken_ns = 0;
}

/* A thread that waits for nothing else is no loop; but a loop may have nothing else to wait for at times. */
void current_wait_alone(int64_t timeout_ns)
{
	struct stack *stack;

	come_to_rest(self());
	if (!is_away(&stack) && self()->in_loop)
		current_wait_loop(timeout_ns);
	else
		current_clear();
}

void current_wait_loop_done(int events)
{
	struct current *me = self();

	me->events = events > 0 ? (uint32_t)events : 0;
	if ((me->deadline_ns == UINT64_MAX || me->unproven) && !inline_loop)
		return;
	me->woken_ns = os_coarse_ns();
	if (me->woken_ns >= me->deadline_ns)
		me->unproven = true;
	if (__builtin_expect(alarm_ns != 0, 0) && (alarm_is_due(me) || alarm_came)) {
		me->unproven = true;
		alarm_came = events >= 0;
		alarm_ns = os_alarm_ns();
	}
}

void current_wait_idle(void)
{
	struct current *me = self();

	me->pooled = true;
	if (me->request != NULL && me->class != CLASS_INHERITED && me->class != CLASS_VALIDATED &&
	    request_state(me->request) < REQUEST_ENDED)
		return;
	/* A process of one thread waits for no other: an interpreter takes its locks so. */
	if (!own_alone() && !__atomic_load_n(&pools, __ATOMIC_RELAXED))
		__atomic_store_n(&pools, true, __ATOMIC_RELAXED);
	clear_home();
	come_to_rest(me);
}

__attribute__((cold)) void current_wait_private(void)
{
	struct stack *stack;

	if (!is_away(&stack) && self()->class == CLASS_READ)
		current_wait_idle();
	else
		current_clear();
}

void current_wait_nested(void)
{
	if (self()->class == CLASS_INHERITED)
		clear_home();
}

void current_read_channel(void)
{
	struct current *me = self();

	come_to_rest(self());
	if (me->class == CLASS_INHERITED || me->class == CLASS_VALIDATED ||
	    (me->class == CLASS_READ && request_state(me->request) >= REQUEST_ENDED)) {
		clear_home();
	} else if (me->in_loop && me->class != CLASS_READ) {
		me->touched++;
		clear_home();
	}
}

CONN_UNLOCKED_LOOK bool current_is_own_wait(const struct conn *conn)
{
	struct stack *stack;
	struct request *request = is_away(&stack) ? coroutine_request(stack) : self()->request;
	const struct exchange *ex = conn->first;

	/* Unlocked look: a pointer that changes under us is compared, not followed. */
	if (ex == NULL)
		return request != NULL && conn->only == request && request_state(request) < REQUEST_ENDED;
	return request != NULL && conn->depth == 1 && ex->request == request && request_state(request) < REQUEST_ENDED;
}

/*
 * By HTTP/1 and with no request in hand there is nothing of the thread's own to wait for; who has answered by TLS may look (io_receive.c). A
 * read that cannot wait, of the request at hand, says nothing.
 */
CONN_UNLOCKED_LOOK LAYOUT_BUILT_IN bool current_reads_usual(const struct conn *conn)
{
	const struct current *me = self();
	const struct exchange *ex = conn->first;

	if (__builtin_expect(is_special(), 0))
		return false;
	if (ex != NULL)
		return ex->request == me->request && conn->depth == 1 && conn->blocking == CONN_NEVER_WAITS &&
		       me->request != NULL && request_state(me->request) < REQUEST_ENDED;
	if (me->channel == conn && conn->blocking != CONN_NEVER_WAITS)
		come_to_rest(me);
	if (conn->mode != CONN_HTTP1 || (me->class == CLASS_READ && conn_tls(conn) != NULL))
		return false;
	clear_home();
	return true;
}

/* Is there more to come of the request that the thread has read on it? */
static CONN_UNLOCKED_LOOK bool is_half_read(const struct conn *conn)
{
	const struct exchange *ex = conn->first;

	return ex != NULL && !ex->request_done && current_is_own_wait(conn);
}

__attribute__((cold)) void current_give_away(const struct conn *watched)
{
	struct current *me = self();

	if (watched != NULL && is_half_read(watched))
		current_give_up();
	else if (me->class == CLASS_READ && me->request != NULL && request_state(me->request) >= REQUEST_ENDED)
		clear_home();
}

__attribute__((cold)) void current_give_up(void)
{
	struct stack *stack;

	if (is_away(&stack) || self()->class == CLASS_READ)
		current_clear();
}

__attribute__((cold)) bool current_begin_job(void)
{
	struct current *me = self();
	struct stack *stack;

	if (current_is_blind() || me->in_loop || is_away(&stack))
		return false;
	if (me->request != NULL && me->class != CLASS_VALIDATED &&
	    (me->class != CLASS_INHERITED || request_state(me->request) < REQUEST_RESPONDING))
		return false;
	clear_home();
	return true;
}

__attribute__((cold)) void current_take_job(struct request *request)
{
	request->ctx.validated = true; /* as its lines say, from now on (TRACESHIM_LOG_CLASS) */
	set(request, CLASS_VALIDATED);
}

__attribute__((cold)) void current_adopt(struct request *inherited)
{
	struct current *me = self();

	current_notice_thread();
	me->class = CLASS_NONE;
	request_unref(exchange(me, inherited));
	me->child = false;
	me->class = inherited == NULL ? CLASS_NONE : CLASS_INHERITED;
}

__attribute__((cold)) void current_after_fork(void)
{
	struct current *me = self();
	struct request *known = current_known();
	struct stack *stack;

	stacks_after_fork();
	if (is_away(&stack))
		coroutine_after_fork(stack, known);
	me->in_loop = alarm_asked = false;
	pools = threads_made = me->finishing = false; /* whoever waited is not here */
	finishing = 0;
	bound_threads = (me->request != NULL) + (has(SPECIAL_STACKS) ? MANY_THREADS : 0);
	if (known == NULL || known != me->request) {
		if (me->request != NULL)
			set(NULL, CLASS_NONE);
		return;
	}
	me->class = CLASS_INHERITED;
	me->child = true;
}

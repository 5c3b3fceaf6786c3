/*
 * Which request is this thread working for now? Precision over recall: an absent id is a gap, a wrong id is a lie.
 * See the essay in current.c for what counts as proof.
 */
#ifndef TRACESHIM_CURRENT_H
#define TRACESHIM_CURRENT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "request.h"

struct conn;

/* Read what kind of program this is (its name, the runtimes in it). Constructor only. `resolve` is dlsym-like. */
void current_init(const char *program, void *(*resolve)(const char *name));

/*
 * A runtime's async contexts are asked from now on (contexts.h). `says` fills the mark of the context that runs on this thread; false:
 * it has none. It must be signal-safe.
 */
struct context_mark;
void current_ask_contexts(bool (*says)(struct context_mark *mark));

/* Has this thread waited in an event loop? */
bool current_loops(void);

/* There are stacks of coroutines, from now on. Signal-safe. */
void current_see_stacks(void);

/* Is this a runtime whose requests only its own async context can tell apart (Node)? Then no context and no injection. */
bool current_is_blind(void);

/*
 * The request of this thread, or NULL when it is not known for certain. Borrowed: valid until this thread's next call of
 * any current_* function; take a reference to keep it. Signal-safe: a handler gets what the interrupted code would get.
 */
struct request *current_known(void);

/*
 * The same in few steps where it is what it mostly is: the only request there is, which this thread has read. NULL: ask current_known.
 * Built into its caller.
 */
struct request *current_known_usual(void);

/* Does this thread have any request, known or not? */
bool current_has_request(void);

/*
 * How often any thread took up another request so far. Two equal answers: nobody did in between. And how many threads are
 * working for a request now.
 */
uint32_t current_bindings(void);
uint32_t current_threads(void);

/*
 * Does a write of this program that has several lines, of `len` bytes, hold one event? True for runtimes that keep no lines back: a JVM,
 * and CPython with unbuffered output; and on a stream that is `unbuffered` in all programs; but not for what fills a block, as streams that
 * a program has put around these do. False for what we do not know: it may fill blocks with the lines of several requests.
 */
bool current_writes_event(size_t len, bool unbuffered);

/* Does this runtime put a pipe of its own beside the one descriptor that a thread waits for? Ruby does. */
bool current_wakes_by_pipe(void);

/* The trace of the process itself (TRACEPARENT at start), as long as it does not serve; NULL when there is none. */
struct request *current_ambient(void);

/* This process serves requests from now on: it has no ambient trace. */
void current_serve(void);
bool current_serves(void);

/*
 * This thread read on a served connection: a request, or more of it; NULL: nothing of one alone. _look_around: before the first bytes
 * of a connection are looked at; finds out that there are coroutines here whose births are not seen.
 */
void current_read(struct conn *conn, struct request *request);
/* The same of a request that begins. */
void current_read_fresh(struct conn *conn, struct request *request);
void current_read_request(struct request *request); /* on a connection of its own */
void current_look_around(void);

/*
 * This thread has accepted a connection, by this descriptor; it is about to make another thread: for that connection, if it was the last
 * thing that it did. Whoever reads on a connection of its own is believed from the first request on.
 */
void current_accepted(int fd);
void current_makes_thread(void);

/* This thread reads or writes on a served connection that carries several requests at a time: which of them its loop goes on with is not seen. */
void current_multiplexes(void);
/* And what it sends is of several of them, or is not known to be of one. */
void current_mixes(void);

/*
 * This thread read on, or asked about, an outgoing connection whose last writer was `owner` (NULL: not known, or nobody waits for
 * a reply). channel: which connection, only compared with itself within one iteration of a loop; NULL: none.
 */
void current_read_reply(const void *channel, struct request *owner, bool blocking);
/* The same, of an owner, on a connection that does not block, by a loop's thread that works for nobody. false: it is none. Built into its callers. */
bool current_read_usual_reply(struct conn *conn, struct request *owner);

/* This thread is about to write the response of `request` (NULL: not known which), before the write. */
void current_begin_response(struct request *request, bool blocking);

/* The same, of one whose response has not begun; in few steps where it is what the thread read last. */
void current_begin_usual_response(struct request *request, struct conn *conn, int fd);

/*
 * Would current_begin_response change nothing, because this thread has begun this connection's only response already? May be
 * asked without the lock: what it compares changes by this thread's own calls, or is then not this thread's.
 */
bool current_goes_on(const struct conn *conn);

/* Did this thread read and answer the request with this span id, and has it not waited since? Not for event loops. */
bool current_has_answered(uint64_t span_id);

/*
 * This thread, which has a request, is about to read on a served connection: what that says nearly always, in few steps (io_receive.c). false:
 * it is to be looked at, and nothing was done. Built into its caller.
 */
bool current_reads_usual(const struct conn *conn);

/* More than one unanswered request was read: nobody can say which one the thread takes first. */
void current_clear(void);

/*
 * Waits. Each is called before the real call, because that may never return.
 *   _loop   for new work of any connection: epoll_wait, poll or select on several served connections, or one and more
 *   _alone  for the next request of one connection, or for the next connection: a poll or select on that only
 *   _private an epoll set without served connections and listeners: for what a handler has started, or for work
 *   _idle   on a condition, semaphore or futex: for work from another thread, or for a lock within a request
 *   _nested a poll or select on something else: for an inherited request that is its first wait
 *   current_read_channel: a read of a pipe, eventfd or the like: maybe a hand-over
 */
void current_wait_loop(int64_t timeout_ns); /* negative: no timeout */
void current_wait_alone(int64_t timeout_ns);
void current_wait_loop_done(int events);
void current_wait_private(void);
void current_wait_idle(void);
void current_wait_nested(void);
void current_read_channel(void);

/*
 * This thread gives something away that another one may take up: a served connection (closed, or watched by an epoll set again),
 * or a word by a pipe or an eventfd. Behind its own response that is the end of its request. `watched`: the connection, if it is watched;
 * before that the thread leaves the rest of a request to whoever reads it, too.
 */
void current_give_away(const struct conn *watched);
/* The thread closes the connection of its unanswered request. A forked child that does so, does so for the parent. */
void current_give_up(void);

/*
 * This thread writes on an outgoing connection. For whom? `bound` is the request that the connection itself speaks for: it is
 * in the middle of its message, or the same thread opened it for it and nothing was sent yet; NULL: none. In a loop that is
 * known to be inline `bound` names the event at hand; elsewhere it must agree with what is known, or nothing is known.
 */
struct request *current_for_call(struct request *bound, bool blocking);

/*
 * This thread has unlocked a queue, from which it may have taken a job (evidence.h). _begin_job: what it was told to work for is over;
 * returns whether what it does next may be another's work: not in an event loop, nor for what it has read itself, nor while
 * what it inherited lasts. _take_job: it works for `request` now, until it waits, reads or takes something else.
 */
bool current_begin_job(void);
void current_take_job(struct request *request);

/* Is this connection what the thread's request waits for itself (its body, its client)? For poll and select. */
bool current_is_own_wait(const struct conn *conn);

/* A thread that this one creates inherits its request until its own first wait. Adopt takes over the reference. */
void current_adopt(struct request *inherited);
/*
 * This thread has something that must be let go of when it ends. `at_end` of current_watch_threads then runs on it, after
 * its request was dropped. Cheap after the first time.
 */
void current_notice_thread(void);
void current_watch_threads(void (*at_end)(void));
/* Will `at_end` run when this thread ends? */
bool current_thread_is_watched(void);

/* The process was forked: the child inherits the request of the thread that forked. */
void current_after_fork(void);

#endif

/*
 * Threads, and waits for other threads.
 *
 * A thread inherits the request of the one that creates it (current.h says for how long). Only then is its start wrapped.
 * The waits tell the current request that new work may follow; they do nothing else, as a process can make thousands a
 * second. They are cancellation points: nothing is held across them.
 */
#include "real.h"

#include "current.h"
#include "handoff.h"
#include "forks.h"
#include "pool.h"

struct start {
	uint32_t pool_word;
	void *(*routine)(void *);
	void *arg;
	struct request *request; /* a reference, handed to the thread */
};

void *wait_begun(unsigned which);

POOL(starts, sizeof(struct start), 16);

static void *run_with_request(void *arg)
{
	struct start start = *(struct start *)arg;

	pool_give(&starts, arg);
	current_adopt(start.request);
	return start.routine(start.arg);
}

EXPORT int pthread_create(pthread_t *restrict thread, const pthread_attr_t *restrict attr, void *(*routine)(void *),
                          void *restrict arg)
{
	struct request *request = io_active() ? current_known() : NULL;
	struct start *start = request == NULL ? NULL : pool_take(&starts);
	static uint8_t bound;
	int error;

	if (!__atomic_exchange_n(&bound, 1, __ATOMIC_RELAXED))
		real_bind_all(); /* see real.h */
	forks_watch();
	if (io_active())
		current_makes_thread();
	if (start == NULL)
		return REAL(pthread_create)(thread, attr, routine, arg);
	start->routine = routine;
	start->arg = arg;
	start->request = request_ref(request);
	error = REAL(pthread_create)(thread, attr, run_with_request, start);
	if (error != 0) {
		request_unref(request);
		pool_give(&starts, start);
	}
	return error;
}

static void before_wait(void)
{
	if (io_active())
		current_wait_idle();
}

/* With a mutex that guards what is waited for: a queue, perhaps. */
static void before_wait_with(const void *mutex)
{
	before_wait();
	if (__builtin_expect(handoff != NULL, 0) && io_active())
		handoff->note_queue(mutex);
}

EXPORT int pthread_cond_wait(pthread_cond_t *restrict cond, pthread_mutex_t *restrict mutex)
{
	before_wait_with(mutex);
	return REAL(pthread_cond_wait)(cond, mutex);
}

EXPORT int pthread_cond_timedwait(pthread_cond_t *restrict cond, pthread_mutex_t *restrict mutex,
                                  const struct timespec *restrict deadline)
{
	before_wait_with(mutex);
	return REAL(pthread_cond_timedwait)(cond, mutex, deadline);
}

EXPORT int pthread_cond_clockwait(pthread_cond_t *restrict cond, pthread_mutex_t *restrict mutex, clockid_t clock,
                                  const struct timespec *restrict deadline)
{
	before_wait_with(mutex);
	return REAL(pthread_cond_clockwait)(cond, mutex, clock, deadline);
}

EXPORT int sem_wait(sem_t *sem)
{
	before_wait();
	return REAL(sem_wait)(sem);
}

EXPORT int sem_timedwait(sem_t *restrict sem, const struct timespec *restrict deadline)
{
	before_wait();
	return REAL(sem_timedwait)(sem, deadline);
}

EXPORT int sem_clockwait(sem_t *restrict sem, clockid_t clock, const struct timespec *restrict deadline)
{
	before_wait();
	return REAL(sem_clockwait)(sem, clock, deadline);
}

EXPORT int cnd_wait(cnd_t *cond, mtx_t *mutex)
{
	before_wait_with(mutex);
	return REAL(cnd_wait)(cond, mutex);
}

EXPORT int cnd_timedwait(cnd_t *restrict cond, mtx_t *restrict mutex, const struct timespec *restrict deadline)
{
	before_wait_with(mutex);
	return REAL(cnd_timedwait)(cond, mutex, deadline);
}

/*
 * Waits for other processes, or for other threads in their ways (waits.S): `which` of them, counted from semop. A semaphore may be a lock
 * within a handler. A message may be a job, whether it was waited for or not: in a loop, of somebody else. By sigsuspend collectors of garbage
 * halt threads, too, which says nothing of pools. Returns libc's own.
 */
__attribute__((cold)) void *wait_begun(unsigned which)
{
	if (io_active() && which >= REAL_msgrcv - REAL_semop)
		current_read_channel();
	if (which != REAL_sigsuspend - REAL_semop)
		before_wait();
	return real_get((enum real_index)(REAL_semop + which));
}

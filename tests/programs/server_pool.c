/*
 * Pools of workers that are given whole requests by a reader thread.
 *
 *   server_pool QUEUE JOB PORT UP
 *
 * QUEUE  how a job gets from the reader to a worker:
 *          fifo lifo priority   a condition variable; the oldest, the newest, the most important one first
 *          batch                a worker takes up to eight at once, and works for one after the other
 *          lazy                 like fifo; a thread is created when a job comes and none is idle, and ends when, after some
 *                               jobs, there is no other
 *          semaphore            a ring without a lock, and a semaphore that counts what is in it
 *          pipe                 written to a pipe, which all workers read
 *          eventfd              a list under a lock, and an eventfd that counts what is in it
 *          stages               three pools behind each other: begin and call; go on; answer
 * JOB    what a job is:
 *          pointer   a block of its own, allocated by the reader when it has the request
 *          value     a copy in the queue
 *          slab      a block of an array that is used again and again
 *          session   a block that many requests share: allocated in the first of them, with a list of what is to be done
 *
 * Behind its answer each request leaves a job to be done in the background, in the same queue.
 */
#include "attribution_kit.h"

#include <semaphore.h>

#define WORKERS 8
#define STAGES 3
#define ROOM 65536u
#define BATCH 8
#define LAZY_JOBS 16
#define SESSIONS 24

enum queue_kind { FIFO, LIFO, PRIORITY, BATCHED, SEMAPHORE, PIPE, EVENTFD, STAGED, LAZY };
enum job_kind { POINTER, VALUE, SLAB, SESSION };

struct job {
	long n;
	struct peer *peer; /* NULL: in the background */
	struct job *next;
};

struct session {
	pthread_mutex_t lock;
	struct job waiting[4096];
	unsigned first, last;
	long served;
};

/* What lies in a queue. */
union item {
	struct job *job;
	struct session *session;
	struct job value;
};

struct cell {
	unsigned turn;
	union item item;
};

struct queue {
	pthread_mutex_t lock;
	pthread_cond_t filled;
	sem_t count;
	int pipe[2], event;
	unsigned head, tail;
	struct cell *cells;
};

static struct queue queues[STAGES];
static enum queue_kind queue_kind;
static enum job_kind job_kind;
static int lazy_threads, lazy_idle; /* under the queue's lock */

/* ---- queues ---- */

static void init_queue(struct queue *queue)
{
	unsigned i;

	pthread_mutex_init(&queue->lock, NULL);
	pthread_cond_init(&queue->filled, NULL);
	sem_init(&queue->count, 0, 0);
	queue->event = eventfd(0, EFD_SEMAPHORE);
	queue->cells = calloc(ROOM, sizeof(*queue->cells));
	if (pipe(queue->pipe) != 0 || queue->cells == NULL)
		die("queue");
	for (i = 0; i < ROOM; i++)
		queue->cells[i].turn = i;
}

/* A ring for many on either side: a cell's turn says whether it is to be filled or to be emptied (D. Vyukov's queue). */
static void put_without_lock(struct queue *queue, union item item)
{
	unsigned at = __atomic_fetch_add(&queue->tail, 1, __ATOMIC_RELAXED);
	struct cell *cell = &queue->cells[at % ROOM];

	while (__atomic_load_n(&cell->turn, __ATOMIC_ACQUIRE) != at)
		sched_yield();
	cell->item = item;
	__atomic_store_n(&cell->turn, at + 1, __ATOMIC_RELEASE);
	sem_post(&queue->count);
}

static union item take_without_lock(struct queue *queue)
{
	union item item;
	struct cell *cell;
	unsigned at;

	while (sem_wait(&queue->count) != 0)
		;
	at = __atomic_fetch_add(&queue->head, 1, __ATOMIC_RELAXED);
	cell = &queue->cells[at % ROOM];
	while (__atomic_load_n(&cell->turn, __ATOMIC_ACQUIRE) != at + 1)
		sched_yield();
	item = cell->item;
	__atomic_store_n(&cell->turn, at + ROOM, __ATOMIC_RELEASE);
	return item;
}

static void *work_lazily(void *arg);

/* Under the lock; a job was put into the queue. */
static void start_lazily(struct queue *queue)
{
	pthread_t thread;

	if (lazy_threads == WORKERS || lazy_idle >= (int)(queue->tail - queue->head))
		return;
	lazy_threads++;
	if (pthread_create(&thread, NULL, work_lazily, queue) != 0)
		die("pthread_create");
	pthread_detach(thread);
}

static void put(struct queue *queue, union item item)
{
	uint64_t one = 1;

	if (queue_kind == SEMAPHORE) {
		put_without_lock(queue, item);
		return;
	}
	if (queue_kind == PIPE) {
		if (write(queue->pipe[1], &item, sizeof(item)) != (ssize_t)sizeof(item))
			die("pipe");
		return;
	}
	pthread_mutex_lock(&queue->lock);
	if (queue->tail - queue->head == ROOM)
		die("full");
	queue->cells[queue->tail++ % ROOM].item = item;
	if (queue_kind == LAZY)
		start_lazily(queue);
	if (queue_kind != EVENTFD)
		pthread_cond_signal(&queue->filled);
	pthread_mutex_unlock(&queue->lock);
	if (queue_kind == EVENTFD && write(queue->event, &one, sizeof(one)) != (ssize_t)sizeof(one))
		die("eventfd");
}

static long number_of(const union item *item)
{
	if (job_kind == VALUE)
		return item->value.n;
	return job_kind == SESSION ? item->session->served : item->job->n;
}

/* The most important one comes to the front. Under the lock. */
static void choose(struct queue *queue)
{
	unsigned i, best = queue->head;
	union item item;

	for (i = queue->head; i != queue->tail && i - queue->head < 512; i++)
		if (number_of(&queue->cells[i % ROOM].item) * 7 % 16 >
		    number_of(&queue->cells[best % ROOM].item) * 7 % 16)
			best = i;
	item = queue->cells[best % ROOM].item;
	queue->cells[best % ROOM].item = queue->cells[queue->head % ROOM].item;
	queue->cells[queue->head % ROOM].item = item;
}

static unsigned take_locked(struct queue *queue, union item *items, unsigned most)
{
	unsigned n = 0;

	while (queue->head != queue->tail && n < most) {
		if (queue_kind == PRIORITY)
			choose(queue);
		items[n++] = queue_kind == LIFO ? queue->cells[--queue->tail % ROOM].item :
		                                  queue->cells[queue->head++ % ROOM].item;
	}
	return n;
}

/* At least one. */
static unsigned take(struct queue *queue, union item items[BATCH])
{
	uint64_t one;
	unsigned n;

	if (queue_kind == SEMAPHORE) {
		items[0] = take_without_lock(queue);
		return 1;
	}
	if (queue_kind == PIPE) {
		if (read(queue->pipe[0], items, sizeof(*items)) != (ssize_t)sizeof(*items))
			die("pipe");
		return 1;
	}
	if (queue_kind == EVENTFD && read(queue->event, &one, sizeof(one)) != (ssize_t)sizeof(one))
		die("eventfd");
	pthread_mutex_lock(&queue->lock);
	while (queue->head == queue->tail)
		pthread_cond_wait(&queue->filled, &queue->lock);
	n = take_locked(queue, items, queue_kind == BATCHED ? BATCH : 1);
	pthread_mutex_unlock(&queue->lock);
	return n;
}

/* ---- jobs ---- */

static pthread_mutex_t slab_lock = PTHREAD_MUTEX_INITIALIZER;
static struct job slab[16384], *slab_free;
static struct session *sessions[SESSIONS];
static pthread_mutex_t sessions_lock = PTHREAD_MUTEX_INITIALIZER;

static struct job *new_job(void)
{
	struct job *job;

	if (job_kind != SLAB)
		return malloc(sizeof(*job));
	pthread_mutex_lock(&slab_lock);
	job = slab_free;
	if (job == NULL)
		die("slab");
	slab_free = job->next;
	pthread_mutex_unlock(&slab_lock);
	return job;
}

static void end_job(struct job *job)
{
	if (job_kind != SLAB) {
		free(job);
		return;
	}
	pthread_mutex_lock(&slab_lock);
	job->next = slab_free;
	slab_free = job;
	pthread_mutex_unlock(&slab_lock);
}

static struct session *session_of(long n)
{
	struct session **place = &sessions[n % SESSIONS];

	pthread_mutex_lock(&sessions_lock);
	if (*place == NULL) {
		*place = calloc(1, sizeof(**place));
		pthread_mutex_init(&(*place)->lock, NULL);
	}
	pthread_mutex_unlock(&sessions_lock);
	return *place;
}

static union item make_item(long n, struct peer *peer)
{
	struct job job = { n, peer, NULL };
	union item item = { .value = job };

	if (job_kind == SESSION) {
		struct session *session = session_of(n);

		pthread_mutex_lock(&session->lock);
		if (session->last - session->first == 4096)
			die("session");
		session->waiting[session->last++ % 4096] = job;
		pthread_mutex_unlock(&session->lock);
		item.session = session;
	} else if (job_kind != VALUE) {
		item.job = new_job();
		*item.job = job;
	}
	return item;
}

static void submit(long n, struct peer *peer)
{
	put(&queues[0], make_item(n, peer));
}

static void do_work(long n, struct peer *peer)
{
	if (peer == NULL) {
		say("background", n);
		return;
	}
	kit_work(peer, n);
	submit(n, NULL);
	kit_give_back(peer);
}

static void do_session(struct session *session)
{
	struct job job;

	pthread_mutex_lock(&session->lock);
	job = session->waiting[session->first++ % 4096];
	session->served++;
	pthread_mutex_unlock(&session->lock);
	do_work(job.n, job.peer);
}

static void do_job(struct job *job)
{
	do_work(job->n, job->peer);
	end_job(job);
}

static void do_item(union item *item)
{
	if (job_kind == SESSION)
		do_session(item->session);
	else if (job_kind == VALUE)
		do_work(item->value.n, item->value.peer);
	else
		do_job(item->job);
}

static void *work(void *arg)
{
	union item items[BATCH];
	unsigned i, n;

	(void)arg;
	for (;;) {
		n = take(&queues[0], items);
		for (i = 0; i < n; i++)
			do_item(&items[i]);
	}
	return NULL;
}

static void *work_lazily(void *arg)
{
	struct queue *queue = arg;
	union item item;
	int done;

	pthread_mutex_lock(&queue->lock);
	for (done = 0; done < LAZY_JOBS || queue->head != queue->tail; done++) {
		while (queue->head == queue->tail) {
			lazy_idle++;
			pthread_cond_wait(&queue->filled, &queue->lock);
			lazy_idle--;
		}
		take_locked(queue, &item, 1);
		pthread_mutex_unlock(&queue->lock);
		do_item(&item);
		pthread_mutex_lock(&queue->lock);
	}
	lazy_threads--;
	pthread_mutex_unlock(&queue->lock);
	return NULL;
}

/* ---- stages ---- */

static void do_stage(unsigned stage, struct job *job)
{
	if (stage == 0 && job->peer == NULL) {
		say("background", job->n);
		end_job(job);
	} else if (stage == 0) {
		say("begin", job->n);
		kit_call(job->n);
		put(&queues[1], (union item){ .job = job });
	} else if (stage == 1) {
		say("middle", job->n);
		kit_dawdle(job->n);
		put(&queues[2], (union item){ .job = job });
	} else {
		say("before", job->n);
		peer_answer(job->peer);
		say("after", job->n);
		submit(job->n, NULL);
		kit_give_back(job->peer);
		end_job(job);
	}
}

static void *work_in_stage(void *arg)
{
	struct queue *queue = arg;
	union item items[BATCH];

	for (;;) {
		take(queue, items);
		do_stage((unsigned)(queue - queues), items[0].job);
	}
	return NULL;
}

static void take_request(struct peer *peer)
{
	submit(peer->n, peer);
}

static int index_of(const char *name, const char *const *names, int count)
{
	int i;

	for (i = 0; i < count; i++)
		if (strcmp(name, names[i]) == 0)
			return i;
	exit(2);
}

int main(int argc, char **argv)
{
	static const char *const queue_names[] = { "fifo", "lifo",    "priority", "batch", "semaphore",
		                                   "pipe", "eventfd", "stages",   "lazy" };
	static const char *const job_names[] = { "pointer", "value", "slab", "session" };
	pthread_t thread;
	unsigned i;

	if (argc < 5)
		return 2;
	queue_kind = (enum queue_kind)index_of(argv[1], queue_names, 9);
	job_kind = (enum job_kind)index_of(argv[2], job_names, 4);
	kit_start(argv[4]);
	for (i = 0; i < STAGES; i++)
		init_queue(&queues[i]);
	for (i = 0; i < sizeof(slab) / sizeof(slab[0]); i++) {
		slab[i].next = slab_free;
		slab_free = &slab[i];
	}
	for (i = 0; i < WORKERS && queue_kind != LAZY; i++)
		pthread_create(&thread, NULL, queue_kind == STAGED ? work_in_stage : work,
		               queue_kind == STAGED ? &queues[i % STAGES] : NULL);
	kit_read(listen_on(atoi(argv[3])), take_request);
	return 0;
}

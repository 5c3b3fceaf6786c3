/*
 * Servers whose threads and processes read what they answer.
 *
 *   server_plain KIND PORT UP
 *
 * KIND  thread     a thread a connection
 *       prefork    eight processes accept
 *       accept     twelve threads accept, each serves its connection
 *       hand       one thread accepts, and gives connections to twelve that serve them, through a queue
 *       wander     one thread polls; each connection that can be read goes to any of twelve, which reads one request, answers
 *                  it, and gives the connection back
 *       mixed      the same, and what is to be done in the background is in the same queue
 *       requeue    who has answered puts the connection, and what is to be done in the background, into the queue itself: nobody
 *                  polls
 *       fork       a process a connection
 *       cgi        a thread a connection; each request is a program of its own: this one, which is told n by its environment
 *       logger     a thread a connection; one more thread writes all lines, from a queue
 *
 * Behind its answer each request logs in the background: from a thread that it started (thread, accept, hand, cgi), or itself.
 * The number of connections at a time is bounded by the number of threads: 'accept' and 'hand' close after 8 answers, and those
 * that wait get their turn.
 */
#include "attribution_kit.h"

#include <spawn.h>

#define WORKERS 12
#define ROOM 8192u

extern char **environ;

static const char *kind;
static int listener;

static bool is(const char *name)
{
	return strcmp(kind, name) == 0;
}

/* ---- a queue of pointers, oldest first ---- */

struct queue {
	pthread_mutex_t lock;
	pthread_cond_t filled;
	void *cells[ROOM];
	unsigned head, tail;
};

#define QUEUE_INIT                                                                                                     \
	{                                                                                                              \
		.lock = PTHREAD_MUTEX_INITIALIZER, .filled = PTHREAD_COND_INITIALIZER                                  \
	}

/* What wandering threads get. */
struct task {
	struct peer *peer; /* NULL: log for n, in the background */
	long n;
};

static struct queue connections = QUEUE_INIT, lines = QUEUE_INIT;

static void put(struct queue *queue, void *item)
{
	pthread_mutex_lock(&queue->lock);
	while (queue->tail - queue->head == ROOM) {
		pthread_mutex_unlock(&queue->lock);
		sched_yield();
		pthread_mutex_lock(&queue->lock);
	}
	queue->cells[queue->tail++ % ROOM] = item;
	pthread_cond_signal(&queue->filled);
	pthread_mutex_unlock(&queue->lock);
}

static void *take(struct queue *queue)
{
	void *item;

	pthread_mutex_lock(&queue->lock);
	while (queue->head == queue->tail)
		pthread_cond_wait(&queue->filled, &queue->lock);
	item = queue->cells[queue->head++ % ROOM];
	pthread_mutex_unlock(&queue->lock);
	return item;
}

/* ---- a request ---- */

static void *say_later(void *arg)
{
	say("background", (long)(intptr_t)arg);
	return NULL;
}

static void start_background(long n)
{
	pthread_attr_t attributes;
	pthread_t thread;

	pthread_attr_init(&attributes);
	pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
	pthread_attr_setstacksize(&attributes, 65536);
	if (pthread_create(&thread, &attributes, say_later, (void *)(intptr_t)n) != 0)
		die("pthread_create");
	pthread_attr_destroy(&attributes);
}

/* Whoever has the connection answers what the program says. */
static void work_by_program(struct peer *peer)
{
	char number[32], up[32], *argv[] = { (char *)"program", (char *)"program", NULL };
	char *environment[] = { number, up, NULL };
	posix_spawn_file_actions_t actions;
	int ends[2], status;
	char said[64];
	size_t len = 0;
	ssize_t got;
	pid_t pid;

	snprintf(number, sizeof(number), "NUMBER=%ld", peer->n);
	snprintf(up, sizeof(up), "UP=%d", kit_up_port);
	say("begin", peer->n);
	if (pipe2(ends, O_CLOEXEC) != 0)
		die("pipe");
	posix_spawn_file_actions_init(&actions);
	posix_spawn_file_actions_adddup2(&actions, ends[1], 3);
	if (posix_spawn(&pid, "/proc/self/exe", &actions, NULL, argv, environment) != 0)
		die("posix_spawn");
	posix_spawn_file_actions_destroy(&actions);
	close(ends[1]);
	while ((got = read(ends[0], said + len, sizeof(said) - 1 - len)) > 0)
		len += (size_t)got;
	said[len] = '\0';
	close(ends[0]);
	if (waitpid(pid, &status, 0) != pid || status != 0 || atol(said) != peer->n)
		die("program");
	say("before", peer->n);
	peer_answer(peer);
	say("after", peer->n);
}

static int be_program(void)
{
	long n = atol(getenv("NUMBER"));
	char said[32];
	int len = snprintf(said, sizeof(said), "%ld", n);

	kit_start(getenv("UP"));
	say("program", n);
	kit_call(n);
	say("middle", n);
	return write(3, said, (size_t)len) == len ? 0 : 1;
}

struct line {
	const char *what;
	long n;
};

static void leave(const char *what, long n)
{
	struct line *line = malloc(sizeof(*line));

	*line = (struct line){ what, n };
	put(&lines, line);
}

static void *write_lines(void *arg)
{
	(void)arg;
	for (;;) {
		struct line *line = take(&lines);

		say(line->what, line->n);
		free(line);
	}
	return NULL;
}

static void work_with_logger(struct peer *peer)
{
	leave("begin", peer->n);
	kit_call(peer->n);
	leave("middle", peer->n);
	kit_dawdle(peer->n);
	leave("before", peer->n);
	peer_answer(peer);
	leave("after", peer->n);
	leave("background", peer->n);
}

static void put_task(struct peer *peer, long n)
{
	struct task *task = malloc(sizeof(*task));

	*task = (struct task){ peer, n };
	put(&connections, task);
}

static void handle(struct peer *peer)
{
	long n = peer->n;

	if (is("cgi")) {
		work_by_program(peer);
		start_background(n);
	} else if (is("logger")) {
		work_with_logger(peer);
	} else {
		kit_work(peer, n);
		if (is("mixed") || is("requeue"))
			put_task(NULL, n);
		else if (is("prefork") || is("fork") || is("wander"))
			say("background", n);
		else
			start_background(n);
	}
}

/* ---- who reads ---- */

static void *serve(void *arg)
{
	struct peer *peer = arg;
	bool shared = is("accept") || is("hand") || is("prefork");
	int left = 8;

	while (peer_read(peer) > 0) {
		if (shared && --left == 0 && peer->len == 0)
			peer->close = true;
		handle(peer);
		if (peer->close)
			break;
	}
	peer_end(peer);
	return NULL;
}

static void *accept_many(void *arg)
{
	int fd;

	while ((fd = accept(listener, NULL, NULL)) >= 0)
		serve(peer_new(fd));
	return arg;
}

static void *take_many(void *arg)
{
	for (;;)
		serve(take(&connections));
	return arg;
}

static void give_back(struct peer *peer)
{
	if (!is("requeue"))
		kit_give_back(peer);
	else if (peer->close)
		peer_end(peer);
	else
		put_task(peer, 0);
}

static void *wander(void *arg)
{
	for (;;) {
		struct task *task = take(&connections);
		struct peer *peer = task->peer;
		int got = peer != NULL ? peer_read(peer) : 0;

		if (peer == NULL)
			say("background", task->n);
		else if (got < 0)
			peer_end(peer);
		else if (got > 0)
			handle(peer);
		if (peer != NULL && got >= 0)
			give_back(peer);
		free(task);
	}
	return arg;
}

static void start_threads(int count, void *(*routine)(void *))
{
	pthread_t thread;
	int i;

	for (i = 0; i < count; i++)
		pthread_create(&thread, NULL, routine, NULL);
}

static void accept_for_threads(void)
{
	pthread_t thread;
	int fd;

	while ((fd = accept(listener, NULL, NULL)) >= 0) {
		pthread_create(&thread, NULL, serve, peer_new(fd));
		pthread_detach(thread);
	}
}

static void accept_for_queue(void)
{
	int fd;

	while ((fd = accept(listener, NULL, NULL)) >= 0)
		if (is("requeue"))
			put_task(peer_new(fd), 0);
		else
			put(&connections, peer_new(fd));
}

static void fork_for_all(void)
{
	int i;

	for (i = 0; i < 8; i++)
		if (fork() == 0)
			accept_many(NULL);
	pause();
}

static void fork_for_each(void)
{
	int fd;

	signal(SIGCHLD, SIG_IGN);
	while ((fd = accept(listener, NULL, NULL)) >= 0) {
		if (fork() == 0) {
			close(listener);
			serve(peer_new(fd));
			exit(0);
		}
		close(fd);
	}
}

static void take_readable(struct peer *peer)
{
	put_task(peer, 0);
}

int main(int argc, char **argv)
{
	if (argc == 2 && strcmp(argv[1], "program") == 0)
		return be_program();
	if (argc < 4)
		return 2;
	kind = argv[1];
	kit_start(argv[3]);
	listener = listen_on(atoi(argv[2]));
	if (is("logger"))
		start_threads(1, write_lines);
	if (is("accept"))
		start_threads(WORKERS, accept_many);
	else if (is("hand"))
		start_threads(WORKERS, take_many);
	else if (is("wander") || is("mixed") || is("requeue"))
		start_threads(WORKERS, wander);
	if (is("thread") || is("cgi") || is("logger"))
		accept_for_threads();
	else if (is("hand") || is("requeue"))
		accept_for_queue();
	else if (is("prefork"))
		fork_for_all();
	else if (is("fork"))
		fork_for_each();
	else if (is("wander") || is("mixed"))
		kit_poll(listener, take_readable);
	pause();
	return 0;
}

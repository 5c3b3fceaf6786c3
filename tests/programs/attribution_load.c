/*
 * The two ends of the attribution experiment: clients that say in each request which one it is, and the service behind the
 * servers, which keeps count of whose trace each call carries.
 *
 *   attribution_load [--memcached] --port PORT --up PORT [--path PATH] --phase KIND:CONNECTIONS:REQUESTS...
 *
 * KIND    keep: connections are kept; pipeline: four requests are sent before an answer is read; close: one a request
 *
 * Requests are numbered from PHASE * 10,000,000 + 1 on. A request with number n has a traceparent made from n (as
 * tests/preload/attribution makes it), and n in its target; its answer must name n. A call that names n must carry the trace
 * of n, once, and a parent id that no other call has, nor the clients. Replies of the service leave in another order than their
 * calls came. On stdout a line as each phase ends; at last, as JSON: how long each took, and how many calls were right, without
 * a trace, and wrong. Exit status 1: a request was not answered as it should be.
 *
 * With `--memcached` a request is a set and a get of memcached's, whose key names n, and carries no trace.
 */
#include "server_kit.h"

#include <poll.h>

#define CONNECTIONS_MAX 1024
#define PHASES_MAX 26 /* a request's number has seven hexadecimal digits */
#define PHASE_SIZE 10000000L
#define CALLER "ca11e7000" /* and the number: a span id of ours (attribution_judge.c) */
#define PIPELINE 4
#define ANSWER_MAX 32768
#define HELD_MAX 8
#define STUCK_MS 30000

enum kind { KEEP, PIPELINED, CLOSING };

struct phase {
	enum kind kind;
	int connections;
	long requests;
	double seconds;
	long retried; /* sent again, because the server had closed an idle connection meanwhile */
	long right, none, wrong;
};

/* What a call carries. */
struct parent {
	char hex[16];
	int phase;
};

struct client {
	int fd;
	long first; /* of those that are under way; 0: none */
	int sent, answered;
	bool used; /* an answer came on this connection already */
	size_t len;
	char bytes[ANSWER_MAX + 1];
};

static struct phase phases[PHASES_MAX];
static int phase_count, port, up_port, epoll_fd;
static const char *path = "/";
static bool memcached;
static struct client clients[CONNECTIONS_MAX];
static long next_number, last_number, answered;

static void trace_of(long n, char *out)
{
	sprintf(out, "7e57%012llx%016lx", (unsigned long long)n * 2654435761ull % (1ull << 48), (unsigned long)n);
}

static double now(void)
{
	struct timespec time;

	clock_gettime(CLOCK_MONOTONIC, &time);
	return (double)time.tv_sec + (double)time.tv_nsec / 1e9;
}

/* ---- the service behind ---- */

static struct peer *held[HELD_MAX + 1];
static int held_count;

static struct parent *parents;
static size_t parent_count, parent_room;
static pthread_mutex_t parents_lock = PTHREAD_MUTEX_INITIALIZER;

static void keep_parent(const char *hex, int phase)
{
	pthread_mutex_lock(&parents_lock);
	if (parent_count == parent_room) {
		parent_room = parent_room ? parent_room * 2 : 4096;
		parents = realloc(parents, parent_room * sizeof(*parents));
		if (parents == NULL)
			die("realloc");
	}
	memcpy(parents[parent_count].hex, hex, sizeof(parents->hex));
	parents[parent_count++].phase = phase;
	pthread_mutex_unlock(&parents_lock);
}

static int compare_parents(const void *one, const void *other)
{
	return memcmp(one, other, sizeof(parents->hex));
}

/* A parent id that two calls have is right for one of them at most. */
static void judge_parents(void)
{
	size_t i;

	pthread_mutex_lock(&parents_lock);
	if (parent_count > 0)
		qsort(parents, parent_count, sizeof(*parents), compare_parents);
	for (i = 1; i < parent_count; i++) {
		if (memcmp(parents[i].hex, parents[i - 1].hex, sizeof(parents->hex)) != 0)
			continue;
		phases[parents[i].phase].right--;
		if (phases[parents[i].phase].wrong++ < 3)
			fprintf(stderr, "two calls have the parent id %.16s\n", parents[i].hex);
	}
	pthread_mutex_unlock(&parents_lock);
}

/* Is it a traceparent of the trace `wanted`, the head's only one, whose parent is not a client's? */
static bool is_right(const char *trace, const char *wanted)
{
	trace += strspn(trace, " ");
	return strncmp(trace, "00-", 3) == 0 && strncmp(trace + 3, wanted, 32) == 0 && trace[35] == '-' &&
	       strspn(trace + 36, "0123456789abcdef") == 16 && strncmp(trace + 36, CALLER, strlen(CALLER)) != 0 &&
	       strcasestr(trace, "\r\ntraceparent:") == NULL;
}

/* The head is whole, and ends in NUL. */
static void judge_call(const char *head)
{
	const char *number = strstr(head, "n="), *trace = strcasestr(head, "\r\ntraceparent:");
	long n = number ? atol(number + 2) : 0;
	struct phase *phase;
	char wanted[64];

	if (n <= 0 || n / PHASE_SIZE >= phase_count) {
		fprintf(stderr, "a call without a number: %.200s\n", head);
		__atomic_add_fetch(&phases[0].wrong, 1, __ATOMIC_RELAXED);
		return;
	}
	phase = &phases[n / PHASE_SIZE];
	if (trace == NULL) {
		__atomic_add_fetch(&phase->none, 1, __ATOMIC_RELAXED);
		return;
	}
	trace_of(n, wanted);
	trace += strlen("\r\ntraceparent:");
	if (is_right(trace, wanted)) {
		keep_parent(trace + strspn(trace, " ") + 36, (int)(n / PHASE_SIZE));
		__atomic_add_fetch(&phase->right, 1, __ATOMIC_RELAXED);
		return;
	}
	if (__atomic_add_fetch(&phase->wrong, 1, __ATOMIC_RELAXED) <= 3)
		fprintf(stderr, "a wrong call of n=%ld: %.400s\n", n, head);
}

static void reply(struct peer *peer)
{
	char out[128];
	int body = snprintf(NULL, 0, "up n=%ld\n", peer->n);
	int len = snprintf(out, sizeof(out), "HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\nup n=%ld\n", body, peer->n);

	(void)!send(peer->fd, out, (size_t)len, MSG_NOSIGNAL);
}

static void reply_to_held(void)
{
	while (held_count > 0)
		reply(held[--held_count]);
}

/* One call at a time on each connection: no server of ours pipelines. */
static void hear(struct peer *peer)
{
	ssize_t n = recv(peer->fd, peer->bytes + peer->len, HEAD_MAX - peer->len, MSG_DONTWAIT);
	char *end;

	if (n < 0 && errno == EAGAIN)
		return;
	if (n <= 0) {
		int i;

		for (i = 0; i < held_count; i++)
			if (held[i] == peer)
				held[i--] = held[--held_count];
		peer_end(peer);
		return;
	}
	peer->len += (size_t)n;
	peer->bytes[peer->len] = '\0';
	end = strstr(peer->bytes, "\r\n\r\n");
	if (end == NULL)
		return;
	judge_call(peer->bytes);
	(void)peer_take(peer);
	if (peer->n % 5 == 0) {
		held[held_count++] = peer;
		if (held_count > HELD_MAX)
			reply_to_held();
	} else {
		reply(peer);
	}
}

static void *serve_calls(void *arg)
{
	struct epoll_event events[64], event = { .events = EPOLLIN };
	int listener = (int)(intptr_t)arg, set = epoll_create1(0), i, n;

	epoll_ctl(set, EPOLL_CTL_ADD, listener, &event);
	for (;;) {
		n = epoll_wait(set, events, 64, held_count > 0 ? 1 : -1);
		if (n == 0)
			reply_to_held();
		for (i = 0; i < n; i++) {
			struct peer *peer = events[i].data.ptr;
			int fd;

			if (peer != NULL) {
				hear(peer);
			} else if ((fd = accept(listener, NULL, NULL)) >= 0) {
				event.data.ptr = peer_new(fd);
				epoll_ctl(set, EPOLL_CTL_ADD, fd, &event);
			}
		}
	}
	return NULL;
}

/* ---- the clients ---- */

static void fail(const struct client *client, const char *what)
{
	fprintf(stderr, "request %ld: %s; received %zu bytes: %.300s\n", client->first + client->answered, what,
	        client->len, client->bytes);
	exit(1);
}

static void open_client(struct client *client)
{
	struct epoll_event event = { .events = EPOLLIN, .data.ptr = client };
	int one = 1;

	client->fd = connect_to(port);
	setsockopt(client->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	client->used = false;
	client->len = 0;
	epoll_ctl(epoll_fd, EPOLL_CTL_ADD, client->fd, &event);
}

static void close_client(struct client *client)
{
	close(client->fd);
	client->fd = -1;
}

/* Returns its length. */
static size_t write_request(char *out, size_t room, long n, enum kind kind)
{
	char trace[64], value[32];

	if (memcached) {
		int size = snprintf(value, sizeof(value), "n=%ld", n);

		return (size_t)snprintf(out, room, "ms n=%ld %d k\r\n%s\r\nmg n=%ld k v\r\n", n, size, value, n);
	}
	trace_of(n, trace);
	return (size_t)snprintf(out, room,
	                        "GET %s?n=%ld HTTP/1.1\r\nHost: test.example\r\ntraceparent: 00-%s-" CALLER
	                        "%07lx-01\r\n%s\r\n",
	                        path, n, trace, (unsigned long)n, kind == CLOSING ? "Connection: close\r\n" : "");
}

/* What is not answered yet of what is under way. */
static void send_requests(struct client *client, enum kind kind)
{
	char out[PIPELINE * 512];
	size_t len = 0;
	int i;

	if (client->fd < 0)
		open_client(client);
	for (i = client->answered; i < client->sent; i++)
		len += write_request(out + len, sizeof(out) - len, client->first + i, kind);
	if (send(client->fd, out, len, MSG_NOSIGNAL) != (ssize_t)len && errno != EPIPE && errno != ECONNRESET)
		fail(client, "send");
}

static void start_next(struct client *client, enum kind kind)
{
	long most = kind == PIPELINED ? PIPELINE : 1, left = last_number - next_number + 1;

	client->first = 0;
	if (left <= 0) {
		if (client->fd >= 0)
			close_client(client);
		return;
	}
	client->first = next_number;
	client->sent = (int)(most < left ? most : left);
	client->answered = 0;
	next_number += client->sent;
	send_requests(client, kind);
}

/* "HD kn=1", which the set is answered with, and "VA 3 kn=1" with a line of data for the get. */
static size_t memcached_length(const char *bytes)
{
	const char *end = bytes;
	int i;

	for (i = 0; i < 3; i++) {
		end = strstr(end, "\r\n");
		if (end == NULL)
			return 0;
		end += 2;
	}
	return (size_t)(end - bytes);
}

/* The length of the answer in front; 0: not whole yet. `ended`: no more will come. */
static size_t answer_length(struct client *client, bool ended)
{
	char *end, *field;
	size_t head;

	client->bytes[client->len] = '\0';
	if (memcached)
		return memcached_length(client->bytes);
	end = strstr(client->bytes, "\r\n\r\n");
	if (end == NULL)
		return 0;
	head = (size_t)(end - client->bytes) + 4;
	field = strcasestr(client->bytes, "\r\ncontent-length:");
	if (field != NULL && field < end) {
		size_t whole = head + strtoul(field + 17, NULL, 10);

		return client->len >= whole ? whole : 0;
	}
	field = strcasestr(client->bytes, "\r\ntransfer-encoding: chunked");
	if (field != NULL && field < end + 2) {
		char *last = strstr(end, "\r\n0\r\n\r\n");

		return last != NULL ? (size_t)(last - client->bytes) + 7 : 0;
	}
	return ended ? client->len : 0;
}

static void check_answer(struct client *client, size_t len)
{
	char wanted[128], kept = client->bytes[len], *found = client->bytes;
	long n = client->first + client->answered;
	int size = snprintf(wanted, sizeof(wanted), "n=%ld", n);

	client->bytes[len] = '\0';
	if (memcached) {
		snprintf(wanted, sizeof(wanted), "HD kn=%ld\r\nVA %d kn=%ld\r\nn=%ld\r\n", n, size, n, n);
		if (strcmp(client->bytes, wanted) != 0)
			fail(client, "not its answer");
	} else {
		found = strstr(found, "\r\n\r\n");
		found = found != NULL ? strstr(found, wanted) : NULL;
		if (strncmp(client->bytes, "HTTP/1.1 200", 12) != 0 || found == NULL ||
		    (found[size] >= '0' && found[size] <= '9'))
			fail(client, "not its answer");
	}
	client->bytes[len] = kept;
}

/* Take every answer that is whole. Returns false if the server closes behind one. */
static bool take_answers(struct client *client, bool ended)
{
	size_t len;
	bool stays = true;

	while (client->first && client->answered < client->sent && (len = answer_length(client, ended)) > 0) {
		char *word = strcasestr(client->bytes, "\r\nconnection: close");

		stays = stays && (word == NULL || word >= client->bytes + len);
		check_answer(client, len);
		memmove(client->bytes, client->bytes + len, client->len - len);
		client->len -= len;
		client->answered++;
		client->used = true;
		answered++;
	}
	return stays;
}

static void receive(struct client *client, struct phase *phase)
{
	ssize_t n = recv(client->fd, client->bytes + client->len, ANSWER_MAX - client->len, MSG_DONTWAIT);
	bool stays;

	if (n < 0 && errno == EAGAIN)
		return;
	if (n < 0 && errno != ECONNRESET)
		fail(client, "recv");
	if (n > 0)
		client->len += (size_t)n;
	stays = take_answers(client, n <= 0) && n > 0;
	if (!stays)
		close_client(client);
	if (client->answered == client->sent) {
		if (client->fd >= 0 && phase->kind == CLOSING)
			close_client(client);
		start_next(client, phase->kind);
	} else if (!stays) {
		if (!client->used || client->len > 0)
			fail(client, "the connection ended");
		phase->retried += client->sent - client->answered;
		send_requests(client, phase->kind);
	}
}

static void run_phase(int index)
{
	struct phase *phase = &phases[index];
	struct epoll_event events[64];
	double start = now();
	int i, n;

	next_number = index * PHASE_SIZE + 1;
	last_number = index * PHASE_SIZE + phase->requests;
	answered = 0;
	for (i = 0; i < phase->connections; i++)
		start_next(&clients[i], phase->kind);
	while (answered < phase->requests) {
		n = epoll_wait(epoll_fd, events, 64, STUCK_MS);
		if (n == 0) {
			fprintf(stderr, "phase %d: %ld of %ld requests answered, and no more\n", index, answered,
			        phase->requests);
			exit(1);
		}
		for (i = 0; i < n; i++)
			receive(events[i].data.ptr, phase);
	}
	phase->seconds = now() - start;
}

static void add_phase(const char *text)
{
	static const char *const kinds[] = { "keep", "pipeline", "close" };
	struct phase *phase = &phases[phase_count++];
	char kind[16] = "";
	int i;

	if (phase_count > PHASES_MAX ||
	    sscanf(text, "%15[a-z]:%d:%ld", kind, &phase->connections, &phase->requests) != 3 ||
	    phase->connections < 1 || phase->connections > CONNECTIONS_MAX || phase->requests < 1 ||
	    phase->requests >= PHASE_SIZE)
		die(text);
	for (i = 0; i < 3; i++)
		if (strcmp(kind, kinds[i]) == 0)
			phase->kind = (enum kind)i;
}

static void wait_for_server(void)
{
	struct sockaddr_in addr = loopback(port);
	int tries, fd;

	for (tries = 0; tries < 6000; tries++) {
		fd = socket(AF_INET, SOCK_STREAM, 0);
		if (connect(fd, (struct sockaddr *)&addr, sizeof(addr)) == 0) {
			close(fd);
			return;
		}
		close(fd);
		work_us(10000);
	}
	die("the server does not serve");
}

static void print_results(void)
{
	static const char *const kinds[] = { "keep", "pipeline", "close" };
	int i;

	printf("[");
	for (i = 0; i < phase_count; i++) {
		struct phase *phase = &phases[i];

		printf("%s{\"kind\": \"%s\", \"connections\": %d, \"requests\": %ld, \"seconds\": %.3f, \"retried\": %ld, "
		       "\"right\": %ld, \"none\": %ld, \"wrong\": %ld}",
		       i ? ",\n " : "", kinds[phase->kind], phase->connections, phase->requests, phase->seconds,
		       phase->retried, phase->right, phase->none, phase->wrong);
	}
	printf("]\n");
}

int main(int argc, char **argv)
{
	pthread_t thread;
	int i;

	for (i = 1; i + 1 < argc; i += 2) {
		if (strcmp(argv[i], "--memcached") == 0)
			memcached = true, i--;
		else if (strcmp(argv[i], "--port") == 0)
			port = atoi(argv[i + 1]);
		else if (strcmp(argv[i], "--up") == 0)
			up_port = atoi(argv[i + 1]);
		else if (strcmp(argv[i], "--path") == 0)
			path = argv[i + 1];
		else if (strcmp(argv[i], "--phase") == 0)
			add_phase(argv[i + 1]);
	}
	if (port == 0 || phase_count == 0)
		return 2;
	signal(SIGPIPE, SIG_IGN);
	epoll_fd = epoll_create1(0);
	for (i = 0; i < CONNECTIONS_MAX; i++)
		clients[i].fd = -1;
	if (up_port != 0)
		pthread_create(&thread, NULL, serve_calls, (void *)(intptr_t)listen_on(up_port));
	wait_for_server();
	for (i = 0; i < phase_count; i++) {
		run_phase(i);
		printf("phase %d\n", i);
		fflush(stdout);
	}
	judge_parents();
	print_results();
	return 0;
}

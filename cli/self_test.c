/*
 * The self-test: a few programs of the kinds that interposers break, bare and then preloaded, compared in output, errors and
 * exit status; and whether lines and requests are traced at all.
 *
 * Server and client are this program once more under another name (the object leaves a program called traceshim alone): so
 * nothing has to be installed, and both are ordinary C programs. Every run is bounded in time and in output, and what
 * does not end is killed by its pid. The environment is cleared of configuration: it is the machine that is asked about.
 *
 * Uses: fork, exec, pipes, one listener on 127.0.0.1 with a port of the kernel's choice.
 */
#include "self_test.h"

#include <arpa/inet.h>
#include <cjson/cJSON.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "find.h"
#include "text.h"

#define RUN_MS 15000
#define OUTPUT_MAX 65536
#define LISTENER 3 /* the descriptor of the server */
#define REQUESTS 3

#define RESPONSE "HTTP/1.1 200 OK\r\nContent-Length: 10\r\nConnection: close\r\n\r\nself-test\n"
#define SERVED "self-test: a request was served"

/* ---- the server and the client ---- */

/* A head, up to its blank line; the length, or 0. */
static size_t read_head(int fd, char *head, size_t size)
{
	size_t len = 0;
	ssize_t n;

	while (len + 1 < size && (n = read(fd, head + len, size - 1 - len)) > 0) {
		len += (size_t)n;
		head[len] = '\0';
		if (strstr(head, "\r\n\r\n"))
			return len;
	}
	return 0;
}

int self_test_server(int argc, char **argv)
{
	char head[4096];
	int i;

	(void)argc, (void)argv;
	for (i = 0; i < REQUESTS; i++) {
		int fd = accept(LISTENER, NULL, NULL);

		if (fd < 0 || !read_head(fd, head, sizeof(head)))
			return EXIT_FAILURE;
		printf(SERVED "%s\n", strstr(head, "\r\ntraceparent: 00-") ? " with a trace" : "");
		fflush(stdout);
		if (write(fd, RESPONSE, sizeof(RESPONSE) - 1) != (ssize_t)sizeof(RESPONSE) - 1)
			return EXIT_FAILURE;
		close(fd);
	}
	return EXIT_SUCCESS;
}

/* Sends one request in two pieces to the port that is its argument, and prints what comes back on stderr. */
int self_test_client(int argc, char **argv)
{
	static const char first[] = "GET / HTTP/1.1\r\nHost: local", second[] = "host\r\n\r\n";
	struct sockaddr_in addr = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	char buf[4096];
	int fd = socket(AF_INET, SOCK_STREAM, 0);
	ssize_t n;

	addr.sin_port = htons((uint16_t)(argc > 1 ? atoi(argv[1]) : 0));
	if (fd < 0 || connect(fd, (struct sockaddr *)&addr, sizeof(addr)) != 0 ||
	    write(fd, first, sizeof(first) - 1) != (ssize_t)sizeof(first) - 1 ||
	    send(fd, second, sizeof(second) - 1, 0) != (ssize_t)sizeof(second) - 1)
		return EXIT_FAILURE;
	while ((n = recv(fd, buf, sizeof(buf), 0)) > 0)
		fwrite(buf, 1, (size_t)n, stderr);
	return n == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}

/* ---- running programs ---- */

struct outcome {
	char out[OUTPUT_MAX], err[OUTPUT_MAX];
	size_t out_len, err_len;
	int status; /* as wait gives it; -1: it did not end, or could not be started */
};

/* How a program is started. */
struct setting {
	const char *preload; /* value of LD_PRELOAD; NULL: none */
	const char *log;     /* TRACESHIM_LOG */
	int listener;        /* becomes LISTENER; -1: none */
};

static void clear_configuration(void)
{
	size_t i = 0;

	while (environ[i]) {
		char name[64];
		size_t len = strcspn(environ[i], "=");

		/* Where status pages are is no behaviour. */
		if (len < sizeof(name) && strncmp(environ[i], "TRACESHIM_RUN_DIR=", 18) != 0 &&
		    (strncmp(environ[i], "TRACESHIM_", 10) == 0 || strncmp(environ[i], "OTEL_", 5) == 0 ||
		     strncmp(environ[i], "TRACEPARENT=", 12) == 0)) {
			memcpy(name, environ[i], len);
			name[len] = '\0';
			unsetenv(name);
		} else {
			i++;
		}
	}
}

static void become(char *const argv[], const char *path, const struct setting *setting, int out, int err)
{
	if (setting->preload)
		setenv("LD_PRELOAD", setting->preload, 1);
	else
		unsetenv("LD_PRELOAD");
	setenv("TRACESHIM_LOG", setting->log, 1);
	if (setting->listener == LISTENER)
		(void)fcntl(LISTENER, F_SETFD, 0);
	else if (setting->listener >= 0 && dup2(setting->listener, LISTENER) < 0)
		_exit(126);
	dup2(out, STDOUT_FILENO);
	dup2(err, STDERR_FILENO);
	execvp(path, argv);
	_exit(127);
}

/* Returns the pid, with the ends to read from in `ends`; -1: not started. */
static pid_t start(char *const argv[], const char *path, const struct setting *setting, int ends[2])
{
	int out[2] = { -1, -1 }, err[2] = { -1, -1 };
	pid_t pid = -1;

	/* The pipes come behind the listener, so none of their ends is LISTENER. */
	if (pipe2(out, O_CLOEXEC) == 0 && pipe2(err, O_CLOEXEC) == 0)
		pid = fork();
	if (pid == 0)
		become(argv, path, setting, out[1], err[1]);
	close(out[1]);
	close(err[1]);
	ends[0] = out[0];
	ends[1] = err[0];
	return pid;
}

static long now_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

/* Some output, or the end of it. False when there is no more to come. */
static bool take_output(int fd, char *text, size_t *len)
{
	char lost[4096];
	bool room = *len < OUTPUT_MAX;
	ssize_t n = read(fd, room ? text + *len : lost, room ? OUTPUT_MAX - *len : sizeof(lost));

	if (n > 0 && room)
		*len += (size_t)n;
	return n > 0 || (n < 0 && errno == EINTR);
}

/* Read all that it writes, and wait for its end. */
static void finish(pid_t pid, int ends[2], struct outcome *o)
{
	struct pollfd fds[2] = { { ends[0], POLLIN, 0 }, { ends[1], POLLIN, 0 } };
	long until = now_ms() + RUN_MS;

	o->out_len = o->err_len = 0;
	o->status = -1;
	while (pid > 0 && (fds[0].fd >= 0 || fds[1].fd >= 0) && now_ms() < until) {
		if (poll(fds, 2, (int)(until - now_ms())) < 0 && errno != EINTR)
			break;
		if (fds[0].revents && !take_output(ends[0], o->out, &o->out_len))
			fds[0].fd = -1;
		if (fds[1].revents && !take_output(ends[1], o->err, &o->err_len))
			fds[1].fd = -1;
	}
	if (pid > 0) {
		bool over = fds[0].fd < 0 && fds[1].fd < 0;

		if (!over)
			kill(pid, SIGKILL);
		if (waitpid(pid, &o->status, 0) != pid || !over)
			o->status = -1;
	}
	close(ends[0]);
	close(ends[1]);
}

static void run(char *const argv[], const struct setting *setting, struct outcome *o)
{
	int ends[2];
	pid_t pid = start(argv, argv[0], setting, ends);

	finish(pid, ends, o);
}

/* ---- the checks ---- */

enum result { RESULT_OK, RESULT_UNTRACED, RESULT_DIFFERENT, RESULT_ERROR }; /* as the exit status */

struct check {
	const char *name;
	enum result result;
	char text[256];
};

static void judge(struct check *check, const char *name, enum result result, const char *text)
{
	check->name = name;
	check->result = result;
	snprintf(check->text, sizeof(check->text), "%s", text);
}

/* Where two outcomes differ, in words; NULL: nowhere. */
static const char *difference(const struct outcome *a, const struct outcome *b)
{
	if (b->status == -1)
		return "it does not come to its end with the object";
	if (a->status != b->status)
		return "another exit status with the object";
	if (a->err_len != b->err_len || memcmp(a->err, b->err, a->err_len) != 0)
		return "something else on its standard error with the object";
	if (a->out_len != b->out_len || memcmp(a->out, b->out, a->out_len) != 0)
		return "something else on its standard output with the object";
	return NULL;
}

static struct outcome bare, traced;

static void compare(struct check *check, const char *name, char *const argv[], const char *preload, const char *own)
{
	const struct setting without = { own, "off", -1 }, with = { preload, "off", -1 };
	const char *differs;

	run(argv, &without, &bare);
	run(argv, &with, &traced);
	differs = difference(&bare, &traced);
	if (bare.status == -1)
		judge(check, name, RESULT_ERROR, "it could not be run without the object");
	else if (differs)
		judge(check, name, RESULT_DIFFERENT, differs);
	else
		judge(check, name, RESULT_OK, "the same output and exit status as without the object");
}

/* Are its lines records? */
static void check_records(struct check *check, const char *preload)
{
	char *argv[] = { "echo", "a line of the self-test", NULL };
	const struct setting with = { preload, "json", -1 };

	run(argv, &with, &traced);
	if (traced.status != 0 || traced.err_len > 0)
		judge(check, "records", RESULT_DIFFERENT, "echo fails when its lines are rewritten");
	else if (memmem(traced.out, traced.out_len, "\"message\":\"a line of the self-test\"", 35))
		judge(check, "records", RESULT_OK, "a printed line becomes a JSON record");
	else if (memmem(traced.out, traced.out_len, argv[1], strlen(argv[1])))
		judge(check, "records", RESULT_UNTRACED,
		      "a printed line passes as it is: this libc's stdio cannot be hooked");
	else
		judge(check, "records", RESULT_DIFFERENT, "a printed line is lost");
}

static int listen_somewhere(uint16_t *port)
{
	struct sockaddr_in addr = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t len = sizeof(addr);
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (fd >= 0 && bind(fd, (struct sockaddr *)&addr, len) == 0 && listen(fd, 8) == 0 &&
	    getsockname(fd, (struct sockaddr *)&addr, &len) == 0) {
		*port = ntohs(addr.sin_port);
		return fd;
	}
	if (fd >= 0)
		close(fd);
	return -1;
}

/* One server and its clients; what the server wrote is in `traced`. Returns what went wrong, or NULL. */
static const char *serve(const char *preload)
{
	static struct outcome answer;
	char number[8], *server[] = { "self-test-server", NULL }, *client[] = { "self-test-client", number, NULL };
	const char *wrong = NULL;
	uint16_t port = 0;
	int ends[2], client_ends[2], listener = listen_somewhere(&port), i;
	struct setting with = { preload, "json", listener };
	pid_t pid;

	if (listener < 0)
		return "there is no loopback interface to test with";
	snprintf(number, sizeof(number), "%u", port);
	pid = start(server, "/proc/self/exe", &with, ends);
	close(listener);
	with.listener = -1;
	for (i = 0; i < REQUESTS; i++) {
		finish(start(client, "/proc/self/exe", &with, client_ends), client_ends, &answer);
		/* What a client prints is made into records as well: whether it is whole is seen by its end. */
		if (answer.status != 0 || !memmem(answer.err, answer.err_len, "self-test", 9))
			wrong = "a client does not get its response with the object";
	}
	if (wrong && pid > 0)
		kill(pid, SIGTERM);
	finish(pid, ends, &traced);
	if (!wrong && traced.status != 0)
		wrong = "a server fails with the object";
	return wrong;
}

static void check_server(struct check *check, const char *preload, const char *own)
{
	const char *wrong = serve(own);

	if (wrong) {
		judge(check, "server", RESULT_ERROR, "a server and its clients could not be run without the object");
		return;
	}
	wrong = serve(preload);
	if (wrong)
		judge(check, "server", RESULT_DIFFERENT, wrong);
	else if (!memmem(traced.out, traced.out_len, "\"trace_id\":\"", 12))
		judge(check, "server", RESULT_UNTRACED,
		      "requests are answered, but the lines that they print have no trace id");
	else if (!memmem(traced.out, traced.out_len, SERVED " with a trace", sizeof(SERVED " with a trace") - 1))
		judge(check, "server", RESULT_UNTRACED,
		      "requests are answered and traced, but made without trace headers");
	else
		judge(check, "server", RESULT_OK,
		      "requests are answered, and traced from the client's call to the server's line");
}

/* ---- the report ---- */

static const char *const result_words[] = { "ok", "untraced", "DIFFERENT", "error" };
static const char *const verdicts[] = { "safe to use on this machine: programs run the same, and are traced",
	                                "safe to use on this machine, but not everything is traced",
	                                "NOT safe to use on this machine: a program behaves differently",
	                                "not known: a test could not be made" };

static bool print_json(const struct check *checks, size_t count, const char *object, enum result worst)
{
	static const char *const words[] = { "ok", "untraced", "different", "error" };
	cJSON *tree = cJSON_CreateObject(), *list = cJSON_AddArrayToObject(tree, "checks");
	size_t i;

	text_add_json(tree, "object", object);
	cJSON_AddBoolToObject(tree, "safe", worst <= RESULT_UNTRACED);
	cJSON_AddStringToObject(tree, "result", words[worst]);
	for (i = 0; i < count; i++) {
		cJSON *item = cJSON_CreateObject();

		cJSON_AddStringToObject(item, "name", checks[i].name);
		cJSON_AddStringToObject(item, "result", words[checks[i].result]);
		cJSON_AddStringToObject(item, "text", checks[i].text);
		cJSON_AddItemToArray(list, item);
	}
	return text_print_json(tree);
}

static bool print(const struct check *checks, size_t count, const char *object, enum result worst)
{
	size_t i;

	printf("self-test with ");
	text_put(stdout, object);
	printf("\n");
	for (i = 0; i < count; i++)
		printf("  %-9s %-9s %s\n", checks[i].name, result_words[checks[i].result], checks[i].text);
	printf("%s\n", verdicts[worst]);
	return fflush(stdout) == 0;
}

int self_test_run(const char *given, bool json)
{
	static char list[] = "ls", root[] = "/", shell[] = "sh", command[] = "-c";
	static char script[] =
		"x=$(printf '%s\\n' b a c | sort | sed 's/a/one/'); echo \"$x\" | (read -r first; echo \"$first\"; cat) >&2; "
		"for i in 1 2 3; do (exit $i) || echo \"$i $?\"; done; exit 7";
	char *const ls[] = { list, root, NULL }, *const sh[] = { shell, command, script, NULL };
	const char *before = getenv("LD_PRELOAD"), *obstacle;
	char object[PATH_MAX], *preload;
	struct check checks[4];
	enum result worst = RESULT_OK;
	size_t i;

	if (!find_object(object, given)) {
		text_error("doctor: the object %s was not found; name it with --library", object);
		return RESULT_ERROR;
	}
	obstacle = find_preload_obstacle(object);
	if (obstacle) {
		text_error("doctor: the object %s cannot be preloaded for its path: %s", object, obstacle);
		return RESULT_ERROR;
	}
	/* What else is preloaded is there in both runs. */
	if (before && strstr(before, "libtraceshim.so"))
		before = NULL;
	preload = find_preload_value(before, object);
	if (!preload)
		return RESULT_ERROR;
	clear_configuration();
	compare(&checks[0], "ls", ls, preload, before);
	compare(&checks[1], "shell", sh, preload, before);
	check_records(&checks[2], preload);
	check_server(&checks[3], preload, before);
	for (i = 0; i < 4; i++)
		if (checks[i].result > worst)
			worst = checks[i].result;
	/* A difference that was seen weighs more than a test that could not be made. */
	for (i = 0; i < 4; i++)
		if (checks[i].result == RESULT_DIFFERENT)
			worst = RESULT_DIFFERENT;
	free(preload);
	return (json ? print_json(checks, 4, object, worst) : print(checks, 4, object, worst)) ? (int)worst :
	                                                                                         RESULT_ERROR;
}

/*
 * The agent is a program of its own beside this one, so that run, doctor and status need none of its libraries.
 *
 * An agent beside a program must not show: this process becomes the program, so its pid, exit status, signals and terminal are
 * the program's own. Hence the agent is a grandchild, adopted by init (the program would otherwise have a child that it does
 * not know, and a SIGCHLD for it), in a session of its own (no terminal, no ^C), and holds none of our descriptors but standard
 * error, for its messages. It watches us by a pidfd and ends after a last drain when the tree has ended.
 *
 * The rings get a folder of their own, unless TRACESHIM_RUN_DIR names one. Where root starts a server whose workers are another
 * user, these must be able to make files in it: so root's folder can be written, but not listed, by all.
 */
#include "agent_start.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/limits.h> /* PATH_MAX */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "command.h"
#include "status_file.h"
#include "text.h"

#ifndef TRACESHIM_LIBDIR
#define TRACESHIM_LIBDIR "/usr/local/lib/traceshim"
#endif

/* Beside this program (build tree), else where it was installed to. */
static bool agent_find(char path[PATH_MAX])
{
	static const char *const places[] = { "%.*s/" AGENT_NAME, "%.*s/../lib/traceshim/" AGENT_NAME };
	char self[PATH_MAX];
	ssize_t n = readlink("/proc/self/exe", self, sizeof(self) - 1);
	char *slash;

	self[n > 0 ? n : 0] = '\0';
	slash = strrchr(self, '/');
	for (size_t i = 0; slash && i < sizeof(places) / sizeof(places[0]); i++)
		if (snprintf(path, PATH_MAX, places[i], (int)(slash - self), self) < PATH_MAX &&
		    access(path, X_OK) == 0)
			return true;
	snprintf(path, PATH_MAX, "%s/" AGENT_NAME, TRACESHIM_LIBDIR);
	return access(path, X_OK) == 0;
}

int agent_exec(char **argv)
{
	char path[PATH_MAX];

	if (!agent_find(path)) {
		text_error("agent: " AGENT_NAME " is neither beside traceshim nor in " TRACESHIM_LIBDIR);
		return EXIT_FAILURE;
	}
	argv[0] = path;
	/* It is a tool, not a guest, whatever the environment says. */
	setenv("TRACESHIM_ENABLED", "off", 1);
	execv(path, argv);
	text_error("agent: %s: %s", path, strerror(errno));
	return EXIT_FAILURE;
}

int agent_exec_command(int argc, char **argv)
{
	(void)argc;
	return agent_exec(argv);
}

bool agent_is_wished(const struct agent_wish *wish)
{
	return wish->otlp || wish->loki || wish->spans || wish->ui;
}

/* The folder that is given, or a new one; `made` tells which. */
static bool agent_choose_folder(char folder[PATH_MAX], bool *made)
{
	const char *given = status_run_dir_given(), *tmp = getenv("TMPDIR");

	*made = !given;
	if (!*made)
		return snprintf(folder, PATH_MAX, "%s", given) < PATH_MAX;
	if (!tmp || *tmp != '/')
		tmp = "/tmp";
	if (snprintf(folder, PATH_MAX, "%s/traceshim-run-XXXXXX", tmp) >= PATH_MAX || !mkdtemp(folder)) {
		text_error("run: a folder for the spans cannot be made in %s: %s", tmp, strerror(errno));
		return false;
	}
	if (geteuid() == 0)
		(void)chmod(folder, 01733);
	return true;
}

static size_t agent_add(char **argv, size_t count, const char *name, const char *value)
{
	if (!value)
		return count;
	argv[count++] = (char *)name;
	argv[count++] = (char *)value;
	return count;
}

/* In the grandchild. */
static void agent_become(const struct agent_wish *wish, const char *folder, bool private, pid_t program, int ready)
{
	char pid[16], *argv[20], ui[300];
	size_t count = 1;
	int null;

	/* Out of the way first: where standard descriptors were closed, the pipe and the null device have their numbers. */
	ready = fcntl(ready, F_DUPFD_CLOEXEC, 4);
	null = open("/dev/null", O_RDWR);
	if (setsid() < 0 || null < 0 || ready < 0)
		_exit(EXIT_FAILURE);
	dup2(null, STDIN_FILENO);
	dup2(null, STDOUT_FILENO);
	if ((fcntl(STDERR_FILENO, F_GETFD) & FD_CLOEXEC) != 0)
		dup2(null, STDERR_FILENO);
	if (dup2(ready, 3) < 0)
		_exit(EXIT_FAILURE);
	closefrom(4);
	snprintf(pid, sizeof(pid), "%d", (int)program);
	count = agent_add(argv, count, "--otlp", wish->otlp);
	count = agent_add(argv, count, "--loki", wish->loki);
	count = agent_add(argv, count, "--spans", wish->spans);
	count = agent_add(argv, count, "--run-dir", folder);
	count = agent_add(argv, count, "--for-pid", pid);
	count = agent_add(argv, count, "--ready-fd", "3");
	if (private)
		argv[count++] = (char *)"--private";
	if (wish->ui) {
		snprintf(ui, sizeof(ui), *wish->ui ? "--ui=%s" : "--ui", wish->ui);
		argv[count++] = ui;
	}
	argv[count] = NULL;
	(void)agent_exec(argv);
	_exit(EXIT_FAILURE);
}

static bool agent_is_ready(int fd)
{
	char said[8];
	ssize_t n;

	do
		n = read(fd, said, sizeof(said));
	while (n < 0 && errno == EINTR);
	close(fd);
	return n > 0;
}

/* Returns the end of a pipe where the agent says that it is ready; -1 with errno. */
static int agent_fork(const struct agent_wish *wish, const char *folder, bool private)
{
	pid_t program = getpid(), child;
	int ready[2];

	if (pipe2(ready, O_CLOEXEC) != 0)
		return -1;
	child = fork();
	if (child == 0) {
		child = fork();
		if (child == 0)
			agent_become(wish, folder, private, program, ready[1]);
		_exit(child < 0);
	}
	close(ready[1]);
	if (child > 0) {
		while (waitpid(child, NULL, 0) < 0 && errno == EINTR)
			;
		return ready[0];
	}
	close(ready[0]);
	return -1;
}

bool agent_start_beside(const struct agent_wish *wish)
{
	static char folder[PATH_MAX];
	bool made;
	int fd;

	if (!agent_choose_folder(folder, &made))
		return false;
	fd = agent_fork(wish, folder, made);
	if (fd >= 0 && agent_is_ready(fd)) {
		unsetenv("TRACESHIM_TOKEN"); /* the program need not know it */
		return setenv("TRACESHIM_RUN_DIR", folder, 1) == 0 && setenv("TRACESHIM_EXPORT", "traces,logs", 0) == 0;
	}
	if (fd < 0)
		text_error("run: the agent cannot be started: %s", strerror(errno));
	else
		text_error("run: the agent did not start");
	if (made)
		(void)rmdir(folder);
	return false;
}

/*
 * Children and programs, started in every way: `process_guest CASE`.
 */
#include <dlfcn.h>
#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <pthread.h>
#include <sched.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

extern char **environ;

static int ended(pid_t pid)
{
	int status = -1;

	return waitpid(pid, &status, 0) == pid ? status : -1;
}

static void tell(const char *what, long result)
{
	printf("%s: %ld\n", what, result);
	fflush(stdout);
}

static char *echo[] = { "echo", "from", "the child", NULL };

static void exec_family(void)
{
	static char *few[] = { "A=b", "PATH=/bin", NULL, NULL };
	static char preload[512];
	char *const *envs[] = { environ, few };
	int i;

	if (getenv("LD_PRELOAD") != NULL) {
		snprintf(preload, sizeof(preload), "LD_PRELOAD=%s", getenv("LD_PRELOAD"));
		few[2] = preload;
	}
	for (i = 0; i < 10; i++) {
		pid_t pid = fork();

		if (pid == 0) {
			switch (i) {
			case 0: execv("/bin/echo", echo); break;
			case 1: execve("/bin/echo", echo, envs[1]); break;
			case 2: execvp("echo", echo); break;
			case 3: execvpe("echo", echo, envs[0]); break;
			case 4: execl("/bin/echo", "echo", "execl", "2", "3", NULL); break;
			case 5: execlp("echo", "echo", "execlp", NULL); break;
			case 6: execle("/bin/echo", "echo", "execle", NULL, envs[1]); break;
			case 7: fexecve(open("/bin/echo", O_RDONLY | O_CLOEXEC), echo, environ); break;
			case 8: execl("/nowhere", "nowhere", NULL); break;
			default: execlp("no-such-program", "x", NULL); break;
			}
			_exit(errno);
		}
		tell("exec", ended(pid));
	}
}

static void vforks(void)
{
	static int i; /* on no stack that a child could write to */

	for (i = 0; i < 3; i++) {
		pid_t pid = vfork();

		if (pid == 0) {
			close(0);
			dup2(1, 5);
			close(1);
			dup2(5, 1);
			if (i == 0)
				execv("/bin/echo", echo);
			if (i == 1) {
				/* A child of the child, which borrows the same memory. */
				if (vfork() == 0)
					execv("/bin/echo", echo);
			}
			_exit(i);
		}
		tell("vfork", ended(pid));
		printf("the parent's log is a log %d\n", i);
		fflush(stdout);
	}
	while (wait(NULL) > 0)
		;
	tell("stdin is open", fcntl(0, F_GETFD) >= 0);
	tell("5 is closed", fcntl(5, F_GETFD) < 0);
}

static void spawns(void)
{
	posix_spawn_file_actions_t actions;
	pid_t pid;

	posix_spawn_file_actions_init(&actions);
	posix_spawn_file_actions_adddup2(&actions, 1, 2);
	tell("spawn", posix_spawn(&pid, "/bin/echo", &actions, NULL, echo, environ));
	tell("ended", ended(pid));
	tell("spawnp", posix_spawnp(&pid, "echo", NULL, NULL, echo, environ));
	tell("ended", ended(pid));
	tell("none", posix_spawn(&pid, "/nowhere", NULL, NULL, echo, environ));
	tell("system", system("echo from the shell; exit 3"));
	tell("no shell", system(NULL));
}

static void pipes(void)
{
	char line[100] = "";
	FILE *child = popen("echo data for the parent; echo a word of the child >&2", "r");

	tell("read", fgets(line, sizeof(line), child) != NULL);
	tell("data", strcmp(line, "data for the parent\n"));
	tell("pclose", pclose(child));
	child = popen("read line; echo got \"$line\"", "w");
	fprintf(child, "from the parent\n");
	tell("pclose", pclose(child));
}

static int in_clone(void *arg)
{
	printf("%s in a clone\n", (char *)arg);
	fflush(stdout);
	_exit(4);
}

static void clones(void)
{
	static char stack[65536] __attribute__((aligned(16)));
	pid_t pid = clone(in_clone, stack + sizeof(stack), SIGCHLD, "printed");

	tell("clone", ended(pid));
	pid = _Fork();
	if (pid == 0) {
		printf("in the child of _Fork\n");
		fflush(stdout);
		_exit(5);
	}
	tell("_Fork", ended(pid));
}

static void say_who(const char *how)
{
	printf("%s: I am %d\n", how, (int)getpid());
	fflush(stdout);
}

static void say_who_in(const char *how, pid_t pid)
{
	if (pid == 0) {
		say_who(how);
		_exit(0);
	}
	ended(pid);
}

extern pid_t __fork(void);

static void forks(void)
{
	pid_t pid;

	say_who("the first");
	say_who_in("fork", fork());
	say_who_in("__fork", __fork());
	say_who_in("_Fork", _Fork());
	pid = fork();
	if (pid == 0) {
		say_who("to be a daemon");
		say_who_in("its child", fork());
		if (daemon(1, 1) == 0)
			say_who("daemon");
		_exit(0);
	}
	ended(pid);
}

static void in_handler(void)
{
	say_who("a handler");
}

static void forks_with_handlers(void)
{
	say_who("the first");
	pthread_atfork(NULL, NULL, in_handler);
	say_who_in("fork", fork());
}

/* Found by name in libc itself. */
static void forks_unseen(void)
{
	pid_t (*unseen)(void);
	void *libc;

	say_who("the first");
	libc = dlopen("libc.so.6", RTLD_LAZY);
	unseen = (pid_t(*)(void))dlsym(libc, "fork");
	say_who_in("fork", unseen());
}

/* Nothing of what was set is needed any more. */
static void clears_environment(void)
{
	clearenv();
	tell("entries", environ == NULL || *environ == NULL);
	spawns();
	printf("still a log\n");
}

static void changes_root(void)
{
	char room[] = "/tmp/process_guest.XXXXXX";

	if (mkdtemp(room) == NULL)
		err(1, "mkdtemp");
	printf("before\n");
	fflush(stdout);
	if (chroot(room) != 0 || chdir("/") != 0)
		tell("chroot", errno);
	printf("in the new root\n");
	fflush(stdout);
	tell("setgroups", setgroups(0, NULL));
	tell("setgid", setgid(65534));
	tell("setuid", setuid(65534));
	if (fork() == 0) {
		printf("a child without rights\n");
		exit(0);
	}
	wait(NULL);
	dprintf(2, "an end without rights\n");
}

static void little_memory(void)
{
	struct rlimit now = { 0, 0 };
	char *at, line[200] = "";
	FILE *maps = fopen("/proc/self/statm", "r");
	int i;

	if (fgets(line, sizeof(line), maps) == NULL)
		err(1, "statm");
	fclose(maps);
	/* Not a page more than there is. */
	now.rlim_cur = now.rlim_max = (rlim_t)strtoul(line, &at, 10) * 4096;
	tell("setrlimit", setrlimit(RLIMIT_AS, &now));
	for (i = 0; i < 200; i++) {
		dprintf(1, "line %d ", i);
		dprintf(1, "without memory\n");
		if (write(1, "another", 7) != 7 || write(1, " line\n", 6) != 6)
			_exit(1);
	}
}

int main(int argc, char **argv)
{
	static const struct {
		const char *name;
		void (*run)(void);
	} cases[] = {
#define CASE(name) { #name, name }
		CASE(exec_family),  CASE(vforks),
		CASE(spawns),       CASE(pipes),
		CASE(clones),       CASE(clears_environment),
		CASE(changes_root), CASE(little_memory),
		CASE(forks),        CASE(forks_with_handlers),
		CASE(forks_unseen),
	};
	size_t i;

	for (i = 0; argc > 1 && i < sizeof(cases) / sizeof(cases[0]); i++) {
		if (strcmp(cases[i].name, argv[1]) == 0) {
			cases[i].run();
			return 0;
		}
	}
	errx(2, "no such case");
}

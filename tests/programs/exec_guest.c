/*
 * Programs that are started in ways that few use, each with a pipe for its output: what comes out of the pipe is the starter's data,
 * and is printed. exec_guest wordexp | execveat | number | number_at | inline
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>
#include <wordexp.h>

extern char **environ;

#ifdef GO
/* What a Go program exports that has C in it. Its runtime makes its own system calls, and copies its environment from the stack. */
extern void _cgo_topofstack(void);
void _cgo_topofstack(void)
{
}
#endif

static char *arguments[] = { (char[]){ "echo" }, (char[]){ "data of my own" }, NULL };

static void start(const char *how, char **envp)
{
	static const char echo[] = "/bin/echo";

	if (strcmp(how, "execveat") == 0)
		execveat(AT_FDCWD, echo, arguments, envp, 0);
	if (strcmp(how, "number") == 0)
		syscall(SYS_execve, echo, arguments, envp);
	if (strcmp(how, "number_at") == 0)
		syscall(SYS_execveat, AT_FDCWD, echo, arguments, envp, 0);
	if (strcmp(how, "inline") == 0)
		__asm__ volatile("syscall" ::"a"(SYS_execve), "D"(echo), "S"(arguments), "d"(envp)
		                 : "rcx", "r11", "memory");
}

static int words(void)
{
	wordexp_t found;
	int status = wordexp("a $(echo b; echo c) `echo d`", &found, 0);
	size_t i;

	for (i = 0; status == 0 && i < found.we_wordc; i++)
		printf("<%s> ", found.we_wordv[i]);
	printf("status %d\n", status);
	return status;
}

int main(int argc, char *argv[], char *envp[])
{
	char text[512];
	ssize_t len;
	pid_t child;
	int fds[2];

	if (argc < 2)
		return 2;
	if (strcmp(argv[1], "wordexp") == 0)
		return words();
	if (pipe(fds) != 0 || (child = fork()) < 0)
		return 1;
	if (child == 0) {
		dup2(fds[1], STDOUT_FILENO);
		close(fds[0]);
		close(fds[1]);
		start(argv[1], strcmp(argv[1], "inline") == 0 ? envp : environ);
		_exit(errno);
	}
	close(fds[1]);
	len = read(fds[0], text, sizeof(text));
	waitpid(child, NULL, 0);
	printf("read: %.*s", (int)len, text);
	return 0;
}

/*
 * Processes that may do little: `torture_limits CASE DIR`. Sandboxes that kill for a system call too many, limits of all kinds,
 * descriptors that are missing from the start, peers that are gone.
 */
#include "torture.h"

#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <sys/prctl.h>

/* ---- seccomp ---- */

static struct wire wire;
static int pipes[2];

static void prepare(bool warm)
{
	wire = wire_dial();
	must(pipe(pipes) == 0, "pipe");
	if (warm) {
		TRY(write(1, "before\n", 7));
		TRY(write(wire.fd, HEAD, sizeof(HEAD) - 1));
		TRY(write(pipes[1], "x", 1));
	}
}

/* Only read, write, exit and sigreturn from here on. */
static void confined_strictly(void)
{
	char room[10];
	int i;

	TRY(write(1, "a line\n", 7));
	TRY(write(1, "half", 4));
	TRY(write(1, " a line\n", 8));
	for (i = 0; i < 300; i++)
		TRY(write(2, "many lines\n", 11));
	TRY(write(wire.fd, HEAD, sizeof(HEAD) - 1));
	TRY(write(wire.fd, HEAD, 20));
	TRY(write(wire.fd, HEAD + 20, sizeof(HEAD) - 21));
	TRY(write(pipes[1], "data", 4));
	TRY(read(pipes[0], room, 4));
	trail("done");
	raw(SYS_exit, 3, 0, 0);
}

static void *enter_strict(void *how)
{
	switch ((int)(intptr_t)how % 3) {
	case 0: must(prctl(PR_SET_SECCOMP, SECCOMP_MODE_STRICT) == 0, "prctl"); break;
	case 1: must(syscall(SYS_prctl, PR_SET_SECCOMP, SECCOMP_MODE_STRICT, 0, 0, 0) == 0, "syscall prctl"); break;
	default: must(syscall(SYS_seccomp, SECCOMP_SET_MODE_STRICT, 0, NULL) == 0, "seccomp"); break;
	}
	confined_strictly();
	return NULL;
}

/* In children: what became of them is told outside. */
static void seccomp_strict(void)
{
	int how;

	for (how = 0; how < 9; how++) {
		int status;
		pid_t pid;

		prepare(how % 2 == 1);
		pid = fork();
		if (pid == 0) {
			pthread_t thread;

			if (how < 6)
				enter_strict((void *)(intptr_t)how);
			/* One thread only: the process goes on. */
			pthread_create(&thread, NULL, enter_strict, (void *)(intptr_t)how);
			pthread_join(thread, NULL);
			TRY(write(1, "another thread\n", 15));
			_exit(4);
		}
		close(wire.fd);
		close(pipes[1]);
		wire_note("strict", &wire, -1);
		waitpid(pid, &status, 0);
		trail("ended with %x", status);
		close(pipes[0]);
	}
}

/* Everything but these is a trap, which tells the trail what it was. */
static const unsigned allowed[] = { SYS_read,  SYS_write,      SYS_writev, SYS_sendto,       SYS_recvfrom,
	                            SYS_close, SYS_exit_group, SYS_exit,   SYS_rt_sigreturn, SYS_sendmsg };

static void trapped(int signal, siginfo_t *info, void *context)
{
	(void)signal;
	(void)context;
	trail("trapped %d", info->si_syscall);
}

static void install(unsigned how, unsigned otherwise)
{
	enum { COUNT = sizeof(allowed) / sizeof(allowed[0]) };
	struct sock_filter code[2 * COUNT + 2];
	struct sock_fprog program = { .filter = code };
	struct sigaction action = { .sa_sigaction = trapped, .sa_flags = SA_SIGINFO };
	unsigned i, n = 0;

	sigaction(SIGSYS, &action, NULL);
	must(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0, "no new privileges");
	code[n++] = (struct sock_filter)BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr));
	for (i = 0; i < COUNT; i++) {
		code[n++] = (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, allowed[i], 0, 1);
		code[n++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW);
	}
	code[n++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, otherwise);
	program.len = (unsigned short)n;
	switch (how) {
	case 0: must(prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) == 0, "prctl"); break;
	case 1: must(syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &program) == 0, "seccomp"); break;
	default:
		must(syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_TSYNC, &program) == 0,
		     "seccomp for all threads");
		break;
	}
}

static void confined(void)
{
	char room[100];
	struct iovec pieces[2] = { { "in two ", 7 }, { "pieces\n", 7 } };
	int i;

	TRY(write(1, "a line\n", 7));
	TRY(writev(1, pieces, 2));
	TRY(write(2, "half", 4));
	TRY(write(2, " a line\n", 8));
	for (i = 0; i < 300; i++)
		TRY(write(2, "many lines\n", 11));
	setvbuf(stdout, NULL, _IONBF, 0);
	TRY(fputs("by a stream\n", stdout));
	TRY(write(wire.fd, HEAD, 20));
	TRY(writev(wire.fd, &(struct iovec){ HEAD + 20, sizeof(HEAD) - 21 }, 1));
	TRY(send(wire.fd, HEAD, sizeof(HEAD) - 1, 0));
	TRY(recv(wire.fd, room, sizeof(room), 0));
	TRY(write(pipes[1], "data", 4));
	TRY(read(pipes[0], room, 4));
	TRY(close(wire.fd));
	TRY(close(pipes[0]));
	TRY(write(1, "the end\n", 8));
}

static void seccomp_filter(void)
{
	unsigned how;

	for (how = 0; how < 12; how++) {
		unsigned otherwise = how % 2 == 0 ? SECCOMP_RET_TRAP : SECCOMP_RET_KILL_PROCESS;
		int status;
		pid_t pid;

		prepare(how >= 6);
		peer_send(&wire, ANSWER, sizeof(ANSWER) - 1);
		pid = fork();
		if (pid == 0) {
			install(how % 3, otherwise);
			confined();
			_exit(5);
		}
		close(wire.fd);
		close(pipes[1]);
		wire_note("filter", &wire, -1);
		waitpid(pid, &status, 0);
		trail("ended with %x", status);
		close(pipes[0]);
	}
	/* A sandbox that is refused is none. */
	TRY(prctl(PR_SET_SECCOMP, 77));
	TRY(syscall(SYS_seccomp, 77, 0, NULL));
	TRY(prctl(PR_GET_SECCOMP));
	TRY(prctl(PR_SET_NAME, "renamed"));
	TRY(dprintf(1, "a record, as before\n"));
}

/* ---- limits ---- */

static void set_limit(int resource, rlim_t value)
{
	struct rlimit limit;

	getrlimit(resource, &limit);
	limit.rlim_cur = value;
	must(setrlimit(resource, &limit) == 0, "setrlimit");
}

/* Nothing that the program does writes to a file. */
static void no_file_size(void)
{
	struct wire served;
	char room[200];
	int i;

	set_limit(RLIMIT_FSIZE, 0);
	served = wire_serve();
	peer_send(&served, HEAD, sizeof(HEAD) - 1);
	TRY(read(served.fd, room, sizeof(room)));
	for (i = 0; i < 400; i++)
		printf("line %d\n", i);
	TRY(fflush(stdout));
	TRY(write(served.fd, ANSWER, sizeof(ANSWER) - 1));
	wire_end("served", &served, 1);
}

/* A log that may not grow, and then may again: what was refused comes again. */
static void file_that_may_not_grow(void)
{
	char path[600], line[100];
	int fd, i, errors = 0;
	rlim_t size;

	signal(SIGXFSZ, SIG_IGN);
	snprintf(path, sizeof(path), "%s/app.log", torture_dir);
	fd = open(path, O_WRONLY | O_CREAT, 0600);
	for (i = 0, size = 777; i < 300; i++) {
		int len = snprintf(line, sizeof(line), "line %d of a log that may not grow\n", i), done = 0;

		set_limit(RLIMIT_FSIZE, size);
		while (done < len) {
			ssize_t n = write(fd, line + done, (size_t)(len - done));

			if (n < 0) {
				must(errno == EFBIG, "the right error");
				errors++;
				size += 777;
				set_limit(RLIMIT_FSIZE, size);
				continue;
			}
			must(n > 0 && n <= len - done, "a true count");
			done += (int)n;
		}
	}
	must(errors > 3, "being refused");
	close(fd);
	trail("all written");
}

static void use_everything(void)
{
	struct wire client = wire_dial();
	struct iovec pieces[2] = { { HEAD, 10 }, { HEAD + 10, sizeof(HEAD) - 11 } };
	char room[100];
	int i;

	TRY(writev(client.fd, pieces, 2));
	peer_send(&client, ANSWER, sizeof(ANSWER) - 1);
	TRY(read(client.fd, room, sizeof(room)));
	TRY(write(client.fd, HEAD, 10));
	TRY(write(client.fd, HEAD + 10, sizeof(HEAD) - 11));
	for (i = 0; i < 300; i++)
		TRY(write(1, "a line\n", 7));
	wire_end("with limits", &client, -1);
}

static void few_descriptors(void)
{
	int limit, i;

	for (limit = 3; limit < 12; limit++) {
		set_limit(RLIMIT_NOFILE, (rlim_t)limit);
		for (i = 0; i < 4; i++) {
			TRY(dup(1));
			TRY(socket(AF_INET, SOCK_STREAM, 0));
			TRY(open("/dev/null", O_RDONLY));
			TRY(pipe(pipes));
		}
		TRY(dup2(1, limit));
		TRY(dup2(1, limit - 1));
		TRY(dprintf(limit - 1, "a line with %d descriptors\n", limit));
		TRY(fcntl(1, F_DUPFD, limit));
		closefrom(3);
	}
	set_limit(RLIMIT_NOFILE, 0);
	TRY(dprintf(1, "a line without descriptors\n"));
	TRY(dup2(1, 0));
	TRY(open("/dev/null", O_RDONLY));
	set_limit(RLIMIT_NOFILE, 1000);
	use_everything();
}

/* Not a page more, from the first moment, or from later on. */
static void no_memory(void)
{
	set_limit(RLIMIT_AS, 1);
	use_everything();
	set_limit(RLIMIT_AS, RLIM_INFINITY);
	use_everything();
	set_limit(RLIMIT_AS, 1);
	use_everything();
}

static void no_processes(void)
{
	pthread_attr_t attr;
	pthread_t thread;

	pthread_attr_init(&attr);
	set_limit(RLIMIT_STACK, 16384 * 4);
	use_everything();
	set_limit(RLIMIT_CPU, RLIM_INFINITY);
	TRY(pthread_create(&thread, &attr, enter_strict, NULL) == 0 ? pthread_join(thread, NULL) : 0);
	trail("and here"); /* a strict thread's exit is its own */
}

/* ---- what is missing at the start ---- */

/* Numbers 0, 1 and 2 are whatever is opened first: data. */
static void opens_files(void)
{
	char path[600];
	int i, fd;

	trail("%d %d %d", fcntl(0, F_GETFD), fcntl(1, F_GETFD), fcntl(2, F_GETFD));
	for (i = 0; i < 3; i++) {
		snprintf(path, sizeof(path), "%s/data%d", torture_dir, i);
		TRY(fd = open(path, O_RDWR | O_CREAT, 0600));
		TRY(dprintf(fd, "data %d\n", i));
	}
	TRY(printf("printed\n"));
	TRY(fflush(stdout));
	TRY(fprintf(stderr, "an error\n"));
	perror("perror");
	TRY(write(1, "written\n", 8));
	TRY(write(2, "half", 4));
	for (i = 0; i < 3; i++) {
		char room[200] = { 0 };

		snprintf(path, sizeof(path), "%s/data%d", torture_dir, i);
		fd = open(path, O_RDONLY);
		/* What is a log is longer than data. */
		TRY(read(fd, room, sizeof(room) - 1));
		trail("file %d: %s", i, room);
	}
	wire = wire_dial();
	trail("connected %d", wire.fd);
	TRY(write(wire.fd, HEAD, sizeof(HEAD) - 1));
	wire_end("call", &wire, 1);
	wire = wire_serve();
	trail("served %d", wire.fd);
	wire_end("served", &wire, 0);
}

/* ---- peers that are gone ---- */

static void reset(struct wire *gone)
{
	struct linger linger = { 1, 0 };

	raw6(SYS_setsockopt, gone->peer, SOL_SOCKET, SO_LINGER, (long)&linger, sizeof(linger), 0);
	raw(SYS_close, gone->peer, 0, 0);
	poll(&(struct pollfd){ gone->fd, 0, 0 }, 1, -1);
}

static void write_to_nobody(bool half)
{
	struct iovec piece = { HEAD, sizeof(HEAD) - 1 };
	struct msghdr msg = { .msg_iov = &piece, .msg_iovlen = 1 };
	int i;

	wire = wire_dial();
	if (half)
		TRY(write(wire.fd, HEAD, 20));
	reset(&wire);
	for (i = 0; i < 2; i++) {
		TRY(send(wire.fd, HEAD, sizeof(HEAD) - 1, MSG_NOSIGNAL));
		TRY(sendmsg(wire.fd, &msg, MSG_NOSIGNAL));
		TRY(sendmmsg(wire.fd, &(struct mmsghdr){ .msg_hdr = msg }, 1, MSG_NOSIGNAL));
		TRY(writev(wire.fd, &piece, 1));
		TRY(write(wire.fd, HEAD, sizeof(HEAD) - 1));
	}
	close(wire.fd);
}

static void told(int number)
{
	trail("signal %d", number);
}

static void pipe_ignored(void)
{
	signal(SIGPIPE, SIG_IGN);
	write_to_nobody(false);
	write_to_nobody(true);
	signal(SIGPIPE, told);
	write_to_nobody(false);
	write_to_nobody(true);
}

static void pipe_kills(void)
{
	signal(SIGPIPE, SIG_DFL);
	TRY(write(1, "before\n", 7));
	write_to_nobody(false);
	trail("lives");
}

static const struct torture_case cases[] = {
	{ "seccomp_strict", seccomp_strict },   { "seccomp_filter", seccomp_filter },
	{ "no_file_size", no_file_size },       { "file_that_may_not_grow", file_that_may_not_grow },
	{ "few_descriptors", few_descriptors }, { "no_memory", no_memory },
	{ "no_processes", no_processes },       { "opens_files", opens_files },
	{ "pipe_ignored", pipe_ignored },       { "pipe_kills", pipe_kills },
};

int main(int argc, char **argv)
{
	return torture_main(argc, argv, cases, sizeof(cases) / sizeof(cases[0]));
}

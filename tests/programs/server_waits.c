/*
 * A server whose jobs come by what is neither a descriptor nor a thread's lock.
 *
 *   server_waits WAIT PORT
 *
 * WAIT   msgrcv mq_receive mq_timedreceive semop semtimedop sigwait sigwaitinfo sigtimedwait sigsuspend
 *
 * One process answers; behind each answer it takes a job of its own by that call, and says so ("job"). And each request has a child
 * made, which says that it is there ("child"), waits for a job in the same way, and says that it has one ("late"). Ends with the third request.
 */
#include "server_kit.h"

#include <mqueue.h>
#include <sys/ipc.h>
#include <sys/msg.h>
#include <sys/sem.h>

static const char *how;
static int queue = -1;
static mqd_t posix_queue = (mqd_t)-1;

struct message {
	long type;
	char text[8];
};

static bool is(const char *name)
{
	return strcmp(how, name) == 0;
}

static void woken(int number)
{
	(void)number;
}

/* For this process, or for its child: `type` 1 or 2. */
static void give(pid_t pid, short type)
{
	struct message message = { type, "job" };
	struct sembuf up = { (unsigned short)type, 1, 0 };

	if (is("msgrcv") && msgsnd(queue, &message, sizeof(message.text), 0) != 0)
		die("msgsnd");
	if (strncmp(how, "mq_", 3) == 0 && mq_send(posix_queue, message.text, sizeof(message.text), 0) != 0)
		die("mq_send");
	if (strncmp(how, "sem", 3) == 0 && semop(queue, &up, 1) != 0)
		die("semop");
	if (strncmp(how, "sig", 3) == 0 && kill(pid, SIGUSR1) != 0)
		die("kill");
}

static bool take(short type)
{
	const struct timespec soon = { 10, 0 };
	struct timespec later = { time(NULL) + 10, 0 };
	struct sembuf down = { (unsigned short)type, -1, 0 };
	struct message message;
	sigset_t set, none;
	int number;

	sigemptyset(&set);
	sigemptyset(&none);
	sigaddset(&set, SIGUSR1);
	if (is("msgrcv"))
		return msgrcv(queue, &message, sizeof(message.text), type, 0) >= 0;
	if (is("mq_receive"))
		return mq_receive(posix_queue, message.text, sizeof(message.text), NULL) >= 0;
	if (is("mq_timedreceive"))
		return mq_timedreceive(posix_queue, message.text, sizeof(message.text), NULL, &later) >= 0;
	if (is("semop"))
		return semop(queue, &down, 1) == 0;
	if (is("semtimedop"))
		return semtimedop(queue, &down, 1, &soon) == 0;
	if (is("sigwait"))
		return sigwait(&set, &number) == 0;
	if (is("sigwaitinfo"))
		return sigwaitinfo(&set, NULL) == SIGUSR1;
	if (is("sigtimedwait"))
		return sigtimedwait(&set, NULL, &soon) == SIGUSR1;
	return sigsuspend(&none) == -1;
}

static void work(struct peer *peer)
{
	long n = peer->n;
	int status;
	pid_t pid;

	say("begin", n);
	fflush(stdout);
	pid = fork();
	if (pid == 0) {
		say("child", n);
		fflush(stdout);
		if (take(2))
			say("late", n);
		exit(0);
	}
	peer_answer(peer);
	say("end", n);
	give(pid, 2);
	if (waitpid(pid, &status, 0) != pid || status != 0)
		die("child");
	give(getpid(), 1);
	if (take(1))
		say("job", n);
}

int main(int argc, char **argv)
{
	struct mq_attr attributes = { .mq_maxmsg = 8, .mq_msgsize = 8 };
	struct peer *peer;
	char name[64];
	int listener;
	sigset_t set;
	long n;

	if (argc < 3)
		return 2;
	how = argv[1];
	setvbuf(stdout, NULL, _IOLBF, BUFSIZ);
	signal(SIGPIPE, SIG_IGN);
	signal(SIGUSR1, woken);
	sigemptyset(&set);
	sigaddset(&set, SIGUSR1);
	sigprocmask(SIG_BLOCK, &set, NULL);
	if (is("msgrcv"))
		queue = msgget(IPC_PRIVATE, 0600 | IPC_CREAT);
	if (strncmp(how, "sem", 3) == 0)
		queue = semget(IPC_PRIVATE, 3, 0600 | IPC_CREAT);
	snprintf(name, sizeof(name), "/server_waits.%d", (int)getpid());
	if (strncmp(how, "mq_", 3) == 0 &&
	    (posix_queue = mq_open(name, O_RDWR | O_CREAT, 0600, &attributes)) != (mqd_t)-1)
		mq_unlink(name);
	listener = listen_on(atoi(argv[2]));
	do {
		peer = peer_new(accept(listener, NULL, NULL));
		if (peer_read(peer) > 0)
			work(peer);
		n = peer->n;
		peer_end(peer);
	} while (n < 3);
	if (is("msgrcv"))
		msgctl(queue, IPC_RMID, NULL);
	if (strncmp(how, "sem", 3) == 0)
		semctl(queue, 0, IPC_RMID);
	return 0;
}

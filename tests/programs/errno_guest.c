/*
 * Calls that succeed do not touch errno: it is set before each, and told after it.
 */
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <semaphore.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/inotify.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/select.h>
#include <sys/sendfile.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/timerfd.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <dlfcn.h>
#include <unistd.h>

#define HEAD "GET / HTTP/1.1\r\nHost: a\r\n\r\n"
#define PRESET 4711

/* Twice: the first call of a kind binds, learns, maps. */
#define TRY(call)                                                                                                      \
	do {                                                                                                           \
		int round;                                                                                             \
		for (round = 0; round < 2; round++) {                                                                  \
			errno = PRESET;                                                                                \
			if ((long)(call) < 0 || errno != PRESET)                                                       \
				told += printf("%s: errno %d\n", #call, errno);                                        \
		}                                                                                                      \
	} while (0)

static void *nothing(void *arg)
{
	return arg;
}

/* long: a list, with what its entries share */
int main(void)
{
	struct sockaddr_in addr = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t len = sizeof(addr);
	int listener, client, server, fds[2], told = 0, value, epoll, file;
	char room[4096];
	struct iovec in = { room, 16 }, out = { HEAD, sizeof(HEAD) - 1 };
	struct msghdr message = { .msg_iov = &in, .msg_iovlen = 1 }, head = { .msg_iov = &out, .msg_iovlen = 1 };
	struct mmsghdr heads = { .msg_hdr = head };
	struct epoll_event event = { .events = EPOLLOUT };
	struct timespec none = { 0, 0 };
	struct timeval now = { 0, 0 };
	struct pollfd ready;
	pthread_t thread;
	sigset_t mask;
	fd_set set;
	sem_t sem;

	sigemptyset(&mask);
	FD_ZERO(&set);
	sem_init(&sem, 0, 100);
	listener = socket(AF_INET, SOCK_STREAM, 0);
	if (bind(listener, (struct sockaddr *)&addr, len) != 0 ||
	    getsockname(listener, (struct sockaddr *)&addr, &len) != 0)
		return 1;
	TRY(listen(listener, 8));
	TRY(client = socket(AF_INET, SOCK_STREAM, 0));
	errno = PRESET;
	if (connect(client, (struct sockaddr *)&addr, len) != 0 || errno != PRESET)
		return 2;
	errno = PRESET;
	server = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
	if (server < 0 || errno != PRESET)
		return 3;
	TRY(write(client, HEAD, sizeof(HEAD) - 1));
	TRY(read(server, room, 16));
	TRY(send(client, HEAD, sizeof(HEAD) - 1, 0));
	TRY(recv(server, room, sizeof(room), MSG_PEEK));
	TRY(write(client, "GET / HTTP/1.1\r\n", 16) + write(client, "Host: a\r\n\r\n", 11));
	TRY(writev(client, &out, 1));
	TRY(sendmsg(client, &head, 0));
	TRY(sendmmsg(client, &heads, 1, 0));
	TRY(sendto(client, HEAD, sizeof(HEAD) - 1, 0, NULL, 0));
	TRY(recv(server, room, 100, 0));
	TRY(readv(server, &in, 1));
	TRY(recvmsg(server, &message, 0));
	TRY(recvfrom(server, room, 10, 0, NULL, NULL));
	TRY(write(server, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", 38));
	TRY(dprintf(server, "HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n", 0));
	TRY(read(client, room, 40));
	file = memfd_create("file", 0);
	TRY(write(file, "text", 4));
	TRY(sendfile(server, file, &(off_t){ 0 }, 2));
	len = sizeof(value);
	TRY(getsockopt(client, SOL_SOCKET, SO_ERROR, &value, &len));
	TRY(shutdown(client, SHUT_WR));
	TRY(fcntl(client, F_SETFL, O_NONBLOCK));
	value = 0;
	TRY(ioctl(client, FIONBIO, &value));
	ready = (struct pollfd){ server, POLLOUT, 0 };
	TRY(poll(&ready, 1, 0));
	TRY(ppoll(&ready, 1, &none, &mask));
	TRY(select(0, &set, NULL, NULL, &now));
	TRY(pselect(0, &set, NULL, NULL, &none, &mask));
	TRY(epoll = epoll_create1(0));
	epoll_ctl(epoll, EPOLL_CTL_ADD, server, &event);
	TRY(epoll_wait(epoll, &event, 1, 0));
	TRY(epoll_pwait(epoll, &event, 1, 0, &mask));
	TRY(pipe(fds));
	TRY(pipe2(fds, 0));
	TRY(socketpair(AF_UNIX, SOCK_STREAM, 0, fds));
	TRY(write(fds[0], "GET / HTTP/1.1\r\n\r\n", 18));
	TRY(read(fds[1], room, 10));
	TRY(dup(client));
	TRY(dup2(client, 50));
	TRY(dup3(client, 51, 0));
	TRY(fcntl(client, F_DUPFD, 60));
	TRY(open("/dev/null", O_RDWR));
	TRY(openat(AT_FDCWD, "/dev/null", O_RDONLY));
	TRY(eventfd(0, 0));
	TRY(timerfd_create(CLOCK_MONOTONIC, 0));
	TRY(signalfd(-1, &mask, 0));
	TRY(inotify_init1(0));
	TRY(close(dup(server)));
	TRY(syscall(SYS_close, dup(server)));
	TRY(close_range(200, 300, 0));
	closefrom(300);
	TRY(fclose(fopen("/dev/null", "w")));
	TRY(-(freopen("/dev/null", "r", stdin) == NULL));
	TRY(sem_wait(&sem));
	TRY(-(pthread_create(&thread, NULL, nothing, NULL) != 0 || pthread_join(thread, NULL) != 0));
	TRY(-(dlopen("libc.so.6", RTLD_NOW | RTLD_DEEPBIND) == NULL));
	TRY(pclose(popen("exit 0", "r")));
	TRY(system("exit 0"));
	TRY(write(1, "a line\n", 7));
	TRY(write(1, "half a line", 11));
	TRY(dprintf(1, "and %s\n", "more"));
	TRY(printf("printed\n"));
	TRY(fprintf(stderr, "in %d pieces\n", 2));
	TRY(-(fflush(stdout) != 0));
	printf("told %d\n", told);
	return 0;
}

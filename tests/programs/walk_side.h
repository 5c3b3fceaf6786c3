/*
 * A walk's other descriptors: sockets that keep messages apart, pipes, files. Each is born, used and closed within one step, and is none of the
 * object's business, though heads of HTTP go over it.
 */
#ifndef WALK_SIDE_H
#define WALK_SIDE_H

#include "walk_logs.h"
#include "walk_receives.h"

static const char walk_request[] = "GET /beside HTTP/1.1\r\nHost: a.example\r\n\r\n";

/* What came, for the trail: as much as there is at hand. */
static inline void tell_rest(const char *what, int fd, bool is_socket)
{
	char room[9000];
	long n;

	do {
		n = is_socket ? raw6(SYS_recvfrom, fd, (long)room, sizeof(room), MSG_DONTWAIT, 0, 0) :
		                raw(SYS_read, fd, room, sizeof(room));
		tell("%s: %ld %08x", what, n, n > 0 ? checksum(room, (size_t)n) : 0);
	} while (n > 0);
}

static inline void message_sends(int fd)
{
	struct iovec iov[2] = { { (char *)(uintptr_t)walk_request, 20 },
		                { (char *)(uintptr_t)walk_request + 20, sizeof(walk_request) - 21 } };
	struct mmsghdr both[2] = { { .msg_hdr = { .msg_iov = iov, .msg_iovlen = 2 } },
		                   { .msg_hdr = { .msg_iov = iov, .msg_iovlen = 1 } } };

	switch (dice(5)) {
	case 0: CALL(write(fd, walk_request, sizeof(walk_request) - 1), "write(message)"); break;
	case 1: CALL(writev(fd, iov, 2), "writev(message)"); break;
	case 2: CALL(send(fd, walk_request, 10 + dice(20), MSG_NOSIGNAL | MSG_DONTWAIT), "send(message)"); break;
	case 3: CALL(sendmsg(fd, &both[0].msg_hdr, MSG_NOSIGNAL), "sendmsg(message)"); break;
	default:
		CALL(sendmmsg(fd, both, 2, MSG_NOSIGNAL), "sendmmsg(messages) %u %u", both[0].msg_len, both[1].msg_len);
		break;
	}
}

static inline void message_receives(int fd, int peer)
{
	char room[100];
	struct iovec iov[2] = { { room, some(50) }, { room + 50, 50 } };
	struct msghdr msg = { .msg_iov = iov, .msg_iovlen = 2 };
	int flags = MSG_DONTWAIT | (chance(40) ? MSG_TRUNC : 0) | (chance(30) ? MSG_PEEK : 0);
	struct pollfd poll = { .fd = fd, .events = POLLIN };

	raw(SYS_write, peer, walk_request, 1 + dice(sizeof(walk_request) - 1));
	UNTIL(raw(SYS_poll, &poll, 1, 0) == 1, "a message");
	memset(room, 0, sizeof(room));
	if (chance(50))
		CALL(recv(fd, room, some(sizeof(room)), flags), "recv(message, %x)", flags);
	else
		CALL(recvmsg(fd, &msg, flags), "recvmsg(message, %x) %x", flags, (unsigned)msg.msg_flags);
	tell("message %08x", checksum(room, sizeof(room)));
}

static inline void messages(void)
{
	static const int type[] = { SOCK_DGRAM, SOCK_SEQPACKET };
	int fd[2], peer, steps;

	CALL(socketpair(AF_UNIX, type[dice(2)], 0, fd), "socketpair of messages");
	peer = out_of_the_way(fd[1]);
	for (steps = 1 + (int)dice(5); steps > 0; steps--) {
		if (chance(50))
			message_sends(fd[0]);
		else
			message_receives(fd[0], peer);
	}
	tell_rest("sent", peer, true);
	CALL(close(fd[0]), "close");
	raw(SYS_close, peer, 0, 0);
}

static inline void pipes(void)
{
	struct iovec iov = { (char *)(uintptr_t)walk_request, sizeof(walk_request) - 1 };
	int one[2], two[2];

	must(CALL(pipe2(one, O_NONBLOCK), "pipe2") == 0 && CALL(pipe2(two, O_NONBLOCK | O_CLOEXEC), "pipe2") == 0,
	     "pipes");
	CALL(write(one[1], walk_request, some(sizeof(walk_request) - 1)), "write(pipe)");
	CALL(vmsplice(one[1], &iov, 1, 0), "vmsplice");
	CALL(tee(one[0], two[1], some(60), 0), "tee");
	CALL(splice(one[0], NULL, two[1], NULL, some(60), 0), "splice(pipes)");
	CALL(dup2(one[1], two[1]), "dup2(pipe)");
	CALL(write(two[1], walk_request, 5), "write(a copy)");
	tell_rest("one", one[0], false);
	tell_rest("two", two[0], false);
	CALL(close(one[0]) + close(two[0]), "close of the ends");
	CALL(write(one[1], walk_request, 5), "write(no reader)");
	CALL(close(one[1]) + close(two[1]), "close of the others");
}

static inline void files(void)
{
	char path[600], *map;
	int fd, copy;

	snprintf(path, sizeof(path), "%s/%d%c.txt", torture_dir, walk_step, walk_who);
	fd = (int)CALL(open(path, O_RDWR | O_CREAT | (chance(30) ? O_APPEND : 0), 0600), "open");
	copy = (int)CALL(open(path, O_RDWR), "open again");
	CALL(write(fd, walk_request, some(30)), "write(file)");
	CALL(pwrite(fd, walk_request, some(30), (off_t)dice(50)), "pwrite(file)");
	CALL(fcntl(fd, F_SETFL, chance(50) ? O_APPEND : 0), "F_SETFL(file)");
	CALL(dprintf(fd, "%s", walk_request), "dprintf(file)");
	CALL(lseek(fd, (off_t)dice(60), SEEK_SET), "lseek(file)");
	CALL(copy_file_range(fd, NULL, copy, NULL, some(40), 0), "copy_file_range");
	CALL(sendfile(copy, fd, NULL, some(40)), "sendfile(files)");
	CALL(ftruncate(fd, (off_t)(1 + dice(100))), "ftruncate");
	map = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, copy, 0);
	must(map != MAP_FAILED, "a map");
	map[0] = 'M';
	CALL(munmap(map, 4096), "munmap");
	CALL(lseek(fd, 0, SEEK_SET), "lseek(begin)");
	tell_rest("file", fd, false);
	CALL(close(fd) + close(copy), "close of files");
}

/* What a log says of itself where nothing is done to it. */
static inline void look_at_logs(void)
{
	struct stat st;
	int i;

	for (i = 0; walk_plain && i < WALK_LOGS; i++) {
		if (logs[i].fd < 0)
			continue;
		CALL(lseek(logs[i].fd, 0, SEEK_CUR), "lseek(log %d)", i);
		must(fstat(logs[i].fd, &st) == 0, "fstat");
		if (S_ISREG(st.st_mode))
			tell("size %ld", (long)st.st_size);
		if (logs[i].stream != NULL)
			CALL(ftell(logs[i].stream), "ftell(log %d)", i);
	}
}

static inline void beside(void)
{
	switch (dice(4)) {
	case 0: messages(); break;
	case 1: pipes(); break;
	case 2: files(); break;
	default: look_at_logs(); break;
	}
}

#endif

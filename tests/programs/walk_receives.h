/*
 * A walk's receives and waits.
 */
#ifndef WALK_RECEIVES_H
#define WALK_RECEIVES_H

#include "walk_sends.h"

#include <sys/epoll.h>
#include <sys/select.h>

/* What was got, and whether it is what the peer said. `taken`: it is gone from the connection. */
static inline void got(struct conn *conn, const char *room, long n, bool taken)
{
	struct dialogue *talk = conn->talk;

	if (n <= 0)
		return;
	tell("got %08x%s", checksum(room, (size_t)n),
	     memcmp(room, heard(talk)->bytes + talk->got, (size_t)n) == 0 ? "" : ", not what was sent");
	if (taken)
		talk->got += (size_t)n;
}

static inline void receive_in_pieces(struct conn *conn, int fd, char *room, size_t len, int flags)
{
	struct iovec iov[6];
	struct msghdr msg = { .msg_iov = iov };
	long n;

	msg.msg_iovlen = (size_t)cut(iov, 6, room, len);
	if ((flags & MSG_DONTWAIT) == 0 && chance(60))
		n = CALL(readv(fd, iov, (int)msg.msg_iovlen), "readv(%d, %zu pieces of %zu)", fd,
		         (size_t)msg.msg_iovlen, len);
	else
		n = CALL(recvmsg(fd, &msg, flags), "recvmsg(%d, %zu pieces of %zu, %x) flags %x", fd,
		         (size_t)msg.msg_iovlen, len, flags, (unsigned)msg.msg_flags);
	got(conn, room, n, true);
}

static inline void receive_messages(struct conn *conn, int fd, char *room, size_t len)
{
	size_t first = some(len);
	struct iovec iov[2] = { { room, first }, { room + first, len - first } };
	struct mmsghdr msgs[2] = { { .msg_hdr = { .msg_iov = iov, .msg_iovlen = 1 } },
		                   { .msg_hdr = { .msg_iov = iov + 1, .msg_iovlen = 1 } } };
	long done = CALL(recvmmsg(fd, msgs, 2, MSG_DONTWAIT, NULL), "recvmmsg(%d, %zu and %zu)", fd, first,
	                 len - first),
	     i;

	for (i = 0; i < done; i++)
		got(conn, iov[i].iov_base, msgs[i].msg_len, true);
}

static inline void receive_into_pipe(struct conn *conn, int fd, char *room, size_t len)
{
	int fds[2];
	long n;

	must(raw(SYS_pipe2, fds, O_CLOEXEC | O_NONBLOCK, 0) == 0, "a pipe");
	fds[0] = out_of_the_way(fds[0]);
	fds[1] = out_of_the_way(fds[1]);
	n = CALL(splice(fd, NULL, fds[1], NULL, len, SPLICE_F_NONBLOCK), "splice(from %d, %zu)", fd, len);
	if (n > 0)
		must(raw(SYS_read, fds[0], room, n) == n, "what was spliced");
	raw(SYS_close, fds[0], 0, 0);
	raw(SYS_close, fds[1], 0, 0);
	got(conn, room, n, true);
}

static inline void receive_nothing(int fd, char *room)
{
	struct iovec wild = { nowhere(), 10 };
	struct msghdr msg = { .msg_iov = &wild, .msg_iovlen = 1 };
	int flags = MSG_DONTWAIT;
	volatile int negative = -1;

	switch (dice(8)) {
	case 0: CALL(read(fd, room, 0), "read(%d, 0)", fd); break;
	case 1: CALL(recv(fd, room, 0, flags), "recv(%d, 0)", fd); break;
	case 2: CALL(recv(fd, wild.iov_base, 10, flags), "recv(%d, nowhere)", fd); break;
	case 3: CALL(recvmsg(fd, &msg, flags), "recvmsg(%d, nowhere)", fd); break;
	case 4: CALL(recvmsg(fd, nowhere(), flags), "recvmsg(%d, no header)", fd); break;
	case 5: CALL(readv(fd, &wild, negative), "readv(%d, -1 pieces)", fd); break;
	case 6: CALL(recv(fd, room, 10, flags | MSG_OOB), "recv(%d, MSG_OOB)", fd); break;
	default: CALL(pread(fd, room, 10, 0), "pread(%d)", fd); break;
	}
}

static inline void receive_by_stream(struct conn *conn, int fd, char *room, size_t len)
{
	FILE *stream = fdopen(dup(fd), "r");
	long n;

	must(stream != NULL && setvbuf(stream, NULL, _IONBF, 0) == 0, "a stream");
	n = CALL(fread(room, 1, len, stream), "fread(%zu from a stream of %d)", len, fd);
	got(conn, room, n, true);
	CALL(fclose(stream), "fclose");
}

/* `wait`: a call that waits would not; `all`: nor one that waits for all of it. */
static inline void receive_by(struct conn *conn, int fd, char *room, size_t len, bool wait, bool all)
{
	int flags = wait && chance(60) ? 0 : MSG_DONTWAIT, how = (int)dice(20);

	if ((!wait && (how > 12 || how == 0)) || (!all && how == 3))
		how = 4;
	/* What is spliced, or thrown away, nobody sees. */
	if (walk_calm && how == 0)
		how = 4;
	switch (how) {
	case 0: receive_into_pipe(conn, fd, room, len); break;
	case 1: receive_messages(conn, fd, room, len); break;
	case 2:
		got(conn, room, CALL(recv(fd, room, len, flags | MSG_PEEK), "recv(%d, %zu, MSG_PEEK)", fd, len), false);
		break;
	case 3: receive_by_stream(conn, fd, room, len); break;
	case 4:
	case 5:
		got(conn, room,
		    CALL(recvfrom(fd, room, len, flags, NULL, NULL), "recvfrom(%d, %zu, %x)", fd, len, flags), true);
		break;
	case 6:
	case 7:
	case 8: receive_in_pieces(conn, fd, room, len, flags); break;
	case 9:
		if (!walk_calm && chance(10))
			got(conn, room,
			    CALL(syscall(SYS_recvfrom, fd, room, len, MSG_DONTWAIT, NULL, NULL),
			         "SYS_recvfrom(%d, %zu)", fd, len),
			    true);
		break;
	case 10:
	case 11:
	case 12: got(conn, room, CALL(recv(fd, room, len, flags), "recv(%d, %zu, %x)", fd, len, flags), true); break;
	default: got(conn, room, CALL(read(fd, room, len), "read(%d, %zu)", fd, len), true); break;
	}
}

/* Taken by nobody. */
static inline void passed(struct conn *conn, long n)
{
	conn->talk->got += n > 0 ? (size_t)n : 0;
}

static inline void receive_some(struct conn *conn)
{
	static __thread char room[WALK_TAPE];
	size_t there = unread(conn), len = chance(50) ? some(there) : some(sizeof(room));
	const struct dialogue *talk = conn->talk;
	bool wait;
	int fd = any_fd(conn);
	char *to = room;

	settle(conn);
	wait = there > 0 || conn->talk->nonblocking || talk->peer_shut || talk->peer_gone;
	if (chance(8))
		receive_nothing(fd, room);
	if (len == 0)
		len = 1 + dice(100);
	/* A stream, and MSG_WAITALL, wait for all of it. */
	if (there > 0 && len > there && chance(50))
		len = there;
	if (chance(10))
		to = walk_room + WALK_ROOM - len;
	if (there >= len && talk->is_tcp && chance(10))
		got(conn, to, CALL(recv(fd, to, len, MSG_WAITALL), "recv(%d, %zu, MSG_WAITALL)", fd, len), true);
	else if (!walk_calm && there >= len && talk->is_tcp && chance(5))
		passed(conn, CALL(recv(fd, nowhere(), len, MSG_TRUNC), "recv(%d, %zu, MSG_TRUNC)", fd, len));
	else
		receive_by(conn, fd, to, len, wait, there >= len || (wait && there == 0));
}

/* ---- waits, of which each knows the answer already ---- */

static int walk_epoll = -1;

static inline int gather(struct pollfd *polls)
{
	static const short ask[] = { POLLIN, POLLIN | POLLOUT, POLLIN | POLLRDHUP, POLLOUT, 0 };
	int i, count = 0;

	for (i = 0; i < WALK_CONNS; i++) {
		if (conns[i].talk == NULL || chance(40))
			continue;
		settle(&conns[i]);
		push_out(&conns[i]);
		polls[count++] = (struct pollfd){ .fd = any_fd(&conns[i]), .events = ask[dice(5)] };
	}
	return count;
}

/*
 * Of a peer that is gone: an answer to several requests in one call goes out in several, of which the second one finds the error that the first
 * one has met.
 */
static inline unsigned seen(int fd, unsigned events)
{
	int i, j;

	for (i = 0; i < WALK_CONNS; i++)
		for (j = 0; j < conns[i].fds; j++)
			if (conns[i].fd[j] == fd && conns[i].talk->peer_gone)
				return events & ~(unsigned)POLLERR;
	return events;
}

static inline void wait_by_select(const struct pollfd *polls, int count)
{
	struct timeval now = { 0, 0 };
	struct timespec just = { 0, 0 };
	fd_set in, out;
	int i, top = 0;

	FD_ZERO(&in);
	FD_ZERO(&out);
	for (i = 0; i < count; i++) {
		if (polls[i].events & POLLIN)
			FD_SET(polls[i].fd, &in);
		if (polls[i].events & POLLOUT)
			FD_SET(polls[i].fd, &out);
		top = polls[i].fd >= top ? polls[i].fd + 1 : top;
	}
	if (chance(50))
		CALL(select(top, &in, &out, NULL, &now), "select(%d)", top);
	else
		CALL(pselect(top, &in, chance(50) ? &out : NULL, NULL, &just, NULL), "pselect(%d)", top);
	for (i = 0; i < count; i++)
		tell("%d: %d %d", polls[i].fd, FD_ISSET(polls[i].fd, &in) != 0, FD_ISSET(polls[i].fd, &out) != 0);
}

static inline int by_number(const void *a, const void *b)
{
	const struct epoll_event *one = a, *other = b;

	return (one->data.fd > other->data.fd) - (one->data.fd < other->data.fd);
}

static inline void wait_by_epoll(const struct pollfd *polls, int count)
{
	static const int change[] = { EPOLL_CTL_ADD, EPOLL_CTL_ADD, EPOLL_CTL_MOD, EPOLL_CTL_DEL };
	struct epoll_event events[WALK_CONNS * WALK_COPIES];
	long i, n;

	if (walk_epoll < 0)
		walk_epoll = (int)CALL(epoll_create1(0), "epoll_create1");
	for (i = 0; i < count; i++) {
		struct epoll_event event = { .events = (uint32_t)polls[i].events | (chance(30) ? EPOLLET : 0),
			                     .data.fd = polls[i].fd };
		int how = change[dice(4)];

		CALL(epoll_ctl(walk_epoll, how, polls[i].fd, &event), "epoll_ctl(%d, %d)", how, polls[i].fd);
	}
	for (i = 0; i < WALK_CONNS; i++)
		if (conns[i].talk != NULL)
			settle(&conns[i]);
	if (chance(50))
		n = CALL(epoll_wait(walk_epoll, events, WALK_CONNS * WALK_COPIES, 0), "epoll_wait");
	else
		n = CALL(epoll_pwait(walk_epoll, events, WALK_CONNS * WALK_COPIES, 0, NULL), "epoll_pwait");
	if (n > 1)
		qsort(events, (size_t)n, sizeof(events[0]), by_number);
	for (i = 0; i < n; i++)
		tell("event %d: %x", events[i].data.fd, seen(events[i].data.fd, events[i].events));
}

static inline void wait_some(void)
{
	struct pollfd polls[WALK_CONNS];
	struct timespec just = { 0, 0 };
	int count = gather(polls), i;

	switch (dice(4)) {
	case 0: wait_by_select(polls, count); return;
	case 1: wait_by_epoll(polls, count); return;
	case 2: CALL(poll(polls, (nfds_t)count, 0), "poll(%d)", count); break;
	default: CALL(ppoll(polls, (nfds_t)count, &just, NULL), "ppoll(%d)", count); break;
	}
	for (i = 0; i < count; i++)
		tell("%d: %x", polls[i].fd, seen(polls[i].fd, (unsigned short)polls[i].revents));
}

#endif

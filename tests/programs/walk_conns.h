/*
 * A walk's connections: how they are born, copied and ended, and what their peers do meanwhile.
 */
#ifndef WALK_CONNS_H
#define WALK_CONNS_H

#include "walk_http.h"

#include <stddef.h>
#include <sys/un.h>

struct conn {
	struct dialogue *talk; /* NULL: none */
	int peer;
	int fd[WALK_COPIES], fds;
	bool inherited; /* by a forked child: its parent goes on with it */
};

static struct conn conns[WALK_CONNS];
static struct dialogue *walk_arena; /* shared; taken by and by */
static int *walk_taken;
static size_t walk_kind; /* a program that calls and serves, one that calls, one that serves */

static inline int any_fd(const struct conn *conn)
{
	return conn->fd[dice((size_t)conn->fds)];
}

/* ---- births ---- */

static inline struct wire pair_of_unix(void)
{
	int fd[2];

	CALL(socketpair(AF_UNIX, SOCK_STREAM | (chance(50) ? SOCK_CLOEXEC : 0), 0, fd), "socketpair");
	return (struct wire){ fd[0], out_of_the_way(fd[1]) };
}

static inline struct wire served_of_unix(void)
{
	struct sockaddr_un addr = { .sun_family = AF_UNIX };
	socklen_t len;
	int listener, peer, fd;

	/* In the abstract: no file, and a name that no other walk has. */
	len = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 +
	                  (size_t)snprintf(addr.sun_path + 1, 90, "walk-%d-%d", (int)raw(SYS_getpid, 0, 0, 0),
	                                   walk_step));
	listener = socket(AF_UNIX, SOCK_STREAM, 0);
	must(bind(listener, (struct sockaddr *)&addr, len) == 0 && listen(listener, 4) == 0, "a unix listener");
	peer = out_of_the_way((int)raw(SYS_socket, AF_UNIX, SOCK_STREAM, 0));
	must(raw(SYS_connect, peer, &addr, len) == 0, "a unix peer");
	fd = (int)CALL(accept4(listener, NULL, NULL, chance(50) ? SOCK_CLOEXEC : 0), "accept4");
	close(listener);
	return (struct wire){ fd, peer };
}

/* A descriptor that the object did not see being born. */
static inline struct wire inherited(void)
{
	int fd[2];

	must(raw6(SYS_socketpair, AF_UNIX, SOCK_STREAM, 0, (long)fd, 0, 0) == 0, "a pair");
	return (struct wire){ fd[0], out_of_the_way(fd[1]) };
}

static inline void open_conn(struct conn *conn)
{
	static const char *const kind[] = { "dial", "serve", "pair", "unix", "inherited" };
	static const int weight[3][9] = { { 0, 0, 0, 1, 1, 1, 2, 3, 4 },
		                          { 0, 0, 0, 0, 0, 0, 2, 2, 4 },
		                          { 1, 1, 1, 1, 1, 3, 3, 4, 2 } };
	int which = weight[walk_kind][dice(9)], one = 1;
	struct dialogue *talk = &walk_arena[(*walk_taken)++];
	struct wire wire;

	switch (which) {
	case 0: wire = wire_dial(); break;
	case 1: wire = wire_serve(); break;
	case 2: wire = pair_of_unix(); break;
	case 3: wire = served_of_unix(); break;
	default: wire = inherited(); break;
	}
	must(wire.fd >= 0, "a connection");
	*conn = (struct conn){ .talk = talk, .peer = wire.peer, .fd = { wire.fd }, .fds = 1 };
	talk->role = which == 0 || (which == 2 && (walk_kind == 1 || chance(50))) ? CALLS : SERVES;
	talk->is_tcp = which < 2;
	talk->hurries = !walk_calm && chance(15);
	snprintf(talk->name, sizeof(talk->name), "%d%c-%s", walk_step, walk_who, kind[which]);
	/* What is sent must be there when the peer looks: no waiting for acknowledgements. */
	if (talk->is_tcp)
		raw6(SYS_setsockopt, wire.fd, IPPROTO_TCP, TCP_NODELAY, (long)&one, sizeof(one), 0);
	tell("%s: fd %d", talk->name, wire.fd);
	for (one = 1 + (int)dice(4); one > 0; one--)
		say_exchange(talk);
}

/* ---- peers ---- */

/* Until all that was sent has left; what MSG_MORE holds back goes, too. */
static inline void push_out(const struct conn *conn)
{
	int one = 1, left = 0;

	if (!conn->talk->is_tcp || conn->fds == 0)
		return;
	raw6(SYS_setsockopt, conn->fd[0], IPPROTO_TCP, TCP_NODELAY, (long)&one, sizeof(one), 0);
	UNTIL(raw(SYS_ioctl, conn->fd[0], SIOCOUTQNSD, &left) != 0 || left == 0, "bytes to leave");
}

/* The peer reads what there is. */
static inline void drain(const struct conn *conn)
{
	struct dialogue *talk = conn->talk;
	long n;

	while (conn->peer >= 0 && (n = raw6(SYS_recvfrom, conn->peer, (long)(talk->wire + talk->wired),
	                                    (long)(sizeof(talk->wire) - talk->wired), MSG_DONTWAIT, 0, 0)) > 0)
		talk->wired += (size_t)n;
	talk->pending = 0;
	talk->calls = 0;
}

static inline size_t unread(const struct conn *conn)
{
	return heard(conn->talk)->at - conn->talk->got;
}

/* Until all that the peer has sent is there to be read, and its end, too. */
static inline void settle(const struct conn *conn)
{
	const struct dialogue *talk = conn->talk;
	struct pollfd poll = { .fd = conn->fd[0], .events = POLLRDHUP };
	int there = 0;

	if (talk->peer_gone)
		UNTIL(raw(SYS_poll, &poll, 1, 0) == 1, "the peer's reset");
	else if (!talk->shut_read)
		UNTIL(raw(SYS_ioctl, conn->fd[0], FIONREAD, &there) == 0 && (size_t)there >= unread(conn),
		      "the peer's bytes");
	if (talk->peer_shut)
		UNTIL(raw(SYS_poll, &poll, 1, 0) == 1, "the peer's end");
}

static inline void peer_sends(const struct conn *conn)
{
	struct dialogue *talk = conn->talk;
	struct tape *tape = heard(talk);
	size_t limit = talk->role == CALLS ? may_answer(talk, talk->request.at) : may_ask(talk, talk->response.at), n;

	if (talk->peer_shut || talk->peer_gone || talk->shut_read || limit <= tape->at)
		return;
	n = some(limit - tape->at);
	if (n > 8000)
		n = 8000;
	/* The program may have gone. */
	if (raw6(SYS_sendto, conn->peer, (long)(tape->bytes + tape->at), (long)n, MSG_NOSIGNAL, 0, 0) == (long)n)
		tape->at += n;
}

static inline void peer_ends(struct conn *conn)
{
	struct dialogue *talk = conn->talk;
	struct linger at_once = { 1, 0 };

	if (talk->peer_shut || talk->peer_gone || conn->inherited)
		return;
	push_out(conn);
	drain(conn);
	if (chance(60)) {
		raw(SYS_shutdown, conn->peer, SHUT_WR, 0);
		talk->peer_shut = true;
		tell("the peer of %s shuts", talk->name);
		return;
	}
	if (talk->is_tcp && chance(50))
		raw6(SYS_setsockopt, conn->peer, SOL_SOCKET, SO_LINGER, (long)&at_once, sizeof(at_once), 0);
	raw(SYS_close, conn->peer, 0, 0);
	conn->peer = -1;
	talk->peer_gone = true;
	tell("the peer of %s goes", talk->name);
}

/* ---- copies and ends ---- */

static inline int number_for_copy(void)
{
	return 60 + (int)dice(20);
}

static inline bool is_ours(int fd)
{
	int i, j;

	for (i = 0; i < WALK_CONNS; i++)
		for (j = 0; j < conns[i].fds; j++)
			if (conns[i].fd[j] == fd)
				return true;
	return false;
}

static inline void copy_conn(struct conn *conn)
{
	int fd = any_fd(conn), to = number_for_copy(), copy = -1;

	if (conn->fds == WALK_COPIES || is_ours(to))
		return;
	switch (dice(7)) {
	case 0: copy = (int)CALL(dup(fd), "dup(%d)", fd); break;
	case 1: copy = (int)CALL(dup2(fd, to), "dup2(%d, %d)", fd, to); break;
	case 2: copy = (int)CALL(dup3(fd, to, O_CLOEXEC), "dup3(%d, %d)", fd, to); break;
	case 3: copy = (int)CALL(fcntl(fd, F_DUPFD, 40), "F_DUPFD(%d)", fd); break;
	case 4: copy = (int)CALL(fcntl(fd, F_DUPFD_CLOEXEC, 3), "F_DUPFD_CLOEXEC(%d)", fd); break;
	case 5: copy = (int)CALL(syscall(SYS_dup, fd), "SYS_dup(%d)", fd); break;
	default: CALL(dup2(fd, fd), "dup2(%d, same)", fd); return;
	}
	must(copy >= 0, "a copy");
	conn->fd[conn->fds++] = copy;
}

/* Into the wire, when the last descriptor is gone. */
static inline void note_conn(struct conn *conn)
{
	struct dialogue *talk = conn->talk;
	char text[16];
	int i;

	torture_add(torture_wire, talk->name, strlen(talk->name));
	for (i = 0; i < talk->places; i++)
		torture_add(torture_wire, text,
		            (size_t)snprintf(text, sizeof(text), "%c%zu", i == 0 ? ' ' : ',', talk->place[i]));
	torture_add(torture_wire, talk->places == 0 ? " - " : " ", talk->places == 0 ? 3 : 1);
	wire_note_bytes((const unsigned char *)talk->wire, talk->wired);
	torture_add(torture_wire, "\n", 1);
	*conn = (struct conn){ .talk = NULL };
}

static inline void last_of_conn(struct conn *conn)
{
	struct dialogue *talk = conn->talk;
	struct pollfd poll = { .fd = conn->peer, .events = POLLIN | POLLRDHUP };
	long n = 0;

	if (conn->peer >= 0) {
		/* The end comes by itself, behind all bytes. */
		UNTIL((drain(conn), n = raw6(SYS_recvfrom, conn->peer, (long)(talk->wire + talk->wired),
		                             (long)(sizeof(talk->wire) - talk->wired), MSG_DONTWAIT, 0, 0)) != -EAGAIN,
		      "the program's end");
		talk->wired += n > 0 ? (size_t)n : 0;
		if (n > 0)
			UNTIL(raw(SYS_poll, &poll, 1, 0) == 1, "the program's end");
		drain(conn);
		raw(SYS_close, conn->peer, 0, 0);
	}
	tell("%s is over: %ld", talk->name, n);
	note_conn(conn);
}

/* One descriptor of it. What MSG_MORE keeps back would be lost by a reset, sooner without insertions than with them: it goes first. */
static inline void close_one(struct conn *conn)
{
	int which = (int)dice((size_t)conn->fds), fd = conn->fd[which];

	if (conn->inherited && conn->fds == 1)
		return;
	settle(conn);
	push_out(conn);
	switch (dice(5)) {
	case 0: CALL(close_range((unsigned)fd, (unsigned)fd, 0), "close_range(%d)", fd); break;
	case 1: CALL(syscall(SYS_close, fd), "SYS_close(%d)", fd); break;
	default: CALL(close(fd), "close(%d)", fd); break;
	}
	conn->fd[which] = conn->fd[--conn->fds];
	if (conn->fds == 0)
		last_of_conn(conn);
}

/* Replaced by another one's: its number leads elsewhere from now on. */
static inline void replace_one(struct conn *conn, struct conn *by)
{
	int which = (int)dice((size_t)conn->fds), to = conn->fd[which], fd;

	if (conn == by || by->talk == NULL || by->fds == WALK_COPIES || (conn->inherited && conn->fds == 1))
		return;
	fd = any_fd(by);
	settle(conn);
	push_out(conn);
	if (chance(50))
		CALL(dup2(fd, to), "dup2(%d, %d), which was open", fd, to);
	else
		CALL(syscall(SYS_dup2, fd, to), "SYS_dup2(%d, %d), which was open", fd, to);
	conn->fd[which] = conn->fd[--conn->fds];
	by->fd[by->fds++] = to;
	if (conn->fds == 0)
		last_of_conn(conn);
}

static inline void shut_conn(struct conn *conn)
{
	int how = chance(80) ? SHUT_WR : chance(50) ? SHUT_RD : SHUT_RDWR, fd = any_fd(conn);

	push_out(conn);
	drain(conn);
	settle(conn);
	CALL(shutdown(fd, how), "shutdown(%d, %d)", fd, how);
	if (how != SHUT_WR)
		conn->talk->shut_read = true;
}

static inline void end_conns(void)
{
	int i;

	for (i = 0; i < WALK_CONNS; i++)
		while (conns[i].talk != NULL)
			close_one(&conns[i]);
}

#endif

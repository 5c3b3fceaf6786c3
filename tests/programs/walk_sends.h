/*
 * A walk's sends: the next bytes of what a connection's program has to say, by any call, in any pieces.
 */
#ifndef WALK_SENDS_H
#define WALK_SENDS_H

#include "walk_conns.h"

#include <sys/sendfile.h>

/* Cut into pieces, some of them empty. */
static inline int cut(struct iovec *iov, int most, const char *bytes, size_t len)
{
	int count = 0;

	while (count < most - 1 && len > 0) {
		size_t n = chance(15) ? 0 : some(len);

		iov[count++] = (struct iovec){ (void *)(uintptr_t)bytes, n };
		bytes += n;
		len -= n;
		if (chance(30))
			break;
	}
	iov[count++] = (struct iovec){ (void *)(uintptr_t)bytes, len };
	return count;
}

static inline int send_flags(const struct conn *conn)
{
	int flags = chance(40) ? MSG_NOSIGNAL : 0;

	if (chance(15))
		flags |= MSG_DONTWAIT;
	/* Elsewhere it means the same as nothing. */
	if (chance(15) && conn->talk->is_tcp)
		flags |= MSG_MORE;
	return flags;
}

static inline long send_message(int fd, const char *bytes, size_t len, int flags)
{
	struct iovec iov[9];
	struct msghdr msg = { .msg_iov = iov, .msg_iovlen = (size_t)cut(iov, 9, bytes, len) };

	return CALL(sendmsg(fd, &msg, flags), "sendmsg(%d, %zu pieces of %zu, %x)", fd, (size_t)msg.msg_iovlen, len,
	            flags);
}

static inline long send_messages(int fd, const char *bytes, size_t len, int flags)
{
	struct iovec iov[6];
	struct mmsghdr msgs[3] = { 0 };
	size_t first = some(len);
	long done, i, n = 0;

	msgs[0].msg_hdr = (struct msghdr){ .msg_iov = iov, .msg_iovlen = (size_t)cut(iov, 3, bytes, first) };
	msgs[1].msg_hdr = (struct msghdr){ .msg_iov = iov + 3,
		                           .msg_iovlen = (size_t)cut(iov + 3, 3, bytes + first, len - first) };
	done = CALL(sendmmsg(fd, msgs, 2, flags), "sendmmsg(%d, %zu and %zu, %x)", fd, first, len - first, flags);
	for (i = 0; i < done; i++) {
		tell("message %ld: %u", i, msgs[i].msg_len);
		n += msgs[i].msg_len;
	}
	return done < 0 ? done : n;
}

static inline long send_pieces(int fd, const char *bytes, size_t len)
{
	struct iovec iov[9];
	int count = cut(iov, 9, bytes, len);

	return CALL(writev(fd, iov, count), "writev(%d, %d pieces of %zu)", fd, count, len);
}

static inline long send_file(int fd, const char *bytes, size_t len)
{
	int file = out_of_the_way((int)raw(SYS_memfd_create, "walk", 0, 0));
	off_t offset = 0;
	long n;

	raw_write_all(file, bytes, len);
	raw(SYS_lseek, file, 0, SEEK_SET);
	if (chance(50))
		n = CALL(sendfile(fd, file, &offset, len), "sendfile(%d, from 0, %zu)", fd, len);
	else
		n = CALL(sendfile(fd, file, NULL, len + dice(3)), "sendfile(%d, %zu)", fd, len);
	tell("offset %ld, position %ld", (long)offset, raw(SYS_lseek, file, 0, SEEK_CUR));
	raw(SYS_close, file, 0, 0);
	return n;
}

static inline long send_spliced(int fd, const char *bytes, size_t len)
{
	int fds[2];
	long n;

	must(raw(SYS_pipe2, fds, O_CLOEXEC, 0) == 0, "a pipe");
	fds[0] = out_of_the_way(fds[0]);
	fds[1] = out_of_the_way(fds[1]);
	raw_write_all(fds[1], bytes, len);
	n = CALL(splice(fds[0], NULL, fd, NULL, len, chance(30) ? SPLICE_F_MOVE : 0), "splice(to %d, %zu)", fd, len);
	raw(SYS_close, fds[0], 0, 0);
	raw(SYS_close, fds[1], 0, 0);
	return n;
}

/* All of it is flushed, or an error came. */
static inline long send_by_stream(int fd, const char *bytes, size_t len)
{
	FILE *stream = fdopen(dup(fd), "w");
	int how = chance(50) ? _IOFBF : chance(50) ? _IOLBF : _IONBF;
	size_t first = some(len);
	long done, flushed;

	must(stream != NULL && setvbuf(stream, NULL, how, chance(50) ? 100 : 4096) == 0, "a stream");
	done = CALL(fwrite(bytes, 1, first, stream), "fwrite(%zu to a stream of %d, %d)", first, fd, how);
	done += CALL(fprintf(stream, "%.*s", (int)(len - first), bytes + first), "fprintf(%zu)", len - first);
	flushed = CALL(fclose(stream), "fclose");
	return flushed == 0 ? done : -1;
}

/* Calls of which nothing comes but an error, or nothing. */
static inline void send_nothing(int fd, const char *bytes)
{
	struct iovec wild[2] = { { nowhere(), 10 }, { (void *)(uintptr_t)bytes, 1 } };
	struct msghdr msg = { .msg_iov = wild, .msg_iovlen = 2 };
	volatile int negative = -1;

	switch (dice(10)) {
	case 0: CALL(write(fd, bytes, 0), "write(%d, 0)", fd); break;
	case 1: CALL(send(fd, bytes, 0, MSG_NOSIGNAL), "send(%d, 0)", fd); break;
	case 2: CALL(write(fd, wild[0].iov_base, 10), "write(%d, nowhere)", fd); break;
	case 3: CALL(sendmsg(fd, &msg, MSG_NOSIGNAL), "sendmsg(%d, nowhere)", fd); break;
	case 4: CALL(sendmsg(fd, nowhere(), MSG_NOSIGNAL), "sendmsg(%d, no header)", fd); break;
	case 5: CALL(writev(fd, wild, negative), "writev(%d, -1 pieces)", fd); break;
	case 6: CALL(writev(fd, wild, 0), "writev(%d, no pieces)", fd); break;
	case 7: CALL(pwrite(fd, bytes, 1, 0), "pwrite(%d)", fd); break;
	case 8: CALL(write(-1, bytes, 5), "write(-1)"); break;
	default: CALL(sendmsg(fd, &(struct msghdr){ .msg_iovlen = 2000 }, 0), "sendmsg(%d, 2000 pieces)", fd); break;
	}
}

static inline long send_by(const struct conn *conn, int fd, const char *bytes, size_t len)
{
	int flags = send_flags(conn);
	size_t how = dice(24);

	switch (walk_calm && how < 3 ? 0 : how) {
	case 0: return send_pieces(fd, bytes, len);
	case 1: return send_file(fd, bytes, len);
	case 2: return send_spliced(fd, bytes, len);
	case 3: return send_messages(fd, bytes, len, flags);
	case 4: return send_by_stream(fd, bytes, len);
	case 5: return CALL(dprintf(fd, "%.*s", (int)len, bytes), "dprintf(%d, %zu)", fd, len);
	case 6: return CALL(sendto(fd, bytes, len, flags, NULL, 0), "sendto(%d, %zu, %x)", fd, len, flags);
	case 7:
	case 8:
	case 9:
	case 10: return send_message(fd, bytes, len, flags);
	case 11:
		/* From there on it passes: not often. */
		if (!walk_calm && chance(10))
			return CALL(syscall(SYS_write, fd, bytes, len), "SYS_write(%d, %zu)", fd, len);
		__attribute__((fallthrough));
	case 12:
	case 13:
	case 14:
	case 15:
	case 16: return CALL(send(fd, bytes, len, flags), "send(%d, %zu, %x)", fd, len, flags);
	default: return CALL(write(fd, bytes, len), "write(%d, %zu)", fd, len);
	}
}

/*
 * The length of the next message; 0 in the midst of one. A child may send for its parent, but not a part of what that has begun (DESIGN.md,
 * 'Limits').
 */
static inline size_t whole_message(struct dialogue *talk)
{
	const size_t *end = talk->role == CALLS ? talk->request_end : talk->response_end;
	size_t at = said(talk)->at;
	int number = complete(talk, end, at);

	if ((number == 0 ? 0 : end[number - 1]) != at || number == talk->exchanges || end[number] - at > WALK_CHUNK)
		return 0;
	return end[number] - at;
}

static inline void send_some(struct conn *conn)
{
	struct dialogue *talk = conn->talk;
	struct tape *tape = said(talk);
	size_t limit = talk->role == CALLS ? may_ask(talk, talk->got) : may_answer(talk, talk->got), len;
	int fd = any_fd(conn);
	const char *bytes;
	long n;

	if (chance(8))
		send_nothing(fd, tape->bytes);
	if (limit <= tape->at)
		return;
	len = conn->inherited ? whole_message(talk) : some(limit - tape->at);
	if (len > WALK_CHUNK)
		len = WALK_CHUNK;
	if (len == 0)
		return;
	if (talk->pending + len > WALK_UNDRAINED || talk->calls > 30) {
		push_out(conn);
		drain(conn);
	}
	bytes = tape->bytes + tape->at;
	/* Some buffers end where memory does. */
	if (chance(10))
		bytes = memcpy(walk_room + WALK_ROOM - len, bytes, len);
	n = send_by(conn, fd, bytes, len);
	if (n > 0) {
		tape->at += (size_t)n;
		talk->pending += (size_t)n;
		talk->calls++;
	}
	if (chance(60))
		drain(conn);
}

#endif

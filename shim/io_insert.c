/*
 * Sending in pieces: what io_send does where something has to go in between the program's bytes, or where they hold several messages; the
 * promises are told there (io_send.c).
 */
#include "io_send_internal.h"

#include <errno.h>
#include <string.h>

#include "config.h"

/* Vectors of one real call: what comes before an insertion, the insertion, what comes after. 256 bytes of stack. */
#define PIECE_VECTORS 16
#define PIECE_BEFORE 8

struct piece {
	struct iovec v[PIECE_VECTORS];
	int count;
	size_t from, at, end;  /* offsets in the program's bytes: start, insertion, end of what v covers */
	struct insertion *ins; /* NULL: nothing to insert here */
};

static void use_spot(const struct io_send *io, struct piece *piece, struct insertion *ins)
{
	if (io->spot.end < piece->end)
		piece->end = io->spot.end;
	if (ins != NULL)
		piece->at = io->spot.at;
	piece->ins = ins;
}

/* What to send next, from `from` on: finds the insertion (or takes the pending one) under the lock. false: gone. */
static __attribute__((cold)) bool plan_piece(struct io_send *io, struct piece *piece, size_t from, size_t total)
{
	struct conn *conn = io->handle.conn;
	bool found;

	piece->count = 0;
	piece->from = piece->at = from;
	piece->end = total;
	piece->ins = NULL;
	if (io->planned) {
		io->planned = false;
		use_spot(io, piece, io->insertion);
		return true;
	}
	/* Between two real calls the number can become another connection's, while this one lives on by another number. */
	if (fds_word(io->fd) != io->word || !conn_lock_to_send(io->handle))
		return false;
	found = io_find_spot(io, conn, from);
	use_spot(io, piece, found && conn->pending == NULL ? io_make_insertion(io, conn) : NULL);
	if (conn->pending != NULL) {
		piece->ins = conn->pending;
		conn->pending = NULL;
	}
	conn_unlock(conn);
	return true;
}

/* Cover the program's bytes [from, to) with at most `room` vectors. Returns how far it came. */
static __attribute__((cold)) size_t cover(const struct io_send *io, struct piece *piece, size_t from, size_t to,
                                          int room)
{
	size_t base = 0;
	int i;

	for (i = 0; i < io->count && from < to && room > 0; base += io->iov[i].iov_len, i++) {
		size_t end = base + io->iov[i].iov_len;

		if (end <= from)
			continue;
		if (end > to)
			end = to;
		piece->v[piece->count].iov_base = (char *)io->iov[i].iov_base + (from - base);
		piece->v[piece->count].iov_len = end - from;
		piece->count++;
		room--;
		from = end;
	}
	return from;
}

/*
 * How far the bytes up to `end` can be read for certain: what the scanner has read, up to the end of the blank line, and what else
 * is on its last page.
 */
static inline size_t known_end(const char *bytes, size_t blank_end, size_t end)
{
	const size_t page = (size_t)1 << OS_PAGE_SHIFT;
	size_t here = page - (((uintptr_t)bytes + blank_end - 1) & (page - 1));

	return end - blank_end < here ? end : blank_end;
}

/* The first `before` bytes in front of the insertion, the others up to `to` behind it. At most INSERTION_GATHERS. */
static inline struct iovec gather_around(struct insertion *ins, const char *bytes, size_t before, size_t to)
{
	char *head = ins->before + sizeof(ins->before) - before;

	memcpy(head, bytes, before);
	if (to - before == 2) /* the blank line alone, where the body comes by another call */
		memcpy(ins->text + ins->len, bytes + before, 2);
	else
		memcpy(ins->text + ins->len, bytes + before, to - before);
	return (struct iovec){ head, to + ins->len };
}

/*
 * Head, insertion and blank line behind each other, in the insertion's block: the kernel takes one stretch
 * sooner than three, by more than the copy costs. Of the body nothing is copied that the scanner has not come near: only the
 * kernel can say whether it may be read. For a head that lies in one vector, as nearly every one does.
 */
static __attribute__((cold)) bool gather(const struct io_send *io, struct piece *piece)
{
	struct insertion *ins = piece->ins;
	size_t before = piece->at, to;
	const char *bytes = io->iov[0].iov_base;

	if (piece->from > 0 || before + 2 > io->iov[0].iov_len || before + 2 > piece->end || ins->sent > 0 ||
	    ins->swallow > 0)
		return false;
	to = known_end(bytes, before + 2, piece->end < io->iov[0].iov_len ? piece->end : io->iov[0].iov_len);
	if (to > INSERTION_GATHERS)
		return false;
	piece->v[0] = gather_around(ins, bytes, before, to);
	piece->count = 1;
	if (to < piece->end)
		piece->end = cover(io, piece, to, piece->end, PIECE_VECTORS - 1);
	return true;
}

static __attribute__((cold)) void lay_out(const struct io_send *io, struct piece *piece)
{
	size_t reached;

	if (piece->ins == NULL) {
		piece->end = cover(io, piece, piece->from, piece->end, PIECE_VECTORS);
		return;
	}
	if (gather(io, piece))
		return;
	reached = cover(io, piece, piece->from, piece->at, PIECE_BEFORE);
	if (reached < piece->at) {
		/* More vectors before the blank line than we have room for: the insertion comes in a later round. */
		insertion_free(piece->ins);
		piece->ins = NULL;
		piece->end = reached;
		return;
	}
	if (piece->ins->sent < piece->ins->len) {
		piece->v[piece->count].iov_base = piece->ins->text + piece->ins->sent;
		piece->v[piece->count].iov_len = piece->ins->len - piece->ins->sent;
		piece->count++;
	}
	piece->end = cover(io, piece, piece->at + piece->ins->swallow, piece->end, PIECE_VECTORS - piece->count);
}

/* An insertion went out whole, and its blank line too. */
static inline void settle_whole(struct io_send *io, struct insertion *ins)
{
	if (config.export_traces && conn_role(io->handle.conn) == CONN_OUTGOING) {
		io->injected = ins->ids;
		io->was_injected = true;
	}
	insertion_free(ins);
	io_count_inserted(io->handle.conn);
}

/*
 * The kernel took `sent` bytes of a piece, of which `before` were to come before the insertion (NULL: none). Returns how many of
 * them were the program's; settles the insertion.
 */
__attribute__((cold)) size_t io_settle(struct io_send *io, struct insertion *ins, size_t before, size_t sent)
{
	size_t rest;

	if (ins == NULL)
		return sent;
	rest = ins->len - ins->sent;
	if (sent <= before && ins->sent == 0) {
		insertion_free(ins); /* not begun: made again next time, from what is known then */
		return sent;
	}
	/* One that is out whole, but for whose blank line no room was left, stays too: else it would be made a second time. */
	if (sent > before + rest || (ins->swallow > 0 && sent == before + rest)) {
		sent += ins->swallow;
		settle_whole(io, ins);
		return sent - rest;
	}
	ins->sent += (uint32_t)(sent - before);
	if (ins->swallow > 0) {
		/* The last byte that it stands for is what the program comes back with. */
		before += ins->swallow - 1;
		ins->swallow = 1;
	}
	if (!conn_lock_patiently(io->handle)) {
		insertion_free(ins); /* closed by another thread: nobody will miss it */
	} else {
		io->handle.conn->pending = ins;
		conn_unlock(io->handle.conn);
	}
	return before;
}

static __attribute__((cold)) ssize_t send_pieces(struct io_send *io, struct io_emitter *emitter)
{
	size_t total = io->total;
	size_t done = 0;
	bool emitted = false;

	while (done < total) {
		struct piece piece;
		size_t wanted, own;
		ssize_t sent;

		if (!plan_piece(io, &piece, done, total)) {
			if (!emitted)
				return emitter->emit(emitter, io->iov, io->count);
			errno = EBADF;
			return done > 0 ? (ssize_t)done : -1;
		}
		lay_out(io, &piece);
		wanted = piece.end - done;
		if (piece.ins != NULL)
			wanted += piece.ins->len - piece.ins->sent - piece.ins->swallow;
		emitter->goes_on = done > 0;
		sent = emitter->emit(emitter, piece.v, piece.count);
		emitted = true;
		if (sent < 0) {
			int error = errno;

			io_settle(io, piece.ins, piece.at - piece.from, 0);
			/*
			 * Whoever is gone answered the first piece with a reset. All of it in one call would have been taken, and as
			 * lost as that.
			 */
			if (error == EPIPE && done > 0 && os_is_hung_up(io->fd))
				return (ssize_t)total;
			errno = error;
			return done > 0 ? (ssize_t)done : -1;
		}
		own = io_settle(io, piece.ins, piece.at - piece.from, (size_t)sent);
		io_send_commit(io, done, own);
		done += own;
		if ((size_t)sent < wanted && done > 0)
			break;
		if (sent == 0)
			break;
	}
	return (ssize_t)done;
}

__attribute__((cold)) ssize_t io_send_special(struct io_send *io, struct io_emitter *emitter)
{
	int saved = errno;
	ssize_t sent;

	if (fds_kind(io->word) == FD_LOG)
		return io_send_log(io);
	sent = send_pieces(io, emitter);
	/* Of several real calls the last one may have failed, while the program's was a success. */
	if (sent < 0)
		saved = errno;
	if (config.export_traces)
		io_spans_sent(io, sent < 0, saved);
	request_unref(io->caller);
	errno = saved;
	return sent;
}

bool io_send_plan(struct io_send *io, struct io_plan *plan, size_t from)
{
	struct piece piece;

	if (!plan_piece(io, &piece, from, io->total))
		return false;
	*plan = (struct io_plan){ piece.at, piece.end, piece.ins };
	return true;
}

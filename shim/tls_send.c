/*
 * Writing into a session of TLS, with head lines inserted; see tls.h.
 *
 * What is promised is the same as for sockets (io_send.c), but the libraries' rules are others. A write that could not be done
 * is made again with the same bytes, because the library has made a record of a part of them already and sent a part of that; what
 * it is given in between must be the same. And without SSL_MODE_ENABLE_PARTIAL_WRITE a write takes all of the program's bytes or
 * none. So one write of the program becomes several real ones: pieces of its own bytes, and blocks of ours that hold the
 * insertion with what is around it (one record, not three: each is a packet). Where the library cannot go on, the program
 * is told just that; how far its bytes are through stays with the session, and when it makes the call again, what the library
 * was given last is given to it again. A part is told to the program only between two real calls, where it may go on with
 * whatever it likes. What was begun without an insertion (the caller was not known) is made again without one.
 *
 * Memory: the insertion's block, from when the library has got it until it is through, or the session is freed.
 */
#include "tls_internal.h"

#include <errno.h>
#include <string.h>

#include "config.h"
#include "counters.h"
#include "current.h"
#include "io_spans.h"
#include "stream.h"
#include "tls_usual.h"

void tls_drop_write(struct tls *t)
{
	if (t->insertion != NULL)
		insertion_free(t->insertion);
	t->insertion = NULL;
	request_unref(t->caller);
	t->caller = NULL;
	t->piece = t->done = t->total = 0;
}

static bool is_unfinished(const struct tls *t)
{
	return t->insertion != NULL || t->piece > 0 || t->done > 0;
}

static bool is_busy(const struct tls *t)
{
	return t->stuck || is_unfinished(t);
}

/* Put the program's bytes around the insertion behind its text. false: there is no room, or more in front of it than fits. */
static bool gather(struct tls *t, const struct io_plan *plan, const char *bytes, size_t done)
{
	struct insertion *ins = plan->insertion;
	size_t before = plan->at - done, behind = plan->at + ins->swallow, after = plan->end - behind, room;
	char *to = ins->text + ins->len;

	if (before == 0 && 2 * (size_t)ins->len + 2 > INSERTION_STRETCH) {
		after = 0; /* by itself: it lies there already */
		t->start = ins->text;
	} else if (2 * (size_t)ins->len + before > INSERTION_STRETCH - 2) {
		return false;
	} else {
		room = INSERTION_STRETCH - 2 * (size_t)ins->len - before;
		after = after < room ? after : room;
		memcpy(to, bytes + done, before);
		memcpy(to + before, ins->text, ins->len);
		memcpy(to + before + ins->len, bytes + behind, after);
		t->start = ins->text + ins->len;
	}
	t->before = (uint32_t)before;
	t->after = (uint32_t)after;
	ins->sent = 0;
	t->insertion = ins;
	return true;
}

/* What the library gets next. */
static void plan_next(struct tls *t, struct io_send *io, size_t done)
{
	struct io_plan plan;

	if (!io_send_plan(io, &plan, done)) {
		t->piece = io->total - done;
		return;
	}
	t->piece = plan.end - done;
	if (plan.insertion == NULL)
		return;
	if (gather(t, &plan, io->iov[0].iov_base, done)) {
		t->piece = 0;
		return;
	}
	/* Up to near the insertion, which is made again from there. */
	t->piece = plan.at - done;
	if (2 * (size_t)plan.insertion->len + 2 < INSERTION_STRETCH && t->piece > 1)
		t->piece /= 2;
	insertion_free(plan.insertion);
}

/* Of `sent` bytes of the block, how many are the program's? */
static size_t own_part(const struct tls *t, size_t sent)
{
	if (sent <= t->before)
		return sent;
	if (sent < t->before + t->insertion->len)
		return t->before;
	return sent - t->insertion->len + t->insertion->swallow;
}

/* The program's bytes in the block that the library has not taken yet. */
static size_t own_left(const struct tls *t)
{
	return t->insertion == NULL ? 0 :
	                              t->before + t->insertion->swallow + t->after - own_part(t, t->insertion->sent);
}

/* The library took `n` more bytes of the block. */
static void settle_insertion(struct tls *t, struct io_send *io, long n, size_t *done)
{
	struct insertion *ins = t->insertion;
	size_t all = t->before + ins->len + t->after, was = ins->sent, own;

	ins->sent = (uint32_t)((size_t)n < all - was ? was + (size_t)n : all);
	if (was < t->before + ins->len && ins->sent >= t->before + ins->len && config.export_traces &&
	    conn_role(io->handle.conn) == CONN_OUTGOING) {
		io->injected = ins->ids;
		io->was_injected = true;
	}
	own = own_part(t, ins->sent) - own_part(t, was);
	/* GnuTLS goes on with what it has when it is given nothing: then the program's bytes are not there to be read again. */
	if (io->iov[0].iov_base != NULL)
		io_send_commit(io, *done, own);
	else if (own > 0)
		io_send_unseen_plain(io->handle, own);
	*done += own;
	if (ins->sent == all) {
		if (conn_role(io->handle.conn) == CONN_SERVED)
			counters_count(response_headers);
		else
			counters_count(calls_injected);
		insertion_free(ins);
		t->insertion = NULL;
	}
}

/* The library took `n` more of the program's bytes. */
static void settle_piece(struct tls *t, struct io_send *io, long n, size_t *done)
{
	size_t len = t->piece < io->total - *done ? t->piece : io->total - *done;

	if ((size_t)n < len)
		len = (size_t)n;
	if (io->iov[0].iov_base != NULL)
		io_send_commit(io, *done, len);
	else
		io_send_unseen_plain(io->handle, len);
	*done += len;
	t->piece = len < t->piece ? t->piece - len : 0;
}

/* What comes next goes to the library: from `ins`, if it is not NULL. */
static long push_some(const struct tls *t, const struct insertion *ins, const struct io_send *io,
                      struct tls_emitter *emitter, size_t done)
{
	const char *bytes = io->iov[0].iov_base;

	if (ins != NULL)
		return emitter->emit(emitter, t->start + ins->sent, t->before + ins->len + t->after - ins->sent);
	if (bytes == NULL)
		return emitter->emit(emitter, NULL, 0);
	return emitter->emit(emitter, bytes + done, t->piece < io->total - done ? t->piece : io->total - done);
}

/* Was the session freed, or taken for another connection, within the call? Nothing of the write is kept then. */
static bool is_lost(const struct tls *t, const struct io_send *io)
{
	return t == NULL || t->handle.conn != io->handle.conn;
}

/* How much of the library's count is the program's is not known any more. */
static long lose(struct io_send *io, struct insertion *ins, size_t done, long n)
{
	if (ins != NULL)
		insertion_free(ins);
	if (config.export_traces)
		io_spans_sent(io, false, 0);
	request_unref(io->caller);
	if (n <= 0)
		return n;
	return (long)((size_t)n < io->total - done ? done + (size_t)n : io->total);
}

/* The library took nothing: keep how far we came, if the call is to be made again. */
static long stop(struct tls *t, struct io_send *io, struct tls_emitter *emitter, long result, size_t done)
{
	bool again = emitter->library->again(emitter->library, emitter->session, result);
	int saved = errno;

	if (again) {
		t->done = done;
		t->total = io->total;
		t->caller = io->caller;
		io->caller = NULL;
	} else {
		tls_drop_write(t);
	}
	if (config.export_traces)
		io_spans_sent(io, true, again ? EAGAIN : saved);
	request_unref(io->caller);
	errno = saved;
	return result;
}

static long push(struct tls *t, struct io_send *io, struct tls_emitter *emitter, size_t done)
{
	bool partial = emitter->library->partial(emitter->library, emitter->session);

	while (done < io->total) {
		struct insertion *ins;
		long n;

		if (t->insertion == NULL && t->piece == 0)
			plan_next(t, io, done);
		/* The library reads the block: a callback that lets go of the session must not free it. */
		ins = t->insertion;
		t->insertion = NULL;
		n = push_some(t, ins, io, emitter, done);
		if (is_lost(t, io))
			return lose(io, ins, done, n);
		t->insertion = ins;
		if (n <= 0)
			return stop(t, io, emitter, n, done);
		if (t->insertion != NULL)
			settle_insertion(t, io, n, &done);
		else
			settle_piece(t, io, n, &done);
		if (t->insertion == NULL && done > 0 && (partial || io->iov[0].iov_base == NULL))
			break;
	}
	t->piece = 0;
	if (config.export_traces)
		io_spans_sent(io, false, 0);
	request_unref(io->caller);
	return (long)done;
}

/* The program makes a call again that was not through. */
static long resume(struct tls *t, struct tls_emitter *emitter, const struct iovec *iov)
{
	struct io_send io = { .handle = t->handle, .iov = iov, .count = 1, .fd = t->fd, .word = fds_word(t->fd) };
	size_t done = t->done;

	io.total = iov->iov_base == NULL ? t->total : iov->iov_len;
	io.caller = t->caller;
	t->caller = NULL;
	t->done = 0;
	if (io.total < done + own_left(t)) {
		/* Not the same call: the library will say what it thinks of that. */
		request_unref(io.caller);
		tls_drop_write(t);
		return emitter->emit(emitter, iov->iov_base, iov->iov_len);
	}
	if (conn_role(io.handle.conn) == CONN_SERVED && conn_lock(io.handle)) {
		if (io.handle.conn->mode != CONN_PROTOCOL) /* that one said so when the call was begun */
			current_begin_response(served_answering(io.handle.conn),
			                       conn_is_blocking(io.handle.conn, io.fd));
		conn_unlock(io.handle.conn);
	}
	return push(t, &io, emitter, done);
}

/* The library did not take all of the program's own bytes: it wants them again, or it is at an end with them. */
static long refuse(struct tls *t, struct tls_emitter *emitter, const struct io_send *io, long result)
{
	t->stuck =
		!is_lost(t, io) && result <= 0 && emitter->library->again(emitter->library, emitter->session, result);
	if (t->stuck)
		errno = EAGAIN;
	return result > 0 ? result : -1;
}

long tls_answer_in_part(struct tls_emitter *emitter, struct io_send *io, const struct iovec *v, long sent)
{
	struct tls *t = tls_find(emitter->session);
	int saved = errno;
	size_t done = 0;

	io_answer_is_partial(io);
	if (is_lost(t, io)) {
		sent = lose(io, io->insertion, 0, sent);
	} else if (io->insertion == NULL) {
		(void)io_answer_end(io, refuse(t, emitter, io, sent));
		errno = saved;
	} else {
		io->insertion->sent = 0;
		t->insertion = io->insertion;
		t->start = v->iov_base;
		t->before = (uint32_t)io->spot.at;
		t->after = (uint32_t)(io->total - io->spot.at);
		if (sent > 0)
			settle_insertion(t, io, sent, &done);
		sent = sent > 0 ? push(t, io, emitter, done) : stop(t, io, emitter, sent, 0);
	}
	if (t != NULL)
		t->busy = is_busy(t);
	tls_leave_usual();
	tls_mark.quiet = false;
	return sent;
}

/* What is not the usual answer. */
static long begin(struct tls *t, struct tls_emitter *emitter, const struct iovec *iov)
{
	enum io_verdict verdict;
	struct io_send io;
	int saved;
	long n;

	verdict = io_send_begin_plain(&io, t->handle, t->fd, iov);
	if (verdict == IO_SPECIAL && !t->stuck && emitter->insert)
		return push(t, &io, emitter, 0);
	n = emitter->emit(emitter, iov->iov_base, iov->iov_len);
	saved = errno;
	if (verdict != IO_PLAIN)
		io_send_end(&io, refuse(t, emitter, &io, n));
	else
		(void)refuse(t, emitter, &io, n);
	errno = saved;
	return n;
}

/* The first write, or one that is made again, or of nothing. */
static long send_settled(struct tls_call *call, struct tls_emitter *emitter, const struct iovec *iov)
{
	struct tls *t = call->session;
	int saved = errno;
	long n;

	if ((iov->iov_len > 0 || is_unfinished(t)) && tls_settle(call) != NULL) {
		errno = saved;
		return is_unfinished(t) ? resume(t, emitter, iov) : begin(t, emitter, iov);
	}
	errno = saved;
	n = emitter->emit(emitter, iov->iov_base, iov->iov_len);
	t->stuck =
		n <= 0 && t->key == emitter->session && emitter->library->again(emitter->library, emitter->session, n);
	if (iov->iov_len == 0 && n > 0)
		tls_send_unseen(emitter->session,
		                n); /* GnuTLS: what was refused is out, whose bytes nobody tells again */
	return n;
}

long tls_send(struct tls_emitter *emitter, const void *buf, size_t len)
{
	struct iovec iov = { (void *)(uintptr_t)buf, len };
	struct tls_call call;
	long n;

	if (!tls_begin_as(&call, emitter->session, emitter->library, CONN_UNDECIDED, true))
		return emitter->emit(emitter, buf, len);
	tls_keep_quiet(); /* gnutls_record_send is gnutls_record_send2, and what makes early data SSL_write_ex */
	n = send_settled(&call, emitter, &iov);
	call.session->busy = is_busy(call.session);
	tls_leave(&call, CONN_UNDECIDED);
	return n;
}

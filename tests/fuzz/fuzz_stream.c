/*
 * The bytes of both directions of one connection, in any order and any pieces: driven through io.h as the hooks do.
 *
 * Input: byte 0 the setting, byte 1 the seed of the pieces, then steps: a byte (bits 0-1 who: 0 client's bytes, 1 server's
 * bytes, 2 unseen bytes, 3 an event; bits 2-7 and the next byte how many bytes), and the bytes. Each run is made twice, with
 * whole steps and with each step in pieces and a kernel that takes what it likes: what the connection then says, and what the
 * peer got, must not depend on it.
 */
#define CORE_FUZZ
#include "../unit/core_fixture.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define FUZZ_CHECK(condition)                                                                                          \
	do {                                                                                                           \
		if (!(condition))                                                                                      \
			abort();                                                                                       \
	} while (0)

#define INSERTED_MARK "traceparent: 00-" CORE_TRACE "-"
#define RESPONSE_MARK "x-trace-fuzz: "

struct outcome {
	int mode, depth;
	uint64_t requests, calls, tunnels, heads; /* heads: insertions that the peer got */
	char answering[33];
	bool ambiguous; /* the program's own bytes hold lines like ours */
};

static uint32_t seed;

static uint32_t next_random(void)
{
	seed = seed * 1664525u + 1013904223u;
	return seed >> 8;
}

/* ---- the peer ---- */

struct peer {
	struct io_emitter emitter;
	bool moody;
	char *got;
	size_t len, cap;
	char own[4096]; /* what the program sent */
	size_t own_len;
};

static ssize_t peer_emit(const struct io_emitter *emitter, const struct iovec *iov, int count)
{
	struct peer *p = (struct peer *)(uintptr_t)emitter;
	size_t room = SIZE_MAX, total = 0;
	int i;

	FUZZ_CHECK(count > 0);
	if (p->moody && next_random() % 4 == 0) {
		errno = next_random() % 2 ? EAGAIN : EINTR;
		return -1;
	}
	if (p->moody && next_random() % 2 == 0)
		room = 1 + next_random() % 90;
	for (i = 0; i < count && room > 0; i++) {
		size_t part = iov[i].iov_len < room ? iov[i].iov_len : room;

		if (p->len + part > p->cap) {
			p->cap = (p->len + part) * 2;
			p->got = realloc(p->got, p->cap);
		}
		if (part > 0)
			memcpy(p->got + p->len, iov[i].iov_base, part);
		p->len += part;
		total += part;
		room -= part;
	}
	return (ssize_t)total;
}

static ssize_t send_once(struct peer *p, int fd, const char *bytes, size_t len)
{
	char *exact = malloc(len);
	struct iovec iov[3] = { { exact, len / 3 },
		                { exact + len / 3, len / 3 },
		                { exact + len / 3 * 2, len - len / 3 * 2 } };
	enum io_verdict verdict;
	struct io_send io;
	ssize_t n;

	memcpy(exact, bytes, len);
	p->emitter.emit = peer_emit;
	p->emitter.fd = fd;
	verdict = io_uninvolved(fd) ? IO_PLAIN : io_send_begin(&io, fd, iov, 3);
	if (verdict == IO_SPECIAL) {
		n = io_send_special(&io, &p->emitter);
	} else {
		n = peer_emit(&p->emitter, iov, 3);
		if (verdict == IO_WATCH)
			io_send_end(&io, n);
	}
	FUZZ_CHECK(n != 0 && n <= (ssize_t)len);
	free(exact);
	return n;
}

static void send_all(struct peer *p, int fd, const char *bytes, size_t len, bool pieces)
{
	size_t done = 0;

	memcpy(p->own + p->own_len, bytes, len);
	p->own_len += len;
	while (done < len) {
		size_t part = pieces ? 1 + next_random() % (len - done) : len - done;
		ssize_t n = send_once(p, fd, bytes + done, part);

		if (n > 0)
			done += (size_t)n;
		else
			FUZZ_CHECK(errno == EAGAIN || errno == EINTR);
	}
}

static void receive_all(int fd, const char *bytes, size_t len, bool pieces)
{
	size_t done = 0;

	while (done < len) {
		size_t part = pieces ? 1 + next_random() % (len - done) : len - done;

		core_receive(fd, bytes + done, part);
		done += part;
	}
}

static bool mentions(const char *bytes, size_t len, const char *what)
{
	return len > 0 && memmem(bytes, len, what, strlen(what)) != NULL;
}

/* ---- one run ---- */

static void take_steps(struct peer *p, int fd, bool outgoing, const uint8_t *data, size_t size, bool pieces)
{
	while (size >= 2) {
		unsigned who = data[0] & 3;
		size_t len = (size_t)(data[0] >> 2) << 4 | (data[1] & 15);

		data += 2;
		size -= 2;
		if (len > size)
			len = size;
		if (len > 0 && who < 2 && (who == 0) == !outgoing)
			receive_all(fd, (const char *)data, len, pieces);
		else if (len > 0 && who < 2)
			send_all(p, fd, (const char *)data, len, pieces);
		if (who == 2) {
			/* Unseen bytes have no content: they take none of the input. */
			io_send_unseen_begin(fd);
			io_send_unseen_end(fd, (ssize_t)len);
			continue;
		}
		if (who == 3) {
			if (len % 3 == 0)
				io_shut(fd, SHUT_WR);
			else if (len % 3 == 1)
				io_receive_unseen(fd, (ssize_t)(len / 3));
			continue;
		}
		data += len;
		size -= len;
	}
}

/* Take our own lines out of what the peer got; how many there were. Only where the program's bytes hold none like them. */
static uint64_t take_insertions_out(struct peer *p, const char *mark, size_t line)
{
	uint64_t n = 0;
	char *at = p->got;

	while (at != NULL && (at = memmem(at, p->len - (size_t)(at - p->got), mark, strlen(mark))) != NULL) {
		size_t left = p->len - (size_t)(at - p->got);

		FUZZ_CHECK(left > line && at[line - 2] == '\r' && at[line - 1] == '\n' && at[line] == '\r');
		memmove(at, at + line, left - line);
		p->len -= line;
		n++;
	}
	return n;
}

static struct outcome run(const uint8_t *data, size_t size, bool pieces)
{
	bool outgoing = data[0] & 1;
	struct peer p = { .moody = pieces };
	struct outcome o = { 0 };
	int fd, in = 0;

	core_next_fd = CORE_LISTENER + 1;
	seed = data[1] * 2654435761u;
	memset(counters_page()->counter, 0, sizeof(counters_page()->counter));
	config.raw = data[0] & 2;
	config.response_header = data[0] & 4 ? CORE_NAME("x-trace-fuzz") : (struct config_name){ NULL, 0 };
	config.propagate_hosts = data[0] & 8 ? CORE_NAME("a.example") : (struct config_name){ NULL, 0 };
	if (outgoing) {
		in = core_accept(false);
		core_receive_text(in, "GET / HTTP/1.1\r\n" CORE_PARENT "\r\n");
		fd = core_connect();
	} else {
		fd = core_accept(data[0] & 16);
	}
	take_steps(&p, fd, outgoing, data + 2, size - 2, pieces);
	o.mode = core_conn(fd)->mode;
	o.depth = core_conn(fd)->depth;
	FUZZ_CHECK(o.depth <= LIMIT_PIPELINE && (o.mode != CONN_OPAQUE || o.depth == 0));
	if (!outgoing && !config.raw)
		core_trace_text(served_answering(core_conn(fd)), o.answering);
	o.requests = counters_get(requests);
	o.calls = counters_get(calls);
	o.tunnels = counters_get(http_tunnels);
	o.ambiguous = mentions(p.own, p.own_len, INSERTED_MARK) || mentions(p.own, p.own_len, RESPONSE_MARK);
	if (!o.ambiguous) {
		o.heads = outgoing ? take_insertions_out(&p, INSERTED_MARK, sizeof(INSERTED_MARK) - 1 + 16 + 5) :
		                     take_insertions_out(&p, RESPONSE_MARK, sizeof(RESPONSE_MARK) - 1 + 34);
		FUZZ_CHECK(o.heads == (outgoing ? counters_get(calls_injected) : counters_get(response_headers)));
		FUZZ_CHECK(outgoing ? o.heads <= o.calls + 1 : o.heads <= o.requests);
		FUZZ_CHECK(p.len == p.own_len && (p.len == 0 || memcmp(p.got, p.own, p.len) == 0));
	}
	free(p.got);
	core_close(fd);
	if (outgoing)
		core_close(in);
	current_clear();
	FUZZ_CHECK(core_blocks_out == 0);
	return o;
}

/*
 * Do the first bytes of the client say at once what they are? A method that nobody knows is not HTTP to the sniffer, which
 * sees the first piece, but one like others to the scanner, which sees all of them.
 */
static bool starts_clearly(const uint8_t *data, size_t size)
{
	size_t len = size < 2 ? 0 : (size_t)(data[0] >> 2) << 4 | (data[1] & 15);

	return size > 2 && (data[0] & 3) == 0 &&
	       http1_sniff_request((const char *)data + 2, len < size - 2 ? len : size - 2) == HTTP1_SNIFF_YES;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static bool started;
	struct outcome whole, pieces;

	if (!started) {
		started = true;
		core_start("fuzz");
	}
	if (size < 2 || size > 4096)
		return 0;
	whole = run(data, size, false);
	pieces = run(data, size, true);
	if (whole.ambiguous || !starts_clearly(data + 2, size - 2))
		return 0;
	FUZZ_CHECK(whole.mode == pieces.mode && whole.depth == pieces.depth);
	FUZZ_CHECK(whole.requests == pieces.requests || config.raw);
	FUZZ_CHECK(whole.calls == pieces.calls && whole.tunnels == pieces.tunnels);
	/* A head whose body is found bad in the same call is left alone; sent before, it has its insertion already. */
	FUZZ_CHECK(whole.heads == pieces.heads || whole.mode == CONN_OPAQUE);
	return 0;
}

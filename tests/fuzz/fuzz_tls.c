/*
 * Sessions of TLS over a library that refuses at random (../unit/tls_fake.h): writes in pieces, made again as the library's rules
 * ask for, from other addresses and with more bytes; reads and peeks, ends, sessions that are cleared, shared and freed, also in
 * callbacks in the midst of a write, sockets that are closed or fail, and no memory.
 *
 * Input: two bytes of settings, two of seed, then steps of a byte (bits 0-3 what, bits 4-5 which session) and what each takes. The
 * model: after each write that is through the peer has the program's bytes in order, with whole lines of ours between; counts
 * are exact; what was refused comes again as it was (the fake looks); no block is kept.
 *
 * With RECORDED for the second byte of settings the steps are those of scripts/fuzz-record, which writes down what real programs ask of
 * OpenSSL and GnuTLS (record/tls_calls.c): their bytes, in their order, refused as often as they were. STEP_BREAK, and what is above it,
 * are a step of the other kind, so that fuzzing goes on from there.
 */
#define CORE_FUZZ
#include "../unit/core_fixture.h"

#include "fuzz.h"

#include "../unit/tls_fake.h"
#include "tls_steps.h"

#define INPUT_MAX 8192
#define OWN_MAX 20000
#define CALL_MARK "traceparent: 00-"
#define CALL_LINE (sizeof(CALL_MARK) - 1 + 54)
#define ANSWER_MARK "x-trace-fuzz: "
#define ANSWER_LINE (sizeof(ANSWER_MARK) - 1 + 34)
#define ASKED "GET / HTTP/1.1\r\nHost: a\r\n" CORE_PARENT "\r\n"

struct session {
	struct fake fake;
	int below;          /* the socket; -1: memory */
	char own[OWN_MAX];  /* what the program means to write */
	size_t made, taken; /* of it: so much there is, and so much the library took */
	char *again;        /* a write that is to be made again: its bytes, with room for more */
	size_t again_len;
	unsigned shared;
	unsigned refusals; /* recorded: of the write that is made next */
};

static struct session session[SESSIONS];
static const uint8_t *input;
static size_t input_left;
static uint32_t seed;
static uint64_t lines; /* of ours that peers have got */
static bool cut;       /* one may have been cut, by the end of a session */

static unsigned next_random(void)
{
	seed = seed * 1664525u + 1013904223u;
	return seed >> 8;
}

static unsigned take(void)
{
	if (input_left == 0)
		return 0;
	input_left--;
	return *input++;
}

/* ---- the model ---- */

static bool mentions(const char *bytes, size_t len, const char *what)
{
	return len > 0 && memmem(bytes, len, what, strlen(what)) != NULL;
}

static void check_peer(struct session *s, bool ends)
{
	bool out = s->fake.role == CONN_OUTGOING;
	const char *mark = out ? CALL_MARK : ANSWER_MARK;
	size_t line = out ? CALL_LINE : ANSWER_LINE, len = s->fake.got_len;
	char *got, *at;

	if (mentions(s->own, s->made, mark)) {
		cut = cut || ends;
		return;
	}
	got = malloc(len + 1);
	if (len > 0)
		memcpy(got, s->fake.got, len);
	for (at = got; (at = memmem(at, len - (size_t)(at - got), mark, strlen(mark))) != NULL;) {
		size_t left = len - (size_t)(at - got);

		CHECK(left > line && at[line - 2] == '\r' && at[line - 1] == '\n');
		memmove(at, at + line, left - line);
		len -= line;
		lines += ends;
	}
	CHECK(len == s->taken && (len == 0 || memcmp(got, s->own, len) == 0));
	free(got);
}

/* What was said so far is over: another connection, or none. */
static void close_account(struct session *s)
{
	if (s->again == NULL && !s->fake.broken)
		check_peer(s, true);
	else
		cut = true;
	free(s->again);
	free(s->fake.got);
	free(s->fake.refused);
	s->again = s->fake.got = s->fake.refused = NULL;
	s->fake.got_len = s->made = s->taken = 0;
	s->fake.broken = false;
}

/* ---- what a program does ---- */

static int open_socket(bool served, bool nonblocking)
{
	core_fail_takes(0, 0); /* that there is none is tried elsewhere (test_no_memory) */
	return served ? core_accept(nonblocking) : core_connect();
}

static void open_session(struct session *s)
{
	unsigned how = take();

	memset(s, 0, offsetof(struct session, own));
	s->made = s->taken = s->again_len = s->shared = s->refusals = 0;
	s->again = NULL;
	s->fake = (struct fake){ .role = how & HOW_SERVED ? CONN_SERVED : CONN_OUTGOING,
		                 .partial = how & HOW_PARTIAL,
		                 .moving = how & (HOW_MOVING | HOW_KEEPS),
		                 .keeps = how & HOW_KEEPS,
		                 .seldom = how & HOW_SELDOM,
		                 .random = next_random,
		                 .fd = -1 };
	s->below = how & HOW_MEMORY ? -1 : open_socket(how & HOW_SERVED, how & HOW_NONBLOCKING);
	if (s->below >= 0 && !(how & HOW_UNKNOWN))
		s->fake.fd = s->below;
	tls_forget(&s->fake); /* as the library's function that makes one */
}

static void shake_hands(struct session *s, unsigned how)
{
	struct tls_call call;
	bool ours = tls_begin(&call, &s->fake, &fake_library, how & 1 ? s->fake.role : CONN_UNDECIDED);

	if (s->below >= 0)
		core_receive_text(s->below, "\x16\x03\x01\x02");
	if (how & 2)
		tls_reset(&s->fake); /* the library does that */
	if (ours)
		tls_end(&call, CONN_UNDECIDED);
}

static void make_more(struct session *s, unsigned how)
{
	char *to = s->own + s->made;
	size_t room = OWN_MAX - s->made, pad = 1, body = 0, i;

	if (how % 8 == 0)
		pad = 1 + take() * 12;
	if (how % 4 == 1)
		body = take() * 20;
	if (room < pad + body + 200)
		return;
	if (how % 16 == 15) {
		for (i = take() % 64; i > 0; i--)
			s->own[s->made++] = (char)take();
		return;
	}
	if (s->fake.role == CONN_OUTGOING)
		s->made += (size_t)sprintf(to, "POST / HTTP/1.1\r\nHost: b\r\nX: %0*d\r\nContent-Length: %zu\r\n\r\n",
		                           (int)pad, 1, body);
	else
		s->made += (size_t)sprintf(to, "HTTP/1.1 200 OK\r\nX: %0*d\r\nContent-Length: %zu\r\n\r\n", (int)pad, 1,
		                           body);
	memset(s->own + s->made, 'b', body);
	s->made += body;
}

/* How the call went. */
static void went(struct session *s, long n)
{
	if (n <= 0) {
		CHECK(s->fake.wants || s->fake.broken);
		return;
	}
	/* Asked for by no bytes, what is behind an insertion is not there to go on with. */
	CHECK((size_t)n <= s->again_len && (s->fake.partial || s->fake.keeps || (size_t)n == s->again_len));
	s->taken += (size_t)n;
	free(s->again);
	s->again = NULL;
	s->again_len = 0;
	check_peer(s, false);
}

/* One call, of `len` bytes if it is a new one (0: any); what was refused is made again. */
static void write_some(struct session *s, size_t wanted)
{
	size_t left = s->made - s->taken, len = s->again_len;
	char *from = s->again;
	int error = 77;
	long n;

	if (left == 0)
		return;
	if (from != NULL && s->fake.keeps && take() & 1) {
		n = fake_write(&s->fake, NULL, 0);
		went(s, n);
		return;
	}
	if (from == NULL) {
		from = malloc(left + OWN_MAX);
		len = wanted > 0 ? wanted : 1 + (take() | take() << 8) % left;
	} else if (s->fake.moving) {
		from = malloc(left + OWN_MAX);
		memset(s->again, '!', len);
		free(s->again);
		len += take() % 3 == 0 && !s->fake.keeps ? next_random() % (left - len + 1) : 0;
	} else if (take() % 3 == 0 && !s->fake.keeps) {
		len += next_random() % (left - len + 1);
	}
	memcpy(from, s->own + s->taken, len);
	errno = error;
	n = fake_write(&s->fake, from, len);
	CHECK(errno == error);
	s->again = from;
	s->again_len = len;
	went(s, n);
}

static void write_once(struct session *s)
{
	write_some(s, 0);
}

static void read_some(struct session *s, bool peek)
{
	static const char answer[] = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
	const char *text = s->fake.role == CONN_SERVED ? ASKED : answer;
	unsigned how = take();
	size_t len = strlen(text);
	char bytes[64];

	if (how % 8 == 7) {
		for (len = 0; len < how / 8u; len++)
			bytes[len] = (char)take();
		text = bytes;
	} else if (how % 4 == 3) {
		len = 1 + how / 4 % len;
	}
	if (len > 0)
		fake_read(&s->fake, text, len, peek);
}

/* A request of CORE_TRACE by which this thread is known, on a connection that is closed again. */
static void be_known(bool answers)
{
	uint64_t before = counters_get(response_headers);
	int fd = core_accept(false);

	core_receive_text(fd, ASKED);
	if (answers)
		core_send_text(fd, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
	lines += counters_get(response_headers) - before;
	core_close(fd);
}

static void clear(struct session *s)
{
	tls_reset(&s->fake);
	close_account(s);
	if (s->below >= 0 && take() & 1) {
		core_close(s->below);
		s->below = open_socket(s->fake.role == CONN_SERVED, false);
		if (s->fake.fd >= 0) {
			s->fake.fd = s->below;
			tls_rebound(&s->fake, s->below);
		}
	}
}

static void copy_below(struct session *s)
{
	int copy = core_next_fd;

	if (s->below < 0)
		return;
	core_next_fd++;
	fds_dup(s->below, copy);
	core_close(s->below);
	s->below = copy;
	if (s->fake.fd >= 0) {
		s->fake.fd = copy;
		tls_rebound(&s->fake, copy);
	}
}

static void free_session(struct session *s)
{
	for (; s->shared > 0; s->shared--)
		tls_release(&s->fake);
	tls_release(&s->fake);
	close_account(s);
	if (s->below >= 0)
		core_close(s->below);
	s->below = -1;
}

/* In the midst of a write, once: one of several holders lets go, the library clears the session, or another one is used. */
static void inside(struct fake *fake)
{
	struct session *s = (struct session *)(void *)fake, *other = &session[take() % SESSIONS];
	unsigned what = take();

	fake->inside = NULL;
	if (what % 4 == 0) {
		tls_share(fake);
		tls_release(fake);
	} else if (what % 4 == 1) {
		tls_reset(fake);
	} else if (other != s && other->fake.inside == NULL) {
		if (what % 4 == 2)
			write_once(other);
		else
			read_some(other, false);
	}
}

static void step(unsigned what, struct session *s)
{
	switch (what) {
	case 0:
	case 1: make_more(s, take()); break;
	case 2:
	case 3:
	case 4: write_once(s); break;
	case 5: read_some(s, false); break;
	case 6: read_some(s, true); break;
	case 7: be_known(take() & 1); break;
	case 8: shake_hands(s, take() % 4); break;
	case 9: tls_shut(&s->fake); break;
	case 10: clear(s); break;
	case 11:
		tls_share(&s->fake);
		s->shared++;
		break;
	case 12:
		if (s->shared > 0) {
			tls_release(&s->fake);
			s->shared--;
		}
		break;
	case 13: s->fake.inside = inside; break;
	case 14:
		if (take() % 4 == 0)
			s->fake.broken = true;
		else if (take() % 4 == 0)
			tls_pass(&s->fake, &fake_library);
		else
			copy_below(s);
		break;
	default:
		if (take() % 4 == 0)
			core_fail_takes(1 + take() % 8, 1 + take() % 64);
		else if (take() % 4 == 0) {
			free_session(s);
			open_session(s);
		} else {
			tls_send_unseen(&s->fake, take());
		}
	}
}

/* ---- what was recorded ---- */

static struct session *writing;

static unsigned as_recorded(void)
{
	if (writing == NULL || writing->refusals == 0)
		return 1;
	writing->refusals--;
	return 0;
}

/* Bytes of the input, and how many there are. */
static const char *take_bytes(size_t *len)
{
	const char *bytes;

	*len = take() << 8;
	*len |= take();
	if (*len > input_left)
		*len = input_left;
	bytes = (const char *)input;
	input += *len;
	input_left -= *len;
	return bytes;
}

static void write_recorded(struct session *s)
{
	unsigned refusals = take();
	size_t len, i;
	const char *bytes = take_bytes(&len);

	if (len > OWN_MAX - s->made)
		return;
	memcpy(s->own + s->made, bytes, len);
	s->made += len;
	s->refusals = refusals % 8;
	s->fake.random = as_recorded;
	writing = s;
	for (i = 0; i < 64 && s->made > s->taken && !s->fake.broken; i++)
		write_some(s, s->made - s->taken);
	writing = NULL;
	s->fake.random = next_random;
}

static void step_recorded(unsigned what, struct session *s)
{
	const char *bytes;
	size_t len;

	switch (what) {
	case STEP_WRITE: write_recorded(s); break;
	case STEP_READ:
	case STEP_PEEK:
		bytes = take_bytes(&len);
		if (len > 0)
			fake_read(&s->fake, bytes, len, what == STEP_PEEK);
		break;
	case STEP_HANDSHAKE: shake_hands(s, take()); break;
	case STEP_SHUT: tls_shut(&s->fake); break;
	case STEP_CLEAR: clear(s); break;
	case STEP_SHARE: step(11, s); break;
	case STEP_RELEASE:
		if (s->shared > 0)
			step(12, s);
		else
			free_session(s);
		break;
	case STEP_OPEN:
		free_session(s);
		open_session(s);
		if (s->fake.role == CONN_OUTGOING)
			be_known(false);
		break;
	default: step(take() & 15, s);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static bool started;
	size_t i;

	if (!started) {
		started = true;
		core_start("fuzz");
	}
	if (size < 4 || size > INPUT_MAX)
		return 0;
	core_next_fd = CORE_LISTENER + 1;
	seed = (uint32_t)(data[2] | data[3] << 8) * 2654435761u;
	memset(counters_page()->counter, 0, sizeof(counters_page()->counter));
	config.response_header = data[0] & 1 ? CORE_NAME("x-trace-fuzz") : (struct config_name){ NULL, 0 };
	config.raw = data[0] & 2;
	config.propagate_hosts = data[0] & 4 ? CORE_NAME("c.example") : (struct config_name){ NULL, 0 };
	input = data + 4;
	input_left = size - 4;
	lines = 0;
	cut = false;
	for (i = 0; i < SESSIONS; i++)
		open_session(&session[i]);
	while (input_left > 0) {
		unsigned what = take();

		if (data[1] == RECORDED)
			step_recorded(what & 15, &session[what >> 4 & 3]);
		else
			step(what & 15, &session[what >> 4 & 3]);
	}
	core_fail_takes(0, 0);
	for (i = 0; i < SESSIONS; i++) {
		session[i].fake.inside = NULL;
		session[i].fake.random = NULL;
		if (session[i].again != NULL && !session[i].fake.broken)
			write_once(&session[i]);
		free_session(&session[i]);
	}
	CHECK(cut || lines == counters_get(calls_injected) + counters_get(response_headers));
	current_clear();
	CHECK(core_blocks_out == 0);
	return 0;
}

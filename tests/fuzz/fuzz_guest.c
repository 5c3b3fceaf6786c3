/*
 * long: a step for each kind of call, and what each is held to.
 *
 * The whole guest: any schedule of a program's calls on any descriptors, against what the kernel would have shown without us.
 *
 * Input: four bytes of setting, then steps of four: what to do, on which descriptor, with what, and what goes wrong in the
 * kernel meanwhile (short counts, EAGAIN, EINTR, ENOSPC, EPIPE; a signal handler that runs the next step). The calls go
 * through the hooks, which are linked here as guest_read, guest_write, ...; behind them is guest_kernel.h.
 *
 * Held to: each call returns what its real call returned, errno too; a call that the kernel took whole is reported whole; no
 * real call is made that the program did not make, but for sending and for questions; every peer has the bytes that the
 * program was told were taken, and whole insertions at the ends of heads, each its own request's; every log has the
 * program's bytes, in records; every block is given back.
 */
#include "guest_model.h"

#include "config.h"
#include "counters.h"
#include "current.h"
#include "logfiles.h"

#include "../../hooks/python.h"

#define GUEST(name) extern __typeof__(name) guest_##name
GUEST(read);
GUEST(__read_chk);
GUEST(readv);
GUEST(recv);
GUEST(recvfrom);
GUEST(recvmsg);
GUEST(write);
GUEST(writev);
GUEST(send);
GUEST(sendto);
GUEST(sendmsg);
GUEST(sendmmsg);
GUEST(sendfile);
GUEST(splice);
GUEST(socket);
GUEST(socketpair);
GUEST(pipe);
GUEST(accept);
GUEST(accept4);
GUEST(connect);
GUEST(listen);
GUEST(getsockopt);
GUEST(shutdown);
GUEST(close);
GUEST(close_range);
GUEST(dup);
GUEST(dup2);
GUEST(dup3);
GUEST(fcntl);
GUEST(ioctl);
GUEST(epoll_create1);
GUEST(epoll_ctl);
GUEST(epoll_wait);
GUEST(poll);
GUEST(select);
GUEST(syscall);

/* No guest here is CPython. */
bool python_watched;

void python_received(int fd, const void *caller)
{
	(void)fd;
	(void)caller;
}

#define STEP 4
#define STEPS_MAX 150
#define LISTENER (KERNEL_FDS + 5) /* nothing else is done with it */
#define UNTOUCHED 7777            /* errno, as the program left it */

static const uint8_t *steps, *steps_end;
static const uint8_t *input;
static size_t input_len;
static bool in_handler;
static bool disturbed;           /* a handler closed or replaced descriptors, or forked, within this call */
static bool forked;              /* the counters began again */
static bool leaks;               /* a block or two may stay out of their pools */
static bool talks;               /* GUEST_TALKS: to look at one input */
static struct model *busy_model; /* what the interrupted call sends to */
static unsigned serial;

/* ---- what a call must look like from outside ---- */

static void call_begins(void)
{
	kernel_trace = (struct kernel_trace){ 0 };
	errno = UNTOUCHED;
}

static void call_returned(const char *what, int fd, size_t len, ssize_t result, int error)
{
	if (talks)
		fprintf(stderr, "%s %d (file %d), %zu bytes: %zd %s; the kernel: %u calls, last %zd, %u faults\n", what,
		        fd, kernel_fd[fd], len, result, result < 0 ? strerror(error) : "",
		        kernel_trace.sends + kernel_trace.receives, kernel_trace.result, kernel_trace.faults);
}

/* The call was passed on once, as it was, and nothing else was done that changes anything. */
static void call_passed_on(ssize_t result)
{
	int error = errno;

	CHECK(result == kernel_trace.result);
	CHECK(result < 0 || error == UNTOUCHED);
	CHECK(kernel_trace.others + kernel_trace.receives == 1);
}

/* A log may be written to meanwhile: what was unfinished. */
static void call_made_one(ssize_t result)
{
	call_passed_on(result);
	CHECK(kernel_trace.sends == 0);
}

/* ---- descriptors ---- */

static int pick_fd(unsigned who, int kind)
{
	int fd, found = -1;
	unsigned n = 0;

	/* Twice: to count, and to find. */
	for (fd = 0; fd < KERNEL_FDS; fd++)
		n += kernel_fd[fd] != 0 && (kind < 0 || (int)model_of(fd)->kind == kind);
	if (n == 0)
		return -1;
	who %= n;
	for (fd = 0; fd < KERNEL_FDS && found < 0; fd++)
		if (kernel_fd[fd] != 0 && (kind < 0 || (int)model_of(fd)->kind == kind) && who-- == 0)
			found = fd;
	return found;
}

static void born(int fd, enum model_kind kind)
{
	if (fd >= 0)
		model_reset(model_of(fd), kind, serial++);
}

static void step_accept(unsigned arg)
{
	int fd;

	call_begins();
	fd = arg & 1 ? guest_accept4(LISTENER, NULL, NULL, arg & 2 ? SOCK_NONBLOCK : 0) :
	               guest_accept(LISTENER, NULL, NULL);
	call_made_one(fd);
	born(fd, MODEL_SERVED);
}

static void step_connect(unsigned arg)
{
	int fd, result, error;

	call_begins();
	fd = guest_socket(AF_INET, SOCK_STREAM | (arg & 1 ? SOCK_NONBLOCK : 0), 0);
	call_made_one(fd);
	born(fd, MODEL_OTHER);
	if (fd < 0)
		return;
	kernel_anywhere.sin_family = AF_INET;
	call_begins();
	result = guest_connect(fd, (struct sockaddr *)&kernel_anywhere, sizeof(kernel_anywhere));
	error = errno;
	call_made_one(result);
	CHECK(result == 0 || error == ECONNREFUSED || error == EINPROGRESS);
	if (result == 0 || error == EINPROGRESS)
		born(fd, MODEL_CALLS);
}

/* A connection that was there at our start, or that came by a call that nobody sees. */
static void step_inherit(unsigned arg)
{
	int fd = kernel_lowest(3);
	struct kernel_object *o;

	/* A number whose last life is not known to have ended would be that one still: documented (fds.c). */
	if (fd < 0 || fds_word(fd) != FD_UNKNOWN || (o = kernel_new(KERNEL_SOCKET)) == NULL)
		return;
	o->stream = o->connected = true;
	born(kernel_install(o, 3), arg & 1 ? MODEL_SERVED : MODEL_CALLS);
}

static void step_others_are_born(unsigned arg)
{
	int fds[2], result;

	call_begins();
	if (arg % 3 == 0) {
		result = guest_epoll_create1(0);
		call_made_one(result);
		born(result, MODEL_OTHER);
		return;
	}
	result = arg % 3 == 1 ? guest_pipe(fds) : guest_socketpair(AF_UNIX, SOCK_STREAM, 0, fds);
	CHECK(result == kernel_trace.result && kernel_trace.others == 2 && kernel_trace.sends == 0);
	born(fds[0], MODEL_OTHER);
	born(fds[1], MODEL_OTHER);
}

static bool is_log(int fd)
{
	return kernel_object(fd) != NULL && model_of(fd)->kind == MODEL_LOG;
}

/* A descriptor goes away. Of a full log the unfinished line can be lost with the last one; so can one that is in a write. */
static void log_goes(int fd)
{
	if (!is_log(fd))
		return;
	kernel_fault_level = 0;
	if (in_handler)
		model_of(fd)->lossy = true;
}

static void step_copy(unsigned who, unsigned arg)
{
	int fd = pick_fd(who, -1), to = (int)(arg % 24), result;

	call_begins();
	if (arg / 24 % 4 < 2)
		log_goes(to);
	switch (arg / 24 % 4) {
	case 0: result = guest_dup2(fd, to); break;
	case 1: result = guest_dup3(fd, to, 0); break;
	case 2: result = guest_dup(fd); break;
	default: result = guest_fcntl(fd, F_DUPFD, arg & 1 ? 1500 : 0); break;
	}
	call_passed_on(result);
}

static void step_close(unsigned who, unsigned arg)
{
	int fd = pick_fd(who, -1);
	struct model *m = fd < 0 ? NULL : model_of(fd);

	if (fd == 0)
		return;
	call_begins();
	log_goes(fd);
	switch (arg % 8) {
	case 0: call_passed_on(guest_syscall(SYS_close, (long)fd, 0L, 0L, 0L, 0L, 0L)); break;
	case 1: call_passed_on(guest_close_range((unsigned)fd, (unsigned)fd, 0)); break;
	case 2:
		if (m != NULL && m->kind == MODEL_LOG)
			m->lossy = true;
		kernel_close(fd); /* by an inline system call */
		break;
	case 3: call_passed_on(guest_close(fd + 40)); break;
	default: call_passed_on(guest_close(fd)); break;
	}
}

/* ---- bytes ---- */

static void step_peer_sends(unsigned who, unsigned arg)
{
	int fd = pick_fd(who, arg & 128 ? MODEL_CALLS : MODEL_SERVED);
	struct model *m = fd < 0 ? NULL : model_of(fd);
	struct kernel_object *o = kernel_object(fd);

	if (fd < 0)
		return;
	if (m->kind == MODEL_SERVED)
		model_hear_request(m, arg);
	else
		model_hear_response(m, arg);
	if (arg & 32 && m->kind == MODEL_SERVED)
		model_hear_request(m, arg >> 3);
	o->in = m->rx;
	/* All of it, or the rest a little later. */
	o->in_len =
		arg & 64 && m->rx_len > o->in_len ? o->in_len + kernel_random() % (m->rx_len - o->in_len) : m->rx_len;
}

static ssize_t receive(int fd, unsigned how, char *buf, size_t len)
{
	char control[CMSG_SPACE(sizeof(int))];
	struct iovec iov[3] = { { buf, len / 3 }, { NULL, 0 }, { buf + len / 3, len - len / 3 } };
	struct msghdr msg = { .msg_iov = iov, .msg_iovlen = 3 };
	ssize_t n;

	switch (how % 8) {
	case 0: return guest_read(fd, buf, len);
	case 1: return guest_readv(fd, iov, 3);
	case 2: return guest_recv(fd, buf, len, 0);
	case 3: return guest_recv(fd, buf, len, MSG_PEEK);
	case 4: return guest_recvfrom(fd, buf, len, 0, NULL, NULL);
	case 5: return guest___read_chk(fd, buf, len, len);
	case 6:
		/* With a second descriptor for it: from here on two of us look at one stream. */
		msg.msg_control = control;
		msg.msg_controllen = sizeof(control);
		n = guest_recvmsg(fd, &msg, 0);
		if (n > 0 && model_of(fd) != NULL) /* else a handler has closed it */
			model_of(fd)->wild = model_of(fd)->twice = true;
		return n;
	default: return guest_recvmsg(fd, &msg, 0);
	}
}

static void step_receive(unsigned who, unsigned arg)
{
	int fd = pick_fd(who, arg & 1 ? MODEL_CALLS : MODEL_SERVED);
	size_t len = arg & 2 ? 4096 : 1 + kernel_random() % 100;
	char *buf;

	if (fd < 0)
		return;
	buf = malloc(len);
	call_begins();
	if (arg >> 4 == 15)
		call_passed_on(guest_splice(fd, NULL, LISTENER, NULL, len, 0));
	else
		call_made_one(receive(fd, arg >> 2, buf, len));
	free(buf);
}

/* Into pieces: none, some, or more than one real call can hold beside an insertion. */
static int cut(struct iovec *iov, char *bytes, size_t len, unsigned pieces)
{
	size_t at = 0;
	unsigned i;

	for (i = 0; i + 1 < pieces; i++) {
		size_t part = kernel_random() % 3 == 0 ? 0 : kernel_random() % (len - at + 1) % 24;

		iov[i] = (struct iovec){ bytes + at, part };
		at += part;
	}
	iov[i] = (struct iovec){ bytes + at, len - at };
	return (int)pieces;
}

static ssize_t send_two(int fd, char *bytes, size_t len, int flags)
{
	size_t first = (len + 1) / 2;
	struct iovec iov[2] = { { bytes, first }, { bytes + first, len - first } };
	struct mmsghdr msgs[2] = { { .msg_hdr = { .msg_iov = iov, .msg_iovlen = 1 } },
		                   { .msg_hdr = { .msg_iov = iov + 1, .msg_iovlen = 1 } } };
	int n = guest_sendmmsg(fd, msgs, len > 1 ? 2 : 1, flags);

	CHECK(n == -1 || n == 1 || n == 2);
	return n < 0 ? -1 : (ssize_t)msgs[0].msg_len + (n > 1 ? (ssize_t)msgs[1].msg_len : 0);
}

static ssize_t send_to(int fd, unsigned how, char *bytes, size_t len)
{
	static const int flags[] = { 0, MSG_NOSIGNAL, MSG_MORE, MSG_DONTWAIT };
	struct iovec iov[30];
	struct msghdr msg = { .msg_iov = iov };
	char control[64] = { 0 };

	switch (how % 8) {
	case 0: return guest_write(fd, bytes, len);
	case 1: return guest_writev(fd, iov, cut(iov, bytes, len, 3));
	case 2: return guest_writev(fd, iov, cut(iov, bytes, len, 30));
	case 3: return guest_send(fd, bytes, len, flags[how / 8 % 4]);
	case 4: return guest_sendto(fd, bytes, len, flags[how / 8 % 4], NULL, 0);
	case 5: return how & 8 ? guest_send(fd, bytes, len, MSG_OOB) : send_two(fd, bytes, len, flags[how / 16 % 4]);
	case 6: kernel_file = bytes; return guest_sendfile(fd, 0, NULL, len);
	default:
		msg.msg_iovlen = (size_t)cut(iov, bytes, len, how & 8 ? 3 : 12);
		if (how & 16) {
			msg.msg_control = control;
			msg.msg_controllen = CMSG_LEN(0);
			*CMSG_FIRSTHDR(&msg) = (struct cmsghdr){ CMSG_LEN(0), SOL_SOCKET, SCM_RIGHTS };
		}
		return guest_sendmsg(fd, &msg, flags[how / 8 % 4]);
	}
}

/* `several`: the kernel itself makes several calls of it. */
static void sent(struct model *m, size_t len, ssize_t n, int error, bool several)
{
	CHECK(n >= -1 && n <= (ssize_t)len && (n != 0 || len == 0));
	CHECK(kernel_trace.others == 0 && kernel_trace.receives == 0 && !kernel_trace.flags_differ);
	if (kernel_trace.faults == 0 && !disturbed)
		CHECK(n == (ssize_t)len);
	if (n < 0)
		CHECK(error == kernel_trace.error || disturbed);
	else
		CHECK(error == UNTOUCHED && (kernel_trace.sigpipes == 0 || several || m->kind == MODEL_LOG));
	m->refused = n < (ssize_t)len;
	if (n > 0)
		m->tx_pos += (size_t)n;
}

/* What the program has to send there next. */
static size_t next_bytes(struct model *m, unsigned arg)
{
	while (m->tx_pos == m->tx_len) {
		size_t before = m->tx_len;

		if (m->kind == MODEL_SERVED)
			model_say_response(m, arg);
		else if (m->kind == MODEL_CALLS)
			model_say_request(m, arg);
		else
			model_say_log(m, arg, (const char *)input + arg % (input_len - 3), arg % 4 + 1);
		if (m->tx_len == before)
			return 0;
		if (arg & 16 && m->kind == MODEL_SERVED)
			model_say_response(m, arg >> 1);
		if (arg & 16 && m->kind == MODEL_CALLS)
			model_say_request(m, arg >> 1);
	}
	return m->tx_len - m->tx_pos;
}

static void step_send(int fd, unsigned how, unsigned arg)
{
	struct model *m = fd < 0 ? NULL : model_of(fd), *before = busy_model;
	size_t len = m == NULL || m == busy_model ? 0 : next_bytes(m, arg);
	char *exact;
	ssize_t n;
	int error;

	/* Handlers have lines of their own for logs: step_handler_logs. */
	if (len == 0 || (in_handler && m->kind == MODEL_LOG))
		return;
	if (kernel_random() % 2 == 0)
		len = 1 + kernel_random() % len;
	exact = malloc(len);
	memcpy(exact, m->tx + m->tx_pos, len);
	busy_model = m;
	call_begins();
	if (m->kind == MODEL_LOG)
		how %= 3;
	n = send_to(fd, how, exact, len);
	error = errno;
	busy_model = before;
	call_returned("send", fd, len, n, error);
	sent(m, len, n, error, how % 8 == 5);
	free(exact);
}

/* A signal handler's line, whole; whatever was interrupted. */
static void step_handler_logs(int fd, unsigned arg)
{
	struct model *m = fd < 0 ? NULL : model_of(fd);
	char line[] = "HANDLERXX\n";
	ssize_t n;

	/* A byte that is held back for the program's next try is given up for whatever that thread writes next. */
	if (m == NULL || m->kind != MODEL_LOG || m->refused || m->handler_len + sizeof(line) > sizeof(m->handler))
		return;
	line[7] = (char)('A' + arg % 16);
	line[8] = (char)('A' + arg / 16);
	kernel_fault_level = 0;
	call_begins();
	n = guest_write(fd, line, sizeof(line) - 1);
	/* Behind what the interrupted call could not send it gets that call's error. */
	CHECK(n == (ssize_t)sizeof(line) - 1 || n == -1);
	m->handler_lines++;
	if (n > 0)
		m->handler_len += model_letters(line, (size_t)n, true, m->handler + m->handler_len);
}

/* ---- everything else ---- */

static void step_wait(unsigned who, unsigned arg)
{
	struct pollfd fds[3] = { { .fd = pick_fd(who, -1) }, { .fd = pick_fd(arg, -1) }, { .fd = -1 } };
	struct epoll_event event = { 0 };
	fd_set set;

	call_begins();
	FD_ZERO(&set);
	FD_SET(fds[0].fd & 1023, &set);
	switch (arg % 4) {
	case 0: call_made_one(guest_poll(fds, 1 + arg / 4 % 3, arg & 128 ? -1 : 0)); break;
	case 1: call_made_one(guest_epoll_ctl(fds[0].fd, EPOLL_CTL_ADD, fds[1].fd, &event)); break;
	case 2: call_made_one(guest_epoll_wait(fds[0].fd, &event, 1, arg & 128 ? 10 : 0)); break;
	default: call_made_one(guest_select(1024, &set, NULL, NULL, NULL)); break;
	}
	kernel_now_ns += (uint64_t)(arg & 0x70) * 20000000u;
}

static void step_control(unsigned who, unsigned arg)
{
	int fd = pick_fd(who, -1), value = arg & 8 ? 1 : 0, error;
	socklen_t len = sizeof(value);

	call_begins();
	switch (arg % 5) {
	case 0: error = guest_fcntl(fd, F_SETFL, value ? O_NONBLOCK : 0); break;
	case 1: error = guest_ioctl(fd, FIONBIO, &value); break;
	case 2: error = guest_getsockopt(fd, SOL_SOCKET, SO_ERROR, &value, &len); break;
	case 3: error = guest_shutdown(fd, (int)(arg / 8 % 3)); break;
	default: error = guest_listen(fd, 5); break;
	}
	CHECK(kernel_trace.sends + kernel_trace.receives == 0 && (error != 0 || errno == UNTOUCHED));
}

/* The run goes on as the child. What the parent had begun of a line stays with it. */
static void step_fork(void)
{
	int i;

	for (i = 0; i < KERNEL_OBJECTS; i++)
		models[i].lossy = true;
	/* What the interrupted call is about is lost to the child. */
	if (in_handler)
		leaks = true;
	forked = true;
	io_after_fork();
}

static void run_step(const uint8_t *step)
{
	unsigned who = step[1], arg = step[2];

	if (talks)
		fprintf(stderr, "%sstep %u: %u %u %u\n", in_handler ? "handler: " : "", step[0] % 24, who, arg,
		        step[3]);
	kernel_fault_level = step[3] == 0 || in_handler ? 0 : 1 + step[3] % 7;
	kernel_seed = (step[3] * 2654435761u) ^ (arg << 8) ^ who;
	switch (step[0] % 24) {
	case 0: step_accept(arg); break;
	case 1: step_connect(arg); break;
	case 2: step_inherit(arg); break;
	case 3: step_others_are_born(arg); break;
	case 4: step_copy(who, arg); break;
	case 5: step_close(who, arg); break;
	case 6: step_wait(who, arg); break;
	case 7: step_control(who, arg); break;
	case 8:
		if (arg % 8 == 0)
			step_fork();
		break;
	case 9:
	case 10: step_peer_sends(who, arg); break;
	case 11:
	case 12:
	case 13: step_receive(who, arg); break;
	case 14:
	case 15: step_send(pick_fd(who, MODEL_CALLS), arg >> 3, who); break;
	case 16: step_send(pick_fd(who, -1), who >> 3, arg); break;
	case 17:
	case 18: step_send(pick_fd(who, MODEL_SERVED), who >> 1, arg); break;
	case 19: step_send(pick_fd(who, MODEL_CALLS), who >> 1, arg); break;
	default:
		if (in_handler)
			step_handler_logs(pick_fd(who, MODEL_LOG), arg);
		else
			step_send(pick_fd(who, MODEL_LOG), who >> 1, arg);
		break;
	}
}

/* The next step happens now, within a real call. */
static void handle(void)
{
	struct kernel_trace trace = kernel_trace;
	unsigned level = kernel_fault_level;
	uint32_t seed = kernel_seed;

	if (steps_end - steps < STEP)
		return;
	in_handler = true;
	steps += STEP;
	disturbed = steps[-STEP] % 24 == 4 || steps[-STEP] % 24 == 5 || steps[-STEP] % 24 == 8;
	run_step(steps - STEP);
	in_handler = false;
	kernel_trace = trace;
	kernel_fault_level = level;
	kernel_seed = seed;
}

/* ---- a run ---- */

static void log_is_there(int fd, ino_t ino, bool nonblock)
{
	struct kernel_object *o = kernel_new(ino & 1 ? KERNEL_FILE : KERNEL_PIPE);

	o->ino = ino; /* the same in every run: that is how a log is known */
	o->nonblock = nonblock;
	CHECK(kernel_install(o, fd) == fd);
	born(fd, MODEL_LOG);
}

static void start(const uint8_t *setting)
{
	static const char *const trees[] = { "9:100,9:101", "9:102,9:103" };
	int i;

	for (i = 0; i < KERNEL_OBJECTS; i++)
		kernel_objects[i] = (struct kernel_object){ .out = kernel_objects[i].out };
	memset(kernel_fd, 0, sizeof(kernel_fd));
	serial = 0;
	leaks = forked = model_cut = false;
	kernel_blocks_out = 0;
	kernel_fault_level = 0;
	kernel_handler = NULL;
	kernel_now_ns = 0;
	CHECK(kernel_install(kernel_new(KERNEL_OTHER), 0) == 0);
	born(0, MODEL_NOTHING);
	log_is_there(1, setting[0] & 1 ? 102 : 100, (setting[0] & 2) != 0);
	log_is_there(2, setting[0] & 1 ? 103 : 101, (setting[0] & 4) != 0);
	config.stdio_files = (struct config_name){ trees[setting[0] & 1], 11 };
	config.raw = (setting[0] & 0x30) == 0x30;
	config.loop_trust = (enum loop_trust)(setting[0] >> 6);
	kernel_takes = 0;
	kernel_fail_first = setting[1] == 0 ? 1000000 : setting[1];
	kernel_fail_last = kernel_fail_first + setting[2];
	logfiles_init();
	counters_page()->counter[0] = 0;
	memset(counters_page()->counter, 0, sizeof(counters_page()->counter));
}

/* Nothing goes wrong any more: the rest of the lines is written, everything closed and looked at. */
static void finish(void)
{
	unsigned responses = 0, calls = 0;
	int i, fd;

	kernel_fault_level = 0;
	kernel_handler = NULL;
	kernel_fail_first = 1000000;
	for (fd = 0; fd < KERNEL_FDS; fd++) {
		while (kernel_fd[fd] != 0 && is_log(fd) && model_of(fd)->tx_pos < model_of(fd)->tx_len) {
			kernel_seed = 0;
			step_send(fd, 0, 0);
		}
	}
	for (fd = KERNEL_FDS - 1; fd >= 0; fd--)
		if (kernel_fd[fd] != 0)
			guest_close(fd);
	guest_close_range(0, KERNEL_FDS, 0);
	for (i = 0; i < KERNEL_OBJECTS; i++) {
		const struct kernel_object *o = &kernel_objects[i];

		if (o->type == KERNEL_NONE)
			continue;
		if (models[i].kind == MODEL_SERVED || models[i].kind == MODEL_CALLS)
			model_check_connection(&models[i], o, &responses, &calls);
		else if (models[i].kind == MODEL_LOG)
			model_check_log(&models[i], o);
	}
	CHECK(forked || model_cut ||
	      (calls == counters_get(calls_injected) && responses == counters_get(response_headers)));
	current_clear();
	io_end_thread();
	io_after_fork(); /* a log that nothing led to any more keeps what it could not send */
	CHECK(leaks || kernel_blocks_out == 0);
}

/* Blocks are counted at the end of each run, which knows what a fork in a handler may leave. LeakSanitizer does not. */
int __lsan_is_turned_off(void);
int __lsan_is_turned_off(void)
{
	return 1;
}

static void *no_symbol(const char *name)
{
	(void)name;
	return NULL;
}

static void begin_program(void)
{
	config.enabled = true;
	config.root = true;
	config.log_mode = LOG_JSON;
	config.propagators = config.propagator_order[0] = PROPAGATE_TRACECONTEXT;
	config.service = (struct config_name){ "f", 1 };
	config.response_header = (struct config_name){ "x-zt", 4 };
	record_init();
	current_init("program", no_symbol);
	current_serve();
	io_set_ready(true);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static bool begun;

	if (size < 2 * STEP || size > STEP + STEPS_MAX * STEP)
		return 0;
	if (!begun)
		begin_program();
	talks = getenv("GUEST_TALKS") != NULL;
	begun = true;
	input = data;
	input_len = size;
	start(data);
	steps = data + STEP;
	steps_end = data + size;
	while (steps_end - steps >= STEP) {
		const uint8_t *step = steps;

		steps += STEP;
		disturbed = false;
		kernel_handler = step[3] >= 224 ? handle : NULL;
		run_step(step);
		kernel_handler = NULL;
	}
	finish();
	return 0;
}

/*
 * Connections: their lifetime, their lock, and what happens to those who come too late or cannot wait.
 */
#include <sched.h>
#include <sys/socket.h>

#include "core_fixture.h"

#define GET1 "GET /1 HTTP/1.1\r\n" CORE_PARENT "\r\n"
#define GET2 "GET /2 HTTP/1.1\r\n" CORE_OTHER_PARENT "\r\n"
#define OK "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"

/* ---- stale handles ---- */

CORE_TEST(a_handle_from_before_the_death_of_its_connection_is_refused)
{
	int fd = core_accept(false), next;
	struct conn_handle old = conn_find(fd);

	core_close(fd);
	CHECK(!conn_lock(old));
	next = core_accept(false);
	CHECK(core_conn(next) == old.conn); /* the same block */
	CHECK(!conn_lock(old));
	CHECK_INT(counters_get(stale_skipped), 2);
	core_receive_text(next, GET1);
	CHECK_KNOWN(CORE_TRACE);
	core_close(next);
}

CORE_TEST(bytes_received_for_a_closed_connection_do_not_reach_its_successor)
{
	int fd = core_accept(false), next;
	struct io_receive io;

	CHECK(io_receive_begin(&io, fd));
	core_close(fd); /* by another thread, during the read */
	next = core_accept(false);
	io_receive_end(&io, &(struct iovec){ GET1, sizeof(GET1) - 1 }, 1, sizeof(GET1) - 1, false);
	CHECK_INT(core_conn(next)->mode, CONN_FRESH);
	CHECK_NOTHING_KNOWN();
	core_receive_text(next, GET2);
	CHECK_KNOWN(CORE_OTHER_TRACE);
	core_close(next);
}

CORE_TEST(bytes_sent_on_a_closed_connection_do_not_reach_its_successor)
{
	struct iovec iov = { OK, sizeof(OK) - 1 };
	int fd = core_accept(false), next;
	struct io_send io;

	core_receive_text(fd, GET1);
	CHECK_INT(io_send_begin(&io, fd, &iov, 1), IO_WATCH);
	core_close(fd);
	next = core_accept(false);
	core_receive_text(next, GET2);
	io_send_end(&io, sizeof(OK) - 1);
	CHECK_TRACE(served_answering(core_conn(next)), CORE_OTHER_TRACE);
	core_close(next);
}

/* Somebody with a stale handle has the lock for a moment: the block's next life must neither free it nor look like the old one. */
CORE_TEST(a_block_that_comes_back_keeps_the_lock_of_a_late_comer_and_its_generation)
{
	int fd = core_accept(false), next;
	struct conn *conn = core_conn(fd);
	uint32_t gen = conn->gen;

	core_close(fd);
	CHECK_INT(conn->gen, gen + 1);
	conn->lock = 12345;
	next = core_accept(false);
	CHECK(core_conn(next) == conn);
	CHECK_INT(conn->lock, 12345);
	CHECK_INT(conn->gen, gen + 1);
	conn_unlock(conn);
	core_receive_text(next, GET1);
	CHECK_KNOWN(CORE_TRACE);
	core_close(next);
}

/* ---- the lock ---- */

/* As in a signal handler that interrupted this thread within the core. */
CORE_TEST(a_signal_handler_above_the_lock_gives_up_at_once_and_the_connection_passes_through)
{
	struct wire w = { 0 };
	int fd = core_accept(false);
	struct conn_handle handle = conn_find(fd);

	core_receive_text(fd, GET1);
	CHECK(conn_lock(handle));
	core_receive_text(fd, GET2);
	CHECK_INT(wire_send(&w, fd, OK, sizeof(OK) - 1), sizeof(OK) - 1);
	CHECK_WIRE(&w, OK);
	CHECK(counters_get(busy_skipped) >= 2);
	conn_unlock(handle.conn);
	core_send_text(fd, OK);
	CHECK_INT(core_conn(fd)->mode, CONN_OPAQUE);
	CHECK(served_answering(core_conn(fd)) == NULL);
	CHECK_INT(core_conn(fd)->depth, 0);
	wire_free(&w);
	core_close(fd);
}

CORE_TEST(a_connection_closed_by_a_handler_above_its_lock_is_buried_by_the_owner)
{
	int fd = core_accept(false);
	struct conn_handle handle = conn_find(fd);
	struct request *request;

	core_receive_text(fd, GET1);
	request = request_ref(core_conn(fd)->first->request);
	CHECK(conn_lock(handle));
	core_close(fd);
	CHECK(handle.conn->zombie);
	CHECK_INT(request_state(request), REQUEST_LIVE);
	conn_unlock(handle.conn);
	CHECK_INT(request_state(request), REQUEST_ENDED);
	CHECK(!handle.conn->zombie);
	CHECK_INT(handle.conn->gen, handle.gen + 1);
	request_unref(request);
}

CORE_TEST(a_lock_that_another_thread_never_lets_go_of_is_not_waited_for_long)
{
	int fd = core_accept(false);

	core_conn(fd)->lock = 12345;
	core_receive_text(fd, GET1);
	CHECK_INT(counters_get(busy_skipped), 1);
	CHECK_NOTHING_KNOWN();
	conn_unlock(core_conn(fd));
	core_receive_text(fd, GET2);
	CHECK_NOTHING_KNOWN();
	CHECK_INT(core_conn(fd)->mode, CONN_OPAQUE);
	core_close(fd);
}

static struct conn *yielded_for;
static unsigned yields;

/* In place of libc's: the owner gets its processor back after a while. */
int sched_yield(void)
{
	if (yielded_for != NULL && ++yields == 5000)
		__atomic_store_n(&yielded_for->lock, 0, __ATOMIC_RELEASE);
	return 0;
}

CORE_TEST(a_lock_whose_owner_lost_its_processor_for_a_while_is_waited_for)
{
	bool known = false;
	int tries;

	/* So may we, for longer than is waited. */
	for (tries = 0; tries < 20 && !known; tries++) {
		int fd = core_accept(false);

		yields = 0;
		yielded_for = core_conn(fd);
		yielded_for->lock = 12345;
		core_receive_text(fd, GET1);
		yielded_for = NULL;
		core_conn(fd)->lock = 0;
		known = current_known() != NULL;
		CHECK_INT(core_conn(fd)->missed, !known);
		core_close(fd);
	}
	CHECK(known);
}

CORE_TEST(the_parents_lock_is_void_in_a_forked_child)
{
	int fd = core_accept(false), status;
	struct conn_handle handle = conn_find(fd);
	pid_t pid;

	core_receive_text(fd, GET1);
	CHECK(conn_lock(handle)); /* as by another thread of the parent */
	pid = fork();
	if (pid == 0) {
		io_after_fork();
		CHECK(conn_lock(handle));
		CHECK_INT(handle.conn->mode, CONN_OPAQUE); /* what the owner was doing is half done */
		CHECK(handle.conn->first == NULL);
		conn_unlock(handle.conn);
		core_close(fd);
		current_clear();
		CHECK_INT(core_blocks_out, 0);
		_exit(0);
	}
	CHECK_INT(waitpid(pid, &status, 0), pid);
	CHECK_INT(status, 0);
	conn_unlock(handle.conn);
	core_close(fd);
}

CORE_TEST(a_lock_that_nobody_had_survives_the_fork)
{
	int fd = core_accept(false);

	core_receive_text(fd, GET1);
	io_after_fork();
	core_send_text(fd, OK);
	CHECK_INT(core_conn(fd)->mode, CONN_HTTP1);
	CHECK_INT(counters_get(busy_skipped), 0);
	core_close(fd);
}

/* ---- descriptors ---- */

CORE_TEST(copies_of_a_descriptor_share_the_connection_until_the_last_one_closes)
{
	int fd = core_accept(false), copy = core_next_fd++, third = core_next_fd++;
	struct request *request;

	fds_dup(fd, copy);
	fds_dup(copy, third);
	fds_dup(copy, copy);
	CHECK(core_conn(copy) == core_conn(fd) && core_conn(third) == core_conn(fd));
	core_receive_text(fd, GET1);
	request = request_ref(current_known());
	core_close(fd);
	core_close(copy);
	CHECK_INT(request_state(request), REQUEST_LIVE);
	core_send_text(third, OK);
	CHECK_INT(request_state(request), REQUEST_ENDED);
	request_unref(request);
	core_close(third);
}

CORE_TEST(a_birth_lets_go_of_what_an_unseen_close_left)
{
	int fd = core_accept(false), other = core_accept(false);

	core_receive_text(fd, GET1);
	io_accepted(CORE_LISTENER, fd, false); /* closed by an inline system call, and accepted again */
	CHECK_INT(core_conn(fd)->mode, CONN_FRESH);
	fds_birth(fd, FD_CHANNEL);
	CHECK(core_conn(fd) == NULL);
	fds_dup(fd, other); /* dup2 closes what was there */
	CHECK_INT(fds_kind(fds_word(other)), FD_CHANNEL);
}

CORE_TEST(ranges_die_at_once_and_the_numbers_around_them_live)
{
	int i, fd[5];

	for (i = 0; i < 5; i++)
		fd[i] = core_accept(false);
	fds_death_range((unsigned)fd[1], (unsigned)fd[3]);
	CHECK(core_conn(fd[0]) && core_conn(fd[4]));
	for (i = 1; i < 4; i++)
		CHECK_INT(fds_word(fd[i]), FD_UNKNOWN);
	fds_death_range(0, UINT32_MAX);
	CHECK_INT(fds_word(fd[0]), FD_UNKNOWN);
	fds_death_range(5, 4);
}

CORE_TEST(numbers_beyond_the_table_are_nothing_and_counted)
{
	CHECK_INT(fds_word(-1), FD_NOTHING);
	CHECK_INT(fds_word(LIMIT_FDS), FD_NOTHING);
	CHECK_INT(fds_word(INT32_MAX), FD_NOTHING);
	fds_birth(-1, FD_STREAM);
	CHECK_INT(counters_get(fd_limit_skipped), 0);
	fds_birth(LIMIT_FDS, FD_STREAM);
	CHECK_INT(counters_get(fd_limit_skipped), 1);
	fds_birth_conn(LIMIT_FDS, conn_new(CONN_SERVED));
	CHECK_INT(counters_get(fd_limit_skipped), 2);
	fds_birth(LIMIT_FDS - 1, FD_STREAM);
	CHECK_INT(fds_word(LIMIT_FDS - 1), FD_STREAM);
	fds_dup(LIMIT_FDS - 1, 5000);
	CHECK_INT(fds_word(5000), FD_STREAM);
	CHECK_INT(fds_kind(fds_learn(-1)), FD_NOTHING);
	core_receive_text(-1, GET1);
	core_receive_text(INT32_MAX, GET1);
}

CORE_TEST(unknown_descriptors_are_looked_at_once)
{
	int pair[2], pipes[2], null = open("/dev/null", O_RDWR), listener = socket(AF_UNIX, SOCK_STREAM, 0);
	struct sockaddr_un {
		sa_family_t family;
		char path[16];
	} addr = { AF_UNIX, "" };

	os.getsockopt = getsockopt;
	CHECK_INT(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
	CHECK_INT(pipe(pipes), 0);
	CHECK_INT(fds_kind(fds_learn(pair[0])), FD_CONN);
	CHECK_INT(core_conn(pair[0])->role, CONN_UNDECIDED);
	CHECK_INT(fds_kind(fds_learn(pipes[0])), FD_CHANNEL);
	CHECK_INT(fds_kind(fds_learn(null)), FD_NOTHING);
	CHECK_INT(fds_kind(fds_learn(listener)), FD_STREAM);
	fds_birth(listener, FD_UNKNOWN);
	CHECK_INT(bind(listener, (struct sockaddr *)&addr, sizeof(sa_family_t)), 0);
	CHECK_INT(listen(listener, 1), 0);
	CHECK_INT(fds_kind(fds_learn(listener)), FD_LISTENER);
	CHECK_INT(fds_kind(fds_learn(socket(AF_UNIX, SOCK_DGRAM, 0))), FD_CHANNEL);
	close(null);
	fds_death(null);
	CHECK_INT(fds_kind(fds_learn(null)), FD_NOTHING);
	CHECK_INT(fds_word(null), FD_UNKNOWN); /* not open: nothing was learned */
	fds_death(pair[0]);
}

/* Copied before it was used, as by a shell: one connection, or each number would insert into what the other one sends. */
CORE_TEST(a_copy_of_an_inherited_number_is_the_same_connection)
{
	int pair[2], copy = core_next_fd++;

	os.getsockopt = getsockopt;
	CHECK_INT(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
	errno = 4711;
	fds_dup(pair[0], copy);
	CHECK_INT(errno, 4711);
	CHECK(core_conn(copy) != NULL && core_conn(copy) == core_conn(pair[0]));
	fds_death(pair[0]);
	fds_death(copy);
	close(pair[0]);
	close(pair[1]);
}

/* ---- inherited connections ---- */

static int inherited(void)
{
	int fd = core_next_fd++;

	fds_birth_conn(fd, conn_new(CONN_UNDECIDED));
	return fd;
}

CORE_TEST(whoever_sends_the_first_request_is_the_client)
{
	struct wire w = { 0 };
	int served = inherited(), outgoing = inherited();

	core_receive_text(served, GET1);
	CHECK_INT(core_conn(served)->role, CONN_SERVED);
	CHECK_KNOWN(CORE_TRACE);
	CHECK(current_serves());
	CHECK_INT(wire_send(&w, outgoing, "GET / HTTP/1.1\r\n\r\n", 18), 18);
	CHECK_INT(core_conn(outgoing)->role, CONN_OUTGOING);
	CHECK_WIRE(&w, "GET / HTTP/1.1\r\n" CORE_INSERTED "\r\n");
	wire_free(&w);
	core_close(served);
	core_close(outgoing);
}

CORE_TEST(a_failed_connect_leaves_a_socket_that_may_connect_again)
{
	struct sockaddr_in addr = { .sin_family = AF_INET };
	int fd = core_next_fd++;

	fds_birth(fd, FD_STREAM);
	CHECK(io_connect_begin(fd, (struct sockaddr *)&addr, sizeof(addr)));
	io_connect_end(fd, -1, ECONNREFUSED);
	CHECK_INT(fds_kind(fds_word(fd)), FD_STREAM);
	CHECK(io_connect_begin(fd, (struct sockaddr *)&addr, sizeof(addr)));
	io_connect_end(fd, -1, EINPROGRESS);
	CHECK_INT(fds_kind(fds_word(fd)), FD_CONN);
	CHECK(!io_connect_begin(fd, (struct sockaddr *)&addr, sizeof(addr)));
	CHECK_INT(fds_kind(fds_word(fd)), FD_CONN);
	CHECK(!io_connect_begin(fd, NULL, 0));
	CHECK(!io_connect_begin(fd, (struct sockaddr *)&addr, 1));
	addr.sin_family = AF_UNSPEC;
	CHECK(!io_connect_begin(fd, (struct sockaddr *)&addr, sizeof(addr)));
	core_close(fd);
}

CORE_TEST(whether_a_descriptor_blocks_is_asked_once_and_kept_up_to_date)
{
	int fd = inherited();

	core_flags = O_NONBLOCK;
	CHECK(!conn_is_blocking(core_conn(fd), fd));
	core_flags = 0;
	CHECK(!conn_is_blocking(core_conn(fd), fd));
	io_set_nonblocking(fd, false);
	CHECK(conn_is_blocking(core_conn(fd), fd));
	io_set_nonblocking(fd, true);
	CHECK(!conn_is_blocking(core_conn(fd), fd));
	core_close(fd);
}

/* Files alone fill no chunk in. */
CORE_TEST(a_range_that_is_closed_takes_files_along)
{
	CHECK(fds_birth_of_file(200));
	CHECK(!fds_birth_of_file(200));
	CHECK_INT(fds_kind(fds_word(200)), FD_NOTHING);
	fds_death_range(3, UINT32_MAX);
	CHECK_INT(fds_kind(fds_word(200)), FD_UNKNOWN);
	CHECK(fds_birth_of_file(200));
	CHECK(fds_death_of_file(200));
	CHECK(!fds_death_of_file(200));
}

int main(void)
{
#define TEST(name) cmocka_unit_test(name)
	const struct CMUnitTest tests[] = {
		TEST(a_handle_from_before_the_death_of_its_connection_is_refused),
		TEST(bytes_received_for_a_closed_connection_do_not_reach_its_successor),
		TEST(bytes_sent_on_a_closed_connection_do_not_reach_its_successor),
		TEST(a_block_that_comes_back_keeps_the_lock_of_a_late_comer_and_its_generation),
		TEST(a_signal_handler_above_the_lock_gives_up_at_once_and_the_connection_passes_through),
		TEST(a_connection_closed_by_a_handler_above_its_lock_is_buried_by_the_owner),
		TEST(a_lock_that_another_thread_never_lets_go_of_is_not_waited_for_long),
		TEST(a_lock_whose_owner_lost_its_processor_for_a_while_is_waited_for),
		TEST(the_parents_lock_is_void_in_a_forked_child),
		TEST(a_lock_that_nobody_had_survives_the_fork),
		TEST(copies_of_a_descriptor_share_the_connection_until_the_last_one_closes),
		TEST(a_birth_lets_go_of_what_an_unseen_close_left),
		TEST(ranges_die_at_once_and_the_numbers_around_them_live),
		TEST(numbers_beyond_the_table_are_nothing_and_counted),
		TEST(unknown_descriptors_are_looked_at_once),
		TEST(a_copy_of_an_inherited_number_is_the_same_connection),
		TEST(whoever_sends_the_first_request_is_the_client),
		TEST(a_failed_connect_leaves_a_socket_that_may_connect_again),
		TEST(whether_a_descriptor_blocks_is_asked_once_and_kept_up_to_date),
		TEST(a_range_that_is_closed_takes_files_along),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

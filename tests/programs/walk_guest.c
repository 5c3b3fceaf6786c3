/*
 * Random walks of calls: `walk_guest SEED STEPS DIR [plain] [threads]`. tests/preload/walk.py runs one bare and preloaded and compares.
 *
 * A seed makes a sequence of calls on connections, logs, pipes and files, by one or two threads that take turns, and by forked and
 * started children. DIR/trail has what each call returned, errno, and a checksum of what was got (torture.h); DIR/wire a line a connection:
 *
 *     name PLACES BYTES    what its peer got, in hexadecimal; at which of the program's own bytes a header may stand in front (or -)
 *
 * Nothing in it depends on the clock. The peers are the process' own, and are served by system calls that nobody interposes; before a
 * call is made that looks at a connection, what its peer sent has arrived.
 *
 *     plain     logs are not rewritten
 *     threads   two of them, who take turns
 */
#include "walk_process.h"
#include "walk_side.h"

#include <linux/futex.h>

static inline struct conn *any_conn(void)
{
	struct conn *conn = &conns[dice(WALK_CONNS)];

	return conn->talk == NULL ? NULL : conn;
}

static void change_conn(struct conn *conn)
{
	int one = 1, fd = any_fd(conn);

	switch (dice(7)) {
	case 0: shut_conn(conn); break;
	case 1:
		conn->talk->nonblocking = !conn->talk->nonblocking;
		CALL(fcntl(fd, F_SETFL, O_RDWR | (conn->talk->nonblocking ? O_NONBLOCK : 0)), "F_SETFL(%d)", fd);
		break;
	case 2:
		conn->talk->nonblocking = true;
		CALL(ioctl(fd, FIONBIO, &one), "FIONBIO(%d)", fd);
		break;
	case 3: CALL(setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one)), "TCP_NODELAY(%d)", fd); break;
	case 4: replace_one(conn, &conns[dice(WALK_CONNS)]); break;
	default: copy_conn(conn); break;
	}
}

static void step_on_conn(struct conn *conn)
{
	size_t what = dice(100);

	if (what < 5)
		say_exchange(conn->talk);
	else if (what < 28)
		peer_sends(conn);
	else if (what < 52)
		receive_some(conn);
	else if (what < 87)
		send_some(conn);
	else if (what < 93)
		change_conn(conn);
	else if (what < 95)
		peer_ends(conn);
	else
		close_one(conn);
}

static void step(void)
{
	size_t what = dice(100);
	struct conn *conn = any_conn();

	if (conn == NULL && what < 74) {
		conn = &conns[dice(WALK_CONNS)];
		if (conn->talk == NULL && *walk_taken < WALK_DIALOGUES)
			open_conn(conn);
	} else if (what < 74) {
		step_on_conn(conn);
	} else if (what < 90) {
		log_some();
	} else if (what < 93) {
		change_log();
	} else if (what < 97) {
		wait_some();
	} else if (what < 98) {
		beside();
	} else if (chance(50) && !walk_calm) {
		make_child();
	}
	if (walk_two_threads)
		end_lines();
}

static void walk_steps(int count)
{
	while (count-- > 0) {
		walk_step++;
		step();
	}
}

/* ---- two threads that take turns ---- */

static int walk_turn, walk_left; /* whose turn it is; what is left of the steps, under its turn */

static void wait_for_turn(int me)
{
	int turn;

	while ((turn = __atomic_load_n(&walk_turn, __ATOMIC_ACQUIRE)) != me && turn != -1)
		raw6(SYS_futex, (long)&walk_turn, FUTEX_WAIT, turn, 0, 0, 0);
}

static void give_turn(int to)
{
	__atomic_store_n(&walk_turn, to, __ATOMIC_RELEASE);
	raw6(SYS_futex, (long)&walk_turn, FUTEX_WAKE, 2, 0, 0, 0);
}

static void *take_turns(void *arg)
{
	int me = (int)(intptr_t)arg;

	walk_state = walk_seed * 2 + (uint64_t)me;
	walk_who = (char)('a' + me);
	for (;;) {
		wait_for_turn(me);
		if (walk_left <= 0 || walk_turn == -1)
			break;
		walk_left -= 3;
		walk_steps(3);
		give_turn((int)dice(2));
	}
	give_turn(-1);
	return NULL;
}

static void walk_by_threads(int steps)
{
	pthread_t other;

	walk_left = steps;
	must(pthread_create(&other, NULL, take_turns, (void *)(intptr_t)1) == 0, "a thread");
	take_turns((void *)(intptr_t)0);
	pthread_join(other, NULL);
}

/* ---- the whole ---- */

static void count_signal(int signal)
{
	walk_signals += signal == SIGPIPE;
}

static void begin_walk(void)
{
	struct sigaction action = { .sa_handler = count_signal };
	struct sigaction ignore = { .sa_handler = SIG_IGN };
	char *map;

	walk_state = walk_seed;
	walk_room = mmap(NULL, WALK_ROOM + 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	must(walk_room != MAP_FAILED && mprotect(walk_room + WALK_ROOM, 4096, PROT_NONE) == 0, "room");
	map = mmap(NULL, 4096 + WALK_DIALOGUES * sizeof(struct dialogue), PROT_READ | PROT_WRITE,
	           MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	must(map != MAP_FAILED, "memory to share");
	walk_taken = (int *)(void *)map;
	walk_arena = (struct dialogue *)(void *)(map + 4096);
	sigaction(SIGPIPE, chance(70) ? &action : &ignore, NULL);
	walk_kind = dice(3);
	walk_calm = chance(40);
	begin_logs();
	/* A walk that hangs ends. */
	alarm(40);
}

/* How the process ends: what its streams hold is lost with some of these, with the object and without. */
static int end_walk(void)
{
	end_lines();
	end_conns();
	tell("the end");
	switch (dice(4)) {
	case 0: _exit(3);
	case 1: quick_exit(4);
	case 2: exit(5);
	default: return 6;
	}
}

int main(int argc, char **argv)
{
	int i, steps;

	if (argc < 4)
		return 98;
	walk_self = argv[0];
	torture_begin(argv[3]);
	for (i = 4; i < argc; i++) {
		walk_plain |= strcmp(argv[i], "plain") == 0;
		walk_two_threads |= strcmp(argv[i], "threads") == 0;
	}
	walk_is_child = strcmp(argv[1], "child") == 0;
	walk_seed = strtoull(argv[walk_is_child ? 2 : 1], NULL, 10);
	begin_walk();
	if (walk_is_child) {
		walk_who = '+';
		for (steps = 1 + (int)dice(8); steps > 0; steps--) {
			log_some();
			change_log();
		}
	} else if (walk_two_threads) {
		walk_by_threads(atoi(argv[2]));
	} else {
		walk_steps(atoi(argv[2]));
	}
	return end_walk();
}

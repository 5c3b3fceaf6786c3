/*
 * Evidence for hand-offs: which request does a worker take out of a queue?
 *
 * A reader thread puts jobs into a queue, guarded by a mutex and a condition; a worker takes one out, unlocks, and works for its
 * request: it logs, calls others, and in the end writes the response. Nothing but the last of these says whose it was, and too
 * late. But whoever will write to a connection must be able to find its descriptor; and where in the job that number stands is
 * fixed when the program is compiled: in some register or word of the stack at the moment of the unlock, or at some offset
 * from a pointer there, or from a pointer that lies there (the job points to a connection, that has the number), and so on. So the place is
 * learned, from the responses:
 *
 *   WATCHED   A place in the program that unlocks a queue, by a path of calls: a site. Does its thread write one response
 *             before it is here again? Where jobs are put in, it does not.
 *   EXPLORED  All ways from the words of the stack to any connection with a request that waits are noted; the response then
 *             says which of them led to the right one.
 *   TESTED    A way that leads elsewhere than to the connection that is answered is struck off, for good. What is left after
 *             PROVEN jobs, each of which could have been another's, is what is fixed in the program.
 *   trusted   From then on a job's request is known when it is taken: if *all* ways that are left name the same connection,
 *             and that has one request which waits for its answer. The first response that says otherwise ends it for good.
 *
 * Why this one. Tagging what the reader allocates while its request is known (malloc hooked) was the plan. Tags mislead where a
 * job is a session that several requests share, where a loop reads several requests before it makes their jobs, or makes the
 * next job before it reads; they know nothing of jobs by value, from slabs or of connections that live long; and every program
 * pays for a hook in malloc. The number that will be written to is not about who made the job but what it is for: a session, a
 * slab, a copy in the queue do not matter; jobs from which it cannot be found in three steps stay unknown.
 *
 * What could still make it wrong, and what stands against each:
 *   - A false way that has always been right, and the true one out of reach (a session that keeps the number of whoever used it
 *     last). A true way that is in reach is always there and disagrees. Else PROVEN jobs, all while others waited.
 *   - A queue that behaves otherwise when it is busier (takes several jobs at a time, of which each names the first). Trust is
 *     by level of how many wait, in powers of two: a level counts when LEVEL_PROOFS jobs were as expected there. Two responses
 *     for one job end it for good, as do jobs about connections without a request (a job behind the response, or before a
 *     request was read): the next request of that connection may be there one day.
 *   - A request that two jobs name: the second time ends it for good.
 *   - A handler that takes another job while it waits (nested): one that was left without its response is no proof against
 *     returning to it, so the next one's request is not told. If it is often so, it ends.
 *   - Left-overs: a copied structure has a part that nobody looks at, right but for jobs that overtake each other. What is known
 *     holds only while the thread has the job at hand, in a place where it was not when the job was taken (evidence_live.c); that is
 *     asked at each line and call. Left-overs are copied by nobody; and a coroutine on another stack has nothing at hand.
 * It says nothing of threads that read requests themselves, nor of event loops: current.c has proofs for these.
 *
 * Who may call: any thread, not signal handlers (a handler does not unlock mutexes); whoever comes upon a table in use goes on
 * without. Nothing is locked but a connection, for the length of a look. Memory: one table, mapped at the start, only where
 * it is asked for; SITES and CANDIDATES bound it.
 */
#include "evidence.h"

#include <string.h>

#include "evidence_internal.h"
#include "os.h"
#include "own.h"
#include "status_page.h"

#define SITES 64u        /* a program has a few queues; where it puts jobs in counts too */
#define CANDIDATES 4096u /* small numbers are everywhere */
#define CALLS 4u         /* of a path, by which an unlock is reached */
#define FAMILIAR 4u      /* responses before it is worth exploring */
#define EXPLORATIONS 12u /* that came to nothing, before a site is given up */
#define ATTEMPTS 96u     /* of exploring, with those whose job got no response */
#define REFINING 64u     /* jobs that strike off ways one by one, before all that are left are asked together */
#define STRIKE 16u       /* a job whose response somebody else began, against one with */
#define STRIKES_MAX 1024u
#define FRAME_MAX 262144u /* what may lie between two frame pointers */

struct table {
	struct site site[SITES];
	struct owner owner[OWNERS];
	struct claim exploring;
	unsigned candidates;
	struct candidate candidate[CANDIDATES];
};

_Static_assert(sizeof(struct table) <= 152 * 1024, "as DESIGN says");

/* What this thread has taken, since it last unlocked a queue. */
struct episode {
	struct site *site; /* NULL: nothing */
	uint64_t named;    /* the request that evidence names; 0: none */
	uint64_t answered; /* the one whose response it has begun; 0: none */
	struct live live;
	const void *waited; /* the mutex that it has waited with since, if any */
	uint32_t ticket;    /* it learns from this one */
	int fd;             /* whose request is named */
	uint8_t level;
	bool asked;    /* all ways together */
	bool believed; /* trusted at this level */
	bool loose;    /* what it took before was left without a response */
};

_Static_assert(sizeof(struct episode) <= HANDOFF_BLOCK, "");
_Static_assert(SITES < UINT8_MAX, "a site's number is noted with a request");

uint8_t evidence_queues[EVIDENCE_FILTER];
struct handoff_core evidence_core;

static struct table *table;
/* NULL: this thread has nothing to do with queues. Threads of programs that do not ask for this pay a pointer. */
static __thread struct episode *episode __attribute__((tls_model("initial-exec")));

static struct episode *episode_of_thread(void)
{
	if (episode != NULL)
		return episode;
	episode = evidence_core.block();
	if (episode == NULL) {
		evidence_core.count(STATUS_no_memory_skipped);
		return NULL;
	}
	memset(episode, 0, sizeof(*episode));
	evidence_core.notice_thread();
	return episode;
}

/* ---- sites ---- */

static uint64_t mix(uint64_t a, uint64_t b)
{
	a = (a ^ b) * 0x9e3779b97f4a7c15u;
	return a ^ a >> 29;
}

/*
 * A site is a place in the program, reached in one way: by which calls (as far as frame pointers tell, in programs that are not
 * optimized), and how deep in the thread's stack. The thread's own memory is at the end of it.
 */
static uint64_t key_of(const void *queue, uintptr_t at, const struct words *words)
{
	uintptr_t first = (uintptr_t)words->word, frame, next, place;
	uint64_t key = mix(mix((uintptr_t)queue, at), (uintptr_t)&episode - first);
	unsigned i;

	frame = words->count > EVIDENCE_SAVED ? words->word[EVIDENCE_SAVED] : 0;
	for (i = 0; i < CALLS; i++, frame = next) {
		place = (frame - first) / sizeof(uintptr_t);
		if (frame <= first || frame % sizeof(uintptr_t) != 0 || place + 1 >= words->count)
			break;
		next = words->word[place];
		if (next <= frame || next - frame > FRAME_MAX)
			break; /* no frame pointer, but whatever the program keeps in that register */
		key = mix(key, words->word[place + 1]);
	}
	return key | 1;
}

static struct site *find_site(uint64_t key)
{
	unsigned at = (unsigned)(key >> 32) % SITES, tries;

	for (tries = 0; tries < SITES / 4; tries++, at = (at + 1) % SITES) {
		struct site *site = &table->site[at];
		uint64_t seen = __atomic_load_n(&site->key, __ATOMIC_ACQUIRE);

		if (seen == 0 && own_replace64(&site->key, &seen, key))
			return site;
		if (seen == key)
			return site;
	}
	evidence_core.count(STATUS_handoffs_skipped);
	return NULL;
}

static unsigned level_now(void)
{
	uint32_t waiting = evidence_core.waiting();

	return waiting < 2 ? 0 : 31 - (unsigned)__builtin_clz(waiting > 65535 ? 65535 : waiting);
}

/* ---- a job is taken ---- */

/* Nothing was found in what a response confirmed. */
static void explored_in_vain(struct site *site)
{
	site_forget_proofs(site);
	if (++site->explorations >= EXPLORATIONS)
		site_switch_off(site);
	else
		site_set_state(site, SITE_EXPLORED);
}

static void begin_exploring(struct episode *me, struct site *site, const struct words *words)
{
	if (site->attempts >= ATTEMPTS) {
		site_switch_off(site);
		return;
	}
	if (!claim_take(&table->exploring))
		return;
	site->attempts++;
	table->candidates = paths_explore(table->candidate, CANDIDATES, words);
	me->ticket = claim_leave(&table->exploring);
}

static void begin_refining(struct episode *me, struct site *site, const struct words *words)
{
	struct paths_read read = { .count = 0 };

	if (!claim_take(&site->claim))
		return;
	for (unsigned i = 0; i < site->paths; i++)
		site->request[i] = evidence_core.request_at(paths_follow(&site->path[i], words, &read));
	me->ticket = claim_leave(&site->claim);
}

/*
 * The one descriptor that all ways lead to, or -1. Noted as live is where the number lies, and what led there as far as it is this job's
 * alone, which shows only while others wait: `others`, that was so often enough.
 */
static int agreed(struct site *site, const struct words *words, bool others, struct paths_read *read, struct live *live)
{
	uint32_t before = site_changes(site);
	int fd = -1, other;
	unsigned i, back;

	live_begin(live, words);
	paths_read_ahead(site->path, site->paths, words, read);
	for (i = 0; i < site->paths; i++) {
		const struct path *path = &site->path[i];
		uint8_t shared = __atomic_load_n(&path->shared, __ATOMIC_RELAXED);

		other = paths_follow(path, words, read);
		if (other < 0 || (i > 0 && other != fd))
			return -1;
		fd = other;
		for (back = 0; back < path->depth; back++)
			if (back == 0 || (others && (shared >> back & 1) == 0))
				live_add(live, read->pointer[back]);
	}
	live_add_number(live, fd);
	return site_has_changed(site, before) ? -1 : fd;
}

/* Does another request that waits lead over the same pointers? Returns whether that was not known yet. */
static bool look_for_shared(const struct episode *me, struct site *site, const struct words *words,
                            struct paths_read *read)
{
	bool found = false;
	unsigned i, back;

	for (i = 0; i < site->paths; i++) {
		struct path *path = &site->path[i];

		if (paths_follow(path, words, read) != me->fd)
			continue;
		for (back = 1; back < path->depth; back++) {
			uintptr_t pointer = read->pointer[back];

			if ((__atomic_load_n(&path->shared, __ATOMIC_RELAXED) >> back & 1) != 0 ||
			    live_is_in_stack(&me->live, pointer) ||
			    live_is_own(table->owner, pointer, me->named, me->fd))
				continue;
			(void)__atomic_or_fetch(&path->shared, (uint8_t)(1u << back), __ATOMIC_RELAXED);
			found = true;
		}
	}
	return found;
}

/* A reference to the request, or NULL. A second job for it ends the trust. */
static struct request *take_request(struct site *site, int fd, uint64_t id)
{
	struct request *request;

	if (!evidence_core.take(fd, id, (uint8_t)(1 + (site - table->site)), &request))
		site_switch_off(site);
	return request;
}

static void ask(struct episode *me, struct site *site, const struct words *words)
{
	struct paths_read read = { .count = 0 };
	unsigned trusted = site_trusted_below(site);
	bool others = trusted > 1;
	int fd = agreed(site, words, others, &read, &me->live);
	struct request *request;
	uint64_t id;

	me->asked = true;
	me->believed = me->level < trusted;
	if (fd < 0)
		return;
	id = evidence_core.request_at(fd);
	if (id == HANDOFF_IDLE)
		site_switch_off(site);
	if (id <= HANDOFF_UNSURE || (request = take_request(site, fd, id)) == NULL)
		return;
	me->named = id;
	me->fd = fd;
	if (look_for_shared(me, site, words, &read) &&
	    agreed(site, words, others, &read, &me->live) != fd) /* without it */
		live_begin(&me->live, words);
	live_end(&me->live, words);
	if (me->believed && !me->loose) {
		evidence_core.count(STATUS_handoffs_named);
		evidence_core.work_for(request);
	}
	evidence_core.unref(request);
}

/* ---- a job ends ---- */

/*
 * Returns whether it was left without a response, though it had a request. While that still waits, this thread was not the one to
 * answer it: the evidence was false. Otherwise somebody else may have, or the client has gone.
 */
static bool end_episode(struct episode *me)
{
	struct site *site = me->site;

	if (site == NULL)
		return false;
	me->site = NULL;
	if (me->ticket != 0 && claim_take_again(&site->claim, me->ticket))
		claim_end(&site->claim);
	else if (me->ticket != 0 && claim_take_again(&table->exploring, me->ticket))
		claim_end(&table->exploring);
	if (me->answered != 0 || me->named == 0)
		return false;
	if (evidence_core.request_at(me->fd) == me->named ||
	    __atomic_add_fetch(&site->strikes, STRIKE, __ATOMIC_RELAXED) > STRIKES_MAX)
		site_switch_off(site);
	return true;
}

void evidence_leave(void)
{
	if (episode != NULL)
		(void)end_episode(episode);
}

void evidence_end_thread(void)
{
	struct episode *me = episode;

	if (me == NULL)
		return;
	(void)end_episode(me);
	episode = NULL;
	evidence_core.give_block(me);
}

void evidence_unlocked(const void *queue, uintptr_t at, const uintptr_t *word, unsigned count)
{
	struct words words = { word, count };
	struct episode *me = episode_of_thread();
	struct site *site;
	bool waited;

	if (me == NULL)
		return;
	site = find_site(key_of(queue, at, &words));
	waited = me->waited == queue;
	me->waited = NULL;
	if (site != NULL && waited)
		__atomic_store_n(&site->waits, true, __ATOMIC_RELAXED);
	/* In the midst of a job something is put into a queue. (What is taken there would have been waited for one day.) */
	if (me->site != NULL && me->named != 0 && me->answered == 0 && site != NULL &&
	    !__atomic_load_n(&site->waits, __ATOMIC_RELAXED))
		return;
	me->loose = end_episode(me);
	if (!evidence_core.begin_job() || site == NULL || site_state(site) == SITE_OFF)
		return;
	*me = (struct episode){ .site = site, .loose = me->loose, .level = (uint8_t)level_now() };
	if (site_state(site) == SITE_EXPLORED)
		begin_exploring(me, site, &words);
	else if (site_state(site) == SITE_TESTED && __atomic_load_n(&site->refining, __ATOMIC_RELAXED) > 0)
		begin_refining(me, site, &words);
	else if (site_state(site) == SITE_TESTED)
		ask(me, site, &words);
}

/* ---- a response says whose the job was ---- */

static void end_exploring(struct site *site, uint64_t request)
{
	unsigned i, paths = 0;

	if (!claim_take_again(&site->claim, 0)) /* somebody tests: it has paths already */
		return;
	if (site_state(site) == SITE_EXPLORED) {
		site_begin_change(site);
		for (i = 0; i < table->candidates && paths < PATHS; i++)
			if (table->candidate[i].request == request)
				site->path[paths++] = table->candidate[i].path;
		site->paths = (uint16_t)paths;
		site_end_change(site);
		__atomic_store_n(&site->refining, REFINING, __ATOMIC_RELAXED);
		if (paths > 0)
			site_set_state(site, SITE_TESTED);
		else
			explored_in_vain(site);
	}
	claim_end(&site->claim);
}

static void end_refining(struct site *site, uint64_t request)
{
	unsigned i, paths = 0;

	site_begin_change(site);
	for (i = 0; i < site->paths; i++)
		if (site->request[i] == request || site->request[i] == HANDOFF_UNSURE)
			site->path[paths++] = site->path[i];
	site->paths = (uint16_t)paths;
	site_end_change(site);
	if (paths == 0)
		explored_in_vain(site);
	else
		__atomic_store_n(&site->refining, site->refining - 1, __ATOMIC_RELAXED);
}

static void confirm(struct episode *me, struct site *site, uint64_t request)
{
	if (me->named == request) {
		site_was_good(site, me->level);
		if (me->believed && !me->loose)
			evidence_core.count(STATUS_handoffs_agreed);
	} else if (me->named != 0) {
		if (me->believed && !me->loose)
			evidence_core.count(STATUS_handoffs_contradicted);
		site_switch_off(site);
	} else if (site_state(site) == SITE_TESTED) {
		__atomic_store_n(&site->refining, REFINING, __ATOMIC_RELAXED); /* one of the ways is false */
	}
}

static void answers(uint64_t id)
{
	struct episode *me = episode;
	struct site *site = me == NULL ? NULL : me->site;

	if (site == NULL)
		return;
	if (me->answered != 0 && me->answered != id)
		site_switch_off(site);
	if (me->answered != 0)
		return;
	me->answered = id;
	if (me->ticket != 0) {
		uint32_t ticket = me->ticket;

		me->ticket = 0;
		if (claim_take_again(&site->claim, ticket)) {
			end_refining(site, id);
			claim_end(&site->claim);
		} else if (claim_take_again(&table->exploring, ticket)) {
			end_exploring(site, id);
			claim_end(&table->exploring);
		}
	} else if (site_state(site) == SITE_WATCHED) {
		if (__atomic_add_fetch(&site->familiar, 1, __ATOMIC_RELAXED) >= FAMILIAR)
			site_set_state(site, SITE_EXPLORED);
	} else if (me->asked) {
		confirm(me, site, id);
	}
}

/* ---- around it ---- */

static bool holds(void)
{
	return episode != NULL && live_now(&episode->live);
}

void evidence_note_queue(const void *mutex)
{
	uint8_t *place = &evidence_queues[evidence_place(mutex)];
	struct episode *me = episode_of_thread();

	if (me != NULL)
		me->waited = mutex;
	if (__atomic_load_n(place, __ATOMIC_RELAXED) == 0)
		__atomic_store_n(place, 1, __ATOMIC_RELAXED);
}

/* Whoever was learning is not here, and what it was about to change may be half done. */
static void after_fork(void)
{
	unsigned i;

	claim_end(&table->exploring);
	for (i = 0; i < SITES; i++) {
		claim_end(&table->site[i].claim);
		if (table->site[i].changes % 2 != 0)
			site_switch_off(&table->site[i]);
	}
}

/*
 * The caller's frame and what lies above it, up to the end of its page: the next one may be no stack any more. Beyond, only what
 * the kernel copies.
 */
bool evidence_saw_unlock(const void *mutex, uintptr_t site, const uintptr_t *frame)
{
	const uintptr_t *first = frame - EVIDENCE_SAVED;
	uintptr_t rest = (((uintptr_t)frame | (((uintptr_t)1 << OS_PAGE_SHIFT) - 1)) + 1 - (uintptr_t)first);
	unsigned count = EVIDENCE_WORDS;

	if (!evidence_core.active())
		return false;
	if (rest < count * sizeof(*first)) {
		struct iovec last = { (void *)(uintptr_t)(first + count - 1), sizeof(*first) };
		uintptr_t probe;

		if (evidence_core.copy(&probe, &last, 1) != (long)sizeof(probe))
			count = (unsigned)(rest / sizeof(*first));
	}
	evidence_unlocked(mutex, site, first, count);
	return episode != NULL && episode->site != NULL && episode->named != 0;
}

static __attribute__((cold)) bool start(const struct handoff_core *lent)
{
	table = lent->pages(sizeof(*table));
	if (table == NULL)
		return false;
	evidence_core = *lent;
	return true;
}

__attribute__((visibility("default"))) const struct handoff traceshim_handoff = {
	.build = HANDOFF_BUILD,
	.start = start,
	.note_queue = evidence_note_queue,
	.answers = answers,
	.leave = evidence_leave,
	.end_thread = evidence_end_thread,
	.after_fork = after_fork,
	.holds = holds,
};

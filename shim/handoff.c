/*
 * What the core lends to libtraceshim-handoff.so (handoff.h): looks at connections, and a place for its results. Run only with
 * TRACESHIM_ATTRIBUTION=validated.
 *
 * Who may call: any thread, outside of signal handlers. Nothing is locked but a connection, for the length of a look. Memory: a
 * block a thread that takes jobs, from a pool.
 */
#include "handoff.h"

#include <string.h>

#include "conn.h"
#include "counters.h"
#include "current.h"
#include "io.h"
#include "os.h"
#include "pool.h"

const struct handoff *handoff;

POOL(blocks, HANDOFF_BLOCK, 16);

static bool is_active(void)
{
	return io_active();
}

static CONN_UNLOCKED_LOOK uint64_t request_at(int fd)
{
	uint64_t word = fd > 2 ? fds_word(fd) : 0, id;
	const struct conn *conn = fds_conn(word);
	const struct exchange *ex;
	const struct request *request;

	if (conn == NULL || conn_role(conn) != CONN_SERVED)
		return HANDOFF_NOTHING;
	if (conn->mode != CONN_HTTP1)
		return conn->mode == CONN_FRESH ? HANDOFF_IDLE : HANDOFF_UNSURE;
	ex = conn->first;
	if (ex == NULL)
		return HANDOFF_IDLE;
	if (conn->depth != 1)
		return HANDOFF_UNSURE;
	if (!ex->request_headed || ex->response_begun)
		return HANDOFF_IDLE;
	request = ex->request;
	if (request == NULL)
		return HANDOFF_UNSURE;
	memcpy(&id, request->ctx.span_id, sizeof(id));
	return conn->first == ex && fds_word(fd) == word && id > HANDOFF_UNSURE ? id : HANDOFF_UNSURE;
}

static bool take(int fd, uint64_t id, uint8_t queue, struct request **taken)
{
	struct conn_handle handle = conn_of_word(fd, fds_word(fd));
	struct request *request = NULL;
	const struct exchange *ex;
	bool again;

	*taken = NULL;
	if (!conn_lock_to_look(handle))
		return true;
	ex = handle.conn->mode == CONN_HTTP1 && handle.conn->depth == 1 ? handle.conn->first : NULL;
	if (ex != NULL && ex->request_headed && !ex->response_begun && ex->request != NULL &&
	    memcmp(ex->request->ctx.span_id, &id, sizeof(id)) == 0)
		request = request_ref(ex->request);
	conn_unlock(handle.conn);
	if (request == NULL)
		return true;
	again = __atomic_exchange_n(&request->taken, queue, __ATOMIC_RELAXED) == queue;
	if (again)
		request_unref(request);
	else
		*taken = request;
	return !again;
}

static void *take_block(void)
{
	return pool_take(&blocks);
}

static void give_block(void *block)
{
	pool_give(&blocks, block);
}

static void count(unsigned counter)
{
	own_add64(&counters_page()->counter[counter], 1);
}

/* By code: a table would have to be relocated in every process. */
static __attribute__((cold)) void fill(struct handoff_core *lent)
{
	lent->active = is_active;
	lent->request_at = request_at;
	lent->take = take;
	lent->unref = request_unref;
	lent->waiting = request_waiting;
	lent->begin_job = current_begin_job;
	lent->work_for = current_take_job;
	lent->notice_thread = current_notice_thread;
	lent->pages = os_pages;
	lent->block = take_block;
	lent->give_block = give_block;
	lent->copy = os_copy;
	lent->monotonic_ms = os_monotonic_ms;
	lent->count = count;
}

__attribute__((cold)) void handoff_init(const struct handoff *found)
{
	struct handoff_core lent;

	if (found == NULL) {
		counters_note("TRACESHIM_ATTRIBUTION=validated: libtraceshim-handoff.so is not preloaded");
		return;
	}
	if (strcmp(found->build, HANDOFF_BUILD) != 0) {
		counters_note("TRACESHIM_ATTRIBUTION=validated: libtraceshim-handoff.so is of another build");
		return;
	}
	fill(&lent);
	if (found->start(&lent))
		handoff = found;
	else
		counters_count(no_memory_skipped);
}

/*
 * Who learns from a job: one thread at a time, from when it takes the job until it begins the response. See evidence.c.
 *
 * No lock: nobody waits for it, and it is held only while the holder looks or counts (busy). In between a ticket lies there, with
 * which the holder comes back; after STALE_MS another may have it. Who may call: any thread.
 */
#include "evidence_internal.h"

#include "own.h"

#define STALE_MS 2000u /* who began to learn from a job and did not end makes room */

#define BUSY 1u

static uint32_t tickets;

bool claim_take(struct claim *claim)
{
	uint32_t now = (uint32_t)evidence_core.monotonic_ms(), seen = __atomic_load_n(&claim->ticket, __ATOMIC_ACQUIRE);

	if (seen == BUSY || (seen != 0 && now - __atomic_load_n(&claim->since_ms, __ATOMIC_RELAXED) < STALE_MS) ||
	    !own_replace32(&claim->ticket, &seen, BUSY))
		return false;
	__atomic_store_n(&claim->since_ms, now, __ATOMIC_RELAXED);
	return true;
}

uint32_t claim_leave(struct claim *claim)
{
	uint32_t ticket = __atomic_add_fetch(&tickets, 1, __ATOMIC_RELAXED) << 1 | 1;

	if (ticket == BUSY)
		ticket += 2;
	__atomic_store_n(&claim->ticket, ticket, __ATOMIC_RELEASE);
	return ticket;
}

bool claim_take_again(struct claim *claim, uint32_t ticket)
{
	return own_replace32(&claim->ticket, &ticket, BUSY);
}

void claim_end(struct claim *claim)
{
	__atomic_store_n(&claim->ticket, 0, __ATOMIC_RELEASE);
}

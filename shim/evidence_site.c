/*
 * What is believed of a site: a place in the program where jobs are taken out of a queue. See evidence.c.
 *
 * Who may call: any thread. Nothing is locked: counts are atomic, and paths change between two numbers of the same count.
 */
#include "evidence_internal.h"

#include "status_page.h"

#define PROVEN 1024u /* what is wrong once in a hundred jobs gets through once in thirty thousand times */
#define LEVEL_PROOFS 64u

enum site_state site_state(const struct site *site)
{
	return (enum site_state)__atomic_load_n(&site->state, __ATOMIC_ACQUIRE);
}

/* What another thread switches off meanwhile stays so. */
void site_set_state(struct site *site, enum site_state state)
{
	uint8_t seen = (uint8_t)site_state(site);

	while (seen != SITE_OFF &&
	       !__atomic_compare_exchange_n(&site->state, &seen, (uint8_t)state, 0, __ATOMIC_RELEASE, __ATOMIC_RELAXED))
		;
}

/*
 * The levels below this one are trusted. Jobs of a busier process say more; one that was alone says nothing of when it is not.
 * Summed up anew for each job: what is kept beside the counts could outlive them, where a thread writes it late.
 */
unsigned site_trusted_below(const struct site *site)
{
	uint32_t sum = 0;
	unsigned level, trusted = 0;

	for (level = LEVELS; level-- > 1;) {
		sum += __atomic_load_n(&site->good[level], __ATOMIC_RELAXED);
		if (trusted == 0 && sum >= LEVEL_PROOFS)
			trusted = level + 1;
	}
	if (sum < PROVEN)
		trusted = sum + __atomic_load_n(&site->good[0], __ATOMIC_RELAXED) >= PROVEN;
	return trusted;
}

/* For good. One that was trusted is worth to be told of. */
void site_switch_off(struct site *site)
{
	if (__atomic_exchange_n(&site->state, (uint8_t)SITE_OFF, __ATOMIC_ACQ_REL) == SITE_TESTED &&
	    site_trusted_below(site) > 0)
		evidence_core.count(STATUS_handoffs_switched_off);
}

void site_forget_proofs(struct site *site)
{
	unsigned level;

	for (level = 0; level < LEVELS; level++)
		__atomic_store_n(&site->good[level], 0, __ATOMIC_RELAXED);
}

void site_was_good(struct site *site, unsigned level)
{
	uint32_t good = __atomic_add_fetch(&site->good[level], 1, __ATOMIC_RELAXED);
	uint32_t strikes = __atomic_load_n(&site->strikes, __ATOMIC_RELAXED);

	if (good > UINT32_MAX / LEVELS / 2) /* the sum of all is taken */
		__atomic_store_n(&site->good[level], good / 2, __ATOMIC_RELAXED);
	if (strikes > 0)
		__atomic_store_n(&site->strikes, strikes - 1, __ATOMIC_RELAXED);
}

/*
 * Whoever has the claim changes the paths while others follow them: these ask before and afterwards, and what they have found in
 * between is worth nothing. A path that is skipped would be one that cannot disagree.
 */
void site_begin_change(struct site *site)
{
	(void)__atomic_add_fetch(&site->changes, 1, __ATOMIC_SEQ_CST);
}

void site_end_change(struct site *site)
{
	(void)__atomic_add_fetch(&site->changes, 1, __ATOMIC_RELEASE);
}

uint32_t site_changes(const struct site *site)
{
	return __atomic_load_n(&site->changes, __ATOMIC_ACQUIRE);
}

/* By an exchange: what was loaded before it is not loaded behind it. */
bool site_has_changed(struct site *site, uint32_t before)
{
	return before % 2 != 0 || __atomic_fetch_or(&site->changes, 0, __ATOMIC_ACQ_REL) != before;
}

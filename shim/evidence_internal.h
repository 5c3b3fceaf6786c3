/*
 * Shared by evidence.c (whose jobs are believed) and its parts: evidence_paths.c (where in a job its connection stands),
 * evidence_live.c (is the thread still at it), evidence_claim.c (who learns from it) and evidence_site.c (what is believed of a
 * place in the program).
 */
#ifndef TRACESHIM_EVIDENCE_INTERNAL_H
#define TRACESHIM_EVIDENCE_INTERNAL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "evidence.h"

/* What the core has lent: all zero before the start. */
extern struct handoff_core evidence_core;

/*
 * A way from the words of a stack to a descriptor's number, of 32 bits: the half `step[0]` of words[slot]; or, `depth` steps from the pointer
 * in words[slot], each of which is to the pointer at step * 4 bytes, and the last one to the number.
 */
#define PATHS_DEPTH 3u
struct path {
	uint8_t depth, slot;
	uint8_t step[PATHS_DEPTH];
	uint8_t shared; /* bits: the pointer so many steps before the last one was the same for two requests at a time; atomic */
};

/* The words in memory that were read, by their addresses: many ways lead over the same pointer. */
#define PATHS_READ 16u
struct paths_read {
	uintptr_t at[PATHS_READ];
	uintptr_t value[PATHS_READ];
	unsigned count;
	/* The way that was followed last: the pointers, from the one that the number lies at back to the words. */
	uintptr_t pointer[PATHS_DEPTH];
};

struct words {
	const uintptr_t *word;
	unsigned count;
};

/*
 * Read what is on these ways, as much as there is room for: all that is a step further at once, because to ask the kernel costs more than
 * what it is asked for. What is not there stays unread.
 */
void paths_read_ahead(const struct path *path, unsigned count, const struct words *words, struct paths_read *read);

/* The number at the end of the way; -1: it leads nowhere. `read` starts as zeroes and is for these words only. Keeps errno. */
int paths_follow(const struct path *path, const struct words *words, struct paths_read *read);

/*
 * What a thread must keep at hand as long as it works for a job: where the number stood that it will write to, or what led there. A place that
 * held that already when the job was taken proves nothing, as it may be left over; one that holds it since does: the program
 * has put it there.
 */
#define LIVE_TOKENS 8u
struct live {
	uintptr_t token[LIVE_TOKENS];
	uintptr_t lowest, range;                     /* of them, where they are pointers */
	uint64_t before[(EVIDENCE_WORDS + 63) / 64]; /* bits of the words that held one already */
	uintptr_t at;                                /* the first word */
	uintptr_t found;                             /* where one was at hand when it was asked last */
	uint16_t words;
	uint8_t tokens;
	bool numbers; /* tokens are descriptors' numbers, of half a word */
};

/* Start anew, for a job that was taken with these words; then one token after the other; then see where they are already. */
void live_begin(struct live *live, const struct words *words);
void live_add(struct live *live, uintptr_t pointer);
void live_add_number(struct live *live, int fd); /* where there is no pointer */
void live_end(struct live *live, const struct words *words);

/* Does this point into the thread's own stack? Such a pointer is the same for every job, and no token. */
bool live_is_in_stack(const struct live *live, uintptr_t pointer);

/* A job's pointer, and the request that it led to: does another one's lead over it too? */
struct owner {
	uintptr_t pointer;
	uint64_t request;
	int fd;
};

#define OWNERS 1024u

/*
 * Notes whose the pointer is. False: another request's too, which waits still. What is noted may be lost, or torn by another thread:
 * it is one of many chances to see it. `owners` are OWNERS.
 */
bool live_is_own(struct owner *owners, uintptr_t pointer, uint64_t request, int fd);

/* Is one of them at hand? Looks at the registers that a call keeps, and at the stack from here up to the words, or a part of it. */
bool live_now(struct live *live);

/* See evidence_claim.c. All zero: nobody has it. */
struct claim {
	uint32_t ticket; /* atomic */
	uint32_t since_ms;
};

bool claim_take(struct claim *claim);      /* false: somebody has it */
uint32_t claim_leave(struct claim *claim); /* until the response: returns the ticket, never 0 */
bool claim_take_again(struct claim *claim,
                      uint32_t ticket); /* false: somebody else has it by now. Ticket 0: if nobody has */
void claim_end(struct claim *claim);

/* See evidence_site.c. */
#define PATHS 64u  /* of a site; unoptimized programs have copies of a pointer all over their frames */
#define LEVELS 16u /* up to 65,535 that wait */

enum site_state { SITE_WATCHED, SITE_EXPLORED, SITE_TESTED, SITE_OFF };

struct site {
	uint64_t key; /* 0: free; atomic */
	uint8_t state;
	bool waits;       /* a thread has waited, and come out here: jobs are taken */
	uint8_t familiar; /* atomic */
	uint8_t explorations, attempts;
	uint8_t refining; /* jobs still to come; atomic */
	uint16_t paths;
	uint32_t strikes;
	uint32_t changes;      /* of the paths; odd: they change just now; atomic */
	uint32_t good[LEVELS]; /* jobs that were as expected, by how many waited */
	struct claim claim;
	struct path path[PATHS];
	uint64_t request[PATHS]; /* where they led, in the job that is learned from */
};

enum site_state site_state(const struct site *site);
void site_set_state(struct site *site, enum site_state state); /* but for SITE_OFF, which stays */
void site_switch_off(struct site *site);                       /* for good */

/* Of how many that wait it is trusted: of the levels below this one. */
unsigned site_trusted_below(const struct site *site);
void site_was_good(struct site *site, unsigned level); /* a job was as expected */
void site_forget_proofs(struct site *site);

/* Whoever has the claim, around a change of the paths; and whoever follows them, before and afterwards: did they change? */
void site_begin_change(struct site *site);
void site_end_change(struct site *site);
uint32_t site_changes(const struct site *site);
bool site_has_changed(struct site *site, uint32_t before);

/* A way that, for all that is known yet, may be right. */
struct candidate {
	struct path path;
	uint64_t request;
};

/*
 * All ways from these words to connections with a request, as many as there is room for. Reads memory by os_copy,
 * at most PATHS_COPIES times.
 */
#define PATHS_COPIES 6000u
unsigned paths_explore(struct candidate *found, unsigned room, const struct words *words);

#endif

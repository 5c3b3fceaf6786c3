/*
 * Counters of what the shim did and what it had to leave alone: 'silence is a bug'.
 */
#ifndef TRACESHIM_COUNTERS_H
#define TRACESHIM_COUNTERS_H

#include <stddef.h>
#include <stdint.h>

#include "own.h"
#include "status_page.h"

/* The page that is counted into: private memory until it is published, then the shared file. */
extern struct status_page counters_private;
extern uintptr_t
	counters_away; /* how far from there that file lies, 0 until it is published: nothing to initialise, nothing to ask */

static inline __attribute__((always_inline)) struct status_page *counters_page(void)
{
	uintptr_t away = __atomic_load_n(&counters_away, __ATOMIC_ACQUIRE);

	return (struct status_page *)((uintptr_t)&counters_private + away); /* NOLINT(performance-no-int-to-ptr) */
}

/* Add one / n to a counter. Relaxed; safe everywhere, in signal handlers and before the constructor too. */
#ifdef __OPTIMIZE_SIZE__
#define counters_add(name, n) counters_add_to(STATUS_##name, (uint64_t)(n))
#else
#define counters_add(name, n) own_add64(&counters_page()->counter[STATUS_##name], (uint64_t)(n))
#endif
#define counters_count(name) counters_add(name, 1)
/* The same in place, for each request: see own_alone_here. */
#define counters_count_here(name) own_add64_here(&counters_page()->counter[STATUS_##name], 1)
/* The same by a call, for what hardly any request comes to: in place, it is four instructions and 20 bytes. */
#define counters_count_seldom(name) counters_add_to(STATUS_##name, 1)
void counters_add_to(enum status_counter counter, uint64_t n);

#define counters_get(name) __atomic_load_n(&counters_page()->counter[STATUS_##name], __ATOMIC_RELAXED)

/*
 * Append one line to the notes (a configuration error, a missing feature). printf-like, cut at 200 bytes; a full page
 * drops the newest. Constructor only: not signal-safe.
 */
void counters_note(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* Whether there is any: most processes have none, and need not touch the page to see that. */
extern uint8_t counters_noted;

/*
 * Text of the state field ("guest", "inert", "excluded") and of program and service; constructor only. The texts are borrowed
 * for good: they are copied when the page is published, which most processes never do.
 */
void counters_describe(const char *state, const char *program, const char *service);
const char *counters_program(void); /* "": not told */

/*
 * Publish the page as <config.run_dir>/<pid>.status, once; later calls are free. Called at the first event that a person
 * might ask about: a listener, many lines, a wrong configuration. What fails (no folder, full disk) leaves the counters
 * private and is not tried again. Makes a few system calls; leaves no descriptor open; signal-safe; changes errno.
 */
void counters_publish(void);
extern uint8_t counters_published; /* atomic; nonzero: it was called, and would do nothing */

/* Remove the published page, if there is one: the process ends or becomes another program. Signal-safe. */
void counters_unpublish(void);

/* The child of a fork counts for itself, from zero, and has nothing published. Signal-safe. */
void counters_after_fork(void);

#endif

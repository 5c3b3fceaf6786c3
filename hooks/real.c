/*
 * Binding of the real functions; see real.h.
 */
#include "real.h"

#include <errno.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "counters.h"
#include "layout.h"
#include "os.h"
#include "libc_versions.h"
#include "lookup.h"

void *real_function[REAL_COUNT] LAYOUT_LATER; /* short programs come through without any */

/*
 * The names, one behind the other, and where each begins: a table of pointers would cost each process a relocation and eight
 * bytes of a private page a name.
 */
static const struct {
#define REAL_ENTRY(name) char REAL_##name##_text[sizeof(#name)];
#include "real_table.h"
#undef REAL_ENTRY
} real_names = {
#define REAL_ENTRY(name) #name,
#include "real_table.h"
#undef REAL_ENTRY
};

static const uint16_t real_name_at[REAL_COUNT] = {
#define REAL_ENTRY(name) offsetof(__typeof__(real_names), REAL_##name##_text),
#include "real_table.h"
#undef REAL_ENTRY
};

/* Stands in for what this libc does not have. All our functions return int, ssize_t or a pointer: -1 says 'failed'. */
static long missing(void)
{
	errno = ENOSYS;
	return -1;
}

/*
 * dlsym without a version may answer with the oldest one. Of our functions only the pthread_cond ones have two, and the old
 * ones (before glibc 2.3.2) take another structure.
 */
static void *find_newest(const char *name)
{
	void *found = NULL;

	if (dlsym == NULL)
		return lookup_next(name);
	if (strncmp(name, "pthread_cond_", 13) == 0 && dlvsym != NULL)
		found = dlvsym(RTLD_NEXT, name, "GLIBC_2.3.2");
	return found != NULL ? found : dlsym(RTLD_NEXT, name);
}

static void find_and_store(enum real_index index)
{
	void *found = find_newest((const char *)&real_names + real_name_at[index]);

	if (found == NULL) {
		counters_count(symbols_missing);
		found = (void *)missing;
	}
	__atomic_store_n(&real_function[index], found, __ATOMIC_RELAXED);
}

/*
 * dlsym's lock is recursive, but not for a handler that comes while it is being taken: its own first write would wait for
 * ever. Nor may a handler jump away with it. So none comes; masked once for all that are bound, not once a symbol.
 */
void *real_bind(enum real_index index)
{
	uint64_t mask = os_block_signals();

	find_and_store(index);
	os_unblock_signals(mask);
	return real_function[index];
}

void real_bind_all(void)
{
	uint64_t mask = os_block_signals();
	int i;

	for (i = 0; i < REAL_COUNT; i++)
		if (real_function[i] == NULL)
			find_and_store((enum real_index)i);
	os_unblock_signals(mask);
}

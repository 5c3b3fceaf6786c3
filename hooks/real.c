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

/* Stands in for what this libc does not have. Our functions return int or ssize_t: -1 says 'failed'. Those of the loader, which a libc may have elsewhere, a pointer. */
static long missing(void)
{
	errno = ENOSYS;
	return -1;
}

bool real_error_kept LAYOUT_LATER;

static void *nothing(void)
{
	return NULL;
}

/* libc's own, though there be another one behind us: that one would call it for itself. dlvsym is not interposed, and finds it. */
static __typeof__(&dlsym) libc_dlsym; /* atomic */

void *real_symbol(void *handle, const char *name)
{
	__typeof__(&dlsym) ask = __atomic_load_n(&libc_dlsym, __ATOMIC_RELAXED);

	if (ask == NULL) {
		ask = dlvsym != NULL ? (__typeof__(ask))dlvsym(RTLD_NEXT, "dlsym", "GLIBC_2.2.5") : NULL;
		if (ask == NULL)
			ask = (__typeof__(ask))lookup_next("dlsym");
		if (ask == NULL)
			return NULL;
		__atomic_store_n(&libc_dlsym, ask, __ATOMIC_RELAXED);
	}
	return ask(handle, name);
}

/*
 * dlsym without a version may answer with the oldest one. Of our functions only the pthread_cond ones have two, and the old
 * ones (before glibc 2.3.2) take another structure.
 */
static void *find_newest(const char *name, bool error_kept)
{
	void *found = NULL;

	if (error_kept)
		found = lookup_next(name);
	else if (strncmp(name, "pthread_cond_", 13) == 0 && dlvsym != NULL)
		found = dlvsym(RTLD_NEXT, name, "GLIBC_2.3.2");
	if (found == NULL)
		found = real_symbol(RTLD_NEXT, name);
	return found != NULL || libc_dlsym != NULL ? found : lookup_next(name);
}

static void find_and_store(enum real_index index)
{
	/*
	 * Who calls dlsym has no error kept any more. And it may be a sanitizer that looks for libc's functions, and whose own
	 * dl_iterate_phdr may not be called before it has them.
	 */
	void *found =
		find_newest((const char *)&real_names + real_name_at[index], real_error_kept && index != REAL_dlsym);

	if (found == NULL) {
		counters_count(symbols_missing);
		found = index == REAL_dlsym || index == REAL_dlerror || index == REAL_dlopen ? (void *)nothing :
		                                                                               (void *)missing;
	}
	__atomic_store_n(&real_function[index], found, __ATOMIC_RELAXED);
}

/*
 * dlsym's lock is recursive, but not for a handler that comes while it is being taken: its own first write would wait for
 * ever. Nor may a handler jump away with it. So none comes; masked once for all that are bound, not once a symbol.
 */
__attribute__((noinline)) void *real_bind(enum real_index index)
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

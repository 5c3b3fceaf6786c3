/*
 * dlopen with RTLD_DEEPBIND (PHP loads its extensions so) lets a library find libc before us: it is taken off.
 *
 * libc decides by the return address which object asks (for its RUNPATH, $ORIGIN and namespace). So the real dlopen has to
 * be reached by a jump, not by a call: with our frame in between it would be us. A contract test looks at the code.
 */
#include "real.h"

#include "counters.h"
#include "current.h"
#include "forks.h"
#include "node.h"

/* Node opens this object as an add-on of its own: whoever asks for it needs no search path, so a call will do. */
static __attribute__((noinline)) void *open_addon(const char *path, int flags)
{
	void *handle = REAL(dlopen)(path, flags);

	node_addon_opened(handle);
	return handle;
}

EXPORT void *dlopen(const char *path, int flags)
{
	real_error_kept = true;
	forks_watch();
	if (__builtin_expect(current_is_blind(), 0) && node_is_addon(path) && io_active())
		return open_addon(path, flags);
	if (__builtin_expect((flags & RTLD_DEEPBIND) != 0, 0) && io_active()) {
		flags &= ~RTLD_DEEPBIND;
		counters_count(deepbind_stripped);
	}
	return REAL(dlopen)(path, flags);
}

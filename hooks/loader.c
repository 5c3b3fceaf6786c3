/*
 * dlopen with RTLD_DEEPBIND (PHP loads its extensions so) lets a library find libc before us: it is taken off.
 *
 * libc decides by the return address which object asks (for its RUNPATH, $ORIGIN and namespace). So the real dlopen has to
 * be reached by a jump, not by a call: with our frame in between it would be us. A contract test looks at the code.
 */
#include "real.h"

#include "counters.h"

EXPORT void *dlopen(const char *path, int flags)
{
	if (__builtin_expect((flags & RTLD_DEEPBIND) != 0, 0) && io_active()) {
		flags &= ~RTLD_DEEPBIND;
		counters_count(deepbind_stripped);
	}
	return REAL(dlopen)(path, flags);
}

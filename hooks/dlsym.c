/*
 * dlsym: programs that look up their library of TLS by handle (civetweb) are answered with our hooks, or they would not be
 * traced; and programs that ask whether there is such a library at all do not find ours in its place.
 *
 * libc decides by the return address what RTLD_NEXT and RTLD_DEFAULT mean and whom an error is of. So the real dlsym is reached by a
 * jump, with nothing of ours in between; a contract test looks at the code. Only for the names of our hooks for TLS it is called. That
 * is decided by their first letters, and then by our own symbols.
 *
 * What it finds is answered with our hook only if a library that we know to ask (openssl.c, gnutls.c) has that function
 * at that address: our hook then reaches it by the session, whichever of several libraries made that. All else is answered as
 * it is. Where it finds us, because nothing is in front, it would have found what comes behind.
 *
 * An error's text begins with the name of who asked. The loader's own is made for our object: the whole text is asked for as the name of
 * a symbol, so that it stands at the end of the loader's, where dlerror finds it.
 */
#include "real.h"

#include <errno.h>
#include <link.h>
#include <string.h>

#include "libc_versions.h"
#include "lookup.h"
#include "tls_functions.h"

/* Longer ones have a text that begins with our name. */
#define TEXT_ROOM 400

static const char middle[] = ": undefined symbol: ";

/* Byte by byte: a short name may lie at the end of its page. */
static inline bool is_like_ours(const char *name)
{
	return (name[0] == 'S' && name[1] == 'S' && name[2] == 'L' && name[3] == '_') ||
	       (name[0] == 'g' && name[1] == 'n' && name[2] == 'u' && name[3] == 't');
}

/* Who asked for it, as the loader names it: the object of a handle, or of an address in it. */
static const char *name_of(const void *handle, const void *caller)
{
	const char *name = NULL;
	Dl_info info;

	if (handle != RTLD_DEFAULT && handle != RTLD_NEXT)
		name = ((const struct link_map *)handle)->l_name;
	else if (dladdr != NULL && dladdr(caller, &info) != 0)
		name = info.dli_fname;
	return name != NULL && *name != '\0' ? name : program_invocation_name;
}

static __attribute__((cold)) void say_missing(const void *handle, const char *name, const void *caller)
{
	const char *who = name_of(handle, caller);
	size_t len = strlen(who), rest = strlen(name);
	char text[TEXT_ROOM + sizeof(middle) + 64];

	if (len > TEXT_ROOM || rest >= 64)
		return;
	memcpy(text, who, len);
	memcpy(text + len, middle, sizeof(middle) - 1);
	memcpy(text + len + sizeof(middle) - 1, name, rest + 1);
	(void)real_symbol(RTLD_NEXT, text);
}

/*
 * What would have been found without us. In the global scope that is what comes behind us. The caller's own scope, which
 * RTLD_DEFAULT means besides, is not known here: where an object that is in no order has such a function, we are believed to
 * stand for it. The program itself has no other scope.
 */
static void *find_behind(void *handle, const char *name, void *hook, const void *caller)
{
	void *found = real_symbol(RTLD_NEXT, name);

	if (found != NULL || handle != RTLD_DEFAULT || lookup_next(name) == NULL || lookup_in_program(caller))
		return found;
	(void)REAL(dlerror)(); /* that it is not behind us */
	return hook;
}

/*
 * What is behind its caller only libc can tell; unless there is nothing anywhere, or the caller is the program, and we are the first
 * behind that.
 */
static bool finds_us_next(const char *name, const void *hook, const void *caller)
{
	return lookup_next(name) == NULL || (lookup_in_program(caller) && real_symbol(RTLD_DEFAULT, name) == hook);
}

static __attribute__((noinline)) void *find(void *handle, const char *name, void *hook, const void *caller)
{
	void *found = handle == RTLD_NEXT ? hook : REAL(dlsym)(handle, name);
	int saved = errno;

	if (found == hook)
		found = find_behind(handle, name, hook, caller);
	else if (found == NULL)
		return NULL;
	if (found == NULL)
		say_missing(handle, name, caller);
	else if (found != hook && io_active() && (openssl_has(found) || gnutls_has(found)))
		found = hook;
	errno = saved;
	return found;
}

EXPORT void *dlsym(void *restrict handle, const char *restrict name)
{
	real_error_kept = true;
	if (__builtin_expect(is_like_ours(name), 0)) {
		void *hook = lookup_own(name);

		if (hook != NULL && (handle != RTLD_NEXT || finds_us_next(name, hook, __builtin_return_address(0))))
			return find(handle, name, hook, __builtin_return_address(0));
	}
	return REAL(dlsym)(handle, name);
}

EXPORT char *dlerror(void)
{
	char *text, *at;

	real_error_kept = true;
	text = REAL(dlerror)();
	at = text != NULL ? strstr(text, middle) : NULL;
	/* Nothing but say_missing asks for a name that has one in it. */
	return at != NULL && strstr(at + 1, middle) != NULL ? at + sizeof(middle) - 1 : text;
}

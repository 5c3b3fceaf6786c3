/*
 * GnuTLS: what a program reads and writes as plain text; see shim/tls.h. One version of it is all that a process can have (its
 * symbols are versioned, its name has not changed since 2013), so it is looked for once, by name.
 *
 * A session does not tell its descriptor where the program gave it functions, so it is always the one that was used in the
 * handshake. Nor does it tell on which side it is: the connection below knows.
 *
 * A corked session keeps what is written, and says how much went out when it is uncorked: that may be more than the program
 * wrote, by what was inserted, so that much is taken off again.
 */
#include "real.h"

#include <errno.h>

#include "counters.h"
#include "gnutls.h"
#include "layout.h"
#include "lookup.h"
#include "tls.h"
#include "tls_functions.h"

/* The first one names the library: those that others wrap may be found in their objects. */
#define FUNCTIONS(X)                                                                                                   \
	X(gnutls_check_version)                                                                                        \
	X(gnutls_record_recv)                                                                                          \
	X(gnutls_init)                                                                                                 \
	X(gnutls_deinit)                                                                                               \
	X(gnutls_handshake)                                                                                            \
	X(gnutls_bye)                                                                                                  \
	X(gnutls_record_recv_seq)                                                                                      \
	X(gnutls_record_recv_packet)                                                                                   \
	X(gnutls_record_recv_early_data)                                                                               \
	X(gnutls_packet_get)                                                                                           \
	X(gnutls_record_send)                                                                                          \
	X(gnutls_record_send2)                                                                                         \
	X(gnutls_record_send_early_data)                                                                               \
	X(gnutls_record_cork)                                                                                          \
	X(gnutls_record_uncork)                                                                                        \
	X(gnutls_record_check_corked)

enum function {
#define X(name) AT_##name,
	FUNCTIONS(X)
#undef X
		FUNCTION_COUNT
};

#define X(name) #name "\0"
static const char names[] = FUNCTIONS(X);
#undef X

static void *function[FUNCTION_COUNT] LAYOUT_LATER;
static bool found LAYOUT_LATER; /* atomic */

/* As <gnutls/gnutls.h> has them: the errors after which a call is made again. */
#define E_AGAIN (-28)
#define E_INTERRUPTED (-52)

static int descriptor(const struct tls_library *library, void *session)
{
	(void)library, (void)session;
	return -1;
}

static enum conn_role role(const struct tls_library *library, void *session)
{
	(void)library, (void)session;
	return CONN_UNDECIDED;
}

static bool again(const struct tls_library *library, void *session, long result)
{
	(void)library, (void)session;
	return result == E_AGAIN || result == E_INTERRUPTED;
}

/* A write takes a record's worth at most, and programs that write no more expect all of it to be taken. */
static bool partial(const struct tls_library *library, void *session)
{
	(void)library, (void)session;
	return false;
}

static const struct tls_library library = { descriptor, role, again, partial };

/* NULL: there is no GnuTLS, and nothing can be done. */
static void *function_at(enum function at)
{
	struct lookup_object object;
	int saved = errno;

	if (!__atomic_load_n(&found, __ATOMIC_ACQUIRE)) {
		void *all[FUNCTION_COUNT];
		unsigned i;

		if (!lookup_functions(&object, names, all, NULL, 0)) {
			counters_count(symbols_missing);
			return NULL;
		}
		lookup_keep(&object);
		io_bind_for_tls();
		for (i = 0; i < FUNCTION_COUNT; i++)
			__atomic_store_n(&function[i], all[i], __ATOMIC_RELAXED);
		__atomic_store_n(&found, true, __ATOMIC_RELEASE);
		errno = saved;
	}
	return function[at];
}

bool gnutls_has(const void *wanted)
{
	unsigned i = 0;

	if (lookup_next("gnutls_record_recv") == NULL || function_at(AT_gnutls_init) == NULL)
		return false;
	while (i < FUNCTION_COUNT && function[i] != wanted)
		i++;
	return i < FUNCTION_COUNT;
}

#define THE(name) ((__typeof__(&name))function_at(AT_##name))

#define E_INTERNAL (-59)

EXPORT int gnutls_init(struct gnutls_session_int **session, unsigned flags)
{
	__typeof__(&gnutls_init) real = THE(gnutls_init);
	int result = real != NULL ? real(session, flags) : E_INTERNAL;

	if (result == 0)
		tls_forget(*session);
	return result;
}

EXPORT void gnutls_deinit(struct gnutls_session_int *session)
{
	__typeof__(&gnutls_deinit) real = THE(gnutls_deinit);

	tls_forget(session);
	if (real != NULL)
		real(session);
}

EXPORT int gnutls_handshake(struct gnutls_session_int *session)
{
	__typeof__(&gnutls_handshake) real = THE(gnutls_handshake);
	struct tls_call call;
	bool ours;
	int result;

	if (real == NULL)
		return E_INTERNAL;
	ours = tls_begin(&call, session, &library, CONN_UNDECIDED);
	result = real(session);
	if (ours)
		tls_end(&call, CONN_UNDECIDED);
	return result;
}

EXPORT int gnutls_bye(struct gnutls_session_int *session, unsigned how)
{
	__typeof__(&gnutls_bye) real = THE(gnutls_bye);
	struct tls_call call;
	bool ours;
	int result;

	if (real == NULL)
		return E_INTERNAL;
	tls_shut(session);
	ours = tls_begin(&call, session, &library, CONN_UNDECIDED);
	result = real(session, how);
	if (ours)
		tls_end(&call, CONN_UNDECIDED);
	return result;
}

EXPORT ssize_t gnutls_record_recv(struct gnutls_session_int *session, void *buf, size_t len)
{
	__typeof__(&gnutls_record_recv) real = THE(gnutls_record_recv);
	struct tls_call call;
	ssize_t n;

	if (real == NULL)
		return E_INTERNAL;
	if (!tls_receive_begin(&call, session, &library))
		return real(session, buf, len);
	n = real(session, buf, len);
	tls_receive_end(&call, buf, len, n, false);
	return n;
}

EXPORT ssize_t gnutls_record_recv_seq(struct gnutls_session_int *session, void *buf, size_t len,
                                      unsigned char *sequence)
{
	__typeof__(&gnutls_record_recv_seq) real = THE(gnutls_record_recv_seq);
	struct tls_call call;
	ssize_t n;

	if (real == NULL)
		return E_INTERNAL;
	if (!tls_receive_begin(&call, session, &library))
		return real(session, buf, len, sequence);
	n = real(session, buf, len, sequence);
	tls_receive_end(&call, buf, len, n, false);
	return n;
}

/* By the side of the handshake: never anything that is to be waited for. */
EXPORT ssize_t gnutls_record_recv_early_data(struct gnutls_session_int *session, void *buf, size_t len)
{
	__typeof__(&gnutls_record_recv_early_data) real = THE(gnutls_record_recv_early_data);
	struct tls_call call;
	ssize_t n;

	if (real == NULL)
		return E_INTERNAL;
	n = real(session, buf, len);
	if (n > 0 && tls_receive_begin(&call, session, &library))
		tls_receive_end(&call, buf, len, n, false);
	return n;
}

/* gnutls_datum_t */
struct datum {
	unsigned char *data;
	unsigned size;
};

/* The library keeps the bytes, and tells where. */
EXPORT ssize_t gnutls_record_recv_packet(struct gnutls_session_int *session, struct mbuffer_st **packet)
{
	__typeof__(&gnutls_record_recv_packet) real = THE(gnutls_record_recv_packet);
	void (*get)(struct mbuffer_st *, struct datum *, unsigned char *);
	struct datum datum = { NULL, 0 };
	struct tls_call call;
	ssize_t n;

	if (real == NULL)
		return E_INTERNAL;
	if (!tls_receive_begin(&call, session, &library))
		return real(session, packet);
	n = real(session, packet);
	get = (__typeof__(get))function_at(AT_gnutls_packet_get);
	if (n > 0 && get != NULL)
		get(*packet, &datum, NULL);
	tls_receive_end(&call, datum.data, datum.size, n > 0 && datum.size < (size_t)n ? (ssize_t)datum.size : n,
	                false);
	return n;
}

struct emitter {
	struct tls_emitter core;
	bool padded;
	size_t pad;
	unsigned flags;
};

static long emit(struct tls_emitter *core, const void *bytes, size_t len)
{
	const struct emitter *emitter = (const struct emitter *)(const void *)core;

	if (emitter->padded)
		return THE(gnutls_record_send2)(core->session, bytes, len, emitter->pad, emitter->flags);
	return THE(gnutls_record_send)(core->session, bytes, len);
}

/* What a corked session keeps of ours, too. */
static ssize_t send_counted(struct emitter *emitter, const void *buf, size_t len)
{
	struct tls_cork *cork = tls_cork(emitter->core.session);
	size_t before, after;
	ssize_t n;

	if (cork == NULL || !cork->corked)
		return tls_send(&emitter->core, buf, len);
	before = THE(gnutls_record_check_corked)(emitter->core.session);
	n = tls_send(&emitter->core, buf, len);
	after = THE(gnutls_record_check_corked)(emitter->core.session);
	if (n > 0 && after > before + (size_t)n)
		cork->inserted += (uint32_t)(after - before - (size_t)n);
	return n;
}

EXPORT ssize_t gnutls_record_send(struct gnutls_session_int *session, const void *buf, size_t len)
{
	struct emitter emitter = { .core = { emit, session, &library, true } };

	return THE(gnutls_record_send) == NULL ? E_INTERNAL : send_counted(&emitter, buf, len);
}

EXPORT ssize_t gnutls_record_send2(struct gnutls_session_int *session, const void *buf, size_t len, size_t pad,
                                   unsigned flags)
{
	struct emitter emitter = {
		.core = { emit, session, &library, true }, .padded = true, .pad = pad, .flags = flags
	};

	return THE(gnutls_record_send2) == NULL ? E_INTERNAL : send_counted(&emitter, buf, len);
}

EXPORT ssize_t gnutls_record_send_early_data(struct gnutls_session_int *session, const void *buf, size_t len)
{
	__typeof__(&gnutls_record_send_early_data) real = THE(gnutls_record_send_early_data);

	if (real == NULL)
		return E_INTERNAL;
	tls_pass(session, &library);
	return real(session, buf, len);
}

EXPORT void gnutls_record_cork(struct gnutls_session_int *session)
{
	__typeof__(&gnutls_record_cork) real = THE(gnutls_record_cork);
	struct tls_cork *cork = tls_cork(session);

	if (cork != NULL)
		cork->corked = true;
	if (real != NULL)
		real(session);
}

/* What was kept goes out by gnutls_record_send, and has been told. */
EXPORT int gnutls_record_uncork(struct gnutls_session_int *session, unsigned flags)
{
	__typeof__(&gnutls_record_uncork) real = THE(gnutls_record_uncork);
	struct tls_cork *cork = tls_cork(session);
	struct tls_call call;
	bool ours;
	int n;

	if (real == NULL)
		return E_INTERNAL;
	ours = tls_begin(&call, session, &library, CONN_UNDECIDED);
	if (ours)
		tls_keep_quiet();
	n = real(session, flags);
	if (ours)
		tls_end(&call, CONN_UNDECIDED);
	if (n >= 0 && cork != NULL) {
		n -= cork->inserted <= (uint32_t)n ? (int)cork->inserted : 0;
		*cork = (struct tls_cork){ 0 };
	}
	return n;
}

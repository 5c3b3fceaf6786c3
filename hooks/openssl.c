/*
 * OpenSSL: what a program reads and writes as plain text. See shim/tls.h for what is made of it. long: hooks over one table of
 * a library's functions, which nobody else may call.
 *
 * The real functions cannot be those behind ours in the search order: libssl may have come with a module that the program opened
 * (Python's), and then is in nobody's order but that module's; and there may be two of them (a wheel with its own), of versions
 * that crash with each other's sessions. So the session is asked: among the first words of each, and of each context, is a
 * pointer to the table of its methods, which lies in the library that made it. In OpenSSL 1.1 to 3.1 it is the second one of a
 * session and the first of a context; later ones have one more in front. Each library is looked up once, with all that we call of it.
 *
 * A program that has no libssl has our functions still: they fail then, but nothing calls them.
 */
#include "real.h"

#include <errno.h>
#include <limits.h>
#include <string.h>

#include "counters.h"
#include "layout.h"
#include "lookup.h"
#include "openssl.h"
#include "os.h"
#include "python.h"
#include "tls.h"
#include "tls_functions.h"
#include "tls_usual.h"

/* What is called of the library; the first one is what it is known by. */
#define FUNCTIONS(X)                                                                                                   \
	X(SSL_read)                                                                                                    \
	X(SSL_write)                                                                                                   \
	X(SSL_new)                                                                                                     \
	X(SSL_free)                                                                                                    \
	X(SSL_up_ref)                                                                                                  \
	X(SSL_clear)                                                                                                   \
	X(SSL_set_fd)                                                                                                  \
	X(SSL_set_rfd)                                                                                                 \
	X(SSL_set_bio)                                                                                                 \
	X(SSL_set0_rbio)                                                                                               \
	X(SSL_dup)                                                                                                     \
	X(SSL_accept)                                                                                                  \
	X(SSL_connect)                                                                                                 \
	X(SSL_do_handshake)                                                                                            \
	X(SSL_read_ex)                                                                                                 \
	X(SSL_peek)                                                                                                    \
	X(SSL_peek_ex)                                                                                                 \
	X(SSL_read_early_data)                                                                                         \
	X(SSL_write_ex)                                                                                                \
	X(SSL_write_early_data)                                                                                        \
	X(SSL_sendfile)                                                                                                \
	X(SSL_shutdown)                                                                                                \
	X(SSL_get_rbio)                                                                                                \
	X(SSL_get_rfd)                                                                                                 \
	X(SSL_is_server)                                                                                               \
	X(SSL_want)                                                                                                    \
	X(SSL_ctrl)

enum function {
#define X(name) AT_##name,
	FUNCTIONS(X)
#undef X
		FUNCTION_COUNT
};

#define X(name) #name "\0"
static const char names[] = FUNCTIONS(X);
#undef X

struct openssl {
	struct lookup_object object;
	struct openssl *next;
	void *function[FUNCTION_COUNT];
	struct tls_library core;
} __attribute__((aligned(64))); /* what reading and writing needs lies in one line of the cache */

/* The versions that this process has, the one that was met last first. Atomic. */
static struct openssl *libraries;

/* Mostly there is one. */
static struct openssl usual LAYOUT_LATER;
static bool usual_taken; /* atomic */

/* A function of the library, with the type that openssl.h declares for it. */
#define OF(library, name) ((__typeof__(&name))(library)->function[AT_##name])

/* SSL_want's answer and SSL_ctrl's question, as <openssl/ssl.h> has them. */
#define WANTS_NOTHING 1
#define CTRL_MODE 33
#define MODE_PARTIAL_WRITE 1

static const struct openssl *whole(const struct tls_library *library)
{
	return (const struct openssl *)(const void *)((const char *)library - offsetof(struct openssl, core));
}

/* Asked of a session without a BIO, libssl would put an error into the thread's queue, where the program's next call finds it. */
static int descriptor(const struct tls_library *library, void *session)
{
	return OF(whole(library), SSL_get_rbio)(session) != NULL ? OF(whole(library), SSL_get_rfd)(session) : -1;
}

static enum conn_role role(const struct tls_library *library, void *session)
{
	return OF(whole(library), SSL_is_server)(session) != 0 ? CONN_SERVED : CONN_OUTGOING;
}

static bool again(const struct tls_library *library, void *session, long result)
{
	(void)result;
	return OF(whole(library), SSL_want)(session) != WANTS_NOTHING;
}

static bool partial(const struct tls_library *library, void *session)
{
	return (OF(whole(library), SSL_ctrl)(session, CTRL_MODE, 0, NULL) & MODE_PARTIAL_WRITE) != 0;
}

/* ---- which library ---- */

/* So many words of a session or context may be the pointer to its methods. */
#define WORDS 3

static struct openssl *known(const void *const *words, unsigned count)
{
	struct openssl *library = __atomic_load_n(&libraries, __ATOMIC_ACQUIRE);
	unsigned k;

	for (; library != NULL; library = library->next)
		for (k = 0; k < count; k++)
			if (lookup_is_in(&library->object, words[k]))
				return library;
	return NULL;
}

static struct openssl *make(void)
{
	if (!__atomic_exchange_n(&usual_taken, true, __ATOMIC_ACQ_REL))
		return &usual;
	return os_pages(sizeof(struct openssl));
}

static void unmake(struct openssl *library)
{
	if (library == &usual)
		__atomic_store_n(&usual_taken, false, __ATOMIC_RELEASE);
	else
		(void)os_unmap(library, sizeof(*library));
}

/* Several threads may come here at once: each makes an entry, and the first of them stays. */
static struct openssl *enter(struct openssl *library)
{
	const void *here = (const void *)library->object.first;
	struct openssl *other;

	library->next = __atomic_load_n(&libraries, __ATOMIC_ACQUIRE);
	for (;;) {
		other = known(&here, 1);
		if (other != NULL) {
			unmake(library);
			return other;
		}
		if (__atomic_compare_exchange_n(&libraries, &library->next, library, 0, __ATOMIC_ACQ_REL,
		                                __ATOMIC_ACQUIRE))
			return library;
	}
}

/* Something else of that name (BoringSSL has no SSL_ctrl) is called, and not looked into. */
static bool can_be_asked(const struct openssl *library)
{
	return library->function[AT_SSL_get_rbio] != NULL && library->function[AT_SSL_get_rfd] != NULL &&
	       library->function[AT_SSL_is_server] != NULL && library->function[AT_SSL_want] != NULL &&
	       library->function[AT_SSL_ctrl] != NULL;
}

static const struct openssl *learn(const void *const *words, unsigned count)
{
	struct openssl *library = make();
	int saved = errno;

	if (library == NULL)
		return NULL;
	if (!lookup_functions(&library->object, names, library->function, words, count)) {
		unmake(library);
		errno = saved;
		return NULL;
	}
	lookup_keep(&library->object);
	io_bind_for_tls();
	if (can_be_asked(library))
		library->core = (struct tls_library){ descriptor, role, again, partial };
	else
		counters_count(symbols_missing);
	library = enter(library);
	errno = saved;
	return library;
}

static __attribute__((noinline)) const struct openssl *find(const void *const *words)
{
	const struct openssl *library = words != NULL ? learn(words, WORDS) : NULL;

	if (library != NULL)
		return library;
	/* Of a kind that keeps its methods elsewhere, or nothing at all (SSL_free takes that): the only library there is. */
	library = __atomic_load_n(&libraries, __ATOMIC_ACQUIRE);
	if (library == NULL)
		library = learn(NULL, 0);
	if (library == NULL)
		counters_count(symbols_missing);
	return library;
}

/* The library that made this session or context; NULL: there is none, and nothing can be done. */
static const struct openssl *of(const void *object)
{
	const struct openssl *library = object != NULL ? known(object, WORDS) : NULL;

	return __builtin_expect(library != NULL, 1) ? library : find(object);
}

/*
 * What a session is known by: the pointer to its methods. Who has it was made by the library in t->made_by, if that is t->word, whatever had
 * the address before.
 */
static inline __attribute__((always_inline)) const void *word_of(const void *session)
{
	return ((const void *const *)session)[1];
}

static inline __attribute__((always_inline)) const struct openssl *maker(const struct tls *t)
{
	return t->made_by;
}

static void remember(struct tls *t, const struct openssl *library)
{
	const void *word = word_of(t->key);

	if (t->tie != TLS_UNTIED && lookup_is_in(&library->object, word)) {
		t->made_by = library;
		t->word = word;
	}
}

bool openssl_has(const void *function)
{
	const struct openssl *library = known(&function, 1);
	unsigned i = 0;

	if (library == NULL)
		library = learn(&function, 1);
	if (library == NULL || library->core.descriptor == NULL)
		return false;
	while (i < FUNCTION_COUNT && library->function[i] != function)
		i++;
	return i < FUNCTION_COUNT;
}

/* ---- sessions ---- */

EXPORT struct ssl_st *SSL_new(struct ssl_ctx_st *context)
{
	const struct openssl *library = of(context);
	struct ssl_st *ssl = library != NULL ? OF(library, SSL_new)(context) : NULL;

	/* One that had its address may have been freed within the library. */
	if (ssl != NULL)
		tls_forget(ssl);
	return ssl;
}

EXPORT void SSL_free(struct ssl_st *ssl)
{
	const struct openssl *library = of(ssl);

	if (library == NULL)
		return;
	tls_release(ssl);
	OF(library, SSL_free)(ssl);
}

EXPORT int SSL_up_ref(struct ssl_st *ssl)
{
	const struct openssl *library = of(ssl);
	int result;

	if (library == NULL)
		return 0;
	tls_share(ssl); /* before another thread lets go of its own */
	result = OF(library, SSL_up_ref)(ssl);
	if (result != 1)
		tls_release(ssl);
	return result;
}

/* The duplicate of a session at work is that session, once more. */
EXPORT struct ssl_st *SSL_dup(struct ssl_st *ssl)
{
	const struct openssl *library = of(ssl);
	struct ssl_st *copy;

	if (library == NULL)
		return NULL;
	tls_share(ssl);
	copy = OF(library, SSL_dup)(ssl);
	if (copy != ssl) {
		tls_release(ssl);
		tls_forget(copy);
	}
	return copy;
}

EXPORT int SSL_clear(struct ssl_st *ssl)
{
	const struct openssl *library = of(ssl);

	if (library == NULL)
		return 0;
	tls_reset(ssl);
	return OF(library, SSL_clear)(ssl);
}

/* SSL_set_fd, or SSL_set_rfd, which is of the same type. */
static int give_descriptor(struct ssl_st *ssl, int fd, enum function at)
{
	const struct openssl *library = of(ssl);
	__typeof__(&SSL_set_fd) real;
	int result;

	if (library == NULL)
		return 0;
	real = (__typeof__(&SSL_set_fd))library->function[at];
	result = real(ssl, fd);
	if (result == 1)
		tls_rebound(ssl, fd);
	return result;
}

EXPORT int SSL_set_fd(struct ssl_st *ssl, int fd)
{
	return give_descriptor(ssl, fd, AT_SSL_set_fd);
}

EXPORT int SSL_set_rfd(struct ssl_st *ssl, int fd)
{
	return give_descriptor(ssl, fd, AT_SSL_set_rfd);
}

static void rebound(struct ssl_st *ssl, const struct openssl *library)
{
	if (library->core.descriptor != NULL)
		tls_rebound(ssl, descriptor(&library->core, ssl));
}

EXPORT void SSL_set_bio(struct ssl_st *ssl, struct bio_st *rbio, struct bio_st *wbio)
{
	const struct openssl *library = of(ssl);

	if (library == NULL)
		return;
	OF(library, SSL_set_bio)(ssl, rbio, wbio);
	rebound(ssl, library);
}

/* Which one it writes to is not asked. */
EXPORT void SSL_set0_rbio(struct ssl_st *ssl, struct bio_st *rbio)
{
	const struct openssl *library = of(ssl);

	if (library == NULL)
		return;
	OF(library, SSL_set0_rbio)(ssl, rbio);
	rebound(ssl, library);
}

/* SSL_do_handshake, or another one of its type. */
static int shake_hands(struct ssl_st *ssl, enum function at, enum conn_role as)
{
	const struct openssl *library = of(ssl);
	__typeof__(&SSL_do_handshake) real;
	struct tls_call call;
	bool ours;
	int result;

	if (library == NULL)
		return -1;
	real = (__typeof__(&SSL_do_handshake))library->function[at];
	ours = tls_begin(&call, ssl, &library->core, as);
	result = real(ssl);
	if (ours)
		tls_end(&call, as);
	return result;
}

EXPORT int SSL_accept(struct ssl_st *ssl)
{
	return shake_hands(ssl, AT_SSL_accept, CONN_SERVED);
}

EXPORT int SSL_connect(struct ssl_st *ssl)
{
	return shake_hands(ssl, AT_SSL_connect, CONN_OUTGOING);
}

EXPORT int SSL_do_handshake(struct ssl_st *ssl)
{
	return shake_hands(ssl, AT_SSL_do_handshake, CONN_UNDECIDED);
}

EXPORT int SSL_shutdown(struct ssl_st *ssl)
{
	tls_shut(ssl);
	return shake_hands(ssl, AT_SSL_shutdown, CONN_UNDECIDED);
}

/* ---- reading ---- */

/* SSL_read, or SSL_peek, which is of the same type. */
static __attribute__((noinline)) int receive_some(struct ssl_st *ssl, void *buf, int len, enum function at)
{
	const struct openssl *library = of(ssl);
	__typeof__(&SSL_read) real;
	struct tls_call call;
	int n;

	if (library == NULL)
		return -1;
	real = (__typeof__(&SSL_read))library->function[at];
	if (len < 0 || !tls_receive_begin(&call, ssl, &library->core))
		return real(ssl, buf, len);
	remember(call.session, library);
	n = real(ssl, buf, len);
	tls_receive_end(&call, buf, (size_t)len, n, at == AT_SSL_peek);
	return n;
}

static __attribute__((noinline)) long received_nothing(struct tls *t, long received)
{
	return tls_received_nothing(t, &of(t->key)->core, received);
}

EXPORT int SSL_read(struct ssl_st *ssl, void *buf, int len)
{
	struct tls *t = len > 0 ? tls_find_usual(ssl, word_of) : NULL;

	if (__builtin_expect(t == NULL, 0))
		return receive_some(ssl, buf, len, AT_SSL_read);
	tls_receive_begin_usual(t);
	return (int)tls_receive_end_usual(t, buf, OF(maker(t), SSL_read)(ssl, buf, len), received_nothing);
}

EXPORT int SSL_peek(struct ssl_st *ssl, void *buf, int len)
{
	return receive_some(ssl, buf, len, AT_SSL_peek);
}

/* Those that say 1 or 0, and tell the bytes besides; all of SSL_read_ex' type. */
static __attribute__((noinline)) int receive_some_ex(struct ssl_st *ssl, void *buf, size_t len, size_t *done,
                                                     enum function at, const void *caller)
{
	const struct openssl *library = of(ssl);
	__typeof__(&SSL_read_ex) real;
	struct tls_call call;
	int result;

	if (library == NULL)
		return 0;
	real = (__typeof__(&SSL_read_ex))library->function[at];
	if (!tls_receive_begin(&call, ssl, &library->core))
		return real(ssl, buf, len, done);
	remember(call.session, library);
	tls_keep_quiet(); /* early data is read by SSL_read_ex */
	result = real(ssl, buf, len, done);
	tls_receive_end(&call, buf, len, result > 0 ? (long)*done : 0, at == AT_SSL_peek_ex);
	if (__builtin_expect(python_watched, 0) && result > 0 && caller != NULL && call.receive.handle.conn != NULL)
		python_received_inside(call.receive.handle, OF(library, SSL_get_rbio)(ssl), caller);
	return result;
}

/* Once, not in place: who calls these does not serve most. */
static __attribute__((noinline)) struct tls *find_known(const struct ssl_st *ssl)
{
	return tls_find_usual(ssl, word_of);
}

EXPORT int SSL_read_ex(struct ssl_st *ssl, void *buf, size_t len, size_t *done)
{
	struct tls *t = python_watched || len == 0 ? NULL : find_known(ssl);
	int result;

	if (t == NULL)
		return receive_some_ex(ssl, buf, len, done, AT_SSL_read_ex, __builtin_return_address(0));
	tls_receive_begin_usual(t);
	result = OF(maker(t), SSL_read_ex)(ssl, buf, len, done);
	(void)tls_receive_end_usual(t, buf, result > 0 ? (long)*done : 0, received_nothing);
	return result;
}

EXPORT int SSL_peek_ex(struct ssl_st *ssl, void *buf, size_t len, size_t *done)
{
	return receive_some_ex(ssl, buf, len, done, AT_SSL_peek_ex, NULL);
}

EXPORT int SSL_read_early_data(struct ssl_st *ssl, void *buf, size_t len, size_t *done)
{
	return receive_some_ex(ssl, buf, len, done, AT_SSL_read_early_data, NULL);
}

/* ---- writing ---- */

struct emitter {
	struct tls_emitter core;
	const struct openssl *library;
	int (*write)(struct ssl_st *, const void *, size_t, size_t *); /* SSL_write_ex's kind */
};

static long emit(struct tls_emitter *core, const void *bytes, size_t len)
{
	const struct emitter *emitter = (const struct emitter *)(const void *)core;

	return OF(emitter->library, SSL_write)(core->session, bytes, len < INT_MAX ? (int)len : INT_MAX);
}

static long emit_ex(struct tls_emitter *core, const void *bytes, size_t len)
{
	const struct emitter *emitter = (const struct emitter *)(const void *)core;
	size_t done = 0;

	return emitter->write(core->session, bytes, len, &done) == 1 ? (long)done : 0;
}

/* What is not the usual answer; or one that was not written whole, if there is `v`. */
static __attribute__((noinline)) int send_otherwise(struct ssl_st *ssl, const void *buf, int len, struct io_send *io,
                                                    const struct iovec *v)
{
	const struct openssl *library = of(ssl);
	struct emitter emitter = { { emit, ssl, NULL, true }, library, NULL };

	if (library == NULL)
		return -1;
	emitter.core.library = &library->core;
	if (v != NULL)
		return (int)tls_answer_in_part(&emitter.core, io, v, len);
	return len <= 0 ? OF(library, SSL_write)(ssl, buf, len) : (int)tls_send(&emitter.core, buf, (size_t)len);
}

EXPORT int SSL_write(struct ssl_st *ssl, const void *buf, int len)
{
	struct tls *t = len > 0 ? tls_find_usual(ssl, word_of) : NULL;
	struct iovec iov = { (void *)(uintptr_t)buf, (size_t)len }, v;
	struct io_send io;
	int n;

	if (t == NULL || !tls_answer_begin(t, &io, &iov, &v))
		return send_otherwise(ssl, buf, len, NULL, NULL);
	n = OF(maker(t), SSL_write)(ssl, v.iov_base, (int)v.iov_len);
	return n == (int)v.iov_len ? (int)tls_answer_end(&io, n) : send_otherwise(ssl, NULL, n, &io, &v);
}

static int send_ex(struct ssl_st *ssl, const struct openssl *library,
                   int (*real)(struct ssl_st *, const void *, size_t, size_t *), const void *buf, size_t len,
                   size_t *done, bool insert)
{
	struct emitter emitter = { { emit_ex, ssl, &library->core, insert }, library, real };
	long n;

	if (len == 0 || len > LONG_MAX || done == NULL)
		return real(ssl, buf, len, done);
	n = tls_send(&emitter.core, buf, len);
	*done = n > 0 ? (size_t)n : 0;
	return n > 0;
}

/* As send_otherwise. */
static __attribute__((noinline)) int send_otherwise_ex(struct ssl_st *ssl, const void *buf, size_t len, size_t *done,
                                                       struct io_send *io, const struct iovec *v)
{
	const struct openssl *library = of(ssl);
	long n;

	if (library == NULL)
		return 0;
	if (v == NULL)
		return send_ex(ssl, library, OF(library, SSL_write_ex), buf, len, done, true);
	n = tls_answer_in_part(
		&(struct emitter){ { emit_ex, ssl, &library->core, true }, library, OF(library, SSL_write_ex) }.core,
		io, v, (long)len);
	*done = n > 0 ? (size_t)n : 0;
	return n > 0;
}

EXPORT int SSL_write_ex(struct ssl_st *ssl, const void *buf, size_t len, size_t *done)
{
	struct tls *t = done == NULL || len == 0 ? NULL : find_known(ssl);
	struct iovec iov = { (void *)(uintptr_t)buf, len }, v;
	struct io_send io;
	size_t n = 0;

	if (t == NULL || !tls_answer_begin(t, &io, &iov, &v))
		return send_otherwise_ex(ssl, buf, len, done, NULL, NULL);
	if (OF(maker(t), SSL_write_ex)(ssl, v.iov_base, v.iov_len, &n) != 1)
		n = 0;
	if (n != v.iov_len)
		return send_otherwise_ex(ssl, NULL, n, done, &io, &v);
	*done = (size_t)tls_answer_end(&io, (long)n);
	return 1;
}

/* A server's is the beginning of its answers. Nothing is added to what the program means to be that. */
EXPORT int SSL_write_early_data(struct ssl_st *ssl, const void *buf, size_t len, size_t *done)
{
	const struct openssl *library = of(ssl);

	if (library == NULL)
		return 0;
	if (library->core.role != NULL && role(&library->core, ssl) == CONN_OUTGOING)
		tls_pass(ssl, &library->core);
	return send_ex(ssl, library, OF(library, SSL_write_early_data), buf, len, done, false);
}

EXPORT ssize_t SSL_sendfile(struct ssl_st *ssl, int fd, off_t offset, size_t len, int flags)
{
	const struct openssl *library = of(ssl);
	ssize_t n;

	if (library == NULL)
		return -1;
	n = OF(library, SSL_sendfile)(ssl, fd, offset, len, flags);
	tls_send_unseen(ssl, n);
	return n;
}

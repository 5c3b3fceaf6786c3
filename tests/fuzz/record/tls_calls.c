/*
 * Preloaded into a program, writes what it asks of its library of TLS to TLS_CALLS.<pid>, as an input of fuzz_tls ('recorded', there): which
 * session, what was read and written, how often the library had it come again. For scripts/fuzz-record.
 *
 * One file a process, SESSIONS at a time, LONGEST bytes; what goes beyond is left out.
 */
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <gnutls/gnutls.h>
#include <openssl/bio.h>
#include <openssl/ssl.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "../tls_steps.h"

#define LONGEST 8000u

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static const void *session[SESSIONS];
static unsigned refused[SESSIONS];
static uint8_t record[LONGEST];
static size_t record_len;
static __thread bool inside; /* what a library calls of itself is no call of the program */

static void *real(const char *library, const char *name)
{
	void *found = dlsym(RTLD_NEXT, name), *handle;

	if (found == NULL && (handle = dlopen(library, RTLD_NOLOAD | RTLD_LAZY)) != NULL)
		found = dlsym(handle, name);
	return found;
}

#define SSL_REAL(name) ((__typeof__(&name))real("libssl.so.3", #name))
#define CRYPTO_REAL(name) ((__typeof__(&name))real("libcrypto.so.3", #name))
#define TLS_REAL(name) ((__typeof__(&name))real("libgnutls.so.30", #name))

static void put(const void *bytes, size_t len)
{
	memcpy(record + record_len, bytes, len);
	record_len += len;
}

/* A step whole, or not at all. */
static void step(unsigned what, unsigned which, int more, const void *bytes, size_t len)
{
	uint8_t head[5] = { (uint8_t)(what | which << 4) };
	size_t head_len = 1;

	if (more >= 0)
		head[head_len++] = (uint8_t)more;
	if (bytes != NULL) {
		head[head_len++] = (uint8_t)(len >> 8);
		head[head_len++] = (uint8_t)len;
	}
	if (record_len + head_len + len > LONGEST)
		return;
	put(head, head_len);
	put(bytes, len);
}

static int how_openssl(const SSL *ssl)
{
	int fd = SSL_REAL(SSL_get_fd)(ssl), how = SSL_REAL(SSL_is_server)(ssl) ? HOW_SERVED : 0;
	long mode = (long)SSL_REAL(SSL_ctrl)((SSL *)ssl, SSL_CTRL_MODE, 0, NULL);
	BIO *below = SSL_REAL(SSL_get_rbio)(ssl);

	how |= mode & SSL_MODE_ENABLE_PARTIAL_WRITE ? HOW_PARTIAL : 0;
	how |= mode & SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER ? HOW_MOVING : 0;
	if (fd >= 0)
		how |= fcntl(fd, F_GETFL) & O_NONBLOCK ? HOW_NONBLOCKING : 0;
	else
		how |= below != NULL && CRYPTO_REAL(BIO_method_type)(below) == BIO_TYPE_MEM ?
		               HOW_MEMORY :
		               HOW_UNKNOWN | HOW_NONBLOCKING;
	return how;
}

static int how_gnutls(gnutls_session_t s)
{
	int fd = TLS_REAL(gnutls_transport_get_int)(s);

	return HOW_PARTIAL | HOW_KEEPS | HOW_MOVING | (fcntl(fd, F_GETFL) & O_NONBLOCK ? HOW_NONBLOCKING : 0) |
	       (fd <= 0 ? HOW_UNKNOWN : 0);
}

/* The session's number; it is opened, with `how` it is made, at its first call. SESSIONS: there are too many. */
static unsigned find(const void *s, int how)
{
	unsigned i;

	for (i = 0; i < SESSIONS && session[i] != s; i++)
		;
	if (i < SESSIONS || how < 0)
		return i;
	for (i = 0; i < SESSIONS && session[i] != NULL; i++)
		;
	if (i < SESSIONS) {
		session[i] = s;
		refused[i] = 0;
		step(STEP_OPEN, i, how, NULL, 0);
	}
	return i;
}

static void note(unsigned what, const void *s, int how, int more)
{
	unsigned i;

	pthread_mutex_lock(&lock);
	if ((i = find(s, how)) < SESSIONS)
		step(what, i, more, NULL, 0);
	pthread_mutex_unlock(&lock);
}

static void note_bytes(unsigned what, const void *s, int how, const void *bytes, long len, bool again)
{
	unsigned i;

	pthread_mutex_lock(&lock);
	i = find(s, how);
	if (i < SESSIONS && len > 0) {
		step(what, i, what == STEP_WRITE ? (int)refused[i] : -1, bytes, (size_t)len);
		refused[i] = 0;
	} else if (i < SESSIONS && what == STEP_WRITE) {
		refused[i] += again && refused[i] < 255;
		if (!again)
			step(STEP_BREAK, i, -1, NULL, 0);
	}
	pthread_mutex_unlock(&lock);
}

static char base[4000];

/* nginx takes the environment away. */
static __attribute__((constructor)) void enter(void)
{
	(void)snprintf(base, sizeof(base), "%s", getenv("TLS_CALLS") != NULL ? getenv("TLS_CALLS") : "");
}

/* Nothing was said: no file. */
static void save(void)
{
	const uint8_t head[8] = { 1, RECORDED, 1, 0, 0, 0, 0, 0 };
	char path[4096];
	FILE *file;

	if (base[0] == 0 || record_len == 0)
		return;
	(void)snprintf(path, sizeof(path), "%s.%d", base, (int)getpid());
	if ((file = fopen(path, "wb")) == NULL)
		return;
	(void)fwrite(head, sizeof(head), 1, file);
	(void)fwrite(record, record_len, 1, file);
	(void)fclose(file);
}

static void gone(const void *s)
{
	unsigned i;

	pthread_mutex_lock(&lock);
	if ((i = find(s, -1)) < SESSIONS) {
		step(STEP_RELEASE, i, -1, NULL, 0);
		session[i] = NULL;
		save(); /* not all leave by exit */
	}
	pthread_mutex_unlock(&lock);
}

static bool again_openssl(SSL *ssl, int result)
{
	int error = SSL_REAL(SSL_get_error)(ssl, result);

	return error == SSL_ERROR_WANT_READ || error == SSL_ERROR_WANT_WRITE;
}

/* `call` is of what the program asks for, unless the library asks itself. */
#define OUTER(call, told)                                                                                              \
	bool outer = !inside;                                                                                          \
	inside = true;                                                                                                 \
	call;                                                                                                          \
	if (outer) {                                                                                                   \
		int error = errno;                                                                                     \
		told;                                                                                                  \
		inside = false;                                                                                        \
		errno = error;                                                                                         \
	}

int SSL_write(SSL *ssl, const void *bytes, int len)
{
	int n;

	OUTER(n = SSL_REAL(SSL_write)(ssl, bytes, len),
	      note_bytes(STEP_WRITE, ssl, how_openssl(ssl), bytes, n, n <= 0 && again_openssl(ssl, n)))
	return n;
}

int SSL_write_ex(SSL *ssl, const void *bytes, size_t len, size_t *written)
{
	int ok;

	OUTER(ok = SSL_REAL(SSL_write_ex)(ssl, bytes, len, written),
	      note_bytes(STEP_WRITE, ssl, how_openssl(ssl), bytes, ok ? (long)*written : 0,
	                 !ok && again_openssl(ssl, ok)))
	return ok;
}

#define READ(name, what)                                                                                               \
	int name(SSL *ssl, void *bytes, int room)                                                                      \
	{                                                                                                              \
		int n;                                                                                                 \
                                                                                                                       \
		OUTER(n = SSL_REAL(name)(ssl, bytes, room), note_bytes(what, ssl, how_openssl(ssl), bytes, n, true))   \
		return n;                                                                                              \
	}
READ(SSL_read, STEP_READ)
READ(SSL_peek, STEP_PEEK)

#define READ_EX(name, what)                                                                                            \
	int name(SSL *ssl, void *bytes, size_t room, size_t *n)                                                        \
	{                                                                                                              \
		int ok;                                                                                                \
                                                                                                                       \
		OUTER(ok = SSL_REAL(name)(ssl, bytes, room, n),                                                        \
		      note_bytes(what, ssl, how_openssl(ssl), bytes, ok ? (long)*n : 0, true))                         \
		return ok;                                                                                             \
	}
READ_EX(SSL_read_ex, STEP_READ)
READ_EX(SSL_peek_ex, STEP_PEEK)

#define PLAIN(name, what, more)                                                                                        \
	int name(SSL *ssl)                                                                                             \
	{                                                                                                              \
		int result;                                                                                            \
                                                                                                                       \
		OUTER(result = SSL_REAL(name)(ssl), note(what, ssl, how_openssl(ssl), more))                           \
		return result;                                                                                         \
	}
PLAIN(SSL_do_handshake, STEP_HANDSHAKE, 0)
PLAIN(SSL_accept, STEP_HANDSHAKE, 1)
PLAIN(SSL_connect, STEP_HANDSHAKE, 1)
PLAIN(SSL_shutdown, STEP_SHUT, -1)
PLAIN(SSL_clear, STEP_CLEAR, 0)
PLAIN(SSL_up_ref, STEP_SHARE, -1)

void SSL_free(SSL *ssl)
{
	if (!inside && ssl != NULL)
		gone(ssl);
	SSL_REAL(SSL_free)(ssl);
}

ssize_t gnutls_record_send(gnutls_session_t s, const void *bytes, size_t len)
{
	ssize_t n;

	OUTER(n = TLS_REAL(gnutls_record_send)(s, bytes, len),
	      note_bytes(STEP_WRITE, s, how_gnutls(s), bytes, n, n == GNUTLS_E_AGAIN || n == GNUTLS_E_INTERRUPTED))
	return n;
}

ssize_t gnutls_record_recv(gnutls_session_t s, void *bytes, size_t room)
{
	ssize_t n;

	OUTER(n = TLS_REAL(gnutls_record_recv)(s, bytes, room), note_bytes(STEP_READ, s, how_gnutls(s), bytes, n, true))
	return n;
}

int gnutls_handshake(gnutls_session_t s)
{
	int result;

	OUTER(result = TLS_REAL(gnutls_handshake)(s), note(STEP_HANDSHAKE, s, how_gnutls(s), 0))
	return result;
}

int gnutls_bye(gnutls_session_t s, gnutls_close_request_t how)
{
	int result;

	OUTER(result = TLS_REAL(gnutls_bye)(s, how), note(STEP_SHUT, s, how_gnutls(s), -1))
	return result;
}

void gnutls_deinit(gnutls_session_t s)
{
	if (!inside)
		gone(s);
	TLS_REAL(gnutls_deinit)(s);
}

static __attribute__((destructor)) void leave(void)
{
	save();
}

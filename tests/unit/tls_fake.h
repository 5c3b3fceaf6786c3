/*
 * A library of TLS that encrypts nothing and refuses what it is told to refuse, with OpenSSL's rules: a write that was refused has
 * to come again with the same bytes, and without partial writes it takes all or nothing.
 */
#ifndef TLS_FAKE_H
#define TLS_FAKE_H

#include "core_fixture.h"
#include "tls.h"
#include "tls_usual.h"

#define FAKE_RECORD_HEAD 29u /* of TLS 1.2's AES-GCM, and its tag */
#define FAKE_RECORD 700u     /* what a partial write takes at most */

struct fake {
	int fd; /* -1: it was given functions */
	enum conn_role role;
	bool partial, moving, wants;
	bool keeps;  /* GnuTLS: what was refused may be asked for by no bytes */
	bool seldom; /* its functions are none of those that have ways of their own (tls_usual.h) */
	size_t pair,
		pending; /* what is below takes no more of records at a time (BIO_new_bio_pair), and what lies there; 0: all */
	unsigned (*random)(void);
	void (*inside)(struct fake *); /* what the program does in a callback of the library, in the midst of a write */
	bool broken;                   /* the connection is gone: nothing is taken any more */
	char *got;                     /* what the peer has */
	size_t got_len;
	char *refused; /* what has to come again, and from where */
	size_t refused_len;
	const void *refused_at;
};

static inline struct fake *fake_of(void *session)
{
	return session;
}

static int fake_descriptor(const struct tls_library *library, void *session)
{
	(void)library;
	return fake_of(session)->fd;
}

static enum conn_role fake_role(const struct tls_library *library, void *session)
{
	(void)library;
	return fake_of(session)->role;
}

static bool fake_again(const struct tls_library *library, void *session, long result)
{
	(void)library, (void)result;
	return fake_of(session)->wants;
}

static bool fake_partial(const struct tls_library *library, void *session)
{
	(void)library;
	return fake_of(session)->partial;
}

static const struct tls_library fake_library = { fake_descriptor, fake_role, fake_again, fake_partial };

static long fake_emit(struct tls_emitter *emitter, const void *bytes, size_t len)
{
	struct fake *f = fake_of(emitter->session);
	size_t record = f->partial && len > FAKE_RECORD ? FAKE_RECORD : len;

	CHECK(len > 0 || f->keeps);
	if (f->inside != NULL)
		f->inside(f);
	f->wants = false;
	if (f->broken)
		return -1;
	if (len == 0) {
		CHECK(f->refused != NULL);
		bytes = f->refused;
		f->refused_at = bytes;
		len = record = f->refused_len;
	}
	if (f->refused != NULL) {
		CHECK(len >= f->refused_len && memcmp(bytes, f->refused, f->refused_len) == 0);
		CHECK(f->moving || bytes == f->refused_at);
	}
	f->wants = f->random != NULL && f->random() % 3 == 0;
	if (f->pair > 0) {
		f->wants = f->pending + record + FAKE_RECORD_HEAD > f->pair;
		f->pending += record + FAKE_RECORD_HEAD;
	}
	if (f->wants) {
		if (f->refused == NULL) {
			f->refused = malloc(record);
			memcpy(f->refused, bytes, record);
			f->refused_len = record;
		}
		f->refused_at = bytes;
		return -1;
	}
	if (f->partial && f->refused != NULL)
		record = f->refused_len;
	f->got = realloc(f->got, f->got_len + record);
	memcpy(f->got + f->got_len, bytes, record);
	f->got_len += record;
	free(f->refused);
	f->refused = NULL;
	return (long)record;
}

/* Its library is known as soon as a connection is. */
static inline const void *fake_word(const void *session)
{
	const struct tls *t = tls_find(session);

	return t->tie != TLS_UNTIED ? t->word : NULL;
}

static inline long fake_write(struct fake *f, const char *bytes, size_t len)
{
	struct tls_emitter emitter = { fake_emit, f, &fake_library, true };
	struct iovec iov = { (void *)(uintptr_t)bytes, len }, v;
	const struct tls *t = f->seldom || len == 0 ? NULL : tls_find_usual(f, fake_word);
	struct io_send io;
	long n;

	if (t == NULL || !tls_answer_begin(t, &io, &iov, &v))
		return tls_send(&emitter, bytes, len);
	n = fake_emit(&emitter, v.iov_base, v.iov_len);
	return n == (long)v.iov_len ? tls_answer_end(&io, n) : tls_answer_in_part(&emitter, &io, &v, n);
}

/* As a program does it, in pieces; a call that is refused is made again, with bytes that lie elsewhere where that is allowed. */
static inline void fake_write_all(struct fake *f, const char *bytes, size_t len)
{
	size_t at = 0;

	while (at < len) {
		size_t part = f->random != NULL ? 1 + f->random() % (len - at) : len - at;
		char *from = malloc(part);
		long n;

		memcpy(from, bytes + at, part);
		while ((n = fake_write(f, from, part)) <= 0) {
			CHECK(f->wants);
			if (f->moving) {
				char *moved = malloc(part);

				memcpy(moved, bytes + at, part);
				free(from);
				from = moved;
			}
		}
		free(from);
		CHECK((size_t)n <= part && (f->partial || (size_t)n == part));
		at += (size_t)n;
	}
}

static inline long fake_read_nothing(struct tls *t, long received)
{
	return tls_received_nothing(t, &fake_library, received);
}

static inline void fake_read(struct fake *f, const char *bytes, size_t len, bool peek)
{
	struct tls *t = peek || f->seldom ? NULL : tls_find_usual(f, fake_word);
	struct tls_call call;
	char *exact = malloc(len);

	memcpy(exact, bytes, len);
	if (t != NULL) {
		tls_receive_begin_usual(t);
		CHECK(tls_receive_end_usual(t, exact, (long)len, fake_read_nothing) == (long)len);
	} else if (tls_receive_begin(&call, f, &fake_library)) {
		tls_receive_end(&call, exact, len, (long)len, peek);
	}
	free(exact);
}

static inline void fake_free(struct fake *f)
{
	tls_forget(f);
	free(f->got);
	free(f->refused);
	f->got = f->refused = NULL;
	f->got_len = 0;
}

/* `own` with `line` in front of each blank line; how long that is. Only heads may have blank lines. */
static inline size_t with_lines(char *out, const char *own, size_t len, const char *line)
{
	size_t i, to = 0;

	for (i = 0; i < len; i++) {
		if (i >= 2 && i + 1 < len && memcmp(own + i - 2, "\r\n\r\n", 4) == 0) {
			memcpy(out + to, line, strlen(line));
			to += strlen(line);
		}
		out[to++] = own[i];
	}
	return to;
}

static inline bool is_like(const char *got, size_t len, const char *wanted, size_t wanted_len)
{
	size_t i;

	for (i = 0; i < len && i < wanted_len; i++)
		if (got[i] != wanted[i] && (wanted[i] != '~' || strchr("0123456789abcdef", got[i]) == NULL))
			return false;
	return len == wanted_len;
}

#endif

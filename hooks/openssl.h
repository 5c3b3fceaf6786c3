/*
 * What we use of OpenSSL, 1.1 and 3: declared here, because building must not need its headers. A contract test compares these
 * with the real ones.
 */
#ifndef TRACESHIM_OPENSSL_H
#define TRACESHIM_OPENSSL_H

#include <stddef.h>
#include <sys/types.h>

struct ssl_st;
struct ssl_ctx_st;
struct bio_st;

struct ssl_st *SSL_new(struct ssl_ctx_st *context);
void SSL_free(struct ssl_st *ssl);
int SSL_up_ref(struct ssl_st *ssl);
struct ssl_st *SSL_dup(struct ssl_st *ssl);
int SSL_clear(struct ssl_st *ssl);
int SSL_set_fd(struct ssl_st *ssl, int fd);
int SSL_set_rfd(struct ssl_st *ssl, int fd);
void SSL_set_bio(struct ssl_st *ssl, struct bio_st *rbio, struct bio_st *wbio);
void SSL_set0_rbio(struct ssl_st *ssl, struct bio_st *rbio);
int SSL_accept(struct ssl_st *ssl);
int SSL_connect(struct ssl_st *ssl);
int SSL_do_handshake(struct ssl_st *ssl);
int SSL_read(struct ssl_st *ssl, void *buf, int len);
int SSL_read_ex(struct ssl_st *ssl, void *buf, size_t len, size_t *done);
int SSL_peek(struct ssl_st *ssl, void *buf, int len);
int SSL_peek_ex(struct ssl_st *ssl, void *buf, size_t len, size_t *done);
int SSL_read_early_data(struct ssl_st *ssl, void *buf, size_t len, size_t *done);
int SSL_write(struct ssl_st *ssl, const void *buf, int len);
int SSL_write_ex(struct ssl_st *ssl, const void *buf, size_t len, size_t *done);
int SSL_write_early_data(struct ssl_st *ssl, const void *buf, size_t len, size_t *done);
ssize_t SSL_sendfile(struct ssl_st *ssl, int fd, off_t offset, size_t len, int flags);
int SSL_shutdown(struct ssl_st *ssl);
struct bio_st *SSL_get_rbio(const struct ssl_st *ssl);
int SSL_get_rfd(const struct ssl_st *ssl);
int SSL_is_server(const struct ssl_st *ssl);
int SSL_want(const struct ssl_st *ssl);
long SSL_ctrl(struct ssl_st *ssl, int command, long number, void *argument);

#endif

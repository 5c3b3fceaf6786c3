/*
 * What we use of GnuTLS: declared here, because building must not need its headers. A contract test compares these with the
 * real ones.
 */
#ifndef TRACESHIM_GNUTLS_H
#define TRACESHIM_GNUTLS_H

#include <stddef.h>
#include <sys/types.h>

struct gnutls_session_int;
struct mbuffer_st;

int gnutls_init(struct gnutls_session_int **session, unsigned flags);
void gnutls_deinit(struct gnutls_session_int *session);
int gnutls_handshake(struct gnutls_session_int *session);
int gnutls_bye(struct gnutls_session_int *session, unsigned how);
ssize_t gnutls_record_recv(struct gnutls_session_int *session, void *buf, size_t len);
ssize_t gnutls_record_recv_seq(struct gnutls_session_int *session, void *buf, size_t len, unsigned char *sequence);
ssize_t gnutls_record_recv_packet(struct gnutls_session_int *session, struct mbuffer_st **packet);
ssize_t gnutls_record_recv_early_data(struct gnutls_session_int *session, void *buf, size_t len);
ssize_t gnutls_record_send(struct gnutls_session_int *session, const void *buf, size_t len);
ssize_t gnutls_record_send2(struct gnutls_session_int *session, const void *buf, size_t len, size_t pad,
                            unsigned flags);
ssize_t gnutls_record_send_early_data(struct gnutls_session_int *session, const void *buf, size_t len);
void gnutls_record_cork(struct gnutls_session_int *session);
int gnutls_record_uncork(struct gnutls_session_int *session, unsigned flags);
size_t gnutls_record_check_corked(struct gnutls_session_int *session);

#endif

/*
 * What io and io_send do for spans (span.h), and only where they are exported: without it, nothing here is called.
 */
#ifndef TRACESHIM_IO_SPANS_H
#define TRACESHIM_IO_SPANS_H

#include "io.h"

/*
 * The program received something, or failed to: a connection that fails or ends is why a response is not complete. `error` is
 * the call's errno. Changes errno.
 */
void io_spans_receive(const struct io_receive *io, const struct iovec *iov, int count, ssize_t received, int error);

/* A send is over. What it did not complete is not held any more; if it failed, that may be why the response never came. */
void io_spans_sent(const struct io_send *io, bool failed, int error);

/* Bytes that nobody sees are about to be sent on a connection. Keeps errno. */
void io_spans_hold_unseen(struct conn_handle handle);

#endif

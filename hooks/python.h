/*
 * asyncio: which request does a task work for? Its context says (PEP 567). See the essay in python.c.
 */
#ifndef TRACESHIM_PYTHON_H
#define TRACESHIM_PYTHON_H

#include <stdbool.h>

#include "conn.h"

/* Is this CPython, whose contexts are asked for marks or might be? Set once by the constructor; cleared when it cannot be done. */
extern bool python_watched;

/* Constructor only. */
void python_init(void);

/*
 * Bytes came in on a served connection, for a caller at this address in the program: mark whoever works for the request from now
 * on. May take the interpreter's lock. Keeps errno. Not for signal handlers: CPython's own do not receive.
 */
void python_received(int fd, const void *caller);

/* As above, for plain text of a TLS session that gets its cipher text from `rbio`, a BIO of OpenSSL's. */
void python_received_inside(struct conn_handle handle, const void *rbio, const void *caller);

#endif

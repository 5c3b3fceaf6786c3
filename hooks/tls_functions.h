/*
 * The libraries of TLS whose functions have hooks, as dlsym asks for them.
 */
#ifndef TRACESHIM_TLS_FUNCTIONS_H
#define TRACESHIM_TLS_FUNCTIONS_H

#include <stdbool.h>

/*
 * Is it, by its address, a function of a library of OpenSSL's (GnuTLS'), that our hooks call in their turn? The library is then
 * known, and stays loaded. Takes the loader's lock; not for signal handlers. errno may change.
 */
bool openssl_has(const void *function);
bool gnutls_has(const void *function);

/*
 * Called when a library becomes known: what its cipher text goes by is bound from then on, and is not asked for in each of its calls (io.c). Not
 * for signal handlers. errno may change.
 */
void io_bind_for_tls(void);

#endif

#!/usr/bin/env bats
#
# What we say of the libraries of TLS, against what they say themselves.

setup() {
    root=$(cd "$BATS_TEST_DIRNAME/../.." && pwd)
    tmp=$BATS_TEST_TMPDIR
}

# agrees OURS THEIRS LINE...: both declare the same, and the lines (assertions) hold
agrees() {
    printf '#include <%s>\n#include "%s"\n' "$2" "$root/hooks/$1" >"$tmp/both.c"
    printf '%s\n' "${@:3}" >>"$tmp/both.c"
    gcc -std=gnu11 -D_GNU_SOURCE -Wall -Wextra -Werror -fsyntax-only "$tmp/both.c"
}

@test "functions of OpenSSL are as its headers declare them" {
    agrees openssl.h openssl/ssl.h '_Static_assert(SSL_NOTHING == 1 && SSL_CTRL_MODE == 33 && SSL_MODE_ENABLE_PARTIAL_WRITE == 1, "");'
}

@test "functions of GnuTLS are as its headers declare them" {
    agrees gnutls.h gnutls/gnutls.h '_Static_assert(GNUTLS_E_AGAIN == -28 && GNUTLS_E_INTERRUPTED == -52 && GNUTLS_E_INTERNAL_ERROR == -59, "");'
}

@test "a declaration that differs is noticed" {
    sed 's/int SSL_read(struct ssl_st \*ssl, void \*buf, int len)/int SSL_read(struct ssl_st *ssl, void *buf, size_t len)/' \
        "$root/hooks/openssl.h" >"$tmp/other.h"
    run cmp -s "$root/hooks/openssl.h" "$tmp/other.h"
    [ "$status" -eq 1 ]
    printf '#include <openssl/ssl.h>\n#include "%s"\n' "$tmp/other.h" >"$tmp/both.c"
    run gcc -std=gnu11 -D_GNU_SOURCE -fsyntax-only "$tmp/both.c"
    [ "$status" -ne 0 ]
}

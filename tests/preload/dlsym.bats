#!/usr/bin/env bats
# shellcheck disable=SC2030,SC2031,SC2154 # each test is a subshell; variables come from servers.bash
#
# Functions that are looked up by name: those of a library of TLS are answered with ours and so are traced; where there is no
# such library none is found, and the loader's errors are those of the bare program.

load servers

setup() {
    servers_setup
    cd "$tmp" || return 1
}

teardown() {
    servers_teardown
}

# certificate: both.pem and cert.pem of this machine's own address
certificate() {
    openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -keyout "$tmp/both.pem" -out "$tmp/cert.pem" -days 3 \
        -subj /CN=localhost -addext subjectAltName=DNS:localhost,IP:127.0.0.1 2>"$tmp/openssl.err"
    cat "$tmp/cert.pem" >>"$tmp/both.pem"
    chmod 644 "$tmp/both.pem"
}

# program NAME [FLAG...]: standard input, compiled
program() {
    gcc -D_GNU_SOURCE -O2 -Wall -Wextra -o "$1" -x c - -x none "${@:2}"
}

# alike COMMAND...: bare and preloaded it prints the same; leaves that in $tmp/bare
alike() {
    "$@" >"$tmp/bare"
    TRACESHIM_RUN_DIR=$tmp/run TRACESHIM_LOG=off LD_PRELOAD=$object "$@" >"$tmp/shim"
    diff "$tmp/bare" "$tmp/shim"
}

# What each way to ask finds, where it is, and what the loader says of it, twice: an error is kept until it is read, once.
ask='#include <dlfcn.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
static inline void ask(const char *who, const char *how, void *handle, const char *name)
{
	void *found = dlsym(handle, name);
	const char *error;
	Dl_info info;
	/* What is called for the first time in between must not take the error away. */
	if (lseek(1, 0, SEEK_CUR) == -2 || dup2(9, 9) >= 0 || fcntl(9, 1) >= 0) return;
	error = dlerror();
	printf("%s %s %s: %s", who, how, name, error ? error : found ? "found" : "NULL");
	printf(" %s\n", dlerror() ? "and again" : found && strncmp(name, "SSL", 3) && dladdr(found, &info) ? info.dli_fname : "");
}
static inline void ask_all(const char *who)
{
	static const char *const names[] = { "SSL_read", "gnutls_record_send", "SSL_get_fd", "SSL_", "SS", "g", "", "gnutls_none", "getpid" };
	for (unsigned i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		ask(who, "default", RTLD_DEFAULT, names[i]);
		ask(who, "next", RTLD_NEXT, names[i]);
		ask(who, "program", dlopen(NULL, RTLD_NOW), names[i]);
		ask(who, "libc", dlopen("libc.so.6", RTLD_NOW), names[i]);
	}
}
'

@test "where there is no library of TLS none is found, by the program and by its libraries, and errors name who asked" {
    program linked.so -shared -fPIC <<<"$ask void linked(void) { ask_all(\"linked\"); }"
    program opened.so -shared -fPIC <<<"$ask void opened(void) { ask_all(\"opened\"); }"
    program asker ./linked.so <<<"$ask void linked(void);
int main(void) { ask_all(\"main\"); linked(); ((void (*)(void))dlsym(dlopen(\"./opened.so\", RTLD_NOW), \"opened\"))(); return 0; }"
    alike ./asker
    [ "$(grep -c 'undefined symbol: SSL_read $' bare)" -eq 12 ]
    [ "$(grep -c '^main .*: ./asker: undefined symbol: gnutls_record_send $' bare)" -eq 3 ]
    [ "$(grep -c 'getpid: found' bare)" -eq 12 ]
    # The name of a program may be too long to be told.
    mkdir -p "$(printf 'long%.0s' {1..60})/$(printf 'long%.0s' {1..60})" && cp asker long*/long*/
    TRACESHIM_RUN_DIR=$tmp/run TRACESHIM_LOG=off LD_PRELOAD=$object "$(echo long*/long*/asker)" >shim
    [ "$(grep -c 'undefined symbol: SSL_read $' shim)" -eq 12 ]
}

@test "where there is one it is found where it would be bare, however it came" {
    program asker <<<"$ask int main(int argc, char **argv) {
    void *library = dlopen(argv[1], RTLD_NOW | (argc > 2 ? RTLD_GLOBAL : RTLD_LOCAL));
    ask(\"main\", \"next\", RTLD_NEXT, \"SSL_read\");
    ask(\"main\", \"default\", RTLD_DEFAULT, \"SSL_read\");
    ask(\"main\", \"program\", dlopen(NULL, RTLD_NOW), \"SSL_read\");
    ask(\"main\", \"program\", dlopen(NULL, RTLD_NOW), \"gnutls_init\");
    ask(\"main\", \"library\", library, \"SSL_read\");
    ask(\"main\", \"library\", library, \"SSL_none\");
    return 0; }"
    alike ./asker libssl.so.3 global
    [ "$(grep -c 'SSL_read: found' bare)" -eq 4 ]
    # One that only its handle leads to.
    alike ./asker libssl.so.3
    [ "$(grep -c 'SSL_read: found' bare)" -eq 1 ]
    # In front of us there may be one, too.
    program front.so -shared -fPIC <<<'int SSL_read(void); int SSL_read(void) { return 0; }'
    LD_PRELOAD=$PWD/front.so ./asker libssl.so.3 >bare
    TRACESHIM_RUN_DIR=$tmp/run TRACESHIM_LOG=off LD_PRELOAD=$PWD/front.so:$object ./asker libssl.so.3 >shim
    diff bare shim
    grep 'next SSL_read: found' bare
    # And one that a library's own scope has: no error is left behind.
    program opened.so -shared -fPIC -Wl,--no-as-needed -lssl <<<"$ask void opened(void) { ask(\"opened\", \"default\", RTLD_DEFAULT, \"SSL_read\"); }"
    program opener <<<"$ask int main(void) { ((void (*)(void))dlsym(dlopen(\"./opened.so\", RTLD_NOW), \"opened\"))();
    ask(\"main\", \"default\", RTLD_DEFAULT, \"SSL_read\"); return 0; }"
    alike ./opener
    [ "$(grep -c 'SSL_read: found' bare)" -eq 1 ]
    program linked -Wl,--no-as-needed -lssl <<<"$ask int main(void) {
    ask(\"main\", \"next\", RTLD_NEXT, \"SSL_read\"); ask(\"main\", \"default\", RTLD_DEFAULT, \"SSL_read\");
    ask(\"main\", \"program\", dlopen(NULL, RTLD_NOW), \"SSL_read\"); return 0; }"
    alike ./linked
    [ "$(grep -c 'SSL_read: found' bare)" -eq 3 ]
}

# A library of TLS as far as our hooks look, that tells by its number who was called.
library='#include <stdlib.h>
struct session { int version; const void *method; };
static const int method = 1;
const void *make_context(void) { void **c = calloc(8, sizeof(*c)); c[0] = (void *)&method; return c; }
struct session *SSL_new(void **context) { struct session *s = calloc(1, 4096); s->method = context[0]; return s; }
void SSL_free(struct session *s) { free(s); }
int SSL_read(struct session *s, void *to, int room) { return s && to && room ? NUMBER : -1; }
int SSL_write(struct session *s, const void *from, int len) { return s && from && len ? NUMBER : -1; }
int SSL_get_rfd(struct session *s) { return s ? -1 : 0; }
void *SSL_get_rbio(struct session *s) { return s ? NULL : s; }
int SSL_is_server(struct session *s) { return s == NULL; }
int SSL_want(struct session *s) { return s ? 1 : 0; }
#ifndef NO_CTRL
long SSL_ctrl(struct session *s, int what, long n, void *p) { return s && what && p ? n : 0; }
#endif
'

@test "two libraries in one process: whichever is asked, and whoever answers, a session reaches its own" {
    program one.so -shared -fPIC -DNUMBER=1 <<<"$library"
    program two.so -shared -fPIC -DNUMBER=2 <<<"$library"
    program three.so -shared -fPIC -DNUMBER=3 -DNO_CTRL <<<"$library"
    program user <<'C'
#include <dlfcn.h>
#include <stdio.h>
#include <string.h>
int main(void)
{
	static const char *const paths[] = { "./one.so", "./two.so", "./three.so" };
	void *handles[3];
	char bytes[64];
	for (int i = 0; i < 3; i++)
		handles[i] = dlopen(paths[i], RTLD_NOW);
	for (int i = 0; i < 3; i++) {
		const void *(*make)(void) = (const void *(*)(void))dlsym(handles[i], "make_context");
		void *(*new)(const void *) = (void *(*)(const void *))dlsym(handles[i], "SSL_new");
		int (*get)(void *, void *, int) = (int (*)(void *, void *, int))dlsym(handles[i], "SSL_read");
		int (*put)(void *, const void *, int) = (int (*)(void *, const void *, int))dlsym(handles[i], "SSL_write");
		void (*release)(void *) = (void (*)(void *))dlsym(handles[i], "SSL_free");
		void *session = new(make());
		Dl_info info;
		printf("%d %d\n", get(session, bytes, 64), put(session, "POST", 4));
		release(session);
		release(new(make()));
		if (dladdr((void *)get, &info))
			fprintf(stderr, "%s\n", strrchr(info.dli_fname, '/') + 1);
	}
	return 0;
}
C
    alike ./user 2>"$tmp/whose"
    [ "$(tr '\n' ' ' <bare)" = "1 1 2 2 3 3 " ]
    # Bare, then preloaded: the one that cannot be asked about its sessions keeps its own functions.
    [ "$(tr '\n' ' ' <"$tmp/whose")" = "one.so two.so three.so libtraceshim.so libtraceshim.so three.so " ]
    TRACESHIM_ENABLED=off LD_PRELOAD=$object ./user 2>&1 >/dev/null | diff - <(printf '%s\n' one.so two.so three.so)
}

@test "what has a name of the library's but is none of its functions is answered as it is" {
    program wrapper.so -shared -fPIC <<'C'
#include <dlfcn.h>
int SSL_read(void *session, void *to, int room)
{
	int (*next)(void *, void *, int) = (int (*)(void *, void *, int))dlsym(RTLD_NEXT, "SSL_read");
	return next ? 10 + next(session, to, room) : -1;
}
C
    program one.so -shared -fPIC -DNUMBER=1 <<<"$library"
    program user -Wl,--no-as-needed ./one.so <<'C'
#include <dlfcn.h>
#include <stdio.h>
const void *make_context(void);
void *SSL_new(const void *context);
int SSL_read(void *session, void *to, int room);
int main(void)
{
	char bytes[8];
	void *session = SSL_new(make_context());
	int (*wrapper)(void *, void *, int) = (int (*)(void *, void *, int))dlsym(dlopen("./wrapper.so", RTLD_NOW), "SSL_read");
	Dl_info info;
	printf("%d\n", SSL_read(session, bytes, 8));
	if (dladdr((void *)wrapper, &info))
		puts(info.dli_fname);
	return 0;
}
C
    alike ./user
    [ "$(<bare)" = $'1\n./wrapper.so' ]
    # A preload in front of ours asks for what is behind it.
    LD_PRELOAD=$tmp/wrapper.so ./user >bare
    TRACESHIM_RUN_DIR=$tmp/run TRACESHIM_LOG=off LD_PRELOAD="$tmp/wrapper.so $object" ./user >shim
    diff bare shim
    [ "$(head -1 bare)" = 11 ]
}

# libcivetweb looks everything up in "libssl.so", also SSL_get_peer_certificate, which OpenSSL 3 has no more, and would call it:
# here it is what they made of it.
civetweb_libssl() {
    mkdir -p lib
    program lib/libssl.so -shared -fPIC -Wl,--no-as-needed -lssl <<'C'
void *SSL_get1_peer_certificate(const void *session);
void *SSL_get_peer_certificate(const void *session) { return SSL_get1_peer_certificate(session); }
C
    settings+=(LD_LIBRARY_PATH="$tmp/lib")
}

@test "a server that looks up libssl by name (civetweb): requests inside TLS are seen, and answers have a header added" {
    certificate
    civetweb_libssl
    port=$(free_port)
    mkdir www
    seq 20000 >www/text
    settings+=(TRACESHIM_RESPONSE_HEADER=x-seen)
    serve civetweb "$port" civetweb -listening_ports "127.0.0.1:${port}s" -ssl_certificate "$tmp/both.pem" -document_root "$tmp/www" \
        -access_log_file /dev/stdout -error_log_file /dev/stderr -num_threads 8
    for n in $(seq 10 29); do
        curl -sS --cacert cert.pem -D heads -o body -H "traceparent: 00-7e5700000000000000000000000000$n-b7ad6b7169203331-01" \
            "https://127.0.0.1:$port/text?n=$n"
        cmp body www/text
        grep -qix "x-seen: 7e5700000000000000000000000000$n.*" heads
    done
    # It logs behind its answer, on a thread of a pool: those lines may have no id, but none of another request.
    until_lines 20 civetweb.log
    jq -e -s 'map(select(.message | contains("n="))) | length == 20 and
        all((.message | capture("n=(?<n>[0-9]+)").n) as $n | .trace_id == null or .trace_id == "7e5700000000000000000000000000" + $n)' civetweb.log
    counted requests_continued 20
    counted response_headers 20
}

@test "a client that looks up libssl by name (libcivetweb): its call has one trace header inside TLS" {
    certificate
    program client -lcivetweb <<'C'
#include <civetweb.h>
#include <stdio.h>
#include <stdlib.h>
int main(int argc, char **argv)
{
	char error[256] = "", body[64];
	struct mg_connection *conn;
	int n = 0;
	mg_init_library(MG_FEATURES_SSL);
	for (int i = 0; i < 3 && argc > 1; i++) {
		conn = mg_download("127.0.0.1", atoi(argv[1]), 1, error, sizeof(error), "GET /%d HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n", i);
		n = conn ? mg_read(conn, body, sizeof(body)) : -1;
		printf("%d %.*s%s\n", conn ? mg_get_response_info(conn)->status_code : 0, n > 0 ? n : 0, body, error);
		mg_close_connection(conn);
	}
	return 0;
}
C
    start_upstream --tls "$tmp/both.pem"
    ./client "$up" >bare
    : >calls
    env "${settings[@]}" LD_PRELOAD="$object" TRACESHIM_LOG=off TRACEPARENT=00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01 ./client "$up" >shim
    diff bare shim
    cat calls
    [ "$(grep -c '^200' bare)" -eq 3 ]
    [ "$(grep -o '00-0af7651916cd43dd8448eb211c80319c-[0-9a-f]\{16\}-01' calls | sort -u | wc -l)" -eq 3 ]
}

@test "a sanitizer in the program looks libc's functions up before its own can be called" {
    export ASAN_OPTIONS=detect_leaks=0:verify_asan_link_order=0
    for how in -fsanitize=address "-fsanitize=address -static-libasan" -fsanitize=thread; do
        # shellcheck disable=SC2086 # options
        program sanitized $how <<<"$ask int main(void) { ask(\"main\", \"next\", RTLD_NEXT, \"SSL_read\"); ask(\"main\", \"default\", RTLD_DEFAULT, \"getpid\"); return 0; }"
        alike ./sanitized
        [ "$(wc -l <bare)" -eq 2 ]
    done
}

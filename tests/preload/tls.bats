#!/usr/bin/env bats
# shellcheck disable=SC2030,SC2031,SC2094,SC2154 # each test is a subshell; variables come from servers.bash
#
# HTTP/1.1 inside TLS, with real servers and clients: requests have their callers' ids, calls carry one trace header, and bodies
# arrive as they were sent. nginx and Python's sockets tell libssl their descriptor; Apache, haproxy and curl do not; asyncio
# works in memory.

load servers

setup() {
    servers_setup
    port=$(free_port)
    up=$(free_port)
    url=https://127.0.0.1:$port
    tls=$apps/tls
    openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -keyout "$tmp/both.pem" -out "$tmp/cert.pem" -days 3 \
        -subj /CN=localhost -addext subjectAltName=DNS:localhost,IP:127.0.0.1 2>"$tmp/openssl.err"
    cat "$tmp/cert.pem" >>"$tmp/both.pem"
    chmod 644 "$tmp/both.pem"
    mkdir -p "$tmp/www"
    seq -f 'line %g' 30000 >"$tmp/www/big.txt"
    touch -d '2024-01-01 00:00:00 UTC' "$tmp"/www/*
}

teardown() {
    servers_teardown
}

nginx_serves() {
    fill "$tls/nginx.conf.in" DIR="$tmp" PORT="$port" UP="$up" >"$tmp/nginx.conf"
    serve nginx "$port" nginx -e stderr -p "$tmp" -c "$tmp/nginx.conf"
}

apache_serves() {
    fill "$tls/apache.conf.in" DIR="$tmp" PORT="$port" UP="$up" MPM="$1" >"$tmp/apache.conf"
    if [ "$(id -u)" = 0 ]; then printf 'User www-data\nGroup www-data\n' >>"$tmp/apache.conf"; fi
    serve apache "$port" apache2 -D FOREGROUND -f "$tmp/apache.conf"
}

haproxy_serves() {
    fill "$tls/haproxy.cfg.in" DIR="$tmp" PORT="$port" UP="$up" REUSE="$1" >"$tmp/haproxy.cfg"
    serve haproxy "$port" haproxy -db -f "$tmp/haproxy.cfg"
}

@test "nginx: every access line inside TLS has its request's id, on kept connections and on new ones" {
    nginx_serves
    burst "$url/text" --requests 200 --connections 20 --numbered
    burst "$url/text" --first 201 --requests 40 --connections 8 --per-connection 1 --numbered
    count "$tmp/nginx.log" --requests 240 --lines 1
    counted requests 240
    counted requests_continued 240
    undegraded
}

@test "nginx: pipelined requests and heads in pieces inside TLS keep their ids apart" {
    nginx_serves
    burst "$url/text" --requests 200 --connections 4 --pipeline 10 --numbered
    burst "$url/text" --first 201 --requests 20 --connections 10 --pieces 7 --numbered
    count "$tmp/nginx.log" --requests 220 --lines 1 --none any
    counted requests 220
    undegraded
}

@test "nginx: files inside TLS arrive whole, bare and preloaded alike" {
    shim='' nginx_serves
    burst "$url/big.txt" --requests 20 --connections 4 --save "$tmp/bare"
    stop "$pid"
    : >"$tmp/nginx.log"
    nginx_serves
    burst "$url/big.txt" --requests 20 --connections 4 --save "$tmp/preloaded"
    cmp "$tmp/bare" "$tmp/preloaded"
    [ "$(wc -c <"$tmp/preloaded")" -gt 1000000 ]
    count "$tmp/nginx.log" --requests 20 --lines 1
    undegraded
}

@test "nginx: a proxy inside TLS sends the trace on inside TLS, once, on kept and on new connections" {
    start_upstream --tls "$tmp/both.pem"
    nginx_serves
    burst "$url/kept" --requests 120 --connections 12 --numbered
    burst "$url/fresh" --first 121 --requests 40 --connections 8 --numbered
    burst "$url/unbuffered" --first 161 --requests 12 --connections 4 --method POST --body 400000 --numbered
    count "$tmp/nginx.log" --requests 172 --lines 1 --none any
    calls --requests 172 --none any --least-right 160
    undegraded
}

@test "apache, both kinds of workers: ids inside TLS, and the proxy's calls inside TLS" {
    start_upstream --tls "$tmp/both.pem"
    for mpm in prefork event; do
        : >"$tmp/calls"
        : >"$tmp/apache.log"
        apache_serves "$mpm"
        burst "$url/big.txt" --requests 40 --connections 8
        burst "$url/proxied" --first 41 --requests 60 --connections 8 --numbered
        burst "$url/proxied" --first 101 --requests 8 --connections 4 --method POST --body 300000 --numbered
        until_lines 108 "$tmp/apache.log"
        stop "$pid"
        count "$tmp/apache.log" --requests 108 --lines 1
        calls --first 41 --requests 68
    done
}

@test "haproxy: ends TLS and begins it again, each call with the trace of its request" {
    start_upstream --tls "$tmp/both.pem"
    haproxy_serves safe
    burst "$url/" --requests 100 --connections 10 --numbered
    counted requests 100
    calls --requests 100 --none any
    undegraded
}

@test "Python's threads: lines and calls inside TLS" {
    start_upstream --tls "$tmp/both.pem"
    serve guest "$port" /usr/bin/python3 "$tls/server.py" threads "$port" "$tmp/both.pem" "$up"
    burst "$url/" --requests 100 --connections 10 --numbered
    burst "$url/" --first 101 --requests 10 --connections 5 --method POST --body 200000 --numbered
    count "$tmp/guest.log" --requests 110 --lines 1
    calls --requests 110
    counted calls_injected 110
    undegraded
}

@test "Ruby's threads: lines and calls inside TLS" {
    start_upstream --tls "$tmp/both.pem"
    serve guest "$port" ruby "$tls/server.rb" "$port" "$tmp/both.pem" "$up"
    burst "$url/" --requests 60 --connections 6 --numbered
    count "$tmp/guest.log" --requests 60 --lines 1
    calls --requests 60
    undegraded
}

@test "git and pycurl, whose curl has GnuTLS: one trace header, and the same answers" {
    start_upstream --tls "$tmp/both.pem"
    for shim in '' "$object"; do
        run env ${shim:+LD_PRELOAD="$shim" TRACESHIM_LOG=off TRACESHIM_RUN_DIR="$tmp/run" \
            TRACEPARENT=00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01} GIT_SSL_CAINFO="$tmp/cert.pem" HOME="$tmp" \
            git ls-remote "https://localhost:$up/a?n=1"
        printf '%s %s\n' "$status" "$output" >"$tmp/git.${shim:+preloaded}"
        env ${shim:+LD_PRELOAD="$shim" TRACESHIM_LOG=off TRACESHIM_RUN_DIR="$tmp/run" \
            TRACEPARENT=00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01} /usr/bin/python3 - "$up" "$tmp/cert.pem" \
            >"$tmp/pycurl.${shim:+preloaded}" <<'PY'
import io, pycurl, sys
assert "GnuTLS" in pycurl.version
c = pycurl.Curl()
for n in range(1, 6):
    out = io.BytesIO()
    c.setopt(c.URL, f"https://localhost:{sys.argv[1]}/x?n={n}")
    c.setopt(c.CAINFO, sys.argv[2])
    c.setopt(c.WRITEDATA, out)
    c.setopt(c.POSTFIELDS, "b" * 40000 * n)
    c.perform()
    print(c.getinfo(c.RESPONSE_CODE), out.getvalue())
PY
    done
    cmp "$tmp/git." "$tmp/git.preloaded"
    cmp "$tmp/pycurl." "$tmp/pycurl.preloaded"
    half=$(($(wc -l <"$tmp/calls") / 2))
    [ "$half" -ge 6 ]
    [ "$(head -n "$half" "$tmp/calls" | grep -c traceparent)" -eq 0 ]
    tail -n "$half" "$tmp/calls" | jq -e -s 'all([.headers[] | select(.[0] == "traceparent")]
        | length == 1 and (.[0][1] | startswith("00-0af7651916cd43dd8448eb211c80319c-")))'
}

@test "asyncio, whose sessions work in memory: no line and no call has another request's id" {
    start_upstream --tls "$tmp/both.pem"
    serve guest "$port" /usr/bin/python3 "$tls/server.py" asyncio "$port" "$tmp/both.pem" "$up"
    burst "$url/" --requests 100 --connections 1 --numbered
    burst "$url/" --first 101 --requests 100 --connections 10 --numbered
    count "$tmp/guest.log" --requests 200 --lines 1 --none any
    calls --requests 200 --none any
    counted requests 200
    undegraded
}

@test "curl: one trace header in each request, bodies as they were, bare and preloaded alike" {
    start_upstream --tls "$tmp/both.pem"
    head -c 3000000 /dev/urandom >"$tmp/upload"
    for shim in '' "$object"; do
        env ${shim:+LD_PRELOAD="$shim" TRACESHIM_LOG=off TRACESHIM_RUN_DIR="$tmp/run" \
            TRACEPARENT=00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01} \
            curl -sS --cacert "$tmp/cert.pem" "https://localhost:$up/a?n=1" "https://localhost:$up/b?n=2" \
            --next -sS --cacert "$tmp/cert.pem" -H 'Expect:' --data-binary "@$tmp/upload" "https://localhost:$up/c?n=3" \
            --next -sS --cacert "$tmp/cert.pem" -H 'Transfer-Encoding: chunked' --data-binary "@$tmp/upload" \
            "https://localhost:$up/d?n=4" >"$tmp/answers.${shim:+preloaded}"
    done
    cmp "$tmp/answers." "$tmp/answers.preloaded"
    grep -q 'upstream n=4 3000000' "$tmp/answers."
    [ "$(wc -l <"$tmp/calls")" -eq 8 ]
    [ "$(head -n 4 "$tmp/calls" | grep -c traceparent)" -eq 0 ]
    tail -n 4 "$tmp/calls" | jq -e -s 'all([.headers[] | select(.[0] == "traceparent")]
        | length == 1 and (.[0][1] | startswith("00-0af7651916cd43dd8448eb211c80319c-")))'
}

@test "wget and gnutls-cli, whose library is GnuTLS: one trace header, answers and uploads as they were" {
    start_upstream --tls "$tmp/both.pem"
    head -c 300000 /dev/urandom >"$tmp/upload"
    for shim in '' "$object"; do
        env ${shim:+LD_PRELOAD="$shim" TRACESHIM_LOG=off TRACESHIM_RUN_DIR="$tmp/run" \
            TRACEPARENT=00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01} \
            wget -qO- --ca-certificate "$tmp/cert.pem" "https://localhost:$up/a?n=1" "https://localhost:$up/b?n=2" \
            >"$tmp/answers.${shim:+preloaded}"
        env ${shim:+LD_PRELOAD="$shim" TRACESHIM_LOG=off TRACESHIM_RUN_DIR="$tmp/run" \
            TRACEPARENT=00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01} \
            wget -qO- --ca-certificate "$tmp/cert.pem" --post-file "$tmp/upload" "https://localhost:$up/c?n=3" \
            >>"$tmp/answers.${shim:+preloaded}"
        { printf 'GET /d?n=4 HTTP/1.0\r\nHost: a\r\n\r\n'; until_said "$tmp/said.${shim:+preloaded}"; } |
            env ${shim:+LD_PRELOAD="$shim" TRACESHIM_LOG=off TRACESHIM_RUN_DIR="$tmp/run" \
                TRACEPARENT=00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01} \
                timeout 20 gnutls-cli --logfile "$tmp/said.log" --x509cafile "$tmp/cert.pem" -p "$up" localhost \
                >"$tmp/said.${shim:+preloaded}" || true
    done
    cmp "$tmp/answers." "$tmp/answers.preloaded"
    grep -q 'upstream n=3 300000' "$tmp/answers."
    [ "$(wc -l <"$tmp/calls")" -eq 8 ]
    [ "$(head -n 4 "$tmp/calls" | grep -c traceparent)" -eq 0 ]
    tail -n 4 "$tmp/calls" | jq -e -s 'all([.headers[] | select(.[0] == "traceparent")]
        | length == 1 and (.[0][1] | startswith("00-0af7651916cd43dd8448eb211c80319c-")))'
}

@test "PHP's curl inside TLS, though its extensions are opened with RTLD_DEEPBIND" {
    start_upstream --tls "$tmp/both.pem"
    # shellcheck disable=SC2016
    env LD_PRELOAD="$object" TRACESHIM_LOG=off TRACEPARENT=00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01 php -r '
        $c = curl_init();
        curl_setopt_array($c, [CURLOPT_RETURNTRANSFER => true, CURLOPT_SSL_VERIFYPEER => false]);
        foreach ([1, 2] as $n) {
            curl_setopt($c, CURLOPT_URL, "https://localhost:" . $argv[1] . "/?n=$n");
            echo curl_exec($c);
        }
        $s = stream_context_create(["ssl" => ["verify_peer" => false, "verify_peer_name" => false]]);
        echo file_get_contents("https://localhost:" . $argv[1] . "/?n=3", false, $s);' "$up" >"$tmp/said"
    [ "$(grep -c 'upstream n=' "$tmp/said")" -eq 3 ]
    jq -e -s 'length == 3 and all([.headers[] | select(.[0] == "traceparent")]
        | length == 1 and (.[0][1] | startswith("00-0af7651916cd43dd8448eb211c80319c-")))' "$tmp/calls"
}

@test "stunnel on both sides: what it carries is as it was" {
    shim='' start_upstream
    for shim in '' "$object"; do
        port=$(free_port)
        inner=$(free_port)
        printf '%s\n' 'foreground = yes' "pid =" '[in]' "accept = 127.0.0.1:$port" "connect = 127.0.0.1:$inner" 'client = yes' \
            '[out]' "accept = 127.0.0.1:$inner" "connect = 127.0.0.1:$up" "cert = $tmp/both.pem" >"$tmp/stunnel.conf"
        serve stunnel "$port" stunnel4 "$tmp/stunnel.conf"
        burst "http://127.0.0.1:$port/x" --requests 40 --connections 8 --numbered --save "$tmp/answers.${shim:+preloaded}"
        stop "$pid"
    done
    cmp "$tmp/answers." "$tmp/answers.preloaded"
    calls --requests 40 --each 2 --passed-on
}

@test "writes that are refused half-way, in every mode of libssl: bytes and counts as without the object" {
    for mode in plain partial moving both ex; do
        timeout 60 "$programs/tls_torture" "$mode" 7 "$tmp/both.pem" >"$tmp/bare.out" 2>"$tmp/bare.err"
        timeout 60 env LD_PRELOAD="$object" TRACESHIM_LOG=off TRACESHIM_RUN_DIR="$tmp/run" \
            "$programs/tls_torture" "$mode" 7 "$tmp/both.pem" >"$tmp/shim.out" 2>"$tmp/shim.err"
        cmp "$tmp/bare.out" "$tmp/shim.out"
        [ "$(<"$tmp/bare.err")" = 'inserted 0' ]
        [ "$(awk '{ print $2 }' "$tmp/shim.err")" -ge 10 ]
    done
}

@test "answers like the last one that are refused half-way, by SSL_write and SSL_write_ex: each whole, with one line of ours" {
    for mode in answers answers-ex; do
        timeout 60 "$programs/tls_torture" "$mode" 7 "$tmp/both.pem" >"$tmp/bare.out" 2>"$tmp/bare.err"
        timeout 60 env LD_PRELOAD="$object" TRACESHIM_LOG=off TRACESHIM_RUN_DIR="$tmp/run" \
            TRACESHIM_RESPONSE_HEADER=x-trace "$programs/tls_torture" "$mode" 7 "$tmp/both.pem" >"$tmp/shim.out" 2>"$tmp/shim.err"
        cmp "$tmp/bare.out" "$tmp/shim.out"
        [ "$(tail -n 1 "$tmp/bare.out")" = 'refused: yes' ]
        [ "$(<"$tmp/bare.err")" = 'inserted 0' ]
        [ "$(<"$tmp/shim.err")" = 'inserted 60' ]
    done
}

# in_state INSERTED STATE...: bare and preloaded alike, and so many requests of each state had a line of ours
in_state() {
    local state wanted=$1
    shift
    for state in "$@"; do
        timeout 60 "$programs/tls_states" "$tmp/both.pem" "$state" >"$tmp/bare.out" 2>"$tmp/bare.err"
        timeout 60 env "${settings[@]}" LD_PRELOAD="$object" TRACESHIM_LOG=off TRACESHIM_HEADERS=none \
            TRACEPARENT=00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01 \
            "$programs/tls_states" "$tmp/both.pem" "$state" >"$tmp/shim.out" 2>"$tmp/shim.err"
        cmp "$tmp/bare.out" "$tmp/shim.out"
        echo "$state: $(<"$tmp/shim.err")"
        [ "$(<"$tmp/bare.err")" = 'inserted 0' ]
        [ "$(<"$tmp/shim.err")" = "inserted $wanted" ]
    done
}

@test "two descriptors, memory below, handshakes that nobody asked for: each request has its line" {
    in_state 2 descriptors memory implicit
}

@test "a session that one of its holders lets go of in the midst of a write, and one that is used for three connections" {
    in_state 3 holders reuse
}

@test "a session that is its own duplicate, one holder of which lets go of it in the midst of a body" {
    in_state 3 duplicate
}

@test "BIOs that are given one by one: what the next descriptor brings is no answer to the last one's request" {
    settings+=(TRACESHIM_EXPORT=traces)
    in_state 4 bios
    /usr/bin/python3 "$here/rings.py" "$tmp/run" | jq -r 'select(.kind == "client") | "\(.target) \(.status) \(.error)"' | sort >"$tmp/spans"
    printf '/%s\n' '1 200 ' '3 200 ' '4 200 ' 'leave 0 unanswered' | diff "$tmp/spans" -
}

@test "renegotiation by either side, and threads that take turns" {
    in_state 4 renegotiation
    in_state 8 threads
}

@test "early data, taken or refused, and what follows it pass; so does what goes through a BIO" {
    in_state 1 early refused
    in_state 0 bio
}

# with_ktls: a kernel that has TLS, and a configuration of libssl that makes everything use it
with_ktls() {
    gcc -O1 -Wall -Werror -shared -fPIC -o "$tmp/kernel.so" "$here/libs/ktls_kernel.c"
    printf '%s\n' 'openssl_conf = a' '[a]' 'ssl_conf = b' '[b]' 'system_default = c' '[c]' 'Options = KTLS' 'MaxProtocol = TLSv1.2' \
        'CipherString = ECDHE-ECDSA-AES128-GCM-SHA256' >"$tmp/ktls.cnf"
    export OPENSSL_CONF=$tmp/ktls.cnf KTLS_SAID=$tmp/said
    : >"$tmp/said"
    chmod 1777 "$tmp"
    chmod 666 "$tmp/said"
}

# ASan's library has to be the first.
# bats test_tags=no_asan
@test "kTLS, by a kernel that is made up: sessions in every state, bare and preloaded alike, and a line in each request" {
    local state
    with_ktls
    for state in descriptors:2 threads:8 reuse:3 implicit:2 duplicate:3 bios:4; do
        timeout 60 env LD_PRELOAD="$tmp/kernel.so" "$programs/tls_states" "$tmp/both.pem" "${state%:*}" >"$tmp/bare.out"
        timeout 60 env "${settings[@]}" LD_PRELOAD="$object $tmp/kernel.so" TRACESHIM_LOG=off TRACESHIM_HEADERS=none \
            TRACEPARENT=00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01 \
            "$programs/tls_states" "$tmp/both.pem" "${state%:*}" >"$tmp/shim.out" 2>"$tmp/shim.err"
        cmp "$tmp/bare.out" "$tmp/shim.out"
        [ "$(<"$tmp/shim.err")" = "inserted ${state#*:}" ]
    done
    # Nine connections, of two sides each, bare and preloaded.
    [ "$(sort "$tmp/said" | uniq -c | tr -s ' ' | tr '\n' ';')" = ' 36 receives; 36 sends;' ]
}

# bats test_tags=no_asan
@test "kTLS, by that kernel: nginx sends files by SSL_sendfile, and its answers and lines have the right ids" {
    local shim
    with_ktls
    fill "$tls/nginx.conf.in" DIR="$tmp" PORT="$port" UP="$up" | sed '1i env KTLS_SAID;
        s/^\tserver {/&\nssl_conf_command Options KTLS; ssl_protocols TLSv1.2;/' >"$tmp/nginx.conf"
    settings+=(TRACESHIM_RESPONSE_HEADER=x-trace-id)
    shim="$object $tmp/kernel.so"
    serve nginx "$port" nginx -e stderr -p "$tmp" -c "$tmp/nginx.conf"
    LD_PRELOAD="$tmp/kernel.so" /usr/bin/python3 - "$port" >"$tmp/got" <<'PY'
import hashlib, socket, ssl, sys
context = ssl.create_default_context()
context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
for n in range(1, 13):
    if n % 4 == 1:
        session = context.wrap_socket(socket.create_connection(("127.0.0.1", int(sys.argv[1]))))
        stream = session.makefile("rb")
    session.sendall(b"GET /big.txt?n=%d HTTP/1.1\r\nHost: a\r\ntraceparent: 00-7e57%012x%016x-ca11e70000000001-01\r\n\r\n"
                    % (n, n * 2654435761 % 281474976710656, n))
    head = b"".join(iter(stream.readline, b"\r\n")).decode()
    said = dict(line.split(": ", 1) for line in head.splitlines()[1:])
    print(head[:15], hashlib.md5(stream.read(int(said["Content-Length"]))).hexdigest(), int(said["x-trace-id"][-16:], 16))
PY
    seq -f "HTTP/1.1 200 OK $(md5sum <"$tmp/www/big.txt" | cut -d' ' -f1) %g" 12 | diff - "$tmp/got"
    # The socket of the connection before has room again, or its end comes, in the iteration that answers the next one's first request: of two
    # events nothing is known.
    count "$tmp/nginx.log" --requests 12 --lines 1 --none any --least-right 10
    # Three connections, of two sides each.
    [ "$(grep -c sends "$tmp/said")" -eq 6 ]
}

@test "GnuTLS: reads of every kind, a file, a corked session, and the end: one line in each request" {
    local state
    start_upstream --tls "$tmp/both.pem"
    for state in plain sequence packet file cork; do
        "$programs/tls_gnutls" "$up" "$state" >"$tmp/bare.out"
        : >"$tmp/calls"
        timeout 60 env "${settings[@]}" LD_PRELOAD="$object" TRACESHIM_LOG=off TRACESHIM_EXPORT=traces \
            TRACEPARENT=00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01 \
            "$programs/tls_gnutls" "$up" "$state" >"$tmp/shim.out"
        cmp "$tmp/bare.out" "$tmp/shim.out"
        [ "$(grep -c 'upstream n=' "$tmp/shim.out")" -eq 3 ]
        jq -e -s 'length == 3 and all([.headers[] | select(.[0] == "traceparent")]
            | length == 1 and (.[0][1] | startswith("00-0af7651916cd43dd8448eb211c80319c-")))' "$tmp/calls"
        # Their answers were seen, too.
        [ "$(/usr/bin/python3 "$here/rings.py" "$tmp/run" | jq -s '[.[] | select(.status == 200 and .error == "")] | length')" -eq 3 ]
        rm -f "$tmp"/run/*.ring
    done
}

# ASan's library asks for a function of the loader's, which that object brings in front of it.
# bats test_tags=no_asan
@test "beside another preloaded object that wraps some of the libraries' functions: answers as they were, one trace header" {
    gcc -shared -fPIC -D_GNU_SOURCE -o "$tmp/other.so" -x c - <<'C'
#include <dlfcn.h>
#include <sys/types.h>
static __thread int inside;
#define WRAP(type, name, size) type name(void *s, void *bytes, size len) { type n; \
    if (inside++ > 8) __builtin_trap(); \
    n = ((type (*)(void *, void *, size))dlsym(RTLD_NEXT, #name))(s, bytes, len); inside--; return n; }
WRAP(ssize_t, gnutls_record_recv, size_t)
WRAP(ssize_t, gnutls_record_send, size_t)
WRAP(int, SSL_read, int)
WRAP(int, SSL_write, int)
C
    start_upstream --tls "$tmp/both.pem"
    local how
    for how in "$tmp/other.so $object" "$object $tmp/other.so"; do
        : >"$tmp/calls"
        timeout 60 env "${settings[@]}" LD_PRELOAD="$how" TRACESHIM_LOG=off "$programs/tls_gnutls" "$up" plain >"$tmp/out"
        [ "$(grep -c 'upstream n=' "$tmp/out")" -eq 3 ]
        timeout 60 env "${settings[@]}" LD_PRELOAD="$how" TRACESHIM_LOG=off curl -sSk "https://127.0.0.1:$up/x?n=9" | grep -q 'upstream n=9'
        jq -e -s 'length == 4 and all([.headers[] | select(.[0] == "traceparent")] | length == 1)' "$tmp/calls"
    done
}

# until_said FILE: wait until it is not empty
until_said() {
    local tries=$WAIT_TRIES
    until [ -s "$1" ] || [ $((tries--)) -le 0 ]; do sleep 0.025; done
}

@test "what is no HTTP inside TLS passes" {
    shim='' serve other "$up" openssl s_server -quiet -accept "127.0.0.1:$up" -cert "$tmp/both.pem" -key "$tmp/both.pem" -rev
    for shim in '' "$object"; do
        { printf 'hello there\n'; until_said "$tmp/said.${shim:+preloaded}"; } | env ${shim:+LD_PRELOAD="$shim" TRACESHIM_LOG=off} \
            timeout 20 openssl s_client -quiet -no_ign_eof -connect "127.0.0.1:$up" 2>"$tmp/client.err" >"$tmp/said.${shim:+preloaded}"
    done
    grep -q 'ereht olleh' "$tmp/said."
    cmp "$tmp/said." "$tmp/said.preloaded"
}

@test "sessions that are taken up again are read like the first" {
    nginx_serves
    local again=()
    for i in 1 2 3; do
        printf 'GET /text?n=%s HTTP/1.1\r\nHost: a\r\nConnection: close\r\ntraceparent: %s\r\n\r\n' "$i" \
            "00-7e57$(printf '%012x%016x' $((i * 2654435761 % 281474976710656)) "$i")-ca11e70000000001-01" |
            timeout 20 openssl s_client -quiet -connect "127.0.0.1:$port" -tls1_2 -sess_out "$tmp/session" \
                "${again[@]}" >"$tmp/answer.$i" 2>"$tmp/client.err"
        grep -q "hello n=$i" "$tmp/answer.$i"
        again=(-sess_in "$tmp/session")
    done
    grep -q ' r"' "$tmp/nginx.log"
    count "$tmp/nginx.log" --requests 3 --lines 1
}

@test "what a program finds in libssl's queue of errors is what its own calls left there" {
    env -u LD_PRELOAD bash -c 'trap "" PIPE; exec "$0"' "$programs/tls_errors" >"$tmp/bare.out" 2>&1
    env "${settings[@]}" LD_PRELOAD="$object" TRACESHIM_LOG=off bash -c 'trap "" PIPE; exec "$0"' "$programs/tls_errors" >"$tmp/shim.out" 2>&1
    [ "$(wc -l <"$tmp/bare.out")" -gt 40 ]
    diff "$tmp/bare.out" "$tmp/shim.out"
}

@test "a GnuTLS that comes with a module, goes with it, and comes again elsewhere" {
    cat >"$tmp/module.c" <<'C'
#include <gnutls/gnutls.h>
int use(void) { gnutls_session_t session; int made = gnutls_init(&session, GNUTLS_CLIENT); if (made == 0) gnutls_deinit(session); return made; }
C
    cat >"$tmp/program.c" <<'C'
#include <dlfcn.h>
#include <stdio.h>
#include <sys/mman.h>
int main(int argc, char **argv) {
    for (int i = 0; i < 3 && argc == 2; i++) {
        void *module = dlopen(argv[1], RTLD_NOW);
        if (!module) return 1;
        printf("made: %d\n", ((int (*)(void))dlsym(module, "use"))());
        dlclose(module);
        /* Whatever was unmapped there is something else now. */
        for (int k = 0; k < 64; k++) (void)mmap(NULL, 1 << 20, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    }
    return 0;
}
C
    gcc -shared -fPIC -o "$tmp/module.so" "$tmp/module.c" -lgnutls
    gcc -o "$tmp/program" "$tmp/program.c"
    "$tmp/program" "$tmp/module.so" >"$tmp/bare.out"
    env "${settings[@]}" LD_PRELOAD="$object" TRACESHIM_LOG=off "$tmp/program" "$tmp/module.so" >"$tmp/shim.out"
    [ "$(grep -c 'made: 0' "$tmp/bare.out")" -eq 3 ]
    diff "$tmp/bare.out" "$tmp/shim.out"
}

@test "a library of functions with these names that lacks others is called, and not looked into" {
    cat >"$tmp/library.c" <<'C'
#include <stdlib.h>
struct method { int version; };
struct session { int version; const struct method *method; };
static const struct method method = { 1 };
const void *TLS_method(void) { return &method; }
struct session *SSL_new(const void **context) { struct session *s = calloc(1, 4096); s->method = context[0]; return s; }
void SSL_free(struct session *s) { free(s); }
int SSL_set_fd(struct session *s, int fd) { return s != NULL && fd >= 0; }
void SSL_set_bio(struct session *s, void *in, void *out) { s->version = in == out; }
int SSL_do_handshake(struct session *s) { return s->version; }
int SSL_read(struct session *s, void *to, int room) { return s != NULL && to != NULL ? room - 1 : -1; }
int SSL_write(struct session *s, const void *from, int length) { return s != NULL && from != NULL ? length : -1; }
int SSL_shutdown(struct session *s) { return s->version; }
C
    cat >"$tmp/program.c" <<'C'
#include <stdio.h>
const void *TLS_method(void);
void *SSL_new(const void **context);
void SSL_free(void *s), SSL_set_bio(void *s, void *in, void *out);
int SSL_set_fd(void *s, int fd), SSL_do_handshake(void *s), SSL_read(void *s, void *to, int room), SSL_shutdown(void *s);
int SSL_write(void *s, const void *from, int length);
int main(void) {
    const void *context[8] = { TLS_method() };
    char bytes[64];
    void *s = SSL_new(context);
    SSL_set_bio(s, NULL, NULL);
    printf("%d %d ", SSL_set_fd(s, 0), SSL_do_handshake(s));
    printf("%d %d %d\n", SSL_read(s, bytes, 9), SSL_write(s, "GET / HTTP/1.1\r\nHost: a\r\n\r\n", 27), SSL_shutdown(s));
    SSL_free(s);
    return 0;
}
C
    gcc -shared -fPIC -o "$tmp/library.so" "$tmp/library.c"
    gcc -o "$tmp/program" "$tmp/program.c" "$tmp/library.so"
    "$tmp/program" >"$tmp/bare.out"
    env "${settings[@]}" LD_PRELOAD="$object" TRACESHIM_LOG=off "$tmp/program" >"$tmp/shim.out"
    [ "$(cat "$tmp/bare.out")" = "1 1 8 27 1" ]
    diff "$tmp/bare.out" "$tmp/shim.out"
}

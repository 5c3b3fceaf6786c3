#!/usr/bin/env bash
# shellcheck disable=SC2034,SC2154 # variables are for the tests, or come from servers.bash
#
# What the tests of Node programs share: the applications of tests/apps/node with their packages, the versions of Node, logs
# that are pipes or terminals. FULL=1 asks for heavy load, and
# NODE_MAJOR=18 (or 22, 24) runs all tests on that version instead of the system's. To be loaded after `load servers`.

# node_setup_file: once a file, because npm has to look at what is installed
node_setup_file() {
    local root build
    root=$(cd "$BATS_TEST_DIRNAME/../.." && pwd)
    build=${TRACESHIM_BUILD:-$root/build}
    [[ $build == /* ]] || build=$root/$build
    node_apps=$("$root/scripts/npm-app" --build "$build" node)
    node_versions=$("$root/scripts/npm-app" --build "$build" nodes)/node_modules
    node_default=$(command -v node)
    [ "${NODE_MAJOR:-}" != 18 ] || "$root/scripts/npm-app" --build "$build" node-18
    [ -z "${NODE_MAJOR:-}" ] || node_default=$node_versions/node$NODE_MAJOR/bin/node
    [ -x "$node_default" ]
    export node_apps node_versions node_default
}

node_setup() {
    servers_setup
    node=$node_default
    port=$(free_port)
    url=http://127.0.0.1:$port/
    unset NODE_OPTIONS NODE_EXTRA_CA_CERTS NODE_DEBUG UV_USE_IO_URING
}

# with_node MAJOR: the tests' own, of that version
with_node() {
    node=$node_versions/node$1/bin/node
    [ -x "$node" ]
}

# node_serves APP [ARGUMENT]...: start it on $port
node_serves() {
    local served=0
    serve guest "$port" "$node" "$node_apps/$1" "$port" "${@:2}" || served=1
    guest=$pid
    return "$served"
}

# again: one more server, on another port, with logs of its own
again() {
    [ -z "${guest:-}" ] || stop "$guest"
    rm -f "$tmp"/guest.*
    port=$(free_port)
    url=http://127.0.0.1:$port/
}

# ended PID: it ends by itself, soon; its status in $status
ended() {
    local tries=$WAIT_TRIES
    while kill -0 "$1" 2>/dev/null && [ $((tries--)) -gt 0 ]; do sleep 0.025; done
    ! kill -0 "$1" 2>/dev/null || return 1
    status=0
    wait "$1" || status=$?
}

# lacks ARGUMENT...: grep finds nothing. A plain `! grep` fails no test but in its last line.
lacks() {
    ! grep "$@"
}

# piped [slow]: standard output of the next server is a pipe, and what is read from it goes to $tmp/guest.out. `slow`: a small
# pipe that is nearly always full.
piped() {
    mkfifo "$tmp/guest.log"
    shim='' start reader "$BATS_TEST_DIRNAME/plumbing" reader "$tmp/guest.log" "$tmp/guest.out" "$@"
    reader=$pid
}

# read_up: wait until the pipe's reader has seen its end
read_up() {
    local tries=$((WAIT_TRIES * 2))
    while kill -0 "$reader" 2>/dev/null && [ $((tries--)) -gt 0 ]; do sleep 0.025; done
    ! kill -0 "$reader" 2>/dev/null
}

# certificate: for servers on 127.0.0.1, in $TLS_KEY and $TLS_CERT
certificate() {
    openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 3 -subj /CN=localhost \
        -keyout "$tmp/key.pem" -out "$tmp/cert.pem" \
        -addext subjectAltName=IP:127.0.0.1,DNS:localhost 2>"$tmp/openssl.err"
    export TLS_KEY=$tmp/key.pem TLS_CERT=$tmp/cert.pem
}

# ask KIND REQUESTS CONCURRENCY [BODY]: the clients that attribution has not
ask() {
    timeout -k 5 60 "$node_default" "$node_apps/client.js" "$1" "$port" "${@:2}"
}

# start_peer: what outgoing calls reach, bare, on $peer and the three ports above it
start_peer() {
    certificate
    export NODE_EXTRA_CA_CERTS=$TLS_CERT
    local tries=5
    while [ $((tries--)) -gt 0 ]; do
        peer=$(free_port)
        : >"$tmp/calls"
        if shim='' serve peer "$((peer + 3))" "$node_default" "$node_apps/peer.js" "$peer" "$tmp/calls" >"$tmp/peer.said"; then
            return
        fi
    done
    cat "$tmp/peer.said"
    return 1
}

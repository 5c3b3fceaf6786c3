#!/usr/bin/env bats
# shellcheck disable=SC2030,SC2031,SC2154 # each test is a subshell; variables come from servers.bash and node.bash
#
# Node: what one request makes and others use as well, as programs do that connect, or start a thread or a process, when it is needed for
# the first time. What comes back from there comes in the context of whoever made it, who may still be at work: so it is nobody's.

load servers
load node

setup_file() {
    node_setup_file
}

setup() {
    node_setup
}

teardown() {
    servers_teardown
}

# used KIND...: lines of awaits have their ids; what is told of replies is on standard error, and has no id but its own
used() {
    local kind
    for kind in "$@"; do
        again
        node_serves shared.js "$kind"
        burst "$url" --requests 80 --connections 10 --numbered
        stop "$guest"
        count "$tmp/guest.log" --requests 80 --lines 3
        count "$tmp/guest.err" --requests 80 --none any
        [ "$(grep -c reply "$tmp/guest.err")" -eq 80 ]
    done
}

# owned KIND...: all lines have their ids
owned() {
    local kind
    for kind in "$@"; do
        again
        node_serves shared.js "$kind"
        burst "$url" --requests 40 --connections 10 --numbered
        stop "$guest"
        count "$tmp/guest.log" --requests 40 --lines 4
    done
}

@test "a connection that the first request made, in TLS, too: never another's id" {
    certificate
    used net tls tls-over
}

@test "datagrams: never another's id" {
    used udp
}

@test "a thread or a process that the first request started: never another's id" {
    used worker fork spawn
}

@test "ports, channels, observers and zlib's streams that the first request made: never another's id" {
    used port port-here broadcast observer gzip
}

@test "a snapshot of the context that the first request took: never another's id" {
    used snapshot
    owned own-snapshot
    with_node 24
    used snapshot
    owned own-snapshot
}

@test "what tells that a write is done: never another's id" {
    used write-net write-gzip write-duplex
    with_node 24
    used write-net write-gzip write-duplex
}

@test "a thread, a process or a stream of a request's own: each line has its id" {
    owned own-worker own-fork own-spawn own-exec own-gzip
}

@test "Node 18, 22 and 24: what others use as well, and what is a request's own" {
    local version
    certificate
    for version in 18 22 24; do
        with_node "$version"
        used tls udp worker port fork spawn
        owned own-worker own-fork own-spawn own-exec
    done
}

# grpc_called: by channels that are made while requests wait for them
grpc_called() {
    local at behind
    at=$(free_port)
    : >"$tmp/calls"
    shim='' serve behind "$at" "$node_default" "$node_apps/grpc.js" "$at" "$tmp/calls" behind
    behind=$pid
    node_serves grpc.js "$at"
    burst "$url" --requests 200 --connections 20 --numbered
    stop "$guest"
    stop "$behind"
    count "$tmp/guest.log" --requests 200 --lines 3
    calls --requests 200
    again
}

@test "gRPC: calls that wait for a channel have their own request's id" {
    grpc_called
}

@test "Node 18, 22 and 24: gRPC" {
    local version
    for version in 18 22 24; do
        with_node "$version"
        grpc_called
    done
}

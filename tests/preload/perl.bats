#!/usr/bin/env bats
# shellcheck disable=SC2030,SC2031,SC2154 # each test is a subshell; variables come from servers.bash
#
# Perl's HTTP::Daemon: one request at a time, buffers of its own behind print, many small writes of one response head.

load servers

setup() {
    servers_setup
    port=$(free_port)
    url=http://127.0.0.1:$port/
}

teardown() {
    servers_teardown
}

@test "stderr lines in pieces have their request's id; blocks of stdout have nobody's" {
    serve guest "$port" perl "$apps/daemon.pl" "$port"
    burst "$url" --requests 400 --connections 4 --per-connection 10 --numbered
    count "$tmp/guest.err" --requests 400 --lines 1
    counted requests 400
    undegraded
    stop "$pid"
    count "$tmp/guest.log" --requests 400 --lines 1 --none any --all-none
}

@test "LWP sends the trace on" {
    start_upstream
    serve guest "$port" perl "$apps/daemon.pl" "$port" "$up"
    burst "$url" --requests 200 --connections 4 --numbered
    count "$tmp/guest.err" --requests 200 --lines 1
    calls --requests 200
    counted calls_injected 200
    undegraded
}

@test "answers are the same, byte for byte, bare and preloaded" {
    for shim in '' "$object"; do
        serve guest "$port" perl "$apps/daemon.pl" "$port"
        burst "$url" --requests 30 --connections 3 --save "$tmp/answers.${shim:+preloaded}"
        stop "$pid"
    done
    [ -s "$tmp/answers." ]
    cmp "$tmp/answers." "$tmp/answers.preloaded"
}

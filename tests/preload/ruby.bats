#!/usr/bin/env bats
# shellcheck disable=SC2030,SC2031,SC2154 # each test is a subshell; variables come from servers.bash
#
# Ruby's WEBrick: a thread a connection, one at a time in the interpreter, and blocks of stdout that any thread writes.

load servers

setup() {
    servers_setup
    port=$(free_port)
    url=http://127.0.0.1:$port/
}

teardown() {
    servers_teardown
}

@test "stderr lines have their request's id, and no line another's" {
    serve guest "$port" ruby "$apps/webrick.rb" "$port"
    burst "$url" --requests 300 --connections 12 --numbered
    count "$tmp/guest.err" --requests 300 --lines 2 --none any --least-right 300
    grep 'begin n=' "$tmp/guest.err" >"$tmp/begin"
    count "$tmp/begin" --requests 300 --lines 1
    counted requests 300
    undegraded
    stop "$pid"
    count "$tmp/guest.log" --requests 300 --lines 1 --none any
}

@test "Net::HTTP sends the trace on" {
    start_upstream
    serve guest "$port" ruby "$apps/webrick.rb" "$port" "$up"
    burst "$url" --requests 200 --connections 12 --numbered
    calls --requests 200
    counted calls_injected 200
    undegraded
}

@test "answers are the same, byte for byte, bare and preloaded" {
    for shim in '' "$object"; do
        serve guest "$port" ruby "$apps/webrick.rb" "$port"
        burst "$url" --requests 30 --save "$tmp/answers.${shim:+preloaded}"
        stop "$pid"
    done
    [ -s "$tmp/answers." ]
    cmp "$tmp/answers." "$tmp/answers.preloaded"
}

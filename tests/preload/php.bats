#!/usr/bin/env bats
# shellcheck disable=SC2030,SC2031,SC2154 # each test is a subshell; variables come from servers.bash
#
# PHP's own server: one thread, a select loop, logs on copies of the standard descriptors, extensions loaded deep-bound.

load servers

setup() {
    servers_setup
    port=$(free_port)
    url=http://127.0.0.1:$port/
}

teardown() {
    servers_teardown
}

@test "each line of a script and of the server has its request's id, or none" {
    serve guest "$port" php -S "127.0.0.1:$port" "$apps/php/router.php"
    burst "$url" --requests 300 --connections 12 --per-connection 1 --numbered
    count "$tmp/guest.log" --requests 300 --lines 1
    # The server's own lines name the connection by its port: its request's line tells the number.
    count "$tmp/guest.err" --requests 300 --none any --least-right 300 --unnumbered
    jq -r '"\(.trace_id // "none") \(.message)"' "$tmp/guest.err" | awk '
        match($0, /127\.0\.0\.1:[0-9]+/) {
            port = substr($0, RSTART, RLENGTH)
            if (/ n=/) truth[port] = $1; else if ($1 != "none") seen[port] = seen[port] " " $1
        }
        END {
            for (port in seen) {
                count = split(seen[port], ids)
                for (i = 1; i <= count; i++) if (ids[i] != truth[port]) { print port, ids[i], truth[port]; bad = 1 }
            }
            exit bad
        }'
    counted requests 300
    undegraded
}

@test "a script that is an event loop is never wrong" {
    serve guest "$port" php "$apps/php/loop.php" "$port"
    burst "$url" --requests 100 --connections 1 --numbered
    burst "$url" --first 101 --requests 900 --connections 24 --numbered
    count "$tmp/guest.log" --requests 1000 --lines 2 --none any
    counted requests 1000
    undegraded
}

@test "streams and the curl extension send the trace on" {
    start_upstream
    settings+=(UP="$up")
    serve guest "$port" php -S "127.0.0.1:$port" "$apps/php/router.php"
    burst "$url" --requests 200 --connections 8 --per-connection 1 --numbered
    count "$tmp/guest.log" --requests 200 --lines 1
    calls --requests 200
    counted calls_injected 200
    undegraded
}

@test "answers are the same, byte for byte, bare and preloaded" {
    for shim in '' "$object"; do
        serve guest "$port" php -S "127.0.0.1:$port" "$apps/php/router.php"
        burst "$url" --requests 30 --per-connection 1 --save "$tmp/answers.${shim:+preloaded}"
        stop "$pid"
    done
    [ -s "$tmp/answers." ]
    cmp "$tmp/answers." "$tmp/answers.preloaded"
}

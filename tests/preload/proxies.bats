#!/usr/bin/env bats
# shellcheck disable=SC2030,SC2031,SC2154 # each test is a subshell; variables come from servers.bash
#
# Proxies and small servers of other makes under load.

load servers

setup() {
    servers_setup
    port=$(free_port)
    url=http://127.0.0.1:$port
}

teardown() {
    servers_teardown
}

haproxy_serves() {
    fill "$apps/haproxy.cfg.in" DIR="$tmp" PORT="$port" UP="$up" REUSE="$1" >"$tmp/haproxy.cfg"
    serve guest "$port" haproxy -db -f "$tmp/haproxy.cfg"
}

# haproxy drops a log line, bare too, when its other thread is in the middle of writing one and does not come back soon: it
# would not wait for a log. It counts them, for the lines with a number and for the one of the probe of serve().
haproxy_dropped() {
    socat -t 5 - "UNIX-CONNECT:$tmp/stats" <<<'show info' | awk '/^DroppedLogs:/ { print $2 }'
}

# No more lines come when all were written or dropped.
until_haproxy_logged() {
    local tries=$WAIT_TRIES
    while [ "$(($(wc -l <"$tmp/guest.log") + $(haproxy_dropped)))" -lt "$1" ] && [ $((tries--)) -gt 0 ]; do sleep 0.025; done
}

haproxy_never_lies() {
    start_upstream
    haproxy_serves "$1"
    burst "$url/up" --requests 60 --connections 1 --numbered
    burst "$url/up" --first 61 --requests 400 --connections 24 --numbered
    until_haproxy_logged 461
    count "$tmp/guest.log" --requests 460 --lines 1 --lost "$(haproxy_dropped)" --none any
    calls --requests 460 --none any
    counted requests 460
    undegraded
}

@test "haproxy, upstream connections shared: never another's line or call" {
    haproxy_never_lies always
}

@test "haproxy, a connection each: never another's line or call" {
    haproxy_never_lies never
}

@test "haproxy answers the same bare and preloaded" {
    start_upstream
    for shim in '' "$object"; do
        haproxy_serves safe
        burst "$url/up" --requests 60 --method POST --body 30000 --numbered --save "$tmp/answers.${shim:+preloaded}"
        stop "$pid"
    done
    cmp "$tmp/answers." "$tmp/answers.preloaded"
}

@test "tinyproxy: a thread a connection, its calls in many small sends" {
    start_upstream
    fill "$apps/tinyproxy.conf.in" PORT="$port" UP="$up" >"$tmp/tinyproxy.conf"
    serve guest "$port" tinyproxy -d -c "$tmp/tinyproxy.conf"
    burst "$url/up" --fresh --requests 200 --connections 12 --per-connection 1 --numbered
    calls --requests 200 --fresh
    # Its first line comes when it has read the request line, and not yet the head with the ids.
    grep 'n=' "$tmp/guest.log" >"$tmp/lines"
    count "$tmp/lines" --requests 200 --lines 2 --fresh --none 200 --least-right 200
    counted requests 200
    counted calls_injected 200
    undegraded
}

@test "lighttpd: files, CGI and proxied requests, never another's call or program" {
    local asked=660
    start_upstream
    mkdir -p "$tmp/www"
    seq -f 'line %g' 20000 >"$tmp/www/big.txt"
    fill "$apps/lighttpd.conf.in" DIR="$tmp" PORT="$port" UP="$up" DEAD="$(free_port)" CGIDIR="$(cgi_folder)" >"$tmp/lighttpd.conf"
    settings+=(TRACESHIM_LOG_FILES="$tmp/access.log")
    serve guest "$port" lighttpd -D -f "$tmp/lighttpd.conf"
    burst "$url/big.txt" --requests 100 --connections 16
    burst "$url/up" --first 101 --requests 200 --connections 24 --numbered
    burst "$url/cgi/show" --first 301 --requests 60 --connections 8 --numbered --save "$tmp/answers"
    burst "$url/next" --first 361 --requests 300 --connections 24 --numbered
    # A call is known only where nothing else was queued in the loop. How often that is depends on the machine, for requests that come alone,
    # too: on a busy one their connections are not there at once.
    until [ "$(jq -c 'select(.n <= 300 or .n > 660)' "$tmp/calls" | grep -c '"traceparent"')" -ge 50 ]; do
        burst "$url/up" --first $((asked + 1)) --requests 100 --connections 1 --numbered
        asked=$((asked + 100))
    done
    counted requests "$asked"
    undegraded
    stop "$pid" # it writes its access log in blocks
    count "$tmp/access.log" --requests "$asked" --lines 1 --none any
    cp "$tmp/calls" "$tmp/all"
    jq -c 'select(.n <= 300)' "$tmp/all" >"$tmp/calls"
    calls --first 101 --requests 200 --none any
    jq -c 'select(.n > 300 and .n <= 660)' "$tmp/all" >"$tmp/calls"
    calls --first 361 --requests 300 --none any
    jq -c 'select(.n > 660)' "$tmp/all" >"$tmp/calls"
    calls --first 661 --requests $((asked - 660)) --none any
    programs_got_their_own "$tmp/answers" 20
}

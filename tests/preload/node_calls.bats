#!/usr/bin/env bats
# shellcheck disable=SC2030,SC2031,SC2154 # each test is a subshell; variables come from servers.bash and node.bash
#
# Node: outgoing requests of every client carry exactly one traceparent, of the request that made them.

load servers
load node

setup_file() {
    node_setup_file
}

setup() {
    node_setup
    start_peer
}

teardown() {
    servers_teardown
}

requests=100

# called CLIENT [FIRST] [OPTION]...: a burst of requests that ask the peer so; leaves the calls
called() {
    : >"$tmp/calls"
    burst "$url$1" --first "${2:-1}" --requests $requests --connections 25 --numbered "${@:3}"
}

# carries EACH CLIENT...: on one server; so many calls a request
carries() {
    local client first=1
    node_serves calls.mjs "$peer"
    for client in "${@:2}"; do
        echo "--- $client"
        called "$client" $first
        calls --first $first --requests $requests --each "$1"
        first=$((first + requests))
    done
    stop "$guest"
    count "$tmp/guest.log" --requests $((first - 1)) --lines 2
}

@test "http: get, post in pieces, no agent, a list of headers, flushed heads" {
    carries 1 http-get http-close http-post http-raw http-flush
}

@test "https" {
    carries 1 https
}

@test "fetch: get, post, over TLS" {
    carries 1 fetch fetch-post fetch-secure
}

@test "undici from npm: request, stream, pools, pipelining, fetch, two major versions side by side" {
    carries 1 undici-request undici-stream undici-pool undici-pipeline undici-fetch undici-6
}

@test "axios on http and on fetch, node-fetch 2 and 3, got" {
    carries 1 axios axios-fetch node-fetch node-fetch-2 got
}

@test "redirects and retries: each call has a parent id of its own" {
    carries 2 fetch-redirect axios-redirect got-retry
}

@test "HTTP/2, without and with TLS, and got's" {
    carries 1 h2c h2 got-http2
}

@test "a traceparent of the program's own is the only one" {
    local client first=1
    node_serves calls.mjs "$peer"
    for client in own-http own-raw own-fetch own-undici own-h2c; do
        echo "--- $client"
        called "$client" $first
        calls --first $first --requests $requests --passed-on
        first=$((first + requests))
    done
}

@test "beside an OpenTelemetry SDK exactly one traceparent goes out, and lines have the SDK's trace" {
    node_serves otel.js "$peer"
    burst "$url" --requests $requests --connections 25 --numbered
    stop "$guest"
    calls --requests $requests
    count "$tmp/guest.log" --requests $requests --lines 2
    jq -es 'length == '$requests' and all(.trace_id == (.message | capture("otel=(?<id>[0-9a-f]+)").id))' "$tmp/guest.err"
}

@test "beside an OpenTelemetry SDK, requests that bring no trace have one for lines and calls" {
    node_serves otel.js "$peer"
    burst "$url" --requests $requests --connections 25 --numbered --fresh
    stop "$guest"
    jq -es 'length == '$requests' and all(.trace_id == (.message | capture("otel=(?<id>[0-9a-f]+)").id))' "$tmp/guest.err"
    count "$tmp/guest.log" --requests $requests --lines 2 --fresh
    calls --requests $requests --fresh --truth "$tmp/guest.log"
}

@test "requests without ids: their calls carry the id of their lines" {
    node_serves calls.mjs "$peer"
    called http-post 1 --fresh
    stop "$guest"
    count "$tmp/guest.log" --requests $requests --lines 2 --fresh
    calls --requests $requests --fresh --truth "$tmp/guest.log"
}

# sent NAME: the values of that header at the peer
sent() {
    jq -r --arg name "$1" '.headers[] | select(.[0] == $name) | .[1]' "$tmp/calls"
}

@test "only the hosts that the user named get headers" {
    local client
    settings+=(TRACESHIM_PROPAGATE="*.example,127.0.0.1:1")
    node_serves calls.mjs "$peer"
    for client in http-get fetch undici-pool h2c; do
        called $client
        [ "$(wc -l <"$tmp/calls")" -eq $requests ]
        [ -z "$(sent traceparent)" ]
    done
    again
    settings+=(TRACESHIM_PROPAGATE="localhost,127.0.0.1")
    node_serves calls.mjs "$peer"
    for client in http-get fetch undici-pool h2c; do
        called $client
        calls --requests $requests
    done
}

@test "tracestate and baggage of the caller go on with it" {
    local client
    node_serves calls.mjs "$peer"
    for client in http-get fetch h2c; do
        called $client 1 --header 'tracestate: shop=n@N@' --header 'baggage: user=u@N@'
        [ "$(sent tracestate | sort)" = "$(printf 'shop=n%d\n' $(seq $requests) | sort)" ]
        [ "$(sent baggage | sort)" = "$(printf 'user=u%d\n' $(seq $requests) | sort)" ]
    done
}

@test "a program that serves nothing sends its environment's trace, or one of its own" {
    local client script trace=0af7651916cd43dd8448eb211c80319c
    for client in "require('http').get(u, (r) => r.resume())" "fetch(u).then((r) => r.text())"; do
        script="const u = 'http://127.0.0.1:$peer/?n=1'; $client"
        : >"$tmp/calls"
        env "${settings[@]}" LD_PRELOAD="$object" TRACEPARENT=00-$trace-b7ad6b7169203331-01 "$node" -e "$script" 3>&-
        [[ $(sent traceparent) == 00-$trace-????????????????-01 ]]
        [[ $(sent traceparent) != *b7ad6b7169203331* ]]
        : >"$tmp/calls"
        env "${settings[@]}" LD_PRELOAD="$object" "$node" -e "$script" 3>&-
        [[ $(sent traceparent) == 00-????????????????????????????????-????????????????-0? ]]
        : >"$tmp/calls"
        env "${settings[@]}" TRACESHIM_ROOT=off LD_PRELOAD="$object" "$node" -e "$script" 3>&-
        [ -s "$tmp/calls" ]
        [ -z "$(sent traceparent)" ]
    done
}

@test "Node 18: http, fetch, axios, HTTP/2" {
    with_node 18
    carries 1 http-post https fetch undici-6 axios node-fetch h2c
}

@test "Node 22: http, fetch, undici, axios, HTTP/2" {
    with_node 22
    carries 1 http-post https fetch undici-pool axios h2c
}

@test "Node 24: http, fetch, undici, axios, HTTP/2" {
    with_node 24
    carries 1 http-post https fetch undici-pool axios h2c
}

@test "what the peer receives is the same bare and preloaded, but for the headers of the trace" {
    local client
    for shim in '' "$object"; do
        again
        node_serves calls.mjs "$peer"
        : >"$tmp/calls"
        for client in http-raw http-flush fetch-post undici-pool axios h2; do
            burst "$url$client" --requests 5 --connections 1 --numbered
        done
        jq -c '.headers |= map(select(.[0] | IN("traceparent", "tracestate", "baggage", "x-trace-id") | not))' "$tmp/calls" \
            >"$tmp/calls.${shim:+preloaded}"
    done
    [ "$(wc -l <"$tmp/calls.")" -eq 30 ]
    diff "$tmp/calls." "$tmp/calls.preloaded"
}

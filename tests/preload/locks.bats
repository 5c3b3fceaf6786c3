#!/usr/bin/env bats
# shellcheck disable=SC2154 # variables come from servers.bash
#
# Nothing is held across a real call: whatever comes to us from within one, on the same thread, finds every lock free.

load servers

setup() {
    servers_setup
    port=$(free_port)
    url=http://127.0.0.1:$port/
}

teardown() {
    servers_teardown
}

@test "a call that comes from within the real one, for the same connection and the same log, finds no lock taken" {
    local settle
    gcc -D_GNU_SOURCE -O1 -shared -fPIC -o "$tmp/within.so" "$BATS_TEST_DIRNAME/libs/within.c"
    # shellcheck disable=SC2034 # start() reads it
    shim=$object:$tmp/within.so
    settings+=(TRACESHIM_RESPONSE_HEADER=x-answered-in)
    serve guest "$port" "$programs/server_blocking" thread "$port"
    burst "$url" --requests 200 --connections 8 --per-connection 5 --numbered
    for ((settle = 0; settle < WAIT_TRIES; settle++)); do
        [ "$(jq -r 'select(.message != "within") | .message' "$tmp/guest.log" 2>/dev/null | wc -l)" -lt 400 ] || break
        sleep 0.025
    done
    # All of it is records: the server's lines with their ids, and as many of ours as there were calls, at least.
    [ "$(jq -s 'map(select(.message != "within" and .trace_id)) | length' "$tmp/guest.log")" -eq 400 ]
    [ "$(jq -s 'map(select(.message == "within")) | length' "$tmp/guest.log")" -ge 800 ]
    counted requests 200
    undegraded
}

#!/usr/bin/env bats
# shellcheck disable=SC2030,SC2031,SC2154 # each test is a subshell; variables come from servers.bash and node.bash
#
# Node: which request a line belongs to, over everything that Node waits for, in every protocol that it serves. Lines of a
# request say its number, so right, none and wrong are counted; lines after its response (standard error) may have no id.

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

# all_right REQUESTS LEAST: the lines of guest.log all have their ids, so many at least, and those on guest.err none or theirs
all_right() {
    count "$tmp/guest.log" --requests "$1" --least-right "$2"
    count "$tmp/guest.err" --none any
    jq -es 'map(select(.message == "tick")) | length > 0 and all(has("trace_id") | not)' "$tmp/guest.log" >/dev/null
}

loaded() {
    node_serves server.js
    burst "$url" --requests 400 --connections 50 --numbered
    burst "$url" --first 401 --requests 100 --connections 20 --per-connection 1 --numbered
    burst "$url" --first 501 --requests 150 --connections 30 --method POST --body 6000 --pieces 1500 --numbered
    burst "$url" --first 651 --requests 50 --connections 10 --method POST --body 3000 --chunked --numbered
    stop "$guest"
    all_right 700 7000
}

@test "one request after another: each line has its id" {
    node_serves server.js
    burst "$url" --requests 60 --connections 1 --numbered
    stop "$guest"
    all_right 60 500
}

@test "50 connections at a time, kept and closed, bodies in pieces: each line has its id" {
    loaded
}

@test "Node 18: each line has its id" {
    with_node 18
    loaded
}

@test "Node 22: each line has its id" {
    with_node 22
    loaded
}

@test "Node 24: each line has its id" {
    with_node 24
    loaded
}

@test "200 and 500 connections at a time: each line has its id" {
    local total=$((${FULL:-0} ? 20000 : 1000))
    node_serves server.js
    burst "$url" --requests "$total" --connections 200 --numbered
    burst "$url" --first $((total + 1)) --requests "$total" --connections 500 --numbered
    stop "$guest"
    all_right $((2 * total)) $((total * 20))
}

@test "requests without ids of their own get one each, on all their lines" {
    node_serves server.js
    burst "$url" --requests 300 --connections 50 --numbered --fresh
    stop "$guest"
    count "$tmp/guest.log" --requests 300 --fresh --least-right 3000
}

@test "pipelined requests: each line has its id or none" {
    node_serves server.js
    burst "$url" --requests 200 --connections 10 --pipeline 4 --numbered
    stop "$guest"
    count "$tmp/guest.log" --requests 200 --least-right 2000
}

@test "https: each line has its id" {
    certificate
    node_serves server.js https
    ask https 300 50
    stop "$guest"
    all_right 300 2500
}

@test "https with bodies in pieces: each line has its id" {
    certificate
    node_serves server.js https
    ask https 200 30 5000
    stop "$guest"
    all_right 200 2000
}

@test "HTTP/2 without TLS, many streams on a connection: each line has its id" {
    node_serves server.js h2c
    ask h2c 300 60 2000
    stop "$guest"
    all_right 300 2500
}

@test "HTTP/2 over TLS, and HTTP/1 on the same port: each line has its id" {
    certificate
    node_serves server.js h2
    ask h2 300 60
    stop "$guest"
    all_right 300 2500
    again
    node_serves server.js h2
    ask https 100 20 500
    stop "$guest"
    all_right 100 800
}

@test "HTTP/2 by the stream event: each line has its id" {
    node_serves server.js h2stream
    ask h2c 300 60 2000
    stop "$guest"
    all_right 300 2500
}

@test "an upgraded connection: each line has the id of the request that it was" {
    node_serves tunnels.js
    ask upgrade 200 40
    stop "$guest"
    count "$tmp/guest.log" --requests 200 --lines 8 --least-right 1600
}

@test "a CONNECT tunnel: each line has the id of the request that it was" {
    node_serves tunnels.js
    ask connect 200 40
    stop "$guest"
    count "$tmp/guest.log" --requests 200 --lines 8 --least-right 1600
}

@test "Express, with middleware and an error handler: each line has its id" {
    node_serves express.js
    burst "${url}shop/items/7" --requests 300 --connections 50 --numbered
    burst "${url}shop/items/7" --first 301 --requests 100 --connections 20 --method POST --body 3000 --pieces 1000 --numbered
    stop "$guest"
    count "$tmp/guest.log" --requests 400 --least-right 4000
    count "$tmp/guest.err" --none any
}

@test "Express: what it says of a request that failed has its id, though that was answered before" {
    node_serves express.js
    burst "${url}broken" --requests 200 --connections 20 --numbered --status 500
    until_lines 400 "$tmp/guest.err"
    stop "$guest"
    count "$tmp/guest.err" --requests 200 --lines 2 --unnumbered
}

@test "Nest: each line has its id, and so has what it says of a request that failed and was answered before" {
    NO_COLOR=1 node_serves nest.js
    burst "${url}item" --requests 200 --connections 20 --numbered
    burst "${url}broken" --first 201 --requests 200 --connections 20 --status 500
    stop "$guest"
    count "$tmp/guest.log" --requests 200
    count "$tmp/guest.err" --requests 200 --unnumbered
}

@test "Koa: each line has its id" {
    node_serves koa.js
    burst "$url" --requests 300 --connections 50 --numbered
    burst "$url" --first 301 --requests 100 --connections 20 --method POST --body 3000 --pieces 1000 --numbered
    stop "$guest"
    count "$tmp/guest.log" --requests 400 --least-right 4000
}

@test "Fastify with its own logger: ids are spliced into each of its lines" {
    node_serves fastify.js
    burst "$url" --requests 300 --connections 50 --numbered
    burst "$url" --first 301 --requests 100 --connections 20 --method POST --body 3000 --pieces 1000 --numbered
    stop "$guest"
    # What it says after the response counts once enough responses proved that it hands no work over by itself.
    count "$tmp/guest.log" --requests 400 --whole --least-right 4000 --none 64
}

@test "cluster: each worker's lines have their ids" {
    node_serves cluster.js
    burst "$url" --requests 300 --connections 50 --per-connection 3 --numbered
    stop "$guest"
    count "$tmp/guest.log" --requests 300 --least-right 2500
    [ "$(jq -s 'map(select(.trace_id) | .pid) | unique | length' "$tmp/guest.log")" -eq 2 ]
}

# later FILE FIRST: its records of the requests from that number on
later() {
    awk -v first="$2" 'match($0, /n=[0-9]+/) && substr($0, RSTART + 2, RLENGTH - 2) + 0 >= first' "$1"
}

# queued SHAPE [FIRST]: one request's completion runs the job of another. The lines of requests from FIRST on are judged.
queued() {
    echo "--- $1"
    node_serves pools.js "$1"
    burst "$url" --requests 60 --connections 50 --numbered
    burst "$url" --first 61 --requests 300 --connections 50 --numbered
    burst "$url" --first 361 --requests 40 --connections 2 --numbered
    until_lines 1600 "$tmp"/guest.{log,err}
    stop "$guest"
    later "$tmp/guest.log" "${2:-1}" >"$tmp/handlers"
    later "$tmp/guest.err" "${2:-1}" >"$tmp/jobs"
    [ "$(wc -l <"$tmp/handlers")" -eq $((401 - ${2:-1})) ]
    [ "$(wc -l <"$tmp/jobs")" -ge $((3 * (401 - ${2:-1}))) ]
    count "$tmp/handlers" "$tmp/jobs" --none any
    again
}

@test "a connection for all requests that answers callbacks in order: never another's id" {
    queued one-connection
}

@test "promises around such a connection, and around a pool: each line has its id" {
    queued one-connection-promise
    count "$tmp/handlers" "$tmp/jobs" --requests 400 --lines 4
    queued pool-promise
    count "$tmp/handlers" "$tmp/jobs" --requests 400 --lines 4
}

@test "jobs that run after their request's answer was ended by the one before: never another's id" {
    queued queue-after
}

# That a program hands work over shows when it ends a response in another request's context: the lines of the first such job
# come before that.
@test "once a program was seen to hand jobs over, no line has another's id: queues, pools, batches" {
    queued queue-before 61
    queued pool-callback 61
    queued batch 61
}

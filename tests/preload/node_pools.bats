#!/usr/bin/env bats
# shellcheck disable=SC2030,SC2031,SC2154 # each test is a subshell; variables come from servers.bash and node.bash
#
# Node: packages that queue what they are given, and call it when somebody else's work has ended. A response is ended long after
# its request's first job, so that nothing ever contradicts what AsyncLocalStorage says there: it is wrong in one line out of ten.
# All lines count, from the first request on.

load servers
load node

setup_file() {
    node_setup_file
    local root name
    root=$(cd "$BATS_TEST_DIRNAME/../.." && pwd)
    export npm=${node_apps%/*}
    for name in pools pools-esm pools-old; do
        "$root/scripts/npm-app" --build "${npm%/*}" "$name" >"$BATS_FILE_TMPDIR/npm"
    done
}

setup() {
    node_setup
}

teardown() {
    servers_teardown
}

# pooled FOLDER SHAPE [import]: few requests at a time, so that a queue is empty now and then, and many
pooled() {
    echo "--- $*"
    local served=0
    serve guest "$port" "$node" "$npm/pools/pools.mjs" "$port" "$npm/$1" "${@:2}" || served=1
    guest=$pid
    [ "$served" -eq 0 ]
    burst "$url" --requests 40 --connections 3 --numbered
    burst "$url" --first 41 --requests 60 --connections 20 --numbered
    stop "$guest"
}

# all_theirs FOLDER SHAPE LINES [import]: each request has so many lines, each with its id
all_theirs() {
    pooled "$1" "$2" "${@:4}"
    count "$tmp/guest.log" --requests 100 --lines "$3"
    [ ! -s "$tmp/guest.err" ]
    again
}

# never_anothers FOLDER SHAPE LINES RIGHT: so many lines a request; so many of all have its id, at least, and the others none
never_anothers() {
    pooled "$1" "$2"
    count "$tmp/guest.log" --requests 100 --lines "$3" --none any --least-right "$4"
    again
}

@test "p-limit, before and after it kept contexts itself: jobs have their request's id" {
    all_theirs pools p-limit 10
    all_theirs pools p-limit 10 import
    all_theirs pools-old p-limit 10
    local name
    for name in p-limit-5 p-limit; do all_theirs pools-esm $name 10 import; done
}

@test "p-queue, as CommonJS and as an ES module: jobs have their request's id" {
    all_theirs pools p-queue 10
    all_theirs pools p-queue-all 10
    all_theirs pools-old p-queue 10 import
    all_theirs pools-esm p-queue 10 import
}

@test "bottleneck: jobs have their request's id, scheduled, wrapped or submitted" {
    all_theirs pools bottleneck 10
    all_theirs pools bottleneck-wrap 10
    all_theirs pools bottleneck-submit 12
}

@test "async's queues: tasks have their request's id" {
    all_theirs pools async-queue 12
    all_theirs pools async-queue-promise 10 import
    all_theirs pools async-priority 10
}

@test "fastq: tasks have their request's id" {
    all_theirs pools fastq 12
    all_theirs pools fastq-unshift 10
    all_theirs pools fastq-promise 10 import
}

@test "async-lock, promise-queue, semaphore: jobs have their request's id" {
    all_theirs pools async-lock 10
    all_theirs pools async-lock-callback 12
    all_theirs pools promise-queue 10
    all_theirs pools semaphore 10
}

@test "pools of objects, by callback and by promise: what is done with one has its request's id" {
    all_theirs pools-old generic-pool-callback 12
    all_theirs pools generic-pool 10
    all_theirs pools tarn 10
    all_theirs pools agentkeepalive 10
}

# messages FOLDER [import]: connections are requests of their own, in the trace of the one that opened them
messages() {
    pooled "$1" ws "${@:2}"
    awk 'match($0, /n=[0-9]+/) {
            if (index($0, sprintf("%016x\",\"span_id", substr($0, RSTART + 2, RLENGTH - 2) + 0))) right++; else other++
        } END { print "right=" right + 0, "other=" other + 0; exit right != 2200 || other != 0 }' "$tmp/guest.log"
    again
}

@test "lru-memoizer, queue: callbacks and jobs have their request's id" {
    all_theirs pools lru-memoizer 8
    all_theirs pools queue 10
}

@test "ws: what compressed messages bring has their own connection's id" {
    messages pools
    messages pools-old
}

@test "bluebird: what waits for its promises has its request's id, and so have its coroutines" {
    all_theirs pools bluebird 22
    all_theirs pools bluebird-coroutine 10 import
}

@test "promises of before there were any: what waits for the same one has its own request's id" {
    all_theirs pools promise 10
    all_theirs pools q 12
    all_theirs pools rsvp 10
    all_theirs pools when 10
}

# A batch of one request's own is that request's; around batches, each line has its id.
@test "work that is done for several requests at once is nobody's: dataloader, async's cargo, inflight" {
    never_anothers pools dataloader 8 400
    never_anothers pools async-cargo 10 600
    all_theirs pools inflight 6
    all_theirs pools inflight 6 import
}

# shared SHAPE RIGHT: a stream that all requests write their lines to; so many of 400 have their id, at least, and the others none
shared() {
    echo "--- $*"
    node_serves streams.js "$1"
    burst "$url" --requests 40 --connections 3 --numbered
    burst "$url" --first 41 --requests 60 --connections 20 --numbered
    until_lines 400 "$tmp/guest.log"
    stop "$guest"
    count "$tmp/guest.log" --requests 100 --lines 4 --none any --least-right "$2"
    count "$tmp/guest.err" --requests 100 --lines 1
    again
}

# A line that comes out when its request's response has been ended has no id.
@test "streams that requests share: what comes out late has its writer's id, or none" {
    shared writable 60
    shared writable-sync 60
    shared writev 20
    shared pass-through-paused 1
    shared pass-through-text 20
    shared transform 60
    shared objects 60
    shared file 60
}

@test "streams that requests share: what passes at once has its writer's id" {
    shared pass-through 400
    shared readable 400
    shared reading 400
    shared readline 400
    shared beside-pipe 400
}

@test "Node 18 and 24 (and 22): what is required and what is imported" {
    local major
    for major in 18 24 ${FULL:+22}; do
        with_node "$major"
        all_theirs pools p-limit 10 import
        all_theirs pools-esm p-queue 10 import
        messages pools import
        shared transform 60
    done
}

@test "a program sees of these packages, and of its jobs in them, what it would see" {
    shim='' start bare "$node" "$npm/pools/sights.mjs" "$npm/pools" "$npm/pools-esm"
    ended "$pid"
    [ "$status" -eq 0 ]
    settings+=(TRACESHIM_LOG=off)
    start guest "$node" "$npm/pools/sights.mjs" "$npm/pools" "$npm/pools-esm"
    ended "$pid"
    [ "$status" -eq 0 ]
    [ "$(wc -l <"$tmp/bare.log")" -gt 300 ]
    diff "$tmp/bare.log" "$tmp/guest.log"
    diff "$tmp/bare.err" "$tmp/guest.err"
}

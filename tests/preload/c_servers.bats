#!/usr/bin/env bats
# shellcheck disable=SC2030,SC2031,SC2154 # each test is a subshell; variables come from servers.bash
#
# Servers in C: those whose threads and processes work for one request at a time, which must be right line by line; and
# those made to mislead, which may have lines without an id, but not one with another request's.

load servers

setup() {
    servers_setup
    port=$(free_port)
    url=http://127.0.0.1:$port/
}

teardown() {
    servers_teardown
}

# right PROGRAM MODE LINES: all lines of all requests have the right id
right() {
    serve guest "$port" "$programs/$1" "$2" "$port"
    burst "$url" --requests 400 --connections 24 --per-connection 5 --numbered
    until_lines $((400 * $3)) "$tmp/guest.log"
    count "$tmp/guest.log" --requests 400 --lines "$3"
    counted requests "${4:-400}"
    undegraded
}

# never_wrong PROGRAM MODE LINES [ARGUMENT]...: lines may lack an id; of those of the first 100 requests, which are alone,
# $least have one (of the others nothing is sure: how many wait at a time is the machine's affair). These come $kept to a connection.
never_wrong() {
    serve guest "$port" "$programs/$1" "$2" "$port" "${@:4}"
    # One at a time, a few, and many: what is queued and what is not differs.
    burst "$url" --requests 100 --connections 1 --per-connection "${kept:-10}" --numbered
    if [ -n "${least:-}" ]; then
        until_lines $((100 * $3)) "$tmp/guest.log"
        count "$tmp/guest.log" --requests 100 --lines "$3" --none any --least-right "$least"
    fi
    burst "$url" --first 101 --requests 300 --connections 5 --numbered
    burst "$url" --first 401 --requests 800 --connections 50 --numbered
    until_lines $((1200 * $3)) "$tmp/guest.log"
    count "$tmp/guest.log" --requests "${counted:-1200}" --lines "$3" --none any
    counted requests 1200
    undegraded
}

@test "a thread a connection" {
    right server_blocking thread 2
}

@test "several processes that accept" {
    right server_blocking prefork 2
}

@test "a process a connection" {
    # The processes end with their connections, and take their counts along.
    right server_blocking fork 2 0
}

@test "a listener that was opened before an exec" {
    right server_blocking exec 2
}

@test "connections handed over by another process" {
    right server_blocking handed 2
}

@test "C++: cout, and cerr whose pieces of many threads mix" {
    serve guest "$port" "$programs/server_streams" "$port"
    burst "$url" --requests 400 --connections 24 --per-connection 5 --numbered
    count "$tmp/guest.log" --requests 400 --lines 1
    count "$tmp/guest.err" --requests 400 --lines 1
    counted requests 400
    undegraded
}

@test "helper threads have their request's id until its response begins, while nobody else waits, and then none" {
    serve guest "$port" "$programs/server_blocking" workers "$port"
    # One connection: on a new one the thread of the last may be behind its answer, but not behind its write, and its request waits still.
    burst "$url" --first 401 --requests 50 --connections 1 --per-connection 50
    grep '"message":"helper ' "$tmp/guest.log" >"$tmp/helpers"
    count "$tmp/helpers" --first 401 --requests 50 --lines 1
    burst "$url" --requests 400 --connections 8 --per-connection 50 --numbered
    until_lines 1800 "$tmp/guest.log"
    grep -v '"message":"\(helper\|late\) ' "$tmp/guest.log" >"$tmp/handlers"
    count "$tmp/handlers" --requests 400 --lines 2
    grep '"message":"late ' "$tmp/guest.log" >"$tmp/late"
    count "$tmp/late" --requests 400 --lines 1 --none any --all-none
    count "$tmp/guest.log" --requests 400 --lines 4 --none any
    undegraded
}

@test "a loop with inline handlers" {
    # It reads until there is nothing more: where the client is the faster one that is the next request, in the same iteration.
    kept=1 least=200 never_wrong server_loop inline 3
}

@test "a loop that answers in the reverse order of reading is never wrong" {
    never_wrong server_loop deferred 3
}

@test "a loop that logs at the end of an iteration is never wrong" {
    never_wrong server_loop late 3
}

@test "a loop that waits for a batch is never wrong" {
    never_wrong server_loop batch 3
}

@test "a loop that answers by timers is never wrong" {
    never_wrong server_loop timers 3
}

@test "a loop that does one queued job an iteration is never wrong" {
    never_wrong server_loop step 3
}

@test "a loop that is inline until it is busy is never wrong" {
    never_wrong server_loop polite 3
}

@test "a loop that asks for all its requests on one connection is never wrong" {
    up=$(free_port)
    shim='' serve lines "$up" socat "TCP-LISTEN:$up,bind=127.0.0.1,fork,reuseaddr" EXEC:cat
    never_wrong server_loop shared 5 "$up"
}

@test "a loop whose requests wait for each other's upstream connection is never wrong, nor are its calls" {
    start_upstream
    never_wrong server_loop pool 4 "$up"
    calls --requests 1200 --none any
}

@test "jobs handed from a reader to workers are never wrong" {
    never_wrong server_handoff queue 2
}

@test "a pool whose threads are created in the first requests is never wrong" {
    never_wrong server_handoff lazy 3
}

@test "kept connections that change threads" {
    # The first burst meets a pool that has not yet shown that its readers answer.
    least=100 never_wrong server_handoff wander 2
}

@test "a pool that reads and answers in different tasks is never wrong" {
    never_wrong server_handoff stages 2
}

@test "a pool whose readers invite bodies, or send heads, and leave the rest to others, is never wrong" {
    serve guest "$port" "$programs/server_handoff" invite "$port"
    burst "$url" --requests 1000 --connections 40 --method POST --body 16 --header 'Expect: 100-continue' --interim --numbered
    until_lines 2000 "$tmp/guest.log"
    count "$tmp/guest.log" --requests 1000 --lines 2 --none any
    counted requests 1000
    undegraded
    stop "$pid"
    rm "$tmp/guest.log"
    never_wrong server_handoff heads 2
}

@test "a pool that reads, answers and cleans up in different tasks is never wrong" {
    never_wrong server_handoff after 3
}

@test "a pool that cleans up a while behind its answers is never wrong, on one processor, where readers answer" {
    local cpu
    cpu=$(taskset -cp $$ | sed 's/.*[ ,-]//')
    serve guest "$port" taskset -c "$cpu" "$programs/server_handoff" lag "$port"
    for first in 1 301 601 901; do
        taskset -c "$cpu" "$here/attribution" burst "$url" --first $first --requests 300 --connections 1 --per-connection 1 --numbered
    done
    count "$tmp/guest.log" --requests 1200 --lines 3 --none any
    undegraded
}

@test "kept connections that change threads, in a pool that cleans up too, are never wrong" {
    least=100 never_wrong server_handoff rest 3
}

@test "a thread that logs for others after its response is never wrong" {
    # The last few notes stay unwritten.
    counted=0 never_wrong server_handoff tail 1
}

@test "a job that comes by a queue of System V's or POSIX', a semaphore or a signal is not the last request's, nor its child's" {
    local way n
    for way in msgrcv mq_receive mq_timedreceive semop semtimedop sigwait sigwaitinfo sigtimedwait sigsuspend; do
        serve guest "$port" "$programs/server_waits" "$way" "$port"
        for n in 1 2 3; do
            curl -sSf -m 20 -H "traceparent: 00-$(printf '%032x-%016x' "$n" "$n")-01" "$url?n=$n"
        done
        wait "$pid"
        mv "$tmp/guest.log" "$tmp/$way.log"
        cat "$tmp/$way.log"
        jq -e -s 'length == 15 and all(.[]; (.message | capture("n=(?<n>[0-9]+)").n | tonumber) as $n |
            if .message | test("^(begin|child|end) ") then (.trace_id | tonumber) == $n else .trace_id == null end)' "$tmp/$way.log"
    done
}

@test "threads that go on to what others have read, without a call that waits, are never wrong" {
    # Whoever asks first is alone, so that a thread that has read is seen not to answer.
    never_wrong server_handoff spin 1
}

@test "lines that threads print into one buffer of the program's own are never wrong" {
    serve guest "$port" "$programs/server_blocking" buffer "$port"
    burst "$url" --requests 400 --connections 2 --per-connection 1 --numbered
    burst "$url" --first 401 --requests 800 --connections 5 --per-connection 1 --numbered
    burst "$url" --first 1201 --requests 800 --connections 40 --per-connection 1 --numbered
    until_lines 4000 "$tmp/guest.log"
    count "$tmp/guest.log" --requests 2000 --lines 2 --none any
    undegraded
}

@test "where a process was made with its connection, and answers some of its requests, no answer gets another's header" {
    settings+=(TRACESHIM_RESPONSE_HEADER=x-trace)
    serve guest "$port" "$programs/server_blocking" pair "$port"
    burst "$url" --requests 400 --connections 5 --numbered --save "$tmp/answers" --keep-header x-trace
    # Of those up to the first one that the process answers, each has its own.
    awk 'match($0, /"x-trace": "[0-9a-f]+/) {
            if (substr($0, RSTART + RLENGTH - 16, 16) != sprintf("%016x", $1)) { wrong++ } else right++
        } END { print right + 0, "right", wrong + 0, "wrong"; exit right < 20 || wrong > 0 }' "$tmp/answers"
    count "$tmp/guest.log" --requests 400 --lines 1 --none any
}

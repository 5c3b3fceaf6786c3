#!/usr/bin/env bats
# shellcheck disable=SC2154 # variables come from bats
#
# The tests that count right, none and wrong ids stand on one program. Here it is shown each kind of mistake.

setup() {
    root=$(cd "$BATS_TEST_DIRNAME/../.." && pwd)
    judge=$root/tests/preload/attribution
    log=$BATS_TEST_TMPDIR/log
    : >"$log"
}

# The ids that request N has to have.
trace_of() {
    printf '7e57%012x%016x' $(($1 * 2654435761 % (1 << 48))) "$1"
}

# record N TRACE [SPAN] [PID]: a line of request N with that trace ('' for none)
record() {
    jq -cn --arg m "n=$1 works" --arg t "$2" --arg s "${3:-00000000000000a$1}" --argjson pid "${4:-1}" \
        '{message: $m, pid: $pid} + if $t == "" then {} else {trace_id: $t, span_id: $s} end' >>"$log"
}

# call N TRACEPARENT...: a call of request N with these headers
call() {
    jq -cn '{n: ($ARGS.positional[0] | tonumber), path: "/", method: "GET",
        headers: [$ARGS.positional[1:][] | ["traceparent", .]]}' --args "$@" >>"$log"
}

# judged STATUS TEXT ARGUMENT...: it exits so, and says so
judged() {
    local wanted=$1 text=$2
    shift 2
    run "$judge" "$@"
    echo "$output"
    [ "$status" -eq "$wanted" ]
    [[ $output == *"$text"* ]]
}

@test "lines with their own ids are right" {
    record 1 "$(trace_of 1)"
    record 2 "$(trace_of 2)"
    judged 0 "right=2 none=0 wrong=0 unnumbered=0 no_record=0 requests=2" count "$log" --requests 2 --lines 1 --least-right 2
}

@test "a line with another's id is wrong, and a failure whatever is allowed" {
    record 1 "$(trace_of 1)"
    record 2 "$(trace_of 1)"
    judged 1 "right=1 none=0 wrong=1" count "$log" --none any
}

@test "a line with an id that nobody has is wrong" {
    record 1 "0af7651916cd43dd8448eb211c80319c"
    judged 1 "wrong=1" count "$log" --none any
}

@test "a line that names two requests is wrong, though it has the id of one" {
    record "1 n=2" "$(trace_of 1)"
    judged 1 "wrong=1" count "$log" --none any
}

@test "a line without an id is none, and a failure beyond what is allowed" {
    record 1 "$(trace_of 1)"
    record 2 ""
    judged 1 "right=1 none=1 wrong=0" count "$log"
    judged 0 "right=1 none=1 wrong=0" count "$log" --none 1
    judged 0 "right=1 none=1 wrong=0" count "$log" --none any
}

@test "a line of no request that has a request's id is wrong" {
    echo '{"message": "tick"}' >>"$log"
    judged 0 "unnumbered=1" count "$log"
    jq -cn --arg t "$(trace_of 3)" '{message: "tick", trace_id: $t}' >>"$log"
    judged 1 "wrong=1 unnumbered=1" count "$log"
    judged 0 "wrong=0 unnumbered=2" count "$log" --unnumbered
}

@test "a line that is no record is counted and a failure" {
    record 1 "$(trace_of 1)"
    echo "n=2 plain" >>"$log"
    judged 1 "no_record=1" count "$log"
}

@test "missing and repeated lines are found" {
    record 1 "$(trace_of 1)"
    record 1 "$(trace_of 1)"
    record 2 "$(trace_of 2)"
    judged 1 "2 requests have not 1 lines" count "$log" --requests 3 --lines 1
    judged 1 "only 3 right" count "$log" --least-right 4
}

@test "lines that come late, or in two parts, are waited for, if that is asked for" {
    record 1 "$(trace_of 1)"
    record 2 "$(trace_of 2)"
    mv "$log" "$log.whole"
    head -c -20 "$log.whole" >"$log"
    judged 1 "no_record=1" count "$log" --requests 2 --lines 1
    head -n 1 "$log.whole" >"$log"
    judged 1 "1 requests have not 1 lines" count "$log" --requests 2 --lines 1 --wait 0.1
    { sleep 0.3 && tail -n 1 "$log.whole" | head -c 30 && sleep 0.3 && tail -n 1 "$log.whole" | tail -c +31; } >>"$log" 3>&- &
    judged 0 "right=2 none=0 wrong=0" count "$log" --requests 2 --lines 1 --wait 60
}

@test "two spans of one request in one process, and the caller's own span, are found" {
    record 1 "$(trace_of 1)" 00000000000000a1
    record 1 "$(trace_of 1)" 00000000000000b1
    judged 1 "one span in one process" count "$log"
    : >"$log"
    record 1 "$(trace_of 1)" ca11e70000000001
    judged 1 "not the server's" count "$log"
}

@test "fresh ids: one that two requests share, and two of one request, are found" {
    record 1 aaaa 01
    record 2 aaaa 02
    judged 1 "ids of several requests" count "$log" --fresh
    : >"$log"
    record 1 aaaa 01
    record 1 bbbb 01
    judged 1 "requests with several ids" count "$log" --fresh
    : >"$log"
    record 1 aaaa 01
    record 2 bbbb 02
    judged 0 "right=2" count "$log" --fresh
}

@test "calls: none, two, another's and the caller's own header are found" {
    local own other
    own=00-$(trace_of 1)-00000000000000a1-01
    other=00-$(trace_of 2)-00000000000000a2-01
    call 1 "$own"
    judged 0 "calls=1 right=1 wrong=0" calls "$log" --requests 1
    : >"$log"
    call 1
    judged 1 "no traceparent" calls "$log" --requests 1
    : >"$log"
    call 1 "$own" "00-$(trace_of 1)-00000000000000b1-01"
    judged 1 "2 traceparents" calls "$log" --requests 1
    : >"$log"
    call 1 "$other"
    judged 1 "another's traceparent" calls "$log" --requests 1
    : >"$log"
    call 1 "00-$(trace_of 1)-ca11e70000000001-01"
    judged 1 "the caller's own parent id" calls "$log" --requests 1
}

@test "calls: missing ones, and a parent id that was used twice, are found" {
    local own
    own=00-$(trace_of 1)-00000000000000a1-01
    call 1 "$own"
    judged 1 "have not 1 calls" calls "$log" --requests 2
    call 1 "$own"
    judged 1 "used for several calls" calls "$log" --requests 1 --each 2
}

@test "the Node clients make the same ids as the others" {
    local n
    for n in 1 77 123456; do
        [ "$(node -p "require('$root/tests/apps/node/trace.js').traceparentOf($n)")" = \
            "00-$(trace_of "$n")-$(printf 'ca11e7%010x' "$n")-01" ]
    done
}

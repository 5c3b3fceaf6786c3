#!/usr/bin/env bats
# shellcheck disable=SC2030,SC2031,SC2154 # each test is a subshell; variables come from servers.bash
#
# The short form of `make attribution`: no line and no call has another request's id, and what is proven has its own. And what
# the experiment says can be believed: it finds wrong ids where there are some.

load servers

setup() {
    servers_setup
}

teardown() {
    servers_teardown
}

attribution() {
    TRACESHIM_BUILD=$build "$here/../../scripts/attribution" --short --json "$tmp/results.json" "$@"
}

@test "pools that a reader thread feeds are never wrong" {
    attribution --only 'pool-*'
}

@test "threads and processes that read what they answer are right, and never wrong" {
    attribution --only 'plain-*'
}

@test "event loops with many requests at work are never wrong" {
    attribution --only 'events-*'
}

@test "where a loop is believed that must not be, the experiment says so" {
    run attribution --only events-pool --set TRACESHIM_LOOP=inline
    echo "$output"
    [ "$status" -eq 1 ]
    [[ $output == *" lines are wrong"* ]]
    jq -e '[.results[].runs[].lines[].wrong] | add > 0' "$tmp/results.json"
}

@test "a line is right only with the ids of the one request that it names" {
    local right span=00000000000000a1
    right=$(/usr/bin/python3 -c 'print(f"7e57{2654435761:012x}{1:016x}")')
    "$programs/attribution_judge" "$tmp/progress" >"$tmp/judged" <<LINES
{"message":"begin n=1","trace_id":"$right","span_id":"$span","pid":7}
{"message":"work n=1","trace_id":"$right","span_id":"00000000000000a2","pid":7}
{"message":"before n=1","trace_id":"$right","pid":7}
{"message":"behind n=1","trace_id":"$right","span_id":"ca11e70000000001","pid":8}
{"message":"begin n=2","span_id":"00000000000000a3","pid":7}
{"message":"begin n=3","trace_id":"$right","span_id":"$span","pid":7}
{"message":"begin n=4","trace_id":"0$right","span_id":"$span","pid":7}
{"message":"begin n=1, not n=2","trace_id":"$right","span_id":"$span","pid":7}
{"message":"no number","trace_id":"$right","span_id":"$span","pid":7}
{"message":"no number"}
begin n=1
GET /?n=20000003 HTTP/1.1
LINES
    jq -ce '.lines == [
        {phase: 0, word: "begin", right: 1, none: 2, wrong: 3},
        {phase: 0, word: "work", right: 0, none: 0, wrong: 1},
        {phase: 0, word: "before", right: 0, none: 0, wrong: 1},
        {phase: 0, word: "behind", right: 0, none: 0, wrong: 1},
        {phase: 2, word: "line", right: 0, none: 1, wrong: 0}] and
        .foreign == 1 and .unnumbered == 2 and .no_record == 2 and .repeated == 2' "$tmp/judged" ||
        { cat "$tmp/judged" && false; }
    [ "$(od -An -tu8 "$tmp/progress" | tr -d ' ')" = 12 ]
}

@test "the bound of what may be wrong is the exact one" {
    cd "$here/../../scripts/attribution.d"
    /usr/bin/python3 -c '
import report
near = lambda seen, trials, wanted: abs(report.upper_bound(seen, trials) / wanted - 1) < 1e-6
assert near(0, 300000, 1 - 0.05 ** (1 / 300000))
assert near(1, 10, 0.39416335)
assert near(5, 100, 0.10225337)
assert report.upper_bound(3, 3) == 1'
}

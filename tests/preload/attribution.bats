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

@test "threads that hand over by memory alone are never wrong, nor are the first of many requests" {
    attribution --only 'spin-*'
}

@test "event loops with many requests at work are never wrong" {
    attribution --only 'events-*'
}

@test "coroutines are right, and never wrong where others answer what they have read" {
    attribution --only 'fibers-*'
}

@test "where a loop is believed that must not be, the experiment says so" {
    run attribution --only events-pool --set TRACESHIM_LOOP=inline
    echo "$output"
    [ "$status" -eq 1 ]
    [[ $output == *"events-pool: FAILED: "*" lines are wrong"*"1 of 1 patterns failed"* ]]
    jq -e '[.results[].runs[].lines[].wrong] | add > 0' "$tmp/results.json"
}

@test "a line is right only with the ids of the one request that it names" {
    local right other span=00000000000000a1
    right=$(/usr/bin/python3 -c 'print(f"7e57{2654435761:012x}{1:016x}")')
    other=$(/usr/bin/python3 -c 'print(f"7e57{4 * 2654435761:012x}{4:016x}")')
    "$programs/attribution_judge" "$tmp/progress" >"$tmp/judged" <<LINES
{"message":"begin n=1","trace_id":"$right","span_id":"$span","pid":7}
{"message":"work n=1","trace_id":"$right","span_id":"00000000000000a2","pid":7}
{"message":"before n=1","trace_id":"$right","pid":7}
{"message":"behind n=1","trace_id":"$right","span_id":"ca11e70000000001","pid":8}
{"message":"begin n=2","span_id":"00000000000000a3","pid":7}
{"message":"begin n=3","trace_id":"$right","span_id":"$span","pid":7}
{"message":"begin n=4","trace_id":"0$right","span_id":"$span","pid":7}
{"message":"by chance like a caller's n=4","trace_id":"$other","span_id":"ca11e78322045bcf","pid":7}
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
        {phase: 0, word: "by", right: 1, none: 0, wrong: 0},
        {phase: 2, word: "line", right: 0, none: 1, wrong: 0}] and
        .foreign == 1 and .unnumbered == 2 and .no_record == 2 and .repeated == 2' "$tmp/judged" ||
        { cat "$tmp/judged" && false; }
    [ "$(od -An -tu8 "$tmp/progress" | tr -d ' ')" = 13 ]
}

@test "of requests that carry no ids, each must have one of its own" {
    local one=0af7651916cd43dd8448eb211c80319c other=1111111111111111111111111111111a
    "$programs/attribution_judge" "$tmp/progress" fresh >"$tmp/judged" <<LINES
{"message":"<24 ms n=1 3 k","trace_id":"$one"}
{"message":"<24 mg n=1 k v","trace_id":"$one"}
{"message":"<24 ms n=2 3 k","trace_id":"$other"}
{"message":"<24 mg n=2 k v","trace_id":"$one"}
{"message":"<24 ms n=3 3 k"}
{"message":"<24 ms n=4 3 k","trace_id":"$other"}
{"message":"24: Client using the ascii protocol","trace_id":"$other"}
LINES
    jq -ce '.lines == [
        {phase: 0, word: "ms", right: 3, none: 1, wrong: 0},
        {phase: 0, word: "mg", right: 1, none: 0, wrong: 1}] and
        .shared == 1 and .foreign == 0 and .repeated == 0 and .phases_seen[0].told == 3' "$tmp/judged" ||
        { cat "$tmp/judged" && false; }
}

@test "a line in two records is one line, and its end must be the same request's" {
    local right other
    right=$(/usr/bin/python3 -c 'print(f"7e57{2654435761:012x}{1:016x}")')
    other=$(/usr/bin/python3 -c 'print(f"7e57{2 * 2654435761:012x}{2:016x}")')
    "$programs/attribution_judge" "$tmp/progress" >"$tmp/judged" <<LINES
{"message":"begin n=1","trace_id":"$right","span_id":"00000000000000a1","pid":1,"tid":5,"partial":true}
{"message":"begin n=2","trace_id":"$other","span_id":"00000000000000a2","pid":1,"tid":6,"partial":true}
{"message":"","trace_id":"$right","span_id":"00000000000000a1","pid":1,"tid":5,"partial":true,"partial_last":true}
{"message":"","trace_id":"$right","span_id":"00000000000000a1","pid":1,"tid":6,"partial":true,"partial_last":true}
{"message":"","pid":1,"tid":6,"partial":true,"partial_last":true}
LINES
    jq -ce '.lines == [{phase: 0, word: "begin", right: 2, none: 0, wrong: 0}] and .foreign == 1 and .unnumbered == 0' "$tmp/judged" ||
        { cat "$tmp/judged" && false; }
    [ "$(od -An -tu8 "$tmp/progress" | tr -d ' ')" = 2 ]
    # Where more threads are at a line than there is room for, its end does not say that it is one; and it ends one line only.
    "$programs/attribution_judge" "$tmp/more" >"$tmp/judged" <<LINES
{"message":"begin n=1","trace_id":"$right","span_id":"00000000000000a1","pid":1,"tid":5,"partial":true}
{"message":"begin n=2","trace_id":"$other","span_id":"00000000000000a2","pid":1,"tid":6,"partial":true}
{"message":"","trace_id":"$right","span_id":"00000000000000a1","pid":1,"tid":5}
{"message":"","trace_id":"$right","span_id":"00000000000000a1","pid":1,"tid":5}
{"message":"","trace_id":"$right","span_id":"00000000000000a1","pid":1,"tid":6}
LINES
    jq -ce '.lines == [{phase: 0, word: "begin", right: 2, none: 0, wrong: 0}] and .foreign == 2 and .unnumbered == 1' "$tmp/judged" ||
        { cat "$tmp/judged" && false; }
    [ "$(od -An -tu8 "$tmp/more" | tr -d ' ')" = 3 ]
}

@test "every lie of a server is found, in lines before and behind the answer and in calls, and no other" {
    cd "$here/../../scripts/attribution.d"
    PYTHONDONTWRITEBYTECODE=1 /usr/bin/python3 - "$here/../.." "$build" <<'PROGRAM'
import pathlib, sys
import patterns, report, run

WANTED = {"begin": "lines are wrong", "middle": "lines are wrong", "before": "lines are wrong", "after": "lines are wrong",
          "background": "lines are wrong", "span": "lines are wrong", "caller": "lines are wrong", "shared": "have one id",
          "twice": "lines came twice", "lost": "lines, wanted", "call": "calls are wrong", "parent": "calls are wrong",
          "parents": "two calls have the parent id", "nothing": ""}
failed = []
run.QUIET_S = 1
with run.Bench(pathlib.Path(sys.argv[1]).resolve(), pathlib.Path(sys.argv[2]), {}) as bench:
    for lie, wanted in WANTED.items():
        liar = patterns.Pattern("liar", "", "", patterns.script("/usr/bin/python3", "liar.py", lie), lines=5)
        errors = " ".join(report.judge(liar, run.attribute(bench, liar, 200, True)))
        if wanted not in errors or (not wanted and errors):
            failed.append(f"{lie}: {errors}")
sys.exit("\n".join(failed) or 0)
PROGRAM
}

@test "a server that the object is not in is an error, whatever is asked of it" {
    ln -s "$build/tests" "$tmp/tests"
    touch "$tmp/libtraceshim.so"
    run env TRACESHIM_BUILD="$tmp" "$here/../../scripts/attribution" --short --json "$tmp/results.json" --only events-timers \
        --only pool-fifo-pointer --requests 100
    echo "$output"
    [ "$status" -eq 1 ]
    [[ $output == *"the object is not in the server"* ]]
}

@test "experiments at the same time take ports of their own, and give them back" {
    PYTHONPATH="$here/../../scripts/attribution.d" /usr/bin/python3 - <<'END'
import random
import run

def take():
    random.seed(1)
    return run.reserve_ports()

first, second = take(), take()
assert not set(first[:2]) & set(second[:2])
again = first[:2]
first[2].close()
assert take()[:2] == again
END
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

@test "a cost that so few requests do not tell is said to be unmeasured, and is no failure" {
    run env TRACESHIM_BUILD="$build" "$here/../../scripts/attribution" --json "$tmp/results.json" --only python-threads \
        --requests 320 --pairs 1
    echo "$output"
    [ "$status" -eq 0 ]
    [[ $output == *"python-threads: not measured: its cost: 16 requests "*": too few"*"all 1 patterns hold"* ]]
    jq -e '.results[0] | .errors == [] and .cost == null' "$tmp/results.json"
}

@test "a cost is given with the bounds of its median" {
    cd "$here/../../scripts/attribution.d"
    PYTHONDONTWRITEBYTECODE=1 /usr/bin/python3 -c '
import run
assert run.summary([3, 1, 2]) == {"median": 2, "least": 1, "most": 3}
# 21 tosses of a coin: fewer than 6 heads, or tails, in 2.7 % of the cases; fewer than 7 in 7.8 %.
assert run.summary([*range(21, 0, -1)]) == {"median": 11, "least": 6, "most": 16}'
}

@test "validated pools are given what evidence says, and their cost is over that of the same pools without" {
    cd "$here/../../scripts/attribution.d"
    PYTHONDONTWRITEBYTECODE=1 /usr/bin/python3 - "$here/../.." "$build" <<'PROGRAM'
import pathlib, sys
import patterns, run

found = {pattern.name: pattern for pattern in patterns.PATTERNS}
with run.Bench(pathlib.Path(sys.argv[1]).resolve(), pathlib.Path(sys.argv[2]), {}) as bench:
    for settings, objects in (found["validated-pool-fifo-value"].settings, 2), (found["validated-pool-fifo-value"].base, 1):
        env = bench.environment(bench.tmp, settings)
        assert len(env["LD_PRELOAD"].split(":")) == objects, env["LD_PRELOAD"]
        assert env.get("TRACESHIM_ATTRIBUTION", "proven") == ("validated" if objects == 2 else "proven")
    assert "LD_PRELOAD" not in bench.environment(bench.tmp, found["pool-fifo-value"].base)
    run.LEAST_S = 0.01
    spent = run.cost(bench, found["validated-pool-fifo-value"], 1, 4000)
    assert spent["pairs"] == 1 and 0 < spent["processor"]["median"]
PROGRAM
}

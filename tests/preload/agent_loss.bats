#!/usr/bin/env bats
# shellcheck disable=SC2030,SC2031,SC2154 # each test is a subshell; variables come from agent.bash
# What must not be lost, whatever happens to the agent, its descriptors, its disk or a single request.

bats_require_minimum_version 1.5.0
load agent

setup() {
    agent_setup
}

teardown() {
    exec 5>&-
    agent_teardown
}

kill_agent() {
    kill -KILL "$agent"
    wait "$agent" || true
}

# numbers: those of the spans at the receiver, each once
numbers() {
    jq -r '.traceId[16:]' "$got/spans" | sort | uniq -c
}

nothing_waits() {
    [ -z "$(find "$run_dir/spool-$(id -u)" -type f)" ]
}

@test "an agent that is killed has lost nothing: neither a batch that was not full, nor what waited for a back end" {
    port=$(free_port)
    OTEL_BSP_SCHEDULE_DELAY=600000 OTEL_BSP_MAX_EXPORT_BATCH_SIZE=100 agent --otlp "http://127.0.0.1:$port" "${fast[@]}" --metrics 127.0.0.1:0
    mkfifo "$tmp/stdin"
    "$writer" "$run_dir" spans=1050 end=stay <"$tmp/stdin" >"$tmp/wrote" 3>&- &
    started+=("$!")
    exec 5>"$tmp/stdin"
    "$writer" "$run_dir" first=1051 spans=30
    eventually eval "[ \"\$(find '$run_dir/spool-$(id -u)' -name 'traces-*' | wc -l)\" -ge 10 ]"
    kill_agent
    receive
    agent --otlp "$url" "${fast[@]}"
    exec 5>&-
    eventually no_rings
    stop_agent
    [ ! -s "$got/wrong" ]
    numbers | awk '{ of[$1]++ } END { for (n in of) print of[n] " spans came " n " times" }'
    [ "$(numbers | awk '$1 == 1' | wc -l)" -eq 1080 ]
    [ "$(numbers | awk '$1 > 1' | wc -l)" -eq 0 ]
}

@test "agents that are killed again and again lose nothing of what programs write meanwhile" {
    receive
    kills=${FULL:+6}
    kills=${kills:-3}
    writers=()
    for i in $(seq "$kills"); do
        "$writer" "$run_dir" spans=1500 first=$((1500 * (i - 1) + 1)) >/dev/null 3>&- &
        started+=("$!")
        writers+=("$!")
        before=$(wc -l 2>/dev/null <"$got/spans" || echo 0)
        agent --otlp "$url" "${fast[@]}"
        eventually lines_in $((before + 300 * i)) "$got/spans"
        kill_agent
    done
    agent --otlp "$url" "${fast[@]}"
    wait "${writers[@]}" # one that has not begun has no ring
    eventually no_rings
    eventually nothing_waits
    stop_agent
    [ "$(numbers | wc -l)" -eq $((1500 * kills)) ]
    echo "$(numbers | awk '$1 > 1' | wc -l) spans came twice"
    # Of a request that was on its way the receiver may have got a part.
    cat "$got/wrong" || : >"$got/wrong"
    [ "$(grep -vc 'it ends early$' "$got/wrong")" -eq 0 ]
    [ "$(wc -l <"$got/wrong")" -le $((2 * kills)) ]
    # What was on its way when the agent was killed is sent again: a request a kill, and what was read behind it.
    [ "$(numbers | awk '$1 > 1' | wc -l)" -le $((kills * 3 * 512)) ]
}

@test "a killed agent's file has whole lines, and the next one's come behind them" {
    printf '{"resourceSpans":[{"half' >"$tmp/spans.jsonl"
    agent --spans "$tmp/spans.jsonl"
    "$writer" "$run_dir" spans=5
    eventually no_rings
    stop_agent
    [ "$(tail -n +2 "$tmp/spans.jsonl" | jq -s '[.[].resourceSpans[].scopeSpans[].spans[]] | length')" -eq 5 ]
}

@test "a request at which the back end breaks off each time is dropped and counted, and the line goes on" {
    receive cut-at:ab00000000000000000000000000002a
    OTEL_BSP_SCHEDULE_DELAY=600000 OTEL_BSP_MAX_EXPORT_BATCH_SIZE=10 agent --otlp "$url" --retry-delay 1
    "$writer" "$run_dir" spans=200
    eventually lines_in 190 "$got/spans"
    stop_agent
    said "it is dropped (10 spans)"
    said "spans: 190 sent, 0 refused by the back end, 10 dropped"
    [ "$(numbers | wc -l)" -eq 190 ]
    [ ! -s "$got/wrong" ]
}

@test "a back end that breaks off at everything is no request's fault: all waits for it" {
    # more often than a single request is believed for
    receive cut cut cut cut cut cut cut cut cut cut cut cut cut cut cut cut 200
    OTEL_BSP_MAX_EXPORT_BATCH_SIZE=10 agent --otlp "$url" --retry-delay 1
    "$writer" "$run_dir" spans=50
    eventually lines_in 50 "$got/spans"
    stop_agent
    [ "$(numbers | wc -l)" -eq 50 ]
    said "it is dropped" 0
}

@test "files that may not grow are a full disk: nothing ends or is lost, and both ends of that are told" {
    port=$(free_port)
    : >"$tmp/ready"
    # Full batches alone: a small one has room.
    OTEL_BSP_SCHEDULE_DELAY=600000 OTEL_BSP_MAX_EXPORT_BATCH_SIZE=100 prlimit --fsize=10000: "$traceshim" agent --run-dir "$run_dir" --ready-fd 6 --otlp "http://127.0.0.1:$port" \
        "${fast[@]}" --spans "$tmp/spans.jsonl" </dev/null >"$tmp/agent.out" 2>"$tmp/agent.err" 3>&- 6>"$tmp/ready" &
    agent=$!
    started+=("$agent")
    eventually test -s "$tmp/ready"
    "$writer" "$run_dir" spans=500
    eventually said "requests cannot be kept on disk: File too large"
    eventually said "spans.jsonl cannot be written: File too large"
    prlimit --pid "$agent" --fsize=unlimited:
    "$writer" "$run_dir" spans=100 first=501
    eventually said "requests are kept on disk again"
    eventually said "spans.jsonl can be written again; 0 items were dropped meanwhile"
    receive
    eventually lines_in 600 "$got/spans"
    stop_agent
    received 600
    [ "$(jq -s '[.[].resourceSpans[].scopeSpans[].spans[]] | length' "$tmp/spans.jsonl")" -eq 600 ]
}

@test "more rings than descriptors wait for their turn" {
    for i in $(seq 0 59); do
        "$writer" "$run_dir" spans=2 first=$((2 * i + 1)) capacity=65536 >/dev/null
    done
    receive
    : >"$tmp/ready"
    prlimit --nofile=40 "$traceshim" agent --run-dir "$run_dir" --ready-fd 6 --otlp "$url" </dev/null >"$tmp/agent.out" 2>"$tmp/agent.err" \
        3>&- 6>"$tmp/ready" &
    agent=$!
    started+=("$agent")
    eventually no_rings
    stop_agent
    [ "$(numbers | wc -l)" -eq 120 ]
}

@test "more rings of living programs than descriptors: those that wait are told, none is taken for dead" {
    mkfifo "$tmp/stdin"
    for i in $(seq 0 39); do
        "$writer" "$run_dir" spans=2 first=$((2 * i + 1)) capacity=65536 end=stay <"$tmp/stdin" >>"$tmp/wrote" 3>&- &
        started+=("$!")
    done
    exec 5>"$tmp/stdin"
    eventually lines_in 40 "$tmp/wrote"
    : >"$tmp/ready"
    port=$(free_port)
    prlimit --nofile=40 "$traceshim" agent --run-dir "$run_dir" --ready-fd 6 --spans "$tmp/spans.jsonl" --metrics "127.0.0.1:$port" \
        </dev/null >"$tmp/agent.out" 2>"$tmp/agent.err" 3>&- 5>&- 6>"$tmp/ready" &
    agent=$!
    started+=("$agent")
    # Visitors that stay take descriptors, too.
    eventually test -s "$tmp/ready"
    for i in 1 2 3 4 5 6 7 8; do
        eval "exec $((10 + i))<>/dev/tcp/127.0.0.1/$port"
    done
    eventually said "the rest has to wait (more descriptors help: ulimit -n)"
    eventually eval "curl -s http://127.0.0.1:$port/metrics | grep -qx 'traceshim_agent_rings 20'"
    [ "$(find "$run_dir" -name '*.ring' | wc -l)" -eq 40 ]
    for i in 1 2 3 4 5 6 7 8; do
        eval "exec $((10 + i))>&-"
    done
    exec 5>&-
    eventually no_rings
    stop_agent
    [ "$(grep -o startTimeUnixNano "$tmp/spans.jsonl" | wc -l)" -eq 80 ]
}

@test "what a process that was killed had begun to make is swept up, what a living one makes is left" {
    sleep 600 3>&- &
    lives=$!
    started+=("$lives")
    ticks=$(awk '{ sub(/.*\) /, ""); print $20 }' "/proc/$lives/stat")
    : >"$run_dir/$lives-$ticks-0.ring.new"
    : >"$run_dir/$lives-1-0.ring.new"
    : >"$run_dir/999999999-5-0.ring.new"
    : >"$run_dir/mine.ring.new"
    agent --spans "$tmp/spans.jsonl"
    eventually test ! -e "$run_dir/999999999-5-0.ring.new"
    eventually test ! -e "$run_dir/$lives-1-0.ring.new"
    stop_agent
    [ -e "$run_dir/$lives-$ticks-0.ring.new" ]
    [ -e "$run_dir/mine.ring.new" ]
}

# piped_agent OPTION...: one whose standard output is a pipe, which somebody has open by now
piped_agent() {
    : >"$tmp/ready"
    "$traceshim" agent --run-dir "$run_dir" --ready-fd 6 --spans - "$@" </dev/null >"$tmp/pipe" 2>"$tmp/agent.err" 3>&- 6>"$tmp/ready" &
    agent=$!
    started+=("$agent")
    eventually test -s "$tmp/ready"
}

@test "nobody reads the agent's standard output: rings, back ends and signals are served all the same, and nothing is torn" {
    receive
    mkfifo "$tmp/pipe"
    sleep 600 <>"$tmp/pipe" 3>&- &
    started+=("$!")
    piped_agent --otlp "$url" "${fast[@]}" --flush-timeout 100
    "$writer" "$run_dir" spans=2000
    eventually lines_in 2000 "$got/spans"
    eventually no_rings
    stop_agent
    received 2000
    said "- cannot be written" 0
    grep -q 'bytes could not be written' "$tmp/agent.err"
}

@test "a slow reader of the agent's standard output gets all of it, up to its end" {
    mkfifo "$tmp/pipe"
    /usr/bin/python3 - "$tmp" 3>&- <<'PY' &
import os, sys, time
pipe = open(sys.argv[1] + "/pipe", "rb", buffering=0)
while not os.path.exists(sys.argv[1] + "/go"):
    time.sleep(0.01)
with open(sys.argv[1] + "/all", "wb") as out:
    while some := pipe.read(3000):
        out.write(some)
PY
    reader=$!
    started+=("$reader")
    piped_agent
    "$writer" "$run_dir" spans=2000
    eventually no_rings
    : >"$tmp/go"
    stop_agent
    wait "$reader"
    [ "$(jq -s '[.[].resourceSpans[].scopeSpans[].spans[]] | length' "$tmp/all")" -eq 2000 ]
    [ ! -s "$tmp/agent.err" ]
}

@test "an agent whose standard output nobody can read any more ends" {
    mkfifo "$tmp/pipe"
    head -c 10 "$tmp/pipe" >"$tmp/begin" 3>&- &
    piped_agent
    "$writer" "$run_dir" spans=10
    wait "$agent"
    [ ! -s "$tmp/agent.err" ]
}

@test "the end of its terminal is a reason to end in order" {
    receive
    OTEL_BSP_SCHEDULE_DELAY=600000 agent --otlp "$url"
    "$writer" "$run_dir" spans=10
    kill -HUP "$agent"
    wait "$agent"
    received 10
}

@test "status tells what no agent has fetched, and removes it after a week; what living programs write is left" {
    mkfifo "$tmp/stdin"
    "$writer" "$run_dir" spans=3 end=stay <"$tmp/stdin" >"$tmp/wrote" 3>&- &
    started+=("$!")
    exec 5>"$tmp/stdin"
    eventually grep -q 3 "$tmp/wrote"
    lives=$(echo "$run_dir"/*.ring)
    for _ in 1 2 3; do "$writer" "$run_dir" spans=3 end=mark >/dev/null; done
    run "$traceshim" status
    [[ $output == *"3 rings of programs that have ended ("*" KiB) wait for"* ]]
    [ "$(find "$run_dir" -name '*.ring' | wc -l)" -eq 4 ]
    touch -d '8 days ago' "$run_dir"/*.ring
    run "$traceshim" status
    [[ $output == *"3 rings that nobody fetched for 7 days were removed"* ]]
    [ "$(echo "$run_dir"/*.ring)" = "$lives" ]
}

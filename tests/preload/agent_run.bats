#!/usr/bin/env bats
# shellcheck disable=SC2016,SC2030,SC2031,SC2154 # $0 is for the guest; each test is a subshell; variables come from agent.bash
# `traceshim run --spans`: an agent beside a program that must not notice it; `view` and `tail`: what it wrote, for people.

bats_require_minimum_version 1.5.0
load agent

setup() {
    agent_setup
    unset TRACESHIM_RUN_DIR
    export TMPDIR=$tmp/tmp
    mkdir "$TMPDIR"
    spans=$tmp/spans.jsonl
}

teardown() {
    exec 5>&-
    agent_teardown
}

# finished FILE: the agent that writes it has ended
finished() {
    eventually flock -sn "$1" true
}

count() { # count FILE: spans in it
    grep -o '"startTimeUnixNano"' "$1" | wc -l
}

@test "run with an export is still the program: pid, exit status, children, descriptors, session" {
    "$traceshim" run --spans "$spans" -- sh -c 'echo $$ >"$0"; exit 42' "$tmp/pid" 3>&- &
    pid=$!
    status=0
    wait "$pid" || status=$?
    [ "$status" -eq 42 ]
    [ "$(cat "$tmp/pid")" -eq "$pid" ]
    run "$traceshim" run --spans "$tmp/b" -- sh -c 'kill -TERM $$'
    [ "$status" -eq 143 ]
    # The program has no child that it did not make, and nothing open that it would not have without an agent.
    # (Not through a pipe, which the shell itself has open for a moment.)
    look='ls /proc/$$/fd >"$0"; cut -d" " -f5,6 /proc/$$/stat >>"$0"; cat /proc/$$/task/$$/children >>"$0"; :'
    "$traceshim" run -- sh -c "$look" "$tmp/bare" 3>&-
    "$traceshim" run --spans "$tmp/c" -- sh -c "$look" "$tmp/with" 3>&-
    [ "$(head -n -1 "$tmp/bare" | grep -v ' ')" = "$(head -n -1 "$tmp/with" | grep -v ' ')" ]
    [ "$(wc -w <"$tmp/with")" -eq "$(wc -w <"$tmp/bare")" ]
}

@test "a program without standard descriptors has an agent too, and no message of the agent's gets into its files" {
    look='"$0" "$TRACESHIM_RUN_DIR" spans=3 >"$1"; ls /proc/$$/fd >>"$1"; :'
    for closed in '<&-' '>&-' '2>&-' '<&- >&-' '<&- >&- 2>&-'; do
        rm -f "$spans"
        eval "'$traceshim' run --spans '$spans' -- sh -c '$look' '$writer' '$tmp/saw' 3>&- $closed"
        finished "$spans"
        [ "$(count "$spans")" -eq 3 ]
        head -n 1 "$tmp/saw" | grep -qx '3 0 0'
        # What was closed is closed for the program, but for what it opens itself.
        eval "sh -c '$look' echo '$tmp/bare' 3>&- $closed"
        [ "$(sed 1d "$tmp/saw")" = "$(sed 1d "$tmp/bare")" ]
    done
    : >"$run_dir/1-1-0.ring"
    "$traceshim" agent --run-dir "$run_dir" --spans "$spans" --ready-fd 6 6>"$tmp/ready" 3>&- <&- >&- 2>&- &
    agent=$!
    started+=("$agent")
    eventually test -s "$tmp/ready"
    kill -TERM "$agent"
    wait "$agent"
    jq -e . "$spans" >/dev/null
    [ ! -s "$run_dir/1-1-0.ring" ]
}

@test "spans of the whole tree are in the file once the program has ended, and the folder is gone" {
    "$traceshim" run --spans "$spans" -- sh -c '"$0" "$TRACESHIM_RUN_DIR" spans=100 lines=10; "$0" "$TRACESHIM_RUN_DIR" spans=50 first=101 end=kill; :' "$writer" 3>&-
    finished "$spans"
    [ "$(count "$spans")" -eq 150 ]
    [ -z "$(ls -A "$TMPDIR")" ]
}

@test "the agent stays for what goes on behind the program's end, and ends with it" {
    mkfifo "$tmp/stdin"
    "$traceshim" run --spans "$spans" -- sh -c '"$0" "$TRACESHIM_RUN_DIR" spans=5 end=stay <"$1" >/dev/null 2>&1 & :' "$writer" "$tmp/stdin" 3>&-
    exec 5>"$tmp/stdin"
    eventually grep -q startTimeUnixNano "$spans"
    run flock -sn "$spans" true
    [ "$status" -eq 1 ]
    exec 5>&-
    finished "$spans"
    [ "$(count "$spans")" -eq 5 ]
    eventually eval "[ -z \"\$(ls -A '$TMPDIR')\" ]"
}

@test "a signal for the whole service ends the agent behind the program, whose last spans it waits for" {
    "$traceshim" run --spans "$spans" -- sh -c 'trap "\"$0\" \"\$TRACESHIM_RUN_DIR\" spans=5; exit 0" TERM; : >"$1"; while :; do sleep 0.05; done' \
        "$writer" "$tmp/up" >"$tmp/out" 2>&1 3>&- &
    pid=$!
    started+=("$pid")
    eventually test -e "$tmp/up"
    beside=$(pgrep -f -- "--for-pid $pid ")
    kill -TERM "$beside"
    sleep 0.3
    kill -0 "$beside"
    kill -TERM "$pid"
    wait "$pid"
    finished "$spans"
    [ "$(count "$spans")" -eq 5 ]
}

@test "an agent that cannot start is said, and the program is not run" {
    run "$traceshim" run --spans /no/such/folder/file -- touch "$tmp/ran"
    [ "$status" -eq 125 ]
    [[ $output == *"/no/such/folder/file cannot be written"* ]]
    [ ! -e "$tmp/ran" ]
    [ -z "$(ls -A "$TMPDIR")" ]
}

@test "a folder that was named is used, and left; one that is served already is said" {
    export TRACESHIM_RUN_DIR=$run_dir
    "$traceshim" run --spans "$spans" -- sh -c '"$0" "$TRACESHIM_RUN_DIR" spans=3' "$writer" 3>&-
    finished "$spans"
    [ "$(count "$spans")" -eq 3 ]
    [ -d "$run_dir" ]
    # The agent lets go of the folder behind its last file.
    eventually flock -n "$run_dir/agent-$(id -u).lock" true
    agent --spans "$tmp/other"
    run "$traceshim" run --spans "$spans" -- true
    [ "$status" -eq 125 ]
    [[ $output == *"another agent serves $run_dir already"* ]]
}

@test "a folder that the object ignores is none for the agent either, and that is told" {
    cd "$tmp"
    for wrong in folder "/$(printf '%0256d' 0)"; do
        export TRACESHIM_RUN_DIR=$wrong
        "$traceshim" run --spans "$spans" -- sh -c '"$0" "$TRACESHIM_RUN_DIR" spans=3' "$writer" 2>"$tmp/err" 3>&-
        finished "$spans"
        [ "$(count "$spans")" -eq 3 ]
        [ "$(cat "$tmp/err")" = "traceshim: warning: TRACESHIM_RUN_DIR=${wrong:0:40} is ignored: it must be an absolute path, of at most 255 bytes" ]
        rm "$spans"
    done
    [ ! -e folder ]
    run "$traceshim" status "$$"
    [ "$status" -eq 1 ]
    [ "$(grep -c 'TRACESHIM_RUN_DIR=.* is ignored' <<<"$output")" -eq 1 ]
}

@test "what a back end did not take by the end of the run is kept, and told where" {
    port=$(free_port)
    "$traceshim" run --otlp "http://127.0.0.1:$port" -- sh -c '"$0" "$TRACESHIM_RUN_DIR" spans=100' "$writer" 2>"$tmp/err" 3>&-
    eventually grep -q 'wait in' "$tmp/err"
    folder=$(sed -n 's/.*--run-dir \(.*\))/\1/p' "$tmp/err")
    receive
    run_dir=$folder agent --otlp "$url" "${fast[@]}"
    eventually lines_in 100 "$got/spans"
    stop_agent
    received 100
}

# ---- view and tail ----------------------------------------------------------------------------------------------------

# write_trace FILE: a request through two services, one call failing
write_trace() {
    /usr/bin/python3 - >"$1" <<'PY'
import json
T, base = "0af7651916cd43dd8448eb211c80319c", 1700000000_000000000
def span(id, parent, name, kind, start, end, status, **more):
    at = [{"key": "http.response.status_code", "value": {"intValue": str(status)}}] if status else []
    at += [{"key": k, "value": {"stringValue": v}} for k, v in more.items()]
    s = {"traceId": T, "spanId": id, "name": name, "kind": kind, "attributes": at, "status": {"code": 2} if status >= 500 or "error.type" in more else {},
         "startTimeUnixNano": str(base + start), "endTimeUnixNano": str(base + end)}
    return {**s, "parentSpanId": parent} if parent else s
def batch(service, spans): return {"resourceSpans": [{"resource": {"attributes": [{"key": "service.name", "value": {"stringValue": service}}]},
                                   "scopeSpans": [{"spans": spans}]}]}
def lines(service, *of): return {"resourceLogs": [{"resource": {"attributes": [{"key": "service.name", "value": {"stringValue": service}}]},
    "scopeLogs": [{"logRecords": [{"timeUnixNano": str(base + t), "severityText": s, "body": {"stringValue": text}, "traceId": T, "spanId": id} for t, s, text, id in of]}]}]}
M = 1000000
print(json.dumps(batch("stock", [span("00000000000000c3", "00000000000000b2", "GET", 2, 40*M, 90*M, 503, **{"url.path": "/stock"})])))
print("this is no JSON")
print(json.dumps(batch("shop", [span("00000000000000b2", "00000000000000a1", "GET", 3, 30*M, 95*M, 503, **{"url.full": "http://stock/stock"}),
                                span("00000000000000a1", "", "GET /buy", 2, 0, 100*M, 200, **{"url.path": "/buy"})])))
print(json.dumps(lines("shop", (10*M, "INFO", "buying", "00000000000000a1"), (97*M, "ERROR", "stock says \x1b[31mno", "00000000000000a1"))))
print(json.dumps(lines("stock", (50*M, "", "empty", "00000000000000c3"))))
PY
}

@test "view draws who called whom, when, and what was logged meanwhile" {
    write_trace "$spans"
    run --separate-stderr "$traceshim" view --width 100 "$spans"
    [ "$status" -eq 0 ]
    [ "$output" = "trace 0af7651916cd43dd8448eb211c80319c  3 spans, 3 lines, 100 ms, 2 errors
shop: GET /buy 200 /buy                                   100 ms |=================================|
  +10.0 ms INFO: buying
  > shop: GET 503 ERROR http://stock/stock               65.0 ms |         ----------------------  |
    stock: GET 503 ERROR /stock                          50.0 ms |             =================   |
      +50.0 ms empty
  +97.0 ms ERROR: stock says \\x1b[31mno" ]
    [[ $stderr == *"line 2 is not OTLP JSON"* ]]
}

@test "view of a file that is none of traces says so, and not once for each line" {
    for ((i = 0; i < 200; i++)); do echo "line $i"; echo; done >"$spans"
    run "$traceshim" view "$spans"
    [ "$status" -eq 1 ]
    [ "${#lines[@]}" -eq 5 ]
    [[ ${lines[3]} == "traceshim: view: 200 of 400 lines are not OTLP JSON"* ]]
}

@test "view finds a trace by the begin of its id, and traces with errors" {
    write_trace "$spans"
    "$traceshim" run --spans "$tmp/more" -- sh -c '"$0" "$TRACESHIM_RUN_DIR" spans=2' "$writer" 3>&-
    finished "$tmp/more"
    cat "$tmp/more" >>"$spans"
    [ "$("$traceshim" view "$spans" 2>/dev/null | grep -c ^trace)" -eq 3 ]
    [ "$("$traceshim" view --trace 0AF7 "$spans" 2>/dev/null | grep -c ^trace)" -eq 1 ]
    [ "$("$traceshim" view --errors <"$spans" 2>/dev/null | grep -c ^trace)" -eq 1 ]
    run "$traceshim" view --trace ffff "$spans"
    [ "$status" -eq 1 ]
    [ "$output" = "$(printf 'traceshim: view: line 2 is not OTLP JSON, and is left out\ntraceshim: view: no trace ffff there')" ]
    run "$traceshim" view --errors "$tmp/more"
    [ "$status" -eq 1 ]
    [ "$output" = "traceshim: view: no trace with an error there" ]
}

@test "view and tail tell what cannot be read, and tail refuses options that only view has" {
    for sub in view tail; do
        run timeout 20 "$traceshim" "$sub" "$tmp"
        [ "$status" -eq 1 ]
        [ "$output" = "traceshim: $sub: $tmp: Is a directory" ]
    done
    : >"$spans"
    for option in --errors --trace=1 --width=9; do
        run timeout 20 "$traceshim" tail "$option" "$spans"
        [ "$status" -eq 2 ]
        [ "$output" = "traceshim: tail: unknown option, or one that takes no argument: '$option'; see \`traceshim tail --help\`" ]
    done
    run "$traceshim" tail --color purple "$spans"
    [ "$status" -eq 2 ]
    [ "$output" = "traceshim: tail: --color is always, never or auto" ]
}

@test "view and tail show no byte of a file's that a terminal would obey" {
    write_trace "$tmp/trace"
    sed 's/"severityText": "[A-Z]*"/"severityText": "\\u001b[2J\\u0007"/' "$tmp/trace" >"$spans"
    grep -qF '"severityText": "\u001b[2J\u0007"' "$spans"
    "$traceshim" view "$spans" >"$tmp/out" 2>/dev/null
    grep -qF '\x1b[2J: buying' "$tmp/out"
    [ "$(grep -c '[[:cntrl:]]' "$tmp/out")" -eq 0 ]
    : >"$tmp/grows"
    "$traceshim" tail "$tmp/grows" >"$tmp/tail" 3>&- &
    started+=("$!")
    cat "$spans" >>"$tmp/grows"
    eventually lines_in 6 "$tmp/tail"
    [ "$(grep -c '[[:cntrl:]]' "$tmp/tail")" -eq 0 ]
}

@test "view colours for terminals only, and draws at any width" {
    write_trace "$spans"
    [ "$("$traceshim" view "$spans" 2>/dev/null | grep -c $'\033')" -eq 0 ]
    [ "$("$traceshim" view --color always "$spans" 2>/dev/null | grep -c $'\033')" -gt 3 ]
    for width in 1 50 79 400; do
        "$traceshim" view --width "$width" "$spans" 2>/dev/null | grep -q 'shop: GET'
    done
}

@test "view draws spans that are their own parents, and each once" {
    /usr/bin/python3 - >"$spans" <<'PY'
import json
def span(id, parent): return {"traceId": "1" * 32, "spanId": id * 16, "parentSpanId": parent * 16, "name": "n" + id, "kind": 2,
                              "startTimeUnixNano": "5", "endTimeUnixNano": "4"}
print(json.dumps({"resourceSpans": [{"scopeSpans": [{"spans": [span("a", "a"), span("b", "c"), span("c", "b"), {}, "x", 7]}]}]}))
PY
    "$traceshim" view "$spans" >"$tmp/out"
    for name in na nb nc; do [ "$(grep -c ": $name" "$tmp/out")" -eq 1 ]; done
}

@test "view tells when a line came however deep it stands, in a wide terminal too" {
    /usr/bin/python3 - >"$spans" <<'PY'
import json
spans = [{"traceId": "0" * 31 + "1", "spanId": f"{i:016x}", "parentSpanId": f"{i - 1:016x}", "name": f"s{i}", "kind": 2,
          "startTimeUnixNano": str(10**18 + i), "endTimeUnixNano": str(10**18 + 10**9)} for i in range(1, 38)]
print(json.dumps({"resourceSpans": [{"scopeSpans": [{"spans": spans}]}]}))
print(json.dumps({"resourceLogs": [{"scopeLogs": [{"logRecords": [{"timeUnixNano": str(10**18 + 500000000), "severityText": "ERROR",
      "body": {"stringValue": "deep"}, "traceId": "0" * 31 + "1", "spanId": f"{37:016x}"}]}]}]}))
PY
    run --separate-stderr "$traceshim" view --width 400 "$spans"
    [ "$status" -eq 0 ]
    [[ $output == *" +500 ms ERROR: deep"* ]]
}

@test "view draws a trace of a hundred thousand spans and lines, each below its own" {
    /usr/bin/python3 - >"$spans" <<'PY'
import json
T = "1" * 32
def span(n, parent): return {"traceId": T, "spanId": "%016x" % n, "parentSpanId": parent and "%016x" % parent, "name": "n%d" % n, "kind": 2,
                             "startTimeUnixNano": str(1000 * n), "endTimeUnixNano": str(1000 * n + 500)}
def line(n): return {"timeUnixNano": str(1000 * n + 1), "body": {"stringValue": "line of n%d" % n}, "traceId": T, "spanId": "%016x" % n}
for first in range(1, 50001, 500):
    numbers = range(first, first + 500)
    print(json.dumps({"resourceSpans": [{"scopeSpans": [{"spans": [span(n, n > 1 and max(1, n // 7)) for n in numbers]}]}]}))
    print(json.dumps({"resourceLogs": [{"scopeLogs": [{"logRecords": [line(n) for n in numbers]}]}]}))
PY
    "$traceshim" view --width 200 "$spans" >"$tmp/out"
    [ "$(grep -c ': n[0-9]' "$tmp/out")" -eq 50000 ]
    [ "$(grep -c 'line of n' "$tmp/out")" -eq 50000 ]
    # nothing but the root is at the margin; the line of a span comes before what is called later
    [ "$(grep -c '^: n' "$tmp/out")" -eq 1 ]
    grep -A 1 '^ *: n49999 ' "$tmp/out" | grep -q 'line of n49999'
}

@test "tail shows what is in a file, then what is appended to it, as it comes" {
    write_trace "$tmp/trace"
    cp "$tmp/trace" "$spans"
    "$traceshim" tail "$spans" >"$tmp/out" 3>&- &
    started+=("$!")
    eventually lines_in 6 "$tmp/out"
    head -c 300 "$tmp/trace" >>"$spans"
    tail -c +301 "$tmp/trace" >>"$spans"
    eventually lines_in 12 "$tmp/out"
    [ "$(sed -n 1,6p "$tmp/out")" = "$(sed -n 7,12p "$tmp/out")" ]
    grep -q '0af76519 stock .* 50.0 ms 503 GET /stock' "$tmp/out"
    grep -qF 'stock says \x1b[31mno' "$tmp/out"
}

@test "tail without a file shows what programs export" {
    TRACESHIM_RUN_DIR=$run_dir "$traceshim" tail >"$tmp/out" 3>&- &
    started+=("$!")
    "$writer" "$run_dir" spans=3 lines=1
    eventually lines_in 4 "$tmp/out"
    grep -q 'writer .*GET /item/{id} /item/2' "$tmp/out"
    kill "${started[0]}"
    eventually flock -n "$run_dir/agent-$(id -u).lock" true
}

#!/usr/bin/env bats
# shellcheck disable=SC2030,SC2031,SC2154 # each test is a subshell; variables come from agent.bash
# The agent on rings of known content: to a receiver that checks every payload and misbehaves in every way, and to files.

bats_require_minimum_version 1.5.0
load agent

setup() {
    agent_setup
}

teardown() {
    agent_teardown
}

@test "every span and line arrives once, in order and valid, compressed or not" {
    receive
    for compression in none gzip; do
        rm -f "$got"/*
        OTEL_EXPORTER_OTLP_COMPRESSION=$compression OTEL_EXPORTER_OTLP_HEADERS='x-key=a%20b,X-Other=1' agent --otlp "$url"
        "$writer" "$run_dir" spans=1500 lines=1000
        stop_agent
        received 1500
        received 1000 "$got/lines"
        no_rings
        jq -e -s 'all(.headers["x-key"] == "a b" and .headers["X-Other"] == "1")' "$got/requests"
    done
}

@test "batches keep to their size, and a queue's spans to their resource" {
    receive
    OTEL_BSP_MAX_EXPORT_BATCH_SIZE=100 agent --otlp "$url"
    "$writer" "$run_dir" spans=1000 service=one
    # Rings that are found together are in no order.
    eventually no_rings
    "$writer" "$run_dir" spans=10 first=1001 service=two
    stop_agent
    received 1010
    jq -e -s 'all(.items <= 100)' "$got/requests"
    jq -e -s 'map(.resource["service.name"] + .resource["team"] + .resource["deployment.environment.name"]) | .[999] == "onea btest"
        and .[1000] == "twoa btest"' "$got/spans"
}

@test "what may be tried again is, and nothing is lost or doubled" {
    receive 503 502 504 429 cut garbage 429:1 503:date 200
    agent --otlp "$url" "${fast[@]}"
    "$writer" "$run_dir" spans=700
    eventually lines_in 700 "$got/spans"
    stop_agent
    received 700
    said "it is tried again"
    said "the back end answers again"
}

@test "a back end that hangs is given up for the time being" {
    receive hang hang 200
    # Long enough for the answer that comes: what it gives up it sends again.
    OTEL_EXPORTER_OTLP_TIMEOUT=2000 agent --otlp "$url" "${fast[@]}"
    "$writer" "$run_dir" spans=10
    eventually lines_in 10 "$got/spans"
    stop_agent
    received 10
}

@test "a back end whose answer has no end has taken what it says it has, once" {
    receive endless 200
    OTEL_BSP_MAX_EXPORT_BATCH_SIZE=10 agent --otlp "$url" "${fast[@]}"
    "$writer" "$run_dir" spans=30
    eventually lines_in 30 "$got/spans"
    stop_agent
    received 30
}

@test "what is refused is counted, said once and never repeated" {
    receive 400 413 partial:7 404 junk 200
    # Full batches alone, however slowly the spans come.
    OTEL_BSP_SCHEDULE_DELAY=600000 OTEL_BSP_MAX_EXPORT_BATCH_SIZE=10 agent --otlp "$url" "${fast[@]}" --metrics 127.0.0.1:0
    "$writer" "$run_dir" spans=100
    stop_agent
    # 10 requests, one each: 3 refused as a whole, one in part
    [ "$(wc -l <"$got/requests")" -eq 10 ]
    [ "$(wc -l <"$got/spans")" -eq 70 ]
    [ ! -s "$got/wrong" ]
    said "the back end answers 400"
    said "the back end answers 413" 0
    said "refused a part (7 of 10 spans): too old"
    said "spans: 63 sent, 37 refused by the back end, 0 dropped"
}

@test "a back end that is down costs disk, not memory, and loses nothing" {
    port=$(free_port)
    agent --otlp "http://127.0.0.1:$port" "${fast[@]}"
    "$writer" "$run_dir" spans=8000 lines=4000
    eventually no_rings
    [ "$(find "$run_dir/spool-$(id -u)" -name 'traces-*.request' | wc -l)" -ge 8 ]
    # in memory is the queue, whatever waits
    [ "$(awk '/VmHWM/ { print $2 }' "/proc/$agent/status")" -lt 40000 ]
    receive
    eventually lines_in 8000 "$got/spans"
    eventually lines_in 4000 "$got/lines"
    received 8000
    received 4000 "$got/lines"
    stop_agent
    [ -z "$(find "$run_dir/spool-$(id -u)" -type f)" ]
}

@test "what could not be sent is sent by the next agent, in its order" {
    port=$(free_port)
    OTEL_BSP_MAX_EXPORT_BATCH_SIZE=100 agent --otlp "http://127.0.0.1:$port" --flush-timeout 100
    "$writer" "$run_dir" spans=2500
    stop_agent
    said "wait in $run_dir/spool-$(id -u) for the next agent"
    [ ! -e "$got/spans" ]
    receive
    agent --otlp "$url" "${fast[@]}"
    eventually lines_in 2500 "$got/spans"
    stop_agent
    received 2500
}

@test "a spool has an end: what is over it is dropped, counted and said" {
    port=$(free_port)
    agent --otlp "http://127.0.0.1:$port" --spool-max 1 --flush-timeout 0
    "$writer" "$run_dir" spans=10000
    eventually no_rings
    stop_agent
    said "the spool is full"
    grep -qE 'spans: 0 sent, 0 refused by the back end, [1-9][0-9]* dropped' "$tmp/agent.err"
    [ "$(du -sb "$run_dir/spool-$(id -u)" | cut -f1)" -le $((4 << 20)) ]
}

@test "a folder has one agent; the second says so and changes nothing" {
    agent --spans "$tmp/spans.jsonl"
    run "$traceshim" agent --run-dir "$run_dir" --spans "$tmp/other.jsonl"
    [ "$status" -eq 1 ]
    [[ $output == *"another agent serves $run_dir already"* ]]
    "$writer" "$run_dir" spans=5
    stop_agent
    [ "$(jq -s '[.[].resourceSpans[].scopeSpans[].spans[]] | length' "$tmp/spans.jsonl")" -eq 5 ]
}

@test "the rings of killed programs are drained to their last finished span, and removed" {
    receive
    agent --otlp "$url"
    for i in $(seq 0 19); do
        "$writer" "$run_dir" spans=50 first=$((50 * i + 1)) end=kill held=1 >/dev/null 2>&1 3>&- || true
    done
    eventually no_rings
    stop_agent
    [ ! -s "$got/wrong" ]
    [ "$(jq -r .traceId "$got/spans" | sort -u | wc -l)" -eq 1000 ]
    [ "$(wc -l <"$got/spans")" -eq 1000 ]
    said "is damaged" 0
}

@test "rings that were left before the agent came are drained" {
    "$writer" "$run_dir" spans=100 end=kill 3>&- || true
    "$writer" "$run_dir" spans=100 first=101 end=mark
    agent --spans "$tmp/spans.jsonl"
    eventually no_rings
    stop_agent
    [ "$(grep -o '"spanId"' "$tmp/spans.jsonl" | wc -l)" -eq 200 ]
}

@test "a living program's ring is left to the next agent, which reads on where the last one stopped" {
    mkfifo "$tmp/stdin"
    "$writer" "$run_dir" spans=100 end=stay <"$tmp/stdin" >"$tmp/wrote" 3>&- &
    guest=$!
    started+=("$guest")
    exec 5>"$tmp/stdin"
    eventually grep -q 100 "$tmp/wrote"
    agent --spans "$tmp/one.jsonl"
    stop_agent
    agent --spans "$tmp/two.jsonl"
    exec 5>&-
    wait "$guest"
    eventually no_rings
    stop_agent
    [ "$(grep -o '"spanId"' "$tmp/one.jsonl" | wc -l)" -eq 100 ]
    [ ! -s "$tmp/two.jsonl" ]
}

@test "a damaged ring is said once and set aside; the others go on" {
    mkfifo "$tmp/stdin"
    "$writer" "$run_dir" spans=10 end=stay <"$tmp/stdin" >"$tmp/wrote" 3>&- &
    guest=$!
    started+=("$guest")
    exec 5>"$tmp/stdin"
    eventually grep -q 10 "$tmp/wrote"
    ring=$(echo "$run_dir"/*.ring)
    # the third entry's length
    printf '\377\377\377\377' | dd of="$ring" bs=1 seek=$((4096 + 2 * $(od -An -tu4 -j 4096 -N 4 "$ring"))) conv=notrunc status=none
    agent --spans "$tmp/spans.jsonl"
    eventually test -e "$ring.bad"
    "$writer" "$run_dir" spans=7 first=100
    eventually no_rings
    stop_agent
    exec 5>&-
    said "is damaged"
    [ "$(grep -o '"spanId"' "$tmp/spans.jsonl" | wc -l)" -eq 9 ]
}

@test "of the damaged rings of dead processes the newest are kept, and none for longer than a week" {
    local i lives
    lives=$$-$(awk '{ sub(/.*\) /, ""); print $20 }' "/proc/$$/stat")
    for i in {1..18}; do touch -d "$i minutes ago" "$run_dir/999999-7-$i.ring.bad"; done
    touch -d '8 days ago' "$run_dir/999999-7-19.ring.bad"
    # not ours to remove: of a process that has it mapped, and what is not named as a ring is
    for i in {20..40}; do touch -d '8 days ago' "$run_dir/$lives-$i.ring.bad" "$run_dir/notes-$i.ring.bad"; done
    agent --spans "$tmp/spans.jsonl"
    kept() { find "$run_dir" -name '999999-*' -printf '%f\n' | sort -V | tr '\n' ' '; }
    kept_newest() { [ "$(kept)" = "$(printf '999999-7-%d.ring.bad ' {1..16})" ]; }
    eventually kept_newest
    touch -d 'now' "$run_dir/999999-7-50.ring.bad"
    eventually test ! -e "$run_dir/999999-7-16.ring.bad"
    [ -e "$run_dir/999999-7-15.ring.bad" ]
    stop_agent
    [ "$(find "$run_dir" -name "$lives-*" | wc -l)" -eq 21 ]
    [ "$(find "$run_dir" -name 'notes-*' | wc -l)" -eq 21 ]
}

@test "a ring that is shortened under the agent does not bring it down" {
    mkfifo "$tmp/stdin"
    "$writer" "$run_dir" spans=10 end=stay <"$tmp/stdin" >"$tmp/wrote" 3>&- &
    guest=$!
    started+=("$guest")
    exec 5>"$tmp/stdin"
    eventually grep -q 10 "$tmp/wrote"
    agent --spans "$tmp/spans.jsonl"
    eventually grep -q spanId "$tmp/spans.jsonl"
    truncate -s 100 "$run_dir"/*.ring
    eventually no_rings
    kill -KILL "$guest"
    "$writer" "$run_dir" spans=5 first=100
    eventually no_rings
    stop_agent
    said "is damaged"
    [ "$(grep -o '"spanId"' "$tmp/spans.jsonl" | wc -l)" -eq 15 ]
}

@test "files that are no rings are left where they are" {
    head -c 200000 /dev/urandom >"$run_dir/1-2-3.ring"
    : >"$run_dir/1-2-4.ring"
    ln -s /etc/passwd "$run_dir/1-2-5.ring"
    mkfifo "$run_dir/1-2-6.ring"
    "$writer" "$run_dir" spans=5 end=mark
    agent --spans "$tmp/spans.jsonl"
    eventually grep -q spanId "$tmp/spans.jsonl"
    stop_agent
    [ "$(find "$run_dir" -name '*.ring' | wc -l)" -eq 4 ]
    said "it is not a ring of this version"
    said "its length is not that of a ring"
}

@test "any number of files that are no rings is no flood of messages, and hides no ring" {
    for i in $(seq 500); do
        printf junk >"$run_dir/1-2-$i.ring"
    done
    agent --spans "$tmp/spans.jsonl"
    for i in $(seq 501 1000); do
        printf junk >"$run_dir/1-2-$i.ring"
    done
    "$writer" "$run_dir" spans=5
    eventually grep -q spanId "$tmp/spans.jsonl"
    stop_agent
    said "is left aside: " 20
    said "more files in $run_dir are left aside"
    [ "$(find "$run_dir" -name '*.ring' | wc -l)" -eq 1000 ]
}

@test "a ring that takes the place of a file that was none is drained" {
    printf junk >"$run_dir/1-2-3.ring"
    agent --spans "$tmp/spans.jsonl"
    eventually grep -q 'is left aside' "$tmp/agent.err"
    # The next file has the number of the one that is removed, where the file system gives out the lowest.
    rm "$run_dir/1-2-3.ring"
    "$writer" "$run_dir" spans=5
    eventually no_rings
    stop_agent
    [ "$(grep -o '"spanId"' "$tmp/spans.jsonl" | wc -l)" -eq 5 ]
}

@test "a full disk is said, and does not stop the agent" {
    receive
    agent --spans /dev/full --otlp "$url"
    "$writer" "$run_dir" spans=2000
    stop_agent
    received 2000
    said "/dev/full cannot be written"
}

@test "the sampler decides what is exported" {
    receive
    OTEL_TRACES_SAMPLER=always_off agent --otlp "$url"
    "$writer" "$run_dir" spans=100 lines=3
    stop_agent
    [ ! -e "$got/spans" ]
    received 3 "$got/lines"
    # ring_writer's ids are small numbers: below any ratio
    OTEL_TRACES_SAMPLER=parentbased_traceidratio OTEL_TRACES_SAMPLER_ARG=0.1 agent --otlp "$url"
    "$writer" "$run_dir" spans=100
    stop_agent
    received 100
}

@test "wrong settings are said and ignored; wrong options are errors" {
    receive
    OTEL_TRACES_SAMPLER=some OTEL_BSP_SCHEDULE_DELAY=x OTEL_EXPORTER_OTLP_PROTOCOL=grpc OTEL_EXPORTER_OTLP_COMPRESSION='' \
        OTEL_EXPORTER_OTLP_TIMEOUT=-3 agent --otlp "$url"
    "$writer" "$run_dir" spans=5
    stop_agent
    received 5
    said "OTEL_TRACES_SAMPLER=some is ignored"
    said "OTEL_BSP_SCHEDULE_DELAY=x is ignored"
    said "OTEL_EXPORTER_OTLP_COMPRESSION" 0
    for wrong in "--otlp ftp://x" "--spool-max no" "--nothing" "extra" ""; do
        # shellcheck disable=SC2086 # words
        run "$traceshim" agent --run-dir "$run_dir" $wrong
        [ "$status" -eq 2 ]
    done
}

@test "variables of one signal win over those of all" {
    receive
    OTEL_EXPORTER_OTLP_ENDPOINT=http://127.0.0.1:1 OTEL_EXPORTER_OTLP_TRACES_ENDPOINT=$url/v1/traces OTEL_LOGS_EXPORTER=none \
        OTEL_EXPORTER_OTLP_HEADERS=x-a=all OTEL_EXPORTER_OTLP_TRACES_HEADERS=x-a=traces agent
    "$writer" "$run_dir" spans=5 lines=5
    stop_agent
    received 5
    [ ! -e "$got/lines" ]
    jq -e -s 'all(.headers["x-a"] == "traces")' "$got/requests"
}

@test "Loki gets the lines, with ids beside them and never in labels" {
    receive 204
    agent --loki "$url" --loki-tenant shop
    "$writer" "$run_dir" spans=1 lines=50
    stop_agent
    [ ! -s "$got/wrong" ]
    jq -e -s 'length == 50 and all(.labels == {service_name: "writer", deployment_environment: "test"} and .detected_level == "info")
        and .[2].trace_id == "ab000000000000000000000000000003" and .[2].line == "item 3: \"looked\" at\tit"' "$got/loki"
    jq -e -s 'all(.headers["X-Scope-OrgID"] == "shop")' "$got/requests"
}

@test "metrics count every request by service, route and status, sampled or not" {
    OTEL_TRACES_SAMPLER=always_off agent --ui 127.0.0.1:0
    page=$(grep -o 'http://[^ ]*' "$tmp/agent.err")
    "$writer" "$run_dir" spans=40 service='sh"op'
    "$writer" "$run_dir" spans=2 status=503
    "$writer" "$run_dir" spans=1 service=$'caf\xc3\xa9'
    "$writer" "$run_dir" spans=1 service=$'caf\xc3\xa8'
    "$writer" "$run_dir" spans=1 service=$'caf\xff\n{}'
    "$writer" "$run_dir" spans=1 service=$'caf\xfe\n{}' mark=$'\xff'
    eventually no_rings
    curl -sf "$page"metrics >"$tmp/metrics"
    grep -qF 'http_server_request_duration_seconds_count{service_name="sh\"op",http_request_method="GET",http_route="/item/{id}",http_response_status_code="200",error_type=""} 40' "$tmp/metrics"
    grep -qF 'service_name="writer",http_request_method="GET",http_route="/item/{id}",http_response_status_code="503",error_type="503",le="+Inf"} 2' "$tmp/metrics"
    grep -qF $'count{service_name="caf\xc3\xa9",' "$tmp/metrics"
    grep -qF $'count{service_name="caf\xc3\xa8",' "$tmp/metrics"
    [ -z "$(grep -v '^#' "$tmp/metrics" | sed 's/ [^ ]*$//' | sort | uniq -d)" ] # each series once, or Prometheus takes none
    promtool check metrics <"$tmp/metrics"
    grep -qx 'traceshim_agent_spans_unsampled_total 46' "$tmp/metrics"
    stop_agent
}

@test "the page shows requests, traces and routes, and is for this machine only" {
    agent --ui 127.0.0.1:0
    page=$(grep -o 'http://[^ ]*' "$tmp/agent.err")
    "$writer" "$run_dir" spans=30 lines=30
    eventually no_rings
    "$writer" "$run_dir" spans=3 first=100 status=503 service=other
    eventually no_rings
    curl -sf "$page"api/requests | jq -e '.requests | length == 33 and .[0].service == "other" and .[0].status == 503'
    curl -sf "$page"'api/requests?service=writer&limit=7' | jq -e '.requests | length == 7 and all(.service == "writer")'
    curl -sf "$page"'api/requests?status=5' | jq -e '.requests | length == 3'
    curl -sf "$page"'api/requests?errors=1&text=/item/101' | jq -e '.requests | length == 1'
    curl -sf "$page"'api/requests?slower=5000' | jq -e '.requests == []'
    curl -sf "$page"'api/requests?trace=ab000000000000000000000000000004' | jq -e '.requests | length == 1'
    curl -sf "$page"api/trace/ab000000000000000000000000000007 |
        jq -e '(.spans | length == 1) and (.lines | length == 1 and .[0].text == "item 7: \"looked\" at\tit")'
    curl -sf "$page"api/overview | jq -e '.routes | map([.service, .count, .errors]) == [["other", 3, 3], ["writer", 30, 0]]'
    curl -sf -D "$tmp/head" "$page" | grep -q page.js
    grep -qi "^content-security-policy: default-src 'none'" "$tmp/head"
    [ "$(curl -s -o /dev/null -w '%{http_code}' -H 'Host: evil.example' "$page")" = 403 ]
    [ "$(curl -s -o /dev/null -w '%{http_code}' -X POST "$page"api/requests)" = 405 ]
    [ "$(curl -s -o /dev/null -w '%{http_code}' "$page"nothing)" = 404 ]
    stop_agent
}

@test "a huge trace is told in part, and slow readers of it take little memory" {
    agent --ui 127.0.0.1:0
    page=$(grep -o 'http://[^ ]*' "$tmp/agent.err")
    "$writer" "$run_dir" spans=20000 lines=20000 trace=5 mark="$(printf '%0400d' 0)"
    eventually no_rings
    huge=${page}api/trace/ab000000000000000000000000000005
    curl -sf "$huge" >"$tmp/huge"
    jq -e '.left > 0 and (.spans | length) > 1000 and (.lines | length) > 1000 and (.spans | length) + (.lines | length) + .left == 40000' "$tmp/huge"
    [ "$(stat -c %s "$tmp/huge")" -lt 9000000 ]
    # They ask, and do not read.
    before=$(awk '/VmRSS/ { print $2 }' "/proc/$agent/status")
    /usr/bin/python3 - "$huge" "$tmp/asked" 3>&- <<'PY' &
import socket, sys, time
from urllib.parse import urlsplit
url = urlsplit(sys.argv[1])
readers = []
for _ in range(12):
    s = socket.socket()
    s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    s.connect((url.hostname, url.port))
    s.sendall(f"GET {url.path} HTTP/1.1\r\nHost: {url.netloc}\r\n\r\n".encode())
    s.recv(100)
    readers.append(s)
open(sys.argv[2], "w").close()
time.sleep(600)
PY
    started+=("$!")
    eventually test -e "$tmp/asked"
    curl -sf "$page"api/overview | jq -e '.routes | length == 1'
    after=$(awk '/VmRSS/ { print $2 }' "/proc/$agent/status")
    [ $((after - before)) -lt 150000 ]
    stop_agent
}

@test "each wrong variable is told once, by its own name" {
    export OTEL_EXPORTER_OTLP_TIMEOUT=x OTEL_EXPORTER_OTLP_LOGS_COMPRESSION=zstd OTEL_EXPORTER_OTLP_PROTOCOL=grpc
    export OTEL_EXPORTER_OTLP_HEADERS=key OTEL_EXPORTER_OTLP_ENDPOINT=ftp://x OTEL_BLRP_MAX_QUEUE_SIZE=0
    agent --spans "$tmp/spans"
    stop_agent
    sed 's/^traceshim: agent: \(.*\) is ignored: .*/\1/' "$tmp/agent.err" | sort >"$tmp/told"
    diff -u - "$tmp/told" <<'END'
OTEL_BLRP_MAX_QUEUE_SIZE=0
OTEL_EXPORTER_OTLP_ENDPOINT=ftp://x
OTEL_EXPORTER_OTLP_HEADERS=(a part)
OTEL_EXPORTER_OTLP_LOGS_COMPRESSION=zstd
OTEL_EXPORTER_OTLP_PROTOCOL=grpc
OTEL_EXPORTER_OTLP_TIMEOUT=x
END
}

@test "an option of one letter is told by its letter" {
    run "$traceshim" agent -xy
    [ "$status" -eq 2 ]
    [ "$output" = "traceshim: agent: unknown option, or one that takes no argument: '-x'; see \`traceshim agent --help\`" ]
}

@test "a port that is taken is told, and how to have another" {
    agent --ui 127.0.0.1:0
    page=$(grep -o 'http://[^ ?]*' "$tmp/agent.err")
    run "$traceshim" agent --run-dir "$tmp/other" --ui "$(cut -d/ -f3 <<<"$page")"
    [ "$status" -eq 1 ]
    [[ $output == *"cannot be served: Address already in use (another port: --ui=ADDR:PORT)"* ]]
    stop_agent
}

@test "what is no address and port is told, and no other port is served in its place" {
    for wrong in 127.0.0.1:65536 127.0.0.1:99999 127.0.0.1:4294967297 127.0.0.1: 127.0.0.1:http 127.0.0.1:1x 4319 ::1:4319 ''; do
        run timeout 20 "$traceshim" agent --run-dir "$run_dir" --metrics "$wrong"
        [ "$status" -eq 1 ]
        [ "$output" = "traceshim: agent: '$wrong' is no ADDRESS:PORT that can be served" ]
    done
}

@test "a page that others can reach needs a token, and nothing is told without it" {
    run "$traceshim" agent --run-dir "$run_dir" --ui 0.0.0.0:0
    [ "$status" -eq 1 ]
    [[ $output == *"needs a token (TRACESHIM_TOKEN, or --token)"* ]]
    agent --ui 0.0.0.0:0 --token secret
    page=$(grep -o 'http://[^ ?]*' "$tmp/agent.err" | sed 's/0\.0\.0\.0/127.0.0.1/')
    [ "$(curl -s -o /dev/null -w '%{http_code}' "$page"api/requests)" = 401 ]
    [ "$(curl -s -o /dev/null -w '%{http_code}' "$page"'metrics?token=secre')" = 401 ]
    curl -sf -c "$tmp/jar" "$page"'?token=secret' | grep -q page.js
    curl -sf -b "$tmp/jar" "$page"api/requests | jq -e '.requests == []'
    curl -sf -H 'Authorization: Bearer secret' "$page"api/requests | jq -e '.requests == []'
    stop_agent
    # One that is empty is none, and one that a cookie or an address would change lets nobody in.
    for wrong in '' 'a b' $'a\r\nb' 'a;b' "$(printf '%0201d' 0)"; do
        run timeout 20 "$traceshim" agent --run-dir "$run_dir" --ui 0.0.0.0:0 --token "$wrong"
        [ "$status" -eq 2 ]
        [[ $output == *"a token is 1 to 200"* ]]
    done
}

@test "a token may be given where others cannot read it, and the program does not get it" {
    unset TRACESHIM_RUN_DIR
    export TMPDIR=$tmp
    # shellcheck disable=SC2094 # the program reads what the agent has said by then
    TRACESHIM_TOKEN=quiet "$traceshim" run --log off --ui=0.0.0.0:0 -- sh -c 'env | grep -c ^TRACESHIM_TOKEN; url=$(grep -o "http://[^ ?]*" "$0" | sed s/0.0.0.0/127.0.0.1/);
        LD_PRELOAD= curl -s -o /dev/null -w "%{http_code} " "$url"; LD_PRELOAD= curl -s -o /dev/null -w "%{http_code}\n" -H "Authorization: Bearer quiet" "$url"' \
        "$tmp/err" >"$tmp/out" 2>"$tmp/err" 3>&-
    [ "$(tr '\n' ' ' <"$tmp/out")" = "0 401 200 " ]
}

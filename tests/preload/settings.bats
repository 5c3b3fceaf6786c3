#!/usr/bin/env bats
# shellcheck disable=SC2030,SC2031,SC2154 # each test is a subshell; variables come from servers.bash
#
# What the settings do to lines, answers and calls of a real server, end to end.

load servers

trace=0af7651916cd43dd8448eb211c80319c
parent=00-$trace-b7ad6b7169203331-01

setup() {
    servers_setup
    port=$(free_port)
    url=http://127.0.0.1:$port/
}

teardown() {
    servers_teardown
}

# serve_with [SETTING=VALUE]...: a C server with a thread a connection
serve_with() {
    settings+=("$@")
    serve guest "$port" "$programs/server_blocking" thread "$port"
}

# call_with [SETTING=VALUE]...: a Python server that calls an upstream
call_with() {
    start_upstream
    settings+=("$@")
    serve guest "$port" /usr/bin/python3 "$apps/python/http_server.py" "$port" "$up"
}

# ask [OPTION of curl]...: request number 1; it is odd, so that the Python server calls by urllib
ask() {
    curl -sS --max-time 20 "$@" "${url}?n=1"
}

# line JQ: what jq says of the record of the line 'begin n=1'
line() {
    grep 'begin n=1' "$tmp/guest.log" | jq -r "$1"
}

# sent NAME: the values of that header that the upstream received
sent() {
    jq -r --arg name "$1" '.headers[] | select(.[0] == $name) | .[1]' "$tmp/calls"
}

@test "the format camel" {
    serve_with TRACESHIM_FORMAT=camel
    ask -H "traceparent: $parent"
    [ "$(line .traceId)" = "$trace" ]
    [ "$(line '.spanId | test("^[0-9a-f]{16}$")')" = true ]
    [ "$(line .message)" = "begin n=1" ]
    [ "$(line 'has("trace_id")')" = false ]
}

@test "the format ecs" {
    serve_with TRACESHIM_FORMAT=ecs OTEL_SERVICE_NAME=shop
    ask -H "traceparent: $parent"
    [ "$(line '."trace.id"')" = "$trace" ]
    [ "$(line '."span.id" | test("^[0-9a-f]{16}$")')" = true ]
    [ "$(line '."service.name"')" = shop ]
    [ "$(line '."@timestamp" | length > 20')" = true ]
    [ "$(line 'has("ecs.version")')" = true ]
}

@test "the format datadog, in hex and in decimal" {
    serve_with TRACESHIM_FORMAT=datadog TRACESHIM_DATADOG_IDS=decimal
    ask -H "traceparent: $parent"
    [ "$(line '."dd.trace_id"')" = "$(printf '%u' 0x8448eb211c80319c)" ]
    stop "$pid"
    settings+=(TRACESHIM_DATADOG_IDS=hex)
    : >"$tmp/guest.log"
    serve_with
    ask -H "traceparent: $parent"
    [ "$(line '."dd.trace_id"')" = "$trace" ]
}

@test "the format gcp" {
    serve_with TRACESHIM_FORMAT=gcp
    ask -H "traceparent: $parent"
    [ "$(line '."logging.googleapis.com/trace" | endswith("0af7651916cd43dd8448eb211c80319c")')" = true ]
    [ "$(line '."logging.googleapis.com/trace_sampled"')" = true ]
}

@test "text lines keep their text and have the ids behind it; with off nothing changes" {
    serve_with TRACESHIM_LOG=text
    ask -H "traceparent: $parent"
    grep -qE "^begin n=1 .*$trace" "$tmp/guest.log"
    stop "$pid"
    : >"$tmp/guest.log"
    serve_with TRACESHIM_LOG=off
    ask -H "traceparent: $parent"
    [ "$(cat "$tmp/guest.log")" = "begin n=1
middle n=1" ]
    counted requests 1
}

@test "text lines of many requests each have their own ids" {
    serve_with TRACESHIM_LOG=text
    burst "$url" --requests 300 --connections 24
    until_lines 600 "$tmp/guest.log"
    run awk 'match($0, /n=[0-9]+/) { n = substr($0, RSTART + 2, RLENGTH - 2); id = sprintf("%016x", n)
        if ($0 !~ "7e57[0-9a-f]+" id) print; else good++ } END { print good, "good" }' "$tmp/guest.log"
    echo "$output"
    [ "$output" = "600 good" ]
}

@test "request headers and members of the baggage become fields" {
    serve_with TRACESHIM_LOG_HEADERS=x-user-id=userId,x-tenant TRACESHIM_LOG_BAGGAGE=region=area
    ask -H "traceparent: $parent" -H 'X-User-Id: jo "the" ü' -H 'x-tenant: t1' -H 'baggage: other=1,region=eu%20west'
    [ "$(line .userId)" = 'jo "the" ü' ]
    [ "$(line '."x-tenant"')" = t1 ]
    [[ $(line .area) == eu*west ]]
    stop "$pid"
    : >"$tmp/guest.log"
    serve_with
    burst "$url" --requests 200 --header 'x-user-id: user-@N@-'
    grep -c 'userId' "$tmp/guest.log"
    run jq -r 'select(.message | test("n=")) | select(.userId != "user-" + (.message | split("n=")[1]) + "-") | .message' \
        "$tmp/guest.log"
    [ -z "$output" ]
}

@test "the response header tells each client its trace id, once, and nothing else changes" {
    serve_with TRACESHIM_RESPONSE_HEADER=x-trace-id
    burst "$url" --requests 300 --connections 24 --numbered --keep-header x-trace-id --save "$tmp/answers"
    /usr/bin/python3 - "$tmp/answers" <<'PY'
import re, sys
lines = open(sys.argv[1]).read().splitlines()
wrong = [line for line in lines if int(line.split()[0])
         != int(re.search(r'"x-trace-id": "7e57[0-9a-f]{12}([0-9a-f]{16})"', line)[1], 16)]
print(len(lines), wrong[:3])
sys.exit(bool(wrong) or len(lines) != 300)
PY
    [ "$(ask -i -H "traceparent: $parent" | grep -ic '^x-trace-id')" -eq 1 ]
    counted response_headers 301
    undegraded
}

@test "ids come in by b3, b3multi, jaeger and x-request-id" {
    serve_with OTEL_PROPAGATORS=tracecontext,baggage,b3,b3multi,jaeger TRACESHIM_HEADERS=x-request-id
    burst "$url" --fresh --requests 40 --header 'b3: @TRACE@-@SPAN@-1'
    burst "$url" --fresh --first 41 --requests 40 --header 'X-B3-TraceId: @TRACE@' --header 'X-B3-SpanId: @SPAN@' \
        --header 'X-B3-Sampled: 1'
    burst "$url" --fresh --first 81 --requests 40 --header 'uber-trace-id: @TRACE@:@SPAN@:0:1'
    burst "$url" --fresh --first 121 --requests 40 --header 'x-request-id: @TRACE@'
    until_lines 320 "$tmp/guest.log"
    count "$tmp/guest.log" --requests 160 --lines 2
    counted requests_continued 160
}

@test "a correlation id that is no trace id is logged and sent on beside a fresh trace" {
    call_with TRACESHIM_HEADERS=x-request-id
    ask -H 'x-request-id: order-17'
    [ "$(sent x-request-id)" = order-17 ]
    [ "$(sent traceparent | cut -c4-35)" = "$(line .trace_id)" ]
}

@test "calls carry what OTEL_PROPAGATORS names, and nothing twice" {
    call_with OTEL_PROPAGATORS=b3,b3multi,jaeger
    ask -H "b3: $trace-b7ad6b7169203331-1"
    [ -z "$(sent traceparent)" ]
    [[ $(sent b3) =~ ^$trace-[0-9a-f]{16}-1 ]]
    [ "$(sent b3 | wc -l)" -eq 1 ]
    [ "$(sent x-b3-traceid)" = "$trace" ]
    [ "$(sent x-b3-spanid | wc -l)" -eq 1 ]
    [[ $(sent uber-trace-id) =~ ^$trace:[0-9a-f]{16}: ]]
    [ "$(sent x-b3-spanid)" != b7ad6b7169203331 ]
}

@test "tracestate and baggage go on as they came" {
    call_with
    ask -H "traceparent: $parent" -H 'tracestate: a=1,b=2' -H 'baggage: k=v;p,l=w'
    [ "$(sent tracestate)" = "a=1,b=2" ]
    [ "$(sent baggage)" = "k=v;p,l=w" ]
    [ "$(sent traceparent | cut -c1-36)" = "00-$trace-" ]
}

@test "only the hosts of TRACESHIM_PROPAGATE get headers" {
    call_with TRACESHIM_PROPAGATE=internal.example
    ask -H "traceparent: $parent"
    [ -z "$(sent traceparent)" ]
    counted calls_not_allowed 1
    stop "$pid"
    stop "$upstream"
    call_with TRACESHIM_PROPAGATE=internal.example,127.0.0.1
    ask -H "traceparent: $parent"
    [ "$(sent traceparent | cut -c1-36)" = "00-$trace-" ]
}

@test "TRACESHIM_RAW: a line protocol gets a request per direction flip" {
    settings+=(TRACESHIM_RAW=on)
    serve guest "$port" "$programs/server_lines" "$port"
    # Each connection asks 20 times; every line that the server logs between question and answer has one id.
    for i in 1 2 3 4 5 6; do
        for j in $(seq 20); do echo "GET n=$((i * 100 + j))"; done | "$apps/ask.py" "$port" >"$tmp/answers$i" &
    done
    for job in $(jobs -p); do [ "$job" = "$pid" ] || wait "$job"; done
    [ "$(cat "$tmp"/answers* | grep -c '^OK n=')" -eq 120 ]
    until_lines 240 "$tmp/guest.log"
    count "$tmp/guest.log" --fresh
    [ "$(jq -r .trace_id "$tmp/guest.log" | sort -u | grep -c '^[0-9a-f]\{32\}$')" -eq 120 ]
    counted requests_raw 120
}

@test "without TRACESHIM_RAW a line protocol has no requests" {
    serve guest "$port" "$programs/server_lines" "$port"
    [ "$(echo 'GET n=1' | "$apps/ask.py" "$port")" = "OK n=1" ]
    count "$tmp/guest.log" --requests 1 --lines 2 --none 2 --all-none
    counted requests 0
}

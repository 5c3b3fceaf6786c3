#!/usr/bin/env bats
# shellcheck disable=SC2030,SC2031,SC2154 # each test is a subshell; variables come from servers.bash
#
# nginx under load: an event loop that runs each handler to its end, with pipelining, sendfile and upstream connections.
# Where a connection lingers at its end (after a body, after pipelined requests), nginx logs its last request only when the
# client has closed: that is an event of nobody's request, and the line has no id. --none bounds them, one a connection.

load servers

setup() {
    servers_setup
    port=$(free_port)
    up=$(free_port)
    dead=$(free_port)
}

teardown() {
    servers_teardown
}

# nginx WORKERS [ACCESS [LEVEL]]: serves $tmp/www on $port, its log in $tmp/nginx.log
nginx_serves() {
    mkdir -p "$tmp/www"
    [ -e "$tmp/www/big.txt" ] || seq -f 'line %g' 30000 >"$tmp/www/big.txt"
    echo small >"$tmp/www/small.txt"
    touch -d '2024-01-01 00:00:00 UTC' "$tmp"/www/*
    fill "$apps/nginx.conf.in" DIR="$tmp" WORKERS="$1" ACCESS="${2:-/dev/stdout line}" LEVEL="${3:-notice}" PORT="$port" \
        UP="$up" DEAD="$dead" >"$tmp/nginx.conf"
    serve nginx "$port" nginx -e stderr -p "$tmp" -c "$tmp/nginx.conf"
    url=http://127.0.0.1:$port
}

# same_answers [options of burst]: bare and preloaded answer alike, byte for byte
same_answers() {
    shim='' nginx_serves 1
    burst "$url$1" --save "$tmp/bare" "${@:2}"
    stop "$pid"
    nginx_serves 1
    burst "$url$1" --save "$tmp/preloaded" "${@:2}"
    cmp "$tmp/bare" "$tmp/preloaded"
    [ -s "$tmp/bare" ]
}

@test "every access line has its request's id, one worker, many requests in an iteration" {
    nginx_serves 1
    burst "$url/text" --requests 600 --connections 40 --numbered
    count "$tmp/nginx.log" --requests 600 --lines 1
    counted requests 600
    counted requests_continued 600
    undegraded
}

@test "every access line has its request's id, two workers, a connection each" {
    nginx_serves 2
    burst "$url/text" --requests 400 --connections 40 --per-connection 1 --numbered
    count "$tmp/nginx.log" --requests 400 --lines 1
    counted requests 400
    undegraded
}

@test "requests without ids get one each, and no two the same" {
    nginx_serves 2
    burst "$url/text" --requests 300 --fresh --numbered
    count "$tmp/nginx.log" --requests 300 --lines 1 --fresh
    counted requests 300
    counted requests_continued 0
}

@test "files sent by sendfile arrive whole, and their lines have ids" {
    same_answers /big.txt --requests 40 --connections 8
    until_lines 80 "$tmp/nginx.log"
    grep '^{' "$tmp/nginx.log" >"$tmp/records"
    count "$tmp/records" --requests 40 --lines 1
    counted requests 40
    undegraded
}

@test "pipelined requests keep their ids apart" {
    nginx_serves 1
    burst "$url/text" --requests 800 --connections 8 --pipeline 10 --numbered
    # Those that were read along with the one before: whose line comes next no call says.
    count "$tmp/nginx.log" --requests 800 --lines 1 --none any
    counted requests 800
    undegraded
}

@test "pipelined requests for files keep their ids apart" {
    nginx_serves 1
    burst "$url/big.txt" --requests 60 --connections 4 --pipeline 5
    count "$tmp/nginx.log" --requests 60 --lines 1 --none any
    counted requests 60
    undegraded
}

@test "pipelined requests that are proxied, or refused, are never taken for one another" {
    start_upstream
    nginx_serves 1
    burst "$url/renamed" --requests 400 --connections 8 --pipeline 10 --numbered
    burst "$url/limited" --first 401 --requests 200 --connections 8 --pipeline 10 --status 403
    calls --requests 400 --none any # which one is taken up no call says
    count "$tmp/nginx.log" "$tmp/nginx.err" --requests 400 --lines 1 --none any
    undegraded
}

@test "heads that come in pieces are read as one" {
    nginx_serves 1
    burst "$url/text" --requests 40 --connections 20 --pieces 7 --numbered
    count "$tmp/nginx.log" --requests 40 --lines 1
    counted requests 40
    undegraded
}

@test "HEAD, 304, 206, 404, 403 and 400 are answered and logged as ever" {
    same_answers /big.txt --requests 20 --method HEAD --keep-header content-length
    burst "$url/small.txt" --first 21 --requests 20 --status 304 \
        --header 'If-Modified-Since: Mon, 01 Jan 2024 00:00:00 GMT'
    burst "$url/big.txt" --first 41 --requests 20 --status 206 --header 'Range: bytes=10-20000'
    burst "$url/missing" --first 61 --requests 20 --status 404 --numbered
    burst "$url/limited" --first 81 --requests 20 --status 403
    burst "$url/text" --first 101 --requests 1 --status 400 --per-connection 1 --header 'Content-Length: x'
    until_lines 121 "$tmp/nginx.log"
    grep '^{' "$tmp/nginx.log" >"$tmp/records"
    count "$tmp/records" --requests 100 --lines 1 --none 1
    # The error log names the request, too.
    grep '^{' "$tmp/nginx.err" | grep 'forbidden by rule' >"$tmp/errors"
    count "$tmp/errors" --first 81 --requests 20 --lines 1
}

@test "the access log in a file named by TRACESHIM_LOG_FILES" {
    settings+=(TRACESHIM_LOG_FILES="$tmp/access*.log")
    nginx_serves 2 "$tmp/access1.log line"
    burst "$url/text" --requests 200 --connections 20 --numbered
    count "$tmp/access1.log" --requests 200 --lines 1
}

@test "a log file that nobody named is left as it is" {
    nginx_serves 1 "$tmp/access1.log line"
    burst "$url/text" --requests 20 --numbered
    until_lines 20 "$tmp/access1.log"
    [ "$(grep -c '^127.0.0.1 "GET /text?n=' "$tmp/access1.log")" -eq 20 ]
    run grep -c trace_id "$tmp/access1.log"
    [ "$output" = 0 ]
}

@test "lines that nginx kept back in a buffer get nobody's id, and none is lost" {
    settings+=(TRACESHIM_LOG_FILES="$tmp/access.log")
    nginx_serves 1 "$tmp/access.log line buffer=4k flush=1s"
    burst "$url/text" --requests 500 --connections 20 --numbered
    stop "$pid"
    count "$tmp/access.log" --requests 500 --lines 1 --none any --all-none
}

@test "a proxy that sends its client's traceparent on sends that one only" {
    start_upstream
    nginx_serves 2
    burst "$url/fresh" --requests 200 --connections 30 --numbered
    calls --requests 200 --passed-on
    count "$tmp/nginx.log" --requests 200 --lines 1
    counted calls_own_headers 200
    counted calls_injected 0
    undegraded
}

@test "a proxied request without ids reaches the upstream with those of its log line, a connection each" {
    start_upstream
    nginx_serves 2
    burst "$url/fresh" --requests 300 --connections 30 --fresh --numbered
    count "$tmp/nginx.log" --requests 300 --lines 1 --fresh
    calls --requests 300 --fresh --truth "$tmp/nginx.log"
    counted calls_injected 300
    undegraded
}

@test "a proxy that drops its client's header sends its own parent id, upstream connections kept" {
    start_upstream
    nginx_serves 1
    burst "$url/renamed" --requests 600 --connections 40 --numbered
    count "$tmp/nginx.log" --requests 600 --lines 1
    calls --requests 600
    counted requests 600
    counted calls 600
    counted calls_injected 600
    undegraded
}

@test "large and chunked bodies pass through a proxy that streams" {
    start_upstream
    nginx_serves 1
    burst "$url/unbuffered" --requests 30 --connections 10 --method POST --body 300000 --fresh --numbered
    burst "$url/unbuffered" --first 31 --requests 30 --method POST --body 100000 --chunked --fresh --numbered
    until_lines 60 "$tmp/nginx.log"
    count "$tmp/nginx.log" --requests 60 --lines 1 --fresh --none 26
    calls --requests 60 --fresh --truth "$tmp/nginx.log"
    undegraded
}

@test "100-continue: the interim response is not the answer" {
    start_upstream
    nginx_serves 1
    burst "$url/renamed" --requests 40 --method POST --body 5000 --header 'Expect: 100-continue' --interim --numbered
    count "$tmp/nginx.log" --requests 40 --lines 1 --none 16
    calls --requests 40
    undegraded
}

@test "an upstream that refuses: each error line has its request's id" {
    nginx_serves 1
    burst "$url/dead" --requests 200 --connections 20 --status 502
    count "$tmp/nginx.log" --requests 200 --lines 1
    grep 'Connection refused' "$tmp/nginx.err" >"$tmp/errors"
    count "$tmp/errors" --requests 200 --lines 1
    counted requests 200
}

@test "clients that go away, many in an iteration: what is said of each has its own request's id" {
    nginx_serves 1 '' info
    # The upstream takes connections and answers nothing.
    /usr/bin/python3 - "$port" "$up" <<'PY'
import socket, struct, sys
port, up = map(int, sys.argv[1:])
silent = socket.create_server(("127.0.0.1", up), backlog=64)
for first in range(1, 201, 20):
    clients, calls = [], []
    for number in range(first, first + 20):
        clients.append(socket.create_connection(("127.0.0.1", port)))
        clients[-1].sendall(b"GET /fresh?n=%d HTTP/1.1\r\nHost: us\r\ntraceparent: 00-%032d-b7ad6b7169203331-01\r\n\r\n" % (number, number))
    for _ in clients:
        calls.append(silent.accept()[0])
        calls[-1].recv(65536)
    for n, client in enumerate(clients):
        if n % 2:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        client.close()
    for call in calls:
        while call.recv(65536):  # until nginx has given up
            pass
PY
    stop "$pid"
    # each access line and each word of why, by the number in the request and that in the id
    cat "$tmp/nginx.log" "$tmp/nginx.err" | grep -F 'GET /fresh?n=' >"$tmp/lines"
    jq -r '"\(.message | capture("n=(?<n>[0-9]+) ").n) \(.trace_id // "none" | ltrimstr("0"))"' "$tmp/lines" | sed 's/ 0*/ /' >"$tmp/said"
    [ "$(wc -l <"$tmp/said")" -eq 400 ]
    awk '$2 == "none" { next } $1 == $2 { right++; next } { print; wrong = 1 } END { exit wrong || right < 300 }' "$tmp/said"
}

@test "the next upstream gets the call with the same trace" {
    start_upstream
    nginx_serves 1
    burst "$url/next" --requests 200 --connections 20 --fresh --numbered
    count "$tmp/nginx.log" --requests 200 --lines 1 --fresh
    calls --requests 200 --fresh --truth "$tmp/nginx.log"
    grep 'Connection refused' "$tmp/nginx.err" >"$tmp/errors"
    count "$tmp/errors" "$tmp/nginx.log" --requests 200 --lines 2 --fresh
}

@test "a connection that leaves HTTP by Upgrade carries what it carried, both ways" {
    shim='' serve upstream "$up" /usr/bin/python3 "$apps/upgrade.py" "$up"
    nginx_serves 1
    run "$apps/upgrade.py" --client "$port" 20
    echo "$output"
    [ "$status" -eq 0 ]
    [ "$output" = "20 conversations" ]
    until_lines 20 "$tmp/nginx.log"
    # A tunnel's line comes when it closes: no request is answered then.
    count "$tmp/nginx.log" --requests 20 --lines 1 --none any
    counted http_tunnels 40
    undegraded
}

@test "wrk, ab, wget and curl in parallel are clients as any" {
    nginx_serves 2
    nginx=$pid
    "$here/attribution" curl "$url/text" --requests 200 | curl --parallel --parallel-max 30 --config -
    count "$tmp/nginx.log" --requests 200 --lines 1
    trace=0af7651916cd43dd8448eb211c80319c tries=$WAIT_TRIES
    ab -q -n 300 -c 20 -k -H "traceparent: 00-$trace-b7ad6b7169203331-01" "$url/text?ab" >/dev/null
    wget -q -O /dev/null --header "traceparent: 00-$trace-b7ad6b7169203331-01" "$url/text?ab"
    until [ "$(grep -c 'text?ab' "$tmp/nginx.log")" -ge 301 ] || [ $((tries--)) -le 0 ]; do sleep 0.025; done
    [ "$(grep -c "\"trace_id\":\"$trace\".*text?ab\|text?ab.*\"trace_id\":\"$trace\"" "$tmp/nginx.log")" -eq 301 ]
    [ "$(grep -c 'text?ab' "$tmp/nginx.log")" -eq 301 ]
    cp "$tmp/nginx.log" "$tmp/before"
    # Until there are enough: how many a second that is, is the machine's affair.
    shim='' start wrk wrk -t 2 -c 60 -d 600 -s "$apps/numbers.lua" "$url/text"
    until tail -c "+$(($(stat -c %s "$tmp/before") + 1))" "$tmp/nginx.log" >"$tmp/load" && [ "$(wc -l <"$tmp/load")" -ge 3000 ]; do
        kill -0 "$pid"
        sleep 0.025
    done
    stop "$pid"
    undegraded
    stop "$nginx"
    tail -c "+$(($(stat -c %s "$tmp/before") + 1))" "$tmp/nginx.log" >"$tmp/load"
    count "$tmp/load" --least-right 3000
}

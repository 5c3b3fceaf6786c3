#!/usr/bin/env bats
# shellcheck disable=SC2030,SC2031,SC2154 # each test is a subshell; variables come from servers.bash
#
# asyncio, whose contexts say for which request a task works: right before the answer, nobody's behind it, never another's.

load servers

setup() {
    servers_setup
    port=$(free_port)
    url=http://127.0.0.1:$port/
    python=$apps/python
}

teardown() {
    servers_teardown
}

# asks WAY: many requests, on kept connections, at a server that works so
asks() {
    serve guest "$port" /usr/bin/python3 "$python/contexts.py" "$port" "$1"
    burst "$url" --requests 300 --connections 24 --per-connection 20 --numbered
}

@test "streams: a handler that goes from request to request has each one's id" {
    asks plain
    count "$tmp/guest.log" --requests 300 --lines 2
    counted requests 300
    undegraded
}

@test "protocols: a task that is made for each request has its id" {
    asks protocol
    count "$tmp/guest.log" --requests 300 --lines 2
}

@test "tasks, callbacks and threads that a request starts have its id" {
    asks tasks
    until_lines 1500 "$tmp/guest.log"
    grep -v soon "$tmp/guest.log" >"$tmp/before"
    count "$tmp/before" --requests 300 --lines 4
    count "$tmp/guest.log" --requests 300 --lines 5 --none any
}

@test "an executor's threads, which get no context, have no id" {
    asks executor
    grep -v thread "$tmp/guest.log" >"$tmp/own"
    count "$tmp/own" --requests 300 --lines 2
    count "$tmp/guest.log" --requests 300 --lines 3 --none any
}

@test "what goes on behind the answer never has the next request's id" {
    for way in busy background; do
        : >"$tmp/guest.log"
        asks "$way"
        until_lines $((way == busy ? 900 : 1200)) "$tmp/guest.log"
        stop "$pid"
        grep -E '"(late|background|timer) ' "$tmp/guest.log" >"$tmp/behind"
        [ -s "$tmp/behind" ]
        count "$tmp/behind" --none any --all-none
        count "$tmp/guest.log" --none any --least-right 48
    done
}

@test "a consumer that one request has created is nobody's once that one is answered" {
    serve guest "$port" /usr/bin/python3 "$python/contexts.py" "$port" consumer
    burst "$url" --requests 1 --connections 1 --numbered
    burst "$url" --first 2 --requests 300 --connections 24 --per-connection 20 --numbered
    grep consumed "$tmp/guest.log" | tail -n +2 >"$tmp/consumed"
    count "$tmp/consumed" --none any --all-none
    grep -v consumed "$tmp/guest.log" >"$tmp/own"
    count "$tmp/own" --requests 301 --lines 2
}

@test "handlers of several connections in one context are nobody's" {
    asks shared
    count "$tmp/guest.log" --requests 300 --lines 2 --none any
}

@test "inside TLS, which asyncio does in memory, too" {
    openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -keyout "$tmp/both.pem" -out "$tmp/cert.pem" -days 3 \
        -subj /CN=localhost 2>"$tmp/openssl.err"
    cat "$tmp/cert.pem" >>"$tmp/both.pem"
    for way in plain protocol; do
        : >"$tmp/guest.log"
        serve guest "$port" /usr/bin/python3 "$python/contexts.py" "$port" "$way" "$tmp/both.pem"
        burst "https://127.0.0.1:$port/" --requests 200 --connections 12 --per-connection 20 --numbered
        stop "$pid"
        # The first request of a connection may come with the end of the handshake, before its stream's task has begun.
        if [ "$way" = plain ]; then
            count "$tmp/guest.log" --requests 200 --lines 2 --none 48
        else
            count "$tmp/guest.log" --requests 200 --lines 2
        fi
    done
}

@test "pipelined requests are never taken for one another" {
    for way in plain protocol; do
        : >"$tmp/guest.log"
        serve guest "$port" /usr/bin/python3 "$python/contexts.py" "$port" "$way"
        if [ "$way" = plain ]; then
            burst "$url" --requests 200 --connections 8 --pipeline 4 --numbered
        else
            burst "$url" --requests 200 --connections 8 --pipeline 4
        fi
        stop "$pid"
        count "$tmp/guest.log" --requests 200 --lines 2 --none any
    done
}

@test "a head that comes in pieces is known when it is whole" {
    serve guest "$port" /usr/bin/python3 "$python/contexts.py" "$port" protocol
    burst "$url" --requests 40 --connections 4 --pieces 7 --numbered
    count "$tmp/guest.log" --requests 40 --lines 2
}

@test "aiohttp and uvicorn: each request's lines and calls have its id" {
    start_upstream
    settings+=(UP="$up")
    serve guest "$port" /usr/bin/python3 "$python/aio.py" "$port"
    burst "$url" --requests 200 --connections 16 --per-connection 20 --numbered
    count "$tmp/guest.log" --requests 200 --lines 2
    calls --requests 200
    stop "$pid"
    : >"$tmp/calls"
    : >"$tmp/guest.log"
    serve guest "$port" /usr/bin/python3 -m uvicorn --app-dir "$python" --port "$port" --log-level error aio:asgi
    burst "$url" --requests 200 --connections 16 --per-connection 20 --numbered
    count "$tmp/guest.log" --requests 200 --lines 2
    calls --requests 200
}

@test "with TRACESHIM_LOOP=off, and in programs without asyncio, contexts are left alone" {
    settings+=(TRACESHIM_LOOP=off)
    asks plain
    count "$tmp/guest.log" --requests 300 --lines 2 --none any --all-none
    counted context_marks 0
    stop "$pid"
    unset 'settings[-1]'
    serve guest "$port" /usr/bin/python3 "$python/http_server.py" "$port"
    burst "$url" --requests 40 --numbered
    counted context_marks 0
}

@test "a program sees no variable of ours where no request was read, and one where one was" {
    cat >"$tmp/look.py" <<'PY'
import asyncio, contextvars, sys

async def serve(reader, writer):
    await reader.readuntil(b"\r\n\r\n")
    print([var.name for var in contextvars.copy_context()], flush=True)
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")

async def main():
    server = await asyncio.start_server(serve, "127.0.0.1", int(sys.argv[1]))
    print(list(contextvars.copy_context()), flush=True)
    await server.serve_forever()

asyncio.run(main())
PY
    serve guest "$port" /usr/bin/python3 "$tmp/look.py" "$port"
    curl -s "$url"
    [ "$(jq -r .message "$tmp/guest.log" | tr '\n' ' ')" = "[] ['traceshim'] " ]
}

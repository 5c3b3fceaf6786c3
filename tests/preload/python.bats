#!/usr/bin/env bats
# shellcheck disable=SC2030,SC2031,SC2154 # each test is a subshell; variables come from servers.bash
#
# Python's servers under load: threads under the GIL, prefork and threaded gunicorn, greenlets, asyncio, hand-offs.

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

# gunicorn_serves WORKER_CLASS [OPTION]...
gunicorn_serves() {
    serve guest "$port" /usr/bin/gunicorn --bind "127.0.0.1:$port" --chdir "$python" --worker-class "$1" --backlog 512 \
        --access-logfile - --access-logformat 'access %(r)s %(s)s' "${@:2}" app:app
}

@test "ThreadingHTTPServer: prints in pieces, logging and the access log, each line with its id" {
    serve guest "$port" /usr/bin/python3 "$python/http_server.py" "$port"
    burst "$url" --requests 300 --connections 24 --numbered
    burst "$url" --first 301 --requests 40 --connections 8 --method POST --body 9000 --numbered
    count "$tmp/guest.log" --requests 340 --lines 2
    count "$tmp/guest.err" --requests 340 --lines 1
    counted requests 340
    undegraded
}

@test "what a program keeps back in streams of its own around its output has nobody's id" {
    serve guest "$port" /usr/bin/python3 "$python/own_stream.py" "$port"
    burst "$url" --requests 600 --connections 1 --numbered
    burst "$url" --first 601 --requests 600 --connections 24 --numbered
    undegraded
    # What is left in the streams is lost with the process.
    [ "$(grep -c '"message":"\(begin\|end\) n=' "$tmp/guest.log")" -gt 1000 ]
    [ "$(grep -c '"message":"and by the other stream n=' "$tmp/guest.err")" -gt 500 ]
    count "$tmp/guest.log" "$tmp/guest.err" --requests 1200 --none any
}

@test "one pool of threads that reads and works, and another thread that answers: never another's id" {
    serve guest "$port" /usr/bin/python3 "$python/stages.py" "$port"
    burst "$url" --requests 100 --connections 1 --numbered
    burst "$url" --first 101 --requests 900 --connections 24 --numbered
    count "$tmp/guest.log" --requests 1000 --lines 2 --none any
    counted requests 1000
    undegraded
}

@test "ThreadingHTTPServer: urllib and http.client send the trace on" {
    start_upstream
    serve guest "$port" /usr/bin/python3 "$python/http_server.py" "$port" "$up"
    burst "$url" --requests 300 --connections 24 --numbered
    count "$tmp/guest.log" --requests 300 --lines 2
    calls --requests 300
    counted calls_injected 300
    undegraded
}

@test "ThreadingHTTPServer answers the same bare and preloaded" {
    for shim in '' "$object"; do
        serve guest "$port" /usr/bin/python3 "$python/http_server.py" "$port"
        burst "$url" --requests 40 --save "$tmp/answers.${shim:+preloaded}"
        stop "$pid"
    done
    [ -s "$tmp/answers." ]
    cmp "$tmp/answers." "$tmp/answers.preloaded"
}

@test "gunicorn sync: each line has its id, and requests sends the trace on" {
    start_upstream
    settings+=(UP="$up")
    gunicorn_serves sync --workers 4
    burst "$url" --requests 200 --connections 16 --per-connection 1 --numbered
    count "$tmp/guest.log" --requests 200 --lines 2
    grep 'middle n=' "$tmp/guest.err" >"$tmp/middle"
    count "$tmp/middle" --requests 200 --lines 1
    calls --requests 200
    counted requests 200
    undegraded
}

@test "gunicorn gthread: kept connections change threads, and no line is another's" {
    start_upstream
    settings+=(UP="$up")
    gunicorn_serves gthread --workers 1 --threads 8
    burst "$url" --requests 300 --connections 16 --per-connection 5 --numbered
    # After the response a wait for the GIL may be one for work: the access line has no id then.
    count "$tmp/guest.log" --requests 300 --lines 2 --least-right 300 --none any
    calls --requests 300 --none any --least-right 250
    counted requests 300
    undegraded
}

@test "gunicorn gevent: greenlets on one thread are never taken for one another" {
    start_upstream
    settings+=(UP="$up")
    gunicorn_serves gevent --workers 1
    burst "$url" --requests 60 --connections 1 --numbered
    burst "$url" --first 61 --requests 400 --connections 24 --numbered
    count "$tmp/guest.log" --requests 460 --lines 2 --none any
    calls --requests 460 --none any
    counted requests 460
    undegraded
}

@test "Flask's own server: each line has its id" {
    serve guest "$port" /usr/bin/python3 "$python/app.py" "$port"
    burst "$url" --requests 200 --connections 16 --numbered
    count "$tmp/guest.log" --requests 200 --lines 1
    count "$tmp/guest.err" --requests 200 --lines 2
    counted requests 200
    undegraded
}

@test "asyncio: tasks on one thread are never taken for one another" {
    serve guest "$port" /usr/bin/python3 "$python/streams.py" "$port"
    burst "$url" --requests 60 --connections 1 --numbered
    burst "$url" --first 61 --requests 600 --connections 32 --numbered
    count "$tmp/guest.log" --requests 660 --lines 3 --none any
    counted requests 660
    undegraded
}

@test "a reader thread and a pool of handlers: never another's id" {
    serve guest "$port" /usr/bin/python3 "$python/handoff.py" "$port"
    burst "$url" --requests 60 --connections 1 --numbered
    burst "$url" --first 61 --requests 600 --connections 32 --numbered
    count "$tmp/guest.log" --requests 660 --lines 2 --none any
    counted requests 660
    undegraded
}

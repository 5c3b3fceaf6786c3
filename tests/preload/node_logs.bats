#!/usr/bin/env bats
# shellcheck disable=SC2030,SC2031,SC2154 # each test is a subshell; variables come from servers.bash and node.bash
#
# Node: every way in which a program writes its lines, and everything that it writes them to. Each line says its request's
# number; each request has the same count of lines, so none may be lost, joined or made twice.

load servers
load node

setup_file() {
    node_setup_file
}

setup() {
    node_setup
}

teardown() {
    servers_teardown
}

requests=120

# stopped LINES: the server has written them all, and is stopped
stopped() {
    until_lines "$1" "$tmp"/guest.{log,err}
    stop "$guest"
}

# each_line LINES KIND [FILE]: the server of loggers.mjs writes so many lines a request, and each has its id
each_line() {
    echo "--- $2 to ${3:-standard output}"
    node_serves loggers.mjs "${@:2}"
    burst "$url" --requests $requests --connections 30 --numbered
    local -a logs=("$tmp/guest.log" "$tmp/guest.err")
    [ -z "${3:-}" ] || logs=("$3")
    until_lines $((requests * $1)) "${logs[@]}"
    stop "$guest"
    # shellcheck disable=SC2086 # options, if any
    count "${logs[@]}" --requests $requests --lines "$1" ${options:-}
}

# lines_of LINES KIND...: on fresh servers
lines_of() {
    local kind
    for kind in "${@:2}"; do
        each_line "$1" "$kind"
        again
    done
}

# spliced: the last server's lines are its own JSON with fields added, not wrapped
spliced() {
    jq -es 'length > 0 and all(has("level") and (.message? // .msg | type == "string")
            and (has("msg") and has("message") | not))' \
        "$tmp"/guest.log >/dev/null || { head -n 3 "$tmp/guest.log" && return 1; }
    lacks -E '"message": *"\{' "$tmp/guest.log"
}

# Several lines in one write may have been collected from several requests: two of the five have no ids.
several='--none 240'

@test "console, consoles of the program's own: each line has its id" {
    lines_of 5 console own-console
}

@test "util.debuglog: each line has its id" {
    settings+=(NODE_DEBUG=shop)
    lines_of 5 debuglog
}


@test "process.stdout in pieces and corked: each line that is written alone has its id" {
    options=$several lines_of 5 pieces cork
}

@test "fs writes to descriptor 1, synchronous, by callback, vectored: each line that is written alone has its id" {
    options=$several lines_of 5 write-sync write-async writev-sync
}

@test "synchronous fs appends to /dev/stdout: each line that is written alone has its id" {
    options=$several lines_of 5 append-sync write-file
}

@test "fs appends to /dev/stdout by promise and by file handle: each line has its id or none" {
    options='--none any' lines_of 5 append-promise file-handle
}

@test "a logger that collects lines and writes them by fs or process.stdout: each line has its id or none" {
    options='--none any' lines_of 5 own-batch own-batch-async own-batch-stdout own-queue
}

@test "write streams on descriptor 1 and on /dev/stdout: each line that is written alone has its id" {
    options=$several lines_of 5 write-stream dev-stream
}

@test "pino, synchronous, asynchronous and buffered: ids are spliced into each line" {
    local kind
    for kind in pino pino-child pino-sync pino-async pino-buffered; do
        each_line 4 "$kind"
        spliced
        again
    done
}

@test "pino through transports in a worker thread: ids are spliced into each line" {
    each_line 4 pino-transport
    spliced
    again
    node_serves loggers.mjs pino-transports
    burst "$url" --requests $requests --connections 30 --numbered
    # What is an error goes to both targets.
    stopped $((requests * 5))
    count "$tmp/guest.log" --requests $requests --lines 4
    count "$tmp/guest.err" --requests $requests --lines 1
    spliced
}

@test "pino-pretty as a stream: each line has its id" {
    lines_of 5 pino-pretty
}

@test "pino-pretty as a transport: each line has its id or none" {
    options='--none any' lines_of 5 pino-pretty-transport
}

@test "pino-http: each line of a request's own logger has its id, the one that tells of its end too" {
    options='--whole' lines_of 5 pino-http
}

@test "winston, JSON and text: each line has its id" {
    each_line 4 winston
    spliced
    again
    options=$several lines_of 5 winston-simple
}

@test "bunyan: ids are spliced into each line" {
    each_line 4 bunyan
    spliced
}

@test "log files of pino, winston and bunyan that the user named: each line has its id" {
    local kind
    settings+=(TRACESHIM_LOG_FILES="$tmp/*.applog")
    for kind in pino-file winston-file bunyan-file; do
        each_line 4 "$kind" "$tmp/$kind.applog"
        again
    done
}

# through_pipe LINES KIND [slow]
through_pipe() {
    echo "--- $2 through a pipe ${3:-}"
    piped "${@:3}"
    node_serves loggers.mjs "$2"
    burst "$url" --requests $((requests * 2)) --connections 60 --numbered
    until_lines $((requests * 2 * $1)) "$tmp/guest.out" "$tmp/guest.err"
    stop "$guest"
    read_up
    # shellcheck disable=SC2086 # options, if any
    count "$tmp/guest.out" "$tmp/guest.err" --requests $((requests * 2)) --lines "$1" ${options:-}
    again
}

@test "standard output is a pipe: each line has its id" {
    through_pipe 5 console
    options='--none any' through_pipe 5 pieces
    through_pipe 4 pino
    through_pipe 4 pino-async
    through_pipe 4 winston
}

@test "the pipe's reader is slow: each line has the id of who logged it, not of who wrote it" {
    through_pipe 5 console slow
    # The pieces of a line that have to wait are none's.
    options='--none any' through_pipe 5 pieces slow
    through_pipe 4 winston slow
}

@test "the pipe's reader is slow, and lines are written by fs and by pino: none is lost, each has its id" {
    options='--none 480' through_pipe 5 write-sync slow
    options='--none 480' through_pipe 5 write-stream slow
    through_pipe 4 pino slow
    through_pipe 4 pino-async slow
    through_pipe 4 pino-transport slow
}

# on_terminal: some requests for a server that has one; what it prints there is in guest.log
on_terminal() {
    local -a traced=(env "${settings[@]}" LD_PRELOAD="$object")
    shim='' serve guest "$port" "$BATS_TEST_DIRNAME/plumbing" terminal -- "${traced[@]}" \
        "$node" "$node_apps/loggers.mjs" "$port" console
    guest=$pid
    burst "$url" --requests 60 --connections 20 --numbered
    stopped 300
}

@test "standard output is a terminal: lines stay text, or have their ids where the user asked for it" {
    on_terminal
    lacks -F '"message"' "$tmp/guest.log"
    again
    settings+=(TRACESHIM_LOG_TTY=on)
    on_terminal
    count "$tmp/guest.log" --requests 60 --lines 5
}

@test "Node 18, 22 and 24: console, fs and pino through a slow pipe" {
    local version kind
    for version in 18 22 24; do
        with_node $version
        echo "--- Node $version"
        options=$several lines_of 5 write-sync write-async dev-stream
        lines_of 4 pino-transport
        through_pipe 5 console slow
        through_pipe 4 pino-async slow
    done
}

@test "a header of the request is in each of its lines" {
    settings+=(TRACESHIM_LOG_HEADERS="x-user-id=userId")
    node_serves loggers.mjs console
    burst "$url" --requests 100 --connections 20 --header 'x-user-id: user-@N@'
    stopped 500
    jq -es 'length == 500 and all(.userId == "user-" + (.message | capture("n=(?<n>[0-9]+)").n))' "$tmp"/guest.{log,err}
    again
    node_serves loggers.mjs pino
    burst "$url" --requests 100 --connections 20 --header 'x-user-id: user-@N@'
    stopped 400
    jq -es 'length == 400 and all(.userId == "user-" + (.msg | capture("n=(?<n>[0-9]+)").n))' "$tmp/guest.log"
}

@test "log formats: lines that stay text end in their ids, other field names are the format's, off leaves all alone" {
    settings+=(TRACESHIM_LOG=text)
    node_serves loggers.mjs console
    burst "$url" --requests 60 --connections 20
    stopped 300
    awk 'match($0, /n=[0-9]+/) { n = substr($0, RSTART + 2, RLENGTH - 2); lines++
            if (index($0, sprintf("%016x", n)) && index($0, "7e57")) good++ }
        END { print lines, good; exit lines != 300 || good != 300 }' "$tmp"/guest.{log,err}
    again
    settings+=(TRACESHIM_LOG=camel)
    node_serves loggers.mjs console
    burst "$url" --requests 60 --connections 20
    stopped 300
    jq -es 'length == 300 and all(.traceId | startswith("7e57"))' "$tmp"/guest.{log,err}
    again
    settings+=(TRACESHIM_LOG=off)
    node_serves loggers.mjs console
    burst "$url" --requests 60 --connections 20
    stopped 300
    lacks -hvE '^n=[0-9]+ (begins|first of two|second of two|ends|error with "quotes" and ünïcödé)$' "$tmp"/guest.{log,err}
}

@test "worker threads: the main thread's lines have their ids, a worker's never another's" {
    node_serves workers.js
    burst "$url" --requests 150 --connections 30 --numbered
    stopped 918
    count "$tmp/guest.log" --requests 150 --none any
    count "$tmp/guest.err" --none any
    grep 'main ' "$tmp/guest.log" >"$tmp/main"
    count "$tmp/main" --requests 150 --least-right 450
}

@test "child processes that inherit the output, of every kind: their lines have the request's id" {
    node_serves children.js
    burst "$url" --requests 80 --connections 8 --numbered
    stopped 256
    # A forked child may serve many requests: what it logs after a message has no id.
    count "$tmp"/guest.{log,err} --requests 80 --none 8
    lacks -h 'data changed' "$tmp"/guest.{log,err}
    programs_got_their_own "$tmp/guest.log" 8
}

# crashes WAY: bare and preloaded; leaves the preloaded one's output
crashes() {
    local status bare
    # shellcheck disable=SC2034 # start looks at it
    for shim in '' "$object"; do
        again
        node_serves crash.js "$1"
        burst "$url" --requests 60 --connections 20 >/dev/null || true
        ended "$guest"
        bare=${bare:-$status}
    done
    echo "--- $1: exit status $bare bare, $status preloaded"
    [ "$status" -eq "$bare" ]
    [ "$status" -ne 0 ]
    count "$tmp/guest.log" --none any
    count "$tmp/guest.err" --least-right 1 --unnumbered
    jq -es 'map(select(.message | test("^    at "))) as $trace | (map(select(.message | test("is fatal$")))[0].trace_id) as $id
        | ($trace | length > 2) and ($trace | all(.trace_id == $id))' "$tmp/guest.err"
}

@test "a program that dies of a request prints its stack trace with that request's id, and exits as it would" {
    local way
    for way in throw reject async handler catcher alone; do crashes $way; done
}

#!/usr/bin/env bash
# shellcheck disable=SC2034 # variables are for the tests
#
# What the tests with real servers share: start a server bare or preloaded on a free port, stop it by its pid, and ask the
# status pages of its processes what they counted. The ground truth is in ./attribution.

readonly WAIT_TRIES=2400 # of 0.025 s, and of what a look costs: a minute, because a busy machine may need it

servers_setup() {
    here=$BATS_TEST_DIRNAME
    build=$(cd "${TRACESHIM_BUILD:-$here/../../build}" && pwd)
    export -n TRACESHIM_BUILD
    unset PYTHONUNBUFFERED PYTHONDONTWRITEBYTECODE LD_PRELOAD TRACEPARENT TRACESTATE BAGGAGE "${!OTEL_@}"
    local name
    for name in "${!TRACESHIM_@}"; do [ "$name" = TRACESHIM_BUILD ] || unset "$name"; done
    export PYTHONDONTWRITEBYTECODE=1
    PATH=$PATH:/usr/sbin:/sbin
    object=$build/libtraceshim.so
    programs=$build/tests
    apps=$here/../apps/servers
    tmp=$BATS_TEST_TMPDIR
    chmod 755 "$BATS_RUN_TMPDIR" "$BATS_FILE_TMPDIR" "$tmp" # as root, workers become another user
    mkdir -m 1777 "$tmp/run"
    started=()
    settings=(TRACESHIM_RUN_DIR="$tmp/run") # of a preloaded server
    shim=$object
}

# What a root's server starts as another user loads the object again, and may have no way into the build's folder.
reachable_object() {
    mkdir -p "$tmp/object"
    cp "$object" "$tmp/object/"
    shim=$tmp/object/${object##*/}
}

servers_teardown() {
    local pid
    for pid in "${started[@]}"; do stop "$pid"; done
}

# free_port: one where nobody listens, and that no other test is told while this one runs
free_port() {
    "$here/../preload/free_port.py" "$$"
}

# start NAME COMMAND...: in a process group of its own; output to $tmp/NAME.log and $tmp/NAME.err; its pid in $pid.
# Preloaded, with ${settings[@]} in the environment, unless $shim is empty.
start() {
    local name=$1
    shift
    set -m
    (
        if [ -n "$shim" ]; then
            export "${settings[@]}" LD_PRELOAD="$shim"
        fi
        exec "$@" </dev/null >>"$tmp/$name.log" 2>>"$tmp/$name.err" 3>&-
    ) &
    pid=$!
    set +m
    started+=("$pid")
}

# serve NAME PORT COMMAND...: start, and wait until the port is open. Whoever has it already would be taken for the server.
serve() {
    local name=$1 at=$2 tries=$WAIT_TRIES
    shift 2
    if (exec 3<>"/dev/tcp/127.0.0.1/$at") 2>/dev/null; then
        echo "$name: port $at is another program's"
        return 1
    fi
    start "$name" "$@"
    until (exec 3<>"/dev/tcp/127.0.0.1/$at") 2>/dev/null; do
        if ! kill -0 "$pid" 2>/dev/null || [ $((tries--)) -le 0 ]; then
            echo "$name does not serve:"
            tail -n 20 "$tmp/$name.log" "$tmp/$name.err"
            return 1
        fi
        sleep 0.025
    done
}

# stop PID: ask, wait, then insist; its group too, for workers that outlive their master
stop() {
    local tries=$WAIT_TRIES
    kill -TERM "$1" 2>/dev/null || true
    while kill -0 "$1" 2>/dev/null && [ $((tries--)) -gt 0 ]; do sleep 0.025; done
    kill -TERM -- "-$1" 2>/dev/null || true
    while kill -0 -- "-$1" 2>/dev/null && [ $((tries--)) -gt 0 ]; do sleep 0.025; done
    kill -KILL -- "-$1" 2>/dev/null || true
    wait "$1" 2>/dev/null || true
}

# start_upstream [OPTION]...: a bare server on $up that writes what it receives to $tmp/calls
start_upstream() {
    up=$(free_port)
    : >"$tmp/calls"
    shim='' serve upstream "$up" "$here/attribution" upstream "$up" "$tmp/calls" "$@"
    upstream=$pid
}

# counter NAME: its sum over the live processes of this test
counter() {
    local page
    for page in "$tmp"/run/*.status; do
        page=${page##*/}
        TRACESHIM_RUN_DIR=$tmp/run "$build/traceshim" status --json "${page%.status}" 2>/dev/null || true
    done | jq -s --arg name "$1" '[.[] | .counters[$name]?, .degradations[$name]? | numbers] | add // 0'
}

# counted NAME WANTED: the counter reaches that value (a worker counts after it has answered), and is not more
counted() {
    local tries=$WAIT_TRIES value
    while value=$(counter "$1") && [ "$value" -lt "$2" ] && [ $((tries--)) -gt 0 ]; do sleep 0.025; done
    echo "counter $1: $value, wanted $2"
    [ "$value" -eq "$2" ]
}

# undegraded: fails when any process had to leave something undone
undegraded() {
    local name
    for name in http_poisoned busy_skipped stale_skipped no_memory_skipped fd_limit_skipped stdio_unhooked \
        symbols_missing lines_raw; do
        counted "$name" 0
    done
}

# until_lines N FILE...: wait until the files have so many lines naming a request
until_lines() {
    local tries=$WAIT_TRIES wanted=$1
    shift
    while [ "$(cat "$@" 2>/dev/null | grep -c 'n=[0-9]')" -lt "$wanted" ] && [ $((tries--)) -gt 0 ]; do sleep 0.025; done
}

burst() {
    "$here/attribution" burst "$@"
}

# count FILE... [options]: judge the lines, once there are as many as --requests and --lines say: many a server logs behind its answer
count() {
    "$here/attribution" count --wait 60 "$@"
}

calls() {
    "$here/attribution" calls "$tmp/calls" "$@"
}

# programs_got_their_own FILE LEAST: the answers of tests/apps/servers/cgi/show have the trace of their own request, so many
# at least, and the others none
programs_got_their_own() {
    local good
    good=$(awk 'match($0, /n=[0-9]+ TRACEPARENT=00-7e57[0-9a-f]+/) {
            text = substr($0, RSTART, RLENGTH); n = substr(text, 3) + 0
            if (substr(text, length(text) - 15) != sprintf("%016x", n)) { bad = 1 } else good++
        } END { print bad ? -1 : good + 0 }' "$1")
    echo "programs with their own trace: $good"
    [ "$good" -ge "$2" ]
}

# cgi_folder: the CGI programs where a server that changed its user may read them; the sources may lie in root's home
cgi_folder() {
    cp -R "$apps/cgi" "$tmp/"
    printf '%s' "$tmp/cgi"
}

# fill TEMPLATE NAME=VALUE...: the template with each @NAME@ replaced
fill() {
    local template=$1 pair
    local -a script=()
    shift
    for pair in "$@"; do script+=(-e "s|@${pair%%=*}@|${pair#*=}|g"); done
    sed "${script[@]}" "$template"
}

# ---- what was exported, where settings+=(TRACESHIM_EXPORT=traces) ------------------------------------------------------

# rings [CHECK...]: what is left for the agent, by the format alone
# shellcheck disable=SC2120 # it is called without, too
rings() {
    /usr/bin/python3 "$here/rings.py" "$tmp/run" "$@"
}

# spans FILTER: how many spans jq selects
# shellcheck disable=SC2119
spans() {
    rings | jq -s "[.[] | select(.what == \"span\" and ($1))] | length"
}

# has_spans FILTER WANTED: the number is reached, and not more: a span is complete right behind the call that its client waits for
has_spans() {
    local tries=$WAIT_TRIES found
    while found=$(spans "$1") && [ "$found" -lt "$2" ] && [ $((tries--)) -gt 0 ]; do sleep 0.025; done
    echo "$1: $found, wanted $2"
    [ "$found" -eq "$2" ]
}

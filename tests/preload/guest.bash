# Helpers of the tests that run a program bare and preloaded and compare the two: stdio, descriptors, processes, threads,
# signals, logs, injection, interposition. To be loaded by `load guest`.
#
# A run's standard output and error are pipes, or regular files, of their own: what the program does with them is what the
# object must leave alone but for the records. Both are closed by everybody before the run counts as over.

# guest_setup: to be called by setup()
guest_setup() {
    root=$(cd "$BATS_TEST_DIRNAME/../.." && pwd)
    build=${TRACESHIM_BUILD:-$root/build}
    [[ $build == /* ]] || build=$root/$build
    so=$build/libtraceshim.so
    guests=$build/tests
    tmp=$BATS_TEST_TMPDIR
    [ -s "$so" ]
    # A guest would count the first one as a key that it does not know.
    export -n TRACESHIM_BUILD
    unset PYTHONUNBUFFERED LD_PRELOAD TRACEPARENT TRACESTATE BAGGAGE
    export TRACESHIM_RUN_DIR=$tmp/run LC_ALL=C.UTF-8
    limit=${GUEST_LIMIT:-60}
}

# into NAME COMMAND...: run it with its output in pipes; leaves NAME.out, NAME.err, NAME.status in $tmp
into() {
    local name=$tmp/$1 status=0
    shift
    {
        {
            # The shell's own word about a signal is none of the program's.
            { timeout -k 5 "$limit" "$@" 2>&8 3>&- 7>&- 8>&- </dev/null; } 2>/dev/null || status=$?
            echo "$status" >"$name.status"
        } 8>&1 >&7 | cat >"$name.err"
    } 7>&1 3>&- | cat >"$name.out"
}

# into_files NAME COMMAND...: the same with regular files
into_files() {
    local name=$tmp/$1 status=0
    shift
    { timeout -k 5 "$limit" "$@" 2>"$name.err" 3>&- </dev/null >"$name.out"; } 2>/dev/null || status=$?
    echo "$status" >"$name.status"
}


# unwrap FILE: the program's own bytes out of its records
unwrap() {
    jq -j '.message + if .partial and (.partial_last | not) then "" else "\n" end' "$1"
}

# records FILE: every line of it must be one JSON object. Fails otherwise.
records() {
    [ ! -s "$1" ] || jq -e -s 'all(type == "object")' "$1" >/dev/null || { echo "not records: $1" && head -c 2000 "$1" && return 1; }
}

# agree BARE SHIM: same output and status, once unwrapped. FILTER (default cat) is applied to both, for what has no order.
agree() {
    local part
    records "$tmp/$2.out" && records "$tmp/$2.err" || return 1
    for part in out err; do
        unwrap "$tmp/$2.$part" | ${FILTER:-cat} >"$tmp/$2.$part.plain" || return 1
        ${FILTER:-cat} <"$tmp/$1.$part" >"$tmp/$1.$part.plain"
        diff -a "$tmp/$1.$part.plain" "$tmp/$2.$part.plain" | head -c 3000
        cmp "$tmp/$1.$part.plain" "$tmp/$2.$part.plain" || return 1
    done
    echo "status bare $(<"$tmp/$1.status"), preloaded $(<"$tmp/$2.status")"
    cmp "$tmp/$1.status" "$tmp/$2.status"
}

# same COMMAND...: bare and preloaded, into pipes, agree
same() {
    into bare "$@"
    into shim env LD_PRELOAD="$so" "$@"
    agree bare shim
}

# same_files COMMAND...: and into regular files
same_files() {
    into_files bare "$@"
    into_files shim env LD_PRELOAD="$so" "$@"
    agree bare shim
}

# stop PID: a process that this test started
stop() {
    kill "$1" 2>/dev/null || true
    wait "$1" 2>/dev/null || true
}

# lacks ARGUMENT...: grep finds nothing. A plain `! grep` fails no test but in its last line.
lacks() {
    ! grep "$@"
}

# whole: no record of the last preloaded run is a part of a line
whole() {
    lacks -hE '"partial":true' "$tmp"/shim.out "$tmp"/shim.err
}

# loosely BARE SHIM: as agree, where some of the processes are bare by design: their lines are no records
loosely() {
    local part
    for part in out err; do
        jq -Rj '. as $line | ((fromjson? | objects | .message + if .partial and (.partial_last | not) then "" else "\n" end) // ($line + "\n"))' \
            "$tmp/$2.$part" | ${FILTER:-cat} >"$tmp/$2.$part.plain" || return 1
        ${FILTER:-cat} <"$tmp/$1.$part" >"$tmp/$1.$part.plain"
        diff -a "$tmp/$1.$part.plain" "$tmp/$2.$part.plain" | head -c 3000
        cmp "$tmp/$1.$part.plain" "$tmp/$2.$part.plain" || return 1
    done
    cmp "$tmp/$1.status" "$tmp/$2.status"
}

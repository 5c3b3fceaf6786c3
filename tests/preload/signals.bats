#!/usr/bin/env bats
# shellcheck disable=SC2154 # guest.bash assigns them
#
# Signals, bare and preloaded: handlers that log while the same thread logs, that jump out of a write, that reap children.

load guest

setup() {
    guest_setup
}

# each_once NAME: NAME 0, NAME 1, ... without a gap, none twice
each_once() {
    unwrap "$tmp/shim.out" | grep -oaE "$1 [0-9]+" | sort -k2n >"$tmp/seen"
    [ -s "$tmp/seen" ]
    [ -z "$(uniq -d "$tmp/seen")" ] || return 1
    [ -n "${2:-}" ] || awk '{ if ($NF != NR - 1) { print "missing " NR - 1; exit 1 } }' "$tmp/seen"
}

@test "a handler logs at a high rate while the main program prints and writes: no deadlock, nothing lost, torn or doubled" {
    local run
    for run in into into_files; do
        $run shim env LD_PRELOAD="$so" "$guests/threads_guest" handler_logs
        [ "$(<"$tmp/shim.status")" -eq 0 ]
        records "$tmp/shim.out"
        each_once tick
        each_once printed gaps
        each_once written gaps
        each_once 'pieces of a' gaps
        [ "$(unwrap "$tmp/shim.out" | grep -c 'ticks 1, errno 0')" -eq 1 ]
        # Four kinds of lines in turn.
        printed=$(unwrap "$tmp/shim.out" | grep -oE 'printed [0-9]+' | wc -l)
        [ "$(unwrap "$tmp/shim.out" | grep -oE 'written [0-9]+' | wc -l)" -eq "$printed" ]
        [ "$(unwrap "$tmp/shim.out" | grep -oE 'pieces of a [0-9]+' | wc -l)" -eq "$printed" ]
        [ "$(unwrap "$tmp/shim.out" | grep -oE ' line$' | wc -l)" -eq "$printed" ]
    done
}

@test "the same into a pipe whose reader is slow" {
    into shim bash -c 'LD_PRELOAD=$0 "$@" | (for i in 1 2 3 4 5 6 7 8; do sleep 0.02; head -c 20000; done; cat)' "$so" \
        "$guests/threads_guest" handler_logs
    [ "$(<"$tmp/shim.status")" -eq 0 ]
    records "$tmp/shim.out"
    each_once tick
}

@test "a handler that jumps out of writes a thousand times leaves a log that goes on" {
    into shim env LD_PRELOAD="$so" "$guests/threads_guest" handler_jumps
    [ "$(<"$tmp/shim.status")" -eq 0 ]
    records "$tmp/shim.out"
    each_once 'written while handlers jump' gaps
    [ "$(unwrap "$tmp/shim.out" | tail -n 1)" = "end 0" ]
}

@test "children are reaped and logged by a SIGCHLD handler" {
    FILTER="sort" same "$guests/threads_guest" child_signals
    whole
    [ "$(wc -l <"$tmp/shim.out")" -eq 300 ]
}

@test "calls that a signal interrupts say EINTR" {
    same "$guests/threads_guest" interrupted_calls
    grep -q 'EINTR' "$tmp/bare.out"
}

@test "programs end by the same signal" {
    local signal
    for signal in TERM SEGV KILL USR1 ABRT; do
        same bash -c "ulimit -c 0; echo line; exec /usr/bin/python3 -uSc 'import os; print(\"half\"); os.kill(os.getpid(), __import__(\"signal\").SIG$signal)'"
        [ "$(<"$tmp/shim.status")" -gt 128 ]
    done
}

#!/usr/bin/env bats
# shellcheck disable=SC2154 # guest.bash assigns them
#
# Threads, bare and preloaded: small stacks, cancellation, forks among other threads' work, exceptions.

load guest

setup() {
    guest_setup
}

# count PATTERN: lines of the last preloaded run that are it, wholly
count() {
    unwrap "$tmp/shim.out" | grep -cxE "$1"
}

@test "threads with the smallest stack there is log in every way, each its own lines" {
    into bare "$guests/threads_guest" small_stacks
    into shim env LD_PRELOAD="$so" "$guests/threads_guest" small_stacks
    records "$tmp/shim.out"
    cmp "$tmp/bare.status" "$tmp/shim.status"
    whole
    [ "$(count 'written [0-9]+')" -eq 400 ]
    [ "$(count 'printed [0-9]+')" -eq 400 ]
    [ "$(count 'pieces of thread [0-7] [0-9]+')" -eq 400 ]
    [ "$(count 'joined 1')" -eq 8 ]
    [ "$(wc -l <"$tmp/shim.out")" -eq 1208 ]
}

@test "threads that print the first lines of a process together print records" {
    into shim bash -c 'for i in $(seq 100); do LD_PRELOAD=$0 "$1" first_together; done' "$so" "$guests/threads_guest"
    records "$tmp/shim.out"
    [ "$(count '(first|second) [0-7]')" -eq 1600 ]
}

@test "a child that is forked while other threads print and send neither hangs nor repeats their lines" {
    local run
    for run in into into_files; do
        $run shim env LD_PRELOAD="$so" "$guests/threads_guest" forks_among_threads
        [ "$(<"$tmp/shim.status")" -eq 0 ]
        records "$tmp/shim.out"
        whole
        [ "$(count 'child [0-9]+ writes')" -eq 100 ]
        [ "$(count 'good children 100')" -eq 1 ]
        [ "$(count 'child [0-9]+ writes|good children 100|worker writes|worker [0-3] prints [0-9]+')" -eq "$(wc -l <"$tmp/shim.out")" ]
        [ -z "$(unwrap "$tmp/shim.out" | grep prints | sort | uniq -d)" ]
    done
}

@test "threads are cancelled in read, write, waits and log writes; cleanup runs, and nothing stays locked" {
    FILTER="sort" same "$guests/threads_guest" cancels
    into shim bash -c 'LD_PRELOAD=$0 "$@" | (sleep 0.2; cat)' "$so" "$guests/threads_guest" cancels_in_log
    [ "$(<"$tmp/shim.status")" -eq 0 ]
    records "$tmp/shim.out"
    [ "$(unwrap "$tmp/shim.out" | grep -cE 'joined [0-9]+ in pieces$')" -eq 50 ]
}

@test "exceptions and cancellation pass through, destructors run, an uncaught exception ends the program the same" {
    same "$guests/unwind"
    [ "$(<"$tmp/shim.status")" -eq 11 ]
    jq -e -s 'map(.message) | index("log 2 3.5") != null and index("caught thrown in pieces 1") != null' "$tmp/shim.err"
}

@test "a line that one thread leaves in a shared buffer, and another one writes, has not the other one's id" {
    into shim env LD_PRELOAD="$so" "$guests/shared_buffer" "$tmp"
    [ "$(<"$tmp/shim.status")" -eq 0 ]
    records "$tmp/shim.out"
    [ "$(count 'of [1-8]')" -eq 8 ]
    # Of the first three nothing is known; the next began behind the write that showed the buffer. The last one's goes out behind another's.
    [ "$(jq -r 'select(.trace_id) | "\(.message) \(.trace_id | ltrimstr("0" * 31))"' "$tmp/shim.out")" = $'of 4 4\nof 5 5\nof 6 6\nof 7 7' ]
}

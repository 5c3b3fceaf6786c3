#!/usr/bin/env bats
# shellcheck disable=SC2030,SC2031,SC2034,SC2154 # each test is a subshell; variables come from servers.bash
#
# TRACESHIM_ATTRIBUTION=validated: jobs that workers take out of queues. What is told is right, and what misleads is not believed.

load servers

setup() {
    servers_setup
    port=$(free_port)
    url=http://127.0.0.1:$port/
    handoff=$build/libtraceshim-handoff.so
    settings+=(TRACESHIM_ATTRIBUTION=validated)
    shim=$object:$handoff
}

teardown() {
    servers_teardown
}

# misled MODE LINES: more requests than it takes to believe something, at several loads; lines may lack an id
misled() {
    serve guest "$port" "$programs/server_handoff" "$1" "$port"
    burst "$url" --requests 200 --connections 1 --numbered
    burst "$url" --first 201 --requests 1800 --connections 24 --numbered
    burst "$url" --first 2001 --requests 500 --connections 5 --numbered
    until_lines $((2500 * $2)) "$tmp/guest.log"
    count "$tmp/guest.log" --requests "${numbered:-2500}" --lines "$2" --none any
    counted requests 2500
    counted handoffs_contradicted 0
    undegraded
}

@test "jobs from a queue have their request's id once responses have confirmed it" {
    serve guest "$port" "$programs/server_handoff" queue "$port"
    burst "$url" --requests 3000 --connections 16 --per-connection 20 --numbered
    until_lines 6000 "$tmp/guest.log"
    count "$tmp/guest.log" --requests 3000 --lines 2 --none any
    # The same load again: nearly all of them.
    : >"$tmp/guest.log"
    burst "$url" --first 3001 --requests 1000 --connections 16 --per-connection 20 --numbered
    until_lines 2000 "$tmp/guest.log"
    count "$tmp/guest.log" --first 3001 --requests 1000 --lines 2 --none any --least-right 1600
    counted handoffs_contradicted 0
    counted handoffs_switched_off 0
    counted handoffs_agreed "$(counter handoffs_named)"
    undegraded
}

@test "without the second object nothing is believed, and the status says why" {
    shim=$object
    serve guest "$port" "$programs/server_handoff" queue "$port"
    burst "$url" --requests 1500 --connections 16 --numbered
    until_lines 3000 "$tmp/guest.log"
    count "$tmp/guest.log" --requests 1500 --lines 2 --none any
    counted handoffs_named 0
    TRACESHIM_RUN_DIR=$tmp/run "$build/traceshim" status "$pid" | grep -q 'libtraceshim-handoff.so is not preloaded'
}

@test "with the second object but not the setting nothing is believed" {
    settings=(TRACESHIM_RUN_DIR="$tmp/run")
    serve guest "$port" "$programs/server_handoff" queue "$port"
    burst "$url" --requests 1500 --connections 16 --numbered
    until_lines 3000 "$tmp/guest.log"
    count "$tmp/guest.log" --requests 1500 --lines 2 --none any
    counted handoffs_named 0
}

@test "a pool whose threads are created in the first requests is never wrong" {
    misled lazy 3
}

@test "workers that read for themselves are never wrong" {
    misled wander 2
}

@test "a pool that reads and answers in different tasks is never wrong" {
    misled stages 2
}

@test "a thread that logs for others after its response is never wrong" {
    numbered=0 misled tail 1 # the last few notes stay unwritten
}

@test "traceshim run preloads the second object where it is asked for, and only there" {
    run env TRACESHIM_LIBRARY="$object" TRACESHIM_ATTRIBUTION=validated "$build/traceshim" run -- sh -c 'echo "$LD_PRELOAD" >&3' 3>"$tmp/preload"
    [ "$status" -eq 0 ]
    [ "$(<"$tmp/preload")" = "$object:$handoff" ]
    run env TRACESHIM_LIBRARY="$object" "$build/traceshim" run -- sh -c 'echo "$LD_PRELOAD" >&3' 3>"$tmp/preload"
    [ "$status" -eq 0 ]
    [ "$(<"$tmp/preload")" = "$object" ]
    # Once, also where somebody has done it already.
    run env TRACESHIM_LIBRARY="$object" LD_PRELOAD="$object:$handoff" TRACESHIM_ATTRIBUTION=validated \
        "$build/traceshim" run -- sh -c 'echo "$LD_PRELOAD" >&3' 3>"$tmp/preload"
    [ "$(<"$tmp/preload")" = "$object:$handoff" ]
}

@test "the second object exports what it interposes and its table, needs libc alone, and works without the first" {
    [ "$(readelf -W --dyn-syms "$handoff" | awk '$1 ~ /^[0-9]+:$/ && $7 != "UND" { print $8 }' | sort | xargs)" = \
        "mtx_unlock pthread_mutex_unlock traceshim_handoff" ]
    [ "$(readelf -d "$handoff" | awk '/NEEDED/ { print $NF }')" = "[libc.so.6]" ]
    newest=$(readelf -W --version-info "$handoff" | grep -oE 'GLIBC_[0-9.]+' | sort -uV | tail -n 1)
    [ "$(printf '%s\n' "$newest" GLIBC_2.17 | sort -V | tail -n 1)" = GLIBC_2.17 ]
    "$programs/threads_guest" first_together | sort >"$tmp/bare"
    LD_PRELOAD=$handoff "$programs/threads_guest" first_together | sort >"$tmp/alone"
    cmp "$tmp/bare" "$tmp/alone"
}

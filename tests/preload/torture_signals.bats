#!/usr/bin/env bats
# shellcheck disable=SC2154 # guest.bash assigns them
#
# The torture set, signals: handlers that log and send at full rate, jumps out of hooks, cancellation.
# FULL=1: many times as many.

load guest
load torture

setup() {
    torture_setup
}

# any COMMAND...: as torture, of what has no order
any() {
    ORDER=any in_any_order torture "$@"
}

in_any_order() {
    FILTER="sort" "$@"
}

# survivors: without what was being written when a handler jumped away or its thread was cancelled
survivors() {
    grep -avE 'victim|for ever' || true
}

@test "handlers log and send on four threads at full rate, in the midst of the same" {
    any "$guests/torture_signals" storm_of_signals
    any "$guests/torture_signals" small_stack
}

@test "a handler's first line in the midst of the process's first line is a record" {
    in_any_order torture "$guests/torture_signals" first_lines
}

@test "a handler jumps out of hooks, and out of calls that block; what comes after is as it should be" {
    FILTER=survivors torture "$guests/torture_signals" jumps_out
    torture "$guests/torture_signals" jumps_out_of_waits
}

@test "threads are cancelled in every call that blocks, at once and when they get there" {
    torture "$guests/torture_cancel" deferred
    HOWS=into torture "$guests/torture_cancel" asynchronous
    HOWS=into_files ORDER=any torture "$guests/torture_cancel" pending
    FILTER=survivors torture "$guests/torture_cancel" in_the_midst
}

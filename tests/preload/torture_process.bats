#!/usr/bin/env bats
# shellcheck disable=SC2154 # guest.bash assigns them
#
# The torture set, processes: forks from many threads and by every name, children on our memory, programs without an environment.
# FULL=1: many times as many.

load guest
load torture

setup() {
    torture_setup
}

@test "four threads fork while others log and send: no child hangs, repeats a line, or touches a connection" {
    ORDER=any FILTER="sort" torture "$guests/torture_process" forks_from_threads
}

@test "children of vfork and clone that share our memory do to their descriptors what they want" {
    # What a vfork child prints passes as it is.
    AGREE=loosely torture "$guests/torture_process" shared_memory
}

@test "a fork by any name is one: what was begun is the parent's" {
    torture "$guests/torture_process" forks_by_number
}

@test "programs that are started with no environment" {
    AGREE=loosely torture "$guests/torture_process" emptied_environment
}

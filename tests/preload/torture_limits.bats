#!/usr/bin/env bats
# shellcheck disable=SC2154 # guest.bash assigns them
#
# The torture set, processes that may do little: sandboxes, limits, no standard descriptors, peers that are gone.

load guest
load torture

setup() {
    torture_setup
}

@test "a process that confines itself is not killed for a system call of ours" {
    AGREE=loosely torture "$guests/torture_limits" seccomp_strict
    AGREE=loosely torture "$guests/torture_limits" seccomp_filter
}

@test "a process that may write no file listens, serves and logs to a pipe" {
    # A file of its own would hold no line.
    HOWS=into torture "$guests/torture_limits" no_file_size
}

@test "a log that may not grow any more refuses bytes, and has them all once it may" {
    torture "$guests/torture_limits" file_that_may_not_grow
}

@test "at the edge of the limits of descriptors, memory and stacks" {
    torture "$guests/torture_limits" few_descriptors
    AGREE=loosely torture "$guests/torture_limits" no_memory
    AGREE=loosely torture "$guests/torture_limits" no_processes
}

@test "standard descriptors that are closed at the start become files, connections and logs of no kind" {
    local closed
    for closed in '<&-' '>&-' '2>&-' '<&- >&-' '>&- 2>&-' '<&- 2>&-' '<&- >&- 2>&-'; do
        echo "# $closed"
        torture bash -c "exec \"\$@\" $closed" - "$guests/torture_limits" opens_files
    done
}

@test "a peer that is gone shows by SIGPIPE or by EPIPE, as the program wants it" {
    torture "$guests/torture_limits" pipe_ignored
    torture "$guests/torture_limits" pipe_kills
    [ "$(<"$tmp/into.bare.status")" -eq 141 ]
}

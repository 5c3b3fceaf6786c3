#!/usr/bin/env bats
# shellcheck disable=SC2154 # guest.bash assigns them
#
# The torture set, memory: pages that go away between two calls, and pages that are not to be had.

load guest
load torture

setup() {
    torture_setup
}

@test "a buffer that was there a moment ago and is gone is an error, not a crash" {
    torture "$guests/torture_memory" pages_go
}

#!/usr/bin/env bats
# shellcheck disable=SC2154 # guest.bash assigns them
#
# The torture set, calls that the kernel refuses or takes in part: pointers to nothing, vectors of no and of too many pieces.

load guest
load torture

setup() {
    torture_setup
}

@test "pointers to nothing are refused by the kernel, in each call, on each kind of descriptor" {
    torture "$guests/torture_calls" wild_client
    torture "$guests/torture_calls" wild_server
    torture "$guests/torture_calls" wild_rest
}

@test "of a buffer whose end cannot be read, the kernel takes what it takes" {
    AGREE=loosely torture "$guests/torture_calls" half_wild
}

@test "select with a larger number than its sets have bits" {
    torture "$guests/torture_calls" large_count_small_set
}

@test "vectors of no, of 1,024 and of 1,025 pieces" {
    torture "$guests/torture_calls" pieces
    torture "$guests/torture_calls" head_in_pieces
}

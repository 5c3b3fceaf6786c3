#!/usr/bin/env bats
# shellcheck disable=SC2154 # guest.bash assigns them
#
# The torture set, descriptors and messages: bare and preloaded the same output, status, errno trail, and bytes on the wire.

load guest
load torture

setup() {
    torture_setup
}

@test "a copy that is made in the midst of a head goes on with it, by each way to copy" {
    torture "$guests/torture_bytes" dup_in_head
}

@test "a number that is used again at once is what it is now, however it was closed" {
    torture "$guests/torture_bytes" reused_number
    torture "$guests/torture_bytes" logs_come_and_go
}

@test "descriptors over 100,000, and over the table's end, carry the same bytes" {
    torture "$guests/torture_bytes" high_numbers
}

@test "a number that another thread replaces during a read" {
    torture "$guests/torture_bytes" swapped_meanwhile
}

@test "bytes that are peeked at, thrown away, urgent, or read by the kernel later" {
    torture "$guests/torture_bytes" receives_requests
    torture "$guests/torture_bytes" receives_answers
    torture "$guests/torture_bytes" sends
    torture "$guests/torture_bytes" zerocopy
}

@test "bytes that are read over the vectors that say where to" {
    torture "$guests/torture_bytes" receives_over_vectors
}

@test "descriptors that travel with bytes, as many as may, and more than there is room for" {
    torture "$guests/torture_bytes" ancillary
}

@test "answers to several requests in one call, to a client that is gone, are taken as a whole" {
    torture "$guests/torture_bytes" answers_to_nobody
}

@test "what a stream on a connection still has when it is closed gets its header" {
    torture "$guests/torture_bytes" closed_streams
}

@test "a body that another program sends, and that looks like a request, is left alone" {
    torture "$guests/torture_bytes" body_by_another
}

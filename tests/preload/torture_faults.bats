#!/usr/bin/env bats
# shellcheck disable=SC2154 # guest.bash assigns them
#
# The torture set, failing calls: beneath us each call in turn fails with EAGAIN, EINTR, EPIPE, ENOMEM, or does only a part; a program
# that comes through that bare comes through it preloaded, with the same bytes.

load guest
load torture

setup() {
    torture_setup
}

@test "whichever call fails beneath us, or does a part, every byte arrives once" {
    gcc -O1 -shared -fPIC -o "$tmp/fault.so" "$BATS_TEST_DIRNAME/libs/fault.c"
    BENEATH=$tmp/fault.so torture "$guests/torture_faults" every_call_fails
}

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

@test "without any one of the pages that the object asks for, and without all from there on, a program runs as bare" {
    gcc -O1 -shared -fPIC -Wall -o "$tmp/nopages.so" "$BATS_TEST_DIRNAME/libs/nopages.c"
    /usr/bin/python3 "$BATS_TEST_DIRNAME/no_pages.py" "$so" "$tmp/nopages.so" "$tmp/pages" "$guests/torture_memory" every_page
}

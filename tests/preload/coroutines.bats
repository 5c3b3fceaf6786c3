#!/usr/bin/env bats
# shellcheck disable=SC2154 # guest.bash assigns them
#
# Coroutines, bare and preloaded: makecontext, Boost.Context, signal stacks, pages that are given back.

load guest

setup() {
    guest_setup
}

@test "coroutines get what they are given, and come back, as without the object" {
    same "$guests/coroutine_guest"
    grep -q 'ten: 1 2 3 4 5 6 7 8 9 -10' "$tmp/bare.out"
    grep -c 'boost: from here, aligned: 1' "$tmp/bare.out" | grep -qx 3
    same_files "$guests/coroutine_guest"
}

@test "a library's own function makes its contexts, also where another library lay before" {
    local source=$BATS_TEST_DIRNAME/libs/fcontext.c
    gcc -DPROGRAM -O1 -o "$tmp/program" "$source"
    gcc -shared -fPIC -O1 -fno-toplevel-reorder -o "$tmp/first.so" "$source"
    gcc -shared -fPIC -O1 -fno-toplevel-reorder -DSECOND -o "$tmp/second.so" "$source"
    same "$tmp/program" "$tmp/first.so" "$tmp/second.so" "$tmp/first.so"
    [ "$(xargs <"$tmp/bare.out")" = "1 2 1" ]
}

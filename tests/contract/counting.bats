#!/usr/bin/env bats
#
# The numbers on the last line of `make test` are counted from what the test programs really said.

setup() {
    root=$(cd "$BATS_TEST_DIRNAME/../.." && pwd)
}

# count STATUS LINE...: "passed failed skipped"
count() {
    local status=$1
    shift
    printf '%s\n' "$@" | "$root/scripts/tap-count" -v status="$status"
}

@test "results are counted by kind" {
    [ "$(count 1 1..3 'ok 1 - a' 'not ok 2 - b' 'ok 3 - c')" = "2 1 0" ]
}

@test "plans of several groups are added up" {
    [ "$(count 0 1..1 'ok 1 - a' 1..2 'ok 1 - b' 'ok 2 - c')" = "3 0 0" ]
}

@test "a skipped test has neither passed nor failed, in the words of bats and of cmocka" {
    [ "$(count 0 1..3 'ok 1 a # skip no network' 'not ok 2 # SKIP b' 'ok 3 c')" = "1 0 2" ]
}

@test "a test that was planned and never reported has failed" {
    [ "$(count 139 1..3 'ok 1 - a')" = "1 2 0" ]
    [ "$(count 0 1..3 'ok 1 - a')" = "1 2 0" ]
}

@test "a program that fails without a failed test has failed" {
    [ "$(count 1 1..1 'ok 1 - a')" = "1 1 0" ]
}

@test "a program that reports nothing has failed" {
    [ "$(count 0 'all is well')" = "0 1 0" ]
    [ "$(count 0 1..0)" = "0 1 0" ]
}

@test "more results than planned are a failure" {
    [ "$(count 0 1..1 'ok 1 - a' 'ok 2 - b')" = "2 1 0" ]
}

@test "a name that speaks of failure is still a pass" {
    [ "$(count 0 1..1 'ok 1 - a peer is not ok 5 times')" = "1 0 0" ]
}

# A tree with one unit test: a shell script that says what it is told.
fake_tree() {
    local tree=$BATS_TEST_TMPDIR/tree
    mkdir -p "$tree/scripts" "$tree/tests/unit" "$tree/build/unit"
    cp "$root/scripts/test" "$root/scripts/tap-count" "$tree/scripts/"
    : >"$tree/tests/unit/test_it.c"
    printf '#!/bin/sh\n%s\n' "$1" >"$tree/build/unit/test_it"
    chmod +x "$tree/build/unit/test_it"
    echo "$tree"
}

@test "the run succeeds when all pass, and ends with the sum" {
    tree=$(fake_tree 'printf "1..2\nok 1 - a\nok 2 - b\n"')
    run "$tree/scripts/test" unit
    [ "$status" -eq 0 ]
    [ "${lines[-1]}" = "2 passed, 0 failed" ]
}

@test "the run fails when a test dies, and shows what it said" {
    tree=$(fake_tree 'printf "1..2\nok 1 - a\n"; echo "last words" >&2; kill -SEGV $$')
    run "$tree/scripts/test" unit
    [ "$status" -eq 1 ]
    [ "${lines[-1]}" = "1 passed, 1 failed" ]
    [[ $output == *"last words"* ]]
}

@test "what failed is named again at the end, with what failed in it" {
    tree=$(fake_tree 'printf "1..3\nnot ok 1 - a\n# (in test file a.bats, line 3)\n#   \`[ 1 = 2 ]'"'"' failed\nok 2 - b\n"; exit 1')
    run "$tree/scripts/test" unit
    [ "$status" -eq 1 ]
    [ "${lines[-3]}" = "  FAILED  unit test_it: a: \`[ 1 = 2 ]' failed" ]
    [ "${lines[-2]}" = "  FAILED  unit test_it: 1 without a name; exit status 1" ]
    [ "${lines[-1]}" = "1 passed, 2 failed" ]
}

@test "a test program that hangs is stopped and has failed" {
    tree=$(fake_tree 'printf "1..1\n"; exec sleep 60')
    LIMIT=1 run "$tree/scripts/test" unit
    [ "$status" -eq 1 ]
    [ "${lines[-1]}" = "0 passed, 1 failed" ]
}

@test "a suite without a test is a failure" {
    tree=$(fake_tree 'exit 0')
    rm "$tree/tests/unit/test_it.c"
    run "$tree/scripts/test" unit
    [ "$status" -eq 1 ]
    [ "${lines[-1]}" = "0 passed, 1 failed" ]
}

@test "a test program that was not built has failed" {
    tree=$(fake_tree 'exit 0')
    rm "$tree/build/unit/test_it"
    run "$tree/scripts/test" unit
    [ "$status" -eq 1 ]
    [ "${lines[-1]}" = "0 passed, 1 failed" ]
}

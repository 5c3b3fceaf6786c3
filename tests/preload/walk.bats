#!/usr/bin/env bats
# shellcheck disable=SC2154 # guest.bash assigns them
#
# Random walks of calls, bare and preloaded (walk.py, tests/programs/walk_guest.c). A walk that failed says its seed:
#
#     WALKS=1 FIRST=<seed> bats tests/preload/walk.bats         that one; walk.py --keep FOLDER leaves both runs to be looked at
#     WALKS=5000 FIRST=1000 JOBS=4 bats tests/preload/walk.bats  many

load guest

setup() {
    guest_setup
}

walk() {
    /usr/bin/python3 "$BATS_TEST_DIRNAME/walk.py" --build "$build" --jobs "${JOBS:-2}" "$@"
}

@test "random walks of calls are the same, bare and preloaded" {
    walk --walks "${WALKS:-250}" --first "${FIRST:-1}" --counts >"$tmp/told" || { cat "$tmp/told" && false; }
    cat "$tmp/told"
    # They went where there is something to see.
    [ -n "${WALKS:-}" ] || awk '$2 == "insertions" { some++; enough += $1 >= 100 } $2 == "lines" { some++; enough += $1 >= 5000 }
        $2 == "ids" { some++; enough += $1 >= 2000 } END { exit !(some == 3 && enough == 3) }' "$tmp/told"
}

@test "walks that nobody has gone before are the same" {
    [ -z "${WALKS:-}" ] || skip "others are asked for"
    walk --walks 20 --first "$((RANDOM * 32768 + RANDOM))000"
}

@test "walks beside a library that lies are not the same" {
    gcc -D_GNU_SOURCE -shared -fPIC -O2 -o "$tmp/liar.so" "$BATS_TEST_DIRNAME/libs/liar.c"
    for lie in error count bytes line; do
        export LIE=$lie
        walk --walks 12 --beneath "$tmp/liar.so" >"$tmp/$lie" && return 1
        tail -n 1 "$tmp/$lie"
    done
    grep -q 'bare .*read(.* -$' "$tmp/error"
    grep -q 'preloaded .*read(.* EAGAIN$' "$tmp/error"
    grep -q 'preloaded .*write(' "$tmp/count"
    grep -q 'behind b' "$tmp/bytes"
    grep -qE '(out|err|one.log|two.log) \(.*(record|line)' "$tmp/line"
}

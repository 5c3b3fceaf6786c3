#!/usr/bin/env bats
# shellcheck disable=SC2154 # variables come from agent.bash
# The page in a browser, by what a person does there: browser.py.

bats_require_minimum_version 1.5.0
load agent

setup() {
    agent_setup
}

teardown() {
    agent_teardown
}

@test "a person finds requests by every filter, opens a trace with its lines in place, and sees what comes, and nothing hostile is run" {
    hostile=$(/usr/bin/python3 -c 'import sys; sys.path.insert(0, sys.argv[1]); sys.dont_write_bytecode = True; import browser; print(browser.HOSTILE)' "$here")
    agent --ui 127.0.0.1:0 --token 'a.Token-1'
    page=$(grep -o 'http://[^ ]*' "$tmp/agent.err")
    "$writer" "$run_dir" spans=40 first=50 service=shop
    "$writer" "$run_dir" spans=2 first=300 status=503 service=bank
    "$writer" "$run_dir" spans=1 first=400 ms=250 service=slow
    "$writer" "$run_dir" spans=1 lines=1 first=9001 trace=9000 ms=90 service=front
    "$writer" "$run_dir" spans=1 lines=1 first=9002 trace=9000 ms=60 service=middle
    "$writer" "$run_dir" spans=1 lines=1 first=9003 trace=9000 ms=30 service=back
    "$writer" "$run_dir" spans=1 lines=1 first=500 service="hostile$hostile" mark="$hostile"
    eventually no_rings
    pictures=${PICTURES:-$tmp}
    "$here/browser.py" "$page" "$tmp/go-on" "$pictures" >"$tmp/browser.out" 2>&1 3>&- &
    person=$!
    started+=("$person")
    eventually eval "[ -e '$tmp/go-on' ] || ! kill -0 $person 2>/dev/null"
    "$writer" "$run_dir" spans=12000 first=20000 trace=19999 service=deep
    "$writer" "$run_dir" spans=1 first=555 service=late
    status=0
    wait "$person" || status=$?
    cat "$tmp/browser.out"
    [ "$status" -eq 0 ]
    [ "$(tail -n 1 "$tmp/browser.out")" = "all seen" ]
    for name in list trace hostile overview; do [ -s "$pictures/$name.png" ]; done
    stop_agent
}

#!/usr/bin/env bats
# shellcheck disable=SC2154 # variables come from servers.bash
#
# The ports of the tests: a test must not ask another one's server, nor any other program's, and judge what that says.

load ../preload/servers

setup() {
    servers_setup
}

teardown() {
    servers_teardown
}

# take PID: a port of two that are this test's own
take() {
    PYTHONPATH=$here/../preload /usr/bin/python3 - "$1" "$tmp/book" "${two[@]}" <<'PY'
import sys, free_port
print(free_port.take(int(sys.argv[1]), [int(port) for port in sys.argv[3:]], sys.argv[2]))
PY
}

@test "a port that was told to one test is told to no other while that runs" {
    local first second third two
    two=("$(free_port)" "$(free_port)")
    shim='' start other sleep 60
    first=$(take "$pid")
    second=$(take "$$")
    [ "$first" -ne "$second" ]
    run take "$$"
    [ "$status" -ne 0 ]
    [[ $output == *"every port is taken"* ]]
    stop "$pid"
    third=$(take "$$")
    [ "$third" -eq "$first" ]
}

@test "a server is not taken for the one that was to be started" {
    local port
    port=$(free_port)
    shim='' serve stranger "$port" "$here/../preload/attribution" upstream "$port" "$tmp/calls"
    shim='' run serve own "$port" sleep 60
    [ "$status" -ne 0 ]
    [[ $output == *"own: port $port is another program's"* ]]
}

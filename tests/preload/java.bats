#!/usr/bin/env bats
# shellcheck disable=SC2154 # variables come from servers.bash
#
# A JVM: its own streams keep no lines back, those that a program puts around them may.

load servers

setup() {
    servers_setup
    port=$(free_port)
    url=http://127.0.0.1:$port/
}

teardown() {
    servers_teardown
}

@test "what a program keeps back in a stream of its own has nobody's id" {
    serve guest "$port" java -XX:+UseSerialGC "$apps/OwnStream.java" "$port"
    burst "$url" --requests 600 --connections 1 --numbered
    burst "$url" --first 601 --requests 600 --connections 24 --numbered
    # What is left in the stream is lost with its process.
    until_lines 1000 "$tmp/guest.log"
    count "$tmp/guest.log" --requests 1200 --none any
}

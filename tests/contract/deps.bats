#!/usr/bin/env bats
#
# scripts/deps installs what is missing and nothing else. dpkg-query, apt-get, sudo and id are stand-ins on the path.

setup() {
    root=$(cd "$BATS_TEST_DIRNAME/../.." && pwd)
    bin=$BATS_TEST_TMPDIR/bin
    log=$BATS_TEST_TMPDIR/log
    db=$BATS_TEST_TMPDIR/db
    mkdir -p "$bin"
    : >"$log"
    "$root/scripts/deps" --list build lint >"$db"
    stand_in dpkg-query 'for last; do :; done; grep -qx "$last" "$DB" && echo installed'
    stand_in apt-get 'echo "apt-get $*" >>"$LOG"; case "$*" in *install*) printf "%s\n" "$@" >>"$DB" ;; esac'
    stand_in sudo 'echo sudo >>"$LOG"; exec "$@"'
    stand_in id 'echo "${FAKE_UID:-1000}"'
    # What deps would do about service starts must not touch this machine.
    stand_in sh 'exit 1'
    export LOG=$log DB=$db
}

stand_in() {
    printf '#!/bin/bash\n%s\n' "$2" >"$bin/$1"
    chmod +x "$bin/$1"
}

deps() {
    PATH=$bin:$PATH run "$root/scripts/deps" "$@"
    echo "$output"
    cat "$log"
}

# Standard input (or a file) must not match. A plain `!` would fail a test only on its last line.
absent() {
    ! grep -qE "$@"
}

@test "nothing is fetched and nothing is said when all is there" {
    deps build lint
    [ "$status" -eq 0 ]
    [ -z "$output" ]
    [ ! -s "$log" ]
}

@test "only the missing package is installed, after one update" {
    sed -i '/^shellcheck$/d' "$db"
    deps build lint
    [ "$status" -eq 0 ]
    [ "$(grep -c 'apt-get.* update' "$log")" -eq 1 ]
    [ "$(grep -c 'apt-get.* install' "$log")" -eq 1 ]
    grep 'apt-get.* install' "$log" | grep -q ' shellcheck$'
    grep 'apt-get.* install' "$log" | absent ' gcc'
    [[ $output == *shellcheck* ]]
}

@test "a package of another group is not installed" {
    sed -i '/^shellcheck$/d' "$db"
    deps build
    [ "$status" -eq 0 ]
    [ ! -s "$log" ]
}

@test "root needs no sudo" {
    sed -i '/^shellcheck$/d' "$db"
    FAKE_UID=0 deps lint
    [ "$status" -eq 0 ]
    absent sudo "$log"
}

@test "an installation that fails names the missing packages" {
    sed -i '/^shellcheck$/d' "$db"
    stand_in apt-get 'case "$*" in *install*) echo "no space left"; exit 100 ;; esac'
    deps lint
    [ "$status" -eq 1 ]
    [[ $output == *"no space left"*"apt-get failed"*shellcheck* ]]
}

@test "an installation that installed nothing is not believed" {
    sed -i '/^shellcheck$/d' "$db"
    stand_in apt-get 'exit 0'
    deps lint
    [ "$status" -eq 1 ]
    [[ $output == *"still missing"*shellcheck* ]]
}

@test "an unknown group is an error before anything is installed" {
    sed -i '/^shellcheck$/d' "$db"
    deps lint everything
    [ "$status" -eq 1 ]
    [[ $output == *"no group 'everything'"* ]]
    [ ! -s "$log" ]
}

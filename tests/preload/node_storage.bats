#!/usr/bin/env bats
# shellcheck disable=SC2154 # variables come from guest.bash
#
# The companion's own storage says what AsyncLocalStorage says, wherever a program comes to be. (Node 24 has something better unless
# it is told not to use it.)

load guest

setup_file() {
    versions=$("$BATS_TEST_DIRNAME/../../scripts/npm-app" --build "${TRACESHIM_BUILD:-build}" nodes)/node_modules
    export versions
}

setup() {
    guest_setup
    unset NODE_OPTIONS
    storage=$BATS_TEST_DIRNAME/../../hooks/companion/storage.cjs
}

# agrees VERSION OPTION...
agrees() {
    local node=$versions/node$1/bin/node seed
    shift
    for seed in 1 2 3; do
        timeout -k 5 60 "$node" "$@" "$BATS_TEST_DIRNAME/../apps/guest/storage.js" "$storage" "$seed" 1500 >"$tmp/said" || return 1
        grep -qx 'wrong: 0' "$tmp/said"
    done
}

@test "the storage agrees with AsyncLocalStorage through random programs on Node 18" {
    agrees 18
}

@test "the storage agrees with AsyncLocalStorage through random programs on Node 20" {
    agrees 20
}

@test "the storage agrees with AsyncLocalStorage through random programs on Node 22" {
    agrees 22
}

@test "the storage agrees with AsyncLocalStorage through random programs on Node 24 without context frames" {
    agrees 24 --no-async-context-frame
}

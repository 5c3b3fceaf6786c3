#!/usr/bin/env bats
#
# The own tests of packages from npm: each comes out as it does bare. FULL=1 runs all of them, on every version of Node
# that these packages are made for.

setup_file() {
    root=$(cd "$BATS_TEST_DIRNAME/../.." && pwd)
    build=${TRACESHIM_BUILD:-$root/build}
    [[ $build == /* ]] || build=$root/$build
    export root build
}

@test "the tests of fastify, pino, needle and others come out as bare" {
    if [ -z "${FULL:-}" ]; then
        run "$root/scripts/node-suites" --build "$build" --quick
        echo "$output"
        [ "$status" -eq 0 ]
    else
        versions=$("$root/scripts/npm-app" --build "$build" nodes)/node_modules
        for version in 20 22 24; do
            run "$root/scripts/node-suites" --build "$build" --node "$versions/node$version/bin/node"
            echo "$output"
            [ "$status" -eq 0 ] || return 1
        done
    fi
    [[ $output =~ ([0-9]+)\ tests,\ 0\ different ]]
    [ "${BASH_REMATCH[1]}" -ge 500 ]
}

@test "a companion that changes what a program does is found out" {
    cp "$build/libtraceshim.so" "$BATS_TEST_TMPDIR"
    echo 'process.on("exit", () => { process.exitCode = 3; });' >"$BATS_TEST_TMPDIR/traceshim.cjs"
    seal=$(cksum <"$BATS_TEST_TMPDIR/traceshim.cjs")
    echo "// sealed $(<"$root/VERSION") $seal" >>"$BATS_TEST_TMPDIR/traceshim.cjs"
    run "$root/scripts/node-suites" --build "$build" --object "$BATS_TEST_TMPDIR/libtraceshim.so" avvio/close
    echo "$output"
    [ "$status" -eq 1 ]
    [[ $output == *"avvio/test/close.test.js: traced: exit status 0 bare, 3 preloaded"* ]]
}

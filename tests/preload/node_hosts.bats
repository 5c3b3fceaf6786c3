#!/usr/bin/env bats
# shellcheck disable=SC2030,SC2031,SC2154 # each test is a subshell; variables come from guest.bash and node.bash
#
# Node as it must not be changed: options, environments and versions with which a program runs as if bare. Bare and preloaded
# say the same and exit the same; where a program serves itself requests, right, none and wrong are counted.

load guest
load node

setup_file() {
    local root
    node_setup_file
    # Before setup takes away what npm may need to reach its registry (NODE_EXTRA_CA_CERTS).
    root=$(cd "$BATS_TEST_DIRNAME/../.." && pwd)
    node_old=$("$root/scripts/npm-app" --build "${node_apps%/npm/*}" nodes-old)/node_modules
    export node_old
}

setup() {
    guest_setup
    unset NODE_OPTIONS NODE_EXTRA_CA_CERTS NODE_DEBUG
    export NO_COLOR=1
    node=$node_default
    hosts=$node_apps/hosts
}

# What is not the same from run to run: process ids in warnings, durations.
steady() {
    sed -E 's/\(node:[0-9]+\)/(node:PID)/; s/(duration_ms:?) [0-9.]+/\1/; s/[0-9.]+m?s\b/TIME/'
}

# without_frames: what a program says, but for the frames of its stack traces: where it is called through us there is one more
without_frames() {
    grep -v '^    at ' || true
}

# count LEAST: of the last preloaded run, so many lines are right, the others have no id, none another's
count() {
    "$BATS_TEST_DIRNAME/attribution" count "$tmp/shim.out" "$tmp/shim.err" --least-right "$1" --none any "${@:2}"
}

# traced COMMAND...: as bare, and all of the ten lines of itself.js have their ids
traced() {
    FILTER=steady same "$@"
    count 10 --none 0
}

# bare_enough COMMAND...: as bare; its lines may have no ids
bare_enough() {
    FILTER=steady same "$@"
    count 0
}

@test "a small server: the same bare and preloaded, and traced, as a file, a text, a module, standard input" {
    traced "$node" "$hosts/itself.js"
    traced "$node" "$hosts/itself.mjs"
    traced "$node" -e "require('$hosts/itself.js')"
    traced "$node" --eval "require('$hosts/itself.js')" --no-warnings
    traced "$node" --input-type=module -e "import '$hosts/itself.mjs'"
    traced sh -c "$node - <$hosts/itself.js"
    traced sh -c "cd $hosts && exec $node itself"
}

@test "what it prints is the same: -p, --version, --help, a syntax error, a missing file, an exit status" {
    same "$node" -p '1 + 1; "text"'
    same "$node" --version
    same "$node" --help
    FILTER=without_frames same "$node" "$tmp/missing.js"
    FILTER=without_frames same "$node" -e 'this is no JavaScript'
    same "$node" --no-such-option
    same "$node" -e 'console.log("before"); process.exit(9)'
    same "$node" -e 'console.error("before"); process.kill(process.pid, "SIGKILL")'
    same "$node" -e 'process.on("exit", (status) => console.log("exit", status)); process.exitCode = 4'
    same "$node" --check "$hosts/itself.js"
    same sh -c "echo 'console.log(process.argv.length)' | $node - a b"
}

@test "a program and its children see their own options, environment, modules and globals" {
    same "$node" "$hosts/sights.js" a b
    same env NODE_OPTIONS=--no-warnings "$node" "$hosts/sights.js"
    printf 'console.log("required", process.env.NODE_OPTIONS);\n' >"$tmp/a file.js"
    same env NODE_OPTIONS="--no-deprecation --require \"$tmp/a file.js\"" "$node" --stack-size=900 "$hosts/sights.js"
    same env NODE_OPTIONS= "$node" "$hosts/sights.js"
}

@test "Node 18, 22 and 24: a program sees its own options and environment, and is traced" {
    local version
    for version in 18 22 24; do
        echo "--- Node $version"
        with_node $version
        same "$node" "$hosts/sights.js" a b
        same env NODE_OPTIONS=--no-warnings "$node" "$hosts/sights.js"
        same "$node" "$hosts/counts.js"
        traced "$node" "$hosts/itself.js"
        traced "$node" "$hosts/itself.mjs"
    done
}

@test "Node 14 and 16 run as if bare" {
    local version
    for version in 14 16; do
        node=$node_old/node$version/bin/node
        [ -x "$node" ]
        same "$node" --version
        same "$node" -e 'console.log(process.execArgv, process.env.NODE_OPTIONS)'
        bare_enough "$node" "$hosts/itself.js"
        bare_enough env NODE_OPTIONS=--no-warnings "$node" "$hosts/thread.js" both
    done
}

@test "writing tells the program what it would: counts, callbacks, returned values, errors" {
    same "$node" "$hosts/counts.js"
    same_files "$node" "$hosts/counts.js"
}

@test "a reader that goes away is the error that it would be" {
    local script='let n = 0; process.stdout.on("error", (e) => { console.error(e.code); process.exit(5); });
        setInterval(() => console.log("line"), 1)'
    # head takes more of records, which are longer: one line is enough for it.
    into bare bash -c "$node -e '$script' | head -n 1; exit \${PIPESTATUS[0]}"
    into shim env LD_PRELOAD="$so" bash -c "$node -e '$script' | head -n 1; exit \${PIPESTATUS[0]}"
    cmp "$tmp/bare.status" "$tmp/shim.status"
    [ "$(cat "$tmp/bare.err")" = EPIPE ]
    [ "$(unwrap "$tmp/shim.err")" = EPIPE ]
}

@test "options that restrict a program: it runs as bare" {
    bare_enough "$node" --frozen-intrinsics "$hosts/itself.js"
    bare_enough "$node" --no-addons "$hosts/itself.js"
    bare_enough "$node" --experimental-permission --allow-fs-read='*' "$hosts/itself.js"
    bare_enough "$node" --experimental-permission --allow-fs-read='*' --allow-worker "$hosts/thread.js" same
    bare_enough env NODE_OPTIONS="--experimental-permission --allow-fs-read=*" "$node" "$hosts/itself.js"
    bare_enough "$node" --disable-proto=throw "$hosts/itself.js"
    bare_enough "$node" --disallow-code-generation-from-strings "$hosts/itself.js"
    bare_enough "$node" --experimental-vm-modules --pending-deprecation "$hosts/itself.js"
    bare_enough "$node" --trace-uncaught --throw-deprecation "$hosts/itself.js"
    bare_enough "$node" --experimental-default-type=module "$hosts/itself.mjs"
}

@test "Node 22 and 24: options that restrict a program" {
    local version
    for version in 22 24; do
        echo "--- Node $version"
        with_node $version
        bare_enough "$node" --permission --allow-fs-read='*' "$hosts/itself.js"
        bare_enough "$node" --frozen-intrinsics "$hosts/itself.js"
        bare_enough "$node" --no-addons "$hosts/itself.js"
        bare_enough "$node" --throw-deprecation --pending-deprecation "$hosts/itself.js"
    done
}

@test "a policy that knows no file of ours: the program runs as bare" {
    with_node 18
    cp "$hosts/itself.js" "$tmp/app.js"
    printf '{"resources": {"./app.js": {"integrity": true, "dependencies": true}}}\n' >"$tmp/policy.json"
    bare_enough "$node" --experimental-policy="$tmp/policy.json" "$tmp/app.js"
}

@test "a start-up snapshot is built and run as if bare" {
    local version
    printf '%s\n' 'const v8 = require("v8").startupSnapshot; let state = { count: 1 };' \
        'const say = () => console.log("woke", ++state.count, process.argv.length, process.env.NODE_OPTIONS);' \
        'v8.setDeserializeMainFunction(say);' \
        >"$tmp/entry.js"
    for version in 20 24; do
        with_node $version
        same "$node" --snapshot-blob "$tmp/blob" --build-snapshot "$tmp/entry.js"
        same "$node" --snapshot-blob "$tmp/blob" "$tmp/entry.js" a
    done
}

@test "a single executable runs as bare, and is traced" {
    with_node 20
    printf '{"main": "%s", "output": "%s", "disableExperimentalSEAWarning": true}\n' "$hosts/itself.js" "$tmp/sea.blob" \
        >"$tmp/sea.json"
    "$node" --experimental-sea-config "$tmp/sea.json"
    cp "$node" "$tmp/single"
    "$node_default" "$node_apps/node_modules/postject/dist/cli.js" "$tmp/single" NODE_SEA_BLOB "$tmp/sea.blob" \
        --sentinel-fuse NODE_SEA_FUSE_fce680ab2cc467b6e072b8b5df1996b2 >/dev/null
    traced "$tmp/single"
    rm "$tmp/single"
}

@test "threads with an environment or options of their own run as bare" {
    local kind
    for kind in same env options both; do
        bare_enough "$node" "$hosts/thread.js" $kind
    done
}

@test "node --test says what it would" {
    FILTER=steady same "$node" --test --test-reporter=tap "$hosts/suite.test.js"
}

@test "npm scripts run as they would" {
    printf '{"name": "shop", "version": "1.0.0", "scripts": {"start": "node %s", "fail": "exit 3"}}\n' "$hosts/itself.js" \
        >"$tmp/package.json"
    export npm_config_cache=$tmp/npm npm_config_update_notifier=false
    FILTER=steady same npm --prefix "$tmp" start
    count 10 --none 0
    FILTER=steady same npm --prefix "$tmp" run fail --silent
}

@test "the companion is missing: the program runs as bare" {
    mkdir "$tmp/alone"
    cp "$so" "$tmp/alone/"
    so=$tmp/alone/libtraceshim.so
    bare_enough "$node" "$hosts/itself.js"
    same "$node" "$hosts/sights.js"
}

@test "a companion that is damaged or of another version is not loaded, and the status says so" {
    local whole=${so%/*}/traceshim.cjs damage
    local look='require("http").createServer().listen(0, "127.0.0.1", function () {
        const name = `${process.env.TRACESHIM_RUN_DIR}/${process.pid}.status`;
        console.log(require("fs").readFileSync(name, "latin1").includes("traceshim.cjs beside the object is damaged"));
        this.close();
    })'
    mkdir "$tmp/copy" "$tmp/run"
    cp "$so" "$tmp/copy/"
    so=$tmp/copy/libtraceshim.so
    for damage in 'head -c 20000' 'head -c -1' true 'sed s/function/fumction/' 'sed $s/sealed.[0-9.]*/&9/' 'sed $aat_the_end(' \
        'sed 1i#' 'tail -n 1'; do
        # shellcheck disable=SC2086 # words
        $damage <"$whole" >"$tmp/copy/traceshim.cjs"
        ! cmp -s "$whole" "$tmp/copy/traceshim.cjs" || return 1
        same "$node" "$hosts/sights.js"
        [ "$(TRACESHIM_LOG=off TRACESHIM_RUN_DIR=$tmp/run LD_PRELOAD=$so "$node" -e "$look")" = true ]
    done
    cp "$whole" "$tmp/copy/traceshim.cjs"
    [ "$(TRACESHIM_LOG=off TRACESHIM_RUN_DIR=$tmp/run LD_PRELOAD=$so "$node" -e "$look")" = false ]
    bare_enough "$node" "$hosts/itself.js"
    rm "$tmp/copy/traceshim.cjs"
    mkdir "$tmp/copy/traceshim.cjs"
    same "$node" "$hosts/sights.js"
}

@test "the object lies in a folder with blanks, quotes and backslashes in its name" {
    mkdir "$tmp/a \"quoted\" b\\ackslash"
    cp "$so" "${so%/*}/traceshim.cjs" "$tmp/a \"quoted\" b\\ackslash/"
    # ld.so takes no blank in LD_PRELOAD: the name is reached by a link.
    ln -s "$tmp/a \"quoted\" b\\ackslash" "$tmp/link"
    so=$tmp/link/libtraceshim.so
    traced "$node" "$hosts/itself.js"
    same env NODE_OPTIONS=--no-warnings "$node" "$hosts/sights.js"
}

@test "a session on a terminal is the same" {
    local typed=$'1 + 1\nconsole.log("printed")\nprocess.env.NODE_OPTIONS\nrequire("http").createServer().listening\n.exit\n'
    export TERM=dumb NODE_REPL_HISTORY='' NODE_NO_READLINE=1
    "$BATS_TEST_DIRNAME/plumbing" terminal --prompt "> " "$typed" -- "$node" -i >"$tmp/bare.screen"
    "$BATS_TEST_DIRNAME/plumbing" terminal --prompt "> " "$typed" -- env LD_PRELOAD="$so" "$node" -i >"$tmp/shim.screen"
    grep -q printed "$tmp/bare.screen"
    diff "$tmp/bare.screen" "$tmp/shim.screen"
}

@test "a session on pipes is the same" {
    same sh -c "printf '1 + 1\nconsole.log(\"printed\")\n[1, 2]\nundefined_name\n.exit\n' | $node -i"
}

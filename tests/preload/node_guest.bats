#!/usr/bin/env bats
# shellcheck disable=SC2154 # variables come from guest.bash
#
# Node programs that look at themselves, at what their calls answer, and at what they get to see of others: the same
# with us and without, on every version of Node.

load guest

setup_file() {
    versions=$("$BATS_TEST_DIRNAME/../../scripts/npm-app" --build "${TRACESHIM_BUILD:-build}" nodes)/node_modules
    export versions
}

setup() {
    guest_setup
    unset NODE_OPTIONS
    apps=$BATS_TEST_DIRNAME/../apps/guest
}

# everywhere COMMAND...: run it for each version of Node (or those of $NODES), as $node. A function must join its commands by &&.
everywhere() {
    local version
    for version in ${NODES:-18 20 22 24}; do
        node=$versions/node$version/bin/node
        "$@" || { echo "on Node $version" && return 1; }
    done
}

# guest NAME ARGUMENT...: the program says and does the same, bare and preloaded
guest() {
    local name=$1
    shift
    same "$node" "$apps/$name.js" "$@"
}

# named FILE [REST]: each record of it has a trace id, but for those whose message matches REST
named() {
    jq -e -s --arg rest "${2:-^\$.}" 'length > 0 and all(.trace_id or (.message | test($rest)))' "$1"
}

@test "fs.write writes and answers the same in a request, whatever it is given" {
    everywhere guest fs_write
    [ "$(grep -c '"message":"0123 in a buffer","trace_id"' "$tmp/shim.out")" -ge 4 ]
}

# A slow reader, and a pipe that does not block.
slowly() {
    { "$@" 2>"$tmp/bare.err" | /usr/bin/python3 "$apps/slow_reader.py"; } >"$tmp/bare.out"
    { LD_PRELOAD=$so "$@" 2>"$tmp/shim.err" | LD_PRELOAD='' /usr/bin/python3 "$apps/slow_reader.py"; } >"$tmp/shim.out"
    echo 0 | tee "$tmp/bare.status" >"$tmp/shim.status"
    agree bare shim
}

rests() {
    slowly "$node" "$apps/fs_write_rest.js" "$tmp/short" && named "$tmp/shim.out" '^together'
}

@test "short counts of fs.write name the caller's own bytes" {
    everywhere rests
    # There were some.
    grep -q '^[1-9]' "$tmp/short.bare"
    grep -q '^[1-9]' "$tmp/short.shim"
}

@test "a program finds nothing of ours among its modules, options and variables" {
    everywhere guest looks
    NODE_OPTIONS="--no-warnings --require $apps/kit.js" everywhere guest looks
}

# What two threads print has no order.
@test "workers get the options that they were given, and their parent reads what they wrote" {
    FILTER='sort' everywhere guest workers
    named "$tmp/shim.out" '^(\[|Worker|ERR_)'
}

@test "an upgraded connection has no listeners but the program's, and may lose those" {
    everywhere guest upgrades
    named "$tmp/shim.out" '^answered'
}

streams() {
    guest fs_stream && whole &&
        [ "$(grep -cE '"message":"(one|abcd|a buffer|corked|twice)","trace_id"' "$tmp/shim.out")" -eq 15 ]
}

@test "write streams on a log have the lengths that they would have, and lines in pieces stay whole" {
    everywhere streams
}

@test "what a program patches while it runs is called: above inherited methods, in subclasses, on instances" {
    everywhere guest patches
}

shows_no_head() {
    into shim env LD_PRELOAD="$so" "$node" "$apps/promises.js" &&
        unwrap "$tmp/shim.out" >"$tmp/said" && cat "$tmp/said" &&
        grep -q 'Promise {' "$tmp/said" && lacks -i secret "$tmp/said"
}

@test "a promise that is printed does not tell the head of its request" {
    everywhere shows_no_head
}

@test "standard output takes every chunk and encoding while something waits in it" {
    everywhere guest stdout
}

@test "requests are let go, whatever became of them, and each has its id while it lasts" {
    into shim env LD_PRELOAD="$so" node --expose-gc "$apps/lets_go.js"
    cat "$tmp/shim.err"
    unwrap "$tmp/shim.err" >"$tmp/said"
    [ "$(grep -c 'lets go$' "$tmp/said")" -eq 8 ]
    named "$tmp/shim.out" "^late$"
}

@test "calls of HTTP/2 that Node refuses are refused for what is wrong with them" {
    everywhere guest refused
}

@test "a session with the inspector sees the program, its console and nothing of ours" {
    everywhere guest inspector
}

@test "a diagnostic report says what it would of options, variables and what is open" {
    everywhere guest report "$tmp"
}

# What a method of Node's is called by its holder is not to be told where that has another in its place; and the first user of async_hooks
# brings one frame of Node's below all others.
same_stacks() {
    FILTER="sed -E -e s/.\[as.[^]]*]// -e /callbackTrampoline/d -e s/Function._load/Function.<anonymous>/" guest stacks &&
        lacks traceshim "$tmp/shim.out" && [ "$(grep -c '^--- ' "$tmp/bare.out")" -gt 100 ]
}

@test "the stacks of a program show the calls that they would, in text and in the engine's own form" {
    NODES="18 20 22" everywhere same_stacks
}

# observed OPTION...: a small server under a tool of Node's own
observed() {
    FILTER='sed s,ws://.*,, ' same "$node" "$@" "$apps/inspector.js"
}

debugged() {
    observed --inspect=127.0.0.1:0 && observed --cpu-prof --heap-prof --cpu-prof-dir="$tmp" --heap-prof-dir="$tmp"
}

@test "under a debugger's port and the profilers a program says what it would" {
    everywhere debugged
    # Theirs are there, of both runs on four versions.
    [ "$(find "$tmp" -name '*.cpuprofile' | wc -l)" -eq 8 ]
}

# watched NAME COMMAND...: until it has run twice, the second time because its file has changed
watched() {
    local name=$1 tries=1200
    shift
    echo 'console.log("first");' >"$tmp/watched.js"
    # What the version before left is not this one's: the program may begin later than we look.
    : >"$tmp/$name.out"
    "$@" >"$tmp/$name.out" 2>"$tmp/$name.err" 3>&- </dev/null &
    until grep -q 'Completed running' "$tmp/$name.out" || [ $((tries--)) -le 0 ]; do sleep 0.05; done
    echo 'console.log("second");' >"$tmp/watched.js"
    until grep -q second "$tmp/$name.out" && [ "$(grep -c 'Completed running' "$tmp/$name.out")" -ge 2 ] ||
        [ $((tries--)) -le 0 ]; do sleep 0.05; done
    stop $!
    echo 0 >"$tmp/$name.status"
}

# The file may be seen to change once or twice.
in_watch_mode() {
    watched bare "$node" --watch "$tmp/watched.js" && watched shim env LD_PRELOAD="$so" "$node" --watch "$tmp/watched.js" &&
        FILTER='sort -u' agree bare shim && grep -q '^second' "$tmp/bare.out"
}

@test "node --watch runs a program again when it changes" {
    local version
    for version in 20 22 24; do
        node=$versions/node$version/bin/node
        in_watch_mode
    done
}

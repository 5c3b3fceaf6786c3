#!/usr/bin/env bats
# shellcheck disable=SC2030,SC2031,SC2154 # each test is a subshell; variables come from servers.bash and node.bash
#
# Engines that look like Node, and are left alone on purpose: what they serve under load is answered, none of their lines has
# another request's id, and status and doctor say what is missing. (Electron's program does not come by npm.)

load servers
load node

setup_file() {
    local root
    node_setup_file
    root=$(cd "$BATS_TEST_DIRNAME/../.." && pwd)
    engines=$("$root/scripts/npm-app" --build "${node_apps%/npm/*}" engines)
    export engines
    chmod +x "$engines/node_modules/@oven/bun-linux-x64/bin/bun" "$engines/node_modules/@deno/linux-x64-glibc/deno"
}

setup() {
    node_setup
    export DENO_DIR=$tmp/deno DENO_NO_UPDATE_CHECK=1 BUN_RUNTIME_TRANSPILER_CACHE_PATH=0 HOME=$tmp NO_COLOR=1
    mkdir "$tmp/deno"
}

teardown() {
    servers_teardown
}

# loaded COMMAND...: serves bare and preloaded, and prints the same lines; none of them has another's id
loaded() {
    shim='' serve bare "$port" "$@" "$port"
    burst "$url" --requests 100 --connections 10 --numbered
    stop "$pid"
    [ "$(wc -l <"$tmp/bare.log")" -eq 200 ]
    serve guest "$port" "$@" "$port"
    guest=$pid
    burst "$url" --requests 100 --connections 10 --numbered
    until_lines 200 "$tmp/guest.log"
    page=$(TRACESHIM_RUN_DIR=$tmp/run "$build/traceshim" status "$guest")
    stop "$guest"
    diff <(sort "$tmp/bare.log") <(messages "$tmp/guest.log" | sort)
    diff "$tmp/bare.err" <(messages "$tmp/guest.err")
}

# messages FILE: the program's own lines, out of records or as they are
messages() {
    jq -rR '. as $line | try (fromjson | .message) catch $line' "$1"
}

@test "Bun: it serves and says what it does bare, and status and doctor say that its lines have no ids" {
    local bun=$engines/node_modules/@oven/bun-linux-x64/bin/bun
    loaded "$bun" "$engines/server.mjs"
    lacks -q trace_id "$tmp/guest.log"
    echo "$page"
    [[ $page == *"not Node (Bun, Deno)"* ]]
    run "$build/traceshim" doctor "$bun"
    [[ $output == *"Bun makes most of its system calls itself"* ]]
}

@test "Deno: it serves and says what it does bare, and status and doctor say that its lines have no ids" {
    local deno=$engines/node_modules/@deno/linux-x64-glibc/deno
    loaded "$deno" run -A --no-config "$engines/server.mjs"
    lacks -q trace_id "$tmp/guest.log"
    echo "$page"
    [[ $page == *"not Node (Bun, Deno)"* ]]
    run "$build/traceshim" doctor "$deno"
    [[ $output == *"Deno: work moves between requests"* ]]
}

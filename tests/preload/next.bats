#!/usr/bin/env bats
# shellcheck disable=SC2030,SC2031,SC2046,SC2154 # tests are subshells; variables come from next.bash; lists of versions
#
# Next.js: Server Actions, streamed pages, route handlers, middleware, the edge runtime, after() and a cache, interleaved
# on one thread, and a call of another service in most of them. Every line and every call names its request; see
# tests/apps/next, scripts/demo-next.d/shoppers and scripts/demo-next-count.

load servers
load next

readonly TRACE_A=aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa

setup() {
    next_setup
}

teardown() {
    servers_teardown
}

@test "Next.js 16, next start: every line and call has its own request's id" {
    each start 16 20 24 $(full 22)
}

@test "Next.js 16, standalone server: the same" {
    each standalone 16 22 $(full 20 24)
}

@test "Next.js 16, middleware at the edge: the same" {
    each start 16-edge 24 $(full 20 22)
}

@test "Next.js 16, next dev: the same" {
    each dev 16-dev 22 $(full 20 24)
}

@test "Next.js 15, next start: the same" {
    each start 15 18 $(full 20 22 24)
    local version
    for version in $(full 18 20 22 24); do
        each start 15-node "$version"
        each standalone 15 "$version"
        each dev 15-dev "$version"
    done
}

@test "Next.js 14, next start: the same" {
    each start 14 22 $(full 18 20 24)
    local version
    for version in $(full 18 20 22 24); do
        each standalone 14 "$version"
        each dev 14-dev "$version"
    done
}

@test "a shop that was built under the preload is the same shop" {
    need 16
    (cd "$folder/.next" && find server/chunks static/chunks -type f | sort) >"$tmp/bare"
    export TRACED_BUILD=$object
    need 16-traced
    (cd "$folder/.next" && find server/chunks static/chunks -type f | sort) >"$tmp/traced"
    [ -s "$tmp/bare" ]
    cmp "$tmp/bare" "$tmp/traced"
    each start 16-traced 22
}

@test "what Next says about a page that failed has the id of its request" {
    open_shop 16 22 start
    shop --requests 120 --kinds fail,list,page
    close_shop
    judge --own-lines | tee "$tmp/judged"
    [ "$(jq .own_right "$tmp/judged")" -eq 40 ]
    # So has the stack below it: each line of it follows the one that names the request.
    jq -r 'select(.message | test("^⨯ Error|^    at ")) | "\(.trace_id) \(.message[:20])"' \
        "$tmp/shop.err" >"$tmp/stacks"
    [ "$(grep -c '    at ' "$tmp/stacks")" -ge 40 ]
    awk '/Error/ { id = $1 } $1 == "null" || $1 != id { exit 1 }' "$tmp/stacks"
}

@test "what goes on when a client has left has its request's id, or none" {
    open_shop 16 24 start
    shop --requests 300 --kinds leave,action,leave,page
    close_shop
    # Those who left are over; what was still on its way for them is believed once enough responses were right.
    judge --least 90
}

@test "a slow reader of the log gets every line, with its own request's id" {
    # 2 KiB every 10 ms is less than the shop has to say: its pipe is full most of the time.
    mkfifo "$tmp/shop.log"
    need 16
    shim='' start reader /usr/bin/python3 -c '
import os, sys, time
source, sink = os.open(sys.argv[1], os.O_RDONLY), os.open(sys.argv[2], os.O_WRONLY | os.O_CREAT)
while piece := os.read(source, 2048):
    os.write(sink, piece)
    time.sleep(0.01)
' "$tmp/shop.log" "$tmp/slow"
    reader=$pid
    open_shop 16 24 start
    shop --requests 400
    until_quiet "$tmp/slow"
    close_shop
    wait "$reader"
    mv "$tmp/slow" "$tmp/shop.log"
    judge
}

@test "answers are the same, byte for byte, bare and preloaded, but for the date" {
    local path
    for shim in '' "$object"; do
        open_shop 16 20 start
        for path in / /api/orders?n=1 /nothing /checkout?n=2 /orders/0?n=3 /_next/static/nothing.js; do
            printf '\n== %s\n' "$path"
            curl -sS -m 20 -i "http://127.0.0.1:$port$path"
        done >"$tmp/all"
        printf '\n== OPTIONS\n' >>"$tmp/all"
        curl -sS -m 20 -i -X OPTIONS "http://127.0.0.1:$port/api/orders?n=4" >>"$tmp/all"
        grep -aiv '^date:' "$tmp/all" >"$tmp/answers.${shim:+preloaded}"
        close_shop
    done
    [ "$(grep -ac '^HTTP/1.1 ' "$tmp/answers.")" -eq 7 ]
    cmp "$tmp/answers." "$tmp/answers.preloaded"
}

@test "a request keeps its id when a context that was bound in it is let go" {
    # after() and much else of Next's bind contexts, and drop them while the request goes on. Node alone, so that the
    # garbage is collected in that moment.
    cat >"$tmp/binds.js" <<'JS'
const { AsyncLocalStorage } = require("node:async_hooks");

require("node:http").createServer(async (request, response) => {
	const number = new URL(request.url, "http://localhost").searchParams.get("n");
	console.log(`request ${number}: binds`);
	AsyncLocalStorage.bind(() => {});
	for (let i = 0; i < 5; i++) {
		await new Promise(setImmediate);
		globalThis.gc();
	}
	console.log(`request ${number}: has let go`);
	response.end();
}).listen(process.argv[2], "127.0.0.1");
JS
    local version
    for version in 18 24; do
        node_of "$version"
        serve binds "$port" "$node" --expose-gc "$tmp/binds.js" "$port"
        curl -sS -m 20 -H "traceparent: 00-$TRACE_A-1111111111111111-01" "http://127.0.0.1:$port/?n=$version"
        stop "$pid"
        grep "request $version:" "$tmp/binds.log" >"$tmp/lines"
        [ "$(jq -r .trace_id "$tmp/lines")" = "$TRACE_A"$'\n'"$TRACE_A" ]
    done
}

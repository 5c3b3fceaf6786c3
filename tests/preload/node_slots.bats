#!/usr/bin/env bats
# shellcheck disable=SC2154 # guest.bash assigns them
#
# How long a request of Node's has ids: from its first line until nothing can name it any more, and never another's.

load guest

setup() {
    guest_setup
}

# traced PROGRAM [OPTION...]: run it by Node, preloaded; its records are in $tmp/shim.out
traced() {
    local program=$1
    shift
    printf '%s\n' "$program" >"$tmp/program.js"
    into shim env LD_PRELOAD="$so" node "$@" "$tmp/program.js"
    cat "$tmp/shim.err"
    [ "$(<"$tmp/shim.status")" = 0 ]
    records "$tmp/shim.out"
}

@test "what a request bound, once collected, does not take the request's ids along" {
    traced '
        const { AsyncLocalStorage } = require("async_hooks");
        const http = require("http");
        const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

        async function handle(req, res) {
            console.log("first");
            for (let i = 0; i < 50; i++) AsyncLocalStorage.bind(() => {});
            for (let i = 0; i < 5; i++) {
                await pause(5);
                global.gc();
            }
            console.log("last");
            res.end();
        }

        const server = http.createServer(handle).listen(0, "127.0.0.1", () => {
            const headers = { traceparent: "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01" };
            http.get({ port: server.address().port, headers }, (res) => res.resume().on("end", () => server.close()));
        });' --expose-gc
    run jq -r '.message + " " + (.trace_id // "none")' "$tmp/shim.out"
    [ "$output" = "first 0af7651916cd43dd8448eb211c80319c
last 0af7651916cd43dd8448eb211c80319c" ]
}

@test "a line long after the end has its id while no other request came, else none, and never another's" {
    traced '
        const http = require("http");
        const agent = new http.Agent({ keepAlive: true, maxSockets: 1 });
        const later = [];

        const server = http.createServer((req, res) => {
            const say = (when) => console.log(when + " " + req.url.slice(1));
            say("now");
            new Promise((resolve) => later.push(resolve)).then(() => say("later"));
            res.end();
        });

        function get(port, n) {
            const headers = { traceparent: "00-" + String(n).padStart(32, "1") + "-b7ad6b7169203331-01" };
            return new Promise((done) => {
                http.get({ port, path: "/" + n, headers, agent }, (res) => res.resume().on("end", done));
            });
        }

        server.listen(0, "127.0.0.1", async () => {
            for (let n = 1000; n < 1600; n++) await get(server.address().port, n);
            for (const resolve of later) resolve();
            setImmediate(() => {
                agent.destroy();
                server.close();
            });
        });'
    jq -r '(.message | split(" ")) as [$when, $n] | $when + " " +
        (if .trace_id == null then "none" elif (.trace_id | endswith("1" + $n)) then "right" else "wrong" end)' \
        "$tmp/shim.out" | sort | uniq -c | sed 's/^ *//' >"$tmp/counts"
    cat "$tmp/counts"
    grep -qx '600 now right' "$tmp/counts"
    lacks wrong "$tmp/counts"
    grep -qx '1 later right' "$tmp/counts"
    grep -qx '599 later none' "$tmp/counts"
}

#!/usr/bin/env bats
# shellcheck disable=SC2154 # guest.bash assigns them
#
# What a program finds on Node's objects when it lists them: frameworks copy methods from one stream to another so.

load guest

setup() {
    guest_setup
}

@test "for...in over requests, responses, calls and streams finds the same names as without us" {
    cat >"$tmp/program.js" <<'END'
        const http = require("http");
        const { PassThrough } = require("stream");
        const names = (object) => {
            const all = [];
            for (const name in object) all.push(name);
            return all.sort().join();
        };
        const server = http.createServer((req, res) => {
            console.error(names(req), names(res), names(Object.getPrototypeOf(req)), names(Object.getPrototypeOf(res)));
            res.end("x");
        });
        server.listen(0, "127.0.0.1", () => {
            const call = http.get({ port: server.address().port, agent: false }, (res) => {
                console.error(names(res), names(call), names(call.socket), names(new PassThrough()), Object.keys(process.stdout));
                console.error(names(fs.createWriteStream("/dev/null")));
                res.resume().on("end", () => server.close());
            });
        });
        const fs = require("fs");
        console.log("x");
END
    into bare node "$tmp/program.js"
    into shim env LD_PRELOAD="$so" TRACESHIM_LOG=off node "$tmp/program.js"
    [ "$(<"$tmp/shim.status")" = 0 ]
    [ -s "$tmp/bare.err" ]
    grep -q ',pipe,' "$tmp/bare.err"
    diff "$tmp/bare.err" "$tmp/shim.err"
    into shim env LD_PRELOAD="$so" node "$tmp/program.js"
    diff "$tmp/bare.err" <(jq -r .message "$tmp/shim.err")
}

@test "what a program replaces in a module of Node's is not told to those who import it, unless the program tells them" {
    cat >"$tmp/program.mjs" <<'JS'
import { createRequire } from "node:module";
import { hostname } from "node:os";
import { Worker } from "node:worker_threads";

const require = createRequire(import.meta.url);
require("node:os").hostname = () => "replaced";
const threads = require("node:worker_threads");
console.error(hostname() === "replaced", typeof Worker, new threads.Worker("", { eval: true }) instanceof Worker);
require("node:module").syncBuiltinESMExports();
console.error(hostname() === "replaced");
JS
    into bare node "$tmp/program.mjs"
    into shim env LD_PRELOAD="$so" TRACESHIM_LOG=off node "$tmp/program.mjs"
    [ "$(<"$tmp/bare.err")" = $'false function true\ntrue' ]
    [ "$(<"$tmp/shim.status")" = 0 ]
    diff "$tmp/bare.err" "$tmp/shim.err"
}

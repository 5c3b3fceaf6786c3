#!/usr/bin/env bats
# shellcheck disable=SC2154 # guest.bash assigns them
#
# Lines that reach a log through a stream that keeps them for a while: its buffer is emptied in the context of whoever made
# room, which is not the one who wrote the line.

load guest

setup() {
    guest_setup
}

# piped DESTINATION: a server writes 20 lines a request through a PassThrough into this stream; count whose ids they have
piped() {
    cat >"$tmp/program.js" <<END
        const { PassThrough } = require("stream");
        const fs = require("fs");
        const http = require("http");
        const log = new PassThrough();
        const last = log.pipe($1);

        const server = http.createServer(async (req, res) => {
            for (let i = 0; i < 20; i++) {
                log.write(JSON.stringify({ n: req.url.slice(1), pad: "x".repeat(300) }) + "\\n");
                if (i % 5 === 0) await new Promise((resolve) => setTimeout(resolve, Math.random() * 3));
            }
            res.end();
        });

        function get(port, n, agent) {
            const headers = { traceparent: "00-" + String(n).padStart(32, "1") + "-b7ad6b7169203331-01" };
            return new Promise((done) => {
                http.get({ port, path: "/" + n, headers, agent }, (res) => res.resume().on("end", done));
            });
        }

        async function run() {
            const agent = new http.Agent({ keepAlive: true, maxSockets: 40 });
            const all = Array.from({ length: 200 }, (_, i) => get(server.address().port, 1000 + i, agent));
            await Promise.all(all);
            agent.destroy();
            server.close();
            log.end();
        }

        const listen = () => server.listen(0, "127.0.0.1", run);
        if (last.pending) last.once("ready", listen);
        else listen();
END
    into shim env LD_PRELOAD="$so" TRACESHIM_LOG_FILES="$tmp/app.log" node "$tmp/program.js"
    cat "$tmp/shim.err"
    [ "$(<"$tmp/shim.status")" = 0 ]
    cat "$tmp/shim.out" "$tmp/app.log" 2>/dev/null | jq -r '.n as $n | if .trace_id == null then "none"
        elif (.trace_id | endswith("1" + $n)) then "right" else "wrong" end' | sort | uniq -c | sed 's/^ *//' >"$tmp/counts"
    cat "$tmp/counts"
}

@test "lines that wait in a PassThrough before a file have their own request's ids" {
    piped "fs.createWriteStream('$tmp/app.log', { flags: 'a' })"
    grep -qx '4000 right' "$tmp/counts"
}

@test "lines that wait in a PassThrough before the standard output have their own request's ids" {
    piped process.stdout
    grep -qx '4000 right' "$tmp/counts"
}

@test "lines that wait in a stream that changes them have no ids rather than another's" {
    piped "new (class extends require('stream').Transform {
        _transform(chunk, encoding, done) { setImmediate(done, null, Buffer.from(chunk)); }
    })()).pipe(fs.createWriteStream('$tmp/app.log', { flags: 'a' })"
    lacks wrong "$tmp/counts"
    [ "$(awk '{ sum += $1 } END { print sum }' "$tmp/counts")" = 4000 ]
}

#!/usr/bin/env bats
# shellcheck disable=SC2030,SC2031,SC2154 # each test is a subshell; variables come from servers.bash
#
# Spans of real servers and clients, counted against the requests: each has one, with its own ids, and parents and children
# join. rings.py reads what is left for the agent by the format alone.

load servers

setup() {
    servers_setup
    settings+=(TRACESHIM_EXPORT=traces)
    port=$(free_port)
    up=$(free_port)
    dead=$(free_port)
    url=http://127.0.0.1:$port
}

teardown() {
    servers_teardown
}

nginx_serves() {
    mkdir -p "$tmp/www"
    seq -f 'line %g' 30000 >"$tmp/www/big.txt"
    echo small >"$tmp/www/small.txt"
    fill "$apps/nginx.conf.in" DIR="$tmp" WORKERS="$1" ACCESS="/dev/stdout line" LEVEL=notice PORT="$port" UP="$up" \
        DEAD="$dead" >"$tmp/nginx.conf"
    serve nginx "$port" nginx -e stderr -p "$tmp" -c "$tmp/nginx.conf"
}

apache_serves() {
    mkdir -p "$tmp/www"
    seq -f 'line %g' 30000 >"$tmp/www/big.txt"
    echo small >"$tmp/www/small.txt"
    fill "$apps/apache.conf.in" DIR="$tmp" PORT="$port" UP="$up" MPM="$1" CGI=cgi CGIDIR="$(cgi_folder)" \
        MODULES=/usr/lib/apache2/modules >"$tmp/apache.conf"
    if [ "$(id -u)" = 0 ]; then printf 'User www-data\nGroup www-data\n' >>"$tmp/apache.conf"; fi
    serve apache "$port" apache2 -D FOREGROUND -f "$tmp/apache.conf"
}

@test "nothing is left where nothing is to be exported" {
    settings=(TRACESHIM_RUN_DIR="$tmp/run")
    nginx_serves 1
    burst "$url/text" --requests 20
    stop "$pid"
    [ -z "$(find "$tmp/run" -name '*.ring*')" ]
}

@test "nginx: every request has a span: kept, pipelined, HEAD, sendfile, errors" {
    nginx_serves 2
    burst "$url/text" --requests 300 --connections 20
    burst "$url/text" --first 301 --requests 200 --connections 4 --pipeline 10
    burst "$url/big.txt" --first 501 --requests 60 --connections 8
    burst "$url/big.txt" --first 561 --requests 40 --method HEAD
    burst "$url/limited" --first 601 --requests 30 --status 403
    burst "$url/small.txt" --first 631 --requests 30 --http 1.0
    has_spans '.kind == "server"' 660
    rings judge 1 600
    rings judge 601 630 403
    rings judge 631 660
    [ "$(spans '.method == "HEAD"')" -eq 40 ]
    [ "$(spans '.version == 10')" -eq 30 ]
    # A file goes out by sendfile: its bytes count, too.
    [ "$(spans '(.target | startswith("/big.txt")) and .bytes_out < 1000')" -eq 40 ]
    [ "$(spans '(.target | startswith("/big.txt")) and .bytes_out > 300000')" -eq 60 ]
    undegraded
}

@test "nginx as a proxy: a call is its request's child, and its id is the one in the head" {
    start_upstream
    nginx_serves 2
    burst "$url/renamed" --requests 200 --connections 16
    has_spans '.kind == "client"' 200
    has_spans '.kind == "server"' 200
    rings judge 1 200
    rings join 0
    rings | jq -r 'select(.kind == "client") | "\(.trace)-\(.span)"' | sort >"$tmp/recorded"
    jq -r '.headers[] | select(.[0] == "traceparent") | .[1]' "$tmp/calls" |
        sed 's/^00-//; s/-..$//' | sort >"$tmp/received"
    [ "$(wc -l <"$tmp/received")" -eq 200 ]
    cmp "$tmp/recorded" "$tmp/received"
}

@test "a proxy that passes its client's header on has no span of that call, as the header names no span of its own" {
    start_upstream
    nginx_serves 1
    burst "$url/kept" --requests 50
    has_spans '.kind == "server"' 50
    has_spans '.kind == "client"' 0
}

@test "parents and children of two guests join" {
    serve guest "$up" /usr/bin/python3 "$apps/python/http_server.py" "$up"
    nginx_serves 1
    burst "$url/renamed" --requests 60 --connections 4
    has_spans '.kind == "client"' 60
    has_spans '.kind == "server"' 120
    rings join 60
    rings judge 1 60 || [ "$(spans '.kind == "server" and .program == "nginx"')" -eq 60 ]
}

@test "Apache prefork and event: a span each, from whichever process and thread" {
    local mpm
    for mpm in prefork event; do
        apache_serves "$mpm"
        burst "$url/small.txt" --requests 200 --connections 20
        burst "$url/big.txt" --first 201 --requests 30 --connections 8
        burst "$url/small.txt" --first 231 --requests 100 --connections 4 --pipeline 5
        burst "$url/none" --first 331 --requests 20 --status 404
        has_spans '.kind == "server" and (.target | contains("n="))' 350
        rings judge 1 330
        rings judge 331 350 404
        undegraded
        stop "$pid"
        rm -f "$tmp"/run/*.ring
    done
}

@test "Python's threads, C servers of every kind: a span each" {
    local how
    serve guest "$port" /usr/bin/python3 "$apps/python/http_server.py" "$port"
    burst "$url/x" --requests 100 --connections 10
    has_spans '.kind == "server"' 100
    rings judge 1 100
    stop "$pid"
    for how in thread prefork fork workers; do
        rm -f "$tmp"/run/*.ring
        serve guest "$port" "$programs/server_blocking" "$how" "$port"
        burst "$url/x" --requests 120 --connections 12
        has_spans '.kind == "server"' 120
        rings judge 1 120
        stop "$pid"
    done
    for how in inline late; do
        rm -f "$tmp"/run/*.ring
        serve guest "$port" "$programs/server_loop" "$how" "$port"
        burst "$url/x" --requests 120 --connections 12
        has_spans '.kind == "server"' 120
        rings judge 1 120
        stop "$pid"
    done
}

@test "bodies in chunks, in pieces, and behind a 100" {
    start_upstream
    nginx_serves 1
    burst "$url/unbuffered" --requests 30 --method POST --body 3000 --chunked
    burst "$url/unbuffered" --first 31 --requests 30 --method POST --body 3000 --pieces 70
    burst "$url/unbuffered" --first 61 --requests 20 --method POST --body 10 --interim --header 'Expect: 100-continue'
    has_spans '.kind == "server"' 80
    rings judge 1 80
    [ "$(spans '.kind == "server" and .method == "POST" and .bytes_in > 3000')" -eq 60 ]
}

@test "curl as a client: its calls are roots, in the caller's trace they are its children" {
    shim='' nginx_serves 1
    env "${settings[@]}" LD_PRELOAD="$object" curl -sS -o /dev/null -o /dev/null "$url/text?n=1" "$url/missing?n=2"
    env "${settings[@]}" LD_PRELOAD="$object" TRACEPARENT=00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01 \
        curl -sS -o /dev/null "$url/text?n=3"
    [ "$(spans '.kind == "client" and .local and .parent == "" and .program == "curl"')" -eq 2 ]
    [ "$(spans '.status == 404 and .target == "/missing?n=2" and .host == "127.0.0.1:'"$port"'"')" -eq 1 ]
    [ "$(spans '.trace == "0af7651916cd43dd8448eb211c80319c" and .parent == "b7ad6b7169203331" and (.local | not)')" -eq 1 ]
    [ "$(spans '.peer == "127.0.0.1" and .peer_port == '"$port")" -eq 3 ]
}

@test "a client that goes away in mid-response, a server that never answers" {
    mkdir -p "$tmp/www"
    truncate -s 64M "$tmp/www/huge.txt" # more than the kernel takes at once
    nginx_serves 1
    /usr/bin/python3 - "$port" <<'PY'
import socket, struct, sys
for n in range(5):
    s = socket.create_connection(("127.0.0.1", int(sys.argv[1])))
    s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    s.sendall(b"GET /huge.txt?n=%d HTTP/1.1\r\nHost: test.example\r\n\r\n" % n)
    s.recv(100)
    s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    s.close()
PY
    has_spans '.error != "" and .status == 200' 5
    [ "$(spans '.error == ""')" -eq 0 ]
    /usr/bin/python3 -c "
import socket, sys
l = socket.create_server(('127.0.0.1', $dead))
print('ready', flush=True)
c, _ = l.accept(); c.recv(1000); c.close()" >"$tmp/ready" &
    started+=($!)
    until [ -s "$tmp/ready" ]; do sleep 0.01; done
    run env "${settings[@]}" LD_PRELOAD="$object" curl -sS "http://127.0.0.1:$dead/x"
    [ "$status" -ne 0 ]
    has_spans '.kind == "client" and .error == "closed" and .status == 0' 1
}

@test "a connection that leaves HTTP: its last span says so, and the tunnel has none" {
    start_upstream
    stop "$upstream"
    shim='' serve peer "$up" /usr/bin/python3 "$apps/upgrade.py" "$up"
    nginx_serves 1
    /usr/bin/python3 "$apps/upgrade.py" --client "$port" 5
    has_spans '.kind == "server" and .upgraded and .status == 101' 5
    has_spans '.kind == "client" and .upgraded and .status == 101' 5
    [ "$(spans 'true')" -eq 10 ]
}

@test "a program that closes all its descriptors, forks and execs keeps its spans" {
    serve guest "$port" "$programs/server_blocking" exec "$port"
    burst "$url/x" --requests 30
    has_spans '.kind == "server"' 30
    rings judge 1 30
    [ "$(find "$tmp/run" -name '*.new' | wc -l)" -eq 0 ]
    [ "$(find "$tmp/run" -name '*.ring' ! -perm 600 | wc -l)" -eq 0 ]
}

# same_lines LOG...: what was exported is what the records say, line by line, with the same ids
same_lines() {
    cat "$@" | jq -c '[.message, .trace_id // "", .span_id // ""]' | sort >"$tmp/records"
    rings | jq -c 'select(.what == "line") | [.text, .trace, .span]' | sort >"$tmp/exported"
    [ "$(wc -l <"$tmp/records")" -gt 50 ]
    diff "$tmp/records" "$tmp/exported"
    # Those of a program that was stopped have no request; the others do.
    [ "$(jq -c 'select(.[1] != "")' "$tmp/exported" | wc -l)" -gt 50 ]
}

@test "log lines: what is exported is what the records say, with the same ids" {
    local how
    settings+=(TRACESHIM_EXPORT=logs)
    for how in thread prefork; do
        serve guest "$port" "$programs/server_blocking" "$how" "$port"
        burst "$url/x" --requests 100 --connections 10
        stop "$pid"
    done
    serve python "$port" /usr/bin/python3 "$apps/python/http_server.py" "$port"
    burst "$url/x" --requests 60 --connections 6
    stop "$pid"
    same_lines "$tmp"/guest.log "$tmp"/guest.err "$tmp"/python.log "$tmp"/python.err
    [ "$(spans true)" -eq 0 ]
}

@test "log lines of Node, which is asked itself" {
    settings+=(TRACESHIM_EXPORT=logs)
    cat >"$tmp/app.cjs" <<'JS'
require("http").createServer(async (request, response) => {
  console.log("begin " + request.url);
  await new Promise((resolve) => setTimeout(resolve, 2));
  console.error("end " + request.url);
  response.end("ok\n");
}).listen(Number(process.argv[2]), "127.0.0.1");
JS
    serve node "$port" node "$tmp/app.cjs" "$port"
    burst "$url/x" --requests 60 --connections 6
    stop "$pid"
    same_lines "$tmp"/node.log "$tmp"/node.err
}

@test "a ring that nobody empties drops the newest and counts them" {
    settings+=(TRACESHIM_RING_SIZE=65536)
    nginx_serves 1
    burst "$url/text" --requests 900 --connections 10
    rings >"$tmp/all"
    kept=$(jq -s '[.[] | select(.what == "span")] | length' "$tmp/all")
    dropped=$(jq -s '[.[] | select(.what == "dropped") | .spans] | add' "$tmp/all")
    echo "kept $kept, dropped $dropped"
    [ "$kept" -gt 100 ]
    [ $((kept + dropped)) -eq 900 ]
    counted spans "$kept"
    counted spans_lost "$dropped"
}

@test "a run folder that cannot be written to changes nothing for the program" {
    settings=(TRACESHIM_RUN_DIR=/proc/nowhere TRACESHIM_EXPORT=traces)
    nginx_serves 1
    burst "$url/text" --requests 100 --numbered
    count "$tmp/nginx.log" --requests 100 --lines 1
}

@test "a limit on the size of files, which raises a signal, is not run into" {
    ulimit -S -f 512 # blocks of 1 KiB: the first ring has fewer, the one that is to take its place more
    nginx_serves 1
    burst "$url/text" --requests 400 --numbered
    count "$tmp/nginx.log" --requests 400 --lines 1
    counted spans "$(spans true)"
    [ "$(spans true)" -gt 100 ]
    [ $(($(counter spans) + $(counter spans_lost))) -eq 400 ]
    [ -z "$(find "$tmp/run" -name '*.ring*' -size +100k)" ]
}

@test "killed under load: whatever was answered has its span" {
    # Rings that hold what a killer answers late who waits for a processor: 20 ms can be a second, and a full ring is no loss of this kind.
    shim='' nginx_serves 1
    stop "$pid"
    env "${settings[@]}" TRACESHIM_RING_SIZE=16777216 /usr/bin/python3 "$here/rings_kill.py" 100 "$port" \
        "$tmp/run" /text env LD_PRELOAD="$object" nginx -e stderr -p "$tmp" -c "$tmp/nginx.conf"
    mkdir -m 1777 "$tmp/run"
    env "${settings[@]}" TRACESHIM_RING_SIZE=16777216 /usr/bin/python3 "$here/rings_kill.py" 100 "$port" \
        "$tmp/run" /small.txt env LD_PRELOAD="$object" nginx -e stderr -p "$tmp" -c "$tmp/nginx.conf"
}

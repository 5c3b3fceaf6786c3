#!/usr/bin/env bats
# shellcheck disable=SC2030,SC2031,SC2094,SC2154 # each test is a subshell; variables come from servers.bash
#
# Responses that last, and connections that leave HTTP (DESIGN, 'What lasts'): when their spans end, with which status, and whose
# the lines are that are written meanwhile.

load servers

setup() {
    servers_setup
    settings+=(TRACESHIM_EXPORT=traces)
    port=$(free_port)
    up=$(free_port)
    url=http://127.0.0.1:$port
    streams=$apps/streams.py
}

teardown() {
    servers_teardown
}

# content KIND PORT COUNT: all clients of that kind got what they asked for
content() {
    run /usr/bin/python3 "$streams" "$@"
    echo "$output"
    [ "$status" -eq 0 ]
    [ "$output" = "$3 content" ]
}

# until_said TEXT FILE: wait until the file has that line
until_said() {
    local tries=$WAIT_TRIES
    until grep -qx "$1" "$2" || [ $((tries--)) -le 0 ]; do sleep 0.025; done
}

# lines_of WORD FILE: the records that begin with it
lines_of() {
    jq -c --arg word "$1 " 'select(.message | startswith($word))' "$2"
}

@test "events, a thread a stream: each line has its stream's id to the end, and the span ends with the stream" {
    serve guest "$port" /usr/bin/python3 "$streams" threads "$port"
    content sse "$port" 20
    count "$tmp/guest.log" --requests 20 --lines 6
    has_spans '.kind == "server" and .status == 200 and .error == "" and (.target | startswith("/sse"))' 20
    [ "$(rings | jq -s '[.[].trace] | unique | length')" -eq 20 ]
    undegraded
}

@test "events: there is no span while the stream is open" {
    serve guest "$port" /usr/bin/python3 "$streams" threads "$port"
    mkfifo "$tmp/end"
    /usr/bin/python3 "$streams" hold "$port" 7 <"$tmp/end" >"$tmp/client" 3>&- &
    client=$!
    exec 9>"$tmp/end"
    until_said open "$tmp/client"
    [ "$(spans 'true')" -eq 0 ]
    exec 9>&-
    wait "$client"
    grep -qx ended "$tmp/client"
    has_spans '(.target | startswith("/hold")) and .status == 200 and .error == ""' 1
    count "$tmp/guest.log" --requests 7 --none any
}

@test "events that the client leaves: an error, and the lines are the stream's to the end" {
    serve guest "$port" /usr/bin/python3 "$streams" threads "$port"
    content cut "$port" 6
    has_spans '.kind == "server" and .status == 200 and (.error == "reset" or .error == "closed")' 6
    [ "$(spans 'true')" -eq 6 ]
    [ "$(lines_of gone "$tmp/guest.log" | wc -l)" -eq 6 ]
    count "$tmp/guest.log" --requests 6
}

@test "events that the server leaves unfinished: an error" {
    serve guest "$port" /usr/bin/python3 "$streams" threads "$port"
    run curl -sS "$url/sse?n=1&unfinished"
    [ "$status" -eq 18 ]
    has_spans '.kind == "server" and .status == 200 and .error == "unanswered"' 1
}

@test "events of a loop: no line is another stream's, and the span ends with the stream" {
    serve guest "$port" /usr/bin/python3 "$streams" aiohttp "$port"
    content sse "$port" 20
    count "$tmp/guest.log" --requests 20 --lines 6 --none any
    has_spans '.kind == "server" and .status == 200 and .error == ""' 20
    undegraded
}

@test "a long poll that finds nothing is an answer like any, which took as long as it waited" {
    local kind
    for kind in threads aiohttp; do
        serve guest "$port" /usr/bin/python3 "$streams" "$kind" "$port"
        content poll "$port" 10
        has_spans '.kind == "server" and .status == 204 and .error == ""' 10
        [ "$(spans '.end - .start < 90000000')" -eq 0 ]
        count "$tmp/guest.log" --requests 10 --lines 1 --none any
        stop "$pid"
        rm -f "$tmp"/run/*.ring
        : >"$tmp/guest.log"
    done
}

@test "a long poll whose client gives up: an error, once its server finds out" {
    serve guest "$port" /usr/bin/python3 "$streams" aiohttp "$port"
    content leave "$port" 5
    has_spans '.kind == "server" and (.error == "reset" or .error == "closed") and .status == 0' 5
    stop "$pid"
    rm -f "$tmp"/run/*.ring
    serve guest "$port" /usr/bin/python3 "$streams" threads "$port"
    content leave "$port" 1
    [ "$(spans 'true')" -eq 0 ]
    curl -sS "$url/release?n=2"
    has_spans '.kind == "server" and .error == "reset" and (.target | startswith("/wait"))' 1
}

@test "an upgraded connection, a thread each: what is written for messages has no id" {
    serve guest "$port" /usr/bin/python3 "$streams" threads "$port"
    content lines "$port" 12
    lines_of opened "$tmp/guest.log" >"$tmp/opened"
    lines_of message "$tmp/guest.log" >"$tmp/messages"
    count "$tmp/opened" --requests 12 --lines 1 --none any
    count "$tmp/messages" --requests 12 --lines 4 --none any --all-none
    has_spans '.kind == "server" and .status == 101 and .upgraded and .error == ""' 12
    [ "$(spans 'true')" -eq 12 ]
    counted http_tunnels 12
    counted requests 12
}

@test "WebSockets of two loops: what they carry is as it was, one span each, no line is another's" {
    local kind
    for kind in websockets aiohttp; do
        serve guest "$port" /usr/bin/python3 "$streams" "$kind" "$port"
        content ws "$port" 12
        count "$tmp/guest.log" --requests 12 --none any
        [ "$(lines_of message "$tmp/guest.log" | wc -l)" -eq 48 ]
        has_spans '.kind == "server" and .status == 101 and .upgraded' 12
        [ "$(spans 'true')" -eq 12 ]
        counted http_poisoned 0
        stop "$pid"
        rm -f "$tmp"/run/*.ring
        : >"$tmp/guest.log"
    done
}

tinyproxy_serves() {
    printf '%s\n' "Port $port" 'Listen 127.0.0.1' 'MaxClients 50' 'Allow 127.0.0.1' "ConnectPort $up" 'LogLevel Connect' >"$tmp/tinyproxy.conf"
    serve proxy "$port" tinyproxy -d -c "$tmp/tinyproxy.conf"
}

@test "a CONNECT tunnel: the proxy's span ends with its answer, and what passes is as it was" {
    start_upstream
    tinyproxy_serves
    for i in 1 2 3; do
        curl -sS --proxytunnel -x "$url" -H "traceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b716920333$i-01" \
            --proxy-header 'X-Mine: 1' "http://127.0.0.1:$up/a?n=$i" >>"$tmp/answers"
    done
    [ "$(grep -c 'upstream n=' "$tmp/answers")" -eq 3 ]
    has_spans '.kind == "server" and .method == "CONNECT" and .status == 200 and .upgraded and .error == ""' 3
    [ "$(spans 'true')" -eq 3 ]
    # Within it the client speaks with the upstream alone.
    jq -e -s 'map([.headers[] | select(.[0] == "traceparent")] | length == 1 and (.[0][1] | startswith("00-0af7651916cd43dd8448eb211c80319c-b7ad6b716920333"))) | all' "$tmp/calls"
    counted http_tunnels 3
}

@test "a client that goes through a tunnel: the CONNECT is a call, and inside TLS the request is one again" {
    openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -keyout "$tmp/both.pem" -out "$tmp/cert.pem" -days 3 \
        -subj /CN=localhost -addext subjectAltName=DNS:localhost,IP:127.0.0.1 2>"$tmp/openssl.err"
    cat "$tmp/cert.pem" >>"$tmp/both.pem"
    start_upstream --tls "$tmp/both.pem"
    shim='' tinyproxy_serves
    env "${settings[@]}" LD_PRELOAD="$object" TRACESHIM_LOG=off TRACEPARENT=00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01 \
        curl -sS -x "$url" --cacert "$tmp/cert.pem" "https://127.0.0.1:$up/a?n=1" >"$tmp/answer"
    grep -q 'upstream n=1' "$tmp/answer"
    jq -e -s 'length == 1 and ([.[0].headers[] | select(.[0] == "traceparent")] | length == 1
        and (.[0][1] | startswith("00-0af7651916cd43dd8448eb211c80319c-")))' "$tmp/calls"
    has_spans '.kind == "client" and .method == "CONNECT" and .status == 200 and .upgraded' 1
    has_spans '.kind == "client" and .method == "GET" and .status == 200' 1
}

@test "UDP is left alone: what looks like QUIC, and what looks like HTTP" {
    cat >"$tmp/udp.py" <<'PY'
import socket
messages = [b"\xc3\x00\x00\x00\x01\x08" + bytes(range(8)) + b"\x00" * 1180, b"GET / HTTP/1.1\r\nHost: a\r\n\r\n",
            b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", b""]
server, client = (socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range(2))
server.bind(("127.0.0.1", 0))
client.connect(server.getsockname())
for message in messages:
    assert client.send(message) == len(message)
    got, peer = server.recvfrom(2000)
    print(got == message, server.sendto(got, peer) == len(got), client.recv(2000) == message)
    assert client.sendmsg([message[:5], message[5:]]) == len(message)
    print(server.recvmsg(2000)[0] == message)
PY
    for shim in '' "$object"; do
        env "${settings[@]}" ${shim:+LD_PRELOAD="$shim" TRACEPARENT=00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01 TRACESHIM_LOG=off} \
            /usr/bin/python3 "$tmp/udp.py" >"$tmp/udp.${shim:+preloaded}"
    done
    [ "$(wc -l <"$tmp/udp.")" -eq 8 ]
    [ "$(grep -c False "$tmp/udp." || true)" -eq 0 ]
    cmp "$tmp/udp." "$tmp/udp.preloaded"
    [ "$(spans 'true')" -eq 0 ]
}

@test "WebSockets through nginx: one trace from client to server" {
    serve guest "$up" /usr/bin/python3 "$streams" websockets "$up"
    fill "$apps/nginx.conf.in" DIR="$tmp" WORKERS=1 ACCESS="/dev/stdout line" LEVEL=notice PORT="$port" UP="$up" DEAD=1 >"$tmp/nginx.conf"
    mkdir -p "$tmp/www"
    serve nginx "$port" nginx -e stderr -p "$tmp" -c "$tmp/nginx.conf"
    content ws "$port" 12
    has_spans '.kind == "server" and .status == 101 and .upgraded' 24
    # nginx passes its client's header on, which names no span of nginx's call.
    rings | jq -e -s 'group_by(.trace) | length == 12 and all(map(.program) | sort == ["nginx", "python3"])'
    until_lines 12 "$tmp/nginx.log"
    count "$tmp/nginx.log" --requests 12 --lines 1 --none any
    count "$tmp/guest.log" --requests 12 --none any
    undegraded
}

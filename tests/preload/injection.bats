#!/usr/bin/env bats
# shellcheck disable=SC2154 # guest.bash assigns them
#
# Headers in outgoing requests: the peer gets the program's own bytes and one whole insertion a head, however the bytes are
# cut up by the program or by the kernel; the program gets its own counts; what is no HTTP stays untouched.

load guest

setup() {
    guest_setup
    peer=
}

teardown() {
    [ -z "$peer" ] || stop "$peer"
}

# against NAME HOW COMMAND...: run it, the port of a peer of its own in place of PORT; what the peer got is NAME.capture.
# HOW the peer reads: see peer.py.
against() {
    local name=$1 how=$2
    shift 2
    rm -f "$tmp/port"
    echo '[]' >"$tmp/$name.capture"
    # shellcheck disable=SC2086 # none or one word
    /usr/bin/python3 "$BATS_TEST_DIRNAME/peer.py" listen "$tmp/port" "$tmp/$name.capture" $how 3>&- &
    peer=$!
    while [ ! -s "$tmp/port" ]; do sleep 0.01; done
    into "$name" "${@//PORT/$(<"$tmp/port")}"
    stop "$peer"
    peer=
}

check() {
    /usr/bin/python3 "$BATS_TEST_DIRNAME/peer.py" check "$tmp/shim.capture" "$tmp/bare.capture" "$tmp/bare.out"
}

# inject CASE [SLOW]: the case's bytes and counts, bare and preloaded
inject() {
    against bare "${2:-}" "$guests/inject_guest" PORT "$1"
    against shim "${2:-}" env LD_PRELOAD="$so" "$guests/inject_guest" PORT "$1"
    agree bare shim
    [ "$(<"$tmp/bare.status")" -eq 0 ]
    check
}

# sent NAME: what the peer got, all connections one after the other
sent() {
    /usr/bin/python3 -c 'import json, sys
for item in json.load(open(sys.argv[1])):
    sys.stdout.buffer.write(bytes.fromhex(item))' "$tmp/$1.capture"
}

@test "a head that is written byte by byte gets one insertion, by each function that sends" {
    inject bytewise
}

@test "a head that is written in two parts, cut at each position, gets one insertion" {
    inject two_parts
}

@test "a head in 1 to 40 vectors, and pipelined ones, get one insertion each" {
    inject vectors
}

@test "messages with bodies, pipelined messages, headers of the program's own, and everything that is no HTTP" {
    inject messages
}

@test "streams and dprintf on a socket" {
    inject streams
}

@test "a corked connection" {
    inject corked
}

@test "heads of 300 KB and of 10,000 headers arrive as they were sent, or with one insertion" {
    inject long_heads
}

@test "a non-blocking socket with the smallest buffer and a slow reader" {
    inject small_buffer slow
}

@test "urgent bytes, and those that the kernel reads later, are sent in one call as they are" {
    inject undivided
}

@test "a handler that logs at a high rate while the program sends changes nothing" {
    against bare "" "$guests/inject_guest" PORT signals
    against shim "" env LD_PRELOAD="$so" "$guests/inject_guest" PORT signals
    [ "$(<"$tmp/shim.status")" -eq 0 ]
    records "$tmp/shim.err"
    check
}

@test "whatever the kernel takes of a call, and whenever it refuses, an insertion is whole and made once" {
    gcc -D_GNU_SOURCE -shared -fPIC -O2 -o "$tmp/stingy.so" "$BATS_TEST_DIRNAME/libs/stingy.c"
    against bare "" "$guests/inject_guest" PORT stubborn
    # At most so many bytes a call; each n-th call fails with EAGAIN (11) or EINTR (4).
    for STINGY in 1 2 7 40 100 137 200 1000,2,11 1,3,11 50,2,4 30,5,11 100,3,4; do
        echo "# $STINGY"
        against shim "" env STINGY=$STINGY LD_PRELOAD="$so:$tmp/stingy.so" "$guests/inject_guest" PORT stubborn
        agree bare shim
        check
    done
}

# python CODE: a client in Python, to be run with the port in sys.argv[1]
python() {
    printf 'import socket, sys, os\nport = int(sys.argv[1])\n%s\n' "$1" >"$tmp/client.py"
    against shim "" env LD_PRELOAD="$so" "${@:2}" /usr/bin/python3 "$tmp/client.py" PORT
    cat "$tmp/shim.err"
    [ "$(<"$tmp/shim.status")" -eq 0 ]
}

two_calls='
import urllib.request
for host in "127.0.0.1", "localhost":
    s = socket.create_connection(("127.0.0.1", port))
    s.sendall(b"GET / HTTP/1.1\r\nHost: " + host.encode() + b":80\r\n\r\n")
    s.shutdown(socket.SHUT_WR)
    s.recv(1)'

@test "outside of a request each call is a trace of its own; with TRACESHIM_ROOT=off there is none" {
    python "$two_calls"
    [ "$(sent shim | grep -c '^traceparent: 00-')" -eq 2 ]
    [ "$(sent shim | grep -o 'traceparent: 00-[0-9a-f]*' | sort -u | wc -l)" -eq 2 ]
    python "$two_calls" TRACESHIM_ROOT=off
    [ "$(sent shim | grep -c '^Host')" -eq 2 ]
    sent shim | lacks -q trace
}

@test "the trace of the environment is carried on, by Python, curl and wget" {
    local trace=0af7651916cd43dd8448eb211c80319c env
    env=("TRACEPARENT=00-$trace-b7ad6b7169203331-01" "TRACESTATE=a=1,b=2" BAGGAGE=user=alice)
    python "$two_calls" "${env[@]}"
    [ "$(sent shim | grep -c "^traceparent: 00-$trace-.*-01")" -eq 2 ]
    [ "$(sent shim | grep -c "^tracestate: a=1,b=2")" -eq 2 ]
    [ "$(sent shim | grep -c "^baggage: user=alice")" -eq 2 ]
    [ "$(sent shim | grep -o "$trace-[0-9a-f]*" | sort -u | wc -l)" -eq 2 ]
    sent shim | lacks -q b7ad6b7169203331
    for tool in "curl -sS --http1.1" "wget -qO- --tries=1"; do
        # shellcheck disable=SC2086
        against bare answer $tool http://127.0.0.1:PORT/
        # shellcheck disable=SC2086
        against shim answer env LD_PRELOAD="$so" "${env[@]}" $tool http://127.0.0.1:PORT/
        agree bare shim
        [ "$(<"$tmp/shim.status")" -eq 0 ]
        [ "$(sent shim | grep -c "^traceparent: 00-$trace-.*-01")" -eq 1 ]
        diff <(sent bare | grep -v '^Host') <(sent shim | grep -v '^Host\|^traceparent\|^tracestate\|^baggage\|^x-trace-id')
    done
}

@test "OTEL_PROPAGATORS chooses the headers" {
    local trace=0af7651916cd43dd8448eb211c80319c
    python "$two_calls" OTEL_PROPAGATORS=b3 TRACESHIM_HEADERS= TRACEPARENT=00-$trace-b7ad6b7169203331-01
    [ "$(sent shim | grep -cE "^b3: $trace-[0-9a-f]{16}-1")" -eq 2 ]
    sent shim | lacks -q traceparent
    python "$two_calls" OTEL_PROPAGATORS=b3multi,jaeger TRACEPARENT=00-$trace-b7ad6b7169203331-01
    [ "$(sent shim | grep -ciE "^x-b3-traceid: $trace")" -eq 2 ]
    [ "$(sent shim | grep -ciE "^x-b3-spanid: [0-9a-f]{16}.$")" -eq 2 ]
    [ "$(sent shim | grep -cE "^uber-trace-id: $trace:[0-9a-f]{16}:[0-9a-f]+:1")" -eq 2 ]
    python "$two_calls" OTEL_PROPAGATORS=none TRACESHIM_HEADERS=
    sent shim | lacks -qi 'trace\|b3'
}

@test "TRACESHIM_PROPAGATE lists the hosts that get headers" {
    python "$two_calls" TRACESHIM_PROPAGATE=localhost
    [ "$(sent shim | grep -c '^traceparent')" -eq 1 ]
    [ "$(sent shim | grep -A1 '^Host: localhost' | grep -c '^traceparent')" -eq 1 ]
    python "$two_calls" TRACESHIM_PROPAGATE=example.org
    sent shim | lacks -q traceparent
}

@test "the response header is inserted whole and once, however a response is cut up" {
    gcc -D_GNU_SOURCE -shared -fPIC -O2 -o "$tmp/stingy.so" "$BATS_TEST_DIRNAME/libs/stingy.c"
    cat >"$tmp/server.py" <<'EOF'
import os, socket, sys
listener = socket.create_server(("127.0.0.1", 0))
with open(sys.argv[1] + ".new", "w") as file:
    file.write(str(listener.getsockname()[1]))
os.rename(sys.argv[1] + ".new", sys.argv[1])
whole = b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nb\r\n\r"
for at in range(len(whole)):
    conn, _ = listener.accept()
    conn.recv(1000)
    for part in whole[:at], whole[at:]:
        while part:
            part = part[conn.send(part):]
    conn.close()
EOF
    cat >"$tmp/check.py" <<'EOF'
import re, socket, sys
for at in range(len(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nb\r\n\r")):
    conn = socket.create_connection(("127.0.0.1", int(sys.argv[1])))
    trace = b"%032x" % (at + 1)
    conn.sendall(b"GET / HTTP/1.1\r\nHost: a\r\ntraceparent: 00-" + trace + b"-b7ad6b7169203331-01\r\n\r\n")
    got = b""
    while piece := conn.recv(1000):
        got += piece
    assert got == (b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 4\r\nx-id: " + trace +
                   b"\r\n\r\nb\r\n\r"), (at, got)
EOF
    for STINGY in 100000 1 3 45 57; do
        rm -f "$tmp/port"
        LD_PRELOAD=$so:$tmp/stingy.so STINGY=$STINGY TRACESHIM_RESPONSE_HEADER=x-id \
            /usr/bin/python3 "$tmp/server.py" "$tmp/port" 3>&- >/dev/null &
        peer=$!
        while [ ! -s "$tmp/port" ]; do sleep 0.01; done
        /usr/bin/python3 "$tmp/check.py" "$(<"$tmp/port")"
        wait "$peer"
        peer=
    done
}

@test "bytes that are looked at before they are read, and vectors that are filled in part, count once" {
    cat >"$tmp/server.py" <<'EOF'
import os, socket, sys
listener = socket.create_server(("127.0.0.1", 0))
with open(sys.argv[1] + ".new", "w") as file:
    file.write(str(listener.getsockname()[1]))
os.rename(sys.argv[1] + ".new", sys.argv[1])
conn, _ = listener.accept()
for i in range(3):
    got = b""
    while not got.endswith(b"\r\n\r\n"):
        conn.recv(1000, socket.MSG_PEEK)
        conn.recv(3, socket.MSG_PEEK)
        room = [bytearray(n) for n in (1, 2, 500)]
        n = os.readv(conn.fileno(), room) if i == 1 else conn.recvmsg_into(room)[0]
        got += b"".join(room)[:n]
    print("request", i, flush=True)
    conn.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
conn.recv(1)
EOF
    LD_PRELOAD=$so /usr/bin/python3 "$tmp/server.py" "$tmp/port" 3>&- >"$tmp/log" 2>&1 &
    peer=$!
    while [ ! -s "$tmp/port" ]; do sleep 0.01; done
    /usr/bin/python3 -c '
import socket, sys
conn = socket.create_connection(("127.0.0.1", int(sys.argv[1])))
for i in range(3):
    for part in b"GET / HTTP/1.1\r\nHost: a\r\ntraceparent: 00-%032x-b7ad6b7169203331-01\r\n" % (i + 1), b"\r\n":
        conn.sendall(part)
    while not (answer := conn.recv(100)).endswith(b"ok"):
        pass
import subprocess
print(subprocess.check_output([sys.argv[2], "status", "--json", sys.argv[3]]).decode())' "$(<"$tmp/port")" "$build/traceshim" "$peer" >"$tmp/status"
    wait "$peer"
    peer=
    [ "$(jq .counters.requests "$tmp/status")" -eq 3 ]
    [ "$(jq -r '.trace_id' "$tmp/log" | xargs)" = "$(printf '%032x %032x %032x' 1 2 3)" ]
}

@test "an answer that is sent to an address is its request's answer, and what refuses addresses still does" {
    cat >"$tmp/server.py" <<'EOF'
import os, socket, sys
def answers(listener, send):
    client = socket.socket(listener.family)
    client.connect(listener.getsockname())
    conn = listener.accept()[0]
    heads = b"".join(b"GET / HTTP/1.1\r\nHost: a\r\ntraceparent: 00-%032x-b7ad6b7169203331-01\r\n\r\n" % n for n in (1, 2))
    client.sendall(heads)
    got = b""
    while len(got) < len(heads):
        got += conn.recv(1000)
    try:
        send(conn, listener.getsockname())
    except OSError as error:
        print(error, file=sys.stderr)
    conn.sendall(answer)
    conn.close()
    print([line for line in client.makefile() if line.startswith(("HTTP", "x-trace"))], file=sys.stderr)
answer = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
for send in (lambda conn, name: conn.sendto(answer, name), lambda conn, name: conn.sendmsg([answer], [], 0, name)):
    answers(socket.create_server(("127.0.0.1", 0)), send)
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(sys.argv[1])
    listener.listen()
    answers(listener, send)
    os.unlink(sys.argv[1])
EOF
    /usr/bin/python3 "$tmp/server.py" "$tmp/unix" 2>"$tmp/bare.err"
    TRACESHIM_LOG=off TRACESHIM_RESPONSE_HEADER=x-trace LD_PRELOAD=$so /usr/bin/python3 "$tmp/server.py" "$tmp/unix" 2>"$tmp/shim.err"
    cat "$tmp"/*.err
    grep -q "endpoint is already connected" "$tmp/bare.err"
    diff "$tmp/bare.err" <(sed "s/, 'x-trace: [0-9a-f]*\\\\n'//g" "$tmp/shim.err")
    # By TCP the one that is sent to an address is the first's: the second one's id comes behind it. By Unix sockets it is refused.
    [ "$(grep -c "200.*'x-trace: 0*2.n'\\]" "$tmp/shim.err")" -eq 2 ]
    [ "$(grep -c "200[^2]*'x-trace: 0*1.n'\\]" "$tmp/shim.err")" -eq 2 ]
}

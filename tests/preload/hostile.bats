#!/usr/bin/env bats
# shellcheck disable=SC2154 # guest.bash assigns them
#
# Requests that are meant to do harm: every byte reaches the program as it came; the connection is poisoned and counted, and
# nothing that a client says gets into a record or to a peer unchecked.

load guest

setup() {
    guest_setup
    server=
    cat >"$tmp/server.py" <<'EOF'
# Reads each connection to its end, logs a line at each read, answers with what it got, in hexadecimal.
import os, socket, sys
listener = socket.create_server(("127.0.0.1", 0))
with open(sys.argv[1] + ".new", "w") as file:
    file.write(str(listener.getsockname()[1]))
os.rename(sys.argv[1] + ".new", sys.argv[1])
while True:
    conn, _ = listener.accept()
    data = b""
    while piece := conn.recv(65536):
        data += piece
        print("got some", flush=True)
    conn.sendall(b"HTTP/1.0 200 OK\r\n\r\n" + data.hex().encode())
    conn.close()
EOF
    cat >"$tmp/client.py" <<'EOF'
# Sends the bytes that the expression in argv[2] is, in pieces of argv[3]; all of them must have come.
import socket, sys
data = eval(sys.argv[2])
conn = socket.create_connection(("127.0.0.1", int(sys.argv[1])))
step = int(sys.argv[3])
for at in range(0, len(data), step):
    conn.sendall(data[at:at + step])
conn.shutdown(socket.SHUT_WR)
back = b""
while piece := conn.recv(65536):
    back += piece
assert bytes.fromhex(back.split(b"\r\n\r\n")[1].decode()) == data, "not the bytes that were sent"
EOF
    LD_PRELOAD=$so /usr/bin/python3 "$tmp/server.py" "$tmp/port" 3>&- >>"$tmp/log" 2>>"$tmp/err" &
    server=$!
    while [ ! -s "$tmp/port" ]; do sleep 0.01; done
    port=$(<"$tmp/port")
}

teardown() {
    [ -z "$server" ] || stop "$server"
}

counter() {
    "$build/traceshim" status --json "$server" | jq "(.counters + .degradations).$1 // 0"
}

# hostile EXPRESSION...: each is sent at once and in small pieces; each is one poisoned connection
hostile() {
    local data before step
    for data in "$@"; do
        for step in 1000000 7; do
            before=$(counter http_poisoned)
            echo "# $data"
            /usr/bin/python3 "$tmp/client.py" "$port" "$data" "$step"
            [ "$(counter http_poisoned)" -eq "$((before + 1))" ]
        done
    done
}

@test "heads that two readers could read in two ways poison the connection" {
    local head='b"POST / HTTP/1.1\r\nHost: a\r\n'
    hostile "$head"'Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"' \
        "$head"'Content-Length: 4\r\nContent-Length: 5\r\n\r\nabcde"' \
        "$head"'Content-Length: +4\r\n\r\nabcd"' "$head"'Content-Length: 4,5\r\n\r\nabcd"' \
        "$head"'Content-Length: 0x4\r\n\r\nabcd"' "$head"'Content-Length: 99999999999999999999\r\n\r\nabcd"' \
        "$head"'Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n"' "$head"'Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n"' \
        "$head"'X: a\rb\r\n\r\n"' "$head"'X: a\0b\r\n\r\n"' "$head"' X: folded\r\n\r\n"' "$head"'X\r\n\r\n"' \
        "$head"': x\r\n\r\n"' "$head"'X y: x\r\n\r\n"' \
        'b"GET / HTTP/1.1\nHost: a\n\n"' 'b"GET /\r HTTP/1.1\r\nHost: a\r\n\r\n"' 'b"GET / HTTP/1.1 \r\nHost: a\r\n\r\n"' \
        'b"GET / HTTP/1.10\r\nHost: a\r\n\r\n"'
    lacks -v '^{' "$tmp/log"
}

@test "chunks of a bad size poison the connection" {
    local head='b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n'
    hostile "$head"'g\r\nabc\r\n"' "$head"'-1\r\nabc\r\n"' "$head"'ffffffffffffffffff\r\nabc\r\n"' "$head"'3\nabc\r\n"' \
        "$head"'3\r\nabcd\r\n0\r\n\r\n"' "$head"'3 \r\nabc\r\n"' "$head"'3;a=\nb\r\nabc\r\n"' "$head"'\r\n\r\n"'
}

@test "endless heads and bodies of other protocols pass through" {
    /usr/bin/python3 "$tmp/client.py" "$port" 'b"GET / HTTP/1.1\r\nX: " + 3000000 * b"y"' 65536
    /usr/bin/python3 "$tmp/client.py" "$port" 'b"GET /" + 1000000 * b"y"' 65536
    /usr/bin/python3 "$tmp/client.py" "$port" 'b"GET / HTTP/1.1\r\n" + b"".join(b"X-%d: %d\r\n" % (i, i) for i in range(10000)) + b"\r\n"' 5000
    /usr/bin/python3 "$tmp/client.py" "$port" '1000 * b"\x16\x03\x01\x00\xff\r\n\r\n"' 100
    /usr/bin/python3 "$tmp/client.py" "$port" 'bytes(range(256)) * 100' 1000
    kill -0 "$server"
    lacks -v '^{' "$tmp/log"
}

@test "ids that are none get into no record, and their request gets one of its own" {
    local bad
    for bad in 'traceparent: 00-AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA-b7ad6b7169203331-01' 'traceparent: EVIL' \
        'traceparent: 00-00000000000000000000000000000000-b7ad6b7169203331-01' \
        'traceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-EVIL' \
        'x-request-id: EVIL\",\"severity\":\"FATAL' 'x-request-id: EVIL\x1b[31m' 'x-trace-id: EVIL\xff\xfe\xfd!' \
        'b3: EVIL-b7ad6b7169203331-1' 'uber-trace-id: EVIL:1:0:1' 'x-request-id: EVIL\x00' 'traceparent: EVIL\rtraceparent: EVIL'; do
        echo "# $bad"
        : >"$tmp/log"
        /usr/bin/python3 "$tmp/client.py" "$port" 'b"GET / HTTP/1.1\r\nHost: a\r\n'"$bad"'\r\n\r\n"' 1000000
        # The record is there before the answer is.
        jq -e -s 'length == 1' "$tmp/log" >/dev/null
        lacks -iE 'EVIL|AAAAAAAA|FATAL|00000000000000000000' "$tmp/log"
    done
    echo "requests $(counter requests), of bad ids $(counter ids_invalid)"
    [ "$(counter requests)" -ge 8 ] # three of these heads are poison
    [ "$(counter ids_invalid)" -ge 6 ]
}

@test "a thousand broken connections leave the server as it was" {
    /usr/bin/python3 -c '
import socket, sys
for i in range(1000):
    conn = socket.create_connection(("127.0.0.1", int(sys.argv[1])))
    conn.send(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\nabc"[:i % 56 + 1])
    conn.close()' "$port"
    /usr/bin/python3 "$tmp/client.py" "$port" 'b"GET / HTTP/1.1\r\nHost: a\r\ntraceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01\r\n\r\n"' 1000
    jq -e -s 'last.trace_id == "0af7651916cd43dd8448eb211c80319c"' "$tmp/log" >/dev/null
}

"""A TCP peer that takes down what each connection sends, and the check of what it took down.

    peer.py listen PORTFILE CAPTURE [HOW]    one connection after the other; reads until the end, then closes. HOW: slow,
                                             with a small receive buffer, in small pieces; answer, each head at once
    peer.py check CAPTURE BARE HEADS         CAPTURE must be BARE, but for one whole insertion in each head. HEADS: the
                                             guest's words, one 'heads N' a connection; N < 0: as it is, or one a head
A capture is a JSON list of hexadecimal strings, written anew after each connection. SIGTERM ends the peer once all that have connected were
read to their ends: a client that does not wait for ours may have gone long before.
"""
import json
import os
import re
import signal
import socket
import sys

FIELD = (rb"(?:traceparent: 00-[0-9a-f]{32}-[0-9a-f]{16}-0[0-3]"
         rb"|x-trace-id: [0-9a-f]{32}|tracestate: [!-~]+|baggage: [!-~ ]+"
         rb"|b3: [0-9a-f]{32}-[0-9a-f]{16}-[01d]|X-B3-(?:TraceId|SpanId|Sampled): [0-9a-f]+"
         rb"|uber-trace-id: [0-9a-f:]+)\r\n")
INSERTION = re.compile(rb"(?<=\r\n)(?:" + FIELD + rb")+(?=\r\n)", re.I)


def listen(portfile, capture, how):
    slow = how == "slow"
    listener = socket.socket()
    if slow:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1)
    listener.bind(("127.0.0.1", 0))
    listener.listen(64)
    signal.signal(signal.SIGTERM, lambda *_: listener.setblocking(False))
    with open(portfile + ".new", "w") as file:
        file.write(str(listener.getsockname()[1]))
    os.rename(portfile + ".new", portfile)
    seen = []
    while True:
        try:
            conn, _ = listener.accept()
        except BlockingIOError:
            return
        data = b""
        while piece := conn.recv(700 if slow else 65536):
            data += piece
            if how == "answer" and data.endswith(b"\r\n\r\n"):
                conn.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\nConnection: close\r\n\r\nok\n")
        seen.append(data.hex())
        with open(capture + ".new", "w") as file:
            json.dump(seen, file)
        os.rename(capture + ".new", capture)
        conn.close()


def check(capture, bare, words):
    with open(capture) as file:
        got = [bytes.fromhex(item) for item in json.load(file)]
    with open(bare) as file:
        want = [bytes.fromhex(item) for item in json.load(file)]
    with open(words) as file:
        heads = [int(n) for n in re.findall(r"heads (-?\d+)", file.read())]
    assert len(got) == len(want) == len(heads) > 0, (len(got), len(want), len(heads))
    for number, (shim, plain, count) in enumerate(zip(got, want, heads)):
        found = INSERTION.findall(shim) if shim != plain else []
        where = f"connection {number}: {len(found)} insertions, expected {count}\n{shim[:2000]!r}\nbare {plain[:1000]!r}"
        at = 0
        rest = b""
        # One after the other, and only where the bare bytes differ: a message may hold headers of its own.
        for match in INSERTION.finditer(shim) if shim != plain else ():
            rest += shim[at:match.start()]
            at = match.end()
        rest += shim[at:]
        if count != 0:
            assert rest == plain, "not the program's bytes: " + where
            assert count < 0 or len(found) == count, where
        elif shim != plain:
            raise AssertionError("touched: " + where)
        ids = [re.search(rb"traceparent: 00-(\w+)-(\w+)", item).group(2) for item in found]
        assert len(set(ids)) == len(ids), "a span id came twice: " + where
    print(f"{len(got)} connections, {sum(len(INSERTION.findall(item)) for item in got)} insertions")


if sys.argv[1] == "listen":
    listen(sys.argv[2], sys.argv[3], sys.argv[4] if len(sys.argv) > 4 else "")
else:
    check(*sys.argv[2:5])

#!/usr/bin/python3
"""
A server of the attribution experiment that says ids itself, and in one of a hundred requests says a wrong one: what the experiment
must find.

  liar.py LIE PORT UP

LIE  begin, middle, before, after, background   that line has the next request's ids
     span     the line "middle" has another span than the others
     caller   the line "middle" has the span of the caller
     shared   all lines have one span, as those of the request before it had
     twice    the line "middle" is said twice
     lost     the line "middle" is not said
     call     the call carries the next request's trace
     parent   the call carries the parent id of the caller
     parents  the call carries the parent id that the call before it had
     nothing  no lie
"""
import socket
import socketserver
import sys
import threading

LIE, PORT, UP = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
LINES = ("begin", "middle", "before", "after", "background")


def trace_of(n):
    return f"7e57{n * 2654435761 % (1 << 48):012x}{n:016x}"


def say(word, n, lies):
    of, span = n, f"{n + (1 << 60):016x}"
    if lies and LIE == word:
        of, span = n + 1, f"{n + 1 + (1 << 60):016x}"
    if lies and LIE == "shared":
        span = f"{n - 1 + (1 << 60):016x}"
    if lies and word == "middle" and LIE in ("span", "caller"):
        span = "ca11e70000000001" if LIE == "caller" else "00000000000000a1"
    line = f'{{"message":"{word} n={n}","trace_id":"{trace_of(of)}","span_id":"{span}","pid":1}}\n'
    if lies and word == "middle" and LIE in ("twice", "lost"):
        line = line * 2 if LIE == "twice" else ""
    sys.stdout.write(line)
    sys.stdout.flush()


def call(n, lies):
    of, parent = n + (lies and LIE == "call"), f"{n + (1 << 61) - (lies and LIE == 'parents'):016x}"
    if lies and LIE == "parent":
        parent = f"ca11e7{n:010x}"
    with socket.create_connection(("127.0.0.1", UP)) as link:
        link.sendall(b"GET /up?n=%d HTTP/1.1\r\nHost: up.example\r\ntraceparent: 00-%s-%s-01\r\n\r\n" %
                     (n, trace_of(of).encode(), parent.encode()))
        reply = b""
        while b"\n" not in reply.partition(b"\r\n\r\n")[2]:
            reply += link.recv(4096)


class Handler(socketserver.StreamRequestHandler):
    def handle(self):
        while (line := self.rfile.readline()):
            n, close = int(line.split(b"n=")[1].split()[0]), False
            while (field := self.rfile.readline().strip()):
                close = close or field.lower() == b"connection: close"
            self.serve(n, n % 100 == 50)
            if close:
                break

    def serve(self, n, lies):
        say("begin", n, lies)
        call(n, lies)
        say("middle", n, lies)
        say("before", n, lies)
        body = b"hello n=%d\n" % n
        self.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body))
        say("after", n, lies)
        threading.Thread(target=say, args=("background", n, lies)).start()


class Server(socketserver.ThreadingTCPServer):
    allow_reuse_address, daemon_threads, request_queue_size = True, True, 512


Server(("127.0.0.1", PORT), Handler).serve_forever()

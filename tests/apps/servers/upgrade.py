#!/usr/bin/python3
"""
A server that leaves HTTP by Upgrade and then speaks bytes that look like HTTP, and a client for it.

Usage: upgrade.py PORT                  serve: after the 101, every line is sent back reversed
       upgrade.py --client PORT COUNT   so many conversations through whatever listens there; prints how many were right
"""
import socket
import socketserver
import sys

ANSWER = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: lines\r\nConnection: Upgrade\r\n\r\n"
# What a message in the tunnel holds is nobody's business, even if it reads like a request.
LINES = [b"hello", b"GET /text?n=1 HTTP/1.1", b"Host: test.example", b"", b"HTTP/1.1 200 OK", b"bye"]


class Handler(socketserver.StreamRequestHandler):
    def handle(self):
        while self.rfile.readline() not in (b"\r\n", b""):
            pass
        self.wfile.write(ANSWER)
        for line in self.rfile:
            self.wfile.write(line.rstrip(b"\r\n")[::-1] + b"\r\n")


class Server(socketserver.ThreadingTCPServer):
    allow_reuse_address = daemon_threads = True


def converse(port, n):
    request = f"GET /socket?n={n} HTTP/1.1\r\nHost: test.example\r\nUpgrade: lines\r\nConnection: Upgrade\r\n\r\n"
    with socket.create_connection(("127.0.0.1", port), timeout=20) as connection, connection.makefile("rb") as reader:
        connection.sendall(request.encode())
        status = reader.readline()
        while reader.readline() not in (b"\r\n", b""):
            pass
        answers = []
        for line in LINES:
            connection.sendall(line + b"\r\n")
            answers.append(reader.readline())
        return b" 101 " in status and answers == [line[::-1] + b"\r\n" for line in LINES]


def main():
    if sys.argv[1] == "--client":
        port, count = map(int, sys.argv[2:])
        print(sum(converse(port, n) for n in range(1, count + 1)), "conversations")
    else:
        Server(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()


if __name__ == "__main__":
    main()

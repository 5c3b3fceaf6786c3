#!/usr/bin/python3
"""
Responses that last: server-sent events, long polls, and connections that leave HTTP; as a server of threads, of aiohttp or of
websockets, and as a client of these. Lines name their request (n=N).

Usage: streams.py threads|aiohttp|websockets PORT        serve
       streams.py sse|cut|poll|leave|lines PORT COUNT     so many clients at a time, each of which asks once; prints how many were
                                                          content. cut: the client leaves after the first event; leave: it does not wait for its poll; lines: an
                                                          upgraded connection that carries lines
       streams.py hold PORT n                             a stream of events, which ends when standard input does
       streams.py ws PORT COUNT                           the same with websockets
"""
import asyncio
import concurrent.futures
import contextlib
import http.client
import http.server
import queue
import socket
import struct
import sys
import time

EVENTS = 5
MESSAGES = ["hello", "GET /x?n=1 HTTP/1.1\r\nHost: a\r\n\r\n", "x" * 70000, "bye"]
POLL_S = 0.1
SSE = "text/event-stream"


def number(path):
    return path.partition("n=")[2].partition("&")[0]


def headers(n):
    trace = f"7e57{n * 2654435761 % 2**48:012x}{n:016x}"
    return {"traceparent": f"00-{trace}-ca11e7{n:010x}-01"}


# ---- threads ----


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    released = queue.Queue()

    def log_message(self, *_):
        pass

    def do_GET(self):
        n = number(self.path)
        if self.path.startswith("/sse"):
            self.events(n)
        elif self.path.startswith("/hold"):
            self.hold(n)
        elif self.path.startswith("/poll"):
            self.poll(n)
        elif self.path.startswith("/wait"):
            self.released.get()
            self.answer(200, b"late")
        elif self.path.startswith("/lines"):
            self.lines(n)
        elif self.path.startswith("/release"):
            self.released.put(n)
            self.answer(200, b"")

    def answer(self, status, body):
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def begin(self, length="chunked"):
        self.send_response(200)
        self.send_header("Content-Type", SSE)
        self.send_header(*(("Transfer-Encoding", length) if length else ("Connection", "close")))
        self.end_headers()

    def chunk(self, text):
        self.wfile.write(b"%x\r\n%s\r\n" % (len(text), text.encode()))

    def events(self, n):
        self.begin()
        for i in range(EVENTS):
            print(f"event n={n} {i}")
            self.chunk(f"data: {n} {i}\n\n")
            time.sleep(0.002)
        if "unfinished" in self.path:
            self.close_connection = True
            return
        print(f"end n={n}")
        self.chunk("")

    def hold(self, n):
        """Events until the client is gone, or somebody releases it: then to the end."""
        self.begin()
        try:
            while True:
                print(f"event n={n}")
                self.chunk(f"data: {n}\n\n")
                try:
                    self.released.get(timeout=0.01)
                    return self.chunk("")
                except queue.Empty:
                    pass
        except OSError:
            print(f"gone n={n}")
            self.close_connection = True

    def poll(self, n):
        time.sleep(POLL_S)
        print(f"nothing n={n}")
        self.answer(204, b"")

    def lines(self, n):
        self.send_response(101)
        self.send_header("Upgrade", "lines")
        self.send_header("Connection", "Upgrade")
        self.end_headers()
        print(f"opened n={n}")
        for line in self.rfile:
            print(f"message n={n}")
            self.wfile.write(line)
        self.close_connection = True


class Server(http.server.ThreadingHTTPServer):
    request_queue_size = 512


# ---- loops ----


def serve_aiohttp(port):
    from aiohttp import web

    async def sse(request):
        n = request.query["n"]
        response = web.StreamResponse(headers={"Content-Type": SSE})
        await response.prepare(request)
        for i in range(EVENTS):
            print(f"event n={n} {i}")
            await response.write(f"data: {n} {i}\n\n".encode())
            await asyncio.sleep(0.002)
        print(f"end n={n}")
        await response.write_eof()
        return response

    async def poll(request):
        await asyncio.sleep(POLL_S)
        print(f"nothing n={request.query['n']}")
        return web.Response(status=204)

    async def wait(request):
        await asyncio.Event().wait()

    async def ws(request):
        socket_ = web.WebSocketResponse()
        await socket_.prepare(request)
        async for message in socket_:
            print(f"message n={request.query['n']}")
            await socket_.send_str(message.data)
        return socket_

    app = web.Application()
    app.add_routes([web.get("/sse", sse), web.get("/poll", poll), web.get("/wait", wait), web.get("/socket", ws)])
    web.run_app(app, host="127.0.0.1", port=port, print=None, access_log=None)


async def serve_websockets(port):
    import websockets

    async def echo(socket_, path):
        print(f"opened n={number(path)}")
        async for message in socket_:
            print(f"message n={number(path)}")
            await socket_.send(message)

    async with websockets.serve(echo, "127.0.0.1", port, backlog=512):
        await asyncio.Future()


# ---- clients ----


def ask(port, path, n):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    connection.request("GET", f"{path}?n={n}", headers=headers(n))
    return connection, connection.getresponse()


def sse(port, n):
    connection, response = ask(port, "/sse", n)
    events = [f"data: {n} {i}" for i in range(EVENTS)]
    with contextlib.closing(connection):
        return [line for line in response.read().decode().split("\n") if line] == events


def cut(port, n):
    connection, response = ask(port, "/hold", n)
    first = response.read(8) != b""
    # With what came unread it is a reset.
    connection.sock.close()
    response.close()
    return first


def leave(port, n):
    """Asks for what does not come, and resets the connection."""
    head = f"GET /wait?n={n} HTTP/1.1\r\nHost: a\r\n" + "".join(f"{name}: {value}\r\n" for name, value in headers(n).items())
    with socket.create_connection(("127.0.0.1", port), timeout=30) as connection:
        connection.sendall(head.encode() + b"\r\n")
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    return True


def poll(port, n):
    connection, response = ask(port, "/poll", n)
    with contextlib.closing(connection):
        return response.status == 204


def lines(port, n):
    head = f"GET /lines?n={n} HTTP/1.1\r\nHost: a\r\nUpgrade: lines\r\nConnection: Upgrade\r\n"
    head += "".join(f"{name}: {value}\r\n" for name, value in headers(n).items())
    with socket.create_connection(("127.0.0.1", port), timeout=30) as connection, connection.makefile("rwb") as file:
        file.write(head.encode() + b"\r\n")
        file.flush()
        status = file.readline()
        while file.readline() not in (b"\r\n", b""):
            pass
        answers = []
        for message in MESSAGES:
            file.write(message.replace("\r\n", " ").encode() + b"\n")
            file.flush()
            answers.append(file.readline())
        return b" 101 " in status and answers == [m.replace("\r\n", " ").encode() + b"\n" for m in MESSAGES]


async def converse(port, n):
    import websockets

    async with websockets.connect(f"ws://127.0.0.1:{port}/socket?n={n}", extra_headers=headers(n)) as socket_:
        answers = []
        for message in MESSAGES:
            await socket_.send(message)
            answers.append(await socket_.recv())
        return answers == MESSAGES


async def converse_all(port, count):
    return await asyncio.gather(*(converse(port, n) for n in range(1, count + 1)))


def hold(port, n):
    connection, response = ask(port, "/hold", n)
    print("open" if response.read(8) else "nothing", flush=True)
    sys.stdin.read()
    other, answer = ask(port, "/release", n)
    answer.read()
    other.close()
    response.read()
    connection.close()
    print("ended", flush=True)


def main():
    kind, port = sys.argv[1], int(sys.argv[2])
    if kind == "threads":
        Server(("127.0.0.1", port), Handler).serve_forever()
    elif kind == "aiohttp":
        serve_aiohttp(port)
    elif kind == "websockets":
        asyncio.run(serve_websockets(port))
    elif kind == "hold":
        hold(port, int(sys.argv[3]))
    elif kind == "ws":
        print(sum(asyncio.run(converse_all(port, int(sys.argv[3])))), "content")
    else:
        count = int(sys.argv[3])
        with concurrent.futures.ThreadPoolExecutor(count) as pool:
            client = {"sse": sse, "cut": cut, "leave": leave, "poll": poll, "lines": lines}[kind]
            print(sum(pool.map(lambda n: client(port, n), range(1, count + 1))), "content")


if __name__ == "__main__":
    main()

#!/usr/bin/python3
"""
HTTP inside TLS in Python: threads with a session on a socket, or asyncio with sessions that work in memory. Each request prints a
line and, where UP is given, asks a server inside TLS. Usage: threads|asyncio PORT CERTIFICATE [UP]
"""
import asyncio
import http.server
import ssl
import sys
import urllib.request

KIND, PORT, CERTIFICATE = sys.argv[1], int(sys.argv[2]), sys.argv[3]
UP = sys.argv[4] if len(sys.argv) > 4 else None
CONTEXT = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
CONTEXT.load_cert_chain(CERTIFICATE)
CLIENT = ssl._create_unverified_context()


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        n = self.path.partition("n=")[2]
        size = len(self.rfile.read(int(self.headers.get("content-length") or 0)))
        print(f"begin n={n}")
        if UP:
            urllib.request.urlopen(f"https://127.0.0.1:{UP}/up?n={n}", context=CLIENT).read()
        body = f"hello n={n} {size}\n".encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    do_POST = do_GET


class Server(http.server.ThreadingHTTPServer):
    request_queue_size = 512


async def handle(reader, writer):
    try:
        while head := await reader.readuntil(b"\r\n\r\n"):
            n = head.split(b"n=")[1].split(b" ")[0].decode()
            print(f"begin n={n}")
            if UP:
                other_reader, other = await asyncio.open_connection("127.0.0.1", int(UP), ssl=CLIENT)
                other.write(f"GET /up?n={n} HTTP/1.0\r\nHost: test.example\r\n\r\n".encode())
                await other_reader.read()
                other.close()
            body = f"hello n={n}\n".encode()
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body))
            await writer.drain()
    except (asyncio.IncompleteReadError, ConnectionError):
        pass
    writer.close()


async def serve():
    server = await asyncio.start_server(handle, "127.0.0.1", PORT, ssl=CONTEXT, backlog=512)
    await server.serve_forever()


if KIND == "threads":
    threads = Server(("127.0.0.1", PORT), Handler)
    threads.socket = CONTEXT.wrap_socket(threads.socket, server_side=True, do_handshake_on_connect=False)
    threads.serve_forever()
else:
    asyncio.run(serve())

#!/usr/bin/python3
"""
The stock service behind the shop of tests/apps/next: a thread a connection, connections kept alive, one line on
stdout and http.server's own on stderr for each request. It knows nothing of tracing; but what it was sent is written
down, like any other fact about a call, where STOCK_CALLS says so: {"n": 17, "traceparent": ["..."]}, all headers of
that name.

Usage: stock.py PORT
"""
import http.server
import json
import os
import random
import signal
import sys
import time
import urllib.parse


class Stock(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def do_GET(self):
        query = urllib.parse.parse_qs(urllib.parse.urlsplit(self.path).query)
        number, sku = int(query["n"][0]), query["sku"][0]
        time.sleep(random.uniform(0.002, 0.03))
        left = random.randrange(1, 100)
        print(f"request {number}: {left} {sku} in stock")
        if self.server.calls:
            traceparents = self.headers.get_all("traceparent", [])
            self.server.calls.write(json.dumps({"n": number, "traceparent": traceparents}) + "\n")
        body = json.dumps({"n": number, "sku": sku, "left": left}).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


class Server(http.server.ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 512
    calls = None


def main():
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    server = Server(("127.0.0.1", int(sys.argv[1])), Stock)
    if os.environ.get("STOCK_CALLS"):
        server.calls = open(os.environ["STOCK_CALLS"], "a", encoding="utf-8", buffering=1)
    server.serve_forever()


if __name__ == "__main__":
    main()

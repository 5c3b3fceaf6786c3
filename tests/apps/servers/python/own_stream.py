#!/usr/bin/python3
"""ThreadingHTTPServer whose program has put streams of its own around its output, to have its encoding. Usage: PORT"""
import http.server
import io
import sys
import time

sys.stdout = io.TextIOWrapper(sys.stdout.buffer, encoding="utf-8")
sys.stderr = io.TextIOWrapper(sys.stderr.buffer, encoding="utf-8")


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        n = self.path.partition("n=")[2]
        print(f"begin n={n}")
        time.sleep(int(n) % 5 / 5000)
        print(f"end n={n}")
        print(f"and by the other stream n={n}", file=sys.stderr)
        body = f"hello n={n}\n".encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args):
        pass


class Server(http.server.ThreadingHTTPServer):
    request_queue_size = 512


Server(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()

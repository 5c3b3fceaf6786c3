#!/usr/bin/python3
"""ThreadingHTTPServer: prints in pieces, logs through logging and the server's own access log, calls UP. Usage: PORT [UP]"""
import http.client
import http.server
import logging
import sys
import urllib.request

UP = sys.argv[2] if len(sys.argv) > 2 else None
logging.basicConfig(stream=sys.stdout, format="%(levelname)s %(message)s", level=logging.INFO)


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        n = self.path.partition("n=")[2]
        self.rfile.read(int(self.headers.get("content-length") or 0))
        print("begin", f"n={n}", "in", 3, "pieces")
        if UP and int(n) % 2:
            urllib.request.urlopen(f"http://127.0.0.1:{UP}/up?n={n}").read()
        elif UP:
            connection = http.client.HTTPConnection("127.0.0.1", int(UP))
            connection.request("POST", f"/up?n={n}", body=b"x" * 20000)
            connection.getresponse().read()
            connection.close()
        logging.warning("middle n=%s", n)
        body = f"hello n={n}\n".encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    do_POST = do_GET


class Server(http.server.ThreadingHTTPServer):
    request_queue_size = 512


Server(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()

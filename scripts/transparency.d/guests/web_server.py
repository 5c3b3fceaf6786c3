"""
The server of the suites that speak HTTP: python3 web_server.py [--tls CERT KEY] PORTFILE

It answers alike each time: no date, no port, and of what it echoes no trace header, which a client under the preload adds by
design; that there is not more than one of each, and that it stands in the head, is what it checks of them.
"""
import gzip
import http.server
import os
import socket
import ssl
import subprocess
import sys
import threading

# At the end: the names of suites are those of modules.
sys.path.append(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
from harness import TRACE_HEADERS  # noqa: E402

GIT = "/usr/lib/git-core/git-http-backend"


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server_version = "transparency"
    sys_version = ""

    def date_time_string(self, timestamp=None):
        return "Thu, 01 Jan 1970 00:00:00 GMT"

    def body(self):
        if self.headers.get("Transfer-Encoding", "").lower() == "chunked":
            parts = []
            while size := int(self.rfile.readline().split(b";")[0], 16):
                parts.append(self.rfile.read(size))
                self.rfile.readline()
            self.rfile.readline()
            return b"".join(parts)
        return self.rfile.read(int(self.headers.get("Content-Length") or 0))

    def answer(self, status, body, headers=()):
        self.send_response(status)
        for name, value in headers:
            self.send_header(name, value)
        if status not in (204, 304):
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD" and status not in (204, 304):
            self.wfile.write(body)

    def serve(self):
        path, _, query = self.path.partition("?")
        if path.startswith("http://"):
            path = "/" + path.split("/", 3)[3]
        first, *rest = path.strip("/").split("/")
        body = self.body()
        serve = getattr(self, f"serve_{first or 'root'}", None)
        if serve:
            serve(rest, query, body)
        else:
            self.answer(404, b"nothing here\n")

    do_GET = do_HEAD = do_POST = do_PUT = do_DELETE = do_OPTIONS = do_PATCH = do_PROPFIND = serve

    def serve_root(self, _rest, _query, _body):
        self.answer(200, b"hello\n", [("Content-Type", "text/plain")])

    def serve_echo(self, _rest, query, body):
        lines = [f"{self.command} {self.path}", query]
        seen = set()
        for name, value in self.headers.items():
            if name.lower() in TRACE_HEADERS:
                lines += [f"TWICE {name}"] if name.lower() in seen else []
                seen.add(name.lower())
            else:
                lines.append(f"{name}: {value}")
        self.answer(200, "\n".join(lines).encode() + b"\n\n" + body, [("Content-Type", "text/plain")])

    def serve_status(self, rest, _query, _body):
        self.answer(int(rest[0]), b"as you say\n", [("X-Said", rest[0])])

    def serve_redirect(self, rest, _query, _body):
        left = int(rest[0])
        self.answer(302, b"on\n", [("Location", f"/redirect/{left - 1}" if left > 1 else "/echo")])

    def serve_big(self, rest, _query, _body):
        whole = bytes(range(256)) * (int(rest[0]) // 256 + 1)
        whole = whole[:int(rest[0])]
        asked = self.headers.get("Range", "")
        if asked.startswith("bytes="):
            begin, _, end = asked[6:].partition("-")
            end = int(end or len(whole) - 1)
            part = whole[int(begin):end + 1]
            self.answer(206, part, [("Content-Range", f"bytes {begin}-{end}/{len(whole)}")])
        else:
            self.answer(200, whole, [("Content-Type", "application/octet-stream")])

    def serve_chunked(self, rest, _query, _body):
        self.send_response(200)
        self.send_header("Transfer-Encoding", "chunked")
        self.send_header("Trailer", "X-Last")
        self.end_headers()
        for number in range(int(rest[0])):
            part = f"piece {number}\n".encode() * (number + 1)
            self.wfile.write(b"%x\r\n%s\r\n" % (len(part), part))
        self.wfile.write(b"0\r\nX-Last: yes\r\n\r\n")

    def serve_pieces(self, rest, _query, _body):
        head = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 12\r\n\r\nby and by...\n"[:-1]
        for at in range(0, len(head), int(rest[0])):
            self.connection.sendall(head[at:at + int(rest[0])])

    def serve_until_close(self, _rest, _query, _body):
        self.connection.sendall(b"HTTP/1.0 200 OK\r\nContent-Type: text/plain\r\n\r\nto the end\n")
        self.close_connection = True

    def serve_cut(self, _rest, _query, _body):
        self.connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nnot all of it")
        self.close_connection = True

    def serve_nothing(self, _rest, _query, _body):
        self.close_connection = True

    def serve_garbage(self, _rest, _query, _body):
        self.connection.sendall(b"\0\1\2 this is no HTTP\r\n\r\n")
        self.close_connection = True

    def serve_early(self, _rest, _query, _body):
        self.connection.sendall(b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n")
        self.answer(200, b"then this\n")

    def serve_gzip(self, _rest, _query, _body):
        self.answer(200, gzip.compress(b"packed " * 1000 + b"\n", mtime=0), [("Content-Encoding", "gzip")])

    def serve_cookies(self, rest, _query, _body):
        self.answer(200, (self.headers.get("Cookie") or "none").encode() + b"\n",
                    [("Set-Cookie", f"{one}=1; Path=/") for one in rest])

    def serve_secret(self, _rest, _query, _body):
        if self.headers.get("Authorization") == "Basic bWU6cHc=":
            self.answer(200, b"welcome\n")
        else:
            self.answer(401, b"who is it\n", [("WWW-Authenticate", 'Basic realm="x"')])

    def serve_files(self, rest, _query, _body):
        path = os.path.join(os.environ.get("FILES", "/nonexistent"), *rest)
        if os.path.isfile(path):
            with open(path, "rb") as file:
                self.answer(200, file.read(), [("Last-Modified", self.date_time_string())])
        else:
            self.answer(404, b"no file\n")

    def serve_git(self, rest, query, body):
        environment = {
            **os.environ, "PATH_INFO": "/" + "/".join(rest), "QUERY_STRING": query, "REQUEST_METHOD": self.command,
            "CONTENT_TYPE": self.headers.get("Content-Type", ""), "CONTENT_LENGTH": str(len(body)), "GIT_HTTP_EXPORT_ALL": "1",
            "HTTP_CONTENT_ENCODING": self.headers.get("Content-Encoding", ""),
            "HTTP_GIT_PROTOCOL": self.headers.get("Git-Protocol", ""), "REMOTE_USER": "me", "REMOTE_ADDR": "127.0.0.1",
        }
        said = subprocess.run([GIT], input=body, env=environment, stdout=subprocess.PIPE, check=False).stdout
        head, _, content = said.partition(b"\r\n\r\n")
        fields = [line.split(": ", 1) for line in head.decode().split("\r\n") if ": " in line]
        status = next((int(value.split()[0]) for name, value in fields if name == "Status"), 200)
        self.answer(status, content, [field for field in fields if field[0] != "Status"])

    def do_CONNECT(self):
        with socket.create_connection(self.path.rsplit(":", 1)) as peer:
            self.send_response_only(200)
            self.end_headers()
            copier = threading.Thread(target=copy, args=(peer, self.connection), daemon=True)
            copier.start()
            copy(self.connection, peer)
            copier.join()
        self.close_connection = True


def copy(source, target):
    try:
        while data := source.recv(65536):
            target.sendall(data)
        target.shutdown(socket.SHUT_WR)
    except OSError:
        pass


class LocalServer(http.server.ThreadingHTTPServer):
    address_family = socket.AF_UNIX

    def server_bind(self):
        self.socket.bind(self.server_address)
        self.server_name, self.server_port = "local", 0

    def get_request(self):
        return self.socket.accept()[0], ("local", 0)


def main():
    options = sys.argv[1:]
    portfile = options[-1]
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    if options[0] == "--tls":
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(options[1], options[2])
        server.socket = context.wrap_socket(server.socket, server_side=True)
    else:
        local = LocalServer(portfile + ".sock", Handler)
        threading.Thread(target=local.serve_forever, daemon=True).start()
    with open(portfile + ".new", "w", encoding="ascii") as file:
        file.write(str(server.server_address[1]))
    os.rename(portfile + ".new", portfile)
    server.serve_forever()


if __name__ == "__main__":
    main()

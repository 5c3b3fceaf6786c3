"""
The application of the attribution experiment for WSGI servers: three lines and a call for each request, a line when the answer
has been sent, and one in the background.
"""
import os
import queue
import socket
import threading

links = queue.SimpleQueue()


def call(n):
    try:
        link = links.get_nowait()
    except queue.Empty:
        link = socket.create_connection(("127.0.0.1", int(os.environ["UP"])))
    link.sendall(b"GET /up?n=%d HTTP/1.1\r\nHost: up.example\r\n\r\n" % n)
    reply = b""
    while b"\n" not in reply.partition(b"\r\n\r\n")[2]:
        reply += link.recv(4096)
    if b"\r\n\r\nup n=%d\n" % n not in reply:
        raise RuntimeError(f"another's reply: {reply!r}")
    links.put(link)


class Body:
    """The server closes it when it has sent it."""

    def __init__(self, n, body):
        self.n, self.body = n, body

    def __iter__(self):
        return iter([self.body])

    def close(self):
        print(f"after n={self.n}")
        threading.Thread(target=print, args=(f"background n={self.n}",)).start()


def app(environ, start_response):
    n = int(environ["QUERY_STRING"].partition("n=")[2])
    print(f"begin n={n}")
    call(n)
    print(f"middle n={n}")
    body = b"hello n=%d\n" % n
    print(f"before n={n}")
    start_response("200 OK", [("Content-Length", str(len(body))), ("Content-Type", "text/plain")])
    return Body(n, body)

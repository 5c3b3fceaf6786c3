"""A WSGI application: a line and an answer with the request's number, and a call where there is an upstream."""
import hashlib
import os
import re
import sys
import urllib.request


def application(environ, start_response):
    n = re.search(r"\bn=(\d+)", environ["QUERY_STRING"])[1]
    body = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
    print(f"page n={n}", file=sys.stderr, flush=True)
    if os.environ.get("UP"):
        urllib.request.urlopen(f"http://127.0.0.1:{os.environ['UP']}/called?n={n}").read()
    answer = f"hello n={n} {len(body)} {hashlib.md5(body).hexdigest()}\n".encode()
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", str(len(answer)))])
    return [answer]

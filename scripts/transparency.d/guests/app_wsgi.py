"""A WSGI application, for uwsgi and waitress (which it starts by itself: PORT)."""
import sys


def application(environ, start_response):
    print("wsgi " + environ.get("QUERY_STRING", ""), file=sys.stderr, flush=True)
    body = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [b"hello " + environ["QUERY_STRING"].encode() + b" " + body + b"\n"]


if __name__ == "__main__":
    import waitress
    waitress.serve(application, listen="127.0.0.1:" + sys.argv[1])

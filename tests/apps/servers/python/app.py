"""A Flask application, for Flask's own server and for gunicorn's workers. With UP set it calls that port."""
import os
import sys

import requests
from flask import Flask, request

app = Flask(__name__)


@app.route("/", methods=["GET", "POST"])
def hello():
    n = request.args["n"]
    print("begin", f"n={n}")
    if "UP" in os.environ:
        requests.get(f"http://127.0.0.1:{os.environ['UP']}/up?n={n}", timeout=20)
    print(f"middle n={n}", file=sys.stderr)
    return f"hello n={n}\n"


if __name__ == "__main__":
    app.run(port=int(sys.argv[1]))

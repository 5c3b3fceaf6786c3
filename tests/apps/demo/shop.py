"""
The middle service of the demo: an ordinary Flask application that prints, and asks the stock service over HTTP. It
knows nothing of tracing. Every line that it prints for a request contains the request's number.
"""
import http.client
import json
import os
import urllib.request

from flask import Flask, jsonify, request

STOCK_HOST = os.environ["STOCK_HOST"]

app = Flask(__name__)
print("shop: loaded, the stock is at", STOCK_HOST)


def ask_with_urllib(number):
    with urllib.request.urlopen(f"http://{STOCK_HOST}/stock?n={number}", timeout=30) as answer:
        return json.load(answer)


def ask_with_http_client(number):
    connection = http.client.HTTPConnection(STOCK_HOST, timeout=30)
    try:
        connection.request("GET", f"/stock?n={number}", headers={"Accept": "application/json"})
        return json.load(connection.getresponse())
    finally:
        connection.close()


@app.route("/order")
def order():
    number = request.args.get("n", type=int)
    print(f"request {number}: an order came in")
    ask = ask_with_urllib if number % 2 else ask_with_http_client
    stock = ask(number)
    print(f"request {number}: the stock says", stock["in_stock"])
    return jsonify(n=number, stock_n=stock["n"], in_stock=stock["in_stock"])

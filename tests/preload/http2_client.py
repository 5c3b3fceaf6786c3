#!/usr/bin/python3
"""Many requests over few connections of HTTP/2, many of them at a time, each with a trace of its own.

    http2_client.py HOST PORT PATH --requests N --streams M --connections C [--body BYTES] [--tls] [--held]

Request number i (from 1) has the trace id i, in 32 digits. Prints "requests N, bytes B, statuses {...}"; fails unless each was
answered. --held: windows are small, streams get more of theirs one by one and in no order, and every fifth is reset under way: the server goes
on with any of them at any time.
"""
import argparse
import collections
import random
import selectors
import socket
import ssl
import sys

import h2.config
import h2.connection
import h2.events
import h2.settings


class Connection:
    def __init__(self, options, numbers):
        self.options, self.numbers = options, numbers
        self.socket = socket.create_connection((options.host, options.port), timeout=30)
        if options.tls:
            context = ssl.create_default_context()
            context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
            context.set_alpn_protocols(["h2"])
            self.socket = context.wrap_socket(self.socket)
        self.h2 = h2.connection.H2Connection(h2.config.H2Configuration(client_side=True, header_encoding="utf-8"))
        self.h2.initiate_connection()
        self.random, self.owed = random.Random(len(numbers)), []
        if options.held:
            self.h2.update_settings({h2.settings.SettingCodes.INITIAL_WINDOW_SIZE: 1000})
            self.flush()
            self.wait_for_acknowledgements(2)
        self.open, self.done, self.bytes, self.statuses = {}, 0, 0, collections.Counter()

    def wait_for_acknowledgements(self, count):
        while count:
            data = self.socket.recv(65536)
            count -= sum(isinstance(event, h2.events.SettingsAcknowledged) for event in self.h2.receive_data(data))

    def ask(self):
        while self.numbers and len(self.open) < self.options.streams:
            number, stream = self.numbers.pop(0), self.h2.get_next_available_stream_id()
            self.open[stream] = number
            head = [(":method", "POST" if self.options.body else "GET"), (":scheme", "http"),
                    (":authority", f"{self.options.host}:{self.options.port}"), (":path", self.options.path)]
            if not self.options.bare:
                head.append(("traceparent", f"00-{number:032d}-b7ad6b7169203331-01"))
            self.h2.send_headers(stream, head, end_stream=not self.options.body)
            if self.options.body:
                self.h2.send_data(stream, b"b" * self.options.body, end_stream=True)
        self.flush()

    def flush(self):
        data = self.h2.data_to_send()
        if data:
            self.socket.sendall(data)

    def read(self):
        data = self.socket.recv(65536)
        if not data:
            sys.exit(f"closed with {len(self.open)} requests unanswered")
        for event in self.h2.receive_data(data):
            if isinstance(event, h2.events.ResponseReceived):
                self.statuses[dict(event.headers)[":status"]] += 1
            elif isinstance(event, h2.events.DataReceived):
                self.bytes += len(event.data)
                self.owed.append((event.flow_controlled_length, event.stream_id))
            elif isinstance(event, h2.events.StreamEnded):
                self.end(event.stream_id)
            elif isinstance(event, (h2.events.StreamReset, h2.events.ConnectionTerminated)):
                sys.exit(f"{event}")
        self.pay()
        self.ask()

    def end(self, stream):
        if self.open.pop(stream, None):
            self.done += 1

    def pay(self):
        if self.options.held:
            self.random.shuffle(self.owed)
        for length, stream in self.owed:
            if self.options.held and self.open.get(stream, 0) % 5 == 1:
                self.h2.reset_stream(stream, 8)
                self.end(stream)
            self.h2.acknowledge_received_data(length, stream)
            if self.options.held:
                self.flush()
        self.owed = []


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("host")
    parser.add_argument("port", type=int)
    parser.add_argument("path")
    parser.add_argument("--requests", type=int, default=100)
    parser.add_argument("--streams", type=int, default=10)
    parser.add_argument("--connections", type=int, default=1)
    parser.add_argument("--body", type=int, default=0)
    parser.add_argument("--bare", action="store_true")
    parser.add_argument("--tls", action="store_true")
    parser.add_argument("--held", action="store_true")
    options = parser.parse_args()
    numbers = list(range(1, options.requests + 1))
    connections = [Connection(options, numbers[i::options.connections]) for i in range(options.connections)]
    selector = selectors.DefaultSelector()
    for connection in connections:
        selector.register(connection.socket, selectors.EVENT_READ, connection)
        connection.ask()
    while sum(c.done for c in connections) < options.requests:
        ready = selector.select(30)
        if not ready:
            sys.exit("no answer for 30 seconds")
        for key, _ in ready:
            key.data.read()
            while options.tls and key.fileobj.pending():
                key.data.read()
    statuses = sum((c.statuses for c in connections), collections.Counter())
    print(f"requests {options.requests}, bytes {sum(c.bytes for c in connections)}, statuses {dict(statuses)}")


main()

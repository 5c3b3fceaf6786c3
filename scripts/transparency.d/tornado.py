"""Tornado's own tests, which its package holds: an HTTP server and client on an event loop."""
import os

from harness import Unit
from python import run_module

TESTS = "/usr/lib/python3/dist-packages/tornado/test"
QUICK = ["httpserver_test", "http1connection_test", "process_test", "tcpserver_test", "websocket_test"]


def units(quick):
    for file in sorted(os.listdir(TESTS)):
        name = file[:-3]
        if file.endswith("_test.py") and (name in QUICK or not quick):
            yield Unit(name, lambda run, name=name: run_module(run, f"tornado.test.{name}"))

#!/usr/bin/python3
"""gRPC without generated code: a server, or a client that makes calls one after the other. Messages are bytes.

    grpc_peer.py serve PORT [NEXT]      Demo/Echo answers what it gets, and the traceparent that came with it; Demo/Fail fails with
                                        NOT_FOUND, Demo/Broken with INTERNAL; Demo/Ask asks Demo/Echo of the server at NEXT;
                                        Demo/Talk sends its head at once, and the rest when it was told everything
    grpc_peer.py call PORT METHOD COUNT [TRACEPARENT]      LONG=n: with so many bytes of metadata
"""
import os
import sys
import threading
from concurrent import futures

import grpc

SERVICE = "demo.v1.Demo"


def traceparent(context):
    found = [value for key, value in context.invocation_metadata() if key == "traceparent"]
    return " ".join(found)


def serve(port, next_port):
    ask = None
    if next_port:
        ask = grpc.insecure_channel(f"127.0.0.1:{next_port}").unary_unary(f"/{SERVICE}/Echo")

    def echo(request, context):
        print(f"echo {request.decode()} in={traceparent(context)}", flush=True)
        return request + b" " + traceparent(context).encode()

    def fail(_request, context):
        context.abort(grpc.StatusCode.NOT_FOUND, "none")

    def broken(_request, context):
        context.abort(grpc.StatusCode.INTERNAL, "broken")

    def pass_on(request, _context):
        return ask(request)

    def talk(requests, context):
        context.send_initial_metadata(())
        yield b" ".join(requests)

    methods = {"Echo": echo, "Fail": fail, "Broken": broken, "Ask": pass_on}
    handlers = {name: grpc.unary_unary_rpc_method_handler(method) for name, method in methods.items()}
    handlers["Talk"] = grpc.stream_stream_rpc_method_handler(talk)
    server = grpc.server(futures.ThreadPoolExecutor(max_workers=4))
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(
        SERVICE, handlers),))
    if not server.add_insecure_port(f"127.0.0.1:{port}"):
        sys.exit(1)
    server.start()
    server.wait_for_termination()


def talk(channel, count):
    """Nothing is said before the answer's head is here."""
    for n in range(count):
        begun = threading.Event()

        def words():
            begun.wait()
            yield b"message %d" % n

        answers = channel.stream_stream(f"/{SERVICE}/Talk")(words(), timeout=20)
        answers.initial_metadata()
        begun.set()
        print(b" ".join(answers).decode())


def call(port, method, count, parent):
    with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
        if method == "Talk":
            talk(channel, count)
            return
        stub = channel.unary_unary(f"/{SERVICE}/{method}")
        metadata = [("traceparent", parent)] if parent else []
        if "LONG" in os.environ:
            metadata.append(("x-long", "v" * int(os.environ["LONG"])))
        for n in range(count):
            try:
                print(stub(b"message %d" % n, timeout=20, metadata=metadata).decode())
            except grpc.RpcError as error:
                print(error.code().name)


if sys.argv[1] == "serve":
    serve(sys.argv[2], sys.argv[3] if len(sys.argv) > 3 else None)
else:
    call(sys.argv[2], sys.argv[3], int(sys.argv[4]), sys.argv[5] if len(sys.argv) > 5 else None)

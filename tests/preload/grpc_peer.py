#!/usr/bin/python3
"""gRPC without generated code: a server, or a client that makes calls one after the other. Messages are bytes.

    grpc_peer.py serve PORT [NEXT]      Demo/Echo answers what it gets, and the traceparent that came with it; Demo/Fail fails with
                                        NOT_FOUND, Demo/Broken with INTERNAL; Demo/Ask asks Demo/Echo of the server at NEXT;
                                        Demo/Talk sends its head at once, and the rest when it was told everything
    grpc_peer.py burst PORT COUNT       so many calls of Echo at once, each with metadata that no other one has: how each of them went
    grpc_peer.py call PORT METHOD COUNT [TRACEPARENT]      LONG=n: with so many bytes of metadata
"""
import os
import sys
import threading
from concurrent import futures

import grpc

SERVICE = "demo.v1.Demo"
CERTIFICATE = open(os.environ["CERT"], "rb").read() if "CERT" in os.environ else None  # then it is all inside of TLS


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
    address = f"127.0.0.1:{port}"
    inside = CERTIFICATE and grpc.ssl_server_credentials([(CERTIFICATE, CERTIFICATE)])
    if not (server.add_secure_port(address, inside) if inside else server.add_insecure_port(address)):
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


def burst(port, count):
    with grpc.secure_channel(f"localhost:{port}", grpc.ssl_channel_credentials(CERTIFICATE)) as channel:
        stub = channel.unary_unary(f"/{SERVICE}/Echo")
        calls = [stub.future(b"message", timeout=20, metadata=[("x-random", os.urandom(250).hex())]) for _ in range(count)]
        for one in calls:
            print(one.code().name, flush=True)


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
elif sys.argv[1] == "burst":
    burst(sys.argv[2], int(sys.argv[3]))
else:
    call(sys.argv[2], sys.argv[3], int(sys.argv[4]), sys.argv[5] if len(sys.argv) > 5 else None)

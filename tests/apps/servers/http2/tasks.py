"""HTTP/2 by asyncio and h2: a task for each stream, made by whoever reads. tasks.py PORT [CERTIFICATE]

Prints where a stream's task is, and the traceparent that came with it: begun, behind a wait, behind its answer.
"""
import asyncio
import ssl
import sys

import h2.config
import h2.connection
import h2.events


class Server(asyncio.Protocol):
    def connection_made(self, transport):
        self.transport = transport
        self.h2 = h2.connection.H2Connection(h2.config.H2Configuration(client_side=False, header_encoding="utf-8"))
        self.h2.initiate_connection()
        self.flush()

    def flush(self):
        self.transport.write(self.h2.data_to_send())

    def data_received(self, data):
        for event in self.h2.receive_data(data):
            if isinstance(event, h2.events.RequestReceived):
                asyncio.get_running_loop().create_task(self.handle(event.stream_id, dict(event.headers)))
        self.flush()

    async def handle(self, stream, head):
        said = head.get("traceparent", "-")
        print(f"begun in={said}", flush=True)
        await asyncio.sleep(0.001 * (stream % 7))
        print(f"waited in={said}", flush=True)
        self.h2.send_headers(stream, [(":status", "200"), ("content-length", "2")])
        self.h2.send_data(stream, b"ok", end_stream=True)
        self.flush()
        print(f"answered in={said}", flush=True)


async def main():
    context = None
    if len(sys.argv) > 2:
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(sys.argv[2])
        context.set_alpn_protocols(["h2"])
    server = await asyncio.get_running_loop().create_server(Server, "127.0.0.1", int(sys.argv[1]), ssl=context)
    await server.serve_forever()


asyncio.run(main())

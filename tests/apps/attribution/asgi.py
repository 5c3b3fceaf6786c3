"""
The application of the attribution experiment for ASGI servers: three lines and a call for each request, a line when the answer
has been sent, and one in the background.
"""
import asyncio
import os

free, tasks = [], set()


async def call(n):
    reader, writer = free.pop() if free else await asyncio.open_connection("127.0.0.1", int(os.environ["UP"]))
    writer.write(b"GET /up?n=%d HTTP/1.1\r\nHost: up.example\r\n\r\n" % n)
    await reader.readuntil(b"\r\n\r\n")
    if await reader.readline() != b"up n=%d\n" % n:
        raise RuntimeError("another's reply")
    free.append((reader, writer))


async def say_background(n):
    await asyncio.sleep(0.001)
    print(f"background n={n}")


async def app(scope, receive, send):
    if scope["type"] != "http":
        return
    n = int(scope["query_string"].partition(b"n=")[2])
    print(f"begin n={n}")
    await call(n)
    print(f"middle n={n}")
    body = b"hello n=%d\n" % n
    print(f"before n={n}")
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"%d" % len(body))]})
    await send({"type": "http.response.body", "body": body})
    print(f"after n={n}")
    tasks.add(task := asyncio.create_task(say_background(n)))
    task.add_done_callback(tasks.discard)

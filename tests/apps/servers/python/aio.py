#!/usr/bin/python3
"""aiohttp, with a client that keeps its connections; and the same as an ASGI program. Usage: PORT, or uvicorn aio:asgi. $UP is asked."""
import os
import sys

import aiohttp
from aiohttp import web

session = None


async def work(n):
    global session
    print(f"begin n={n}")
    session = session or aiohttp.ClientSession()
    async with session.get(f"http://127.0.0.1:{os.environ['UP']}/?n={n}") as answer:
        await answer.read()
    print(f"before n={n}")
    return f"hello n={n}\n"


async def handle(request):
    return web.Response(text=await work(request.query["n"]))


async def asgi(scope, receive, send):
    if scope["type"] != "http":
        return
    text = await work(scope["query_string"].decode().partition("n=")[2])
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", str(len(text)).encode())]})
    await send({"type": "http.response.body", "body": text.encode()})


if __name__ == "__main__":
    app = web.Application()
    app.router.add_get("/", handle)
    web.run_app(app, host="127.0.0.1", port=int(sys.argv[1]), print=None)

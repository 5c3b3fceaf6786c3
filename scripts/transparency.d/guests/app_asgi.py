"""An ASGI application, for uvicorn."""
import asyncio


async def app(scope, _, send):
    if scope["type"] != "http":
        return
    print("asgi", scope["query_string"].decode(), flush=True)
    await asyncio.sleep(0.002)
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/plain")]})
    await send({"type": "http.response.body", "body": b"hello " + scope["query_string"] + b"\n"})

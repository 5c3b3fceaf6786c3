"""An asyncio server of aiohttp's: PORT."""
import asyncio
import sys

from aiohttp import web


async def hello(request):
    print("request n=" + request.query.get("n", ""), flush=True)
    await asyncio.sleep(0.002)
    return web.Response(text="hello " + request.query.get("n", "") + " " + (await request.text()) + "\n")


app = web.Application()
app.router.add_route("*", "/", hello)
web.run_app(app, host="127.0.0.1", port=int(sys.argv[1]), print=None)

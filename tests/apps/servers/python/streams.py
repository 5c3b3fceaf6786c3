#!/usr/bin/python3
"""asyncio streams: handlers that wait in between, many at a time on one thread. Usage: PORT"""
import asyncio
import sys


async def serve(reader, writer):
    while head := await reader.readline():
        n = head.split()[1].decode().partition("n=")[2]
        close = False
        while (line := await reader.readline()) != b"\r\n":
            close = close or line.lower() == b"connection: close\r\n"
        print(f"begin n={n}")
        await asyncio.sleep(0.002)
        print(f"middle n={n}")
        body = f"hello n={n}\n".encode()
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body))
        await writer.drain()
        print(f"end n={n}")
        if close:
            break
    writer.close()


async def main():
    server = await asyncio.start_server(serve, "127.0.0.1", int(sys.argv[1]), backlog=512)
    await server.serve_forever()


asyncio.run(main())

#!/usr/bin/python3
"""asyncio in the ways in which a task's context may mislead. Usage: PORT WAY [PEM: inside TLS]. Each line names the request it is about."""
import asyncio
import contextvars
import ssl
import sys
import threading

way = sys.argv[2]
queue, tasks, parked = asyncio.Queue(), set(), []
shared = contextvars.copy_context()


def say(word, n):
    print(f"{word} n={n}")


async def later(word, n, delay=0.02):
    await asyncio.sleep(delay)
    say(word, n)


def keep(coroutine, **settings):
    tasks.add(task := asyncio.create_task(coroutine, **settings))
    task.add_done_callback(tasks.discard)
    return task


async def consume():
    while True:
        n, done = await queue.get()
        await later("consumed", n, 0.001)
        done.set_result(None)


def answer(writer, n):
    body = f"hello n={n}\n".encode()
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body))


async def work(n):
    """What a request does before its answer."""
    say("begin", n)
    if way == "tasks":
        await asyncio.gather(later("part", n, 0.002), asyncio.to_thread(say, "thread", n))
        asyncio.get_running_loop().call_soon(say, "soon", n)
    elif way == "executor":
        await asyncio.get_running_loop().run_in_executor(None, say, "thread", n)
    elif way == "consumer":
        await queue.put((n, done := asyncio.get_running_loop().create_future()))
        await done
    elif way == "thread":
        threading.Thread(target=say, args=("thread", n)).start()
    await asyncio.sleep(0.002)
    say("middle", n)


async def behind(n):
    """What it does behind its answer, while the next request of the connection may have come."""
    if way == "busy":
        await later("late", n, 0.003)
    elif way == "background":
        keep(later("background", n))
        asyncio.get_running_loop().call_later(0.005, say, "timer", n)


async def serve(reader, writer):
    if way == "swap" and not parked:
        parked.append(writer)  # from now on the first client is answered by others
        return
    while head := await reader.readline():
        n = head.split()[1].decode().partition("n=")[2]
        while await reader.readline() != b"\r\n":
            pass
        if way == "consumer" and not tasks:
            keep(consume())  # in the first request's context
        await work(n)
        answer(writer, n)
        await behind(n)
    writer.close()


def in_one_context(reader, writer):
    keep(serve(reader, writer), context=shared)


class Protocol(asyncio.Protocol):
    """Answers from a task of its own for each request, as ASGI servers do."""

    def connection_made(self, transport):
        self.transport, self.text = transport, b""

    def data_received(self, data):
        *heads, self.text = (self.text + data).split(b"\r\n\r\n")
        for head in heads:
            keep(self.handle(head.split()[1].decode().partition("n=")[2]))

    async def handle(self, n):
        await work(n)
        answer(self.transport, n)


async def main():
    inside = None
    if sys.argv[3:]:
        inside = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        inside.load_cert_chain(sys.argv[3])
    if way == "started":
        keep(consume())
    if way == "protocol":
        server = await asyncio.get_running_loop().create_server(Protocol, "127.0.0.1", int(sys.argv[1]), backlog=512,
                                                                     ssl=inside)
    else:
        server = await asyncio.start_server(in_one_context if way == "shared" else serve, "127.0.0.1", int(sys.argv[1]),
                                            backlog=512, ssl=inside)
    await server.serve_forever()


asyncio.run(main())

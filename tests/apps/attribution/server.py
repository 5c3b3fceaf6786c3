#!/usr/bin/python3
"""
Servers of the attribution experiment in Python; see tests/programs/attribution_kit.h for what each request does.

  server.py KIND PORT UP

KIND  threads   a thread a connection
      executor  a thread reads whole requests, and an executor works for them; what is left to do goes to it too
      wander    a thread polls, and an executor reads one request, answers it and gives the connection back
      requeue   the same without a poller: the connection, and what is left to do, go to the executor again
      asyncio   coroutines; background work is a task of its own
      loop      asyncio's coroutines, whose slow part is done by an executor
      gevent    greenlets, by monkey patching
      greenlets greenlets, and a loop of our own that switches to them
"""
import sys

KIND, PORT, UP = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])

if KIND == "gevent":
    from gevent import monkey
    monkey.patch_all()

if KIND == "greenlets":
    import greenlet

import asyncio  # noqa: E402
import concurrent.futures  # noqa: E402
import queue  # noqa: E402
import selectors  # noqa: E402
import socket  # noqa: E402
import threading  # noqa: E402


def parse(head):
    """(number, does the client want the connection closed)"""
    n = int(head.split(b"n=", 1)[1].split(b" ", 1)[0])
    return n, b"Connection: close" in head


def response(n, close):
    body = b"hello n=%d\n" % n
    return b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n%s\r\n%s" % (len(body), b"Connection: close\r\n" if close else b"", body)


def question(n):
    return b"GET /up?n=%d HTTP/1.1\r\nHost: up.example\r\n\r\n" % n


def check(reply, n):
    if b"\r\n\r\nup n=%d\n" % n not in reply:
        sys.exit(f"another's reply: {reply!r}")


# ---- blocking ----


links = queue.SimpleQueue()


def call(n):
    try:
        link = links.get_nowait()
    except queue.Empty:
        link = socket.create_connection(("127.0.0.1", UP))
    link.sendall(question(n))
    reply = b""
    while b"\n" not in reply.partition(b"\r\n\r\n")[2]:
        reply += link.recv(4096)
    check(reply, n)
    links.put(link)


class Peer:
    def __init__(self, connection):
        self.connection, self.bytes, self.close = connection, b"", False
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def take(self):
        """The number of a request that is there whole, or None."""
        head, end, rest = self.bytes.partition(b"\r\n\r\n")
        if not end:
            return None
        self.bytes = rest
        n, self.close = parse(head)
        return n

    def read(self):
        """The number of the next request; None: there is none."""
        while (n := self.take()) is None:
            data = self.connection.recv(8192)
            if not data:
                return None
            self.bytes += data
        return n


def work(peer, n):
    print(f"begin n={n}")
    call(n)
    print(f"middle n={n}")
    print(f"before n={n}")
    peer.connection.sendall(response(n, peer.close))
    print(f"after n={n}")


def say_background(n):
    print(f"background n={n}")


def serve(connection):
    peer = Peer(connection)
    while (n := peer.read()) is not None:
        work(peer, n)
        threading.Thread(target=say_background, args=(n,)).start()
        if peer.close:
            break
    connection.close()


def threads(listener):
    while True:
        connection, _ = listener.accept()
        threading.Thread(target=serve, args=(connection,), daemon=True).start()


class Pool:
    """A reader (or poller) and an executor; connections come back by a queue and a pair of sockets."""

    def __init__(self, listener, reads):
        self.listener, self.reads = listener, reads
        self.executor = concurrent.futures.ThreadPoolExecutor(8)
        self.selector = selectors.DefaultSelector()
        self.back = queue.SimpleQueue()
        self.wake_in, self.wake_out = socket.socketpair()

    def give_back(self, peer):
        self.back.put(peer)
        self.wake_in.send(b"x")

    def work(self, peer, n):
        work(peer, n)
        self.executor.submit(say_background, n)
        self.give_back(peer)

    def read_and_work(self, peer):
        n = peer.read()
        if n is None:
            peer.connection.close()
        else:
            self.work(peer, n)

    def look(self, peer):
        """The peer has bytes, or may have: read a request, or let somebody read it."""
        if not self.reads:
            self.executor.submit(self.read_and_work, peer)
            return
        n = peer.read()
        if n is None:
            peer.connection.close()
        else:
            self.executor.submit(self.work, peer, n)

    def take_back(self):
        self.wake_out.recv(4096)
        while not self.back.empty():
            peer = self.back.get()
            if peer.close:
                peer.connection.close()
            elif peer.bytes:
                self.look(peer)
            else:
                self.selector.register(peer.connection, selectors.EVENT_READ, peer)

    def requeue(self, peer):
        n = peer.read()
        if n is None:
            peer.connection.close()
            return
        work(peer, n)
        self.executor.submit(say_background, n)
        if peer.close:
            peer.connection.close()
        else:
            self.executor.submit(self.requeue, peer)

    def run_without_poller(self):
        while True:
            self.executor.submit(self.requeue, Peer(self.listener.accept()[0]))

    def run(self):
        self.selector.register(self.listener, selectors.EVENT_READ)
        self.selector.register(self.wake_out, selectors.EVENT_READ)
        while True:
            for key, _ in self.selector.select():
                if key.fileobj is self.listener:
                    connection, _ = self.listener.accept()
                    self.selector.register(connection, selectors.EVENT_READ, Peer(connection))
                elif key.fileobj is self.wake_out:
                    self.take_back()
                else:
                    self.selector.unregister(key.fileobj)
                    self.look(key.data)


# ---- coroutines ----


async def call_async(free, n):
    reader, writer = free.pop() if free else await asyncio.open_connection("127.0.0.1", UP)
    writer.write(question(n))
    head = await reader.readuntil(b"\r\n\r\n")
    check(head + await reader.readline(), n)
    free.append((reader, writer))


async def say_background_async(n):
    await asyncio.sleep(0.001)
    print(f"background n={n}")


async def serve_async(reader, writer, free, tasks):
    while True:
        try:
            n, close = parse(await reader.readuntil(b"\r\n\r\n"))
        except (asyncio.IncompleteReadError, ConnectionError):
            break
        print(f"begin n={n}")
        if KIND == "loop":
            await asyncio.get_running_loop().run_in_executor(None, call, n)
        else:
            await call_async(free, n)
        print(f"middle n={n}")
        await asyncio.sleep(0)
        print(f"before n={n}")
        writer.write(response(n, close))
        await writer.drain()
        print(f"after n={n}")
        tasks.add(task := asyncio.create_task(say_background_async(n)))
        task.add_done_callback(tasks.discard)
        if close:
            break
    writer.close()


class Hub:
    """A greenlet a connection; who would wait switches to the loop, which is the main greenlet."""

    def __init__(self):
        self.selector, self.free, self.later = selectors.DefaultSelector(), [], []
        self.loop = greenlet.getcurrent()

    def wait(self, sock):
        self.selector.register(sock, selectors.EVENT_READ, greenlet.getcurrent())
        self.loop.switch()
        self.selector.unregister(sock)

    def receive(self, sock):
        self.wait(sock)
        return sock.recv(8192)

    def call(self, n):
        link = self.free.pop() if self.free else socket.create_connection(("127.0.0.1", UP))
        link.sendall(question(n))
        reply = b""
        while b"\n" not in reply.partition(b"\r\n\r\n")[2]:
            reply += self.receive(link)
        check(reply, n)
        self.free.append(link)

    def serve(self, connection):
        peer = Peer(connection)
        while True:
            while (n := peer.take()) is None:
                if not (data := self.receive(connection)):
                    connection.close()
                    return
                peer.bytes += data
            print(f"begin n={n}")
            self.call(n)
            print(f"middle n={n}")
            print(f"before n={n}")
            connection.sendall(response(n, peer.close))
            print(f"after n={n}")
            self.later.append(greenlet.greenlet(say_background))
            self.later[-1].number = n
            if peer.close:
                connection.close()
                return

    def run(self, listener):
        self.selector.register(listener, selectors.EVENT_READ)
        while True:
            for key, _ in self.selector.select(0 if self.later else None):
                if key.fileobj is listener:
                    greenlet.greenlet(self.serve).switch(listener.accept()[0])
                else:
                    key.data.switch()
            later, self.later = self.later, []
            for one in later:
                one.switch(one.number)


async def run_asyncio(listener):
    free, tasks = [], set()
    server = await asyncio.start_server(lambda r, w: serve_async(r, w, free, tasks), sock=listener, backlog=512)
    await server.serve_forever()


def main():
    listener = socket.create_server(("127.0.0.1", PORT), backlog=512)
    if KIND in ("threads", "gevent"):
        threads(listener)
    elif KIND == "greenlets":
        Hub().run(listener)
    elif KIND == "requeue":
        Pool(listener, False).run_without_poller()
    elif KIND in ("executor", "wander"):
        Pool(listener, KIND == "executor").run()
    else:
        asyncio.run(run_asyncio(listener))


main()

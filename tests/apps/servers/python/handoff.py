#!/usr/bin/python3
"""One thread reads whole requests, a pool handles and answers them, as waitress does it. Usage: PORT"""
import queue
import selectors
import socket
import sys
import threading

jobs = queue.Queue()
selector = selectors.DefaultSelector()
done = queue.SimpleQueue()
wake_in, wake_out = socket.socketpair()


def work():
    while True:
        connection, n, close = jobs.get()
        print(f"work n={n}")
        body = f"hello n={n}\n".encode()
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body))
        print(f"done n={n}")
        done.put((connection, close))
        wake_in.send(b"x")


listener = socket.create_server(("127.0.0.1", int(sys.argv[1])), backlog=512)
selector.register(listener, selectors.EVENT_READ)
selector.register(wake_out, selectors.EVENT_READ)
for _ in range(4):
    threading.Thread(target=work, daemon=True).start()
buffers = {}
while True:
    for key, _ in selector.select():
        if key.fileobj is listener:
            connection, _ = listener.accept()
            buffers[connection] = b""
            selector.register(connection, selectors.EVENT_READ)
        elif key.fileobj is wake_out:
            wake_out.recv(4096)
            while not done.empty():
                connection, close = done.get()
                if close:
                    connection.close()
                else:
                    selector.register(connection, selectors.EVENT_READ)
        else:
            data = key.fileobj.recv(8192)
            buffers[key.fileobj] += data
            if not data or b"\r\n\r\n" in buffers[key.fileobj]:
                selector.unregister(key.fileobj)
                if not data:
                    key.fileobj.close()
                    continue
                head = buffers[key.fileobj].decode()
                buffers[key.fileobj] = b""
                n = head.split()[1].partition("n=")[2]
                jobs.put((key.fileobj, n, "Connection: close" in head))

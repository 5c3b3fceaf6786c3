#!/usr/bin/python3
"""One pool of threads reads requests and, as other jobs, works for them; one more thread answers. Usage: PORT"""
import queue
import socket
import sys
import threading
import time

jobs, answers = queue.Queue(), queue.Queue()


def read(connection):
    head = b""
    while not head.endswith(b"\r\n\r\n"):
        piece = connection.recv(4096)
        if not piece:
            return connection.close()
        head += piece
    n = int(head.split(b" ")[1].partition(b"n=")[2])
    time.sleep(n % 7 / 10000)
    return jobs.put((work, (connection, n)))


def work(job):
    print(f"work n={job[1]}")
    time.sleep(0.0003)
    print(f"done n={job[1]}")
    answers.put(job)


def take_jobs():
    while True:
        todo, about = jobs.get()
        todo(about)


def answer():
    while True:
        connection, n = answers.get()
        body = b"hello n=%d\n" % n
        connection.sendall(b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body))
        connection.close()


listener = socket.create_server(("127.0.0.1", int(sys.argv[1])), backlog=512)
for routine in [answer] + 6 * [take_jobs]:
    threading.Thread(target=routine, daemon=True).start()
while True:
    jobs.put((read, listener.accept()[0]))

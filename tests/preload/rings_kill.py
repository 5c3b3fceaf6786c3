"""SIGKILL under load: what a client was answered must have a span.

    rings_kill.py ROUNDS PORT FOLDER PATH COMMAND...    start COMMAND in a process group, load PATH on PORT, kill, compare
"""
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time

import rings

CLIENTS = 6


def wait_for(port, process):
    for _ in range(12000):
        try:
            return socket.create_connection(("127.0.0.1", port)).close()
        except OSError:
            rings.check(process.poll() is None, "the server ended")
            time.sleep(0.005)
    rings.check(False, "the server does not serve")


def ask(port, path, first, answered, enough):
    n = first
    try:
        with socket.create_connection(("127.0.0.1", port)) as connection:
            while True:
                trace, span = rings.ids_of(n)
                connection.sendall(f"GET {path}?n={n} HTTP/1.1\r\nHost: test.example\r\n"
                                   f"traceparent: 00-{trace}-{span}-01\r\n\r\n".encode())
                data = b""
                while b"\r\n\r\n" not in data:
                    piece = connection.recv(65536)
                    if not piece:
                        return
                    data += piece
                head, _, body = data.partition(b"\r\n\r\n")
                length = int(head.lower().split(b"content-length:")[1].split(b"\r\n")[0])
                while len(body) < length:
                    piece = connection.recv(65536)
                    if not piece:
                        return
                    body += piece
                answered.append(n)
                n += 1
                if len(answered) >= 40:
                    enough.set()
    except (OSError, IndexError):
        pass


def one_round(number, port, folder, path, command):
    answered, enough = [], threading.Event()
    server = subprocess.Popen(command, start_new_session=True, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                              stderr=subprocess.DEVNULL)
    try:
        wait_for(port, server)
        clients = [threading.Thread(target=ask, args=(port, path, 1000000 * (client + 1), answered, enough))
                   for client in range(CLIENTS)]
        for client in clients:
            client.start()
        rings.check(enough.wait(60), "no answers")
        time.sleep(random.random() * 0.02)
    finally:
        os.killpg(server.pid, signal.SIGKILL)
        server.wait()
    for client in clients:
        client.join()
    while any_alive(folder):
        time.sleep(0.002)
    spans = [rings.number_of(entry) for entry in rings.read_folder(folder) if entry["what"] == "span"]
    missing = set(answered) - set(spans)
    rings.check(not missing, "round", number, ":", len(missing), "of", len(answered), "have no span", sorted(missing)[:5])
    numbered = [n for n in spans if n is not None]
    rings.check(len(set(numbered)) == len(numbered), "round", number, ": a span twice")
    rings.check(len(numbered) <= len(answered) + CLIENTS, "more spans than requests")
    shutil.rmtree(folder)
    return len(answered), len(numbered) - len(answered)


def any_alive(folder):
    """Workers are not ours to wait for, and who inherits them may take his time: a zombie is dead."""
    owners = [name.split("-") for name in os.listdir(folder) if name.endswith(".ring")]
    return any(rings.is_alive(int(pid), int(ticks)) for pid, ticks, _ in owners)


if __name__ == "__main__":
    rounds, port, folder, path = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3], sys.argv[4]
    totals = [one_round(i, port, folder, path, sys.argv[5:]) for i in range(rounds)]
    print(rounds, "kills:", sum(t[0] for t in totals), "answered, none lost;", sum(t[1] for t in totals), "more had a span")

#!/usr/bin/python3
"""
Print a TCP port of the loopback where nobody listens, and that no other test is given while this one runs.

Usage: free_port.py PID    of the test

Between the look at a port and the server's start is whatever the test does, which can be a minute; so a port is the test's that was
told it, until that test's process has ended. That is written down in a file of this user's, which all checkouts share.
Below the range that the kernel takes clients' ports from, so that no client sits on one; what is left of that range below are the ports
of scripts/attribution.
"""
import errno
import fcntl
import os
import random
import socket
import sys

PORTS = range(21000, 32000)
BOOK = f"/tmp/traceshim-test-ports.{os.getuid()}"


def is_free(port):
    try:
        socket.create_server(("127.0.0.1", port)).close()
    except OSError as error:
        if error.errno != errno.EADDRINUSE:
            raise
        return False
    return True


def take(pid, ports=PORTS, book=BOOK):
    """A port for the process; LookupError when all are taken."""
    # Not by O_CREAT alone: the file must be this user's own, and no link.
    with open(os.open(book, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600), "r+", encoding="ascii") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        claims = (line.split() for line in file)
        claims = {int(port): owner for port, owner in claims if os.path.exists(f"/proc/{owner}")}
        port = next((port for port in random.sample(ports, len(ports)) if port not in claims and is_free(port)), None)
        if port is None:
            raise LookupError("every port is taken")
        claims[port] = pid
        file.seek(0)
        file.truncate()
        file.writelines(f"{port} {owner}\n" for port, owner in claims.items())
    return port


if __name__ == "__main__":
    print(take(int(sys.argv[1])))

#!/usr/bin/python3
"""Send each line of standard input to PORT, and print the line that comes back before the next one is sent."""
import socket
import sys

with socket.create_connection(("127.0.0.1", int(sys.argv[1])), timeout=20) as connection:
    reader = connection.makefile("r")
    for line in sys.stdin:
        connection.sendall(line.encode())
        print(reader.readline(), end="")

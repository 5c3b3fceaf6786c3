"""Copy stdin to stdout, with rests in between, so that the pipe in front is full most of the time."""
import os
import sys
import time

while chunk := os.read(0, 30000):
    sys.stdout.buffer.write(chunk)
    time.sleep(0.0003)

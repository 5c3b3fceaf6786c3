#!/usr/bin/python3
"""
The agent: spans a second from a ring that is always full, into a file and to a receiver on this machine; and the most memory
that it took. The agent has one thread, so the time on the clock is that of one core at most.

Run as a program it is the receiver: it reads requests, and answers.
"""
import os
import pathlib
import socket
import subprocess
import sys
import time

RATE_FILE, RATE_RECEIVER = 100_000, 30_000


def receive():
    """Reads each body without looking at it: a back end's own speed is not what is measured."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        print(server.getsockname()[1], flush=True)
        while True:
            client, _ = server.accept()
            with client, client.makefile("rb", buffering=1 << 20) as reader:
                while line := reader.readline():
                    length = 0
                    while line not in (b"\r\n", b""):
                        if line.lower().startswith(b"content-length:"):
                            length = int(line.split(b":")[1])
                        line = reader.readline()
                    while length:
                        length -= len(reader.read(min(length, 1 << 20)))
                    client.sendall(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}")


def read_peak(pid):
    for line in pathlib.Path(f"/proc/{pid}/status").read_text(encoding="ascii").splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    return 0


def measure_rate(bench, spans, *options, env=None):
    """(spans a second of the agent's processor time, spans a second of the clock, peak of memory)"""
    folder = bench.dir / "agent-run"
    folder.mkdir(exist_ok=True)
    reader, writer = os.pipe()
    agent = bench.start([str(bench.build / "traceshim-agent"), "--run-dir", str(folder), "--ready-fd", str(writer), *options],
                        cpu=0, env=env, pass_fds=(writer,))
    os.close(writer)
    with os.fdopen(reader) as ready:
        if ready.readline() != "ready\n":
            raise RuntimeError("the agent did not start")
    before = time.monotonic()
    guest = bench.start([bench.program("ring_writer"), str(folder), f"spans={spans}"], cpu=1, stdout=subprocess.DEVNULL)
    if guest.wait() != 0:
        raise RuntimeError("ring_writer failed")
    peak = read_peak(agent.pid)
    agent.terminate()
    _, _, usage = os.wait4(agent.pid, 0)
    agent.returncode = 0
    after = time.monotonic()
    bench.running.remove(agent)
    bench.running.remove(guest)
    return spans / (usage.ru_utime + usage.ru_stime), spans / (after - before), peak


def measure_agent(bench):
    spans, rounds = bench.pick(500_000, 100_000), bench.pick(5, 2)
    if not (bench.build / "traceshim-agent").is_file():
        raise RuntimeError("traceshim-agent is missing: run make")
    file = bench.dir / "spans.jsonl"
    receiver = bench.start([sys.executable, __file__], cpu=2, stdout=subprocess.PIPE, text=True)
    url = f"http://127.0.0.1:{receiver.stdout.readline().strip()}"
    ways = {
        "into a file": (RATE_FILE, ["--spans", str(file)], None),
        "to a receiver": (RATE_RECEIVER, ["--otlp", url], None),
        "to a receiver, gzip": (RATE_RECEIVER, ["--otlp", url], {"OTEL_EXPORTER_OTLP_COMPRESSION": "gzip"}),
    }
    for name, (goal, options, env) in ways.items():
        results = []
        for _ in range(rounds):
            results.append(measure_rate(bench, spans, *options, env=env))
            file.unlink(missing_ok=True)
        bench.report(f"agent: {name}", "spans/s", [(cpu, clock) for cpu, clock, _ in results], "preloaded", (">=", goal),
                     sides=("a second of processor time", "a second"))
        bench.report(f"agent: {name}, peak", "bytes", [(peak, peak) for _, _, peak in results], "preloaded",
                     sides=("peak", "peak"))
    receiver.stdout.close()
    bench.stop(receiver)


if __name__ == "__main__":
    receive()

#!/usr/bin/python3
"""
The agent: spans a second from a ring that is always full, into a file and to a receiver on this machine; and the most memory
that it took. The agent has one thread, so the time on the clock is that of one core at most. Then a back end that is down while
spans come, and comes back: what is lost, what is out of order, and what a second as long outage adds to the agent's memory.

Run as a program it is the receiver: it reads requests, and answers.
"""
import os
import pathlib
import re
import socket
import subprocess
import sys
import threading
import time

RATE_FILE, RATE_RECEIVER = 100_000, 30_000


def take(server, look=None):
    """One connection's requests. Without `look`, which gets the bodies, these are read without being looked at: a back end's own
    speed is not what is measured."""
    client, _ = server.accept()
    with client, client.makefile("rb", buffering=1 << 20) as reader:
        while line := reader.readline():
            length = 0
            while line not in (b"\r\n", b""):
                if line.lower().startswith(b"content-length:"):
                    length = int(line.split(b":")[1])
                line = reader.readline()
            if look:
                look(reader.read(length))
            while length and not look:
                length -= len(reader.read(min(length, 1 << 20)))
            client.sendall(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}")


def receive():
    with socket.create_server(("127.0.0.1", 0)) as server:
        print(server.getsockname()[1], flush=True)
        while True:
            take(server)


def read_peak(pid, name="VmHWM:"):
    for line in pathlib.Path(f"/proc/{pid}/status").read_text(encoding="ascii").splitlines():
        if line.startswith(name):
            return int(line.split()[1]) * 1024
    return 0


def start_agent(bench, folder, *options, env=None):
    folder.mkdir(exist_ok=True)
    reader, writer = os.pipe()
    agent = bench.start([str(bench.build / "traceshim-agent"), "--run-dir", str(folder), "--ready-fd", str(writer), *options],
                        cpu=0, env=env, pass_fds=(writer,))
    os.close(writer)
    with os.fdopen(reader) as ready:
        if ready.readline() != "ready\n":
            raise RuntimeError("the agent did not start")
    return agent


def write_spans(bench, folder, spans, first=1):
    guest = bench.start([bench.program("ring_writer"), str(folder), f"spans={spans}", f"first={first}"], cpu=1, stdout=subprocess.DEVNULL)
    if guest.wait() != 0:
        raise RuntimeError("ring_writer failed")
    bench.running.remove(guest)


def measure_rate(bench, spans, *options, env=None):
    """(spans a second of the agent's processor time, spans a second of the clock, peak of memory)"""
    folder = bench.dir / "agent-run"
    agent = start_agent(bench, folder, *options, env=env)
    before = time.monotonic()
    write_spans(bench, folder, spans)
    peak = read_peak(agent.pid)
    agent.terminate()
    _, _, usage = os.wait4(agent.pid, 0)
    agent.returncode = 0
    after = time.monotonic()
    bench.running.remove(agent)
    return spans / (usage.ru_utime + usage.ru_stime), spans / (after - before), peak


def measure_outage(bench, spans):
    """(spans lost, spans out of order, bytes that the second outage added)"""
    folder, seen = bench.dir / "agent-outage", []
    with socket.create_server(("127.0.0.1", 0)) as held:
        port = held.getsockname()[1]
    agent = start_agent(bench, folder, "--otlp", f"http://127.0.0.1:{port}", "--retry-delay", "50", "--spool-max", "100000")
    kept = []
    for first in (1, spans + 1):
        write_spans(bench, folder, spans, first)
        while any(folder.glob("*.ring")):
            time.sleep(0.05)
        kept.append(read_peak(agent.pid, "VmRSS:"))
    look = lambda body: seen.extend(int(number, 16) for number in re.findall(rb'"traceId":"ab[0-9a-f]{14}([0-9a-f]{16})"', body))
    with socket.create_server(("127.0.0.1", port)) as server:
        threading.Thread(target=take, args=(server, look), daemon=True).start()
        while len(seen) < 2 * spans and agent.poll() is None:
            before = len(seen)
            time.sleep(5)
            if len(seen) == before:
                break
        bench.stop(agent)
    disorder = sum(b < a for a, b in zip(seen, seen[1:]))
    return 2 * spans - len(set(seen)), disorder, kept[1] - kept[0]


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
    lost, disorder, added = measure_outage(bench, bench.pick(200_000, 30_000))
    alone = {"compare": "preloaded", "sides": ("an outage", "an outage")}
    bench.report("agent: back end down, lost", "spans", [(lost, lost)], goal=("<=", 0), **alone)
    bench.report("agent: back end down, out of order", "spans", [(disorder, disorder)], goal=("<=", 0), **alone)
    bench.report("agent: back end down longer, memory", "bytes", [(added, added)], goal=("<=", 1 << 20), **alone)


if __name__ == "__main__":
    receive()

"""
Memory: an idle process, and ten thousand idle keep-alive connections. Taken from /proc/PID/smaps, in bytes; the resident
size is what goals are held against, as it hides least. How much of libc is resident, though, is the kernel's choice at
each start, and scatters by more than the object takes: 'its own' is what the object makes resident itself, of its file and
of memory.
"""
import pathlib
import subprocess
import time
import urllib.request

from harness import KB, free_port, raise_descriptor_limit, take_pairs, wait_for_port

CONNECTIONS = 10000


def read_memory(pid):
    """
    {"rss", "pss", "private", "own"} of a process, in bytes. own: what is resident of the object's file, and all memory that is
    of no file.
    """
    sums = {"rss": 0, "pss": 0, "private": 0, "own": 0}
    kinds = {"Rss": "rss", "Pss": "pss", "Private_Clean": "private", "Private_Dirty": "private"}
    of_object = False
    for line in pathlib.Path(f"/proc/{pid}/smaps").read_text(encoding="utf-8").splitlines():
        key, *values = line.split()
        if key == "VmFlags:":
            continue
        if key[-1] != ":":
            of_object = line.endswith("/libtraceshim.so")
            continue
        bytes_ = int(values[0]) * 1024
        if key[:-1] in kinds:
            sums[kinds[key[:-1]]] += bytes_
        if key == ("Rss:" if of_object else "Anonymous:"):
            sums["own"] += bytes_
    return sums


def wait_until_quiet(pid):
    """Until the process sleeps and its memory has stopped growing."""
    last = None
    for _ in range(100):
        time.sleep(0.05)
        now = read_memory(pid)
        if now == last:
            return now
        last = now
    return last


def measure_sleeper(bench, preloaded):
    process = bench.start([bench.tool("sleep"), "600"], preloaded, stdout=subprocess.DEVNULL)
    memory = wait_until_quiet(process.pid)
    if preloaded:
        bench.assert_preloaded(process)
    bench.stop(process)
    return memory


def measure_served(bench, preloaded):
    """A server that has answered and logged one request, and is idle again."""
    port = free_port()
    with open(bench.dir / "idle.log", "wb") as log:
        process = bench.start([bench.program("demo_server"), str(port), "0"], preloaded, stdout=log, stderr=log)
        wait_for_port(port, process)
        urllib.request.urlopen(f"http://127.0.0.1:{port}/?n=1", timeout=30).read()
        memory = wait_until_quiet(process.pid)
        bench.stop(process)
    return memory


def measure_idle(bench):
    rounds = bench.pick(25, 9)
    pairs = take_pairs(rounds, lambda preloaded: measure_sleeper(bench, preloaded))
    for kind in ("rss", "pss", "private", "own"):
        goal = ("<=", 300 * KB) if kind == "rss" else None
        name = f"memory: sleep, {kind}" if kind != "own" else "       its own"
        bench.report(name, "bytes", [(b[kind], p[kind]) for b, p in pairs], "added", goal)
    pairs = take_pairs(rounds, lambda preloaded: measure_served(bench, preloaded))
    for kind, name, goal in (("rss", "memory: idle C server, rss", ("<=", 300 * KB)), ("own", "       its own", None)):
        bench.report(name, "bytes", [(b[kind], p[kind]) for b, p in pairs], "added", goal)


def measure_server(bench, preloaded):
    """Bytes that one idle connection adds to the server: from one connection, which warms it up, to CONNECTIONS."""
    clients = []

    def connect(number):
        client, report = bench.start_reporting([program, "client", str(port), str(number)], stdin=subprocess.PIPE)
        if report.readline() != "ready\n":
            raise RuntimeError("bench_conns: the client failed")
        report.close()
        clients.append(client)

    program = bench.program("bench_conns")
    with open(bench.dir / "conns.log", "wb") as log:
        server, report = bench.start_reporting([program, "server"], preloaded, stdout=log, stderr=log)
    port = int(report.readline())
    report.close()
    connect(1)
    before = wait_until_quiet(server.pid)
    connect(CONNECTIONS)
    after = wait_until_quiet(server.pid)
    held = len(list(pathlib.Path(f"/proc/{server.pid}/fd").iterdir()))
    if held < CONNECTIONS:
        raise RuntimeError(f"bench_conns: the server holds {held} descriptors only")
    if preloaded:
        bench.assert_preloaded(server)
    for client in clients:
        client.stdin.close()
        bench.stop(client)
    bench.stop(server)
    return {kind: (after[kind] - before[kind]) / CONNECTIONS for kind in after}


def measure_connections(bench):
    raise_descriptor_limit(CONNECTIONS + 100)
    pairs = take_pairs(bench.pick(3, 1), lambda preloaded: measure_server(bench, preloaded))
    pairs = [(bare["rss"], pre["rss"]) for bare, pre in pairs]
    bench.report("memory: a connection of 10,000", "bytes", pairs, "added", ("<=", 300))

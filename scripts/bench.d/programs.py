"""
Small programs: the size of the object, starting a process, a hooked call that concerns nobody, and logging.
"""
import pathlib
import statistics
import subprocess

from harness import KB, TRACEPARENT, take_pairs

LINE_BYTES = 80
LONG_LINE_BYTES = 8000
STDIO_BUFFER = 4096  # of block-buffered streams, by st_blksize


def measure_object(bench):
    size = bench.object.stat().st_size
    bench.report("size of the object", "bytes", [(0, size)], "preloaded", ("<=", 300 * 1024))


def measure_start(bench):
    """bench_start makes the pairs itself: a process of Python's would be slower than what it measures."""
    args = [bench.program("bench_start"), str(bench.pick(2000, 300)), str(bench.object), "/bin/true"]
    out = subprocess.run(args, env=bench.environment(False), stdout=subprocess.PIPE, check=True, text=True).stdout
    pairs = [tuple(float(field) / 1000 for field in line.split()) for line in out.splitlines()]
    # Single starts scatter widely: the medians of twenty blocks of pairs are what is compared.
    step = max(1, len(pairs) // 20)
    blocks = [pairs[i:i + step] for i in range(0, len(pairs), step)]
    medians = [tuple(statistics.median(pair[side] for pair in block) for side in (0, 1)) for block in blocks]
    bench.report("start of /bin/true", "us", medians, "ratio", ("<=", 1.10))


def measure_hook(bench):
    args = [bench.program("bench_hook"), "100000", str(bench.pick(7, 3))]

    def measure(preloaded):
        text = bench.run_reporting(args, preloaded, cpu=1)
        return {name: float(ns) for name, ns in (line.split() for line in text.splitlines())}

    pairs = take_pairs(bench.pick(7, 2), measure)
    for name in pairs[0][0]:
        bench.report(f"hook: {name}", "ns/call", [(bare[name], pre[name]) for bare, pre in pairs], "added")


def run_lines(bench, mode, amount, length, sink, preloaded, buffer=0):
    """One run of bench_lines: (nanoseconds, lines, bytes). Its lines belong to a trace, as a request's would."""
    path = pathlib.Path(bench.dir / "lines.log")
    args = [bench.program("bench_lines"), mode, str(amount), str(length), str(buffer)]
    cat = None
    with open(path, "wb") as out:
        if sink == "pipe":
            cat = bench.start([bench.tool("cat")], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, cpu=2)
        stdout = cat.stdin if cat else out
        text = bench.run_reporting(args, preloaded, stdout=stdout, cpu=1, env={"TRACEPARENT": TRACEPARENT})
    if cat:
        cat.stdin.close()
        cat.wait()
        bench.stop(cat)
    elif preloaded:
        with open(path, "rb") as log:
            if log.read(1) != b"{":
                raise RuntimeError("the lines were not rewritten: there is nothing to measure")
    path.unlink()
    return tuple(int(field) for field in text.split())


def record_bytes(bench, mode):
    """How long the records of bench_lines' lines are."""
    path = pathlib.Path(bench.dir / "record.log")
    args = [bench.program("bench_lines"), mode, "100", str(LINE_BYTES)]
    with open(path, "wb") as out:
        bench.run_reporting(args, True, stdout=out, env={"TRACEPARENT": TRACEPARENT})
    size = path.stat().st_size
    path.unlink()
    return round(size / 100)


def measure_lines(bench):
    """
    Beside each row, what it costs the bare program to write as many bytes itself, in writes of the same size: the
    kernel's work for longer lines, which no rewriting can save. On a file a full buffer of stdio's is one write of ours.
    """
    amount, rounds = bench.pick(300000, 60000), bench.pick(9, 3)
    for mode, label in (("write", "write(2) a line"), ("printf", "printf, buffered")):
        length = record_bytes(bench, mode)
        for sink in ("file", "pipe"):
            buffer = STDIO_BUFFER * length // LINE_BYTES if (mode, sink) == ("printf", "file") else 0

            def measure(preloaded):
                ns, lines, _ = run_lines(bench, mode, amount, LINE_BYTES, sink, preloaded)
                if preloaded:
                    return ns / lines
                long_ns, _, _ = run_lines(bench, mode, amount, length, sink, False, buffer)
                return ns / lines, long_ns / lines
            pairs = take_pairs(rounds, measure)
            bench.report(f"lines: {label}, {sink}", "ns/line", [(bare[0], pre) for bare, pre in pairs], "added",
                         ("<=", 150))
            bench.report(f"  {mode}, {sink}: bare, {length} bytes", "ns/line", [bare for bare, _ in pairs], "added")
            bench.report(f"  {mode}, {sink}: beyond that", "ns/line", [(bare[1], pre) for bare, pre in pairs], "added")
    for sink in ("file", "pipe"):
        def measure_bulk(preloaded):
            ns, _, size = run_lines(bench, "bulk", bench.pick(200, 50) * 1000000, LONG_LINE_BYTES, sink, preloaded)
            return size / ns
        pairs = take_pairs(rounds, measure_bulk)
        bench.report(f"lines: bulk, 8 KB lines, {sink}", "GB/s", pairs, "preloaded", (">=", 1))

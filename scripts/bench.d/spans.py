"""
What spans cost: nginx with spans exported, against bare, while somebody fetches them; and the instructions a request. Fetching is
done here, by moving each ring's tail to its head: what a full ring costs would say nothing.
"""
import mmap
import os
import pathlib
import struct
import threading

from harness import take_pairs
from instructions import GOAL as INSTRUCTIONS_GOAL
from instructions import REQUESTS, count_nginx
from web import measure_variant

HEADER, HEAD, TAIL = 4096, 2304, 2368  # shim/ring_format.h


class Fetcher:
    """Empties every ring of a folder each 5 ms, and removes those of processes that have ended."""

    def __init__(self, bench, folder):
        self.bench = bench
        self.folder = pathlib.Path(folder)
        self.rings = {}
        self.fetched = 0
        self.ended = threading.Event()
        self.thread = threading.Thread(target=self.run)

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.ended.set()
        self.thread.join()

    def run(self):
        with self.bench.aside():
            while not self.ended.wait(0.005):
                self.fetch()

    def fetch(self):
        for path in self.folder.glob("*.ring"):
            if not os.path.exists(f"/proc/{path.name.split('-')[0]}"):
                self.rings.pop(path, None)
                path.unlink()
            elif path not in self.rings:
                with open(path, "r+b") as ring:
                    self.rings[path] = mmap.mmap(ring.fileno(), HEADER)
        for ring in self.rings.values():
            head, = struct.unpack_from("<Q", ring, HEAD)
            tail, = struct.unpack_from("<Q", ring, TAIL)
            self.fetched += head - tail
            struct.pack_into("<Q", ring, TAIL, head)


def exporting(bench):
    folder = bench.dir / "spans"
    folder.mkdir(exist_ok=True)
    os.chmod(folder, 0o1777)
    return {"TRACESHIM_RUN_DIR": str(folder), "TRACESHIM_EXPORT": "traces"}


def measure_spans(bench):
    more = exporting(bench)
    with Fetcher(bench, more["TRACESHIM_RUN_DIR"]) as fetcher:
        measure_variant(bench, "nginx: keep-alive, spans", "file", more=more, again=True)
        measure_variant(bench, "nginx: close, spans", "file", close=True, more=more)
        if fetcher.fetched == 0:
            raise RuntimeError("spans: nothing was exported")

    def count(number, exports):
        return count_nginx(bench, "/tiny", 1, number, True, more if exports else {})

    def measure(exports):
        return (count(2 * REQUESTS, exports) - count(REQUESTS, exports)) / REQUESTS
    bench.report("instructions: a span, nginx", "instr.", take_pairs(bench.pick(3, 1), measure), "added", INSTRUCTIONS_GOAL,
                 ("without", "with spans"))

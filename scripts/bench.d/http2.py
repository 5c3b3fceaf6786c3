"""
h2load on nghttpd, bare and preloaded at the same time: a tiny file over kept connections, many requests of each at a time, and
one. The server writes no log. Rates are h2load's own; processor time is the server's, and what to look at where the load is the
slower of the two.
"""
import re
import shutil

from harness import LOAD_CPU, SERVER_CPU, free_port, wait_for_port
from rounds import read_sched, take_rounds

GOAL = (">=", 0.95)
CONNECTIONS = 8
TURNS = 4  # a round; each starts a process


class Nghttpd:
    def __init__(self, bench, preloaded, streams, count):
        self.bench = bench
        self.streams = streams
        self.count = count
        self.port = free_port()
        self.dir = bench.dir / bench.new_name()
        self.dir.mkdir(parents=True)
        (self.dir / "tiny").write_text("hello\n", encoding="ascii")
        args = [bench.tool("nghttpd"), "--no-tls", "-d", str(self.dir), str(self.port)]
        self.process = bench.start(args, preloaded, cpu=SERVER_CPU)
        wait_for_port(self.port, self.process)

    def run(self):
        """One turn: requests a second, and microseconds of the server's processor time a request."""
        before_ns, _ = self.sched()
        args = [self.bench.tool("h2load"), "-n", str(self.count), "-c", str(CONNECTIONS), "-m", str(self.streams),
                f"http://127.0.0.1:{self.port}/tiny"]
        load = self.bench.start(args, cpu=LOAD_CPU, stdout=-1, text=True)
        said, _ = load.communicate()
        self.bench.running.remove(load)
        if f"{self.count} succeeded, 0 failed, 0 errored" not in said:
            raise RuntimeError(f"h2load failed: {said}")
        used_ns = self.sched()[0] - before_ns
        return float(re.search(r", ([0-9.]+) req/s", said).group(1)), used_ns / self.count / 1000

    def warm_up(self):
        self.run()

    def sched(self):
        return read_sched(self.process.pid)

    def end(self):
        self.bench.stop(self.process)
        shutil.rmtree(self.dir)


def measure_variant(bench, name, streams, count, again=False):
    def start(preloaded):
        server = Nghttpd(bench, preloaded, streams, count)
        if preloaded:
            bench.assert_preloaded(server.process)
        return server

    sides = {"bare": lambda: start(False), "preloaded": lambda: start(True)}
    if again:
        sides["again"] = lambda: start(False)
    rounds = take_rounds(bench, sides, Nghttpd.run, TURNS)
    rounds.report(bench, name, goals=(GOAL, None))
    if again:
        rounds.report_again(bench)


def measure_http2(bench):
    measure_variant(bench, "nghttpd: HTTP/2, 20 at a time", 20, 4000, again=True)
    measure_variant(bench, "nghttpd: HTTP/2, one at a time", 1, 1500)

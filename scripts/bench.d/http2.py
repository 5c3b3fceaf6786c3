"""
h2load on nghttpd, bare and preloaded at the same time: a tiny file over kept connections, many requests of each at a time, and
one. The server writes no log. Rates are h2load's own; processor time is the server's, and what to look at where the load is the
slower of the two.
"""

import pathlib
import re

from harness import free_port, take_turns, wait_for_port

GOAL = (">=", 0.95)
CONNECTIONS = 8


class Nghttpd:
    def __init__(self, bench, name, preloaded):
        self.bench = bench
        self.port = free_port()
        files = bench.dir / name
        files.mkdir(parents=True)
        (files / "tiny").write_text("hello\n", encoding="ascii")
        args = [bench.tool("nghttpd"), "--no-tls", "-d", str(files), str(self.port)]
        self.process = bench.start(args, preloaded, cpu=1)
        wait_for_port(self.port, self.process)

    def cpu_ns(self):
        return int(pathlib.Path(f"/proc/{self.process.pid}/schedstat").read_text(encoding="ascii").split()[0])

    def run(self, count, streams):
        """One round: requests a second, and microseconds of the server's processor time a request."""
        before_ns = self.cpu_ns()
        args = [self.bench.tool("h2load"), "-n", str(count), "-c", str(CONNECTIONS), "-m", str(streams),
                f"http://127.0.0.1:{self.port}/tiny"]
        load = self.bench.start(args, cpu=3, stdout=-1, text=True)
        said, _ = load.communicate()
        self.bench.running.remove(load)
        if f"{count} succeeded, 0 failed, 0 errored" not in said:
            raise RuntimeError(f"h2load failed: {said}")
        return (float(re.search(r", ([0-9.]+) req/s", said).group(1)), (self.cpu_ns() - before_ns) / count / 1000)


def measure_variant(bench, name, streams, count):
    folder = re.sub(r"\W+", "-", name)
    servers = {side: Nghttpd(bench, f"{folder}-{side}", side == "preloaded") for side in ("bare", "preloaded")}
    bench.assert_preloaded(servers["preloaded"].process)
    try:
        for server in servers.values():
            server.run(count, streams)
        turns = take_turns(bench.pick(100, 12), list(servers), lambda side: servers[side].run(count, streams))
    finally:
        for server in servers.values():
            bench.stop(server.process)
    for place, row, unit in ((0, name, "req/s"), (1, "       processor time of it", "us/req")):
        pairs = [(turn["bare"][place], turn["preloaded"][place]) for turn in turns]
        bench.report(row, unit, pairs, "ratio", GOAL if place == 0 else None)


def measure_http2(bench):
    measure_variant(bench, "nghttpd: HTTP/2, 20 at a time", 20, 4000)
    measure_variant(bench, "nghttpd: HTTP/2, one at a time", 1, 1500)

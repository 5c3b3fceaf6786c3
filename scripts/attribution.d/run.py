"""Run one server of the attribution experiment: its clients, the service behind it, and the judge of its log."""
import json
import mmap
import os
import pathlib
import random
import shutil
import signal
import socket
import statistics
import subprocess
import tempfile
import time

# (kind, connections, share): most requests where most can go wrong
SCHEDULE = [("keep", 1, 1), ("keep", 4, 2), ("keep", 16, 4), ("keep", 64, 4), ("keep", 256, 4), ("pipeline", 16, 2),
            ("pipeline", 64, 1), ("close", 16, 2), ("close", 64, 1)]
SHORT = [("keep", 1, 2), ("keep", 4, 1), ("keep", 64, 2), ("pipeline", 16, 1), ("close", 16, 1)]
COST = [("keep", 16, 1)]
QUIET_S = 5  # a server that says nothing for so long says no more


class Failed(Exception):
    pass


def free_port():
    """Below the range that the kernel takes clients' ports from."""
    while True:
        port = random.randrange(10240, 32000)
        try:
            socket.create_server(("127.0.0.1", port)).close()
            return port
        except OSError:
            pass


class Bench:
    """What all runs share: where things are, and a folder that goes with it."""

    def __init__(self, root, build, settings):
        self.root, self.build = root, build
        self.object = build / "libtraceshim.so"
        self.programs = build / "tests"
        self.apps = root / "tests" / "apps" / "attribution"
        self.settings = settings
        self.tmp = None

    def __enter__(self):
        self.tmp = pathlib.Path(tempfile.mkdtemp(prefix="attribution."))
        self.tmp.chmod(0o755)  # as root, workers of some servers become another user
        return self

    def __exit__(self, *_):
        shutil.rmtree(self.tmp, ignore_errors=True)

    def environment(self, preloaded, folder):
        env = {name: value for name, value in os.environ.items()
               if not name.startswith(("TRACESHIM_", "OTEL_")) and
               name not in ("LD_PRELOAD", "TRACEPARENT", "TRACESTATE", "BAGGAGE", "PYTHONUNBUFFERED")}
        env["PYTHONDONTWRITEBYTECODE"] = "1"
        env["PATH"] += ":/usr/sbin:/sbin"
        if preloaded:
            handoff = self.settings.get("TRACESHIM_ATTRIBUTION") == "validated"
            objects = [self.object, self.build / "libtraceshim-handoff.so"][:2 if handoff else 1]
            env.update(self.settings, LD_PRELOAD=":".join(map(str, objects)), TRACESHIM_RUN_DIR=str(folder / "run"))
        return env


class Judge:
    """Reads what a server logs; knows how many lines there were."""

    def __init__(self, bench, folder):
        self.progress = folder / "progress"
        self.progress.write_bytes(bytes(8))
        self.said = open(folder / "judge", "w+", encoding="utf-8")
        self.process = subprocess.Popen([bench.programs / "attribution_judge", self.progress], stdin=subprocess.PIPE,
                                        stdout=subprocess.PIPE, stderr=self.said)

    def lines(self):
        with open(self.progress, "rb") as file, mmap.mmap(file.fileno(), 8, access=mmap.ACCESS_READ) as words:
            return int.from_bytes(words[:8], "little")

    def until(self, wanted):
        """A server may log behind its last answer: wait for that, but not for lines that never come."""
        last, since = -1, time.monotonic()
        while (now := self.lines()) < wanted:
            if now != last:
                last, since = now, time.monotonic()
            elif time.monotonic() - since > QUIET_S:
                break
            time.sleep(0.01)

    def end(self):
        with self.process:
            counts = json.loads(self.process.stdout.read())
        self.said.seek(0)
        counts["examples"] = self.said.read()[:3000]
        self.said.close()
        return counts


def stop(server):
    """The server's process group is its own."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        try:
            os.killpg(server.pid, number)
            server.wait(10)
            os.killpg(server.pid, 0)
            time.sleep(0.2)
        except (ProcessLookupError, PermissionError):
            return
        except subprocess.TimeoutExpired:
            pass
    server.wait()


def plan(schedule, requests):
    total = sum(share for *_, share in schedule)
    return [(kind, connections, max(requests * share // total, connections)) for kind, connections, share in schedule]


def tail(path):
    return path.read_text(encoding="utf-8", errors="replace")[-1500:]


def drive(bench, pattern, level, phases, preloaded=True, judged=True):
    """One server, from start to end: (phases of the clients, counts of the judge or None, what the service said)."""
    folder = pathlib.Path(tempfile.mkdtemp(dir=bench.tmp))
    folder.chmod(0o755)
    (folder / "run").mkdir()
    (folder / "run").chmod(0o1777)
    port, up = free_port(), free_port()
    env = bench.environment(preloaded, folder)
    command = pattern.command(bench, folder, port, up, level, env)
    judge = Judge(bench, folder) if judged else None
    sink = judge.process if judge else subprocess.Popen(["cat"], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL)
    with open(folder / "err", "w", encoding="utf-8") as err:
        server = subprocess.Popen([str(word) for word in command], stdin=subprocess.DEVNULL, stdout=sink.stdin,
                                  stderr=sink.stdin if pattern.logs_to_stderr else err, env=env, cwd=folder,
                                  start_new_session=True)
    try:
        args = [bench.programs / "attribution_load", "--port", port, "--up", up, "--path", pattern.path]
        for kind, connections, requests in phases:
            args += ["--phase", f"{kind}:{connections}:{requests}"]
        load = subprocess.run([str(word) for word in args], capture_output=True, text=True, check=False)
        if judge and load.returncode == 0:
            judge.until(pattern.lines * sum(requests for *_, requests in phases))
    finally:
        stop(server)
        sink.stdin.close()
        counts = judge.end() if judge else sink.wait() and None
    if load.returncode != 0:
        raise Failed(f"{load.stderr[-600:]} {tail(folder / 'err')}")
    return json.loads(load.stdout), counts, load.stderr


def attribute(bench, pattern, requests, short):
    """Each level of optimization takes its share of the requests."""
    levels = pattern.levels[:1] if short else pattern.levels
    runs = []
    for level in levels:
        phases = plan(SHORT if short else SCHEDULE, requests // len(levels))
        if pattern.most_connections:
            phases = [phase for phase in phases if phase[1] <= pattern.most_connections]
        if not pattern.pipelines:
            phases = [phase for phase in phases if phase[0] != "pipeline"]
        answered, counts, said = drive(bench, pattern, level, phases)
        runs.append({"level": level, "phases": answered, "said": said, **counts})
    return {"runs": runs}


def cost(bench, pattern, pairs, requests):
    """Throughput preloaded over bare: the median of what the pairs say, and their range."""
    ratios = []
    for i in range(pairs):
        rate = {}
        for preloaded in (False, True) if i % 2 else (True, False):
            answered, *_ = drive(bench, pattern, pattern.levels[0], plan(COST, requests), preloaded, judged=False)
            rate[preloaded] = sum(p["requests"] for p in answered) / sum(p["seconds"] for p in answered)
        ratios.append(rate[True] / rate[False])
    return {"median": statistics.median(ratios), "least": min(ratios), "most": max(ratios)} if ratios else None

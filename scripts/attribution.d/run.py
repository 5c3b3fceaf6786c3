"""Run one server of the attribution experiment: its clients, the service behind it, and the judge of its log."""
import json
import math
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
COST = [("keep", 16, 1), ("keep", 16, 9)]  # the first is not measured
QUIET_S = 5  # a server that says nothing for so long says no more
LEAST_S = 0.1  # of processor time, which /proc counts in hundredths: less says nothing of a cost


class Failed(Exception):
    pass


class NotMeasured(Exception):
    """Nothing is wrong, but too little was asked for to say anything."""


def reserve_ports():
    """
    Two, and a socket: while it is open no other experiment takes them. Below the range that the kernel takes clients' ports from, and
    below the ports of the tests (tests/preload/free_port.py).
    """
    while True:
        port = random.randrange(10240, 21000, 2)
        claim = socket.socket(socket.AF_UNIX)
        try:
            claim.bind(f"\0traceshim-attribution-{port}")
            for each in (port, port + 1):
                socket.create_server(("127.0.0.1", each)).close()
            return port, port + 1, claim
        except OSError:
            claim.close()


class Bench:
    """What all runs share: where things are, and a folder that goes with it."""

    def __init__(self, root, build, settings):
        self.root, self.build = root, build
        self.object = build / "libtraceshim.so"
        self.programs = build / "tests"
        self.apps = root / "tests" / "apps" / "attribution"
        self.settings = settings
        self.tmp = None
        self.clients = set()  # that run

    def __enter__(self):
        self.tmp = pathlib.Path(tempfile.mkdtemp(prefix="attribution."))
        self.tmp.chmod(0o755)  # as root, workers of some servers become another user
        return self

    def __exit__(self, *_):
        shutil.rmtree(self.tmp, ignore_errors=True)

    def stop_clients(self):
        for client in list(self.clients):
            client.terminate()

    def environment(self, folder, settings):
        env = {name: value for name, value in os.environ.items()
               if not name.startswith(("TRACESHIM_", "OTEL_")) and
               name not in ("LD_PRELOAD", "TRACEPARENT", "TRACESTATE", "BAGGAGE", "PYTHONUNBUFFERED")}
        env["PYTHONDONTWRITEBYTECODE"] = "1"
        env["PATH"] += ":/usr/sbin:/sbin"
        if settings is not None:
            settings = {**settings, **self.settings}
            handoff = settings.get("TRACESHIM_ATTRIBUTION") == "validated"
            objects = [self.object, self.build / "libtraceshim-handoff.so"][:2 if handoff else 1]
            env.update(settings, LD_PRELOAD=":".join(map(str, objects)), TRACESHIM_RUN_DIR=str(folder / "run"))
        return env


class Judge:
    """Reads what a server logs; knows how many lines there were."""

    def __init__(self, bench, folder, fresh):
        self.progress = folder / "progress"
        self.progress.write_bytes(bytes(8))
        self.said = open(folder / "judge", "w+", encoding="utf-8")
        self.process = subprocess.Popen([bench.programs / "attribution_judge", self.progress, "fresh" if fresh else ""],
                                        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self.said)

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
        if self.process.returncode != 0:
            raise Failed(f"the judge's exit status is {self.process.returncode}")
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
    """At least so many requests, by share."""
    total = sum(share for *_, share in schedule)
    return [(kind, connections, max(math.ceil(requests * share / total), connections)) for kind, connections, share in schedule]


def phases_of(pattern, requests, short):
    """Without those that the pattern does not take: the others are longer."""
    phases = plan([(kind, connections, share) for kind, connections, share in (SHORT if short else SCHEDULE)
                   if (pattern.pipelines or kind != "pipeline") and
                   connections <= (pattern.most_connections or connections)], requests)
    return phases[::-1] if pattern.cold else phases


def tail(path):
    return path.read_text(encoding="utf-8", errors="replace")[-1500:]


def processor_seconds(session):
    """Of all processes of the session, and of those that these have waited for."""
    ticks = 0
    for stat in pathlib.Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text(encoding="latin-1").rpartition(")")[2].split()
        except OSError:
            continue
        if int(fields[3]) == session:
            ticks += sum(map(int, fields[11:15]))
    return ticks / os.sysconf("SC_CLK_TCK")


def ask(bench, pattern, port, up, phases, session):
    """Run the clients: (their phases, with the server's processor time in each, what they and the service said)."""
    args = [bench.programs / "attribution_load", "--port", port, "--up", up, "--path", pattern.path]
    args += ["--memcached"] if pattern.memcached else []
    for kind, connections, requests in phases:
        args += ["--phase", f"{kind}:{connections}:{requests}"]
    spent = [processor_seconds(session)]
    with tempfile.TemporaryFile("w+", dir=bench.tmp) as said:
        with subprocess.Popen([str(word) for word in args], stdout=subprocess.PIPE, stderr=said, text=True) as load:
            bench.clients.add(load)
            for _ in phases:
                load.stdout.readline()
                spent.append(processor_seconds(session))
            answered = load.stdout.read()
        bench.clients.discard(load)
        said.seek(0)
        said = said.read()
    if load.returncode != 0:
        raise Failed(said[-600:])
    answered = json.loads(answered)
    for phase, before, after in zip(answered, spent, spent[1:]):
        phase["processor_seconds"] = after - before
    return answered, said


def drive(bench, pattern, level, phases, settings, judged=True):
    """One server, from start to end, without the object if there are no settings:
    (phases of the clients, counts of the judge or None, what the service said)."""
    preloaded = settings is not None
    folder = pathlib.Path(tempfile.mkdtemp(dir=bench.tmp))
    folder.chmod(0o755)
    (folder / "run").mkdir()
    (folder / "run").chmod(0o1777)
    port, up, claim = reserve_ports()
    env = bench.environment(folder, settings)
    command = pattern.command(bench, folder, port, up, level, env)
    judge = Judge(bench, folder, pattern.fresh) if judged else None
    sink = judge.process if judge else subprocess.Popen(["cat"], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL)
    server = counts = None
    try:
        with open(folder / "err", "w", encoding="utf-8") as err:
            server = subprocess.Popen([str(word) for word in command], stdin=subprocess.DEVNULL, stdout=sink.stdin,
                                      stderr=sink.stdin if pattern.logs_to_stderr else err, env=env, cwd=folder,
                                      start_new_session=True)
        answered, said = ask(bench, pattern, port, up, phases, server.pid)
        if judge:
            judge.until(pattern.lines * sum(requests for *_, requests in phases))
        if preloaded != any((folder / "run").glob("*.status")):
            raise Failed("the object is not in the server" if preloaded else "the object is in the bare server")
    except Failed as error:
        raise Failed(f"{error} {tail(folder / 'err')}") from error
    finally:
        if server:
            stop(server)
        claim.close()
        sink.stdin.close()
        counts = judge.end() if judge else sink.wait() and None
    return answered, counts, said


def attribute(bench, pattern, requests, short):
    """Each level of optimization takes its share of the requests."""
    levels = pattern.levels[:1] if short else pattern.levels
    runs = []
    for level in levels:
        phases = phases_of(pattern, math.ceil(requests / len(levels)), short)
        answered, counts, said = drive(bench, pattern, level, phases, pattern.settings)
        runs.append({"level": level, "phases": answered, "said": said, **counts})
    return {"runs": runs}


def summary(ratios):
    """The median, and the bounds of that of many more, at 95 % (an order statistic: of fewer than nine, all lie between)."""
    ratios, rank = sorted(ratios), 1
    while 2 * sum(math.comb(len(ratios), i) for i in range(rank + 1)) <= 0.05 * 2 ** len(ratios):
        rank += 1
    return {"median": statistics.median(ratios), "least": ratios[rank - 1], "most": ratios[-rank]}


def cost(bench, pattern, pairs, requests):
    """A request's processor time in the server and the throughput, over those without the object, or with the pattern's base."""
    ratios = {"processor": [], "throughput": []}
    for i in range(pairs):
        seconds, rate = {}, {}
        for measured in (False, True) if i % 2 else (True, False):
            answered, *_ = drive(bench, pattern, pattern.levels[0], plan(COST, requests),
                                 pattern.settings if measured else pattern.base, judged=False)
            seconds[measured] = answered[1]["processor_seconds"]
            rate[measured] = answered[1]["requests"] / answered[1]["seconds"]
        least = min(seconds[measured] for measured in (False, True))
        if least < LEAST_S:
            raise NotMeasured(f"{answered[1]['requests']} requests took {least:.2f} s of processor time: too few")
        ratios["processor"].append(seconds[True] / seconds[False])
        ratios["throughput"].append(rate[True] / rate[False])
    return {"pairs": pairs, **{name: summary(values) for name, values in ratios.items()}} if pairs else None

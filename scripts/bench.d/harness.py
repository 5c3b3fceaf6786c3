"""
What all benchmarks share: a clean environment, processes that are stopped by their own id, alternating pairs, results
with their goals, and the table.
"""
import contextlib
import itertools
import math
import os
import pathlib
import random
import resource
import select
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time

RESULT_FD = 3  # where the programs report: stdout and stderr are what is measured
START_TIMEOUT_S = 60
KB = 1000  # goals in KB mean the stricter reading
TRACEPARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
MANY_PAIRS = 8
RESAMPLES = 2000
CARRIERS = ("LD_PRELOAD", "NODE_OPTIONS", "TRACEPARENT", "TRACESTATE", "BAGGAGE")


class Skipped(Exception):
    """This cannot be measured here; the text says why, for the reader of the table."""


class Bench:
    """One run: where things are, what is running, and what came out."""

    def __init__(self, build, quick):
        self.build = build
        self.quick = quick
        self.object = build / "libtraceshim.so"
        self.programs = build / "tests"
        self.results = []
        self.running = []
        self.cpus = sorted(os.sched_getaffinity(0))
        self.dir = None

    def __enter__(self):
        if not self.object.is_file():
            sys.exit(f"bench: {self.object} is missing: run make")
        self.dir = pathlib.Path(tempfile.mkdtemp(prefix="traceshim-bench."))
        self.dir.chmod(0o755)  # as root, nginx' workers become another user
        run_dir = self.dir / "run"
        run_dir.mkdir()
        run_dir.chmod(0o1777)
        os.dup2(os.open(os.devnull, os.O_RDWR), RESULT_FD)
        return self

    def __exit__(self, *_):
        for process in list(self.running):
            self.stop(process)
        shutil.rmtree(self.dir, ignore_errors=True)

    def pick(self, full, quick):
        return quick if self.quick else full

    def program(self, name):
        path = self.programs / name
        if not path.is_file():
            raise Skipped(f"{path} is missing: run make bench")
        return str(path)

    def tool(self, name):
        path = shutil.which(name, path=os.environ.get("PATH", "") + ":/usr/sbin:/sbin")
        if not path:
            raise Skipped(f"{name} is not installed: run scripts/deps bench")
        return path

    def environment(self, preloaded, **extra):
        """The caller's environment without anything that traces or preloads, and with the object where asked for."""
        env = {k: v for k, v in os.environ.items() if not k.startswith(("TRACESHIM_", "OTEL_")) and k not in CARRIERS}
        if preloaded:
            env["LD_PRELOAD"] = str(self.object)
            env["TRACESHIM_RUN_DIR"] = str(self.dir / "run")
        env.update(extra)
        return env

    def start(self, args, preloaded=False, cpu=None, env=None, **popen):
        """A process of ours. `cpu` is one index, or several, into the processors, used where there are four or more."""
        pin = None
        if cpu is not None and len(self.cpus) >= 4:
            allowed = {self.cpus[index] for index in (cpu if isinstance(cpu, tuple) else (cpu,))}
            pin = lambda: os.sched_setaffinity(0, allowed)  # noqa: E731
        full_env = self.environment(preloaded, **(env or {}))
        process = subprocess.Popen(args, env=full_env, preexec_fn=pin, process_group=0, **popen)
        self.running.append(process)
        return process

    def stop(self, process, timeout_s=30):
        """Ask, wait, and only then insist. All by a number that is still ours, as it is until the process has been waited for."""
        if process.returncode is None:
            ended = os.pidfd_open(process.pid)
            signal.pidfd_send_signal(ended, signal.SIGTERM)
            if not select.select([ended], [], [], timeout_s)[0]:
                signal.pidfd_send_signal(ended, signal.SIGKILL)
            os.close(ended)
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)  # workers that outlived their master
            process.wait()
        if process in self.running:
            self.running.remove(process)

    def start_reporting(self, args, preloaded=False, **popen):
        """Start a program that reports on descriptor 3. Returns (process, file with its report)."""
        reader, writer = os.pipe()
        os.dup2(writer, RESULT_FD, inheritable=True)
        os.close(writer)
        try:
            process = self.start(args, preloaded, pass_fds=(RESULT_FD,), **popen)
        finally:
            null = os.open(os.devnull, os.O_RDWR)
            os.dup2(null, RESULT_FD)
            os.close(null)
        return process, os.fdopen(reader, encoding="ascii")

    def run_reporting(self, args, preloaded=False, **popen):
        process, report = self.start_reporting(args, preloaded, **popen)
        text = report.read()
        report.close()
        if process.wait() != 0:
            raise RuntimeError(f"{args[0]} failed with {process.returncode}")
        self.running.remove(process)
        return text

    def assert_preloaded(self, process):
        """A benchmark of an object that is not there would hold every goal."""
        maps = pathlib.Path(f"/proc/{process.pid}/maps").read_text(encoding="utf-8")
        if str(self.object) not in maps:
            raise RuntimeError(f"{process.args[0]} runs without the object")

    def report(self, name, unit, pairs, compare, goal=None, sides=("bare", "preloaded")):
        """
        One line of the table. `pairs` are (bare, preloaded); `compare` says what is looked at in each pair: "ratio",
        "added" or "preloaded" (the preloaded value alone); goal is (">=" or "<=", number) or None; sides names what the
        two are where they are something else.
        """
        function = {"ratio": lambda b, p: p / b, "added": lambda b, p: p - b, "preloaded": lambda b, p: p}[compare]
        value, low, high = estimate([function(b, p) for b, p in pairs], compare == "ratio")
        self.results.append({
            "name": name, "unit": unit, "compare": compare, "sides": sides, "pairs": len(pairs),
            "bare": statistics.median(b for b, _ in pairs), "preloaded": statistics.median(p for _, p in pairs),
            "value": value, "low": low, "high": high, "goal": goal,
            "verdict": judge(value, low, high, goal) if goal else "no goal",
        })

    def drop(self, name, verdict, reason):
        """A group without a result: "skipped" where the machine lacks something, else "failed"."""
        for process in list(self.running):
            self.stop(process)
        self.results.append({"name": name, "verdict": verdict, "reason": reason})


def trimmed_mean(values):
    """The mean without the lowest and the highest fifth: steady against outliers, and less so against chance than a median."""
    cut = len(values) // 5
    return statistics.fmean(sorted(values)[cut:len(values) - cut])


def estimate(values, is_ratio):
    """
    (value, low, high) of what pairs say. Of many it is the trimmed mean (of ratios that of their logarithms: twice and half as
    much are no change), and the range that holds 95 % of the means of as many pairs drawn again out of these with
    replacement (B. Efron's bootstrap): where the value could as well have been. Of few, median, minimum and maximum.
    """
    if len(values) < MANY_PAIRS or min(values) == max(values) or (is_ratio and min(values) <= 0):
        return statistics.median(values), min(values), max(values)
    if is_ratio:
        return tuple(math.exp(value) for value in estimate([math.log(value) for value in values], False))
    chance = random.Random(1)  # the same numbers give the same result
    means = sorted(trimmed_mean(chance.choices(values, k=len(values))) for _ in range(RESAMPLES))
    cut = RESAMPLES // 40
    return trimmed_mean(values), means[cut], means[-1 - cut]


def judge(value, low, high, goal):
    """With a question mark where chance could have made it the other."""
    sign, limit = goal
    verdict = "holds" if (value >= limit if sign == ">=" else value <= limit) else "missed"
    return f"{verdict}?" if low < high and low <= limit <= high else verdict


def take_turns(count, sides, measure):
    """[{side: what measure(side) gave}], the sides in each of their orders equally often."""
    orders = list(itertools.permutations(sides))
    return [{side: measure(side) for side in orders[turn % len(orders)]} for turn in range(count)]


def take_pairs(count, measure):
    """[(bare, preloaded)], the order within a pair alternating. measure(preloaded) -> a number, or several."""
    pairs = []
    for i in range(count):
        first = i % 2 == 1
        taken = {first: measure(first)}
        taken[not first] = measure(not first)
        pairs.append((taken[False], taken[True]))
    return pairs


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return listener.getsockname()[1]


def wait_for_port(port, process):
    deadline = time.monotonic() + START_TIMEOUT_S
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise RuntimeError(f"{process.args[0]} ended with {process.returncode}")
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
            return
        except OSError:
            time.sleep(0.02)
    raise RuntimeError(f"{process.args[0]} does not listen on port {port}")


def raise_descriptor_limit(needed):
    """Make room for `needed` descriptors in each process from here on, or say why there is none."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, needed), max(hard, needed)))
    except (ValueError, OSError):
        raise Skipped(f"the limit on descriptors ({hard}) cannot be raised to {needed}") from None


def shorten(number):
    if abs(number) >= 1e6:
        return f"{number / 1e6:.2f}M"
    if abs(number) >= 10000:
        return f"{number / 1000:.1f}k"
    if abs(number) >= 100 or float(number).is_integer():
        return f"{number:.0f}"
    return f"{number:.3f}" if abs(number) < 10 else f"{number:.1f}"


def print_table(results):
    """`result` is what the pairs say (estimate): x a ratio, + something added, = the preloaded value alone."""
    sign = {"ratio": "x", "added": "+", "preloaded": "="}
    print(f"{'':<33}{'unit':<8}{'bare':>8} {'preloaded':>10} {'result':>9}  {'range':<17}{'goal':>8}  verdict")
    for r in results:
        if "reason" in r:
            print(f"{r['name']:<33}{r['verdict']}: {r['reason']}")
            continue
        value = shorten(r["value"])
        if not value.startswith("-"):
            value = sign[r["compare"]] + value
        spread = f"{shorten(r['low'])}..{shorten(r['high'])}"
        goal = f"{r['goal'][0]} {shorten(r['goal'][1])}" if r["goal"] else ""
        verdict = r["verdict"].replace("no goal", "")
        print(f"{r['name']:<33}{r['unit']:<8}{shorten(r['bare']):>8} {shorten(r['preloaded']):>10} {value:>9}  "
              f"{spread:<17}{goal:>8}  {verdict}".rstrip())

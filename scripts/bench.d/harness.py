"""
What all benchmarks share: a clean environment, processes that are stopped by their own id, alternating pairs, results
with their goals, and the table.
"""
import contextlib
import itertools
import os
import pathlib
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

from estimates import estimate, estimate_rounds, judge, judge_same

RESULT_FD = 3  # where the programs report: stdout and stderr are what is measured
START_TIMEOUT_S = 60
KB = 1000  # goals in KB mean the stricter reading
TRACEPARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
ROUNDS, ROUNDS_QUICK = 40, 8
SERVER_CPU, LOAD_CPU = 1, 3  # indexes into the processors
DISTURBED = 0.02  # of the time: from here on the table says it
CARRIERS = ("LD_PRELOAD", "NODE_OPTIONS", "TRACEPARENT", "TRACESTATE", "BAGGAGE")


class Skipped(Exception):
    """This cannot be measured here; the text says why, for the reader of the table."""


class Bench:
    """One run: where things are, what is running, and what came out."""

    def __init__(self, build, quick, rounds=None):
        self.build = build
        self.quick = quick
        self.rounds = rounds or self.pick(ROUNDS, ROUNDS_QUICK)
        self.object = build / "libtraceshim.so"
        self.programs = build / "tests"
        self.results = []
        self.running = []
        self.cpus = sorted(os.sched_getaffinity(0))
        self.pinned = len(self.cpus) >= 4
        self.numbers = itertools.count()
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

    def new_name(self):
        """For a server's folder, of one length: a longer path alone costs a server something."""
        return f"server-{next(self.numbers):05d}"

    def measured_cpus(self):
        """The processors that a server and its load have."""
        return [self.cpus[SERVER_CPU], self.cpus[LOAD_CPU]] if self.pinned else self.cpus

    @contextlib.contextmanager
    def aside(self):
        """Meanwhile this thread stays off the processors of others, which have to be pinned themselves: it would hand down its own."""
        if self.pinned:
            os.sched_setaffinity(0, {self.cpus[0]})
        try:
            yield
        finally:
            os.sched_setaffinity(0, self.cpus)

    def start(self, args, preloaded=False, cpu=None, env=None, **popen):
        """A process of ours. `cpu` is one index, or several, into the processors, used where there are four or more."""
        pin = None
        if cpu is not None and self.pinned:
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
        said = estimate([function(b, p) for b, p in pairs], compare == "ratio")
        self.add_result(name, unit, pairs, compare, sides, said, goal, judge(*said, goal) if goal else "no goal")

    def report_rounds(self, name, unit, rounds, place, goal, sides):
        """
        One line about servers that were started anew each round (rounds.py): what sides[1] is to sides[0] in the measure at
        `place`. goal ("has", 1): the two are the same, and the range has to have that in it.
        """
        ratios = rounds.ratios(*sides, place)
        said = estimate_rounds(ratios)
        same = goal and goal[0] == "has"
        verdict = judge_same(ratios) if same else judge(*said, goal) if goal else "no goal"
        more = {"resolution": (said[2] / said[1]) ** 0.5 - 1} if same else {}
        self.add_result(name, unit, rounds.pairs(*sides, place), "ratio", sides, said, goal, verdict, rounds=len(ratios),
                        ratios=ratios, waited=rounds.waited, stolen=rounds.stolen, **more)

    def add_result(self, name, unit, pairs, compare, sides, said, goal, verdict, **more):
        value, low, high = said
        self.results.append({
            "name": name, "unit": unit, "compare": compare, "sides": sides, "pairs": len(pairs),
            "bare": statistics.median(b for b, _ in pairs), "preloaded": statistics.median(p for _, p in pairs),
            "value": value, "low": low, "high": high, "goal": goal, "verdict": verdict, **more,
        })

    def drop(self, name, verdict, reason):
        """A group without a result: "skipped" where the machine lacks something, else "failed"."""
        for process in list(self.running):
            self.stop(process)
        self.results.append({"name": name, "verdict": verdict, "reason": reason})


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
    """`result` is what the pairs say (estimates.py): x a ratio, + something added, = the preloaded value alone."""
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
        verdict = r["verdict"].replace("no goal", "") + (f", +-{r['resolution']:.1%}" if "resolution" in r else "")
        print(f"{r['name']:<33}{r['unit']:<8}{shorten(r['bare']):>8} {shorten(r['preloaded']):>10} {value:>9}  "
              f"{spread:<17}{goal:>8}  {verdict}".rstrip())
    print_disturbance(results)


def print_disturbance(results):
    worst = [max(r.get(kind, 0) for r in results) for kind in ("waited", "stolen")]
    if max(worst) > DISTURBED:
        print(f"disturbed: up to {worst[0]:.0%} of the time that servers and loads could have run their processors were others', "
              f"up to {worst[1]:.0%} the host kept")

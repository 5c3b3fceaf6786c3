"""
Node: small servers and Next.js, bare, preloaded, with a logger that threads AsyncLocalStorage through the program by
hand, and with OpenTelemetry's automatic instrumentation. All variants of an application stand side by side and are
loaded in turns, in short rounds of a fixed number of requests and in an order that rotates; half of the requests bring
a traceparent. Every variant writes its lines into a pipe that a cat empties into a file, and each has to show there
that its lines have the right ids before it is measured.

Servers are started anew several times: what a process of Node's takes depends by some percent on how its memory and its
compiled code happen to lie, and stays so for its life.

NODE says which Node: a path, or a version that tests/apps/nodes has (18, 20, 22, 24); else the one on the PATH.
Options of Node may follow: NODE="22 --experimental-async-context-frame".
"""
import json
import os
import pathlib
import re
import shlex
import statistics
import subprocess
import urllib.request

from harness import TRACEPARENT, Skipped, free_port, take_pairs, wait_for_port
from memory import wait_until_quiet

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
TRACE_ID = TRACEPARENT.split("-")[1]
CONNECTIONS = 32
SMALL_ROUND = 6000  # requests
WARM_UP = 5  # rounds
MB = 1000 * 1000
MEMORY_STEPS = (20000, 40000, 40000)  # requests: 20,000, 60,000 and 100,000 in all

NAMES = {"by-hand": "logger by hand", "otel": "OpenTelemetry, pino", "context": "AsyncLocalStorage"}
NEXT_START = ["node_modules/next/dist/bin/next", "start", "-H", "127.0.0.1", "-p"]
LOGGERS = {"otel": "pino", "by-hand": "by-hand", "context": "context"}
UNTRACED = ("bare", "context")

# What the preloaded program is held against: the side, and the goals for requests a second and their processor time.
SMALL_GOALS = {"bare": (0.90, 1.12), "by-hand": (0.97, 1.03)}
AWAITS_GOALS = {"context": (0.95, 1.05)}
NEXT_GOALS = {"bare": (0.97, 1.03)}


class Request:
    """What is sent again and again, how often in a round, and how many lines the program logs for each."""

    def __init__(self, count, path="/", method="GET", body="", headers=None, lines=1):
        self.count = count
        self.lines = lines
        self.path = path
        self.method = method
        self.body = body
        self.headers = headers or {}

    def send(self, port, **headers):
        url = f"http://127.0.0.1:{port}{self.path}"
        data = self.body.encode() if self.body else None
        request = urllib.request.Request(url, data, {**self.headers, **headers}, method=self.method)
        with urllib.request.urlopen(request, timeout=30) as response:
            return response.read()

    def messages(self, port):
        """The two messages that are sent in turns: without a traceparent, and with one."""
        headers = {"Host": f"127.0.0.1:{port}", **self.headers}
        if self.body:
            headers["Content-Length"] = len(self.body)
        lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        start = f"{self.method} {self.path} HTTP/1.1\r\n{lines}"
        return [f"{start}\r\n{self.body}", f"{start}traceparent: {TRACEPARENT}\r\n\r\n{self.body}"]


def find_node(bench):
    """The command: Node, and its options."""
    wanted, *options = shlex.split(os.environ.get("NODE", "")) or ["node"]
    if wanted.isdigit():
        return [str(install(bench, "nodes") / f"node_modules/node{wanted}/bin/node"), *options]
    return [bench.tool(wanted), *options]


def describe_node(bench):
    """What `node --version` says, and the options; None where there is no Node."""
    try:
        command = find_node(bench)
    except Skipped:
        return None
    version = subprocess.run([command[0], "--version"], stdout=subprocess.PIPE, check=True, text=True).stdout.strip()
    return " ".join([version, *command[1:]])


def install(bench, name):
    """The folder of an application of tests/apps, with its packages."""
    bench.tool("npm")
    command = [str(ROOT / "scripts" / "npm-app"), "--build", str(bench.build), name]
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, check=False)
    if done.returncode != 0:
        raise RuntimeError(f"{name} could not be installed: {done.stderr.strip().splitlines()[-1]}")
    return pathlib.Path(done.stdout.strip())


class Server:
    """One server of one variant, and the cat at the other end of its log."""

    def __init__(self, bench, folder, script, variant, options=()):
        self.bench = bench
        self.variant = variant
        self.port = free_port()
        self.log = bench.dir / f"node-{variant}.log"
        self.loads = {}
        env = {"BENCH_LOGGER": LOGGERS.get(variant, "console"), "NODE_ENV": "production",
               "NEXT_TELEMETRY_DISABLED": "1"}
        if variant == "otel":
            env.update(OTEL_LOGS_EXPORTER="none", OTEL_METRICS_EXPORTER="none", OTEL_SERVICE_NAME="bench")
            options = [*options, "--require", str(folder / "otel.js")]
        args = [*find_node(bench), *options, *script, str(self.port)]
        # Appended to, so that cutting the log short between two rounds leaves no hole.
        with open(self.log, "ab") as log:
            self.cat = bench.start([bench.tool("cat")], cpu=2, stdin=subprocess.PIPE, stdout=log)
        self.process = bench.start(args, variant == "preloaded", cpu=(0, 1), env=env, cwd=folder,
                                   stdin=subprocess.DEVNULL, stdout=self.cat.stdin, stderr=self.cat.stdin)
        self.cat.stdin.close()
        wait_for_port(self.port, self.process)

    def cpu_ns(self):
        """Processor time so far, of all threads and child processes: not that of the machine's other users."""
        return sum(read_cpu_ns(pid) for pid in list_tree(self.process.pid))

    def assert_traced(self, request):
        """A variant whose lines had no ids would hold every goal."""
        request.send(self.port, traceparent=TRACEPARENT)
        request.send(self.port)
        self.bench.stop(self.process)
        self.cat.wait(60)  # it ends when it has read all
        self.bench.stop(self.cat)
        text = self.log.read_text(encoding="utf-8")
        self.log.unlink()
        ids = re.findall(r'"trace_?[iI]d":"([0-9a-f]{32})"', text)
        expected = 0 if self.variant in UNTRACED else request.lines
        if ids.count(TRACE_ID) != expected or len(ids) != 2 * expected:
            raise RuntimeError(f"{self.variant}: the lines have not the ids that they should have: {text[-300:]}")

    def load(self, request, count=None):
        """One round. Returns (requests a second, microseconds of processor time a request)."""
        if request not in self.loads:
            args = [self.bench.program("bench_load"), str(self.port), str(CONNECTIONS), *request.messages(self.port)]
            pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
            self.loads[request] = self.bench.start(args, cpu=3, **pipes)
        count = count or request.count
        load = self.loads[request]
        before = self.cpu_ns()
        print(count, file=load.stdin, flush=True)
        answer = load.stdout.readline()
        if not answer:
            raise RuntimeError(f"the load on {self.variant} failed")
        cpu_ns = self.cpu_ns() - before
        os.truncate(self.log, 0)
        return count / int(answer) * 1e9, cpu_ns / count / 1000

    def stop(self):
        for process in (*self.loads.values(), self.process, self.cat):
            self.bench.stop(process)
        self.log.unlink(missing_ok=True)


def list_tree(pid):
    tree = [pid]
    for task in pathlib.Path(f"/proc/{pid}/task").iterdir():
        for child in (task / "children").read_text(encoding="ascii").split():
            tree += list_tree(int(child))
    return tree


def read_cpu_ns(pid):
    tasks = pathlib.Path(f"/proc/{pid}/task").iterdir()
    return sum(int((task / "schedstat").read_text(encoding="ascii").split()[0]) for task in tasks)


def take_rounds(bench, start, variants, requests):
    """[{variant: (requests/s, us)} of each round] for each of `requests`. start(variant) makes a Server."""
    taken = [[] for _ in requests]
    for _ in range(bench.pick(4, 1)):
        servers = {variant: start(variant) for variant in variants}
        for n, request in enumerate(requests):
            for server in servers.values():
                server.load(request, WARM_UP * request.count)  # the first requests are interpreted
            for turn in range(bench.pick(12, 4)):
                shift = turn % len(variants)
                order = variants[shift:] + variants[:shift]
                taken[n].append({variant: servers[variant].load(request) for variant in order})
        for server in servers.values():
            server.stop()
    return taken


def report_sides(bench, name, rounds, first, second, goals=(None, None)):
    """Two lines of the table: requests a second, and the processor time of one."""
    goals = [goal and (sign, goal) for sign, goal in zip((">=", "<="), goals)]
    for place, label, unit in ((0, name, "req/s"), (1, "       processor time of it", "us/req")):
        pairs = [(taken[first][place], taken[second][place]) for taken in rounds]
        bench.report(label, unit, pairs, "ratio", goals[place], sides=(f"{name}: {first}", f"{name}: {second}"))


def report_variants(bench, name, rounds, goals):
    """Each variant beside the bare one; then the preloaded one beside those that it must not be behind."""
    report_sides(bench, name, rounds, "bare", "preloaded", goals.get("bare", (None, None)))
    for variant, label in NAMES.items():
        if variant in rounds[0]:
            report_sides(bench, f"  bare, {label}", rounds, "bare", variant)
        if variant in rounds[0] and variant in goals:
            report_sides(bench, f"  preloaded / {label}", rounds, variant, "preloaded", goals[variant])


def measure_app(bench, name, label, variants, goals):
    request = Request(SMALL_ROUND)
    folder = install(bench, "bench-node")

    def start(variant):
        return Server(bench, folder, [str(folder / f"{name}.js")], variant)

    for variant in variants:
        start(variant).assert_traced(request)
    rounds = take_rounds(bench, start, variants, [request])[0]
    report_variants(bench, f"node {label}", rounds, goals)


def measure_hello(bench):
    measure_app(bench, "hello", "http, one line", ["bare", "preloaded", "by-hand", "otel"], SMALL_GOALS)


def measure_express(bench):
    measure_app(bench, "express", "Express, one line", ["bare", "preloaded", "by-hand", "otel"], SMALL_GOALS)


def measure_awaits(bench):
    measure_app(bench, "awaits", "50 awaits", ["bare", "preloaded", "context", "by-hand", "otel"], AWAITS_GOALS)


def build_next(bench):
    """The application's folder, built from the sources as they are now."""
    folder = install(bench, "bench-next")
    built = folder / ".next" / "BUILD_ID"
    sources = [path for path in (ROOT / "tests/apps/bench-next").rglob("*") if path.is_file()]
    if not built.is_file() or built.stat().st_mtime < max(path.stat().st_mtime for path in sources):
        env = bench.environment(False, NEXT_TELEMETRY_DISABLED="1")
        command = [*find_node(bench), "node_modules/next/dist/bin/next", "build"]
        done = subprocess.run(command, cwd=folder, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                              text=True, check=False)
        if done.returncode != 0:
            raise RuntimeError(f"next build failed: {done.stdout[-500:]}")
    return folder


def find_action(folder):
    """The id by which browsers call order() of app/actions.js."""
    manifest = json.loads((folder / ".next/server/server-reference-manifest.json").read_text(encoding="utf-8"))
    return next(key for key, value in manifest["node"].items() if value["exportedName"] == "order")


def next_requests(folder):
    """A Server Action, as a browser posts it, and a route handler."""
    headers = {"Next-Action": find_action(folder), "Content-Type": "text/plain;charset=UTF-8",
               "Accept": "text/x-component"}
    action = Request(600, "/", "POST", '["tea",2]', headers, lines=3)
    return action, Request(1000, "/api/stock?article=tea", lines=2)


def measure_next(bench):
    folder = build_next(bench)
    requests = next_requests(folder)
    variants = ["bare", "preloaded", "by-hand", "otel"]

    def start(variant):
        return Server(bench, folder, NEXT_START, variant)

    for request in requests:
        for variant in variants:
            start(variant).assert_traced(request)
    action, route = take_rounds(bench, start, variants, requests)
    report_variants(bench, "Next.js, Server Action", action, NEXT_GOALS)
    report_variants(bench, "Next.js, route handler", route, NEXT_GOALS)


def measure_start(bench):
    """bench_start makes the pairs; as for /bin/true, medians of blocks are what is compared."""
    args = [bench.program("bench_start"), str(bench.pick(200, 40)), str(bench.object), *find_node(bench), "-e", "0"]
    out = subprocess.run(args, env=bench.environment(False), stdout=subprocess.PIPE, check=True, text=True).stdout
    pairs = [tuple(float(field) / 1e6 for field in line.split()) for line in out.splitlines()]
    step = len(pairs) // 10
    blocks = [pairs[i:i + step] for i in range(0, len(pairs), step)]
    medians = [tuple(statistics.median(pair[side] for pair in block) for side in (0, 1)) for block in blocks]
    bench.report("start of node -e 0", "ms", medians, "added", ("<=", 5))
    bench.report("       as a ratio", "ms", medians, "ratio")


def measure_resident(bench, folder, preloaded):
    """Resident bytes after each of MEMORY_STEPS."""
    server = Server(bench, folder, [str(folder / "hello.js")], "preloaded" if preloaded else "bare")
    hello = Request(SMALL_ROUND)
    taken = []
    for count in MEMORY_STEPS:
        server.load(hello, count)
        taken.append(wait_until_quiet(server.process.pid)["rss"])
    server.stop()
    return taken


def measure_memory(bench):
    folder = install(bench, "bench-node")
    pairs = take_pairs(bench.pick(7, 2), lambda preloaded: measure_resident(bench, folder, preloaded))
    for place, label in ((0, "20,000 requests"), (-1, "100,000 requests")):
        resident = [(bare[place], pre[place]) for bare, pre in pairs]
        bench.report(f"node memory: {label}", "bytes", resident, "added", ("<=", 3 * MB))
    growth = [tuple(side[-1] - side[0] for side in pair) for pair in pairs]
    bench.report("       growth between the two", "bytes", growth, "added", ("<=", MB / 2))

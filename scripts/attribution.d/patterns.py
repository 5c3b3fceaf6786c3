"""The servers of the attribution experiment: how each is started, what it prints, and how much must be right."""
import dataclasses
import typing

import servers


@dataclasses.dataclass
class Pattern:
    name: str
    title: str
    group: str
    command: typing.Callable  # (bench, folder, port, up, level, env) -> words; env may be changed
    lines: int  # of each request
    calls: int = 1  # of each request
    # What must be right, of requests that are not pipelined; nothing of it where that depends on how busy the machine is:
    floor: float = 0.0  # of lines in front of the answer
    behind_floor: float = 0.0  # of lines behind it
    calls_floor: float = 0.0
    learns: int = 0  # requests of each server that may be unknown, until it was seen how it works
    short: bool = False
    levels: tuple = ("",)  # of optimization
    path: str = "/"
    logs_to_stderr: bool = False
    bare_lines: int = 0  # of a request that nobody knows: of the program that it starts, which gets the object only with an id
    most_calls: int = 0  # of a request, where some have more
    pipelines: bool = True
    memcached: bool = False  # speaks that, not HTTP
    fresh: bool = False  # callers say no ids: any will do that a request has for itself
    settings: dict = dataclasses.field(default_factory=dict)
    base: typing.Optional[dict] = None  # the settings that cost is measured against; none: without the object
    row: str = ""  # of the table, where several patterns share one
    most_connections: int = 0
    cold: bool = False  # the first requests come at once, before anything was seen of how it works


def program(name, *args):
    """A program of tests/programs, as it was compiled for this level."""
    def command(bench, folder, port, up, level, env):
        where = bench.programs if level in ("", "2") else bench.programs / f"O{level}"
        return [where / name, *args, port, up]
    return command


PATTERNS = []


def add(*args, **settings):
    PATTERNS.append(Pattern(*args, **settings))


# ---- workers that a reader thread gives whole requests to ------------------------------------------------------------

# What a worker's registers and stack hold depends on the compiler.
C = {"levels": ("2", "0", "3")}
QUEUES = {"fifo": "oldest first", "lifo": "newest first", "priority": "by priority", "batch": "eight at a time",
          "lazy": "oldest first, threads created on demand",
          "semaphore": "a ring without locks, a semaphore", "pipe": "through a pipe", "eventfd": "a list and an eventfd"}
JOBS = {"pointer": "blocks", "value": "copies", "slab": "slots of a slab", "session": "shared sessions"}

for queue, order in QUEUES.items():
    for job, kind in JOBS.items():
        add(f"pool-{queue}-{job}", f"{order}, jobs are {kind}", "reader → queue → workers",
            program("server_pool", queue, job), lines=6, row=order,
            short=(queue, job) in (("fifo", "pointer"), ("lifo", "session"), ("lazy", "pointer"), ("pipe", "value")), **C)
for job in "pointer", "slab":
    add(f"stages-{job}", f"three stages (SEDA), jobs are {JOBS[job]}", "reader → queue → workers",
        program("server_pool", "stages", job), lines=6, **C)
for order in "fifo", "lifo", "priority", "batch":
    add(f"functions-{order}", f"C++: std::function, {QUEUES[order]}", "reader → queue → workers",
        program("server_functions", order), lines=6, row="C++: std::function", **C)
for kind, title in ("task", "std::packaged_task"), ("async", "std::async"):
    add(f"functions-{kind}", f"C++: {title}", "reader → queue → workers", program("server_functions", kind), lines=6, **C)
# The same, with evidence of whose job a worker has. It is found where jobs are taken one by one, with a condition variable, and answered
# by who took them; a session has several requests' jobs, and std::function without optimization is not learned each time. Of the lines in front of the
# answer one in four is the reader's.
VALIDATED = {"TRACESHIM_ATTRIBUTION": "validated"}
FOUND = {"learns": 8000, "floor": 0.7, "calls_floor": 0.95, "behind_floor": 0.45}
for pool in PATTERNS[:]:
    kind, order, job = f"{pool.name}-".split("-")[:3]
    by_one = order in ("fifo", "lifo", "priority", "lazy")
    PATTERNS.append(dataclasses.replace(
        pool, name=f"validated-{pool.name}", group="the same, TRACESHIM_ATTRIBUTION=validated", short=False, settings=VALIDATED, base={},
        row=f"one at a time, jobs are {JOBS[job]}" if kind == "pool" and by_one else f"{pool.row}, one at a time" if by_one else pool.row,
        **(FOUND if kind == "pool" and by_one and job != "session" else {})))

# ---- who reads answers ----------------------------------------------------------------------------------------------

OWN = "who reads answers"
PROVEN = {"floor": 1, "calls_floor": 1}
# Before it is believed that a thread of a pool answers what it reads, it was seen to, 64 times.
LEARNED = {**PROVEN, "learns": 80}
for kind, title, settings in (
        ("thread", "a thread a connection", {**PROVEN, "behind_floor": 0.49, "short": True}),
        ("prefork", "prefork: processes that accept", {**PROVEN, "behind_floor": 1, "short": True}),
        ("accept", "threads that accept", {**PROVEN, "behind_floor": 0.49}),
        ("hand", "acceptor → threads that read", LEARNED),
        ("wander", "poller → threads that read one request", {**LEARNED, "short": True}),
        ("mixed", "the same, with background jobs in the same queue", {**LEARNED, "short": True}),
        ("requeue", "threads that read one request and queue its connection again", {**LEARNED, "short": True}),
        ("fork", "a process a connection", {**PROVEN, "behind_floor": 1}),
        ("cgi", "a thread a connection, a program a request (CGI)",
         {**PROVEN, "behind_floor": 0.49, "bare_lines": 2}),
        ("logger", "a thread a connection, a thread that logs for all", {"calls_floor": 1})):
    add(f"plain-{kind}", title, OWN, program("server_plain", kind), lines=6 if kind == "cgi" else 5, **C, **settings)

SPINS = "threads that hand over by memory alone"
for kind, title, lines, settings in (
        ("ring", "reader → ring → workers", 6, {}), ("disruptor", "reader → three threads in turn", 6, {}),
        ("stages", "three stages in one pool", 5, {"short": True}),
        ("accepting", "the same, and to accept is a task", 5, {}),
        ("steal", "an event loop a thread, who is idle takes others' requests", 5, {}),
        ("share", "the same, with one epoll set", 5, {}),
        ("wander", "poller → threads that read one request", 5, LEARNED),
        ("requeue", "threads that accept, read one request, and do background jobs, by one ring", 5, {**LEARNED, "short": True})):
    add(f"spin-{kind}", title, SPINS, program("server_spin", kind), lines=lines, cold=True, **C, **settings)

# ---- many requests on one thread -------------------------------------------------------------------------------------

LOOPS = "many requests on one thread"
for kind, title, settings in (
        ("callbacks", "event loop, callbacks", {"short": True}), ("timers", "event loop, timers", {}),
        ("pool", "event loop, a pool of connections with a queue", {"short": True}),
        ("queue", "event loop, a queue within the loop", {}),
        ("ticks", "event loop, timers that log and do not answer", {}),
        ("batch", "event loop, timers, answers at the end of the iteration", {}),
        ("previous", "event loop, timers that answer the one before", {})):
    add(f"events-{kind}", title, LOOPS, program("server_events", kind), lines=5, **C, **settings)
STACKS = {"floor": 0.7, "calls_floor": 0.7}
for kind, title, settings in (
        ("ucontext", "ucontext", {"short": True, **STACKS}), ("wander", "ucontext, on three threads", STACKS),
        ("ucontext-crew", "ucontext, eight for all connections", {}),
        ("ucontext-lend", "ucontext, eight for all connections and each other", {}), ("ucontext-stages", "ucontext, others answer", {}),
        ("ucontext-relay", "ucontext, others answer at times", {}),
        ("ucontext-swap", "ucontext, others answer on each other's stacks", {}),
        ("boost", "Boost.Context", STACKS), ("boost-swap", "Boost.Context, others answer on each other's stacks", {}),
        ("switch", "own switch", {}), ("mapped", "own switch, mapped", STACKS), ("kept", "own switch, kept", {}),
        ("mapped-crew", "own switch, mapped, eight for all connections", {}),
        ("mapped-swap", "own switch, mapped, others answer on each other's stacks", {"short": True}),
        ("kept-swap", "own switch, kept, others answer on each other's stacks", {})):
    add(f"fibers-{kind}", f"coroutines ({title})", LOOPS, program("server_fibers", kind), lines=4, calls=1, most_calls=2, **C, **settings)

# ---- other languages ------------------------------------------------------------------------------------------------


def script(*words):
    """A server of tests/apps/attribution: the word with a dot in it is its file."""
    def command(bench, folder, port, up, level, env):
        return [bench.apps / word if "." in word else word for word in words] + [port, up]
    return command


for kind, title, settings in (
        ("threads", "Python: a thread a connection", PROVEN),
        ("executor", "Python: reader → executor", {}),
        ("wander", "Python: poller → executor that reads one request", PROVEN),
        ("requeue", "Python: executor that reads one request and queues its connection again", PROVEN),
        ("asyncio", "Python: asyncio", {"floor": 0.999, "calls_floor": 0.999, "short": True}),
        ("loop", "Python: asyncio, calls in an executor", {"floor": 0.999}),
        ("gevent", "Python: gevent", {}), ("greenlets", "Python: greenlets, a loop of one's own", {})):
    add(f"python-{kind}", title, "Python, Ruby, Java, Node", script("/usr/bin/python3", "server.py", kind), lines=5, **settings)
for kind, title, settings in (("threads", "Ruby: a thread a connection", PROVEN),
                              ("pool", "Ruby: a thread a connection → queue → workers", {}),
                              ("requeue", "Ruby: workers that read one request and queue its connection again", PROVEN),
                              ("fibers", "Ruby: fibers", STACKS)):
    add(f"ruby-{kind}", title, "Python, Ruby, Java, Node", script("ruby", "server.rb", kind), lines=5, **settings)
for kind, title, settings in (("threads", "Java: a thread a connection", LEARNED),
                              ("executor", "Java: a thread a connection → executor", {}),
                              ("forkjoin", "Java: a thread a connection → ForkJoinPool, CompletableFuture", {}),
                              ("futures", "Java: HttpServer, HttpClient's futures", {})):
    add(f"java-{kind}", title, "Python, Ruby, Java, Node", script("java", "Server.java", kind), lines=5, **settings)
for kind, title in (("http", "Node: http"), ("fetch", "Node: fetch")):
    add(f"node-{kind}", title, "Python, Ruby, Java, Node", script("node", "server.js", kind), lines=5, **PROVEN)

# ---- servers that people run ----------------------------------------------------------------------------------------

REAL = "servers that people run"
add("real-nginx", "nginx, as a proxy", REAL, servers.nginx, lines=1, behind_floor=1, calls_floor=1)
add("real-apache", "Apache, event MPM, as a proxy", REAL, servers.apache, lines=1, behind_floor=1, calls_floor=1)
add("real-varnish", "varnish, which logs nothing", REAL, servers.varnish, lines=0)
add("real-gunicorn-sync", "gunicorn, sync", REAL, servers.gunicorn("--workers", 4), lines=6, pipelines=False, **PROVEN)
add("real-gunicorn-gthread", "gunicorn, gthread", REAL,
    servers.gunicorn("--worker-class", "gthread", "--workers", 2, "--threads", 8), lines=6, pipelines=False, **PROVEN)
add("real-gunicorn-gevent", "gunicorn, gevent", REAL, servers.gunicorn("--worker-class", "gevent", "--workers", 2), lines=6,
    pipelines=False)
add("real-uvicorn", "uvicorn", REAL, servers.uvicorn, lines=5, floor=0.999, calls_floor=0.999)
add("real-waitress", "waitress", REAL, servers.waitress, lines=5)
# Its reactor reads what does not come at once, and hands it on: the more requests, the busier the machine is.
add("real-puma", "puma", REAL, servers.puma, lines=5, floor=0.7, calls_floor=0.7, learns=80)
add("real-tomcat", "tomcat", REAL, servers.tomcat, lines=5, **LEARNED)
# What it logs is what it was told, with -vv: no caller says an id, and nothing may have one; or, as RAW asks, one of its own.
add("real-memcached", "memcached, no HTTP", REAL, servers.memcached, lines=2, calls=0, memcached=True, logs_to_stderr=True)
add("real-memcached-raw", "memcached, TRACESHIM_RAW=on", REAL, servers.memcached, lines=2, calls=0, memcached=True,
    logs_to_stderr=True, fresh=True, pipelines=False, settings={"TRACESHIM_RAW": "on"})

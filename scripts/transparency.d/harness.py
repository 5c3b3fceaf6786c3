"""
What every suite of scripts/transparency shares: the configurations, a run of one unit in one of them, and what a program
wrote, taken out of its records again.
"""
import contextlib
import glob
import hashlib
import json
import os
import re
import shutil
import signal
import stat
import subprocess
import threading
import time

# What 'everything' adds to a request's head, to be taken out where a suite compares heads.
RESPONSE_HEADER = "x-transparency-id"
TRACE_HEADERS = ("traceparent", "tracestate", "baggage", "b3", "x-b3-traceid", "x-b3-spanid", "x-b3-sampled",
                 "x-b3-parentspanid", "uber-trace-id", "x-trace-id", "x-request-id", RESPONSE_HEADER)
MODES = {
    "logs": {},
    "traced": {"TRACESHIM_LOG": "off"},
    "everything": {
        "OTEL_PROPAGATORS": "tracecontext,baggage,b3,b3multi,jaeger",
        "OTEL_RESOURCE_ATTRIBUTES": "service.version=1,deployment.environment.name=test",
        "OTEL_SERVICE_NAME": "transparency",
        "TRACESHIM_FORMAT": "ecs",
        "TRACESHIM_HEADERS": "x-trace-id,x-request-id",
        "TRACESHIM_LOG_BAGGAGE": "tenant",
        "TRACESHIM_LOG_FILES": "/**/transparency-*.log",
        "TRACESHIM_LOG_HEADERS": "x-user-id=userId",
        "TRACESHIM_LOG_TTY": "on",
        "TRACESHIM_RAW": "on",
        "TRACESHIM_RESPONSE_HEADER": RESPONSE_HEADER,
    },
}
# Of the caller's environment, what would make a run here another than elsewhere.
DROPPED = re.compile(r"LD_|NODE_|npm_|TRACE|OTEL_|BAGGAGE|PYTHON|PYENV|PERL|RUBY|GEM_|JAVA|JDK|GIT_|MAKE|MFLAGS|BATS_|CC$|CFLAGS|.*_proxy$", re.I)
SYSTEM_PATH = "/usr/sbin:/usr/bin:/sbin:/bin"


# Those of our children that somebody here waits for. All others were left behind by a test, and came to us when their parent ended.
awaited = set()
starting = threading.Lock()


@contextlib.contextmanager
def child(command, **options):
    with starting:
        process = subprocess.Popen(command, start_new_session=True, stdin=subprocess.DEVNULL, **options)
        awaited.add(process.pid)
    with process:
        yield process
    awaited.discard(process.pid)


def children():
    with starting:
        for path in glob.glob("/proc/self/task/*/children"):
            try:
                with open(path, encoding="ascii") as file:
                    yield from (pid for pid in map(int, file.read().split()) if pid not in awaited)
            except OSError:
                pass  # a thread that has ended


def bury():
    """What ended, and has nobody to wait for it any more: thousands, with some tests of shells."""
    for pid in list(children()):
        try:
            os.waitpid(pid, os.WNOHANG)
        except ChildProcessError:
            pass


class Finished:
    """What a command came to."""

    def __init__(self, status, out, err):
        self.status = status
        self.out = out
        self.err = err


class Missing(Exception):
    """What a unit needs is not on this machine, so it can say nothing: an error, and no outcome."""


class Unit:
    """A piece of a suite that runs on its own: `cases` takes a Run, and returns {name of a test: its outcome}."""

    def __init__(self, name, cases):
        self.name = name
        self.cases = cases


class Run:
    """One run of a unit: its configuration, environment and scratch folder."""

    def __init__(self, mode, folder, library, limit):
        self.mode = mode
        self.folder = folder
        self.limit = limit
        self.records = mode in MODES and MODES[mode].get("TRACESHIM_LOG") != "off"
        self.environment = {name: value for name, value in os.environ.items() if not DROPPED.match(name)}
        self.environment.update(PATH=SYSTEM_PATH, HOME=folder, TMPDIR=folder, LC_ALL="C.UTF-8", TERM="dumb", TZ="UTC")
        if mode in MODES:
            self.environment.update(MODES[mode], LD_PRELOAD=library, TRACESHIM_RUN_DIR=os.path.join(folder, "run"))

    def call(self, command, cwd=None, extra=None):
        """Run a command, with its output in pipes as a collector would have it; what it leaves behind is ended."""
        with child(command, cwd=cwd or self.folder, env={**self.environment, **(extra or {})}, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
            said = {}
            readers = [threading.Thread(target=drain, args=(pipe, said, name), daemon=True)
                       for name, pipe in (("out", process.stdout), ("err", process.stderr))]
            for reader in readers:
                reader.start()
            try:
                status = process.wait(self.limit)
            except subprocess.TimeoutExpired:
                status = "none: it hangs"
            try:
                os.killpg(process.pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
            for reader in readers:
                # One that has left the session may still hold the pipe; the driver ends it in the end.
                reader.join(5)
            return Finished(status, b"".join(said["out"]), b"".join(said["err"]))

    def plain(self, data):
        """The program's own text, out of its records if there should be some."""
        return unwrapped(data) if self.records else data.decode("utf-8", "replace")

    def discard(self):
        shutil.rmtree(self.folder, ignore_errors=True)


def drain(pipe, said, name):
    parts = said[name] = []
    while True:
        try:
            part = os.read(pipe.fileno(), 65536)
        except (OSError, ValueError):
            return
        if not part:
            return
        parts.append(part)


def unwrapped(data):
    parts = []
    for line in data.decode("utf-8", "replace").splitlines(keepends=True):
        try:
            record = json.loads(line)
            message = record["message"]
        except (ValueError, TypeError, KeyError):
            parts.append(line)
            continue
        parts.append(message + ("" if record.get("partial") and not record.get("partial_last") else "\n"))
    return "".join(parts)


def scripted(run, scripts, shell=("/bin/bash", "-c"), extra=None, tidy=None):
    """
    Run each of {name: script}; its outcome is its exit status, its output, and the files that it left.

    tidy    takes away of the output what is another each time
    """
    cases = {}
    run.reasons = {}
    for number, (name, script) in enumerate(scripts.items()):
        folder = os.path.join(run.folder, f"case{number}")
        os.mkdir(folder)
        ended = run.call([*shell, script], cwd=folder, extra=extra)
        parts = [f"status {ended.status}"]
        for word, data in (("out", ended.out), ("err", ended.err)):
            # The record of a line that ends in CR LF has neither.
            text = run.plain(data).replace("\r\n", "\n").replace(folder, "HERE").replace(run.folder, "RUN")
            # The newline that a last line has not is not in its record either.
            parts.append(f"{word}: {(tidy(text) if tidy else text).rstrip(chr(10))}")
        parts += files_left(folder)
        whole = "\n".join(parts)
        cases[name] = f"{ended.status} {hashlib.sha256(whole.encode()).hexdigest()[:12]}"
        run.reasons[name] = whole[-6000:]
        shutil.rmtree(folder, ignore_errors=True)
    return cases


def files_left(folder):
    """Each file by name, mode and content; what ends in .any may be another each time."""
    said = []
    for root, folders, names in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.endswith(".any"))
        for name in sorted([*folders, *(name for name in names if not name.endswith(".any"))]):
            path = os.path.join(root, name)
            about = os.lstat(path)
            if stat.S_ISLNK(about.st_mode):
                content = os.readlink(path)
            elif stat.S_ISREG(about.st_mode):
                with open(path, "rb") as file:
                    content = hashlib.file_digest(file, "sha256").hexdigest()[:16]
            else:
                content = ""
            said.append(f"file {os.path.relpath(path, folder)} {about.st_mode:o} {content}")
    return said


class Server:
    """A program of the suite's own, in the run's configuration; it says its port in a file."""

    def __init__(self, run, command, extra=None, name="port"):
        self.run = run
        self.portfile = os.path.join(run.folder, f"{name}.any")
        self.command = [*command, self.portfile]
        self.extra = extra or {}

    def __enter__(self):
        with open(self.portfile + ".log", "wb") as log:
            self.held = child(self.command, cwd=self.run.folder, env={**self.run.environment, **self.extra}, stdout=log, stderr=log)
            self.process = self.held.__enter__()
        for _ in range(self.run.limit * 50):
            if os.path.exists(self.portfile):
                with open(self.portfile, encoding="ascii") as file:
                    return file.read().strip()
            if self.process.poll() is not None:
                break
            time.sleep(0.02)
        self.__exit__()
        return "0"

    def __exit__(self, *_):
        try:
            os.killpg(self.process.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        self.held.__exit__(None, None, None)

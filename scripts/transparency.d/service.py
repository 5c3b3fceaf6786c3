"""
What the cases with real servers share: a case starts servers in the run's configuration, asks them, ends them, and compares what they
answered, how they ended and what they logged.

A server is the root of its own tree, as it is under a supervisor: its stdout and stderr are one file. Its log counts as the bag of its
lines, taken out of their records: processes and threads write in an order of their own, and each number, time and path in it is another
each time. That every line is a record is an outcome of its own. What fails bare, too, is never equal: a server that does not start, or
an answer without what it must have, says which run it was.
"""
import collections
import contextlib
import hashlib
import json
import os
import pwd
import re
import shutil
import signal
import socket
import subprocess
import time

import harness

# Response fields that are another each time, and the one that 'everything' asks for.
CHANGING = re.compile(rf"(?:date|age|expires|last-modified|etag|set-cookie|x-varnish|{harness.RESPONSE_HEADER}): .*", re.I)
# In a log: ids of sessions and keys, numbers in any base, the names of days.
NUMBER = re.compile(r"(?<=[<:])[A-Za-z0-9+/]{16,}={0,2}|\b(?:0x)?(?=[0-9a-f]*\d)[0-9a-f]{5,}\b|\b(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun)\b|\d+(?:\.\d+)?", re.I)
EXPORT = {"TRACESHIM_EXPORT": "traces,logs"}


def digest(text):
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def account(user):
    """Users come with packages, and may be gone though a package is there."""
    try:
        return pwd.getpwnam(user)
    except KeyError:
        raise harness.Missing(f"the user '{user}'") from None


def user_or_self(user):
    """Who servers that refuse root run as: `user` where we may choose, else ourselves."""
    return account(user).pw_name if os.geteuid() == 0 else pwd.getpwuid(os.geteuid()).pw_name


class NotStarted(Exception):
    """What a case without its server would ask has no answer, and some clients never give up."""


class Started:
    def __init__(self, name, held, process, log, drop, plain):
        self.name, self.held, self.process, self.log = name, held, process, log
        self.drop, self.plain = drop, plain


class Case:
    """The servers of one run of a unit, and what became of them: `outcomes`, {what: outcome}."""

    def __init__(self, run):
        self.run = run
        self.ports = []
        self.started = []
        self.outcomes = {}
        run.reasons = {}
        # Servers change their user, who is to reach their files, and the object.
        os.chmod(os.path.dirname(run.folder), 0o755)
        os.chmod(run.folder, 0o777)
        if "LD_PRELOAD" in run.environment:
            copy = os.path.join(run.folder, "libtraceshim.so")
            shutil.copyfile(run.environment["LD_PRELOAD"], copy)
            os.chmod(copy, 0o755)
            run.environment["LD_PRELOAD"] = copy
        if run.mode == "everything":
            run.environment.update(EXPORT)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        while self.started:
            self.end(self.started[-1].name)

    def say(self, what, outcome, reason):
        self.outcomes[what] = outcome
        self.run.reasons[what] = reason[-6000:]

    def ours(self):
        """The names of our variables, for servers that hand on only what they are told to."""
        return " ".join(sorted(name for name in self.run.environment if name.startswith(("LD_PRELOAD", "TRACESHIM_", "OTEL_")))) + " TRACESHIM_STDIO"

    def port(self):
        while True:
            with socket.socket() as s:
                s.bind(("127.0.0.1", 0))
                number = s.getsockname()[1]
            # Servers put other ports of theirs beside it.
            if number not in self.ports and number < 60000:
                self.ports.append(number)
                return number

    def path(self, name):
        return os.path.join(self.run.folder, name)

    def folder(self, name, owner=None):
        path = self.path(name)
        os.makedirs(path)
        os.chmod(path, 0o755)
        if owner and os.geteuid() == 0:
            shutil.chown(path, account(owner).pw_uid)
        return path

    def file(self, name, text, mode=0o644):
        path = self.path(name)
        with open(path, "w", encoding="utf-8") as file:
            file.write(text)
        os.chmod(path, mode)
        return path

    def as_user(self, user):
        """What starts a command as another user, where we may."""
        if os.geteuid() != 0:
            return []
        entry = account(user)
        return ["/usr/bin/setpriv", f"--reuid={entry.pw_uid}", f"--regid={entry.pw_gid}", "--init-groups"]

    def serve(self, name, command, port=None, ready=None, user=None, extra=None, drop=None, plain=None, cwd=None):
        """
        Start a server, and wait until it listens on `port`, or `ready` says so. One that does not ends the case.

        drop    lines of its log that are not compared (a regular expression, searched)
        plain   lines of its log that need not be records: of programs out of reach (the same)
        """
        log = self.path(f"{name}.log")
        ready = ready or (lambda: listens(port))
        environment = {**self.run.environment, **(extra or {})}
        with open(log, "ab") as output:
            held = harness.child([*(self.as_user(user) if user else []), *command], cwd=cwd or self.run.folder, env=environment, stdout=output, stderr=output)
            process = held.__enter__()
        self.started.append(Started(name, held, process, log, drop, plain))
        until = time.monotonic() + self.run.limit / 2
        while not ready():
            if process.poll() is not None or time.monotonic() > until:
                self.say(f"{name}: starts", f"not {self.run.mode}: status {process.poll()}", self.text(log))
                raise NotStarted(name)
            time.sleep(0.02)
        self.say(f"{name}: starts", "ok", "")

    def tidy(self, text):
        for number, port in enumerate(self.ports):
            text = re.sub(rf"\b{port}\b", f"PORT{number}", text)
        text = text.replace("\r\n", "\n").replace(self.run.folder, "RUN")
        return "".join(line + "\n" for line in text.splitlines() if not CHANGING.fullmatch(line))

    def text(self, path):
        try:
            with open(path, "rb") as file:
                return self.run.plain(file.read())
        except FileNotFoundError:
            return ""

    def ask(self, what, script, expect="", drop=None, user=None, extra=None):
        """A client's script, which is a case of its own: its status and output. `expect` must be in it; `drop` is not compared."""
        shell = [*(self.as_user(user) if user else []), "/bin/bash", "-c", script]
        ended = self.run.call(shell, extra=extra)
        text = self.tidy(self.run.plain(ended.out)) + "err: " + self.tidy(self.run.plain(ended.err))
        if drop:
            text = "".join(line + "\n" for line in text.splitlines() if not re.search(drop, line))
        text = f"status {ended.status}\n{text}"
        outcome = f"{ended.status} {digest(text)}"
        self.say(what, outcome if expect in text else f"{self.run.mode}: no '{expect}'", text)

    def compare_log(self, name, path, drop=None):
        lines = [re.sub(" +", " ", NUMBER.sub("N", line)) for line in self.tidy(self.text(path)).splitlines() if not (drop and re.search(drop, line))]
        text = "\n".join(f"{count} x {line}" for line, count in sorted(collections.Counter(lines).items()))
        self.say(f"{name}: log", f"{len(lines)} lines {digest(text)}", text)

    def end(self, name, number=signal.SIGTERM, command=None):
        """End a server, by a signal or a command: its status and its log are cases."""
        one = next(one for one in self.started if one.name == name)
        self.started.remove(one)
        if command:
            self.run.call(command)
        elif one.process.poll() is None:
            one.process.send_signal(number)
        try:
            status = one.process.wait(self.run.limit / 4)
        except subprocess.TimeoutExpired:
            status = "none: it does not end"
        try:
            os.killpg(one.process.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        one.held.__exit__(None, None, None)
        self.say(f"{name}: ends", str(status), self.text(one.log))
        self.compare_log(name, one.log, one.drop)
        self.say(f"{name}: records", *self.all_records(one))

    def all_records(self, one):
        """Whether each line of a log is a record, where it is to be."""
        if not self.run.records:
            return "all", ""
        with open(one.log, encoding="utf-8", errors="replace") as file:
            strange = [line for line in file.read().splitlines() if not is_record(line) and not (one.plain and re.search(one.plain, line))]
        return ("all", "") if not strange else (f"{len(strange)} lines are none", "\n".join(strange))


def is_record(line):
    try:
        return isinstance(json.loads(line), dict)
    except ValueError:
        return False


def listens(port):
    """Told without a connection, which servers would log. A thread of ours has a network of its own (scripts/transparency)."""
    wanted = f":{port:04X}"
    for table in ("tcp", "tcp6"):
        try:
            with open(f"/proc/thread-self/net/{table}", encoding="ascii") as file:
                for line in file:
                    words = line.split()
                    if words[1].endswith(wanted) and words[3] == "0A":
                        return True
        except OSError:
            pass
    return False


def unit(name, function):
    """A unit of `function`, which is called with a Case."""
    def cases(run):
        with Case(run) as case, contextlib.suppress(NotStarted):
            function(case)
        return case.outcomes
    return harness.Unit(name, cases)

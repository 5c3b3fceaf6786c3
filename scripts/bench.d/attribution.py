"""
Node: how many lines name their own request, over everything that a program waits for (tests/apps/node/server.js), by the
number of connections, and with a reader of the log that is slower than its writer. Every line says whose it is, so each is
right, without ids, or wrong; see tests/preload/attribution. At least 300,000 lines in all, unless --quick.
"""
import os
import pathlib
import re
import subprocess
import time

from harness import free_port, wait_for_port
from node import find_node, install

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
TESTS = ROOT / "tests" / "preload"
CONNECTIONS = (1, 50, 200, 500)
REQUESTS = 4500
REQUESTS_ALONE = 2500  # one after the other, each waits for all its timers
LINES = 10  # the least that a request logs
LIMIT_S = 600


def judge(log, requests):
    """{right, none, wrong, no_record: number of lines}; the program says why it is not content, which is our business here."""
    command = [str(TESTS / "attribution"), "count", str(log), "--requests", str(requests), "--none", "any"]
    said = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False).stdout
    return {name: int(number) for name, number in re.findall(r"(\w+)=(\d+)", said.splitlines()[0])}


def wait_until_read(log, requests):
    """Behind its responses the program has lines that wait for the reader, and they end with it."""
    deadline = time.monotonic() + LIMIT_S
    while log.read_bytes().count(b' ends"') < requests:
        if time.monotonic() > deadline:
            raise RuntimeError("the log's reader does not get on")
        time.sleep(0.2)


def count_lines(bench, folder, connections, slow, requests):
    port, log, pipe = free_port(), bench.dir / "attribution.log", bench.dir / "attribution.pipe"
    os.mkfifo(pipe)
    reader = bench.start([str(TESTS / "plumbing"), "reader", str(pipe), str(log), *(["slow"] if slow else [])])
    # Standard error has what comes behind a response, which may be nobody's.
    with open(pipe, "wb") as out:
        server = bench.start([*find_node(bench), str(folder / "server.js"), str(port)], True, stdin=subprocess.DEVNULL,
                             stdout=out, stderr=subprocess.DEVNULL)
    wait_for_port(port, server)
    bench.assert_preloaded(server)
    subprocess.run([str(TESTS / "attribution"), "burst", f"http://127.0.0.1:{port}/", "--numbered", "--requests",
                    str(requests), "--connections", str(connections)], check=True, timeout=LIMIT_S)
    wait_until_read(log, requests)
    bench.stop(server)
    reader.wait(LIMIT_S)
    bench.stop(reader)
    found = judge(log, requests)
    log.unlink()
    pipe.unlink()
    return found


def measure_attribution(bench):
    """Of each row: the share that is right, of at least so many lines; and how many are wrong."""
    folder = install(bench, "node")
    total = 0
    for slow in (False, True):
        for connections in CONNECTIONS:
            requests = bench.pick(REQUESTS if connections > 1 else REQUESTS_ALONE, 100)
            found = count_lines(bench, folder, connections, slow, requests)
            lines = found["right"] + found["none"] + found["wrong"] + found["no_record"]
            if lines < LINES * requests:
                raise RuntimeError(f"{lines} lines of {requests} requests: some are lost")
            total += lines
            name = f"lines, {connections} connection{'s' * (connections > 1)}{', slow' * slow}"
            sides = ("lines", "right")
            bench.report(name, "% right", [(lines, 100 * found["right"] / lines)], "preloaded", (">=", 99.9), sides)
            wrong = found["wrong"] + found["no_record"]
            bench.report(f"       wrong; none: {found['none']}", "lines", [(lines, wrong)], "preloaded", ("<=", 0), sides)
    bench.report("lines, all", "lines", [(total, total)], "preloaded", (">=", bench.pick(300000, LINES * 800)))

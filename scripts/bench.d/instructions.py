"""
Instructions a request, counted by callgrind: the one number that no neighbour on the machine can disturb. A server is
run with N requests and with 2 N; the difference, divided by N, is what one request takes, start and stop left out.
"""
import pathlib
import re
import socket
import time

from harness import free_port, take_pairs, wait_for_port
from web import EVERYTHING_ON, Nginx

GOAL = ("<=", 3000)
REQUESTS = 200


def valgrind(bench, out):
    return [bench.tool("valgrind"), "--tool=callgrind", "-q", f"--callgrind-out-file={out}"]


def send_requests(port, path, number):
    """`number` requests on one connection, one after the other, the same bytes each time."""
    message = f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nUser-Agent: bench\r\n\r\n".encode()
    with socket.create_connection(("127.0.0.1", port), 60) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        reader = connection.makefile("rb")
        for _ in range(number):
            connection.sendall(message)
            length = 0
            status = reader.readline()
            if b" 200 " not in status:
                raise RuntimeError(f"callgrind: the server answered {status!r}")
            while (line := reader.readline().lower()) not in (b"\r\n", b""):
                if line.startswith(b"content-length:"):
                    length = int(line.split(b":")[1])
            reader.read(length)


def read_total(path):
    """Instructions over all threads: callgrind writes a "totals:" line at the end of its file."""
    found = re.findall(r"^totals: (\d+)", path.read_text(encoding="utf-8"), re.MULTILINE)
    if not found:
        raise RuntimeError("callgrind: the server did not end by itself, so that nothing was counted")
    return int(found[-1])


def settle(process):
    """
    Until the server sleeps, waiting for work. A SIGTERM that comes just before nginx' epoll_wait sets its flag and is
    then waited out for ever: a process without master and workers looks at the flag only after an event.
    """
    stat = pathlib.Path(f"/proc/{process.pid}/stat")
    asleep = 0
    while process.poll() is None and asleep < 5:
        state = stat.read_text(encoding="utf-8", errors="replace").rsplit(")", 1)[1].split()[0]
        asleep = asleep + 1 if state == "S" else 0
        time.sleep(0.02)


def count_nginx(bench, path, upstream, number, preloaded, more=None):
    out = bench.dir / "callgrind.out"
    server = Nginx(bench, bench.new_name(), preloaded, upstream=upstream, command=valgrind(bench, out), cpu=None,
                   main="master_process off;", more=more)
    send_requests(server.port, path, number)
    settle(server.process)
    server.stop()
    return read_total(out)


def count_c_server(bench, number, preloaded):
    out, port = bench.dir / "callgrind.out", free_port()
    with open(bench.dir / "counted.log", "wb") as log:
        args = [*valgrind(bench, out), bench.program("demo_server"), str(port), "0"]
        server = bench.start(args, preloaded, env=EVERYTHING_ON if preloaded else {}, stdout=log, stderr=log)
        wait_for_port(port, server)
        send_requests(port, "/?n=7", number)
        settle(server)
        bench.stop(server)
    return read_total(out)


def measure_instructions(bench):
    def report(name, count):
        def measure(preloaded):
            return (count(2 * REQUESTS, preloaded) - count(REQUESTS, preloaded)) / REQUESTS
        bench.report(f"instructions: {name}", "instr.", take_pairs(bench.pick(3, 1), measure), "added", GOAL)

    report("nginx, file", lambda number, preloaded: count_nginx(bench, "/tiny", 1, number, preloaded))
    if bench.quick:
        return
    behind = Nginx(bench, "behind-counted", False, log="off", cpu=None)
    report("nginx, proxy", lambda number, preloaded: count_nginx(bench, "/proxy/tiny", behind.port, number, preloaded))
    behind.stop()
    report("C server", lambda number, preloaded: count_c_server(bench, number, preloaded))

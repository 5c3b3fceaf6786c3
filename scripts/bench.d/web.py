"""
nginx, bare and preloaded at the same time on two ports, loaded by wrk in turns: a tiny file over kept-alive connections
and with a connection a request, and as a proxy before another, always bare, nginx. One worker on a processor of its own
where there are enough of them; the load on another.
"""
import os
import pathlib
import re
import subprocess

from harness import free_port, take_pairs, wait_for_port

GOAL = (">=", 0.97)
EVERYTHING_ON = {"TRACESHIM_RESPONSE_HEADER": "x-trace-id", "OTEL_SERVICE_NAME": "bench"}

CONFIG = """
daemon off;
%(main)s
pid %(dir)s/nginx.pid;
error_log stderr error;
events { worker_connections 1024; }
http {
	access_log %(log)s;
	client_body_temp_path %(dir)s/body;
	proxy_temp_path %(dir)s/proxy;
	fastcgi_temp_path %(dir)s/fastcgi;
	uwsgi_temp_path %(dir)s/uwsgi;
	scgi_temp_path %(dir)s/scgi;
	keepalive_requests 10000000;
	sendfile on;
	upstream behind {
		server 127.0.0.1:%(upstream)d;
		keepalive 64;
	}
	server {
		listen 127.0.0.1:%(port)d backlog=1024;
		location / { root %(dir)s/files; }
		location /proxy/ {
			proxy_pass http://behind/;
			proxy_http_version 1.1;
			proxy_set_header Connection "";
		}
	}
}
"""


class Nginx:
    """One nginx with a folder of its own, and its standard output in a file there."""

    def __init__(self, bench, name, preloaded, log="/dev/stdout", upstream=1, cpu=1, command=(),
                 main="worker_processes 1;", more=None):
        self.bench = bench
        self.port = free_port()
        self.dir = bench.dir / name
        (self.dir / "files").mkdir(parents=True)
        (self.dir / "files" / "tiny").write_text("hello\n", encoding="ascii")
        self.log = self.dir / ("out.log" if log == "/dev/stdout" else "access.log")
        values = {"dir": self.dir, "main": main, "port": self.port, "upstream": upstream,
                  "log": log if log.startswith("/dev") or log == "off" else self.log}
        (self.dir / "nginx.conf").write_text(CONFIG % values, encoding="utf-8")
        args = [*command, bench.tool("nginx"), "-e", "stderr", "-p", str(self.dir), "-c", str(self.dir / "nginx.conf")]
        env = {**EVERYTHING_ON, **(more or {})} if preloaded else {}
        # Appended to, so that cutting a log short between two rounds leaves no hole.
        with open(self.dir / "out.log", "ab") as out, open(self.dir / "err.log", "ab") as err:
            self.process = bench.start(args, preloaded, cpu=cpu, env=env, stdout=out, stderr=err)
        wait_for_port(self.port, self.process)

    def cpu_ns(self):
        """Processor time of the worker so far: what the neighbours on the machine do is not in it."""
        master = pathlib.Path(f"/proc/{self.process.pid}/task/{self.process.pid}")
        children = (master / "children").read_text(encoding="ascii")
        return int(pathlib.Path(f"/proc/{children.split()[0]}/schedstat").read_text(encoding="ascii").split()[0])

    def stop(self):
        self.bench.stop(self.process)


def run_wrk(bench, server, path, close):
    """One round of load. Returns (requests a second, microseconds of processor time a request)."""
    args = [bench.tool("wrk"), "-t1", "-c32", "-d1s"]
    if close:
        args += ["-H", "Connection: close"]
    before = server.cpu_ns()
    process = bench.start([*args, f"http://127.0.0.1:{server.port}{path}"], cpu=3, stdout=subprocess.PIPE, text=True)
    out = process.communicate()[0]
    bench.stop(process)
    if "Non-2xx" in out or "Requests/sec" not in out:
        raise RuntimeError(f"wrk: {out}")
    if server.log.exists():
        os.truncate(server.log, 0)
    requests = int(re.search(r"(\d+) requests in", out)[1])
    return float(re.search(r"Requests/sec:\s*([\d.]+)", out)[1]), (server.cpu_ns() - before) / requests / 1000


def measure_variant(bench, name, log, path="/tiny", close=False, upstream=1, more=None):
    """One line of the table: two servers side by side, loaded in turns."""
    folder = re.sub(r"\W+", "-", name)
    servers = {p: Nginx(bench, f"{folder}-{'preloaded' if p else 'bare'}", p, log, upstream, more=more) for p in (False, True)}
    bench.assert_preloaded(servers[True].process)
    try:
        run_wrk(bench, servers[False], path, close)  # the first round finds cold caches
        pairs = take_pairs(bench.pick(15, 3), lambda preloaded: run_wrk(bench, servers[preloaded], path, close))
    finally:
        for server in servers.values():
            server.stop()
    bench.report(name, "req/s", [(bare[0], pre[0]) for bare, pre in pairs], "ratio", GOAL)
    bench.report("       processor time of it", "us/req", [(bare[1], pre[1]) for bare, pre in pairs], "ratio")


def measure_nginx(bench):
    bench.tool("wrk")
    measure_variant(bench, "nginx: keep-alive, log as it is", "file")
    measure_variant(bench, "nginx: keep-alive, everything on", "/dev/stdout")
    measure_variant(bench, "nginx: close, log as it is", "file", close=True)
    measure_variant(bench, "nginx: close, everything on", "/dev/stdout", close=True)
    behind = Nginx(bench, "behind", False, log="off", cpu=2)
    try:
        measure_variant(bench, "nginx: proxy, everything on", "/dev/stdout", path="/proxy/tiny", upstream=behind.port)
    finally:
        behind.stop()

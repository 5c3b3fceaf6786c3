"""
nginx, bare and preloaded at the same time on ports of their own: a tiny file over kept-alive connections and with a
connection a request, and as a proxy before another, always bare, nginx. One worker on a processor of its own where there
are enough of them; the load on another.

Everything that is on shows as bytes: a log line of 90 bytes is a record of 320, the response has a head line more, and so has
the request that a proxy sends. A third nginx, bare, is told to write as many itself, as constant text: what that one loses
is the kernel's price for bytes, and what is lost beyond it is ours.

A round is a fixed number of requests and takes a fiftieth of a second: what else the machine does changes more slowly, and so
hits all sides of a turn alike. The ratio of a turn still scatters by ten percent; of four hundred the mean is known to
less than one (harness.py), which the row 'bare against bare' shows. With rounds of a second, as many seconds say a third of
it. Processor time is that of nginx' worker: it is what to look at on a machine that others use, and where the other end of a
connection decides how fast requests come.
"""
import os
import pathlib
import re
import subprocess

from harness import free_port, take_turns, wait_for_port

GOAL = (">=", 0.97)
TLS_GOAL = (">=", 0.98)
CPU_GOAL = ("<=", 1 / 0.97)  # the same of a server that has nothing else to do
EVERYTHING_ON = {"TRACESHIM_RESPONSE_HEADER": "x-trace-id", "OTEL_SERVICE_NAME": "bench"}
CONNECTIONS = 32
ROUND_S = 0.02
LINE = ('$remote_addr - $remote_user [$time_local] "$request" $status $body_bytes_sent "$http_referer" '
        '"$http_user_agent"')
TRACE_ID = "0af7651916cd43dd8448eb211c80319c"
RESPONSE_HEADER = f"add_header x-trace-id {TRACE_ID};"
CALL_HEADERS = f"""
			proxy_set_header x-trace-id {TRACE_ID};
			proxy_set_header traceparent 00-{TRACE_ID}-b7ad6b7169203331-01;"""

CONFIG = """
daemon off;
%(main)s
pid %(dir)s/nginx.pid;
error_log stderr error;
events { worker_connections 1024; }
http {
	log_format line '%(format)s';
	access_log %(log)s;
	client_body_temp_path %(dir)s/body;
	proxy_temp_path %(dir)s/proxy;
	fastcgi_temp_path %(dir)s/fastcgi;
	uwsgi_temp_path %(dir)s/uwsgi;
	scgi_temp_path %(dir)s/scgi;
	keepalive_requests 10000000;
	sendfile on;
	%(response_header)s
	upstream behind {
		server 127.0.0.1:%(upstream)d;
		keepalive 64;
	}
	%(certificate)s
	server {
		listen 127.0.0.1:%(port)d %(tls)s backlog=1024;
		location / { root %(dir)s/files; }
		location /proxy/ {
			proxy_pass http://behind/;
			proxy_http_version 1.1;
			proxy_set_header Connection "";%(call_headers)s
		}
	}
}
"""


class Nginx:
    """
    One nginx with a folder of its own, and its standard output in a file there. `longer`: so many bytes are added to each
    line of the log, and the head lines of what is preloaded to the messages.
    """

    def __init__(self, bench, name, preloaded, log="/dev/stdout", upstream=1, cpu=1, command=(),
                 main="worker_processes 1;", more=None, longer=None, certificate=None):
        self.bench = bench
        self.port = free_port()
        self.tls = certificate is not None
        self.dir = bench.dir / name
        (self.dir / "files").mkdir(parents=True)
        (self.dir / "files" / "tiny").write_text("hello\n", encoding="ascii")
        self.log = self.dir / ("out.log" if log == "/dev/stdout" else "access.log")
        target = log if log.startswith("/dev") or log == "off" else self.log
        values = {"dir": self.dir, "main": main, "port": self.port, "upstream": upstream,
                  "format": LINE + "." * (longer or 0), "log": target if longer is None else f"{target} line",
                  "response_header": RESPONSE_HEADER if longer is not None else "",
                  "tls": "ssl" if certificate else "",
                  "certificate": f"ssl_certificate {certificate}; ssl_certificate_key {certificate};" if certificate else "",
                  "call_headers": CALL_HEADERS if longer is not None else ""}
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


class Load:
    """What asks one nginx for one thing, in rounds."""

    def __init__(self, bench, server, path, close):
        self.bench = bench
        self.server = server
        kind = [*(["-c"] if close else []), *(["-s"] if server.tls else [])]
        end = "Connection: close\r\n" if close else ""
        request = f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{server.port}\r\n{end}\r\n"
        args = [bench.program("bench_load"), *kind, str(server.port), str(CONNECTIONS), request]
        self.process = bench.start(args, cpu=3, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def ask(self, count):
        """Nanoseconds that `count` requests take."""
        print(count, file=self.process.stdin, flush=True)
        answer = self.process.stdout.readline()
        if not answer:
            raise RuntimeError("the load on nginx failed")
        return int(answer)

    def run(self, count):
        """
        One round. Returns (requests a second, microseconds of processor time a request). Another server ran before, so the
        first few requests find nothing in the processor's caches, and do not count.
        """
        self.ask(max(CONNECTIONS, count // 8))
        before_ns = self.server.cpu_ns()
        taken_ns = self.ask(count)
        used_ns = self.server.cpu_ns() - before_ns
        if self.server.log.exists():
            os.truncate(self.server.log, 0)
        return count / taken_ns * 1e9, used_ns / count / 1000

    def line_length(self):
        """How many bytes a line of the log has."""
        count = 100
        self.ask(count)
        length = self.server.log.stat().st_size / count
        os.truncate(self.server.log, 0)
        return round(length)

    def stop(self):
        self.bench.stop(self.process)


def measure_variant(bench, name, log, path="/tiny", close=False, upstream=1, more=None, again=False, certificate=None):
    """Some lines of the table: servers side by side, loaded in turns. `again`: the bare one twice, as two."""
    folder = re.sub(r"\W+", "-", name)
    loads = {}

    def start(side, preloaded, longer=None):
        server = Nginx(bench, f"{folder}-{side}", preloaded, log, upstream, more=more, longer=longer,
                       certificate=certificate)
        loads[side] = Load(bench, server, path, close)

    try:
        start("bare", False)
        start("preloaded", True)
        bench.assert_preloaded(loads["preloaded"].server.process)
        if log == "/dev/stdout":
            start("longer", False, loads["preloaded"].line_length() - loads["bare"].line_length())
        if again:
            start("again", False)
        # What comes first finds cold caches; what comes next says how many requests a round is.
        rates = [[load.run(1000)[0] for load in loads.values()] for _ in range(2)]
        count = max(200, round(rates[1][0] * ROUND_S))
        turns = take_turns(bench.pick(400, 60), list(loads), lambda side: loads[side].run(count))
    finally:
        for load in loads.values():
            load.stop()
            load.server.stop()

    def report(label, first, second, goals=(None, None)):
        for place, row, unit in ((0, label, "req/s"), (1, "       processor time of it", "us/req")):
            pairs = [(turn[first][place], turn[second][place]) for turn in turns]
            bench.report(row, unit, pairs, "ratio", goals[place], (first, second))
    report(name, "bare", "preloaded", (TLS_GOAL, None) if certificate else (GOAL, CPU_GOAL))
    if "longer" in loads:
        report("  bare, writing as many bytes", "bare", "longer")
        report("  beyond that", "longer", "preloaded")
    if again:
        report("  bare against bare", "bare", "again")


def make_certificate(bench):
    """The path of one for localhost, in one file with its key."""
    certificate = bench.dir / "certificate.pem"
    subprocess.run([bench.tool("openssl"), "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes",
                    "-keyout", certificate, "-out", bench.dir / "public.pem", "-days", "3", "-subj", "/CN=localhost"],
                   check=True, stderr=subprocess.DEVNULL)
    with open(certificate, "a", encoding="ascii") as both:
        both.write((bench.dir / "public.pem").read_text(encoding="ascii"))
    return certificate


def measure_tls(bench):
    """What is inside TLS costs more to begin with, so that what we add is less of it: hence a goal of its own."""
    certificate = make_certificate(bench)
    measure_variant(bench, "nginx: TLS, log as it is", "file", again=True, certificate=certificate)
    measure_variant(bench, "nginx: TLS, everything on", "/dev/stdout", certificate=certificate)


def measure_nginx(bench):
    measure_variant(bench, "nginx: keep-alive, log as it is", "file", again=True)
    measure_variant(bench, "nginx: keep-alive, everything on", "/dev/stdout")
    measure_variant(bench, "nginx: close, log as it is", "file", close=True)
    measure_variant(bench, "nginx: close, everything on", "/dev/stdout", close=True)
    behind = Nginx(bench, "behind", False, log="off", cpu=2)
    try:
        measure_variant(bench, "nginx: proxy, everything on", "/dev/stdout", path="/proxy/tiny", upstream=behind.port)
    finally:
        behind.stop()

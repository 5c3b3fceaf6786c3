"""
nginx, bare and preloaded at the same time on ports of their own: a tiny file over kept-alive connections and with a
connection a request, and as a proxy before another, always bare, nginx. One worker on a processor of its own where there
are enough of them; the load on another.

Everything that is on shows as bytes: a log line of 90 bytes is a record of 320, the response has a head line more, and so has
the request that a proxy sends. A third nginx, bare, is told to write as many itself, as constant text: what that one loses
is the kernel's price for bytes, and what is lost beyond it is ours.

How these stand beside each other, and how surely their ratios are known, says rounds.py. Processor time is that of nginx' worker: it
is what to look at on a machine that others use, and where the other end of a connection decides how fast requests come.
"""
import pathlib
import shutil
import subprocess

from harness import LOAD_CPU, SERVER_CPU, free_port, wait_for_port
from rounds import read_sched, take_rounds

GOAL = (">=", 0.97)
TLS_GOAL = (">=", 0.98)
CPU_GOAL = ("<=", 1 / 0.97)  # the same of a server that has nothing else to do
EVERYTHING_ON = {"TRACESHIM_RESPONSE_HEADER": "x-trace-id", "OTEL_SERVICE_NAME": "bench"}
CONNECTIONS = 32
TURN_S = 0.02
WARM_UP = 2000  # requests
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

    def __init__(self, bench, name, preloaded, log="/dev/stdout", upstream=1, cpu=SERVER_CPU, command=(),
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
        with open(self.dir / "out.log", "ab") as out, open(self.dir / "err.log", "ab") as err:
            self.process = bench.start(args, preloaded, cpu=cpu, env=env, stdout=out, stderr=err)
        wait_for_port(self.port, self.process)

    def sched(self):
        """Processor time of the worker so far, in which is none of the neighbours', and how long it waited for its turn (read_sched)."""
        master = pathlib.Path(f"/proc/{self.process.pid}/task/{self.process.pid}")
        return read_sched((master / "children").read_text(encoding="ascii").split()[0])

    def stop(self):
        self.bench.stop(self.process)


class Load:
    """What asks one nginx for one thing, in turns. With its server it is one side of a round (rounds.py)."""

    def __init__(self, bench, server, path, close):
        self.bench = bench
        self.server = server
        self.asked = 0
        kind = [*(["-c"] if close else []), *(["-s"] if server.tls else [])]
        end = "Connection: close\r\n" if close else ""
        request = f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{server.port}\r\n{end}\r\n"
        args = [bench.program("bench_load"), *kind, str(server.port), str(CONNECTIONS), request]
        self.process = bench.start(args, cpu=LOAD_CPU, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def ask(self, count):
        """Nanoseconds that `count` requests take."""
        print(count, file=self.process.stdin, flush=True)
        answer = self.process.stdout.readline()
        if not answer:
            raise RuntimeError("the load on nginx failed")
        self.asked += count
        return int(answer)

    def run(self, count):
        """
        One turn. Returns (requests a second, microseconds of processor time a request). Another server ran before, so the
        first few requests find nothing in the processor's caches, and do not count.
        """
        self.ask(max(CONNECTIONS, count // 8))
        before_ns, _ = self.server.sched()
        taken_ns = self.ask(count)
        used_ns = self.server.sched()[0] - before_ns
        return count / taken_ns * 1e9, used_ns / count / 1000

    def warm_up(self):
        self.ask(WARM_UP)

    def sched(self):
        return [sum(times) for times in zip(self.server.sched(), read_sched(self.process.pid))]

    def line_length(self):
        """How many bytes a line of the log has."""
        return round(self.server.log.stat().st_size / self.asked)

    def stop(self):
        self.bench.stop(self.process)

    def end(self):
        self.stop()
        self.server.stop()
        shutil.rmtree(self.server.dir)


def probe(start):
    """What only running servers tell: how many requests are a turn, and by how many bytes a preloaded one's log lines are longer."""
    bare, preloaded = loads = start(False), start(True)
    for load in loads:
        load.warm_up()
    rate, _ = bare.run(WARM_UP)
    longer = preloaded.line_length() - bare.line_length()
    for load in loads:
        load.end()
    return max(200, round(rate * TURN_S)), longer


def measure_variant(bench, name, log, path="/tiny", close=False, upstream=1, more=None, again=False, certificate=None):
    """Some lines of the table: servers side by side, loaded in turns. `again`: the bare one twice, as two."""
    def start(preloaded, longer=None):
        server = Nginx(bench, bench.new_name(), preloaded, log, upstream, more=more, longer=longer, certificate=certificate)
        if preloaded:
            bench.assert_preloaded(server.process)
        return Load(bench, server, path, close)

    count, longer = probe(start)
    sides = {"bare": lambda: start(False), "preloaded": lambda: start(True)}
    if log == "/dev/stdout":
        sides["longer"] = lambda: start(False, longer)
    if again:
        sides["again"] = lambda: start(False)
    rounds = take_rounds(bench, sides, lambda load: load.run(count))
    rounds.report(bench, name, goals=(TLS_GOAL, None) if certificate else (GOAL, CPU_GOAL))
    if "longer" in sides:
        rounds.report(bench, "  bare, writing as many bytes", "bare", "longer")
        rounds.report(bench, "  beyond that", "longer", "preloaded")
    if again:
        rounds.report_again(bench)


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

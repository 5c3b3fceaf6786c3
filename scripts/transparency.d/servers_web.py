"""Web servers, proxies and caches, and the servers of applications."""
import os
import shutil

from service import user_or_self

HERE = os.path.dirname(os.path.abspath(__file__))
GUESTS = os.path.join(HERE, "guests")
PYTHON = "/usr/bin/python3"


def ask_web(case, name, port, path="/", load=200, expect="hello", drop=None, post=True):
    """One request after the other, a body, a HEAD, and many at a time: as many as that, so that as many lines are logged."""
    url = f"http://127.0.0.1:{port}{path}"
    case.ask(f"{name}: answers", f"for n in 1 2 3 4 5; do curl -si '{url}?n='$n; done", expect=expect, drop=drop)
    case.ask(f"{name}: kept connection", f"curl -s '{url}?n=[10-19]'", expect=expect, drop=drop)
    case.ask(f"{name}: head", f"curl -sI '{url}?n=6'", expect="200", drop=drop)
    if post:
        case.ask(f"{name}: body", f"seq 2000 | curl -s --data-binary @- '{url}?n=7' | cksum", drop=drop)
    case.ask(f"{name}: many", f"ab -q -l -n {load} -c 8 '{url}?n=8' | grep -E '^(Complete|Failed|Non-2xx|Write)'", expect=f"{load}\n")
    case.ask(f"{name}: many, kept", f"ab -q -l -k -n {load} -c 8 '{url}?n=9' | grep -E '^(Complete|Failed|Non-2xx|Write)'", expect=f"{load}\n")


def aiohttp_app(case, name="aiohttp"):
    port = case.port()
    case.serve(name, [PYTHON, "-B", f"{GUESTS}/app_aiohttp.py", str(port)], port)
    return port


def aiohttp(case):
    ask_web(case, "aiohttp", aiohttp_app(case))


def uvicorn(case):
    port = case.port()
    case.serve("uvicorn", [PYTHON, "-B", "-m", "uvicorn", "--app-dir", GUESTS, "--port", str(port), "app_asgi:app"], port)
    ask_web(case, "uvicorn", port)


def waitress(case):
    port = case.port()
    case.serve("waitress", [PYTHON, "-B", f"{GUESTS}/app_wsgi.py", str(port)], port, drop="Task queue depth")
    ask_web(case, "waitress", port)


def uwsgi(case):
    # Its own HTTP, and its router in front of its workers.
    plain, routed = case.port(), case.port()
    common = ["--wsgi-file", f"{GUESTS}/app_wsgi.py", "--processes", "3", "--master", "--die-on-term"]
    # Its workers' last words and how it found its worker ids depend on who was first.
    drop = "worker|ORPHAN|gateway|goodbye"
    case.serve("uwsgi", ["uwsgi", "--plugin", "python3", "--http-socket", f"127.0.0.1:{plain}", *common], plain, drop=drop)
    ask_web(case, "uwsgi", plain)
    case.serve("uwsgi with a router", ["uwsgi", "--plugin", "http,python3", "--http", f"127.0.0.1:{routed}", *common], routed, drop=drop)
    ask_web(case, "uwsgi with a router", routed)


def puma(case):
    port = case.port()
    case.serve("puma", ["puma", "-b", f"tcp://127.0.0.1:{port}", "-t", "2:8", f"{GUESTS}/app.ru"], port)
    ask_web(case, "puma", port)


def varnish(case):
    app, port = aiohttp_app(case), case.port()
    case.serve("varnish", ["varnishd", "-F", "-n", case.folder("varnish"), "-a", f"127.0.0.1:{port}", "-b", f"127.0.0.1:{app}"], port, drop="Child|Debug")
    # What it keeps it does not ask for again, so the app's lines are as many only where nothing is asked for twice at a time.
    case.ask("varnish: answers", f"for n in 1 2 3 2 1; do curl -si 'http://127.0.0.1:{port}/?n='$n; done", expect="hello 3")
    case.ask("varnish: passes", f"curl -si -d x=1 'http://127.0.0.1:{port}/?n=[4-8]'", expect="hello 8 x=1")
    case.ask("varnish: many", f"ab -q -l -n 300 -c 8 'http://127.0.0.1:{port}/?n=1' | grep -E '^(Complete|Failed|Non-2xx)'", expect="300\n")


def squid(case):
    app, port = aiohttp_app(case), case.port()
    folder = case.folder("squid", user_or_self("proxy"))
    access = os.path.join(folder, "transparency-access.log")
    conf = case.file("squid.conf", f"""http_port 127.0.0.1:{port}
visible_hostname squid
http_access allow all
cache_log {folder}/cache.any
access_log stdio:{access} squid
pid_filename {folder}/pid
coredump_dir {folder}
cache_effective_user {user_or_self("proxy")}
shutdown_lifetime 1 seconds
""")
    case.serve("squid", ["squid", "-N", "-f", conf], port)
    proxy = f"-x 127.0.0.1:{port}"
    case.ask("squid: answers", f"for n in 1 2 3 4 5; do curl -si {proxy} 'http://127.0.0.1:{app}/?n='$n; done", expect="hello 5", drop="^(Via|X-Cache|Cache-Status):")
    case.ask("squid: posts", f"curl -s {proxy} -d x=1 'http://127.0.0.1:{app}/?n=[4-8]'", expect="hello 8 x=1")
    case.ask("squid: tunnel", f"curl -s -p {proxy} 'http://127.0.0.1:{app}/?n=9'", expect="hello 9")
    case.ask("squid: refused", f"curl -s -o page.any -w '%{{http_code}}' {proxy} 'http://127.0.0.1:1/'", expect="503")
    case.ask("squid: many", f"ab -q -l -n 200 -c 8 -X 127.0.0.1:{port} 'http://127.0.0.1:{app}/?n=8' | grep -E '^(Complete|Failed|Non-2xx)'", expect="200\n")
    case.end("squid")
    # ab may open more connections than it has requests.
    case.compare_log("squid: access", access, drop="transaction-end-before-headers")


def h2o(case):
    app, port = aiohttp_app(case), case.port()
    files = case.folder("files")
    case.file("files/index.txt", "hello\n")
    conf = case.file("h2o.conf", f"""listen: {{host: 127.0.0.1, port: {port}}}
user: {user_or_self("nobody")}
num-threads: 3
access-log: /dev/stdout
error-log: /dev/stderr
hosts: {{default: {{paths: {{"/": {{file.dir: {files}}}, "/app": {{proxy.reverse.url: "http://127.0.0.1:{app}/"}}}}}}}}
""")
    case.serve("h2o", ["h2o", "-c", conf], port, drop="^r$|received SIGTERM")
    ask_web(case, "h2o: file", port, "/index.txt", post=False)
    ask_web(case, "h2o: proxy", port, "/app")
    case.ask("h2o: HTTP/2", f"for n in 1 2 3; do curl -s --http2-prior-knowledge 'http://127.0.0.1:{port}/app?n='$n; done", expect="hello 3")


def php_fpm(case):
    port, folder = case.port(), case.folder("php", user_or_self("www-data"))
    socket = os.path.join(folder, "socket")
    user = user_or_self("www-data")
    page = case.file("index.php", '<?php error_log("php " . $_GET["n"]); echo "hello ", $_GET["n"], " ", file_get_contents("php://input"), "\\n";')
    conf = case.file("fpm.conf", f"""[global]
error_log = /dev/stderr
daemonize = no
[www]
listen = {socket}
listen.mode = 0666
user = {user}
group = {user}
pm = static
pm.max_children = 3
catch_workers_output = yes
decorate_workers_output = no
""")
    ini = case.file("php.ini", "display_errors = 0\nlog_errors = 1\n")
    fpm = next(path for path in ("/usr/sbin/php-fpm8.2", shutil.which("php-fpm") or "php-fpm") if os.path.exists(path) or "/" not in path)
    case.serve("php-fpm", [fpm, "-R", "-y", conf, "-c", ini], ready=lambda: os.path.exists(socket))
    case.serve("nginx", ["nginx", "-e", "stderr", "-p", folder, "-c", case.file("nginx.conf", f"""daemon off; pid {folder}/pid; error_log stderr; worker_processes 2;
{"user " + user + ";" if os.geteuid() == 0 else ""}
events {{}}
http {{
    access_log /dev/stdout;
    client_body_temp_path {folder}/1; proxy_temp_path {folder}/2; fastcgi_temp_path {folder}/3; uwsgi_temp_path {folder}/4; scgi_temp_path {folder}/5;
    server {{
        listen 127.0.0.1:{port};
        location / {{ include /etc/nginx/fastcgi_params; fastcgi_param SCRIPT_FILENAME {page}; fastcgi_pass unix:{socket}; }}
    }}
}}
""")], port, drop="PHP message")
    ask_web(case, "php-fpm", port)


def tomcat(case):
    port, base = case.port(), case.folder("base")
    home = "/usr/share/tomcat10"
    for name in ("conf", "logs", "webapps/ROOT", "work", "temp"):
        case.folder(os.path.join("base", name))
    for name in ("server.xml", "web.xml", "context.xml", "catalina.properties", "logging.properties", "tomcat-users.xml"):
        text = open(f"/etc/tomcat10/{name}", encoding="utf-8").read()
        case.file(f"base/conf/{name}", text.replace("8080", str(port)).replace('port="8005"', 'port="-1"'))
    case.file("base/webapps/ROOT/x.jsp", 'hello <%= request.getParameter("n") %><% System.out.println("jsp n=" + request.getParameter("n")); %>\n')
    # The virtual machine tells of each of its own environment's variables and arguments.
    case.serve("tomcat", [f"{home}/bin/catalina.sh", "run"], port, extra={"CATALINA_HOME": home, "CATALINA_BASE": base, "JAVA_OPTS": "-Xmx128m"},
               drop="Picked up|org.apache|\\[main\\]")
    ask_web(case, "tomcat", port, "/x.jsp")


def nghttpx(case):
    app, port = aiohttp_app(case), case.port()
    conf = case.file("nghttpx.conf", "")
    case.serve("nghttpx", ["nghttpx", f"--conf={conf}", f"-f127.0.0.1,{port};no-tls", f"-b127.0.0.1,{app}", "-n2", "--accesslog-file=/dev/stdout",
                           "--errorlog-file=/dev/stderr", "--no-ocsp"], port, drop="IPC socket is closed")
    ask_web(case, "nghttpx", port)
    case.ask("nghttpx: HTTP/2", f"for n in 1 2 3; do curl -s --http2-prior-knowledge 'http://127.0.0.1:{port}/?n='$n; done", expect="hello 3")


def privoxy(case):
    app, port = aiohttp_app(case), case.port()
    folder = case.folder("privoxy")
    conf = case.file("privoxy.conf", f"listen-address 127.0.0.1:{port}\nconfdir /etc/privoxy\nlogdir {folder}\ndebug 1\nlogfile access.any\n")
    case.serve("privoxy", ["privoxy", "--no-daemon", conf], port)
    case.ask("privoxy: answers", f"for n in 1 2 3 4 5; do curl -si -x 127.0.0.1:{port} 'http://127.0.0.1:{app}/?n='$n; done", expect="hello 5")
    case.ask("privoxy: many", f"ab -q -l -n 200 -c 8 -X 127.0.0.1:{port} 'http://127.0.0.1:{app}/?n=8' | grep -E '^(Complete|Failed|Non-2xx)'", expect="200\n")


def icecast(case):
    port, folder = case.port(), case.folder("icecast", user_or_self("nobody"))
    conf = case.file("icecast.xml", f"""<icecast><limits><clients>20</clients><sources>3</sources></limits>
<authentication><source-password>pw</source-password><admin-user>admin</admin-user><admin-password>pw</admin-password></authentication>
<hostname>localhost</hostname><listen-socket><port>{port}</port><bind-address>127.0.0.1</bind-address></listen-socket>
<paths><logdir>{folder}</logdir><webroot>/usr/share/icecast2/web</webroot><adminroot>/usr/share/icecast2/admin</adminroot></paths>
<logging><accesslog>-</accesslog><errorlog>-</errorlog><loglevel>2</loglevel></logging>
<security><chroot>0</chroot></security></icecast>
""")
    case.serve("icecast", [*case.as_user(user_or_self("nobody")), "icecast2", "-c", conf], port, drop="status-json")
    stream = f"http://source:pw@127.0.0.1:{port}/s.ogg"
    case.ask("icecast: a source and a listener", f"mkfifo feed.any; curl -s -H 'Content-Type: text/plain' -H 'Expect:' -T feed.any '{stream}' & exec 3>feed.any; "
             f"until curl -s http://127.0.0.1:{port}/status-json.xsl | grep -q listenurl; do sleep 0.1; done; "
             f"(curl -sN http://127.0.0.1:{port}/s.ogg | head -c 20000 | cksum) & "
             f"until curl -s http://127.0.0.1:{port}/status-json.xsl | grep -q '\"listeners\":1'; do sleep 0.1; done; "
             "printf 'a line of the stream, again and again\\n%.0s' $(seq 4000) >&3; wait %2; exec 3>&-; wait", drop="^[0-9]+ [0-9]+$")
    case.ask("icecast: pages", f"curl -si http://127.0.0.1:{port}/nowhere; curl -si -u admin:pw http://127.0.0.1:{port}/admin/listmounts", expect="404")


def cups(case):
    port, root = case.port(), case.folder("cups")
    for name in ("spool", "spool/tmp", "cache", "state", "etc", "etc/ppd"):
        case.folder(f"cups/{name}", "lp" if name != "etc" else None)
    user = user_or_self("lp")
    case.file("cups/etc/cups-files.conf", f"""ServerRoot {root}/etc
RequestRoot {root}/spool
TempDir {root}/spool/tmp
CacheDir {root}/cache
StateDir {root}/state
AccessLog {root}/transparency-access.log
ErrorLog stderr
PageLog {root}/page.any
User {user}
Group {user}
SystemGroup root
FileDevice yes
""")
    case.file("cups/etc/cupsd.conf", f"Listen 127.0.0.1:{port}\nBrowsing No\nLogLevel info\nDefaultAuthType None\nWebInterface Yes\n<Location />\nOrder allow,deny\nAllow all\n</Location>\n"
              "<Policy default>\n<Limit All>\nOrder deny,allow\nAllow all\n</Limit>\n</Policy>\n")
    case.serve("cups", ["cupsd", "-f", "-c", f"{root}/etc/cupsd.conf", "-s", f"{root}/etc/cups-files.conf"], port, drop="D-Bus|colord|avahi|Avahi")
    server = {"CUPS_SERVER": f"127.0.0.1:{port}"}
    case.ask("cups: a queue", "lpadmin -p q -E -v file:///dev/null -m raw; lpstat -p q | cut -c1-30; seq 500 | lp -d q -; "
             "until [ -z \"$(lpstat -o q)\" ]; do sleep 0.2; done; lpstat -W completed -o q | cut -c1-30; lpadmin -x q; lpstat -v", extra=server, expect="q-1", drop="deprecated")
    case.ask("cups: pages", f"curl -si http://127.0.0.1:{port}/nowhere | head -1; curl -s http://127.0.0.1:{port}/ | cksum", expect="404")
    case.end("cups")
    case.compare_log("cups: access", f"{root}/transparency-access.log")


CASES = {"aiohttp": aiohttp, "uvicorn": uvicorn, "waitress": waitress, "uwsgi": uwsgi, "puma": puma, "varnish": varnish, "squid": squid, "h2o": h2o,
         "php-fpm": php_fpm, "tomcat": tomcat, "nghttpx": nghttpx, "privoxy": privoxy, "icecast": icecast, "cups": cups}

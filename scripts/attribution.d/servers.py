"""Servers that people run, as commands for the attribution experiment. Their configuration goes into the run's folder."""
import shutil


def fill(bench, name, target, folder, port, up):
    """tests/apps/attribution/real/NAME.in, with its @WORDS@ replaced."""
    text = (bench.apps / "real" / f"{name}.in").read_text(encoding="utf-8")
    for word, value in ("DIR", folder), ("PORT", port), ("UP", up):
        text = text.replace(f"@{word}@", str(value))
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(text, encoding="utf-8")
    return target


def nginx(bench, folder, port, up, level, env):
    return ["nginx", "-e", "stderr", "-c", fill(bench, "nginx.conf", folder / "nginx.conf", folder, port, up)]


def apache(bench, folder, port, up, level, env):
    return ["apache2", "-DFOREGROUND", "-f", fill(bench, "apache.conf", folder / "apache.conf", folder, port, up)]


def varnish(bench, folder, port, up, level, env):
    vcl = fill(bench, "varnish.vcl", folder / "varnish.vcl", folder, port, up)
    return ["varnishd", "-F", "-j", "none", "-n", folder / "varnish", "-a", f"127.0.0.1:{port}", "-f", vcl,
            "-p", "thread_pool_min=50"]


def memcached(bench, folder, port, up, level, env):
    return ["memcached", "-vv", "-u", "nobody", "-l", "127.0.0.1", "-p", port, "-U", 0, "-t", 4, "-c", 2048]


def gunicorn(*options):
    def command(bench, folder, port, up, level, env):
        env["UP"] = str(up)
        return ["gunicorn", "--chdir", bench.apps, "--bind", f"127.0.0.1:{port}", "--backlog", 512, "--log-level", "error",
                "--access-logfile", "-", "--access-logformat", "access %(r)s", *options, "wsgi:app"]
    return command


def uvicorn(bench, folder, port, up, level, env):
    env["UP"] = str(up)
    return ["/usr/bin/python3", "-m", "uvicorn", "--app-dir", bench.apps, "--port", port, "--backlog", 512, "--log-level", "error",
            "asgi:app"]


def waitress(bench, folder, port, up, level, env):
    env.update(UP=str(up), PYTHONPATH=str(bench.apps))
    return ["/usr/bin/python3", "-m", "waitress", f"--listen=127.0.0.1:{port}", "--threads=8", "wsgi:app"]


def puma(bench, folder, port, up, level, env):
    env["UP"] = str(up)
    return ["puma", "--quiet", "--bind", f"tcp://127.0.0.1:{port}?backlog=512", "--threads", "8:8", bench.apps / "config.ru"]


def tomcat(bench, folder, port, up, level, env):
    fill(bench, "server.xml", folder / "conf" / "server.xml", folder, port, up)
    shutil.copy("/etc/tomcat10/web.xml", folder / "conf" / "web.xml")
    for name in "logs", "temp", "work", "webapps/ROOT":
        (folder / name).mkdir(parents=True)
    shutil.copy(bench.apps / "index.jsp", folder / "webapps" / "ROOT" / "index.jsp")
    env.update(UP=str(up), CATALINA_HOME="/usr/share/tomcat10", CATALINA_BASE=str(folder))
    return ["/usr/share/tomcat10/bin/catalina.sh", "run"]

"""PHP's own tests, out of its sources: streams, files, HTTP, processes, sockets, curl, output, and the server of the command line."""
import os

import sources
from harness import Unit

FOLDERS = """
    ext/standard/tests/file ext/standard/tests/streams ext/standard/tests/http ext/standard/tests/general_functions
    ext/standard/tests/network ext/standard/tests/filters ext/standard/tests/dir ext/curl/tests ext/pcntl/tests ext/posix/tests
    ext/sockets/tests ext/zlib/tests ext/session/tests ext/phar/tests ext/ftp/tests ext/readline/tests sapi/cli/tests
    tests/output tests/basic tests/lang tests/func
""".split()
SIZE = 120
# Tests there include files of their neighbours.
SHARED = {"ext/curl/tests": [], "ext/standard/tests/http": ["ext/standard/tests/file", "sapi/cli/tests"], "sapi/cli/tests": []}


def tests(run, folder, names):
    sources.copied("php", ["run-tests.php", folder, *SHARED.get(folder, [])], run.folder)
    results = os.path.join(run.folder, "results")
    ended = run.call(
        ["/usr/bin/php", "run-tests.php", "-q", "-p", "/usr/bin/php", "--no-color", "--set-timeout", "60", "-W", results, *(f"{folder}/{name}" for name in names)],
        extra={"NO_INTERACTION": "1", "SKIP_ONLINE_TESTS": "1", "SKIP_SLOW_TESTS": "1", "SKIP_PERF_SENSITIVE": "1", "TEST_PHP_EXECUTABLE": "/usr/bin/php"})
    cases, run.reasons = {}, {}
    if os.path.exists(results):
        with open(results, encoding="utf-8", errors="replace") as file:
            for line in file:
                outcome, _, name = line.rstrip("\n").partition("\t")
                name = os.path.relpath(name, run.folder)
                cases[name] = outcome
                run.reasons[name] = difference(os.path.join(run.folder, name))
    cases[f"{folder}: exit status"] = str(ended.status)
    run.reasons[f"{folder}: exit status"] = run.plain(ended.out)[-3000:]
    return cases


def difference(path):
    """What run-tests.php leaves beside a test that failed."""
    try:
        with open(path.removesuffix(".phpt") + ".diff", encoding="utf-8", errors="replace") as file:
            return file.read()[-3000:]
    except OSError:
        return ""


def units(quick):
    if quick:
        return
    tree = sources.tree("php")
    for folder in FOLDERS:
        names = sorted(os.path.relpath(os.path.join(root, name), f"{tree}/{folder}")
                       for root, _, files in os.walk(f"{tree}/{folder}") for name in files if name.endswith(".phpt"))
        for number, part in enumerate(sources.several(names, SIZE), 1):
            yield Unit(f"{folder} {number}", lambda run, folder=folder, part=part: tests(run, folder, part))

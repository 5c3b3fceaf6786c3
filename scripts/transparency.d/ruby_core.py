"""Ruby's own tests, out of its sources: those of input and output, processes, threads, signals, sockets, and of the library above them."""
import os
import re

import sources
from harness import Unit

RUBY = """
    argf array autoload backtrace beginendblock class condition dir econv encoding env eval exception fiber file file_exhaustive gc hash
    io io_buffer io_m17n iterator marshal method objectspace pack path pipe proc process rand random_formatter range readpartial require
    rubyoptions settracefunc signal sleep string struct symbol system thread thread_cv thread_queue threadgroup time trace transcode
    variable weakmap
""".split()
FOLDERS = "socket io fiber net/http net/protocol open-uri drb rinda logger openssl pathname stringio strscan zlib uri resolv etc monitor fileutils cgi csv digest erb json psych readline".split()
FILES = ["open3", "pty", "tempfile", "timeout", "tmpdir", "securerandom", "shellwords", "syslog", "pstore", "find", "delegate", "set", "ipaddr", "rbconfig", "weakref"]
# What looks at the machine's own state, or takes a minute of the interpreter's own.
LEFT_OUT = re.compile(r"/(?:test_ssl_session|test_pkey_dh|test_gc_compact)\.rb$")
# The whole environment but for LD_PRELOAD is to be empty; a child is told there which files are the tree's logs.
TESTS_LEFT_OUT = "!/test_execopts_(?:env|unsetenv_others)$/"
RAN = re.compile(r"\[ *\d+/\d+\] (\S+#.+?) = ")
BAD = re.compile(r"^ +\d+\) (Failure|Error|Skipped):\n(\S+#.+?)(?: \[|:\n|:$)", re.M)


def tests(run, files):
    """Each file on its own: its tests by name."""
    cases, run.reasons = {}, {}
    tree = sources.tree("ruby")
    for file in files:
        ended = run.call(["/usr/bin/ruby", "-W0", f"-I{tree}/tool/lib", f"-I{tree}/test/lib", f"{tree}/test/runner.rb",
                          "--verbose", "--seed=1", f"--name={TESTS_LEFT_OUT}", f"{tree}/{file}"])
        said = run.plain(ended.out)
        cases.update({f"{file}: {name}": "ok" for name in RAN.findall(said)})
        for kind, name in BAD.findall(said):
            cases[f"{file}: {name}"] = kind
        cases[file] = f"status {ended.status}"
        run.reasons[file] = said[-6000:] + run.plain(ended.err)[-2000:]
    return cases


def chosen():
    tree = sources.tree("ruby")
    yield from (f"test/ruby/test_{name}.rb" for name in RUBY)
    yield from (f"test/test_{name}.rb" for name in FILES)
    for folder in FOLDERS:
        for root, _, names in sorted(os.walk(f"{tree}/test/{folder}")):
            yield from (os.path.relpath(os.path.join(root, name), tree) for name in sorted(names) if name.startswith("test_") and name.endswith(".rb"))


def units(quick):
    if quick:
        return
    files = [file for file in chosen() if not LEFT_OUT.search(file)]
    for number, part in enumerate(sources.several(files, 8), 1):
        yield Unit(f"tests {number}", lambda run, part=part: tests(run, part))

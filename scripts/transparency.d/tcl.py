"""Tcl's own tests, out of its sources: channels, sockets, processes, events, files, and its HTTP client and server."""
import os
import re

import sources
from harness import Unit

FILES = """
    aaa_exit async basic binary chan chanio clock cmdAH cmdIL cmdMZ compile coroutine dict encoding env error event exec execute fCmd fileName
    fileSystem fileSystemEncoding foreach format get history http http11 httpPipeline httpold if info init interp io ioCmd ioTrans iogt link list load
    lsearch main msgcat namespace nre oo opt package parse pid pkgMkIndex platform pwd regexp result safe scan security set socket source
    split stack string subst tailcall tcltest thread timer tm trace unixFCmd unixFile unixForkEvent unixInit unixNotfy unknown unload
    utf util var while zlib
""".split()
# Measures how fast the machine is.
LEFT_OUT = re.compile(r"^(?:cmdMZ-6\.|timer-)")
LINE = re.compile(r"^(?:\+\+\+\+|====) (\S+).*? (PASSED|FAILED|SKIPPED)", re.M)


def tests(run, name):
    sources.copied("tcl", ["tests", "library"], run.folder)
    ended = run.call(["/usr/bin/tclsh", f"{name}.test", "-verbose", "pass skip body error"], cwd=os.path.join(run.folder, "tests"))
    said = run.plain(ended.out)
    cases = {case: outcome for case, outcome in LINE.findall(said) if not LEFT_OUT.search(case)}
    cases[f"{name}: exit status"] = str(ended.status)
    run.reasons = {case: said[-8000:] for case, outcome in cases.items() if outcome != "PASSED"}
    return cases


def units(quick):
    if not quick:
        sources.tree("tcl")  # now: runs have no network but their own
        for name in FILES:
            yield Unit(name, lambda run, name=name: tests(run, name))

"""Perl's own tests, out of its sources: those of the language's input and output, its operators, and of modules that reach the kernel."""
import glob
import os
import re
import subprocess

import sources
from harness import Unit

MODULES = """
    dist/IO dist/threads dist/threads-shared dist/Thread-Queue dist/Thread-Semaphore dist/Time-HiRes dist/PathTools dist/Storable dist/Tie-File
    cpan/Socket cpan/IO-Socket-IP cpan/HTTP-Tiny cpan/IO-Compress cpan/IO-Zlib cpan/IPC-Cmd cpan/IPC-SysV cpan/Archive-Tar cpan/File-Temp
    cpan/File-Path cpan/Sys-Syslog cpan/Term-ANSIColor cpan/libnet cpan/Digest-SHA cpan/Test-Harness cpan/Filter-Util-Call
    ext/POSIX ext/IPC-Open3 ext/Fcntl ext/File-Find ext/File-Glob ext/FileCache ext/PerlIO-encoding ext/PerlIO-scalar ext/PerlIO-via ext/PerlIO-mmap
    ext/Sys-Hostname ext/SDBM_File ext/Errno
""".split()
# Of the language's own, the folders with what is slow and never leaves the interpreter are left out (re, uni, mro, lib).
FOLDERS = ["base", "cmd", "comp", "io", "op", "run"]
LEFT_OUT = re.compile(r"/(?:"
                      r"author-|release-"  # for those who release it
                      r"|alarm\.t|sleep\.t|time\.t|time_loop\.t|usleep\.t|ualarm\.t|nanosleep\.t|itimer\.t"  # measure how fast the machine is
                      r"|locale\.t|groups\.t"  # look at the machine's own state
                      r"|bigmem|pat_rt_report|bop\.t|pack\.t|sprintf|lc\.t|sselect\.t"
                      r")")
LINE = re.compile(r"^(not )?ok\b *(\d*)", re.M)
PLAN = re.compile(r"^1\.\.(\d+)", re.M)


def outcome(run, file, cwd, cases):
    """What one test program says (TAP): a line for the whole, one for each failure."""
    ended = run.call(["/usr/bin/perl", file], cwd=cwd)
    said = run.plain(ended.out)
    good = 0
    for number, match in enumerate(LINE.finditer(said), 1):
        if match[1]:
            cases[f"{file}: {match[2] or number}"] = "not ok"
        else:
            good += 1
    plan = PLAN.search(said)
    cases[file] = f"status {ended.status}, {good} ok of {plan[1] if plan else '?'}"
    run.reasons[file] = said[-3000:] + run.plain(ended.err)[-3000:]


def library(place):
    """The installed library where these tests look for it: beside their own folder."""
    os.mkdir(place)
    for version in subprocess.run(["/usr/bin/perl", "-e", 'print join "\\n", grep { !m,/local/|/site_perl, && -d } @INC'],
                                  stdout=subprocess.PIPE, text=True, check=True).stdout.splitlines():
        for entry in os.listdir(version):
            merge(os.path.join(version, entry), os.path.join(place, entry))


def merge(source, place):
    """A link, or a folder of links where two places have a part of it."""
    if not os.path.lexists(place):
        os.symlink(os.path.realpath(source), place)
    elif os.path.isdir(source):
        if os.path.islink(place):
            first = os.readlink(place)
            os.unlink(place)
            os.mkdir(place)
            for entry in os.listdir(first):
                os.symlink(os.path.join(first, entry), os.path.join(place, entry))
        for entry in os.listdir(source):
            merge(os.path.join(source, entry), os.path.join(place, entry))


def language(run, folder, names):
    sources.copied("perl", ["t/test.pl", "t/charset_tools.pl", "t/loc_tools.pl", "t/thread_it.pl", "t/lib", "t/op", f"t/{folder}"], run.folder)
    library(os.path.join(run.folder, "lib"))
    # Some start themselves by this name.
    os.symlink("/usr/bin/perl", os.path.join(run.folder, "t", "perl"))
    os.symlink("/usr/bin/perl", os.path.join(run.folder, "perl"))
    cases, run.reasons = {}, {}
    for name in names:
        outcome(run, f"{folder}/{name}", os.path.join(run.folder, "t"), cases)
    return cases


def module(run, name):
    sources.copied("perl", [name, "t/test.pl", "t/charset_tools.pl"], run.folder)
    cwd = os.path.join(run.folder, name)
    cases, run.reasons = {}, {}
    for path in sorted(glob.glob(f"{cwd}/t/**/*.t", recursive=True)):
        file = os.path.relpath(path, cwd)
        if not LEFT_OUT.search("/" + file):
            outcome(run, file, cwd, cases)
    return cases


def units(quick):
    if quick:
        return
    tree = sources.tree("perl")
    for folder in FOLDERS:
        names = sorted(name for name in os.listdir(f"{tree}/t/{folder}") if name.endswith(".t") and not LEFT_OUT.search("/" + name))
        for number, part in enumerate(sources.several(names, 40), 1):
            yield Unit(f"{folder} {number}", lambda run, folder=folder, part=part: language(run, folder, part))
    for name in MODULES:
        yield Unit(name, lambda run, name=name: module(run, name))

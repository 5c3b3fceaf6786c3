"""A program comes through without any one of the pages that the object asks for as it does bare.

    no_pages.py OBJECT NOPAGES.SO FOLDER PROGRAM...    runs PROGRAM FOLDER/<run> bare, then preloaded without the 1st, the 2nd, ... page,
                                                       each alone and with all that follow, until there is no such page
Compared: standard output and error (out of their records, where they are records), exit status, trail and wires (torture.py).
Prints how many runs there were.
"""
import json
import os
import struct
import subprocess
import sys

LEAST = 15  # with fewer it would be another program than we think


def original(line):
    """What the program wrote for this line of a log; a line that no buffer was to be had for is as it was."""
    try:
        record = json.loads(line)
    except ValueError:
        return line
    if "timestamp" in record:
        ends = not record.get("partial") or record.get("partial_last")
        return record["message"].encode() + (b"\n" if ends else b"")
    # An object of the program's own: the ids are behind its last field.
    return line.split(b',"trace_id"')[0].rstrip(b"}\n") + b"}\n"


def plain(data):
    return b"".join(original(line) for line in data.splitlines(keepends=True))


def run(folder, name, program, **env):
    where = os.path.join(folder, name)
    os.makedirs(where, exist_ok=True)
    with open(where + ".out", "wb") as out, open(where + ".err", "wb") as err:
        done = subprocess.run(program + [where], stdin=subprocess.DEVNULL, stdout=out, stderr=err, timeout=60,
                              env={**os.environ, "TRACESHIM_LOG_FILES": where + "/*.log", **env}, check=False)
    result = [done.returncode]
    paths = [where + ".out", where + ".err"]
    paths += sorted(os.path.join(where, log) for log in os.listdir(where) if log.endswith(".log"))
    for path in paths:
        with open(path, "rb") as file:
            result.append(plain(file.read()))
    return where, result


def show(one, other):
    """From a little before where they part."""
    at = 0
    if isinstance(one, bytes):
        at = max(0, len(os.path.commonprefix([one, other])) - 100)
        one, other = one[at:], other[at:]
    print(f"  from {at} on\n  bare      {str(one)[:600]}\n  preloaded {str(other)[:600]}")


def main():
    shim, refuser, folder, *program = sys.argv[1:]
    bare_dir, bare = run(folder, "bare", program)
    assert bare[0] == 0, f"bare: {bare}"
    runs = 0
    for following in ("0", "1"):
        at = asked = 1
        while at <= asked:
            count = os.path.join(folder, "count")
            if os.path.exists(count):
                os.remove(count)
            where, got = run(folder, f"without.{following}.{at}", program, LD_PRELOAD=f"{shim}:{refuser}",
                             NOPAGES_AT=str(at), NOPAGES_ALL=following, NOPAGES_COUNT=count)
            with open(count, "rb") as file:
                asked = struct.unpack("l", file.read())[0]
            if got != bare:
                for one, other in zip(bare, got):
                    if one != other:
                        show(one, other)
                sys.exit(f"without page {at}, and {'all' if following == '1' else 'none'} that follow: not as bare")
            compare = [sys.executable, os.path.join(os.path.dirname(__file__), "torture.py"), bare_dir, where]
            if subprocess.run(compare, check=False).returncode != 0:
                sys.exit(f"without page {at}, following {following}: see above")
            runs += 1
            at += 1
        if following == "0":
            assert runs >= LEAST, f"only {runs} pages were asked for"
    print(runs)


main()

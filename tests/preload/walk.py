"""Random walks of calls, bare and preloaded: all that can be seen of the two must be the same (tests/programs/walk_guest.c).

    walk.py --build DIR [--walks N] [--first SEED] [--jobs N] [--keep FOLDER] [--beneath LIBRARY] [--counts]

The same seed makes the same walk, and the settings that it is run with. Compared are: what each call returned, errno and what was got; the
exit status; what each peer got, in which a trace header may stand at the end of a head and nowhere else; and the bytes of each log, which
records give back. What differs is run again: a walk that is not the same twice without the object says nothing, and is counted.
"""
import argparse
import codecs
import concurrent.futures
import json
import os
import random
import re
import shutil
import subprocess
import sys
import tempfile
import time

from torture import FIELD

INSERTED = re.compile(rb"(?:" + FIELD + rb")+", re.I)
SPLICED = re.compile(rb'(?:,?"(?:trace_id|span_id|trace_flags|userId|accept)":"[^"]*")+(?=}\s*$)')
TEXT_IDS = re.compile(rb" trace_id=[0-9a-f]{32} span_id=[0-9a-f]{16}(?: [!-~]+=[!-~]*)*$")
PART = 16384
STEPS = 250
UNSTEADY_MAX = 0.02


class Walk:
    """How a seed is run."""

    def __init__(self, seed):
        dice = random.Random(seed)
        self.seed = seed
        self.output = dice.choice(["pipes", "files", "pipe", "file"])
        self.log = dice.choice(["json", "json", "json", "text", "off"])
        self.words = (["plain"] if self.log == "off" else []) + (["threads"] if dice.random() < 0.3 else [])
        self.env = {"TRACESHIM_LOG": self.log}
        self.handoff = dice.random() < 0.1
        for share, name, values in (
                (0.6, "TRACESHIM_RESPONSE_HEADER", ["x-answered-in"]),
                (0.6, "OTEL_PROPAGATORS", ["tracecontext,baggage,b3,b3multi,jaeger", "b3", "none", "tracecontext"]),
                (0.4, "TRACESHIM_RAW", ["on"]),
                (0.2, "TRACESHIM_ROOT", ["off"]),
                (0.5, "TRACESHIM_EXPORT", ["traces,logs", "traces", "logs"]),
                (0.5, "TRACESHIM_RING_SIZE", ["65536"]),
                (0.3, "TRACEPARENT", ["00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"]),
                (0.3, "BAGGAGE", ["walk=on"]),
                (0.3, "TRACESHIM_LOG_HEADERS", ["x-user-id=userId,accept"]),
                (0.2, "TRACESHIM_LOOP", ["inline", "single", "off"]),
                (0.1, "TRACESHIM_PROPAGATE", ["a.example"])):
            if dice.random() < share:
                self.env[name] = dice.choice(values)
        if self.handoff:
            self.env["TRACESHIM_ATTRIBUTION"] = "validated"

    def __str__(self):
        settings = " ".join(f"{name}={value}" for name, value in self.env.items())
        return f"seed {self.seed}: output {self.output}, {' '.join(self.words) or 'one thread'}, {settings}"


class Run:
    """What one run left behind."""

    def __init__(self, folder, status, seconds):
        self.seconds = seconds
        self.trail = text_of(folder + "/trail").split("\n")
        self.wire = text_of(folder + "/wire").split("\n")[:-1]
        self.status = status
        self.logs = {}
        for name in ("out", "err", "one.log", "two.log"):
            if os.path.exists(f"{folder}/{name}"):
                with open(f"{folder}/{name}", "rb") as file:
                    self.logs[name] = file.read()

    def same(self, other):
        return (self.trail, self.wire, self.status, self.logs) == (other.trail, other.wire, other.status, other.logs)


def text_of(path):
    with open(path, "rb") as file:
        size = int.from_bytes(file.read(8), "little")
        return file.read(size).decode("latin1")


def run(walk, args, folder, preloaded):
    """One run; its folder is emptied behind it, unless it is to be kept."""
    os.makedirs(folder)
    env = {name: value for name, value in os.environ.items() if not name.startswith(("TRACESHIM_", "OTEL_", "LD_PRELOAD"))}
    env |= {"LC_ALL": "C.UTF-8", "TRACESHIM_RUN_DIR": f"{folder}/run", "TRACESHIM_LOG_FILES": f"{folder}/*.log"}
    objects = [f"{args.build}/libtraceshim.so"] + [f"{args.build}/libtraceshim-handoff.so"] * walk.handoff
    if preloaded:
        env |= walk.env | {"LD_PRELOAD": ":".join(objects + [args.beneath] * bool(args.beneath))}
    command = [f"{args.build}/tests/walk_guest", str(walk.seed), str(STEPS), folder, *walk.words]
    began = time.monotonic()
    with open(f"{folder}/out", "wb") as out, open(f"{folder}/err", "wb") as err:
        if walk.output in ("files", "file"):
            process = subprocess.run(command, env=env, stdin=subprocess.DEVNULL, stdout=out, check=False,
                                     stderr=err if walk.output == "files" else subprocess.STDOUT, timeout=120)
        else:
            process = subprocess.run(command, env=env, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, check=False,
                                     stderr=subprocess.PIPE if walk.output == "pipes" else subprocess.STDOUT, timeout=120)
            out.write(process.stdout)
            err.write(process.stderr or b"")
    result = Run(folder, process.returncode, time.monotonic() - began)
    if not args.keep:
        shutil.rmtree(folder)
    return result


# ---- comparing ----

def as_latin1(error):
    return "".join(chr(byte) for byte in error.object[error.start:error.end]), error.end


codecs.register_error("walk", as_latin1)


def is_object(line):
    try:
        return isinstance(json.loads(line), dict)
    except ValueError:
        return False


def compare_records(bare, shim):
    """Each line of the bare log against its record, or the records of its parts. Says what is wrong, or nothing."""
    wanted = bare.split(b"\n")
    if wanted[-1] == b"":
        wanted.pop()
    if shim and not shim.endswith(b"\n"):
        return f"the last record has no end: {shim[-200:]!r}"
    records = shim.split(b"\n")[:-1]
    at = 0
    for number, line in enumerate(wanted):
        if at >= len(records):
            return f"line {number} has no record: {line[:200]!r}"
        if is_object(line):
            if line not in (records[at], SPLICED.sub(b"", records[at], count=1)):
                return f"line {number}, an object, {line[:200]!r}: {records[at][:300]!r}"
            at += 1
            continue
        text, more = "", True
        while more and at < len(records):
            try:
                record = json.loads(records[at])
                text += record["message"]
            except (ValueError, KeyError, TypeError):
                return f"line {number}, {line[:200]!r}: no record: {records[at][:300]!r}"
            more = record.get("partial", False) and not record.get("partial_last", False)
            at += 1
        if text != line.removesuffix(b"\r").decode("utf-8", errors="walk"):
            return f"line {number}, {line[:200]!r}: {text[:300]!r}"
    return f"a record of no line: {records[at][:300]!r}" if at < len(records) else ""


def compare_text(bare, shim):
    wanted, lines, at = bare.split(b"\n"), shim.split(b"\n"), 0
    for number, line in enumerate(wanted):
        ids = SPLICED if is_object(line) else TEXT_IDS
        text, first = b"", at
        # A line of more than 16 KiB comes in parts.
        while at < len(lines) and (at == first or (text != line and len(lines[at - 1]) >= PART - 4)):
            text += lines[at] if line == lines[at] else ids.sub(b"", lines[at])
            at += 1
        if text != line:
            return f"line {number}, {line[:200]!r}: {text[:300]!r}, then {lines[at:at + 3]}"
    return f"{len(lines) - at} lines more" if at < len(lines) else ""


def compare_wire(one, other, counts):
    """Two lines of a wire: the bytes are the same, but for what stands in front of a blank line at one of the places."""
    name, places, plain = one.split(" ")
    if other.split(" ")[:2] != [name, places]:
        return f"{one[:60]} against {other[:60]}"
    plain, got = bytes.fromhex(plain), bytes.fromhex(other.split(" ")[2])
    done = at = 0
    for place in [] if places == "-" else map(int, places.split(",")):
        if place >= len(plain):
            break
        if got[at:at + place - done] != plain[done:place]:
            break
        at += place - done
        done = place
        found = INSERTED.match(got, at)
        counts["heads"] += 1
        if found:
            counts["insertions"] += 1
            at = found.end()
    if got[at:] != plain[done:]:
        same = len(os.path.commonprefix([got[at:], plain[done:]]))
        return (f"{name}: behind {plain[max(done + same - 150, 0):done + same]!r}\n"
                f"      bare      {plain[done + same:done + same + 200]!r}\n      preloaded {got[at + same:at + same + 300]!r}")
    return ""


def compare(walk, bare, shim, counts):
    """What differs, in words."""
    wrong = []
    if bare.status != shim.status:
        wrong.append(f"status {bare.status} and {shim.status}")
    for number, (one, other) in enumerate(zip(bare.trail, shim.trail)):
        if one != other:
            wrong.append("    " + "\n    ".join(bare.trail[max(number - 6, 0):number]) + f"\n  bare      {one}\n  preloaded {other}")
            break
    for one, other in zip(bare.wire, shim.wire):
        wrong.append(compare_wire(one, other, counts))
    if len(bare.wire) != len(shim.wire):
        wrong.append(f"{len(bare.wire)} and {len(shim.wire)} connections")
    for name in sorted(bare.logs.keys() | shim.logs.keys()):
        one, other = bare.logs.get(name, b""), shim.logs.get(name, b"")
        how = {"json": compare_records, "text": compare_text, "off": lambda a, b: "" if a == b else "not the same"}[walk.log]
        what = how(one, other)
        wrong.append(what and f"{name} ({shim.seconds:.1f} s): {what}")
        counts["lines"] += one.count(b"\n")
        counts["ids"] += other.count(b"trace_id")
    counts["calls"] += len(bare.trail)
    return [what for what in wrong if what]


def one_walk(seed, args, tmp):
    walk = Walk(seed)
    counts = dict.fromkeys(("heads", "insertions", "lines", "ids", "calls"), 0)
    folder = f"{args.keep or tmp}/{seed}"
    bare = run(walk, args, folder + ".bare", False)
    wrong = compare(walk, bare, run(walk, args, folder + ".shim", True), counts)
    steady = True
    if wrong and not args.beneath:
        steady = all(bare.same(run(walk, args, f"{folder}.bare{i}", False)) for i in range(3))
        again = sum(bool(compare(walk, bare, run(walk, args, f"{folder}.shim{i}", True), dict(counts))) for i in range(2))
        wrong.insert(0, f"{walk} ({1 + again} times of 3{'' if steady else ', but bare is not the same each time either'})")
    return wrong, steady, counts


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--build", required=True)
    parser.add_argument("--walks", type=int, default=1)
    parser.add_argument("--first", type=int, default=1, help="the first seed")
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--keep", help="a folder for what the runs leave behind")
    parser.add_argument("--counts", action="store_true", help="say what they came across, a line each")
    parser.add_argument("--beneath", help="a library that is preloaded behind the object")
    args = parser.parse_args()
    args.keep = args.keep and os.path.abspath(args.keep)
    tmp = tempfile.mkdtemp(prefix="walk.")
    failed, unsteady, totals = 0, 0, {}
    try:
        with concurrent.futures.ThreadPoolExecutor(args.jobs) as pool:
            for wrong, steady, counts in pool.map(lambda seed: one_walk(seed, args, tmp), range(args.first, args.first + args.walks)):
                totals = {name: totals.get(name, 0) + count for name, count in counts.items()}
                if wrong:
                    failed += steady
                    unsteady += not steady
                    print("\n  ".join(wrong), flush=True)
    finally:
        shutil.rmtree(tmp)
    print(f"{args.walks} walks from seed {args.first}: {failed} differ, {unsteady} unsteady; "
          + ", ".join(f"{count} {name}" for name, count in totals.items()))
    if args.counts:
        print("\n".join(f"{count} {name}" for name, count in totals.items()))
    sys.exit(0 if failed == 0 and unsteady <= max(1, UNSTEADY_MAX * args.walks) else 1)


main()

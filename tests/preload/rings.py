"""What guests left for the agent in a run folder, as JSON, one object a line: a reader of shim/ring_format.h of the tests' own.

    rings.py FOLDER                          spans and lines, in the order of each ring
    rings.py FOLDER judge FIRST LAST [STATUS [ERROR]]
                                             the requests n=FIRST..LAST of ./attribution burst: a server span each, no more
    rings.py FOLDER join LEAST               so many calls at least, each a child of a server span, and what was called a
                                             child of the call, in another process
    rings.py FOLDER answered FILE            each n=N that FILE names, one a line, has a span (others may have)
"""
import collections
import json
import os
import re
import struct
import sys

HEADER = struct.Struct("<8sIIiIQQ16s64s64s64s2048sI")
SPAN = struct.Struct("<QQQQQ16s8s8sIIHBBBBH16s7HH")
LINE = struct.Struct("<Q16s8sIIHBBI")
METHODS = "other GET HEAD POST PUT DELETE CONNECT OPTIONS TRACE PATCH".split()
ERRORS = ["", "reset", "closed", "unanswered", "refused", "timeout", "killed"]
TEXTS = "method target host user_agent forwarded route tracestate".split()


def text(field):
    return field.split(b"\0")[0].decode("utf-8", "replace")


def is_alive(pid, ticks):
    try:
        with open(f"/proc/{pid}/stat") as stat:
            fields = stat.read().rpartition(")")[2].split()
        return int(fields[19]) == ticks and fields[0] not in "ZX"
    except OSError:
        return False


def span_of(raw, fixed):
    f = SPAN.unpack_from(raw, 8)
    at, texts = fixed, {}
    for name, size in zip(TEXTS, f[17:24]):
        if size:
            texts[name] = raw[at:at + size].decode("latin-1")
        at += size
    assert at <= len(raw)
    if "method" not in texts:
        texts["method"] = METHODS[f[12]]
    flags = f[8]
    peer = None
    if flags & 0x40:
        peer = ":".join(f[16].hex()[i:i + 4] for i in range(0, 32, 4)) if flags & 0x20 else ".".join(map(str, f[16][:4]))
    return dict(texts, what="span", start=f[0], first=f[1], end=f[2], bytes_in=f[3], bytes_out=f[4], trace=f[5].hex(),
                span=f[6].hex(), parent=f[7].hex() if any(f[7]) else "", flags=flags, tid=f[9], status=f[10],
                kind={2: "server", 3: "client"}[f[11]], version=f[13], error=ERRORS[f[14]], peer=peer, peer_port=f[15],
                sampled=bool(flags & 1), remote=bool(flags & 4), truncated=bool(flags & 8), local=bool(flags & 0x80),
                upgraded=bool(flags & 0x100), grpc=bool(flags & 0x200), grpc_status=f[24] - 1 if f[24] else None)


def line_of(raw, fixed):
    f = LINE.unpack_from(raw, 8)
    assert fixed + f[4] <= len(raw)
    return dict(what="line", time=f[0], trace=f[1].hex() if any(f[1]) else "", span=f[2].hex() if any(f[2]) else "",
                tid=f[3], text=raw[fixed:fixed + f[4]].decode("utf-8", "replace"), stream=f[5], severity=f[6], flags=f[7])


def read_ring(path):
    with open(path, "rb") as ring:
        data = ring.read()
    h = HEADER.unpack_from(data)
    assert h[0] == b"tshimrg1", path
    size, capacity, pid, ticks = h[1], h[2], h[3], h[5]
    assert len(data) == size + capacity
    head, dropped_spans, dropped_lines, held = struct.unpack_from("<4Q", data, 2304)
    tail, = struct.unpack_from("<Q", data, 2368)
    if held > head and not is_alive(pid, ticks):
        head = held
    about = dict(pid=pid, program=text(h[8]), service=text(h[9]), ring=os.path.basename(path))
    while tail < head:
        at = tail & (capacity - 1)
        left = capacity - at
        if left < 8:
            tail += left
            continue
        length, kind, fixed = struct.unpack_from("<IHH", data, size + at)
        assert 8 <= length <= left and length % 8 == 0, (path, tail, length)
        raw = data[size + at:size + at + length]
        if kind == 2:
            yield dict(span_of(raw, fixed), **about)
        elif kind == 3:
            yield dict(line_of(raw, fixed), **about)
        tail += length
    assert tail == head
    if dropped_spans or dropped_lines:
        yield dict(about, what="dropped", spans=dropped_spans, lines=dropped_lines)


def read_folder(folder):
    for name in sorted(os.listdir(folder)):
        if name.endswith(".ring"):
            yield from read_ring(os.path.join(folder, name))


def number_of(span):
    found = re.search(r"[?&]n=(\d+)", span.get("target", ""))
    return int(found.group(1)) if found else None


def ids_of(n):
    return f"7e57{n * 2654435761 % 2**48:012x}{n:016x}", f"ca11e7{n:010x}"


def check(condition, *about):
    if not condition:
        print(*about)
        sys.exit(1)


def check_times(span):
    check(0 < span["start"] <= span["end"] < span["start"] + 600 * 10**9, "time", span)
    check(not span["first"] or span["start"] <= span["first"] <= span["end"], "first byte", span)


def judge(entries, first, last, status=200, error=""):
    seen = collections.Counter()
    for span in entries:
        check(span["what"] != "dropped", span)
        n = number_of(span) if span["what"] == "span" and span["kind"] == "server" else None
        if n is None or not first <= n <= last:
            continue
        check((span["trace"], span["parent"]) == ids_of(n), "ids of another", span)
        check(span["remote"] and span["sampled"] and span["peer"] == "127.0.0.1" and span["peer_port"], span)
        check(span["status"] == status and span["error"] == error, "answer", span)
        check(span["bytes_in"] > 60 and (error or span["bytes_out"] > 30), "bytes", span)
        check(span["host"] == "test.example", span)
        check_times(span)
        seen[n] += 1
    check(set(seen) == set(range(first, last + 1)), len(seen), "of", last - first + 1, "have a span")
    check(set(seen.values()) == {1}, "twice:", [n for n in seen if seen[n] > 1][:10])


def join(entries, least):
    spans = [entry for entry in entries if entry["what"] == "span"]
    by_id = {(span["trace"], span["span"]): span for span in spans}
    check(len(by_id) == len(spans), "two spans with one id")
    called = {(span["trace"], span["parent"]) for span in spans if span["kind"] == "server"}
    joined = 0
    for span in spans:
        check_times(span)
        if span["kind"] == "client" and not span["local"]:
            parent = by_id.get((span["trace"], span["parent"]))
            check(parent and parent["kind"] == "server" and parent["pid"] == span["pid"], "no parent", span)
            check(parent["start"] <= span["start"], "before its parent", span, parent)
            joined += (span["trace"], span["span"]) in called
    check(joined >= least, joined, "calls joined, not", least)


def answered(entries, path):
    have = collections.Counter(number_of(entry) for entry in entries if entry["what"] == "span")
    with open(path) as file:
        wanted = {int(line) for line in file}
    check(len(wanted) > 0, "nothing was answered")
    check(not wanted - set(have), len(wanted - set(have)), "of", len(wanted), "have no span", sorted(wanted - set(have))[:10])
    check(max(have.values()) == 1, "twice")
    print(len(wanted), "answered, all have a span;", len(set(have) - wanted), "more have")


if __name__ == "__main__":
    entries = list(read_folder(sys.argv[1]))
    command = sys.argv[2] if len(sys.argv) > 2 else ""
    if command == "judge":
        judge(entries, int(sys.argv[3]), int(sys.argv[4]), *[int(s) for s in sys.argv[5:6]], *sys.argv[6:7])
    elif command == "join":
        join(entries, int(sys.argv[3]))
    elif command == "answered":
        answered(entries, sys.argv[3])
    else:
        for entry in entries:
            print(json.dumps(entry))

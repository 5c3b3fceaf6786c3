"""What two runs of a torture program left behind must be the same.

    torture.py BARE SHIM    two folders of trail and wire, see tests/programs/torture.h. The trails are equal, line by line;
                            each connection carried the same bytes, but for whole insertions in as many heads as its line says
A connection whose name ends in * carried the same message any number of times.
With ORDER=any in the environment the lines of the trails and of the wires are sorted first.
"""
import os
import re
import sys

FIELD = (rb"(?:traceparent: 00-[0-9a-f]{32}-[0-9a-f]{16}-0[0-3]|tracestate: [!-~]+|baggage: [!-~ ]+"
         rb"|x-trace-id: [0-9a-f]{32}|b3: [0-9a-f]{32}-[0-9a-f]{16}-[01d](?:-[0-9a-f]{16})?"
         rb"|X-B3-(?:TraceId|SpanId|ParentSpanId|Sampled): [0-9a-f]+|uber-trace-id: [0-9a-f:]+"
         rb"|x-answered-in: [0-9a-f]{32})\r\n")
INSERTION = re.compile(rb"(?<=\r\n)(?:" + FIELD + rb")+(?=\r\n)", re.I)
SHOWN = 3  # differences


def lines(path):
    with open(path, "rb") as file:
        text = file.read()
    text = text[8:8 + int.from_bytes(text[:8], "little")]
    out = text.decode("latin1").split("\n")[:-1]
    return sorted(out) if os.environ.get("ORDER") == "any" else out


def strip(data):
    """The bytes without insertions, and how many there were."""
    count = len(INSERTION.findall(data))
    return INSERTION.sub(b"", data), count


def same_trails(bare, shim):
    ok = len(bare) == len(shim)
    wrong = 0
    for number, (one, other) in enumerate(zip(bare, shim)):
        if one != other:
            ok = False
            wrong += 1
            if wrong <= SHOWN:
                print(f"trail {number}:\n  bare      {one}\n  preloaded {other}")
    if len(bare) != len(shim):
        print(f"trails of {len(bare)} and {len(shim)} lines; the longer one goes on with:")
        print("\n".join((bare if len(bare) > len(shim) else shim)[min(len(bare), len(shim)):][:5]))
    return ok


def same_wires(bare, shim):
    ok = len(bare) == len(shim)
    wrong = 0
    if not ok:
        print(f"{len(bare)} and {len(shim)} connections")
    # In any order, connections of the same name are told apart by what they carried.
    parsed = [[], []]
    for which, wires in enumerate((bare, shim)):
        for line in wires:
            name, heads, rest = re.match(r"(.*?) (-?\d+) (.*)", line).groups()
            hexed, end = rest.rsplit(" ", 1)
            plain, found = strip(bytes.fromhex(hexed))
            if which == 0:
                plain, found = bytes.fromhex(hexed), 0
            if name.endswith("*"):
                # As many messages as there was time for, all alike, and whole.
                first = plain[:plain.find(b"\r\n\r\n") + 4]
                plain = plain.replace(first, b"") + first
            parsed[which].append((name, int(heads), plain, end, found))
        if os.environ.get("ORDER") == "any":
            parsed[which].sort()
    for one, other in zip(*parsed):
        if one[:4] != other[:4]:
            ok = False
            wrong += 1
            if wrong > SHOWN:
                continue
            print(f"wire {one[0]} ({one[1]} heads, {one[3]}):\n  bare      {one[2][:400]!r}"
                  f"\n  preloaded {other[0]} {other[3]} {other[2][:400]!r}")
        elif other[1] >= 0 and other[4] != other[1]:
            ok = False
            print(f"wire {other[0]}: {other[4]} insertions, not {other[1]}\n  {other[2][:700]!r}")
    return ok


def main():
    bare, shim = sys.argv[1:3]
    trails = lines(bare + "/trail"), lines(shim + "/trail")
    wires = lines(bare + "/wire"), lines(shim + "/wire")
    assert trails[0] or wires[0], "the bare run left nothing behind"
    ok = same_trails(*trails)
    ok = same_wires(*wires) and ok
    sys.exit(0 if ok else 1)


if __name__ == "__main__":
    main()

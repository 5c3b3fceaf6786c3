#!/usr/bin/env bats
#
# How scripts/bench judges what it measures: servers that differ from birth must not pass for a difference of ours.

setup() {
    root=$(cd "$BATS_TEST_DIRNAME/../.." && pwd)
    build=${TRACESHIM_BUILD:-$root/build}
    export PYTHONDONTWRITEBYTECODE=1 PYTHONPATH="$root/scripts/bench.d"
}

@test "Student's t is that of the tables" {
    /usr/bin/python3 - <<'END'
from estimates import student

for share, freedom, wanted in ((0.95, 1, 12.7062), (0.95, 2, 4.3027), (0.95, 3, 3.1824), (0.95, 5, 2.5706), (0.95, 10, 2.2281),
                               (0.95, 19, 2.0930), (0.99, 4, 4.6041), (0.99, 23, 2.8073), (0.95, 1000, 1.9623)):
    assert abs(student(share, freedom) - wanted) < 1e-4, (share, freedom, student(share, freedom))
END
}

@test "the interval of trimmed rounds is the one of its formula, and a wild round is not believed" {
    /usr/bin/python3 - <<'END'
import math
from estimates import estimate_rounds

near = lambda said, wanted: all(abs(math.log(a) - b) < 1e-4 for a, b in zip(said, wanted))
logs = [0.01, 0.02, 0.03, 0.04, 0.05]
# One of each end is cut: of 0.02, 0.02, 0.03, 0.04, 0.04 the deviation is 0.01, times sqrt(4 / (3 * 2)), times t(2) = 4.3027.
assert near(estimate_rounds(map(math.exp, logs)), (0.03, 0.03 - 0.035131, 0.03 + 0.035131))
assert near(estimate_rounds(map(math.exp, [*logs[:4], 9])), (0.03, 0.03 - 0.035131, 0.03 + 0.035131))
assert near(estimate_rounds(map(math.exp, [0.01, 0.03])), (0.02, 0.02 - 0.127062, 0.02 + 0.127062))
END
}

@test "servers that differ for life, by chance: the interval of rounds has 1 in it, that of all turns of one pair has not" {
    /usr/bin/python3 - <<'END'
import contextlib, os, random
import rounds
from estimates import estimate, estimate_rounds, judge_same

class Server:
    def __init__(self):
        self.speed = random.gauss(1000, 20)
    def turn(self):
        return (self.speed * random.gauss(1, 0.03),)
    warm_up = end = lambda self: None
    sched = lambda self: (1, 0)

class Bench:
    aside = contextlib.nullcontext
    def __init__(self, count):
        self.rounds = count
    def measured_cpus(self):
        return sorted(os.sched_getaffinity(0))

def take(count, turns):
    return rounds.take_rounds(Bench(count), {"bare": Server, "again": Server}, Server.turn, turns)

random.seed(7)
held = pooled = doubtless = 0
for _ in range(200):
    ratios = take(8, 6).ratios("bare", "again", 0)
    _, low, high = estimate_rounds(ratios)
    held += low <= 1 <= high
    doubtless += judge_same(ratios) != "missed"
    _, low, high = estimate([second / first for first, second in take(1, 48).pairs("bare", "again", 0)], True)
    pooled += low <= 1 <= high
print(f"of 200: {held} by rounds, {doubtless} of these or with a question mark, {pooled} by turns")
assert held >= 180 and doubtless >= held + 2 and doubtless >= 194 and pooled <= 100
END
}

@test "each round has new servers, in every order, and all of them end, also where one fails" {
    /usr/bin/python3 - <<'END'
import contextlib, os
import rounds

class Bench:
    rounds = 60
    aside = contextlib.nullcontext
    measured_cpus = lambda self: sorted(os.sched_getaffinity(0))

class Server:
    made, alive, fails = [], set(), None
    def __init__(self, side):
        self.side, self.warm = side, False
        Server.made.append(self)
        Server.alive.add(self)
    def warm_up(self):
        assert len(Server.alive) == 3
        self.warm = True
    def run(self):
        assert self.warm and len(Server.alive) == 3
        if Server.fails == self.side:
            raise RuntimeError("it fails")
        return (1.0, 2.0)
    def end(self):
        Server.alive.remove(self)
    sched = lambda self: (1, 0)

sides = {side: (lambda side=side: Server(side)) for side in ("bare", "preloaded", "again")}
taken = rounds.take_rounds(Bench(), sides, Server.run)
assert len(Server.made) == 180 and not Server.alive
starts = {tuple(server.side for server in Server.made[first:first + 3]) for first in range(0, 180, 3)}
assert len(starts) == 6, starts
for turns in taken.turns:
    assert len({tuple(turn) for turn in turns}) == len(turns) == rounds.TURNS == 6
assert len({tuple(tuple(turn) for turn in turns) for turns in taken.turns}) > 30
Server.fails = "preloaded"
try:
    rounds.take_rounds(Bench(), sides, Server.run)
    raise SystemExit("a failure was not seen")
except RuntimeError:
    assert not Server.alive
END
}

@test "what is stopped takes its group along, insists where it has to, and is nobody else's any more once it has been waited for" {
    /usr/bin/python3 - "$build" <<'END'
import pathlib, subprocess, sys, time
import harness

def ends(pid):
    """Whether it does in a while, waited for or not."""
    stat, until = pathlib.Path(f"/proc/{pid}/stat"), time.monotonic() + 60
    while stat.exists() and stat.read_text().rsplit(")", 1)[1].split()[0] not in "ZX" and time.monotonic() < until:
        time.sleep(0.01)
    return time.monotonic() < until

with harness.Bench(pathlib.Path(sys.argv[1]), True) as bench:
    master = bench.start(["sh", "-c", "sleep 600 & echo $!; exec sleep 600"], stdout=subprocess.PIPE, text=True)
    worker = int(master.stdout.readline())
    bench.stop(master)
    assert master.returncode == -15 and not bench.running and ends(worker)
    deaf = bench.start(["sh", "-c", "trap '' TERM; echo; while :; do sleep 600; done"], stdout=subprocess.PIPE)
    deaf.stdout.readline()
    bench.stop(deaf, 0.2)
    assert deaf.returncode == -9
    gone = bench.start(["true"])
    gone.wait()
    harness.os.killpg = None
    bench.stop(gone)
    assert gone.returncode == 0 and not bench.running
END
}

@test "a bench of a few rounds says of each ratio what it was in each of them, and checks itself" {
    run env TRACESHIM_BUILD="$build" "$root/scripts/bench" --quick --rounds 3 --only nginx-tls --json "$BATS_TEST_TMPDIR/bench.json"
    echo "$output"
    [ "$status" -eq 0 ]
    [[ $output == *"bare against bare"*" has 1  "*", +-"*"%"* ]]
    jq -e '.rounds == 3 and (.results | length) == 10 and all(.results[];
            (.ratios | length) == 3 and .rounds == 3 and .pairs == 18 and .low <= .value and .value <= .high and .waited >= 0 and .stolen >= 0)
        and ([.results[] | select(.sides == ["bare", "again"]) | .goal == ["has", 1] and .resolution > 0] == [true, true])' \
        "$BATS_TEST_TMPDIR/bench.json"
    run "$root/scripts/bench" --rounds 1
    [ "$status" -eq 2 ]
}

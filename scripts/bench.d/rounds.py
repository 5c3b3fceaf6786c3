"""
Servers beside each other, bare and preloaded, in rounds: each round has new ones. For where the kernel put a server's pages, and so
which of them share a set of the caches, is settled when it starts: two bare nginx differ by up to four percent for as long as
they live, and however long one pair of them is loaded, that difference stays in the ratio. So what a pair of instances says is one
sample, and chance is judged by how these samples differ (T. Kalibera and R. Jones, "Rigorous benchmarking in reasonable time", ISMM 2013:
repeat at the highest level that varies). The next level is not repeated: an object linked otherwise, or a machine
started anew, can again differ by something.

A round: the servers are started in an order drawn by lot, are asked until they are warm, and then are loaded in short turns, each in another
of the orders there are. A turn is a fixed number of requests and takes a fiftieth of a second: what else the machine does, its
frequency too, changes more slowly, and so hits all sides of a turn alike. Servers and loads of all rounds and
sides have the same processors, the server one and the load another, and this program stays on a third. Folders and ports have names of
one length, logs lie in the same file system, only grow while a round lasts and are gone behind it: nobody writes on pages
that another's truncation has just made warm.

What is left of chance the row 'bare against bare' shows: two bare servers a round, treated as the others are. Its range
has 1 in it, nineteen times of twenty, or else the bench is wrong; its width is what the bench can tell apart.
"""
import itertools
import math
import pathlib
import random

from estimates import trimmed_mean

# A round; each order of two or three sides comes equally often. That few, because a second of more rounds says more than one of longer
# rounds: the ratio of a turn scatters by two to five times as much as that of instances, which take as long to start as four turns.
TURNS = 6


class Rounds:
    """
    What several rounds gave: `turns`, of each round a list of {side: what it gave}; `waited`, of the time that servers and loads
    could have run the share in which their processor was another's; `stolen`, the share of these processors' time that the host kept.
    """

    def __init__(self):
        self.turns = []
        self.waited = self.stolen = 0.0

    def ratios(self, first, second, place):
        """Of each round, what second is to first in the measure at `place`: the trimmed mean of its turns' logarithms, as a ratio."""
        return [math.exp(trimmed_mean([math.log(turn[second][place] / turn[first][place]) for turn in turns])) for turns in self.turns]

    def pairs(self, first, second, place):
        return [(turn[first][place], turn[second][place]) for turns in self.turns for turn in turns]

    def report(self, bench, name, first="bare", second="preloaded", goals=(None, None)):
        """Two lines of the table: requests a second, and the processor time of one."""
        for place, row, unit in ((0, name, "req/s"), (1, "       processor time of it", "us/req")):
            bench.report_rounds(row, unit, self, place, goals[place], (first, second))

    def report_again(self, bench):
        """Two lines that say whether, and how well, the bench measures."""
        self.report(bench, "  bare against bare", "bare", "again", (("has", 1), ("has", 1)))


def read_stolen(cpus):
    """(time that the host gave to others, all time) of these processors, in ticks. proc(5), /proc/stat."""
    wanted = {f"cpu{cpu}" for cpu in cpus}
    stolen = total = 0
    for line in pathlib.Path("/proc/stat").read_text(encoding="ascii").splitlines():
        name, *ticks = line.split()
        if name in wanted:
            stolen += int(ticks[7])
            total += sum(map(int, ticks[:8]))  # a guest's time is in user time already
    return stolen, total


def read_sched(pid):
    """(nanoseconds on a processor, nanoseconds ready and without one) of a process with one thread."""
    fields = pathlib.Path(f"/proc/{pid}/schedstat").read_text(encoding="ascii").split()
    return int(fields[0]), int(fields[1])


def sum_sched(servers):
    return [sum(times) for times in zip(*(server.sched() for server in servers))]


def take_round(sides, turns, measure):
    """One round. Returns (its turns, nanoseconds that its processes ran meanwhile, nanoseconds that they waited)."""
    running = {}
    try:
        for side in random.sample(list(sides), len(sides)):
            running[side] = sides[side]()
        for server in running.values():
            server.warm_up()
        orders = list(itertools.permutations(sides))
        random.shuffle(orders)
        before = sum_sched(running.values())
        taken = [{side: measure(running[side]) for side in orders[turn % len(orders)]} for turn in range(turns)]
        ran, waited = (after - then for after, then in zip(sum_sched(running.values()), before))
        return taken, ran, waited
    finally:
        for server in running.values():
            server.end()


def take_rounds(bench, sides, measure, turns=TURNS):
    """
    sides: {name: function that starts a new server and returns what has warm_up(), sched() (as read_sched) and end()};
    measure(server): one side's share of a turn. Returns Rounds.
    """
    rounds = Rounds()
    ran = waited = 0
    with bench.aside():
        before = read_stolen(bench.measured_cpus())
        for _ in range(bench.rounds):
            taken, *times = take_round(sides, turns, measure)
            rounds.turns.append(taken)
            ran, waited = ran + times[0], waited + times[1]
        after = read_stolen(bench.measured_cpus())
    rounds.waited = waited / max(1, ran + waited)
    rounds.stolen = (after[0] - before[0]) / max(1, after[1] - before[1])
    return rounds

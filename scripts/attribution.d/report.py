"""What the runs of the attribution experiment say: sums, bounds, and the table."""
import math
import statistics


def at_most(seen, trials, wanted):
    """The probability of `seen` or fewer in `trials`, each with probability `wanted`."""
    term = trials * math.log1p(-wanted)
    total = math.exp(term)
    for i in range(1, seen + 1):
        term += math.log(trials - i + 1) - math.log(i) + math.log(wanted) - math.log1p(-wanted)
        total += math.exp(term)
    return total


def upper_bound(seen, trials):
    """The exact (Clopper-Pearson) one-sided upper bound of a share, at 95 %; for none seen about 3 / trials."""
    if trials == 0 or seen >= trials:
        return 1.0
    low, high = seen / trials, 1.0
    for _ in range(200):
        middle = (low + high) / 2
        if middle in (low, high):
            break
        low, high = (middle, high) if at_most(seen, trials, middle) > 0.05 else (low, middle)
    return high


BEHIND = ("after", "background", "access")  # words of lines that are written behind the answer


def add_up(rows):
    return {name: sum(row[name] for row in rows) for name in ("right", "none", "wrong")}


def sums(result, what, pipelined=None, behind=None):
    """right, none and wrong of "lines" or "calls"; of requests that were pipelined or not, of lines behind the answer or not."""
    rows = []
    for run in result.get("runs", []):
        kinds = [phase["kind"] == "pipeline" for phase in run["phases"]]
        if what == "calls":
            rows += [phase for phase, kind in zip(run["phases"], kinds) if pipelined in (None, kind)]
        else:
            rows += [row for row in run["lines"] if pipelined in (None, kinds[row["phase"]]) and
                     behind in (None, row["word"] in BEHIND)]
    total = add_up(rows)
    if what == "lines" and pipelined is None and behind is None:
        total["wrong"] += sum(run["foreign"] + run.get("shared", 0) for run in result.get("runs", []))
    return total


def requests(result):
    return sum(phase["requests"] for run in result.get("runs", []) for phase in run["phases"])


def retried(result):
    return sum(phase["retried"] for run in result.get("runs", []) for phase in run["phases"])


def share(part, counts):
    total = sum(counts.values())
    return counts[part] / total if total else 0.0


def judge(pattern, result):
    """What does not hold of this result."""
    if not result.get("runs"):
        return []
    lines, calls, errors = sums(result, "lines"), sums(result, "calls"), []
    for run in result["runs"]:
        said = f"{run['examples']}{run['said']}".strip()
        if said:
            errors.append(said)
        again = sum(phase["retried"] for phase in run["phases"])
        unknown = sum(phase["requests"] for phase in run["phases"] if phase["kind"] == "pipeline")
        if run["no_record"] > unknown * pattern.bare_lines:
            errors.append(f"{run['no_record']} lines are no records")
        if run["repeated"] > again * pattern.lines:
            errors.append(f"{run['repeated']} lines came twice")
    plain = sum(phase["requests"] for run in result["runs"] for phase in run["phases"] if phase["kind"] != "pipeline")
    may_be_unknown = pattern.learns * len(result["runs"]) / plain
    for name, counts, floor in (("lines", sums(result, "lines", False, False), pattern.floor),
                                ("lines behind the answer", sums(result, "lines", False, True), pattern.behind_floor),
                                ("calls", sums(result, "calls", False), pattern.calls_floor)):
        if share("right", counts) + may_be_unknown < floor:
            errors.append(f"{share('right', counts):.4%} of {name} are right, {floor:.2%} are wanted")
    wanted = requests(result)
    for name, counts, each in ("lines", lines, pattern.lines), ("calls", calls, pattern.calls):
        if counts["wrong"]:
            errors.append(f"{counts['wrong']} {name} are wrong")
        most = max(each, pattern.most_calls if name == "calls" else 0)
        if not wanted * each <= sum(counts.values()) <= (wanted + retried(result)) * most:
            errors.append(f"{sum(counts.values())} {name}, wanted {wanted * each}")
    return errors


def percent(value):
    if value in (0.0, 1.0):
        return f"{value * 100:.0f}"
    if value > 0.9999 or value < 0.0001:
        return "> 99.99" if value > 0.5 else "< 0.01"
    return f"{value * 100:.2f}"


def ppm(seen, trials):
    """The bound, in a million. A request is one trial, however many lines it has: its lines stand and fall together."""
    if trials < 1000 and not seen:
        return "-"  # says nothing
    bound = upper_bound(min(seen, trials), trials) * 1e6
    return f"< {bound:,.0f}" if bound >= 10 else f"< {bound:.1f}"


def wrong(counts, number, told):
    """How many; the bounds of all requests, and of those that have an id."""
    return f"{counts['wrong']} ({ppm(counts['wrong'], number)}; {ppm(counts['wrong'], told)})" if sum(counts.values()) else "-"


def shown(part, counts):
    return percent(share(part, counts)) if sum(counts.values()) else "-"


HEAD = ("pattern", "requests", "at work: mean, most", "lines: right %", "unknown %", "wrong", "calls: right %", "unknown %", "wrong",
        "behind the answer: right %", "pipelined: lines, calls right %")
COST_HEAD = ("processor time", "throughput")


def ratio(spent, name):
    return f"{spent[name]['median']:.2f} ({spent[name]['least']:.2f}..{spent[name]['most']:.2f})" if spent else "-"


def row(title, parts, spent, costs):
    """A line of the table: of one result, or of the sums of all; `costs`: there is such a column."""
    lines, calls, number = parts["all lines"], parts["all calls"], parts["requests"]
    pipelined = shown("right", parts["lines pipelined"]), shown("right", parts["calls pipelined"])
    cells = [title, f"{number:,}", parts["at work"],
             shown("right", parts["lines"]), shown("none", parts["lines"]), wrong(lines, number, parts["told"]),
             shown("right", parts["calls"]), shown("none", parts["calls"]), wrong(calls, number, calls["right"] + calls["wrong"]),
             shown("right", parts["behind"]), "-" if pipelined == ("-", "-") else ", ".join(pipelined)]
    return "| " + " | ".join(cells + ([ratio(spent, "processor"), ratio(spent, "throughput")] if costs else [])) + " |"


def at_work(result):
    """How many requests were between their first line and their answer, whenever one began: the mean, and the most."""
    seen = [phase for run in result.get("runs", []) for phase in run.get("phases_seen", []) if phase["begun"]]
    begun = sum(phase["begun"] for phase in seen)
    mean = sum(phase["mean_at_work"] * phase["begun"] for phase in seen) / begun if begun else 0
    return f"{mean:.1f}, {max(phase['most_at_work'] for phase in seen)}" if seen else "-"


def parts_of(result):
    runs = result.get("runs", [])
    return {"lines": sums(result, "lines", False, False), "behind": sums(result, "lines", False, True),
            "lines pipelined": sums(result, "lines", True), "all lines": sums(result, "lines"),
            "calls": sums(result, "calls", False), "calls pipelined": sums(result, "calls", True),
            "all calls": sums(result, "calls"), "requests": requests(result), "at work": at_work(result),
            "told": sum(phase["told"] for run in runs for phase in run.get("phases_seen", []))}


def merge(results):
    """Results that share a row of the table are one."""
    rows = {}
    for result in results:
        row_of = rows.setdefault((result["group"], result["row"]), {"group": result["group"], "title": result["row"], "runs": [],
                                                                    "costs": []})
        row_of["runs"] += result.get("runs", [])
        row_of["costs"] += [result["cost"]] if result.get("cost") else []
    for result in rows.values():
        spent = result["costs"]
        if spent:
            result["cost"] = {name: {"median": statistics.median(one[name]["median"] for one in spent),
                                     "least": min(one[name]["least"] for one in spent),
                                     "most": max(one[name]["most"] for one in spent)} for name in ("processor", "throughput")}
    return list(rows.values())


def origin(results):
    """What was run to get this, a sentence for each way, and of which commits."""
    by_way = {}
    for result in results:
        way = " ".join(["scripts/attribution", "--requests", str(result["requests"])] + [f"--set {item}" for item in result["settings"]])
        commits = by_way.setdefault(way, {})
        commits[result["commit"]] = commits.get(result["commit"], 0) + 1
    return [f"Measured by `{way}`: " + ", ".join(f"{count} patterns at commit {commit}" for commit, count in commits.items()) + "."
            for way, commits in by_way.items()]


def table(results):
    costs = any(result.get("cost") for result in results)
    head = HEAD + COST_HEAD if costs else HEAD
    rows = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    group, total = None, {}
    for result in merge(results):
        parts = parts_of(result)
        for name, counts in parts.items():
            if isinstance(counts, dict):
                total[name] = add_up([counts, total[name]]) if name in total else counts
            elif name != "at work":
                total[name] = total.get(name, 0) + counts
        if result["group"] != group:
            group = result["group"]
            rows.append(f"| **{group}** |" + " |" * (len(head) - 1))
        rows.append(row(result["title"], parts, result.get("cost"), costs))
    rows.append(row("**all**", {**total, "at work": ""}, None, costs))
    return "\n".join(rows + [""] + origin(results)) + "\n"

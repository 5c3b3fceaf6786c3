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
        total["wrong"] += sum(run["foreign"] for run in result.get("runs", []))
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
        if run["no_record"] and not pattern.bare_children:
            errors.append(f"{run['no_record']} lines are no records")
    for name, counts, floor in (("lines", sums(result, "lines", False, False), pattern.floor),
                                ("lines behind the answer", sums(result, "lines", False, True), pattern.behind_floor),
                                ("calls", sums(result, "calls", False), pattern.calls_floor)):
        if share("right", counts) < floor:
            errors.append(f"{share('right', counts):.4%} of {name} are right, {floor:.2%} are wanted")
    wanted = requests(result)
    for name, counts, each in ("lines", lines, pattern.lines), ("calls", calls, pattern.calls):
        if counts["wrong"]:
            errors.append(f"{counts['wrong']} {name} are wrong")
        if each and not wanted * each <= sum(counts.values()) <= (wanted + retried(result)) * each:
            errors.append(f"{sum(counts.values())} {name}, wanted {wanted * each}")
    return errors


def percent(value):
    if value in (0.0, 1.0):
        return f"{value * 100:.0f}"
    if value > 0.9999 or value < 0.0001:
        return "> 99.99" if value > 0.5 else "< 0.01"
    return f"{value * 100:.2f}"


def wrong(counts):
    total = sum(counts.values())
    if not total:
        return "-"
    ppm = upper_bound(counts["wrong"], total) * 1e6
    return f"{counts['wrong']} (< {ppm:,.0f})" if ppm >= 10 else f"{counts['wrong']} (< {ppm:.1f})"


def right(counts):
    return percent(share("right", counts)) if sum(counts.values()) else "-"


HEAD = ("pattern", "requests", "lines: right %", "behind the answer", "pipelined", "wrong (ppm)", "calls: right %", "pipelined",
        "wrong (ppm)", "throughput")


def row(title, parts, spent, number):
    """A line of the table: of one result, or of the sums of all."""
    ratio = f"{spent['median']:.2f} ({spent['least']:.2f}..{spent['most']:.2f})" if spent else "-"
    return "| " + " | ".join([title, f"{number:,}", right(parts["lines"]), right(parts["behind"]), right(parts["lines pipelined"]),
                              wrong(parts["all lines"]), right(parts["calls"]), right(parts["calls pipelined"]),
                              wrong(parts["all calls"]), ratio]) + " |"


def parts_of(result):
    return {"lines": sums(result, "lines", False, False), "behind": sums(result, "lines", False, True),
            "lines pipelined": sums(result, "lines", True), "all lines": sums(result, "lines"),
            "calls": sums(result, "calls", False), "calls pipelined": sums(result, "calls", True),
            "all calls": sums(result, "calls")}


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
            result["cost"] = {"median": statistics.median(one["median"] for one in spent),
                              "least": min(one["least"] for one in spent), "most": max(one["most"] for one in spent)}
    return list(rows.values())


def table(results):
    rows = ["| " + " | ".join(HEAD) + " |", "|" + "---|" * len(HEAD)]
    group, total, number = None, {}, 0
    for result in merge(results):
        parts = parts_of(result)
        number += requests(result)
        for name, counts in parts.items():
            total[name] = add_up([counts, total[name]]) if name in total else counts
        if result["group"] != group:
            group = result["group"]
            rows.append(f"| **{group}** |" + " |" * (len(HEAD) - 1))
        rows.append(row(result["title"], parts, result.get("cost"), requests(result)))
    rows.append(row("**all**", total, None, number))
    return "\n".join(rows) + "\n"

"""What the runs of the attribution experiment say: sums, bounds, and the table."""
import math


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


def sums(result, what, words=None):
    """right, none and wrong of "lines" or "calls"."""
    rows = []
    for run in result.get("runs", []):
        rows += run["phases"] if what == "calls" else run["lines"]
    total = {name: sum(row[name] for row in rows if words is None or row["word"] in words)
             for name in ("right", "none", "wrong")}
    if what == "lines" and words is None:
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
            errors.append(f"-O{run['level']}: {said}")
        if run["no_record"]:
            errors.append(f"-O{run['level']}: {run['no_record']} lines are no records")
    for name, counts, floor in ("lines", lines, pattern.floor), ("calls", calls, pattern.calls_floor):
        if counts["wrong"]:
            errors.append(f"{counts['wrong']} {name} are wrong")
        if share("right", counts) < floor:
            errors.append(f"{share('right', counts):.4%} of {name} are right, {floor:.2%} are wanted")
    wanted = requests(result)
    if pattern.lines and not wanted * pattern.lines <= sum(lines.values()) <= (wanted + retried(result)) * pattern.lines:
        errors.append(f"{sum(lines.values())} lines, wanted {wanted * pattern.lines}")
    if pattern.calls and not wanted * pattern.calls <= sum(calls.values()) <= (wanted + retried(result)) * pattern.calls:
        errors.append(f"{sum(calls.values())} calls, wanted {wanted * pattern.calls}")
    return errors


def percent(value):
    if value in (0.0, 1.0):
        return f"{value:.0%}"
    text = f"{value:.2%}"
    return {"100.00%": "> 99.99%", "0.00%": "< 0.01%"}.get(text, text)


def bound(counts):
    total = sum(counts.values())
    if not total:
        return "-"
    return f"{counts['wrong']} (≤ {upper_bound(counts['wrong'], total) * 1e6:.3g} ppm)"


def cells(counts):
    if not sum(counts.values()):
        return ["-", "-", "-"]
    return [percent(share("right", counts)), percent(share("none", counts)), bound(counts)]


def table(results):
    head = ["pattern", "requests", "lines right", "none", "wrong", "calls right", "none", "wrong", "throughput"]
    rows = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    group, all_lines, all_calls, all_requests = None, [], [], 0
    for result in results:
        lines, calls = sums(result, "lines"), sums(result, "calls")
        all_lines.append(lines)
        all_calls.append(calls)
        all_requests += requests(result)
        if result["group"] != group:
            group = result["group"]
            rows.append(f"| **{group}** |" + " |" * (len(head) - 1))
        spent = result.get("cost")
        ratio = f"{spent['median']:.2f} ({spent['least']:.2f}..{spent['most']:.2f})" if spent else "-"
        rows.append("| " + " | ".join([result["title"], f"{requests(result):,}", *cells(lines), *cells(calls), ratio]) + " |")
    total = [{name: sum(counts[name] for counts in part) for name in ("right", "none", "wrong")}
             for part in (all_lines, all_calls)]
    rows.append("| " + " | ".join(["**all**", f"{all_requests:,}", *cells(total[0]), *cells(total[1]), ""]) + " |")
    return "\n".join(rows) + "\n"

"""Result tables, and the machine that they are valid for."""

import platform
import sqlite3
from importlib.metadata import version
from pathlib import Path
from statistics import median

from bench.comparison import BASELINE, OURS, Rounds
from bench.goals import ELSEWHERE, HASHES, IN_PROCESS_US, RATIOS, Goal
from bench.peers.stacks import PATHS as PEER_PATHS
from bench.peers.stacks import PEERS, find_missing

PACKAGES = ("flask", "werkzeug", "sqlalchemy", "gunicorn", "granian", "flask-smorest", "marshmallow", "msgspec")
PEERS_METHOD = (
    "Other stacks that give the same answers from the same file, which was checked first. They keep nothing between "
    "requests; streamsvc keeps responses, except on `list-fresh`, and the cards of titles. `×` is the processor time "
    "of the peer divided by that of streamsvc on each server."
)
Profile = list[tuple[str, float]]
"""Functions and the µs that each takes itself in a call."""
COLORS = {"gunicorn": "#4477aa", "granian": "#ee6677"}


def describe_machine() -> str:
    """The machine and the package versions, in two lines."""
    cpu_info = Path("/proc/cpuinfo").read_text() if Path("/proc/cpuinfo").exists() else ""
    names = [line.partition(": ")[2] for line in cpu_info.splitlines() if line.startswith("model name")]
    cpu = f"{len(names)} × {names[0]}" if names else platform.processor()
    packages = ", ".join(f"{package} {version(package)}" for package in PACKAGES)
    return (
        f"{cpu}, {platform.system()}\nPython {platform.python_version()}, SQLite {sqlite3.sqlite_version}, {packages}"
    )


def find_ratio(rounds: list[dict], contender: str, baseline: str = BASELINE) -> float:
    """The median of the rounds' ratios of the baseline's processor time to the contender's; above 1 it is faster."""
    return median(turns[baseline].server_us / max(turns[contender].server_us, 1) for turns in rounds)


def format_comparison(rounds: Rounds) -> str:
    """A row for each path and contender, as a Markdown table."""
    header = (
        "path",
        "server",
        "µs",
        "database µs",
        "to bare sync",
        "to bare there",
        "req/s",
        "p50 ms",
        "p99 ms",
        "failed",
    )
    rows = [header]
    for path, of_path in rounds.items():
        for contender in of_path[0]:
            turns = [turns[contender] for turns in of_path]
            bare = f"bare Flask, {contender}"
            own = f"{find_ratio(of_path, contender, bare):.2f}" if bare in of_path[0] else ""
            rows.append(
                (
                    path,
                    contender,
                    f"{median(turn.server_us for turn in turns):.0f}",
                    f"{median(turn.database_us for turn in turns):.0f}" if contender in OURS else "",
                    f"{find_ratio(of_path, contender):.2f}",
                    own,
                    f"{median(turn.load.per_second for turn in turns):.0f}",
                    f"{median(turn.load.p50_ms for turn in turns):.1f}",
                    f"{median(turn.load.p99_ms for turn in turns):.1f}",
                    str(sum(turn.load.failures for turn in turns)),
                )
            )
    return format_markdown(rows)


def format_peers(rounds: Rounds) -> str:
    """A table for each peer, or why it was not measured. `×`: how many times less processor time streamsvc takes."""
    parts = []
    for name in PEERS:
        rows = [("path", "µs", "to bare sync", *(f"streamsvc, {server}" for server in OURS))]
        for path in PEER_PATHS:
            of_path = rounds.get(path, [{}])
            if name not in of_path[0]:
                continue
            own_us = median(turns[name].server_us for turns in of_path)
            ratios = (f"× {find_ratio(of_path, server, name):.2f}" if server in of_path[0] else "" for server in OURS)
            rows.append((path, f"{own_us:.0f}", f"{find_ratio(of_path, name):.2f}", *ratios))
        why_not = f"not measured: {find_missing(name) or 'not chosen'}"
        parts += [f"### {name}", format_markdown(rows) if rows[1:] else why_not]
    return "\n\n".join(parts)


def format_ratio_goals(results: dict[str, Rounds]) -> str:
    """Each goal for a ratio beside what was measured. `results`: the rounds by database."""
    rows = [("path", "database", "server", "against", "goal", "measured", "")]
    for goal in RATIOS:
        for server in OURS:
            least, measured = getattr(goal, server), find_goal_ratio(results, goal, server)
            judged = judge(measured, least, "{:.2f}")
            rows.append((goal.path, goal.database, server, goal.against, f"≥ {least:.2f}", *judged))
    return format_markdown(rows)


def find_goal_ratio(results: dict[str, Rounds], goal: Goal, server: str) -> float | None:
    """The ratio that a goal is about; None if it was not measured."""
    of_path = results.get(goal.database, {}).get(goal.path)
    return (
        find_ratio(of_path, server, goal.against) if of_path and of_path[0].keys() >= {server, goal.against} else None
    )


def missed_ratios(results: dict[str, Rounds]) -> list[tuple[Goal, str]]:
    """The goals for a ratio that were measured and missed, each with the server."""
    return [
        (goal, server)
        for goal in RATIOS
        for server in OURS
        if (measured := find_goal_ratio(results, goal, server)) is not None and measured < getattr(goal, server)
    ]


def missed_in_process(times_us: dict[str, list[float]], hash_us: float) -> list[str]:
    """The paths that miss their goal in process."""
    return [path for path, most in IN_PROCESS_US.items() if path in times_us and median(times_us[path]) > most] + [
        path for path, least in HASHES.items() if path in times_us and hash_us / median(times_us[path]) < least
    ]


def format_missed_ratios(results: dict[str, Rounds]) -> str:
    """What each missed goal leaves for a response, beside what ours and bare Flask on the same server take."""
    rows = [("path", "database", "server", "against", "the goal leaves", "streamsvc takes", "bare Flask there takes")]
    for goal, server in missed_ratios(results):
        turns = results[goal.database][goal.path]
        names = (goal.against, server, f"bare Flask, {server}")
        base_us, own_us, bare_us = (
            median(of_round[name].server_us for of_round in turns) if name in turns[0] else None for name in names
        )
        assert base_us is not None
        times_us = (base_us / getattr(goal, server), own_us, bare_us)
        texts = ("" if us is None else f"{us:.0f} µs" for us in times_us)
        rows.append((goal.path, goal.database, server, goal.against, *texts))
    return format_markdown(rows)


def format_obstacles(
    results: dict[str, Rounds], profiles: dict[str, Profile], besides_hash: dict[str, tuple[float, float]]
) -> list[str]:
    """Why goals are missed; empty if none is."""
    if not (profiles or missed_ratios(results)):
        return []
    parts = ["## Why goals are missed", format_missed_ratios(results)]
    if besides_hash:
        rows = [(path, f"{with_us:,.0f} µs", f"{without:,.0f} µs") for path, (with_us, without) in besides_hash.items()]
        parts.append("The hash evicts everything else from the processor's caches, so that the rest takes longer:")
        parts.append(format_markdown([("path", "besides the hash", "without a hash"), *rows]))
    if profiles:
        parts.append("The functions with the most processor time of their own, in process, under a profiler:")
        rows = [(path, name, f"{own_us:,.0f}") for path, of_path in profiles.items() for name, own_us in of_path]
        parts.append(format_markdown([("path", "function", "µs"), *rows]))
    return parts


def format_in_process_goals(times_us: dict[str, list[float]], hash_us: float) -> str:
    """Each goal for a call in process beside what was measured; `hash_us`: a password hash alone."""
    rows = [("path", "goal", "measured", "")]
    for path, most in IN_PROCESS_US.items():
        measured = median(times_us[path]) if path in times_us else None
        rows.append((path, f"≤ {most:,} µs", *judge(measured, most, "{:,.0f} µs", is_most=True)))
    for path, least in HASHES.items():
        measured = hash_us / median(times_us[path]) if path in times_us else None
        rows.append((path, f"≥ {least} of argon2id alone", *judge(measured, least, "{:.2f}")))
    return format_markdown(rows)


def judge(measured: float | None, goal: float, form: str, is_most: bool = False) -> tuple[str, str]:
    """The measured value as text, and whether it meets the goal."""
    if measured is None:
        return "", "not measured"
    is_met = measured <= goal if is_most else measured >= goal
    return form.format(measured), "met" if is_met else "**missed**"


def format_results(
    results: dict[str, Rounds], times_us: dict[str, list[float]], hash_us: float, obstacles: list[str], method: str
) -> str:
    """The report, as Markdown. `times_us`: the times in process by path, on SQLite."""
    parts = ["# What the hot paths cost", "```\n" + describe_machine() + "\n```", method]
    parts += ["![ratios](results.svg)", "## Goals", format_ratio_goals(results)]
    parts += ["Measured elsewhere:", format_markdown([("what", "by"), *((k, f"`{v}`") for k, v in ELSEWHERE.items())])]
    if times_us:
        parts += ["## A call in process, SQLite", format_in_process_goals(times_us, hash_us)]
        rows = [(path, f"{median(of_path):,.0f}") for path, of_path in times_us.items()]
        parts.append(format_markdown([("path", "µs"), *rows]))
    parts += obstacles
    for database, rounds in results.items():
        parts += [f"## {database}", format_comparison(rounds)]
        if database == "sqlite":
            parts += ["## Peers, SQLite", PEERS_METHOD, format_peers(rounds)]
    return "\n\n".join(parts) + "\n"


def format_plot(results: dict[str, Rounds]) -> str:
    """The ratios to bare Flask on gunicorn's sync workers as bars, in SVG; a line marks 1."""
    bars, y, scale = [], 40, 110
    for database, rounds in results.items():
        bars.append(f'<text x="10" y="{y}" font-weight="bold">{database}</text>')
        y += 10
        for path, of_path in rounds.items():
            bars.append(f'<text x="10" y="{y + 16}">{path}</text>')
            for server in OURS:
                ratio = find_ratio(of_path, server)
                width = min(ratio, 5) * scale
                bars.append(f'<rect x="110" y="{y}" width="{width:.0f}" height="9" fill="{COLORS[server]}"/>')
                bars.append(f'<text x="{114 + width:.0f}" y="{y + 9}" font-size="9">{ratio:.2f}</text>')
                y += 11
            y += 6
        y += 30
    legend = "".join(
        f'<text x="{250 + 90 * i}" y="20" fill="{color}">{server}</text>'
        for i, (server, color) in enumerate(COLORS.items())
    )
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="720" height="{y}" font-family="sans-serif" font-size="12">'
        f'<rect width="100%" height="100%" fill="white"/><text x="10" y="20">bare Flask (sync) ÷ streamsvc, CPU</text>'
        f'{legend}<path d="M{110 + scale} 30V{y - 20}" stroke="#888"/>{"".join(bars)}</svg>\n'
    )


def format_markdown(rows: list[tuple]) -> str:
    """The rows as a Markdown table; the first row is the header."""
    header, *rest = [f"| {' | '.join(row)} |" for row in rows]
    return "\n".join([header, "|" + "---|" * len(rows[0]), *rest])


def format_table(rows: list[tuple]) -> str:
    """The rows as aligned text; the first row is the header."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = [
        "  ".join(
            cell.ljust(width) if column == 0 else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        for row in rows
    ]
    return "\n".join([lines[0], "-" * len(lines[0]), *lines[1:]])

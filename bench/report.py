"""What was measured, as tables; and where."""

import platform
import sqlite3
from importlib.metadata import version
from pathlib import Path
from statistics import median

PARTS = ("flask", "werkzeug", "sqlalchemy", "gunicorn", "flask-smorest", "marshmallow", "msgspec")


def machine() -> str:
    """The machine and the versions, in two lines."""
    facts = Path("/proc/cpuinfo").read_text() if Path("/proc/cpuinfo").exists() else ""
    names = [line.partition(": ")[2] for line in facts.splitlines() if line.startswith("model name")]
    cpu = f"{len(names)} × {names[0]}" if names else platform.processor()
    parts = ", ".join(f"{part} {version(part)}" for part in PARTS)
    return f"{cpu}, {platform.system()}\nPython {platform.python_version()}, SQLite {sqlite3.sqlite_version}, {parts}"


def over_loopback(rounds: dict[str, list[tuple]]) -> str:
    """`rounds`: path → [(streamsvc's Round, bare Flask's Round)]."""
    rows = [("path", "ratio", "req/s", "(min–max)", "p50 ms", "p99 ms", "bare req/s", "bare p99 ms", "wrong")]
    for path, pairs in rounds.items():
        ours, bare = zip(*pairs, strict=True)
        speeds = [one.per_second for one in ours]
        rows.append(
            (
                path,
                f"{median(a.per_second / b.per_second for a, b in pairs):.2f}",
                f"{median(speeds):.0f}",
                f"({min(speeds):.0f}–{max(speeds):.0f})",
                f"{median(one.p50_ms for one in ours):.1f}",
                f"{median(one.p99_ms for one in ours):.1f}",
                f"{median(one.per_second for one in bare):.0f}",
                f"{median(one.p99_ms for one in bare):.1f}",
                str(sum(one.wrong for one in (*ours, *bare))),
            )
        )
    return table(rows)


def in_process(rounds: dict[str, list[tuple[float, float]]]) -> str:
    """`rounds`: path → [(streamsvc's, bare Flask's µs a request)]."""
    rows = [("path", "ratio", "µs", "(min–max)", "bare µs")]
    for path, pairs in rounds.items():
        ours, bare = zip(*pairs, strict=True)
        rows.append(
            (
                path,
                f"{median(b / a for a, b in pairs):.2f}",
                f"{median(ours):.0f}",
                f"({min(ours):.0f}–{max(ours):.0f})",
                f"{median(bare):.0f}",
            )
        )
    return table(rows)


def table(rows: list[tuple]) -> str:
    widths = [max(len(row[at]) for row in rows) for at in range(len(rows[0]))]
    lines = [
        "  ".join(
            cell.ljust(width) if at == 0 else cell.rjust(width)
            for at, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        for row in rows
    ]
    return "\n".join([lines[0], "-" * len(lines[0]), *lines[1:]])

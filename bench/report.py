"""Result tables, and the machine that they are valid for."""

import platform
import sqlite3
from importlib.metadata import version
from pathlib import Path
from statistics import median

PACKAGES = ("flask", "werkzeug", "sqlalchemy", "gunicorn", "flask-smorest", "marshmallow", "msgspec")


def describe_machine() -> str:
    """The machine and the package versions, in two lines."""
    cpu_info = Path("/proc/cpuinfo").read_text() if Path("/proc/cpuinfo").exists() else ""
    names = [line.partition(": ")[2] for line in cpu_info.splitlines() if line.startswith("model name")]
    cpu = f"{len(names)} × {names[0]}" if names else platform.processor()
    packages = ", ".join(f"{package} {version(package)}" for package in PACKAGES)
    return (
        f"{cpu}, {platform.system()}\nPython {platform.python_version()}, SQLite {sqlite3.sqlite_version}, {packages}"
    )


def format_loopback_table(rounds: dict[str, list[tuple]]) -> str:
    """`rounds`: path → [(streamsvc's LoadResult, bare Flask's)]."""
    rows = [("path", "ratio", "req/s", "(min–max)", "p50 ms", "p99 ms", "bare req/s", "bare p99 ms", "failures")]
    for path, pairs in rounds.items():
        streamsvc, bare = zip(*pairs, strict=True)
        rates = [result.per_second for result in streamsvc]
        rows.append(
            (
                path,
                f"{median(a.per_second / b.per_second for a, b in pairs):.2f}",
                f"{median(rates):.0f}",
                f"({min(rates):.0f}–{max(rates):.0f})",
                f"{median(result.p50_ms for result in streamsvc):.1f}",
                f"{median(result.p99_ms for result in streamsvc):.1f}",
                f"{median(result.per_second for result in bare):.0f}",
                f"{median(result.p99_ms for result in bare):.1f}",
                str(sum(result.failures for result in (*streamsvc, *bare))),
            )
        )
    return format_table(rows)


def format_in_process_table(rounds: dict[str, list[tuple[float, float]]]) -> str:
    """`rounds`: path → [(streamsvc's µs a request, bare Flask's)]."""
    rows = [("path", "ratio", "µs", "(min–max)", "bare µs")]
    for path, pairs in rounds.items():
        streamsvc, bare = zip(*pairs, strict=True)
        rows.append(
            (
                path,
                f"{median(b / a for a, b in pairs):.2f}",
                f"{median(streamsvc):.0f}",
                f"({min(streamsvc):.0f}–{max(streamsvc):.0f})",
                f"{median(bare):.0f}",
            )
        )
    return format_table(rows)


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

"""python -m bench.scale: see the docstring of the package."""

import argparse
import signal
import sys
import time
from collections import Counter
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import NamedTuple

from bench.report import describe_machine
from bench.scale.parts import DATABASE, START_TIMEOUT_S, Site, find_missing_programs
from bench.scale.viewing import Outcome, Traffic, Viewers
from bench.servers import ROOT
from tests.worlds.acknowledged_writes import AcknowledgedWrites
from tests.worlds.service import wait_until

REPORT = ROOT / "bench" / "scale.md"
NOTICED_AFTER_S = 2.0
"""After how long a dead process is started again, or a dead server of PostgreSQL is replaced."""
FAILURES = (0, 500, 502, 503, 504)
"""Statuses of requests that failed through no fault of the viewer; 0: the connection broke."""
HEADER = ("what happens", "requests", "failed reads", "failed writes", "statuses", "longest without a write, s")


class Step(NamedTuple):
    """A part that dies, and what kills it and brings it back."""

    name: str
    act: Callable[[Site], None]


STEPS = (
    Step("nothing", lambda site: None),
    Step("a node is killed, and started again", lambda site: site.kill_node(NOTICED_AFTER_S)),
    Step("HAProxy is reloaded", lambda site: site.balancer.reload()),
    Step("PgBouncer is killed, and started again", lambda site: site.kill_bouncer(NOTICED_AFTER_S)),
    Step("the standby is killed, and started again", lambda site: site.kill_standby(NOTICED_AFTER_S)),
    Step("the primary is killed, and the standby promoted", lambda site: site.kill_primary(NOTICED_AFTER_S)),
)


class Row(NamedTuple):
    """What viewers noticed of a step."""

    name: str
    outcomes: list[Outcome]
    longest_gap_s: float

    def format(self) -> str:
        failed = Counter(outcome.what for outcome in self.outcomes if outcome.status in FAILURES)
        statuses = Counter(outcome.status for outcome in self.outcomes if outcome.status in FAILURES)
        shown = ", ".join(f"{count} × {status or 'none'}" for status, count in sorted(statuses.items()))
        cells = len(self.outcomes), failed["read"], failed["write"], shown or "–", f"{self.longest_gap_s:.1f}"
        return f"| {self.name} | " + " | ".join(map(str, cells)) + " |"


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        "python -m bench.scale", description="Kill each part of a site of four nodes; count what viewers notice."
    )
    parser.add_argument("--seconds", type=float, default=20, help="for each part that is killed (default: 20)")
    parser.add_argument("--viewers", type=int, default=4, help="who browse and play at a time (default: 4)")
    parser.add_argument("--buyers", type=int, default=2, help="who sign up and pay at a time (default: 2)")
    parser.add_argument("--asynchronous", action="store_true", help="commits do not wait for the standby")
    parser.add_argument("--report", type=Path, default=REPORT)
    return parser.parse_args()


def main() -> None:
    options = parse_arguments()
    if missing := find_missing_programs():
        sys.exit(f"missing on this machine: apt-get install {' '.join(missing)}")
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with ExitStack() as stack:
        show_progress(0, "starting PostgreSQL, PgBouncer, four nodes and HAProxy")
        site = Site(not options.asynchronous, stack)
        rows, writes = run_steps(site, options)
        lost = writes.find_lost(site.standby.url.format(DATABASE))
    text = format_report(rows, writes, lost, options)
    options.report.write_text(text)
    print(f"\n{text}\n{options.report}")
    sys.exit(not options.asynchronous and any(lost.values()))


def run_steps(site: Site, options: argparse.Namespace) -> tuple[list[Row], AcknowledgedWrites]:
    """Kill each part in turn under load; each has the same time, and more if it takes longer to come back."""
    traffic, rows = Traffic(site.front), []
    writes = AcknowledgedWrites(traffic.call, site.price_id, site.film_id, options.buyers)
    with writes, Viewers(traffic, site.price_id, site.film_id, options.viewers):
        wait_until(lambda: min(map(len, writes.ids.values())) >= options.buyers)
        for number, step in enumerate(STEPS, 1):
            show_progress(number, step.name)
            started, first = time.monotonic(), len(traffic.outcomes)
            step.act(site)
            time.sleep(max(0.0, started + options.seconds - time.monotonic()))
            wait_until(site.front.is_ready, START_TIMEOUT_S)
            rows.append(Row(step.name, traffic.outcomes[first:], writes.longest_gap_s(started)))
    return rows, writes


def show_progress(number: int, name: str) -> None:
    done = number * 20 // len(STEPS)
    print(f"\r[{'#' * done}{'.' * (20 - done)}] {name:56}", end="" if sys.stdout.isatty() else "\n", flush=True)


def format_report(rows: list[Row], writes: AcknowledgedWrites, lost: dict, options: argparse.Namespace) -> str:
    """The report as Markdown."""
    kind = "asynchronous" if options.asynchronous else "synchronous"
    lines = [f"| {' | '.join(HEADER)} |", "|---" * len(HEADER) + "|", *(row.format() for row in rows)]
    counts = ", ".join(f"{count} of {len(writes.ids[name])} {name}" for name, count in lost.items())
    command = f"python -m bench.scale {' '.join(sys.argv[1:])}".strip()
    return (
        f"# Four nodes, {kind} replication\n\n{describe_machine()}\n\n`{command}`: {options.viewers} viewers and "
        f"{options.buyers} buyers at a time; a dead process is noticed after {NOTICED_AFTER_S:.0f} s.\n\n"
        + "\n".join(lines)
        + f"\n\nAcknowledged, and lost with the primary: {counts}.\n"
    )


if __name__ == "__main__":
    main()
